//! The arrows of ARCHITECTURE.md: allowed dependencies between crates, and the owner of each library. All else is
//! forbidden.

mod source;

use crate::project::Project;
use anyhow::{Context, Result, bail};
use source::Source;

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
    ("candle-nn", &["kernels", "learn"]),
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

/// Libraries fixed by the design, each with the crate that must use it.
const FIXED: &[(&str, &str)] = &[
    ("tauri", "desktop"),
    ("egui", "ui"),
    ("candle-core", "kernels"),
    ("candle-nn", "kernels"),
    ("rusqlite", "store"),
    ("plotters", "engine"),
    ("image", "media"),
    ("serde", "protocol"),
    ("notify", "engine"),
    ("git2", "probe"),
];

/// A crate of this project.
struct Crate {
    /// Without the project's prefix.
    name: String,
    /// Normal dependencies, without dev and build ones.
    dependencies: Vec<Dependency>,
    sources: Vec<Source>,
}

struct Dependency {
    name: String,
    need: Need,
}

/// When a dependency applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Always,
    /// Optional or per platform.
    Sometimes,
}

pub(crate) fn lint(project: &Project) -> Result<()> {
    let packages = project.metadata["packages"].as_array().context("cargo metadata names no packages")?;
    let crates = packages.iter().map(Crate::read).collect::<Result<Vec<_>>>()?;
    let broken = [broken_arrows(&crates), idle_libraries(&crates)].concat();
    if broken.is_empty() {
        eprintln!("the arrows hold");
        return Ok(());
    }
    bail!("the arrows are broken:\n  {}", broken.join("\n  "))
}

impl Crate {
    /// Parses a package of `cargo metadata`.
    fn read(package: &serde_json::Value) -> Result<Crate> {
        let normal = package["dependencies"].as_array().into_iter().flatten().filter(|of| of["kind"].is_null());
        let dependencies = normal.map(|dependency| {
            let is_sometimes = dependency["optional"] == true || !dependency["target"].is_null();
            Dependency {
                name: dependency["name"].as_str().unwrap_or_default().to_owned(),
                need: if is_sometimes { Need::Sometimes } else { Need::Always },
            }
        });
        Ok(Crate {
            name: own(package["name"].as_str().unwrap_or_default()).to_owned(),
            dependencies: dependencies.collect(),
            sources: source::read(package)?,
        })
    }
}

/// Forbidden dependencies.
fn broken_arrows(crates: &[Crate]) -> Vec<String> {
    let mut broken = Vec::new();
    for Crate { name, dependencies, .. } in crates {
        let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| known == name) else {
            broken.push(format!(
                "{name} has no place in ARCHITECTURE.md: add it to the arrows in crates/xtask/src/lint.rs"
            ));
            continue;
        };
        for Dependency { name: used, .. } in dependencies {
            if used.starts_with("assay-") && !allowed.contains(&own(used)) {
                broken.push(format!("{name} must not use {}", own(used)));
            }
            if let Some((_, owners)) = OWNED.iter().find(|(library, _)| library == used)
                && !owners.contains(&name.as_str())
            {
                broken.push(format!("{name} must not name {used}: that is the business of {}", owners.join(" and ")));
            }
        }
    }
    broken
}

/// Fixed libraries that their owner does not declare, or declares without using.
fn idle_libraries(crates: &[Crate]) -> Vec<String> {
    let idle = |(library, owner): &(&str, &str)| {
        let Some(owning) = crates.iter().find(|one| one.name == *owner) else {
            return Some(format!("there is no crate {owner}, which owns the subject of {library}"));
        };
        let is_named = |dependency: &Dependency| dependency.name == *library && dependency.need == Need::Always;
        if !owning.dependencies.iter().any(is_named) {
            return Some(format!(
                "{owner} must name {library} among its [dependencies], neither optional nor for one platform alone: the \
                 design fixes it for what {owner} owns"
            ));
        }
        let path = library.replace('-', "_");
        (!source::uses(&owning.sources, &path)).then(|| {
            format!("{owner} names {library} and does not use it: no source of it says {path}:: outside tests")
        })
    };
    FIXED.iter().filter_map(idle).collect()
}

