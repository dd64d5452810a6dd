//! The database of an MLflow server, which is read and never written.

use crate::{Result, StoreError};
use assay_domain::foreign::Logged;
use assay_domain::{Point, RunStatus, Timestamp, counted};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Params, Row, Statement, params};
use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

/// An open `mlflow.db`.
pub struct MlflowDb {
    db: Connection,
}

/// What such a database says of a run, but for its points.
#[derive(Clone, Debug, PartialEq)]
pub struct MlflowRun {
    /// Its identity.
    pub uid: String,
    /// What it logged.
    pub logged: Vec<Logged>,
    /// Where its artifacts are, as a path or an address.
    pub artifacts: String,
    /// A number that changes with what is said.
    pub fingerprint: u64,
}

/// Points of several runs, each with its run and key, in the order in which they were logged.
pub type Points = Rows<(String, String, Point)>;

/// Rows of a database, as far as it can be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows<T> {
    /// The rows.
    pub read: Vec<T>,
    /// Rows left out: with values of other types or without one, or behind a damaged page.
    pub problems: Vec<String>,
    /// Whether there was no damage before the last of them.
    pub is_whole: bool,
}

impl<T> Rows<T> {
    /// Reads the rows of a query. `row` returns an error for one that has not the expected values.
    fn of(
        table: &str,
        statement: &mut Statement<'_>,
        params: impl Params,
        mut row: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Rows<T>> {
        let (mut read, mut problems, mut skipped, mut is_whole) = (Vec::new(), Vec::new(), 0u64, true);
        let mut rows = statement.query(params)?;
        loop {
            match rows.next() {
                Ok(Some(found)) => match row(found) {
                    Ok(found) => read.push(found),
                    Err(_) => skipped += 1,
                },
                Ok(None) => break,
                Err(why) if is_damage(&why) => {
                    let to = if read.is_empty() { "cannot be read" } else { "cannot be read to its end" };
                    problems.push(format!("the table {table} {to}: {why}"));
                    is_whole = false;
                    break;
                }
                // It is locked, or the query fails.
                Err(why) => return Err(why.into()),
            }
        }
        if skipped > 0 {
            let rows = counted(skipped, "row");
            problems.push(format!("{rows} of the table {table} left out, without a value or with one of another type"));
        }
        Ok(Rows { read, problems, is_whole })
    }
}

impl MlflowDb {
    /// Opens the database of an MLflow server.
    ///
    /// # Errors
    /// [`StoreError::NotMlflow`] if it is none.
    pub fn open(path: &Path) -> Result<MlflowDb> {
        let other = |found: String| StoreError::NotMlflow { found, path: path.to_owned() };
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let no_database =
            |why: rusqlite::Error| other(format!("this file is no SQLite database that can be read ({why})"));
        let db = Connection::open_with_flags(path, flags).map_err(no_database)?;
        db.busy_timeout(Duration::from_secs(5))?;
        let tables = tables_of(&db).map_err(no_database)?;
        if TABLES.iter().all(|wanted| tables.iter().any(|table| table == wanted)) {
            return Ok(MlflowDb { db });
        }
        const NAMED: usize = 8;
        let more = if tables.len() > NAMED { ", ..." } else { "" };
        Err(other(match tables.as_slice() {
            [] => "this SQLite database is empty".to_owned(),
            tables => {
                let names: Vec<&str> = tables.iter().take(NAMED).map(String::as_str).collect();
                format!("this SQLite database is another program's, with the tables {}{more}", names.join(", "))
            }
        }))
    }

