//! Zip archives.

use super::Stop;
use super::target::{LinkBase, Target};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use zip::ZipArchive;
use zip::result::ZipError;

pub(super) fn unpack(file: File, target: &mut Target<'_>) -> Result<(), Stop> {
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|why| Stop::Why(reason(&why)))?;
    for index in 0..archive.len() {
        entry(&mut archive, index, target)?;
    }
    if archive.has_duplicate_names() {
        let start = archive.central_directory_start();
        for (name, times) in repeated(archive.into_inner(), start) {
            target.leave_out(&name, format!("the archive has it {times} times: the last one is taken"));
        }
    }
    Ok(())
}

fn entry(archive: &mut ZipArchive<BufReader<File>>, index: usize, target: &mut Target<'_>) -> Result<(), Stop> {
    let Ok(facts) = archive.by_index_data(index) else {
        target.leave_out(format!("entry {index}").as_bytes(), "it is damaged; left out");
        return Ok(());
    };
    // Names without the UTF-8 flag are code page 437; if neither decodes, keep the bytes.
    let name = match facts.name() {
        Ok(name) => name.as_bytes().to_vec(),
        Err(_) => facts.name_raw().to_vec(),
    };
    if facts.is_dir() {
        return Ok(());
    }
    let (is_link, is_encrypted, bytes) = (facts.is_symlink(), facts.encrypted(), facts.size());
    if is_encrypted {
        target.leave_out(&name, "it is encrypted; left out: unpack the archive with its password first");
        return Ok(());
    }
    match archive.by_index(index) {
        Ok(mut contents) if is_link => {
            let mut to = Vec::new();
            match (&mut contents).take(4096).read_to_end(&mut to) {
                Ok(_) => target.link(&name, &to, LinkBase::Folder),
                Err(why) => target.leave_out(&name, format!("it is damaged or cut off: {why}")),
            }
            Ok(())
        }
        Ok(contents) => {
            // Reading shows unsupported methods.
            let mut contents = BufReader::new(contents);
            let inner = contents.fill_buf().err().and_then(|why| why.downcast::<ZipError>().ok());
            match inner {
                Some(why) => {
                    target.leave_out(&name, format!("{}; left out", reason(&why)));
                    Ok(())
                }
                None => target.file(&name, &mut contents, Some(bytes)),
            }
        }
        Err(why) => {
            target.leave_out(&name, format!("{}; left out", reason(&why)));
            Ok(())
        }
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

/// Names that occur repeatedly in the central directory, of which the library keeps the last (APPNOTE.TXT, 4.3.12).
fn repeated(mut directory: impl Read + Seek, start: u64) -> Vec<(Vec<u8>, usize)> {
    const HEADER: usize = 46;
    let mut times: HashMap<Vec<u8>, usize> = HashMap::new();
    let mut read = || -> std::io::Result<()> {
        directory.seek(SeekFrom::Start(start))?;
        let mut header = [0; HEADER];
        loop {
            directory.read_exact(&mut header)?;
            if !header.starts_with(b"PK\x01\x02") {
                return Ok(());
            }
            let length = |at: usize| usize::from(u16::from_le_bytes([header[at], header[at + 1]]));
            let mut name = vec![0; length(28)];
            directory.read_exact(&mut name)?;
            directory.seek(SeekFrom::Current((length(30) + length(32)) as i64))?;
            *times.entry(name).or_default() += 1;
        }
    };
    // Ends at the end of the directory or at damage; counts so far are valid.
    let _ = read();
    let mut repeated: Vec<(Vec<u8>, usize)> = times.into_iter().filter(|(_, times)| *times > 1).collect();
    repeated.sort();
    repeated
}
