//! Whether a config can learn from what is there.

use super::Task;
use crate::config::F1_OF;
use crate::loader::Samples;
use crate::{Config, LearnError, Result};
use assay_domain::Labelling;
use std::sync::Arc;

/// Samples have one class each where the loss is of one.
pub(super) fn check_labels(task: &Task<'_>) -> Result<()> {
    if task.config.train.labelling() == Labelling::AnyClasses {
        return Ok(());
    }
    let others = |samples: &Arc<dyn Samples>| (0..samples.count()).filter(|i| samples.classes(*i).len() != 1).count();
    match others(&task.train) + others(&task.val) {
        0 => Ok(()),
        others => Err(LearnError::Data(format!(
            "{others} samples have several classes or none: set train.loss=binary-cross-entropy"
        ))),
    }
}

/// Whether a model of these classes can be learned by a config: there are enough, and the metric by which the best
/// checkpoint is chosen is one that will be told.
///
/// # Errors
/// With what to do, when not.
pub fn check_classes(config: &Config, classes: &[String]) -> Result<()> {
    let (labelling, metric) = (config.train.labelling(), config.train.best_by());
    let least = if labelling == Labelling::OneClass { 2 } else { 1 };
    if classes.len() < least {
        return Err(LearnError::Data(format!(
            "a classifier needs at least {least} classes, the dataset has {}",
            classes.len()
        )));
    }
    let why = match metric {
        "val/top5" if labelling == Labelling::AnyClasses => "samples have any number of classes",
        "val/top5" if classes.len() <= 5 => "there are no more than five classes",
        "val/micro_f1" if labelling == Labelling::OneClass => {
            "each sample has one class, so that it is the accuracy: choose val/accuracy"
        }
        _ => match metric.strip_prefix(F1_OF) {
            Some(class) if !classes.iter().any(|own| own == class) => "there is no such class",
            _ => return Ok(()),
        },
    };
    Err(LearnError::Data(format!("train.best_by={metric} tells nothing apart: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_is_chosen_by_nothing_that_is_not_told() {
        let why = |metric: &str| {
            let classes = ["dark", "light"].map(str::to_owned);
            let config = Config::resolve("", &[format!("train.best_by={metric}")]).unwrap();
            check_classes(&config, &classes).err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert_eq!((why("val/f1/light"), why("val/macro_f1")), (String::new(), String::new()));
        assert!(why("val/f1/grey").contains("no such class"));
        assert!(why("val/top5").contains("five classes"));
        assert!(why("val/micro_f1").contains("val/accuracy"));
        let refused = Config::resolve("", &["train.best_by=val/acc".to_owned()]).unwrap_err().to_string();
        assert!(refused.contains("val/f1/CLASS"), "{refused}");
    }
}
