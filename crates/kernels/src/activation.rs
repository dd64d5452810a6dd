//! Activations, value by value, without branches, so that loops of them become vectors.

use crate::buffer::{slice, with_values, written};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;
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

    /// From candle's own operations.
    pub(crate) fn elsewhere(self, input: Tensor) -> Result<Tensor> {
        match self {
            Activation::None => Ok(input),
            Activation::Relu => input.relu(),
            Activation::HardSwish => (&input * (&input + 3.0)?.clamp(0.0, 6.0)?)? / 6.0,
        }
    }
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

/// [`Activation::HardSwish`] alone.
///
/// # Errors
/// When the tensor is not f32.
pub fn activate_hard_swish(input: &Tensor) -> Result<Tensor> {
    match input.device().is_cpu() {
        true => input.contiguous()?.apply_op1(HardSwish),
        false => Activation::HardSwish.elsewhere(input.clone()),
    }
}

/// The gradient of its input for the gradient `grad` of its output.
///
/// # Errors
/// When the shapes differ.
pub fn hard_swish_gradient(input: &Tensor, grad: &Tensor) -> Result<Tensor> {
    if input.dims() != grad.dims() {
        candle_core::bail!("hard_swish: a gradient {:?} does not fit {:?}", grad.dims(), input.dims());
    }
    if !input.device().is_cpu() {
        let elsewhere = |[input]: [&Tensor; 1]| Activation::HardSwish.elsewhere(input.clone());
        let [of_input] = crate::elsewhere::gradients([input], grad, elsewhere)?;
        return Ok(of_input);
    }
    let values = with_values([input, grad], |[input, grad]| {
        let of = |place: usize| grad[place] * hard_swish_slope(input[place]);
        // Safety: all of it is written.
        Ok(unsafe { written(input.len(), |out| write_each(out, of)) })
    })?;
    Tensor::from_vec(values, input.shape(), input.device())
}

/// Writes the value of each place.
fn write_each(out: &mut [MaybeUninit<f32>], value: impl Fn(usize) -> f32 + Sync) {
    out.par_iter_mut().with_min_len(16 * 1024).enumerate().for_each(|(place, out)| {
        out.write(value(place));
    });
}

struct HardSwish;

impl CustomOp1 for HardSwish {
    fn name(&self) -> &'static str {
        "hard-swish"
    }

    fn cpu_fwd(&self, input: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let input = slice::<f32>(input, layout)?;
        // Safety: all of it is written.
        let output = unsafe { written(input.len(), |out| write_each(out, |place| hard_swish(input[place]))) };
        Ok((CpuStorage::F32(output), layout.shape().clone()))
    }

    fn bwd(&self, input: &Tensor, _output: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        hard_swish_gradient(input, grad).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::{assert_close, differences, noise};

    #[test]
    fn hard_swish_agrees_with_its_definition() -> Result<()> {
        let (input, grad) = (noise(&[3, 50], 1).affine(5.0, 0.0)?, noise(&[3, 50], 2));
        let defined = |inputs: &[Vec<f64>]| -> Vec<f64> {
            inputs[0].iter().map(|x| x * (x + 3.0).clamp(0.0, 6.0) / 6.0).collect()
        };
        let (output, gradients) = differences(&[&input], &grad, defined)?;
        assert_close("output", &activate_hard_swish(&input)?, &output, 1e-6);
        assert_close("gradient", &hard_swish_gradient(&input, &grad)?, &gradients[0], 1e-5);
        assert_close("on another device", &Activation::HardSwish.elsewhere(input)?, &output, 1e-6);
        Ok(())
    }

    #[test]
    fn slopes_are_the_differences_of_their_functions() {
        let difference = |of: fn(f32) -> f32, x: f32| (of(x + 1e-2) - of(x - 1e-2)) / 2e-2;
        for x in (-50..=50).map(|x| x as f32 / 10.0 + 0.05) {
            assert!((difference(hard_swish, x) - hard_swish_slope(x)).abs() < 1e-3, "{x}");
            assert!((difference(hard_sigmoid, x) - hard_sigmoid_slope(x)).abs() < 1e-3, "{x}");
        }
        assert_eq!([hard_swish(-4.0), hard_swish(4.0), hard_sigmoid(-4.0), hard_sigmoid(4.0)], [0.0, 4.0, 0.0, 1.0]);
        assert!(hard_swish(f32::NAN).is_nan() && hard_swish_slope(f32::NAN).is_nan());
    }
}
