//! Samples: their files, contents, and whether they count.
//!
//! A sample is one file's contents, and keeps its id and label when the file moves (see [`assay_domain::matching`]). It
//! does not count while it is removed, its file is missing, or its image differs from the labelled one; its row and
//! label stay. If several of these states apply, the first counts ([`Sample::state`]).

use super::{to_json, unknown_word};
use crate::table::label::{label_of, written_class};
use crate::{Reader, Result, StoreError, WriteTx};
use assay_domain::entity::{Author, Event, Sample, SampleState};
use assay_domain::matching::Match;
use assay_domain::split::Stratum;
use assay_domain::{DatasetId, Label, SampleId, Split, Timestamp};
use rusqlite::types::Value;
use rusqlite::{OptionalExtension, Row, params, params_from_iter};

/// Adds sample states; paths are unique among present files, names among kept datasets.
pub(crate) const IDENTITY: &str = "
CREATE TABLE new_datasets (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, source TEXT NOT NULL, created INTEGER NOT NULL,
    seed INTEGER NOT NULL, val REAL NOT NULL, test REAL NOT NULL, multi_label INTEGER NOT NULL DEFAULT 0,
    archive TEXT, removed INTEGER
) STRICT;
INSERT INTO new_datasets (id, name, source, created, seed, val, test, multi_label)
    SELECT id, name, source, created, seed, val, test, multi_label FROM datasets;
CREATE TABLE new_samples (
    id INTEGER PRIMARY KEY AUTOINCREMENT, dataset INTEGER NOT NULL REFERENCES new_datasets (id), path TEXT NOT NULL,
    hash TEXT NOT NULL, bytes INTEGER NOT NULL, modified INTEGER NOT NULL, stamp INTEGER NOT NULL DEFAULT 0,
    width INTEGER NOT NULL, height INTEGER NOT NULL, split TEXT NOT NULL, split_by TEXT NOT NULL DEFAULT 'draw', label TEXT, missing INTEGER,
    changed_from TEXT, removed INTEGER
) STRICT;
INSERT INTO new_samples (id, dataset, path, hash, bytes, modified, width, height, split, label)
    SELECT id, dataset, path, hash, bytes, modified, width, height, split, label FROM samples;
DROP TABLE samples;
DROP TABLE datasets;
ALTER TABLE new_datasets RENAME TO datasets;
ALTER TABLE new_samples RENAME TO samples;
CREATE UNIQUE INDEX datasets_by_name ON datasets (name) WHERE removed IS NULL;
CREATE UNIQUE INDEX samples_by_path ON samples (dataset, path) WHERE missing IS NULL;
CREATE INDEX samples_by_hash ON samples (dataset, hash);
CREATE INDEX samples_in_order ON samples (dataset, id) WHERE removed IS NULL;
CREATE INDEX samples_by_split ON samples (dataset, split, id) WHERE removed IS NULL;
CREATE INDEX samples_without_class ON samples (dataset, label, split, id)
    WHERE removed IS NULL AND (label IS NULL OR label = ',');
CREATE INDEX samples_apart ON samples (dataset, id)
    WHERE missing IS NOT NULL OR changed_from IS NOT NULL OR removed IS NOT NULL;
ALTER TABLE annotations ADD COLUMN confirmed TEXT;
ALTER TABLE problems RENAME TO old_problems;
CREATE TABLE problems (dataset INTEGER NOT NULL, path TEXT NOT NULL, kind TEXT NOT NULL, reason TEXT NOT NULL) STRICT;
INSERT INTO problems SELECT dataset, path, 'left-out', reason FROM old_problems;
DROP TABLE old_problems;
CREATE INDEX problems_by_path ON problems (dataset, kind, path);
";

