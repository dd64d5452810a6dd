//! Reads runs logged by other programs: TensorBoard, W&B offline, MLflow file stores, CSV and JSON lines, the Hugging
//! Face trainer, and downloads from TensorBoard and W&B.
//!
//! [`survey`] tells whether a folder has runs, [`find`] assigns files to runs, and [`read`] reads a file on from its
//! last position.

mod columns;
mod csv_lines;
mod find;
mod histogram;
#[cfg(test)]
mod hostile;
mod json;
mod lines;
mod mlflow;
mod seal;
mod survey;
mod table;
mod tensorboard;
mod text;
mod trainer;
mod wandb;

pub use find::{artifacts, find};
pub use survey::{Survey, survey};

use crate::{FormatError, place_text};
use assay_domain::foreign::{Logged, Part};
use assay_domain::{Timestamp, key};
use columns::{Choice, EARLIEST_MS};
use seal::Seal;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// A file that says something of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct LogFile {
    /// Where it is.
    pub path: PathBuf,
    /// The folder or file of its run below the source, with forward slashes; empty where that is the source itself.
    pub run: String,
    /// How it is read.
    pub named: Named,
}

impl LogFile {
    /// The name its read position is stored under.
    pub fn unit(&self) -> String {
        match &self.named {
            Named::WandbCsv(run) => format!("{}#{run}", place_text(&self.path)),
            // Each checkpoint repeats the history.
            Named::TrainerState => format!("{}#trainer_state", place_text(&trainer::folder(&self.path))),
            _ => place_text(&self.path),
        }
    }
}

/// A file's kind, by name, place and first lines.
#[derive(Clone, Debug, PartialEq)]
pub enum Named {
    /// TensorBoard's events.
    Events,
    /// W&B's records.
    Wandb,
    /// What MLflow says of a run.
    MlflowMeta,
    /// A param of this key.
    MlflowParam(String),
    /// A tag of this key.
    MlflowTag(String),
    /// The points of the metric of this key.
    MlflowMetric(String),
    /// A file of a run, kept under this name.
    Artifact(String),
    /// The database of an MLflow server, which the store reads.
    MlflowDatabase,
    /// Metrics in columns.
    Csv,
    /// One run's metrics in a W&B download of several.
    WandbCsv(String),
    /// Metrics as JSON objects.
    JsonLines,
    /// The Hugging Face trainer's state with each checkpoint.
    TrainerState,
}

impl Named {
    /// The program that writes such files; none of files that any may have written.
    pub fn program(&self) -> Option<&'static str> {
        match self {
            Named::Events => Some("tensorboard"),
            Named::Wandb | Named::WandbCsv(_) => Some("wandb"),
            Named::MlflowMeta
            | Named::MlflowParam(_)
            | Named::MlflowTag(_)
            | Named::MlflowMetric(_)
            | Named::MlflowDatabase => Some("mlflow"),
            Named::Csv | Named::JsonLines | Named::TrainerState => Some("file"),
            Named::Artifact(_) => None,
        }
    }
}

/// A read position.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mark {
    /// A byte offset or content fingerprint; 0 initially.
    pub read: u64,
    /// The reader's opaque state.
    pub state: Option<String>,
}

/// Options of reading.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What time it is.
    pub now: Timestamp,
    /// Whether the file was idle for a while.
    pub is_settled: bool,
    /// The step column of tables, if chosen.
    pub step: Option<String>,
    /// The time column of tables, if chosen.
    pub time: Option<String>,
}

impl Options {
    fn asked(&self) -> Choice {
        Choice { step: self.step.clone(), time: self.time.clone() }
    }
}

/// Reads a file on from a position. A replaced file is read from its beginning, and supersedes the old points.
///
/// # Errors
/// When it does not open or read. Damage in it is no error: what is before it is returned with a reason.
pub fn read(file: &LogFile, mark: &Mark, options: &Options) -> Result<Part, FormatError> {
    let (path, from) = (&file.path, mark.read);
    let part = match &file.named {
        Named::Events => sealed(path, mark, Of::Run, tensorboard::read),
        Named::Wandb => sealed(path, mark, Of::Part, wandb::read),
        Named::MlflowMeta => mlflow::read_meta(path, from),
        Named::MlflowParam(key) => mlflow::read_value(path, from, |value| Logged::Param(key.clone(), value)),
        Named::MlflowTag(key) => mlflow::read_value(path, from, |value| Logged::Tag(key.clone(), value)),
        Named::MlflowMetric(key) => sealed(path, mark, Of::Run, |path, from| mlflow::read_metric(path, key, from)),
        Named::Artifact(name) => mlflow::read_artifact(path, name, from),
        Named::MlflowDatabase => Ok(Part { read: from, ..Part::default() }),
        Named::Csv => table::read(path, table::Format::Csv { of_run: None }, mark, options),
        Named::WandbCsv(run) => table::read(path, table::Format::Csv { of_run: Some(run) }, mark, options),
        Named::JsonLines => table::read(path, table::Format::Json, mark, options),
        Named::TrainerState => trainer::read(path, mark, options),
    };
    let part = part.and_then(|part| bounded(path, part, options.now));
    part.map_err(|why| FormatError::Unreadable { what: "the log", why: why.to_string(), path: path.clone() })
}

