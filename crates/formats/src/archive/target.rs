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
/// Longest name of a folder that can be a class (`assay_domain::text::class_name`).
const MAX_FOLDER_CHARS: usize = 200;
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
    /// Made once all files exist.
    links: Vec<Link>,
}

/// A link inside the archive. Its paths are normalised; that of the archive's own folder is empty.
struct Link {
    shown: String,
    path: Vec<u8>,
    to: Vec<u8>,
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

    /// Leaves out a file that does not read; an earlier one of the same path stays.
    pub(super) fn leave_out_file(&mut self, name: &[u8], why: impl Into<String>) {
        let mut why: String = why.into();
        if self.holds(name) {
            why.push_str("; an earlier one of this name is taken");
        }
        self.leave_out(name, why);
    }

    /// Whether there is a file of this path.
    pub(super) fn holds(&self, name: &[u8]) -> bool {
        parts_of(name).is_ok_and(|parts| self.files.contains_key(&parts.join(&b'/')))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.links.is_empty()
    }

    /// Writes a file, of this size if known; an error of this file alone is noted.
    pub(super) fn file(&mut self, name: &[u8], contents: &mut dyn Read, bytes: Option<u64>) -> Result<(), Stop> {
        let parts = match parts_of(name) {
            Ok(parts) => parts,
            Err(why) => {
                self.leave_out(name, why);
                return Ok(());
            }
        };
        match self.write(&parts, contents, bytes) {
            Ok(()) => Ok(()),
            Err(Failure::Stop(stop)) => Err(stop),
            Err(Failure::Entry(why)) => {
                self.leave_out_file(name, why);
                Ok(())
            }
        }
    }

    fn write(&mut self, parts: &[Vec<u8>], contents: &mut dyn Read, bytes: Option<u64>) -> Result<(), Failure> {
        let (below, mut out) = self.create(parts)?;
        let path = self.folder.join(&below);
        let copied = self.copy(contents, &mut out, bytes);
        drop(out);
        let kept = copied.and_then(|()| self.keep(parts.join(&b'/'), below));
        if kept.is_err() {
            // Remove the partial file; if that fails, import finds it damaged.
            let _ = std::fs::remove_file(&path);
        }
        kept
    }

    /// Enters a complete file, in place of an earlier one of the same path.
    fn keep(&mut self, path: Vec<u8>, below: Below) -> Result<(), Failure> {
        if let Some(earlier) = self.files.get(&path) {
            std::fs::rename(self.folder.join(below), self.folder.join(earlier)).map_err(failure)?;
            self.leave_out(&path, "the archive has it more than once: the last one is taken");
        } else {
            self.files.insert(path, below);
        }
        Ok(())
    }

    /// Creates a file under its archive name, or the nearest possible free one.
    fn create(&mut self, parts: &[Vec<u8>]) -> Result<(Below, File), Failure> {
        let Some((name, folders)) = parts.split_last() else {
            return Err(Failure::Entry("it has no name; left out".into()));
        };
        let mut below = PathBuf::new();
        for part in folders {
            below = self.make_folder(&below, &possible_folder(part))?;
        }
        let name = possible(name);
        for attempt in 0.. {
            let own = below.join(numbered(&name, attempt));
            match OpenOptions::new().write(true).create_new(true).open(self.folder.join(&own)) {
                Ok(file) => return Ok((own, file)),
                // A folder has this name, or an earlier file that differs in case only or not at all.
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
        let parts = match parts_of(name) {
            Ok(parts) => parts,
            Err(why) => return self.leave_out(name, why),
        };
        let start: &[Vec<u8>] = match from {
            LinkBase::Folder => &parts[..parts.len() - 1],
            LinkBase::Root => &[],
        };
        match resolved(start, to) {
            Some(to) => {
                self.links.push(Link { shown: shown(name), path: parts.join(&b'/'), to: to.join(&b'/') });
            }
            None => self.leave_out(name, format!("a link that leads outside the archive, to {}; left out", shown(to))),
        }
    }

    /// Makes the links; returns the number of files, and the entries left out.
    pub(super) fn finish(mut self) -> Result<(usize, Vec<(String, String)>), Stop> {
        let links = std::mem::take(&mut self.links);
        let folders: HashSet<Vec<u8>> = if links.is_empty() {
            HashSet::new()
        } else {
            let paths = self.files.keys().chain(links.iter().map(|link| &link.path));
            // The archive's own folder has the empty path.
            paths.flat_map(|path| folder_ends(path).map(move |end| path[..end].to_vec())).chain([Vec::new()]).collect()
        };
        let by_path: HashMap<&[u8], &[u8]> = links.iter().map(|link| (&link.path[..], &link.to[..])).collect();
        for link in &links {
            let to = self.followed(&link.to, &by_path);
            let Some(file) = self.files.get(&to) else {
                let why = if folders.contains(&to) {
                    "a link to a folder of the archive, whose files are taken once".into()
                } else {
                    format!("a link to {}, which is no file in the archive; left out", shown(&to))
                };
                self.left_out.push((link.shown.clone(), why));
                continue;
            };
            let parts: Vec<Vec<u8>> = link.path.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect();
            let written = match File::open(self.folder.join(file)) {
                Ok(mut contents) => self.write(&parts, &mut contents, None),
                Err(why) => Err(Failure::Entry(format!("a link to {}, which does not read: {why}", shown(&to)))),
            };
            match written {
                Ok(()) => {}
                Err(Failure::Stop(stop)) => return Err(stop),
                Err(Failure::Entry(why)) => self.left_out.push((link.shown.clone(), why)),
            }
        }
        Ok((self.files.len(), self.left_out))
    }

    /// Where a path leads through links, to files and to folders; the last path reached if there are too many.
    fn followed(&self, path: &[u8], links: &HashMap<&[u8], &[u8]>) -> Vec<u8> {
        let mut path = path.to_vec();
        for _ in 0..MAX_LINKS {
            if self.files.contains_key(&path) {
                break;
            }
            let link_at = |end: usize| links.get(&path[..end]).map(|to| (end, *to));
            let Some((end, to)) = folder_ends(&path).chain([path.len()]).find_map(link_at) else { break };
            let rest = &path[end..];
            path = match to {
                [] => rest.strip_prefix(b"/").unwrap_or(rest).to_vec(),
                to => [to, rest].concat(),
            };
        }
        path
    }
}

/// Where the folders of a path end in it.
fn folder_ends(path: &[u8]) -> impl Iterator<Item = usize> {
    path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at)
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
    if name.is_empty() {
        return "(no name)".into();
    }
    let text = String::from_utf8_lossy(name).replace('\0', "\u{2400}");
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// The parts of a file's path in the archive, or why it has none.
fn parts_of(name: &[u8]) -> Result<Vec<Vec<u8>>, &'static str> {
    let has_drive = matches!(name, [drive, b':', b'/', ..] if drive.is_ascii_alphabetic());
    match resolved(&[], name) {
        Some(parts) if !parts.is_empty() && !has_drive => Ok(parts),
        Some(_) if name.is_empty() => Err("it has no name; left out"),
        Some(_) if !has_drive => Err("its name is that of the archive's own folder; left out"),
        _ => Err("its name leads outside the archive; left out"),
    }
}

/// Normalises a path relative to `start`; `None` if it leads outside.
fn resolved(start: &[Vec<u8>], path: &[u8]) -> Option<Vec<Vec<u8>>> {
    if path.starts_with(b"/") {
        return None;
    }
    let mut parts = start.to_vec();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop()?;
            }
            part => parts.push(part.to_vec()),
        }
    }
    Some(parts)
}

