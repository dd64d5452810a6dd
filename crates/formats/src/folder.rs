//! A folder of images with classes and splits from folders, tables or both.

use crate::annotations::{self, Annotations, Kind};
use crate::csv_list::{self, Files, Index, Rows, Source, Table, TableKind, enumerated};
use crate::layout::{self, Layout, Place};
pub(crate) use crate::names::slashed;
use crate::names::{name_of, natural, stem_of};
use crate::tree::{self, Item, Tree};
use crate::{Entry, FormatError, Listing, splits};
use assay_domain::content::{Content, ImageKind};
use assay_domain::{Labelling, Split, class_name, counted};
use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;

/// Share of images a table must name to take precedence over folders.
const COVERS: f64 = 0.9;

/// Lists the images below a folder with their labels and splits.
pub(crate) fn read(root: &Path, wanted: Labelling) -> Result<Listing, FormatError> {
    std::fs::read_dir(root).map_err(|why| FormatError::Unreadable {
        what: "the folder",
        why: why.to_string(),
        path: root.to_owned(),
    })?;
    let mut tree = tree::walk(root);
    let mut found = Annotations::default();
    set_masks_aside(&mut tree, &mut found);
    let mut problems = std::mem::take(&mut tree.problems);
    let tables = tables(&tree, &mut found, &mut problems, wanted);
    let layout = Layout::new(&tree.folders, tree.images.iter().map(|item| item.path.as_str()));
    let mut places: Vec<Place> = tree.images.iter().map(|item| layout.place(&item.path)).collect();
    let mut notes = layout.notes();
    if found.are_of_objects() {
        notes.extend(without_single_folders(&mut places));
    }
    let classes = |places: &[Place]| places.iter().filter_map(|place| place.class.clone()).collect::<BTreeSet<_>>();
    let (use_of_tables, told) =
        decide(&tree, &places, &tables, Wanted { labelling: wanted, classes: classes(&places).len() });
    notes.extend(told);
    if use_of_tables == UseOfTables::Instead {
        places.iter_mut().for_each(|place| place.class = None);
    }
    let mut listing = Listing { labelling: wanted, ..Listing::default() };
    let mut contradictions = Contradictions::default();
    for (item, place) in tree.images.iter().zip(&places) {
        match entry(item, place, &Labels { tables: &tables, use_of_tables, wanted }, &mut contradictions) {
            Ok(entry) => listing.entries.push(entry),
            Err(why) => problems.push((item.path.clone(), why)),
        }
    }
    notes.extend(contradictions.note());
    problems.append(&mut contradictions.problems);
    if use_of_tables != UseOfTables::Not && tables.iter().any(|table| table.rows.has_lists) {
        listing.labelling = Labelling::AnyClasses;
    }
    listing.classes_without_images =
        layout.without_images(&classes(&places)).into_iter().map(|(name, _)| name).collect();
    if !listing.classes_without_images.is_empty() {
        notes.push(format!("no images of {}", listing.classes_without_images.join(", ")));
    }
    for table in &tables {
        notes.extend(table.rows.notes.iter().map(|note| format!("{}: {note}", table.name)));
        // Several tables may name one missing file.
        let known: HashSet<String> = problems.iter().map(|(path, _)| path.clone()).collect();
        problems.extend(table.rows.problems.iter().filter(|(path, _)| !known.contains(path)).cloned());
    }
    notes.extend(found.note());
    problems.sort_by(|(a, _), (b, _)| natural(a, b));
    listing.problems = problems;
    listing.passed_over = tree.passed_over;
    listing.note = crate::joined(notes);
    Ok(listing)
}

/// Removes masks from the images.
fn set_masks_aside(tree: &mut Tree, found: &mut Annotations) {
    if !layout::may_have_masks(&tree.folders) {
        return;
    }
    let folders = layout::folders_of_masks(tree.images.iter().map(|item| item.path.as_str()));
    if folders.is_empty() {
        return;
    }
    tree.images.retain(|item| {
        let is_mask = folders.contains(layout::above(&item.path));
        if is_mask {
            found.add(Kind::Masks);
        }
        !is_mask
    });
}

