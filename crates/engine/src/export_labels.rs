//! Exports the labels of a dataset.
//!
//! An import of the export gives the same labels; samples for which it would not are left out, with the reason.

use crate::{Engine, EngineError, Result};
use assay_domain::entity::{Dataset, Problem, ProblemKind, Sample, SampleState};
use assay_domain::{ClassId, DatasetId};
use assay_formats::{LabelRow, labels_csv, path_of_text, path_text, place_text};
use assay_protocol::{ExportLabels, LabelFormat, LabelsWritten};
use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

impl Engine {
    /// The labels as CSV, with paths relative to the dataset's folder.
    pub fn labels_csv(&self, dataset: DatasetId) -> Result<Vec<u8>> {
        let found = self.dataset(dataset)?;
        let (samples, _) = self.labels_to_export(dataset)?;
        let rows: Vec<LabelRow> = samples.iter().map(|sample| row(sample, &found, sample.path.clone())).collect();
        written(&rows, &found)
    }

    /// Writes the labels to a new file or folder, atomically.
    pub fn export_labels(&self, dataset: DatasetId, request: &ExportLabels) -> Result<LabelsWritten> {
        let target = PathBuf::from(request.target.trim());
        if !target.is_absolute() {
            return Err(EngineError::Invalid(format!("an export needs a whole path, not {}", target.display())));
        }
        if target.exists() {
            return Err(EngineError::Conflict(format!(
                "there is something already: remove it, or choose another place: {}",
                target.display()
            )));
        }
        let found = self.dataset(dataset)?;
        let folder = Engine::source_folder(&found.source);
        let temporary = target.with_file_name(format!(
            ".{}.{}.part",
            target.file_name().unwrap_or_default().to_string_lossy(),
            std::process::id()
        ));
        let (samples, mut left_out) = self.labels_to_export(dataset)?;
        let written = match request.format {
            LabelFormat::Csv => {
                let is_beside = target.parent() == Some(&folder);
                let path = |sample: &Sample| match is_beside {
                    true => sample.path.clone(),
                    false => place_text(&folder.join(path_of_text(&sample.path))),
                };
                let rows: Vec<LabelRow> = samples.iter().map(|sample| row(sample, &found, path(sample))).collect();
                let bytes = written(&rows, &found)?;
                std::fs::write(&temporary, bytes).map_err(cannot(&temporary)).map(|()| rows.len() as u64)
            }
            LabelFormat::ClassFolders => copy_to_class_folders(&samples, (&found, &folder), &temporary, &mut left_out)
                .and_then(|copied| match copied {
                    0 if !left_out.is_empty() => Err(nothing_left(&left_out)),
                    copied => Ok(copied),
                }),
        };
        let placed = written.and_then(|samples| {
            std::fs::rename(&temporary, &target).map_err(cannot(&target))?;
            Ok(samples)
        });
        match placed {
            Ok(samples) => Ok(LabelsWritten { target: target.display().to_string(), samples, left_out }),
            Err(error) => {
                // Clean up; the first error matters more.
                let _ = if temporary.is_dir() {
                    std::fs::remove_dir_all(&temporary)
                } else {
                    std::fs::remove_file(&temporary)
                };
                Err(error)
            }
        }
    }

    /// The samples that count, and those left out since they are missing or changed. Removed ones are not mentioned.
    ///
    /// # Errors
    /// If there are only samples to leave out.
    fn labels_to_export(&self, dataset: DatasetId) -> Result<(Vec<Sample>, Vec<Problem>)> {
        let (mut samples, mut left_out) = (Vec::new(), Vec::new());
        for sample in self.store.read(|reader| reader.all_samples(dataset))? {
            match sample.state() {
                None => samples.push(sample),
                Some(SampleState::Removed) => {}
                Some(SampleState::Missing) => left_out.push(problem(&sample, "its file is missing".into())),
                Some(SampleState::Changed) => {
                    let reason = "its image changed since it was labelled: confirm it first";
                    left_out.push(problem(&sample, reason.into()));
                }
            }
        }
        if samples.is_empty() && !left_out.is_empty() {
            return Err(nothing_left(&left_out));
        }
        Ok((samples, left_out))
    }
}

