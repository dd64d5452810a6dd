//! Using a trained model.

use crate::client::{Client, write_whole};
use crate::{out, tables, train};
use anyhow::{Context, Result};
use assay_protocol::domain::entity::{Evaluation, Job};
use assay_protocol::domain::scores::{McNemar, Scores};
use assay_protocol::domain::{RunId, counted};
use assay_protocol::{EvaluateRequest, encode_component, path};
use std::path::Path;
use std::process::ExitCode;

fn with_checkpoint(path: String, checkpoint: Option<&str>) -> String {
    match checkpoint {
        Some(kind) => format!("{path}?checkpoint={}", encode_component(kind)),
        None => path,
    }
}

/// Evaluates a run's model and prints its figures, beside another's where one is named.
pub(crate) async fn evaluate(
    client: &Client,
    run: &str,
    request: &EvaluateRequest,
    against: Option<&str>,
    json: bool,
) -> Result<ExitCode> {
    let run = client.find_run(run).await?;
    let Some(own) = evaluated(client, run, request).await? else { return Ok(ExitCode::FAILURE) };
    let scores: Option<Scores> = client.get(&path::evaluation(own.id, "/scores")).await?;
    let compared = match against {
        Some(other) => {
            let other = client.find_run(other).await?;
            let Some(theirs) = evaluated(client, other, request).await? else { return Ok(ExitCode::FAILURE) };
            Some((other, client.get::<McNemar>(&path::evaluation(own.id, &format!("/compare/{}", theirs.id))).await?))
        }
        None => None,
    };
    if json {
        let compared = compared.map(|(_, found)| found);
        out::json(&serde_json::json!({ "scores": scores, "compared": compared }))?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(scores) = &scores {
        tables::scores(scores)?;
    }
    if let Some((other, found)) = compared {
        out::line(format_args!(
            "run {run} alone is right about {}, run {other} alone about {}: p = {:.1e} (McNemar's exact test)",
            counted(found.first_alone, "image"),
            found.second_alone,
            found.p_value
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Evaluates a run's model; none where that failed or there was nothing to evaluate, which is told.
async fn evaluated(client: &Client, run: RunId, request: &EvaluateRequest) -> Result<Option<Evaluation>> {
    let before: Vec<Evaluation> = client.get(path::EVALUATIONS).await?;
    let job: Job = client.post(&path::run(run, "/evaluate"), request).await?;
    let ended = train::ended_job(client, job).await?;
    let evaluations: Vec<Evaluation> = client.get(path::EVALUATIONS).await?;
    let made = evaluations.into_iter().find(|made| made.run == run && !before.iter().any(|old| old.id == made.id));
    out::tell(format_args!("run {run}: {}", ended.message));
    Ok(made)
}

/// Writes a model's files into a folder.
pub(crate) async fn export(client: &Client, run: &str, folder: &Path, checkpoint: Option<&str>) -> Result<()> {
    let run = client.find_run(run).await?;
    let names: Vec<String> = client.get(&path::run(run, "/export")).await?;
    std::fs::create_dir_all(folder).with_context(|| format!("the folder cannot be made: {}", folder.display()))?;
    for name in names {
        let address = with_checkpoint(path::run(run, &format!("/export/{name}")), checkpoint);
        write_whole(&folder.join(&name), &client.bytes(&address).await?)?;
        out::line(folder.join(name).display())?;
    }
    Ok(())
}
