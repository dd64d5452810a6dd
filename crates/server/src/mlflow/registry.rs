//! The model registry.

use super::failure::Failure;
use super::fields::Fields;
use super::runs::check_length;
use super::{Answer, logged, operands, wire};
use assay_domain::registry::{ModelVersion, RegisteredModel};
use assay_domain::search::{Column, Comparison, Operand, Operator, SortBy};
use assay_engine::{Archive, Engine, NewVersion};
use serde_json::{Value, json};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

const STAGES: [&str; 4] = ["None", "Staging", "Production", "Archived"];
const ALIAS: usize = 255;
const TAG_KEY: usize = 250;
const TAG_VALUE: usize = 100_000;

/// The name that a registered model is to have.
fn new_name(fields: &Fields, field: &str) -> Answer<String> {
    let name = fields.required(field)?;
    match name.contains(['/', ':']) {
        true => Err(Failure::invalid(format!(
            "Invalid name for a registered model: '{name}'. It cannot contain slashes or colons."
        ))),
        false => Ok(name),
    }
}

fn version(fields: &Fields) -> Answer<u32> {
    let text = match fields.integer("version") {
        Ok(Some(number)) => number.to_string(),
        _ => fields.required("version")?,
    };
    text.parse().map_err(|_| Failure::invalid(format!("Parameter 'version' must be an integer, got '{text}'.")))
}

fn stage(word: &str) -> Answer<String> {
    let found = STAGES.iter().find(|stage| stage.eq_ignore_ascii_case(word));
    found.map(|stage| (*stage).to_owned()).ok_or_else(|| {
        Failure::invalid(format!("Invalid Model Version stage: {word}. Value must be one of {}.", STAGES.join(", ")))
    })
}

fn tag(fields: &Fields) -> Answer<(String, String)> {
    let (key, value) = fields.pair()?;
    check_length("key", &key, TAG_KEY)?;
    check_length("value", &value, TAG_VALUE)?;
    Ok((key, value))
}

fn told_version(found: &ModelVersion, model: &RegisteredModel) -> Value {
    let aliases: Vec<&String> =
        model.aliases.iter().filter(|(_, version)| **version == found.version).map(|(alias, _)| alias).collect();
    let mut told = json!({
        "name": found.model,
        "version": found.version.to_string(),
        "creation_timestamp": found.created.0,
        "last_updated_timestamp": found.updated.0,
        "user_id": found.user.as_deref().unwrap_or_default(),
        "current_stage": found.stage,
        "description": found.description,
        "source": found.source,
        "run_id": found.run.as_deref().unwrap_or_default(),
        "run_link": found.run_link.as_deref().unwrap_or_default(),
        "status": "READY",
        "tags": wire::pairs(&found.tags),
        "aliases": aliases,
    });
    if let Some(model) = &found.logged_model {
        told["model_id"] = model.as_str().into();
    }
    told
}

/// The latest version of each stage.
fn latest(versions: &[ModelVersion]) -> Vec<&ModelVersion> {
    let mut latest: BTreeMap<&str, &ModelVersion> = BTreeMap::new();
    for version in versions {
        let of_stage = latest.entry(&version.stage).or_insert(version);
        if version.version > of_stage.version {
            *of_stage = version;
        }
    }
    latest.into_values().collect()
}

fn told_model(model: &RegisteredModel, versions: &[ModelVersion]) -> Value {
    let alias = |(alias, version): (&String, &u32)| json!({ "alias": alias, "version": version.to_string() });
    json!({
        "name": model.name,
        "creation_timestamp": model.created.0,
        "last_updated_timestamp": model.updated.0,
        "description": model.description,
        "latest_versions": latest(versions).into_iter().map(|version| told_version(version, model)).collect::<Value>(),
        "tags": wire::pairs(&model.tags),
        "aliases": model.aliases.iter().map(alias).collect::<Value>(),
    })
}

fn one_model(engine: &Engine, name: &str) -> Answer {
    let model = engine.registered_model(name)?;
    Ok(json!({ "registered_model": told_model(&model, &engine.model_versions(Some(name))?) }))
}

fn one_version(engine: &Engine, name: &str, version: u32) -> Answer {
    let found = engine.model_version(name, version)?;
    Ok(json!({ "model_version": told_version(&found, &engine.registered_model(name)?) }))
}

pub(super) fn create(engine: &Engine, fields: &Fields) -> Answer {
    let name = new_name(fields, "name")?;
    let description = fields.text("description")?.unwrap_or_default();
    let tags = fields.list("tags")?.iter().map(tag).collect::<Answer<_>>()?;
    engine.create_model(name.clone(), description, tags).map_err(Failure::of_existing)?;
    one_model(engine, &name)
}

