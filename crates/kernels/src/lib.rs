//! Tensor operations that candle lacks or does not do right or quickly enough, as candle operations with their own
//! backward, and beside each its gradients as a function, for whoever keeps the order of the backward pass.
//!
//! Images are (batch, height, width, channels) f32, since what lies at one pixel is used together. It knows tensors, not
//! models: no parameter names, no data loading, no training loop. On the CPU each operation runs on all rayon threads,
//! with the vectors that the processor has, and gives the same bits whatever the number of threads; on another device
//! the same figures come from candle-nn, against which all of them are tested (`reference.rs`). Start with [`conv2d`],
//! [`batch_norm`] and [`AdamW`].

mod activation;
mod attention;
mod average;
mod batch_norm;
mod bias;
mod buffer;
mod channels;
#[cfg(test)]
mod checks;
mod clip;
mod conv2d;
mod cross_entropy;
mod cuda;
mod elsewhere;
mod embedding;
mod exponential;
mod gate;
mod gelu;
mod layer_norm;
mod linear;
mod lines;
mod lstm;
mod memory;
mod optimizer;
mod panels;
mod pool;
mod quantized;
#[cfg(test)]
mod reference;
mod sum;
mod tile;
mod transpose;

pub use activation::{Activation, activate, activate_gradient};
pub use attention::{attention, attention_gradient};
pub use average::{mean_of_pixels, mean_of_pixels_gradient};
pub use batch_norm::{
    BatchNormGradients, BatchNormInputs, Moments, MomentsOf, batch_norm, batch_norm_gradients, moments,
};
pub use bias::{add_bias, add_bias_gradients};
pub use clip::{clip_norm, follow};
pub use conv2d::{Conv2dOptions, InputGradient, PreparedConv2d, conv2d, conv2d_gradients};
pub use cross_entropy::{cross_entropy, cross_entropy_gradient};
pub use cuda::{Recording, Uploads, peak_device_bytes, prepare_device, record, rehearse};
pub use embedding::{embedding, embedding_gradient};
pub use gate::{GateKind, gate, gate_gradients};
pub use gelu::{add_bias_gelu, add_bias_gelu_gradients};
pub use layer_norm::{layer_norm, layer_norm_gradients};
pub use linear::{linear, linear_gradients};
pub use lstm::{LstmStates, lstm, lstm_gradients};
pub use memory::KeptMemory;
pub use optimizer::{AdamW, Numbers, Part, Sgd};
pub use pool::{max_pool2d, max_pool2d_gradient};
pub use quantized::QuantizedConv2d;
pub use sum::add;
pub use transpose::{channels_first, channels_last};
