//! Activations, value by value, without branches, so that loops of them become vectors.

use crate::buffer::{slice, with_values, written};
use crate::cuda;
use crate::exponential::{erf, exp, sigmoid};
use crate::lines::{map_line, vectorized};
use candle_core::{CpuStorage, CustomOp1, Layout, Module, Result, Shape, Tensor};
use rayon::prelude::*;
use std::f32::consts::{FRAC_1_SQRT_2, TAU};
use std::mem::MaybeUninit;

/// What becomes of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// It stays.
    None,
    /// Negative values become zero.
    Relu,
    /// `x * min(max(x + 3, 0), 6) / 6` (Howard et al. 2019).
    HardSwish,
    /// `x / (1 + exp(-x))` (Elfwing et al. 2018), also called swish.
    Silu,
    /// `x (1 + erf(x / sqrt 2)) / 2` (Hendrycks and Gimpel 2016).
    Gelu,
}

impl Activation {
    /// What no value may be below.
    pub(crate) fn least(self) -> f32 {
        if self == Activation::Relu { 0.0 } else { f32::NEG_INFINITY }
    }

    /// Whether it cuts what is below [`Self::least`] and changes nothing else, so that the output tells where a gradient
    /// goes through.
    pub(crate) fn cuts(self) -> bool {
        matches!(self, Activation::None | Activation::Relu)
    }

    /// Fallback to candle-nn.
    pub(crate) fn elsewhere(self, input: Tensor) -> Result<Tensor> {
        let activation = match self {
            Activation::None => return Ok(input),
            Activation::Relu => candle_nn::Activation::Relu,
            Activation::HardSwish => candle_nn::Activation::HardSwish,
            Activation::Silu => candle_nn::Activation::Silu,
            Activation::Gelu => candle_nn::Activation::Gelu,
        };
        activation.forward(&input)
    }
}

#[inline(always)]
pub(crate) fn silu(x: f32) -> f32 {
    x * sigmoid(x)
}

#[inline(always)]
pub(crate) fn gelu(x: f32) -> f32 {
    x * normal_share(x)
}

#[inline(always)]
pub(crate) fn gelu_slope(x: f32) -> f32 {
    normal_share(x) + x * exp(-0.5 * x * x) * (1.0 / TAU.sqrt())
}

/// How much of a standard normal distribution lies below x.
#[inline(always)]
fn normal_share(x: f32) -> f32 {
    0.5 * (1.0 + erf(x * FRAC_1_SQRT_2))
}

#[inline(always)]
pub(crate) fn silu_slope(x: f32) -> f32 {
    let share = sigmoid(x);
    share + x * share * (1.0 - share)
}

/// The value, or the least one; a NaN stays, so that it is seen.
#[inline(always)]
pub(crate) fn at_least(value: f32, least: f32) -> f32 {
    if value < least { least } else { value }
}

/// The part of a gradient that goes through an activation that cuts: none where it cut.
#[inline(always)]
pub(crate) fn through(grad: f32, output: f32, least: f32) -> f32 {
    if output <= least { 0.0 } else { grad }
}

/// A number from 0 to 1 that rises from -3 to 3: `min(max(x + 3, 0), 6) / 6`.
#[inline(always)]
pub(crate) fn hard_sigmoid(x: f32) -> f32 {
    (x + 3.0).clamp(0.0, 6.0) * (1.0 / 6.0)
}

/// Its derivative, which is zero at the ends, as in torch.
#[inline(always)]
pub(crate) fn hard_sigmoid_slope(x: f32) -> f32 {
    if x > -3.0 && x < 3.0 { 1.0 / 6.0 } else { 0.0 }
}

#[inline(always)]
pub(crate) fn hard_swish(x: f32) -> f32 {
    x * hard_sigmoid(x)
}

#[inline(always)]
pub(crate) fn hard_swish_slope(x: f32) -> f32 {
    let inside = x * (1.0 / 3.0) + 0.5;
    let below = if x < -3.0 { 0.0 } else { inside };
    if x > 3.0 { 1.0 } else { below }
}

/// An activation alone.
///
/// # Errors
/// When the tensor is not f32.
pub fn activate(input: &Tensor, activation: Activation) -> Result<Tensor> {
    match input.device().is_cpu() {
        true => input.contiguous()?.apply_op1(Smooth(activation)),
        false => cuda::activate(input, None, activation)?.map_or_else(|| activation.elsewhere(input.clone()), Ok),
    }
}

