//! How good a classifier is on labelled samples: the figures that people quote, with how far they can be trusted.
//!
//! All of them are those of scikit-learn where it has them; intervals are by bootstrap.

use crate::confusion::ClassScore;
use crate::{ClassId, Confusion, Label, Labelling};
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
    /// The sample's label.
    pub label: &'a Label,
    /// The probability of each class.
    pub probabilities: &'a [f32],
    /// The loss, in nats, where it is known better than by the probabilities.
    pub loss: Option<f64>,
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
    #[serde(with = "crate::number::json")]
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
    /// The mean precision over the recalls of this class; none without samples of it.
    pub average_precision: Option<f64>,
}

/// How good a classifier is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// How many classes a sample has.
    pub labelling: Labelling,
    /// Labelled samples.
    pub samples: u64,
    /// The mean cross-entropy, in nats; over classes too, where samples may have several.
    #[serde(with = "crate::number::json")]
    pub loss: f64,
    /// The share of samples whose classes are exactly those predicted.
    pub accuracy: Estimate,
    /// The share of samples whose class is among the five most probable; none where samples may have several.
    pub top5: Option<f64>,
    /// F1, its macro mean with its interval.
    pub macro_f1: Estimate,
    /// F1 of all decisions together.
    pub micro_f1: f64,
    /// F1 weighted by samples.
    pub weighted_f1: f64,
    /// Precision.
    pub precision: Means,
    /// Recall.
    pub recall: Means,
    /// The macro mean of the areas under the ROC curves, one class against the rest.
    pub roc_auc: Option<f64>,
    /// The macro mean of the average precisions.
    pub average_precision: Option<f64>,
    /// The expected calibration error (Naeini et al. 2015): 15 bins of equal width.
    #[serde(with = "crate::number::json")]
    pub calibration_error: f64,
    /// The mean squared distance of the probabilities from what is true (Brier 1950): 0 to 2; where samples may have several
    /// classes, the mean over classes, 0 to 1.
    #[serde(with = "crate::number::json")]
    pub brier: f64,
    /// What is right by confidence, in 15 bins of equal width: by the greatest probability of each sample, or by that of
    /// each class where samples may have several.
    pub bins: Vec<Bin>,
    /// Class by class.
    pub classes: Vec<ClassFigures>,
}

