//! Experiments.

use super::failure::Failure;
use super::fields::Fields;
use super::runs::check_length;
use super::{Answer, operands, wire};
use assay_domain::ExperimentId;
use assay_domain::entity::Experiment;
use assay_domain::search::{self, Comparison, Operand, SortBy};
use assay_engine::Engine;
use serde_json::json;
use std::cmp::Ordering;

/// Names, keys and values are at most so long.
const NAME: usize = 500;
const TAG_KEY: usize = 250;
const TAG_VALUE: usize = 5000;
/// The experiment that is always there.
const DEFAULT: ExperimentId = ExperimentId(0);

/// The id of an experiment as clients have it.
pub(super) fn id_of(text: &str) -> Answer<ExperimentId> {
    text.parse().map_err(|_| {
        Failure::invalid(format!("Invalid experiment ID '{text}'. Experiment ID must be a valid integer."))
    })
}

fn check_tag(key: &str, value: &str) -> Answer<()> {
    check_length("key", key, TAG_KEY)?;
    check_length("value", value, TAG_VALUE)
}

pub(super) fn create(engine: &Engine, fields: &Fields) -> Answer {
    let name = fields.required("name")?;
    // A path is one of this machine.
    let place = |location: String| match location.contains(':') {
        true => location,
        false => std::path::absolute(&location).map_or(location, |path| path.display().to_string()),
    };
    let location = fields.word("artifact_location")?.map(place);
    let tags = fields.pairs("tags")?;
    check_length("name", &name, NAME)?;
    if let Some(location) = location.as_deref().filter(|location| location.starts_with("runs:/")) {
        return Err(Failure::invalid(format!("Artifact location cannot be a runs:/ URI. Given: '{location}'")));
    }
    tags.iter().try_for_each(|(key, value)| check_tag(key, value))?;
    let experiment = engine.create_experiment(name, location, tags).map_err(Failure::of_existing)?;
    Ok(json!({ "experiment_id": experiment.to_string() }))
}

pub(super) fn get(engine: &Engine, fields: &Fields) -> Answer {
    let experiment = engine.experiment(id_of(&fields.required("experiment_id")?)?)?;
    Ok(json!({ "experiment": wire::experiment(&experiment) }))
}

pub(super) fn get_by_name(engine: &Engine, fields: &Fields) -> Answer {
    let name = fields.required("experiment_name")?;
    let found = engine.experiments()?.into_iter().find(|experiment| experiment.name == name);
    let found = found.ok_or_else(|| Failure::missing(format!("Could not find experiment with name '{name}'")))?;
    Ok(json!({ "experiment": wire::experiment(&found) }))
}

pub(super) fn update(engine: &Engine, fields: &Fields) -> Answer {
    let experiment = engine.experiment(id_of(&fields.required("experiment_id")?)?)?;
    let name = fields.required("new_name")?;
    check_length("name", &name, NAME)?;
    if experiment.deleted.is_some() {
        return Err(Failure::invalid("Cannot rename a non-active experiment."));
    }
    if name != experiment.name {
        engine.rename_experiment(experiment.id, name).map_err(Failure::of_existing)?;
    }
    Ok(json!({}))
}

pub(super) fn delete(engine: &Engine, fields: &Fields) -> Answer {
    let experiment = engine.experiment(id_of(&fields.required("experiment_id")?)?)?;
    if experiment.deleted.is_some() {
        return Err(Failure::missing(format!("No Experiment with id={} exists", experiment.id)));
    }
    if experiment.id == DEFAULT {
        return Err(Failure::invalid("Cannot delete the default experiment; its runs can be deleted one by one"));
    }
    engine.delete_experiment(experiment.id)?;
    Ok(json!({}))
}

pub(super) fn restore(engine: &Engine, fields: &Fields) -> Answer {
    let experiment = engine.experiment(id_of(&fields.required("experiment_id")?)?)?;
    if experiment.deleted.is_none() {
        return Err(Failure::missing(format!("No deleted Experiment with id={} exists", experiment.id)));
    }
    engine.restore_experiment(experiment.id)?;
    Ok(json!({}))
}

pub(super) fn set_tag(engine: &Engine, fields: &Fields) -> Answer {
    let experiment = active(engine, fields)?;
    let (key, value) = fields.pair()?;
    check_tag(&key, &value)?;
    engine.tag_experiment(experiment, key, Some(value))?;
    Ok(json!({}))
}

