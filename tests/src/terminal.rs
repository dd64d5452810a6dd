//! The loop in the terminal: what each command prints and leaves behind.

use crate::harness::{Workspace, digits, until};
use assay_protocol::domain::RunStatus;
use assay_protocol::domain::entity::{Evaluation, Run};
use assay_protocol::{RunDetail, Settings, SettingsPatch, Theme, path};
use std::process::Output;

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn with_digits() -> Workspace {
    let workspace = Workspace::new();
    text(&workspace.assay(&["import", digits().to_str().expect("a path")]));
    workspace
}

#[test]
fn the_help_names_every_command() {
    insta::assert_snapshot!(text(&Workspace::new().command(&["--help"]).env("COLUMNS", "110").output().expect("help")));
}

#[test]
fn every_config_key_is_explained() {
    let written = text(&Workspace::new().assay(&["config", "--markdown"]));
    let kept =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/config.md")).expect("docs/config.md");
    assert_eq!(written, kept, "write it anew: assay config --markdown > docs/config.md");
}

#[test]
fn the_demo_learns_the_digits() {
    let workspace = with_digits();
    text(&workspace.assay(&["train", "--experiment", "demo"]));
    let detail: RunDetail = workspace.json(&["show", "1"]);
    let evaluation: &Evaluation = &detail.evaluations[0];
    let accuracy = evaluation.confusion.accuracy().expect("an accuracy");
    assert!(accuracy >= 0.97, "test accuracy {accuracy}");
}

