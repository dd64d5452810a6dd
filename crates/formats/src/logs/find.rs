//! Assigns the files of a folder to runs.

use super::csv_lines::{self, Place, Shape};
use super::{LogFile, Named, below, mlflow, trainer};
use crate::extension;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use walkdir::{DirEntry, WalkDir};

/// Names of CSVs of metrics in folders; they also need a step column.
const CSV: [&str; 8] = [
    "metrics.csv",
    "progress.csv",
    "results.csv",
    "log.csv",
    "history.csv",
    "training.csv",
    "training_log.csv",
    "train_log.csv",
];

/// JSON lines of metrics in folders.
const JSON_LINES: [&str; 5] =
    ["metrics.jsonl", "trainer_log.jsonl", "progress.jsonl", "log.jsonl", "training_log.jsonl"];

/// Names of `.json` files that are JSON lines.
const JSON: [&str; 4] = ["metrics.json", "progress.json", "result.json", "scalars.json"];

/// Whether the name alone suggests a log.
pub(super) fn is_named_as_log(name: &str) -> bool {
    let name = name.to_lowercase();
    let is_download = name.ends_with(".csv")
        && (name.starts_with("run-") && name.contains("-tag-") || name.starts_with("wandb_export"));
    CSV.contains(&name.as_str())
        || JSON_LINES.contains(&name.as_str())
        || JSON.contains(&name.as_str())
        || name.ends_with(".log.json")
        || name == trainer::NAME
        || name == "mlflow.db"
        || name.contains("tfevents")
        || name.ends_with(".wandb")
        || is_download
}

/// The kinds of a file in a folder; ambiguous endings need a known name. A table may hold several runs.
pub(super) fn named(path: &Path) -> Vec<Named> {
    let Some(name) = path.file_name().map(|name| name.to_string_lossy().to_lowercase()) else { return Vec::new() };
    if !is_named_as_log(&name) {
        return Vec::new();
    }
    match extension(path).as_str() {
        _ if name.contains("tfevents") => vec![Named::Events],
        "csv" => of_csv(path, Place::InFolder),
        "jsonl" => vec![Named::JsonLines],
        "json" if name == trainer::NAME => vec![Named::TrainerState],
        "json" => trainer::is_of_lines(path).then_some(Named::JsonLines).into_iter().collect(),
        "db" => vec![Named::MlflowDatabase],
        _ => vec![Named::Wandb],
    }
}

/// The kinds of a file named by the user.
fn named_alone(path: &Path) -> Vec<Named> {
    match extension(path).as_str() {
        "csv" => of_csv(path, Place::Alone),
        "jsonl" | "ndjson" => vec![Named::JsonLines],
        "json" if trainer::is_state(path) => vec![Named::TrainerState],
        "json" => trainer::is_of_lines(path).then_some(Named::JsonLines).into_iter().collect(),
        "db" | "sqlite" | "sqlite3" => vec![Named::MlflowDatabase],
        _ => named(path),
    }
}

fn of_csv(path: &Path, place: Place) -> Vec<Named> {
    match csv_lines::shape(path, place) {
        Shape::Metrics | Shape::Tensorboard => vec![Named::Csv],
        Shape::Wandb(runs) => runs.into_iter().map(Named::WandbCsv).collect(),
        Shape::Other => Vec::new(),
    }
}

/// The log files of a folder, or a single one, by run and sorted by path.
pub fn find(source: &Path) -> Vec<LogFile> {
    if source.is_file() {
        let named = named_alone(source);
        let is_one = named.len() == 1;
        let run = |named: &Named| match named {
            Named::WandbCsv(run) if !is_one => run.clone(),
            _ => String::new(),
        };
        return named.into_iter().map(|named| LogFile { path: source.to_owned(), run: run(&named), named }).collect();
    }
    let mut files = Vec::new();
    let mut parts = Parts::default();
    let mut found = walk(source);
    while let Some(entry) = found.next() {
        let path = entry.path();
        if entry.file_type().is_dir() {
            if let Some(of_run) = mlflow::files(path, &below(path, source)) {
                files.extend(of_run);
                found.skip_current_dir();
            }
            continue;
        }
        if !entry.file_type().is_file() {
            continue;
        }
        let folder = path.parent().unwrap_or(source);
        let run = below(folder, source);
        for named in named(path) {
            let file = |run: String, named| LogFile { path: path.to_owned(), run, named };
            match named {
                Named::Wandb => {
                    // Other files of W&B lie beside its records.
                    let (run, is_first) = parts.run_of(path, run.clone());
                    let beside = artifacts(&folder.join("files"), &run).into_iter().map(|file| match file.named {
                        Named::Artifact(name) if !is_first => {
                            let part = folder.file_name().unwrap_or_default().to_string_lossy();
                            LogFile { named: Named::Artifact(format!("{part}/{name}")), ..file }
                        }
                        named => LogFile { named, ..file },
                    });
                    files.extend(beside);
                    files.push(file(run, Named::Wandb));
                    found.skip_current_dir();
                }
                Named::WandbCsv(of) => files.push(file(joined(&run, &of), Named::WandbCsv(of))),
                Named::TrainerState => files.push(file(below(&trainer::folder(path), source), Named::TrainerState)),
                Named::Csv if !is_known_csv(path) => {
                    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                    let own = csv_lines::run_and_tag(path).map_or(stem, |(run, _)| run);
                    files.push(file(joined(&run, &own), Named::Csv));
                }
                named => files.push(file(run.clone(), named)),
            }
        }
    }
    without_copies(files)
}

fn is_known_csv(path: &Path) -> bool {
    path.file_name().is_some_and(|name| CSV.contains(&name.to_string_lossy().to_lowercase().as_str()))
}

