//! Max pooling whose gradient goes to the maximum alone (candle's divides it by the window and needs the stride to
//! equal the kernel).

use crate::buffer::{slice, with_values, written};
use crate::cuda;
use crate::lines::{change_line, vectorized};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;
use std::ops::Range;

/// The maximum of each `kernel` x `kernel` window at distances of `stride`, the border padded with minus infinity by
/// `padding`: (batch, height, width, channels) f32 to (batch, out height, out width, channels). Of several maxima in a
/// window the first takes the gradient, as in PyTorch; a NaN is a maximum, so that it is seen.
///
/// # Errors
/// When the window does not fit.
pub fn max_pool2d(input: &Tensor, kernel: usize, stride: usize, padding: usize) -> Result<Tensor> {
    let (_, height, width, _) = input.dims4()?;
    if stride == 0 || kernel == 0 || padding >= kernel || height + 2 * padding < kernel || width + 2 * padding < kernel
    {
        bail!("max_pool2d: kernel {kernel}, stride {stride}, padding {padding} do not fit {height}x{width}");
    }
    if input.device().is_cpu() {
        return input.contiguous()?.apply_op1(MaxPool { kernel, stride, padding });
    }
    if let Some(output) = cuda::max_pool2d(input, (kernel, stride, padding))? {
        return Ok(output);
    }
    match padding {
        0 => input.permute((0, 3, 1, 2))?.max_pool2d_with_stride(kernel, stride)?.permute((0, 2, 3, 1))?.contiguous(),
        _ => bail!("max_pool2d with padding is not available on this device"),
    }
}

struct MaxPool {
    kernel: usize,
    stride: usize,
    padding: usize,
}

/// The sizes of one image.
struct Sizes {
    input: (usize, usize),
    output: (usize, usize),
    channels: usize,
}

impl Sizes {
    fn input_len(&self) -> usize {
        self.input.0 * self.input.1 * self.channels
    }

    fn output_len(&self) -> usize {
        self.output.0 * self.output.1 * self.channels
    }
}

impl MaxPool {
    fn sizes(&self, input: &Shape) -> Result<(usize, Sizes)> {
        let (batch, height, width, channels) = input.dims4()?;
        let out = |size: usize| (size + 2 * self.padding - self.kernel) / self.stride + 1;
        Ok((batch, Sizes { input: (height, width), output: (out(height), out(width)), channels }))
    }

    /// Where the pixels of each output's window begin in the image, window by window.
    fn windows<'a>(&'a self, sizes: &'a Sizes) -> impl Iterator<Item = impl Iterator<Item = usize> + Clone> + 'a {
        let range = |at: usize, size: usize| -> Range<usize> {
            let begin = at * self.stride;
            begin.saturating_sub(self.padding)..(begin + self.kernel - self.padding).min(size)
        };
        (0..sizes.output.0).flat_map(move |y| {
            (0..sizes.output.1).map(move |x| {
                let columns = range(x, sizes.input.1);
                range(y, sizes.input.0).flat_map(move |row| {
                    columns.clone().map(move |column| (row * sizes.input.1 + column) * sizes.channels)
                })
            })
        })
    }
}

impl CustomOp1 for MaxPool {
    fn name(&self) -> &'static str {
        "max-pool2d"
    }

    fn cpu_fwd(&self, input: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (batch, sizes) = self.sizes(layout.shape())?;
        let input = slice::<f32>(input, layout)?;
        let write = |out: &mut [std::mem::MaybeUninit<f32>]| {
            let images = out.par_chunks_exact_mut(sizes.output_len()).zip(input.par_chunks_exact(sizes.input_len()));
            images.for_each(|(out, image)| {
                vectorized(
                    #[inline(always)]
                    || {
                        for (out, window) in out.chunks_exact_mut(sizes.channels).zip(self.windows(&sizes)) {
                            let mut greatest = vec![f32::NEG_INFINITY; sizes.channels];
                            for pixel in window {
                                let pixel = &image[pixel..pixel + sizes.channels];
                                change_line([&mut greatest], [pixel], |[greatest], [value]| {
                                    [if greatest >= value || greatest.is_nan() { greatest } else { value }]
                                });
                            }
                            out.iter_mut().zip(greatest).for_each(|(out, greatest)| _ = out.write(greatest));
                        }
                    },
                );
            });
        };
        // Safety: the windows of an image are as many as its outputs.
        let output = unsafe { written(batch * sizes.output_len(), write) };
        Ok((CpuStorage::F32(output), Shape::from((batch, sizes.output.0, sizes.output.1, sizes.channels))))
    }

    fn bwd(&self, input: &Tensor, output: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        self.gradient(input, output, grad).map(Some)
    }
}

