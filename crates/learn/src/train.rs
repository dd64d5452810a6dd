//! The training loop.

use crate::checkpoint::Best;
use crate::layers::Mode;
use crate::loader::{Batch, Loader, Plan, Samples};
use crate::measure::StepTime;
use crate::model::Model;
use crate::optimizer::Optimizer;
use crate::parameters::Parameters;
use crate::replay::{Found, Replay};
use crate::tape::{Gradients, Tape, Value};
use crate::{Config, Device, LearnError, Result, Saved, State, config, schedule};
use assay_domain::entity::CheckpointKind;
use assay_kernels::{KeptMemory, cross_entropy, cross_entropy_gradient};
use candle_core::{D, DType, Tensor};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Who hears what happens.
pub trait Sink {
    /// Values of metrics after `step` optimizer steps.
    fn metrics(&mut self, step: u64, values: &[(&str, f64)]);
    /// Optimizer steps done and planned.
    fn progress(&mut self, done: u64, total: u64);
    /// A line for the run's log.
    fn log(&mut self, line: String);
    /// A checkpoint to keep; training goes on once it is durable.
    fn checkpoint(&mut self, kind: CheckpointKind, saved: Saved) -> Result<(), String>;
}

/// What is to be learned from what.
pub struct Task<'a> {
    /// The resolved config; its image size is set.
    pub config: &'a Config,
    /// How many classes there are.
    pub classes: usize,
    /// What is learned from.
    pub train: Arc<dyn Samples>,
    /// What is watched; may be empty.
    pub val: Arc<dyn Samples>,
    /// What computes.
    pub device: Device,
    /// Where to go on, instead of from the beginning.
    pub resume: Option<Saved>,
}

/// How training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All epochs were done.
    Finished,
    /// Validation did not get better for long enough.
    StoppedEarly,
    /// The stop signal was obeyed; the last checkpoint is where it stopped.
    Stopped,
}

/// Trains until the epochs are done, validation gets no better, or `stop` is set.
///
/// # Errors
/// When there is too little data, an image cannot be read, the loss diverges, or a checkpoint cannot be kept.
pub fn train(task: &Task<'_>, sink: &mut dyn Sink, stop: &AtomicBool) -> Result<Outcome> {
    let config = task.config;
    let _memory = KeptMemory::new();
    let mut learner = Learner::new(task)?;
    let per_epoch = task.train.count().div_ceil(config.train.batch_size) as u64;
    let total = per_epoch * config.train.epochs;
    let warmup = (config.schedule.warmup_epochs * per_epoch as f64).round() as u64;
    sink.log(learner.summary(task));

    while learner.state.epoch < config.train.epochs {
        let plan = Plan::train(config, config.data.image_size, learner.state.epoch);
        let mut loader = Loader::start(&task.train, &plan, learner.state.batch as usize, &task.device);
        let mut window = Window::new();
        while let Some(batch) = loader.next() {
            let factor = schedule::factor(&config.schedule, learner.state.step, warmup, total);
            window.add(learner.step(&batch?, factor)?);
            if let Some(why) = learner.replay.take_refusal() {
                sink.log(format!("the device takes each step piece by piece, since recording one failed: {why}"));
            }
            let stopping = stop.load(Ordering::Relaxed);
            let epoch_ends = learner.state.batch == per_epoch;
            if learner.state.step.is_multiple_of(config.train.log_every_steps) || epoch_ends || stopping {
                window.report(sink, learner.state.step, config.optimizer.lr * factor, &loader)?;
                sink.progress(learner.state.step, total);
            }
            if stopping && !epoch_ends {
                sink.checkpoint(CheckpointKind::Last, learner.save()?).map_err(LearnError::Sink)?;
                sink.log(format!("stopped after step {}", learner.state.step));
                return Ok(Outcome::Stopped);
            }
        }
        learner.state.epoch += 1;
        learner.state.batch = 0;
        let better = learner.validate(task, sink)?;
        sink.checkpoint(CheckpointKind::Last, learner.save()?).map_err(LearnError::Sink)?;
        if better {
            sink.checkpoint(CheckpointKind::Best, learner.save()?).map_err(LearnError::Sink)?;
        }
        if stop.load(Ordering::Relaxed) && learner.state.epoch < config.train.epochs {
            sink.log(format!("stopped after epoch {}", learner.state.epoch));
            return Ok(Outcome::Stopped);
        }
        if learner.waits_in_vain(config.train.early_stop_epochs) {
            sink.log(format!("no better validation accuracy for {} epochs", config.train.early_stop_epochs));
            return Ok(Outcome::StoppedEarly);
        }
    }
    Ok(Outcome::Finished)
}

