//! Several classes in one field: `cat|dog`, `none` for the empty list, or a JSON list of names.

use assay_domain::{ClassNameError, class_name};

/// The empty list.
const NONE: &str = "none";
/// Separators, in order of precedence; the first is the one written.
const SEPARATORS: [char; 3] = ['|', ';', ','];
/// A plain list of names with one of these could be misread.
const AMBIGUOUS: &[char] = &['|', ';', ',', '\\', '[', ']', '(', ')', '{', '}', '"', '\''];
const BRACKETS: [(char, char); 3] = [('[', ']'), ('{', '}'), ('(', ')')];
const QUOTES: [char; 2] = ['"', '\''];

/// The field of these classes, from which [`read`] reads any names back.
pub(crate) fn written(classes: &[String]) -> String {
    let is_plain = |class: &String| !class.contains(AMBIGUOUS) && !class.eq_ignore_ascii_case(NONE);
    match classes {
        [] => NONE.to_owned(),
        classes if classes.iter().all(is_plain) => classes.join("|"),
        classes => serde_json::Value::from(classes.to_vec()).to_string(),
    }
}

/// The classes of a field that is not empty.
pub(super) fn read(field: &str, separator: char) -> Result<Vec<String>, ClassNameError> {
    if field.eq_ignore_ascii_case(NONE) {
        return Ok(Vec::new());
    }
    match of_json(field) {
        Some(classes) => class_names(classes.iter().map(String::as_str)),
        None => class_names(unwrapped(field).split(separator).map(|part| unquoted(part.trim()))),
    }
}

fn class_names<'a>(names: impl Iterator<Item = &'a str>) -> Result<Vec<String>, ClassNameError> {
    names.filter(|name| !name.trim().is_empty()).map(class_name).collect()
}

/// The separator of these fields: the first that occurs in one.
pub(super) fn separator<'a>(fields: impl Iterator<Item = &'a str> + Clone) -> char {
    let plain = fields.filter(|field| of_json(field).is_none());
    SEPARATORS.into_iter().find(|sign| plain.clone().any(|field| field.contains(*sign))).unwrap_or('|')
}

fn of_json(field: &str) -> Option<Vec<String>> {
    field.starts_with('[').then(|| serde_json::from_str(field).ok()).flatten()
}

/// Without the brackets or quotes around the whole field.
fn unwrapped(field: &str) -> &str {
    let inside = BRACKETS.into_iter().find_map(|(open, close)| {
        let inside = field.strip_prefix(open)?.strip_suffix(close)?;
        // `(wild) cat|(tame) dog (old)` is not one pair.
        let mut depth = 0_i64;
        let is_pair = inside.chars().all(|sign| {
            depth += i64::from(sign == open) - i64::from(sign == close);
            depth >= 0
        });
        (is_pair && depth == 0).then_some(inside)
    });
    inside.unwrap_or_else(|| unquoted(field))
}

/// Without the quotes around it, if they are one pair.
fn unquoted(text: &str) -> &str {
    let inside = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote).filter(|inside| !inside.contains(quote));
    QUOTES.into_iter().find_map(inside).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pairs_around_the_whole_are_taken_off() {
        for (field, expected) in [
            ("cat|dog", vec!["cat", "dog"]),
            ("[cat|dog]", vec!["cat", "dog"]),
            ("{'cat' | \"dog\"}", vec!["cat", "dog"]),
            ("\"cat|dog\"", vec!["cat", "dog"]),
            ("cat (wild)|dog", vec!["cat (wild)", "dog"]),
            ("cat (wild)", vec!["cat (wild)"]),
            ("(wild) cat|dog (tame)", vec!["(wild) cat", "dog (tame)"]),
            ("6\" disk|dog", vec!["6\" disk", "dog"]),
            ("\"q\" and \"r\"", vec!["\"q\" and \"r\""]),
            ("[\"a|b\", \"none\", \"[x]\"]", vec!["a|b", "none", "[x]"]),
            ("[1|2]", vec!["1", "2"]),
            ("None", vec![]),
            ("[]", vec![]),
            ("{}", vec![]),
            ("|cat||", vec!["cat"]),
        ] {
            assert_eq!(read(field, '|').unwrap(), expected, "{field}");
        }
        assert_eq!(read("['cat', 'dog']", ',').unwrap(), ["cat", "dog"]);
    }

    #[test]
    fn plain_names_are_written_plainly_and_others_as_json() {
        let written = |names: &[&str]| written(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(written(&["cat", "big dog"]), "cat|big dog");
        assert_eq!(written(&[]), "none");
        assert_eq!(written(&["cat", "None"]), "[\"cat\",\"None\"]");
        assert_eq!(written(&["cat (wild)"]), "[\"cat (wild)\"]");
    }

    #[test]
    fn the_separator_is_not_sought_in_json() {
        assert_eq!(separator(["[\"a|b\"]", "cat;dog", "x, y;z"].into_iter()), ';');
        assert_eq!(separator(["cat"].into_iter()), '|');
    }
}
