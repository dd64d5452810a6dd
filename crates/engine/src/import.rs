//! Importing a source into a dataset, and looking at it again.

use crate::jobs::Done;
use crate::{Engine, EngineError, Result, merge};
use assay_domain::entity::{Job, JobKind, Problem, Progress};
use assay_domain::split::{Fractions, Stratum, assign};
use assay_domain::{ClassId, DatasetId, JobId, Label, Labelling, RunStatus, Split, counted};
use assay_formats::Entry;
use assay_protocol::ImportRequest;
use assay_store::{Hash, Listing, NewSample};
use rayon::prelude::*;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::UNIX_EPOCH;

/// Files that are looked at before the progress is told and the samples are stored.
const ROUND: usize = 512;

impl Engine {
    /// Queues the import of images from a folder, archive or CSV, of the runs that another program logged, or of what another
    /// workspace has. A dataset of the name is brought up to date, else made.
    pub fn start_import(&self, request: &ImportRequest) -> Result<Job> {
        let given = PathBuf::from(request.source.trim());
        if request.source.trim().is_empty() {
            return Err(EngineError::Invalid("an import needs the path of a folder, archive or CSV".into()));
        }
        let source =
            std::path::absolute(&given).map_err(|why| EngineError::Invalid(format!("{why}: {}", given.display())))?;
        if !source.exists() {
            return Err(assay_formats::FormatError::Missing(source).into());
        }
        if let Some(root) = merge::workspace_to_merge(&source) {
            if request.name.is_some() || request.val.is_some() || request.test.is_some() || request.seed.is_some() {
                let message =
                    "a workspace is taken over as it is: leave out the name, the shares of the splits and the seed";
                return Err(EngineError::Invalid(message.into()));
            }
            return self.queue(JobKind::Merge { source: root.display().to_string() });
        }
        if let Some(job) = self.start_import_of_logs(&source, request)? {
            return Ok(job);
        }
        if !source.is_dir()
            && !assay_formats::is_archive(&source)
            && source.extension().is_none_or(|ending| !ending.eq_ignore_ascii_case("csv"))
        {
            return Err(assay_formats::FormatError::Unknown(source).into());
        }
        let name = match request.name.as_deref().map(str::trim) {
            Some(name) if !name.is_empty() => name.to_owned(),
            _ => own_name(&source),
        };
        let defaults = Fractions::default();
        let fractions = Fractions::new(request.val.unwrap_or(defaults.val), request.test.unwrap_or(defaults.test))
            .map_err(|why| EngineError::Invalid(why.to_string()))?;
        let folder = self.place_of(&source).display().to_string();
        let existing = self.store.read(|reader| reader.datasets())?.into_iter().find(|dataset| dataset.name == name);
        let dataset = match existing {
            Some(dataset) if dataset.source != folder => {
                return Err(EngineError::Conflict(format!(
                    "there is a dataset named {name:?} already, from another source ({}): give this one another name",
                    dataset.source
                )));
            }
            Some(dataset) => dataset.id,
            None => {
                let (name, seed) = (name.clone(), request.seed.unwrap_or(0));
                self.store.write(move |tx| tx.create_dataset(&name, &folder, seed, fractions))?
            }
        };
        if request.labelling == Labelling::AnyClasses {
            self.store.write(move |tx| tx.set_labelling(dataset, Labelling::AnyClasses))?;
        }
        self.queue(JobKind::Import { name, source: source.display().to_string() })
    }

    /// Where the files of a source lie: archives are unpacked into the workspace.
    fn place_of(&self, source: &Path) -> PathBuf {
        if !assay_formats::is_archive(source) {
            return source.to_owned();
        }
        let key = Hash::of(source.to_string_lossy().as_bytes());
        self.store.root().join("imports").join(&key.as_str()[..16])
    }

