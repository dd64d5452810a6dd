//! Settings: one JSON value a name.

use super::{from_json, to_json};
use crate::{Reader, Result, WriteTx};
use assay_domain::entity::Event;
use rusqlite::{OptionalExtension, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) const TABLES: &str = "
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
";

impl WriteTx<'_> {
    /// Keeps a setting.
    pub fn set_setting(&mut self, name: &str, value: &impl Serialize) -> Result<()> {
        self.db.execute(
            "INSERT INTO settings (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            params![name, to_json("setting", value)?],
        )?;
        self.emit(&Event::SettingsChanged)
    }
}

impl Reader<'_> {
    /// The setting of this name.
    pub fn setting<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let mut statement = self.db.prepare_cached("SELECT value FROM settings WHERE name = ?1")?;
        Ok(statement.query_row([name], |row| from_json(row, 0)).optional()?)
    }
}
