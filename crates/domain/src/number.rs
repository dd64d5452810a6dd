//! Numbers in JSON, which has no word for NaN and the infinities: they are the texts `NaN`, `Infinity` and `-Infinity`.
//!
//! For fields: `#[serde(with = "crate::number")]`, or [`optional`] where there may be none.

use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// The text of a number that JSON lacks.
pub fn word(value: f64) -> Option<&'static str> {
    match value {
        value if value.is_nan() => Some("NaN"),
        f64::INFINITY => Some("Infinity"),
        f64::NEG_INFINITY => Some("-Infinity"),
        _ => None,
    }
}

/// The number that a text is of those that JSON lacks.
pub fn named(word: &str) -> Option<f64> {
    match word {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// Writes a number.
pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    match word(*value) {
        Some(word) => serializer.serialize_str(word),
        None => serializer.serialize_f64(*value),
    }
}

/// Reads a number.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    deserializer.deserialize_any(Number)
}

struct Number;

impl Visitor<'_> for Number {
    type Value = f64;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a number, or one of the texts NaN, Infinity and -Infinity")
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<f64, E> {
        Ok(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<f64, E> {
        Ok(value as f64)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<f64, E> {
        Ok(value as f64)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<f64, E> {
        named(text).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }

    // As it was written before there were words for them.
    fn visit_unit<E: Error>(self) -> Result<f64, E> {
        Ok(f64::NAN)
    }
}

/// The same of a number that may not be there.
pub mod optional {
    use super::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(transparent)]
    struct Present(#[serde(with = "crate::number")] f64);

    /// Writes a number, or null.
    pub fn serialize<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
        value.map(Present).serialize(serializer)
    }

    /// Reads a number, or null.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
        Ok(Option::<Present>::deserialize(deserializer)?.map(|Present(value)| value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Serialize, Deserialize)]
    struct Both {
        #[serde(with = "crate::number")]
        one: f64,
        #[serde(with = "optional", default)]
        other: Option<f64>,
    }

    #[test]
    fn numbers_that_json_lacks_are_texts_and_come_back() {
        for (one, other, json) in [
            (0.1, Some(3.0), r#"{"one":0.1,"other":3.0}"#),
            (f64::INFINITY, Some(f64::NEG_INFINITY), r#"{"one":"Infinity","other":"-Infinity"}"#),
            (f64::NAN, Some(f64::NAN), r#"{"one":"NaN","other":"NaN"}"#),
            (-0.0, None, r#"{"one":-0.0,"other":null}"#),
        ] {
            let text = serde_json::to_string(&Both { one, other }).expect("JSON");
            assert_eq!(text, json);
            let back: Both = serde_json::from_str(&text).expect("it reads");
            assert_eq!(back.one.to_bits(), one.to_bits());
            assert_eq!(back.other.map(f64::to_bits), other.map(f64::to_bits));
        }
        assert_eq!(serde_json::from_str::<Both>(r#"{"one":5}"#).expect("it reads").one, 5.0);
        assert!(serde_json::from_str::<Both>(r#"{"one":"much"}"#).is_err());
    }
}
