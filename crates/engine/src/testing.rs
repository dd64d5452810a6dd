//! A workspace for the tests of this crate.

use crate::Engine;
use crate::engine::{Options, Work};
use assay_domain::Timestamp;
use std::path::Path;
use std::sync::Arc;

/// Opens a workspace at this root, with a clock that stands still.
pub(crate) fn open_engine(root: &Path) -> Arc<Engine> {
    let options = Options {
        root: root.to_owned(),
        clock: Arc::new(|| Timestamp(1_700_000_000_000)),
        uid: Arc::new(|| "0".repeat(32)),
        command: vec!["tests".into()],
        work: Work::Own,
    };
    Engine::open(options).expect("the workspace opens")
}
