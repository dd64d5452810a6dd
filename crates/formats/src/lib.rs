//! Reading the files of others: datasets from a folder, an archive or a CSV, and runs from the files of [`logs`].
//!
//! It decodes no image and knows no database. Start with [`read`], which tells a dataset's format from the path.

mod archive;
mod csv_list;
mod folder;
mod labels;
pub mod logs;

pub use archive::unpack;
pub use labels::{LabelRow, labels_csv};

use assay_domain::{Labelling, Split};
use std::path::{Path, PathBuf};

/// One file that a source names.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Where the file is.
    pub file: PathBuf,
    /// Its path below the source, with forward slashes.
    pub path: String,
    /// The classes that the source gives it; none where it says nothing.
    pub label: Option<Vec<String>>,
    /// The split that the source gives it.
    pub split: Option<Split>,
}

/// What a source holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listing {
    /// The files, in the order of their paths.
    pub entries: Vec<Entry>,
    /// How many classes its files have.
    pub labelling: Labelling,
    /// How it was read, where that is not plain.
    pub note: Option<String>,
    /// What could not be taken: path and reason.
    pub problems: Vec<(String, String)>,
}

/// Why a source cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// There is nothing at the path.
    #[error("there is no file or folder here: {0}")]
    Missing(PathBuf),
    /// Neither a folder nor an archive nor a CSV.
    #[error(
        "only a folder, a .zip, .tar, .tar.gz or .tgz archive, a .csv of path,label, or what TensorBoard, W&B or MLflow wrote can be imported: {0}"
    )]
    Unknown(PathBuf),
    /// Nothing that could be taken is there.
    #[error(
        "nothing that can be imported was found: neither images (JPEG, PNG, WebP, GIF, BMP or TIFF by their names) nor a CSV with \
         a column of paths, nor runs (TensorBoard's *tfevents*, W&B's *.wandb, MLflow's mlruns or mlflow.db, metrics.csv, \
         progress.csv, results.csv, metrics.jsonl, trainer_log.jsonl, trainer_state.json; other tables of metrics are imported \
         one by one){}: {path}", others_of(*.others, .names)
    )]
    Nothing {
        /// Where.
        path: PathBuf,
        /// How many other files are there.
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
}

fn others_of(others: u64, names: &[String]) -> String {
    let more = if others > names.len() as u64 { ", ..." } else { "" };
    match others {
        0 => String::new(),
        others => format!("; there are {others} other files ({}{more})", names.join(", ")),
    }
}

/// Lists a folder of class folders or a CSV of path,label. `wanted` is how many classes its files have where it does not say
/// itself that they have any number.
pub fn read(source: &Path, wanted: Labelling) -> Result<Listing, FormatError> {
    if source.is_dir() {
        return folder::read(source).map(|listing| Listing { labelling: wanted, ..listing });
    }
    if !source.exists() {
        return Err(FormatError::Missing(source.to_owned()));
    }
    match extension(source).as_str() {
        "csv" => csv_list::read(source, wanted),
        _ => Err(FormatError::Unknown(source.to_owned())),
    }
}

/// Whether the path is an archive that [`unpack`] opens.
pub fn is_archive(source: &Path) -> bool {
    source.is_file() && is_named_as_archive(source)
}

/// Whether a file's name says that [`read`], [`unpack`] or [`logs::read`] takes it.
pub fn is_named_as_source(path: &Path) -> bool {
    is_named_as_archive(path)
        || matches!(
            extension(path).as_str(),
            "csv" | "json" | "jsonl" | "ndjson" | "wandb" | "db" | "sqlite" | "sqlite3"
        )
}

fn is_named_as_archive(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    [".zip", ".tar", ".tar.gz", ".tgz"].iter().any(|ending| name.ends_with(ending))
}

fn extension(path: &Path) -> String {
    path.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default()
}

/// Whether a file's name says that it is an image.
pub fn named_as_image(path: &Path) -> bool {
    matches!(extension(path).as_str(), "jpg" | "jpeg" | "png" | "webp" | "gif" | "bmp" | "tif" | "tiff")
}
