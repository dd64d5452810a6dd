//! Evaluations and their predictions.

use super::{from_json, to_json};
use crate::table::label::{label_of, written, written_class};
use crate::table::sample::split_of;
use crate::{Reader, Result, StoreError, WriteTx};
use assay_domain::entity::{CheckpointKind, Evaluation, Event, Prediction};
use assay_domain::scores::confidence;
use assay_domain::{ClassId, EvaluationId, Label, RunId, SampleId, SnapshotId, Timestamp};
use half::f16;
use rusqlite::types::Value;
use rusqlite::{OptionalExtension, Row, params, params_from_iter};

pub(crate) const TABLES: &str = "
CREATE TABLE evaluations (
    id INTEGER PRIMARY KEY AUTOINCREMENT, run INTEGER NOT NULL, checkpoint TEXT NOT NULL, snapshot INTEGER NOT NULL,
    split TEXT NOT NULL, created INTEGER NOT NULL, classes TEXT NOT NULL, loss REAL, confusion TEXT NOT NULL
) STRICT;
CREATE INDEX evaluations_by_run ON evaluations (run, id);
CREATE TABLE predictions (
    evaluation INTEGER NOT NULL, sample INTEGER NOT NULL, label INTEGER, predicted INTEGER NOT NULL, loss REAL,
    confidence REAL NOT NULL, probabilities BLOB NOT NULL, PRIMARY KEY (evaluation, sample)
) STRICT, WITHOUT ROWID;
CREATE INDEX predictions_by_loss ON predictions (evaluation, loss);
CREATE INDEX predictions_by_sample ON predictions (sample);
";

/// What a model's last layer sees of a sample, as a direction: half-precision numbers.
pub(crate) const EMBEDDINGS: &str = "ALTER TABLE predictions ADD COLUMN embedding BLOB;";

/// Labels and what is predicted are sets of classes.
pub(crate) const SETS: &str = "
ALTER TABLE predictions ADD COLUMN label_set TEXT;
ALTER TABLE predictions ADD COLUMN predicted_set TEXT NOT NULL DEFAULT ',';
UPDATE predictions SET label_set = ',' || label || ',', predicted_set = ',' || predicted || ',';
ALTER TABLE predictions DROP COLUMN label;
ALTER TABLE predictions DROP COLUMN predicted;
ALTER TABLE predictions RENAME COLUMN label_set TO label;
ALTER TABLE predictions RENAME COLUMN predicted_set TO predicted;
";

/// Embeddings by themselves: in the rows of predictions they stood in the way of every other column.
pub(crate) const EMBEDDINGS_APART: &str = "
CREATE TABLE embeddings (evaluation INTEGER NOT NULL, sample INTEGER NOT NULL, embedding BLOB NOT NULL,
    PRIMARY KEY (evaluation, sample)) STRICT, WITHOUT ROWID;
INSERT INTO embeddings SELECT evaluation, sample, embedding FROM predictions WHERE embedding IS NOT NULL;
ALTER TABLE predictions DROP COLUMN embedding;
";

/// What a model's last layer sees of a sample, as a direction: half-precision numbers of length 1 together.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding(Vec<u8>);

impl Embedding {
    /// The direction of some features: only that says what resembles what.
    pub fn of(features: &[f32]) -> Embedding {
        let length = features.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt().max(1e-12) as f32;
        Embedding(features.iter().flat_map(|value| f16::from_f32(value / length).to_le_bytes()).collect())
    }
}

/// A sample that resembles another.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbour {
    /// The evaluation that saw it.
    pub evaluation: EvaluationId,
    /// The sample.
    pub sample: SampleId,
    /// Its label then, by the classes of the model.
    pub label: Option<Label>,
    /// The cosine of both embeddings.
    pub similarity: f32,
}

/// Which predictions of an evaluation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PredictionFilter {
    /// Only samples labelled so, among others.
    pub label: Option<ClassId>,
    /// Only samples that are labelled, and not so.
    pub label_without: Option<ClassId>,
    /// Only samples predicted so, among others.
    pub predicted: Option<ClassId>,
    /// Only samples not predicted so.
    pub predicted_without: Option<ClassId>,
    /// Only those whose prediction differs from their label.
    pub wrong: bool,
}

