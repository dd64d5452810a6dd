//! The one router: the native API and the interface, mounted over TCP, over a socket of the workspace, or by direct
//! calls.
//!
//! No handler does more than read a request, call the engine and write the answer. Start with [`Door`]: it owns the
//! workspace or hands requests to the process that does.

mod access;
mod api;
mod door;
#[cfg(test)]
mod hostile;
mod interface;
mod mlflow;
mod socket;
mod workspace;

pub use access::Access;
pub use assay_engine::{FOLDER, Work};
pub use door::{Door, DoorError, DoorOptions};
pub use workspace::{data_folder, find_workspace};

use axum::Router;
use std::net::SocketAddr;

/// Serves a door over TCP until `ended` resolves.
///
/// # Errors
/// When the address cannot be listened on; see [`listen`].
pub async fn serve(
    door: Door,
    listener: tokio::net::TcpListener,
    access: Access,
    ended: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let router: Router = access::guarded(door, access);
    axum::serve(listener, router).with_graceful_shutdown(ended).await
}

/// Listens on an address; the error says what to do when it is in use.
pub async fn listen(address: SocketAddr) -> Result<tokio::net::TcpListener, DoorError> {
    tokio::net::TcpListener::bind(address).await.map_err(|why| DoorError::Address { address, why })
}
