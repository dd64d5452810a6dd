//! A metric series and its reduction for a chart: never more numbers than pixels, never a hidden spike.

use serde::{Deserialize, Serialize};

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
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
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
    #[serde(with = "float")]
    pub min: f64,
    /// The greatest finite value (NaN without one).
    #[serde(with = "float")]
    pub max: f64,
    /// The mean of the finite values (NaN without one).
    #[serde(with = "float")]
    pub mean: f64,
}

/// JSON has no NaN: it travels as null.
mod float {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        if value.is_finite() { serializer.serialize_f64(*value) } else { serializer.serialize_none() }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(Option::<f64>::deserialize(deserializer)?.unwrap_or(f64::NAN))
    }
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

/// At most `buckets` buckets of equal width over the steps of the input, in step order; empty stretches leave no
/// bucket. Input of fewer distinct steps than `buckets` comes back with one bucket a step.
///
/// Duplicated steps fall into one bucket. `input` may be in any order.
pub fn reduce(input: impl IntoIterator<Item = Bucket>, buckets: usize) -> Vec<Bucket> {
    let mut sorted: Vec<Bucket> = input.into_iter().collect();
    sorted.sort_by_key(|bucket| bucket.step); // stable: arrival order within a step
    let (Some(first), Some(last)) = (sorted.first(), sorted.last()) else { return sorted };
    let (low, width) = (first.step, (last.step as i128 - first.step as i128) + 1);
    let buckets = buckets.max(1) as i128;
    let place = |step: i64| {
        if width <= buckets { step as i128 } else { (step as i128 - low as i128) * buckets / width }
    };
    let mut reduced: Vec<Bucket> = Vec::new();
    let mut open = None;
    for bucket in sorted {
        let here = place(bucket.step);
        match reduced.last_mut() {
            Some(last) if open == Some(here) => *last = last.merged(bucket),
            _ => reduced.push(bucket),
        }
        open = Some(here);
    }
    reduced
}

/// What the run table shows of a series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// How many points there are.
    pub count: u64,
    /// The value at the greatest step (of several, the one of the latest wall time; of several, the greatest).
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
            let reduced = reduce(values.iter().map(|&(step, value)| Bucket::of(point(step, value))), buckets);
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
    fn extreme_steps_do_not_overflow() {
        let reduced =
            reduce([Bucket::of(point(0, 1.0)), Bucket { step: i64::MIN, ..Bucket::of(point(i64::MAX, 2.0)) }], 3);
        assert_eq!(reduced.len(), 2);
    }

    #[test]
    fn a_bucket_without_a_finite_value_travels_as_null() {
        let bucket = Bucket::of(point(3, f64::INFINITY));
        let json = serde_json::to_string(&bucket).unwrap();
        assert!(json.contains("\"mean\":null"), "{json}");
        let back: Bucket = serde_json::from_str(&json).unwrap();
        assert!(back.mean.is_nan() && back.odd == 1);
    }

    #[test]
    fn smoothing_is_debiased_and_survives_nan() {
        assert_eq!(smoothed([4.0, 4.0, f64::NAN, 4.0], 0.9)[3], 4.0);
        assert_eq!(smoothed([1.0, 2.0], 0.0), [1.0, 2.0]);
    }
}
