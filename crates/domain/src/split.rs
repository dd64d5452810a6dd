//! Which samples train, which validate, which test: stratified by class, decided once for a content, never moved by
//! what is added later.

use crate::{ClassId, Label};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The part of a dataset that a sample belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Learned from.
    Train,
    /// Watched while training; chooses the best checkpoint.
    Val,
    /// Looked at once, at the end.
    Test,
}

impl Split {
    /// All splits.
    pub const ALL: [Split; 3] = [Split::Train, Split::Val, Split::Test];

    /// The word that is stored, sent and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Val => "val",
            Split::Test => "test",
        }
    }

    /// The split that a folder or column of this name means.
    pub fn parse(word: &str) -> Option<Split> {
        match word.to_ascii_lowercase().as_str() {
            "train" | "training" => Some(Split::Train),
            "val" | "valid" | "validation" | "dev" => Some(Split::Val),
            "test" | "testing" => Some(Split::Test),
            _ => None,
        }
    }
}

impl std::fmt::Display for Split {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// The wanted shares of validation and test; the rest trains.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fractions {
    /// Share of validation samples.
    pub val: f64,
    /// Share of test samples.
    pub test: f64,
}

impl Default for Fractions {
    fn default() -> Self {
        Fractions { val: 0.1, test: 0.2 }
    }
}

/// Shares that are no shares.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("split shares must be at least 0 and leave something to train on: val {val}, test {test}")]
pub struct FractionsError {
    val: f64,
    test: f64,
}

impl Fractions {
    /// Shares of at least 0 that leave something to train on.
    pub fn new(val: f64, test: f64) -> Result<Fractions, FractionsError> {
        let fine = |share: f64| (0.0..1.0).contains(&share);
        if fine(val) && fine(test) && val + test < 1.0 {
            Ok(Fractions { val, test })
        } else {
            Err(FractionsError { val, test })
        }
    }

    fn of(self, split: Split) -> f64 {
        match split {
            Split::Train => 1.0 - self.val - self.test,
            Split::Val => self.val,
            Split::Test => self.test,
        }
    }
}

/// How many samples of one stratum each split holds already.
pub type Counts = [u64; 3];

/// What is spread evenly over the splits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stratum {
    /// Samples without a label.
    Unlabeled,
    /// Samples that are labelled with none of the classes.
    Empty,
    /// Samples of a class.
    Class(ClassId),
}

impl Stratum {
    /// The strata of a sample with this label.
    pub fn of(label: Option<&Label>) -> Vec<Stratum> {
        match label.map(Label::classes) {
            None => vec![Stratum::Unlabeled],
            Some([]) => vec![Stratum::Empty],
            Some(classes) => classes.iter().copied().map(Stratum::Class).collect(),
        }
    }

    /// The stratum with this word.
    pub fn parse(word: &str) -> Option<Stratum> {
        match word {
            "none" => Some(Stratum::Unlabeled),
            "empty" => Some(Stratum::Empty),
            number => number.parse().ok().map(|class| Stratum::Class(ClassId(class))),
        }
    }
}

/// The word by which samples of it are asked for.
impl std::fmt::Display for Stratum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Stratum::Unlabeled => f.write_str("none"),
            Stratum::Empty => f.write_str("empty"),
            Stratum::Class(class) => class.fmt(f),
        }
    }
}

/// The splits of new samples, in their order.
///
/// One stratum after the other is spread, the one with the fewest samples left first (Sechidis et al. 2011), so that rare
/// classes of samples with several are in all splits too. Within a stratum the samples are taken in the order of their
/// content hash mixed with `seed`, each going where the stratum lacks most, so that strata of samples with one class come
/// within one sample of the wanted shares. `counts` holds what each stratum has already (it is kept up to date), so nothing
/// old is moved. The outcome depends neither on paths nor on the order of the input.
pub fn assign(
    new: &[(Vec<Stratum>, [u8; 32])],
    counts: &mut BTreeMap<Stratum, Counts>,
    fractions: Fractions,
    seed: u64,
) -> Vec<Split> {
    let mut order: Vec<usize> = (0..new.len()).collect();
    order.sort_by_key(|&index| (mixed(&new[index].1, seed), new[index].1));
    let mut waiting: BTreeMap<Stratum, Vec<usize>> = BTreeMap::new();
    for &index in &order {
        new[index].0.iter().for_each(|stratum| waiting.entry(*stratum).or_default().push(index));
    }
    let mut left: BTreeMap<Stratum, usize> = waiting.iter().map(|(stratum, own)| (*stratum, own.len())).collect();
    let mut splits: Vec<Option<Split>> = vec![None; new.len()];
    while let Some(stratum) = left.iter().min_by_key(|(_, left)| **left).map(|(stratum, _)| *stratum) {
        for index in waiting.remove(&stratum).unwrap_or_default() {
            if splits[index].is_some() {
                continue;
            }
            let held = counts.entry(stratum).or_default();
            let total = held.iter().sum::<u64>() as f64 + 1.0;
            let lack = |split: Split| fractions.of(split) * total - held[split as usize] as f64;
            // The first of equals, so ties go to training.
            let most = Split::ALL.into_iter().reduce(|best, split| if lack(split) > lack(best) { split } else { best });
            let split = most.unwrap_or(Split::Train);
            for own in &new[index].0 {
                counts.entry(*own).or_default()[split as usize] += 1;
                left.entry(*own).and_modify(|left| *left = left.saturating_sub(1));
            }
            splits[index] = Some(split);
        }
        left.remove(&stratum);
    }
    splits.into_iter().map(|split| split.unwrap_or(Split::Train)).collect()
}

