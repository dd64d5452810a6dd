//! The files that Weights & Biases writes beside its program: a log as LevelDB's, each of its records a message.
//!
//! The format is that of `core/pkg/leveldb` and `wandb/proto/wandb_internal.proto` in its sources.

mod log;
mod message;
mod values;

use super::histogram;
use super::json::{Leaves, number, parsed};
use assay_domain::foreign::{Logged, Part};
use assay_domain::{Point, RunStatus, Timestamp};
use log::{BEGINNING, HEAD, Log, Next};
use message::{Environment, Exit, History, Item, Items, ProtoTime, Record, Run, Stats, Timed};
use prost::Message;
use serde_json::{Map, Value};
use std::path::Path;
use values::{insert, kind, percentiles, text, whole};

/// A part holds about as many bytes of records at most.
const PART_BYTES: u64 = 8 << 20;

/// The run's record is within as many bytes.
const BEGINNING_BYTES: u64 = 1 << 20;

/// Reads a `.wandb` file on from this byte. A record that is not whole yet is left for the next time.
///
/// # Errors
/// When the file does not open or read. Damage in it is no error: what is before it is returned with a reason.
pub(crate) fn read(path: &Path, from: u64) -> std::io::Result<Part> {
    let mut log = Log::open(path)?;
    let mut reading = Reading { part: Part { read: from, ..Part::default() }, ..Reading::default() };
    reading.part.damage = super::shortened(log.total, from);
    if reading.part.damage.is_some() {
        return Ok(reading.part);
    }
    match log.beginning()? {
        None => return Ok(reading.part),
        Some(beginning) if beginning != BEGINNING => {
            reading.part.damage = Some("it does not begin as a .wandb file does".into());
            return Ok(reading.part);
        }
        Some(_) => {}
    }
    reading.began = began(&mut log)?;
    log.seek(from.max(HEAD))?;
    reading.part.read = log.at;
    reading.read_on(&mut log)?;
    reading.part.logged.extend(reading.heard.map(Logged::Heard));
    Ok(reading.part)
}

/// When the run began, from its record near the beginning.
fn began(log: &mut Log) -> std::io::Result<Option<Timestamp>> {
    while log.at < BEGINNING_BYTES {
        let Next::Record(bytes) = log.next()? else { break };
        let Ok(record) = Record::decode(bytes.as_slice()) else { break };
        if let Some(run) = record.run {
            return Ok(run.start_time.map(ProtoTime::at));
        }
    }
    Ok(None)
}

/// What is known while a file is read.
#[derive(Default)]
struct Reading {
    part: Part,
    began: Option<Timestamp>,
    heard: Option<Timestamp>,
}

impl Reading {
    fn read_on(&mut self, log: &mut Log) -> std::io::Result<()> {
        let from = self.part.read;
        while log.at < log.total {
            if log.at - from >= PART_BYTES {
                self.part.has_more = true;
                break;
            }
            let record = match log.next()? {
                Next::Record(bytes) => Record::decode(bytes.as_slice()).ok(),
                Next::TooLarge => {
                    self.part.left_out += 1;
                    Some(Record::default())
                }
                Next::Cut => break,
                Next::Damage => None,
            };
            let Some(record) = record else {
                self.part.damage = Some(format!("it is damaged at byte {}", self.part.read));
                break;
            };
            self.part.read = log.at;
            self.add(record);
        }
        Ok(())
    }

    fn add(&mut self, record: Record) {
        let Record { history, summary, config, stats, output, run, exit, environment, sender } = record;
        if let Some(run) = run {
            self.add_run(run);
        }
        if let Some(Environment { username }) = environment {
            self.log_text(Logged::User, username);
        }
        if let Some(config) = config {
            self.add_config(config);
        }
        if let Some(history) = history {
            self.add_history(history);
        }
        if let Some(stats) = stats {
            self.add_stats(stats);
        }
        // What the program wrote there comes with a sender; what is derived from the history does not.
        if let Some(summary) = summary.filter(|_| sender.is_some_and(|sender| !sender.stream_id.is_empty())) {
            self.add_summary(summary);
        }
        if let Some(Timed { timestamp: Some(time) }) = output {
            self.hear(time.at());
        }
        if let Some(exit) = exit {
            self.add_exit(&exit);
        }
    }

    fn hear(&mut self, at: Timestamp) {
        self.heard = self.heard.max(Some(at));
    }

    fn log_text(&mut self, logged: impl FnOnce(String) -> Logged, text: String) {
        if !text.is_empty() {
            self.part.logged.push(logged(text));
        }
    }

