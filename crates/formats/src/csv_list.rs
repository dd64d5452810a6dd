//! A CSV of paths with their labels; paths are relative to the CSV.
//!
//! Classes are written in one of three ways. A column `label` (or `class`) names one class; files with several have several
//! lines. A column `labels` (or `classes`, `tags`) names any number, separated by `|`, `;` or `,`. Or each class has a column
//! of its own, with 1 where a file has it and 0 where not. A column `split` may say where a file belongs.

use crate::{Entry, FormatError, Listing};
use assay_domain::{ClassNameError, Split, class_name};
use std::collections::HashMap;
use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::path::Path;

/// Where the classes of a line are.
enum Labels {
    /// Nowhere.
    None,
    /// One, in this column.
    One(usize),
    /// Several in this column, separated by this.
    List(usize, char),
    /// In columns of their own, each with its class.
    Columns(Vec<(usize, String)>),
}

pub(crate) fn read(source: &Path) -> Result<Listing, FormatError> {
    let unreadable = |why: String| FormatError::Unreadable { what: "the CSV", why, path: source.to_owned() };
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .flexible(true)
        .from_path(source)
        .map_err(|why| unreadable(why.to_string()))?;
    let headers = reader.headers().map_err(|why| unreadable(why.to_string()))?;
    let headers: Vec<String> = headers.iter().map(|name| name.trim_start_matches('\u{feff}').to_owned()).collect();
    let column =
        |names: &[&str]| headers.iter().position(|header| names.iter().any(|name| header.eq_ignore_ascii_case(name)));
    let path_column = column(&["path", "file", "filename", "image"])
        .ok_or_else(|| unreadable("its first line must name a column \"path\"".into()))?;
    let split_column = column(&["split"]);
    let mut listing = Listing::default();
    let mut lines = Vec::new();
    for (number, record) in reader.records().enumerate() {
        match record {
            Ok(record) => lines.push((number + 2, record)),
            Err(why) => listing.problems.push((format!("line {}", number + 2), why.to_string())),
        }
    }
    let labels = match (column(&["label", "class"]), column(&["labels", "classes", "tags"])) {
        (Some(one), _) => Labels::One(one),
        (None, Some(list)) => Labels::List(list, separator(lines.iter().filter_map(|(_, line)| line.get(list)))),
        (None, None) => {
            let others = |place: &usize| *place != path_column && Some(*place) != split_column;
            let others: Vec<usize> = (0..headers.len()).filter(others).collect();
            let is_flag = |place: &usize| lines.iter().all(|(_, line)| flag(line.get(*place)).is_some());
            match others.len() > 1 && !lines.is_empty() && others.iter().all(is_flag) {
                true => Labels::Columns(others.into_iter().map(|place| (place, headers[place].clone())).collect()),
                false => Labels::None,
            }
        }
    };
    listing.multi_label = matches!(labels, Labels::List(..) | Labels::Columns(_));
    let base = source.parent().unwrap_or(Path::new("."));
    let mut known: HashMap<String, usize> = HashMap::new();
    for (number, line) in lines {
        let field = |column: Option<usize>| column.and_then(|column| line.get(column)).filter(|text| !text.is_empty());
        let Some(path) = field(Some(path_column)).map(|path| path.replace('\\', "/")) else {
            listing.problems.push((format!("line {number}"), "it names no path".into()));
            continue;
        };
        let label = match labels.of(&line) {
            Ok(label) => label,
            Err(why) => {
                listing.problems.push((path, why.to_string()));
                continue;
            }
        };
        let split = field(split_column).and_then(Split::parse);
        match known.entry(path.clone()) {
            // One more class of a file.
            Occupied(place) => {
                let entry = &mut listing.entries[*place.get()];
                let own = entry.label.get_or_insert_default();
                own.extend(label.into_iter().flatten());
                own.sort();
                own.dedup();
                listing.multi_label |= own.len() > 1;
            }
            Vacant(place) => {
                place.insert(listing.entries.len());
                listing.entries.push(Entry { file: base.join(&path), path, label, split });
            }
        }
    }
    Ok(listing)
}

