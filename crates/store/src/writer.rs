//! The one writer: a thread with the only writing connection. Writes that wait together are committed together, and
//! each caller hears of its own only after the commit is on disk.

use crate::table::event;
use crate::{Clock, Result, StoreError};
use assay_domain::entity::Event;
use assay_domain::{EventSeq, Timestamp};
use rusqlite::{Connection, Savepoint};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;

/// How many waiting writes share one commit at most.
const GROUP: usize = 256;

/// A write in progress. All changes of one [`crate::Store::write`] are committed together or not at all.
pub struct WriteTx<'a> {
    pub(crate) db: &'a Connection,
    pub(crate) now: Timestamp,
    last_event: &'a mut Option<EventSeq>,
}

impl WriteTx<'_> {
    /// The time of this write.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// What is there, with what this write has changed so far.
    pub fn reader(&self) -> crate::Reader<'_> {
        crate::Reader { db: self.db }
    }

    /// Appends to the event log.
    pub(crate) fn emit(&mut self, event: &Event) -> Result<()> {
        *self.last_event = Some(event::append(self.db, self.now, event)?);
        Ok(())
    }
}

type Answer = Box<dyn FnOnce(Result<()>) + Send>;
type Write = Box<dyn FnOnce(&mut WriteTx<'_>) -> Option<Answer> + Send>;

/// What the thread is asked for.
enum Asked {
    Write(Write),
    /// What cannot be done within a transaction.
    Alone(Box<dyn FnOnce(&Connection) + Send>),
}

/// The handle of the writer thread; dropping it ends the thread after the last write.
pub(crate) struct Writer {
    queue: Option<Sender<Asked>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread. `committed` is called after each commit that made events.
    pub(crate) fn start(
        connection: Connection,
        clock: Clock,
        committed: impl Fn(EventSeq) + Send + 'static,
    ) -> Result<Writer> {
        let (queue, asked) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("writer".into())
            .spawn(move || serve(connection, &clock, &asked, &committed))
            .map_err(StoreError::io("starting the writer thread", ""))?;
        Ok(Writer { queue: Some(queue), thread: Some(thread) })
    }

    /// Runs `write` in a transaction on the writer thread and waits until it is committed.
    pub(crate) fn write<T: Send + 'static>(
        &self,
        write: impl FnOnce(&mut WriteTx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = mpsc::sync_channel(1);
        let queued: Write = Box::new(move |tx| match write(tx) {
            Ok(value) => Some(Box::new(move |committed: Result<()>| {
                let _ = reply.send(committed.map(|()| value)); // nobody waits: the caller is gone
            })),
            Err(error) => {
                let _ = reply.send(Err(error));
                None
            }
        });
        self.queue.as_ref().ok_or(StoreError::Closed)?.send(Asked::Write(queued)).map_err(|_| StoreError::Closed)?;
        answer.recv().map_err(|_| StoreError::Closed)?
    }

    /// Does what cannot be done within a transaction; writes wait meanwhile, reads do not.
    pub(crate) fn alone<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = mpsc::sync_channel(1);
        let asked = Asked::Alone(Box::new(move |db| {
            let _ = reply.send(work(db)); // nobody waits: the caller is gone
        }));
        self.queue.as_ref().ok_or(StoreError::Closed)?.send(asked).map_err(|_| StoreError::Closed)?;
        answer.recv().map_err(|_| StoreError::Closed)?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a panic of the writer was already answered with Closed
        }
    }
}

fn serve(mut connection: Connection, clock: &Clock, asked: &Receiver<Asked>, committed: &dyn Fn(EventSeq)) {
    let mut next = None;
    while let Some(first) = next.take().or_else(|| asked.recv().ok()) {
        let first = match first {
            Asked::Write(write) => write,
            Asked::Alone(work) => {
                work(&connection);
                continue;
            }
        };
        // Up to what is no write, which is for the next time.
        let writes = asked.try_iter().take(GROUP - 1).map_while(|asked| match asked {
            Asked::Write(write) => Some(write),
            other => {
                next = Some(other);
                None
            }
        });
        let group = std::iter::once(first).chain(writes);
        let mut answers = Vec::new();
        match commit_group(&mut connection, clock(), group, &mut answers) {
            Ok(last_event) => {
                answers.into_iter().for_each(|answer: Answer| answer(Ok(())));
                if let Some(sequence) = last_event {
                    committed(sequence);
                }
            }
            Err(error) => {
                tracing::error!(%error, "a commit failed; its writes were rolled back");
                for answer in answers {
                    answer(Err(repeated(&error)));
                }
            }
        }
    }
}

fn commit_group(
    connection: &mut Connection,
    now: Timestamp,
    group: impl Iterator<Item = Write>,
    answers: &mut Vec<Answer>,
) -> Result<Option<EventSeq>> {
    let mut transaction = connection.transaction()?;
    let mut last_event = None;
    for write in group {
        let savepoint: Savepoint<'_> = transaction.savepoint()?;
        let mut event = last_event;
        let mut tx = WriteTx { db: &savepoint, now, last_event: &mut event };
        // A write that fails is rolled back alone, by the drop of its savepoint.
        if let Some(answer) = write(&mut tx) {
            savepoint.commit()?;
            answers.push(answer);
            last_event = event;
        }
    }
    transaction.commit()?;
    Ok(last_event)
}

/// The same failure once more, for each write of a group.
fn repeated(error: &StoreError) -> StoreError {
    match error {
        StoreError::DiskFull => StoreError::DiskFull,
        StoreError::ReadOnly(path) => StoreError::ReadOnly(path.clone()),
        other => StoreError::Conflict(other.to_string()),
    }
}
