//! Models, data loading, the training loop, checkpoints and inference.
//!
//! It knows neither database nor network nor interface: it reads samples through [`Samples`], tells what happens to a
//! [`Sink`], and obeys a stop signal. Start with [`train`], which is the loop from top to bottom.

pub mod augment;
mod average;
mod checkpoint;
pub mod config;
mod device;
mod error;
mod inference;
mod judge;
mod layers;
mod learner;
mod loader;
mod loss;
mod measure;
mod memory;
mod mix;
mod model;
mod onnx;
mod optimizer;
mod parameters;
mod part;
mod predict;
mod profile;
mod random;
#[cfg(test)]
mod reference;
mod replay;
mod schedule;
mod search;
mod tape;
mod train;
mod views;
mod watch;
mod weights;
mod window;

pub use checkpoint::{Best, Saved, State};
pub use config::Config;
pub use device::{Device, DeviceChoice};
pub use error::LearnError;
pub use loader::Samples;
pub use measure::{StepTime, measure_loading, measure_steps, measure_stream, outputs_and_gradients, peak_device_bytes};
pub use memory::{check_memory, choose_batch_size};
pub use predict::{Classifier, Made};
pub use schedule::Plateau;
pub use train::{Outcome, Sink, Task, check_classes, train};
pub use views::Views;
pub use weights::Weights;

/// What the functions of this crate return.
pub type Result<T, E = LearnError> = std::result::Result<T, E>;
