//! Tar archives, plain and gzipped.

use super::Stop;
use super::gzip::Members;
use super::target::{LinkBase, Target};
use assay_domain::content::{ArchiveKind, Content, HEAD_BYTES};
use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{BufReader, Read};
use std::rc::Rc;
use tar::EntryType;

/// The length of a block.
const BLOCK: u64 = 512;
/// Zeros that end an archive.
const END: u64 = 2 * BLOCK;
/// Maximum parts of a sparse file.
const MAX_PARTS: u64 = 1_000_000;

/// Content allowed behind an archive's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behind {
    /// Another archive.
    Archive,
    /// Another archive, or padding of any bytes, as from a tape or a disk.
    ArchiveOrPadding,
}

/// A gzip may have several members in sequence.
pub(super) fn unpack_gzipped(file: File, target: &mut Target<'_>) -> Result<(), Stop> {
    let mut plain = Members::new(BufReader::new(file));
    let mut head = Vec::with_capacity(HEAD_BYTES);
    let first = (&mut plain).take(HEAD_BYTES as u64).read_to_end(&mut head);
    let is_tar = begins(&head) || Content::of(&head) == Content::Archive(ArchiveKind::Tar);
    let is_empty = head.len() == HEAD_BYTES && head.iter().all(|byte| *byte == 0);
    if !is_tar && !is_empty {
        let why = match first {
            Err(why) => format!("it is damaged or cut off: {why}"),
            Ok(_) => "it is gzipped, but there is no tar in it: unpack it first".into(),
        };
        return Err(Stop::Why(why));
    }
    unpack_entries(std::io::Cursor::new(head).chain(plain), Behind::Archive, target)
}

pub(super) fn unpack(file: File, target: &mut Target<'_>) -> Result<(), Stop> {
    unpack_entries(file, Behind::ArchiveOrPadding, target)
}

/// Whether a tar begins so, whatever its first name looks like: `P1 scans/` begins as a PBM image does.
pub(super) fn begins(head: &[u8]) -> bool {
    let mut header = tar::Header::new_old();
    let Some(bytes) = head.get(..header.as_bytes().len()) else { return false };
    header.as_mut_bytes().copy_from_slice(bytes);
    // The checksum's own bytes count as blanks (POSIX.1-1988, ustar).
    let sum: u32 = bytes[..148].iter().chain(&bytes[156..]).map(|byte| u32::from(*byte)).sum::<u32>() + 8 * 32;
    bytes[0] != 0 && header.cksum().is_ok_and(|stored| stored == sum)
}

fn unpack_entries(reader: impl Read, behind: Behind, target: &mut Target<'_>) -> Result<(), Stop> {
    let place = Rc::new(Place::default());
    let mut archive = tar::Archive::new(Tracked { reader, place: place.clone() });
    // Concatenated archives count as one.
    archive.set_ignore_zeros(true);
    let mut last = b"the beginning".to_vec();
    for found in archive.entries().map_err(|why| Stop::Why(why.to_string()))? {
        match found {
            Ok(mut found) => {
                last = found.path_bytes().into_owned();
                place.enter(stored_bytes(&found));
                entry(&mut found, target)?;
            }
            Err(why) => {
                let after = [b"after ", last.as_slice()].concat();
                let is_padding =
                    behind == Behind::ArchiveOrPadding && why.raw_os_error().is_none() && !place.is_behind_header();
                if !place.has_ended.get() {
                    target.leave_out(&after, format!("the archive is damaged or cut off, what follows is lost: {why}"));
                } else if !is_padding {
                    target.leave_out(&after, format!("what lies behind the archive's end cannot be read: {why}"));
                }
                return Ok(());
            }
        }
    }
    if place.zeros.get() < BLOCK && !target.is_empty() {
        let after = [b"after ", last.as_slice()].concat();
        target.leave_out(&after, "the archive has no end: it may be cut off");
    }
    Ok(())
}

/// The length of an entry's data in the archive.
fn stored_bytes(entry: &tar::Entry<'_, impl Read>) -> u64 {
    match entry.header().entry_type() {
        // Its size is the expanded one.
        EntryType::GNUSparse => entry.header().entry_size().unwrap_or(0),
        _ => entry.size(),
    }
}

