//! What weights of eight bits cost and bring.

use crate::{Engine, EngineError, Result};
use assay_domain::scores::{Scored, Scores};
use assay_domain::{Label, RunId, Split};
use assay_learn::{Classifier, DeviceChoice, Samples};
use assay_protocol::PrecisionFigures;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// Predictions whose times are taken, after some to warm up.
const TIMED: usize = 30;
const WARMUP: usize = 3;
/// Images of a timed batch.
const BATCH: usize = 16;

impl Engine {
    /// The figures of a run's model on a split, with weights of 32 and of 8 bits.
    pub fn compare_precisions(&self, run: RunId, split: Split) -> Result<Vec<PrecisionFigures>> {
        let full = self.classifier_on_cpu(run)?;
        let quantized = self.classifier_on_cpu(run)?.quantized()?;
        let snapshot =
            self.run(run)?.snapshot.ok_or_else(|| EngineError::NotFound(format!("run {run} has no snapshot")))?;
        let snapshot = self.store.read(|reader| reader.snapshot(snapshot))?;
        let (labels, samples) = self.snapshot_files(&snapshot)?.of_split(split);
        let samples: Arc<dyn Samples> = samples;
        let labels: Vec<Option<Label>> = labels.into_iter().map(|(_, label)| label).collect();
        let figures = |precision: &str, classifier: &Classifier| {
            figures(precision, classifier, &snapshot.classes, &labels, &samples)
        };
        Ok(vec![figures("fp32", &full)?, figures("int8", &quantized)?])
    }

    /// The best model of a run, on the processor.
    pub(crate) fn classifier_on_cpu(&self, run: RunId) -> Result<Classifier> {
        let kind = self.best_kind(run)?;
        self.classifier_on(run, kind, &DeviceChoice::Cpu.open()?).map(|(classifier, _)| classifier)
    }
}

fn figures(
    precision: &str,
    classifier: &Classifier,
    classes: &[String],
    labels: &[Option<Label>],
    samples: &Arc<dyn Samples>,
) -> Result<PrecisionFigures> {
    let mut found = Vec::with_capacity(labels.len());
    classifier.run(samples, &AtomicBool::new(false), |made| {
        found.push((&labels[made.sample], classifier.probabilities(made.logits)));
    })?;
    let scored: Vec<Scored<'_>> = found
        .iter()
        .filter_map(|(label, probabilities)| Some(Scored { label: label.as_ref()?, probabilities, loss: None }))
        .collect();
    let scores = Scores::new(classes, classifier.labelling(), &scored)
        .ok_or_else(|| EngineError::Invalid("the split has no labelled images to compare on".into()))?;
    let side = classifier.image_size();
    let pixels: Vec<u8> = (0..BATCH * side * side * 3).map(|place| (place * 37 % 251) as u8).collect();
    Ok(PrecisionFigures {
        precision: precision.to_owned(),
        accuracy: scores.accuracy.value,
        macro_f1: scores.macro_f1.value,
        loss: scores.loss,
        latency_ms: median_millis(classifier, &pixels[..side * side * 3])?,
        images_per_s: BATCH as f64 * 1e3 / median_millis(classifier, &pixels)?,
        weight_bytes: classifier.weight_bytes() as u64,
    })
}

/// The median time of predicting a batch of squares, in milliseconds, once warm.
pub(crate) fn median_millis(classifier: &Classifier, pixels: &[u8]) -> Result<f64> {
    let mut times = Vec::new();
    for turn in 0..WARMUP + TIMED {
        let begun = Instant::now();
        classifier.predict_all(pixels)?;
        if turn >= WARMUP {
            times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}
