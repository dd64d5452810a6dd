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
//! says what a key may be. A leading `-` negates a term. Blanks and signs in quotes are part of a word, a name or a value,
//! as in `"mAP:0.5">0.1`. Before a quote a backslash makes it one of the text, and two are one backslash; elsewhere they
//! stand for themselves, as in the paths of Windows. [`quoted`] minds that.

use crate::RunStatus;
use crate::column::{Names, Which};
use std::cmp::Ordering;
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
        words(text)?.iter().map(term).collect::<Result<_, _>>().map(|terms| Filter { terms })
    }
}

impl Filter {
    /// Parses a filter where the names in use are known. A sign may then be part of a name without quotes: the longest
    /// name that a term begins with is meant.
    ///
    /// # Errors
    /// As parsing without names.
    pub fn parse_with(text: &str, names: &Names<'_>) -> Result<Filter, FilterError> {
        let known = |word: &Word| match word.longest_name(names) {
            Some(sign) => word.comparison(sign),
            None => term(word),
        };
        words(text)?.iter().map(known).collect::<Result<_, _>>().map(|terms| Filter { terms })
    }

    /// Doubts about its terms, in their order: names that no run has, and values that their columns cannot have.
    pub fn doubts(&self, names: &Names<'_>) -> Vec<String> {
        let doubt = |term: &Term| match &term.condition {
            Condition::Compare { key, operator, value } => match names.check(key) {
                Err(unknown) => Some(unknown.to_string()),
                Ok(()) => doubt_of_value(key, *operator, value, names),
            },
            Condition::Word(_) => None,
        };
        self.terms.iter().filter_map(doubt).collect()
    }

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
        let ordering = match actual {
            Value::Number(actual) => match wanted.parse::<f64>() {
                Ok(wanted) if actual.is_nan() && wanted.is_nan() => Some(Ordering::Equal),
                Ok(wanted) => actual.partial_cmp(&wanted),
                Err(_) => None,
            },
            Value::Text(text) => {
                let as_texts = || text.to_lowercase().cmp(&wanted.to_lowercase());
                match (text.parse::<f64>(), wanted.parse::<f64>()) {
                    // A text may be "nan", as a run's name may; it is neither less nor greater than a number.
                    (Ok(a), Ok(b)) if a.is_nan() || b.is_nan() => Some(as_texts()).filter(|order| order.is_eq()),
                    (Ok(a), Ok(b)) => a.partial_cmp(&b),
                    _ => Some(as_texts()),
                }
            }
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

/// Why a value under a known name can match no run, for people.
fn doubt_of_value(key: &str, operator: Operator, value: &str, names: &Names<'_>) -> Option<String> {
    let is_equality = matches!(operator, Operator::Equal | Operator::NotEqual);
    if key == "status" && is_equality && RunStatus::parse(&value.to_lowercase()).is_none() {
        let known = RunStatus::ALL.map(RunStatus::as_str).join(", ");
        return Some(format!("no run has the status {value:?}; choose one of {known}"));
    }
    if !names.is_numeric(key) || value.parse::<f64>().is_ok() {
        return None;
    }
    Some(match key {
        "created" | "started" => {
            format!("{value:?} is no number; {key} is in milliseconds since 1970, as in {key}>1764547200000")
        }
        _ => format!("{value:?} is no number; compare {key} with one, as in {key}>0.5"),
    })
}

/// A word of a filter, without its quotes.
#[derive(Default)]
struct Word {
    text: String,
    /// For each byte of the text, whether it was in quotes, where no sign has a meaning.
    is_literal: Vec<bool>,
}

impl Word {
    fn push(&mut self, character: char, is_literal: bool) {
        self.text.push(character);
        self.is_literal.resize(self.text.len(), is_literal);
    }
}

fn words(text: &str) -> Result<Vec<Word>, FilterError> {
    let (mut words, mut word, mut quoted, mut open) = (Vec::new(), Word::default(), false, false);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' => {
                let mut count = 1;
                while characters.next_if_eq(&'\\').is_some() {
                    count += 1;
                }
                let is_before_quote = characters.peek() == Some(&'"');
                let kept = if is_before_quote { count / 2 } else { count };
                (0..kept).for_each(|_| word.push('\\', open));
                if is_before_quote && count % 2 == 1 {
                    characters.next();
                    word.push('"', open);
                }
            }
            '"' => {
                open = !open;
                quoted = true;
            }
            blank if blank.is_whitespace() && !open => {
                if !word.text.is_empty() || quoted {
                    words.push(std::mem::take(&mut word));
                }
                quoted = false;
            }
            other => word.push(other, open),
        }
    }
    if open {
        return Err(FilterError::OpenQuote);
    }
    if !word.text.is_empty() {
        words.push(word);
    }
    Ok(words)
}

