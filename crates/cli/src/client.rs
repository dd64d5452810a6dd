//! Talking to the workspace through its door.

use anyhow::{Context, Result};
use assay_protocol::domain::RunId;
use assay_protocol::{ClientCommand, ErrorBody, path};
use assay_server::{Door, DoorOptions, Work};
use http::{Method, Request};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::Path;

/// A workspace, open.
pub(crate) struct Client {
    door: Door,
}

/// The command of this process.
pub(crate) fn this_command() -> ClientCommand {
    ClientCommand {
        arguments: std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect(),
        directory: std::env::current_dir().unwrap_or_default().display().to_string(),
    }
}

impl Client {
    pub(crate) async fn open(root: &Path, work: Work) -> Result<Client> {
        let options = DoorOptions { root: root.to_owned(), command: this_command().arguments, work };
        Ok(Client { door: Door::open(options).await? })
    }

    pub(crate) fn root(&self) -> &Path {
        self.door.root()
    }

    pub(crate) fn door(&self) -> &Door {
        &self.door
    }

    pub(crate) async fn close(&self) {
        self.door.close().await;
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        read(&self.bytes(path).await?)
    }

    pub(crate) async fn bytes(&self, path: &str) -> Result<Vec<u8>> {
        self.send(Method::GET, path, Vec::new()).await
    }

    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        read(&self.send(Method::POST, path, serde_json::to_vec(body)?).await?)
    }

    pub(crate) async fn patch<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        read(&self.send(Method::PATCH, path, serde_json::to_vec(body)?).await?)
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<()> {
        self.send(Method::DELETE, path, Vec::new()).await.map(|_| ())
    }

    /// The run that a person means.
    pub(crate) async fn find_run(&self, text: &str) -> Result<RunId> {
        self.get(&path::find_run(text)).await
    }

    async fn send(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Vec<u8>> {
        let request = Request::builder().method(method).uri(path).body(body)?;
        let response = self.door.call(request).await;
        if response.status().is_success() {
            return Ok(response.into_body());
        }
        match serde_json::from_slice::<ErrorBody>(response.body()) {
            Ok(error) => Err(error.into()),
            Err(_) => anyhow::bail!("the server answered {}", response.status()),
        }
    }
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).context("the server's answer cannot be read; is it another version?")
}

/// Writes a file whole or not at all.
pub(crate) fn write_whole(file: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = file.with_extension("part");
    let written = std::fs::write(&temporary, bytes).and_then(|()| std::fs::rename(&temporary, file));
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary); // nothing half-written stays behind
    }
    written.with_context(|| format!("writing {} failed", file.display()))
}
