//! A Unix socket in the workspace folder.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Request, Response, Uri, header::HOST};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::io::{Error, Result};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot::Sender;
use tokio::task::JoinHandle;

/// An owner that ends waits no longer than this for its answers.
const LONGEST_ANSWER: Duration = Duration::from_secs(10);

/// Listens as long as it lives.
pub(crate) struct Listening {
    path: PathBuf,
    /// Its drop is the sign to stop.
    stop: Option<Sender<Infallible>>,
    task: JoinHandle<()>,
}

impl Listening {
    /// Listens no longer, and waits until who asked before has been answered.
    pub(crate) async fn close(mut self) {
        let _ = std::fs::remove_file(&self.path); // one that stays is replaced by the next owner
        self.stop.take();
        let _ = tokio::time::timeout(LONGEST_ANSWER, &mut self.task).await; // who is not answered then asks the next owner
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
        // After it was closed there may be the next owner's.
        if self.stop.is_some() {
            let _ = std::fs::remove_file(&self.path); // one that stays is replaced by the next owner
        }
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
    let (stop, stopped) = tokio::sync::oneshot::channel::<Infallible>();
    let stopped = async move { drop(stopped.await) };
    let task = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
            tracing::error!(%error, "the workspace's socket closed");
        }
    });
    Ok(Listening { path, stop: Some(stop), task })
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
