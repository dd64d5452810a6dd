//! Identifies the columns of a table: names propose, values decide.

use super::class_list;
use super::files::{Files, Lookup};
use super::split_columns::{SplitColumns, Taken};
use super::text::{Table, field};
use assay_domain::{ClassNameError, Labelling, Split, class_name};
use std::collections::BTreeSet;

/// Path columns, best first; in lower case without separators.
const PATHS: [&str; 25] = [
    "path",
    "filepath",
    "imagepath",
    "imgpath",
    "file",
    "filename",
    "imagefile",
    "imagefilename",
    "image",
    "imagename",
    "img",
    "imgname",
    "imageid",
    "imgid",
    "fname",
    "picture",
    "photo",
    "relpath",
    "relativepath",
    "sourcefile",
    "uri",
    "imageuri",
    "imageurl",
    "url",
    "id",
];
/// Columns of one class.
const ONE: [&str; 19] = [
    "label",
    "class",
    "category",
    "target",
    "choice",
    "groundtruth",
    "classname",
    "labelname",
    "categoryname",
    "classlabel",
    "imagelabel",
    "truelabel",
    "gt",
    "y",
    "answer",
    "diagnosis",
    "classid",
    "labelid",
    "categoryid",
];
/// Columns of class lists.
const LISTS: [&str; 7] = ["labels", "classes", "tags", "categories", "choices", "targets", "multilabel"];
/// Box coordinates.
const BOXES: [&str; 8] = ["xmin", "ymin", "xmax", "ymax", "bboxx", "bboxy", "bboxx1", "bboxy1"];
/// Columns of whole boxes.
const WHOLE_BOXES: [&str; 4] = ["bbox", "bndbox", "boundingbox", "segmentation"];

/// Rows inspected to choose columns.
pub(super) const LOOKED_AT: usize = 100;

/// Where a row has its classes.
pub(crate) enum Labels {
    /// Nowhere.
    None,
    /// One, in this column.
    One(usize),
    /// A list in this column, with its separator ([`class_list`]).
    List(usize, char),
    /// A column of 0 and 1 for each class.
    Columns(Vec<(usize, String)>),
}

/// The split of a row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum SplitOf {
    Nothing,
    Split(Split),
    /// An unknown word.
    Unknown(String),
    /// Several splits, and why.
    Unclear(String),
}

/// The roles of columns.
pub(crate) struct Columns {
    pub(crate) path: usize,
    pub(crate) labels: Labels,
    splits: SplitColumns,
    /// Notes on the choice.
    pub(crate) notes: Vec<String>,
    /// It has boxes, which are not read yet.
    pub(crate) has_boxes: bool,
}

/// Normalises a header for comparison.
fn bare(header: &str) -> String {
    header.to_lowercase().chars().filter(|sign| sign.is_alphanumeric()).collect()
}

/// Whether the header is one of a column of files or classes.
pub(super) fn is_known(header: &str) -> bool {
    let header = bare(header);
    [&PATHS[..], &ONE, &LISTS].iter().any(|names| names.contains(&header.as_str()))
}

/// The column of the first of these names.
fn named(headers: &[String], names: &[&str], is_free: impl Fn(&usize) -> bool) -> Option<usize> {
    names.iter().find_map(|name| (0..headers.len()).filter(&is_free).find(|place| headers[*place] == *name))
}

/// The chosen path column.
pub(crate) struct PathColumn {
    pub(crate) place: usize,
    /// Share of values that name files.
    pub(crate) hits: f64,
}

