//! Taking over what another workspace has: what is there already is known by what never changes of it (a run by its uid, an
//! experiment and a registered model by name, a dataset by when and with which seed it was made, a sample by its contents), so
//! that a merge that was cut off goes on when it is begun again, and merging twice changes nothing.
//!
//! The other database is attached to the writer's connection as `other`. A run is one transaction, as a dataset is.

mod edits;
mod gained;
mod run;
mod samples;
#[cfg(test)]
mod tests;

pub use gained::Gain;
pub use run::OtherRuns;

use crate::lock::{self, Lock};
use crate::retention::copy_folder;
use crate::table::label::EditsTaken;
use crate::{Blobs, Hash, Holder, Result, Store, StoreError, WriteTx};
use assay_domain::entity::Event;
use assay_domain::{ClassId, DatasetId, ExperimentId, SampleId};
use rusqlite::{OptionalExtension, params};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Another workspace, which nobody else uses while this lives.
pub struct Other<'a> {
    store: &'a Store,
    /// To read what it has.
    pub read: Store,
    _lock: Option<Lock>,
}

/// What became of a dataset.
pub struct MergedDataset {
    /// Where it is now.
    pub id: DatasetId,
    /// Its name.
    pub name: String,
    /// Whether it was made.
    pub is_new: bool,
    /// Each sample of the other workspace, and what it is here.
    pub samples: HashMap<SampleId, SampleId>,
    /// Changes taken over for samples that both have.
    pub edits: EditsTaken,
}

/// Rows that belong to a run alone and name nothing else: table, its columns without the run, and their order.
const OF_RUN: [(&str, &str, &str); 8] = [
    ("params", "key, value", "key"),
    ("tags", "key, value", "key"),
    ("run_log", "at, text", "number"),
    ("segments", "segment, first_step, key", "segment"),
    ("artifacts", "path, hash, bytes", "path"),
    ("checkpoints", "kind, step, epoch, val_accuracy, at", "kind"),
    ("run_inputs", "name, digest, source_type, source, schema, profile, tags", "rowid"),
    ("run_models", "role, model, step", "role, model"),
];
const SERIES: &str = "key, segment, count, last, last_step, min, min_step, max, max_step, waiting, last_wall, small, \
    is_latest, kept_count, kept_last, kept_last_step, kept_last_wall, kept_min, kept_min_step, kept_max, kept_max_step";
const CHUNKS: &str = "number, sealed, count, first_step, last_step, whole, level, points";
const SAMPLES: &str = "path, hash, bytes, modified, stamp, width, height, split, split_by, changed_from, removed";
const ANNOTATIONS: &str = "before, after, at, author, person, action, confirmed";
const PREDICTIONS: &str = "label, predicted, loss, confidence, probabilities";
const EVALUATIONS: &str = "checkpoint, split, created, classes, loss, confusion";
const VERSIONS: &str = "version, description, user, source, run, run_link, logged_model, stage, created, updated";
const RUNS: &str = "uid, name, note, status, reason, created, started, ended, heartbeat, done, total, config, deleted, client, \
    user, hides_name";

impl Store {
    /// Opens another workspace to take over what it has.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when a process has it, [`StoreError::Conflict`] when it is this one, or has an older format.
    pub fn attach(&self, root: &Path, holder: &Holder) -> Result<Other<'_>> {
        let path = root.join("assay.db");
        if !path.is_file() {
            return Err(StoreError::missing("workspace", root.display()));
        }
        let whole = |root: &Path| root.canonicalize().map_err(StoreError::io("finding the workspace", root));
        if whole(root)? == whole(self.root())? {
            return Err(StoreError::Conflict("a workspace cannot be merged with itself".into()));
        }
        let read = Store::open_read_only(root)?;
        let lock = match lock::acquire(root, holder) {
            Ok(lock) => Some(lock),
            Err(StoreError::Io { .. } | StoreError::ReadOnly(_)) => {
                // What lies beside the database is not read where nothing can be written.
                let waits = std::fs::metadata(root.join("assay.db-wal")).is_ok_and(|log| log.len() > 0);
                if waits || !lock::is_free(root) {
                    return Err(StoreError::Conflict(format!(
                        "its last changes cannot be read where nothing can be written, and a process may have it: copy the \
                         folder to where it can be written, and merge the copy: {}",
                        root.display()
                    )));
                }
                None
            }
            Err(in_use) => return Err(in_use),
        };
        let address = match lock {
            Some(_) => path.display().to_string(),
            None => crate::reader::immutable(&path),
        };
        self.alone(move |db| {
            db.execute("ATTACH ?1 AS other", [address])
                .map_err(|why| StoreError::Conflict(format!("it cannot be read beside this one: {why}")))?;
            Ok(db.execute_batch(
                "CREATE TEMP TABLE IF NOT EXISTS merged_samples (theirs INTEGER PRIMARY KEY, ours INTEGER NOT NULL);
                 DELETE FROM merged_samples",
            )?)
        })?;
        Ok(Other { store: self, read, _lock: lock })
    }

    /// Copies the images that another workspace unpacked to where those of this name are; returns where that is.
    pub fn take_import(&self, from: &Path, name: &str) -> Result<PathBuf> {
        let folder = self.root().join("imports").join(name);
        copy_folder(from, &folder).map_err(StoreError::io("copying images", from))?;
        Ok(folder)
    }

    /// Copies the files of these hashes from another workspace; returns the first that is missing there.
    pub fn take_blobs(&self, other: &Blobs, hashes: &[String]) -> Result<Option<Hash>> {
        for hash in hashes {
            let hash = Hash::parse(hash)?;
            if !self.blobs().path(&hash).exists() && other.copy_to(&hash, self.blobs())?.is_none() {
                return Ok(Some(hash));
            }
        }
        Ok(None)
    }
}

