//! Time of a prediction beside PyTorch.

use super::{ROUNDS, figures, median, peer, program};
use crate::project::Project;
use anyhow::Result;
use serde_json::json;
use std::process::Command;

/// Name, model and batch, predictions that are timed in a turn.
const ROWS: [(&str, &str, usize, usize); 4] = [
    ("ResNet-18 224 [1]", "resnet18", 1, 31),
    ("ResNet-18 224 [16]", "resnet18", 16, 9),
    ("ResNet-50 224 [1]", "resnet50", 1, 15),
    ("ResNet-50 224 [16]", "resnet50", 16, 5),
];
const TARGET: f64 = 0.8;

/// Time of predicting a batch beside PyTorch eager in inference mode, fp32, the same number of threads.
pub(super) fn infer(project: &Project, as_json: bool) -> Result<()> {
    let python = peer(project)?;
    let ours = program(project, "assay-learn", "infer")?;
    let threads = std::thread::available_parallelism()?.get().to_string();
    let script = project.root.join("crates/xtask/src/bench/infer.py");
    let mut version = String::new();
    if !as_json {
        println!("{:24} {:>9} {:>9} {:>6} {:>6}", "ms a batch", "ours", "PyTorch", "ratio", "target");
    }
    for (name, model, batch, repeats) in ROWS {
        let (mut our_turns, mut peer_turns) = (Vec::new(), Vec::new());
        let (batch, repeats) = (batch.to_string(), repeats.to_string());
        for _ in 0..ROUNDS {
            let mut command = Command::new(&ours);
            command.args(["3", &repeats, &batch, "device=cpu", "data.image_size=224", &format!("model.name={model}")]);
            our_turns.push(figures(command.env("RAYON_NUM_THREADS", &threads).env("CANDLE_NUM_THREADS", &threads))?);
            let mut command = Command::new(&python);
            peer_turns.push(figures(command.arg(&script).args(["3", &repeats, &threads, model, &batch]))?);
        }
        version = peer_turns[0]["version"].as_str().unwrap_or_default().to_owned();
        let (ours, peer) = (median(&our_turns, "total"), median(&peer_turns, "total"));
        let ratio = ours / peer;
        if as_json {
            let line = json!({
                "bench": "infer", "row": name, "ours": ours, "peer": peer, "unit": "ms", "ratio": ratio,
                "target": TARGET, "ok": ratio <= TARGET, "peer_version": version, "threads": threads,
            });
            println!("{line}");
        } else {
            println!("{name:24} {ours:9.1} {peer:9.1} {ratio:6.2} {TARGET:6.2}");
        }
    }
    if !as_json {
        println!("Assay {}, {version} in inference mode, fp32, {threads} threads", env!("CARGO_PKG_VERSION"));
    }
    Ok(())
}
