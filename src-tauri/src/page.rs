//! The process that draws the page ends when the graphics driver in it fails or the system wants its memory back. The
//! page is then loaded again where it was; what the workspace holds is in this process, and goes on.

use crate::window::MAIN;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tauri::{App, AppHandle, Manager};
use tauri_plugin_dialog::{DialogExt, MessageDialogButtons, MessageDialogKind};

/// A page that ends more often than this within [`WINDOW`] is not loaded again unasked.
const MOST: usize = 5;
const WINDOW: Duration = Duration::from_secs(60);

/// When the page's process ended, the oldest first.
#[derive(Default)]
struct Ends(Mutex<Vec<Instant>>);

impl Ends {
    /// Notes one, and tells whether the page is worth loading again.
    fn add(&self, now: Instant) -> bool {
        let mut ends = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        ends.retain(|end| now.duration_since(*end) < WINDOW);
        ends.push(now);
        ends.len() <= MOST
    }
}

/// Loads the page of the window again whenever its process has ended.
///
/// # Errors
/// The window has gone.
#[cfg(target_os = "linux")]
pub(crate) fn keep(app: &App) -> tauri::Result<()> {
    use webkit2gtk::WebViewExt;

    app.manage(Ends::default());
    let Some(window) = app.get_webview_window(MAIN) else { return Ok(()) };
    let app = app.handle().clone();
    window.with_webview(move |webview| {
        webview.inner().connect_web_process_terminated(move |_, why| load_again(&app, &format!("{why:?}")));
    })
}

/// The builder of the app hears of it here.
#[cfg(not(target_os = "linux"))]
pub(crate) fn keep(app: &App) -> tauri::Result<()> {
    app.manage(Ends::default());
    Ok(())
}

/// Loads the page again, or asks where it does not live.
#[cfg_attr(windows, expect(dead_code, reason = "WebView2 offers to load the page again itself"))]
pub(crate) fn load_again(app: &AppHandle, why: &str) {
    tracing::warn!(why, "the page's process ended");
    if app.state::<Ends>().add(Instant::now()) {
        return reload(app);
    }
    let app_of_dialog = app.clone();
    app.dialog()
        .message(
            "What draws this window has ended again and again. Nothing is lost, and what runs goes on until the window is \
             closed. The command assay serve shows the same interface in a browser.",
        )
        .kind(MessageDialogKind::Error)
        .title("Assay cannot draw")
        .buttons(MessageDialogButtons::OkCancelCustom("Load again".into(), "Leave it".into()))
        .show(move |again| {
            if again {
                reload(&app_of_dialog);
            }
        });
}

fn reload(app: &AppHandle) {
    let Some(window) = app.get_webview_window(MAIN) else { return };
    if let Err(error) = window.reload() {
        tracing::error!(%error, "the page is not loaded again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_keeps_ending_is_given_up_until_a_minute_has_passed() {
        let (ends, begin) = (Ends::default(), Instant::now());
        for end in 0..MOST {
            assert!(ends.add(begin + Duration::from_secs(end as u64)));
        }
        assert!(!ends.add(begin + Duration::from_secs(59)));
        assert!(ends.add(begin + WINDOW + Duration::from_secs(2)));
    }
}
