//! The API of MLflow's clients, as they speak it.

mod files;
mod names;
mod registry;
mod searches;

use crate::harness::{Client, Workspace, kill};
use anyhow::Result;
use assay_protocol::domain::RunStatus;
use assay_protocol::domain::entity::Run;
use assay_protocol::{ImportRequest, RegisteredCard, RunDetail, RunPatch, RunsReply, StartRun, path};
use http::{Method, Request};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;

const API: &str = "/api/2.0/mlflow";

/// What a request is answered with: the status, and the JSON.
async fn ask(client: &Client, method: Method, address: &str, body: &Value) -> (u16, Value) {
    let bytes = if body.is_null() { Vec::new() } else { serde_json::to_vec(body).expect("JSON") };
    raw(client, method, address, bytes).await
}

async fn raw(client: &Client, method: Method, address: &str, body: Vec<u8>) -> (u16, Value) {
    let address = if address.starts_with('/') { address.to_owned() } else { format!("{API}/{address}") };
    let request = Request::builder().method(method).uri(address).body(body).expect("a request");
    let response = client.door.call(request).await;
    (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap_or(Value::Null))
}

async fn post(client: &Client, address: &str, body: Value) -> Value {
    let (status, answer) = ask(client, Method::POST, address, &body).await;
    assert_eq!(status, 200, "{address} {body}: {answer}");
    answer
}

async fn get(client: &Client, address: &str) -> Value {
    let (status, answer) = ask(client, Method::GET, address, &Value::Null).await;
    assert_eq!(status, 200, "{address}: {answer}");
    answer
}

