//! Names of run values in filters, orders and table columns.
//!
//! A name is a field (`status`), or the key of a param, metric or tag. The prefixes `params.`, `metrics.` and `tags.`
//! select the kind; an unprefixed name is looked up as a param, then a metric, then a tag. A metric is its last value;
//! `min:NAME` and `max:NAME` are its extremes.

use crate::nearest;

/// Fields of a run.
pub const FIELDS: [&str; 13] = [
    "id",
    "run",
    "uid",
    "name",
    "status",
    "experiment",
    "created",
    "started",
    "duration",
    "dataset",
    "note",
    "user",
    "client",
];

/// The numeric ones among these.
const NUMERIC_FIELDS: [&str; 6] = ["id", "run", "created", "started", "duration", "dataset"];

/// Which value of a metric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Which {
    /// The last one.
    #[default]
    Last,
    /// The least finite one.
    Min,
    /// The greatest finite one.
    Max,
}

impl Which {
    const ALL: [(Which, &'static str); 3] = [(Which::Last, "last:"), (Which::Min, "min:"), (Which::Max, "max:")];

    /// Splits off a `min:` or `max:` prefix; `None` without one.
    pub fn split(name: &str) -> Option<(Which, &str)> {
        Which::ALL.into_iter().find_map(|(which, prefix)| Some((which, name.strip_prefix(prefix)?)))
    }
}

/// A resolved name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column<'a> {
    /// One of [`FIELDS`].
    Field(&'a str),
    /// A param.
    Param(&'a str),
    /// A metric.
    Metric(Which, &'a str),
    /// A tag.
    Tag(&'a str),
    /// Any of these, by its key.
    Any(&'a str),
}

/// The column of a key.
type OfKey = fn(&str) -> Column<'_>;

/// Prefixes of the kinds; the singular ones are those of MLflow's clients.
const KINDS: [(&str, OfKey); 6] = [
    ("params.", |key| Column::Param(key)),
    ("param.", |key| Column::Param(key)),
    ("metrics.", |key| Column::Metric(Which::Last, key)),
    ("metric.", |key| Column::Metric(Which::Last, key)),
    ("tags.", |key| Column::Tag(key)),
    ("tag.", |key| Column::Tag(key)),
];

impl<'a> Column<'a> {
    /// Resolves a name.
    pub fn of(name: &'a str) -> Column<'a> {
        if let Some((which, key)) = Which::split(name) {
            let key = ["metrics.", "metric."].iter().find_map(|kind| key.strip_prefix(kind)).unwrap_or(key);
            return Column::Metric(which, key);
        }
        if FIELDS.contains(&name) {
            return Column::Field(name);
        }
        let kind = KINDS.into_iter().find_map(|(kind, of)| Some(of(name.strip_prefix(kind)?)));
        kind.unwrap_or(Column::Any(name))
    }
}

/// Splits a list of names at its commas. A comma in double quotes is part of a name, and so is a quote after a
/// backslash.
///
/// ```
/// # use assay_domain::column::listed;
/// assert_eq!(listed(r#"run, "a,b",max:loss"#), ["run", "a,b", "max:loss"]);
/// ```
pub fn listed(list: &str) -> Vec<String> {
    let (mut names, mut name, mut is_open) = (Vec::new(), String::new(), false);
    let mut characters = list.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' if characters.peek() == Some(&'"') => name.extend(characters.next()),
            '"' => is_open = !is_open,
            ',' if !is_open => names.push(std::mem::take(&mut name)),
            other => name.push(other),
        }
    }
    names.push(name);
    names.iter().map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

/// The keys in use by runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Names<'a> {
    /// Of params.
    pub params: &'a [String],
    /// Of metrics.
    pub metrics: &'a [String],
    /// Of tags.
    pub tags: &'a [String],
}

/// No run has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no run has {name:?}{}",
    nearest.as_ref().map(|name| format!("; did you mean {name:?}?")).unwrap_or_default()
)]
pub struct UnknownName {
    /// The name.
    pub name: String,
    /// The most similar known name.
    pub nearest: Option<String>,
}

impl Names<'_> {
    /// Checks that some run has this name.
    ///
    /// # Errors
    /// [`UnknownName`], with the nearest known name if one is similar.
    pub fn check(&self, name: &str) -> Result<(), UnknownName> {
        let has = |names: &[String], key: &str| names.iter().any(|known| known == key);
        let literally = |key: &str| has(self.params, key) || has(self.metrics, key) || has(self.tags, key);
        let (key, known): (&str, Vec<&str>) = match Column::of(name) {
            Column::Field(_) => return Ok(()),
            Column::Param(key) => (key, texts(self.params)),
            Column::Metric(_, key) => (key, texts(self.metrics)),
            Column::Tag(key) => (key, texts(self.tags)),
            Column::Any(key) => {
                (key, [FIELDS.to_vec(), texts(self.params), texts(self.metrics), texts(self.tags)].concat())
            }
        };
        if known.contains(&key) || literally(name) {
            return Ok(());
        }
        let kind = &name[..name.len() - key.len()];
        let nearest = nearest(key, known).map(|known| format!("{kind}{known}"));
        Err(UnknownName { name: name.to_owned(), nearest })
    }

    /// Whether all values under this name are numbers.
    pub fn is_numeric(&self, name: &str) -> bool {
        let has = |names: &[String]| names.iter().any(|known| known == name);
        let is_text = has(self.params) || has(self.tags);
        match Column::of(name) {
            Column::Field(field) => NUMERIC_FIELDS.contains(&field),
            Column::Metric(..) => !is_text,
            Column::Any(_) => has(self.metrics) && !is_text,
            Column::Param(_) | Column::Tag(_) => false,
        }
    }
}

fn texts(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_it_is_or_may_be_anything() {
        for (name, column) in [
            ("status", Column::Field("status")),
            ("params.lr", Column::Param("lr")),
            ("param.lr", Column::Param("lr")),
            ("metrics.val/loss", Column::Metric(Which::Last, "val/loss")),
            ("min:val/loss", Column::Metric(Which::Min, "val/loss")),
            ("max:metrics.val/loss", Column::Metric(Which::Max, "val/loss")),
            ("tags.mlflow.user", Column::Tag("mlflow.user")),
            ("optimizer.lr", Column::Any("optimizer.lr")),
        ] {
            assert_eq!(Column::of(name), column, "{name}");
        }
    }

    #[test]
    fn a_quoted_name_in_a_list_keeps_its_commas_and_quotes() {
        assert_eq!(listed(r#"run,"a,b" , max:"x,y",q\"q,,"#), ["run", "a,b", "max:x,y", "q\"q"]);
        assert_eq!(listed(r"C:\a"), [r"C:\a"]);
        assert_eq!(listed(" , "), [""; 0]);
    }

    #[test]
    fn only_metrics_and_some_fields_are_numbers_throughout() {
        let [params, metrics] =
            [&["lr"][..], &["loss", "lr"]].map(|names| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        let names = Names { params: &params, metrics: &metrics, tags: &[] };
        let are_numbers = |name: &&str| names.is_numeric(name);
        assert!(["loss", "metrics.lr", "min:loss", "duration", "run"].iter().all(are_numbers));
        assert!(!["lr", "params.lr", "status", "name", "nosuch", "tags.loss"].iter().any(are_numbers));
    }

    #[test]
    fn the_nearest_known_name_is_offered() {
        let [params, metrics, tags] =
            [&["lr", "params.odd", "weight_decay"][..], &["val/loss", "val/accuracy"], &["team"]]
                .map(|names| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        let names = Names { params: &params, metrics: &metrics, tags: &tags };
        for known in
            ["lr", "params.lr", "params.odd", "min:val/loss", "metrics.val/loss", "tags.team", "team", "status"]
        {
            assert_eq!(names.check(known), Ok(()), "{known}");
        }
        for (name, nearest) in [
            ("weight-decay", Some("weight_decay")),
            ("params.weight_dcay", Some("params.weight_decay")),
            ("min:val/los", Some("min:val/loss")),
            ("accuracy", Some("val/accuracy")),
            ("Status", Some("status")),
            ("tags.lr", None),
            ("nosuch", None),
        ] {
            let unknown = names.check(name).unwrap_err();
            assert_eq!(unknown.nearest.as_deref(), nearest, "{name}");
            assert!(unknown.to_string().contains(name));
        }
    }
}
