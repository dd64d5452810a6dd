//! Metric series: append-only chunks of points with levels of buckets above them.
//!
//! New points come in small plain blocks; once [`points::CHUNK`] of them wait, they are sealed into one compressed
//! chunk with its level. [`points::GROWN`] sealed chunks grow together into one, which is smaller and quicker to read, and is
//! never written again.

use crate::points::{self, Points};
use crate::{Reader, Result, WriteTx};
use assay_domain::alert::{News, Watched};
use assay_domain::column::Which;
use assay_domain::entity::Event;
use assay_domain::query::Value;
use assay_domain::series::{Reducer, Summary};
use assay_domain::{Bucket, Point, RunId};
use rusqlite::{OptionalExtension, Row, params};
use std::collections::{BTreeMap, HashMap};

pub(crate) const TABLES: &str = "
CREATE TABLE segments (run INTEGER NOT NULL, segment INTEGER NOT NULL, first_step INTEGER NOT NULL,
    PRIMARY KEY (run, segment)) STRICT, WITHOUT ROWID;
CREATE TABLE series (
    id INTEGER PRIMARY KEY, run INTEGER NOT NULL, key TEXT NOT NULL, segment INTEGER NOT NULL,
    count INTEGER NOT NULL DEFAULT 0, last REAL, last_step INTEGER NOT NULL DEFAULT 0,
    min REAL, min_step INTEGER, max REAL, max_step INTEGER, waiting INTEGER NOT NULL DEFAULT 0,
    UNIQUE (run, key, segment)
) STRICT;
CREATE INDEX series_by_key ON series (key, run);
CREATE TABLE chunks (
    series INTEGER NOT NULL, number INTEGER NOT NULL, sealed INTEGER NOT NULL, count INTEGER NOT NULL,
    first_step INTEGER NOT NULL, last_step INTEGER NOT NULL, whole BLOB NOT NULL, level BLOB NOT NULL,
    points BLOB NOT NULL, UNIQUE (series, number)
) STRICT;
";

/// When the last value was.
pub(crate) const LAST_WALL: &str = "ALTER TABLE series ADD COLUMN last_wall INTEGER NOT NULL DEFAULT 0;";

/// Sealed chunks that have not grown together yet.
pub(crate) const SMALL: &str = "ALTER TABLE series ADD COLUMN small INTEGER NOT NULL DEFAULT 0;";

/// Whether no later segment has the series.
pub(crate) const IS_LATEST: &str = "
ALTER TABLE series ADD COLUMN is_latest INTEGER NOT NULL DEFAULT 1;
UPDATE series SET is_latest = 0
    WHERE EXISTS (SELECT 1 FROM series AS later WHERE later.run = series.run AND later.key = series.key
                  AND later.segment > series.segment);
";

/// What a chunk is, as its column says.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// A plain block that waits.
    Waiting = 0,
    /// [`points::CHUNK`] points or fewer, with buckets of [`points::BUCKET`] in its level and one bucket of all.
    Sealed = 1,
    /// Several of those, with a compressed level, and a bucket for every [`points::CHUNK`] points.
    Grown = 2,
}

impl Kind {
    fn of(number: i64) -> Kind {
        match number {
            0 => Kind::Waiting,
            1 => Kind::Sealed,
            _ => Kind::Grown,
        }
    }
}

/// The latest segment of each series.
pub(crate) const LATEST: &str = "
CREATE VIEW latest AS SELECT run, key, last, last_step, last_wall FROM series WHERE is_latest;
";

/// Which part of a series, how finely.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SeriesRange {
    /// The first step.
    pub first_step: i64,
    /// The last step.
    pub last_step: i64,
    /// At most so many buckets.
    pub buckets: usize,
}

impl SeriesRange {
    /// The whole series.
    pub fn whole(buckets: usize) -> SeriesRange {
        SeriesRange { first_step: i64::MIN, last_step: i64::MAX, buckets }
    }
}