/// The places of the images at these paths in a folder of nothing else; `None` for those that are passed over.
pub(crate) fn places_of(paths: &[&str]) -> Vec<Option<Place>> {
    let seen = || paths.iter().copied().filter(|path| !tree::has_passed_over_name(path));
    let masks = layout::folders_of_masks(seen());
    let images: Vec<&str> = seen().filter(|path| !masks.contains(layout::above(path))).collect();
    let layout = Layout::new(&[], images.iter().copied());
    let mut places: Vec<Place> = images.iter().map(|path| layout.place(path)).collect();
    if !masks.is_empty() {
        without_single_folders(&mut places);
    }
    let mut places: HashMap<&str, Place> = images.into_iter().zip(places).collect();
    paths.iter().map(|path| places.remove(path)).collect()
}

/// A table that names images.
struct Labelled {
    name: String,
    rows: Rows,
}

impl Labelled {
    fn labelling(&self, wanted: Labelling) -> Labelling {
        if self.rows.has_lists { Labelling::AnyClasses } else { wanted }
    }
}

/// Why a table is not read.
enum Unread {
    Recognised(Kind),
    /// It names no image, or is not understood.
    Refused(String),
}

/// The tables, the most complete first; other files are counted or reported.
fn tables(
    tree: &Tree,
    found: &mut Annotations,
    problems: &mut Vec<(String, String)>,
    wanted: Labelling,
) -> Vec<Labelled> {
    let mut tables = Vec::new();
    if tree.others.is_empty() {
        return tables;
    }
    let images = annotations::Images::new(tree.images.iter().map(|item| item.path.as_str()));
    let index = OnceCell::new();
    for (item, head) in &tree.others {
        match table(item, head, &|| index.get_or_init(|| Index::of_slice(&tree.images)), wanted) {
            Some(Ok(table)) => tables.push(table),
            Some(Err(Unread::Recognised(kind))) => found.add(kind),
            // A table with several columns is no list.
            Some(Err(Unread::Refused(why))) => match annotations::recognise(item, head, &images) {
                Some(kind) if kind != Kind::Lists => found.add(kind),
                _ => problems.push((item.path.clone(), why)),
            },
            None if is_metadata(item, head) => problems.push((item.path.clone(), METADATA.to_owned())),
            None => match annotations::recognise(item, head, &images) {
                Some(kind) => found.add(kind),
                None => problems.push((item.path.clone(), not_an_image(head))),
            },
        }
    }
    tables.sort_by(|a, b| {
        let rank = |table: &Labelled| (table.rows.has_labels, table.rows.files.len());
        rank(b).cmp(&rank(a)).then_with(|| natural(&a.name, &b.name))
    });
    tables
}

/// Why Hugging Face's `metadata.jsonl` is not read.
const METADATA: &str = "metadata of Hugging Face's imagefolder in JSON lines, which are not read yet: write them as a \
                        CSV with the columns file_name and label";

/// Whether a file has JSON lines with names of files, other than those of boxes.
fn is_metadata(item: &Item, head: &[u8]) -> bool {
    let text = String::from_utf8_lossy(head);
    let has = |word: &str| text.contains(word);
    let ending = crate::extension(Path::new(&item.path));
    matches!(ending.as_str(), "jsonl" | "ndjson") && has("\"file_name\"") && !has("\"bbox\"") && !has("\"objects\"")
}

/// Parses a file as a table of these images, or tells why not; `None` if it is none by its name or content.
fn table<'a>(
    item: &Item,
    head: &[u8],
    index: &dyn Fn() -> &'a Index<'a>,
    wanted: Labelling,
) -> Option<Result<Labelled, Unread>> {
    let name = name_of(&item.path).to_lowercase();
    let ending = crate::extension(Path::new(&name));
    let is_named_so = matches!(ending.as_str(), "csv" | "tsv" | "tab");
    let may_be = is_named_so || (ending == "txt" && head.iter().any(|byte| matches!(byte, b'\t' | b',' | b';')));
    let is_text = Content::of(head) == Content::Text || (is_named_so && csv_list::is_utf16(head));
    if !may_be || !is_text {
        return None;
    }
    let refused = |why: String| Some(Err(Unread::Refused(why)));
    let table = match Table::read(&item.file) {
        Ok(table) => table,
        Err(why) if is_named_so => return refused(format!("the table cannot be read: {why}")),
        Err(_) => return None,
    };
    let below = layout::above(&item.path);
    let files = Files::of_tree(item.file.parent().unwrap_or(Path::new(".")), below, index());
    // The split in the table's file name: test.csv beside train.csv.
    let split = splits::split_of(stem_of(&name));
    match csv_list::kind_of(&table, &files) {
        Ok(TableKind::Boxes) => return Some(Err(Unread::Recognised(Kind::BoxTable))),
        // Contest submissions are not labels.
        Ok(_) if name.contains("submission") => return Some(Err(Unread::Recognised(Kind::Lists))),
        Ok(TableKind::Paths) if split.is_none() => return Some(Err(Unread::Recognised(Kind::Lists))),
        Ok(TableKind::Unknown) if split.is_none() && !is_named_so => {
            return Some(Err(Unread::Recognised(Kind::Lists)));
        }
        Ok(TableKind::Paths | TableKind::Unknown | TableKind::Labels) => {}
        Err(why) if is_named_so && table.headers.len() > 1 => return refused(why),
        Err(_) => return None,
    }
    let mut rows = Rows::default();
    let source = Source { name: &item.path, split };
    match rows.add(table, &files, &source, wanted) {
        Ok(()) => Some(Ok(Labelled { name: item.path.clone(), rows })),
        Err(why) if is_named_so => refused(why),
        Err(_) => None,
    }
}

