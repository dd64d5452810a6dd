//! The record of a run, put together before its first step.

use crate::{Engine, Result};
use assay_domain::RunId;
use assay_domain::record::Record;
use assay_probe::{CodeFiles, Limits};
use assay_protocol::ClientCommand;
use std::path::PathBuf;

/// A process as the record knows it.
pub(crate) struct Process {
    pub(crate) arguments: Vec<String>,
    pub(crate) directory: PathBuf,
}

impl Engine {
    /// Command, environment and code as they are when a run is asked for; data, config and machine are added when it
    /// starts.
    pub(crate) fn begin_record(&self, client: Option<ClientCommand>) -> (Record, CodeFiles) {
        let process = match client {
            Some(client) => Process { arguments: client.arguments, directory: client.directory.into() },
            None => self.facts_of_this_process(),
        };
        let state = assay_probe::code(&process.directory, Limits::default());
        let program = format!("assay {}", env!("CARGO_PKG_VERSION"));
        let build = format!(
            "{}, {}-{}",
            if cfg!(debug_assertions) { "debug" } else { "release" },
            std::env::consts::ARCH,
            std::env::consts::OS
        );
        let environment =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let command = assay_probe::command(process.arguments, &process.directory, environment, &program, &build);
        (Record { code: state.code, command, ..Record::default() }, state.files)
    }

    /// Keeps the files of a record as artifacts of the run.
    pub(crate) fn keep_code_files(&self, run: RunId, files: CodeFiles) -> Result<()> {
        let _held = self.store.blobs().hold();
        let mut stored = Vec::with_capacity(files.len());
        for (path, contents) in files {
            stored.push((path, self.store.blobs().put(&contents)?, contents.len() as u64));
        }
        if !stored.is_empty() {
            self.store.write(move |tx| {
                stored.iter().try_for_each(|(path, hash, bytes)| tx.put_artifact(run, path, hash, *bytes).map(|_| ()))
            })?;
        }
        Ok(())
    }
}