fn problem(sample: &Sample, reason: String) -> Problem {
    Problem { path: sample.path.clone(), kind: ProblemKind::LeftOut, reason }
}

fn nothing_left(left_out: &[Problem]) -> EngineError {
    let reasons = left_out.iter().map(|problem| problem.reason.as_str());
    EngineError::Conflict(format!("nothing was exported, since no image is left: {}", assay_formats::left_out(reasons)))
}

fn written(rows: &[LabelRow], dataset: &Dataset) -> Result<Vec<u8>> {
    labels_csv(rows, dataset.labelling)
        .map_err(|why| EngineError::Internal(format!("the labels cannot be written: {why}")))
}

fn row(sample: &Sample, dataset: &Dataset, path: String) -> LabelRow {
    let name = |class: &ClassId| dataset.classes.get(class.0 as usize).cloned();
    let classes = sample.label.as_ref().map(|label| label.classes().iter().filter_map(name).collect());
    LabelRow { path, classes, split: sample.split }
}

fn cannot(path: &Path) -> impl Fn(std::io::Error) -> EngineError {
    move |why| EngineError::Invalid(format!("the labels cannot be written: {why}: {}", path.display()))
}

/// The copy of an image in a class folder.
struct ImageCopy<'a> {
    sample: &'a Sample,
    class: &'a str,
    from: PathBuf,
    /// Its path below the target, with what that says of it.
    row: LabelRow,
}

/// Copies each image of exactly one class into `target/SPLIT/CLASS`; returns how many.
fn copy_to_class_folders(
    samples: &[Sample],
    (dataset, folder): (&Dataset, &Path),
    target: &Path,
    left_out: &mut Vec<Problem>,
) -> Result<u64> {
    let planned = planned_copies(samples, dataset, folder, left_out);
    let planned = without_unreadable(planned, left_out).0;
    std::fs::create_dir_all(target).map_err(cannot(target))?;
    let mut folders = ClassFolders::default();
    let mut copied = Vec::with_capacity(planned.len());
    for copy in planned {
        let to = target.join(path_of_text(&copy.row.path));
        if let Some(reason) = folders.make(to.parent().unwrap_or(target), copy.class)? {
            left_out.push(problem(copy.sample, reason));
            continue;
        }
        match std::fs::copy(&copy.from, &to) {
            Ok(_) => copied.push(copy),
            Err(why) if ends_an_export(&why) => return Err(cannot(&to)(why)),
            Err(why) => {
                // There may be part of it.
                let _ = std::fs::remove_file(&to);
                left_out.push(problem(copy.sample, format!("it cannot be copied: {why}")));
            }
        }
    }
    // The roles of folders may depend on those that failed.
    let (copied, unreadable) = without_unreadable(copied, left_out);
    for copy in unreadable {
        let to = target.join(path_of_text(&copy.row.path));
        std::fs::remove_file(&to).map_err(cannot(&to))?;
    }
    folders.remove_empty();
    Ok(copied.len() as u64)
}

