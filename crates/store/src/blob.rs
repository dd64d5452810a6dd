//! Blobs: immutable files named by the BLAKE3 hash of their contents.

use crate::{Result, StoreError};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::SystemTime;

/// The BLAKE3 hash of a content, as 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash(String);

impl Hash {
    /// The hash of these bytes.
    pub fn of(bytes: &[u8]) -> Hash {
        Hash(blake3::hash(bytes).to_hex().to_string())
    }

    /// A hash from its digits.
    pub fn parse(text: &str) -> Result<Hash> {
        let digits = text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        digits.then(|| Hash(text.to_owned())).ok_or_else(|| StoreError::missing("stored file", text))
    }

    /// Its 32 bytes.
    pub fn bytes(&self) -> [u8; 32] {
        *blake3::Hash::from_hex(&self.0).expect("BUG: a hash has 64 hexadecimal digits").as_bytes()
    }

    /// Its digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The blob folder of a workspace.
pub struct Blobs {
    folder: PathBuf,
    next_temporary: AtomicU64,
    naming: RwLock<()>,
}

impl Blobs {
    pub(crate) fn at(root: &Path) -> Blobs {
        Blobs { folder: root.join("blobs"), next_temporary: AtomicU64::new(0), naming: RwLock::default() }
    }

    pub(crate) fn open(root: &Path) -> Result<Blobs> {
        let blobs = Blobs::at(root);
        let temporary = blobs.folder.join("temporary");
        // What an earlier process left half-written has no name yet, so nothing refers to it.
        if temporary.exists() {
            std::fs::remove_dir_all(&temporary).map_err(StoreError::io("clearing temporary files", &temporary))?;
        }
        std::fs::create_dir_all(&temporary).map_err(StoreError::io("making the blob folder", &temporary))?;
        Ok(blobs)
    }

    /// Where the blob of this hash is.
    pub fn path(&self, hash: &Hash) -> PathBuf {
        self.folder.join(&hash.0[..2]).join(&hash.0)
    }

    /// While this is held no blob is freed: from [`Blobs::put`] until something refers to what was put, which may be there
    /// already and on its way to be freed.
    pub fn hold(&self) -> RwLockReadGuard<'_, ()> {
        self.naming.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody holds blobs, and keeps others from it.
    pub(crate) fn free(&self) -> RwLockWriteGuard<'_, ()> {
        self.naming.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores the bytes, whole and synced to disk, and returns their hash. Storing them again changes nothing.
    pub fn put(&self, bytes: &[u8]) -> Result<Hash> {
        let hash = Hash::of(bytes);
        let path = self.path(&hash);
        if std::fs::metadata(&path).is_ok_and(|found| found.len() == bytes.len() as u64) {
            return Ok(hash);
        }
        let number = self.next_temporary.fetch_add(1, Ordering::Relaxed);
        let temporary = self.folder.join("temporary").join(number.to_string());
        let written = write_synced(&temporary, bytes).and_then(|()| {
            let folder = path.parent().unwrap_or(&self.folder);
            std::fs::create_dir_all(folder).map_err(StoreError::io("making a blob folder", folder))?;
            std::fs::rename(&temporary, &path).map_err(StoreError::io("naming a blob", &path))?;
            sync_folder(folder)
        });
        if written.is_err() {
            let _ = std::fs::remove_file(&temporary); // best effort: the next start clears it as well
        }
        written.map(|()| hash)
    }

    /// A blob that is written piece by piece, so that it need not fit into memory.
    pub fn begin(&self) -> Result<NewBlob> {
        let number = self.next_temporary.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.join("temporary").join(number.to_string());
        let file = File::create(&path).map_err(StoreError::io("writing a blob", &path))?;
        Ok(NewBlob { file, path, folder: self.folder.clone(), hasher: blake3::Hasher::new(), bytes: 0 })
    }

