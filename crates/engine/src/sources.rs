//! Runs that other programs logged to files: read once, and read on when more is written.

mod beside;
mod database;
mod found;
mod reading;
#[cfg(test)]
mod tests;

use crate::import::own_name;
use crate::jobs::{Done, GoesOn};
use crate::{Engine, EngineError, Result};
use assay_domain::entity::{Job, JobKind, Progress};
use assay_domain::{JobId, SourceId, counted};
use assay_formats::logs::{self, LogFile, Mark, Named, Survey};
use assay_formats::{FormatError, path_of_text, place_text};
use assay_protocol::{ImportRequest, LogSource};
use assay_store::{FileMark, MlflowDb, Source};
use found::{Found, listed};
use reading::{Attention, File, Files, Reading, Round, looks};
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
    /// Queues the import of a source's runs, and of the datasets in it; `None` if it has no runs.
    pub(crate) fn start_import_of_logs(&self, source: &Path, request: &ImportRequest) -> Result<Option<Job>> {
        if source.is_file() {
            let has_runs = !logs::find(source).is_empty();
            return has_runs.then(|| self.start_import_of_runs(source, request)).transpose();
        }
        let survey = logs::survey(source);
        if !survey.has_runs && survey.images == 0 && !survey.problems.is_empty() {
            return Err(EngineError::Invalid(listed(survey.problems.iter().cloned())));
        }
        if !survey.has_runs {
            return Ok(None);
        }
        // Jobs are done in order, so that the job of the runs can tell of the datasets.
        self.start_imports_of_images(source, &survey, request)?;
        self.start_import_of_runs(source, request).map(Some)
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

    /// Reads and follows a source's runs. If it has none, it is not followed, and an error unless it has datasets.
    pub(crate) fn import_runs(&self, job: JobId, asked: &Asked<'_>, stop: &AtomicBool) -> Result<Done> {
        // Before it can be followed, so that what is found is told as found by this job.
        let mut files = self.sources.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Asked { path, experiment, step, time } = *asked;
        let was_followed = self.store.read(|reader| reader.sources())?.iter().any(|source| source.path == path);
        let (own, step, time) = ((path.to_owned(), experiment.to_owned()), step.cloned(), time.cloned());
        let source = self.store.write(move |tx| tx.follow_source(&own.0, &own.1, step.as_deref(), time.as_deref()))?;
        let read =
            self.read_source(&source, Attention::Asked, &mut files, &mut self.goes_on(job, "reading runs", stop));
        let mut outcome = match read {
            Ok(None) => Outcome::Stopped,
            Ok(Some(found)) if found.runs == 0 && found.elsewhere == 0 => Outcome::WithoutRuns(found),
            Ok(Some(found)) => Outcome::Read(found),
            Err(error) => Outcome::Failed(error),
        };
        if let Outcome::WithoutRuns(_) | Outcome::Failed(_) = outcome {
            let id = source.id;
            let is_dropped = self.store.write(move |tx| tx.drop_empty_source(id))?;
            if is_dropped && let Some(files) = files.as_mut() {
                files.remove(&id);
            }
            outcome = match outcome {
                // It had runs before.
                Outcome::WithoutRuns(found) if !is_dropped => Outcome::Read(found),
                outcome => outcome,
            };
            if !is_dropped && !was_followed && matches!(outcome, Outcome::Failed(_)) {
                self.store.write(move |tx| tx.leave_source(id))?;
            }
        }
        drop(files);
        let place = path_of_text(path);
        match outcome {
            Outcome::Stopped => {
                self.follow_anew();
                Ok(self.done(None))
            }
            Outcome::Read(found) => {
                self.follow_anew();
                found.log_all(path);
                let survey = survey_of(&place);
                let (datasets, others) = (self.tell_datasets(&place, &survey)?, self.tell_others(&place, &survey)?);
                Ok(self.done(Some(format!("{found}{datasets}{others}"))))
            }
            Outcome::WithoutRuns(found) => {
                let survey = survey_of(&place);
                let why = without_runs(&place, &found, &survey);
                if !self.has_dataset(&place, &survey)? {
                    return Err(why);
                }
                let datasets = self.tell_datasets(&place, &survey)?;
                Ok(self.done(Some(format!("{why}{datasets}"))))
            }
            Outcome::Failed(error) => Err(error),
        }
    }

    /// Reads what is new in the sources that are followed; one that cannot be read keeps no other back.
    pub(crate) fn read_sources(&self) -> Result<()> {
        let mut files = self.sources.0.lock().unwrap_or_else(PoisonError::into_inner);
        for source in self.store.read(|reader| reader.sources())? {
            if let Err(error) = self.read_new(&source, &mut files) {
                tracing::warn!(%error, path = source.path, "runs cannot be read");
            }
        }
        Ok(self.store.write(|tx| tx.settle_sources())?)
    }

    fn read_new(&self, source: &Source, files: &mut Option<Files>) -> Result<Option<Found>> {
        self.read_source(source, Attention::Changed, files, &mut |_| Ok(!self.jobs.is_closing()))
    }

    /// Reads what is new in a source. `goes_on` is told how far it is and says whether to go on; `None` if not.
    fn read_source(
        &self,
        source: &Source,
        attention: Attention,
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
        let mut reading = Reading { source, attention, own, others: all, deleted, found: Found::default() };
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
            reading.found.logs += u64::from(file.named.program().is_some());
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
        if reading.deleted.contains_key(run) {
            reading.found.runs += 1;
            return Ok(());
        }
        for file in files {
            self.read_file(reading, (run, program), file, &mut round)?;
        }
        self.take(reading, vec![(run.to_owned(), program, round)])?;
        // Only an import tells it.
        if reading.attention == Attention::Asked {
            reading.found.runs += u64::from(self.is_known(reading, run)?);
        }
        Ok(())
    }

    /// Reads a file of a run to its end, unless it is unchanged. What is damaged is told and keeps no other file back.
    fn read_file(
        &self,
        reading: &mut Reading<'_>,
        (run, program): (&str, &'static str),
        file: &LogFile,
        round: &mut Round,
    ) -> Result<()> {
        let looks = looks(&file.path, self.now());
        let unit = file.unit();
        if reading.is_unchanged(&unit, looks) {
            return Ok(());
        }
        let mut mark = reading.own.get(&unit).and_then(|known| known.mark.clone()).unwrap_or_default();
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
                    return Ok(());
                }
            };
            round.left_out += part.left_out;
            for (column, count) in part.left_out_of {
                *round.left_out_of.entry(column).or_default() += count;
            }
            round.notes.extend(part.notes);
            reading.found.damaged.extend(part.damage.as_ref().map(|why| format!("{}: {why}", file.path.display())));
            let (has_more, end) = (part.has_more, Mark { read: part.read, state: part.state });
            match self.gather(round, part.logged) {
                // A file that cannot be copied.
                Err(EngineError::Invalid(why)) => {
                    reading.found.damaged.push(why);
                    return Ok(());
                }
                gathered => gathered?,
            }
            // A reader that has nothing new to remember says nothing of it.
            if end.read != mark.read || end.state.is_some() && end.state != mark.state {
                round.read.push(FileMark { path: unit.clone(), read: end.read, state: end.state.clone() });
                mark = end;
            }
            if round.logged.len() >= ROUND || round.files.len() >= FILES {
                self.take(reading, vec![(run.to_owned(), program, std::mem::take(round))])?;
            }
            if !has_more {
                break;
            }
        }
        round.seen.extend(looks.map(|looks| (unit, looks)));
        Ok(())
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

