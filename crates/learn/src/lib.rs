//! Models, data loading, the training loop, checkpoints and inference.
//!
//! It knows neither database nor network nor interface: it reads samples through [`Samples`], tells what happens to a
//! [`Sink`], and obeys a stop signal. Start with [`train`], which is the loop from top to bottom.

pub mod augment;
mod checkpoint;
pub mod config;
mod device;
mod error;
mod inference;
mod layers;
mod loader;
mod measure;
mod model;
mod optimizer;
mod parameters;
mod predict;
mod random;
mod replay;
mod schedule;
mod tape;
mod train;

pub use checkpoint::{Best, Saved, State};
pub use config::Config;
pub use device::{Device, DeviceChoice};
pub use error::LearnError;
pub use loader::Samples;
pub use measure::{StepTime, measure_loading, measure_steps, measure_stream, peak_device_bytes};
pub use predict::{Classifier, softmax};
pub use train::{Outcome, Sink, Task, train};

/// What the functions of this crate return.
pub type Result<T, E = LearnError> = std::result::Result<T, E>;