impl WriteTx<'_> {
    /// Appends points to the series of a run, in arrival order.
    pub fn append_points(&mut self, run: RunId, new: &[(String, Point)]) -> Result<()> {
        let segment: i64 = self
            .db
            .prepare_cached("SELECT coalesce(max(segment), 0) FROM segments WHERE run = ?1")?
            .query_row([run.0], |row| row.get(0))?;
        let mut by_key: BTreeMap<&str, Vec<Point>> = BTreeMap::new();
        for (key, point) in new {
            by_key.entry(key).or_default().push(*point);
        }
        let rules = self.rules_of(Watched::Points)?;
        for (key, points) in by_key {
            let summary = self.append_to_series(run, key, segment, &points)?;
            self.watch_points(&rules, run, &News { key, segment, points: &points, summary: &summary })?;
        }
        self.emit(&Event::MetricsLogged { run })
    }

    fn append_to_series(&mut self, run: RunId, key: &str, segment: i64, new: &[Point]) -> Result<Summary> {
        let of = params![run.0, key, segment];
        let made = self
            .db
            .prepare_cached("INSERT INTO series (run, key, segment) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?
            .execute(of)?;
        if made > 0 && segment > 0 {
            self.db
                .prepare_cached("UPDATE series SET is_latest = 0 WHERE run = ?1 AND key = ?2 AND segment < ?3")?
                .execute(of)?;
        }
        let (series, mut summary, mut waiting, mut small) = self
            .db
            .prepare_cached(&format!(
                "SELECT {SUMMARY}, id, waiting, small FROM series WHERE run = ?1 AND key = ?2 AND segment = ?3"
            ))?
            .query_row(params![run.0, key, segment], |row| {
                let (waiting, small) = (row.get::<_, i64>(9)? as usize, row.get::<_, i64>(10)? as usize);
                Ok((row.get::<_, i64>(8)?, summary_of(row, 0)?, waiting, small))
            })?;
        new.iter().for_each(|&point| summary.add(point));
        // What is large enough by itself is sealed at once.
        if waiting == 0 && new.len() >= points::CHUNK / 2 {
            small += self.put_sealed(series, new)?;
        } else {
            waiting += new.len();
            self.put_chunk(series, new, Kind::Waiting, None)?;
            if waiting >= points::CHUNK {
                small += self.seal(series)?;
                waiting = 0;
            }
        }
        if waiting == 0 && small >= points::GROWN {
            self.grow(series, small)?;
            small = 0;
        }
        self.db
            .prepare_cached(
                "UPDATE series SET count = ?2, last = ?3, last_step = ?4, min = ?5, min_step = ?6, max = ?7,
                 max_step = ?8, waiting = ?9, last_wall = ?10, small = ?11 WHERE id = ?1",
            )?
            .execute(params![
                series,
                summary.count as i64,
                summary.last,
                summary.last_step,
                summary.min.map(|min| min.0),
                summary.min.map(|min| min.1),
                summary.max.map(|max| max.0),
                summary.max.map(|max| max.1),
                waiting as i64,
                summary.last_wall_ms,
                small as i64
            ])?;
        Ok(summary)
    }

    /// Joins the waiting blocks of a series to sealed chunks; returns how many.
    fn seal(&mut self, series: i64) -> Result<usize> {
        let mut statement = self
            .db
            .prepare_cached("SELECT sealed, number, points FROM chunks WHERE series = ?1 ORDER BY number DESC")?;
        let mut blocks = Vec::new();
        let mut first = i64::MAX;
        let mut rows = statement.query([series])?;
        // They are the last ones: what is sealed before them may be long.
        while let Some(row) = rows.next()?
            && Kind::of(row.get(0)?) == Kind::Waiting
        {
            first = row.get(1)?;
            blocks.push(points::decode(row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?)?);
        }
        drop(rows);
        let waiting: Vec<Point> = blocks.iter().rev().flat_map(Points::iter).collect();
        self.db
            .prepare_cached("DELETE FROM chunks WHERE series = ?1 AND number >= ?2")?
            .execute(params![series, first])?;
        self.put_sealed(series, &waiting)
    }

    fn put_sealed(&mut self, series: i64, points: &[Point]) -> Result<usize> {
        let chunks = points.chunks(points::CHUNK);
        let count = chunks.len();
        for chunk in chunks {
            self.put_chunk(series, chunk, Kind::Sealed, None)?;
        }
        Ok(count)
    }

    /// Joins the last so many chunks of a series, all of them sealed, to a grown one.
    fn grow(&mut self, series: i64, count: usize) -> Result<()> {
        let mut statement = self.db.prepare_cached(
            "SELECT number, points FROM (SELECT number, points FROM chunks WHERE series = ?1 ORDER BY number DESC LIMIT ?2)
             ORDER BY number",
        )?;
        let (mut first, mut all) = (None, Vec::new());
        let mut rows = statement.query(params![series, count as i64])?;
        while let Some(row) = rows.next()? {
            first.get_or_insert(row.get::<_, i64>(0)?);
            all.extend(points::decode(row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?)?.iter());
        }
        drop(rows);
        let Some(first) = first else { return Ok(()) };
        self.db
            .prepare_cached("DELETE FROM chunks WHERE series = ?1 AND number >= ?2")?
            .execute(params![series, first])?;
        self.put_chunk(series, &all, Kind::Grown, Some(first))
    }

    /// Stores points as a chunk of this number, the next one without.
    fn put_chunk(&mut self, series: i64, block: &[Point], kind: Kind, number: Option<i64>) -> Result<()> {
        let Some(whole) = points::whole_of(block) else { return Ok(()) };
        let (level, encoded) = match kind {
            Kind::Waiting => (Vec::new(), points::plain(block)),
            Kind::Sealed => (points::encode_buckets(&points::level_of(block)), points::compressed(block)?),
            Kind::Grown => (points::compress_buckets(&points::level_of(block))?, points::compressed(block)?),
        };
        let number = match number {
            Some(number) => number,
            None => self
                .db
                .prepare_cached("SELECT coalesce(max(number) + 1, 0) FROM chunks WHERE series = ?1")?
                .query_row([series], |row| row.get(0))?,
        };
        self.db
            .prepare_cached(
                "INSERT INTO chunks (series, number, sealed, count, first_step, last_step, whole, level, points)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute(params![
                series,
                number,
                kind as i64,
                block.len() as i64,
                whole.step,
                whole.last_step,
                points::encode_buckets(&points::coarse_of(block)),
                level,
                encoded
            ])?;
        Ok(())
    }
}

