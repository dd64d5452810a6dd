//! Artifacts and checkpoints: names for blobs.

use super::to_json;
use crate::{Hash, Reader, Result, StoreError, WriteTx};
use assay_domain::entity::{Artifact, Checkpoint, CheckpointKind, Event};
use assay_domain::{RunId, Timestamp};
use rusqlite::{OptionalExtension, Row, params};

pub(crate) const TABLES: &str = "
CREATE TABLE artifacts (
    run INTEGER NOT NULL, path TEXT NOT NULL, hash TEXT NOT NULL, bytes INTEGER NOT NULL, PRIMARY KEY (run, path)
) STRICT, WITHOUT ROWID;
CREATE INDEX artifacts_by_hash ON artifacts (hash);
CREATE TABLE checkpoints (
    run INTEGER NOT NULL, kind TEXT NOT NULL, step INTEGER NOT NULL, epoch INTEGER NOT NULL, val_accuracy REAL,
    at INTEGER NOT NULL, PRIMARY KEY (run, kind)
) STRICT, WITHOUT ROWID;
";

/// Files of clients that are of no run.
pub(crate) const CLIENTS: &str = "
CREATE TABLE client_files (path TEXT PRIMARY KEY, hash TEXT NOT NULL, bytes INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX client_files_by_hash ON client_files (hash);
CREATE INDEX snapshots_by_hash ON snapshots (hash);
";

/// The file ?1 and what is below it as a folder; everything where it is empty.
const BELOW: &str = "(?1 = '' OR path = ?1 OR (path > ?1 || '/' AND path < ?1 || '0'))";

/// Paths that conflict with a file at ?1: one of its parent folders ?2, or a file below it.
const IN_THE_WAY: &str = "(path > ?1 || '/' AND path < ?1 || '0' OR path IN (SELECT value FROM json_each(?2)))";

/// Parent folders, as JSON.
fn folders_of(path: &str) -> Result<String> {
    let folders: Vec<&str> = path.match_indices('/').map(|(end, _)| &path[..end]).collect();
    to_json("folders", &folders)
}

/// The three files of a checkpoint, in the order weights, optimizer, state.
const FILES: [&str; 3] = ["model.safetensors", "optimizer.safetensors", "state.json"];

impl WriteTx<'_> {
    /// Gives a blob a name within the run; an artifact of that name is replaced. Returns the hash that it had before.
    pub fn put_artifact(&mut self, run: RunId, path: &str, hash: &Hash, bytes: u64) -> Result<Option<Hash>> {
        let before: Option<String> = self
            .db
            .prepare_cached("SELECT hash FROM artifacts WHERE run = ?1 AND path = ?2")?
            .query_row(params![run.0, path], |row| row.get(0))
            .optional()?;
        self.db
            .prepare_cached("INSERT OR REPLACE INTO artifacts (run, path, hash, bytes) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![run.0, path, hash.as_str(), bytes as i64])?;
        self.emit(&Event::ArtifactsChanged { run })?;
        before.map(|hash| Hash::parse(&hash)).transpose()
    }

    /// A file that conflicts with one at this path: at a parent folder, or below it.
    pub fn in_the_way_of_artifact(&self, run: RunId, path: &str) -> Result<Option<String>> {
        let sql = format!("SELECT path FROM artifacts WHERE run = ?3 AND {IN_THE_WAY} LIMIT 1");
        let of = params![path, folders_of(path)?, run.0];
        Ok(self.db.prepare_cached(&sql)?.query_row(of, |row| row.get(0)).optional()?)
    }

    /// Likewise among clients' files without a run.
    pub fn in_the_way_of_client_file(&self, path: &str) -> Result<Option<String>> {
        let sql = format!("SELECT path FROM client_files WHERE {IN_THE_WAY} LIMIT 1");
        let of = params![path, folders_of(path)?];
        Ok(self.db.prepare_cached(&sql)?.query_row(of, |row| row.get(0)).optional()?)
    }

    /// A free artifact path: the path itself, or with tildes appended.
    pub(super) fn free_name_of_artifact(&self, run: RunId, path: String) -> Result<String> {
        let mut name = path;
        while let Some(other) = self.in_the_way_of_artifact(run, &name)? {
            match name.strip_prefix(&other) {
                Some(rest) => name = format!("{other}~{rest}"),
                None => name.push('~'),
            }
        }
        Ok(name)
    }

    /// Forgets an artifact of a run, or all below a folder. Returns the hashes that they had.
    pub fn remove_artifacts(&mut self, run: RunId, path: &str) -> Result<Vec<Hash>> {
        let sql = format!("DELETE FROM artifacts WHERE run = ?2 AND {BELOW} RETURNING hash");
        let removed = self.hashes(&sql, params![path, run.0])?;
        self.emit(&Event::ArtifactsChanged { run })?;
        Ok(removed)
    }

    /// Gives a blob a name among the files of clients that are of no run; a file of that name is replaced. Returns the hash
    /// that it had before.
    pub fn put_client_file(&mut self, path: &str, hash: &Hash, bytes: u64) -> Result<Option<Hash>> {
        let before = self.hashes("DELETE FROM client_files WHERE path = ?1 RETURNING hash", [path])?.pop();
        self.db
            .prepare_cached("INSERT INTO client_files (path, hash, bytes) VALUES (?1, ?2, ?3)")?
            .execute(params![path, hash.as_str(), bytes as i64])?;
        Ok(before)
    }

    /// Forgets a file of a client, or all below a folder. Returns the hashes that they had.
    pub fn remove_client_files(&mut self, path: &str) -> Result<Vec<Hash>> {
        self.hashes(&format!("DELETE FROM client_files WHERE {BELOW} RETURNING hash"), [path])
    }

    fn hashes(&self, sql: &str, of: impl rusqlite::Params) -> Result<Vec<Hash>> {
        let mut statement = self.db.prepare_cached(sql)?;
        let found = statement.query_map(of, |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
        found.iter().map(|hash| Hash::parse(hash)).collect()
    }

    /// Those of some blobs that neither a file nor a snapshot refers to.
    pub fn unreferred(&self, hashes: Vec<Hash>) -> Result<Vec<Hash>> {
        let mut referring = self.db.prepare_cached(
            "SELECT 1 FROM artifacts WHERE hash = ?1 UNION ALL SELECT 1 FROM client_files WHERE hash = ?1
             UNION ALL SELECT 1 FROM snapshots WHERE hash = ?1",
        )?;
        let mut free = Vec::new();
        for hash in hashes {
            if !referring.exists([hash.as_str()])? {
                free.push(hash);
            }
        }
        Ok(free)
    }

    /// Makes stored blobs the run's checkpoint of this kind: all three files or none. Returns the hashes that they had
    /// before.
    pub fn put_checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<Vec<Hash>> {
        let Checkpoint { run, kind, .. } = *checkpoint;
        let mut replaced = Vec::new();
        for (name, file) in FILES.iter().zip([&checkpoint.weights, &checkpoint.optimizer, &checkpoint.state]) {
            let path = format!("checkpoints/{}/{name}", kind.as_str());
            replaced.extend(self.put_artifact(run, &path, &Hash::parse(&file.hash)?, file.bytes)?);
        }
        self.db
            .prepare_cached(
                "INSERT OR REPLACE INTO checkpoints (run, kind, step, epoch, val_accuracy, at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                run.0,
                kind.as_str(),
                checkpoint.step as i64,
                checkpoint.epoch as i64,
                checkpoint.val_accuracy,
                checkpoint.at.0
            ])?;
        Ok(replaced)
    }
}

fn artifact_of(row: &Row<'_>) -> rusqlite::Result<Artifact> {
    Ok(Artifact { path: row.get(0)?, hash: row.get(1)?, bytes: row.get::<_, i64>(2)? as u64 })
}

impl Reader<'_> {
    /// The artifacts of a run by path.
    pub fn artifacts(&self, run: RunId) -> Result<Vec<Artifact>> {
        let mut statement =
            self.db.prepare_cached("SELECT path, hash, bytes FROM artifacts WHERE run = ?1 ORDER BY path")?;
        let rows = statement.query_map([run.0], artifact_of)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// A file of a client.
    pub fn client_file(&self, path: &str) -> Result<Artifact> {
        self.db
            .prepare_cached("SELECT path, hash, bytes FROM client_files WHERE path = ?1")?
            .query_row([path], artifact_of)
            .optional()?
            .ok_or_else(|| StoreError::missing("file", path))
    }

    /// The files of clients at or below a path, by path.
    pub fn client_files(&self, path: &str) -> Result<Vec<Artifact>> {
        let sql = format!("SELECT path, hash, bytes FROM client_files WHERE {BELOW} ORDER BY path");
        let mut statement = self.db.prepare_cached(&sql)?;
        let rows = statement.query_map([path], artifact_of)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// One artifact of a run.
    pub fn artifact(&self, run: RunId, path: &str) -> Result<Artifact> {
        self.db
            .prepare_cached("SELECT path, hash, bytes FROM artifacts WHERE run = ?1 AND path = ?2")?
            .query_row(params![run.0, path], artifact_of)
            .optional()?
            .ok_or_else(|| StoreError::missing("artifact", format_args!("{path} of run {run}")))
    }

    /// The checkpoints of a run (of all runs that are not deleted, newest run first, without one).
    pub fn checkpoints(&self, run: Option<RunId>) -> Result<Vec<Checkpoint>> {
        let mut statement = self.db.prepare_cached(
            "SELECT run, kind, step, epoch, val_accuracy, at FROM checkpoints JOIN runs ON runs.id = run
             WHERE (?1 IS NULL AND runs.deleted IS NULL) OR run = ?1 ORDER BY run DESC, kind",
        )?;
        let rows = statement.query_map([run.map(|id| id.0)], |row| {
            let kind = match row.get::<_, String>(1)?.as_str() {
                "best" => CheckpointKind::Best,
                _ => CheckpointKind::Last,
            };
            Ok((RunId(row.get(0)?), kind, row.get::<_, i64>(2)?, row.get::<_, i64>(3)?, row.get(4)?, row.get(5)?))
        })?;
        let mut checkpoints = Vec::new();
        for row in rows {
            let (run, kind, step, epoch, val_accuracy, at) = row?;
            let file = |name: &str| self.artifact(run, &format!("checkpoints/{}/{name}", kind.as_str()));
            let [weights, optimizer, state] = FILES;
            checkpoints.push(Checkpoint {
                run,
                kind,
                step: step as u64,
                epoch: epoch as u64,
                val_accuracy,
                at: Timestamp(at),
                weights: file(weights)?,
                optimizer: file(optimizer)?,
                state: file(state)?,
            });
        }
        Ok(checkpoints)
    }

    /// One checkpoint of a run.
    pub fn checkpoint(&self, run: RunId, kind: CheckpointKind) -> Result<Checkpoint> {
        let mut all = self.checkpoints(Some(run))?;
        let at = all.iter().position(|checkpoint| checkpoint.kind == kind);
        at.map(|at| all.swap_remove(at))
            .ok_or_else(|| StoreError::missing("checkpoint", format_args!("{} of run {run}", kind.as_str())))
    }
}
