//! A metric series and its reduction for a chart: never more numbers than pixels, never a hidden spike.

use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

/// One logged value. The value may be NaN or infinite; steps may come twice and in any order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The optimizer step (or whatever the run counts).
    pub step: i64,
    /// When it was logged, in milliseconds since the Unix epoch.
    pub wall_ms: i64,
    /// The value.
    pub value: f64,
}

/// What a chart draws for one stretch of steps: the extremes keep every spike, the mean carries the line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// The first step in the bucket.
    pub step: i64,
    /// The last step in the bucket.
    pub last_step: i64,
    /// The wall time of its first point in arrival order, in milliseconds since the Unix epoch.
    pub wall_ms: i64,
    /// How many finite values it holds.
    pub count: u64,
    /// How many NaN and infinite values it holds.
    pub odd: u64,
    /// The least finite value (NaN without one).
    pub min: f64,
    /// The greatest finite value (NaN without one).
    pub max: f64,
    /// The mean of the finite values (NaN without one).
    pub mean: f64,
}

impl Bucket {
    /// The bucket of one point.
    pub fn of(point: Point) -> Bucket {
        let finite = point.value.is_finite();
        let value = if finite { point.value } else { f64::NAN };
        Bucket {
            step: point.step,
            last_step: point.step,
            wall_ms: point.wall_ms,
            count: u64::from(finite),
            odd: u64::from(!finite),
            min: value,
            max: value,
            mean: value,
        }
    }

    /// The bucket of both, `other` having arrived later.
    pub fn merged(self, other: Bucket) -> Bucket {
        let count = self.count + other.count;
        let mean = match (self.count, other.count) {
            (_, 0) => self.mean,
            (0, _) => other.mean,
            (a, b) => self.mean + (other.mean - self.mean) * (b as f64 / (a + b) as f64),
        };
        Bucket {
            step: self.step.min(other.step),
            last_step: self.last_step.max(other.last_step),
            wall_ms: self.wall_ms,
            count,
            odd: self.odd + other.odd,
            min: self.min.min(other.min),
            max: self.max.max(other.max),
            mean,
        }
    }
}

/// Gathers points and buckets into at most so many buckets of equal width over a span of steps; empty stretches leave no
/// bucket. A span of no more steps than buckets gets a bucket for each step.
///
/// They may come in any order of steps. Duplicated steps fall into one bucket.
pub struct Reducer {
    low: i64,
    /// The steps of the span.
    width: u128,
    reduced: Vec<Option<Bucket>>,
    open: Option<Stretch>,
}

/// Points of one bucket that come one after the other, before they are merged into it.
struct Stretch {
    place: usize,
    /// The steps that belong to the place.
    steps: RangeInclusive<i64>,
    bucket: Bucket,
    /// The sum of its finite values times [`SCALE`].
    sum: f64,
}

/// Keeps the sum of huge values finite; a power of two, which costs no digit.
const SCALE: f64 = 1.0 / (1u64 << 32) as f64;

impl Reducer {
    /// Of the steps from `first_step` to `last_step`; what lies outside goes to the bucket at that end.
    pub fn new(first_step: i64, last_step: i64, buckets: usize) -> Reducer {
        let width = (i128::from(last_step) - i128::from(first_step)).max(0) as u128 + 1;
        let places = width.min(buckets.max(1) as u128) as usize;
        Reducer { low: first_step, width, reduced: vec![None; places], open: None }
    }

    /// Adds a bucket, in the place of its first step.
    pub fn add(&mut self, bucket: Bucket) {
        self.close();
        self.merge(self.place(bucket.step), bucket);
    }

    /// Adds points; those of ascending steps take the least time.
    pub fn add_points(&mut self, points: impl IntoIterator<Item = Point>) {
        for point in points {
            let Stretch { bucket, sum, .. } = match &mut self.open {
                Some(open) if open.steps.contains(&point.step) => open,
                _ => {
                    self.close();
                    let stretch = self.stretch(point);
                    self.open.insert(stretch)
                }
            };
            bucket.step = bucket.step.min(point.step);
            bucket.last_step = bucket.last_step.max(point.step);
            if point.value.is_finite() {
                bucket.count += 1;
                bucket.min = bucket.min.min(point.value);
                bucket.max = bucket.max.max(point.value);
                *sum += point.value * SCALE;
            } else {
                bucket.odd += 1;
            }
        }
    }

