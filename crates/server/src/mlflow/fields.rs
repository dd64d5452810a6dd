//! The fields of a request: of its JSON, or of its query where it has no body. Unknown ones are not looked at.

use super::Answer;
use super::failure::Failure;
use super::wire::object;
use assay_domain::search::{self, Comparison, SearchError, SortBy};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

const HINT: &str = "See the API docs for more information about request parameters.";

/// Fields by name.
#[derive(Default)]
pub(super) struct Fields<'a> {
    values: Cow<'a, Map<String, Value>>,
    /// Where they are in the request, for messages.
    place: Option<(&'a str, Option<usize>)>,
}

impl Fields<'_> {
    /// Of a query string; a name that comes several times is a list.
    pub(super) fn of_query(query: &str) -> Fields<'static> {
        let mut values: Map<String, Value> = Map::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match values.get_mut(name.as_ref()) {
                None => drop(values.insert(name.into_owned(), Value::String(value.into_owned()))),
                Some(Value::Array(all)) => all.push(Value::String(value.into_owned())),
                Some(first) => *first = Value::Array(vec![first.take(), Value::String(value.into_owned())]),
            }
        }
        Fields { values: Cow::Owned(values), place: None }
    }

    /// Of a body; old clients send JSON within a JSON text.
    pub(super) fn of_body(body: &[u8]) -> Answer<Fields<'static>> {
        let read = |bytes: &[u8]| -> Answer<Value> {
            serde_json::from_slice(bytes).map_err(|why| Failure::invalid(format!("The request is no JSON: {why}")))
        };
        let value = if body.is_empty() { Value::Null } else { read(body)? };
        let value = if let Value::String(text) = value { read(text.as_bytes())? } else { value };
        match value {
            Value::Object(values) => Ok(Fields { values: Cow::Owned(values), place: None }),
            Value::Null => Ok(Fields::default()),
            _ => Err(Failure::invalid("The request is no JSON object")),
        }
    }

    fn name(&self, name: &str) -> String {
        match self.place {
            None => name.to_owned(),
            Some((of, None)) => format!("{of}.{name}"),
            Some((of, Some(place))) => format!("{of}[{place}].{name}"),
        }
    }

    fn invalid(&self, name: &str, value: &Value) -> Failure {
        let kind = match value {
            Value::Null => "NoneType",
            Value::Bool(_) => "bool",
            Value::Number(number) if number.is_f64() => "float",
            Value::Number(_) => "int",
            Value::String(_) => "str",
            Value::Array(_) => "list",
            Value::Object(_) => "dict",
        };
        Failure::invalid(format!(
            "Invalid value {value} for parameter '{}' supplied: Hint: Value was of type '{kind}'. {HINT}",
            self.name(name)
        ))
    }

    /// What a message says of a value that is refused.
    pub(super) fn refused(&self, name: &str, value: &str, why: &str) -> Failure {
        let value = Value::String(value.to_owned());
        Failure::invalid(format!("Invalid value {value} for parameter '{}' supplied: {why}", self.name(name)))
    }

    fn missing(&self, name: &str) -> Failure {
        Failure::invalid(format!("Missing value for required parameter '{}'. {HINT}", self.name(name)))
    }

    fn value(&self, name: &str) -> Option<&Value> {
        self.values.get(name).filter(|value| !value.is_null())
    }

    /// A text.
    pub(super) fn text(&self, name: &str) -> Answer<Option<String>> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(self.invalid(name, other)),
        }
    }

    /// A text that is not empty.
    pub(super) fn word(&self, name: &str) -> Answer<Option<String>> {
        Ok(self.text(name)?.filter(|text| !text.is_empty()))
    }

    /// A text that must be there and not be empty.
    pub(super) fn required(&self, name: &str) -> Answer<String> {
        self.word(name)?.ok_or_else(|| self.missing(name))
    }

    /// A key with its value.
    pub(super) fn pair(&self) -> Answer<(String, String)> {
        Ok((self.required("key")?, self.text("value")?.unwrap_or_default()))
    }

    /// The uid of a run, by its new or its old name.
    pub(super) fn run(&self) -> Answer<String> {
        match self.word("run_id")? {
            Some(run) => Ok(run),
            None => self.word("run_uuid")?.ok_or_else(|| self.missing("run_id")),
        }
    }

    /// A whole number, also as text.
    pub(super) fn integer(&self, name: &str) -> Answer<Option<i64>> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let number = match value {
            Value::Number(number) => number.as_i64().or_else(|| whole(number.as_f64()?)),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        number.map(Some).ok_or_else(|| self.invalid(name, value))
    }

    /// A whole number that must be there.
    pub(super) fn required_integer(&self, name: &str) -> Answer<i64> {
        self.integer(name)?.ok_or_else(|| self.missing(name))
    }

    /// A number that must be there; what is none comes as text.
    pub(super) fn required_number(&self, name: &str) -> Answer<f64> {
        let value = self.value(name).ok_or_else(|| self.missing(name))?;
        let number = match value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => match text.as_str() {
                "NaN" => Some(f64::NAN),
                "Infinity" => Some(f64::INFINITY),
                "-Infinity" => Some(f64::NEG_INFINITY),
                text => text.parse().ok(),
            },
            _ => None,
        };
        number.ok_or_else(|| self.invalid(name, value))
    }

    /// The fields of each entry of a list; empty where it is not there.
    pub(super) fn list<'b>(&'b self, name: &'b str) -> Answer<Vec<Fields<'b>>> {
        let entries = match self.value(name) {
            None => return Ok(Vec::new()),
            Some(Value::Array(entries)) => entries,
            Some(other) => return Err(self.invalid(name, other)),
        };
        let of = |(place, entry): (usize, &'b Value)| match entry {
            Value::Object(values) => Ok(Fields { values: Cow::Borrowed(values), place: Some((name, Some(place))) }),
            other => Err(self.invalid(name, other)),
        };
        entries.iter().enumerate().map(of).collect()
    }

    /// A list of texts; one text is a list of one, as queries have it.
    pub(super) fn texts(&self, name: &str) -> Answer<Vec<String>> {
        let text = |value: &Value| match value {
            Value::String(text) => Ok(text.clone()),
            other => Err(self.invalid(name, other)),
        };
        match self.value(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(entries)) => entries.iter().map(text).collect(),
            Some(value @ Value::String(_)) => Ok(vec![text(value)?]),
            Some(other) => Err(self.invalid(name, other)),
        }
    }

    /// The fields of an object.
    pub(super) fn object<'b>(&'b self, name: &'b str) -> Answer<Fields<'b>> {
        match self.value(name) {
            Some(Value::Object(values)) => Ok(Fields { values: Cow::Borrowed(values), place: Some((name, None)) }),
            Some(other) => Err(self.invalid(name, other)),
            None => Err(self.missing(name)),
        }
    }

    /// Yes or no; no where nothing is said.
    pub(super) fn flag(&self, name: &str) -> Answer<bool> {
        self.flag_or(name, false)
    }

    /// Yes or no, with what holds where nothing is said.
    pub(super) fn flag_or(&self, name: &str, usual: bool) -> Answer<bool> {
        match self.value(name) {
            None => Ok(usual),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(true),
            Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(false),
            Some(other) => Err(self.invalid(name, other)),
        }
    }

    /// The same with what the path of the request says.
    pub(super) fn with(mut self, of_path: HashMap<String, String>) -> Self {
        if of_path.is_empty() {
            return self;
        }
        self.values.to_mut().extend(of_path.into_iter().map(|(name, value)| (name, Value::String(value))));
        self
    }

    /// A list of key and value.
    pub(super) fn pairs(&self, name: &str) -> Answer<BTreeMap<String, String>> {
        self.list(name)?.iter().map(Fields::pair).collect()
    }

    /// How many are wanted, at most; `usual` where nothing is said.
    pub(super) fn count(&self, name: &str, usual: usize, most: usize) -> Answer<usize> {
        match self.integer(name)? {
            None => Ok(usual),
            Some(count) if (1..=most as i64).contains(&count) => Ok(count as usize),
            Some(count) => Err(Failure::invalid(format!(
                "Invalid value {count} for parameter '{name}' supplied: It must be at least 1 and at most {most}. {HINT}"
            ))),
        }
    }

    /// Where a page begins: how many come before it.
    pub(super) fn offset(&self) -> Answer<usize> {
        let Some(token) = self.word("page_token")? else { return Ok(0) };
        let offset = token.strip_prefix(PAGE).and_then(|offset| offset.parse::<u32>().ok());
        offset.map(|offset| offset as usize).ok_or_else(|| Failure::invalid(format!("Invalid page token: {token:?}")))
    }

    /// Which page is wanted, of how many at most; `usual` where nothing is said.
    pub(super) fn page(&self, usual: usize, most: usize) -> Answer<Page> {
        Ok(Page { limit: self.count("max_results", usual, most)?, offset: self.offset()? })
    }

    /// What is searched for.
    pub(super) fn filter(&self) -> Answer<Vec<Comparison>> {
        search::parse(&self.text("filter")?.unwrap_or_default()).map_err(invalid)
    }

    /// In which order.
    pub(super) fn order(&self) -> Answer<Vec<SortBy>> {
        self.texts("order_by")?.iter().map(|text| search::parse_sort(text).map_err(invalid)).collect()
    }
}

