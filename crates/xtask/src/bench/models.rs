//! Whether models with the same weights give what their reference implementations give.

use super::{figures, peer, program};
use crate::project::Project;
use anyhow::{Context, Result, bail};
use std::process::Command;

/// How far logits, and gradients as a share of the greatest of a parameter, may be apart.
const TOLERANCE: f64 = 1e-4;

/// Compares logits and gradients of every model with torchvision's and timm's in f64, and what onnxruntime makes of its
/// export with what we make of it.
pub(super) fn models(project: &Project) -> Result<()> {
    let python = peer(project)?;
    let folder = project.target.join("models");
    std::fs::create_dir_all(&folder)?;
    let script = project.root.join("crates/xtask/src/bench/models.py");
    let ours = program(project, "assay-learn", "models")?;
    let made = figures(Command::new(&python).arg(&script).arg("make").arg(&folder))?;
    for model in made["models"].as_array().context("the script named no models")? {
        let name = model[0].as_str().unwrap_or_default();
        let sizes = [model[1].to_string(), made["classes"].to_string()];
        project.run(Command::new(&ours).arg(name).args(sizes).arg(&folder))?;
    }
    let found = figures(Command::new(&python).arg(&script).arg("compare").arg(&folder))?;
    println!("{:20} {:>9} {:>9} {:>9} {:>9} {:>9}", "model", "logits", "inferred", "gradients", "training", "ONNX");
    let mut far = Vec::new();
    for row in found["rows"].as_array().context("the script printed no rows")? {
        let name = row["model"].as_str().unwrap_or_default();
        let values = ["logits", "inferred", "gradients", "batch", "onnx"].map(|key| row[key].as_f64());
        let cells = values.map(|value| value.map_or("-".into(), |value| format!("{value:.1e}")));
        println!("{name:20} {:>9} {:>9} {:>9} {:>9} {:>9}", cells[0], cells[1], cells[2], cells[3], cells[4]);
        if values.iter().flatten().any(|value| value.is_nan() || *value > TOLERANCE) {
            far.push(name);
        }
    }
    println!("greatest distance from {} in f64", found["versions"].as_str().unwrap_or_default());
    std::fs::remove_dir_all(folder)?;
    match far.is_empty() {
        true => Ok(()),
        false => bail!("further than {TOLERANCE} from the reference: {}", far.join(", ")),
    }
}
