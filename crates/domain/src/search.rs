//! The filter language of MLflow's clients: comparisons joined by AND, as in
//! `metrics.loss < 0.5 AND tags."mlflow.user" ILIKE 'a%' AND attributes.status IN ('FINISHED', 'RUNNING')`.

/// A comparison of something that is searched.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// What is compared.
    pub column: Column,
    /// How.
    pub operator: Operator,
    /// With what.
    pub operand: Operand,
}

/// What is searched: a kind of value, and which of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Column {
    /// The word before the point in lower case, as in `metrics.loss`; empty without one.
    pub kind: String,
    /// What comes after it.
    pub key: String,
}

/// Filters are no larger, so that whoever answers them can.
const MOST_COMPARISONS: usize = 200;
const LONGEST_TEXT: usize = 8000;

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `=`
    Equal,
    /// `!=`
    Different,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
    /// `LIKE`: `%` stands for anything, `_` for one character.
    Like,
    /// `ILIKE`: the same, whatever the case.
    Ilike,
    /// `IN`
    In,
    /// `NOT IN`
    NotIn,
    /// `IS NULL`
    IsNull,
    /// `IS NOT NULL`
    IsNotNull,
}

/// What something is compared with.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// Of `IS NULL`.
    Nothing,
    /// A number.
    Number(f64),
    /// A quoted text.
    Text(String),
    /// Quoted texts in brackets.
    List(Vec<String>),
}

/// A column to sort by.
#[derive(Clone, Debug, PartialEq)]
pub struct SortBy {
    /// The column.
    pub column: Column,
    /// The greatest first.
    pub descending: bool,
}

/// Text that is no filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SearchError(pub String);

/// Reads a filter; none of the comparisons may fail.
pub fn parse(filter: &str) -> Result<Vec<Comparison>, SearchError> {
    let tokens = tokens(filter)?;
    let mut rest = tokens.as_slice();
    let mut comparisons = Vec::new();
    let invalid = || SearchError(format!("Invalid clause(s) in filter string: {filter:?}"));
    while !rest.is_empty() {
        if !comparisons.is_empty() {
            rest = match rest {
                [Token::Word(word), rest @ ..] if word.eq_ignore_ascii_case("and") => rest,
                _ => return Err(invalid()),
            };
        }
        let (comparison, after) = comparison(rest)?.ok_or_else(invalid)?;
        let is_long = |text: &String| text.len() > LONGEST_TEXT;
        let too_long = match &comparison.operand {
            Operand::Text(text) => is_long(text),
            Operand::List(texts) => texts.iter().any(is_long),
            Operand::Nothing | Operand::Number(_) => false,
        };
        if too_long || comparisons.len() == MOST_COMPARISONS {
            return Err(SearchError(format!(
                "A filter has at most {MOST_COMPARISONS} comparisons, and texts of at most {LONGEST_TEXT} bytes"
            )));
        }
        comparisons.push(comparison);
        rest = after;
    }
    Ok(comparisons)
}

/// Reads a column with an optional direction, as in `metrics.loss DESC`; ascending without one.
pub fn parse_sort(text: &str) -> Result<SortBy, SearchError> {
    let invalid = || SearchError(format!("Invalid order_by clause '{text}'"));
    let tokens = tokens(text).map_err(|_| invalid())?;
    let (column, rest) = column(&tokens).ok_or_else(invalid)?;
    let descending = match rest {
        [] => false,
        [Token::Word(word)] if word.eq_ignore_ascii_case("asc") => false,
        [Token::Word(word)] if word.eq_ignore_ascii_case("desc") => true,
        _ => return Err(invalid()),
    };
    Ok(SortBy { column, descending })
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    /// A bare word, with the points in it.
    Word(String),
    /// In single or double quotes.
    Text(String),
    /// In backticks.
    Name(String),
    Number(f64),
    Sign(Operator),
    Open,
    Close,
    Comma,
}

