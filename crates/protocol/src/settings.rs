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
    /// The name that labels are signed with.
    pub person: Option<String>,
    /// The keys of the commands that do not have their usual ones, such as `"NewRun": ["Ctrl+N"]`. An unknown command
    /// or key is kept and ignored: another version may know it.
    pub keys: BTreeMap<String, Vec<String>>,
}