pub(super) fn get(engine: &Engine, fields: &Fields) -> Answer {
    one_model(engine, &fields.required("name")?)
}

pub(super) fn rename(engine: &Engine, fields: &Fields) -> Answer {
    let (name, to) = (fields.required("name")?, new_name(fields, "new_name")?);
    engine.rename_model(name, to.clone()).map_err(Failure::of_existing)?;
    one_model(engine, &to)
}

pub(super) fn update(engine: &Engine, fields: &Fields) -> Answer {
    let name = fields.required("name")?;
    engine.describe_model(name.clone(), fields.text("description")?.unwrap_or_default())?;
    one_model(engine, &name)
}

pub(super) fn delete(engine: &Engine, fields: &Fields) -> Answer {
    engine.delete_model(fields.required("name")?)?;
    Ok(json!({}))
}

pub(super) fn set_tag(engine: &Engine, fields: &Fields) -> Answer {
    let (name, (key, value)) = (fields.required("name")?, tag(fields)?);
    engine.tag_model(name, None, key, Some(value))?;
    Ok(json!({}))
}

pub(super) fn delete_tag(engine: &Engine, fields: &Fields) -> Answer {
    engine.tag_model(fields.required("name")?, None, fields.required("key")?, None)?;
    Ok(json!({}))
}

pub(super) fn set_alias(engine: &Engine, fields: &Fields) -> Answer {
    let (name, alias, version) = (fields.required("name")?, fields.required("alias")?, version(fields)?);
    check_length("alias", &alias, ALIAS)?;
    let is_word = alias.chars().all(|sign| sign.is_alphanumeric() || matches!(sign, '_' | '-'));
    // Also after a `v`, in either case.
    let digits = alias.strip_prefix(['v', 'V']).unwrap_or(&alias);
    let is_number = !digits.is_empty() && digits.chars().all(|digit| digit.is_ascii_digit());
    if !is_word || is_number {
        return Err(Failure::invalid(format!(
            "Invalid alias name: '{alias}'. Names may only contain alphanumerics, underscores (_), and dashes (-), and are no \
             version numbers."
        )));
    }
    if alias.eq_ignore_ascii_case("latest") {
        return Err(Failure::invalid("'latest' alias name (case insensitive) is reserved."));
    }
    engine.set_alias(name, alias, Some(version))?;
    Ok(json!({}))
}

pub(super) fn delete_alias(engine: &Engine, fields: &Fields) -> Answer {
    engine.set_alias(fields.required("name")?, fields.required("alias")?, None)?;
    Ok(json!({}))
}

pub(super) fn get_by_alias(engine: &Engine, fields: &Fields) -> Answer {
    let (name, alias) = (fields.required("name")?, fields.required("alias")?);
    let model = engine.registered_model(&name)?;
    let version = model.aliases.get(&alias);
    let version = version.ok_or_else(|| Failure::invalid(format!("Registered model alias {alias} not found.")))?;
    one_version(engine, &name, *version)
}

pub(super) fn latest_versions(engine: &Engine, fields: &Fields) -> Answer {
    let model = engine.registered_model(&fields.required("name")?)?;
    let stages = fields.texts("stages")?.iter().map(|word| stage(word)).collect::<Answer<Vec<String>>>()?;
    let versions = engine.model_versions(Some(&model.name))?;
    let latest = latest(&versions).into_iter().filter(|version| stages.is_empty() || stages.contains(&version.stage));
    Ok(json!({ "model_versions": latest.map(|version| told_version(version, &model)).collect::<Value>() }))
}

pub(super) fn create_version(engine: &Engine, fields: &Fields) -> Answer {
    let (model, source) = (fields.required("name")?, fields.required("source")?);
    let new = NewVersion {
        model: model.clone(),
        description: fields.text("description")?.unwrap_or_default(),
        user: None,
        location: location_of(engine, &source)?,
        source,
        run: fields.word("run_id")?,
        run_link: fields.word("run_link")?,
        logged_model: fields.word("model_id")?,
        tags: fields.list("tags")?.iter().map(tag).collect::<Answer<_>>()?,
    };
    let version = engine.create_version(new)?;
    one_version(engine, &model, version)
}

/// Where the files of a source are, which may be those of another version or of a logged model.
fn location_of(engine: &Engine, source: &str) -> Answer<String> {
    check_source(source)?;
    match source.strip_prefix("models:/").map(|rest| rest.split_once('/').ok_or(rest)) {
        Some(Ok((name, version))) => match version.parse() {
            Ok(version) => Ok(engine.model_version(name, version)?.location),
            Err(_) => Err(Failure::invalid(format!("Invalid model version source: '{source}'. It names no version."))),
        },
        Some(Err(id)) => logged::location_of(engine, id),
        None => Ok(source.to_owned()),
    }
}

