//! The order of the backward pass. Each operation of a forward pass in training leaves behind what it needs for its
//! gradients; the backward pass takes these in reverse, and what was needed is freed on the way.

use crate::Result;
use crate::watch::{Operation, Watch};
use assay_kernels::{add, clip_norm};
use candle_core::{Tensor, TensorId, Var};
use std::collections::HashMap;
use std::rc::Rc;

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
#[derive(Default)]
pub(crate) struct Tape {
    /// By the place of the output; none where nothing is recorded.
    steps: Option<Vec<Step>>,
    watch: Option<Watch>,
}

struct Step {
    back: Back,
    /// Known where it is watched.
    operation: Option<Rc<Operation>>,
}

impl Tape {
    /// For a forward pass whose gradients are wanted.
    pub(crate) fn recording() -> Tape {
        Tape { steps: Some(Vec::new()), watch: None }
    }

    /// For a forward pass alone.
    pub(crate) fn silent() -> Tape {
        Tape::default()
    }

    /// The same, watched.
    pub(crate) fn watched(self, watch: Option<Watch>) -> Tape {
        Tape { watch, ..self }
    }

    /// What has watched it.
    pub(crate) fn take_watch(&mut self) -> Option<Watch> {
        self.watch.take()
    }

    /// Says that an operation of a layer begins, for those who watch; [`Tape::push`] ends it.
    pub(crate) fn enter(&mut self, layer: &str, kind: &'static str) {
        if let Some(watch) = &mut self.watch {
            watch.enter(Rc::new(Operation { layer: layer.to_owned(), kind }));
        }
    }

    /// The output of an operation with the way back from it.
    pub(crate) fn push(
        &mut self,
        output: Tensor,
        back: impl FnOnce(Tensor, &mut Gradients) -> Result<()> + 'static,
    ) -> Result<Value> {
        let operation = match &mut self.watch {
            Some(watch) => watch.leave(&output)?,
            None => None,
        };
        let number = self.steps.as_mut().map(|steps| {
            steps.push(Step { back: Box::new(back), operation });
            steps.len() - 1
        });
        Ok(Value { tensor: output, place: Place(number) })
    }

    /// A part of the forward pass whose gradients are not wanted.
    pub(crate) fn without_gradients(&mut self, part: impl FnOnce(&mut Tape) -> Result<Value>) -> Result<Value> {
        let steps = self.steps.take();
        let value = part(self);
        self.steps = steps;
        value
    }

    /// The gradients of all parameters for the gradient `grad` of the value at a place.
    pub(crate) fn backward(&mut self, place: Place, grad: Tensor) -> Result<Gradients> {
        let mut gradients = Gradients::default();
        gradients.add(place, grad)?;
        for (number, step) in self.steps.take().unwrap_or_default().into_iter().enumerate().rev() {
            let Some(grad) = gradients.values.remove(&number) else { continue };
            match (&mut self.watch, &step.operation) {
                (Some(watch), Some(operation)) => {
                    let seen = grad.clone();
                    watch.back(operation, &seen, || (step.back)(grad, &mut gradients))?;
                }
                _ => (step.back)(grad, &mut gradients)?,
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

    /// Adds other gradients of the same parameters.
    pub(crate) fn gather(&mut self, others: Gradients) -> Result<()> {
        for (parameter, grad) in others.parameters {
            let sum = match self.parameters.remove(&parameter) {
                Some(before) => add(&before, &grad)?,
                None => grad,
            };
            self.parameters.insert(parameter, sum);
        }
        Ok(())
    }

    /// Scales the gradients of these parameters together to a norm of at most `greatest`; the norm before.
    pub(crate) fn clip<'a>(&mut self, parameters: impl Iterator<Item = &'a Var>, greatest: f64) -> Result<Tensor> {
        let order: HashMap<TensorId, usize> = parameters.enumerate().map(|(place, var)| (var.id(), place)).collect();
        let mut gradients: Vec<(usize, &mut Tensor)> =
            self.parameters.iter_mut().filter_map(|(id, grad)| Some((*order.get(id)?, grad))).collect();
        // In the order of the parameters, so that the sum is the same every time.
        gradients.sort_by_key(|(place, _)| *place);
        let mut gradients: Vec<&mut Tensor> = gradients.into_iter().map(|(_, grad)| grad).collect();
        Ok(clip_norm(&mut gradients, greatest)?)
    }

    /// The gradient of a parameter, if it had a part in the result.
    pub(crate) fn get(&self, parameter: &Var) -> Option<&Tensor> {
        self.parameters.get(&parameter.id())
    }
}