    /// The runs that are not deleted.
    pub fn runs(&self) -> Result<Rows<MlflowRun>> {
        let mut more: HashMap<String, Vec<Logged>> = HashMap::new();
        let (mut problems, mut is_whole) = (Vec::new(), true);
        for (table, logged) in [("params", Logged::Param as fn(String, String) -> Logged), ("tags", Logged::Tag)] {
            let sql = format!("SELECT run_uuid, key, value FROM {table} ORDER BY run_uuid, key");
            let of_run = |row: &Row<'_>| -> rusqlite::Result<(String, Logged)> {
                Ok((row.get(0)?, logged(row.get(1)?, text_of(row, 2)?)))
            };
            let found = Rows::of(table, &mut self.db.prepare(&sql)?, [], of_run)?;
            problems.extend(found.problems);
            is_whole &= found.is_whole;
            for (run, logged) in found.read {
                more.entry(run).or_default().push(logged);
            }
        }
        let mut statement = self.db.prepare(
            "SELECT run_uuid, runs.name, user_id, status, start_time, end_time, artifact_uri, experiments.name
             FROM runs JOIN experiments USING (experiment_id)
             WHERE runs.lifecycle_stage = 'active' AND experiments.lifecycle_stage = 'active' ORDER BY start_time",
        )?;
        let runs = Rows::of("runs", &mut statement, [], run_of)?;
        problems.extend(runs.problems);
        is_whole &= runs.is_whole;
        let whole = runs.read.into_iter().map(|mut run| {
            run.logged.extend(more.remove(&run.uid).unwrap_or_default());
            MlflowRun { fingerprint: number_of(&format!("{:?}", run.logged)), ..run }
        });
        Ok(Rows { read: whole.collect(), problems, is_whole })
    }

    /// At most so many points that were logged after the row `after`, and the last row that was looked at.
    pub fn points(&self, after: u64, limit: usize) -> Result<(Points, u64)> {
        let (points, last) =
            self.points_where("rowid > ?1 ORDER BY rowid LIMIT ?2", params![after as i64, limit as i64])?;
        Ok((points, last.unwrap_or(after)))
    }

    /// The points of one run up to a row.
    pub fn points_of(&self, run: &str, until: u64) -> Result<Points> {
        Ok(self.points_where("run_uuid = ?1 AND rowid <= ?2 ORDER BY rowid", params![run, until as i64])?.0)
    }

    /// A number that changes where another point has the number of a row; none where no point has it.
    pub fn fingerprint_of(&self, row: u64) -> Result<Option<u64>> {
        let mut statement = self.db.prepare_cached(&format!("SELECT {POINT} FROM metrics WHERE rowid = ?1"))?;
        // A row that is left out has one too.
        let values =
            |row: &Row<'_>| (1..7usize).map(|column| row.get(column)).collect::<rusqlite::Result<Vec<Value>>>();
        let found = statement.query_row([row as i64], values).optional()?;
        Ok(found.map(|values| number_of(&format!("{values:?}"))))
    }

    /// The last row of the points.
    pub fn last_row(&self) -> Result<u64> {
        Ok(self.db.query_row("SELECT coalesce(max(rowid), 0) FROM metrics", [], |row| row.get::<_, i64>(0))? as u64)
    }

    fn points_where(&self, which: &str, of: impl Params) -> Result<(Points, Option<u64>)> {
        let mut statement = self.db.prepare_cached(&format!("SELECT {POINT} FROM metrics WHERE {which}"))?;
        let mut last = None;
        let points = Rows::of("metrics", &mut statement, of, |row| {
            last = Some(row.get::<_, i64>(0)? as u64);
            let value = match row.get::<_, f64>(3)? {
                _ if row.get::<_, Option<bool>>(4)?.unwrap_or(false) => f64::NAN,
                // Infinities are stored so.
                f64::MAX => f64::INFINITY,
                f64::MIN => f64::NEG_INFINITY,
                value => value,
            };
            Ok((row.get(1)?, row.get(2)?, Point { step: row.get(6)?, wall_ms: row.get(5)?, value }))
        })?;
        Ok((points, last))
    }
}

/// The columns of a point.
const POINT: &str = "rowid, run_uuid, key, value, is_nan, timestamp, step";

/// Tables every MLflow database has.
const TABLES: [&str; 5] = ["runs", "metrics", "params", "tags", "experiments"];

fn tables_of(db: &Connection) -> rusqlite::Result<Vec<String>> {
    let sql =
        "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%' ORDER BY name";
    db.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
}

fn is_damage(why: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase, SystemIoFailure};
    matches!(why.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase | SystemIoFailure))
}

/// A number for a text, above 0 and within what SQLite keeps.
fn number_of(text: &str) -> u64 {
    let hash = blake3::hash(text.as_bytes());
    let number = hash.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    (number >> 1).max(1)
}

