//! Zip archives.

use super::Stop;
use super::target::{LinkBase, Target};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use zip::read::{ZipFileEntry, read_zipfile_from_stream_with_options};
use zip::result::ZipError;
use zip::{ZipArchive, ZipReadOptions};

/// Whether an end of the central directory is there, which all zips have; a self-extracting one begins as a program.
pub(super) fn has_end(file: &mut File) -> std::io::Result<bool> {
    // With the longest comment (APPNOTE.TXT, 4.3.16).
    const LONGEST: u64 = 22 + 65_535;
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(LONGEST)))?;
    let mut tail = Vec::new();
    file.by_ref().take(LONGEST).read_to_end(&mut tail)?;
    file.rewind()?;
    Ok(tail.windows(4).any(|bytes| bytes == b"PK\x05\x06"))
}

pub(super) fn unpack(file: File, target: &mut Target<'_>) -> Result<(), Stop> {
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|why| Stop::Why(reason(&why)))?;
    for index in 0..archive.len() {
        entry(&mut archive, index, target)?;
    }
    if !archive.has_duplicate_names() {
        return Ok(());
    }
    let entries = (0..archive.len()).filter_map(|index| archive.by_index_data(index).ok());
    let paths: HashMap<Vec<u8>, Vec<u8>> = entries.map(|facts| (facts.name_raw().to_vec(), path_of(&facts))).collect();
    let (start, offset) = (archive.central_directory_start(), archive.offset());
    let mut reader = archive.into_inner();
    for (name, copies) in repeated(&mut reader, start) {
        let path = paths.get(&name).unwrap_or(&name);
        take_one(&copies, path, &mut reader, offset, target)?;
    }
    Ok(())
}

fn entry(archive: &mut ZipArchive<BufReader<File>>, index: usize, target: &mut Target<'_>) -> Result<(), Stop> {
    let Ok(facts) = archive.by_index_data(index) else {
        target.leave_out(format!("entry {index}").as_bytes(), "it is damaged; left out");
        return Ok(());
    };
    let path = path_of(&facts);
    let (is_link, is_encrypted, bytes) = (facts.is_symlink(), facts.encrypted(), facts.size());
    if path.ends_with(b"/") {
        if bytes > 0 {
            target.leave_out(&path, "its name is that of a folder, but it holds data; left out");
        }
        return Ok(());
    }
    if is_encrypted {
        target.leave_out(&path, "it is encrypted; left out: unpack the archive with its password first");
        return Ok(());
    }
    match archive.by_index(index) {
        Ok(mut contents) if is_link => {
            let mut to = Vec::new();
            match (&mut contents).take(4096).read_to_end(&mut to) {
                Ok(_) => target.link(&path, &to, LinkBase::Folder),
                Err(why) => target.leave_out(&path, format!("it is damaged or cut off: {why}")),
            }
            Ok(())
        }
        Ok(contents) => take(contents, &path, bytes, target),
        Err(why) => {
            target.leave_out_file(&path, format!("{}; left out", reason(&why)));
            Ok(())
        }
    }
}

/// Writes a file. Unsupported methods show when it is read.
fn take(contents: impl Read, path: &[u8], bytes: u64, target: &mut Target<'_>) -> Result<(), Stop> {
    let mut contents = BufReader::new(contents);
    let Err(why) = contents.fill_buf().map(|_| ()) else { return target.file(path, &mut contents, Some(bytes)) };
    let why = match why.downcast::<ZipError>() {
        Ok(why) => reason(&why),
        Err(why) => format!("it is damaged or cut off: {why}"),
    };
    target.leave_out_file(path, format!("{why}; left out"));
    Ok(())
}

/// The path of an entry; names without the UTF-8 flag are code page 437. Programs of old write `\` for `/`; but a name
/// with `/` has none of those, and in one that is not UTF-8 the byte may be the second of a Shift-JIS or GBK character.
fn path_of(facts: &ZipFileEntry<'_>) -> Vec<u8> {
    let name = facts.name_raw();
    let is_utf8 = std::str::from_utf8(name).is_ok();
    let mut path = name.to_vec();
    if !name.contains(&b'/') {
        let mut is_second = false;
        for byte in &mut path {
            if *byte == b'\\' && !is_second {
                *byte = b'/';
            }
            is_second = !is_utf8 && !is_second && !byte.is_ascii();
        }
    }
    match facts.name() {
        // Every byte became one character.
        Ok(text) if !is_utf8 => {
            let signs = text.chars().zip(&path).map(|(sign, byte)| if *byte == b'/' { '/' } else { sign });
            signs.collect::<String>().into_bytes()
        }
        _ => path,
    }
}

