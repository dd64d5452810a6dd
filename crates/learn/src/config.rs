//! The config of a training run: typed, every field with a default and a line of explanation.
//!
//! As typed -> resolved: [`Config::resolve`] takes TOML text and overrides by dotted path, and refuses what it does not
//! know, naming the nearest valid key.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use toml::{Table, Value};

/// A config that does not read or does not make sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The text is not TOML.
    #[error("the config is not valid TOML: {0}")]
    Syntax(String),
    /// A key that is none.
    #[error("there is no config key {key:?}{}", nearest.as_ref().map(|key| format!("; did you mean {key:?}?")).unwrap_or_default())]
    UnknownKey {
        /// The key.
        key: String,
        /// The valid key that looks most like it.
        nearest: Option<String>,
    },
    /// A value of the wrong type, or a word that is no choice.
    #[error("{key} takes {expected}, not {found}")]
    WrongType {
        /// The key.
        key: String,
        /// What it takes.
        expected: String,
        /// What was given.
        found: String,
    },
    /// An override without `=`.
    #[error("an override is written key=value, as in optimizer.lr=3e-4, not {0:?}")]
    NotAnOverride(String),
    /// A value out of its range.
    #[error("{key} must be {range}, not {found}")]
    OutOfRange {
        /// The key.
        key: &'static str,
        /// What it must be.
        range: &'static str,
        /// What was given.
        found: String,
    },
}

/// The model's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelName {
    /// Two convolutions and two linear layers.
    #[default]
    SmallCnn,
    /// The residual network of 18 layers.
    Resnet18,
    /// The residual network of 34 layers.
    Resnet34,
    /// The residual network of 50 layers, with bottlenecks.
    Resnet50,
    /// The large MobileNet of the third version.
    #[serde(rename = "mobilenet-v3-large")]
    MobilenetV3Large,
    /// The tiny vision transformer, with patches of 16 pixels.
    #[serde(rename = "vit-ti16")]
    VitTi16,
    /// The small vision transformer, with patches of 16 pixels.
    #[serde(rename = "vit-s16")]
    VitS16,
}

/// What of a model stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Frozen {
    /// Nothing: all of it learns.
    #[default]
    None,
    /// All but the last layer.
    Backbone,
}

/// In which type a model computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// 32 bits throughout.
    #[default]
    Fp32,
    /// Images and what is made of them in bfloat16; parameters, their gradients and all sums in 32 bits.
    Bf16,
}

/// The optimizer's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OptimizerName {
    /// Adam with decoupled weight decay.
    #[default]
    Adamw,
    /// Stochastic gradient descent with momentum.
    Sgd,
}

/// The schedule's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleName {
    /// Half a cosine down to the floor.
    #[default]
    Cosine,
    /// No change after the warm-up.
    Constant,
}

/// Everything that decides what a run computes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// What computes: "auto", "cpu" or "cuda".
    pub device: DeviceWord,
    /// The seed of every random number.
    pub seed: u64,
    /// Training length and bookkeeping.
    pub train: Train,
    /// The model.
    pub model: Model,
    /// The input.
    pub data: Data,
    /// The optimizer.
    pub optimizer: Optimizer,
    /// The learning rate over the steps.
    pub schedule: Schedule,
    /// Random changes of the training images.
    pub augment: Augment,
}

/// The device as a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceWord {
    /// The GPU when there is one.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// The GPU.
    Cuda,
}

impl From<DeviceWord> for crate::DeviceChoice {
    fn from(word: DeviceWord) -> Self {
        match word {
            DeviceWord::Auto => crate::DeviceChoice::Auto,
            DeviceWord::Cpu => crate::DeviceChoice::Cpu,
            DeviceWord::Cuda => crate::DeviceChoice::Cuda,
        }
    }
}

macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty = $default:expr,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }

        impl Default for $name {
            fn default() -> Self { $name { $($field: $default,)* } }
        }
    };
}

section! {
    /// Training length and bookkeeping.
    Train {
        /// How often every training sample is seen.
        epochs: u64 = 20,
        /// Samples of an optimizer step.
        batch_size: usize = 64,
        /// The share of the target that is spread over all classes.
        label_smoothing: f64 = 0.0,
        /// Epochs without a better validation accuracy after which training ends; 0 for never.
        early_stop_epochs: u64 = 0,
        /// Steps between two points of the training curves.
        log_every_steps: u64 = 5,
        /// Threads that read and augment images.
        loader_threads: usize = 2,
        /// "fp32" or, on a GPU, "bf16": the type in which images are computed; parameters are always fp32.
        precision: Precision = Precision::Fp32,
    }
}

