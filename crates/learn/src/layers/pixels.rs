//! Layers without parameters: pooling and flattening.

use crate::Result;
use crate::tape::{Tape, Value};
use assay_kernels::{
    self as kernels, activate_hard_swish, channels_first, channels_last, gate_gradients, hard_swish_gradient,
    max_pool2d, max_pool2d_gradient,
};

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

/// Images, each channel of each times the hard sigmoid of its logit, (batch, channels).
pub(crate) fn gate(tape: &mut Tape, input: &Value, logits: &Value) -> Result<Value> {
    let (seen, decided) = (input.clone(), logits.clone());
    Ok(tape.push(kernels::gate(&input.tensor, &logits.tensor)?, move |grad, gradients| {
        let (of_input, of_logits) = gate_gradients(&seen.tensor, &decided.tensor, &grad)?;
        gradients.add(decided.place, of_logits)?;
        gradients.add(seen.place, of_input)
    }))
}

/// Each value through the hard swish.
pub(crate) fn hard_swish(tape: &mut Tape, input: &Value) -> Result<Value> {
    let seen = input.clone();
    Ok(tape.push(activate_hard_swish(&input.tensor)?, move |grad, gradients| {
        gradients.add(seen.place, hard_swish_gradient(&seen.tensor, &grad)?)
    }))
}

/// The same values in another shape.
pub(crate) fn reshaped(tape: &mut Tape, input: &Value, shape: &[usize]) -> Result<Value> {
    let (place, before) = (input.place, input.tensor.dims().to_vec());
    Ok(tape.push(input.tensor.reshape(shape)?, move |grad, gradients| gradients.add(place, grad.reshape(before)?)))
}

/// All values of each image in one row, channel by channel as in PyTorch.
pub(crate) fn flatten(tape: &mut Tape, input: &Value) -> Result<Value> {
    let (batch, height, width, channels) = input.tensor.dims4()?;
    let place = input.place;
    Ok(tape.push(channels_first(&input.tensor)?.flatten_from(1)?, move |grad, gradients| {
        gradients.add(place, channels_last(&grad.reshape((batch, channels, height, width))?)?)
    }))
}
