//! The training job: completes the record, feeds the trainer, keeps what it tells.

use crate::decoded::Decoded;
use crate::evaluate::Evaluated;
use crate::images::{LostSample, SnapshotSample, SnapshotSamples};
use crate::import::is_as_known;
use crate::jobs::Done;
use crate::runs::loss_of;
use crate::{Engine, EngineError, Result};
use assay_domain::entity::{Artifact, Checkpoint, CheckpointKind, LogLine, Progress, Sample, Snapshot};
use assay_domain::profile::Profile;
use assay_domain::record::{Data, Record};
use assay_domain::{DatasetId, JobId, Label, Point, RunId, RunStatus, SampleId, Split};
use assay_learn::{
    Classifier, Config, Device, DeviceChoice, Outcome, Samples, Saved, Sink, State, Task, check_memory,
    choose_batch_size, measure_loading, train,
};
use assay_store::{FileFacts, Hash};
use rayon::prelude::*;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long points may wait before they are written.
const FLUSH: Duration = Duration::from_millis(200);
/// A sign of life comes this often.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// The machine is measured every so many heartbeats.
const TELEMETRY: u32 = 2;

impl Engine {
    pub(crate) fn train(&self, job: JobId, run: RunId, stop: &AtomicBool) -> Result<Done> {
        self.store.write(move |tx| tx.start_run(run))?;
        let result = self.train_started(job, run, stop);
        match &result {
            Ok(Done::Finished(message)) => {
                let message = message.clone();
                self.store.write(move |tx| tx.end_run(run, RunStatus::Finished, Some(&message)))?;
            }
            Ok(Done::Stopped) => {
                self.store.write(move |tx| tx.end_run(run, RunStatus::Stopped, Some("stopped by a person")))?;
            }
            Ok(Done::Requeue) => self.store.write(move |tx| tx.requeue_run(run))?,
            Err(error) => {
                let line = LogLine { at: (self.clock)(), text: format!("failed: {error}") };
                self.store.write(move |tx| tx.append_log(run, &[line]))?;
            }
        }
        result
    }

    fn train_started(&self, job: JobId, run: RunId, stop: &AtomicBool) -> Result<Done> {
        let asked = self.run(run)?;
        let dataset = asked.dataset.ok_or_else(|| EngineError::Invalid(format!("run {run} names no dataset")))?;
        let resume = self.last_checkpoint(run)?;
        // A resumed run learns from the snapshot that it began with.
        let snapshot = match asked.snapshot {
            Some(snapshot) => self.store.read(|reader| reader.snapshot(snapshot))?,
            None => {
                self.log_what_is_left_out(run, dataset)?;
                self.take_snapshot(dataset)?
            }
        };
        let mut config = self.resolved_config(run)?;
        let files = self.snapshot_files(&snapshot)?;
        if config.data.image_size == 0 {
            config.data.image_size = usual_side(&files.samples);
        }
        config.train.loss = loss_of(&config, snapshot.labelling);
        let device = DeviceChoice::from(config.device).open()?;
        self.fit_memory(run, &mut config, snapshot.classes.len(), files.split(Split::Train).count(), &device)?;
        self.complete_record(run, &config, &snapshot, &files, DeviceChoice::name(&device))?;

        let samples = [Split::Train, Split::Val].map(|split| files.split(split));
        let [train_samples, val_samples] = samples.clone();
        let task = Task {
            config: &config,
            classes: &snapshot.classes,
            train: train_samples,
            val: val_samples,
            device,
            weights: self.kept_weights(run)?,
            resume,
        };
        let first_step = task.resume.as_ref().map_or(0, |saved| saved.state.step as i64 + 1);
        self.store.write(move |tx| tx.begin_segment(run, first_step))?;
        let teller = Teller { engine: self, run, job, samples, told: Mutex::default(), over: Condvar::new() };
        let outcome = std::thread::scope(|scope| {
            scope.spawn(|| teller.beat());
            let _ending = EndOfBeat(&teller); // also when training panics
            let mut sink = RunSink { teller: &teller, last_flush: Instant::now() };
            let outcome = train(&task, &mut sink, stop);
            teller.flush();
            outcome
        });
        match outcome? {
            Outcome::Stopped if self.jobs.is_closing() => Ok(Done::Requeue),
            Outcome::Stopped => Ok(Done::Stopped),
            Outcome::Found(learning_rate) => Ok(Done::Finished(format!("try optimizer.lr={learning_rate:.1e}"))),
            outcome => {
                let tested = self.evaluate_run(run, Split::Test, None, &AtomicBool::new(false));
                let tested = match tested {
                    Ok(Some(Evaluated { evaluation, .. })) => {
                        let name = evaluation.confusion.labelling().accuracy_name();
                        evaluation.confusion.accuracy().map(|share| format!("; test {name} {:.2} %", share * 100.0))
                    }
                    Ok(None) => None,
                    Err(error) => {
                        let line =
                            LogLine { at: (self.clock)(), text: format!("the test split was not evaluated: {error}") };
                        self.store.write(move |tx| tx.append_log(run, &[line]))?;
                        None
                    }
                };
                let end = if outcome == Outcome::StoppedEarly { "ended early" } else { "all epochs done" };
                Ok(Done::Finished(format!("{end}{}", tested.unwrap_or_default())))
            }
        }
    }

