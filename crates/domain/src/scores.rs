//! How good a classifier is on labelled samples: the figures that people quote, with how far they can be trusted.
//!
//! All of them are those of scikit-learn where it has them; intervals are by bootstrap.

use crate::Confusion;
use crate::confusion::ClassScore;
use serde::{Deserialize, Serialize};

/// Bins of the calibration error.
const BINS: usize = 15;
/// Resamples of an interval.
const RESAMPLES: usize = 1000;
/// The share of resamples within an interval.
const CONFIDENCE: f64 = 0.95;

/// What a model says of a labelled sample.
#[derive(Clone, Copy, Debug)]
pub struct Scored<'a> {
    /// The sample's class.
    pub label: usize,
    /// The probability of each class.
    pub probabilities: &'a [f32],
}

/// A figure with the interval that holds it with 95 % confidence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The figure.
    pub value: f64,
    /// The interval's ends.
    pub interval: (f64, f64),
}

/// The mean of a figure over classes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Means {
    /// Each class weighing the same.
    pub macro_mean: f64,
    /// Each class weighing as much as it has samples.
    pub weighted: f64,
}

/// Samples whose greatest probability is within some bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// How many.
    pub count: u64,
    /// Their mean greatest probability.
    pub confidence: f64,
    /// The share of them that is right.
    pub accuracy: f64,
}

/// The figures of one class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassFigures {
    /// Its name.
    pub class: String,
    /// Precision, recall, F1 and how many samples it has.
    pub score: ClassScore,
    /// The area under the ROC curve of this class against all others; none without samples of both.
    pub roc_auc: Option<f64>,
}

/// How good a classifier is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Labelled samples.
    pub samples: u64,
    /// The mean cross-entropy, in nats.
    pub loss: f64,
    /// The share of right answers.
    pub accuracy: Estimate,
    /// The share of samples whose class is among the five most probable.
    pub top5: f64,
    /// F1, its macro mean with its interval.
    pub macro_f1: Estimate,
    /// F1 weighted by samples.
    pub weighted_f1: f64,
    /// Precision.
    pub precision: Means,
    /// Recall.
    pub recall: Means,
    /// The macro mean of the areas under the ROC curves, one class against the rest.
    pub roc_auc: Option<f64>,
    /// The expected calibration error (Naeini et al. 2015): 15 bins of equal width.
    pub calibration_error: f64,
    /// The mean squared distance of the probabilities from what is true (Brier 1950): 0 to 2.
    pub brier: f64,
    /// What is right by confidence, in 15 bins of equal width.
    pub bins: Vec<Bin>,
    /// Class by class.
    pub classes: Vec<ClassFigures>,
}

