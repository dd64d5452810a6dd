//! Runs that other programs log: experiments, runs, points and files, as clients of MLflow ask for them.

use crate::{Engine, EngineError, Result};
use assay_domain::entity::{Artifact, Experiment, Run};
use assay_domain::registry::ModelMetric;
use assay_domain::{Best, ExperimentId, Point, RunId};
use assay_store::{ClientRun, ClientRunChange, Hash, NewBlob, RunHead, RunSearch, StoreError, WriteTx};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What a client logs at once.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Points by key.
    pub points: Vec<(String, Point)>,
    /// Params, which never change.
    pub params: Vec<(String, String)>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Figures of logged models.
    pub of_models: Vec<(String, ModelMetric)>,
}

/// A file or folder of a client.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedFile {
    /// Its name in its folder.
    pub name: String,
    /// Its size; none of a folder.
    pub bytes: Option<u64>,
}

impl Engine {
    /// Makes an experiment.
    pub fn create_experiment(
        &self,
        name: String,
        location: Option<String>,
        tags: BTreeMap<String, String>,
    ) -> Result<ExperimentId> {
        Ok(self.store.write(move |tx| tx.create_experiment(&name, location.as_deref(), &tags))?)
    }

    /// One experiment, deleted or not.
    pub fn experiment(&self, experiment: ExperimentId) -> Result<Experiment> {
        self.store.read(|reader| reader.experiment(experiment)).map_err(|error| match error {
            StoreError::NotFound { .. } => EngineError::NotFound(format!("No Experiment with id={experiment} exists")),
            other => other.into(),
        })
    }

    /// Renames an experiment.
    pub fn rename_experiment(&self, experiment: ExperimentId, name: String) -> Result<()> {
        Ok(self.store.write(move |tx| tx.rename_experiment(experiment, &name))?)
    }

    /// Deletes an experiment with its runs.
    pub fn delete_experiment(&self, experiment: ExperimentId) -> Result<()> {
        Ok(self.store.write(move |tx| tx.delete_experiment(experiment))?)
    }

    /// Brings an experiment back with the runs that were deleted with it.
    pub fn restore_experiment(&self, experiment: ExperimentId) -> Result<()> {
        Ok(self.store.write(move |tx| tx.restore_experiment(experiment))?)
    }

    /// Sets a tag of an experiment, or removes it; returns whether there was one.
    pub fn tag_experiment(&self, experiment: ExperimentId, key: String, value: Option<String>) -> Result<bool> {
        Ok(self.store.write(move |tx| tx.set_experiment_tag(experiment, &key, value.as_deref()))?)
    }

    /// Creates a run of another program; without a name it gets one made from its uid.
    pub fn create_client_run(&self, new: ClientRun) -> Result<Run> {
        check_tags(&new.tags)?;
        let uid = (self.uid)();
        let name = if new.name.trim().is_empty() { made_up_name(&uid) } else { new.name };
        let (tags, new) = (new.tags, ClientRun { uid, name, tags: BTreeMap::new(), ..new });
        let run = self.store.write(move |tx| {
            let run = tx.create_client_run(&new)?;
            put_tags(tx, run, tags)?;
            Ok(run)
        })?;
        self.run(run)
    }

    /// The run of this uid, deleted or not.
    pub fn run_by_uid(&self, uid: &str) -> Result<Run> {
        let now = (self.clock)();
        let run = self.run_head(uid)?.id;
        Ok(self.store.read(|reader| reader.run(run, now))?)
    }

    /// What a request needs to know of the run of this uid, deleted or not.
    pub fn run_head(&self, uid: &str) -> Result<RunHead> {
        self.store.read(|reader| reader.run_by_uid(uid)).map_err(|error| match error {
            StoreError::NotFound { .. } => EngineError::NotFound(format!("Run with id={uid} not found")),
            other => other.into(),
        })
    }

    /// The number of the run of this uid, which must not be deleted.
    pub fn active_run(&self, uid: &str) -> Result<RunId> {
        let run = self.run_head(uid)?;
        match run.is_deleted {
            false => Ok(run.id),
            true => Err(EngineError::Invalid(format!(
                "The run {uid} must be in the 'active' state. Current state is deleted."
            ))),
        }
    }

    /// Changes what a client says of its run; an empty name changes nothing.
    pub fn change_client_run(&self, run: RunId, change: ClientRunChange) -> Result<Run> {
        let name = change.name.filter(|name| !name.trim().is_empty());
        let change = ClientRunChange { name, ..change };
        self.store.write(move |tx| tx.change_client_run(run, &change))?;
        self.run(run)
    }