/// The model with everything that changes while it learns.
pub(crate) struct Learner {
    parameters: Parameters,
    model: Model,
    optimizer: Optimizer,
    label_smoothing: f32,
    precision: DType,
    seed: u64,
    replay: Replay,
    state: State,
}

impl Learner {
    fn new(task: &Task<'_>) -> Result<Learner> {
        if task.train.count() == 0 {
            return Err(LearnError::Data(
                "there are no labelled training samples: label some, or import classes".into(),
            ));
        }
        if task.classes < 2 {
            return Err(LearnError::Data(format!(
                "a classifier needs at least 2 classes, the dataset has {}",
                task.classes
            )));
        }
        let mut learner = Learner::begin(task.config, task.classes, &task.device)?;
        if let Some(saved) = &task.resume {
            learner.parameters.load(&saved.weights)?;
            learner.optimizer.load(&saved.optimizer, &task.device)?;
            learner.state = saved.state.clone();
        }
        Ok(learner)
    }

    /// Before the first step.
    pub(crate) fn begin(config: &Config, classes: usize, device: &Device) -> Result<Learner> {
        let mut parameters = Parameters::new(config.seed, device);
        let model = Model::new(&mut parameters, &config.model, config.data.image_size, classes)?;
        let optimizer = Optimizer::new(&config.optimizer, &parameters)?;
        let label_smoothing = config.train.label_smoothing as f32;
        let precision = precision_on(device, config.train.precision)?;
        let replay = Replay::of(&model);
        Ok(Learner {
            parameters,
            model,
            optimizer,
            label_smoothing,
            precision,
            seed: config.seed,
            replay,
            state: State::default(),
        })
    }

    /// Forward, backward, update. The loss and the count of right answers stay on the device.
    pub(crate) fn step(&mut self, batch: &Batch, factor: f64) -> Result<Seen> {
        self.state.step += 1;
        self.state.batch += 1;
        self.optimizer.announce(factor, self.state.step)?;
        let mut replay = std::mem::take(&mut self.replay);
        let found = replay.step(batch, |batch| self.compute(batch));
        self.replay = replay;
        let (loss, right) = found?;
        Ok(Seen { loss, right, count: batch.labels.dims1()? })
    }

    /// The announced step: its mean loss and count of right answers.
    fn compute(&mut self, batch: &Batch) -> Result<Found> {
        let (tape, logits, loss) = self.forward(batch)?;
        let grads = self.backward(batch, tape, &logits)?;
        self.optimizer.apply(&self.parameters, &grads)?;
        Ok((loss, right(&logits.tensor, &batch.labels)?))
    }

    /// From the images to the logits and the mean loss.
    fn forward(&self, batch: &Batch) -> Result<(Tape, Value, Tensor)> {
        let mut tape = Tape::recording();
        let images = Value::input(batch.images.to_dtype(self.precision)?);
        let mode = Mode::Train { seed: self.seed, step: self.state.step };
        let logits = self.model.forward(&mut tape, &images, mode)?;
        let loss = cross_entropy(&logits.tensor, &batch.labels, self.label_smoothing)?.mean(0)?;
        Ok((tape, logits, loss))
    }

