//! Runs that other programs log.

use super::to_json;
use crate::{Reader, Result, StoreError, WriteTx};
use assay_domain::entity::Event;
use assay_domain::{ExperimentId, RunId, RunStatus, Timestamp};
use rusqlite::{OptionalExtension, params};
use std::collections::{BTreeMap, HashSet};

/// Which program a run is of, and by whom.
pub(crate) const TABLES: &str = "
ALTER TABLE runs ADD COLUMN client TEXT;
ALTER TABLE runs ADD COLUMN user TEXT;
CREATE INDEX runs_by_experiment ON runs (experiment, id);
";

/// Whether a client removed the run's name tag.
pub(crate) const HIDDEN_NAMES: &str = "
ALTER TABLE runs ADD COLUMN hides_name INTEGER NOT NULL DEFAULT 0;
";

/// What a run of another program begins with.
#[derive(Clone, Debug)]
pub struct ClientRun {
    /// 32 hexadecimal digits, unique everywhere.
    pub uid: String,
    /// The experiment.
    pub experiment: ExperimentId,
    /// Its name.
    pub name: String,
    /// The program.
    pub client: String,
    /// Who made it.
    pub user: Option<String>,
    /// When it began, as the client says.
    pub started: Option<Timestamp>,
    /// Free key-value notes.
    pub tags: BTreeMap<String, String>,
}

/// What changes of a run of another program.
#[derive(Clone, Debug, Default)]
pub struct ClientRunChange {
    /// Another name.
    pub name: Option<String>,
    /// Another status.
    pub status: Option<RunStatus>,
    /// When it ended, as the client says.
    pub ended: Option<Timestamp>,
}

impl WriteTx<'_> {
    /// Makes a run of another program, at work from now on.
    pub fn create_client_run(&mut self, new: &ClientRun) -> Result<RunId> {
        self.db.execute(
            "INSERT INTO runs (uid, experiment, name, status, created, started, config, client, user)
             VALUES (?1, ?2, ?3, 'running', ?4, ?5, '', ?6, ?7)",
            params![new.uid, new.experiment.0, new.name, self.now.0, new.started.map(|at| at.0), new.client, new.user],
        )?;
        let run = RunId(self.db.last_insert_rowid());
        self.put_tags(run, &new.tags)?;
        Ok(run)
    }

    /// Changes what a client says of its run. Of a run of Assay's own, whose life is known, only the name changes.
    pub fn change_client_run(&mut self, run: RunId, change: &ClientRunChange) -> Result<()> {
        let before = self.status(run)?;
        self.update_run(
            run,
            "name = coalesce(?2, name), hides_name = iif(?2 IS NULL, hides_name, 0),
             status = CASE WHEN client IS NULL THEN status ELSE coalesce(?3, status) END,
             ended = CASE WHEN client IS NULL THEN ended ELSE coalesce(?4, ended) END",
            params![run.0, change.name, change.status.map(RunStatus::as_str), change.ended.map(|at| at.0)],
        )?;
        match self.status(run)? {
            Some(status) if before != Some(status) => self.watch_end(run, status, None, self.now),
            _ => Ok(()),
        }
    }

    /// Hides a run's name tag until it is renamed. Returns whether it was visible.
    pub fn hide_name(&mut self, run: RunId) -> Result<bool> {
        let hidden = self.db.execute("UPDATE runs SET hides_name = 1 WHERE id = ?1 AND NOT hides_name", [run.0])?;
        self.emit(&Event::RunChanged { run })?;
        Ok(hidden > 0)
    }

    /// Adds params of a run that are never changed again.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when one is there with another value.
    pub fn add_params(&mut self, run: RunId, new: &[(String, String)]) -> Result<()> {
        for (key, value) in new {
            let old: Option<String> = self
                .db
                .prepare_cached("SELECT value FROM params WHERE run = ?1 AND key = ?2")?
                .query_row(params![run.0, key], |row| row.get(0))
                .optional()?;
            match old {
                None => self
                    .db
                    .prepare_cached("INSERT INTO params (run, key, value) VALUES (?1, ?2, ?3)")?
                    .execute(params![run.0, key, value])?,
                Some(old) if old == *value => continue,
                Some(old) => {
                    return Err(StoreError::Conflict(format!(
                        "Changing param values is not allowed. Param with key='{key}' was already logged with \
                         value='{old}' for run ID={}. Attempted logging new value '{value}'.",
                        run_uid(self.db, run)?
                    )));
                }
            };
        }
        self.emit(&Event::RunChanged { run })
    }
}

impl Reader<'_> {
    /// Those runs whose name tag is hidden.
    pub fn hidden_names(&self, runs: &[RunId]) -> Result<HashSet<RunId>> {
        let sql = "SELECT id FROM runs WHERE hides_name AND id IN (SELECT value FROM json_each(?1))";
        let mut statement = self.db.prepare_cached(sql)?;
        let found = statement.query_map([to_json("runs", &runs)?], |row| row.get(0).map(RunId))?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }
}

fn run_uid(db: &rusqlite::Connection, run: RunId) -> Result<String> {
    Ok(db.query_row("SELECT uid FROM runs WHERE id = ?1", [run.0], |row| row.get(0))?)
}
