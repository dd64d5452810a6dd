//! Batch normalisation.

use super::Mode;
use crate::Result;
use crate::parameters::{Begin, Parameters};
use crate::tape::{Tape, Value};
use assay_kernels::{Activation, BatchNormInputs, Moments, MomentsOf, batch_norm, batch_norm_gradients, moments};
use candle_core::{Tensor, Var};

/// Batch normalisation (Ioffe and Szegedy 2015).
pub(crate) struct BatchNorm {
    name: String,
    weight: Var,
    bias: Var,
    mean: Var,
    variance: Var,
    /// The share of a batch's moments in the running ones.
    momentum: f64,
    /// What keeps the root from zero.
    epsilon: f64,
}

impl BatchNorm {
    /// With torch's momentum and epsilon.
    pub(crate) fn new(p: &mut Parameters, name: &str, channels: usize) -> Result<BatchNorm> {
        BatchNorm::with(p, name, channels, 0.1, 1e-5)
    }

    /// With the epsilon of torchvision's MobileNets. Their momentum of 0.01 is for a million steps: in some hundred, running
    /// moments would not get anywhere near those of the batches, and a trained model would infer by chance.
    pub(crate) fn of_mobile(p: &mut Parameters, name: &str, channels: usize) -> Result<BatchNorm> {
        BatchNorm::with(p, name, channels, 0.1, 1e-3)
    }

    fn with(p: &mut Parameters, name: &str, channels: usize, momentum: f64, epsilon: f64) -> Result<BatchNorm> {
        Ok(BatchNorm {
            name: name.to_owned(),
            weight: p.learned(&format!("{name}.weight"), &[channels], Begin::Constant(1.0))?,
            bias: p.learned(&format!("{name}.bias"), &[channels], Begin::Constant(0.0))?,
            mean: p.buffer(&format!("{name}.running_mean"), channels, 0.0)?,
            variance: p.buffer(&format!("{name}.running_var"), channels, 1.0)?,
            momentum,
            epsilon,
        })
    }

    /// What it does with running moments, as a factor and what is added, (channels) each.
    pub(crate) fn scale_and_shift(&self) -> Result<(Tensor, Tensor)> {
        let value = |var: &Var| var.as_tensor().detach();
        let scale = (value(&self.weight) / (value(&self.variance) + self.epsilon)?.sqrt()?)?;
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
        tape.enter(&self.name, "batch norm");
        let of = BatchNormInputs {
            input: input.tensor.clone(),
            moments: self.moments(&input.tensor, mode)?,
            weight: self.weight.as_tensor().detach(),
            bias: self.bias.as_tensor().detach(),
            residual: residual.map(|residual| residual.tensor.clone()),
            activation,
            epsilon: self.epsilon,
        };
        let output = batch_norm(&of)?;
        let (weight, bias, kept) = (self.weight.clone(), self.bias.clone(), output.clone());
        let (place, added) = (input.place, residual.map(|residual| residual.place));
        tape.push(output, move |grad, gradients| {
            let found = batch_norm_gradients(&of, &kept, &grad)?;
            gradients.add_to(&weight, found.weight)?;
            gradients.add_to(&bias, found.bias)?;
            gradients.add(place, found.input)?;
            match (added, found.residual) {
                (Some(added), Some(grad)) => gradients.add(added, grad),
                _ => Ok(()),
            }
        })
    }

    /// The moments to normalise with; in training those of the batch, which the running ones follow.
    fn moments(&self, input: &Tensor, mode: Mode) -> Result<(Moments, MomentsOf)> {
        if mode == Mode::Infer {
            let running = |var: &Var| var.as_tensor().detach();
            let moments = Moments { mean: running(&self.mean), variance: running(&self.variance) };
            return Ok((moments, MomentsOf::Running));
        }
        let found = moments(input)?;
        let count = input.elem_count() / self.mean.elem_count();
        found.move_running(&self.mean, &self.variance, self.momentum, count)?;
        Ok((found, MomentsOf::Batch))
    }
}
