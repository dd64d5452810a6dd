//! Models that runs logged, registered or not, and datasets and models that runs read and made.

use super::experiments::id_of;
use super::failure::Failure;
use super::fields::{Fields, Page, invalid};
use super::runs::check_length;
use super::{Answer, operands, wire};
use assay_domain::registry::{DatasetInput, LoggedModel, ModelMetric};
use assay_domain::search::{self, Comparison};
use assay_domain::{Timestamp, entity::Experiment};
use assay_engine::Engine;
use serde_json::{Value, json};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// Experiments of a search for datasets.
const EXPERIMENTS: usize = 20;
const PENDING: &str = "LOGGED_MODEL_PENDING";

/// Dataset fields and maximum lengths.
const DATASET: [(&str, usize); 5] =
    [("name", 500), ("digest", 36), ("source", 65_535), ("schema", 1_048_575), ("profile", 16_777_215)];
const INPUT_TAG_KEY: usize = 255;
const INPUT_TAG_VALUE: usize = 500;
/// Maximum results of a dataset search.
const SUMMARIES: usize = 1000;

fn dataset(fields: &Fields) -> Answer<DatasetInput> {
    let of = fields.object("dataset")?;
    for (name, most) in DATASET {
        check_length(name, &of.text(name)?.unwrap_or_default(), most)?;
    }
    for (key, value) in fields.pairs("tags")? {
        check_length("key", &key, INPUT_TAG_KEY)?;
        check_length("value", &value, INPUT_TAG_VALUE)?;
    }
    Ok(DatasetInput {
        name: of.required("name")?,
        digest: of.required("digest")?,
        source_type: of.text("source_type")?.unwrap_or_default(),
        source: of.text("source")?.unwrap_or_default(),
        schema: of.word("schema")?,
        profile: of.word("profile")?,
        tags: fields.pairs("tags")?,
    })
}

pub(super) fn told_dataset(input: &DatasetInput) -> Value {
    let mut dataset = json!({
        "name": input.name,
        "digest": input.digest,
        "source_type": input.source_type,
        "source": input.source,
    });
    for (name, text) in [("schema", &input.schema), ("profile", &input.profile)] {
        if let Some(text) = text {
            dataset[name] = text.as_str().into();
        }
    }
    json!({ "dataset": dataset, "tags": wire::pairs(&input.tags) })
}

pub(super) fn log_inputs(engine: &Engine, fields: &Fields) -> Answer {
    let uid = fields.run()?;
    let datasets = fields.list("datasets")?.iter().map(dataset).collect::<Answer<Vec<_>>>()?;
    let models = fields.list("models")?.iter().map(|model| model.required("model_id")).collect::<Answer<Vec<_>>>()?;
    engine.log_inputs(engine.active_run(&uid)?, datasets, models)?;
    Ok(json!({}))
}

pub(super) fn log_outputs(engine: &Engine, fields: &Fields) -> Answer {
    let uid = fields.run()?;
    let model = |of: &Fields| Ok((of.required("model_id")?, of.integer("step")?.unwrap_or(0)));
    let models = fields.list("models")?.iter().map(model).collect::<Answer<Vec<_>>>()?;
    engine.log_outputs(engine.active_run(&uid)?, models)?;
    Ok(json!({}))
}

/// `runs/log-model` of old clients: what it says is kept in a tag, as they read it.
pub(super) fn log_model(engine: &Engine, fields: &Fields) -> Answer {
    let (uid, text) = (fields.run()?, fields.required("model_json")?);
    let model: Value = serde_json::from_str(&text)
        .map_err(|why| Failure::invalid(format!("Malformed model info. \n{text}\n failed to load: {why}")))?;
    let missing: Vec<&str> = ["artifact_path", "flavors", "utc_time_created", "run_id"]
        .into_iter()
        .filter(|name| model.get(name).is_none())
        .collect();
    if !missing.is_empty() {
        return Err(Failure::invalid(format!("Model json is missing mandatory fields: {missing:?}")));
    }
    const HISTORY: &str = "mlflow.log-model.history";
    let run = engine.run_by_uid(&uid)?;
    let old = run.tags.get(HISTORY).and_then(|tag| serde_json::from_str::<Vec<Value>>(tag).ok());
    let mut history = old.unwrap_or_default();
    history.push(model);
    let tags = BTreeMap::from([(HISTORY.to_owned(), Value::Array(history).to_string())]);
    engine.log_batch(engine.active_run(&uid)?, assay_engine::Batch { tags, ..Default::default() })?;
    Ok(json!({}))
}

