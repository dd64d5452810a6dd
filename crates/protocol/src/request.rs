//! What clients ask.

use crate::query::query_string;
use assay_domain::alert::Condition;
use assay_domain::entity::SampleState;
use assay_domain::{AlertId, Best, LabelChange, Labelling, RunId, SampleId, Split};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Asks for events after a number; waits up to `wait_secs` for the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventsQuery {
    /// The last event that the client knows.
    pub after: i64,
    /// How long to wait for a newer one, in seconds; at most 60.
    pub wait_secs: f64,
}

impl EventsQuery {
    /// As a query string.
    pub fn to_query(self) -> String {
        query_string(&[("after", Some(self.after.to_string())), ("wait_secs", Some(self.wait_secs.to_string()))])
    }
}

/// Asks for a page of the runs table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunsQuery {
    /// The filter, in the language of [`assay_domain::query`].
    pub filter: String,
    /// The sort column, as in [`assay_domain::column`]; newest first by default. A leading `-` sorts descending.
    pub sort: Option<String>,
    /// How many to skip.
    pub offset: usize,
    /// How many to return; 200 without it.
    pub limit: Option<usize>,
    /// Deleted runs instead.
    pub deleted: bool,
}

impl RunsQuery {
    /// As a query string.
    pub fn to_query(&self) -> String {
        query_string(&[
            ("filter", (!self.filter.is_empty()).then(|| self.filter.clone())),
            ("sort", self.sort.clone()),
            ("offset", (self.offset > 0).then(|| self.offset.to_string())),
            ("limit", self.limit.map(|limit| limit.to_string())),
            ("deleted", self.deleted.then(|| "true".into())),
        ])
    }
}

/// Asks for a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StartRun {
    /// The dataset, by name or number.
    pub dataset: String,
    /// The config, as TOML.
    pub config: String,
    /// `key=value` with a dotted path, over the config.
    pub overrides: Vec<String>,
    /// The run's name; one is made from the model without it.
    pub name: Option<String>,
    /// The experiment; `default` without it.
    pub experiment: Option<String>,
    /// What people should know of it.
    pub note: String,
    /// Free key-value notes.
    pub tags: BTreeMap<String, String>,
    /// The run that this one is a clone of.
    pub parent: Option<RunId>,
    /// The command and directory of the client, for the record; the server's own without it.
    pub command: Option<ClientCommand>,
}

/// Where and how a client was called.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClientCommand {
    /// Program and arguments.
    pub arguments: Vec<String>,
    /// The working directory.
    pub directory: String,
}

/// Changes what people wrote of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunPatch {
    /// A new name.
    pub name: Option<String>,
    /// A new note.
    pub note: Option<String>,
    /// Tags to set (or, with null, to remove).
    pub tags: BTreeMap<String, Option<String>>,
}

/// Resolves a run by text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FindQuery {
    /// Look among deleted runs.
    pub deleted: bool,
}

/// Changes an experiment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExperimentPatch {
    /// A new name.
    pub name: Option<String>,
    /// A new note.
    pub note: Option<String>,
    /// Tags to set (or, with null, to remove).
    pub tags: BTreeMap<String, Option<String>>,
}

/// Declares the direction of a metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DirectionChange {
    /// The metric.
    pub key: String,
    /// The direction; null withdraws it.
    #[serde(default)]
    pub best: Option<Best>,
}

/// Requests points of a metric.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HistoryQuery {
    /// The metric.
    pub key: String,
    /// Points to skip.
    pub offset: usize,
    /// Maximum number of points, 100,000 by default.
    pub limit: Option<usize>,
}

impl HistoryQuery {
    /// As a query string.
    pub fn to_query(&self) -> String {
        query_string(&[
            ("key", Some(self.key.clone())),
            ("offset", (self.offset > 0).then(|| self.offset.to_string())),
            ("limit", self.limit.map(|limit| limit.to_string())),
        ])
    }
}

/// Asks for the config keys.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfigQuery {
    /// The recipe whose values are the defaults.
    pub recipe: Option<String>,
}

impl ConfigQuery {
    /// As a query string.
    pub fn to_query(&self) -> String {
        query_string(&[("recipe", self.recipe.clone())])
    }
}

