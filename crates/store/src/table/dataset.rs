//! Datasets, their classes and problems.

use super::unknown_word;
use crate::table::label::labelling_of;
use crate::table::sample::split_of;
use crate::{Reader, Result, StoreError, WriteTx};
use assay_domain::entity::{ClassCount, Dataset, Event, Problem, ProblemKind, SampleState, SplitCount};
use assay_domain::split::{Counts, Fractions, Stratum};
use assay_domain::{ClassId, DatasetId, Split, Timestamp};
use rusqlite::{OptionalExtension, params};
use std::collections::BTreeMap;

pub(crate) const TABLES: &str = "
CREATE TABLE datasets (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, source TEXT NOT NULL, created INTEGER NOT NULL,
    seed INTEGER NOT NULL, val REAL NOT NULL, test REAL NOT NULL
) STRICT;
CREATE TABLE classes (dataset INTEGER NOT NULL, position INTEGER NOT NULL, name TEXT NOT NULL,
    PRIMARY KEY (dataset, position), UNIQUE (dataset, name)) STRICT, WITHOUT ROWID;
CREATE TABLE samples (
    id INTEGER PRIMARY KEY AUTOINCREMENT, dataset INTEGER NOT NULL REFERENCES datasets (id), path TEXT NOT NULL,
    hash TEXT NOT NULL, bytes INTEGER NOT NULL, modified INTEGER NOT NULL, width INTEGER NOT NULL,
    height INTEGER NOT NULL, split TEXT NOT NULL, class INTEGER, UNIQUE (dataset, path)
) STRICT;
CREATE INDEX samples_by_class ON samples (dataset, class, split, id);
CREATE INDEX samples_by_split ON samples (dataset, split, id);
CREATE INDEX samples_by_hash ON samples (dataset, hash);
CREATE TABLE problems (dataset INTEGER NOT NULL, path TEXT NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (dataset, path))
    STRICT, WITHOUT ROWID;
";

/// Samples may have any number of classes, which lie in a table of their own too, so that each is found by an index.
pub(crate) const SETS: &str = "
ALTER TABLE datasets ADD COLUMN multi_label INTEGER NOT NULL DEFAULT 0;
CREATE TABLE sample_classes (dataset INTEGER NOT NULL, class INTEGER NOT NULL, split TEXT NOT NULL,
    sample INTEGER NOT NULL, PRIMARY KEY (dataset, class, split, sample)) STRICT, WITHOUT ROWID;
INSERT INTO sample_classes SELECT dataset, class, split, id FROM samples WHERE class IS NOT NULL;
ALTER TABLE samples ADD COLUMN label TEXT;
UPDATE samples SET label = ',' || class || ',';
DROP INDEX samples_by_class;
ALTER TABLE samples DROP COLUMN class;
CREATE INDEX samples_without_class ON samples (dataset, label, split, id) WHERE label IS NULL OR label = ',';
";

