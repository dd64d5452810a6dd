//! Tensor operations that candle lacks or does not do right or quickly enough, as candle operations with their own
//! backward.
//!
//! It knows tensors, not models: no parameter names, no data loading, no training loop. On the CPU each operation is
//! one pass over the data on all rayon threads; on another device the same figures come from candle's own operations.
//! Start with [`cross_entropy`], [`max_pool2d`] and [`AdamW`].

mod batch_norm;
mod bias;
mod buffer;
mod channels;
mod conv2d;
mod cross_entropy;
mod optimizer;
mod pool;
mod tile;

pub use batch_norm::{Activation, Moments, MomentsOf, batch_norm, moments};
pub use bias::add_bias;
pub use conv2d::{Conv2dOptions, conv2d};
pub use cross_entropy::cross_entropy;
pub use optimizer::{AdamW, Sgd};
pub use pool::max_pool2d;
