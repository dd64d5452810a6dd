//! Ids, units and the pure rules of Assay: what a run may become, how a series is reduced for a chart, how samples
//! are split, what a confusion matrix says, how a run filter reads.
//!
//! It does no I/O, knows no clock and draws no random numbers; it compiles to WebAssembly, so that the server and the
//! interface apply the same rules. Start with [`RunStatus`], [`series`] and [`split`].

pub mod alert;
pub mod column;
pub mod confusion;
pub mod content;
mod direction;
pub mod entity;
pub mod foreign;
mod id;
pub mod key;
mod label;
pub mod matching;
pub mod number;
pub mod profile;
pub mod query;
pub mod record;
pub mod registry;
mod run;
pub mod scores;
pub mod search;
pub mod series;
pub mod split;
mod text;

pub use confusion::Confusion;
pub use direction::{Best, Directions};
pub use id::{
    AlertId, AnnotationId, ClassId, DatasetId, EvaluationId, EventSeq, ExperimentId, JobId, RuleId, RunId, SampleId,
    SnapshotId, SourceId,
};
pub use label::{Label, LabelChange, Labelling};
pub use number::{JsonNumber, number, numbers_apart};
pub use query::Filter;
pub use run::{RunStatus, Timestamp};
pub use series::{Bucket, Point};
pub use split::Split;
pub use text::{ClassNameError, class_name, counted, duration, nearest};
