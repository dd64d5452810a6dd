//! A model with everything that changes while it learns, and one step of it.

use crate::average::Average;
use crate::checkpoint::State;
use crate::config::{self, Frozen, Unfreeze};
use crate::judge::{Judge, Judged};
use crate::layers::Mode;
use crate::loader::{Batch, Features, Loader, Of, Plan, Samples, Target};
use crate::loss::Loss;
use crate::measure::StepTime;
use crate::model::Model;
use crate::optimizer::Optimizer;
use crate::parameters::{Parameters, deserialize, serialize};
use crate::part::Part;
use crate::profile;
use crate::replay::{Found, Replay};
use crate::tape::{Gradients, Tape, Value};
use crate::watch::{Watch, is_finite};
use crate::window::Seen;
use crate::{Config, Device, LearnError, Result, Saved};
use assay_domain::profile::Profile;
use assay_kernels::Uploads;
use candle_core::{DType, Tensor};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A model that learns.
pub(crate) struct Learner {
    pub(crate) parameters: Parameters,
    /// Of all batches that it sees.
    pub(crate) uploads: Uploads,
    pub(crate) model: Model,
    pub(crate) loss: Loss,
    optimizer: Optimizer,
    average: Option<Average>,
    config: config::Train,
    frozen: Frozen,
    precision: DType,
    seed: u64,
    pub(crate) replay: Replay,
    watch: Option<Watch>,
    gathered: Option<Gradients>,
    norm: Option<Tensor>,
    pub(crate) state: State,
}

/// The type in which a model computes on a device.
fn precision_on(device: &Device, precision: config::Precision) -> Result<DType> {
    match precision {
        config::Precision::Fp32 => Ok(DType::F32),
        config::Precision::Bf16 if device.is_cuda() => Ok(DType::BF16),
        config::Precision::Bf16 => {
            Err(LearnError::Data("bf16 is computed on a GPU only; set train.precision=fp32 or device=cuda".into()))
        }
    }
}

/// What the samples of a batch are themselves.
fn own_target(batch: &Batch) -> Result<&Target> {
    batch.targets.first().ok_or_else(|| LearnError::Data("a batch has no targets".into()))
}

impl Learner {
    /// Before the first step.
    pub(crate) fn begin(config: &Config, classes: usize, device: &Device) -> Result<Learner> {
        let mut parameters = Parameters::new(config.seed, device);
        let model = Model::new(&mut parameters, &config.model, config.data.image_size, classes)?;
        let optimizer = Optimizer::new(&config.optimizer, &parameters)?;
        let average = match config.train.ema_decay {
            0.0 => None,
            keep => Some(Average::new(keep, &parameters)?),
        };
        Ok(Learner {
            precision: precision_on(device, config.train.precision)?,
            replay: Replay::of(&model, &config.train),
            parameters,
            uploads: Uploads::to(device),
            model,
            loss: Loss::new(&config.train),
            optimizer,
            average,
            config: config.train.clone(),
            frozen: config.model.frozen,
            seed: config.seed,
            watch: None,
            gathered: None,
            norm: None,
            state: State::default(),
        })
    }

    /// Goes on from a checkpoint.
    pub(crate) fn resume(&mut self, saved: &Saved, config: &config::Optimizer) -> Result<()> {
        self.state = saved.state.clone();
        self.parameters.load(&saved.weights)?;
        // The layers that learned when it was saved.
        let last_epoch = if self.state.batch == 0 { self.state.epoch.saturating_sub(1) } else { self.state.epoch };
        self.learn_from(self.first_learned_in(last_epoch), config)?;
        let device = self.parameters.device().clone();
        let mut tensors = deserialize(&saved.optimizer, &device)?;
        self.optimizer.take_from(&mut tensors)?;
        self.average.iter().try_for_each(|average| average.take_from(&mut tensors))
    }

    /// Begins the mean of the weights with the weights of now.
    pub(crate) fn begin_average(&mut self) -> Result<()> {
        if self.average.is_some() {
            self.average = Some(Average::new(self.config.ema_decay, &self.parameters)?);
        }
        Ok(())
    }

    /// Whether nothing but the head learns.
    pub(crate) fn learns_head_alone(&self) -> bool {
        self.model.first_learned() == self.model.groups()
    }

