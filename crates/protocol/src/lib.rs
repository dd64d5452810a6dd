//! What the server and its clients say to each other: requests, replies, events and error codes.
//!
//! It does no I/O; how the words travel is the business of the doors. Every path stands in [`path`]; bodies and replies
//! are JSON unless said otherwise.

mod columns;
pub mod path;
mod query;
mod reply;
mod request;
mod settings;

pub use assay_domain as domain;
pub use query::encode_component;
pub use reply::{
    About, AlertsReply, BackupReply, Check, Choice, Comparison, Difference, ErrorBody, ErrorCode, EventPage,
    ExplainedField, FilePrediction, GcReply, HistoryPage, LabelsWritten, LogSource, MergeReply, Metric, ModelCard,
    PathSuggestion, PrecisionFigures, PredictedClass, PredictionPage, PredictionReply, RegisteredCard, RunDetail,
    RunsReply, SampleDetail, SamplePage, SamplesChanged, SeriesReply, SimilarSample, Verdict,
};
pub use request::{
    AddClasses, BackupRequest, CheckRequest, ClientCommand, ConfigQuery, DatasetChange, DatasetsQuery, DirectionChange,
    DoctorQuery, EvaluateRequest, EventsQuery, ExperimentPatch, ExportLabels, FindQuery, GcRequest, HistoryQuery,
    ImportRequest, LabelFormat, LabelRequest, MergeRequest, PathsQuery, PersonRequest, PredictFiles, PredictQuery,
    PredictionsQuery, RelocateRequest, RulePatch, RunPatch, RunsQuery, SamplesAct, SamplesChange, SamplesQuery,
    SeenRequest, SeriesQuery, StartRun,
};
pub use settings::{Settings, SettingsPatch, Theme};
