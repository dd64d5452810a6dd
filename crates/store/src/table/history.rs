//! Raw points of a series, including superseded ones.

use crate::{Reader, Result};
use assay_domain::{Point, RunId};

/// A point with its segment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HistoryPoint {
    /// The point.
    pub point: Point,
    /// The segment: 0, plus one for each resume.
    pub segment: i64,
    /// Whether a later resume superseded it.
    pub is_superseded: bool,
}

impl Reader<'_> {
    /// At most `limit` raw points of a series after the first `offset`, including superseded ones: by segment, in order
    /// of arrival.
    pub fn history(&self, run: RunId, key: &str, offset: usize, limit: usize) -> Result<Vec<HistoryPoint>> {
        let (mut page, mut to_skip) = (Vec::new(), offset);
        for segment in self.segments(run, key)? {
            for (id, count) in self.chunk_counts(segment.series)? {
                if page.len() == limit {
                    return Ok(page);
                }
                if count <= to_skip {
                    to_skip -= count;
                    continue;
                }
                let points = self.chunk_points(id)?;
                let rest = points.iter().skip(std::mem::take(&mut to_skip)).take(limit - page.len());
                page.extend(rest.map(|point| HistoryPoint {
                    point,
                    segment: segment.number,
                    is_superseded: point.step > segment.current_until,
                }));
            }
        }
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::testing::store_with_run;

    #[test]
    fn a_history_has_the_points_that_a_resume_superseded_too_whatever_its_pages() {
        let folder = tempfile::tempdir().unwrap();
        let (store, run) = store_with_run(folder.path());
        let point = |step: i64, value: f64| ("loss".to_owned(), Point { step, wall_ms: step * 10, value });
        let log = |points: Vec<(String, Point)>| store.write(move |tx| tx.append_points(run, &points)).unwrap();
        store.write(move |tx| tx.begin_segment(run, 0)).unwrap();
        log((0..3_000).map(|step| point(step, 1.0)).collect());
        store.write(move |tx| tx.begin_segment(run, 2_500)).unwrap();
        log((2_500..2_700).map(|step| point(step, f64::NAN)).collect());
        store.write(move |tx| tx.begin_segment(run, 2_600)).unwrap();
        log((2_600..2_610).map(|step| point(step, f64::INFINITY)).collect());
        let whole = store.read(|reader| reader.history(run, "loss", 0, usize::MAX)).unwrap();
        let of = |segment: i64| whole.iter().filter(move |found| found.segment == segment);
        assert_eq!([of(0).count(), of(1).count(), of(2).count()], [3_000, 200, 10]);
        let current: Vec<i64> =
            whole.iter().filter(|found| !found.is_superseded).map(|found| found.point.step).collect();
        assert_eq!(current, (0..2_610).collect::<Vec<i64>>());
        assert!(of(2).all(|found| found.point.value.is_infinite() && !found.is_superseded));
        for size in [1_000, 777, 2_999, 1] {
            let mut pages = Vec::new();
            let enough = whole.len().min(size * 5);
            while pages.len() < enough {
                pages.extend(store.read(|reader| reader.history(run, "loss", pages.len(), size)).unwrap());
            }
            let steps = |points: &[HistoryPoint]| {
                points.iter().map(|found| (found.segment, found.point.step)).collect::<Vec<_>>()
            };
            assert_eq!(steps(&pages), steps(&whole[..pages.len()]), "pages of {size}");
        }
        assert!(store.read(|reader| reader.history(run, "other", 0, 10)).unwrap().is_empty());
    }
}
