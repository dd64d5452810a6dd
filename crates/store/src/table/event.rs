//! The event log.

use super::{from_json, to_json};
use crate::{Reader, Result};
use assay_domain::entity::{Event, SequencedEvent};
use assay_domain::{EventSeq, Timestamp};
use rusqlite::{Connection, params};

pub(crate) const TABLES: &str = "
CREATE TABLE events (seq INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, event TEXT NOT NULL) STRICT;
";

/// Of equal events only the latest is kept, which tells the same: a run that logs for days is one event, not millions.
pub(crate) const ONCE: &str = "
DELETE FROM events WHERE seq NOT IN (SELECT max(seq) FROM events GROUP BY event);
CREATE UNIQUE INDEX events_once ON events (event);
";

pub(crate) fn append(db: &Connection, at: Timestamp, event: &Event) -> Result<EventSeq> {
    db.prepare_cached("REPLACE INTO events (at, event) VALUES (?1, ?2)")?
        .execute(params![at.0, to_json("event", event)?])?;
    Ok(EventSeq(db.last_insert_rowid()))
}

impl Reader<'_> {
    /// At most `limit` events after `after`, in order.
    pub fn events(&self, after: EventSeq, limit: usize) -> Result<Vec<SequencedEvent>> {
        let mut statement =
            self.db.prepare_cached("SELECT seq, at, event FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2")?;
        let events = statement.query_map(params![after.0, limit as i64], |row| {
            Ok(SequencedEvent { seq: EventSeq(row.get(0)?), at: Timestamp(row.get(1)?), event: from_json(row, 2)? })
        })?;
        Ok(events.collect::<rusqlite::Result<_>>()?)
    }

    /// The number of the latest event; 0 without one.
    pub fn last_event(&self) -> Result<EventSeq> {
        Ok(EventSeq(self.db.query_row("SELECT coalesce(max(seq), 0) FROM events", [], |row| row.get(0))?))
    }
}
