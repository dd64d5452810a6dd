//! Learning as people use it: first weights, profiles, scores, configs in parts, too little memory, kills.

use crate::harness::{Workspace, digits, kill, until};
use anyhow::{Context, Result};
use assay_protocol::domain::entity::{Evaluation, Run};
use assay_protocol::domain::profile::{Phase, Profile};
use assay_protocol::domain::scores::{McNemar, Scores};
use assay_protocol::domain::{RunStatus, Split};
use assay_protocol::{EvaluateRequest, PrecisionFigures, PredictionPage, RunDetail, SimilarSample, StartRun, path};
use std::process::Stdio;

/// A small residual network that learns the digits in seconds.
const SMALL: [&str; 3] = ["model.name=resnet18", "model.width=8", "train.epochs=1"];

fn with_digits() -> Workspace {
    let workspace = Workspace::new();
    assert!(workspace.assay(&["import", "--name", "digits", digits().to_str().expect("a path")]).status.success());
    workspace
}

fn said(detail: &RunDetail, what: &str) -> bool {
    detail.log.iter().any(|line| line.text.contains(what))
}

#[test]
fn a_run_begins_with_the_weights_of_another_or_of_a_file_and_keeps_them() {
    let workspace = with_digits();
    let train = |name: &str, more: &[&str]| {
        let output = workspace.assay(&[&["train", "--name", name], &SMALL[..], more].concat());
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        workspace.json::<RunDetail>(&["show", name])
    };
    let first = train("first", &[]);
    let second = train("second", &["model.weights=run:first", "model.frozen=backbone", "augment.shift=0"]);
    assert!(said(&second, "tensors begin with the weights of run 1"), "{:?}", second.log);
    assert!(said(&second, "the frozen layers have seen each image once"), "{:?}", second.log);
    let kept = second.record.expect("a record").weights.expect("weights");
    assert_eq!(kept.hash, first.checkpoints[0].weights.hash);
    assert!(second.artifacts.iter().any(|artifact| artifact.hash == kept.hash && artifact.path.contains("begin")));

    // A folder of the project's own making, and one as the Hugging Face hub leaves it.
    let model = workspace.folder().join("model");
    assert!(workspace.assay(&["export", "first", model.to_str().expect("a path")]).status.success());
    train("third", &["model.weights=model"]);
    let cache = workspace.folder().join("models--someone--resnet");
    std::fs::create_dir_all(cache.join("snapshots/abc")).expect("folders");
    std::fs::create_dir_all(cache.join("refs")).expect("folders");
    std::fs::write(cache.join("refs/main"), "abc\n").expect("a file");
    std::fs::rename(model.join("model.safetensors"), cache.join("snapshots/abc/model.safetensors")).expect("moved");
    let fourth = train("fourth", &["model.weights=models--someone--resnet", "recipe=quick"]);
    assert!(said(&fourth, "abc"), "{:?}", fourth.log);

    let refused = |weights: &str| {
        let output = workspace.assay(&[&["train"], &SMALL[..], &[&*format!("model.weights={weights}")]].concat());
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    std::fs::write(workspace.folder().join("old.pth"), b"PK").expect("a file");
    assert!(refused("old.pth").contains("a pickle can run code"));
    assert!(refused("nothing.safetensors").contains("cannot be read"));
    assert!(refused("model").contains("a folder without model.safetensors"));
    let runs: Vec<Run> = workspace.json(&["runs"]);
    assert_eq!(runs.len(), 4, "what was refused is no run");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_has_a_profile_and_an_evaluation_has_scores_that_compare() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    client.import_digits().await?;
    let mut evaluations = Vec::new();
    for epochs in [1, 3] {
        let overrides = vec![format!("train.epochs={epochs}")];
        let run: Run =
            client.post(path::RUNS, &StartRun { dataset: "digits".into(), overrides, ..Default::default() }).await?;
        let detail = client.end_of(&run).await?;
        let of_test = detail.evaluations.into_iter().find(|made: &Evaluation| made.split == Split::Test);
        evaluations.push(of_test.context("an evaluation")?);
        let profile: Profile = client.get(&path::run(run.id, "/profile")).await?;
        assert!(Phase::ALL.iter().all(|phase| profile.spans.iter().any(|span| span.phase == *phase)));
        let trace = client.get::<RunDetail>(&path::run(run.id, "")).await?;
        assert!(trace.artifacts.iter().any(|artifact| artifact.path == "profile/trace.json"));
    }
    // What the model sees alike has mostly the same label, also among what it learned from.
    let run = evaluations[1].run;
    let on_train = EvaluateRequest { split: Some(Split::Train), ..EvaluateRequest::default() };
    client.finish(client.post(&path::run(run, "/evaluate"), &on_train).await?).await?;
    let page: PredictionPage =
        client.get(&path::evaluation(evaluations[1].id, "/predictions?limit=30&order=sample")).await?;
    let (mut same, mut all, mut learned) = (0, 0, 0);
    for prediction in &page.predictions {
        let address = path::evaluation(evaluations[1].id, &format!("/similar/{}", prediction.sample));
        let similar: Vec<SimilarSample> = client.get(&address).await?;
        assert!(similar.windows(2).all(|two| two[0].similarity >= two[1].similarity));
        assert!(similar.iter().all(|found| found.sample != prediction.sample && found.similarity <= 1.001));
        all += similar.len();
        same += similar.iter().filter(|found| found.label.as_ref() == Some(&prediction.predicted)).count();
        learned += similar.iter().filter(|found| found.split == Split::Train).count();
    }
    assert!(all == 12 * 30 && same * 10 > all * 6 && learned * 2 > all, "{same} and {learned} of {all}");
    let scores: Option<Scores> = client.get(&path::evaluation(evaluations[1].id, "/scores")).await?;
    let scores = scores.context("scores")?;
    let confusion = &evaluations[1].confusion;
    for (ours, right) in [
        (scores.accuracy.value, confusion.accuracy()),
        (scores.macro_f1.value, confusion.macro_f1()),
        (scores.loss, evaluations[1].loss),
    ] {
        assert!((ours - right.context("a figure")?).abs() < 1e-6, "{ours}, not {right:?}");
    }
    let address = path::evaluation(evaluations[0].id, &format!("/compare/{}", evaluations[1].id));
    let found: McNemar = client.get(&address).await?;
    assert_eq!(found.samples, scores.samples);
    assert!(found.second_alone > found.first_alone && found.p_value < 0.05, "{found:?}");
    client.door.close().await;
    Ok(())
}

#[test]
fn weights_of_eight_bits_are_compared_and_predict_nearly_the_same() {
    let workspace = with_digits();
    let train = ["train", "--name", "digits", "train.epochs=4"];
    assert!(workspace.assay(&train).status.success());
    let figures: Vec<PrecisionFigures> = workspace.json(&["quantize", "digits"]);
    let [full, quantized] = figures.as_slice() else { panic!("{figures:?}") };
    assert_eq!([full.precision.as_str(), quantized.precision.as_str()], ["fp32", "int8"]);
    assert!((full.accuracy - quantized.accuracy).abs() < 0.02, "{figures:?}");
    assert!(quantized.weight_bytes * 3 < full.weight_bytes, "{figures:?}");
    let image = workspace.folder().join("image.png");
    std::fs::copy(crate::harness::project().join("icons/32x32.png"), &image).expect("an image");
    let predict = |precision: &str| -> serde_json::Value {
        workspace.json(&["predict", "image.png", "-m", "digits", "--precision", precision])
    };
    let first = |found: &serde_json::Value| found["classes"][0]["probability"].as_f64().expect("a number");
    let (full, quantized) = (predict("fp32"), predict("int8"));
    assert_ne!(first(&full), first(&quantized));
    assert!((first(&full) - first(&quantized)).abs() < 0.2);
    let refused = workspace.assay(&["predict", "image.png", "-m", "digits", "--precision", "int4"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("fp32 or int8"));
}

#[test]
fn a_config_in_parts_is_one_in_the_record() {
    let workspace = with_digits();
    let write = |name: &str, text: &str| std::fs::write(workspace.folder().join(name), text).expect("a file");
    std::fs::create_dir_all(workspace.folder().join("parts")).expect("a folder");
    write("parts/data.toml", "[data]\nimage_size = 16\n[train]\nepochs = 9\n");
    write("run.toml", "include = [\"parts/data.toml\"]\nrecipe = \"quick\"\n[train]\nepochs = 1\n");
    let output = workspace.assay(&["train", "run.toml", "optimizer.lr=0.004", "--name", "parts"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let detail: RunDetail = workspace.json(&["show", "parts"]);
    let param = |key: &str| detail.run.params[key].clone();
    assert_eq!([param("train.epochs"), param("data.image_size"), param("optimizer.lr")], ["1", "16", "0.004"]);
    write("broken.toml", "include = [\"nowhere.toml\"]\n");
    let output = workspace.assay(&["train", "broken.toml"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("nowhere.toml"));
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn too_little_memory_is_a_failed_run_with_advice_and_the_server_lives_on() -> Result<()> {
    let workspace = with_digits();
    // Four gigabytes of addresses for the server.
    let serve = workspace.command(&["serve", "--port", "0"]);
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "ulimit -v 4000000; exec \"$0\" \"$@\""]).arg(serve.get_program()).args(serve.get_args());
    let mut serving = limited.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    until("the server answers", async || workspace.folder().join(".assay/socket").exists().then_some(())).await?;
    let client = workspace.open().await;
    let start = async |batch_size: usize| -> Result<RunDetail> {
        let overrides = vec![format!("train.batch_size={batch_size}"), "train.epochs=1".into()];
        let run: Run =
            client.post(path::RUNS, &StartRun { dataset: "digits".into(), overrides, ..Default::default() }).await?;
        client.end_of(&run).await
    };
    let failed = start(100_000).await?;
    assert_eq!(failed.run.status, RunStatus::Failed);
    let reason = failed.run.reason.unwrap_or_default();
    let advised = reason.split("try train.batch_size=").nth(1).and_then(|text| text.split(',').next());
    let advised: usize = advised.with_context(|| reason.clone())?.parse()?;
    assert!(!client.door.is_owner().await, "the server is still there");
    assert_eq!(start(advised.min(64)).await?.run.status, RunStatus::Finished);
    client.door.close().await;
    kill(&mut serving);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_training_that_is_killed_again_and_again_ends_with_the_weights_of_one_that_was_not() -> Result<()> {
    let workspace = with_digits();
    let config = ["train.epochs=6", "train.ema_decay=0.9", "augment.mixup=0.2", "seed=5"];
    assert!(workspace.assay(&[&["train", "--name", "whole"], &config[..]].concat()).status.success());
    let weights = |name: &str| -> Vec<String> {
        let detail: RunDetail = workspace.json(&["show", name]);
        detail.checkpoints.into_iter().map(|checkpoint| checkpoint.weights.hash).collect()
    };
    for turn in 0..3u64 {
        let arguments = if turn == 0 {
            [&["train", "--name", "killed"], &config[..]].concat()
        } else {
            vec!["train", "--resume", "killed"]
        };
        let mut training = workspace.command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        // Checkpoints are written all the time; it dies wherever it is after the next of them, or before it has begun
        // where the one before came further than was seen.
        until("another epoch", async || {
            let output = workspace.assay(&["--json", "show", "killed"]);
            let detail: RunDetail = serde_json::from_slice(&output.stdout).ok()?;
            let epochs = detail.run.metrics.get("epoch").and_then(|epoch| epoch.last).unwrap_or(0.0);
            (detail.run.status == RunStatus::Finished || epochs > turn as f64).then_some(())
        })
        .await?;
        kill(&mut training);
    }
    let resumed = workspace.assay(&["train", "--resume", "killed"]);
    let killed: RunDetail = workspace.json(&["show", "killed"]);
    assert_eq!(killed.run.status, RunStatus::Finished, "{}", String::from_utf8_lossy(&resumed.stderr));
    assert_eq!(weights("killed"), weights("whole"));
    Ok(())
}
