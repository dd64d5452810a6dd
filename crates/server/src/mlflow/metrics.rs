//! Points of metrics, one by one and in batches, and their histories.

use super::failure::Failure;
use super::fields::{Fields, page_token};
use super::runs::{check_key, param, tag};
use super::{Answer, wire};
use assay_domain::Point;
use assay_domain::registry::ModelMetric;
use assay_engine::{Batch, Engine};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What a batch may hold.
const POINTS: usize = 1000;
const PARAMS: usize = 100;
const TAGS: usize = 100;
const ENTITIES: usize = 1000;
/// Runs of a request for several histories, and points of its answer.
const BULK_RUNS: usize = 100;
const BULK_POINTS: usize = 25_000;
const INTERVAL_POINTS: i64 = 2500;

/// A point as it comes: with its key, and the logged model that it is a figure of.
struct Logged {
    key: String,
    point: Point,
    model: Option<String>,
    dataset: Option<(String, String)>,
}

impl Logged {
    fn of_model(&self, run: &str) -> Option<(String, ModelMetric)> {
        let Point { value, step, wall_ms } = self.point;
        let (key, run, dataset) = (self.key.clone(), run.to_owned(), self.dataset.clone());
        Some((self.model.clone()?, ModelMetric { key, value, step, wall_ms, run, dataset }))
    }
}

fn point(fields: &Fields) -> Answer<Logged> {
    let key = fields.required("key")?;
    check_key(fields, "name", &key)?;
    let point = Point {
        value: fields.required_number("value")?,
        wall_ms: fields.required_integer("timestamp")?,
        step: fields.integer("step")?.unwrap_or(0),
    };
    if point.wall_ms < 0 {
        return Err(Failure::invalid(format!(
            "Got invalid timestamp {} for metric '{key}' (value={}). Timestamp must be a nonnegative long (64-bit integer)",
            point.wall_ms, point.value
        )));
    }
    let dataset = fields.word("dataset_name")?.zip(fields.word("dataset_digest")?);
    Ok(Logged { key, point, model: fields.word("model_id")?, dataset })
}

/// Logs points, those of models with them.
fn log(engine: &Engine, uid: &str, points: Vec<Logged>, batch: Batch) -> Answer<()> {
    let run = engine.active_run(uid)?;
    let of_models: Vec<(String, ModelMetric)> = points.iter().filter_map(|logged| logged.of_model(uid)).collect();
    let points = points.into_iter().map(|logged| (logged.key, logged.point)).collect();
    Ok(engine.log_batch(run, Batch { points, of_models, ..batch })?)
}

pub(super) fn log_metric(engine: &Engine, fields: &Fields) -> Answer {
    let uid = fields.run()?;
    log(engine, &uid, vec![point(fields)?], Batch::default())?;
    Ok(json!({}))
}

pub(super) fn log_batch(engine: &Engine, fields: &Fields) -> Answer {
    let uid = fields.run()?;
    let points = fields.list("metrics")?;
    let (params, tags) = (fields.list("params")?, fields.list("tags")?);
    let all = points.len() + params.len() + tags.len();
    for (what, count, most) in [
        ("metrics", points.len(), POINTS),
        ("params", params.len(), PARAMS),
        ("tags", tags.len(), TAGS),
        ("metrics, params, and tags", all, ENTITIES),
    ] {
        if count > most {
            return Err(Failure::invalid(format!(
                "A batch logging request can contain at most {most} {what}. Got {count} {what}. Please split up {what} \
                 across multiple requests and try again."
            )));
        }
    }
    let points = points.iter().map(point).collect::<Answer<Vec<Logged>>>()?;
    let mut batch = Batch::default();
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    for fields in &params {
        let (key, value) = fields.pair()?;
        let value = param(fields, &key, value)?;
        if seen.insert(key.clone(), value.clone()).is_some_and(|other| other != value) {
            return Err(Failure::invalid(format!(
                "Duplicate parameter keys have been submitted: ['{key}']. Please ensure the request contains only one \
                 param value per param key."
            )));
        }
        batch.params.push((key, value));
    }
    for fields in &tags {
        let (key, value) = fields.pair()?;
        let value = tag(fields, &key, value)?;
        batch.tags.insert(key, value);
    }
    log(engine, &uid, points, batch)?;
    Ok(json!({}))
}