/// A version is read by whoever loads it: a source on some disk would be that of this machine.
fn check_source(source: &str) -> Answer<()> {
    if source.starts_with('/') || source.starts_with("file:") || !source.contains(':') {
        return Err(Failure::invalid(format!(
            "Invalid model version source: '{source}'. To use a local path as a model version source, the run_id request \
             parameter has to be specified and the local path has to be contained within the artifact directory of the run \
             specified by the run_id; this server keeps artifacts itself: log the model first."
        )));
    }
    // As it is, and as whoever reads it may understand it.
    let read = percent_encoding::percent_decode_str(source).decode_utf8_lossy().into_owned();
    match read.split(['/', '\\']).any(|part| part == "..") || read.contains('\0') {
        true => Err(Failure::invalid(format!(
            "Invalid model version source: '{source}'. If supplying a source as an http, https, local file path, ftp, \
             objectstore, or mlflow-artifacts uri, an absolute path must be provided without relative path references \
             present. Please provide an absolute path."
        ))),
        false => Ok(()),
    }
}

pub(super) fn get_version(engine: &Engine, fields: &Fields) -> Answer {
    one_version(engine, &fields.required("name")?, version(fields)?)
}

pub(super) fn update_version(engine: &Engine, fields: &Fields) -> Answer {
    let (name, version) = (fields.required("name")?, version(fields)?);
    engine.describe_version(name.clone(), version, fields.text("description")?.unwrap_or_default())?;
    one_version(engine, &name, version)
}

pub(super) fn move_version(engine: &Engine, fields: &Fields) -> Answer {
    let (name, version) = (fields.required("name")?, version(fields)?);
    let stage = stage(&fields.required("stage")?)?;
    let archive = if fields.flag("archive_existing_versions")? { Archive::Others } else { Archive::None };
    engine.move_version(name.clone(), version, stage, archive)?;
    one_version(engine, &name, version)
}

pub(super) fn delete_version(engine: &Engine, fields: &Fields) -> Answer {
    engine.delete_version(fields.required("name")?, version(fields)?)?;
    Ok(json!({}))
}

pub(super) fn download_uri(engine: &Engine, fields: &Fields) -> Answer {
    Ok(json!({ "artifact_uri": source_of(engine, fields)? }))
}

/// Where the files of a version are.
pub(super) fn source_of(engine: &Engine, fields: &Fields) -> Answer<String> {
    Ok(engine.model_version(&fields.required("name")?, version(fields)?)?.location)
}

pub(super) fn set_version_tag(engine: &Engine, fields: &Fields) -> Answer {
    let (name, version, (key, value)) = (fields.required("name")?, version(fields)?, tag(fields)?);
    engine.tag_model(name, Some(version), key, Some(value))?;
    Ok(json!({}))
}

pub(super) fn delete_version_tag(engine: &Engine, fields: &Fields) -> Answer {
    engine.tag_model(fields.required("name")?, Some(version(fields)?), fields.required("key")?, None)?;
    Ok(json!({}))
}

/// Filter and sort columns of a search.
struct Columns {
    filter: &'static [&'static str],
    order: &'static [&'static str],
    /// Error for columns that cannot be sorted by.
    no_order: &'static str,
}

const OF_MODELS: Columns = Columns {
    filter: &["name"],
    order: &["name", "timestamp", "last_updated_timestamp"],
    no_order: "Invalid order by key",
};

const OF_VERSIONS: Columns = Columns {
    filter: &["name", "version_number", "run_id", "source_path"],
    order: &["name", "version_number", "creation_timestamp", "last_updated_timestamp"],
    no_order: "Invalid attribute key",
};

