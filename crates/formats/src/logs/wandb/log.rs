//! LevelDB's log, as Weights & Biases writes it: blocks of 32 KiB, and records of chunks, none of which crosses a
//! block. A chunk is a checksum, a length, a kind, and the bytes.

use super::PART_BYTES;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// What a file begins with: a name, a number and the version.
pub(super) const BEGINNING: [u8; 7] = *b":W&B\xe1\xbe\0";

/// The bytes of a block.
pub(super) const BLOCK: u64 = 32 << 10;

/// The bytes of a chunk beside what it holds.
pub(super) const HEAD: u64 = 4 + 2 + 1;

/// A larger record is passed over: only lists of files, which are not read, become so large.
pub(super) const RECORD_BYTES: usize = 16 << 20;

/// A file of records.
pub(super) struct Log {
    file: BufReader<File>,
    /// How far it is read.
    pub(super) at: u64,
    /// How long it was when it was opened.
    pub(super) total: u64,
}

/// What comes next in a log.
pub(super) enum Next {
    /// This record.
    Record(Vec<u8>),
    /// A record that is larger than any that is read.
    TooLarge,
    /// A record that is not whole yet, or nothing.
    Cut,
    /// No record.
    Damage,
}

impl Log {
    pub(super) fn open(path: &Path) -> std::io::Result<Log> {
        let file = File::open(path)?;
        let total = file.metadata()?.len();
        Ok(Log { file: BufReader::with_capacity(BLOCK as usize, file), at: 0, total })
    }

    pub(super) fn seek(&mut self, to: u64) -> std::io::Result<()> {
        self.file.seek(SeekFrom::Start(to))?;
        self.at = to;
        Ok(())
    }

    /// The next bytes, which are there.
    fn take<const N: usize>(&mut self) -> std::io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes)?;
        self.at += N as u64;
        Ok(bytes)
    }

    /// What the file begins with, where that is there yet.
    pub(super) fn beginning(&mut self) -> std::io::Result<Option<[u8; 7]>> {
        if self.total < HEAD { Ok(None) } else { self.take().map(Some) }
    }

    /// The next record.
    pub(super) fn next(&mut self) -> std::io::Result<Next> {
        let mut record = Vec::new();
        let (mut begun, mut too_large, mut zeroes) = (false, false, 0);
        loop {
            let kind = match self.chunk(&mut record)? {
                Ok(kind) => kind,
                Err(why) => return Ok(why),
            };
            if record.len() > RECORD_BYTES {
                too_large = true;
                record.clear();
            }
            match (kind, begun) {
                (FULL, false) | (LAST, true) if too_large => return Ok(Next::TooLarge),
                (FULL, false) | (LAST, true) => return Ok(Next::Record(record)),
                (FIRST, false) | (MIDDLE, true) => begun = true,
                // Space that was reserved, or lost with the power: LevelDB goes on with the next block.
                (NOTHING, false) if zeroes < PART_BYTES => {
                    let left = self.at.next_multiple_of(BLOCK) - self.at;
                    zeroes += HEAD + left;
                    if self.total - self.at < left {
                        return Ok(Next::Cut);
                    }
                    if !self.are_zeroes(left)? {
                        return Ok(Next::Damage);
                    }
                }
                _ => return Ok(Next::Damage),
            }
        }
    }

    /// Adds the bytes of the next chunk and says its kind, or why there is none.
    fn chunk(&mut self, record: &mut Vec<u8>) -> std::io::Result<Result<u8, Next>> {
        let left = BLOCK - self.at % BLOCK;
        if left < HEAD {
            if self.total - self.at < left {
                return Ok(Err(Next::Cut));
            }
            if !self.are_zeroes(left)? {
                return Ok(Err(Next::Damage));
            }
        }
        if self.total - self.at < HEAD {
            return Ok(Err(Next::Cut));
        }
        let room = BLOCK - self.at % BLOCK - HEAD;
        let [a, b, c, d, low, high, kind] = self.take()?;
        let (sum, length) = (u32::from_le_bytes([a, b, c, d]), u16::from_le_bytes([low, high]));
        if (sum, length, kind) == (0, 0, NOTHING) {
            return Ok(Ok(NOTHING));
        }
        if u64::from(length) > room {
            return Ok(Err(Next::Damage));
        }
        if self.total - self.at < length.into() {
            return Ok(Err(Next::Cut));
        }
        let start = record.len();
        record.resize(start + usize::from(length), 0);
        self.file.read_exact(&mut record[start..])?;
        self.at += u64::from(length);
        let whole = checksum(kind, &record[start..]) == sum && kind != NOTHING;
        Ok(if whole { Ok(kind) } else { Err(Next::Damage) })
    }

    /// Whether the next bytes, which are there and within a block, are zeroes.
    fn are_zeroes(&mut self, length: u64) -> std::io::Result<bool> {
        let mut bytes = [0; BLOCK as usize];
        let bytes = &mut bytes[..length as usize];
        self.file.read_exact(bytes)?;
        self.at += length;
        Ok(bytes.iter().all(|byte| *byte == 0))
    }
}

/// The kind in a head of zeroes.
const NOTHING: u8 = 0;
const FULL: u8 = 1;
const FIRST: u8 = 2;
const MIDDLE: u8 = 3;
const LAST: u8 = 4;

/// The checksum that chunks carry.
fn checksum(kind: u8, bytes: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&[kind]);
    sum.update(bytes);
    sum.finalize()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A file of these records, as the program writes it.
    pub(in super::super) fn file(records: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = BEGINNING.to_vec();
        for record in records {
            let (mut rest, mut begun) = (record.as_slice(), false);
            loop {
                let mut left = BLOCK as usize - bytes.len() % BLOCK as usize;
                if left < HEAD as usize {
                    bytes.resize(bytes.len() + left, 0);
                    left = BLOCK as usize;
                }
                let (chunk, after) = rest.split_at(rest.len().min(left - HEAD as usize));
                let kind = match (begun, after.is_empty()) {
                    (false, true) => FULL,
                    (false, false) => FIRST,
                    (true, false) => MIDDLE,
                    (true, true) => LAST,
                };
                bytes.extend(checksum(kind, chunk).to_le_bytes());
                bytes.extend((chunk.len() as u16).to_le_bytes());
                bytes.push(kind);
                bytes.extend(chunk);
                (rest, begun) = (after, true);
                if rest.is_empty() {
                    break;
                }
            }
        }
        bytes
    }
}
