//! Batches in order, made ahead of time by threads.

use crate::augment::Change;
use crate::config::{Augment, Config, Sampler};
use crate::mix::Mix;
use crate::random::{self, Purpose, uniform};
use crate::{Device, LearnError, Result};
use assay_domain::Labelling;
use assay_kernels::Uploads;
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
    /// The classes of a sample.
    fn classes(&self, index: usize) -> &[u32];
    /// Passes the sample to `see` as `side` x `side` RGB bytes, row-major. The error names the file and the reason:
    /// training takes the next sample instead, other passes skip it.
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
    order: Order,
    /// How images are changed before a model sees them.
    augment: Option<Augment>,
    /// How labels are laid out, where they are to be learned.
    targets: Option<Form>,
    /// How much a sample of each class counts; all the same without.
    class_weights: Option<Arc<[f32]>>,
    /// What a model makes of each sample, instead of images.
    features: Option<Arc<Features>>,
}

/// In which order a pass goes through the samples.
#[derive(Clone, Copy)]
enum Order {
    /// As they are.
    Kept,
    /// By the config.
    Of(Sampler),
}

/// How the labels of a batch are laid out.
#[derive(Clone, Copy)]
pub(crate) enum Form {
    /// The class of each sample, (batch) u32.
    Classes,
    /// 1 for each class that a sample has, else 0, (batch, classes) f32.
    Sets { classes: usize },
}

impl Form {
    /// As the loss wants it.
    pub(crate) fn of(labelling: Labelling, classes: usize) -> Form {
        match labelling {
            Labelling::OneClass => Form::Classes,
            Labelling::AnyClasses => Form::Sets { classes },
        }
    }

    fn tensor(self, labels: &[Vec<u32>], device: &Device) -> Result<Tensor> {
        match self {
            Form::Classes => {
                let one = |classes: &Vec<u32>| match classes.as_slice() {
                    [class] => Ok(*class),
                    _ => Err(LearnError::Data(format!("a sample has {} classes, not one", classes.len()))),
                };
                let classes = labels.iter().map(one).collect::<Result<Vec<u32>>>()?;
                Ok(Tensor::from_vec(classes, labels.len(), device)?)
            }
            Form::Sets { classes } => {
                let mut values = vec![0.0f32; labels.len() * classes];
                for (row, own) in values.chunks_exact_mut(classes).zip(labels) {
                    own.iter().for_each(|class| row[*class as usize] = 1.0);
                }
                Ok(Tensor::from_vec(values, (labels.len(), classes), device)?)
            }
        }
    }
}

/// What the frozen part of a model makes of each sample, computed once.
pub(crate) struct Features {
    pub(crate) width: usize,
    /// `width` values per sample; `None` if unusable.
    pub(crate) values: Vec<Option<Box<[f32]>>>,
}

impl Plan {
    /// A pass of training: in the order that the config wants, augmented.
    pub(crate) fn train(config: &Config, size: usize, classes: usize, epoch: u64) -> Plan {
        Plan {
            epoch,
            targets: Some(Form::of(config.train.labelling(), classes)),
            side: config.augment.source_side(size),
            order: Order::Of(config.train.sampler),
            augment: Some(config.augment.clone()),
            ..Plan::infer(config, size)
        }
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
            order: Order::Kept,
            augment: None,
            targets: None,
            class_weights: None,
            features: None,
        }
    }

    /// The same, with samples of some classes counting more than others.
    pub(crate) fn weighing(self, class_weights: Option<Arc<[f32]>>) -> Plan {
        Plan { class_weights, ..self }
    }

    /// The same, of features where they are known, which are not augmented.
    pub(crate) fn seeing(self, features: Option<Arc<Features>>) -> Plan {
        match features {
            Some(_) => Plan { features, augment: None, ..self },
            None => self,
        }
    }

    /// The same, where nothing is to be learned.
    pub(crate) fn untargeted(self) -> Plan {
        Plan { targets: None, ..self }
    }

    /// What is subtracted from each channel of values in 0..=1.
    pub(crate) fn mean(&self) -> [f32; 3] {
        self.mean
    }

    /// What each channel is then divided by.
    pub(crate) fn std(&self) -> [f32; 3] {
        self.std
    }

    /// The samples of the pass, in order.
    fn samples(&self, samples: &dyn Samples) -> Vec<usize> {
        let count = samples.count();
        let mut random = random::stream(self.seed, Purpose::Order { epoch: self.epoch });
        match self.order {
            Order::Kept => (0..count).collect(),
            Order::Of(Sampler::Shuffled) => random::permutation(&mut random, count),
            Order::Of(Sampler::Balanced) => {
                let mut classes: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
                let mut without = Vec::new();
                for index in 0..count {
                    let own = samples.classes(index);
                    own.iter().for_each(|class| classes.entry(*class).or_default().push(index));
                    without.extend(own.is_empty().then_some(index));
                }
                let classes: Vec<Vec<usize>> =
                    classes.into_values().chain([without]).filter(|own| !own.is_empty()).collect();
                let mut one_of = |count: usize| ((uniform(&mut random) * count as f64) as usize).min(count - 1);
                let draw = |_| {
                    let class = &classes[one_of(classes.len())];
                    class[one_of(class.len())]
                };
                (0..count).map(draw).collect()
            }
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
    /// Images, (batch, size, size, 3) f32, or features, (batch, features) f32.
    pub(crate) input: Tensor,
    pub(crate) of: Of,
    /// What is to be learned; more than one where images are mixed, the samples' own first.
    pub(crate) targets: Vec<Target>,
    /// The samples' own classes.
    pub(crate) labels: Vec<Vec<u32>>,
    /// Indices of the samples.
    pub(crate) samples: Vec<usize>,
}

/// What the input of a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    Images,
    Features,
}

