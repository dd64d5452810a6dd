//! What cuDNN is told of a convolution, kept from its first use on.

use super::gpu::cuda;
use crate::conv2d::Geometry;
use candle_core::cuda_backend::cudarc::cudnn::{result, sys};
use candle_core::cuda_backend::cudarc::driver::CudaStream;
use candle_core::{DType, Result, bail};
use std::sync::Arc;

/// The library for one stream. It is not for use by several threads.
pub(super) struct Library {
    pub(super) handle: sys::cudnnHandle_t,
    /// Keeps the stream as long as the library uses it.
    _stream: Arc<CudaStream>,
}

impl Library {
    pub(super) fn new(stream: Arc<CudaStream>) -> Result<Library> {
        stream.context().bind_to_thread().map_err(cuda)?;
        let handle = result::create_handle().map_err(cuda)?;
        // Safety: both are alive, the stream as long as the library.
        unsafe { result::set_stream(handle, stream.cu_stream().cast()) }.map_err(cuda)?;
        Ok(Library { handle, _stream: stream })
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        // Safety: nobody else has the handle. An error here would have nobody to tell.
        _ = unsafe { result::destroy_handle(self.handle) };
    }
}

/// A convolution as cuDNN sees it: images with their channels together, as many of them as `channels_in`, which may be
/// more than the geometry has; the rest is zeros.
pub(super) struct Descriptors {
    pub(super) input: sys::cudnnTensorDescriptor_t,
    pub(super) output: sys::cudnnTensorDescriptor_t,
    pub(super) kernel: sys::cudnnFilterDescriptor_t,
    pub(super) convolution: sys::cudnnConvolutionDescriptor_t,
}

impl Descriptors {
    pub(super) fn new(g: &Geometry, channels_in: usize, dtype: DType) -> Result<Descriptors> {
        let format = sys::cudnnTensorFormat_t::CUDNN_TENSOR_NHWC;
        // Sums are f32 in either type; tensor cores are used for both (f32 is rounded to tf32 there, as in PyTorch).
        let sums = sys::cudnnDataType_t::CUDNN_DATA_FLOAT;
        let (data, math) = match dtype {
            DType::F32 => (sums, sys::cudnnMathType_t::CUDNN_DEFAULT_MATH),
            DType::BF16 => (sys::cudnnDataType_t::CUDNN_DATA_BFLOAT16, sys::cudnnMathType_t::CUDNN_TENSOR_OP_MATH),
            other => bail!("conv2d: images of {other:?}"),
        };
        let sizes = |sizes: [usize; 4]| sizes.map(|size| size as i32);
        let options = &g.options;
        let from_of_group = channels_in / options.groups;
        // Safety: each descriptor is made before it is set, and destroyed with this value.
        unsafe {
            let made = Descriptors {
                input: result::create_tensor_descriptor().map_err(cuda)?,
                output: result::create_tensor_descriptor().map_err(cuda)?,
                kernel: result::create_filter_descriptor().map_err(cuda)?,
                convolution: result::create_convolution_descriptor().map_err(cuda)?,
            };
            let input = sizes([g.batch, channels_in, g.input.0, g.input.1]);
            result::set_tensor4d_descriptor(made.input, format, data, input).map_err(cuda)?;
            let output = sizes([g.batch, g.to, g.output.0, g.output.1]);
            result::set_tensor4d_descriptor(made.output, format, data, output).map_err(cuda)?;
            let kernel = sizes([g.to, from_of_group, g.kernel.0, g.kernel.1]);
            result::set_filter4d_descriptor(made.kernel, data, format, kernel).map_err(cuda)?;
            result::set_convolution2d_descriptor(
                made.convolution,
                options.padding.0 as i32,
                options.padding.1 as i32,
                options.stride.0 as i32,
                options.stride.1 as i32,
                options.dilation.0 as i32,
                options.dilation.1 as i32,
                sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION,
                sums,
            )
            .map_err(cuda)?;
            result::set_convolution_group_count(made.convolution, options.groups as i32).map_err(cuda)?;
            result::set_convolution_math_type(made.convolution, math).map_err(cuda)?;
            Ok(made)
        }
    }
}

impl Drop for Descriptors {
    fn drop(&mut self) {
        // Safety: nobody else has them. An error here would have nobody to tell.
        unsafe {
            _ = result::destroy_tensor_descriptor(self.input);
            _ = result::destroy_tensor_descriptor(self.output);
            _ = result::destroy_filter_descriptor(self.kernel);
            _ = result::destroy_convolution_descriptor(self.convolution);
        }
    }
}
