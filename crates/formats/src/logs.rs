//! The files in which other programs log runs: TensorBoard's, W&B's offline ones, MLflow's file stores, CSV and JSON lines.
//!
//! [`find`] tells which files of a folder are of which run; [`read`] reads one on from where it was read before.

mod histogram;
#[cfg(test)]
mod hostile;
mod json;
mod lines;
mod mlflow;
mod table;
mod tensorboard;
mod wandb;

use crate::{FormatError, extension, named_as_image};
use assay_domain::foreign::{Logged, Part};
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use walkdir::{DirEntry, WalkDir};

/// The bytes of the longest key of a point, a param or a tag; values under longer ones are left out.
pub const LONGEST_KEY: usize = 1_000;

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

/// What a file is, as its name and place say.
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
    /// Metrics as JSON objects.
    JsonLines,
}

impl Named {
    /// The program that writes such files; none of files that any may have written.
    pub fn program(&self) -> Option<&'static str> {
        match self {
            Named::Events => Some("tensorboard"),
            Named::Wandb => Some("wandb"),
            Named::MlflowMeta
            | Named::MlflowParam(_)
            | Named::MlflowTag(_)
            | Named::MlflowMetric(_)
            | Named::MlflowDatabase => Some("mlflow"),
            Named::Csv | Named::JsonLines => Some("file"),
            Named::Artifact(_) => None,
        }
    }

    /// What a file in a folder is: those that could be anything by their endings are known by the names that programs give them.
    fn of(path: &Path) -> Option<Named> {
        let name = path.file_name()?.to_string_lossy();
        match name.as_ref() {
            "metrics.csv" if table::is_of_metrics(path) => Some(Named::Csv),
            "metrics.jsonl" | "trainer_log.jsonl" => Some(Named::JsonLines),
            "mlflow.db" => Some(Named::MlflowDatabase),
            name if name.to_lowercase().contains("tfevents") => Some(Named::Events),
            _ => (extension(path) == "wandb").then_some(Named::Wandb),
        }
    }

    /// What a file is that people name by itself.
    fn of_alone(path: &Path) -> Option<Named> {
        match extension(path).as_str() {
            "csv" => table::is_of_metrics(path).then_some(Named::Csv),
            "jsonl" | "ndjson" => Some(Named::JsonLines),
            "db" | "sqlite" | "sqlite3" => Some(Named::MlflowDatabase),
            _ => Named::of(path),
        }
    }
}

/// Whether runs were logged below a folder, or in a file: what is found first decides, an image against it.
pub fn holds_runs(source: &Path) -> bool {
    if source.is_file() {
        return Named::of_alone(source).is_some();
    }
    let decisive = walk(source).find_map(|found| match found.file_type() {
        kind if kind.is_dir() => mlflow::files(found.path(), "").map(|_| true),
        kind if !kind.is_file() => None,
        _ if named_as_image(found.path()) => Some(false),
        _ => Named::of(found.path()).map(|_| true),
    });
    decisive == Some(true)
}

/// The files of the runs below a folder, or of one file, in the order of their paths.
pub fn find(source: &Path) -> Vec<LogFile> {
    if source.is_file() {
        let file = |named| LogFile { path: source.to_owned(), run: String::new(), named };
        return Named::of_alone(source).map(file).into_iter().collect();
    }
    let mut files = Vec::new();
    let mut found = walk(source);
    while let Some(entry) = found.next() {
        let path = entry.path();
        if entry.file_type().is_dir() {
            if let Some(of_run) = mlflow::files(path, &below(path, source)) {
                files.extend(of_run);
                found.skip_current_dir();
            }
            continue;
        }
        if !entry.file_type().is_file() {
            continue;
        }
        let folder = path.parent().unwrap_or(source);
        let run = below(folder, source);
        match Named::of(path) {
            Some(Named::Wandb) => {
                // What W&B keeps with a run lies beside its records.
                files.extend(artifacts(&folder.join("files"), &run));
                files.push(LogFile { path: path.to_owned(), run, named: Named::Wandb });
                found.skip_current_dir();
            }
            Some(named) => files.push(LogFile { path: path.to_owned(), run, named }),
            None => {}
        }
    }
    files
}

/// What is below a folder, files before folders, hidden ones left out. Links are not followed: what they lead to lies elsewhere.
fn walk(root: &Path) -> Visible {
    let by_kind = |a: &DirEntry, b: &DirEntry| {
        (a.file_type().is_dir(), a.file_name()).cmp(&(b.file_type().is_dir(), b.file_name()))
    };
    Visible(WalkDir::new(root).follow_root_links(false).sort_by(by_kind).into_iter())
}

struct Visible(walkdir::IntoIter);

impl Visible {
    fn skip_current_dir(&mut self) {
        self.0.skip_current_dir();
    }
}

impl Iterator for Visible {
    type Item = DirEntry;

    fn next(&mut self) -> Option<DirEntry> {
        loop {
            // What cannot be opened holds no runs that could be read.
            let Ok(found) = self.0.next()? else { continue };
            if found.depth() == 0 || !found.file_name().to_string_lossy().starts_with('.') {
                return Some(found);
            }
            if found.file_type().is_dir() {
                self.0.skip_current_dir();
            }
        }
    }
}

/// Reads a file on from what it was read to, 0 at first. `is_settled` says that nobody has written to it for a while.
///
/// # Errors
/// When it does not open or read. Damage in it is no error: what is before it is returned with a reason.
pub fn read(file: &LogFile, from: u64, is_settled: bool) -> Result<Part, FormatError> {
    let path = &file.path;
    let part = match &file.named {
        Named::Events => tensorboard::read(path, from),
        Named::Wandb => wandb::read(path, from),
        Named::MlflowMeta => mlflow::read_meta(path, from),
        Named::MlflowParam(key) => mlflow::read_value(path, from, |value| Logged::Param(key.clone(), value)),
        Named::MlflowTag(key) => mlflow::read_value(path, from, |value| Logged::Tag(key.clone(), value)),
        Named::MlflowMetric(key) => mlflow::read_metric(path, key, from),
        Named::Artifact(name) => mlflow::read_artifact(path, name, from),
        Named::MlflowDatabase => Ok(Part { read: from, ..Part::default() }),
        Named::Csv => table::read_csv(path, from, is_settled),
        Named::JsonLines => table::read_json(path, from, is_settled),
    };
    part.map_err(|why| FormatError::Unreadable { what: "the log", why: why.to_string(), path: path.clone() })
}

/// The files below a folder, as those of a run.
pub fn artifacts(folder: &Path, run: &str) -> Vec<LogFile> {
    let files = walk(folder).filter(|found| found.file_type().is_file());
    let file = |found: DirEntry| LogFile {
        path: found.path().to_owned(),
        run: run.to_owned(),
        named: Named::Artifact(below(found.path(), folder)),
    };
    files.map(file).collect()
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

/// A path below another, with forward slashes on every system.
fn below(path: &Path, root: &Path) -> String {
    crate::folder::slashed(path.strip_prefix(root).unwrap_or(path))
}
