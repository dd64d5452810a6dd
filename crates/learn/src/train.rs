//! The training loop.

mod check;
mod find;

pub use check::check_classes;

use crate::checkpoint::Best;
use crate::config::{ClassWeights, F1_OF, ScheduleName};
use crate::judge::Judged;
use crate::learner::Learner;
use crate::loader::{Features, Loader, Plan, Samples, balanced, balanced_positives};
use crate::memory::out_of_memory;
use crate::part::Part;
use crate::profile::PROFILED_STEP;
use crate::schedule::Steps;
use crate::weights::Weights;
use crate::window::Window;
use crate::{Config, Device, LearnError, Result, Saved};
use assay_domain::Labelling;
use assay_domain::entity::CheckpointKind;
use assay_domain::profile::Profile;
use assay_kernels::KeptMemory;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Classes have metrics of their own up to this many.
const CLASSES_TOLD: usize = 100;

/// Who hears what happens.
pub trait Sink {
    /// Values of metrics after `step` optimizer steps.
    fn metrics(&mut self, step: u64, values: &[(&str, f64)]);
    /// Optimizer steps done and planned.
    fn progress(&mut self, done: u64, total: u64);
    /// A line for the run's log.
    fn log(&mut self, line: String);
    /// Where the time of a step went; told once a run.
    fn profile(&mut self, profile: Profile);
    /// A checkpoint to keep; training goes on once it is durable.
    fn checkpoint(&mut self, kind: CheckpointKind, saved: Saved) -> Result<(), String>;
}

/// What is to be learned from what.
pub struct Task<'a> {
    /// The resolved config; its image size and batch size are set.
    pub config: &'a Config,
    /// The names of the classes.
    pub classes: &'a [String],
    /// What is learned from.
    pub train: Arc<dyn Samples>,
    /// What is watched; may be empty.
    pub val: Arc<dyn Samples>,
    /// What computes.
    pub device: Device,
    /// The first weights, instead of random ones.
    pub weights: Option<Weights>,
    /// Where to go on, instead of from the beginning.
    pub resume: Option<Saved>,
}

/// How training ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    /// All epochs were done.
    Finished,
    /// Validation did not get better for long enough.
    StoppedEarly,
    /// The stop signal was obeyed; the last checkpoint is where it stopped.
    Stopped,
    /// A learning rate was looked for, and this one found.
    Found(f64),
}

/// Trains until the epochs are done, validation gets no better, or `stop` is set.
///
/// # Errors
/// When there is too little data, the first weights do not fit, an image cannot be read, the loss diverges, or a checkpoint
/// cannot be kept.
pub fn train(task: &Task<'_>, sink: &mut dyn Sink, stop: &AtomicBool) -> Result<Outcome> {
    let _memory = KeptMemory::new();
    let mut training = Training::new(task, sink)?;
    if task.config.schedule.name == ScheduleName::Find {
        return training.find(sink, stop);
    }
    while training.learner.state.epoch < task.config.train.epochs {
        training.unfreeze(sink)?;
        if training.epoch(sink, stop)? == Ended::Within {
            sink.checkpoint(CheckpointKind::Last, training.learner.save()?).map_err(LearnError::Sink)?;
            sink.log(format!("stopped after step {}", training.learner.state.step));
            return Ok(Outcome::Stopped);
        }
        let better = training.validate(sink)?;
        sink.checkpoint(CheckpointKind::Last, training.learner.save()?).map_err(LearnError::Sink)?;
        if better {
            sink.checkpoint(CheckpointKind::Best, training.learner.save_best()?).map_err(LearnError::Sink)?;
        }
        if stop.load(Ordering::Relaxed) && training.learner.state.epoch < task.config.train.epochs {
            sink.log(format!("stopped after epoch {}", training.learner.state.epoch));
            return Ok(Outcome::Stopped);
        }
        if training.waits_in_vain() {
            let epochs = task.config.train.early_stop_epochs;
            sink.log(format!("no better {} for {epochs} epochs", task.config.train.best_by()));
            return Ok(Outcome::StoppedEarly);
        }
    }
    Ok(Outcome::Finished)
}

/// Where an epoch ended.
#[derive(PartialEq)]
enum Ended {
    /// All batches were seen.
    Whole,
    /// The stop signal was obeyed before.
    Within,
}

/// A task on its way.
struct Training<'a> {
    task: &'a Task<'a>,
    learner: Learner,
    steps: Steps,
    class_weights: Option<Arc<[f32]>>,
    /// Features of the training and validation samples, while only the head learns.
    features: Option<[Arc<Features>; 2]>,
}

