//! How good a model is on labelled samples.

use assay_domain::scores::{greatest, rank};
use assay_domain::{ClassId, Confusion, Label, Labelling};

/// Collects what a model says of labelled samples, one after the other.
pub(crate) struct Judge {
    classes: usize,
    labelling: Labelling,
    losses: f64,
    among_five: u64,
    pairs: Vec<(Label, Label)>,
}

/// How good a model was.
#[derive(Clone, Debug)]
pub(crate) struct Judged {
    /// The mean loss, in nats.
    pub(crate) loss: f64,
    /// The share of right answers.
    pub(crate) accuracy: f64,
    /// The share of samples whose class was among the five most probable; none where they may have several.
    pub(crate) top5: Option<f64>,
    pub(crate) confusion: Confusion,
}

/// The cross-entropy of logits against the classes of a sample, in nats; none where samples have one class and this one has
/// not.
pub(crate) fn loss(labelling: Labelling, logits: &[f32], classes: &[u32]) -> Option<f64> {
    match (labelling, classes) {
        (Labelling::AnyClasses, _) => Some(binary_cross_entropy(logits, classes)),
        (Labelling::OneClass, [class]) => Some(cross_entropy(logits, *class as usize)),
        (Labelling::OneClass, _) => None,
    }
}

impl Judge {
    pub(crate) fn new(classes: usize, labelling: Labelling) -> Judge {
        Judge { classes, labelling, losses: 0.0, among_five: 0, pairs: Vec::new() }
    }

    /// Hears the logits of a sample with these classes.
    pub(crate) fn hear(&mut self, logits: &[f32], classes: &[u32]) {
        let Some(loss) = loss(self.labelling, logits, classes) else { return };
        self.losses += loss;
        let label: Label = classes.iter().map(|class| ClassId(i64::from(*class))).collect();
        let predicted = match self.labelling {
            Labelling::AnyClasses => {
                let positive = (0..logits.len()).filter(|class| logits[*class] > 0.0);
                positive.map(|class| ClassId(class as i64)).collect()
            }
            Labelling::OneClass => {
                self.among_five += classes.iter().filter(|class| rank(logits, **class as usize) < 5).count() as u64;
                Label::one(ClassId(greatest(logits) as i64))
            }
        };
        self.pairs.push((label, predicted));
    }

    pub(crate) fn judge(self) -> Judged {
        let count = self.pairs.len().max(1) as f64;
        let pairs = self.pairs.iter().map(|(label, predicted)| (label, predicted));
        let confusion = Confusion::of(self.labelling, self.classes, pairs);
        Judged {
            loss: self.losses / count,
            accuracy: confusion.accuracy().unwrap_or(0.0),
            top5: (self.labelling == Labelling::OneClass).then_some(self.among_five as f64 / count),
            confusion,
        }
    }
}

/// Of a class among all, in nats.
pub(crate) fn cross_entropy(logits: &[f32], class: usize) -> f64 {
    let own = logits.get(class).copied().unwrap_or(f32::NEG_INFINITY);
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from(logit - most).exp()).sum();
    f64::from(most) + sum.ln() - f64::from(own)
}

/// The mean over all classes, in nats, of a sample that has some of them.
pub(crate) fn binary_cross_entropy(logits: &[f32], classes: &[u32]) -> f64 {
    let of_class = |(class, logit): (usize, &f32)| {
        // ln(1 + exp(-x)) for a class that it has, with -x for one that it has not.
        let x = f64::from(*logit) * if classes.contains(&(class as u32)) { 1.0 } else { -1.0 };
        (-x).max(0.0) + (-x.abs()).exp().ln_1p()
    };
    logits.iter().enumerate().map(of_class).sum::<f64>() / logits.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_and_ranks_follow_their_definitions() {
        let mut judge = Judge::new(7, Labelling::OneClass);
        judge.hear(&[0.0, 3.0, 1.0, 2.0, -1.0, -2.0, -3.0], &[1]);
        judge.hear(&[0.0, 3.0, 1.0, 2.0, -1.0, -2.0, -3.0], &[4]);
        judge.hear(&[0.0, 3.0, 1.0, 2.0, -1.0, -2.0, -3.0], &[5]);
        judge.hear(&[1.0; 7], &[0]);
        let judged = judge.judge();
        let sum: f64 = [0.0f64, 3.0, 1.0, 2.0, -1.0, -2.0, -3.0].iter().map(|x| x.exp()).sum();
        let right = (3.0 * sum.ln() - 3.0 + 1.0 + 2.0 + 7f64.ln()) / 4.0;
        assert!((judged.loss - right).abs() < 1e-6, "{} {right}", judged.loss);
        assert_eq!((judged.accuracy, judged.top5), (0.5, Some(0.75)));
        assert_eq!(judged.confusion.decisions(5).false_negatives, 1);
    }

    #[test]
    fn samples_of_several_classes_are_judged_class_by_class() {
        let mut judge = Judge::new(3, Labelling::AnyClasses);
        judge.hear(&[2.0, -1.0, 0.5], &[0, 2]);
        judge.hear(&[100.0, -100.0, 0.0], &[1, 2]);
        judge.hear(&[-5.0, -5.0, -5.0], &[]);
        let judged = judge.judge();
        // The first two as in the test of the loss, the third by hand.
        assert!((judged.loss - (2.0 * 33.601_236 + (-5f64).exp().ln_1p()) / 3.0).abs() < 1e-5, "{}", judged.loss);
        assert_eq!((judged.accuracy, judged.top5), (2.0 / 3.0, None));
    }
}
