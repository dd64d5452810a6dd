//! Taking over what another workspace has.

use crate::jobs::{Done, GoesOn};
use crate::{Engine, EngineError, Result};
use assay_domain::entity::{Dataset, Progress, Snapshot};
use assay_domain::{DatasetId, JobId, RunId, SnapshotId};
use assay_formats::{path_of_text, place_text};
use assay_protocol::MergeReply;
use assay_store::{FOLDER, Gain, Hash, Holder, Other, StoreError, WriteTx};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

impl Engine {
    /// Takes over the runs, datasets, labels and models of the workspace that is this folder, or lies in it, that are not here,
    /// and what its other runs gained there since. It stays as it is.
    ///
    /// # Errors
    /// Where a process has that workspace, its format is older, or what its runs share is damaged. What was taken over until
    /// then stays, and is known when it is tried again.
    pub fn merge(&self, folder: &Path) -> Result<MergeReply> {
        if !folder.is_absolute() {
            return Err(EngineError::Invalid(format!(
                "name the workspace by its whole path, not {}",
                folder.display()
            )));
        }
        let merged = self.merge_while(&workspace_of(folder).unwrap_or_else(|| folder.to_owned()), &mut |_| Ok(true))?;
        Ok(merged.unwrap_or_default())
    }

    pub(crate) fn merge_for(&self, job: JobId, root: &Path, stop: &AtomicBool) -> Result<Done> {
        let merged = self.merge_while(root, &mut self.goes_on(job, "taking over what is there", stop))?;
        Ok(self.done(merged.map(|reply| reply.lines().join("; "))))
    }

    /// Nothing is returned where it was not to go on; it does when it is begun again.
    fn merge_while(&self, root: &Path, goes_on: &mut GoesOn<'_>) -> Result<Option<MergeReply>> {
        let holder = Holder { process: std::process::id(), command: self.command.join(" ") };
        let other = self.store.attach(root, &holder)?;
        let mut reply = MergeReply::default();
        let experiments = self.store.write(|tx| tx.merge_experiments())?;
        let (datasets, snapshots) = self.merge_datasets(&other, &mut reply)?;
        let (datasets, snapshots) = (Arc::new(datasets), Arc::new(snapshots));
        let seen = snapshots.clone();
        let runs = self.store.write(move |tx| tx.runs_to_merge(&seen))?;
        (reply.known, reply.parted) = (runs.known, runs.parted);
        let total = (runs.new.len() + runs.gained.len()) as u64;
        let mut done = 0..;
        let mut goes_on = || goes_on(Progress { done: done.next().unwrap_or(total), total });
        for run in runs.new {
            if !goes_on()? {
                return Ok(None);
            }
            let files = self.store.write(move |tx| tx.files_of_other_run(run))?;
            let (datasets, snapshots) = (datasets.clone(), snapshots.clone());
            let merged = self.with_files(&other, &files, move |tx| tx.merge_run(run, &datasets, &snapshots))?;
            match merged {
                Ok(_) => reply.runs += 1,
                Err(why) => reply.damaged.push(format!("{}: {why}", name_of(&other, run)?)),
            }
        }
        for (theirs, ours) in runs.gained {
            if !goes_on()? {
                return Ok(None);
            }
            let files = self.store.write(move |tx| tx.files_of_other_run(theirs))?;
            let snapshots = snapshots.clone();
            match self.with_files(&other, &files, move |tx| tx.extend_run(theirs, ours, &snapshots))? {
                Ok(Gain::More | Gain::Longer) => reply.gained += 1,
                Ok(Gain::Nothing) => {}
                // It was logged to here meanwhile.
                Ok(Gain::Parted) => reply.parted.push(name_of(&other, theirs)?),
                Err(why) => reply.damaged.push(format!("{}: {why}", name_of(&other, theirs)?)),
            }
        }
        let files = self.store.write(|tx| tx.files_of_other_models())?;
        match self.with_files(&other, &files, move |tx| tx.merge_models(&experiments))? {
            Ok(models) => (reply.models, reply.known_models) = models,
            Err(why) => reply.damaged.push(format!("the models: {why}")),
        }
        Ok(Some(reply))
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
            reply.removed += merged.edits.removed;
            reply.kept += merged.edits.kept;
            reply.splits += merged.edits.splits;
            reply.differing_splits += merged.edits.differing_splits;
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
        let source = &path_of_text(&dataset.source);
        let unpacked = source.parent().is_some_and(|parent| parent.ends_with("imports"));
        let folder = source.file_name().filter(|_| unpacked).map(|name| other.read.root().join("imports").join(name));
        let Some(folder) = folder.filter(|folder| folder.is_dir()) else { return Ok(dataset.source.clone()) };
        // Where the dataset is here, its images go to those that it has.
        let here = self.datasets()?.into_iter().find(|found| found.created == dataset.created);
        let here = here.map(|found| path_of_text(&found.source));
        let name = match &here {
            Some(source) if source.parent().is_some_and(|parent| parent == self.store.root().join("imports")) => {
                source.file_name().unwrap_or_default().to_string_lossy().into_owned()
            }
            Some(_) => return Ok(dataset.source.clone()),
            None => Hash::of(format!("{} {}", dataset.source, dataset.created.0).as_bytes()).as_str()[..16].to_owned(),
        };
        Ok(place_text(&self.store.take_import(&folder, &name)?))
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

/// The workspace that a folder is, or that lies in it.
fn workspace_of(folder: &Path) -> Option<PathBuf> {
    [folder.to_owned(), folder.join(FOLDER)].into_iter().find(|root| root.join("assay.db").is_file())
}

/// The workspace that is meant by a folder that may hold images or runs: one that shows nothing else.
pub(crate) fn workspace_to_merge(folder: &Path) -> Option<PathBuf> {
    let root = workspace_of(folder)?;
    let shows = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.is_ok_and(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
    };
    let is_bare = || folder.read_dir().is_ok_and(|mut entries| !entries.any(shows));
    (root == folder || is_bare()).then_some(root)
}

fn name_of(other: &Other<'_>, run: RunId) -> Result<String> {
    Ok(other.read.read(|reader| reader.run(run, assay_domain::Timestamp(0)))?.name)
}
