//! The queue: jobs wait in the database and are done by two threads, one for imports and one for training and
//! evaluation (which share the processor).

use crate::sources::Asked;
use crate::{Engine, EngineError, Result};
use assay_domain::entity::{Job, JobKind, Progress};
use assay_domain::{JobId, RunStatus};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;

use crate::engine::Work;

/// Which thread does a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    Import,
    Compute,
}

impl Lane {
    fn of(work: &JobKind) -> Lane {
        match work {
            JobKind::Import { .. } | JobKind::ImportRuns { .. } | JobKind::Merge { .. } => Lane::Import,
            JobKind::Train { .. } | JobKind::Evaluate { .. } => Lane::Compute,
        }
    }
}

/// The threads and what they share.
pub(crate) struct Jobs {
    work: Work,
    state: Mutex<State>,
    changed: Condvar,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
struct State {
    closing: bool,
    own: HashSet<JobId>,
    stops: HashMap<JobId, Arc<AtomicBool>>,
    /// How jobs ended whose end could not be written (the disk is full): whoever waits for them must still hear of it.
    unwritten: HashMap<JobId, (RunStatus, String)>,
    /// Counts what was queued, so that a thread that looked too early looks again.
    queued: u64,
}

/// How a job ended well.
pub(crate) enum Done {
    /// With these words.
    Finished(String),
    /// A person ended it.
    Stopped,
    /// The engine is closing: it goes on after the next start.
    Requeue,
}

/// Is told how far something is, and says whether to go on.
pub(crate) type GoesOn<'a> = dyn FnMut(Progress) -> Result<bool> + 'a;

impl Jobs {
    pub(crate) fn new(work: Work) -> Jobs {
        Jobs { work, state: Mutex::default(), changed: Condvar::new(), threads: Mutex::default() }
    }

    pub(crate) fn start(engine: &Arc<Engine>) {
        for lane in [Lane::Import, Lane::Compute] {
            let engine_of_thread = Arc::downgrade(engine);
            let spawned = std::thread::Builder::new()
                .name(format!("jobs-{lane:?}").to_lowercase())
                .spawn(move || serve(&engine_of_thread, lane));
            match spawned {
                Ok(thread) => engine.jobs.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread),
                Err(error) => tracing::error!(%error, ?lane, "no jobs are done: the thread did not start"),
            }
        }
    }

    /// Stops running jobs and waits for them.
    pub(crate) fn close(&self) {
        {
            let mut state = self.state();
            state.closing = true;
            state.stops.values().for_each(|stop| stop.store(true, Ordering::Relaxed));
        }
        self.changed.notify_all();
        for thread in self.threads.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = thread.join(); // its panic was caught and recorded already
        }
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.state().closing
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Appends a job to the queue.
    pub(crate) fn queue(&self, work: JobKind) -> Result<Job> {
        let job = self.store.write(move |tx| tx.queue_job(&work))?;
        self.do_queued(job);
        Ok(self.store.read(|reader| reader.job(job))?)
    }

    /// Sees to it that a job in the queue is done, whoever queued it.
    pub(crate) fn do_queued(&self, job: JobId) {
        let mut state = self.jobs.state();
        state.own.insert(job);
        state.queued += 1;
        drop(state);
        self.jobs.changed.notify_all();
    }

    /// The jobs that wait or run, then the latest that ended.
    pub fn jobs(&self) -> Result<Vec<Job>> {
        let jobs = self.store.read(|reader| reader.jobs(50))?;
        Ok(jobs.into_iter().map(|job| self.with_end(job)).collect())
    }

    /// One job.
    pub fn job(&self, job: JobId) -> Result<Job> {
        Ok(self.with_end(self.store.read(|reader| reader.job(job))?))
    }

    /// The job with its end, also when that could not be written.
    fn with_end(&self, job: Job) -> Job {
        match self.jobs.state().unwritten.get(&job.id) {
            Some((status, message)) => Job { status: *status, message: message.clone(), ..job },
            None => job,
        }
    }

    /// Ends a job: a waiting one at once, a running one as soon as it can save where it is.
    pub fn cancel_job(&self, job: JobId) -> Result<Job> {
        let found = self.job(job)?;
        match found.status {
            RunStatus::Queued => self.store.write(move |tx| {
                tx.update_job(job, RunStatus::Stopped, found.progress, "stopped before it began")?;
                if let JobKind::Train { run } = found.work {
                    tx.end_run(run, RunStatus::Stopped, Some("stopped before it began"))?;
                }
                Ok(())
            })?,
            RunStatus::Running => {
                if let Some(stop) = self.jobs.state().stops.get(&job) {
                    stop.store(true, Ordering::Relaxed);
                }
            }
            _ => {}
        }
        self.job(job)
    }