/// One copy for each sample of one class.
fn planned_copies<'a>(
    samples: &'a [Sample],
    dataset: &'a Dataset,
    folder: &Path,
    left_out: &mut Vec<Problem>,
) -> Vec<ImageCopy<'a>> {
    let mut copies = Vec::with_capacity(samples.len());
    let mut taken: HashSet<String> = HashSet::new();
    let mut last_number: HashMap<String, u32> = HashMap::new();
    for sample in samples {
        let class = match class_of(sample, dataset) {
            Ok(class) => class,
            Err(reason) => {
                left_out.push(problem(sample, reason));
                continue;
            }
        };
        let from = folder.join(path_of_text(&sample.path));
        let place = Path::new(sample.split.as_str()).join(class);
        // Files of one name come from different folders.
        let numbered = |number: u32| {
            let mut name = if number == 1 { OsString::new() } else { OsString::from(format!("{number}-")) };
            name.push(from.file_name().unwrap_or_default());
            path_text(&place.join(name))
        };
        // Not every file system tells upper from lower case.
        let last = last_number.entry(numbered(1).to_lowercase()).or_default();
        let (number, path) = (*last + 1..)
            .map(|number| (number, numbered(number)))
            .find(|(_, path)| taken.insert(path.to_lowercase()))
            .expect("BUG: numbers do not end");
        *last = number;
        let row = LabelRow { path, classes: Some(vec![class.to_owned()]), split: sample.split };
        copies.push(ImageCopy { sample, class, from, row });
    }
    copies
}

/// The only class of a sample, if it can be the name of a folder; else why not.
fn class_of<'a>(sample: &Sample, dataset: &'a Dataset) -> Result<&'a str, String> {
    let Some(label) = &sample.label else { return Err("it has no label".into()) };
    let Some(class) = label.only().and_then(|class| dataset.classes.get(class.0 as usize)) else {
        let count = label.classes().len();
        return Err(format!("it has {count} classes, and a folder stands for one: export as CSV instead"));
    };
    match class.contains(['/', '\\']) || class.starts_with('.') {
        true => Err(no_folder(class, "it has a slash or begins with a dot")),
        false => Ok(class.as_str()),
    }
}

fn no_folder(class: &str, why: impl std::fmt::Display) -> String {
    format!("its class {class:?} cannot be the name of a folder ({why}): export as CSV instead")
}

/// Separates the copies that an import of the class folders would not give their class and split.
fn without_unreadable<'a>(
    copies: Vec<ImageCopy<'a>>,
    left_out: &mut Vec<Problem>,
) -> (Vec<ImageCopy<'a>>, Vec<ImageCopy<'a>>) {
    let rows: Vec<&LabelRow> = copies.iter().map(|copy| &copy.row).collect();
    let come_back = LabelRow::come_back_from_folders(&rows);
    let (mut readable, mut unreadable) = (Vec::with_capacity(copies.len()), Vec::new());
    for (copy, comes_back) in copies.into_iter().zip(come_back) {
        if comes_back {
            readable.push(copy);
        } else {
            let class = copy.class;
            let reason = format!("in a class folder it would not be read back as {class:?}: export as CSV instead");
            left_out.push(problem(copy.sample, reason));
            unreadable.push(copy);
        }
    }
    (readable, unreadable)
}

/// The class folders of an export, with the reason for those that could not be made.
#[derive(Default)]
struct ClassFolders(HashMap<PathBuf, Option<String>>);

impl ClassFolders {
    /// Makes a folder, once. Returns why it cannot be.
    fn make(&mut self, place: &Path, class: &str) -> Result<Option<String>> {
        if let Some(known) = self.0.get(place) {
            return Ok(known.clone());
        }
        // An existing one: the file system takes it for another class's folder.
        let made = place.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::create_dir(place));
        let refused = match made {
            Ok(()) => None,
            Err(why) if ends_an_export(&why) => return Err(cannot(place)(why)),
            Err(why) => Some(no_folder(class, why)),
        };
        self.0.insert(place.to_owned(), refused.clone());
        Ok(refused)
    }

    /// Removes the folders without files, which would be read as classes without images.
    fn remove_empty(&self) {
        for place in self.0.keys() {
            // It fails for all others.
            let _ = std::fs::remove_dir(place);
        }
        for split in self.0.keys().filter_map(|place| place.parent()) {
            let _ = std::fs::remove_dir(split);
        }
    }
}

/// Whether no other file can be written either.
fn ends_an_export(why: &std::io::Error) -> bool {
    matches!(why.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem)
}

#[cfg(test)]
mod tests;