    /// Lets those layers learn that are to learn in the current epoch; says which, if they became more. The optimizer
    /// begins anew then.
    pub(crate) fn unfreeze(&mut self, config: &config::Optimizer) -> Result<Option<String>> {
        let first = self.first_learned_in(self.state.epoch);
        if first == self.model.first_learned() {
            return Ok(None);
        }
        self.learn_from(first, config)?;
        self.state.unfrozen_at = self.state.step;
        let groups = self.model.groups() + 1;
        Ok(Some(format!("{} of {groups} groups of layers learn from now on", groups - first)))
    }

    /// The first group of layers that learns in an epoch.
    fn first_learned_in(&self, epoch: u64) -> usize {
        let begin = match self.frozen {
            Frozen::None => 0,
            Frozen::Backbone => self.model.groups(),
        };
        match (epoch.checked_div(self.config.unfreeze_epochs), self.config.unfreeze) {
            (None | Some(0), _) => begin,
            (Some(_), Unfreeze::All) => 0,
            (Some(times), Unfreeze::Gradual) => begin.saturating_sub(times as usize),
        }
    }

    /// Begins to learn the groups from this one on.
    fn learn_from(&mut self, first: usize, config: &config::Optimizer) -> Result<()> {
        self.model.learn_from(first, &mut self.parameters);
        self.optimizer = Optimizer::new(config, &self.parameters)?;
        self.replay = Replay::of(&self.model, &self.config);
        Ok(())
    }

    /// A step like [`Learner::step`] whose operations are timed one by one; `waited` is how long its batch was waited for.
    pub(crate) fn profiled_step(
        &mut self,
        batch: &Batch,
        part: Part,
        factor: f64,
        waited: Duration,
    ) -> Result<(Seen, Profile)> {
        self.watch = Some(Watch::times(batch.input.device()));
        // What is replayed cannot be looked into.
        let replay = std::mem::replace(&mut self.replay, Replay::never());
        let begun = Instant::now();
        let seen = self.step(batch, part, factor);
        self.replay = replay;
        let watch = self.watch.take();
        let device = crate::DeviceChoice::name(batch.input.device()).to_owned();
        let profile = profile::of_step(watch.map(Watch::into_spans).unwrap_or_default(), begun, waited);
        Ok((seen?, Profile { step: self.state.step, batch_size: batch.labels.len(), device, ..profile }))
    }

    /// Forward and backward, and an update where the step ends. The loss and the count of right answers stay on the
    /// device.
    pub(crate) fn step(&mut self, batch: &Batch, part: Part, factor: f64) -> Result<Seen> {
        if part.ends {
            self.optimizer.announce(factor, self.state.step + 1 - self.state.unfrozen_at)?;
        }
        let mut replay = std::mem::take(&mut self.replay);
        let found = replay.step(batch, |batch| self.compute(batch, part));
        self.replay = replay;
        let (loss, right) = found?;
        self.state.batch += 1;
        self.state.batches += 1;
        if part.ends {
            self.state.step += 1;
            if let Some(average) = &self.average {
                average.follow(&self.parameters, self.state.step)?;
            }
        }
        Ok(Seen { loss, right, count: batch.labels.len(), norm: self.norm.take() })
    }

    /// The work of a batch: its mean loss and count of right answers.
    fn compute(&mut self, batch: &Batch, part: Part) -> Result<Found> {
        let mut tape = Tape::recording().watched(self.watch.take());
        let (logits, loss) = self.forward(&mut tape, batch)?;
        if loss.device().is_cpu() {
            // Before what is learned from it spoils everything.
            self.check(batch, self.state.step + 1, f64::from(loss.to_scalar::<f32>()?))?;
        }
        let grads = self.backward(batch, &mut tape, &logits, part.share)?;
        self.watch = tape.take_watch();
        let right = self.loss.right(&logits.tensor, own_target(batch)?)?;
        match &mut self.gathered {
            Some(gathered) => gathered.gather(grads)?,
            None => self.gathered = Some(grads),
        }
        if part.ends {
            let begun = Instant::now();
            self.update()?;
            if let Some(watch) = &mut self.watch {
                watch.note_update(begun)?;
            }
        }
        Ok((loss, right))
    }

    /// The announced update by the gathered gradients.
    fn update(&mut self) -> Result<()> {
        let mut grads = self.gathered.take().unwrap_or_default();
        if self.config.clip_norm > 0.0 {
            self.norm = Some(grads.clip(self.parameters.iter().map(|(_, var)| var), self.config.clip_norm)?);
        }
        self.optimizer.apply(&self.parameters, &grads)
    }

