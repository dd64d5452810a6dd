//! Optimizer steps of a GPU, recorded once and replayed: a step is hundreds of small pieces of work, and handing each to
//! the device takes longer than many of them do.

use crate::loader::{Batch, Target};
use crate::model::Model;
use crate::{Device, Result, config};
use assay_kernels::{Recording, record, rehearse};
use candle_core::{DType, Tensor, Var};

/// Steps before the one that is recorded, in which all that is kept between steps comes to be.
const REHEARSALS: usize = 2;

/// What a step computes from a batch: the mean loss and the count of right answers.
pub(crate) type Found = (Tensor, Tensor);

/// How steps are taken on one device.
#[derive(Default)]
pub(crate) struct Replay {
    /// What a step draws at random would be the same in each replay.
    never: bool,
    rehearsed: usize,
    recorded: Option<Recorded>,
    /// Why steps are not recorded though they might be.
    refused: Option<String>,
}

/// A recorded step with the tensors that it reads and writes.
struct Recorded {
    batch: Batch,
    input: Var,
    loss: Var,
    right: Var,
    recording: Recording,
}

impl Replay {
    /// For the steps of a model; what draws random numbers, or does not do the same each time, is not recorded.
    pub(crate) fn of(model: &Model, steps: &config::Train) -> Replay {
        let never = model.is_random() || steps.accumulate_batches > 1 || steps.clip_norm > 0.0;
        Replay { never, ..Replay::default() }
    }

    /// For steps that are taken piece by piece.
    pub(crate) fn never() -> Replay {
        Replay { never: true, ..Replay::default() }
    }

    /// Takes a step on a batch: `compute` does its work, unless it is replayed.
    pub(crate) fn step(&mut self, batch: &Batch, compute: impl FnMut(&Batch) -> Result<Found>) -> Result<Found> {
        let mut compute = compute;
        if let Some(recorded) = self.recorded.as_ref().filter(|recorded| recorded.fits(batch)) {
            return recorded.replay(batch);
        }
        let device = batch.input.device();
        if !self.never && self.rehearsed == REHEARSALS && self.recorded.is_none() && self.refused.is_none() {
            match Recorded::new(batch, &mut compute) {
                Ok(Some(recorded)) => return self.recorded.insert(recorded).replay(batch),
                Ok(None) => {}
                Err(why) => self.refused = Some(why.to_string()),
            }
        }
        self.rehearsed += 1;
        rehearse(device, || compute(batch))
    }

    /// Why steps are not recorded, once.
    pub(crate) fn take_refusal(&mut self) -> Option<String> {
        // What stays says that it was refused.
        self.refused.as_mut().map(std::mem::take).filter(|why| !why.is_empty())
    }
}

impl Recorded {
    /// Records the step on batches like this one; none on a device that records nothing.
    fn new(batch: &Batch, compute: &mut impl FnMut(&Batch) -> Result<Found>) -> Result<Option<Recorded>> {
        let device: &Device = batch.input.device();
        if !device.is_cuda() {
            return Ok(None);
        }
        let scalar = || Var::zeros((), DType::F32, device);
        let (loss, right) = (scalar()?, scalar()?);
        let input = Var::from_tensor(&batch.input)?;
        let copy = |target: &Target| Ok(Target { labels: target.labels.copy()?, weights: target.weights.copy()? });
        let targets = batch.targets.iter().map(copy).collect::<Result<_>>()?;
        let own = Batch {
            input: input.as_tensor().detach(),
            of: batch.of,
            targets,
            labels: batch.labels.clone(),
            samples: batch.samples.clone(),
        };
        let recording = record(device, || {
            let found = compute(&own).map_err(candle_core::Error::wrap)?;
            loss.set(&found.0)?;
            right.set(&found.1)
        })?;
        Ok(recording.map(|recording| Recorded { batch: own, input, loss, right, recording }))
    }

    fn fits(&self, batch: &Batch) -> bool {
        let own = &self.batch;
        let shapes = own.input.dims() == batch.input.dims() && own.targets.len() == batch.targets.len();
        shapes && own.of == batch.of
    }

    fn replay(&self, batch: &Batch) -> Result<Found> {
        self.input.set(&batch.input)?;
        for (own, target) in self.batch.targets.iter().zip(&batch.targets) {
            own.labels.slice_set(&target.labels, 0, 0)?;
            own.weights.slice_set(&target.weights, 0, 0)?;
        }
        self.recording.replay()?;
        Ok((self.loss.as_tensor().copy()?, self.right.as_tensor().copy()?))
    }
}