section! {
    /// The model.
    Model {
        /// "small-cnn", "resnet18", "resnet34", "resnet50", "mobilenet-v3-large", "vit-ti16" or "vit-s16".
        name: ModelName = ModelName::SmallCnn,
        /// Channels of the first stage, or values of a token; 0 for the model's own.
        width: usize = 0,
        /// "none", or "backbone": all but the last layer stays as it is.
        frozen: Frozen = Frozen::None,
    }
}

section! {
    /// The input.
    Data {
        /// The side of the square input, in pixels; 0 to take it from the images.
        image_size: usize = 0,
        /// What is subtracted from each channel of values in 0..1.
        mean: [f64; 3] = [0.485, 0.456, 0.406],
        /// What each channel is then divided by.
        std: [f64; 3] = [0.229, 0.224, 0.225],
    }
}

section! {
    /// The optimizer.
    Optimizer {
        /// "adamw" or "sgd".
        name: OptimizerName = OptimizerName::Adamw,
        /// The learning rate after the warm-up.
        lr: f64 = 2e-3,
        /// Weight decay; norms and biases have none.
        weight_decay: f64 = 1e-2,
        /// The share of the old velocity that SGD keeps.
        momentum: f64 = 0.9,
        /// Whether SGD looks ahead along its velocity.
        nesterov: bool = true,
        /// The decay of AdamW's first moment.
        beta1: f64 = 0.9,
        /// The decay of AdamW's second moment.
        beta2: f64 = 0.999,
    }
}

section! {
    /// The learning rate over the steps.
    Schedule {
        /// "cosine" or "constant".
        name: ScheduleName = ScheduleName::Cosine,
        /// Epochs over which the learning rate rises from 0.
        warmup_epochs: f64 = 1.0,
        /// The share of the learning rate that is left at the end.
        floor: f64 = 0.01,
    }
}

section! {
    /// Random changes of the training images.
    Augment {
        /// The greatest shift, as a share of the image's side.
        shift: f64 = 0.1,
        /// Whether to mirror half of the images left to right.
        flip: bool = false,
        /// The least share of the image's area that a random crop keeps; 1 for no crop.
        crop: f64 = 1.0,
        /// The greatest ratio of the longer side of a random crop to the shorter; 1 for square crops.
        ratio: f64 = 1.0,
        /// The greatest change of brightness, contrast and saturation, as a share.
        color: f64 = 0.0,
    }
}

impl Augment {
    /// The side of the square images that crops of `size` pixels are taken from: large enough that a crop of mean area
    /// is not enlarged.
    pub fn source_side(&self, size: usize) -> usize {
        let mean_area = (1.0 + self.crop) / 2.0;
        (size as f64 / mean_area.sqrt()).ceil() as usize
    }
}

/// One line of help for each key, in the order of a config file.
pub const EXPLAINED: &[(&str, &str)] = &[
    ("device", "What computes: \"auto\", \"cpu\" or \"cuda\"."),
    ("seed", "The seed of every random number."),
    ("train.epochs", "How often every training sample is seen."),
    ("train.batch_size", "Samples of an optimizer step."),
    ("train.label_smoothing", "The share of the target that is spread over all classes."),
    ("train.early_stop_epochs", "Epochs without a better validation accuracy after which training ends; 0 for never."),
    ("train.log_every_steps", "Steps between two points of the training curves."),
    ("train.loader_threads", "Threads that read and augment images."),
    (
        "train.precision",
        "\"fp32\" or, on a GPU, \"bf16\": the type in which images are computed; parameters are always fp32.",
    ),
    (
        "model.name",
        "\"small-cnn\", \"resnet18\", \"resnet34\", \"resnet50\", \"mobilenet-v3-large\", \"vit-ti16\" or \"vit-s16\".",
    ),
    ("model.width", "Channels of the first stage, or values of a token; 0 for the model's own."),
    ("model.frozen", "\"none\", or \"backbone\": all but the last layer stays as it is."),
    ("data.image_size", "The side of the square input, in pixels; 0 to take it from the images."),
    ("data.mean", "What is subtracted from each channel of values in 0..1."),
    ("data.std", "What each channel is then divided by."),
    ("optimizer.name", "\"adamw\" or \"sgd\"."),
    ("optimizer.lr", "The learning rate after the warm-up."),
    ("optimizer.weight_decay", "Weight decay; norms and biases have none."),
    ("optimizer.momentum", "The share of the old velocity that SGD keeps."),
    ("optimizer.nesterov", "Whether SGD looks ahead along its velocity."),
    ("optimizer.beta1", "The decay of AdamW's first moment."),
    ("optimizer.beta2", "The decay of AdamW's second moment."),
    ("schedule.name", "\"cosine\" or \"constant\"."),
    ("schedule.warmup_epochs", "Epochs over which the learning rate rises from 0."),
    ("schedule.floor", "The share of the learning rate that is left at the end."),
    ("augment.shift", "The greatest shift, as a share of the image's side."),
    ("augment.flip", "Whether to mirror half of the images left to right."),
    ("augment.crop", "The least share of the image's area that a random crop keeps; 1 for no crop."),
    ("augment.ratio", "The greatest ratio of the longer side of a random crop to the shorter; 1 for square crops."),
    ("augment.color", "The greatest change of brightness, contrast and saturation, as a share."),
];

