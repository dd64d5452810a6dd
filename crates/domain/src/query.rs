//! The filter language of the runs table.
//!
//! ```
//! # use assay_domain::query::{Filter, Field, Value};
//! let filter: Filter = "status:failed optimizer.lr>=1e-3 resnet".parse()?;
//! assert_eq!(filter.terms.len(), 3);
//! # Ok::<(), assay_domain::query::FilterError>(())
//! ```
//!
//! Terms are separated by blanks and all must hold. A bare word must stand in the run's name, number, note or tags;
//! `key:value` and `key=value` compare text, `<`, `<=`, `>`, `>=` and `!=` numbers where both sides are numbers; [`crate::column`]
//! says what a key may be. A leading `-` negates a term; quotes
//! hold blanks together. Before a quote a backslash makes it one of the text, and two are one backslash; elsewhere they stand
//! for themselves, as in the paths of Windows. [`quoted`] minds that.

use crate::column::Which;
use std::str::FromStr;

/// All terms must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// The terms, in the order of the text.
    pub terms: Vec<Term>,
}

/// One condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// Whether the condition must fail instead.
    pub negated: bool,
    /// The condition.
    pub condition: Condition,
}

/// What a term asks.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// The word stands in the run's name, number, note or tags.
    Word(String),
    /// A named value compares so.
    Compare {
        /// The name of a param, metric or field.
        key: String,
        /// The comparison.
        operator: Operator,
        /// What it is compared with.
        value: String,
    },
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// Equal, as text without case or as number.
    Equal,
    /// Not equal.
    NotEqual,
    /// Less.
    Less,
    /// Less or equal.
    LessEqual,
    /// Greater.
    Greater,
    /// Greater or equal.
    GreaterEqual,
}

/// What a run has under a name.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A number.
    Number(f64),
}

/// What the filter asks of a run.
pub trait Field {
    /// Whether the lower-case word stands in one of the run's free texts.
    fn mentions(&self, word: &str) -> bool;
    /// The value under the name.
    fn value(&self, key: &str) -> Option<Value>;
}

/// A text that is no filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// A quote that is not closed.
    #[error("a quote is not closed: add a closing \" to the filter")]
    OpenQuote,
    /// A comparison without a name or a value.
    #[error("{0:?} needs a name on the left and a value on the right, as in lr>=0.001")]
    Incomplete(String),
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Filter, FilterError> {
        words(text)?.into_iter().map(|word| term(&word)).collect::<Result<_, _>>().map(|terms| Filter { terms })
    }
}

impl Filter {
    /// The names that it compares.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.terms.iter().filter_map(|term| match &term.condition {
            Condition::Compare { key, .. } => Some(key.as_str()),
            Condition::Word(_) => None,
        })
    }

    /// Whether all terms hold for the run.
    pub fn matches(&self, run: &impl Field) -> bool {
        self.terms.iter().all(|term| term.condition.holds(run) != term.negated)
    }
}

impl Condition {
    fn holds(&self, run: &impl Field) -> bool {
        match self {
            Condition::Word(word) => run.mentions(&word.to_lowercase()),
            Condition::Compare { key, operator, value } => {
                run.value(key).is_some_and(|actual| operator.holds(&actual, value))
            }
        }
    }
}

impl Operator {
    fn holds(self, actual: &Value, wanted: &str) -> bool {
        let number = match actual {
            Value::Number(number) => Some(*number),
            Value::Text(text) => text.parse().ok(),
        };
        let ordering = match (number, wanted.parse::<f64>()) {
            (Some(actual), Ok(wanted)) => actual.partial_cmp(&wanted),
            _ => match actual {
                Value::Text(text) => Some(text.to_lowercase().cmp(&wanted.to_lowercase())),
                Value::Number(_) => None,
            },
        };
        match self {
            Operator::Equal => ordering.is_some_and(|o| o.is_eq()),
            Operator::NotEqual => ordering.is_none_or(|o| o.is_ne()),
            Operator::Less => ordering.is_some_and(|o| o.is_lt()),
            Operator::LessEqual => ordering.is_some_and(|o| o.is_le()),
            Operator::Greater => ordering.is_some_and(|o| o.is_gt()),
            Operator::GreaterEqual => ordering.is_some_and(|o| o.is_ge()),
        }
    }
}

/// The text as a word or value of a filter, whatever is in it.
pub fn quoted(text: &str) -> String {
    let (mut out, mut backslashes) = (String::from('"'), 0);
    for character in text.chars() {
        match character {
            '\\' => backslashes += 1,
            '"' => out.extend(std::iter::repeat_n('\\', std::mem::take(&mut backslashes) + 1)),
            _ => backslashes = 0,
        }
        out.push(character);
    }
    out.extend(std::iter::repeat_n('\\', backslashes));
    out.push('"');
    out
}

