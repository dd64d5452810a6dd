//! Split names in folders and columns.

use assay_domain::Split;
use std::collections::{BTreeSet, HashMap};

/// Words ignored beside a split's: `train_set`, `val2017`, `seg_test`, `images_train`.
const FILLERS: [&str; 18] = [
    "set", "sets", "data", "dataset", "images", "image", "imgs", "img", "split", "seg", "samples", "photos",
    "pictures", "files", "folder", "final", "list", "labels",
];

/// The split of an unambiguous name; `None` for other words, and for those that depend on the others.
pub(crate) fn split_of(name: &str) -> Option<Split> {
    match Word::of(name) {
        Some(Word::Of(split)) => Some(split),
        Some(Word::Evaluation) => Some(Split::Val),
        Some(Word::TrainAndVal) => Some(Split::Train),
        None => None,
    }
}

/// Resolves words together: `eval` means test if there is another word for validation. Numbers are understood if 0, 1
/// and 2 all occur (train, val, test), as in WILDS and CelebA. Unknown words are absent from the result.
pub(crate) fn meanings<'a>(words: impl Iterator<Item = &'a str>) -> HashMap<String, Split> {
    let words: BTreeSet<String> = words.map(|word| word.trim().to_owned()).collect();
    let numbers: Option<BTreeSet<u32>> = words.iter().map(|word| whole(word)).collect();
    if let Some(numbers) = numbers {
        let is_clear = numbers.iter().copied().eq(0..3);
        let split = |word: &String| Some((word.clone(), Split::ALL[whole(word)? as usize]));
        return if is_clear { words.iter().filter_map(split).collect() } else { HashMap::new() };
    }
    let known: Vec<(String, Word)> = words.iter().filter_map(|word| Some((word.clone(), Word::of(word)?))).collect();
    let has = |wanted: Split| known.iter().any(|(_, word)| *word == Word::Of(wanted));
    let meaning = |word: Word| match word {
        Word::Of(split) => Some(split),
        Word::Evaluation if !has(Split::Val) => Some(Split::Val),
        Word::Evaluation if !has(Split::Test) => Some(Split::Test),
        Word::Evaluation => None,
        // Ambiguous if both are named separately.
        Word::TrainAndVal if !has(Split::Train) && !has(Split::Val) => Some(Split::Train),
        Word::TrainAndVal => None,
    };
    known.iter().filter_map(|(name, word)| Some((name.clone(), meaning(*word)?))).collect()
}

/// Parses an integer, also as `1.0`.
fn whole(word: &str) -> Option<u32> {
    word.strip_suffix(".0").unwrap_or(word).parse().ok()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Of(Split),
    Evaluation,
    TrainAndVal,
}

impl Word {
    fn of(name: &str) -> Option<Word> {
        let lower = name.trim().trim_matches(['"', '\'']).to_lowercase();
        let parts = lower.split(|sign: char| !sign.is_alphanumeric());
        let parts = parts.map(|part| part.trim_end_matches(|sign: char| sign.is_ascii_digit()));
        let parts: Vec<&str> = parts.filter(|part| !part.is_empty() && !FILLERS.contains(part)).collect();
        match parts.concat().as_str() {
            "train" | "training" | "trn" | "learn" | "learning" => Some(Word::Of(Split::Train)),
            "val" | "valid" | "validation" | "validate" | "validating" | "dev" | "devel" | "development"
            | "publictest" => Some(Word::Of(Split::Val)),
            "test" | "testing" | "tst" | "holdout" | "heldout" | "privatetest" => Some(Word::Of(Split::Test)),
            "eval" | "evaluation" | "evaluate" => Some(Word::Evaluation),
            "trainval" | "trainvalid" | "trainvalidation" => Some(Word::TrainAndVal),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_many_hands_mean_splits() {
        for (word, split) in [
            ("Training", Split::Train),
            ("TEST ", Split::Test),
            ("train2017", Split::Train),
            ("seg_test", Split::Test),
            ("training_set", Split::Train),
            ("val_images", Split::Val),
            ("dev", Split::Val),
            ("hold-out", Split::Test),
            ("'valid'", Split::Val),
        ] {
            assert_eq!(split_of(word), Some(split), "{word}");
        }
        for word in ["trainer", "contest", "", "0", "images", "value", "latest", "set", "extra", "cat"] {
            assert_eq!(split_of(word), None, "{word}");
        }
    }

    #[test]
    fn company_decides_about_evaluation_and_numbers() {
        let meant = |words: &[&str]| {
            let meanings = meanings(words.iter().copied());
            words.iter().map(|word| meanings.get(*word).copied()).collect::<Vec<_>>()
        };
        use Split::{Test, Train, Val};
        assert_eq!(meant(&["train", "eval"]), [Some(Train), Some(Val)]);
        assert_eq!(meant(&["train", "dev", "eval"]), [Some(Train), Some(Val), Some(Test)]);
        assert_eq!(meant(&["train", "val", "test", "eval"]), [Some(Train), Some(Val), Some(Test), None]);
        assert_eq!(meant(&["0", "1", "2"]), [Some(Train), Some(Val), Some(Test)]);
        assert_eq!(meant(&["0", "1"]), [None, None]);
        assert_eq!(meant(&["0", "1", "2", "3", "4"]), [None; 5]);
        assert_eq!(meant(&["train", "0"]), [Some(Train), None]);
        assert_eq!(meant(&["trainval", "test"]), [Some(Train), Some(Test)]);
        assert_eq!(meant(&["Training", "PublicTest", "PrivateTest"]), [Some(Train), Some(Val), Some(Test)]);
    }
}