    /// Chooses the batch size where that is left open, and refuses one that the memory has no room for.
    fn fit_memory(
        &self,
        run: RunId,
        config: &mut Config,
        classes: usize,
        samples: usize,
        device: &Device,
    ) -> Result<()> {
        let free = assay_probe::free_memory();
        if config.train.batch_size == 0 {
            let (chosen, lines) = choose_batch_size(config, classes, samples, device, free)?;
            config.train.batch_size = chosen;
            let at = (self.clock)();
            let lines: Vec<LogLine> = lines.into_iter().map(|text| LogLine { at, text }).collect();
            self.store.write(move |tx| tx.append_log(run, &lines))?;
        } else if device.is_cpu() {
            check_memory(config, classes, free)?;
        }
        Ok(())
    }

    /// How many training images a dataset has, and the time in which each of so many epochs of them is loaded and
    /// augmented, when nothing is learned from them.
    pub fn measure_loading(
        &self,
        dataset: DatasetId,
        overrides: &[String],
        epochs: u64,
    ) -> Result<(usize, Vec<Duration>)> {
        let config = Config::resolve("", overrides).map_err(assay_learn::LearnError::from)?;
        let snapshot = self.take_snapshot(dataset)?;
        let samples: Arc<dyn Samples> = self.snapshot_files(&snapshot)?.split(Split::Train);
        Ok((samples.count(), measure_loading(&config, &samples, epochs)?))
    }

    fn complete_record(
        &self,
        run: RunId,
        config: &Config,
        snapshot: &Snapshot,
        files: &SnapshotFiles,
        device: &str,
    ) -> Result<()> {
        let begun = self.store.read(|reader| reader.record(run))?.unwrap_or_default();
        let count = |split: Split| files.of(split).count() as u64;
        let dataset = self.dataset(snapshot.dataset)?;
        let record = Record {
            machine: assay_probe::machine(device),
            config: config.to_toml(),
            seed: config.seed,
            data: Some(Data {
                dataset: dataset.name,
                snapshot: snapshot.hash.clone(),
                classes: snapshot.classes.clone(),
                samples: Split::ALL.map(|split| (split, count(split))).to_vec(),
            }),
            ..begun
        };
        let (params, snapshot) = (config.params(), snapshot.id);
        Ok(self.store.write(move |tx| {
            tx.set_params(run, &params)?;
            tx.set_record(run, &record, Some(snapshot))
        })?)
    }

