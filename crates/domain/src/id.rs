//! Ids as newtypes, so that a run is never mistaken for a dataset.

use serde::{Deserialize, Serialize};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = std::num::ParseIntError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map($name)
            }
        }
    )*};
}

ids! {
    /// A group of runs.
    ExperimentId;
    /// One training or evaluation with its record.
    RunId;
    /// A set of samples with one label schema.
    DatasetId;
    /// One image of a dataset.
    SampleId;
    /// One entry of the annotation log.
    AnnotationId;
    /// The position of a class in its dataset's label schema.
    ClassId;
    /// An immutable version of a dataset.
    SnapshotId;
    /// A model's predictions on one split of one snapshot.
    EvaluationId;
    /// A folder or file in which another program logs runs.
    SourceId;
    /// A rule of alerts.
    RuleId;
    /// That something happened that a rule watches for.
    AlertId;
    /// A piece of work in the queue.
    JobId;
    /// The place of an event in the log; events are numbered from 1 in commit order.
    EventSeq;
}
