//! Buckets on their way: a column for each field, so that a chart of a thousand of them is small and quick to read.

use assay_domain::Bucket;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize, Deserialize)]
struct Columns {
    step: Vec<i64>,
    last_step: Vec<i64>,
    wall_ms: Vec<i64>,
    count: Vec<u64>,
    odd: Vec<u64>,
    // JSON has no NaN: it travels as null.
    min: Vec<Option<f64>>,
    max: Vec<Option<f64>>,
    mean: Vec<Option<f64>>,
}

pub(crate) fn serialize<S: Serializer>(buckets: &[Bucket], serializer: S) -> Result<S::Ok, S::Error> {
    let whole = |field: fn(&Bucket) -> i64| buckets.iter().map(field).collect();
    let count = |field: fn(&Bucket) -> u64| buckets.iter().map(field).collect();
    let real =
        |field: fn(&Bucket) -> f64| buckets.iter().map(field).map(|value| value.is_finite().then_some(value)).collect();
    let columns = Columns {
        step: whole(|bucket| bucket.step),
        last_step: whole(|bucket| bucket.last_step),
        wall_ms: whole(|bucket| bucket.wall_ms),
        count: count(|bucket| bucket.count),
        odd: count(|bucket| bucket.odd),
        min: real(|bucket| bucket.min),
        max: real(|bucket| bucket.max),
        mean: real(|bucket| bucket.mean),
    };
    columns.serialize(serializer)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Bucket>, D::Error> {
    let Columns { step, last_step, wall_ms, count, odd, min, max, mean } = Columns::deserialize(deserializer)?;
    let lengths = [last_step.len(), wall_ms.len(), count.len(), odd.len(), min.len(), max.len(), mean.len()];
    if lengths.iter().any(|length| *length != step.len()) {
        return Err(D::Error::custom("columns of different lengths"));
    }
    let bucket = |at: usize| Bucket {
        step: step[at],
        last_step: last_step[at],
        wall_ms: wall_ms[at],
        count: count[at],
        odd: odd[at],
        min: min[at].unwrap_or(f64::NAN),
        max: max[at].unwrap_or(f64::NAN),
        mean: mean[at].unwrap_or(f64::NAN),
    };
    Ok((0..step.len()).map(bucket).collect())
}

#[cfg(test)]
mod tests {
    use crate::SeriesReply;
    use assay_domain::{Bucket, Point, RunId};

    #[test]
    fn buckets_travel_and_what_is_not_finite_as_null() {
        let values = [(3, 0.25), (4, f64::INFINITY), (9, -1e300)];
        let buckets = values.map(|(step, value)| Bucket::of(Point { step, wall_ms: -step, value })).to_vec();
        let sent = SeriesReply { run: RunId(7), key: "loss".into(), buckets };
        let json = serde_json::to_value(&sent).unwrap();
        assert_eq!(json["buckets"]["step"], serde_json::json!([3, 4, 9]));
        assert_eq!(json["buckets"]["mean"], serde_json::json!([0.25, null, -1e300]));
        let mut got: SeriesReply = serde_json::from_value(json.clone()).unwrap();
        assert!(got.buckets[1].mean.is_nan() && got.buckets[1].odd == 1);
        got.buckets[1] = sent.buckets[1];
        assert_eq!(format!("{got:?}"), format!("{sent:?}"));

        let mut short = json;
        short["buckets"]["max"] = serde_json::json!([]);
        assert!(serde_json::from_value::<SeriesReply>(short).is_err());
    }
}
