//! Layers without parameters: pooling and flattening.

use crate::Result;
use crate::tape::{Tape, Value};
use assay_kernels::{
    self as kernels, Activation, BatchNormInputs, GateKind, Moments, MomentsOf, activate_gradient, batch_norm,
    batch_norm_gradients, channels_first, channels_last, gate_gradients, max_pool2d, max_pool2d_gradient,
};
use candle_core::Var;

/// The maximum of each window of (kernel, stride, padding).
pub(crate) fn pool(tape: &mut Tape, input: &Value, sizes: (usize, usize, usize)) -> Result<Value> {
    tape.enter("maxpool", "maximum");
    let output = max_pool2d(&input.tensor, sizes.0, sizes.1, sizes.2)?;
    let (seen, kept) = (input.clone(), output.clone());
    tape.push(output, move |grad, gradients| {
        gradients.add(seen.place, max_pool2d_gradient((&seen.tensor, &kept), sizes, &grad)?)
    })
}

/// The mean over all pixels: (batch, height, width, channels) to (batch, channels).
pub(crate) fn mean_of_pixels(tape: &mut Tape, input: &Value) -> Result<Value> {
    tape.enter("avgpool", "mean");
    let (place, shape) = (input.place, input.tensor.dims().to_vec());
    tape.push(kernels::mean_of_pixels(&input.tensor)?, move |grad, gradients| {
        gradients.add(place, kernels::mean_of_pixels_gradient(&shape, &grad)?)
    })
}

/// Images, each channel of each times the share that its logit, (batch, channels), becomes.
pub(crate) fn gate(tape: &mut Tape, layer: &str, input: &Value, logits: &Value, kind: GateKind) -> Result<Value> {
    tape.enter(layer, "gate");
    let (seen, decided) = (input.clone(), logits.clone());
    tape.push(kernels::gate(&input.tensor, &logits.tensor, kind)?, move |grad, gradients| {
        let (of_input, of_logits) = gate_gradients(&seen.tensor, &decided.tensor, kind, &grad)?;
        gradients.add(decided.place, of_logits)?;
        gradients.add(seen.place, of_input)
    })
}

/// Each value through an activation that does not cut.
pub(super) fn activate(tape: &mut Tape, layer: &str, input: &Value, activation: Activation) -> Result<Value> {
    tape.enter(layer, "activation");
    let seen = input.clone();
    tape.push(kernels::activate(&input.tensor, activation)?, move |grad, gradients| {
        gradients.add(seen.place, activate_gradient(&seen.tensor, activation, &grad)?)
    })
}

/// `input` and each channel of `x` times its factor: a normalisation whose moments change nothing.
pub(crate) fn scale_and_add(tape: &mut Tape, layer: &str, factors: &Var, x: &Value, input: &Value) -> Result<Value> {
    tape.enter(layer, "scale");
    let weight = factors.as_tensor().detach();
    let zeros = weight.zeros_like()?;
    let of = BatchNormInputs {
        input: x.tensor.clone(),
        moments: (Moments { mean: zeros.clone(), variance: weight.ones_like()? }, MomentsOf::Running),
        weight,
        bias: zeros,
        residual: Some(input.tensor.clone()),
        activation: Activation::None,
        epsilon: 0.0,
    };
    let output = batch_norm(&of)?;
    let (factors, kept, of_x, of_input) = (factors.clone(), output.clone(), x.place, input.place);
    tape.push(output, move |grad, gradients| {
        let found = batch_norm_gradients(&of, &kept, &grad)?;
        gradients.add_to(&factors, found.weight)?;
        gradients.add(of_x, found.input)?;
        gradients.add(of_input, grad)
    })
}

/// The same values in another shape.
pub(crate) fn reshaped(tape: &mut Tape, input: &Value, shape: &[usize]) -> Result<Value> {
    tape.enter("reshape", "reshape");
    let (place, before) = (input.place, input.tensor.dims().to_vec());
    tape.push(input.tensor.reshape(shape)?, move |grad, gradients| gradients.add(place, grad.reshape(before)?))
}

/// All values of each image in one row, channel by channel as in PyTorch.
pub(crate) fn flatten(tape: &mut Tape, input: &Value) -> Result<Value> {
    tape.enter("flatten", "reshape");
    let (batch, height, width, channels) = input.tensor.dims4()?;
    let place = input.place;
    tape.push(channels_first(&input.tensor)?.flatten_from(1)?, move |grad, gradients| {
        gradients.add(place, channels_last(&grad.reshape((batch, channels, height, width))?)?)
    })
}
