//! Numbers for display, comparison and JSON.

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Significant digits of a number in a table.
const DIGITS: usize = 5;
/// Significant digits that tell any two doubles apart.
const ALL_DIGITS: usize = 17;

/// A number for display: at least five significant digits, no trailing zeros. Integers are shown in full, and only 0 is
/// shown as 0.
///
/// ```
/// # use assay_domain::number;
/// let values = [3e-5, 4.07e-6, 0.9512, 12345.7, 1797.0, f64::NAN];
/// assert_eq!(values.map(number).join(" "), "3e-5 4.07e-6 0.9512 12345.7 1797 NaN");
/// ```
pub fn number(value: f64) -> String {
    with_digits(value, DIGITS)
}

/// Numbers for display side by side: as [`number`], with as many digits as tell different ones apart.
pub fn numbers_apart(values: &[f64]) -> Vec<String> {
    let texts = |digits: usize| -> Vec<String> { values.iter().map(|value| with_digits(*value, digits)).collect() };
    let are_apart = |texts: &[String]| {
        let mut seen: Vec<(&str, f64)> = texts.iter().map(String::as_str).zip(values.iter().copied()).collect();
        seen.sort_by(|a, b| a.0.cmp(b.0));
        seen.windows(2).all(|pair| pair[0].0 != pair[1].0 || same(pair[0].1, pair[1].1))
    };
    (DIGITS..ALL_DIGITS)
        .map(texts)
        .find(|texts| are_apart(texts))
        .unwrap_or_else(|| values.iter().map(|value| shortest(*value)).collect())
}

/// Whether two numbers are equal, NaN being equal to NaN.
pub fn same(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan())
}

/// The shortest text that parses back to the same bits.
fn shortest(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        1e-4..1e15 => value.to_string(),
        size if size.is_finite() => format!("{value:e}"),
        _ => value.to_string(),
    }
}

fn with_digits(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return value.to_string();
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    if value.fract() == 0.0 && value.abs() < 1e15 {
        return format!("{value:.0}");
    }
    let scientific = format!("{value:.*e}", digits - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>() {
        Ok(exponent @ -4..=5) => {
            let decimals = (digits as i32 - 1 - exponent).max(1) as usize;
            trimmed(&format!("{value:.decimals$}")).to_owned()
        }
        _ => format!("{}e{exponent}", trimmed(mantissa)),
    }
}

/// Strips trailing zeros after the point.
fn trimmed(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

/// A number in JSON; NaN and the infinities are the strings `NaN`, `Infinity` and `-Infinity`.
///
/// As a field: `#[serde(with = "number::json")]`, or `number::json_option` of an `Option<f64>`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct JsonNumber(pub f64);

impl Serialize for JsonNumber {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            value if value.is_finite() => serializer.serialize_f64(value),
            value if value.is_nan() => serializer.serialize_str("NaN"),
            value if value > 0.0 => serializer.serialize_str("Infinity"),
            _ => serializer.serialize_str("-Infinity"),
        }
    }
}

impl<'de> Deserialize<'de> for JsonNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<JsonNumber, D::Error> {
        struct Reading;

        impl Visitor<'_> for Reading {
            type Value = JsonNumber;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, \"NaN\", \"Infinity\" or \"-Infinity\"")
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<JsonNumber, E> {
                Ok(JsonNumber(value))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<JsonNumber, E> {
                Ok(JsonNumber(value as f64))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<JsonNumber, E> {
                Ok(JsonNumber(value as f64))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<JsonNumber, E> {
                text.parse().map(JsonNumber).map_err(|_| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }

            /// Null: what earlier versions wrote.
            fn visit_unit<E: Error>(self) -> Result<JsonNumber, E> {
                Ok(JsonNumber(f64::NAN))
            }
        }

        deserializer.deserialize_any(Reading)
    }
}

/// `f64` as [`JsonNumber`].
pub mod json {
    use super::{Deserialize, Deserializer, JsonNumber, Serialize, Serializer};

    /// Writes it.
    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        JsonNumber(*value).serialize(serializer)
    }

    /// Reads it.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        JsonNumber::deserialize(deserializer).map(|number| number.0)
    }
}

/// `Option<f64>` as [`JsonNumber`]; none is null.
pub mod json_option {
    use super::{Deserialize, Deserializer, JsonNumber, Serialize, Serializer};