/// A float as the whole number that it is, if it is one of 64 bits.
fn whole(number: f64) -> Option<i64> {
    const END: f64 = (1_u64 << 63) as f64;
    (number.fract() == 0.0 && (-END..END).contains(&number)).then_some(number as i64)
}

/// A part of what is found.
pub(super) struct Page {
    pub(super) limit: usize,
    pub(super) offset: usize,
}

impl Page {
    /// The answer with the page of all that was found.
    pub(super) fn of<T>(&self, list: &str, found: &[T], tell: impl Fn(&T) -> Answer) -> Answer {
        let told = found.iter().skip(self.offset).take(self.limit).map(tell).collect::<Answer<Value>>()?;
        Ok(self.told(list, told, found.len() > self.offset + self.limit))
    }

    /// The answer with a page, and the token of the next where there is more.
    pub(super) fn told(&self, list: &str, page: Value, has_more: bool) -> Value {
        let mut answer = object([(list, page)]);
        if has_more {
            answer["next_page_token"] = page_token(self.offset + self.limit);
        }
        answer
    }
}

pub(super) fn invalid(error: SearchError) -> Failure {
    Failure::invalid(error.0)
}

/// What page tokens begin with.
const PAGE: &str = "after-";

/// The token of the page that begins after so many.
pub(super) fn page_token(offset: usize) -> Value {
    Value::String(format!("{PAGE}{offset}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn whole_numbers_beyond_64_bits_are_refused_and_never_saturate() {
        let integer = |value: Value| {
            let values = Map::from_iter([("step".to_owned(), value)]);
            Fields { values: Cow::Owned(values), place: None }.integer("step").ok().flatten()
        };
        for (value, number) in [
            (json!(i64::MAX), i64::MAX),
            (json!(-9_223_372_036_854_775_808_f64), i64::MIN),
            (json!(3.0), 3),
            (json!("-7"), -7),
        ] {
            assert_eq!(integer(value.clone()), Some(number), "{value}");
        }
        for value in [json!(1_u64 << 63), json!(u64::MAX), json!(9_223_372_036_854_775_808_f64), json!(1e300)] {
            assert_eq!(integer(value.clone()), None, "{value}");
        }
        for value in [json!(-1e300), json!(1.5), json!("9223372036854775808"), json!("1e3"), json!(true)] {
            assert_eq!(integer(value.clone()), None, "{value}");
        }
    }
}
