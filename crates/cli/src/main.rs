//! `assay`: everything, headless. Each command reads its arguments, talks to the workspace through a [`client::Client`],
//! and prints, by way of [`out`].

#![warn(clippy::print_stdout, clippy::print_stderr)]

mod alerts;
mod arguments;
mod check;
mod client;
mod data;
mod demo;
mod edit;
mod metrics;
mod model;
mod out;
mod predict;
mod runs;
mod serve;
mod show;
mod tables;
mod train;

use anyhow::{Context, Result};
use arguments::{Arguments, Command, PredictionFormat};
use assay_protocol::domain::Labelling;
use assay_protocol::domain::entity::{Dataset, Job, Snapshot};
use assay_protocol::{
    About, BackupReply, BackupRequest, Check, CheckRequest, Comparison, EvaluateRequest, GcReply, GcRequest,
    ImportRequest, LogSource, MergeReply, MergeRequest, PrecisionFigures, PredictFiles, StartRun, path,
};
use assay_server::Work;
use client::Client;
use std::path::Path;
use std::process::ExitCode;

/// Keeps the memory of one training step for the next.
#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let level = if arguments.verbose { "info" } else { "error" };
    let filter = tracing_subscriber::EnvFilter::try_from_env("ASSAY_LOG").unwrap_or_else(|_| level.into());
    // A closed standard error must not panic.
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false).init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            out::tell(format_args!("assay: the runtime does not start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(run(arguments)).and_then(|code| Ok(out::finish().map(|()| code)?));
    let code = code.unwrap_or_else(|error| match out::is_closed(&error) {
        true => ExitCode::from(out::CLOSED),
        false => {
            out::tell(format_args!("assay: {error:#}"));
            ExitCode::FAILURE
        }
    });
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    code
}

async fn run(arguments: Arguments) -> Result<ExitCode> {
    let root = arguments.workspace_folder()?;
    if let Command::Check { model, spec, junit } = &arguments.command
        && Path::new(model).is_dir()
    {
        return check::folder(Path::new(model), spec, junit.as_deref(), arguments.json);
    }
    if let Command::Ui = &arguments.command {
        return serve::ui(&root).await;
    }
    let work = match &arguments.command {
        Command::Serve { .. } => Work::All,
        _ => Work::Own,
    };
    let existed = root.join("assay.db").exists();
    let client = Client::open(&root, work).await?;
    let result = command(&client, &arguments, existed).await;
    client.close().await;
    match (&arguments.command, &result) {
        (Command::Demo { no_open: false }, Ok(code)) if *code == ExitCode::SUCCESS => serve::ui(&root).await,
        _ => result,
    }
}

async fn command(client: &Client, arguments: &Arguments, existed: bool) -> Result<ExitCode> {
    let json = arguments.json;
    match &arguments.command {
        Command::Init { .. } => {
            let word = if existed { "the workspace is there already" } else { "made the workspace" };
            out::line(format_args!("{word}: {}", client.root().display()))?;
        }
        Command::Demo { .. } => return demo::train_on_digits(client, json).await,
        Command::Import { source, name, val, test, seed, multi_label, step, time } => {
            let request = ImportRequest {
                source: assay_engine::place_text(&std::path::absolute(source)?),
                name: name.clone(),
                val: *val,
                test: *test,
                seed: *seed,
                labelling: if *multi_label { Labelling::AnyClasses } else { Labelling::OneClass },
                step: step.clone(),
                time: time.clone(),
            };
            let job: Job = client.post(path::DATASETS, &request).await?;
            return train::follow_job(client, job, json).await;
        }
        Command::Sources { forget: Some(source) } => client.delete(&format!("{}/{source}", path::SOURCES)).await?,
        Command::Sources { forget: None } => {
            tables::sources(&client.get::<Vec<LogSource>>(path::SOURCES).await?, json)?
        }
        Command::Datasets { removed } => {
            let removed = if *removed { "?removed=true" } else { "" };
            tables::datasets(&client.get::<Vec<Dataset>>(&format!("{}{removed}", path::DATASETS)).await?, json)?;
        }
        Command::Data { what } => return data::data(client, what, json).await,
        Command::Snapshots { dataset } => {
            let found = find_dataset(client, dataset.as_deref(), "after snapshots").await?;
            tables::snapshots(&client.get::<Vec<Snapshot>>(&path::dataset(found.id, "/snapshots")).await?, json)?;
        }
        Command::Train { explain: Some(key), .. } => {
            tables::config(&tables::chosen(client.get(path::CONFIG).await?, Some(key))?, json)?;
        }
        Command::Train { config, overrides, dataset, name, experiment, note, resume, detach, .. } => {
            let run = match resume {
                Some(text) => client.post(&path::run(client.find_run(text).await?, "/resume"), &()).await?,
                None => {
                    let request = StartRun {
                        dataset: match dataset {
                            Some(dataset) => dataset.clone(),
                            None => find_dataset(client, None, "with --data").await?.id.to_string(),
                        },
                        config: train::read_config(config.as_deref())?,
                        overrides: overrides.clone(),
                        name: name.clone(),
                        experiment: experiment.clone(),
                        note: note.clone().unwrap_or_default(),
                        command: Some(client::this_command()),
                        ..StartRun::default()
                    };
                    client.post(path::RUNS, &request).await?
                }
            };
            return train::follow_run(client, run, *detach, json).await;
        }
        Command::Config { recipe: Some(recipe), .. } => {
            out::text(client.get::<String>(&path::recipe(recipe)).await?)?;
        }
        Command::Config { key, markdown, .. } => {
            let fields = tables::chosen(client.get(path::CONFIG).await?, key.as_deref())?;
            match markdown {
                true => out::text(tables::config_markdown(&fields))?,
                false => tables::config(&fields, json)?,
            }
        }
        Command::Runs { filter, sort, limit, columns, deleted } => {
            let query = assay_protocol::RunsQuery {
                filter: filter.join(" "),
                sort: sort.clone(),
                limit: Some(*limit),
                deleted: *deleted,
                ..Default::default()
            };
            let reply = client.get(&format!("{}{}", path::RUNS, query.to_query())).await?;
            runs::runs(&reply, columns, client.get::<About>(path::ABOUT).await?.now, json)?;
        }
        Command::Show { run } => {
            let detail = client.get(&path::run(client.find_run(run).await?, "")).await?;
            show::everything(&detail, client.get::<About>(path::ABOUT).await?.now, json)?;
        }
        Command::Compare { runs, all, chart, metric } => {
            let mut ids = Vec::new();
            for run in runs {
                ids.push(client.find_run(run).await?.to_string());
            }
            let ids = ids.join(",");
            let comparison: Comparison = client.get(&format!("{}?runs={ids}", path::COMPARE)).await?;
            let comparison = tables::with_metric(comparison, metric.as_deref())?;
            if let Some(file) = chart {
                let key = metric.clone().unwrap_or_else(|| "val/loss".to_owned());
                let query = assay_protocol::SeriesQuery { runs: ids, key, ..Default::default() };
                let svg = client.bytes(&format!("{}{}", path::CHART, query.to_query())).await?;
                client::write_whole(file, &svg)?;
                out::tell(format_args!("wrote {}", file.display()));
            }
            tables::comparison(&comparison, *all, json)?;
        }
        Command::Delete { names, experiment } => return edit::delete(client, kind(*experiment), names).await,
        Command::Restore { names, experiment } => return edit::restore(client, kind(*experiment), names).await,
        Command::Rename { from, to, experiment } => edit::rename(client, kind(*experiment), from, to).await?,
        Command::Tag { words, experiment } => return edit::tag(client, kind(*experiment), words).await,
        Command::Note { words, experiment } => return edit::note(client, kind(*experiment), words).await,
        Command::History { run, key, .. } => metrics::history(client, run, key, json).await?,
        Command::Metric { key, best } => metrics::metric(client, key.as_deref(), *best, json).await?,
        Command::Stop { run } => {
            let run: assay_protocol::domain::entity::Run =
                client.post(&path::run(client.find_run(run).await?, "/stop"), &()).await?;
            out::line(format_args!("run {} ({}) is asked to stop", run.id, run.name))?;
        }
        Command::Profile { run, limit } => {
            let profile = client.get(&path::run(client.find_run(run).await?, "/profile")).await?;
            tables::profile(&profile, *limit, json)?;
        }
        Command::Alerts { what } => alerts::alerts(client, what.as_ref(), json).await?,
        Command::Evaluate { run, split, dataset, snapshot, against } => {
            let request = EvaluateRequest { split: Some(*split), dataset: dataset.clone(), snapshot: snapshot.clone() };
            return model::evaluate(client, run, &request, against.as_deref(), json).await;
        }
        Command::Predict { images, model, checkpoint, format, output, views, precision } => {
            let request = PredictFiles {
                paths: Vec::new(),
                checkpoint: checkpoint.clone(),
                views: Some(views.clone()),
                precision: Some(precision.clone()),
            };
            let format = if json { PredictionFormat::Jsonl } else { *format };
            return predict::predict(client, model, images, request, (format, output.as_deref())).await;
        }
        Command::Quantize { run, split } => {
            let request = EvaluateRequest { split: Some(*split), ..EvaluateRequest::default() };
            let address = path::run(client.find_run(run).await?, "/precisions");
            let figures: Vec<PrecisionFigures> = client.post(&address, &request).await?;
            tables::precisions(&figures, json)?;
        }
        Command::Check { model, spec, junit } => {
            let request = CheckRequest { spec: std::path::absolute(spec)?.display().to_string() };
            let verdicts = client.post(&path::run(client.find_run(model).await?, "/check"), &request).await?;
            return check::tell(verdicts, junit.as_deref(), json);
        }
        Command::Export { run, folder, checkpoint } => {
            model::export(client, run, folder, checkpoint.as_deref()).await?
        }
        Command::Serve { address, port, token } => return serve::serve(client, *address, *port, token.clone()).await,
        Command::Gc { yes } => {
            tables::garbage(&client.post::<GcReply>(path::GC, &GcRequest { dry: !yes }).await?, json)?;
        }
        Command::Backup { folder } => {
            let request = BackupRequest { folder: std::path::absolute(folder)?.display().to_string() };
            tables::backup(&client.post::<BackupReply>(path::BACKUP, &request).await?, json)?;
        }
        Command::Merge { folder } => {
            let request = MergeRequest { folder: std::path::absolute(folder)?.display().to_string() };
            return tables::merged(&client.post::<MergeReply>(path::MERGE, &request).await?, json);
        }
        Command::Doctor { deep } => {
            let deep = if *deep { "?deep=true" } else { "" };
            let checks: Vec<Check> = client.get(&format!("{}{deep}", path::DOCTOR)).await?;
            return tables::doctor(checks, json);
        }
        Command::Ui => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// The kind that `--experiment` selects.
fn kind(of_experiments: bool) -> edit::Kind {
    if of_experiments { edit::Kind::Experiments } else { edit::Kind::Runs }
}

/// The dataset of this name or number, else the only one; `how` is where it is named.
async fn find_dataset(client: &Client, named: Option<&str>, how: &str) -> Result<Dataset> {
    let mut datasets: Vec<Dataset> = client.get(path::DATASETS).await?;
    let place = match named {
        Some(named) => {
            let by_name = datasets.iter().position(|found| found.name == named);
            let found = by_name.or_else(|| datasets.iter().position(|found| found.id.to_string() == named));
            found.with_context(|| format!("there is no dataset {named}: assay datasets lists them"))?
        }
        None if datasets.is_empty() => anyhow::bail!("there is no dataset yet: assay import FOLDER"),
        None if datasets.len() == 1 => 0,
        None => {
            let names: Vec<&str> = datasets.iter().map(|dataset| dataset.name.as_str()).collect();
            anyhow::bail!("name the dataset {how}: {}", names.join(", "))
        }
    };
    Ok(datasets.swap_remove(place))
}