/// A batch as clients send it again and again: points that are nothing but points.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainBatch<'a> {
    run_id: &'a str,
    #[serde(borrow)]
    metrics: Vec<PlainPoint<'a>>,
    #[serde(default, rename = "params")]
    _no_params: [(); 0],
    #[serde(default, rename = "tags")]
    _no_tags: [(); 0],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainPoint<'a> {
    key: &'a str,
    value: f64,
    timestamp: i64,
    step: i64,
}

/// Logs a batch that is plain and right, without looking at each field by its name. Of any other nothing is done, and nothing
/// returned: [`log_batch`] knows what is to be said of it.
pub(super) fn log_plain_batch(engine: &Engine, body: &[u8]) -> Option<Answer> {
    let batch: PlainBatch<'_> = serde_json::from_slice(body).ok()?;
    if batch.run_id.is_empty() || batch.metrics.len() > POINTS {
        return None;
    }
    let mut known = "";
    for point in &batch.metrics {
        if point.key.is_empty() || point.timestamp < 0 {
            return None;
        }
        if point.key != known {
            check_key(&Fields::default(), "name", point.key).ok()?;
            known = point.key;
        }
    }
    let point = |PlainPoint { key, value, timestamp: wall_ms, step }: PlainPoint<'_>| {
        (key.to_owned(), Point { step, wall_ms, value })
    };
    let points = batch.metrics.into_iter().map(point).collect();
    let log = || {
        let run = engine.active_run(batch.run_id)?;
        Ok(engine.log_batch(run, Batch { points, ..Batch::default() })?)
    };
    Some(log().map(|()| json!({})))
}

pub(super) fn history(engine: &Engine, fields: &Fields) -> Answer {
    let run = engine.run_head(&fields.run()?)?;
    let key = fields.required("metric_key")?;
    let offset = fields.offset()?;
    let limit = fields.integer("max_results")?.filter(|count| *count > 0).map_or(usize::MAX, |count| count as usize);
    let points = engine.history(run.id, &key, offset, limit)?;
    let mut answer = json!({ "metrics": points.iter().map(|point| wire::point(&key, point)).collect::<Value>() });
    let next = offset.saturating_add(points.len());
    if points.len() == limit && !engine.history(run.id, &key, next, 1)?.is_empty() {
        answer["next_page_token"] = page_token(next);
    }
    Ok(answer)
}

fn point_of(run: &str, key: &str, point: &Point) -> Value {
    let mut value = wire::point(key, point);
    value["run_id"] = run.into();
    value
}

pub(super) fn history_bulk(engine: &Engine, fields: &Fields) -> Answer {
    let mut runs = fields.texts("run_id")?;
    if runs.is_empty() {
        return Err(Failure::invalid("GetMetricHistoryBulk request must specify at least one run_id."));
    }
    if runs.len() > BULK_RUNS {
        return Err(Failure::invalid(format!(
            "GetMetricHistoryBulk request cannot specify more than {BULK_RUNS} run_ids. Received {} run_ids.",
            runs.len()
        )));
    }
    let key = fields.word("metric_key")?;
    let key = key.ok_or_else(|| Failure::invalid("GetMetricHistoryBulk request must specify a metric_key."))?;
    let limit = fields.count("max_results", BULK_POINTS, BULK_POINTS)?;
    runs.sort();
    let mut points = Vec::new();
    for uid in runs {
        let left = limit - points.len();
        if left == 0 {
            break;
        }
        let Ok(run) = engine.run_head(&uid) else { continue };
        points.extend(engine.history(run.id, &key, 0, left)?.iter().map(|point| point_of(&uid, &key, point)));
    }
    Ok(json!({ "metrics": points }))
}

/// Points at some steps; [`sampled`] says which.
pub(super) fn history_bulk_interval(engine: &Engine, fields: &Fields) -> Answer {
    let runs = fields.texts("run_ids")?;
    if runs.is_empty() {
        return Err(Failure::invalid("Missing value for required parameter 'run_ids'."));
    }
    if runs.len() > BULK_RUNS {
        return Err(Failure::invalid(format!(
            "GetMetricHistoryBulkInterval request must specify at most {BULK_RUNS} run_ids. Received {} run_ids.",
            runs.len()
        )));
    }
    let key = fields.required("metric_key")?;
    let limit = fields.integer("max_results")?.unwrap_or(INTERVAL_POINTS);
    if !(1..=INTERVAL_POINTS).contains(&limit) {
        return Err(Failure::invalid(format!("max_results must be between 1 and {INTERVAL_POINTS}.")));
    }
    let steps = match (fields.integer("start_step")?, fields.integer("end_step")?) {
        (Some(first), Some(last)) if first > last => {
            return Err(Failure::invalid(format!(
                "end_step must be greater than start_step. Found start_step={first} and end_step={last}."
            )));
        }
        (Some(first), Some(last)) => first..=last,
        (None, None) => i64::MIN..=i64::MAX,
        _ => {
            let why = "If either start step or end step are specified, both must be specified.";
            return Err(Failure::invalid(why));
        }
    };
    let mut histories = Vec::new();
    for uid in runs {
        let Ok(run) = engine.run_head(&uid) else { continue };
        let mut points = engine.history(run.id, &key, 0, usize::MAX)?;
        points.retain(|point| steps.contains(&point.step));
        points.sort_by_key(|point| (point.step, point.wall_ms));
        histories.push((uid, points));
    }
    let mut told = Vec::new();
    for (uid, points) in sampled(histories, limit as usize) {
        told.extend(points.iter().map(|point| point_of(&uid, &key, point)));
    }
    Ok(json!({ "metrics": told }))
}

