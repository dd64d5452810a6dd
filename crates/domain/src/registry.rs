//! What clients register beside their runs: models with versions, models that a run logged, and datasets that it read.

use crate::{ExperimentId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A registered model: a name with versions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegisteredModel {
    /// Its name, unique in the workspace.
    pub name: String,
    /// What people wrote about it.
    pub description: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it, its versions or their stages were last changed.
    pub updated: Timestamp,
    /// Free key-value notes.
    pub tags: BTreeMap<String, String>,
    /// Names of versions.
    pub aliases: BTreeMap<String, u32>,
}

/// A version of a registered model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelVersion {
    /// The model.
    pub model: String,
    /// Its number, from 1; numbers are never used again.
    pub version: u32,
    /// What people wrote about it.
    pub description: String,
    /// Who registered it.
    pub user: Option<String>,
    /// What it was made of, as whoever registered it says.
    pub source: String,
    /// Where its files are: those of its source at that time.
    pub location: String,
    /// The uid of the run that made it.
    pub run: Option<String>,
    /// Where that run can be seen, if not here.
    pub run_link: Option<String>,
    /// The logged model that it is.
    pub logged_model: Option<String>,
    /// How far it has come: `None`, `Staging`, `Production` or `Archived`.
    pub stage: String,
    /// When it was registered.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
    /// Free key-value notes.
    pub tags: BTreeMap<String, String>,
}

/// A model that a run logged, registered or not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoggedModel {
    /// `m-` and 32 hexadecimal digits.
    pub id: String,
    /// The experiment that it belongs to.
    pub experiment: ExperimentId,
    /// Its name; need not be unique.
    pub name: String,
    /// What kind of model it is, as the client says.
    pub kind: Option<String>,
    /// `PENDING`, `READY` or `FAILED`.
    pub status: String,
    /// The uid of the run that logged it.
    pub run: Option<String>,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
    /// What it was made with.
    pub params: BTreeMap<String, String>,
    /// Free key-value notes.
    pub tags: BTreeMap<String, String>,
    /// Figures that name it.
    pub metrics: Vec<ModelMetric>,
}

/// A figure of a logged model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelMetric {
    /// The metric.
    pub key: String,
    /// The value.
    #[serde(with = "crate::number::json")]
    pub value: f64,
    /// The step.
    pub step: i64,
    /// The wall time, in milliseconds since the Unix epoch.
    pub wall_ms: i64,
    /// The uid of the run that logged it.
    pub run: String,
    /// Name and digest of the dataset that it is of.
    pub dataset: Option<(String, String)>,
}

/// A dataset that a run read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DatasetInput {
    /// Its name.
    pub name: String,
    /// What tells its contents apart.
    pub digest: String,
    /// What kind of source it has.
    pub source_type: String,
    /// Where it is.
    pub source: String,
    /// Its columns, as JSON.
    pub schema: Option<String>,
    /// Its figures, as JSON.
    pub profile: Option<String>,
    /// Free key-value notes, as what it was read for.
    pub tags: BTreeMap<String, String>,
}

/// How a run relates to a logged model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelRole {
    /// It reads it.
    Input,
    /// It made it, at a step.
    Output,
}

impl ModelRole {
    /// The word that is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            ModelRole::Input => "input",
            ModelRole::Output => "output",
        }
    }
}
