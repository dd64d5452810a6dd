//! A CSV with the columns path and label, and perhaps split; paths are relative to the CSV.

use crate::{Entry, FormatError, Listing};
use assay_domain::{Split, class_name};
use std::path::Path;

pub(crate) fn read(source: &Path) -> Result<Listing, FormatError> {
    let unreadable = |why: String| FormatError::Unreadable { what: "the CSV", why, path: source.to_owned() };
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .flexible(true)
        .from_path(source)
        .map_err(|why| unreadable(why.to_string()))?;
    let headers = reader.headers().map_err(|why| unreadable(why.to_string()))?.clone();
    let column = |names: &[&str]| {
        headers.iter().position(|header| {
            names.iter().any(|name| header.trim_start_matches('\u{feff}').eq_ignore_ascii_case(name))
        })
    };
    let path_column = column(&["path", "file", "filename", "image"])
        .ok_or_else(|| unreadable("its first line must name a column \"path\"".into()))?;
    let (label_column, split_column) = (column(&["label", "class"]), column(&["split"]));
    let base = source.parent().unwrap_or(Path::new("."));
    let mut listing = Listing::default();
    for (line, record) in reader.records().enumerate() {
        let record = match record {
            Ok(record) => record,
            Err(why) => {
                listing.problems.push((format!("line {}", line + 2), why.to_string()));
                continue;
            }
        };
        let field =
            |column: Option<usize>| column.and_then(|column| record.get(column)).filter(|text| !text.is_empty());
        let Some(path) = field(Some(path_column)) else {
            listing.problems.push((format!("line {}", line + 2), "it names no path".into()));
            continue;
        };
        let class = match field(label_column).map(class_name).transpose() {
            Ok(class) => class,
            Err(why) => {
                listing.problems.push((path.to_owned(), why.to_string()));
                continue;
            }
        };
        let path = path.replace('\\', "/");
        let split = field(split_column).and_then(Split::parse);
        listing.entries.push(Entry { file: base.join(&path), path, class, split });
    }
    Ok(listing)
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

    #[test]
    fn rows_become_entries_and_bad_rows_are_reported() {
        let listing =
            listing("path,label,split\na b.png, cat ,train\n\"x,y.jpg\",,\n,dog,\nsub\\z.png,dog,val\n").unwrap();
        let seen: Vec<(&str, Option<&str>, Option<Split>)> =
            listing.entries.iter().map(|e| (e.path.as_str(), e.class.as_deref(), e.split)).collect();
        assert_eq!(
            seen,
            [
                ("a b.png", Some("cat"), Some(Split::Train)),
                ("x,y.jpg", None, None),
                ("sub/z.png", Some("dog"), Some(Split::Val)),
            ]
        );
        assert_eq!(listing.problems, [("line 4".to_owned(), "it names no path".to_owned())]);
    }

    #[test]
    fn a_csv_without_a_path_column_says_so() {
        let why = listing("a,b\n1,2\n").unwrap_err().to_string();
        assert!(why.contains("\"path\""), "{why}");
    }
}
