//! Time of an optimizer step beside PyTorch.

use super::{ROUNDS, figures, median, peer, program};
use crate::project::Project;
use anyhow::Result;
use serde_json::json;
use std::path::Path;
use std::process::Command;

/// A row of the training bench.
struct Row {
    name: &'static str,
    model: &'static str,
    width: usize,
    image_size: usize,
    batch: usize,
    /// Steps that are timed in a turn.
    steps: usize,
    /// What else our config says; the peer knows the network by `model` and this.
    frozen: &'static str,
}

impl Row {
    /// Our side: the model by its config, or the text classifier, whose image size is the length of its texts.
    fn ours(&self, train: &Path, lstm: &Path) -> Command {
        let Row { model, width, image_size, batch, steps, frozen, .. } = self;
        if *model == "lstm" {
            let mut command = Command::new(lstm);
            command.args(["2".to_owned(), steps.to_string(), batch.to_string(), image_size.to_string()]);
            return command;
        }
        let mut command = Command::new(train);
        command.args(["2".to_owned(), steps.to_string(), "device=cpu".into()]);
        command.args([
            format!("model.name={model}"),
            format!("model.width={width}"),
            format!("data.image_size={image_size}"),
            format!("model.frozen={frozen}"),
            format!("train.batch_size={batch}"),
        ]);
        command
    }
}

const fn row(
    name: &'static str,
    model: &'static str,
    (width, image_size, batch): (usize, usize, usize),
    steps: usize,
) -> Row {
    Row { name, model, width, image_size, batch, steps, frozen: "none" }
}

const ROWS: [Row; 9] = [
    row("CIFAR ResNet-18 w64 [32]", "resnet18", (64, 32, 32), 7),
    row("CIFAR ResNet-18 w64 [128]", "resnet18", (64, 32, 128), 3),
    row("CIFAR ResNet-18 w16 [64]", "resnet18", (16, 32, 64), 15),
    row("small CNN 28x28 [128]", "small-cnn", (32, 28, 128), 15),
    row("ResNet-50 224 [8]", "resnet50", (64, 224, 8), 3),
    row("MobileNetV3-large 224 [16]", "mobilenet-v3-large", (16, 224, 16), 5),
    row("ViT-S/16 224 [8]", "vit-s16", (384, 224, 8), 3),
    row("LSTM text 64x128 [64]", "lstm", (128, 64, 64), 15),
    Row { frozen: "backbone", ..row("ResNet-18 224, frozen backbone [16]", "resnet18", (64, 224, 16), 5) },
];

/// Time of an optimizer step beside PyTorch in eager mode, fp32, the same number of threads.
pub(super) fn train(project: &Project, as_json: bool) -> Result<()> {
    let python = peer(project)?;
    let (ours, text) = (program(project, "assay-learn", "train")?, program(project, "assay-kernels", "lstm")?);
    let threads = std::thread::available_parallelism()?.get().to_string();
    let script = project.root.join("crates/xtask/src/bench/train.py");
    let mut version = String::new();
    if !as_json {
        println!("{:36} {:>9} {:>9} {:>6} {:>6}  {:>13}", "ms a step", "ours", "PyTorch", "ratio", "target", "peak MB");
    }
    for row in &ROWS {
        let Row { name, model, width, image_size, batch, steps, frozen } = *row;
        let (mut our_turns, mut peer_turns) = (Vec::new(), Vec::new());
        let words = [width, image_size, batch].map(|number| number.to_string());
        let network = if frozen == "none" { model } else { "resnet18-frozen" };
        for _ in 0..ROUNDS {
            let mut command = row.ours(&ours, &text);
            our_turns.push(figures(command.env("RAYON_NUM_THREADS", &threads).env("CANDLE_NUM_THREADS", &threads))?);
            let mut command = Command::new(&python);
            command.arg(&script).args(["2", &steps.to_string(), &threads, network]).args(&words);
            peer_turns.push(figures(&mut command)?);
        }
        version = peer_turns[0]["version"].as_str().unwrap_or_default().to_owned();
        let (ours, peer) = (median(&our_turns, "total"), median(&peer_turns, "total"));
        let ratio = ours / peer;
        if as_json {
            let line = json!({
                "bench": "train", "row": name, "ours": ours, "peer": peer, "unit": "ms", "ratio": ratio, "target": 1.0,
                "ok": ratio <= 1.0, "ours_peak_mb": median(&our_turns, "peak_mb"),
                "peer_peak_mb": median(&peer_turns, "peak_mb"), "peer_version": version, "threads": threads,
            });
            println!("{line}");
        } else {
            let memory = format!("{:.0} / {:.0}", median(&our_turns, "peak_mb"), median(&peer_turns, "peak_mb"));
            println!("{name:36} {ours:9.1} {peer:9.1} {ratio:6.2} {:>6}  {memory:>13}", "1.00");
        }
    }
    if !as_json {
        println!("Assay {}, {version} eager, fp32, {threads} threads", env!("CARGO_PKG_VERSION"));
    }
    Ok(())
}
