//! Alerts: raised once, in the transaction that made them true, and delivered though receivers and processes fail.

use crate::harness::{Client, Workspace, until};
use anyhow::Result;
use assay_protocol::domain::alert::{Alert, AlertRule, Condition, DeliveryState, Rule};
use assay_protocol::domain::{RunStatus, Timestamp};
use assay_protocol::{AlertsReply, RulePatch, SeenRequest, path};
use http::Method;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

async fn mlflow(client: &Client, address: &str, body: Value) -> Value {
    client.post(&format!("/api/2.0/mlflow/{address}"), &body).await.expect(address)
}

async fn new_run(client: &Client, name: &str) -> String {
    let made = mlflow(client, "runs/create", json!({ "experiment_id": "0", "run_name": name, "start_time": 5 })).await;
    made["run"]["info"]["run_id"].as_str().expect("an id").to_owned()
}

/// Logs these values of a metric, from a step on.
async fn log(client: &Client, run: &str, key: &str, step: usize, values: &[&str]) {
    log_at(client, run, key, step, values, Timestamp(7)).await;
}

/// As [`log`], all at this time by the client's clock.
async fn log_at(client: &Client, run: &str, key: &str, step: usize, values: &[&str], at: Timestamp) {
    let point = |(number, value): (usize, &&str)| {
        let value = value.parse::<f64>().map_or(json!(value), |number| match number.is_finite() {
            true => json!(number),
            false => json!(value),
        });
        json!({ "key": key, "value": value, "timestamp": at.0, "step": step + number })
    };
    let points: Vec<Value> = values.iter().enumerate().map(point).collect();
    mlflow(client, "runs/log-batch", json!({ "run_id": run, "metrics": points })).await;
}

async fn end(client: &Client, run: &str, status: &str) {
    mlflow(client, "runs/update", json!({ "run_id": run, "status": status })).await;
}

async fn rule(client: &Client, condition: &str, change: impl FnOnce(&mut Rule)) -> Result<AlertRule> {
    let mut rule = Rule::new(condition.parse::<Condition>()?);
    change(&mut rule);
    client.post(path::ALERT_RULES, &rule).await
}

/// The alerts, the oldest first.
async fn alerts(client: &Client) -> Vec<Alert> {
    let mut reply: AlertsReply = client.get(path::ALERTS).await.expect("the alerts");
    reply.alerts.reverse();
    reply.alerts
}

