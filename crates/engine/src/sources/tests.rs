use super::*;
use crate::RUN_NAME;
use crate::testing::open_engine;
use assay_domain::Point;
use assay_domain::foreign::Logged;
use std::path::PathBuf;
use std::sync::Arc;

/// A folder of logs, and a workspace beside it.
struct World {
    folder: tempfile::TempDir,
    engine: Arc<Engine>,
}

impl World {
    fn new() -> World {
        let folder = tempfile::tempdir().expect("a folder");
        World { engine: open_engine(&folder.path().join(".assay")), folder }
    }

    fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        std::fs::write(&path, text).expect("a file");
        path
    }

    /// The message of an import, or why it failed.
    fn import(&self, path: &Path) -> std::result::Result<String, String> {
        let path = path.display().to_string();
        let work = JobKind::ImportRuns { source: path.clone(), experiment: "logs".into(), step: None, time: None };
        let job = self.engine.store.write(move |tx| tx.queue_job(&work)).expect("a job");
        let asked = Asked { path: &path, experiment: "logs", step: None, time: None };
        match self.engine.import_runs(job, &asked, &AtomicBool::new(false)) {
            Ok(Done::Finished(message)) => Ok(message),
            Ok(_) => panic!("nobody stops it"),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The number of points that are new in the sources that are followed.
    fn follow(&self) -> u64 {
        let mut files = self.engine.sources.0.lock().expect("the lock");
        let sources = self.engine.store.read(|reader| reader.sources()).expect("the sources");
        let read =
            |source: &Source| self.engine.read_new(source, &mut files).expect("it reads").expect("it is not closing");
        sources.iter().map(read).map(|found| found.points).sum()
    }
}

#[test]
fn a_log_without_a_number_makes_no_run_and_is_not_followed_until_it_has_one() {
    let world = World::new();
    for (name, text, why) in [
        ("empty.jsonl", "", "nothing in it yet"),
        ("header.csv", "step,loss\n", "nothing in it yet"),
        ("begun.json", "{\"step\": 1, \"loss\"", "nothing that can be imported"),
        ("texts.jsonl", "{\"step\": \"x\", \"note\": \"high\"}\n", "no run was imported"),
        ("logs/metrics.csv", "step,loss\n", "nothing in it yet"),
        ("run/trainer_state.json", "{\"log_history\": [", "nothing in it yet"),
    ] {
        let path = world.put(name, text);
        let source = match path.parent().filter(|_| name.contains('/')) {
            Some(folder) => folder.to_owned(),
            None => path,
        };
        let message = world.import(&source).expect_err(name);
        assert!(message.contains(why), "{name}: {message}");
        assert_eq!(world.engine.log_sources().expect("the sources"), [], "{name}");
    }
    let path = world.put("texts.jsonl", "{\"note\": \"high\"}\n{\"step\": 1, \"loss\": 0.5}\n");
    let message = world.import(&path).expect("it has a point");
    assert!(message.starts_with("1 run, 1 of them new; 1 point and"), "{message}");
}

#[test]
fn a_followed_file_that_has_no_number_yet_becomes_a_run_with_all_it_says_when_it_has_one() {
    let world = World::new();
    world.put("logs/a/metrics.jsonl", "{\"step\": 1, \"loss\": 0.5}\n");
    world.put("logs/b/metrics.jsonl", "{\"step\": 1, \"note\": \"x\"}\n");
    let logs = world.folder.path().join("logs");
    let message = world.import(&logs).expect("it has a run");
    assert!(message.starts_with("1 run, 1 of them new"), "{message}");
    world.put("logs/b/metrics.jsonl", "{\"step\": 1, \"note\": \"x\"}\n{\"step\": 2, \"loss\": 0.25}\n");
    assert_eq!(world.follow(), 1);
    let message = world.import(&logs).expect("it has runs");
    assert!(message.starts_with("2 runs, 0 of them new; 0 points"), "{message}");
}

#[cfg(unix)]
#[test]
fn a_file_copied_over_in_place_with_the_same_size_and_time_is_read_again() {
    let world = World::new();
    let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    let write = |loss: &str| {
        let path = world.put("logs/metrics.csv", &format!("step,loss\n1,{loss}\n2,{loss}\n"));
        let file = std::fs::File::options().write(true).open(&path).expect("it opens");
        file.set_modified(modified).expect("a time");
        looks(&path, world.engine.now()).expect("it is there")
    };
    let before = write("0.5");
    world.import(&world.folder.path().join("logs")).expect("it reads");
    assert_eq!(world.follow(), 0);
    // Until the clock of the file system has gone on.
    while write("0.7") == before {}
    assert_eq!(world.follow(), 2);
    assert_eq!(world.follow(), 0);
}

#[test]
fn blank_names_are_no_names_and_times_before_1970_are_told() {
    let world = World::new();
    let mut round = Round::default();
    let point = |wall_ms| Logged::Point("loss".into(), Point { step: 1, wall_ms, value: 0.5 });
    let logged = vec![
        Logged::Name("zed".into()),
        Logged::Tag(RUN_NAME.into(), String::new()),
        Logged::Name(" \n".into()),
        point(-5),
        point(5),
    ];
    world.engine.gather(&mut round, logged).expect("it takes them");
    assert_eq!(round.logged, [Logged::Name("zed".into()), point(0), point(5)]);
    assert_eq!(round.notes, ["1 point before 1970 taken with the time 0"]);
}
