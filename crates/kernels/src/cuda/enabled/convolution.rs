//! Convolutions through cuDNN.

use super::descriptors::{Descriptors, Library};
use super::gpu::{Gpu, Source, cuda};
use crate::conv2d::{Geometry, InputGradient};
use candle_core::cuda_backend::DeviceId;
use candle_core::cuda_backend::cudarc::cudnn::{result, sys};
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DevicePtr};
use candle_core::{DType, Result, Tensor, bail};
use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::c_void;

/// Bytes of memory that an algorithm may use besides its inputs and outputs.
const MOST_WORKSPACE: usize = 1 << 30;

thread_local! {
    /// What each thread has of the library, by device.
    static STATES: RefCell<HashMap<DeviceId, State>> = RefCell::new(HashMap::new());
}

struct State {
    library: Library,
    workspace: Option<CudaSlice<u8>>,
    plans: HashMap<(Geometry, DType), Plan>,
}

/// A convolution with the algorithms that are known so far, each with the bytes of memory that it needs.
struct Plan {
    descriptors: Descriptors,
    channels_in: usize,
    forward: Option<(sys::cudnnConvolutionFwdAlgo_t, usize)>,
    of_input: Option<(sys::cudnnConvolutionBwdDataAlgo_t, usize)>,
    of_kernel: Option<(sys::cudnnConvolutionBwdFilterAlgo_t, usize)>,
}

/// As many channels as tensor cores like: their own number, or the next multiple of 16 bytes.
fn channels_in(gpu: &Gpu, geometry: &Geometry) -> usize {
    match geometry.options.groups {
        1 => geometry.from.next_multiple_of(16 / gpu.size()),
        _ => geometry.from,
    }
}

/// Does something with the plan of a convolution.
fn with_plan<R>(
    gpu: &Gpu,
    geometry: &Geometry,
    act: impl FnOnce(&Library, &mut Plan, &mut Option<CudaSlice<u8>>) -> Result<R>,
) -> Result<R> {
    STATES.with(|states| {
        let mut states = states.borrow_mut();
        let state = match states.entry(gpu.device.id()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                new.insert(State { library: Library::new(gpu.stream.clone())?, workspace: None, plans: HashMap::new() })
            }
        };
        let key = (*geometry, gpu.dtype);
        let plan = match state.plans.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let channels_in = channels_in(gpu, geometry);
                let descriptors = Descriptors::new(geometry, channels_in, gpu.dtype)?;
                new.insert(Plan { descriptors, channels_in, forward: None, of_input: None, of_kernel: None })
            }
        };
        act(&state.library, plan, &mut state.workspace)
    })
}

/// Where so many bytes of memory begin; what is there already is used if it is large enough.
fn workspace(gpu: &Gpu, kept: &mut Option<CudaSlice<u8>>, bytes: usize) -> Result<*mut c_void> {
    if bytes == 0 {
        return Ok(std::ptr::null_mut());
    }
    if kept.as_ref().is_none_or(|kept| kept.len() < bytes) {
        *kept = None;
        // Safety: the algorithms write it before they read it.
        *kept = Some(unsafe { gpu.device.alloc::<u8>(bytes)? });
    }
    let kept = kept.as_ref().expect("BUG: it was just made");
    Ok(kept.device_ptr(&gpu.stream).0 as *mut c_void)
}

/// The first of the algorithms that the library recommends whose sums have a fixed order, so that the same step gives the
/// same numbers. (Timing them and taking the fastest was measured: no network got faster, some slower.)
macro_rules! pick {
    ($found:expr, $count:expr, $geometry:expr) => {{
        let found = &$found[..$count as usize];
        let usable = found.iter().find(|found| {
            let works = found.status == sys::cudnnStatus_t::CUDNN_STATUS_SUCCESS && found.memory <= MOST_WORKSPACE;
            let repeatable = found.determinism == sys::cudnnDeterminism_t::CUDNN_DETERMINISTIC;
            works && repeatable
        });
        match usable {
            Some(found) => (found.algo, found.memory),
            None => bail!("conv2d: cuDNN has no algorithm for {:?}", $geometry),
        }
    }};
}

