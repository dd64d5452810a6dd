//! One file a table: its migration, its rows, and the functions that read and write it.

pub(crate) mod alert;
pub(crate) mod artifact;
pub(crate) mod client_run;
pub(crate) mod dataset;
pub(crate) mod direction;
pub(crate) mod evaluation;
pub(crate) mod event;
pub(crate) mod experiment;
pub(crate) mod history;
pub(crate) mod job;
pub(crate) mod label;
pub(crate) mod logged;
pub(crate) mod registry;
pub(crate) mod run;
pub(crate) mod run_list;
pub(crate) mod sample;
pub(crate) mod search;
pub(crate) mod segment;
pub(crate) mod series;
pub(crate) mod setting;
pub(crate) mod snapshot;
pub(crate) mod source;
#[cfg(test)]
mod testing;

use crate::{Result, StoreError};
use rusqlite::types::{Type, ValueRef};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Stores a value as JSON.
pub(crate) fn to_json(what: &'static str, value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|why| StoreError::unreadable(what, why))
}

/// Reads a JSON column.
fn from_json<T: DeserializeOwned>(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text = match row.get_ref(column)? {
        ValueRef::Text(text) => text,
        _ => return Err(rusqlite::Error::InvalidColumnType(column, "json".into(), Type::Text)),
    };
    serde_json::from_slice(text)
        .map_err(|why| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, why.into()))
}

/// A word that is no longer in its enum.
fn unknown_word(column: usize, word: &str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, format!("unknown word {word:?}").into())
}
