//! Layer normalisation: each row of values by its own mean and variance.

use crate::buffer::{add_parts, with_values, written};
use crate::cuda;
use crate::lines::{add_line, map_line, vectorized};
use candle_core::{D, DType, Result, Tensor, bail};
use rayon::prelude::*;

/// Rows that a thread takes at once; it decides how sums over rows are cut.
const ROWS: usize = 64;
/// Sums that are kept side by side, so that they become vectors.
const LANES: usize = 16;

/// Layer normalisation (Ba et al. 2016): `(input - mean) / sqrt(variance + epsilon) * weight + bias` over the last
/// dimension of `input`, (..., channels) f32, with `weight` and `bias`, (channels).
///
/// # Errors
/// When the shapes do not fit together.
pub fn layer_norm(input: &Tensor, weight: &Tensor, bias: &Tensor, epsilon: f64) -> Result<Tensor> {
    let channels = check(input, weight)?;
    if bias.dims() != [channels] {
        bail!("layer_norm: {channels} channels do not fit a bias of shape {:?}", bias.dims());
    }
    if !input.device().is_cpu() {
        return cuda::layer_norm(input, weight, bias, epsilon)?
            .map_or_else(|| elsewhere([input, weight, bias], epsilon), Ok);
    }
    let output = with_values([input, weight, bias], |[input, weight, bias]| {
        let write = |out: &mut [std::mem::MaybeUninit<f32>]| {
            let rows = out.par_chunks_mut(ROWS * channels).zip(input.par_chunks(ROWS * channels));
            rows.for_each(|(out, input)| {
                vectorized(
                    #[inline(always)]
                    || {
                        for (out, row) in out.chunks_exact_mut(channels).zip(input.chunks_exact(channels)) {
                            let (mean, inverse) = moments_of(row, epsilon);
                            map_line(out, [row, weight, bias], |[value, weight, bias]| {
                                (value - mean) * inverse * weight + bias
                            });
                        }
                    },
                );
            });
        };
        // Safety: every row is written to its end.
        Ok(unsafe { written(input.len(), write) })
    })?;
    Tensor::from_vec(output, input.shape(), input.device())
}

/// The gradients of input, weight and bias of [`layer_norm`] for the gradient `grad` of its output.
///
/// # Errors
/// When the shapes do not fit together.
pub fn layer_norm_gradients(
    input: &Tensor,
    weight: &Tensor,
    epsilon: f64,
    grad: &Tensor,
) -> Result<(Tensor, Tensor, Tensor)> {
    let channels = check(input, weight)?;
    if grad.dims() != input.dims() {
        bail!("layer_norm: a gradient {:?} does not fit {:?}", grad.dims(), input.dims());
    }
    if !input.device().is_cpu() {
        if let Some(gradients) = cuda::layer_norm_gradients(input, weight, epsilon, grad)? {
            return Ok(gradients);
        }
        let bias = weight.zeros_like()?;
        let [of_input, of_weight, of_bias] =
            crate::elsewhere::gradients([input, weight, &bias], grad, |all| elsewhere(all, epsilon))?;
        return Ok((of_input, of_weight, of_bias));
    }
    let (of_input, mut parts) = with_values([input, weight, grad], |[input, weight, grad]| {
        let pieces = input.len().div_ceil(ROWS * channels).max(1);
        // For each piece of rows: the sums of the weight's gradient, then of the bias's.
        let mut parts = vec![0.0f32; pieces * 2 * channels];
        let write = |out: &mut [std::mem::MaybeUninit<f32>]| {
            let pieces = out.par_chunks_mut(ROWS * channels).zip(parts.par_chunks_exact_mut(2 * channels));
            let values = input.par_chunks(ROWS * channels).zip(grad.par_chunks(ROWS * channels));
            pieces.zip(values).for_each(|((out, sums), (input, grad))| {
                let (of_weight, of_bias) = sums.split_at_mut(channels);
                vectorized(
                    #[inline(always)]
                    || {
                        let rows = input.chunks_exact(channels).zip(grad.chunks_exact(channels));
                        for (out, (row, grad)) in out.chunks_exact_mut(channels).zip(rows) {
                            let (mean, inverse) = moments_of(row, epsilon);
                            let normal = move |value: f32| (value - mean) * inverse;
                            add_line([&mut *of_weight, &mut *of_bias], [row, grad], |[value, grad]| {
                                [grad * normal(value), grad]
                            });
                            let [along, whole] = sums_of(row, grad, weight, normal);
                            let share = 1.0 / channels as f32;
                            map_line(out, [row, grad, weight], |[value, grad, weight]| {
                                (grad * weight - share * whole - normal(value) * (share * along)) * inverse
                            });
                        }
                    },
                );
            });
        };
        // Safety: every row is written to its end.
        let of_input = unsafe { written(input.len(), write) };
        Ok((of_input, parts))
    })?;
    add_parts(&mut parts, 2 * channels);
    let device = input.device();
    let sums = |range: std::ops::Range<usize>| Tensor::from_slice(&parts[range], channels, device);
    let (of_weight, of_bias) = (sums(0..channels)?, sums(channels..2 * channels)?);
    Ok((Tensor::from_vec(of_input, input.shape(), device)?, of_weight, of_bias))
}

