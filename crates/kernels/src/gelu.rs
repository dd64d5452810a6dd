//! A bias for each channel and the Gaussian error linear unit, in one pass.

use crate::activation::{Activation, gelu, gelu_slope};
use crate::bias::add_bias_gradients;
use crate::buffer::{with_values, written};
use crate::channels::{Lines, sums_of_channels};
use crate::cuda;
use crate::lines::{add_line, map_line, vectorized};
use candle_core::{D, Result, Tensor, bail};
use rayon::prelude::*;

/// `gelu(input + bias)` with `gelu(x) = x (1 + erf(x / sqrt 2)) / 2` (Hendrycks and Gimpel 2016, the default of
/// `torch.nn.GELU`): `input` is (..., channels) f32, `bias` (channels).
///
/// # Errors
/// When the shapes do not fit together.
pub fn add_bias_gelu(input: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let channels = check(input, bias)?;
    if !input.device().is_cpu() {
        return cuda::activate(input, Some(bias), Activation::Gelu)?.map_or_else(|| elsewhere(input, bias), Ok);
    }
    let lines = Lines::new(channels);
    let output = with_values([input, bias], |[input, bias]| {
        let bias = lines.repeated(bias);
        let write = |out: &mut [std::mem::MaybeUninit<f32>]| {
            out.par_chunks_mut(lines.stripe()).zip(input.par_chunks(lines.stripe())).for_each(|(out, input)| {
                vectorized(
                    #[inline(always)]
                    || {
                        for (out, input) in out.chunks_mut(lines.width()).zip(input.chunks(lines.width())) {
                            map_line(out, [input, &bias], |[value, bias]| gelu(value + bias));
                        }
                    },
                );
            });
        };
        // Safety: every chunk is written to its end.
        Ok(unsafe { written(input.len(), write) })
    })?;
    Tensor::from_vec(output, input.shape(), input.device())
}

/// The gradients of input and bias of [`add_bias_gelu`] for the gradient `grad` of its output.
///
/// # Errors
/// When the shapes do not fit together.
pub fn add_bias_gelu_gradients(input: &Tensor, bias: &Tensor, grad: &Tensor) -> Result<(Tensor, Tensor)> {
    let channels = check(input, bias)?;
    if grad.dims() != input.dims() {
        bail!("add_bias_gelu: a gradient {:?} does not fit {:?}", grad.dims(), input.dims());
    }
    if !input.device().is_cpu() {
        if let Some(of_input) = cuda::activate_gradient(input, Some(bias), Activation::Gelu, grad)? {
            return add_bias_gradients(&of_input, &of_input, Activation::None);
        }
        let [of_input, of_bias] =
            crate::elsewhere::gradients([input, bias], grad, |[input, bias]| elsewhere(input, bias))?;
        return Ok((of_input, of_bias));
    }
    let lines = Lines::new(channels);
    let (of_input, sums) = with_values([input, bias, grad], |[input, bias, grad]| {
        let bias = lines.repeated(bias);
        let write = |out: &mut [std::mem::MaybeUninit<f32>]| {
            let values = input.par_chunks(lines.stripe()).zip(grad.par_chunks(lines.stripe()));
            out.par_chunks_mut(lines.stripe()).zip(values).for_each(|(out, (input, grad))| {
                vectorized(
                    #[inline(always)]
                    || {
                        let values = input.chunks(lines.width()).zip(grad.chunks(lines.width()));
                        for (out, (input, grad)) in out.chunks_mut(lines.width()).zip(values) {
                            map_line(out, [input, grad, &bias], |[value, grad, bias]| grad * gelu_slope(value + bias));
                        }
                    },
                );
            });
        };
        // Safety: every chunk is written to its end.
        let of_input = unsafe { written(input.len(), write) };
        let [sums] = sums_of_channels(
            of_input.len(),
            channels,
            #[inline(always)]
            |range, sums| add_line(sums, [&of_input[range]], |value| value),
        );
        Ok((of_input, sums))
    })?;
    let of_bias: Vec<f32> = sums.iter().map(|sum| *sum as f32).collect();
    let device = input.device();
    Ok((Tensor::from_vec(of_input, input.shape(), device)?, Tensor::from_vec(of_bias, channels, device)?))
}

fn check(input: &Tensor, bias: &Tensor) -> Result<usize> {
    let channels = input.dim(D::Minus1)?;
    if bias.dims() != [channels] {
        bail!("add_bias_gelu: {:?} does not fit the channels of {:?}", bias.dims(), input.dims());
    }
    Ok(channels)
}

/// Fallback to candle-nn.
fn elsewhere(input: &Tensor, bias: &Tensor) -> Result<Tensor> {
    Activation::Gelu.elsewhere(input.broadcast_add(&bias.to_dtype(input.dtype())?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::{assert_close, differences, noise, threads_agree};

    #[test]
    fn value_and_gradients_are_those_of_the_definition() -> Result<()> {
        // The error function by its integral (Simpson's rule).
        let erf = |x: f64| {
            let of = |t: f64| (-t * t).exp();
            let step = x / 200.0;
            let inner: f64 = (1..200).map(|i| of(i as f64 * step) * if i % 2 == 1 { 4.0 } else { 2.0 }).sum();
            (of(0.0) + inner + of(x)) * step / 3.0 * 2.0 / std::f64::consts::PI.sqrt()
        };
        for (rows, channels) in [(1, 1), (4, 9), (2, 40)] {
            let (input, bias) = ((noise(&[rows, channels], 1) * 3.0)?, noise(&[channels], 2));
            let grad = noise(&[rows, channels], 3);
            let value = |all: &[Vec<f64>]| -> Vec<f64> {
                let biased = all[0].iter().zip(all[1].iter().cycle()).map(|(value, bias)| value + bias);
                biased.map(|x| 0.5 * x * (1.0 + erf(x / 2f64.sqrt()))).collect()
            };
            let (right, gradients) = differences(&[&input, &bias], &grad, value)?;
            assert_close("value", &add_bias_gelu(&input, &bias)?, &right, 1e-6);
            let (of_input, of_bias) = add_bias_gelu_gradients(&input, &bias, &grad)?;
            assert_close("input", &of_input, &gradients[0], 1e-5);
            assert_close("bias", &of_bias, &gradients[1], 1e-5);
        }
        Ok(())
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let (input, bias) = (noise(&[700, 130], 1), noise(&[130], 2));
        threads_agree(|| {
            let (a, b) = add_bias_gelu_gradients(&input, &bias, &input).unwrap();
            vec![add_bias_gelu(&input, &bias).unwrap(), a, b]
        });
    }
}