pub(super) fn search_datasets(engine: &Engine, fields: &Fields) -> Answer {
    let experiments = fields.texts("experiment_ids")?;
    if experiments.is_empty() {
        return Err(Failure::invalid("SearchDatasets request must specify at least one experiment_id."));
    }
    if experiments.len() > EXPERIMENTS {
        return Err(Failure::invalid(format!(
            "SearchDatasets request cannot specify more than {EXPERIMENTS} experiment_ids. Received {} experiment_ids.",
            experiments.len()
        )));
    }
    let mut summaries = Vec::new();
    for text in &experiments {
        for input in engine.inputs_of_experiment(id_of(text)?)? {
            let mut summary = json!({ "experiment_id": text, "name": input.name, "digest": input.digest });
            if let Some(context) = input.tags.get("mlflow.data.context") {
                summary["context"] = context.as_str().into();
            }
            summaries.push(summary);
        }
    }
    summaries.truncate(SUMMARIES);
    Ok(json!({ "dataset_summaries": summaries }))
}

/// Where the files of a logged model are.
fn location(model: &LoggedModel, experiment: &Experiment) -> String {
    wire::below(&wire::location(experiment), &format!("models/{}/artifacts", model.id))
}

fn told(engine: &Engine, model: &LoggedModel) -> Answer {
    let experiment = engine.experiment(model.experiment)?;
    let metric = |metric: &ModelMetric| {
        let point = assay_domain::Point { step: metric.step, wall_ms: metric.wall_ms, value: metric.value };
        let mut told = wire::point(&metric.key, &point);
        told["run_id"] = metric.run.as_str().into();
        told["model_id"] = model.id.as_str().into();
        if let Some((name, digest)) = &metric.dataset {
            told["dataset_name"] = name.as_str().into();
            told["dataset_digest"] = digest.as_str().into();
        }
        told
    };
    let mut info = json!({
            "model_id": model.id,
            "experiment_id": model.experiment.to_string(),
            "name": model.name,
            "creation_timestamp_ms": model.created.0,
            "last_updated_timestamp_ms": model.updated.0,
            "artifact_uri": location(model, &experiment),
            "status": model.status,
            "tags": wire::pairs(&model.tags),
    });
    for (name, text) in [("model_type", &model.kind), ("source_run_id", &model.run)] {
        if let Some(text) = text {
            info[name] = text.as_str().into();
        }
    }
    Ok(json!({
        "info": info,
        "data": {
            "params": wire::pairs(&model.params),
            "metrics": model.metrics.iter().map(metric).collect::<Value>(),
        },
    }))
}

fn one(engine: &Engine, model: &LoggedModel) -> Answer {
    Ok(json!({ "model": told(engine, model)? }))
}

pub(super) fn create(engine: &Engine, fields: &Fields) -> Answer {
    let experiment = engine.experiment(id_of(&fields.required("experiment_id")?)?)?;
    let name = fields.text("name")?.unwrap_or_default();
    if let Some(sign) = name.chars().find(|sign| "/:.%\"'".contains(*sign)) {
        return Err(Failure::invalid(format!("Invalid model name ({name:?}) provided. It cannot contain {sign:?}.")));
    }
    let model = engine.create_logged_model(LoggedModel {
        id: String::new(),
        experiment: experiment.id,
        name,
        kind: fields.word("model_type")?,
        status: PENDING.into(),
        run: fields.word("source_run_id")?,
        created: Timestamp(0),
        updated: Timestamp(0),
        params: fields.pairs("params")?,
        tags: fields.pairs("tags")?,
        metrics: Vec::new(),
    })?;
    one(engine, &model)
}

