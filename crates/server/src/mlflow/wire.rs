//! Assay's entities in MLflow's shapes: whole numbers as numbers, what is no number as text.

use assay_domain::entity::{Experiment, Run};
use assay_domain::{Point, RunStatus};
use assay_engine::{NOTE, RUN_NAME, Relations};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// An object of values that are large; `json!` would copy them.
pub(super) fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

pub(super) fn pairs(pairs: &BTreeMap<String, String>) -> Value {
    pairs.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect()
}

pub(super) fn number(value: f64) -> Value {
    match value {
        value if value.is_nan() => "NaN".into(),
        f64::INFINITY => "Infinity".into(),
        f64::NEG_INFINITY => "-Infinity".into(),
        value => value.into(),
    }
}

pub(super) fn point(key: &str, point: &Point) -> Value {
    json!({ "key": key, "value": number(point.value), "timestamp": point.wall_ms, "step": point.step })
}

pub(super) fn stage(is_deleted: bool) -> &'static str {
    if is_deleted { "deleted" } else { "active" }
}

/// Where the artifacts of an experiment are: at this server, unless a client chose a place.
pub(super) fn location(experiment: &Experiment) -> String {
    experiment.location.clone().unwrap_or_else(|| format!("mlflow-artifacts:/{}", experiment.id))
}

/// A place below another: what follows its path stays behind.
pub(super) fn below(location: &str, path: &str) -> String {
    let (place, rest) = location.split_at(location.find(['?', '#']).unwrap_or(location.len()));
    format!("{}/{path}{rest}", place.trim_end_matches('/'))
}

pub(super) fn experiment(found: &Experiment) -> Value {
    json!({
        "experiment_id": found.id.to_string(),
        "name": found.name,
        "artifact_location": location(found),
        "lifecycle_stage": stage(found.deleted.is_some()),
        "creation_time": found.created.0,
        "last_update_time": found.updated.0,
        "tags": pairs(&found.tags),
    })
}

pub(super) fn status(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Queued => "SCHEDULED",
        RunStatus::Running => "RUNNING",
        RunStatus::Finished => "FINISHED",
        RunStatus::Stopped => "KILLED",
        RunStatus::Failed | RunStatus::Crashed => "FAILED",
    }
}

/// `location` is that of the run's experiment.
pub(super) fn run_info(run: &Run, location: &str) -> Value {
    let mut info = json!({
        "run_id": run.uid,
        "run_uuid": run.uid,
        "run_name": run.name,
        "experiment_id": run.experiment_id.to_string(),
        "user_id": run.user.as_deref().unwrap_or("unknown"),
        "status": status(run.status),
        "start_time": run.started.unwrap_or(run.created).0,
        "artifact_uri": below(location, &format!("{}/artifacts", run.uid)),
        "lifecycle_stage": stage(run.deleted.is_some()),
    });
    if let Some(ended) = run.ended {
        info["end_time"] = ended.0.into();
    }
    info
}

pub(super) fn run(found: &Run, relations: &Relations, location: &str) -> Value {
    let models = |models: &[(String, i64)]| -> Value {
        models.iter().map(|(model, step)| json!({ "model_id": model, "step": step })).collect()
    };
    let latest = |(key, summary): (&String, &assay_domain::series::Summary)| {
        let value = summary.last?;
        Some(point(key, &Point { step: summary.last_step, wall_ms: summary.last_wall_ms, value }))
    };
    let mut tags = found.tags.clone();
    // A followed file may log this key.
    tags.remove(RUN_NAME);
    if !relations.hides_name {
        tags.insert(RUN_NAME.to_owned(), found.name.clone());
    }
    if !found.note.is_empty() {
        tags.insert(NOTE.to_owned(), found.note.clone());
    }
    let data = object([
        ("metrics", found.metrics.iter().filter_map(latest).collect()),
        ("params", pairs(&found.params)),
        ("tags", pairs(&tags)),
    ]);
    let inputs = object([
        ("dataset_inputs", relations.datasets.iter().map(super::logged::told_dataset).collect()),
        ("model_inputs", models(&relations.read)),
    ]);
    let outputs = object([("model_outputs", models(&relations.made))]);
    object([("info", run_info(found, location)), ("data", data), ("inputs", inputs), ("outputs", outputs)])
}
