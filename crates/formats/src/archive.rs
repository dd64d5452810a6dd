//! Archives are unpacked into a folder of Assay's own; nothing in them can name a place outside it.
//!
//! A bad entry is skipped; a full disk stops everything.

mod gzip;
mod tar;
mod target;
mod zip;

use crate::FormatError;
use crate::tree::head;
use assay_domain::content::{ArchiveKind, Content};
use std::fs::File;
use std::path::{Path, PathBuf};
use target::Target;

/// Why unpacking stops early.
#[derive(Debug)]
enum Stop {
    DiskFull,
    /// Another error that would fail every entry.
    Why(String),
}

impl From<String> for Stop {
    fn from(why: String) -> Stop {
        Stop::Why(why)
    }
}

/// Unpacks a zip, tar or gzipped tar, recognised by content, into the empty folder `target`. Returns the entries left
/// out: path and reason.
///
/// Links to files inside become files; other links, devices and names leading outside are left out. Names that are
/// impossible here are changed: non-UTF-8 bytes become `%E9`, too long ones are shortened. Of several entries of one
/// path the last that reads is taken.
pub fn unpack(source: &Path, target: &Path) -> Result<Vec<(String, String)>, FormatError> {
    let unpacked = match std::fs::create_dir_all(target) {
        Ok(()) => unpack_into(source, target),
        Err(why) if target::is_disk_full(&why) => Err(Stop::DiskFull),
        Err(why) => Err(Stop::Why(format!("it cannot be unpacked to {} ({why})", target.display()))),
    };
    unpacked.map_err(|stop| match stop {
        Stop::DiskFull => FormatError::DiskFull(source.to_owned()),
        Stop::Why(why) => FormatError::Unreadable { what: "the archive", why, path: source.to_owned() },
    })
}

fn unpack_into(source: &Path, folder: &Path) -> Result<Vec<(String, String)>, Stop> {
    let opened = |why: std::io::Error| Stop::Why(why.to_string());
    let head = head(source).map_err(opened)?;
    let mut file = File::open(source).map_err(opened)?;
    let mut target = Target::new(folder);
    match Content::of(&head) {
        _ if tar::begins(&head) => tar::unpack(file, &mut target)?,
        Content::Archive(ArchiveKind::Zip) => zip::unpack(file, &mut target)?,
        Content::Archive(ArchiveKind::Gzip) => tar::unpack_gzipped(file, &mut target)?,
        Content::Archive(ArchiveKind::Tar) => tar::unpack(file, &mut target)?,
        Content::Archive(kind) => {
            let why = format!(
                "it is compressed with {}, which is not read: unpack it and import the folder, or pack it as .zip or .tar.gz",
                kind.name()
            );
            return Err(Stop::Why(why));
        }
        Content::Empty => return Err(Stop::Why("the file is empty (0 bytes)".into())),
        _ if zip::has_end(&mut file).map_err(opened)? => zip::unpack(file, &mut target)?,
        _ => return Err(Stop::Why("it is neither a zip nor a tar, by its content; is it damaged?".into())),
    }
    let (unpacked, left_out) = target.finish()?;
    match left_out.first() {
        _ if unpacked > 0 => Ok(left_out),
        None => Err(Stop::Why("it holds no files".into())),
        Some((name, why)) => {
            let more = if left_out.len() > 1 { format!(", and {} more", left_out.len() - 1) } else { String::new() };
            Err(Stop::Why(format!("nothing in it can be unpacked: {name}: {why}{more}")))
        }
    }
}

/// A path below the target folder.
type Below = PathBuf;

#[cfg(test)]
mod tests;
