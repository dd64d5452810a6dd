//! What a workspace holds, as it is stored, sent and shown.

use crate::series::Summary;
use crate::{
    AlertId, AnnotationId, ClassId, DatasetId, EvaluationId, EventSeq, ExperimentId, JobId, Label, Labelling, RunId,
    RunStatus, SampleId, SnapshotId, Split, Timestamp,
};
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

/// A set of samples with one label schema.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dataset {
    /// Its id.
    pub id: DatasetId,
    /// Its name, unique in the workspace.
    pub name: String,
    /// The folder or CSV that its files are below.
    pub source: String,
    /// The archive that they were unpacked from.
    #[serde(default)]
    pub archive: Option<String>,
    /// When it was first imported.
    pub created: Timestamp,
    /// When it was removed; it can be restored.
    #[serde(default)]
    pub removed: Option<Timestamp>,
    /// The classes; a [`ClassId`] is a position in this list, which only ever grows.
    pub classes: Vec<String>,
    /// How many classes a sample has.
    pub labelling: Labelling,
    /// How many samples it has.
    pub samples: u64,
    /// How many of them carry a label.
    pub labeled: u64,
    /// Samples by class and split.
    pub counts: Vec<ClassCount>,
    /// Samples by split.
    pub splits: Vec<SplitCount>,
    /// Files that were found and could not be taken.
    pub problems: u64,
    /// What else needs a look.
    #[serde(default)]
    pub findings: u64,
    /// Samples whose file was not found: they keep their labels and are not learned from.
    #[serde(default)]
    pub missing: u64,
    /// Samples whose image is another one than their label was set for, until it is confirmed.
    #[serde(default)]
    pub changed: u64,
    /// Samples that people removed, and that can be restored; they count nowhere else.
    #[serde(default)]
    pub removed_samples: u64,
}

impl Dataset {
    /// What a person imported: the archive, folder or CSV.
    pub fn origin(&self) -> &str {
        self.archive.as_deref().unwrap_or(&self.source)
    }
}

/// How many samples a class has in a split.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassCount {
    /// The class.
    pub class: ClassId,
    /// The split.
    pub split: Split,
    /// How many.
    pub samples: u64,
}

/// How many samples a split has.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SplitCount {
    /// The split.
    pub split: Split,
    /// How many in all.
    pub samples: u64,
    /// How many of them have no label.
    pub unlabeled: u64,
    /// How many are labelled with none of the classes.
    pub empty: u64,
}

/// One image of a dataset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Its id; ids grow in import order and carry the browsing order.
    pub id: SampleId,
    /// The dataset it belongs to.
    pub dataset: DatasetId,
    /// Its path below the dataset's source, with forward slashes.
    pub path: String,
    /// The BLAKE3 hash of the file, in hexadecimal digits.
    pub hash: String,
    /// Width of the upright image, in pixels.
    pub width: u32,
    /// Height of the upright image, in pixels.
    pub height: u32,
    /// The split it belongs to.
    pub split: Split,
    /// Its label, if it has one.
    pub label: Option<Label>,
    /// Since when its file is missing.
    #[serde(default)]
    pub missing: Option<Timestamp>,
    /// The hash of the image that its label was set for, where the file was edited since.
    #[serde(default)]
    pub changed_from: Option<String>,
    /// When it was removed.
    #[serde(default)]
    pub removed: Option<Timestamp>,
}

impl Sample {
    /// Why it does not count; none when it does.
    pub fn state(&self) -> Option<SampleState> {
        if self.removed.is_some() {
            Some(SampleState::Removed)
        } else if self.missing.is_some() {
            Some(SampleState::Missing)
        } else {
            self.changed_from.as_ref().map(|_| SampleState::Changed)
        }
    }
}

/// Why a sample does not count: it is neither learned from nor evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SampleState {
    /// Its file was not found.
    Missing,
    /// Its image is another one than its label was set for.
    Changed,
    /// A person removed it.
    Removed,
}

impl SampleState {
    /// All states.
    pub const ALL: [SampleState; 3] = [SampleState::Missing, SampleState::Changed, SampleState::Removed];

    /// The word that is sent and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            SampleState::Missing => "missing",
            SampleState::Changed => "changed",
            SampleState::Removed => "removed",
        }
    }

    /// The state with this word.
    pub fn parse(word: &str) -> Option<SampleState> {
        SampleState::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// What kind of thing needs a look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// A file that could not be taken.
    #[default]
    LeftOut,
    /// A person and the source label a sample differently.
    LabelDiffers,
    /// The same image has two labels, or is both learned from and tested on.
    SameImage,
}

impl ProblemKind {
    /// The word that is stored and sent.
    pub fn as_str(self) -> &'static str {
        match self {
            ProblemKind::LeftOut => "left-out",
            ProblemKind::LabelDiffers => "label-differs",
            ProblemKind::SameImage => "same-image",
        }
    }

    /// The kind with this word.
    pub fn parse(word: &str) -> Option<ProblemKind> {
        [ProblemKind::LeftOut, ProblemKind::LabelDiffers, ProblemKind::SameImage]
            .into_iter()
            .find(|kind| kind.as_str() == word)
    }
}

/// Something about a file of a source that needs a look.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    /// The path below the source.
    pub path: String,
    /// Of which kind.
    #[serde(default)]
    pub kind: ProblemKind,
    /// Why, and what can be done.
    pub reason: String,
}

/// Who or what set a label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Author {
    /// The layout of what was imported.
    Import,
    /// A person, by name.
    Person(String),
    /// A model's proposal that a person confirmed.
    Proposal {
        /// The person.
        person: String,
        /// The run whose model proposed it.
        run: RunId,
    },
}

