//! Registered models, models that runs logged, and datasets that they read.

use crate::{Engine, EngineError, Result};
use assay_domain::registry::{DatasetInput, LoggedModel, ModelRole, ModelVersion, RegisteredModel};
use assay_domain::{ExperimentId, RunId};
use assay_protocol::RegisteredCard;
use assay_store::{Archive, NewVersion, RunModel, StoreError};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The tag of a logged model that tells clients which versions it is.
const VERSIONS: &str = "mlflow.modelVersions";

/// What the store misses, in the words of clients.
fn named(error: StoreError) -> EngineError {
    match error {
        StoreError::NotFound { what: "registered model", which } => {
            EngineError::NotFound(format!("Registered Model with name={which} not found"))
        }
        StoreError::NotFound { what: "model version", which } => match which.split_once(" of ") {
            Some((version, name)) => {
                EngineError::NotFound(format!("Model Version (name={name}, version={version}) not found"))
            }
            None => EngineError::NotFound(which),
        },
        StoreError::NotFound { what: "logged model", which } => {
            EngineError::NotFound(format!("Logged model with ID '{which}' not found."))
        }
        other => other.into(),
    }
}

/// What a run read and made.
#[derive(Clone, Debug, Default)]
pub struct Relations {
    /// The datasets that it read.
    pub datasets: Vec<DatasetInput>,
    /// The logged models that it read, each at a step.
    pub read: Vec<(String, i64)>,
    /// The logged models that it made, each at a step.
    pub made: Vec<(String, i64)>,
    /// Whether a client removed the run's name tag.
    pub hides_name: bool,
}

impl Engine {
    /// Registers a model.
    pub fn create_model(&self, name: String, description: String, tags: BTreeMap<String, String>) -> Result<()> {
        self.store.write(move |tx| tx.create_model(&name, &description, &tags)).map_err(named)
    }

    /// Renames a registered model.
    pub fn rename_model(&self, name: String, to: String) -> Result<()> {
        self.store.write(move |tx| tx.rename_model(&name, &to)).map_err(named)
    }

    /// Describes a registered model.
    pub fn describe_model(&self, name: String, description: String) -> Result<()> {
        self.store.write(move |tx| tx.describe_model(&name, &description)).map_err(named)
    }

    /// Forgets a registered model with its versions.
    pub fn delete_model(&self, name: String) -> Result<()> {
        self.store.write(move |tx| tx.delete_model(&name)).map_err(named)
    }

    /// All registered models by name.
    pub fn registered_models(&self) -> Result<Vec<RegisteredModel>> {
        Ok(self.store.read(|reader| reader.registered_models())?)
    }

    /// All registered models by name, with their versions.
    pub fn registry(&self) -> Result<Vec<RegisteredCard>> {
        Ok(self.store.read(|reader| {
            let mut versions: BTreeMap<String, Vec<ModelVersion>> = BTreeMap::new();
            for version in reader.model_versions(None)?.into_iter().rev() {
                versions.entry(version.model.clone()).or_default().push(version);
            }
            let card = |model: RegisteredModel| RegisteredCard {
                versions: versions.remove(&model.name).unwrap_or_default(),
                model,
            };
            Ok(reader.registered_models()?.into_iter().map(card).collect())
        })?)
    }

    /// One registered model.
    pub fn registered_model(&self, name: &str) -> Result<RegisteredModel> {
        self.store.read(|reader| reader.registered_model(name)).map_err(named)
    }

    /// Registers the next version of a model; returns its number.
    pub fn create_version(&self, new: NewVersion) -> Result<u32> {
        self.store
            .write(move |tx| {
                let version = tx.create_version(&new)?;
                if let Some(id) = &new.logged_model {
                    let mut logged = tx.reader().logged_model_alone(id)?;
                    let old = logged.tags.get(VERSIONS).and_then(|tag| serde_json::from_str::<Vec<Value>>(tag).ok());
                    let mut versions = old.unwrap_or_default();
                    versions.push(json!({ "name": new.model, "version": version }));
                    // Spaced as Python writes it: clients compare the text.
                    let told = versions
                        .iter()
                        .map(|of| format!("{{\"name\": {}, \"version\": {}}}", of["name"], of["version"]));
                    logged.tags.insert(VERSIONS.into(), format!("[{}]", told.collect::<Vec<_>>().join(", ")));
                    tx.put_logged_model(&logged)?;
                }
                Ok(version)
            })
            .map_err(named)
    }

    /// The versions of a model (of all without one), by model and number.
    pub fn model_versions(&self, model: Option<&str>) -> Result<Vec<ModelVersion>> {
        Ok(self.store.read(|reader| reader.model_versions(model))?)
    }

    /// One version of a model.
    pub fn model_version(&self, model: &str, version: u32) -> Result<ModelVersion> {
        let found = self.model_versions(Some(model))?.into_iter().find(|found| found.version == version);
        found.ok_or_else(|| EngineError::NotFound(format!("Model Version (name={model}, version={version}) not found")))
    }

