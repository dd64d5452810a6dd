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
const KEPT: f64 = 0.9;

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
        println!("{:32} {:>12} {:>12} {:>8} {:>7}", "", "ours", PEER[0], "times", "target");
    }
    for (row, key, target) in ROWS {
        let (ours, peer) = (value(&ours, key), value(&peer, key));
        let times = if key.ends_with("points/s") { ours / peer } else { peer / ours };
        if as_json {
            let unit = key.rsplit(' ').next();
            println!(
                "{}",
                json!({ "bench": "track", "row": row, "ours": ours, "peer": peer, "unit": unit, "ratio": times,
                        "target": target, "ok": times >= target, "peer_version": PEER[0] })
            );
        } else {
            println!("{row:32} {ours:12.2} {peer:12.2} {times:8.1} {target:7.0}");
        }
    }
    for (key, most) in BOUNDS {
        let (ours, peer) = (value(&ours, key), value(&peer, key));
        if as_json {
            println!(
                "{}",
                json!({ "bench": "track", "row": key, "ours": ours, "peer": peer, "target": most, "ok": ours <= most,
                        "peer_version": PEER[0] })
            );
        } else {
            println!("{key:32} {ours:12.2} {peer:12.2} {:>8} {most:7.1}", "at most");
        }
    }
    let kept = value(&ours, "rate kept with twenty charts");
    if as_json {
        println!(
            "{}",
            json!({ "bench": "track", "row": "rate kept with twenty charts", "ours": kept, "target": KEPT, "ok": kept >= KEPT })
        );
    } else {
        println!("{:32} {kept:12.2} {:>12} {:>8} {KEPT:7.1}", "rate kept with twenty charts", "", "at least");
    }
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
    let (ours, theirs) = (rates[0], &rates[1..]);
    let times = ours / theirs.iter().copied().fold(0.0, f64::max);
    for (writer, rate) in WRITERS.iter().zip(theirs) {
        let row = format!("in process, {writer}");
        if as_json {
            println!(
                "{}",
                json!({ "bench": "track", "row": row, "ours": ours, "peer": rate, "unit": "points/s", "ratio": ours / rate })
            );
        } else {
            println!("{row:32} {ours:12.0} {rate:12.0} {:8.1}", ours / rate);
        }
    }
    if as_json {
        println!(
            "{}",
            json!({ "bench": "track", "row": "in process, the fastest", "ratio": times, "target": IN_PROCESS, "ok": times >= IN_PROCESS })
        );
    } else {
        println!("{:32} {:>12} {:>12} {times:8.1} {IN_PROCESS:7.0}", "in process, the fastest", "", "");
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

fn print_figures(project: &Project, script: &str, argument: &str) -> Result<()> {
    let script = project.root.join("crates/xtask/src/bench").join(script);
    let found = figures(Command::new("python3").arg(script).arg(argument).args(server(project)?))?;
    for (name, value) in found.as_object().into_iter().flatten() {
        println!("{name:32} {:14.2}", value.as_f64().unwrap_or(f64::NAN));
    }
    Ok(())
}

/// The command that starts our server, built for release.
fn server(project: &Project) -> Result<[String; 6]> {
    project.run(Command::new("cargo").args(["build", "--release", "-p", "assay-cli"]))?;
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