/// The gradient of the input of [`activate`] for the gradient `grad` of its output.
///
/// # Errors
/// When the shapes differ.
pub fn activate_gradient(input: &Tensor, activation: Activation, grad: &Tensor) -> Result<Tensor> {
    if input.dims() != grad.dims() {
        candle_core::bail!("activate: a gradient {:?} does not fit {:?}", grad.dims(), input.dims());
    }
    if !input.device().is_cpu() {
        if let Some(of_input) = cuda::activate_gradient(input, None, activation, grad)? {
            return Ok(of_input);
        }
        let elsewhere = |[input]: [&Tensor; 1]| activation.elsewhere(input.clone());
        let [of_input] = crate::elsewhere::gradients([input], grad, elsewhere)?;
        return Ok(of_input);
    }
    let values = with_values([input, grad], |[input, grad]| {
        let write = |out: &mut [MaybeUninit<f32>]| match activation {
            Activation::None => each([input, grad], out, |[_, grad]| grad),
            Activation::Relu => each([input, grad], out, |[x, grad]| through(grad, x, 0.0)),
            Activation::HardSwish => each([input, grad], out, |[x, grad]| grad * hard_swish_slope(x)),
            Activation::Silu => each([input, grad], out, |[x, grad]| grad * silu_slope(x)),
            Activation::Gelu => each([input, grad], out, |[x, grad]| grad * gelu_slope(x)),
        };
        // Safety: all of it is written.
        Ok(unsafe { written(input.len(), write) })
    })?;
    Tensor::from_vec(values, input.shape(), input.device())
}

/// Writes the value that belongs to those of the inputs at each place.
fn each<const N: usize>(
    inputs: [&[f32]; N],
    out: &mut [MaybeUninit<f32>],
    value: impl Fn([f32; N]) -> f32 + Copy + Sync,
) {
    const PIECE: usize = 16 * 1024;
    out.par_chunks_mut(PIECE).enumerate().for_each(|(number, out)| {
        let inputs = inputs.map(|input| &input[number * PIECE..][..out.len()]);
        vectorized(
            #[inline(always)]
            || map_line(out, inputs, value),
        );
    });
}

struct Smooth(Activation);

impl CustomOp1 for Smooth {
    fn name(&self) -> &'static str {
        "activate"
    }

    fn cpu_fwd(&self, input: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let input = slice::<f32>(input, layout)?;
        let write = |out: &mut [MaybeUninit<f32>]| match self.0 {
            Activation::None => each([input], out, |[x]| x),
            Activation::Relu => each([input], out, |[x]| at_least(x, 0.0)),
            Activation::HardSwish => each([input], out, |[x]| hard_swish(x)),
            Activation::Silu => each([input], out, |[x]| silu(x)),
            Activation::Gelu => each([input], out, |[x]| gelu(x)),
        };
        // Safety: all of it is written.
        let output = unsafe { written(input.len(), write) };
        Ok((CpuStorage::F32(output), layout.shape().clone()))
    }

    fn bwd(&self, input: &Tensor, _output: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        activate_gradient(input, self.0, grad).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::{assert_close, differences, noise};

    #[test]
    fn activations_agree_with_their_definitions() -> Result<()> {
        let (input, grad) = (noise(&[3, 50], 1).affine(5.0, 0.0)?, noise(&[3, 50], 2));
        let defined = |activation: Activation, x: f64| match activation {
            // GELU is compared with its definition in gelu.rs.
            Activation::None | Activation::Gelu => x,
            Activation::Relu => x.max(0.0),
            Activation::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
            Activation::Silu => x / (1.0 + (-x).exp()),
        };
        for activation in [Activation::None, Activation::Relu, Activation::HardSwish, Activation::Silu] {
            let of = |inputs: &[Vec<f64>]| inputs[0].iter().map(|x| defined(activation, *x)).collect();
            let (output, gradients) = differences(&[&input], &grad, of)?;
            assert_close("output", &activate(&input, activation)?, &output, 1e-6);
            assert_close("gradient", &activate_gradient(&input, activation, &grad)?, &gradients[0], 1e-5);
            assert_close("on another device", &activation.elsewhere(input.clone())?, &output, 1e-6);
        }
        Ok(())
    }

    #[test]
    fn slopes_are_the_differences_of_their_functions() {
        let difference = |of: fn(f32) -> f32, x: f32| (of(x + 1e-2) - of(x - 1e-2)) / 2e-2;
        for x in (-50..=50).map(|x| x as f32 / 10.0 + 0.05) {
            assert!((difference(hard_swish, x) - hard_swish_slope(x)).abs() < 1e-3, "{x}");
            assert!((difference(hard_sigmoid, x) - hard_sigmoid_slope(x)).abs() < 1e-3, "{x}");
            assert!((difference(silu, x) - silu_slope(x)).abs() < 1e-3, "{x}");
            assert!((difference(gelu, x) - gelu_slope(x)).abs() < 1e-3, "{x}");
        }
        assert_eq!([hard_swish(-4.0), hard_swish(4.0), hard_sigmoid(-4.0), hard_sigmoid(4.0)], [0.0, 4.0, 0.0, 1.0]);
        assert!(hard_swish(f32::NAN).is_nan() && hard_swish_slope(f32::NAN).is_nan() && silu(f32::NAN).is_nan());
    }
}
