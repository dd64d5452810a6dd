//! JSON as programs write it that know more numbers than JSON does.

use super::LONGEST_KEY;
use serde_json::Value;

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

/// The values in a tree, under the keys on the way to them, joined.
#[derive(Default)]
pub(super) struct Leaves {
    pub(super) found: Vec<(String, Value)>,
    /// How many have too long a key: one may stand before many small values.
    pub(super) left_out: u64,
}

impl Leaves {
    pub(super) fn add(&mut self, key: String, value: Value) {
        match value {
            _ if key.len() > LONGEST_KEY => self.left_out += 1,
            Value::Object(inner) if !inner.is_empty() && !inner.get("_type").is_some_and(Value::is_string) => {
                inner.into_iter().for_each(|(name, value)| self.add(format!("{key}.{name}"), value));
            }
            value => self.found.push((key, value)),
        }
    }
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