/// Facts of a file, apart from annotations.
#[derive(Clone, Debug, PartialEq)]
pub struct FileFacts {
    /// Its path below the dataset's source, with forward slashes.
    pub path: String,
    /// The BLAKE3 hash of its contents, in hexadecimal digits.
    pub hash: String,
    /// Its size.
    pub bytes: u64,
    /// When it was last changed, in milliseconds since the Unix epoch.
    pub modified_ms: i64,
    /// A platform fingerprint of changes to the file; 0 if there is none.
    pub stamp: i64,
    /// Width of the upright image, in pixels.
    pub width: u32,
    /// Height of the upright image, in pixels.
    pub height: u32,
}

/// The origin of a split. The source overrules all but a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SplitBy {
    /// It was drawn.
    Draw,
    /// The source says so.
    Source,
    /// A person chose it.
    Person,
}

impl SplitBy {
    fn as_str(self) -> &'static str {
        match self {
            SplitBy::Draw => "draw",
            SplitBy::Source => "source",
            SplitBy::Person => "person",
        }
    }
}

/// A new sample.
#[derive(Clone, Debug)]
pub struct NewSample {
    /// Its file.
    pub file: FileFacts,
    /// Its split.
    pub split: Split,
    /// Its origin.
    pub split_by: SplitBy,
    /// Its label.
    pub label: Option<Label>,
}

/// A sample's stored file facts.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The sample.
    pub id: SampleId,
    /// The file as last seen.
    pub file: FileFacts,
    /// Its split.
    pub split: Split,
    /// Whether it was missing.
    pub is_missing: bool,
    /// The labelled contents, if they differ.
    pub changed_from: Option<String>,
}

/// Result of taking a label from the source.
#[derive(Clone, Debug, PartialEq)]
pub enum Followed {
    /// It was set already.
    Same,
    /// It was set.
    Taken,
    /// A person's other label stays.
    Kept(Option<Label>),
}

/// Samples with equal contents.
#[derive(Clone, Debug, PartialEq)]
pub struct Copy {
    /// The hash of the contents.
    pub hash: String,
    /// The path of one of them.
    pub path: String,
    /// Its label.
    pub label: Option<Label>,
    /// Its split.
    pub split: Split,
}

/// Selects samples of a dataset; removed ones only on request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SampleFilter {
    /// Only samples of this stratum.
    pub stratum: Option<Stratum>,
    /// Only this split.
    pub split: Option<Split>,
    /// Only samples in this state.
    pub state: Option<SampleState>,
    /// Only samples whose path contains this text, ignoring ASCII case.
    pub name: Option<String>,
}

impl SampleFilter {
    /// Table, id column, condition and its values.
    fn sql(&self, dataset: DatasetId) -> (&'static str, &'static str, String, Vec<Value>) {
        let (mut table, mut id) = ("samples", "id");
        let mut condition = String::from("dataset = ?");
        let mut values: Vec<Value> = vec![dataset.0.into()];
        let is_indexed = self.state.is_none() && self.name.is_none();
        match self.stratum {
            Some(Stratum::Class(class)) if is_indexed => {
                (table, id) = ("sample_classes", "sample");
                condition.push_str(" AND class = ?");
                values.push(class.0.into());
            }
            Some(Stratum::Class(class)) => {
                condition.push_str(" AND instr(label, ?) > 0");
                values.push(written_class(class).into());
            }
            Some(Stratum::Unlabeled) => condition.push_str(" AND label IS NULL"),
            Some(Stratum::Empty) => condition.push_str(" AND label = ','"),
            None => {}
        }
        if let Some(split) = self.split {
            condition.push_str(" AND split = ?");
            values.push(split.as_str().to_owned().into());
        }
        if let Some(name) = &self.name {
            condition.push_str(" AND instr(lower(path), lower(?)) > 0");
            values.push(name.clone().into());
        }
        condition.push_str(match self.state {
            None if table == "samples" => " AND removed IS NULL",
            None => "", // what was removed is in no class
            Some(SampleState::Missing) => " AND removed IS NULL AND missing IS NOT NULL",
            Some(SampleState::Changed) => " AND removed IS NULL AND missing IS NULL AND changed_from IS NOT NULL",
            Some(SampleState::Removed) => " AND removed IS NOT NULL",
        });
        (table, id, condition, values)
    }
}

