//! Reads growing text files in pieces: UTF-8 or UTF-16, with or without a byte order mark.

use std::borrow::Cow;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Approximate size of a piece, in bytes.
const PIECE_BYTES: u64 = 4 << 20;

/// Longest line, in bytes.
pub(super) const LINE_BYTES: u64 = 1 << 24;

/// A text encoding.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Encoding {
    Utf8,
    Utf16Little,
    Utf16Big,
}

impl Encoding {
    /// The encoding by the first bytes, and the mark's length.
    fn of(beginning: &[u8]) -> (Encoding, u64) {
        match beginning {
            [0xef, 0xbb, 0xbf, ..] => (Encoding::Utf8, 3),
            [0xff, 0xfe, ..] => (Encoding::Utf16Little, 2),
            [0xfe, 0xff, ..] => (Encoding::Utf16Big, 2),
            [a, 0, b, 0] if *a > 0 && *b > 0 => (Encoding::Utf16Little, 0),
            [0, a, 0, b] if *a > 0 && *b > 0 => (Encoding::Utf16Big, 0),
            _ => (Encoding::Utf8, 0),
        }
    }

    /// Bytes per code unit.
    fn unit(self) -> usize {
        if self == Encoding::Utf8 { 1 } else { 2 }
    }

    fn text(self, bytes: &[u8]) -> Cow<'_, str> {
        let wide = |number: fn([u8; 2]) -> u16| {
            let units = bytes.chunks_exact(2).map(|pair| number([pair[0], pair[1]]));
            Cow::Owned(char::decode_utf16(units).map(|sign| sign.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
        };
        match self {
            Encoding::Utf8 => String::from_utf8_lossy(bytes),
            Encoding::Utf16Little => wide(u16::from_le_bytes),
            Encoding::Utf16Big => wide(u16::from_be_bytes),
        }
    }

    /// The offset after the line break of the line at `from`; `None` if it is unterminated.
    fn end_of_line(self, bytes: &[u8], from: usize) -> Option<usize> {
        let after = |place: usize| place + self.unit();
        match self {
            Encoding::Utf8 => bytes[from..].iter().position(|&byte| byte == b'\n').map(|place| after(from + place)),
            wide => {
                let end = if wide == Encoding::Utf16Little { [b'\n', 0] } else { [0, b'\n'] };
                bytes[from..].chunks_exact(2).position(|unit| unit == end).map(|place| after(from + place * 2))
            }
        }
    }
}

/// Lines of a text file from a byte offset on.
pub(super) struct Piece {
    bytes: Vec<u8>,
    encoding: Encoding,
    /// Its byte offset, after any mark.
    pub(super) from: u64,
    /// Whether more data follows.
    pub(super) has_more: bool,
    /// Whether its line exceeds [`LINE_BYTES`].
    pub(super) is_too_long: bool,
}

/// A line without its ending.
pub(super) struct Line<'a> {
    pub(super) text: Cow<'a, str>,
    /// Byte offset of the next line.
    pub(super) end: u64,
    /// Whether it is terminated; if not, more of it may come.
    pub(super) is_ended: bool,
}

impl Piece {
    /// Reads a piece at this byte.
    pub(super) fn read(path: &Path, from: u64) -> std::io::Result<Piece> {
        Piece::read_up_to(path, from, PIECE_BYTES)
    }

