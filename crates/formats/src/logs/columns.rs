//! Chooses a table's step and time columns: names propose, values decide.

use jiff::civil;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};

/// Names of step columns, best first, as normalised by [`plain`].
const STEPS: [&str; 24] = [
    "step",
    "_step",
    "global_step",
    "trainer/global_step",
    "train/global_step",
    "current_steps",
    "current_step",
    "training_iteration",
    "iteration",
    "iterations",
    "iter",
    "total_timesteps",
    "time/total_timesteps",
    "timesteps_total",
    "timesteps",
    "num_timesteps",
    "env_steps",
    "num_env_steps_sampled",
    "total_env_steps",
    "update",
    "it",
    "batch",
    "epoch",
    "epochs",
];

/// Names of time columns, best first.
const TIMES: [&str; 12] = [
    "timestamp",
    "_timestamp",
    "wall_time",
    "walltime",
    "time",
    "created_at",
    "datetime",
    "date_time",
    "date",
    "time_stamp",
    "ts",
    "logged_at",
];

/// 2000-01-01: earlier times come from a clock that was not set.
pub(super) const EARLIEST_MS: i64 = 946_684_800_000;

/// Tolerated clock skew into the future.
const AHEAD_MS: i64 = 86_400_000;

/// Maximum number of columns of epochs that are looked at.
const EPOCH_COLUMNS: usize = 8;

/// A value of a table.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    /// An integer.
    Whole(i64),
    /// Any other number.
    Number(f64),
    /// Anything else.
    Text(String),
}

impl Cell {
    /// Parses a value. If columns are separated by `;`, a decimal comma is accepted.
    pub(super) fn of(text: &str, delimiter: u8) -> Cell {
        let number = |text: &str| text.parse::<i64>().map(Cell::Whole).or_else(|_| text.parse().map(Cell::Number));
        let with_point = || match delimiter {
            b';' if text.matches(',').count() == 1 => number(&text.replace(',', ".")).ok(),
            _ => None,
        };
        number(text).ok().or_else(with_point).unwrap_or_else(|| Cell::Text(text.to_owned()))
    }

    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Cell::Whole(number) => Some(*number as f64),
            Cell::Number(number) => Some(*number),
            Cell::Text(_) => None,
        }
    }

    /// Whether it is a number but no step.
    pub(super) fn is_fraction(&self) -> bool {
        self.step().is_none() && self.number().is_some_and(f64::is_finite)
    }

    /// The value as a step.
    pub(super) fn step(&self) -> Option<i64> {
        match self {
            Cell::Whole(number) => Some(*number),
            // Larger doubles are not exact integers.
            Cell::Number(number) if number.fract() == 0.0 && number.abs() <= 9.0e15 => Some(*number as i64),
            Cell::Number(_) | Cell::Text(_) => None,
        }
    }

    /// The value as milliseconds since the Unix epoch: from seconds, milli-, micro- or nanoseconds, or ISO 8601, in the
    /// local zone if it names none. `None` outside plausible times.
    pub(super) fn wall_ms(&self, now_ms: i64) -> Option<i64> {
        let plausible = |ms: &f64| (EARLIEST_MS as f64..=now_ms.saturating_add(AHEAD_MS) as f64).contains(ms);
        match self {
            Cell::Text(text) => Some(of_iso(text)?.as_millisecond() as f64).filter(plausible).map(|ms| ms as i64),
            number => {
                let number = number.number()?;
                let found = [1e3, 1.0, 1e-3, 1e-6].into_iter().map(|factor| (number * factor).round()).find(plausible);
                found.map(|ms| ms as i64)
            }
        }
    }
}

fn of_iso(text: &str) -> Option<jiff::Timestamp> {
    let of_this_zone =
        || text.parse::<civil::DateTime>().ok()?.to_zoned(TimeZone::system()).ok().map(|at| at.timestamp());
    text.parse::<jiff::Timestamp>().ok().or_else(of_this_zone)
}

/// A line's values with their columns.
pub(super) type Row = Vec<(String, Cell)>;

/// The chosen columns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Choice {
    /// The step column; line numbers if `None`.
    pub(super) step: Option<String>,
    /// The time column; the file's time if `None`.
    pub(super) time: Option<String>,
}

impl std::fmt::Display for Choice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.step {
            Some(step) => write!(f, "steps of {step:?}")?,
            None => f.write_str("steps by the lines' numbers")?,
        }
        match &self.time {
            Some(time) => write!(f, ", times of {time:?}"),
            None => f.write_str(", times of the file"),
        }
    }
}

/// Normalises a name: lower case, parts joined by `/`, words by `_`.
pub(super) fn plain(name: &str) -> String {
    name.trim().to_lowercase().replace([' ', '-'], "_").replace('.', "/")
}

