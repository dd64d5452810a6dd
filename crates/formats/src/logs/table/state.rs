//! The stored state of a partly read table: columns, a hash of the rows, and the training's progress.

use super::super::columns::{Cell, Choice, Epochs, Refused, named_as_epoch, named_as_step};
use super::super::csv_lines::{self, Record};
use super::super::seal::{Seal, hash};
use super::super::text::Piece;
use super::Line;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

/// Maximum number of keys stored per table; further ones are not superseded if it is replaced.
const KEYS: usize = 4096;

/// Stored state of a partly read table.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct State {
    /// Identifies the part read.
    pub(super) seal: Option<Seal>,
    /// Lines with values read.
    pub(super) lines: u64,
    /// The last line's step.
    pub(super) last_step: Option<i64>,
    /// The chosen columns.
    pub(super) choice: Option<Choice>,
    /// The columns the user asked for.
    #[serde(default)]
    pub(super) asked: Choice,
    /// Columns found not to be steps.
    #[serde(default)]
    pub(super) misfits: Refused,
    /// A CSV's column names.
    #[serde(default)]
    pub(super) header: Vec<String>,
    /// Those before it was written anew, for one that goes on without a header.
    #[serde(default)]
    pub(super) former_header: Vec<String>,
    /// Its delimiter.
    #[serde(default)]
    pub(super) delimiter: u8,
    /// The values of a CSV that has one header; none if another followed.
    #[serde(default)]
    pub(super) rows: Option<Rows>,
    /// Its metrics.
    #[serde(default)]
    pub(super) keys: BTreeSet<String>,
    /// Lines whose points were taken before state was stored.
    #[serde(default)]
    pub(super) taken: u64,
    /// The step at which the training that goes on began.
    #[serde(default)]
    pub(super) first_step: Option<i64>,
    /// The highest step of each metric that is not superseded.
    #[serde(default)]
    pub(super) reached: BTreeMap<String, i64>,
    /// The last epochs.
    #[serde(default)]
    pub(super) epochs: Epochs,
}

impl State {
    /// Whether a training begins again with a line at this step, and supersedes what it logged from there on.
    ///
    /// After a repeated header a metric that was logged at that step or a later one suffices. Otherwise the step must
    /// fall to the first one or below, and each metric of the line must have a later step: lines that come late
    /// (asynchronous ones, a validation of an earlier step) are none.
    pub(super) fn begins_again(&self, line: &Line, step: i64, choice: &Choice) -> bool {
        let is_metric = |name: &str| !is_counter(name) && choice.step.as_deref() != Some(name);
        let mut metrics =
            line.row.iter().filter(|(name, cell)| cell.number().is_some() && is_metric(name)).map(|(name, _)| name);
        if line.is_after_header {
            return metrics.any(|name| self.reached.get(name).is_some_and(|reached| *reached >= step));
        }
        let (Some(first), Some(last)) = (self.first_step, self.last_step) else { return false };
        let is_later = |name: &String| self.reached.get(name).is_some_and(|reached| *reached > step);
        step <= first && first < last && metrics.next().is_some_and(is_later) && metrics.all(is_later)
    }

    /// Notes that a training begins again at this step.
    pub(super) fn begin_again(&mut self, step: i64) {
        self.first_step = Some(step);
        let before = step.saturating_sub(1);
        self.reached.values_mut().for_each(|reached| *reached = (*reached).min(before));
    }

    /// Notes that a metric has a point at this step.
    pub(super) fn reach(&mut self, name: &str, step: i64) {
        if !self.keys.contains(name) && self.keys.len() < KEYS {
            self.keys.insert(name.to_owned());
        }
        if let Some(reached) = self.reached.get_mut(name) {
            *reached = step.max(*reached);
        } else if self.reached.len() < KEYS && !is_counter(name) {
            self.reached.insert(name.to_owned(), step);
        }
    }
}

/// Whether the name is of a column that counts, and says nothing of which rows were logged.
fn is_counter(name: &str) -> bool {
    named_as_epoch(name) || named_as_step(name)
}

/// A hash of the values of all rows read, by which a CSV is recognised that was rewritten with more columns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Rows {
    count: u64,
    hash: String,
}

impl Rows {
    /// Adds the fields of a row that are not empty, with the places of their columns, in order.
    pub(super) fn add<'a>(&mut self, fields: impl Iterator<Item = (usize, &'a str)>, delimiter: u8) {
        let mut bytes = Vec::new();
        for (place, text) in fields.filter(|(_, text)| !text.is_empty()) {
            bytes.extend((place as u64).to_le_bytes());
            match Cell::of(text, delimiter).number() {
                Some(number) => bytes.extend(number.to_bits().to_le_bytes()),
                None => bytes.extend(hash(text.as_bytes()).into_bytes()),
            }
        }
        if !bytes.is_empty() {
            bytes.extend(self.hash.bytes());
            self.hash = hash(&bytes);
            self.count += 1;
        }
    }

    /// Where to read on in a CSV that has the same rows in these and more columns.
    pub(super) fn place_in_wider(&self, path: &Path, columns: &[String]) -> std::io::Result<Option<Wider>> {
        if self.count == 0 {
            return Ok(None);
        }
        let known: HashMap<&str, usize> = columns.iter().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
        let (mut from, mut delimiter, mut of_known, mut rows) = (0, 0, Rows::default(), Rows::default());
        let mut header: Vec<String> = Vec::new();
        let mut places: Vec<Option<usize>> = Vec::new();
        loop {
            let piece = Piece::read(path, from)?;
            let mut at = from;
            for Record { fields, end, .. } in csv_lines::records(&piece, &mut delimiter, false) {
                at = end;
                if header.is_empty() {
                    header = csv_lines::header(&fields);
                    places = header.iter().map(|name| known.get(name.as_str()).copied()).collect();
                    if header.len() <= columns.len() || places.iter().flatten().count() < columns.len() {
                        return Ok(None);
                    }
                    continue;
                }
                if csv_lines::is_header_again(&fields, &header) {
                    return Ok(None);
                }
                rows.add(fields.iter().map(String::as_str).enumerate().take(header.len()), delimiter);
                let in_known = places.iter().zip(&fields);
                let mut values: Vec<(usize, &str)> =
                    in_known.filter_map(|(place, text)| Some(((*place)?, text.as_str()))).collect();
                values.sort_unstable();
                of_known.add(values.into_iter(), delimiter);
                if of_known.count == self.count {
                    return Ok((of_known.hash == self.hash).then_some(Wider { place: end, header, rows }));
                }
            }
            if !piece.has_more || at == from {
                return Ok(None);
            }
            from = at;
        }
    }
}

/// A CSV that was rewritten with the same rows in more columns.
pub(super) struct Wider {
    /// The byte after those rows.
    pub(super) place: u64,
    /// Its column names.
    pub(super) header: Vec<String>,
    /// Those rows, in all its columns.
    pub(super) rows: Rows,
}
