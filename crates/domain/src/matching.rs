//! Matches files of a source to samples of a dataset: by contents, copies one to one, then by path.
//!
//! A label belongs to contents, so a sample follows its contents to any path. A file with other contents at a sample's
//! path takes the sample over only if the old contents are gone from the source: an edit in place.

use std::collections::{HashMap, HashSet, VecDeque};

/// A sample of the dataset.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Path relative to the source.
    pub path: &'a str,
    /// The hash of its contents.
    pub hash: &'a str,
    /// The hash of the labelled contents, if it differs.
    pub labelled_hash: Option<&'a str>,
    /// Whether it was missing before.
    pub is_missing: bool,
}

/// A file of the source.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// Path relative to the source.
    pub path: &'a str,
    /// The hash of its contents.
    pub hash: &'a str,
}

/// Kinds of a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// The same contents at the same path.
    Same,
    /// The same contents at another path.
    Moved,
    /// The labelled contents again, after others had replaced them.
    Returned,
    /// Other contents at the same path; the old ones are gone from the source.
    Edited,
}

/// The contents that a sample is looked for by.
type HashOf = for<'a> fn(&Known<'a>) -> Option<&'a str>;

/// For each file, the index of its sample and how they match; `None` for a new sample. Unmatched samples are missing.
///
/// Ties are broken by input order.
pub fn match_files(known: &[Known<'_>], found: &[Found<'_>]) -> Vec<Option<(usize, Match)>> {
    let mut matched: Vec<Option<(usize, Match)>> = vec![None; found.len()];
    let mut is_free = vec![true; known.len()];
    // Present samples first, wherever their file went: a missing one returns only if a file is left for it.
    let (missing, present): (Vec<usize>, Vec<usize>) = (0..known.len()).partition(|index| known[*index].is_missing);
    let hash: HashOf = |sample| Some(sample.hash);
    let labelled_hash: HashOf = |sample| sample.labelled_hash;
    for order in [present, missing] {
        let mut by_place: HashMap<(&str, &str), usize> = HashMap::new();
        for &index in &order {
            by_place.entry((known[index].path, known[index].hash)).or_insert(index);
        }
        for (file, place) in found.iter().zip(&mut matched).filter(|(_, place)| place.is_none()) {
            if let Some(&index) = by_place.get(&(file.path, file.hash))
                && std::mem::take(&mut is_free[index])
            {
                *place = Some((index, Match::Same));
            }
        }
        for (kind, hash_of) in [(Match::Moved, hash), (Match::Returned, labelled_hash)] {
            let mut waiting: HashMap<&str, VecDeque<usize>> = HashMap::new();
            for &index in order.iter().filter(|index| is_free[**index]) {
                if let Some(hash) = hash_of(&known[index]) {
                    waiting.entry(hash).or_default().push_back(index);
                }
            }
            for (file, place) in found.iter().zip(&mut matched).filter(|(_, place)| place.is_none()) {
                if let Some(index) = waiting.get_mut(file.hash).and_then(|samples| samples.pop_front()) {
                    is_free[index] = false;
                    *place = Some((index, kind));
                }
            }
        }
    }

    let hashes: HashSet<&str> = found.iter().map(|file| file.hash).collect();
    let edited = |index: &usize| is_free[*index] && !known[*index].is_missing && !hashes.contains(known[*index].hash);
    let by_path: HashMap<&str, usize> =
        (0..known.len()).filter(edited).map(|index| (known[index].path, index)).collect();
    for (file, place) in found.iter().zip(&mut matched).filter(|(_, place)| place.is_none()) {
        if let Some(&index) = by_path.get(file.path) {
            let kind = if known[index].labelled_hash == Some(file.hash) { Match::Returned } else { Match::Edited };
            *place = Some((index, kind));
        }
    }
    matched
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known<'a>(samples: &[(&'a str, &'a str)]) -> Vec<Known<'a>> {
        samples.iter().map(|&(path, hash)| Known { path, hash, labelled_hash: None, is_missing: false }).collect()
    }

    /// For each file of `found`, its sample and kind of match.
    fn matches(known: &[Known<'_>], found: &[(&str, &str)]) -> Vec<Option<(usize, Match)>> {
        let found: Vec<Found<'_>> = found.iter().map(|&(path, hash)| Found { path, hash }).collect();
        match_files(known, &found)
    }

    #[test]
    fn a_renumbering_moves_every_sample_with_its_contents() {
        let samples = known(&[("1", "a"), ("2", "b"), ("3", "c")]);
        assert_eq!(
            matches(&samples, &[("1", "new"), ("2", "a"), ("3", "b"), ("4", "c")]),
            [None, Some((0, Match::Moved)), Some((1, Match::Moved)), Some((2, Match::Moved))]
        );
        assert_eq!(matches(&samples, &[("1", "b"), ("2", "a")]), [Some((1, Match::Moved)), Some((0, Match::Moved))]);
    }

    #[test]
    fn copies_are_matched_one_to_one_and_one_more_is_new() {
        let samples = known(&[("1", "a"), ("2", "a"), ("3", "b")]);
        assert_eq!(
            matches(&samples, &[("2", "a"), ("5", "a"), ("6", "a"), ("3", "b")]),
            [Some((1, Match::Same)), Some((0, Match::Moved)), None, Some((2, Match::Same))]
        );
    }

    #[test]
    fn only_where_the_old_contents_are_gone_is_a_file_edited_in_place() {
        let samples = known(&[("1", "a"), ("2", "a"), ("3", "b")]);
        // The contents of 2 are still at 1, those of 3 are nowhere.
        assert_eq!(
            matches(&samples, &[("1", "a"), ("2", "x"), ("3", "y")]),
            [Some((0, Match::Same)), None, Some((2, Match::Edited))]
        );
    }

    #[test]
    fn a_missing_sample_comes_back_by_its_contents_alone() {
        let mut samples = known(&[("1", "a"), ("2", "b")]);
        samples[0].is_missing = true;
        assert_eq!(matches(&samples, &[("1", "x"), ("2", "b")]), [None, Some((1, Match::Same))]);
        assert_eq!(matches(&samples, &[("9", "a"), ("2", "b")])[0], Some((0, Match::Moved)));
    }

    #[test]
    fn a_missing_copy_takes_no_file_from_a_present_sample_that_was_renamed_to_its_path() {
        let mut samples = known(&[("2", "a"), ("3", "a")]);
        samples[0].is_missing = true;
        assert_eq!(matches(&samples, &[("2", "a")]), [Some((1, Match::Moved))]);
        assert_eq!(
            matches(&samples, &[("2", "a"), ("3", "a")]),
            [Some((0, Match::Same)), Some((1, Match::Same))],
            "both come back"
        );
    }

    #[test]
    fn contents_that_a_label_was_set_for_find_it_again() {
        let mut samples = known(&[("1", "edited")]);
        samples[0].labelled_hash = Some("a");
        for path in ["1", "2"] {
            assert_eq!(matches(&samples, &[(path, "a")]), [Some((0, Match::Returned))], "{path}");
        }
        let both = [("1", "edited"), ("2", "a")];
        assert_eq!(matches(&samples, &both), [Some((0, Match::Same)), None], "what is there stays");
    }
}
