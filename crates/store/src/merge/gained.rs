//! What a run that both workspaces have gained in the other one: it is taken where that contradicts nothing that is here.

use super::OF_RUN;
use crate::{Result, WriteTx, points};
use assay_domain::entity::{Event, Snapshot};
use assay_domain::{Point, RunId, SnapshotId};
use rusqlite::params;
use std::collections::HashMap;

/// What a run gained in the other workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gain {
    /// Nothing that is not here.
    Nothing,
    /// Evaluations, files, params or inputs, beside those that are here.
    More,
    /// It was logged on there, and all that was logged here is how it began there.
    Longer,
    /// What was logged on both sides contradicts each other.
    Parted,
}

/// The run ?1 of the database {there} went on after what the run ?2 of the database {here} has.
const WENT_ON: [&str; 4] = [
    "SELECT 1 FROM {there}.segments AS there LEFT JOIN {here}.segments AS here ON here.run = ?2 AND here.segment = there.segment
     WHERE there.run = ?1 AND here.segment IS NULL",
    "SELECT 1 FROM {there}.checkpoints AS there LEFT JOIN {here}.checkpoints AS here ON here.run = ?2 AND here.kind = there.kind
     WHERE there.run = ?1 AND coalesce(there.step > here.step, TRUE)",
    "SELECT 1 WHERE (SELECT count(*) FROM {there}.run_log WHERE run = ?1) > (SELECT count(*) FROM {here}.run_log WHERE run = ?2)",
    // A workspace ends what it finds of its own.
    "SELECT 1 FROM {there}.runs AS there, {here}.runs AS here WHERE there.id = ?1 AND here.id = ?2
     AND there.client IS NOT NULL AND there.ended IS NOT NULL AND here.ended IS NULL",
];

/// The run ?1 of the other database has something beside what the run ?2 here has.
const HAS_MORE: [&str; 4] = [
    "SELECT 1 FROM other.artifacts WHERE run = ?1 AND path NOT IN (SELECT path FROM main.artifacts WHERE run = ?2)",
    "SELECT 1 FROM other.params WHERE run = ?1 AND key NOT IN (SELECT key FROM main.params WHERE run = ?2)",
    "SELECT 1 FROM other.run_inputs WHERE run = ?1
     AND (name, digest) NOT IN (SELECT name, digest FROM main.run_inputs WHERE run = ?2)",
    "SELECT 1 FROM other.run_models WHERE run = ?1
     AND (role, model) NOT IN (SELECT role, model FROM main.run_models WHERE run = ?2)",
];

/// What both runs have differs, though it never changes.
const DIFFERS: [&str; 2] = [
    "SELECT 1 FROM main.segments AS here JOIN other.segments AS there ON there.run = ?1 AND there.segment = here.segment
     WHERE here.run = ?2 AND there.first_step <> here.first_step",
    "SELECT 1 FROM main.params AS here JOIN other.params AS there ON there.run = ?1 AND there.key = here.key
     WHERE here.run = ?2 AND there.value <> here.value AND (SELECT client FROM main.runs WHERE id = ?2) IS NOT NULL",
];

/// A file of a client's run is another one.
const FILES_DIFFER: &str = "
SELECT 1 FROM main.artifacts AS here JOIN other.artifacts AS there ON there.run = ?1 AND there.path = here.path
WHERE here.run = ?2 AND there.hash <> here.hash AND (SELECT client FROM main.runs WHERE id = ?2) IS NOT NULL";

/// The run is written by who reads files, ?2 here or ?1 there, or by a process of this workspace.
const WRITTEN_BY_OTHERS: &str = "
SELECT 1 FROM main.source_runs WHERE run = ?2 UNION ALL SELECT 1 FROM other.source_runs WHERE run = ?1
UNION ALL SELECT 1 FROM main.runs WHERE id = ?2 AND client IS NULL AND status IN ('running', 'queued')";

/// The lines of both logs, as far as both have them, differ.
const LOGS_DIFFER: &str = "
WITH here AS (SELECT at, text, row_number() OVER (ORDER BY number) AS line FROM main.run_log WHERE run = ?2),
there AS (SELECT at, text, row_number() OVER (ORDER BY number) AS line FROM other.run_log WHERE run = ?1)
SELECT 1 FROM here JOIN there USING (line) WHERE there.text <> here.text OR there.at <> here.at";

