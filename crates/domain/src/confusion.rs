//! What a classifier confuses with what.

use serde::{Deserialize, Serialize};

/// Counts by labelled class (row) and predicted class (column).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    classes: usize,
    counts: Vec<u64>,
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

impl Confusion {
    /// The matrix of `classes` classes over (labelled, predicted) pairs; pairs beyond the classes are left out.
    pub fn new(classes: usize, pairs: impl IntoIterator<Item = (usize, usize)>) -> Confusion {
        let mut counts = vec![0; classes * classes];
        for (label, predicted) in pairs {
            if label < classes && predicted < classes {
                counts[label * classes + predicted] += 1;
            }
        }
        Confusion { classes, counts }
    }

    /// How many classes there are.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// How many samples labelled `label` were predicted as `predicted`.
    pub fn count(&self, label: usize, predicted: usize) -> u64 {
        self.counts.get(label * self.classes + predicted).copied().unwrap_or(0)
    }

    /// How many samples are counted.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The share on the diagonal; `None` without samples.
    pub fn accuracy(&self) -> Option<f64> {
        let right: u64 = (0..self.classes).map(|class| self.count(class, class)).sum();
        share(right, self.total())
    }

    /// The scores of one class.
    pub fn score(&self, class: usize) -> ClassScore {
        let right = self.count(class, class);
        let support = (0..self.classes).map(|predicted| self.count(class, predicted)).sum();
        let predicted: u64 = (0..self.classes).map(|label| self.count(label, class)).sum();
        ClassScore {
            precision: share(right, predicted),
            recall: share(right, support),
            f1: share(2 * right, support + predicted),
            support,
        }
    }

    /// The mean F1 of the classes that occur as label or prediction, each weighing the same.
    pub fn macro_f1(&self) -> Option<f64> {
        let scores: Vec<f64> = (0..self.classes).filter_map(|class| self.score(class).f1).collect();
        (!scores.is_empty()).then(|| scores.iter().sum::<f64>() / scores.len() as f64)
    }
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_follow_their_definitions() {
        // By hand: 3 cats (2 right), 2 dogs (1 right), nothing of class 2.
        let matrix = Confusion::new(3, [(0, 0), (0, 0), (0, 1), (1, 1), (1, 0), (9, 0)]);
        assert_eq!(matrix.total(), 5);
        assert_eq!(matrix.accuracy(), Some(0.6));
        let cat = matrix.score(0);
        assert_eq!((cat.support, cat.precision, cat.recall), (3, Some(2.0 / 3.0), Some(2.0 / 3.0)));
        assert_eq!(matrix.score(2), ClassScore { precision: None, recall: None, f1: None, support: 0 });
        assert!((matrix.macro_f1().unwrap() - (2.0 / 3.0 + 0.5) / 2.0).abs() < 1e-12);
    }

    #[test]
    fn an_empty_matrix_claims_nothing() {
        assert_eq!(Confusion::new(0, []).accuracy(), None);
        assert_eq!(Confusion::new(2, []).macro_f1(), None);
    }
}
