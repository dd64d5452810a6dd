//! Alerts: what a rule watches for in runs, and when it is so.

use crate::series::Summary;
use crate::{AlertId, Point, RuleId, RunId, RunStatus, Timestamp, number, numbers_apart};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Which way a metric gets better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// As a loss does.
    #[default]
    Lower,
    /// As an accuracy does.
    Higher,
}

/// What a rule watches for. As text: `train/loss above 10`, `val/accuracy below 0.5`, `train/loss not finite`,
/// `any metric not finite`, `val/loss not lower for 1000 steps`, `silent for 300 s`, `train/loss silent for 300 s`,
/// `ended failed, crashed`, `ended`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "when")]
pub enum Condition {
    /// A value is greater.
    Above {
        /// The metric.
        metric: String,
        /// Than this.
        value: f64,
    },
    /// A value is less.
    Below {
        /// The metric.
        metric: String,
        /// Than this.
        value: f64,
    },
    /// A value is NaN or infinite.
    NotFinite {
        /// The metric; any without it.
        metric: Option<String>,
    },
    /// The best value is this old, in steps.
    NoImprovement {
        /// The metric.
        metric: String,
        /// Which way it gets better.
        better: Better,
        /// So many steps.
        steps: u64,
    },
    /// No point came, though the run is running.
    Silent {
        /// The metric; any without it.
        metric: Option<String>,
        /// For so many seconds.
        secs: u64,
    },
    /// The run came to one of these ends.
    Ended {
        /// Which.
        statuses: Vec<RunStatus>,
    },
}

/// What moves the server to look at a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watched {
    /// New points.
    Points,
    /// Time that passes.
    Time,
    /// The end of a run.
    End,
}

impl Watched {
    /// The word that is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Watched::Points => "points",
            Watched::Time => "time",
            Watched::End => "end",
        }
    }
}

/// That a condition holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// What makes it another one than the last: a rule tells of each occasion of a run once.
    pub occasion: String,
    /// What is so, for people.
    pub message: String,
}

/// The new points of a series.
#[derive(Clone, Copy, Debug)]
pub struct News<'a> {
    /// The metric.
    pub key: &'a str,
    /// Which segment of the run they are in.
    pub segment: i64,
    /// The points.
    pub points: &'a [Point],
    /// What the segment of the series is like with them.
    pub summary: &'a Summary,
}

impl Condition {
    /// What moves the server to look at it.
    pub fn watched(&self) -> Watched {
        match self {
            Condition::Ended { .. } => Watched::End,
            Condition::Silent { .. } => Watched::Time,
            _ => Watched::Points,
        }
    }

    /// Whether it holds with these points. Values are told of once a segment, no improvement once for each best value.
    pub fn seen_in(&self, news: &News<'_>) -> Option<Sighting> {
        let News { key, segment, points, summary } = *news;
        let sighting = |message: String| Sighting { occasion: segment.to_string(), message };
        let beyond = |point: &Point, side: &str, threshold: f64| {
            // With the digits that tell them apart: 0.1000000001 is not "0.1, above 0.1".
            let texts = numbers_apart(&[point.value, threshold]);
            sighting(format!("{key} is {} at step {}, {side} {}", texts[0], point.step, texts[1]))
        };
        match self {
            Condition::Above { metric, value } if metric == key => {
                let point = points.iter().find(|point| point.value > *value)?;
                Some(beyond(point, "above", *value))
            }
            Condition::Below { metric, value } if metric == key => {
                let point = points.iter().find(|point| point.value < *value)?;
                Some(beyond(point, "below", *value))
            }
            Condition::NotFinite { metric } if metric.as_ref().is_none_or(|metric| metric == key) => {
                let point = points.iter().find(|point| !point.value.is_finite())?;
                Some(sighting(format!("{key} is {} at step {}", number(point.value), point.step)))
            }
            Condition::NoImprovement { metric, better, steps } if metric == key => {
                let best = if *better == Better::Lower { summary.min } else { summary.max };
                let (value, step) = best?;
                let age = summary.last_step.saturating_sub(step);
                (age >= i64::try_from(*steps).unwrap_or(i64::MAX)).then(|| Sighting {
                    occasion: format!("{segment} {step}"),
                    message: format!(
                        "{key} has not improved for {age} steps: its best is {} at step {step}",
                        number(value)
                    ),
                })
            }
            _ => None,
        }
    }

    /// Whether a running run that has so many points, the last of them `silent_secs` ago, is silent.
    pub fn silent_for(&self, points: u64, silent_secs: f64) -> Option<Sighting> {
        let Condition::Silent { metric, secs } = self else { return None };
        (silent_secs >= *secs as f64).then(|| Sighting {
            occasion: points.to_string(),
            message: match metric {
                Some(metric) => format!("no point of {metric} for {secs} s"),
                None => format!("no point for {secs} s"),
            },
        })
    }