pub(super) fn get(engine: &Engine, fields: &Fields) -> Answer {
    one(engine, &engine.logged_model(&fields.required("model_id")?)?)
}

pub(super) fn finalize(engine: &Engine, fields: &Fields) -> Answer {
    let status = fields.required("status")?;
    if !matches!(status.as_str(), "LOGGED_MODEL_READY" | "LOGGED_MODEL_UPLOAD_FAILED" | PENDING) {
        return Err(fields.refused("status", &status, "No such status."));
    }
    let model = engine.change_logged_model(&fields.required("model_id")?, move |model| {
        model.status = status;
        Ok(())
    })?;
    one(engine, &model)
}

pub(super) fn delete(engine: &Engine, fields: &Fields) -> Answer {
    engine.delete_logged_model(fields.required("model_id")?)?;
    Ok(json!({}))
}

pub(super) fn log_params(engine: &Engine, fields: &Fields) -> Answer {
    let params = fields.pairs("params")?;
    engine.change_logged_model(&fields.required("model_id")?, move |model| {
        model.params.extend(params);
        Ok(())
    })?;
    Ok(json!({}))
}

pub(super) fn set_tags(engine: &Engine, fields: &Fields) -> Answer {
    let tags = fields.pairs("tags")?;
    let model = engine.change_logged_model(&fields.required("model_id")?, move |model| {
        model.tags.extend(tags);
        Ok(())
    })?;
    one(engine, &model)
}

pub(super) fn delete_tag(engine: &Engine, fields: &Fields) -> Answer {
    let (id, key) = (fields.required("model_id")?, fields.required("tag_key")?);
    engine.change_logged_model(&id, move |model| match model.tags.remove(&key) {
        Some(_) => Ok(()),
        None => Err(format!("No tag with key {key:?} found for model.")),
    })?;
    Ok(json!({}))
}

pub(super) fn search(engine: &Engine, fields: &Fields) -> Answer {
    let token = fields.word("page_token")?;
    let offset = token.map_or(Ok(0), |token| ModelsToken::of(fields)?.offset_of(&token))?;
    let page = Page { limit: fields.count("max_results", 50, 10_000)?, offset };
    let filter = search::parse(&fields.text("filter")?.unwrap_or_default())
        .map_err(|why| Failure::invalid(format!("Invalid filter string: {why}")))?;
    filter.iter().try_for_each(check_comparison)?;
    let datasets = fields.list("datasets")?;
    let datasets = datasets
        .iter()
        .map(|of| Ok((of.required("dataset_name")?, of.text("dataset_digest")?)))
        .collect::<Answer<Vec<_>>>()?;
    let mut found = Vec::new();
    let experiments: BTreeSet<String> = fields.texts("experiment_ids")?.into_iter().collect();
    for text in experiments {
        if let Ok(experiment) = id_of(&text) {
            found.extend(engine.logged_models(experiment)?);
        }
    }
    found.retain(|model| {
        let on_one = datasets.is_empty() || datasets.iter().any(|wanted| of_dataset(model, wanted).next().is_some());
        on_one && filter.iter().all(|comparison| is_fulfilled(comparison, model, &datasets))
    });
    let mut order = Vec::new();
    for by in fields.list("order_by")? {
        let name = by.required("field_name")?;
        let digest = by.word("dataset_digest")?;
        let dataset = by.word("dataset_name")?.map(|name| (name, digest));
        let column = search::parse_sort(&name).map_err(invalid)?.column;
        let is_metric = matches!(column.kind.as_str(), "metrics" | "metric");
        let is_attribute =
            matches!(column.kind.as_str(), "" | "attribute" | "attributes") && is_known_attribute(&column.key);
        if !is_metric && !is_attribute {
            return Err(Failure::invalid(format!(
                "Invalid order by field name: {name}. Only metrics.<name> and {} are supported.",
                known_attributes()
            )));
        }
        order.push((column, by.flag_or("ascending", true)?, dataset));
    }
    found.sort_by(|a, b| {
        let by = |(column, ascending, dataset): &(search::Column, bool, Option<(String, Option<String>)>)| {
            let directed = |order: Ordering| if *ascending { order } else { order.reverse() };
            let of_texts = |a: &str, b: &str| directed(a.cmp(b));
            match (column.kind.as_str(), column.key.as_str()) {
                ("metrics" | "metric", key) => {
                    let value = |model: &LoggedModel| match dataset {
                        Some(dataset) => of_dataset(model, dataset).find(|m| m.key == key).map(|m| m.value),
                        None => model.metrics.iter().find(|m| m.key == key).map(|m| m.value),
                    };
                    absent_last(value(a), value(b), |a, b| directed(a.total_cmp(&b)))
                }
                (_, "name") => of_texts(&a.name, &b.name),
                (_, "model_id") => of_texts(&a.id, &b.id),
                (_, "model_type") => absent_last(a.kind.as_deref(), b.kind.as_deref(), of_texts),
                (_, "source_run_id") => absent_last(a.run.as_deref(), b.run.as_deref(), of_texts),
                (_, "status") => of_texts(&a.status, &b.status),
                (_, key) if UPDATED.contains(&key) => directed(a.updated.cmp(&b.updated)),
                _ => directed(a.created.cmp(&b.created)),
            }
        };
        let asked = order.iter().map(by).fold(Ordering::Equal, Ordering::then);
        asked.then(b.created.cmp(&a.created)).then_with(|| b.id.cmp(&a.id))
    });
    let mut answer = page.of("models", &found, |model| told(engine, model))?;
    if answer.get("next_page_token").is_some() {
        answer["next_page_token"] = ModelsToken::of(fields)?.after(page.offset + page.limit).into();
    }
    Ok(answer)
}

