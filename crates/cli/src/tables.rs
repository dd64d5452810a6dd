//! Tables for people, JSON for programs.

use crate::out;
use crate::out::json;
use anyhow::{Result, bail};
use assay_protocol::domain::alert::{Alert, AlertRule, DeliveryState};
use assay_protocol::domain::entity::{Dataset, Snapshot};
use assay_protocol::domain::profile::{Cost, Phase, Profile};
use assay_protocol::domain::scores::{Estimate, Scores};
use assay_protocol::domain::{Timestamp, counted, duration, nearest, number};
use assay_protocol::{
    AlertsReply, BackupReply, Check, Comparison, ExplainedField, GcReply, LogSource, MergeReply, PrecisionFigures,
};
use std::process::ExitCode;

/// Prints columns as wide as their widest cell.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> Result<()> {
    let head = head.iter().map(|text| (*text).to_owned()).collect::<Vec<String>>();
    let lines: Vec<Vec<String>> =
        [&head].into_iter().chain(rows).map(|row| row.iter().map(one_line).collect()).collect();
    let width = |column: usize| lines.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    for cells in &lines {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text += padded.join("  ").trim_end();
        text.push('\n');
    }
    Ok(out::text(text)?)
}

/// Prints names and values as two columns, omitting empty values.
pub(crate) fn pairs(pairs: &[(&str, String)]) -> Result<()> {
    let shown = || pairs.iter().filter(|(_, value)| !value.trim().is_empty());
    let width = shown().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    for (name, value) in shown() {
        for (number, line) in value.lines().enumerate() {
            let name = if number == 0 { *name } else { "" };
            out::line(format!("{name:width$}  {}", one_line(line)).trim_end())?;
        }
    }
    Ok(())
}

/// Replaces control characters, which would drive the terminal.
fn one_line(text: impl AsRef<str>) -> String {
    let shown = |character: char| if character.is_control() { ' ' } else { character };
    text.as_ref().chars().map(shown).collect()
}

/// A share as a percentage, or a dash.
pub(crate) fn percent(share: Option<f64>) -> String {
    share.map_or("–".into(), |share| format!("{:.2} %", share * 100.0))
}

/// Restricts a comparison to one metric, if given; an error if no run has it.
pub(crate) fn with_metric(mut comparison: Comparison, metric: Option<&str>) -> Result<Comparison> {
    let Some(key) = metric else { return Ok(comparison) };
    let known = || comparison.runs.iter().flat_map(|run| run.metrics.keys().map(String::as_str));
    if !known().any(|known| known == key) {
        let hint = nearest(key, known()).map(|key| format!("; did you mean {key:?}?")).unwrap_or_default();
        bail!("none of these runs has a metric {key:?}{hint}");
    }
    let lines = format!("{key} (");
    comparison.differences.retain(|line| line.section != "metrics" || line.key.starts_with(&lines));
    Ok(comparison)
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
        return Ok(out::line("nothing differs; --all shows what is the same")?);
    }
    table(&head, &rows)
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
            dataset.missing.to_string(),
            dataset.problems.to_string(),
            dataset.origin().to_owned(),
        ]
    };
    table(
        &["id", "name", "images", "labelled", "classes", "missing", "left out", "source"],
        &datasets.iter().map(row).collect::<Vec<_>>(),
    )
}

pub(crate) fn garbage(found: &GcReply, as_json: bool) -> Result<()> {
    if as_json {
        return json(found);
    }
    for run in &found.runs {
        out::line(format_args!("deleted run {run}"))?;
    }
    let megabytes = found.bytes as f64 / 1e6;
    let (runs, files) = (counted(found.runs.len(), "run"), counted(found.files, "file"));
    let told = match found.is_dry {
        _ if found.runs.is_empty() && found.files == 0 => "there is nothing to free".to_owned(),
        true => format!("to be freed: {runs} and {files}, {megabytes:.1} MB of files: assay gc --yes"),
        false => format!("freed {runs} and {files}, {megabytes:.1} MB"),
    };
    Ok(out::line(told)?)
}

pub(crate) fn backup(made: &BackupReply, as_json: bool) -> Result<()> {
    if as_json {
        return json(made);
    }
    let files = counted(made.files, "file");
    let megabytes = made.bytes as f64 / 1e6;
    Ok(out::line(format_args!("copied the database and {files} ({megabytes:.1} MB) to {}", made.root))?)
}