/// A text, a number as one, or nothing as an empty one.
fn text_of(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    Ok(match row.get_ref(column)? {
        ValueRef::Null => String::new(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        _ => row.get(column)?,
    })
}

fn run_of(row: &Row<'_>) -> rusqlite::Result<MlflowRun> {
    let text = |column| row.get::<_, Option<String>>(column);
    let time = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(column)?.map(Timestamp));
    let uid: String = row.get(0)?;
    let mut logged = vec![Logged::Uid(uid.clone())];
    logged.extend(text(7)?.map(Logged::Experiment));
    logged.extend(text(1)?.map(Logged::Name));
    logged.extend(text(2)?.map(Logged::User));
    logged.extend(time(4)?.map(Logged::Began));
    let status = text(3)?.and_then(|word| RunStatus::of_mlflow(&word)).unwrap_or(RunStatus::Running);
    logged.push(Logged::Status(status, time(5)?));
    Ok(MlflowRun { uid, logged, artifacts: text(6)?.unwrap_or_default(), fingerprint: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = "
        CREATE TABLE experiments (experiment_id INTEGER, name TEXT, lifecycle_stage TEXT);
        CREATE TABLE runs (run_uuid TEXT, experiment_id INTEGER, name TEXT, user_id TEXT, status TEXT,
            start_time INTEGER, end_time INTEGER, artifact_uri TEXT, lifecycle_stage TEXT);
        CREATE TABLE params (run_uuid TEXT, key TEXT, value TEXT);
        CREATE TABLE tags (run_uuid TEXT, key TEXT, value TEXT);
        CREATE TABLE metrics (run_uuid TEXT, key TEXT, value REAL, is_nan BOOLEAN, timestamp INTEGER, step INTEGER);";

    #[test]
    fn runs_and_points_are_read_on_and_another_database_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mlflow.db");
        let db = Connection::open(&path).unwrap();
        let why = |path: &Path| MlflowDb::open(path).map(|_| ()).map_err(|why| why.to_string()).unwrap_err();
        assert!(why(&path).starts_with("this SQLite database is empty"));
        let other = folder.path().join("optuna.db");
        Connection::open(&other)
            .unwrap()
            .execute_batch("CREATE TABLE trials (id); CREATE TABLE studies (id);")
            .unwrap();
        assert!(why(&other).contains("another program's, with the tables studies, trials; of databases, only"));
        std::fs::write(folder.path().join("none.db"), "no database at all").unwrap();
        assert!(why(&folder.path().join("none.db")).contains("no SQLite database that can be read"));
        db.execute_batch(SCHEMA).unwrap();
        db.execute_batch(
            "INSERT INTO experiments VALUES (1, 'vision', 'active'), (2, 'gone', 'deleted');
             INSERT INTO runs VALUES ('a', 1, 'first', 'ann', 'KILLED', 5, 7, '/x', 'active'),
                 ('b', 1, 'second', NULL, 'FINISHED', 6, 8, '/x', 'deleted'), ('c', 2, 't', NULL, 'RUNNING', 6, NULL, NULL, 'active');
             INSERT INTO params VALUES ('a', 'lr', '0.1');
             INSERT INTO tags VALUES ('a', 'team', NULL);
             INSERT INTO metrics VALUES ('a', 'loss', 0, 1, 9, -1), ('b', 'loss', 1.7976931348623157e308, 0, 9, 2),
                 ('a', 'loss', 0.5, 0, 9, 3);",
        )
        .unwrap();
        let read = MlflowDb::open(&path).unwrap();
        let runs = read.runs().unwrap().read;
        let [run] = &runs[..] else { panic!("one run is there") };
        let expected = [
            Logged::Uid("a".into()),
            Logged::Experiment("vision".into()),
            Logged::Name("first".into()),
            Logged::User("ann".into()),
            Logged::Began(Timestamp(5)),
            Logged::Status(RunStatus::Stopped, Some(Timestamp(7))),
            Logged::Param("lr".into(), "0.1".into()),
            Logged::Tag("team".into(), String::new()),
        ];
        assert_eq!(run.logged, expected);
        let (points, last) = read.points(0, 2).unwrap();
        assert!(points.read[0].2.value.is_nan() && points.read[1].2.value == f64::INFINITY);
        let (rest, end) = read.points(last, 2).unwrap();
        assert_eq!((rest.read.len(), rest.read[0].2.step, end), (1, 3, 3));
        assert_eq!(read.points(end, 2).unwrap(), (Rows { read: Vec::new(), problems: Vec::new(), is_whole: true }, 3));
        assert_eq!(read.points_of("a", 2).unwrap().read.len(), 1);
        let before = read.fingerprint_of(3).unwrap();
        assert_eq!((before.is_some(), read.last_row().unwrap()), (true, 3));
        db.execute("DELETE FROM metrics WHERE step = 3", []).unwrap();
        assert_eq!((read.fingerprint_of(3).unwrap(), read.last_row().unwrap()), (None, 2));
        db.execute("INSERT INTO metrics VALUES ('a', 'loss', 0.5, 0, 9, 4)", []).unwrap();
        assert_ne!(read.fingerprint_of(3).unwrap(), before);
        db.execute("UPDATE runs SET status = 'FINISHED' WHERE run_uuid = 'a'", []).unwrap();
        assert_ne!(read.runs().unwrap().read[0].fingerprint, run.fingerprint);
    }

    #[test]
    fn rows_without_a_value_or_with_another_type_are_left_out_and_told_and_keep_no_other_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mlflow.db");
        let db = Connection::open(&path).unwrap();
        db.execute_batch(SCHEMA).unwrap();
        db.execute_batch(
            "INSERT INTO experiments VALUES (1, 'vision', 'active');
             INSERT INTO runs VALUES ('a', 1, 'first', NULL, 'RUNNING', 5, NULL, NULL, 'active'),
                 (NULL, 1, 'none', NULL, 'RUNNING', 5, NULL, NULL, 'active');
             INSERT INTO params VALUES ('a', 'blob', x'00ff'), ('a', 'lr', 5);
             INSERT INTO tags VALUES (NULL, 'k', 'v'), ('a', 'team', 'x');
             INSERT INTO metrics VALUES ('a', 'loss', NULL, 0, 1, 0), ('a', 'loss', 'high', 0, 1, 1),
                 ('a', 'loss', 0.5, NULL, 1, 2), ('a', 'loss', 0.25, 0, NULL, 3);",
        )
        .unwrap();
        let read = MlflowDb::open(&path).unwrap();
        let runs = read.runs().unwrap();
        let [run] = &runs.read[..] else { panic!("one run is there: {runs:?}") };
        assert!(run.logged.contains(&Logged::Param("lr".into(), "5".into())), "{run:?}");
        assert!(run.logged.contains(&Logged::Tag("team".into(), "x".into())), "{run:?}");
        let left_out =
            |table: &str| format!("1 row of the table {table} left out, without a value or with one of another type");
        assert_eq!(runs.problems, ["params", "tags", "runs"].map(left_out));
        let (points, last) = read.points(0, 10).unwrap();
        assert_eq!((points.read.len(), points.read[0].2.step, last), (1, 2, 4));
        assert!(points.problems[0].starts_with("3 rows of the table metrics left out"), "{points:?}");
        assert!(read.fingerprint_of(1).unwrap().is_some(), "the last row may be one that is left out");
    }

    #[test]
    fn points_before_a_damaged_page_are_read_and_the_damage_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mlflow.db");
        let db = Connection::open(&path).unwrap();
        db.execute_batch(SCHEMA).unwrap();
        db.execute_batch(
            "WITH RECURSIVE steps(step) AS (SELECT 0 UNION ALL SELECT step + 1 FROM steps WHERE step < 5000)
             INSERT INTO metrics SELECT 'a', 'loss', step, 0, 1700000000000, step FROM steps;",
        )
        .unwrap();
        drop(db);
        let mut bytes = std::fs::read(&path).unwrap();
        let half = bytes.len() / 2 / 4096 * 4096;
        bytes[half..half + 4096].fill(0xff);
        std::fs::write(&path, bytes).unwrap();
        let (points, last) = MlflowDb::open(&path).unwrap().points(0, 100_000).unwrap();
        assert!(points.read.len() > 1000 && points.read.len() < 5001, "{}", points.read.len());
        assert_eq!((last, points.is_whole), (points.read.len() as u64, false));
        assert!(points.problems[0].contains("cannot be read to its end"), "{:?}", points.problems);
    }
}
