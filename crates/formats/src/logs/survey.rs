//! Surveys a folder's contents before anything is imported.

use super::find::{is_named_as_log, named};
use super::mlflow;
use crate::folder::slashed;
use crate::{Split, named_as_image};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What a folder has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Survey {
    /// Whether it has logged runs.
    pub has_runs: bool,
    /// Number of images by name, without those kept with a run.
    pub images: u64,
    /// Folders of class folders of images, without logs.
    pub datasets: Vec<PathBuf>,
    /// Number of other files.
    pub others: u64,
    /// Some of those.
    pub other_names: Vec<String>,
}

/// Maximum number of example names.
const NAMES: usize = 5;

/// Surveys a folder tree, skipping hidden entries and not following links.
pub fn survey(source: &Path) -> Survey {
    let mut found = Survey::default();
    let (mut with_logs, mut with_images) = (BTreeSet::new(), BTreeMap::new());
    let mut folders = vec![source.canonicalize().unwrap_or_else(|_| source.to_owned())];
    let root = folders[0].clone();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        let mut below = Vec::new();
        let (mut images, mut logs, mut is_of_run) = (0u64, false, false);
        for entry in entries.flatten() {
            let (name, Ok(kind)) = (entry.file_name(), entry.file_type()) else { continue };
            let name = name.to_string_lossy();
            if name.starts_with('.') || name == "__MACOSX" {
                continue;
            }
            if kind.is_dir() {
                below.push(entry.path());
            } else if kind.is_file() {
                let path = Path::new(name.as_ref());
                let is_log = is_named_as_log(&name) && !named(&entry.path()).is_empty();
                // Files beside W&B's records are theirs.
                is_of_run |= name == "meta.yaml" && mlflow::is_run(&folder) || is_log && name.ends_with(".wandb");
                logs |= is_log;
                if named_as_image(path) {
                    images += 1;
                } else if !is_log && name != "meta.yaml" {
                    found.others += 1;
                    if found.other_names.len() < NAMES {
                        found.other_names.push(slashed(entry.path().strip_prefix(&root).unwrap_or(path)));
                    }
                }
            }
        }
        found.has_runs |= logs || is_of_run;
        if logs || is_of_run {
            with_logs.insert(folder.clone());
        }
        if is_of_run {
            continue;
        }
        found.images += images;
        if images > 0 {
            with_images.insert(folder, images);
        }
        folders.extend(below);
    }
    found.other_names.sort_unstable();
    if found.has_runs {
        found.datasets = datasets(&with_images, &with_logs);
    }
    found
}

/// Folders with at least two class folders, or with splits of such, and without any logs.
fn datasets(with_images: &BTreeMap<PathBuf, u64>, with_logs: &BTreeSet<PathBuf>) -> Vec<PathBuf> {
    let is_split =
        |folder: &Path| folder.file_name().is_some_and(|name| Split::parse(&name.to_string_lossy()).is_some());
    let mut classes: BTreeMap<PathBuf, u64> = BTreeMap::new();
    for folder in with_images.keys().filter(|folder| !is_split(folder)) {
        if let Some(parent) = folder.parent() {
            *classes.entry(parent.to_owned()).or_default() += 1;
        }
    }
    let of_classes = classes.into_iter().filter(|(_, classes)| *classes >= 2).map(|(folder, _)| folder);
    let root = |folder: PathBuf| match folder.parent().filter(|_| is_split(&folder)) {
        Some(parent) => parent.to_owned(),
        None => folder,
    };
    let roots: BTreeSet<PathBuf> = of_classes.map(root).collect();
    let is_quiet = |root: &&PathBuf| !with_logs.iter().any(|logs| logs.starts_with(root) || root.starts_with(logs));
    let quiet: Vec<&PathBuf> = roots.iter().filter(is_quiet).collect();
    let is_outermost = |root: &&&PathBuf| !quiet.iter().any(|other| other != *root && root.starts_with(other));
    quiet.iter().filter(is_outermost).map(|root| (*root).clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(root: &Path, path: &str, text: &str) {
        let file = root.join(path);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("folders");
        std::fs::write(file, text).expect("a file");
    }

    #[test]
    fn plots_beside_logs_are_no_dataset_and_class_folders_away_from_them_are() {
        let root = tempfile::tempdir().expect("a folder");
        for path in ["runs/exp/confusion_matrix.png", "runs/exp/plots/a.png", "runs/exp/plots/b/c.png", "top.jpg"] {
            touch(root.path(), path, "");
        }
        touch(root.path(), "runs/exp/metrics.csv", "epoch,loss\n1,0.5\n");
        touch(root.path(), "notes.txt", "");
        let found = survey(root.path());
        assert!(found.has_runs && found.datasets.is_empty());
        assert_eq!((found.images, found.others, found.other_names), (4, 1, vec!["notes.txt".to_owned()]));
        for path in ["data/train/cat/1.png", "data/train/dog/1.png", "data/val/cat/2.png", "data/val/dog/2.png"] {
            touch(root.path(), path, "");
        }
        let data = root.path().canonicalize().expect("a path").join("data");
        assert_eq!(survey(root.path()).datasets, std::slice::from_ref(&data));
        let alone = survey(&data);
        assert_eq!((alone.has_runs, alone.images), (false, 4));
    }

    #[test]
    fn what_a_program_keeps_with_its_run_is_no_image_of_a_dataset() {
        let root = tempfile::tempdir().expect("a folder");
        touch(root.path(), "wandb/run-1/files/media/a.png", "");
        touch(root.path(), "wandb/run-1/run-1.wandb", "");
        touch(root.path(), "mlruns/0/ab/meta.yaml", "run_id: ab\nstatus: 3\n");
        touch(root.path(), "mlruns/0/ab/artifacts/b.png", "");
        let found = survey(root.path());
        assert_eq!((found.has_runs, found.images), (true, 0));
        assert_eq!(survey(&root.path().join("nothing")), Survey::default());
    }
}
