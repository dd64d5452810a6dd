//! What people chose for the interface.

use crate::{Engine, EngineError, Result};
use assay_protocol::Settings;

/// The name under which the store keeps it.
const INTERFACE: &str = "interface";

impl Engine {
    /// What was chosen; the usual without a choice.
    pub fn settings(&self) -> Result<Settings> {
        Ok(self.store.read(|reader| reader.setting(INTERFACE))?.unwrap_or_default())
    }

    /// Keeps what was chosen.
    pub fn set_settings(&self, settings: Settings) -> Result<Settings> {
        if settings.person.as_ref().is_some_and(|person| person.trim().is_empty() || person.len() > 200) {
            return Err(EngineError::Invalid("a name has 1 to 200 letters".into()));
        }
        let kept = settings.clone();
        self.store.write(move |tx| tx.set_setting(INTERFACE, &kept))?;
        Ok(settings)
    }
}