impl WriteTx<'_> {
    /// Creates a dataset with files below `source`, unpacked from `archive` if given.
    pub fn create_dataset(
        &mut self,
        name: &str,
        (source, archive): (&str, Option<&str>),
        seed: u64,
        fractions: Fractions,
    ) -> Result<DatasetId> {
        let inserted = self.db.execute(
            "INSERT INTO datasets (name, source, archive, created, seed, val, test) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (name) WHERE removed IS NULL DO NOTHING",
            params![name, source, archive, self.now.0, seed as i64, fractions.val, fractions.test],
        )?;
        if inserted == 0 {
            return Err(StoreError::Conflict(format!(
                "there is a dataset named {name:?} already: choose another name"
            )));
        }
        let dataset = DatasetId(self.db.last_insert_rowid());
        self.emit(&Event::DatasetChanged { dataset })?;
        Ok(dataset)
    }

    /// The classes of these names, in their order; those that are missing are appended to the schema.
    pub fn ensure_classes(&mut self, dataset: DatasetId, names: &[String]) -> Result<Vec<ClassId>> {
        let mut added = false;
        let mut ids = Vec::with_capacity(names.len());
        for name in names {
            let found = self
                .db
                .prepare_cached("SELECT position FROM classes WHERE dataset = ?1 AND name = ?2")?
                .query_row(params![dataset.0, name], |row| row.get(0))
                .optional()?;
            let position = match found {
                Some(position) => position,
                None => {
                    added = true;
                    self.db.query_row(
                        "INSERT INTO classes (dataset, position, name)
                         SELECT ?1, (SELECT count(*) FROM classes WHERE dataset = ?1), ?2 RETURNING position",
                        params![dataset.0, name],
                        |row| row.get(0),
                    )?
                }
            };
            ids.push(ClassId(position));
        }
        if added {
            self.emit(&Event::DatasetChanged { dataset })?;
        }
        Ok(ids)
    }

    /// Changes a dataset's folder and archive.
    pub fn relocate_dataset(&mut self, dataset: DatasetId, source: &str, archive: Option<&str>) -> Result<()> {
        let sql = "UPDATE datasets SET source = ?2, archive = ?3 WHERE id = ?1";
        self.change_dataset(dataset, self.db.execute(sql, params![dataset.0, source, archive])?)
    }

    /// Gives a dataset another name.
    pub fn rename_dataset(&mut self, dataset: DatasetId, name: &str) -> Result<()> {
        self.refuse_taken_name(dataset, name)?;
        let changed = self.db.execute("UPDATE datasets SET name = ?2 WHERE id = ?1", params![dataset.0, name])?;
        self.change_dataset(dataset, changed)
    }

    /// Removes a dataset; its name is free, and it can be restored.
    pub fn remove_dataset(&mut self, dataset: DatasetId) -> Result<()> {
        let sql = "UPDATE datasets SET removed = coalesce(removed, ?2) WHERE id = ?1";
        self.change_dataset(dataset, self.db.execute(sql, params![dataset.0, self.now.0])?)
    }

    /// Brings a removed dataset back.
    pub fn restore_dataset(&mut self, dataset: DatasetId) -> Result<()> {
        let sql = "SELECT name FROM datasets WHERE id = ?1";
        let name: Option<String> = self.db.query_row(sql, [dataset.0], |row| row.get(0)).optional()?;
        self.refuse_taken_name(dataset, &name.ok_or_else(|| StoreError::missing("dataset", dataset))?)?;
        let changed = self.db.execute("UPDATE datasets SET removed = NULL WHERE id = ?1", [dataset.0])?;
        self.change_dataset(dataset, changed)
    }

    fn refuse_taken_name(&self, dataset: DatasetId, name: &str) -> Result<()> {
        let sql = "SELECT 1 FROM datasets WHERE name = ?2 AND removed IS NULL AND id <> ?1";
        match self.db.prepare_cached(sql)?.exists(params![dataset.0, name])? {
            true => Err(StoreError::Conflict(format!(
                "there is another dataset named {name:?}: rename that one first, or choose another name"
            ))),
            false => Ok(()),
        }
    }

    fn change_dataset(&mut self, dataset: DatasetId, changed: usize) -> Result<()> {
        match changed {
            0 => Err(StoreError::missing("dataset", dataset)),
            _ => self.emit(&Event::DatasetChanged { dataset }),
        }
    }

    /// Files below a dataset's source changed on disk.
    pub fn source_changed(&mut self, dataset: DatasetId) -> Result<()> {
        self.emit(&Event::SourceChanged { dataset })
    }

    /// Replaces the list of problems.
    pub fn set_problems(&mut self, dataset: DatasetId, problems: &[Problem]) -> Result<()> {
        self.db.execute("DELETE FROM problems WHERE dataset = ?1", [dataset.0])?;
        let mut insert =
            self.db.prepare_cached("INSERT INTO problems (dataset, path, kind, reason) VALUES (?1, ?2, ?3, ?4)")?;
        for problem in problems {
            insert.execute(params![dataset.0, problem.path, problem.kind.as_str(), problem.reason])?;
        }
        self.emit(&Event::DatasetChanged { dataset })
    }
}

