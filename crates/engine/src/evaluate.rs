//! Evaluations: what a model says of each sample of a split.

use crate::jobs::Done;
use crate::{Engine, EngineError, Result};
use assay_domain::entity::{Evaluation, Job, JobKind, Prediction};
use assay_domain::{ClassId, Confusion, EvaluationId, JobId, RunId, Split};
use assay_learn::{Samples, softmax};
use assay_protocol::{PredictionPage, PredictionsQuery};
use assay_store::{PredictionFilter, PredictionOrder};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

impl Engine {
    /// Queues the evaluation of a run's best model on a split of the snapshot that it learned from.
    pub fn start_evaluation(&self, run: RunId, split: Split) -> Result<Job> {
        self.best_kind(run)?;
        self.queue(JobKind::Evaluate { run, split })
    }

    pub(crate) fn evaluate(&self, _job: JobId, run: RunId, split: Split, stop: &AtomicBool) -> Result<Done> {
        match self.evaluate_run(run, split, stop)? {
            _ if self.ended_by(stop).is_some() => Ok(self.ended_by(stop).unwrap_or(Done::Stopped)),
            Some(evaluation) => {
                let accuracy = evaluation
                    .confusion
                    .accuracy()
                    .map(|accuracy| format!("{split} accuracy {:.2} %", accuracy * 100.0));
                Ok(Done::Finished(accuracy.unwrap_or_else(|| "no labelled samples".into())))
            }
            None => Ok(Done::Finished(format!("the snapshot has no {split} samples"))),
        }
    }

    /// Predicts every sample of a split and keeps what was predicted; nothing when the split is empty.
    pub(crate) fn evaluate_run(&self, run: RunId, split: Split, stop: &AtomicBool) -> Result<Option<Evaluation>> {
        let kind = self.best_kind(run)?;
        let (classifier, classes) = self.classifier(run, kind)?;
        let snapshot =
            self.run(run)?.snapshot.ok_or_else(|| EngineError::NotFound(format!("run {run} has no snapshot")))?;
        let snapshot = self.store.read(|reader| reader.snapshot(snapshot))?;
        let (ids, samples) = self.snapshot_files(&snapshot)?.of_split(split);
        if ids.is_empty() {
            return Ok(None);
        }
        let mut predictions = Vec::with_capacity(ids.len());
        let samples: Arc<dyn Samples> = samples;
        classifier.run(&samples, stop, |logits| {
            let (sample, label) = ids[predictions.len()];
            predictions.push(prediction(sample, label, logits));
        })?;
        if self.ended_by(stop).is_some() {
            return Ok(None);
        }
        let losses: Vec<f64> = predictions.iter().filter_map(|prediction| prediction.loss.map(f64::from)).collect();
        let pairs = predictions.iter().filter_map(|p| Some((p.label?.0 as usize, p.predicted.0 as usize)));
        let evaluation = Evaluation {
            id: EvaluationId(0),
            run,
            checkpoint: kind,
            snapshot: snapshot.id,
            split,
            created: (self.clock)(),
            loss: (!losses.is_empty()).then(|| losses.iter().sum::<f64>() / losses.len() as f64),
            confusion: Confusion::new(classes.len(), pairs),
            classes,
        };
        let stored = evaluation.clone();
        let id = self.store.write(move |tx| tx.put_evaluation(&stored, &predictions))?;
        Ok(Some(Evaluation { id, ..evaluation }))
    }

    /// The evaluations of all runs, newest first.
    pub fn evaluations(&self) -> Result<Vec<Evaluation>> {
        Ok(self.store.read(|reader| reader.evaluations(None))?)
    }

    /// One evaluation.
    pub fn evaluation(&self, evaluation: EvaluationId) -> Result<Evaluation> {
        Ok(self.store.read(|reader| reader.evaluation(evaluation))?)
    }

    /// A page of predictions.
    pub fn predictions(&self, evaluation: EvaluationId, query: &PredictionsQuery) -> Result<PredictionPage> {
        let order = match query.order.as_deref() {
            None | Some("loss") => PredictionOrder::Loss,
            Some("confidence") => PredictionOrder::Confidence,
            Some("sample") => PredictionOrder::Sample,
            Some(other) => {
                return Err(EngineError::Invalid(format!("order is loss, confidence or sample, not {other:?}")));
            }
        };
        let filter = PredictionFilter {
            label: query.label.map(ClassId),
            predicted: query.predicted.map(ClassId),
            wrong: query.wrong,
        };
        let limit = query.limit.unwrap_or(200).min(5_000);
        Ok(self.store.read(|reader| {
            let (predictions, total) = reader.predictions(evaluation, &filter, order, query.offset, limit)?;
            let paths = predictions
                .iter()
                .map(|prediction| Ok(reader.sample(prediction.sample)?.path))
                .collect::<Result<_, assay_store::StoreError>>()?;
            Ok(PredictionPage { predictions, paths, total })
        })?)
    }
}

fn prediction(sample: assay_domain::SampleId, label: Option<u32>, logits: &[f32]) -> Prediction {
    let probabilities = softmax(logits);
    let best = probabilities.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(class, _)| class);
    let loss = label.and_then(|label| probabilities.get(label as usize)).map(|p| -p.max(f32::MIN_POSITIVE).ln());
    Prediction {
        sample,
        label: label.map(|class| ClassId(i64::from(class))),
        predicted: ClassId(best as i64),
        probabilities,
        loss,
    }
}