/// A page token of logged models, bound to its request by hashes, so that other requests refuse it.
struct ModelsToken([(&'static str, String); 3]);

impl ModelsToken {
    fn of(fields: &Fields) -> Answer<ModelsToken> {
        let hash = |value: Value| format!("{:016x}", key_of(&value.to_string()));
        let orders = fields.list("order_by")?;
        let order = orders.iter().map(|by| {
            let words = [by.word("field_name")?, by.word("dataset_name")?, by.word("dataset_digest")?];
            Ok(json!([words, by.flag_or("ascending", true)?]))
        });
        Ok(ModelsToken([
            ("Experiment IDs in the page token do not match what", hash(json!(fields.texts("experiment_ids")?))),
            (
                "Filter string in the page token does not match what",
                hash(json!(fields.text("filter")?.unwrap_or_default())),
            ),
            ("Order by in the page token does not match what", hash(order.collect::<Answer<Value>>()?)),
        ]))
    }

    fn after(&self, offset: usize) -> String {
        let [(_, experiments), (_, filter), (_, order)] = &self.0;
        format!("models-{offset}-{experiments}-{filter}-{order}")
    }

    /// The offset in a token, if of this request.
    fn offset_of(&self, token: &str) -> Answer<usize> {
        let invalid = || Failure::invalid(format!("Invalid page token: {token:?}"));
        let mut parts = token.strip_prefix("models-").ok_or_else(invalid)?.split('-');
        let offset: u32 = parts.next().and_then(|offset| offset.parse().ok()).ok_or_else(invalid)?;
        for (what, own) in &self.0 {
            if parts.next().ok_or_else(invalid)? != own {
                return Err(Failure::invalid(format!(
                    "{what} was requested: go on with the request that the token came from."
                )));
            }
        }
        Ok(offset as usize)
    }
}

/// FNV-1a, to compare texts.
fn key_of(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Attributes of logged models: texts, and the names of the two times.
const TEXTS: [&str; 5] = ["name", "model_id", "model_type", "status", "source_run_id"];
const CREATED: [&str; 3] = ["creation_time", "creation_timestamp", "creation_timestamp_ms"];
const UPDATED: [&str; 3] = ["last_updated_time", "last_updated_timestamp", "last_updated_timestamp_ms"];

fn is_known_attribute(key: &str) -> bool {
    [&TEXTS[..], &CREATED, &UPDATED].iter().any(|keys| keys.contains(&key))
}

fn known_attributes() -> String {
    [&TEXTS[..], &CREATED, &UPDATED].concat().join(", ")
}

/// Sorts absent values last, and others in their order.
fn absent_last<T>(a: Option<T>, b: Option<T>, order: impl Fn(T, T) -> Ordering) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => order(a, b),
        (a, b) => b.is_some().cmp(&a.is_some()),
    }
}

/// Whether a comparison makes sense for logged models.
fn check_comparison(comparison: &Comparison) -> Answer<()> {
    let (kind, key) = (comparison.column.kind.as_str(), comparison.column.key.as_str());
    match kind {
        "metric" | "metrics" => operands::check_numeric(comparison, "metric"),
        "param" | "params" => operands::check_textual_or_list(comparison, "parameter"),
        "tag" | "tags" => operands::check_textual_or_list(comparison, "tag"),
        "" | "attribute" | "attributes" if TEXTS.contains(&key) => {
            operands::check_textual_or_list(comparison, "attributes")
        }
        "" | "attribute" | "attributes" if is_known_attribute(key) => {
            operands::check_numeric(comparison, &format!("numeric attribute: {key}"))
        }
        "" | "attribute" | "attributes" => Err(Failure::invalid(format!(
            "Invalid attribute key '{key}' specified. Valid keys are {}",
            known_attributes()
        ))),
        other => {
            let why = "Valid values are ['metrics', 'params', 'tags', 'attributes']";
            Err(Failure::invalid(format!("Invalid entity type {other:?}. {why}")))
        }
    }
}

/// The figures of a model on a dataset.
fn of_dataset<'a>(
    model: &'a LoggedModel,
    (name, digest): &'a (String, Option<String>),
) -> impl Iterator<Item = &'a ModelMetric> {
    model.metrics.iter().filter(move |metric| {
        let of = metric.dataset.as_ref();
        of.is_some_and(|(own, own_digest)| own == name && digest.as_ref().is_none_or(|digest| digest == own_digest))
    })
}

