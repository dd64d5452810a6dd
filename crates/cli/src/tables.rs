//! Tables for people, JSON for programs.

use anyhow::Result;
use assay_protocol::domain::Timestamp;
use assay_protocol::domain::entity::{Dataset, Run};
use assay_protocol::{Check, Comparison, ExplainedField, RunDetail, RunsReply};
use std::process::ExitCode;

/// Prints columns as wide as their widest cell.
fn table(head: &[&str], rows: &[Vec<String>]) {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &[String]| {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        println!("{}", padded.join("  ").trim_end());
    };
    line(&head.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
    rows.iter().for_each(|row| line(row));
}

fn json(value: &impl serde::Serialize) -> Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

fn metric(run: &Run, key: &str) -> String {
    match run.metrics.get(key).and_then(|summary| summary.last) {
        Some(value) => format!("{value:.4}"),
        None if run.metrics.contains_key(key) => "NaN".into(),
        None => "–".into(),
    }
}

/// `now` is the time of the process that has the workspace.
pub(crate) fn runs(reply: &RunsReply, now: Timestamp, as_json: bool) -> Result<()> {
    if as_json {
        return json(&reply.runs);
    }
    if reply.runs.is_empty() {
        println!("no runs match; train one with: assay train");
        return Ok(());
    }
    let row = |run: &Run| {
        vec![
            run.id.to_string(),
            run.name.clone(),
            run.status.to_string(),
            metric(run, "train/loss"),
            metric(run, "val/loss"),
            metric(run, "val/accuracy"),
            run.duration_secs(now).map_or("–".into(), |secs| format!("{secs:.0} s")),
        ]
    };
    let rows: Vec<Vec<String>> = reply.runs.iter().map(row).collect();
    table(&["run", "name", "status", "train/loss", "val/loss", "val/accuracy", "time"], &rows);
    if reply.total > reply.runs.len() {
        println!("{} of {} runs; --limit shows more", reply.runs.len(), reply.total);
    }
    Ok(())
}

pub(crate) fn run(detail: &RunDetail, as_json: bool) -> Result<()> {
    if as_json {
        return json(detail);
    }
    let run = &detail.run;
    println!("run {}  {}  {}", run.id, run.name, run.status);
    if let Some(reason) = &run.reason {
        println!("{reason}");
    }
    println!();
    let metrics = run.metrics.iter().filter(|(key, _)| !key.starts_with("system/"));
    let text = |value: Option<f64>| value.map_or("–".into(), |value| format!("{value:.4}"));
    let rows: Vec<Vec<String>> = metrics
        .map(|(key, summary)| {
            vec![
                key.clone(),
                text(summary.last),
                text(summary.min.map(|min| min.0)),
                text(summary.max.map(|max| max.0)),
            ]
        })
        .collect();
    table(&["metric", "last", "min", "max"], &rows);
    for evaluation in &detail.evaluations {
        println!();
        let confusion = &evaluation.confusion;
        let percent = |value: Option<f64>| value.map_or("–".into(), |value| format!("{:.2} %", value * 100.0));
        println!(
            "{} split, {} checkpoint: accuracy {}, macro F1 {}, {} samples",
            evaluation.split,
            evaluation.checkpoint.as_str(),
            percent(confusion.accuracy()),
            percent(confusion.macro_f1()),
            confusion.total()
        );
        let rows: Vec<Vec<String>> = evaluation
            .classes
            .iter()
            .enumerate()
            .map(|(class, name)| {
                let score = confusion.score(class);
                vec![
                    name.clone(),
                    percent(score.precision),
                    percent(score.recall),
                    percent(score.f1),
                    score.support.to_string(),
                ]
            })
            .collect();
        table(&["class", "precision", "recall", "F1", "support"], &rows);
    }
    if let Some(record) = &detail.record {
        let code = &record.code;
        println!();
        println!(
            "code     {}{}",
            code.commit.as_deref().unwrap_or("no commit"),
            if code.dirty { " with uncommitted changes" } else { "" }
        );
        println!("command  {}", record.command.arguments.join(" "));
        if let Some(data) = &record.data {
            let samples: Vec<String> = data.samples.iter().map(|(split, count)| format!("{count} {split}")).collect();
            println!(
                "data     {} ({}), snapshot {}",
                data.dataset,
                samples.join(", "),
                &data.snapshot[..12.min(data.snapshot.len())]
            );
        }
        println!("machine  {}, {}", record.machine.cpu, record.machine.device);
    }
    Ok(())
}

pub(crate) fn comparison(comparison: &Comparison, all: bool, as_json: bool) -> Result<()> {
    if as_json {
        return json(comparison);
    }
    let mut head = vec!["", "key"];
    let names: Vec<String> = comparison.runs.iter().map(|run| format!("{} ({})", run.name, run.id)).collect();
    head.extend(names.iter().map(String::as_str));
    let shown = comparison.differences.iter().filter(|line| all || line.differs);
    let rows: Vec<Vec<String>> = shown
        .map(|line| {
            let mut row = vec![line.section.clone(), line.key.clone()];
            row.extend(line.values.iter().map(|value| value.clone().unwrap_or_else(|| "–".into())));
            row
        })
        .collect();
    if rows.is_empty() {
        println!("nothing differs; --all shows what is the same");
        return Ok(());
    }
    table(&head, &rows);
    Ok(())
}

pub(crate) fn datasets(datasets: &[Dataset], as_json: bool) -> Result<()> {
    if as_json {
        return json(&datasets);
    }
    let row = |dataset: &Dataset| {
        vec![
            dataset.id.to_string(),
            dataset.name.clone(),
            dataset.samples.to_string(),
            dataset.labeled.to_string(),
            dataset.classes.len().to_string(),
            dataset.problems.to_string(),
            dataset.source.clone(),
        ]
    };
    table(
        &["id", "name", "images", "labelled", "classes", "left out", "source"],
        &datasets.iter().map(row).collect::<Vec<_>>(),
    );
    Ok(())
}

pub(crate) fn config(fields: &[ExplainedField], as_json: bool) -> Result<()> {
    if as_json {
        return json(&fields);
    }
    let rows: Vec<Vec<String>> =
        fields.iter().map(|field| vec![field.key.clone(), field.default.clone(), field.help.clone()]).collect();
    table(&["key", "default", ""], &rows);
    Ok(())
}

pub(crate) fn doctor(mut checks: Vec<Check>, as_json: bool) -> Result<ExitCode> {
    let window = std::env::current_exe()?.with_file_name(format!("assay-desktop{}", std::env::consts::EXE_SUFFIX));
    let found = if window.is_file() {
        window.display().to_string()
    } else {
        "not beside this program; assay serve shows the same in a browser".into()
    };
    checks.push(Check { what: "desktop window".into(), ok: window.is_file().then_some(true), found });
    if as_json {
        json(&checks)?;
    } else {
        let mark = |check: &Check| match check.ok {
            Some(true) => "ok",
            Some(false) => "FAILED",
            None => "absent",
        };
        let rows: Vec<Vec<String>> =
            checks.iter().map(|check| vec![mark(check).into(), check.what.clone(), check.found.clone()]).collect();
        table(&["", "what", "found"], &rows);
    }
    Ok(if checks.iter().any(|check| check.ok == Some(false)) { ExitCode::from(4) } else { ExitCode::SUCCESS })
}
