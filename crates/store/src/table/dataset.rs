//! Datasets, their classes, samples and what could not be taken.

use super::unknown_word;
use crate::table::label::{label_of, labelling_of};
use crate::{Reader, Result, StoreError, WriteTx};
use assay_domain::entity::{Author, ClassCount, Dataset, Event, Problem, Sample, SplitCount};
use assay_domain::split::{Counts, Fractions, Stratum};
use assay_domain::{ClassId, DatasetId, Label, SampleId, Split, Timestamp};
use rusqlite::{OptionalExtension, Row, params, params_from_iter};
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

/// A sample to be stored; one that has the path already is replaced and keeps its id, label and split.
#[derive(Clone, Debug)]
pub struct NewSample {
    /// Its path below the dataset's source, with forward slashes.
    pub path: String,
    /// The BLAKE3 hash of the file, in hexadecimal digits.
    pub hash: String,
    /// The file's size.
    pub bytes: u64,
    /// When the file was last changed, in milliseconds since the Unix epoch.
    pub modified_ms: i64,
    /// Width of the upright image, in pixels.
    pub width: u32,
    /// Height of the upright image, in pixels.
    pub height: u32,
    /// Its split.
    pub split: Split,
    /// Its label.
    pub label: Option<Label>,
}

/// What is known of a file without opening it.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The sample.
    pub id: SampleId,
    /// Its path below the source.
    pub path: String,
    /// Its hash.
    pub hash: String,
    /// The file's size.
    pub bytes: u64,
    /// When the file was last changed, in milliseconds since the Unix epoch.
    pub modified_ms: i64,
    /// Its split.
    pub split: Split,
}

/// Which samples of a dataset.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SampleFilter {
    /// Only samples of this stratum.
    pub stratum: Option<Stratum>,
    /// Only this split.
    pub split: Option<Split>,
}

impl SampleFilter {
    /// Where the ids are, what they are called there and the condition, with its values.
    fn sql(&self, dataset: DatasetId) -> (&'static str, &'static str, String, Vec<rusqlite::types::Value>) {
        let (mut table, mut id) = ("samples", "id");
        let mut condition = String::from("dataset = ?");
        let mut values = vec![dataset.0.into()];
        match self.stratum {
            Some(Stratum::Class(class)) => {
                (table, id) = ("sample_classes", "sample");
                condition.push_str(" AND class = ?");
                values.push(class.0.into());
            }
            Some(Stratum::Unlabeled) => condition.push_str(" AND label IS NULL"),
            Some(Stratum::Empty) => condition.push_str(" AND label = ','"),
            None => {}
        }
        if let Some(split) = self.split {
            condition.push_str(" AND split = ?");
            values.push(split.as_str().to_owned().into());
        }
        (table, id, condition, values)
    }
}

