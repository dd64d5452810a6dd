//! The search of runs as MLflow's clients ask for it: filters and orders become SQL, so that thousands of runs are searched
//! by their indexes.

use super::run::{COLUMNS, run_of};
use super::to_json;
use crate::{Reader, Result, StoreError};
use assay_domain::entity::Run;
use assay_domain::search::{Comparison, Operand, Operator, SortBy};
use assay_domain::{ExperimentId, Timestamp};
use rusqlite::params_from_iter;
use rusqlite::types::Value;

/// Which runs, in which order. The words of columns are those of MLflow: `metrics`, `params`, `tags`, `datasets`,
/// `attributes`.
#[derive(Clone, Debug, Default)]
pub struct RunSearch {
    /// In these experiments.
    pub experiments: Vec<ExperimentId>,
    /// With all of these.
    pub filter: Vec<Comparison>,
    /// Sorted by these; then the latest begun first.
    pub order: Vec<SortBy>,
    /// Deleted ones, or those that are not; both without.
    pub deleted: Option<bool>,
    /// How many to skip.
    pub offset: usize,
    /// How many to return at most.
    pub limit: usize,
}

/// A statement that grows with its values.
#[derive(Default)]
struct Sql {
    text: String,
    values: Vec<Value>,
}

impl Sql {
    fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn value(&mut self, value: impl Into<Value>) {
        self.values.push(value.into());
        self.text.push('?');
    }

    /// `expression operator operand`.
    fn compare(&mut self, expression: &str, comparison: &Comparison) -> Result<()> {
        match (comparison.operator, &comparison.operand) {
            (Operator::IsNull, _) => self.push(&format!("{expression} IS NULL")),
            (Operator::IsNotNull, _) => self.push(&format!("{expression} IS NOT NULL")),
            (Operator::In | Operator::NotIn, Operand::List(texts)) => {
                let not = if comparison.operator == Operator::NotIn { "NOT " } else { "" };
                self.push(&format!("{expression} {not}IN (SELECT value FROM json_each("));
                self.value(to_json("texts", texts)?);
                self.push("))");
            }
            (Operator::Like, Operand::Text(pattern)) => {
                self.push(&format!("{expression} GLOB "));
                self.value(glob(pattern));
            }
            (Operator::Ilike, Operand::Text(pattern)) => {
                self.push(&format!("{expression} LIKE "));
                self.value(pattern.clone());
            }
            (operator, operand) => {
                let sign = operator.sql().ok_or_else(|| unsupported(comparison))?;
                self.push(&format!("{expression} {sign} "));
                match operand {
                    Operand::Number(number) => self.value(*number),
                    Operand::Text(text) => self.value(text.clone()),
                    _ => return Err(unsupported(comparison)),
                }
            }
        }
        Ok(())
    }
}

fn unsupported(comparison: &Comparison) -> StoreError {
    StoreError::Conflict(format!("{:?} cannot be compared in this way", comparison.column.key))
}

/// A pattern of `LIKE` as one of `GLOB`, which minds the case.
fn glob(pattern: &str) -> String {
    let sign = |sign: char| match sign {
        '%' => "*".to_owned(),
        '_' => "?".to_owned(),
        '*' | '?' | '[' => format!("[{sign}]"),
        other => other.to_string(),
    };
    pattern.chars().map(sign).collect()
}

/// Where an attribute of a run is.
fn attribute(key: &str) -> Option<&'static str> {
    Some(match key {
        "run_id" => "runs.uid",
        "run_name" => "runs.name",
        "status" => {
            "CASE runs.status WHEN 'queued' THEN 'SCHEDULED' WHEN 'running' THEN 'RUNNING' WHEN 'finished' THEN 'FINISHED'
             WHEN 'stopped' THEN 'KILLED' ELSE 'FAILED' END"
        }
        "start_time" => "coalesce(runs.started, runs.created)",
        "end_time" => "runs.ended",
        "user_id" => "coalesce(runs.user, '')",
        "artifact_uri" => {
            "coalesce(experiments.location, 'mlflow-artifacts:/' || runs.experiment) || '/' || runs.uid || '/artifacts'"
        }
        "note" => "nullif(runs.note, '')",
        _ => return None,
    })
}

