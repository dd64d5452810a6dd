//! Resolves a table's paths, also from another folder or machine, or without an ending.
//!
//! All paths of a table begin at one place. So its rows are resolved together: where some name their files by whole
//! paths, the file of a row that does not is gone, and another file of its name is not taken instead.

use super::index::{Index, Names, first_parts, parts_in, reversed};
use crate::names::{name_of, natural, path_of_text, path_text, slashed};
use crate::tree::{self, Item, special};
use std::borrow::Cow;
use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Maximum number of files indexed below a table's folder.
const MAX_FILES: usize = 1_000_000;

const NO_FILE: &str = "there is no such file";
const FOLDER: &str = "it is a folder, not a file";

/// The files a table may name.
pub(crate) struct Files<'a> {
    /// The folder of the table.
    base: PathBuf,
    /// The same folder with links resolved, if it exists.
    real_base: Option<PathBuf>,
    /// The same folder relative to the tree's root.
    below: String,
    known: Known<'a>,
    /// The file chosen among those of a range of the index, since many rows may mean the same range.
    choices: RefCell<HashMap<(Names, Range<usize>), Choice>>,
}

enum Known<'a> {
    /// The files below the table's folder, indexed on demand.
    Disk(Box<OnceCell<Index<'static>>>),
    /// Those of a tree, whose paths must stay inside; with its root, if known.
    Tree(&'a Index<'a>, Option<String>),
}

#[derive(Clone, Copy, Debug)]
enum Choice {
    Nothing,
    One(usize),
    Unclear(usize, usize),
}

/// A resolved path.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Lookup<'f> {
    Found(Match<'f>),
    /// No file, and why.
    Not(String),
}

/// The file that a path means.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Match<'f> {
    pub(crate) item: Cow<'f, Item>,
    evidence: Evidence,
    /// The number of parts that the end of the path has in common with the file's.
    common: usize,
}

/// How a path names its file, weakest first. All rows of a table do it alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Evidence {
    /// They end alike.
    End,
    /// The path ends with the file's whole path, folders included: its beginning is of another machine or folder.
    Whole,
    /// It begins at the tree's root.
    FromRoot,
    /// It begins at the table, or is absolute.
    Exact,
}

