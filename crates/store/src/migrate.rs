//! Migrations: append-only, each applied once, in one transaction.

use crate::table::{
    alert, artifact, client_run, dataset, direction, evaluation, event, experiment, job, label, logged, registry, run,
    sample, segment, series, setting, snapshot, source,
};
use crate::{Result, StoreError};
use rusqlite::Connection;
use std::path::Path;

/// "asay" in the file's header, so that another program's database is recognised.
const APPLICATION: i64 = 0x6173_6179;

/// Every step from an empty file to today's tables. Never change an entry that has been released: append one.
const STEPS: &[&[&str]] = &[
    &[
        event::TABLES,
        experiment::TABLES,
        run::TABLES,
        series::TABLES,
        artifact::TABLES,
        dataset::TABLES,
        label::TABLES,
        snapshot::TABLES,
        evaluation::TABLES,
        job::TABLES,
    ],
    &[setting::TABLES],
    &[evaluation::EMBEDDINGS],
    &[dataset::SETS, label::SETS, snapshot::SETS, evaluation::SETS],
    &[
        client_run::TABLES,
        experiment::CLIENTS,
        artifact::CLIENTS,
        evaluation::EMBEDDINGS_APART,
        series::LAST_WALL,
        series::SMALL,
        series::IS_LATEST,
        series::LATEST,
        registry::TABLES,
        logged::TABLES,
    ],
    &[source::TABLES],
    &[alert::TABLES],
    &[event::ONCE, run::PARAMS_BY_VALUE],
    &[sample::IDENTITY],
    &[direction::TABLES, run::TAGS_BY_KEY, alert::FAILURES_ONLY],
    &[source::MARKS, segment::KEPT, client_run::HIDDEN_NAMES],
];

/// The format that this version writes.
pub(crate) const FORMAT: i64 = STEPS.len() as i64;

/// Refuses, without touching it, a database that is not ours or newer than us; returns its format.
pub(crate) fn check(connection: &Connection, path: &Path) -> Result<i64> {
    let foreign = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt) => {
            StoreError::Foreign(path.to_owned())
        }
        _ => error.into(),
    };
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(foreign)?;
    let application: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(foreign)?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(foreign)?;
    if tables > 0 && application != APPLICATION {
        return Err(StoreError::Foreign(path.to_owned()));
    }
    if found > FORMAT {
        return Err(StoreError::Newer { found, known: FORMAT, path: path.to_owned() });
    }
    Ok(found)
}

