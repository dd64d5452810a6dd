//! Experiments.

use super::failure::Failure;
use super::fields::{Fields, page_token};
use super::{Answer, wire};
use assay_domain::ExperimentId;
use assay_domain::entity::Experiment;
use assay_domain::search::{self, Comparison, SortBy};
use assay_engine::Engine;
use serde_json::{Value, json};
use std::cmp::Ordering;

/// Names, keys and values are at most so long.
const NAME: usize = 500;
const TAG_KEY: usize = 250;
const TAG_VALUE: usize = 5000;
/// The experiment that is always there.
const DEFAULT: ExperimentId = ExperimentId(0);

/// The id of an experiment as clients have it.
pub(super) fn id_of(text: &str) -> Answer<ExperimentId> {
    text.parse().map_err(|_| Failure::missing(format!("No Experiment with id={text} exists")))
}

fn check_tag(key: &str, value: &str) -> Answer<()> {
    for (what, text, most) in [("key", key, TAG_KEY), ("value", value, TAG_VALUE)] {
        if text.chars().count() > most {
            return Err(Failure::invalid(format!("'{what}' exceeds the maximum length of {most} characters")));
        }
    }
    Ok(())
}

pub(super) fn create(engine: &Engine, fields: &Fields) -> Answer {
    let name = fields.required("name")?;
    // A path is one of this machine.
    let place = |location: String| match location.contains(':') {
        true => location,
        false => std::path::absolute(&location).map_or(location, |path| path.display().to_string()),
    };
    let location = fields.text("artifact_location")?.filter(|location| !location.is_empty()).map(place);
    let tags = fields.pairs("tags")?;
    if name.chars().count() > NAME {
        return Err(Failure::invalid(format!("'name' exceeds the maximum length of {NAME} characters")));
    }
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
    let found = engine.all_experiments()?.into_iter().find(|experiment| experiment.name == name);
    let found = found.ok_or_else(|| Failure::missing(format!("Could not find experiment with name '{name}'")))?;
    Ok(json!({ "experiment": wire::experiment(&found) }))
}

pub(super) fn update(engine: &Engine, fields: &Fields) -> Answer {
    let experiment = engine.experiment(id_of(&fields.required("experiment_id")?)?)?;
    let Some(name) = fields.text("new_name")?.filter(|name| !name.is_empty()) else { return Ok(json!({})) };
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
    let (key, value) = (fields.required("key")?, fields.text("value")?.unwrap_or_default());
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
    let (limit, offset) = (fields.count("max_results", 1000, 50_000)?, fields.offset()?);
    let filter = search::parse(&fields.text("filter")?.unwrap_or_default()).map_err(invalid)?;
    filter.iter().try_for_each(|comparison| check_column(&comparison.column))?;
    let order = fields.texts("order_by")?;
    let order = order.iter().map(|text| search::parse_sort(text).map_err(invalid)).collect::<Answer<Vec<SortBy>>>()?;
    order.iter().try_for_each(|by| check_column(&by.column))?;
    let deleted = is_deleted(fields.text("view_type")?.as_deref())?;
    let mut found = engine.all_experiments()?;
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
    let has_more = found.len() > offset + limit;
    let page: Value = found.iter().skip(offset).take(limit).map(wire::experiment).collect();
    let mut answer = json!({ "experiments": page });
    if has_more {
        answer["next_page_token"] = page_token(offset + limit);
    }
    Ok(answer)
}

pub(super) fn invalid(error: search::SearchError) -> Failure {
    Failure::invalid(error.0)
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

fn check_column(column: &search::Column) -> Answer<()> {
    let is_attribute = matches!(column.kind.as_str(), "" | "attribute" | "attributes" | "attr");
    let is_known = matches!(column.key.as_str(), "name" | "creation_time" | "last_update_time" | "experiment_id");
    match is_attribute && is_known || matches!(column.kind.as_str(), "tag" | "tags") {
        true => Ok(()),
        false => Err(Failure::invalid(format!("Invalid attribute key '{}' specified.", column.key))),
    }
}

fn is_fulfilled(comparison: &Comparison, experiment: &Experiment) -> bool {
    let key = comparison.column.key.as_str();
    if matches!(comparison.column.kind.as_str(), "tag" | "tags") {
        return comparison.is_fulfilled_by_text(experiment.tags.get(key).map(String::as_str));
    }
    match key {
        "creation_time" => comparison.is_fulfilled_by_number(Some(experiment.created.0 as f64)),
        "last_update_time" => comparison.is_fulfilled_by_number(Some(experiment.updated.0 as f64)),
        "experiment_id" => comparison.is_fulfilled_by_text(Some(&experiment.id.to_string())),
        _ => comparison.is_fulfilled_by_text(Some(&experiment.name)),
    }
}