impl Config {
    /// The config of this TOML text with these overrides (`key=value`, the key a dotted path).
    pub fn resolve(text: &str, overrides: &[String]) -> Result<Config, ConfigError> {
        let mut given: Table = text.parse().map_err(|why: toml::de::Error| ConfigError::Syntax(why.to_string()))?;
        for text in overrides {
            let (key, value) = text.split_once('=').ok_or_else(|| ConfigError::NotAnOverride(text.clone()))?;
            set(&mut given, key.trim(), parsed(value.trim()))?;
        }
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
            let expected = EXPLAINED.iter().find(|(known, _)| *known == key).map_or("another value", |(_, help)| help);
            let found = leaves(&given).get(&key).map_or_else(|| why.message().to_owned(), ToString::to_string);
            ConfigError::WrongType { key, expected: expected.trim_end_matches('.').to_owned(), found }
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

    /// The config as TOML text.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("BUG: a config is plain data")
    }

    fn table(&self) -> Table {
        Table::try_from(self).expect("BUG: a config is plain data")
    }

    fn check(&self) -> Result<(), ConfigError> {
        let rules: [(&'static str, &'static str, f64, bool); 14] = [
            ("train.epochs", "at least 1", self.train.epochs as f64, self.train.epochs >= 1),
            ("train.batch_size", "at least 1", self.train.batch_size as f64, self.train.batch_size >= 1),
            ("train.log_every_steps", "at least 1", self.train.log_every_steps as f64, self.train.log_every_steps >= 1),
            (
                "train.loader_threads",
                "from 1 to 256",
                self.train.loader_threads as f64,
                (1..=256).contains(&self.train.loader_threads),
            ),
            (
                "train.label_smoothing",
                "from 0 up to 1",
                self.train.label_smoothing,
                (0.0..1.0).contains(&self.train.label_smoothing),
            ),
            (
                "data.image_size",
                "0, or from 8 to 1024",
                self.data.image_size as f64,
                matches!(self.data.image_size, 0 | 8..=1024),
            ),
            (
                "data.std",
                "above 0",
                self.data.std.into_iter().fold(1.0, f64::min),
                self.data.std.iter().all(|&std| std > 0.0),
            ),
            ("optimizer.lr", "above 0", self.optimizer.lr, self.optimizer.lr > 0.0 && self.optimizer.lr.is_finite()),
            ("optimizer.weight_decay", "at least 0", self.optimizer.weight_decay, self.optimizer.weight_decay >= 0.0),
            (
                "optimizer.momentum",
                "from 0 up to 1",
                self.optimizer.momentum,
                (0.0..1.0).contains(&self.optimizer.momentum),
            ),
            ("schedule.warmup_epochs", "at least 0", self.schedule.warmup_epochs, self.schedule.warmup_epochs >= 0.0),
            ("augment.shift", "from 0 to 0.5", self.augment.shift, (0.0..=0.5).contains(&self.augment.shift)),
            (
                "augment.crop",
                "above 0 and at most 1",
                self.augment.crop,
                self.augment.crop > 0.0 && self.augment.crop <= 1.0,
            ),
            ("augment.ratio", "from 1 to 4", self.augment.ratio, (1.0..=4.0).contains(&self.augment.ratio)),
        ];
        match rules.into_iter().find(|rule| !rule.3) {
            Some((key, range, found, _)) => Err(ConfigError::OutOfRange { key, range, found: found.to_string() }),
            None => Ok(()),
        }
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
    let best = EXPLAINED.iter().map(|(known, _)| (*known, likeness(known))).max_by(|a, b| a.1.total_cmp(&b.1));
    best.filter(|(_, likeness)| *likeness > 0.75).map(|(known, _)| known.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(text: &str, overrides: &[&str]) -> Result<Config, ConfigError> {
        Config::resolve(text, &overrides.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn every_key_is_explained_and_every_explanation_is_a_key() {
        let keys: Vec<String> = Config::default().params().into_keys().collect();
        let mut explained: Vec<String> = EXPLAINED.iter().map(|(key, _)| (*key).to_owned()).collect();
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
    fn the_resolved_text_reads_back_as_the_same_config() {
        let config = resolve("", &["optimizer.lr=0.1", "augment.flip=true"]).unwrap();
        assert_eq!(Config::resolve(&config.to_toml(), &[]).unwrap(), config);
    }
}
