//! Directions of metrics, as declared by people and clients.

use super::unknown_word;
use crate::{Reader, Result, WriteTx};
use assay_domain::entity::Event;
use assay_domain::{Best, Directions};
use rusqlite::{OptionalExtension, Row, params};
use std::collections::BTreeMap;

pub(crate) const TABLES: &str = "
CREATE TABLE metric_directions (key TEXT PRIMARY KEY, best TEXT NOT NULL) STRICT, WITHOUT ROWID;
";

/// Prefix of tags that declare a metric's direction: `assay.best.wer` is `min`.
const TAG: &str = "assay.best.";

fn best_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Best> {
    let word: String = row.get(column)?;
    Best::parse(&word).ok_or_else(|| unknown_word(column, &word))
}

impl WriteTx<'_> {
    /// Declares a metric's direction, or withdraws it.
    pub fn declare_direction(&mut self, key: &str, best: Option<Best>) -> Result<()> {
        let mut statement = self.db.prepare_cached("SELECT best FROM metric_directions WHERE key = ?1")?;
        let before = statement.query_row([key], |row| best_of(row, 0)).optional()?;
        drop(statement);
        if before == best {
            return Ok(());
        }
        match best {
            Some(best) => self
                .db
                .execute("REPLACE INTO metric_directions (key, best) VALUES (?1, ?2)", params![key, best.as_str()])?,
            None => self.db.execute("DELETE FROM metric_directions WHERE key = ?1", [key])?,
        };
        self.emit(&Event::DirectionsChanged)
    }

    /// Declares the direction in a client's tag, if it is such a tag.
    pub(super) fn declare_by_tag(&mut self, tag: &str, value: &str) -> Result<()> {
        match (tag.strip_prefix(TAG), Best::parse(value)) {
            (Some(key), Some(best)) if !key.is_empty() => self.declare_direction(key, Some(best)),
            _ => Ok(()),
        }
    }
}

impl Reader<'_> {
    /// The directions of all metrics.
    pub fn directions(&self) -> Result<Directions> {
        let mut statement = self.db.prepare_cached("SELECT key, best FROM metric_directions")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, best_of(row, 1)?)))?;
        Ok(Directions::new(rows.collect::<rusqlite::Result<BTreeMap<String, Best>>>()?))
    }
}
