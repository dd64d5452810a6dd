//! What a classifier confuses with what.

use crate::{Label, Labelling};
use serde::{Deserialize, Serialize};

/// Counts of labels and predictions: by labelled and predicted class where each sample has one class, else of the decisions
/// about each class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Confusion {
    /// Of samples with one class each.
    Matrix(Matrix),
    /// Of samples with any number of classes.
    Sets(Sets),
}

/// Counts by labelled class (row) and predicted class (column).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matrix {
    classes: usize,
    counts: Vec<u64>,
}

/// Counts of samples with any number of classes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sets {
    samples: u64,
    /// Samples of which all classes are predicted, and no others.
    exact: u64,
    decisions: Vec<Decisions>,
}

/// What was decided about one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decisions {
    /// Samples of the class that were predicted as such.
    pub true_positives: u64,
    /// Samples that are not of the class but were predicted as such.
    pub false_positives: u64,
    /// Samples of the class that were not predicted as such.
    pub false_negatives: u64,
}

/// Precision, recall and F1 of one class; `None` where the figure divides by zero.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassScore {
    /// Of what was predicted as the class, the share that is it.
    pub precision: Option<f64>,
    /// Of what is the class, the share that was predicted as it.
    pub recall: Option<f64>,
    /// The harmonic mean of both.
    pub f1: Option<f64>,
    /// How many samples are labelled with the class.
    pub support: u64,
}

impl Matrix {
    /// How many samples labelled `label` were predicted as `predicted`.
    pub fn count(&self, label: usize, predicted: usize) -> u64 {
        self.counts.get(label * self.classes + predicted).copied().unwrap_or(0)
    }

    fn decisions(&self, class: usize) -> Decisions {
        let of_label: u64 = (0..self.classes).map(|predicted| self.count(class, predicted)).sum();
        let predicted: u64 = (0..self.classes).map(|label| self.count(label, class)).sum();
        let right = self.count(class, class);
        Decisions { true_positives: right, false_positives: predicted - right, false_negatives: of_label - right }
    }
}

impl Confusion {
    /// The matrix of `classes` classes over (labelled, predicted) pairs; pairs beyond the classes are left out.
    pub fn new(classes: usize, pairs: impl IntoIterator<Item = (usize, usize)>) -> Confusion {
        let mut counts = vec![0; classes * classes];
        for (label, predicted) in pairs {
            if label < classes && predicted < classes {
                counts[label * classes + predicted] += 1;
            }
        }
        Confusion::Matrix(Matrix { classes, counts })
    }

