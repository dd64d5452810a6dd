//! Finds files by their whole paths, or by the ends of their paths.

use crate::names::{name_of, stem_of};
use crate::tree::{Item, named_as_image};
use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

/// Files by path, and by the end of their path in any case.
pub(crate) struct Index<'a> {
    items: Cow<'a, [Item]>,
    by_path: HashMap<String, usize>,
    by_name: OnceCell<Ends>,
    by_stem: OnceCell<Ends>,
}

/// Which part of the names of files is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Names {
    Whole,
    WithoutEnding,
}

impl Index<'static> {
    pub(super) fn of(items: Vec<Item>) -> Index<'static> {
        Index::new(Cow::Owned(items))
    }
}

impl<'a> Index<'a> {
    pub(crate) fn of_slice(items: &'a [Item]) -> Index<'a> {
        Index::new(Cow::Borrowed(items))
    }

    fn new(items: Cow<'a, [Item]>) -> Index<'a> {
        let by_path = items.iter().enumerate().map(|(place, item)| (item.path.clone(), place)).collect();
        Index { items, by_path, by_name: OnceCell::new(), by_stem: OnceCell::new() }
    }

    /// The file at exactly this path.
    pub(super) fn at(&self, path: &str) -> Option<&Item> {
        self.by_path.get(path).map(|place| &self.items[*place])
    }

    pub(super) fn item(&self, place: usize) -> &Item {
        &self.items[place]
    }

    /// How the name of this path is compared: without its ending only if no file has the whole name.
    pub(super) fn names_for(&self, path: &str) -> Names {
        let name = name_of(path);
        let is_known = || !self.ends(Names::Whole).starting_with(&reversed(name)).is_empty();
        if named_as_image(Path::new(name)) || is_known() { Names::Whole } else { Names::WithoutEnding }
    }

    pub(super) fn ends(&self, names: Names) -> &Ends {
        match names {
            Names::Whole => self.by_name.get_or_init(|| Ends::new(&self.items, |path| path)),
            Names::WithoutEnding => self.by_stem.get_or_init(|| Ends::new(&self.items, without_ending)),
        }
    }
}

/// Files sorted by the [`reversed`] form of their path, so that those whose paths end alike are neighbours.
pub(super) struct Ends {
    /// The reversed path, and the file's position in the index.
    keys: Vec<(String, usize)>,
}

impl Ends {
    fn new(items: &[Item], compared: fn(&str) -> &str) -> Ends {
        let key = |(place, item): (usize, &Item)| (reversed(compared(&item.path)), place);
        let mut keys: Vec<(String, usize)> = items.iter().enumerate().map(key).collect();
        keys.sort_unstable();
        Ends { keys }
    }

    /// The files of these keys, as positions in the index.
    pub(super) fn places(&self, range: Range<usize>) -> impl Iterator<Item = usize> {
        self.keys[range].iter().map(|(_, place)| *place)
    }

    /// The keys that begin with this.
    pub(super) fn starting_with(&self, start: &str) -> Range<usize> {
        let from = self.first_from(start);
        from..from + self.keys[from..].partition_point(|(key, _)| key.starts_with(start))
    }

    /// The keys that are this: several if paths differ in case only.
    pub(super) fn equal_to(&self, own: &str) -> Range<usize> {
        let from = self.first_from(own);
        from..from + self.keys[from..].partition_point(|(key, _)| key == own)
    }

    /// The largest number of leading parts that any key has in common with this one.
    pub(super) fn common_parts(&self, own: &str) -> usize {
        let common = |(key, _): &(String, usize)| {
            own.bytes().zip(key.bytes()).take_while(|(a, b)| a == b).filter(|(a, _)| *a == b'/').count()
        };
        // In sorted order the most similar keys are the neighbours.
        let at = self.first_from(own);
        let neighbours = [at.checked_sub(1).and_then(|before| self.keys.get(before)), self.keys.get(at)];
        neighbours.into_iter().flatten().map(common).max().unwrap_or(0)
    }

    fn first_from(&self, own: &str) -> usize {
        self.keys.partition_point(|(key, _)| key.as_str() < own)
    }
}

/// A path in lower case from its last part to its first, each with a slash behind it: `1.jpg/dog/train/`.
pub(super) fn reversed(path: &str) -> String {
    let lower = path.to_lowercase();
    lower.rsplit('/').filter(|part| !part.is_empty()).flat_map(|part| [part, "/"]).collect()
}

/// The number of parts of a reversed path.
pub(super) fn parts_in(key: &str) -> usize {
    key.bytes().filter(|byte| *byte == b'/').count()
}

/// The first so many parts of a reversed path.
pub(super) fn first_parts(key: &str, count: usize) -> &str {
    let end = key.match_indices('/').take(count).last().map_or(0, |(slash, _)| slash + 1);
    &key[..end]
}

fn without_ending(path: &str) -> &str {
    let name = name_of(path);
    &path[..path.len() - (name.len() - stem_of(name).len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_end_alike_are_found_by_their_last_parts() {
        let paths = ["train/dog/1.jpg", "train/cat/1.jpg", "1.jpg", "train/dog/11.jpg", "a/.hidden"];
        let items: Vec<Item> = paths.iter().map(|path| Item { file: path.into(), path: (*path).to_owned() }).collect();
        let index = Index::of_slice(&items);
        let ends = index.ends(Names::Whole);
        let common = |path: &str| ends.common_parts(&reversed(path));
        assert_eq!(
            [common("x/dog/1.jpg"), common("Train/Dog/1.JPG"), common("y/1.jpg"), common("2.jpg")],
            [2, 3, 1, 0]
        );
        assert_eq!(ends.places(ends.starting_with("1.jpg/")).count(), 3);
        assert_eq!(ends.places(ends.equal_to("1.jpg/")).collect::<Vec<_>>(), [2]);
        assert_eq!((index.names_for("x/1"), index.names_for("9.png")), (Names::WithoutEnding, Names::Whole));
        let stems = index.ends(Names::WithoutEnding);
        assert_eq!(stems.common_parts("11/dog/"), 2);
        assert_eq!(index.names_for(".hidden"), Names::Whole);
        assert_eq!((first_parts("a/b/c/", 2), parts_in("a/b/c/")), ("a/b/", 3));
    }
}
