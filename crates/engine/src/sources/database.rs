//! Runs of an MLflow server's database.

use super::reading::{Attention, Reading, Round, looks, marked, text};
use crate::jobs::GoesOn;
use crate::{Engine, Result};
use assay_domain::Point;
use assay_domain::entity::Progress;
use assay_domain::foreign::Logged;
use assay_formats::logs;
use assay_store::{MlflowDb, MlflowRun};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

impl Engine {
    /// Reads the database of an MLflow server; returns whether it finished.
    pub(super) fn read_database(
        &self,
        reading: &mut Reading<'_>,
        path: &Path,
        goes_on: &mut GoesOn<'_>,
    ) -> Result<bool> {
        // SQLite's newest pages are in its WAL.
        let beside = path.with_file_name(format!("{}-wal", path.file_name().unwrap_or_default().to_string_lossy()));
        let looks: Vec<_> =
            [path, &beside].into_iter().filter_map(|path| Some((text(path), looks(path, self.now())?))).collect();
        let is_unchanged =
            looks.iter().all(|(path, looks)| reading.own.get(path).and_then(|known| known.looks) == Some(*looks));
        // A deleted run may be restored later.
        let may_be_restored = reading.deleted.values().any(|is_gone| !is_gone);
        if is_unchanged && !may_be_restored && reading.attention == Attention::Changed {
            return Ok(true);
        }
        let database = MlflowDb::open(path)?;
        let found = database.runs()?;
        reading.tell_damage(path, found.problems);
        let runs = found.read;
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
                    // A new or restored run: read its earlier points too.
                    let points = database.points_of(&run.uid, from)?;
                    reading.tell_damage(path, points.problems);
                    round.logged.extend(points.read.into_iter().map(|(_, key, point)| Logged::Point(key, point)));
                }
                // Record whose the database is, for other sources.
                round.read.extend([marked(unit, run.fingerprint), marked(text(path), 0)]);
            }
            let folder = artifact_folder(path, &run.artifacts);
            let files = folder.map(|folder| logs::artifacts(&folder, &run.uid)).unwrap_or_default();
            let read = self.read_run(reading, &run.uid, "mlflow", &files, round);
            reading.goes_on_after(&run.uid, read)?;
        }
        let known: HashSet<&str> = runs.iter().map(|run| run.uid.as_str()).collect();
        loop {
            let (points, last) = database.points(from, super::ROUND)?;
            reading.tell_damage(path, points.problems);
            if last == from {
                reading.see(looks);
                return Ok(true);
            }
            let mut rounds: BTreeMap<String, Round> = BTreeMap::new();
            for (uid, key, point) in points.read {
                if known.contains(uid.as_str()) && reading.deleted.get(&uid) != Some(&true) {
                    rounds.entry(uid).or_default().logged.push(Logged::Point(key, point));
                }
            }
            // The position is committed with all runs' points.
            rounds.entry(String::new()).or_insert(read_until(&database, last, &units)?);
            self.take(reading, rounds.into_iter().map(|(uid, round)| (uid, "mlflow", round)).collect())?;
            from = last;
            if !points.is_whole {
                reading.see(looks);
                return Ok(true);
            }
            if !goes_on(Progress { done: total, total })? {
                return Ok(false);
            }
        }
    }

    /// The first unread row of a database. If MLflow deleted the last rows for good, their numbers were reused: the
    /// missing points are taken here, and reading resumes after the last row.
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

    /// Takes the missing points of a known run, up to a row.
    fn take_missing(&self, reading: &mut Reading<'_>, database: &MlflowDb, uid: &str, until: u64) -> Result<()> {
        let source = reading.source.id;
        let Some(run) = self.store.read(|reader| reader.run_of_source(source, uid))? else { return Ok(()) };
        if reading.deleted.get(uid) == Some(&true) {
            return Ok(());
        }
        let of = |point: &Point| (point.step, point.wall_ms, point.value.to_bits());
        let mut here: HashMap<String, HashMap<_, u64>> = HashMap::new();
        let mut round = Round::default();
        for (_, key, point) in database.points_of(uid, until)?.read {
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
}

/// A round that records the last row read, and its fingerprint.
fn read_until(database: &MlflowDb, last: u64, units: &[String; 2]) -> Result<Round> {
    let [row, fingerprint] = units.clone();
    let read = vec![marked(row, last), marked(fingerprint, database.fingerprint_of(last)?.unwrap_or(0))];
    Ok(Round { read, ..Round::default() })
}

/// The artifact folder of a run, which must lie beside the database: its path is untrusted.
fn artifact_folder(database: &Path, says: &str) -> Option<PathBuf> {
    let root = database.parent()?.canonicalize().ok()?;
    let folder = match says.strip_prefix("mlflow-artifacts:/") {
        Some(path) => root.join("mlartifacts").join(path.trim_start_matches('/')),
        None => root.join(says.strip_prefix("file://").unwrap_or(says)),
    };
    folder.canonicalize().ok().filter(|folder| folder.starts_with(&root) && *folder != root)
}
