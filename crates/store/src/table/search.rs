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

/// SQLite joins 64 tables, and thinks long about many: further conditions are asked of each run.
const MOST_JOINED: usize = 16;
const MOST_SORTED: usize = 40;

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

impl Sql {
    /// `place operator operand` for a metric; NaN, stored as NULL, differs from every number.
    fn compare_metric(&mut self, place: &str, comparison: &Comparison) -> Result<()> {
        if comparison.operator != Operator::Different {
            return self.compare(place, comparison);
        }
        self.push("(");
        self.compare(place, comparison)?;
        self.push(&format!(" OR {place} IS NULL)"));
        Ok(())
    }

    /// `place operator operand` in a table of this kind.
    fn compare_in(&mut self, kind: &str, place: &str, comparison: &Comparison) -> Result<()> {
        if kind == "metrics" { self.compare_metric(place, comparison) } else { self.compare(place, comparison) }
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
        sql.push(&format!("SELECT {COLUMNS}"));
        // First what an index finds, from where SQLite may begin; then each run is looked up where that takes the least time.
        let (mut joined, mut rest): (Vec<&Comparison>, Vec<&Comparison>) = search
            .filter
            .iter()
            .partition(|one| table_of(&one.column.kind).is_some() && one.operator != Operator::IsNull);
        let is_indexed = |one: &Comparison| one.column.kind == "params" && one.operator == Operator::Equal;
        joined.sort_by_key(|one| (!is_indexed(one), one.column.kind == "metrics"));
        rest.extend(joined.split_off(joined.len().min(MOST_JOINED)));
        for (at, comparison) in joined.into_iter().enumerate() {
            let Some((table, value)) = table_of(&comparison.column.kind) else { continue };
            let alias = format!("filter{at}");
            let how = if is_indexed(comparison) { "JOIN" } else { "CROSS JOIN" };
            join(&mut sql, how, table, &alias, &comparison.column.key);
            if comparison.operator != Operator::IsNotNull {
                sql.push(" AND ");
                sql.compare_in(&comparison.column.kind, &format!("{alias}.{value}"), comparison)?;
            }
        }
        if search.order.len() > MOST_SORTED {
            return Err(StoreError::Conflict(format!("Runs are sorted by at most {MOST_SORTED} columns")));
        }
        for (at, SortBy { column, .. }) in search.order.iter().enumerate() {
            if let Some((table, _)) = table_of(&column.kind) {
                join(&mut sql, "LEFT JOIN", table, &format!("sort{at}"), &column.key);
            }
        }
        sql.push(" WHERE runs.experiment IN (SELECT value FROM json_each(");
        sql.value(to_json("experiments", &search.experiments)?);
        sql.push("))");
        match search.deleted {
            Some(true) => sql.push(" AND runs.deleted IS NOT NULL"),
            Some(false) => sql.push(" AND runs.deleted IS NULL"),
            None => {}
        }
        for comparison in rest {
            sql.push(" AND ");
            condition(&mut sql, comparison)?;
        }
        sql.push(" ORDER BY ");
        for (at, SortBy { column, descending }) in search.order.iter().enumerate() {
            let direction = if *descending { "DESC" } else { "ASC" };
            let place = match (column.kind.as_str(), table_of(&column.kind)) {
                ("datasets", _) => return Err(StoreError::Conflict("Runs are not sorted by datasets".into())),
                (_, Some((_, value))) => {
                    // A metric that is no number comes after all numbers, and what is not there last.
                    sql.push(&format!("sort{at}.run IS NULL, "));
                    format!("sort{at}.{value}")
                }
                _ => attribute(&column.key).map(str::to_owned).ok_or_else(|| {
                    StoreError::Conflict(format!("Invalid attribute key '{}' specified.", column.key))
                })?,
            };
            sql.push(&format!("{place} IS NULL, {place} {direction}, "));
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

/// The table of this kind of column, with a row for each run and key, and where its value is.
fn table_of(kind: &str) -> Option<(&'static str, &'static str)> {
    Some(match kind {
        "metrics" => ("latest", "last"),
        "params" => ("params", "value"),
        "tags" => ("tags", "value"),
        _ => return None,
    })
}

fn join(sql: &mut Sql, how: &str, table: &str, alias: &str, key: &str) {
    sql.push(&format!(" {how} {table} AS {alias} ON {alias}.run = runs.id AND {alias}.key = "));
    sql.value(key.to_owned());
}

/// What is not joined: attributes, datasets, what a run is not to have, and what is too much to join.
fn condition(sql: &mut Sql, comparison: &Comparison) -> Result<()> {
    let key = &comparison.column.key;
    if let Some((table, value)) = table_of(&comparison.column.kind) {
        let not = if comparison.operator == Operator::IsNull { "NOT " } else { "" };
        sql.push(&format!("{not}EXISTS (SELECT 1 FROM {table} WHERE run = runs.id AND key = "));
        sql.value(key.clone());
        if !matches!(comparison.operator, Operator::IsNull | Operator::IsNotNull) {
            sql.push(" AND ");
            sql.compare_in(&comparison.column.kind, value, comparison)?;
        }
        sql.push(")");
        return Ok(());
    }
    if comparison.column.kind != "datasets" {
        let place =
            attribute(key).ok_or_else(|| StoreError::Conflict(format!("Invalid attribute key '{key}' specified.")))?;
        return sql.compare(place, comparison);
    }
    let column = match key.as_str() {
        "name" | "digest" => key.as_str(),
        "context" => "tags ->> '$.\"mlflow.data.context\"'",
        _ => return Err(StoreError::Conflict(format!("Invalid dataset attribute '{key}' specified."))),
    };
    sql.push("EXISTS (SELECT 1 FROM run_inputs WHERE run = runs.id AND ");
    sql.compare(column, comparison)?;
    sql.push(")");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ClientRun, Holder, Store};
    use assay_domain::search::Column;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    #[test]
    fn more_conditions_than_sqlite_joins_are_asked() {
        let folder = tempfile::tempdir().unwrap();
        let holder = Holder { process: 1, command: "test".into() };
        let store = Store::open(&folder.path().join(".assay"), &holder, Arc::new(|| Timestamp(1)), |_| {}).unwrap();
        let params: BTreeMap<String, String> = (0..100).map(|number| (format!("p{number}"), "1".to_owned())).collect();
        for uid in ["a", "b"] {
            let mut params = params.clone();
            params.insert("p99".into(), uid.into());
            let new = ClientRun {
                uid: uid.repeat(32),
                experiment: ExperimentId(0),
                name: uid.into(),
                client: "test".into(),
                user: None,
                started: None,
                tags: BTreeMap::new(),
            };
            store
                .write(move |tx| {
                    let run = tx.create_client_run(&new)?;
                    tx.set_params(run, &params)
                })
                .unwrap();
        }
        let column = |key: usize| Column { kind: "params".into(), key: format!("p{key}") };
        let is = |key: usize, value: &str| Comparison {
            column: column(key),
            operator: Operator::Equal,
            operand: Operand::Text(value.into()),
        };
        let by = |key: usize| SortBy { column: column(key), descending: false };
        let search = |sorted: usize| {
            let filter = (0..99).map(|key| is(key, "1")).chain([is(99, "b")]).collect();
            let order = (0..sorted).map(by).collect();
            let search =
                RunSearch { experiments: vec![ExperimentId(0)], filter, order, limit: 10, ..RunSearch::default() };
            store.read(|reader| reader.search_runs(&search, Timestamp(1)))
        };
        let found = search(MOST_SORTED).unwrap().0;
        assert_eq!(found.iter().map(|run| run.name.as_str()).collect::<Vec<_>>(), ["b"]);
        assert!(matches!(search(MOST_SORTED + 1), Err(StoreError::Conflict(_))));
    }
}
