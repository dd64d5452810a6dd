//! What is saved of a training run, so that it goes on as if it had never stopped.

use crate::schedule::Plateau;
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
    /// Batches done in all.
    #[serde(default)]
    pub batches: u64,
    /// The step after which the layers that learn now began to.
    #[serde(default)]
    pub unfrozen_at: u64,
    /// What became of a learning rate that falls at the end of plateaus.
    #[serde(default)]
    pub plateau: Plateau,
}

/// A validation that was better than all before it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// The value of the metric that decides.
    #[serde(alias = "accuracy")]
    pub value: f64,
    /// The validation loss, which decides between equal values.
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
