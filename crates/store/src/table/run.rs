//! Runs, with their params, tags, records and logs.

use super::{from_json, to_json, unknown_word};
use crate::{Reader, Result, StoreError, WriteTx};
use assay_domain::entity::{Event, LogLine, Progress, Run};
use assay_domain::record::Record;
use assay_domain::{DatasetId, ExperimentId, RunId, RunStatus, SnapshotId, Timestamp};
use rusqlite::{OptionalExtension, Row, params};
use std::collections::{BTreeMap, HashMap};

pub(crate) const TABLES: &str = "
CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    uid TEXT NOT NULL UNIQUE,
    experiment INTEGER NOT NULL REFERENCES experiments (id),
    name TEXT NOT NULL,
    note TEXT NOT NULL DEFAULT '',
    status TEXT NOT NULL,
    reason TEXT,
    created INTEGER NOT NULL,
    started INTEGER,
    ended INTEGER,
    heartbeat INTEGER,
    done INTEGER NOT NULL DEFAULT 0,
    total INTEGER NOT NULL DEFAULT 0,
    dataset INTEGER,
    snapshot INTEGER,
    parent INTEGER,
    config TEXT NOT NULL,
    record TEXT,
    deleted INTEGER
) STRICT;
CREATE TABLE params (run INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (run, key))
    STRICT, WITHOUT ROWID;
CREATE INDEX params_by_key ON params (key, run);
CREATE TABLE tags (run INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (run, key))
    STRICT, WITHOUT ROWID;
CREATE TABLE run_log (number INTEGER PRIMARY KEY, run INTEGER NOT NULL, at INTEGER NOT NULL, text TEXT NOT NULL) STRICT;
CREATE INDEX run_log_by_run ON run_log (run, number);
";

/// Runs are found by what their params are, in whichever experiments.
pub(crate) const PARAMS_BY_VALUE: &str = "
DROP INDEX params_by_key;
CREATE INDEX params_by_value ON params (key, value, run);
";

/// For listing tag keys.
pub(crate) const TAGS_BY_KEY: &str = "CREATE INDEX tags_by_key ON tags (key, run);";

/// Keys in use by runs, sorted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunKeys {
    /// Of params.
    pub params: Vec<String>,
    /// Of metrics.
    pub metrics: Vec<String>,
    /// Of tags.
    pub tags: Vec<String>,
}

/// Runs to search by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Among {
    /// Those that are there.
    Kept,
    /// Those that are deleted.
    Deleted,
}

/// What a new run is made of.
#[derive(Clone, Debug)]
pub struct NewRun {
    /// 32 hexadecimal digits, unique everywhere.
    pub uid: String,
    /// The experiment; made if it is missing.
    pub experiment: String,
    /// The name; its number is appended when it ends in `-`.
    pub name: String,
    /// What people wrote about it.
    pub note: String,
    /// The dataset it will learn from.
    pub dataset: Option<DatasetId>,
    /// The run it was cloned from.
    pub parent: Option<RunId>,
    /// The config as it was asked for, as TOML.
    pub config: String,
    /// The resolved config by dotted path.
    pub params: BTreeMap<String, String>,
    /// Free key-value notes.
    pub tags: BTreeMap<String, String>,
}

/// What a request needs to know of a run before it reads or writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunHead {
    /// The run.
    pub id: RunId,
    /// Its experiment.
    pub experiment: ExperimentId,
    /// Whether another program logs it.
    pub is_of_client: bool,
    /// Whether it is deleted.
    pub is_deleted: bool,
}

/// Maximum listed runs of one name.
const MOST_NAMED: usize = 20;

/// What became of a run whose process is gone.
pub(crate) const ABANDONED: &str = "its process ended without a word; resume continues from the last checkpoint";