/// The column whose values name files, known names first; else one with a known name.
pub(crate) fn path_column(table: &Table, files: &Files<'_>) -> Option<PathColumn> {
    let hits = |place: usize| {
        let values: BTreeSet<&str> = table.column(place).filter(|value| !value.is_empty()).take(LOOKED_AT).collect();
        let found = values.iter().filter(|value| matches!(files.find(value), Lookup::Found(_))).count();
        if values.is_empty() { 0.0 } else { found as f64 / values.len() as f64 }
    };
    let headers: Vec<String> = table.headers.iter().map(|header| bare(header)).collect();
    let known: Vec<usize> = PATHS.iter().filter_map(|name| headers.iter().position(|header| header == name)).collect();
    let best = |places: &[usize], least: f64| {
        let mut best: Option<PathColumn> = None;
        for place in places.iter().copied() {
            let hits = hits(place);
            if hits > least && best.as_ref().is_none_or(|best| hits > best.hits) {
                best = Some(PathColumn { place, hits });
            }
        }
        best
    };
    let others: Vec<usize> = (0..headers.len()).filter(|place| !known.contains(place)).collect();
    best(&known, 0.0)
        .or_else(|| best(&others, 0.5))
        .or_else(|| known.first().map(|place| PathColumn { place: *place, hits: 0.0 }))
}

/// Error if no column has paths.
pub(crate) fn no_path_column(table: &Table) -> String {
    format!(
        "no column names the files: its columns are {}; looked for a column \"path\", \"file\", \"filename\", \"image\", \
         \"image_path\" or \"image_id\", or one whose values are files beside it",
        names(table, 0..table.headers.len())
    )
}

/// Why no image is found by a column of paths.
pub(crate) fn no_file_found(table: &Table, place: usize, files: &Files<'_>) -> String {
    const TOLD: usize = 3;
    let why = |(line, row): &(u64, csv::StringRecord)| {
        let path = field(row, place)?;
        match files.find(path) {
            Lookup::Found(_) => None,
            Lookup::Not(why) => Some(format!("{path}: {why} (line {line})")),
        }
    };
    let reasons: Vec<String> = table.rows.iter().filter_map(why).take(TOLD).collect();
    let header = &table.headers[place];
    match reasons.as_slice() {
        [] => format!("it names no files: its column {header} has no values"),
        reasons => format!("its column {header} names no image here: {}", reasons.join("; ")),
    }
}

fn names(table: &Table, places: impl IntoIterator<Item = usize>) -> String {
    const TOLD: usize = 12;
    let names: Vec<&str> = places.into_iter().map(|place| table.headers[place].as_str()).collect();
    match names.get(TOLD..) {
        Some(more) if !more.is_empty() => format!("{} and {} more", names[..TOLD].join(", "), more.len()),
        _ => names.join(", "),
    }
}

impl Columns {
    pub(crate) fn choose(table: &Table, path: usize, wanted: Labelling) -> Result<Columns, ClassNameError> {
        let headers: Vec<String> = table.headers.iter().map(|header| bare(header)).collect();
        let mut notes = Vec::new();
        if !PATHS.contains(&headers[path].as_str()) {
            notes.push(format!("{} names the files", table.headers[path]));
        }
        // One corner alone is no evidence.
        let of_boxes = headers.iter().filter(|header| BOXES.contains(&header.as_str())).count();
        let has_boxes = of_boxes > 1 || headers.iter().any(|header| WHOLE_BOXES.contains(&header.as_str()));
        let is_free = |place: &usize| *place != path;
        let label = named(&headers, &ONE, is_free).or_else(|| named(&headers, &LISTS, is_free));
        let splits = SplitColumns::choose(table, &headers, Taken { path, label }, &mut notes);
        let mut columns = Columns { path, labels: Labels::None, splits, notes, has_boxes };
        if has_boxes {
            columns.notes.push("it has columns of boxes, which are not read yet: its images have no classes".into());
        } else {
            columns.labels = columns.labels_of(table, &headers, wanted)?;
        }
        Ok(columns)
    }

