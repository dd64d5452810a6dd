//! Whole runs of small models on images that are made here.

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
