//! What can be wrong with a config.

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
        key: String,
        /// What it must be.
        range: &'static str,
        /// What was given.
        found: String,
    },
    /// Fields that do not go together.
    #[error("{0}")]
    Apart(&'static str),
    /// A config of a later version.
    #[error("the config has format {found}, this program knows formats up to {known}: update the program")]
    Newer {
        /// Its format.
        found: i64,
        /// The latest that is known.
        known: i64,
    },
    /// A file that is included cannot be read, or includes itself.
    #[error("{0}")]
    Include(String),
}
