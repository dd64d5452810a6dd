//! Run details.

use crate::out;
use crate::tables::{pairs, percent, table};
use anyhow::Result;
use assay_protocol::RunDetail;
use assay_protocol::domain::entity::{Evaluation, Run};
use assay_protocol::domain::record::{Code, Record};
use assay_protocol::domain::{Timestamp, counted, duration, number};

/// Log lines shown.
const LOG: usize = 20;
/// Hash digits shown.
const HASH: usize = 16;

/// Prints a run's details; `now` is the server's clock.
pub(crate) fn everything(detail: &RunDetail, now: Timestamp, as_json: bool) -> Result<()> {
    if as_json {
        return out::json(detail);
    }
    let run = &detail.run;
    head(run)?;
    pairs(&about(run, now))?;
    for (title, values) in [("param", &run.params), ("tag", &run.tags)] {
        let rows: Vec<Vec<String>> = values.iter().map(|(key, value)| vec![key.clone(), value.clone()]).collect();
        section(&[title, "value"], &rows)?;
    }
    metrics(detail, |_| true)?;
    detail.evaluations.iter().try_for_each(evaluation)?;
    let row = |input: &assay_protocol::domain::registry::DatasetInput| {
        let context = input.tags.get("mlflow.data.context").cloned().unwrap_or_default();
        vec![input.name.clone(), input.digest.clone(), context, input.source_type.clone(), input.source.clone()]
    };
    let rows: Vec<Vec<String>> = detail.inputs.iter().map(row).collect();
    section(&["dataset that it read", "digest", "for", "kind", "source"], &rows)?;
    if let Some(record) = &detail.record {
        out::line("")?;
        pairs(&recorded(record))?;
    }
    checkpoints(detail)?;
    let row = |file: &assay_protocol::domain::entity::Artifact| {
        vec![file.path.clone(), file.bytes.to_string(), begin(&file.hash).to_owned()]
    };
    section(&["file", "bytes", "hash"], &detail.artifacts.iter().map(row).collect::<Vec<_>>())?;
    log(detail)
}

/// Prints the result of a run just trained.
pub(crate) fn outcome(detail: &RunDetail, as_json: bool) -> Result<()> {
    if as_json {
        return out::json(detail);
    }
    head(&detail.run)?;
    metrics(detail, |key| !key.starts_with("system/"))?;
    detail.evaluations.iter().try_for_each(evaluation)?;
    let Some(record) = &detail.record else { return Ok(()) };
    out::line("")?;
    let brief = ["commit", "changes", "command", "data", "device"];
    let recorded = recorded(record).into_iter().filter(|(name, _)| brief.contains(name));
    pairs(&recorded.collect::<Vec<_>>())
}

fn head(run: &Run) -> Result<()> {
    out::line(format_args!("run {}  {}  {}", run.id, run.name, run.status))?;
    match &run.reason {
        Some(reason) => Ok(out::line(reason)?),
        None => Ok(()),
    }
}

/// Summary fields but the name.
fn about(run: &Run, now: Timestamp) -> Vec<(&'static str, String)> {
    let time = |at: Timestamp| format!("{} UTC", at.to_minute());
    let mut pairs = vec![("experiment", run.experiment.clone()), ("uid", run.uid.clone())];
    let by = [run.client.as_deref(), run.user.as_deref()];
    pairs.push(("logged by", by.into_iter().flatten().collect::<Vec<_>>().join(", ")));
    pairs.push(("created", time(run.created)));
    pairs.push(("started", run.started.map(time).unwrap_or_default()));
    pairs.push(("ended", run.ended.map(time).unwrap_or_default()));
    pairs.push(("took", run.duration_secs(now).map(duration).unwrap_or_default()));
    if run.progress.total > 0 {
        pairs.push(("steps", format!("{} of {}", run.progress.done, run.progress.total)));
    }
    pairs.push(("cloned from", run.parent.map(|run| format!("run {run}")).unwrap_or_default()));
    let dataset = run.dataset.map(|dataset| match run.snapshot {
        Some(snapshot) => format!("number {dataset}, snapshot number {snapshot}"),
        None => format!("number {dataset}"),
    });
    pairs.push(("dataset", dataset.unwrap_or_default()));
    pairs.push(("deleted", run.deleted.map(time).unwrap_or_default()));
    pairs.push(("note", run.note.clone()));
    pairs
}

/// Prints a table below an empty line, unless empty.
fn section(head: &[&str], rows: &[Vec<String>]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    out::line("")?;
    table(head, rows)
}

fn metrics(detail: &RunDetail, is_shown: impl Fn(&str) -> bool) -> Result<()> {
    let at = |extreme: Option<(f64, i64)>| {
        extreme.map_or("–".to_owned(), |(value, step)| format!("{} at {step}", number(value)))
    };
    let row = |(key, summary): (&String, &assay_protocol::domain::series::Summary)| {
        let last = summary.last.map_or("–".to_owned(), number);
        let best = detail.directions.of(key).as_str();
        vec![key.clone(), last, at(summary.min), at(summary.max), best.to_owned(), summary.count.to_string()]
    };
    let shown = detail.run.metrics.iter().filter(|(key, _)| is_shown(key));
    section(&["metric", "last", "min", "max", "best", "points"], &shown.map(row).collect::<Vec<_>>())
}