    /// Logs a batch: all of it or nothing.
    pub fn log_batch(&self, run: RunId, batch: Batch) -> Result<()> {
        check_tags(&batch.tags)?;
        Ok(self.store.write(move |tx| {
            if !batch.points.is_empty() {
                tx.append_points(run, &batch.points)?;
            }
            if !batch.params.is_empty() {
                tx.add_params(run, &batch.params)?;
            }
            put_tags(tx, run, batch.tags)?;
            tx.put_model_metrics(&batch.of_models)
        })?)
    }

    /// Removes a tag of a run.
    pub fn remove_tag(&self, run: RunId, key: String) -> Result<()> {
        let sought = key.clone();
        let removed = self.store.write(move |tx| match sought.as_str() {
            // The run keeps its name; only clients no longer see the tag.
            RUN_NAME => tx.hide_name(run),
            NOTE => tx.set_note(run, "").map(|()| true),
            key => tx.set_tag(run, key, None),
        })?;
        match removed {
            true => Ok(()),
            false => {
                let uid = self.run(run)?.uid;
                Err(EngineError::NotFound(format!("No tag with name: {key} in run with id {uid}")))
            }
        }
    }

    /// A page of the runs that match, and whether there are more.
    pub fn search_runs(&self, search: &RunSearch) -> Result<(Vec<Run>, bool)> {
        let now = (self.clock)();
        self.store.read(|reader| reader.search_runs(search, now)).map_err(|error| match error {
            StoreError::Conflict(why) => EngineError::Invalid(why),
            other => other.into(),
        })
    }

    /// At most so many points of a metric after the first `offset` that were logged, by wall time, step and value.
    pub fn history(&self, run: RunId, key: &str, offset: usize, limit: usize) -> Result<Vec<Point>> {
        let mut points = self.store.read(|reader| reader.points_page(run, key, offset, limit))?;
        points.sort_by(|a, b| (a.wall_ms, a.step).cmp(&(b.wall_ms, b.step)).then_with(|| a.value.total_cmp(&b.value)));
        Ok(points)
    }

    /// A file that will be a client's, to be written piece by piece.
    pub fn begin_file(&self) -> Result<NewBlob> {
        Ok(self.store.blobs().begin()?)
    }

    /// Keeps a file at a path of a client's: with its run where the path is of one.
    pub fn keep_file(&self, path: &str, blob: NewBlob) -> Result<()> {
        let place = self.writable_place(path)?;
        if matches!(&place, Place::OfRun(_, path) if path.is_empty()) {
            return Err(EngineError::Invalid("Invalid path".into()));
        }
        blob.sync()?;
        let replaced = self.store.write(move |tx| {
            let (own, other) = match &place {
                Place::OfRun(run, path) => (path, tx.in_the_way_of_artifact(run.id, path)?),
                Place::Loose(path) => (path, tx.in_the_way_of_client_file(path)?),
            };
            if let Some(other) = other {
                let why = format!("Invalid path: {own:?} cannot be a file where {other:?} is one; choose another name");
                return Err(StoreError::Conflict(why));
            }
            // Within the write, so that equal contents are not freed before they have their name.
            let (hash, bytes) = blob.finish()?;
            match place {
                Place::OfRun(run, path) => tx.put_artifact(run.id, &path, &hash, bytes),
                Place::Loose(path) => tx.put_client_file(&path, &hash, bytes),
            }
        })?;
        Ok(self.store.free(replaced.into_iter().collect())?)
    }

    /// Where a file of a client's lies.
    pub fn kept_file(&self, path: &str) -> Result<(PathBuf, u64)> {
        let found: Artifact = match self.place_of_file(path)? {
            Place::OfRun(run, path) => self.store.read(|reader| reader.artifact(run.id, &path))?,
            Place::Loose(path) => self.store.read(|reader| reader.client_file(&path))?,
        };
        Ok((self.store.blobs().path(&Hash::parse(&found.hash)?), found.bytes))
    }

