//! A folder of images with classes and splits from folders, tables or both.

use crate::annotations::{self, Annotations, Kind};
use crate::csv_list::{self, About, Files, Index, Refused, Rows, Said, Source, Table, TableKind};
use crate::layout::{self, Layout, Place};
pub(crate) use crate::names::slashed;
use crate::names::{name_of, natural, stem_of};
use crate::tree::{self, Item, Tree};
use crate::{Entry, FormatError, Listing, splits};
use assay_domain::content::{Content, ImageKind};
use assay_domain::{Labelling, class_name, counted};
use std::cell::OnceCell;
use std::collections::{BTreeSet, HashSet};
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
    let (use_of_tables, told) = decide(&tree, &places, &tables, classes(&places).len());
    notes.extend(told);
    if use_of_tables == UseOfTables::Instead {
        places.iter_mut().for_each(|place| place.class = None);
    }
    let mut listing = Listing { labelling: wanted, ..Listing::default() };
    for (item, place) in tree.images.iter().zip(&places) {
        match entry(item, place, &tables, use_of_tables, wanted) {
            Ok(entry) => listing.entries.push(entry),
            Err(why) => problems.push((item.path.clone(), why)),
        }
    }
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

/// A table that names images.
struct Labelled {
    name: String,
    rows: Rows,
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
            Some(Err(kind)) => found.add(kind),
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

/// Parses a file as a table of these images; returns its kind if it is another table.
fn table<'a>(
    item: &Item,
    head: &[u8],
    index: &dyn Fn() -> &'a Index<'a>,
    wanted: Labelling,
) -> Option<Result<Labelled, Kind>> {
    let name = name_of(&item.path).to_lowercase();
    let ending = crate::extension(Path::new(&name));
    let is_named_so = matches!(ending.as_str(), "csv" | "tsv" | "tab");
    let may_be = is_named_so || (ending == "txt" && head.iter().any(|byte| matches!(byte, b'\t' | b',' | b';')));
    if !may_be || Content::of(head) != Content::Text {
        return None;
    }
    let table = Table::read(&item.file).ok()?;
    let below = layout::above(&item.path);
    let files = Files::of_tree(item.file.parent().unwrap_or(Path::new(".")), below, index());
    // The split in the table's file name: test.csv beside train.csv.
    let split = splits::split_of(stem_of(&name));
    match csv_list::kind_of(&table, &files)? {
        TableKind::Boxes => return Some(Err(Kind::BoxTable)),
        // Contest submissions are not labels.
        _ if name.contains("submission") => return Some(Err(Kind::Lists)),
        TableKind::Paths if split.is_none() => return Some(Err(Kind::Lists)),
        TableKind::Paths | TableKind::Labels => {}
    }
    let mut rows = Rows::default();
    let source = Source { name: &item.path, split };
    rows.add(table, &files, &source, wanted).ok()?;
    Some(Ok(Labelled { name: item.path.clone(), rows }))
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

/// Decides whether folders or tables name the classes, with a note.
fn decide(tree: &Tree, places: &[Place], tables: &[Labelled], classes: usize) -> (UseOfTables, Option<String>) {
    let with_labels: Vec<&Labelled> = tables.iter().filter(|table| table.rows.has_labels).collect();
    if with_labels.is_empty() {
        let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
        return (UseOfTables::Besides, (!names.is_empty()).then(|| format!("{} was read", names.join(", "))));
    }
    let names = with_labels.iter().map(|table| table.name.as_str()).collect::<Vec<_>>().join(", ");
    let (mut covered, mut differing) = (0, 0);
    for (item, place) in tree.images.iter().zip(places) {
        let label = |table: &&Labelled| table.rows.of(&item.path)?.said(Labelling::AnyClasses).ok()?.label;
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

fn entry(
    item: &Item,
    place: &Place,
    tables: &[Labelled],
    use_of_tables: UseOfTables,
    wanted: Labelling,
) -> Result<Entry, String> {
    let class = place.class.as_deref().map(class_name).transpose();
    let class = class.map_err(|why| format!("its folder names no class: {why}"))?;
    let mut said = Said { label: class.map(|class| vec![class]), split: None };
    for table in tables {
        let Some(named) = table.rows.of(&item.path) else { continue };
        let labelling = if table.rows.has_lists { Labelling::AnyClasses } else { wanted };
        let own = match named.said(labelling) {
            Ok(own) => own,
            // A contradiction about an unused field does not matter.
            Err(Refused { about: About::Label, .. }) if said.label.is_some() || use_of_tables == UseOfTables::Not => {
                continue;
            }
            Err(Refused { about: About::Split, .. }) if said.split.or(place.split).is_some() => continue,
            Err(Refused { why, .. }) => return Err(why),
        };
        if use_of_tables != UseOfTables::Not {
            said.label = said.label.or(own.label);
        }
        said.split = said.split.or(own.split);
    }
    Ok(Entry { file: item.file.clone(), path: item.path.clone(), label: said.label, split: said.split.or(place.split) })
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
