//! Editing experiments.

use crate::{Engine, EngineError, NOTE, Result};
use assay_domain::ExperimentId;
use assay_domain::entity::Experiment;
use assay_protocol::ExperimentPatch;

impl Engine {
    /// Edits an experiment's name, note, tags.
    pub fn patch_experiment(&self, experiment: ExperimentId, patch: ExperimentPatch) -> Result<Experiment> {
        if patch.name.as_deref().is_some_and(|name| name.trim().is_empty()) {
            return Err(EngineError::Invalid("an experiment needs a name".into()));
        }
        self.store.write(move |tx| {
            if let Some(name) = &patch.name {
                tx.rename_experiment(experiment, name.trim())?;
            }
            if let Some(note) = &patch.note {
                let note = Some(note.as_str()).filter(|note| !note.is_empty());
                tx.set_experiment_tag(experiment, NOTE, note)?;
            }
            patch
                .tags
                .iter()
                .try_for_each(|(key, value)| tx.set_experiment_tag(experiment, key, value.as_deref()).map(|_| ()))
        })?;
        self.experiment(experiment)
    }
}
