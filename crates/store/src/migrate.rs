//! Migrations: append-only, each applied once, in one transaction.

use crate::table::{artifact, dataset, evaluation, event, job, label, run, series, setting, snapshot};
use crate::{Result, StoreError};
use rusqlite::Connection;
use std::path::Path;

/// "asay" in the file's header, so that another program's database is recognised.
const APPLICATION: i64 = 0x6173_6179;

/// Every step from an empty file to today's tables. Never change an entry that has been released: append one.
const STEPS: &[&[&str]] = &[
    &[
        event::TABLES,
        run::TABLES,
        series::TABLES,
        artifact::TABLES,
        dataset::TABLES,
        label::TABLES,
        snapshot::TABLES,
        evaluation::TABLES,
        job::TABLES,
    ],
    &[setting::TABLES],
    &[evaluation::EMBEDDINGS],
];

/// The format that this version writes.
pub(crate) const FORMAT: i64 = STEPS.len() as i64;

/// Refuses, without touching it, a database that is not ours or newer than us; returns its format.
pub(crate) fn check(connection: &Connection, path: &Path) -> Result<i64> {
    let foreign = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt) => {
            StoreError::Foreign(path.to_owned())
        }
        _ => error.into(),
    };
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(foreign)?;
    let application: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(foreign)?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(foreign)?;
    if tables > 0 && application != APPLICATION {
        return Err(StoreError::Foreign(path.to_owned()));
    }
    if found > FORMAT {
        return Err(StoreError::Newer { found, known: FORMAT, path: path.to_owned() });
    }
    Ok(found)
}

/// Brings the database to today's format.
pub(crate) fn migrate(connection: &mut Connection, path: &Path) -> Result<()> {
    let found = check(connection, path)?;
    for (step, tables) in STEPS.iter().enumerate().skip(found as usize) {
        let transaction = connection.transaction()?;
        for statements in *tables {
            transaction.execute_batch(statements)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", step as i64 + 1)?;
        transaction.commit()?;
    }
    Ok(())
}
