//! Layers with the parameter names and first values of torch.nn and torchvision.

mod batch_norm;
mod conv;
mod conv_norm;
mod dropout;
mod linear;
mod pixels;
mod transformer;

pub(crate) use batch_norm::BatchNorm;
pub(crate) use conv::Conv;
pub(crate) use conv_norm::{ConvNorm, InvertedResidual, MobileBody, Squeeze};
pub(crate) use dropout::dropout;
pub(crate) use linear::{Bias, Linear};
pub(crate) use pixels::{flatten, gate, mean_of_pixels, pool, reshaped, scale_and_add};
pub(crate) use transformer::{DEVIATION, FeedForward, LayerNorm, TransformerBlock};

use crate::tape::Value;
use assay_kernels::InputGradient;

/// What a forward pass is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Learning: batch statistics are taken and running ones updated, and what is random is drawn for this step.
    Train { seed: u64, step: u64 },
    /// Predicting: the same every time.
    Infer,
}

fn wanted(value: &Value) -> InputGradient {
    if value.place.is_wanted() { InputGradient::Wanted } else { InputGradient::Unwanted }
}
