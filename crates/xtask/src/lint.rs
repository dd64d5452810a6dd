//! The arrows of ARCHITECTURE.md: which crate may depend on which. An arrow that is not here does not exist.

use crate::project::Project;
use anyhow::{Context, Result, bail};

/// Crate, the crates of this project that it may use, and libraries that only it may name.
const ARROWS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("protocol", &["domain"]),
    ("store", &["domain"]),
    ("media", &["domain"]),
    ("formats", &["domain"]),
    ("probe", &["domain"]),
    ("kernels", &["domain"]),
    ("learn", &["domain", "kernels"]),
    ("engine", &["domain", "protocol", "store", "media", "formats", "learn", "probe"]),
    ("server", &["domain", "protocol", "engine"]),
    ("cli", &["domain", "protocol", "server", "engine"]),
    ("ui", &["domain", "protocol"]),
    ("desktop", &["server"]),
    ("xtask", &[]),
    ("bind", &[]),
    ("tests", &["domain", "protocol", "server", "engine", "ui"]),
];

/// Libraries that only these crates may name.
const OWNED: &[(&str, &[&str])] = &[
    ("candle-core", &["kernels", "learn"]),
    // Tests write the databases of other programs.
    ("rusqlite", &["store", "tests"]),
    ("git2", &["probe"]),
    ("axum", &["server"]),
    ("notify", &["engine"]),
    ("plotters", &["engine"]),
    ("ureq", &["engine"]),
    ("tauri", &["desktop"]),
    ("egui", &["ui", "tests"]),
];

pub(crate) fn lint(project: &Project) -> Result<()> {
    let mut broken = Vec::new();
    let packages = project.metadata["packages"].as_array().context("cargo metadata names no packages")?;
    for package in packages {
        let name = own(package["name"].as_str().unwrap_or_default());
        let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| *known == name) else {
            broken.push(format!(
                "{name} has no place in ARCHITECTURE.md: add it to the arrows in crates/xtask/src/lint.rs"
            ));
            continue;
        };
        let dependencies = package["dependencies"].as_array().into_iter().flatten();
        for dependency in dependencies.filter(|dependency| dependency["kind"].is_null()) {
            let used = dependency["name"].as_str().unwrap_or_default();
            if used.starts_with("assay-") && !allowed.contains(&own(used)) {
                broken.push(format!("{name} must not use {}", own(used)));
            }
            if let Some((_, owners)) = OWNED.iter().find(|(library, _)| *library == used)
                && !owners.contains(&name)
            {
                broken.push(format!("{name} must not name {used}: that is the business of {}", owners.join(" and ")));
            }
        }
    }
    if broken.is_empty() {
        eprintln!("the arrows hold");
        return Ok(());
    }
    bail!("the arrows are broken:\n  {}", broken.join("\n  "))
}

fn own(package: &str) -> &str {
    package.strip_prefix("assay-").unwrap_or(package)
}
