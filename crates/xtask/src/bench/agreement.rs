//! Whether operations and their gradients give what PyTorch's give.

use super::{peer, program};
use crate::project::Project;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::io::Write;
use std::process::{Command, Stdio};

/// The greatest distance that rounding may make, as a share of the greatest value of a tensor.
const TOLERANCE: f64 = 1e-4;

/// Compares every operation, forward and backward, over a grid of shapes with PyTorch in f64.
pub(super) fn agreement(project: &Project) -> Result<()> {
    let python = peer(project)?;
    let file = project.target.join("agreement.npz");
    let cases = Command::new(program(project, "assay-kernels", "agreement")?).arg(&file).output()?;
    if !cases.status.success() {
        bail!("the operations failed: {}", String::from_utf8_lossy(&cases.stderr));
    }
    let script = project.root.join("crates/xtask/src/bench/agreement.py");
    let mut theirs =
        Command::new(python).arg(script).arg(&file).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    theirs.stdin.take().context("the script has no input")?.write_all(&cases.stdout)?;
    let output = theirs.wait_with_output()?;
    let found: Value = serde_json::from_slice(&output.stdout).context("the script printed no JSON")?;
    println!("{:16} {:>6}  greatest distance", "operation", "cases");
    let mut far = Vec::new();
    for row in found["rows"].as_array().context("the script printed no rows")? {
        let (name, distance) = (row["operation"].as_str().unwrap_or_default(), row["distance"].as_f64());
        println!("{name:16} {:>6}  {:.1e}", row["cases"], distance.unwrap_or(f64::NAN));
        if distance.is_none_or(|distance| distance.is_nan() || distance > TOLERANCE) {
            far.push(name);
        }
    }
    println!("{} in f64", found["version"].as_str().unwrap_or_default());
    std::fs::remove_file(file)?;
    match far.is_empty() {
        true => Ok(()),
        false => bail!("further than {TOLERANCE} from PyTorch: {}", far.join(", ")),
    }
}
