//! Work that is recorded once and replayed: one call to the driver instead of hundreds.

use super::gpu::cuda;
use candle_core::cuda_backend::cudarc::driver::{
    CudaGraph, result::mem_pool, sys::CUgraphInstantiate_flags as Flags, sys::CUstreamCaptureMode as Mode,
};
use candle_core::{Device, Result};

/// Work on a GPU that can be done again.
pub struct Recording(CudaGraph);

impl Recording {
    /// Does the work once more, with what its tensors hold now.
    ///
    /// # Errors
    /// When the device does not answer.
    pub fn replay(&self) -> Result<()> {
        self.0.launch().map_err(cuda)
    }
}

/// Runs `act` so that what it sends to a GPU stays there for a later [`record`] of the same.
pub fn rehearse<R>(device: &Device, act: impl FnOnce() -> R) -> R {
    let _kept = match device {
        Device::Cuda(device) => Some(device.enable_cuda_graph_htod_cache()),
        _ => None,
    };
    act()
}

/// Records what `act` does on a GPU, without doing it; none on other devices, where `act` does not run. It must have
/// been rehearsed. Tensors that it makes must be gone when it ends; what it is to leave behind, it writes into tensors
/// that were there before. No other thread may use the device meanwhile.
///
/// # Errors
/// When `act` fails, or does what cannot be recorded.
pub fn record(device: &Device, act: impl FnOnce() -> Result<()>) -> Result<Option<Recording>> {
    let Device::Cuda(gpu) = device else { return Ok(None) };
    let stream = gpu.cuda_stream();
    stream.synchronize().map_err(cuda)?;
    stream.begin_capture(Mode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).map_err(cuda)?;
    let acted = rehearse(device, act);
    let graph = stream.end_capture(Flags(0)).map_err(cuda);
    acted?;
    let recording = graph?.map(Recording);
    // Its tensors have memory of their own; that of the rehearsal goes back to the system.
    // Safety: the pool is that of a device that is open.
    unsafe { mem_pool::trim_to(super::gpu::pool(gpu)?, 0) }.map_err(cuda)?;
    Ok(recording)
}