fn is_fulfilled(comparison: &Comparison, model: &LoggedModel, datasets: &[(String, Option<String>)]) -> bool {
    let key = comparison.column.key.as_str();
    let text = |text: Option<&str>| comparison.is_fulfilled_by_text(text);
    match (comparison.column.kind.as_str(), key) {
        ("tag" | "tags", _) => text(model.tags.get(key).map(String::as_str)),
        ("param" | "params", _) => text(model.params.get(key).map(String::as_str)),
        ("metric" | "metrics", _) => {
            let is_on = |metric: &&ModelMetric| {
                let of = |wanted| of_dataset(model, wanted).any(|own| std::ptr::eq(own, *metric));
                datasets.is_empty() || datasets.iter().any(of)
            };
            let mut own = model.metrics.iter().filter(|metric| metric.key == key).filter(is_on);
            own.any(|metric| comparison.is_fulfilled_by_number(Some(metric.value)))
        }
        (_, "name") => text(Some(&model.name)),
        (_, "model_id") => text(Some(&model.id)),
        (_, "model_type") => text(model.kind.as_deref()),
        (_, "status") => text(Some(model.status.trim_start_matches("LOGGED_MODEL_"))),
        (_, "source_run_id") => text(model.run.as_deref()),
        (_, key) if CREATED.contains(&key) => comparison.is_fulfilled_by_number(Some(model.created.0 as f64)),
        (_, key) if UPDATED.contains(&key) => comparison.is_fulfilled_by_number(Some(model.updated.0 as f64)),
        _ => false,
    }
}

/// Where the files of a logged model are.
pub(super) fn location_of(engine: &Engine, id: &str) -> Answer<String> {
    let model = engine.logged_model(id)?;
    Ok(location(&model, &engine.experiment(model.experiment)?))
}

/// The path of a file of a logged model among the files of clients.
pub(super) fn path_of(engine: &Engine, id: &str, path: &str) -> Answer<String> {
    let folder = location_of(engine, id)?;
    let path = path.trim_matches('/');
    let folder = folder.trim_start_matches("mlflow-artifacts:").trim_start_matches('/');
    Ok(if path.is_empty() { folder.to_owned() } else { format!("{folder}/{path}") })
}