fn own(package: &str) -> &str {
    package.strip_prefix("assay-").unwrap_or(package)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A crate with one file that uses some declared libraries.
    fn using(name: &str, libraries: &[&str]) -> Crate {
        let dependencies = libraries.iter().map(|library| Dependency { name: (*library).into(), need: Need::Always });
        let text = libraries.iter().map(|library| format!("use {}::Thing;\n", library.replace('-', "_")));
        let sources = vec![Source { path: "src/lib.rs".into(), text: text.collect() }];
        Crate { name: name.into(), dependencies: dependencies.collect(), sources }
    }

    /// A project without errors.
    fn project() -> Vec<Crate> {
        let libraries = |name: &str| -> Vec<&str> {
            FIXED.iter().filter(|(_, owner)| *owner == name).map(|(library, _)| *library).collect()
        };
        ARROWS.iter().map(|(name, _)| using(name, &libraries(name))).collect()
    }

    fn owner<'a>(crates: &'a mut [Crate], library: &str) -> &'a mut Crate {
        let (_, owner) = FIXED.iter().find(|(fixed, _)| *fixed == library).unwrap();
        crates.iter_mut().find(|one| one.name == *owner).unwrap()
    }

    #[test]
    fn a_project_that_uses_all_it_fixes_has_no_faults() {
        assert_eq!(broken_arrows(&project()), Vec::<String>::new());
        assert_eq!(idle_libraries(&project()), Vec::<String>::new());
    }

    #[test]
    fn each_fixed_library_must_be_named_by_the_owner_of_its_subject() {
        for (library, name) in FIXED {
            let mut crates = project();
            owner(&mut crates, library).dependencies.retain(|dependency| dependency.name != *library);
            let found = idle_libraries(&crates);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].starts_with(&format!("{name} must name {library} among its [dependencies]")), "{found:?}");
        }
    }

    #[test]
    fn a_library_that_is_built_sometimes_alone_is_not_enough() {
        for library in ["candle-nn", "git2", "image"] {
            let mut crates = project();
            for dependency in &mut owner(&mut crates, library).dependencies {
                if dependency.name == library {
                    dependency.need = Need::Sometimes;
                }
            }
            assert!(idle_libraries(&crates)[0].contains("neither optional nor for one platform alone"));
        }
    }

    #[test]
    fn a_library_that_tests_alone_use_is_idle() {
        let tests = "#[cfg(test)]\nmod tests {\n    use candle_nn::LSTM;\n    use plotters::prelude::*;\n}\n";
        for (library, path) in [("candle-nn", "candle_nn"), ("plotters", "plotters")] {
            for text in [String::new(), tests.to_owned(), format!("//! See {path}::ops.\n{tests}")] {
                let mut crates = project();
                let owner = owner(&mut crates, library);
                // The others are in use still.
                owner.sources[0].text = owner.sources[0].text.replace(&format!("use {path}::Thing;\n"), &text);
                let found = idle_libraries(&crates);
                assert_eq!(found.len(), 1, "{found:?}");
                assert!(found[0].contains(&format!("no source of it says {path}:: outside tests")), "{found:?}");
            }
        }
    }

    #[test]
    fn a_library_of_another_crate_and_an_arrow_that_does_not_exist_are_told() {
        let mut crates = project();
        crates.push(using("ui", &["candle-nn", "assay-engine", "image"]));
        crates.push(using("store", &["assay-learn"]));
        crates.push(using("helpers", &[]));
        let found = broken_arrows(&crates);
        let told = [
            "ui must not name candle-nn",
            "ui must not use engine",
            "store must not use learn",
            "helpers has no place",
        ];
        assert_eq!(found.len(), told.len(), "{found:?}");
        assert!(told.iter().all(|told| found.iter().any(|found| found.starts_with(told))), "{found:?}");
    }
}
