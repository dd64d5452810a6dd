//! Foreign logs as found in practice: rewritten, beside images, with wrong clocks, in many kinds of tables.

use crate::harness::{Client, Workspace, until};
use anyhow::Result;
use assay_protocol::domain::RunStatus;
use assay_protocol::domain::entity::{Dataset, Job, Run};
use assay_protocol::{ImportRequest, LogSource, RunDetail, RunsReply, SeriesReply, path};
use http::{Method, Request};
use serde_json::{Value, json};
use std::path::Path;

fn put(folder: &Path, path: &str, text: impl AsRef<[u8]>) {
    let file = folder.join(path);
    std::fs::create_dir_all(file.parent().expect("a folder")).expect("folders");
    let _ = std::fs::remove_file(&file);
    std::fs::write(file, text).expect("a file");
}

async fn start(client: &Client, request: &ImportRequest) -> Result<Job> {
    client.finish(client.post(path::DATASETS, request).await?).await
}

async fn import(client: &Client, source: &Path) -> Result<Job> {
    start(client, &ImportRequest { source: source.display().to_string(), ..ImportRequest::default() }).await
}

async fn runs(client: &Client) -> Result<Vec<Run>> {
    Ok(client.get::<RunsReply>(path::RUNS).await?.runs)
}

/// Steps and means in a metric's chart.
async fn drawn(client: &Client, run: &Run, key: &str) -> Result<Vec<(i64, f64)>> {
    let address = format!("{}?runs={}&key={key}&buckets=1000", path::SERIES, run.id);
    let series: Vec<SeriesReply> = client.get(&address).await?;
    Ok(series.iter().flat_map(|series| series.buckets.iter().map(|bucket| (bucket.step, bucket.mean))).collect())
}

fn bytes(number: u64) -> Vec<u8> {
    let mut rest = number;
    let mut bytes = Vec::new();
    loop {
        let byte = (rest & 127) as u8;
        rest >>= 7;
        if rest == 0 {
            bytes.push(byte);
            return bytes;
        }
        bytes.push(byte | 128);
    }
}

/// A TensorBoard record of an event: time, step, other fields.
fn event(wall: f64, step: u64, rest: &[u8]) -> Vec<u8> {
    let event = [&[0x09][..], &wall.to_le_bytes(), &[0x10], &bytes(step), rest].concat();
    let masked = |bytes: &[u8]| crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes();
    let length = (event.len() as u64).to_le_bytes();
    [&length[..], &masked(&length), &event, &masked(&event)].concat()
}

