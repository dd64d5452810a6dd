//! Runs that other programs logged to files: read once, and read on when more is written.

use crate::import::own_name;
use crate::jobs::{Done, GoesOn};
use crate::{Engine, EngineError, NOTE, RUN_NAME, Result};
use assay_domain::entity::{Job, JobKind, Progress};
use assay_domain::foreign::{Contents, Logged};
use assay_domain::key;
use assay_domain::{JobId, Point, SourceId, counted};
use assay_formats::FormatError;
use assay_formats::logs::{self, LogFile, Mark, Named};
use assay_protocol::{ImportRequest, LogSource};
use assay_store::{FileMark, MlflowDb, MlflowRun, NewBlob, Source, StoreError, Taken};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// What was read is committed when it is about as many things.
const ROUND: usize = 100_000;

/// As many files of a run are held open at most.
const FILES: usize = 64;

/// A file that was not written to for so long has whole lines: programs write when their buffers are full.
const SETTLED: Duration = Duration::from_secs(600);

/// Longer params and tags are cut.
const VALUE_BYTES: usize = 8_000;

/// The lock of reading, with what is known of the files of all sources, once they were needed.
#[derive(Default)]
pub(crate) struct Sources(Mutex<Option<Files>>);

/// The files of sources by their paths.
type Files = HashMap<SourceId, HashMap<String, File>>;

/// What is known of a file.
#[derive(Default)]
struct File {
    /// How far it was read, as the store has it.
    mark: Option<Mark>,
    /// What it was like when it was read to its end.
    looks: Option<Looks>,
    /// By which columns of steps and times it was read then, where someone chose them.
    asked: Option<(Option<String>, Option<String>)>,
}

/// What a file looks like without being opened.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Looks {
    bytes: u64,
    modified: SystemTime,
    /// Which file it is of those that had its name: one that is renamed to it may have the size and time of the one before.
    id: u64,
    /// Whether nobody has written to it for a while.
    is_settled: bool,
}

/// What reading a source brought.
#[derive(Default)]
pub(crate) struct Found {
    runs: u64,
    new: u64,
    points: u64,
    files: u64,
    left_out: u64,
    /// Where values were left out, as far as that has a name.
    left_out_of: BTreeMap<String, u64>,
    /// What was noted of files, and of how many: the columns by which tables are read, what was cut.
    notes: BTreeMap<String, u64>,
    damaged: Vec<String>,
    /// Files that are another source's.
    elsewhere: u64,
}

/// As many names or reasons are told at once; the log of the program has the rest.
const TOLD: usize = 20;

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Found { runs, new, points, files, left_out, left_out_of, notes, damaged, elsewhere: _ } = self;
        let [runs, points, files] =
            [(runs, "run"), (points, "point"), (files, "file")].map(|(count, what)| counted(*count, what));
        write!(f, "{runs}, {new} of them new; {points} and {files} taken")?;
        if *left_out > 0 {
            write!(f, "; {} left out, neither numbers nor files", counted(*left_out, "value"))?;
            let of = listed(left_out_of.iter().map(|(name, count)| format!("{name} {count}")));
            if !of.is_empty() {
                write!(f, " ({of})")?;
            }
        }
        let note =
            |(note, count): (&String, &u64)| if *count > 1 { format!("{note} ({count} times)") } else { note.clone() };
        let notes = listed(notes.iter().map(note));
        if !notes.is_empty() {
            write!(f, "; {notes}")?;
        }
        if !damaged.is_empty() {
            write!(f, "; read in part: {}", listed(damaged.iter().cloned()))?;
        }
        Ok(())
    }
}

/// A list of texts for people, up to [`TOLD`].
fn listed(texts: impl ExactSizeIterator<Item = String>) -> String {
    let more = texts.len().saturating_sub(TOLD);
    let mut told = texts.take(TOLD).collect::<Vec<_>>().join("; ");
    if more > 0 {
        told.push_str(&format!("; and {more} more, which the program's log names"));
    }
    told
}

impl Found {
    /// What people must know who look for the rest of a list that was cut.
    fn log_all(&self, path: &str) {
        for why in &self.damaged {
            tracing::warn!(path, why, "read in part");
        }
        for note in self.notes.keys() {
            tracing::info!(path, note, "read");
        }
    }
}

