//! The table of runs with the requested columns.

use crate::{out, tables};
use anyhow::{Result, bail};
use assay_protocol::RunsReply;
use assay_protocol::domain::column::{self, Column, Which};
use assay_protocol::domain::entity::Run;
use assay_protocol::domain::{JsonNumber, Timestamp, counted, duration, number};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;

/// Default columns; metrics follow.
const USUAL: [&str; 6] = ["run", "name", "status", "experiment", "started", "duration"];
/// Metrics of Assay's own runs shown by default.
const METRICS: [&str; 3] = ["train/loss", "val/loss", "val/accuracy"];

/// Prints runs; `now` is the server's clock.
pub(crate) fn runs(reply: &RunsReply, columns: &[String], now: Timestamp, as_json: bool) -> Result<()> {
    for note in &reply.notes {
        out::tell(format_args!("assay: {note}"));
    }
    let chosen: Vec<String> = columns.iter().flat_map(|list| column::listed(list)).collect();
    let chosen: Vec<&str> = chosen.iter().map(String::as_str).collect();
    for name in &chosen {
        if let Err(unknown) = reply.names().check(name) {
            bail!("{unknown}");
        }
    }
    if as_json {
        return match chosen.is_empty() {
            true => out::json(&reply.runs),
            false => out::json(&reply.runs.iter().map(|run| object(run, &chosen, now)).collect::<Vec<_>>()),
        };
    }
    if reply.runs.is_empty() {
        return Ok(out::line("no runs match; train one with: assay train")?);
    }
    let columns = match chosen.is_empty() {
        true => USUAL.into_iter().chain(usual_metrics(&reply.runs)).collect(),
        false => chosen,
    };
    let head = |name: &&str| match *name {
        "started" | "created" => format!("{name} (UTC)"),
        name => name.to_owned(),
    };
    let head: Vec<String> = columns.iter().map(head).collect();
    let text = |run: &Run, name: &str| value(run, name, now).map_or("–".to_owned(), |value| value.text());
    let row = |run: &Run| columns.iter().map(|name| text(run, name)).collect();
    let rows: Vec<Vec<String>> = reply.runs.iter().map(row).collect();
    tables::table(&head.iter().map(String::as_str).collect::<Vec<_>>(), &rows)?;
    if reply.total > reply.runs.len() {
        out::line(format_args!("{} of {}; --limit shows more", reply.runs.len(), counted(reply.total, "run")))?;
    }
    Ok(())
}

/// A run's value in a column.
enum Value {
    Text(String),
    Number(f64),
    Id(i64),
    Time(Timestamp),
    Secs(f64),
}

impl Value {
    fn text(&self) -> String {
        match self {
            Value::Text(text) => text.clone(),
            Value::Number(value) => number(*value),
            Value::Id(id) => id.to_string(),
            Value::Time(at) => at.to_minute(),
            Value::Secs(secs) => duration(*secs),
        }
    }

    fn json(&self) -> Json {
        match self {
            Value::Text(text) => json!(text),
            Value::Number(value) => json!(JsonNumber(*value)),
            Value::Id(id) => json!(id),
            Value::Time(at) => json!(at),
            Value::Secs(secs) => json!(secs),
        }
    }
}

fn object(run: &Run, columns: &[&str], now: Timestamp) -> Json {
    let pair = |name: &&str| ((*name).to_owned(), value(run, name, now).map_or(Json::Null, |value| value.json()));
    Json::Object(columns.iter().map(pair).collect::<Map<String, Json>>())
}

/// A run's value by name, as filters find it.
fn value(run: &Run, name: &str, now: Timestamp) -> Option<Value> {
    let text = |text: &String| (!text.is_empty()).then(|| Value::Text(text.clone()));
    let param = |key: &str| run.params.get(key).cloned().map(Value::Text);
    let tag = |key: &str| run.tags.get(key).cloned().map(Value::Text);
    let metric = |which: Which, key: &str| {
        let summary = run.metrics.get(key)?;
        Some(Value::Number(match which {
            Which::Last => summary.last.unwrap_or(f64::NAN),
            Which::Min => summary.min?.0,
            Which::Max => summary.max?.0,
        }))
    };
    let of_name = match Column::of(name) {
        Column::Field(field) => {
            return match field {
                "id" | "run" => Some(Value::Id(run.id.0)),
                "uid" => text(&run.uid),
                "name" => text(&run.name),
                "status" => Some(Value::Text(run.status.to_string())),
                "experiment" => text(&run.experiment),
                "created" => Some(Value::Time(run.created)),
                "started" => run.started.map(Value::Time),
                "duration" => run.duration_secs(now).map(Value::Secs),
                "dataset" => run.dataset.map(|dataset| Value::Id(dataset.0)),
                "note" => text(&run.note),
                "user" => run.user.as_ref().and_then(text),
                "client" => run.client.as_ref().and_then(text),
                _ => None,
            };
        }
        Column::Param(key) => param(key),
        Column::Tag(key) => tag(key),
        Column::Metric(which, key) => metric(which, key),
        Column::Any(_) => None,
    };
    param(name).or_else(|| metric(Which::Last, name)).or_else(|| tag(name)).or(of_name)
}

/// Default metrics for these runs: the usual ones, then the most frequent.
fn usual_metrics(runs: &[Run]) -> impl Iterator<Item = &str> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for key in runs.iter().flat_map(|run| run.metrics.keys()) {
        if !key.starts_with("system/") && key != "epoch" {
            *counts.entry(key).or_default() += 1;
        }
    }
    let mut keys: Vec<(&str, usize)> = counts.into_iter().collect();
    let own = |key: &str| METRICS.iter().position(|own| *own == key).unwrap_or(METRICS.len());
    keys.sort_by_key(|(key, count)| (own(key), std::cmp::Reverse(*count)));
    keys.into_iter().map(|(key, _)| key).take(METRICS.len())
}