impl WriteTx<'_> {
    /// Stores new samples; their labels enter the annotation log as imported. Returns their ids.
    pub fn put_samples(&mut self, dataset: DatasetId, samples: &[NewSample]) -> Result<Vec<SampleId>> {
        let mut ids = Vec::with_capacity(samples.len());
        for new in samples {
            let file = &new.file;
            self.db
                .prepare_cached(
                    "INSERT INTO samples (dataset, path, hash, bytes, modified, width, height, split, split_by, stamp)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                )?
                .execute(params![
                    dataset.0,
                    file.path,
                    file.hash,
                    file.bytes as i64,
                    file.modified_ms,
                    file.width,
                    file.height,
                    new.split.as_str(),
                    new.split_by.as_str(),
                    file.stamp
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

    /// Marks samples missing: they stop counting and keep their labels, and their paths are free for other samples.
    pub fn mark_missing(&mut self, dataset: DatasetId, samples: &[SampleId]) -> Result<()> {
        let mut mark = self.db.prepare_cached("UPDATE samples SET missing = ?2 WHERE id = ?1 AND missing IS NULL")?;
        for sample in samples {
            mark.execute(params![sample.0, self.now.0])?;
        }
        drop(mark);
        self.emit(&Event::DatasetChanged { dataset })
    }

    /// Stores a sample's file as found. A person's label for other contents must be confirmed.
    pub fn place_sample(&mut self, sample: SampleId, file: &FileFacts, how: Match) -> Result<()> {
        let changed_from = match how {
            Match::Same | Match::Moved => "changed_from",
            Match::Returned => "NULL",
            // Read before the update: the hash is the old one.
            Match::Edited if self.is_labelled_by_hand(sample)? => "coalesce(changed_from, hash)",
            Match::Edited => "NULL",
        };
        let sql = format!(
            "UPDATE samples SET path = ?2, bytes = ?4, modified = ?5, width = ?6, height = ?7, missing = NULL,
             stamp = ?8, changed_from = {changed_from}, hash = ?3 WHERE id = ?1"
        );
        let values = params![
            sample.0,
            file.path,
            file.hash,
            file.bytes as i64,
            file.modified_ms,
            file.width,
            file.height,
            file.stamp
        ];
        self.db.prepare_cached(&sql)?.execute(values)?;
        Ok(())
    }

    /// Forces the next import to read a file whose contents have changed.
    pub fn distrust_sample(&mut self, sample: SampleId) -> Result<()> {
        self.db.prepare_cached("UPDATE samples SET modified = -1 WHERE id = ?1")?.execute([sample.0])?;
        Ok(())
    }

    /// Takes a label from the source, unless a person set another one.
    pub fn follow_label(&mut self, dataset: DatasetId, sample: SampleId, label: Option<Label>) -> Result<Followed> {
        let (_, own) = self.current_label(sample)?;
        if own == label {
            return Ok(Followed::Same);
        }
        if self.last_author(sample)?.is_some_and(|author| author != Author::Import) {
            return Ok(Followed::Kept(own));
        }
        self.append_label(dataset, sample, own, label, &Author::Import)?;
        self.confirm_image(sample)?;
        Ok(Followed::Taken)
    }

    /// Takes a split from the source, unless a person chose another one.
    pub fn follow_split(&mut self, sample: SampleId, split: Split) -> Result<()> {
        self.move_to_split(sample, split, SplitBy::Source, "split_by <> 'person'")?;
        Ok(())
    }

    /// Puts samples into a split; returns how many changed.
    pub fn set_split(&mut self, dataset: DatasetId, samples: &[SampleId], split: Split) -> Result<u64> {
        let mut changed = 0;
        for sample in samples {
            changed += u64::from(self.choose_split(*sample, split)?);
        }
        self.emit(&Event::DatasetChanged { dataset })?;
        Ok(changed)
    }

    /// Stores the split that a person chose for a sample; returns whether it changed.
    pub(crate) fn choose_split(&mut self, sample: SampleId, split: Split) -> Result<bool> {
        self.move_to_split(sample, split, SplitBy::Person, "(split <> ?2 OR split_by <> ?3)")
    }

    /// Moves a sample to a split if `condition` holds; returns whether it does.
    fn move_to_split(&mut self, sample: SampleId, split: Split, by: SplitBy, condition: &str) -> Result<bool> {
        let (dataset, label) = self.current_label(sample)?;
        let is_removed = self.is_removed(sample)?; // then it is in no class
        let label = label.filter(|_| !is_removed);
        self.leave_classes(dataset, sample, label.as_ref())?;
        let moved = self
            .db
            .prepare_cached(&format!("UPDATE samples SET split = ?2, split_by = ?3 WHERE id = ?1 AND {condition}"))?
            .execute(params![sample.0, split.as_str(), by.as_str()])?;
        self.enter_classes(dataset, sample, label.as_ref())?;
        Ok(moved > 0)
    }

    /// Removes samples from a dataset; they can be restored. Returns how many it removed.
    pub fn remove_samples(&mut self, dataset: DatasetId, samples: &[SampleId]) -> Result<u64> {
        let mut removed = 0;
        for sample in samples {
            removed += u64::from(self.remove_sample(dataset, *sample, self.now)?);
        }
        self.emit(&Event::DatasetChanged { dataset })?;
        Ok(removed)
    }

    /// Removes a sample as of `at`; returns whether it was still there.
    pub(crate) fn remove_sample(&mut self, dataset: DatasetId, sample: SampleId, at: Timestamp) -> Result<bool> {
        let sql = "UPDATE samples SET removed = ?2 WHERE id = ?1 AND removed IS NULL";
        let removed = self.db.prepare_cached(sql)?.execute(params![sample.0, at.0])? > 0;
        if removed {
            let (_, label) = self.current_label(sample)?;
            self.leave_classes(dataset, sample, label.as_ref())?;
        }
        Ok(removed)
    }

    /// Restores removed samples; returns how many it restored.
    pub fn restore_samples(&mut self, dataset: DatasetId, samples: &[SampleId]) -> Result<u64> {
        let mut restored = 0;
        for sample in samples {
            let sql = "UPDATE samples SET removed = NULL WHERE id = ?1 AND removed IS NOT NULL";
            if self.db.prepare_cached(sql)?.execute([sample.0])? > 0 {
                let (_, label) = self.current_label(*sample)?;
                self.enter_classes(dataset, *sample, label.as_ref())?;
                restored += 1;
            }
        }
        self.emit(&Event::DatasetChanged { dataset })?;
        Ok(restored)
    }
}

const SAMPLE: &str =
    "id, dataset, path, hash, width, height, split, label, missing, changed_from, removed FROM samples";

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
        missing: row.get::<_, Option<i64>>(8)?.map(Timestamp),
        changed_from: row.get(9)?,
        removed: row.get::<_, Option<i64>>(10)?.map(Timestamp),
    })
}

pub(crate) fn split_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Split> {
    let word: String = row.get(column)?;
    Split::parse(&word).ok_or_else(|| unknown_word(column, &word))
}

impl Reader<'_> {
    /// Stored file facts of all samples of a dataset, including removed ones.
    pub fn listings(&self, dataset: DatasetId) -> Result<Vec<Listing>> {
        let mut statement = self.db.prepare_cached(
            "SELECT id, path, hash, bytes, modified, width, height, split, missing IS NOT NULL, changed_from, stamp
             FROM samples WHERE dataset = ?1 ORDER BY id",
        )?;
        let rows = statement.query_map([dataset.0], |row| {
            Ok(Listing {
                id: SampleId(row.get(0)?),
                file: FileFacts {
                    path: row.get(1)?,
                    hash: row.get(2)?,
                    bytes: row.get::<_, i64>(3)? as u64,
                    modified_ms: row.get(4)?,
                    stamp: row.get(10)?,
                    width: row.get(5)?,
                    height: row.get(6)?,
                },
                split: split_of(row, 7)?,
                is_missing: row.get(8)?,
                changed_from: row.get(9)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Samples of a dataset that share contents with another, by contents.
    pub fn copies(&self, dataset: DatasetId) -> Result<Vec<Copy>> {
        let mut statement = self.db.prepare_cached(
            "SELECT hash, path, label, split FROM samples
             WHERE dataset = ?1 AND removed IS NULL AND missing IS NULL AND hash IN (
                 SELECT hash FROM samples WHERE dataset = ?1 AND removed IS NULL AND missing IS NULL
                 GROUP BY hash HAVING count(*) > 1)
             ORDER BY hash, id",
        )?;
        let rows = statement.query_map([dataset.0], |row| {
            Ok(Copy { hash: row.get(0)?, path: row.get(1)?, label: label_of(row, 2)?, split: split_of(row, 3)? })
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
        // An index alone gives the page's ids; only its rows are read.
        let mut statement = self.db.prepare_cached(&format!(
            "SELECT {SAMPLE} WHERE id IN (SELECT {id} FROM {table} WHERE {condition} ORDER BY {id} LIMIT ? OFFSET ?)
             ORDER BY id"
        ))?;
        let rows = statement.query_map(params_from_iter(&values), sample_of)?;
        Ok((rows.collect::<rusqlite::Result<_>>()?, total as u64))
    }

    /// The ids of all matching samples.
    pub fn sample_ids(&self, dataset: DatasetId, filter: &SampleFilter) -> Result<Vec<SampleId>> {
        let (table, id, condition, values) = filter.sql(dataset);
        let mut statement =
            self.db.prepare_cached(&format!("SELECT {id} FROM {table} WHERE {condition} ORDER BY {id}"))?;
        let rows = statement.query_map(params_from_iter(&values), |row| row.get(0).map(SampleId))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The first of these samples that is not in the dataset.
    pub fn first_outside(&self, dataset: DatasetId, samples: &[SampleId]) -> Result<Option<SampleId>> {
        let mut statement = self.db.prepare_cached(
            "SELECT value FROM json_each(?2)
             WHERE NOT EXISTS (SELECT 1 FROM samples WHERE samples.id = json_each.value AND dataset = ?1) LIMIT 1",
        )?;
        let samples = to_json("samples", &samples)?;
        Ok(statement.query_row(params![dataset.0, samples], |row| row.get(0).map(SampleId)).optional()?)
    }

    /// Number of samples of a dataset in a state.
    pub(crate) fn count_in_state(&self, dataset: DatasetId, state: SampleState) -> Result<u64> {
        let filter = SampleFilter { state: Some(state), ..SampleFilter::default() };
        let (table, _, condition, values) = filter.sql(dataset);
        let sql = format!(
            "SELECT count(*) FROM {table} WHERE {condition}
             AND (missing IS NOT NULL OR changed_from IS NOT NULL OR removed IS NOT NULL)"
        );
        let count: i64 = self.db.prepare_cached(&sql)?.query_row(params_from_iter(&values), |row| row.get(0))?;
        Ok(count as u64)
    }

    /// Every sample of a dataset in browsing order, excluded ones too.
    pub fn all_samples(&self, dataset: DatasetId) -> Result<Vec<Sample>> {
        let mut statement = self.db.prepare_cached(&format!("SELECT {SAMPLE} WHERE dataset = ?1 ORDER BY id"))?;
        let rows = statement.query_map([dataset.0], sample_of)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::testing::store_with_run;
    use assay_domain::split::Fractions;
    use assay_domain::{ClassId, LabelChange};

    fn file(contents: &str) -> FileFacts {
        let (path, hash) = ("0.png".to_owned(), contents.to_owned());
        FileFacts { path, hash, bytes: 1, modified_ms: 1, stamp: 1, width: 8, height: 8 }
    }

    #[test]
    fn filters_and_counts_agree_with_the_state_of_a_sample() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = store_with_run(folder.path());
        let ann = || Author::Person("ann".into());
        let new = NewSample { file: file("a"), split: Split::Train, split_by: SplitBy::Draw, label: None };
        let made = store.write(move |tx| {
            let dataset = tx.create_dataset("images", ("images", None), 0, Fractions::default())?;
            tx.ensure_classes(dataset, &["cat".to_owned()])?;
            let sample = tx.put_samples(dataset, &[new])?[0];
            tx.change_label(sample, &LabelChange::Set(Some(Label::one(ClassId(0)))), &ann())?;
            Ok((dataset, sample))
        });
        let (dataset, sample) = made.unwrap();
        let check = |expected: Option<SampleState>| {
            let found = store.read(|reader| reader.sample(sample)).unwrap();
            assert_eq!(found.state(), expected);
            let counts = store.read(|reader| reader.dataset(dataset)).unwrap();
            for (state, count) in [
                (SampleState::Missing, counts.missing),
                (SampleState::Changed, counts.changed),
                (SampleState::Removed, counts.removed_samples),
            ] {
                let filter = SampleFilter { state: Some(state), ..SampleFilter::default() };
                let (page, total) = store.read(|reader| reader.samples(dataset, &filter, 0, 10)).unwrap();
                let ids = store.read(|reader| reader.sample_ids(dataset, &filter)).unwrap();
                let is_in = u64::from(expected == Some(state));
                assert_eq!(
                    (count, total, page.len() as u64, ids.len() as u64),
                    (is_in, is_in, is_in, is_in),
                    "{state:?}"
                );
            }
        };
        let confirm = || store.write(move |tx| tx.confirm_label(sample, &ann())).unwrap();
        check(None);
        store.write(move |tx| tx.place_sample(sample, &file("b"), Match::Edited)).unwrap();
        check(Some(SampleState::Changed));
        store.write(move |tx| tx.mark_missing(dataset, &[sample])).unwrap();
        check(Some(SampleState::Missing));
        assert_eq!(confirm(), None, "nobody can look at it");
        store.write(move |tx| tx.remove_samples(dataset, &[sample])).unwrap();
        check(Some(SampleState::Removed));
        store.write(move |tx| tx.restore_samples(dataset, &[sample])).unwrap();
        store.write(move |tx| tx.place_sample(sample, &file("b"), Match::Same)).unwrap();
        check(Some(SampleState::Changed));
        assert!(confirm().is_some());
        check(None);
    }

    #[test]
    fn the_first_sample_outside_a_dataset_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = store_with_run(folder.path());
        let new = NewSample { file: file("a"), split: Split::Train, split_by: SplitBy::Draw, label: None };
        let made = store.write(move |tx| {
            let mut made = Vec::new();
            for name in ["own", "other"] {
                let dataset = tx.create_dataset(name, (name, None), 0, Fractions::default())?;
                made.push((dataset, tx.put_samples(dataset, std::slice::from_ref(&new))?[0]));
            }
            Ok(made)
        });
        let made = made.unwrap();
        let ((own, sample), (_, foreign)) = (made[0], made[1]);
        let outside = |samples: &[SampleId]| store.read(|reader| reader.first_outside(own, samples)).unwrap();
        assert_eq!(outside(&[]), None);
        assert_eq!(outside(&[sample, sample]), None);
        assert_eq!(outside(&[sample, foreign, SampleId(99)]), Some(foreign));
        assert_eq!(outside(&[sample, SampleId(99)]), Some(SampleId(99)));
    }
}
