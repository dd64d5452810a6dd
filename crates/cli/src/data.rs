//! Changing datasets and their samples, and exporting labels.

use crate::arguments::{DataCommand, ExportFormat, WhichSamples};
use crate::client::Client;
use crate::out::json;
use crate::tables::table;
use crate::{find_dataset, out, train};
use anyhow::{Context, Result, bail};
use assay_protocol::domain::entity::{Dataset, Job, Problem, Sample, SampleState};
use assay_protocol::domain::{DatasetId, counted};
use assay_protocol::{
    DatasetChange, ExportLabels, LabelFormat, LabelsWritten, RelocateRequest, SamplePage, SamplesAct, SamplesChange,
    SamplesChanged, SamplesQuery, path,
};
use std::process::ExitCode;

pub(crate) async fn data(client: &Client, what: &DataCommand, as_json: bool) -> Result<ExitCode> {
    match what {
        DataCommand::Rename { dataset, name } => {
            let change = DatasetChange { name: Some(name.clone()), ..DatasetChange::default() };
            let renamed = change_dataset(client, find(client, dataset).await?.id, &change).await?;
            out::line(format_args!("dataset {} is named {}", renamed.id, renamed.name))?;
        }
        DataCommand::Remove { dataset } => {
            let change = DatasetChange { removed: Some(true), ..DatasetChange::default() };
            let removed = change_dataset(client, find(client, dataset).await?.id, &change).await?;
            out::line(format_args!("{} is removed; assay data restore {} brings it back", removed.name, removed.id))?;
        }
        DataCommand::Restore { dataset } => {
            let removed: Vec<Dataset> = client.get(&format!("{}?removed=true", path::DATASETS)).await?;
            let named: Vec<&Dataset> =
                removed.iter().filter(|found| found.name == *dataset || found.id.to_string() == *dataset).collect();
            let found = match named.as_slice() {
                [only] => only,
                [] => bail!("no removed dataset is named {dataset}: assay datasets --removed lists them"),
                many => bail!("{} removed datasets are named {dataset}: give the number", many.len()),
            };
            let change = DatasetChange { removed: Some(false), ..DatasetChange::default() };
            out::line(format_args!("{} is back", change_dataset(client, found.id, &change).await?.name))?;
        }
        DataCommand::Relocate { dataset, source } => {
            let id = find(client, dataset).await?.id;
            let request = RelocateRequest { source: assay_engine::place_text(&std::path::absolute(source)?) };
            let job: Job = client.post(&path::dataset(id, "/relocate"), &request).await?;
            return train::follow_job(client, job, as_json).await;
        }
        DataCommand::Problems { dataset } => {
            let id = find(client, dataset).await?.id;
            problems(&client.get::<Vec<Problem>>(&path::dataset(id, "/problems")).await?, as_json)?;
        }
        DataCommand::Samples { dataset, which, limit } => {
            let dataset = find(client, dataset).await?;
            let query = SamplesQuery { limit: Some(*limit), ..filter(which, &dataset)? };
            let address = path::dataset(dataset.id, &format!("/samples{}", query.to_query()));
            samples(&client.get::<SamplePage>(&address).await?, &dataset.classes, as_json)?;
        }
        DataCommand::Split { dataset, to, which } => {
            let change = change(client, dataset, which, SamplesAct::Split(*to), None).await?;
            out::line(format_args!("{} moved to {to}", counted(change.samples, "image")))?;
        }
        DataCommand::RemoveSamples { dataset, which } => {
            let change = change(client, dataset, which, SamplesAct::Remove, None).await?;
            out::line(format_args!(
                "{} removed; assay data restore-samples brings them back",
                counted(change.samples, "image")
            ))?;
        }
        DataCommand::RestoreSamples { dataset, which } => {
            let change = change(client, dataset, which, SamplesAct::Restore, Some(SampleState::Removed)).await?;
            out::line(format_args!("{} restored", counted(change.samples, "image")))?;
        }
        DataCommand::Confirm { dataset, which, person } => {
            let act = SamplesAct::Confirm(person.clone());
            let change = change(client, dataset, which, act, Some(SampleState::Changed)).await?;
            out::line(format_args!("{} confirmed", counted(change.samples, "label")))?;
        }
        DataCommand::Export { dataset, target, format } => {
            let id = find(client, dataset).await?.id;
            let request = ExportLabels {
                target: std::path::absolute(target)?.display().to_string(),
                format: match format {
                    ExportFormat::Csv => LabelFormat::Csv,
                    ExportFormat::ClassFolders => LabelFormat::ClassFolders,
                },
            };
            let written: LabelsWritten = client.post(&path::dataset(id, "/export"), &request).await?;
            labels_written(&written, as_json)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn find(client: &Client, named: &str) -> Result<Dataset> {
    find_dataset(client, Some(named), "").await
}

async fn change_dataset(client: &Client, dataset: DatasetId, change: &DatasetChange) -> Result<Dataset> {
    client.patch(&path::dataset(dataset, ""), change).await
}

/// Changes samples; `state` filters those the act applies to.
async fn change(
    client: &Client,
    dataset: &str,
    which: &WhichSamples,
    act: SamplesAct,
    state: Option<SampleState>,
) -> Result<SamplesChanged> {
    let dataset = find(client, dataset).await?;
    let filter = filter(which, &dataset)?;
    let is_bounded = filter != SamplesQuery::default() || !which.sample.is_empty() || state.is_some();
    if !is_bounded {
        bail!("say which samples: --sample, --class, --in, --state or --name (--name '' stands for all of them)");
    }
    let change = SamplesChange {
        samples: (!which.sample.is_empty()).then(|| which.sample.clone()),
        filter: SamplesQuery { state: state.or(filter.state), ..filter },
        act,
    };
    client.post(&path::dataset(dataset.id, "/samples"), &change).await
}

fn filter(which: &WhichSamples, dataset: &Dataset) -> Result<SamplesQuery> {
    let class = |name: &String| match name.as_str() {
        "none" | "empty" => Ok(name.clone()),
        name => {
            let place = dataset.classes.iter().position(|class| class == name);
            let place = place.with_context(|| {
                format!("{} has no class {name}: its classes are {}", dataset.name, dataset.classes.join(", "))
            })?;
            Ok::<String, anyhow::Error>(place.to_string())
        }
    };
    Ok(SamplesQuery {
        class: which.class.as_ref().map(class).transpose()?,
        split: which.split,
        state: which.state,
        name: which.name.clone(),
        ..SamplesQuery::default()
    })
}

fn problems(problems: &[Problem], as_json: bool) -> Result<()> {
    if as_json {
        return json(&problems);
    }
    let row = |problem: &Problem| vec![problem.kind.as_str().into(), problem.path.clone(), problem.reason.clone()];
    table(&["kind", "path", "why"], &problems.iter().map(row).collect::<Vec<_>>())
}

fn samples(page: &SamplePage, classes: &[String], as_json: bool) -> Result<()> {
    if as_json {
        return json(&page);
    }
    let row = |sample: &Sample| {
        vec![
            sample.id.to_string(),
            sample.path.clone(),
            sample.split.to_string(),
            sample.label.as_ref().map_or_else(|| "–".into(), |label| label.names(classes)),
            sample.state().map_or("", SampleState::as_str).into(),
        ]
    };
    table(&["id", "path", "split", "label", "state"], &page.samples.iter().map(row).collect::<Vec<_>>())?;
    let more = page.total.saturating_sub(page.samples.len() as u64);
    if more > 0 {
        out::line(format_args!("and {more} more (--limit)"))?;
    }
    Ok(())
}

fn labels_written(written: &LabelsWritten, as_json: bool) -> Result<()> {
    if as_json {
        return json(written);
    }
    for problem in &written.left_out {
        out::tell(format_args!("left out: {}: {}", problem.path, problem.reason));
    }
    let left_out = match written.left_out.len() {
        0 => String::new(),
        count => format!(", {count} left out"),
    };
    out::line(format_args!("{}{left_out}: {}", counted(written.samples, "image"), written.target))?;
    Ok(())
}
