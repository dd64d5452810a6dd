//! Walks a folder: possible images, other files, and skipped ones.

use crate::layout::above;
use crate::names::{name_of, natural, slashed};
use assay_domain::content::{Content, HEAD_BYTES};
use std::fs::{File, FileType};
use std::io::Read;
use std::path::{Path, PathBuf};
use walkdir::WalkDir;

/// A file of the tree.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Item {
    pub(crate) file: PathBuf,
    /// Below the root, with forward slashes.
    pub(crate) path: String,
}

/// What a folder holds, in natural order.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// Images by content, and files named like images: verified when read.
    pub(crate) images: Vec<Item>,
    /// Other files with their first bytes.
    pub(crate) others: Vec<(Item, Vec<u8>)>,
    /// All folders below the root.
    pub(crate) folders: Vec<String>,
    /// Entries left out: path and reason.
    pub(crate) problems: Vec<(String, String)>,
    /// Entries not meant as images.
    pub(crate) passed_over: Vec<String>,
}

/// Walks a folder. Links are followed; loops and unreadable folders are reported; other than regular files are never
/// opened.
pub(crate) fn walk(root: &Path) -> Tree {
    let mut tree = Tree::default();
    let mut found = WalkDir::new(root).follow_links(true).into_iter();
    while let Some(entry) = found.next() {
        let entry = match entry {
            Ok(entry) if entry.depth() == 0 => continue,
            Ok(entry) => entry,
            Err(why) => {
                let path = why.path().map(|path| slashed(path.strip_prefix(root).unwrap_or(path))).unwrap_or_default();
                if !path.split('/').any(is_hidden) {
                    tree.problems.push((path, reason_of(&why)));
                }
                continue;
            }
        };
        let path = slashed(entry.path().strip_prefix(root).unwrap_or(entry.path()));
        let kind = entry.file_type();
        if is_passed_over(name_of(&path), kind) {
            tree.passed_over.push(path);
            if kind.is_dir() {
                found.skip_current_dir();
            }
        } else if kind.is_dir() {
            tree.folders.push(path);
        } else if let Some(what) = special(kind) {
            tree.problems.push((path, what));
        } else {
            tree.add(Item { file: entry.path().to_owned(), path });
        }
    }
    tree.images.sort_by(|a, b| natural(&a.path, &b.path));
    tree.others.sort_by(|(a, _), (b, _)| natural(&a.path, &b.path));
    tree.problems.sort_by(|(a, _), (b, _)| natural(a, b));
    tree.folders.sort_by(|a, b| natural(a, b));
    tree.passed_over.sort_by(|a, b| natural(a, b));
    tree
}

impl Tree {
    fn add(&mut self, item: Item) {
        if named_as_image(Path::new(&item.path)) {
            return self.images.push(item);
        }
        match head(&item.file) {
            Ok(head) => match Content::of(&head) {
                Content::Image(_) => self.images.push(item),
                Content::UnreadImage(name) if !is_note(name_of(&item.path)) => {
                    self.problems.push((item.path, unread(name)));
                }
                _ if is_note(name_of(&item.path)) => self.passed_over.push(item.path),
                _ => self.others.push((item, head)),
            },
            Err(_) if is_note(name_of(&item.path)) => self.passed_over.push(item.path),
            Err(why) => self.problems.push((item.path, format!("cannot be opened: {why}"))),
        }
    }
}

/// Why a file of this kind is not taken.
pub(crate) fn unread(name: &str) -> String {
    let article = match name.as_bytes() {
        [b'A' | b'I' | b'O' | b'i', ..] | [b'H', b'D', b'F', ..] | [b'S', b'V', ..] => "an",
        _ => "a",
    };
    format!("{article} {name}, which is not read: not an image of {}", assay_domain::content::ImageKind::NAMES)
}

