//! Evaluations: what a model says of each sample of a split.

use crate::jobs::Done;
use crate::training::classes_of;
use crate::{Engine, EngineError, Result};
use assay_domain::entity::{Evaluation, Job, JobKind, Prediction, Snapshot};
use assay_domain::scores::{McNemar, Scored, Scores, decided};
use assay_domain::{ClassId, Confusion, DatasetId, EvaluationId, Label, RunId, SampleId, SnapshotId, Split, counted};
use assay_learn::{Classifier, Samples};
use assay_protocol::{EvaluateRequest, PredictionPage, PredictionsQuery, SimilarSample};
use assay_store::{Embedding, Neighbour, PredictionFilter, PredictionOrder};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// How many similar samples are shown.
const SIMILAR: usize = 12;

/// An evaluation that was made.
pub(crate) struct Evaluated {
    pub(crate) evaluation: Evaluation,
    /// Why images were left out, one reason each.
    pub(crate) left_out: Vec<String>,
}

impl Engine {
    /// Queues the evaluation of a run's best model on a split of the snapshot that it learned from, or of another dataset.
    pub fn start_evaluation(&self, run: RunId, request: &EvaluateRequest) -> Result<Job> {
        self.best_kind(run)?;
        let dataset = request.dataset.as_deref().map(|name| self.store.read(|reader| reader.find_dataset(name.trim())));
        let dataset = dataset.transpose()?;
        let snapshot = request.snapshot.as_deref().map(|text| self.find_snapshot(run, dataset, text.trim()));
        self.queue(JobKind::Evaluate {
            run,
            split: request.split.unwrap_or(Split::Test),
            dataset,
            snapshot: snapshot.transpose()?,
        })
    }

    /// The snapshot of a dataset (without one, of the run's) of this number or whose hash begins so.
    fn find_snapshot(&self, run: RunId, dataset: Option<DatasetId>, text: &str) -> Result<SnapshotId> {
        let dataset = dataset.or(self.run(run)?.dataset);
        let dataset = dataset.ok_or_else(|| EngineError::NotFound(format!("run {run} has no dataset")))?;
        let all = self.snapshots(dataset)?;
        let found: Vec<&Snapshot> = match all.iter().find(|snapshot| snapshot.id.to_string() == text) {
            Some(snapshot) => vec![snapshot],
            None => all.iter().filter(|snapshot| snapshot.hash.starts_with(&text.to_lowercase())).collect(),
        };
        match found.as_slice() {
            [only] => Ok(only.id),
            [] => Err(EngineError::NotFound(format!(
                "dataset {dataset} has no snapshot {text}: assay snapshots lists them"
            ))),
            many => {
                Err(EngineError::Invalid(format!("{} snapshots begin with {text}: give more of the hash", many.len())))
            }
        }
    }

    pub(crate) fn evaluate(
        &self,
        run: RunId,
        split: Split,
        (dataset, snapshot): (Option<DatasetId>, Option<SnapshotId>),
        stop: &AtomicBool,
    ) -> Result<Done> {
        let snapshot = match (snapshot, dataset) {
            (Some(snapshot), _) => Some(self.store.read(|reader| reader.snapshot(snapshot))?),
            (None, Some(dataset)) => {
                self.mark_missing(dataset)?;
                Some(self.take_snapshot(dataset)?)
            }
            (None, None) => None,
        };
        match self.evaluate_run(run, split, snapshot, stop)? {
            _ if self.ended_by(stop).is_some() => Ok(self.ended_by(stop).unwrap_or(Done::Stopped)),
            Some(Evaluated { evaluation, left_out }) => {
                let accuracy = evaluation.confusion.accuracy().map(|share| {
                    format!("{split} {} {:.2} %", evaluation.confusion.labelling().accuracy_name(), share * 100.0)
                });
                let mut told = accuracy.unwrap_or_else(|| "no labelled samples".into());
                if let [first, ..] = left_out.as_slice() {
                    let images = counted(left_out.len(), "image");
                    told += &format!("; {images} left out, the log of the run lists them ({first})");
                }
                Ok(Done::Finished(told))
            }
            None => Ok(Done::Finished(format!("the snapshot has no {split} samples"))),
        }
    }