/// The kernel of a parameter in the type of the images, its channels together and padded.
fn kernel_in(gpu: &Gpu, parameter: &Tensor, geometry: &Geometry, channels_in: usize) -> Result<Tensor> {
    let parameter = parameter.contiguous()?;
    if parameter.dtype() != DType::F32 {
        bail!("conv2d: a kernel of {:?}; parameters are f32", parameter.dtype());
    }
    let padded = channels_in / geometry.options.groups;
    let area = geometry.kernel.0 * geometry.kernel.1;
    let kernel = gpu.unwritten(&[geometry.to, area, padded])?;
    let count = kernel.elem_count();
    let sizes = [(count as i64).into(), (geometry.channels_read() as i32).into()];
    let sizes = [&sizes[..], &[(area as i32).into(), (padded as i32).into()]].concat();
    let arguments = [&[gpu.address(&parameter)?.into(), gpu.address(&kernel)?.into()][..], &sizes].concat();
    gpu.launch_each(Source::Images, &gpu.typed("kernel_in"), (count, 1), &arguments)?;
    Ok(kernel)
}

/// Images with so many channels: more of them, which are zero, or the first ones alone.
fn with_channels(gpu: &Gpu, images: &Tensor, channels: usize) -> Result<Tensor> {
    let images = images.contiguous()?;
    let own = images.dims()[3];
    if own == channels {
        return Ok(images);
    }
    let mut shape = images.dims().to_vec();
    shape[3] = channels;
    let padded = gpu.unwritten(&shape)?;
    let count = padded.elem_count();
    let from = [gpu.address(&images)?.into(), gpu.address(&padded)?.into()];
    let sizes = [(count as i64).into(), (own as i32).into(), (channels as i32).into()];
    gpu.launch_each(Source::Images, &gpu.typed("pad_channels"), (count, 1), &[&from[..], &sizes].concat())?;
    Ok(padded)
}

/// The factors of a sum and of what was in the output: cuDNN wants to read them from memory.
static ONE: f32 = 1.0;
static ZERO: f32 = 0.0;

pub(crate) fn conv2d(input: &Tensor, kernel: &Tensor, geometry: &Geometry) -> Result<Option<Tensor>> {
    let Some(gpu) = Gpu::of(input) else { return Ok(None) };
    let Geometry { batch, output: (height, width), to, .. } = *geometry;
    let output = gpu.unwritten(&[batch, height, width, to])?;
    with_plan(&gpu, geometry, |library, plan, kept| {
        let kernel = kernel_in(&gpu, kernel, geometry, plan.channels_in)?;
        let input = with_channels(&gpu, input, plan.channels_in)?;
        let (x, w, y) = (gpu.address(&input)?, gpu.address(&kernel)?, gpu.address(&output)?);
        let d = &plan.descriptors;
        let (algorithm, bytes) = match plan.forward {
            Some(known) => known,
            None => {
                const MOST: usize = 8;
                let mut count = 0;
                // Safety: plain values, which the library fills in.
                let mut found: [sys::cudnnConvolutionFwdAlgoPerf_t; MOST] = unsafe { std::mem::zeroed() };
                let (most, count_at, found_at) = (MOST as i32, &raw mut count, found.as_mut_ptr());
                // Safety: the descriptors are those of the convolution, and there is room for so many algorithms.
                unsafe {
                    sys::cudnnGetConvolutionForwardAlgorithm_v7(
                        library.handle,
                        d.input,
                        d.kernel,
                        d.convolution,
                        d.output,
                        most,
                        count_at,
                        found_at,
                    )
                }
                .result()
                .map_err(cuda)?;
                *plan.forward.insert(pick!(found, count, geometry))
            }
        };
        // Safety: descriptors and memory are those of the convolution.
        unsafe {
            result::convolution_forward(
                library.handle,
                (&raw const ONE).cast(),
                d.input,
                x as *const c_void,
                d.kernel,
                w as *const c_void,
                d.convolution,
                algorithm,
                workspace(&gpu, kept, bytes)?,
                bytes,
                (&raw const ZERO).cast(),
                d.output,
                y as *mut c_void,
            )
        }
        .map_err(cuda)
    })?;
    Ok(Some(output))
}

pub(crate) fn conv2d_gradients(
    input: &Tensor,
    kernel: &Tensor,
    geometry: &Geometry,
    grad: &Tensor,
    wanted: InputGradient,
) -> Result<Option<(Option<Tensor>, Tensor)>> {
    let Some(gpu) = Gpu::of(input) else { return Ok(None) };
    let grad = grad.contiguous()?;
    with_plan(&gpu, geometry, |library, plan, kept| {
        let input_padded = with_channels(&gpu, input, plan.channels_in)?;
        let of_kernel = gradient_of_kernel(&gpu, (library, plan, kept), geometry, &input_padded, &grad)?;
        let of_input = match wanted {
            InputGradient::Unwanted => None,
            InputGradient::Wanted => {
                let kernel = kernel_in(&gpu, kernel, geometry, plan.channels_in)?;
                let of_input = gpu.unwritten(input_padded.dims())?;
                gradient_of_input(&gpu, (library, plan, kept), geometry, &kernel, &grad, &of_input)?;
                Some(with_channels(&gpu, &of_input, geometry.from)?)
            }
        };
        Ok(Some((of_input, of_kernel)))
    })
}