/// Stored state of a partly read file of records.
#[derive(Default, Serialize, Deserialize)]
struct Sealed {
    seal: Option<Seal>,
    /// Its metrics.
    #[serde(default)]
    keys: Vec<String>,
}

/// Maximum keys stored per file; further ones are not superseded when the file is replaced.
const KEYS: usize = 4096;

/// Reads a file on if the part already read is unchanged; else from byte 0.
fn sealed(
    path: &Path,
    mark: &Mark,
    of: Of,
    read: impl Fn(&Path, u64) -> std::io::Result<Part>,
) -> std::io::Result<Part> {
    let before = match &mark.state {
        Some(state) => serde_json::from_str::<Sealed>(state).ok(),
        None => Some(Sealed::default()),
    };
    let is_same = match &before {
        Some(Sealed { seal: Some(seal), .. }) => seal.holds(path)?,
        Some(Sealed { seal: None, .. }) => std::fs::metadata(path)?.len() >= mark.read,
        None => false,
    };
    let from = if is_same { mark.read } else { 0 };
    let mut part = read(path, from)?;
    if !is_same {
        // The old points stand until the new file has some.
        if first_step(&part).is_none() {
            return Ok(Part { read: mark.read, state: mark.state.clone(), damage: part.damage, ..Part::default() });
        }
        let former = match &before {
            Some(before) => Former { keys: Some(before.keys.clone()), why: WRITTEN_ANEW },
            None => Former::unknown(),
        };
        supersede(&mut part, path, &former);
    }
    let before = before.unwrap_or_default();
    if is_same && part.read == mark.read && (before.seal.is_some() || part.read == 0) {
        part.state = mark.state.clone();
        return Ok(part);
    }
    let mut keys = if is_same { before.keys } else { Vec::new() };
    let known: HashSet<String> = keys.iter().cloned().collect();
    let new = new_metrics(&part.logged, &known);
    // A resumed run has a file for each part, which supersedes from its first step.
    if of == Of::Part && is_same {
        let begin = |(key, step): &(String, i64)| Logged::Restarted { step: *step, keys: vec![key.clone()] };
        let history = new.iter().filter(|(key, _)| !key.starts_with("system/"));
        part.logged.splice(0..0, history.map(begin).collect::<Vec<_>>());
    }
    keys.extend(new.into_iter().map(|(key, _)| key));
    keys.truncate(KEYS);
    part.state = serde_json::to_string(&Sealed { seal: Seal::of(path, part.read)?, keys }).ok();
    Ok(part)
}

/// Why a file is read from its beginning: another one replaced it.
const WRITTEN_ANEW: &str = "was written anew";

/// The earlier reading of a file that is read from its beginning again.
#[derive(Clone, Debug)]
struct Former {
    /// Its metrics; `None` if they are not known.
    keys: Option<Vec<String>>,
    /// Why it is read again, after the file's name.
    why: &'static str,
}

impl Former {
    /// For a file whose stored state cannot be parsed.
    fn unknown() -> Former {
        Former { keys: None, why: "is read anew: what was stored of how far it was read cannot be read" }
    }
}

/// The lowest step of the points.
fn first_step(part: &Part) -> Option<i64> {
    let step = |logged: &Logged| if let Logged::Point(_, point) = logged { Some(point.step) } else { None };
    part.logged.iter().filter_map(step).min()
}

/// Prepends to a part what supersedes the points read before, from the part's first step on; without points in the
/// part, those stand. Metrics that are not known are taken to be those of the part.
fn supersede(part: &mut Part, path: &Path, former: &Former) {
    let Some(step) = first_step(part) else { return };
    let of_part = || new_metrics(&part.logged, &HashSet::new()).into_iter().map(|(key, _)| key).collect();
    let keys: Vec<String> = former.keys.clone().unwrap_or_else(of_part);
    let line = format!("{} {}", path.file_name().unwrap_or_default().to_string_lossy(), former.why);
    // No keys would mean all metrics of the run.
    let restarted = (!keys.is_empty()).then_some(Logged::Restarted { step, keys });
    part.logged.splice(0..0, [Logged::Line(line)].into_iter().chain(restarted));
    part.notes.push(format!("{} {}", path.display(), former.why));
}

