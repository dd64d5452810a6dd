//! What the server answers.

use assay_domain::alert::Alert;
use assay_domain::column::Names;
use assay_domain::entity::{
    Artifact, Checkpoint, Dataset, Evaluation, LabelEdit, LogLine, Prediction, Problem, Run, Sample, SequencedEvent,
};
use assay_domain::record::Record;
use assay_domain::registry::{DatasetInput, ModelVersion, RegisteredModel};
use assay_domain::{
    Best, Bucket, Directions, EventSeq, JsonNumber, Label, Labelling, RunId, SampleId, SourceId, Split, Timestamp,
    counted,
};
use serde::{Deserialize, Serialize};

/// What serves, and where.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// The program's version.
    pub version: String,
    /// The workspace folder.
    pub workspace: String,
    /// What computes.
    pub device: String,
    /// Whether nothing can be written.
    pub read_only: bool,
    /// The server's time.
    pub now: Timestamp,
    /// The latest event.
    pub last_event: EventSeq,
}

/// The latest alerts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AlertsReply {
    /// The latest first.
    pub alerts: Vec<Alert>,
    /// How many in all nobody has seen.
    pub unseen: u64,
}

/// What nobody needs any more.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GcReply {
    /// Whether it is there still.
    pub is_dry: bool,
    /// The deleted runs, by number and name.
    pub runs: Vec<String>,
    /// How many files nothing else refers to.
    pub files: u64,
    /// The room that is freed, as far as it is known.
    pub bytes: u64,
}

/// A copy of the workspace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackupReply {
    /// Where it is.
    pub root: String,
    /// How many files it has beside the database.
    pub files: u64,
    /// Their size.
    pub bytes: u64,
}

/// What was taken over from another workspace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MergeReply {
    /// How many runs came.
    pub runs: u64,
    /// How many of its runs were here already.
    pub known: u64,
    /// How many of those gained something there, which came.
    pub gained: u64,
    /// The names of those that contradict each other, or went on there and are read from files: nothing of them comes.
    pub parted: Vec<String>,
    /// What did not come because its files are missing or damaged, and why.
    pub damaged: Vec<String>,
    /// The names that new datasets have here.
    pub datasets: Vec<String>,
    /// How many edits of labels came to datasets that were here already.
    pub edits: u64,
    /// How many samples both sides labelled differently since they parted; ours stayed.
    pub differing: u64,
    /// How many samples were removed there, and are removed here now.
    #[serde(default)]
    pub removed: u64,
    /// How many samples that were removed there stayed, since a person labelled them here later.
    #[serde(default)]
    pub kept: u64,
    /// How many samples are in the split that a person chose there.
    #[serde(default)]
    pub splits: u64,
    /// How many samples people put into different splits on both sides; ours stayed.
    #[serde(default)]
    pub differing_splits: u64,
    /// The names of registered models that came.
    pub models: Vec<String>,
    /// The names of registered models that are here already, and stayed as they are.
    pub known_models: Vec<String>,
}

impl MergeReply {
    /// What there is to say of it.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("{} came; {} here already", counted(self.runs, "run"), self.known)];
        if self.gained > 0 {
            lines.push(format!("{} of those had gone on there, and do so here", self.gained));
        }
        let listed =
            |what: &str, names: &[String]| (!names.is_empty()).then(|| format!("{what}: {}", names.join(", ")));
        lines.extend(listed("new datasets", &self.datasets));
        if self.edits > 0 {
            lines.push(format!("{} of labels came", counted(self.edits, "edit")));
        }
        if self.differing > 0 {
            let differing = counted(self.differing, "image");
            lines.push(format!("labelled differently on both sides since: {differing}; the labels here stayed"));
        }
        for (count, what) in [
            (self.removed, "removed there: removed here too, and can be restored"),
            (self.kept, "removed there and labelled here since: they stayed"),
            (self.splits, "put into another split by a person there: followed"),
            (self.differing_splits, "put into different splits on both sides: the splits here stayed"),
        ] {
            lines.extend((count > 0).then(|| format!("{} {what}", counted(count, "image"))));
        }
        lines.extend(listed("registered models", &self.models));
        let known = "registered models that were here already, and stayed as they are";
        lines.extend(listed(known, &self.known_models));
        lines.extend(listed("not taken over", &self.damaged));
        let parted = "differ on both sides, or were read from files and went on there; to have them as they are there, delete \
                      them here, assay gc --yes, merge again";
        lines.extend(listed(parted, &self.parted));
        lines
    }
}