fn evaluation(evaluation: &Evaluation) -> Result<()> {
    let confusion = &evaluation.confusion;
    out::line("")?;
    out::line(format_args!(
        "{} split, {} checkpoint: accuracy {}, macro F1 {}, {}",
        evaluation.split,
        evaluation.checkpoint.as_str(),
        percent(confusion.accuracy()),
        percent(confusion.macro_f1()),
        counted(confusion.total(), "sample")
    ))?;
    let row = |(class, name): (usize, &String)| {
        let score = confusion.score(class);
        let figures = [score.precision, score.recall, score.f1].map(percent);
        [vec![name.clone()], figures.to_vec(), vec![score.support.to_string()]].concat()
    };
    let rows: Vec<Vec<String>> = evaluation.classes.iter().enumerate().map(row).collect();
    table(&["class", "precision", "recall", "F1", "support"], &rows)
}

/// The fields of the run's record.
fn recorded(record: &Record) -> Vec<(&'static str, String)> {
    let Record { code, command, machine, data, weights, .. } = record;
    let mut pairs = of_code(code);
    pairs.push(("command", command.arguments.join(" ")));
    pairs.push(("directory", command.directory.clone()));
    pairs.push(("program", format!("{} ({})", command.program, command.build)));
    let environment = command.environment.iter().map(|(name, value)| format!("{name}={value}"));
    pairs.push(("environment", environment.collect::<Vec<_>>().join("\n")));
    if let Some(data) = data {
        let samples: Vec<String> = data.samples.iter().map(|(split, count)| format!("{count} {split}")).collect();
        let snapshot = begin(&data.snapshot);
        pairs.push(("data", format!("{} ({}), snapshot {snapshot}", data.dataset, samples.join(", "))));
        pairs.push(("classes", data.classes.join(", ")));
    }
    let weights = weights.as_ref().map(|weights| format!("{}, {}", weights.from, begin(&weights.hash)));
    pairs.push(("first weights", weights.unwrap_or_default()));
    pairs.push(("seed", record.seed.to_string()));
    // The machine is known once the run starts.
    if !machine.host.is_empty() || machine.cores > 0 {
        pairs.push(("device", machine.device.clone()));
        pairs.push(("cpu", format!("{}, {} cores", machine.cpu, machine.cores)));
        pairs.push(("memory", format!("{:.1} GB", machine.memory_bytes as f64 / 1e9)));
        pairs.push(("system", format!("{} on {}", machine.os, machine.host)));
    }
    pairs
}

fn of_code(code: &Code) -> Vec<(&'static str, String)> {
    let commit = code.commit.as_ref().map(|commit| match &code.summary {
        Some(summary) => format!("{commit} {summary}"),
        None => commit.clone(),
    });
    let submodules = code.submodules.iter().map(|(path, commit)| format!("{path} {commit}"));
    vec![
        ("repository", code.repository.clone().unwrap_or_default()),
        ("commit", commit.unwrap_or_else(|| "none".into())),
        ("branch", code.branch.clone().unwrap_or_default()),
        ("remote", code.remote.clone().unwrap_or_default()),
        ("changes", code.changes().to_owned()),
        ("staged", code.staged.join("\n")),
        ("unstaged", code.unstaged.join("\n")),
        ("untracked", code.untracked.join("\n")),
        ("left out", code.left_out.join("\n")),
        ("submodules", submodules.collect::<Vec<_>>().join("\n")),
        ("notes", code.notes.join("\n")),
    ]
}

fn checkpoints(detail: &RunDetail) -> Result<()> {
    let row = |checkpoint: &assay_protocol::domain::entity::Checkpoint| {
        vec![
            checkpoint.kind.as_str().to_owned(),
            checkpoint.epoch.to_string(),
            checkpoint.step.to_string(),
            percent(checkpoint.val_accuracy),
            checkpoint.at.to_minute(),
            begin(&checkpoint.weights.hash).to_owned(),
        ]
    };
    let head = ["checkpoint", "epoch", "step", "val accuracy", "saved (UTC)", "weights"];
    section(&head, &detail.checkpoints.iter().map(row).collect::<Vec<_>>())
}

/// The end of the log.
fn log(detail: &RunDetail) -> Result<()> {
    let shown = &detail.log[detail.log.len().saturating_sub(LOG)..];
    let rows: Vec<Vec<String>> = shown.iter().map(|line| vec![line.at.iso(), line.text.clone()]).collect();
    let head = match shown.len() < detail.log.len() {
        true => format!("the last {} of the log", counted(shown.len(), "line")),
        false => "log".to_owned(),
    };
    section(&["at", &head], &rows)
}

fn begin(hash: &str) -> &str {
    &hash[..HASH.min(hash.len())]
}
