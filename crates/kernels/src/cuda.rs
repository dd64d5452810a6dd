//! The operations on an NVIDIA GPU: convolutions through cuDNN, the rest by kernels of our own (`*.cu`).
//!
//! Each function answers none where it has no code for a tensor: on another device, for another type, or in a build
//! without the feature `cuda`; candle's own operations then do the work. Values are f32 or bf16, parameters always f32:
//! what the images are decides in which type is computed, and sums are f32 in either.

#[cfg(not(feature = "cuda"))]
mod disabled;
#[cfg(feature = "cuda")]
mod enabled;

#[cfg(not(feature = "cuda"))]
pub(crate) use disabled::*;
#[cfg(not(feature = "cuda"))]
pub use disabled::{Recording, Uploads, record, rehearse};
#[cfg(feature = "cuda")]
pub(crate) use enabled::*;
#[cfg(feature = "cuda")]
pub use enabled::{Recording, Uploads, record, rehearse};

use candle_core::{Device, Result};

/// Makes a device fit for training; a GPU keeps the memory that was freed. It must have been opened with one
/// stream for all that is computed.
///
/// # Errors
/// When the device does not answer.
pub fn prepare_device(device: &Device) -> Result<()> {
    prepare(device).map(|_| ())
}

/// The most bytes of tensors and of memory for algorithms that a GPU has held at once; none on other devices.
///
/// # Errors
/// When the device does not answer.
pub fn peak_device_bytes(device: &Device) -> Result<Option<u64>> {
    peak_bytes(device)
}
