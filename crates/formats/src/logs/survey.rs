//! Surveys a folder's contents before anything is imported.

use super::find::{is_named_as_log, named};
use super::mlflow;
use crate::folder::slashed;
use crate::{Split, extension, named_as_image};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::DirEntry;
use std::ops::Bound;
use std::path::{Path, PathBuf};

/// What a folder has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Survey {
    /// Whether it has logged runs.
    pub has_runs: bool,
    /// Number of images by name, without those kept with a run.
    pub images: u64,
    /// Folders of class folders of images, without logs other than a stray table.
    pub datasets: Vec<PathBuf>,
    /// Number of other files.
    pub others: u64,
    /// Some of those.
    pub other_names: Vec<String>,
    /// Folders and files that cannot be read, each with the reason.
    pub problems: Vec<String>,
}

/// Maximum number of example names.
const NAMES: usize = 5;

/// Folders of images that programs write beside their logs; they are no classes.
const OUTPUTS: [&str; 7] = ["artifacts", "figures", "media", "plots", "predictions", "samples", "visualizations"];

/// Files that SQLite keeps beside an open database; they are read with it.
const BESIDE_DATABASE: [&str; 3] = ["mlflow.db-wal", "mlflow.db-shm", "mlflow.db-journal"];

/// The files directly in a folder.
#[derive(Default)]
struct Folder {
    images: u64,
    /// Tables of metrics: CSV or JSON.
    tables: u64,
    /// Files that only a logging program writes.
    records: u64,
    /// Whether it belongs to a run, with everything below it.
    is_of_run: bool,
}

impl Folder {
    fn has_logs(&self) -> bool {
        self.tables > 0 || self.records > 0 || self.is_of_run
    }
}

/// The folders surveyed, by path.
type Folders = BTreeMap<PathBuf, Folder>;

/// Surveys a folder tree, skipping hidden entries and not following links.
pub fn survey(source: &Path) -> Survey {
    let mut found = Survey::default();
    let mut folders = Folders::new();
    let root = source.canonicalize().unwrap_or_else(|_| source.to_owned());
    let mut waiting = vec![root.clone()];
    while let Some(path) = waiting.pop() {
        let entries = match std::fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(why) => {
                if path.is_dir() {
                    found.problems.push(unreadable(&why, &path));
                }
                continue;
            }
        };
        let (mut folder, mut below) = (Folder::default(), Vec::new());
        for entry in entries {
            match entry.and_then(|entry| Ok((entry.file_type()?, entry))) {
                Ok((kind, entry)) if is_visible(&entry) && kind.is_dir() => below.push(entry.path()),
                Ok((kind, entry)) if is_visible(&entry) && kind.is_file() => {
                    found.count(&mut folder, &entry.path(), &root);
                }
                Ok(_) => {}
                Err(why) => found.problems.push(unreadable(&why, &path)),
            }
        }
        found.has_runs |= folder.has_logs();
        if !folder.is_of_run {
            found.images += folder.images;
            waiting.extend(below);
        }
        folders.insert(path, folder);
    }
    found.other_names.sort_unstable();
    found.problems.sort_unstable();
    if found.has_runs {
        found.datasets = datasets(&folders);
    }
    found
}

fn is_visible(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    !name.to_string_lossy().starts_with('.') && name != "__MACOSX"
}

fn unreadable(why: &std::io::Error, path: &Path) -> String {
    format!("cannot be read: {why}: {}", path.display())
}

impl Survey {
    /// Counts a file of a folder.
    fn count(&mut self, folder: &mut Folder, path: &Path, root: &Path) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_log = is_named_as_log(&name) && !named(path).is_empty();
        if is_log && matches!(extension(path).as_str(), "csv" | "json" | "jsonl") {
            folder.tables += 1;
        } else if is_log {
            folder.records += 1;
        }
        // Files beside W&B's records are theirs.
        let is_meta = name == "meta.yaml" && path.parent().is_some_and(mlflow::is_run);
        folder.is_of_run |= is_meta || is_log && name.ends_with(".wandb");
        if named_as_image(path) {
            folder.images += 1;
        } else if !is_log && name != "meta.yaml" && !BESIDE_DATABASE.contains(&&*name) {
            self.others += 1;
            if self.other_names.len() < NAMES {
                self.other_names.push(slashed(path.strip_prefix(root).unwrap_or(path)));
            }
        }
    }
}

/// The outermost folders with at least two class folders, or with splits of such, that are a dataset for certain.
fn datasets(folders: &Folders) -> Vec<PathBuf> {
    let mut classes: BTreeMap<&Path, u64> = BTreeMap::new();
    for (path, _) in folders.iter().filter(|(path, folder)| folder.images > 0 && !folder.is_of_run && !is_split(path)) {
        if let Some(parent) = path.parent() {
            *classes.entry(parent).or_default() += 1;
        }
    }
    let of_classes = classes.into_iter().filter(|(_, classes)| *classes >= 2).map(|(folder, _)| folder);
    let root = |folder: &Path| match folder.parent().filter(|_| is_split(folder)) {
        Some(parent) => parent.to_owned(),
        None => folder.to_owned(),
    };
    let roots: BTreeSet<PathBuf> = of_classes.map(root).collect();
    let has_logs = |path: &Path| folders.get(path).is_some_and(Folder::has_logs);
    let is_dataset = |root: &&PathBuf| {
        let is_below_logs = root.ancestors().skip(1).any(has_logs);
        let is_quiet = below(root, folders).all(|(_, folder)| !folder.has_logs());
        !is_below_logs && (is_quiet || is_of_class_folders(root, folders))
    };
    let sure: Vec<&PathBuf> = roots.iter().filter(is_dataset).collect();
    let is_outermost = |root: &&&PathBuf| !sure.iter().any(|other| other != *root && root.starts_with(other));
    sure.iter().filter(is_outermost).map(|root| (*root).clone()).collect()
}