    /// Whether a run that ended so, at this time, is one.
    pub fn ended_so(&self, status: RunStatus, reason: Option<&str>, at: Timestamp) -> Option<Sighting> {
        let Condition::Ended { statuses } = self else { return None };
        statuses.contains(&status).then(|| Sighting {
            occasion: at.0.to_string(),
            message: match reason.filter(|reason| !reason.is_empty()) {
                Some(reason) => format!("the run {status}: {reason}"),
                None => format!("the run {status}"),
            },
        })
    }

    /// The metric of the rule, if any.
    pub fn metric(&self) -> Option<&String> {
        match self {
            Condition::Above { metric, .. }
            | Condition::Below { metric, .. }
            | Condition::NoImprovement { metric, .. } => Some(metric),
            Condition::NotFinite { metric } | Condition::Silent { metric, .. } => metric.as_ref(),
            Condition::Ended { .. } => None,
        }
    }

    /// Why it is invalid, if so.
    pub fn fault(&self) -> Option<&'static str> {
        let metric = self.metric();
        let is_any = |metric: &str| metric.trim().eq_ignore_ascii_case(ANY_METRIC);
        match self {
            _ if metric.is_some_and(|metric| metric.trim().is_empty()) => Some("name the metric, as in train/loss"),
            Condition::Above { metric, .. }
            | Condition::Below { metric, .. }
            | Condition::NoImprovement { metric, .. }
                if is_any(metric) =>
            {
                Some("\"any metric\" can only be not finite or silent: name one, as in train/loss above 10")
            }
            Condition::Above { value, .. } | Condition::Below { value, .. } if !value.is_finite() => {
                Some("the threshold must be a number")
            }
            Condition::NoImprovement { steps: 0, .. } => Some("no improvement is told of after one step or more"),
            Condition::Silent { secs: 0, .. } => Some("silence is told of after one second or more"),
            Condition::Ended { statuses } if !statuses.iter().any(|status| status.has_ended()) => {
                Some("choose one of the ends: finished, failed, stopped, crashed")
            }
            _ => None,
        }
    }
}

/// The placeholder for a key in conditions on no single metric.
const ANY_METRIC: &str = "any metric";

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Condition::Above { metric, value } => write!(f, "{metric} above {value}"),
            Condition::Below { metric, value } => write!(f, "{metric} below {value}"),
            Condition::NotFinite { metric: Some(metric) } => write!(f, "{metric} not finite"),
            Condition::NotFinite { metric: None } => write!(f, "{ANY_METRIC} not finite"),
            Condition::NoImprovement { metric, better, steps } => {
                let word = if *better == Better::Lower { "lower" } else { "higher" };
                write!(f, "{metric} not {word} for {steps} steps")
            }
            Condition::Silent { metric: Some(metric), secs } => write!(f, "{metric} silent for {secs} s"),
            Condition::Silent { metric: None, secs } => write!(f, "silent for {secs} s"),
            Condition::Ended { statuses } => {
                let statuses: Vec<&str> = statuses.iter().map(|status| status.as_str()).collect();
                write!(f, "ended {}", statuses.join(", "))
            }
        }
    }
}

/// A text that is no condition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// It has none of the forms.
    #[error(
        "{0:?} is no condition: write \"KEY above NUMBER\", \"KEY below NUMBER\", \"KEY not finite\", \
         \"KEY not lower for NUMBER steps\" (or higher), \"KEY silent for NUMBER s\" (or min, h), or \
         \"ended failed crashed\"; KEY may be \"any metric\" where it says not finite or silent"
    )]
    Form(String),
    /// The condition cannot be watched for.
    #[error("{0:?} is no condition: {1}")]
    Fault(String, &'static str),
}

impl FromStr for Condition {
    type Err = ConditionError;

