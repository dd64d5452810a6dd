//! Writes labels such that [`crate::read`] reads them back.

use assay_domain::{Labelling, Split};

/// Separator of classes.
const SEPARATOR: &str = "|";

/// The labels of one file.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelRow {
    /// Path: absolute, or relative to the CSV.
    pub path: String,
    /// Its classes; `None` if unlabelled.
    pub classes: Option<Vec<String>>,
    /// Its split.
    pub split: Split,
}

/// A CSV of path, label (or labels, or a column for each class) and split.
///
/// # Errors
/// If a field cannot be written.
pub fn labels_csv(rows: &[LabelRow], labelling: Labelling, schema: &[String]) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let has_sign = |class: &String| class.contains(['|', ';', ',']) || class.eq_ignore_ascii_case("none");
    match labelling {
        Labelling::OneClass => {
            writer.write_record(["path", "label", "split"])?;
            for row in rows {
                let class = row.classes.as_ref().and_then(|classes| classes.first()).map_or("", String::as_str);
                writer.write_record([&row.path, class, row.split.as_str()])?;
            }
        }
        // Lists would be ambiguous.
        Labelling::AnyClasses if schema.iter().any(has_sign) => {
            let columns = schema.iter().map(String::as_str);
            writer.write_record(["path", "split"].into_iter().chain(columns))?;
            for row in rows {
                let flag = |class: &String| match &row.classes {
                    None => "",
                    Some(own) if own.contains(class) => "1",
                    Some(_) => "0",
                };
                writer.write_record([&row.path, row.split.as_str()].into_iter().chain(schema.iter().map(flag)))?;
            }
        }
        Labelling::AnyClasses => {
            writer.write_record(["path", "labels", "split"])?;
            for row in rows {
                let classes = match row.classes.as_deref() {
                    None => String::new(),
                    Some([]) => "none".into(),
                    Some(classes) => classes.join(SEPARATOR),
                };
                writer.write_record([row.path.as_str(), &classes, row.split.as_str()])?;
            }
        }
    }
    writer.into_inner().map_err(|why| csv::Error::from(why.into_error()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_back(rows: &[LabelRow], labelling: Labelling, schema: &[String]) -> Vec<LabelRow> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("labels.csv");
        std::fs::write(&file, labels_csv(rows, labelling, schema).unwrap()).unwrap();
        for row in rows {
            std::fs::write(folder.path().join(&row.path), b"\x89PNG\r\n\x1a\n").unwrap();
        }
        let listing = crate::read(&file, labelling).unwrap();
        assert_eq!(listing.problems, []);
        let row = |entry: crate::Entry| LabelRow {
            path: entry.path,
            classes: entry.label,
            split: entry.split.expect("each row names a split"),
        };
        listing.entries.into_iter().map(row).collect()
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            labels in proptest::collection::vec((proptest::option::of(proptest::collection::btree_set(0..4_usize, 0..4)), 0..3_usize), 1..8),
            odd: bool,
        ) {
            let schema = [["cat", "big dog", "3", "ü"], ["a|b", "none", "c;d", "e, \"f\""]][usize::from(odd)].map(str::to_owned);
            let row = |(number, (classes, split)): (usize, &(Option<std::collections::BTreeSet<usize>>, usize))| LabelRow {
                path: format!("a {number},ü.png"),
                classes: classes.as_ref().map(|own| {
                    let mut names: Vec<String> = own.iter().map(|class| schema[*class].clone()).collect();
                    names.sort();
                    names
                }),
                split: Split::ALL[*split],
            };
            let rows: Vec<LabelRow> = labels.iter().enumerate().map(row).collect();
            let sorted = |rows: Vec<LabelRow>| -> Vec<LabelRow> {
                let sort = |mut row: LabelRow| {
                    row.classes.iter_mut().for_each(|classes| classes.sort());
                    row
                };
                rows.into_iter().map(sort).collect()
            };
            prop_assert_eq!(sorted(read_back(&rows, Labelling::AnyClasses, &schema)), rows.clone());
            let one: Vec<LabelRow> = rows
                .into_iter()
                .map(|row| LabelRow { classes: row.classes.and_then(|own| Some(vec![own.into_iter().next()?])), ..row })
                .collect();
            prop_assert_eq!(read_back(&one, Labelling::OneClass, &schema), one);
        }
    }
}
