//! Sources of runs: the folders and files in which other programs log, and how far each of their files was read.
//!
//! What was read and how far is committed together, so that each thing is taken once.

use crate::{Hash, NewBlob, Reader, Result, WriteTx};
use assay_domain::entity::LogLine;
use assay_domain::foreign::Logged;
use assay_domain::{RunId, RunStatus, SourceId, Timestamp};
use rusqlite::{OptionalExtension, params};
use std::collections::{BTreeMap, HashMap};

pub(crate) const TABLES: &str = "
CREATE TABLE sources (id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, experiment TEXT NOT NULL,
    followed INTEGER NOT NULL) STRICT;
CREATE TABLE source_runs (
    source INTEGER NOT NULL, key TEXT NOT NULL, run INTEGER NOT NULL, heard INTEGER NOT NULL DEFAULT 0,
    said INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (source, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX source_runs_by_run ON source_runs (run);
CREATE TABLE source_files (
    source INTEGER NOT NULL, path TEXT NOT NULL, read INTEGER NOT NULL, PRIMARY KEY (source, path)
) STRICT, WITHOUT ROWID;
";

/// Reader states of files, and chosen columns.
pub(crate) const MARKS: &str = "
ALTER TABLE source_files ADD COLUMN state TEXT;
ALTER TABLE sources ADD COLUMN step TEXT;
ALTER TABLE sources ADD COLUMN time TEXT;
";

/// A run that has logged nothing for so long has ended, where its program says nothing else.
const SILENCE_MS: i64 = 10 * 60 * 1000;

/// A folder or file in which another program logs.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Its number.
    pub id: SourceId,
    /// Where it is.
    pub path: String,
    /// The experiment of runs that name none.
    pub experiment: String,
    /// The step column of tables, if chosen.
    pub step: Option<String>,
    /// The time column of tables, if chosen.
    pub time: Option<String>,
}

/// A file's read position.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FileMark {
    /// The file, or a separately read part.
    pub path: String,
    /// A byte offset, or a fingerprint.
    pub read: u64,
    /// The reader's opaque state.
    pub state: Option<String>,
}

/// What was read of one run.
pub struct Taken {
    /// The program that logged it.
    pub program: &'static str,
    /// Its name where it says none.
    pub name: String,
    /// Its identity where it says none, and its place was used before.
    pub uid: String,
    /// What it logged, but for files.
    pub logged: Vec<Logged>,
    /// The files that it logged.
    pub files: Vec<(String, NewBlob)>,
    /// How far its files were read.
    pub read: Vec<FileMark>,
}

