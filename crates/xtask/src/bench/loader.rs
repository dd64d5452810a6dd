//! How quickly training images are loaded, beside torchvision.

use super::{ROUNDS, figures, median, peer, program};
use crate::project::Project;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Photos of an epoch; fewer are copied, so that the start of an epoch weighs little.
const PHOTOS: usize = 3000;
const SIZE: &str = "224";
const BATCH: &str = "64";
/// What is measured, its place in our rates, and by how much ours is to be faster.
const ROWS: [(&str, usize, f64); 2] = [("photos, first epoch", 0, 2.0), ("decoded cache, later epochs", 2, 8.0)];

/// Images a second to 224 pixels, with a random resized crop and a flip, beside a torchvision DataLoader with as many
/// workers as our loader has threads.
pub(super) fn loader(project: &Project, photos: &str, as_json: bool) -> Result<()> {
    let python = peer(project)?;
    let ours = program(project, "assay-engine", "loader")?;
    project.cargo(&["build", "--package", "assay-cli"])?;
    let place = project.target.join("bench-loader");
    if place.exists() {
        std::fs::remove_dir_all(&place)?;
    }
    let photos = copies(Path::new(photos), &place.join("photos"))?;
    let workspace = place.join("workspace");
    let assay = || {
        let mut command = Command::new(project.program("assay"));
        command.arg("--workspace").arg(&workspace);
        command
    };
    project.run(assay().arg("init"))?;
    project.run(assay().args(["import", "--name", "photos", "--val", "0", "--test", "0"]).arg(&photos))?;

    let threads = std::thread::available_parallelism()?.get().to_string();
    let script = project.root.join("crates/xtask/src/bench/loader.py");
    let (mut our_turns, mut peer_turns) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let cache = workspace.join(".assay/cache/decoded");
        if cache.exists() {
            std::fs::remove_dir_all(cache)?;
        }
        let mut command = Command::new(&ours);
        command.arg(workspace.join(".assay")).args([
            "photos",
            "3",
            "augment.crop=0.08",
            "augment.ratio=1.3333",
            "augment.flip=true",
        ]);
        command.args(["augment.shift=0".to_owned(), format!("data.image_size={SIZE}")]);
        command.args([format!("train.batch_size={BATCH}"), format!("train.loader_threads={threads}")]);
        our_turns.push(figures(&mut command)?);
        let mut command = Command::new(&python);
        // The second epoch: in the first, the workers start.
        peer_turns.push(figures(command.arg(&script).arg(&photos).args([SIZE, &threads, BATCH, "2"]))?);
    }
    let version = peer_turns[0]["version"].as_str().unwrap_or_default();
    if !as_json {
        println!("{:30} {:>8} {:>12} {:>6} {:>6}", "images/s", "ours", "torchvision", "ratio", "target");
    }
    for (name, epoch, target) in ROWS {
        let rates = |turns: &[Value], epoch: usize| -> Vec<Value> {
            turns.iter().map(|turn| json!({ "rate": turn["images_per_s"][epoch] })).collect()
        };
        let (ours, peer) = (median(&rates(&our_turns, epoch), "rate"), median(&rates(&peer_turns, 1), "rate"));
        let ratio = ours / peer;
        if as_json {
            let line = json!({
                "bench": "loader", "row": name, "ours": ours, "peer": peer, "unit": "images/s", "ratio": ratio,
                "target": target, "ok": ratio >= target, "peer_version": version, "threads": threads,
            });
            println!("{line}");
        } else {
            println!("{name:30} {ours:8.0} {peer:12.0} {ratio:6.2} {target:6.2}");
        }
    }
    if !as_json {
        println!("Assay {}, {version}, {threads} threads and workers, batches of {BATCH}", env!("CARGO_PKG_VERSION"));
    }
    Ok(())
}

/// Copies the JPEG photos below a folder, over and over until there are enough. A byte behind the end of each makes it a
/// file of its own, which no cache knows.
fn copies(from: &Path, to: &Path) -> Result<PathBuf> {
    let class = to.join("photo");
    std::fs::create_dir_all(&class)?;
    let (mut folders, mut photos) = (vec![from.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| format!("there is no folder {}", folder.display()))? {
            let path = entry?.path();
            let ending = path.extension().unwrap_or_default().to_ascii_lowercase();
            if path.is_dir() {
                folders.push(path);
            } else if ending == "jpg" || ending == "jpeg" {
                photos.push(std::fs::read(path)?);
            }
        }
    }
    if photos.is_empty() {
        bail!("there are no JPEG photos in {}", from.display());
    }
    let rounds = PHOTOS.div_ceil(photos.len());
    for (round, (index, photo)) in (0..rounds).flat_map(|round| photos.iter().enumerate().map(move |p| (round, p))) {
        let end = (round as u32).to_le_bytes();
        std::fs::write(class.join(format!("{index:05}-{round:04}.jpg")), [photo.as_slice(), &end].concat())?;
    }
    Ok(to.to_owned())
}
