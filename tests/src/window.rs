//! The real desktop window on a display of its own.

#[cfg(target_os = "linux")]
mod drag;

use crate::harness::{Client, Workspace, colors, digits, keep_picture, kill, program, until};
use anyhow::{Context, Result};
use assay_protocol::domain::RunStatus;
use assay_protocol::domain::alert::{AlertRule, Condition, Rule};
use assay_protocol::domain::entity::{Dataset, Evaluation};
use assay_protocol::{RunsReply, SampleDetail, SamplePage, path};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tempfile::TempDir;

/// One window at a time: each renders in software, and keys wait for frames.
static SCREEN: Mutex<()> = Mutex::new(());

/// A virtual display that ends with the test.
struct Display {
    server: Child,
    name: String,
    _screen: MutexGuard<'static, ()>,
}

impl Display {
    /// The server itself finds a number that is free, and takes that of one that was killed.
    fn start() -> Result<Display> {
        let screen = SCREEN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut server = Command::new("Xvfb")
            .args(["-displayfd", "1", "-screen", "0", "1400x900x24"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("Xvfb does not start; install xvfb")?;
        let mut number = String::new();
        BufReader::new(server.stdout.take().context("its output")?).read_line(&mut number)?;
        let display = Display { server, _screen: screen, name: format!(":{}", number.trim()) };
        anyhow::ensure!(!number.trim().is_empty(), "Xvfb found no free display");
        Ok(display)
    }

    fn picture(&self) -> Result<Vec<u8>> {
        let output = Command::new("import").args(["-display", &self.name, "-window", "root", "png:-"]).output();
        Ok(output.context("import (ImageMagick) does not start")?.stdout)
    }

    /// Does one thing after another, each once the window stands still, and waits ten seconds for an answer.
    async fn do_once<T>(
        &self,
        name: &str,
        hands: &[&[&str]],
        mut ask: impl AsyncFnMut() -> Option<T>,
    ) -> Result<Option<T>> {
        for hand in hands {
            self.look(name).await?;
            self.hand(hand)?;
        }
        for _ in 0..100 {
            if let Some(answer) = ask().await {
                return Ok(Some(answer));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(None)
    }

    /// Does so again until there is an answer: a key that comes before what it is for is lost, and so is what stood on a
    /// page whose process ended.
    async fn do_until<T>(&self, name: &str, hands: &[&[&str]], mut ask: impl AsyncFnMut() -> Option<T>) -> Result<T> {
        until(name, async || self.do_once(name, hands, &mut ask).await.transpose()).await?
    }

    /// Keeps a picture once the window stands still.
    async fn look(&self, name: &str) -> Result<()> {
        let mut before = Vec::new();
        let still = until("the window stands still", async || {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let now = self.picture().ok()?;
            let still = now == before;
            before = now;
            still.then_some(())
        });
        still.await?;
        keep_picture(&format!("window-{name}"), &before);
        Ok(())
    }

    /// Without a window manager the pointer gives the focus: a click on the empty part of the top bar.
    fn focus(&self) -> Result<()> {
        self.hand(&["search", "--onlyvisible", "--name", "Assay", "windowfocus"])?;
        self.hand(&["mousemove", "600", "46", "click", "1"])
    }

    /// Imports the shipped digits with keys alone; importing twice changes nothing.
    async fn import_digits(&self, client: &Client, name: &str) -> Result<Dataset> {
        let source = digits().canonicalize()?.display().to_string();
        let hands: [&[&str]; 3] = [&["key", "Escape", "i"], &["type", &source], &["key", "Return"]];
        self.do_until(name, &hands, async || {
            let datasets: Vec<Dataset> = client.get(path::DATASETS).await.ok()?;
            datasets.into_iter().find(|dataset| dataset.samples == 1797)
        })
        .await
    }

    fn hand(&self, arguments: &[&str]) -> Result<()> {
        let status = Command::new("xdotool").args(arguments).env("DISPLAY", &self.name).stdout(Stdio::null()).status();
        anyhow::ensure!(status.context("xdotool does not start")?.success(), "xdotool {arguments:?} failed");
        Ok(())
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        kill(&mut self.server);
    }
}

/// A session bus with nobody on it, and what is said on it.
struct Bus {
    daemon: Child,
    monitor: Child,
    address: String,
    said: Arc<Mutex<String>>,
}

impl Bus {
    async fn start() -> Result<Bus> {
        let start = |program: &str, arguments: &[&str]| {
            let mut child = Command::new(program)
                .args(arguments)
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .with_context(|| format!("{program} does not start; install dbus-daemon and dbus-bin"))?;
            let output = BufReader::new(child.stdout.take().context("its output")?);
            anyhow::Ok((child, output))
        };
        let (daemon, mut output) = start("dbus-daemon", &["--session", "--nofork", "--print-address=1"])?;
        let mut address = String::new();
        output.read_line(&mut address)?;
        let address = address.trim().to_owned();
        let (monitor, output) =
            start("dbus-monitor", &["--address", &address, "interface='org.freedesktop.Notifications'"])?;
        let said = Arc::new(Mutex::new(String::new()));
        let hears = said.clone();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                hears.lock().expect("nobody panics").push_str(&(line + "\n"));
            }
        });
        let bus = Bus { daemon, monitor, address, said };
        // It loses its name when it begins to hear what others say.
        until("the bus is listened to", async || bus.has_said("member=NameLost").then_some(())).await?;
        Ok(bus)
    }

    fn has_said(&self, text: &str) -> bool {
        self.said.lock().expect("nobody panics").contains(text)
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        kill(&mut self.monitor);
        kill(&mut self.daemon);
    }
}

/// The window's process, ended with the test.
struct Window {
    process: Child,
    _home: TempDir,
}

impl Window {
    /// Opens it, and waits until something is drawn.
    async fn open(workspace: &Workspace, display: &Display, bus: &str) -> Result<Window> {
        let home = tempfile::tempdir()?;
        let process = Command::new(program("assay-desktop"))
            .arg("--workspace")
            .arg(workspace.folder())
            .env("DISPLAY", &display.name)
            .env_remove("WAYLAND_DISPLAY")
            .env("DBUS_SESSION_BUS_ADDRESS", bus)
            .env("XDG_RUNTIME_DIR", home.path())
            .env("XDG_CONFIG_HOME", home.path().join("config"))
            .env("XDG_DATA_HOME", home.path().join("data"))
            .env("XDG_CACHE_HOME", home.path().join("cache"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let window = Window { process, _home: home };
        until("the window draws", async || (colors(&display.picture().ok()?) > 60).then_some(())).await?;
        Ok(window)
    }

    /// The process that draws the page.
    #[cfg(target_os = "linux")]
    fn page(&self) -> Option<u32> {
        std::fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            let (start, rest) = stat.split_once(" (WebKitWebProces) ")?; // the system keeps 15 letters of a name
            let parent: u32 = rest.split(' ').nth(1)?.parse().ok()?;
            (parent == self.process.id()).then(|| start.parse().ok())?
        })
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        kill(&mut self.process);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_window_keys_lead_from_images_to_a_reviewed_model() -> Result<()> {
    if !cfg!(target_os = "linux") {
        eprintln!("skipped: this test drives an X display");
        return Ok(());
    }
    let workspace = Workspace::new();
    let display = Display::start()?;
    let _window = Window::open(&workspace, &display, "disabled:").await?;
    keep_picture("window-start", &display.picture()?);

    let client = workspace.open().await;
    display.focus()?;

    // I asks what to import.
    let dataset = display.import_digits(&client, "import").await?;

    // N asks for a new run, Return starts it; its page opens and its test split is reviewed.
    let hands: [&[&str]; 2] = [&["key", "Escape", "n"], &["key", "Return"]];
    let run = display.do_until("new-run", &hands, async || {
        let reply: RunsReply = client.get(path::RUNS).await.ok()?;
        reply.runs.into_iter().next()
    });
    let run = client.end_of(&run.await?).await?;
    assert_eq!(run.run.status, RunStatus::Finished);
    until("the evaluation", async || {
        let evaluations: Vec<Evaluation> = client.get(path::EVALUATIONS).await.ok()?;
        (!evaluations.is_empty()).then_some(())
    })
    .await?;
    display.look("run").await?;
    display.hand(&["key", "alt+4"])?;
    display.look("evaluations").await?;
    display.hand(&["mousemove", "118", "178", "click", "1"])?;
    display.look("review").await?;

    // Alt+3 leads to labeling; 8 labels the image that is shown.
    let first: SamplePage = client.get(&path::dataset(dataset.id, "/samples?limit=1")).await?;
    let hands: [&[&str]; 2] = [&["key", "alt+3"], &["key", "8"]];
    let labelled = display.do_until("label", &hands, async || {
        let detail: SampleDetail = client.get(&path::sample(first.samples[0].id, "")).await.ok()?;
        (detail.sample.label?.only()?.0 == 8).then_some(())
    });
    labelled.await?;
    display.look("labelled").await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_is_a_notification_of_the_system_while_the_window_is_open() -> Result<()> {
    if !cfg!(target_os = "linux") {
        eprintln!("skipped: this test listens on a D-Bus");
        return Ok(());
    }
    let (workspace, display, bus) = (Workspace::new(), Display::start()?, Bus::start().await?);
    let _window = Window::open(&workspace, &display, &bus.address).await?;
    let client = workspace.open().await;
    let rule = Rule::new("loss above 10".parse::<Condition>()?);
    client.post::<AlertRule>(path::ALERT_RULES, &rule).await?;
    let run = json!({ "experiment_id": "0", "run_name": "night-1", "start_time": 5 });
    let run: Value = client.post("/api/2.0/mlflow/runs/create", &run).await?;
    let point =
        json!({ "run_id": run["run"]["info"]["run_id"], "key": "loss", "value": 11, "timestamp": 7, "step": 3 });
    client.post::<Value>("/api/2.0/mlflow/runs/log-metric", &point).await?;
    until("the notification", async || {
        let texts = ["member=Notify", "\"night-1\"", "loss is 11 at step 3, above 10"];
        texts.iter().all(|text| bus.has_said(text)).then_some(())
    })
    .await?;
    client.door.close().await;
    Ok(())
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn runs_that_are_dropped_on_the_window_are_imported_and_followed() -> Result<()> {
    let (workspace, display, logs) = (Workspace::new(), Display::start()?, tempfile::tempdir()?);
    let folder = logs.path().join("night");
    std::fs::create_dir(&folder)?;
    let metrics = folder.join("metrics.jsonl");
    std::fs::write(&metrics, "{\"step\": 1, \"loss\": 0.5}\n")?;
    let _window = Window::open(&workspace, &display, "disabled:").await?;
    let client = workspace.open().await;
    display.focus()?;
    let points = async || {
        let found: RunsReply = client.get(path::RUNS).await.ok()?;
        Some(found.runs.first()?.metrics.get("loss")?.count)
    };
    let drop_once = async || {
        drag::drop_file(&display, &folder).await?;
        let is_imported = async || (points().await? == 1).then_some(());
        display.do_once("dropped", &[&["key", "Return"]], is_imported).await
    };
    until("the dropped run", async || drop_once().await.transpose()).await??;
    std::fs::write(&metrics, "{\"step\": 1, \"loss\": 0.5}\n{\"step\": 2, \"loss\": 0.25}\n")?;
    until("the second point", async || (points().await? == 2).then_some(())).await?;
    display.look("dropped-runs").await?;
    client.door.close().await;
    Ok(())
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_page_whose_process_is_killed_is_loaded_again_and_hears_keys() -> Result<()> {
    let (workspace, display) = (Workspace::new(), Display::start()?);
    let window = Window::open(&workspace, &display, "disabled:").await?;
    let page = window.page().context("the page's process")?;
    let killed = Command::new("kill").args(["-9", &page.to_string()]).status()?;
    assert!(killed.success());
    until("another process draws", async || window.page().filter(|other| *other != page)).await?;
    let client = workspace.open().await;
    display.focus()?;
    display.import_digits(&client, "loaded-again").await?;
    client.door.close().await;
    Ok(())
}
