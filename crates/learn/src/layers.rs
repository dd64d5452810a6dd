//! Layers with the parameter names and first values of torch.nn and torchvision.

use crate::Result;
use crate::parameters::{Begin, Parameters};
use crate::tape::{Tape, Value};
use assay_kernels::{
    Activation, BatchNormInputs, Conv2dOptions, InputGradient, Moments, MomentsOf, add_bias, add_bias_gradients,
    batch_norm, batch_norm_gradients, channels_first, channels_last, conv2d, conv2d_gradients, linear,
    linear_gradients, max_pool2d, max_pool2d_gradient, moments,
};
use candle_core::{Tensor, Var};

/// Whether batch statistics are taken and running ones updated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Train,
    Infer,
}

/// A square convolution. Input (batch, height, width, in), output (batch, height', width', out).
pub(crate) struct Conv {
    weight: Var,
    stride: usize,
    padding: usize,
}

impl Conv {
    /// With bias and the first values of `torch.nn.Conv2d`: uniform within 1 / sqrt(fan in).
    pub(crate) fn biased(
        p: &mut Parameters,
        name: &str,
        (from, to): (usize, usize),
        kernel: usize,
    ) -> Result<(Conv, Bias)> {
        let bound = 1.0 / ((from * kernel * kernel) as f64).sqrt();
        let weight = p.learned(&format!("{name}.weight"), &[to, from, kernel, kernel], Begin::Uniform(bound))?;
        let bias = p.learned(&format!("{name}.bias"), &[to], Begin::Uniform(bound))?;
        Ok((Conv { weight, stride: 1, padding: 0 }, Bias(bias)))
    }

    /// Without bias and with He's normal first values over the fan out (He et al. 2015), as torchvision's ResNets.
    pub(crate) fn he(
        p: &mut Parameters,
        name: &str,
        (from, to): (usize, usize),
        (kernel, stride): (usize, usize),
    ) -> Result<Conv> {
        let deviation = (2.0 / (to * kernel * kernel) as f64).sqrt();
        let weight = p.learned(&format!("{name}.weight"), &[to, from, kernel, kernel], Begin::Normal(deviation))?;
        Ok(Conv { weight, stride, padding: kernel / 2 })
    }

    pub(crate) fn forward(&self, tape: &mut Tape, input: &Value) -> Result<Value> {
        let options = Conv2dOptions::square(self.stride, self.padding);
        let output = conv2d(&input.tensor, &self.weight.as_tensor().detach(), options)?;
        let (weight, seen) = (self.weight.clone(), input.clone());
        Ok(tape.push(output, move |grad, gradients| {
            let kernel = weight.as_tensor().detach();
            let (of_input, of_weight) = conv2d_gradients(&seen.tensor, &kernel, options, &grad, wanted(&seen))?;
            gradients.add_to(&weight, of_weight)?;
            match of_input {
                Some(of_input) => gradients.add(seen.place, of_input),
                None => Ok(()),
            }
        }))
    }
}

fn wanted(value: &Value) -> InputGradient {
    if value.place.is_wanted() { InputGradient::Wanted } else { InputGradient::Unwanted }
}

/// A bias for each channel, then an activation.
pub(crate) struct Bias(Var);

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

/// The maximum of each window of (kernel, stride, padding).
pub(crate) fn pool(tape: &mut Tape, input: &Value, sizes: (usize, usize, usize)) -> Result<Value> {
    let output = max_pool2d(&input.tensor, sizes.0, sizes.1, sizes.2)?;
    let (seen, kept) = (input.clone(), output.clone());
    Ok(tape.push(output, move |grad, gradients| {
        gradients.add(seen.place, max_pool2d_gradient((&seen.tensor, &kept), sizes, &grad)?)
    }))
}

/// The mean over all pixels: (batch, height, width, channels) to (batch, channels).
pub(crate) fn mean_of_pixels(tape: &mut Tape, input: &Value) -> Result<Value> {
    let (_, height, width, _) = input.tensor.dims4()?;
    let (place, shape) = (input.place, input.tensor.shape().clone());
    Ok(tape.push(input.tensor.mean((1, 2))?, move |grad, gradients| {
        let share = (grad * (1.0 / (height * width) as f64))?.unsqueeze(1)?.unsqueeze(1)?;
        gradients.add(place, share.broadcast_as(shape)?.contiguous()?)
    }))
}

/// All values of each image in one row, channel by channel as in PyTorch.
pub(crate) fn flatten(tape: &mut Tape, input: &Value) -> Result<Value> {
    let (batch, height, width, channels) = input.tensor.dims4()?;
    let place = input.place;
    Ok(tape.push(channels_first(&input.tensor)?.flatten_from(1)?, move |grad, gradients| {
        gradients.add(place, channels_last(&grad.reshape((batch, channels, height, width))?)?)
    }))
}

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
            epsilon: 1e-5,
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
        let count = (input.elem_count() / self.mean.elem_count()) as f64;
        let unbiased = (&found.variance * (count / (count - 1.0).max(1.0)))?;
        let blend = |old: &Var, new: &Tensor| -> Result<()> {
            Ok(old.set(&((old.as_tensor().detach() * (1.0 - MOMENTUM))? + (new * MOMENTUM)?)?)?)
        };
        blend(&self.mean, &found.mean)?;
        blend(&self.variance, &unbiased)?;
        Ok((found, MomentsOf::Batch))
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
