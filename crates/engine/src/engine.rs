//! The engine as a whole: the store, the jobs, and what both need.

use crate::alarm::Alarm;
use crate::alerts::first_rule;
use crate::decoded::Decoded;
use crate::follow::Follower;
use crate::images::Images;
use crate::jobs::Jobs;
use crate::models::Models;
use crate::sources::Sources;
use crate::watch::Watch;
use crate::{Result, record};
use assay_domain::EventSeq;
use assay_domain::entity::SequencedEvent;
use assay_learn::{Device, DeviceChoice};
use assay_protocol::{About, EventPage};
use assay_store::{Clock, Holder, Store};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Which queued jobs this process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// All, also those that an earlier process left in the queue.
    All,
    /// Only those that are queued through this engine.
    Own,
}

/// What an engine is started with.
pub struct Options {
    /// The workspace folder (`.assay`).
    pub root: PathBuf,
    /// Where the time comes from.
    pub clock: Clock,
    /// 32 new hexadecimal digits at each call.
    pub uid: Arc<dyn Fn() -> String + Send + Sync>,
    /// The command of this process, for the record and the lock.
    pub command: Vec<String>,
    /// Which jobs to do.
    pub work: Work,
}

/// An open workspace with everything that can be done in it.
pub struct Engine {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) uid: Arc<dyn Fn() -> String + Send + Sync>,
    pub(crate) command: Vec<String>,
    pub(crate) jobs: Jobs,
    pub(crate) images: Images,
    pub(crate) decoded: Arc<Decoded>,
    pub(crate) models: Models,
    pub(crate) watch: Watch,
    pub(crate) sources: Sources,
    pub(crate) follower: Follower,
    pub(crate) alarm: Alarm,
    events: watch::Receiver<EventSeq>,
    closing: watch::Sender<bool>,
}

impl Engine {
    /// Opens the workspace for writing, ends what an earlier process left running, and begins with the queue.
    pub fn open(options: Options) -> Result<Arc<Engine>> {
        let (committed, events) = watch::channel(EventSeq(0));
        let holder = Holder { process: std::process::id(), command: options.command.join(" ") };
        let store = Store::open(&options.root, &holder, options.clock.clone(), move |sequence| {
            committed.send_replace(sequence);
        })?;
        store.write(|tx| {
            tx.put_first_rule(&first_rule())?;
            for run in tx.crash_abandoned_runs()? {
                tracing::warn!(%run, "crashed: its process ended without a word");
            }
            tx.crash_abandoned_jobs()?;
            tx.try_webhooks_now()?;
            Ok(())
        })?;
        let work = options.work;
        let engine = Engine::around(store, options, events);
        if let Err(error) = engine.watch_datasets() {
            tracing::warn!(%error, "folders are not watched");
        }
        Jobs::start(&engine);
        if let Err(error) = engine.watch_alerts() {
            tracing::warn!(%error, "no alerts are sent");
        }
        if work == Work::All
            && let Err(error) = engine.follow_sources()
        {
            tracing::warn!(%error, "sources of runs are not followed");
        }
        Ok(engine)
    }

    /// Opens the workspace for reading only.
    pub fn open_read_only(options: Options) -> Result<Arc<Engine>> {
        let store = Store::open_read_only(&options.root)?;
        Ok(Engine::around(store, options, watch::channel(EventSeq(0)).1))
    }

    fn around(store: Store, options: Options, events: watch::Receiver<EventSeq>) -> Arc<Engine> {
        Arc::new(Engine {
            images: Images::new(store.root()),
            decoded: Decoded::new(store.root(), options.clock.clone()),
            store,
            clock: options.clock,
            uid: options.uid,
            command: options.command,
            jobs: Jobs::new(options.work),
            models: Models::default(),
            watch: Watch::default(),
            sources: Sources::default(),
            follower: Follower::default(),
            alarm: Alarm::default(),
            events,
            closing: watch::Sender::new(false),
        })
    }

    /// Ends: running jobs save where they are and go back to the queue, and nobody waits for events any more.
    pub fn close(&self) {
        self.closing.send_replace(true);
        self.jobs.close();
        self.follower.close();
        self.alarm.close();
    }

    /// What serves, and where.
    pub fn about(&self) -> Result<About> {
        Ok(About {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            workspace: self.store.root().display().to_string(),
            device: DeviceChoice::name(&self.device()).to_owned(),
            read_only: self.store.is_read_only(),
            now: (self.clock)(),
            last_event: self.store.read(|reader| reader.last_event())?,
        })
    }

    pub(crate) fn device(&self) -> Device {
        DeviceChoice::Auto.open().unwrap_or(Device::Cpu)
    }

    /// The events after a number; waits up to `wait` for the first.
    pub async fn events(&self, after: EventSeq, wait: Duration) -> Result<EventPage> {
        let mut committed = self.events.clone();
        committed.mark_unchanged();
        let read = || self.store.read(|reader| reader.events(after, 1000));
        let mut events = read()?;
        if events.is_empty() && !wait.is_zero() {
            let mut closing = self.closing.subscribe();
            // A writer that ends, an engine that closes, and time that runs out all mean: nothing new.
            tokio::select! {
                _ = committed.changed() => {}
                _ = closing.wait_for(|is_closing| *is_closing) => {}
                () = tokio::time::sleep(wait.min(Duration::from_secs(60))) => {}
            }
            events = read()?;
        }
        let last = events.last().map_or(after, |event: &SequencedEvent| event.seq);
        Ok(EventPage { events, last })
    }

    pub(crate) fn facts_of_this_process(&self) -> record::Process {
        record::Process { arguments: self.command.clone(), directory: std::env::current_dir().unwrap_or_default() }
    }
}
