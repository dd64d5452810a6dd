//! What a workspace holds, as it is stored, sent and shown.

mod dataset;
mod job;

pub use dataset::{
    Author, ClassCount, Dataset, LabelEdit, Problem, ProblemKind, Sample, SampleState, Snapshot, SnapshotEntry,
    SplitCount,
};
pub use job::{Event, Job, JobKind, SequencedEvent};

use crate::series::Summary;
use crate::{DatasetId, EvaluationId, ExperimentId, Label, RunId, RunStatus, SampleId, SnapshotId, Split, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A group of runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Experiment {
    /// Its id.
    pub id: ExperimentId,
    /// Its name, unique in the workspace.
    pub name: String,
    /// Where clients keep the artifacts of its runs, if they chose so.
    pub location: Option<String>,
    /// Free key-value notes.
    pub tags: BTreeMap<String, String>,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last renamed, tagged, deleted or restored.
    pub updated: Timestamp,
    /// When it was deleted; it can be restored.
    pub deleted: Option<Timestamp>,
}

/// How far a run or job has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Units done: optimizer steps of a run, files of an import.
    pub done: u64,
    /// Units in all; 0 while unknown.
    pub total: u64,
}

impl Progress {
    /// The share done, between 0 and 1; `None` while the total is unknown.
    pub fn fraction(self) -> Option<f64> {
        (self.total > 0).then(|| (self.done as f64 / self.total as f64).min(1.0))
    }
}

/// A run as the table shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its number in this workspace.
    pub id: RunId,
    /// Its identity everywhere: 32 hexadecimal digits.
    pub uid: String,
    /// The experiment it belongs to.
    pub experiment: String,
    /// The same by its id.
    pub experiment_id: ExperimentId,
    /// The program that logs it, where that is not Assay itself.
    pub client: Option<String>,
    /// Who made it, as the client says.
    pub user: Option<String>,
    /// Its name; need not be unique.
    pub name: String,
    /// What people wrote about it.
    pub note: String,
    /// Where it is in its life.
    pub status: RunStatus,
    /// Why it failed, stopped or crashed.
    pub reason: Option<String>,
    /// When it was asked for.
    pub created: Timestamp,
    /// When it began to work.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Optimizer steps done and planned.
    pub progress: Progress,
    /// The dataset it learns from.
    pub dataset: Option<DatasetId>,
    /// The version of the dataset.
    pub snapshot: Option<SnapshotId>,
    /// The run it was cloned from.
    pub parent: Option<RunId>,
    /// The resolved config by dotted path.
    pub params: BTreeMap<String, String>,
    /// Free key-value notes.
    pub tags: BTreeMap<String, String>,
    /// The summary of each metric.
    pub metrics: BTreeMap<String, Summary>,
    /// When it was deleted; until the workspace is cleaned it can be restored.
    pub deleted: Option<Timestamp>,
}

impl Run {
    /// Seconds from start to end (or to `now` while it runs); `None` before the start.
    pub fn duration_secs(&self, now: Timestamp) -> Option<f64> {
        self.started.map(|started| self.ended.unwrap_or(now).seconds_since(started).max(0.0))
    }
}

/// A file of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Artifact {
    /// Its path within the run, with forward slashes.
    pub path: String,
    /// The BLAKE3 hash of its contents, in hexadecimal digits.
    pub hash: String,
    /// Its size.
    pub bytes: u64,
}

/// Which of a run's two checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckpointKind {
    /// The one with the best validation figure.
    Best,
    /// The latest; training resumes from it.
    Last,
}

impl CheckpointKind {
    /// The word that is stored, sent and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            CheckpointKind::Best => "best",
            CheckpointKind::Last => "last",
        }
    }
}

/// A saved state of training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The run that saved it.
    pub run: RunId,
    /// Best or last.
    pub kind: CheckpointKind,
    /// Optimizer steps done.
    pub step: u64,
    /// Epochs done.
    pub epoch: u64,
    /// The validation accuracy at that time, if there was a validation split.
    #[serde(default, with = "crate::number::json_option")]
    pub val_accuracy: Option<f64>,
    /// When it was saved.
    pub at: Timestamp,
    /// Weights: a safetensors blob.
    pub weights: Artifact,
    /// Optimizer state: a safetensors blob.
    pub optimizer: Artifact,
    /// Everything else of the state: a JSON blob.
    pub state: Artifact,
}

/// A model's predictions on one split of one snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Its id.
    pub id: EvaluationId,
    /// The run whose model predicted.
    pub run: RunId,
    /// Which of its checkpoints.
    pub checkpoint: CheckpointKind,
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The split.
    pub split: Split,
    /// When it was made.
    pub created: Timestamp,
    /// The classes that the model knows, in the order of its outputs.
    pub classes: Vec<String>,
    /// Mean cross-entropy over the labelled samples, in nats; where samples may have several classes, the mean over classes
    /// too.
    #[serde(default, with = "crate::number::json_option")]
    pub loss: Option<f64>,
    /// What was confused with what.
    pub confusion: crate::Confusion,
}

/// What a model said of one sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// The sample.
    pub sample: SampleId,
    /// Its label in the snapshot.
    pub label: Option<Label>,
    /// The most probable class; where samples may have several, all those that are more probable than not.
    pub predicted: Label,
    /// One probability a class; they sum to 1 where samples have one class.
    #[serde(with = "crate::number::json_f32s")]
    pub probabilities: Vec<f32>,
    /// Cross-entropy against the label, in nats.
    #[serde(default, with = "crate::number::json_f32_option")]
    pub loss: Option<f32>,
}

/// One line of a run's log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogLine {
    /// When.
    pub at: Timestamp,
    /// What.
    pub text: String,
}
