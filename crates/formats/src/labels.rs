//! Writes labels such that [`crate::read`] reads them back.

use crate::csv_list::class_list;
use crate::folder;
use assay_domain::{Labelling, Split};

/// The labels of one file.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelRow {
    /// Path: absolute, or relative to the CSV or the folder.
    pub path: String,
    /// Its classes; `None` if unlabelled.
    pub classes: Option<Vec<String>>,
    /// Its split.
    pub split: Split,
}

impl LabelRow {
    /// Whether a folder of these files gives each its one class and split back, if those that it does not are left out.
    pub fn come_back_from_folders(rows: &[&LabelRow]) -> Vec<bool> {
        let mut comes_back = vec![true; rows.len()];
        loop {
            let left: Vec<usize> = (0..rows.len()).filter(|row| comes_back[*row]).collect();
            let paths: Vec<&str> = left.iter().map(|row| rows[*row].path.as_str()).collect();
            let mut are_all = true;
            for (row, place) in left.into_iter().zip(folder::places_of(&paths)) {
                let is_own = place.is_some_and(|place| {
                    place.split == Some(rows[row].split) && rows[row].classes == place.class.map(|class| vec![class])
                });
                comes_back[row] = is_own;
                are_all &= is_own;
            }
            // The roles of folders depend on those beside them.
            if are_all {
                return comes_back;
            }
        }
    }
}

/// A CSV of path, label and split; where a file may have other than one class, of path, labels and split.
///
/// # Errors
/// If a field cannot be written.
pub fn labels_csv(rows: &[LabelRow], labelling: Labelling) -> Result<Vec<u8>, csv::Error> {
    let has_one = |row: &LabelRow| row.classes.as_ref().is_none_or(|classes| classes.len() == 1);
    let has_lists = labelling == Labelling::AnyClasses || !rows.iter().all(has_one);
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["path", if has_lists { "labels" } else { "label" }, "split"])?;
    for row in rows {
        let classes = match row.classes.as_deref() {
            None => String::new(),
            Some([only]) if !has_lists => only.clone(),
            Some(classes) => class_list::written(classes),
        };
        writer.write_record([row.path.as_str(), &classes, row.split.as_str()])?;
    }
    writer.into_inner().map_err(|why| csv::Error::from(why.into_error()))
}

#[cfg(test)]
mod tests;