    fn from_str(text: &str) -> Result<Condition, ConditionError> {
        let error = || ConditionError::Form(text.to_owned());
        let words: Vec<&str> = text.split_whitespace().collect();
        let any = |metric: &[&str]| match metric {
            [] | ["any", "metric"] => None,
            metric => Some(metric.join(" ")),
        };
        let number = |word: &str| word.parse::<f64>().map_err(|_| error());
        let count = |word: &str| word.parse::<u64>().map_err(|_| error());
        let condition = match words.as_slice() {
            ["ended"] => {
                Condition::Ended { statuses: RunStatus::ALL.into_iter().filter(|status| status.has_ended()).collect() }
            }
            ["ended", words @ ..] => {
                let statuses = words.iter().map(|word| RunStatus::parse(word.trim_end_matches(',')));
                Condition::Ended { statuses: statuses.collect::<Option<_>>().ok_or_else(error)? }
            }
            [metric @ .., "above", value] => Condition::Above { metric: metric.join(" "), value: number(value)? },
            [metric @ .., "below", value] => Condition::Below { metric: metric.join(" "), value: number(value)? },
            [metric @ .., "not", "finite"] => Condition::NotFinite { metric: any(metric) },
            [metric @ .., "not", way @ ("lower" | "higher"), "for", steps, "steps" | "step"] => {
                let better = if *way == "lower" { Better::Lower } else { Better::Higher };
                Condition::NoImprovement { metric: metric.join(" "), better, steps: count(steps)? }
            }
            [metric @ .., "silent", "for", time, unit] => {
                let unit = match *unit {
                    "s" => 1,
                    "min" => 60,
                    "h" => 3600,
                    _ => return Err(error()),
                };
                Condition::Silent { metric: any(metric), secs: count(time)?.saturating_mul(unit) }
            }
            _ => return Err(error()),
        };
        match condition.fault() {
            None => Ok(condition),
            Some(fault) => Err(ConditionError::Fault(text.to_owned(), fault)),
        }
    }
}

/// A rule: what to watch for in which runs, and whom to tell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// Its name; the condition without one.
    #[serde(default)]
    pub name: String,
    /// What it watches for.
    pub condition: Condition,
    /// Which runs, in the language of [`crate::query`]; all without it.
    #[serde(default)]
    pub filter: String,
    /// Whether the window shows a notification of the system.
    #[serde(default = "yes")]
    pub desktop: bool,
    /// The address that each alert is posted to.
    #[serde(default)]
    pub webhook: Option<String>,
    /// Whether it watches at all.
    #[serde(default = "yes")]
    pub enabled: bool,
}

fn yes() -> bool {
    true
}

impl Rule {
    /// A rule for all runs that tells of this in the interface and with a notification.
    pub fn new(condition: Condition) -> Rule {
        Rule { name: String::new(), condition, filter: String::new(), desktop: true, webhook: None, enabled: true }
    }

    /// What people call it.
    pub fn title(&self) -> String {
        if self.name.trim().is_empty() { self.condition.to_string() } else { self.name.clone() }
    }
}

/// A rule that is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertRule {
    /// Its number.
    pub id: RuleId,
    /// When it was made; what happened before is none of its business.
    pub created: Timestamp,
    /// What it says.
    #[serde(flatten)]
    pub rule: Rule,
}

/// That something happened that a rule watches for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Its number; later ones have greater ones.
    pub id: AlertId,
    /// The rule.
    pub rule: RuleId,
    /// What the rule was called.
    pub rule_name: String,
    /// The run.
    pub run: RunId,
    /// What the run was called.
    pub run_name: String,
    /// When it was noticed.
    pub at: Timestamp,
    /// What happened.
    pub message: String,
    /// Whether the window shows a notification of the system.
    pub desktop: bool,
    /// Whether someone has seen it.
    pub seen: bool,
    /// How far its webhook is; none without one.
    pub delivery: Option<Delivery>,
}

/// How far a webhook is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// Waiting, delivered or failed.
    pub state: DeliveryState,
    /// How often it was tried.
    pub attempts: u32,
    /// Why the last attempt failed.
    pub error: Option<String>,
}

