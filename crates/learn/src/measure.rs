//! How long optimizer steps take, on images of noise, and how long the loading of images.

pub use assay_kernels::peak_device_bytes;

use crate::loader::{Batch, Loader, Plan, Samples};
use crate::random::{self, Purpose, between};
use crate::train::Learner;
use crate::{Config, Device, LearnError, Result};
use assay_kernels::KeptMemory;
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
        learner.step(&batch, 1.0)?;
    }
    device.synchronize()?;
    let begun = Instant::now();
    for _ in 0..steps {
        learner.step(&batch, 1.0)?;
    }
    device.synchronize()?;
    Ok(begun.elapsed() / steps.max(1) as u32)
}

/// The time in which the batches of a training epoch are loaded and augmented, when nothing is learned from them.
///
/// # Errors
/// When an image cannot be read.
pub fn measure_loading(config: &Config, samples: &Arc<dyn Samples>, epoch: u64) -> Result<Duration> {
    let plan = Plan::train(config, image_size(config)?, epoch);
    let _memory = KeptMemory::new();
    let begun = Instant::now();
    for batch in Loader::start(samples, &plan, 0, &Device::Cpu) {
        batch?;
    }
    Ok(begun.elapsed())
}

/// A batch of noise.
fn noise(config: &Config, classes: usize, device: &Device) -> Result<Batch> {
    let (count, size) = (config.train.batch_size, image_size(config)?);
    let mut random = random::stream(config.seed, Purpose::Order { epoch: 0 });
    let pixels: Vec<f32> = (0..count * size * size * 3).map(|_| between(&mut random, -1.0, 1.0) as f32).collect();
    Ok(Batch {
        images: Tensor::from_vec(pixels, (count, size, size, 3), device)?,
        labels: Tensor::from_iter((0..count).map(|index| (index % classes) as u32), device)?,
    })
}

fn image_size(config: &Config) -> Result<usize> {
    match config.data.image_size {
        0 => Err(LearnError::Data("data.image_size must be given to measure".into())),
        size => Ok(size),
    }
}
