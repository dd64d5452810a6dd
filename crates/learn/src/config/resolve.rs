//! From text to a config: recipe, file and overrides, each over the one before it.

use super::{Config, ConfigError, Recipe};
use std::collections::BTreeMap;
use toml::{Table, Value};

/// The format of the configs that this version writes. A field that is renamed or changes its meaning makes a new one, and
/// [`upgraded`] a step from the one before.
const FORMAT: i64 = 1;
/// How deep files may include each other.
const DEPTH: usize = 16;

impl Recipe {
    /// The recipe of this name.
    ///
    /// # Errors
    /// When there is none.
    pub fn named(name: &str) -> Result<Recipe, ConfigError> {
        Ok(Config::resolve("", &[format!("recipe={name}")])?.recipe)
    }

    /// Its text.
    pub fn text(self) -> &'static str {
        match self {
            Recipe::None => "",
            Recipe::Quick => include_str!("../recipes/quick.toml"),
            Recipe::Finetune => include_str!("../recipes/finetune.toml"),
            Recipe::FromScratch => include_str!("../recipes/from-scratch.toml"),
        }
    }
}

impl Config {
    /// The config of this TOML text with these overrides (`key=value`, the key a dotted path).
    pub fn resolve(text: &str, overrides: &[String]) -> Result<Config, ConfigError> {
        let mut given = table_of(text)?;
        for text in overrides {
            let (key, value) = text.split_once('=').ok_or_else(|| ConfigError::NotAnOverride(text.clone()))?;
            set(&mut given, key.trim(), parsed(value.trim()))?;
        }
        let given = upgraded(given)?;
        let given = match given.get("recipe").map(|word| word.clone().try_into::<Recipe>()) {
            Some(Ok(recipe)) => merged(table_of(recipe.text())?, given),
            Some(Err(_)) | None => given, // what is wrong with the word is told below
        };
        let defaults = Config::default().table();
        let mut resolved = defaults.clone();
        for (key, value) in leaves(&given) {
            let Some(default) = leaves(&defaults).remove(&key) else {
                return Err(ConfigError::UnknownKey { nearest: nearest(&key), key });
            };
            let value = fitted(&key, value, &default)?;
            set(&mut resolved, &key, value)?;
        }
        // The types fit by now; what can still be wrong is a word that is no choice, or a negative count.
        let config: Config = resolved.try_into().map_err(|why: toml::de::Error| {
            let key = leaves(&given).into_keys().find(|key| {
                let mut alone = Config::default().table();
                set(&mut alone, key, leaves(&given)[key].clone()).is_err() || alone.try_into::<Config>().is_err()
            });
            let key = key.unwrap_or_default();
            let choices = Config::explained().into_iter().find(|field| field.key == key).map(|field| field.choices);
            let words: Vec<&str> = choices.unwrap_or_default().iter().map(|(word, _)| *word).collect();
            let expected = if words.is_empty() { "a whole number from 0 on".to_owned() } else { words.join(", ") };
            let found = leaves(&given).get(&key).map_or_else(|| why.message().to_owned(), ToString::to_string);
            ConfigError::WrongType { key, expected, found }
        })?;
        config.check()?;
        Ok(config)
    }

    /// Every field by dotted path, as a run's params.
    pub fn params(&self) -> BTreeMap<String, String> {
        let text = |value: Value| match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        leaves(&self.table()).into_iter().map(|(key, value)| (key, text(value))).collect()
    }

    /// The config as TOML text, with the format that it has.
    pub fn to_toml(&self) -> String {
        let text = toml::to_string_pretty(self).expect("BUG: a config is plain data");
        format!("format = {FORMAT}\n{text}")
    }

    fn table(&self) -> Table {
        Table::try_from(self).expect("BUG: a config is plain data")
    }
}

/// A config text with the files that it includes (`include = ["base.toml"]`) in it, each below those after it and below the
/// text itself; `read` gives a file's text.
pub fn compose(text: &str, read: &mut dyn FnMut(&str) -> Result<String, String>) -> Result<String, ConfigError> {
    let table = table_of(text)?;
    if !table.contains_key("include") {
        return Ok(text.to_owned());
    }
    let table = included(table, read, DEPTH)?;
    Ok(toml::to_string(&table).expect("BUG: a table is TOML"))
}

