//! Runs that other programs logged to files: read once, and read on when more is written.

mod database;
mod found;
mod reading;

use crate::import::own_name;
use crate::jobs::{Done, GoesOn};
use crate::{Engine, EngineError, Result};
use assay_domain::entity::{Dataset, Job, JobKind, Progress};
use assay_domain::{JobId, SourceId, counted};
use assay_formats::logs::{self, LogFile, Mark, Named};
use assay_formats::{FormatError, path_of_text, place_text};
use assay_protocol::{ImportRequest, LogSource};
use assay_store::{FileMark, MlflowDb, Source};
use found::{Found, listed};
use reading::{File, Files, Reading, Round, looks};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// What was read is committed when it is about as many things.
const ROUND: usize = 100_000;

/// As many files of a run are held open at most.
const FILES: usize = 64;

/// The lock of reading, with what is known of the files of all sources, once they were needed.
#[derive(Default)]
pub(crate) struct Sources(Mutex<Option<Files>>);

impl Engine {
    /// Queues the import of a source's runs, and of datasets apart from them; `None` if it has no runs or is a dataset
    /// already.
    pub(crate) fn start_import_of_logs(&self, source: &Path, request: &ImportRequest) -> Result<Option<Job>> {
        if source.is_file() {
            let has_runs = !logs::find(source).is_empty();
            return has_runs.then(|| self.start_import_of_runs(source, request)).transpose();
        }
        let is_dataset =
            |dataset: &Dataset| path_of_text(dataset.origin()).canonicalize().is_ok_and(|place| place == source);
        if self.datasets()?.iter().any(is_dataset) {
            return Ok(None);
        }
        let found = logs::survey(source);
        if !found.has_runs {
            return Ok(None);
        }
        for dataset in found.datasets {
            let beside = ImportRequest { source: place_text(&dataset), ..ImportRequest::default() };
            if let Err(error) = self.start_import(&beside) {
                tracing::warn!(%error, path = beside.source, "the images beside runs are not imported");
            }
        }
        self.start_import_of_runs(source, request).map(Some)
    }

    /// Describes other contents of the source's folder.
    fn told_beside(&self, path: &str) -> Result<String> {
        let found = logs::survey(&path_of_text(path));
        let datasets = self.datasets()?;
        let mut told = String::new();
        for folder in &found.datasets {
            let name =
                datasets.iter().find(|dataset| path_of_text(dataset.origin()) == *folder).map(|dataset| &dataset.name);
            told.push_str(&match name {
                Some(name) => format!("; the images in {} are the dataset {name}", folder.display()),
                None => format!("; the images in {} were left out: import that folder by itself", folder.display()),
            });
        }
        if found.images > 0 && found.datasets.is_empty() {
            told.push_str(&format!("; {} beside the logs left out, as no dataset", counted(found.images, "image")));
        }
        if found.others > 0 {
            let more = if found.others > found.other_names.len() as u64 { ", ..." } else { "" };
            let others = counted(found.others, "other file");
            told.push_str(&format!("; {others} left out ({}{more})", found.other_names.join(", ")));
        }
        Ok(told)
    }

    /// Queues the reading of the runs below a folder or in a file, which is followed from then on.
    pub(crate) fn start_import_of_runs(&self, source: &Path, request: &ImportRequest) -> Result<Job> {
        // However it is written, a source is one.
        let path = place_text(&source.canonicalize().unwrap_or_else(|_| source.to_owned()));
        let experiment = match request.name.as_deref().map(str::trim) {
            Some(name) if !name.is_empty() => name.to_owned(),
            _ => own_name(source, source),
        };
        if source.is_file() && logs::find(source).iter().any(|file| file.named == Named::MlflowDatabase) {
            // Fail before any change.
            MlflowDb::open(source)?;
        }
        let (step, time) = (request.step.clone(), request.time.clone());
        self.queue(JobKind::ImportRuns { source: path, experiment, step, time })
    }

    /// The sources of runs that are followed.
    pub fn log_sources(&self) -> Result<Vec<LogSource>> {
        let sources = self.store.read(|reader| reader.sources())?;
        Ok(sources.into_iter().map(|source| LogSource { id: source.id, path: source.path }).collect())
    }

