//! The table of runs: those that match, in the order that is asked for.

use super::run::{COLUMNS, run_of};
use crate::{Reader, Result};
use assay_domain::column::{Column, Which};
use assay_domain::entity::Run;
use assay_domain::query::{Condition, Field, Value};
use assay_domain::{Filter, RunId, Timestamp};
use std::collections::{BTreeSet, HashMap};

/// Which runs, in which order.
#[derive(Clone, Debug, Default)]
pub struct RunQuery {
    /// The filter.
    pub filter: Filter,
    /// The order; the newest first without one.
    pub order: Option<RunOrder>,
    /// How many to skip.
    pub offset: usize,
    /// How many to return.
    pub limit: usize,
    /// Deleted runs instead of those that are there.
    pub deleted: bool,
}

/// A column to sort by.
#[derive(Clone, Debug, PartialEq)]
pub struct RunOrder {
    /// Names of [`assay_domain::column`].
    pub key: String,
    /// The greatest first.
    pub descending: bool,
}

/// A page of the runs table.
#[derive(Clone, Debug, Default)]
pub struct RunPage {
    /// The runs.
    pub runs: Vec<Run>,
    /// How many match in all.
    pub total: usize,
}

impl Reader<'_> {
    /// A page of the runs table.
    pub fn runs(&self, query: &RunQuery, now: Timestamp) -> Result<RunPage> {
        let sql = format!(
            "SELECT {COLUMNS} WHERE runs.deleted IS {} NULL ORDER BY runs.id DESC",
            if query.deleted { "NOT" } else { "" }
        );
        let mut statement = self.db.prepare_cached(&sql)?;
        let rows = statement.query_map([], |row| run_of(row, now))?.collect::<rusqlite::Result<Vec<Run>>>()?;
        let values = Values::load(self, query, None)?;
        let mut runs: Vec<Run> =
            rows.into_iter().filter(|run| query.filter.matches(&Seen { run, values: &values })).collect();
        if let Some(order) = &query.order {
            sort(&mut runs, order, &values);
        }
        let total = runs.len();
        let mut runs: Vec<Run> = runs.into_iter().skip(query.offset).take(query.limit).collect();
        self.complete(&mut runs)?;
        Ok(RunPage { runs, total })
    }

    /// Whether a run is one that the filter asks for.
    pub(super) fn is_asked_for(&self, run: &Run, filter: Filter) -> Result<bool> {
        if filter.terms.is_empty() {
            return Ok(true);
        }
        let query = RunQuery { filter, ..RunQuery::default() };
        let values = Values::load(self, &query, Some(run.id))?;
        Ok(query.filter.matches(&Seen { run, values: &values }))
    }
}

/// The params, metrics and tags that a query asks of any run, or of one: only the keys it names are read.
#[derive(Default)]
struct Values {
    by_key: HashMap<String, HashMap<RunId, Value>>,
    tags: HashMap<RunId, String>,
}

impl Values {
    fn load(reader: &Reader<'_>, query: &RunQuery, of: Option<RunId>) -> Result<Values> {
        // A number, so that each has a plan of its own.
        let of = of.map_or_else(String::new, |run| format!("AND run = {}", run.0));
        let mut values = Values::default();
        let ordered_by = query.order.iter().map(|order| order.key.as_str());
        let keys: BTreeSet<&str> = query.filter.keys().chain(ordered_by).collect();
        for key in keys {
            values.by_key.insert(key.to_owned(), reader.values_under(key, &of)?);
        }
        if query.filter.terms.iter().any(|term| matches!(term.condition, Condition::Word(_))) {
            let sql =
                format!("SELECT run, group_concat(key || ' ' || value, ' ') FROM tags WHERE TRUE {of} GROUP BY run");
            let mut statement = reader.db.prepare(&sql)?;
            let rows = statement.query_map([], |row| Ok((RunId(row.get(0)?), row.get::<_, String>(1)?)))?;
            values.tags =
                rows.map(|row| row.map(|(run, text)| (run, text.to_lowercase()))).collect::<Result<_, _>>()?;
        }
        Ok(values)
    }
}

