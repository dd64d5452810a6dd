//! Models: the checkpoints of all runs, prediction of one image, export.

use crate::{Engine, EngineError, Result};
use assay_domain::entity::CheckpointKind;
use assay_domain::scores::decided;
use assay_domain::{ClassId, Labelling, RunId};
use assay_learn::{Classifier, DeviceChoice, Views};
use assay_protocol::{FilePrediction, ModelCard, PredictFiles, PredictedClass, PredictionReply};
use assay_store::Hash;
use rayon::prelude::*;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// The exported files that a model is made of again.
pub(crate) const WEIGHTS: &str = "model.safetensors";
pub(crate) const CONFIG: &str = "config.toml";
pub(crate) const CLASSES: &str = "classes.txt";

/// With how many bits a model's weights are multiplied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ModelPrecision {
    #[default]
    Fp32,
    Int8,
}

/// The classifier that predicted last, for the next image.
#[derive(Default)]
pub(crate) struct Models {
    last: Mutex<Option<Loaded>>,
}

struct Loaded {
    run: RunId,
    weights: String,
    precision: ModelPrecision,
    classifier: Arc<Classifier>,
    classes: Vec<String>,
}

impl Engine {
    /// The checkpoints of all runs, the newest run first.
    pub fn models(&self) -> Result<Vec<ModelCard>> {
        let now = (self.clock)();
        Ok(self.store.read(|reader| {
            let evaluations = reader.evaluations(None)?;
            let mut cards = Vec::new();
            for checkpoint in reader.checkpoints(None)? {
                let run = reader.run(checkpoint.run, now)?;
                let tested = evaluations.iter().find(|evaluation| {
                    evaluation.run == run.id
                        && evaluation.checkpoint == checkpoint.kind
                        && evaluation.split == assay_domain::Split::Test
                });
                cards.push(ModelCard {
                    test_accuracy: tested.and_then(|evaluation| evaluation.confusion.accuracy()),
                    dataset: run.dataset.map(|dataset| reader.dataset(dataset)).transpose()?,
                    run,
                    checkpoint,
                });
            }
            Ok(cards)
        })?)
    }

    /// What a run's model says of an image.
    pub fn predict(&self, run: RunId, checkpoint: Option<&str>, image: &[u8]) -> Result<PredictionReply> {
        let begun = Instant::now();
        let kind = self.kind(run, checkpoint)?;
        let (classifier, classes) = self.loaded(run, kind, ModelPrecision::Fp32)?;
        let image = assay_media::decode(image)?;
        let probabilities = classifier.predict(&assay_media::square(&image, classifier.image_size() as u32))?;
        let classes = sorted(&classes, probabilities, classifier.labelling());
        Ok(PredictionReply { classes, elapsed_ms: begun.elapsed().as_secs_f64() * 1000.0 })
    }

    /// What a run's model says of image files, in their order; a file that cannot be predicted has its reason.
    pub fn predict_files(&self, run: RunId, request: &PredictFiles) -> Result<Vec<FilePrediction>> {
        let kind = self.kind(run, request.checkpoint.as_deref())?;
        let views = match request.views.as_deref() {
            None | Some("") => Views::One,
            Some(name) => Views::parse(name)
                .ok_or_else(|| EngineError::Invalid(format!("views are one, mirrored or ten-crop, not {name:?}")))?,
        };
        let precision = match request.precision.as_deref() {
            None | Some("" | "fp32") => ModelPrecision::Fp32,
            Some("int8") => ModelPrecision::Int8,
            Some(other) => return Err(EngineError::Invalid(format!("precision is fp32 or int8, not {other:?}"))),
        };
        let (classifier, classes) = self.loaded(run, kind, precision)?;
        let side = views.side(classifier.image_size()) as u32;
        let read = |path: &String| -> Result<Vec<u8>> {
            Ok(assay_media::square(&assay_media::decode(&bytes_of(path)?)?, side))
        };
        let squares: Vec<Result<Vec<u8>>> = request.paths.par_iter().map(read).collect();
        let pixels: Vec<u8> = squares.iter().flatten().flatten().copied().collect();
        let mut found =
            if pixels.is_empty() { Vec::new() } else { classifier.predict_views(&pixels, views)? }.into_iter();
        let prediction = |(path, square): (&String, Result<Vec<u8>>)| match square {
            Ok(_) => FilePrediction {
                path: path.clone(),
                classes: sorted(&classes, found.next().unwrap_or_default(), classifier.labelling()),
                labelling: classifier.labelling(),
                error: None,
            },
            Err(why) => FilePrediction {
                path: path.clone(),
                classes: Vec::new(),
                labelling: classifier.labelling(),
                error: Some(why.to_string()),
            },
        };
        Ok(request.paths.iter().zip(squares).map(prediction).collect())
    }

