//! Snapshots: immutable versions of a dataset, their contents as a blob.

use super::{from_json, to_json};
use crate::table::label::{is_multi_label, labelling_of};
use crate::{Hash, Reader, Result, Store, StoreError, WriteTx};
use assay_domain::entity::{Event, Snapshot, SnapshotEntry};
use assay_domain::{ClassId, DatasetId, Label, Labelling, SampleId, SnapshotId, Split, Timestamp};
use rusqlite::{OptionalExtension, Row, params};
use std::collections::HashMap;

pub(crate) const TABLES: &str = "
CREATE TABLE snapshots (
    id INTEGER PRIMARY KEY AUTOINCREMENT, dataset INTEGER NOT NULL, created INTEGER NOT NULL, hash TEXT NOT NULL,
    samples INTEGER NOT NULL, classes TEXT NOT NULL, UNIQUE (dataset, hash)
) STRICT;
";

/// Whether samples could have any number of classes.
pub(crate) const SETS: &str = "ALTER TABLE snapshots ADD COLUMN multi_label INTEGER NOT NULL DEFAULT 0;";

/// What the blob holds, as JSON.
#[derive(serde::Serialize, serde::Deserialize)]
struct Contents {
    classes: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    multi_label: bool,
    entries: Vec<(SampleId, String, Option<Written>, Split)>,
}

/// A label as the blob holds it.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
enum Written {
    /// Where samples have one class.
    Class(ClassId),
    /// Where they may have any number.
    Set(Label),
}

impl Written {
    fn new(label: Label, labelling: Labelling) -> Written {
        match label.only().filter(|_| labelling == Labelling::OneClass) {
            Some(class) => Written::Class(class),
            None => Written::Set(label),
        }
    }

    fn into_label(self) -> Label {
        match self {
            Written::Class(class) => Label::one(class),
            Written::Set(label) => label,
        }
    }
}

impl Store {
    /// Fixes the counting samples with their labels and splits. Equal contents give equal snapshots.
    pub fn take_snapshot(&self, dataset: DatasetId) -> Result<Snapshot> {
        let contents = self.read(|reader| {
            let of = reader.dataset(dataset)?;
            let written = |label| Written::new(label, of.labelling);
            let samples = reader.all_samples(dataset)?.into_iter().filter(|sample| sample.state().is_none());
            let entries = samples.map(|sample| (sample.id, sample.hash, sample.label.map(written), sample.split));
            let entries = entries.collect();
            Ok(Contents { classes: of.classes, multi_label: is_multi_label(of.labelling), entries })
        })?;
        self.put_snapshot(dataset, contents, None)
    }

    fn put_snapshot(&self, dataset: DatasetId, contents: Contents, created: Option<Timestamp>) -> Result<Snapshot> {
        let _held = self.blobs().hold();
        let hash = self.blobs().put(to_json("snapshot", &contents)?.as_bytes())?;
        self.write(move |tx| tx.name_snapshot(dataset, &hash, &contents, created))
    }

    /// Takes over a snapshot of another workspace whose samples have the numbers `samples` here.
    pub fn take_over_snapshot(
        &self,
        other: &Store,
        snapshot: &Snapshot,
        dataset: DatasetId,
        samples: &HashMap<SampleId, SampleId>,
    ) -> Result<Snapshot> {
        let mut contents = other.contents(snapshot)?;
        contents.entries.retain_mut(|(sample, ..)| {
            let ours = samples.get(sample);
            *sample = ours.copied().unwrap_or(*sample);
            ours.is_some()
        });
        self.put_snapshot(dataset, contents, Some(snapshot.created))
    }

    fn contents(&self, snapshot: &Snapshot) -> Result<Contents> {
        let bytes = self.blobs().get(&Hash::parse(&snapshot.hash)?)?;
        serde_json::from_slice(&bytes).map_err(|why| StoreError::unreadable("snapshot", why))
    }

    /// The lines of a snapshot, in browsing order.
    pub fn snapshot_entries(&self, snapshot: &Snapshot) -> Result<Vec<SnapshotEntry>> {
        let entry = |(sample, hash, label, split): (_, _, Option<Written>, _)| SnapshotEntry {
            sample,
            hash,
            label: label.map(Written::into_label),
            split,
        };
        Ok(self.contents(snapshot)?.entries.into_iter().map(entry).collect())
    }
}

impl WriteTx<'_> {
    fn name_snapshot(
        &mut self,
        dataset: DatasetId,
        hash: &Hash,
        contents: &Contents,
        created: Option<Timestamp>,
    ) -> Result<Snapshot> {
        let made = self.db.execute(
            "INSERT INTO snapshots (dataset, created, hash, samples, classes, multi_label)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (dataset, hash) DO NOTHING",
            params![
                dataset.0,
                created.unwrap_or(self.now).0,
                hash.as_str(),
                contents.entries.len() as i64,
                to_json("classes", &contents.classes)?,
                contents.multi_label
            ],
        )?;
        if made > 0 {
            self.emit(&Event::SnapshotMade { dataset })?;
        }
        let sql = format!("SELECT {COLUMNS} WHERE dataset = ?1 AND hash = ?2");
        Ok(self.db.query_row(&sql, params![dataset.0, hash.as_str()], snapshot_of)?)
    }
}

const COLUMNS: &str = "id, dataset, created, hash, samples, classes, multi_label FROM snapshots";

fn snapshot_of(row: &Row<'_>) -> rusqlite::Result<Snapshot> {
    Ok(Snapshot {
        id: SnapshotId(row.get(0)?),
        dataset: DatasetId(row.get(1)?),
        created: Timestamp(row.get(2)?),
        hash: row.get(3)?,
        samples: row.get::<_, i64>(4)? as u64,
        classes: from_json(row, 5)?,
        labelling: labelling_of(row, 6)?,
    })
}

impl Reader<'_> {
    /// One snapshot.
    pub fn snapshot(&self, snapshot: SnapshotId) -> Result<Snapshot> {
        let sql = format!("SELECT {COLUMNS} WHERE id = ?1");
        let found = self.db.prepare_cached(&sql)?.query_row([snapshot.0], snapshot_of).optional()?;
        found.ok_or_else(|| StoreError::missing("snapshot", snapshot))
    }

    /// The snapshots of a dataset, newest first.
    pub fn snapshots(&self, dataset: DatasetId) -> Result<Vec<Snapshot>> {
        let mut statement = self.db.prepare_cached(&format!("SELECT {COLUMNS} WHERE dataset = ?1 ORDER BY id DESC"))?;
        let rows = statement.query_map([dataset.0], snapshot_of)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}
