//! Config files with what they include.

use crate::{EngineError, Result};
use assay_learn::LearnError;
use assay_learn::config::compose;
use std::path::Path;

/// The text of a config file with the files that it includes in it; their paths begin at its folder.
///
/// # Errors
/// When a file cannot be read, or includes itself.
pub fn read_config(file: &Path) -> Result<String> {
    let read = |path: &Path| {
        std::fs::read_to_string(path).map_err(|why| format!("the config cannot be read ({why}): {}", path.display()))
    };
    let folder = file.parent().unwrap_or(Path::new("."));
    let text = read(file).map_err(EngineError::Invalid)?;
    Ok(compose(&text, &mut |included| read(&folder.join(included))).map_err(LearnError::from)?)
}
