//! The values in the records: texts of JSON, each by itself or in objects.

use super::super::histogram;
use serde_json::{Map, Value};

/// The keys of a record take about as many bytes at most: a long one may stand before many small values.
const KEY_BYTES: usize = 64 << 20;

/// A key of more parts than these is taken as one.
const DEEPEST: usize = 64;

/// The values in a tree, under the keys on the way to them, joined.
#[derive(Default)]
pub(super) struct Leaves {
    pub(super) found: Vec<(String, Value)>,
    bytes: usize,
    pub(super) left_out: u64,
}

impl Leaves {
    pub(super) fn add(&mut self, key: String, value: Value) {
        self.bytes += key.len();
        match value {
            Value::Object(inner) if !inner.is_empty() && !inner.get("_type").is_some_and(Value::is_string) => {
                for (name, value) in inner {
                    if self.bytes > KEY_BYTES {
                        self.left_out += 1;
                    } else {
                        self.add(format!("{key}.{name}"), value);
                    }
                }
            }
            value => self.found.push((key, value)),
        }
    }
}

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

/// The value in a text of JSON. Python also writes numbers that JSON lacks: they become texts.
pub(super) fn parsed(json: &str) -> Option<Value> {
    serde_json::from_str(json).or_else(|_| serde_json::from_str(&without_bare_names(json))).ok()
}

/// The numbers that JSON has no word for.
const NAMED: [(&str, f64); 3] = [("NaN", f64::NAN), ("Infinity", f64::INFINITY), ("-Infinity", f64::NEG_INFINITY)];

/// A text of JSON, where the names of numbers stand in quotes.
fn without_bare_names(json: &str) -> String {
    let mut quoted = String::with_capacity(json.len() + 16);
    let mut rest = json;
    while let Some(letter) = rest.chars().next() {
        let name = NAMED.iter().find(|(name, _)| rest.starts_with(name));
        let length = match (letter, name) {
            ('"', _) => end_of_text(rest),
            (_, Some((name, _))) => name.len(),
            _ => letter.len_utf8(),
        };
        let (piece, after) = rest.split_at(length);
        match name {
            Some(_) => quoted.extend(["\"", piece, "\""]),
            None => quoted.push_str(piece),
        }
        rest = after;
    }
    quoted
}

/// Where a text that begins with a quote ends.
fn end_of_text(json: &str) -> usize {
    let mut escaped = true;
    let end = json.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    end.map_or(json.len(), |end| end + 1)
}

/// The number that a value is; what is true or false is 1 or 0.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::Bool(bool) => Some(f64::from(u8::from(*bool))),
        Value::String(text) => NAMED.iter().find(|(name, _)| name == text).map(|(_, number)| *number),
        _ => None,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_numbers_are_quoted_only_outside_of_texts() {
        let json = r#"{"NaN": [NaN, -Infinity, "a \" NaN \\"], "b": Infinity}"#;
        let expected = r#"{"NaN": ["NaN", "-Infinity", "a \" NaN \\"], "b": "Infinity"}"#;
        assert_eq!(without_bare_names(json), expected);
        assert_eq!(without_bare_names("\"open NaN"), "\"open NaN");
        assert_eq!(without_bare_names("ü-Infinityü"), "ü\"-Infinity\"ü");
    }
}