fn is_split(folder: &Path) -> bool {
    folder.file_name().is_some_and(|name| Split::parse(&name.to_string_lossy()).is_some())
}

/// A folder and those below it.
fn below<'a>(root: &'a Path, folders: &'a Folders) -> impl Iterator<Item = (&'a PathBuf, &'a Folder)> {
    let from_root = folders.range::<Path, _>((Bound::Included(root), Bound::Unbounded));
    from_root.take_while(move |(path, _)| path.starts_with(root))
}

/// Whether every folder below is a class folder with images, or a split of such. Then a table in it, or in one class
/// folder, is a stray one. Runs with plots have other folders, images beside their log, or logs in several folders.
fn is_of_class_folders(root: &Path, folders: &Folders) -> bool {
    let mut classes_with_tables = 0;
    for (path, folder) in below(root, folders) {
        let place: Vec<String> = path
            .strip_prefix(root)
            .map(|rest| rest.iter().map(|name| name.to_string_lossy().to_lowercase()).collect())
            .unwrap_or_default();
        let is_group = match place.as_slice() {
            [] => true,
            [split] => Split::parse(split).is_some(),
            _ => false,
        };
        let is_class = match place.as_slice() {
            [class] => !is_group && !OUTPUTS.contains(&class.as_str()),
            [split, class] => Split::parse(split).is_some() && !OUTPUTS.contains(&class.as_str()),
            _ => false,
        };
        // Images are in class folders and nowhere else.
        let fits = if folder.images > 0 { is_class } else { is_group };
        if !fits || folder.records > 0 || folder.is_of_run {
            return false;
        }
        classes_with_tables += u64::from(is_class && folder.tables > 0);
    }
    classes_with_tables <= 1
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
    #[test]
    fn class_folders_with_a_stray_table_are_a_dataset_and_runs_with_plots_are_none() {
        let table = "epoch,loss\n1,0.5\n";
        let images = ["cat/1.png", "cat/2.png", "dog/1.png", "bird/1.png"];
        for (more, is_dataset) in [
            (vec!["metrics.csv"], true),
            (vec!["cat/results.csv"], true),
            (vec!["cat/results.csv", "dog/results.csv"], false),
            (vec!["events.out.tfevents.1"], false),
            (vec!["cat/events.out.tfevents.1"], false),
            (vec!["metrics.csv", "confusion_matrix.png"], false),
            (vec!["metrics.csv", "weights/best.pt"], false),
            (vec!["metrics.csv", "cat/weights/best.pt"], false),
            (vec!["metrics.csv", "plots/loss.png"], false),
        ] {
            let root = tempfile::tempdir().expect("a folder");
            for path in images.iter().chain(&more) {
                touch(root.path(), path, if path.ends_with(".csv") { table } else { "" });
            }
            let found = survey(root.path());
            let place = root.path().canonicalize().expect("a path");
            let expected = if is_dataset { vec![place] } else { Vec::new() };
            assert_eq!((found.has_runs, found.datasets), (true, expected), "{more:?}");
        }
        let root = tempfile::tempdir().expect("a folder");
        for path in ["train/cat/1.png", "train/dog/1.png", "val/cat/2.png", "val/dog/2.png"] {
            touch(root.path(), path, "");
        }
        touch(root.path(), "train/metrics.csv", table);
        assert_eq!(survey(root.path()).datasets, [root.path().canonicalize().expect("a path")]);
    }

    #[test]
    fn what_sqlite_keeps_beside_a_database_is_no_other_file() {
        let root = tempfile::tempdir().expect("a folder");
        for name in ["mlflow.db", "mlflow.db-wal", "mlflow.db-shm", "notes.txt"] {
            touch(root.path(), name, "");
        }
        assert_eq!(survey(root.path()).other_names, ["notes.txt"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_that_cannot_be_read_is_told() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().expect("a folder");
        touch(root.path(), "logs/metrics.csv", "epoch,loss\n1,0.5\n");
        let logs = root.path().join("logs");
        let set = |mode| std::fs::set_permissions(&logs, std::fs::Permissions::from_mode(mode)).expect("it is ours");
        set(0o000);
        // The superuser reads it all the same.
        let is_readable = std::fs::read_dir(&logs).is_ok();
        let found = survey(root.path());
        set(0o755);
        let is_told = found.problems.iter().any(|why| why.starts_with("cannot be read: ") && why.ends_with("logs"));
        assert_eq!((found.has_runs, is_told), (is_readable, !is_readable), "{found:?}");
    }
}
