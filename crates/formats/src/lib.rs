//! Reads foreign files: datasets from folders, archives and tables, and runs from [`logs`].
//!
//! It decodes no image and knows no database. Start with [`read`], which tells a dataset's format from the path.

mod annotations;
mod archive;
mod csv_list;
mod folder;
mod labels;
mod layout;
pub mod logs;
mod names;
mod splits;
mod tree;

pub use archive::unpack;
pub use folder::{ImageFiles, images_in};
pub use labels::{LabelRow, labels_csv};
pub use names::{path_of_text, path_text, place_text};
pub use tree::named_as_image;

use assay_domain::content::Content;
use assay_domain::{Labelling, Split};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// One file that a source names.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Where the file is.
    pub file: PathBuf,
    /// Path relative to the source, as written by [`path_text`] and parsed by [`path_of_text`].
    pub path: String,
    /// The classes that the source gives it; none where it says nothing.
    pub label: Option<Vec<String>>,
    /// The split that the source gives it.
    pub split: Option<Split>,
}

/// What a source holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listing {
    /// The files: those of a folder in natural path order, those of a table in its order.
    pub entries: Vec<Entry>,
    /// How many classes its files have.
    pub labelling: Labelling,
    /// How it was read, where that is not plain.
    pub note: Option<String>,
    /// What could not be taken: path and reason.
    pub problems: Vec<(String, String)>,
    /// Files and folders not meant as images: `Thumbs.db`, `README.md`, `.git` and the like.
    pub passed_over: Vec<String>,
    /// Classes whose folder has no image.
    pub classes_without_images: Vec<String>,
}

/// How many files were left out, with the three most frequent reasons.
pub fn left_out<'a>(reasons: impl Iterator<Item = &'a str>) -> String {
    const TOLD: usize = 3;
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in reasons {
        *counts.entry(reason).or_default() += 1;
    }
    let total: usize = counts.values().sum();
    let mut counts: Vec<(&str, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let told = counts.iter().take(TOLD);
    let told =
        told.map(|(reason, count)| if *count == 1 { (*reason).to_owned() } else { format!("{count} times: {reason}") });
    let told = told.collect::<Vec<_>>().join("; ");
    let more = if counts.len() > TOLD { "; and other reasons" } else { "" };
    if total == 0 { "0 left out".into() } else { format!("{total} left out ({told}{more})") }
}

/// Why a source cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// There is nothing at the path.
    #[error("there is no file or folder here: {0}")]
    Missing(PathBuf),
    /// Neither a folder nor an archive nor a table.
    #[error(
        "only a folder, a .zip, .tar, .tar.gz or .tgz archive, a .csv of path,label, or what TensorBoard, W&B or MLflow wrote can be imported: {0}"
    )]
    Unknown(PathBuf),
    /// Nothing importable was found.
    #[error(
        "nothing that can be imported was found: neither images (JPEG, PNG, WebP, GIF, BMP or TIFF by their names) nor a CSV with \
         a column of paths, nor runs (TensorBoard's *tfevents*, W&B's *.wandb, MLflow's mlruns or mlflow.db, metrics.csv, \
         progress.csv, results.csv, metrics.jsonl, trainer_log.jsonl, trainer_state.json; other tables of metrics are imported \
         one by one){}: {path}", others_of(*.others, .names)
    )]
    Nothing {
        /// Where.
        path: PathBuf,
        /// Number of other files.
        others: u64,
        /// Some of them.
        names: Vec<String>,
    },
    /// The source does not read.
    #[error("{what} cannot be read: {why}: {path}")]
    Unreadable {
        /// What kind of source.
        what: &'static str,
        /// Why.
        why: String,
        /// Which.
        path: PathBuf,
    },
    /// The unpacked files do not fit.
    #[error("the disk is full: make room for what the archive holds, then import it again: {0}")]
    DiskFull(PathBuf),
}

fn others_of(others: u64, names: &[String]) -> String {
    let more = if others > names.len() as u64 { ", ..." } else { "" };
    match others {
        0 => String::new(),
        others => format!("; there are {others} other files ({}{more})", names.join(", ")),
    }
}

/// Lists a folder of images or a table of path,label. `wanted` is how many classes its files have where it does not say
/// itself that they have any number.
pub fn read(source: &Path, wanted: Labelling) -> Result<Listing, FormatError> {
    let facts = std::fs::metadata(source).map_err(|_| FormatError::Missing(source.to_owned()))?;
    if facts.is_dir() {
        return folder::read(source, wanted);
    }
    if let Some(why) = tree::special(facts.file_type()) {
        return Err(FormatError::Unreadable { what: "the source", why, path: source.to_owned() });
    }
    if is_table(source) { csv_list::read(source, wanted) } else { Err(FormatError::Unknown(source.to_owned())) }
}

/// Whether [`read`] takes this path, or the folder that [`unpack`] makes of it.
pub fn holds_images(source: &Path) -> bool {
    source.is_dir() || is_archive(source) || (source.is_file() && is_table(source))
}

/// The folder that entries' paths are relative to.
pub fn folder_of(source: &Path) -> PathBuf {
    if is_table(source) && !source.is_dir() { source.parent().unwrap_or(source).to_owned() } else { source.to_owned() }
}

/// Whether the path is an archive: by content, or by name if the content may be damaged. [`unpack`] opens it or reports
/// why not.
pub fn is_archive(source: &Path) -> bool {
    // Document formats that are zips.
    const DOCUMENTS: [&str; 16] = [
        "docx", "xlsx", "pptx", "odt", "ods", "odp", "jar", "apk", "epub", "npz", "pt", "pth", "whl", "keras", "kmz",
        "ipa",
    ];
    let is_inside = || matches!(tree::content_of(source), Some(Content::Archive(_)));
    let is_document = DOCUMENTS.contains(&extension(source).as_str());
    source.is_file() && (is_named_as_archive(source) || (!is_document && is_inside()))
}

/// Whether a file's name says that [`read`], [`unpack`] or [`logs::read`] takes it.
pub fn is_named_as_source(path: &Path) -> bool {
    is_named_as_archive(path)
        || is_table(path)
        || matches!(extension(path).as_str(), "json" | "jsonl" | "ndjson" | "wandb" | "db" | "sqlite" | "sqlite3")
}

fn is_named_as_archive(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    [".zip", ".tar", ".tar.gz", ".tgz"].iter().any(|ending| name.ends_with(ending))
}

fn is_table(path: &Path) -> bool {
    matches!(extension(path).as_str(), "csv" | "tsv")
}

fn extension(path: &Path) -> String {
    path.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default()
}

/// Notes as one.
fn joined(notes: Vec<String>) -> Option<String> {
    (!notes.is_empty()).then(|| notes.join("; "))
}