impl Scores {
    /// The figures of samples; none without any. Samples of classes beyond the names are left out, and where each has one
    /// class, those that have not.
    pub fn new(classes: &[String], labelling: Labelling, samples: &[Scored<'_>]) -> Option<Scores> {
        let is_known = |class: &ClassId| (0..classes.len() as i64).contains(&class.0);
        let counts =
            |sample: &Scored<'_>| sample.label.classes().iter().all(is_known) && labelling.allows(sample.label);
        let samples: Vec<Scored<'_>> = samples.iter().copied().filter(counts).collect();
        if samples.is_empty() {
            return None;
        }
        let count = samples.len() as f64;
        let predicted: Vec<Label> = samples.iter().map(|s| decided(s.probabilities, labelling)).collect();
        let pairs: Vec<(&Label, &Label)> = samples.iter().map(|s| s.label).zip(&predicted).collect();
        let confusion = Confusion::of(labelling, classes.len(), pairs.iter().copied());
        let figures: Vec<ClassFigures> = (0..classes.len())
            .map(|class| {
                let ranking = Ranking::new(&samples, class);
                ClassFigures {
                    class: classes[class].clone(),
                    score: confusion.score(class),
                    roc_auc: ranking.roc_auc(),
                    average_precision: ranking.average_precision(),
                }
            })
            .collect();
        let mean = |figure: fn(&ClassFigures) -> Option<f64>| {
            let known: Vec<f64> = figures.iter().filter_map(figure).collect();
            (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
        };
        let bins = bins(samples.iter().flat_map(|sample| claims(sample, labelling)));
        let claims: u64 = bins.iter().map(|bin| bin.count).sum();
        let loss = |sample: &Scored<'_>| sample.loss.unwrap_or_else(|| loss(sample, labelling));
        let in_five = |sample: &&Scored<'_>| place(sample.label).is_some_and(|own| rank(sample.probabilities, own) < 5);
        let [accuracy, macro_f1] = estimates(&pairs, classes.len());
        Some(Scores {
            labelling,
            samples: samples.len() as u64,
            loss: samples.iter().map(loss).sum::<f64>() / count,
            accuracy,
            top5: (labelling == Labelling::OneClass).then(|| samples.iter().filter(in_five).count() as f64 / count),
            macro_f1,
            micro_f1: confusion.micro_f1().unwrap_or(0.0),
            weighted_f1: means(&confusion, |score| score.f1).weighted,
            precision: means(&confusion, |score| score.precision),
            recall: means(&confusion, |score| score.recall),
            roc_auc: mean(|of| of.roc_auc),
            average_precision: mean(|of| of.average_precision),
            calibration_error: bins
                .iter()
                .map(|bin| bin.count as f64 * (bin.confidence - bin.accuracy).abs())
                .sum::<f64>()
                / claims.max(1) as f64,
            brier: samples.iter().map(|sample| brier(sample, labelling)).sum::<f64>() / count,
            bins,
            classes: figures,
        })
    }
}

/// What probabilities say: the greatest one, or where samples may have any number of classes, all above one half.
pub fn decided(probabilities: &[f32], labelling: Labelling) -> Label {
    match labelling {
        Labelling::AnyClasses => {
            (0..probabilities.len()).filter(|class| probabilities[*class] > 0.5).map(class_at).collect()
        }
        Labelling::OneClass => Label::one(class_at(greatest(probabilities))),
    }
}

/// How sure probabilities are: of the greatest one, or where samples may have any number of classes, of the decision that is
/// least sure.
pub fn confidence(probabilities: &[f32], labelling: Labelling) -> f32 {
    match labelling {
        Labelling::AnyClasses => probabilities.iter().map(|p| p.max(1.0 - p)).fold(1.0, f32::min),
        Labelling::OneClass => probabilities.iter().copied().fold(0.0, f32::max),
    }
}

fn class_at(place: usize) -> ClassId {
    ClassId(place as i64)
}

/// Where the only class of a label is.
fn place(label: &Label) -> Option<usize> {
    label.only().map(|class| class.0 as usize)
}

/// The truth about each class of a sample, as a number.
fn truths<'a>(sample: &Scored<'a>) -> impl Iterator<Item = (f64, f64)> + 'a {
    let label = sample.label;
    let truth = move |(class, p): (usize, &f32)| (f64::from(*p), f64::from(u8::from(label.contains(class_at(class)))));
    sample.probabilities.iter().enumerate().map(truth)
}

/// The cross-entropy; of several classes the mean over all, with probabilities that are kept from certainty by the precision
/// that they have, as in scikit-learn.
fn loss(sample: &Scored<'_>, labelling: Labelling) -> f64 {
    if labelling == Labelling::OneClass {
        let own = place(sample.label).and_then(|own| sample.probabilities.get(own)).copied().unwrap_or(0.0);
        return -f64::from(own.max(f32::MIN_POSITIVE)).ln();
    }
    let least = f64::from(f32::EPSILON);
    let of_class = |(p, truth): (f64, f64)| {
        let right = if truth > 0.0 { p } else { 1.0 - p };
        -right.clamp(least, 1.0 - least).ln()
    };
    truths(sample).map(of_class).sum::<f64>() / sample.probabilities.len().max(1) as f64
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

fn brier(sample: &Scored<'_>, labelling: Labelling) -> f64 {
    let distance: f64 = truths(sample).map(|(p, truth)| (p - truth).powi(2)).sum();
    match labelling {
        Labelling::AnyClasses => distance / sample.probabilities.len().max(1) as f64,
        Labelling::OneClass => distance,
    }
}

/// The probabilities that a model claims of a sample, and whether they came true: of the most probable class, or of each
/// class where it may have several.
fn claims<'a>(sample: &Scored<'a>, labelling: Labelling) -> impl Iterator<Item = (f64, f64)> + 'a {
    let (first, count) = match labelling {
        Labelling::AnyClasses => (0, sample.probabilities.len()),
        Labelling::OneClass => (greatest(sample.probabilities), 1),
    };
    truths(sample).skip(first).take(count)
}

