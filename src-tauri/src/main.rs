//! The desktop shell: one window on the same interface as in the browser, through a custom scheme whose requests are
//! handed to the server's router in this process. No port is open, and there is no logic here.
#![cfg_attr(not(debug_assertions), windows_subsystem = "windows")]

mod dialogs;
mod notify;
mod page;
mod window;

use anyhow::{Context, Result, bail};
use assay_server::{Door, DoorOptions, FOLDER, Work, data_folder, find_workspace};
use std::path::PathBuf;
use tauri::Manager;

/// Keeps the memory of one training step for the next.
#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_env("ASSAY_LOG").unwrap_or_else(|_| "warn".into());
    // A closed standard error must not panic.
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false).init();
    let display = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some());
    if cfg!(target_os = "linux") && !display {
        bail!("there is no display for a window; assay serve shows the same interface in a browser");
    }
    let root = workspace()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    tauri::async_runtime::set(runtime.handle().clone());
    let builder = tauri::Builder::default();
    #[cfg(target_os = "macos")]
    let builder = builder.on_web_content_process_terminate(|webview| page::load_again(webview.app_handle(), "ended"));
    let app = builder
        .plugin(tauri_plugin_single_instance::init(|app, _arguments, _directory| window::focus(app)))
        .plugin(tauri_plugin_dialog::init())
        .plugin(tauri_plugin_notification::init())
        .plugin(window::state())
        .menu(dialogs::menu)
        .on_menu_event(dialogs::on_menu)
        .on_window_event(dialogs::on_window)
        .register_asynchronous_uri_scheme_protocol(window::SCHEME, window::answer)
        .setup(|app| {
            window::open(app)?;
            Ok(page::keep(app)?)
        })
        .build(tauri::generate_context!())
        .context("the window cannot be made")?;
    let command = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let door = runtime.block_on(Door::open(DoorOptions { root, command, work: Work::All }))?;
    app.manage(door.clone());
    runtime.spawn(notify::follow(app.handle().clone(), door.clone()));
    let code = app.run_return(|_app, _event| {});
    runtime.block_on(door.close());
    std::process::exit(code)
}

/// The workspace of `--workspace`, else the one that this folder belongs to.
fn workspace() -> Result<PathBuf> {
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--workspace" {
            let folder = PathBuf::from(arguments.next().context("--workspace needs a folder")?);
            let own = folder.file_name().is_some_and(|name| name == FOLDER);
            return Ok(std::path::absolute(if own { folder } else { folder.join(FOLDER) })?);
        }
    }
    Ok(find_workspace(&std::env::current_dir()?, &data_folder(|name| std::env::var_os(name))))
}
