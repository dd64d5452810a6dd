//! One process owns a workspace: it holds an operating-system lock, which ends with the process however it ends.

use crate::{Result, StoreError};
use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

/// Who holds the workspace.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Holder {
    /// Its process id.
    pub process: u32,
    /// Its command line.
    pub command: String,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {} ({})", self.process, self.command)
    }
}

/// The held lock.
pub(crate) struct Lock {
    _file: File,
}

/// Whether nobody holds the lock of a workspace in which nothing can be written.
pub(crate) fn is_free(root: &Path) -> bool {
    match File::open(root.join("lock")) {
        Ok(file) => !matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)),
        Err(why) => why.kind() == std::io::ErrorKind::NotFound,
    }
}

/// Takes the lock, or says who has it.
pub(crate) fn acquire(root: &Path, holder: &Holder) -> Result<Lock> {
    let path = root.join("lock");
    // What a link leads to is not ours to write.
    if std::fs::symlink_metadata(&path).is_ok_and(|found| !found.is_file()) {
        return Err(StoreError::Foreign(path));
    }
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(StoreError::io("opening the workspace's lock", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let _ = file.read_to_string(&mut text); // an unreadable note still means "in use"
            let holder = serde_json::from_str(&text).unwrap_or_default();
            return Err(StoreError::InUse { holder, path: root.to_owned() });
        }
        Err(TryLockError::Error(error)) => return Err(StoreError::io("locking the workspace", &path)(error)),
    }
    let note = serde_json::to_string(holder).map_err(|why| StoreError::unreadable("lock", why))?;
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(note.as_bytes()))
        .map_err(StoreError::io("writing the workspace's lock", &path))?;
    Ok(Lock { _file: file })
}