/// A search's filter and order.
fn asked(fields: &Fields, columns: &Columns) -> Answer<(Vec<Comparison>, Vec<SortBy>)> {
    let (filter, order) = (fields.filter()?, fields.order()?);
    let is_attribute = |column: &Column| matches!(column.kind.as_str(), "" | "attribute" | "attributes");
    let refused = |what: &str, column: &Column, known: &[&str]| {
        Failure::invalid(format!("{what} '{}' specified. Valid keys are {}", column.key, known.join(", ")))
    };
    for comparison in &filter {
        let Comparison { column, operator, operand } = comparison;
        if matches!(column.kind.as_str(), "tag" | "tags") {
            if !matches!(operator, Operator::Equal | Operator::Different | Operator::Like | Operator::Ilike) {
                return Err(Failure::invalid(format!("Invalid comparator for tag {:?}", column.key)));
            }
            operands::refuse_number(comparison, "tag")?;
            continue;
        }
        if !is_attribute(column) || !columns.filter.contains(&column.key.as_str()) {
            return Err(refused("Invalid attribute key", column, columns.filter));
        }
        let is_order = matches!(operator, Operator::Less | Operator::AtMost | Operator::Greater | Operator::AtLeast);
        let is_equality = matches!(operator, Operator::Equal | Operator::Different);
        let is_allowed = match column.key.as_str() {
            "version_number" => is_order || is_equality,
            "run_id" => !is_order && !matches!(operator, Operator::NotIn),
            _ => !is_order && !matches!(operator, Operator::In | Operator::NotIn),
        };
        if !is_allowed || *operand == Operand::Nothing {
            return Err(Failure::invalid(format!("Invalid comparator for attribute {:?}", column.key)));
        }
        match column.key.as_str() {
            "version_number" => operands::require_number(comparison, "numeric attribute: version_number")?,
            _ => operands::refuse_number(comparison, "attributes")?,
        }
    }
    let mut seen = BTreeSet::new();
    for SortBy { column, .. } in &order {
        if !is_attribute(column) || !columns.order.contains(&column.key.as_str()) {
            return Err(refused(columns.no_order, column, columns.order));
        }
        // Aliases of one time.
        let name = if column.key == "timestamp" { "last_updated_timestamp" } else { column.key.as_str() };
        if !seen.insert(name) {
            return Err(Failure::invalid(format!("`order_by` contains duplicate fields: {}", column.key)));
        }
    }
    Ok((filter, order))
}

fn is_fulfilled(comparison: &Comparison, tags: &BTreeMap<String, String>, attribute: impl Fn(&str) -> Value) -> bool {
    let key = comparison.column.key.as_str();
    if matches!(comparison.column.kind.as_str(), "tag" | "tags") {
        // Clients ask for models that are no prompts, which have no such tag.
        let usual = (key == "mlflow.prompt.is_prompt").then_some("false");
        return comparison.is_fulfilled_by_text(tags.get(key).map(String::as_str).or(usual));
    }
    match attribute(key) {
        Value::String(text) => comparison.is_fulfilled_by_text(Some(&text)),
        Value::Number(number) => comparison.is_fulfilled_by_number(number.as_f64()),
        _ => comparison.is_fulfilled_by_text(None),
    }
}

pub(super) fn search(engine: &Engine, fields: &Fields) -> Answer {
    let (page, (filter, order)) = (fields.page(100, 1000)?, asked(fields, &OF_MODELS)?);
    let mut found = engine.registered_models()?;
    found.retain(|model| {
        filter.iter().all(|comparison| is_fulfilled(comparison, &model.tags, |_| model.name.as_str().into()))
    });
    found.sort_by(|a, b| {
        let by = |by: &SortBy| {
            let order = match by.column.key.as_str() {
                "name" => a.name.cmp(&b.name),
                _ => a.updated.cmp(&b.updated),
            };
            if by.descending { order.reverse() } else { order }
        };
        order.iter().map(by).fold(Ordering::Equal, Ordering::then).then_with(|| a.name.cmp(&b.name))
    });
    let versions = engine.model_versions(None)?;
    page.of("registered_models", &found, |model| {
        let own: Vec<ModelVersion> = versions.iter().filter(|version| version.model == model.name).cloned().collect();
        Ok(told_model(model, &own))
    })
}

pub(super) fn search_versions(engine: &Engine, fields: &Fields) -> Answer {
    let (page, (filter, order)) = (fields.page(10_000, 200_000)?, asked(fields, &OF_VERSIONS)?);
    let mut found = engine.model_versions(None)?;
    found.retain(|version| {
        let attribute = |key: &str| match key {
            "name" => version.model.as_str().into(),
            "version_number" => version.version.into(),
            "run_id" => version.run.as_deref().unwrap_or_default().into(),
            _ => version.source.as_str().into(),
        };
        filter.iter().all(|comparison| is_fulfilled(comparison, &version.tags, attribute))
    });
    found.sort_by(|a, b| {
        let by = |by: &SortBy| {
            let order = match by.column.key.as_str() {
                "name" => a.model.cmp(&b.model),
                "version_number" => a.version.cmp(&b.version),
                "creation_timestamp" => a.created.cmp(&b.created),
                _ => a.updated.cmp(&b.updated),
            };
            if by.descending { order.reverse() } else { order }
        };
        let latest = if order.is_empty() { b.updated.cmp(&a.updated) } else { Ordering::Equal };
        let asked = order.iter().map(by).fold(latest, Ordering::then);
        asked.then_with(|| a.model.cmp(&b.model)).then(b.version.cmp(&a.version))
    });
    let models: BTreeMap<String, RegisteredModel> =
        engine.registered_models()?.into_iter().map(|model| (model.name.clone(), model)).collect();
    page.of("model_versions", &found, |version| {
        Ok(models.get(&version.model).map_or(Value::Null, |model| told_version(version, model)))
    })
}