impl Engine {
    /// Queues the reading of the runs that a source has, and of the datasets that lie away from them; nothing where it has no
    /// runs.
    ///
    /// # Errors
    /// When it has nothing that can be imported, before anything is made of it.
    pub(crate) fn start_import_of_logs(&self, source: &Path, request: &ImportRequest) -> Result<Option<Job>> {
        if source.is_file() {
            if !logs::find(source).is_empty() {
                return self.start_import_of_runs(source, request).map(Some);
            }
            if source.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv")) {
                assay_formats::read(source, request.labelling)?;
            }
            return Ok(None);
        }
        let place = source.display().to_string();
        if self.store.read(|reader| reader.datasets())?.iter().any(|dataset| dataset.source == place) {
            return Ok(None);
        }
        let found = logs::survey(source);
        if found.has_runs {
            for dataset in found.datasets {
                let beside = ImportRequest { source: dataset.display().to_string(), ..ImportRequest::default() };
                if let Err(error) = self.start_import(&beside) {
                    tracing::warn!(%error, path = beside.source, "the images beside runs are not imported");
                }
            }
            return self.start_import_of_runs(source, request).map(Some);
        }
        match found.images == 0 && assay_formats::read(source, request.labelling)?.entries.is_empty() {
            true => Err(nothing_here(source)),
            false => Ok(None),
        }
    }

    /// What else lies in the folder of a source, and what becomes of it.
    fn told_beside(&self, path: &str) -> Result<String> {
        let found = logs::survey(Path::new(path));
        let datasets = self.store.read(|reader| reader.datasets())?;
        let mut told = String::new();
        for folder in &found.datasets {
            let name =
                datasets.iter().find(|dataset| Path::new(&dataset.source) == folder).map(|dataset| &dataset.name);
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
        let path = source.canonicalize().unwrap_or_else(|_| source.to_owned()).display().to_string();
        let experiment = match request.name.as_deref().map(str::trim) {
            Some(name) if !name.is_empty() => name.to_owned(),
            _ => own_name(source),
        };
        if source.is_file() && logs::find(source).iter().any(|file| file.named == Named::MlflowDatabase) {
            // Before anything is made of it.
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

    /// Reads the runs of a source, which is followed from then on. Where none can be read, nothing is, and nothing stays.
    pub(crate) fn import_runs(&self, job: JobId, asked: &Asked<'_>, stop: &AtomicBool) -> Result<Done> {
        // Before it can be followed, so that what is found is told as found by this job.
        let mut files = self.sources.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Asked { path, experiment, step, time } = *asked;
        let (own, step, time) = ((path.to_owned(), experiment.to_owned()), step.cloned(), time.cloned());
        let source = self.store.write(move |tx| tx.follow_source(&own.0, &own.1, step.as_deref(), time.as_deref()))?;
        let found = self.read_source(&source, &mut files, &mut self.goes_on(job, "reading runs", stop));
        let why = match &found {
            Ok(Some(found)) if found.runs == 0 && found.elsewhere == 0 => Some(match found.damaged.as_slice() {
                [] => nothing_here(Path::new(path)),
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
                files.as_mut().map(|files| files.remove(&id));
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
        for file in logs::find(Path::new(&reading.source.path)) {
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

    /// Reads the database of an MLflow server; returns whether it came to its end.
    fn read_database(&self, reading: &mut Reading<'_>, path: &Path, goes_on: &mut GoesOn<'_>) -> Result<bool> {
        // Its newest pages are in a file beside it.
        let beside = path.with_file_name(format!("{}-wal", path.file_name().unwrap_or_default().to_string_lossy()));
        let looks: Vec<_> =
            [path, &beside].into_iter().filter_map(|path| Some((text(path), looks(path, self.now())?))).collect();
        // A run that is deleted now may be restored.
        let is_unchanged =
            looks.iter().all(|(path, looks)| reading.own.get(path).and_then(|known| known.looks) == Some(*looks));
        if is_unchanged && !reading.deleted.values().any(|is_gone| !is_gone) {
            return Ok(true);
        }
        let database = MlflowDb::open(path)?;
        let runs = database.runs()?;
        let units = [format!("{}#points", path.display()), format!("{}#last", path.display())];
        let mut from = self.begin_of_points(reading, &database, &runs, &units)?;
        let total = runs.len() as u64;
        for (done, run) in (0..).zip(&runs) {
            if !goes_on(Progress { done, total })? {
                return Ok(false);
            }
            let unit = format!("{}#{}", path.display(), run.uid);
            let mut round = Round::default();
            let known = reading.read_to(&unit);
            if known != Some(run.fingerprint) {
                self.gather(&mut round, run.logged.clone())?;
                if known.is_none() {
                    // It came after its first points were passed over: just now, or back from MLflow's deleted ones.
                    let points = database.points_of(&run.uid, from)?;
                    round.logged.extend(points.into_iter().map(|(_, key, point)| Logged::Point(key, point)));
                }
                // The path itself says to other sources whose the database is.
                round.read.extend([marked(unit, run.fingerprint), marked(text(path), 0)]);
            }
            let folder = artifact_folder(path, &run.artifacts);
            let files = folder.map(|folder| logs::artifacts(&folder, &run.uid)).unwrap_or_default();
            let read = self.read_run(reading, &run.uid, "mlflow", &files, round);
            reading.goes_on_after(&run.uid, read)?;
        }
        let known: HashSet<&str> = runs.iter().map(|run| run.uid.as_str()).collect();
        loop {
            let (points, last) = database.points(from, ROUND)?;
            if last == from {
                reading.see(looks);
                return Ok(true);
            }
            let mut rounds: BTreeMap<String, Round> = BTreeMap::new();
            for (uid, key, point) in points {
                if known.contains(uid.as_str()) && reading.deleted.get(&uid) != Some(&true) {
                    rounds.entry(uid).or_default().logged.push(Logged::Point(key, point));
                }
            }
            // How far it was read is committed with the points of all runs.
            rounds.entry(String::new()).or_insert(read_until(&database, last, &units)?);
            self.take(reading, rounds.into_iter().map(|(uid, round)| (uid, "mlflow", round)).collect())?;
            from = last;
            if !goes_on(Progress { done: total, total })? {
                return Ok(false);
            }
        }
    }

    /// The row of a database after which its points are new. Where MLflow removed the last ones for good, later ones got their
    /// numbers; those are taken here, and what is new begins after the last row.
    fn begin_of_points(
        &self,
        reading: &mut Reading<'_>,
        database: &MlflowDb,
        runs: &[MlflowRun],
        units: &[String; 2],
    ) -> Result<u64> {
        let [last, fingerprint] = units.each_ref().map(|unit| reading.read_to(unit));
        let last = last.unwrap_or(0);
        if last == 0 || fingerprint.is_none() || database.fingerprint_of(last)? == fingerprint {
            return Ok(last);
        }
        let last = database.last_row()?;
        for run in runs {
            self.take_missing(reading, database, &run.uid, last)?;
        }
        self.take(reading, vec![(String::new(), "mlflow", read_until(database, last, units)?)])?;
        Ok(last)
    }

    /// Takes the points of a known run of a database, up to a row, that are not here.
    fn take_missing(&self, reading: &mut Reading<'_>, database: &MlflowDb, uid: &str, until: u64) -> Result<()> {
        let source = reading.source.id;
        let Some(run) = self.store.read(|reader| reader.run_of_source(source, uid))? else { return Ok(()) };
        if reading.deleted.get(uid) == Some(&true) {
            return Ok(());
        }
        let of = |point: &Point| (point.step, point.wall_ms, point.value.to_bits());
        let mut here: HashMap<String, HashMap<_, u64>> = HashMap::new();
        let mut round = Round::default();
        for (_, key, point) in database.points_of(uid, until)? {
            if !here.contains_key(&key) {
                let mut counts = HashMap::new();
                for point in self.store.read(|reader| reader.points(run, &key))? {
                    *counts.entry(of(&point)).or_default() += 1;
                }
                here.insert(key.clone(), counts);
            }
            match here.get_mut(&key).and_then(|counts| counts.get_mut(&of(&point))) {
                Some(count) if *count > 0 => *count -= 1,
                _ => round.logged.push(Logged::Point(key, point)),
            }
        }
        self.take(reading, vec![(uid.to_owned(), "mlflow", round)])
    }

    /// Puts files into blobs, which is slow, outside of the transaction; and what is too long or meant otherwise in order.
    fn gather(&self, round: &mut Round, logged: Vec<Logged>) -> Result<()> {
        for logged in logged {
            match logged {
                Logged::File(name, contents) => {
                    let mut blob = self.store.blobs().begin()?;
                    match contents {
                        Contents::Bytes(bytes) => blob.write(&bytes)?,
                        Contents::At(path) => copy(&path, &mut blob)?,
                    }
                    blob.sync()?;
                    round.files.push((name, blob));
                }
                Logged::Tag(key, value) if key == RUN_NAME => round.logged.push(Logged::Name(value)),
                Logged::Tag(key, value) if key == NOTE => round.logged.push(Logged::Note(value)),
                Logged::Point(key, point) => round.logged.push(Logged::Point(kept(key), point)),
                Logged::Param(key, value) => {
                    let value = round.cut("param", &key, value);
                    round.logged.push(Logged::Param(kept(key), value));
                }
                Logged::Tag(key, value) => {
                    let value = round.cut("tag", &key, value);
                    round.logged.push(Logged::Tag(kept(key), value));
                }
                Logged::Name(name) => {
                    let name = round.cut("name of run", &name.clone(), name);
                    round.logged.push(Logged::Name(name));
                }
                other => round.logged.push(other),
            }
        }
        Ok(())
    }

    /// Commits what was read of runs, all of it or nothing.
    fn take(&self, reading: &mut Reading<'_>, rounds: Vec<(String, &'static str, Round)>) -> Result<()> {
        let mut all = Vec::new();
        let mut seen = Vec::new();
        for (run, program, round) in rounds {
            let Round { logged, files, read, seen: seen_of_run, left_out, left_out_of, notes } = round;
            reading.found.left_out += left_out;
            for (column, count) in left_out_of {
                *reading.found.left_out_of.entry(column).or_default() += count;
            }
            for note in notes {
                *reading.found.notes.entry(note).or_default() += 1;
            }
            seen.extend(seen_of_run);
            if logged.is_empty() && files.is_empty() && read.is_empty() {
                continue;
            }
            reading.found.points += logged.iter().filter(|logged| matches!(logged, Logged::Point(..))).count() as u64;
            reading.found.files += files.len() as u64;
            let name = if run.is_empty() { own_name(Path::new(&reading.source.path)) } else { run.clone() };
            all.push((run, Taken { program, name, uid: (self.uid)(), logged, files, read }));
        }
        if all.is_empty() {
            reading.see(seen);
            return Ok(());
        }
        let read: Vec<_> = all.iter().flat_map(|(_, taken)| taken.read.clone()).collect();
        let source = reading.source.clone();
        let (new, replaced) = self.store.write(move |tx| {
            let (mut new, mut replaced) = (0, Vec::new());
            for (run, taken) in all {
                let (is_new, hashes) = tx.take(&source, &run, taken)?;
                new += u64::from(is_new);
                replaced.extend(hashes);
            }
            Ok((new, replaced))
        })?;
        reading.found.new += new;
        for FileMark { path, read, state } in read {
            reading.own.entry(path).or_default().mark = Some(Mark { read, state });
        }
        reading.see(seen);
        Ok(self.store.free(replaced)?)
    }

    pub(crate) fn now(&self) -> SystemTime {
        std::time::UNIX_EPOCH + Duration::from_millis(u64::try_from((self.clock)().0).unwrap_or(0))
    }
}

/// Which runs someone wants to have read.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// The folder or file.
    pub(crate) path: &'a str,
    /// The experiment of runs that name none.
    pub(crate) experiment: &'a str,
    /// The column of steps in tables.
    pub(crate) step: Option<&'a String>,
    /// The column of times in tables.
    pub(crate) time: Option<&'a String>,
}

/// What is known while a source is read.
struct Reading<'a> {
    source: &'a Source,
    own: HashMap<String, File>,
    others: &'a Files,
    /// Runs of which nothing is taken, and whether they are gone for good.
    deleted: HashMap<String, bool>,
    found: Found,
}

/// What was read of a run and waits to be committed.
#[derive(Default)]
struct Round {
    logged: Vec<Logged>,
    files: Vec<(String, NewBlob)>,
    read: Vec<FileMark>,
    /// What the files were like that were read to their ends.
    seen: Vec<(String, Looks)>,
    left_out: u64,
    left_out_of: BTreeMap<String, u64>,
    notes: Vec<String>,
}

impl Round {
    /// A value as it is kept. One that is too long is cut, and that is told.
    fn cut(&mut self, what: &str, key: &str, mut value: String) -> String {
        let end = value.floor_char_boundary(VALUE_BYTES);
        if end < value.len() {
            let key = &key[..key.floor_char_boundary(80)];
            let note = format!("the {what} {key:?} is kept up to its first {end} of {} bytes", value.len());
            self.logged.push(Logged::Line(note.clone()));
            self.notes.push(note);
            value.truncate(end);
        }
        value
    }
}

/// A key as it is kept.
fn kept(name: String) -> String {
    match key::kept(&name) {
        Cow::Borrowed(_) => name,
        Cow::Owned(safe) => safe,
    }
}

fn marked(path: String, read: u64) -> FileMark {
    FileMark { path, read, state: None }
}

impl Reading<'_> {
    fn is_of_another(&self, file: &LogFile) -> bool {
        let unit = file.unit();
        self.others.values().any(|files| files.contains_key(&unit))
    }

    fn read_to(&self, unit: &str) -> Option<u64> {
        Some(self.own.get(unit)?.mark.as_ref()?.read)
    }

    /// The columns that someone chose for the tables of the source.
    fn asked(&self) -> (Option<String>, Option<String>) {
        (self.source.step.clone(), self.source.time.clone())
    }

    fn see(&mut self, seen: Vec<(String, Looks)>) {
        let asked = self.asked();
        for (path, looks) in seen {
            let file = self.own.entry(path).or_default();
            (file.looks, file.asked) = (Some(looks), Some(asked.clone()));
        }
    }

    /// What fails with one run keeps no other back, but for what would fail with each.
    fn goes_on_after(&mut self, run: &str, read: Result<()>) -> Result<()> {
        match read {
            Err(EngineError::Store(error @ (StoreError::DiskFull | StoreError::ReadOnly(_) | StoreError::Closed))) => {
                Err(error.into())
            }
            Err(error) => {
                self.found.damaged.push(format!("{run}: {error}"));
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
}

/// A path as the store has it.
fn text(path: &Path) -> String {
    path.display().to_string()
}

fn looks(path: &Path, now: SystemTime) -> Option<Looks> {
    let metadata = std::fs::metadata(path).ok()?;
    let modified = metadata.modified().ok()?;
    let is_settled = now.duration_since(modified).is_ok_and(|age| age >= SETTLED);
    Some(Looks { bytes: metadata.len(), modified, id: id_of(&metadata), is_settled })
}

#[cfg(unix)]
fn id_of(metadata: &std::fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt;
    metadata.ino() ^ metadata.dev().rotate_left(32)
}

#[cfg(not(unix))]
fn id_of(_: &std::fs::Metadata) -> u64 {
    0
}

/// That the points of a database were read up to a row, and which one has its number.
fn read_until(database: &MlflowDb, last: u64, units: &[String; 2]) -> Result<Round> {
    let [row, fingerprint] = units.clone();
    let read = vec![marked(row, last), marked(fingerprint, database.fingerprint_of(last)?.unwrap_or(0))];
    Ok(Round { read, ..Round::default() })
}

/// The folder of a run's artifacts beside its database; none where it is elsewhere, which a database from elsewhere may say.
fn artifact_folder(database: &Path, says: &str) -> Option<PathBuf> {
    let root = database.parent()?.canonicalize().ok()?;
    let folder = match says.strip_prefix("mlflow-artifacts:/") {
        Some(path) => root.join("mlartifacts").join(path.trim_start_matches('/')),
        None => root.join(says.strip_prefix("file://").unwrap_or(says)),
    };
    folder.canonicalize().ok().filter(|folder| folder.starts_with(&root) && *folder != root)
}

fn copy(path: &Path, blob: &mut NewBlob) -> Result<()> {
    let unreadable = |why: std::io::Error| EngineError::Invalid(format!("{why}: {}", path.display()));
    let mut file = std::fs::File::open(path).map_err(unreadable)?;
    blob.write_file(&mut file)?.map_err(unreadable)
}

/// That a folder or file has nothing of what is looked for.
pub(crate) fn nothing_here(path: &Path) -> EngineError {
    let found = logs::survey(path);
    FormatError::Nothing { path: path.to_owned(), others: found.others, names: found.other_names }.into()
}
