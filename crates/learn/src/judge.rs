//! How good a model is on labelled samples.

use assay_domain::Confusion;
use assay_domain::scores::{greatest, rank};

/// Collects what a model says of labelled samples, one after the other.
pub(crate) struct Judge {
    classes: usize,
    losses: f64,
    among_five: u64,
    pairs: Vec<(usize, usize)>,
}

/// How good a model was.
#[derive(Clone, Debug)]
pub(crate) struct Judged {
    /// The mean cross-entropy, in nats.
    pub(crate) loss: f64,
    /// The share of right answers.
    pub(crate) accuracy: f64,
    /// The share of samples whose class was among the five most probable.
    pub(crate) top5: f64,
    pub(crate) confusion: Confusion,
}

impl Judge {
    pub(crate) fn new(classes: usize) -> Judge {
        Judge { classes, losses: 0.0, among_five: 0, pairs: Vec::new() }
    }

    /// Hears the logits of a sample with this label.
    pub(crate) fn hear(&mut self, logits: &[f32], label: u32) {
        let label = label as usize;
        let own = logits.get(label).copied().unwrap_or(f32::NEG_INFINITY);
        let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits.iter().map(|logit| f64::from(logit - most).exp()).sum();
        self.losses += f64::from(most) + sum.ln() - f64::from(own);
        self.among_five += u64::from(rank(logits, label) < 5);
        self.pairs.push((label, greatest(logits)));
    }

    pub(crate) fn judge(self) -> Judged {
        let count = self.pairs.len().max(1) as f64;
        let confusion = Confusion::new(self.classes, self.pairs);
        Judged {
            loss: self.losses / count,
            accuracy: confusion.accuracy().unwrap_or(0.0),
            top5: self.among_five as f64 / count,
            confusion,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_and_ranks_follow_their_definitions() {
        let mut judge = Judge::new(7);
        judge.hear(&[0.0, 3.0, 1.0, 2.0, -1.0, -2.0, -3.0], 1);
        judge.hear(&[0.0, 3.0, 1.0, 2.0, -1.0, -2.0, -3.0], 4);
        judge.hear(&[0.0, 3.0, 1.0, 2.0, -1.0, -2.0, -3.0], 5);
        judge.hear(&[1.0; 7], 0);
        let judged = judge.judge();
        let sum: f64 = [0.0f64, 3.0, 1.0, 2.0, -1.0, -2.0, -3.0].iter().map(|x| x.exp()).sum();
        let right = (3.0 * sum.ln() - 3.0 + 1.0 + 2.0 + 7f64.ln()) / 4.0;
        assert!((judged.loss - right).abs() < 1e-6, "{} {right}", judged.loss);
        assert_eq!((judged.accuracy, judged.top5), (0.5, 0.75));
        assert_eq!(judged.confusion.count(5, 1), 1);
    }
}