impl<'a> Files<'a> {
    /// For a standalone table: files relative to it, or anywhere on this machine.
    pub(crate) fn on_disk(base: &Path) -> Files<'static> {
        // A bare file name has an empty parent.
        let real_base = if base.as_os_str().is_empty() { Path::new(".") } else { base }.canonicalize().ok();
        let known = Known::Disk(Box::default());
        Files { base: base.to_owned(), real_base, below: String::new(), known, choices: RefCell::default() }
    }

    /// For a table inside a tree: the tree's images.
    pub(crate) fn of_tree(base: &Path, below: &str, index: &'a Index<'a>) -> Files<'a> {
        let depth = below.split('/').filter(|part| !part.is_empty()).count();
        let root = base.ancestors().nth(depth).filter(|root| root.is_absolute());
        let known = Known::Tree(index, root.map(|root| without_dots(&path_text(root))));
        Files { base: base.to_owned(), real_base: None, below: below.to_owned(), known, choices: RefCell::default() }
    }

    /// The same for all paths of one file, also through links; in a tree, its path.
    pub(crate) fn key(&self, item: &Item) -> String {
        match &self.known {
            Known::Tree(..) => item.path.clone(),
            Known::Disk(_) => item.file.canonicalize().map_or_else(|_| item.path.clone(), |file| path_text(&file)),
        }
    }

    /// Resolves the paths of a whole table.
    pub(crate) fn resolve<'t>(&self, written: impl Iterator<Item = &'t str>) -> Vec<Lookup<'_>> {
        let found: Vec<Lookup<'_>> = written.map(|path| self.find(path)).collect();
        let refused = refusals(&found);
        found.into_iter().zip(refused).map(|(lookup, why)| why.map_or(lookup, Lookup::Not)).collect()
    }

    /// Resolves one path by itself.
    pub(crate) fn find(&self, written: &str) -> Lookup<'_> {
        let usual = Spelling::usual(written);
        // Elsewhere no file has a backslash or a question mark in its name.
        let literal = Some(Spelling::literal(written)).filter(|literal| cfg!(unix) && *literal != usual);
        // By its end, the path as written can only mean another file if it has another name.
        let of_other_name = literal.as_ref().filter(|literal| name_of(&literal.text) != name_of(&usual.text));
        if usual.text.is_empty() {
            return Lookup::Not(NO_FILE.to_owned());
        }
        let found = literal.iter().chain([&usual]).find_map(|path| self.exact(path));
        let found = found.or_else(|| literal.iter().chain([&usual]).find_map(|path| self.in_another_case(path)));
        let found = found.or_else(|| of_other_name.into_iter().chain([&usual]).find_map(|path| self.by_end(path)));
        found.unwrap_or_else(|| match with_percents_decoded(written) {
            Some(decoded) => self.find(&decoded),
            None if self.base.join(&usual.text).is_dir() => Lookup::Not(FOLDER.to_owned()),
            None => Lookup::Not(NO_FILE.to_owned()),
        })
    }

    /// The file at exactly this path.
    fn exact(&self, path: &Spelling) -> Option<Lookup<'_>> {
        match &self.known {
            Known::Disk(_) => self.on_this_machine(path),
            Known::Tree(index, root) if path.is_absolute => {
                let inside = path.text.strip_prefix(root.as_deref()?)?.strip_prefix('/')?;
                index.at(inside).map(|item| Lookup::whole(item, Evidence::Exact))
            }
            Known::Tree(index, _) => {
                let beside = index.at(&self.in_tree(path)).map(|item| Lookup::whole(item, Evidence::Exact));
                beside.or_else(|| index.at(&path.text).map(|item| Lookup::whole(item, Evidence::FromRoot)))
            }
        }
    }

    fn on_this_machine(&self, path: &Spelling) -> Option<Lookup<'_>> {
        // It may be escaped, as [`path_of_text`] expects.
        let (plain, escaped) = (PathBuf::from(&path.text), path_of_text(&path.text));
        let escaped = Some(escaped).filter(|escaped| *escaped != plain);
        let facts = |below: PathBuf| {
            let file = self.base.join(below);
            let facts = std::fs::metadata(&file).ok()?;
            Some((file, facts))
        };
        let (file, facts) = [plain].into_iter().chain(escaped).find_map(facts)?;
        if let Some(what) = special(facts.file_type()) {
            return Some(Lookup::Not(what));
        }
        facts.is_file().then(|| {
            let text = path_text(file.strip_prefix(&self.base).unwrap_or(&file));
            let text = self.below_real_base(&text).unwrap_or(text);
            let common = text.split('/').count();
            Lookup::Found(Match { item: Cow::Owned(Item { path: text, file }), evidence: Evidence::Exact, common })
        })
    }

    /// A path that leaves the table's folder and comes back, or is absolute, as one below that folder.
    fn below_real_base(&self, text: &str) -> Option<String> {
        if !(text.starts_with("../") || text.starts_with('/')) {
            return None;
        }
        let base = path_text(self.real_base.as_deref()?);
        let whole = if text.starts_with('/') { text.to_owned() } else { without_dots(&format!("{base}/{text}")) };
        let below = whole.strip_prefix(&base)?.strip_prefix('/')?;
        // `..` behind a link leads elsewhere.
        let real = |path: PathBuf| path.canonicalize().ok();
        let (one, other) = (real(path_of_text(&whole))?, real(self.base.join(path_of_text(text)))?);
        (one == other).then(|| below.to_owned())
    }

    /// The file at this path but for upper and lower case, or for a missing ending.
    fn in_another_case(&self, path: &Spelling) -> Option<Lookup<'_>> {
        if path.is_absolute {
            return None;
        }
        let names = self.index().names_for(&path.text);
        let from = [(self.in_tree(path), Evidence::Exact), (path.text.clone(), Evidence::FromRoot)];
        from.into_iter().find_map(|(path, evidence)| {
            let key = reversed(&path);
            self.only_one(names, self.index().ends(names).equal_to(&key), evidence, parts_in(&key))
        })
    }

    /// The only file whose path ends most like this one.
    fn by_end(&self, path: &Spelling) -> Option<Lookup<'_>> {
        let names = self.index().names_for(&path.text);
        let ends = self.index().ends(names);
        let key = reversed(&path.text);
        let (common, parts) = (ends.common_parts(&key), parts_in(&key));
        if common == 0 {
            return None;
        }
        if common == parts || (path.is_absolute && common > 1) {
            return self.only_one(names, ends.starting_with(first_parts(&key, common)), Evidence::End, common);
        }
        // Otherwise their folders differ, unless all of the file's path is in this one.
        (1..=common)
            .rev()
            .find_map(|count| self.only_one(names, ends.equal_to(first_parts(&key, count)), Evidence::End, count))
    }

    /// The only file of these keys, or that they are unclear; `None` if there is none.
    fn only_one(&self, names: Names, keys: Range<usize>, evidence: Evidence, common: usize) -> Option<Lookup<'_>> {
        let index = self.index();
        match self.choice(names, keys) {
            Choice::Nothing => None,
            Choice::One(place) => {
                let item = index.item(place);
                let is_whole = common > 1 && item.path.split('/').count() == common;
                let evidence = if is_whole { evidence.max(Evidence::Whole) } else { evidence };
                Some(Lookup::Found(Match { item: Cow::Borrowed(item), evidence, common }))
            }
            Choice::Unclear(one, other) => {
                let mut paths = [one, other].map(|place| index.item(place).path.as_str());
                paths.sort_by(|a, b| natural(a, b));
                let [one, other] = paths;
                Some(Lookup::Not(format!("it is not clear which file is meant: {one} and {other} are named so")))
            }
        }
    }

    /// The only file of these keys; those beside the table are preferred.
    fn choice(&self, names: Names, keys: Range<usize>) -> Choice {
        let known = self.choices.borrow().get(&(names, keys.clone())).copied();
        if let Some(choice) = known {
            return choice;
        }
        let index = self.index();
        let is_below = |path: &str| {
            self.below.is_empty() || path.strip_prefix(self.below.as_str()).is_some_and(|rest| rest.starts_with('/'))
        };
        let places = || index.ends(names).places(keys.clone());
        let mut below = places().filter(|place| is_below(&index.item(*place).path));
        let mut all = places();
        let choice = match (below.next(), below.next()) {
            (Some(one), None) => Choice::One(one),
            (Some(one), Some(other)) => Choice::Unclear(one, other),
            (None, _) => match (all.next(), all.next()) {
                (None, _) => Choice::Nothing,
                (Some(one), None) => Choice::One(one),
                (Some(one), Some(other)) => Choice::Unclear(one, other),
            },
        };
        self.choices.borrow_mut().insert((names, keys), choice);
        choice
    }

    /// A relative path, from the tree's root on.
    fn in_tree(&self, path: &Spelling) -> String {
        let from_root = match self.below.as_str() {
            "" => path.text.clone(),
            below => without_dots(&format!("{below}/{}", path.text)),
        };
        match &self.known {
            // Out of the tree and in again.
            Known::Tree(_, Some(root)) if from_root.starts_with("../") => {
                let whole = without_dots(&format!("{root}/{from_root}"));
                let inside = whole.strip_prefix(root.as_str()).and_then(|rest| rest.strip_prefix('/'));
                inside.map(str::to_owned).unwrap_or(from_root)
            }
            _ => from_root,
        }
    }

    fn index(&self) -> &Index<'_> {
        match &self.known {
            Known::Tree(index, _) => index,
            Known::Disk(index) => index.get_or_init(|| Index::of(names_below(&self.base))),
        }
    }
}

