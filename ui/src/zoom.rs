//! Zoomed charts: the finer buckets of the steps that are in view.

use crate::api::Api;
use assay_domain::Bucket;
use assay_protocol::{SeriesQuery, SeriesReply, path};
use std::sync::Arc;

/// Buckets that are asked for a window; a view has at least half of them.
const BUCKETS: usize = 1200;

/// What the charts of a group show.
#[derive(Default)]
pub(crate) struct Zoom {
    /// The first and last step in view of a chart that shows clearly less than all.
    view: Option<(f64, f64)>,
}

impl Zoom {
    /// Remembers what a zoomed chart shows; nothing when none is.
    pub(crate) fn shows(&mut self, view: Option<(f64, f64)>) {
        self.view = view;
    }

    /// The series with finer buckets where the view has any; as they are until those arrive.
    pub(crate) fn refined(
        &self,
        api: &Api,
        query: &SeriesQuery,
        series: &Arc<Vec<SeriesReply>>,
    ) -> Arc<Vec<SeriesReply>> {
        let Some(view) = self.view else { return series.clone() };
        let coarse = |bucket: &Bucket| {
            bucket.count + bucket.odd > 1 && bucket.step as f64 <= view.1 && bucket.last_step as f64 >= view.0
        };
        if !series.iter().flat_map(|series| &series.buckets).any(coarse) {
            return series.clone();
        }
        let (first, last) = window(view);
        let query =
            SeriesQuery { first_step: Some(first), last_step: Some(last), buckets: Some(BUCKETS), ..query.clone() };
        let Some(fine) = api.get::<Vec<SeriesReply>>(&format!("{}{}", path::SERIES, query.to_query())).value else {
            return series.clone();
        };
        let refine = |coarse: &SeriesReply| {
            let found = fine.iter().find(|fine| fine.run == coarse.run && fine.key == coarse.key);
            let fine = found.map(|found| found.buckets.as_slice()).unwrap_or_default();
            SeriesReply { buckets: spliced(&coarse.buckets, fine, first, last), ..coarse.clone() }
        };
        Arc::new(series.iter().map(refine).collect())
    }
}

/// Whether a view of a chart shows clearly less than all of it: only then is anything asked for or copied in a frame.
pub(crate) fn is_zoomed<'a>(view: (f64, f64), buckets: impl Iterator<Item = &'a Bucket>) -> bool {
    let ends = buckets
        .fold((i64::MAX, i64::MIN), |(first, last), bucket| (first.min(bucket.step), last.max(bucket.last_step)));
    view.1 - view.0 < 0.75 * (ends.1 as f64 - ends.0 as f64)
}

/// The steps to ask for: the view and a little more, on a grid, so that moving it asks rarely.
fn window(view: (f64, f64)) -> (i64, i64) {
    let width = (view.1 - view.0).max(1.0).ceil() as i64;
    let grid = (width.saturating_add(1).max(4) as u64).next_power_of_two() as i64 / 4;
    let first = (view.0.floor() as i64).div_euclid(grid) * grid;
    let last = (view.1.ceil() as i64).div_euclid(grid).saturating_add(1).saturating_mul(grid);
    (first.max(0), last)
}

/// The coarse buckets with the fine ones in place of those from `first` to `last`.
fn spliced(coarse: &[Bucket], fine: &[Bucket], first: i64, last: i64) -> Vec<Bucket> {
    let before = coarse.iter().filter(|bucket| bucket.last_step < first);
    let after = coarse.iter().filter(|bucket| bucket.step > last);
    before.chain(fine).chain(after).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(step: i64, last_step: i64) -> Bucket {
        let count = (last_step - step + 1) as u64;
        Bucket { step, last_step, wall_ms: 0, count, odd: 0, min: 0.0, max: 0.0, mean: 0.0 }
    }

    #[test]
    fn a_window_covers_the_view_and_moves_rarely() {
        for view in [(0.0, 1.0), (1000.5, 1100.2), (7.0, 1e6), (-20.0, 30.0)] {
            let (first, last) = window(view);
            assert!(first as f64 <= view.0.max(0.0) && last as f64 >= view.1);
            assert!((last - first) as f64 <= 2.0 * (view.1 - view.0).max(4.0) + 4.0, "{view:?}: {first} to {last}");
        }
        assert_eq!(window((1000.0, 1100.0)), window((1003.0, 1103.0)));
    }

    #[test]
    fn the_whole_is_no_zoom() {
        let buckets = [bucket(0, 499), bucket(500, 999)];
        assert!(!is_zoomed((-20.0, 1020.0), buckets.iter()));
        assert!(is_zoomed((100.0, 300.0), buckets.iter()));
        assert!(!is_zoomed((0.0, 1.0), [].iter()));
    }

    #[test]
    fn fine_buckets_stand_in_for_the_coarse_ones() {
        let coarse = [bucket(0, 9), bucket(10, 19), bucket(20, 29)];
        let fine: Vec<Bucket> = (10..20).map(|step| bucket(step, step)).collect();
        let steps: Vec<i64> = spliced(&coarse, &fine, 10, 19).iter().map(|bucket| bucket.step).collect();
        assert_eq!(steps, [0, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]);
    }
}