/// Brings the database to today's format.
pub(crate) fn migrate(connection: &mut Connection, path: &Path) -> Result<()> {
    let found = check(connection, path)?;
    for (step, tables) in STEPS.iter().enumerate().skip(found as usize) {
        let transaction = connection.transaction()?;
        for statements in *tables {
            transaction.execute_batch(statements)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", step as i64 + 1)?;
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_domain::entity::Event;
    use assay_domain::{ClassId, DatasetId, EvaluationId, EventSeq, Label, Labelling, RunId, SampleId, Timestamp};

    /// A database of an old format.
    fn old(path: &Path, format: usize) -> Connection {
        let connection = Connection::open(path).unwrap();
        for statements in STEPS[..format].iter().flat_map(|step| step.iter()) {
            connection.execute_batch(statements).unwrap();
        }
        connection.pragma_update(None, "foreign_keys", true).unwrap();
        connection.pragma_update(None, "application_id", APPLICATION).unwrap();
        connection.pragma_update(None, "user_version", format as i64).unwrap();
        connection
    }

    #[test]
    fn whatever_the_experiments_are_named_the_default_one_is_the_first() {
        for (name, other) in
            [("default", "Default"), ("Default", "default"), ("default", "x"), ("x", "Default"), ("x", "y")]
        {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("assay.db");
            let mut connection = old(&path, 4);
            let insert = "INSERT INTO experiments VALUES (1, ?1, 5), (2, ?2, 5)";
            connection.execute(insert, [name, other]).unwrap();
            let insert = "INSERT INTO runs (uid, experiment, name, status, created, config)
                          VALUES ('u', 1, 'r', 'finished', 5, ''), ('v', 2, 's', 'finished', 5, '')";
            connection.execute(insert, []).unwrap();
            migrate(&mut connection, &path).unwrap();
            let reader = crate::Reader { db: &connection };
            let experiments = reader.experiments().unwrap();
            let default = experiments.iter().find(|found| found.name == "Default").expect("it is there");
            let renamed = [name, other].iter().filter(|name| name.eq_ignore_ascii_case("default")).count() as i64;
            let runs =
                "SELECT count(*) FROM runs JOIN experiments ON experiments.id = experiment WHERE experiment = 0 OR ?1";
            let runs = |all: bool| connection.query_row(runs, [all], |row| row.get::<_, i64>(0)).unwrap();
            assert_eq!((default.id.0, runs(false), runs(true)), (0, renamed, 2), "{name} {other}");
        }
    }

    #[test]
    fn the_first_rule_tells_of_failures_only_unless_someone_changed_it() {
        let by_itself = r#"{"name":"A run ended","condition":{"when":"ended","statuses":["finished","failed","crashed"]},"filter":"","desktop":true,"webhook":null,"enabled":true}"#;
        let changed = by_itself.replace(r#""filter":"""#, r#""filter":"night""#);
        for (rule, is_changed, unseen) in [(by_itself, true, 1), (&changed, false, 2)] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("assay.db");
            let mut connection = old(&path, 8);
            let insert = "INSERT INTO alert_rules (id, created, watched, enabled, rule) VALUES (1, 5, 'end', 1, ?1)";
            connection.execute(insert, [rule]).unwrap();
            connection
                .execute_batch(
                    "INSERT INTO alerts (rule, rule_name, run, occasion, at, message, desktop)
                     VALUES (1, 'A run ended', 1, '1', 5, 'the run finished', 1),
                            (1, 'A run ended', 2, '1', 5, 'the run failed: finished badly', 1)",
                )
                .unwrap();
            migrate(&mut connection, &path).unwrap();
            let reader = crate::Reader { db: &connection };
            let kept = reader.rules().unwrap().remove(0).rule;
            let condition = if is_changed { "ended failed, crashed" } else { "ended finished, failed, crashed" };
            assert_eq!((kept.condition.to_string().as_str(), reader.unseen_alerts().unwrap()), (condition, unseen));
        }
    }

    #[test]
    fn of_equal_events_the_latest_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("assay.db");
        let mut connection = old(&path, 7);
        let [first, second] = [1, 2].map(|run| Event::MetricsLogged { run: RunId(run) });
        for event in [&first, &second, &first] {
            event::append(&connection, Timestamp(5), event).unwrap();
        }
        migrate(&mut connection, &path).unwrap();
        let kept = |connection: &Connection, after| {
            let events = crate::Reader { db: connection }.events(EventSeq(after), 10).unwrap();
            events.into_iter().map(|event| (event.seq.0, event.event)).collect::<Vec<_>>()
        };
        assert_eq!(kept(&connection, 0), [(2, second.clone()), (3, first.clone())]);
        assert_eq!(event::append(&connection, Timestamp(6), &second).unwrap(), EventSeq(4));
        assert_eq!(kept(&connection, 0), [(3, first), (4, second.clone())]);
        assert_eq!(kept(&connection, 3), [(4, second)], "who has heard of the others hears of it again");
    }

    #[test]
    fn labels_of_one_class_become_sets() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("assay.db");
        let mut connection = old(&path, 3);
        connection
            .execute_batch(
                "INSERT INTO datasets VALUES (1, 'd', '/d', 0, 0, 0.1, 0.2);
                 INSERT INTO classes VALUES (1, 0, 'cat'), (1, 1, 'dog');
                 INSERT INTO samples VALUES (1, 1, 'a', 'h', 1, 1, 8, 8, 'train', 1), (2, 1, 'b', 'i', 1, 1, 8, 8, 'val', NULL);
                 INSERT INTO annotations (dataset, sample, before, after, at, author, person, action)
                 VALUES (1, 1, 0, 1, 5, '\"import\"', NULL, 'edit'), (1, 2, 1, NULL, 5, '\"import\"', NULL, 'edit');
                 INSERT INTO predictions (evaluation, sample, label, predicted, loss, confidence, probabilities)
                 VALUES (1, 1, 1, 0, 0.5, 0.9, x''), (1, 2, NULL, 1, NULL, 0.9, x'');",
            )
            .unwrap();
        migrate(&mut connection, &path).unwrap();
        let reader = crate::Reader { db: &connection };
        let [cat, dog] = [0, 1].map(|class| Some(Label::one(ClassId(class))));
        let samples = reader.all_samples(DatasetId(1)).unwrap();
        assert_eq!([&samples[0].label, &samples[1].label], [&dog, &None]);
        let edits = [1, 2].map(|sample| reader.label_history(SampleId(sample)).unwrap().remove(0));
        assert_eq!((&edits[0].before, &edits[0].after), (&cat, &dog));
        assert_eq!((&edits[1].before, &edits[1].after), (&dog, &None));
        let dataset = reader.dataset(DatasetId(1)).unwrap();
        assert_eq!(
            (dataset.labelling, dataset.samples, dataset.labeled, dataset.counts.len()),
            (Labelling::OneClass, 2, 1, 1)
        );
        let all = crate::PredictionFilter::default();
        let order = crate::PredictionOrder::Sample;
        let (predictions, _) = reader.predictions(EvaluationId(1), &all, order, 0, 10).unwrap();
        assert_eq!((&predictions[0].label, Some(&predictions[0].predicted)), (&dog, cat.as_ref()));
        assert_eq!((&predictions[1].label, Some(&predictions[1].predicted)), (&None, dog.as_ref()));
        let wrong = crate::PredictionFilter { wrong: true, ..all };
        assert_eq!(reader.predictions(EvaluationId(1), &wrong, order, 0, 10).unwrap().1, 1);
    }
}