pub(super) fn delete_tag(engine: &Engine, fields: &Fields) -> Answer {
    let experiment = active(engine, fields)?;
    let key = fields.required("key")?;
    match engine.tag_experiment(experiment, key.clone(), None)? {
        true => Ok(json!({})),
        false => Err(Failure::missing(format!("No tag with name: {key} in experiment with id {experiment}"))),
    }
}

fn active(engine: &Engine, fields: &Fields) -> Answer<ExperimentId> {
    let experiment = engine.experiment(id_of(&fields.required("experiment_id")?)?)?;
    match experiment.deleted {
        None => Ok(experiment.id),
        Some(_) => Err(Failure::invalid(format!(
            "The experiment {} must be in the 'active' state. Current state is deleted.",
            experiment.id
        ))),
    }
}

pub(super) fn search(engine: &Engine, fields: &Fields) -> Answer {
    let (page, filter, order) = (fields.page(1000, 50_000)?, fields.filter()?, fields.order()?);
    filter.iter().try_for_each(check_comparison)?;
    order.iter().try_for_each(|by| check_column(&by.column, &ORDERED))?;
    let deleted = is_deleted(fields.text("view_type")?.as_deref())?;
    let mut found = engine.experiments()?;
    found.retain(|experiment| {
        deleted.is_none_or(|deleted| experiment.deleted.is_some() == deleted)
            && filter.iter().all(|comparison| is_fulfilled(comparison, experiment))
    });
    found.sort_by(|a, b| {
        let by = |by: &SortBy| {
            let order = match by.column.key.as_str() {
                "name" => a.name.cmp(&b.name),
                "creation_time" => a.created.cmp(&b.created),
                "last_update_time" => a.updated.cmp(&b.updated),
                _ => a.id.cmp(&b.id),
            };
            if by.descending { order.reverse() } else { order }
        };
        let asked = order.iter().map(by).fold(Ordering::Equal, Ordering::then);
        asked.then(b.created.cmp(&a.created)).then(b.id.cmp(&a.id))
    });
    page.of("experiments", &found, |experiment| Ok(wire::experiment(experiment)))
}

/// Which of those that are deleted and those that are not; both where nothing is returned.
pub(super) fn is_deleted(view: Option<&str>) -> Answer<Option<bool>> {
    match view {
        None | Some("" | "ACTIVE_ONLY") => Ok(Some(false)),
        Some("DELETED_ONLY") => Ok(Some(true)),
        Some("ALL") => Ok(None),
        Some(other) => Err(Failure::invalid(format!("Invalid value \"{other}\" for parameter 'view_type' supplied"))),
    }
}

/// Attributes of filters, and of orders.
const FILTERED: [&str; 3] = ["name", "creation_time", "last_update_time"];
const ORDERED: [&str; 4] = ["name", "creation_time", "last_update_time", "experiment_id"];

fn check_comparison(comparison: &Comparison) -> Answer<()> {
    let column = &comparison.column;
    if is_tag(column) {
        return operands::check_textual(comparison, "tag");
    }
    check_column(column, &FILTERED)?;
    if comparison.operand == Operand::Nothing {
        return Err(Failure::invalid("IS NULL / IS NOT NULL is only supported for tags"));
    }
    match column.key.as_str() {
        "name" => operands::check_textual(comparison, "attributes"),
        key => operands::check_numeric(comparison, &format!("numeric attribute: {key}")),
    }
}

fn check_column(column: &search::Column, known: &[&str]) -> Answer<()> {
    let is_attribute = matches!(column.kind.as_str(), "" | "attribute" | "attributes" | "attr");
    match is_attribute && known.contains(&column.key.as_str()) {
        true => Ok(()),
        false => Err(Failure::invalid(format!(
            "Invalid attribute key '{}' specified. Valid keys are {}",
            column.key,
            known.join(", ")
        ))),
    }
}

fn is_tag(column: &search::Column) -> bool {
    matches!(column.kind.as_str(), "tag" | "tags")
}

fn is_fulfilled(comparison: &Comparison, experiment: &Experiment) -> bool {
    let key = comparison.column.key.as_str();
    if is_tag(&comparison.column) {
        return comparison.is_fulfilled_by_text(experiment.tags.get(key).map(String::as_str));
    }
    match key {
        "creation_time" => comparison.is_fulfilled_by_number(Some(experiment.created.0 as f64)),
        "last_update_time" => comparison.is_fulfilled_by_number(Some(experiment.updated.0 as f64)),
        _ => comparison.is_fulfilled_by_text(Some(&experiment.name)),
    }
}