fn check(input: &Tensor, weight: &Tensor) -> Result<usize> {
    let channels = input.dim(D::Minus1)?;
    if weight.dims() != [channels] || input.elem_count() == 0 {
        bail!("layer_norm: {:?} does not fit a weight of shape {:?}", input.dims(), weight.dims());
    }
    Ok(channels)
}

/// The mean of a row, and one over its standard deviation.
#[inline(always)]
fn moments_of(row: &[f32], epsilon: f64) -> (f32, f32) {
    let mean = summed(row, |value| value) / row.len() as f32;
    let variance = summed(row, |value| (value - mean) * (value - mean)) / row.len() as f32;
    (mean, 1.0 / (variance + epsilon as f32).sqrt())
}

/// The sum of something of each value, in a fixed order.
#[inline(always)]
pub(crate) fn summed(row: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let (chunks, rest) = row.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for chunk in chunks {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum += of(*value);
        }
    }
    sums.iter().sum::<f32>() + rest.iter().map(|value| of(*value)).sum::<f32>()
}

/// The sums of `grad weight normal` and of `grad weight`.
#[inline(always)]
fn sums_of(row: &[f32], grad: &[f32], weight: &[f32], normal: impl Fn(f32) -> f32) -> [f32; 2] {
    let (mut along, mut whole) = ([0.0; LANES], [0.0; LANES]);
    let chunks = row.chunks(LANES).zip(grad.chunks(LANES)).zip(weight.chunks(LANES));
    for ((row, grad), weight) in chunks {
        let values = row.iter().zip(grad).zip(weight);
        for (((value, grad), weight), (along, whole)) in values.zip(along.iter_mut().zip(&mut whole)) {
            *along += grad * weight * normal(*value);
            *whole += grad * weight;
        }
    }
    [along.iter().sum(), whole.iter().sum()]
}

/// Fallback to candle-nn's composite operations; its fused one has no gradient.
fn elsewhere([input, weight, bias]: [&Tensor; 3], epsilon: f64) -> Result<Tensor> {
    let wide = input.to_dtype(DType::F32)?;
    candle_nn::ops::layer_norm_slow(&wide, weight, bias, epsilon as f32)?.to_dtype(input.dtype())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::{assert_close, differences, noise, threads_agree};

    fn defined(input: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
        let normal = |row: &[f64]| -> Vec<f64> {
            let count = row.len() as f64;
            let mean = row.iter().sum::<f64>() / count;
            let variance = row.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
            let normal = row.iter().map(|value| (value - mean) / (variance + 1e-6).sqrt());
            normal.zip(weight.iter().zip(bias)).map(|(value, (weight, bias))| value * weight + bias).collect()
        };
        input.chunks(weight.len()).flat_map(normal).collect()
    }

    #[test]
    fn value_and_gradients_are_those_of_the_definition() -> Result<()> {
        for (rows, channels) in [(1, 1), (3, 7), (2, 48), (5, 33)] {
            let [input, weight, bias] = [noise(&[rows, channels], 1), noise(&[channels], 2), noise(&[channels], 3)];
            let grad = noise(&[rows, channels], 4);
            let value = |all: &[Vec<f64>]| defined(&all[0], &all[1], &all[2]);
            let ours = layer_norm(&input, &weight, &bias, 1e-6)?;
            let (of_input, of_weight, of_bias) = layer_norm_gradients(&input, &weight, 1e-6, &grad)?;
            let (right, right_gradients) = differences(&[&input, &weight, &bias], &grad, value)?;
            assert_close("value", &ours, &right, 1e-5);
            assert_close("on another device", &elsewhere([&input, &weight, &bias], 1e-6)?, &right, 1e-5);
            for (name, ours, right) in [
                ("input", of_input, &right_gradients[0]),
                ("weight", of_weight, &right_gradients[1]),
                ("bias", of_bias, &right_gradients[2]),
            ] {
                assert_close(name, &ours, right, 1e-3);
            }
        }
        Ok(())
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let (input, weight, bias) = (noise(&[300, 96], 1), noise(&[96], 2), noise(&[96], 3));
        threads_agree(|| {
            let (a, b, c) = layer_norm_gradients(&input, &weight, 1e-6, &input).unwrap();
            vec![layer_norm(&input, &weight, &bias, 1e-6).unwrap(), a, b, c]
        });
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() {
        assert!(layer_norm(&noise(&[2, 3], 1), &noise(&[2], 1), &noise(&[3], 1), 1e-6).is_err());
        assert!(layer_norm(&noise(&[2, 3], 1), &noise(&[3], 1), &noise(&[2], 1), 1e-6).is_err());
        assert!(layer_norm_gradients(&noise(&[2, 3], 1), &noise(&[3], 1), 1e-6, &noise(&[3, 2], 1)).is_err());
    }
}