/// A hash mixed with a seed (the finaliser of SplitMix64, Steele et al. 2014).
fn mixed(hash: &[u8; 32], seed: u64) -> u64 {
    let mut head = [0; 8];
    head.copy_from_slice(&hash[..8]);
    let mut z = u64::from_le_bytes(head) ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hash(number: u64) -> [u8; 32] {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&mixed(&[7; 32], number).to_le_bytes());
        hash
    }

    fn class(number: u64) -> Stratum {
        Stratum::Class(ClassId(number as i64))
    }

    #[track_caller]
    fn has_its_shares(held: &Counts, tolerance: f64) {
        let total = held.iter().sum::<u64>() as f64;
        assert!((held[Split::Val as usize] as f64 - total * 0.1).abs() <= tolerance, "{held:?}");
        assert!((held[Split::Test as usize] as f64 - total * 0.2).abs() <= tolerance, "{held:?}");
    }

    #[test]
    fn every_class_gets_its_shares() {
        let new: Vec<(Vec<Stratum>, [u8; 32])> = (0..1000).map(|i| (vec![class(i % 7)], hash(i))).collect();
        let mut counts = BTreeMap::new();
        assign(&new, &mut counts, Fractions::default(), 1);
        counts.values().for_each(|held| has_its_shares(held, 1.0));
    }

    #[test]
    fn rare_classes_of_samples_with_several_are_in_all_splits() {
        // Hardly two samples have the same classes.
        let classes = |i: u64| (0..12).filter(|c| mixed(&hash(i), *c).is_multiple_of(c + 2)).map(class).collect();
        let new: Vec<(Vec<Stratum>, [u8; 32])> = (0..600).map(|i| (classes(i), hash(i))).collect();
        let mut counts = BTreeMap::new();
        let splits = assign(&new, &mut counts, Fractions::default(), 1);
        counts.values().for_each(|held| has_its_shares(held, 4.0));
        assert_eq!(
            counts[&class(3)].iter().sum::<u64>(),
            new.iter().filter(|(own, _)| own.contains(&class(3))).count() as u64
        );
        assert_eq!(splits.len(), 600);
    }

    proptest! {
        #[test]
        fn the_order_of_the_input_does_not_matter(count in 1u64..60, seed: u64) {
            let mut new: Vec<(Vec<Stratum>, [u8; 32])> =
                (0..count).map(|i| (vec![class(i % 3), class(i % 5)], hash(i))).collect();
            let forth = assign(&new, &mut BTreeMap::new(), Fractions::default(), seed);
            new.reverse();
            let mut back = assign(&new, &mut BTreeMap::new(), Fractions::default(), seed);
            back.reverse();
            prop_assert_eq!(forth, back);
        }
    }

    #[test]
    fn another_seed_makes_another_split() {
        let new: Vec<(Vec<Stratum>, [u8; 32])> = (0..100).map(|i| (vec![Stratum::Unlabeled], hash(i))).collect();
        let of = |seed| assign(&new, &mut BTreeMap::new(), Fractions::default(), seed);
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }

    #[test]
    fn shares_that_leave_nothing_to_train_on_are_refused() {
        assert!(Fractions::new(0.5, 0.5).is_err());
        assert!(Fractions::new(-0.1, 0.5).is_err());
        assert!(Fractions::new(f64::NAN, 0.5).is_err());
        assert!(Fractions::new(0.0, 0.0).is_ok());
    }
}