    /// Predicts every sample of a split of a snapshot (without one, of the run's) and keeps what was predicted; nothing when
    /// the split is empty.
    pub(crate) fn evaluate_run(
        &self,
        run: RunId,
        split: Split,
        snapshot: Option<Snapshot>,
        stop: &AtomicBool,
    ) -> Result<Option<Evaluated>> {
        let kind = self.best_kind(run)?;
        let (classifier, classes) = self.classifier(run, kind)?;
        let snapshot = match snapshot {
            Some(snapshot) => snapshot,
            None => {
                let own = self.run(run)?.snapshot;
                let own = own.ok_or_else(|| EngineError::NotFound(format!("run {run} has no snapshot")))?;
                self.store.read(|reader| reader.snapshot(own))?
            }
        };
        let (mut ids, samples) = self.snapshot_files(&snapshot)?.of_split(split);
        relabel(&mut ids, &snapshot.classes, &classes)?;
        // Of what a model cannot say it is not judged.
        let fits = |label: &Label| classifier.labelling().allows(label);
        ids.iter_mut().for_each(|(_, label)| *label = label.take().filter(fits));
        if ids.is_empty() {
            return Ok(None);
        }
        let (mut predictions, mut embeddings) = (Vec::with_capacity(ids.len()), Vec::with_capacity(ids.len()));
        let shown: Arc<dyn Samples> = samples.clone();
        classifier.run(&shown, stop, |made| {
            let (sample, label) = &ids[made.sample];
            predictions.push(prediction(&classifier, *sample, label.clone(), made.logits));
            embeddings.push(Embedding::of(made.features));
        })?;
        let lost = samples.take_lost();
        let lines = self.lines_of_lost(&lost);
        if !lines.is_empty() {
            self.store.write(move |tx| tx.append_log(run, &lines))?;
        }
        if self.ended_by(stop).is_some() {
            return Ok(None);
        }
        if let (true, Some(first)) = (predictions.is_empty(), lost.first()) {
            let images = counted(ids.len(), "image");
            return Err(EngineError::Invalid(format!("none of the {images} can be used: {}", first.reason)));
        }
        let losses: Vec<f64> = predictions.iter().filter_map(|prediction| prediction.loss.map(f64::from)).collect();
        let pairs = predictions.iter().filter_map(|p| Some((p.label.as_ref()?, &p.predicted)));
        let confusion = Confusion::of(classifier.labelling(), classes.len(), pairs);
        let evaluation = Evaluation {
            id: EvaluationId(0),
            run,
            checkpoint: kind,
            snapshot: snapshot.id,
            split,
            created: (self.clock)(),
            loss: (!losses.is_empty()).then(|| losses.iter().sum::<f64>() / losses.len() as f64),
            confusion,
            classes,
        };
        let stored = evaluation.clone();
        let id = self.store.write(move |tx| tx.put_evaluation(&stored, &predictions, &embeddings))?;
        let left_out = lost.into_iter().map(|lost| lost.reason).collect();
        Ok(Some(Evaluated { evaluation: Evaluation { id, ..evaluation }, left_out }))
    }

    /// The figures of an evaluation; none without labelled samples.
    pub fn scores(&self, evaluation: EvaluationId) -> Result<Option<Scores>> {
        let (found, predictions) = self.all_predictions(evaluation)?;
        let samples: Vec<Scored<'_>> = predictions
            .iter()
            .filter_map(|p| {
                let loss = p.loss.map(f64::from);
                Some(Scored { label: p.label.as_ref()?, probabilities: &p.probabilities, loss })
            })
            .collect();
        Ok(Scores::new(&found.classes, found.confusion.labelling(), &samples))
    }