/// How the import of a source's runs ended.
enum Outcome {
    /// It was told to stop.
    Stopped,
    /// Runs were read, or known before.
    Read(Found),
    /// It has no run.
    WithoutRuns(Found),
    Failed(EngineError),
}

/// The contents of a folder; empty for a single file.
fn survey_of(path: &Path) -> Survey {
    if path.is_dir() { logs::survey(path) } else { Survey::default() }
}

/// The error for a source without a run.
fn without_runs(path: &Path, found: &Found, survey: &Survey) -> EngineError {
    let problems: Vec<String> = found.damaged.iter().chain(&survey.problems).cloned().collect();
    if !problems.is_empty() {
        return EngineError::Invalid(listed(problems.into_iter()));
    }
    if found.logs == 0 {
        let (others, names) = (survey.others, survey.other_names.clone());
        return FormatError::Nothing { path: path.to_owned(), others, names }.into();
    }
    let why = match found.left_out {
        0 => "there is nothing in it yet, or no whole line".to_owned(),
        _ => format!("but {}", found.told_left_out()),
    };
    EngineError::Invalid(format!(
        "no run was imported: neither a point of a metric nor a param, tag, status or file was found in {}, {why}; \
         import it again when something is logged: {}",
        counted(found.logs, "log file"),
        path.display()
    ))
}