/// The classes of each sample, and how much it counts; the weights of all targets of a batch sum to 1.
#[derive(Clone)]
pub(crate) struct Target {
    /// As [`Form`] says.
    pub(crate) labels: Tensor,
    /// (batch) f32
    pub(crate) weights: Tensor,
}

impl Target {
    pub(crate) fn new(labels: &[Vec<u32>], form: Form, weights: Vec<f32>, device: &Device) -> Result<Target> {
        let count = labels.len();
        Ok(Target { labels: form.tensor(labels, device)?, weights: Tensor::from_vec(weights, count, device)? })
    }
}

/// A batch before it is on the device.
struct Raw {
    input: Vec<f32>,
    samples: Vec<usize>,
    labels: Vec<Vec<u32>>,
    /// The classes of each sample with its weight.
    targets: Vec<(Vec<Vec<u32>>, Vec<f32>)>,
}

type Made = (usize, Result<Raw, String>);

/// The batches of one pass, in order. The threads run at most a few batches ahead and end when it is dropped.
pub(crate) struct Loader {
    made: Receiver<Made>,
    early: BTreeMap<usize, Made>,
    next: usize,
    count: usize,
    /// Whether any sample was usable.
    has_shown: bool,
    /// Of the input of one sample.
    shape: Vec<usize>,
    of: Of,
    form: Form,
    uploads: Uploads,
    waited: Duration,
}

impl Loader {
    /// Starts at batch `first`.
    pub(crate) fn start(samples: &Arc<dyn Samples>, plan: &Plan, first: usize, uploads: &Uploads) -> Loader {
        let order: Arc<[usize]> = plan.samples(samples.as_ref()).into();
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
                    if send.send((index, make(samples.as_ref(), &plan, index, chosen))).is_err() {
                        return; // the loader is gone
                    }
                }
            });
        }
        let (shape, of) = match &plan.features {
            Some(features) => (vec![features.width], Of::Features),
            None => (vec![plan.size, plan.size, 3], Of::Images),
        };
        let (form, uploads) = (plan.targets.unwrap_or(Form::Classes), uploads.clone());
        Loader {
            made,
            early: BTreeMap::new(),
            next: first,
            count,
            has_shown: first > 0,
            shape,
            of,
            form,
            uploads,
            waited: Duration::ZERO,
        }
    }

    /// How long the caller has waited for batches so far.
    pub(crate) fn waited(&self) -> Duration {
        self.waited
    }
}

impl Iterator for Loader {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Result<Batch>> {
        while self.next < self.count {
            match self.take() {
                Ok(raw) if raw.samples.is_empty() => {}
                Ok(raw) => {
                    self.has_shown = true;
                    return Some(self.batch(raw));
                }
                Err(error) => return Some(Err(error)),
            }
        }
        let nothing = self.count > 0 && !std::mem::replace(&mut self.has_shown, true);
        nothing.then(|| Err(LearnError::Data("none of the images can be used; the log names them".into())))
    }
}

impl Loader {
    /// The threads' next batch.
    fn take(&mut self) -> Result<Raw> {
        let before = Instant::now();
        let made = loop {
            if let Some((_, made)) = self.early.remove(&self.next) {
                break made;
            }
            match self.made.recv() {
                Ok(made) => self.early.insert(made.0, made),
                Err(_) => return Err(LearnError::Data("a loader thread ended early".into())),
            };
        };
        self.waited += before.elapsed();
        self.next += 1;
        made.map_err(LearnError::Data)
    }

    fn batch(&self, raw: Raw) -> Result<Batch> {
        let shape = [&[raw.labels.len()], self.shape.as_slice()].concat();
        let target = |(labels, weights): (Vec<Vec<u32>>, Vec<f32>)| {
            Target::new(&labels, self.form, weights, self.uploads.device())
        };
        Ok(Batch {
            input: self.uploads.upload(raw.input, &shape)?,
            of: self.of,
            targets: raw.targets.into_iter().map(target).collect::<Result<_>>()?,
            labels: raw.labels,
            samples: raw.samples,
        })
    }
}

