//! Looking for a learning rate.

use super::{Outcome, Sink, Training};
use crate::part::Part;
use crate::search::Search;
use crate::{LearnError, Result};
use std::sync::atomic::{AtomicBool, Ordering};

impl Training<'_> {
    /// Looks for a learning rate: it rises until the loss explodes (Smith 2017, section 3.3).
    pub(super) fn find(&mut self, sink: &mut dyn Sink, stop: &AtomicBool) -> Result<Outcome> {
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
}