impl Reader<'_> {
    /// A page of the runs that match, each with its params, tags and metric summaries, and whether there are more.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when a column or comparison makes no sense.
    pub fn search_runs(&self, search: &RunSearch, now: Timestamp) -> Result<(Vec<Run>, bool)> {
        let mut sql = Sql::default();
        sql.push(&format!("SELECT {COLUMNS} WHERE runs.experiment IN (SELECT value FROM json_each("));
        sql.value(to_json("experiments", &search.experiments)?);
        sql.push("))");
        match search.deleted {
            Some(true) => sql.push(" AND runs.deleted IS NOT NULL"),
            Some(false) => sql.push(" AND runs.deleted IS NULL"),
            None => {}
        }
        for comparison in &search.filter {
            sql.push(" AND ");
            condition(&mut sql, comparison)?;
        }
        sql.push(" ORDER BY ");
        for SortBy { column, descending } in &search.order {
            let direction = if *descending { "DESC" } else { "ASC" };
            let sorted = |sql: &mut Sql, table: &str, value: &str| {
                let of_run = format!("SELECT {value} FROM {table} WHERE run = runs.id AND key = ");
                for (part, direction) in [("IS NULL", "ASC"), ("", direction)] {
                    sql.push(&format!("({of_run}"));
                    sql.value(column.key.clone());
                    sql.push(&format!(") {part} {direction}, "));
                }
            };
            match column.kind.as_str() {
                "metrics" => {
                    // What is no number comes after all numbers, and what is not there last.
                    sql.push("NOT EXISTS (SELECT 1 FROM series WHERE run = runs.id AND key = ");
                    sql.value(column.key.clone());
                    sql.push("), ");
                    sorted(&mut sql, "latest", "last");
                }
                "params" => sorted(&mut sql, "params", "value"),
                "tags" => sorted(&mut sql, "tags", "value"),
                "datasets" => return Err(StoreError::Conflict("Runs are not sorted by datasets".into())),
                _ => {
                    let place = attribute(&column.key).ok_or_else(|| {
                        StoreError::Conflict(format!("Invalid attribute key '{}' specified.", column.key))
                    })?;
                    sql.push(&format!("{place} IS NULL, {place} {direction}, "));
                }
            }
        }
        sql.push("coalesce(runs.started, runs.created) DESC, runs.uid LIMIT ");
        sql.value(search.limit as i64 + 1);
        sql.push(" OFFSET ");
        sql.value(search.offset as i64);
        let mut statement = self.db.prepare_cached(&sql.text)?;
        let rows = statement.query_map(params_from_iter(&sql.values), |row| run_of(row, now))?;
        let mut runs = rows.collect::<rusqlite::Result<Vec<Run>>>()?;
        let has_more = runs.len() > search.limit;
        runs.truncate(search.limit);
        self.complete(&mut runs)?;
        Ok((runs, has_more))
    }
}

fn condition(sql: &mut Sql, comparison: &Comparison) -> Result<()> {
    let key = &comparison.column.key;
    let (table, value) = match comparison.column.kind.as_str() {
        "metrics" => ("latest", "last"),
        "params" => ("params", "value"),
        "tags" => ("tags", "value"),
        "datasets" => {
            let column = match key.as_str() {
                "name" | "digest" => key.as_str(),
                "context" => "tags ->> '$.\"mlflow.data.context\"'",
                _ => return Err(StoreError::Conflict(format!("Invalid dataset attribute '{key}' specified."))),
            };
            sql.push("EXISTS (SELECT 1 FROM run_inputs WHERE run = runs.id AND ");
            sql.compare(column, comparison)?;
            sql.push(")");
            return Ok(());
        }
        _ => {
            let place = attribute(key)
                .ok_or_else(|| StoreError::Conflict(format!("Invalid attribute key '{key}' specified.")))?;
            return sql.compare(place, comparison);
        }
    };
    let is_missing = comparison.operator == Operator::IsNull;
    sql.push(&format!(
        "{}EXISTS (SELECT 1 FROM {table} WHERE run = runs.id AND key = ",
        if is_missing { "NOT " } else { "" }
    ));
    sql.value(key.clone());
    if !matches!(comparison.operator, Operator::IsNull | Operator::IsNotNull) {
        sql.push(" AND ");
        sql.compare(value, comparison)?;
    }
    sql.push(")");
    Ok(())
}
