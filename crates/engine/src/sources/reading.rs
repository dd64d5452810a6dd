//! State of reading a source, and data waiting to be committed.

use super::Found;
use crate::import::own_name;
use crate::{Engine, EngineError, NOTE, RUN_NAME, Result};
use assay_domain::foreign::{Contents, Logged};
use assay_domain::{SourceId, counted, key};
use assay_formats::logs::{LogFile, Mark};
use assay_formats::{path_of_text, place_text};
use assay_store::{FileMark, NewBlob, Source, StoreError, Taken};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Idle time after which the last line counts as complete: programs write when buffers fill.
const SETTLED: Duration = Duration::from_secs(600);

/// Longest param or tag, in bytes.
const VALUE_BYTES: usize = 8_000;

/// Files of each source, by path.
pub(super) type Files = HashMap<SourceId, HashMap<String, File>>;

/// What is known of a file.
#[derive(Default)]
pub(super) struct File {
    /// The stored read position.
    pub(super) mark: Option<Mark>,
    /// Its metadata when last read to the end.
    pub(super) looks: Option<Looks>,
    /// The columns chosen by the user at that time.
    pub(super) asked: Option<(Option<String>, Option<String>)>,
}

/// Which files are read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Attention {
    /// All, as somebody asked for it: metadata can be the same after a change.
    Asked,
    /// Those whose metadata changed.
    Changed,
}

/// Metadata of an unopened file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Looks {
    pub(super) bytes: u64,
    pub(super) modified: SystemTime,
    /// File identity and time of its last change of any kind: a file renamed or copied over it may have the same size
    /// and time of modification.
    pub(super) id: [i64; 4],
    /// Whether it was idle for [`SETTLED`].
    pub(super) is_settled: bool,
}

impl Engine {
    /// Copies files into blobs, outside of the transaction because it is slow; cuts long values.
    pub(super) fn gather(&self, round: &mut Round, logged: Vec<Logged>) -> Result<()> {
        let mut early = 0u64;
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
                // The name that its program or folder gives it stays.
                Logged::Tag(key, name) if key == RUN_NAME && name.trim().is_empty() => {}
                Logged::Name(name) if name.trim().is_empty() => {}
                Logged::Tag(key, name) if key == RUN_NAME => round.name(name),
                Logged::Tag(key, value) if key == NOTE => round.logged.push(Logged::Note(value)),
                Logged::Point(key, mut point) => {
                    early += u64::from(point.wall_ms < 0);
                    point.wall_ms = point.wall_ms.max(0);
                    round.logged.push(Logged::Point(kept(key), point));
                }
                Logged::Param(key, value) => {
                    let value = round.cut("param", &key, value);
                    round.logged.push(Logged::Param(kept(key), value));
                }
                Logged::Tag(key, value) => {
                    let value = round.cut("tag", &key, value);
                    round.logged.push(Logged::Tag(kept(key), value));
                }
                Logged::Name(name) => round.name(name),
                other => round.logged.push(other),
            }
        }
        if early > 0 {
            round.notes.push(format!("{} before 1970 taken with the time 0", counted(early, "point")));
        }
        Ok(())
    }

    /// Commits the rounds of runs atomically.
    pub(super) fn take(&self, reading: &mut Reading<'_>, rounds: Vec<(String, &'static str, Round)>) -> Result<()> {
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
            // The file is read from its beginning when it has more, so nothing of it is remembered.
            if !logged.is_empty()
                && files.is_empty()
                && !logged.iter().any(makes_run)
                && !self.is_known(reading, &run)?
            {
                continue;
            }
            reading.found.points += logged.iter().filter(|logged| matches!(logged, Logged::Point(..))).count() as u64;
            reading.found.files += files.len() as u64;
            let path = &path_of_text(&reading.source.path);
            let name = if run.is_empty() { own_name(path, path) } else { run.clone() };
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
}

impl Engine {
    /// Whether the source has this run.
    pub(super) fn is_known(&self, reading: &Reading<'_>, run: &str) -> Result<bool> {
        let source = reading.source.id;
        Ok(self.store.read(|reader| reader.run_of_source(source, run))?.is_some())
    }
}