    /// The buckets in step order.
    pub fn finish(mut self) -> Vec<Bucket> {
        self.close();
        self.reduced.into_iter().flatten().collect()
    }

    fn place(&self, step: i64) -> usize {
        let offset = (i128::from(step) - i128::from(self.low)).max(0) as u128;
        ((offset * self.reduced.len() as u128 / self.width) as usize).min(self.reduced.len() - 1)
    }

    /// One that begins with this point, without it.
    fn stretch(&self, point: Point) -> Stretch {
        let place = self.place(point.step);
        let begin = |place: usize| (place as u128 * self.width).div_ceil(self.reduced.len() as u128) as i128;
        let (first, last) = (i128::from(self.low) + begin(place), i128::from(self.low) + begin(place + 1) - 1);
        let Point { step, wall_ms, .. } = point;
        let none = f64::NAN;
        let bucket = Bucket { step, last_step: step, wall_ms, count: 0, odd: 0, min: none, max: none, mean: none };
        Stretch { place, steps: first as i64..=last as i64, bucket, sum: 0.0 }
    }

    fn close(&mut self) {
        let Some(Stretch { place, mut bucket, sum, .. }) = self.open.take() else { return };
        let mean = sum / bucket.count as f64 / SCALE;
        bucket.mean = mean.max(bucket.min).min(bucket.max);
        self.merge(place, bucket);
    }

    fn merge(&mut self, place: usize, bucket: Bucket) {
        let there = &mut self.reduced[place];
        *there = Some(there.map_or(bucket, |there| there.merged(bucket)));
    }
}

/// What the run table shows of a series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// How many points there are.
    pub count: u64,
    /// The value at the greatest step (of several, the one of the latest wall time; of several, the greatest).
    #[serde(default, with = "crate::number::json_option")]
    pub last: Option<f64>,
    /// The greatest step.
    pub last_step: i64,
    /// The wall time of the last value, in milliseconds since the Unix epoch.
    #[serde(default)]
    pub last_wall_ms: i64,
    /// The least finite value and its step.
    pub min: Option<(f64, i64)>,
    /// The greatest finite value and its step.
    pub max: Option<(f64, i64)>,
}

impl Summary {
    /// Takes one more point into account.
    pub fn add(&mut self, point: Point) {
        let last = (self.last_step, self.last_wall_ms);
        let is_later = match (point.step, point.wall_ms).cmp(&last) {
            std::cmp::Ordering::Equal => self.last.is_none_or(|value| point.value > value || value.is_nan()),
            order => order.is_gt(),
        };
        if self.count == 0 || is_later {
            self.last = Some(point.value);
            self.last_step = point.step;
            self.last_wall_ms = point.wall_ms;
        }
        self.count += 1;
        if point.value.is_finite() {
            if self.min.is_none_or(|(least, _)| point.value < least) {
                self.min = Some((point.value, point.step));
            }
            if self.max.is_none_or(|(greatest, _)| point.value > greatest) {
                self.max = Some((point.value, point.step));
            }
        }
    }
}

