//! The order of the backward pass. Each operation of a forward pass in training leaves behind what it needs for its
//! gradients; the backward pass takes these in reverse, and what was needed is freed on the way.

use crate::Result;
use assay_kernels::add;
use candle_core::{Tensor, TensorId, Var};
use std::collections::HashMap;

/// A place on the tape; none where no gradient is wanted.
#[derive(Clone, Copy)]
pub(crate) struct Place(Option<usize>);

impl Place {
    /// Whether a gradient is wanted here.
    pub(crate) fn is_wanted(self) -> bool {
        self.0.is_some()
    }
}

/// A value of a forward pass.
#[derive(Clone)]
pub(crate) struct Value {
    pub(crate) tensor: Tensor,
    pub(crate) place: Place,
}

impl Value {
    /// What comes from outside: no gradient is wanted.
    pub(crate) fn input(tensor: Tensor) -> Value {
        Value { tensor, place: Place(None) }
    }
}

/// How the gradient of an operation's output reaches its inputs and parameters.
type Back = Box<dyn FnOnce(Tensor, &mut Gradients) -> Result<()>>;

/// The operations of one forward pass.
pub(crate) struct Tape {
    /// By the place of the output; none where nothing is recorded.
    steps: Option<Vec<Back>>,
}

impl Tape {
    /// For a forward pass whose gradients are wanted.
    pub(crate) fn recording() -> Tape {
        Tape { steps: Some(Vec::new()) }
    }

    /// For a forward pass alone.
    pub(crate) fn silent() -> Tape {
        Tape { steps: None }
    }

    /// The output of an operation with the way back from it.
    pub(crate) fn push(
        &mut self,
        output: Tensor,
        back: impl FnOnce(Tensor, &mut Gradients) -> Result<()> + 'static,
    ) -> Value {
        let number = self.steps.as_mut().map(|steps| {
            steps.push(Box::new(back));
            steps.len() - 1
        });
        Value { tensor: output, place: Place(number) }
    }

    /// The gradients of all parameters for the gradient `grad` of the value at a place.
    pub(crate) fn backward(self, place: Place, grad: Tensor) -> Result<Gradients> {
        let mut gradients = Gradients::default();
        gradients.add(place, grad)?;
        for (number, back) in self.steps.unwrap_or_default().into_iter().enumerate().rev() {
            if let Some(grad) = gradients.values.remove(&number) {
                back(grad, &mut gradients)?;
            }
        }
        Ok(gradients)
    }
}

/// Gradients on their way.
#[derive(Default)]
pub(crate) struct Gradients {
    values: HashMap<usize, Tensor>,
    parameters: HashMap<TensorId, Tensor>,
}

impl Gradients {
    /// Adds to the gradient of the value at a place.
    pub(crate) fn add(&mut self, place: Place, grad: Tensor) -> Result<()> {
        if let Some(number) = place.0 {
            let sum = match self.values.remove(&number) {
                Some(before) => add(&before, &grad)?,
                None => grad,
            };
            self.values.insert(number, sum);
        }
        Ok(())
    }

    /// Adds to the gradient of a parameter.
    pub(crate) fn add_to(&mut self, parameter: &Var, grad: Tensor) -> Result<()> {
        let sum = match self.parameters.remove(&parameter.id()) {
            Some(before) => add(&before, &grad)?,
            None => grad,
        };
        self.parameters.insert(parameter.id(), sum);
        Ok(())
    }

    /// The gradient of a parameter, if it had a part in the result.
    pub(crate) fn get(&self, parameter: &Var) -> Option<&Tensor> {
        self.parameters.get(&parameter.id())
    }
}
