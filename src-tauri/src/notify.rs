//! A notification of the system when an alert is raised whose rule asks for one.

use assay_server::Door;
use serde_json::Value;
use tauri::AppHandle;
use tauri::http::Request;
use tauri_plugin_notification::NotificationExt;

/// More alerts at once become one notification.
const APART: usize = 3;

/// Follows the events for as long as the window lives.
pub(crate) async fn follow(app: AppHandle, door: Door) {
    let mut after = get(&door, "/api/v1/about").await.and_then(|about| about["last_event"].as_i64()).unwrap_or(0);
    loop {
        let Some(page) = get(&door, &format!("/api/v1/events?after={after}&wait_secs=25")).await else {
            tokio::time::sleep(std::time::Duration::from_secs(5)).await;
            continue;
        };
        after = page["last"].as_i64().unwrap_or(after);
        let events = page["events"].as_array().into_iter().flatten();
        let raised: Vec<i64> = events.filter_map(|event| event["alert"].as_i64()).collect();
        if raised.is_empty() {
            continue;
        }
        let alerts = get(&door, "/api/v1/alerts").await.map_or(Value::Null, |mut reply| reply["alerts"].take());
        let is_for_us = |alert: &&Value| {
            alert["desktop"].as_bool() == Some(true) && alert["id"].as_i64().is_some_and(|id| raised.contains(&id))
        };
        let alerts: Vec<&Value> = alerts.as_array().into_iter().flatten().filter(is_for_us).collect();
        match alerts.as_slice() {
            [] => {}
            few if few.len() <= APART => few.iter().rev().for_each(|alert| show(&app, &title(alert), text(alert))),
            [latest, ..] => show(&app, &format!("{} alerts in runs", alerts.len()), text(latest)),
        }
    }
}

fn title(alert: &Value) -> String {
    alert["run_name"].as_str().unwrap_or("A run").to_owned()
}

fn text(alert: &Value) -> &str {
    alert["message"].as_str().unwrap_or_default()
}

fn show(app: &AppHandle, title: &str, text: &str) {
    if let Err(error) = app.notification().builder().title(title).body(text).show() {
        tracing::debug!(%error, "no notification");
    }
}

async fn get(door: &Door, path: &str) -> Option<Value> {
    let request = Request::builder().uri(path).body(Vec::new()).ok()?;
    let response = door.call(request).await;
    response.status().is_success().then(|| serde_json::from_slice(response.body()).ok())?
}
