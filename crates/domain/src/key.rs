//! The one rule for keys of metrics, params and tags.

use std::borrow::Cow;

/// Longest key, in characters.
pub const LONGEST_KEY: usize = 250;

/// Why clients may not write under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFault {
    /// It has a character that paths cannot have.
    Sign,
    /// As a path it is not relative and normalised.
    Path,
    /// It has more than [`LONGEST_KEY`] characters.
    Long,
}

/// Checks a key that a client writes.
///
/// # Errors
/// The first fault found.
pub fn check(key: &str) -> Result<(), KeyFault> {
    let allowed = |sign: char| sign.is_alphanumeric() || matches!(sign, '_' | '-' | '.' | ' ' | ':' | '/');
    if !key.chars().all(allowed) {
        return Err(KeyFault::Sign);
    }
    if !is_path(key) {
        return Err(KeyFault::Path);
    }
    match key.chars().nth(LONGEST_KEY) {
        Some(_) => Err(KeyFault::Long),
        None => Ok(()),
    }
}

/// Whether a key, taken as a path, is relative, normalised and not empty.
fn is_path(key: &str) -> bool {
    key.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// The key under which a value from a file is stored, so that every reader can ask for it. Brackets and the like stay,
/// as in `metrics/mAP50(B)`. Empty, overlong and unnormalised keys and control characters are replaced; an overlong key
/// ends in a hash.
pub fn kept(key: &str) -> Cow<'_, str> {
    let is_long = key.chars().nth(LONGEST_KEY).is_some();
    if !is_long && is_path(key) && !key.contains(char::is_control) && !key.trim().is_empty() {
        return Cow::Borrowed(key);
    }
    if key.trim().is_empty() {
        return Cow::Owned("unnamed".into());
    }
    let part = |part: &str| match part {
        "" => "_".to_owned(),
        "." | ".." => part.replace('.', "_"),
        part => part.replace(char::is_control, "_"),
    };
    let mut safe = key.split('/').map(part).collect::<Vec<_>>().join("/");
    if let Some((end, _)) = safe.char_indices().nth(LONGEST_KEY - DIGITS - 1) {
        safe.truncate(end);
        // Long keys often differ only at their ends.
        safe.push_str(&format!("~{:016x}", number_of(key)));
    }
    Cow::Owned(safe)
}

/// Hex digits of [`number_of`].
const DIGITS: usize = 16;

/// FNV-1a, to tell truncated keys apart.
fn number_of(key: &str) -> u64 {
    key.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_of_other_programs_stay_and_what_no_reader_could_ask_for_gets_a_name() {
        for key in ["loss", "train/loss", "metrics/mAP50(B)", "acc@1", "lr[0]", "größe", "a.b c:d"] {
            assert_eq!(kept(key), key);
        }
        for (key, safe) in [
            ("", "unnamed"),
            (" ", "unnamed"),
            (".", "_"),
            ("..", "__"),
            ("a//b", "a/_/b"),
            ("/a", "_/a"),
            ("a/", "a/_"),
            ("../../etc", "__/__/etc"),
            ("a\nb", "a_b"),
        ] {
            assert_eq!(kept(key), safe);
        }
        let long = |end: char| format!("{}{end}", "x".repeat(400));
        assert_ne!(kept(&long('a')), kept(&long('b')));
    }

    #[test]
    fn clients_write_under_names_that_may_be_files() {
        assert_eq!(check("val/loss 1:a-b_c.d"), Ok(()));
        assert_eq!([check("a@b"), check("a\\b")], [Err(KeyFault::Sign); 2]);
        assert_eq!([check("."), check("a//b"), check("/a"), check("")], [Err(KeyFault::Path); 4]);
        assert_eq!(check(&"x".repeat(251)), Err(KeyFault::Long));
    }

    proptest! {
        #[test]
        fn what_is_kept_is_a_path_of_a_key_and_stays_as_it_is(key in "\\PC{0,20}|[./ \\n]{0,8}|x{240,260}") {
            let safe = kept(&key).into_owned();
            prop_assert!(!safe.trim().is_empty() && is_path(&safe) && safe.chars().count() <= LONGEST_KEY, "{safe:?}");
            prop_assert_eq!(kept(&safe), safe.as_str());
        }
    }
}
