//! MLflow's file stores (`mlruns`): a folder for each experiment with a folder for each run, in that a file for each value.

use super::columns::Cell;
use super::lines::read_lines;
use super::{LogFile, Named, below, fingerprint};
use assay_domain::foreign::{Contents, Logged, Part};
use assay_domain::{Point, RunStatus, Timestamp};
use serde::Deserialize;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// More than the longest value that MLflow takes.
const VALUE_BYTES: u64 = 1 << 16;

/// What `meta.yaml` says of a run.
#[derive(Deserialize)]
struct RunMeta {
    run_id: String,
    #[serde(default)]
    run_name: Option<String>,
    #[serde(default)]
    user_id: Option<String>,
    #[serde(default)]
    status: Option<i64>,
    #[serde(default)]
    start_time: Option<i64>,
    #[serde(default)]
    end_time: Option<i64>,
    #[serde(default)]
    lifecycle_stage: Option<String>,
}

/// What `meta.yaml` says of an experiment.
#[derive(Deserialize)]
struct ExperimentMeta {
    name: String,
}

fn run_meta(folder: &Path) -> Option<RunMeta> {
    serde_saphyr::from_str(&value(&folder.join("meta.yaml")).ok()?).ok()
}

/// Whether it is a run's folder.
pub(super) fn is_run(folder: &Path) -> bool {
    run_meta(folder).is_some()
}

/// The files of a run's folder, no files where the run is deleted; nothing where it is not a run's.
pub(super) fn files(folder: &Path, run: &str) -> Option<Vec<LogFile>> {
    if run_meta(folder)?.lifecycle_stage.as_deref() == Some("deleted") {
        return Some(Vec::new());
    }
    let file = |path: &Path, named| LogFile { path: path.to_owned(), run: run.to_owned(), named };
    let mut files = vec![file(&folder.join("meta.yaml"), Named::MlflowMeta)];
    for (kind, named) in [
        ("params", Named::MlflowParam as fn(String) -> Named),
        ("tags", Named::MlflowTag),
        ("metrics", Named::MlflowMetric),
        ("artifacts", Named::Artifact),
    ] {
        let root = folder.join(kind);
        let found = super::find::walk(&root).filter(|found| found.file_type().is_file());
        files.extend(found.map(|found| file(found.path(), named(below(found.path(), &root)))));
    }
    Some(files)
}

/// Reads what a run's `meta.yaml` and that of its experiment say.
pub(super) fn read_meta(path: &Path, from: u64) -> std::io::Result<Part> {
    let read = fingerprint(path)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let Some(meta) = run_meta(folder).filter(|_| read != from) else { return Ok(Part { read, ..Part::default() }) };
    let experiment = folder.parent().and_then(|folder| value(&folder.join("meta.yaml")).ok());
    let experiment = experiment.and_then(|text| serde_saphyr::from_str::<ExperimentMeta>(&text).ok());
    let mut logged = vec![Logged::Uid(meta.run_id)];
    logged.extend(experiment.map(|experiment| Logged::Experiment(experiment.name)));
    logged.extend(meta.run_name.map(Logged::Name));
    logged.extend(meta.user_id.map(Logged::User));
    logged.extend(meta.start_time.map(|at| Logged::Began(Timestamp(at))));
    let status = match meta.status {
        Some(2) => RunStatus::Queued,
        Some(3) => RunStatus::Finished,
        Some(4) => RunStatus::Failed,
        Some(5) => RunStatus::Stopped,
        _ => RunStatus::Running,
    };
    logged.push(Logged::Status(status, meta.end_time.map(Timestamp)));
    Ok(Part { logged, read, ..Part::default() })
}

/// Reads the file of a param or a tag.
pub(super) fn read_value(path: &Path, from: u64, logged: impl FnOnce(String) -> Logged) -> std::io::Result<Part> {
    let read = fingerprint(path)?;
    let logged = if read == from { Vec::new() } else { vec![logged(value(path)?)] };
    Ok(Part { logged, read, ..Part::default() })
}

