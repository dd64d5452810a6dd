//! What another workspace has is taken over: once, whole, and with the labels that both sides gave since they parted.

use crate::harness::{Client, Workspace, digits, kill, until};
use anyhow::Result;
use assay_protocol::domain::entity::{Dataset, Job, JobKind, LabelEdit, Run, SampleState};
use assay_protocol::domain::{ClassId, Label, LabelChange, RunStatus, Split};
use assay_protocol::{
    AddClasses, Check, ImportRequest, LabelRequest, MergeReply, MergeRequest, PersonRequest, PredictionPage, RunDetail,
    RunsReply, SampleDetail, SamplePage, SeriesReply, path,
};
use http::{Method, Request};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;

async fn merge(client: &Client, other: &Workspace) -> Result<MergeReply> {
    client.post(path::MERGE, &MergeRequest { folder: other.folder().display().to_string() }).await
}

async fn samples(client: &Client) -> Result<SamplePage> {
    let dataset = client.get::<Vec<Dataset>>(path::DATASETS).await?[0].id;
    client.get(&path::dataset(dataset, "/samples?limit=20")).await
}

/// Labels the sample that has a place in browsing order.
async fn label(client: &Client, place: usize, class: i64, person: &str) -> Result<LabelEdit> {
    let label = LabelChange::Set(Some(Label::one(ClassId(class))));
    let request = LabelRequest { change: label, person: person.into(), proposed_by: None };
    client.post(&path::sample(samples(client).await?.samples[place].id, "/label"), &request).await
}

async fn run_named(client: &Client, name: &str) -> Result<RunDetail> {
    let runs: RunsReply = client.get(path::RUNS).await?;
    let run = runs.runs.into_iter().find(|run| run.name == name).expect(name);
    client.get(&path::run(run.id, "")).await
}

/// What a run has, but for the numbers by which it goes here.
async fn told(client: &Client, name: &str) -> Result<Value> {
    let detail = run_named(client, name).await?;
    let id = detail.run.id;
    let mut series = Vec::new();
    for key in detail.run.metrics.keys() {
        let address = format!("{}?runs={id}&key={key}&buckets=5000", path::SERIES);
        let found: Vec<SeriesReply> = client.get(&address).await?;
        series.push((key.clone(), found.iter().map(|one| format!("{:?}", one.buckets)).collect::<Vec<_>>()));
    }
    let mut predictions = Vec::new();
    for evaluation in &detail.evaluations {
        let page: PredictionPage =
            client.get(&format!("{}/{}/predictions?limit=50", path::EVALUATIONS, evaluation.id)).await?;
        for (prediction, path) in page.predictions.iter().zip(page.paths) {
            predictions.push(json!([path, prediction.label, prediction.predicted, prediction.probabilities]));
        }
    }
    assert!(
        !series.is_empty() && (detail.run.client.is_some() || !predictions.is_empty()),
        "there is something to compare"
    );
    let Run { uid, status, reason, created, started, ended, params, tags, metrics, progress, client: by, .. } =
        detail.run;
    let record = detail.record.map(|mut record| {
        // In a snapshot samples go by their numbers, so that it has another name.
        record.data.iter_mut().for_each(|data| data.snapshot.clear());
        record
    });
    Ok(json!([
        uid,
        status,
        reason,
        created,
        started,
        ended,
        params,
        tags,
        metrics,
        progress,
        by,
        record,
        detail.log,
        detail.artifacts,
        series,
        predictions,
        detail.evaluations.iter().map(|one| (&one.confusion, one.split, one.loss)).collect::<Vec<_>>(),
        detail.checkpoints.iter().map(|one| (&one.weights, &one.state, one.step)).collect::<Vec<_>>()
    ]))
}