fn words(text: &str) -> Result<Vec<String>, FilterError> {
    let (mut words, mut word, mut quoted, mut open) = (Vec::new(), String::new(), false, false);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' => {
                let mut count = 1;
                while characters.next_if_eq(&'\\').is_some() {
                    count += 1;
                }
                let is_before_quote = characters.peek() == Some(&'"');
                word.extend(std::iter::repeat_n('\\', if is_before_quote { count / 2 } else { count }));
                if is_before_quote && count % 2 == 1 {
                    word.extend(characters.next());
                }
            }
            '"' => {
                open = !open;
                quoted = true;
            }
            blank if blank.is_whitespace() && !open => {
                if !word.is_empty() || quoted {
                    words.push(std::mem::take(&mut word));
                }
                quoted = false;
            }
            other => word.push(other),
        }
    }
    if open {
        return Err(FilterError::OpenQuote);
    }
    if !word.is_empty() {
        words.push(word);
    }
    Ok(words)
}

fn term(word: &str) -> Result<Term, FilterError> {
    let (negated, word) = match word.strip_prefix('-') {
        Some(rest) if !rest.is_empty() => (true, rest),
        _ => (false, word),
    };
    const OPERATORS: [(&str, Operator); 7] = [
        ("<=", Operator::LessEqual),
        (">=", Operator::GreaterEqual),
        ("!=", Operator::NotEqual),
        ("<", Operator::Less),
        (">", Operator::Greater),
        ("=", Operator::Equal),
        (":", Operator::Equal),
    ];
    let first_from = |begin: usize| {
        OPERATORS
            .into_iter()
            .filter_map(|(sign, operator)| Some((begin + word[begin..].find(sign)?, sign, operator)))
            .min_by_key(|(at, sign, _)| (*at, std::cmp::Reverse(sign.len())))
    };
    // This colon is part of `min:val/loss`.
    let extreme = Which::split(word).map_or(0, |(_, key)| word.len() - key.len());
    let found = first_from(extreme).or_else(|| first_from(0));
    let condition = match found {
        None => Condition::Word(word.to_owned()),
        Some((at, sign, operator)) => {
            let (key, value) = (&word[..at], &word[at + sign.len()..]);
            if key.is_empty() || value.is_empty() {
                return Err(FilterError::Incomplete(word.to_owned()));
            }
            Condition::Compare { key: key.to_owned(), operator, value: value.to_owned() }
        }
    };
    Ok(Term { negated, condition })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Run;

    impl Field for Run {
        fn mentions(&self, word: &str) -> bool {
            "digits with dropout".contains(word)
        }

        fn value(&self, key: &str) -> Option<Value> {
            match key {
                "lr" => Some(Value::Number(0.001)),
                "status" => Some(Value::Text("finished".into())),
                "epochs" => Some(Value::Text("20".into())),
                "loss" => Some(Value::Number(f64::NAN)),
                _ => None,
            }
        }
    }

    fn matches(text: &str) -> bool {
        text.parse::<Filter>().unwrap().matches(&Run)
    }

    #[test]
    fn terms_compare_numbers_as_numbers_and_text_as_text() {
        assert!(matches("lr>=1e-3 status:Finished epochs>9"));
        assert!(matches("\"with dropout\" -status:failed lr!=0.01"));
        assert!(!matches("lr<1e-3"));
        assert!(!matches("status:failed"));
        assert!(!matches("nothing=1"));
        assert!(matches("-nothing=1"));
        assert!(!matches("loss<1") && !matches("loss>=1"), "NaN is on neither side");
        assert!(matches(""));
    }

    #[test]
    fn the_extremes_of_a_metric_are_names() {
        for (text, key, value) in [
            ("min:val/loss<1", "min:val/loss", "1"),
            ("-max:acc:0.5", "max:acc", "0.5"),
            ("last:x>=2", "last:x", "2"),
            ("min:5", "min", "5"),
            ("params.lr=0.1", "params.lr", "0.1"),
        ] {
            let filter: Filter = text.parse().unwrap();
            assert_eq!(filter.keys().collect::<Vec<_>>(), [key]);
            let Condition::Compare { value: compared, .. } = &filter.terms[0].condition else { panic!("{text}") };
            assert_eq!(compared, value);
        }
    }

    #[test]
    fn backslashes_count_before_quotes_only() {
        let value = |text: &str| match text.parse::<Filter>().unwrap().terms.remove(0).condition {
            Condition::Compare { value, .. } => value,
            Condition::Word(word) => word,
        };
        assert_eq!(value(r"dir:\\nas\runs"), r"\\nas\runs");
        assert_eq!(value(r#"dir:"C:\my runs\\""#), r"C:\my runs\");
        assert_eq!(value(r#"name:\"a\""#), r#""a""#);
    }

    proptest! {
        #[test]
        fn whatever_is_quoted_is_meant(text in "[ab\"\\\\ :=<-]{1,12}") {
            let filter: Filter = format!("name:{}", quoted(&text)).parse().unwrap();
            let Condition::Compare { value, .. } = &filter.terms[0].condition else { panic!("{filter:?}") };
            prop_assert_eq!((filter.terms.len(), value), (1, &text));
        }
    }

    #[test]
    fn what_is_missing_is_said() {
        assert_eq!("\"open".parse::<Filter>(), Err(FilterError::OpenQuote));
        assert_eq!("lr>".parse::<Filter>(), Err(FilterError::Incomplete("lr>".into())));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC*") {
            let _ = text.parse::<Filter>().map(|filter| filter.matches(&Run));
        }
    }
}