fn value(path: &Path) -> std::io::Result<String> {
    // A pipe would wait for ever, and a link leads elsewhere.
    if !std::fs::symlink_metadata(path)?.is_file() {
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(VALUE_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Reads the file of a metric on: a line for each point, with its wall time, value and step.
pub(super) fn read_metric(path: &Path, key: &str, from: u64) -> std::io::Result<Part> {
    read_lines(
        path,
        from,
        VALUE_BYTES,
        |_| false,
        |part, line| {
            match point(&String::from_utf8_lossy(line)) {
                Some(point) => part.logged.push(Logged::Point(key.to_owned(), point)),
                None => part.left_out += 1,
            }
            Ok(())
        },
    )
}

fn point(line: &str) -> Option<Point> {
    let mut words = line.split_whitespace();
    let (wall_ms, value) = (whole(words.next()?)?, words.next()?.parse().ok()?);
    Some(Point { step: words.next().map_or(Some(0), whole)?, wall_ms, value })
}

/// Parses an integer, also as `50.0`.
fn whole(word: &str) -> Option<i64> {
    word.parse().ok().or_else(|| Cell::Number(word.parse().ok()?).step())
}

/// Takes a file as an artifact of this name, when it has changed.
pub(super) fn read_artifact(path: &Path, name: &str, from: u64) -> std::io::Result<Part> {
    let read = fingerprint(path)?;
    let file = || Logged::File(name.to_owned(), Contents::At(path.to_owned()));
    Ok(Part { logged: (read != from).then(file).into_iter().collect(), read, ..Part::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_metric_is_read_on_line_by_line_and_what_is_no_point_is_counted() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("loss");
        std::fs::write(&path, "5 0.5 1\n6 nan 2\nx y z\n7 -inf -3 ds abc\n8 0.").expect("a file");
        let part = read_metric(&path, "loss", 0).expect("it reads");
        let values: Vec<String> = part.logged.iter().map(|logged| format!("{logged:?}")).collect();
        assert_eq!((values.len(), part.left_out), (3, 1));
        assert!(values[2].contains("step: -3, wall_ms: 7, value: -inf"), "{values:?}");
        let mut file = std::fs::OpenOptions::new().append(true).open(&path).expect("it opens");
        file.write_all(b"25 9\n").expect("it takes more");
        let rest = read_metric(&path, "loss", part.read).expect("it reads");
        assert_eq!(rest.logged, [Logged::Point("loss".into(), Point { step: 9, wall_ms: 8, value: 0.25 })]);
    }

    #[test]
    fn steps_and_times_may_be_written_as_any_number_that_is_whole() {
        let of = |line: &str| point(line).map(|point| (point.wall_ms, point.step));
        assert_eq!(of("1700000000000 0.5 50.0"), Some((1_700_000_000_000, 50)));
        assert_eq!(of("1700000000000.0 0.5 1e2"), Some((1_700_000_000_000, 100)));
        assert_eq!(of("5 0.5 9007199254740993"), Some((5, 9_007_199_254_740_993)));
        assert_eq!([of("5 0.5 50.5"), of("5 0.5 nan"), of("5 0.5 1e300")], [None; 3]);
    }

    #[test]
    fn names_that_are_folded_over_lines_are_whole_and_deleted_runs_have_no_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let run = folder.path().join("7").join("ab");
        std::fs::create_dir_all(run.join("params")).expect("folders");
        std::fs::write(folder.path().join("7/meta.yaml"), "name: 'it''s: one'\nexperiment_id: '7'\n").expect("a file");
        let meta = "end_time: null\nrun_id: ab\nrun_name: \"a very long\n  name\"\nstart_time: 5\nstatus: 4\nx: [1]\n";
        std::fs::write(run.join("meta.yaml"), meta).expect("a file");
        std::fs::write(run.join("params/lr"), "0.1").expect("a file");
        assert_eq!(files(&run, "7/ab").map(|files| files.len()), Some(2));
        let part = read_meta(&run.join("meta.yaml"), 0).expect("it reads");
        let expected = [
            Logged::Uid("ab".into()),
            Logged::Experiment("it's: one".into()),
            Logged::Name("a very long name".into()),
            Logged::Began(Timestamp(5)),
            Logged::Status(RunStatus::Failed, None),
        ];
        assert_eq!(part.logged, expected);
        assert_eq!(read_meta(&run.join("meta.yaml"), part.read).expect("it reads").logged, []);
        std::fs::write(run.join("meta.yaml"), format!("{meta}lifecycle_stage: deleted\n")).expect("a file");
        assert_eq!(files(&run, "7/ab"), Some(Vec::new()));
        assert_eq!(files(folder.path(), ""), None);
    }
}