fn entry(entry: &mut tar::Entry<'_, impl Read>, target: &mut Target<'_>) -> Result<(), Stop> {
    let name = entry.path_bytes().into_owned();
    let link = entry.link_name_bytes().map(|to| to.into_owned()).unwrap_or_default();
    match entry.header().entry_type() {
        EntryType::Regular | EntryType::Continuous if name.ends_with(b"/") => {
            if entry.size() > 0 {
                target.leave_out(&name, "its name is that of a folder, but it holds data; left out");
            }
            Ok(())
        }
        EntryType::Regular | EntryType::Continuous => {
            let size = entry.size();
            match Sparse::of(entry) {
                Ok(None) => target.file(&name, entry, Some(size)),
                Ok(Some(sparse)) => {
                    let name = sparse.name.clone().unwrap_or(name);
                    let size = sparse.size;
                    target.file(&name, &mut sparse.reading(entry), Some(size))
                }
                Err(why) => {
                    target.leave_out_file(&name, format!("a sparse file that does not read: {why}"));
                    Ok(())
                }
            }
        }
        EntryType::GNUSparse => {
            let size = entry.size();
            target.file(&name, entry, Some(size))
        }
        EntryType::Directory | EntryType::XGlobalHeader => Ok(()),
        EntryType::Link => {
            target.link(&name, &link, LinkBase::Root);
            Ok(())
        }
        EntryType::Symlink => {
            target.link(&name, &link, LinkBase::Folder);
            Ok(())
        }
        other => {
            let what = match other {
                EntryType::Fifo => "a FIFO".to_owned(),
                EntryType::Char | EntryType::Block => "a device".to_owned(),
                other => format!("an entry of type {:?}", char::from(other.as_byte())),
            };
            target.leave_out(&name, format!("{what}, not a file; left out"));
            Ok(())
        }
    }
}

/// Where the library reads, and what it read between the data of entries.
#[derive(Default)]
struct Place {
    position: Cell<u64>,
    /// The end of the current entry's data, in whole blocks.
    data_end: Cell<u64>,
    /// The run of zeros before `position`, without those of data.
    zeros: Cell<u64>,
    /// Whether an archive ended since the current entry.
    has_ended: Cell<bool>,
    /// The last block, or what was read of it.
    block: RefCell<Vec<u8>>,
}

impl Place {
    /// An entry's data begins at `position`.
    fn enter(&self, stored_bytes: u64) {
        let length = stored_bytes.checked_next_multiple_of(BLOCK).unwrap_or(u64::MAX);
        self.data_end.set(self.position.get().saturating_add(length));
        self.zeros.set(0);
        self.has_ended.set(false);
        self.block.borrow_mut().clear();
    }

    fn pass(&self, bytes: &[u8]) {
        let position = self.position.get();
        self.position.set(position + bytes.len() as u64);
        let data = usize::try_from(self.data_end.get().saturating_sub(position)).unwrap_or(usize::MAX);
        let between = bytes.get(data..).unwrap_or_default();
        let zeros = between.iter().rev().take_while(|byte| **byte == 0).count();
        let before = if zeros == between.len() { self.zeros.get() } else { 0 };
        self.zeros.set(before + zeros as u64);
        if self.zeros.get() >= END {
            self.has_ended.set(true);
        }
        let mut block = self.block.borrow_mut();
        block.extend_from_slice(between);
        let surplus = block.len().saturating_sub(BLOCK as usize);
        block.drain(..surplus);
    }

    /// Whether the last block was meant as a header, by its magic (POSIX.1-1988, ustar).
    fn is_behind_header(&self) -> bool {
        self.block.borrow().get(257..262) == Some(b"ustar")
    }
}

struct Tracked<R> {
    reader: R,
    place: Rc<Place>,
}

impl<R: Read> Read for Tracked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.place.pass(&buffer[..count]);
        Ok(count)
    }
}

/// The map of a sparse file in PAX format 0.0 to 1.0 (GNU tar's manual, "PAX Format"); the library reads the older GNU
/// formats.
struct Sparse {
    name: Option<Vec<u8>>,
    size: u64,
    /// Offset and length of each data segment.
    parts: Vec<(u64, u64)>,
}