async fn new_run(client: &Client, experiment: &str) -> String {
    let run = post(client, "runs/create", json!({ "experiment_id": experiment, "start_time": 5 })).await;
    run["run"]["info"]["run_id"].as_str().expect("an id").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_logs_is_in_the_table_of_runs_and_comes_back_as_it_was() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    let made =
        post(&client, "experiments/create", json!({ "name": "vision", "tags": [{ "key": "team", "value": "a" }] }));
    let experiment = made.await["experiment_id"].as_str().expect("an id").to_owned();
    let run = new_run(&client, &experiment).await;
    let points = [(1, json!(0.5)), (0, json!(0.9)), (2, json!("NaN")), (2, json!("-Infinity")), (2, json!("NaN"))];
    let points: Vec<Value> = points
        .iter()
        .map(|(step, value)| json!({ "key": "loss", "value": value, "timestamp": 7, "step": step }))
        .collect();
    let batch = json!({
        "run_id": run, "metrics": points, "params": [{ "key": "lr", "value": "1e-3" }],
        "tags": [{ "key": "mlflow.note.content", "value": "a note" }], "a field of later": 1,
    });
    post(&client, "runs/log-batch", batch).await;
    let history = get(&client, &format!("metrics/get-history?run_id={run}&metric_key=loss")).await;
    let history: Vec<(i64, Value)> = history["metrics"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|point| (point["step"].as_i64().expect("a step"), point["value"].clone()))
        .collect();
    assert_eq!(history.len(), 5, "nothing is dropped: {history:?}");
    assert_eq!((&history[0], &history[2]), (&(0, json!(0.9)), &(2, json!("-Infinity"))));

    // The same run in Assay's own table, with its note, its params and its summary.
    let reply: RunsReply = client.get(&format!("{}?filter=lr=0.001", path::RUNS)).await?;
    let found: &Run = &reply.runs[0];
    assert_eq!(
        (found.uid.as_str(), found.experiment.as_str(), found.note.as_str()),
        (run.as_str(), "vision", "a note")
    );
    assert_eq!((found.status, found.client.as_deref()), (RunStatus::Running, Some("mlflow")));
    assert_eq!((found.metrics["loss"].count, found.metrics["loss"].min), (5, Some((0.5, 1))));

    // Values come back to the bit, however they are written.
    let values: Vec<f64> = (1..400).map(|number| 1.0 / f64::from(number * 7919)).collect();
    let points: Vec<Value> = (0..)
        .zip(&values)
        .map(|(step, value)| json!({ "key": "bits", "value": value, "timestamp": 1, "step": step }))
        .collect();
    post(&client, "runs/log-batch", json!({ "run_id": run, "metrics": points })).await;
    let history = get(&client, &format!("metrics/get-history?run_id={run}&metric_key=bits")).await;
    let back: Vec<f64> =
        history["metrics"].as_array().expect("a list").iter().filter_map(|p| p["value"].as_f64()).collect();
    assert_eq!(back, values);

    // A param never changes; nothing of a batch that contradicts it is kept.
    let contradiction = json!({
        "run_id": run, "metrics": [{ "key": "other", "value": 1, "timestamp": 1 }],
        "params": [{ "key": "lr", "value": "2" }],
    });
    let (status, why) = ask(&client, Method::POST, "runs/log-batch", &contradiction).await;
    assert_eq!((status, &why["error_code"]), (400, &json!("INVALID_PARAMETER_VALUE")));
    assert!(why["message"].as_str().is_some_and(|why| why.contains("was already logged with value='1e-3'")), "{why}");
    let input =
        |name: &str| json!({ "dataset": { "name": name, "digest": "d", "source_type": "code", "source": "{}" } });
    post(&client, "runs/log-inputs", json!({ "run_id": run, "datasets": [input("b"), input("a")] })).await;
    let told = get(&client, &format!("runs/get?run_id={run}")).await;
    let inputs = &told["run"]["inputs"]["dataset_inputs"];
    assert_eq!([0, 1].map(|place| &inputs[place]["dataset"]["name"]), [&json!("b"), &json!("a")]);
    for (filter, count) in [("dataset.name = 'a' AND datasets.digest IN ('d')", 1), ("dataset.context = 'train'", 0)] {
        let found = post(&client, "runs/search", json!({ "experiment_ids": [experiment], "filter": filter })).await;
        assert_eq!(found["runs"].as_array().map(Vec::len), Some(count), "{filter}");
    }
    let metrics = told["run"]["data"]["metrics"].as_array().expect("metrics");
    // Of several at one step and time, the greatest.
    assert_eq!((metrics.len(), &metrics[1]["value"]), (2, &json!("-Infinity")), "{told}");

    let ended = json!({ "run_id": run, "status": "KILLED", "end_time": 9_000 });
    post(&client, "runs/update", ended).await;
    let detail: RunDetail = client.get(&path::run(found.id, "")).await?;
    assert_eq!((detail.run.status, detail.run.ended.map(|at| at.0)), (RunStatus::Stopped, Some(9_000)));
    client.door.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_searched_by_what_they_have_and_sorted_with_what_is_missing_last() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    let mut runs = Vec::new();
    for (lr, loss) in [("0.1", json!(0.5)), ("0.2", json!("NaN")), ("0.3", json!(0.25)), ("0.4", Value::Null)] {
        let run = new_run(&client, "0").await;
        let metrics =
            if loss.is_null() { json!([]) } else { json!([{ "key": "loss", "value": loss, "timestamp": 1 }]) };
        let params = json!([{ "key": "lr", "value": lr }]);
        post(&client, "runs/log-batch", json!({ "run_id": run, "metrics": metrics, "params": params })).await;
        runs.push(run);
    }
    let search = async |filter: &str, order: &str, limit: u32, token: &Value| {
        let asked = json!({
            "experiment_ids": ["0"], "filter": filter, "order_by": [order], "max_results": limit, "page_token": token,
        });
        let answer = post(&client, "runs/search", asked).await;
        let place = |run: &Value| runs.iter().position(|own| run["info"]["run_id"] == **own).expect("one of ours");
        let found: Vec<usize> = answer["runs"].as_array().expect("runs").iter().map(place).collect();
        (found, answer["next_page_token"].clone())
    };
    let none = Value::Null;
    assert_eq!(search("", "metrics.loss ASC", 10, &none).await.0, [2, 0, 1, 3]);
    assert_eq!(search("", "metrics.loss DESC", 10, &none).await.0, [0, 2, 1, 3]);
    assert_eq!(search("metrics.loss < 0.4", "params.lr ASC", 10, &none).await.0, [2]);
    assert_eq!(search("params.lr ILIKE '0.%' AND params.lr != '0.2'", "params.lr DESC", 10, &none).await.0, [3, 2, 0]);
    assert_eq!(search("params.lr LIKE '0._' AND metrics.loss >= 0.5", "params.lr ASC", 10, &none).await.0, [0]);
    let (first, token) = search("", "params.lr ASC", 3, &none).await;
    let (second, end) = search("", "params.lr ASC", 3, &token).await;
    assert_eq!((first, second, end), (vec![0, 1, 2], vec![3], Value::Null));

    // What is deleted is found where that is asked for, and comes back.
    post(&client, "runs/delete", json!({ "run_id": runs[0] })).await;
    assert_eq!(search("metrics.loss = 0.5", "params.lr", 10, &none).await.0, [0; 0]);
    let (status, why) = ask(&client, Method::POST, "runs/set-tag", &json!({ "run_id": runs[0], "key": "a" })).await;
    assert!(status == 400 && why["message"].as_str().is_some_and(|why| why.contains("must be in the 'active' state")));
    post(&client, "runs/restore", json!({ "run_id": runs[0] })).await;
    assert_eq!(search("metrics.loss = 0.5", "params.lr", 10, &none).await.0, [0]);
    client.door.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_never_an_internal_error() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    let run = new_run(&client, "0").await;
    let long = "x".repeat(9000);
    let many: Vec<Value> = (0..1001).map(|_| json!({ "key": "a", "value": 1, "timestamp": 1 })).collect();
    for (address, body) in [
        ("runs/log-batch", json!({ "run_id": run, "metrics": "foo" })),
        ("runs/log-batch", json!({ "run_id": run, "metrics": [5] })),
        ("runs/log-batch", json!({ "run_id": run, "metrics": many })),
        ("runs/log-metric", json!({ "run_id": run, "key": "a", "value": "much", "timestamp": 1 })),
        ("runs/log-metric", json!({ "run_id": run, "key": "a", "value": 1, "timestamp": -1 })),
        ("runs/log-metric", json!({ "run_id": run, "key": "../a", "value": 1, "timestamp": 1 })),
        ("runs/log-metric", json!({ "run_id": run, "key": "a", "value": 1, "timestamp": 1, "step": 1_u64 << 63 })),
        ("runs/log-metric", json!({ "run_id": run, "key": "a", "value": 1, "timestamp": 1e300 })),
        ("runs/update", json!({ "run_id": run, "end_time": u64::MAX })),
        ("runs/set-tag", json!({ "run_id": run, "key": "assay.best.loss", "value": "sideways" })),
        ("runs/set-tag", json!({ "run_id": run, "key": long, "value": "" })),
        ("runs/search", json!({ "experiment_ids": ["0"], "filter": "metrics.a = 'x'" })),
        ("runs/search", json!({ "experiment_ids": ["0"], "filter": "no filter at all" })),
        ("runs/search", json!({ "experiment_ids": ["0"], "order_by": ["attributes.nothing"] })),
        ("runs/search", json!({ "experiment_ids": ["0"], "page_token": "x" })),
        ("runs/search", json!({ "experiment_ids": ["0"], "max_results": 1_000_000 })),
        ("experiments/create", json!({ "name": 5 })),
        ("experiments/create", json!({ "name": "Default" })),
        ("runs/search", json!({ "experiment_ids": ["0"], "page_token": "after-18446744073709551615" })),
        ("runs/search", json!({ "experiment_ids": ["0"], "filter": vec!["tags.a = 'b'"; 1100].join(" AND ") })),
        ("runs/search", json!({ "experiment_ids": ["0"], "filter": format!("tags.a LIKE '{}'", "%".repeat(60_000)) })),
        ("runs/search", json!({ "experiment_ids": ["0"], "filter": "metrics.a IS NULL" })),
        ("experiments/search", json!({ "filter": "name IS NOT NULL" })),
        ("logged-models/search", json!({ "experiment_ids": ["0"], "filter": "metrics.a LIKE 'x'" })),
        ("registered-models/create", json!({ "name": "a/b" })),
        ("registered-models/rename", json!({ "name": "a", "new_name": "a:b" })),
        ("model-versions/create", json!({ "name": "a", "source": "/etc/passwd" })),
    ] {
        let (status, why) = ask(&client, Method::POST, address, &body).await;
        assert_eq!(status, 400, "{address}: {why}");
        assert!(why["message"].as_str().is_some_and(|message| !message.is_empty()), "{address}: {why}");
    }
    for body in [&b"{"[..], b"[1]", b"\xff\xfe", b"\"{\\\"name\\\": 5}\""] {
        assert_eq!(raw(&client, Method::POST, "experiments/create", body.to_vec()).await.0, 400);
    }
    for address in ["runs/get?run_id=nothing", "experiments/get?experiment_id=99", "registered-models/get?name=nothing"]
    {
        let (status, why) = ask(&client, Method::GET, address, &Value::Null).await;
        assert_eq!((status, &why["error_code"]), (404, &json!("RESOURCE_DOES_NOT_EXIST")), "{address}");
    }
    let info = get(&client, "/api/3.0/mlflow/server-info").await;
    assert_eq!(info["workspaces_enabled"], json!(false));
    let (status, why) = ask(&client, Method::POST, "traces/search", &json!({})).await;
    assert_eq!((status, &why["error_code"]), (404, &json!("ENDPOINT_NOT_FOUND")));
    client.door.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_long_is_cut_as_clients_expect_and_pages_of_a_history_join() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    let run = new_run(&client, "0").await;
    let long = "ä".repeat(9000);
    let batch = json!({
        "run_id": run, "params": [{ "key": "args", "value": long }], "tags": [{ "key": "mlflow.note.content", "value": long }],
        "metrics": (0..900).map(|step| json!({ "key": "loss", "value": step, "timestamp": step, "step": step }))
            .collect::<Value>(),
    });
    post(&client, "runs/log-batch", batch.clone()).await;
    // The same again: a param that was cut is no other one.
    post(&client, "runs/log-batch", json!({ "run_id": run, "params": batch["params"] })).await;
    let told = get(&client, &format!("runs/get?run_id={run}")).await;
    let length = |value: &Value| value.as_str().map(|text| text.chars().count());
    assert_eq!(length(&told["run"]["data"]["params"][0]["value"]), Some(6000));
    let (mut steps, mut token) = (Vec::new(), String::new());
    loop {
        let address = format!("metrics/get-history?run_id={run}&metric_key=loss&max_results=300&page_token={token}");
        let page = get(&client, &address).await;
        steps.extend(page["metrics"].as_array().expect("a list").iter().filter_map(|point| point["step"].as_i64()));
        match page["next_page_token"].as_str() {
            Some(next) => token = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(steps, (0..900).collect::<Vec<_>>());
    client.door.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_and_a_note_are_the_same_wherever_they_are_written_and_a_life_is_its_owners() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    let uid = new_run(&client, "0").await;
    let found: RunsReply = client.get(path::RUNS).await?;
    let run = found.runs[0].id;
    let patch = RunPatch { name: Some("Äpfel".into()), note: Some("seen".into()), ..RunPatch::default() };
    let _: Run = client.send(Method::PATCH, &path::run(run, ""), serde_json::to_vec(&patch)?).await?;
    let told = get(&client, &format!("runs/get?run_id={uid}")).await;
    let tag = |told: &Value, key: &str| {
        let tags = told["run"]["data"]["tags"].as_array().cloned().unwrap_or_default();
        tags.into_iter().find(|tag| tag["key"] == key).map(|tag| tag["value"].clone())
    };
    assert_eq!(tag(&told, "mlflow.runName"), Some(json!("Äpfel")));
    assert_eq!(tag(&told, "mlflow.note.content"), Some(json!("seen")));
    let uri = told["run"]["info"]["artifact_uri"].as_str().expect("a place");
    for filter in [
        "tags.`mlflow.runName` ILIKE 'Äp%'".to_owned(),
        "tags.`mlflow.note.content` = 'seen'".into(),
        format!("attributes.artifact_uri = '{uri}'"),
        format!("params.none IS NULL AND attributes.run_id IN ('{}')", [uid.as_str(); 300].join("', '")),
    ] {
        let found = post(&client, "runs/search", json!({ "experiment_ids": ["0"], "filter": filter })).await;
        assert_eq!(found["runs"].as_array().map(Vec::len), Some(1), "{filter}");
    }
    post(&client, "runs/delete-tag", json!({ "run_id": uid, "key": "mlflow.note.content" })).await;
    post(&client, "runs/set-tag", json!({ "run_id": uid, "key": "mlflow.runName", "value": "pears" })).await;
    let detail: RunDetail = client.get(&path::run(run, "")).await?;
    assert_eq!((detail.run.name.as_str(), detail.run.note.as_str()), ("pears", ""));

    for what in ["/stop", "/resume"] {
        let (status, why) = ask(&client, Method::POST, &path::run(run, what), &json!({})).await;
        assert_eq!(status, 409, "{why}");
    }
    let found: RunsReply = client.get(path::RUNS).await?;
    assert_eq!(found.runs[0].status, RunStatus::Running);
    client.door.close().await;
    Ok(())
}

fn send(stream: &mut TcpStream, address: &str, host: &str, body: &str) -> Option<u16> {
    let request = format!(
        "POST {address} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).ok()?;
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse::<usize>().ok());
    stream.read_exact(&mut vec![0; length.unwrap_or(0)]).ok()?;
    head.split(' ').nth(1)?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_point_is_there_once_after_the_server_was_killed() -> Result<()> {
    let workspace = Workspace::new();
    let mut serving = workspace.serve();
    let guest = workspace.open().await;
    let runs = [new_run(&guest, "0").await, new_run(&guest, "0").await, new_run(&guest, "0").await];
    let port = serving.address.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let mut hostile = TcpStream::connect(&port)?;
    let refused = send(&mut hostile, "/api/2.0/mlflow/runs/search", "evil.example", "{}");
    assert_eq!(refused, Some(403), "a name of somebody else's that points here gets nothing");
    let clients: Vec<_> = runs
        .iter()
        .cloned()
        .map(|run| {
            let port = port.clone();
            std::thread::spawn(move || {
                let mut stream = TcpStream::connect(&port).expect("the server");
                let mut acknowledged = 0;
                for step in 0.. {
                    let body = json!({ "run_id": run, "key": "loss", "value": step, "timestamp": step, "step": step });
                    match send(&mut stream, "/api/2.0/mlflow/runs/log-metric", &port, &body.to_string()) {
                        Some(200) => acknowledged = step + 1,
                        _ => break,
                    }
                }
                acknowledged
            })
        })
        .collect();
    crate::harness::until("enough points", async || {
        let found: RunsReply = guest.get(path::RUNS).await.ok()?;
        found.runs.iter().all(|run| run.metrics.get("loss").is_some_and(|loss| loss.count > 50)).then_some(())
    })
    .await?;
    kill(&mut serving.child);
    for (run, client) in runs.iter().zip(clients) {
        let acknowledged: i64 = client.join().expect("the client");
        let history = get(&guest, &format!("metrics/get-history?run_id={run}&metric_key=loss")).await;
        let steps: Vec<i64> =
            history["metrics"].as_array().expect("a list").iter().filter_map(|point| point["step"].as_i64()).collect();
        // The last one may be there without its answer.
        let there = steps.len() as i64;
        assert!(there == acknowledged || there == acknowledged + 1, "{there} of {acknowledged}");
        assert_eq!(steps, (0..there).collect::<Vec<_>>());
    }
    let found: RunsReply = guest.get(path::RUNS).await?;
    assert!(found.runs.iter().all(|run| run.status == RunStatus::Running), "the clients' runs are theirs to end");
    guest.door.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_nothing_but_points_is_answered_and_kept_as_any_other() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    let point = |key: &str, value: Value| json!({ "key": key, "value": value, "timestamp": 7, "step": 3 });
    let mut past = point("loss", json!(1));
    past["timestamp"] = json!(-1);
    let mut halves = point("loss", json!(1));
    halves["step"] = json!(2.5);
    let batches = [
        vec![],
        vec![point("loss", json!(0.1)), point("loss", json!(5)), point("a/b", json!(-1e300))],
        vec![point("loss", json!("NaN")), point("loss", json!("1e-3"))],
        vec![point("", json!(1))],
        vec![point("loss", json!(1)), point("../x", json!(1))],
        vec![point("loss", json!(null))],
        vec![past],
        vec![halves],
        vec![json!({ "key": "loss", "value": 1, "timestamp": 7 })],
        vec![point("loss", json!(1)); 1001],
    ];
    for metrics in batches {
        let mut answers = Vec::new();
        // A field that is not known is not looked at; but with one, a batch is no plain one.
        for is_plain in [true, false] {
            let run = new_run(&client, "0").await;
            let mut batch = json!({ "run_id": run, "metrics": metrics, "params": [], "tags": [] });
            if !is_plain {
                batch["of_later"] = json!(1);
            }
            let answer = ask(&client, Method::POST, "runs/log-batch", &batch).await;
            let mut kept = Vec::new();
            for key in ["loss", "a/b"] {
                let history = get(&client, &format!("metrics/get-history?run_id={run}&metric_key={key}")).await;
                kept.push(history["metrics"].clone());
            }
            answers.push((answer, kept));
        }
        assert_eq!(answers[0], answers[1], "{:?}", metrics.first());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_thins_points_of_one_step_and_finds_what_is_no_number() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    let [first, second] = [new_run(&client, "0").await, new_run(&client, "0").await];
    let points = |steps: fn(usize) -> usize| -> Vec<Value> {
        let point = |at: usize| json!({ "key": "m", "value": at, "timestamp": at, "step": steps(at) });
        (0..1000).map(point).collect()
    };
    post(&client, "runs/log-batch", json!({ "run_id": first, "metrics": points(|_| 0) })).await;
    post(&client, "runs/log-batch", json!({ "run_id": second, "metrics": points(|at| at / 2) })).await;
    for (runs, most) in [(vec![&first], 50), (vec![&second], 50), (vec![&first, &second], 7)] {
        let runs = runs.iter().map(|run| format!("run_ids={run}&")).collect::<String>();
        let address = format!("metrics/get-history-bulk-interval?{runs}metric_key=m&max_results={most}");
        let found = get(&client, &address).await;
        for run in [&first, &second].into_iter().filter(|run| address.contains(run.as_str())) {
            let of_run = |point: &&Value| point["run_id"] == **run;
            let values: Vec<f64> = found["metrics"]
                .as_array()
                .expect("a list")
                .iter()
                .filter(of_run)
                .filter_map(|p| p["value"].as_f64())
                .collect();
            assert!(values.len() <= most + 1, "{} for {most}", values.len());
            assert_eq!((values.first(), values.last()), (Some(&0.0), Some(&999.0)));
        }
    }
    for (run, value) in [(&first, json!(0.5)), (&second, json!("NaN"))] {
        post(&client, "runs/log-metric", json!({ "run_id": run, "key": "loss", "value": value, "timestamp": 1 })).await;
    }
    let found = async |filter: String| {
        let found = post(&client, "runs/search", json!({ "experiment_ids": ["0"], "filter": filter })).await;
        let id = |run: &Value| run["info"]["run_id"].as_str().expect("an id").to_owned();
        found["runs"].as_array().expect("runs").iter().map(id).collect::<Vec<_>>()
    };
    assert_eq!(found("metrics.loss != 0.5".into()).await, std::slice::from_ref(&second));
    assert_eq!(found("metrics.loss != 7".into()).await.len(), 2);
    // Likewise beyond the join limit.
    let many = format!("metrics.loss != 0.5{}", " AND metrics.m >= 0".repeat(30));
    assert_eq!(found(many).await, std::slice::from_ref(&second));
    for filter in ["metrics.loss < 1", "metrics.loss = 0.5"] {
        assert_eq!(found(filter.into()).await, std::slice::from_ref(&first), "{filter}");
    }
    client.door.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_begins_with_tags_of_any_key_and_a_name_that_is_made_up() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    let keys = ["git@sha", "owner(team)", "x=y", "100%"];
    let tags: Vec<Value> = keys.iter().map(|key| json!({ "key": key, "value": "1" })).collect();
    let run = post(&client, "runs/create", json!({ "experiment_id": "0", "start_time": 5, "tags": tags })).await;
    let info = &run["run"]["info"];
    let uid = info["run_id"].as_str().expect("an id").to_owned();
    let words: Vec<&str> = info["run_name"].as_str().expect("a name").split('-').collect();
    assert!(words.len() == 3 && words[2].parse::<u32>().is_ok(), "{words:?}");
    let tag = async |key: &str| {
        let told = get(&client, &format!("runs/get?run_id={uid}")).await;
        let tags = told["run"]["data"]["tags"].as_array().cloned().unwrap_or_default();
        tags.into_iter().find(|tag| tag["key"] == key).map(|tag| tag["value"].clone())
    };
    for key in keys {
        assert_eq!(tag(key).await, Some(json!("1")), "{key}");
        let (status, _) =
            ask(&client, Method::POST, "runs/set-tag", &json!({ "run_id": uid, "key": key, "value": "2" })).await;
        assert_eq!(status, 400, "later ones are looked at: {key}");
    }
    // The name tag can be removed; the name stays, and the tag returns on renaming.
    post(&client, "runs/update", json!({ "run_id": uid, "run_name": "new name" })).await;
    post(&client, "runs/update", json!({ "run_id": uid, "run_name": "" })).await;
    assert_eq!(tag("mlflow.runName").await, Some(json!("new name")));
    post(&client, "runs/delete-tag", json!({ "run_id": uid, "key": "mlflow.runName" })).await;
    assert_eq!(tag("mlflow.runName").await, None);
    let told = get(&client, &format!("runs/get?run_id={uid}")).await;
    assert_eq!(told["run"]["info"]["run_name"], json!("new name"));
    let again = json!({ "run_id": uid, "key": "mlflow.runName" });
    assert_eq!(ask(&client, Method::POST, "runs/delete-tag", &again).await.0, 404);
    post(&client, "runs/set-tag", json!({ "run_id": uid, "key": "mlflow.runName", "value": "newest" })).await;
    assert_eq!(tag("mlflow.runName").await, Some(json!("newest")));
    client.door.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn experiments_and_inputs_are_held_to_the_limits_that_clients_know() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    let why = async |method: Method, address: &str, body: Value| {
        let (status, why) = ask(&client, method, address, &body).await;
        (status, why["message"].as_str().unwrap_or_default().to_owned())
    };
    let (status, message) = why(Method::GET, "experiments/get?experiment_id=invalid_id", Value::Null).await;
    assert_eq!(
        (status, message.as_str()),
        (400, "Invalid experiment ID 'invalid_id'. Experiment ID must be a valid integer.")
    );
    let experiment = post(&client, "experiments/create", json!({ "name": "a" })).await["experiment_id"].clone();
    for (name, message) in [("x".repeat(501), "'name' exceeds the maximum length"), (String::new(), "Missing value")] {
        let body = json!({ "experiment_id": experiment, "new_name": name });
        let (status, found) = why(Method::POST, "experiments/update", body).await;
        assert!(status == 400 && found.contains(message), "{found}");
    }
    let run = new_run(&client, experiment.as_str().expect("an id")).await;
    let input = |name: &str, of: &[(&str, &str)], tags: &[(&str, &str)]| {
        let mut dataset = json!({ "name": name, "digest": "d", "source_type": "code", "source": "{}" });
        of.iter().for_each(|(key, value)| dataset[key] = json!(value));
        let tags: Vec<Value> = tags.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect();
        json!({ "dataset": dataset, "tags": tags })
    };
    let long = |count: usize| "x".repeat(count);
    for (of, tags, message) in [
        (vec![("name", long(501))], vec![], "'name' exceeds the maximum length of 500"),
        (vec![("digest", long(37))], vec![], "'digest' exceeds the maximum length of 36"),
        (vec![("source", long(65_536))], vec![], "'source' exceeds the maximum length of 65535"),
        (vec![("schema", long(1_048_576))], vec![], "'schema' exceeds the maximum length of 1048575"),
        (vec![("profile", long(16_777_216))], vec![], "'profile' exceeds the maximum length of 16777215"),
        (vec![], vec![(long(256), long(1))], "'key' exceeds the maximum length of 255"),
        (vec![], vec![(long(1), long(501))], "'value' exceeds the maximum length of 500"),
    ] {
        let of: Vec<(&str, &str)> = of.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let tags: Vec<(&str, &str)> = tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let body = json!({ "run_id": run, "datasets": [input("n", &of, &tags)] });
        let (status, found) = why(Method::POST, "runs/log-inputs", body).await;
        assert!(status == 400 && found.contains(message), "{message}: {found}");
    }
    // A repeated dataset changes nothing.
    post(&client, "runs/log-inputs", json!({ "run_id": run, "datasets": [input("n", &[], &[("a", "1")])] })).await;
    let other = input("n", &[("source", "other")], &[("a", "2"), ("b", "3")]);
    post(&client, "runs/log-inputs", json!({ "run_id": run, "datasets": [other] })).await;
    let told = get(&client, &format!("runs/get?run_id={run}")).await;
    let kept = &told["run"]["inputs"]["dataset_inputs"][0];
    assert_eq!((&kept["dataset"]["source"], &kept["tags"]), (&json!("{}"), &json!([{ "key": "a", "value": "1" }])));
    let many: Vec<Value> = (0..1010).map(|number| input(&format!("name{number}"), &[], &[])).collect();
    post(&client, "runs/log-inputs", json!({ "run_id": run, "datasets": many })).await;
    let found = post(&client, "experiments/search-datasets", json!({ "experiment_ids": [experiment] })).await;
    assert_eq!(found["dataset_summaries"].as_array().map(Vec::len), Some(1000));
    client.door.close().await;
    Ok(())
}