impl<'f> Lookup<'f> {
    /// A file named by its whole path.
    fn whole(item: &'f Item, evidence: Evidence) -> Lookup<'f> {
        Lookup::Found(Match { item: Cow::Borrowed(item), evidence, common: item.path.split('/').count() })
    }

    fn as_match(&self) -> Option<&Match<'f>> {
        match self {
            Lookup::Found(own) => Some(own),
            Lookup::Not(_) => None,
        }
    }
}

/// Why the file found for a row is not its own, where other rows of the table are better evidence.
fn refusals(found: &[Lookup<'_>]) -> Vec<Option<String>> {
    let matches = || found.iter().filter_map(Lookup::as_match);
    let strongest = matches().map(|own| own.evidence).max();
    let mut most_in_common: HashMap<&str, usize> = HashMap::new();
    for own in matches() {
        let most = most_in_common.entry(own.item.path.as_str()).or_default();
        *most = own.common.max(*most);
    }
    let why = |lookup: &Lookup<'_>| {
        let own = lookup.as_match()?;
        let path = own.item.path.as_str();
        if Some(own.evidence) < strongest {
            return Some(format!("{NO_FILE}; {path} ends alike, but other lines give whole paths"));
        }
        let is_meant_by_another =
            own.evidence == Evidence::End && most_in_common.get(path).is_some_and(|most| own.common < *most);
        is_meant_by_another.then(|| format!("{NO_FILE}; {path} ends alike, but another line names it more fully"))
    };
    found.iter().map(why).collect()
}

