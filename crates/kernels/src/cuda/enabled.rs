//! The build with CUDA.

mod activation;
mod convolution;
mod descriptors;
mod gpu;
mod images;
mod learning;
mod norm;
mod recording;
#[cfg(test)]
mod tests;
mod transformer;
mod uploads;

pub(crate) use activation::{activate, activate_gradient, gate, gate_gradients};
pub(crate) use convolution::{conv2d, conv2d_gradients};
pub(crate) use gpu::{peak_bytes, prepare};
pub(crate) use images::{max_pool2d, max_pool2d_gradient, mean_of_pixels, mean_of_pixels_gradient};
pub(crate) use learning::{adamw, announce, cross_entropy, cross_entropy_gradient, sgd};
pub(crate) use norm::{add, add_bias, add_bias_gradients, batch_norm, batch_norm_gradients, follow, moments};
pub use recording::{Recording, record, rehearse};
pub(crate) use transformer::{attention, attention_gradient, layer_norm, layer_norm_gradients};
pub use uploads::Uploads;