fn included(
    mut table: Table,
    read: &mut dyn FnMut(&str) -> Result<String, String>,
    depth: usize,
) -> Result<Table, ConfigError> {
    let Some(files) = table.remove("include") else { return Ok(table) };
    let files: Vec<String> = files
        .try_into()
        .map_err(|_| ConfigError::Include("include takes a list of files, as in [\"base.toml\"]".into()))?;
    let mut below = Table::new();
    for file in files {
        if depth == 0 {
            return Err(ConfigError::Include(format!("{file} includes itself")));
        }
        let text = read(&file).map_err(ConfigError::Include)?;
        below = merged(below, included(table_of(&text)?, read, depth - 1)?);
    }
    Ok(merged(below, table))
}

fn table_of(text: &str) -> Result<Table, ConfigError> {
    text.parse().map_err(|why: toml::de::Error| ConfigError::Syntax(why.to_string()))
}

/// The values of `over`, and those of `below` that it does not have.
fn merged(mut below: Table, over: Table) -> Table {
    for (key, value) in over {
        let value = match (below.remove(&key), value) {
            (Some(Value::Table(below)), Value::Table(over)) => Value::Table(merged(below, over)),
            (_, over) => over,
        };
        below.insert(key, value);
    }
    below
}

/// A config of any format in that of today.
fn upgraded(mut table: Table) -> Result<Table, ConfigError> {
    match table.remove("format") {
        Some(Value::Integer(found)) if found > FORMAT => Err(ConfigError::Newer { found, known: FORMAT }),
        // Every field of format 0 has the same name and meaning in format 1.
        _ => Ok(table),
    }
}

fn leaves(table: &Table) -> BTreeMap<String, Value> {
    fn walk(prefix: &str, table: &Table, out: &mut BTreeMap<String, Value>) {
        for (key, value) in table {
            let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            match value {
                Value::Table(inner) => walk(&path, inner, out),
                leaf => {
                    out.insert(path, leaf.clone());
                }
            }
        }
    }
    let mut out = BTreeMap::new();
    walk("", table, &mut out);
    out
}

fn set(table: &mut Table, key: &str, value: Value) -> Result<(), ConfigError> {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
            Ok(())
        }
        Some((head, rest)) => match table.entry(head).or_insert_with(|| Value::Table(Table::new())) {
            Value::Table(inner) => set(inner, rest, value),
            _ => Err(ConfigError::UnknownKey { key: key.to_owned(), nearest: nearest(key) }),
        },
    }
}

/// The value of an override: TOML when it reads as such, else a plain word.
fn parsed(text: &str) -> Value {
    let table: Result<Table, _> = format!("value = {text}").parse();
    table.ok().and_then(|mut table| table.remove("value")).unwrap_or_else(|| Value::String(text.to_owned()))
}

/// The value, when it has the type of the default; a whole number may stand for a float.
fn fitted(key: &str, value: Value, default: &Value) -> Result<Value, ConfigError> {
    let wrong = |found: &Value| ConfigError::WrongType {
        key: key.to_owned(),
        expected: match default {
            Value::String(_) => "a word",
            Value::Integer(_) => "a whole number",
            Value::Float(_) => "a number",
            Value::Boolean(_) => "true or false",
            _ => "a list of three numbers",
        }
        .to_owned(),
        found: found.to_string(),
    };
    match (value, default) {
        (Value::Integer(whole), Value::Float(_)) => Ok(Value::Float(whole as f64)),
        (Value::Array(items), Value::Array(defaults)) => {
            let items =
                items.into_iter().map(|item| fitted(key, item, &Value::Float(0.0))).collect::<Result<Vec<_>, _>>()?;
            if items.len() == defaults.len() { Ok(Value::Array(items)) } else { Err(wrong(&Value::Array(items))) }
        }
        (value, default) if value.same_type(default) => Ok(value),
        (value, _) => Err(wrong(&value)),
    }
}