/// Names of the files below a folder; none is opened.
fn names_below(base: &Path) -> Vec<Item> {
    let is_visible = |entry: &walkdir::DirEntry| {
        entry.depth() == 0 || !tree::is_passed_over(&entry.file_name().to_string_lossy(), entry.file_type())
    };
    let found = walkdir::WalkDir::new(base).into_iter().filter_entry(is_visible).filter_map(Result::ok);
    found
        .filter(|entry| entry.file_type().is_file())
        .take(MAX_FILES)
        .map(|entry| Item {
            path: slashed(entry.path().strip_prefix(base).unwrap_or(entry.path())),
            file: entry.path().to_owned(),
        })
        .collect()
}

/// A path with forward slashes, without `.` and `..`.
#[derive(Clone, Debug, PartialEq)]
struct Spelling {
    text: String,
    /// Absolute on this or another machine.
    is_absolute: bool,
}

impl Spelling {
    /// The path of a file whose name has backslashes, question marks or blanks at its ends.
    fn literal(written: &str) -> Spelling {
        Spelling { text: without_dots(written), is_absolute: written.starts_with('/') }
    }

    /// The path as other systems and programs mean it.
    fn usual(written: &str) -> Spelling {
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
        Spelling { is_absolute: text.starts_with('/') || has_drive || is_address, text: without_dots(&text) }
    }
}

/// A path whose `%20` and the like are decoded, as in addresses; `None` if there are none.
fn with_percents_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    let mut is_encoded = false;
    while let Some((first, behind)) = rest.split_first() {
        let digits = (*first == b'%').then(|| behind.get(..2)).flatten();
        let byte = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit)).and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 16).ok()
        });
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &behind[2..] } else { behind };
        is_encoded |= byte.is_some();
    }
    // A NUL is in no path, and bytes that are not UTF-8 were not encoded for an address.
    String::from_utf8(bytes).ok().filter(|text| is_encoded && !text.contains('\0'))
}

fn without_dots(path: &str) -> String {
    let is_rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
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
    if is_rooted { format!("/{joined}") } else { joined }
}

#[cfg(test)]
mod tests;
