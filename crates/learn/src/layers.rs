//! Layers with the parameter names and first values of torch.nn and torchvision.

use crate::Result;
use crate::parameters::{Begin, Parameters};
use assay_kernels::{Activation, Conv2dOptions, Moments, MomentsOf, add_bias, batch_norm, conv2d, linear, moments};
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
    bias: Option<Var>,
    stride: usize,
    padding: usize,
}

impl Conv {
    /// With bias and the first values of `torch.nn.Conv2d`: uniform within 1 / sqrt(fan in).
    pub(crate) fn biased(p: &mut Parameters, name: &str, (from, to): (usize, usize), kernel: usize) -> Result<Conv> {
        let bound = 1.0 / ((from * kernel * kernel) as f64).sqrt();
        let weight = p.learned(&format!("{name}.weight"), &[to, from, kernel, kernel], Begin::Uniform(bound))?;
        let bias = p.learned(&format!("{name}.bias"), &[to], Begin::Uniform(bound))?;
        Ok(Conv { weight, bias: Some(bias), stride: 1, padding: 0 })
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
        Ok(Conv { weight, bias: None, stride, padding: kernel / 2 })
    }

    pub(crate) fn forward(&self, input: &Tensor, activation: Activation) -> Result<Tensor> {
        let output = conv2d(input, &self.weight, Conv2dOptions::square(self.stride, self.padding))?;
        match (&self.bias, activation) {
            (Some(bias), _) => Ok(add_bias(&output, bias, activation)?),
            (None, Activation::None) => Ok(output),
            (None, Activation::Relu) => Ok(output.relu()?),
        }
    }
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
        input: &Tensor,
        mode: Mode,
        residual: Option<&Tensor>,
        activation: Activation,
    ) -> Result<Tensor> {
        const EPSILON: f64 = 1e-5;
        const MOMENTUM: f64 = 0.1;
        let (found, of) = match mode {
            Mode::Infer => {
                let running = |var: &Var| var.as_tensor().detach();
                (Moments { mean: running(&self.mean), variance: running(&self.variance) }, MomentsOf::Running)
            }
            Mode::Train => {
                let found = moments(input)?;
                let count = (input.elem_count() / self.mean.elem_count()) as f64;
                let unbiased = (&found.variance * (count / (count - 1.0).max(1.0)))?;
                let blend = |old: &Var, new: &Tensor| -> Result<()> {
                    Ok(old.set(&((old.as_tensor().detach() * (1.0 - MOMENTUM))? + (new * MOMENTUM)?)?)?)
                };
                blend(&self.mean, &found.mean)?;
                blend(&self.variance, &unbiased)?;
                (found, MomentsOf::Batch)
            }
        };
        Ok(batch_norm(input, (&found, of), (&self.weight, &self.bias), residual, activation, EPSILON)?)
    }
}

/// A linear layer. Input (batch, in), output (batch, out).
pub(crate) struct Linear {
    weight: Var,
    bias: Var,
}

impl Linear {
    pub(crate) fn new(p: &mut Parameters, name: &str, (from, to): (usize, usize)) -> Result<Linear> {
        let bound = 1.0 / (from as f64).sqrt();
        Ok(Linear {
            weight: p.learned(&format!("{name}.weight"), &[to, from], Begin::Uniform(bound))?,
            bias: p.learned(&format!("{name}.bias"), &[to], Begin::Uniform(bound))?,
        })
    }

    pub(crate) fn forward(&self, input: &Tensor, activation: Activation) -> Result<Tensor> {
        Ok(add_bias(&linear(input, &self.weight)?, &self.bias, activation)?)
    }
}
