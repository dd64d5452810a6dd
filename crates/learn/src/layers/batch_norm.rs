//! Batch normalisation.

use super::Mode;
use crate::Result;
use crate::parameters::{Begin, Parameters};
use crate::tape::{Tape, Value};
use assay_kernels::{Activation, BatchNormInputs, Moments, MomentsOf, batch_norm, batch_norm_gradients, moments};
use candle_core::{Tensor, Var};

/// What keeps the root from zero, as in torch.
const EPSILON: f64 = 1e-5;

/// Batch normalisation (Ioffe and Szegedy 2015) with torch's momentum 0.1 and epsilon 1e-5.
pub(crate) struct BatchNorm {
    weight: Var,
    bias: Var,
    mean: Var,
    variance: Var,
}

impl BatchNorm {
    pub(crate) fn new(p: &mut Parameters, name: &str, channels: usize) -> Result<BatchNorm> {
        Ok(BatchNorm {
            weight: p.learned(&format!("{name}.weight"), &[channels], Begin::Constant(1.0))?,
            bias: p.learned(&format!("{name}.bias"), &[channels], Begin::Constant(0.0))?,
            mean: p.buffer(&format!("{name}.running_mean"), channels, 0.0)?,
            variance: p.buffer(&format!("{name}.running_var"), channels, 1.0)?,
        })
    }

    /// What it does with running moments, as a factor and what is added, (channels) each.
    pub(crate) fn scale_and_shift(&self) -> Result<(Tensor, Tensor)> {
        let value = |var: &Var| var.as_tensor().detach();
        let scale = (value(&self.weight) / (value(&self.variance) + EPSILON)?.sqrt()?)?;
        let shift = (value(&self.bias) - (value(&self.mean) * &scale)?)?;
        Ok((scale, shift))
    }

    /// Normalises, adds `residual` where there is one, and activates.
    pub(crate) fn forward(
        &self,
        tape: &mut Tape,
        input: &Value,
        mode: Mode,
        residual: Option<&Value>,
        activation: Activation,
    ) -> Result<Value> {
        let of = BatchNormInputs {
            input: input.tensor.clone(),
            moments: self.moments(&input.tensor, mode)?,
            weight: self.weight.as_tensor().detach(),
            bias: self.bias.as_tensor().detach(),
            residual: residual.map(|residual| residual.tensor.clone()),
            activation,
            epsilon: EPSILON,
        };
        let output = batch_norm(&of)?;
        let (weight, bias, kept) = (self.weight.clone(), self.bias.clone(), output.clone());
        let (place, added) = (input.place, residual.map(|residual| residual.place));
        Ok(tape.push(output, move |grad, gradients| {
            let found = batch_norm_gradients(&of, &kept, &grad)?;
            gradients.add_to(&weight, found.weight)?;
            gradients.add_to(&bias, found.bias)?;
            gradients.add(place, found.input)?;
            match (added, found.residual) {
                (Some(added), Some(grad)) => gradients.add(added, grad),
                _ => Ok(()),
            }
        }))
    }

    /// The moments to normalise with; in training those of the batch, which the running ones follow.
    fn moments(&self, input: &Tensor, mode: Mode) -> Result<(Moments, MomentsOf)> {
        const MOMENTUM: f64 = 0.1;
        if mode == Mode::Infer {
            let running = |var: &Var| var.as_tensor().detach();
            let moments = Moments { mean: running(&self.mean), variance: running(&self.variance) };
            return Ok((moments, MomentsOf::Running));
        }
        let found = moments(input)?;
        let count = input.elem_count() / self.mean.elem_count();
        found.move_running(&self.mean, &self.variance, MOMENTUM, count)?;
        Ok((found, MomentsOf::Batch))
    }
}
