//! Experiments, with their tags.

use crate::{Reader, Result, StoreError, WriteTx};
use assay_domain::entity::{Event, Experiment};
use assay_domain::{ExperimentId, Timestamp};
use rusqlite::{OptionalExtension, params};
use std::collections::BTreeMap;

pub(crate) const TABLES: &str = "
CREATE TABLE experiments (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, created INTEGER NOT NULL) STRICT;
";

/// What clients of other programs know of an experiment, and the one that is there from the beginning.
pub(crate) const CLIENTS: &str = "
ALTER TABLE experiments ADD COLUMN location TEXT;
ALTER TABLE experiments ADD COLUMN updated INTEGER;
ALTER TABLE experiments ADD COLUMN deleted INTEGER;
CREATE TABLE experiment_tags (experiment INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (experiment, key)) STRICT, WITHOUT ROWID;
INSERT INTO experiments (id, name, created) VALUES (0, '', unixepoch() * 1000);
UPDATE runs SET experiment = 0 WHERE experiment IN (SELECT id FROM experiments WHERE name IN ('default', 'Default'));
DELETE FROM experiments WHERE name IN ('default', 'Default');
UPDATE experiments SET name = 'Default' WHERE id = 0;
";

impl WriteTx<'_> {
    /// The experiment of this name, made if it is missing.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it is deleted.
    pub fn experiment(&mut self, name: &str) -> Result<ExperimentId> {
        let found: Option<(i64, bool)> = self
            .db
            .prepare_cached("SELECT id, deleted IS NOT NULL FROM experiments WHERE name = ?1")?
            .query_row([name], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        match found {
            Some((id, false)) => Ok(ExperimentId(id)),
            Some((_, true)) => Err(StoreError::Conflict(format!(
                "the experiment {name:?} is deleted: restore it, or choose another name"
            ))),
            None => self.create_experiment(name, None, &BTreeMap::new()),
        }
    }

    /// Makes an experiment.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is one of this name, deleted or not.
    pub fn create_experiment(
        &mut self,
        name: &str,
        location: Option<&str>,
        tags: &BTreeMap<String, String>,
    ) -> Result<ExperimentId> {
        self.check_name(name)?;
        self.db.execute(
            "INSERT INTO experiments (name, created, location) VALUES (?1, ?2, ?3)",
            params![name, self.now.0, location],
        )?;
        let experiment = ExperimentId(self.db.last_insert_rowid());
        for (key, value) in tags {
            self.set_experiment_tag(experiment, key, Some(value))?;
        }
        self.emit(&Event::ExperimentChanged { experiment })?;
        Ok(experiment)
    }

    /// Renames an experiment.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is another of this name.
    pub fn rename_experiment(&mut self, experiment: ExperimentId, name: &str) -> Result<()> {
        self.check_name(name)?;
        self.update_experiment(experiment, "name = ?3", name)
    }

    /// Deletes an experiment with its runs.
    pub fn delete_experiment(&mut self, experiment: ExperimentId) -> Result<()> {
        self.update_experiment(experiment, "deleted = ?3", self.now.0)?;
        self.db.execute(
            "UPDATE runs SET deleted = ?2 WHERE experiment = ?1 AND deleted IS NULL",
            params![experiment.0, self.now.0],
        )?;
        Ok(())
    }

    /// Brings an experiment back with the runs that were deleted with it.
    pub fn restore_experiment(&mut self, experiment: ExperimentId) -> Result<()> {
        self.db.execute(
            "UPDATE runs SET deleted = NULL
             WHERE experiment = ?1 AND deleted = (SELECT deleted FROM experiments WHERE id = ?1)",
            [experiment.0],
        )?;
        self.update_experiment(experiment, "deleted = ?3", None::<i64>)
    }

    /// Sets a tag of an experiment, or removes it; returns whether there was one.
    pub fn set_experiment_tag(&mut self, experiment: ExperimentId, key: &str, value: Option<&str>) -> Result<bool> {
        let before = self
            .db
            .prepare_cached("DELETE FROM experiment_tags WHERE experiment = ?1 AND key = ?2")?
            .execute(params![experiment.0, key])?;
        if let Some(value) = value {
            self.db
                .prepare_cached("INSERT INTO experiment_tags (experiment, key, value) VALUES (?1, ?2, ?3)")?
                .execute(params![experiment.0, key, value])?;
        }
        self.update_experiment(experiment, "name = coalesce(?3, name)", None::<String>)?;
        Ok(before > 0)
    }

    fn check_name(&self, name: &str) -> Result<()> {
        let taken: Option<bool> = self
            .db
            .query_row("SELECT deleted IS NOT NULL FROM experiments WHERE name = ?1", [name], |row| row.get(0))
            .optional()?;
        match taken {
            None => Ok(()),
            Some(false) => Err(StoreError::Conflict(format!("Experiment(name={name}) already exists."))),
            Some(true) => Err(StoreError::Conflict(format!(
                "Experiment(name={name}) already exists in deleted state. You can restore the experiment, or permanently \
                 delete the experiment to create a new one."
            ))),
        }
    }

    fn update_experiment(
        &mut self,
        experiment: ExperimentId,
        assignment: &str,
        value: impl rusqlite::ToSql,
    ) -> Result<()> {
        let sql = format!("UPDATE experiments SET updated = ?2, {assignment} WHERE id = ?1");
        match self.db.prepare_cached(&sql)?.execute(params![experiment.0, self.now.0, value])? {
            0 => Err(StoreError::missing("experiment", experiment)),
            _ => self.emit(&Event::ExperimentChanged { experiment }),
        }
    }
}

impl Reader<'_> {
    /// All experiments by name, deleted ones too.
    pub fn experiments(&self) -> Result<Vec<Experiment>> {
        self.found_experiments(None)
    }

    /// One experiment, deleted or not.
    pub fn experiment(&self, experiment: ExperimentId) -> Result<Experiment> {
        let found = self.found_experiments(Some(experiment))?.pop();
        found.ok_or_else(|| StoreError::missing("experiment", experiment))
    }

    fn found_experiments(&self, only: Option<ExperimentId>) -> Result<Vec<Experiment>> {
        let only = only.map(|experiment| experiment.0);
        let mut tags: BTreeMap<i64, BTreeMap<String, String>> = BTreeMap::new();
        let mut statement = self
            .db
            .prepare_cached("SELECT experiment, key, value FROM experiment_tags WHERE ?1 IS NULL OR experiment = ?1")?;
        let mut rows = statement.query([only])?;
        while let Some(row) = rows.next()? {
            tags.entry(row.get(0)?).or_default().insert(row.get(1)?, row.get(2)?);
        }
        let mut statement = self.db.prepare_cached(
            "SELECT id, name, created, location, coalesce(updated, created), deleted FROM experiments WHERE ?1 IS NULL OR id = ?1 ORDER BY name",
        )?;
        let rows = statement.query_map([only], |row| {
            let id: i64 = row.get(0)?;
            Ok(Experiment {
                id: ExperimentId(id),
                name: row.get(1)?,
                created: Timestamp(row.get(2)?),
                location: row.get(3)?,
                updated: Timestamp(row.get(4)?),
                deleted: row.get::<_, Option<i64>>(5)?.map(Timestamp),
                tags: tags.remove(&id).unwrap_or_default(),
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}
