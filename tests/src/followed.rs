//! Runs that other programs log to files: imported once, followed while they are written.

use crate::harness::{Client, Workspace, kill, until};
use anyhow::Result;
use assay_protocol::domain::RunStatus;
use assay_protocol::domain::entity::{Dataset, Job, Run};
use assay_protocol::{ImportRequest, LogSource, RunDetail, RunsReply, path};
use http::Method;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::{SystemTime, UNIX_EPOCH};

#[expect(clippy::disallowed_methods, reason = "what is followed compares the times of its points with the clock")]
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs_f64()
}

/// Records of TensorBoard's: the points of a metric at some steps, each of the value of its step.
fn events(key: &str, steps: std::ops::Range<u8>) -> Vec<u8> {
    let now = now();
    let record = |step: u8| {
        let value = [&[0x0a, key.len() as u8], key.as_bytes(), &[0x15], &f32::from(step).to_le_bytes()].concat();
        let summary = [&[0x0a, value.len() as u8], value.as_slice()].concat();
        let head = [&[0x09][..], &now.to_le_bytes(), &[0x10, step, 0x2a, summary.len() as u8]].concat();
        let event = [head, summary].concat();
        let masked = |bytes: &[u8]| crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes();
        let length = (event.len() as u64).to_le_bytes();
        [&length[..], &masked(&length), &event, &masked(&event)].concat()
    };
    steps.flat_map(record).collect()
}

fn append(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    let mut file = OpenOptions::new().create(true).append(true).open(path).expect("the file opens");
    file.write_all(bytes).expect("the file takes it");
}

fn put(folder: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        append(&folder.join(path), text.as_bytes());
    }
}

async fn import(client: &Client, source: &Path) -> Result<Job> {
    let request = ImportRequest { source: source.display().to_string(), ..ImportRequest::default() };
    client.finish(client.post(path::DATASETS, &request).await?).await
}