    /// Follows a source no longer. Its runs stay.
    pub fn forget_source(&self, source: SourceId) -> Result<()> {
        // Who reads just now comes to an end first.
        let _reading = self.sources.0.lock().unwrap_or_else(PoisonError::into_inner);
        match self.store.write(move |tx| tx.leave_source(source))? {
            true => Ok(()),
            false => Err(EngineError::NotFound(format!("no source {source} is followed"))),
        }
    }

    /// Reads and follows a source's runs. If none can be read, nothing is stored.
    pub(crate) fn import_runs(&self, job: JobId, asked: &Asked<'_>, stop: &AtomicBool) -> Result<Done> {
        // Before it can be followed, so that what is found is told as found by this job.
        let mut files = self.sources.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Asked { path, experiment, step, time } = *asked;
        let (own, step, time) = ((path.to_owned(), experiment.to_owned()), step.cloned(), time.cloned());
        let source = self.store.write(move |tx| tx.follow_source(&own.0, &own.1, step.as_deref(), time.as_deref()))?;
        let found = self.read_source(&source, &mut files, &mut self.goes_on(job, "reading runs", stop));
        let why = match &found {
            Ok(Some(found)) if found.runs == 0 && found.elsewhere == 0 => Some(match found.damaged.as_slice() {
                [] => nothing_here(&path_of_text(path)),
                damaged => EngineError::Invalid(listed(damaged.iter().cloned())),
            }),
            Ok(Some(found)) if found.points == 0 && found.files == 0 && !found.damaged.is_empty() => {
                Some(EngineError::Invalid(listed(found.damaged.iter().cloned())))
            }
            Ok(_) => None,
            Err(_) => Some(EngineError::Invalid(String::new())),
        };
        if let Some(why) = why {
            let id = source.id;
            if self.store.write(move |tx| tx.drop_empty_source(id))? {
                if let Some(files) = files.as_mut() {
                    files.remove(&id);
                }
                found?;
                return Err(why);
            }
        }
        drop(files);
        self.follow_anew();
        let found = found?;
        found.iter().for_each(|found| found.log_all(path));
        let beside = self.told_beside(path)?;
        Ok(self.done(found.map(|found| format!("{found}{beside}"))))
    }

    /// Reads what is new in the sources that are followed; one that cannot be read does not keep the others from being read.
    pub(crate) fn read_sources(&self) -> Result<()> {
        let mut files = self.sources.0.lock().unwrap_or_else(PoisonError::into_inner);
        for source in self.store.read(|reader| reader.sources())? {
            if let Err(error) = self.read_source(&source, &mut files, &mut |_| Ok(!self.jobs.is_closing())) {
                tracing::warn!(%error, path = source.path, "runs cannot be read");
            }
        }
        Ok(self.store.write(|tx| tx.settle_sources())?)
    }

    /// Reads what is new in a source. `goes_on` is told how far it is and says whether to go on; nothing is returned where not.
    fn read_source(
        &self,
        source: &Source,
        files: &mut Option<Files>,
        goes_on: &mut GoesOn<'_>,
    ) -> Result<Option<Found>> {
        if files.is_none() {
            let all = files.insert(Files::new());
            for (source, FileMark { path, read, state }) in self.store.read(|reader| reader.source_files())? {
                all.entry(source)
                    .or_default()
                    .insert(path, File { mark: Some(Mark { read, state }), ..File::default() });
            }
        }
        let all = files.get_or_insert_default();
        let own = all.remove(&source.id).unwrap_or_default();
        let deleted = self.store.read(|reader| reader.deleted_of_source(source.id))?;
        let mut reading = Reading { source, own, others: all, deleted, found: Found::default() };
        let result = self.read_files(&mut reading, goes_on);
        let Reading { own, found, .. } = reading;
        all.insert(source.id, own);
        Ok(result?.then_some(found))
    }