fn not_an_image(head: &[u8]) -> String {
    match Content::of(head) {
        Content::Empty => "not an image: the file is empty (0 bytes)".into(),
        Content::Archive(kind) => format!("not an image but an archive ({}): import it by itself", kind.name()),
        _ => format!("not an image ({} are read)", ImageKind::NAMES.replace(" or ", " and ")),
    }
}

/// In detection data, a single folder, or one beside loose images, is no class.
fn without_single_folders(places: &mut [Place]) -> Option<String> {
    let classes: BTreeSet<String> = places.iter().filter_map(|place| place.class.clone()).collect();
    let has_loose = places.iter().any(|place| place.class.is_none() && place.split.is_none());
    if classes.is_empty() || (classes.len() > 1 && !has_loose) {
        return None;
    }
    places.iter_mut().for_each(|place| place.class = None);
    let names: Vec<String> = classes.into_iter().collect();
    Some(format!("{} was taken for no class, since annotations lie beside the images", names.join(", ")))
}

/// Role of tables beside folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UseOfTables {
    /// Folders name the classes, tables at most splits.
    Not,
    /// Tables label images that folders do not.
    Besides,
    /// Tables name the classes, folders none.
    Instead,
}

/// How many classes an image has, and how many the folders name.
struct Wanted {
    labelling: Labelling,
    classes: usize,
}

/// Decides whether folders or tables name the classes, with a note.
fn decide(tree: &Tree, places: &[Place], tables: &[Labelled], wanted: Wanted) -> (UseOfTables, Option<String>) {
    let classes = wanted.classes;
    let with_labels: Vec<&Labelled> = tables.iter().filter(|table| table.rows.has_labels).collect();
    if with_labels.is_empty() {
        let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
        return (UseOfTables::Besides, (!names.is_empty()).then(|| format!("{} was read", names.join(", "))));
    }
    let names = with_labels.iter().map(|table| table.name.as_str()).collect::<Vec<_>>().join(", ");
    let (mut covered, mut differing) = (0, 0);
    for (item, place) in tree.images.iter().zip(places) {
        let label = |table: &&Labelled| table.rows.of(&item.path)?.said(table.labelling(wanted.labelling)).ok()?.label;
        let label = with_labels.iter().find_map(label);
        if let Some(label) = label {
            covered += 1;
            differing += usize::from(place.class.as_ref().is_some_and(|class| label != [class.clone()]));
        }
    }
    let read = format!("{names} names the classes of {covered} of {}", counted(tree.images.len(), "image"));
    if classes == 0 || differing == 0 {
        return (UseOfTables::Besides, Some(read));
    }
    if classes < 2 || covered as f64 >= COVERS * tree.images.len() as f64 {
        return (UseOfTables::Instead, Some(format!("{read}; the folders were taken for no classes")));
    }
    let why = format!("{read}, {differing} of them others than their folders: the folders' were taken");
    (UseOfTables::Not, Some(why))
}

/// The tables and how they are used.
struct Labels<'a> {
    tables: &'a [Labelled],
    use_of_tables: UseOfTables,
    wanted: Labelling,
}

/// Contradictions between tables, and between tables and folders.
#[derive(Default)]
struct Contradictions {
    /// Images and what is said of them.
    problems: Vec<(String, String)>,
    /// The number of images whose split is another one by their folder.
    other_splits: usize,
    /// The tables that give those splits.
    tables: BTreeSet<String>,
}

