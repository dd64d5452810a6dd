//! Layers with the parameter names and first values of torch.nn and torchvision.

mod batch_norm;
mod conv;
mod linear;
mod pixels;
mod transformer;

pub(crate) use batch_norm::BatchNorm;
pub(crate) use conv::Conv;
pub(crate) use linear::{Bias, Linear};
pub(crate) use pixels::{flatten, mean_of_pixels, pool};
pub(crate) use transformer::{LayerNorm, TransformerBlock};

use crate::tape::Value;
use assay_kernels::InputGradient;

/// Whether batch statistics are taken and running ones updated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Train,
    Infer,
}

fn wanted(value: &Value) -> InputGradient {
    if value.place.is_wanted() { InputGradient::Wanted } else { InputGradient::Unwanted }
}