impl WriteTx<'_> {
    /// Makes a queued run.
    pub fn create_run(&mut self, new: &NewRun) -> Result<RunId> {
        let experiment = self.experiment(&new.experiment)?;
        self.db.execute(
            "INSERT INTO runs (uid, experiment, name, note, status, created, dataset, parent, config)
             VALUES (?1, ?2, ?3, ?4, 'queued', ?5, ?6, ?7, ?8)",
            params![
                new.uid,
                experiment.0,
                new.name,
                new.note,
                self.now.0,
                new.dataset.map(|id| id.0),
                new.parent.map(|id| id.0),
                new.config
            ],
        )?;
        let run = RunId(self.db.last_insert_rowid());
        if new.name.ends_with('-') {
            self.db.execute("UPDATE runs SET name = name || id WHERE id = ?1", [run.0])?;
        }
        self.set_params(run, &new.params)?;
        self.put_tags(run, &new.tags)?;
        Ok(run)
    }

    /// Sets several tags.
    pub fn put_tags(&mut self, run: RunId, tags: &BTreeMap<String, String>) -> Result<()> {
        let mut insert = self.db.prepare_cached(
            "INSERT INTO tags (run, key, value) VALUES (?1, ?2, ?3)
             ON CONFLICT (run, key) DO UPDATE SET value = excluded.value",
        )?;
        for (key, value) in tags {
            insert.execute(params![run.0, key, value])?;
        }
        drop(insert);
        tags.iter().try_for_each(|(key, value)| self.declare_by_tag(key, value))?;
        self.emit(&Event::RunChanged { run })
    }

    /// Replaces the params of a run.
    pub fn set_params(&mut self, run: RunId, params_by_key: &BTreeMap<String, String>) -> Result<()> {
        self.db.execute("DELETE FROM params WHERE run = ?1", [run.0])?;
        let mut insert = self.db.prepare_cached("INSERT INTO params (run, key, value) VALUES (?1, ?2, ?3)")?;
        for (key, value) in params_by_key {
            insert.execute(params![run.0, key, value])?;
        }
        Ok(())
    }

    /// Fixes the record of a run, before its first step; the snapshot is known once the run starts.
    pub fn set_record(&mut self, run: RunId, record: &Record, snapshot: Option<SnapshotId>) -> Result<()> {
        let json = to_json("record", record)?;
        self.update_run(run, "record = ?2, snapshot = ?3", params![run.0, json, snapshot.map(|id| id.0)])
    }

    /// The run begins to work (for the first time or again).
    pub fn start_run(&mut self, run: RunId) -> Result<()> {
        let now = self.now.0;
        self.update_run(
            run,
            "status = 'running', started = coalesce(started, ?2), heartbeat = ?2, ended = NULL, reason = NULL",
            params![run.0, now],
        )
    }

    /// An ended run waits for its turn again.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where it has not ended: one that gives no sign of life may only have been held up.
    pub fn requeue_ended_run(&mut self, run: RunId) -> Result<()> {
        match self.status(run)? {
            Some(status) if !status.has_ended() => {
                Err(StoreError::Conflict(format!("run {run} is {} already", status.as_str())))
            }
            _ => self.requeue_run(run),
        }
    }

    /// The run waits for its turn again.
    pub fn requeue_run(&mut self, run: RunId) -> Result<()> {
        self.update_run(run, "status = 'queued', ended = NULL, reason = NULL", params![run.0])
    }

    /// The run gives a sign of life and says how far it is. This is no event: the points logged with it are.
    pub fn run_heartbeat(&mut self, run: RunId, progress: Progress) -> Result<()> {
        self.db
            .prepare_cached("UPDATE runs SET heartbeat = ?2, done = ?3, total = ?4 WHERE id = ?1")?
            .execute(params![run.0, self.now.0, progress.done as i64, progress.total as i64])?;
        Ok(())
    }

    /// The run has ended.
    pub fn end_run(&mut self, run: RunId, status: RunStatus, reason: Option<&str>) -> Result<()> {
        let (now, before) = (self.now, self.status(run)?);
        self.update_run(run, "status = ?2, reason = ?3, ended = ?4", params![run.0, status.as_str(), reason, now.0])?;
        if before == Some(status) { Ok(()) } else { self.watch_end(run, status, reason, now) }
    }

    /// The status of a run as it is recorded.
    pub(super) fn status(&self, run: RunId) -> Result<Option<RunStatus>> {
        let mut statement = self.db.prepare_cached("SELECT status FROM runs WHERE id = ?1")?;
        let word: Option<String> = statement.query_row([run.0], |row| row.get(0)).optional()?;
        Ok(word.and_then(|word| RunStatus::parse(&word)))
    }

    /// Ends what an earlier process left running, or waiting for a job that is not in the queue: its lock is gone, so it
    /// is as well.
    pub fn crash_abandoned_runs(&mut self) -> Result<Vec<RunId>> {
        let mut statement = self.db.prepare(
            "SELECT id, heartbeat FROM runs WHERE client IS NULL AND (status = 'running' OR status = 'queued' AND id NOT IN
                (SELECT work ->> 'run' FROM jobs WHERE status = 'queued' AND work ->> 'kind' = 'train'))",
        )?;
        let rows = statement.query_map([], |row| Ok((RunId(row.get(0)?), row.get::<_, Option<i64>>(1)?)))?;
        let abandoned: Vec<(RunId, Option<i64>)> = rows.collect::<rusqlite::Result<_>>()?;
        for &(run, heartbeat) in &abandoned {
            let ended = heartbeat.unwrap_or(self.now.0);
            self.update_run(run, "status = 'crashed', reason = ?2, ended = ?3", params![run.0, ABANDONED, ended])?;
            self.watch_end(run, RunStatus::Crashed, Some(ABANDONED), Timestamp(ended))?;
        }
        Ok(abandoned.into_iter().map(|(run, _)| run).collect())
    }

    /// Renames a run.
    pub fn rename_run(&mut self, run: RunId, name: &str) -> Result<()> {
        self.update_run(run, "name = ?2, hides_name = 0", params![run.0, name])
    }

    /// Replaces a run's note.
    pub fn set_note(&mut self, run: RunId, note: &str) -> Result<()> {
        self.update_run(run, "note = ?2", params![run.0, note])
    }

    /// Sets a tag, or removes it; returns whether something changed.
    pub fn set_tag(&mut self, run: RunId, key: &str, value: Option<&str>) -> Result<bool> {
        let changed = match value {
            Some(value) => self.db.execute(
                "INSERT INTO tags (run, key, value) VALUES (?1, ?2, ?3)
                 ON CONFLICT (run, key) DO UPDATE SET value = excluded.value",
                params![run.0, key, value],
            )?,
            None => self.db.execute("DELETE FROM tags WHERE run = ?1 AND key = ?2", params![run.0, key])?,
        };
        value.map_or(Ok(()), |value| self.declare_by_tag(key, value))?;
        self.emit(&Event::RunChanged { run })?;
        Ok(changed > 0)
    }

    /// Deletes a run so that it can be restored.
    pub fn delete_run(&mut self, run: RunId) -> Result<()> {
        let status: Option<String> = self
            .db
            .query_row("SELECT status FROM runs WHERE id = ?1 AND client IS NULL", [run.0], |row| row.get(0))
            .optional()?;
        if status.as_deref() == Some("running") {
            return Err(StoreError::Conflict(format!("run {run} is running: stop it before deleting it")));
        }
        let now = self.now.0;
        self.update_run(run, "deleted = ?2", params![run.0, now])
    }

    /// Brings a deleted run back.
    pub fn restore_run(&mut self, run: RunId) -> Result<()> {
        self.update_run(run, "deleted = NULL", params![run.0])
    }

    /// Appends lines to a run's log.
    pub fn append_log(&mut self, run: RunId, lines: &[LogLine]) -> Result<()> {
        let mut insert = self.db.prepare_cached("INSERT INTO run_log (run, at, text) VALUES (?1, ?2, ?3)")?;
        for line in lines {
            insert.execute(params![run.0, line.at.0, line.text])?;
        }
        self.emit(&Event::LogWritten { run })
    }

    pub(super) fn update_run(&mut self, run: RunId, assignments: &str, values: impl rusqlite::Params) -> Result<()> {
        let sql = format!("UPDATE runs SET {assignments} WHERE id = ?1");
        match self.db.prepare_cached(&sql)?.execute(values)? {
            0 => Err(StoreError::missing("run", run)),
            _ => self.emit(&Event::RunChanged { run }),
        }
    }
}

