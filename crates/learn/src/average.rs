//! The moving mean of a model's weights.

use crate::parameters::Parameters;
use crate::{LearnError, Result};
use assay_kernels::follow;
use candle_core::{Tensor, Var};
use std::collections::{BTreeMap, HashMap};

/// What the names of means begin with, beside the states of an optimizer.
const PREFIX: &str = "mean of ";

/// The moving mean of all tensors of a model, also of its running statistics (Polyak and Juditsky 1992, with an exponential
/// decay).
pub(crate) struct Average {
    keep: f64,
    means: BTreeMap<String, Var>,
}

impl Average {
    /// Begins with the tensors as they are.
    pub(crate) fn new(keep: f64, parameters: &Parameters) -> Result<Average> {
        let copy = |(name, var): (&String, &Var)| Ok((name.clone(), Var::from_tensor(&var.as_tensor().copy()?)?));
        Ok(Average { keep, means: parameters.all().map(copy).collect::<Result<_>>()? })
    }

    /// Moves it after `step` optimizer steps; it keeps less of itself at first, when it is of few steps.
    pub(crate) fn follow(&self, parameters: &Parameters, step: u64) -> Result<()> {
        let keep = self.keep.min((1.0 + step as f64) / (10.0 + step as f64));
        self.means
            .values()
            .zip(parameters.all())
            .try_for_each(|(mean, (_, var))| follow(mean, var.as_tensor(), keep))?;
        Ok(())
    }

    /// Exchanges the tensors of the model and their mean; once more to have them back.
    pub(crate) fn exchange(&self, parameters: &Parameters) -> Result<()> {
        for (mean, (_, var)) in self.means.values().zip(parameters.all()) {
            let own = var.as_tensor().copy()?;
            var.set(mean.as_tensor())?;
            mean.set(&own)?;
        }
        Ok(())
    }

    /// All of it by name.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = (String, Tensor)> {
        self.means.iter().map(|(name, mean)| (format!("{PREFIX}{name}"), mean.as_tensor().clone()))
    }

    /// Takes all of it out of named tensors.
    pub(crate) fn take_from(&self, tensors: &mut HashMap<String, Tensor>) -> Result<()> {
        for (name, mean) in &self.means {
            match tensors.remove(&format!("{PREFIX}{name}")) {
                Some(values) if values.shape() == mean.shape() => mean.set(&values)?,
                _ => return Err(LearnError::Checkpoint(format!("the mean of {name:?} is missing or reshaped"))),
            }
        }
        Ok(())
    }
}
