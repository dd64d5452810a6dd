//! A whole training, from photos to a tested model, beside PyTorch.

use super::{figures, peer};
use crate::project::Project;
use anyhow::{Context, Result};
use std::process::Command;

/// Trains configs/sign-digits.toml on a folder of photos for so many epochs, then the same recipe with PyTorch.
pub(super) fn sign_digits(project: &Project, photos: &str, epochs: &str) -> Result<()> {
    let python = peer(project)?;
    project.cargo(&["build", "--package", "assay-cli"])?;
    let workspace = project.target.join("bench-sign-digits");
    if workspace.exists() {
        std::fs::remove_dir_all(&workspace)?;
    }
    let photos = std::fs::canonicalize(photos).with_context(|| format!("there is no folder {photos}"))?;
    let assay = |arguments: &[&str]| {
        let mut command = Command::new(project.program("assay"));
        command.arg("--workspace").arg(&workspace).args(arguments);
        command
    };
    project.run(&mut assay(&["init"]))?;
    project.run(assay(&["import"]).arg(&photos))?;
    let config = project.root.join("configs/sign-digits.toml");
    let run = figures(assay(&["train", "--json"]).arg(config).arg(format!("train.epochs={epochs}")))?;
    let of_run = |key: &str| run["run"][key].as_f64().or_else(|| run[key].as_f64()).unwrap_or(f64::NAN);
    let ours = (of_run("ended") - of_run("started")) / 1e3;
    let reason = run["run"]["reason"].as_str().or_else(|| run["reason"].as_str()).unwrap_or_default();
    let threads = std::thread::available_parallelism()?.get().to_string();
    let script = project.root.join("crates/xtask/src/bench/sign_digits.py");
    let theirs = figures(Command::new(&python).arg(script).arg(&photos).args([epochs, &threads]))?;
    let peer = theirs["total"].as_f64().unwrap_or(f64::NAN);
    let accuracy = theirs["accuracy"].as_f64().unwrap_or(f64::NAN) * 100.0;
    println!("{epochs} epochs    seconds  result");
    println!("Assay       {ours:9.1}  {reason}");
    println!("PyTorch     {peer:9.1}  test accuracy {accuracy:.2} %");
    println!("ratio {:.2}, {}, {threads} threads", ours / peer, theirs["version"].as_str().unwrap_or_default());
    Ok(())
}
