//! Builds with progress: cargo reports each finished package, and a package's source size estimates its share of the
//! time.

use crate::project::{Project, cargo, linting_cargo};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Cap on a package's counted bytes of source: larger ones are generated and mostly unused.
const MOST_BYTES: u64 = 1_500_000;
/// Share of work done before the remaining time is estimated.
const LEAST_SHARE: f64 = 0.04;

/// A cargo build.
pub(crate) struct Build<'a> {
    /// Its name, for people.
    pub(crate) what: &'a str,
    /// The package to build with its dependencies; `None`: the workspace.
    pub(crate) package: Option<&'a str>,
    /// The target triple, if cross-compiling.
    pub(crate) target: Option<&'a str>,
    /// Cargo's arguments.
    pub(crate) arguments: &'a [&'a str],
    /// Whether Clippy compiles our own packages, with warnings as errors.
    pub(crate) is_linted: bool,
}

impl Build<'_> {
    /// Builds, and reports the compiled share and the estimated remaining time.
    pub(crate) fn run(&self, project: &Project) -> Result<()> {
        let begun = Instant::now();
        let mut command = if self.is_linted { linting_cargo() } else { cargo() };
        command.args(self.arguments).args(["--quiet", "--message-format", "json-render-diagnostics"]);
        command.current_dir(&project.root).stdout(Stdio::piped());
        let mut child = command.spawn().context("cargo does not start")?;
        let output = child.stdout.take().context("BUG: cargo's output is piped")?;
        let mut progress: Option<Progress> = None;
        let mut fresh = HashSet::new();
        for line in BufReader::new(output).lines() {
            let Ok(message) = serde_json::from_str::<Value>(&line?) else { continue };
            if message["reason"] != "compiler-artifact" || message["target"]["kind"][0] == "custom-build" {
                continue;
            }
            let package = message["package_id"].as_str().unwrap_or_default().to_owned();
            match &mut progress {
                None if message["fresh"] == true => {
                    fresh.insert(package);
                }
                None => progress = Some(self.begin(project, begun, &fresh, &package)?),
                Some(progress) => progress.done(&package, message["fresh"] == true),
            }
        }
        let status = child.wait()?;
        let was_built = progress.is_some_and(Progress::end);
        if !status.success() {
            bail!("building {} failed ({status})", self.what);
        }
        if was_built {
            eprintln!("{}: built in {}", self.what, spoken(begun.elapsed()));
        }
        Ok(())
    }

    fn begin(&self, project: &Project, begun: Instant, fresh: &HashSet<String>, first: &str) -> Result<Progress> {
        let mut progress = Progress {
            what: self.what.to_owned(),
            begun,
            weights: self.weights(project)?,
            done: 0,
            total: 0,
            packages: (0, 0),
            shown: None,
            line_open: false,
        };
        progress.weights.retain(|package, _| !fresh.contains(package));
        progress.total = progress.weights.values().sum();
        progress.packages.1 = progress.weights.len();
        progress.done(first, false);
        Ok(progress)
    }

    /// Source bytes of each package in the build.
    fn weights(&self, project: &Project) -> Result<HashMap<String, u64>> {
        let mut tree = cargo();
        tree.args(["tree", "--edges", "normal,build", "--prefix", "none", "--format", "{p}"]);
        match self.package {
            Some(package) => tree.args(["--package", package]),
            None => tree.arg("--workspace"),
        };
        tree.args(self.target.iter().flat_map(|target| ["--target", target]));
        let names = tree.current_dir(&project.root).stderr(Stdio::null()).output()?;
        let wanted: HashSet<String> = String::from_utf8_lossy(&names.stdout)
            .lines()
            .filter_map(|line| line.split_once(" v"))
            .map(|(name, rest)| format!("{name} {}", rest.split(' ').next().unwrap_or_default()))
            .collect();
        let output = cargo().args(["metadata", "--format-version", "1"]).current_dir(&project.root).output()?;
        let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata cannot be read")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let packages = metadata["packages"].as_array().into_iter().flatten();
        let weighed = packages
            .filter(|package| wanted.contains(&format!("{} {}", text(&package["name"]), text(&package["version"]))))
            .map(|package| {
                let manifest = text(&package["manifest_path"]);
                (text(&package["id"]), Path::new(&manifest).parent().map_or(1, source_bytes).clamp(1, MOST_BYTES))
            });
        Ok(weighed.collect())
    }
}

/// Source bytes below a folder; C counts half, as it compiles faster.
fn source_bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(|entry| entry.ok());
    let of_entry = |entry: std::fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => {
            let is_beside =
                ["target", "tests", "benches", "examples", ".git"].iter().any(|name| entry.file_name() == *name);
            if is_beside { 0 } else { source_bytes(&entry.path()) }
        }
        Ok(kind) if kind.is_file() => match entry.path().extension().and_then(|ending| ending.to_str()) {
            Some("rs") => entry.metadata().map_or(0, |facts| facts.len()),
            Some("c") => entry.metadata().map_or(0, |facts| facts.len() / 2),
            _ => 0,
        },
        _ => 0,
    };
    entries.map(of_entry).sum()
}

struct Progress {
    what: String,
    begun: Instant,
    /// Unfinished packages.
    weights: HashMap<String, u64>,
    done: u64,
    total: u64,
    packages: (usize, usize),
    shown: Option<Instant>,
    line_open: bool,
}

impl Progress {
    fn done(&mut self, package: &str, was_fresh: bool) {
        let Some(weight) = self.weights.remove(package) else { return };
        if was_fresh {
            self.total -= weight;
            self.packages.1 -= 1;
            return;
        }
        self.done += weight;
        self.packages.0 += 1;
        let is_terminal = std::io::stderr().is_terminal();
        let pause = if is_terminal { Duration::from_millis(200) } else { Duration::from_secs(15) };
        if self.shown.is_none_or(|shown| shown.elapsed() >= pause) {
            self.shown = Some(Instant::now());
            let line = format!("{}: {} of {} packages, {}", self.what, self.packages.0, self.packages.1, self.rest());
            if is_terminal {
                self.line_open = true;
                let _ = write!(std::io::stderr(), "\r\u{1b}[K{line}"); // a terminal that is gone reads nothing
            } else {
                eprintln!("{line}");
            }
        }
    }

    fn rest(&self) -> String {
        let share = self.done as f64 / self.total.max(1) as f64;
        if share < LEAST_SHARE {
            return "estimating the time left".into();
        }
        let left = self.begun.elapsed().mul_f64((1.0 - share) / share);
        format!("{:.0} %, about {} left", share * 100.0, spoken(left))
    }

    /// Whether anything was built.
    fn end(self) -> bool {
        if self.line_open {
            let _ = write!(std::io::stderr(), "\r\u{1b}[K"); // as above
        }
        self.packages.0 > 0
    }
}

/// A duration in words.
pub(crate) fn spoken(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..=89 => format!("{seconds} s"),
        seconds => format!("{} min", seconds.div_ceil(60)),
    }
}
