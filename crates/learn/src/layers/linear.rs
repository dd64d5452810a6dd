//! Linear layers.

use super::wanted;
use crate::Result;
use crate::parameters::{Begin, Parameters};
use crate::tape::{Tape, Value};
use assay_kernels::{Activation, add_bias, add_bias_gradients, linear, linear_gradients};
use candle_core::Var;

/// A bias for each channel, then an activation.
pub(crate) struct Bias(pub(super) Var);

impl Bias {
    pub(crate) fn forward(&self, tape: &mut Tape, input: &Value, activation: Activation) -> Result<Value> {
        let output = add_bias(&input.tensor, &self.0.as_tensor().detach(), activation)?;
        let (bias, place, kept) = (self.0.clone(), input.place, output.clone());
        Ok(tape.push(output, move |grad, gradients| {
            let (of_input, of_bias) = add_bias_gradients(&kept, &grad, activation)?;
            gradients.add_to(&bias, of_bias)?;
            gradients.add(place, of_input)
        }))
    }
}

/// A linear layer. Input (batch, in), output (batch, out).
pub(crate) struct Linear {
    weight: Var,
    bias: Bias,
}

impl Linear {
    pub(crate) fn new(p: &mut Parameters, name: &str, (from, to): (usize, usize)) -> Result<Linear> {
        let bound = 1.0 / (from as f64).sqrt();
        Ok(Linear {
            weight: p.learned(&format!("{name}.weight"), &[to, from], Begin::Uniform(bound))?,
            bias: Bias(p.learned(&format!("{name}.bias"), &[to], Begin::Uniform(bound))?),
        })
    }

    pub(crate) fn forward(&self, tape: &mut Tape, input: &Value, activation: Activation) -> Result<Value> {
        let output = linear(&input.tensor, &self.weight.as_tensor().detach())?;
        let (weight, seen) = (self.weight.clone(), input.clone());
        let product = tape.push(output, move |grad, gradients| {
            let of = weight.as_tensor().detach();
            let (of_input, of_weight) = linear_gradients(&seen.tensor, &of, &grad, wanted(&seen))?;
            gradients.add_to(&weight, of_weight)?;
            match of_input {
                Some(of_input) => gradients.add(seen.place, of_input),
                None => Ok(()),
            }
        });
        self.bias.forward(tape, &product, activation)
    }
}
