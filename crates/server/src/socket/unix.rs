//! A Unix socket in the workspace folder.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Request, Response, Uri, header::HOST};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::io::{Error, Result};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

/// Listens as long as it lives.
pub(crate) struct Listening {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.path); // one that stays is replaced by the next owner
    }
}

fn socket_of(root: &Path) -> PathBuf {
    root.join("socket")
}

pub(crate) fn listen(root: &Path, router: Router) -> Result<Listening> {
    let path = socket_of(root);
    // The lock is ours, so whoever made this socket is gone.
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    let task = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the workspace's socket closed");
        }
    });
    Ok(Listening { path, task })
}

pub(crate) async fn answers(root: &Path) -> bool {
    UnixStream::connect(socket_of(root)).await.is_ok()
}

pub(crate) async fn send(root: &Path, request: Request<Bytes>) -> Result<Response<Body>> {
    let io = TokioIo::new(UnixStream::connect(socket_of(root)).await?);
    let (mut sender, connection) = http1::handshake(io).await.map_err(Error::other)?;
    tokio::spawn(connection); // ends with the answer
    let mut request = request.map(Full::new);
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
    request.headers_mut().insert(HOST, HeaderValue::from_static("localhost"));
    let response = sender.send_request(request).await.map_err(Error::other)?;
    Ok(response.map(Body::new))
}
