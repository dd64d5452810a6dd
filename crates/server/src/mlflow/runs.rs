//! Runs, their params and their tags.

use super::experiments::{id_of, is_deleted};
use super::failure::Failure;
use super::fields::Fields;
use super::{Answer, operands, wire};
use assay_domain::entity::Run;
use assay_domain::key::{self, KeyFault, LONGEST_KEY};
use assay_domain::search::{Column, Operand};
use assay_domain::{ExperimentId, RunStatus, Timestamp};
use assay_engine::{Batch, ClientRun, ClientRunChange, Engine, NOTE, RUN_NAME, Relations, RunSearch};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};

/// Maximum lengths of params and tags.
const PARAM: usize = 6000;
const TAG: usize = 8000;
/// The most runs of a page.
const PAGE: usize = 50_000;

/// Whether a name may be a key, and a path within it is one.
pub(super) fn check_key(fields: &Fields, name: &str, key: &str) -> Answer<()> {
    let why = match key::check(key) {
        Ok(()) => return Ok(()),
        Err(KeyFault::Long) => return check_length(name, key, LONGEST_KEY),
        Err(KeyFault::Sign) => {
            "Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), colon(:) and slashes (/)."
        }
        Err(KeyFault::Path) => {
            "Names may be treated as files in certain cases, and must not resolve to other names when treated as such."
        }
    };
    Err(fields.refused(name, key, why))
}

pub(super) fn check_length(name: &str, text: &str, most: usize) -> Answer<()> {
    match text.chars().count() > most {
        true => Err(Failure::invalid(format!("'{name}' exceeds the maximum length of {most} characters"))),
        false => Ok(()),
    }
}

/// The value of a param as it is kept: what is too long is cut, for clients log whole configurations in passing.
pub(super) fn param(fields: &Fields, key: &str, value: String) -> Answer<String> {
    check_key(fields, "key", key)?;
    Ok(cut(key, value, PARAM))
}

/// The value of a tag as it is kept: what is too long is cut.
pub(super) fn tag(fields: &Fields, key: &str, value: String) -> Answer<String> {
    check_key(fields, "key", key)?;
    Ok(cut(key, value, TAG))
}

fn cut(key: &str, mut value: String, most: usize) -> String {
    if let Some((end, _)) = value.char_indices().nth(most) {
        tracing::warn!(key, bytes = value.len(), "a value is kept up to its first {most} characters");
        value.truncate(end);
    }
    value
}

/// Where the artifacts of each experiment are.
fn locations(engine: &Engine) -> Answer<HashMap<ExperimentId, String>> {
    let found = engine.experiments()?;
    Ok(found.iter().map(|experiment| (experiment.id, wire::location(experiment))).collect())
}

fn told(engine: &Engine, run: &Run) -> Answer {
    let location = wire::location(&engine.experiment(run.experiment_id)?);
    let relations = engine.relations(&[run.id])?;
    Ok(wire::run(run, &relations[0], &location))
}

pub(super) fn create(engine: &Engine, fields: &Fields) -> Answer {
    let experiment = fields.word("experiment_id")?.unwrap_or_else(|| "0".into());
    let experiment = engine.experiment(id_of(&experiment)?)?;
    if experiment.deleted.is_some() {
        return Err(Failure::invalid(format!(
            "The experiment {} must be in the 'active' state. Current state is deleted.",
            experiment.id
        )));
    }
    // As in MLflow's server, keys are checked only for later tags.
    let tags: BTreeMap<String, String> =
        fields.pairs("tags")?.into_iter().map(|(key, value)| (key.clone(), cut(&key, value, TAG))).collect();
    let name = fields.word("run_name")?;
    let of_tag = tags.get(RUN_NAME).filter(|name| !name.trim().is_empty()).cloned();
    if let (Some(name), Some(tag)) = (&name, &of_tag)
        && name != tag
    {
        return Err(Failure::invalid(format!(
            "Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different values \
             (run_name='{name}', mlflow.runName='{tag}')."
        )));
    }
    let run = engine.create_client_run(ClientRun {
        uid: String::new(),
        experiment: experiment.id,
        name: name.or(of_tag).unwrap_or_default(),
        client: "mlflow".into(),
        user: fields.word("user_id")?,
        started: fields.integer("start_time")?.filter(|at| *at > 0).map(Timestamp),
        tags,
    })?;
    Ok(json!({ "run": wire::run(&run, &Relations::default(), &wire::location(&experiment)) }))
}

pub(super) fn get(engine: &Engine, fields: &Fields) -> Answer {
    Ok(json!({ "run": told(engine, &engine.run_by_uid(&fields.run()?)?)? }))
}

pub(super) fn update(engine: &Engine, fields: &Fields) -> Answer {
    let run = engine.active_run(&fields.run()?)?;
    let status = match fields.text("status")? {
        Some(word) => {
            Some(RunStatus::of_mlflow(&word).ok_or_else(|| fields.refused("status", &word, "No such status."))?)
        }
        None => None,
    };
    let change =
        ClientRunChange { name: fields.word("run_name")?, status, ended: fields.integer("end_time")?.map(Timestamp) };
    let run = engine.change_client_run(run, change)?;
    let location = wire::location(&engine.experiment(run.experiment_id)?);
    Ok(json!({ "run_info": wire::run_info(&run, &location) }))
}

