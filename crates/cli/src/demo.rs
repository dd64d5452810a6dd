//! The product in a minute: the shipped digits are imported, a model learns them, and the window opens.

use crate::client::{Client, this_command, write_whole};
use crate::train;
use anyhow::{Context, Result};
use assay_protocol::domain::entity::{Dataset, Job};
use assay_protocol::{ImportRequest, StartRun, path};
use std::process::ExitCode;

/// The 1,797 digits; their origin and licence are in assets/digits.
const DIGITS: &[u8] = include_bytes!("../../../assets/digits/digits.tar.gz");
const DATASET: &str = "digits";

/// Imports the digits, where that was not done before, and trains on them.
pub(crate) async fn train_on_digits(client: &Client, json: bool) -> Result<ExitCode> {
    let known: Vec<Dataset> = client.get(path::DATASETS).await?;
    if !known.iter().any(|dataset| dataset.name == DATASET) {
        let archive = client.root().join("digits.tar.gz");
        std::fs::create_dir_all(client.root())
            .with_context(|| format!("the workspace cannot be made: {}", client.root().display()))?;
        write_whole(&archive, DIGITS)?;
        let request = ImportRequest {
            source: std::path::absolute(&archive)?.display().to_string(),
            name: Some(DATASET.into()),
            ..ImportRequest::default()
        };
        let job: Job = client.post(path::DATASETS, &request).await?;
        let imported = train::follow_job(client, job, json).await?;
        if imported != ExitCode::SUCCESS {
            return Ok(imported);
        }
    }
    let request = StartRun {
        dataset: DATASET.into(),
        experiment: Some("demo".into()),
        command: Some(this_command()),
        ..StartRun::default()
    };
    let run = client.post(path::RUNS, &request).await?;
    train::follow_run(client, run, false, json).await
}