#[test]
fn two_runs_are_trained_compared_evaluated_exported_and_used() {
    let workspace = with_digits();
    let sgd = "optimizer.name=sgd optimizer.lr=0.05 optimizer.nesterov=true train.early_stop_epochs=1 \
               augment.crop=0.8 augment.color=0.1 augment.shift=0.1 train.epochs=30";
    text(&workspace.assay(&["train", "--name", "one", "train.epochs=2"]));
    let arguments: Vec<&str> = ["train", "--name", "two"].into_iter().chain(sgd.split_whitespace()).collect();
    text(&workspace.assay(&arguments));

    let chart = workspace.folder().join("chart.svg");
    let compared = text(&workspace.assay(&["compare", "one", "two", "--chart", chart.to_str().expect("a path")]));
    assert!(compared.contains("optimizer.name") && !compared.contains("model.name"), "{compared}");
    assert!(std::fs::read_to_string(chart).expect("a chart").starts_with("<svg"));
    let two: RunDetail = workspace.json(&["show", "two"]);
    assert!(two.run.metrics["val/loss"].count < 30, "no early stop: {:?}", two.run.reason);

    let judged = text(&workspace.assay(&["evaluate", "one", "--split", "val", "--against", "two"]));
    assert!(judged.contains("macro F1") && judged.contains("(95 %)"), "{judged}");
    let shown = text(&workspace.assay(&["show", "one"]));
    assert!(shown.contains("val split") && shown.contains("no repository"), "{shown}");
    assert!(!shown.contains("the commit is what ran"), "{shown}");
    let listed = text(&workspace.assay(&["snapshots"]));
    let hash = listed.lines().nth(1).and_then(|line| line.split_whitespace().nth(1)).expect("a snapshot");
    let again = text(&workspace.assay(&["evaluate", "one", "--split", "val", "--snapshot", &hash[..6]]));
    assert_eq!(
        again.lines().find(|line| line.starts_with("accuracy")),
        judged.lines().find(|line| line.starts_with("accuracy"))
    );
    let missing = workspace.assay(&["evaluate", "one", "--snapshot", "nothing"]);
    assert!(!missing.status.success() && String::from_utf8_lossy(&missing.stderr).contains("assay snapshots"));

    let model = workspace.folder().join("model");
    text(&workspace.assay(&["export", "one", model.to_str().expect("a path")]));
    let weights = std::fs::read(model.join("model.safetensors")).expect("weights");
    let weights = safetensors::SafeTensors::deserialize(&weights).expect("safetensors");
    assert!(weights.names().iter().any(|name| name.ends_with("weight")));
    assert_eq!(std::fs::read_to_string(model.join("classes.txt")).expect("classes").lines().count(), 10);

    let card = std::fs::read_to_string(model.join("README.md")).expect("a card");
    assert!(card.starts_with("# one\n") && card.contains("| network | small-cnn |"), "{card}");
    assert!(card.contains("of the test split") && card.contains("with 95 % confidence"), "{card}");
    let onnx = std::fs::read(model.join("model.onnx")).expect("an ONNX file");
    let weights = std::fs::metadata(model.join("model.safetensors")).expect("weights").len();
    assert!(onnx.len() as u64 > weights * 9 / 10 && onnx.windows(6).any(|bytes| bytes == b"logits"));

    let mut unpack = std::process::Command::new("tar");
    assert!(unpack.arg("xzf").arg(digits()).arg("-C").arg(workspace.folder()).status().expect("tar").success());
    let image = workspace.folder().join("0/0000.png");
    let image = image.to_str().expect("a path");
    assert!(text(&workspace.assay(&["predict", image, "--model", "one"])).contains("0000.png: "));
    let line: serde_json::Value = workspace.json(&["predict", image, "--model", "one"]);
    let sum: f64 = line["classes"].as_array().expect("classes").iter().filter_map(|c| c["probability"].as_f64()).sum();
    assert!((sum - 1.0).abs() < 1e-4);
    let text_file = model.join("classes.txt");
    let nothing = workspace.assay(&["predict", "--model", "one", text_file.to_str().expect("a path")]);
    assert!(!nothing.status.success() && String::from_utf8_lossy(&nothing.stderr).contains("not an image"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_stopped_from_another_terminal() -> anyhow::Result<()> {
    let workspace = with_digits();
    let mut training = workspace.command(&["train", "train.epochs=100000"]).spawn()?;
    let client = workspace.open().await;
    until("the first epoch", async || {
        let detail: RunDetail = client.get("/api/v1/runs/1").await.ok()?;
        detail.run.metrics.contains_key("val/loss").then_some(())
    })
    .await?;
    text(&workspace.assay(&["stop", "1"]));
    let run: Run = client.get::<RunDetail>("/api/v1/runs/1").await?.run;
    let detail = client.end_of(&run).await?;
    assert_eq!(detail.run.status, RunStatus::Stopped);
    assert!(!detail.checkpoints.is_empty());
    let code = until("the command ends", async || training.try_wait().ok()?).await?.code();
    assert_eq!(code, Some(130));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn other_addresses_want_the_token() -> anyhow::Result<()> {
    let workspace = Workspace::new();
    let serving = workspace.serve_with(&["--address", "0.0.0.0", "--token", "secret"]);
    let (base, _) = serving.address.split_once("/?token=").expect("an address with its token");
    let base = base.replace("0.0.0.0", "127.0.0.1");
    let status = async |path: &str| -> anyhow::Result<String> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let host = base.trim_start_matches("http://");
        let mut stream = tokio::net::TcpStream::connect(host).await?;
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes())
            .await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned())
    };
    assert!(status("/api/v1/about").await?.contains("401"));
    assert!(status("/api/v1/about?token=guess").await?.contains("401"));
    assert!(status("/api/v1/about?token=secret").await?.contains("200"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_chosen_for_the_interface_is_there_for_the_next_process() -> anyhow::Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    assert_eq!(client.get::<Settings>(path::SETTINGS).await?, Settings::default());
    let change = async |patch: SettingsPatch| -> anyhow::Result<Settings> {
        client.send(http::Method::PATCH, path::SETTINGS, serde_json::to_vec(&patch)?).await
    };
    let keys = |command: &str, keys: Option<&str>| [(command.into(), keys.map(|key| vec![key.into()]))].into();
    change(SettingsPatch { theme: Some(Theme::Light), ..SettingsPatch::default() }).await?;
    change(SettingsPatch { keys: keys("Fly", Some("F")), ..SettingsPatch::default() }).await?;
    change(SettingsPatch { keys: keys("NewRun", Some("Ctrl+P")), ..SettingsPatch::default() }).await?;
    let settings = change(SettingsPatch { keys: keys("Back", None), ..SettingsPatch::default() }).await?;
    // Each choice leaves the others as they are, also those that no version here knows.
    assert_eq!((settings.theme, settings.keys.len()), (Some(Theme::Light), 2));
    assert_eq!((&settings.keys["Fly"], &settings.keys["NewRun"]), (&vec!["F".into()], &vec!["Ctrl+P".into()]));
    let long = "x".repeat(5_000);
    let refused = change(SettingsPatch { keys: keys(&long, None), ..SettingsPatch::default() }).await;
    assert!(refused.unwrap_err().to_string().contains("at most"));
    client.door.close().await;
    let client = workspace.open().await;
    assert_eq!(client.get::<Settings>(path::SETTINGS).await?, settings);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_typed_path_is_completed_with_what_can_be_imported() -> anyhow::Result<()> {
    let workspace = Workspace::new();
    let folder = workspace.folder().join("pictures");
    std::fs::create_dir_all(folder.join("Birds"))?;
    for name in ["birds.zip", "birds.txt", ".birds.zip", "bears.csv"] {
        std::fs::write(folder.join(name), b"")?;
    }
    let client = workspace.open().await;
    let complete = async |begin: String| -> anyhow::Result<Vec<String>> {
        let query = assay_protocol::PathsQuery { begin };
        let found: Vec<assay_protocol::PathSuggestion> =
            client.get(&format!("{}{}", path::PATHS, query.to_query())).await?;
        Ok(found.into_iter().map(|found| found.path.rsplit('/').next().unwrap_or_default().to_owned()).collect())
    };
    assert_eq!(complete(format!("{}/b", folder.display())).await?, ["Birds", "bears.csv", "birds.zip"]);
    assert!(complete("/there/is/nothing/here".into()).await?.is_empty());
    Ok(())
}
