use super::*;
use assay_domain::{Point, RunStatus};

fn touch(root: &Path, path: &str, text: &str) {
    let file = root.join(path);
    std::fs::create_dir_all(file.parent().expect("a folder")).expect("folders");
    std::fs::write(file, text).expect("a file");
}

fn runs(root: &Path) -> Vec<(String, &'static str, String)> {
    let found = find(root).into_iter().filter_map(|file| {
        let program = file.named.program()?;
        Some((file.run.clone(), program, file.path.file_name()?.to_string_lossy().into_owned()))
    });
    found.collect()
}

#[test]
fn tables_of_many_programs_are_known_in_a_folder_and_others_are_not() {
    let root = tempfile::tempdir().expect("a folder");
    let sb3 = "time/iterations,time/total_timesteps,rollout/ep_rew_mean\n1,2048,20\n2,4096,22\n";
    for (path, text) in [
        ("yolo/results.csv", "   epoch,  time, train/box_loss\n   1, 2.5, 0.5\n"),
        ("sb3/progress.csv", sb3),
        ("ray/progress.csv", "training_iteration,episode_reward_mean\n1,5\n"),
        ("ray/result.json", "{\"training_iteration\": 1, \"episode_reward_mean\": 5}\n"),
        ("both/progress.csv", sb3),
        ("both/events.out.tfevents.1", ""),
        (
            "detectron/metrics.json",
            "{\"iteration\": 19, \"total_loss\": 0.5}\n{\"iteration\": 39, \"total_loss\": 0.4}\n",
        ),
        ("hf/checkpoint-5/trainer_state.json", "{\"log_history\": [{\"step\": 5, \"loss\": 1}]}"),
        ("hf/checkpoint-10/trainer_state.json", "{\"log_history\": [{\"step\": 5, \"loss\": 1}]}"),
        ("tb/run-a-tag-loss.csv", "Wall time,Step,Value\n1600000000,0,1\n"),
        ("tb/run-a-tag-acc.csv", "Wall time,Step,Value\n1600000000,0,1\n"),
        ("wb/wandb_export_1.csv", "\"Step\",\"x - loss\",\"y - loss\"\n1,2,3\n"),
        ("data/results.csv", "path,epoch\na.png,1\n"),
        ("data/other.csv", "step,loss\n1,2\n"),
        ("data/metrics.csv", "name,score\nx,2\n"),
    ] {
        touch(root.path(), path, text);
    }
    let found = runs(root.path());
    let found: Vec<(&str, &str)> = found.iter().map(|(run, _, name)| (run.as_str(), name.as_str())).collect();
    assert_eq!(
        found,
        [
            ("both", "events.out.tfevents.1"),
            ("detectron", "metrics.json"),
            ("hf", "trainer_state.json"),
            ("ray", "result.json"),
            ("sb3", "progress.csv"),
            ("tb/a", "run-a-tag-acc.csv"),
            ("tb/a", "run-a-tag-loss.csv"),
            ("wb/x", "wandb_export_1.csv"),
            ("wb/y", "wandb_export_1.csv"),
            ("yolo", "results.csv"),
        ]
    );
    let latest = find(root.path()).into_iter().find(|file| file.named == Named::TrainerState).expect("it is there");
    assert!(latest.path.ends_with("checkpoint-10/trainer_state.json"), "{latest:?}");
}

#[test]
fn a_table_that_someone_names_needs_numbers_and_no_column_of_steps() {
    let root = tempfile::tempdir().expect("a folder");
    for (name, text, is_run) in [
        ("a.csv", "loss,acc\n0.5,0.1\n", true),
        ("b.csv", "path,label\na.png,cat\n", false),
        ("c.csv", "picture,label\na.jpg,1\n", false),
        ("d.csv", "name,label\nx,y\n", false),
        ("e.csv", "", false),
        ("f.csv", "training_iteration,loss\n1,0.5\n", true),
        ("g.json", "{\"loss\": 1}\n{\"loss\": 2}\n", true),
        ("h.json", "{\"log_history\": []}", true),
        ("i.json", "[1, 2]", false),
        ("j.txt", "step,loss\n1,2\n", false),
    ] {
        touch(root.path(), name, text);
        assert_eq!(!find(&root.path().join(name)).is_empty(), is_run, "{name}");
    }
}

