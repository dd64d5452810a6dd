//! The interface over the real router, without a window: every place draws, every widget has a name.

use crate::harness::{Client, Workspace, digits};
use anyhow::Result;
use assay_protocol::domain::entity::Run;
use assay_protocol::{ClientCommand, RunsReply, StartRun, path};
use assay_server::Door;
use assay_ui::{App, Method, Reply, Request, Route, Transport};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Requests by direct calls.
struct Direct {
    door: Door,
    runtime: tokio::runtime::Handle,
}

impl Transport for Direct {
    fn send(&self, request: Request, done: Box<dyn FnOnce(Result<Reply, String>) + Send>) {
        let method = match request.method {
            Method::Get => http::Method::GET,
            Method::Post => http::Method::POST,
            Method::Patch => http::Method::PATCH,
            Method::Delete => http::Method::DELETE,
        };
        let door = self.door.clone();
        self.runtime.spawn(async move {
            let request = http::Request::builder().method(method).uri(request.path).body(request.body);
            let response = door.call(request.expect("a request")).await;
            done(Ok(Reply { status: response.status().as_u16(), bytes: response.into_body() }));
        });
    }
}

fn interface(door: &Door, route: Route) -> Harness<'static, Option<App>> {
    let direct = Arc::new(Direct { door: door.clone(), runtime: tokio::runtime::Handle::current() });
    let app = |ui: &mut egui::Ui, app: &mut Option<App>| {
        if let Some(app) = app {
            app.ui(ui);
        }
    };
    let mut harness = Harness::builder().with_size([1280.0, 820.0]).with_max_steps(8).build_ui_state(app, None);
    let mut made = App::new(&harness.ctx, direct);
    made.go(route);
    *harness.state_mut() = Some(made);
    harness
}

/// Draws until a widget of this name is there.
fn see(harness: &mut Harness<'_, Option<App>>, name: &str) {
    let begun = Instant::now();
    while harness.query_all_by_label_contains(name).next().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{name:?} is not shown");
        harness.run_steps(1);
        std::thread::yield_now();
    }
    assert_eq!(harness.unnamed_widgets(), Vec::<String>::new());
}

