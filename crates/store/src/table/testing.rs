//! A store for the tests of the tables.

use crate::{ClientRun, Holder, Store};
use assay_domain::{ExperimentId, RunId, Timestamp};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// An empty store in a folder, and a run that a client made in it.
pub(super) fn store_with_run(folder: &Path) -> (Store, RunId) {
    let holder = Holder { process: 1, command: "test".into() };
    let store = Store::open(&folder.join(".assay"), &holder, Arc::new(|| Timestamp(1)), |_| {}).unwrap();
    let new = ClientRun {
        uid: "0".repeat(32),
        experiment: ExperimentId(0),
        name: "a".into(),
        client: "test".into(),
        user: None,
        started: None,
        tags: BTreeMap::new(),
    };
    let run = store.write(move |tx| tx.create_client_run(&new)).unwrap();
    (store, run)
}