/// In which order.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum PredictionOrder {
    /// The greatest loss first.
    #[default]
    Loss,
    /// The least certain first.
    Confidence,
    /// Browsing order.
    Sample,
}

impl WriteTx<'_> {
    /// Stores an evaluation (its id is ignored) with its predictions, and an embedding for each.
    pub fn put_evaluation(
        &mut self,
        evaluation: &Evaluation,
        predictions: &[Prediction],
        embeddings: &[Embedding],
    ) -> Result<EvaluationId> {
        self.db.execute(
            "INSERT INTO evaluations (run, checkpoint, snapshot, split, created, classes, loss, confusion)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                evaluation.run.0,
                evaluation.checkpoint.as_str(),
                evaluation.snapshot.0,
                evaluation.split.as_str(),
                self.now.0,
                to_json("classes", &evaluation.classes)?,
                evaluation.loss,
                to_json("confusion matrix", &evaluation.confusion)?
            ],
        )?;
        let id = EvaluationId(self.db.last_insert_rowid());
        let mut insert = self.db.prepare_cached(
            "INSERT INTO predictions (evaluation, sample, label, predicted, loss, confidence, probabilities)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?;
        for prediction in predictions {
            let confidence = confidence(&prediction.probabilities, evaluation.confusion.labelling());
            let probabilities: Vec<u8> = prediction.probabilities.iter().flat_map(|p| p.to_le_bytes()).collect();
            insert.execute(params![
                id.0,
                prediction.sample.0,
                prediction.label.as_ref().map(written),
                written(&prediction.predicted),
                prediction.loss,
                confidence,
                probabilities
            ])?;
        }
        let mut insert =
            self.db.prepare_cached("INSERT INTO embeddings (evaluation, sample, embedding) VALUES (?1, ?2, ?3)")?;
        for (prediction, embedding) in predictions.iter().zip(embeddings) {
            insert.execute(params![id.0, prediction.sample.0, embedding.0])?;
        }
        drop(insert);
        self.emit(&Event::EvaluationMade { run: evaluation.run, evaluation: id })?;
        Ok(id)
    }
}

const COLUMNS: &str = "id, run, checkpoint, snapshot, split, created, classes, loss, confusion FROM evaluations";

fn evaluation_of(row: &Row<'_>) -> rusqlite::Result<Evaluation> {
    Ok(Evaluation {
        id: EvaluationId(row.get(0)?),
        run: RunId(row.get(1)?),
        checkpoint: match row.get::<_, String>(2)?.as_str() {
            "best" => CheckpointKind::Best,
            _ => CheckpointKind::Last,
        },
        snapshot: SnapshotId(row.get(3)?),
        split: split_of(row, 4)?,
        created: Timestamp(row.get(5)?),
        classes: from_json(row, 6)?,
        loss: row.get(7)?,
        confusion: from_json(row, 8)?,
    })
}

fn prediction_of(row: &Row<'_>) -> rusqlite::Result<Prediction> {
    let bytes: Vec<u8> = row.get(4)?;
    let probabilities = bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]));
    Ok(Prediction {
        sample: SampleId(row.get(0)?),
        label: label_of(row, 1)?,
        predicted: label_of(row, 2)?.unwrap_or_default(),
        loss: row.get(3)?,
        probabilities: probabilities.collect(),
    })
}

fn values_of(bytes: &[u8]) -> impl Iterator<Item = f32> + '_ {
    bytes.as_chunks::<2>().0.iter().map(|two| f16::from_le_bytes(*two).to_f32())
}

