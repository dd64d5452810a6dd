//! Tensor operations that candle lacks or does not do right or quickly enough, as candle operations with their own
//! backward.
//!
//! It knows tensors, not models: no parameter names, no data loading, no training loop. On the CPU each operation is
//! one pass over the data on all rayon threads; on another device the same figures come from candle's own operations.
//! Start with [`cross_entropy`], [`max_pool2d`] and [`AdamW`].

mod cross_entropy;
mod optimizer;
mod pool;

pub use cross_entropy::cross_entropy;
pub use optimizer::{AdamW, Sgd};
pub use pool::max_pool2d;
