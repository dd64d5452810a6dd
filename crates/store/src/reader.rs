//! Readers: separate read-only connections, each answer from one consistent moment.

use crate::{Result, StoreError};
use rusqlite::{Connection, OpenFlags};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// A consistent view of the database.
pub struct Reader<'a> {
    pub(crate) db: &'a Connection,
}

impl Reader<'_> {
    /// What SQLite finds wrong with the file; empty when it is intact.
    pub fn check_integrity(&self) -> Result<Vec<String>> {
        let mut statement = self.db.prepare("PRAGMA quick_check(10)")?;
        let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
        let found: Vec<String> = rows.collect::<rusqlite::Result<_>>()?;
        Ok(found.into_iter().filter(|line| line != "ok").collect())
    }
}

/// Idle read-only connections, opened as they are needed.
pub(crate) struct Readers {
    path: PathBuf,
    /// Whether the disk may be read-only.
    read_only: bool,
    idle: Mutex<Vec<Connection>>,
}

/// How many idle connections are kept.
const IDLE: usize = 8;

impl Readers {
    pub(crate) fn new(path: &Path, read_only: bool) -> Readers {
        Readers { path: path.to_owned(), read_only, idle: Mutex::new(Vec::new()) }
    }

    pub(crate) fn read<T>(&self, read: impl FnOnce(&Reader<'_>) -> Result<T>) -> Result<T> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => open(&self.path, self.read_only)?,
        };
        let transaction = connection.transaction()?;
        let value = read(&Reader { db: &transaction });
        drop(transaction);
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE {
            idle.push(connection);
        }
        value
    }
}

fn open(path: &Path, read_only: bool) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = match Connection::open_with_flags(path, flags) {
        Ok(connection) if connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).is_ok() => {
            connection
        }
        // On a read-only disk SQLite can make no shared-memory file; nobody can be writing there either.
        _ if read_only => Connection::open_with_flags(immutable(path), flags | OpenFlags::SQLITE_OPEN_URI)
            .map_err(StoreError::from)?,
        Ok(connection) => connection,
        Err(error) => return Err(error.into()),
    };
    connection.pragma_update(None, "mmap_size", 256 << 20)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// The address of a database that nobody can write.
pub(crate) fn immutable(path: &Path) -> String {
    let escaped = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    format!("file:{escaped}?immutable=1")
}
