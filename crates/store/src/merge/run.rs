//! Runs of another workspace: those that are not here come whole, and of those that are, what they gained there since.

use super::gained::Gain;
use super::{CHUNKS, EVALUATIONS, OF_RUN, PREDICTIONS, RUNS, SERIES};
use crate::table::run::ABANDONED;
use crate::{Result, StoreError, WriteTx};
use assay_domain::entity::{Event, Snapshot};
use assay_domain::record::Record;
use assay_domain::{DatasetId, EvaluationId, RunId, SnapshotId};
use rusqlite::{OptionalExtension, params};
use std::collections::HashMap;

/// The runs of another workspace.
#[derive(Default)]
pub struct OtherRuns {
    /// Those that are not here.
    pub new: Vec<RunId>,
    /// How many are here.
    pub known: u64,
    /// Those of them that gained something there: the run there, and the run here.
    pub gained: Vec<(RunId, RunId)>,
    /// The names of those that contradict each other.
    pub parted: Vec<String>,
}

impl WriteTx<'_> {
    /// What there is to do about the other's runs, oldest first.
    pub fn runs_to_merge(&mut self, snapshots: &HashMap<SnapshotId, Snapshot>) -> Result<OtherRuns> {
        let mut runs = self.db.prepare(
            "SELECT theirs.id, ours.id, theirs.name FROM other.runs AS theirs LEFT JOIN main.runs AS ours USING (uid)
             ORDER BY theirs.id",
        )?;
        let mut rows = runs.query([])?;
        let mut found = OtherRuns::default();
        while let Some(row) = rows.next()? {
            let theirs = RunId(row.get(0)?);
            let Some(ours) = row.get::<_, Option<i64>>(1)?.map(RunId) else {
                found.new.push(theirs);
                continue;
            };
            found.known += 1;
            match self.gain(theirs, ours, snapshots)? {
                Gain::Nothing => {}
                Gain::More | Gain::Longer => found.gained.push((theirs, ours)),
                Gain::Parted => found.parted.push(row.get(2)?),
            }
        }
        Ok(found)
    }

    /// The hashes of the files of one of the other's runs.
    pub fn files_of_other_run(&mut self, run: RunId) -> Result<Vec<String>> {
        let mut hashes = self.db.prepare_cached("SELECT DISTINCT hash FROM other.artifacts WHERE run = ?1")?;
        Ok(hashes.query_map([run.0], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
    }

    /// Takes over a run with all that is of it alone. Its files must be here.
    pub fn merge_run(
        &mut self,
        theirs: RunId,
        datasets: &HashMap<DatasetId, DatasetId>,
        snapshots: &HashMap<SnapshotId, Snapshot>,
    ) -> Result<RunId> {
        let (dataset, snapshot, record) = self.data_of_other(theirs, snapshots)?;
        let dataset = dataset.and_then(|id| datasets.get(&id));
        self.db.execute(
            &format!(
                "INSERT INTO main.runs (experiment, dataset, snapshot, record, parent, {RUNS})
                 SELECT (SELECT ours.id FROM main.experiments AS ours JOIN other.experiments AS named USING (name)
                         WHERE named.id = theirs.experiment),
                     ?2, ?3, ?4,
                     (SELECT ours.id FROM main.runs AS ours JOIN other.runs AS parents USING (uid)
                      WHERE parents.id = theirs.parent),
                     {RUNS}
                 FROM other.runs AS theirs WHERE id = ?1"
            ),
            params![theirs.0, dataset.map(|id| id.0), snapshot, record],
        )?;
        let ours = RunId(self.db.last_insert_rowid());
        // Its experiment may be deleted there alone.
        self.db.execute(
            "UPDATE main.runs SET deleted = coalesce(deleted, (
                 SELECT deleted FROM other.experiments WHERE id = (SELECT experiment FROM other.runs WHERE id = ?2)))
             WHERE id = ?1 AND (SELECT deleted FROM main.experiments WHERE id = main.runs.experiment) IS NULL",
            [ours.0, theirs.0],
        )?;
        self.end_abandoned(ours)?;
        self.merge_source(theirs, ours)?;
        for (table, columns, order) in OF_RUN {
            let sql = format!(
                "INSERT INTO main.{table} (run, {columns}) SELECT ?2, {columns} FROM other.{table} WHERE run = ?1 ORDER BY {order}"
            );
            self.db.prepare_cached(&sql)?.execute([theirs.0, ours.0])?;
        }
        self.copy_series(theirs, ours)?;
        self.merge_evaluations(theirs, ours, snapshots)?;
        self.emit(&Event::RunChanged { run: ours })?;
        Ok(ours)
    }

    /// What one of the other's runs learned from: the dataset there, the snapshot here, and its record, which names that one.
    pub(super) fn data_of_other(
        &self,
        theirs: RunId,
        snapshots: &HashMap<SnapshotId, Snapshot>,
    ) -> Result<(Option<DatasetId>, Option<i64>, Option<String>)> {
        let (dataset, snapshot, record): (Option<i64>, Option<i64>, Option<String>) =
            self.db.query_row("SELECT dataset, snapshot, record FROM other.runs WHERE id = ?1", [theirs.0], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?;
        let snapshot = snapshot.and_then(|id| snapshots.get(&SnapshotId(id)));
        let record = record.map(|text| named_anew(&text, snapshot)).transpose()?;
        Ok((dataset.map(DatasetId), snapshot.map(|found| found.id.0), record))
    }

    pub(super) fn copy_series(&mut self, theirs: RunId, ours: RunId) -> Result<()> {
        let mut all = self.db.prepare_cached("SELECT id FROM other.series WHERE run = ?1 ORDER BY id")?;
        for series in all.query_map([theirs.0], |row| row.get(0))?.collect::<rusqlite::Result<Vec<i64>>>()? {
            let sql =
                format!("INSERT INTO main.series (run, {SERIES}) SELECT ?2, {SERIES} FROM other.series WHERE id = ?1");
            self.db.prepare_cached(&sql)?.execute([series, ours.0])?;
            let made = self.db.last_insert_rowid();
            let sql = format!(
                "INSERT INTO main.chunks (series, {CHUNKS}) SELECT ?2, {CHUNKS} FROM other.chunks WHERE series = ?1 ORDER BY number"
            );
            self.db.prepare_cached(&sql)?.execute([series, made])?;
        }
        Ok(())
    }

    /// What is known of the files that a run was read from, so that they are not read again; nobody follows them here.
    fn merge_source(&mut self, theirs: RunId, ours: RunId) -> Result<()> {
        let sql = "SELECT source FROM other.source_runs WHERE run = ?1";
        let Some(source) = self.db.query_row(sql, [theirs.0], |row| row.get::<_, i64>(0)).optional()? else {
            return Ok(());
        };
        let made = self.db.execute(
            "INSERT OR IGNORE INTO main.sources (path, experiment, followed, step, time)
             SELECT path, experiment, 0, step, time FROM other.sources WHERE id = ?1",
            [source],
        )?;
        let here =
            "(SELECT ours.id FROM main.sources AS ours JOIN other.sources AS named USING (path) WHERE named.id = ?1)";
        if made > 0 {
            let sql = format!(
                "INSERT INTO main.source_files (source, path, read, state)
                 SELECT {here}, path, read, state FROM other.source_files
                 WHERE source = ?1"
            );
            self.db.execute(&sql, [source])?;
        }
        let sql = format!(
            "INSERT OR IGNORE INTO main.source_runs (source, key, run, heard, said) SELECT {here}, key, ?3, heard, said
             FROM other.source_runs WHERE source = ?1 AND run = ?2"
        );
        self.db.execute(&sql, [source, theirs.0, ours.0])?;
        Ok(())
    }

    /// The lock of the other workspace is ours: whatever trained there is gone.
    pub(super) fn end_abandoned(&mut self, ours: RunId) -> Result<()> {
        let sql = "UPDATE main.runs SET status = 'crashed', reason = ?2, ended = coalesce(ended, heartbeat, created)
                   WHERE id = ?1 AND client IS NULL AND status IN ('running', 'queued')";
        self.db.execute(sql, params![ours.0, ABANDONED])?;
        Ok(())
    }

    /// The evaluations of one of the other's runs that a run here lacks, each with its snapshot here. Those whose snapshot
    /// could not be taken over are left out.
    pub(super) fn evaluations_to_merge(
        &self,
        theirs: RunId,
        ours: RunId,
        snapshots: &HashMap<SnapshotId, Snapshot>,
    ) -> Result<Vec<(i64, SnapshotId)>> {
        let mut new = self.db.prepare_cached(
            "SELECT id, snapshot FROM other.evaluations AS theirs WHERE run = ?1 AND NOT EXISTS (
                 SELECT 1 FROM main.evaluations AS ours WHERE ours.run = ?2 AND ours.checkpoint = theirs.checkpoint
                 AND ours.split = theirs.split AND ours.created = theirs.created)
             ORDER BY id",
        )?;
        let new = new.query_map([theirs.0, ours.0], |row| Ok((row.get(0)?, SnapshotId(row.get(1)?))))?;
        let new = new.collect::<rusqlite::Result<Vec<(i64, SnapshotId)>>>()?;
        Ok(new.into_iter().filter_map(|(id, seen)| Some((id, snapshots.get(&seen)?.id))).collect())
    }

    pub(super) fn merge_evaluations(
        &mut self,
        theirs: RunId,
        ours: RunId,
        snapshots: &HashMap<SnapshotId, Snapshot>,
    ) -> Result<()> {
        for (evaluation, seen) in self.evaluations_to_merge(theirs, ours, snapshots)? {
            let sql = format!(
                "INSERT INTO main.evaluations (run, snapshot, {EVALUATIONS})
                 SELECT ?2, ?3, {EVALUATIONS} FROM other.evaluations WHERE id = ?1"
            );
            self.db.prepare_cached(&sql)?.execute([evaluation, ours.0, seen.0])?;
            let made = self.db.last_insert_rowid();
            for (table, columns) in [("predictions", PREDICTIONS), ("embeddings", "embedding")] {
                let sql = format!(
                    "INSERT INTO main.{table} (evaluation, sample, {columns}) SELECT ?2, ours, {columns}
                     FROM other.{table} JOIN merged_samples ON theirs = sample WHERE evaluation = ?1 ORDER BY ours"
                );
                self.db.prepare_cached(&sql)?.execute([evaluation, made])?;
            }
            self.emit(&Event::EvaluationMade { run: ours, evaluation: EvaluationId(made) })?;
        }
        Ok(())
    }
}

/// A record whose snapshot has the name that it has here: in a snapshot samples go by their numbers.
fn named_anew(record: &str, snapshot: Option<&Snapshot>) -> Result<String> {
    let mut record: Record = serde_json::from_str(record).map_err(|why| StoreError::unreadable("record", why))?;
    if let (Some(data), Some(snapshot)) = (&mut record.data, snapshot) {
        data.snapshot = snapshot.hash.clone();
    }
    crate::table::to_json("record", &record)
}
