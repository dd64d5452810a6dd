//! JSON as programs write it that know more numbers than JSON does.

use super::columns::Cell;
use super::short_key;
use serde_json::Value;

/// Parses JSON. Numbers that JSON lacks (`NaN`, `-inf`) or that no float holds (`1e400`) become texts.
pub(super) fn parsed(json: &str) -> Option<Value> {
    let json = json.trim_start_matches('\u{feff}');
    serde_json::from_str(json).or_else(|_| serde_json::from_str(&with_quoted_numbers(json))).ok()
}

/// The numbers that JSON has no word for, as programs spell them.
const NAMED: [(&str, f64); 8] = [
    ("NaN", f64::NAN),
    ("nan", f64::NAN),
    ("Infinity", f64::INFINITY),
    ("-Infinity", f64::NEG_INFINITY),
    ("inf", f64::INFINITY),
    ("-inf", f64::NEG_INFINITY),
    ("Inf", f64::INFINITY),
    ("-Inf", f64::NEG_INFINITY),
];

/// Quotes the numbers that JSON lacks; those beyond the range of a float become infinities.
fn with_quoted_numbers(json: &str) -> String {
    let mut quoted = String::with_capacity(json.len() + 16);
    let mut rest = json;
    while let Some(sign) = rest.chars().next() {
        let length = match sign {
            '"' => end_of_text(rest),
            _ => rest.bytes().position(|byte| !is_of_word(byte)).unwrap_or(rest.len()).max(sign.len_utf8()),
        };
        let (piece, after) = rest.split_at(length);
        match spelled(piece) {
            Some(number) => quoted.extend(["\"", number, "\""]),
            None => quoted.push_str(piece),
        }
        rest = after;
    }
    quoted
}

/// Whether a byte may be of a number or of a word such as `true`.
fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.' | b'_')
}

/// The name of a number that JSON cannot hold.
fn spelled(word: &str) -> Option<&str> {
    if NAMED.iter().any(|(name, _)| *name == word) {
        return Some(word);
    }
    let is_number = word.bytes().any(|byte| byte.is_ascii_digit());
    match word.parse::<f64>() {
        Ok(f64::INFINITY) if is_number => Some("Infinity"),
        Ok(f64::NEG_INFINITY) if is_number => Some("-Infinity"),
        _ => None,
    }
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

/// Converts a value to a cell of a table, if one can hold it. A text of a number is that number, as in a CSV.
pub(super) fn cell(value: &Value) -> Option<Cell> {
    match value {
        Value::Number(number) => number.as_i64().map(Cell::Whole).or_else(|| number.as_f64().map(Cell::Number)),
        Value::Bool(bool) => Some(Cell::Whole((*bool).into())),
        Value::String(text) => Some(match Cell::of(text.trim(), b',') {
            Cell::Text(_) => Cell::Text(text.clone()),
            number => number,
        }),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The values in a tree, under the keys on the way to them, joined.
#[derive(Default)]
pub(super) struct Leaves {
    pub(super) found: Vec<(String, Value)>,
    /// Notes on keys that were shortened: a long one may stand before many small values.
    pub(super) notes: Vec<String>,
}

impl Leaves {
    pub(super) fn add(&mut self, key: String, value: Value) {
        let key = short_key(key, &mut self.notes);
        match value {
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
        assert_eq!(with_quoted_numbers(json), expected);
        assert_eq!(with_quoted_numbers("\"open NaN"), "\"open NaN");
        assert_eq!(with_quoted_numbers("ü-Infinityü"), "ü\"-Infinity\"ü");
        assert_eq!(with_quoted_numbers("[nan,-inf,null,true,Nano]"), "[\"nan\",\"-inf\",null,true,Nano]");
    }

    #[test]
    fn numbers_beyond_a_float_are_infinite_and_cost_no_other_value() {
        let json = format!("\u{feff}{{\"a\": 1e400, \"b\": -{}, \"c\": 0.5}}", "9".repeat(400));
        let Some(Value::Object(object)) = parsed(&json) else { panic!("it is an object") };
        let numbers: Vec<Option<f64>> = object.values().map(number).collect();
        assert_eq!(numbers, [Some(f64::INFINITY), Some(f64::NEG_INFINITY), Some(0.5)]);
    }

    #[test]
    fn a_text_of_a_number_is_that_number_in_a_table() {
        let of = |json: &str| cell(&parsed(json).expect("it is JSON"));
        assert_eq!(of("\"0.25\""), Some(Cell::Number(0.25)));
        assert_eq!(of("\" 12 \""), Some(Cell::Whole(12)));
        assert_eq!(of("\"-inf\""), Some(Cell::Number(f64::NEG_INFINITY)));
        assert_eq!(of("\" word \""), Some(Cell::Text(" word ".into())));
        assert_eq!(of("null"), None);
    }
}
