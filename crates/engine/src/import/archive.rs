//! Unpacks archives into the workspace.

use crate::{Engine, EngineError, Result};
use assay_domain::JobId;
use assay_domain::entity::{Dataset, Progress};
use assay_formats::{path_of_text, place_text};
use assay_store::Hash;
use std::path::{Path, PathBuf};

/// The files of a source.
pub(super) struct Files {
    /// The folder or CSV of paths.
    pub(super) folder: PathBuf,
    /// The archive it was unpacked from.
    pub(super) archive: Option<String>,
    /// Entries not unpacked: path and reason.
    pub(super) left_out: Vec<(String, String)>,
}

impl Engine {
    /// Where an archive is unpacked.
    pub(super) fn place_of_archive(&self, source: &Path) -> PathBuf {
        let key = Hash::of(source.to_string_lossy().as_bytes());
        self.store.root().join("imports").join(&key.as_str()[..16])
    }

    /// Unpacks an archive beside its earlier copy, then replaces that. Other sources are read in place.
    pub(super) fn files_of_source(&self, job: JobId, known: Option<&Dataset>, source: &Path) -> Result<Files> {
        if !assay_formats::is_archive(source) {
            return Ok(Files { folder: source.to_owned(), archive: None, left_out: Vec::new() });
        }
        let own = known.map(|dataset| path_of_text(&dataset.source));
        let own = own.filter(|folder| folder.starts_with(self.store.root().join("imports")));
        let folder = own.unwrap_or_else(|| self.place_of_archive(source));
        self.tell(job, Progress::default(), "unpacking")?;
        let (fresh, old) = (folder.with_extension("fresh"), folder.with_extension("old"));
        let cannot = |why: std::io::Error| {
            EngineError::Internal(format!("the archive cannot be unpacked here ({why}): {}", folder.display()))
        };
        clear(&fresh).map_err(cannot)?;
        std::fs::create_dir_all(&fresh).map_err(cannot)?;
        let left_out = assay_formats::unpack(source, &fresh).inspect_err(|_| {
            let _ = clear(&fresh); // the reason why it failed matters more
        })?;
        clear(&old).map_err(cannot)?;
        if folder.exists() {
            std::fs::rename(&folder, &old).map_err(cannot)?;
        }
        std::fs::rename(&fresh, &folder).map_err(cannot)?;
        clear(&old).map_err(cannot)?;
        Ok(Files { folder, archive: Some(place_text(source)), left_out })
    }
}

fn clear(folder: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => Err(why),
        _ => Ok(()),
    }
}