fn tokens(text: &str) -> Result<Vec<Token>, SearchError> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let signs = [
            ("!=", Token::Sign(Operator::Different)),
            ("<=", Token::Sign(Operator::AtMost)),
            (">=", Token::Sign(Operator::AtLeast)),
            ("=", Token::Sign(Operator::Equal)),
            ("<", Token::Sign(Operator::Less)),
            (">", Token::Sign(Operator::Greater)),
            ("(", Token::Open),
            (")", Token::Close),
            (",", Token::Comma),
        ];
        let sign = signs.into_iter().find(|(sign, _)| rest.starts_with(sign));
        let length = if let Some((sign, token)) = sign {
            tokens.push(token);
            sign.len()
        } else if matches!(first, '\'' | '"' | '`') {
            let inner = &rest[1..];
            let end = inner.find(first).ok_or_else(|| SearchError(format!("a quote is not closed: {text:?}")))?;
            let quoted = inner[..end].to_owned();
            tokens.push(if first == '`' { Token::Name(quoted) } else { Token::Text(quoted) });
            end + 2
        } else {
            let end = rest.find(|c: char| c.is_whitespace() || "=!<>(),'\"`".contains(c)).unwrap_or(rest.len());
            if end == 0 {
                return Err(SearchError(format!("{first:?} has no meaning in a filter: {text:?}")));
            }
            let word = &rest[..end];
            tokens.push(number(word).map_or_else(|| Token::Word(word.to_owned()), Token::Number));
            end
        };
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

/// A number begins with a digit or a point, after an optional sign: `nan` and `inf` are words.
fn number(word: &str) -> Option<f64> {
    let unsigned = word.strip_prefix(['+', '-']).unwrap_or(word);
    let is_number = unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.');
    is_number.then(|| word.parse().ok()).flatten()
}

/// `kind.key`, `kind."key"`, `` kind.`key` ``, or a key alone.
fn column(tokens: &[Token]) -> Option<(Column, &[Token])> {
    let of = |kind: &str, key: &str| Column { kind: kind.to_lowercase(), key: key.to_owned() };
    match tokens {
        [Token::Word(word), Token::Text(key) | Token::Name(key), rest @ ..] if word.ends_with('.') => {
            Some((of(word.trim_end_matches('.'), key), rest))
        }
        [Token::Word(word), rest @ ..] => match word.split_once('.') {
            Some((kind, key)) if !key.is_empty() => Some((of(kind, key), rest)),
            Some(_) => None,
            None => Some((of("", word), rest)),
        },
        [Token::Text(key) | Token::Name(key), rest @ ..] => Some((of("", key), rest)),
        _ => None,
    }
}

/// Parses a comparison; returns it and the tokens after it, if any.
fn comparison(tokens: &[Token]) -> Result<Option<(Comparison, &[Token])>, SearchError> {
    let Some((column, rest)) = column(tokens) else { return Ok(None) };
    let is = |word: &str, wanted: &str| word.eq_ignore_ascii_case(wanted);
    let (operator, rest) = match rest {
        [Token::Sign(operator), rest @ ..] => (*operator, rest),
        [Token::Word(a), Token::Word(b), Token::Word(c), rest @ ..] if is(a, "is") && is(b, "not") && is(c, "null") => {
            return Ok(Some((Comparison { column, operator: Operator::IsNotNull, operand: Operand::Nothing }, rest)));
        }
        [Token::Word(a), Token::Word(b), rest @ ..] if is(a, "is") && is(b, "null") => {
            return Ok(Some((Comparison { column, operator: Operator::IsNull, operand: Operand::Nothing }, rest)));
        }
        [Token::Word(a), Token::Word(b), rest @ ..] if is(a, "not") && is(b, "in") => (Operator::NotIn, rest),
        [Token::Word(word), rest @ ..] if is(word, "in") => (Operator::In, rest),
        [Token::Word(word), rest @ ..] if is(word, "like") => (Operator::Like, rest),
        [Token::Word(word), rest @ ..] if is(word, "ilike") => (Operator::Ilike, rest),
        _ => return Ok(None),
    };
    let wants_list = matches!(operator, Operator::In | Operator::NotIn);
    let (operand, rest) = match rest {
        [Token::Number(number), rest @ ..] if !wants_list => (Operand::Number(*number), rest),
        [Token::Text(text), rest @ ..] if !wants_list => (Operand::Text(text.clone()), rest),
        [Token::Open, rest @ ..] if wants_list => match list(rest)? {
            Some((texts, rest)) => (Operand::List(texts), rest),
            None => return Ok(None),
        },
        // These words are keywords, not values.
        [Token::Word(word), ..]
            if ["true", "false", "null", "and", "or", "not", "in", "is"].iter().any(|own| is(word, own)) =>
        {
            return Ok(None);
        }
        [Token::Word(word), ..] if !wants_list => {
            return Err(SearchError(format!(
                "Parameter value is either not quoted or unidentified quote types used for string value {word}"
            )));
        }
        _ => return Ok(None),
    };
    Ok(Some((Comparison { column, operator, operand }, rest)))
}

/// The listed texts, and the remaining tokens.
type Listed<'a> = (Vec<String>, &'a [Token]);

