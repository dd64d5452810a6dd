//! Importing a source into a dataset, and looking at it again.
//!
//! Lists the source, hashes new and changed files, then matches files to samples by contents
//! ([`assay_domain::matching`]). It can be killed after any step: samples that move do so in one transaction, and the
//! next import repairs the rest.

mod archive;
mod look;
#[cfg(test)]
mod tests;
mod told;

use crate::jobs::Done;
use crate::{Engine, EngineError, Result, merge};
use archive::Place;
use assay_domain::entity::{Dataset, Job, JobKind, Problem, ProblemKind, Progress};
use assay_domain::matching::{Found, Known, Match, match_files};
use assay_domain::split::{Fractions, Stratum, assign};
use assay_domain::{ClassId, DatasetId, JobId, Label, Labelling, RunStatus, SampleId, Split, counted};
use assay_formats::{Entry, path_of_text, place_text};
use assay_protocol::ImportRequest;
use assay_store::{Followed, Hash, Listing, NewSample, SplitBy};
pub(crate) use look::is_as_known;
use look::{Seen, look};
use rayon::prelude::*;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use told::{Told, contradictions, spoken};

/// Files read between progress reports.
const ROUND: usize = 512;
/// Samples written per transaction.
const WRITTEN: usize = 2048;

impl Engine {
    /// Queues the import of images from a folder, archive or CSV, of the runs that another program logged, or of what another
    /// workspace has. A dataset of the source, or of the name, is brought up to date, else made.
    pub fn start_import(&self, request: &ImportRequest) -> Result<Job> {
        let given = path_of_text(request.source.trim());
        if request.source.trim().is_empty() {
            return Err(EngineError::Invalid("an import needs the path of a folder, archive or CSV".into()));
        }
        let source = real_path(&given)?;
        if let Some(root) = merge::workspace_to_merge(&source) {
            if request.name.is_some() || request.val.is_some() || request.test.is_some() || request.seed.is_some() {
                let message =
                    "a workspace is taken over as it is: leave out the name, the shares of the splits and the seed";
                return Err(EngineError::Invalid(message.into()));
            }
            return self.queue(JobKind::Merge { source: place_text(&root) });
        }
        if let Some(job) = self.start_import_of_logs(&source, request)? {
            return Ok(job);
        }
        if !assay_formats::holds_images(&source) {
            return Err(assay_formats::FormatError::Unknown(source).into());
        }
        let target = self.target_of_import(&given, &source, request.name.as_deref())?;
        self.queue_import(target, &source, request)
    }

    /// Queues the import of a source into a dataset, which is made under this name if there is none.
    pub(crate) fn queue_import(
        &self,
        (dataset, name): (Option<DatasetId>, String),
        source: &Path,
        request: &ImportRequest,
    ) -> Result<Job> {
        let defaults = Fractions::default();
        Fractions::new(request.val.unwrap_or(defaults.val), request.test.unwrap_or(defaults.test))
            .map_err(|why| EngineError::Invalid(why.to_string()))?;
        self.queue(JobKind::Import {
            dataset,
            name,
            source: place_text(source),
            val: request.val,
            test: request.test,
            seed: request.seed,
            labelling: request.labelling,
            relocate: false,
        })
    }

    /// Queues the search for a dataset's files in the place its source moved to.
    pub fn relocate(&self, dataset: DatasetId, source: &str) -> Result<Job> {
        let found = self.dataset(dataset)?;
        let source = real_path(&path_of_text(source.trim()))?;
        self.queue(JobKind::Import {
            dataset: Some(dataset),
            name: found.name,
            source: place_text(&source),
            val: None,
            test: None,
            seed: None,
            labelling: found.labelling,
            relocate: true,
        })
    }

