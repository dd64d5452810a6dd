//! The window, and how its requests reach the router.

use assay_server::Door;
use tauri::http::{Request, Response};
use tauri::webview::NewWindowResponse;
use tauri::{App, AppHandle, Manager, UriSchemeContext, UriSchemeResponder, WebviewUrl, WebviewWindowBuilder, Wry};
use tauri_plugin_window_state::StateFlags;

/// The scheme of the window's pages.
pub(crate) const SCHEME: &str = "assay";
/// The window's label.
pub(crate) const MAIN: &str = "main";

/// Opens the window where it was closed last.
pub(crate) fn open(app: &App) -> tauri::Result<()> {
    let url =
        format!("{SCHEME}://localhost/").parse().map_err(|_| tauri::Error::InvalidWebviewUrl("the own scheme"))?;
    let window = WebviewWindowBuilder::new(app, MAIN, WebviewUrl::CustomProtocol(url))
        .title("Assay")
        .inner_size(1320.0, 860.0)
        .min_inner_size(760.0, 520.0)
        .visible(false)
        // Nothing but the own pages is ever shown.
        .on_navigation(|url| url.scheme() == SCHEME || url.host_str() == Some("assay.localhost"))
        .on_new_window(|_, _| NewWindowResponse::Deny)
        .build()?;
    window.show()
}

/// Brings the window to the front.
pub(crate) fn focus(app: &AppHandle) {
    if let Some(window) = app.get_webview_window(MAIN) {
        let _ = window.unminimize(); // a window manager may refuse either
        let _ = window.set_focus();
    }
}

/// Keeps size and place of the window between starts.
pub(crate) fn state() -> tauri::plugin::TauriPlugin<Wry> {
    let kept = StateFlags::SIZE | StateFlags::POSITION | StateFlags::MAXIMIZED | StateFlags::FULLSCREEN;
    tauri_plugin_window_state::Builder::default().with_state_flags(kept).build()
}

/// Hands a request of the window to the router.
pub(crate) fn answer(context: UriSchemeContext<'_, Wry>, request: Request<Vec<u8>>, responder: UriSchemeResponder) {
    let Some(door) = context.app_handle().try_state::<Door>().map(|door| door.inner().clone()) else {
        return responder.respond(failed("the workspace is not open yet"));
    };
    tauri::async_runtime::spawn(async move {
        // A task of its own: whatever happens in it, the page gets an answer.
        let answer = tauri::async_runtime::spawn(async move { door.call(with_path_only(request)).await }).await;
        responder.respond(answer.unwrap_or_else(|why| failed(&why.to_string())));
    });
}

/// The router knows paths, not schemes.
fn with_path_only(mut request: Request<Vec<u8>>) -> Request<Vec<u8>> {
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map_or_else(|| tauri::http::Uri::from_static("/"), Into::into);
    request
}

fn failed(why: &str) -> Response<Vec<u8>> {
    let mut response = Response::new(why.as_bytes().to_vec());
    *response.status_mut() = tauri::http::StatusCode::INTERNAL_SERVER_ERROR;
    response
}