fn joined(folder: &str, name: &str) -> String {
    match (folder, name) {
        ("", name) => name.to_owned(),
        (folder, "") => folder.to_owned(),
        (folder, name) => format!("{folder}/{name}"),
    }
}

/// Drops duplicates: loggers that write several formats, and older checkpoints, whose history the newest repeats.
fn without_copies(mut files: Vec<LogFile>) -> Vec<LogFile> {
    let folder = |file: &LogFile| file.path.parent().map(Path::to_owned).unwrap_or_default();
    let name = |file: &LogFile| file.path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let of =
        |is: &dyn Fn(&LogFile) -> bool| files.iter().filter(|file| is(file)).map(folder).collect::<HashSet<PathBuf>>();
    let with_events = of(&|file| file.named == Named::Events);
    let with_lines = of(&|file| matches!(name(file).as_str(), "progress.json" | "result.json"));
    let mut latest: HashMap<String, (Age, PathBuf)> = HashMap::new();
    for file in files.iter().filter(|file| file.named == Named::TrainerState) {
        let age = age_of_state(&file.path);
        let of_run = latest.entry(file.run.clone()).or_insert_with(|| (age, file.path.clone()));
        if age > of_run.0 {
            *of_run = (age, file.path.clone());
        }
    }
    files.retain(|file| match (&file.named, name(file).as_str()) {
        (Named::Csv, "progress.csv") => !with_events.contains(&folder(file)) && !with_lines.contains(&folder(file)),
        (Named::JsonLines, "progress.json" | "result.json") => !with_events.contains(&folder(file)),
        (Named::TrainerState, _) => latest.get(&file.run).is_some_and(|(_, path)| *path == file.path),
        _ => true,
    });
    files
}

/// When a trainer's state was written, and its checkpoint.
type Age = (SystemTime, u64);

/// The last written state is the current one: a new training in an old folder begins with low checkpoints again. Of
/// states written together, the highest counts; one outside of checkpoints is written at the end.
fn age_of_state(path: &Path) -> Age {
    let written = std::fs::metadata(path).and_then(|metadata| metadata.modified()).unwrap_or(UNIX_EPOCH);
    (written, trainer::checkpoint(path).unwrap_or(u64::MAX))
}

/// W&B's folders by run: a resumed run has one for each part, with the same id.
#[derive(Default)]
struct Parts(HashMap<(PathBuf, String), String>);

impl Parts {
    /// A record file's run, and whether it is the first part.
    fn run_of(&mut self, path: &Path, run: String) -> (String, bool) {
        let folder = path.parent();
        let id = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let id = id.strip_prefix("run-").unwrap_or_default();
        let name = folder.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let is_part = !id.is_empty() && name.contains("run-") && name.ends_with(&format!("-{id}"));
        let Some(parent) = folder.and_then(Path::parent).filter(|_| is_part) else { return (run, true) };
        let mut is_first = false;
        let first = self.0.entry((parent.to_owned(), id.to_owned())).or_insert_with(|| {
            is_first = true;
            run
        });
        (first.clone(), is_first)
    }
}

/// The files below a folder, as those of a run.
pub fn artifacts(folder: &Path, run: &str) -> Vec<LogFile> {
    let files = walk(folder).filter(|found| found.file_type().is_file());
    let file = |found: DirEntry| LogFile {
        path: found.path().to_owned(),
        run: run.to_owned(),
        named: Named::Artifact(below(found.path(), folder)),
    };
    files.map(file).collect()
}

/// Walks a folder, files before folders, without hidden ones. Links are not followed.
pub(super) fn walk(root: &Path) -> Visible {
    let by_kind = |a: &DirEntry, b: &DirEntry| {
        (a.file_type().is_dir(), a.file_name()).cmp(&(b.file_type().is_dir(), b.file_name()))
    };
    Visible(WalkDir::new(root).follow_root_links(false).sort_by(by_kind).into_iter())
}

pub(super) struct Visible(walkdir::IntoIter);

impl Visible {
    fn skip_current_dir(&mut self) {
        self.0.skip_current_dir();
    }
}

impl Iterator for Visible {
    type Item = DirEntry;

    fn next(&mut self) -> Option<DirEntry> {
        loop {
            // Unreadable entries are skipped here: the survey reports them.
            let Ok(found) = self.0.next()? else { continue };
            if found.depth() == 0 || !found.file_name().to_string_lossy().starts_with('.') {
                return Some(found);
            }
            if found.file_type().is_dir() {
                self.0.skip_current_dir();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn of_the_states_of_a_trainer_the_one_written_last_counts_and_the_highest_of_those_written_together() {
        let root = tempfile::tempdir().expect("a folder");
        let write = |name: &str, secs: u64| {
            let path = root.path().join(name).join(trainer::NAME);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
            std::fs::write(&path, "{\"log_history\": []}").expect("a file");
            let file = std::fs::File::options().write(true).open(&path).expect("it opens");
            file.set_modified(UNIX_EPOCH + Duration::from_secs(1_700_000_000 + secs)).expect("a time");
        };
        let current = || {
            let files = find(root.path());
            let [file] = files.as_slice() else { panic!("one state is read: {files:?}") };
            below(&file.path, root.path())
        };
        write("checkpoint-5", 0);
        write("checkpoint-20", 0);
        assert_eq!(current(), "checkpoint-20/trainer_state.json");
        write("checkpoint-10", 60);
        assert_eq!(current(), "checkpoint-10/trainer_state.json");
        write("", 60);
        assert_eq!(current(), "trainer_state.json");
    }
}