impl WriteTx<'_> {
    /// Follows the source at this path, created if missing. Columns that are not named keep their choice; an empty name
    /// resets it.
    pub fn follow_source(
        &mut self,
        path: &str,
        experiment: &str,
        step: Option<&str>,
        time: Option<&str>,
    ) -> Result<Source> {
        let sql = "INSERT INTO sources (path, experiment, followed, step, time)
                   VALUES (?1, ?2, 1, nullif(?3, ''), nullif(?4, ''))
                   ON CONFLICT (path) DO UPDATE SET followed = 1, step = iif(?3 IS NULL, step, nullif(?3, '')),
                       time = iif(?4 IS NULL, time, nullif(?4, ''))
                   RETURNING id, path, experiment, step, time";
        Ok(self.db.query_row(sql, params![path, experiment, step, time], source_of)?)
    }

    /// Deletes a source without runs, as if never added. Returns whether it had none.
    pub fn drop_empty_source(&mut self, source: SourceId) -> Result<bool> {
        let dropped = self.db.execute(
            "DELETE FROM sources WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM source_runs WHERE source = ?1)",
            [source.0],
        )?;
        if dropped > 0 {
            self.db.execute("DELETE FROM source_files WHERE source = ?1", [source.0])?;
        }
        Ok(dropped > 0)
    }

    /// Follows a source no longer. What was read of it is known still, should it be followed again. Returns whether it was
    /// followed.
    pub fn leave_source(&mut self, source: SourceId) -> Result<bool> {
        Ok(self.db.execute("UPDATE sources SET followed = 0 WHERE id = ?1 AND followed", [source.0])? > 0)
    }

    /// Takes what was read of a run of a source, which is made if it is new. Returns whether it was, and the hashes of the
    /// files that were replaced.
    pub fn take(&mut self, source: &Source, key: &str, taken: Taken) -> Result<(bool, Vec<Hash>)> {
        for FileMark { path, read, state } in &taken.read {
            let sql = "INSERT OR REPLACE INTO source_files (source, path, read, state) VALUES (?1, ?2, ?3, ?4)";
            self.db.prepare_cached(sql)?.execute(params![source.id.0, path, *read as i64, state])?;
        }
        if taken.logged.is_empty() && taken.files.is_empty() {
            return Ok((false, Vec::new()));
        }
        let sql = "SELECT run FROM source_runs WHERE source = ?1 AND key = ?2";
        let known = self.db.prepare_cached(sql)?.query_row(params![source.id.0, key], |row| row.get(0)).optional()?;
        let run = match known {
            Some(run) => RunId(run),
            None => self.make_run(source, key, &taken)?,
        };
        let mut replaced = Vec::new();
        for (path, blob) in taken.files {
            let path = self.free_name_of_artifact(run, path)?;
            let (hash, bytes) = blob.finish()?;
            replaced.extend(self.put_artifact(run, &path, &hash, bytes)?.filter(|before| *before != hash));
        }
        self.take_logged(run, taken.logged)?;
        self.settle(run)?;
        Ok((known.is_none(), replaced))
    }

    fn make_run(&mut self, source: &Source, key: &str, taken: &Taken) -> Result<RunId> {
        let said = |of: fn(&Logged) -> Option<&String>| taken.logged.iter().rev().find_map(of);
        let experiment = said(|logged| if let Logged::Experiment(name) = logged { Some(name) } else { None });
        let experiment = self.experiment(experiment.unwrap_or(&source.experiment))?;
        let uid = said(|logged| if let Logged::Uid(uid) = logged { Some(uid) } else { None });
        let uid = uid.filter(|uid| uid.len() == 32 && uid.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let is_free = |uid: &String| self.reader().run_by_uid(uid).is_err();
        // So that a merge knows what two workspaces read from the same place.
        let of_place =
            Hash::of(format!("{}\n{}\n{key}", taken.program, source.path).as_bytes()).as_str()[..32].to_owned();
        let uid = uid.filter(|uid| is_free(uid)).cloned().or_else(|| Some(of_place).filter(is_free));
        let uid = uid.unwrap_or_else(|| taken.uid.clone());
        self.db.execute(
            "INSERT INTO runs (uid, experiment, name, status, created, config, client)
             VALUES (?1, ?2, ?3, 'running', ?4, '', ?5)",
            params![uid, experiment.0, taken.name, self.now.0, taken.program],
        )?;
        let run = RunId(self.db.last_insert_rowid());
        let is_silent = !taken.logged.iter().any(|logged| matches!(logged, Logged::Heard(_)));
        let sql = "INSERT INTO source_runs (source, key, run, heard) VALUES (?1, ?2, ?3, ?4)";
        self.db.execute(sql, params![source.id.0, key, run.0, self.now.0 * i64::from(is_silent)])?;
        Ok(run)
    }

    fn take_logged(&mut self, run: RunId, logged: Vec<Logged>) -> Result<()> {
        let (mut points, mut tags, mut lines) = (Vec::new(), BTreeMap::new(), Vec::new());
        let mut superseded_from: Option<i64> = None;
        let heard = |logged: &Logged| if let Logged::Heard(at) = logged { Some(*at) } else { None };
        let last_heard = logged.iter().filter_map(heard).max();
        for one in logged {
            match one {
                Logged::Point(key, point) => points.push((key, point)),
                Logged::Restarted { step, keys } => {
                    if !points.is_empty() {
                        self.append_points(run, &std::mem::take(&mut points))?;
                    }
                    if self.supersede(run, step, &keys)? {
                        superseded_from = Some(superseded_from.map_or(step, |from| from.min(step)));
                    }
                }
                Logged::Line(text) => lines.push(text),
                Logged::Tag(key, value) => drop(tags.insert(key, value)),
                Logged::Param(key, value) => {
                    let sql = "INSERT INTO params (run, key, value) VALUES (?1, ?2, ?3)
                               ON CONFLICT (run, key) DO UPDATE SET value = excluded.value";
                    self.db.prepare_cached(sql)?.execute(params![run.0, key, value])?;
                }
                Logged::Name(name) => self.rename_run(run, &name)?,
                Logged::Note(note) => self.set_note(run, &note)?,
                Logged::User(user) => self.update_run(run, "user = ?2", params![run.0, user])?,
                Logged::Began(at) => {
                    self.update_run(run, "started = min(coalesce(started, ?2), ?2)", params![run.0, at.0])?;
                }
                Logged::Status(status, at) => {
                    // A program that says how it ended may not say when.
                    let ended = at.or(last_heard).filter(|_| status.has_ended()).map(|at| at.0);
                    self.update_run(run, "status = ?2, ended = ?3", params![run.0, status.as_str(), ended])?;
                    self.db.execute("UPDATE source_runs SET said = 1 WHERE run = ?1", [run.0])?;
                    self.watch_end(run, status, None, ended.map_or(self.now, Timestamp))?;
                }
                // A run may be there before its program says where it belongs.
                Logged::Experiment(name) => {
                    let experiment = self.experiment(&name)?;
                    self.update_run(run, "experiment = ?2", params![run.0, experiment.0])?;
                }
                Logged::Heard(_) | Logged::Uid(_) | Logged::File(..) => {}
            }
        }
        if let Some(at) = last_heard {
            let sql = "UPDATE source_runs SET heard = max(heard, ?2) WHERE run = ?1";
            self.db.prepare_cached(sql)?.execute(params![run.0, at.0])?;
        }
        if !points.is_empty() {
            self.append_points(run, &points)?;
        }
        lines.extend(superseded_from.map(|step| {
            format!(
                "it began again: what was logged before from step {step} on is kept, and superseded by what came then"
            )
        }));
        if !lines.is_empty() {
            let at = self.now;
            let lines: Vec<LogLine> = lines.into_iter().map(|text| LogLine { at, text }).collect();
            self.append_log(run, &lines)?;
        }
        if tags.is_empty() { Ok(()) } else { self.put_tags(run, &tags) }
    }

    /// Whether a run whose program says nothing of its end is at work is told by when it was last heard of. Programs that do say
    /// it did not come to their end without a word.
    fn settle(&mut self, run: RunId) -> Result<()> {
        let sql =
            "SELECT heard, status, client FROM source_runs JOIN runs ON runs.id = run WHERE run = ?1 AND NOT said";
        let found = self
            .db
            .prepare_cached(sql)?
            .query_row([run.0], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?)));
        let Some((heard, status, client)) = found.optional()? else { return Ok(()) };
        let is_silent = heard < self.now.0.saturating_sub(SILENCE_MS);
        match client.as_str() {
            _ if !is_silent && status == "running" => Ok(()),
            _ if !is_silent => self.update_run(run, "status = 'running', ended = NULL, reason = NULL", [run.0]),
            "wandb" => {
                let reason = "its file ends without a word of its end";
                self.update_run(run, "status = 'crashed', ended = ?2, reason = ?3", params![run.0, heard, reason])?;
                self.watch_end(run, RunStatus::Crashed, Some(reason), Timestamp(heard))
            }
            _ => {
                self.update_run(run, "status = 'finished', ended = ?2", params![run.0, heard])?;
                self.watch_end(run, RunStatus::Finished, None, Timestamp(heard))
            }
        }
    }

    /// Ends the runs of sources that have not been heard of for long.
    pub fn settle_sources(&mut self) -> Result<()> {
        // Timestamps in the future come from a wrong clock.
        self.db.prepare_cached("UPDATE source_runs SET heard = ?1 WHERE heard > ?1")?.execute([self.now.0])?;
        let mut silent = self.db.prepare_cached(
            "SELECT run FROM source_runs JOIN runs ON runs.id = run WHERE status = 'running' AND NOT said AND heard < ?1",
        )?;
        let before = self.now.0.saturating_sub(SILENCE_MS);
        let silent = silent.query_map([before], |row| row.get(0).map(RunId))?.collect::<rusqlite::Result<Vec<_>>>()?;
        silent.into_iter().try_for_each(|run| self.settle(run))
    }
}