impl Reader<'_> {
    /// All datasets by name.
    pub fn datasets(&self) -> Result<Vec<Dataset>> {
        self.datasets_where("removed IS NULL")
    }

    /// The removed datasets by name.
    pub fn removed_datasets(&self) -> Result<Vec<Dataset>> {
        self.datasets_where("removed IS NOT NULL")
    }

    fn datasets_where(&self, condition: &str) -> Result<Vec<Dataset>> {
        let sql = format!("SELECT id FROM datasets WHERE {condition} ORDER BY name, id");
        let mut statement = self.db.prepare_cached(&sql)?;
        let ids: Vec<i64> = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        ids.into_iter().map(|id| self.dataset(DatasetId(id))).collect()
    }

    /// One dataset.
    pub fn dataset(&self, dataset: DatasetId) -> Result<Dataset> {
        let found = self
            .db
            .prepare_cached("SELECT name, source, created, multi_label, archive, removed FROM datasets WHERE id = ?1")?
            .query_row([dataset.0], |row| {
                let labelling = labelling_of(row, 3)?;
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, labelling, row.get(4)?, row.get::<_, Option<i64>>(5)?))
            })
            .optional()?;
        let (name, source, created, labelling, archive, removed) =
            found.ok_or_else(|| StoreError::missing("dataset", dataset))?;
        let splits = self.sample_counts(dataset)?;
        let samples = splits.iter().map(|count| count.samples).sum();
        let problems: i64 = self.db.query_row(
            "SELECT count(*) FROM problems WHERE dataset = ?1 AND kind = 'left-out'",
            [dataset.0],
            |row| row.get(0),
        )?;
        let findings: i64 =
            self.db.query_row("SELECT count(*) FROM problems WHERE dataset = ?1", [dataset.0], |row| row.get(0))?;
        Ok(Dataset {
            id: dataset,
            name,
            source,
            archive,
            created: Timestamp(created),
            removed: removed.map(Timestamp),
            classes: self.classes(dataset)?,
            labelling,
            samples,
            labeled: samples - splits.iter().map(|count| count.unlabeled).sum::<u64>(),
            counts: self.class_counts(dataset)?,
            splits,
            problems: problems as u64,
            findings: (findings - problems) as u64,
            missing: self.count_in_state(dataset, SampleState::Missing)?,
            changed: self.count_in_state(dataset, SampleState::Changed)?,
            removed_samples: self.count_in_state(dataset, SampleState::Removed)?,
        })
    }

    /// The dataset of this name, or of this number.
    pub fn find_dataset(&self, text: &str) -> Result<DatasetId> {
        let found = self
            .db
            .prepare_cached(
                "SELECT id FROM datasets WHERE removed IS NULL AND (name = ?1 OR id = ?2) ORDER BY name = ?1 DESC",
            )?
            .query_row(params![text, text.parse().unwrap_or(-1_i64)], |row| row.get(0))
            .optional()?;
        found.map(DatasetId).ok_or_else(|| StoreError::missing("dataset", text))
    }

    /// The seed and shares by which a dataset's samples are split.
    pub fn split_rule(&self, dataset: DatasetId) -> Result<(u64, Fractions)> {
        let found = self.db.query_row("SELECT seed, val, test FROM datasets WHERE id = ?1", [dataset.0], |row| {
            Ok((row.get::<_, i64>(0)? as u64, Fractions { val: row.get(1)?, test: row.get(2)? }))
        });
        found.optional()?.ok_or_else(|| StoreError::missing("dataset", dataset))
    }

    /// The class names in schema order.
    pub fn classes(&self, dataset: DatasetId) -> Result<Vec<String>> {
        let mut statement = self.db.prepare_cached("SELECT name FROM classes WHERE dataset = ?1 ORDER BY position")?;
        let rows = statement.query_map([dataset.0], |row| row.get(0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn class_counts(&self, dataset: DatasetId) -> Result<Vec<ClassCount>> {
        let mut statement = self.db.prepare_cached(
            "SELECT class, split, count(*) FROM sample_classes WHERE dataset = ?1 GROUP BY class, split",
        )?;
        let rows = statement.query_map([dataset.0], |row| {
            Ok(ClassCount {
                class: ClassId(row.get(0)?),
                split: split_of(row, 1)?,
                samples: row.get::<_, i64>(2)? as u64,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn sample_counts(&self, dataset: DatasetId) -> Result<Vec<SplitCount>> {
        let mut all = self.db.prepare_cached(
            "SELECT split, count(*) FROM samples WHERE dataset = ?1 AND removed IS NULL GROUP BY split",
        )?;
        let rows = all.query_map([dataset.0], |row| {
            Ok(SplitCount { split: split_of(row, 0)?, samples: row.get::<_, i64>(1)? as u64, unlabeled: 0, empty: 0 })
        })?;
        let mut counts: Vec<SplitCount> = rows.collect::<rusqlite::Result<_>>()?;
        let mut without = self.db.prepare_cached(
            "SELECT split, label IS NULL, count(*) FROM samples
             WHERE dataset = ?1 AND removed IS NULL AND (label IS NULL OR label = ',') GROUP BY split, label IS NULL",
        )?;
        let mut rows = without.query([dataset.0])?;
        while let Some(row) = rows.next()? {
            let split = split_of(row, 0)?;
            if let Some(count) = counts.iter_mut().find(|count| count.split == split) {
                let which = if row.get(1)? { &mut count.unlabeled } else { &mut count.empty };
                *which = row.get::<_, i64>(2)? as u64;
            }
        }
        Ok(counts)
    }

    /// How many samples of each stratum each split holds, as [`assay_domain::split::assign`] wants it.
    pub fn split_counts(&self, dataset: DatasetId) -> Result<BTreeMap<Stratum, Counts>> {
        let mut counts: BTreeMap<Stratum, Counts> = BTreeMap::new();
        let mut add = |stratum: Stratum, split: Split, samples: u64| {
            counts.entry(stratum).or_default()[split as usize] += samples;
        };
        for count in self.class_counts(dataset)? {
            add(Stratum::Class(count.class), count.split, count.samples);
        }
        for count in self.sample_counts(dataset)? {
            add(Stratum::Unlabeled, count.split, count.unlabeled);
            add(Stratum::Empty, count.split, count.empty);
        }
        Ok(counts)
    }

    /// Problems, by kind and path.
    pub fn problems(&self, dataset: DatasetId, limit: usize) -> Result<Vec<Problem>> {
        let mut statement = self.db.prepare_cached(
            "SELECT path, kind, reason FROM problems WHERE dataset = ?1 ORDER BY kind, path LIMIT ?2",
        )?;
        let rows = statement.query_map(params![dataset.0, limit as i64], |row| {
            let word: String = row.get(1)?;
            let kind = ProblemKind::parse(&word).ok_or_else(|| unknown_word(1, &word))?;
            Ok(Problem { path: row.get(0)?, kind, reason: row.get(2)? })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}
