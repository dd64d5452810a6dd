//! CSV records and column names, also of TensorBoard's and W&B's downloads.

use super::columns::{Cell, Refused, Row, choose, named_as_step, plain};
use super::short_key;
use super::text::Piece;
use crate::named_as_image;
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// A record.
pub(super) struct Record {
    /// Its fields.
    pub(super) fields: Vec<String>,
    /// Byte offset of the next record.
    pub(super) end: u64,
    /// Whether a quoted field in it has no end; such a record is taken to end with its line.
    pub(super) is_cut: bool,
}

/// A CSV's kind, by its first lines.
#[derive(Debug, PartialEq)]
pub(super) enum Shape {
    /// Metrics in columns.
    Metrics,
    /// A TensorBoard download: one metric.
    Tensorboard,
    /// A W&B download: columns of these runs.
    Wandb(Vec<String>),
    /// Something else.
    Other,
}

/// The records of a piece. An unknown `delimiter` is detected in the first line. If `is_last`, an unterminated last
/// line is complete.
pub(super) fn records(piece: &Piece, delimiter: &mut u8, is_last: bool) -> Vec<Record> {
    // The reader drops a byte order mark where it begins to read: it is dropped before every line, wherever reading
    // begins. A carriage return within a line ends no record, so that lines and records are counted alike.
    let clean = |text: &str| text.trim_start_matches('\u{feff}').replace('\r', " ");
    let lines = piece.lines().filter(|line| line.is_ended || is_last);
    let (mut lines, mut ends): (Vec<String>, Vec<u64>) = lines.map(|line| (clean(&line.text), line.end)).unzip();
    let Some(first) = lines.iter().find(|line| !line.trim().is_empty()) else { return Vec::new() };
    if *delimiter == 0 {
        *delimiter = delimiter_of(first);
    }
    let mut cuts = HashSet::new();
    for line in endless(&lines, *delimiter) {
        // Its end may come, unless half a piece of a longer file has none.
        if !is_last && (!piece.has_more || line * 2 > lines.len()) {
            lines.truncate(line);
            ends.truncate(line);
            break;
        }
        lines[line].push('"');
        cuts.insert(line);
    }
    if lines.is_empty() {
        return Vec::new();
    }
    let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(*delimiter)
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let (mut records, mut begins) = (Vec::new(), Vec::new());
    let mut record = csv::StringRecord::new();
    while matches!(reader.read_record(&mut record), Ok(true)) {
        begins.push((record.position().map_or(1, csv::Position::line) as usize).saturating_sub(1));
        records.push(record.iter().map(str::to_owned).collect());
    }
    let record = |(at, fields): (usize, Vec<String>)| {
        let next = begins.get(at + 1).copied().unwrap_or(lines.len()).clamp(1, lines.len());
        Record { fields, end: ends[next - 1], is_cut: (begins[at]..next).any(|line| cuts.contains(&line)) }
    };
    records.into_iter().enumerate().map(record).collect()
}

/// The lines that begin a record with a quoted field that no later line ends, if each earlier one is read by itself.
fn endless(lines: &[String], delimiter: u8) -> Vec<usize> {
    let last_end = lines.iter().rposition(|line| !is_open_after(line, delimiter, Field::Quoted)).unwrap_or(0);
    let (mut found, mut is_open) = (Vec::new(), false);
    for (place, line) in lines.iter().enumerate() {
        let begins = if is_open { Field::Quoted } else { Field::Empty };
        let was_open = std::mem::replace(&mut is_open, is_open_after(line, delimiter, begins));
        if is_open && !was_open && place >= last_end {
            found.push(place);
            is_open = false;
        }
    }
    found
}

/// Where in a field a byte is, as the reader of CSVs sees it.
#[derive(Clone, Copy, PartialEq)]
enum Field {
    /// At its first byte, where a quote begins a quoted field.
    Empty,
    /// In a field without quotes around it, where a quote is a character.
    Bare,
    /// Between quotes.
    Quoted,
    /// After a quote in a quoted field: the field's end, or the first half of an escaped quote.
    Closed,
}

/// Whether a quoted field is open at the end of a line that begins in this state.
fn is_open_after(line: &str, delimiter: u8, begins: Field) -> bool {
    let next = |field: Field, byte: u8| match (field, byte) {
        (Field::Quoted, b'"') => Field::Closed,
        (Field::Quoted, _) | (Field::Empty | Field::Closed, b'"') => Field::Quoted,
        (_, byte) if byte == delimiter => Field::Empty,
        _ => Field::Bare,
    };
    line.bytes().fold(begins, next) == Field::Quoted
}

/// The most frequent of comma, semicolon and tab.
fn delimiter_of(line: &str) -> u8 {
    let fields = |delimiter: &u8| {
        let mut reader =
            csv::ReaderBuilder::new().delimiter(*delimiter).has_headers(false).from_reader(line.as_bytes());
        let mut record = csv::StringRecord::new();
        if matches!(reader.read_record(&mut record), Ok(true)) { record.len() } else { 0 }
    };
    // On a tie the last wins.
    b"\t;,".iter().copied().max_by_key(fields).unwrap_or(b',')
}

