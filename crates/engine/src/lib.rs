//! One function per use case; jobs and their queue; file watching; events.
//!
//! It knows no HTTP and draws nothing. Start with [`Engine`]: its methods are the use cases, each in the file of its
//! subject.

mod chart;
mod compare;
mod datasets;
mod decoded;
mod doctor;
mod engine;
mod error;
mod evaluate;
mod images;
mod import;
mod jobs;
mod models;
mod paths;
mod record;
mod runs;
mod settings;
mod training;
mod watch;

pub use assay_store::{Clock, StoreError};
pub use engine::{Engine, Options, Work};
pub use error::EngineError;

/// What the use cases return.
pub type Result<T, E = EngineError> = std::result::Result<T, E>;
