//! A CSV of paths with their labels; paths are relative to the CSV.
//!
//! Classes are written in one of three ways. A column `label` (or `class`) names one class; files that may have several have
//! several lines. A column `labels` (or `classes`, `tags`) names any number, separated by `|`, `;` or `,`; `none` names none of
//! them. Or each class has a column of its own, with 1 where a file has it and 0 where not. What is empty is not labelled. A
//! column `split` may say where a file belongs.

use crate::{Entry, FormatError, Listing};
use assay_domain::{ClassNameError, Labelling, Split, class_name};
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

/// What says that a file shows none of the classes.
const NONE: &str = "none";

pub(crate) fn read(source: &Path, wanted: Labelling) -> Result<Listing, FormatError> {
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
            let fields = |place: usize| lines.iter().filter_map(move |(_, line)| line.get(place));
            let is_flags = |place: &usize| {
                fields(*place).all(|field| field.is_empty() || flag(field).is_some())
                    && fields(*place).any(|f| !f.is_empty())
            };
            let (flags, rest): (Vec<usize>, Vec<usize>) = others.iter().partition(|place| is_flags(place));
            let names =
                |places: &[usize]| places.iter().map(|place| headers[*place].as_str()).collect::<Vec<_>>().join(", ");
            // One column of 0 and 1 may be about anything.
            let least = if wanted == Labelling::AnyClasses { 1 } else { 2 };
            if flags.len() < least || (!rest.is_empty() && wanted == Labelling::OneClass) {
                if !flags.is_empty() {
                    listing.note = Some(format!(
                        "the columns {} were not taken for classes: say that an image may have several, if they are",
                        names(&flags)
                    ));
                }
                Labels::None
            } else {
                let besides = if rest.is_empty() { String::new() } else { format!(", but not {}", names(&rest)) };
                listing.note = Some(format!("{} columns are classes{besides}", flags.len()));
                let column = |place: usize| Ok((place, class_name(&headers[place])?));
                let columns = flags.into_iter().map(column).collect::<Result<_, ClassNameError>>();
                Labels::Columns(columns.map_err(|why| unreadable(why.to_string()))?)
            }
        }
    };
    listing.labelling = match labels {
        Labels::List(..) | Labels::Columns(_) => Labelling::AnyClasses,
        Labels::One(_) | Labels::None => wanted,
    };
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
            Occupied(place) => {
                let own = &mut listing.entries[*place.get()].label;
                if listing.labelling == Labelling::AnyClasses {
                    // One more class of a file.
                    if let Some(classes) = label {
                        let own = own.get_or_insert_default();
                        own.extend(classes);
                        own.sort();
                        own.dedup();
                    }
                } else if own.is_none() {
                    *own = label;
                } else if label.is_some() && label != *own {
                    let name = |label: &Option<Vec<String>>| label.clone().unwrap_or_default().join(", ");
                    let reason = format!(
                        "line {number} names it {:?}, an earlier one {:?}: the earlier is taken, unless an image may have several",
                        name(&label),
                        name(own)
                    );
                    listing.problems.push((path, reason));
                }
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
            Labels::List(place, separator) => match field(*place) {
                None => Ok(None),
                Some(text) if text.eq_ignore_ascii_case(NONE) => Ok(Some(Vec::new())),
                Some(text) => {
                    let parts = text.split(*separator).map(str::trim).filter(|part| !part.is_empty());
                    Ok(Some(parts.map(class_name).collect::<Result<_, _>>()?))
                }
            },
            Labels::Columns(columns) => {
                let flags = columns.iter().filter_map(|(place, name)| Some((flag(field(*place)?)?, name)));
                let flags: Vec<(bool, &String)> = flags.collect();
                let own = flags.iter().filter(|(is_set, _)| *is_set).map(|(_, name)| (*name).clone()).collect();
                Ok((!flags.is_empty()).then_some(own))
            }
        }
    }
}

/// What separates classes: the first of these that occurs.
fn separator<'a>(fields: impl Iterator<Item = &'a str> + Clone) -> char {
    ['|', ';', ','].into_iter().find(|sign| fields.clone().any(|field| field.contains(*sign))).unwrap_or('|')
}

fn flag(field: &str) -> Option<bool> {
    match field.to_ascii_lowercase().as_str() {
        "1" | "1.0" | "true" => Some(true),
        "0" | "0.0" | "false" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing_of(text: &str, wanted: Labelling) -> Result<Listing, FormatError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list.csv");
        std::fs::write(&path, text).unwrap();
        read(&path, wanted)
    }

    fn listing(text: &str) -> Result<Listing, FormatError> {
        listing_of(text, Labelling::OneClass)
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
        let expected = [("a b.png", "cat"), ("x,y.jpg", "?"), ("sub/z.png", "dog")];
        assert_eq!(labels(&listing), expected.map(|(path, own)| (path, own.to_owned())));
        let splits: Vec<Option<Split>> = listing.entries.iter().map(|entry| entry.split).collect();
        assert_eq!(splits, [Some(Split::Train), None, Some(Split::Val)]);
        assert_eq!(listing.problems, [("line 4".to_owned(), "it names no path".to_owned())]);
        assert_eq!(listing.labelling, Labelling::OneClass);
    }

    #[test]
    fn files_may_have_several_classes_in_three_ways() {
        let expected = [("a.png", "cat+dog"), ("b.png", "dog"), ("c.png", ""), ("d.png", "?")];
        let expected = expected.map(|(path, own)| (path, own.to_owned()));
        let list = listing("path,labels\na.png,cat | dog\nb.png,dog\nc.png,None\nd.png\n").unwrap();
        assert_eq!((labels(&list).as_slice(), list.labelling), (expected.as_slice(), Labelling::AnyClasses));
        let columns = "cat,image,dog,split\n1,a.png,1,train\n0,b.png,True,val\n0,c.png,0,\n,d.png,,\n";
        let columns = listing(columns).unwrap();
        assert_eq!((labels(&columns).as_slice(), columns.labelling), (expected.as_slice(), Labelling::AnyClasses));
        let lines = "path,label\na.png,dog\nb.png,dog\na.png,cat\nb.png,dog\n";
        let merged = listing_of(lines, Labelling::AnyClasses).unwrap();
        assert_eq!(labels(&merged), &expected[..2]);
        // Where a file has one class, a second one is a mistake to be told of.
        let kept = listing(lines).unwrap();
        assert_eq!((labels(&kept)[0].1.as_str(), kept.problems.len()), ("dog", 1));
        assert!(kept.problems[0].1.contains("line 4"), "{:?}", kept.problems);
    }

    #[test]
    fn other_columns_are_classes_only_where_nothing_else_can_be_meant() {
        let found = listing("path,width,is_new,is_old\na.png,640,1,0\n").unwrap();
        assert_eq!((labels(&found), found.labelling), (vec![("a.png", "?".into())], Labelling::OneClass));
        assert!(found.note.is_some_and(|note| note.contains("is_new, is_old")));
        let found = listing_of("path,width,defect\na.png,640,1\nb.png,640,0\n", Labelling::AnyClasses).unwrap();
        assert_eq!(labels(&found), [("a.png", "defect".into()), ("b.png", String::new())]);
        assert_eq!(found.note.as_deref(), Some("1 columns are classes, but not width"));
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
