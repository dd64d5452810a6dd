//! Max pooling whose gradient goes to the maximum alone (candle's divides it by the window and needs the stride to
//! equal the kernel).

use crate::buffer::slice;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

/// The maximum of each `kernel` x `kernel` window at distances of `stride`, the border padded with minus infinity by
/// `padding`: (batch, channels, height, width) f32 to (batch, channels, out height, out width). Of several maxima in a
/// window the first takes the gradient, as in PyTorch.
pub fn max_pool2d(input: &Tensor, kernel: usize, stride: usize, padding: usize) -> Result<Tensor> {
    let (_, _, height, width) = input.dims4()?;
    if stride == 0 || kernel == 0 || padding >= kernel || height + 2 * padding < kernel || width + 2 * padding < kernel
    {
        candle_core::bail!(
            "max_pool2d: kernel {kernel}, stride {stride}, padding {padding} do not fit {height}x{width}"
        );
    }
    let pool = MaxPool { kernel, stride, padding };
    if input.device().is_cpu() {
        return input.contiguous()?.apply_op1(pool);
    }
    match padding {
        0 => input.max_pool2d_with_stride(kernel, stride),
        _ => candle_core::bail!("max_pool2d with padding is not available on this device"),
    }
}

#[derive(Clone, Copy)]
struct MaxPool {
    kernel: usize,
    stride: usize,
    padding: usize,
}

impl MaxPool {
    fn out(&self, size: usize) -> usize {
        (size + 2 * self.padding - self.kernel) / self.stride + 1
    }

    /// The place of the maximum of the window of output (y, x) in one plane.
    fn maximum(&self, plane: &[f32], (height, width): (usize, usize), (y, x): (usize, usize)) -> usize {
        let rows =
            (y * self.stride).saturating_sub(self.padding)..(y * self.stride + self.kernel - self.padding).min(height);
        let (left, right) = (x * self.stride, x * self.stride + self.kernel);
        let columns = left.saturating_sub(self.padding)..(right - self.padding).min(width);
        let mut best = rows.start * width + columns.start;
        for row in rows {
            for place in row * width + columns.start..row * width + columns.end {
                // NaN wins, so that it is seen.
                if plane[place] > plane[best] || plane[place].is_nan() {
                    best = place;
                }
            }
        }
        best
    }
}

impl CustomOp1 for MaxPool {
    fn name(&self) -> &'static str {
        "max-pool2d"
    }

    fn cpu_fwd(&self, input: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (batch, channels, height, width) = layout.shape().dims4()?;
        let input = slice::<f32>(input, layout)?;
        let (out_height, out_width) = (self.out(height), self.out(width));
        let mut output = vec![0.0f32; batch * channels * out_height * out_width];
        output.par_chunks_exact_mut(out_height * out_width).zip(input.par_chunks_exact(height * width)).for_each(
            |(out, plane)| {
                for (place, value) in out.iter_mut().enumerate() {
                    *value = plane[self.maximum(plane, (height, width), (place / out_width, place % out_width))];
                }
            },
        );
        Ok((CpuStorage::F32(output), Shape::from((batch, channels, out_height, out_width))))
    }

    fn bwd(&self, input: &Tensor, output: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (_, _, height, width) = input.dims4()?;
        let (_, _, out_height, out_width) = output.dims4()?;
        let values = input.flatten_all()?.to_vec1::<f32>()?;
        let grad = grad.contiguous()?.flatten_all()?.to_vec1::<f32>()?;
        let mut delta = vec![0.0f32; values.len()];
        let planes = delta.par_chunks_exact_mut(height * width).zip(values.par_chunks_exact(height * width));
        planes.zip(grad.par_chunks_exact(out_height * out_width)).for_each(|((delta, plane), grad)| {
            for (place, grad) in grad.iter().enumerate() {
                delta[self.maximum(plane, (height, width), (place / out_width, place % out_width))] += grad;
            }
        });
        Ok(Some(Tensor::from_vec(delta, input.shape(), input.device())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    #[test]
    fn overlapping_padded_windows_pool_as_in_pytorch() -> Result<()> {
        // torch.nn.functional.max_pool2d(arange(16).view(1,1,4,4), 3, 2, 1) and its gradient for a sum.
        let input = Var::from_vec((0..16).map(|i| i as f32).collect(), (1, 1, 4, 4), &Device::Cpu)?;
        let output = max_pool2d(&input, 3, 2, 1)?;
        assert_eq!(output.flatten_all()?.to_vec1::<f32>()?, [5.0, 7.0, 13.0, 15.0]);
        let grads = output.sum_all()?.backward()?;
        let grad = grads.get(&input).unwrap().flatten_all()?.to_vec1::<f32>()?;
        let hit: Vec<usize> = (0..16).filter(|&place| grad[place] == 1.0).collect();
        assert_eq!(hit, [5, 7, 13, 15]);
        Ok(())
    }

    #[test]
    fn of_equal_maxima_the_first_takes_the_gradient() -> Result<()> {
        let input = Var::zeros((1, 1, 2, 2), candle_core::DType::F32, &Device::Cpu)?;
        let grads = max_pool2d(&input, 2, 2, 0)?.sum_all()?.backward()?;
        assert_eq!(grads.get(&input).unwrap().flatten_all()?.to_vec1::<f32>()?, [1.0, 0.0, 0.0, 0.0]);
        Ok(())
    }

    #[test]
    fn a_window_that_does_not_fit_is_an_error() {
        let input = Tensor::zeros((1, 1, 2, 2), candle_core::DType::F32, &Device::Cpu).unwrap();
        assert!(max_pool2d(&input, 3, 1, 0).is_err());
    }
}
