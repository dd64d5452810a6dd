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
    /// The best validation so far.
    pub best: Option<Best>,
    /// The validation accuracy of this state, if it was just measured.
    pub val_accuracy: Option<f64>,
}

/// A validation that was better than all before it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// The validation accuracy.
    pub accuracy: f64,
    /// The validation loss, which decides between equal accuracies.
    pub loss: f64,
    /// The epoch after which it was measured.
    pub epoch: u64,
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