/// Draws until there is an answer: what one frame could not send yet, because an answer was awaited, a later one sends.
async fn until<T>(
    harness: &mut Harness<'_, Option<App>>,
    what: &str,
    mut ask: impl AsyncFnMut() -> Option<T>,
) -> Result<T> {
    crate::harness::until(what, async || {
        harness.run_steps(1);
        ask().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_places_teach_the_first_step() {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    for (route, text) in [
        (Route::Runs, "No runs yet"),
        (Route::Data(None), "No images yet"),
        (Route::Label(None), "Nothing to label yet"),
        (Route::Review(None), "Nothing to review yet"),
        (Route::Models, "No models yet"),
        (Route::Alerts, "Nothing yet: what the rules watch for"),
    ] {
        see(&mut interface(&client.door, route), text);
    }
    client.door.close().await;
}

async fn trained(workspace: &Workspace) -> Result<(Client, Run)> {
    let client = workspace.open().await;
    client.import_digits().await?;
    let overrides = vec!["train.epochs=1".into()];
    // Outside any repository.
    let directory = workspace.folder().display().to_string();
    let command = Some(ClientCommand { arguments: vec!["tests".into()], directory });
    let run: Run = client
        .post(path::RUNS, &StartRun { dataset: "digits".into(), overrides, command, ..StartRun::default() })
        .await?;
    let run = client.end_of(&run).await?.run;
    Ok((client, run))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_place_shows_a_trained_workspace_with_named_widgets() -> Result<()> {
    let workspace = Workspace::new();
    let (client, run) = trained(&workspace).await?;
    let evaluations: Vec<assay_protocol::domain::entity::Evaluation> = client.get(path::EVALUATIONS).await?;
    for (route, text) in [
        (Route::Runs, "Chart of val/loss"),
        (Route::Run(run.id), "Chart of Accuracy"),
        (Route::Compare(vec![run.id]), "Comparing"),
        (Route::Data(None), "0/0000.png: 0"),
        (Route::Label(None), "Label as 9"),
        (Route::Review(Some(evaluations[0].id)), "labelled 3 predicted as 3"),
        (Route::Models, "Use best of run"),
        (Route::Alerts, "Nothing yet: what the rules watch for"),
    ] {
        see(&mut interface(&client.door, route), text);
    }
    let mut harness = interface(&client.door, Route::Run(run.id));
    see(&mut harness, "Overview");
    harness.get_by_label("Overview").click();
    see(&mut harness, "no repository");
    assert!(harness.query_by_label_contains("the commit is what ran").is_none());
    client.door.close().await;
    Ok(())
}

/// A client's run with a metric of unknown direction.
async fn logged(client: &Client) -> Result<()> {
    let api = "/api/2.0/mlflow";
    let new = serde_json::json!({ "experiment_id": "0", "run_name": "one", "start_time": 5 });
    let made: serde_json::Value = client.post(&format!("{api}/runs/create"), &new).await?;
    let run = &made["run"]["info"]["run_id"];
    for (step, value) in [3.0, 1.0, 2.0].into_iter().enumerate() {
        let point = serde_json::json!({ "run_id": run, "key": "wer", "value": value, "timestamp": 7, "step": step });
        client.post::<serde_json::Value>(&format!("{api}/runs/log-metric"), &point).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn which_value_of_a_metric_is_the_best_is_declared_with_two_clicks() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    logged(&client).await?;
    let mut harness = interface(&client.door, Route::Runs);
    see(&mut harness, "Chart of wer");
    harness.get_by_role_and_label(egui::accesskit::Role::Button, "wer").click_secondary();
    see(&mut harness, "the least");
    harness.get_by_label("the least").click();
    until(&mut harness, "it is declared", async || {
        let reply: RunsReply = client.get(path::RUNS).await.ok()?;
        (reply.directions.of("wer").as_str() == "min").then_some(())
    })
    .await?;
    client.door.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_by_a_name_that_no_run_has_is_told_of() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    logged(&client).await?;
    let mut harness = interface(&client.door, Route::Runs);
    see(&mut harness, "Chart of wer");
    harness.get_by_label("Filter runs").focus();
    harness.step();
    harness.get_by_label("Filter runs").type_text("wre<1");
    see(&mut harness, "did you mean \"wer\"?");
    client.door.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_labels_and_goes_on_and_undo_comes_back() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    client.import_digits().await?;
    let mut harness = interface(&client.door, Route::Label(None));
    see(&mut harness, "Label as 9");
    harness.key_press(egui::Key::Num7);
    harness.run_steps(2);
    see(&mut harness, "Label as 9");
    let labelled = async |harness: &mut Harness<'_, Option<App>>, class: i64, changes: usize| {
        until(harness, "the label", async || {
            let detail: assay_protocol::SampleDetail = client.get("/api/v1/samples/1").await.ok()?;
            let is_so = detail.sample.label?.only()?.0 == class && detail.history.len() == changes;
            is_so.then_some(())
        })
        .await
    };
    labelled(&mut harness, 7, 2).await?;
    harness.key_press_modifiers(egui::Modifiers::COMMAND, egui::Key::Z);
    labelled(&mut harness, 0, 3).await?;
    client.door.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn where_an_image_has_several_classes_each_key_adds_or_takes_one() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    client.import_digits().await?;
    let change = serde_json::to_vec(&assay_protocol::DatasetChange {
        labelling: Some(assay_domain::Labelling::AnyClasses),
        ..Default::default()
    })?;
    let _: assay_domain::entity::Dataset = client.send(http::Method::PATCH, "/api/v1/datasets/1", change).await?;
    let mut harness = interface(&client.door, Route::Label(None));
    see(&mut harness, "Label with none of the classes");
    let labelled = async |harness: &mut Harness<'_, Option<App>>, classes: &[i64]| {
        let wanted: assay_domain::Label = classes.iter().map(|class| assay_domain::ClassId(*class)).collect();
        until(harness, "the label", async || {
            let detail: assay_protocol::SampleDetail = client.get("/api/v1/samples/1").await.ok()?;
            (detail.sample.label.as_ref() == Some(&wanted)).then_some(())
        })
        .await
    };
    // Faster than each is saved; the second 7 takes the first one back.
    for key in [egui::Key::Num7, egui::Key::Num3, egui::Key::Num7] {
        harness.key_press(key);
        harness.run_steps(1);
    }
    labelled(&mut harness, &[0, 3]).await?;
    harness.get_by_label("Label as 5").click();
    labelled(&mut harness, &[0, 3, 5]).await?;
    // Undone in the order in which it was done, however fast.
    harness.key_press(egui::Key::E);
    harness.run_steps(1);
    harness.key_press_modifiers(egui::Modifiers::COMMAND, egui::Key::Z);
    harness.run_steps(1);
    harness.key_press_modifiers(egui::Modifiers::COMMAND, egui::Key::Z);
    labelled(&mut harness, &[0, 3]).await?;
    client.door.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_palette_finds_a_command_by_its_name() {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    let mut harness = interface(&client.door, Route::Runs);
    see(&mut harness, "No runs yet");
    harness.key_press_modifiers(egui::Modifiers::COMMAND, egui::Key::K);
    harness.run_steps(2);
    harness.get_by_label("Command").type_text("models");
    harness.run_steps(2);
    harness.key_press(egui::Key::Enter);
    see(&mut harness, "No models yet");
    client.door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_gets_another_key_but_never_one_that_is_taken() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    client.import_digits().await?;
    let mut harness = interface(&client.door, Route::Runs);
    see(&mut harness, "No runs yet");
    harness.key_press(egui::Key::Questionmark);
    see(&mut harness, "Keyboard shortcuts");
    let change = |harness: &mut Harness<'_, Option<App>>, modifiers: egui::Modifiers, key: egui::Key| {
        harness.run_steps(3); // a dialog finds its place in its first frames
        harness.get_by_label("Change the key of New run…").click_accesskit();
        see(harness, "Press a key");
        harness.key_press_modifiers(modifiers, key);
        harness.run_steps(2);
    };
    change(&mut harness, egui::Modifiers::COMMAND, egui::Key::K);
    see(&mut harness, "is taken");
    change(&mut harness, egui::Modifiers::NONE, egui::Key::Num4);
    see(&mut harness, "the classes have it");
    change(&mut harness, egui::Modifiers::NONE, egui::Key::P);
    see(&mut harness, "Usual");
    harness.get_by_label("Close").click();
    until(&mut harness, "the keys are kept", async || {
        let settings: assay_protocol::Settings = client.get(path::SETTINGS).await.ok()?;
        (settings.keys.get("NewRun")? == &["P"]).then_some(())
    })
    .await?;
    harness.key_press(egui::Key::N);
    harness.run_steps(4);
    assert!(harness.query_by_label("Start run").is_none());
    harness.key_press(egui::Key::P);
    see(&mut harness, "Start run");
    client.door.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn return_starts_a_run_from_the_form_alone() -> Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    client.import_digits().await?;
    let mut harness = interface(&client.door, Route::Runs);
    see(&mut harness, "No runs yet");
    // The form has been open, so that nothing is waited for when it opens again.
    harness.key_press(egui::Key::N);
    see(&mut harness, "Start run");
    harness.key_press(egui::Key::Escape);
    harness.run_steps(3);
    harness.key_press_modifiers(egui::Modifiers::COMMAND, egui::Key::K);
    harness.run_steps(2);
    harness.get_by_label("Command").type_text("new run");
    harness.run_steps(2);
    harness.key_press(egui::Key::Enter);
    see(&mut harness, "Start run");
    harness.run_steps(3);
    let runs: RunsReply = client.get(path::RUNS).await?;
    assert!(runs.runs.is_empty(), "the palette's Return started a run");
    harness.key_press(egui::Key::Enter);
    until(&mut harness, "the run", async || {
        let runs: RunsReply = client.get(path::RUNS).await.ok()?;
        (runs.runs.len() == 1).then_some(())
    })
    .await?;
    client.door.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn how_an_import_ended_is_told() -> Result<()> {
    let (workspace, other) = (Workspace::new(), Workspace::new());
    let client = workspace.open().await;
    let in_use = other.open().await;
    let mut harness = interface(&client.door, Route::Data(None));
    see(&mut harness, "No images yet");
    for (source, told) in [(digits(), "1797 new, 0 changed"), (other.folder().to_owned(), "in use by")] {
        let app = harness.state_mut().as_mut().expect("the interface");
        app.offer_import(&source.display().to_string());
        see(&mut harness, "Dataset name");
        harness.run_steps(2);
        harness.key_press(egui::Key::Enter);
        see(&mut harness, told);
    }
    in_use.door.close().await;
    client.door.close().await;
    Ok(())
}

/// A client's run with one metric of this name.
async fn run_with_metric(client: &Client, key: &str) -> Result<Run> {
    let api = |what: &str| format!("/api/2.0/mlflow/runs/{what}");
    let made: serde_json::Value =
        client.post(&api("create"), &serde_json::json!({ "experiment_id": "0", "start_time": 5 })).await?;
    let uid = made["run"]["info"]["run_id"].as_str().expect("an id").to_owned();
    let points = (0..20).map(|step| {
        serde_json::json!({ "key": key, "value": 0.625 + f64::from(step) * 1e-7, "timestamp": 7 + step, "step": step })
    });
    let batch = serde_json::json!({ "run_id": uid, "metrics": points.collect::<Vec<_>>() });
    let _: serde_json::Value = client.post(&api("log-batch"), &batch).await?;
    let runs: RunsReply = client.get(path::RUNS).await?;
    Ok(runs.runs.into_iter().find(|run| run.uid == uid).expect("the run"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_metric_with_a_long_name_moves_nothing_and_keeps_its_chart_in_the_window() -> Result<()> {
    let long =
        [format!("{}loss", "evaluation/".repeat(11)), "W".repeat(121), format!("{}e", "a metric in words ".repeat(8))];
    assert!(long.iter().all(|key| key.len() >= 121));
    let mut places = Vec::new();
    for key in std::iter::once("loss").chain(long.iter().map(String::as_str)) {
        let workspace = Workspace::new();
        let client = workspace.open().await;
        let run = run_with_metric(&client, key).await?;
        let other = run_with_metric(&client, key).await?;
        let window = egui::Rect::from_min_size(egui::Pos2::ZERO, egui::vec2(1280.0, 820.0));
        let mut found = Vec::new();
        for route in [Route::Runs, Route::Run(run.id)] {
            let mut harness = interface(&client.door, route);
            let chart = format!("Chart of {key}");
            see(&mut harness, &chart);
            // Axes use the label size of the previous frame.
            harness.run_steps(4);
            let place = harness.get_by_label(&chart).rect();
            assert!(window.contains_rect(place), "{key}: {place:?}");
            assert!(harness.query_all_by_label(key).count() >= 1, "{key} is named nowhere");
            found.push(place);
        }
        let mut harness = interface(&client.door, Route::Run(run.id));
        see(&mut harness, "Overview");
        harness.get_by_label("Overview").click();
        see(&mut harness, "last 0.625");
        let value = harness.query_all_by_label_contains("last 0.625").next().expect("the value").rect();
        assert!(value.left() < 0.4 * window.right() && value.right() < window.right(), "{key}: {value:?}");
        let mut harness = interface(&client.door, Route::Compare(vec![run.id, other.id]));
        see(&mut harness, "Comparing 2 runs");
        harness.get_by_label("Also what is the same").click();
        see(&mut harness, key);
        for place in harness.query_all_by_label_contains(&format!("#{}", other.id)).map(|node| node.rect()) {
            assert!(window.contains_rect(place), "{key}: {place:?}");
        }
        places.push(found);
        client.door.close().await;
    }
    for (place, key) in places.iter().skip(1).zip(&long) {
        assert_eq!(*place, places[0], "{key}");
    }
    Ok(())
}