impl Labels {
    fn of(&self, line: &csv::StringRecord) -> Result<Option<Vec<String>>, ClassNameError> {
        let field = |place: usize| line.get(place).filter(|text| !text.is_empty());
        match self {
            Labels::None => Ok(None),
            Labels::One(place) => Ok(field(*place).map(class_name).transpose()?.map(|class| vec![class])),
            // Nothing between the separators is a label too: the file shows none of the classes.
            Labels::List(place, separator) => {
                let text = line.get(*place).unwrap_or_default();
                let parts = text.split(*separator).map(str::trim).filter(|part| !part.is_empty());
                Ok(Some(parts.map(class_name).collect::<Result<_, _>>()?))
            }
            Labels::Columns(columns) => {
                let own = columns.iter().filter(|(place, _)| flag(line.get(*place)) == Some(true));
                Ok(Some(own.map(|(_, name)| class_name(name)).collect::<Result<_, _>>()?))
            }
        }
    }
}

/// What separates classes: the first of these that occurs.
fn separator<'a>(fields: impl Iterator<Item = &'a str> + Clone) -> char {
    ['|', ';', ','].into_iter().find(|sign| fields.clone().any(|field| field.contains(*sign))).unwrap_or('|')
}

fn flag(field: Option<&str>) -> Option<bool> {
    match field?.to_ascii_lowercase().as_str() {
        "1" | "1.0" | "true" => Some(true),
        "0" | "0.0" | "false" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(text: &str) -> Result<Listing, FormatError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list.csv");
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    /// Path and classes of each entry; "?" where nothing is said.
    fn labels(listing: &Listing) -> Vec<(&str, String)> {
        let label = |label: &Option<Vec<String>>| label.as_ref().map_or("?".to_owned(), |classes| classes.join("+"));
        listing.entries.iter().map(|entry| (entry.path.as_str(), label(&entry.label))).collect()
    }

    #[test]
    fn rows_become_entries_and_bad_rows_are_reported() {
        let listing =
            listing("path,label,split\na b.png, cat ,train\n\"x,y.jpg\",,\n,dog,\nsub\\z.png,dog,val\n").unwrap();
        assert_eq!(labels(&listing), [("a b.png", "cat".into()), ("x,y.jpg", "?".into()), ("sub/z.png", "dog".into())]);
        let splits: Vec<Option<Split>> = listing.entries.iter().map(|entry| entry.split).collect();
        assert_eq!(splits, [Some(Split::Train), None, Some(Split::Val)]);
        assert_eq!(listing.problems, [("line 4".to_owned(), "it names no path".to_owned())]);
        assert!(!listing.multi_label);
    }

    #[test]
    fn files_may_have_several_classes_in_three_ways() {
        let expected =
            [("a.png", "cat+dog"), ("b.png", "dog"), ("c.png", "")].map(|(path, own)| (path, own.to_owned()));
        let list = listing("path,labels\na.png,cat | dog\nb.png,dog\nc.png,\n").unwrap();
        assert_eq!((labels(&list).as_slice(), list.multi_label), (expected.as_slice(), true));
        let columns = listing("cat,image,dog,split\n1,a.png,1,train\n0,b.png,True,val\n0,c.png,0,\n").unwrap();
        assert_eq!((labels(&columns).as_slice(), columns.multi_label), (expected.as_slice(), true));
        let lines = listing("path,label\na.png,dog\nb.png,dog\na.png,cat\nb.png,dog\n").unwrap();
        assert_eq!((labels(&lines).as_slice(), lines.multi_label), (&expected[..2], true));
    }

    #[test]
    fn other_columns_are_no_classes() {
        let found = listing("path,width,is_new\na.png,640,1\n").unwrap();
        assert_eq!((labels(&found), found.multi_label), (vec![("a.png", "?".into())], false));
        // A class may have a bar in its name where only one is named.
        assert_eq!(labels(&listing("path,label\na.png,cat|dog\n").unwrap()), [("a.png", "cat|dog".into())]);
        let split = listing("path,tags\na.png,big cat;dog\n").unwrap();
        assert_eq!(labels(&split), [("a.png", "big cat+dog".into())]);
    }

    #[test]
    fn a_csv_without_a_path_column_says_so() {
        let why = listing("a,b\n1,2\n").unwrap_err().to_string();
        assert!(why.contains("\"path\""), "{why}");
    }
}