impl Drop for Other<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.store.alone(|db| Ok(db.execute_batch("DETACH other")?)) {
            tracing::warn!(%error, "the other workspace stays open until this process ends");
        }
    }
}

impl WriteTx<'_> {
    /// Takes over the experiments by their names; returns which is which. One that is deleted here is restored where runs
    /// come to it. With them come the directions of metrics that nobody declared here.
    pub fn merge_experiments(&mut self) -> Result<HashMap<ExperimentId, ExperimentId>> {
        let mut restored = self.db.prepare(
            "UPDATE main.experiments SET deleted = NULL WHERE deleted IS NOT NULL AND name IN (
                 SELECT theirs.name FROM other.experiments AS theirs JOIN other.runs ON runs.experiment = theirs.id
                 WHERE theirs.deleted IS NULL AND runs.deleted IS NULL AND uid NOT IN (SELECT uid FROM main.runs))
             RETURNING id",
        )?;
        let restored = restored.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<i64>>>()?;
        let mut made = self.db.prepare(
            "INSERT INTO main.experiments (name, created, location, updated, deleted)
             SELECT name, created, location, updated, deleted FROM other.experiments
             WHERE name NOT IN (SELECT name FROM main.experiments) ORDER BY id RETURNING id",
        )?;
        let made = made.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<i64>>>()?;
        self.db.execute(
            "INSERT OR IGNORE INTO main.experiment_tags (experiment, key, value)
             SELECT ours.id, tags.key, tags.value FROM other.experiment_tags AS tags
             JOIN other.experiments AS theirs ON theirs.id = tags.experiment
             JOIN main.experiments AS ours ON ours.name = theirs.name",
            [],
        )?;
        let declared = self.db.execute(
            "INSERT OR IGNORE INTO main.metric_directions (key, best) SELECT key, best FROM other.metric_directions",
            [],
        )?;
        if declared > 0 {
            self.emit(&Event::DirectionsChanged)?;
        }
        for experiment in made.into_iter().chain(restored) {
            self.emit(&Event::ExperimentChanged { experiment: ExperimentId(experiment) })?;
        }
        let mut same = self.db.prepare(
            "SELECT theirs.id, ours.id FROM other.experiments AS theirs JOIN main.experiments AS ours USING (name)",
        )?;
        let same = same.query_map([], |row| Ok((ExperimentId(row.get(0)?), ExperimentId(row.get(1)?))))?;
        Ok(same.collect::<rusqlite::Result<_>>()?)
    }

    /// Takes over a dataset whose images lie at `source` now: as a new one, or what is new of one that both have. Of labels
    /// and splits that only one side changed, that change stays; where both did, ours. A sample removed there is removed
    /// here, unless a person labelled it here later.
    pub fn merge_dataset(&mut self, theirs: DatasetId, source: &str) -> Result<MergedDataset> {
        let no_hash =
            "SELECT 1 FROM other.samples WHERE dataset = ?1 AND (length(hash) <> 64 OR hash GLOB '*[^0-9a-f]*')";
        if self.db.prepare(no_hash)?.exists([theirs.0])? {
            return Err(StoreError::unreadable("sample", "its hash is none"));
        }
        let same = self
            .db
            .query_row(
                "SELECT ours.id FROM main.datasets AS ours JOIN other.datasets AS theirs USING (created, seed)
                 WHERE theirs.id = ?1",
                [theirs.0],
                |row| row.get(0).map(DatasetId),
            )
            .optional()?;
        let (id, edits) = match same {
            Some(ours) => (ours, self.join_dataset(theirs, ours)?),
            None => (self.copy_dataset(theirs, source)?, EditsTaken::default()),
        };
        let mut samples = self.db.prepare(
            "SELECT theirs, ours FROM merged_samples JOIN other.samples ON samples.id = theirs WHERE dataset = ?1",
        )?;
        let samples = samples.query_map([theirs.0], |row| Ok((SampleId(row.get(0)?), SampleId(row.get(1)?))))?;
        let samples = samples.collect::<rusqlite::Result<_>>()?;
        let name = self.db.query_row("SELECT name FROM main.datasets WHERE id = ?1", [id.0], |row| row.get(0))?;
        self.emit(&Event::DatasetChanged { dataset: id })?;
        Ok(MergedDataset { id, name, is_new: same.is_none(), samples, edits })
    }

    fn copy_dataset(&mut self, theirs: DatasetId, source: &str) -> Result<DatasetId> {
        let taken = |name: &str| {
            self.db.prepare("SELECT 1 FROM main.datasets WHERE name = ?1 AND removed IS NULL")?.exists([name])
        };
        let wanted: String =
            self.db.query_row("SELECT name FROM other.datasets WHERE id = ?1", [theirs.0], |row| row.get(0))?;
        let (mut name, mut number) = (wanted.clone(), 2);
        while taken(&name)? {
            name = format!("{wanted} ({number})");
            number += 1;
        }
        self.db.execute(
            "INSERT INTO main.datasets (name, source, created, seed, val, test, multi_label, archive)
             SELECT ?2, ?3, created, seed, val, test, multi_label, archive FROM other.datasets WHERE id = ?1",
            params![theirs.0, name, source],
        )?;
        let ours = self.db.last_insert_rowid();
        let last = |table: &str| {
            let sql = "SELECT coalesce((SELECT seq FROM main.sqlite_sequence WHERE name = ?1), 0)";
            self.db.query_row(sql, [table], |row| row.get::<_, i64>(0))
        };
        // Numbers above all that were ever given, in the same order.
        let (sample, edit) = (last("samples")?, last("annotations")?);
        self.db.execute(
            "INSERT INTO main.classes (dataset, position, name)
             SELECT ?2, position, name FROM other.classes WHERE dataset = ?1",
            [theirs.0, ours],
        )?;
        self.db.execute(
            "INSERT INTO main.problems (dataset, path, kind, reason)
             SELECT ?2, path, kind, reason FROM other.problems WHERE dataset = ?1",
            [theirs.0, ours],
        )?;
        self.db.execute(
            &format!(
                "INSERT INTO main.samples (id, dataset, label, missing, {SAMPLES})
                 SELECT id + ?3, ?2, label, missing, {SAMPLES} FROM other.samples WHERE dataset = ?1 ORDER BY id"
            ),
            [theirs.0, ours, sample],
        )?;
        self.db.execute(
            "INSERT INTO merged_samples (theirs, ours) SELECT id, id + ?2 FROM other.samples WHERE dataset = ?1",
            [theirs.0, sample],
        )?;
        self.db.execute(
            "INSERT INTO main.sample_classes (dataset, class, split, sample)
             SELECT ?2, class, split, sample + ?3 FROM other.sample_classes WHERE dataset = ?1",
            [theirs.0, ours, sample],
        )?;
        self.db.execute(
            &format!(
                "INSERT INTO main.annotations (id, dataset, sample, undoes, undone_by, {ANNOTATIONS})
                 SELECT id + ?4, ?2, sample + ?3, undoes + ?4, undone_by + ?4, {ANNOTATIONS}
                 FROM other.annotations WHERE dataset = ?1 ORDER BY id"
            ),
            [theirs.0, ours, sample, edit],
        )?;
        Ok(DatasetId(ours))
    }

    fn join_dataset(&mut self, theirs: DatasetId, ours: DatasetId) -> Result<EditsTaken> {
        let classes = self.join_classes(theirs, ours)?;
        self.db.execute(
            "UPDATE main.datasets SET multi_label = 1
             WHERE id = ?2 AND (SELECT multi_label FROM other.datasets WHERE id = ?1)",
            [theirs.0, ours.0],
        )?;
        self.join_samples(theirs, ours)?;
        let mut taken = EditsTaken::default();
        // Before take_edits, so that only edits made here keep a sample.
        self.take_removals(theirs, ours, &mut taken)?;
        self.take_splits(theirs, &mut taken)?;
        self.take_edits(theirs, ours, &classes, &mut taken)?;
        Ok(taken)
    }

    /// The classes of both, ours first; returns what each of theirs is here.
    fn join_classes(&mut self, theirs: DatasetId, ours: DatasetId) -> Result<Vec<ClassId>> {
        self.db.execute(
            "INSERT INTO main.classes (dataset, position, name)
             SELECT ?2, (SELECT count(*) FROM main.classes WHERE dataset = ?2) + row_number() OVER (ORDER BY position) - 1,
                 name
             FROM other.classes
             WHERE dataset = ?1 AND name NOT IN (SELECT name FROM main.classes WHERE dataset = ?2)",
            [theirs.0, ours.0],
        )?;
        let mut same = self.db.prepare(
            "SELECT ours.position FROM other.classes AS theirs JOIN main.classes AS ours USING (name)
             WHERE theirs.dataset = ?1 AND ours.dataset = ?2 ORDER BY theirs.position",
        )?;
        let same = same.query_map([theirs.0, ours.0], |row| row.get(0).map(ClassId))?;
        Ok(same.collect::<rusqlite::Result<_>>()?)
    }

    /// The hashes of the other's files that are of no run.
    pub fn files_of_other_models(&mut self) -> Result<Vec<String>> {
        let mut hashes = self.db.prepare_cached("SELECT DISTINCT hash FROM other.client_files")?;
        Ok(hashes.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
    }

    /// Takes over the logged models, the files of no run, and the registered models whose name is free. Returns the names of
    /// the registered ones that were taken, and of those that are here already.
    pub fn merge_models(
        &mut self,
        experiments: &HashMap<ExperimentId, ExperimentId>,
    ) -> Result<(Vec<String>, Vec<String>)> {
        self.db.execute_batch(
            "INSERT OR IGNORE INTO main.logged_models
                 (id, experiment, name, kind, status, run, created, updated, params, tags)
             SELECT models.id, ours.id, models.name, kind, status, run, models.created, models.updated, params, tags
             FROM other.logged_models AS models JOIN other.experiments AS theirs ON theirs.id = experiment
             JOIN main.experiments AS ours ON ours.name = theirs.name;
             INSERT OR IGNORE INTO main.logged_model_metrics (model, key, run, dataset, digest, value, step, wall)
             SELECT model, key, run, dataset, digest, value, step, wall FROM other.logged_model_metrics;",
        )?;
        let mut files = self.db.prepare("SELECT path, hash, bytes FROM other.client_files")?;
        let files = files.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        for (path, hash, bytes) in files.collect::<rusqlite::Result<Vec<(String, String, i64)>>>()? {
            self.db
                .prepare_cached("INSERT OR IGNORE INTO main.client_files (path, hash, bytes) VALUES (?1, ?2, ?3)")?
                .execute(params![of_experiment(&path, experiments), hash, bytes])?;
        }
        let mut names = self.db.prepare(
            "SELECT name, name IN (SELECT name FROM main.registered_models) FROM other.registered_models ORDER BY name",
        )?;
        let names = names.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let (here, new): (Vec<_>, Vec<_>) =
            names.collect::<rusqlite::Result<Vec<(String, bool)>>>()?.into_iter().partition(|(_, here)| *here);
        for (name, _) in &new {
            self.copy_registered(name, experiments)?;
        }
        let names = |models: Vec<(String, bool)>| models.into_iter().map(|(name, _)| name).collect();
        Ok((names(new), names(here)))
    }

    fn copy_registered(&mut self, name: &str, experiments: &HashMap<ExperimentId, ExperimentId>) -> Result<()> {
        self.db.execute(
            "INSERT INTO main.registered_models (name, description, created, updated, versions)
             SELECT name, description, created, updated, versions FROM other.registered_models WHERE name = ?1",
            [name],
        )?;
        let mut versions = self.db.prepare("SELECT version, location FROM other.model_versions WHERE model = ?1")?;
        let versions = versions.query_map([name], |row| Ok((row.get(0)?, row.get(1)?)))?;
        for (version, location) in versions.collect::<rusqlite::Result<Vec<(i64, String)>>>()? {
            const OURS: &str = "mlflow-artifacts:/";
            let location = match location.strip_prefix(OURS) {
                Some(path) => format!("{OURS}{}", of_experiment(path, experiments)),
                None => location,
            };
            self.db.execute(
                &format!(
                    "INSERT INTO main.model_versions (model, location, {VERSIONS})
                     SELECT model, ?3, {VERSIONS} FROM other.model_versions WHERE model = ?1 AND version = ?2"
                ),
                params![name, version, location],
            )?;
        }
        for (table, columns) in [("registry_tags", "version, key, value"), ("registry_aliases", "alias, version")] {
            let sql = format!(
                "INSERT INTO main.{table} (model, {columns}) SELECT model, {columns} FROM other.{table} WHERE model = ?1"
            );
            self.db.execute(&sql, [name])?;
        }
        self.emit(&Event::RegistryChanged { model: name.to_owned() })
    }
}

/// A path `EXPERIMENT/…` with the number that the experiment has here.
fn of_experiment(path: &str, experiments: &HashMap<ExperimentId, ExperimentId>) -> String {
    let numbered = path.split_once('/').and_then(|(number, rest)| {
        let ours = experiments.get(&ExperimentId(number.parse().ok()?))?;
        Some(format!("{ours}/{rest}"))
    });
    numbered.unwrap_or_else(|| path.to_owned())
}
