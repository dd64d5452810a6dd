//! Metrics: all points of one, and which way they get better.

use crate::arguments::BestWord;
use crate::client::Client;
use crate::{out, tables};
use anyhow::Result;
use assay_protocol::domain::{Best, Timestamp, nearest};
use assay_protocol::{DirectionChange, HistoryPage, HistoryQuery, Metric, path};
use serde_json::json;
use std::io::Write;

/// Prints every point of a metric of a run: as CSV, or as a JSON array of objects. Each value reads back to the bit.
pub(crate) async fn history(client: &Client, run: &str, key: &str, as_json: bool) -> Result<()> {
    let run = client.find_run(run).await?;
    let mut query = HistoryQuery { key: key.to_owned(), ..HistoryQuery::default() };
    let mut first = true;
    loop {
        let page: HistoryPage = client.get(&format!("{}{}", path::run(run, "/history"), query.to_query())).await?;
        let mut out = out::writer();
        if first && !as_json {
            writeln!(out, "step,wall_time,value,segment,superseded")?;
        }
        for at in 0..page.step.len() {
            let (step, value, segment) = (page.step[at], page.value[at], page.segment[at]);
            let (wall_time, superseded) = (Timestamp(page.wall_ms[at]).iso(), page.is_superseded[at]);
            match as_json {
                true => {
                    let point = json!({ "step": step, "wall_time": wall_time, "value": value, "segment": segment,
                        "superseded": superseded });
                    write!(out, "{}{point}", if first { "[\n" } else { ",\n" })?;
                }
                false => writeln!(out, "{step},{wall_time},{:?},{segment},{superseded}", value.0)?,
            }
            first = false;
        }
        if as_json && !page.has_more {
            writeln!(out, "\n]")?;
        }
        out.flush()?;
        if !page.has_more {
            return Ok(());
        }
        query.offset += page.step.len();
    }
}

/// Lists the metrics with their directions, shows one, or declares its direction.
pub(crate) async fn metric(client: &Client, key: Option<&str>, best: Option<BestWord>, as_json: bool) -> Result<()> {
    let known: Vec<Metric> = client.get(path::METRICS).await?;
    let Some(key) = key else { return list(&known, as_json) };
    let found = known.iter().find(|metric| metric.key == key);
    let hint = nearest(key, known.iter().map(|metric| metric.key.as_str()));
    let hint = hint.map(|key| format!("; did you mean {key:?}?")).unwrap_or_default();
    match (best, found) {
        (None, None) => anyhow::bail!("no run has the metric {key:?}{hint}"),
        (None, Some(metric)) => list(std::slice::from_ref(metric), as_json),
        (Some(best), found) => {
            if found.is_none() {
                out::tell(format_args!("assay: no run has the metric {key:?} yet{hint}"));
            }
            let change = DirectionChange { key: key.to_owned(), best: best.declared() };
            list(&[client.patch(path::METRICS, &change).await?], as_json)
        }
    }
}

fn list(metrics: &[Metric], as_json: bool) -> Result<()> {
    if as_json {
        return out::json(&metrics);
    }
    let why = |metric: &Metric| match (metric.is_declared, metric.best) {
        (true, _) => "declared",
        (false, Best::Neither) => "not known",
        (false, _) => "as Assay's own training logs it",
    };
    let row = |metric: &Metric| vec![metric.key.clone(), metric.best.as_str().to_owned(), why(metric).to_owned()];
    tables::table(&["metric", "best", ""], &metrics.iter().map(row).collect::<Vec<_>>())
}
