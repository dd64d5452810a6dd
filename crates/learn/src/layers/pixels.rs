//! Layers without parameters: pooling and flattening.

use crate::Result;
use crate::tape::{Tape, Value};
use assay_kernels::{self as kernels, channels_first, channels_last, max_pool2d, max_pool2d_gradient};

/// The maximum of each window of (kernel, stride, padding).
pub(crate) fn pool(tape: &mut Tape, input: &Value, sizes: (usize, usize, usize)) -> Result<Value> {
    let output = max_pool2d(&input.tensor, sizes.0, sizes.1, sizes.2)?;
    let (seen, kept) = (input.clone(), output.clone());
    Ok(tape.push(output, move |grad, gradients| {
        gradients.add(seen.place, max_pool2d_gradient((&seen.tensor, &kept), sizes, &grad)?)
    }))
}

/// The mean over all pixels: (batch, height, width, channels) to (batch, channels).
pub(crate) fn mean_of_pixels(tape: &mut Tape, input: &Value) -> Result<Value> {
    let (place, shape) = (input.place, input.tensor.dims().to_vec());
    Ok(tape.push(kernels::mean_of_pixels(&input.tensor)?, move |grad, gradients| {
        gradients.add(place, kernels::mean_of_pixels_gradient(&shape, &grad)?)
    }))
}

/// All values of each image in one row, channel by channel as in PyTorch.
pub(crate) fn flatten(tape: &mut Tape, input: &Value) -> Result<Value> {
    let (batch, height, width, channels) = input.tensor.dims4()?;
    let place = input.place;
    Ok(tape.push(channels_first(&input.tensor)?.flatten_from(1)?, move |grad, gradients| {
        gradients.add(place, channels_last(&grad.reshape((batch, channels, height, width))?)?)
    }))
}