/// The gradient of the input of [`max_pool2d`], called with these sizes, for the gradient `grad` of its `output`.
///
/// # Errors
/// When the shapes do not fit together.
pub fn max_pool2d_gradient(
    (input, output): (&Tensor, &Tensor),
    (kernel, stride, padding): (usize, usize, usize),
    grad: &Tensor,
) -> Result<Tensor> {
    if !input.device().is_cpu() {
        if let Some(of_input) = cuda::max_pool2d_gradient((input, output), (kernel, stride, padding), grad)? {
            return Ok(of_input);
        }
        let [of_input] =
            crate::elsewhere::gradients([input], grad, |[input]| max_pool2d(input, kernel, stride, padding))?;
        return Ok(of_input);
    }
    MaxPool { kernel, stride, padding }.gradient(input, output, grad)
}

impl MaxPool {
    fn gradient(&self, input: &Tensor, output: &Tensor, grad: &Tensor) -> Result<Tensor> {
        let (_, sizes) = self.sizes(input.shape())?;
        let delta = with_values([input, output, grad], |[values, output, grad]| {
            let mut delta = vec![0.0f32; values.len()];
            let images = delta.par_chunks_exact_mut(sizes.input_len()).zip(values.par_chunks_exact(sizes.input_len()));
            let outs = output.par_chunks_exact(sizes.output_len()).zip(grad.par_chunks_exact(sizes.output_len()));
            images.zip(outs).for_each(|((delta, image), (output, grad))| {
                vectorized(
                    #[inline(always)]
                    || {
                        let outs = output.chunks_exact(sizes.channels).zip(grad.chunks_exact(sizes.channels));
                        let mut left = vec![0.0f32; sizes.channels];
                        for ((output, grad), window) in outs.zip(self.windows(&sizes)) {
                            left.copy_from_slice(grad);
                            for pixel in window {
                                let range = pixel..pixel + sizes.channels;
                                change_line(
                                    [&mut delta[range.clone()], &mut left],
                                    [&image[range], output],
                                    |[delta, left], [value, output]| {
                                        let here = value == output || value.is_nan();
                                        if here { [delta + left, 0.0] } else { [delta, left] }
                                    },
                                );
                            }
                        }
                    },
                );
            });
            Ok(delta)
        })?;
        Tensor::from_vec(delta, input.shape(), input.device())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    #[test]
    fn overlapping_padded_windows_pool_as_in_pytorch() -> Result<()> {
        // torch.nn.functional.max_pool2d(arange(16).view(1,1,4,4), 3, 2, 1) and its gradient for a sum; the second
        // channel is the first, upside down.
        let values = (0..16).flat_map(|i| [i as f32, -(i as f32)]).collect();
        let input = Var::from_vec(values, (1, 4, 4, 2), &Device::Cpu)?;
        let output = max_pool2d(&input, 3, 2, 1)?;
        assert_eq!(output.flatten_all()?.to_vec1::<f32>()?, [5.0, 0.0, 7.0, -1.0, 13.0, -4.0, 15.0, -5.0]);
        let grads = output.sum_all()?.backward()?;
        let grad = grads.get(&input).unwrap().flatten_all()?.to_vec1::<f32>()?;
        let hit = |channel: usize| (0..16).filter(|place| grad[place * 2 + channel] == 1.0).collect::<Vec<_>>();
        assert_eq!((hit(0), hit(1)), (vec![5, 7, 13, 15], vec![0, 1, 4, 5]));
        Ok(())
    }

    #[test]
    fn of_equal_maxima_the_first_takes_the_gradient() -> Result<()> {
        let input = Var::zeros((1, 2, 2, 1), candle_core::DType::F32, &Device::Cpu)?;
        let grads = max_pool2d(&input, 2, 2, 0)?.sum_all()?.backward()?;
        assert_eq!(grads.get(&input).unwrap().flatten_all()?.to_vec1::<f32>()?, [1.0, 0.0, 0.0, 0.0]);
        Ok(())
    }

    #[test]
    fn a_nan_is_seen() -> Result<()> {
        let input = Tensor::from_slice(&[1.0f32, f32::NAN, 2.0, 3.0], (1, 2, 2, 1), &Device::Cpu)?;
        assert!(max_pool2d(&input, 2, 2, 0)?.flatten_all()?.to_vec1::<f32>()?[0].is_nan());
        Ok(())
    }

    #[test]
    fn a_window_that_does_not_fit_is_an_error() {
        let input = Tensor::zeros((1, 2, 2, 1), candle_core::DType::F32, &Device::Cpu).unwrap();
        assert!(max_pool2d(&input, 3, 1, 0).is_err());
    }
}