async fn runs(client: &Client) -> Result<Vec<Run>> {
    Ok(client.get::<RunsReply>(path::RUNS).await?.runs)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_folder_is_followed_while_it_is_written_and_each_point_is_taken_once_through_a_kill() -> Result<()> {
    let workspace = Workspace::new();
    let logs = workspace.folder().join("logs");
    let file = logs.join("a/first/events.out.tfevents.1.host");
    append(&file, &events("loss", 0..10));
    append(&logs.join("b/events.out.tfevents.1.host"), &events("loss", 0..3));
    let mut serving = workspace.serve();
    let source = logs.to_str().expect("a path");
    let said = workspace.assay(&["import", source]);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("2 runs, 2 of them new; 13 points"), "{said}");

    let guest = workspace.open().await;
    let counted = async |count: u64| {
        until("the points are there", async || {
            let found = runs(&guest).await.ok()?.into_iter().find(|run| run.name == "a/first")?;
            (found.metrics.get("loss")?.count >= count).then_some(found)
        })
        .await
    };
    append(&file, &events("loss", 10..20));
    let run = counted(20).await?;
    assert_eq!(run.metrics["loss"].count, 20);
    assert_eq!((run.experiment.as_str(), run.client.as_deref()), ("logs", Some("tensorboard")));
    assert_eq!((run.status, run.metrics["loss"].last), (RunStatus::Running, Some(19.0)));

    // A new run begins, half a record is written, and the server is killed.
    let third = events("acc", 0..4);
    append(&logs.join("c/events.out.tfevents.1.host"), &third[..third.len() - 9]);
    append(&file, &events("loss", 20..60));
    kill(&mut serving.child);
    append(&file, &events("loss", 60..80));
    append(&logs.join("c/events.out.tfevents.1.host"), &third[third.len() - 9..]);
    let run = counted(80).await?;
    assert_eq!(run.metrics["loss"].count, 80);
    let third = until("the third run is whole", async || {
        let found = runs(&guest).await.ok()?.into_iter().find(|run| run.name == "c")?;
        (found.metrics.get("acc")?.count == 4).then_some(found)
    });
    assert_eq!(third.await?.metrics["acc"].last, Some(3.0));
    let again = import(&guest, &logs).await?;
    assert!(again.message.contains("3 runs, 0 of them new; 0 points"), "{}", again.message);
    let sources: Vec<LogSource> = guest.get(path::SOURCES).await?;
    guest.send::<()>(Method::DELETE, &format!("{}/{}", path::SOURCES, sources[0].id), Vec::new()).await?;
    assert_eq!(guest.get::<Vec<LogSource>>(path::SOURCES).await?, []);
    append(&file, &events("loss", 80..90));
    let again = import(&guest, &logs).await?;
    assert!(again.message.contains("3 runs, 0 of them new; 10 points"), "{}", again.message);
    let around = import(&guest, workspace.folder()).await?;
    assert!(
        around.message.contains("0 of them new; 0 points"),
        "a source in another keeps its own: {}",
        around.message
    );
    assert_eq!(runs(&guest).await?.len(), 3);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_store_of_mlflow_comes_with_its_names_ids_and_files_and_what_is_deleted_stays_deleted() -> Result<()> {
    let workspace = Workspace::new();
    let store = workspace.folder().join("mlruns");
    let uid = "0123456789abcdef0123456789abcdef";
    let meta = |uid: &str, stage: &str, status: u8| {
        format!(
            "run_id: {uid}\nrun_name: 'it: runs'\nstatus: {status}\nstart_time: 1700000005000\nend_time: 1700000007000\nlifecycle_stage: {stage}\n"
        )
    };
    put(
        &store,
        &[
            ("7/meta.yaml", "experiment_id: '7'\nname: \"vision \\xE9\"\n"),
            (&format!("7/{uid}/meta.yaml"), &meta(uid, "active", 4)),
            (&format!("7/{uid}/params/opt/lr"), "0.1"),
            (&format!("7/{uid}/tags/mlflow.note.content"), "a note"),
            (&format!("7/{uid}/tags/team"), "a\nb"),
            (&format!("7/{uid}/metrics/val/loss"), "5000 0.5 -1\n6000 nan 2\nx\n6500 0.25 1\n"),
            (&format!("7/{uid}/artifacts/a/b.txt"), "hello"),
            (&format!("7/{}/meta.yaml", "f".repeat(32)), &meta(&"f".repeat(32), "deleted", 3)),
        ],
    );
    #[cfg(unix)]
    std::os::unix::fs::symlink("/etc", store.join(format!("7/{uid}/artifacts/elsewhere")))?;
    // Nor is a folder of its own that leads elsewhere, nor a pipe, which would never end.
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("/etc", store.join(format!("7/{uid}/tags/elsewhere")))?;
        std::fs::create_dir_all(store.join("w"))?;
        append(&store.join("w/run-x.wandb"), b"");
        std::os::unix::fs::symlink("/etc", store.join("w/files"))?;
        let pipe = store.join("metrics.csv");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status()?.success());
    }
    let client = workspace.open().await;
    let job = import(&client, &store).await?;
    let expected = "1 run, 1 of them new; 3 points and 1 file taken; 1 value left out";
    assert!(job.message.starts_with(expected), "{}", job.message);
    let run = runs(&client).await?.remove(0);
    assert_eq!((run.uid.as_str(), run.experiment.as_str(), run.name.as_str()), (uid, "vision é", "it: runs"));
    assert_eq!((run.status, run.note.as_str()), (RunStatus::Failed, "a note"));
    assert_eq!(
        (run.started.map(|at| at.0), run.ended.map(|at| at.0)),
        (Some(1_700_000_005_000), Some(1_700_000_007_000))
    );
    assert_eq!((run.params["opt/lr"].as_str(), run.tags["team"].as_str()), ("0.1", "a\nb"));
    let loss = &run.metrics["val/loss"];
    assert_eq!((loss.count, loss.min, loss.last_step), (3, Some((0.25, 1)), 2));
    let detail: RunDetail = client.get(&path::run(run.id, "")).await?;
    assert_eq!(detail.artifacts.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["a/b.txt"]);

    client.send::<()>(Method::DELETE, &path::run(run.id, ""), Vec::new()).await?;
    put(&store, &[(&format!("7/{uid}/metrics/val/loss"), "8000 0.1 9\n")]);
    let job = import(&client, &store).await?;
    assert!(job.message.starts_with("1 run, 0 of them new; 0 points"), "{}", job.message);
    assert_eq!(runs(&client).await?, []);
    client.post::<serde_json::Value>(&path::run(run.id, "/restore"), &()).await?;
    let found = until("its last point is taken when it is back", async || {
        let found = runs(&client).await.ok()?;
        found.into_iter().find(|run| run.metrics["val/loss"].count == 4)
    });
    assert_eq!(found.await?.metrics["val/loss"].last, Some(0.1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_metrics_are_runs_and_what_is_damaged_is_told_and_keeps_nothing_else_back() -> Result<()> {
    let workspace = Workspace::new();
    let folder = workspace.folder().join("mixed");
    let mut damaged = events("loss", 0..9);
    damaged[300] ^= 1;
    append(&folder.join("damaged/events.out.tfevents.1"), &damaged);
    append(&folder.join("nothing/events.out.tfevents.1"), b"");
    append(&folder.join("foreign/run-x.wandb"), b"PK\x03\x04 and more");
    put(&folder, &[("csv/metrics.csv", "epoch,step,loss\n0,5,0.5\n1,6,high\n"), ("mlflow.db", "no database")]);
    let client = workspace.open().await;
    let job = import(&client, &folder).await?;
    assert_eq!(job.status, RunStatus::Finished);
    assert!(job.message.contains("1 value left out"), "{}", job.message);
    assert!(job.message.contains("read in part: "), "{}", job.message);
    for name in ["damaged/events.out.tfevents.1", "foreign/run-x.wandb", "mlflow.db"] {
        assert!(job.message.contains(name), "{name}: {}", job.message);
    }
    let found = runs(&client).await?;
    let mut counts: Vec<(&str, u64)> =
        found.iter().map(|run| (run.name.as_str(), run.metrics.get("loss").map_or(0, |loss| loss.count))).collect();
    counts.sort_unstable();
    assert_eq!(counts.len(), 2, "{counts:?}");
    assert_eq!((counts[0], counts[1].0), (("csv", 1), "damaged"));
    assert!(counts[1].1 > 3 && counts[1].1 < 9, "{counts:?}");

    put(
        workspace.folder(),
        &[("alone.jsonl", "{\"step\": 1, \"val\": {\"acc\": 0.5}}\n[]\n"), ("l.csv", "path,label\na.png,x\n")],
    );
    let job = import(&client, &workspace.folder().join("alone.jsonl")).await?;
    assert!(job.message.starts_with("1 run, 1 of them new; 1 point and"), "{}", job.message);
    assert!(runs(&client).await?.iter().any(|run| run.name == "alone" && run.metrics["val.acc"].last == Some(0.5)));
    let job = import(&client, &workspace.folder().join("l.csv")).await?;
    assert!(job.message.contains("there is no such file"), "a list of images is no run: {}", job.message);
    assert!(client.get::<Vec<Dataset>>(path::DATASETS).await?.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_mlflow_whose_rows_are_numbered_anew_loses_no_point() -> Result<()> {
    let workspace = Workspace::new();
    let logs = tempfile::tempdir()?;
    let path = logs.path().join("mlflow.db");
    let db = rusqlite::Connection::open(&path)?;
    db.execute_batch(
        "CREATE TABLE experiments (experiment_id INTEGER, name TEXT, lifecycle_stage TEXT);
         CREATE TABLE runs (run_uuid TEXT, experiment_id INTEGER, name TEXT, user_id TEXT, status TEXT, start_time INTEGER,
             end_time INTEGER, artifact_uri TEXT, lifecycle_stage TEXT);
         CREATE TABLE params (run_uuid TEXT, key TEXT, value TEXT);
         CREATE TABLE tags (run_uuid TEXT, key TEXT, value TEXT);
         CREATE TABLE metrics (run_uuid TEXT, key TEXT, value REAL, is_nan BOOLEAN, timestamp INTEGER, step INTEGER);
         INSERT INTO experiments VALUES (1, 'vision', 'active');
         INSERT INTO runs VALUES ('stays', 1, 'stays', NULL, 'RUNNING', 5, NULL, NULL, 'active'),
             ('goes', 1, 'goes', NULL, 'RUNNING', 6, NULL, NULL, 'active');",
    )?;
    let log = |run: &str, steps: std::ops::Range<i64>| -> Result<()> {
        for step in steps {
            let sql = "INSERT INTO metrics VALUES (?1, 'loss', ?2, 0, ?2, ?2)";
            db.execute(sql, rusqlite::params![run, step])?;
        }
        Ok(())
    };
    log("stays", 0..10)?;
    log("goes", 0..10)?;
    let client = workspace.open().await;
    import(&client, &path).await?;
    let steps = async |name: &str| -> Result<Vec<i64>> {
        let run = runs(&client).await?.into_iter().find(|run| run.name == name).expect(name);
        let address = format!("{}?runs={}&key=loss&buckets=1000", path::SERIES, run.id);
        let series: Vec<assay_protocol::SeriesReply> = client.get(&address).await?;
        Ok(series.iter().flat_map(|series| series.buckets.iter().map(|bucket| bucket.step)).collect())
    };
    assert_eq!(steps("stays").await?, (0..10).collect::<Vec<_>>());
    // What mlflow gc does; the points that follow get the numbers of those that are gone, and more.
    db.execute_batch("DELETE FROM metrics WHERE run_uuid = 'goes'; DELETE FROM runs WHERE run_uuid = 'goes'")?;
    log("stays", 10..25)?;
    import(&client, &path).await?;
    assert_eq!(steps("stays").await?, (0..25).collect::<Vec<_>>());
    log("stays", 25..30)?;
    import(&client, &path).await?;
    assert_eq!(steps("stays").await?, (0..30).collect::<Vec<_>>());
    assert_eq!(steps("goes").await?, (0..10).collect::<Vec<_>>(), "what was read of it stays");
    client.door.close().await;
    Ok(())
}

#[test]
fn eight_processes_that_import_at_once_lose_nothing_and_take_nothing_twice() {
    let workspace = Workspace::new();
    let lines: String = (0..500).map(|step| format!("{{\"step\": {step}, \"loss\": {step}}}\n")).collect();
    let names: Vec<String> = (0..8).map(|number| format!("table-{number}")).collect();
    let importing: Vec<_> = names
        .iter()
        .map(|name| {
            let file = workspace.folder().join(format!("{name}.jsonl"));
            std::fs::write(&file, &lines).expect("a file");
            let mut command = workspace.command(&["import", file.to_str().expect("a path")]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("assay starts")
        })
        .collect();
    for process in importing {
        let output = process.wait_with_output().expect("it ends");
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
    }
    let runs: Vec<Run> = workspace.json(&["runs"]);
    let mut found: Vec<(&str, u64)> = runs.iter().map(|run| (run.name.as_str(), run.metrics["loss"].count)).collect();
    found.sort_unstable();
    assert_eq!(found, names.iter().map(|name| (name.as_str(), 500)).collect::<Vec<_>>());
}
