//! Models that runs logged, and datasets that they read.

use super::{from_json, to_json};
use crate::{Reader, Result, StoreError, WriteTx};
use assay_domain::entity::Event;
use assay_domain::registry::{DatasetInput, LoggedModel, ModelMetric, ModelRole};
use assay_domain::{ExperimentId, RunId, Timestamp};
use rusqlite::{Row, params};
use std::collections::HashMap;

pub(crate) const TABLES: &str = "
CREATE TABLE run_inputs (
    run INTEGER NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL, source_type TEXT NOT NULL, source TEXT NOT NULL,
    schema TEXT, profile TEXT, tags TEXT NOT NULL, UNIQUE (run, name, digest)
) STRICT;
CREATE TABLE logged_models (
    id TEXT PRIMARY KEY, experiment INTEGER NOT NULL, name TEXT NOT NULL, kind TEXT, status TEXT NOT NULL, run TEXT,
    created INTEGER NOT NULL, updated INTEGER NOT NULL, params TEXT NOT NULL, tags TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX logged_models_by_experiment ON logged_models (experiment);
CREATE TABLE logged_model_metrics (
    model TEXT NOT NULL, key TEXT NOT NULL, run TEXT NOT NULL, dataset TEXT NOT NULL, digest TEXT NOT NULL,
    value REAL, step INTEGER NOT NULL, wall INTEGER NOT NULL, PRIMARY KEY (model, key, run, dataset, digest)
) STRICT, WITHOUT ROWID;
CREATE TABLE run_models (run INTEGER NOT NULL, role TEXT NOT NULL, model TEXT NOT NULL, step INTEGER NOT NULL,
    PRIMARY KEY (run, role, model)) STRICT, WITHOUT ROWID;
";

/// A logged model of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunModel {
    /// How they relate.
    pub role: ModelRole,
    /// The id of the model.
    pub model: String,
    /// At which step.
    pub step: i64,
}

impl WriteTx<'_> {
    /// Notes the datasets a run reads; repeated ones are unchanged.
    pub fn put_inputs(&mut self, run: RunId, inputs: &[DatasetInput]) -> Result<()> {
        let mut insert = self.db.prepare_cached(
            "INSERT OR IGNORE INTO run_inputs (run, name, digest, source_type, source, schema, profile, tags)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?;
        for input in inputs {
            let DatasetInput { name, digest, source_type, source, schema, profile, tags } = input;
            let tags = to_json("tags", tags)?;
            insert.execute(params![run.0, name, digest, source_type, source, schema, profile, tags])?;
        }
        drop(insert);
        self.emit(&Event::RunChanged { run })
    }

    /// Notes how a run relates to logged models, each at a step.
    pub fn put_run_models(&mut self, run: RunId, role: ModelRole, models: &[(String, i64)]) -> Result<()> {
        for (model, step) in models {
            self.db
                .prepare_cached("INSERT OR REPLACE INTO run_models (run, role, model, step) VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![run.0, role.as_str(), model, step])?;
        }
        self.emit(&Event::RunChanged { run })
    }

    /// Keeps a logged model, whole; its metrics stay as they are.
    pub fn put_logged_model(&mut self, model: &LoggedModel) -> Result<()> {
        self.db.execute(
            "INSERT OR REPLACE INTO logged_models (id, experiment, name, kind, status, run, created, updated, params, tags)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            params![
                model.id,
                model.experiment.0,
                model.name,
                model.kind,
                model.status,
                model.run,
                model.created.0,
                self.now.0,
                to_json("params", &model.params)?,
                to_json("tags", &model.tags)?
            ],
        )?;
        self.emit(&Event::RegistryChanged { model: model.id.clone() })
    }

    /// Forgets a logged model.
    pub fn delete_logged_model(&mut self, id: &str) -> Result<()> {
        self.db.execute("DELETE FROM logged_model_metrics WHERE model = ?1", [id])?;
        match self.db.execute("DELETE FROM logged_models WHERE id = ?1", [id])? {
            0 => Err(StoreError::missing("logged model", id)),
            _ => self.emit(&Event::RegistryChanged { model: id.to_owned() }),
        }
    }

    /// Keeps figures of logged models: of each metric on each dataset of each run, the latest.
    pub fn put_model_metrics(&mut self, metrics: &[(String, ModelMetric)]) -> Result<()> {
        let mut insert = self.db.prepare_cached(
            "INSERT INTO logged_model_metrics (model, key, value, step, wall, run, dataset, digest)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT DO UPDATE SET value = excluded.value, step = excluded.step, wall = excluded.wall
             WHERE (excluded.step, excluded.wall) >= (step, wall)",
        )?;
        for (model, metric) in metrics {
            let (dataset, digest) = metric.dataset.clone().unwrap_or_default();
            let ModelMetric { key, value, step, wall_ms, run, .. } = metric;
            insert.execute(params![model, key, value, step, wall_ms, run, dataset, digest])?;
        }
        Ok(())
    }
}

