//! Time of single operations beside PyTorch and stock candle, and what of the machine they use.

use super::{peer, program};
use crate::project::Project;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::io::Write;
use std::process::{Command, Stdio};

/// Times the operations whose name contains the filter, on as many threads as there are cores.
pub(super) fn operations(project: &Project, filter: &str) -> Result<()> {
    let python = peer(project)?;
    let threads = std::thread::available_parallelism()?.get().to_string();
    let mut command = Command::new(program(project, "assay-kernels", "operations")?);
    let ours = command.arg(filter).env("RAYON_NUM_THREADS", &threads).env("CANDLE_NUM_THREADS", &threads).output()?;
    if !ours.status.success() {
        bail!("the operations failed: {}", String::from_utf8_lossy(&ours.stderr));
    }
    let text = String::from_utf8(ours.stdout)?;
    let (machine, rows) = text.split_once('\n').context("the program printed nothing")?;
    let script = project.root.join("crates/xtask/src/bench/operations.py");
    let mut theirs =
        Command::new(python).arg(script).arg(&threads).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    theirs.stdin.take().context("the script has no input")?.write_all(rows.as_bytes())?;
    let theirs = String::from_utf8(theirs.wait_with_output()?.stdout)?;
    let mut peers = theirs.lines();

    let machine: Value = serde_json::from_str(machine)?;
    let peak = machine["peak_gflops"].as_f64().unwrap_or(f64::NAN);
    println!(
        "{:82} {:>9} {:>9} {:>6} {:>9} {:>6} {:>9} {:>6}",
        "", "ms", "GFLOP/s", "peak", "PyTorch", "ratio", "candle", "ratio"
    );
    for row in rows.lines() {
        let row: Value = serde_json::from_str(row)?;
        let millis = row["ms"].as_f64().context("a row without its time")?;
        let peer: f64 = peers.next().context("the script ended early")?.parse()?;
        let sizes = row["sizes"].as_object().context("a row without sizes")?;
        let sizes: Vec<String> = sizes.iter().map(|(name, size)| format!("{name} {size}")).collect();
        let name =
            format!("{} {}", row["operation"].as_str().unwrap_or_default(), row["part"].as_str().unwrap_or_default());
        let rate = row["gflops"].as_f64();
        let (rate, share) = (
            rate.map(|rate| format!("{rate:.0}")).unwrap_or_default(),
            rate.map(|rate| format!("{:.0} %", rate / peak * 100.0)).unwrap_or_default(),
        );
        let candle = row["candle_ms"].as_f64();
        let (candle, slower) = (
            candle.map(|candle| format!("{candle:.2}")).unwrap_or_default(),
            candle.map(|candle| format!("{:.2}", millis / candle)).unwrap_or_default(),
        );
        println!("{name}");
        println!(
            "    {:78} {millis:9.2} {rate:>9} {share:>6} {peer:9.2} {:6.2} {candle:>9} {slower:>6}",
            sizes.join(", "),
            millis / peer
        );
    }
    println!(
        "{} threads do {peak:.0} GFLOP/s in registers, memory {} GB/s; Assay {}, {}",
        threads,
        machine["bandwidth_gb"],
        env!("CARGO_PKG_VERSION"),
        peers.next().unwrap_or_default()
    );
    Ok(())
}