fn train(workspace: &Workspace, name: &str) {
    let output = workspace.assay(&["train", "--name", name, "train.epochs=1", "--data", "digits"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Trains the first run of a workspace, and kills its process once it came so far.
async fn kill_training(workspace: &Workspace, arguments: &[&str], so_far: impl Fn(&RunDetail) -> bool) -> Result<()> {
    let mut training =
        workspace.command(&[&["train"], arguments].concat()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    until("it came so far", async || {
        let output = workspace.assay(&["--json", "show", "1"]);
        let detail: RunDetail = serde_json::from_slice(&output.stdout).ok()?;
        so_far(&detail).then_some(())
    })
    .await?;
    kill(&mut training);
    Ok(())
}

fn is_whole(workspace: &Workspace) {
    let checks: Vec<Check> = workspace.json(&["doctor", "--deep"]);
    let bad: Vec<_> = checks.iter().filter(|check| check.ok == Some(false)).collect();
    assert!(bad.is_empty(), "{bad:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_copies_of_a_workspace_that_went_their_own_ways_meet_again() -> Result<()> {
    let (here, there) = (Workspace::new(), Workspace::new());
    assert!(here.assay(&["import", "--name", "digits", digits().to_str().expect("a path")]).status.success());
    train(&here, "before");
    assert!(here.assay(&["backup", there.folder().to_str().expect("a path")]).status.success());
    train(&here, "ours");
    train(&there, "theirs");
    let other = there.open().await;
    label(&other, 0, 1, "ann").await?;
    label(&other, 1, 2, "ann").await?;
    label(&other, 1, 3, "ann").await?;
    label(&other, 2, 4, "ann").await?;
    let dataset = other.get::<Vec<Dataset>>(path::DATASETS).await?[0].id;
    let _: LabelEdit = other.post(&path::dataset(dataset, "/undo"), &PersonRequest { person: "ann".into() }).await?;
    let expected = told(&other, "theirs").await?;
    other.door.close().await;
    drop(other);

    let client = here.open().await;
    label(&client, 1, 5, "bob").await?;
    label(&client, 3, 6, "bob").await?;
    let reply = merge(&client, &there).await?;
    assert_eq!((reply.runs, reply.known, reply.datasets.len()), (1, 1, 0), "{reply:?}");
    // Sample 0 comes, and sample 2 with its undo; sample 1 was labelled by both.
    assert_eq!((reply.edits, reply.differing), (3, 1), "{reply:?}");
    assert_eq!(told(&client, "theirs").await?, expected);
    let page = samples(&client).await?;
    let label_at = |place: usize| page.samples[place].label.clone();
    assert_eq!(label_at(0), Some(Label::one(ClassId(1))));
    assert_eq!(label_at(1), Some(Label::one(ClassId(5))));
    assert_eq!(label_at(3), Some(Label::one(ClassId(6))));
    let undone: SampleDetail = client.get(&path::sample(page.samples[2].id, "")).await?;
    let last = undone.history.last().expect("an undo");
    assert_eq!(
        (last.undoes, &last.after),
        (Some(undone.history[undone.history.len() - 2].id), &undone.history[0].after)
    );

    let again = merge(&client, &there).await?;
    assert_eq!((again.runs, again.known, again.edits, again.differing), (0, 2, 0, 1), "{again:?}");
    assert_eq!((again.gained, again.parted.len()), (0, 0), "{again:?}");
    client.door.close().await;
    drop(client);
    is_whole(&here);
    // A model that came can be gone on with.
    let output = here.assay(&["evaluate", "theirs", "--split", "val"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn succeeds(workspace: &Workspace, arguments: &[&str]) {
    let output = workspace.assay(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_that_comes_for_an_image_that_was_edited_since_has_to_be_confirmed() -> Result<()> {
    let (here, there, images) = (Workspace::new(), Workspace::new(), tempfile::tempdir()?);
    let save =
        |number: u32, width: u32| image::RgbImage::new(width, 8).save(images.path().join(format!("{number}.png")));
    for number in 0..3 {
        save(number, 8 + number)?;
    }
    let place = images.path().to_str().expect("a path");
    succeeds(&here, &["import", "--name", "shared", place]);
    let client = here.open().await;
    let dataset = client.get::<Vec<Dataset>>(path::DATASETS).await?[0].id;
    let classes = AddClasses { names: vec!["cat".into()] };
    client.post::<Dataset>(&path::dataset(dataset, "/classes"), &classes).await?;
    client.door.close().await;
    drop(client);
    succeeds(&here, &["backup", there.folder().to_str().expect("a path")]);
    let other = there.open().await;
    label(&other, 0, 0, "ann").await?;
    other.door.close().await;
    drop(other);
    save(0, 99)?;
    for workspace in [&there, &here] {
        succeeds(workspace, &["import", place]);
    }

    let client = here.open().await;
    let first = async || -> Result<(Option<Label>, Option<SampleState>)> {
        let sample = samples(&client).await?.samples.remove(0);
        Ok((sample.label.clone(), sample.state()))
    };
    let cat = Some(Label::one(ClassId(0)));
    assert_eq!(first().await?, (None, None));
    assert_eq!(merge(&client, &there).await?.edits, 1);
    assert_eq!(first().await?, (cat.clone(), Some(SampleState::Changed)), "it was set for another image");
    succeeds(&there, &["data", "confirm", "shared", "--person", "ann"]);
    assert_eq!(merge(&client, &there).await?.edits, 1);
    assert_eq!(first().await?, (cat.clone(), None), "it was confirmed there");
    let by = PersonRequest { person: "ann".into() };
    client.post::<LabelEdit>(&path::dataset(dataset, "/undo"), &by).await?;
    assert_eq!(first().await?, (cat, Some(SampleState::Changed)));
    client.door.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_removed_or_put_into_a_split_in_the_other_workspace_is_so_here() -> Result<()> {
    let (here, there) = (Workspace::new(), Workspace::new());
    succeeds(&here, &["import", "--name", "digits", digits().to_str().expect("a path")]);
    succeeds(&here, &["backup", there.folder().to_str().expect("a path")]);
    let page: SamplePage = there.json(&["data", "samples", "digits", "--limit", "2"]);
    let [removed, moved] = [0, 1].map(|place: usize| page.samples[place].id);
    let split = if page.samples[1].split == Split::Test { Split::Val } else { Split::Test };
    succeeds(&there, &["data", "remove-samples", "digits", "--sample", &removed.to_string()]);
    succeeds(&there, &["data", "split", "digits", split.as_str(), "--sample", &moved.to_string()]);

    let client = here.open().await;
    for _ in 0..2 {
        merge(&client, &there).await?;
        let dataset = client.get::<Vec<Dataset>>(path::DATASETS).await?.remove(0);
        assert_eq!(dataset.removed_samples, 1);
        let sample = async |id| client.get::<SampleDetail>(&path::sample(id, "")).await;
        assert_eq!(sample(removed).await?.sample.state(), Some(SampleState::Removed));
        assert_eq!(sample(moved).await?.sample.split, split);
    }
    client.door.close().await;
    drop(client);
    is_whole(&here);
    Ok(())
}

/// Makes a run of a client in an experiment of its own, with a file and a registered model.
async fn log_as_client(client: &Client) -> Result<()> {
    let post = async |address: &str, body: Value| -> Result<Value> {
        client.post(&format!("/api/2.0/mlflow/{address}"), &body).await
    };
    let experiment = post("experiments/create", json!({ "name": "vision" })).await?["experiment_id"].clone();
    let made =
        post("runs/create", json!({ "experiment_id": experiment, "start_time": 5, "run_name": "of a client" })).await?;
    let uid = made["run"]["info"]["run_id"].clone();
    let points: Vec<Value> = (0..3000)
        .map(|step| json!({ "key": "loss", "value": 1.0 / f64::from(step + 1), "timestamp": step, "step": step }))
        .collect();
    for points in points.chunks(1000) {
        post("runs/log-batch", json!({ "run_id": uid, "metrics": points })).await?;
    }
    let (experiment, uid) = (experiment.as_str().expect("an id"), uid.as_str().expect("an id"));
    let address = format!("/api/2.0/mlflow-artifacts/artifacts/{experiment}/{uid}/artifacts/model/weights.bin");
    let request = Request::builder().method(Method::PUT).uri(address).body(b"weights".to_vec())?;
    assert!(client.door.call(request).await.status().is_success());
    post("runs/update", json!({ "run_id": uid, "status": "FINISHED", "end_time": 9 })).await?;
    post("registered-models/create", json!({ "name": "classifier" })).await?;
    let source = format!("mlflow-artifacts:/{experiment}/{uid}/artifacts/model");
    post("model-versions/create", json!({ "name": "classifier", "source": source, "run_id": uid })).await?;
    post("registered-models/alias", json!({ "name": "classifier", "alias": "champion", "version": "1" })).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_known_runs_gained_in_the_other_workspace_comes() -> Result<()> {
    let (here, there) = (Workspace::new(), Workspace::new());
    assert!(here.assay(&["import", "--name", "digits", digits().to_str().expect("a path")]).status.success());
    let arguments = ["--name", "trained", "train.epochs=12", "train.batch_size=32"];
    kill_training(&here, &arguments, |detail| detail.checkpoints.len() == 2).await?;
    let log = async |client: &Client, uid: &str, steps: std::ops::Range<i64>| -> Result<()> {
        // Out of order, and not all of them numbers.
        let point = |step: i64| {
            let value = if step % 7 == 3 { json!("NaN") } else { json!(step * 37 % 11) };
            json!({ "key": "loss", "value": value, "timestamp": step, "step": (step - step % 2 * 5).max(0) })
        };
        let batch = json!({ "run_id": uid, "metrics": steps.map(point).collect::<Vec<_>>() });
        client.post::<Value>("/api/2.0/mlflow/runs/log-batch", &batch).await?;
        Ok(())
    };
    let client = here.open().await;
    let mut uids = Vec::new();
    for name in ["of a client", "on both sides", "longer here", "otherwise here"] {
        let made = json!({ "experiment_id": "0", "start_time": 5, "run_name": name });
        let made: Value = client.post("/api/2.0/mlflow/runs/create", &made).await?;
        uids.push(made["run"]["info"]["run_id"].as_str().expect("an id").to_owned());
        log(&client, &uids[uids.len() - 1], 0..900).await?;
    }
    client.door.close().await;
    drop(client);
    assert!(here.assay(&["backup", there.folder().to_str().expect("a path")]).status.success());

    let output = there.assay(&["train", "--resume", "trained"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(there.assay(&["evaluate", "trained", "--split", "val"]).status.success());
    let other = there.open().await;
    for uid in &uids[..2] {
        log(&other, uid, 900..1800).await?;
        let ended = json!({ "run_id": uid, "status": "FINISHED", "end_time": 9 });
        other.post::<Value>("/api/2.0/mlflow/runs/update", &ended).await?;
    }
    log(&other, &uids[3], 900..950).await?;
    let tag = async |client: &Client, key: &str, value: &str| {
        let tag = json!({ "run_id": uids[0], "key": key, "value": value });
        client.post::<Value>("/api/2.0/mlflow/runs/set-tag", &tag).await
    };
    tag(&other, "there", "1").await?;
    tag(&other, "both", "there").await?;
    let expected = (told(&other, "trained").await?, told(&other, "of a client").await?);
    other.door.close().await;
    drop(other);

    let client = here.open().await;
    tag(&client, "both", "here").await?;
    for (uid, steps) in [(&uids[1], 950..1000), (&uids[2], 900..1000), (&uids[3], 1000..1800)] {
        log(&client, uid, steps).await?;
    }
    let ours = [told(&client, "on both sides").await?, told(&client, "longer here").await?];
    let reply = merge(&client, &there).await?;
    assert_eq!((reply.runs, reply.known, reply.gained), (0, 5, 2), "{reply:?}");
    assert_eq!(reply.parted, ["on both sides", "otherwise here"], "what is not taken is told");
    assert_eq!([told(&client, "on both sides").await?, told(&client, "longer here").await?], ours);
    assert_eq!(told(&client, "trained").await?, expected.0);
    let run = run_named(&client, "of a client").await?.run;
    assert_eq!((run.tags["there"].as_str(), run.tags["both"].as_str()), ("1", "here"), "tags of here stay");
    tag(&client, "both", "there").await?;
    assert_eq!(told(&client, "of a client").await?, expected.1);
    assert_eq!(merge(&client, &there).await?.gained, 0, "merging twice changes nothing");
    client.door.close().await;
    drop(client);
    is_whole(&here);
    // The model that went on there is here, and both sides may find something out about it.
    for (workspace, split) in [(&here, "test"), (&there, "train")] {
        let output = workspace.assay(&["evaluate", "trained", "--split", split]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let client = here.open().await;
    assert_eq!(merge(&client, &there).await?.gained, 1);
    let splits: BTreeSet<Split> =
        run_named(&client, "trained").await?.evaluations.into_iter().map(|evaluation| evaluation.split).collect();
    assert_eq!(splits, BTreeSet::from([Split::Train, Split::Val, Split::Test]));
    client.door.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_machines_workspace_comes_with_its_images_files_and_models() -> Result<()> {
    let (here, there) = (Workspace::new(), Workspace::new());
    assert!(there.assay(&["import", "--name", "digits", digits().to_str().expect("a path")]).status.success());
    train(&there, "trained");
    let other = there.open().await;
    log_as_client(&other).await?;
    let running = json!({ "experiment_id": "0", "start_time": 5, "run_name": "at work" });
    other.post::<Value>("/api/2.0/mlflow/runs/create", &running).await?;
    let expected = (told(&other, "trained").await?, told(&other, "of a client").await?);
    other.door.close().await;
    drop(other);

    let client = here.open().await;
    // Numbers and names that are taken here already.
    client.import_digits().await?;
    for name in ["first", "second"] {
        client.post::<Value>("/api/2.0/mlflow/experiments/create", &json!({ "name": name })).await?;
    }
    let reply = merge(&client, &there).await?;
    assert_eq!(reply.runs, 3, "{reply:?}");
    assert_eq!(run_named(&client, "at work").await?.run.status, RunStatus::Running, "its client may log on");
    assert_eq!(
        (reply.datasets.as_slice(), reply.models.as_slice()),
        (&["digits (2)".into()][..], &["classifier".into()][..])
    );
    drop(there);

    assert_eq!((told(&client, "trained").await?, told(&client, "of a client").await?), expected);
    let datasets: Vec<Dataset> = client.get(path::DATASETS).await?;
    let merged = datasets.iter().find(|dataset| dataset.name == "digits (2)").expect("it is there");
    let page: SamplePage = client.get(&path::dataset(merged.id, "/samples?limit=5")).await?;
    for sample in page.samples {
        let request = Request::builder().uri(path::sample(sample.id, "/image")).body(Vec::new())?;
        assert!(client.door.call(request).await.status().is_success(), "{}", sample.path);
    }
    let address = "/api/2.0/mlflow/model-versions/get-download-uri?name=classifier&version=1";
    let place = client.get::<Value>(address).await?["artifact_uri"].clone();
    let place = place.as_str().and_then(|uri| uri.strip_prefix("mlflow-artifacts:/")).expect("an address").to_owned();
    let detail = run_named(&client, "of a client").await?;
    assert!(place.starts_with(&format!("{}/{}/", detail.run.experiment_id, detail.run.uid)), "{place}");
    let address = format!("/api/2.0/mlflow-artifacts/artifacts/{place}/weights.bin");
    let request = Request::builder().uri(address).body(Vec::new())?;
    assert_eq!(client.door.call(request).await.into_body(), b"weights");
    let alias = "/api/2.0/mlflow/registered-models/alias?name=classifier&alias=champion";
    assert_eq!(client.get::<Value>(alias).await?["model_version"]["version"], "1");
    assert_eq!(run_named(&client, "trained").await?.run.status, RunStatus::Finished);
    client.door.close().await;
    drop(client);
    is_whole(&here);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_is_taken_over_where_its_folder_is_imported() -> Result<()> {
    let (here, there, images) = (Workspace::new(), Workspace::new(), tempfile::tempdir()?);
    let other = there.open().await;
    log_as_client(&other).await?;
    other.door.close().await;
    drop(other);
    let client = here.open().await;
    let import = async |folder: &Path| -> Result<Job> {
        let request = ImportRequest { source: folder.display().to_string(), ..ImportRequest::default() };
        client.finish(client.post(path::DATASETS, &request).await?).await
    };
    for (folder, words) in
        [(there.folder(), "1 run came; 0 here"), (&there.folder().join(".assay"), "0 runs came; 1 here")]
    {
        let job = import(folder).await?;
        assert!(matches!(job.work, JobKind::Merge { .. }) && job.message.starts_with(words), "{job:?}");
    }
    assert_eq!(run_named(&client, "of a client").await?.run.experiment, "vision");
    // Where images lie beside a workspace, they are meant.
    std::fs::create_dir(images.path().join("class"))?;
    image::RgbImage::new(8, 8).save(images.path().join("class/one.png"))?;
    assert!(there.assay(&["backup", images.path().to_str().expect("a path")]).status.success());
    let job = import(images.path()).await?;
    assert!(matches!(job.work, JobKind::Import { .. }), "{job:?}");
    client.door.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_process_was_killed_there_comes_as_crashed() -> Result<()> {
    let (here, there) = (Workspace::new(), Workspace::new());
    assert!(there.assay(&["import", "--name", "digits", digits().to_str().expect("a path")]).status.success());
    let arguments = ["--name", "killed", "train.epochs=1000"];
    kill_training(&there, &arguments, |detail| detail.run.metrics.contains_key("train/loss")).await?;
    let client = here.open().await;
    assert_eq!(merge(&client, &there).await?.runs, 1);
    let run = run_named(&client, "killed").await?.run;
    assert_eq!((run.status, run.ended.is_some()), (RunStatus::Crashed, true));
    assert!(run.reason.is_some_and(|why| why.contains("without a word")));
    client.door.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_come_to_a_deleted_experiment_bring_it_back_and_outlive_gc() -> Result<()> {
    let (here, there) = (Workspace::new(), Workspace::new());
    let other = there.open().await;
    log_as_client(&other).await?;
    other.door.close().await;
    drop(other);
    let client = here.open().await;
    let made: Value = client.post("/api/2.0/mlflow/experiments/create", &json!({ "name": "vision" })).await?;
    client.post::<Value>("/api/2.0/mlflow/experiments/delete", &made).await?;
    assert_eq!(merge(&client, &there).await?.runs, 1);
    client.post::<Value>(path::GC, &json!({ "dry": false })).await?;
    assert_eq!(run_named(&client, "of a client").await?.run.experiment, "vision");
    client.door.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_files_read_in_both_workspaces_are_one_run() -> Result<()> {
    let (here, there, apart) = (Workspace::new(), Workspace::new(), Workspace::new());
    let logs = tempfile::tempdir()?;
    std::fs::write(logs.path().join("metrics.jsonl"), "{\"step\": 1, \"loss\": 0.5}\n{\"step\": 2, \"loss\": 0.25}\n")?;
    let place = logs.path().to_str().expect("a path");
    for workspace in [&here, &there] {
        assert!(workspace.assay(&["import", place]).status.success());
    }
    let client = here.open().await;
    let reply = merge(&client, &there).await?;
    assert_eq!((reply.runs, reply.known), (0, 1), "{reply:?}");
    client.door.close().await;
    // Read elsewhere and taken over, the files are known here.
    let client = apart.open().await;
    assert_eq!(merge(&client, &there).await?.runs, 1);
    client.door.close().await;
    drop(client);
    assert!(apart.assay(&["import", place]).status.success());
    let runs: Vec<Run> = apart.json(&["runs"]);
    assert_eq!((runs.len(), runs[0].metrics["loss"].count), (1, 2));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_merged_is_told_and_nothing_comes() -> Result<()> {
    let (here, there) = (Workspace::new(), Workspace::new());
    let client = here.open().await;
    let why = |reply: Result<MergeReply>| reply.expect_err("it is refused").to_string();
    assert!(why(merge(&client, &there).await).contains("there is no workspace"));
    assert!(why(merge(&client, &here).await).contains("with itself"));
    let other = there.open().await;
    log_as_client(&other).await?;
    let in_use = why(merge(&client, &there).await);
    assert!(in_use.contains("in use by"), "{in_use}");
    other.door.close().await;
    drop(other);

    // A file that is missing there keeps back the run that has it, and no other.
    let mut files = walkdir::WalkDir::new(there.folder().join(".assay/blobs")).into_iter().flatten();
    std::fs::remove_file(files.find(|file| file.file_type().is_file()).expect("a file").path())?;
    let reply = merge(&client, &there).await?;
    assert_eq!(reply.runs, 0);
    assert!(reply.damaged[0].starts_with("of a client: its file"), "{reply:?}");
    let output = there.assay(&["runs"]);
    assert!(output.status.success(), "the other one is free again: {}", String::from_utf8_lossy(&output.stderr));

    // A lock that leads elsewhere is not written to.
    #[cfg(unix)]
    {
        let (lock, elsewhere) = (there.folder().join(".assay/lock"), there.folder().join("elsewhere"));
        std::fs::write(&elsewhere, "as it was")?;
        std::fs::remove_file(&lock)?;
        std::os::unix::fs::symlink(&elsewhere, &lock)?;
        assert!(merge(&client, &there).await.is_err());
        assert_eq!(std::fs::read_to_string(&elsewhere)?, "as it was");
        std::fs::remove_file(&lock)?;
    }
    std::fs::write(there.folder().join(".assay/assay.db"), "no database")?;
    assert!(why(merge(&client, &there).await).contains("not an Assay database"));
    client.door.close().await;
    Ok(())
}
