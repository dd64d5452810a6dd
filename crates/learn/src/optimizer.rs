//! The optimizer of a model: one state a parameter, all of it saved.

use crate::config::{self, OptimizerName};
use crate::parameters::Parameters;
use crate::tape::Gradients;
use crate::{LearnError, Result};
use assay_kernels::{AdamW, Numbers, Part, Sgd};
use candle_core::Tensor;
use std::collections::{BTreeMap, HashMap};

pub(crate) struct Optimizer {
    config: config::Optimizer,
    states: BTreeMap<String, Tensor>,
    /// The learning rate of each parameter, as a share of the head's.
    rates: BTreeMap<String, f64>,
    learning_rate: f64,
    step: u64,
    numbers: Numbers,
}

/// The rule of a step.
enum Rule {
    AdamW(AdamW),
    Sgd(Sgd),
}

impl Optimizer {
    pub(crate) fn new(config: &config::Optimizer, parameters: &Parameters) -> Result<Optimizer> {
        let (mut states, mut rates) = (BTreeMap::new(), BTreeMap::new());
        let head = parameters.in_groups().map(|(_, _, group)| group).max().unwrap_or_default();
        for (name, var, group) in parameters.in_groups() {
            rates.insert(name.clone(), config.layer_decay.powi((head - group) as i32));
            let state = match config.name {
                OptimizerName::Adamw => AdamW::state(var)?,
                OptimizerName::Sgd => Sgd::state(var)?,
            };
            states.insert(name.clone(), state);
        }
        let numbers = Numbers::new(parameters.device())?;
        Ok(Optimizer { config: config.clone(), states, rates, learning_rate: config.lr, step: 0, numbers })
    }

    /// Says which step comes next: `step` counts from 1, `factor` is that of the schedule.
    pub(crate) fn announce(&mut self, factor: f64, step: u64) -> Result<()> {
        self.learning_rate = self.config.lr * factor;
        self.step = step;
        match self.rule() {
            Rule::AdamW(rule) => rule.announce(step, &self.numbers)?,
            Rule::Sgd(rule) => rule.announce(step, &self.numbers)?,
        }
        Ok(())
    }

    fn rule(&self) -> Rule {
        let config::Optimizer { weight_decay, momentum, nesterov, beta1, beta2, .. } = self.config;
        let learning_rate = self.learning_rate;
        match self.config.name {
            OptimizerName::Adamw => Rule::AdamW(AdamW { learning_rate, beta1, beta2, epsilon: 1e-8, weight_decay }),
            OptimizerName::Sgd => Rule::Sgd(Sgd { learning_rate, momentum, nesterov, weight_decay }),
        }
    }

    /// The announced step on every parameter that has a gradient.
    pub(crate) fn apply(&mut self, parameters: &Parameters, grads: &Gradients) -> Result<()> {
        let rule = self.rule();
        // Both are in the order of the names, and each state belongs to a parameter.
        let states = self.states.iter_mut();
        let parts = parameters.iter().zip(states).filter_map(|((name, parameter), (_, state))| {
            // Norms and biases are vectors; only what multiplies (matrices, kernels) decays.
            let weight_decay = if parameter.rank() > 1 { self.config.weight_decay } else { 0.0 };
            let rate = self.rates.get(name).copied().unwrap_or(1.0);
            Some(Part { parameter, gradient: grads.get(parameter)?, state, weight_decay, rate })
        });
        let mut parts: Vec<Part<'_>> = parts.collect();
        match rule {
            Rule::AdamW(rule) => rule.step_all(&mut parts, self.step, &self.numbers)?,
            Rule::Sgd(rule) => rule.step_all(&mut parts, self.step, &self.numbers)?,
        }
        Ok(())
    }

    /// All of its state by name.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = (String, Tensor)> {
        self.states.iter().map(|(name, state)| (name.clone(), state.clone()))
    }

    /// Takes its state out of named tensors.
    pub(crate) fn take_from(&mut self, tensors: &mut HashMap<String, Tensor>) -> Result<()> {
        for (name, state) in &mut self.states {
            match tensors.remove(name) {
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
