//! A notification of the system when a run ends.

use assay_server::Door;
use std::collections::HashSet;
use tauri::AppHandle;
use tauri::http::Request;
use tauri_plugin_notification::NotificationExt;

/// Follows the events for as long as the window lives.
pub(crate) async fn follow(app: AppHandle, door: Door) {
    let mut after = get(&door, "/api/v1/about").await.and_then(|about| about["last_event"].as_i64()).unwrap_or(0);
    let mut running = HashSet::new();
    loop {
        let Some(page) = get(&door, &format!("/api/v1/events?after={after}&wait_secs=25")).await else {
            tokio::time::sleep(std::time::Duration::from_secs(5)).await;
            continue;
        };
        after = page["last"].as_i64().unwrap_or(after);
        let events = page["events"].as_array().into_iter().flatten();
        let changed: HashSet<i64> =
            events.filter(|event| event["event"] == "run_changed").filter_map(|event| event["run"].as_i64()).collect();
        for run in changed {
            let Some(detail) = get(&door, &format!("/api/v1/runs/{run}")).await else { continue };
            let (name, status) = (detail["run"]["name"].as_str(), detail["run"]["status"].as_str());
            match status {
                Some("running") => {
                    running.insert(run);
                }
                Some(end @ ("finished" | "failed" | "crashed" | "stopped")) if running.remove(&run) => {
                    let reason = detail["run"]["reason"].as_str().unwrap_or_default();
                    let title = format!("{} {end}", name.unwrap_or("A run"));
                    if let Err(error) = app.notification().builder().title(title).body(reason).show() {
                        tracing::debug!(%error, "no notification");
                    }
                }
                _ => {}
            }
        }
    }
}

async fn get(door: &Door, path: &str) -> Option<serde_json::Value> {
    let request = Request::builder().uri(path).body(Vec::new()).ok()?;
    let response = door.call(request).await;
    response.status().is_success().then(|| serde_json::from_slice(response.body()).ok())?
}
