//! Runs in the terminal: numbers, names, directions, changes, and output closed early.

use crate::harness::{Client, Workspace, until};
use anyhow::Result;
use assay_protocol::domain::entity::{Experiment, Run};
use assay_protocol::{RunDetail, path};
use serde_json::{Value, json};
use std::process::{Output, Stdio};

async fn mlflow(client: &Client, address: &str, body: Value) -> Value {
    client.post(&format!("/api/2.0/mlflow/{address}"), &body).await.expect(address)
}

async fn new_run(client: &Client, name: &str) -> String {
    let made = mlflow(client, "runs/create", json!({ "experiment_id": "0", "run_name": name, "start_time": 5 })).await;
    made["run"]["info"]["run_id"].as_str().expect("an id").to_owned()
}

/// Logs values of a metric from step 0; NaN and infinities as strings.
async fn log(client: &Client, run: &str, key: &str, values: &[Value]) {
    let point = |(step, value): (usize, &Value)| json!({ "key": key, "value": value, "timestamp": 7, "step": step });
    let points: Vec<Value> = values.iter().enumerate().map(point).collect();
    for points in points.chunks(1000) {
        mlflow(client, "runs/log-batch", json!({ "run_id": run, "metrics": points })).await;
    }
}

async fn param(client: &Client, run: &str, key: &str, value: &str) {
    mlflow(client, "runs/log-parameter", json!({ "run_id": run, "key": key, "value": value })).await;
}

async fn tag(client: &Client, run: &str, key: &str, value: &str) {
    mlflow(client, "runs/set-tag", json!({ "run_id": run, "key": key, "value": value })).await;
}

