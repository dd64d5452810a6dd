//! Workspaces, programs and requests for the tests.

use anyhow::{Context, Result, bail};
use assay_protocol::domain::RunStatus;
use assay_protocol::domain::entity::{Job, Run};
use assay_protocol::{RunDetail, path};
use assay_server::{Door, DoorOptions, Work};
use http::{Method, Request};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The project's folder.
pub(crate) fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The shipped digits.
pub(crate) fn digits() -> PathBuf {
    project().join("assets/digits/digits.tar.gz")
}

/// A program beside the tests.
pub(crate) fn program(name: &str) -> PathBuf {
    let tests = std::env::current_exe().expect("the tests' own path");
    let folder = tests.ancestors().nth(2).expect("the build folder");
    let program = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(program.is_file(), "{} is not built; run cargo xtask test", program.display());
    program
}

/// A workspace that vanishes with the test.
pub(crate) struct Workspace {
    folder: tempfile::TempDir,
}

impl Workspace {
    pub(crate) fn new() -> Workspace {
        Workspace { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    /// The folder that holds `.assay`.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// An `assay` command in it.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("assay"));
        command.arg("--workspace").arg(self.folder()).args(arguments).current_dir(self.folder());
        command.stdin(Stdio::null());
        command
    }

    /// Runs `assay` to its end.
    pub(crate) fn assay(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("assay starts")
    }

    /// Runs `assay`, which must succeed, and reads the JSON that it prints.
    pub(crate) fn json<T: DeserializeOwned>(&self, arguments: &[&str]) -> T {
        let output = self.assay(&[&["--json"], arguments].concat());
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// Opens it in this process.
    pub(crate) async fn open(&self) -> Client {
        let options =
            DoorOptions { root: self.folder().join(".assay"), command: vec!["tests".into()], work: Work::All };
        Client { door: Door::open(options).await.expect("the workspace opens") }
    }

    /// Serves it on a free port.
    pub(crate) fn serve(&self) -> Serving {
        let serving = self.serve_with(&[]);
        assert!(serving.address.starts_with("http://127.0.0.1:"), "{}", serving.address);
        serving
    }

    /// As [`Workspace::serve`], with other arguments.
    pub(crate) fn serve_with(&self, arguments: &[&str]) -> Serving {
        let mut command = self.command(&["serve", "--port", "0"]);
        let mut child = command.args(arguments).stdout(Stdio::piped()).spawn().expect("assay starts");
        let mut line = String::new();
        let mut out = std::io::BufReader::new(child.stdout.take().expect("its output"));
        std::io::BufRead::read_line(&mut out, &mut line).expect("its first line");
        let address = line.trim().trim_start_matches("Assay is at ").to_owned();
        assert!(address.starts_with("http://"), "{line}");
        // Its output is read on, so that it never waits for us.
        std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
        Serving { child, address }
    }
}

/// A process that ends with the test.
pub(crate) struct Serving {
    pub(crate) child: Child,
    pub(crate) address: String,
}

impl Drop for Serving {
    fn drop(&mut self) {
        kill(&mut self.child);
    }
}

/// Ends a process without a word, as `kill -9` does.
pub(crate) fn kill(child: &mut Child) {
    let _ = child.kill(); // it may have ended by itself
    let _ = child.wait();
}

/// Requests through a door.
pub(crate) struct Client {
    pub(crate) door: Door,
}

impl Client {
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.send(Method::GET, path, Vec::new()).await
    }

    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        self.send(Method::POST, path, serde_json::to_vec(body)?).await
    }

    pub(crate) async fn send<T: DeserializeOwned>(&self, method: Method, path: &str, body: Vec<u8>) -> Result<T> {
        let response = self.door.call(Request::builder().method(method).uri(path).body(body)?).await;
        if !response.status().is_success() {
            bail!("{}: {}", response.status(), String::from_utf8_lossy(response.body()));
        }
        serde_json::from_slice(response.body()).context("the answer")
    }

    /// Waits for a job to end and returns what it said.
    pub(crate) async fn finish(&self, job: Job) -> Result<Job> {
        until("the job ends", async || {
            let job: Job = self.get(&path::job(job.id, "")).await.ok()?;
            job.status.has_ended().then_some(job)
        })
        .await
    }

    /// Waits for a run to end.
    pub(crate) async fn end_of(&self, run: &Run) -> Result<RunDetail> {
        until("the run ends", async || {
            let detail: RunDetail = self.get(&path::run(run.id, "")).await.ok()?;
            detail.run.status.has_ended().then_some(detail)
        })
        .await
    }

    /// Imports the shipped digits.
    pub(crate) async fn import_digits(&self) -> Result<()> {
        let request = assay_protocol::ImportRequest { source: digits().display().to_string(), ..Default::default() };
        let job = self.finish(self.post(path::DATASETS, &request).await?).await?;
        assert_eq!(job.status, RunStatus::Finished, "{}", job.message);
        Ok(())
    }
}

/// Asks again until there is an answer, at most two minutes.
pub(crate) async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> Result<T> {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(120) {
        if let Some(answer) = ask().await {
            return Ok(answer);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("{what}: not within two minutes")
}

/// Keeps a picture for people to look at, in the build folder.
pub(crate) fn keep_picture(name: &str, png: &[u8]) {
    let folder = std::env::current_exe().expect("own path").ancestors().nth(3).expect("target").join("pictures");
    std::fs::create_dir_all(&folder).expect("a folder for pictures");
    std::fs::write(folder.join(format!("{name}.png")), png).expect("the picture is written");
}

/// How many colours a picture has: a drawn screen has many, a blank one a handful.
pub(crate) fn colors(png: &[u8]) -> usize {
    let image = image::load_from_memory(png).expect("a picture").into_rgb8();
    image.pixels().map(|pixel| pixel.0).collect::<std::collections::HashSet<_>>().len()
}