/// Unique column names: unnamed ones are named as in pandas, and repeated ones numbered with numbers that are free.
pub(super) fn header(fields: &[String]) -> Vec<String> {
    let name = |(place, name): (usize, &String)| match name.trim_start_matches('\u{feff}').trim() {
        "" => format!("Unnamed: {place}"),
        name => name.to_owned(),
    };
    let given: Vec<String> = fields.iter().enumerate().map(name).collect();
    let mut taken: HashSet<String> = given.iter().cloned().collect();
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let mut names = Vec::with_capacity(given.len());
    for name in &given {
        let Some(number) = seen.get_mut(name.as_str()) else {
            seen.insert(name, 0);
            names.push(name.clone());
            continue;
        };
        let free = loop {
            *number += 1;
            let free = format!("{name}.{number}");
            if taken.insert(free.clone()) {
                break free;
            }
        };
        names.push(free);
    }
    names
}

/// Whether a text is a word: neither empty nor a number.
fn is_word(text: &str) -> bool {
    !text.is_empty() && Cell::of(text, b',').number().is_none()
}

/// Whether a record repeats the header, as resumed trainings append it.
pub(super) fn is_header_again(fields: &[String], header: &[String]) -> bool {
    if !fields.iter().any(|text| is_word(text)) {
        return false;
    }
    // Numbers and empty texts may be names too.
    let is_alike = fields.len() == header.len() && fields.iter().zip(header).any(|(text, name)| text == name);
    if is_alike && self::header(fields) == header {
        return true;
    }
    let has_step = fields.iter().any(|text| named_as_step(text) && header.contains(text));
    let is_name = |text: &String| if text.is_empty() { has_step } else { is_word(text) };
    if !fields.iter().all(is_name) {
        return false;
    }
    let again = self::header(fields);
    let known: HashSet<&String> = header.iter().collect();
    let known = again.iter().filter(|name| known.contains(name)).count();
    known > 0 && known * 2 >= header.len().min(again.len())
}

/// Whether the first record of a file that was emptied has values of its former header, and is none itself.
pub(super) fn goes_on_without_header(fields: &[String], former: &[String], delimiter: u8) -> bool {
    let is_number = |text: &String| Cell::of(text, delimiter).number().is_some();
    fields.len() == former.len()
        && former.iter().any(|name| is_word(name))
        && fields.iter().any(is_number)
        && fields.iter().all(|text| text.is_empty() || is_number(text))
}

/// The metric of each column; `None` for those of other runs. Names that were shortened are told.
pub(super) fn names(
    header: &[String],
    path: &Path,
    of_run: Option<&str>,
    notes: &mut Vec<String>,
) -> Vec<Option<String>> {
    let names = full_names(header, path, of_run).into_iter();
    names.map(|name| name.map(|name| short_key(name, notes))).collect()
}

fn full_names(header: &[String], path: &Path, of_run: Option<&str>) -> Vec<Option<String>> {
    if let Some(run) = of_run {
        let name = |(place, name): (usize, &String)| match of_column(name) {
            _ if place == 0 => Some(name.clone()),
            Some((own, metric)) if own == run && !metric.starts_with('_') => Some(metric.to_owned()),
            _ => None,
        };
        return header.iter().enumerate().map(name).collect();
    }
    let value = is_of_tensorboard(header).then(|| run_and_tag(path).map(|(_, tag)| tag)).flatten();
    let name = |name: &String| match &value {
        Some(tag) if plain(name) == "value" => tag.clone(),
        _ => name.clone(),
    };
    header.iter().map(|column| Some(name(column))).collect()
}

/// Splits W&B's `RUN - METRIC`.
fn of_column(name: &str) -> Option<(&str, &str)> {
    let (run, metric) = name.rsplit_once(" - ")?;
    (!run.is_empty() && !metric.is_empty()).then_some((run, metric))
}

fn is_of_tensorboard(header: &[String]) -> bool {
    let mut names: Vec<String> = header.iter().map(|name| plain(name)).collect();
    names.sort_unstable();
    names == ["step", "value", "wall_time"]
}

/// Run and metric by the name of a TensorBoard download. The run of the folder itself, `.`, has no name.
pub(super) fn run_and_tag(path: &Path) -> Option<(String, String)> {
    let stem = path.file_stem()?.to_string_lossy().into_owned();
    let named = stem.strip_prefix("run-").and_then(|rest| rest.split_once("-tag-"));
    named.map(|(run, tag)| (run.trim_matches(['.', '_']).to_owned(), tag.to_owned())).filter(|(_, tag)| !tag.is_empty())
}

/// Header, lines and delimiter.
type Beginning = (Vec<String>, Vec<Vec<String>>, u8);

/// The header, up to `lines` first lines, and the delimiter.
fn beginning_of(piece: &Piece, lines: usize) -> Option<Beginning> {
    let mut delimiter = 0;
    let mut records = records(piece, &mut delimiter, true).into_iter().map(|record| record.fields);
    let header = header(&records.next()?);
    let is_row = |fields: &Vec<String>| !is_header_again(fields, &header) && fields.iter().any(|text| !text.is_empty());
    let rows = records.filter(is_row).take(lines).collect();
    Some((header, rows, delimiter))
}

