//! Fields: each is declared once, with its type, default, explanation and bounds; everything else is derived from that.

use super::ConfigError;

/// What a field may hold.
pub(crate) trait Field {
    /// The words that it takes, each with what it means; none where it takes other things.
    const CHOICES: &'static [(&'static str, &'static str)] = &[];
}

impl Field for bool {}
impl Field for f64 {}
impl Field for u64 {}
impl Field for usize {}
impl Field for String {}
impl Field for [f64; 3] {}

/// A field as people read of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// The dotted path.
    pub key: String,
    /// What it decides.
    pub help: String,
    /// The words that it takes, each with what it means.
    pub choices: &'static [(&'static str, &'static str)],
}

/// Fields that belong together.
pub(super) trait Section {
    /// Explains each field, in order.
    fn explain(prefix: &str, out: &mut Vec<Explained>);
    /// Whether each field is within its bounds.
    fn check(&self, prefix: &str) -> Result<(), ConfigError>;
}

/// A struct of fields: `name: type = default;`, or `name: type = default, must be "text" if |value| test;`.
macro_rules! section {
    ($(#[$doc:meta])* $name:ident {
        $($(#[doc = $help:literal])+ $field:ident: $type:ty = $default:expr $(, must be $bounds:literal if $test:expr)?;)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default)]
        pub struct $name { $($(#[doc = $help])+ pub $field: $type,)* }

        impl Default for $name {
            fn default() -> Self { $name { $($field: $default,)* } }
        }

        impl $crate::config::field::Section for $name {
            fn explain(prefix: &str, out: &mut Vec<$crate::config::Explained>) {
                $(out.push($crate::config::Explained {
                    key: format!("{prefix}{}", stringify!($field)),
                    help: concat!($($help),+).trim().to_owned(),
                    choices: <$type as $crate::config::field::Field>::CHOICES,
                });)*
            }

            fn check(&self, prefix: &str) -> Result<(), $crate::config::ConfigError> {
                $($(
                    let is_within: fn(&$type) -> bool = $test;
                    if !is_within(&self.$field) {
                        return Err($crate::config::ConfigError::OutOfRange {
                            key: format!("{prefix}{}", stringify!($field)),
                            range: $bounds,
                            found: format!("{:?}", self.$field),
                        });
                    }
                )?)*
                let _ = prefix; // where no field has bounds
                Ok(())
            }
        }
    };
}

pub(super) use section;