/// A similar file name that is possible here.
fn possible(part: &[u8]) -> String {
    let name = escaped(part);
    if name.len() <= MAX_NAME_BYTES - 8 {
        return name;
    }
    let ending = match name.rfind('.') {
        Some(dot) if name.len() - dot <= 12 => &name[dot..],
        _ => "",
    };
    format!("{}{ending}", shortened(&name, 200, part))
}

/// A similar name of a folder that is possible here, and as a class.
fn possible_folder(part: &[u8]) -> String {
    let name = escaped(part);
    if name.len() <= MAX_NAME_BYTES - 8 && name.chars().count() <= MAX_FOLDER_CHARS {
        return name;
    }
    shortened(&name, 180, part)
}

/// The beginning, with a hash of the whole to tell similar names apart.
fn shortened(name: &str, bytes: usize, whole: &[u8]) -> String {
    let end = name.floor_char_boundary(bytes);
    format!("{}~{:08x}", &name[..end], crc32fast::hash(whole))
}

/// Impossible characters and bytes become `%` and hexadecimal digits.
fn escaped(part: &[u8]) -> String {
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
    name
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
        let names: [&[u8]; 4] = [b"../evil.png", b"/etc/passwd", b"a/../../b.png", b"C:/evil.png"];
        for name in names {
            assert!(parts_of(name).is_err_and(|why| why.contains("outside")), "{}", shown(name));
        }
        let parts = |parts: &[&str]| -> Result<Vec<Vec<u8>>, &'static str> {
            Ok(parts.iter().map(|part| part.as_bytes().to_vec()).collect())
        };
        assert_eq!(parts_of(b"./cat/a.png"), parts(&["cat", "a.png"]));
        assert_eq!(parts_of(b"cat/2024-05-01T12:30.png"), parts(&["cat", "2024-05-01T12:30.png"]));
        assert_eq!(parts_of(b"cam:1/../cat/a.png"), parts(&["cat", "a.png"]));
        assert_eq!(parts_of(b"cat\\a.png"), parts(&["cat\\a.png"]));
    }

    #[test]
    fn names_that_are_none_are_told_as_such() {
        assert_eq!(parts_of(b""), Err("it has no name; left out"));
        for name in [&b"."[..], b"./", b"a/.."] {
            assert!(parts_of(name).is_err_and(|why| why.contains("own folder")), "{}", shown(name));
        }
        assert_eq!(shown(b""), "(no name)");
    }

    #[test]
    fn names_that_no_file_can_have_are_written_otherwise() {
        assert_eq!(possible(b"\xe9.jpg"), "%E9.jpg");
        assert_eq!(possible("ü ñ#.jpg".as_bytes()), "ü ñ#.jpg");
        assert_eq!(possible(b"a\0.jpg"), "a%00.jpg");
        let long = |end: char| possible(format!("{}{end}.jpg", "ä".repeat(200)).as_bytes());
        assert!(long('x').len() <= MAX_NAME_BYTES - 8 && long('x').ends_with(".jpg") && long('x') != long('y'));
        for folder in ["c".repeat(201), "c".repeat(300), "ä".repeat(200), format!("{}.of.many", "c".repeat(195))] {
            let name = possible_folder(folder.as_bytes());
            assert!(name.chars().count() <= 190 && name != possible_folder(format!("{folder}x").as_bytes()), "{name}");
        }
        assert_eq!(possible_folder("c".repeat(200).as_bytes()), "c".repeat(200));
        assert_eq!(numbered("a.jpg", 2), "a~2.jpg");
        assert_eq!(numbered("cat", 1), "cat~1");
    }
}
