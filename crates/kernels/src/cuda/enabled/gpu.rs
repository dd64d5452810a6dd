//! Launching kernels on tensors.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{
    CudaStream, DevicePtr, DeviceRepr, LaunchConfig, PushKernelArg,
    result::{device, mem_pool},
    sys,
};
use candle_core::cuda_backend::{CudaDevice, CudaStorage, CudaStorageSlice};
use candle_core::op::BackpropOp;
use candle_core::{DType, Device, Result, Storage, Tensor, bail};
use std::sync::Arc;

/// Threads of a block of kernels that take one pack of values a thread.
const BLOCK: u32 = 256;

/// Makes a device fit for training: memory that is freed stays with the process, since getting it again from the
/// system takes longer than most operations; and no events are kept about who uses it, since one stream computes it all.
pub(crate) fn prepare(device: &Device) -> Result<Option<()>> {
    let Device::Cuda(device) = device else { return Ok(None) };
    // Safety: `device` was opened with one stream, on which everything is in order; `uploads.rs` has another, for memory that
    // nobody else touches, and keeps its own order.
    unsafe { device.disable_event_tracking() };
    let mut most = u64::MAX;
    let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // Safety: the attribute is 64 bits wide.
    unsafe { mem_pool::set_attribute(pool(device)?, attribute, (&raw mut most).cast()) }.map_err(cuda)?;
    Ok(Some(()))
}

/// The most bytes that were taken from the device's memory at once.
pub(crate) fn peak_bytes(device: &Device) -> Result<Option<u64>> {
    let Device::Cuda(device) = device else { return Ok(None) };
    let pool = pool(device)?;
    let of_pool = |attribute| {
        let mut bytes = 0u64;
        // Safety: the attributes are 64 bits wide.
        unsafe { mem_pool::get_attribute(pool, attribute, (&raw mut bytes).cast()) }.map_err(cuda)?;
        Ok::<_, candle_core::Error>(bytes)
    };
    let highest = of_pool(sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH)?;
    let lasting = of_pool(sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_CURRENT)?;
    // Recordings have memory of their own.
    let mut recorded = 0u64;
    let attribute = sys::CUgraphMem_attribute::CU_GRAPH_MEM_ATTR_USED_MEM_HIGH;
    let ordinal = device.cuda_stream().context().cu_device();
    // Safety: the attribute is 64 bits wide.
    unsafe { sys::cuDeviceGetGraphMemAttribute(ordinal, attribute, (&raw mut recorded).cast()) }
        .result()
        .map_err(cuda)?;
    Ok(Some(highest.max(lasting + recorded)))
}

/// Where the device's memory comes from.
pub(super) fn pool(device: &CudaDevice) -> Result<sys::CUmemoryPool> {
    let ordinal = device.cuda_stream().context().ordinal() as i32;
    // Safety: the device was opened.
    unsafe { device::get_default_mem_pool(device::get(ordinal).map_err(cuda)?) }.map_err(cuda)
}

/// An error of the driver or a library.
pub(super) fn cuda(why: impl std::error::Error + Send + Sync + 'static) -> candle_core::Error {
    candle_core::Error::wrap(why)
}

/// A device with what is computed on it.
pub(super) struct Gpu {
    pub(super) device: CudaDevice,
    pub(super) stream: Arc<CudaStream>,
    pub(super) dtype: DType,
}

/// A part of a parameter with its gradient and state: addresses of f32 values, how many, and the weight decay.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(super) struct Stretch {
    pub(super) parameter: u64,
    pub(super) gradient: u64,
    pub(super) first: u64,
    pub(super) second: u64,
    pub(super) count: u32,
    pub(super) decay: f32,
    pub(super) share: f32,
}

/// As many as a launch carries along: 4 KB.
pub(super) const STRETCHES: usize = 80;

/// What a launch of an optimizer works on.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Stretches(pub(super) [Stretch; STRETCHES]);

// Safety: plain values, laid out as the kernels declare them.
unsafe impl DeviceRepr for Stretches {}

/// An argument of a kernel.
#[derive(Clone, Copy)]
pub(super) enum Argument<'a> {
    Address(u64),
    Int(i32),
    Long(i64),
    Float(f32),
    Stretches(&'a Stretches),
}

impl From<u64> for Argument<'_> {
    fn from(address: u64) -> Self {
        Argument::Address(address)
    }
}

impl From<i32> for Argument<'_> {
    fn from(value: i32) -> Self {
        Argument::Int(value)
    }
}

impl From<i64> for Argument<'_> {
    fn from(value: i64) -> Self {
        Argument::Long(value)
    }
}

impl From<f32> for Argument<'_> {
    fn from(value: f32) -> Self {
        Argument::Float(value)
    }
}

/// Which file a kernel is in.
#[derive(Clone, Copy)]
pub(super) enum Source {
    Activation,
    Images,
    Learning,
    Norm,
    Transformer,
}

impl Source {
    fn name_and_code(self) -> (&'static str, &'static str) {
        match self {
            Source::Activation => ("assay-activation", include_str!(concat!(env!("OUT_DIR"), "/activation.ptx"))),
            Source::Images => ("assay-images", include_str!(concat!(env!("OUT_DIR"), "/images.ptx"))),
            Source::Learning => ("assay-learning", include_str!(concat!(env!("OUT_DIR"), "/learning.ptx"))),
            Source::Norm => ("assay-norm", include_str!(concat!(env!("OUT_DIR"), "/norm.ptx"))),
            Source::Transformer => ("assay-transformer", include_str!(concat!(env!("OUT_DIR"), "/transformer.ptx"))),
        }
    }
}

