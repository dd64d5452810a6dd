//! A table of image paths, relative to the table, with labels.
//!
//! Classes come in one of three forms. A column `label` (or `class`, `category`, `target` …) names one class; a file
//! with several classes has several lines. A column `labels` (or `classes`, `tags`) lists classes separated by `|`, `;`
//! or `,`; `none` is the empty list. Or each class has a column of 1 and 0. Empty fields mean unlabelled. A column
//! `split` may assign splits; lines with an unknown split are left out, rather than drawn at random.

mod columns;
mod files;
mod text;

pub(crate) use files::{Files, Index};
pub(crate) use text::Table;

use crate::tree::{Item, named_as_image};
use crate::{Entry, FormatError, Listing};
use assay_domain::{Labelling, Split};
use columns::{Columns, Labels, SplitOf, no_path_column, path_column};
use files::Lookup;
use std::collections::HashMap;
use std::path::Path;

/// Table rows by file.
#[derive(Default)]
pub(crate) struct Rows {
    pub(crate) files: Vec<Named>,
    by_path: HashMap<String, usize>,
    /// Rows left out: line or path, and reason.
    pub(crate) problems: Vec<(String, String)>,
    pub(crate) notes: Vec<String>,
    /// Whether classes come as lists.
    pub(crate) has_lists: bool,
    pub(crate) has_labels: bool,
}

/// The rows of one file.
pub(crate) struct Named {
    pub(crate) item: Item,
    says: Vec<Says>,
}

struct Says {
    /// The line number, with its table if several.
    line: String,
    label: Option<Vec<String>>,
    split: SplitOf,
}

/// Merged rows of a file.
pub(crate) struct Said {
    pub(crate) label: Option<Vec<String>>,
    pub(crate) split: Option<Split>,
}

/// Why the rows of a file are rejected.
#[derive(Debug, PartialEq)]
pub(crate) struct Refused {
    pub(crate) about: About,
    pub(crate) why: String,
}

/// The field in question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    Label,
    Split,
}

pub(crate) fn read(source: &Path, wanted: Labelling) -> Result<Listing, FormatError> {
    let unreadable = |why: String| FormatError::Unreadable { what: "the table", why, path: source.to_owned() };
    let table = Table::read(source).map_err(|why| unreadable(why.to_string()))?;
    let files = Files::on_disk(source.parent().unwrap_or(Path::new(".")));
    let mut rows = Rows::default();
    rows.add(table, &files, &Source { name: "", split: None }, wanted).map_err(unreadable)?;
    let labelling = if rows.has_lists { Labelling::AnyClasses } else { wanted };
    let mut listing = Listing { labelling, ..Listing::default() };
    listing.problems.append(&mut rows.problems);
    for named in &rows.files {
        let Item { file, path } = named.item.clone();
        match named.said(labelling) {
            Ok(Said { label, split }) => listing.entries.push(Entry { file, path, label, split }),
            Err(refused) => listing.problems.push((path, refused.why)),
        }
    }
    if listing.entries.is_empty() && !listing.problems.is_empty() {
        let (path, why) = &listing.problems[0];
        let more = match listing.problems.len() - 1 {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        return Err(unreadable(format!("none of its lines can be taken: {path}: {why}{more}")));
    }
    listing.note = crate::joined(rows.notes);
    Ok(listing)
}

/// A table's name for findings, and the split in its file name.
pub(crate) struct Source<'a> {
    pub(crate) name: &'a str,
    pub(crate) split: Option<Split>,
}

impl Rows {
    /// Adds the rows of a table.
    pub(crate) fn add(
        &mut self,
        table: Table,
        files: &Files<'_>,
        source: &Source<'_>,
        wanted: Labelling,
    ) -> Result<(), String> {
        let (table, path) = with_header(table, files)?;
        let columns = Columns::choose(&table, path, wanted).map_err(|why| why.to_string())?;
        let in_table = |what: String| match source.name {
            "" => what,
            name => format!("{name}, {what}"),
        };
        self.notes.extend(columns.notes.iter().cloned());
        self.has_lists |= matches!(columns.labels, Labels::List(..) | Labels::Columns(_));
        self.has_labels |= !matches!(columns.labels, Labels::None);
        self.problems.extend(table.problems.iter().map(|(line, why)| (in_table(line.clone()), why.clone())));
        for (number, row) in &table.rows {
            let line = in_table(format!("line {number}"));
            let Some(written) = row.get(path).filter(|text| !text.is_empty()) else {
                self.problems.push((line, "it names no path".into()));
                continue;
            };
            let item = match files.find(written) {
                Lookup::Found(item) => item,
                Lookup::Not(why) => {
                    self.problems.push((written.to_owned(), format!("{why} ({line})")));
                    continue;
                }
            };
            let label = match columns.labels.of(row) {
                Ok(label) => label,
                Err(why) => {
                    self.problems.push((item.path, format!("{why} ({line})")));
                    continue;
                }
            };
            let split = match (columns.split_of(row), source.split) {
                (SplitOf::Nothing, Some(split)) if !columns.has_split() => SplitOf::Split(split),
                (split, _) => split,
            };
            let place = *self.by_path.entry(item.path.clone()).or_insert_with(|| {
                self.files.push(Named { item, says: Vec::new() });
                self.files.len() - 1
            });
            self.files[place].says.push(Says { line, label, split });
        }
        Ok(())
    }

