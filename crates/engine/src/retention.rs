//! Freeing what nobody needs any more, and copying a workspace while it is in use.

use crate::{Engine, EngineError, Result};
use assay_domain::RunStatus;
use assay_domain::entity::{Job, JobKind};
use assay_protocol::{BackupReply, GcReply};
use std::path::Path;

/// Blobs are freed in as many pieces, so that writers do not wait long.
const PIECE: usize = 256;

impl Engine {
    /// Frees the room of deleted runs and experiments, which cannot be restored then, and of files that nothing refers to. A dry
    /// run only says what there is.
    pub fn collect_garbage(&self, is_dry: bool) -> Result<GcReply> {
        let runs = self.store.read(|reader| reader.deleted_runs())?;
        let files = self.store.read(|reader| reader.files_of_deleted())?;
        let mut reply = GcReply {
            is_dry,
            runs: runs.iter().map(|run| format!("{} {}", run.id, run.name)).collect(),
            files: files.len() as u64,
            bytes: files.iter().sum(),
        };
        // The figures are of what is found; what is restored meanwhile stays.
        for run in runs.iter().filter(|_| !is_dry) {
            let id = run.id;
            let hashes = self.store.write(move |tx| tx.purge_run(id))?;
            self.store.free(hashes)?;
        }
        let unreferred = self.store.unreferred(self.now())?;
        for piece in unreferred.chunks(PIECE) {
            reply.files += piece.len() as u64;
            reply.bytes += piece.iter().map(|(_, bytes)| bytes).sum::<u64>();
            if !is_dry {
                self.store.free(piece.iter().map(|(hash, _)| hash.clone()).collect())?;
            }
        }
        if !is_dry {
            self.store.write(|tx| tx.purge_experiments())?;
            let before = self.database_bytes();
            self.store.compact()?;
            reply.bytes += before.saturating_sub(self.database_bytes());
        }
        Ok(reply)
    }

    fn database_bytes(&self) -> u64 {
        std::fs::metadata(self.store.root().join("assay.db")).map_or(0, |found| found.len())
    }

    /// Copies the workspace, as it is at one moment, to a folder that is to be one.
    pub fn back_up(&self, root: &Path) -> Result<BackupReply> {
        if !root.is_absolute() {
            return Err(EngineError::Invalid(format!("a backup needs a whole path, not {}", root.display())));
        }
        if root.starts_with(self.store.root()) {
            return Err(EngineError::Invalid("a backup cannot be within the workspace itself".into()));
        }
        let is_unpacking = |job: &Job| job.status == RunStatus::Running && matches!(job.work, JobKind::Import { .. });
        if self.jobs()?.iter().any(is_unpacking) {
            return Err(EngineError::Conflict("images are being imported: back up when that has ended".into()));
        }
        let (files, bytes) = self.store.copy_to(root)?;
        Ok(BackupReply { root: root.display().to_string(), files, bytes })
    }
}
