//! Checks the values of filters by the kind of column, with MLflow's messages.

use super::Answer;
use super::failure::Failure;
use assay_domain::search::{Comparison, Operand, Operator};

/// The operators of numbers.
const NUMERIC: [Operator; 6] =
    [Operator::Equal, Operator::Different, Operator::Less, Operator::AtMost, Operator::Greater, Operator::AtLeast];

/// The operators of single texts.
const TEXTUAL: [Operator; 4] = [Operator::Equal, Operator::Different, Operator::Like, Operator::Ilike];

/// A numeric column: comparison operators with one number.
pub(super) fn check_numeric(comparison: &Comparison, what: &str) -> Answer<()> {
    require_number(comparison, what)?;
    check_operator(comparison, &NUMERIC)
}

/// A text column: comparison with one text, or `IS NULL`.
pub(super) fn check_textual(comparison: &Comparison, what: &str) -> Answer<()> {
    refuse_number(comparison, what)?;
    match comparison.operand {
        Operand::Nothing => Ok(()),
        _ => check_operator(comparison, &TEXTUAL),
    }
}

/// A text column that also takes lists.
pub(super) fn check_textual_or_list(comparison: &Comparison, what: &str) -> Answer<()> {
    match comparison.operand {
        Operand::List(_) => Ok(()),
        _ => check_textual(comparison, what),
    }
}

/// Requires a number.
pub(super) fn require_number(comparison: &Comparison, what: &str) -> Answer<()> {
    let found = match &comparison.operand {
        Operand::Number(_) => return Ok(()),
        Operand::Text(text) => format!("'{text}'"),
        Operand::List(texts) => format!("('{}')", texts.join("', '")),
        Operand::Nothing => "NULL".to_owned(),
    };
    Err(Failure::invalid(format!("Expected numeric value type for {what}. Found {found}")))
}

/// Requires a text.
pub(super) fn refuse_number(comparison: &Comparison, what: &str) -> Answer<()> {
    match comparison.operand {
        Operand::Number(number) => Err(Failure::invalid(format!(
            "Expected a quoted string value for {what} (e.g. 'my-value'). Got value {number}"
        ))),
        _ => Ok(()),
    }
}

fn check_operator(comparison: &Comparison, known: &[Operator]) -> Answer<()> {
    if known.contains(&comparison.operator) {
        return Ok(());
    }
    let known: Vec<&str> = known.iter().map(|operator| operator.as_str()).collect();
    Err(Failure::invalid(format!(
        "Invalid comparator '{}' for '{}', not one of {known:?}",
        comparison.operator.as_str(),
        comparison.column.key
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_domain::search;

    #[test]
    fn a_column_is_compared_with_what_it_holds_and_by_operators_of_that() {
        type Check = fn(&Comparison, &str) -> Answer<()>;
        let (numeric, textual, or_list): (Check, Check, Check) = (check_numeric, check_textual, check_textual_or_list);
        for (check, filter, is_allowed) in [
            (numeric, "m >= 1", true),
            (numeric, "m = '1'", false),
            (numeric, "m LIKE '1'", false),
            (numeric, "m IN ('1')", false),
            (textual, "p ILIKE 'a%'", true),
            (textual, "p IS NOT NULL", true),
            (textual, "p = 1", false),
            (textual, "p > 'a'", false),
            (textual, "p IN ('a')", false),
            (or_list, "p NOT IN ('a', 'b')", true),
            (or_list, "p <= 'a'", false),
        ] {
            let comparison = &search::parse(filter).expect("a filter")[0];
            assert_eq!(check(comparison, "x").is_ok(), is_allowed, "{filter}");
        }
    }
}
