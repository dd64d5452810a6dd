//! Sums of tensors on all threads.

use crate::buffer::{with_values, written};
use crate::cuda;
use crate::lines::{map_line, vectorized};
use candle_core::{Result, Tensor, bail};
use rayon::prelude::*;

/// Values that a thread takes at once.
const STRIPE: usize = 64 * 1024;

/// `a + b`, both f32 of one shape.
///
/// # Errors
/// When the shapes differ.
pub fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if a.dims() != b.dims() {
        bail!("add: {:?} and {:?} differ", a.dims(), b.dims());
    }
    if !a.device().is_cpu() {
        return cuda::add(a, b)?.map_or_else(|| a + b, Ok);
    }
    let sum = with_values([a, b], |[a, b]| {
        let write = |out: &mut [std::mem::MaybeUninit<f32>]| {
            out.par_chunks_mut(STRIPE).zip(a.par_chunks(STRIPE).zip(b.par_chunks(STRIPE))).for_each(|(out, (a, b))| {
                vectorized(
                    #[inline(always)]
                    || map_line(out, [a, b], |[a, b]| a + b),
                );
            });
        };
        // Safety: every chunk is written to its end.
        Ok(unsafe { written(a.len(), write) })
    })?;
    Tensor::from_vec(sum, a.shape(), a.device())
}
