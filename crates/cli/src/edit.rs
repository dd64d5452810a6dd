//! Deleting, restoring, renaming, tagging and noting runs and experiments.

use crate::client::Client;
use crate::out;
use anyhow::{Context, Result, bail};
use assay_protocol::domain::entity::{Experiment, Run};
use assay_protocol::domain::{ExperimentId, RunId, nearest};
use assay_protocol::{ExperimentPatch, RunPatch, path};
use std::collections::BTreeMap;
use std::process::ExitCode;

/// The kind of thing that a name on the command line denotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Runs,
    Experiments,
}

/// A resolved run or experiment.
#[derive(Clone, Copy)]
enum Named {
    Run(RunId),
    Experiment(ExperimentId),
}

/// Selects current or deleted items.
#[derive(Clone, Copy, PartialEq)]
enum State {
    Kept,
    Deleted,
}

impl Named {
    fn path(self, rest: &str) -> String {
        match self {
            Named::Run(run) => path::run(run, rest),
            Named::Experiment(experiment) => path::experiment(experiment, rest),
        }
    }
}

/// Deletes runs or experiments, reversibly.
pub(crate) async fn delete(client: &Client, kind: Kind, names: &[String]) -> Result<ExitCode> {
    let found = find_all(client, kind, names, State::Kept).await?;
    each(names, found, "deleted", async |named| client.delete(&named.path("")).await).await
}

/// Restores deleted items.
pub(crate) async fn restore(client: &Client, kind: Kind, names: &[String]) -> Result<ExitCode> {
    let found = find_all(client, kind, names, State::Deleted).await?;
    each(names, found, "restored", async |named| {
        client.post::<serde_json::Value>(&named.path("/restore"), &()).await.map(|_| ())
    })
    .await
}

/// Gives a run or an experiment another name.
pub(crate) async fn rename(client: &Client, kind: Kind, from: &str, to: &str) -> Result<()> {
    let name = match find(client, kind, from, State::Kept).await? {
        Named::Run(run) => {
            let patch = RunPatch { name: Some(to.to_owned()), ..RunPatch::default() };
            client.patch::<Run>(&path::run(run, ""), &patch).await?.name
        }
        Named::Experiment(experiment) => {
            let patch = ExperimentPatch { name: Some(to.to_owned()), ..ExperimentPatch::default() };
            client.patch::<Experiment>(&path::experiment(experiment, ""), &patch).await?.name
        }
    };
    Ok(out::line(format_args!("{from} is named {name}"))?)
}

/// Sets and removes tags: names, then `key=value`; `key=` removes.
pub(crate) async fn tag(client: &Client, kind: Kind, words: &[String]) -> Result<ExitCode> {
    let first = words.iter().position(|word| word.contains('=')).unwrap_or(words.len());
    let (names, pairs) = words.split_at(first);
    if names.is_empty() || pairs.is_empty() {
        bail!(
            "name what is tagged, then the tags: assay tag RUN team=vision; a name with = in it is said by its number"
        );
    }
    let mut tags = BTreeMap::new();
    for pair in pairs {
        let (key, value) = pair.split_once('=').with_context(|| format!("{pair:?} is no tag: write key=value"))?;
        if key.trim().is_empty() {
            bail!("{pair:?} has no key: write key=value");
        }
        tags.insert(key.trim().to_owned(), (!value.is_empty()).then(|| value.to_owned()));
    }
    change(client, kind, names, "tagged", &RunPatch { tags, ..RunPatch::default() }).await
}

/// Replaces notes; the last word is the text.
pub(crate) async fn note(client: &Client, kind: Kind, words: &[String]) -> Result<ExitCode> {
    let Some((text, names)) = words.split_last().filter(|(_, names)| !names.is_empty()) else {
        bail!("name the run and write the note: assay note RUN TEXT");
    };
    change(client, kind, names, "noted", &RunPatch { note: Some(text.clone()), ..RunPatch::default() }).await
}

async fn change(client: &Client, kind: Kind, names: &[String], done: &str, patch: &RunPatch) -> Result<ExitCode> {
    let found = find_all(client, kind, names, State::Kept).await?;
    each(names, found, done, async |named| match named {
        Named::Run(_) => client.patch::<Run>(&named.path(""), patch).await.map(|_| ()),
        Named::Experiment(_) => {
            let RunPatch { name, note, tags } = patch.clone();
            let patch = ExperimentPatch { name, note, tags };
            client.patch::<Experiment>(&named.path(""), &patch).await.map(|_| ())
        }
    })
    .await
}

/// Applies an action to each item; a failure does not stop it.
async fn each(
    names: &[String],
    found: Vec<Named>,
    done: &str,
    act: impl AsyncFn(Named) -> Result<()>,
) -> Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for (name, named) in names.iter().zip(found) {
        let what = match named {
            Named::Run(run) => format!("run {run}"),
            Named::Experiment(experiment) => format!("experiment {experiment}"),
        };
        match act(named).await {
            Ok(()) => out::line(format_args!("{done} {what} ({name})"))?,
            Err(error) => {
                out::tell(format_args!("assay: {name}: {error:#}"));
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

/// Resolves all names before anything is changed.
async fn find_all(client: &Client, kind: Kind, names: &[String], state: State) -> Result<Vec<Named>> {
    let mut found = Vec::new();
    for name in names {
        found.push(find(client, kind, name, state).await?);
    }
    Ok(found)
}

async fn find(client: &Client, kind: Kind, name: &str, state: State) -> Result<Named> {
    match (kind, state) {
        (Kind::Runs, State::Kept) => Ok(Named::Run(client.find_run(name).await?)),
        (Kind::Runs, State::Deleted) => Ok(Named::Run(client.get(&path::find_deleted_run(name)).await?)),
        (Kind::Experiments, _) => {
            let mut experiments: Vec<Experiment> = client.get(path::EXPERIMENTS).await?;
            experiments.retain(|experiment| experiment.deleted.is_some() == (state == State::Deleted));
            let by_name = experiments.iter().find(|experiment| experiment.name == name);
            let found = by_name.or_else(|| experiments.iter().find(|experiment| experiment.id.to_string() == name));
            let what = if state == State::Deleted { "deleted experiment" } else { "experiment" };
            let hint = nearest(name, experiments.iter().map(|experiment| experiment.name.as_str()));
            let hint = hint.map(|name| format!("; did you mean {name:?}?")).unwrap_or_default();
            Ok(Named::Experiment(found.with_context(|| format!("there is no {what} {name:?}{hint}"))?.id))
        }
    }
}
