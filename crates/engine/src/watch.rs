//! Folders of datasets are watched; a change becomes an event, and people decide whether to import again.

use crate::{Engine, Result};
use assay_domain::DatasetId;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// Changes that come closer together than this are one.
const QUIET: Duration = Duration::from_millis(500);

#[derive(Default)]
pub(crate) struct Watch {
    state: Mutex<Option<Watching>>,
}

struct Watching {
    changes: Sender<DatasetId>,
    watchers: HashMap<DatasetId, (PathBuf, RecommendedWatcher)>,
}

impl Engine {
    /// Begins to watch the folders of all datasets.
    pub(crate) fn watch_datasets(self: &Arc<Self>) -> Result<()> {
        let (changes, changed) = channel();
        *self.watch.state.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Watching { changes, watchers: HashMap::new() });
        let engine = Arc::downgrade(self);
        std::thread::spawn(move || {
            while let Ok(first) = changed.recv() {
                let mut datasets = vec![first];
                loop {
                    match changed.recv_timeout(QUIET) {
                        Ok(dataset) if !datasets.contains(&dataset) => datasets.push(dataset),
                        Ok(_) => {}
                        Err(RecvTimeoutError::Timeout) => break,
                        Err(RecvTimeoutError::Disconnected) => return,
                    }
                }
                if !tell(&engine, datasets) {
                    return;
                }
            }
        });
        for dataset in self.datasets()? {
            self.watch_dataset(dataset.id)?;
        }
        Ok(())
    }

    /// Watches the folder of a dataset, if it has one and it is not watched yet.
    pub(crate) fn watch_dataset(&self, dataset: DatasetId) -> Result<()> {
        let folder = Engine::source_folder(&self.dataset(dataset)?.source);
        let mut state = self.watch.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(watching) = state.as_mut() else { return Ok(()) };
        let watched = watching.watchers.get(&dataset).is_some_and(|(watched, _)| *watched == folder);
        if watched || !folder.is_dir() || folder.starts_with(self.store.root()) {
            return Ok(());
        }
        let changes = watching.changes.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let real =
                event.is_ok_and(|event| event.kind.is_create() || event.kind.is_modify() || event.kind.is_remove());
            if real {
                let _ = changes.send(dataset); // the engine is gone
            }
        });
        match watcher.and_then(|mut watcher| watcher.watch(&folder, RecursiveMode::Recursive).map(|()| watcher)) {
            Ok(watcher) => {
                watching.watchers.insert(dataset, (folder, watcher));
            }
            Err(error) => tracing::warn!(%error, folder = %folder.display(), "the folder is not watched"),
        }
        Ok(())
    }
}

/// Whether there is still somebody to tell.
fn tell(engine: &Weak<Engine>, datasets: Vec<DatasetId>) -> bool {
    let Some(engine) = engine.upgrade() else { return false };
    for dataset in datasets {
        if let Err(error) = engine.store.write(move |tx| tx.source_changed(dataset)) {
            tracing::warn!(%error, %dataset, "a change of the folder is not told");
        }
    }
    true
}