    /// The same of about so many bytes.
    pub(super) fn read_up_to(path: &Path, from: u64, most: u64) -> std::io::Result<Piece> {
        let mut file = File::open(path)?;
        let total = file.metadata()?.len();
        let mut beginning = Vec::new();
        file.by_ref().take(4).read_to_end(&mut beginning)?;
        let (encoding, mark) = Encoding::of(&beginning);
        let from = from.max(mark);
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(from))?;
        let mut limit = most;
        let last = loop {
            file.by_ref().take(limit - bytes.len() as u64).read_to_end(&mut bytes)?;
            let at_end = (bytes.len() as u64) < limit;
            let last = last_end(encoding, &bytes);
            if at_end || last.is_some() || limit >= LINE_BYTES {
                break if at_end { Some(bytes.len()) } else { last };
            }
            limit = (limit * 2).min(LINE_BYTES);
        };
        bytes.truncate(last.unwrap_or(0));
        let has_more = last.is_some() && from + (bytes.len() as u64) < total;
        Ok(Piece { bytes, encoding, from, has_more, is_too_long: last.is_none() })
    }

    /// Its lines in order.
    pub(super) fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let mut at = 0;
        std::iter::from_fn(move || {
            if at >= self.bytes.len() {
                return None;
            }
            let end = self.encoding.end_of_line(&self.bytes, at);
            let bytes = &self.bytes[at..end.unwrap_or(self.bytes.len())];
            at += bytes.len();
            let text = match self.encoding.text(bytes) {
                Cow::Borrowed(text) => Cow::Borrowed(text.trim_end_matches(['\n', '\r'])),
                Cow::Owned(text) => Cow::Owned(text.trim_end_matches(['\n', '\r']).to_owned()),
            };
            Some(Line { text, end: self.from + at as u64, is_ended: end.is_some() })
        })
    }
}

/// The offset after the last line break.
fn last_end(encoding: Encoding, bytes: &[u8]) -> Option<usize> {
    let unit = encoding.unit();
    let is_end = |unit: &[u8]| {
        matches!(
            (encoding, unit),
            (Encoding::Utf8, [b'\n']) | (Encoding::Utf16Little, [b'\n', 0]) | (Encoding::Utf16Big, [0, b'\n'])
        )
    };
    let whole = bytes.len() / unit * unit;
    let place = bytes[..whole].chunks_exact(unit).rposition(is_end)?;
    Some((place + 1) * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wide(text: &str, number: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(number).collect()
    }

    #[test]
    fn lines_are_the_same_in_every_encoding_and_go_on_where_they_were_left() {
        let text = "step,loss\r\n1,ü\n狗,\u{1f600}\nlast";
        let marked = format!("\u{feff}{text}");
        let files = [
            text.as_bytes().to_vec(),
            marked.as_bytes().to_vec(),
            wide(&marked, u16::to_le_bytes),
            wide(&marked, u16::to_be_bytes),
            wide(text, u16::to_le_bytes),
            wide(text, u16::to_be_bytes),
        ];
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.csv");
        for file in files {
            std::fs::write(&path, &file).expect("a file");
            let piece = Piece::read(&path, 0).expect("it reads");
            let lines: Vec<String> = piece.lines().map(|line| line.text.into_owned()).collect();
            assert_eq!(lines, ["step,loss", "1,ü", "狗,\u{1f600}", "last"]);
            let ends: Vec<(u64, bool)> = piece.lines().map(|line| (line.end, line.is_ended)).collect();
            assert_eq!(ends[3], (file.len() as u64, false));
            let rest = Piece::read(&path, ends[1].0).expect("it reads");
            assert_eq!(rest.lines().map(|line| line.text.into_owned()).collect::<Vec<_>>(), lines[2..]);
        }
    }

    #[test]
    fn a_line_beyond_measure_is_told_and_long_files_come_in_pieces() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.csv");
        std::fs::write(&path, vec![b'x'; LINE_BYTES as usize + 1]).expect("a file");
        let piece = Piece::read(&path, 0).expect("it reads");
        assert!(piece.is_too_long && piece.lines().next().is_none());
        let line = format!("{}\n", "y".repeat(999));
        std::fs::write(&path, line.repeat(10_000)).expect("a file");
        let (mut from, mut count) = (0, 0);
        loop {
            let piece = Piece::read(&path, from).expect("it reads");
            count += piece.lines().count();
            from = piece.lines().last().map_or(from, |line| line.end);
            if !piece.has_more {
                break;
            }
        }
        assert_eq!((count, from), (10_000, 10_000_000));
    }
}
