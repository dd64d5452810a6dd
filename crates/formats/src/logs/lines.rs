//! Files of lines, to which programs append.

use super::shortened;
use assay_domain::foreign::Part;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// A part holds about as many bytes of lines at most.
const PART_BYTES: u64 = 8 << 20;

/// Reads lines of at most so many bytes on from this byte; `each` adds one, which begins at `part.read`, to the part. A last
/// line without an end is left for the next time, unless `is_whole` says otherwise.
pub(super) fn read_lines(
    path: &Path,
    from: u64,
    longest: u64,
    is_whole: impl Fn(&[u8]) -> bool,
    mut each: impl FnMut(&mut Part, &[u8]) -> std::io::Result<()>,
) -> std::io::Result<Part> {
    let file = File::open(path)?;
    let damage = shortened(file.metadata()?.len(), from);
    let mut part = Part { read: from, damage, ..Part::default() };
    let mut file = BufReader::new(file);
    file.seek(SeekFrom::Start(from))?;
    let mut line = Vec::new();
    loop {
        if part.read - from >= PART_BYTES {
            part.has_more = true;
            break;
        }
        line.clear();
        file.by_ref().take(longest).read_until(b'\n', &mut line)?;
        let has_end = line.last() == Some(&b'\n');
        if !has_end && line.len() as u64 == longest {
            part.damage = Some(format!("its line at byte {} is too long", part.read));
            break;
        }
        if line.is_empty() || !(has_end || is_whole(&line)) {
            break;
        }
        each(&mut part, &line)?;
        part.read += line.len() as u64;
    }
    Ok(part)
}

/// How many lines end before this byte.
pub(super) fn lines_before(path: &Path, byte: u64) -> std::io::Result<u64> {
    let mut bytes = BufReader::new(File::open(path)?).take(byte);
    let mut count = 0;
    loop {
        let piece = bytes.fill_buf()?;
        let length = piece.len();
        if length == 0 {
            return Ok(count);
        }
        count += piece.iter().filter(|&&byte| byte == b'\n').count() as u64;
        bytes.consume(length);
    }
}
