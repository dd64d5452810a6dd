//! The direction in which a metric improves, declared once per key.

use crate::series::Summary;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Which extreme of a metric is its best value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Best {
    /// The least, e.g. a loss.
    #[serde(rename = "min")]
    Least,
    /// The greatest, e.g. an accuracy.
    #[serde(rename = "max")]
    Greatest,
    /// Neither, or unknown.
    #[serde(rename = "none")]
    Neither,
}

/// Prefix of tags that declare a metric's direction: `assay.best.wer` is `min`.
const TAG: &str = "assay.best.";

impl Best {
    /// All of them.
    pub const ALL: [Best; 3] = [Best::Least, Best::Greatest, Best::Neither];

    /// The name stored, sent and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Best::Least => "min",
            Best::Greatest => "max",
            Best::Neither => "none",
        }
    }

    /// Parses its name.
    pub fn parse(word: &str) -> Option<Best> {
        Best::ALL.into_iter().find(|best| best.as_str() == word)
    }

    /// Why a tag of a run is refused: it declares a metric's direction, as `assay.best.wer` does, with an unknown word.
    pub fn fault_of_tag(tag: &str, value: &str) -> Option<String> {
        let metric = tag.strip_prefix(TAG).filter(|metric| !metric.is_empty())?;
        if Best::parse(value).is_some() {
            return None;
        }
        let known = Best::ALL.map(Best::as_str).join(", ");
        Some(format!("the best value of {metric:?} cannot be {value:?}: set the tag {tag:?} to one of {known}"))
    }

    /// The best value of a series and its step; `None` if the direction is unknown.
    pub fn of(self, summary: &Summary) -> Option<(f64, i64)> {
        match self {
            Best::Least => summary.min,
            Best::Greatest => summary.max,
            Best::Neither => None,
        }
    }
}

/// The directions of all metrics of a workspace.
///
/// Undeclared directions are known only for the keys that Assay's own training logs. Nothing is guessed from parts of
/// names: a guess would as likely call the greatest `rmse` or `regret/accuracy` the best.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Directions(BTreeMap<String, Best>);

impl Directions {
    /// With declarations.
    pub fn new(declared: BTreeMap<String, Best>) -> Directions {
        Directions(declared)
    }

    /// Which extreme of a metric is its best value.
    pub fn of(&self, key: &str) -> Best {
        self.declared(key).unwrap_or_else(|| usual(key))
    }

    /// The declared direction.
    pub fn declared(&self, key: &str) -> Option<Best> {
        self.0.get(key).copied()
    }

    /// All declarations, by key.
    pub fn all_declared(&self) -> impl Iterator<Item = (&str, Best)> {
        self.0.iter().map(|(key, best)| (key.as_str(), *best))
    }
}

/// The direction if none is declared: that of the keys that Assay's own training logs.
fn usual(key: &str) -> Best {
    const F1_OF_A_CLASS: &str = "val/f1/";
    match key {
        "train/loss" | "val/loss" => Best::Least,
        "train/accuracy" | "val/accuracy" | "val/macro_f1" | "val/micro_f1" | "val/top5" => Best::Greatest,
        key if key.starts_with(F1_OF_A_CLASS) => Best::Greatest,
        _ => Best::Neither,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_keys_of_our_own_training_have_a_direction_by_themselves() {
        let none = Directions::default();
        for (key, best) in [
            ("val/loss", Best::Least),
            ("train/loss", Best::Least),
            ("val/accuracy", Best::Greatest),
            ("val/micro_f1", Best::Greatest),
            ("val/f1/loss", Best::Greatest),
            ("loss", Best::Neither),
            ("err/top5", Best::Neither),
            ("regret/accuracy", Best::Neither),
            ("val/rmse", Best::Neither),
            ("Loss", Best::Neither),
            ("wer", Best::Neither),
            ("no_loss_here", Best::Neither),
            ("closs", Best::Neither),
        ] {
            assert_eq!(none.of(key), best, "{key}");
        }
    }

    #[test]
    fn a_tag_that_declares_a_direction_with_an_unknown_word_is_refused_with_the_known_ones() {
        let fault = Best::fault_of_tag("assay.best.loss", "sideways").unwrap();
        assert!(fault.contains("\"sideways\"") && fault.contains("min, max, none"), "{fault}");
        for (tag, value) in [("assay.best.loss", "min"), ("assay.best.", "x"), ("best", "x")] {
            assert_eq!(Best::fault_of_tag(tag, value), None, "{tag}={value}");
        }
    }

    #[test]
    fn a_declaration_goes_before_what_is_usual() {
        let declared = [("wer", Best::Least), ("val/loss", Best::Neither)].map(|(key, best)| (key.to_owned(), best));
        let directions = Directions::new(declared.into());
        assert_eq!([directions.of("wer"), directions.of("val/loss")], [Best::Least, Best::Neither]);
        let json = serde_json::to_string(&directions).unwrap();
        assert_eq!(json, r#"{"val/loss":"none","wer":"min"}"#);
        assert_eq!(serde_json::from_str::<Directions>(&json).unwrap(), directions);
    }

    #[test]
    fn the_best_value_is_the_extreme_of_the_direction() {
        let summary = Summary { min: Some((1.0, 7)), max: Some((2.0, 3)), ..Summary::default() };
        assert_eq!(Best::Least.of(&summary), Some((1.0, 7)));
        assert_eq!(Best::Greatest.of(&summary), Some((2.0, 3)));
        assert_eq!(Best::Neither.of(&summary), None);
        assert!(Best::ALL.into_iter().all(|best| Best::parse(best.as_str()) == Some(best)));
    }
}
