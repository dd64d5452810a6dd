//! Decodes a table and splits it into records, detecting encoding and separator.

use std::io::Read;
use std::path::Path;

/// Maximum size, in bytes.
const MAX_BYTES: u64 = 1 << 30;

/// A table: header, and rows with their line numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub(crate) headers: Vec<String>,
    pub(crate) has_header: bool,
    pub(crate) rows: Vec<(u64, csv::StringRecord)>,
    /// Unreadable lines.
    pub(crate) problems: Vec<(String, String)>,
}

impl Table {
    /// Reads UTF-8, UTF-16 or Windows-1252, separated by comma, semicolon, tab or bar.
    pub(crate) fn read(file: &Path) -> std::io::Result<Table> {
        let opened = std::fs::File::open(file)?;
        let facts = opened.metadata()?;
        if !facts.is_file() {
            return Err(std::io::Error::other("it is no file"));
        }
        if facts.len() > MAX_BYTES {
            return Err(std::io::Error::other("it has more than 1 GB"));
        }
        let mut bytes = Vec::new();
        opened.take(MAX_BYTES).read_to_end(&mut bytes)?;
        Ok(Table::of(&decoded(&bytes)))
    }

    pub(crate) fn of(text: &str) -> Table {
        let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .trim(csv::Trim::All)
            .flexible(true)
            .delimiter(separator(first))
            .from_reader(text.as_bytes());
        let mut table = Table { has_header: true, ..Table::default() };
        let mut record = csv::StringRecord::new();
        let mut is_first = true;
        loop {
            match reader.read_record(&mut record) {
                Ok(false) => return table,
                Ok(true) if record.iter().all(str::is_empty) => {}
                Ok(true) if is_first => {
                    table.headers = record.iter().map(str::to_owned).collect();
                    is_first = false;
                }
                Ok(true) => {
                    // The library counts preceding empty lines to the record.
                    let line = record.position().map_or(0, |at| {
                        let rest = text.as_bytes().get(at.byte() as usize..).unwrap_or_default();
                        at.line() + rest.iter().take_while(|byte| **byte == b'\n').count() as u64
                    });
                    table.rows.push((line, record.clone()));
                }
                Err(why) => {
                    let line = why.position().map_or_else(|| "a line".to_owned(), |at| format!("line {}", at.line()));
                    table.problems.push((line, why.to_string()));
                    if matches!(why.kind(), csv::ErrorKind::Io(_)) {
                        return table;
                    }
                }
            }
        }
    }

    /// Treats the header as a row.
    pub(crate) fn without_header(mut self) -> Table {
        self.rows.insert(0, (1, csv::StringRecord::from(self.headers.clone())));
        self.has_header = false;
        self.headers = (1..=self.headers.len()).map(|number| format!("column {number}")).collect();
        self
    }

    /// The values of a column.
    pub(crate) fn column(&self, place: usize) -> impl Iterator<Item = &str> + Clone {
        self.rows.iter().filter_map(move |(_, row)| row.get(place))
    }
}

/// The most frequent separator outside quotes in the first line; ties: the first.
fn separator(line: &str) -> u8 {
    let count = |sign: char| {
        let mut is_quoted = false;
        line.chars()
            .filter(|&found| {
                is_quoted ^= found == '"';
                found == sign && !is_quoted
            })
            .count()
    };
    let mut best = (b',', count(','));
    for sign in [b';', b'\t', b'|'] {
        let own = count(char::from(sign));
        if own > best.1 {
            best = (sign, own);
        }
    }
    best.0
}

/// Decodes by byte order mark, else UTF-16 if every second byte is zero, else UTF-8, else Windows-1252.
fn decoded(bytes: &[u8]) -> String {
    let utf16 = |bytes: &[u8], number: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| number([pair[0], pair[1]])).collect();
        String::from_utf16_lossy(&units)
    };
    let head = &bytes[..bytes.len().min(256) & !1];
    let zeros = |start: usize| !head.is_empty() && head.iter().skip(start).step_by(2).all(|byte| *byte == 0);
    let text = match bytes {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        _ if zeros(1) => utf16(bytes, u16::from_le_bytes),
        _ if zeros(0) => utf16(bytes, u16::from_be_bytes),
        _ => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => bytes.iter().map(|byte| windows_1252(*byte)).collect(),
        },
    };
    text.trim_start_matches('\u{feff}').replace("\r\n", "\n").replace('\r', "\n")
}

/// Decodes a byte of Windows-1252 (encoding.spec.whatwg.org).
fn windows_1252(byte: u8) -> char {
    const FROM_80: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘',
        '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
    ];
    match byte {
        0x80..=0x9f => FROM_80[usize::from(byte) - 0x80],
        byte => char::from(byte),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(bytes: &[u8]) -> Vec<Vec<String>> {
        let table = Table::of(&decoded(bytes));
        let rows = table.rows.iter().map(|(_, row)| row.iter().map(str::to_owned).collect());
        [table.headers.clone()].into_iter().chain(rows).collect()
    }

    #[test]
    fn separators_and_encodings_are_seen() {
        let expected = [vec!["path", "label"], vec!["ä.jpg", "Käfer"]];
        for sign in [",", ";", "\t", "|"] {
            let text = format!("path{sign}label\r\nä.jpg{sign}Käfer\r\n");
            assert_eq!(rows(text.as_bytes()), expected, "{sign:?}");
            assert_eq!(rows(format!("\u{feff}{text}").as_bytes()), expected);
            let units: Vec<u16> = text.encode_utf16().collect();
            let little: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
            let big: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
            assert_eq!(rows(&[&[0xff, 0xfe][..], &little].concat()), expected);
            assert_eq!(rows(&[&[0xfe, 0xff][..], &big].concat()), expected);
        }
        assert_eq!(rows(b"path,label\n\xe4.jpg,K\xe4fer\n"), expected);
        assert_eq!(rows(b"path;labels\na.jpg;\"x;y\"\n"), [["path", "labels"], ["a.jpg", "x;y"]]);
    }

    #[test]
    fn lines_are_numbered_as_an_editor_does() {
        let table = Table::of("path,label\n\n\"a\nb.jpg\",cat\nc.jpg,dog\n");
        assert_eq!(table.rows.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [3, 5]);
    }
}