const COLUMNS: &str = "id, experiment, name, kind, status, run, created, updated, params, tags FROM logged_models";

fn model_of(row: &Row<'_>) -> rusqlite::Result<LoggedModel> {
    Ok(LoggedModel {
        id: row.get(0)?,
        experiment: ExperimentId(row.get(1)?),
        name: row.get(2)?,
        kind: row.get(3)?,
        status: row.get(4)?,
        run: row.get(5)?,
        created: Timestamp(row.get(6)?),
        updated: Timestamp(row.get(7)?),
        params: from_json(row, 8)?,
        tags: from_json(row, 9)?,
        metrics: Vec::new(),
    })
}

impl Reader<'_> {
    /// The datasets that each of some runs read, in the order of their naming.
    pub fn inputs(&self, runs: &[RunId]) -> Result<HashMap<RunId, Vec<DatasetInput>>> {
        let select = "SELECT run, name, digest, source_type, source, schema, profile, tags FROM run_inputs";
        self.by_run(select, "rowid", runs, |row| {
            Ok(DatasetInput {
                name: row.get(1)?,
                digest: row.get(2)?,
                source_type: row.get(3)?,
                source: row.get(4)?,
                schema: row.get(5)?,
                profile: row.get(6)?,
                tags: from_json(row, 7)?,
            })
        })
    }

    /// The datasets that runs of an experiment read: name, digest and tags of each use.
    pub fn inputs_of_experiment(&self, experiment: ExperimentId) -> Result<Vec<DatasetInput>> {
        let mut statement = self.db.prepare_cached(
            "SELECT DISTINCT name, digest, tags FROM run_inputs
             WHERE run IN (SELECT id FROM runs WHERE experiment = ?1 AND deleted IS NULL) ORDER BY name, digest",
        )?;
        let rows = statement.query_map([experiment.0], |row| {
            Ok(DatasetInput {
                name: row.get(0)?,
                digest: row.get(1)?,
                tags: from_json(row, 2)?,
                ..DatasetInput::default()
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The logged models that each of some runs read or made.
    pub fn run_models(&self, runs: &[RunId]) -> Result<HashMap<RunId, Vec<RunModel>>> {
        self.by_run("SELECT run, role, model, step FROM run_models", "model", runs, |row| {
            let role: String = row.get(1)?;
            Ok(RunModel {
                role: if role == ModelRole::Input.as_str() { ModelRole::Input } else { ModelRole::Output },
                model: row.get(2)?,
                step: row.get(3)?,
            })
        })
    }

    /// One logged model.
    pub fn logged_model(&self, id: &str) -> Result<LoggedModel> {
        Ok(LoggedModel { metrics: self.model_metrics(id)?, ..self.logged_model_alone(id)? })
    }

    /// One logged model without its metrics.
    pub fn logged_model_alone(&self, id: &str) -> Result<LoggedModel> {
        let mut statement = self.db.prepare_cached(&format!("SELECT {COLUMNS} WHERE id = ?1"))?;
        let mut found = statement.query_map([id], model_of)?;
        Ok(found.next().ok_or_else(|| StoreError::missing("logged model", id))??)
    }

    /// The logged models of an experiment, the newest first.
    pub fn logged_models(&self, experiment: ExperimentId) -> Result<Vec<LoggedModel>> {
        let sql = format!("SELECT {COLUMNS} WHERE experiment = ?1 ORDER BY created DESC, id DESC");
        let mut statement = self.db.prepare_cached(&sql)?;
        let rows = statement.query_map([experiment.0], model_of)?;
        let mut models = rows.collect::<rusqlite::Result<Vec<LoggedModel>>>()?;
        for model in &mut models {
            model.metrics = self.model_metrics(&model.id)?;
        }
        Ok(models)
    }

    fn model_metrics(&self, model: &str) -> Result<Vec<ModelMetric>> {
        let mut statement = self.db.prepare_cached(
            "SELECT key, value, step, wall, run, dataset, digest FROM logged_model_metrics WHERE model = ?1",
        )?;
        let rows = statement.query_map([model], |row| {
            let dataset: (String, String) = (row.get(5)?, row.get(6)?);
            Ok(ModelMetric {
                key: row.get(0)?,
                // SQLite has no NaN: it becomes NULL.
                value: row.get::<_, Option<f64>>(1)?.unwrap_or(f64::NAN),
                step: row.get(2)?,
                wall_ms: row.get(3)?,
                run: row.get(4)?,
                dataset: (!dataset.0.is_empty()).then_some(dataset),
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}