    /// A model as files: the names of the weights, the config that they need, the names of the classes, the record, the
    /// same model as ONNX, and the card that says what it is.
    pub fn export(&self) -> [&'static str; 6] {
        [WEIGHTS, CONFIG, CLASSES, "record.json", "model.onnx", "README.md"]
    }

    /// One of the files of [`Engine::export`].
    pub fn exported(&self, run: RunId, checkpoint: Option<&str>, name: &str) -> Result<Vec<u8>> {
        let kind = self.kind(run, checkpoint)?;
        let record = self.store.read(|reader| reader.record(run))?;
        let record = record.ok_or_else(|| EngineError::NotFound(format!("run {run} has no record yet")))?;
        let classes = record.data.as_ref().map(|data| data.classes.clone()).unwrap_or_default();
        let classifier = || Ok::<_, EngineError>(self.classifier_on(run, kind, &DeviceChoice::Cpu.open()?)?.0);
        match name {
            WEIGHTS => {
                let checkpoint = self.store.read(|reader| reader.checkpoint(run, kind))?;
                Ok(self.store.blobs().get(&Hash::parse(&checkpoint.weights.hash)?)?)
            }
            CONFIG => Ok(record.config.into_bytes()),
            CLASSES => Ok((classes.join("\n") + "\n").into_bytes()),
            "record.json" => serde_json::to_vec_pretty(&record).map_err(|why| EngineError::Internal(why.to_string())),
            "model.onnx" => Ok(classifier()?.to_onnx(&classes)?),
            "README.md" => Ok(self.model_card(&self.run(run)?, kind, &record, &classifier()?)?.into_bytes()),
            other => Err(EngineError::NotFound(format!("a model is not exported as {other:?}"))),
        }
    }

    fn kind(&self, run: RunId, asked: Option<&str>) -> Result<CheckpointKind> {
        match asked {
            None | Some("") => self.best_kind(run),
            Some("best") => Ok(CheckpointKind::Best),
            Some("last") => Ok(CheckpointKind::Last),
            Some(other) => Err(EngineError::Invalid(format!("checkpoint is best or last, not {other:?}"))),
        }
    }

    fn loaded(
        &self,
        run: RunId,
        kind: CheckpointKind,
        precision: ModelPrecision,
    ) -> Result<(Arc<Classifier>, Vec<String>)> {
        let weights = self.store.read(|reader| reader.checkpoint(run, kind))?.weights.hash;
        let mut last = self.models.last.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |loaded: &&Loaded| loaded.run == run && loaded.weights == weights && loaded.precision == precision;
        if let Some(loaded) = last.as_ref().filter(is_it) {
            return Ok((loaded.classifier.clone(), loaded.classes.clone()));
        }
        let (classifier, classes) = match precision {
            ModelPrecision::Fp32 => self.classifier(run, kind)?,
            ModelPrecision::Int8 => {
                let (classifier, classes) = self.classifier_on(run, kind, &DeviceChoice::Cpu.open()?)?;
                (classifier.quantized()?, classes)
            }
        };
        let classifier = Arc::new(classifier);
        *last = Some(Loaded { run, weights, precision, classifier: classifier.clone(), classes: classes.clone() });
        Ok((classifier, classes))
    }
}

/// Reads a file to predict. Other than regular files are not opened: reading may never end.
fn bytes_of(path: &str) -> Result<Vec<u8>> {
    let unreadable = |why: std::io::Error| EngineError::NotFound(format!("it cannot be read: {why}"));
    // The client may not have escaped the path.
    let file = [assay_formats::path_of_text(path), path.into()].into_iter().find(|file| file.exists());
    let file = file.unwrap_or_else(|| path.into());
    if !std::fs::metadata(&file).map_err(unreadable)?.is_file() {
        return Err(EngineError::Invalid("it is not a file".into()));
    }
    std::fs::read(&file).map_err(unreadable)
}

/// Classes with their probabilities, the most probable first.
fn sorted(classes: &[String], probabilities: Vec<f32>, labelling: Labelling) -> Vec<PredictedClass> {
    let said = decided(&probabilities, labelling);
    let named = classes.iter().cloned().zip(probabilities).enumerate();
    let mut sorted: Vec<PredictedClass> = named
        .map(|(place, (class, probability))| {
            let is_predicted = said.contains(ClassId(place as i64));
            PredictedClass { class, probability, is_predicted }
        })
        .collect();
    sorted.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    sorted
}