async fn messages(client: &Client) -> Vec<String> {
    alerts(client).await.into_iter().map(|alert| alert.message).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_tells_of_what_happens_in_its_runs_once() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    let above = rule(&client, "loss above 10", |rule| rule.filter = "night".into()).await?;
    rule(&client, "any metric not finite", |_| {}).await?;
    rule(&client, "loss not lower for 3 steps", |_| {}).await?;
    let run = new_run(&client, "night-1").await;
    log(&client, &run, "loss", 0, &["1", "11", "12"]).await;
    log(&client, &run, "loss", 3, &["13", "NaN", "Infinity", "0.5"]).await;
    log(&client, &run, "loss", 7, &["0.6", "0.6"]).await;
    log(&client, &run, "loss", 9, &["0.6"]).await;
    log(&client, &run, "other", 0, &["NaN", "99"]).await;
    let first = "loss has not improved for 3 steps: its best is 0.5 at step 6";
    let told = ["loss is 11 at step 1, above 10", "loss is NaN at step 4", first];
    assert_eq!(messages(&client).await, told);
    // A better value is another occasion; and a run that the filter does not ask for is none.
    log(&client, &run, "loss", 10, &["0.1", "0.2", "0.2", "0.2"]).await;
    let day = new_run(&client, "day-1").await;
    log(&client, &day, "loss", 0, &["11"]).await;
    let again = "loss has not improved for 3 steps: its best is 0.1 at step 10";
    assert_eq!(messages(&client).await[3..], [again]);
    // Out of force it tells of nothing, and changed it is the same rule.
    let off = RulePatch { enabled: Some(false), filter: Some(String::new()), ..RulePatch::default() };
    let address = path::alert_rule(above.id, "");
    let changed: AlertRule = client.send(Method::PATCH, &address, serde_json::to_vec(&off)?).await?;
    assert_eq!((changed.id, changed.rule.enabled, changed.rule.filter.as_str()), (above.id, false, ""));
    log(&client, &day, "loss", 1, &["12"]).await;
    assert_eq!(alerts(&client).await.len(), 4);
    let seen = SeenRequest { until: alerts(&client).await[2].id };
    client.post::<Value>(path::ALERTS_SEEN, &seen).await?;
    assert_eq!(client.get::<AlertsReply>(path::ALERTS).await?.unseen, 1);
    client.send::<Value>(Method::DELETE, &address, Vec::new()).await?;
    assert!(client.send::<Value>(Method::DELETE, &address, Vec::new()).await.is_err());
    assert_eq!(alerts(&client).await[0].rule_name, "loss above 10", "what it told of stays");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_are_told_of_once_and_what_was_imported_from_long_ago_not_at_all() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    let [good, bad] = [new_run(&client, "good").await, new_run(&client, "bad").await];
    for (run, status) in [(&good, "FINISHED"), (&good, "FINISHED"), (&bad, "FAILED"), (&bad, "KILLED")] {
        end(&client, run, status).await;
    }
    // The rule of a new workspace; a person who stops a run knows of it.
    assert_eq!(messages(&client).await, ["the run failed"]);
    rule(&client, "loss above 10", |_| {}).await?;
    let old = workspace.folder().join("old.csv");
    std::fs::write(&old, "step,timestamp,loss\n1,1577836800,99\n")?;
    let request = assay_protocol::ImportRequest { source: old.display().to_string(), ..Default::default() };
    let job = client.finish(client.post(path::DATASETS, &request).await?).await?;
    assert_eq!(job.status, RunStatus::Finished, "{}", job.message);
    assert!(job.message.contains("1 point and"), "{}", job.message);
    assert_eq!(messages(&client).await, ["the run failed"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_of_runs_that_went_well_is_no_alert_and_the_one_that_failed_is() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    for number in 0..60 {
        let run = new_run(&client, &format!("night-{number}")).await;
        end(&client, &run, if number == 41 { "FAILED" } else { "FINISHED" }).await;
    }
    let reply: AlertsReply = client.get(path::ALERTS).await?;
    let told: Vec<_> = reply.alerts.iter().map(|alert| (alert.run_name.as_str(), alert.message.as_str())).collect();
    assert_eq!((told.as_slice(), reply.unseen), (&[("night-41", "the run failed")][..], 1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_run_that_is_silent_is_noticed_once_for_each_silence() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    let [silent, ended] = [new_run(&client, "silent").await, new_run(&client, "ended").await];
    let made = rule(&client, "loss silent for 1 s", |_| {}).await?.created;
    end(&client, &ended, "KILLED").await;
    let count = async |wanted| {
        until("the silence is noticed", async || (alerts(&client).await.len() == wanted).then_some(())).await
    };
    // A rule asks only about what was logged since it was made.
    log_at(&client, &silent, "loss", 0, &["1"], made).await;
    log_at(&client, &silent, "other", 0, &["1"], made).await;
    count(1).await?;
    log_at(&client, &silent, "loss", 1, &["1"], made).await;
    count(2).await?;
    assert!(alerts(&client).await.iter().all(|alert| alert.run_name == "silent"));
    assert_eq!(messages(&client).await[1], "no point of loss for 1 s");
    Ok(())
}

/// What a receiver was sent: the key and the body of each request.
type Posts = Arc<Mutex<Vec<(String, Value)>>>;

/// Takes posts on loopback and answers them with these statuses, the last one from then on.
async fn receiver(listener: TcpListener, statuses: &'static [u16]) -> Posts {
    let posts = Posts::default();
    let taken = posts.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut text = Vec::new();
            let mut buffer = [0; 4096];
            let (head, body) = loop {
                let count = stream.read(&mut buffer).await.expect("a request");
                text.extend_from_slice(&buffer[..count]);
                let whole = String::from_utf8_lossy(&text).into_owned();
                let Some((head, body)) = whole.split_once("\r\n\r\n") else { continue };
                let field = |name: &str| {
                    head.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned()
                };
                if body.len() == field("content-length:").parse::<usize>().unwrap_or(0) {
                    break (field("idempotency-key:"), serde_json::from_str(body).expect("JSON"));
                }
            };
            let number = {
                let mut posts = taken.lock().expect("the posts");
                posts.push((head, body));
                posts.len()
            };
            let status = statuses[(number - 1).min(statuses.len() - 1)];
            let answer = format!("HTTP/1.1 {status} Status\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await; // it is gone
        }
    });
    posts
}

async fn delivery(client: &Client, wanted: DeliveryState) -> Result<Alert> {
    until("the webhook is posted", async || {
        let alert = alerts(client).await.pop()?;
        alert.delivery.as_ref().is_some_and(|delivery| delivery.state == wanted).then_some(alert)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_sent_again_until_it_is_taken_and_not_after_a_refusal() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}/hook?secret", listener.local_addr()?);
    let posts = receiver(listener, &[503, 200, 200, 404]).await;
    let made = rule(&client, "loss above 10", |rule| rule.webhook = Some(address)).await?;
    let run = new_run(&client, "hooked").await;
    log(&client, &run, "loss", 0, &["11"]).await;
    let alert = delivery(&client, DeliveryState::Delivered).await?;
    assert_eq!(alert.delivery.as_ref().map(|delivery| delivery.attempts), Some(2));
    {
        let posts = posts.lock().expect("the posts");
        let [(first_key, first), (key, body)] = posts.as_slice() else { panic!("{posts:?}") };
        assert_eq!((first_key, first), (key, body), "the receiver can tell that it is the same");
        assert!(key.starts_with(&run), "{key}");
        assert_eq!(body["text"], "loss above 10 in hooked: loss is 11 at step 0, above 10");
        assert_eq!((&body["run"]["uid"], &body["condition"]), (&json!(run), &json!("loss above 10")));
    }
    client.post::<Value>(&path::alert_rule(made.id, "/test"), &()).await?;
    let refused = client.post::<Value>(&path::alert_rule(made.id, "/test"), &()).await.expect_err("a refusal");
    assert!(refused.to_string().contains("404"), "{refused}");
    let other = new_run(&client, "refused").await;
    log(&client, &other, "loss", 0, &["11"]).await;
    let alert = delivery(&client, DeliveryState::Failed).await?;
    let delivery = alert.delivery.expect("a webhook");
    assert_eq!(delivery.attempts, 1);
    assert!(delivery.error.is_some_and(|error| error.contains("404")));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_receiver_does_not_take_holds_up_nothing_else() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}/hook", listener.local_addr()?);
    let posts = receiver(listener, &[500, 200]).await;
    // One point makes both true, in one transaction.
    for condition in ["loss above 10", "loss above 5"] {
        rule(&client, condition, |rule| rule.webhook = Some(address.clone())).await?;
    }
    let run = new_run(&client, "hooked").await;
    log(&client, &run, "loss", 0, &["11"]).await;
    until("both are taken", async || (posts.lock().expect("the posts").len() == 3).then_some(())).await?;
    let posts = posts.lock().expect("the posts");
    let [(first, _), (second, _), (again, _)] = posts.as_slice() else { panic!("{posts:?}") };
    assert!(first != second && first == again, "{posts:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_server_could_not_deliver_the_next_process_does() -> Result<()> {
    let workspace = Workspace::new();
    // Nobody listens there yet.
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let place = listener.local_addr()?;
    drop(listener);
    let mut serving = workspace.serve();
    let url = format!("http://{place}/");
    let made: Vec<AlertRule> =
        workspace.json(&["alerts", "add", "loss", "above", "10", "--webhook", url.as_str(), "--name", "too high"]);
    assert_eq!(made[0].rule.condition.to_string(), "loss above 10");
    let client = workspace.open().await;
    let run = new_run(&client, "killed").await;
    log(&client, &run, "loss", 0, &["11"]).await;
    crate::harness::kill(&mut serving.child);
    let posts = receiver(TcpListener::bind(place).await?, &[200]).await;
    // Whoever asks next has the workspace.
    let alert = delivery(&client, DeliveryState::Delivered).await?;
    assert_eq!((alert.rule_name.as_str(), alert.message.as_str()), ("too high", "loss is 11 at step 0, above 10"));
    log(&client, &run, "loss", 1, &["12"]).await;
    assert_eq!(alerts(&client).await.len(), 1);
    assert_eq!(posts.lock().expect("the posts").len(), 1);
    client.door.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_makes_no_sense_is_refused_with_what_to_do() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    for (change, says) in [
        (json!({ "condition": { "when": "above", "metric": "", "value": 1.0 } }), "name the metric"),
        (json!({ "condition": { "when": "ended", "statuses": [] } }), "choose one of the ends"),
        (json!({ "condition": { "when": "ended", "statuses": ["failed"] }, "filter": "lr>" }), "needs a name"),
        (json!({ "condition": { "when": "ended", "statuses": ["failed"] }, "webhook": "file:///x" }), "https://"),
        (json!({ "condition": { "when": "ended", "statuses": ["failed"] }, "name": "x".repeat(3_000) }), "letters"),
        (json!({ "condition": { "when": "never" } }), "never"),
    ] {
        let refused = client.post::<Value>(path::ALERT_RULES, &change).await.expect_err("it makes no sense");
        assert!(refused.to_string().contains("400") && refused.to_string().contains(says), "{refused}");
    }
    let output = workspace.assay(&["alerts", "add", "loss", "somewhere", "10"]);
    let says = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && says.contains("KEY above NUMBER"), "{says}");
    Ok(())
}
