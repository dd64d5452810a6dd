//! `trainer_state.json` of the Hugging Face trainer: each checkpoint repeats the whole history. Also tells `.json`
//! formats apart.

use super::columns::Cell;
use super::json::{self, Leaves};
use super::seal::hash;
use super::text::Piece;
use super::{Former, Mark, Options, WRITTEN_ANEW, first_step, modified_ms, supersede};
use assay_domain::foreign::{Logged, Part};
use assay_domain::{Point, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The name of such a file.
pub(super) const NAME: &str = "trainer_state.json";

/// Maximum file size.
const MOST_BYTES: u64 = 256 << 20;

/// The step in a checkpoint folder's name.
pub(super) fn checkpoint(path: &Path) -> Option<u64> {
    path.parent()?.file_name()?.to_str()?.strip_prefix("checkpoint-")?.parse().ok()
}

/// The training's folder: above the checkpoints, or the file's own.
pub(super) fn folder(path: &Path) -> PathBuf {
    let own = path.parent().unwrap_or(Path::new(""));
    let of_training = checkpoint(path).and_then(|_| own.parent());
    of_training.unwrap_or(own).to_owned()
}

/// Whether a file named by the user is a state.
pub(super) fn is_state(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.eq_ignore_ascii_case(NAME))
        || state(path).is_ok_and(|state| state.is_some())
}

/// Whether a `.json` file is JSON lines.
pub(super) fn is_of_lines(path: &Path) -> bool {
    let Ok(piece) = Piece::read_up_to(path, 0, 64 << 10) else { return false };
    let mut lines = piece.lines().filter(|line| !line.text.trim().is_empty());
    let first = lines.next().and_then(|line| json::parsed(&line.text));
    matches!(first, Some(Value::Object(object)) if !object.contains_key("log_history"))
}

/// Parses a state; `None` if it is none.
fn state(path: &Path) -> std::io::Result<Option<Map<String, Value>>> {
    let mut text = String::new();
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST_BYTES).read_to_end(&mut bytes)?;
    text.push_str(&String::from_utf8_lossy(&bytes));
    let found = json::parsed(text.trim_start_matches('\u{feff}'));
    Ok(match found {
        Some(Value::Object(object)) if object.get("log_history").is_some_and(Value::is_array) => Some(object),
        _ => None,
    })
}

/// Stored reading state.
#[derive(Default, Serialize, Deserialize)]
struct Known {
    hash: String,
    keys: BTreeSet<String>,
}