pub(super) fn delete(engine: &Engine, fields: &Fields) -> Answer {
    engine.delete_run(engine.active_run(&fields.run()?)?)?;
    Ok(json!({}))
}

pub(super) fn restore(engine: &Engine, fields: &Fields) -> Answer {
    let uid = fields.run()?;
    let run = engine.run_head(&uid)?;
    if !run.is_deleted {
        return Err(Failure::invalid(format!(
            "The run {uid} must be in the 'deleted' state. Current state is active."
        )));
    }
    engine.restore_run(run.id)?;
    Ok(json!({}))
}

pub(super) fn log_param(engine: &Engine, fields: &Fields) -> Answer {
    let uid = fields.run()?;
    let (key, value) = fields.pair()?;
    let value = param(fields, &key, value)?;
    let run = engine.active_run(&uid)?;
    engine.log_batch(run, Batch { params: vec![(key, value)], ..Batch::default() })?;
    Ok(json!({}))
}

pub(super) fn set_tag(engine: &Engine, fields: &Fields) -> Answer {
    let uid = fields.run()?;
    let (key, value) = fields.pair()?;
    let value = tag(fields, &key, value)?;
    let run = engine.active_run(&uid)?;
    engine.log_batch(run, Batch { tags: BTreeMap::from([(key, value)]), ..Batch::default() })?;
    Ok(json!({}))
}

pub(super) fn delete_tag(engine: &Engine, fields: &Fields) -> Answer {
    let (uid, key) = (fields.run()?, fields.required("key")?);
    engine.remove_tag(engine.active_run(&uid)?, key)?;
    Ok(json!({}))
}

pub(super) fn search(engine: &Engine, fields: &Fields) -> Answer {
    let (page, mut filter, mut order) = (fields.page(1000, PAGE)?, fields.filter()?, fields.order()?);
    for comparison in &mut filter {
        let is_of_key =
            matches!(comparison.column.kind.as_str(), "param" | "params" | "parameter" | "parameters" | "tag" | "tags");
        if comparison.operand == Operand::Nothing && !is_of_key {
            return Err(Failure::invalid("IS NULL / IS NOT NULL is only supported for params and tags"));
        }
        comparison.column = known(&comparison.column)?;
        match (comparison.column.kind.as_str(), comparison.column.key.as_str()) {
            ("metrics", _) => operands::check_numeric(comparison, "metric")?,
            ("attributes", key @ ("start_time" | "end_time")) => {
                operands::check_numeric(comparison, &format!("numeric attribute: {key}"))?;
            }
            ("params", _) => operands::check_textual(comparison, "parameter")?,
            ("tags", _) => operands::check_textual(comparison, "tag")?,
            (kind, _) => operands::check_textual_or_list(comparison, kind)?,
        }
    }
    for by in &mut order {
        by.column = known(&by.column)?;
    }
    // What is no id of ours names no experiment.
    let experiments = fields.texts("experiment_ids")?.iter().filter_map(|text| id_of(text).ok()).collect();
    let deleted = is_deleted(fields.text("run_view_type")?.as_deref())?;
    let search = RunSearch { experiments, filter, order, deleted, offset: page.offset, limit: page.limit };
    let (runs, has_more) = engine.search_runs(&search)?;
    let locations = locations(engine)?;
    let relations = engine.relations(&runs.iter().map(|run| run.id).collect::<Vec<_>>())?;
    let tell = |(run, relations): (&Run, &Relations)| {
        wire::run(run, relations, locations.get(&run.experiment_id).map(String::as_str).unwrap_or_default())
    };
    Ok(page.told("runs", runs.iter().zip(&relations).map(tell).collect(), has_more))
}

/// A column by the words that the store knows.
fn known(column: &Column) -> Answer<Column> {
    let kind = match column.kind.as_str() {
        "metric" | "metrics" => "metrics",
        "param" | "params" | "parameter" | "parameters" => "params",
        "tag" | "tags" => "tags",
        "dataset" | "datasets" => "datasets",
        "" | "attribute" | "attributes" | "attr" | "run" => "attributes",
        other => {
            return Err(Failure::invalid(format!(
                "Invalid entity type '{other}'. Valid values are ['metric', 'parameter', 'tag', 'attribute', 'dataset']"
            )));
        }
    };
    let (kind, key) = match (kind, column.key.as_str()) {
        ("tags", RUN_NAME) => ("attributes", "run_name"),
        ("tags", NOTE) => ("attributes", "note"),
        ("attributes", "Created" | "created") => (kind, "start_time"),
        ("attributes", "Run name" | "run name" | "Run Name") => (kind, "run_name"),
        ("attributes", "User" | "user") => (kind, "user_id"),
        (_, key) => (kind, key),
    };
    Ok(Column { kind: kind.into(), key: key.into() })
}