impl Reader<'_> {
    /// Each run's value under a name; `of` restricts the runs, as SQL.
    fn values_under(&self, name: &str, of: &str) -> Result<HashMap<RunId, Value>> {
        let mut values = match Column::of(name) {
            // Fields come first.
            Column::Field(_) => return Ok(HashMap::new()),
            Column::Param(key) => self.texts_under("params", key, of)?,
            Column::Metric(which, key) => self.metric_values(which, key, of)?,
            Column::Tag(key) => self.texts_under("tags", key, of)?,
            Column::Any(_) => HashMap::new(),
        };
        // A key may itself begin with `params.`. Later kinds overwrite: params win.
        values.extend(self.texts_under("tags", name, of)?);
        values.extend(self.metric_values(Which::Last, name, of)?);
        values.extend(self.texts_under("params", name, of)?);
        Ok(values)
    }

    fn texts_under(&self, table: &str, key: &str, of: &str) -> Result<HashMap<RunId, Value>> {
        let mut statement = self.db.prepare(&format!("SELECT run, value FROM {table} WHERE key = ?1 {of}"))?;
        let rows = statement.query_map([key], |row| Ok((RunId(row.get(0)?), Value::Text(row.get(1)?))))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

struct Seen<'a> {
    run: &'a Run,
    values: &'a Values,
}

impl Field for Seen<'_> {
    fn mentions(&self, word: &str) -> bool {
        let run = self.run;
        [&run.name, &run.note, &run.experiment].iter().any(|text| text.to_lowercase().contains(word))
            || format!("#{}", run.id) == word
            || run.uid.starts_with(word)
            || self.values.tags.get(&run.id).is_some_and(|tags| tags.contains(word))
    }

    fn value(&self, key: &str) -> Option<Value> {
        let run = self.run;
        let number = |value: i64| Value::Number(value as f64);
        match key {
            "status" => Some(Value::Text(run.status.as_str().into())),
            "name" => Some(Value::Text(run.name.clone())),
            "experiment" => Some(Value::Text(run.experiment.clone())),
            "id" | "run" => Some(number(run.id.0)),
            "dataset" => run.dataset.map(|dataset| number(dataset.0)),
            "created" => Some(number(run.created.0)),
            "started" => run.started.map(|at| number(at.0)),
            "uid" => Some(Value::Text(run.uid.clone())),
            "note" => Some(Value::Text(run.note.clone())),
            "user" => run.user.clone().map(Value::Text),
            "client" => run.client.clone().map(Value::Text),
            "duration" => Some(Value::Number(run.duration_secs(run.ended?)?)),
            _ => self.values.by_key.get(key)?.get(&run.id).cloned(),
        }
    }
}

/// Sorts by the column; runs that have nothing there come last either way.
fn sort(runs: &mut [Run], order: &RunOrder, values: &Values) {
    let number = |value: &Value| match value {
        Value::Number(number) => Some(*number),
        Value::Text(text) => text.parse().ok(),
    };
    runs.sort_by_cached_key(|run| {
        let value = Seen { run, values }.value(&order.key);
        SortKey {
            number: value.as_ref().and_then(number),
            text: value.map(|value| match value {
                Value::Text(text) => text.to_lowercase(),
                Value::Number(number) => number.to_string(),
            }),
            descending: order.descending,
        }
    });
}

#[derive(PartialEq)]
struct SortKey {
    number: Option<f64>,
    text: Option<String>,
    descending: bool,
}

impl Eq for SortKey {}

impl PartialOrd for SortKey {
    fn partial_cmp(&self, other: &SortKey) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SortKey {
    fn cmp(&self, other: &SortKey) -> std::cmp::Ordering {
        let directed = |order: std::cmp::Ordering| if self.descending { order.reverse() } else { order };
        match (self.number, other.number) {
            (Some(a), Some(b)) if a.is_nan() || b.is_nan() => a.is_nan().cmp(&b.is_nan()),
            (Some(a), Some(b)) => directed(a.total_cmp(&b)),
            _ => match (&self.text, &other.text) {
                (Some(a), Some(b)) => directed(a.cmp(b)),
                (a, b) => a.is_none().cmp(&b.is_none()),
            },
        }
    }
}