    /// Writes it.
    pub fn serialize<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
        value.map(JsonNumber).serialize(serializer)
    }

    /// Reads it.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
        Ok(Option::<JsonNumber>::deserialize(deserializer)?.map(|number| number.0))
    }
}

/// A list of `f32` as [`JsonNumber`].
pub mod json_f32s {
    use super::{Deserialize, Deserializer, JsonNumber, Serializer};

    /// Writes it, with the digits of an `f32`.
    pub fn serialize<S: Serializer>(values: &[f32], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(|value| super::JsonF32(*value)))
    }

    /// Reads it.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f32>, D::Error> {
        let numbers = Vec::<JsonNumber>::deserialize(deserializer)?;
        Ok(numbers.into_iter().map(|number| number.0 as f32).collect())
    }
}

/// `Option<f32>` as [`JsonNumber`]; none is null.
pub mod json_f32_option {
    use super::{Deserialize, Deserializer, JsonNumber, Serialize, Serializer};

    /// Writes it.
    pub fn serialize<S: Serializer>(value: &Option<f32>, serializer: S) -> Result<S::Ok, S::Error> {
        value.map(super::JsonF32).serialize(serializer)
    }

    /// Reads it.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f32>, D::Error> {
        Ok(Option::<JsonNumber>::deserialize(deserializer)?.map(|number| number.0 as f32))
    }
}

/// Keeps the digits of an `f32` if finite.
struct JsonF32(f32);

impl Serialize for JsonF32 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.is_finite() {
            true => serializer.serialize_f32(self.0),
            false => JsonNumber(f64::from(self.0)).serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn small_and_large_numbers_keep_their_digits() {
        for (value, text) in [
            (3e-5, "3e-5"),
            (6e-7, "6e-7"),
            (0.0003, "0.0003"),
            (-1.5e-9, "-1.5e-9"),
            (0.95123456, "0.95123"),
            (2.0, "2"),
            (123456.78, "123456.8"),
            (1234567.8, "1.2346e6"),
            (60_000_000.0, "60000000"),
            (1e300, "1e300"),
            (0.0, "0"),
            (-0.0, "0"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::MIN_POSITIVE, "2.2251e-308"),
        ] {
            assert_eq!(number(value), text, "{value:e}");
        }
    }

    #[test]
    fn numbers_side_by_side_have_the_digits_that_tell_them_apart() {
        assert_eq!(numbers_apart(&[0.951231, 0.951234, 0.951231]), ["0.951231", "0.951234", "0.951231"]);
        assert_eq!(numbers_apart(&[4e-6, 9e-7]), ["4e-6", "9e-7"]);
        assert_eq!(numbers_apart(&[f64::NAN, 1.0, f64::NAN]), ["NaN", "1", "NaN"]);
        let (one, next) = (1.0 / 3.0, f64::from_bits((1.0f64 / 3.0).to_bits() + 1));
        let texts = numbers_apart(&[one, next]);
        assert_ne!(texts[0], texts[1]);
    }

    proptest! {
        #[test]
        fn no_number_but_zero_is_shown_as_zero_and_what_is_shown_is_near(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            let shown: f64 = number(value).parse().unwrap();
            prop_assert!(same(value, shown) || (value - shown).abs() <= value.abs() * 1e-4, "{value:e} {shown:e}");
        }

        #[test]
        fn different_numbers_have_different_texts(values in prop::collection::vec(any::<f64>(), 1..5), near in any::<bool>()) {
            let mut values = values;
            if near {
                values.push(f64::from_bits(values[0].to_bits() ^ 1));
            }
            let texts = numbers_apart(&values);
            for (a, one) in values.iter().zip(&texts) {
                for (b, other) in values.iter().zip(&texts) {
                    prop_assert_eq!(same(*a, *b), one == other);
                }
            }
        }

        #[test]
        fn json_keeps_every_number(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            let json = serde_json::to_string(&JsonNumber(value)).unwrap();
            prop_assert!(same(serde_json::from_str::<JsonNumber>(&json).unwrap().0, value));
        }
    }

    #[test]
    fn what_json_has_no_word_for_is_a_string() {
        let numbers = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.5].map(JsonNumber);
        assert_eq!(serde_json::to_string(&numbers).unwrap(), r#"["NaN","Infinity","-Infinity",0.5]"#);
        assert!(serde_json::from_str::<JsonNumber>("\"many\"").is_err());
    }
}
