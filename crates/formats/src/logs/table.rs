//! Metrics as lines of a CSV, or as JSON objects one a line.
//!
//! The step and time columns are chosen by the first lines ([`columns`](super::columns)), stored and reported. If a
//! later line contradicts the choice, or the file was replaced, it is read again and the earlier points are superseded.
//! A CSV rewritten with another column, as Lightning does, is read on: its lines are compared by value. A training that
//! begins again in the same file supersedes what it logged from there on.

mod state;

use super::columns::{Cell, Choice, Row, choose, has_fractions, is_time, named_as_epoch, plain};
use super::csv_lines::{self, Record};
use super::json::{self, Leaves};
use super::seal::Seal;
use super::text::{LINE_BYTES, Piece};
use super::{Former, Mark, Options, first_step, modified_ms, supersede};
use assay_domain::foreign::{Logged, Part};
use assay_domain::{Point, Timestamp};
use serde_json::Value;
use state::{Rows, State, Wider};
use std::path::Path;

/// Maximum number of lines for choosing columns.
const LINES_FOR_CHOICE: usize = 20_000;

/// Maximum number of restarts taken at once; no training begins more often.
const RESTARTS: usize = 256;

/// A table's file format.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Format<'a> {
    /// A CSV; only this run's columns if W&B put several runs in it.
    Csv {
        /// The run.
        of_run: Option<&'a str>,
    },
    /// As JSON objects.
    Json,
}

/// A line with values.
struct Line {
    row: Row,
    /// Columns beyond the header, or with values of other types.
    left_out: Vec<String>,
    /// Whether the header was repeated before it.
    is_after_header: bool,
    /// Where the next one begins.
    end: u64,
}

/// Why a column cannot be the one of steps.
enum Misfit {
    /// It has a fraction.
    Fraction(String),
    /// It falls where another epoch begins.
    WithinEpochs(String),
}

/// Reads a table on from its last position.
pub(super) fn read(path: &Path, format: Format<'_>, mark: &Mark, options: &Options) -> std::io::Result<Part> {
    let reading = |former: Option<Former>| Reading { path, format, options, former };
    let fresh = State { asked: options.asked(), ..State::default() };
    let Some(state) = &mark.state else {
        let taken = match format {
            Format::Csv { .. } => mark.read,
            Format::Json => super::lines::lines_before(path, mark.read)?,
        };
        return reading(None).go_on(0, State { taken, ..fresh });
    };
    let anew = |former: Former, former_header: Vec<String>| -> std::io::Result<Part> {
        let part = reading(Some(former)).go_on(0, State { former_header, ..fresh.clone() })?;
        // The old points stand until the new file has some.
        let waits = Part { read: mark.read, state: mark.state.clone(), damage: part.damage.clone(), ..Part::default() };
        Ok(if first_step(&part).is_some() { part } else { waits })
    };
    let Ok(before) = serde_json::from_str::<State>(state) else {
        return anew(Former::unknown(), Vec::new());
    };
    let former = |why: &'static str| Former { keys: Some(before.keys.iter().cloned().collect()), why };
    if before.asked != options.asked() {
        return anew(former("is read by other columns"), before.former_header);
    }
    let holds = match &before.seal {
        Some(seal) => seal.holds(path)?,
        None => true,
    };
    if holds {
        return reading(None).go_on(mark.read, before);
    }
    let wider = match (format, &before.rows) {
        (Format::Csv { .. }, Some(rows)) => rows.place_in_wider(path, &before.header)?,
        _ => None,
    };
    match wider {
        Some(Wider { place, header, rows }) => reading(None).go_on(place, State { header, rows: Some(rows), ..before }),
        None => {
            let header = if before.header.is_empty() { &before.former_header } else { &before.header };
            anew(former(super::WRITTEN_ANEW), header.clone())
        }
    }
}

struct Reading<'a> {
    path: &'a Path,
    format: Format<'a>,
    options: &'a Options,
    /// The earlier reading, if the file is read from its beginning again.
    former: Option<Former>,
}