/// Whether a CSV was found in a folder or named by the user.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Place {
    /// In a folder, which requires a step column.
    InFolder,
    /// By itself.
    Alone,
}

/// What a CSV is.
pub(super) fn shape(path: &Path, place: Place) -> Shape {
    let Ok(Some((header, rows, delimiter))) =
        Piece::read_up_to(path, 0, 64 << 10).map(|piece| beginning_of(&piece, 200))
    else {
        return Shape::Other;
    };
    if is_of_tensorboard(&header) {
        return Shape::Tensorboard;
    }
    let of_runs: Option<Vec<&str>> = header.iter().skip(1).map(|name| of_column(name).map(|(run, _)| run)).collect();
    if let Some(mut runs) = of_runs.filter(|runs| !runs.is_empty()) {
        runs.sort_unstable();
        runs.dedup();
        return Shape::Wandb(runs.into_iter().map(str::to_owned).collect());
    }
    const PATHS: [&str; 12] = [
        "path",
        "file",
        "filename",
        "file_name",
        "filepath",
        "file_path",
        "image",
        "image_path",
        "image_name",
        "img",
        "img_path",
        "image_id",
    ];
    let names_files = header.iter().any(|name| PATHS.contains(&plain(name).as_str()))
        || rows.iter().flatten().any(|text| named_as_image(Path::new(text)));
    if names_files {
        return Shape::Other;
    }
    let row = |fields: &Vec<String>| -> Row {
        let cells = header.iter().zip(fields).filter(|(_, text)| !text.is_empty());
        cells.map(|(name, text)| (name.clone(), Cell::of(text, delimiter))).collect()
    };
    let rows: Vec<Row> = rows.iter().map(row).collect();
    let has_steps = header.iter().any(|name| named_as_step(name));
    let has_numbers = rows.iter().flatten().any(|(_, cell)| cell.number().is_some());
    let is_of_metrics = match place {
        _ if rows.is_empty() => has_steps,
        Place::Alone => has_numbers,
        Place::InFolder => {
            has_steps && has_numbers && (choose(&rows, &Refused::default(), 0).step.is_some() || rows.len() > 1)
        }
    };
    if is_of_metrics { Shape::Metrics } else { Shape::Other }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(fields: &[&str]) -> Vec<String> {
        fields.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn each_column_has_a_name_of_its_own() {
        assert_eq!(header(&texts(&["loss", "loss", "loss"])), ["loss", "loss.1", "loss.2"]);
        assert_eq!(header(&texts(&["loss.1", "loss", "loss"])), ["loss.1", "loss", "loss.2"]);
        assert_eq!(header(&texts(&["", "Unnamed: 0", "a"])), ["Unnamed: 0", "Unnamed: 0.1", "a"]);
    }

    #[test]
    fn a_repeated_header_may_have_empty_and_numeric_names() {
        let is_again = |fields: &[&str], of: &[&str]| is_header_again(&texts(fields), &header(&texts(of)));
        assert!(is_again(&["", "step", "loss"], &["", "step", "loss"]));
        assert!(is_again(&["", "step", "loss", "acc"], &["", "step", "loss"]));
        assert!(is_again(&["step", "0.1", "0.5"], &["step", "0.1", "0.5"]));
        assert!(!is_again(&["1", "0.1", "0.5"], &["step", "0.1", "0.5"]));
        assert!(!is_again(&["1", "0.5"], &["1", "0.5"]), "a file without a header");
        assert!(!is_again(&["", "note", ""], &["step", "note", "loss"]));
    }

    #[test]
    fn a_quote_opens_a_field_only_where_the_field_begins() {
        for (line, is_open) in [
            ("2,.4,5\" disk", false),
            ("2,\"open", true),
            ("\"a\"\"b", true),
            ("\"a\"\"b\"", false),
            ("\"a\"b\"", false),
            ("a, \"b", false),
        ] {
            assert_eq!(is_open_after(line, b',', Field::Empty), is_open, "{line}");
        }
        let lines = texts(&["a,\"b", "c\",d", "1,\"open", "2,x", "3,\"open"]);
        assert_eq!(endless(&lines[..4], b','), [2_usize]);
        assert_eq!(endless(&lines[..2], b','), [0_usize; 0]);
        // The quote of the last line ends the field.
        assert_eq!(endless(&lines, b','), [0_usize; 0]);
        let lines = texts(&["a\"b,\"", "a\"b,\"", "x"]);
        assert_eq!(endless(&lines, b','), [0_usize, 1]);
    }

    #[test]
    fn the_run_of_a_folder_itself_has_no_name() {
        let of = |name: &str| run_and_tag(Path::new(name));
        assert_eq!(of("run-.-tag-train_loss.csv"), Some((String::new(), "train_loss".into())));
        assert_eq!(of("run-a_train-tag-loss.csv"), Some(("a_train".into(), "loss".into())));
        assert_eq!(of("run-a-tag-.csv"), None);
    }
}
