//! First weights of a run: found, read, and kept with it.

use crate::{Engine, EngineError, Result};
use assay_domain::RunId;
use assay_domain::record::FirstWeights;
use assay_learn::Weights;
use assay_store::Hash;
use std::path::{Path, PathBuf};

/// What a weights file is called in a folder.
const FILE: &str = "model.safetensors";
/// The weights as an artifact of the run that began with them.
pub(crate) const ARTIFACT: &str = "weights/begin.safetensors";

impl Engine {
    /// Reads the weights that a config names; paths begin at `directory`. Nothing when it names none.
    pub(crate) fn read_weights(&self, named: &str, directory: &Path) -> Result<Option<Weights>> {
        let named = named.trim();
        if named.is_empty() {
            return Ok(None);
        }
        if let Some(run) = named.strip_prefix("run:") {
            let run = self.find_run(run.trim())?;
            let kind = self.best_kind(run)?;
            let checkpoint = self.store.read(|reader| reader.checkpoint(run, kind))?;
            let file = self.store.blobs().get(&Hash::parse(&checkpoint.weights.hash)?)?;
            return Ok(Some(Weights { from: format!("run {run}"), file }));
        }
        let path = weights_file(&directory.join(named))?;
        let file = std::fs::read(&path)
            .map_err(|why| EngineError::Invalid(format!("model.weights cannot be read ({why}): {}", path.display())))?;
        Ok(Some(Weights { from: path.display().to_string(), file }))
    }

    /// Keeps weights, for the record of the run that begins with them.
    pub(crate) fn keep_weights(&self, weights: &Weights) -> Result<FirstWeights> {
        let hash = self.store.blobs().put(&weights.file)?.as_str().to_owned();
        Ok(FirstWeights { from: weights.from.clone(), hash, bytes: weights.file.len() as u64 })
    }

    /// The weights that a run begins with, if its record names any.
    pub(crate) fn kept_weights(&self, run: RunId) -> Result<Option<Weights>> {
        let record = self.store.read(|reader| reader.record(run))?;
        let Some(kept) = record.and_then(|record| record.weights) else { return Ok(None) };
        let file = self.store.blobs().get(&Hash::parse(&kept.hash)?)?;
        Ok(Some(Weights { from: kept.from, file }))
    }
}

/// The safetensors file that a path means: itself, one in a folder, or the newest snapshot of a Hugging Face cache.
fn weights_file(path: &Path) -> Result<PathBuf> {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
    if matches!(ending.as_str(), "bin" | "ckpt" | "pt" | "pth" | "pkl") && path.is_file() {
        return Err(EngineError::Invalid(format!(
            "model.weights must be safetensors, since a pickle can run code when it is read; convert it once in Python: safetensors.torch.save_file(torch.load(OLD, weights_only=True), NEW): {}",
            path.display()
        )));
    }
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    if path.join(FILE).is_file() {
        return Ok(path.join(FILE));
    }
    // refs/main names the snapshot that is current.
    if let Ok(current) = std::fs::read_to_string(path.join("refs/main")) {
        let file = path.join("snapshots").join(current.trim()).join(FILE);
        if file.is_file() {
            return Ok(file);
        }
    }
    Err(EngineError::Invalid(format!(
        "model.weights names a folder without {FILE} (nor is it a Hugging Face cache with refs/main): {}",
        path.display()
    )))
}
