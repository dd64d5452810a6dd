//! Using a trained model.

use crate::client::{Client, write_whole};
use anyhow::{Context, Result};
use assay_protocol::{PredictionReply, encode_component, path};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn with_checkpoint(path: String, checkpoint: Option<&str>) -> String {
    match checkpoint {
        Some(kind) => format!("{path}?checkpoint={}", encode_component(kind)),
        None => path,
    }
}

/// Predicts images and the images in folders; what cannot be predicted is reported and the rest goes on.
pub(crate) async fn predict(
    client: &Client,
    run: &str,
    images: &[PathBuf],
    checkpoint: Option<&str>,
    json: bool,
) -> Result<ExitCode> {
    let address = with_checkpoint(path::run(client.find_run(run).await?, "/predict"), checkpoint);
    let mut failed = false;
    for image in images_in(images)? {
        let answer = match std::fs::read(&image) {
            Ok(bytes) => client.post_bytes::<PredictionReply>(&address, bytes).await,
            Err(error) => Err(error.into()),
        };
        match answer {
            Ok(reply) if json => {
                println!("{}", serde_json::json!({ "image": image.display().to_string(), "classes": reply.classes }));
            }
            Ok(reply) => {
                let best: Vec<String> = reply
                    .classes
                    .iter()
                    .take(3)
                    .map(|c| format!("{} {:.1} %", c.class, c.probability * 100.0))
                    .collect();
                println!("{}: {}", image.display(), best.join(", "));
            }
            Err(error) => {
                failed = true;
                eprintln!("{}: {error:#}", image.display());
            }
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn images_in(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut images = Vec::new();
    for path in paths {
        if path.is_dir() {
            let entries =
                std::fs::read_dir(path).with_context(|| format!("the folder cannot be read: {}", path.display()))?;
            let mut files: Vec<PathBuf> =
                entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_file()).collect();
            files.sort();
            images.extend(files);
        } else {
            images.push(path.clone());
        }
    }
    Ok(images)
}

/// Writes a model's files into a folder.
pub(crate) async fn export(client: &Client, run: &str, folder: &Path, checkpoint: Option<&str>) -> Result<()> {
    let address = with_checkpoint(path::run(client.find_run(run).await?, "/export"), checkpoint);
    let files: Vec<(String, Vec<u8>)> = client.get(&address).await?;
    std::fs::create_dir_all(folder).with_context(|| format!("the folder cannot be made: {}", folder.display()))?;
    for (name, contents) in files {
        write_whole(&folder.join(&name), &contents)?;
        println!("{}", folder.join(name).display());
    }
    Ok(())
}
