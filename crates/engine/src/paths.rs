//! What a typed path may become.

use crate::Engine;
use assay_protocol::PathSuggestion;
use std::path::{MAIN_SEPARATOR, Path};

/// Suggestions in an answer.
const LIMIT: usize = 50;
/// Entries of a folder that are looked at: an answer must come while someone types.
const LOOKED_AT: usize = 20_000;

impl Engine {
    /// The folders and importable files whose path begins so, by name; those of the home folder when `begin` is empty.
    pub fn paths(&self, begin: &str) -> Vec<PathSuggestion> {
        let home = || std::env::home_dir().map(|home| format!("{}{MAIN_SEPARATOR}", home.display()));
        let begin = match begin.trim_start() {
            "" => home().unwrap_or_default(),
            typed => typed.replacen("~/", &home().unwrap_or_else(|| "~/".into()), usize::from(typed.starts_with("~/"))),
        };
        let split = begin.rfind(['/', MAIN_SEPARATOR]).map_or(0, |slash| slash + 1);
        let (folder, name) = begin.split_at(split);
        let Ok(entries) = std::fs::read_dir(if folder.is_empty() { Path::new(".") } else { Path::new(folder) }) else {
            return Vec::new();
        };
        let mut found: Vec<PathSuggestion> = entries
            .flatten()
            .take(LOOKED_AT)
            .filter_map(|entry| {
                let entry_name = entry.file_name().into_string().ok()?;
                let wanted = entry_name.to_lowercase().starts_with(&name.to_lowercase())
                    && (name.starts_with('.') || !entry_name.starts_with('.'));
                let is_folder = wanted && entry.path().is_dir();
                let can_be_imported = is_folder || assay_formats::is_named_as_source(Path::new(&entry_name));
                (wanted && can_be_imported).then(|| PathSuggestion { path: format!("{folder}{entry_name}"), is_folder })
            })
            .collect();
        found.sort_by(|a, b| (!a.is_folder, &a.path).cmp(&(!b.is_folder, &b.path)));
        found.truncate(LIMIT);
        found
    }
}