/// The signs of comparisons; of two that begin at one place the longer is meant.
const SIGNS: [(&str, Operator); 9] = [
    ("<=", Operator::LessEqual),
    (">=", Operator::GreaterEqual),
    ("!=", Operator::NotEqual),
    ("<>", Operator::NotEqual),
    ("==", Operator::Equal),
    ("<", Operator::Less),
    (">", Operator::Greater),
    ("=", Operator::Equal),
    (":", Operator::Equal),
];

/// Where the sign of a comparison is in a word.
#[derive(Clone, Copy)]
struct Sign {
    start: usize,
    end: usize,
    operator: Operator,
}

impl Word {
    /// Where the condition begins: after the `-` of a negated one.
    fn start(&self) -> usize {
        let is_negated = self.text.len() > 1 && self.text.starts_with('-') && !self.is_literal[0];
        usize::from(is_negated)
    }

    /// Where the key begins after `min:` and the like, whose colon is no sign.
    fn key_start(&self) -> usize {
        let condition = &self.text[self.start()..];
        self.text.len() - Which::split(condition).map_or(condition.len(), |(_, key)| key.len())
    }

    /// The signs outside quotes at or after this place, in their order.
    fn signs(&self, from: usize) -> impl Iterator<Item = Sign> {
        let sign_at = move |start: usize| {
            let rest = self.text.get(start..)?;
            let is_bare = |sign: &str| !self.is_literal[start..start + sign.len()].contains(&true);
            let (sign, operator) = SIGNS.into_iter().find(|(sign, _)| rest.starts_with(sign) && is_bare(sign))?;
            Some(Sign { start, end: start + sign.len(), operator })
        };
        (from..self.text.len()).filter_map(sign_at)
    }

    /// The sign after the longest known name that the word begins with.
    fn longest_name(&self, names: &Names<'_>) -> Option<Sign> {
        let follows_name =
            |sign: &Sign| sign.end < self.text.len() && names.check(&self.text[self.start()..sign.start]).is_ok();
        self.signs(self.key_start()).filter(follows_name).last()
    }

    fn comparison(&self, Sign { start, end, operator }: Sign) -> Result<Term, FilterError> {
        let (key, value) = (&self.text[self.start()..start], &self.text[end..]);
        if key.is_empty() || value.is_empty() {
            return Err(FilterError::Incomplete(self.text[self.start()..].to_owned()));
        }
        let condition = Condition::Compare { key: key.to_owned(), operator, value: value.to_owned() };
        Ok(Term { negated: self.start() > 0, condition })
    }
}