    /// The name of the dataset to import into: the one asked for, else that of the dataset with this source, else the
    /// source's own.
    fn target_of_import(
        &self,
        given: &Path,
        source: &Path,
        asked: Option<&str>,
    ) -> Result<(Option<DatasetId>, String)> {
        let datasets = self.datasets()?;
        let same = |dataset: &&Dataset| self.is_source_of(dataset, source);
        let asked = asked.map(str::trim).filter(|name| !name.is_empty());
        let name = match (asked, datasets.iter().find(same)) {
            (Some(name), _) => name.to_owned(),
            (None, Some(dataset)) => return Ok((Some(dataset.id), dataset.name.clone())),
            (None, None) => own_name(given, source),
        };
        match datasets.iter().find(|dataset| dataset.name == name) {
            Some(dataset) if !same(&dataset) => Err(EngineError::Conflict(format!(
                "there is a dataset named {name:?} already, from another source ({}): give this one another name (--name), \
                 or say that the source was moved: assay data relocate {name:?} {:?}",
                dataset.origin(),
                source.display().to_string()
            ))),
            found => Ok((found.map(|dataset| dataset.id), name)),
        }
    }

    /// Whether a dataset was imported from here. Old datasets do not record their archive.
    fn is_source_of(&self, dataset: &Dataset, source: &Path) -> bool {
        is_same_place(&path_of_text(dataset.origin()), source)
            || (dataset.archive.is_none() && path_of_text(&dataset.source) == self.place_of_archive(source))
    }

    pub(crate) fn import(&self, job: JobId, work: &JobKind, stop: &AtomicBool) -> Result<Done> {
        let JobKind::Import { dataset, name, source, val, test, seed, labelling, relocate } = work else {
            return Err(EngineError::Internal("BUG: another job than an import".into()));
        };
        let source = &path_of_text(source);
        let known = match dataset {
            Some(dataset) => Some(self.dataset(*dataset)?),
            None => self.datasets()?.into_iter().find(|dataset| dataset.name == *name),
        };
        if known.as_ref().is_some_and(|dataset| dataset.removed.is_some()) {
            return Err(EngineError::Conflict(format!("dataset {name:?} was removed meanwhile: restore it first")));
        }
        if let Some(dataset) = &known
            && !relocate
            && !self.is_source_of(dataset, source)
        {
            return Err(EngineError::Conflict(format!("dataset {name:?} has another source: {}", dataset.origin())));
        }
        let place = match relocate {
            true => Place::New,
            false => Place::Own,
        };
        let mut files = self.files_of_source(job, known.as_ref(), source, place)?;
        let wanted = match (&known, labelling) {
            (Some(dataset), Labelling::OneClass) => dataset.labelling,
            _ => *labelling,
        };
        self.tell(job, Progress::default(), "looking for files")?;
        let listing = assay_formats::read(&files.folder, wanted)?;
        let left_out = std::mem::take(&mut files.left_out).into_iter().chain(listing.problems);
        let taken: HashSet<&str> = listing.entries.iter().map(|entry| entry.path.as_str()).collect();
        let problem = |(path, reason): (String, String)| {
            let is_taken = taken.contains(path.as_str());
            let kind = if is_taken { ProblemKind::Contradicted } else { ProblemKind::LeftOut };
            Problem { path, kind, reason }
        };
        let problems = left_out.map(problem).collect();
        let mut import = Import {
            engine: self,
            job,
            name,
            files: (place_text(&files.folder), files.archive.clone()),
            relocates: *relocate,
            splits: HashMap::new(),
            rule: (seed.unwrap_or(0), *val, *test),
            labelling: listing.labelling,
            dataset: known.as_ref().map(|dataset| dataset.id),
            problems,
            told: Told { notes: listing.note.into_iter().collect(), ..Told::default() },
        };
        if known.is_some() && !relocate && (val.is_some() || test.is_some() || seed.is_some()) {
            import.told.notes.push("the shares and the seed of the splits stay those of the first import".into());
        }
        if let Some(dataset) = known.as_ref().filter(|dataset| dataset.labelling != listing.labelling) {
            let (id, labelling) = (dataset.id, listing.labelling);
            self.store.write(move |tx| tx.set_labelling(id, labelling))?;
            import.told.notes.push("an image may have several classes".into());
        }
        let listings = match import.dataset {
            Some(dataset) => self.store.read(|reader| reader.listings(dataset))?,
            None => Vec::new(),
        };
        let Some(seen) = import.look_at(listing.entries, &listings, stop)? else {
            return Ok(if self.jobs.is_closing() { Done::Requeue } else { Done::Stopped });
        };
        if *relocate {
            import.move_to_new_place(&seen, &listings)?;
            files.keep(self, known.as_ref());
        } else if let Some(dataset) = known.filter(|dataset| dataset.archive != import.files.1) {
            let (source, archive) = import.files.clone();
            self.store.write(move |tx| tx.relocate_dataset(dataset.id, &source, archive.as_deref()))?;
        }
        import.finish(seen, &listings)
    }

