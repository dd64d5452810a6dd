//! What the system must have, installed where that may be done.

use anyhow::{Context, Result, bail};
use std::process::{Command, Stdio};

/// Debian packages to build the terminal program.
const COMPILER: &[&str] = &["build-essential", "pkg-config"];
/// Debian packages for the window.
const WINDOW: &[&str] = &["libwebkit2gtk-4.1-dev", "librsvg2-dev"];
/// What the tests need besides: a display, a browser, a hand, a session's bus.
const TEST: &[&str] =
    &["xvfb", "xauth", "xdotool", "imagemagick", "chromium", "chromium-driver", "dbus-daemon", "dbus-bin"];

/// Makes sure of the wasm target, through rustup.
pub(crate) fn ensure_wasm_target() -> Result<()> {
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output().context("rustc does not start")?;
    let sysroot = String::from_utf8_lossy(&sysroot.stdout).trim().to_owned();
    if std::path::Path::new(&sysroot).join("lib/rustlib/wasm32-unknown-unknown").is_dir() {
        return Ok(());
    }
    eprintln!("adding the wasm32-unknown-unknown target");
    let added = Command::new("rustup").args(["target", "add", "wasm32-unknown-unknown"]).status();
    match added {
        Ok(status) if status.success() => Ok(()),
        _ => bail!("the wasm32 target is missing; install it with: rustup target add wasm32-unknown-unknown"),
    }
}

/// Ensures what building the terminal program needs.
pub(crate) fn ensure_compiler() -> Result<()> {
    ensure(COMPILER)
}

/// Makes sure of what building all programs needs.
pub(crate) fn ensure_build_packages() -> Result<()> {
    ensure(&[COMPILER, WINDOW].concat())
}

/// Makes sure of what the tests need.
pub(crate) fn ensure_test_packages() -> Result<()> {
    ensure(&[COMPILER, WINDOW, TEST].concat())
}

/// Ensures that debootstrap is installed.
pub(crate) fn ensure_debootstrap() -> Result<()> {
    ensure(&["debootstrap"])
}

fn ensure(packages: &[&str]) -> Result<()> {
    if !cfg!(target_os = "linux") || !runs("dpkg-query", &["--version"]) {
        return Ok(()); // other systems bring their own web view; the README names what they need
    }
    let missing: Vec<&str> = packages.iter().copied().filter(|package| !installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !is_root() {
        bail!("system packages are missing; install them and start again:\n\n  sudo apt-get install -y {list}\n");
    }
    eprintln!("installing {list}");
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let install: Vec<&str> = ["install", "-y", "-qq", "--no-install-recommends"].into_iter().chain(missing).collect();
    if apt(&["update", "-qq"]) && apt(&install) {
        return Ok(());
    }
    bail!("apt-get could not install {list}")
}

fn installed(package: &str) -> bool {
    let output = Command::new("dpkg-query").args(["-W", "-f", "${db:Status-Status}", package]).output();
    output.is_ok_and(|output| output.stdout == b"installed")
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn runs(program: &str, arguments: &[&str]) -> bool {
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
