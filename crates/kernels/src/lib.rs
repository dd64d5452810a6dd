//! Tensor operations that candle lacks or does not do right or quickly enough, as candle operations with their own
//! backward.
//!
//! Images are (batch, height, width, channels) f32, since what lies at one pixel is used together. It knows tensors, not
//! models: no parameter names, no data loading, no training loop. On the CPU each operation runs on all rayon threads,
//! with the vectors that the processor has, and gives the same bits whatever the number of threads; on another device
//! the same figures come from candle's own operations. Start with [`conv2d`], [`batch_norm`] and [`AdamW`].

mod batch_norm;
mod bias;
mod buffer;
mod channels;
mod conv2d;
mod cross_entropy;
mod linear;
mod optimizer;
mod pool;
mod tile;

pub use batch_norm::{Activation, Moments, MomentsOf, batch_norm, moments};
pub use bias::add_bias;
pub use conv2d::{Conv2dOptions, conv2d};
pub use cross_entropy::cross_entropy;
pub use linear::linear;
pub use optimizer::{AdamW, Sgd};
pub use pool::max_pool2d;
