//! Batches in order, made ahead of time by threads.

use crate::augment::Change;
use crate::config::{Augment, Config};
use crate::random::{self, Purpose};
use crate::{Device, LearnError, Result};
use candle_core::Tensor;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

/// Where images and labels come from.
pub trait Samples: Send + Sync {
    /// How many there are.
    fn count(&self) -> usize;
    /// The class of a sample.
    fn label(&self, index: usize) -> u32;
    /// Shows the sample to `see` as `side` x `side` RGB bytes, row by row; the error says which file failed and why.
    fn show(&self, index: usize, side: usize, see: &mut dyn FnMut(&[u8])) -> Result<(), String>;
}

/// What a pass over the samples needs to know.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) epoch: u64,
    /// The side of the images that a model sees, in pixels.
    pub(crate) size: usize,
    /// The side of the images that samples show, in pixels.
    side: usize,
    pub(crate) batch: usize,
    pub(crate) threads: usize,
    mean: [f32; 3],
    std: [f32; 3],
    augment: Option<Augment>,
}

impl Plan {
    /// Every sample once, shuffled and augmented.
    pub(crate) fn train(config: &Config, size: usize, epoch: u64) -> Plan {
        let side = config.augment.source_side(size);
        Plan { epoch, side, augment: Some(config.augment.clone()), ..Plan::infer(config, size) }
    }

    /// Every sample once, in order, as it is.
    pub(crate) fn infer(config: &Config, size: usize) -> Plan {
        Plan {
            seed: config.seed,
            epoch: 0,
            size,
            side: size,
            batch: config.train.batch_size,
            threads: config.train.loader_threads,
            mean: config.data.mean.map(|value| value as f32),
            std: config.data.std.map(|value| value as f32),
            augment: None,
        }
    }

    /// Normalises RGB values in 0..=255, pixel by pixel.
    pub(crate) fn normalise(&self, values: &mut [f32]) {
        let scale = self.std.map(|std| 1.0 / (255.0 * std));
        let shift: [f32; 3] = std::array::from_fn(|channel| self.mean[channel] / self.std[channel]);
        for pixel in values.as_chunks_mut::<3>().0 {
            for channel in 0..3 {
                pixel[channel] = pixel[channel] * scale[channel] - shift[channel];
            }
        }
    }
}

/// One batch on the device.
pub(crate) struct Batch {
    /// (batch, size, size, 3) f32.
    pub(crate) images: Tensor,
    /// (batch) u32.
    pub(crate) labels: Tensor,
}

type Made = (usize, Result<(Vec<f32>, Vec<u32>), String>);

/// The batches of one pass, in order. The threads run at most a few batches ahead and end when it is dropped.
pub(crate) struct Loader {
    made: Receiver<Made>,
    early: BTreeMap<usize, Made>,
    next: usize,
    count: usize,
    size: usize,
    device: Device,
    waited: Duration,
}

impl Loader {
    /// Starts at batch `first`.
    pub(crate) fn start(samples: &Arc<dyn Samples>, plan: &Plan, first: usize, device: &Device) -> Loader {
        let order: Arc<[usize]> = match plan.augment {
            Some(_) => random::permutation(
                &mut random::stream(plan.seed, Purpose::Order { epoch: plan.epoch }),
                samples.count(),
            ),
            None => (0..samples.count()).collect(),
        }
        .into();
        let count = order.len().div_ceil(plan.batch);
        let next = Arc::new(AtomicUsize::new(first));
        let (send, made) = mpsc::sync_channel(plan.threads * 2);
        for _ in 0..plan.threads {
            let (samples, plan, order) = (samples.clone(), plan.clone(), order.clone());
            let (next, send) = (next.clone(), send.clone());
            std::thread::spawn(move || {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(chosen) = order.chunks(plan.batch).nth(index) else { return };
                    if send.send((index, make(samples.as_ref(), &plan, chosen))).is_err() {
                        return; // the loader is gone
                    }
                }
            });
        }
        let (size, device) = (plan.size, device.clone());
        Loader { made, early: BTreeMap::new(), next: first, count, size, device, waited: Duration::ZERO }
    }

    /// How long the caller has waited for batches so far.
    pub(crate) fn waited(&self) -> Duration {
        self.waited
    }
}

impl Iterator for Loader {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Result<Batch>> {
        if self.next >= self.count {
            return None;
        }
        let before = Instant::now();
        while !self.early.contains_key(&self.next) {
            match self.made.recv() {
                Ok(made) => self.early.insert(made.0, made),
                Err(_) => return Some(Err(LearnError::Data("a loader thread ended early".into()))),
            };
        }
        self.waited += before.elapsed();
        let (_, made) = self.early.remove(&self.next)?;
        self.next += 1;
        Some(made.map_err(LearnError::Data).and_then(|(images, labels)| {
            let count = labels.len();
            Ok(Batch {
                images: Tensor::from_vec(images, (count, self.size, self.size, 3), &self.device)?,
                labels: Tensor::from_vec(labels, count, &self.device)?,
            })
        }))
    }
}

fn make(samples: &dyn Samples, plan: &Plan, chosen: &[usize]) -> Result<(Vec<f32>, Vec<u32>), String> {
    let mut images = Vec::with_capacity(chosen.len() * 3 * plan.size * plan.size);
    let mut labels = Vec::with_capacity(chosen.len());
    for &index in chosen {
        let begin = images.len();
        samples.show(index, plan.side, &mut |pixels| match &plan.augment {
            Some(rules) => {
                let purpose = Purpose::Augment { epoch: plan.epoch, sample: index as u64 };
                let change = Change::draw(rules, &mut random::stream(plan.seed, purpose));
                change.apply(pixels, plan.side, plan.size, &mut images);
            }
            None => images.extend(pixels.iter().map(|value| f32::from(*value))),
        })?;
        plan.normalise(&mut images[begin..]);
        labels.push(samples.label(index));
    }
    Ok((images, labels))
}
