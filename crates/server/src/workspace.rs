//! Where the workspace is.

use assay_engine::FOLDER;
use std::path::{Path, PathBuf};

/// The workspace folder that `start` belongs to: `.assay` in it or in the nearest folder above, as Git finds its own;
/// without one, `.assay` of the user's data folder.
pub fn find_workspace(start: &Path, data_folder: &Path) -> PathBuf {
    let found = start.ancestors().map(|folder| folder.join(FOLDER)).find(|folder| folder.is_dir());
    found.unwrap_or_else(|| data_folder.join(FOLDER))
}

/// The user's data folder, from the environment (`XDG_DATA_HOME`, `HOME`; on Windows `LOCALAPPDATA`).
pub fn data_folder(environment: impl Fn(&str) -> Option<std::ffi::OsString>) -> PathBuf {
    let set = |name: &str| environment(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_DATA_HOME")
        .or_else(|| set("LOCALAPPDATA"))
        .or_else(|| set("HOME").map(|home| home.join(".local/share")))
        .unwrap_or_else(|| PathBuf::from("."))
        .join("assay")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_workspace_above_is_found() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("a/b");
        std::fs::create_dir_all(&deep).unwrap();
        let elsewhere = Path::new("/data");
        assert_eq!(find_workspace(&deep, elsewhere), elsewhere.join(FOLDER));
        std::fs::create_dir(root.path().join(FOLDER)).unwrap();
        assert_eq!(find_workspace(&deep, elsewhere), root.path().join(FOLDER));
    }
}
