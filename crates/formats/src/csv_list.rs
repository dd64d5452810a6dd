//! A table of image paths, relative to the table, with labels.
//!
//! Classes come in one of three forms. A column `label` (or `class`, `category`, `target` …) names one class; a file
//! with several classes has several lines. A column `labels` (or `classes`, `tags`) lists classes separated by `|`, `;`
//! or `,`, or as a JSON list; `none` is the empty list. Or each class has a column of 1 and 0. Empty fields mean
//! unlabelled. Columns may assign splits ([`split_columns`]); lines with an unknown split are left out, rather than drawn
//! at random.

pub(crate) mod class_list;
mod columns;
mod files;
mod index;
mod split_columns;
mod text;

pub(crate) use files::Files;
pub(crate) use index::Index;
pub(crate) use text::{Table, is_utf16};

use crate::tree::{Item, named_as_image};
use crate::{Entry, FormatError, Listing};
use assay_domain::{Labelling, Split};
use columns::{Columns, Labels, SplitOf, no_file_found, no_path_column, path_column};
use files::Lookup;
use std::collections::HashMap;
use std::path::Path;
use text::field;

/// Table rows by file.
#[derive(Default)]
pub(crate) struct Rows {
    pub(crate) files: Vec<Named>,
    /// Positions in `files` by [`Files::key`].
    by_key: HashMap<String, usize>,
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
    /// Why it has no label, if its rows contradict each other about it.
    pub(crate) contradiction: Option<String>,
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
            Ok(Said { label, split, contradiction }) => {
                listing.problems.extend(contradiction.map(|why| (path.clone(), why)));
                listing.entries.push(Entry { file, path, label, split });
            }
            Err(why) => listing.problems.push((path, why)),
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
        let found = files.resolve(table.rows.iter().map(|(_, row)| row.get(path).unwrap_or_default()));
        for ((number, row), lookup) in table.rows.iter().zip(found) {
            let line = in_table(format!("line {number}"));
            let Some(written) = field(row, path) else {
                self.problems.push((line, "it names no path".into()));
                continue;
            };
            let item = match lookup {
                Lookup::Found(own) => own.item.into_owned(),
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
            let place = *self.by_key.entry(files.key(&item)).or_insert_with(|| {
                self.files.push(Named { item, says: Vec::new() });
                self.files.len() - 1
            });
            self.files[place].says.push(Says { line, label, split });
        }
        Ok(())
    }

    /// The rows of the file at this path of a tree.
    pub(crate) fn of(&self, path: &str) -> Option<&Named> {
        self.by_key.get(path).map(|place| &self.files[*place])
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

/// The labels and splits of a table, or the reason that it has none.
pub(crate) fn kind_of(table: &Table, files: &Files<'_>) -> Result<TableKind, String> {
    let table = headed(table.clone(), files);
    let Some(column) = path_column(&table, files) else { return Err(no_path_column(&table)) };
    if column.hits == 0.0 {
        return Err(no_file_found(&table, column.place, files));
    }
    let columns = Columns::choose(&table, column.place, Labelling::OneClass).map_err(|why| why.to_string())?;
    Ok(match columns {
        columns if columns.has_boxes => TableKind::Boxes,
        columns if columns.says_something() => TableKind::Labels,
        _ if table.headers.len() > 1 => TableKind::Unknown,
        _ => TableKind::Paths,
    })
}

/// Subject of a table beside images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TableKind {
    Labels,
    Boxes,
    /// Paths, and columns that are not understood.
    Unknown,
    Paths,
}

impl Named {
    /// Merges the rows; an error if their split is not understood or contradicts itself.
    pub(crate) fn said(&self, labelling: Labelling) -> Result<Said, String> {
        let split = self.split()?;
        let mut labels: Vec<&Vec<String>> = Vec::new();
        for label in self.says.iter().filter_map(|says| says.label.as_ref()) {
            if !labels.contains(&label) {
                labels.push(label);
            }
        }
        if labelling == Labelling::AnyClasses {
            let mut all: Vec<String> = labels.iter().flat_map(|label| label.iter().cloned()).collect();
            all.sort();
            all.dedup();
            return Ok(Said { label: (!labels.is_empty()).then_some(all), split, contradiction: None });
        }
        if labels.len() > 1 {
            let names: Vec<String> = labels.iter().map(|label| label.join(", ")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let contradiction = format!(
                "{} contradict each other: its classes are {}; taken without a label, unless an image may have several \
                 classes",
                self.lines_of_label(),
                enumerated(&names)
            );
            return Ok(Said { label: None, split, contradiction: Some(contradiction) });
        }
        Ok(Said { label: labels.first().map(|label| (*label).clone()), split, contradiction: None })
    }

    fn split(&self) -> Result<Option<Split>, String> {
        let mut splits: Vec<Split> = Vec::new();
        for says in &self.says {
            match &says.split {
                SplitOf::Nothing => {}
                SplitOf::Split(split) if splits.contains(split) => {}
                SplitOf::Split(split) => splits.push(*split),
                SplitOf::Unknown(word) => {
                    let lines = self.lines(|says| matches!(says.split, SplitOf::Unknown(_)));
                    return Err(format!(
                        "the split {word:?} is not understood ({lines}): write train, val or test; left out"
                    ));
                }
                SplitOf::Unclear(why) => {
                    let lines = self.lines(|says| matches!(says.split, SplitOf::Unclear(_)));
                    return Err(format!("its split is not clear ({lines}): {why}; left out"));
                }
            }
        }
        if splits.len() > 1 {
            let names: Vec<&str> = splits.iter().map(|split| split.as_str()).collect();
            let (lines, names) = (self.lines_of_split(), enumerated(&names));
            return Err(format!("{lines} contradict each other: its splits are {names}; left out"));
        }
        Ok(splits.first().copied())
    }

    /// The rows that give it a label.
    pub(crate) fn lines_of_label(&self) -> String {
        self.lines(|says| says.label.is_some())
    }

    /// The rows that give it a split.
    pub(crate) fn lines_of_split(&self) -> String {
        self.lines(|says| matches!(says.split, SplitOf::Split(_)))
    }

    fn lines(&self, is_meant: impl Fn(&Says) -> bool) -> String {
        let lines = self.says.iter().filter(|says| is_meant(says)).map(|says| says.line.as_str());
        listed(&lines.collect::<Vec<_>>())
    }
}

/// Joins line numbers, those of one table as `labels.csv, lines 2, 3 and 4`.
fn listed(lines: &[&str]) -> String {
    const WORD: &str = "line ";
    let parts: Option<Vec<(&str, &str)>> = lines.iter().map(|line| line.rsplit_once(WORD)).collect();
    match parts.as_deref() {
        Some([(before, _), rest @ ..]) if !rest.is_empty() && rest.iter().all(|(other, _)| other == before) => {
            let numbers: Vec<&str> = lines.iter().filter_map(|line| Some(line.rsplit_once(WORD)?.1)).collect();
            format!("{before}lines {}", enumerated(&numbers))
        }
        _ => enumerated(lines),
    }
}

/// Joins words: `a, b and c`.
pub(crate) fn enumerated(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

#[cfg(test)]
mod tests;