    /// From the mean loss to the gradients of the parameters.
    fn backward(&self, batch: &Batch, tape: Tape, logits: &Value) -> Result<Gradients> {
        let count = batch.labels.dims1()?;
        let share = Tensor::full(1.0 / count as f32, count, batch.labels.device())?;
        let grad = cross_entropy_gradient(&logits.tensor, &batch.labels, self.label_smoothing, &share)?;
        tape.backward(logits.place, grad)
    }

    /// A step whose parts are timed; the device is waited for in between.
    pub(crate) fn timed_step(&mut self, batch: &Batch) -> Result<StepTime> {
        let device = batch.images.device().clone();
        let begun = Instant::now();
        let (tape, logits, _) = self.forward(batch)?;
        device.synchronize()?;
        let forward = Instant::now();
        let grads = self.backward(batch, tape, &logits)?;
        device.synchronize()?;
        let backward = Instant::now();
        self.state.step += 1;
        self.optimizer.announce(1.0, self.state.step)?;
        self.optimizer.apply(&self.parameters, &grads)?;
        device.synchronize()?;
        let updated = Instant::now();
        Ok(StepTime { forward: forward - begun, backward: backward - forward, update: updated - backward })
    }

    /// Measures validation loss and accuracy; returns whether this is the best state so far.
    fn validate(&mut self, task: &Task<'_>, sink: &mut dyn Sink) -> Result<bool> {
        let (config, step, epoch) = (task.config, self.state.step, self.state.epoch);
        if task.val.count() == 0 {
            sink.metrics(step, &[("epoch", epoch as f64)]);
            return Ok(true);
        }
        let plan = Plan::infer(config, config.data.image_size);
        let mut window = Window::new();
        for batch in Loader::start(&task.val, &plan, 0, &task.device) {
            let batch = batch?;
            let images = Value::input(batch.images.to_dtype(self.precision)?);
            let logits = self.model.forward(&mut Tape::silent(), &images, Mode::Infer)?.tensor;
            let loss = cross_entropy(&logits, &batch.labels, 0.0)?.mean(0)?;
            let count = batch.labels.dims1()?;
            window.add(Seen { loss, right: right(&logits, &batch.labels)?, count });
        }
        let (loss, accuracy) = window.read()?;
        sink.metrics(step, &[("val/loss", loss), ("val/accuracy", accuracy), ("epoch", epoch as f64)]);
        sink.log(format!(
            "epoch {epoch}/{}: val loss {loss:.4}, val accuracy {:.2} %",
            config.train.epochs,
            accuracy * 100.0
        ));
        self.state.val_accuracy = Some(accuracy);
        let better = self
            .state
            .best
            .is_none_or(|best| accuracy > best.accuracy || (accuracy == best.accuracy && loss < best.loss));
        if better {
            self.state.best = Some(Best { accuracy, loss, epoch });
        }
        Ok(better)
    }

    fn waits_in_vain(&self, patience: u64) -> bool {
        patience > 0 && self.state.best.is_some_and(|best| self.state.epoch - best.epoch >= patience)
    }

    fn save(&self) -> Result<Saved> {
        Ok(Saved { weights: self.parameters.save()?, optimizer: self.optimizer.save()?, state: self.state.clone() })
    }

    fn summary(&self, task: &Task<'_>) -> String {
        let count: usize = self.parameters.iter().map(|(_, var)| var.elem_count()).sum();
        let size = task.config.data.image_size;
        let beginning = match self.state.step {
            0 => String::new(),
            step => format!(", from step {step}"),
        };
        format!(
            "{count} parameters, {} training and {} validation images of {size}x{size}, {} classes, on {}{beginning}",
            task.train.count(),
            task.val.count(),
            task.classes,
            crate::DeviceChoice::name(&task.device),
        )
    }
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

fn right(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    Ok(logits.to_dtype(DType::F32)?.argmax(D::Minus1)?.eq(labels)?.to_dtype(DType::F32)?.sum_all()?)
}

/// What one batch gave, still on the device.
pub(crate) struct Seen {
    loss: Tensor,
    right: Tensor,
    count: usize,
}

/// The batches since the last report.
struct Window {
    seen: Vec<Seen>,
    begun: Instant,
    waited_before: f64,
}

impl Window {
    fn new() -> Window {
        Window { seen: Vec::new(), begun: Instant::now(), waited_before: 0.0 }
    }