impl<'a> Training<'a> {
    fn new(task: &'a Task<'a>, sink: &mut dyn Sink) -> Result<Training<'a>> {
        let config = task.config;
        if task.train.count() == 0 {
            return Err(LearnError::Data(
                "there are no labelled training samples: label some, or import classes".into(),
            ));
        }
        check::check_labels(task)?;
        // What was once chosen is gone on with.
        if task.resume.is_none() {
            check_classes(config, task.classes)?;
        }
        let mut learner = Learner::begin(config, task.classes.len(), &task.device)?;
        match (&task.resume, &task.weights) {
            (Some(saved), _) => learner.resume(saved, &config.optimizer)?,
            (None, Some(weights)) => learner.adopt(weights)?.iter().for_each(|line| sink.log(line.clone())),
            (None, None) => {}
        }
        let batches = task.train.count().div_ceil(config.train.batch_size) as u64;
        let mut class_weights = None;
        if config.train.class_weights == ClassWeights::Balanced {
            let (samples, classes) = (task.train.as_ref(), task.classes.len());
            match learner.loss.labelling {
                Labelling::AnyClasses => {
                    learner.loss.weigh_positives(&balanced_positives(samples, classes), &task.device)?
                }
                Labelling::OneClass => class_weights = Some(balanced(samples, classes)),
            }
        }
        let steps = Steps::new(&config.train, &config.schedule, batches);
        let mut training = Training { task, learner, steps, class_weights, features: None };
        sink.log(training.summary());
        training.remember(sink)?;
        Ok(training)
    }

    /// Lets more layers learn where it is time.
    fn unfreeze(&mut self, sink: &mut dyn Sink) -> Result<()> {
        if let Some(line) = self.learner.unfreeze(&self.task.config.optimizer)? {
            sink.log(line);
            self.features = None;
        }
        Ok(())
    }

    /// Computes what the frozen part makes of each sample once, where it sees the same images in each epoch.
    fn remember(&mut self, sink: &mut dyn Sink) -> Result<()> {
        let config = self.task.config;
        if !self.learner.learns_head_alone() {
            return Ok(());
        }
        if !config.augment.is_none() {
            sink.log("the frozen layers see each image anew in each epoch, since images are augmented; without any augment.* they would see it once".into());
            return Ok(());
        }
        let plan = Plan::infer(config, config.data.image_size);
        let of = |samples: &Arc<dyn Samples>| self.learner.features(samples, &plan);
        self.features = Some([of(&self.task.train)?, of(&self.task.val)?]);
        sink.log("the frozen layers have seen each image once; epochs go on from what they made of it".into());
        Ok(())
    }

    /// Sees all batches of the current epoch that were not seen yet, or those until the stop signal.
    fn epoch(&mut self, sink: &mut dyn Sink, stop: &AtomicBool) -> Result<Ended> {
        let (config, task) = (self.task.config, self.task);
        let mut loader = self.loader();
        let mut window = Window::new();
        loop {
            let waited = loader.waited();
            let Some(batch) = loader.next() else { break };
            let waited = loader.waited() - waited;
            let batch = batch.map_err(|error| out_of_memory(error, config.train.batch_size))?;
            let part = Part::of(&config.train, task.train.count(), self.learner.state.batch as usize);
            let factor = self.factor();
            let seen = match self.learner.state.step + 1 == PROFILED_STEP.min(self.steps.total) && part.ends {
                true => self.learner.profiled_step(&batch, part, factor, waited).map(|(seen, profile)| {
                    sink.profile(profile);
                    seen
                }),
                false => self.learner.step(&batch, part, factor),
            };
            window.add(seen.map_err(|error| out_of_memory(error, config.train.batch_size))?);
            if let Some(why) = self.learner.replay.take_refusal() {
                sink.log(format!("the device takes each step piece by piece, since recording one failed: {why}"));
            }
            if !part.ends {
                continue;
            }
            let step = self.learner.state.step;
            let epoch_ends = step == (self.learner.state.epoch + 1) * self.steps.per_epoch;
            let stopping = stop.load(Ordering::Relaxed);
            if step.is_multiple_of(config.train.log_every_steps) || epoch_ends || stopping {
                let loss = window.report(sink, step, config.optimizer.lr * factor, &loader)?;
                self.learner.check(&batch, step, loss)?;
                sink.progress(step, self.steps.total);
            }
            if stopping && !epoch_ends {
                return Ok(Ended::Within);
            }
        }
        self.learner.state.epoch += 1;
        self.learner.state.batch = 0;
        Ok(Ended::Whole)
    }

    /// The batches of the current epoch that were not seen yet.
    fn loader(&self) -> Loader {
        let (config, state) = (self.task.config, &self.learner.state);
        let features = self.features.as_ref().map(|[train, _]| train.clone());
        let plan = Plan::train(config, config.data.image_size, self.task.classes.len(), state.epoch)
            .weighing(self.class_weights.clone())
            .seeing(features);
        Loader::start(&self.task.train, &plan, state.batch as usize, &self.learner.uploads)
    }

    /// The factor on the learning rate of the next step.
    fn factor(&self) -> f64 {
        let (config, state) = (self.task.config, &self.learner.state);
        self.steps.factor(&config.schedule, &state.plateau, config.optimizer.lr, state.step)
    }

    /// Judges the model on the validation samples; returns whether this is the best state so far.
    fn validate(&mut self, sink: &mut dyn Sink) -> Result<bool> {
        let (config, task) = (self.task.config, self.task);
        let (step, epoch) = (self.learner.state.step, self.learner.state.epoch);
        if task.val.count() == 0 {
            sink.metrics(step, &[("epoch", epoch as f64)]);
            return Ok(true);
        }
        let features = self.features.as_ref().map(|[_, val]| val.clone());
        let plan = Plan::infer(config, config.data.image_size).seeing(features);
        let judged = self.learner.judge(&task.val, &plan, task.classes.len())?;
        let values = self.tell(sink, step, epoch, &judged);
        self.learner.state.plateau.hear(&config.schedule, judged.loss);
        self.learner.state.val_accuracy = Some(judged.accuracy);
        // The F1 of a class is none where nothing is labelled or predicted so.
        let value = values.iter().find(|(key, _)| *key == config.train.best_by()).map_or(0.0, |(_, value)| *value);
        let loss = judged.loss;
        let better = self.learner.state.best.is_none_or(|best| {
            let more = if config.train.best_by() == "val/loss" { value < best.value } else { value > best.value };
            more || (value == best.value && loss < best.loss)
        });
        if better {
            self.learner.state.best = Some(Best { value, loss, epoch });
        }
        Ok(better)
    }

    /// Tells how good the model is, and returns the metrics.
    fn tell(&self, sink: &mut dyn Sink, step: u64, epoch: u64, judged: &Judged) -> Vec<(String, f64)> {
        let classes = self.task.classes;
        let mut values = vec![("val/loss".to_owned(), judged.loss), ("val/accuracy".into(), judged.accuracy)];
        values.push(("epoch".into(), epoch as f64));
        values.extend(judged.confusion.macro_f1().map(|f1| ("val/macro_f1".into(), f1)));
        if self.learner.loss.labelling == Labelling::AnyClasses {
            values.extend(judged.confusion.micro_f1().map(|f1| ("val/micro_f1".into(), f1)));
        }
        let best_by = self.task.config.train.best_by();
        values.extend(
            judged.top5.filter(|_| classes.len() > 5 || best_by == "val/top5").map(|top5| ("val/top5".into(), top5)),
        );
        let f1 = |(number, name): (usize, &String)| {
            let key = format!("{F1_OF}{name}");
            let is_told = classes.len() <= CLASSES_TOLD || key == best_by;
            judged.confusion.score(number).f1.filter(|_| is_told).map(|f1| (key, f1))
        };
        values.extend(classes.iter().enumerate().filter_map(f1));
        let borrowed: Vec<(&str, f64)> = values.iter().map(|(key, value)| (key.as_str(), *value)).collect();
        sink.metrics(step, &borrowed);
        sink.log(format!(
            "epoch {epoch}/{}: val loss {:.4}, val accuracy {:.2} %",
            self.task.config.train.epochs,
            judged.loss,
            judged.accuracy * 100.0
        ));
        values
    }

    fn waits_in_vain(&self) -> bool {
        let (patience, state) = (self.task.config.train.early_stop_epochs, &self.learner.state);
        patience > 0 && state.best.is_some_and(|best| state.epoch - best.epoch >= patience)
    }

    fn summary(&self) -> String {
        let (task, size) = (self.task, self.task.config.data.image_size);
        let beginning = match self.learner.state.step {
            0 => String::new(),
            step => format!(", from step {step}"),
        };
        let (learned, all) = self.learner.parameters.counts();
        let frozen = if learned < all { format!(" of which {learned} learn,") } else { String::new() };
        format!(
            "{all} parameters,{frozen} {} training and {} validation images of {size}x{size}, {} classes, on {}{beginning}",
            task.train.count(),
            task.val.count(),
            task.classes.len(),
            crate::DeviceChoice::name(&task.device),
        )
    }
}

#[cfg(test)]
mod tests;
