//! A crate's sources without tests. Items are found by rustfmt's layout.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// A file of a crate.
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

/// Sources of a package's library and programs.
pub(super) fn read(package: &serde_json::Value) -> Result<Vec<Source>> {
    const PRODUCTS: [&str; 4] = ["lib", "rlib", "cdylib", "bin"];
    let mut files = Vec::new();
    for target in package["targets"].as_array().into_iter().flatten() {
        let mut kinds = target["kind"].as_array().into_iter().flatten();
        if kinds.any(|kind| PRODUCTS.contains(&kind.as_str().unwrap_or_default())) {
            let root = Path::new(target["src_path"].as_str().unwrap_or_default());
            collect(root.parent().context("a source lies in a folder")?, &mut files)?;
        }
    }
    files.sort();
    files.dedup();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        Ok(Source { path, text })
    };
    files.into_iter().map(read).collect()
}

/// Collects Rust files recursively.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// Whether non-test code names a path of the library.
pub(super) fn uses(sources: &[Source], library: &str) -> bool {
    let parts: Vec<(&Source, Parts)> = sources.iter().map(|source| (source, Parts::of(&source.text))).collect();
    let tests: Vec<PathBuf> = parts
        .iter()
        .flat_map(|(source, parts)| parts.test_modules.iter().map(|module| submodule(&source.path, module)))
        .collect();
    let is_test = |path: &Path| tests.iter().any(|test| path.with_extension("").starts_with(test));
    parts.iter().any(|(source, parts)| !is_test(&source.path) && names(&parts.product, library))
}

/// The path of a module's files, without extension.
fn submodule(declared_in: &Path, module: &str) -> PathBuf {
    let stem = declared_in.file_stem().unwrap_or_default();
    let folder = declared_in.parent().unwrap_or(Path::new(""));
    match stem.to_str() {
        Some("lib" | "main" | "mod") => folder.join(module),
        _ => folder.join(stem).join(module),
    }
}

/// A file split into parts.
struct Parts {
    /// Without comments and test code.
    product: String,
    /// Test modules in files of their own.
    test_modules: Vec<String>,
}

impl Parts {
    fn of(text: &str) -> Parts {
        let mut parts = Parts { product: String::new(), test_modules: Vec::new() };
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if line.trim() == "#[cfg(test)]" {
                let indent = &line[..line.len() - line.trim_start().len()];
                let mut item = lines.by_ref().skip_while(|line| line.trim_start().starts_with("#["));
                let Some(first) = item.next() else { break };
                if let Some(declared) = first.trim().strip_suffix(';') {
                    let words = declared.split_whitespace();
                    parts.test_modules.extend(words.skip_while(|word| *word != "mod").nth(1).map(str::to_owned));
                } else if !first.ends_with('}') {
                    let end = [format!("{indent}}}"), format!("{indent}}};")];
                    item.find(|line| end.iter().any(|end| end == line));
                }
                continue;
            }
            parts.product.push_str(line.split("//").next().unwrap_or_default());
            parts.product.push('\n');
        }
        parts
    }
}

/// Whether the text has a path beginning with this name.
fn names(text: &str, library: &str) -> bool {
    let path = format!("{library}::");
    text.match_indices(&path).any(|(place, _)| {
        let before = text[..place].chars().next_back();
        !before.is_some_and(|before| before.is_alphanumeric() || matches!(before, '_' | ':' | '"'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product(text: &str) -> String {
        Parts::of(text).product
    }

    #[test]
    fn comments_and_tests_are_left_out_and_what_follows_them_stays() {
        let text = "\
use a::B;
/// As b::C.
fn f() {} // d::E
#[cfg(test)]
#[expect(unused, reason = \"f::G\")]
mod tests {
    fn g() {
        h::I();
    }
}
impl J {
    #[cfg(test)]
    fn k() {
        l::M();
    }
    fn n() {
        o::P();
    }
}
#[cfg(test)]
use q::R;
#[cfg(test)]
fn s() {}
use t::U;
";
        let product = product(text);
        for (library, is_there) in [
            ("a", true),
            ("b", false),
            ("d", false),
            ("f", false),
            ("h", false),
            ("l", false),
            ("o", true),
            ("q", false),
            ("t", true),
        ] {
            assert_eq!(names(&product, library), is_there, "{library} in {product}");
        }
    }

    #[test]
    fn a_module_of_tests_in_files_of_its_own_is_left_out_with_all_below_it() {
        let file = |path: &str, text: &str| Source { path: path.into(), text: text.into() };
        let declared = "mod kept;\n#[cfg(test)]\nmod checks;\n#[cfg(test)]\npub(crate) mod hostile;\n";
        for (root, below) in [("src/lib.rs", "src"), ("src/main.rs", "src"), ("src/part.rs", "src/part")] {
            let sources =
                |used_in: &str| [file(root, declared), file(&format!("{below}/{used_in}.rs"), "use wanted::Thing;\n")];
            for test in ["checks", "checks/deep", "hostile", "hostile/mod"] {
                assert!(!uses(&sources(test), "wanted"), "{root}: {test}");
            }
            for kept in ["kept", "kept/checks", "checks_of_names"] {
                assert!(uses(&sources(kept), "wanted"), "{root}: {kept}");
            }
        }
    }

    #[test]
    fn a_path_begins_with_the_whole_name() {
        for text in ["use image::Rgb;", "    image::open(path)", "Result<image::Frame>", "&image::X"] {
            assert!(names(text, "image"), "{text}");
        }
        for text in ["use crate::image::X;", "fast_image::open()", "images::X", "image.len()", "\"image::X\""] {
            assert!(!names(text, "image"), "{text}");
        }
    }
}