    fn last_checkpoint(&self, run: RunId) -> Result<Option<Saved>> {
        let found = self.store.read(|reader| reader.checkpoints(Some(run)))?;
        let Some(last) = found.into_iter().find(|checkpoint| checkpoint.kind == CheckpointKind::Last) else {
            return Ok(None);
        };
        let get =
            |artifact: &Artifact| -> Result<Vec<u8>> { Ok(self.store.blobs().get(&Hash::parse(&artifact.hash)?)?) };
        let state: State = serde_json::from_slice(&get(&last.state)?)
            .map_err(|why| EngineError::Internal(format!("the checkpoint's state cannot be read: {why}")))?;
        Ok(Some(Saved { weights: get(&last.weights)?, optimizer: get(&last.optimizer)?, state }))
    }

    /// The model of a run's checkpoint, with its classes.
    pub(crate) fn classifier(&self, run: RunId, kind: CheckpointKind) -> Result<(Classifier, Vec<String>)> {
        self.classifier_on(run, kind, &self.device())
    }

    /// The same on a device.
    pub(crate) fn classifier_on(
        &self,
        run: RunId,
        kind: CheckpointKind,
        device: &Device,
    ) -> Result<(Classifier, Vec<String>)> {
        let config = self.resolved_config(run)?;
        let found = self.run(run)?;
        let snapshot = found.snapshot.ok_or_else(|| EngineError::NotFound(format!("run {run} has not started yet")))?;
        let snapshot = self.store.read(|reader| reader.snapshot(snapshot))?;
        let checkpoint = self.store.read(|reader| reader.checkpoint(run, kind))?;
        let weights = self.store.blobs().get(&Hash::parse(&checkpoint.weights.hash)?)?;
        let classifier = Classifier::load(&config, snapshot.classes.len(), &weights, device)?;
        Ok((classifier, snapshot.classes))
    }

    /// The files of a snapshot's samples.
    pub(crate) fn snapshot_files(&self, snapshot: &Snapshot) -> Result<SnapshotFiles> {
        let entries = self.store.snapshot_entries(snapshot)?;
        let (dataset, samples) =
            self.store.read(|reader| Ok((reader.dataset(snapshot.dataset)?, reader.all_samples(snapshot.dataset)?)))?;
        let folder = Engine::source_folder(&dataset.source);
        let listings = self.store.read(|reader| reader.listings(snapshot.dataset))?;
        let known: HashMap<&str, &FileFacts> = listings
            .iter()
            .filter(|listing| !listing.is_missing)
            .map(|listing| (listing.file.path.as_str(), &listing.file))
            .collect();
        let by_id: HashMap<SampleId, &Sample> = samples.iter().map(|sample| (sample.id, sample)).collect();
        let present = samples.iter().filter(|sample| sample.missing.is_none());
        let by_hash: HashMap<&str, &Sample> = present.map(|sample| (sample.hash.as_str(), sample)).collect();
        let samples = entries
            .into_par_iter()
            .filter_map(|entry| Some((*by_id.get(&entry.sample)?, entry)))
            .map(|(sample, entry)| {
                // The snapshot's contents, at their current path.
                let is_there = sample.missing.is_none() && sample.hash == entry.hash;
                let place = by_hash.get(entry.hash.as_str()).filter(|_| !is_there).map_or(sample, |found| found);
                let path = folder.join(assay_formats::path_of_text(&place.path));
                let is_suspect = match (known.get(place.path.as_str()), std::fs::metadata(&path)) {
                    (Some(known), Ok(facts)) => !is_as_known(known, &facts),
                    _ => false,
                };
                Ok(SnapshotFile {
                    id: entry.sample,
                    path,
                    is_suspect,
                    hash: Hash::parse(&entry.hash)?,
                    label: entry.label,
                    split: entry.split,
                    side: sample.width.max(sample.height),
                })
            })
            .collect::<Result<_>>()?;
        let archive = dataset.archive.map(|archive| (folder, archive));
        Ok(SnapshotFiles { samples, archive, decoded: self.decoded.clone() })
    }
}

/// The classes of a label, as a model counts them.
pub(crate) fn classes_of(label: &Label) -> Vec<u32> {
    label.classes().iter().map(|class| class.0 as u32).collect()
}