impl Reading<'_> {
    /// Reads a piece at this byte.
    fn go_on(&self, from: u64, mut state: State) -> std::io::Result<Part> {
        let piece = Piece::read(self.path, from)?;
        let mut part = Part { read: from, has_more: piece.has_more, ..Part::default() };
        if piece.is_too_long {
            part.damage = Some(format!("its line at byte {} is longer than {LINE_BYTES} bytes", piece.from));
            return Ok(part);
        }
        let lines = match self.format {
            Format::Csv { of_run } => self.csv_lines(of_run, &piece, &mut state, &mut part.notes),
            Format::Json => self.json_lines(&piece, &mut part),
        };
        let rows: Vec<Row> = lines.iter().take(LINES_FOR_CHOICE).map(|line| line.row.clone()).collect();
        // The first lines may lack metrics.
        if !rows.is_empty() && (state.choice.is_none() || state.keys.is_empty()) {
            match self.chosen(&rows, &state) {
                Ok(mut choice) => {
                    let doubts = self.doubts(&mut choice, &rows);
                    if state.choice.as_ref() != Some(&choice) {
                        part.logged.extend(self.told(&choice, &mut part.notes));
                        part.notes.extend(doubts);
                    }
                    state.choice = Some(choice);
                }
                Err(why) => return Ok(Part { read: from, damage: Some(why), ..Part::default() }),
            }
        }
        let choice = state.choice.clone().unwrap_or_default();
        if let Some(misfit) = self.contradicted(&choice, &lines, &state) {
            return self.again(Some(misfit), from, state);
        }
        if choice.step.is_none() && self.is_late(&rows, &state) {
            return self.again(None, from, state);
        }
        let wall_ms = modified_ms(self.path)?.min(self.options.now.0);
        let now_ms = self.options.now.0;
        let mut taking =
            Taking { part: &mut part, state: &mut state, choice: &choice, wall_ms, now_ms, restarts: Vec::new() };
        lines.into_iter().for_each(|line| taking.take(line));
        let restarts = taking.restarts;
        if let [step, rest @ ..] = restarts.as_slice() {
            let times = if rest.is_empty() { String::new() } else { format!(" ({} times)", rest.len() + 1) };
            part.notes.push(format!(
                "{}: its steps begin again at {step}{times}: what was logged before from there on is superseded",
                self.path.display()
            ));
        }
        if part.has_more && part.read == from {
            part.read = piece.lines().last().map_or(from, |line| line.end);
        }
        if part.read > from {
            part.logged.push(Logged::Heard(Timestamp(wall_ms)));
            state.seal = Seal::of(self.path, part.read)?;
            part.state = serde_json::to_string(&state).ok();
        }
        if let Some(former) = &self.former {
            supersede(&mut part, self.path, former);
        }
        Ok(part)
    }

    /// Reads again from the beginning, without the refused step column.
    fn again(&self, misfit: Option<Misfit>, from: u64, state: State) -> std::io::Result<Part> {
        let State { asked, mut misfits, taken, former_header, keys, .. } = state;
        match misfit {
            Some(Misfit::Fraction(column)) => misfits.fractions.push(column),
            Some(Misfit::WithinEpochs(column)) => misfits.within_epochs.push(column),
            None => {}
        }
        let fresh = State { asked, misfits, taken, former_header, ..State::default() };
        let former = match (&self.former, from) {
            (Some(former), _) => Some(former.clone()),
            (None, 0) => None,
            (None, _) => {
                let why = "is read again, by another column of steps";
                Some(Former { keys: Some(keys.into_iter().collect()), why })
            }
        };
        Reading { path: self.path, format: self.format, options: self.options, former }.go_on(0, fresh)
    }

    /// Whether a new step column appears in these rows.
    fn is_late(&self, rows: &[Row], state: &State) -> bool {
        let late = choose(rows, &state.misfits, self.options.now.0).step;
        state.lines > 0 && late.is_some_and(|column| !state.keys.contains(&column))
    }

    fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The columns asked for, else the best ones.
    fn chosen(&self, rows: &[Row], state: &State) -> Result<Choice, String> {
        let best = choose(rows, &state.misfits, self.options.now.0);
        let asked = |name: &Option<String>| -> Result<Option<String>, String> {
            let Some(name) = name else { return Ok(None) };
            let mut columns: Vec<&str> = rows.iter().flatten().map(|(column, _)| column.as_str()).collect();
            columns.sort_unstable();
            columns.dedup();
            let found = columns.iter().find(|column| *column == name);
            let found = found.or_else(|| columns.iter().find(|column| plain(column) == plain(name)));
            let found = found.map(|column| Some((*column).to_owned()));
            found.ok_or_else(|| format!("it has no column {name:?}: it has {}", columns.join(", ")))
        };
        Ok(Choice { step: asked(&self.options.step)?.or(best.step), time: asked(&self.options.time)?.or(best.time) })
    }

    /// Notes on requested columns that do not fit; a time column without times is not used.
    fn doubts(&self, choice: &mut Choice, rows: &[Row]) -> Vec<String> {
        let mut doubts = Vec::new();
        let rounded = choice.step.as_ref().filter(|column| self.options.step.is_some() && has_fractions(column, rows));
        if let Some(column) = rounded {
            doubts.push(format!("{column:?} has fractions: each is rounded to the nearest step"));
        }
        let is_no_time = |column: &mut String| !is_time(column, rows, self.options.now.0);
        if self.options.time.is_some()
            && let Some(column) = choice.time.take_if(is_no_time)
        {
            doubts.push(format!(
                "{column:?} has no times (seconds, milli-, micro- or nanoseconds since 1970, or ISO 8601): \
                 the file's time is used"
            ));
        }
        doubts
    }

    fn told(&self, choice: &Choice, notes: &mut Vec<String>) -> Vec<Logged> {
        notes.push(choice.to_string());
        let name = match self.format {
            Format::Csv { of_run } => {
                let of_name = || csv_lines::run_and_tag(self.path).map(|(run, _)| run).filter(|run| !run.is_empty());
                of_run.map(str::to_owned).or_else(of_name)
            }
            Format::Json => None,
        };
        let line = Logged::Line(format!("{}: {choice}", self.name()));
        name.map(Logged::Name).into_iter().chain([line]).collect()
    }

    /// The step column, if lines contradict it; one the user asked for is never refused.
    fn contradicted(&self, choice: &Choice, lines: &[Line], state: &State) -> Option<Misfit> {
        let column = choice.step.as_ref().filter(|_| self.options.step.is_none())?;
        let (mut last, mut epochs) = (state.last_step, state.epochs.clone());
        for Line { row, .. } in lines {
            let begins = epochs.begin_with(row);
            let Some((_, cell)) = row.iter().find(|(name, _)| name == column) else { continue };
            if cell.is_fraction() {
                return Some(Misfit::Fraction(column.clone()));
            }
            let Some(step) = cell.step() else { continue };
            if begins && !named_as_epoch(column) && last.is_some_and(|last| step < last) {
                return Some(Misfit::WithinEpochs(column.clone()));
            }
            last = Some(step);
        }
        None
    }

    fn csv_lines(&self, of_run: Option<&str>, piece: &Piece, state: &mut State, notes: &mut Vec<String>) -> Vec<Line> {
        let is_last = self.options.is_settled && !piece.has_more;
        let mut lines = Vec::new();
        let records = csv_lines::records(piece, &mut state.delimiter, is_last);
        let mut names = csv_lines::names(&state.header, self.path, of_run, notes);
        let mut is_after_header = false;
        for Record { fields, end, is_cut } in records {
            let is_first = state.header.is_empty();
            let goes_on = is_first && csv_lines::goes_on_without_header(&fields, &state.former_header, state.delimiter);
            if is_first || csv_lines::is_header_again(&fields, &state.header) {
                state.header = if goes_on { state.former_header.clone() } else { csv_lines::header(&fields) };
                state.rows = is_first.then(Rows::default);
                names = csv_lines::names(&state.header, self.path, of_run, notes);
                is_after_header = !is_first;
                if !goes_on {
                    continue;
                }
            }
            if let Some(rows) = &mut state.rows {
                rows.add(fields.iter().map(String::as_str).enumerate().take(state.header.len()), state.delimiter);
            }
            let mut line = Line { row: Row::new(), left_out: Vec::new(), is_after_header, end };
            for (place, text) in fields.iter().enumerate().filter(|(_, text)| !text.is_empty()) {
                match names.get(place) {
                    Some(Some(name)) => line.row.push((name.clone(), Cell::of(text, state.delimiter))),
                    // It is another run's.
                    Some(None) => {}
                    None => line.left_out.push("(beyond the header)".into()),
                }
            }
            if is_cut {
                line.left_out.push("(a quoted field without an end)".into());
            }
            is_after_header &= line.row.is_empty();
            lines.push(line);
        }
        lines
    }

    fn json_lines(&self, piece: &Piece, part: &mut Part) -> Vec<Line> {
        let mut lines: Vec<Line> = Vec::new();
        for line in piece.lines() {
            let value = json::parsed(&line.text);
            // The line may be incomplete.
            let is_all = self.options.is_settled && !piece.has_more && value.is_some();
            if !line.is_ended && !is_all {
                break;
            }
            let mut of_line = Line { row: Row::new(), left_out: Vec::new(), is_after_header: false, end: line.end };
            match value {
                Some(Value::Object(object)) => {
                    let mut leaves = Leaves::default();
                    object.into_iter().for_each(|(key, value)| leaves.add(key, value));
                    let is_new = |note: &String| !part.notes.contains(note);
                    let notes: Vec<String> = leaves.notes.into_iter().filter(is_new).collect();
                    part.notes.extend(notes);
                    for (key, value) in leaves.found.into_iter().filter(|(_, value)| !value.is_null()) {
                        match json::cell(&value) {
                            Some(cell) => of_line.row.push((key, cell)),
                            None => of_line.left_out.push(key),
                        }
                    }
                }
                _ if line.text.trim_start_matches('\u{feff}').trim().is_empty() => {}
                _ => of_line.left_out.push("(lines that are no JSON objects)".into()),
            }
            lines.push(of_line);
        }
        lines
    }
}

