//! CSV records and column names, also of TensorBoard's and W&B's downloads.

use super::columns::{Cell, Row, choose, named_as_step, plain};
use super::text::Piece;
use crate::named_as_image;
use std::path::Path;

/// A record.
pub(super) struct Record {
    /// Its fields.
    pub(super) fields: Vec<String>,
    /// Byte offset of the next record.
    pub(super) end: u64,
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
    let mut lines: Vec<_> = piece.lines().filter(|line| line.is_ended || is_last).collect();
    let open = open_line(lines.iter().map(|line| line.text.as_ref()));
    // An open quote may be closed in the next piece.
    if let Some(begin) = open.filter(|&begin| !is_last && (begin > 0 || !piece.has_more)) {
        lines.truncate(begin);
    }
    let Some(first) = lines.iter().find(|line| !line.text.trim().is_empty()) else { return Vec::new() };
    if *delimiter == 0 {
        *delimiter = delimiter_of(&first.text);
    }
    // A carriage return within a line ends no record, so that lines and records are counted alike. The reader drops a byte
    // order mark where it begins to read: it is dropped before every line, wherever reading begins.
    let clean = |text: &str| format!("{}\n", text.trim_start_matches('\u{feff}').replace('\r', " "));
    let text: String = lines.iter().map(|line| clean(&line.text)).collect();
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(*delimiter)
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let (mut records, mut begins) = (Vec::new(), Vec::new());
    let mut record = csv::StringRecord::new();
    while matches!(reader.read_record(&mut record), Ok(true)) {
        begins.push(record.position().map_or(1, csv::Position::line) as usize);
        records.push(record.iter().map(str::to_owned).collect());
    }
    let end = |at: usize| {
        let next = begins.get(at + 1).map_or(lines.len(), |line| line.saturating_sub(1));
        lines[next.clamp(1, lines.len()) - 1].end
    };
    records.into_iter().enumerate().map(|(at, fields)| Record { fields, end: end(at) }).collect()
}

/// Lines before the record with an unclosed quote, if any.
fn open_line<'a>(lines: impl Iterator<Item = &'a str>) -> Option<usize> {
    let (mut begin, mut is_open) = (0, false);
    for (line, text) in lines.enumerate() {
        if !is_open {
            begin = line;
        }
        is_open ^= text.bytes().filter(|&byte| byte == b'"').count() % 2 == 1;
    }
    is_open.then_some(begin)
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

/// Unique column names: unnamed ones are named as in pandas, and repeated ones numbered.
pub(super) fn header(fields: &[String]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (place, name) in fields.iter().enumerate() {
        let name = name.trim_start_matches('\u{feff}').trim();
        let name = if name.is_empty() { format!("Unnamed: {place}") } else { name.to_owned() };
        let same = names.iter().filter(|other| **other == name).count();
        names.push(if same == 0 { name } else { format!("{name}.{same}") });
    }
    names
}

/// Whether a record repeats the header, as resumed trainings append it.
pub(super) fn is_header_again(fields: &[String], header: &[String]) -> bool {
    let is_name = |text: &String| !text.is_empty() && Cell::of(text, b',').number().is_none();
    if !fields.iter().all(is_name) {
        return false;
    }
    let again = self::header(fields);
    let known = again.iter().filter(|name| header.contains(name)).count();
    known > 0 && known * 2 >= header.len().min(again.len())
}

/// The metric of each column; `None` for those of other runs.
pub(super) fn names(header: &[String], path: &Path, of_run: Option<&str>) -> Vec<Option<String>> {
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

/// Run and metric by the name of a TensorBoard download; else the file's name is the metric.
pub(super) fn run_and_tag(path: &Path) -> Option<(String, String)> {
    let stem = path.file_stem()?.to_string_lossy().into_owned();
    let named = stem.strip_prefix("run-").and_then(|rest| rest.split_once("-tag-"));
    named
        .map(|(run, tag)| (run.trim_matches(['.', '_']).to_owned(), tag.to_owned()))
        .filter(|(run, tag)| !run.is_empty() && !tag.is_empty())
}

/// The header, up to `lines` first lines, and the delimiter.
pub(super) fn beginning(path: &Path, lines: usize) -> std::io::Result<Option<Beginning>> {
    Ok(beginning_of(&Piece::read(path, 0)?, lines))
}

/// Header, lines and delimiter.
pub(super) type Beginning = (Vec<String>, Vec<Vec<String>>, u8);

fn beginning_of(piece: &Piece, lines: usize) -> Option<Beginning> {
    let mut delimiter = 0;
    let mut records = records(piece, &mut delimiter, true).into_iter().map(|record| record.fields);
    let header = header(&records.next()?);
    let is_row = |fields: &Vec<String>| !is_header_again(fields, &header) && fields.iter().any(|text| !text.is_empty());
    let rows = records.filter(is_row).take(lines).collect();
    Some((header, rows, delimiter))
}

/// The offset after `lines` lines with values, and the header; `None` if there are fewer.
pub(super) fn place_after(path: &Path, lines: u64) -> std::io::Result<Option<(u64, Vec<String>)>> {
    let (mut from, mut seen, mut delimiter, mut columns) = (0, 0, 0, Vec::new());
    loop {
        let piece = Piece::read(path, from)?;
        for Record { fields, end } in records(&piece, &mut delimiter, false) {
            from = end;
            if columns.is_empty() || is_header_again(&fields, &columns) {
                columns = header(&fields);
                continue;
            }
            seen += u64::from(fields.iter().any(|text| !text.is_empty()));
            if seen == lines {
                return Ok(Some((end, columns)));
            }
        }
        if !piece.has_more {
            return Ok(None);
        }
    }
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
        Place::InFolder => has_steps && has_numbers && (choose(&rows, &[], 0).step.is_some() || rows.len() > 1),
    };
    if is_of_metrics { Shape::Metrics } else { Shape::Other }
}