    /// The files and folders in a folder of a client's; of a file, nothing.
    pub fn list_files(&self, path: &str) -> Result<Vec<ListedFile>> {
        let (files, folder) = match self.place_of_file(path)? {
            Place::OfRun(run, path) => (self.store.read(|reader| reader.artifacts(run.id))?, path),
            Place::Loose(path) => (self.store.read(|reader| reader.client_files(&path))?, path),
        };
        let mut listed: BTreeMap<String, Option<u64>> = BTreeMap::new();
        for file in files {
            let below = match folder.as_str() {
                "" => Some(file.path.as_str()),
                folder => file.path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/')),
            };
            match below.map(|below| below.split_once('/')) {
                Some(Some((folder, _))) => drop(listed.insert(folder.to_owned(), None)),
                Some(None) => drop(listed.insert(below.unwrap_or_default().to_owned(), Some(file.bytes))),
                None => {}
            }
        }
        Ok(listed.into_iter().map(|(name, bytes)| ListedFile { name, bytes }).collect())
    }

    /// Removes a file, or a folder with all that is in it.
    pub fn remove_files(&self, path: &str) -> Result<()> {
        let place = self.writable_place(path)?;
        let removed = self.store.write(move |tx| match place {
            Place::OfRun(run, path) => tx.remove_artifacts(run.id, &path),
            Place::Loose(path) => tx.remove_client_files(&path),
        })?;
        Ok(self.store.free(removed)?)
    }

    /// The place of a file that a client may write or remove: neither all files at once, nor among what Assay itself keeps
    /// of its runs.
    fn writable_place(&self, path: &str) -> Result<Place> {
        let place = self.place_of_file(path)?;
        match &place {
            Place::Loose(path) if path.is_empty() => Err(EngineError::Invalid("Invalid path".into())),
            Place::OfRun(run, _) if !run.is_of_client => {
                Err(EngineError::Invalid(format!("the files of run {} are Assay's own and are not changed", run.id)))
            }
            _ => Ok(place),
        }
    }

    /// `EXPERIMENT/UID/artifacts/PATH` is a path of a run, anything else a client's own.
    fn place_of_file(&self, path: &str) -> Result<Place> {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        if parts.contains(&"..") || path.contains(['\\', '\0']) || path.starts_with('/') {
            return Err(EngineError::Invalid("Invalid path".into()));
        }
        if let [_, uid, "artifacts", rest @ ..] = parts.as_slice() {
            match self.store.read(|reader| reader.run_by_uid(uid)) {
                Ok(run) => return Ok(Place::OfRun(run, rest.join("/"))),
                Err(StoreError::NotFound { .. }) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Ok(Place::Loose(parts.join("/")))
    }
}

/// A default name: two words and a number from the uid, easier to say than digits.
fn made_up_name(uid: &str) -> String {
    const FIRST: [&str; 16] = [
        "bold", "bright", "calm", "capable", "clean", "gentle", "nimble", "orderly", "peaceful", "polite", "rare",
        "silent", "sincere", "useful", "valuable", "wise",
    ];
    const SECOND: [&str; 16] = [
        "birch", "brook", "cedar", "cliff", "dune", "field", "fjord", "harbor", "island", "lake", "meadow", "mountain",
        "reef", "river", "valley", "willow",
    ];
    let number = u32::from_str_radix(uid.get(..8).unwrap_or_default(), 16).unwrap_or_default();
    let (first, second) = (FIRST[(number % 16) as usize], SECOND[(number / 16 % 16) as usize]);
    format!("{first}-{second}-{}", number / 256 % 1000)
}

/// The tag that clients read and write a run's name in.
pub const RUN_NAME: &str = "mlflow.runName";
/// The tag that clients read and write a run's note in.
pub const NOTE: &str = "mlflow.note.content";

/// Refuses tags that declare a metric's direction with an unknown word.
fn check_tags(tags: &BTreeMap<String, String>) -> Result<()> {
    match tags.iter().find_map(|(key, value)| Best::fault_of_tag(key, value)) {
        Some(fault) => Err(EngineError::Invalid(fault)),
        None => Ok(()),
    }
}

/// Sets the tags of a client's, of which two are no tags here. An empty name is ignored: a run always has one.
fn put_tags(tx: &mut WriteTx<'_>, run: RunId, mut tags: BTreeMap<String, String>) -> Result<(), StoreError> {
    if let Some(name) = tags.remove(RUN_NAME).filter(|name| !name.trim().is_empty()) {
        tx.rename_run(run, &name)?;
    }
    if let Some(note) = tags.remove(NOTE) {
        tx.set_note(run, &note)?;
    }
    if tags.is_empty() { Ok(()) } else { tx.put_tags(run, &tags) }
}

/// Where a file of a client's is kept.
enum Place {
    OfRun(RunHead, String),
    Loose(String),
}
