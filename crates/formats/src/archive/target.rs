//! The folder an archive is unpacked into: names of entries, and size limits.

use super::{Below, Stop};
use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// Maximum unpacked size of a file, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 30;
/// Maximum unpacked size of an archive, in bytes.
const MAX_TOTAL_BYTES: u64 = 200 << 30;
/// Longest name on common file systems, in bytes.
const MAX_NAME_BYTES: usize = 255;
/// Maximum depth of links to links.
const MAX_LINKS: usize = 16;

/// Where entries are written to.
pub(super) struct Target<'a> {
    folder: &'a Path,
    written: u64,
    left_out: Vec<(String, String)>,
    /// The file of each entry, by its path in the archive.
    files: HashMap<Vec<u8>, Below>,
    /// Folders created so far.
    folders: HashSet<PathBuf>,
    /// Links, made once all files exist: name shown, path, target path.
    links: Vec<(String, Vec<u8>, Vec<u8>)>,
}

/// Why an entry is left out, or all that follow.
enum Failure {
    Entry(String),
    Stop(Stop),
}

impl<'a> Target<'a> {
    pub(super) fn new(folder: &'a Path) -> Target<'a> {
        Target {
            folder,
            written: 0,
            left_out: Vec::new(),
            files: HashMap::new(),
            folders: HashSet::new(),
            links: Vec::new(),
        }
    }

    pub(super) fn leave_out(&mut self, name: &[u8], why: impl Into<String>) {
        self.left_out.push((shown(name), why.into()));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.links.is_empty()
    }

    /// Writes a file, of this size if known; an error of this file alone is noted.
    pub(super) fn file(&mut self, name: &[u8], contents: &mut dyn Read, bytes: Option<u64>) -> Result<(), Stop> {
        let Some(parts) = inside(name) else {
            self.leave_out(name, "its name leads outside the archive; left out");
            return Ok(());
        };
        match self.write(&parts, contents, bytes) {
            Ok(()) => Ok(()),
            Err(Failure::Stop(stop)) => Err(stop),
            Err(Failure::Entry(why)) => {
                self.leave_out(name, why);
                Ok(())
            }
        }
    }

    fn write(&mut self, parts: &[Vec<u8>], contents: &mut dyn Read, bytes: Option<u64>) -> Result<(), Failure> {
        let (below, mut out) = self.create(parts)?;
        let path = self.folder.join(&below);
        let copied = self.copy(contents, &mut out, bytes);
        drop(out);
        let key = parts.join(&b'/');
        match copied {
            Ok(()) => {
                if self.files.insert(key.clone(), below).is_some() {
                    self.leave_out(&key, "the archive has it more than once: the last one is taken");
                }
                Ok(())
            }
            Err(failure) => {
                // Remove the partial file; if that fails, import finds it damaged.
                let _ = std::fs::remove_file(&path);
                self.files.remove(&key);
                Err(failure)
            }
        }
    }

    /// Creates a file under its archive name, or the nearest possible free one.
    fn create(&mut self, parts: &[Vec<u8>]) -> Result<(Below, File), Failure> {
        let Some((name, folders)) = parts.split_last() else {
            return Err(Failure::Entry("it has no name; left out".into()));
        };
        let mut below = PathBuf::new();
        for part in folders {
            below = self.make_folder(&below, &possible(part))?;
        }
        if let Some(known) = self.files.get(&parts.join(&b'/')) {
            // Replaces the same entry.
            let known = known.clone();
            let file = File::create(self.folder.join(&known)).map_err(failure)?;
            return Ok((known, file));
        }
        let name = possible(name);
        for attempt in 0.. {
            let own = below.join(numbered(&name, attempt));
            match OpenOptions::new().write(true).create_new(true).open(self.folder.join(&own)) {
                Ok(file) => return Ok((own, file)),
                // A folder has this name, or a file that differs in case only.
                Err(why) if why.kind() == ErrorKind::AlreadyExists && attempt < 10_000 => {}
                Err(why) => return Err(failure(why)),
            }
        }
        Err(Failure::Entry("no name is free for it; left out".into()))
    }

    /// Creates a folder; a file in its way moves.
    fn make_folder(&mut self, above: &Path, name: &str) -> Result<Below, Failure> {
        let below = above.join(name);
        if self.folders.contains(&below) {
            return Ok(below);
        }
        let path = self.folder.join(&below);
        match std::fs::create_dir(&path) {
            Err(why) if why.kind() == ErrorKind::AlreadyExists && path.is_file() => {
                let free = (1..)
                    .map(|attempt| above.join(numbered(name, attempt)))
                    .find(|own| !self.folder.join(own).exists());
                let free = free.ok_or_else(|| Failure::Entry("no name is free for it; left out".into()))?;
                std::fs::rename(&path, self.folder.join(&free)).map_err(failure)?;
                self.files.values_mut().filter(|file| **file == below).for_each(|file| *file = free.clone());
                std::fs::create_dir(&path).map_err(failure)?;
            }
            Err(why) if why.kind() != ErrorKind::AlreadyExists => return Err(failure(why)),
            _ => {}
        }
        self.folders.insert(below.clone());
        Ok(below)
    }

    fn copy(&mut self, contents: &mut dyn Read, out: &mut File, bytes: Option<u64>) -> Result<(), Failure> {
        let mut buffer = vec![0; 64 * 1024];
        let mut length = 0;
        loop {
            let count = match contents.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(why) if why.kind() == ErrorKind::Interrupted => continue,
                Err(why) => return Err(Failure::Entry(format!("it is damaged or cut off: {why}"))),
            };
            length += count as u64;
            self.written += count as u64;
            if self.written > MAX_TOTAL_BYTES {
                return Err(Failure::Stop(Stop::Why("it unpacks to more than 200 GB".into())));
            }
            if length > MAX_FILE_BYTES {
                return Err(Failure::Entry("it unpacks to more than 1 GB; left out".into()));
            }
            out.write_all(&buffer[..count]).map_err(failure)?;
        }
        match bytes {
            Some(bytes) if length < bytes => {
                Err(Failure::Entry(format!("it is cut off: {length} of its {bytes} bytes are there")))
            }
            _ => Ok(()),
        }
    }

