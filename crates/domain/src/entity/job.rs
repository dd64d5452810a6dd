//! Jobs, and the events that tell the interface what changed.

use super::Progress;
use crate::{
    AlertId, DatasetId, EvaluationId, EventSeq, ExperimentId, JobId, Labelling, RunId, RunStatus, SampleId, SnapshotId,
    Split, Timestamp,
};
use serde::{Deserialize, Serialize};

/// The work of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum JobKind {
    /// Reads a source into a dataset.
    Import {
        /// The dataset, if it exists already: its name may change while the job waits.
        #[serde(default)]
        dataset: Option<DatasetId>,
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
        /// Whether the dataset's files have moved here.
        #[serde(default)]
        relocate: bool,
    },
    /// Reads the runs that another program logged.
    ImportRuns {
        /// The folder or file.
        source: String,
        /// The experiment of runs that name none.
        experiment: String,
        /// The step column of tables, if chosen.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<String>,
        /// The time column of tables, if chosen.
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
    /// Its work.
    pub work: JobKind,
    /// Where it is in its life.
    pub status: RunStatus,
    /// How far it has come.
    pub progress: Progress,
    /// Its message: the current phase, the outcome, or the reason of a failure.
    pub message: String,
    /// When it was asked for.
    pub created: Timestamp,
    /// When it began.
    pub started: Option<Timestamp>,
}

/// A change; the interface reads again what an event names.
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
        /// The sample.
        sample: SampleId,
    },
    /// A snapshot was made.
    SnapshotMade {
        /// The dataset.
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
    /// The direction of a metric was declared.
    DirectionsChanged,
}

/// An event with its place in the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SequencedEvent {
    /// Its place.
    pub seq: EventSeq,
    /// When it was committed.
    pub at: Timestamp,
    /// The change.
    #[serde(flatten)]
    pub event: Event,
}
