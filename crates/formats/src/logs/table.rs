//! Metrics as lines of a CSV, or as JSON objects one a line.
//!
//! A line's step is in the first of the columns [`STEPS`] that it has, else its number; its time in the first of [`TIMES`], else
//! that of the file. A time is a number of seconds or milliseconds since the Unix epoch, or ISO 8601.

use super::json::Leaves;
use super::lines::{lines_before, read_lines};
use super::{LONGEST_KEY, fingerprint_of, json};
use assay_domain::foreign::{Logged, Part};
use assay_domain::{Point, Timestamp};
use jiff::civil;
use jiff::tz::TimeZone;
use serde_json::Value;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::UNIX_EPOCH;

const STEPS: [&str; 7] = ["step", "_step", "global_step", "iteration", "iter", "batch", "epoch"];
const TIMES: [&str; 5] = ["timestamp", "_timestamp", "wall_time", "time", "created_at"];

/// A part of a CSV holds about as many points at most.
const PART_POINTS: usize = 1 << 19;

/// No longer line is read.
const LINE_BYTES: u64 = 1 << 24;

/// Whether a CSV is of metrics: it has a column of steps and none of paths.
pub(super) fn is_of_metrics(path: &Path) -> bool {
    let headers = csv::Reader::from_path(path).and_then(|mut reader| reader.headers().cloned());
    headers.is_ok_and(|headers| {
        let has = |names: &[&str]| headers.iter().any(|header| names.iter().any(|name| header.trim() == *name));
        has(&STEPS) && !has(&["path", "file", "filename", "image"])
    })
}

/// Reads the lines of a CSV after so many that were read. Programs write such a file anew when a column is added.
pub(super) fn read_csv(path: &Path, from: u64, is_settled: bool) -> std::io::Result<Part> {
    let wall_ms = modified(path)?;
    let mut part = Part { read: from, ..Part::default() };
    let file = File::open(path)?;
    // Whether the last line is whole is known by its end, or when nothing was added for a while.
    let whole = if is_settled { file.metadata()?.len() } else { end_of_lines(&file)? };
    let lines = BufReader::new(file.take(whole));
    let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(lines);
    let headers = match reader.headers() {
        Ok(headers) => headers.clone(),
        Err(why) => return Ok(Part { damage: Some(why.to_string()), ..part }),
    };
    let keys: Vec<&str> = headers.iter().map(|key| key.trim_start_matches('\u{feff}')).collect();
    for (number, record) in (0..).zip(reader.records()).skip(usize::try_from(from).unwrap_or(usize::MAX)) {
        if part.logged.len() >= PART_POINTS {
            part.has_more = true;
            break;
        }
        part.read = number + 1;
        let Ok(record) = record else {
            part.left_out += 1;
            continue;
        };
        let mut line = Line::default();
        for (key, text) in keys.iter().zip(record.iter()).filter(|(_, text)| !text.is_empty()) {
            if key.len() > LONGEST_KEY || !line.take((*key).to_owned(), text.parse().ok(), Some(text)) {
                part.left_out += 1;
            }
        }
        add(&mut part, line, number, wall_ms);
    }
    if part.read > from {
        part.logged.push(Logged::Heard(Timestamp(wall_ms)));
    }
    Ok(part)
}

/// Where the last line that has an end ends.
fn end_of_lines(mut file: &File) -> std::io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut piece = [0; 4096];
    loop {
        let length = end.min(piece.len() as u64);
        file.seek(SeekFrom::Start(end - length))?;
        let piece = &mut piece[..length as usize];
        file.read_exact(piece)?;
        match piece.iter().rposition(|&byte| byte == b'\n') {
            None if end > length => end -= length,
            found => {
                file.rewind()?;
                return Ok(found.map_or(0, |place| end - length + place as u64 + 1));
            }
        }
    }
}