    /// From the input to the logits and the mean loss.
    fn forward(&self, tape: &mut Tape, batch: &Batch) -> Result<(Value, Tensor)> {
        let input = Value::input(batch.input.to_dtype(self.precision)?);
        let mode = Mode::Train { seed: self.seed, step: self.state.batches + 1 };
        let logits = match batch.of {
            Of::Images => self.model.forward(tape, &input, mode)?,
            Of::Features => self.model.head(tape, &input, mode)?,
        };
        let losses = batch.targets.iter().map(|target| self.loss.of(&logits.tensor, target));
        let losses = losses.collect::<Result<Vec<Tensor>>>()?;
        Ok((logits, Tensor::stack(&losses, 0)?.sum_all()?))
    }

    /// From the mean loss to the gradients of the parameters, of a part of a step with this share.
    fn backward(&self, batch: &Batch, tape: &mut Tape, logits: &Value, share: f64) -> Result<Gradients> {
        let mut sum = self.loss.gradient(&logits.tensor, own_target(batch)?, share)?;
        for target in &batch.targets[1..] {
            sum = (sum + self.loss.gradient(&logits.tensor, target, share)?)?;
        }
        tape.backward(logits.place, sum)
    }

    /// A step whose parts are timed; the device is waited for in between.
    pub(crate) fn timed_step(&mut self, batch: &Batch) -> Result<StepTime> {
        let device = batch.input.device().clone();
        let mut tape = Tape::recording();
        let begun = Instant::now();
        let (logits, _) = self.forward(&mut tape, batch)?;
        device.synchronize()?;
        let forward = Instant::now();
        self.gathered = Some(self.backward(batch, &mut tape, &logits, 1.0)?);
        device.synchronize()?;
        let backward = Instant::now();
        self.state.step += 1;
        self.optimizer.announce(1.0, self.state.step)?;
        self.update()?;
        device.synchronize()?;
        let updated = Instant::now();
        Ok(StepTime { forward: forward - begun, backward: backward - forward, update: updated - backward })
    }

    /// Forward and backward, and nothing else.
    pub(crate) fn pass(&self, tape: &mut Tape, batch: &Batch) -> Result<()> {
        let (logits, _) = self.forward(tape, batch)?;
        self.backward(batch, tape, &logits, 1.0).map(|_| ())
    }

    /// An error that names the first values that are not finite, where the loss of a step is not.
    pub(crate) fn check(&self, batch: &Batch, step: u64, loss: f64) -> Result<()> {
        if loss.is_finite() {
            return Ok(());
        }
        Err(LearnError::Diverged { step, loss, first: self.first_infinite(batch)? })
    }

    /// Where values first are not finite on the way from the batch to the loss and back.
    fn first_infinite(&self, batch: &Batch) -> Result<Option<String>> {
        if !is_finite(&batch.input)? {
            return Ok(Some("the images".into()));
        }
        let mut spoiled = Vec::new();
        // Running statistics are spoiled by the pass that found it.
        for (name, var) in self.parameters.without_buffers() {
            if !is_finite(var.as_tensor())? {
                spoiled.push(name);
            }
        }
        if let [first, others @ ..] = spoiled.as_slice() {
            let others = if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
            return Ok(Some(format!("parameter {first:?}{others}")));
        }
        let mut tape = Tape::recording().watched(Some(Watch::infinite()));
        self.pass(&mut tape, batch)?;
        Ok(tape.take_watch().and_then(Watch::into_first))
    }

    /// How good the model is on samples, with the mean of its weights where there is one.
    pub(crate) fn judge(&self, samples: &Arc<dyn Samples>, plan: &Plan, classes: usize) -> Result<Judged> {
        self.averaged(|learner| {
            let mut judge = Judge::new(classes, learner.loss.labelling);
            let inference = learner.model.inference()?;
            for batch in Loader::start(samples, plan, 0, &learner.uploads) {
                let batch = batch?;
                let input = batch.input.to_dtype(learner.precision)?;
                let logits = match batch.of {
                    Of::Images => learner.model.infer(inference.as_ref(), input)?.logits,
                    Of::Features => learner.model.head(&mut Tape::silent(), &Value::input(input), Mode::Infer)?.tensor,
                };
                let rows = logits.to_dtype(DType::F32)?.to_vec2::<f32>()?;
                rows.iter().zip(&batch.labels).for_each(|(logits, classes)| judge.hear(logits, classes));
            }
            Ok(judge.judge())
        })
    }

    /// Does something with the mean of the weights in place of the weights, where there is one.
    fn averaged<T>(&self, act: impl FnOnce(&Learner) -> Result<T>) -> Result<T> {
        let Some(average) = &self.average else { return act(self) };
        average.exchange(&self.parameters)?;
        let result = act(self);
        average.exchange(&self.parameters)?;
        result
    }