pub(crate) fn merged(reply: &MergeReply, as_json: bool) -> Result<ExitCode> {
    if as_json {
        json(reply)?;
    } else {
        reply.lines().iter().try_for_each(out::line)?;
    }
    Ok(if reply.damaged.is_empty() && reply.parted.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(crate) fn sources(sources: &[LogSource], as_json: bool) -> Result<()> {
    if as_json {
        return json(&sources);
    }
    let rows: Vec<_> = sources.iter().map(|source| vec![source.id.to_string(), source.path.clone()]).collect();
    table(&["id", "path"], &rows)
}

pub(crate) fn alerts(reply: &AlertsReply, now: Timestamp, as_json: bool) -> Result<()> {
    if as_json {
        return json(&reply.alerts);
    }
    let row = |alert: &Alert| {
        let sent = alert.delivery.as_ref().map(|delivery| match (delivery.state, &delivery.error) {
            (DeliveryState::Delivered, _) => "delivered".to_owned(),
            (DeliveryState::Waiting, None) => "waiting".into(),
            (DeliveryState::Waiting, Some(error)) => format!("will be tried again: {error}"),
            (DeliveryState::Failed, error) => format!("failed: {}", error.as_deref().unwrap_or_default()),
        });
        let ago = now.seconds_since(alert.at).max(0.0);
        let run = format!("{} #{}", alert.run_name, alert.run);
        vec![
            format!("{} ago", duration(ago)),
            run,
            alert.message.clone(),
            alert.rule_name.clone(),
            sent.unwrap_or_default(),
        ]
    };
    let rows: Vec<_> = reply.alerts.iter().rev().map(row).collect();
    table(&["when", "run", "what", "rule", "webhook"], &rows)
}

pub(crate) fn alert_rules(rules: &[AlertRule], as_json: bool) -> Result<()> {
    if as_json {
        return json(&rules);
    }
    let row = |AlertRule { id, rule, .. }: &AlertRule| {
        vec![
            id.to_string(),
            if rule.enabled { "on" } else { "off" }.to_owned(),
            rule.name.clone(),
            rule.condition.to_string(),
            if rule.filter.is_empty() { "all".to_owned() } else { rule.filter.clone() },
            rule.webhook.clone().unwrap_or_default(),
        ]
    };
    table(&["id", "", "name", "condition", "runs", "webhook"], &rules.iter().map(row).collect::<Vec<_>>())
}

pub(crate) fn snapshots(snapshots: &[Snapshot], as_json: bool) -> Result<()> {
    if as_json {
        return json(&snapshots);
    }
    let row = |snapshot: &Snapshot| {
        vec![
            snapshot.id.to_string(),
            snapshot.hash[..12.min(snapshot.hash.len())].to_owned(),
            snapshot.samples.to_string(),
            snapshot.classes.len().to_string(),
        ]
    };
    table(&["id", "hash", "images", "classes"], &snapshots.iter().map(row).collect::<Vec<_>>())
}

/// The field of this key, and those below it; all without one.
pub(crate) fn chosen(fields: Vec<ExplainedField>, key: Option<&str>) -> Result<Vec<ExplainedField>> {
    let Some(key) = key else { return Ok(fields) };
    let sections = format!("{key}.");
    let found: Vec<ExplainedField> =
        fields.into_iter().filter(|field| field.key == key || field.key.starts_with(&sections)).collect();
    if found.is_empty() {
        bail!("there is no config key {key:?}; assay config lists all");
    }
    Ok(found)
}

pub(crate) fn config(fields: &[ExplainedField], as_json: bool) -> Result<()> {
    if as_json {
        return json(&fields);
    }
    let mut rows = Vec::new();
    for field in fields {
        rows.push(vec![field.key.clone(), field.default.clone(), field.help.clone()]);
        rows.extend(
            field.choices.iter().map(|c| vec![String::new(), String::new(), format!("  {}: {}", c.word, c.meaning)]),
        );
    }
    table(&["key", "default", ""], &rows)
}

/// Every key for the documentation, a table for each section.
pub(crate) fn config_markdown(fields: &[ExplainedField]) -> String {
    let mut text = String::from(
        "# Config\n\nWritten by `assay config --markdown`. A key is `section.name`: in a file below `[section]`, on the command line `section.name=value`.\n",
    );
    let mut section = None;
    for field in fields {
        let (of, name) = field.key.split_once('.').unwrap_or(("", &field.key));
        if section != Some(of) {
            section = Some(of);
            let title = if of.is_empty() { String::new() } else { format!("\n## {of}\n") };
            text += &format!("{title}\n| key | default | |\n|---|---|---|\n");
        }
        let default = if field.default.is_empty() { String::new() } else { format!("`{}`", field.default) };
        let choices: String = field.choices.iter().map(|c| format!("<br>`{}`: {}", c.word, c.meaning)).collect();
        text += &format!("| `{name}` | {default} | {}{choices} |\n", field.help);
    }
    text
}

pub(crate) fn profile(profile: &Profile, limit: usize, as_json: bool) -> Result<()> {
    if as_json {
        return json(&profile);
    }
    let millis = |us: f64| format!("{:.2}", us / 1e3);
    let phases = Phase::ALL.map(|phase| format!("{} {} ms", phase.as_str(), millis(profile.phase_us(phase))));
    let images = counted(profile.batch_size, "image");
    out::line(format_args!("step {}, {images} on {}: {}", profile.step, profile.device, phases.join(", ")))?;
    let whole = profile.took_us().max(1e-9);
    let row = |cost: &Cost| {
        vec![
            cost.layer.clone(),
            cost.operation.clone(),
            millis(cost.us[0]),
            millis(cost.us[1]),
            format!("{:.1} %", 100.0 * cost.total_us() / whole),
            format!("{:.2}", cost.bytes as f64 / 1e6),
        ]
    };
    let rows: Vec<Vec<String>> = profile.costs().iter().take(limit).map(row).collect();
    table(&["layer", "operation", "forward ms", "backward ms", "share", "output MB"], &rows)
}

pub(crate) fn scores(scores: &Scores) -> Result<()> {
    let percent = |value: f64| format!("{:.2} %", value * 100.0);
    let within = |found: &Estimate| format!("{} to {} (95 %)", percent(found.interval.0), percent(found.interval.1));
    let row = |name: &str, value: String, beside: String| vec![name.to_owned(), value, beside];
    let plain = |name: &str, value: String| row(name, value, String::new());
    let accuracy = scores.labelling.accuracy_name();
    table(
        &["figure", "value", "interval"],
        &[
            plain("images", scores.samples.to_string()),
            row(accuracy, percent(scores.accuracy.value), within(&scores.accuracy)),
            plain("top-5 accuracy", scores.top5.map_or("–".into(), percent)),
            row("macro F1", percent(scores.macro_f1.value), within(&scores.macro_f1)),
            plain("micro F1", percent(scores.micro_f1)),
            plain("weighted F1", percent(scores.weighted_f1)),
            plain("macro precision", percent(scores.precision.macro_mean)),
            plain("macro recall", percent(scores.recall.macro_mean)),
            plain("ROC AUC", scores.roc_auc.map_or("–".into(), number)),
            plain("mean average precision", scores.average_precision.map_or("–".into(), percent)),
            plain("loss", number(scores.loss)),
            plain("calibration error", percent(scores.calibration_error)),
            plain("Brier score", number(scores.brier)),
        ],
    )?;
    out::line("")?;
    let share = |value: Option<f64>| value.map_or("–".into(), percent);
    let rows: Vec<Vec<String>> = scores
        .classes
        .iter()
        .map(|of| {
            let score = of.score;
            let figures = [score.precision, score.recall, score.f1, of.average_precision].map(share);
            [vec![of.class.clone(), score.support.to_string()], figures.to_vec()].concat()
        })
        .collect();
    table(&["class", "images", "precision", "recall", "F1", "average precision"], &rows)
}

pub(crate) fn precisions(figures: &[PrecisionFigures], as_json: bool) -> Result<()> {
    if as_json {
        return json(&figures);
    }
    let row = |of: &PrecisionFigures| {
        vec![
            of.precision.clone(),
            format!("{:.2} %", of.accuracy * 100.0),
            format!("{:.2} %", of.macro_f1 * 100.0),
            number(of.loss),
            format!("{:.2}", of.latency_ms),
            format!("{:.0}", of.images_per_s),
            format!("{:.2}", of.weight_bytes as f64 / 1e6),
        ]
    };
    let rows: Vec<Vec<String>> = figures.iter().map(row).collect();
    table(&["weights", "accuracy", "macro F1", "loss", "ms for an image", "images/s by 16", "weights MB"], &rows)
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
        table(&["", "what", "found"], &rows)?;
    }
    Ok(if checks.iter().any(|check| check.ok == Some(false)) { ExitCode::from(4) } else { ExitCode::SUCCESS })
}
