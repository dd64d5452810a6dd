//! Names that people give, and words that people read.

/// Why a text cannot be the name of a class.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClassNameError {
    /// Nothing but white space.
    #[error("a class needs a name")]
    Empty,
    /// Longer than 200 characters.
    #[error("a class name has at most 200 characters, this one has {0}")]
    Long(usize),
    /// A line break or another control character.
    #[error("a class name is one line without control characters")]
    Control,
}

/// The name of a class with the white space around it removed (a stray blank in a list of names makes no new class).
pub fn class_name(text: &str) -> Result<String, ClassNameError> {
    let name = text.trim();
    if name.is_empty() {
        return Err(ClassNameError::Empty);
    }
    if name.chars().any(char::is_control) {
        return Err(ClassNameError::Control);
    }
    match name.chars().count() {
        long @ 201.. => Err(ClassNameError::Long(long)),
        _ => Ok(name.to_owned()),
    }
}

/// So many of something whose plural is plain: `1 run`, `2 runs`, `2 classes`.
pub fn counted(count: impl TryInto<u64>, what: &str) -> String {
    let count = count.try_into().unwrap_or(u64::MAX);
    let ending = match count {
        1 => "",
        _ if what.ends_with('s') => "es",
        _ => "s",
    };
    format!("{count} {what}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stray_blank_makes_no_new_class() {
        assert_eq!(class_name("  cat\t"), Ok("cat".to_owned()));
        assert_eq!(class_name("Ελληνικά 狗"), Ok("Ελληνικά 狗".to_owned()));
    }

    #[test]
    fn one_alone_is_no_plural() {
        assert_eq!([0, 1, 2].map(|count| counted(count, "run")), ["0 runs", "1 run", "2 runs"]);
        assert_eq!([1, 3].map(|count| counted(count, "class")), ["1 class", "3 classes"]);
    }

    #[test]
    fn nameless_and_two_line_names_are_refused() {
        assert_eq!(class_name(" \n "), Err(ClassNameError::Empty));
        assert_eq!(class_name("a\nb"), Err(ClassNameError::Control));
        assert_eq!(class_name(&"x".repeat(201)), Err(ClassNameError::Long(201)));
    }
}
