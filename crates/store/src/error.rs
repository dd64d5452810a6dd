//! What can go wrong, as a caller can act on it.

use std::path::PathBuf;

/// Why the store could not do it. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process holds the workspace.
    #[error("the workspace is in use by {holder}; work through that process, or end it: {path}")]
    InUse {
        /// Who.
        holder: crate::Holder,
        /// The workspace.
        path: PathBuf,
    },
    /// The database was written by a newer version.
    #[error(
        "the workspace was written by a newer Assay (format {found}, this one knows {known}); \
         nothing was changed: open it with that version: {path}"
    )]
    Newer {
        /// The format found.
        found: i64,
        /// The format that this version writes.
        known: i64,
        /// The database.
        path: PathBuf,
    },
    /// The file is a database of another program, or none.
    #[error("this file is not an Assay database; move it away or choose another folder: {0}")]
    Foreign(PathBuf),
    /// The file is not an MLflow database.
    #[error(
        "{found}; of databases, only those of MLflow's server are read, which have runs, metrics, params, tags and experiments: {path}"
    )]
    NotMlflow {
        /// What it is.
        found: String,
        /// The path.
        path: PathBuf,
    },
    /// The disk has no room.
    #[error("the disk is full, so nothing was written: free some space and try again")]
    DiskFull,
    /// The workspace cannot be written.
    #[error("the workspace cannot be written (read-only disk or missing permission): {0}")]
    ReadOnly(PathBuf),
    /// There is no such thing.
    #[error("there is no {what} {which}")]
    NotFound {
        /// What was looked for.
        what: &'static str,
        /// Which one.
        which: String,
    },
    /// It would contradict what is there.
    #[error("{0}")]
    Conflict(String),
    /// A blob's contents do not have its hash.
    #[error("a stored file is damaged (its contents do not have its hash); restore it from a backup: {0}")]
    Damaged(PathBuf),
    /// What was stored cannot be read back.
    #[error("a stored {what} cannot be read: {why}")]
    Unreadable {
        /// What.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// The writer thread has ended.
    #[error("the workspace is closed")]
    Closed,
    /// Reading or writing a file failed.
    #[error("{doing} failed: {source}: {path}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// SQLite failed in another way.
    #[error("the run database failed: {0}")]
    Sqlite(rusqlite::Error),
}

impl StoreError {
    pub(crate) fn missing(what: &'static str, which: impl std::fmt::Display) -> StoreError {
        StoreError::NotFound { what, which: which.to_string() }
    }

    pub(crate) fn unreadable(what: &'static str, why: impl std::fmt::Display) -> StoreError {
        StoreError::Unreadable { what, why: why.to_string() }
    }

    /// Names what was being done with which file; a full or read-only disk keeps its own variant.
    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> StoreError {
        let path = path.into();
        move |source| match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => StoreError::DiskFull,
            std::io::ErrorKind::ReadOnlyFilesystem | std::io::ErrorKind::PermissionDenied => StoreError::ReadOnly(path),
            _ => StoreError::Io { doing, path, source },
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> StoreError {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => StoreError::DiskFull,
            Some(rusqlite::ErrorCode::ReadOnly | rusqlite::ErrorCode::CannotOpen) => {
                StoreError::ReadOnly(PathBuf::from("assay.db"))
            }
            _ => StoreError::Sqlite(error),
        }
    }
}