    /// Whether one of two models is better on the samples that both predicted.
    pub fn compare_evaluations(&self, first: EvaluationId, second: EvaluationId) -> Result<McNemar> {
        let is_right = |p: &Prediction| Some((p.sample, *p.label.as_ref()? == p.predicted));
        let (_, second) = self.all_predictions(second)?;
        let second: HashMap<SampleId, bool> = second.iter().filter_map(is_right).collect();
        let (_, first) = self.all_predictions(first)?;
        let both = first.iter().filter_map(is_right);
        Ok(McNemar::new(both.filter_map(|(sample, right)| Some((right, *second.get(&sample)?)))))
    }

    /// The samples that resemble one most, as the model of an evaluation sees them, among all that this model predicted: by
    /// the cosine of what its last layer sees.
    pub fn similar(&self, evaluation: EvaluationId, sample: SampleId) -> Result<Vec<SimilarSample>> {
        Ok(self.store.read(|reader| {
            let own = reader.evaluation(evaluation)?;
            let mut of_model = reader.evaluations(Some(own.run))?;
            of_model.retain(|other| other.checkpoint == own.checkpoint && other.snapshot == own.snapshot);
            // Newest first: of each split the one that counts.
            let mut splits = Vec::new();
            of_model.retain(|other| {
                !splits.contains(&other.split) && {
                    splits.push(other.split);
                    true
                }
            });
            let Some(embedding) = reader.embedding(evaluation, sample)? else { return Ok(Vec::new()) };
            let ids: Vec<EvaluationId> = of_model.iter().map(|other| other.id).collect();
            let nearest = reader.nearest(&ids, &embedding, sample, SIMILAR)?;
            let similar = |found: Neighbour| {
                let of = of_model.iter().find(|other| other.id == found.evaluation);
                Ok(SimilarSample {
                    sample: found.sample,
                    path: reader.sample(found.sample)?.path,
                    label: found.label,
                    split: of.map_or(own.split, |other| other.split),
                    similarity: found.similarity,
                })
            };
            nearest.into_iter().map(similar).collect::<Result<_, assay_store::StoreError>>()
        })?)
    }

    fn all_predictions(&self, evaluation: EvaluationId) -> Result<(Evaluation, Vec<Prediction>)> {
        Ok(self.store.read(|reader| {
            let found = reader.evaluation(evaluation)?;
            let all = PredictionFilter::default();
            let (predictions, _) =
                reader.predictions(evaluation, &all, PredictionOrder::Sample, 0, i64::MAX as usize)?;
            Ok((found, predictions))
        })?)
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
            label_without: query.label_without.map(ClassId),
            predicted: query.predicted.map(ClassId),
            predicted_without: query.predicted_without.map(ClassId),
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

/// Labels by the classes of a dataset as labels by those of a model, which may have others and in another order.
fn relabel(labels: &mut [(SampleId, Option<Label>)], of_dataset: &[String], of_model: &[String]) -> Result<()> {
    let place = |name: &String| of_model.iter().position(|own| own == name).map(|place| ClassId(place as i64));
    let places: Vec<Option<ClassId>> = of_dataset.iter().map(place).collect();
    let mut unknown = BTreeSet::new();
    for label in labels.iter_mut().filter_map(|(_, label)| label.as_mut()) {
        let mut known = |class: &ClassId| {
            let found = places.get(class.0 as usize).copied().flatten();
            if found.is_none() {
                unknown.insert(of_dataset.get(class.0 as usize).map_or("?", String::as_str));
            }
            found
        };
        *label = label.classes().iter().filter_map(&mut known).collect();
    }
    match unknown.is_empty() {
        true => Ok(()),
        false => Err(EngineError::Invalid(format!(
            "the model knows no class {}: its classes are {}",
            unknown.into_iter().collect::<Vec<_>>().join(", "),
            of_model.join(", ")
        ))),
    }
}

fn prediction(classifier: &Classifier, sample: SampleId, label: Option<Label>, logits: &[f32]) -> Prediction {
    let probabilities = classifier.probabilities(logits);
    Prediction {
        sample,
        loss: label.as_ref().and_then(|label| classifier.loss(logits, &classes_of(label))).map(|loss| loss as f32),
        label,
        predicted: decided(&probabilities, classifier.labelling()),
        probabilities,
    }
}
