//! The training loop.

use crate::checkpoint::Best;
use crate::config::{ClassWeights, F1_OF, ScheduleName};
use crate::judge::Judged;
use crate::learner::Learner;
use crate::loader::{Features, Loader, Plan, Samples, balanced, balanced_positives};
use crate::memory::out_of_memory;
use crate::part::Part;
use crate::profile::PROFILED_STEP;
use crate::schedule::Steps;
use crate::search::Search;
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
        check_labels(task)?;
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
            let (batch, waited) = (batch?, loader.waited() - waited);
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
        Loader::start(&self.task.train, &plan, state.batch as usize, &self.task.device)
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
        values.extend(judged.top5.filter(|_| classes.len() > 5).map(|top5| ("val/top5".into(), top5)));
        let f1 = |(number, name): (usize, &String)| {
            let key = format!("{F1_OF}{name}");
            let is_told = classes.len() <= CLASSES_TOLD || key == self.task.config.train.best_by();
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

    /// Looks for a learning rate: it rises until the loss explodes (Smith 2017, section 3.3).
    fn find(&mut self, sink: &mut dyn Sink, stop: &AtomicBool) -> Result<Outcome> {
        let config = self.task.config;
        let mut search = Search::default();
        let mut loader = self.loader();
        while self.learner.state.step < self.steps.total && !search.is_over() {
            if stop.load(Ordering::Relaxed) {
                return Ok(Outcome::Stopped);
            }
            let Some(batch) = loader.next() else {
                self.learner.state.epoch += 1;
                self.learner.state.batch = 0;
                loader = self.loader();
                continue;
            };
            let learning_rate = self.factor() * config.optimizer.lr;
            match self.learner.step(&batch?, Part::WHOLE, self.factor()) {
                Ok(seen) => {
                    let loss = f64::from(seen.loss.to_scalar::<f32>()?);
                    search.hear(learning_rate, loss);
                    let step = self.learner.state.step;
                    sink.metrics(step, &[("train/loss", loss), ("lr", learning_rate)]);
                    sink.progress(step, self.steps.total);
                }
                Err(LearnError::Diverged { .. }) => break,
                Err(other) => return Err(other),
            }
        }
        let found = search.found().ok_or_else(|| {
            LearnError::Data("the loss did not fall at any learning rate: check the data and its labels".into())
        })?;
        sink.log(format!(
            "the loss falls fastest at a learning rate of {:.1e} and explodes at {:.1e}: try optimizer.lr={:.1e}",
            found.steepest, found.end, found.steepest
        ));
        Ok(Outcome::Found(found.steepest))
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

/// Samples have one class each where the loss is of one.
fn check_labels(task: &Task<'_>) -> Result<()> {
    if task.config.train.labelling() == Labelling::AnyClasses {
        return Ok(());
    }
    let others = |samples: &Arc<dyn Samples>| (0..samples.count()).filter(|i| samples.classes(*i).len() != 1).count();
    match others(&task.train) + others(&task.val) {
        0 => Ok(()),
        others => Err(LearnError::Data(format!(
            "{others} samples have several classes or none: set train.loss=binary-cross-entropy"
        ))),
    }
}

/// Whether a model of these classes can be learned by a config: there are enough, and the metric by which the best
/// checkpoint is chosen is one that will be told.
///
/// # Errors
/// With what to do, when not.
pub fn check_classes(config: &Config, classes: &[String]) -> Result<()> {
    let (labelling, metric) = (config.train.labelling(), config.train.best_by());
    let least = if labelling == Labelling::OneClass { 2 } else { 1 };
    if classes.len() < least {
        return Err(LearnError::Data(format!(
            "a classifier needs at least {least} classes, the dataset has {}",
            classes.len()
        )));
    }
    let why = match metric {
        "val/top5" if labelling == Labelling::AnyClasses => "samples have any number of classes",
        "val/top5" if classes.len() <= 5 => "there are no more than five classes",
        "val/micro_f1" if labelling == Labelling::OneClass => {
            "each sample has one class, so that it is the accuracy: choose val/accuracy"
        }
        _ => match metric.strip_prefix(F1_OF) {
            Some(class) if !classes.iter().any(|own| own == class) => "there is no such class",
            _ => return Ok(()),
        },
    };
    Err(LearnError::Data(format!("train.best_by={metric} tells nothing apart: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::State;
    use assay_domain::profile::Phase;

    /// Images of a class of their own brightness, with noise by their number.
    struct Shades(usize);

    impl Samples for Shades {
        fn count(&self) -> usize {
            self.0
        }

        fn classes(&self, index: usize) -> &[u32] {
            &[0, 1, 2][index % 3..=index % 3]
        }

        fn show(&self, index: usize, side: usize, see: &mut dyn FnMut(&[u8])) -> Result<(), String> {
            let noise = |place: usize| (index * 31 + place * 17) % 50;
            see(&(0..side * side * 3).map(|place| (index % 3 * 80 + noise(place)) as u8).collect::<Vec<_>>());
            Ok(())
        }
    }

    /// Hears everything, and sets the stop signal after a step.
    struct Heard<'a> {
        metrics: Vec<(u64, String, f64)>,
        lines: Vec<String>,
        profiles: Vec<Profile>,
        last: Option<Saved>,
        best: Option<Saved>,
        stop_after: u64,
        stop: &'a AtomicBool,
    }

    impl Sink for Heard<'_> {
        fn metrics(&mut self, step: u64, values: &[(&str, f64)]) {
            self.metrics.extend(values.iter().map(|(key, value)| (step, (*key).to_owned(), *value)));
        }

        fn progress(&mut self, done: u64, _total: u64) {
            if done >= self.stop_after {
                self.stop.store(true, Ordering::Relaxed);
            }
        }

        fn log(&mut self, line: String) {
            self.lines.push(line);
        }

        fn profile(&mut self, profile: Profile) {
            self.profiles.push(profile);
        }

        fn checkpoint(&mut self, kind: CheckpointKind, saved: Saved) -> Result<(), String> {
            match kind {
                CheckpointKind::Last => self.last = Some(saved),
                CheckpointKind::Best => self.best = Some(saved),
            }
            Ok(())
        }
    }

    fn config(overrides: &[&str]) -> Config {
        let small = [
            "data.image_size=8",
            "model.width=4",
            "train.batch_size=4",
            "train.log_every_steps=1",
            "train.epochs=4",
            "optimizer.lr=0.01",
        ];
        let all = [&small, overrides].concat();
        Config::resolve("", &all.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    /// What came of a run.
    struct Told {
        outcome: Outcome,
        /// All but what differs from time to time.
        metrics: Vec<(u64, String, f64)>,
        lines: Vec<String>,
        profiles: Vec<Profile>,
        last: Option<Saved>,
        best: Option<Saved>,
    }

    fn run(config: &Config, resume: Option<Saved>, stop_after: u64) -> Told {
        let stop = AtomicBool::new(false);
        let mut heard =
            Heard { metrics: vec![], lines: vec![], profiles: vec![], last: None, best: None, stop_after, stop: &stop };
        let classes = ["dark", "grey", "light"].map(str::to_owned);
        let task = Task {
            config,
            classes: &classes,
            train: Arc::new(Shades(18)),
            val: Arc::new(Shades(9)),
            device: Device::Cpu,
            weights: None,
            resume,
        };
        let outcome = train(&task, &mut heard, &stop).unwrap();
        let Heard { metrics, lines, profiles, last, best, .. } = heard;
        let metrics = metrics.into_iter().filter(|(_, key, _)| !key.starts_with("system/")).collect();
        Told { outcome, metrics, lines, profiles, last, best }
    }

    /// Everything that keeps a state: moments, means, gathered batches, plateaus, dropout, unfreezing.
    const DEMANDING: &[&[&str]] = &[
        &["augment.flip=true", "augment.color=0.2", "train.loader_threads=1"],
        &[
            "train.accumulate_batches=2",
            "train.ema_decay=0.9",
            "augment.mixup=0.4",
            "schedule.name=plateau",
            "schedule.every_epochs=1",
        ],
        &["model.name=mobilenet-v3-large", "optimizer.name=sgd", "train.clip_norm=1", "train.sampler=balanced"],
        &[
            "model.name=resnet18",
            "model.frozen=backbone",
            "train.unfreeze_epochs=1",
            "train.unfreeze=gradual",
            "augment.shift=0",
        ],
        &["model.frozen=backbone", "train.unfreeze_epochs=2", "schedule.name=one-cycle", "augment.rand_count=2"],
        &[
            "train.loss=binary-cross-entropy",
            "train.class_weights=balanced",
            "train.best_by=val/f1/dark",
            "train.label_smoothing=0.1",
            "augment.mixup=0.4",
        ],
    ];

    #[test]
    fn a_run_that_is_stopped_anywhere_and_resumed_gives_the_numbers_of_one_that_was_not() {
        for overrides in DEMANDING {
            let config = config(overrides);
            let whole = run(&config, None, u64::MAX);
            assert_eq!(whole.outcome, Outcome::Finished);
            let weights = |told: &Told| told.last.as_ref().unwrap().weights.clone();
            for stop_after in 1..whole.last.as_ref().unwrap().state.step - 1 {
                let begun = run(&config, None, stop_after);
                assert_eq!(begun.outcome, Outcome::Stopped, "{overrides:?}");
                let resumed = run(&config, begun.last, u64::MAX);
                let metrics = [begun.metrics, resumed.metrics.clone()].concat();
                assert_eq!(metrics, whole.metrics, "{overrides:?}, stopped after step {stop_after}");
                assert_eq!(weights(&resumed), weights(&whole), "{overrides:?}, stopped after step {stop_after}");
            }
        }
    }

    #[test]
    fn the_number_of_loader_threads_changes_nothing() {
        let losses = |threads: &str| {
            let config = config(&["augment.cutmix=1", "augment.rand_count=1", "augment.crop=0.5", threads]);
            run(&config, None, u64::MAX).metrics
        };
        let one = losses("train.loader_threads=1");
        assert_eq!(one, losses("train.loader_threads=2"));
        assert_eq!(one, losses("train.loader_threads=4"));
    }

    #[test]
    fn a_head_learns_from_features_that_were_computed_once_and_from_images_that_change() {
        let overrides = ["model.name=resnet18", "model.frozen=backbone", "augment.shift=0"];
        let once = run(&config(&overrides), None, u64::MAX);
        assert!(once.lines.iter().any(|line| line.contains("seen each image once")), "{:?}", once.lines);
        let changing = run(&config(&[&overrides[..], &["augment.flip=true"]].concat()), None, u64::MAX);
        assert!(changing.lines.iter().any(|line| line.contains("anew in each epoch")), "{:?}", changing.lines);
        for told in [once, changing] {
            let losses: Vec<f64> =
                told.metrics.iter().filter(|(_, key, _)| key == "val/loss").map(|(_, _, value)| *value).collect();
            assert!(losses.len() == 4 && losses[3] < losses[0], "{losses:?}");
        }
    }

    #[test]
    fn metrics_of_an_epoch_name_the_classes_and_the_best_is_chosen_by_the_metric_asked_for() {
        let told = run(&config(&["train.best_by=val/loss"]), None, u64::MAX);
        let of = |key: &str| -> Vec<f64> {
            told.metrics.iter().filter(|(_, found, _)| found == key).map(|(_, _, value)| *value).collect()
        };
        for key in ["val/loss", "val/accuracy", "val/macro_f1", "val/f1/light", "train/loss", "lr"] {
            assert!(!of(key).is_empty(), "{key}");
        }
        assert!(of("val/top5").is_empty(), "there are three classes");
        let least = of("val/loss").into_iter().fold(f64::INFINITY, f64::min);
        assert_eq!(told.best.unwrap().state.best.unwrap().value, least);
    }

    #[test]
    fn the_best_is_chosen_by_nothing_that_is_not_told() {
        let why = |metric: &str| {
            let classes = ["dark", "light"].map(str::to_owned);
            let config = config(&[&format!("train.best_by={metric}")]);
            check_classes(&config, &classes).err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert_eq!((why("val/f1/light"), why("val/macro_f1")), (String::new(), String::new()));
        assert!(why("val/f1/grey").contains("no such class"));
        assert!(why("val/top5").contains("five classes"));
        assert!(why("val/micro_f1").contains("val/accuracy"));
        let refused = Config::resolve("", &["train.best_by=val/acc".to_owned()]).unwrap_err().to_string();
        assert!(refused.contains("val/f1/CLASS"), "{refused}");
    }

    #[test]
    fn a_learning_rate_is_found() {
        let told = run(&config(&["schedule.name=find"]), None, u64::MAX);
        let Outcome::Found(learning_rate) = told.outcome else { panic!("{:?}", told.outcome) };
        assert!((1e-5..3.0).contains(&learning_rate), "{learning_rate}");
        assert!(told.lines.iter().any(|line| line.contains("try optimizer.lr=")), "{:?}", told.lines);
        assert!(told.last.is_none(), "nothing is kept of a search");
    }

    #[test]
    fn one_step_is_profiled_with_every_layer_forward_and_back() {
        let told = run(&config(&["model.name=resnet18"]), None, u64::MAX);
        let [profile] = told.profiles.as_slice() else { panic!("{} profiles", told.profiles.len()) };
        assert_eq!((profile.step, profile.batch_size), (5, 2));
        for phase in Phase::ALL {
            assert!(profile.spans.iter().any(|span| span.phase == phase), "{phase:?}");
        }
        let named = |phase: Phase| {
            profile.spans.iter().filter(|span| span.phase == phase && span.layer == "layer4.1.conv2").count()
        };
        assert_eq!((named(Phase::Forward), named(Phase::Backward)), (1, 1));
        let ends = profile.spans.iter().map(|span| span.begin_us + span.took_us);
        let begins = profile.spans.iter().skip(1).map(|span| span.begin_us);
        assert!(ends.zip(begins).all(|(end, begin)| begin >= end - 1.0), "spans follow each other");
    }

    #[test]
    fn a_state_of_an_earlier_version_still_loads() {
        let text = r#"{"step":5,"epoch":1,"batch":0,"best":{"accuracy":0.5,"loss":1.0,"epoch":1},"val_accuracy":0.5}"#;
        let state: State = serde_json::from_str(text).unwrap();
        assert_eq!((state.best.unwrap().value, state.plateau), (0.5, crate::Plateau::default()));
    }
}