fn make(samples: &dyn Samples, plan: &Plan, number: usize, chosen: &[usize]) -> Result<Raw, String> {
    let classes = |shown: &[usize]| shown.iter().map(|index| samples.classes(*index).to_vec()).collect::<Vec<_>>();
    let mut input = Vec::with_capacity(chosen.len() * 3 * plan.size * plan.size);
    let mut shown = Vec::with_capacity(chosen.len());
    for index in chosen {
        shown.extend(show(samples, plan, *index, &mut input)?);
    }
    let labels = classes(&shown);
    if plan.features.is_some() {
        let targets = weighed(plan, vec![(labels.clone(), 1.0)]);
        return Ok(Raw { input, samples: shown, labels, targets });
    }
    let purpose = Purpose::Mix { epoch: plan.epoch, batch: number as u64 };
    let random = &mut random::stream(plan.seed, purpose);
    let mix = plan.augment.as_ref().and_then(|rules| Mix::draw(rules, plan.size, random));
    let targets = match mix {
        Some(mix) => {
            mix.apply(&mut input, plan.size);
            let own = mix.own(plan.size);
            let partners = labels.iter().rev().cloned().collect();
            vec![(labels.clone(), own), (partners, 1.0 - own)]
        }
        None => vec![(labels.clone(), 1.0)],
    };
    Ok(Raw { input, samples: shown, labels, targets: weighed(plan, targets) })
}

/// Appends a sample's values and returns its index. If unusable, training takes the next usable one, so that batches
/// keep their size; other passes return `None`.
fn show(samples: &dyn Samples, plan: &Plan, index: usize, input: &mut Vec<f32>) -> Result<Option<usize>, String> {
    let tries = match plan.order {
        Order::Kept => 1,
        Order::Of(_) => samples.count(),
    };
    let begin = input.len();
    let mut first_reason = None;
    for index in (0..tries).map(|place| (index + place) % samples.count()) {
        let shown = match &plan.features {
            Some(features) => match &features.values[index] {
                Some(values) => {
                    input.extend(values);
                    return Ok(Some(index));
                }
                None => Err("it could not be shown before".into()),
            },
            None => samples.show(index, plan.side, &mut |pixels| match &plan.augment {
                Some(rules) => {
                    let purpose = Purpose::Augment { epoch: plan.epoch, sample: index as u64 };
                    let change = Change::draw(rules, &mut random::stream(plan.seed, purpose));
                    change.apply(pixels, plan.side, plan.size, input);
                }
                None => input.extend(pixels.iter().map(|value| f32::from(*value))),
            }),
        };
        match shown {
            Ok(()) => {
                plan.normalise(&mut input[begin..]);
                return Ok(Some(index));
            }
            Err(reason) => {
                input.truncate(begin);
                first_reason.get_or_insert(reason);
            }
        }
    }
    match plan.order {
        Order::Kept => Ok(None),
        Order::Of(_) => Err(format!("none of the images can be used: {}", first_reason.unwrap_or_default())),
    }
}

/// Targets, of which each counts for a share, with weights by class that sum to 1; none where nothing is to be learned.
fn weighed(plan: &Plan, targets: Vec<(Vec<Vec<u32>>, f32)>) -> Vec<(Vec<Vec<u32>>, Vec<f32>)> {
    if plan.targets.is_none() {
        return Vec::new();
    }
    let of_sample = |own: &Vec<u32>| match (&plan.class_weights, own.first()) {
        (Some(weights), Some(class)) => weights[*class as usize],
        _ => 1.0,
    };
    let mut weighed: Vec<(Vec<Vec<u32>>, Vec<f32>)> = targets
        .into_iter()
        .map(|(labels, share)| {
            let weights = labels.iter().map(|own| share * of_sample(own)).collect();
            (labels, weights)
        })
        .collect();
    let sum: f32 = weighed.iter().flat_map(|(_, weights)| weights).sum();
    weighed.iter_mut().flat_map(|(_, weights)| weights).for_each(|weight| *weight /= sum);
    weighed
}

/// How much a sample of each class counts so that all classes count the same together: samples / (classes x samples of the
/// class), over the classes that have any.
pub(crate) fn balanced(samples: &dyn Samples, classes: usize) -> Arc<[f32]> {
    let counts = class_counts(samples, classes);
    let present = counts.iter().filter(|count| **count > 0).count();
    let weight = |count: &usize| samples.count() as f32 / (present * (*count).max(1)) as f32;
    counts.iter().map(weight).collect()
}

/// How much the samples of each class must count so that they count as much as those without it: samples without the class
/// / samples of the class, 1 where either are none.
pub(crate) fn balanced_positives(samples: &dyn Samples, classes: usize) -> Vec<f32> {
    let weight = |count: usize| match samples.count() - count {
        0 => 1.0,
        others => others as f32 / count.max(1) as f32,
    };
    let counts = class_counts(samples, classes).into_iter();
    counts.map(|count| if count == 0 { 1.0 } else { weight(count) }).collect()
}

fn class_counts(samples: &dyn Samples, classes: usize) -> Vec<usize> {
    let mut counts = vec![0; classes];
    (0..samples.count()).for_each(|index| samples.classes(index).iter().for_each(|class| counts[*class as usize] += 1));
    counts
}

#[cfg(test)]
mod tests;