fn scalar(wall: f64, step: u64, key: &str, value: f32) -> Vec<u8> {
    let value = [&[0x0a, key.len() as u8], key.as_bytes(), &[0x15], &value.to_le_bytes()].concat();
    let summary = [&[0x0a, value.len() as u8], value.as_slice()].concat();
    event(wall, step, &[&[0x2a, summary.len() as u8], summary.as_slice()].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_a_restarted_training_writes_anew_is_followed_and_what_it_said_before_stays() -> Result<()> {
    let workspace = Workspace::new();
    let logs = workspace.folder().join("logs");
    let csv = |steps: std::ops::Range<u32>| {
        format!("step,loss\n{}", steps.map(|step| format!("{step},{step}.5\n")).collect::<String>())
    };
    put(&logs, "a/metrics.csv", csv(1..11));
    // Another metric there, not rewritten.
    put(&logs, "a/metrics.jsonl", "{\"step\": 50, \"acc\": 0.5}\n");
    let client = workspace.open().await;
    import(&client, &logs).await?;
    put(&logs, "a/metrics.csv", csv(6..30));
    let followed = until("the new file is read", async || {
        let run = runs(&client).await.ok()?.into_iter().next()?;
        (run.metrics["loss"].last == Some(29.5)).then_some(run)
    });
    let run = followed.await?;
    let loss = drawn(&client, &run, "loss").await?;
    assert_eq!(loss.iter().map(|(step, _)| *step).collect::<Vec<_>>(), (1..30).collect::<Vec<_>>());
    assert_eq!((run.metrics["loss"].count, run.metrics["acc"].count), (29, 1), "each step counts once");
    assert_eq!(drawn(&client, &run, "acc").await?, [(50, 0.5)]);
    let detail: RunDetail = client.get(&path::run(run.id, "")).await?;
    let log: Vec<&str> = detail.log.iter().map(|line| line.text.as_str()).collect();
    assert!(log.iter().any(|line| line.contains("metrics.csv was written anew")), "{log:?}");
    assert!(log.iter().any(|line| line.contains("from step 6 on is kept, and superseded")), "{log:?}");
    // Shorter, from the beginning.
    put(&logs, "a/metrics.csv", csv(0..3));
    let job = import(&client, &logs).await?;
    let run = until("the third is read", async || {
        let run = runs(&client).await.ok()?.into_iter().next()?;
        (run.metrics["loss"].last == Some(2.5)).then_some(run)
    });
    let run = run.await?;
    assert_eq!((run.metrics["loss"].count, run.metrics["loss"].max), (3, Some((2.5, 2))), "{}", job.message);
    client.door.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_resumed_training_discards_in_tensorboard_is_in_no_chart_and_no_figure() -> Result<()> {
    let workspace = Workspace::new();
    let logs = workspace.folder().join("tb");
    let points = |steps: std::ops::Range<u64>, value: f32| {
        steps.flat_map(|step| scalar(1.6e9 + step as f64, step, "loss", value)).collect::<Vec<u8>>()
    };
    let version = event(1.6e9, 0, &[&[0x1a, 13][..], b"brain.Event:2"].concat());
    put(&logs, "events.out.tfevents.1600000000.a", [version.clone(), points(0..10, 9.0)].concat());
    let client = workspace.open().await;
    import(&client, &logs).await?;
    // As written with purge_step=5: SessionLog START at that step.
    let start = event(1.6e9 + 100.0, 5, &[0x3a, 2, 0x08, 1]);
    put(&logs, "events.out.tfevents.1600000100.a", [version, start, points(5..8, 1.0)].concat());
    import(&client, &logs).await?;
    let run = runs(&client).await?.remove(0);
    let loss = &run.metrics["loss"];
    assert_eq!((loss.count, loss.last, loss.last_step), (8, Some(1.0), 7));
    assert_eq!((loss.min, loss.max), (Some((1.0, 5)), Some((9.0, 0))));
    let expected: Vec<(i64, f64)> = (0..8).map(|step| (step, if step < 5 { 9.0 } else { 1.0 })).collect();
    assert_eq!(drawn(&client, &run, "loss").await?, expected);
    client.door.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_looked_at_as_a_whole_and_an_import_of_nothing_leaves_nothing() -> Result<()> {
    let workspace = Workspace::new();
    let root = workspace.folder();
    let mut png = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(4, 4).write_to(&mut png, image::ImageFormat::Png)?;
    let png = png.into_inner();
    // Plots beside a log.
    put(root, "detect/train/confusion_matrix.png", &png);
    put(root, "detect/train/results.csv", "   epoch,  time, train/box_loss\n   1, 2.5, 0.5\n   2, 5.0, 0.4\n");
    put(root, "detect/train/args.yaml", "lr: 0.1\n");
    let client = workspace.open().await;
    let job = import(&client, &root.join("detect")).await?;
    assert!(job.message.contains("1 image beside the logs left out"), "{}", job.message);
    assert!(job.message.contains("1 other file left out (train/args.yaml)"), "{}", job.message);
    assert!(job.message.contains("steps of \"epoch\", times of the file"), "{}", job.message);
    let run = runs(&client).await?.remove(0);
    assert_eq!((run.name.as_str(), run.metrics["train/box_loss"].last_step), ("train", 2));
    assert_eq!(client.get::<Vec<Dataset>>(path::DATASETS).await?, []);
    // A folder of images and another of logs.
    for (class, name) in [("cat", "1"), ("cat", "2"), ("dog", "1")] {
        put(root, &format!("project/data/{class}/{name}.png"), &png);
    }
    put(root, "project/logs/metrics.jsonl", "{\"step\": 1, \"loss\": 0.5}\n");
    let job = import(&client, &root.join("project")).await?;
    assert!(job.message.contains("are the dataset data"), "{}", job.message);
    let datasets: Vec<Dataset> = client.get(path::DATASETS).await?;
    assert_eq!(
        datasets.iter().map(|dataset| (dataset.name.as_str(), dataset.samples)).collect::<Vec<_>>(),
        [("data", 3)]
    );
    assert_eq!(runs(&client).await?.len(), 2);

    // Nothing importable.
    put(root, "nothing/notes.txt", "a");
    put(root, "nothing/model.pt", "b");
    std::fs::create_dir_all(root.join("empty"))?;
    put(root, "words.csv", "name,label\nx,y\n");
    let db = rusqlite::Connection::open(root.join("optuna.db"))?;
    db.execute_batch("CREATE TABLE trials (number INTEGER); CREATE TABLE studies (name TEXT);")?;
    for (source, why) in [
        ("nothing", "notes.txt"),
        ("empty", "no image was found"),
        ("words.csv", "path"),
        ("optuna.db", "another program's, with the tables studies, trials"),
    ] {
        let why_not = match import(&client, &root.join(source)).await {
            Ok(job) => {
                assert_eq!(job.status, RunStatus::Failed, "{source}: {}", job.message);
                job.message
            }
            Err(error) => error.to_string(),
        };
        assert!(why_not.contains(why) && !why_not.contains("not an Assay database"), "{source}: {why_not}");
    }
    // A file that only reading shows to be no log.
    put(root, "broken/run-x.wandb", "PK and more");
    let job = import(&client, &root.join("broken")).await?;
    assert!(job.status == RunStatus::Failed && job.message.contains("does not begin as a .wandb file"), "{job:?}");
    assert_eq!(client.get::<Vec<Dataset>>(path::DATASETS).await?.len(), 1);
    let sources: Vec<LogSource> = client.get(path::SOURCES).await?;
    let names: Vec<&str> = sources.iter().filter_map(|source| source.path.rsplit('/').next()).collect();
    assert_eq!(names, ["detect", "project"]);
    let failed = workspace.assay(&["import", "optuna.db"]);
    assert!(!failed.status.success());
    client.door.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_clock_makes_no_life_longer_than_its_file() -> Result<()> {
    let workspace = Workspace::new();
    let logs = workspace.folder().join("tb");
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_010_000);
    for (name, walls) in [("future", [1.7e9, 4e9]), ("past", [0.0, 1.7e9]), ("sane", [1.7e9, 1.7e9 + 60.0])] {
        let events: Vec<u8> = (0..).zip(walls).flat_map(|(step, wall)| scalar(wall, step, "loss", 1.0)).collect();
        let file = format!("{name}/events.out.tfevents.1.x");
        put(&logs, &file, events);
        std::fs::File::options().write(true).open(logs.join(&file))?.set_modified(old)?;
    }
    let client = workspace.open().await;
    import(&client, &logs).await?;
    for run in runs(&client).await? {
        let ended = run.ended.map(|at| at.0);
        assert_eq!(run.status, RunStatus::Finished, "{}", run.name);
        assert!(ended.is_some_and(|at| at <= 1_700_010_000_000), "{} {ended:?}", run.name);
        assert!(run.started.is_none_or(|at| at.0 >= 1_700_000_000_000), "{} {:?}", run.name, run.started);
    }
    client.door.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_columns_of_steps_and_times_are_told_and_can_be_chosen() -> Result<()> {
    let workspace = Workspace::new();
    let line = |step: u32| {
        json!({ "current_steps": 10 * step, "total_steps": 100, "loss": 2.0 - f64::from(step) / 10.0,
            "epoch": f64::from(step) / 10.0, "seen": 640 * step, "elapsed_time": format!("0:00:{step:02}") })
    };
    let text: String = (1..6).map(|step| format!("{}\n", line(step))).collect();
    put(workspace.folder(), "out/trainer_log.jsonl", text);
    let client = workspace.open().await;
    let job = import(&client, &workspace.folder().join("out")).await?;
    assert!(job.message.contains("steps of \"current_steps\""), "{}", job.message);
    assert!(job.message.contains("(elapsed_time 5)"), "what was left out is named: {}", job.message);
    let run = runs(&client).await?.remove(0);
    let steps = |drawn: Vec<(i64, f64)>| drawn.into_iter().map(|(step, _)| step).collect::<Vec<_>>();
    assert_eq!(steps(drawn(&client, &run, "loss").await?), [10, 20, 30, 40, 50]);
    assert_eq!((run.metrics["loss"].last, run.metrics["epoch"].last), (Some(1.5), Some(0.5)));
    client.door.close().await;
    // On the command line; the points by the other column are superseded.
    let said = workspace.assay(&["import", "out", "--step", "seen"]);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let client = workspace.open().await;
    let run = runs(&client).await?.remove(0);
    assert_eq!(steps(drawn(&client, &run, "current_steps").await?), [640, 1280, 1920, 2560, 3200]);
    let request = ImportRequest {
        source: workspace.folder().join("out").display().to_string(),
        step: Some("nosuch".into()),
        ..ImportRequest::default()
    };
    let job = start(&client, &request).await?;
    assert!(job.message.contains("it has no column \"nosuch\": it has current_steps"), "{}", job.message);
    client.door.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_key_that_an_import_takes_can_be_asked_for() -> Result<()> {
    let workspace = Workspace::new();
    put(workspace.folder(), "pandas.csv", ",step,loss\n0,1,0.5\n1,2,0.4\n");
    put(
        workspace.folder(),
        "odd.jsonl",
        "{\"step\": 1, \"\": 1, \"a/../b\": 2, \"./c\": 3, \"acc@1 (top)\": 4, \"\\u0000\": 5}\n",
    );
    put(
        workspace.folder(),
        "tb/events.out.tfevents.1",
        [scalar(1.6e9, 1, "", 1.0), scalar(1.6e9, 1, "a//b", 2.0)].concat(),
    );
    let client = workspace.open().await;
    for source in ["pandas.csv", "odd.jsonl", "tb"] {
        import(&client, &workspace.folder().join(source)).await?;
    }
    let found = runs(&client).await?;
    assert_eq!(found.iter().map(|run| run.metrics.len()).sum::<usize>(), 2 + 5 + 2);
    for run in found {
        for key in run.metrics.keys() {
            let query = form_urlencoded(&run.uid, key);
            let request =
                Request::builder().uri(format!("/api/2.0/mlflow/metrics/get-history?{query}")).body(Vec::new())?;
            let response = client.door.call(request).await;
            let answer: Value = serde_json::from_slice(response.body())?;
            let count = answer["metrics"].as_array().map_or(0, Vec::len) as u64;
            assert_eq!((response.status().as_u16(), count), (200, run.metrics[key].count), "{key:?}: {answer}");
        }
    }
    client.door.close().await;
    Ok(())
}

fn form_urlencoded(run: &str, key: &str) -> String {
    let key: String = key.bytes().map(|byte| format!("%{byte:02x}")).collect();
    format!("run_id={run}&metric_key={key}")
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_are_no_numbers_are_themselves_in_the_replies() -> Result<()> {
    let workspace = Workspace::new();
    put(
        workspace.folder(),
        "a.jsonl",
        "{\"step\": 1, \"nan\": NaN, \"up\": Infinity, \"down\": -Infinity, \"one\": 1}\n",
    );
    let client = workspace.open().await;
    import(&client, &workspace.folder().join("a.jsonl")).await?;
    let reply: Value = client.get(path::RUNS).await?;
    let metrics = &reply["runs"][0]["metrics"];
    let last = ["nan", "up", "down", "one"].map(|key| metrics[key]["last"].clone());
    assert_eq!(last, [json!("NaN"), json!("Infinity"), json!("-Infinity"), json!(1.0)]);
    let run = runs(&client).await?.remove(0);
    assert!(run.metrics["nan"].last.is_some_and(f64::is_nan));
    assert_eq!(run.metrics["down"].last, Some(f64::NEG_INFINITY));
    client.door.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cut_and_what_is_read_in_part_is_told_in_full() -> Result<()> {
    let workspace = Workspace::new();
    let logs = workspace.folder().join("logs");
    for name in ["a", "b", "c"] {
        let mut events: Vec<u8> = (0..5).flat_map(|step| scalar(1.6e9, step, "loss", 1.0)).collect();
        let last = events.len() - 1;
        events[last] ^= 1;
        put(&logs, &format!("{name}/events.out.tfevents.1"), events);
    }
    let uid = "0123456789abcdef0123456789abcdef";
    put(&logs, &format!("mlruns/1/{uid}/meta.yaml"), format!("run_id: {uid}\nrun_name: long\nstatus: 3\n"));
    put(&logs, &format!("mlruns/1/{uid}/params/config"), "x".repeat(9000));
    let client = workspace.open().await;
    let job = import(&client, &logs).await?;
    for name in ["a", "b", "c"] {
        assert!(job.message.contains(&format!("{name}/events.out.tfevents.1: it is damaged")), "{}", job.message);
    }
    let cut = "the param \"config\" is kept up to its first 8000 of 9000 bytes";
    assert!(job.message.contains(cut), "{}", job.message);
    let run = runs(&client).await?.into_iter().find(|run| run.name == "long").expect("it is there");
    let detail: RunDetail = client.get(&path::run(run.id, "")).await?;
    assert!(detail.log.iter().any(|line| line.text.contains(cut)));
    // A file and a folder of one name are both kept.
    put(&logs, &format!("mlruns/1/{uid}/artifacts/x"), "file");
    import(&client, &logs).await?;
    let root = format!("/api/2.0/mlflow-artifacts/artifacts/0/{uid}/artifacts");
    let request = Request::builder().method(Method::PUT).uri(format!("{root}/x/inner.txt")).body(b"inner".to_vec())?;
    assert_eq!(client.door.call(request).await.status().as_u16(), 400);
    client.door.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_for_download_and_histories_of_trainers_are_runs() -> Result<()> {
    let workspace = Workspace::new();
    let logs = workspace.folder().join("logs");
    put(&logs, "tb/run-digits-tag-loss.csv", "Wall time,Step,Value\n1600000000.0,1,0.5\n1600000060.0,2,0.25\n");
    put(&logs, "tb/run-digits-tag-acc.csv", "Wall time,Step,Value\n1600000000.0,1,0.75\n");
    let header = "\"Step\",\"sunny-1 - loss\",\"sunny-1 - loss__MIN\",\"windy-2 - loss\"";
    put(
        &logs,
        "wandb_export_x.csv",
        format!("{header}\n\"1\",\"0.5\",\"0.5\",\"0.9\"\n\"2\",\"0.4\",\"0.4\",\"0.8\"\n"),
    );
    let entry = |step: u32| json!({ "step": step, "epoch": f64::from(step) / 4.0, "loss": 1.0 / f64::from(step) });
    let state =
        |steps: &[u32]| json!({ "log_history": steps.iter().map(|step| entry(*step)).collect::<Vec<_>>() }).to_string();
    put(&logs, "hf/checkpoint-5/trainer_state.json", state(&[1, 5]));
    let client = workspace.open().await;
    import(&client, &logs).await?;
    let found = async |name: &str| -> Result<Run> {
        let all = runs(&client).await?;
        let names: Vec<String> = all.iter().map(|run| run.name.clone()).collect();
        Ok(all.into_iter().find(|run| run.name == name).unwrap_or_else(|| panic!("{name} of {names:?}")))
    };
    assert_eq!(runs(&client).await?.len(), 4);
    let digits = found("digits").await?;
    assert_eq!((digits.metrics["loss"].last, digits.metrics["acc"].last), (Some(0.25), Some(0.75)));
    assert_eq!(digits.metrics["loss"].last_wall_ms, 1_600_000_060_000);
    assert_eq!(found("windy-2").await?.metrics["loss"].last, Some(0.8));
    assert_eq!(found("sunny-1").await?.metrics["loss__MIN"].count, 2);
    put(&logs, "hf/checkpoint-10/trainer_state.json", state(&[1, 5, 10]));
    import(&client, &logs).await?;
    let trained = found("hf").await?;
    assert_eq!((trained.metrics["loss"].count, trained.metrics["loss"].last_step), (3, 10));
    client.door.close().await;
    Ok(())
}

/// Class folders, each with two images.
fn put_classes(root: &Path, folder: &str, shade: u8) -> Result<()> {
    for (number, name) in (0..).zip(["cat/1", "cat/2", "dog/1", "dog/2"]) {
        let mut png = std::io::Cursor::new(Vec::new());
        image::RgbImage::from_pixel(4, 4, image::Rgb([number, shade, 7]))
            .write_to(&mut png, image::ImageFormat::Png)?;
        put(root, &format!("{folder}/{name}.png"), png.into_inner());
    }
    Ok(())
}

/// Datasets by name, with the number of their samples.
type Counts = Vec<(String, u64)>;

#[tokio::test(flavor = "multi_thread")]
async fn images_and_runs_in_one_folder_are_both_taken_whichever_was_there_first() -> Result<()> {
    let workspace = Workspace::new();
    let root = workspace.folder();
    let log = "step,loss\n1,0.5\n2,0.4\n";
    let client = workspace.open().await;
    let found = async || -> Result<(Counts, Vec<String>)> {
        let datasets: Vec<Dataset> = client.get(path::DATASETS).await?;
        let names = runs(&client).await?.into_iter().map(|run| run.name).collect();
        Ok((datasets.into_iter().map(|dataset| (dataset.name, dataset.samples)).collect(), names))
    };
    // A log that comes later, with another image.
    put_classes(root, "later", 1)?;
    import(&client, &root.join("later")).await?;
    assert_eq!(found().await?, (vec![("later".to_owned(), 4)], Vec::new()));
    put(root, "later/logs/metrics.csv", log);
    put_classes(root, "spare", 8)?;
    std::fs::copy(root.join("spare/dog/1.png"), root.join("later/dog/3.png"))?;
    let job = import(&client, &root.join("later")).await?;
    assert!(job.message.starts_with("1 run, 1 of them new; 2 points"), "{}", job.message);
    assert!(job.message.contains("are the dataset later"), "{}", job.message);
    assert_eq!(found().await?, (vec![("later".to_owned(), 5)], vec!["logs".to_owned()]));
    // A stray table in the folder, and in one of its class folders.
    for (number, (folder, place)) in (2..).zip([("top", "top/metrics.csv"), ("inner", "inner/cat/results.csv")]) {
        put_classes(root, folder, number)?;
        put(root, place, log);
        let job = import(&client, &root.join(folder)).await?;
        assert_eq!(job.status, RunStatus::Finished, "{}", job.message);
        assert!(job.message.contains(&format!("are the dataset {folder}")), "{}", job.message);
    }
    let (mut datasets, names) = found().await?;
    datasets.sort();
    assert_eq!(datasets, [("inner".to_owned(), 4), ("later".to_owned(), 5), ("top".to_owned(), 4)]);
    assert_eq!(names.len(), 3, "{names:?}");
    // Why a dataset beside runs is not imported.
    put_classes(root, "project/top", 9)?;
    put(root, "project/logs/metrics.csv", log);
    let job = import(&client, &root.join("project")).await?;
    assert!(job.message.contains("left out (another dataset is named \"top\")"), "{}", job.message);
    client.door.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_finds_no_run_fails_and_leaves_neither_a_run_nor_a_source() -> Result<()> {
    let workspace = Workspace::new();
    let root = workspace.folder();
    let client = workspace.open().await;
    put(root, "empty.jsonl", "");
    put(root, "text.jsonl", "this is no JSON\n");
    put(root, "header.csv", "step,loss\n");
    put(root, "words/metrics.json", "{\"note\": \"a\"}\n{\"note\": \"b\"}\n");
    put(root, "begun/metrics.json", "{\"loss\": 1}");
    put(root, "cut/trainer_state.json", "{\"log_history\": [");
    for source in ["empty.jsonl", "text.jsonl", "header.csv", "words", "begun", "cut"] {
        let job = import(&client, &root.join(source)).await?;
        assert_eq!(job.status, RunStatus::Failed, "{source}: {}", job.message);
        assert!(job.message.contains("no run was imported"), "{source}: {}", job.message);
    }
    assert!(runs(&client).await?.is_empty());
    assert_eq!(client.get::<Vec<LogSource>>(path::SOURCES).await?, []);
    client.door.close().await;
    let failed = workspace.assay(&["import", "empty.jsonl"]);
    let told = String::from_utf8_lossy(&failed.stdout);
    assert!(!failed.status.success() && told.contains("nothing in it yet"), "{told}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_training_in_an_old_folder_is_read_though_its_checkpoints_have_lower_numbers() -> Result<()> {
    let workspace = Workspace::new();
    let logs = workspace.folder().join("hf");
    let write = |checkpoint: u32, losses: &[f64], secs: u64| -> Result<()> {
        let entries: Vec<Value> =
            (1..).zip(losses).map(|(step, loss)| json!({ "step": 5 * step, "loss": loss })).collect();
        let file = format!("checkpoint-{checkpoint}/trainer_state.json");
        put(&logs, &file, json!({ "log_history": entries }).to_string());
        let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000 + secs);
        std::fs::File::options().write(true).open(logs.join(&file))?.set_modified(at)?;
        Ok(())
    };
    let client = workspace.open().await;
    write(10, &[1.0, 0.9], 0)?;
    write(20, &[1.0, 0.9, 0.8, 0.7], 60)?;
    import(&client, &logs).await?;
    let run = runs(&client).await?.remove(0);
    assert_eq!((run.metrics["loss"].count, run.metrics["loss"].last), (4, Some(0.7)));
    write(10, &[3.0, 2.0], 120)?;
    import(&client, &logs).await?;
    let run = runs(&client).await?.remove(0);
    assert_eq!(drawn(&client, &run, "loss").await?, [(5, 3.0), (10, 2.0)]);
    client.door.close().await;
    Ok(())
}
