//! Taking over what another workspace has.

use crate::{Engine, EngineError, Result};
use assay_domain::entity::{Dataset, Snapshot};
use assay_domain::{DatasetId, RunId, SnapshotId};
use assay_protocol::MergeReply;
use assay_store::{Hash, Holder, Other, StoreError, WriteTx};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
        (reply.known, reply.went_on) = (runs.known, runs.went_on);
        let (datasets, snapshots) = (Arc::new(datasets), Arc::new(snapshots));
        for run in runs.new {
            let files = self.store.write(move |tx| tx.files_of_other_run(run))?;
            let (datasets, snapshots) = (datasets.clone(), snapshots.clone());
            let merged = self.with_files(&other, &files, move |tx| tx.merge_run(run, &datasets, &snapshots))?;
            match merged {
                Ok(_) => reply.runs += 1,
                Err(why) => reply.damaged.push(format!("{}: {why}", name_of(&other, run)?)),
            }
        }
        let files = self.store.write(|tx| tx.files_of_other_models())?;
        match self.with_files(&other, &files, move |tx| tx.merge_models(&experiments))? {
            Ok(models) => (reply.models, reply.known_models) = models,
            Err(why) => reply.damaged.push(format!("the models: {why}")),
        }
        Ok(reply)
    }

    /// Copies files of the other workspace, and writes what names them; what it lacks of them, where it does.
    fn with_files<T: Send + 'static>(
        &self,
        other: &Other<'_>,
        hashes: &[String],
        write: impl FnOnce(&mut WriteTx<'_>) -> assay_store::Result<T> + Send + 'static,
    ) -> Result<std::result::Result<T, String>> {
        if let Some(why) = self.lacks(other, hashes)? {
            return Ok(Err(why));
        }
        // Copying took its time, while others freed what has no name. Nobody does from here on; the second look is short.
        let _held = self.store.blobs().hold();
        Ok(match self.lacks(other, hashes)? {
            Some(why) => Err(why),
            None => Ok(self.store.write(write)?),
        })
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
                match self.store.take_over_snapshot(&other.read, snapshot, merged.id, &merged.samples) {
                    Ok(ours) => drop(snapshots.insert(snapshot.id, ours)),
                    // The runs come without it.
                    Err(why @ (StoreError::Damaged(_) | StoreError::Io { .. } | StoreError::Unreadable { .. })) => {
                        reply.damaged.push(format!("a snapshot of {}: {why}", theirs.name));
                    }
                    Err(why) => return Err(why.into()),
                }
            }
        }
        Ok((datasets, snapshots))
    }

    /// Where a dataset's images are: those of an archive lie in the other workspace, and are copied.
    fn take_images(&self, other: &Other<'_>, dataset: &Dataset) -> Result<String> {
        let source = Path::new(&dataset.source);
        let unpacked = source.parent().is_some_and(|parent| parent.ends_with("imports"));
        let folder = source.file_name().filter(|_| unpacked).map(|name| other.read.root().join("imports").join(name));
        let Some(folder) = folder.filter(|folder| folder.is_dir()) else { return Ok(dataset.source.clone()) };
        // Where the dataset is here, its images go to those that it has.
        let here = self.datasets()?.into_iter().find(|found| found.created == dataset.created);
        let here = here.map(|found| PathBuf::from(found.source));
        let name = match &here {
            Some(source) if source.parent().is_some_and(|parent| parent == self.store.root().join("imports")) => {
                source.file_name().unwrap_or_default().to_string_lossy().into_owned()
            }
            Some(_) => return Ok(dataset.source.clone()),
            None => Hash::of(format!("{} {}", dataset.source, dataset.created.0).as_bytes()).as_str()[..16].to_owned(),
        };
        Ok(self.store.take_import(&folder, &name)?.display().to_string())
    }

    /// Copies files of the other workspace; what it lacks of them.
    fn lacks(&self, other: &Other<'_>, hashes: &[String]) -> Result<Option<String>> {
        match self.store.take_blobs(other.read.blobs(), hashes) {
            Ok(missing) => Ok(missing.map(|hash| format!("its file {hash} is missing"))),
            Err(error @ (StoreError::Damaged(_) | StoreError::Io { .. })) => Ok(Some(error.to_string())),
            Err(error) => Err(error.into()),
        }
    }
}

fn name_of(other: &Other<'_>, run: RunId) -> Result<String> {
    Ok(other.read.read(|reader| reader.run(run, assay_domain::Timestamp(0)))?.name)
}
