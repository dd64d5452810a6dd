//! The tracking server beside MLflow's, both asked by the same client in MLflow's API; logging in process beside others'.

use super::{environment, figures, median, program};
use crate::project::Project;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::process::Command;

/// The peer, with what the clients need.
const PEER: &[&str] = &["mlflow==3.9.0"];

/// Those that log in process, the first with what tells its version.
const WRITERS: [&str; 4] = ["trackio==0.43.0", "wandb==0.31.0", "tensorboard==2.21.0", "aim==3.29.1"];
/// As many points each of them logs, in their order, and ours.
const WRITTEN: [&str; 4] = ["50000", "30000", "30000", "15000"];
const WRITTEN_BY_US: &str = "5000000";
/// How many times faster ours must be than the fastest of them.
const IN_PROCESS: f64 = 10.0;

/// Row, what is measured, and how many times better ours must be; less is better of all but rates.
const ROWS: [(&str, &str, f64); 6] = [
    ("log-batch of 1,000, 1 client", "1 client points/s", 50.0),
    ("log-batch of 1,000, 8 clients", "8 clients points/s", 50.0),
    ("log_metric one by one", "one by one points/s", 5.0),
    ("first page after the start", "first page s", 1.0),
    ("memory while idle", "idle MB", 1.0),
    ("memory after ingesting", "ingesting MB", 1.0),
];
/// What ours must be at most, whatever the peer is.
const BOUNDS: [(&str, f64); 8] = [
    ("first page s", 0.2),
    ("idle MB", 50.0),
    ("ingesting MB", 150.0),
    ("bytes a point", 4.0),
    ("search ms", 20.0),
    ("chart of whole ms", 10.0),
    ("chart of a tenth ms", 10.0),
    ("chart of a thousandth ms", 10.0),
];

/// As much of the rate of ingestion must be left while twenty charts are open.
const KEPT: (&str, f64) = ("rate kept with twenty charts", 0.9);

/// A line of the table.
struct Row<'a> {
    name: &'a str,
    ours: f64,
    peer: f64,
    /// How many times better ours is, where that is what counts.
    times: Option<f64>,
    target: Target,
}

#[derive(Clone, Copy)]
enum Target {
    AtLeast(f64),
    AtMost(f64),
    None,
}

impl Row<'_> {
    fn show(&self, as_json: bool) {
        let Row { name, ours, peer, times, target } = *self;
        let counts = times.unwrap_or(ours);
        let (ok, told) = match target {
            Target::AtLeast(least) => (counts >= least, format!("at least {least}")),
            Target::AtMost(most) => (counts <= most, format!("at most {most}")),
            Target::None => (true, String::new()),
        };
        if as_json {
            let row = json!({ "bench": "track", "row": name, "ours": ours, "peer": peer, "ratio": times,
                              "target": told, "ok": ok });
            return println!("{row}");
        }
        let number = |value: f64| if value.is_nan() { String::new() } else { format!("{value:.2}") };
        let times = number(times.unwrap_or(f64::NAN));
        let missed = if ok { "" } else { "  MISSED" };
        println!("{name:32} {:>12} {:>12} {times:>8} {told:>14}{missed}", number(ours), number(peer));
    }
}

/// Ingestion, memory, disk, searches and charts of `assay serve` beside `mlflow server` on SQLite.
pub(super) fn track(project: &Project, as_json: bool) -> Result<()> {
    let python = environment(project, "track", PEER, "import mlflow; print('mlflow==' + mlflow.__version__)")?;
    let script = project.root.join("crates/xtask/src/bench/track.py");
    let ask = |name: &str, program: &[&str]| figures(Command::new(&python).arg(&script).arg(name).args(program));
    let ours = server(project)?;
    let ours = ask("assay", &ours.each_ref().map(String::as_str))?;
    let peer = python.with_file_name("mlflow");
    let peer = peer.to_str().context("the path of the peer is no text")?;
    let store = "sqlite:///{folder}/mlflow.db";
    let server = [peer, "server", "--backend-store-uri", store, "--port", "{port}"];
    let peer = ask("mlflow", &[&server[..], &["--default-artifact-root", "{folder}/artifacts"]].concat())?;
    let value = |of: &Value, key: &str| of[key].as_f64().unwrap_or(f64::NAN);
    if !as_json {
        println!("{:32} {:>12} {:>12} {:>8} {:>14}", "", "ours", PEER[0], "times", "target");
    }
    for (name, key, target) in ROWS {
        let (ours, peer) = (value(&ours, key), value(&peer, key));
        let times = if key.ends_with("points/s") { ours / peer } else { peer / ours };
        Row { name, ours, peer, times: Some(times), target: Target::AtLeast(target) }.show(as_json);
    }
    for (name, most) in BOUNDS {
        let (ours, peer) = (value(&ours, name), value(&peer, name));
        Row { name, ours, peer, times: None, target: Target::AtMost(most) }.show(as_json);
    }
    for name in ["no chart points/s", "twenty charts points/s"] {
        Row { name, ours: value(&ours, name), peer: f64::NAN, times: None, target: Target::None }.show(as_json);
    }
    let (name, kept) = KEPT;
    Row { name, ours: value(&ours, name), peer: f64::NAN, times: None, target: Target::AtLeast(kept) }.show(as_json);
    in_process(project, as_json)?;
    if !as_json {
        println!(
            "searched: ours {} runs, theirs {}; both servers on two processors with the client",
            ours["runs searched"], peer["runs searched"]
        );
    }
    Ok(())
}

