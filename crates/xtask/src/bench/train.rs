//! Time of an optimizer step beside PyTorch.

use super::{ROUNDS, figures, median, peer, program};
use crate::project::Project;
use anyhow::Result;
use serde_json::json;
use std::process::Command;

/// A row of the training bench: name, model, width, size of the images, batch, steps that are timed in a turn.
const TRAINING: [(&str, &str, usize, usize, usize, usize); 4] = [
    ("CIFAR ResNet-18 w64 [32]", "resnet18", 64, 32, 32, 7),
    ("CIFAR ResNet-18 w64 [128]", "resnet18", 64, 32, 128, 3),
    ("CIFAR ResNet-18 w16 [64]", "resnet18", 16, 32, 64, 15),
    ("small CNN 28x28 [128]", "small-cnn", 32, 28, 128, 15),
];

/// Time of an optimizer step beside PyTorch in eager mode, fp32, the same number of threads.
pub(super) fn train(project: &Project, as_json: bool) -> Result<()> {
    let python = peer(project)?;
    let ours = program(project, "assay-learn", "train")?;
    let threads = std::thread::available_parallelism()?.get().to_string();
    let script = project.root.join("crates/xtask/src/bench/train.py");
    let mut version = String::new();
    if !as_json {
        println!("{:28} {:>9} {:>9} {:>6} {:>6}  {:>13}", "ms a step", "ours", "PyTorch", "ratio", "target", "peak MB");
    }
    for (row, model, width, size, batch, steps) in TRAINING {
        let (mut our_turns, mut peer_turns) = (Vec::new(), Vec::new());
        let words = [width, size, batch].map(|number| number.to_string());
        for _ in 0..ROUNDS {
            let mut command = Command::new(&ours);
            command.args(["2".to_owned(), steps.to_string(), "device=cpu".into()]);
            command.args([
                format!("model.name={model}"),
                format!("model.width={width}"),
                format!("data.image_size={size}"),
                format!("train.batch_size={batch}"),
            ]);
            our_turns.push(figures(command.env("RAYON_NUM_THREADS", &threads).env("CANDLE_NUM_THREADS", &threads))?);
            let mut command = Command::new(&python);
            command.arg(&script).args(["2", &steps.to_string(), &threads, model]).args(&words);
            peer_turns.push(figures(&mut command)?);
        }
        version = peer_turns[0]["version"].as_str().unwrap_or_default().to_owned();
        let (ours, peer) = (median(&our_turns, "total"), median(&peer_turns, "total"));
        let ratio = ours / peer;
        if as_json {
            let line = json!({
                "bench": "train", "row": row, "ours": ours, "peer": peer, "unit": "ms", "ratio": ratio, "target": 1.0,
                "ok": ratio <= 1.0, "ours_peak_mb": median(&our_turns, "peak_mb"),
                "peer_peak_mb": median(&peer_turns, "peak_mb"), "peer_version": version, "threads": threads,
            });
            println!("{line}");
        } else {
            let memory = format!("{:.0} / {:.0}", median(&our_turns, "peak_mb"), median(&peer_turns, "peak_mb"));
            println!("{row:28} {ours:9.1} {peer:9.1} {ratio:6.2} {:>6}  {memory:>13}", "1.00");
        }
    }
    if !as_json {
        println!("Assay {}, {version} eager, fp32, {threads} threads", env!("CARGO_PKG_VERSION"));
    }
    Ok(())
}