/// A sample of a snapshot with its file.
pub(crate) struct SnapshotFile {
    id: SampleId,
    path: std::path::PathBuf,
    /// Whether the file looks changed since the last import.
    is_suspect: bool,
    hash: Hash,
    label: Option<Label>,
    split: Split,
    /// Longer side, in pixels.
    side: u32,
}

impl SnapshotFile {
    fn sample(&self, classes: Vec<u32>) -> SnapshotSample {
        let (path, hash) = (self.path.clone(), self.hash.clone());
        SnapshotSample { id: self.id, path, is_suspect: self.is_suspect, hash, classes }
    }
}

/// The samples of a snapshot.
pub(crate) struct SnapshotFiles {
    samples: Vec<SnapshotFile>,
    /// The folder that an archive was unpacked into, and the archive.
    archive: Option<(std::path::PathBuf, String)>,
    decoded: Arc<Decoded>,
}

impl SnapshotFiles {
    fn of(&self, split: Split) -> impl Iterator<Item = &SnapshotFile> {
        self.samples.iter().filter(move |file| file.split == split)
    }

    /// The labelled samples of a split.
    fn split(&self, split: Split) -> Arc<SnapshotSamples> {
        let labelled = self.of(split).filter_map(|file| Some(file.sample(classes_of(file.label.as_ref()?))));
        SnapshotSamples::new(labelled.collect(), self.archive.clone(), &self.decoded)
    }

    /// All samples of a split, with labels if any, for prediction.
    pub(crate) fn of_split(&self, split: Split) -> (Vec<(SampleId, Option<Label>)>, Arc<SnapshotSamples>) {
        let ids = self.of(split).map(|file| (file.id, file.label.clone())).collect();
        let files = self.of(split).map(|file| file.sample(Vec::new()));
        (ids, SnapshotSamples::new(files.collect(), self.archive.clone(), &self.decoded))
    }
}

/// The side that suits most images: the median of the longer sides, in steps of 8, from 8 to 128 pixels.
fn usual_side(samples: &[SnapshotFile]) -> usize {
    let mut sides: Vec<u32> = samples.iter().map(|sample| sample.side).collect();
    sides.sort_unstable();
    let median = sides.get(sides.len() / 2).copied().unwrap_or(32) as usize;
    median.next_multiple_of(8).clamp(8, 128)
}

/// Collects what the trainer tells and writes it in few transactions.
struct Teller<'a> {
    engine: &'a Engine,
    run: RunId,
    job: JobId,
    samples: [Arc<SnapshotSamples>; 2],
    told: Mutex<Told>,
    over: Condvar,
}

#[derive(Default)]
struct Told {
    points: Vec<(String, Point)>,
    lines: Vec<LogLine>,
    progress: Progress,
    step: i64,
    ended: bool,
}

impl Teller<'_> {
    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what waits. A failure is reported and the points are kept for the next try.
    fn flush(&self) {
        let lost: Vec<LostSample> = self.samples.iter().flat_map(|samples| samples.take_lost()).collect();
        if !lost.is_empty() {
            let lines = self.engine.lines_of_lost(&lost);
            self.told().lines.extend(lines);
        }
        let (points, lines, progress) = {
            let mut told = self.told();
            (std::mem::take(&mut told.points), std::mem::take(&mut told.lines), told.progress)
        };
        let (run, job) = (self.run, self.job);
        let (points_kept, lines_kept) = (points.clone(), lines.clone());
        let written = self.engine.store.write(move |tx| {
            tx.run_heartbeat(run, progress)?;
            if !points.is_empty() {
                tx.append_points(run, &points)?;
                tx.update_job(job, RunStatus::Running, progress, "training")?;
            }
            if !lines.is_empty() {
                tx.append_log(run, &lines)?;
            }
            Ok(())
        });
        if let Err(error) = written {
            tracing::error!(%error, %run, "points wait to be written");
            let mut told = self.told();
            told.points.splice(0..0, points_kept);
            told.lines.splice(0..0, lines_kept);
        }
    }

    /// Signs of life and measurements of the machine, until the end.
    fn beat(&self) {
        let mut telemetry = assay_probe::Telemetry::start();
        for beat in 1.. {
            let told = self.told();
            let (told, _) = self
                .over
                .wait_timeout_while(told, HEARTBEAT, |told| !told.ended)
                .unwrap_or_else(PoisonError::into_inner);
            if told.ended {
                return;
            }
            let step = told.step;
            drop(told);
            if let Some(telemetry) = telemetry.as_mut().filter(|_| beat % TELEMETRY == 0) {
                let wall_ms = (self.engine.clock)().0;
                let values = telemetry.measure();
                let points = values.into_iter().map(|(key, value)| (key.to_owned(), Point { step, wall_ms, value }));
                self.told().points.extend(points);
            }
            self.flush();
        }
    }
}