/// The first bytes of a file.
pub(crate) fn head(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    File::open(file)?.take(HEAD_BYTES as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// The type of a regular file; `None` for others, which are never opened, or if unreadable.
pub(crate) fn content_of(file: &Path) -> Option<Content> {
    let is_file = std::fs::metadata(file).is_ok_and(|facts| facts.is_file());
    is_file.then(|| head(file).ok()).flatten().map(|head| Content::of(&head))
}

/// Whether the name has an image's extension.
pub fn named_as_image(path: &Path) -> bool {
    const ENDINGS: [&str; 14] =
        ["jpg", "jpeg", "jpe", "jfif", "jif", "png", "apng", "webp", "gif", "bmp", "dib", "tif", "tiff", "btf"];
    ENDINGS.contains(&crate::extension(path).as_str())
}

/// Why a special file is left out; `None` if file or folder.
pub(crate) fn special(kind: FileType) -> Option<String> {
    let what = match kind {
        kind if kind.is_file() || kind.is_dir() => return None,
        kind => name_of_special(kind),
    };
    Some(format!("{what}, not a file; passed over"))
}

#[cfg(unix)]
fn name_of_special(kind: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    match kind {
        kind if kind.is_fifo() => "a FIFO",
        kind if kind.is_socket() => "a socket",
        kind if kind.is_block_device() || kind.is_char_device() => "a device",
        _ => "something else",
    }
}

#[cfg(not(unix))]
fn name_of_special(_: FileType) -> &'static str {
    "something else"
}

fn reason_of(why: &walkdir::Error) -> String {
    match why.loop_ancestor() {
        Some(_) => "a link that leads back to a folder above it; left out".to_owned(),
        None => why.io_error().map_or_else(|| why.to_string(), |io| format!("cannot be opened: {io}")),
    }
}

fn is_hidden(name: &str) -> bool {
    name.starts_with('.')
}

/// Whether systems and programs create files or folders of this name by themselves.
pub(crate) fn is_passed_over(name: &str, kind: FileType) -> bool {
    is_hidden(name) || (kind.is_dir() && is_system_folder(name)) || (kind.is_file() && is_system_file(name))
}

/// Whether an image at this path is passed over for its name or that of a folder above it.
pub(crate) fn has_passed_over_name(path: &str) -> bool {
    let name = name_of(path);
    let is_folder_passed_over = |folder: &str| is_hidden(folder) || is_system_folder(folder);
    is_hidden(name) || is_system_file(name) || above(path).split('/').any(is_folder_passed_over)
}

fn is_system_folder(name: &str) -> bool {
    const FOLDERS: [&str; 30] = [
        "__macosx",
        "__pycache__",
        "node_modules",
        // Windows
        "$recycle.bin",
        "recycler",
        "system volume information",
        "$extend",
        "msocache",
        // macOS on network volumes
        "network trash folder",
        "temporary items",
        "thevolumesettingsfolder",
        "thefindbycontentfolder",
        // Linux and Android
        "lost+found",
        "lost.dir",
        // Synology, QNAP and NetApp
        "@eadir",
        "@tmp",
        "@recycle",
        "@recently-snapshot",
        "@sharebin",
        "@sharesnap",
        "@snapshot",
        "@synoresource",
        "@synoeastream",
        "@__thumb",
        "@__qini",
        "@__desc",
        "#recycle",
        "#snapshot",
        "~snapshot",
        "__thumb",
    ];
    let lower = name.to_lowercase();
    // CHKDSK numbers its folders.
    let is_of_chkdsk = |number: &str| number.len() == 3 && number.bytes().all(|digit| digit.is_ascii_digit());
    FOLDERS.contains(&lower.as_str()) || lower.strip_prefix("found.").is_some_and(is_of_chkdsk)
}

fn is_system_file(name: &str) -> bool {
    const FILES: [&str; 7] =
        ["thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "picasa.ini", "icon\r", "albumart.db"];
    let lower = name.to_lowercase();
    // `~$` begins the lock files of Office documents; Synology adds its own files to the names of others.
    FILES.contains(&lower.as_str())
        || lower.starts_with("~$")
        || ["@synoresource", "@synoeastream"].iter().any(|end| lower.ends_with(end))
}

/// Text files that commonly lie beside images.
fn is_note(name: &str) -> bool {
    const NOTES: [&str; 12] = [
        "readme",
        "license",
        "licence",
        "copying",
        "copyright",
        "notice",
        "changelog",
        "changes",
        "authors",
        "contributors",
        "citation",
        "attribution",
    ];
    const ENDINGS: [&str; 9] = ["", "txt", "md", "rst", "html", "htm", "pdf", "cff", "markdown"];
    let lower = name.to_lowercase();
    let first = lower.split(|sign: char| !sign.is_alphanumeric()).next().unwrap_or_default();
    NOTES.contains(&first) && ENDINGS.contains(&crate::extension(Path::new(&lower)).as_str())
        || NOTES.contains(&lower.split('.').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, bytes: &[u8]) {
        let file = root.join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, bytes).unwrap();
    }

    const JPEG: &[u8] = &[0xff, 0xd8, 0xff, 0xe0, 0, 16, b'J', b'F', b'I', b'F'];

    fn paths(items: &[Item]) -> Vec<&str> {
        items.iter().map(|item| item.path.as_str()).collect()
    }

    #[test]
    fn images_are_found_by_content_under_any_name() {
        let root = tempfile::tempdir().unwrap();
        for name in ["photo.jfif", "scan", "b.dat", "c.jpg.txt", "license.jpg", "readme_1.png", "README", "LICENSE.txt"]
        {
            write(root.path(), name, JPEG);
        }
        let tree = walk(root.path());
        let expected =
            ["LICENSE.txt", "README", "b.dat", "c.jpg.txt", "license.jpg", "photo.jfif", "readme_1.png", "scan"];
        assert_eq!(paths(&tree.images), expected);
    }

    #[test]
    fn what_is_nobodys_mistake_is_passed_over_and_the_rest_is_told() {
        let root = tempfile::tempdir().unwrap();
        for name in [
            "._x.png",
            "cat/Thumbs.db",
            "desktop.ini",
            "README.md",
            "License.front.txt",
            "LICENSE",
            "__MACOSX/cat/._a.jpg",
            ".ipynb_checkpoints/a-checkpoint.jpg",
            ".DS_Store",
            "@eaDir/a.jpg",
            "#recycle/b.jpg",
            "$RECYCLE.BIN/c.jpg",
            "System Volume Information/d.jpg",
            "lost+found/e.jpg",
        ] {
            write(root.path(), name, b"text");
        }
        write(root.path(), "cat/a.jpg", JPEG);
        write(root.path(), "cat/b.heic", b"\0\0\0\x18ftypheic\0\0\0\0");
        write(root.path(), "cat/c.xyz", b"\x01\x02");
        let tree = walk(root.path());
        assert_eq!(paths(&tree.images), ["cat/a.jpg"]);
        assert_eq!(tree.passed_over.len(), 14, "{:?}", tree.passed_over);
        assert_eq!(tree.problems.len(), 1);
        assert!(tree.problems[0].1.contains("HEIC"), "{:?}", tree.problems);
        assert_eq!(tree.others.iter().map(|(item, _)| item.path.as_str()).collect::<Vec<_>>(), ["cat/c.xyz"]);
        assert_eq!(tree.folders, ["cat"]);
    }

    #[test]
    fn folders_of_systems_and_servers_are_passed_over_in_any_case() {
        let root = tempfile::tempdir().unwrap();
        let folders = [
            "RECYCLER",
            "@__thumb",
            "@SynoResource",
            "@eaDIR",
            "Network Trash Folder",
            "Temporary Items",
            ".Trash-1000",
            "#Snapshot",
            ".thumbnails",
            "LOST+FOUND",
            "found.001",
        ];
        for folder in folders {
            write(root.path(), &format!("{folder}/cat/a.jpg"), JPEG);
            assert!(has_passed_over_name(&format!("train/{folder}/a.jpg")), "{folder}");
        }
        write(root.path(), "found.you/a.jpg", JPEG);
        write(root.path(), "dog/a.jpg", JPEG);
        write(root.path(), "dog/a.jpg@SynoEAStream", JPEG);
        let tree = walk(root.path());
        assert_eq!(paths(&tree.images), ["dog/a.jpg", "found.you/a.jpg"]);
        assert_eq!(tree.folders, ["dog", "found.you"]);
        assert_eq!(tree.passed_over.len(), folders.len() + 1, "{:?}", tree.passed_over);
        assert!(!has_passed_over_name("dog/a.jpg") && has_passed_over_name("dog/Thumbs.db"));
    }

    #[cfg(unix)]
    #[test]
    fn fifos_and_sockets_are_told_and_never_opened() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "cat/a.jpg", JPEG);
        let fifo = root.path().join("cat/pipe.png");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let _socket = std::os::unix::net::UnixListener::bind(root.path().join("cat/socket.jpg")).unwrap();
        std::os::unix::fs::symlink(&fifo, root.path().join("cat/link.jpg")).unwrap();
        let tree = walk(root.path());
        assert_eq!(paths(&tree.images), ["cat/a.jpg"]);
        let reasons: Vec<&str> = tree.problems.iter().map(|(_, reason)| reason.as_str()).collect();
        assert!(reasons[0].contains("FIFO") && reasons[1].contains("FIFO") && reasons[2].contains("socket"));
        assert_eq!(content_of(&fifo), None);
    }

    #[cfg(unix)]
    #[test]
    fn names_that_are_not_utf8_are_files_of_their_own() {
        use std::os::unix::ffi::OsStrExt;
        let root = tempfile::tempdir().unwrap();
        for name in [&b"\xe9.jpg"[..], b"\xe8.jpg", "\u{fffd}.jpg".as_bytes()] {
            std::fs::write(root.path().join(std::ffi::OsStr::from_bytes(name)), JPEG).unwrap();
        }
        let tree = walk(root.path());
        assert_eq!(tree.images.len(), 3);
        for item in &tree.images {
            assert_eq!(root.path().join(crate::path_of_text(&item.path)), item.file);
        }
    }
}
