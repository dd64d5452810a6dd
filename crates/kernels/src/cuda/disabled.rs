//! The build without CUDA: no tensor is on a GPU.

use crate::activation::Activation;
use crate::attention::Sizes;
use crate::batch_norm::{BatchNormGradients, BatchNormInputs, Moments};
use crate::conv2d::{Geometry, InputGradient};
use crate::gate::GateKind;
use crate::optimizer::Part;
use candle_core::{Device, Result, Tensor};

/// Declares operations that are never there.
macro_rules! absent {
    ($($name:ident($($type:ty),*) -> $output:ty;)*) => {
        $(pub(crate) fn $name($(_: $type),*) -> Result<Option<$output>> { Ok(None) })*
    };
}

absent! {
    prepare(&Device) -> ();
    peak_bytes(&Device) -> u64;
    conv2d(&Tensor, &Tensor, &Geometry) -> Tensor;
    conv2d_gradients(&Tensor, &Tensor, &Geometry, &Tensor, InputGradient) -> (Option<Tensor>, Tensor);
    moments(&Tensor) -> Moments;
    follow(&Moments, &Tensor, &Tensor, f64, f64) -> ();
    batch_norm(&BatchNormInputs) -> Tensor;
    batch_norm_gradients(&BatchNormInputs, &Tensor, &Tensor) -> BatchNormGradients;
    add(&Tensor, &Tensor) -> Tensor;
    add_bias(&Tensor, &Tensor, Activation) -> Tensor;
    add_bias_gradients(&Tensor, &Tensor, Activation) -> (Tensor, Tensor);
    max_pool2d(&Tensor, (usize, usize, usize)) -> Tensor;
    max_pool2d_gradient((&Tensor, &Tensor), (usize, usize, usize), &Tensor) -> Tensor;
    mean_of_pixels(&Tensor) -> Tensor;
    mean_of_pixels_gradient(&Tensor, &[usize]) -> Tensor;
    layer_norm(&Tensor, &Tensor, &Tensor, f64) -> Tensor;
    layer_norm_gradients(&Tensor, &Tensor, f64, &Tensor) -> (Tensor, Tensor, Tensor);
    activate(&Tensor, Option<&Tensor>, Activation) -> Tensor;
    activate_gradient(&Tensor, Option<&Tensor>, Activation, &Tensor) -> Tensor;
    gate(&Tensor, &Tensor, GateKind) -> Tensor;
    gate_gradients(&Tensor, &Tensor, GateKind, &Tensor) -> (Tensor, Tensor);
    attention(&Tensor, &Sizes) -> Tensor;
    attention_gradient(&Tensor, &Sizes, &Tensor) -> Tensor;
    cross_entropy(&Tensor, &Tensor, f32) -> Tensor;
    cross_entropy_gradient(&Tensor, &Tensor, f32, &Tensor) -> Tensor;
    adamw(&[Part<'_>], &Tensor) -> ();
    sgd(&[Part<'_>], &Tensor) -> ();
}

pub(crate) fn announce(_: &Tensor, _: &[f32]) -> Result<()> {
    Ok(())
}

/// Work on a GPU that can be done again; there is none.
pub enum Recording {}

impl Recording {
    /// Does the work once more.
    ///
    /// # Errors
    /// Never.
    pub fn replay(&self) -> Result<()> {
        match *self {}
    }
}

/// Runs `act`.
pub fn rehearse<R>(_: &Device, act: impl FnOnce() -> R) -> R {
    act()
}

/// Records nothing: there is no GPU, and `act` does not run.
///
/// # Errors
/// Never.
pub fn record(_: &Device, _: impl FnOnce() -> Result<()>) -> Result<Option<Recording>> {
    Ok(None)
}

/// Brings values to a device.
#[derive(Clone)]
pub struct Uploads(Device);

impl Uploads {
    /// For the values of one device.
    pub fn to(device: &Device) -> Uploads {
        Uploads(device.clone())
    }

    /// Where the values go.
    pub fn device(&self) -> &Device {
        &self.0
    }

    /// The values as a tensor of this shape on the device.
    ///
    /// # Errors
    /// When the shape has not as many values.
    pub fn upload(&self, values: Vec<f32>, shape: &[usize]) -> Result<Tensor> {
        Tensor::from_vec(values, shape, &self.0)
    }
}
