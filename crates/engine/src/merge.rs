//! Taking over what another workspace has.

use crate::{Engine, EngineError, Result};
use assay_domain::entity::{Dataset, Snapshot};
use assay_domain::{DatasetId, RunId, SnapshotId};
use assay_protocol::MergeReply;
use assay_store::{Hash, Holder, Other, StoreError};
use std::collections::HashMap;
use std::path::Path;

impl Engine {
    /// Takes over the runs, datasets, labels and models of the workspace folder `root` that are not here. It stays as it is.
    ///
    /// # Errors
    /// Where a process has that workspace, its format is older, or what its runs share is damaged. What was taken over until
    /// then stays, and is known when it is tried again.
    pub fn merge(&self, root: &Path) -> Result<MergeReply> {
        if !root.is_absolute() {
            return Err(EngineError::Invalid(format!("name the workspace by its whole path, not {}", root.display())));
        }
        let holder = Holder { process: std::process::id(), command: self.command.join(" ") };
        let other = self.store.attach(root, &holder)?;
        let mut reply = MergeReply::default();
        let experiments = self.store.write(|tx| tx.merge_experiments())?;
        let (datasets, snapshots) = self.merge_datasets(&other, &mut reply)?;
        let runs = self.store.write(|tx| tx.runs_to_merge())?;
        reply.known = runs.known;
        for run in runs.working {
            reply.working.push(name_of(&other, run)?);
        }
        for run in runs.new {
            let _held = self.store.blobs().hold();
            let files = self.store.write(move |tx| tx.files_of_other_run(run))?;
            if let Some(why) = self.lacks(&other, &files)? {
                reply.damaged.push(format!("{}: {why}", name_of(&other, run)?));
                continue;
            }
            let (datasets, snapshots) = (datasets.clone(), snapshots.clone());
            self.store.write(move |tx| tx.merge_run(run, &datasets, &snapshots))?;
            reply.runs += 1;
        }
        let _held = self.store.blobs().hold();
        let files = self.store.write(|tx| tx.files_of_other_models())?;
        if let Some(why) = self.lacks(&other, &files)? {
            reply.damaged.push(format!("the models: {why}"));
            return Ok(reply);
        }
        (reply.models, reply.known_models) = self.store.write(move |tx| tx.merge_models(&experiments))?;
        Ok(reply)
    }

    fn merge_datasets(
        &self,
        other: &Other<'_>,
        reply: &mut MergeReply,
    ) -> Result<(HashMap<DatasetId, DatasetId>, HashMap<SnapshotId, Snapshot>)> {
        let (mut datasets, mut snapshots) = (HashMap::new(), HashMap::new());
        for theirs in other.read.read(|reader| reader.datasets())? {
            let source = self.take_images(other, &theirs)?;
            let merged = self.store.write(move |tx| tx.merge_dataset(theirs.id, &source))?;
            datasets.insert(theirs.id, merged.id);
            reply.datasets.extend(merged.is_new.then_some(merged.name));
            reply.edits += merged.edits.edits;
            reply.differing += merged.edits.differing;
            // Oldest first, as they were made.
            for snapshot in other.read.read(|reader| reader.snapshots(theirs.id))?.iter().rev() {
                let ours = self.store.take_over_snapshot(&other.read, snapshot, merged.id, &merged.samples)?;
                snapshots.insert(snapshot.id, ours);
            }
        }
        Ok((datasets, snapshots))
    }

    /// Where a dataset's images are: those of an archive lie in the other workspace, and are copied unless the dataset is here.
    fn take_images(&self, other: &Other<'_>, dataset: &Dataset) -> Result<String> {
        let source = Path::new(&dataset.source);
        let unpacked = source.parent().is_some_and(|parent| parent.ends_with("imports"));
        let folder = source.file_name().filter(|_| unpacked).map(|name| other.read.root().join("imports").join(name));
        let is_here = |found: &Dataset| found.created == dataset.created;
        match folder.filter(|folder| folder.is_dir()) {
            Some(folder) if !self.datasets()?.iter().any(is_here) => {
                let name = Hash::of(format!("{} {}", dataset.source, dataset.created.0).as_bytes());
                Ok(self.store.take_import(&folder, &name.as_str()[..16])?.display().to_string())
            }
            _ => Ok(dataset.source.clone()),
        }
    }

    /// Copies files of the other workspace; what it lacks of them.
    fn lacks(&self, other: &Other<'_>, hashes: &[String]) -> Result<Option<String>> {
        match self.store.take_blobs(other.read.blobs(), hashes) {
            Ok(missing) => Ok(missing.map(|hash| format!("its file {hash} is missing"))),
            Err(error @ StoreError::Damaged(_)) => Ok(Some(error.to_string())),
            Err(error) => Err(error.into()),
        }
    }
}

fn name_of(other: &Other<'_>, run: RunId) -> Result<String> {
    Ok(other.read.read(|reader| reader.run(run, assay_domain::Timestamp(0)))?.name)
}
