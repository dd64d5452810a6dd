//! Prediction with a trained model.

use crate::inference::Inference;
use crate::judge;
use crate::loader::{Loader, Plan, Samples};
use crate::model::Model;
use crate::onnx;
use crate::parameters::Parameters;
use crate::{Config, Device, LearnError, Result, Views};
use assay_domain::Labelling;
use assay_kernels::{KeptMemory, Uploads};
use candle_core::{DType, Tensor};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a model makes of a sample.
#[derive(Clone, Copy, Debug)]
pub struct Made<'a> {
    /// The sample's index.
    pub sample: usize,
    /// One for each class.
    pub logits: &'a [f32],
    /// What the last layer sees.
    pub features: &'a [f32],
}

/// A model with its weights, ready to predict.
pub struct Classifier {
    model: Model,
    /// The quicker way, on the processor.
    inference: Option<Inference>,
    plan: Plan,
    classes: usize,
    labelling: Labelling,
    /// How many values its parameters have.
    parameters: usize,
    uploads: Uploads,
}

impl Classifier {
    /// The model of a resolved config with the weights of a safetensors file.
    pub fn load(config: &Config, classes: usize, weights: &[u8], device: &Device) -> Result<Classifier> {
        Classifier::new(config, classes, device, |parameters| parameters.load(weights))
    }

    /// The model of a resolved config with its first weights.
    pub fn untrained(config: &Config, classes: usize, device: &Device) -> Result<Classifier> {
        Classifier::new(config, classes, device, |_| Ok(()))
    }

    fn new(
        config: &Config,
        classes: usize,
        device: &Device,
        fill: impl FnOnce(&Parameters) -> Result<()>,
    ) -> Result<Classifier> {
        let mut parameters = Parameters::new(config.seed, device);
        let model = Model::new(&mut parameters, &config.model, config.data.image_size, classes)?;
        fill(&parameters)?;
        let inference = model.inference()?;
        let plan = Plan::infer(config, config.data.image_size);
        Ok(Classifier {
            model,
            inference,
            plan,
            classes,
            labelling: config.train.labelling(),
            parameters: parameters.counts().1,
            uploads: Uploads::to(device),
        })
    }

    /// The model as an ONNX file: it takes RGB values from 0 to 1, (batch, 3, size, size), normalises them, and gives logits,
    /// (batch, classes); `classes` are their names.
    ///
    /// # Errors
    /// When its tensors cannot be read.
    pub fn to_onnx(&self, classes: &[String]) -> Result<Vec<u8>> {
        let inference = self.inference.as_ref().ok_or_else(|| {
            LearnError::Data("a model is exported from the processor; load it with device = \"cpu\"".into())
        })?;
        let (mean, std) = (self.plan.mean(), self.plan.std());
        onnx::file(inference, &onnx::Besides { size: self.plan.size, mean, std, classes })
    }

    /// The same with weights of eight bits (see [`assay_kernels::QuantizedConv2d`]).
    ///
    /// # Errors
    /// When it is not on the processor.
    pub fn quantized(self) -> Result<Classifier> {
        let inference = self.inference.as_ref().ok_or_else(|| {
            LearnError::Data("weights of eight bits compute on the processor; load it with device = \"cpu\"".into())
        })?;
        Ok(Classifier { inference: Some(inference.quantized()?), ..self })
    }

    /// Bytes of the weights of its convolutions and linear layers.
    pub fn weight_bytes(&self) -> usize {
        self.inference.as_ref().map_or(self.parameters * size_of::<f32>(), Inference::bytes)
    }

    /// How many values its parameters have.
    pub fn parameters(&self) -> usize {
        self.parameters
    }

    /// How many classes it says of an image.
    pub fn labelling(&self) -> Labelling {
        self.labelling
    }