/// The valid key that looks most like `key`, if any looks much like it (also by its last part alone).
fn nearest(key: &str) -> Option<String> {
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let likeness = |known: &str| {
        let part = strsim::jaro_winkler(&last(key), &last(known)) * 0.95;
        strsim::jaro_winkler(key, known).max(part)
    };
    let known = Config::explained().into_iter().map(|field| (likeness(&field.key), field.key));
    let best = known.max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(likeness, _)| *likeness > 0.75).map(|(_, key)| key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::field::Field;
    use crate::config::{Frozen, ModelName};

    fn resolve(text: &str, overrides: &[&str]) -> Result<Config, ConfigError> {
        Config::resolve(text, &overrides.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn every_key_is_explained_and_every_explanation_is_a_key() {
        let keys: Vec<String> = Config::default().params().into_keys().collect();
        assert!(Config::explained().iter().all(|field| field.help.ends_with('.')));
        let mut explained: Vec<String> = Config::explained().into_iter().map(|field| field.key).collect();
        explained.sort();
        assert_eq!(keys, explained);
    }

    #[test]
    fn overrides_reach_every_field_by_its_path() {
        let config =
            resolve("[train]\nepochs = 3", &["optimizer.lr=3e-4", "model.name=resnet18", "schedule.warmup_epochs=2"])
                .unwrap();
        assert_eq!((config.train.epochs, config.optimizer.lr), (3, 3e-4));
        assert_eq!((config.model.name, config.schedule.warmup_epochs), (ModelName::Resnet18, 2.0));
    }

    #[test]
    fn what_is_wrong_is_named_with_the_nearest_key() {
        let message = |result: Result<Config, ConfigError>| result.unwrap_err().to_string();
        let unknown = message(resolve("", &["optimiser.lr=1"]));
        assert!(unknown.contains("did you mean \"optimizer.lr\""), "{unknown}");
        assert!(message(resolve("[train]\nepoch = 1", &[])).contains("train.epochs"));
        assert!(message(resolve("lr = 1", &[])).contains("optimizer.lr"));
        assert_eq!(message(resolve("", &["train.epochs=many"])), "train.epochs takes a whole number, not \"many\"");
        let choice = message(resolve("", &["model.name=resnet19"]));
        assert!(choice.contains("resnet18") && choice.contains("resnet19"), "{choice}");
        assert!(message(resolve("", &["train.epochs=-1"])).contains("train.epochs"));
        assert!(message(resolve("", &["train.epochs=0"])).contains("at least 1"));
        assert!(message(resolve("x = [", &[])).contains("not valid TOML"));
        assert!(message(resolve("", &["lr"])).contains("key=value"));
        assert!(message(resolve("train = 3", &[])).contains("\"train\""));
    }

    #[test]
    fn a_recipe_is_where_a_config_begins_and_what_is_given_goes_over_it() {
        for (word, _) in Recipe::CHOICES {
            resolve("", &[&format!("recipe={word}")]).unwrap();
        }
        let config = resolve("recipe = \"finetune\"\n[train]\nepochs = 3", &["optimizer.lr=1"]).unwrap();
        assert_eq!((config.train.epochs, config.optimizer.lr, config.model.frozen), (3, 1.0, Frozen::Backbone));
        // What is resolved does not begin with the recipe again.
        let mut again = config.clone();
        again.model.frozen = Frozen::None;
        again.train.unfreeze_epochs = 0;
        assert_eq!(Config::resolve(&again.to_toml(), &[]).unwrap(), again);
    }

    #[test]
    fn a_config_of_the_first_format_still_loads_and_one_of_a_later_one_says_so() {
        let first = "device = \"cpu\"\nseed = 3\n[train]\nepochs = 2\nearly_stop_epochs = 4\n[augment]\nratio = 1.5";
        assert_eq!(resolve(first, &[]).unwrap().train.early_stop_epochs, 4);
        let message = resolve("format = 99", &[]).unwrap_err().to_string();
        assert!(message.contains("format 99") && message.contains("update"), "{message}");
    }

    #[test]
    fn includes_are_merged_in_order_below_the_file_that_names_them() {
        let mut read = |path: &str| match path {
            "a.toml" => Ok("include = [\"b.toml\"]\nseed = 1\n[train]\nepochs = 1".to_owned()),
            "b.toml" => Ok("[train]\nepochs = 9\nbatch_size = 9".to_owned()),
            "loop.toml" => Ok("include = [\"loop.toml\"]".to_owned()),
            other => Err(format!("there is no {other}")),
        };
        let text = compose("include = [\"a.toml\"]\nseed = 2", &mut read).unwrap();
        let config = resolve(&text, &[]).unwrap();
        assert_eq!((config.seed, config.train.epochs, config.train.batch_size), (2, 1, 9));
        let message = |text: &str, read: &mut dyn FnMut(&str) -> Result<String, String>| {
            compose(text, read).unwrap_err().to_string()
        };
        assert!(message("include = [\"loop.toml\"]", &mut read).contains("includes itself"));
        assert!(message("include = [\"c.toml\"]", &mut read).contains("there is no c.toml"));
        assert!(message("include = 3", &mut read).contains("a list of files"));
        let plain = "seed = 1 # stays as it is";
        assert_eq!(compose(plain, &mut read).unwrap(), plain);
    }

    #[test]
    fn the_resolved_text_reads_back_as_the_same_config() {
        let config = resolve("", &["optimizer.lr=0.1", "augment.flip=true"]).unwrap();
        assert_eq!(Config::resolve(&config.to_toml(), &[]).unwrap(), config);
    }
}