    /// Tells how far a job is at each percent, which is worth a commit, and says whether nobody stopped it.
    pub(crate) fn goes_on<'a>(
        &'a self,
        job: JobId,
        doing: &'a str,
        stop: &'a AtomicBool,
    ) -> impl FnMut(Progress) -> Result<bool> + 'a {
        let mut told = None;
        move |progress| {
            let percent = progress.done * 100 / progress.total.max(1);
            if told.replace(percent) != Some(percent) {
                self.tell(job, progress, doing)?;
            }
            Ok(!stop.load(Ordering::Relaxed))
        }
    }

    /// How a job ended: with these words, or without any because it was told to stop.
    pub(crate) fn done(&self, words: Option<String>) -> Done {
        match words {
            Some(words) => Done::Finished(words),
            None if self.jobs.is_closing() => Done::Requeue,
            None => Done::Stopped,
        }
    }

    fn next_job(&self, lane: Lane) -> Result<Option<Job>> {
        let jobs = self.store.read(|reader| reader.jobs(0))?;
        let state = self.jobs.state();
        Ok(jobs.into_iter().find(|job| {
            job.status == RunStatus::Queued
                && Lane::of(&job.work) == lane
                && (self.jobs.work == Work::All || state.own.contains(&job.id))
        }))
    }

    fn do_job(&self, job: &Job) {
        let stop = Arc::new(AtomicBool::new(false));
        {
            let mut state = self.jobs.state();
            stop.store(state.closing, Ordering::Relaxed);
            state.stops.insert(job.id, stop.clone());
        }
        tracing::info!(job = %job.id, work = ?job.work, "job begins");
        let id = job.id;
        let begun = self.store.write(move |tx| tx.update_job(id, RunStatus::Running, Progress::default(), ""));
        let result = begun.map_err(EngineError::from).and_then(|()| {
            let attempt = std::panic::AssertUnwindSafe(|| match &job.work {
                JobKind::Import { .. } => self.import(job.id, &job.work, &stop),
                JobKind::ImportRuns { source, experiment, step, time } => {
                    let asked = Asked { path: source, experiment, step: step.as_ref(), time: time.as_ref() };
                    self.import_runs(job.id, &asked, &stop)
                }
                JobKind::Merge { source } => self.merge_for(job.id, &assay_formats::path_of_text(source), &stop),
                JobKind::Train { run } => self.train(job.id, *run, &stop),
                JobKind::Evaluate { run, split, dataset, snapshot } => {
                    self.evaluate(*run, *split, (*dataset, *snapshot), &stop)
                }
            });
            // A job that panics fails alone.
            std::panic::catch_unwind(attempt).unwrap_or_else(|panic| {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                Err(EngineError::Internal(format!("it panicked: {}", text.unwrap_or_default())))
            })
        });
        self.jobs.state().stops.remove(&job.id);
        let (status, message) = match result {
            Ok(Done::Finished(message)) => (RunStatus::Finished, message),
            Ok(Done::Stopped) => (RunStatus::Stopped, "stopped".to_owned()),
            Ok(Done::Requeue) => (RunStatus::Queued, String::new()),
            Err(error) => (RunStatus::Failed, error.to_string()),
        };
        tracing::info!(job = %job.id, %status, message, "job ends");
        let work = job.work.clone();
        let end = (status, message.clone());
        let recorded = self.store.write(move |tx| {
            if let (RunStatus::Failed, JobKind::Train { run }) = (status, work) {
                tx.end_run(run, RunStatus::Failed, Some(&message))?;
            }
            let progress = Progress { done: u64::from(status == RunStatus::Finished), total: 1 };
            tx.update_job(id, status, progress, &message)
        });
        if let Err(error) = recorded {
            tracing::error!(%error, job = %job.id, "the end of the job cannot be written");
            self.jobs.state().unwritten.insert(id, end);
        }
    }
}

fn serve(engine: &Weak<Engine>, lane: Lane) {
    loop {
        let Some(engine) = engine.upgrade() else { return };
        let seen = {
            let state = engine.jobs.state();
            if state.closing {
                return;
            }
            state.queued
        };
        match engine.next_job(lane) {
            Ok(Some(job)) => engine.do_job(&job),
            Ok(None) => {
                let state = engine.jobs.state();
                let idle = |state: &mut State| state.queued == seen && !state.closing;
                drop(engine.jobs.changed.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner));
            }
            Err(error) => {
                tracing::error!(%error, "the queue cannot be read");
                return;
            }
        }
    }
}