    pub(crate) fn import(&self, job: JobId, name: &str, source: &str, stop: &AtomicBool) -> Result<Done> {
        let source = Path::new(source);
        let dataset = self.store.read(|reader| reader.find_dataset(name))?;
        let folder = self.place_of(source);
        let mut left_out = Vec::new();
        if folder != source {
            self.tell(job, Progress::default(), "unpacking")?;
            left_out = assay_formats::unpack(source, &folder)?;
        }
        self.tell(job, Progress::default(), "looking for files")?;
        let own = self.store.read(|reader| reader.dataset(dataset))?.labelling;
        let listing = assay_formats::read(&folder, own)?;
        let mut problems: Vec<Problem> =
            left_out.into_iter().chain(listing.problems).map(|(path, reason)| Problem { path, reason }).collect();
        let mut notes = listing.note.map(|note| format!("; {note}")).unwrap_or_default();
        if listing.labelling != own {
            self.store.write(move |tx| tx.set_labelling(dataset, Labelling::AnyClasses))?;
            notes.push_str("; an image may have several classes");
        }
        let classes = self.classes_of(dataset, &listing.entries)?;
        let known = Known::new(self.store.read(|reader| reader.listings(dataset))?);
        let total = listing.entries.len() as u64;
        let (mut done, mut new, mut changed) = (0, 0, 0);
        for round in listing.entries.chunks(ROUND) {
            if stop.load(Ordering::Relaxed) {
                return Ok(if self.jobs.is_closing() { Done::Requeue } else { Done::Stopped });
            }
            let looked: Vec<Result<Option<Seen>, Problem>> =
                round.par_iter().map(|entry| look(entry, &known)).collect();
            let mut seen = Vec::new();
            for result in looked {
                match result {
                    Ok(found) => seen.extend(found),
                    Err(problem) => problems.push(problem),
                }
            }
            let (moved, kept): (Vec<Seen>, Vec<Seen>) =
                seen.into_iter().partition(|seen| known.moved_from(&folder, seen).is_some());
            for seen in moved {
                if let Some(listing) = known.moved_from(&folder, &seen) {
                    let (sample, path) = (listing.id, seen.path.clone());
                    self.store.write(move |tx| tx.move_sample(sample, &path))?;
                    changed += 1;
                }
            }
            let samples = self.with_splits(dataset, kept, &classes, &known)?;
            let fresh = samples.iter().filter(|sample| !known.by_path.contains_key(&sample.path)).count();
            new += fresh;
            changed += samples.len() - fresh;
            if !samples.is_empty() {
                self.store.write(move |tx| tx.put_samples(dataset, &samples).map(|_| ()))?;
            }
            done += round.len() as u64;
            self.tell(job, Progress { done, total }, "reading images")?;
        }
        let left_out = problems.len();
        self.store.write(move |tx| tx.set_problems(dataset, &problems))?;
        if let Err(error) = self.watch_dataset(dataset) {
            tracing::warn!(%error, "the folder is not watched");
        }
        let images = counted(self.store.read(|reader| reader.dataset(dataset))?.samples, "image");
        Ok(Done::Finished(format!("{new} new, {changed} changed, {left_out} left out; {name} has {images}{notes}")))
    }

    pub(crate) fn tell(&self, job: JobId, progress: Progress, message: &str) -> Result<()> {
        let message = message.to_owned();
        Ok(self.store.write(move |tx| tx.update_job(job, RunStatus::Running, progress, &message))?)
    }

    /// Makes sure of the classes, in natural order: numbers by value, then names.
    fn classes_of(&self, dataset: DatasetId, entries: &[Entry]) -> Result<HashMap<String, ClassId>> {
        let mut names: Vec<String> = entries.iter().filter_map(|entry| entry.label.clone()).flatten().collect();
        names.sort_by_cached_key(|name| (name.parse::<u64>().unwrap_or(u64::MAX), name.clone()));
        names.dedup();
        let given = names.clone();
        let ids = self.store.write(move |tx| tx.ensure_classes(dataset, &given))?;
        Ok(names.into_iter().zip(ids).collect())
    }