/// A folder or file in which another program logs runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogSource {
    /// Its number.
    pub id: SourceId,
    /// Where it is.
    pub path: String,
}

/// What kind of failure it was; clients act on this, people read the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The request makes no sense; another one may.
    Invalid,
    /// There is no such thing.
    NotFound,
    /// It contradicts what is there.
    Conflict,
    /// Who asks must show a token.
    Unauthorized,
    /// It comes from a place that may not ask.
    Forbidden,
    /// Nothing can be written.
    ReadOnly,
    /// The disk has no room.
    DiskFull,
    /// The server failed.
    Internal,
    /// Nobody answered.
    Unreachable,
}

impl ErrorCode {
    /// The HTTP status that goes with it.
    pub fn status(self) -> u16 {
        match self {
            ErrorCode::Invalid => 400,
            ErrorCode::Unauthorized => 401,
            ErrorCode::Forbidden | ErrorCode::ReadOnly => 403,
            ErrorCode::NotFound => 404,
            ErrorCode::Conflict => 409,
            ErrorCode::Internal => 500,
            ErrorCode::DiskFull => 507,
            ErrorCode::Unreachable => 503,
        }
    }
}

/// A failure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ErrorBody {
    /// What kind.
    pub code: ErrorCode,
    /// What failed, why, and what to do next.
    pub message: String,
}

impl ErrorBody {
    /// A failure of this kind.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> ErrorBody {
        ErrorBody { code, message: message.into() }
    }
}

/// New events.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EventPage {
    /// In order.
    pub events: Vec<SequencedEvent>,
    /// The number to ask after next.
    pub last: EventSeq,
}

/// A page of the runs table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunsReply {
    /// The runs.
    pub runs: Vec<Run>,
    /// How many match in all.
    pub total: usize,
    /// Every param that any run has.
    pub param_keys: Vec<String>,
    /// Every metric that any run has.
    pub metric_keys: Vec<String>,
    /// The tag keys of all runs.
    #[serde(default)]
    pub tag_keys: Vec<String>,
    /// Directions of metrics.
    #[serde(default)]
    pub directions: Directions,
    /// A remark on the query, e.g. that no run has a name in it.
    #[serde(default)]
    pub notes: Vec<String>,
}

impl RunsReply {
    /// The names in use by runs.
    pub fn names(&self) -> Names<'_> {
        Names { params: &self.param_keys, metrics: &self.metric_keys, tags: &self.tag_keys }
    }
}

/// A metric in use by runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Its key.
    pub key: String,
    /// Its direction.
    pub best: Best,
    /// Whether it was declared.
    pub is_declared: bool,
}

/// Raw points of a metric of a run, as columns of equal length: by segment, in order of arrival.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HistoryPage {
    /// The steps.
    pub step: Vec<i64>,
    /// Log times, in milliseconds since the Unix epoch.
    pub wall_ms: Vec<i64>,
    /// The values.
    pub value: Vec<JsonNumber>,
    /// Segments: 0, plus one for each resume.
    pub segment: Vec<i64>,
    /// Whether a later resume superseded the point.
    pub is_superseded: Vec<bool>,
    /// Whether there are more.
    pub has_more: bool,
}

/// Everything about a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunDetail {
    /// The run.
    pub run: Run,
    /// The config as it was asked for.
    pub config: String,
    /// Its record, once fixed.
    pub record: Option<Record>,
    /// Its files.
    pub artifacts: Vec<Artifact>,
    /// Its checkpoints.
    pub checkpoints: Vec<Checkpoint>,
    /// The last lines of its log.
    pub log: Vec<LogLine>,
    /// The evaluations of its model, newest first.
    pub evaluations: Vec<Evaluation>,
    /// Datasets that the client reported.
    #[serde(default)]
    pub inputs: Vec<DatasetInput>,
    /// Directions of its metrics.
    #[serde(default)]
    pub directions: Directions,
}

/// One series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesReply {
    /// The run.
    pub run: RunId,
    /// The metric.
    pub key: String,
    /// Its buckets in step order; an array for each of their fields in JSON.
    #[serde(with = "crate::columns")]
    pub buckets: Vec<Bucket>,
}

/// A folder, archive or list on the server that a typed path may become.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathSuggestion {
    /// The whole path.
    pub path: String,
    /// Whether it is a folder.
    pub is_folder: bool,
}

/// Runs side by side.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The runs, in the order asked for.
    pub runs: Vec<Run>,
    /// What they have, one line a key.
    pub differences: Vec<Difference>,
}

