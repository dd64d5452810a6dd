//! Serving the interface, and opening the window.

use crate::client::Client;
use crate::out;
use anyhow::{Context, Result};
use assay_server::{Access, Work};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;

/// Serves until Ctrl+C.
pub(crate) async fn serve(client: &Client, address: IpAddr, port: u16, token: Option<String>) -> Result<ExitCode> {
    let listener = assay_server::listen(SocketAddr::new(address, port)).await?;
    let bound = listener.local_addr()?;
    let (access, query) = if address.is_loopback() {
        (Access::Loopback, String::new())
    } else {
        let token = token.unwrap_or_else(new_token);
        let query = format!("/?token={token}");
        (Access::Token(token), query)
    };
    // Whoever started it may have read enough and closed its output.
    let _ = out::line(format_args!(
        "Assay is at http://{bound}{query}\nworkspace {}; Ctrl+C ends",
        client.root().display()
    ));
    let (ended, mut wait) = tokio::sync::mpsc::unbounded_channel();
    ctrlc::set_handler(move || {
        let _ = ended.send(()); // a second signal finds nobody waiting
    })?;
    let serving = assay_server::serve(client.door().clone(), listener, access, std::future::pending());
    tokio::select! {
        served = serving => served.context("serving failed")?,
        _ = wait.recv() => out::tell("ending; running jobs save where they are"),
    }
    Ok(ExitCode::SUCCESS)
}

fn new_token() -> String {
    use std::hash::{BuildHasher, RandomState};
    format!("{:016x}{:016x}", RandomState::new().hash_one(0), RandomState::new().hash_one(1))
}

/// Opens the desktop window beside this program; without one, or without a display, serves.
pub(crate) async fn ui(root: &Path) -> Result<ExitCode> {
    let display = cfg!(not(target_os = "linux"))
        || ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some());
    let program = std::env::current_exe()?.with_file_name(format!("assay-desktop{}", std::env::consts::EXE_SUFFIX));
    if display && program.is_file() {
        let status = std::process::Command::new(&program)
            .arg("--workspace")
            .arg(root)
            .status()
            .with_context(|| format!("the window does not open: {}", program.display()))?;
        return Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    out::tell(if display {
        "the window's program is not beside this one; serving instead"
    } else {
        "there is no display; serving instead"
    });
    let client = Client::open(root, Work::All).await?;
    let served = serve(&client, IpAddr::from([127, 0, 0, 1]), 0, None).await;
    client.close().await;
    served
}