impl Reader<'_> {
    /// The evaluations of a run (of all runs without one), newest first.
    pub fn evaluations(&self, run: Option<RunId>) -> Result<Vec<Evaluation>> {
        let sql = format!("SELECT {COLUMNS} WHERE ?1 IS NULL OR run = ?1 ORDER BY id DESC LIMIT 1000");
        let mut statement = self.db.prepare_cached(&sql)?;
        let rows = statement.query_map([run.map(|id| id.0)], evaluation_of)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// One evaluation.
    pub fn evaluation(&self, evaluation: EvaluationId) -> Result<Evaluation> {
        let sql = format!("SELECT {COLUMNS} WHERE id = ?1");
        let found = self.db.prepare_cached(&sql)?.query_row([evaluation.0], evaluation_of).optional()?;
        found.ok_or_else(|| StoreError::missing("evaluation", evaluation))
    }

    /// What the model of an evaluation saw of a sample; none where that was not kept.
    pub fn embedding(&self, evaluation: EvaluationId, sample: SampleId) -> Result<Option<Vec<f32>>> {
        let found: Option<Vec<u8>> = self
            .db
            .prepare_cached("SELECT embedding FROM embeddings WHERE evaluation = ?1 AND sample = ?2")?
            .query_row([evaluation.0, sample.0], |row| row.get(0))
            .optional()?;
        Ok(found.map(|bytes| values_of(&bytes).collect()))
    }

    /// The samples of some evaluations whose embeddings have the greatest products with one, the greatest first; none of them
    /// is `except`.
    pub fn nearest(
        &self,
        evaluations: &[EvaluationId],
        to: &[f32],
        except: SampleId,
        count: usize,
    ) -> Result<Vec<Neighbour>> {
        let mut nearest: Vec<(EvaluationId, SampleId, f32)> = Vec::new();
        for evaluation in evaluations {
            let mut statement = self
                .db
                .prepare_cached("SELECT sample, embedding FROM embeddings WHERE evaluation = ?1 AND sample <> ?2")?;
            let mut rows = statement.query([evaluation.0, except.0])?;
            while let Some(row) = rows.next()? {
                let bytes = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
                let product: f32 = values_of(bytes).zip(to).map(|(a, b)| a * b).sum();
                let place = nearest.partition_point(|(_, _, other)| *other >= product);
                if place < count {
                    nearest.insert(place, (*evaluation, SampleId(row.get(0)?), product));
                    nearest.truncate(count);
                }
            }
        }
        let mut label =
            self.db.prepare_cached("SELECT label FROM predictions WHERE evaluation = ?1 AND sample = ?2")?;
        let neighbour = |(evaluation, sample, similarity): (EvaluationId, SampleId, f32)| {
            let label = label.query_row([evaluation.0, sample.0], |row| label_of(row, 0))?;
            Ok(Neighbour { evaluation, sample, label, similarity })
        };
        nearest.into_iter().map(neighbour).collect()
    }

    /// A page of predictions, and how many match in all.
    pub fn predictions(
        &self,
        evaluation: EvaluationId,
        filter: &PredictionFilter,
        order: PredictionOrder,
        offset: usize,
        limit: usize,
    ) -> Result<(Vec<Prediction>, u64)> {
        let mut condition = String::from("evaluation = ?");
        let mut values: Vec<Value> = vec![evaluation.0.into()];
        for (test, class) in [
            ("instr(label, ?) > 0", filter.label),
            ("instr(label, ?) = 0", filter.label_without),
            ("instr(predicted, ?) > 0", filter.predicted),
            ("instr(predicted, ?) = 0", filter.predicted_without),
        ] {
            if let Some(class) = class {
                condition.push_str(&format!(" AND {test}"));
                values.push(written_class(class).into());
            }
        }
        if filter.wrong {
            condition.push_str(" AND label IS NOT NULL AND label <> predicted");
        }
        let total: i64 = self
            .db
            .prepare_cached(&format!("SELECT count(*) FROM predictions WHERE {condition}"))?
            .query_row(params_from_iter(&values), |row| row.get(0))?;
        let order = match order {
            PredictionOrder::Loss => "loss DESC, sample",
            PredictionOrder::Confidence => "confidence, sample",
            PredictionOrder::Sample => "sample",
        };
        values.extend([(limit as i64).into(), (offset as i64).into()]);
        let mut statement = self.db.prepare_cached(&format!(
            "SELECT sample, label, predicted, loss, probabilities FROM predictions
             WHERE {condition} ORDER BY {order} LIMIT ? OFFSET ?"
        ))?;
        let rows = statement.query_map(params_from_iter(&values), prediction_of)?;
        Ok((rows.collect::<rusqlite::Result<_>>()?, total as u64))
    }
}