    /// Notes a link; `to` is relative to the link's folder or the archive's root.
    pub(super) fn link(&mut self, name: &[u8], to: &[u8], from: LinkBase) {
        let Some(parts) = inside(name) else {
            return self.leave_out(name, "its name leads outside the archive; left out");
        };
        let told = shown(to);
        let start: &[Vec<u8>] = match from {
            LinkBase::Folder => &parts[..parts.len() - 1],
            LinkBase::Root => &[],
        };
        match resolved(start, to) {
            Some(target) => self.links.push((shown(name), parts.join(&b'/'), target)),
            None => self.leave_out(name, format!("a link that leads outside the archive, to {told}; left out")),
        }
    }

    /// Makes the links; returns the number of files, and the entries left out.
    pub(super) fn finish(mut self) -> Result<(usize, Vec<(String, String)>), Stop> {
        let links = std::mem::take(&mut self.links);
        let by_name: HashMap<Vec<u8>, Vec<u8>> = links.iter().map(|(_, name, to)| (name.clone(), to.clone())).collect();
        for (told, name, first) in links {
            let mut to = &first;
            for _ in 0..MAX_LINKS {
                match by_name.get(to) {
                    Some(next) if !self.files.contains_key(to) => to = next,
                    _ => break,
                }
            }
            let Some(file) = self.files.get(to).cloned() else {
                self.left_out
                    .push((told, format!("a link to {}, which is no file in the archive; left out", shown(to))));
                continue;
            };
            let parts: Vec<Vec<u8>> = name.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect();
            let source = self.folder.join(file);
            let mut opened = File::open(&source).map_err(|why| Stop::Why(format!("{why}: {}", source.display())))?;
            match self.write(&parts, &mut opened, None) {
                Ok(()) => {}
                Err(Failure::Stop(stop)) => return Err(stop),
                Err(Failure::Entry(why)) => self.left_out.push((told, why)),
            }
        }
        Ok((self.files.len(), self.left_out))
    }
}

/// The base of a link's target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkBase {
    /// The link's own folder: a symbolic link.
    Folder,
    /// The archive: a hard link.
    Root,
}

