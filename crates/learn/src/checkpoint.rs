//! What is saved of a training run, so that it goes on as if it had never stopped.

use serde::{Deserialize, Serialize};

/// The state besides weights and moments. Random numbers need no state of their own: each is drawn from the seed, the
/// epoch and the sample.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Optimizer steps done.
    pub step: u64,
    /// Epochs done.
    pub epoch: u64,
    /// Batches of the current epoch done.
    pub batch: u64,
    /// The best validation accuracy so far, and the epoch that had it.
    pub best: Option<(f64, u64)>,
    /// The validation accuracy of this state, if it was just measured.
    pub val_accuracy: Option<f64>,
}

/// A checkpoint as files.
#[derive(Clone, Debug, PartialEq)]
pub struct Saved {
    /// The model's tensors: safetensors.
    pub weights: Vec<u8>,
    /// The optimizer's tensors: safetensors.
    pub optimizer: Vec<u8>,
    /// The rest.
    pub state: State,
}
