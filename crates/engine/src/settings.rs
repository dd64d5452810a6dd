//! What people chose for the interface.

use crate::{Engine, EngineError, Result};
use assay_protocol::{Settings, SettingsPatch};

/// The name under which the store keeps it.
const INTERFACE: &str = "interface";
/// Commands whose keys are kept at most, and letters of their names and keys.
const MOST: usize = 1_000;

impl Engine {
    /// What was chosen; the usual without a choice.
    pub fn settings(&self) -> Result<Settings> {
        Ok(self.store.read(|reader| reader.setting(INTERFACE))?.unwrap_or_default())
    }

    /// Keeps a choice beside the earlier ones.
    pub fn patch_settings(&self, patch: SettingsPatch) -> Result<Settings> {
        let words = patch.keys.iter().flat_map(|(command, keys)| keys.iter().flatten().chain([command]));
        if patch.keys.len() > MOST || words.map(String::len).any(|length| length > MOST) {
            return Err(EngineError::Invalid(format!("settings hold at most {MOST} keys of {MOST} letters")));
        }
        Ok(self.store.write(move |tx| tx.change_setting(INTERFACE, |settings: &mut Settings| settings.apply(patch)))?)
    }
}
