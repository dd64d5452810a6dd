//! Identifies a partly read file by the contents read so far. Path and length do not suffice: a restarted training may
//! write a longer file of the same name.

use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Bytes hashed at the beginning.
const HEAD_BYTES: u64 = 64 << 10;

/// Bytes hashed before the read position.
const TAIL_BYTES: u64 = 4 << 10;

/// Hashes of the first and last bytes read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Seal {
    /// Number of bytes read.
    bytes: u64,
    head: String,
    tail: String,
}

impl Seal {
    /// Seals a file's first `bytes`; `None` if it is shorter.
    pub(super) fn of(path: &Path, bytes: u64) -> std::io::Result<Option<Seal>> {
        let mut file = File::open(path)?;
        if file.metadata()?.len() < bytes {
            return Ok(None);
        }
        let head = hash_of(&mut file, 0, bytes.min(HEAD_BYTES))?;
        let tail = bytes.min(TAIL_BYTES);
        let tail = hash_of(&mut file, bytes - tail, tail)?;
        Ok(head.zip(tail).map(|(head, tail)| Seal { bytes, head, tail }))
    }

    /// Whether the file still begins with the sealed bytes.
    pub(super) fn holds(&self, path: &Path) -> std::io::Result<bool> {
        Ok(Seal::of(path, self.bytes)?.as_ref() == Some(self))
    }
}

/// Hashes a range; `None` if the file is shorter by now.
fn hash_of(file: &mut File, from: u64, length: u64) -> std::io::Result<Option<String>> {
    let mut bytes = Vec::with_capacity(length as usize);
    file.seek(SeekFrom::Start(from))?;
    file.take(length).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 == length).then(|| hash(&bytes)))
}

/// A short hash.
pub(super) fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex()[..24].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_grew_is_the_same_and_one_that_differs_anywhere_near_its_ends_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        for length in [1usize, 10, 5_000, 200_000] {
            let text: Vec<u8> = (0..length).map(|place| (place * 7 % 251) as u8).collect();
            std::fs::write(&path, &text).expect("a file");
            let seal = Seal::of(&path, length as u64).expect("it reads").expect("it is as long");
            let holds = |bytes: &[u8]| {
                std::fs::write(&path, bytes).expect("a file");
                seal.holds(&path).expect("it reads")
            };
            assert!(holds(&text) && holds(&[&text[..], b"and more"].concat()));
            assert!(!holds(&text[..length - 1]), "it became shorter");
            for place in [0, length / 2, length - 1].into_iter().filter(|&place| place < 60_000 || place == length - 1)
            {
                let mut other = text.clone();
                other[place] ^= 1;
                assert!(!holds(&[&other[..], b"and more"].concat()), "{place} of {length}");
            }
        }
    }
}
