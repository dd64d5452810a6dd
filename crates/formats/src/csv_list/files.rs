//! Resolves a table's paths, also from another folder or machine, or without an ending.

use crate::names::{name_of, natural, path_of_text, path_text, slashed, stem_of};
use crate::tree::{Item, named_as_image, special};
use std::cell::OnceCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Maximum number of files indexed below a table's folder.
const MAX_FILES: usize = 1_000_000;

/// The files a table may name.
pub(crate) struct Files<'a> {
    /// The folder of the table.
    base: PathBuf,
    /// That folder relative to the tree's root; paths must stay inside the tree.
    below: Option<String>,
    known: Known<'a>,
}

enum Known<'a> {
    /// The files below the table's folder, indexed on demand.
    Disk(Box<OnceCell<Index<'static>>>),
    Tree(&'a Index<'a>),
}

/// A resolved path.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Lookup {
    Found(Item),
    /// No file, and why.
    Not(String),
}

impl<'a> Files<'a> {
    /// For a standalone table: files relative to it, or anywhere on this machine.
    pub(crate) fn on_disk(base: &Path) -> Files<'static> {
        Files { base: base.to_owned(), below: None, known: Known::Disk(Box::default()) }
    }

    /// For a table inside a tree: the tree's images.
    pub(crate) fn of_tree(base: &Path, below: &str, index: &'a Index<'a>) -> Files<'a> {
        Files { base: base.to_owned(), below: Some(below.to_owned()), known: Known::Tree(index) }
    }

    /// Resolves a path of the table.
    pub(crate) fn find(&self, written: &str) -> Lookup {
        let path = normalized(written);
        match self.exact(&path) {
            Some(found) => found,
            None => self.index().find(&path, self.below.as_deref().unwrap_or_default()),
        }
    }

    /// The file at exactly this path.
    pub(crate) fn exact(&self, path: &Normalized) -> Option<Lookup> {
        if let (Some(below), Known::Tree(index)) = (&self.below, &self.known) {
            if path.is_absolute {
                return None;
            }
            let joined = if below.is_empty() { path.text.clone() } else { format!("{below}/{}", path.text) };
            let inside = normalized(&joined);
            let item = index.at(&inside.text).or_else(|| index.at(&path.text))?;
            return Some(Lookup::Found(item.clone()));
        }
        // It may be escaped, as [`path_of_text`] expects.
        let file = [PathBuf::from(&path.text), path_of_text(&path.text)].map(|path| self.base.join(path));
        let (file, facts) = file.into_iter().find_map(|file| Some((file.clone(), std::fs::metadata(&file).ok()?)))?;
        if let Some(what) = special(facts.file_type()) {
            return Some(Lookup::Not(what));
        }
        facts.is_file().then(|| {
            let below = file.strip_prefix(&self.base).unwrap_or(&file);
            Lookup::Found(Item { path: path_text(below), file: file.clone() })
        })
    }

    fn index(&self) -> &Index<'_> {
        match &self.known {
            Known::Tree(index) => index,
            Known::Disk(index) => index.get_or_init(|| Index::of(names_below(&self.base))),
        }
    }
}

/// Names of the files below a folder; none is opened.
fn names_below(base: &Path) -> Vec<Item> {
    let visible = |entry: &walkdir::DirEntry| {
        entry.depth() == 0 || !entry.file_name().to_string_lossy().starts_with(['.', '$', '@', '#'])
    };
    let found = walkdir::WalkDir::new(base).into_iter().filter_entry(visible).filter_map(Result::ok);
    found
        .filter(|entry| entry.file_type().is_file())
        .take(MAX_FILES)
        .map(|entry| Item {
            path: slashed(entry.path().strip_prefix(base).unwrap_or(entry.path())),
            file: entry.path().to_owned(),
        })
        .collect()
}

/// Files by lower-case path, name and stem.
pub(crate) struct Index<'a> {
    items: std::borrow::Cow<'a, [Item]>,
    by_path: HashMap<String, usize>,
    by_name: HashMap<String, Vec<usize>>,
    by_stem: HashMap<String, Vec<usize>>,
}

impl Index<'static> {
    fn of(items: Vec<Item>) -> Index<'static> {
        Index::new(std::borrow::Cow::Owned(items))
    }
}

