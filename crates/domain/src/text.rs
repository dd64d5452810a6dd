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

/// A span of time in words: `45 s`, `3 min 12 s`, `3 h 12 min`, `2 d 3 h`.
pub fn duration(secs: f64) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    match secs as u64 {
        0 if secs > 0.0 => "< 1 s".to_owned(),
        whole @ 0..MINUTE => format!("{whole} s"),
        whole @ MINUTE..HOUR => format!("{} min {} s", whole / MINUTE, whole % MINUTE),
        whole @ HOUR..DAY => format!("{} h {} min", whole / HOUR, whole % HOUR / MINUTE),
        whole => format!("{} d {} h", whole / DAY, whole % DAY / HOUR),
    }
}

/// The most similar known name, if similar enough; the last path segment is compared too.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const ALIKE: f64 = 0.8;
    const BY_LAST_PART: f64 = 0.95;
    // One letter inserted, deleted or replaced, or two transposed.
    const BY_A_SLIP: f64 = 0.95;
    const LETTERS_OF_A_SLIP: usize = 3;
    fn last(name: &str) -> &str {
        name.rsplit(['/', '.']).next().unwrap_or(name)
    }
    let name = name.to_lowercase();
    let likeness = |known: &str| {
        let known = known.to_lowercase();
        let part = strsim::jaro_winkler(last(&name), last(&known)) * BY_LAST_PART;
        let is_slip = name.chars().count() >= LETTERS_OF_A_SLIP && strsim::osa_distance(&name, &known) == 1;
        strsim::jaro_winkler(&name, &known).max(part).max(if is_slip { BY_A_SLIP } else { 0.0 })
    };
    let best = known.into_iter().map(|known| (likeness(known), known)).max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(likeness, _)| *likeness > ALIKE).map(|(_, known)| known)
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
    fn spans_of_time_are_said_in_their_two_greatest_units() {
        let spans = [0.0, 0.4, 45.9, 60.0, 192.0, 11_520.0, 183_600.0];
        assert_eq!(spans.map(duration).join(", "), "0 s, < 1 s, 45 s, 1 min 0 s, 3 min 12 s, 3 h 12 min, 2 d 3 h");
    }

    #[test]
    fn a_name_is_near_to_what_it_was_meant_to_be() {
        let known = ["optimizer.lr", "val/loss", "val/accuracy", "team"];
        assert_eq!(nearest("optimiser.lr", known), Some("optimizer.lr"));
        assert_eq!(nearest("accuracy", known), Some("val/accuracy"));
        assert_eq!(nearest("TEAM", known), Some("team"));
        assert_eq!(nearest("tema", known), Some("team"));
        assert_eq!(nearest("wre", ["user", "wer"]), Some("wer"));
        assert_eq!(nearest("nosuch", known), None);
        assert_eq!(nearest("x", []), None);
    }

    #[test]
    fn nameless_and_two_line_names_are_refused() {
        assert_eq!(class_name(" \n "), Err(ClassNameError::Empty));
        assert_eq!(class_name("a\nb"), Err(ClassNameError::Control));
        assert_eq!(class_name(&"x".repeat(201)), Err(ClassNameError::Long(201)));
    }
}
