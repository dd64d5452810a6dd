//! The workspace on disk: one SQLite database with one writer, metric columns, and blobs named by their hash.
//!
//! It runs nothing and draws nothing; it never makes a reader wait for a writer or a writer for a reader. Start with
//! [`Store`]; each table's migration, rows and functions stand in one file of `table/`.

mod blob;
mod error;
mod lock;
mod merge;
mod migrate;
mod mlflow_db;
mod points;
mod reader;
mod retention;
mod store;
mod table;
mod writer;

pub use blob::{Blobs, Hash, NewBlob};
pub use error::StoreError;
pub use lock::Holder;
pub use merge::{Gain, MergedDataset, Other, OtherRuns};
pub use mlflow_db::{MlflowDb, MlflowRun};
pub use reader::Reader;
pub use retention::DeletedRun;
pub use store::{Clock, Store};
pub use table::alert::DueAlert;
pub use table::client_run::{ClientRun, ClientRunChange};
pub use table::evaluation::{Embedding, Neighbour, PredictionFilter, PredictionOrder};
pub use table::history::HistoryPoint;
pub use table::label::EditsTaken;
pub use table::logged::RunModel;
pub use table::registry::{Archive, NewVersion};
pub use table::run::{Among, NewRun, RunHead, RunKeys};
pub use table::run_list::{RunOrder, RunPage, RunQuery};
pub use table::sample::{Copy, FileFacts, Followed, Listing, NewSample, SampleFilter, SplitBy};
pub use table::search::RunSearch;
pub use table::series::SeriesRange;
pub use table::source::{FileMark, Source, Taken};
pub use writer::WriteTx;

/// The folder name of a workspace.
pub const FOLDER: &str = ".assay";

/// What the store's functions return.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;
