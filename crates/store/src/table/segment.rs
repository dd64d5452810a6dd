//! Segments: each restart of a run at a step supersedes earlier points from there on, which stay readable.

use crate::{Result, WriteTx};
use assay_domain::RunId;
use assay_domain::series::Summary;
use rusqlite::params;

/// Summaries of partly superseded segments up to where they are cut (`kept_count` is NULL if uncut), and the metric of
/// a segment ('' for all).
pub(crate) const KEPT: &str = "
ALTER TABLE segments ADD COLUMN key TEXT NOT NULL DEFAULT '';
ALTER TABLE series ADD COLUMN kept_count INTEGER;
ALTER TABLE series ADD COLUMN kept_last REAL;
ALTER TABLE series ADD COLUMN kept_last_step INTEGER;
ALTER TABLE series ADD COLUMN kept_last_wall INTEGER;
ALTER TABLE series ADD COLUMN kept_min REAL;
ALTER TABLE series ADD COLUMN kept_min_step INTEGER;
ALTER TABLE series ADD COLUMN kept_max REAL;
ALTER TABLE series ADD COLUMN kept_max_step INTEGER;
DROP VIEW latest;
CREATE VIEW latest AS SELECT run, key, iif(kept_count IS NULL, last, kept_last) AS last,
    iif(kept_count IS NULL, last_step, kept_last_step) AS last_step,
    iif(kept_count IS NULL, last_wall, kept_last_wall) AS last_wall
    FROM series WHERE is_latest AND kept_count IS NOT 0;
";

