//! The values of tensors as slices, and new ones without a first pass of zeros.

use candle_core::{CpuStorage, DType, Layout, Result, Storage, Tensor, WithDType, bail};
use rayon::prelude::*;
use std::mem::MaybeUninit;
use std::sync::{Mutex, PoisonError};

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

/// Adds all parts of `length` values to the first, in order.
pub(crate) fn add_parts(parts: &mut [f32], length: usize) {
    const STRIPE: usize = 16 * 1024;
    let (first, rest) = parts.split_at_mut(length);
    first.par_chunks_mut(STRIPE).enumerate().for_each(|(index, values)| {
        for part in rest.chunks_exact(length) {
            let others = &part[index * STRIPE..][..values.len()];
            values.iter_mut().zip(others).for_each(|(value, other)| *value += other);
        }
    });
}

/// Memory that operations used and that waits for the next ones.
static SPARE: Mutex<Vec<Vec<f32>>> = Mutex::new(Vec::new());
/// How many pieces of memory wait at most, and how many values they have together.
const SPARE_PIECES: usize = 32;
const SPARE_VALUES: usize = 256 << 20;

/// Memory for the inside of an operation. It is not given back to the system in between, since getting it again takes
/// longer than many operations do.
pub(crate) struct Scratch(Vec<f32>);

impl Scratch {
    /// Room for so many values, whatever is in it.
    pub(crate) fn new(length: usize) -> Scratch {
        let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
        // The smallest that is large enough, but none that would be mostly idle.
        let fitting = spare.iter().enumerate().filter(|(_, piece)| (length..=4 * length).contains(&piece.capacity()));
        let found = fitting.min_by_key(|(_, piece)| piece.capacity()).map(|(index, _)| index);
        let piece = found.map(|index| spare.swap_remove(index));
        drop(spare);
        Scratch(piece.unwrap_or_else(|| Vec::with_capacity(length)))
    }

    /// Where it begins.
    pub(crate) fn as_ptr(&self) -> *const f32 {
        self.0.as_ptr()
    }

    /// Where it begins; as many values as were asked for may be written, and read once they were.
    pub(crate) fn as_mut_ptr(&mut self) -> *mut f32 {
        self.0.as_mut_ptr()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
        spare.push(std::mem::take(&mut self.0));
        while spare.len() > SPARE_PIECES || spare.iter().map(Vec::capacity).sum::<usize>() > SPARE_VALUES {
            spare.remove(0);
        }
    }
}

/// Gives back the memory that waits for operations.
pub(crate) fn release_scratch() {
    SPARE.lock().unwrap_or_else(PoisonError::into_inner).clear();
}