/// Whether the name suggests steps.
pub(super) fn named_as_step(name: &str) -> bool {
    STEPS.contains(&plain(name).as_str())
}

/// Whether the last part of a name says that it counts epochs, as `train/epoch`.
pub(super) fn named_as_epoch(name: &str) -> bool {
    let name = name.trim();
    let name = name.strip_suffix(['s', 'S']).unwrap_or(name);
    let Some(begin) = name.len().checked_sub("epoch".len()) else { return false };
    name.get(begin..).is_some_and(|last| last.eq_ignore_ascii_case("epoch"))
        && name[..begin].chars().next_back().is_none_or(|before| matches!(before, '/' | '.'))
}

/// Whether another epoch began between two values, of which fractions count too.
fn is_next_epoch(before: f64, epoch: f64) -> bool {
    epoch.floor() > before.floor() || epoch.ceil() > before.ceil()
}

/// The last value of each column that counts epochs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Epochs(BTreeMap<String, f64>);

impl Epochs {
    /// Takes the epochs of a line; whether another one began with it.
    pub(super) fn begin_with(&mut self, row: &Row) -> bool {
        let mut begins = false;
        for (name, cell) in row.iter().filter(|(name, _)| named_as_epoch(name)) {
            let Some(epoch) = cell.number().filter(|epoch| epoch.is_finite()) else { continue };
            if let Some(before) = self.0.get_mut(name) {
                begins |= is_next_epoch(std::mem::replace(before, epoch), epoch);
            } else if self.0.len() < EPOCH_COLUMNS {
                self.0.insert(name.clone(), epoch);
            }
        }
        begins
    }
}

/// Statistics of a column.
#[derive(Default)]
struct Steps {
    present: usize,
    is_whole: bool,
    rises: usize,
    /// The lines at which it falls.
    falls: Vec<usize>,
}

impl Steps {
    fn of(column: &str, rows: &[Row]) -> Steps {
        let mut seen = Steps { is_whole: true, ..Steps::default() };
        let mut before = None;
        for (line, row) in rows.iter().enumerate() {
            let Some((_, cell)) = row.iter().find(|(name, _)| name == column) else { continue };
            if cell.is_fraction() {
                seen.is_whole = false;
            }
            // A word or NaN in one line does not disqualify.
            let Some(step) = cell.step() else { continue };
            seen.present += 1;
            match before.replace(step).map(|before| step.cmp(&before)) {
                Some(std::cmp::Ordering::Greater) => seen.rises += 1,
                Some(std::cmp::Ordering::Less) => seen.falls.push(line),
                _ => {}
            }
        }
        seen
    }

    fn is_step(&self) -> bool {
        self.is_whole && self.present > 0
    }
}

/// Whether a column has numbers that are no steps.
pub(super) fn has_fractions(column: &str, rows: &[Row]) -> bool {
    !Steps::of(column, rows).is_whole
}

/// Step columns that later lines contradicted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Refused {
    /// With a fraction.
    #[serde(default)]
    pub(super) fractions: Vec<String>,
    /// Counting within each epoch.
    #[serde(default)]
    pub(super) within_epochs: Vec<String>,
}

/// Chooses columns by a table's first lines, excluding `refused` step columns.
pub(super) fn choose(rows: &[Row], refused: &Refused, now_ms: i64) -> Choice {
    let time = best(rows, &TIMES, &Refused::default()).into_iter().find(|column| is_time(column, rows, now_ms));
    Choice { step: step_of(rows, refused), time }
}

fn step_of(rows: &[Row], refused: &Refused) -> Option<String> {
    let candidates = best(rows, &STEPS, refused).into_iter();
    let candidates: Vec<(String, Steps)> =
        candidates.map(|column| (column.clone(), Steps::of(&column, rows))).collect();
    let usable = || candidates.iter().filter(|(_, steps)| steps.is_step());
    let counts = || usable().filter(|(column, _)| !named_as_epoch(column));
    // Present in most lines, and not constant.
    let rising = |(_, steps): &&(String, Steps)| {
        steps.falls.is_empty() && (steps.rises > 0 || steps.present < 2) && steps.present * 2 >= rows.len()
    };
    if let Some((column, _)) = counts().find(rising) {
        return Some(column.clone());
    }
    // A counter restarting every epoch is relative: neither it nor the epoch orders the lines.
    if !refused.within_epochs.is_empty() {
        return None;
    }
    let epoch_begins = epoch_begins(rows);
    let is_within = |steps: &Steps| {
        let at_begins = |begins: &HashSet<usize>| steps.falls.iter().all(|line| begins.contains(line));
        !steps.falls.is_empty() && epoch_begins.iter().any(at_begins)
    };
    let mut falling = counts().filter(|(_, steps)| !steps.falls.is_empty() && steps.rises > steps.falls.len());
    match falling.next() {
        Some((_, steps)) if is_within(steps) => return None,
        // A resumed training goes back.
        Some((column, _)) => return Some(column.clone()),
        None => {}
    }
    let epoch = usable().find(|(column, steps)| named_as_epoch(column) && steps.falls.is_empty());
    let other = || {
        usable().find(|(column, steps)| match steps.rises {
            0 => steps.falls.is_empty() && !has_repeats(column, rows),
            rises => rises >= steps.falls.len() && !is_within(steps),
        })
    };
    usable().find(rising).or(epoch).or_else(other).map(|(column, _)| column.clone())
}

