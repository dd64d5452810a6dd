//! Settings: one JSON value a name.

use super::{from_json, to_json};
use crate::{Reader, Result, WriteTx};
use assay_domain::entity::Event;
use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) const TABLES: &str = "
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
";

impl WriteTx<'_> {
    /// Changes a setting, which begins as its default, and returns it.
    pub fn change_setting<T: Serialize + DeserializeOwned + Default>(
        &mut self,
        name: &str,
        change: impl FnOnce(&mut T),
    ) -> Result<T> {
        let mut value = read::<T>(self.db, name)?.unwrap_or_default();
        change(&mut value);
        self.db.execute(
            "INSERT INTO settings (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            params![name, to_json("setting", &value)?],
        )?;
        self.emit(&Event::SettingsChanged)?;
        Ok(value)
    }
}

impl Reader<'_> {
    /// The setting of this name.
    pub fn setting<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        read(self.db, name)
    }
}

fn read<T: DeserializeOwned>(db: &Connection, name: &str) -> Result<Option<T>> {
    let mut statement = db.prepare_cached("SELECT value FROM settings WHERE name = ?1")?;
    Ok(statement.query_row([name], |row| from_json(row, 0)).optional()?)
}