    fn with_splits(
        &self,
        dataset: DatasetId,
        seen: Vec<Seen>,
        classes: &HashMap<String, ClassId>,
        known: &Known,
    ) -> Result<Vec<NewSample>> {
        let (seed, fractions) = self.store.read(|reader| reader.split_rule(dataset))?;
        let mut counts = self.store.read(|reader| reader.split_counts(dataset))?;
        let label_of = |seen: &Seen| -> Option<Label> {
            Some(seen.label.as_ref()?.iter().filter_map(|name| classes.get(name).copied()).collect())
        };
        // Equal contents share a split, so that nothing that is tested on is learned from.
        let mut by_hash: HashMap<&str, Split> = HashMap::new();
        let mut waiting: Vec<(Vec<Stratum>, [u8; 32])> = Vec::new();
        let mut waiting_hashes: Vec<&str> = Vec::new();
        for seen in &seen {
            let decided = seen.split.or_else(|| known.by_hash.get(&seen.hash).map(|listing| listing.split));
            match decided {
                Some(split) => {
                    by_hash.insert(&seen.hash, split);
                }
                None if !by_hash.contains_key(seen.hash.as_str()) && !waiting_hashes.contains(&seen.hash.as_str()) => {
                    waiting.push((Stratum::of(label_of(seen).as_ref()), seen.digest));
                    waiting_hashes.push(&seen.hash);
                }
                None => {}
            }
        }
        let splits = assign(&waiting, &mut counts, fractions, seed);
        by_hash.extend(waiting_hashes.into_iter().zip(splits));
        let sample = |seen: &Seen| NewSample {
            path: seen.path.clone(),
            hash: seen.hash.clone(),
            bytes: seen.bytes,
            modified_ms: seen.modified_ms,
            width: seen.width,
            height: seen.height,
            split: seen.split.or_else(|| by_hash.get(seen.hash.as_str()).copied()).unwrap_or(Split::Train),
            label: label_of(seen),
        };
        Ok(seen.iter().map(sample).collect())
    }
}

/// A file that was looked at and is new or changed.
struct Seen {
    path: String,
    hash: String,
    digest: [u8; 32],
    bytes: u64,
    modified_ms: i64,
    width: u32,
    height: u32,
    label: Option<Vec<String>>,
    split: Option<Split>,
}

/// What the dataset holds already.
struct Known {
    by_path: HashMap<String, Listing>,
    by_hash: HashMap<String, Listing>,
}

impl Known {
    fn new(listings: Vec<Listing>) -> Known {
        let by_hash = listings.iter().map(|listing| (listing.hash.clone(), listing.clone())).collect();
        Known { by_path: listings.into_iter().map(|listing| (listing.path.clone(), listing)).collect(), by_hash }
    }

    /// The sample that this file was before it was moved: same contents, and nothing at the old path any more.
    fn moved_from(&self, folder: &Path, seen: &Seen) -> Option<&Listing> {
        let listing = self.by_hash.get(&seen.hash)?;
        let moved = !self.by_path.contains_key(&seen.path)
            && !Engine::source_folder(&folder.to_string_lossy()).join(&listing.path).exists();
        moved.then_some(listing)
    }
}

/// Looks at a file; nothing when it is as it was.
fn look(entry: &Entry, known: &Known) -> Result<Option<Seen>, Problem> {
    let problem = |reason: String| Problem { path: entry.path.clone(), reason };
    let facts = std::fs::metadata(&entry.file).map_err(|why| problem(format!("cannot be opened: {why}")))?;
    let modified = facts.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let modified_ms = modified.map_or(0, |since| since.as_millis() as i64);
    if known.by_path.get(&entry.path).is_some_and(|old| old.bytes == facts.len() && old.modified_ms == modified_ms) {
        return Ok(None);
    }
    let bytes = std::fs::read(&entry.file).map_err(|why| problem(format!("cannot be read: {why}")))?;
    let seen = assay_media::inspect(&bytes).map_err(|why| problem(why.to_string()))?;
    let digest = *blake3::hash(&bytes).as_bytes();
    Ok(Some(Seen {
        path: entry.path.clone(),
        hash: blake3::Hash::from_bytes(digest).to_hex().to_string(),
        digest,
        bytes: bytes.len() as u64,
        modified_ms,
        width: seen.width,
        height: seen.height,
        label: entry.label.clone(),
        split: entry.split,
    }))
}

const ENDINGS: [&str; 12] =
    [".tar.gz", ".tgz", ".tar", ".zip", ".csv", ".json", ".jsonl", ".ndjson", ".wandb", ".db", ".sqlite", ".sqlite3"];

/// The name of a source without its ending.
pub(crate) fn own_name(source: &Path) -> String {
    let name = source.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_else(|| "dataset".into());
    let lower = name.to_lowercase();
    let ending = ENDINGS.into_iter().find(|ending| lower.ends_with(ending));
    match ending {
        Some(ending) if source.is_file() => name[..name.len() - ending.len()].to_owned(),
        _ => name,
    }
}