#[test]
fn the_parts_of_a_resumed_run_are_one_and_others_are_not() {
    let root = tempfile::tempdir().expect("a folder");
    for folder in ["offline-run-20240101_100000-abc", "offline-run-20240102_100000-abc", "run-20240101_100000-def"] {
        let id = &folder[folder.len() - 3..];
        touch(root.path(), &format!("wandb/{folder}/run-{id}.wandb"), "");
        touch(root.path(), &format!("wandb/{folder}/files/config.yaml"), "");
    }
    touch(root.path(), "other/run-abc.wandb", "");
    let found = find(root.path());
    let of = |run: &str| found.iter().filter(|file| file.run == run).map(|file| file.named.clone()).collect::<Vec<_>>();
    let file = |name: &str| Named::Artifact(name.into());
    let part = "offline-run-20240102_100000-abc/config.yaml";
    assert_eq!(
        of("wandb/offline-run-20240101_100000-abc"),
        [file("config.yaml"), Named::Wandb, file(part), Named::Wandb]
    );
    assert_eq!(of("wandb/offline-run-20240102_100000-abc"), []);
    assert_eq!(of("wandb/run-20240101_100000-def"), [file("config.yaml"), Named::Wandb]);
    assert_eq!(of("other"), [Named::Wandb]);
}

#[test]
fn points_of_a_store_that_was_written_anew_replace_those_before() {
    let root = tempfile::tempdir().expect("a folder");
    let path = root.path().join("loss");
    let file = LogFile { path: path.clone(), run: String::new(), named: Named::MlflowMetric("loss".into()) };
    let options = Options { now: Timestamp(1_800_000_000_000), ..Options::default() };
    let read = |mark: &Mark| read(&file, mark, &options).expect("it reads");
    for (before, after) in
        [("5 0.5 1\n6 0.4 2\n", "9 0.9 7\n"), ("5 0.5 1\n", "5 0.7 1\n6 0.6 2\n"), ("5 0.5 1\n", "5 0.6 1\n")]
    {
        std::fs::write(&path, before).expect("a file");
        let first = read(&Mark::default());
        std::fs::write(&path, after).expect("a file");
        let part = read(&Mark { read: first.read, state: first.state });
        assert!(matches!(&part.logged[1], Logged::Restarted { keys, .. } if *keys == ["loss"]), "{:?}", part.logged);
        assert_eq!(part.logged.len() - 2, after.lines().count());
        // No duplicates.
        assert_eq!(read(&Mark { read: part.read, state: part.state }).logged, []);
    }
}

#[test]
fn what_clocks_say_of_a_life_is_bounded_by_the_times_of_the_file() {
    let root = tempfile::tempdir().expect("a folder");
    let path = root.path().join("x");
    std::fs::write(&path, "").expect("a file");
    let modified = modified_ms(&path).expect("it has a time");
    let now = Timestamp(modified + 1000);
    let of = |logged: Vec<Logged>| bounded(&path, Part { logged, ..Part::default() }, now).expect("it is there").logged;
    let (past, future, sane) = (Timestamp(5), Timestamp(4_000_000_000_000), Timestamp(modified - 5000));
    let point = Logged::Point("loss".into(), Point { step: 1, wall_ms: future.0, value: 1.0 });
    assert_eq!(
        of(vec![Logged::Began(past), Logged::Heard(future), Logged::Heard(past), Logged::Began(sane), point.clone()]),
        [
            Logged::Heard(Timestamp(modified)),
            Logged::Heard(Timestamp(modified)),
            Logged::Began(sane),
            // Point times are kept as logged.
            point
        ]
    );
    let ended = |at| Logged::Status(RunStatus::Finished, at);
    assert_eq!(
        of(vec![ended(Some(future)), ended(Some(past)), ended(Some(sane))]),
        [ended(Some(Timestamp(modified))), ended(None), ended(Some(sane))]
    );
}