const SUMMARY: &str = "count, last, last_step, min, min_step, max, max_step, last_wall";

/// Likewise, without superseded points.
const LEFT: &str = "iif(kept_count IS NULL, count, kept_count), iif(kept_count IS NULL, last, kept_last),
    iif(kept_count IS NULL, last_step, kept_last_step), iif(kept_count IS NULL, min, kept_min),
    iif(kept_count IS NULL, min_step, kept_min_step), iif(kept_count IS NULL, max, kept_max),
    iif(kept_count IS NULL, max_step, kept_max_step), iif(kept_count IS NULL, last_wall, kept_last_wall)";

/// The summary in the columns of [`SUMMARY`] from this one on.
fn summary_of(row: &Row<'_>, first: usize) -> rusqlite::Result<Summary> {
    let count = row.get::<_, i64>(first)? as u64;
    let extreme = |value: usize| -> rusqlite::Result<Option<(f64, i64)>> {
        Ok(row.get::<_, Option<f64>>(first + value)?.zip(row.get::<_, Option<i64>>(first + value + 1)?))
    };
    Ok(Summary {
        count,
        // SQLite has no NaN: it becomes NULL.
        last: (count > 0).then_some(row.get::<_, Option<f64>>(first + 1)?.unwrap_or(f64::NAN)),
        last_step: row.get(first + 2)?,
        last_wall_ms: row.get(first + 7)?,
        min: extreme(3)?,
        max: extreme(5)?,
    })
}

