//! The values of tensors as slices, and new ones without a first pass of zeros.

use candle_core::{CpuStorage, DType, Layout, Result, Storage, Tensor, WithDType, bail};
use std::mem::MaybeUninit;

/// The elements of a contiguous CPU tensor.
pub(crate) fn slice<'a, T: WithDType>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [T]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<T>()?[start..end]),
        None => bail!("the operation needs a contiguous {:?} tensor", T::DTYPE as DType),
    }
}

/// Reads the f32 values of CPU tensors, each in order; a tensor is copied only where it is not contiguous.
pub(crate) fn with_values<const N: usize, R>(
    tensors: [&Tensor; N],
    read: impl FnOnce([&[f32]; N]) -> Result<R>,
) -> Result<R> {
    let tensors = tensors.iter().map(|tensor| tensor.contiguous()).collect::<Result<Vec<_>>>()?;
    let guards: Vec<_> = tensors.iter().map(Tensor::storage_and_layout).collect();
    let mut values = [&[] as &[f32]; N];
    for (values, (storage, layout)) in values.iter_mut().zip(&guards) {
        *values = match &**storage {
            Storage::Cpu(storage) => slice(storage, layout)?,
            _ => bail!("the operation needs tensors of the CPU"),
        };
    }
    read(values)
}

/// A vector of so many values.
///
/// # Safety
/// `write` must write every one of them.
pub(crate) unsafe fn written(length: usize, write: impl FnOnce(&mut [MaybeUninit<f32>])) -> Vec<f32> {
    let mut values = Vec::with_capacity(length);
    write(&mut values.spare_capacity_mut()[..length]);
    // Safety: the caller says so.
    unsafe { values.set_len(length) };
    values
}
