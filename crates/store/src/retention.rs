//! Freeing what nothing refers to any more, and copying a workspace while it is in use.

use crate::{Blobs, Hash, Reader, Result, Store, StoreError, WriteTx};
use assay_domain::entity::Event;
use assay_domain::{ExperimentId, RunId};
use rusqlite::{Connection, OpenFlags};
use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// A blob that was written this recently may be about to get its name.
const UNNAMED: Duration = Duration::from_secs(3600);

/// A copy is begun anew so often when files are replaced meanwhile.
const ATTEMPTS: usize = 5;

/// A deleted run whose room can be had.
#[derive(Clone, Debug, PartialEq)]
pub struct DeletedRun {
    /// The run.
    pub id: RunId,
    /// Its name.
    pub name: String,
}

/// The runs that are deleted, or whose experiment is. A run that a registered model's version came from is kept.
const DELETED: &str = "
FROM runs JOIN experiments ON experiments.id = experiment
WHERE (runs.deleted IS NOT NULL OR experiments.deleted IS NOT NULL)
    AND (status <> 'running' OR client IS NOT NULL) AND uid NOT IN (SELECT run FROM model_versions WHERE run IS NOT NULL)";

/// What belongs to the run ?1 alone.
const OF_RUN: [&str; 14] = [
    "chunks WHERE series IN (SELECT id FROM series WHERE run = ?1)",
    "series WHERE run = ?1",
    "segments WHERE run = ?1",
    "params WHERE run = ?1",
    "tags WHERE run = ?1",
    "run_log WHERE run = ?1",
    "checkpoints WHERE run = ?1",
    "embeddings WHERE evaluation IN (SELECT id FROM evaluations WHERE run = ?1)",
    "predictions WHERE evaluation IN (SELECT id FROM evaluations WHERE run = ?1)",
    "evaluations WHERE run = ?1",
    "run_inputs WHERE run = ?1",
    "run_models WHERE run = ?1",
    "alerts WHERE run = ?1",
    "runs WHERE id = ?1",
];

