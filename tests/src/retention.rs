//! What is deleted frees its name at once and its room when it is collected; a workspace can be copied while it is in use.

use crate::harness::{Client, Workspace, program};
use anyhow::Result;
use assay_protocol::domain::counted;
use assay_protocol::domain::entity::Run;
use assay_protocol::{BackupReply, BackupRequest, Check, GcReply, GcRequest, RunDetail, RunsReply, path};
use http::{Method, Request};
use serde_json::{Value, json};
use std::process::Command;

async fn post(client: &Client, address: &str, body: Value) -> Value {
    client.post(&format!("/api/2.0/mlflow/{address}"), &body).await.expect(address)
}

/// Makes a run with points and a file of this content.
async fn run(client: &Client, content: &str) -> Result<Run> {
    let made = post(client, "runs/create", json!({ "experiment_id": "0", "start_time": 5 })).await;
    let uid = made["run"]["info"]["run_id"].as_str().expect("an id");
    let points: Vec<Value> =
        (0..1000).map(|step| json!({ "key": "loss", "value": 0.5, "timestamp": 7, "step": step })).collect();
    post(client, "runs/log-batch", json!({ "run_id": uid, "metrics": points })).await;
    let address = format!("/api/2.0/mlflow-artifacts/artifacts/0/{uid}/artifacts/a/file.bin");
    let request = Request::builder().method(Method::PUT).uri(address).body(content.as_bytes().to_vec())?;
    assert!(client.door.call(request).await.status().is_success());
    let found: RunsReply = client.get(path::RUNS).await?;
    Ok(found.runs.into_iter().find(|run| run.uid == uid).expect("the run"))
}

async fn delete(client: &Client, run: &Run) -> Result<()> {
    client.send(Method::DELETE, &path::run(run.id, ""), Vec::new()).await
}

fn blobs(workspace: &Workspace) -> usize {
    let files = walkdir::WalkDir::new(workspace.folder().join(".assay/blobs")).into_iter().flatten();
    files.filter(|file| file.file_type().is_file()).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_runs_are_freed_with_what_is_theirs_alone_and_only_when_it_is_asked_for() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    let large = "x".repeat(500_000);
    let [kept, gone, served, back] = [
        run(&client, "shared").await?,
        run(&client, &large).await?,
        run(&client, "served").await?,
        run(&client, "back").await?,
    ];
    let shared = run(&client, "shared").await?;
    post(&client, "registered-models/create", json!({ "name": "m" })).await;
    let source = format!("mlflow-artifacts:/0/{}/artifacts/a", served.uid);
    post(&client, "model-versions/create", json!({ "name": "m", "source": source, "run_id": served.uid })).await;
    for run in [&gone, &served, &back, &shared] {
        delete(&client, run).await?;
    }
    client.post::<Value>(&path::run(back.id, "/restore"), &()).await?;

    let dry: GcReply = client.post(path::GC, &GcRequest { dry: true }).await?;
    assert_eq!((dry.runs.len(), dry.files, dry.bytes), (2, 1, 500_000), "{dry:?}");
    assert_eq!(blobs(&workspace), 4);
    let done: GcReply = client.post(path::GC, &GcRequest::default()).await?;
    assert_eq!((done.runs.len(), done.files), (2, 1));
    assert_eq!(blobs(&workspace), 3);
    assert!(client.get::<RunDetail>(&path::run(gone.id, "")).await.is_err());
    for run in [&kept, &served, &back] {
        let detail: RunDetail = client.get(&path::run(run.id, "")).await?;
        assert_eq!((detail.run.metrics["loss"].count, detail.artifacts.len()), (1000, 1));
        assert!(client.get::<Value>(&path::run(run.id, "/artifacts/a/file.bin")).await.is_err_and(|error| {
            !error.to_string().contains("404") // it is there, and is no JSON
        }));
    }
    let again: GcReply = client.post(path::GC, &GcRequest::default()).await?;
    assert_eq!((again.runs.len(), again.files), (0, 0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_made_while_runs_are_logged_is_whole_and_a_damaged_one_is_noticed() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    run(&client, "first").await?;
    let elsewhere = Workspace::new();
    let request = BackupRequest { folder: elsewhere.folder().display().to_string() };
    let logging = async {
        for number in 0..20 {
            run(&client, &format!("file {number}")).await.expect("it is logged");
        }
    };
    let (copied, ()) = tokio::join!(client.post::<BackupReply>(path::BACKUP, &request), logging);
    let copied = copied?;
    assert!(copied.files >= 1, "{copied:?}");
    assert!(client.post::<BackupReply>(path::BACKUP, &request).await.is_err(), "it is not overwritten");
    let inside = BackupRequest { folder: workspace.folder().join(".assay/copy").display().to_string() };
    assert!(client.post::<BackupReply>(path::BACKUP, &inside).await.is_err());

    let doctor = || {
        let mut command = Command::new(program("assay"));
        command.arg("--json").arg("--workspace").arg(elsewhere.folder()).args(["doctor", "--deep"]);
        let output = command.output().expect("assay starts");
        let checks: Vec<Check> = serde_json::from_slice(&output.stdout).expect("JSON");
        checks.into_iter().find(|check| check.what == "kept files").expect("the check")
    };
    let sound = doctor();
    assert_eq!((sound.ok, sound.found), (Some(true), format!("{}, all intact", counted(copied.files, "file"))));
    let runs: Vec<Run> = elsewhere.json(&["runs"]);
    // A batch is in it whole or not at all.
    assert!(runs.iter().all(|run| run.metrics.get("loss").is_none_or(|loss| loss.count == 1000)));
    let mut files = walkdir::WalkDir::new(elsewhere.folder().join(".assay/blobs")).into_iter().flatten();
    let file = files.find(|file| file.file_type().is_file()).expect("a file");
    std::fs::write(file.path(), "damaged")?;
    let damaged = doctor();
    assert_eq!(damaged.ok, Some(false));
    assert!(damaged.found.starts_with("1 of"), "{}", damaged.found);
    Ok(())
}