/// Ends the beat when training ends, however it ends.
struct EndOfBeat<'a>(&'a Teller<'a>);

impl Drop for EndOfBeat<'_> {
    fn drop(&mut self) {
        self.0.told().ended = true;
        self.0.over.notify_all();
    }
}

struct RunSink<'a> {
    teller: &'a Teller<'a>,
    last_flush: Instant,
}

impl Sink for RunSink<'_> {
    fn metrics(&mut self, step: u64, values: &[(&str, f64)]) {
        let wall_ms = (self.teller.engine.clock)().0;
        let mut told = self.teller.told();
        told.step = step as i64;
        told.points.extend(
            values.iter().map(|(key, value)| ((*key).to_owned(), Point { step: step as i64, wall_ms, value: *value })),
        );
        drop(told);
        if self.last_flush.elapsed() >= FLUSH {
            self.last_flush = Instant::now();
            self.teller.flush();
        }
    }

    fn progress(&mut self, done: u64, total: u64) {
        self.teller.told().progress = Progress { done, total };
    }

    fn log(&mut self, text: String) {
        tracing::info!(run = %self.teller.run, "{text}");
        let at = (self.teller.engine.clock)();
        self.teller.told().lines.push(LogLine { at, text });
    }

    fn profile(&mut self, profile: Profile) {
        if let Err(error) = self.teller.engine.keep_profile(self.teller.run, &profile) {
            self.log(format!("the profile was not kept: {error}"));
        }
    }

    fn checkpoint(&mut self, kind: CheckpointKind, saved: Saved) -> Result<(), String> {
        let (engine, run) = (self.teller.engine, self.teller.run);
        // What was told before the checkpoint is not lost if the process dies right after it.
        self.teller.flush();
        let state = serde_json::to_vec(&saved.state).map_err(|why| why.to_string())?;
        let held = engine.store.blobs().hold();
        let put = |bytes: &[u8]| -> Result<Artifact, String> {
            let hash = engine.store.blobs().put(bytes).map_err(|why| format!("the checkpoint was not saved: {why}"))?;
            Ok(Artifact { path: String::new(), hash: hash.as_str().to_owned(), bytes: bytes.len() as u64 })
        };
        let checkpoint = Checkpoint {
            run,
            kind,
            step: saved.state.step,
            epoch: saved.state.epoch,
            val_accuracy: saved.state.val_accuracy,
            at: (engine.clock)(),
            weights: put(&saved.weights)?,
            optimizer: put(&saved.optimizer)?,
            state: put(&state)?,
        };
        let replaced = engine
            .store
            .write(move |tx| tx.put_checkpoint(&checkpoint))
            .map_err(|why| format!("the checkpoint was not saved: {why}"))?;
        drop(held);
        if let Err(error) = engine.store.free(replaced) {
            tracing::warn!(%error, "an old checkpoint still takes room");
        }
        Ok(())
    }
}

impl Engine {
    /// Whether a stop signal was meant for good.
    pub(crate) fn ended_by(&self, stop: &AtomicBool) -> Option<Done> {
        stop.load(Ordering::Relaxed).then(|| if self.jobs.is_closing() { Done::Requeue } else { Done::Stopped })
    }
}
