//! Metrics as lines of a CSV, or as JSON objects one a line.
//!
//! The step and time columns are chosen by the first lines ([`columns`](super::columns)), stored and reported. If a
//! later line contradicts the choice, or the file was replaced, it is read again and the earlier points are superseded.
//! A CSV rewritten with another column, as Lightning does, is read on: its lines are compared by value.

use super::columns::{Cell, Choice, Row, choose, plain};
use super::csv_lines::{self, Record};
use super::json::{self, Leaves};
use super::seal::{Seal, hash};
use super::text::{LINE_BYTES, Piece};
use super::{LONGEST_KEY, Mark, Options, modified_ms};
use assay_domain::foreign::{Logged, Part};
use assay_domain::{Point, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// Maximum number of lines for choosing columns.
const LINES_FOR_CHOICE: usize = 20_000;

/// Lines compared to recognise a rewritten CSV.
const COMPARED: u64 = 64;

/// Maximum number of keys stored per table; further ones are not superseded if it is replaced.
const KEYS: usize = 4096;

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

/// Stored state of a partly read table.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct State {
    /// Identifies the part read.
    seal: Option<Seal>,
    /// Lines with values read.
    lines: u64,
    /// The last line's step.
    last_step: Option<i64>,
    /// The chosen columns.
    choice: Option<Choice>,
    /// The columns the user asked for.
    #[serde(default)]
    asked: Choice,
    /// Columns found not to be steps.
    #[serde(default)]
    refused: Vec<String>,
    /// A CSV's column names.
    #[serde(default)]
    header: Vec<String>,
    /// Its delimiter.
    #[serde(default)]
    delimiter: u8,
    /// Line count, and hash of those lines' values in known columns.
    #[serde(default)]
    values: Option<(u64, String)>,
    /// Its metrics.
    #[serde(default)]
    keys: BTreeSet<String>,
    /// Lines whose points were taken before state was stored.
    #[serde(default)]
    taken: u64,
}

/// A line with values.
struct Line {
    row: Row,
    /// Columns beyond the header, or with values of other types.
    left_out: Vec<String>,
    /// Where the next one begins.
    end: u64,
}

/// Reads a table on from its last position.
pub(super) fn read(path: &Path, format: Format<'_>, mark: &Mark, options: &Options) -> std::io::Result<Part> {
    let fresh = State { asked: options.asked(), ..State::default() };
    let Some(before) = mark.state.as_ref().and_then(|state| serde_json::from_str::<State>(state).ok()) else {
        let taken = match format {
            Format::Csv { .. } => mark.read,
            Format::Json => super::lines::lines_before(path, mark.read)?,
        };
        return Reading { path, format, options, superseded: None }.go_on(0, State { taken, ..fresh });
    };
    let anew = |why: &'static str| -> std::io::Result<Part> {
        let superseded = Some((before.keys.iter().cloned().collect(), why));
        let part = Reading { path, format, options, superseded }.go_on(0, fresh.clone())?;
        let has_points = part.logged.iter().any(|logged| matches!(logged, Logged::Point(..)));
        // The old points stand until the new file has some.
        let waits = Part { read: mark.read, state: mark.state.clone(), damage: part.damage.clone(), ..Part::default() };
        Ok(if has_points { part } else { waits })
    };
    if before.asked != options.asked() {
        return anew("is read by other columns");
    }
    let reading = Reading { path, format, options, superseded: None };
    let holds = before.seal.as_ref().is_none_or(|seal| seal.holds(path).unwrap_or(false));
    if holds {
        return reading.go_on(mark.read, before);
    }
    match reading.place_in_wider(&before)? {
        Some((place, header)) => reading.go_on(place, State { header, ..before }),
        None => anew("was written anew"),
    }
}

