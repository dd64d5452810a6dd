//! Speed beside a peer, in one run: each row is measured by turns, ours and theirs, and shown as a ratio.

mod agreement;
mod infer;
mod loader;
mod models;
mod operations;
mod sign_digits;
mod track;
mod train;

use crate::project::{Project, cache_folder, cargo};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

/// The peer's version; a change of it changes what the figures mean.
const TORCH: &str = "torch==2.15.0";
/// What goes with it.
const BESIDES: [&str; 5] = ["torchvision==0.29.2", "timm==1.0.31", "onnx==1.23.2", "onnxruntime==1.32.0", "numpy"];
/// How often ours and theirs take turns.
const ROUNDS: usize = 3;

pub(crate) fn bench(project: &Project, arguments: &[String]) -> Result<()> {
    let as_json = arguments.iter().any(|argument| argument == "--json");
    match arguments.first().map(String::as_str) {
        Some("train") => train::train(project, as_json),
        Some("infer") => infer::infer(project, as_json),
        Some("agreement") => agreement::agreement(project),
        Some("models") => models::models(project),
        Some("loader") => {
            let photos = arguments.get(1).filter(|word| !word.starts_with('-'));
            loader::loader(project, photos.context("name a folder of JPEG photos")?, as_json)
        }
        Some("sign-digits") => {
            let photos = arguments.get(1).context("name the folder of photos, with a folder for each class")?;
            sign_digits::sign_digits(project, photos, arguments.get(2).map_or("40", String::as_str))
        }
        Some("track") => track::track(project, as_json),
        Some("scale") => track::scale(project),
        Some("soak") => track::soak(project, arguments.get(1).map_or("10", String::as_str)),
        Some("pixel") => track::pixel(project),
        Some("operations") => {
            let filter = arguments.get(1).map(String::as_str).unwrap_or_default();
            operations::operations(project, filter)
        }
        _ => bail!(
            "name the bench: cargo xtask bench train [--json] | infer [--json] | loader PHOTOS [--json] | operations [FILTER] | agreement | models | track [--json] | scale | soak [MINUTES] | pixel | sign-digits PHOTOS [EPOCHS]"
        ),
    }
}

/// A Python with some packages in a folder of its own; `version` is a program that prints the first of them, with its version.
pub(crate) fn environment(project: &Project, name: &str, packages: &[&str], version: &str) -> Result<PathBuf> {
    let folder = cache_folder()?.join(name);
    let python = folder.join("bin/python");
    let found = Command::new(&python).args(["-c", version]).output();
    if !found.is_ok_and(|output| output.stdout.starts_with(packages[0].as_bytes())) {
        eprintln!("installing {} into {} (once)", packages.join(", "), folder.display());
        project.run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        project.run(Command::new(&python).args(["-m", "pip", "install", "-q"]).args(packages))?;
    }
    Ok(python)
}

/// Runs a program that prints one JSON object.
fn figures(command: &mut Command) -> Result<Value> {
    let output = command.output().with_context(|| format!("{command:?} does not start"))?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    serde_json::from_slice(&output.stdout).with_context(|| format!("what {command:?} printed"))
}

fn median(turns: &[Value], key: &str) -> f64 {
    let mut values: Vec<f64> = turns.iter().filter_map(|turn| turn[key].as_f64()).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Builds a bench program for release and returns where it is.
fn program(project: &Project, package: &str, name: &str) -> Result<PathBuf> {
    let arguments =
        ["bench", "-p", package, "--bench", name, "--no-run", "--message-format", "json-render-diagnostics"];
    let output = cargo()
        .args(arguments)
        .current_dir(&project.root)
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("cargo does not start")?;
    let messages = String::from_utf8_lossy(&output.stdout);
    let built = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let path = built
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from));
    path.with_context(|| format!("the bench {name} of {package} was not built"))
}

/// The peer's Python with PyTorch (about 5 GB); made when it is missing.
pub(crate) fn peer(project: &Project) -> Result<PathBuf> {
    let packages = [&[TORCH][..], &BESIDES[..]].concat();
    // A build tag may follow the version: 2.15.0+cu132.
    let version = "import torch, torchvision, timm, onnxruntime, numpy; print('torch==' + torch.__version__)";
    environment(project, "python", &packages, version)
}
