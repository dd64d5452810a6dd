//! The real desktop window on a display of its own.

use crate::harness::{Workspace, colors, digits, keep_picture, kill, program, until};
use anyhow::{Context, Result};
use std::process::{Child, Command, Stdio};

/// A virtual display that ends with the test.
struct Display {
    server: Child,
    name: String,
}

impl Display {
    async fn start() -> Result<Display> {
        for number in 90..120 {
            let socket = format!("/tmp/.X11-unix/X{number}");
            if std::path::Path::new(&socket).exists() {
                continue;
            }
            let name = format!(":{number}");
            let server = Command::new("Xvfb")
                .args([&name, "-screen", "0", "1400x900x24"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .context("Xvfb does not start; install xvfb")?;
            until("the display", async || std::path::Path::new(&socket).exists().then_some(())).await?;
            return Ok(Display { server, name });
        }
        anyhow::bail!("no display number is free")
    }

    fn picture(&self) -> Result<Vec<u8>> {
        let output = Command::new("import").args(["-display", &self.name, "-window", "root", "png:-"]).output();
        Ok(output.context("import (ImageMagick) does not start")?.stdout)
    }

    fn hand(&self, arguments: &[&str]) -> Result<()> {
        let status = Command::new("xdotool").args(arguments).env("DISPLAY", &self.name).stdout(Stdio::null()).status();
        anyhow::ensure!(status.context("xdotool does not start")?.success(), "xdotool {arguments:?} failed");
        Ok(())
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        kill(&mut self.server);
    }
}

/// The window's process, ended with the test.
struct Window(Child);

impl Drop for Window {
    fn drop(&mut self) {
        kill(&mut self.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_window_a_key_labels_an_image() -> Result<()> {
    if !cfg!(target_os = "linux") {
        eprintln!("skipped: this test drives an X display");
        return Ok(());
    }
    let workspace = Workspace::new();
    assert!(workspace.assay(&["import", digits().to_str().expect("a path")]).status.success());
    let display = Display::start().await?;
    let home = tempfile::tempdir()?;
    let window = Command::new(program("assay-desktop"))
        .arg("--workspace")
        .arg(workspace.folder())
        .env("DISPLAY", &display.name)
        .env_remove("WAYLAND_DISPLAY")
        .env("DBUS_SESSION_BUS_ADDRESS", "disabled:")
        .env("XDG_RUNTIME_DIR", home.path())
        .env("XDG_CONFIG_HOME", home.path().join("config"))
        .env("XDG_DATA_HOME", home.path().join("data"))
        .env("XDG_CACHE_HOME", home.path().join("cache"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let _window = Window(window);
    until("the window draws", async || (colors(&display.picture().ok()?) > 60).then_some(())).await?;
    keep_picture("window-start", &display.picture()?);

    // Without a window manager the pointer gives the focus: a click on the empty part of the top bar.
    let client = workspace.open().await;
    display.hand(&["search", "--onlyvisible", "--name", "Assay", "windowfocus"])?;
    display.hand(&["mousemove", "600", "46", "click", "1"])?;
    let mut pictured = false;
    until("the label", async || {
        // Alt+3 leads to labeling; 8 labels the image that is shown.
        display.hand(&["key", "alt+3"]).ok()?;
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        if !pictured {
            pictured = true;
            keep_picture("window-label", &display.picture().ok()?);
        }
        display.hand(&["key", "8"]).ok()?;
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        let detail: assay_protocol::SampleDetail = client.get("/api/v1/samples/1").await.ok()?;
        (detail.sample.class.map(|class| class.0) == Some(8)).then_some(())
    })
    .await?;
    keep_picture("window-labelled", &display.picture()?);
    Ok(())
}