/// Reads JSON lines on from this byte.
pub(super) fn read_json(path: &Path, from: u64, is_settled: bool) -> std::io::Result<Part> {
    let wall_ms = modified(path)?;
    let parsed = |line: &[u8]| std::str::from_utf8(line).ok().and_then(json::parsed);
    // The rest of a line may come late.
    let is_whole = |line: &[u8]| is_settled && parsed(line).is_some();
    let mut number = None;
    let mut part = read_lines(path, from, LINE_BYTES, is_whole, |part, line| {
        match parsed(line) {
            Some(Value::Object(object)) => {
                let mut of_line = Line::default();
                let mut leaves = Leaves::default();
                object.into_iter().for_each(|(key, value)| leaves.add(key, value));
                part.left_out += leaves.left_out;
                for (key, value) in leaves.found.into_iter().filter(|(_, value)| !value.is_null()) {
                    if !of_line.take(key, json::number(&value), value.as_str()) {
                        part.left_out += 1;
                    }
                }
                if number.is_none() && step_of(&of_line.values).is_none() {
                    number = Some(lines_before(path, part.read)?);
                }
                add(part, of_line, number.unwrap_or_default(), wall_ms);
            }
            _ if line.trim_ascii().is_empty() => {}
            _ => part.left_out += 1,
        }
        number = number.map(|number| number + 1);
        Ok(())
    })?;
    if part.read > from {
        part.logged.push(Logged::Heard(Timestamp(wall_ms)));
    }
    Ok(part)
}

/// The seconds since the Unix epoch that a text in a column of times is; one without a zone is of this machine's.
fn seconds(key: &str, text: &str) -> Option<f64> {
    if !TIMES.contains(&key) {
        return None;
    }
    let of_this_zone =
        || text.parse::<civil::DateTime>().ok()?.to_zoned(TimeZone::system()).ok().map(|at| at.timestamp());
    let at = text.parse::<jiff::Timestamp>().ok().or_else(of_this_zone)?;
    Some(at.as_millisecond() as f64 / 1e3)
}

/// What a line says.
#[derive(Default)]
struct Line {
    values: Vec<(String, f64)>,
    /// Times that are texts, in seconds: no metrics, whether or not they are the line's time.
    times: Vec<(String, f64)>,
}

impl Line {
    /// Takes a number, or a text in a column of times; says whether it was either.
    fn take(&mut self, key: String, number: Option<f64>, text: Option<&str>) -> bool {
        let time = || text.and_then(|text| seconds(&key, text));
        if let Some(number) = number {
            self.values.push((key, number));
        } else if let Some(time) = time() {
            self.times.push((key, time));
        } else {
            return false;
        }
        true
    }
}

fn step_of(values: &[(String, f64)]) -> Option<&(String, f64)> {
    STEPS.iter().find_map(|name| values.iter().find(|(key, _)| key == name))
}

/// Adds the points of a line; `number` is its step where it names none.
fn add(part: &mut Part, Line { values, times }: Line, number: u64, wall_ms: i64) {
    let step = step_of(&values).cloned();
    let time = TIMES.iter().find_map(|name| values.iter().chain(&times).find(|(key, _)| key == name).cloned());
    let wall_ms = time.as_ref().map_or(wall_ms, |(_, time)| match *time {
        seconds if seconds.abs() < 1e11 => (seconds * 1e3).round() as i64,
        milliseconds => milliseconds as i64,
    });
    let is_of_line =
        |key: &String| [&step, &time].into_iter().flatten().any(|(name, _)| name == key && name != "epoch");
    let step = step.as_ref().map_or(number as i64, |(_, step)| *step as i64);
    for (key, value) in values.into_iter().filter(|(key, _)| !is_of_line(key)) {
        part.logged.push(Logged::Point(key, Point { step, wall_ms, value }));
    }
}