    /// The probability of each class by logits: together 1, or each by itself where an image may have any number of classes.
    pub fn probabilities(&self, logits: &[f32]) -> Vec<f32> {
        match self.labelling {
            Labelling::AnyClasses => logits.iter().map(|logit| 1.0 / (1.0 + (-logit).exp())).collect(),
            Labelling::OneClass => softmax(logits),
        }
    }

    /// The cross-entropy of logits against the classes of a sample, in nats; none where they do not fit the model.
    pub fn loss(&self, logits: &[f32], classes: &[u32]) -> Option<f64> {
        judge::loss(self.labelling, logits, classes)
    }

    /// The side of the square input, in pixels.
    pub fn image_size(&self) -> usize {
        self.plan.size
    }

    /// The probabilities of one image of `image_size` x `image_size` RGB bytes.
    pub fn predict(&self, pixels: &[u8]) -> Result<Vec<f32>> {
        match self.predict_all(pixels)?.as_mut_slice() {
            [only] => Ok(std::mem::take(only)),
            found => Err(LearnError::Data(format!("one image was to be predicted, not {}", found.len()))),
        }
    }

    /// The probabilities of each image of a batch, each of `image_size` x `image_size` RGB bytes.
    pub fn predict_all(&self, pixels: &[u8]) -> Result<Vec<Vec<f32>>> {
        let size = self.plan.size;
        let count = pixels.len() / (size * size * 3).max(1);
        if count == 0 || pixels.len() != count * size * size * 3 {
            return Err(LearnError::Data(format!("the model takes {size}x{size} RGB images")));
        }
        let mut values: Vec<f32> = pixels.iter().map(|value| f32::from(*value)).collect();
        self.plan.normalise(&mut values);
        let logits = self.logits(self.uploads.upload(values, &[count, size, size, 3])?)?;
        Ok(logits.chunks_exact(self.classes).map(|logits| self.probabilities(logits)).collect())
    }

    /// The probabilities of each image of a batch, each of [`Views::side`] RGB bytes a side: the mean over its views.
    pub fn predict_views(&self, pixels: &[u8], views: Views) -> Result<Vec<Vec<f32>>> {
        let (size, side) = (self.plan.size, views.side(self.plan.size));
        let of_image = |image: &[u8]| -> Result<Vec<f32>> {
            let found = self.predict_all(&views.of(image, size).concat())?;
            let mean = |class: usize| found.iter().map(|view| view[class]).sum::<f32>() / found.len() as f32;
            Ok((0..self.classes).map(mean).collect())
        };
        match views {
            Views::One => self.predict_all(pixels),
            _ => pixels.chunks_exact(side * side * 3).map(of_image).collect(),
        }
    }

    fn logits(&self, images: Tensor) -> Result<Vec<f32>> {
        Ok(self.model.infer(self.inference.as_ref(), images)?.logits.flatten_all()?.to_vec1::<f32>()?)
    }

    /// Passes each sample's prediction to `each`, in order, skipping unusable samples. Ends early when `stop` is set.
    pub fn run(&self, samples: &Arc<dyn Samples>, stop: &AtomicBool, mut each: impl FnMut(Made<'_>)) -> Result<()> {
        let _memory = KeptMemory::new();
        for batch in Loader::start(samples, &self.plan, 0, &self.uploads) {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let batch = batch?;
            let output = self.model.infer(self.inference.as_ref(), batch.input)?;
            let rows = |tensor: &Tensor| Ok::<_, LearnError>(tensor.to_dtype(DType::F32)?.to_vec2::<f32>()?);
            let (logits, features) = (rows(&output.logits)?, rows(&output.features)?);
            for ((logits, features), sample) in logits.iter().zip(&features).zip(batch.samples) {
                each(Made { sample, logits, features });
            }
        }
        Ok(())
    }
}

fn softmax(logits: &[f32]) -> Vec<f32> {
    let greatest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f32> = logits.iter().map(|logit| (logit - greatest).exp()).collect();
    let sum: f32 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}