    /// What the layers before the head make of each sample.
    pub(crate) fn features(&self, samples: &Arc<dyn Samples>, plan: &Plan) -> Result<Arc<Features>> {
        let inference = self.model.inference()?;
        let (mut width, mut values) = (0, vec![None; samples.count()]);
        for batch in Loader::start(samples, plan, 0, &self.uploads) {
            let batch = batch?;
            let features = self.model.infer(inference.as_ref(), batch.input.to_dtype(self.precision)?)?.features;
            width = features.dims()[1];
            for (index, row) in batch.samples.iter().zip(features.to_dtype(DType::F32)?.to_vec2::<f32>()?) {
                values[*index] = Some(row.into_boxed_slice());
            }
        }
        Ok(Arc::new(Features { width, values }))
    }

    /// All of it, to go on from.
    pub(crate) fn save(&self) -> Result<Saved> {
        let means = self.average.iter().flat_map(Average::tensors);
        let optimizer = serialize(self.optimizer.tensors().chain(means))?;
        Ok(Saved { weights: self.parameters.save()?, optimizer, state: self.state.clone() })
    }

    /// All of it, to use: with the mean of the weights where there is one.
    pub(crate) fn save_best(&self) -> Result<Saved> {
        self.averaged(Learner::save)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loader::Form;
    use assay_kernels::cross_entropy;
    use candle_core::Var;
    use std::collections::BTreeMap;

    const SIZE: usize = 12;
    const CLASSES: usize = 4;

    fn batches(device: &Device) -> Vec<Batch> {
        use crate::random::{Purpose, between, stream};
        let batch = |epoch: u64| {
            let mut random = stream(3, Purpose::Order { epoch });
            let labels: Vec<Vec<u32>> = (0..16).map(|index| vec![index % CLASSES as u32]).collect();
            let pixels: Vec<f32> = labels
                .iter()
                .flat_map(|label| vec![label[0]; SIZE * SIZE * 3])
                .map(|label| between(&mut random, -1.0, 1.0) as f32 + label as f32 / 2.0)
                .collect();
            batch_of(pixels, labels, device)
        };
        (0..4).map(batch).collect()
    }

    fn batch_of(pixels: Vec<f32>, labels: Vec<Vec<u32>>, device: &Device) -> Batch {
        let count = labels.len();
        let target = Target::new(&labels, Form::Classes, vec![1.0 / count as f32; count], device).unwrap();
        let input = Tensor::from_vec(pixels, (count, SIZE, SIZE, 3), device).unwrap();
        Batch { input, of: Of::Images, targets: vec![target], samples: (0..labels.len()).collect(), labels }
    }

    fn config(overrides: &[&str]) -> Config {
        let all = [&["data.image_size=12", "model.width=8", "optimizer.lr=0.01"], overrides].concat();
        Config::resolve("", &all.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    fn learner(overrides: &[&str]) -> Learner {
        Learner::begin(&config(overrides), CLASSES, &Device::Cpu).unwrap()
    }

    fn weights(learner: &Learner) -> Vec<f32> {
        let values = |var: &Var| var.as_tensor().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        learner.parameters.all().flat_map(|(_, var)| values(var)).collect()
    }

    /// The small CNN of candle's own operations, differentiated by candle.
    fn stock_logits(vars: &BTreeMap<String, Var>, images: &Tensor) -> candle_core::Result<Tensor> {
        let mut x = images.permute((0, 3, 1, 2))?.contiguous()?;
        for name in ["conv1", "conv2"] {
            let bias = vars[&format!("{name}.bias")].reshape((1, (), 1, 1))?;
            x = x.conv2d(&vars[&format!("{name}.weight")], 0, 1, 1, 1)?.broadcast_add(&bias)?.relu()?;
        }
        // candle's own pool shares the gradient out among the window.
        x = assay_kernels::max_pool2d(&x.permute((0, 2, 3, 1))?.contiguous()?, 2, 2, 0)?;
        x = x.permute((0, 3, 1, 2))?.contiguous()?.flatten_from(1)?;
        for name in ["fc1", "fc2"] {
            x = x.matmul(&vars[&format!("{name}.weight")].t()?)?.broadcast_add(&vars[&format!("{name}.bias")])?;
            x = if name == "fc1" { x.relu()? } else { x };
        }
        Ok(x)
    }

    #[test]
    fn bf16_on_the_processor_is_an_error_that_says_what_to_do() {
        let config =
            Config::resolve("", &["train.precision=bf16".to_owned(), "data.image_size=12".to_owned()]).unwrap();
        let message = Learner::begin(&config, CLASSES, &Device::Cpu).err().unwrap().to_string();
        assert!(message.contains("train.precision=fp32"), "{message}");
    }

    #[test]
    fn on_a_gpu_the_loss_falls_as_on_the_processor() {
        let Ok(device) = crate::DeviceChoice::Cuda.open() else {
            eprintln!("skipped: no GPU answers here");
            return;
        };
        // A residual network soon goes its own way from the smallest difference.
        for (name, precision, tolerance) in [
            ("small-cnn", "fp32", 0.01),
            ("small-cnn", "bf16", 0.05),
            ("resnet18", "fp32", 0.2),
            ("resnet18", "bf16", 0.3),
        ] {
            let config = |precision: &str| {
                let name = format!("model.name={name}");
                let precision = format!("train.precision={precision}");
                let overrides = [&name, "optimizer.lr=0.001", "model.width=16", "data.image_size=12", &precision];
                Config::resolve("", &overrides.map(str::to_owned)).unwrap()
            };
            let losses = |config: &Config, device: &Device| -> Vec<f32> {
                let mut learner = Learner::begin(config, CLASSES, device).unwrap();
                let batches = batches(device);
                let steps = batches
                    .iter()
                    .cycle()
                    .take(20)
                    .map(|batch| learner.step(batch, Part::WHOLE, 1.0).unwrap().loss.to_scalar::<f32>().unwrap());
                steps.collect()
            };
            let (ours, right) = (losses(&config(precision), &device), losses(&config("fp32"), &Device::Cpu));
            for (step, (ours, right)) in ours.iter().zip(&right).enumerate() {
                let close = (ours - right).abs() < tolerance * right.max(0.2);
                assert!(close, "{name} {precision}, step {step}: {ours}, not {right}");
            }
            let again = losses(&config(precision), &device);
            assert_eq!(ours, again, "{name} {precision} repeats to the bit");
        }
    }

    #[test]
    fn the_loss_falls_as_with_candles_own_operations() {
        let overrides = ["optimizer.name=sgd", "optimizer.lr=0.05", "model.width=16", "train.label_smoothing=0.1"];
        let config = Config::resolve("", &overrides.map(str::to_owned)).unwrap();
        let config = Config { data: config::Data { image_size: SIZE, ..config.data.clone() }, ..config };
        let mut ours = Learner::begin(&config, CLASSES, &Device::Cpu).unwrap();
        let stock = Learner::begin(&config, CLASSES, &Device::Cpu).unwrap();
        let vars: BTreeMap<String, Var> = stock.parameters.iter().map(|(n, v)| (n.clone(), v.clone())).collect();
        let mut optimizer = Optimizer::new(&config.optimizer, &stock.parameters).unwrap();
        let mut first = None;
        for (step, batch) in batches(&Device::Cpu).iter().cycle().take(40).enumerate() {
            let seen = ours.step(batch, Part::WHOLE, 1.0).unwrap().loss.to_scalar::<f32>().unwrap();
            let logits = stock_logits(&vars, &batch.input).unwrap();
            let loss = cross_entropy(&logits, &batch.targets[0].labels, 0.1).unwrap().mean(0).unwrap();
            let grads = loss.backward().unwrap();
            let mut gradients = Gradients::default();
            for var in vars.values() {
                gradients.add_to(var, grads.get(var).unwrap().clone()).unwrap();
            }
            optimizer.announce(1.0, step as u64 + 1).unwrap();
            optimizer.apply(&stock.parameters, &gradients).unwrap();
            let loss = loss.to_scalar::<f32>().unwrap();
            assert!((seen - loss).abs() < 1e-3 * loss, "step {step}: {seen}, not {loss}");
            first.get_or_insert(loss);
            if step == 39 {
                assert!(loss < 0.9 * first.unwrap(), "nothing was learned: {loss}");
            }
        }
    }

    #[test]
    fn gathered_gradients_of_parts_are_those_of_the_whole_batch() {
        for clip in ["train.clip_norm=0", "train.clip_norm=0.1"] {
            let (mut whole, mut parts) = (learner(&[clip]), learner(&[clip, "train.accumulate_batches=2"]));
            for batch in batches(&Device::Cpu) {
                whole.step(&batch, Part::WHOLE, 1.0).unwrap();
                let pixels = batch.input.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                let cut = 6 * SIZE * SIZE * 3;
                let (first, last) = (pixels[..cut].to_vec(), pixels[cut..].to_vec());
                let first = batch_of(first, batch.labels[..6].to_vec(), &Device::Cpu);
                let last = batch_of(last, batch.labels[6..].to_vec(), &Device::Cpu);
                parts.step(&first, Part { share: 6.0 / 16.0, ends: false }, 1.0).unwrap();
                parts.step(&last, Part { share: 10.0 / 16.0, ends: true }, 1.0).unwrap();
            }
            assert_eq!((whole.state.step, parts.state.step, parts.state.batches), (4, 4, 8));
            // AdamW's first steps make much of tiny differences, where a gradient is next to nothing.
            let near = weights(&whole).iter().zip(weights(&parts)).filter(|(a, b)| (*a - b).abs() < 1e-3).count();
            assert!(near as f32 > 0.99 * weights(&whole).len() as f32, "{near}");
        }
    }

    #[test]
    fn clipped_gradients_are_told_with_the_norm_that_they_had() {
        let batch = &batches(&Device::Cpu)[0];
        let seen = learner(&["train.clip_norm=0.001"]).step(batch, Part::WHOLE, 1.0).unwrap();
        assert!(seen.norm.unwrap().to_scalar::<f32>().unwrap() > 0.001);
        assert!(learner(&[]).step(batch, Part::WHOLE, 1.0).unwrap().norm.is_none());
    }

    #[test]
    fn a_nan_is_traced_to_the_layer_that_made_it() {
        let batch = &batches(&Device::Cpu)[0];
        let message = |plant: fn(&mut Learner)| {
            let mut learner = learner(&["model.name=resnet18"]);
            plant(&mut learner);
            learner.step(batch, Part::WHOLE, 1.0).err().unwrap().to_string()
        };
        let planted = message(|learner| {
            let (_, var) = learner.parameters.all().find(|(name, _)| *name == "layer3.0.conv2.weight").unwrap();
            var.set(&(var.as_tensor() * f64::NAN).unwrap()).unwrap();
        });
        assert!(
            planted.contains("parameter \"layer3.0.conv2.weight\"") && planted.contains("optimizer.lr"),
            "{planted}"
        );
        // Finite weights whose products are not.
        let grown = message(|learner| {
            let (_, var) = learner.parameters.all().find(|(name, _)| *name == "layer2.1.bn2.bias").unwrap();
            var.set(&(var.as_tensor() + 3e38).unwrap()).unwrap();
        });
        assert!(grown.contains("layer \"layer3.0.downsample.0\"") && grown.contains("convolution"), "{grown}");
    }

    #[test]
    fn the_mean_of_the_weights_is_judged_and_the_weights_go_on() {
        struct All(Vec<Batch>);
        impl Samples for All {
            fn count(&self) -> usize {
                16
            }
            fn classes(&self, index: usize) -> &[u32] {
                &self.0[0].labels[index]
            }
            fn show(&self, index: usize, side: usize, see: &mut dyn FnMut(&[u8])) -> std::result::Result<(), String> {
                see(&vec![(self.classes(index)[0] * 60) as u8; side * side * 3]);
                Ok(())
            }
        }
        let samples: Arc<dyn Samples> = Arc::new(All(batches(&Device::Cpu)));
        let config = config(&["train.ema_decay=0.5"]);
        let mut learner = Learner::begin(&config, CLASSES, &Device::Cpu).unwrap();
        let mut mean = weights(&learner);
        for (step, batch) in batches(&Device::Cpu).iter().enumerate() {
            learner.step(batch, Part::WHOLE, 1.0).unwrap();
            let keep = (2.0 + step as f32) / (11.0 + step as f32);
            mean.iter_mut().zip(weights(&learner)).for_each(|(mean, own)| *mean = keep * *mean + (1.0 - keep) * own);
        }
        let before = weights(&learner);
        let plan = Plan::infer(&config, SIZE);
        let judged = learner.judge(&samples, &plan, CLASSES).unwrap();
        assert_eq!(weights(&learner), before, "judging changes nothing");
        let best = learner.save_best().unwrap();
        let loaded = self::learner(&[]);
        loaded.parameters.load(&best.weights).unwrap();
        assert!(weights(&loaded).iter().zip(&mean).all(|(a, b)| (a - b).abs() < 1e-5));
        assert_eq!(loaded.judge(&samples, &plan, CLASSES).unwrap().loss, judged.loss);
    }
}
