//! A folder whose sub-folders are classes, also below folders that name splits.

use crate::{Entry, FormatError, Listing, named_as_image};
use assay_domain::{Split, class_name};
use std::path::{Component, Path};

/// Lists every file below `root`. The folder that holds a file is its class; folders named like splits are splits, and
/// `images` is passed over. Links are followed, loops and unreadable folders reported.
pub(crate) fn read(root: &Path) -> Result<Listing, FormatError> {
    let mut listing = Listing::default();
    std::fs::read_dir(root).map_err(|why| FormatError::Unreadable {
        what: "the folder",
        why: why.to_string(),
        path: root.to_owned(),
    })?;
    for found in walkdir::WalkDir::new(root).follow_links(true).sort_by_file_name() {
        match found {
            Ok(found) if found.file_type().is_file() => {
                let Ok(below) = found.path().strip_prefix(root) else { continue };
                let hidden = below.components().any(|part| part.as_os_str().to_string_lossy().starts_with('.'));
                if hidden || named_as_note(found.path()) {
                    continue;
                }
                match entry(found.path(), below) {
                    Ok(entry) => listing.entries.push(entry),
                    Err(reason) => listing.problems.push((slashed(below), reason)),
                }
            }
            Ok(_) => {}
            Err(why) => {
                let path = why.path().map(|path| slashed(path.strip_prefix(root).unwrap_or(path))).unwrap_or_default();
                let reason = match why.loop_ancestor() {
                    Some(_) => "a link that leads back to a folder above it; left out".to_owned(),
                    None => why.io_error().map_or_else(|| why.to_string(), |io| format!("cannot be opened: {io}")),
                };
                listing.problems.push((path, reason));
            }
        }
    }
    Ok(listing)
}

fn entry(file: &Path, below: &Path) -> Result<Entry, String> {
    if !named_as_image(file) {
        return Err("not an image by its name (JPEG, PNG, WebP, GIF, BMP or TIFF are read)".into());
    }
    let folders: Vec<String> = below
        .parent()
        .into_iter()
        .flat_map(Path::components)
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .collect();
    let split = folders.iter().find_map(|name| Split::parse(name));
    let class = folders.last().filter(|name| Split::parse(name).is_none() && !name.eq_ignore_ascii_case("images"));
    let class =
        class.map(|name| class_name(name)).transpose().map_err(|why| format!("its folder names no class: {why}"))?;
    Ok(Entry { file: file.to_owned(), path: slashed(below), label: class.map(|class| vec![class]), split })
}

/// Files that lie beside images and are nobody's mistake.
fn named_as_note(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    matches!(name.as_str(), "thumbs.db" | "desktop.ini")
        || ["readme", "license", "licence"].iter().any(|note| name.split('.').next() == Some(note))
}

/// A relative path with forward slashes on every system.
pub(crate) fn slashed(path: &Path) -> String {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
        _ => None,
    });
    parts.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(root: &Path, path: &str) {
        let file = root.join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, b"x").unwrap();
    }

    #[test]
    fn folders_are_classes_and_odd_names_stay() {
        let root = tempfile::tempdir().unwrap();
        for path in [
            "cat/a.JPG",
            "cat/b.jpeg",
            "train/dog/ü ñ#.PNG",
            "val/dog/狗.webp",
            "top.bmp",
            "cat/notes.txt",
            "README.md",
            ".git/x.png",
        ] {
            touch(root.path(), path);
        }
        let listing = read(root.path()).unwrap();
        let seen: Vec<(&str, Option<&str>, Option<Split>)> = listing
            .entries
            .iter()
            .map(|e| (e.path.as_str(), e.label.as_ref().map(|l| l[0].as_str()), e.split))
            .collect();
        assert_eq!(
            seen,
            [
                ("cat/a.JPG", Some("cat"), None),
                ("cat/b.jpeg", Some("cat"), None),
                ("top.bmp", None, None),
                ("train/dog/ü ñ#.PNG", Some("dog"), Some(Split::Train)),
                ("val/dog/狗.webp", Some("dog"), Some(Split::Val)),
            ]
        );
        assert_eq!(listing.problems.len(), 1);
        assert_eq!(listing.problems[0].0, "cat/notes.txt");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_loop_is_reported_and_ends() {
        let root = tempfile::tempdir().unwrap();
        touch(root.path(), "cat/a.png");
        std::os::unix::fs::symlink(root.path(), root.path().join("cat/loop")).unwrap();
        let listing = read(root.path()).unwrap();
        assert_eq!(listing.entries.len(), 1);
        assert!(listing.problems[0].1.contains("leads back"), "{:?}", listing.problems);
    }
}