fn term(word: &Word) -> Result<Term, FilterError> {
    let sign = word.signs(word.key_start()).next().or_else(|| word.signs(word.start()).next());
    match sign {
        Some(sign) => word.comparison(sign),
        None => {
            let condition = Condition::Word(word.text[word.start()..].to_owned());
            Ok(Term { negated: word.start() > 0, condition })
        }
    }
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
    fn signs_in_quotes_are_part_of_a_name() {
        for (text, key, value) in [
            (r#""metrics/mAP_0.5:0.95">0.1"#, "metrics/mAP_0.5:0.95", "0.1"),
            (r#"max:"mAP:0.95"<=1"#, "max:mAP:0.95", "1"),
            (r#""a<=b"="x:y""#, "a<=b", "x:y"),
            (r#"tags.x="=5""#, "tags.x", "=5"),
            (r#"metrics."x<y"!=4"#, "metrics.x<y", "4"),
            (r#""-neg"=9"#, "-neg", "9"),
        ] {
            let filter: Filter = text.parse().unwrap();
            let Condition::Compare { key: found, value: compared, .. } = &filter.terms[0].condition else {
                panic!("{text}")
            };
            assert_eq!((found.as_str(), compared.as_str(), filter.terms[0].negated), (key, value, false), "{text}");
        }
    }

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_longest_known_name_is_meant_without_quotes() {
        let metrics = owned(&["metrics/mAP_0.5", "metrics/mAP_0.5:0.95", "x<y", "loss"]);
        let names = Names { metrics: &metrics, ..Names::default() };
        for (text, key, operator, value) in [
            ("metrics/mAP_0.5:0.95>0.1", "metrics/mAP_0.5:0.95", Operator::Greater, "0.1"),
            ("metrics/mAP_0.5>0.1", "metrics/mAP_0.5", Operator::Greater, "0.1"),
            ("-max:metrics/mAP_0.5:0.95<=0.1", "max:metrics/mAP_0.5:0.95", Operator::LessEqual, "0.1"),
            ("x<y=4", "x<y", Operator::Equal, "4"),
            ("x<4", "x", Operator::Less, "4"),
            ("name:loss<1", "name", Operator::Equal, "loss<1"),
            ("loss==2", "loss", Operator::Equal, "2"),
        ] {
            let filter = Filter::parse_with(text, &names).unwrap();
            let Condition::Compare { key: found, operator: sign, value: compared } = &filter.terms[0].condition else {
                panic!("{text}")
            };
            assert_eq!((found.as_str(), *sign, compared.as_str()), (key, operator, value), "{text}");
        }
        assert_eq!(Filter::parse_with("loss=", &names), Err(FilterError::Incomplete("loss=".into())));
    }

    #[test]
    fn what_is_not_a_number_is_equal_to_itself_and_to_the_text_of_it() {
        assert!(matches("loss=nan") && matches("loss:NaN") && !matches("loss!=nan") && matches("loss!=0.5"));
        assert!(matches("lr!=nan") && !matches("lr=nan") && !matches("-lr!=nan"));
        let holds = |operator: Operator, text: &str, wanted: &str| operator.holds(&Value::Text(text.into()), wanted);
        assert!(holds(Operator::Equal, "NaN", "nan") && !holds(Operator::NotEqual, "nan", "nan"));
        assert!(holds(Operator::NotEqual, "a", "nan") && holds(Operator::NotEqual, "nan", "5"));
        assert!(!holds(Operator::Greater, "nan", "5") && !holds(Operator::Less, "5", "nan"));
    }

    #[test]
    fn signs_of_programming_languages_and_databases_are_understood() {
        assert!(matches("lr==0.001") && !matches("lr<>1e-3") && matches("status<>failed"));
    }

    #[test]
    fn a_value_that_its_column_cannot_have_is_told_of() {
        let metrics = owned(&["loss"]);
        let names = Names { metrics: &metrics, ..Names::default() };
        for (text, doubt) in [
            ("loss<abc", Some("\"abc\" is no number; compare loss with one, as in loss>0.5")),
            ("started>2026-11-30", Some("\"2026-11-30\" is no number; started is in milliseconds since 1970")),
            ("status:bogus", Some("choose one of queued, running, finished")),
            ("los<1", Some("did you mean \"loss\"")),
            ("status:Finished loss=nan loss<1e3 name=abc", None),
        ] {
            let doubts = text.parse::<Filter>().unwrap().doubts(&names);
            assert_eq!(doubts.len(), usize::from(doubt.is_some()), "{text}: {doubts:?}");
            assert!(doubt.is_none_or(|doubt| doubts[0].contains(doubt)), "{text}: {doubts:?}");
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
            let metrics = owned(&["a", "a:b"]);
            let names = Names { metrics: &metrics, ..Names::default() };
            let _ = Filter::parse_with(&text, &names).map(|filter| filter.doubts(&names));
        }
    }
}