/// Blocks, threads and bytes of shared memory.
pub(super) type Grid = ((u32, u32), (u32, u32), u32);

impl Gpu {
    /// The device of a tensor of f32 or bf16, if it is a GPU.
    pub(super) fn of(tensor: &Tensor) -> Option<Gpu> {
        let Device::Cuda(device) = tensor.device() else { return None };
        let dtype = tensor.dtype();
        matches!(dtype, DType::F32 | DType::BF16).then(|| Gpu {
            device: device.clone(),
            stream: device.cuda_stream(),
            dtype,
        })
    }

    /// Where the values of a contiguous tensor begin. The address holds as long as the tensor.
    pub(super) fn address(&self, tensor: &Tensor) -> Result<u64> {
        let (storage, layout) = tensor.storage_and_layout();
        let Some((start, _)) = layout.contiguous_offsets() else {
            bail!("the operation needs a contiguous tensor, not one of strides {:?}", layout.stride());
        };
        let Storage::Cuda(storage) = &*storage else { bail!("the operation needs its tensors on one device") };
        let (begin, size) = match &storage.slice {
            CudaStorageSlice::F32(values) => (values.device_ptr(&self.stream).0, 4),
            CudaStorageSlice::BF16(values) => (values.device_ptr(&self.stream).0, 2),
            CudaStorageSlice::U32(values) => (values.device_ptr(&self.stream).0, 4),
            CudaStorageSlice::U8(values) => (values.device_ptr(&self.stream).0, 1),
            _ => bail!("the operation takes no tensor of {:?}", storage.dtype()),
        };
        Ok(begin + (start * size) as u64)
    }

    /// A tensor of this type whose values are still to be written.
    pub(super) fn unwritten(&self, shape: &[usize]) -> Result<Tensor> {
        self.unwritten_of(shape, self.dtype)
    }

    /// A tensor whose values are still to be written.
    pub(super) fn unwritten_of(&self, shape: &[usize], dtype: DType) -> Result<Tensor> {
        let count = shape.iter().product();
        // Safety: whoever asks for it has every value written by a kernel.
        let storage = unsafe {
            match dtype {
                DType::F32 => CudaStorage::wrap_cuda_slice(self.device.alloc::<f32>(count)?, self.device.clone()),
                DType::BF16 => {
                    CudaStorage::wrap_cuda_slice(self.device.alloc::<half::bf16>(count)?, self.device.clone())
                }
                other => bail!("the operation makes no tensor of {other:?}"),
            }
        };
        Ok(Tensor::from_storage(Storage::Cuda(storage), shape, BackpropOp::none(), false))
    }

    /// Bytes of a value.
    pub(super) fn size(&self) -> usize {
        self.dtype.size_in_bytes()
    }

    /// The name of a kernel for the type.
    pub(super) fn typed(&self, name: &str) -> String {
        format!("{name}_{}", if self.dtype == DType::BF16 { "bf16" } else { "f32" })
    }

    /// The name of a kernel for the type, and how many values each thread takes: 16 bytes where the channels allow it.
    pub(super) fn packed(&self, name: &str, channels: usize, addresses: &[u64]) -> (String, usize) {
        let pack = 16 / self.size();
        let fits = channels.is_multiple_of(pack) && addresses.iter().all(|address| address.is_multiple_of(16));
        let (width, pack) = if fits { ("wide", pack) } else { ("one", 1) };
        (format!("{}_{width}", self.typed(name)), pack)
    }

    /// Runs a kernel.
    pub(super) fn launch(&self, source: Source, name: &str, grid: Grid, arguments: &[Argument<'_>]) -> Result<()> {
        let (module, code) = source.name_and_code();
        let function = self.device.get_or_load_custom_func(name, module, code)?;
        let mut launch = function.builder();
        for argument in arguments {
            match argument {
                Argument::Address(address) => launch.arg(address),
                Argument::Int(value) => launch.arg(value),
                Argument::Long(value) => launch.arg(value),
                Argument::Float(value) => launch.arg(value),
                Argument::Stretches(stretches) => launch.arg(*stretches),
            };
        }
        let (blocks, threads, shared_mem_bytes) = grid;
        let config =
            LaunchConfig { grid_dim: (blocks.0, blocks.1, 1), block_dim: (threads.0, threads.1, 1), shared_mem_bytes };
        // Safety: arguments and sizes are those of the kernel, as whoever calls this knows.
        unsafe { launch.launch(config) }.map_err(cuda)?;
        Ok(())
    }

    /// Runs a kernel with one thread for each pack of values.
    pub(super) fn launch_each(
        &self,
        source: Source,
        name: &str,
        (count, pack): (usize, usize),
        arguments: &[Argument<'_>],
    ) -> Result<()> {
        let blocks = count.div_ceil(pack).div_ceil(BLOCK as usize);
        if blocks == 0 {
            return Ok(());
        }
        self.launch(source, name, ((blocks as u32, 1), (BLOCK, 1), 0), arguments)
    }
}