/// Reads the new entries of the history.
pub(super) fn read(path: &Path, mark: &Mark, options: &Options) -> std::io::Result<Part> {
    let waits = |damage: Option<String>| Part { read: mark.read, state: mark.state.clone(), damage, ..Part::default() };
    let Some(mut state) = state(path)? else {
        // It may be only half written.
        return Ok(waits(options.is_settled.then(|| "it is no JSON with a log_history".into())));
    };
    let entries = match state.remove("log_history") {
        Some(Value::Array(entries)) => entries,
        _ => Vec::new(),
    };
    let hash_of =
        |entries: &[Value]| hash(entries.iter().map(Value::to_string).collect::<Vec<_>>().join("\n").as_bytes());
    let known: Option<Known> = match &mark.state {
        Some(state) => serde_json::from_str(state).ok(),
        None => Some(Known::default()),
    };
    let before = mark.read as usize;
    let is_known = |known: &Known| entries.get(..before).is_some_and(|entries| hash_of(entries) == known.hash);
    let is_same = before == 0 || known.as_ref().is_some_and(is_known);
    let from = if is_same { before } else { 0 };
    if entries.len() == from {
        return Ok(waits(None));
    }
    let wall_ms = modified_ms(path)?.min(options.now.0);
    let mut part = Part { read: entries.len() as u64, ..Part::default() };
    let former = match &known {
        Some(known) => Former { keys: Some(known.keys.iter().cloned().collect()), why: WRITTEN_ANEW },
        None => Former::unknown(),
    };
    let mut keys = known.filter(|_| is_same).unwrap_or_default().keys;
    for (number, entry) in entries.iter().enumerate().skip(from) {
        let Value::Object(entry) = entry else {
            part.left_out += 1;
            continue;
        };
        let nearest = |cell: &Cell| cell.number().filter(|step| step.is_finite()).map(|step| step as i64);
        let step = entry.get("step").and_then(json::cell).and_then(|cell| cell.step().or_else(|| nearest(&cell)));
        let mut leaves = Leaves::default();
        entry.iter().filter(|(key, _)| *key != "step").for_each(|(key, value)| leaves.add(key.clone(), value.clone()));
        for note in leaves.notes {
            if !part.notes.contains(&note) {
                part.notes.push(note);
            }
        }
        for (key, value) in leaves.found.into_iter().filter(|(_, value)| !value.is_null()) {
            match json::cell(&value).and_then(|cell| cell.number()) {
                Some(value) => {
                    let point = Point { step: step.unwrap_or(number as i64), wall_ms, value };
                    keys.insert(key.clone());
                    part.logged.push(Logged::Point(key, point));
                }
                None => {
                    part.left_out += 1;
                    *part.left_out_of.entry(key).or_default() += 1;
                }
            }
        }
    }
    for key in ["max_steps", "num_train_epochs", "train_batch_size", "eval_steps", "logging_steps", "save_steps"] {
        if let Some(value) = state.get(key).filter(|value| value.is_number()) {
            part.logged.push(Logged::Param(key.into(), value.to_string()));
        }
    }
    part.logged.push(Logged::Heard(Timestamp(wall_ms)));
    if !is_same {
        // The old points stand until the new file has some.
        if first_step(&part).is_none() {
            return Ok(waits(None));
        }
        supersede(&mut part, path, &former);
    }
    part.state = serde_json::to_string(&Known { hash: hash_of(&entries), keys }).ok();
    Ok(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(path: &Path, steps: &[(u32, f64)]) {
        let entry = |(step, loss): &(u32, f64)| {
            format!("{{\"epoch\": {}, \"loss\": {loss}, \"step\": {step}}}", f64::from(*step) / 8.0)
        };
        let entries: Vec<String> = steps.iter().map(entry).collect();
        let text = format!("{{\n \"max_steps\": 40,\n \"log_history\": [{}]\n}}", entries.join(",\n"));
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        std::fs::write(path, text).expect("a file");
    }

    fn losses(part: &Part) -> Vec<(i64, f64)> {
        let loss = |logged: &Logged| match logged {
            Logged::Point(key, point) if key == "loss" => Some((point.step, point.value)),
            _ => None,
        };
        part.logged.iter().filter_map(loss).collect()
    }

    #[test]
    fn the_history_is_read_on_from_checkpoint_to_checkpoint_and_anew_where_it_is_another() {
        let folder = tempfile::tempdir().expect("a folder");
        let [first, second] = [5, 10].map(|step| folder.path().join(format!("checkpoint-{step}")).join(NAME));
        let options = Options { now: Timestamp(i64::MAX), is_settled: true, ..Options::default() };
        history(&first, &[(1, 0.5), (5, 0.4)]);
        history(&second, &[(1, 0.5), (5, 0.4), (10, 0.3)]);
        assert_eq!((super::folder(&second), checkpoint(&second)), (folder.path().to_owned(), Some(10)));
        let part = read(&first, &Mark::default(), &options).expect("it reads");
        assert_eq!(losses(&part), [(1, 0.5), (5, 0.4)]);
        assert!(part.logged.contains(&Logged::Param("max_steps".into(), "40".into())));
        let mark = Mark { read: part.read, state: part.state };
        let rest = read(&second, &mark, &options).expect("it reads");
        assert_eq!(losses(&rest), [(10, 0.3)]);
        assert_eq!(
            losses(&read(&second, &Mark { read: rest.read, state: rest.state.clone() }, &options).expect("it reads")),
            []
        );
        history(&second, &[(1, 0.7), (5, 0.6)]);
        let anew = read(&second, &Mark { read: rest.read, state: rest.state }, &options).expect("it reads");
        assert!(matches!(&anew.logged[1], Logged::Restarted { step: 1, keys } if keys.contains(&"loss".to_owned())));
        assert_eq!(losses(&anew), [(1, 0.7), (5, 0.6)]);
    }

    #[test]
    fn a_replaced_trainer_state_without_points_supersedes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(NAME);
        let options = Options { now: Timestamp(i64::MAX), is_settled: true, ..Options::default() };
        history(&path, &[(1, 0.5), (5, 0.4)]);
        let part = read(&path, &Mark::default(), &options).expect("it reads");
        let mark = Mark { read: part.read, state: part.state };
        std::fs::write(&path, r#"{"log_history": [{"note": "x"}], "max_steps": 9}"#).expect("a file");
        let waits = read(&path, &mark, &options).expect("it reads");
        assert_eq!((waits.logged, waits.read, &waits.state), (Vec::new(), mark.read, &mark.state));
        // Nor does one whose first file had no points supersede those of other files.
        let mark = Mark { read: 2, state: Some(r#"{"hash": "", "keys": []}"#.into()) };
        history(&path, &[(1, 0.7)]);
        let anew = read(&path, &mark, &options).expect("it reads");
        assert!(!anew.logged.iter().any(|logged| matches!(logged, Logged::Restarted { .. })), "{:?}", anew.logged);
    }

    #[test]
    fn a_state_that_cannot_be_parsed_counts_as_a_file_read_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(NAME);
        let options = Options { now: Timestamp(i64::MAX), is_settled: true, ..Options::default() };
        history(&path, &[(1, 0.5), (5, 0.4)]);
        let part = read(&path, &Mark { read: 2, state: Some("{".into()) }, &options).expect("it reads");
        assert_eq!(losses(&part), [(1, 0.5), (5, 0.4)]);
        let keys = part.logged.iter().find_map(|logged| match logged {
            Logged::Restarted { step: 1, keys } => Some(keys.clone()),
            _ => None,
        });
        assert_eq!(keys, Some(vec!["epoch".to_owned(), "loss".to_owned()]));
        assert!(part.notes.iter().any(|note| note.contains("cannot be read")), "{:?}", part.notes);
    }

    #[test]
    fn one_odd_number_costs_no_other_value() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(NAME);
        let options = Options { now: Timestamp(i64::MAX), is_settled: true, ..Options::default() };
        let text =
            r#"{"log_history": [{"step": 1, "loss": 1e400}, {"step": "2", "loss": nan}, {"step": 3, "loss": "0.25"}]}"#;
        std::fs::write(&path, text).expect("a file");
        let part = read(&path, &Mark::default(), &options).expect("it reads");
        let losses = losses(&part);
        assert_eq!((losses[0], losses[2]), ((1, f64::INFINITY), (3, 0.25)));
        assert!(losses[1].0 == 2 && losses[1].1.is_nan());
    }
}