/// The library, a plan and memory.
type Means<'a> = (&'a Library, &'a mut Plan, &'a mut Option<CudaSlice<u8>>);

fn gradient_of_input(
    gpu: &Gpu,
    (library, plan, kept): Means<'_>,
    geometry: &Geometry,
    kernel: &Tensor,
    grad: &Tensor,
    of_input: &Tensor,
) -> Result<()> {
    let (w, dy, dx) = (gpu.address(kernel)?, gpu.address(grad)?, gpu.address(of_input)?);
    let d = &plan.descriptors;
    let (algorithm, bytes) = match plan.of_input {
        Some(known) => known,
        None => {
            const MOST: usize = 6;
            let mut count = 0;
            // Safety: plain values, which the library fills in.
            let mut found: [sys::cudnnConvolutionBwdDataAlgoPerf_t; MOST] = unsafe { std::mem::zeroed() };
            let (most, count_at, found_at) = (MOST as i32, &raw mut count, found.as_mut_ptr());
            // Safety: the descriptors are those of the convolution, and there is room for so many algorithms.
            unsafe {
                sys::cudnnGetConvolutionBackwardDataAlgorithm_v7(
                    library.handle,
                    d.kernel,
                    d.output,
                    d.convolution,
                    d.input,
                    most,
                    count_at,
                    found_at,
                )
            }
            .result()
            .map_err(cuda)?;
            *plan.of_input.insert(pick!(found, count, geometry))
        }
    };
    // Safety: descriptors and memory are those of the convolution.
    unsafe {
        result::convolution_backward_data(
            library.handle,
            (&raw const ONE).cast(),
            d.kernel,
            w as *const c_void,
            d.output,
            dy as *const c_void,
            d.convolution,
            algorithm,
            workspace(gpu, kept, bytes)?,
            bytes,
            (&raw const ZERO).cast(),
            d.input,
            dx as *mut c_void,
        )
    }
    .map_err(cuda)
}

fn gradient_of_kernel(
    gpu: &Gpu,
    (library, plan, kept): Means<'_>,
    geometry: &Geometry,
    input: &Tensor,
    grad: &Tensor,
) -> Result<Tensor> {
    let (from, padded) = (geometry.channels_read(), plan.channels_in / geometry.options.groups);
    let area = geometry.kernel.0 * geometry.kernel.1;
    let found_kernel = gpu.unwritten(&[geometry.to, area, padded])?;
    let (x, dy, dw) = (gpu.address(input)?, gpu.address(grad)?, gpu.address(&found_kernel)?);
    let d = &plan.descriptors;
    let (algorithm, bytes) = match plan.of_kernel {
        Some(known) => known,
        None => {
            const MOST: usize = 7;
            let mut count = 0;
            // Safety: plain values, which the library fills in.
            let mut found: [sys::cudnnConvolutionBwdFilterAlgoPerf_t; MOST] = unsafe { std::mem::zeroed() };
            let (most, count_at, found_at) = (MOST as i32, &raw mut count, found.as_mut_ptr());
            // Safety: the descriptors are those of the convolution, and there is room for so many algorithms.
            unsafe {
                sys::cudnnGetConvolutionBackwardFilterAlgorithm_v7(
                    library.handle,
                    d.input,
                    d.output,
                    d.convolution,
                    d.kernel,
                    most,
                    count_at,
                    found_at,
                )
            }
            .result()
            .map_err(cuda)?;
            *plan.of_kernel.insert(pick!(found, count, geometry))
        }
    };
    // Safety: descriptors and memory are those of the convolution.
    unsafe {
        result::convolution_backward_filter(
            library.handle,
            (&raw const ONE).cast(),
            d.input,
            x as *const c_void,
            d.output,
            dy as *const c_void,
            d.convolution,
            algorithm,
            workspace(gpu, kept, bytes)?,
            bytes,
            (&raw const ZERO).cast(),
            d.kernel,
            dw as *mut c_void,
        )
    }
    .map_err(cuda)?;
    let parameter = gpu.unwritten_of(&[geometry.to, from, geometry.kernel.0, geometry.kernel.1], DType::F32)?;
    let count = parameter.elem_count();
    let places = [gpu.address(&found_kernel)?.into(), gpu.address(&parameter)?.into()];
    let sizes = [(count as i64).into(), (from as i32).into(), (area as i32).into(), (padded as i32).into()];
    gpu.launch_each(Source::Images, &gpu.typed("kernel_out"), (count, 1), &[&places[..], &sizes].concat())?;
    Ok(parameter)
}