    /// Describes a version.
    pub fn describe_version(&self, model: String, version: u32, description: String) -> Result<()> {
        self.store.write(move |tx| tx.describe_version(&model, version, &description)).map_err(named)
    }

    /// Moves a version to a stage.
    pub fn move_version(&self, model: String, version: u32, stage: String, archive: Archive) -> Result<()> {
        self.store.write(move |tx| tx.move_version(&model, version, &stage, archive)).map_err(named)
    }

    /// Forgets a version.
    pub fn delete_version(&self, model: String, version: u32) -> Result<()> {
        self.store.write(move |tx| tx.delete_version(&model, version)).map_err(named)
    }

    /// Sets a tag of a version (of the model itself without one), or removes it.
    pub fn tag_model(&self, model: String, version: Option<u32>, key: String, value: Option<String>) -> Result<()> {
        self.store.write(move |tx| tx.set_registry_tag(&model, version, &key, value.as_deref())).map_err(named)
    }

    /// Gives a version another name, or takes it away.
    pub fn set_alias(&self, model: String, alias: String, version: Option<u32>) -> Result<()> {
        self.store.write(move |tx| tx.set_alias(&model, &alias, version)).map_err(named)
    }

    /// Notes what a run reads.
    pub fn log_inputs(&self, run: RunId, datasets: Vec<DatasetInput>, models: Vec<String>) -> Result<()> {
        let models: Vec<(String, i64)> = models.into_iter().map(|model| (model, 0)).collect();
        Ok(self.store.write(move |tx| {
            tx.put_inputs(run, &datasets)?;
            tx.put_run_models(run, ModelRole::Input, &models)
        })?)
    }

    /// Notes what models a run made, each at a step.
    pub fn log_outputs(&self, run: RunId, models: Vec<(String, i64)>) -> Result<()> {
        Ok(self.store.write(move |tx| tx.put_run_models(run, ModelRole::Output, &models))?)
    }

    /// What each of some runs read and made.
    pub fn relations(&self, runs: &[RunId]) -> Result<Vec<Relations>> {
        let (mut datasets, mut models, nameless) = self
            .store
            .read(|reader| Ok((reader.inputs(runs)?, reader.run_models(runs)?, reader.hidden_names(runs)?)))?;
        let of = |run: &RunId| {
            let mut relations = Relations {
                datasets: datasets.remove(run).unwrap_or_default(),
                hides_name: nameless.contains(run),
                ..Relations::default()
            };
            for RunModel { role, model, step } in models.remove(run).unwrap_or_default() {
                match role {
                    ModelRole::Input => relations.read.push((model, step)),
                    ModelRole::Output => relations.made.push((model, step)),
                }
            }
            relations
        };
        Ok(runs.iter().map(of).collect())
    }

    /// The datasets that runs of an experiment read.
    pub fn inputs_of_experiment(&self, experiment: ExperimentId) -> Result<Vec<DatasetInput>> {
        Ok(self.store.read(|reader| reader.inputs_of_experiment(experiment))?)
    }

    /// Keeps a model that a client logs; its id and times are made here.
    pub fn create_logged_model(&self, new: LoggedModel) -> Result<LoggedModel> {
        let id = format!("m-{}", (self.uid)());
        let name = if new.name.is_empty() { format!("model-{}", &id[2..10]) } else { new.name };
        let now = (self.clock)();
        let model = LoggedModel { id: id.clone(), name, created: now, updated: now, ..new };
        self.store.write(move |tx| tx.put_logged_model(&model))?;
        self.logged_model(&id)
    }

    /// Changes a logged model; what `change` refuses is not found.
    pub fn change_logged_model(
        &self,
        id: &str,
        change: impl FnOnce(&mut LoggedModel) -> Result<(), String> + Send + 'static,
    ) -> Result<LoggedModel> {
        let own = id.to_owned();
        let refused = self
            .store
            .write(move |tx| {
                let mut model = tx.reader().logged_model_alone(&own)?;
                match change(&mut model) {
                    Ok(()) => tx.put_logged_model(&model).map(|()| None),
                    Err(why) => Ok(Some(why)),
                }
            })
            .map_err(named)?;
        match refused {
            None => self.logged_model(id),
            Some(why) => Err(EngineError::NotFound(why)),
        }
    }

    /// Forgets a logged model.
    pub fn delete_logged_model(&self, id: String) -> Result<()> {
        self.store.write(move |tx| tx.delete_logged_model(&id)).map_err(named)
    }

    /// One logged model.
    pub fn logged_model(&self, id: &str) -> Result<LoggedModel> {
        self.store.read(|reader| reader.logged_model(id)).map_err(named)
    }

    /// The logged models of an experiment, the newest first.
    pub fn logged_models(&self, experiment: ExperimentId) -> Result<Vec<LoggedModel>> {
        Ok(self.store.read(|reader| reader.logged_models(experiment))?)
    }
}