impl Contradictions {
    /// Reports two values of an image, of which the first is taken.
    fn add(&mut self, item: &Item, what: &str, [(first, lines), (second, other_lines)]: [(&str, &str); 2]) {
        let why =
            format!("its {what} contradict each other: {first} ({lines}), {second} ({other_lines}); {first} was taken");
        self.problems.push((item.path.clone(), why));
    }

    fn note(&self) -> Option<String> {
        let tables: Vec<&str> = self.tables.iter().map(String::as_str).collect();
        let images = counted(self.other_splits, "image");
        (self.other_splits > 0).then(|| {
            format!("{} gives {images} another split than the folders: the table's was taken", enumerated(&tables))
        })
    }
}

fn entry(
    item: &Item,
    place: &Place,
    labels: &Labels<'_>,
    contradictions: &mut Contradictions,
) -> Result<Entry, String> {
    let class = place.class.as_deref().map(class_name).transpose();
    let class = class.map_err(|why| format!("its folder names no class: {why}"))?;
    let mut label = class.map(|class| vec![class]);
    let mut without_label = None;
    let mut first_label: Option<(Vec<String>, String)> = None;
    let mut first_split: Option<(Split, String)> = None;
    for table in labels.tables {
        let Some(named) = table.rows.of(&item.path) else { continue };
        let own = match named.said(table.labelling(labels.wanted)) {
            Ok(own) => own,
            // A contradiction about an unused field does not matter.
            Err(_) if first_split.is_some() || place.split.is_some() => continue,
            Err(why) => return Err(why),
        };
        if labels.use_of_tables != UseOfTables::Not {
            without_label = without_label.or(own.contradiction);
            if let Some(classes) = own.label {
                match &first_label {
                    None => {
                        label = label.or_else(|| Some(classes.clone()));
                        first_label = Some((classes, named.lines_of_label()));
                    }
                    Some((first, lines)) if *first != classes => {
                        let (first, second) = (text_of(first), text_of(&classes));
                        let other_lines = named.lines_of_label();
                        let both = [(first.as_str(), lines.as_str()), (second.as_str(), other_lines.as_str())];
                        contradictions.add(item, "classes", both);
                    }
                    Some(_) => {}
                }
            }
        }
        if let Some(split) = own.split {
            match &first_split {
                None => {
                    if place.split.is_some_and(|of_folder| of_folder != split) {
                        contradictions.other_splits += 1;
                        contradictions.tables.insert(table.name.clone());
                    }
                    first_split = Some((split, named.lines_of_split()));
                }
                Some((first, lines)) if *first != split => {
                    let other_lines = named.lines_of_split();
                    let both = [(first.as_str(), lines.as_str()), (split.as_str(), other_lines.as_str())];
                    contradictions.add(item, "splits", both);
                }
                Some(_) => {}
            }
        }
    }
    if label.is_none() {
        contradictions.problems.extend(without_label.map(|why| (item.path.clone(), why)));
    }
    let split = first_split.map(|(split, _)| split).or(place.split);
    Ok(Entry { file: item.file.clone(), path: item.path.clone(), label, split })
}

fn text_of(classes: &[String]) -> String {
    if classes.is_empty() { "no class".to_owned() } else { classes.join(", ") }
}

/// Images that [`images_in`] found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImageFiles {
    /// Files, grouped by argument and naturally ordered within.
    pub images: Vec<std::path::PathBuf>,
    /// Possible images left out: path and reason.
    pub left_out: Vec<(String, String)>,
    /// Number of other files.
    pub passed_over: usize,
}

/// The named files, and the images in named folders and below. A file named directly is taken as it is, and fails when
/// decoded. Only regular files are opened.
pub fn images_in(paths: &[std::path::PathBuf]) -> ImageFiles {
    let mut found = ImageFiles::default();
    let mut known = HashSet::new();
    for path in paths {
        if path.is_dir() {
            let tree = tree::walk(path);
            found.passed_over += tree.passed_over.len() + tree.others.len();
            let told =
                |(below, why): (String, String)| (crate::path_text(&path.join(crate::path_of_text(&below))), why);
            found.left_out.extend(tree.problems.into_iter().map(told));
            found
                .images
                .extend(tree.images.into_iter().map(|item| item.file).filter(|file| known.insert(file.clone())));
            continue;
        }
        match std::fs::metadata(path).ok().and_then(|facts| tree::special(facts.file_type())) {
            Some(what) => found.left_out.push((crate::path_text(path), what)),
            None if known.insert(path.clone()) => found.images.push(path.clone()),
            None => {}
        }
    }
    found
}

#[cfg(test)]
mod tests;