    pub(crate) fn tell(&self, job: JobId, progress: Progress, message: &str) -> Result<()> {
        let message = message.to_owned();
        Ok(self.store.write(move |tx| tx.update_job(job, RunStatus::Running, progress, &message))?)
    }
}

/// A running import.
struct Import<'a> {
    engine: &'a Engine,
    job: JobId,
    name: &'a str,
    /// The folder or CSV that paths start from, and the archive it came from.
    files: (String, Option<String>),
    /// Whether the dataset's files were somewhere else before.
    relocates: bool,
    /// The splits of contents that are known, by hash.
    splits: HashMap<String, Split>,
    /// For a new dataset: split seed, validation and test fractions.
    rule: (u64, Option<f64>, Option<f64>),
    labelling: Labelling,
    dataset: Option<DatasetId>,
    problems: Vec<Problem>,
    told: Told,
}

impl Import<'_> {
    /// Inspects every file. A first import stores samples on the way, so that they show early; a later one must know
    /// all files before it can match them. `None` if stopped.
    fn look_at(&mut self, entries: Vec<Entry>, known: &[Listing], stop: &AtomicBool) -> Result<Option<Vec<Seen>>> {
        let mut by_path: HashMap<&str, &Listing> = HashMap::new();
        for listing in known {
            let place = by_path.entry(&listing.file.path).or_insert(listing);
            if place.is_missing {
                *place = listing;
            }
        }
        let total = entries.len() as u64;
        let (mut all, mut done) = (Vec::new(), 0);
        for round in entries.chunks(ROUND) {
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let looked: Vec<Result<Seen, Problem>> = round
                .par_iter()
                .map(|entry| look(entry, by_path.get(entry.path.as_str()).map(|listing| &listing.file)))
                .collect();
            let mut seen = Vec::with_capacity(looked.len());
            for result in looked {
                match result {
                    Ok(file) => seen.push(file),
                    Err(problem) => self.problems.push(problem),
                }
            }
            match known.is_empty() {
                true => self.add(seen)?,
                false => all.extend(seen),
            }
            done += round.len() as u64;
            self.engine.tell(self.job, Progress { done, total }, "reading images")?;
        }
        Ok(Some(all))
    }

    /// The dataset, created with its first sample.
    fn dataset(&mut self) -> Result<DatasetId> {
        if let Some(dataset) = self.dataset {
            return Ok(dataset);
        }
        let (name, (source, archive)) = (self.name.to_owned(), self.files.clone());
        let (seed, val, test) = self.rule;
        let defaults = Fractions::default();
        let fractions = Fractions::new(val.unwrap_or(defaults.val), test.unwrap_or(defaults.test))
            .map_err(|why| EngineError::Invalid(why.to_string()))?;
        let labelling = self.labelling;
        let dataset = self.engine.store.write(move |tx| {
            let dataset = tx.create_dataset(&name, (&source, archive.as_deref()), seed, fractions)?;
            if labelling == Labelling::AnyClasses {
                tx.set_labelling(dataset, labelling)?;
            }
            Ok(dataset)
        })?;
        self.dataset = Some(dataset);
        Ok(dataset)
    }

    /// Stores new samples. `splits` gives the split of known contents.
    fn add(&mut self, seen: Vec<Seen>) -> Result<()> {
        if seen.is_empty() {
            return Ok(());
        }
        let dataset = self.dataset()?;
        let classes = self.classes_of(dataset, &seen)?;
        self.told.new += seen.len();
        let samples = self.with_splits(dataset, seen, &classes)?;
        for sample in &samples {
            self.splits.entry(sample.file.hash.clone()).or_insert(sample.split);
        }
        for samples in samples.chunks(WRITTEN) {
            let samples = samples.to_vec();
            self.engine.store.write(move |tx| tx.put_samples(dataset, &samples).map(|_| ()))?;
        }
        Ok(())
    }

    /// Changes the source's path; an error if no file is a known image.
    fn move_to_new_place(&mut self, seen: &[Seen], known: &[Listing]) -> Result<()> {
        let hashes: HashSet<&str> = known.iter().map(|listing| listing.file.hash.as_str()).collect();
        if !seen.iter().any(|seen| hashes.contains(seen.file.hash.as_str())) {
            return Err(EngineError::Conflict(format!(
                "none of the {} of {:?} is there, by its contents: import it as another dataset, or name the folder that was \
                 moved: {}",
                counted(known.len() as u64, "image"),
                self.name,
                self.files.0
            )));
        }
        let (dataset, (source, archive)) = (self.dataset()?, self.files.clone());
        self.engine.store.write(move |tx| tx.relocate_dataset(dataset, &source, archive.as_deref()))?;
        Ok(())
    }

    /// Matches files to samples and stores the result.
    fn finish(mut self, seen: Vec<Seen>, known: &[Listing]) -> Result<Done> {
        let is_empty_now = seen.is_empty() && !known.is_empty();
        if let Some(dataset) = self.dataset.filter(|_| !known.is_empty()) {
            self.bring_up_to_date(dataset, seen, known)?;
        }
        let Some(dataset) = self.dataset else { return Err(self.nothing_found()) };
        let schema = self.engine.dataset(dataset)?.classes;
        let copies = self.engine.store.read(|reader| reader.copies(dataset))?;
        self.problems.extend(contradictions(&copies, &schema));
        let problems = std::mem::take(&mut self.problems);
        let stored = problems.clone();
        self.engine.store.write(move |tx| tx.set_problems(dataset, &stored))?;
        if let Err(error) = self.engine.watch_dataset(dataset) {
            tracing::warn!(%error, "the folder is not watched");
        }
        let found = self.engine.dataset(dataset)?;
        if is_empty_now {
            return Err(EngineError::NotFound(format!(
                "no image of {:?} is there any more; all are marked missing and come back when they are found: {}",
                found.name,
                found.origin()
            )));
        }
        Ok(Done::Finished(self.told.sentence(&found, &problems)))
    }

    fn nothing_found(&self) -> EngineError {
        let place = self.files.1.as_ref().unwrap_or(&self.files.0);
        let reasons: Vec<String> =
            self.problems.iter().take(3).map(|problem| format!("{}: {}", problem.path, problem.reason)).collect();
        let mut left_out = match self.problems.len() {
            0 => "there is no file that could be one".to_owned(),
            count => format!("{} left out ({})", counted(count as u64, "file"), reasons.join("; ")),
        };
        for note in &self.told.notes {
            left_out += &format!("; {note}");
        }
        EngineError::Invalid(format!(
            "no image was found (JPEG, PNG, WebP, GIF, BMP or TIFF), nor a run of TensorBoard, W&B or MLflow, nor a table of \
             metrics: {left_out}: {place}"
        ))
    }

    fn bring_up_to_date(&mut self, dataset: DatasetId, seen: Vec<Seen>, known: &[Listing]) -> Result<()> {
        let samples: Vec<Known<'_>> = known
            .iter()
            .map(|listing| Known {
                path: &listing.file.path,
                hash: &listing.file.hash,
                labelled_hash: listing.changed_from.as_deref(),
                is_missing: listing.is_missing,
            })
            .collect();
        let found: Vec<Found<'_>> =
            seen.iter().map(|seen| Found { path: &seen.file.path, hash: &seen.file.hash }).collect();
        let mut matches = match_files(&samples, &found);
        if self.relocates {
            forget_edits_elsewhere(&mut matches);
        }

        // A file that is there and cannot be taken is no missing one: it may be half written.
        let unusable = self.problems.iter().filter(|problem| problem.kind == ProblemKind::LeftOut);
        let unusable: HashSet<&str> = unusable.map(|problem| problem.path.as_str()).collect();
        let folder = Engine::source_folder(&self.files.0);
        let is_unusable = |path: &str| unusable.contains(path) && folder.join(path_of_text(path)).exists();
        let present: HashSet<usize> = matches.iter().flatten().map(|(index, _)| *index).collect();
        let is_gone = |index: &usize| {
            !present.contains(index) && !known[*index].is_missing && !is_unusable(&known[*index].file.path)
        };
        let gone: Vec<SampleId> = (0..known.len()).filter(is_gone).map(|index| known[index].id).collect();
        self.told.missing = gone.len();
        let mut moved = Vec::new();
        let mut placed = Vec::new();
        for (seen, (index, how)) in seen.iter().zip(&matches).filter_map(|(seen, found)| Some((seen, (*found)?))) {
            let listing = &known[index];
            let has_moved = seen.file.path != listing.file.path;
            match how {
                Match::Edited => self.told.changed += 1,
                _ if listing.is_missing || how == Match::Returned => self.told.returned += 1,
                _ => self.told.moved += usize::from(has_moved),
            }
            moved.extend((has_moved && !listing.is_missing).then_some(listing.id));
            if seen.file != listing.file || listing.is_missing || how == Match::Returned {
                placed.push((listing.id, seen.file.clone(), how));
            }
        }
        // In one transaction, so that nobody sees those that move as missing.
        if !gone.is_empty() || !placed.is_empty() {
            self.engine.store.write(move |tx| {
                tx.mark_missing(dataset, &[gone, moved].concat())?;
                placed.iter().try_for_each(|(sample, file, how)| tx.place_sample(*sample, file, *how))
            })?;
        }
        self.follow_source(dataset, &seen, known, &matches)?;

        self.splits = known.iter().map(|listing| (listing.file.hash.clone(), listing.split)).collect();
        let new = seen.into_iter().zip(&matches).filter_map(|(seen, found)| found.is_none().then_some(seen));
        self.add(new.collect())
    }

    /// Takes labels and splits from the source, unless a person chose others.
    fn follow_source(
        &mut self,
        dataset: DatasetId,
        seen: &[Seen],
        known: &[Listing],
        matches: &[Option<(usize, Match)>],
    ) -> Result<()> {
        let classes = self.classes_of(dataset, seen)?;
        let labels: HashMap<SampleId, Option<Label>> = self
            .engine
            .store
            .read(|reader| reader.all_samples(dataset))?
            .into_iter()
            .map(|of| (of.id, of.label))
            .collect();
        let labels_of_source = self.engine.store.read(|reader| reader.labelled_by_import(dataset))?;
        let (mut relabelled, mut resplit) = (Vec::new(), Vec::new());
        for (seen, matched) in seen.iter().zip(matches) {
            let Some((index, _)) = matched else { continue };
            let listing = &known[*index];
            let label = label_of(seen, &classes);
            let own = labels.get(&listing.id).cloned().flatten();
            // A place that says nothing takes no labels away.
            if self.relocates && label.is_none() {
                continue;
            }
            if label != own && (label.is_some() || labels_of_source.contains(&listing.id)) {
                relabelled.push((listing.id, seen.file.path.clone(), label));
            }
            resplit.extend(seen.split.filter(|split| *split != listing.split).map(|split| (listing.id, split)));
        }
        for splits in resplit.chunks(WRITTEN) {
            let splits = splits.to_vec();
            self.engine
                .store
                .write(move |tx| splits.iter().try_for_each(|(sample, split)| tx.follow_split(*sample, *split)))?;
        }
        let schema = self.engine.dataset(dataset)?.classes;
        for labels in relabelled.chunks(WRITTEN) {
            let given = labels.to_vec();
            let followed = self.engine.store.write(move |tx| {
                let follow =
                    |(sample, _, label): (SampleId, String, Option<Label>)| tx.follow_label(dataset, sample, label);
                given.into_iter().map(follow).collect::<assay_store::Result<Vec<Followed>>>()
            })?;
            for ((_, path, label), followed) in labels.iter().zip(followed) {
                match followed {
                    Followed::Same => {}
                    Followed::Taken => self.told.relabelled += 1,
                    Followed::Kept(own) => self.problems.push(Problem {
                        path: path.clone(),
                        kind: ProblemKind::LabelDiffers,
                        reason: format!(
                            "the source says {}, a person {}: the person's label stays",
                            spoken(label.as_ref(), &schema),
                            spoken(own.as_ref(), &schema)
                        ),
                    }),
                }
            }
        }
        Ok(())
    }

    /// Makes sure of the classes, in natural order: numbers by value, then names.
    fn classes_of(&self, dataset: DatasetId, seen: &[Seen]) -> Result<HashMap<String, ClassId>> {
        let names: BTreeSet<&String> = seen.iter().filter_map(|seen| seen.label.as_ref()).flatten().collect();
        let mut names: Vec<String> = names.into_iter().cloned().collect();
        names.sort_by_cached_key(|name| (name.parse::<u64>().unwrap_or(u64::MAX), name.clone()));
        let given = names.clone();
        let ids = self.engine.store.write(move |tx| tx.ensure_classes(dataset, &given))?;
        Ok(names.into_iter().zip(ids).collect())
    }

    fn with_splits(
        &self,
        dataset: DatasetId,
        seen: Vec<Seen>,
        classes: &HashMap<String, ClassId>,
    ) -> Result<Vec<NewSample>> {
        let store = &self.engine.store;
        let (seed, fractions) = store.read(|reader| reader.split_rule(dataset))?;
        let mut counts = store.read(|reader| reader.split_counts(dataset))?;
        // Equal contents share a split, so that nothing that is tested on is learned from.
        let mut by_hash: HashMap<&str, Split> = HashMap::new();
        let mut waiting: Vec<(Vec<Stratum>, [u8; 32])> = Vec::new();
        let mut waiting_hashes: Vec<&str> = Vec::new();
        let mut is_waiting: HashSet<&str> = HashSet::new();
        for seen in &seen {
            let hash = seen.file.hash.as_str();
            let decided = seen.split.or_else(|| self.splits.get(hash).copied());
            match decided {
                Some(split) => {
                    by_hash.insert(hash, split);
                }
                None if !by_hash.contains_key(hash) && is_waiting.insert(hash) => {
                    waiting.push((Stratum::of(label_of(seen, classes).as_ref()), Hash::parse(hash)?.bytes()));
                    waiting_hashes.push(hash);
                }
                None => {}
            }
        }
        let splits = assign(&waiting, &mut counts, fractions, seed);
        for (hash, split) in waiting_hashes.into_iter().zip(splits) {
            by_hash.entry(hash).or_insert(split);
        }
        let sample = |seen: &Seen| NewSample {
            split: seen.split.or_else(|| by_hash.get(seen.file.hash.as_str()).copied()).unwrap_or(Split::Train),
            split_by: if seen.split.is_some() { SplitBy::Source } else { SplitBy::Draw },
            label: label_of(seen, classes),
            file: seen.file.clone(),
        };
        Ok(seen.iter().map(sample).collect())
    }
}