fn bins(claims: impl Iterator<Item = (f64, f64)>) -> Vec<Bin> {
    let mut bins = vec![Bin::default(); BINS];
    for (confidence, truth) in claims {
        // A bin holds its upper end, as in the paper.
        let bin = &mut bins[((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1];
        bin.count += 1;
        bin.confidence += confidence;
        bin.accuracy += truth;
    }
    for bin in bins.iter_mut().filter(|bin| bin.count > 0) {
        bin.confidence /= bin.count as f64;
        bin.accuracy /= bin.count as f64;
    }
    bins
}

/// Samples by the probability of a class, the least first, and whether they are of it; those of equal probability together.
struct Ranking {
    /// How many of the class, and how many others.
    steps: Vec<(f64, f64)>,
}

impl Ranking {
    fn new(samples: &[Scored<'_>], class: usize) -> Ranking {
        let score = |s: &Scored<'_>| s.probabilities.get(class).copied().unwrap_or(0.0);
        let mut scores: Vec<(f32, bool)> =
            samples.iter().map(|s| (score(s), s.label.contains(class_at(class)))).collect();
        scores.sort_by(|a, b| a.0.total_cmp(&b.0));
        let count = |equal: &[(f32, bool)], of_class: bool| equal.iter().filter(|s| s.1 == of_class).count() as f64;
        let equal = scores.chunk_by(|a, b| a.0 == b.0);
        Ranking { steps: equal.map(|equal| (count(equal, true), count(equal, false))).collect() }
    }

    fn positives(&self) -> f64 {
        self.steps.iter().map(|step| step.0).sum()
    }

    /// The share of pairs of a sample of the class and one of another in which the first has the greater probability of the
    /// class, equal ones counting half (Hanley and McNeil 1982).
    fn roc_auc(&self) -> Option<f64> {
        let (mut below, mut pairs) = (0.0, 0.0);
        for (positive, negative) in &self.steps {
            pairs += positive * (below + negative / 2.0);
            below += negative;
        }
        let all = self.positives() * below;
        (all > 0.0).then(|| pairs / all)
    }

    /// The sum over thresholds of the precision times what the recall grows by, without interpolation.
    fn average_precision(&self) -> Option<f64> {
        let (mut right, mut taken, mut sum) = (0.0, 0.0, 0.0);
        for (positive, negative) in self.steps.iter().rev() {
            right += positive;
            taken += positive + negative;
            sum += positive * right / taken;
        }
        (right > 0.0).then(|| sum / right)
    }
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
    let support: u64 = (0..confusion.classes()).map(|class| confusion.score(class).support).sum();
    Means { macro_mean: sum / f64::max(classes, 1.0), weighted: weighted / (support as f64).max(1.0) }
}

/// Accuracy and macro F1 of (labelled, predicted) pairs with their percentile bootstrap intervals (Efron and Tibshirani
/// 1993, chapter 13). The resamples are the same every time.
fn estimates(pairs: &[(&Label, &Label)], classes: usize) -> [Estimate; 2] {
    let outcomes: Vec<Outcome> = pairs.iter().map(|(label, predicted)| Outcome::new(label, predicted)).collect();
    let mut random = SplitMix(pairs.len() as u64);
    let mut counts = Counts::new(classes);
    let resampled: Vec<[f64; 2]> = (0..RESAMPLES)
        .map(|_| counts.figures((0..outcomes.len()).map(|_| &outcomes[random.below(outcomes.len())])))
        .collect();
    let values = counts.figures(outcomes.iter());
    let outside = (1.0 - CONFIDENCE) / 2.0;
    std::array::from_fn(|figure| {
        let mut sorted: Vec<f64> = resampled.iter().map(|figures| figures[figure]).collect();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| sorted[((share * (RESAMPLES - 1) as f64).round() as usize).min(RESAMPLES - 1)];
        Estimate { value: values[figure], interval: (at(outside), at(1.0 - outside)) }
    })
}

/// What a sample adds to accuracy and macro F1.
struct Outcome {
    exact: bool,
    /// For each class that is labelled or predicted: how often, of both.
    classes: Vec<(usize, u32)>,
}

impl Outcome {
    fn new(label: &Label, predicted: &Label) -> Outcome {
        let times = |class: ClassId| u32::from(label.contains(class)) + u32::from(predicted.contains(class));
        let either: Label = label.classes().iter().chain(predicted.classes()).copied().collect();
        let classes = either.classes().iter().map(|class| (class.0 as usize, times(*class))).collect();
        Outcome { exact: label == predicted, classes }
    }
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
    fn figures<'a>(&mut self, outcomes: impl ExactSizeIterator<Item = &'a Outcome>) -> [f64; 2] {
        self.right.fill(0);
        self.labelled_or_predicted.fill(0);
        let count = outcomes.len().max(1) as f64;
        let mut exact = 0.0;
        for outcome in outcomes {
            exact += f64::from(u8::from(outcome.exact));
            for (class, times) in &outcome.classes {
                self.right[*class] += times / 2;
                self.labelled_or_predicted[*class] += times;
            }
        }
        let (mut f1, mut classes) = (0.0, 0.0);
        for (right, all) in self.right.iter().zip(&self.labelled_or_predicted).filter(|(_, all)| **all > 0) {
            f1 += 2.0 * f64::from(*right) / f64::from(*all);
            classes += 1.0;
        }
        [exact / count, f1 / f64::max(classes, 1.0)]
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
        let labels: Vec<Label> = samples.iter().map(|(label, _)| Label::one(class_at(*label))).collect();
        let scored: Vec<Scored<'_>> =
            labels.iter().zip(&samples).map(|(label, (_, p))| Scored { label, probabilities: p, loss: None }).collect();
        let scores = Scores::new(&CLASSES.map(str::to_owned), Labelling::OneClass, &scored).unwrap();
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
        is(scores.top5.unwrap(), 1.0);
    }

    /// The figures are those of scikit-learn 1.9's `accuracy_score`, `f1_score`, `roc_auc_score`, `average_precision_score`
    /// and, class by class, `log_loss` and `brier_score_loss` for these samples.
    #[test]
    fn figures_of_several_classes_are_those_of_scikit_learn() {
        let samples: [(&[i64], [f32; 3]); 8] = [
            (&[0, 1], [0.9, 0.8, 0.1]),
            (&[0], [0.4, 0.2, 0.3]),
            (&[], [0.3, 0.6, 0.2]),
            (&[2], [0.1, 0.2, 0.7]),
            (&[0, 1, 2], [0.7, 0.4, 0.9]),
            (&[1], [0.2, 0.6, 0.6]),
            (&[1, 2], [0.6, 0.9, 0.8]),
            (&[0], [0.8, 0.1, 0.4]),
        ];
        let labels = samples.map(|(classes, _)| classes.iter().map(|class| ClassId(*class)).collect::<Label>());
        let scored: Vec<Scored<'_>> =
            labels.iter().zip(&samples).map(|(label, (_, p))| Scored { label, probabilities: p, loss: None }).collect();
        let scores = Scores::new(&CLASSES.map(str::to_owned), Labelling::AnyClasses, &scored).unwrap();
        is(scores.loss, 0.384_332_193);
        is(scores.accuracy.value, 0.375);
        is(scores.macro_f1.value, 0.785_714_286);
        is(scores.micro_f1, 0.782_608_696);
        is(scores.weighted_f1, 0.779_220_779);
        is(scores.roc_auc.unwrap(), 0.947_916_667);
        is(scores.average_precision.unwrap(), 0.945_833_333);
        is(scores.brier, 0.117_5);
        is(scores.precision.weighted, 0.75);
        assert_eq!((scores.top5, scores.bins.iter().map(|bin| bin.count).sum::<u64>()), (None, 24));
    }

    #[test]
    fn nothing_is_said_of_no_samples() {
        let classes = CLASSES.map(str::to_owned);
        assert!(Scores::new(&classes, Labelling::OneClass, &[]).is_none());
        let beyond = Label::one(ClassId(3));
        let beyond = Scored { label: &beyond, probabilities: &[0.5, 0.5, 0.0], loss: None };
        assert!(Scores::new(&classes, Labelling::OneClass, &[beyond]).is_none());
        let none = Scored { label: &Label::default(), ..beyond };
        assert!(Scores::new(&classes, Labelling::OneClass, &[none]).is_none());
        assert_eq!(Scores::new(&classes, Labelling::AnyClasses, &[none]).unwrap().accuracy.value, 1.0);
    }

    #[test]
    fn an_interval_holds_the_figure_and_narrows_with_samples() {
        let width = |count: usize| {
            let [right, wrong] = [0, 1].map(|class| Label::one(ClassId(class)));
            let pairs: Vec<(&Label, &Label)> =
                (0..count).map(|index| (&right, if index % 5 == 0 { &wrong } else { &right })).collect();
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
        let label = |class: usize| Label::one(class_at(class));
        let outcomes: Vec<Outcome> = pairs.iter().map(|(l, p)| Outcome::new(&label(*l), &label(*p))).collect();
        let [accuracy, macro_f1] = Counts::new(9).figures(outcomes.iter());
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