/// The lines at which another epoch begins, by each column that counts epochs and never falls.
fn epoch_begins(rows: &[Row]) -> Vec<HashSet<usize>> {
    let mut columns: Vec<&String> = rows.iter().flatten().map(|(name, _)| name).collect();
    columns.retain(|name| named_as_epoch(name));
    columns.sort_unstable();
    columns.dedup();
    columns.truncate(EPOCH_COLUMNS);
    let begins = |column: &String| {
        let (mut before, mut begins) = (None, HashSet::new());
        for (line, row) in rows.iter().enumerate() {
            let cell = row.iter().find(|(name, _)| name == column).and_then(|(_, cell)| cell.number());
            let Some(epoch) = cell.filter(|epoch| epoch.is_finite()) else { continue };
            match before.replace(epoch) {
                Some(before) if epoch < before => return None,
                Some(before) if is_next_epoch(before, epoch) => _ = begins.insert(line),
                _ => {}
            }
        }
        Some(begins)
    };
    columns.into_iter().filter_map(begins).collect()
}

/// Whether a number comes more than once beside a constant column, which therefore cannot order its values. Several
/// lines of one step with different metrics are none such.
fn has_repeats(column: &str, rows: &[Row]) -> bool {
    let mut seen = HashSet::new();
    let lines = rows.iter().filter(|row| row.iter().any(|(name, _)| name == column));
    let mut numbers = lines.flatten().filter(|(name, cell)| {
        let is_metric = name != column && !named_as_epoch(name) && !matches!(cell, Cell::Text(_));
        is_metric && !named_as_step(name) && !TIMES.contains(&plain(name).as_str())
    });
    numbers.any(|(name, _)| !seen.insert(name))
}

/// Whether most values of a column are plausible times.
pub(super) fn is_time(column: &str, rows: &[Row], now_ms: i64) -> bool {
    let cells: Vec<&Cell> = rows.iter().flatten().filter(|(name, _)| name == column).map(|(_, cell)| cell).collect();
    let times = cells.iter().filter(|cell| cell.wall_ms(now_ms).is_some()).count();
    times > 0 && times * 2 >= cells.len()
}