/// Whether it is worth a run; others only tell when and how a file was read.
fn makes_run(logged: &Logged) -> bool {
    matches!(
        logged,
        Logged::Point(..)
            | Logged::Param(..)
            | Logged::Tag(..)
            | Logged::Note(_)
            | Logged::File(..)
            | Logged::Status(..)
    )
}

/// State of reading a source.
pub(super) struct Reading<'a> {
    pub(super) source: &'a Source,
    pub(super) attention: Attention,
    pub(super) own: HashMap<String, File>,
    pub(super) others: &'a Files,
    /// Deleted runs, which are skipped; the flag: for good.
    pub(super) deleted: HashMap<String, bool>,
    pub(super) found: Found,
}

/// Data of a run to be committed.
#[derive(Default)]
pub(super) struct Round {
    pub(super) logged: Vec<Logged>,
    pub(super) files: Vec<(String, NewBlob)>,
    pub(super) read: Vec<FileMark>,
    /// Metadata of files read to their ends.
    pub(super) seen: Vec<(String, Looks)>,
    pub(super) left_out: u64,
    pub(super) left_out_of: BTreeMap<String, u64>,
    pub(super) notes: Vec<String>,
}

impl Round {
    fn name(&mut self, name: String) {
        let name = self.cut("name of run", &name.clone(), name);
        self.logged.push(Logged::Name(name));
    }

    /// Cuts a value that is too long, with a note.
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

pub(super) fn marked(path: String, read: u64) -> FileMark {
    FileMark { path, read, state: None }
}

impl Reading<'_> {
    pub(super) fn is_of_another(&self, file: &LogFile) -> bool {
        let unit = file.unit();
        self.others.values().any(|files| files.contains_key(&unit))
    }

    /// Whether a file need not be read: its metadata are those when it was read to its end, by the same columns.
    pub(super) fn is_unchanged(&self, unit: &str, looks: Option<Looks>) -> bool {
        let Some(known) = self.own.get(unit) else { return false };
        let is_same = looks.is_some() && known.looks == looks && known.asked.as_ref() == Some(&self.asked());
        is_same && self.attention == Attention::Changed
    }

    pub(super) fn read_to(&self, unit: &str) -> Option<u64> {
        Some(self.own.get(unit)?.mark.as_ref()?.read)
    }

    /// The columns chosen for the source's tables.
    pub(super) fn asked(&self) -> (Option<String>, Option<String>) {
        (self.source.step.clone(), self.source.time.clone())
    }

    pub(super) fn see(&mut self, seen: Vec<(String, Looks)>) {
        let asked = self.asked();
        for (path, looks) in seen {
            let file = self.own.entry(path).or_default();
            (file.looks, file.asked) = (Some(looks), Some(asked.clone()));
        }
    }

    /// Records what of a file was left out.
    pub(super) fn tell_damage(&mut self, path: &Path, problems: Vec<String>) {
        self.found.damaged.extend(problems.into_iter().map(|why| format!("{}: {why}", path.display())));
    }

    /// Records a run's failure and continues; returns store-wide errors.
    pub(super) fn goes_on_after(&mut self, run: &str, read: Result<()>) -> Result<()> {
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

/// A path as stored.
pub(super) fn text(path: &Path) -> String {
    place_text(path)
}

pub(super) fn looks(path: &Path, now: SystemTime) -> Option<Looks> {
    let metadata = std::fs::metadata(path).ok()?;
    let modified = metadata.modified().ok()?;
    let is_settled = now.duration_since(modified).is_ok_and(|age| age >= SETTLED);
    Some(Looks { bytes: metadata.len(), modified, id: id_of(&metadata), is_settled })
}

/// Device, inode, and time of change in seconds and nanoseconds.
#[cfg(unix)]
fn id_of(metadata: &std::fs::Metadata) -> [i64; 4] {
    use std::os::unix::fs::MetadataExt;
    [metadata.dev() as i64, metadata.ino() as i64, metadata.ctime(), metadata.ctime_nsec()]
}

#[cfg(not(unix))]
fn id_of(_: &std::fs::Metadata) -> [i64; 4] {
    [0; 4]
}

fn copy(path: &Path, blob: &mut NewBlob) -> Result<()> {
    let unreadable = |why: std::io::Error| EngineError::Invalid(format!("{why}: {}", path.display()));
    let mut file = std::fs::File::open(path).map_err(unreadable)?;
    blob.write_file(&mut file)?.map_err(unreadable)
}