impl WriteTx<'_> {
    /// Forgets a deleted run with all that is of it alone; returns the hashes of its files. Where it was restored meanwhile,
    /// nothing.
    pub fn purge_run(&mut self, run: RunId) -> Result<Vec<Hash>> {
        let is_deleted = format!("SELECT 1 {DELETED} AND runs.id = ?1");
        if !self.db.prepare_cached(&is_deleted)?.exists([run.0])? {
            return Ok(Vec::new());
        }
        let mut hashes = self.remove_artifacts(run, "")?;
        let mut models = self.db.prepare_cached(
            "SELECT experiment || '/models/' || id, id FROM logged_models WHERE run = (SELECT uid FROM runs WHERE id = ?1)",
        )?;
        let models = models.query_map([run.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
        for (path, id) in models.collect::<rusqlite::Result<Vec<(String, String)>>>()? {
            hashes.extend(self.remove_client_files(&path)?);
            self.db.execute("DELETE FROM logged_model_metrics WHERE model = ?1", [&id])?;
            self.db.execute("DELETE FROM logged_models WHERE id = ?1", [&id])?;
        }
        self.db.execute("UPDATE runs SET parent = NULL WHERE parent = ?1", [run.0])?;
        for table in OF_RUN {
            self.db.prepare_cached(&format!("DELETE FROM {table}"))?.execute([run.0])?;
        }
        self.emit(&Event::RunChanged { run })?;
        Ok(hashes)
    }

    /// Forgets the deleted experiments that have no runs; returns how many.
    pub fn purge_experiments(&mut self) -> Result<u64> {
        let mut empty = self.db.prepare(
            "SELECT id FROM experiments WHERE deleted IS NOT NULL
             AND NOT EXISTS (SELECT 1 FROM runs WHERE experiment = experiments.id)
             AND NOT EXISTS (SELECT 1 FROM logged_models WHERE experiment = experiments.id)",
        )?;
        let empty = empty.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<i64>>>()?;
        for id in &empty {
            self.db.execute("DELETE FROM experiment_tags WHERE experiment = ?1", [id])?;
            self.db.execute("DELETE FROM experiments WHERE id = ?1", [id])?;
            self.emit(&Event::ExperimentChanged { experiment: ExperimentId(*id) })?;
        }
        Ok(empty.len() as u64)
    }
}

impl Reader<'_> {
    /// The deleted runs whose room can be had.
    pub fn deleted_runs(&self) -> Result<Vec<DeletedRun>> {
        let sql = format!("SELECT runs.id, runs.name {DELETED} ORDER BY runs.id");
        let mut statement = self.db.prepare(&sql)?;
        let run = |row: &rusqlite::Row<'_>| Ok(DeletedRun { id: RunId(row.get(0)?), name: row.get(1)? });
        Ok(statement.query_map([], run)?.collect::<rusqlite::Result<_>>()?)
    }

    /// The sizes of the files that deleted runs alone have.
    pub fn files_of_deleted(&self) -> Result<Vec<u64>> {
        let sql = format!(
            "WITH gone AS (SELECT runs.id {DELETED})
             SELECT max(bytes) FROM artifacts WHERE run IN gone
                 AND hash NOT IN (SELECT hash FROM artifacts WHERE run NOT IN gone)
                 AND hash NOT IN (SELECT hash FROM client_files) AND hash NOT IN (SELECT hash FROM snapshots)
             GROUP BY hash"
        );
        let mut statement = self.db.prepare(&sql)?;
        Ok(statement
            .query_map([], |row| row.get::<_, i64>(0).map(|bytes| bytes as u64))?
            .collect::<rusqlite::Result<_>>()?)
    }

    /// The hashes of all blobs that something refers to.
    pub fn referred(&self) -> Result<HashSet<String>> {
        let mut statement = self.db.prepare(
            "SELECT hash FROM artifacts UNION SELECT hash FROM client_files UNION SELECT hash FROM snapshots",
        )?;
        Ok(statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
    }
}

impl Store {
    /// The blobs that nothing refers to, with their sizes, as of `now`.
    pub fn unreferred(&self, now: SystemTime) -> Result<Vec<(Hash, u64)>> {
        let mut blobs = self.blobs().all()?;
        // Read after the blobs: what got a name meanwhile is kept.
        let referred = self.read(|reader| reader.referred())?;
        blobs.retain(|(hash, _, written)| {
            !referred.contains(hash.as_str()) && now.duration_since(*written).is_ok_and(|age| age >= UNNAMED)
        });
        Ok(blobs.into_iter().map(|(hash, bytes, _)| (hash, bytes)).collect())
    }

    /// Copies the database and all blobs that it refers to into a folder, as they are at one moment; the workspace stays in use.
    /// Returns how many blobs were copied, and their bytes.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is a workspace in the folder, or files are replaced again and again meanwhile.
    pub fn copy_to(&self, folder: &Path) -> Result<(u64, u64)> {
        let path = folder.join("assay.db");
        if path.exists() {
            let why = format!("there is a workspace already: choose another folder than {}", folder.display());
            return Err(StoreError::Conflict(why));
        }
        std::fs::create_dir_all(folder).map_err(StoreError::io("making the folder", folder))?;
        let copied = Blobs::open(folder)?;
        // The database gets its name last: without it, what is there is no workspace.
        let part = folder.join("assay.db.part");
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let source = Connection::open_with_flags(self.root().join("assay.db"), flags)?;
        for _ in 0..ATTEMPTS {
            let _ = std::fs::remove_file(&part); // of an earlier attempt
            source.execute("VACUUM INTO ?1", [part.display().to_string()])?;
            let database = Connection::open(&part)?;
            let referred = Reader { db: &database }.referred()?;
            drop(database);
            let mut total = (0, 0);
            let complete = referred.iter().try_fold(true, |complete, hash| {
                let bytes = self.blobs().copy_to(&Hash::parse(hash)?, &copied)?;
                total = (total.0 + 1, total.1 + bytes.unwrap_or(0));
                Ok::<_, StoreError>(complete && bytes.is_some())
            })?;
            if complete {
                let imports = self.root().join("imports");
                copy_folder(&imports, &folder.join("imports")).map_err(StoreError::io("copying archives", &imports))?;
                crate::blob::sync_file(&part)?;
                std::fs::rename(&part, &path).map_err(StoreError::io("naming the copy", &path))?;
                crate::blob::sync_folder(folder)?;
                return Ok(total);
            }
        }
        Err(StoreError::Conflict("files were removed while they were copied: some are missing, or try again".into()))
    }
}

/// Copies the files in a folder that another one lacks, which is made; links are left out. A file has its name once it is
/// whole.
pub(crate) fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    if !from.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let copy = to.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_folder(&entry.path(), &copy)?;
        } else if kind.is_file() && !copy.exists() {
            let mut part = copy.clone().into_os_string();
            part.push(".part");
            std::fs::copy(entry.path(), &part)?;
            std::fs::rename(&part, &copy)?;
        }
    }
    Ok(())
}
