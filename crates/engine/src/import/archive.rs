//! Unpacks archives into the workspace.

use crate::{Engine, EngineError, Result};
use assay_domain::JobId;
use assay_domain::entity::{Dataset, Progress};
use assay_formats::{path_of_text, place_text};
use assay_store::Hash;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// The files of a source.
pub(super) struct Files {
    /// The folder or CSV of paths.
    pub(super) folder: PathBuf,
    /// The archive it was unpacked from.
    pub(super) archive: Option<String>,
    /// Entries not unpacked: path and reason.
    pub(super) left_out: Vec<(String, String)>,
    /// The folder, as long as it is not certain that it is used.
    provisional: Option<PathBuf>,
}

/// Where the files of an archive go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Where those of the dataset are: they are replaced.
    Own,
    /// Somewhere else, until [`Files::keep`] says that they are the dataset's.
    New,
}

impl Files {
    /// They are the dataset's from now on: the files that it had before in the workspace are deleted.
    pub(super) fn keep(&mut self, engine: &Engine, known: Option<&Dataset>) {
        self.provisional = None;
        let before = known.map(|dataset| path_of_text(&dataset.source)).filter(|folder| *folder != self.folder);
        if let Some(before) = before.filter(|folder| engine.is_unpacked(folder))
            && let Err(error) = clear(&before)
        {
            tracing::warn!(%error, folder = %before.display(), "files of an archive are not deleted");
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        if let Some(folder) = &self.provisional {
            let _ = clear(folder); // the reason why they are not used matters more
        }
    }
}

impl Engine {
    /// Where an archive is unpacked to.
    pub(super) fn place_of_archive(&self, source: &Path) -> PathBuf {
        let key = Hash::of(source.to_string_lossy().as_bytes());
        self.store.root().join("imports").join(&key.as_str()[..16])
    }

    fn is_unpacked(&self, folder: &Path) -> bool {
        folder.starts_with(self.store.root().join("imports"))
    }

    /// The same, where no other dataset has its files: one of an archive that was at this path before may.
    fn free_place_of_archive(&self, source: &Path) -> Result<PathBuf> {
        let mut datasets = self.datasets()?;
        datasets.extend(self.removed_datasets()?);
        let taken: HashSet<PathBuf> = datasets.iter().map(|dataset| path_of_text(&dataset.source)).collect();
        let first = self.place_of_archive(source);
        let name = first.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let others = (1..).map(|number| first.with_file_name(format!("{name}-{number}")));
        let place = std::iter::once(first.clone()).chain(others).find(|place| !taken.contains(place));
        Ok(place.unwrap_or(first))
    }

    /// Unpacks an archive beside its earlier copy, then replaces that. Other sources are read in place.
    pub(super) fn files_of_source(
        &self,
        job: JobId,
        known: Option<&Dataset>,
        source: &Path,
        place: Place,
    ) -> Result<Files> {
        if !assay_formats::is_archive(source) {
            return Ok(Files { folder: source.to_owned(), archive: None, left_out: Vec::new(), provisional: None });
        }
        let own = known.map(|dataset| path_of_text(&dataset.source)).filter(|folder| self.is_unpacked(folder));
        let folder = match own.filter(|_| place == Place::Own) {
            Some(folder) => folder,
            None => self.free_place_of_archive(source)?,
        };
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
        let provisional = (place == Place::New).then(|| folder.clone());
        Ok(Files { folder, archive: Some(place_text(source)), left_out, provisional })
    }
}

fn clear(folder: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => Err(why),
        _ => Ok(()),
    }
}
