//! Snapshots: immutable versions of a dataset, their contents as a blob.

use super::{from_json, to_json};
use crate::{Hash, Reader, Result, Store, StoreError, WriteTx};
use assay_domain::entity::{Event, Snapshot, SnapshotEntry};
use assay_domain::{ClassId, DatasetId, SampleId, SnapshotId, Split, Timestamp};
use rusqlite::{OptionalExtension, Row, params};

pub(crate) const TABLES: &str = "
CREATE TABLE snapshots (
    id INTEGER PRIMARY KEY AUTOINCREMENT, dataset INTEGER NOT NULL, created INTEGER NOT NULL, hash TEXT NOT NULL,
    samples INTEGER NOT NULL, classes TEXT NOT NULL, UNIQUE (dataset, hash)
) STRICT;
";

/// What the blob holds, as JSON.
#[derive(serde::Serialize, serde::Deserialize)]
struct Contents {
    classes: Vec<String>,
    entries: Vec<(SampleId, String, Option<ClassId>, Split)>,
}

impl Store {
    /// Fixes the samples, labels and splits of a dataset as they are now. Equal contents give the same snapshot.
    pub fn take_snapshot(&self, dataset: DatasetId) -> Result<Snapshot> {
        let contents = self.read(|reader| {
            let samples = reader.all_samples(dataset)?;
            let entries = samples.into_iter().map(|sample| (sample.id, sample.hash, sample.class, sample.split));
            Ok(Contents { classes: reader.dataset(dataset)?.classes, entries: entries.collect() })
        })?;
        let hash = self.blobs().put(to_json("snapshot", &contents)?.as_bytes())?;
        self.write(move |tx| tx.name_snapshot(dataset, &hash, contents.entries.len(), &contents.classes))
    }

    /// The lines of a snapshot, in browsing order.
    pub fn snapshot_entries(&self, snapshot: &Snapshot) -> Result<Vec<SnapshotEntry>> {
        let bytes = self.blobs().get(&Hash::parse(&snapshot.hash)?)?;
        let contents: Contents =
            serde_json::from_slice(&bytes).map_err(|why| StoreError::unreadable("snapshot", why))?;
        let entry = |(sample, hash, class, split)| SnapshotEntry { sample, hash, class, split };
        Ok(contents.entries.into_iter().map(entry).collect())
    }
}

impl WriteTx<'_> {
    fn name_snapshot(
        &mut self,
        dataset: DatasetId,
        hash: &Hash,
        samples: usize,
        classes: &[String],
    ) -> Result<Snapshot> {
        let made = self.db.execute(
            "INSERT INTO snapshots (dataset, created, hash, samples, classes) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (dataset, hash) DO NOTHING",
            params![dataset.0, self.now.0, hash.as_str(), samples as i64, to_json("classes", &classes)?],
        )?;
        if made > 0 {
            self.emit(&Event::SnapshotMade { dataset })?;
        }
        let sql = format!("SELECT {COLUMNS} WHERE dataset = ?1 AND hash = ?2");
        Ok(self.db.query_row(&sql, params![dataset.0, hash.as_str()], snapshot_of)?)
    }
}

const COLUMNS: &str = "id, dataset, created, hash, samples, classes FROM snapshots";

fn snapshot_of(row: &Row<'_>) -> rusqlite::Result<Snapshot> {
    Ok(Snapshot {
        id: SnapshotId(row.get(0)?),
        dataset: DatasetId(row.get(1)?),
        created: Timestamp(row.get(2)?),
        hash: row.get(3)?,
        samples: row.get::<_, i64>(4)? as u64,
        classes: from_json(row, 5)?,
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