    /// The counts of `classes` classes over (labelled, predicted) pairs; pairs that do not fit are left out.
    pub fn of<'a>(
        labelling: Labelling,
        classes: usize,
        pairs: impl IntoIterator<Item = (&'a Label, &'a Label)>,
    ) -> Confusion {
        if labelling == Labelling::OneClass {
            let place = |label: &Label| label.only().map(|class| class.0 as usize);
            return Confusion::new(classes, pairs.into_iter().filter_map(|(l, p)| Some((place(l)?, place(p)?))));
        }
        let mut sets = Sets { samples: 0, exact: 0, decisions: vec![Decisions::default(); classes] };
        for (label, predicted) in pairs {
            sets.samples += 1;
            sets.exact += u64::from(label == predicted);
            for class in label.classes() {
                let Some(decisions) = sets.decisions.get_mut(class.0 as usize) else { continue };
                match predicted.contains(*class) {
                    true => decisions.true_positives += 1,
                    false => decisions.false_negatives += 1,
                }
            }
            for class in predicted.classes().iter().filter(|class| !label.contains(**class)) {
                if let Some(decisions) = sets.decisions.get_mut(class.0 as usize) {
                    decisions.false_positives += 1;
                }
            }
        }
        Confusion::Sets(sets)
    }

    /// How many classes a sample has.
    pub fn labelling(&self) -> Labelling {
        match self {
            Confusion::Matrix(_) => Labelling::OneClass,
            Confusion::Sets(_) => Labelling::AnyClasses,
        }
    }

    /// How many classes there are.
    pub fn classes(&self) -> usize {
        match self {
            Confusion::Matrix(matrix) => matrix.classes,
            Confusion::Sets(sets) => sets.decisions.len(),
        }
    }

    /// How many samples are counted.
    pub fn total(&self) -> u64 {
        match self {
            Confusion::Matrix(matrix) => matrix.counts.iter().sum(),
            Confusion::Sets(sets) => sets.samples,
        }
    }

    /// What was decided about one class.
    pub fn decisions(&self, class: usize) -> Decisions {
        match self {
            Confusion::Matrix(matrix) => matrix.decisions(class),
            Confusion::Sets(sets) => sets.decisions.get(class).copied().unwrap_or_default(),
        }
    }

    /// The share of samples whose classes are exactly those predicted; `None` without samples.
    pub fn accuracy(&self) -> Option<f64> {
        let right = match self {
            Confusion::Matrix(matrix) => (0..matrix.classes).map(|class| matrix.count(class, class)).sum(),
            Confusion::Sets(sets) => sets.exact,
        };
        share(right, self.total())
    }

    /// The scores of one class.
    pub fn score(&self, class: usize) -> ClassScore {
        let Decisions { true_positives: right, false_positives, false_negatives } = self.decisions(class);
        ClassScore {
            precision: share(right, right + false_positives),
            recall: share(right, right + false_negatives),
            f1: share(2 * right, 2 * right + false_positives + false_negatives),
            support: right + false_negatives,
        }
    }

    /// The mean F1 of the classes that occur as label or prediction, each weighing the same.
    pub fn macro_f1(&self) -> Option<f64> {
        let scores: Vec<f64> = (0..self.classes()).filter_map(|class| self.score(class).f1).collect();
        (!scores.is_empty()).then(|| scores.iter().sum::<f64>() / scores.len() as f64)
    }

    /// The F1 of all decisions together, whatever their class.
    pub fn micro_f1(&self) -> Option<f64> {
        let (mut right, mut wrong) = (0, 0);
        for class in 0..self.classes() {
            let decisions = self.decisions(class);
            right += decisions.true_positives;
            wrong += decisions.false_positives + decisions.false_negatives;
        }
        share(2 * right, 2 * right + wrong)
    }
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ClassId;

    #[test]
    fn scores_follow_their_definitions() {
        // By hand: 3 cats (2 right), 2 dogs (1 right), nothing of class 2.
        let matrix = Confusion::new(3, [(0, 0), (0, 0), (0, 1), (1, 1), (1, 0), (9, 0)]);
        assert_eq!(matrix.total(), 5);
        assert_eq!(matrix.accuracy(), Some(0.6));
        assert_eq!(matrix.micro_f1(), Some(0.6));
        let cat = matrix.score(0);
        assert_eq!((cat.support, cat.precision, cat.recall), (3, Some(2.0 / 3.0), Some(2.0 / 3.0)));
        assert_eq!(matrix.score(2), ClassScore { precision: None, recall: None, f1: None, support: 0 });
        assert!((matrix.macro_f1().unwrap() - (2.0 / 3.0 + 0.5) / 2.0).abs() < 1e-12);
    }

    #[test]
    fn sets_are_judged_class_by_class() {
        let label = |classes: &[i64]| classes.iter().map(|class| ClassId(*class)).collect::<Label>();
        let pairs = [
            (label(&[0, 1]), label(&[0, 1])),
            (label(&[0]), label(&[0, 2])),
            (label(&[]), label(&[])),
            (label(&[1, 2]), label(&[2])),
        ];
        let sets = Confusion::of(Labelling::AnyClasses, 3, pairs.iter().map(|(label, predicted)| (label, predicted)));
        assert_eq!((sets.total(), sets.accuracy()), (4, Some(0.5)));
        let third = Decisions { true_positives: 1, false_positives: 1, false_negatives: 0 };
        assert_eq!((sets.decisions(2), sets.score(1).recall), (third, Some(0.5)));
        // By hand: 4 right of 5 predicted and 5 labelled.
        assert_eq!(sets.micro_f1(), Some(0.8));
        assert!((sets.macro_f1().unwrap() - (1.0 + 2.0 / 3.0 + 2.0 / 3.0) / 3.0).abs() < 1e-12);
    }

    #[test]
    fn both_kinds_are_read_as_they_were_written() {
        let none = Label::default();
        for confusion in [Confusion::new(2, [(0, 1)]), Confusion::of(Labelling::AnyClasses, 2, [(&none, &none)])] {
            let text = serde_json::to_string(&confusion).unwrap();
            assert_eq!(serde_json::from_str::<Confusion>(&text).unwrap(), confusion, "{text}");
        }
        assert_eq!(serde_json::from_str::<Confusion>(r#"{"classes":1,"counts":[3]}"#).unwrap().total(), 3);
    }

    #[test]
    fn an_empty_matrix_claims_nothing() {
        assert_eq!(Confusion::new(0, []).accuracy(), None);
        assert_eq!(Confusion::new(2, []).macro_f1(), None);
    }
}
