//! Predicting many images: batch by batch, each written as soon as it is there.

use crate::arguments::PredictionFormat;
use crate::client::Client;
use anyhow::{Context, Result};
use assay_protocol::domain::Labelling;
use assay_protocol::{FilePrediction, PredictFiles, PredictedClass, path};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Images of a request.
const BATCH: usize = 64;

/// Predicts images and the images in folders; what cannot be predicted is reported and the rest goes on.
pub(crate) async fn predict(
    client: &Client,
    model: &str,
    images: &[PathBuf],
    request: PredictFiles,
    (format, output): (PredictionFormat, Option<&Path>),
) -> Result<ExitCode> {
    let address = path::run(client.find_run(model).await?, "/predict-files");
    let mut out: Box<dyn Write> = match output {
        Some(file) => Box::new(BufWriter::new(
            std::fs::File::create(file).with_context(|| format!("the output cannot be made: {}", file.display()))?,
        )),
        None => Box::new(std::io::stdout()),
    };
    let (mut classes, mut failed) = (None, false);
    for paths in images_in(images)?.chunks(BATCH) {
        let request = PredictFiles { paths: paths.to_vec(), ..request.clone() };
        let predictions: Vec<FilePrediction> = client.post(&address, &request).await?;
        for prediction in predictions {
            match &prediction.error {
                Some(error) => {
                    failed = true;
                    crate::out::tell(format_args!("{}: {error}", prediction.path));
                }
                None => write(&mut out, format, &mut classes, &prediction)?,
            }
        }
        out.flush()?;
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Writes one prediction; `classes` are the columns of a CSV, known from its first row on.
fn write(
    out: &mut dyn Write,
    format: PredictionFormat,
    classes: &mut Option<Vec<String>>,
    prediction: &FilePrediction,
) -> Result<()> {
    let FilePrediction { path, classes: found, .. } = prediction;
    let share = |class: &PredictedClass| format!("{} {:.1} %", class.class, class.probability * 100.0);
    match format {
        PredictionFormat::Text => {
            let told: Vec<String> = match prediction.labelling {
                Labelling::OneClass => found.iter().take(3).map(share).collect(),
                Labelling::AnyClasses => found.iter().filter(|class| class.is_predicted).map(share).collect(),
            };
            let told = if told.is_empty() { "none of the classes".to_owned() } else { told.join(", ") };
            writeln!(out, "{path}: {told}")?;
        }
        PredictionFormat::Jsonl => {
            writeln!(out, "{}", serde_json::json!({ "image": path, "classes": found }))?;
        }
        PredictionFormat::Csv => {
            if classes.is_none() {
                let mut names: Vec<String> = found.iter().map(|c| c.class.clone()).collect();
                names.sort();
                // What a list of labels has too, so that it can be imported as one.
                let said: &[&str] = match prediction.labelling {
                    Labelling::OneClass => &["image", "class", "probability"],
                    Labelling::AnyClasses => &["image", "labels"],
                };
                let head = said.iter().map(|name| (*name).to_owned()).chain(names.clone());
                writeln!(out, "{}", row(head))?;
                *classes = Some(names);
            }
            let probability =
                |name: &String| found.iter().find(|c| c.class == *name).map_or(0.0, |c| c.probability).to_string();
            let said: Vec<&str> = found.iter().filter(|c| c.is_predicted).map(|c| c.class.as_str()).collect();
            let said = if said.is_empty() { "none".to_owned() } else { said.join("|") };
            let most = found.first().filter(|_| prediction.labelling == Labelling::OneClass);
            let best = [said].into_iter().chain(most.map(|class| class.probability.to_string()));
            let columns = classes.iter().flatten().map(probability);
            writeln!(out, "{}", row([path.clone()].into_iter().chain(best).chain(columns)))?;
        }
    }
    Ok(())
}

/// Cells of a CSV, quoted where they must be (RFC 4180).
fn row(cells: impl Iterator<Item = String>) -> String {
    let quoted = |cell: String| match cell.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell,
    };
    cells.map(quoted).collect::<Vec<_>>().join(",")
}

/// The files, and those in folders and below in the order of their paths, as absolute paths.
fn images_in(paths: &[PathBuf]) -> Result<Vec<String>> {
    let mut images = Vec::new();
    let mut waiting: Vec<PathBuf> = paths.iter().rev().map(std::path::absolute).collect::<Result<_, _>>()?;
    while let Some(path) = waiting.pop() {
        if !path.is_dir() {
            images.push(path.display().to_string());
            continue;
        }
        let entries =
            std::fs::read_dir(&path).with_context(|| format!("the folder cannot be read: {}", path.display()))?;
        let mut inside: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        // Folders that are links may lead back, and notes lie beside images.
        inside.retain(|path| if path.is_dir() { !path.is_symlink() } else { assay_engine::named_as_image(path) });
        inside.sort();
        waiting.extend(inside.into_iter().rev());
    }
    Ok(images)
}
