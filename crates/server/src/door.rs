//! A door to a workspace: this process owns it, or hands requests to the process that does.
//!
//! The first process that opens a workspace owns it (an operating-system lock that ends with the process) and listens on
//! a socket in it. Later ones are guests. When the owner is gone, the next guest that asks becomes the owner.

use crate::{api, socket};
use assay_engine::{Clock, Engine, EngineError, Options, StoreError, Work};
use assay_protocol::{ErrorBody, ErrorCode};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, Response};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::RwLock;
use tower::ServiceExt;

/// As often is an owner asked that does not listen, before it is taken for one that never will.
const ATTEMPTS: u32 = 100;
/// How long is waited between.
const PAUSE: Duration = Duration::from_millis(100);

/// Why a workspace or address cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// The engine did not open.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The address cannot be listened on.
    #[error("{address} cannot be listened on ({why}); choose another port with --port")]
    Address {
        /// The address.
        address: SocketAddr,
        /// Why.
        why: std::io::Error,
    },
}

/// How a workspace is opened.
#[derive(Clone)]
pub struct DoorOptions {
    /// The workspace folder (`.assay`).
    pub root: PathBuf,
    /// The command of this process, for the record and the lock.
    pub command: Vec<String>,
    /// Which jobs this process does while it owns the workspace.
    pub work: Work,
}

/// A way into a workspace. Clones are the same door.
#[derive(Clone)]
pub struct Door {
    options: DoorOptions,
    side: Arc<RwLock<Side>>,
}

enum Side {
    Owner { engine: Arc<Engine>, router: Router, socket: Option<socket::Listening> },
    Guest,
}

impl Door {
    /// Opens the workspace, as owner or guest; read-only where nothing can be written.
    pub async fn open(options: DoorOptions) -> Result<Door, DoorError> {
        let side = open_side(&options).await?;
        Ok(Door { options, side: Arc::new(RwLock::new(side)) })
    }

    /// The workspace folder.
    pub fn root(&self) -> &Path {
        &self.options.root
    }

    /// Whether this process owns the workspace.
    pub async fn is_owner(&self) -> bool {
        matches!(*self.side.read().await, Side::Owner { .. })
    }

    /// Hands a request to the owner and returns its answer; failures are answers too.
    pub async fn call(&self, request: Request<Vec<u8>>) -> Response<Vec<u8>> {
        let (parts, body) = self.pass(request.map(Body::from)).await.into_parts();
        match to_bytes(body, usize::MAX).await {
            Ok(bytes) => Response::from_parts(parts, bytes.into()),
            Err(why) => Response::new(format!("the answer broke off: {why}").into_bytes()),
        }
    }

    /// As [`Door::call`], with bodies as they come.
    pub(crate) async fn pass(&self, request: Request<Body>) -> Response<Body> {
        // Not held while the request is answered: who closes does not wait for long polls.
        let own = match &*self.side.read().await {
            Side::Owner { router, .. } => Some(router.clone()),
            Side::Guest => None,
        };
        if let Some(router) = own {
            let Ok(response) = router.oneshot(request).await;
            return response;
        }
        let (parts, body) = request.into_parts();
        let body = match to_bytes(body, usize::MAX).await {
            Ok(body) => body,
            Err(why) => {
                return api::failure(&ErrorBody::new(ErrorCode::Invalid, format!("the request broke off: {why}")));
            }
        };
        let request = || Request::from_parts(parts.clone(), body.clone());
        let mut attempts = 0..ATTEMPTS;
        loop {
            let gone = match socket::send(&self.options.root, request()).await {
                Ok(response) => return response,
                Err(gone) => gone,
            };
            match self.take_over().await {
                Ok(router) => {
                    let Ok(response) = router.oneshot(request().map(Body::from)).await;
                    return response;
                }
                // It is about to end, or another one has only just begun to listen.
                Err(DoorError::Engine(EngineError::Store(StoreError::InUse { .. }))) if attempts.next().is_some() => {
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => {
                    let message = format!("the process that has the workspace does not answer ({gone}): {error}");
                    return api::failure(&ErrorBody::new(ErrorCode::Unreachable, message));
                }
            }
        }
    }

    /// Becomes the owner, the one before being gone.
    async fn take_over(&self) -> Result<Router, DoorError> {
        let mut side = self.side.write().await;
        if let Side::Owner { router, .. } = &*side {
            return Ok(router.clone());
        }
        // What this guest and others asked for waits in the queue, and nobody else is there to do it.
        let owned = own(&DoorOptions { work: Work::All, ..self.options.clone() }).await?;
        let router = match &owned {
            Side::Owner { router, .. } => router.clone(),
            Side::Guest => Router::new(),
        };
        *side = owned;
        Ok(router)
    }

    /// Ends the owner's work in order: running jobs save where they are.
    pub async fn close(&self) {
        let side = std::mem::replace(&mut *self.side.write().await, Side::Guest);
        if let Side::Owner { engine, router, socket } = side {
            drop(router);
            let answered = async {
                if let Some(socket) = socket {
                    socket.close().await;
                }
            };
            let closed = tokio::task::spawn_blocking(move || engine.close());
            let _ = tokio::join!(answered, closed); // a panic was reported by the job itself
        }
    }
}

async fn open_side(options: &DoorOptions) -> Result<Side, DoorError> {
    match own(options).await {
        Err(DoorError::Engine(EngineError::Store(StoreError::InUse { holder, path }))) => {
            // The owner may have only just begun to listen, or be about to end.
            for _ in 0..ATTEMPTS {
                if socket::answers(&options.root).await {
                    return Ok(Side::Guest);
                }
                tokio::time::sleep(PAUSE).await;
                if let Ok(side) = own(options).await {
                    return Ok(side);
                }
            }
            Err(EngineError::Store(StoreError::InUse { holder, path }).into())
        }
        Err(DoorError::Engine(EngineError::Store(StoreError::ReadOnly(_))))
            if options.root.join("assay.db").exists() =>
        {
            let engine = Engine::open_read_only(engine_options(options))?;
            Ok(Side::Owner { router: api::router(engine.clone()), engine, socket: None })
        }
        side => side,
    }
}

async fn own(options: &DoorOptions) -> Result<Side, DoorError> {
    let engine_options = engine_options(options);
    let opened = tokio::task::spawn_blocking(move || Engine::open(engine_options)).await;
    let engine = opened.map_err(|why| EngineError::Internal(why.to_string()))??;
    let router = api::router(engine.clone());
    let socket = match socket::listen(&options.root, router.clone()) {
        Ok(socket) => Some(socket),
        Err(error) => {
            tracing::warn!(%error, "other processes cannot use this workspace while this one has it");
            None
        }
    };
    Ok(Side::Owner { engine, router, socket })
}

fn engine_options(options: &DoorOptions) -> Options {
    Options {
        root: options.root.clone(),
        clock: clock(),
        uid: Arc::new(uid),
        command: options.command.clone(),
        work: options.work,
    }
}

/// The system's clock: the one place where the time of day is read.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
fn clock() -> Clock {
    Arc::new(|| {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        assay_domain::Timestamp(since.as_millis() as i64)
    })
}

/// 32 hexadecimal digits out of the system's randomness (as std draws it for its hash maps).
fn uid() -> String {
    use std::hash::{BuildHasher, RandomState};
    format!("{:016x}{:016x}", RandomState::new().hash_one(0), RandomState::new().hash_one(1))
}
