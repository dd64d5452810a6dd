//! The tracking server beside MLflow's, both asked by the same client in MLflow's API.

use super::{environment, figures};
use crate::project::Project;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::process::Command;

/// The peer, with what the clients need.
const PEER: &[&str] = &["mlflow==3.9.0"];

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

/// Ingestion, memory, disk, searches and charts of `assay serve` beside `mlflow server` on SQLite.
pub(super) fn track(project: &Project, as_json: bool) -> Result<()> {
    let python = environment(project, "track", PEER, "import mlflow; print('mlflow==' + mlflow.__version__)")?;
    project.run(Command::new("cargo").args(["build", "--release", "-p", "assay-cli"]))?;
    let ours = project.target.join("release/assay");
    let script = project.root.join("crates/xtask/src/bench/track.py");
    let ask = |name: &str, program: &[&str]| figures(Command::new(&python).arg(&script).arg(name).args(program));
    let ours = ours.to_str().context("the path of the program is no text")?;
    let ours = ask("assay", &[ours, "--workspace", "{folder}", "serve", "--port", "{port}"])?;
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
    if !as_json {
        println!(
            "searched: ours {} runs, theirs {}; both servers on two processors with the client",
            ours["runs searched"], peer["runs searched"]
        );
    }
    Ok(())
}