/// The points of runs, each in the order of steps, at `limit` steps that are evenly spaced among those of all runs
/// together, at the last of them, and at the first and last step of each run, as MLflow's server chooses them.
///
/// Where steps have many points, a run has `limit` of these, evenly spaced, and its last one.
fn sampled(histories: Vec<(String, Vec<Point>)>, limit: usize) -> Vec<(String, Vec<Point>)> {
    let all: BTreeSet<i64> = histories.iter().flat_map(|(_, points)| points.iter().map(|point| point.step)).collect();
    let mut chosen: BTreeSet<i64> = thinned(all.into_iter().collect(), limit).into_iter().collect();
    chosen.extend(histories.iter().flat_map(|(_, points)| [points.first(), points.last()]).flatten().map(|p| p.step));
    let of_run = |(uid, mut points): (String, Vec<Point>)| {
        points.retain(|point| chosen.contains(&point.step));
        let steps = points.chunk_by(|one, next| one.step == next.step).count();
        (uid, thinned(points, limit.max(steps.saturating_sub(1))))
    };
    histories.into_iter().map(of_run).collect()
}

/// `most` items, evenly spaced from the first on, and the last.
fn thinned<T: Clone>(all: Vec<T>, most: usize) -> Vec<T> {
    if all.len() <= most {
        return all;
    }
    let mut kept: Vec<T> = (0..most).map(|place| all[place * all.len() / most].clone()).collect();
    kept.extend(all.last().cloned());
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(steps: impl IntoIterator<Item = i64>, each: usize) -> Vec<Point> {
        let of_step = |step| (0..each).map(move |place| Point { step, wall_ms: place as i64, value: 0.0 });
        steps.into_iter().flat_map(of_step).collect()
    }

    #[test]
    fn a_sample_has_no_more_points_of_a_run_than_asked_for_and_its_last() {
        let run = points(0..50, 100);
        for limit in [1, 2, 3, 10, 49, 50, 51, 100, 2500] {
            let sample = sampled(vec![("a".into(), run.clone())], limit).remove(0).1;
            assert_eq!(sample.len(), limit + 1, "{limit}");
            assert_eq!((sample.first(), sample.last()), (run.first(), run.last()), "{limit}");
        }
        let short = points(0..3, 2);
        assert_eq!(sampled(vec![("a".into(), short.clone())], 6), [("a".to_owned(), short)]);
    }

    #[test]
    fn steps_with_one_point_are_chosen_as_by_mlflow() {
        let steps = |sample: &[Point]| sample.iter().map(|point| point.step).collect::<Vec<_>>();
        let alone = sampled(vec![("a".into(), points(0..10, 1))], 5);
        assert_eq!(steps(&alone[0].1), [0, 2, 4, 6, 8, 9]);
        let together = sampled(vec![("a".into(), points(0..10, 1)), ("b".into(), points(0..20, 1))], 5);
        assert_eq!(steps(&together[0].1), [0, 4, 8, 9]);
        assert_eq!(steps(&together[1].1), [0, 4, 8, 9, 12, 16, 19]);
    }

    #[test]
    fn what_is_thinned_begins_and_ends_as_it_did() {
        for (count, most) in [(10, 3), (5000, 320), (7, 7), (0, 1), (3, 1)] {
            let all: Vec<usize> = (0..count).collect();
            let kept = thinned(all.clone(), most);
            assert!(kept.len() <= most + 1 && kept.first() == all.first() && kept.last() == all.last());
            assert!(kept.windows(2).all(|pair| pair[0] < pair[1]), "{count} {most}");
        }
    }
}
