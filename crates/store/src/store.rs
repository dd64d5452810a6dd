//! The workspace as a whole.

use crate::lock::{self, Lock};
use crate::reader::Readers;
use crate::writer::Writer;
use crate::{Blobs, Hash, Holder, Reader, Result, StoreError, WriteTx, migrate};
use assay_domain::{EventSeq, Timestamp};
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the time comes from.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// An open workspace. There is at most one writing [`Store`] of a workspace on the machine.
pub struct Store {
    root: PathBuf,
    readers: Readers,
    blobs: Arc<Blobs>,
    // Declared after what uses it and dropped in this order: the writer ends before the lock is given up.
    writer: Option<Writer>,
    _lock: Option<Lock>,
}

impl Store {
    /// Opens the workspace folder `root` for writing; makes it, and the tables, if they are missing.
    ///
    /// `committed` hears the number of the last event after each commit.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another process has it, [`StoreError::Newer`] and [`StoreError::Foreign`] when the
    /// database is not ours to write, [`StoreError::ReadOnly`] when nothing can be written there.
    pub fn open(
        root: &Path,
        holder: &Holder,
        clock: Clock,
        committed: impl Fn(EventSeq) + Send + 'static,
    ) -> Result<Store> {
        std::fs::create_dir_all(root).map_err(StoreError::io("making the workspace folder", root))?;
        let lock = lock::acquire(root, holder)?;
        let path = root.join("assay.db");
        let read_only = |error: rusqlite::Error| match StoreError::from(error) {
            StoreError::ReadOnly(_) => StoreError::ReadOnly(path.clone()),
            other => other,
        };
        let mut connection = Connection::open(&path).map_err(read_only)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        migrate::check(&connection, &path)?;
        connection.pragma_update(None, "journal_mode", "WAL").map_err(read_only)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.set_prepared_statement_cache_capacity(128);
        migrate::migrate(&mut connection, &path)?;
        let blobs = Arc::new(Blobs::open(root)?);
        let writer = Writer::start(connection, clock, committed)?;
        Ok(Store {
            root: root.to_owned(),
            readers: Readers::new(&path, false),
            blobs,
            writer: Some(writer),
            _lock: Some(lock),
        })
    }

    /// Opens the workspace folder `root` for reading only; writes answer [`StoreError::ReadOnly`].
    pub fn open_read_only(root: &Path) -> Result<Store> {
        let path = root.join("assay.db");
        if !path.is_file() {
            return Err(StoreError::missing("workspace database", path.display()));
        }
        let readers = Readers::new(&path, true);
        let found = readers.read(|reader| migrate::check(reader.db, &path))?;
        if found < migrate::FORMAT {
            return Err(StoreError::Conflict(format!(
                "the workspace has an older format ({found}) and must be opened once where it can be written: {}",
                path.display()
            )));
        }
        Ok(Store { root: root.to_owned(), readers, blobs: Arc::new(Blobs::at(root)), writer: None, _lock: None })
    }

    /// The workspace folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether nothing can be written.
    pub fn is_read_only(&self) -> bool {
        self.writer.is_none()
    }

    /// Removes blobs that no name refers to any more. The writer does it, so that none gets a name meanwhile.
    pub fn free(&self, hashes: Vec<Hash>) -> Result<()> {
        if hashes.is_empty() {
            return Ok(());
        }
        let blobs = self.blobs.clone();
        let _no_blob_waits_for_its_name = self.blobs.free();
        self.write(move |tx| tx.unreferred(hashes)?.iter().try_for_each(|hash| blobs.remove(hash)))
    }

    /// Gives the room of what was deleted back to the disk; writes wait meanwhile, reads do not.
    pub fn compact(&self) -> Result<()> {
        self.alone(|db| Ok(db.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE);")?))
    }

    /// Does what cannot be done within a transaction, on the writer's connection.
    pub(crate) fn alone<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.writer.as_ref().ok_or_else(|| StoreError::ReadOnly(self.root.clone()))?.alone(work)
    }

    /// The blobs.
    pub fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// Runs `write` in a transaction and returns once it is durable.
    pub fn write<T: Send + 'static>(
        &self,
        write: impl FnOnce(&mut WriteTx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.writer.as_ref().ok_or_else(|| StoreError::ReadOnly(self.root.clone()))?.write(write)
    }

    /// Runs `read` on one consistent view.
    pub fn read<T>(&self, read: impl FnOnce(&Reader<'_>) -> Result<T>) -> Result<T> {
        self.readers.read(read)
    }
}
