//! Where the project is and how its commands are run.

use crate::progress::Build;
use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The checkout.
pub(crate) struct Project {
    /// Its top folder.
    pub(crate) root: PathBuf,
    /// Where cargo builds.
    pub(crate) target: PathBuf,
    /// What `cargo metadata` says.
    pub(crate) metadata: serde_json::Value,
}

impl Project {
    pub(crate) fn find() -> Result<Project> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).context("the project's folder")?.to_owned();
        let output = cargo().args(["metadata", "--format-version", "1", "--no-deps"]).current_dir(&root).output()?;
        let metadata: serde_json::Value =
            serde_json::from_slice(&output.stdout).context("cargo metadata cannot be read")?;
        let target = metadata["target_directory"].as_str().context("cargo metadata names no target folder")?.into();
        Ok(Project { root, target, metadata })
    }

    /// A program that was built for daily work.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.target.join("debug").join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
    }

    /// Builds the terminal program alone. `--workspace` stays: cargo unifies features over the selected packages, so
    /// another selection would rebuild dependencies.
    pub(crate) fn build_terminal(&self) -> Result<()> {
        let terminal = Build {
            what: "the terminal program",
            package: Some("assay-cli"),
            target: None,
            arguments: &["build", "--workspace", "--bin", "assay"],
            is_linted: false,
        };
        terminal.run(self)
    }

    /// Builds the two programs that people run, and nothing that only tests need.
    pub(crate) fn build_window(&self) -> Result<()> {
        let window = Build {
            what: "the window",
            package: Some("assay-desktop"),
            target: None,
            arguments: &["build", "--workspace", "--bin", "assay", "--bin", "assay-desktop"],
            is_linted: false,
        };
        window.run(self)
    }

    /// Builds the programs for daily work.
    pub(crate) fn build_programs(&self) -> Result<()> {
        let programs = Build {
            what: "the programs",
            package: None,
            target: None,
            arguments: &["build", "--workspace"],
            is_linted: false,
        };
        programs.run(self)
    }

    /// Builds the programs, the tests and the benches, and fails where Clippy warns.
    pub(crate) fn build_linted(&self) -> Result<()> {
        let all = Build {
            what: "programs, tests and benches, with Clippy",
            package: None,
            target: None,
            arguments: &["build", "--workspace", "--all-targets"],
            is_linted: true,
        };
        all.run(self)
    }

    /// Runs cargo and says what failed.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Result<()> {
        self.run(cargo().args(arguments))
    }

    /// Runs a command in the project's folder and says what failed.
    pub(crate) fn run(&self, command: &mut Command) -> Result<()> {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let shown = words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ");
        eprintln!("\u{1b}[2m$ {shown}\u{1b}[0m");
        let status = command.current_dir(&self.root).status().with_context(|| format!("{shown} does not start"))?;
        if !status.success() {
            bail!("{shown} failed ({status})");
        }
        Ok(())
    }
}

/// Cargo, without what the cargo that runs this program says of it: build scripts mind that, and would run anew whenever one
/// builds from here and from the terminal by turns.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new("cargo");
    for (name, _) in std::env::vars_os() {
        let is_of_this_program = ["CARGO_PKG_", "CARGO_MANIFEST_"];
        if is_of_this_program.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Cargo with Clippy compiling our own packages, warnings being errors. Unlike `cargo clippy`, this does not check all
/// dependencies besides building them.
pub(crate) fn linting_cargo() -> Command {
    let mut cargo = cargo();
    // As `cargo clippy -- -D warnings` sets them.
    cargo.env("RUSTC_WORKSPACE_WRAPPER", "clippy-driver").env("CLIPPY_ARGS", "-Dwarnings__CLIPPY_HACKERY__");
    cargo
}

/// Where what is fetched once is kept: the peers of the benches, the CUDA toolkit.
pub(crate) fn cache_folder() -> Result<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| std::env::home_dir().map(|home| home.join(".cache")));
    Ok(cache.context("there is no cache folder; set XDG_CACHE_HOME")?.join("assay-bench"))
}