fn source_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Source> {
    Ok(Source {
        id: SourceId(row.get(0)?),
        path: row.get(1)?,
        experiment: row.get(2)?,
        step: row.get(3)?,
        time: row.get(4)?,
    })
}

impl Reader<'_> {
    /// The sources of runs that are followed.
    pub fn sources(&self) -> Result<Vec<Source>> {
        let mut statement = self
            .db
            .prepare_cached("SELECT id, path, experiment, step, time FROM sources WHERE followed ORDER BY path")?;
        Ok(statement.query_map([], source_of)?.collect::<rusqlite::Result<_>>()?)
    }

    /// How far each file of each source was read.
    pub fn source_files(&self) -> Result<Vec<(SourceId, FileMark)>> {
        let mut statement = self.db.prepare("SELECT source, path, read, state FROM source_files")?;
        let file = |row: &rusqlite::Row<'_>| {
            let mark = FileMark { path: row.get(1)?, read: row.get::<_, i64>(2)? as u64, state: row.get(3)? };
            Ok((SourceId(row.get(0)?), mark))
        };
        Ok(statement.query_map([], file)?.collect::<rusqlite::Result<_>>()?)
    }

    /// The run that a source's run of this key is.
    pub fn run_of_source(&self, source: SourceId, key: &str) -> Result<Option<RunId>> {
        let sql = "SELECT run FROM source_runs WHERE source = ?1 AND key = ?2";
        Ok(self.db.prepare_cached(sql)?.query_row(params![source.0, key], |row| row.get(0).map(RunId)).optional()?)
    }

    /// The runs of a source that are deleted, or whose experiment is, and whether they are gone for good.
    pub fn deleted_of_source(&self, source: SourceId) -> Result<HashMap<String, bool>> {
        let mut statement = self.db.prepare_cached(
            "SELECT key, runs.id IS NULL FROM source_runs LEFT JOIN runs ON runs.id = run
             LEFT JOIN experiments ON experiments.id = runs.experiment
             WHERE source = ?1 AND (runs.id IS NULL OR runs.deleted IS NOT NULL OR experiments.deleted IS NOT NULL)",
        )?;
        let run = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        Ok(statement.query_map([source.0], run)?.collect::<rusqlite::Result<_>>()?)
    }
}