    /// Reads a blob back and verifies it.
    pub fn get(&self, hash: &Hash) -> Result<Vec<u8>> {
        let path = self.path(hash);
        let bytes = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(StoreError::missing("stored file", hash));
            }
            read => read.map_err(StoreError::io("reading a blob", &path))?,
        };
        if Hash::of(&bytes) == *hash { Ok(bytes) } else { Err(StoreError::Damaged(path)) }
    }

    /// All blobs with their sizes and when they were written.
    pub fn all(&self) -> Result<Vec<(Hash, u64, SystemTime)>> {
        let listed = |folder: &Path| std::fs::read_dir(folder).map_err(StoreError::io("listing blobs", folder));
        let mut found = Vec::new();
        for folder in listed(&self.folder)?.flatten().filter(|entry| entry.file_name().len() == 2) {
            for entry in listed(&folder.path())?.flatten() {
                // What is no blob by its name is not ours, and it may have been freed just now.
                if let (Ok(hash), Ok(metadata)) = (Hash::parse(&entry.file_name().to_string_lossy()), entry.metadata())
                {
                    let written = metadata.modified().map_err(StoreError::io("listing blobs", entry.path()))?;
                    found.push((hash, metadata.len(), written));
                }
            }
        }
        Ok(found)
    }

    /// Copies a blob to another workspace; returns its size, or nothing where it is missing.
    pub(crate) fn copy_to(&self, hash: &Hash, other: &Blobs) -> Result<Option<u64>> {
        let mut file = match File::open(self.path(hash)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(StoreError::io("reading a blob", self.path(hash)))?,
        };
        let mut copy = other.begin()?;
        copy.write_file(&mut file)?.map_err(StoreError::io("reading a blob", self.path(hash)))?;
        let (copied, bytes) = copy.finish()?;
        if copied == *hash { Ok(Some(bytes)) } else { Err(StoreError::Damaged(self.path(hash))) }
    }

    /// Whether a blob is there and is what its name says.
    pub fn is_intact(&self, hash: &Hash) -> Result<bool> {
        let mut hasher = blake3::Hasher::new();
        match File::open(self.path(hash)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            opened => hasher.update_reader(opened.map_err(StoreError::io("reading a blob", self.path(hash)))?),
        }
        .map_err(StoreError::io("reading a blob", self.path(hash)))?;
        Ok(hasher.finalize().to_hex().as_str() == hash.as_str())
    }

    /// Frees a blob that nothing refers to any more.
    pub fn remove(&self, hash: &Hash) -> Result<()> {
        let path = self.path(hash);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(StoreError::io("removing a blob", &path)),
        }
    }
}

/// A blob on its way; nothing is left of it when it is dropped unfinished.
pub struct NewBlob {
    file: File,
    path: PathBuf,
    folder: PathBuf,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl NewBlob {
    /// Writes the next piece.
    pub fn write(&mut self, piece: &[u8]) -> Result<()> {
        self.hasher.update(piece);
        self.bytes += piece.len() as u64;
        self.file.write_all(piece).map_err(StoreError::io("writing a blob", &self.path))
    }

    /// Writes all that a file still holds. The inner error is of reading it.
    pub fn write_file(&mut self, file: &mut File) -> Result<std::io::Result<()>> {
        let mut piece = vec![0; 1 << 20];
        loop {
            match file.read(&mut piece) {
                Ok(0) => return Ok(Ok(())),
                Ok(length) => self.write(&piece[..length])?,
                Err(why) => return Ok(Err(why)),
            }
        }
    }

    /// Brings what is written to the disk, so that [`NewBlob::finish`] is quick.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_all().map_err(StoreError::io("writing a blob", &self.path))
    }

    /// Makes it durable under its name; returns its hash and size.
    pub fn finish(self) -> Result<(Hash, u64)> {
        self.sync()?;
        let hash = Hash(self.hasher.finalize().to_hex().to_string());
        let folder = self.folder.join(&hash.0[..2]);
        let path = folder.join(&hash.0);
        if std::fs::metadata(&path).is_ok_and(|found| found.len() == self.bytes) {
            return Ok((hash, self.bytes));
        }
        std::fs::create_dir_all(&folder).map_err(StoreError::io("making a blob folder", &folder))?;
        std::fs::rename(&self.path, &path).map_err(StoreError::io("naming a blob", &path))?;
        sync_folder(&folder)?;
        Ok((hash, self.bytes))
    }
}

impl Drop for NewBlob {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path); // it has its name already, or is not wanted
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<()> {
    File::create(path)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .map_err(StoreError::io("writing a blob", path))
}

/// Brings a file to the disk.
pub(crate) fn sync_file(path: &Path) -> Result<()> {
    File::open(path).and_then(|file| file.sync_all()).map_err(StoreError::io("syncing a file", path))
}

/// Makes a rename durable. Windows has no handle to sync; its rename is journalled.
pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    if cfg!(windows) {
        return Ok(());
    }
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(StoreError::io("syncing a blob folder", folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_reads_back_and_a_damaged_one_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(folder.path()).unwrap();
        let hash = blobs.put(b"weights").unwrap();
        assert_eq!(blobs.put(b"weights").unwrap(), hash);
        assert_eq!(blobs.get(&hash).unwrap(), b"weights");
        std::fs::write(blobs.path(&hash), b"weighty").unwrap();
        assert!(matches!(blobs.get(&hash), Err(StoreError::Damaged(_))));
        blobs.remove(&hash).unwrap();
        assert!(matches!(blobs.get(&hash), Err(StoreError::NotFound { .. })));
        let mut pieces = blobs.begin().unwrap();
        pieces.write(b"wei").unwrap();
        pieces.write(b"ghts").unwrap();
        assert_eq!(pieces.finish().unwrap(), (hash.clone(), 7));
        assert_eq!(blobs.get(&hash).unwrap(), b"weights");
        drop(blobs.begin().unwrap());
        assert_eq!(std::fs::read_dir(folder.path().join("blobs/temporary")).unwrap().count(), 0);
    }

    #[test]
    fn a_hash_from_outside_cannot_name_another_file() {
        assert!(Hash::parse("../../etc/passwd").is_err());
        assert!(Hash::parse(&"A".repeat(64)).is_err());
        assert!(Hash::parse(&"a1".repeat(32)).is_ok());
    }
}
