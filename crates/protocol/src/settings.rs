//! What people chose for the interface.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Dark or light.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Theme {
    /// Light text on a dark ground.
    Dark,
    /// Dark text on a light ground.
    Light,
}

/// What people chose for the interface of this workspace; it is the same in the window and in every browser.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// The theme; the system's without it.
    pub theme: Option<Theme>,
    /// The keys of the commands that do not have their usual ones, such as `"NewRun": ["Ctrl+N"]`. What one version does
    /// not know is kept and ignored: another may know it.
    pub keys: BTreeMap<String, Vec<String>>,
}

/// A choice; what it does not name stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SettingsPatch {
    /// Another theme.
    pub theme: Option<Theme>,
    /// Other keys of commands; the usual ones again where there is nothing.
    pub keys: BTreeMap<String, Option<Vec<String>>>,
}

impl Settings {
    /// Takes over a choice.
    pub fn apply(&mut self, patch: SettingsPatch) {
        self.theme = patch.theme.or(self.theme);
        for (command, keys) in patch.keys {
            match keys {
                Some(keys) => self.keys.insert(command, keys),
                None => self.keys.remove(&command),
            };
        }
    }
}
