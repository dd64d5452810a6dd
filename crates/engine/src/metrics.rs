//! Metrics: directions and raw points.

use crate::{Engine, EngineError, Result};
use assay_domain::{JsonNumber, RunId};
use assay_protocol::{DirectionChange, HistoryPage, HistoryQuery, Metric};

/// Maximum and default page size, in points.
const PAGE: usize = 100_000;
/// Longest key to declare, in characters.
const LONGEST_KEY: usize = 1_000;

impl Engine {
    /// Metrics of runs or with a declaration, by key.
    pub fn metrics(&self) -> Result<Vec<Metric>> {
        let (mut keys, directions) =
            self.store.read(|reader| Ok((reader.run_keys()?.metrics, reader.directions()?)))?;
        keys.extend(directions.all_declared().map(|(key, _)| key.to_owned()));
        keys.sort();
        keys.dedup();
        let metric =
            |key: String| Metric { best: directions.of(&key), is_declared: directions.declared(&key).is_some(), key };
        Ok(keys.into_iter().map(metric).collect())
    }

    /// Declares which extreme of a metric is its best value.
    pub fn declare_direction(&self, change: DirectionChange) -> Result<Metric> {
        let DirectionChange { key, best } = change;
        if key.is_empty() || key.chars().count() > LONGEST_KEY {
            return Err(EngineError::Invalid(format!("name the metric, with at most {LONGEST_KEY} letters")));
        }
        let declared = key.clone();
        self.store.write(move |tx| tx.declare_direction(&declared, best))?;
        let directions = self.store.read(|reader| reader.directions())?;
        Ok(Metric { best: directions.of(&key), is_declared: best.is_some(), key })
    }

    /// A page of all points of a metric of a run.
    pub fn run_history(&self, run: RunId, query: &HistoryQuery) -> Result<HistoryPage> {
        let limit = query.limit.unwrap_or(PAGE).min(PAGE);
        let mut points = self.store.read(|reader| reader.history(run, &query.key, query.offset, limit + 1))?;
        if points.is_empty() {
            self.check_metric(&[run], &query.key)?;
        }
        let mut page = HistoryPage { has_more: points.len() > limit, ..HistoryPage::default() };
        points.truncate(limit);
        for found in points {
            page.step.push(found.point.step);
            page.wall_ms.push(found.point.wall_ms);
            page.value.push(JsonNumber(found.point.value));
            page.segment.push(found.segment);
            page.is_superseded.push(found.is_superseded);
        }
        Ok(page)
    }
}