#[test]
fn keys_that_nobody_could_ask_for_are_kept_under_a_name_that_is_told() {
    let root = tempfile::tempdir().expect("a folder");
    let path = root.path().join("a.jsonl");
    std::fs::write(&path, "{\"step\": 1, \"\": 1, \"a//b\": 2, \"acc@1\": 3}\n").expect("a file");
    let file = LogFile { path, run: String::new(), named: Named::JsonLines };
    let part = read(&file, &Mark::default(), &Options { now: Timestamp(1_800_000_000_000), ..Options::default() });
    let part = part.expect("it reads");
    let keys =
        part.logged.iter().filter_map(|one| if let Logged::Point(key, _) = one { Some(key.as_str()) } else { None });
    assert_eq!(keys.collect::<Vec<_>>(), ["unnamed", "a/_/b", "acc@1"]);
    assert!(part.notes.iter().any(|note| note.contains("\"a//b\" is kept as \"a/_/b\"")), "{:?}", part.notes);
}

#[test]
fn a_key_of_any_length_is_kept_under_a_shorter_name() {
    let root = tempfile::tempdir().expect("a folder");
    let long = "k".repeat(2_000);
    for (name, named, text) in [
        ("a.csv", Named::Csv, format!("step,{long}a,{long}b\n1,2,3\n")),
        ("a.jsonl", Named::JsonLines, format!("{{\"step\": 1, \"{long}a\": 2, \"{long}b\": 3}}\n")),
    ] {
        touch(root.path(), name, &text);
        let file = LogFile { path: root.path().join(name), run: String::new(), named };
        let options = Options { now: Timestamp(1_800_000_000_000), ..Options::default() };
        let part = read(&file, &Mark::default(), &options).expect("it reads");
        let keys: Vec<&str> = part
            .logged
            .iter()
            .filter_map(|one| if let Logged::Point(key, _) = one { Some(key.as_str()) } else { None })
            .collect();
        assert_eq!((keys.len(), part.left_out), (2, 0), "{name}");
        assert!(keys[0] != keys[1] && keys.iter().all(|key| key::kept(key) == *key), "{keys:?}");
        assert!(part.notes.iter().any(|note| note.contains("is kept as")), "{:?}", part.notes);
    }
}

#[test]
fn records_whose_stored_state_cannot_be_parsed_are_read_anew_and_superseded() {
    let root = tempfile::tempdir().expect("a folder");
    touch(root.path(), "loss", "1700000000000 0.5 1\n1700000000000 0.25 2\n");
    let file =
        LogFile { path: root.path().join("loss"), run: String::new(), named: Named::MlflowMetric("loss".into()) };
    let options = Options { now: Timestamp(1_800_000_000_000), ..Options::default() };
    let part = read(&file, &Mark { read: 20, state: Some("{".into()) }, &options).expect("it reads");
    let restarted = Logged::Restarted { step: 1, keys: vec!["loss".into()] };
    assert!(part.logged.contains(&restarted), "{:?}", part.logged);
    let points = part.logged.iter().filter(|one| matches!(one, Logged::Point(..))).count();
    assert_eq!((points, part.notes.len()), (2, 1));
}

#[cfg(unix)]
#[test]
fn folders_whose_names_look_alike_have_positions_of_their_own() {
    use std::os::unix::ffi::OsStrExt;
    let unit = |name: &[u8], named: Named| {
        let path = Path::new(std::ffi::OsStr::from_bytes(name)).join("metrics.csv");
        LogFile { path, run: String::new(), named }.unit()
    };
    for named in [Named::Csv, Named::WandbCsv("a".into()), Named::TrainerState] {
        assert_ne!(unit(b"\xff", named.clone()), unit(b"\xfe", named));
    }
    assert_eq!(unit(b"run", Named::Csv), "run/metrics.csv");
}
