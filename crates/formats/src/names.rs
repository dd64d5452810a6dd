//! Reversible text forms of paths, and natural order.

use std::cmp::Ordering;
use std::path::{Component, Path, PathBuf};

/// Precedes the two hexadecimal digits of a non-UTF-8 byte. A literal one is escaped too, so that texts are unique.
const ESCAPE: char = '\u{fffd}';

/// A path as text for [`path_of_text`]: UTF-8 unchanged, other bytes as `\u{fffd}E9`, with forward slashes on every
/// system.
pub fn path_text(path: &Path) -> String {
    platform::text(path)
}

/// As [`path_text`] writes it, but with the separators of the system: for a whole path.
pub fn place_text(path: &Path) -> String {
    if cfg!(unix) { platform::text(path) } else { path.display().to_string() }
}

/// The path of a text that [`path_text`] or [`place_text`] made.
pub fn path_of_text(text: &str) -> PathBuf {
    platform::path(text)
}

#[cfg(unix)]
mod platform {
    use super::*;
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};

    pub(super) fn text(path: &Path) -> String {
        if let Some(text) = path.to_str().filter(|text| !text.contains(ESCAPE)) {
            return text.to_owned();
        }
        let mut text = String::new();
        for chunk in path.as_os_str().as_bytes().utf8_chunks() {
            for sign in chunk.valid().chars() {
                match sign {
                    ESCAPE => ESCAPE.to_string().bytes().for_each(|byte| escape(&mut text, byte)),
                    sign => text.push(sign),
                }
            }
            chunk.invalid().iter().for_each(|byte| escape(&mut text, *byte));
        }
        text
    }

    fn escape(text: &mut String, byte: u8) {
        text.push(ESCAPE);
        text.push_str(&format!("{byte:02X}"));
    }

    pub(super) fn path(text: &str) -> PathBuf {
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find(ESCAPE) {
            let (before, escaped) = rest.split_at(at);
            bytes.extend_from_slice(before.as_bytes());
            let digits = escaped.get(ESCAPE.len_utf8()..ESCAPE.len_utf8() + 2);
            match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
                Some(byte) => {
                    bytes.push(byte);
                    rest = &escaped[ESCAPE.len_utf8() + 2..];
                }
                // Not an escape.
                None => {
                    bytes.extend_from_slice(&escaped.as_bytes()[..ESCAPE.len_utf8()]);
                    rest = &escaped[ESCAPE.len_utf8()..];
                }
            }
        }
        bytes.extend_from_slice(rest.as_bytes());
        PathBuf::from(OsString::from_vec(bytes))
    }
}

#[cfg(not(unix))]
mod platform {
    use super::*;

    pub(super) fn text(path: &Path) -> String {
        path.to_string_lossy().replace('\\', "/")
    }

    pub(super) fn path(text: &str) -> PathBuf {
        PathBuf::from(text)
    }
}

/// A relative path as text, with forward slashes on every system.
pub(crate) fn slashed(path: &Path) -> String {
    if path.components().all(|part| matches!(part, Component::Normal(_))) {
        return path_text(path);
    }
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(path_text(Path::new(name))),
        _ => None,
    });
    parts.collect::<Vec<_>>().join("/")
}

/// The last part of a path's text.
pub(crate) fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// A name without its ending.
pub(crate) fn stem_of(name: &str) -> &str {
    match name.rfind('.') {
        Some(dot) if dot > 0 => &name[..dot],
        _ => name,
    }
}

/// Natural order: img_2 before img_10.
pub(crate) fn natural(a: &str, b: &str) -> Ordering {
    let (left, right) = (a.as_bytes(), b.as_bytes());
    let common = left.iter().zip(right).take_while(|(x, y)| x == y).count();
    // If they differ within a number, compare all of it.
    let start = left[..common].iter().rposition(|byte| !byte.is_ascii_digit()).map_or(0, |at| at + 1);
    let begins_with_digit = |text: &[u8]| text.get(start).is_some_and(u8::is_ascii_digit);
    if begins_with_digit(left) && begins_with_digit(right) {
        let (x, rest_of_x) = digits(&left[start..]);
        let (y, rest_of_y) = digits(&right[start..]);
        if x != y {
            return x.len().cmp(&y.len()).then_with(|| x.cmp(y));
        }
        // Only leading zeros differ: go on.
        let at = |text: &str, rest: &[u8]| text.len() - rest.len();
        let (x, y) = (&a[at(a, rest_of_x)..], &b[at(b, rest_of_y)..]);
        return if x == y { a.cmp(b) } else { natural(x, y) };
    }
    // Files of a folder precede longer folder names.
    let sign = |text: &[u8]| text.get(common).map(|byte| if *byte == b'/' { 0 } else { *byte });
    sign(left).cmp(&sign(right))
}

/// The leading digits without leading zeros, and the rest.
fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let start = text[..end].iter().position(|byte| *byte != b'0').unwrap_or(end);
    (&text[start..end], &text[end..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_in_names_are_counted() {
        let mut names = ["img_10.png", "img_2.png", "b/1.png", "img_02.png", "a/10.png", "a/9.png", "a b/1.png"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["a/9.png", "a/10.png", "a b/1.png", "b/1.png", "img_02.png", "img_2.png", "img_10.png"]);
    }

    #[cfg(unix)]
    #[test]
    fn names_that_look_alike_have_texts_of_their_own() {
        use std::os::unix::ffi::OsStrExt;
        let text = |bytes: &[u8]| path_text(Path::new(std::ffi::OsStr::from_bytes(bytes)));
        assert_eq!(text(b"cat/\xe9.jpg"), "cat/\u{fffd}E9.jpg");
        assert_ne!(text(b"\xe9.jpg"), text(b"\xe8.jpg"));
        assert_ne!(text(b"\xe9.jpg"), text("\u{fffd}E9.jpg".as_bytes()));
        assert_eq!(text("ü ñ 狗.jpg".as_bytes()), "ü ñ 狗.jpg");
    }

    #[cfg(unix)]
    proptest! {
        #[test]
        fn a_path_comes_back_from_its_text(bytes in proptest::collection::vec(1u8.., 0..40)) {
            use std::os::unix::ffi::OsStrExt;
            let path = Path::new(std::ffi::OsStr::from_bytes(&bytes));
            prop_assert_eq!(path_of_text(&path_text(path)), path);
        }
    }
}