    /// The rows of the file at this path.
    pub(crate) fn of(&self, path: &str) -> Option<&Named> {
        self.by_path.get(path).map(|place| &self.files[*place])
    }
}

/// The table and its path column.
fn with_header(table: Table, files: &Files<'_>) -> Result<(Table, usize), String> {
    let table = headed(table, files);
    match path_column(&table, files) {
        Some(column) => Ok((table, column.place)),
        None => Err(no_path_column(&table)),
    }
}

/// The table; if its first line names a file, without a header.
fn headed(table: Table, files: &Files<'_>) -> Table {
    let names_a_file =
        |header: &String| named_as_image(Path::new(header)) && matches!(files.find(header), Lookup::Found(_));
    if table.headers.iter().any(names_a_file) { table.without_header() } else { table }
}

/// What a table says of these files, if anything.
pub(crate) fn kind_of(table: &Table, files: &Files<'_>) -> Option<TableKind> {
    let table = headed(table.clone(), files);
    let column = path_column(&table, files).filter(|column| column.hits > 0.0)?;
    let columns = Columns::choose(&table, column.place, Labelling::OneClass).ok()?;
    Some(match columns {
        columns if columns.has_boxes => TableKind::Boxes,
        columns if columns.says_something() => TableKind::Labels,
        _ => TableKind::Paths,
    })
}

/// Subject of a table beside images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TableKind {
    Labels,
    Boxes,
    Paths,
}

impl Named {
    /// Merges the rows; an error if they contradict each other or are not understood.
    pub(crate) fn said(&self, labelling: Labelling) -> Result<Said, Refused> {
        let refused = |about: About, why: String| Err(Refused { about, why });
        let lines = |says: &[&Says]| {
            let lines: Vec<&str> = says.iter().map(|says| says.line.as_str()).collect();
            listed(&lines)
        };
        let unknown: Vec<(&Says, &String)> = self
            .says
            .iter()
            .filter_map(|says| match &says.split {
                SplitOf::Unknown(word) => Some((says, word)),
                SplitOf::Nothing | SplitOf::Split(_) => None,
            })
            .collect();
        if let Some((_, word)) = unknown.first() {
            let says: Vec<&Says> = unknown.iter().map(|(says, _)| *says).collect();
            return refused(
                About::Split,
                format!("the split {word:?} is not understood ({}): write train, val or test; left out", lines(&says)),
            );
        }
        let mut splits: Vec<(Split, &Says)> = Vec::new();
        let mut labels: Vec<(&Vec<String>, &Says)> = Vec::new();
        for says in &self.says {
            if let SplitOf::Split(split) = says.split
                && splits.iter().all(|(known, _)| *known != split)
            {
                splits.push((split, says));
            }
            if let Some(label) = &says.label
                && labels.iter().all(|(known, _)| *known != label)
            {
                labels.push((label, says));
            }
        }
        if splits.len() > 1 {
            let names: Vec<&str> = splits.iter().map(|(split, _)| split.as_str()).collect();
            let says: Vec<&Says> = splits.iter().map(|(_, says)| *says).collect();
            return refused(
                About::Split,
                format!("{} contradict each other: its splits are {}; left out", lines(&says), listed(&names)),
            );
        }
        let split = splits.first().map(|(split, _)| *split);
        if labelling == Labelling::AnyClasses {
            let mut all: Vec<String> = labels.iter().flat_map(|(label, _)| label.iter().cloned()).collect();
            all.sort();
            all.dedup();
            return Ok(Said { label: (!labels.is_empty()).then_some(all), split });
        }
        if labels.len() > 1 {
            let names: Vec<String> = labels.iter().map(|(label, _)| label.join(", ")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let says: Vec<&Says> = self.says.iter().filter(|says| says.label.is_some()).collect();
            return refused(
                About::Label,
                format!(
                    "{} contradict each other: its classes are {}; left out, unless an image may have several classes",
                    lines(&says),
                    listed(&names)
                ),
            );
        }
        Ok(Said { label: labels.first().map(|(label, _)| (*label).clone()), split })
    }
}

/// Joins words: `a, b and c`, with `line` only once.
fn listed(words: &[&str]) -> String {
    let all_lines = words.len() > 1 && words.iter().all(|word| word.starts_with("line "));
    let words: Vec<&str> =
        if all_lines { words.iter().map(|word| word.trim_start_matches("line ")).collect() } else { words.to_vec() };
    let text = match words.as_slice() {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    };
    if all_lines { format!("lines {text}") } else { text }
}

#[cfg(test)]
mod tests;