fn reason(why: &ZipError) -> String {
    match why {
        ZipError::CompressionMethodNotSupported(method) => match compression(*method) {
            Some(name) => format!("it is compressed with {name}, which is not read"),
            None => format!("it is compressed with method {method}, which is not read"),
        },
        ZipError::UnsupportedArchive(why) if why.contains("ncrypt") || why.contains("assword") => {
            "it is encrypted: unpack the archive with its password first".into()
        }
        ZipError::InvalidArchive(why) => format!("it is damaged or cut off: {why}"),
        ZipError::Io(why) => format!("it is damaged or cut off: {why}"),
        other => other.to_string(),
    }
}

/// The names of compression methods (APPNOTE.TXT, 4.4.5).
fn compression(method: u16) -> Option<&'static str> {
    match method {
        1 => Some("Shrink"),
        2..=5 => Some("Reduce"),
        6 => Some("Implode"),
        9 => Some("Deflate64"),
        12 => Some("bzip2"),
        14 => Some("LZMA"),
        20 | 93 => Some("Zstandard"),
        94 => Some("MP3"),
        95 => Some("xz"),
        96 => Some("JPEG"),
        97 => Some("WavPack"),
        98 => Some("PPMd"),
        99 => Some("AES encryption"),
        _ => None,
    }
}

/// One of several entries of one name, as the central directory has it. Lengths of zip64 are not read.
struct Duplicate {
    is_link: bool,
    is_encrypted: bool,
    crc: u32,
    stored_bytes: u32,
    bytes: u32,
    /// Where its local header is in the archive.
    header: u32,
}

/// Tells of a name with several entries, of which the library reads only the last (APPNOTE.TXT, 4.3.12), and takes the
/// one before if that does not read.
fn take_one(
    copies: &[Duplicate],
    path: &[u8],
    reader: &mut BufReader<File>,
    offset: u64,
    target: &mut Target<'_>,
) -> Result<(), Stop> {
    let times = copies.len();
    let Some((last, earlier)) = copies.split_last().filter(|_| !path.ends_with(b"/")) else { return Ok(()) };
    if last.is_link || target.holds(path) {
        target.leave_out(path, format!("the archive has it {times} times: the last one is taken"));
        return Ok(());
    }
    for copy in earlier.iter().rev() {
        let is_zip64 = [copy.stored_bytes, copy.bytes, copy.header].contains(&u32::MAX);
        let place = SeekFrom::Start(offset.saturating_add(u64::from(copy.header)));
        if copy.is_link || copy.is_encrypted || is_zip64 || reader.seek(place).is_err() {
            continue;
        }
        let options = ZipReadOptions::new()
            .override_compressed_size(u64::from(copy.stored_bytes))
            .override_uncompressed_size(u64::from(copy.bytes))
            .override_crc(copy.crc);
        if let Ok(Some(contents)) = read_zipfile_from_stream_with_options(reader, options) {
            take(contents, path, u64::from(copy.bytes), target)?;
        }
        if target.holds(path) {
            let why =
                format!("the archive has it {times} times: the last one does not read, so an earlier one is taken");
            target.leave_out(path, why);
            return Ok(());
        }
    }
    target.leave_out(path, format!("the archive has it {times} times, and none of them reads; left out"));
    Ok(())
}

/// Names that occur repeatedly in the central directory, with their entries in its order.
fn repeated(directory: &mut (impl Read + Seek), start: u64) -> BTreeMap<Vec<u8>, Vec<Duplicate>> {
    const HEADER: usize = 46;
    let mut entries: BTreeMap<Vec<u8>, Vec<Duplicate>> = BTreeMap::new();
    let mut read = || -> std::io::Result<()> {
        directory.seek(SeekFrom::Start(start))?;
        let mut header = [0; HEADER];
        loop {
            directory.read_exact(&mut header)?;
            if !header.starts_with(b"PK\x01\x02") {
                return Ok(());
            }
            // Fields of the header (APPNOTE.TXT, 4.3.12).
            let short = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
            let long = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
            let mut name = vec![0; usize::from(short(28))];
            directory.read_exact(&mut name)?;
            directory.seek(SeekFrom::Current(i64::from(short(30)) + i64::from(short(32))))?;
            entries.entry(name).or_default().push(Duplicate {
                // The type of a Unix file's mode is a symbolic link's.
                is_link: header[5] == 3 && long(38) >> 28 == 0o12,
                is_encrypted: short(8) & 1 == 1,
                crc: long(16),
                stored_bytes: long(20),
                bytes: long(24),
                header: long(42),
            });
        }
    };
    // Ends at the end of the directory or at damage; the entries so far are valid.
    let _ = read();
    entries.retain(|_, copies| copies.len() > 1);
    entries
}
