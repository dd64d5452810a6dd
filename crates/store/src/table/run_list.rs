//! The table of runs: those that match, in the order that is asked for.

use super::run::{COLUMNS, run_of};
use crate::{Reader, Result};
use assay_domain::entity::Run;
use assay_domain::query::{Field, Value};
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
    /// A field, a param, or a metric (its last value; `min:KEY` and `max:KEY` for its extremes).
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
        use assay_domain::query::Condition;
        let mut values = Values::default();
        let mut keys: BTreeSet<&str> = query.order.iter().map(|order| order.key.as_str()).collect();
        let mut words = false;
        for term in &query.filter.terms {
            match &term.condition {
                Condition::Word(_) => words = true,
                Condition::Compare { key, .. } => {
                    keys.insert(key);
                }
            }
        }
        for key in keys {
            let mut of_key = reader.metric_values(key, &of)?;
            let mut statement = reader.db.prepare(&format!("SELECT run, value FROM params WHERE key = ?1 {of}"))?;
            let rows = statement.query_map([key], |row| Ok((RunId(row.get(0)?), row.get::<_, String>(1)?)))?;
            for row in rows {
                let (run, value) = row?;
                of_key.insert(run, Value::Text(value));
            }
            values.by_key.insert(key.to_owned(), of_key);
        }
        if words {
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