struct Reading<'a> {
    path: &'a Path,
    format: Format<'a>,
    options: &'a Options,
    /// Metrics to supersede, and why.
    superseded: Option<(Vec<String>, &'static str)>,
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
            Format::Csv { .. } => self.csv_lines(&piece, &mut state),
            Format::Json => self.json_lines(&piece, &mut part),
        };
        let rows: Vec<Row> = lines.iter().take(LINES_FOR_CHOICE).map(|line| line.row.clone()).collect();
        // The first lines may lack metrics.
        if !rows.is_empty() && (state.choice.is_none() || state.keys.is_empty()) {
            match self.chosen(&rows, &state.refused) {
                Ok(choice) => {
                    if state.choice.as_ref() != Some(&choice) {
                        part.logged.extend(self.told(&choice, &mut part.notes));
                    }
                    state.choice = Some(choice);
                }
                Err(why) => return Ok(Part { read: from, damage: Some(why), ..Part::default() }),
            }
        }
        let choice = state.choice.clone().unwrap_or_default();
        if let Some(column) = self.contradicted(&choice, &lines) {
            return self.again(Some(column), from, state);
        }
        if choice.step.is_none() && self.is_late(&rows, &state) {
            return self.again(None, from, state);
        }
        let wall_ms = modified_ms(self.path)?.min(self.options.now.0);
        for line in lines {
            part.read = line.end;
            for column in line.left_out {
                part.left_out += 1;
                *part.left_out_of.entry(column).or_default() += 1;
            }
            add(&mut part, &mut state, &choice, line.row, wall_ms, self.options.now.0);
        }
        if part.has_more && part.read == from {
            part.read = piece.lines().last().map_or(from, |line| line.end);
        }
        if part.read > from {
            part.logged.push(Logged::Heard(Timestamp(wall_ms)));
            state.seal = Seal::of(self.path, part.read)?;
            let compared = state.lines.min(COMPARED);
            if let Format::Csv { .. } = self.format
                && state.values.as_ref().is_none_or(|(lines, _)| *lines < compared)
            {
                state.values = values_hash(self.path, &state.header, compared)?.map(|hash| (compared, hash));
            }
            part.state = serde_json::to_string(&state).ok();
        }
        self.supersede(&mut part);
        Ok(part)
    }

    /// Reads again from the beginning, without the refused step column.
    fn again(&self, without: Option<String>, from: u64, state: State) -> std::io::Result<Part> {
        let refused = state.refused.into_iter().chain(without).collect();
        let fresh = State { asked: state.asked, refused, taken: state.taken, ..State::default() };
        let superseded = match (&self.superseded, from) {
            (Some(superseded), _) => Some(superseded.clone()),
            (None, 0) => None,
            (None, _) => Some((state.keys.into_iter().collect(), "is read again, by another column of steps")),
        };
        Reading { path: self.path, format: self.format, options: self.options, superseded }.go_on(0, fresh)
    }

    /// Whether a new step column appears in these rows.
    fn is_late(&self, rows: &[Row], state: &State) -> bool {
        let late = choose(rows, &state.refused, self.options.now.0).step;
        state.lines > 0 && late.is_some_and(|column| !state.keys.contains(&column))
    }

    /// Prepends the restart that supersedes earlier points.
    fn supersede(&self, part: &mut Part) {
        let Some((keys, why)) = &self.superseded else { return };
        let step = |logged: &Logged| if let Logged::Point(_, point) = logged { Some(point.step) } else { None };
        let Some(step) = part.logged.iter().filter_map(step).min() else { return };
        let line = format!("{} {why}", self.name());
        part.notes.push(format!("{} {why}", self.path.display()));
        let restarted = (!keys.is_empty()).then(|| Logged::Restarted { step, keys: keys.clone() });
        part.logged.splice(0..0, [Logged::Line(line)].into_iter().chain(restarted));
    }

    fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The columns asked for, else the best ones.
    fn chosen(&self, rows: &[Row], refused: &[String]) -> Result<Choice, String> {
        let best = choose(rows, refused, self.options.now.0);
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

    fn told(&self, choice: &Choice, notes: &mut Vec<String>) -> Vec<Logged> {
        notes.push(choice.to_string());
        let name = match self.format {
            Format::Csv { of_run } => {
                of_run.map(str::to_owned).or_else(|| csv_lines::run_and_tag(self.path).map(|(run, _)| run))
            }
            Format::Json => None,
        };
        let line = Logged::Line(format!("{}: {choice}", self.name()));
        name.map(Logged::Name).into_iter().chain([line]).collect()
    }

    /// The step column, if a line has a fraction in it; one the user asked for is never refused.
    fn contradicted(&self, choice: &Choice, lines: &[Line]) -> Option<String> {
        let column = choice.step.as_ref().filter(|_| self.options.step.is_none())?;
        let is_no_step = |(name, cell): &(String, Cell)| name == column && cell.is_fraction();
        lines.iter().any(|line| line.row.iter().any(is_no_step)).then(|| column.clone())
    }

    fn csv_lines(&self, piece: &Piece, state: &mut State) -> Vec<Line> {
        let Format::Csv { of_run } = self.format else { return Vec::new() };
        let is_last = self.options.is_settled && !piece.has_more;
        let mut lines = Vec::new();
        let records = csv_lines::records(piece, &mut state.delimiter, is_last);
        let mut names = csv_lines::names(&state.header, self.path, of_run);
        for Record { fields, end } in records {
            if state.header.is_empty() || csv_lines::is_header_again(&fields, &state.header) {
                state.header = csv_lines::header(&fields);
                names = csv_lines::names(&state.header, self.path, of_run);
                continue;
            }
            let mut line = Line { row: Row::new(), left_out: Vec::new(), end };
            for (place, text) in fields.iter().enumerate().filter(|(_, text)| !text.is_empty()) {
                match names.get(place) {
                    Some(Some(name)) if name.len() <= LONGEST_KEY => {
                        line.row.push((name.clone(), Cell::of(text, state.delimiter)));
                    }
                    Some(Some(_)) => line.left_out.push("(a name that is too long)".into()),
                    // It is another run's.
                    Some(None) => {}
                    None => line.left_out.push("(beyond the header)".into()),
                }
            }
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
            let mut of_line = Line { row: Row::new(), left_out: Vec::new(), end: line.end };
            match value {
                Some(Value::Object(object)) => {
                    let mut leaves = Leaves::default();
                    object.into_iter().for_each(|(key, value)| leaves.add(key, value));
                    part.left_out += leaves.left_out;
                    for (key, value) in leaves.found.into_iter().filter(|(_, value)| !value.is_null()) {
                        match cell(value) {
                            Some(cell) => of_line.row.push((key, cell)),
                            None => of_line.left_out.push(key),
                        }
                    }
                }
                _ if line.text.trim().is_empty() => {}
                _ => of_line.left_out.push("(lines that are no JSON objects)".into()),
            }
            lines.push(of_line);
        }
        lines
    }

    /// If a CSV was rewritten with the same lines in more columns: where to read on, and its header.
    fn place_in_wider(&self, before: &State) -> std::io::Result<Option<(u64, Vec<String>)>> {
        let Format::Csv { .. } = self.format else { return Ok(None) };
        let Some((lines, known)) = &before.values else { return Ok(None) };
        if values_hash(self.path, &before.header, *lines)?.as_ref() != Some(known) {
            return Ok(None);
        }
        csv_lines::place_after(self.path, before.lines)
    }
}

