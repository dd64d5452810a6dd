//! Bringing batches to a GPU while it computes.

use super::gpu::cuda;
use candle_core::cuda_backend::cudarc::driver::{CudaEvent, CudaSlice, CudaStream, DriverError, PinnedHostSlice};
use candle_core::cuda_backend::{CudaStorage, CudaStorageSlice};
use candle_core::op::BackpropOp;
use candle_core::{Device, Result, Storage, Tensor, bail};
use rayon::prelude::*;
use std::sync::Arc;

/// As many values as a thread copies at a time.
const PIECE: usize = 256 * 1024;

/// Brings values to a device. To a GPU they go by a stream of their own, out of page-locked memory, so that
/// neither the caller nor what the GPU computes waits for them. Whoever uploads faster than the GPU computes is
/// held back after a few batches.
pub struct Uploads {
    device: Device,
    ring: Option<Ring>,
}

impl Uploads {
    /// For the values of one device.
    pub fn to(device: &Device) -> Uploads {
        Uploads { device: device.clone(), ring: None }
    }

    /// The values as a tensor of this shape on the device.
    ///
    /// # Errors
    /// When the shape has not as many values, or the device has no room or does not answer.
    pub fn upload(&mut self, values: Vec<f32>, shape: &[usize]) -> Result<Tensor> {
        let Device::Cuda(device) = &self.device else { return Tensor::from_vec(values, shape, &self.device) };
        if values.is_empty() || values.len() != shape.iter().product() {
            bail!("{} values are no tensor of {shape:?}", values.len());
        }
        let ring = match &mut self.ring {
            Some(ring) => ring,
            none => none.insert(Ring::beside(device.cuda_stream()).map_err(cuda)?),
        };
        let slice = CudaStorageSlice::F32(ring.bring(&values).map_err(cuda)?);
        let storage = Storage::Cuda(CudaStorage { slice, device: device.clone() });
        Ok(Tensor::from_storage(storage, shape, BackpropOp::none(), false))
    }
}

/// Two buffers by turns: one is filled while the GPU still reads the other.
struct Ring {
    computing: Arc<CudaStream>,
    copying: Arc<CudaStream>,
    buffers: [Option<Staging>; 2],
}

/// Memory on both sides.
struct Staging {
    pinned: PinnedHostSlice<f32>,
    staged: CudaSlice<f32>,
    /// By the copying stream: `pinned` may be filled again.
    copied: CudaEvent,
    /// By the computing stream: `staged` may be written again.
    taken: CudaEvent,
}

impl Staging {
    fn of(count: usize, computing: &Arc<CudaStream>) -> Result<Staging, DriverError> {
        let context = computing.context();
        // Safety: both are written before they are read.
        let (pinned, staged) = unsafe { (context.alloc_pinned(count)?, computing.alloc(count)?) };
        let (copied, taken) = (context.new_event(None)?, context.new_event(None)?);
        // The memory is there as soon as the stream that asked for it has come so far.
        taken.record(computing)?;
        Ok(Staging { pinned, staged, copied, taken })
    }
}

impl Ring {
    fn beside(computing: Arc<CudaStream>) -> Result<Ring, DriverError> {
        let copying = computing.context().new_stream()?;
        Ok(Ring { computing, copying, buffers: [None, None] })
    }

    /// The values in memory of the computing stream, which finds them there.
    fn bring(&mut self, values: &[f32]) -> Result<CudaSlice<f32>, DriverError> {
        self.buffers.swap(0, 1);
        if let Some(staging) = &self.buffers[0] {
            staging.copied.synchronize()?;
        }
        let wide = self.buffers[0].take().filter(|staging| staging.pinned.len() >= values.len());
        let staging = match wide {
            Some(staging) => staging,
            None => Staging::of(values.len(), &self.computing)?,
        };
        let staging = self.buffers[0].insert(staging);

        let pinned = &mut staging.pinned.as_mut_slice()?[..values.len()];
        pinned.par_chunks_mut(PIECE).zip(values.par_chunks(PIECE)).for_each(|(to, from)| to.copy_from_slice(from));
        self.copying.wait(&staging.taken)?;
        self.copying.memcpy_htod(&*pinned, &mut staging.staged.slice_mut(..values.len()))?;
        staging.copied.record(&self.copying)?;

        self.computing.wait(&staging.copied)?;
        // Safety: it is written before it is read.
        let mut own = unsafe { self.computing.alloc(values.len())? };
        self.computing.memcpy_dtod(&staging.staged.slice(..values.len()), &mut own)?;
        staging.taken.record(&self.computing)?;
        Ok(own)
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // What is on its way is read from memory that goes with this. A device that no longer answers reads nothing.
        let _ = self.copying.synchronize();
    }
}