/// Parses `'a', 'b')` after the opening bracket; `None` if it is not closed.
fn list(tokens: &[Token]) -> Result<Option<Listed<'_>>, SearchError> {
    let Some(end) = tokens.iter().position(|token| *token == Token::Close) else { return Ok(None) };
    let (inner, after) = (&tokens[..end], &tokens[end + 1..]);
    let wrong = |wanted: &str, found: &str| {
        Err(SearchError(format!("While parsing a list in the query, expected {wanted}, but got {found}")))
    };
    if inner.is_empty() {
        return wrong("a non-empty list of string values", "empty list");
    }
    if inner.iter().any(|token| !matches!(token, Token::Text(_) | Token::Comma)) {
        return wrong("string value, punctuation, or whitespace", "different type in list");
    }
    let mut texts = Vec::new();
    // A trailing comma is allowed.
    for (place, token) in inner.iter().enumerate() {
        match (token, place % 2) {
            (Token::Text(text), 0) => texts.push(text.clone()),
            (Token::Comma, 1) => {}
            _ => return wrong("a non-empty list of string values", "ill-formed list"),
        }
    }
    Ok(Some((texts, after)))
}

/// Whether a text is like a pattern of `LIKE`.
pub fn is_like(text: &str, pattern: &str) -> bool {
    let (text, pattern): (Vec<char>, Vec<char>) = (text.chars().collect(), pattern.chars().collect());
    // Where to go on when what follows the latest `%` does not fit: one character further.
    let (mut at, mut place, mut retry) = (0, 0, None);
    while at < text.len() {
        match pattern.get(place) {
            Some('%') => {
                retry = Some((at, place));
                place += 1;
            }
            Some(sign) if *sign == '_' || *sign == text[at] => (at, place) = (at + 1, place + 1),
            _ => match retry {
                Some((begin, star)) => {
                    retry = Some((begin + 1, star));
                    (at, place) = (begin + 1, star + 1);
                }
                None => return false,
            },
        }
    }
    pattern[place..].iter().all(|sign| *sign == '%')
}

impl Comparison {
    /// Whether a text fulfils it; `None` is a value that is not there. Numbers are compared as texts.
    pub fn is_fulfilled_by_text(&self, value: Option<&str>) -> bool {
        let Some(value) = value else { return self.operator == Operator::IsNull };
        match (&self.operand, self.operator) {
            (_, Operator::IsNull) => false,
            (_, Operator::IsNotNull) => true,
            (Operand::List(texts), Operator::In) => texts.iter().any(|text| text == value),
            (Operand::List(texts), Operator::NotIn) => !texts.iter().any(|text| text == value),
            (Operand::Text(text), Operator::Like) => is_like(value, text),
            (Operand::Text(text), Operator::Ilike) => is_like(&value.to_lowercase(), &text.to_lowercase()),
            (Operand::Text(text), operator) => operator.holds(value.cmp(text)),
            (Operand::Number(number), operator) => operator.holds(value.cmp(&number.to_string())),
            _ => false,
        }
    }

    /// Whether a number fulfils it.
    pub fn is_fulfilled_by_number(&self, value: Option<f64>) -> bool {
        let Some(value) = value else { return self.operator == Operator::IsNull };
        match (&self.operand, self.operator) {
            (_, Operator::IsNotNull) => true,
            (Operand::Number(number), operator) => match value.partial_cmp(number) {
                Some(order) => operator.holds(order),
                None => operator == Operator::Different,
            },
            _ => false,
        }
    }
}

impl Operator {
    fn holds(self, order: std::cmp::Ordering) -> bool {
        match self {
            Operator::Equal => order.is_eq(),
            Operator::Different => order.is_ne(),
            Operator::Less => order.is_lt(),
            Operator::AtMost => order.is_le(),
            Operator::Greater => order.is_gt(),
            Operator::AtLeast => order.is_ge(),
            _ => false,
        }
    }