impl WriteTx<'_> {
    /// Begins a new segment at this step, which supersedes earlier points from there on.
    pub fn begin_segment(&mut self, run: RunId, first_step: i64) -> Result<()> {
        self.put_segment(run, first_step, "")
    }

    /// Begins a new segment at this step for those metrics (all, if `keys` is empty) with points from there on. Returns
    /// whether any have.
    pub fn supersede(&mut self, run: RunId, first_step: i64, keys: &[String]) -> Result<bool> {
        let has_points = |key: &str| -> Result<bool> {
            let sql = "SELECT 1 FROM series WHERE run = ?1 AND (?2 = '' OR key = ?2)
                       AND coalesce(kept_count, count) > 0 AND coalesce(kept_last_step, last_step) >= ?3";
            Ok(self.db.prepare_cached(sql)?.exists(params![run.0, key, first_step])?)
        };
        let mut superseded = Vec::new();
        for key in if keys.is_empty() { vec![""] } else { keys.iter().map(String::as_str).collect() } {
            if has_points(key)? {
                superseded.push(key);
            }
        }
        superseded.iter().try_for_each(|key| self.put_segment(run, first_step, key))?;
        Ok(!superseded.is_empty())
    }

    /// Stores a segment of a metric; of all, if empty.
    fn put_segment(&mut self, run: RunId, first_step: i64, key: &str) -> Result<()> {
        // Points logged by a client have segment 0 without a row.
        self.db.execute(
            "INSERT INTO segments (run, segment, first_step, key)
             SELECT ?1, coalesce(max(segment) + 1, 0), ?2, ?3 FROM
                 (SELECT segment FROM segments WHERE run = ?1 UNION ALL SELECT segment FROM series WHERE run = ?1)",
            params![run.0, first_step, key],
        )?;
        let mut cut = self.db.prepare_cached(
            "SELECT DISTINCT key FROM series WHERE run = ?1 AND (?2 = '' OR key = ?2)
             AND coalesce(kept_count, count) > 0 AND coalesce(kept_last_step, last_step) >= ?3",
        )?;
        let cut = cut.query_map(params![run.0, key, first_step], |row| row.get(0))?;
        for key in cut.collect::<rusqlite::Result<Vec<String>>>()? {
            self.keep_what_is_left(run, &key)?;
        }
        Ok(())
    }

    /// Summarises what remains of a metric's segments.
    fn keep_what_is_left(&self, run: RunId, key: &str) -> Result<()> {
        for segment in self.reader().segments(run, key)?.into_iter().filter(|one| one.current_until < i64::MAX) {
            let mut left = Summary::default();
            for chunk in self.reader().chunks(segment.series, i64::MIN, segment.current_until)? {
                let points = self.reader().chunk_points(chunk.id)?;
                points.iter().filter(|point| point.step <= segment.current_until).for_each(|point| left.add(point));
            }
            self.db
                .prepare_cached(
                    "UPDATE series SET kept_count = ?2, kept_last = ?3, kept_last_step = ?4, kept_last_wall = ?5,
                     kept_min = ?6, kept_min_step = ?7, kept_max = ?8, kept_max_step = ?9 WHERE id = ?1",
                )?
                .execute(params![
                    segment.series,
                    left.count as i64,
                    left.last,
                    left.last_step,
                    left.last_wall_ms,
                    left.min.map(|min| min.0),
                    left.min.map(|min| min.1),
                    left.max.map(|max| max.0),
                    left.max.map(|max| max.1)
                ])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::SeriesRange;
    use crate::table::testing::store_with_run;
    use assay_domain::Point;
    use assay_domain::column::Which;
    use assay_domain::query::Value;
    use std::collections::HashMap;

    #[test]
    fn what_a_later_segment_supersedes_is_in_no_figure_and_stays_readable() {
        let folder = tempfile::tempdir().unwrap();
        let (store, run) = store_with_run(folder.path());
        let point = |key: &str, step: i64, value: f64| (key.to_owned(), Point { step, wall_ms: step, value });
        let old: Vec<(String, Point)> = (0..10)
            .flat_map(|step| [point("loss", step, 100.0 - step as f64), point("acc", step, step as f64)])
            .collect();
        store.write(move |tx| tx.append_points(run, &old)).unwrap();
        let superseded = |step, keys: &[&str]| {
            let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
            store.write(move |tx| tx.supersede(run, step, &keys)).unwrap()
        };
        let summary = |key: &str| {
            let mut all = store.read(|reader| reader.summaries(&[run])).unwrap().remove(&run).unwrap_or_default();
            all.remove(key).map(|one| (one.count, one.last, one.last_step, one.min, one.max))
        };
        assert!(!superseded(10, &[]), "nothing is beyond");
        assert!(superseded(4, &["loss", "nosuch"]));
        assert_eq!(summary("loss"), Some((4, Some(97.0), 3, Some((97.0, 3)), Some((100.0, 0)))));
        assert_eq!(summary("acc").map(|one| one.0), Some(10), "another metric is left alone");
        let new = vec![point("loss", 4, 50.0), point("loss", 5, f64::NAN)];
        store.write(move |tx| tx.append_points(run, &new)).unwrap();
        let (count, last, ..) = summary("loss").unwrap();
        assert!(count == 6 && last.is_some_and(f64::is_nan));
        // All at once, then from before.
        assert!(superseded(2, &[]));
        assert_eq!(summary("loss"), Some((2, Some(99.0), 1, Some((99.0, 1)), Some((100.0, 0)))));
        assert_eq!(summary("acc"), Some((2, Some(1.0), 1, Some((0.0, 0)), Some((1.0, 1)))));
        assert!(superseded(0, &["acc"]) && summary("acc").is_none());
        let least = store.read(|reader| reader.metric_values(Which::Max, "loss", "")).unwrap();
        assert_eq!(least[&run], Value::Number(100.0));
        assert_eq!(store.read(|reader| reader.metric_values(Which::Last, "acc", "")).unwrap(), HashMap::new());
        let drawn = store.read(|reader| reader.series(run, "loss", SeriesRange::whole(100))).unwrap();
        assert_eq!(drawn.iter().map(|bucket| bucket.step).collect::<Vec<_>>(), [0, 1]);
        let all: i64 = store
            .read(|reader| Ok(reader.db.query_row("SELECT sum(count) FROM series", [], |row| row.get(0))?))
            .unwrap();
        assert_eq!(all, 22, "every point is there");
    }
}
