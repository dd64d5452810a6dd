//! Following a run or a job to its end.

use crate::client::Client;
use crate::{out, show};
use anyhow::{Context, Result};
use assay_protocol::domain::entity::{Job, Run};
use assay_protocol::domain::{EventSeq, RunStatus, number};
use assay_protocol::{About, EventPage, EventsQuery, RunDetail, path};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The text of a config file with what it includes; the defaults without one.
pub(crate) fn read_config(file: Option<&Path>) -> Result<String> {
    match file {
        None => Ok(String::new()),
        Some(file) => assay_engine::read_config(file).context("a config file (overrides are written key=value)"),
    }
}

/// Shows the progress of a run until it ends; Ctrl+C stops it.
pub(crate) async fn follow_run(client: &Client, run: Run, detach: bool, json: bool) -> Result<ExitCode> {
    if detach && !client.door().is_owner().await {
        out::line(format_args!("run {} ({}) is {}", run.id, run.name, run.status))?;
        return Ok(ExitCode::SUCCESS);
    }
    out::tell(format_args!("run {} ({})", run.id, run.name));
    let interrupts = Arc::new(AtomicU32::new(0));
    let counted = interrupts.clone();
    ctrlc::set_handler(move || {
        if counted.fetch_add(1, Ordering::SeqCst) > 0 {
            std::process::exit(130);
        }
    })?;
    let bar = bar("{bar:32} {percent:>3} %  {elapsed} left {eta}  {msg}")?;
    let mut after = client.get::<About>(path::ABOUT).await?.last_event;
    let mut asked_to_stop = false;
    let run = loop {
        let seen: Run = client.get::<RunDetail>(&path::run(run.id, "")).await?.run;
        bar.set_length(seen.progress.total.max(1));
        bar.set_position(seen.progress.done);
        bar.set_message(told(&seen));
        if seen.status.has_ended() {
            break seen;
        }
        if interrupts.load(Ordering::SeqCst) > 0 && !asked_to_stop {
            asked_to_stop = true;
            bar.println("stopping after this step; Ctrl+C again to leave at once");
            client.post::<Run>(&path::run(run.id, "/stop"), &()).await?;
        }
        after = next_event(client, after).await?;
    };
    bar.finish_and_clear();
    let detail: RunDetail = client.get(&path::run(run.id, "")).await?;
    show::outcome(&detail, json)?;
    Ok(match run.status {
        RunStatus::Finished => ExitCode::SUCCESS,
        RunStatus::Stopped => ExitCode::from(130),
        _ => ExitCode::from(3),
    })
}

/// Shows the progress of a job until it ends, and how it ended.
pub(crate) async fn follow_job(client: &Client, job: Job, json: bool) -> Result<ExitCode> {
    let ended = ended_job(client, job).await?;
    if json {
        out::json(&ended)?;
    } else {
        out::line(format_args!("{}: {}", ended.status, ended.message))?;
    }
    Ok(if ended.status == RunStatus::Finished { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Shows the progress of a job until it ends.
pub(crate) async fn ended_job(client: &Client, job: Job) -> Result<Job> {
    let bar = bar("{bar:32} {pos}/{len}  {elapsed}  {msg}")?;
    let mut after = EventSeq(client.get::<About>(path::ABOUT).await?.last_event.0);
    loop {
        let seen: Job = client.get(&path::job(job.id, "")).await?;
        bar.set_length(seen.progress.total);
        bar.set_position(seen.progress.done);
        bar.set_message(seen.message.clone());
        if seen.status.has_ended() {
            bar.finish_and_clear();
            return Ok(seen);
        }
        after = next_event(client, after).await?;
    }
}

/// Waits until something changes, at most a second.
async fn next_event(client: &Client, after: EventSeq) -> Result<EventSeq> {
    let query = EventsQuery { after: after.0, wait_secs: 1.0 };
    Ok(client.get::<EventPage>(&format!("{}{}", path::EVENTS, query.to_query())).await?.last)
}

fn bar(template: &str) -> Result<ProgressBar> {
    let bar = ProgressBar::new(1);
    bar.set_style(ProgressStyle::with_template(template)?.progress_chars("━━ "));
    Ok(bar)
}

fn told(run: &Run) -> String {
    let last = |key: &str| run.metrics.get(key).and_then(|summary| summary.last);
    let mut parts = vec![run.status.to_string()];
    parts.extend(last("train/loss").map(|loss| format!("loss {}", number(loss))));
    parts.extend(last("val/accuracy").map(|accuracy| format!("val accuracy {:.2} %", accuracy * 100.0)));
    parts.join("  ")
}
