//! The loss and the optimizers: see `learning.cu`.

use super::gpu::{Argument, Gpu, STRETCHES, Source, Stretch, Stretches, cuda};
use crate::optimizer::Part;
use candle_core::cuda_backend::cudarc::driver::result::memcpy_htod_async;
use candle_core::{DType, Result, Tensor, bail};

/// Rows that a block takes, a warp each.
const ROWS: u32 = 8;
/// Values of a parameter in a stretch, how many blocks share it, and how many threads a block has.
const STRETCH: usize = 64 * 1024;
const BLOCKS: u32 = 16;
const THREADS: u32 = 256;

pub(crate) fn cross_entropy(logits: &Tensor, labels: &Tensor, smoothing: f32) -> Result<Option<Tensor>> {
    let Some(gpu) = Gpu::of(logits) else { return Ok(None) };
    let (batch, classes) = logits.dims2()?;
    let (logits, labels) = (logits.contiguous()?, labels.contiguous()?);
    let losses = gpu.unwritten_of(&[batch], DType::F32)?;
    let places = [gpu.address(&logits)?, gpu.address(&labels)?, gpu.address(&losses)?];
    row_by_row(&gpu, "cross_entropy", &places, (batch, classes), smoothing)?;
    Ok(Some(losses))
}

pub(crate) fn cross_entropy_gradient(
    logits: &Tensor,
    labels: &Tensor,
    smoothing: f32,
    grad: &Tensor,
) -> Result<Option<Tensor>> {
    let Some(gpu) = Gpu::of(logits) else { return Ok(None) };
    let (batch, classes) = logits.dims2()?;
    let (logits, labels, grad) = (logits.contiguous()?, labels.contiguous()?, grad.contiguous()?);
    let of_logits = gpu.unwritten(logits.dims())?;
    let places = [gpu.address(&logits)?, gpu.address(&labels)?, gpu.address(&grad)?, gpu.address(&of_logits)?];
    row_by_row(&gpu, "cross_entropy_gradient", &places, (batch, classes), smoothing)?;
    Ok(Some(of_logits))
}

fn row_by_row(gpu: &Gpu, name: &str, places: &[u64], sizes: (usize, usize), smoothing: f32) -> Result<()> {
    let mut arguments: Vec<Argument<'_>> = places.iter().map(|place| (*place).into()).collect();
    arguments.extend([Argument::Int(sizes.0 as i32), Argument::Int(sizes.1 as i32), Argument::Float(smoothing)]);
    let grid = (((sizes.0 as u32).div_ceil(ROWS), 1), (32, ROWS), 0);
    gpu.launch(Source::Learning, &gpu.typed(name), grid, &arguments)
}

/// Writes the numbers of a step where the kernels read them.
pub(crate) fn announce(numbers: &Tensor, values: &[f32]) -> Result<()> {
    let Some(gpu) = Gpu::of(numbers) else { return Ok(()) };
    if values.len() > numbers.elem_count() {
        bail!("there is no room for {} numbers of a step", values.len());
    }
    // Safety: there is room for them; the copy is made before the call returns, since the values are pageable memory.
    unsafe { memcpy_htod_async(gpu.address(numbers)?, values, gpu.stream.cu_stream()) }.map_err(cuda)
}

pub(crate) fn adamw(parts: &[Part<'_>], numbers: &Tensor) -> Result<Option<()>> {
    on_all("adamw", parts, numbers)
}

pub(crate) fn sgd(parts: &[Part<'_>], numbers: &Tensor) -> Result<Option<()>> {
    on_all("sgd", parts, numbers)
}

/// A few launches for all parameters, which carry the addresses along.
fn on_all(name: &str, parts: &[Part<'_>], numbers: &Tensor) -> Result<Option<()>> {
    let Some(gpu) = Gpu::of(numbers) else { return Ok(None) };
    let gradients = parts.iter().map(|part| part.gradient.contiguous()).collect::<Result<Vec<_>>>()?;
    let mut stretches = Vec::new();
    for (part, gradient) in parts.iter().zip(&gradients) {
        let count = part.parameter.elem_count();
        let (parameter, gradient) = (gpu.address(part.parameter)?, gpu.address(gradient)?);
        let first = gpu.address(part.state)?;
        // A second moment lies behind the first.
        let second = if part.state.elem_count() == 2 * count { first + 4 * count as u64 } else { first };
        for begin in (0..count).step_by(STRETCH) {
            let offset = 4 * begin as u64;
            let [parameter, gradient, first, second] = [parameter, gradient, first, second].map(|at| at + offset);
            let count = (count - begin).min(STRETCH) as u32;
            let (decay, share) = (part.weight_decay as f32, part.rate as f32);
            stretches.push(Stretch { parameter, gradient, first, second, count, decay, share });
        }
    }
    let numbers = gpu.address(numbers)?;
    for some in stretches.chunks(STRETCHES) {
        let mut carried = Stretches([Stretch::default(); STRETCHES]);
        carried.0[..some.len()].copy_from_slice(some);
        let grid = ((some.len() as u32, BLOCKS), (THREADS, 1), 0);
        gpu.launch(Source::Learning, name, grid, &[Argument::Stretches(&carried), numbers.into()])?;
    }
    Ok(Some(()))
}