pub(super) const COLUMNS: &str =
    "runs.id, uid, experiments.name, runs.name, note, status, reason, runs.created, started, ended,
    heartbeat, done, total, dataset, snapshot, parent, runs.deleted, client, user, runs.experiment
    FROM runs JOIN experiments ON experiments.id = runs.experiment";

pub(super) fn run_of(row: &Row<'_>, now: Timestamp) -> rusqlite::Result<Run> {
    let word: String = row.get(5)?;
    let recorded = RunStatus::parse(&word).ok_or_else(|| unknown_word(5, &word))?;
    let heartbeat = row.get::<_, Option<i64>>(10)?.map(Timestamp);
    let status = recorded.seen_after_silence(heartbeat.map_or(0.0, |at| now.seconds_since(at)));
    let time = |column: usize| row.get::<_, Option<i64>>(column).map(|at| at.map(Timestamp));
    Ok(Run {
        id: RunId(row.get(0)?),
        uid: row.get(1)?,
        experiment: row.get(2)?,
        name: row.get(3)?,
        note: row.get(4)?,
        status,
        reason: row.get(6)?,
        created: Timestamp(row.get(7)?),
        started: time(8)?,
        ended: if status == recorded { time(9)? } else { heartbeat },
        progress: Progress { done: row.get::<_, i64>(11)? as u64, total: row.get::<_, i64>(12)? as u64 },
        dataset: row.get::<_, Option<i64>>(13)?.map(DatasetId),
        snapshot: row.get::<_, Option<i64>>(14)?.map(SnapshotId),
        parent: row.get::<_, Option<i64>>(15)?.map(RunId),
        deleted: time(16)?,
        client: row.get(17)?,
        user: row.get(18)?,
        experiment_id: ExperimentId(row.get(19)?),
        params: BTreeMap::new(),
        tags: BTreeMap::new(),
        metrics: BTreeMap::new(),
    })
}