/// Asks for series of runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SeriesQuery {
    /// The runs' numbers, separated by commas.
    pub runs: String,
    /// The metric.
    pub key: String,
    /// At most so many buckets a series; 600 without it.
    pub buckets: Option<usize>,
    /// The first step.
    pub first_step: Option<i64>,
    /// The last step.
    pub last_step: Option<i64>,
}

impl SeriesQuery {
    /// As a query string.
    pub fn to_query(&self) -> String {
        query_string(&[
            ("runs", Some(self.runs.clone())),
            ("key", (!self.key.is_empty()).then(|| self.key.clone())),
            ("buckets", self.buckets.map(|buckets| buckets.to_string())),
            ("first_step", self.first_step.map(|step| step.to_string())),
            ("last_step", self.last_step.map(|step| step.to_string())),
        ])
    }
}

/// Asks what a path that someone types may become.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PathsQuery {
    /// What was typed so far; the home folder's contents without it.
    pub begin: String,
}

impl PathsQuery {
    /// As a query string.
    pub fn to_query(&self) -> String {
        query_string(&[("begin", Some(self.begin.clone()))])
    }
}

/// Frees what nobody needs any more.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GcRequest {
    /// Only says what that is.
    pub dry: bool,
}

/// Copies the workspace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackupRequest {
    /// The folder that will hold the copy, on the machine that serves.
    pub folder: String,
}

/// Takes over what another workspace has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MergeRequest {
    /// Its folder, or the one that it is in, on the machine that serves.
    pub folder: String,
}

/// Says that alerts were seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeenRequest {
    /// The latest one that was.
    pub until: AlertId,
}

/// Changes a rule of alerts; what is not named stays.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RulePatch {
    /// Another name.
    pub name: Option<String>,
    /// Another condition.
    pub condition: Option<Condition>,
    /// Another filter.
    pub filter: Option<String>,
    /// Whether the window shows a notification.
    pub desktop: Option<bool>,
    /// Another address; an empty one for none.
    pub webhook: Option<String>,
    /// Whether it watches at all.
    pub enabled: Option<bool>,
}

/// How deeply the workspace is looked at.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DoctorQuery {
    /// Reads every file that is kept, too.
    pub deep: bool,
}

/// Imports a source, or looks at it again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImportRequest {
    /// A folder, archive or CSV on the machine that serves.
    pub source: String,
    /// The dataset's name; the source's own without it.
    pub name: Option<String>,
    /// Share of validation samples.
    pub val: Option<f64>,
    /// Share of test samples.
    pub test: Option<f64>,
    /// The seed of the split.
    pub seed: Option<u64>,
    /// How many classes an image has, where the source does not say that it may have any number.
    pub labelling: Labelling,
    /// The step column of tables of metrics; chosen if absent, and again if empty.
    pub step: Option<String>,
    /// The time column of tables of metrics; chosen if absent, and again if empty.
    pub time: Option<String>,
}

/// Asks for a page of samples.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SamplesQuery {
    /// Only this class (its number), `none` for samples without a label, or `empty` for those labelled with no class.
    pub class: Option<String>,
    /// Only this split.
    pub split: Option<Split>,
    /// In this state; by default all but removed samples.
    pub state: Option<SampleState>,
    /// Whose path contains this text.
    pub name: Option<String>,
    /// How many to skip.
    pub offset: usize,
    /// How many to return; 200 without it.
    pub limit: Option<usize>,
}

impl SamplesQuery {
    /// As a query string.
    pub fn to_query(&self) -> String {
        query_string(&[
            ("class", self.class.clone()),
            ("split", self.split.map(|split| split.as_str().into())),
            ("state", self.state.map(|state| state.as_str().into())),
            ("name", self.name.clone().filter(|name| !name.is_empty())),
            ("offset", Some(self.offset.to_string())),
            ("limit", self.limit.map(|limit| limit.to_string())),
        ])
    }
}

/// Adds classes to a schema.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AddClasses {
    /// Their names.
    pub names: Vec<String>,
}

