//! Means over the pixels of images.

use crate::buffer::{slice, with_values, written};
use crate::cuda;
use crate::lines::{add_line, vectorized};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;
use std::mem::MaybeUninit;

/// The mean over all pixels: (batch, height, width, channels) to (batch, channels).
///
/// # Errors
/// When it has another number of dimensions.
pub fn mean_of_pixels(input: &Tensor) -> Result<Tensor> {
    input.dims4()?;
    if input.device().is_cpu() {
        return input.contiguous()?.apply_op1(MeanOfPixels);
    }
    match cuda::mean_of_pixels(input)? {
        Some(output) => Ok(output),
        None => input.mean((1, 2)),
    }
}

/// The gradient of the input of [`mean_of_pixels`], of this shape, for the gradient `grad` of its output.
///
/// # Errors
/// When the shapes do not fit together.
pub fn mean_of_pixels_gradient(shape: &[usize], grad: &Tensor) -> Result<Tensor> {
    let (&[batch, height, width, channels], pixels) = (shape, shape.iter().skip(1).take(2).product::<usize>()) else {
        candle_core::bail!("mean_of_pixels: {shape:?} is no shape of images");
    };
    if grad.dims() != [batch, channels] {
        candle_core::bail!("mean_of_pixels: a gradient {:?} does not fit images {shape:?}", grad.dims());
    }
    if let Some(of_input) = cuda::mean_of_pixels_gradient(grad, shape)? {
        return Ok(of_input);
    }
    let share = (grad * (1.0 / pixels as f64))?;
    if !grad.device().is_cpu() {
        return share.unsqueeze(1)?.unsqueeze(1)?.broadcast_as(shape)?.contiguous();
    }
    let values = with_values([&share], |[share]| {
        let image = height * width * channels;
        let write = |out: &mut [MaybeUninit<f32>]| {
            out.par_chunks_exact_mut(image).zip(share.par_chunks_exact(channels)).for_each(|(out, share)| {
                out.chunks_exact_mut(channels).for_each(|out| {
                    out.write_copy_of_slice(share);
                });
            });
        };
        // Safety: every image is written to its end.
        Ok(unsafe { written(batch * image, write) })
    })?;
    Tensor::from_vec(values, shape, grad.device())
}

struct MeanOfPixels;

impl CustomOp1 for MeanOfPixels {
    fn name(&self) -> &'static str {
        "mean-of-pixels"
    }

    fn cpu_fwd(&self, input: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (batch, height, width, channels) = layout.shape().dims4()?;
        let mut means = vec![0.0; batch * channels];
        let images = slice::<f32>(input, layout)?.par_chunks_exact((height * width * channels).max(1));
        means.par_chunks_exact_mut(channels.max(1)).zip(images).for_each(|(means, image)| mean(image, means));
        Ok((CpuStorage::F32(means), Shape::from((batch, channels))))
    }

    fn bwd(&self, input: &Tensor, _output: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        mean_of_pixels_gradient(input.dims(), grad).map(Some)
    }
}

/// The mean of one image; `means` begins with zeros.
fn mean(image: &[f32], means: &mut [f32]) {
    /// Sums of so many pixels are added up before they are added to the others, so that rounding stays small.
    const PIXELS: usize = 64;
    let channels = means.len();
    let mut sums = vec![0.0; channels];
    vectorized(
        #[inline(always)]
        || {
            for block in image.chunks(PIXELS * channels) {
                sums.fill(0.0f32);
                for pixel in block.chunks_exact(channels) {
                    add_line([&mut sums], [pixel], |value| value);
                }
                add_line([&mut *means], [&sums], |sum| sum);
            }
        },
    );
    let share = channels as f32 / image.len() as f32;
    means.iter_mut().for_each(|mean| *mean *= share);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::{assert_close, differences, noise, threads_agree};
    use candle_core::Var;

    #[test]
    fn forward_and_gradient_agree_with_the_definition() -> Result<()> {
        for shape in [[1, 1, 1, 1], [3, 2, 3, 5], [2, 9, 9, 40]] {
            let [batch, height, width, channels] = shape;
            let (input, grad) = (noise(&shape, 1), noise(&[batch, channels], 2));
            let defined = |inputs: &[Vec<f64>]| -> Vec<f64> {
                let image = |index: usize| &inputs[0][index / channels * height * width * channels..];
                let values =
                    |index: usize| (0..height * width).map(move |p| image(index)[p * channels + index % channels]);
                (0..batch * channels).map(|index| values(index).sum::<f64>() / (height * width) as f64).collect()
            };
            let (output, gradients) = differences(&[&input], &grad, defined)?;
            assert_close("output", &mean_of_pixels(&input)?, &output, 1e-6);
            assert_close("gradient", &mean_of_pixels_gradient(&shape, &grad)?, &gradients[0], 1e-6);
            let var = Var::from_tensor(&input)?;
            let grads = (mean_of_pixels(&var)? * &grad)?.sum_all()?.backward()?;
            assert_close("handed on", grads.get(&var).unwrap(), &gradients[0], 1e-6);
        }
        Ok(())
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let input = noise(&[5, 30, 30, 24], 1);
        threads_agree(|| vec![mean_of_pixels(&input).unwrap()]);
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() {
        assert!(mean_of_pixels(&noise(&[2, 3, 3], 1)).is_err());
        let message = mean_of_pixels_gradient(&[2, 3, 3, 4], &noise(&[2, 5], 1)).unwrap_err().to_string();
        assert!(message.contains("[2, 5] does not fit"), "{message}");
    }
}