impl Reader<'_> {
    /// One run with its params, tags and metric summaries; a silent one is seen as crashed at `now`.
    pub fn run(&self, run: RunId, now: Timestamp) -> Result<Run> {
        let sql = format!("SELECT {COLUMNS} WHERE runs.id = ?1");
        let found = self.db.prepare_cached(&sql)?.query_row([run.0], |row| run_of(row, now)).optional()?;
        let mut found = [found.ok_or_else(|| StoreError::missing("run", run))?];
        self.complete(&mut found)?;
        let [found] = found;
        Ok(found)
    }

    /// The run of this uid, deleted or not.
    pub fn run_by_uid(&self, uid: &str) -> Result<RunHead> {
        let mut statement = self.db.prepare_cached(
            "SELECT id, experiment, client IS NOT NULL, deleted IS NOT NULL FROM runs WHERE uid = ?1",
        )?;
        let head = |row: &Row<'_>| {
            Ok(RunHead {
                id: RunId(row.get(0)?),
                experiment: ExperimentId(row.get(1)?),
                is_of_client: row.get(2)?,
                is_deleted: row.get(3)?,
            })
        };
        statement.query_row([uid], head).optional()?.ok_or_else(|| StoreError::missing("run", uid))
    }

    /// Resolves a run by number, then name, then uid prefix (six digits or more).
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when several runs match.
    pub fn find_run(&self, text: &str, among: Among) -> Result<RunId> {
        let text = text.strip_prefix('#').unwrap_or(text);
        let number: i64 = text.parse().unwrap_or(-1);
        let deleted = if among == Among::Deleted { "NOT NULL" } else { "NULL" };
        for (found_by, condition) in [
            ("number", "id = ?1 AND ?2 IS NOT NULL"),
            ("name", "name = ?2 AND ?1 IS NOT NULL"),
            ("uid", "?1 IS NOT NULL AND length(?2) >= 6 AND uid >= lower(?2) AND uid < lower(?2) || '~'"),
        ] {
            let sql = format!(
                "SELECT id FROM runs WHERE deleted IS {deleted} AND {condition} ORDER BY id LIMIT {MOST_NAMED}"
            );
            let mut statement = self.db.prepare_cached(&sql)?;
            let found = statement.query_map(params![number, text], |row| Ok(RunId(row.get(0)?)))?;
            match found.collect::<rusqlite::Result<Vec<RunId>>>()?.as_slice() {
                [] => {}
                [run] => return Ok(*run),
                several => {
                    let numbers: Vec<String> = several.iter().map(RunId::to_string).collect();
                    let more = if several.len() == MOST_NAMED { " and more" } else { "" };
                    return Err(StoreError::Conflict(format!(
                        "several runs have the {found_by} {text:?}: say which by its number, {}{more}",
                        numbers.join(", ")
                    )));
                }
            }
        }
        Err(StoreError::missing("run", text))
    }

    /// The names of kept or of deleted runs.
    pub fn run_names(&self, among: Among) -> Result<Vec<String>> {
        let deleted = if among == Among::Deleted { "NOT NULL" } else { "NULL" };
        let mut statement =
            self.db.prepare_cached(&format!("SELECT DISTINCT name FROM runs WHERE deleted IS {deleted}"))?;
        let names = statement.query_map([], |row| row.get(0))?;
        Ok(names.collect::<rusqlite::Result<_>>()?)
    }

    /// All keys of params, metrics and tags.
    pub fn run_keys(&self) -> Result<RunKeys> {
        let keys = |sql: &str| -> Result<Vec<String>> {
            let mut statement = self.db.prepare_cached(sql)?;
            let rows = statement.query_map([], |row| row.get(0))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        };
        Ok(RunKeys {
            params: keys("SELECT DISTINCT key FROM params ORDER BY key")?,
            metrics: keys("SELECT DISTINCT key FROM series ORDER BY key")?,
            // Skip scan by key: clients set the same tags on every run.
            tags: keys(
                "WITH RECURSIVE keys (key) AS (
                     SELECT min(key) FROM tags
                     UNION ALL SELECT (SELECT min(tags.key) FROM tags WHERE tags.key > keys.key) FROM keys
                     WHERE keys.key IS NOT NULL)
                 SELECT key FROM keys WHERE key IS NOT NULL",
            )?,
        })
    }

    /// The config of a run as it was asked for.
    pub fn run_config(&self, run: RunId) -> Result<String> {
        let config =
            self.db.query_row("SELECT config FROM runs WHERE id = ?1", [run.0], |row| row.get(0)).optional()?;
        config.ok_or_else(|| StoreError::missing("run", run))
    }

    /// The record of a run; `None` before it was fixed.
    pub fn record(&self, run: RunId) -> Result<Option<Record>> {
        let found = self.db.query_row("SELECT record FROM runs WHERE id = ?1 AND record IS NOT NULL", [run.0], |row| {
            from_json(row, 0)
        });
        Ok(found.optional()?)
    }

    /// At most `limit` last lines of a run's log, in order.
    pub fn log(&self, run: RunId, limit: usize) -> Result<Vec<LogLine>> {
        let mut statement = self.db.prepare_cached(
            "SELECT at, text FROM (SELECT number, at, text FROM run_log WHERE run = ?1 ORDER BY number DESC LIMIT ?2)
             ORDER BY number",
        )?;
        let rows = statement.query_map(params![run.0, limit as i64], |row| {
            Ok(LogLine { at: Timestamp(row.get(0)?), text: row.get(1)? })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Reads the params, tags and metric summaries of runs.
    pub(super) fn complete(&self, runs: &mut [Run]) -> Result<()> {
        let ids: Vec<RunId> = runs.iter().map(|run| run.id).collect();
        let pair = |row: &Row<'_>| Ok((row.get(1)?, row.get(2)?));
        let mut params = self.by_run("SELECT run, key, value FROM params", "key", &ids, pair)?;
        let mut tags = self.by_run("SELECT run, key, value FROM tags", "key", &ids, pair)?;
        let mut metrics = self.summaries(&ids)?;
        for run in runs {
            run.params = params.remove(&run.id).unwrap_or_default().into_iter().collect();
            run.tags = tags.remove(&run.id).unwrap_or_default().into_iter().collect();
            run.metrics = metrics.remove(&run.id).unwrap_or_default();
        }
        Ok(())
    }

    /// What each of some runs has in a table whose first selected column is the run, each in this order.
    pub(super) fn by_run<T>(
        &self,
        select: &str,
        order: &str,
        runs: &[RunId],
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<HashMap<RunId, Vec<T>>> {
        let sql = format!("{select} WHERE run IN (SELECT value FROM json_each(?1)) ORDER BY {order}");
        let mut statement = self.db.prepare_cached(&sql)?;
        let mut found: HashMap<RunId, Vec<T>> = HashMap::new();
        let mut rows = statement.query([to_json("runs", &runs)?])?;
        while let Some(row) = rows.next()? {
            found.entry(RunId(row.get(0)?)).or_default().push(read(row)?);
        }
        Ok(found)
    }
}
