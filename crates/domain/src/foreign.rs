//! What the files of other programs say of their runs.

use crate::{Point, RunStatus, Timestamp};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What a piece of a file says of a run, in the file's order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Part {
    /// What is in it.
    pub logged: Vec<Logged>,
    /// How many values it has that are neither a number nor a param nor a file.
    pub left_out: u64,
    /// Left-out values by column, as far as columns have names.
    pub left_out_of: BTreeMap<String, u64>,
    /// Notes for people on how it was read, e.g. the chosen column or a rewritten file.
    pub notes: Vec<String>,
    /// How far the file has been read, to be told at the next reading: a byte, or what its contents are told apart by.
    pub read: u64,
    /// The reader's opaque state.
    pub state: Option<String>,
    /// Whether there may be more already.
    pub has_more: bool,
    /// Why it cannot be read further.
    pub damage: Option<String>,
}

/// One thing that a program logged.
#[derive(Clone, Debug, PartialEq)]
pub enum Logged {
    /// A point of the metric of this key.
    Point(String, Point),
    /// A param; a later one of the key replaces it.
    Param(String, String),
    /// A tag; a later one of the key replaces it.
    Tag(String, String),
    /// A file of this name, and what is in it.
    File(String, Contents),
    /// The run's name.
    Name(String),
    /// What people wrote about it.
    Note(String),
    /// The experiment that it belongs to.
    Experiment(String),
    /// Who made it.
    User(String),
    /// The run's identity everywhere, where it has 32 hexadecimal digits.
    Uid(String),
    /// A restart at this step: later points of these metrics (all, if empty) supersede earlier ones from there on.
    Restarted {
        /// The step.
        step: i64,
        /// The metrics.
        keys: Vec<String>,
    },
    /// A line of the log.
    Line(String),
    /// When it began; the earliest counts.
    Began(Timestamp),
    /// When it was last heard of; the latest counts.
    Heard(Timestamp),
    /// That it is in this status, since then where that is known.
    Status(RunStatus, Option<Timestamp>),
}

/// What is in a file that a program logged.
#[derive(Clone, Debug, PartialEq)]
pub enum Contents {
    /// These bytes.
    Bytes(Vec<u8>),
    /// What is in this file on the disk.
    At(PathBuf),
}