    /// Returns whether it came to its end.
    fn read_files(&self, reading: &mut Reading<'_>, goes_on: &mut GoesOn<'_>) -> Result<bool> {
        let mut by_run: BTreeMap<String, Vec<LogFile>> = BTreeMap::new();
        let mut databases = Vec::new();
        for file in logs::find(&path_of_text(&reading.source.path)) {
            match file.named {
                Named::MlflowDatabase if reading.is_of_another(&file) => reading.found.elsewhere += 1,
                Named::MlflowDatabase => databases.push(file.path),
                _ => by_run.entry(file.run.clone()).or_default().push(file),
            }
        }
        // A source within another keeps the runs that are its own.
        let all = by_run.len();
        by_run.retain(|_, files| !files.iter().any(|file| reading.is_of_another(file)));
        reading.found.elsewhere += (all - by_run.len()) as u64;
        let total = by_run.len() as u64;
        for (done, (run, files)) in (0..).zip(by_run) {
            if !goes_on(Progress { done, total })? {
                return Ok(false);
            }
            if let Some(program) = files.iter().find_map(|file| file.named.program()) {
                let read = self.read_run(reading, &run, program, &files, Round::default());
                reading.goes_on_after(&run, read)?;
            }
        }
        for path in databases {
            match self.read_database(reading, &path, goes_on) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(error) => reading.found.damaged.push(format!("{}: {error}", path.display())),
            }
        }
        Ok(true)
    }

    fn read_run(
        &self,
        reading: &mut Reading<'_>,
        run: &str,
        program: &'static str,
        files: &[LogFile],
        mut round: Round,
    ) -> Result<()> {
        reading.found.runs += 1;
        if reading.deleted.contains_key(run) {
            return Ok(());
        }
        'files: for file in files {
            let looks = looks(&file.path, self.now());
            let unit = file.unit();
            let known = reading.own.get(&unit);
            let is_asked = known.and_then(|known| known.asked.as_ref()).is_some_and(|asked| *asked == reading.asked());
            if looks.is_some() && is_asked && known.and_then(|known| known.looks) == looks {
                continue;
            }
            let mut mark = known.and_then(|known| known.mark.clone()).unwrap_or_default();
            let options = logs::Options {
                now: (self.clock)(),
                is_settled: looks.is_none_or(|looks| looks.is_settled),
                step: reading.source.step.clone(),
                time: reading.source.time.clone(),
            };
            loop {
                let part = match logs::read(file, &mark, &options) {
                    Ok(part) => part,
                    Err(error) => {
                        reading.found.damaged.push(error.to_string());
                        continue 'files;
                    }
                };
                round.left_out += part.left_out;
                for (column, count) in part.left_out_of {
                    *round.left_out_of.entry(column).or_default() += count;
                }
                round.notes.extend(part.notes);
                reading.found.damaged.extend(part.damage.as_ref().map(|why| format!("{}: {why}", file.path.display())));
                let (has_more, end) = (part.has_more, Mark { read: part.read, state: part.state });
                match self.gather(&mut round, part.logged) {
                    // A file that cannot be copied keeps no other back.
                    Err(EngineError::Invalid(why)) => {
                        reading.found.damaged.push(why);
                        continue 'files;
                    }
                    gathered => gathered?,
                }
                // A reader that has nothing new to remember says nothing of it.
                if end.read != mark.read || end.state.is_some() && end.state != mark.state {
                    round.read.push(FileMark { path: unit.clone(), read: end.read, state: end.state.clone() });
                    mark = end;
                }
                if round.logged.len() >= ROUND || round.files.len() >= FILES {
                    self.take(reading, vec![(run.to_owned(), program, std::mem::take(&mut round))])?;
                }
                if !has_more {
                    break;
                }
            }
            round.seen.extend(looks.map(|looks| (unit, looks)));
        }
        self.take(reading, vec![(run.to_owned(), program, round)])
    }

    pub(crate) fn now(&self) -> SystemTime {
        std::time::UNIX_EPOCH + Duration::from_millis(u64::try_from((self.clock)().0).unwrap_or(0))
    }
}

/// A request to read runs.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// The folder or file.
    pub(crate) path: &'a str,
    /// The experiment of runs without one.
    pub(crate) experiment: &'a str,
    /// The step column of tables.
    pub(crate) step: Option<&'a String>,
    /// The time column of tables.
    pub(crate) time: Option<&'a String>,
}

/// The error for a path without anything to import.
pub(crate) fn nothing_here(path: &Path) -> EngineError {
    let found = logs::survey(path);
    FormatError::Nothing { path: path.to_owned(), others: found.others, names: found.other_names }.into()
}