impl WriteTx<'_> {
    /// Makes a dataset.
    pub fn create_dataset(&mut self, name: &str, source: &str, seed: u64, fractions: Fractions) -> Result<DatasetId> {
        let inserted = self.db.execute(
            "INSERT INTO datasets (name, source, created, seed, val, test) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (name) DO NOTHING",
            params![name, source, self.now.0, seed as i64, fractions.val, fractions.test],
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

    /// Stores samples; the labels of new ones enter the annotation log as imported. Returns their ids.
    pub fn put_samples(&mut self, dataset: DatasetId, samples: &[NewSample]) -> Result<Vec<SampleId>> {
        let mut ids = Vec::with_capacity(samples.len());
        for new in samples {
            let existing: Option<i64> = self
                .db
                .prepare_cached("SELECT id FROM samples WHERE dataset = ?1 AND path = ?2")?
                .query_row(params![dataset.0, new.path], |row| row.get(0))
                .optional()?;
            let (hash, bytes, modified) = (&new.hash, new.bytes as i64, new.modified_ms);
            if let Some(id) = existing {
                self.db
                    .prepare_cached(
                        "UPDATE samples SET hash = ?2, bytes = ?3, modified = ?4, width = ?5, height = ?6 WHERE id = ?1",
                    )?
                    .execute(params![id, hash, bytes, modified, new.width, new.height])?;
                ids.push(SampleId(id));
                continue;
            }
            self.db
                .prepare_cached(
                    "INSERT INTO samples (dataset, path, hash, bytes, modified, width, height, split)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                )?
                .execute(params![
                    dataset.0,
                    new.path,
                    hash,
                    bytes,
                    modified,
                    new.width,
                    new.height,
                    new.split.as_str()
                ])?;
            let sample = SampleId(self.db.last_insert_rowid());
            if new.label.is_some() {
                self.append_label(dataset, sample, None, new.label.clone(), &Author::Import)?;
            }
            ids.push(sample);
        }
        self.emit(&Event::DatasetChanged { dataset })?;
        Ok(ids)
    }

    /// A file was moved within its source.
    pub fn move_sample(&mut self, sample: SampleId, path: &str) -> Result<()> {
        self.db.prepare_cached("UPDATE samples SET path = ?2 WHERE id = ?1")?.execute(params![sample.0, path])?;
        Ok(())
    }

    /// Files below a dataset's source changed on disk.
    pub fn source_changed(&mut self, dataset: DatasetId) -> Result<()> {
        self.emit(&Event::SourceChanged { dataset })
    }

    /// Replaces the list of what could not be taken.
    pub fn set_problems(&mut self, dataset: DatasetId, problems: &[Problem]) -> Result<()> {
        self.db.execute("DELETE FROM problems WHERE dataset = ?1", [dataset.0])?;
        let mut insert =
            self.db.prepare_cached("INSERT OR REPLACE INTO problems (dataset, path, reason) VALUES (?1, ?2, ?3)")?;
        for problem in problems {
            insert.execute(params![dataset.0, problem.path, problem.reason])?;
        }
        self.emit(&Event::DatasetChanged { dataset })
    }
}

const SAMPLE: &str = "id, dataset, path, hash, width, height, split, label FROM samples";

fn sample_of(row: &Row<'_>) -> rusqlite::Result<Sample> {
    Ok(Sample {
        id: SampleId(row.get(0)?),
        dataset: DatasetId(row.get(1)?),
        path: row.get(2)?,
        hash: row.get(3)?,
        width: row.get(4)?,
        height: row.get(5)?,
        split: split_of(row, 6)?,
        label: label_of(row, 7)?,
    })
}

pub(crate) fn split_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Split> {
    let word: String = row.get(column)?;
    Split::parse(&word).ok_or_else(|| unknown_word(column, &word))
}

impl Reader<'_> {
    /// All datasets by name.
    pub fn datasets(&self) -> Result<Vec<Dataset>> {
        let mut statement = self.db.prepare_cached("SELECT id FROM datasets ORDER BY name")?;
        let ids: Vec<i64> = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        ids.into_iter().map(|id| self.dataset(DatasetId(id))).collect()
    }

    /// One dataset.
    pub fn dataset(&self, dataset: DatasetId) -> Result<Dataset> {
        let found = self
            .db
            .prepare_cached("SELECT name, source, created, multi_label FROM datasets WHERE id = ?1")?
            .query_row([dataset.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, labelling_of(row, 3)?)))
            .optional()?;
        let (name, source, created, labelling) = found.ok_or_else(|| StoreError::missing("dataset", dataset))?;
        let splits = self.sample_counts(dataset)?;
        let samples = splits.iter().map(|count| count.samples).sum();
        let problems: i64 =
            self.db.query_row("SELECT count(*) FROM problems WHERE dataset = ?1", [dataset.0], |row| row.get(0))?;
        Ok(Dataset {
            id: dataset,
            name,
            source,
            created: Timestamp(created),
            classes: self.classes(dataset)?,
            labelling,
            samples,
            labeled: samples - splits.iter().map(|count| count.unlabeled).sum::<u64>(),
            counts: self.class_counts(dataset)?,
            splits,
            problems: problems as u64,
        })
    }

    /// The dataset of this name, or of this number.
    pub fn find_dataset(&self, text: &str) -> Result<DatasetId> {
        let found = self
            .db
            .prepare_cached("SELECT id FROM datasets WHERE name = ?1 OR id = ?2 ORDER BY name = ?1 DESC")?
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
        let mut all =
            self.db.prepare_cached("SELECT split, count(*) FROM samples WHERE dataset = ?1 GROUP BY split")?;
        let rows = all.query_map([dataset.0], |row| {
            Ok(SplitCount { split: split_of(row, 0)?, samples: row.get::<_, i64>(1)? as u64, unlabeled: 0, empty: 0 })
        })?;
        let mut counts: Vec<SplitCount> = rows.collect::<rusqlite::Result<_>>()?;
        let mut without = self.db.prepare_cached(
            "SELECT split, label IS NULL, count(*) FROM samples
             WHERE dataset = ?1 AND (label IS NULL OR label = ',') GROUP BY split, label IS NULL",
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

    /// What is known of every file of a dataset.
    pub fn listings(&self, dataset: DatasetId) -> Result<Vec<Listing>> {
        let mut statement =
            self.db.prepare_cached("SELECT id, path, hash, bytes, modified, split FROM samples WHERE dataset = ?1")?;
        let rows = statement.query_map([dataset.0], |row| {
            Ok(Listing {
                id: SampleId(row.get(0)?),
                path: row.get(1)?,
                hash: row.get(2)?,
                bytes: row.get::<_, i64>(3)? as u64,
                modified_ms: row.get(4)?,
                split: split_of(row, 5)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// One sample.
    pub fn sample(&self, sample: SampleId) -> Result<Sample> {
        let found = self
            .db
            .prepare_cached(&format!("SELECT {SAMPLE} WHERE id = ?1"))?
            .query_row([sample.0], sample_of)
            .optional()?;
        found.ok_or_else(|| StoreError::missing("sample", sample))
    }

    /// A page of samples in browsing order, and how many match in all.
    pub fn samples(
        &self,
        dataset: DatasetId,
        filter: &SampleFilter,
        offset: usize,
        limit: usize,
    ) -> Result<(Vec<Sample>, u64)> {
        let (table, id, condition, mut values) = filter.sql(dataset);
        let total: i64 = self
            .db
            .prepare_cached(&format!("SELECT count(*) FROM {table} WHERE {condition}"))?
            .query_row(params_from_iter(&values), |row| row.get(0))?;
        values.extend([(limit as i64).into(), (offset as i64).into()]);
        // The page's ids come from an index alone; only its rows are read.
        let mut statement = self.db.prepare_cached(&format!(
            "SELECT {SAMPLE} WHERE id IN (SELECT {id} FROM {table} WHERE {condition} ORDER BY {id} LIMIT ? OFFSET ?)
             ORDER BY id"
        ))?;
        let rows = statement.query_map(params_from_iter(&values), sample_of)?;
        Ok((rows.collect::<rusqlite::Result<_>>()?, total as u64))
    }

    /// What could not be taken, by path.
    pub fn problems(&self, dataset: DatasetId, limit: usize) -> Result<Vec<Problem>> {
        let mut statement =
            self.db.prepare_cached("SELECT path, reason FROM problems WHERE dataset = ?1 ORDER BY path LIMIT ?2")?;
        let rows = statement.query_map(params![dataset.0, limit as i64], |row| {
            Ok(Problem { path: row.get(0)?, reason: row.get(1)? })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Every sample of a dataset in browsing order.
    pub fn all_samples(&self, dataset: DatasetId) -> Result<Vec<Sample>> {
        let mut statement = self.db.prepare_cached(&format!("SELECT {SAMPLE} WHERE dataset = ?1 ORDER BY id"))?;
        let rows = statement.query_map([dataset.0], sample_of)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}
