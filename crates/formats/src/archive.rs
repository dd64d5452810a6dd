//! Archives are unpacked into a folder of Assay's own; nothing in them can name a place outside it.

use crate::FormatError;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Component, Path, PathBuf};

/// One file in an archive may unpack to at most so many bytes.
const MAX_FILE_BYTES: u64 = 1 << 30;
/// A whole archive may unpack to at most so many bytes.
const MAX_TOTAL_BYTES: u64 = 200 << 30;

/// Unpacks the files of a zip or tar (also gzipped) below `target`. Returns what was left out: path and reason.
///
/// Links and devices are left out, and so is any name that leads outside `target`.
pub fn unpack(source: &Path, target: &Path) -> Result<Vec<(String, String)>, FormatError> {
    let unreadable = |why: String| FormatError::Unreadable { what: "the archive", why, path: source.to_owned() };
    let file = File::open(source).map_err(|why| unreadable(why.to_string()))?;
    let name = source.to_string_lossy().to_lowercase();
    let mut unpacking = Unpacking { target, written: 0, left_out: Vec::new() };
    if name.ends_with(".zip") {
        unpacking.zip(file).map_err(unreadable)?;
    } else if name.ends_with("gz") {
        unpacking.tar(flate2::read::GzDecoder::new(file)).map_err(unreadable)?;
    } else {
        unpacking.tar(file).map_err(unreadable)?;
    }
    Ok(unpacking.left_out)
}

struct Unpacking<'a> {
    target: &'a Path,
    written: u64,
    left_out: Vec<(String, String)>,
}

impl Unpacking<'_> {
    fn zip(&mut self, file: File) -> Result<(), String> {
        let mut archive = zip::ZipArchive::new(file).map_err(|why| why.to_string())?;
        for index in 0..archive.len() {
            let mut entry = match archive.by_index(index) {
                Ok(entry) => entry,
                Err(why) => {
                    self.left_out.push((format!("entry {index}"), why.to_string()));
                    continue;
                }
            };
            if entry.is_dir() {
                continue;
            }
            let name = entry.name().map(|name| name.into_owned()).unwrap_or_else(|_| format!("entry {index}"));
            if entry.is_symlink() {
                self.left_out.push((name, "a link; left out".into()));
                continue;
            }
            self.file(&name, &mut entry)?;
        }
        Ok(())
    }

    fn tar(&mut self, reader: impl Read) -> Result<(), String> {
        let mut archive = tar::Archive::new(reader);
        for entry in archive.entries().map_err(|why| why.to_string())? {
            let mut entry = entry.map_err(|why| why.to_string())?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            match entry.header().entry_type() {
                tar::EntryType::Regular | tar::EntryType::Continuous => self.file(&name, &mut entry)?,
                tar::EntryType::Directory | tar::EntryType::XGlobalHeader => {}
                _ => self.left_out.push((name, "a link or device; left out".into())),
            }
        }
        Ok(())
    }

    /// Writes one file; what is wrong with it alone is noted, a full disk ends everything.
    fn file(&mut self, name: &str, contents: &mut dyn Read) -> Result<(), String> {
        let Some(below) = inside(name) else {
            self.left_out.push((name.to_owned(), "its name leads outside the archive; left out".into()));
            return Ok(());
        };
        let path = self.target.join(below);
        let folder = path.parent().unwrap_or(self.target);
        std::fs::create_dir_all(folder).map_err(|why| format!("{why}: {}", folder.display()))?;
        let mut out = File::create(&path).map_err(|why| format!("{why}: {}", path.display()))?;
        let mut buffer = vec![0; 64 * 1024];
        let mut length = 0;
        loop {
            let count = match contents.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(why) => {
                    self.left_out.push((name.to_owned(), format!("cannot be unpacked: {why}")));
                    break;
                }
            };
            length += count as u64;
            self.written += count as u64;
            if self.written > MAX_TOTAL_BYTES {
                return Err("it unpacks to more than 200 GB".into());
            }
            if length > MAX_FILE_BYTES {
                self.left_out.push((name.to_owned(), "it unpacks to more than 1 GB; left out".into()));
                break;
            }
            out.write_all(&buffer[..count]).map_err(|why| format!("{why}: {}", path.display()))?;
        }
        drop(out);
        std::fs::remove_file(&path).map_err(|why| why.to_string())
    }
}

/// The relative path of a name in an archive, or nothing if it leads outside.
fn inside(name: &str) -> Option<PathBuf> {
    let name = name.replace('\\', "/");
    let mut path = PathBuf::new();
    for part in Path::new(&name).components() {
        match part {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            _ => return None,
        }
    }
    // A drive letter is no folder.
    (!path.as_os_str().is_empty() && !name.contains(':')).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_outside_are_left_out() {
        for name in ["../evil.png", "/etc/passwd", "a/../../b.png", "..\\evil.png", "C:\\evil.png", ""] {
            assert_eq!(inside(name), None, "{name}");
        }
        assert_eq!(inside("./cat/a.png"), Some(PathBuf::from("cat/a.png")));
        assert_eq!(inside("cat\\a.png"), Some(PathBuf::from("cat/a.png")));
    }

    #[test]
    fn a_hostile_zip_writes_only_below_its_target() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("evil.zip");
        let mut zip = zip::ZipWriter::new(File::create(&source).unwrap());
        let options = zip::write::SimpleFileOptions::default();
        for name in ["../evil.png", "cat/good.png"] {
            zip.start_file(name, options).unwrap();
            zip.write_all(b"bytes").unwrap();
        }
        zip.finish().unwrap();
        let target = folder.path().join("unpacked");
        let left_out = unpack(&source, &target).unwrap();
        assert_eq!(left_out.len(), 1);
        assert!(target.join("cat/good.png").is_file());
        assert!(!folder.path().join("evil.png").exists());
    }

    #[test]
    fn a_hostile_tar_writes_only_below_its_target() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("evil.tar.gz");
        let gz = flate2::write::GzEncoder::new(File::create(&source).unwrap(), flate2::Compression::fast());
        let mut tar = tar::Builder::new(gz);
        let mut header = tar::Header::new_gnu();
        header.set_size(5);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append_data(&mut header.clone(), "cat/good.png", &b"bytes"[..]).unwrap();
        let mut link = tar::Header::new_gnu();
        link.set_entry_type(tar::EntryType::Symlink);
        link.set_size(0);
        tar.append_link(&mut link, "cat/link.png", "/etc/passwd").unwrap();
        tar.into_inner().unwrap().finish().unwrap();
        let target = folder.path().join("unpacked");
        let left_out = unpack(&source, &target).unwrap();
        assert_eq!(left_out.len(), 1);
        assert!(target.join("cat/good.png").is_file() && !target.join("cat/link.png").exists());
    }

    #[test]
    fn what_is_no_archive_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("a.zip");
        std::fs::write(&source, b"not a zip").unwrap();
        assert!(unpack(&source, &folder.path().join("out")).is_err());
    }
}