    fn add_run(&mut self, run: Run) {
        let name = if run.display_name.is_empty() { run.run_id.clone() } else { run.display_name };
        self.log_text(Logged::Name, name);
        self.log_text(Logged::Experiment, run.project);
        self.log_text(Logged::Note, run.notes);
        self.log_text(Logged::User, run.host);
        if let Some(time) = run.start_time {
            self.hear(time.at());
            self.part.logged.push(Logged::Began(time.at()));
        }
        for tag in run.tags {
            self.part.logged.push(Logged::Tag(tag, String::new()));
        }
        let git = run.git.unwrap_or_default();
        let tags = [
            ("wandb.run_id", run.run_id),
            ("wandb.group", run.run_group),
            ("wandb.job_type", run.job_type),
            ("wandb.sweep_id", run.sweep_id),
            ("wandb.git_commit", git.commit),
            ("wandb.git_remote", git.remote_url),
        ];
        for (key, text) in tags {
            self.log_text(|text| Logged::Tag(key.into(), text), text);
        }
        if let Some(config) = run.config {
            self.add_config(config);
        }
    }

    fn add_config(&mut self, config: Items) {
        for (key, value) in self.leaves(config.update, "_wandb") {
            self.part.logged.push(Logged::Param(key, text(value)));
        }
    }

    fn add_summary(&mut self, summary: Items) {
        for (key, value) in self.leaves(summary.update, "_") {
            match value {
                Value::Object(_) => {}
                Value::Null | Value::Array(_) => self.part.left_out += 1,
                value => self.part.logged.push(Logged::Tag(format!("summary.{key}"), text(value))),
            }
        }
    }

    fn add_history(&mut self, history: History) {
        let own = |name: &str| history.item.iter().find(|item| item.is(name)).and_then(|item| parsed(&item.value_json));
        let step = own("_step").as_ref().and_then(whole);
        let step = step.or(history.step.map(|step| step.num)).unwrap_or_default();
        let time = own("_timestamp").as_ref().and_then(number).filter(|secs| secs.is_finite());
        let time = time.map(|secs| Timestamp((secs * 1e3).round() as i64));
        if let Some(time) = time {
            self.hear(time);
        }
        let wall_ms = time.or(self.began).unwrap_or_default().0;
        let leaves = self.leaves(history.item, "_");
        self.add_points("", leaves, |value| Point { step, wall_ms, value });
    }

    fn add_stats(&mut self, stats: Stats) {
        let at = stats.timestamp.unwrap_or_default().at();
        self.hear(at);
        let since = at.0.saturating_sub(self.began.unwrap_or_default().0);
        let leaves = self.leaves(stats.item, "_");
        self.add_points("system/", leaves, |value| Point { step: since.div_euclid(1000), wall_ms: at.0, value });
    }

    fn add_exit(&mut self, exit: &Exit) {
        let status = if exit.exit_code == 0 { RunStatus::Finished } else { RunStatus::Failed };
        // In whole seconds: a shorter run does not say it.
        let ran = (exit.runtime > 0).then(|| i64::from(exit.runtime) * 1000);
        let at = self.began.zip(ran).map(|(began, ran)| Timestamp(began.0.saturating_add(ran)));
        self.part.logged.push(Logged::Status(status, at));
    }

    fn add_points(&mut self, before: &str, leaves: Vec<(String, Value)>, point: impl Fn(f64) -> Point) {
        for (key, value) in leaves {
            let key = format!("{before}{key}");
            match (number(&value), kind(&value)) {
                (Some(value), _) => self.part.logged.push(Logged::Point(key, point(value))),
                (None, Some("histogram")) => match percentiles(&value) {
                    Some(values) => self.part.logged.extend(histogram::points(&key, values, &point)),
                    None => self.part.left_out += 1,
                },
                // An image or the like: it names its files, which lie beside this one.
                (None, Some(_)) => {}
                (None, None) => self.part.left_out += 1,
            }
        }
    }

    /// The values of a record and their keys. Those whose key begins so are the program's own.
    fn leaves(&mut self, items: Vec<Item>, own: &str) -> Vec<(String, Value)> {
        let mut tree = Map::new();
        for item in items {
            match parsed(&item.value_json) {
                Some(value) => insert(&mut tree, &item.path(), value),
                None => self.part.left_out += 1,
            }
        }
        let mut leaves = Leaves::default();
        for (key, value) in tree.into_iter().filter(|(key, _)| !key.starts_with(own)) {
            leaves.add(key, value);
        }
        let is_new = |note: &String| !self.part.notes.contains(note);
        let notes: Vec<String> = leaves.notes.into_iter().filter(is_new).collect();
        self.part.notes.extend(notes);
        leaves.found
    }
}

#[cfg(test)]
mod tests;