impl Sparse {
    fn of(entry: &mut tar::Entry<'_, impl Read>) -> std::io::Result<Option<Sparse>> {
        let damaged = |why: &str| std::io::Error::other(why.to_owned());
        let mut sparse = Sparse { name: None, size: 0, parts: Vec::new() };
        let (mut is_sparse, mut has_size, mut is_malformed) = (false, false, false);
        let (mut has_map_inside, mut offset) = (false, 0);
        let Some(extensions) = entry.pax_extensions()? else { return Ok(None) };
        for extension in extensions {
            // The library splits records at line breaks, which a binary attribute may contain.
            let Ok(extension) = extension else {
                is_malformed = true;
                continue;
            };
            let Some(key) = extension.key_bytes().strip_prefix(b"GNU.sparse.") else { continue };
            let value = extension.value_bytes();
            let number = || std::str::from_utf8(value).ok().and_then(|text| text.parse::<u64>().ok());
            is_sparse = true;
            match key {
                b"major" => has_map_inside = number() == Some(1),
                b"name" => sparse.name = Some(value.to_vec()),
                b"size" | b"realsize" => {
                    sparse.size = number().ok_or_else(|| damaged("its size is no number"))?;
                    has_size = true;
                }
                b"offset" => offset = number().ok_or_else(|| damaged("an offset is no number"))?,
                b"numbytes" => {
                    let length = number().ok_or_else(|| damaged("a length is no number"))?;
                    sparse.parts.push((offset, length));
                }
                b"map" => {
                    let text = String::from_utf8_lossy(value);
                    let numbers: Option<Vec<u64>> = text.split(',').map(|number| number.parse().ok()).collect();
                    let numbers = numbers.ok_or_else(|| damaged("its map is none of numbers"))?;
                    sparse.parts = numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
                }
                _ => {}
            }
        }
        if !is_sparse {
            return Ok(None);
        }
        if !has_size {
            return Err(damaged("its size is missing"));
        }
        if has_map_inside {
            sparse.parts = map_inside(entry)?;
        } else if is_malformed {
            return Err(damaged("its map may be incomplete: a record beside it is malformed"));
        }
        Ok(Some(sparse))
    }

    fn reading<R: Read>(self, data: R) -> SparseReader<R> {
        SparseReader { data, size: self.size, parts: self.parts, at: 0, part: 0 }
    }
}

/// The map of version 1.0, before the data: one number per line, padded to blocks.
fn map_inside(data: &mut impl Read) -> std::io::Result<Vec<(u64, u64)>> {
    let mut read = 0;
    let mut number = || -> std::io::Result<u64> {
        let mut number: u64 = 0;
        loop {
            let mut byte = [0];
            data.read_exact(&mut byte)?;
            read += 1;
            match byte[0] {
                b'\n' => return Ok(number),
                digit @ b'0'..=b'9' => number = number.saturating_mul(10).saturating_add(u64::from(digit - b'0')),
                _ => return Err(std::io::Error::other("its map is none of numbers")),
            }
        }
    };
    let count = number()?;
    if count > MAX_PARTS {
        return Err(std::io::Error::other("its map has too many parts"));
    }
    let parts = (0..count).map(|_| Ok((number()?, number()?))).collect::<std::io::Result<Vec<_>>>()?;
    let padding: u64 = (BLOCK - read % BLOCK) % BLOCK;
    std::io::copy(&mut data.take(padding), &mut std::io::sink())?;
    Ok(parts)
}

/// Expands a sparse file.
struct SparseReader<R> {
    data: R,
    size: u64,
    parts: Vec<(u64, u64)>,
    at: u64,
    part: usize,
}

impl<R: Read> Read for SparseReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.parts.get(self.part).is_some_and(|(offset, length)| self.at >= offset.saturating_add(*length)) {
            self.part += 1;
        }
        let (until, is_data) = match self.parts.get(self.part) {
            Some((offset, length)) if self.at >= *offset => (offset.saturating_add(*length), true),
            Some((offset, _)) => (*offset, false),
            None => (self.size, false),
        };
        let left = until.min(self.size).saturating_sub(self.at);
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let count = if is_data {
            self.data.read(&mut buffer[..count])?
        } else {
            buffer[..count].fill(0);
            count
        };
        self.at += count as u64;
        Ok(count)
    }
}
