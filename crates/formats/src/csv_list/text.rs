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
    /// The line number of the header.
    header_line: u64,
    /// The fields as written; [`field`] and [`Table::column`] trim them.
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
        let start = Start::of(text);
        let text = &text[start.bytes..];
        let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(start.separator.unwrap_or_else(|| separator(first)))
            .from_reader(text.as_bytes());
        let mut table = Table { has_header: true, header_line: start.lines + 1, ..Table::default() };
        let mut record = csv::StringRecord::new();
        let mut is_first = true;
        loop {
            match reader.read_record(&mut record) {
                Ok(false) => return table,
                Ok(true) if record.iter().all(|field| field.trim().is_empty()) => {}
                Ok(true) if is_first => {
                    table.headers = record.iter().map(|header| header.trim().to_owned()).collect();
                    is_first = false;
                }
                Ok(true) => {
                    // The library counts preceding empty lines to the record.
                    let line = record.position().map_or(0, |at| {
                        let rest = text.as_bytes().get(at.byte() as usize..).unwrap_or_default();
                        let ends = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
                        at.line() + ends.filter(|byte| **byte == b'\n').count() as u64
                    });
                    table.rows.push((start.lines + line, record.clone()));
                }
                Err(why) => {
                    let line = why
                        .position()
                        .map_or_else(|| "a line".to_owned(), |at| format!("line {}", start.lines + at.line()));
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
        self.rows.insert(0, (self.header_line, csv::StringRecord::from(self.headers.clone())));
        self.has_header = false;
        self.headers = (1..=self.headers.len()).map(|number| format!("column {number}")).collect();
        self
    }

    /// The trimmed values of a column.
    pub(crate) fn column(&self, place: usize) -> impl Iterator<Item = &str> + Clone {
        self.rows.iter().filter_map(move |(_, row)| row.get(place)).map(str::trim)
    }
}

/// The lines before a table.
#[derive(Debug, Default)]
struct Start {
    bytes: usize,
    lines: u64,
    /// The separator that a line `sep=;` names to spreadsheets.
    separator: Option<u8>,
}

impl Start {
    fn of(text: &str) -> Start {
        let mut start = Start::default();
        for line in text.split_inclusive('\n') {
            let own = line.trim();
            let named = own.get(..4).filter(|word| word.eq_ignore_ascii_case("sep=")).map(|_| own.as_bytes());
            match named {
                Some([_, _, _, _, sign]) if start.separator.is_none() => start.separator = Some(*sign),
                // A tab is trimmed.
                Some([_, _, _, _]) if line.contains('\t') => start.separator = Some(b'\t'),
                _ if own.is_empty() || is_comment(own) => {}
                _ => return start,
            }
            start.bytes += line.len();
            start.lines += 1;
        }
        start
    }
}

/// Whether a line before the header is a comment, not a header `#path,label` or `#,path`, or a file `#1.png`.
fn is_comment(line: &str) -> bool {
    if !line.starts_with('#') {
        return false;
    }
    let sign = char::from(separator(line));
    let fields: Vec<&str> = line.split(sign).map(|field| field.trim().trim_matches('"')).collect();
    let is_header = super::columns::is_known(fields[0]) || (fields[0] == "#" && fields.len() > 1);
    !is_header && !fields.iter().any(|field| crate::tree::named_as_image(Path::new(field)))
}

/// The trimmed field of a row; `None` if it is empty.
pub(crate) fn field(row: &csv::StringRecord, place: usize) -> Option<&str> {
    row.get(place).map(str::trim).filter(|text| !text.is_empty())
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

/// Decodes by byte order mark, else UTF-16 if many of every second byte are zero, else UTF-8, else Windows-1252.
fn decoded(bytes: &[u8]) -> String {
    let utf16 = |bytes: &[u8], number: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| number([pair[0], pair[1]])).collect();
        String::from_utf16_lossy(&units)
    };
    let text = match bytes {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        _ if has_zeros(bytes, Zeros::Odd) => utf16(bytes, u16::from_le_bytes),
        _ if has_zeros(bytes, Zeros::Even) => utf16(bytes, u16::from_be_bytes),
        _ => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => bytes.iter().map(|byte| windows_1252(*byte)).collect(),
        },
    };
    with_line_feeds(text.trim_start_matches('\u{feff}'))
}

/// Whether a text of this beginning is UTF-16.
pub(crate) fn is_utf16(head: &[u8]) -> bool {
    let has_mark = matches!(head, [0xff, 0xfe, ..] | [0xfe, 0xff, ..]);
    has_mark || has_zeros(head, Zeros::Odd) || has_zeros(head, Zeros::Even)
}

/// Which of the two bytes of a unit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Zeros {
    Even,
    Odd,
}

/// Whether the bytes are UTF-16 with zeros there, as in the signs of ASCII: at least an eighth of the units.
fn has_zeros(bytes: &[u8], zeros: Zeros) -> bool {
    let head = &bytes[..bytes.len().min(256) & !1];
    let count = |start: usize| head.iter().skip(start).step_by(2).filter(|byte| **byte == 0).count();
    let (own, other) = match zeros {
        Zeros::Even => (count(0), count(1)),
        Zeros::Odd => (count(1), count(0)),
    };
    own > 0 && own * 16 >= head.len() && other * 8 <= own
}

/// Ends lines with line feeds alone. Within quotes, a carriage return may belong to the name of a file.
fn with_line_feeds(text: &str) -> String {
    if !text.contains('\r') {
        return text.to_owned();
    }
    let mut plain = String::with_capacity(text.len());
    let mut is_quoted = false;
    let mut signs = text.chars().peekable();
    while let Some(sign) = signs.next() {
        is_quoted ^= sign == '"';
        if sign == '\r' && !is_quoted {
            let _ = signs.next_if_eq(&'\n');
            plain.push('\n');
        } else {
            plain.push(sign);
        }
    }
    plain
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
    fn line_ends_are_one_but_for_those_in_quotes() {
        let expected = [["path", "label"], ["a\rb.jpg", "cat"], ["c.jpg", "dog"]];
        for end in ["\n", "\r\n", "\r"] {
            assert_eq!(rows(format!("path,label{end}\"a\rb.jpg\",cat{end}c.jpg,dog{end}").as_bytes()), expected);
        }
        // A lone quote hides no row.
        let lone = rows(b"path,label\r\n5\" disk.jpg,cat\r\nc.jpg,dog\r\n");
        assert_eq!(lone, [["path", "label"], ["5\" disk.jpg", "cat"], ["c.jpg", "dog"]]);
    }

    #[test]
    fn fields_are_kept_as_written_and_trimmed_where_used() {
        let table = Table::of(" path , label\n a.jpg, cat \n , \n");
        assert_eq!((table.headers.as_slice(), table.rows.len()), (["path", "label"].map(str::to_owned).as_slice(), 1));
        let (_, row) = &table.rows[0];
        assert_eq!(
            (row.get(0), field(row, 0), field(row, 1), field(row, 2)),
            (Some(" a.jpg"), Some("a.jpg"), Some("cat"), None)
        );
    }

    #[test]
    fn lines_are_numbered_as_an_editor_does() {
        let table = Table::of("path,label\n\n\"a\nb.jpg\",cat\nc.jpg,dog\n");
        assert_eq!(table.rows.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [3, 5]);
    }
}