/// What the segments of the series of a run, in their order, say together.
fn joined(segments: Vec<(String, Summary)>) -> BTreeMap<String, Summary> {
    let least = |a: Option<(f64, i64)>, b: Option<(f64, i64)>| match (a, b) {
        (Some(a), Some(b)) => Some(if b.0 < a.0 { b } else { a }),
        (a, b) => a.or(b),
    };
    let negated = |extreme: Option<(f64, i64)>| extreme.map(|(value, step)| (-value, step));
    let mut summaries: BTreeMap<String, Summary> = BTreeMap::new();
    for (key, later) in segments.into_iter().filter(|(_, summary)| summary.count > 0) {
        summaries
            .entry(key)
            .and_modify(|earlier| {
                *earlier = Summary {
                    count: earlier.count + later.count,
                    min: least(earlier.min, later.min),
                    max: negated(least(negated(earlier.max), negated(later.max))),
                    ..later
                };
            })
            .or_insert(later);
    }
    summaries
}

/// One segment of a series.
pub(super) struct Segment {
    pub(super) series: i64,
    pub(super) number: i64,
    count: u64,
    /// The steps in which no later segment supersedes it.
    pub(super) current_until: i64,
}

impl Reader<'_> {
    /// The summary of each metric of some runs: of its latest segment, with the extremes of all.
    pub(crate) fn summaries(&self, runs: &[RunId]) -> Result<HashMap<RunId, BTreeMap<String, Summary>>> {
        let select = format!("SELECT run, {LEFT}, key FROM series");
        let read = |row: &Row<'_>| Ok((row.get::<_, String>(9)?, summary_of(row, 1)?));
        let by_run = self.by_run(&select, "segment", runs, read)?.into_iter();
        Ok(by_run.map(|(run, segments)| (run, joined(segments))).collect())
    }

    /// Each run's value of a metric; `of` restricts the runs, as SQL.
    pub(crate) fn metric_values(&self, which: Which, key: &str, of: &str) -> Result<HashMap<RunId, Value>> {
        let column = match which {
            Which::Min => "min(iif(kept_count IS NULL, min, kept_min))",
            Which::Max => "max(iif(kept_count IS NULL, max, kept_max))",
            // SQLite takes a bare column from the row of the greatest segment.
            Which::Last => "iif(kept_count IS NULL, last, kept_last), max(segment)",
        };
        let mut statement = self.db.prepare(&format!(
            "SELECT run, {column} FROM series WHERE key = ?1 AND kept_count IS NOT 0 {of} GROUP BY run"
        ))?;
        let rows = statement.query_map([key], |row| {
            Ok((RunId(row.get(0)?), Value::Number(row.get::<_, Option<f64>>(1)?.unwrap_or(f64::NAN))))
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// A series as a chart needs it: at most `range.buckets` buckets in step order, read from the coarsest level that
    /// is fine enough. Segments that a resumed run superseded are left out. Empty when there is no such series.
    pub fn series(&self, run: RunId, key: &str, range: SeriesRange) -> Result<Vec<Bucket>> {
        let mut parts = Vec::new();
        for segment in self.segments(run, key)? {
            let last_step = range.last_step.min(segment.current_until);
            let chunks = self.chunks(segment.series, range.first_step, last_step)?;
            parts.push((segment, last_step, chunks));
        }
        let chunks =
            || parts.iter().flat_map(|(_, last_step, chunks)| chunks.iter().map(move |chunk| (chunk, *last_step)));
        let first = chunks().map(|(chunk, _)| chunk.first_step.max(range.first_step)).min();
        let last = chunks().map(|(chunk, last_step)| chunk.last_step.min(last_step)).max();
        let Some((first, last)) = first.zip(last) else { return Ok(Vec::new()) };
        let mut reducer = Reducer::new(first, last, range.buckets);
        for (segment, last_step, chunks) in parts {
            let finest = segment.count as usize <= range.buckets.saturating_mul(4).max(points::CHUNK);
            let in_range: usize = chunks.iter().map(|chunk| chunk.points).sum();
            let fine_enough = |size: usize| !finest && in_range / size >= range.buckets.max(1) * 2;
            let inside = |step: i64| step >= range.first_step && step <= last_step;
            for chunk in chunks {
                let is_within = inside(chunk.first_step) && inside(chunk.last_step);
                let is_summed = is_within && chunk.kind != Kind::Waiting;
                if is_summed && fine_enough(points::CHUNK) {
                    self.chunk_buckets(chunk.id, "whole", Kind::Sealed)?.into_iter().for_each(|one| reducer.add(one));
                } else if is_summed && fine_enough(points::BUCKET) {
                    self.chunk_buckets(chunk.id, "level", chunk.kind)?.into_iter().for_each(|one| reducer.add(one));
                } else {
                    let points = self.chunk_points(chunk.id)?;
                    reducer.add_points(points.iter().filter(|point| inside(point.step)));
                }
            }
        }
        Ok(reducer.finish())
    }

    /// The chunks of a series that may have points in a range of steps, in the order of their arrival.
    pub(super) fn chunks(&self, series: i64, first_step: i64, last_step: i64) -> Result<Vec<Chunk>> {
        let mut statement = self.db.prepare_cached(
            "SELECT rowid, sealed, count, first_step, last_step FROM chunks
             WHERE series = ?1 AND last_step >= ?2 AND first_step <= ?3 ORDER BY number",
        )?;
        let rows = statement.query_map(params![series, first_step, last_step], |row| {
            Ok(Chunk {
                id: row.get(0)?,
                kind: Kind::of(row.get(1)?),
                points: row.get::<_, i64>(2)? as usize,
                first_step: row.get(3)?,
                last_step: row.get(4)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Buckets of a column of a chunk, laid out as in one of this kind.
    fn chunk_buckets(&self, id: i64, column: &str, kind: Kind) -> Result<Vec<Bucket>> {
        let mut statement = self.db.prepare_cached(&format!("SELECT {column} FROM chunks WHERE rowid = ?1"))?;
        let mut rows = statement.query([id])?;
        let Some(row) = rows.next()? else { return Ok(Vec::new()) };
        let bytes = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
        match kind {
            Kind::Grown => points::decompress_buckets(bytes),
            Kind::Waiting | Kind::Sealed => points::decode_buckets(bytes),
        }
    }

    pub(super) fn chunk_points(&self, id: i64) -> Result<Points> {
        let mut statement = self.db.prepare_cached("SELECT points FROM chunks WHERE rowid = ?1")?;
        let mut rows = statement.query([id])?;
        match rows.next()? {
            Some(row) => points::decode(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?),
            None => Ok(Points::default()),
        }
    }

    /// The chunks of a series in their order, by row id, with the number of points in each.
    pub(super) fn chunk_counts(&self, series: i64) -> Result<Vec<(i64, usize)>> {
        let mut statement =
            self.db.prepare_cached("SELECT rowid, count FROM chunks WHERE series = ?1 ORDER BY number")?;
        let rows = statement.query_map([series], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as usize)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Every point of a series that is not superseded, in arrival order.
    pub fn points(&self, run: RunId, key: &str) -> Result<Vec<Point>> {
        self.points_page(run, key, 0, usize::MAX)
    }

    /// At most `limit` of those points after the first `offset` ones; chunks before them are not read.
    pub fn points_page(&self, run: RunId, key: &str, offset: usize, limit: usize) -> Result<Vec<Point>> {
        let (mut page, mut to_skip) = (Vec::new(), offset);
        for segment in self.segments(run, key)? {
            for (id, count) in self.chunk_counts(segment.series)? {
                if page.len() == limit {
                    return Ok(page);
                }
                if segment.current_until == i64::MAX && count <= to_skip {
                    to_skip -= count;
                    continue;
                }
                let points = self.chunk_points(id)?;
                for point in points.iter().filter(|point| point.step <= segment.current_until) {
                    if to_skip > 0 {
                        to_skip -= 1;
                    } else if page.len() < limit {
                        page.push(point);
                    }
                }
            }
        }
        Ok(page)
    }

    /// The segments of a series in their order.
    pub(super) fn segments(&self, run: RunId, key: &str) -> Result<Vec<Segment>> {
        let mut statement = self
            .db
            .prepare_cached("SELECT id, segment, count FROM series WHERE run = ?1 AND key = ?2 ORDER BY segment")?;
        let rows =
            statement.query_map(params![run.0, key], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?)))?;
        let found: Vec<(i64, i64, i64)> = rows.collect::<rusqlite::Result<_>>()?;
        let mut segments = Vec::new();
        for (series, segment, count) in found {
            let next: Option<i64> = self
                .db
                .prepare_cached(
                    "SELECT min(first_step) FROM segments WHERE run = ?1 AND segment > ?2 AND key IN ('', ?3)",
                )?
                .query_row(params![run.0, segment, key], |row| row.get(0))
                .optional()?
                .flatten();
            let current_until = next.map_or(i64::MAX, |first| first.saturating_sub(1));
            segments.push(Segment { series, number: segment, count: count as u64, current_until });
        }
        Ok(segments)
    }
}

pub(super) struct Chunk {
    pub(super) id: i64,
    kind: Kind,
    points: usize,
    first_step: i64,
    last_step: i64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::testing::store_with_run;

    #[test]
    fn chunks_grow_together_and_every_point_and_spike_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (store, run) = store_with_run(folder.path());
        let mut all: Vec<Point> = Vec::new();
        for (turn, size) in [1, 700, 3, 1500, 1000, 20, 5000].into_iter().cycle().take(70).enumerate() {
            let begin = all.len() as i64;
            let new: Vec<Point> = (begin..begin + size)
                // Now and then some come late.
                .map(|step| Point {
                    step: step - i64::from(turn % 9 == 4) * 50,
                    wall_ms: step,
                    value: (step * 37 % 1001) as f64,
                })
                .collect();
            all.extend(&new);
            let named: Vec<(String, Point)> = new.into_iter().map(|point| ("loss".to_owned(), point)).collect();
            store.write(move |tx| tx.append_points(run, &named)).unwrap();
        }
        assert_eq!(store.read(|reader| reader.points(run, "loss")).unwrap(), all, "in the order of their arrival");
        let kinds: Vec<(i64, i64)> = store
            .read(|reader| {
                let mut statement = reader.db.prepare("SELECT sealed, count(*) FROM chunks GROUP BY sealed")?;
                let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
                Ok(rows.collect::<rusqlite::Result<Vec<(i64, i64)>>>()?)
            })
            .unwrap();
        let grown = kinds.iter().find(|(kind, _)| *kind == Kind::Grown as i64).map_or(0, |(_, count)| *count);
        let chunks: i64 = kinds.iter().map(|(_, count)| *count).sum();
        assert!(grown >= 4 && chunks < grown + 2 * points::GROWN as i64, "{kinds:?}");
        let last = all.len() as i64;
        for (first_step, last_step, buckets) in
            [(i64::MIN, i64::MAX, 10), (i64::MIN, i64::MAX, 500), (1000, last - 777, 3), (30_000, 30_100, 50)]
        {
            let range = SeriesRange { first_step, last_step, buckets };
            let found = store.read(|reader| reader.series(run, "loss", range)).unwrap();
            let inside: Vec<&Point> =
                all.iter().filter(|point| (first_step..=last_step).contains(&point.step)).collect();
            assert!(found.len() <= buckets);
            assert_eq!(found.iter().map(|bucket| bucket.count).sum::<u64>(), inside.len() as u64, "{range:?}");
            let most = inside.iter().map(|point| point.value).fold(f64::MIN, f64::max);
            assert_eq!(found.iter().map(|bucket| bucket.max).fold(f64::MIN, f64::max), most, "{range:?}");
        }
        let summary =
            store.read(|reader| reader.summaries(&[run])).unwrap().remove(&run).unwrap().remove("loss").unwrap();
        assert_eq!((summary.count, summary.last_step), (all.len() as u64, all.iter().map(|p| p.step).max().unwrap()));
    }
}
