//! Exports the labels of a dataset.

use crate::{Engine, EngineError, Result};
use assay_domain::entity::{Dataset, Problem, ProblemKind, Sample};
use assay_domain::{ClassId, DatasetId};
use assay_formats::{LabelRow, labels_csv};
use assay_protocol::{ExportLabels, LabelFormat, LabelsWritten};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

impl Engine {
    /// The labels as CSV, with paths relative to the dataset's folder.
    pub fn labels_csv(&self, dataset: DatasetId) -> Result<Vec<u8>> {
        let found = self.dataset(dataset)?;
        let rows =
            self.labels_to_export(dataset)?.iter().map(|sample| row(sample, &found, sample.path.clone())).collect();
        written(rows, &found)
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
        let samples = self.labels_to_export(dataset)?;
        let written = match request.format {
            LabelFormat::Csv => {
                let is_beside = target.parent() == Some(&folder);
                let path = |sample: &Sample| match is_beside {
                    true => sample.path.clone(),
                    false => folder.join(&sample.path).display().to_string(),
                };
                let rows: Vec<LabelRow> = samples.iter().map(|sample| row(sample, &found, path(sample))).collect();
                let count = rows.len() as u64;
                let bytes = written(rows, &found)?;
                std::fs::write(&temporary, bytes).map_err(cannot(&temporary)).map(|()| (count, Vec::new()))
            }
            LabelFormat::ClassFolders => copy_to_class_folders(&samples, &found, &folder, &temporary),
        };
        let placed = written.and_then(|written| {
            std::fs::rename(&temporary, &target).map_err(cannot(&target))?;
            Ok(written)
        });
        match placed {
            Ok((samples, left_out)) => Ok(LabelsWritten { target: target.display().to_string(), samples, left_out }),
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

    /// Samples that are neither missing nor changed.
    fn labels_to_export(&self, dataset: DatasetId) -> Result<Vec<Sample>> {
        let samples = self.store.read(|reader| reader.all_samples(dataset))?;
        Ok(samples.into_iter().filter(|sample| sample.state().is_none()).collect())
    }
}

fn written(rows: Vec<LabelRow>, dataset: &Dataset) -> Result<Vec<u8>> {
    labels_csv(&rows, dataset.labelling, &dataset.classes)
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

/// Copies each image of exactly one class into `target/SPLIT/CLASS`; returns how many, and those left out.
fn copy_to_class_folders(
    samples: &[Sample],
    dataset: &Dataset,
    folder: &Path,
    target: &Path,
) -> Result<(u64, Vec<Problem>)> {
    let (mut copied, mut left_out) = (0, Vec::new());
    let mut taken: HashSet<PathBuf> = HashSet::new();
    std::fs::create_dir_all(target).map_err(cannot(target))?;
    for sample in samples {
        let mut leave = |reason: String| {
            left_out.push(Problem { path: sample.path.clone(), kind: ProblemKind::LeftOut, reason });
        };
        let Some(label) = &sample.label else {
            leave("it has no label".into());
            continue;
        };
        let Some(class) = label.only().and_then(|class| dataset.classes.get(class.0 as usize)) else {
            leave(format!("it has {} classes, and a folder stands for one: export a CSV", label.classes().len()));
            continue;
        };
        if class.contains(['/', '\\']) || class.starts_with('.') {
            leave(format!("its class {class:?} cannot be the name of a folder: export a CSV"));
            continue;
        }
        let place = target.join(sample.split.as_str()).join(class);
        std::fs::create_dir_all(&place).map_err(cannot(&place))?;
        let from = folder.join(assay_formats::path_of_text(&sample.path));
        let name = from.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Files of one name come from different folders.
        let numbered = |number: u32| match number {
            1 => place.join(&name),
            number => place.join(format!("{number}-{name}")),
        };
        let to = (1..).map(numbered).find(|path| taken.insert(path.clone())).expect("BUG: numbers do not end");
        match std::fs::copy(&from, &to) {
            Ok(_) => copied += 1,
            Err(why) if from.is_file() => return Err(cannot(&to)(why)),
            Err(why) => leave(format!("it cannot be read: {why}")),
        }
    }
    Ok((copied, left_out))
}
