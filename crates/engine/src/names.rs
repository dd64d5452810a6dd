//! Resolves runs by number, name or uid, and checks metric keys. Errors suggest the nearest name.

use crate::{Engine, EngineError, Result};
use assay_domain::{RunId, nearest};
use assay_store::{Among, StoreError};

impl Engine {
    /// The run of this number, name or uid prefix.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] with the nearest name; a conflict if several runs have the name.
    pub fn find_run(&self, text: &str) -> Result<RunId> {
        self.find_run_among(text, Among::Kept)
    }

    /// A deleted run, found likewise.
    ///
    /// # Errors
    /// As of [`Engine::find_run`].
    pub fn find_deleted_run(&self, text: &str) -> Result<RunId> {
        self.find_run_among(text, Among::Deleted)
    }

    fn find_run_among(&self, text: &str, among: Among) -> Result<RunId> {
        let text = text.trim();
        match self.store.read(|reader| reader.find_run(text, among)) {
            Err(StoreError::NotFound { .. }) => {}
            found => return Ok(found?),
        }
        let (other, what, instead) = match among {
            Among::Kept => (Among::Deleted, "run", "it is deleted; assay restore brings it back"),
            Among::Deleted => (Among::Kept, "deleted run", "that one is not deleted"),
        };
        if self.store.read(|reader| reader.find_run(text, other)).is_ok() {
            return Err(EngineError::NotFound(format!("there is no {what} {text}: {instead}")));
        }
        let names = self.store.read(|reader| reader.run_names(among))?;
        let hint = meant(text, &names);
        Err(EngineError::NotFound(format!("there is no {what} {text}{hint}")))
    }

    /// Checks that a run has the metric.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] with the nearest metric of these runs.
    pub(crate) fn check_metric(&self, runs: &[RunId], key: &str) -> Result<()> {
        let now = (self.clock)();
        let mut known: Vec<String> = Vec::new();
        for &run in runs {
            let metrics = self.store.read(|reader| reader.run(run, now))?.metrics;
            if metrics.contains_key(key) {
                return Ok(());
            }
            known.extend(metrics.into_keys());
        }
        let which = match runs {
            [run] => format!("run {run} has no metric {key:?}"),
            _ => format!("none of these runs has a metric {key:?}"),
        };
        Err(EngineError::NotFound(format!("{which}{}", meant(key, &known))))
    }
}

/// A suggestion to end a message.
fn meant(name: &str, known: &[String]) -> String {
    let nearest = nearest(name, known.iter().map(String::as_str));
    nearest.map(|known| format!("; did you mean {known:?}?")).unwrap_or_default()
}