fn modified(path: &Path) -> std::io::Result<i64> {
    Ok(fingerprint_of(&std::fs::metadata(path)?).1.duration_since(UNIX_EPOCH).map_or(0, |at| at.as_millis() as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(part: &Part) -> Vec<(&str, i64, f64)> {
        let points = part.logged.iter().filter_map(|logged| match logged {
            Logged::Point(key, point) => Some((key.as_str(), point.step, point.value)),
            _ => None,
        });
        points.collect()
    }

    #[test]
    fn lines_that_were_read_are_not_read_again_when_a_column_is_added() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("metrics.csv");
        std::fs::write(&path, "epoch,step,loss\n0,10,0.5\n0,20,\n1,30,0.2").expect("a file");
        assert!(is_of_metrics(&path));
        let first = read_csv(&path, 0, false).expect("it reads");
        assert_eq!(points(&first), [("epoch", 10, 0.0), ("loss", 10, 0.5), ("epoch", 20, 0.0)]);
        std::fs::write(&path, "epoch,step,loss,acc\n0,10,0.5,\n0,20,,\n1,30,0.25,high\n").expect("a file");
        let rest = read_csv(&path, first.read, false).expect("it reads");
        assert_eq!((points(&rest), rest.left_out), (vec![("epoch", 30, 1.0), ("loss", 30, 0.25)], 1));
        assert_eq!(points(&read_csv(&path, rest.read, true).expect("it reads")), []);
    }

    #[test]
    fn json_lines_may_be_nested_and_the_last_one_waits_for_its_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log.jsonl");
        let text =
            "{\"step\": 3, \"timestamp\": 5.5, \"val\": {\"acc\": 0.5}, \"note\": \"x\"}\nnonsense\n{\"loss\": NaN}";
        std::fs::write(&path, text).expect("a file");
        let first = read_json(&path, 0, false).expect("it reads");
        assert_eq!((points(&first), first.left_out), (vec![("val.acc", 3, 0.5)], 2));
        assert!(first.logged.contains(&Logged::Point("val.acc".into(), Point { step: 3, wall_ms: 5500, value: 0.5 })));
        let rest = read_json(&path, first.read, true).expect("it reads");
        let [(key, step, value)] = points(&rest)[..] else { panic!("one point") };
        assert!(key == "loss" && step == 2 && value.is_nan());
        assert_eq!(rest.read, text.len() as u64);
    }

    #[test]
    fn times_are_numbers_or_iso_8601() {
        let folder = tempfile::tempdir().expect("a folder");
        let (csv, json) = (folder.path().join("metrics.csv"), folder.path().join("log.jsonl"));
        let times = ["1700000000.25", "1700000000250", "2023-11-14T22:13:20.25Z", "2023-11-14 23:13:20.250000+01:00"];
        let lines: Vec<String> = times.iter().map(|time| format!("1,{time},0.5\n")).collect();
        std::fs::write(&csv, format!("step,time,loss\n{}1,soon,0.5\n", lines.concat())).expect("a file");
        let lines: Vec<String> = times
            .iter()
            .map(|time| format!("{{\"time\": \"{time}\", \"loss\": 1, \"created_at\": \"2020-01-01T00:00Z\"}}\n"))
            .collect();
        std::fs::write(&json, lines[2..].concat()).expect("a file");
        let walls = |part: &Part| -> Vec<i64> {
            let wall = |logged: &Logged| match logged {
                Logged::Point(_, point) => Some(point.wall_ms),
                _ => None,
            };
            part.logged.iter().filter_map(wall).collect()
        };
        let read = read_csv(&csv, 0, true).expect("it reads");
        assert_eq!((&walls(&read)[..4], read.left_out), (&[1_700_000_000_250; 4][..], 1));
        assert_eq!(walls(&read_json(&json, 0, true).expect("it reads")), [1_700_000_000_250; 2]);
        // Of the zone of this machine, which is at most a day away.
        let local = seconds("time", "2023-11-14T22:13:20").expect("a time");
        assert!((local - 1.7e9).abs() <= 86_400.0 && seconds("loss", "2023-11-14T22:13:20").is_none());
    }
}