/// Points a second, one a call, of the engine and of other programs' loggers, each in a process of its own.
fn in_process(project: &Project, as_json: bool) -> Result<()> {
    let version = "import importlib.metadata as m; print('trackio==' + m.version('trackio'))";
    let python = environment(project, "writers", &WRITERS, version)?;
    let script = project.root.join("crates/xtask/src/bench/writers.py");
    let ingest = program(project, "assay-engine", "ingest")?;
    let mut turns = vec![Vec::new(); 1 + WRITERS.len()];
    for _ in 0..super::ROUNDS {
        let workspace = tempfile::tempdir()?;
        turns[0].push(figures(Command::new(&ingest).arg(workspace.path().join(".assay")).arg(WRITTEN_BY_US))?);
        for (turns, (writer, points)) in turns[1..].iter_mut().zip(WRITERS.iter().zip(WRITTEN)) {
            let name = writer.split("==").next().unwrap_or(writer);
            turns.push(last_line(Command::new(&python).arg(&script).args([name, points]))?);
        }
    }
    let rates: Vec<f64> = turns.iter().map(|turns| median(turns, "points_per_s")).collect();
    let fastest = rates[1..].iter().copied().fold(0.0, f64::max);
    for (writer, &peer) in WRITERS.iter().zip(&rates[1..]) {
        let target = if peer == fastest { Target::AtLeast(IN_PROCESS) } else { Target::None };
        let name = format!("in process, {writer}");
        Row { name: &name, ours: rates[0], peer, times: Some(rates[0] / peer), target }.show(as_json);
    }
    Ok(())
}

/// Ten minutes, or as many as are asked for, at full rate: the memory must not grow.
pub(super) fn soak(project: &Project, minutes: &str) -> Result<()> {
    print_figures(project, "soak.py", minutes)
}

/// How long it takes until a logged point is seen in the browser.
pub(super) fn pixel(project: &Project) -> Result<()> {
    crate::system::ensure_test_packages()?;
    print_figures(project, "pixel.py", "15")
}

/// What 100 million points in 10,000 runs take, and how fast they are found.
pub(super) fn scale(project: &Project) -> Result<()> {
    let workspace = tempfile::tempdir()?;
    let found = figures(Command::new(program(project, "assay-engine", "scale")?).arg(workspace.path().join(".assay")))?;
    print(&found);
    Ok(())
}

fn print_figures(project: &Project, script: &str, argument: &str) -> Result<()> {
    let script = project.root.join("crates/xtask/src/bench").join(script);
    print(&figures(Command::new("python3").arg(script).arg(argument).args(server(project)?))?);
    Ok(())
}

fn print(found: &Value) {
    for (name, value) in found.as_object().into_iter().flatten() {
        println!("{name:32} {:14.2}", value.as_f64().unwrap_or(f64::NAN));
    }
}

/// The command that starts our server, built for release.
fn server(project: &Project) -> Result<[String; 6]> {
    project.cargo(&["build", "--release", "-p", "assay-cli"])?;
    let program = project.target.join("release/assay");
    let program = program.to_str().context("the path of the program is no text")?;
    Ok([program, "--workspace", "{folder}", "serve", "--port", "{port}"].map(str::to_owned))
}

/// What a program says that says other things too: its last line is one JSON object.
fn last_line(command: &mut Command) -> Result<Value> {
    let output = command.output().with_context(|| format!("{command:?} does not start"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.lines().last().and_then(|line| serde_json::from_str(line).ok()) {
        Some(value) if output.status.success() => Ok(value),
        _ => bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr)),
    }
}
