//! How long optimizer steps take, on images of noise, and how long the loading of images.

pub use assay_kernels::peak_device_bytes;

use crate::layers::Mode;
use crate::learner::Learner;
use crate::loader::{Batch, Form, Loader, Of, Plan, Samples, Target};
use crate::parameters::serialize;
use crate::part::Part;
use crate::random::{self, Purpose, between};
use crate::tape::{Tape, Value};
use crate::weights::Weights;
use crate::{Config, Device, LearnError, Result};
use assay_kernels::{KeptMemory, Uploads, cross_entropy_gradient};
use candle_core::Tensor;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The parts of an optimizer step.
#[derive(Clone, Copy, Debug, Default)]
pub struct StepTime {
    /// From the images to the loss.
    pub forward: Duration,
    /// From the loss to the gradients.
    pub backward: Duration,
    /// From the gradients to the new parameters.
    pub update: Duration,
}

impl StepTime {
    /// The whole step.
    pub fn total(&self) -> Duration {
        self.forward + self.backward + self.update
    }
}

/// Times `steps` optimizer steps of a config, each on the same batch of noise, after `warmup` that are not counted.
///
/// # Errors
/// When the config fits no model.
pub fn measure_steps(
    config: &Config,
    classes: usize,
    device: &Device,
    (warmup, steps): (usize, usize),
) -> Result<Vec<StepTime>> {
    let _memory = KeptMemory::new();
    let batch = noise(config, classes, device)?;
    let mut learner = Learner::begin(config, classes, device)?;
    let mut times = Vec::new();
    for _ in 0..warmup + steps {
        times.push(learner.timed_step(&batch)?);
    }
    Ok(times.split_off(warmup))
}

/// The mean time of `steps` optimizer steps that follow each other as in training, so that a GPU is never waited for in
/// between, after `warmup` that are not counted.
///
/// # Errors
/// When the config fits no model.
pub fn measure_stream(
    config: &Config,
    classes: usize,
    device: &Device,
    (warmup, steps): (usize, usize),
) -> Result<Duration> {
    let _memory = KeptMemory::new();
    let batch = noise(config, classes, device)?;
    let mut learner = Learner::begin(config, classes, device)?;
    for _ in 0..warmup {
        learner.step(&batch, Part::WHOLE, 1.0)?;
    }
    device.synchronize()?;
    let begun = Instant::now();
    for _ in 0..steps {
        learner.step(&batch, Part::WHOLE, 1.0)?;
    }
    device.synchronize()?;
    Ok(begun.elapsed() / steps.max(1) as u32)
}

/// The time in which the batches of each training epoch are loaded and augmented, when nothing is learned from them.
///
/// # Errors
/// When an image cannot be read.
pub fn measure_loading(config: &Config, samples: &Arc<dyn Samples>, epochs: u64) -> Result<Vec<Duration>> {
    let _memory = KeptMemory::new();
    let (size, uploads) = (image_size(config)?, Uploads::to(&Device::Cpu));
    let of_epoch = |epoch| {
        let plan = Plan::train(config, size, 0, epoch).untargeted();
        let begun = Instant::now();
        for batch in Loader::start(samples, &plan, 0, &uploads) {
            batch?;
        }
        Ok(begun.elapsed())
    };
    (0..epochs).map(of_epoch).collect()
}

/// What a model with given weights makes of images, (batch, size, size, 3) values each, and the gradients of the mean
/// cross-entropy, both as it infers; and the logits with the statistics of the batch, as a safetensors file: "logits",
/// "inferred_logits" (by the plan of inference), "batch_logits", and "gradient of NAME" for each parameter. For comparing with a reference.
///
/// # Errors
/// When the weights do not fit.
pub fn outputs_and_gradients(
    config: &Config,
    classes: usize,
    weights: &Weights,
    images: &[f32],
    labels: &[u32],
) -> Result<Vec<u8>> {
    let (size, device) = (image_size(config)?, &Device::Cpu);
    let mut learner = Learner::begin(config, classes, device)?;
    learner.adopt(weights)?;
    let input = Value::input(Tensor::from_slice(images, (labels.len(), size, size, 3), device)?);
    let mut tape = Tape::recording();
    let logits = learner.model.forward(&mut tape, &input, Mode::Infer)?;
    let share = Tensor::full(1.0 / labels.len() as f32, labels.len(), device)?;
    let grad = cross_entropy_gradient(&logits.tensor, &Tensor::new(labels, device)?, 0.0, &share)?;
    let gradients = tape.backward(logits.place, grad)?;
    let plan = learner.model.inference()?;
    let inferred = learner.model.infer(plan.as_ref(), input.tensor.clone())?.logits;
    let mut found = vec![("logits".to_owned(), logits.tensor), ("inferred_logits".to_owned(), inferred)];
    for (name, var) in learner.parameters.iter() {
        let gradient = gradients.get(var).cloned().unwrap_or(var.as_tensor().zeros_like()?);
        found.push((format!("gradient of {name}"), gradient));
    }
    if !learner.model.is_random() {
        let mode = Mode::Train { seed: 0, step: 1 };
        found.push(("batch_logits".into(), learner.model.forward(&mut Tape::silent(), &input, mode)?.tensor));
    }
    serialize(found.into_iter())
}

/// A batch of noise.
pub(crate) fn noise(config: &Config, classes: usize, device: &Device) -> Result<Batch> {
    let (count, size) = (config.train.batch_size, image_size(config)?);
    let mut random = random::stream(config.seed, Purpose::Order { epoch: 0 });
    let pixels: Vec<f32> = (0..count * size * size * 3).map(|_| between(&mut random, -1.0, 1.0) as f32).collect();
    let labels: Vec<Vec<u32>> = (0..count).map(|index| vec![(index % classes) as u32]).collect();
    let form = Form::of(config.train.labelling(), classes);
    Ok(Batch {
        input: Tensor::from_vec(pixels, (count, size, size, 3), device)?,
        of: Of::Images,
        targets: vec![Target::new(&labels, form, vec![1.0 / count as f32; count], device)?],
        labels,
        samples: (0..count).collect(),
    })
}

fn image_size(config: &Config) -> Result<usize> {
    match config.data.image_size {
        0 => Err(LearnError::Data("data.image_size must be given to measure".into())),
        size => Ok(size),
    }
}
