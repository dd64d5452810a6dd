//! Sources of runs are followed: what programs write there is read as soon as the system tells of it, or when it is looked at.

use crate::{Engine, Result};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Where the system tells of no changes (network disks), they are found this late.
const LOOK: Duration = Duration::from_secs(5);

/// Changes that come closer together than this are read together.
const QUIET: Duration = Duration::from_millis(50);

/// What the thread is told.
enum Told {
    /// Something changed on the disk, or a source is new.
    Changed,
    /// The engine closes.
    End,
}

#[derive(Default)]
pub(crate) struct Follower {
    thread: Mutex<Option<(Sender<Told>, JoinHandle<()>)>>,
}

impl Engine {
    /// Begins to follow all sources.
    pub(crate) fn follow_sources(self: &Arc<Self>) -> std::io::Result<()> {
        let (tell, told) = channel();
        let (engine, of_watchers) = (Arc::downgrade(self), tell.clone());
        let thread =
            std::thread::Builder::new().name("follow".into()).spawn(move || follow(&engine, &told, &of_watchers))?;
        *self.follower.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some((tell, thread));
        Ok(())
    }

    /// Looks at the sources now.
    pub(crate) fn follow_anew(&self) {
        if let Some((tell, _)) = &*self.follower.thread.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = tell.send(Told::Changed); // it has ended
        }
    }

    /// Reads what is new; returns whether anything is followed.
    fn follow_once(&self, watchers: &mut HashMap<String, RecommendedWatcher>, tell: &Sender<Told>) -> Result<bool> {
        let sources = self.store.read(|reader| reader.sources())?;
        watchers.retain(|path, _| sources.iter().any(|source| source.path == *path));
        for source in &sources {
            let Entry::Vacant(place) = watchers.entry(source.path.clone()) else { continue };
            match watcher(place.key(), self.store.root(), tell.clone()) {
                Ok(watcher) => drop(place.insert(watcher)),
                Err(error) => tracing::debug!(%error, path = place.key(), "no changes are told of; it is looked at"),
            }
        }
        if !sources.is_empty() {
            self.read_sources()?;
        }
        Ok(!sources.is_empty())
    }
}

impl Follower {
    pub(crate) fn close(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((tell, thread)) = thread {
            let _ = tell.send(Told::End); // it has ended
            let _ = thread.join(); // its panic was told
        }
    }
}

fn follow(engine: &Weak<Engine>, told: &Receiver<Told>, tell: &Sender<Told>) {
    let mut watchers = HashMap::new();
    loop {
        let begun = Instant::now();
        let follows = {
            let Some(engine) = engine.upgrade() else { return };
            engine.follow_once(&mut watchers, tell).unwrap_or_else(|error| {
                tracing::warn!(%error, "sources are not followed");
                true
            })
        };
        // Without a source there is nothing to look at, until one is told of.
        let look = if follows { LOOK } else { Duration::MAX };
        // A source that takes long to look through does not take more than a fifth of a processor.
        let pause = QUIET.max(begun.elapsed() * 4).min(LOOK);
        if !(waits(told, look, true) && waits(told, pause, false)) {
            return;
        }
    }
}

/// Waits for so long, or only until something changes; returns whether the engine is still open.
fn waits(told: &Receiver<Told>, most: Duration, until_change: bool) -> bool {
    let begun = Instant::now();
    loop {
        match told.recv_timeout(most.saturating_sub(begun.elapsed())) {
            Ok(Told::Changed) if until_change => return true,
            Ok(Told::Changed) => {}
            Err(RecvTimeoutError::Timeout) => return true,
            Ok(Told::End) | Err(RecvTimeoutError::Disconnected) => return false,
        }
    }
}

fn watcher(path: &str, own: &Path, tell: Sender<Told>) -> notify::Result<RecommendedWatcher> {
    let own = own.to_owned();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let is_change = event.is_ok_and(|event| {
            (event.kind.is_create() || event.kind.is_modify() || event.kind.is_remove())
                && event.paths.iter().any(|path| !path.starts_with(&own))
        });
        if is_change {
            let _ = tell.send(Told::Changed); // the engine is gone
        }
    })?;
    watcher.watch(&assay_formats::path_of_text(path), RecursiveMode::Recursive)?;
    Ok(watcher)
}