fn says(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// Output of a succeeding command.
fn printed(workspace: &Workspace, arguments: &[&str]) -> String {
    let output = workspace.assay(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", says(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Message of a failing command.
fn refused(workspace: &Workspace, arguments: &[&str]) -> String {
    let output = workspace.assay(arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", says(&output));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The table line beginning so, with single blanks.
fn line(text: &str, begin: &str) -> String {
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.into_iter().find(|line| line.starts_with(begin)).unwrap_or_else(|| panic!("{begin:?} is not in\n{text}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_shown_with_their_digits_and_sent_as_they_are() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    let run = new_run(&client, "numbers").await;
    for (key, values) in [
        ("lr", [json!(3e-5), json!(6e-7)]),
        ("odd", [json!(1.0), json!("NaN")]),
        ("up", [json!(1.0), json!("Infinity")]),
        ("down", [json!(1.0), json!("-Infinity")]),
        ("share", [json!(0.5), json!(0.951_234_56)]),
        ("count", [json!(1), json!(12_345_678)]),
    ] {
        log(&client, &run, key, &values).await;
    }
    let shown = printed(&workspace, &["show", "numbers"]);
    for text in [
        "lr 6e-7 6e-7 at 1 3e-5 at 0",
        "odd NaN 1 at 0 1 at 0",
        "up inf 1 at 0 1 at 0",
        "down -inf 1 at 0 1 at 0",
        "share 0.95123 0.5 at 0 0.95123 at 1",
        "count 12345678 1 at 0 12345678 at 1",
    ] {
        line(&shown, text);
    }
    let listed: Value = workspace.json(&["runs"]);
    let last = |key: &str| listed[0]["metrics"][key]["last"].clone();
    let wanted = [json!("NaN"), json!("Infinity"), json!("-Infinity"), json!(6e-7)];
    assert_eq!([last("odd"), last("up"), last("down"), last("lr")], wanted);
    let read: Vec<Run> = workspace.json(&["runs"]);
    let odd = read[0].metrics["odd"].last;
    assert!(odd.is_some_and(f64::is_nan), "{odd:?}");
    let detail: RunDetail = client.get(&path::run(read[0].id, "")).await?;
    assert_eq!(detail.run.metrics["up"].last, Some(f64::INFINITY));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_differ_are_shown_to_differ_however_little() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    let [a, b] = [new_run(&client, "a").await, new_run(&client, "b").await];
    for (key, one, other) in [
        ("tiny", json!(4e-6), json!(9e-7)),
        ("near", json!(0.1), json!(0.100_000_000_000_000_02)),
        ("large", json!(123_456_789_012.25), json!(123_456_789_012.5)),
        ("kinds", json!("NaN"), json!("Infinity")),
        ("same", json!("NaN"), json!("NaN")),
        ("equal", json!(0.25), json!(0.25)),
    ] {
        log(&client, &a, key, &[one]).await;
        log(&client, &b, key, &[other]).await;
    }
    log(&client, &a, "alone", &[json!("NaN")]).await;
    let compared = printed(&workspace, &["compare", "a", "b"]);
    for (key, values) in [
        ("tiny", "4e-6 9e-7"),
        ("near", "0.1 0.10000000000000002"),
        ("large", "1.234567890122e11 1.234567890125e11"),
        ("kinds", "NaN inf"),
        ("alone", "NaN –"),
    ] {
        assert_eq!(line(&compared, &format!("metrics {key} (last)")), format!("metrics {key} (last) {values}"));
    }
    assert!(!compared.contains("same") && !compared.contains("equal"), "{compared}");
    let all = printed(&workspace, &["compare", "a", "b", "--all"]);
    assert_eq!(line(&all, "metrics same (last)"), "metrics same (last) NaN NaN");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_best_value_is_told_only_where_it_is_known_and_everywhere_once_it_is_declared() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    let runs = [new_run(&client, "a").await, new_run(&client, "b").await];
    let keys = ["val/loss", "val/accuracy", "val/rmse", "wer", "Loss", "error_rate", "psnr"];
    for (at, run) in runs.iter().enumerate() {
        for key in keys {
            log(&client, run, key, &[3, 2, 1].map(|value| json!(value + at))).await;
        }
    }
    let compared = printed(&workspace, &["compare", "a", "b"]);
    assert_eq!(line(&compared, "metrics val/loss (best)"), "metrics val/loss (best) 1 at step 2 2 at step 2");
    assert_eq!(line(&compared, "metrics val/accuracy (best)"), "metrics val/accuracy (best) 3 at step 0 4 at step 0");
    for key in ["val/rmse", "wer", "Loss", "error_rate", "psnr"] {
        assert!(!compared.contains(&format!("{key} (best)")), "{compared}");
        assert_eq!(
            line(&compared, &format!("metrics {key} (min)")),
            format!("metrics {key} (min) 1 at step 2 2 at step 2")
        );
    }
    // A person and a client declare it.
    assert_eq!(line(&printed(&workspace, &["metric", "wer", "--best", "min"]), "wer"), "wer min declared");
    tag(&client, &runs[0], "assay.best.psnr", "max").await;
    let compared = printed(&workspace, &["compare", "a", "b"]);
    assert_eq!(line(&compared, "metrics wer (best)"), "metrics wer (best) 1 at step 2 2 at step 2");
    assert_eq!(line(&compared, "metrics psnr (best)"), "metrics psnr (best) 3 at step 0 4 at step 0");
    let reply: assay_protocol::RunsReply = client.get(path::RUNS).await?;
    let words = keys.map(|key| reply.directions.of(key).as_str());
    assert_eq!(words, ["min", "max", "none", "min", "none", "none", "max"]);
    printed(&workspace, &["metric", "wer", "--best", "unset"]);
    printed(&workspace, &["metric", "val/loss", "--best", "none"]);
    let compared = printed(&workspace, &["compare", "a", "b"]);
    assert!(!compared.contains("wer (best)") && !compared.contains("val/loss (best)"), "{compared}");
    assert!(refused(&workspace, &["metric", "wre"]).contains("did you mean \"wer\""));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_no_run_has_is_told_of_with_the_nearest_one() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    let run = new_run(&client, "night-1").await;
    param(&client, &run, "learning_rate", "0.1").await;
    tag(&client, &run, "team", "vision").await;
    log(&client, &run, "val/accuracy", &[json!(0.25), json!(0.75), json!(0.5)]).await;
    for (filter, near) in [
        ("learning_rat<1", "learning_rate"),
        ("params.learning-rate<1", "params.learning_rate"),
        ("val/acuracy>0.1", "val/accuracy"),
        ("min:accuracy>0.1", "min:val/accuracy"),
        ("tags.teem=vision", "tags.team"),
        ("--sort=val/acc", "val/accuracy"),
        ("--sort=-Status", "status"),
    ] {
        let output = workspace.assay(&["runs", filter]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && told.contains(&format!("did you mean {near:?}?")), "{filter}: {told}");
    }
    let told = says(&workspace.assay(&["runs", "nosuch>3"]));
    assert!(told.contains("no run has \"nosuch\"") && !told.contains("did you mean"), "{told}");
    assert!(refused(&workspace, &["runs", "--columns", "run,learning_rat"]).contains("\"learning_rate\""));
    assert!(refused(&workspace, &["show", "nihgt-1"]).contains("\"night-1\""));
    assert!(refused(&workspace, &["history", "night-1", "val/acc"]).contains("\"val/accuracy\""));
    assert!(refused(&workspace, &["compare", "night-1", "--metric", "accuracy"]).contains("\"val/accuracy\""));
    let chart = workspace.folder().join("chart.svg");
    let chart = chart.to_str().expect("a path");
    assert!(
        refused(&workspace, &["compare", "1", "--metric", "accurac", "--chart", chart]).contains("\"val/accuracy\"")
    );
    let rule = ["alerts", "add", "val/acc", "below", "0.1", "--filter", "teem=vision"];
    let told = String::from_utf8_lossy(&workspace.assay(&rule).stderr).into_owned();
    assert!(told.contains("\"metrics.val/accuracy\"") && told.contains("\"team\""), "{told}");
    // Values are found by each of their names.
    for filter in [
        "learning_rate=0.1",
        "params.learning_rate<1",
        "metrics.val/accuracy=0.5",
        "min:val/accuracy<0.3",
        "max:metrics.val/accuracy=0.75",
        "team=vision",
        "tags.team:VISION",
        "note!=x",
    ] {
        let output = workspace.assay(&["runs", filter]);
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(told.contains("night-1") && output.stderr.is_empty(), "{filter}: {}", says(&output));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_about_a_run_is_shown() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    let made = mlflow(&client, "experiments/create", json!({ "name": "night shift" })).await;
    let run = json!({ "experiment_id": made["experiment_id"], "run_name": "one", "start_time": 5, "user_id": "ada" });
    let made = mlflow(&client, "runs/create", run).await;
    let uid = made["run"]["info"]["run_id"].as_str().expect("an id").to_owned();
    param(&client, &uid, "weight_decay", "0.05").await;
    tag(&client, &uid, "team", "vision").await;
    tag(&client, &uid, "mlflow.note.content", "first line\nsecond line").await;
    let dataset = json!({ "name": "photos", "digest": "d1g", "source_type": "local", "source": "/data/photos" });
    mlflow(&client, "runs/log-inputs", json!({ "run_id": uid, "datasets": [{ "dataset": dataset }] })).await;
    let root = made["run"]["info"]["artifact_uri"].as_str().expect("a place").split_once(':').expect("a scheme").1;
    let file = format!("/api/2.0/mlflow-artifacts/artifacts/{}/report.txt", root.trim_matches('/'));
    client.send::<Value>(http::Method::PUT, &file, b"figures".to_vec()).await?;
    log(&client, &uid, "loss", &[json!(0.5)]).await;
    let shown = printed(&workspace, &["show", "one"]);
    for text in
        ["run 1 one running", "experiment night shift", "weight_decay 0.05", "team vision", "loss 0.5", "report.txt 7"]
    {
        line(&shown, text);
    }
    let note = shown.lines().skip_while(|line| !line.starts_with("note "));
    let note: Vec<&str> = note.take(2).map(|line| line.trim_start_matches("note").trim()).collect();
    assert_eq!(note, ["first line", "second line"]);
    for text in ["ada", "photos", "d1g", uid.as_str()] {
        assert!(shown.contains(text), "{text:?} is not in\n{shown}");
    }
    // Foreign text moves no cursor.
    param(&client, &uid, "colour", "\u{1b}[31mred\nx").await;
    assert!(!printed(&workspace, &["show", "one"]).contains('\u{1b}'));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_runs_with_one_name_none_is_chosen_silently() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    let uids = [new_run(&client, "part").await, new_run(&client, "part").await, new_run(&client, "1").await];
    for command in [&["show", "part"][..], &["delete", "part"], &["history", "part", "loss"], &["compare", "1", "part"]]
    {
        let told = refused(&workspace, command);
        assert!(told.contains("\"part\"") && told.contains("1, 2"), "{command:?}: {told}");
    }
    // A number is an id, whatever runs are named.
    assert!(printed(&workspace, &["show", "1"]).starts_with("run 1  part"));
    assert!(printed(&workspace, &["show", "#3"]).starts_with("run 3  1"));
    assert!(printed(&workspace, &["show", &uids[1][..12]]).starts_with("run 2  part"));
    printed(&workspace, &["delete", "2"]);
    assert!(printed(&workspace, &["show", "part"]).starts_with("run 1  part"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_are_those_that_were_asked_for() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    let one = new_run(&client, "one").await;
    new_run(&client, "other").await;
    param(&client, &one, "lr", "3e-5").await;
    tag(&client, &one, "team", "vision, night").await;
    log(&client, &one, "loss", &[json!(0.5), json!(0.125), json!("NaN")]).await;
    let end = json!({ "run_id": one, "status": "FINISHED", "end_time": 5 + 11_520_000 });
    mlflow(&client, "runs/update", end).await;
    let columns = "run,name,params.lr,loss,min:loss,max:metrics.loss,tags.team,duration,started";
    let listed = printed(&workspace, &["runs", "--columns", columns, "--sort", "run"]);
    assert_eq!(
        line(&listed, "run"),
        "run name params.lr loss min:loss max:metrics.loss tags.team duration started (UTC)"
    );
    assert_eq!(line(&listed, "1"), "1 one 3e-5 NaN 0.125 0.5 vision, night 3 h 12 min 1970-01-01 00:00");
    assert!(line(&listed, "2").starts_with("2 other – – – – –"), "{listed}");
    let objects: Value = workspace.json(&["runs", "--columns", "id,loss,lr,duration"]);
    assert_eq!(objects[1], json!({ "id": 1, "loss": "NaN", "lr": "3e-5", "duration": 11_520.0 }));
    // By default: experiment, start and the existing metrics.
    let usual = printed(&workspace, &["runs"]);
    assert_eq!(line(&usual, "run"), "run name status experiment started (UTC) duration loss");
    assert_eq!(line(&usual, "1"), "1 one finished Default 1970-01-01 00:00 3 h 12 min NaN");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_deleted_restored_renamed_tagged_and_noted() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    for name in ["a", "b", "c"] {
        new_run(&client, name).await;
    }
    let run = async |number: usize| -> Result<Run> {
        Ok(client.get::<RunDetail>(&format!("{}/{number}", path::RUNS)).await?.run)
    };
    assert_eq!(printed(&workspace, &["delete", "a", "2"]), "deleted run 1 (a)\ndeleted run 2 (2)\n");
    let left: Vec<Run> = workspace.json(&["runs"]);
    assert_eq!(left.iter().map(|run| run.name.as_str()).collect::<Vec<_>>(), ["c"]);
    let deleted: Vec<Run> = workspace.json(&["runs", "--deleted"]);
    assert_eq!(deleted.len(), 2);
    assert!(refused(&workspace, &["show", "a"]).contains("assay restore"));
    // One unknown name stops all: nothing is half done.
    refused(&workspace, &["delete", "c", "nothing"]);
    assert!(run(3).await?.deleted.is_none());
    printed(&workspace, &["restore", "a", "b"]);
    assert!(refused(&workspace, &["restore", "c"]).contains("not deleted"));
    printed(&workspace, &["rename", "a", "first try"]);
    assert!(refused(&workspace, &["rename", "b", " "]).contains("needs a name"));
    printed(&workspace, &["tag", "first try", "b", "team=vision", "url=http://x?a=b", "draft=yes"]);
    printed(&workspace, &["tag", "b", "draft="]);
    printed(&workspace, &["note", "1", "2", "a wrong learning rate"]);
    let (first, second) = (run(1).await?, run(2).await?);
    assert_eq!((first.name.as_str(), first.note.as_str()), ("first try", "a wrong learning rate"));
    assert_eq!(second.note, first.note);
    assert_eq!((first.tags["url"].as_str(), first.tags.len(), second.tags.len()), ("http://x?a=b", 3, 2));
    printed(&workspace, &["note", "1", ""]);
    assert_eq!(run(1).await?.note, "");
    for wrong in
        [&["tag", "1", "team"][..], &["tag", "team=x", "y=z"], &["tag", "1", "=x"], &["note", "nothing", "text"]]
    {
        refused(&workspace, wrong);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn experiments_are_deleted_restored_renamed_tagged_and_noted() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    let made = mlflow(&client, "experiments/create", json!({ "name": "night" })).await;
    let run = json!({ "experiment_id": made["experiment_id"], "run_name": "of the night", "start_time": 5 });
    mlflow(&client, "runs/create", run).await;
    printed(&workspace, &["delete", "--experiment", "night"]);
    assert!(workspace.json::<Vec<Run>>(&["runs"]).is_empty());
    printed(&workspace, &["restore", "--experiment", "night"]);
    assert_eq!(workspace.json::<Vec<Run>>(&["runs"]).len(), 1);
    assert!(refused(&workspace, &["rename", "--experiment", "nihgt", "day"]).contains("did you mean \"night\""));
    printed(&workspace, &["rename", "--experiment", "night", "day"]);
    printed(&workspace, &["tag", "--experiment", "day", "team=vision"]);
    printed(&workspace, &["note", "--experiment", "day", "by daylight"]);
    let experiments: Vec<Experiment> = client.get(path::EXPERIMENTS).await?;
    let day = experiments.iter().find(|experiment| experiment.name == "day").expect("it was renamed");
    assert_eq!((day.tags["team"].as_str(), day.tags["mlflow.note.content"].as_str()), ("vision", "by daylight"));
    assert_eq!(workspace.json::<Vec<Run>>(&["runs", "experiment:day"]).len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_has_every_point_to_the_bit() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    let run = new_run(&client, "one").await;
    let numbers = [0.1, 1.0 / 3.0, 5e-324, f64::MIN_POSITIVE, f64::MAX, -0.0, 1e22, 123_456_789.123_456_79, -3e-5];
    let mut values: Vec<Value> = numbers.iter().map(|value| json!(value)).collect();
    values.extend([json!("NaN"), json!("Infinity"), json!("-Infinity")]);
    log(&client, &run, "odd one: a/b", &[json!(1)]).await;
    log(&client, &run, "loss", &values).await;
    let csv = printed(&workspace, &["history", "one", "loss"]);
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some("step,wall_time,value,segment,superseded"));
    let read: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    assert_eq!(read.len(), values.len());
    for (step, (cells, wanted)) in read.iter().zip(numbers.into_iter().chain([f64::NAN])).enumerate() {
        let value: f64 = cells[2].parse()?;
        assert!(value.to_bits() == wanted.to_bits() || (value.is_nan() && wanted.is_nan()), "{cells:?} {wanted:e}");
        assert_eq!((cells[0], cells[1]), (step.to_string().as_str(), "1970-01-01T00:00:00.007Z"));
        assert_eq!((cells[3], cells[4]), ("0", "false"));
    }
    assert_eq!([read[10][2], read[11][2]], ["inf", "-inf"]);
    let points: Vec<Value> = workspace.json(&["history", "one", "loss"]);
    assert_eq!((points.len(), &points[9]["value"], &points[2]["value"]), (12, &json!("NaN"), &json!(5e-324)));
    assert_eq!(printed(&workspace, &["history", "one", "odd one: a/b", "--csv"]).lines().count(), 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_prints_ends_quietly_when_nobody_reads_on() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    for name in ["a", "b"] {
        let run = new_run(&client, name).await;
        log(&client, &run, "loss", &(0..3_000).map(|value| json!(value)).collect::<Vec<_>>()).await;
    }
    mlflow(&client, "runs/update", json!({ "run_id": new_run(&client, "c").await, "status": "FAILED" })).await;
    let commands: [&[&str]; 17] = [
        &["init"],
        &["runs"],
        &["runs", "--json"],
        &["runs", "nosuch>1"],
        &["show", "a"],
        &["show", "a", "--json"],
        &["compare", "a", "b"],
        &["history", "a", "loss"],
        &["history", "a", "loss", "--json"],
        &["metric"],
        &["config"],
        &["config", "--markdown"],
        &["alerts"],
        &["alerts", "rules"],
        &["sources"],
        &["datasets"],
        &["doctor"],
    ];
    for command in commands {
        let mut child = workspace.command(command).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        drop(child.stdout.take());
        let output = child.wait_with_output()?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(141), "{command:?}: {told}");
        assert!(told.is_empty() || told.starts_with("assay: no run has"), "{command:?}: {told}");
    }
    // Nor does a closed standard error matter.
    let commands: [&[&str]; 4] = [&["show", "nothing"], &["runs", "nosuch>1"], &["--help"], &["stop", "a"]];
    for command in commands {
        let mut child = workspace.command(command).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        drop((child.stdout.take(), child.stderr.take()));
        let code = until("the command ends", async || child.try_wait().ok()?).await?.code();
        assert!(code.is_some_and(|code| code != 101), "{command:?}: {code:?}");
    }
    Ok(())
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_and_no_panic() {
    let workspace = Workspace::new();
    let full = || Stdio::from(std::fs::File::options().write(true).open("/dev/full").expect("/dev/full"));
    for command in [&["config"][..], &["runs", "--json"], &["config", "--markdown"]] {
        let output = workspace.command(command).stdout(full()).output().expect("assay starts");
        let told = says(&output);
        assert_eq!(output.status.code(), Some(1), "{command:?}: {told}");
        assert!(told.contains("No space left"), "{command:?}: {told}");
    }
}