pub(super) fn is_disk_full(why: &std::io::Error) -> bool {
    matches!(why.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

fn failure(why: std::io::Error) -> Failure {
    if is_disk_full(&why) {
        Failure::Stop(Stop::DiskFull)
    } else {
        Failure::Entry(format!("it cannot be written here: {why}"))
    }
}

/// A name for messages.
fn shown(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name).replace('\0', "\u{2400}");
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// The parts of an archive path; `None` if it leads outside.
fn inside(name: &[u8]) -> Option<Vec<Vec<u8>>> {
    let has_drive = matches!(name, [drive, b':', b'/' | b'\\', ..] if drive.is_ascii_alphabetic());
    if has_drive || name.starts_with(b"/") || name.starts_with(b"\\") {
        return None;
    }
    resolved(&[], name).map(|path| path.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect())
}

/// Normalises a path relative to `start`; `None` if it leads outside or is empty.
fn resolved(start: &[Vec<u8>], path: &[u8]) -> Option<Vec<u8>> {
    if path.starts_with(b"/") || path.starts_with(b"\\") {
        return None;
    }
    let mut parts = start.to_vec();
    for part in path.split(|byte| matches!(byte, b'/' | b'\\')) {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop()?;
            }
            part => parts.push(part.to_vec()),
        }
    }
    (!parts.is_empty()).then(|| parts.join(&b'/'))
}

/// A similar file name that is possible here.
fn possible(part: &[u8]) -> String {
    let mut name = String::new();
    for chunk in part.utf8_chunks() {
        for sign in chunk.valid().chars() {
            if is_possible(sign) {
                name.push(sign);
            } else {
                let mut bytes = [0; 4];
                sign.encode_utf8(&mut bytes).bytes().for_each(|byte| name.push_str(&format!("%{byte:02X}")));
            }
        }
        chunk.invalid().iter().for_each(|byte| name.push_str(&format!("%{byte:02X}")));
    }
    if cfg!(windows) && name.ends_with(['.', ' ']) {
        name.push('_');
    }
    if name.len() <= MAX_NAME_BYTES - 8 {
        return name;
    }
    // Keep beginning and ending, with a hash of the whole between to tell similar names apart.
    let ending = match name.rfind('.') {
        Some(dot) if name.len() - dot <= 12 => name[dot..].to_owned(),
        _ => String::new(),
    };
    let number = crc32fast::hash(part);
    let mut end = 200;
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}~{number:08x}{ending}", &name[..end])
}

fn is_possible(sign: char) -> bool {
    sign != '\0' && sign != '/' && (cfg!(unix) || !(sign.is_control() || "<>:\"|?*\\".contains(sign)))
}

/// Inserts a number before the ending, after attempt 0.
fn numbered(name: &str, attempt: usize) -> String {
    match (attempt, name.rfind('.').filter(|dot| *dot > 0)) {
        (0, _) => name.to_owned(),
        (attempt, Some(dot)) => format!("{}~{attempt}{}", &name[..dot], &name[dot..]),
        (attempt, None) => format!("{name}~{attempt}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_outside_are_left_out() {
        let names: [&[u8]; 7] =
            [b"../evil.png", b"/etc/passwd", b"a/../../b.png", b"..\\evil.png", b"C:\\evil.png", b"", b"a/.."];
        for name in names {
            assert_eq!(inside(name), None, "{}", shown(name));
        }
        let parts = |parts: &[&str]| Some(parts.iter().map(|part| part.as_bytes().to_vec()).collect::<Vec<_>>());
        assert_eq!(inside(b"./cat/a.png"), parts(&["cat", "a.png"]));
        assert_eq!(inside(b"cat\\a.png"), parts(&["cat", "a.png"]));
        assert_eq!(inside(b"cat/2024-05-01T12:30.png"), parts(&["cat", "2024-05-01T12:30.png"]));
        assert_eq!(inside(b"cam:1/../cat/a.png"), parts(&["cat", "a.png"]));
    }

    #[test]
    fn names_that_no_file_can_have_are_written_otherwise() {
        assert_eq!(possible(b"\xe9.jpg"), "%E9.jpg");
        assert_eq!(possible("ü ñ#.jpg".as_bytes()), "ü ñ#.jpg");
        assert_eq!(possible(b"a\0.jpg"), "a%00.jpg");
        let long = |end: char| possible(format!("{}{end}.jpg", "ä".repeat(200)).as_bytes());
        assert!(long('x').len() <= MAX_NAME_BYTES - 8 && long('x').ends_with(".jpg") && long('x') != long('y'));
        assert_eq!(numbered("a.jpg", 2), "a~2.jpg");
        assert_eq!(numbered("cat", 1), "cat~1");
    }
}