    fn labels_of(&mut self, table: &Table, headers: &[String], wanted: Labelling) -> Result<Labels, ClassNameError> {
        let is_free = |place: &usize| *place != self.path && !self.splits.contains(*place);
        if let Some(one) = named(headers, &ONE, is_free) {
            return Ok(Labels::One(one));
        }
        if let Some(list) = named(headers, &LISTS, is_free) {
            return Ok(Labels::List(list, class_list::separator(table.column(list))));
        }
        let others: Vec<usize> = (0..headers.len()).filter(is_free).collect();
        let is_flags = |place: &usize| {
            table.column(*place).all(|field| field.is_empty() || flag(field).is_some())
                && table.column(*place).any(|field| !field.is_empty())
        };
        let (flags, rest): (Vec<usize>, Vec<usize>) = others.iter().partition(|place| is_flags(place));
        // One column of 0 and 1 could be anything.
        let least = if wanted == Labelling::AnyClasses { 1 } else { 2 };
        if flags.len() >= least && (rest.is_empty() || wanted == Labelling::AnyClasses) {
            let besides = if rest.is_empty() {
                String::new()
            } else {
                format!(", but not {}", names(table, rest.iter().copied()))
            };
            self.notes.push(format!("{} columns are classes{besides}", flags.len()));
            let column = |place: usize| Ok((place, class_name(&table.headers[place])?));
            return Ok(Labels::Columns(flags.into_iter().map(column).collect::<Result<_, ClassNameError>>()?));
        }
        // Without a header, numbers beside path and word have no class name.
        let candidates: Vec<usize> = match table.has_header {
            true => others.clone(),
            false => others.iter().copied().filter(|place| is_of_words(table, *place)).collect(),
        };
        if let [only] = candidates.as_slice()
            && is_of_words(table, *only)
        {
            self.notes.push(format!("{} was taken for the class", table.headers[*only]));
            return Ok(Labels::One(*only));
        }
        if !flags.is_empty() {
            self.notes.push(format!(
                "the columns {} were not taken for classes: say that an image may have several, if they are",
                names(table, flags)
            ));
        } else if !rest.is_empty() {
            self.notes.push(format!(
                "no column of classes: there are {}; looked for label, class, category, target or labels",
                names(table, rest)
            ));
        }
        Ok(Labels::None)
    }

    /// The split of a row.
    pub(crate) fn split_of(&self, row: &csv::StringRecord) -> SplitOf {
        self.splits.of(row)
    }

    /// Whether it has more than paths.
    pub(crate) fn says_something(&self) -> bool {
        self.has_split() || self.has_boxes || !matches!(self.labels, Labels::None)
    }

    pub(crate) fn has_split(&self) -> bool {
        !self.splits.is_empty()
    }
}

/// Few distinct words; no numbers, no sentences.
fn is_of_words(table: &Table, place: usize) -> bool {
    let values: Vec<&str> = table.column(place).filter(|value| !value.is_empty()).collect();
    let different: BTreeSet<&str> = values.iter().copied().collect();
    let is_word = |value: &&str| value.parse::<f64>().is_err() && value.len() <= 60;
    !values.is_empty() && different.iter().all(is_word) && (different.len() * 2 <= values.len() || different.len() <= 3)
}

impl Labels {
    pub(crate) fn of(&self, line: &csv::StringRecord) -> Result<Option<Vec<String>>, ClassNameError> {
        match self {
            Labels::None => Ok(None),
            Labels::One(place) => Ok(field(line, *place).map(class_name).transpose()?.map(|class| vec![class])),
            Labels::List(place, separator) => {
                field(line, *place).map(|text| class_list::read(text, *separator)).transpose()
            }
            Labels::Columns(columns) => {
                let flags = columns.iter().filter_map(|(place, name)| Some((flag(field(line, *place)?)?, name)));
                let flags: Vec<(bool, &String)> = flags.collect();
                let own = flags.iter().filter(|(is_set, _)| *is_set).map(|(_, name)| (*name).clone()).collect();
                Ok((!flags.is_empty()).then_some(own))
            }
        }
    }
}

pub(crate) fn flag(field: &str) -> Option<bool> {
    match field.trim().to_ascii_lowercase().as_str() {
        "1" | "1.0" | "true" | "t" | "yes" | "y" | "on" => Some(true),
        "0" | "0.0" | "false" | "f" | "no" | "n" | "off" => Some(false),
        _ => None,
    }
}