/// Takes the points of lines in order.
struct Taking<'a> {
    part: &'a mut Part,
    state: &'a mut State,
    choice: &'a Choice,
    /// The file's time.
    wall_ms: i64,
    now_ms: i64,
    /// The steps at which a training began again.
    restarts: Vec<i64>,
}

impl Taking<'_> {
    fn take(&mut self, line: Line) {
        self.part.read = line.end;
        for column in &line.left_out {
            self.leave_out(column);
        }
        if line.row.is_empty() {
            return;
        }
        let is_taken = self.state.lines >= self.state.taken;
        let step = self.step(&line.row);
        let is_next_epoch = self.state.epochs.begin_with(&line.row);
        let is_restart = self.choice.step.is_some()
            && is_taken
            && !is_next_epoch
            && self.restarts.len() < RESTARTS
            && self.state.begins_again(&line, step, self.choice);
        if is_restart {
            self.state.begin_again(step);
            let keys = self.state.keys.iter().cloned().collect();
            self.part.logged.push(Logged::Restarted { step, keys });
            self.restarts.push(step);
        }
        self.state.first_step = match self.state.first_step {
            None if self.state.lines == 0 => Some(step),
            first => first.map(|first| first.min(step)),
        };
        self.state.lines += 1;
        self.state.last_step = Some(step);
        self.take_points(line.row, step, is_taken);
    }

    /// The step of the next line.
    fn step(&self, row: &Row) -> i64 {
        let Some(column) = &self.choice.step else { return self.state.lines as i64 };
        let Some((_, cell)) = row.iter().find(|(name, _)| name == column) else {
            return self.state.last_step.unwrap_or_default();
        };
        // A requested one may have fractions.
        let nearest = || cell.number().filter(|number| number.is_finite()).map(|number| number.round() as i64);
        cell.step().or_else(nearest).or(self.state.last_step).unwrap_or_default()
    }

    fn take_points(&mut self, row: Row, step: i64, is_taken: bool) {
        let is = |column: &Option<String>, name: &str| column.as_deref() == Some(name);
        let of_time = row.iter().find(|(name, _)| is(&self.choice.time, name));
        let wall_ms = of_time.and_then(|(_, cell)| cell.wall_ms(self.now_ms));
        for (name, cell) in row {
            // Epochs are also metrics.
            let is_read = is(&self.choice.step, &name) && !plain(&name).starts_with("epoch") && cell.step().is_some()
                || is(&self.choice.time, &name) && wall_ms.is_some();
            match cell.number() {
                _ if is_read => {}
                Some(value) => {
                    self.state.reach(&name, step);
                    if is_taken {
                        let point = Point { step, wall_ms: wall_ms.unwrap_or(self.wall_ms), value };
                        self.part.logged.push(Logged::Point(name, point));
                    }
                }
                // Other times are no metrics.
                None if cell.wall_ms(self.now_ms).is_some() => {}
                None => self.leave_out(&name),
            }
        }
    }

    fn leave_out(&mut self, column: &str) {
        self.part.left_out += 1;
        *self.part.left_out_of.entry(column.to_owned()).or_default() += 1;
    }
}

#[cfg(test)]
mod tests;
