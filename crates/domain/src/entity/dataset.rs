//! Datasets, their samples and labels, and the versions of them.

use crate::{AnnotationId, ClassId, DatasetId, Label, Labelling, RunId, SampleId, SnapshotId, Split, Timestamp};
use serde::{Deserialize, Serialize};

/// A set of samples with one label schema.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dataset {
    /// Its id.
    pub id: DatasetId,
    /// Its name, unique in the workspace.
    pub name: String,
    /// The folder or CSV that paths start from.
    pub source: String,
    /// The archive that they were unpacked from.
    #[serde(default)]
    pub archive: Option<String>,
    /// When it was first imported.
    pub created: Timestamp,
    /// Time of removal; it can be restored.
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
    /// Other kinds of problem.
    #[serde(default)]
    pub findings: u64,
    /// Samples whose file was not found: they keep their labels but are not trained on.
    #[serde(default)]
    pub missing: u64,
    /// Samples whose image changed after labelling, until the label is confirmed.
    #[serde(default)]
    pub changed: u64,
    /// Samples removed by people; they can be restored and count nowhere else.
    #[serde(default)]
    pub removed_samples: u64,
}

impl Dataset {
    /// The imported path: archive, folder or CSV.
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
    /// Since when it is missing.
    #[serde(default)]
    pub missing: Option<Timestamp>,
    /// The hash of the image that was labelled, if the file was edited since.
    #[serde(default)]
    pub changed_from: Option<String>,
    /// Time of removal.
    #[serde(default)]
    pub removed: Option<Timestamp>,
}

impl Sample {
    /// Why it is excluded; `None` if it counts.
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

/// Why a sample is excluded from training and evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SampleState {
    /// Its file was not found.
    Missing,
    /// Its image changed after labelling.
    Changed,
    /// A person removed it.
    Removed,
}

impl SampleState {
    /// All states.
    pub const ALL: [SampleState; 3] = [SampleState::Missing, SampleState::Changed, SampleState::Removed];

    /// The name sent and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            SampleState::Missing => "missing",
            SampleState::Changed => "changed",
            SampleState::Removed => "removed",
        }
    }

    /// Parses its name.
    pub fn parse(word: &str) -> Option<SampleState> {
        SampleState::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// The kind of a problem.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// A file that was left out.
    #[default]
    LeftOut,
    /// A person's label differs from the source's.
    LabelDiffers,
    /// Copies of an image differ in label, or are in training and test.
    SameImage,
    /// The source says two things about an image, which is taken.
    Contradicted,
}

impl ProblemKind {
    /// The name stored and sent.
    pub fn as_str(self) -> &'static str {
        match self {
            ProblemKind::LeftOut => "left-out",
            ProblemKind::LabelDiffers => "label-differs",
            ProblemKind::SameImage => "same-image",
            ProblemKind::Contradicted => "contradicted",
        }
    }

    /// Parses its name.
    pub fn parse(word: &str) -> Option<ProblemKind> {
        [ProblemKind::LeftOut, ProblemKind::LabelDiffers, ProblemKind::SameImage, ProblemKind::Contradicted]
            .into_iter()
            .find(|kind| kind.as_str() == word)
    }
}

/// A problem with a file of a source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    /// The path below the source.
    pub path: String,
    /// Its kind.
    #[serde(default)]
    pub kind: ProblemKind,
    /// Why, and what can be done.
    pub reason: String,
}

/// The author of a label.
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