    /// As filters have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Operator::Equal => "=",
            Operator::Different => "!=",
            Operator::Less => "<",
            Operator::AtMost => "<=",
            Operator::Greater => ">",
            Operator::AtLeast => ">=",
            Operator::Like => "LIKE",
            Operator::Ilike => "ILIKE",
            Operator::In => "IN",
            Operator::NotIn => "NOT IN",
            Operator::IsNull => "IS NULL",
            Operator::IsNotNull => "IS NOT NULL",
        }
    }

    /// As SQL has it, for the operators that compare by order.
    pub fn sql(self) -> Option<&'static str> {
        Some(match self {
            Operator::Equal => "=",
            Operator::Different => "<>",
            Operator::Less => "<",
            Operator::AtMost => "<=",
            Operator::Greater => ">",
            Operator::AtLeast => ">=",
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn column(kind: &str, key: &str) -> Column {
        Column { kind: kind.into(), key: key.into() }
    }

    #[test]
    fn comparisons_are_read_with_every_way_of_quoting() {
        let found = parse(
            "metrics.val/loss<=-1e-3 and params.`a b` != \"x\" AND tags.\"mlflow.user\" ILIKE 'a%' \
             and status NOT IN ('FINISHED','RUNNING',) and attributes.end_time IS NOT NULL",
        );
        let found = found.unwrap();
        let parts = found.iter().map(|c| (c.column.clone(), c.operator, c.operand.clone())).collect::<Vec<_>>();
        assert_eq!(
            parts,
            [
                (column("metrics", "val/loss"), Operator::AtMost, Operand::Number(-1e-3)),
                (column("params", "a b"), Operator::Different, Operand::Text("x".into())),
                (column("tags", "mlflow.user"), Operator::Ilike, Operand::Text("a%".into())),
                (column("", "status"), Operator::NotIn, Operand::List(vec!["FINISHED".into(), "RUNNING".into()])),
                (column("attributes", "end_time"), Operator::IsNotNull, Operand::Nothing),
            ]
        );
        assert_eq!(parse("  ").unwrap(), []);
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for text in
            ["metrics.a", "a = b", "a = 'x' b = 'y'", "a = 'x", "a IN 'x'", "a = ('x')", "and", "a = 1 OR b = 2"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_value_is_told_as_clients_expect_it() {
        let why = |text: &str| parse(text).map(|_| ()).map_err(|error| error.0);
        let of_list = |wanted: &str, found: &str| {
            Err(format!("While parsing a list in the query, expected {wanted}, but got {found}"))
        };
        let texts = "a non-empty list of string values";
        assert_eq!(why("a IN (1, 2)"), of_list("string value, punctuation, or whitespace", "different type in list"));
        assert_eq!(why("a IN ()"), of_list(texts, "empty list"));
        for text in ["a IN (,)", "a NOT IN ('x',,'y')", "a IN ('x' 'y')", "a IN (,'x')"] {
            assert_eq!(why(text), of_list(texts, "ill-formed list"), "{text}");
        }
        let unquoted = "Parameter value is either not quoted or unidentified quote types used for string value x";
        assert_eq!(why("name != x"), Err(unquoted.to_owned()));
        for text in ["a IN (", "a IN", "a LIKE", "a = true", "a = ('x')", "a IN 'x'"] {
            assert!(why(text).is_err_and(|why| why.starts_with("Invalid clause(s) in filter string")), "{text}");
        }
    }

    #[test]
    fn words_that_floats_are_also_written_with_are_no_numbers() {
        for word in ["nan", "NaN", "inf", "-inf", "+Infinity", "infinity", "-nan", "."] {
            let why = parse(&format!("metrics.m != {word}")).map(|_| ()).map_err(|error| error.0);
            assert!(why.as_ref().is_err_and(|why| why.starts_with("Parameter value is either not quoted")), "{word}");
        }
        for (text, value) in [("5", 5.0), ("-5", -5.0), ("+5", 5.0), (".5", 0.5), ("-.5e-3", -0.0005), ("5.", 5.0)] {
            assert_eq!(parse(&format!("metrics.m = {text}")).unwrap()[0].operand, Operand::Number(value), "{text}");
        }
    }

    #[test]
    fn directions_are_read() {
        let by = |text: &str| parse_sort(text).unwrap();
        assert_eq!(by("metrics.`a b` DESC"), SortBy { column: column("metrics", "a b"), descending: true });
        assert_eq!(by("start_time"), SortBy { column: column("", "start_time"), descending: false });
        assert!(parse_sort("start_time sideways").is_err());
    }

    #[test]
    fn patterns_match_as_in_sql() {
        for (text, pattern, like) in [
            ("abc", "a%", true),
            ("abc", "%b%", true),
            ("abc", "_b_", true),
            ("abc", "b%", false),
            ("aab", "%ab", true),
            ("", "%", true),
            ("", "_", false),
            ("50%", "50%%", true),
        ] {
            assert_eq!(is_like(text, pattern), like, "{text} {pattern}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,60}") {
            let _ = parse(&text);
            let _ = parse_sort(&text);
            let _ = is_like(&text, "%a_%");
        }
    }
}
