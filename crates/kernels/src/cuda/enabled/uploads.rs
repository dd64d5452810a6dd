//! Bringing batches to a GPU while it computes.

use candle_core::cuda_backend::cudarc::driver::{
    CudaEvent, CudaSlice, CudaStream, DriverError, PinnedHostSlice, result, sys::CUevent_flags,
};
use candle_core::cuda_backend::{CudaStorage, CudaStorageSlice};
use candle_core::op::BackpropOp;
use candle_core::{Device, Result, Storage, Tensor, bail};
use rayon::prelude::*;
use std::sync::{Arc, Mutex, PoisonError};

/// What the driver answers.
type Answer<T> = std::result::Result<T, DriverError>;

/// As many values as a thread copies at a time.
const PIECE: usize = 256 * 1024;

/// Brings values to a device. To a GPU they go by a stream of their own, out of page-locked memory, while what was sent
/// there before is still computed; who uploads faster than the GPU computes waits for it every few uploads. What is locked
/// is shared by all clones and kept until the last is gone. Nothing may be uploaded to a device while another thread
/// records its work ([`crate::record`]).
#[derive(Clone)]
pub struct Uploads {
    device: Device,
    way: Arc<Mutex<Way>>,
}

/// How values go to a GPU.
enum Way {
    NotBegun,
    Locked(Pair),
    /// There was no memory to lock.
    Pageable,
}

impl Uploads {
    /// For the values of one device.
    pub fn to(device: &Device) -> Uploads {
        Uploads { device: device.clone(), way: Arc::new(Mutex::new(Way::NotBegun)) }
    }

    /// Where the values go.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The values as a tensor of this shape on the device.
    ///
    /// # Errors
    /// When the shape has not as many values, or the device has no room or does not answer.
    pub fn upload(&self, values: Vec<f32>, shape: &[usize]) -> Result<Tensor> {
        let Device::Cuda(device) = &self.device else { return Tensor::from_vec(values, shape, &self.device) };
        if values.len() != shape.iter().product::<usize>() {
            bail!("{} values are no tensor of {shape:?}", values.len());
        }
        let mut way = self.way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Way::NotBegun = *way {
            *way = Pair::new(device.cuda_stream()).map_or(Way::Pageable, Way::Locked);
        }
        if let Way::Locked(pair) = &mut *way {
            match pair.upload(&values) {
                Ok(values) => {
                    let slice = CudaStorageSlice::F32(values);
                    let storage = Storage::Cuda(CudaStorage { slice, device: device.clone() });
                    return Ok(Tensor::from_storage(storage, shape, BackpropOp::none(), false));
                }
                // What ails the device itself shows again below.
                Err(_) => *way = Way::Pageable,
            }
        }
        Tensor::from_vec(values, shape, &self.device)
    }
}

/// Two buffers by turns: one is filled while the GPU still reads the other.
struct Pair {
    computing: Arc<CudaStream>,
    copying: Arc<CudaStream>,
    buffers: [Option<Staging>; 2],
}

/// Room for values on both sides.
struct Staging {
    host: PinnedHostSlice<f32>,
    device: CudaSlice<f32>,
    /// Recorded by the copying stream once `device` has what is in `host`.
    copied: CudaEvent,
    /// Recorded by the computing stream once it has taken what is in `device`.
    taken: CudaEvent,
}

impl Staging {
    fn new(count: usize, computing: &Arc<CudaStream>) -> Answer<Staging> {
        let context = computing.context();
        // Safety: both are written before they are read.
        let (host, device) = unsafe { (context.alloc_pinned_with_flags(count, 0)?, computing.alloc(count)?) };
        // Who waits for `copied` on the processor sleeps, and leaves the core to the threads that load.
        let copied = context.new_event(Some(CUevent_flags::CU_EVENT_BLOCKING_SYNC))?;
        let taken = context.new_event(None)?;
        // The device's memory is there once the stream that it was asked from comes to this.
        taken.record(computing)?;
        Ok(Staging { host, device, copied, taken })
    }
}

impl Pair {
    fn new(computing: Arc<CudaStream>) -> Answer<Pair> {
        let copying = computing.context().new_stream()?;
        Ok(Pair { computing, copying, buffers: [None, None] })
    }

    /// The values in memory of the computing stream. They go there by way of a buffer, since memory that is asked from that
    /// stream is there only when all that was sent before is computed; the last copy, on the device, takes no time.
    fn upload(&mut self, values: &[f32]) -> Answer<CudaSlice<f32>> {
        let count = values.len();
        self.buffers.swap(0, 1);
        if let Some(staging) = &self.buffers[0] {
            staging.copied.synchronize()?;
        }
        let kept = self.buffers[0].take().filter(|staging| staging.host.len() >= count);
        let staging = match kept {
            Some(staging) => staging,
            None => Staging::new(count, &self.computing)?,
        };
        let staging = self.buffers[0].insert(staging);

        let host = &mut staging.host.as_mut_slice()?[..count];
        host.par_chunks_mut(PIECE).zip(values.par_chunks(PIECE)).for_each(|(to, from)| to.copy_from_slice(from));
        self.copying.wait(&staging.taken)?;
        self.copying.memcpy_htod(&*host, &mut staging.device.slice_mut(..count))?;
        staging.copied.record(&self.copying)?;

        self.computing.wait(&staging.copied)?;
        // Safety: it is written before it is read.
        let mut own = unsafe { self.computing.alloc(count)? };
        self.computing.memcpy_dtod(&staging.device.slice(..count), &mut own)?;
        staging.taken.record(&self.computing)?;
        Ok(own)
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        // What is on its way is read from memory that goes with this. By the driver itself, since cudarc's call returns with
        // what failed elsewhere before; a device that no longer answers reads nothing.
        let _ = self.copying.context().bind_to_thread();
        // Safety: the stream is there until this is gone.
        let _ = unsafe { result::stream::synchronize(self.copying.cu_stream()) };
    }
}