impl Scores {
    /// The figures of samples; none without any. Samples of a class beyond the names are left out.
    pub fn new(classes: &[String], samples: &[Scored<'_>]) -> Option<Scores> {
        let samples: Vec<Scored<'_>> = samples.iter().copied().filter(|sample| sample.label < classes.len()).collect();
        if samples.is_empty() {
            return None;
        }
        let count = samples.len() as f64;
        let pairs: Vec<(usize, usize)> = samples.iter().map(|s| (s.label, greatest(s.probabilities))).collect();
        let confusion = Confusion::new(classes.len(), pairs.iter().copied());
        let of_label = |s: &Scored<'_>| f64::from(s.probabilities.get(s.label).copied().unwrap_or(0.0));
        let areas: Vec<Option<f64>> = (0..classes.len()).map(|class| roc_auc(&samples, class)).collect();
        let known: Vec<f64> = areas.iter().flatten().copied().collect();
        let bins = bins(&samples);
        let [accuracy, macro_f1] = estimates(&pairs, classes.len());
        Some(Scores {
            samples: samples.len() as u64,
            loss: samples.iter().map(|s| -of_label(s).max(f64::from(f32::MIN_POSITIVE)).ln()).sum::<f64>() / count,
            accuracy,
            top5: samples.iter().filter(|s| rank(s.probabilities, s.label) < 5).count() as f64 / count,
            macro_f1,
            weighted_f1: means(&confusion, |score| score.f1).weighted,
            precision: means(&confusion, |score| score.precision),
            recall: means(&confusion, |score| score.recall),
            roc_auc: (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64),
            calibration_error: bins
                .iter()
                .map(|bin| bin.count as f64 * (bin.confidence - bin.accuracy).abs())
                .sum::<f64>()
                / count,
            brier: samples.iter().map(brier).sum::<f64>() / count,
            bins,
            classes: classes
                .iter()
                .zip(areas)
                .enumerate()
                .map(|(number, (class, roc_auc))| ClassFigures {
                    class: class.clone(),
                    score: confusion.score(number),
                    roc_auc,
                })
                .collect(),
        })
    }
}

/// The class of the greatest value (a probability or a logit); the first of equals.
pub fn greatest(values: &[f32]) -> usize {
    (0..values.len()).fold(0, |best, class| if values[class] > values[best] { class } else { best })
}

/// How many classes come before this one: those of greater values, and of equal ones those before it.
pub fn rank(values: &[f32], class: usize) -> usize {
    let own = values.get(class).copied().unwrap_or(f32::NEG_INFINITY);
    let before = |(other, value): &(usize, &f32)| **value > own || (**value == own && *other < class);
    values.iter().enumerate().filter(before).count()
}

fn brier(sample: &Scored<'_>) -> f64 {
    let distance = |(class, p): (usize, &f32)| (f64::from(*p) - f64::from(u8::from(class == sample.label))).powi(2);
    sample.probabilities.iter().enumerate().map(distance).sum()
}

fn bins(samples: &[Scored<'_>]) -> Vec<Bin> {
    let mut bins = vec![Bin::default(); BINS];
    for sample in samples {
        let best = greatest(sample.probabilities);
        let confidence = f64::from(sample.probabilities.get(best).copied().unwrap_or(0.0));
        // A bin holds its upper end, as in the paper.
        let bin = &mut bins[((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1];
        bin.count += 1;
        bin.confidence += confidence;
        bin.accuracy += f64::from(u8::from(best == sample.label));
    }
    for bin in bins.iter_mut().filter(|bin| bin.count > 0) {
        bin.confidence /= bin.count as f64;
        bin.accuracy /= bin.count as f64;
    }
    bins
}

/// The share of pairs of a sample of the class and one of another in which the first has the greater probability of the
/// class, equal ones counting half (Hanley and McNeil 1982).
fn roc_auc(samples: &[Scored<'_>], class: usize) -> Option<f64> {
    let mut scores: Vec<(f32, bool)> =
        samples.iter().map(|s| (s.probabilities.get(class).copied().unwrap_or(0.0), s.label == class)).collect();
    scores.sort_by(|a, b| a.0.total_cmp(&b.0));
    let positive = scores.iter().filter(|score| score.1).count() as f64;
    let negative = scores.len() as f64 - positive;
    if positive == 0.0 || negative == 0.0 {
        return None;
    }
    // The sum of the ranks of the class; equal scores share theirs.
    let (mut ranks, mut first) = (0.0, 0);
    while first < scores.len() {
        let next =
            scores[first..].iter().position(|score| score.0 != scores[first].0).map_or(scores.len(), |n| first + n);
        let mean_rank = (first + next + 1) as f64 / 2.0;
        ranks += mean_rank * scores[first..next].iter().filter(|score| score.1).count() as f64;
        first = next;
    }
    Some((ranks - positive * (positive + 1.0) / 2.0) / (positive * negative))
}

/// A figure that is missing counts as 0 for a class that is labelled or predicted, as in scikit-learn.
fn means(confusion: &Confusion, figure: impl Fn(&ClassScore) -> Option<f64>) -> Means {
    let (mut sum, mut classes, mut weighted) = (0.0, 0.0, 0.0);
    for class in 0..confusion.classes() {
        let score = confusion.score(class);
        if score.f1.is_some() {
            let value = figure(&score).unwrap_or(0.0);
            sum += value;
            classes += 1.0;
            weighted += value * score.support as f64;
        }
    }
    Means { macro_mean: sum / f64::max(classes, 1.0), weighted: weighted / (confusion.total() as f64).max(1.0) }
}

/// Accuracy and macro F1 of (labelled, predicted) pairs with their percentile bootstrap intervals (Efron and Tibshirani
/// 1993, chapter 13). The resamples are the same every time.
fn estimates(pairs: &[(usize, usize)], classes: usize) -> [Estimate; 2] {
    let mut random = SplitMix(pairs.len() as u64);
    let mut counts = Counts::new(classes);
    let resampled: Vec<[f64; 2]> =
        (0..RESAMPLES).map(|_| counts.figures((0..pairs.len()).map(|_| pairs[random.below(pairs.len())]))).collect();
    let values = counts.figures(pairs.iter().copied());
    let outside = (1.0 - CONFIDENCE) / 2.0;
    std::array::from_fn(|figure| {
        let mut sorted: Vec<f64> = resampled.iter().map(|figures| figures[figure]).collect();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| sorted[((share * (RESAMPLES - 1) as f64).round() as usize).min(RESAMPLES - 1)];
        Estimate { value: values[figure], interval: (at(outside), at(1.0 - outside)) }
    })
}

/// What accuracy and macro F1 need of a confusion matrix: its diagonal and the sums of its rows and columns, so that a
/// thousand resamples of many classes stay quick.
struct Counts {
    right: Vec<u32>,
    labelled_or_predicted: Vec<u32>,
}

impl Counts {
    fn new(classes: usize) -> Counts {
        Counts { right: vec![0; classes], labelled_or_predicted: vec![0; classes] }
    }

    /// Accuracy and macro F1, as [`Confusion`] has them.
    fn figures(&mut self, pairs: impl ExactSizeIterator<Item = (usize, usize)>) -> [f64; 2] {
        self.right.fill(0);
        self.labelled_or_predicted.fill(0);
        let count = pairs.len().max(1) as f64;
        for (label, predicted) in pairs {
            self.right[label] += u32::from(label == predicted);
            self.labelled_or_predicted[label] += 1;
            self.labelled_or_predicted[predicted] += 1;
        }
        let (mut f1, mut classes) = (0.0, 0.0);
        for (right, all) in self.right.iter().zip(&self.labelled_or_predicted).filter(|(_, all)| **all > 0) {
            f1 += 2.0 * f64::from(*right) / f64::from(*all);
            classes += 1.0;
        }
        let right: f64 = self.right.iter().map(|right| f64::from(*right)).sum();
        [right / count, f1 / f64::max(classes, 1.0)]
    }
}

/// SplitMix64 (Steele, Lea and Flood 2014).
struct SplitMix(u64);

impl SplitMix {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(z ^ (z >> 31)) * end as u128) >> 64) as usize
    }
}

/// Two classifiers on the same samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct McNemar {
    /// Samples that both saw.
    pub samples: u64,
    /// Right by the first alone.
    pub first_alone: u64,
    /// Right by the second alone.
    pub second_alone: u64,
    /// How probable a difference at least as great is if both are equally good: the exact two-sided test (McNemar 1947).
    pub p_value: f64,
}

impl McNemar {
    /// From whether each was right, sample by sample.
    pub fn new(right: impl IntoIterator<Item = (bool, bool)>) -> McNemar {
        let (mut samples, mut first_alone, mut second_alone) = (0, 0, 0);
        for (first, second) in right {
            samples += 1;
            first_alone += u64::from(first && !second);
            second_alone += u64::from(second && !first);
        }
        let (differing, fewer) = (first_alone + second_alone, first_alone.min(second_alone));
        // Twice the lower tail of a binomial distribution with p = 1/2, in logarithms.
        let mut choose = 0.0f64;
        let mut tail = 0.0;
        for k in 0..=fewer {
            if k > 0 {
                choose += ((differing - k + 1) as f64).ln() - (k as f64).ln();
            }
            tail += (choose - differing as f64 * std::f64::consts::LN_2).exp();
        }
        McNemar { samples, first_alone, second_alone, p_value: (2.0 * tail).min(1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASSES: [&str; 3] = ["a", "b", "c"];

    fn samples() -> Vec<(usize, [f32; 3])> {
        vec![
            (0, [0.7, 0.2, 0.1]),
            (0, [0.4, 0.5, 0.1]),
            (0, [0.6, 0.3, 0.1]),
            (1, [0.1, 0.8, 0.1]),
            (1, [0.3, 0.3, 0.4]),
            (2, [0.2, 0.2, 0.6]),
            (2, [0.5, 0.1, 0.4]),
            (1, [0.2, 0.6, 0.2]),
        ]
    }

    #[track_caller]
    fn is(found: f64, right: f64) {
        assert!((found - right).abs() < 1e-6, "{found}, not {right}");
    }

    /// The figures are those of scikit-learn 1.9's `log_loss`, `f1_score`, `precision_score`, `recall_score` and
    /// `roc_auc_score(multi_class="ovr")` for these samples.
    #[test]
    fn figures_are_those_of_scikit_learn() {
        let samples = samples();
        let scored: Vec<Scored<'_>> =
            samples.iter().map(|(label, p)| Scored { label: *label, probabilities: p }).collect();
        let scores = Scores::new(&CLASSES.map(str::to_owned), &scored).unwrap();
        is(scores.loss, 0.643_606_204);
        is(scores.accuracy.value, 0.625);
        is(scores.macro_f1.value, 0.611_111_111);
        is(scores.weighted_f1, 0.625);
        is(scores.precision.macro_mean, 0.611_111_111);
        is(scores.recall.weighted, 0.625);
        is(scores.roc_auc.unwrap(), 0.930_555_556);
        is(scores.classes[2].roc_auc.unwrap(), 0.958_333_333);
        is(scores.classes[2].score.f1.unwrap(), 0.5);
        is(scores.brier, 0.365);
        is(scores.calibration_error, 0.387_5);
        is(scores.top5, 1.0);
    }

    #[test]
    fn nothing_is_said_of_no_samples() {
        assert!(Scores::new(&CLASSES.map(str::to_owned), &[]).is_none());
        let beyond = Scored { label: 3, probabilities: &[0.5, 0.5, 0.0] };
        assert!(Scores::new(&CLASSES.map(str::to_owned), &[beyond]).is_none());
    }

    #[test]
    fn an_interval_holds_the_figure_and_narrows_with_samples() {
        let width = |count: usize| {
            let pairs: Vec<(usize, usize)> = (0..count).map(|index| (0, usize::from(index % 5 == 0))).collect();
            let [found, _] = estimates(&pairs, 2);
            assert!(found.interval.0 <= found.value && found.value <= found.interval.1, "{found:?}");
            found.interval.1 - found.interval.0
        };
        // Of a share of 0.8: 2 x 1.96 standard errors.
        assert!((width(100) - 3.92 * 0.04).abs() < 0.03);
        assert!((width(10_000) - 3.92 * 0.004).abs() < 0.003);
    }

    #[test]
    fn figures_of_counts_are_those_of_the_matrix() {
        let mut random = SplitMix(3);
        let pairs: Vec<(usize, usize)> = (0..500).map(|_| (random.below(6), random.below(7))).collect();
        let matrix = Confusion::new(9, pairs.iter().copied());
        let [accuracy, macro_f1] = Counts::new(9).figures(pairs.iter().copied());
        is(accuracy, matrix.accuracy().unwrap());
        is(macro_f1, matrix.macro_f1().unwrap());
    }

    /// The p-values are those of `scipy.stats.binomtest(k, n).pvalue`.
    #[test]
    fn mcnemar_is_the_exact_test() {
        let of = |first: u64, second: u64| {
            let alone = (0..first).map(|_| (true, false)).chain((0..second).map(|_| (false, true)));
            McNemar::new(alone.chain([(true, true), (false, false)])).p_value
        };
        is(of(0, 0), 1.0);
        is(of(1, 9), 0.021_484_375);
        is(of(30, 50), 0.032_992_618);
        is(of(5, 5), 1.0);
    }
}
