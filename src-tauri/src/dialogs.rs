//! What only a window of the system can do: a menu, a folder dialog, files dropped on the window.

use crate::window::MAIN;
use std::path::Path;
use tauri::menu::{Menu, MenuEvent, MenuItem, PredefinedMenuItem, Submenu};
use tauri::{AppHandle, DragDropEvent, Manager, Window, WindowEvent, Wry};
use tauri_plugin_dialog::DialogExt;

pub(crate) fn menu(app: &AppHandle) -> tauri::Result<Menu<Wry>> {
    let import = MenuItem::with_id(app, "import", "Import Folder…", true, Some("CmdOrCtrl+O"))?;
    let quit = MenuItem::with_id(app, "quit", "Quit", true, Some("CmdOrCtrl+Q"))?;
    let file = Submenu::with_items(app, "File", true, &[&import, &PredefinedMenuItem::separator(app)?, &quit])?;
    Menu::with_items(app, &[&file])
}

pub(crate) fn on_menu(app: &AppHandle, event: MenuEvent) {
    match event.id().as_ref() {
        "import" => {
            let app_of_dialog = app.clone();
            app.dialog().file().set_title("Import a folder of images").pick_folder(move |picked| {
                if let Some(folder) = picked.and_then(|picked| picked.into_path().ok()) {
                    tell_page(&app_of_dialog, "assay-import", &folder.display().to_string());
                }
            });
        }
        "quit" => app.exit(0),
        _ => {}
    }
}

/// A dropped folder or archive is offered for import, a dropped image for prediction.
pub(crate) fn on_window(window: &Window, event: &WindowEvent) {
    let WindowEvent::DragDrop(DragDropEvent::Drop { paths, .. }) = event else { return };
    let Some(path) = paths.first() else { return };
    match image_bytes(path) {
        Some(bytes) => tell_page(window.app_handle(), "assay-image", &bytes),
        None => tell_page(window.app_handle(), "assay-import", &path.display().to_string()),
    }
}

fn image_bytes(path: &Path) -> Option<Vec<u8>> {
    let ending = path.extension()?.to_string_lossy().to_lowercase();
    let image = matches!(ending.as_str(), "jpg" | "jpeg" | "png" | "webp" | "gif" | "bmp" | "tif" | "tiff");
    if image { std::fs::read(path).ok() } else { None }
}

fn tell_page(app: &AppHandle, event: &str, detail: &impl serde::Serialize) {
    let (Some(window), Ok(detail)) = (app.get_webview_window(MAIN), serde_json::to_string(detail)) else { return };
    if let Err(error) = window.eval(format!("window.dispatchEvent(new CustomEvent('{event}', {{ detail: {detail} }}))"))
    {
        tracing::warn!(%error, "the page did not hear of {event}");
    }
}
