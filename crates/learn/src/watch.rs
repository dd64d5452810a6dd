//! What is seen of the operations of a step one by one: how long each takes, or which is the first whose numbers are none.

use crate::{Device, Result};
use candle_core::{DType, Tensor};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// An operation of a layer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Operation {
    /// The layer's name, as its parameters have it.
    pub(crate) layer: String,
    /// Its work.
    pub(crate) kind: &'static str,
}

/// Which way an operation goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the images to the loss.
    Forward,
    /// From the loss to the gradients.
    Backward,
    /// From the gradients to the new parameters.
    Update,
}

/// The time of one operation.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) operation: Rc<Operation>,
    pub(crate) way: Way,
    pub(crate) begun: Instant,
    pub(crate) took: Duration,
    /// Of the output, which the backward pass may need.
    pub(crate) bytes: u64,
}

/// What a watch looks for.
enum Sought {
    /// Times; the device is waited for after each operation.
    Times { device: Device, spans: Vec<Span> },
    /// The first operation with a value that is no finite number.
    Infinite(Option<String>),
}

/// Watches the operations of one step.
pub(crate) struct Watch {
    sought: Sought,
    current: Option<(Rc<Operation>, Instant)>,
}

impl Watch {
    /// Takes the time of each operation.
    pub(crate) fn times(device: &Device) -> Watch {
        let sought = Sought::Times { device: device.clone(), spans: Vec::new() };
        Watch { sought, current: None }
    }

    /// Looks for the first value that is no finite number.
    pub(crate) fn infinite() -> Watch {
        Watch { sought: Sought::Infinite(None), current: None }
    }

    /// An operation begins.
    pub(crate) fn enter(&mut self, operation: Rc<Operation>) {
        self.current = Some((operation, Instant::now()));
    }

    /// The operation that began last has given this.
    pub(crate) fn leave(&mut self, output: &Tensor) -> Result<Option<Rc<Operation>>> {
        let Some((operation, entered)) = self.current.take() else { return Ok(None) };
        self.note(&operation, Way::Forward, entered, output)?;
        Ok(Some(operation))
    }

    /// Takes an operation back with the gradient of its output.
    pub(crate) fn back(
        &mut self,
        operation: &Rc<Operation>,
        grad: &Tensor,
        work: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let entered = Instant::now();
        if matches!(self.sought, Sought::Infinite(_)) {
            self.note(operation, Way::Backward, entered, grad)?;
        }
        work()?;
        match self.sought {
            Sought::Times { .. } => self.note(operation, Way::Backward, entered, grad),
            Sought::Infinite(_) => Ok(()),
        }
    }

    /// The parameters were updated since.
    pub(crate) fn note_update(&mut self, begun: Instant) -> Result<()> {
        if let Sought::Times { device, spans } = &mut self.sought {
            device.synchronize()?;
            let operation = Rc::new(Operation { layer: String::new(), kind: "update" });
            spans.push(Span { operation, way: Way::Update, begun, took: begun.elapsed(), bytes: 0 });
        }
        Ok(())
    }

    fn note(&mut self, operation: &Rc<Operation>, way: Way, entered: Instant, value: &Tensor) -> Result<()> {
        match &mut self.sought {
            Sought::Times { device, spans } => {
                device.synchronize()?;
                spans.push(Span {
                    operation: operation.clone(),
                    way,
                    begun: entered,
                    took: entered.elapsed(),
                    bytes: (value.elem_count() * value.dtype().size_in_bytes()) as u64,
                });
            }
            Sought::Infinite(Some(_)) => {}
            Sought::Infinite(first) => {
                if !is_finite(value)? {
                    let Operation { layer, kind } = operation.as_ref();
                    *first = Some(match way {
                        Way::Forward => format!("the {kind} of layer {layer:?}"),
                        Way::Backward | Way::Update => {
                            format!("the gradient that reaches the {kind} of layer {layer:?}")
                        }
                    });
                }
            }
        }
        Ok(())
    }

    /// The times, in the order in which the operations ended.
    pub(crate) fn into_spans(self) -> Vec<Span> {
        match self.sought {
            Sought::Times { spans, .. } => spans,
            Sought::Infinite(_) => Vec::new(),
        }
    }

    /// The first operation with a value that is no finite number.
    pub(crate) fn into_first(self) -> Option<String> {
        match self.sought {
            Sought::Times { .. } => None,
            Sought::Infinite(first) => first,
        }
    }
}

/// Whether all values are finite numbers.
pub(crate) fn is_finite(tensor: &Tensor) -> Result<bool> {
    // What is not finite stays so when it is multiplied by zero.
    let sum = (tensor.to_dtype(DType::F32)? * 0.0)?.sum_all()?.to_scalar::<f32>()?;
    Ok(sum == 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_finite_numbers_are_finite() {
        let is = |values: [f32; 3]| is_finite(&Tensor::new(&values, &Device::Cpu).unwrap()).unwrap();
        assert!(is([0.0, -3.0, f32::MAX]));
        assert!(!is([0.0, f32::NAN, 1.0]));
        assert!(!is([f32::NEG_INFINITY, 1.0, f32::INFINITY]));
    }
}