    fn add(&mut self, seen: Seen) {
        self.seen.push(seen);
    }

    /// Mean loss and accuracy: the one place where the host waits for the device.
    fn read(&self) -> Result<(f64, f64)> {
        let column = |of: fn(&Seen) -> &Tensor| -> Result<Vec<f32>> {
            let scalars = self.seen.iter().map(of).collect::<Vec<_>>();
            Ok(Tensor::stack(&scalars, 0)?.to_vec1::<f32>()?)
        };
        let total: usize = self.seen.iter().map(|seen| seen.count).sum();
        let weighted = column(|seen| &seen.loss)?.into_iter().zip(&self.seen);
        let loss: f64 = weighted.map(|(loss, seen)| f64::from(loss) * seen.count as f64).sum();
        let right: f64 = column(|seen| &seen.right)?.into_iter().map(f64::from).sum();
        Ok((loss / total as f64, right / total as f64))
    }

    fn report(&mut self, sink: &mut dyn Sink, step: u64, learning_rate: f64, loader: &Loader) -> Result<()> {
        let (loss, accuracy) = self.read()?;
        let elapsed = self.begun.elapsed().as_secs_f64().max(1e-9);
        let images: usize = self.seen.iter().map(|seen| seen.count).sum();
        let waited = loader.waited().as_secs_f64();
        sink.metrics(
            step,
            &[
                ("train/loss", loss),
                ("train/accuracy", accuracy),
                ("lr", learning_rate),
                ("system/images_per_s", images as f64 / elapsed),
                ("system/loader_wait", ((waited - self.waited_before) / elapsed).clamp(0.0, 1.0)),
            ],
        );
        *self = Window { waited_before: waited, ..Window::new() };
        if loss.is_finite() { Ok(()) } else { Err(LearnError::Diverged { step, loss }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Var;
    use std::collections::BTreeMap;

    const SIZE: usize = 12;
    const CLASSES: usize = 4;

    fn batches() -> Vec<Batch> {
        use crate::random::{Purpose, between, stream};
        let batch = |epoch: u64| {
            let mut random = stream(7, Purpose::Order { epoch });
            let pixels: Vec<f32> = (0..16 * SIZE * SIZE * 3).map(|_| between(&mut random, -1.0, 1.0) as f32).collect();
            Batch {
                images: Tensor::from_vec(pixels, (16, SIZE, SIZE, 3), &Device::Cpu).unwrap(),
                labels: Tensor::from_iter((0..16).map(|index| index % CLASSES as u32), &Device::Cpu).unwrap(),
            }
        };
        (0..4).map(batch).collect()
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
                let batches = batches();
                let steps = batches.iter().cycle().take(20).map(|batch| {
                    let batch = Batch {
                        images: batch.images.to_device(device).unwrap(),
                        labels: batch.labels.to_device(device).unwrap(),
                    };
                    learner.step(&batch, 1.0).unwrap().loss.to_scalar::<f32>().unwrap()
                });
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
        for (step, batch) in batches().iter().cycle().take(40).enumerate() {
            let seen = ours.step(batch, 1.0).unwrap().loss.to_scalar::<f32>().unwrap();
            let logits = stock_logits(&vars, &batch.images).unwrap();
            let loss = cross_entropy(&logits, &batch.labels, 0.1).unwrap().mean(0).unwrap();
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
}
