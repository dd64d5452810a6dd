//! What can go wrong while learning.

/// Why training or prediction could not go on.
#[derive(Debug, thiserror::Error)]
pub enum LearnError {
    /// The config does not read or does not make sense.
    #[error("{0}")]
    Config(#[from] crate::config::ConfigError),
    /// There is nothing to learn from.
    #[error("{0}")]
    Data(String),
    /// The asked-for device is not there.
    #[error("device {0:?} is not available here: this build or machine has no CUDA; use device = \"cpu\"")]
    NoDevice(String),
    /// The loss is no number any more.
    #[error("the loss became {loss} at step {step}{}: lower optimizer.lr, set train.clip_norm=1, or check the data", first.as_ref().map(|first| format!("; the first values that are not finite are those of {first}")).unwrap_or_default())]
    Diverged {
        /// The optimizer step.
        step: u64,
        /// What the loss became.
        loss: f64,
        /// Where values first were not finite.
        first: Option<String>,
    },
    /// There is too little memory for a step.
    #[error("{0}")]
    Memory(String),
    /// A checkpoint that does not fit.
    #[error("the checkpoint does not fit: {0}")]
    Checkpoint(String),
    /// First weights that do not fit.
    #[error("the weights do not fit the model: {why}: {from}")]
    Weights {
        /// Where they come from.
        from: String,
        /// What does not fit.
        why: String,
    },
    /// What was told could not be kept.
    #[error("{0}")]
    Sink(String),
    /// A tensor operation failed.
    #[error("a tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
}