/// A series that both sides have, or one of them.
struct Pair {
    theirs: Option<i64>,
    ours: Option<i64>,
    is_longer_there: bool,
    is_longer_here: bool,
    /// Whether the ends and the extremes are the same.
    is_alike: bool,
}

impl WriteTx<'_> {
    /// What the run `ours` gained in the other workspace, where it is `theirs`.
    pub(super) fn gain(&self, theirs: RunId, ours: RunId, snapshots: &HashMap<SnapshotId, Snapshot>) -> Result<Gain> {
        let (there, here) = ("other", "main");
        let of = |there: &str, here: &str| WENT_ON.map(|sql| sql.replace("{there}", there).replace("{here}", here));
        let pairs = self.pairs_of_series(theirs, ours)?;
        let went_on = pairs.iter().any(|pair| pair.is_longer_there) || self.holds(&of(there, here), theirs, ours)?;
        let is_ahead = pairs.iter().any(|pair| pair.is_longer_here) || self.holds(&of(here, there), ours, theirs)?;
        // Points are read last: all else is told by an index.
        let is_parted = self.holds(&DIFFERS, theirs, ours)?
            || went_on && (is_ahead || self.holds(&[WRITTEN_BY_OTHERS, LOGS_DIFFER], theirs, ours)?)
            // Where the run went on, so did its files.
            || !went_on && !is_ahead && self.holds(&[FILES_DIFFER], theirs, ours)?
            || !self.are_begun(&pairs)?;
        if is_parted {
            return Ok(Gain::Parted);
        }
        if went_on {
            return Ok(Gain::Longer);
        }
        let has_more =
            self.holds(&HAS_MORE, theirs, ours)? || !self.evaluations_to_merge(theirs, ours, snapshots)?.is_empty();
        Ok(if has_more { Gain::More } else { Gain::Nothing })
    }

    /// Gives the run `ours` what it gained in the other workspace, and says what that was. Its files must be here.
    pub fn extend_run(
        &mut self,
        theirs: RunId,
        ours: RunId,
        snapshots: &HashMap<SnapshotId, Snapshot>,
    ) -> Result<Gain> {
        let gain = self.gain(theirs, ours, snapshots)?;
        if !matches!(gain, Gain::More | Gain::Longer) {
            return Ok(gain);
        }
        for (table, columns, order) in OF_RUN {
            let (takes, after) = match (table, gain) {
                // People write tags: those here stay.
                ("artifacts" | "params" | "run_inputs" | "run_models", Gain::More) | ("tags", Gain::Longer) => {
                    ("INSERT OR IGNORE", "")
                }
                (_, Gain::More) => continue,
                ("run_log", _) => ("INSERT", "LIMIT -1 OFFSET (SELECT count(*) FROM main.run_log WHERE run = ?2)"),
                _ => ("INSERT OR REPLACE", ""),
            };
            let sql = format!(
                "{takes} INTO main.{table} (run, {columns})
                 SELECT ?2, {columns} FROM other.{table} WHERE run = ?1 ORDER BY {order} {after}"
            );
            self.db.prepare_cached(&sql)?.execute([theirs.0, ours.0])?;
        }
        if gain == Gain::Longer {
            self.take_course(theirs, ours, snapshots)?;
        }
        self.merge_evaluations(theirs, ours, snapshots)?;
        self.emit(&Event::RunChanged { run: ours })?;
        Ok(gain)
    }

    /// Its points, how it ended, and what it learned from.
    fn take_course(&mut self, theirs: RunId, ours: RunId, snapshots: &HashMap<SnapshotId, Snapshot>) -> Result<()> {
        let sql = "DELETE FROM main.chunks WHERE series IN (SELECT id FROM main.series WHERE run = ?1)";
        self.db.execute(sql, [ours.0])?;
        self.db.execute("DELETE FROM main.series WHERE run = ?1", [ours.0])?;
        self.copy_series(theirs, ours)?;
        self.db.execute(
            "UPDATE main.runs SET (status, reason, started, ended, heartbeat, done, total) = (
                 SELECT status, reason, started, ended, heartbeat, done, total FROM other.runs WHERE id = ?1)
             WHERE id = ?2",
            [theirs.0, ours.0],
        )?;
        self.end_abandoned(ours)?;
        if let (_, snapshot @ Some(_), record) = self.data_of_other(theirs, snapshots)? {
            self.db.execute(
                "UPDATE main.runs SET snapshot = ?3, record = ?4, config = (SELECT config FROM other.runs WHERE id = ?1)
                 WHERE id = ?2",
                params![theirs.0, ours.0, snapshot, record],
            )?;
        }
        self.emit(&Event::MetricsLogged { run: ours })?;
        self.emit(&Event::LogWritten { run: ours })
    }

    /// Whether one of these queries about the two runs finds something.
    fn holds(&self, queries: &[impl AsRef<str>], first: RunId, second: RunId) -> Result<bool> {
        for sql in queries {
            if self.db.prepare_cached(sql.as_ref())?.exists([first.0, second.0])? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn pairs_of_series(&self, theirs: RunId, ours: RunId) -> Result<Vec<Pair>> {
        let mut pairs = self.db.prepare_cached(
            "SELECT there.id, here.id, coalesce(there.count > here.count, here.id IS NULL),
                 coalesce(here.count > there.count, there.id IS NULL),
                 (there.last, there.last_step, there.last_wall, there.min, there.max)
                     IS (here.last, here.last_step, here.last_wall, here.min, here.max)
             FROM (SELECT * FROM other.series WHERE run = ?1) AS there
             FULL JOIN (SELECT * FROM main.series WHERE run = ?2) AS here USING (key, segment)",
        )?;
        let pairs = pairs.query_map([theirs.0, ours.0], |row| {
            Ok(Pair {
                theirs: row.get(0)?,
                ours: row.get(1)?,
                is_longer_there: row.get(2)?,
                is_longer_here: row.get(3)?,
                is_alike: row.get(4)?,
            })
        })?;
        Ok(pairs.collect::<rusqlite::Result<_>>()?)
    }

    /// Whether the shorter series of each pair is how the longer one began.
    fn are_begun(&self, pairs: &[Pair]) -> Result<bool> {
        for pair in pairs {
            let is_begun = match (pair.theirs, pair.ours) {
                (Some(theirs), Some(ours)) if pair.is_longer_there => self.begins(("main", ours), ("other", theirs))?,
                (Some(theirs), Some(ours)) if pair.is_longer_here => self.begins(("other", theirs), ("main", ours))?,
                (Some(_), Some(_)) => pair.is_alike,
                _ => true,
            };
            if !is_begun {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether a series of a database is how a longer one of the other began.
    fn begins(&self, short: (&str, i64), long: (&str, i64)) -> Result<bool> {
        let mut long = self.points_of(long)?;
        for point in self.points_of(short)? {
            let Some(other) = long.next().transpose()? else { return Ok(false) };
            let of = |point: Point| (point.step, point.wall_ms, point.value.to_bits());
            if of(point?) != of(other) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The points of a series of a database, in the order of their arrival.
    fn points_of<'a>(&'a self, (of, series): (&str, i64)) -> Result<impl Iterator<Item = Result<Point>> + use<'a>> {
        let mut chunks =
            self.db.prepare_cached(&format!("SELECT rowid FROM {of}.chunks WHERE series = ?1 ORDER BY number"))?;
        let chunks = chunks.query_map([series], |row| row.get(0))?.collect::<rusqlite::Result<Vec<i64>>>()?;
        let sql = format!("SELECT points FROM {of}.chunks WHERE rowid = ?1");
        let read = move |chunk: i64| {
            let bytes: Vec<u8> = self.db.prepare_cached(&sql)?.query_row([chunk], |row| row.get(0))?;
            points::decode(&bytes)
        };
        Ok(chunks.into_iter().flat_map(move |chunk| match read(chunk) {
            Ok(points) => points.iter().map(Ok).collect(),
            Err(why) => vec![Err(why)],
        }))
    }
}