/// One entry of the append-only annotation log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelEdit {
    /// Its place in the log.
    pub id: AnnotationId,
    /// The sample.
    pub sample: SampleId,
    /// The label before.
    pub before: Option<Label>,
    /// The label from now on.
    pub after: Option<Label>,
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub author: Author,
    /// The edit that this one undoes.
    pub undoes: Option<AnnotationId>,
}

/// An immutable version of a dataset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Its id.
    pub id: SnapshotId,
    /// The dataset.
    pub dataset: DatasetId,
    /// When it was made.
    pub created: Timestamp,
    /// The BLAKE3 hash of its contents; equal contents are one snapshot.
    pub hash: String,
    /// How many samples it fixes.
    pub samples: u64,
    /// The classes at that time.
    pub classes: Vec<String>,
    /// How many classes a sample had.
    pub labelling: Labelling,
}

/// One line of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotEntry {
    /// The sample.
    pub sample: SampleId,
    /// The BLAKE3 hash of the file.
    pub hash: String,
    /// The label at that time.
    pub label: Option<Label>,
    /// The split.
    pub split: Split,
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

/// What a job does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum JobKind {
    /// Reads a source into a dataset.
    Import {
        /// The dataset's name.
        name: String,
        /// The folder, archive or CSV.
        source: String,
        /// Share of validation samples of a new dataset.
        #[serde(default)]
        val: Option<f64>,
        /// Share of test samples of a new dataset.
        #[serde(default)]
        test: Option<f64>,
        /// The seed of the splits of a new dataset.
        #[serde(default)]
        seed: Option<u64>,
        /// How many classes an image has, where the source does not say.
        #[serde(default)]
        labelling: Labelling,
        /// Whether the dataset's files were somewhere else before.
        #[serde(default)]
        relocate: bool,
    },
    /// Reads the runs that another program logged.
    ImportRuns {
        /// The folder or file.
        source: String,
        /// The experiment of runs that name none.
        experiment: String,
        /// The column of steps in tables, where someone chose it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<String>,
        /// The column of times in tables, where someone chose it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        time: Option<String>,
    },
    /// Takes over what another workspace has.
    Merge {
        /// The folder of that workspace.
        source: String,
    },
    /// Trains a run.
    Train {
        /// The run.
        run: RunId,
    },
    /// Predicts a split with a run's model.
    Evaluate {
        /// The run.
        run: RunId,
        /// The split.
        split: Split,
        /// Another dataset than that of the run, as it is then.
        #[serde(default)]
        dataset: Option<DatasetId>,
        /// Another snapshot than that of the run.
        #[serde(default)]
        snapshot: Option<SnapshotId>,
    },
}

/// A piece of work in the queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// What it does.
    pub work: JobKind,
    /// Where it is in its life.
    pub status: RunStatus,
    /// How far it has come.
    pub progress: Progress,
    /// What it says: the phase it is in, its outcome, or why it failed.
    pub message: String,
    /// When it was asked for.
    pub created: Timestamp,
    /// When it began.
    pub started: Option<Timestamp>,
}

/// One line of a run's log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogLine {
    /// When.
    pub at: Timestamp,
    /// What.
    pub text: String,
}

/// What has changed; the interface reads again what an event names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// An experiment was made, renamed, tagged, deleted or restored, and its runs with it.
    ExperimentChanged {
        /// Which.
        experiment: ExperimentId,
    },
    /// A run was made, renamed, started, ended, deleted or restored.
    RunChanged {
        /// Which.
        run: RunId,
    },
    /// Points were added to a run's series.
    MetricsLogged {
        /// Which.
        run: RunId,
    },
    /// Lines were added to a run's log.
    LogWritten {
        /// Which.
        run: RunId,
    },
    /// A run saved a checkpoint or an artifact.
    ArtifactsChanged {
        /// Which.
        run: RunId,
    },
    /// A dataset, its classes or its samples changed.
    DatasetChanged {
        /// Which.
        dataset: DatasetId,
    },
    /// A label was set, cleared, undone or redone.
    LabelChanged {
        /// In which dataset.
        dataset: DatasetId,
        /// Of which sample.
        sample: SampleId,
    },
    /// A snapshot was made.
    SnapshotMade {
        /// Of which dataset.
        dataset: DatasetId,
    },
    /// A model was evaluated.
    EvaluationMade {
        /// Whose.
        run: RunId,
        /// Which.
        evaluation: EvaluationId,
    },
    /// A job was queued, went on or ended.
    JobChanged {
        /// Which.
        job: JobId,
    },
    /// Files in a dataset's folder changed on disk.
    SourceChanged {
        /// Whose.
        dataset: DatasetId,
    },
    /// A registered model or one of its versions, or a logged model, was made, changed or deleted.
    RegistryChanged {
        /// The name of the registered model, or the id of the logged one.
        model: String,
    },
    /// Something happened that a rule watches for.
    AlertRaised {
        /// Which alert it made.
        alert: AlertId,
        /// In which run.
        run: RunId,
    },
    /// A rule was made, changed or removed, or alerts were seen or delivered.
    AlertsChanged,
    /// Someone chose something for the interface.
    SettingsChanged,
    /// It was declared which way a metric gets better.
    DirectionsChanged,
}

/// An event with its place in the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SequencedEvent {
    /// Its place.
    pub seq: EventSeq,
    /// When it was committed.
    pub at: Timestamp,
    /// What changed.
    #[serde(flatten)]
    pub event: Event,
}
