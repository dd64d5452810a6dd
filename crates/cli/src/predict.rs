//! Predicting many images: batch by batch, each written as soon as it is there.

use crate::arguments::PredictionFormat;
use crate::client::Client;
use anyhow::{Context, Result, bail};
use assay_engine::ImageFiles;
use assay_protocol::domain::content::ImageKind;
use assay_protocol::domain::{Labelling, counted};
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
    let absolute: Vec<PathBuf> = images.iter().map(std::path::absolute).collect::<Result<_, _>>()?;
    let found = assay_engine::images_in(&absolute);
    for (path, why) in &found.left_out {
        crate::out::tell(format_args!("{path}: {why}"));
    }
    if found.images.is_empty() {
        bail!("{}", nothing_found(images, &found));
    }
    let images: Vec<String> = found.images.iter().map(|image| assay_engine::path_text(image)).collect();
    let mut out: Box<dyn Write> = match output {
        Some(file) => Box::new(BufWriter::new(
            std::fs::File::create(file).with_context(|| format!("the output cannot be made: {}", file.display()))?,
        )),
        None => Box::new(std::io::stdout()),
    };
    let (mut classes, mut predicted, mut left_out) = (None, 0_usize, found.left_out.len());
    for paths in images.chunks(BATCH) {
        let request = PredictFiles { paths: paths.to_vec(), ..request.clone() };
        let predictions: Vec<FilePrediction> = client.post(&address, &request).await?;
        for prediction in predictions {
            match &prediction.error {
                Some(error) => {
                    left_out += 1;
                    crate::out::tell(format_args!("{}: {error}", prediction.path));
                }
                None => {
                    predicted += 1;
                    write(&mut out, format, &mut classes, &prediction)?;
                }
            }
        }
        out.flush()?;
    }
    if left_out > 0 {
        crate::out::tell(format_args!("{} predicted, {left_out} left out", counted(predicted, "image")));
    }
    Ok(if predicted == 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Why there is no answer.
fn nothing_found(images: &[PathBuf], found: &ImageFiles) -> String {
    let named: Vec<String> = images.iter().map(|path| path.display().to_string()).collect();
    let besides = match found.passed_over + found.left_out.len() {
        0 => String::new(),
        1 => " (one file there is none)".to_owned(),
        count => format!(" ({count} files there are none)"),
    };
    format!("there are no images to predict{besides}: looked for {} in {}", ImageKind::NAMES, named.join(", "))
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