/// Where a webhook is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryState {
    /// It will be tried, for the first time or again.
    Waiting,
    /// The receiver took it.
    Delivered,
    /// The receiver refused it, or did not answer for days.
    Failed,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn point(step: i64, value: f64) -> Point {
        Point { step, wall_ms: 0, value }
    }

    fn seen(condition: &str, values: &[f64]) -> Option<Sighting> {
        let points: Vec<Point> = (0..).zip(values).map(|(step, value)| point(step, *value)).collect();
        let mut summary = Summary::default();
        points.iter().for_each(|point| summary.add(*point));
        let news = News { key: "loss", segment: 2, points: &points, summary: &summary };
        condition.parse::<Condition>().unwrap().seen_in(&news)
    }

    #[test]
    fn a_condition_holds_at_the_first_value_that_it_is_about() {
        let message = |condition: &str, values: &[f64]| seen(condition, values).map(|sighting| sighting.message);
        assert_eq!(message("loss above 2", &[1.0, 2.0, 3.5, 9.0]).unwrap(), "loss is 3.5 at step 2, above 2");
        assert_eq!(message("loss above 2", &[1.0, f64::INFINITY]).unwrap(), "loss is inf at step 1, above 2");
        assert_eq!(message("loss above 2", &[1.0, 2.0, f64::NAN]), None);
        assert_eq!(message("other above 2", &[3.0]), None);
        assert_eq!(message("loss below 0.5", &[1.0, 1e-7]).unwrap(), "loss is 1e-7 at step 1, below 0.5");
        assert_eq!(message("any metric not finite", &[1.0, f64::NAN]).unwrap(), "loss is NaN at step 1");
        assert_eq!(message("loss not finite", &[1.0]), None);
    }

    #[test]
    fn a_value_just_beyond_the_threshold_is_told_with_the_digits_that_show_it() {
        let message = |condition: &str, value: f64| seen(condition, &[1.0, value]).unwrap().message;
        assert_eq!(message("loss above 1.1", 1.100_000_000_1), "loss is 1.1000000001 at step 1, above 1.1");
        assert_eq!(message("loss below 0.1", 0.099_999_999_9), "loss is 0.0999999999 at step 1, below 0.1");
    }

    #[test]
    fn any_metric_is_refused_where_a_rule_needs_one_and_an_example_is_given() {
        for text in ["any metric above 5", "any metric below 0", "Any Metric not lower for 3 steps"] {
            let why = text.parse::<Condition>().unwrap_err().to_string();
            assert!(why.contains("train/loss above 10"), "{text}: {why}");
        }
        assert!("any metric silent for 3 s".parse::<Condition>().is_ok());
    }

    #[test]
    fn no_improvement_is_as_old_as_the_best_value() {
        assert_eq!(seen("loss not lower for 3 steps", &[5.0, 1.0, 2.0, 2.0]), None);
        let stale = seen("loss not lower for 3 steps", &[5.0, 1.0, 2.0, 2.0, 1.5]).unwrap();
        assert_eq!(stale.message, "loss has not improved for 3 steps: its best is 1 at step 1");
        assert_eq!(stale.occasion, "2 1", "once for this best value of this segment");
        assert_eq!(seen("loss not higher for 3 steps", &[5.0, 1.0, 2.0, 6.0]), None);
    }

    #[test]
    fn silence_is_told_of_once_for_each_last_point() {
        let condition: Condition = "silent for 2 min".parse().unwrap();
        assert_eq!(condition.silent_for(7, 119.0), None);
        assert_eq!(condition.silent_for(7, 120.0).unwrap().occasion, "7");
    }

    #[test]
    fn only_the_ends_that_were_asked_for_are_told_of() {
        let condition: Condition = "ended failed, crashed".parse().unwrap();
        assert_eq!(condition.ended_so(RunStatus::Finished, None, Timestamp(1)), None);
        let failed = condition.ended_so(RunStatus::Failed, Some("out of memory"), Timestamp(1)).unwrap();
        assert_eq!(failed.message, "the run failed: out of memory");
    }

    #[test]
    fn what_makes_no_sense_is_no_condition() {
        for text in
            ["", "loss", "above 2", "loss above", "loss above NaN", "loss above x", "ended running", "ended never"]
        {
            assert!(text.parse::<Condition>().is_err(), "{text:?}");
        }
        for text in
            ["loss not lower for 0 steps", "silent for 0 s", "silent for 5 parsecs", "loss not bigger for 3 steps"]
        {
            assert!(text.parse::<Condition>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_rule_needs_no_more_than_a_condition() {
        let rule: Rule = serde_json::from_str(r#"{"condition": {"when": "not_finite", "metric": null}}"#).unwrap();
        assert_eq!(rule, Rule::new("any metric not finite".parse().unwrap()));
        assert_eq!(rule.title(), "any metric not finite");
    }

    fn conditions() -> impl Strategy<Value = Condition> {
        let metric = "[a-z/]{1,8}( [0-9]{1,3})?";
        let value = -1e9..1e9f64;
        prop_oneof![
            (metric, value.clone()).prop_map(|(metric, value)| Condition::Above { metric, value }),
            (metric, value).prop_map(|(metric, value)| Condition::Below { metric, value }),
            prop::option::of(metric).prop_map(|metric| Condition::NotFinite { metric }),
            (metric, 1..u64::MAX, any::<bool>()).prop_map(|(metric, steps, lower)| Condition::NoImprovement {
                metric,
                better: if lower { Better::Lower } else { Better::Higher },
                steps
            }),
            (prop::option::of(metric), 1..u64::MAX).prop_map(|(metric, secs)| Condition::Silent { metric, secs }),
            Just(Condition::Ended { statuses: vec![RunStatus::Failed, RunStatus::Crashed] }),
        ]
    }

    proptest! {
        #[test]
        fn every_condition_reads_back_from_its_text_and_its_json(condition in conditions()) {
            prop_assert_eq!(&condition.to_string().parse::<Condition>().unwrap(), &condition);
            let json = serde_json::to_string(&condition).unwrap();
            prop_assert_eq!(serde_json::from_str::<Condition>(&json).unwrap(), condition);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC*") {
            let _ = text.parse::<Condition>();
        }
    }
}