/// One line of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Config, code, data, command, machine or metrics.
    pub section: String,
    /// The key.
    pub key: String,
    /// One value a run.
    pub values: Vec<Option<String>>,
    /// Whether they are not all the same.
    pub differs: bool,
}

/// One key of the config.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainedField {
    /// The dotted path.
    pub key: String,
    /// The default, as text.
    pub default: String,
    /// What it decides.
    pub help: String,
    /// The words that it takes; none where it takes other things.
    #[serde(default)]
    pub choices: Vec<Choice>,
}

/// A word that a config key takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// The word.
    pub word: String,
    /// What it means.
    pub meaning: String,
}

/// A sample that resembles another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SimilarSample {
    /// The sample.
    pub sample: SampleId,
    /// Its path below the dataset's source.
    pub path: String,
    /// Its label when it was evaluated, by the classes of the model.
    pub label: Option<Label>,
    /// Its split.
    pub split: Split,
    /// The cosine of what the model's last layer sees of both, at most 1.
    pub similarity: f32,
}

/// How good and how quick a model is with weights of some precision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PrecisionFigures {
    /// `fp32` or `int8`.
    pub precision: String,
    /// The share of right answers.
    pub accuracy: f64,
    /// The mean F1 of all classes.
    pub macro_f1: f64,
    /// The mean cross-entropy, in nats.
    #[serde(with = "assay_domain::number::json")]
    pub loss: f64,
    /// The median time of predicting one image, in milliseconds.
    pub latency_ms: f64,
    /// Images in a second, in batches of 16.
    pub images_per_s: f64,
    /// Bytes of the weights of convolutions and linear layers.
    pub weight_bytes: u64,
}

/// How a model met one demand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// What was demanded of what.
    pub name: String,
    /// Whether it was met.
    pub passed: bool,
    /// What was found, and what was wanted.
    pub text: String,
    /// How long it took to find out.
    pub secs: f64,
}

/// What a model says of an image file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FilePrediction {
    /// The file.
    pub path: String,
    /// The classes, the most probable first; none where it failed.
    pub classes: Vec<PredictedClass>,
    /// How many of them the model may say.
    pub labelling: Labelling,
    /// Why it could not be predicted.
    pub error: Option<String>,
}

/// A page of samples.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SamplePage {
    /// The samples in browsing order.
    pub samples: Vec<Sample>,
    /// How many match in all.
    pub total: u64,
}

/// Result of changing samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SamplesChanged {
    /// How many.
    pub samples: u64,
}

/// Result of exporting labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelsWritten {
    /// The CSV or folder.
    pub target: String,
    /// The samples in it.
    pub samples: u64,
    /// Samples left out, with reasons.
    pub left_out: Vec<Problem>,
}

/// A sample with its history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampleDetail {
    /// The sample.
    pub sample: Sample,
    /// Its label edits, oldest first.
    pub history: Vec<LabelEdit>,
}

/// A page of predictions with their samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PredictionPage {
    /// The predictions in the order asked for.
    pub predictions: Vec<Prediction>,
    /// The path of each one's sample.
    pub paths: Vec<String>,
    /// How many match in all.
    pub total: u64,
}

/// One class of a prediction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PredictedClass {
    /// The class.
    pub class: String,
    /// Its probability; all together 1, or each by itself where an image may have any number of classes.
    pub probability: f32,
    /// Whether the model says so: of the most probable class, or of each that is more probable than not.
    pub is_predicted: bool,
}

/// What a model says of an image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PredictionReply {
    /// The classes, the most probable first.
    pub classes: Vec<PredictedClass>,
    /// How long decoding and prediction took, in milliseconds.
    pub elapsed_ms: f64,
}

/// A model: a run's checkpoint with what one needs to choose it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelCard {
    /// The run.
    pub run: Run,
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// The test accuracy of the latest evaluation of this checkpoint.
    pub test_accuracy: Option<f64>,
    /// The dataset it was trained on.
    pub dataset: Option<Dataset>,
}

/// A registered model with its versions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegisteredCard {
    /// The model.
    pub model: RegisteredModel,
    /// Its versions, the newest first.
    pub versions: Vec<ModelVersion>,
}

/// One line of the doctor's report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// What was looked at.
    pub what: String,
    /// Whether it is as it should be; `None` for a thing that one can do without.
    pub ok: Option<bool>,
    /// What was found, and what to do.
    pub found: String,
}
