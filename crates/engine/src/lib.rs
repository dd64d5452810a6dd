//! One function per use case; jobs and their queue; file watching; events.
//!
//! It knows no HTTP and draws nothing. Start with [`Engine`]: its methods are the use cases, each in the file of its
//! subject.

mod acceptance;
mod alarm;
mod alerts;
mod card;
mod chart;
mod compare;
mod config_file;
mod datasets;
mod decoded;
mod doctor;
mod engine;
mod error;
mod evaluate;
mod experiments;
mod export_labels;
mod follow;
mod images;
mod import;
mod jobs;
mod merge;
mod metrics;
mod models;
mod names;
mod paths;
mod presence;
mod profile;
mod quantize;
mod record;
mod registry;
mod retention;
mod runs;
mod settings;
mod sources;
#[cfg(test)]
mod testing;
mod tracking;
mod training;
mod watch;
mod weights;

pub use acceptance::{check_model, junit};
pub use assay_formats::{ImageFiles, images_in, path_of_text, path_text, place_text};
pub use assay_store::{
    Archive, ClientRun, ClientRunChange, Clock, FOLDER, NewBlob, NewVersion, RunHead, RunSearch, StoreError,
};
pub use config_file::read_config;
pub use engine::{Engine, Options, Work};
pub use error::EngineError;
pub use registry::Relations;
pub use tracking::{Batch, ListedFile, NOTE, RUN_NAME};

/// What the use cases return.
pub type Result<T, E = EngineError> = std::result::Result<T, E>;
