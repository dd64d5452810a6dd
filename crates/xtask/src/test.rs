//! Everything that must hold before a change lands.

use crate::interface::Quality;
use crate::project::{Project, linting_cargo};
use crate::{interface, lint, system};
use anyhow::Result;
use std::time::Instant;

pub(crate) fn test(project: &Project, quick: bool) -> Result<()> {
    let begun = Instant::now();
    system::ensure_wasm_target()?;
    if quick {
        system::ensure_build_packages()?
    } else {
        system::ensure_test_packages()?
    }
    project.cargo(&["fmt", "--all", "--check"])?;
    lint::lint(project)?;
    interface::build(project, Quality::Daily)?;
    project.cargo(&[
        "clippy",
        "-p",
        "assay-ui",
        "--lib",
        "--target",
        "wasm32-unknown-unknown",
        "--profile",
        "web",
        "--",
        "-D",
        "warnings",
    ])?;
    project.build_linted()?;
    let mut tests = linting_cargo();
    tests.args(["test", "--workspace", "--no-fail-fast"]);
    if quick {
        tests.args(["--", "--skip", "in_the_browser", "--skip", "in_the_window"]);
    }
    project.run(&mut tests)?;
    eprintln!("everything holds ({:.0} s)", begun.elapsed().as_secs_f64());
    Ok(())
}
