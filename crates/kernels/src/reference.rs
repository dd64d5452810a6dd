//! Our operations beside the layers of candle-nn, over shapes that are too great for differences in f64: values, and the
//! gradients that candle finds by itself. The definitions stand with each operation.

mod convolution;
mod embedding;
mod losses;
mod lstm;
mod norms;
mod optimizer;
mod pointwise;

use crate::checks::{assert_close, wide};
use candle_core::{Result, Tensor};

/// The value and the gradients of a layer of candle-nn for the gradient `grad` of its output.
fn by_candle<const N: usize>(
    inputs: [&Tensor; N],
    grad: &Tensor,
    layer: impl Fn([&Tensor; N]) -> Result<Tensor>,
) -> Result<(Tensor, [Tensor; N])> {
    Ok((layer(inputs)?, crate::elsewhere::gradients(inputs, grad, &layer)?))
}

/// Both have one shape, and ours is theirs within a share of the greatest value, or of 1 if that is greater.
fn assert_same(what: &str, ours: &Tensor, theirs: &Tensor, tolerance: f64) {
    assert_eq!(ours.dims(), theirs.dims(), "{what}");
    assert_close(what, ours, &wide(theirs), tolerance);
}