/// At another place a file of the same path with other contents is another image, unless most files are those that are
/// looked for: then a few were edited on the way.
fn forget_edits_elsewhere(matches: &mut [Option<(usize, Match)>]) {
    let is_edit = |found: &Option<(usize, Match)>| matches!(found, Some((_, Match::Edited)));
    let edits = matches.iter().filter(|found| is_edit(found)).count();
    let same = matches.iter().flatten().count() - edits;
    if edits > same {
        matches.iter_mut().filter(|found| is_edit(found)).for_each(|found| *found = None);
    }
}

fn label_of(seen: &Seen, classes: &HashMap<String, ClassId>) -> Option<Label> {
    Some(seen.label.as_ref()?.iter().filter_map(|name| classes.get(name).copied()).collect())
}

/// The canonical path.
fn real_path(given: &Path) -> Result<PathBuf> {
    match given.canonicalize() {
        Ok(path) => Ok(path),
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => {
            Err(assay_formats::FormatError::Missing(given.to_owned()).into())
        }
        Err(why) => Err(EngineError::Invalid(format!("{why}: {}", given.display()))),
    }
}

fn is_same_place(one: &Path, other: &Path) -> bool {
    one == other || matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

const ENDINGS: [&str; 13] = [
    ".tar.gz", ".tgz", ".tar", ".zip", ".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".wandb", ".db", ".sqlite",
    ".sqlite3",
];

/// The name of a source without its ending: as given, unless that is e.g. `..`.
pub(crate) fn own_name(given: &Path, source: &Path) -> String {
    let name = given.file_name().or(source.file_name());
    let name = name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_else(|| "dataset".into());
    let lower = name.to_lowercase();
    let ending = ENDINGS.into_iter().find(|ending| lower.ends_with(ending));
    match ending {
        Some(ending) if source.is_file() => name[..name.len() - ending.len()].to_owned(),
        _ => name,
    }
}