/// Changes a dataset.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DatasetChange {
    /// How many classes an image has.
    pub labelling: Option<Labelling>,
    /// Its new name.
    pub name: Option<String>,
    /// `true` removes it, `false` restores it.
    pub removed: Option<bool>,
}

/// Lists the datasets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DatasetsQuery {
    /// List removed ones instead.
    pub removed: bool,
}

/// Changes the path of a dataset's source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RelocateRequest {
    /// The folder, archive or CSV on the server.
    pub source: String,
}

/// Changes the listed samples, or all that match.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SamplesChange {
    /// Which samples.
    #[serde(default)]
    pub samples: Option<Vec<SampleId>>,
    /// The filter if none are listed; paging is ignored.
    #[serde(default)]
    pub filter: SamplesQuery,
    /// The change.
    pub act: SamplesAct,
}

/// A change of samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SamplesAct {
    /// Assign to this split.
    Split(Split),
    /// Remove from the dataset.
    Remove,
    /// Restore.
    Restore,
    /// Confirm the labels for the current images, as this person.
    Confirm(String),
}

/// Exports labels on the server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExportLabels {
    /// Absolute path of the CSV or folder; it must not exist yet.
    pub target: String,
    /// How.
    pub format: LabelFormat,
}

/// Formats of label files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LabelFormat {
    /// A CSV of path, label and split.
    #[default]
    Csv,
    /// Copies of the images in SPLIT/CLASS folders.
    ClassFolders,
}

/// Changes a label: `set` it to a list of classes, or to null to clear it; `add` or `remove` one class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelRequest {
    /// How.
    #[serde(flatten)]
    pub change: LabelChange,
    /// Who labels.
    pub person: String,
    /// The run whose proposal is confirmed.
    #[serde(default)]
    pub proposed_by: Option<RunId>,
}

/// Whose edit is undone or redone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PersonRequest {
    /// Who.
    pub person: String,
}

/// Evaluates a run's model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EvaluateRequest {
    /// The split; test without it.
    pub split: Option<Split>,
    /// Another dataset than the run's, by name or number, as it is now; the run's snapshot without it.
    pub dataset: Option<String>,
    /// A snapshot of that dataset (else of the run's), by number or the beginning of its hash.
    pub snapshot: Option<String>,
}

/// Asks for a page of predictions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PredictionsQuery {
    /// Only samples labelled so, among others.
    pub label: Option<i64>,
    /// Only samples that are labelled, and not so.
    pub label_without: Option<i64>,
    /// Only samples predicted so, among others.
    pub predicted: Option<i64>,
    /// Only samples not predicted so.
    pub predicted_without: Option<i64>,
    /// Only wrong ones.
    pub wrong: bool,
    /// `loss` (the default), `confidence` or `sample`.
    pub order: Option<String>,
    /// How many to skip.
    pub offset: usize,
    /// How many to return; 200 without it.
    pub limit: Option<usize>,
}

impl PredictionsQuery {
    /// As a query string.
    pub fn to_query(&self) -> String {
        query_string(&[
            ("label", self.label.map(|class| class.to_string())),
            ("label_without", self.label_without.map(|class| class.to_string())),
            ("predicted", self.predicted.map(|class| class.to_string())),
            ("predicted_without", self.predicted_without.map(|class| class.to_string())),
            ("wrong", self.wrong.then(|| "true".into())),
            ("order", self.order.clone()),
            ("offset", Some(self.offset.to_string())),
            ("limit", self.limit.map(|limit| limit.to_string())),
        ])
    }
}

/// Which checkpoint predicts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PredictQuery {
    /// `best` (the default where there is one) or `last`.
    pub checkpoint: Option<String>,
}

/// Predicts image files of the machine that serves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PredictFiles {
    /// Their absolute paths.
    pub paths: Vec<String>,
    /// `best` (the default where there is one) or `last`.
    pub checkpoint: Option<String>,
    /// `one` (the default), `mirrored` or `ten-crop`: the views of an image whose probabilities are averaged.
    pub views: Option<String>,
    /// `fp32` (the default) or `int8`: the bits of the weights.
    pub precision: Option<String>,
}

/// Checks a run's model against a file of demands on the machine that serves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CheckRequest {
    /// Its absolute path.
    pub spec: String,
}
