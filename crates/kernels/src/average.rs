//! Means over the pixels of images.

use crate::cuda;
use candle_core::{Result, Tensor};

/// The mean over all pixels: (batch, height, width, channels) to (batch, channels).
///
/// # Errors
/// When it has another number of dimensions.
pub fn mean_of_pixels(input: &Tensor) -> Result<Tensor> {
    input.dims4()?;
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
    if let Some(of_input) = cuda::mean_of_pixels_gradient(grad, shape)? {
        return Ok(of_input);
    }
    let share = (grad * (1.0 / (shape[1] * shape[2]) as f64))?.unsqueeze(1)?.unsqueeze(1)?;
    share.broadcast_as(shape)?.contiguous()
}
