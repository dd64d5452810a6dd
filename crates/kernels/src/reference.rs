//! Compares our operations with candle-nn's layers: values, and gradients by candle's autograd, on shapes too large for
//! differences in f64. The definitions stand with each operation.

mod convolution;
mod embedding;
mod losses;
mod lstm;
mod norms;
mod optimizer;
mod pointwise;

use crate::checks::{assert_close, wide};
use candle_core::{Result, Tensor};

/// Value and gradients of a candle-nn layer, given the gradient `grad` of its output.
fn by_candle<const N: usize>(
    inputs: [&Tensor; N],
    grad: &Tensor,
    layer: impl Fn([&Tensor; N]) -> Result<Tensor>,
) -> Result<(Tensor, [Tensor; N])> {
    Ok((layer(inputs)?, crate::elsewhere::gradients(inputs, grad, &layer)?))
}

/// Asserts equal shapes, and values within `tolerance` relative to the greatest value, or to 1 if greater.
fn assert_same(what: &str, ours: &Tensor, theirs: &Tensor, tolerance: f64) {
    assert_eq!(ours.dims(), theirs.dims(), "{what}");
    assert_close(what, ours, &wide(theirs), tolerance);
}
