//! Convolution.

use super::wanted;
use crate::Result;
use crate::layers::Bias;
use crate::parameters::{Begin, Parameters};
use crate::tape::{Tape, Value};
use assay_kernels::{Conv2dOptions, conv2d, conv2d_gradients};
use candle_core::{Tensor, Var};

/// A square convolution. Input (batch, height, width, in), output (batch, height', width', out).
pub(crate) struct Conv {
    name: String,
    weight: Var,
    stride: usize,
    padding: usize,
    groups: usize,
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
        Ok((Conv { name: name.to_owned(), weight, stride: 1, padding: 0, groups: 1 }, Bias::of(name, bias)))
    }

    /// Patches that do not overlap, with bias and timm's first values.
    pub(crate) fn patches(
        p: &mut Parameters,
        name: &str,
        (from, to): (usize, usize),
        side: usize,
    ) -> Result<(Conv, Bias)> {
        let deviation = (1.0 / (from * side * side) as f64).sqrt();
        Conv::normal(p, name, (from, to), (side, side, 0, 1), deviation)
    }

    /// Without bias and with He's normal first values over the fan out (He et al. 2015), as torchvision's ResNets.
    pub(crate) fn he(
        p: &mut Parameters,
        name: &str,
        (from, to): (usize, usize),
        (kernel, stride): (usize, usize),
    ) -> Result<Conv> {
        Conv::he_in_groups(p, name, (from, to), (kernel, stride, 1))
    }

    /// The same of so many parts of the channels that do not see each other. The fan out counts all parts, as in torch.
    pub(crate) fn he_in_groups(
        p: &mut Parameters,
        name: &str,
        (from, to): (usize, usize),
        (kernel, stride, groups): (usize, usize, usize),
    ) -> Result<Conv> {
        let deviation = (2.0 / (to * kernel * kernel) as f64).sqrt();
        Conv::unbiased(p, name, (from, to), (kernel, stride, kernel / 2, groups), deviation)
    }

    /// Without bias and with the normal first values of timm's EfficientNets: He's over the fan out of a part alone.
    pub(crate) fn he_of_part(
        p: &mut Parameters,
        name: &str,
        (from, to): (usize, usize),
        (kernel, stride, groups): (usize, usize, usize),
    ) -> Result<Conv> {
        let deviation = (2.0 * groups as f64 / (to * kernel * kernel) as f64).sqrt();
        Conv::unbiased(p, name, (from, to), (kernel, stride, kernel / 2, groups), deviation)
    }

    /// Without bias and with normal first values of this deviation: `sizes` are kernel, stride, padding and groups.
    fn unbiased(
        p: &mut Parameters,
        name: &str,
        (from, to): (usize, usize),
        (kernel, stride, padding, groups): (usize, usize, usize, usize),
        deviation: f64,
    ) -> Result<Conv> {
        let shape = [to, from / groups, kernel, kernel];
        let weight = p.learned(&format!("{name}.weight"), &shape, Begin::Normal(deviation))?;
        Ok(Conv { name: name.to_owned(), weight, stride, padding, groups })
    }

    /// With bias and normal first values of this deviation: `sizes` are kernel, stride, padding and groups.
    pub(crate) fn normal(
        p: &mut Parameters,
        name: &str,
        channels: (usize, usize),
        sizes: (usize, usize, usize, usize),
        deviation: f64,
    ) -> Result<(Conv, Bias)> {
        let conv = Conv::unbiased(p, name, channels, sizes, deviation)?;
        let bias = p.learned(&format!("{name}.bias"), &[channels.1], Begin::Constant(0.0))?;
        Ok((conv, Bias::of(name, bias)))
    }

    /// One of each pixel alone, with He's first values and a bias of zeros.
    pub(crate) fn he_biased(p: &mut Parameters, name: &str, (from, to): (usize, usize)) -> Result<(Conv, Bias)> {
        let conv = Conv::he(p, name, (from, to), (1, 1))?;
        Ok((conv, Bias::of(name, p.learned(&format!("{name}.bias"), &[to], Begin::Constant(0.0))?)))
    }

    /// (to, from, kernel height, kernel width)
    pub(crate) fn weight(&self) -> Tensor {
        self.weight.as_tensor().detach()
    }

    pub(crate) fn options(&self) -> Conv2dOptions {
        Conv2dOptions { groups: self.groups, ..Conv2dOptions::square(self.stride, self.padding) }
    }

    pub(crate) fn forward(&self, tape: &mut Tape, input: &Value) -> Result<Value> {
        tape.enter(&self.name, "convolution");
        let options = self.options();
        let output = conv2d(&input.tensor, &self.weight.as_tensor().detach(), options)?;
        let (weight, seen) = (self.weight.clone(), input.clone());
        tape.push(output, move |grad, gradients| {
            let kernel = weight.as_tensor().detach();
            let (of_input, of_weight) = conv2d_gradients(&seen.tensor, &kernel, options, &grad, wanted(&seen))?;
            gradients.add_to(&weight, of_weight)?;
            match of_input {
                Some(of_input) => gradients.add(seen.place, of_input),
                None => Ok(()),
            }
        })
    }
}
