//! Layers with the parameter names and first values of torch.nn and torchvision.

use crate::Result;
use crate::parameters::{Begin, Parameters};
use candle_core::{DType, Tensor, Var};

/// Whether batch statistics are taken and running ones updated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Train,
    Infer,
}

/// A square convolution. Input (batch, in, height, width), output (batch, out, height', width').
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

    pub(crate) fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let output = input.conv2d(&self.weight, self.padding, self.stride, 1, 1)?;
        match &self.bias {
            Some(bias) => Ok(output.broadcast_add(&bias.reshape((1, (), 1, 1))?)?),
            None => Ok(output),
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

    pub(crate) fn forward(&self, input: &Tensor, mode: Mode) -> Result<Tensor> {
        const EPSILON: f64 = 1e-5;
        const MOMENTUM: f64 = 0.1;
        let (batch, channels, height, width) = input.dims4()?;
        let shape = (1, channels, 1, 1);
        let (mean, variance) = match mode {
            Mode::Infer => (self.mean.as_tensor().reshape(shape)?, self.variance.as_tensor().reshape(shape)?),
            Mode::Train => {
                let mean = input.mean_keepdim((0, 2, 3))?;
                let variance = input.broadcast_sub(&mean)?.sqr()?.mean_keepdim((0, 2, 3))?;
                let count = (batch * height * width) as f64;
                let unbiased = (variance.detach() * (count / (count - 1.0).max(1.0)))?;
                let blend = |old: &Var, new: &Tensor| -> Result<()> {
                    let new = (new.detach().reshape(channels)? * MOMENTUM)?;
                    Ok(old.set(&((old.as_tensor().detach() * (1.0 - MOMENTUM))? + new)?)?)
                };
                blend(&self.mean, &mean)?;
                blend(&self.variance, &unbiased)?;
                (mean, variance)
            }
        };
        let scale = (variance + EPSILON)?.sqrt()?.recip()?.broadcast_mul(&self.weight.reshape(shape)?)?;
        Ok(input.broadcast_sub(&mean)?.broadcast_mul(&scale)?.broadcast_add(&self.bias.reshape(shape)?)?)
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

    pub(crate) fn forward(&self, input: &Tensor) -> Result<Tensor> {
        Ok(input.to_dtype(DType::F32)?.matmul(&self.weight.t()?)?.broadcast_add(&self.bias)?)
    }
}