/// The metrics not known yet, each with its first step.
fn new_metrics(logged: &[Logged], known: &HashSet<String>) -> Vec<(String, i64)> {
    let (mut new, mut seen) = (Vec::new(), HashSet::new());
    for one in logged {
        if let Logged::Point(key, point) = one
            && !known.contains(key)
            && seen.insert(key)
        {
            new.push((key.clone(), point.step));
        }
    }
    new
}

/// A file's relation to its run.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Of {
    /// One of several independent files.
    Run,
    /// A part of a resumed run.
    Part,
}

/// Bounds start and end times by the file's own, since other machines' clocks may be wrong, and renames unaddressable
/// keys.
fn bounded(path: &Path, mut part: Part, now: Timestamp) -> std::io::Result<Part> {
    let modified = modified_ms(path)?;
    // Unpacked files may lack a time.
    let latest = if modified < EARLIEST_MS { now.0 } else { modified.min(now.0.max(EARLIEST_MS)) };
    let is_set = |at: Timestamp| at.0 >= EARLIEST_MS;
    let within = |at: Timestamp| Timestamp(at.0.min(latest));
    let mut renamed = BTreeSet::new();
    let mut last = String::new();
    let mut kept = |name: String| {
        if name == last && !name.is_empty() {
            return name;
        }
        let safe = match key::kept(&name) {
            Cow::Borrowed(_) => {
                last.clone_from(&name);
                return name;
            }
            Cow::Owned(safe) => safe,
        };
        renamed.insert((name, safe.clone()));
        safe
    };
    let bounded = |logged: Logged| match logged {
        Logged::Heard(at) => Some(Logged::Heard(if is_set(at) { within(at) } else { Timestamp(latest) })),
        Logged::Began(at) => is_set(at).then(|| Logged::Began(within(at))),
        Logged::Status(status, at) => Some(Logged::Status(status, at.filter(|at| is_set(*at)).map(within))),
        Logged::Point(key, point) => Some(Logged::Point(kept(key), point)),
        Logged::Param(key, value) => Some(Logged::Param(kept(key), value)),
        Logged::Tag(key, value) => Some(Logged::Tag(kept(key), value)),
        Logged::Restarted { step, keys } => {
            Some(Logged::Restarted { step, keys: keys.into_iter().map(|name| key::kept(&name).into_owned()).collect() })
        }
        other => Some(other),
    };
    part.logged = part.logged.into_iter().filter_map(bounded).collect();
    part.notes.extend(renamed.iter().take(RENAMED).map(|(name, safe)| renaming(name, safe)));
    Ok(part)
}

/// Maximum number of renamed keys that are told.
const RENAMED: usize = 5;

/// Bytes of a key that may be repeated with each value until [`bounded`] renames it.
const REPEATED_KEY: usize = 4 * key::LONGEST_KEY;

/// Shortens a key that is too long to be repeated with each value, by the rule of [`key::kept`], and tells it.
fn short_key(name: String, notes: &mut Vec<String>) -> String {
    if name.len() <= REPEATED_KEY {
        return name;
    }
    let safe = key::kept(&name).into_owned();
    let note = renaming(&name, &safe);
    if notes.len() < RENAMED && !notes.contains(&note) {
        notes.push(note);
    }
    safe
}

fn renaming(name: &str, safe: &str) -> String {
    format!("{:?} is kept as {safe:?}", short(name))
}

/// A shortened name, for people.
fn short(name: &str) -> &str {
    &name[..name.floor_char_boundary(80)]
}

/// Why a file that was read to a byte cannot be read on when it is shorter now.
fn shortened(bytes: u64, from: u64) -> Option<String> {
    (bytes < from).then(|| format!("it was {from} bytes long and is {bytes} now: it was written anew"))
}

/// A number by which contents that are read as a whole are told apart: of size and time.
fn fingerprint(path: &Path) -> std::io::Result<u64> {
    let (bytes, modified) = fingerprint_of(&std::fs::metadata(path)?);
    let nanos = modified.duration_since(UNIX_EPOCH).map_or(0, |at| at.as_nanos() as u64);
    Ok((nanos.rotate_left(20) ^ bytes).max(1) >> 1)
}

fn fingerprint_of(metadata: &Metadata) -> (u64, SystemTime) {
    (metadata.len(), metadata.modified().unwrap_or(UNIX_EPOCH))
}

/// A file's modification time.
fn modified_ms(path: &Path) -> std::io::Result<i64> {
    Ok(fingerprint_of(&std::fs::metadata(path)?).1.duration_since(UNIX_EPOCH).map_or(0, |at| at.as_millis() as i64))
}

/// A path below another, with forward slashes on every system.
fn below(path: &Path, root: &Path) -> String {
    crate::folder::slashed(path.strip_prefix(root).unwrap_or(path))
}

#[cfg(test)]
mod tests;