/// Columns with these names, best first.
fn best(rows: &[Row], names: &[&str], refused: &Refused) -> Vec<String> {
    let mut columns: Vec<&String> = rows.iter().flatten().map(|(name, _)| name).collect();
    columns.sort_unstable();
    columns.dedup();
    columns.retain(|column| !refused.fractions.contains(column) && !refused.within_epochs.contains(column));
    let of = |name: &str| {
        columns.iter().filter(|column| plain(column) == *name).map(|column| (*column).clone()).collect::<Vec<_>>()
    };
    names.iter().flat_map(|name| of(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000;

    fn rows(header: &str, lines: &[&str]) -> Vec<Row> {
        let row = |line: &&str| {
            let cells = header.split(',').zip(line.split(',')).filter(|(_, text)| !text.is_empty());
            cells.map(|(name, text)| (name.to_owned(), Cell::of(text, b','))).collect()
        };
        lines.iter().map(row).collect()
    }

    fn step(header: &str, lines: &[&str]) -> Option<String> {
        choose(&rows(header, lines), &Refused::default(), NOW).step
    }

    #[test]
    fn a_step_is_a_whole_number_that_does_not_fall_whatever_the_column_is_called() {
        let is = |name: &str| Some(name.to_owned());
        assert_eq!(step("epoch,current_steps,loss", &["0.1,10,2", "0.2,20,1"]), is("current_steps"));
        assert_eq!(step("epoch,loss", &["0.5,2", "1.0,1", "1.5,1"]), None);
        assert_eq!(step("epoch,loss", &["0,2", "1,1"]), is("epoch"));
        assert_eq!(step("Step,Value", &["1,2", "5,1"]), is("Step"));
        assert_eq!(step("trainer/global_step,epoch", &["49,0", "99,1"]), is("trainer/global_step"));
        assert_eq!(step("training_iteration,timesteps_total", &["1,4000", "2,8000"]), is("training_iteration"));
        assert_eq!(step("time/iterations,time/total_timesteps", &["1,2048", "2,4096"]), is("time/total_timesteps"));
        assert_eq!(step("Global Step,x", &["1,2", "2,1"]), is("Global Step"));
        assert_eq!(step("step,loss", &["1.0,2", "2.0,1"]), is("step"));
        assert_eq!(step("loss,acc", &["1,2", "2,1"]), None);
        // A constant column cannot order the lines.
        assert_eq!(step("iter,epoch", &["1,0", "1,1", "1,2"]), is("epoch"));
    }

    #[test]
    fn what_begins_again_with_each_epoch_is_no_step_and_a_resumed_training_goes_back() {
        let within = ["0,0,3", "0,1,2", "0,2,2", "1,0,1", "1,1,1", "1,2,1"];
        assert_eq!(step("epoch,batch,loss", &within), None);
        assert_eq!(step("epoch,step,loss", &within), None);
        assert_eq!(step("step,loss", &["1,3", "2,2", "3,2", "2,2", "3,1"]), Some("step".into()));
        assert_eq!(step("epoch,loss", &["0,3", "1,2", "2,2", "1,2"]), Some("epoch".into()));
    }

    #[test]
    fn any_column_of_epochs_tells_a_counter_within_them_fractions_too() {
        let fractions = ["0.3,1,3", "0.6,2,2", "0.9,3,2", "1.2,1,1", "1.5,2,1", "1.8,3,1"];
        assert_eq!(step("train/epoch,step,loss", &fractions), None);
        let wholes = ["0,0,3", "0,1,2", "0,2,2", "1,0,1", "1,1,1", "1,2,1"];
        assert_eq!(step("trainer.epochs,batch,loss", &wholes), None);
        assert_eq!(step("my_epochs,batch,loss", &wholes), Some("batch".into()), "the name of something else");
        let mut epochs = Epochs::default();
        let begins: Vec<bool> = rows("epoch,loss", &["0,1", "0.5,1", "1,1", "", "1,1", "0,1"])
            .iter()
            .map(|row| epochs.begin_with(row))
            .collect();
        assert_eq!(begins, [false, true, true, false, false, false]);
    }

    #[test]
    fn steps_that_stand_still_or_fall_are_no_steps() {
        assert_eq!(step("step,loss", &["1,3", "1,2", "1,1"]), None);
        assert_eq!(step("step,loss", &["5,3", "4,2", "3,1", "2,1"]), None);
        assert_eq!(step("step,train,val", &["49,1,", "49,,2"]), Some("step".into()), "two lines of one step");
        assert_eq!(step("epoch,loss", &["0,3", "0,2", "0,1"]), Some("epoch".into()), "it may rise later");
        assert_eq!(step("step,loss", &["1,3", "2,2", "1,1"]), Some("step".into()), "it was resumed");
    }

    #[test]
    fn a_time_is_one_that_a_program_can_have_logged_at() {
        let time = |header: &str, lines: &[&str]| choose(&rows(header, lines), &Refused::default(), NOW).time;
        assert_eq!(time("time,loss", &["2.5,1", "5.1,1"]), None, "seconds since the beginning");
        assert_eq!(time("time,loss", &["1700000000.5,1"]), Some("time".into()));
        assert_eq!(time("Wall time,Step,Value", &["1700000000.5,1,2"]), Some("Wall time".into()));
        assert_eq!(time("timestamp,time", &["7,1700000000000"]), Some("time".into()));
        assert_eq!(time("date,loss", &["2023-11-14 22:13:20,1"]), Some("date".into()));
        assert_eq!(time("timestamp,loss", &["4e9,1"]), None, "a year to come");
        let wall = |text: &str| Cell::of(text, b',').wall_ms(NOW);
        for text in ["1700000000.25", "1700000000250", "1700000000250000", "2023-11-14T22:13:20.25Z"] {
            assert_eq!(wall(text), Some(1_700_000_000_250), "{text}");
        }
        assert_eq!(wall("1700000000250000123"), Some(1_700_000_000_250));
        assert_eq!([wall("0"), wall("1e300"), wall("NaN"), wall("1990-01-01T00:00Z"), wall("soon")], [None; 5]);
    }

    #[test]
    fn whole_numbers_keep_every_digit_and_a_decimal_comma_is_one_beside_semicolons() {
        assert_eq!(Cell::of("9007199254740993", b',').step(), Some(9_007_199_254_740_993));
        assert_eq!(Cell::of("50.0", b',').step(), Some(50));
        assert_eq!([Cell::of("0.5", b',').step(), Cell::of("1e18", b',').step()], [None; 2]);
        assert_eq!(Cell::of("0,5", b';'), Cell::Number(0.5));
        assert_eq!(Cell::of("0,5", b','), Cell::Text("0,5".into()));
    }
}
