//! The values in the records: texts of JSON, each by itself or in objects.

use super::super::histogram;
use super::super::json::number;
use serde_json::{Map, Value};

/// A key of more parts than these is taken as one.
const DEEPEST: usize = 64;

/// Puts a value at its place in a tree. Where a value stands in the way, it comes beside that, under the joined key.
pub(super) fn insert(tree: &mut Map<String, Value>, path: &[String], value: Value) {
    match path {
        [] => {}
        [last] => _ = tree.insert(last.clone(), value),
        [first, rest @ ..] if path.len() <= DEEPEST => {
            match tree.entry(first.as_str()).or_insert_with(|| Value::Object(Map::new())) {
                Value::Object(inner) => insert(inner, rest, value),
                _ => _ = tree.insert(path.join("."), value),
            }
        }
        _ => _ = tree.insert(path.join("."), value),
    }
}

/// The whole number that is nearest to a value.
pub(super) fn whole(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_f64().map(|number| number.round() as i64))
}

/// A text as it is, anything else as JSON writes it.
pub(super) fn text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// What an object says that it is.
pub(super) fn kind(value: &Value) -> Option<&str> {
    value.get("_type")?.as_str()
}

/// What five numbers say of a histogram.
pub(super) fn percentiles(value: &Value) -> Option<[f64; 5]> {
    let numbers = |name: &str| -> Option<Vec<f64>> { value.get(name)?.as_array()?.iter().map(number).collect() };
    histogram::percentiles(&numbers("bins")?, &numbers("values")?)
}