/// Converts a JSON value, if a cell can hold it.
fn cell(value: Value) -> Option<Cell> {
    match value {
        Value::Number(number) => number.as_i64().map(Cell::Whole).or_else(|| number.as_f64().map(Cell::Number)),
        Value::Bool(bool) => Some(Cell::Whole(bool.into())),
        Value::String(text) => Some(json::number(&Value::String(text.clone())).map_or(Cell::Text(text), Cell::Number)),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Hashes the first lines of a CSV in some columns; `None` if a column or line is missing.
fn values_hash(path: &Path, columns: &[String], lines: u64) -> std::io::Result<Option<String>> {
    let Some((header, rows, delimiter)) = csv_lines::beginning(path, lines as usize)? else { return Ok(None) };
    let places: Option<Vec<usize>> =
        columns.iter().map(|column| header.iter().position(|name| name == column)).collect();
    let Some(places) = places.filter(|_| rows.len() as u64 == lines && lines > 0) else { return Ok(None) };
    let mut bytes = Vec::new();
    for row in &rows {
        for place in &places {
            let text = row.get(*place).map(String::as_str).unwrap_or_default();
            match Cell::of(text, delimiter).number() {
                Some(number) => bytes.extend(number.to_bits().to_le_bytes()),
                None => bytes.extend(text.bytes().chain([0])),
            }
        }
        bytes.push(b'\n');
    }
    Ok(Some(hash(&bytes)))
}

/// Adds a line's points.
fn add(part: &mut Part, state: &mut State, choice: &Choice, row: Row, file_ms: i64, now_ms: i64) {
    if row.is_empty() {
        return;
    }
    let number = state.lines;
    state.lines += 1;
    let is = |column: &Option<String>, name: &str| column.as_deref() == Some(name);
    let of = |column: &Option<String>| row.iter().find(|(name, _)| is(column, name)).map(|(_, cell)| cell);
    let step = match (&choice.step, of(&choice.step)) {
        (None, _) => number as i64,
        // A requested one may have fractions.
        (Some(_), Some(cell)) => {
            let nearest = || cell.number().filter(|number| number.is_finite()).map(|number| number.round() as i64);
            cell.step().or_else(nearest).or(state.last_step).unwrap_or_default()
        }
        (Some(_), None) => state.last_step.unwrap_or_default(),
    };
    state.last_step = Some(step);
    let wall_ms = of(&choice.time).and_then(|cell| cell.wall_ms(now_ms));
    for (name, cell) in &row {
        // Epochs are also metrics.
        let is_read = is(&choice.step, name) && !plain(name).starts_with("epoch") && cell.step().is_some()
            || is(&choice.time, name) && wall_ms.is_some();
        match cell.number() {
            _ if is_read => {}
            Some(value) => {
                if number >= state.taken {
                    let point = Point { step, wall_ms: wall_ms.unwrap_or(file_ms), value };
                    part.logged.push(Logged::Point(name.clone(), point));
                }
                if !state.keys.contains(name) && state.keys.len() < KEYS {
                    state.keys.insert(name.clone());
                }
            }
            // Other times are no metrics.
            None if cell.wall_ms(now_ms).is_some() => {}
            None => {
                part.left_out += 1;
                *part.left_out_of.entry(name.clone()).or_default() += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests;
