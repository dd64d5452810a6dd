//! The optimizer of a model: one state a parameter, all of it saved.

use crate::config::{self, OptimizerName};
use crate::parameters::{Parameters, deserialize, serialize};
use crate::tape::Gradients;
use crate::{Device, LearnError, Result};
use assay_kernels::{AdamW, Part, Sgd};
use candle_core::Tensor;
use std::collections::BTreeMap;

pub(crate) struct Optimizer {
    config: config::Optimizer,
    states: BTreeMap<String, Tensor>,
}

impl Optimizer {
    pub(crate) fn new(config: &config::Optimizer, parameters: &Parameters) -> Result<Optimizer> {
        let mut states = BTreeMap::new();
        for (name, var) in parameters.iter() {
            let state = match config.name {
                OptimizerName::Adamw => AdamW::state(var)?,
                OptimizerName::Sgd => Sgd::state(var)?,
            };
            states.insert(name.clone(), state);
        }
        Ok(Optimizer { config: config.clone(), states })
    }

    /// One step on every parameter that has a gradient; `step` counts from 1.
    pub(crate) fn step(&mut self, parameters: &Parameters, grads: &Gradients, factor: f64, step: u64) -> Result<()> {
        let config = &self.config;
        let learning_rate = config.lr * factor;
        // Both are in the order of the names, and each state belongs to a parameter.
        let states = self.states.iter_mut();
        let parts = parameters.iter().zip(states).filter_map(|((_, parameter), (_, state))| {
            // Norms and biases are vectors; only what multiplies (matrices, kernels) decays.
            let weight_decay = if parameter.rank() > 1 { config.weight_decay } else { 0.0 };
            Some(Part { parameter, gradient: grads.get(parameter)?, state, weight_decay })
        });
        let mut parts: Vec<Part<'_>> = parts.collect();
        let weight_decay = config.weight_decay;
        match config.name {
            OptimizerName::Adamw => {
                let (beta1, beta2) = (config.beta1, config.beta2);
                AdamW { learning_rate, beta1, beta2, epsilon: 1e-8, weight_decay }.step_all(&mut parts, step)?;
            }
            OptimizerName::Sgd => {
                let (momentum, nesterov) = (config.momentum, config.nesterov);
                Sgd { learning_rate, momentum, nesterov, weight_decay }.step_all(&mut parts, step)?;
            }
        }
        Ok(())
    }

    pub(crate) fn save(&self) -> Result<Vec<u8>> {
        serialize(self.states.iter().map(|(name, state)| (name.clone(), state.clone())))
    }

    pub(crate) fn load(&mut self, file: &[u8], device: &Device) -> Result<()> {
        let mut loaded = deserialize(file, device)?;
        for (name, state) in &mut self.states {
            match loaded.remove(name) {
                Some(found) if found.shape() == state.shape() => *state = found,
                _ => {
                    return Err(LearnError::Checkpoint(format!(
                        "the optimizer state of {name:?} is missing or reshaped"
                    )));
                }
            }
        }
        Ok(())
    }
}