impl<'a> Index<'a> {
    pub(crate) fn of_slice(items: &'a [Item]) -> Index<'a> {
        Index::new(std::borrow::Cow::Borrowed(items))
    }

    fn new(items: std::borrow::Cow<'a, [Item]>) -> Index<'a> {
        let (mut by_path, mut by_name, mut by_stem) = (HashMap::new(), HashMap::new(), HashMap::new());
        for (place, item) in items.iter().enumerate() {
            let name = name_of(&item.path).to_lowercase();
            by_path.insert(item.path.clone(), place);
            by_stem.entry(stem_of(&name).to_owned()).or_insert_with(Vec::new).push(place);
            by_name.entry(name).or_insert_with(Vec::new).push(place);
        }
        Index { items, by_path, by_name, by_stem }
    }

    fn at(&self, path: &str) -> Option<&Item> {
        self.by_path.get(path).map(|place| &self.items[*place])
    }

    /// The only file with the longest common path ending; those in `below` are preferred.
    fn find(&self, path: &Normalized, below: &str) -> Lookup {
        let not = |why: &str| Lookup::Not(why.to_owned());
        let name = name_of(&path.text).to_lowercase();
        let same_name = self.by_name.get(&name).map(Vec::as_slice).unwrap_or_default();
        let same_stem = || self.by_stem.get(&name).map(Vec::as_slice).unwrap_or_default();
        let named = if same_name.is_empty() && !named_as_image(Path::new(&name)) { same_stem() } else { same_name };
        let ranked = named.iter().filter_map(|place| {
            let item = &self.items[*place];
            let rank = rank(path, &item.path)?;
            let is_below = item.path.strip_prefix(below).is_some_and(|rest| below.is_empty() || rest.starts_with('/'));
            Some(((rank, is_below), item))
        });
        let mut ranked: Vec<((usize, bool), &Item)> = ranked.collect();
        ranked.sort_by(|(a, left), (b, right)| b.cmp(a).then_with(|| natural(&left.path, &right.path)));
        match ranked.as_slice() {
            [] => not("there is no such file"),
            [(first, left), (second, right), ..] if first == second => {
                not(&format!("it is not clear which file is meant: {} and {} are named so", left.path, right.path))
            }
            [(_, item), ..] => Lookup::Found((*item).clone()),
        }
    }
}

/// Number of common trailing parts; `None` if a relative path means another file.
fn rank(path: &Normalized, candidate: &str) -> Option<usize> {
    let parts = |path: &str| path.split('/').rev().skip(1).map(str::to_lowercase).collect::<Vec<_>>();
    let (own, other) = (parts(&path.text), parts(candidate));
    let common = own.iter().zip(&other).take_while(|(a, b)| a == b).count();
    // One must end with the other; an absolute path may begin as on another machine.
    (path.is_absolute || common == own.len() || common == other.len()).then_some(common)
}

/// A path with forward slashes, without `.` and `..`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Normalized {
    pub(crate) text: String,
    /// Absolute on this or another machine.
    is_absolute: bool,
}

pub(crate) fn normalized(written: &str) -> Normalized {
    let mut text = written.trim().replace('\\', "/");
    // Label Studio's local files.
    if let Some((_, file)) = text.split_once("?d=") {
        text = file.to_owned();
    }
    let is_address = text.split_once("://").is_some_and(|(scheme, _)| scheme.chars().all(char::is_alphanumeric));
    if is_address {
        let end = text.find(['?', '#']).unwrap_or(text.len());
        text.truncate(end);
    }
    let has_drive = matches!(text.as_bytes(), [drive, b':', b'/', ..] if drive.is_ascii_alphabetic());
    let is_rooted = text.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if is_rooted => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    Normalized {
        text: if is_rooted { format!("/{joined}") } else { joined },
        is_absolute: is_rooted || has_drive || is_address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(paths: &[&str]) -> Vec<Item> {
        paths.iter().map(|path| Item { file: PathBuf::from(path), path: (*path).to_owned() }).collect()
    }

    fn found(paths: &[&str], below: &str, written: &str) -> Result<String, String> {
        let items = items(paths);
        let index = Index::of_slice(&items);
        match Files::of_tree(Path::new("."), below, &index).find(written) {
            Lookup::Found(item) => Ok(item.path),
            Lookup::Not(why) => Err(why),
        }
    }

    #[test]
    fn spellings_of_one_path_are_one() {
        for written in ["img/a.jpg", "./img/a.jpg", "img//a.jpg", "img/../img/a.jpg", "img\\a.jpg", ".\\img\\.\\a.jpg"]
        {
            assert_eq!(normalized(written), Normalized { text: "img/a.jpg".into(), is_absolute: false }, "{written}");
        }
        assert_eq!(normalized("../x/a.jpg").text, "../x/a.jpg");
        assert!(normalized("C:\\data\\a.jpg").is_absolute && normalized("/data/a.jpg").is_absolute);
    }

    #[test]
    fn paths_of_other_machines_are_matched_by_their_ends_where_that_is_clear() {
        let paths = ["train/cat/1.jpg", "train/dog/1.jpg", "train/dog/2.jpg"];
        let find = |written: &str| found(&paths, "", written);
        assert_eq!(find("C:\\Users\\ann\\pets\\train\\dog\\1.jpg").as_deref(), Ok("train/dog/1.jpg"));
        assert_eq!(find("/home/ann/cat/1.jpg").as_deref(), Ok("train/cat/1.jpg"));
        assert_eq!(find("s3://bucket/pets/dog/2.jpg").as_deref(), Ok("train/dog/2.jpg"));
        assert_eq!(find("2.jpg").as_deref(), Ok("train/dog/2.jpg"));
        assert_eq!(find("dog/2").as_deref(), Ok("train/dog/2.jpg"));
        assert_eq!(find("TRAIN/DOG/2.JPG").as_deref(), Ok("train/dog/2.jpg"));
        assert!(find("/home/ann/1.jpg").unwrap_err().contains("not clear"));
        assert!(find("1.jpg").unwrap_err().contains("train/cat/1.jpg and train/dog/1.jpg"));
        assert!(find("cat/2.jpg").unwrap_err().contains("no such file"));
        assert!(find("3.jpg").is_err());
    }

    #[test]
    fn what_lies_beside_the_table_is_meant_first() {
        let paths = ["train/images/1.jpg", "val/images/1.jpg"];
        assert_eq!(found(&paths, "val", "1.jpg").as_deref(), Ok("val/images/1.jpg"));
        assert_eq!(found(&paths, "val", "images/1.jpg").as_deref(), Ok("val/images/1.jpg"));
        assert_eq!(found(&paths, "val", "train/images/1.jpg").as_deref(), Ok("train/images/1.jpg"));
        assert!(found(&paths, "", "../../etc/passwd").is_err());
    }
}