/// The exponential moving average of `values` with weight `smoothing` in 0..1 on the past, debiased so that the first
/// values are not drawn towards zero (Kingma and Ba 2015, section 3). A value that is not finite is passed through and
/// does not spoil what follows.
pub fn smoothed(values: impl IntoIterator<Item = f64>, smoothing: f64) -> Vec<f64> {
    let weight = smoothing.clamp(0.0, 0.9999);
    let (mut average, mut correction) = (0.0, 0.0);
    values
        .into_iter()
        .map(|value| {
            if !value.is_finite() {
                return value;
            }
            average = weight * average + (1.0 - weight) * value;
            correction = weight * correction + (1.0 - weight);
            average / correction
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn point(step: i64, value: f64) -> Point {
        Point { step, wall_ms: 0, value }
    }

    proptest! {
        #[test]
        fn no_spike_and_no_point_is_lost(
            values in prop::collection::vec((-5_000i64..5_000, prop_oneof![9 => -1e6..1e6f64, 1 => Just(f64::NAN)]), 1..400),
            buckets in 1usize..60,
        ) {
            let (low, high) = (values.iter().map(|v| v.0).min().unwrap(), values.iter().map(|v| v.0).max().unwrap());
            let mut reducer = Reducer::new(low, high, buckets);
            // Some come as buckets.
            for part in values.chunks(7) {
                match part {
                    [(step, value)] => reducer.add(Bucket::of(point(*step, *value))),
                    _ => reducer.add_points(part.iter().map(|&(step, value)| point(step, value))),
                }
            }
            let reduced = reducer.finish();
            prop_assert!(reduced.len() <= buckets);
            let finite: Vec<f64> = values.iter().map(|v| v.1).filter(|v| v.is_finite()).collect();
            let total: u64 = reduced.iter().map(|b| b.count + b.odd).sum();
            prop_assert_eq!(total as usize, values.len());
            let greatest = finite.iter().copied().fold(f64::NAN, f64::max);
            let drawn = reduced.iter().map(|b| b.max).fold(f64::NAN, f64::max);
            prop_assert!(greatest == drawn || (greatest.is_nan() && drawn.is_nan()));
            prop_assert!(reduced.windows(2).all(|pair| pair[0].last_step < pair[1].step));
            for bucket in reduced.iter().filter(|b| b.count > 0) {
                prop_assert!(bucket.min <= bucket.mean + 1e-6 && bucket.mean <= bucket.max + 1e-6);
            }
        }

        #[test]
        fn the_summary_is_what_a_scan_finds(values in prop::collection::vec((0i64..50, -1e3..1e3f64), 1..80)) {
            let mut summary = Summary::default();
            values.iter().for_each(|&(step, value)| summary.add(point(step, value)));
            let last_step = values.iter().map(|v| v.0).max().unwrap_or_default();
            let last = values.iter().filter(|v| v.0 == last_step).map(|v| v.1).reduce(f64::max);
            prop_assert_eq!((summary.last_step, summary.last), (last_step, last));
            prop_assert_eq!(summary.min.map(|m| m.0), values.iter().map(|v| v.1).reduce(f64::min));
        }
    }

    #[test]
    fn extreme_steps_and_values_do_not_overflow() {
        let mut reducer = Reducer::new(i64::MIN, i64::MAX, 3);
        let values = [(i64::MAX, f64::MAX), (i64::MIN, 1.0), (0, 1.0), (i64::MAX, f64::MAX), (i64::MAX, f64::NAN)];
        reducer.add_points(values.map(|(step, value)| point(step, value)));
        let reduced = reducer.finish();
        assert_eq!(
            reduced.iter().map(|b| (b.step, b.count)).collect::<Vec<_>>(),
            [(i64::MIN, 1), (0, 1), (i64::MAX, 2)]
        );
        assert_eq!((reduced[2].mean, reduced[2].odd), (f64::MAX, 1));
    }

    #[test]
    fn a_last_value_that_is_no_number_is_told_as_itself() {
        for (value, word) in [(f64::NAN, "NaN"), (f64::INFINITY, "Infinity"), (f64::NEG_INFINITY, "-Infinity")] {
            let mut summary = Summary::default();
            summary.add(point(3, value));
            let json = serde_json::to_string(&summary).expect("JSON");
            assert!(json.contains(&format!("\"last\":\"{word}\"")), "{json}");
            let back: Summary = serde_json::from_str(&json).expect("it reads");
            assert_eq!(back.last.map(f64::to_bits), summary.last.map(f64::to_bits));
        }
    }

    #[test]
    fn smoothing_is_debiased_and_survives_nan() {
        assert_eq!(smoothed([4.0, 4.0, f64::NAN, 4.0], 0.9)[3], 4.0);
        assert_eq!(smoothed([1.0, 2.0], 0.0), [1.0, 2.0]);
    }
}
