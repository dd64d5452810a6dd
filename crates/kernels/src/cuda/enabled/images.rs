//! Pooling and means of pixels: see `images.cu`.

use super::gpu::{Argument, Gpu, Source};
use candle_core::{Result, Tensor};

/// The sizes of a pooling as its kernels take them.
fn window(
    input: &[usize],
    output: &[usize],
    (kernel, stride, padding): (usize, usize, usize),
) -> Vec<Argument<'static>> {
    let sizes = [input[1], input[2], input[3], output[1], output[2], kernel, stride, padding];
    sizes.map(|size| Argument::Int(size as i32)).to_vec()
}

pub(crate) fn max_pool2d(input: &Tensor, sizes: (usize, usize, usize)) -> Result<Option<Tensor>> {
    let Some(gpu) = Gpu::of(input) else { return Ok(None) };
    let (batch, height, width, channels) = input.dims4()?;
    let input = input.contiguous()?;
    let (kernel, stride, padding) = sizes;
    let out = |size: usize| (size + 2 * padding - kernel) / stride + 1;
    let output = gpu.unwritten(&[batch, out(height), out(width), channels])?;
    let (from, to, count) = (gpu.address(&input)?, gpu.address(&output)?, output.elem_count());
    let (name, pack) = gpu.packed("max_pool", channels, &[from, to]);
    let mut arguments = vec![from.into(), to.into(), (count as i64).into()];
    arguments.extend(window(input.dims(), output.dims(), sizes));
    gpu.launch_each(Source::Images, &name, (count, pack), &arguments)?;
    Ok(Some(output))
}

pub(crate) fn max_pool2d_gradient(
    (input, output): (&Tensor, &Tensor),
    sizes: (usize, usize, usize),
    grad: &Tensor,
) -> Result<Option<Tensor>> {
    let Some(gpu) = Gpu::of(input) else { return Ok(None) };
    let (input, output, grad) = (input.contiguous()?, output.contiguous()?, grad.contiguous()?);
    let of_input = gpu.unwritten(input.dims())?;
    let places = [gpu.address(&input)?, gpu.address(&output)?, gpu.address(&grad)?, gpu.address(&of_input)?];
    let count = input.elem_count();
    let (name, pack) = gpu.packed("max_pool_gradient", input.dims()[3], &places);
    let mut arguments: Vec<Argument<'_>> = places.iter().map(|place| (*place).into()).collect();
    arguments.push((count as i64).into());
    arguments.extend(window(input.dims(), output.dims(), sizes));
    gpu.launch_each(Source::Images, &name, (count, pack), &arguments)?;
    Ok(Some(of_input))
}

pub(crate) fn mean_of_pixels(input: &Tensor) -> Result<Option<Tensor>> {
    let Some(gpu) = Gpu::of(input) else { return Ok(None) };
    let (batch, height, width, channels) = input.dims4()?;
    let input = input.contiguous()?;
    let output = gpu.unwritten(&[batch, channels])?;
    let threads = 128;
    let grid = ((channels.div_ceil(threads) as u32, batch as u32), (threads as u32, 1), 0);
    let sizes = [((height * width) as i32).into(), (channels as i32).into()];
    let arguments = [&[gpu.address(&input)?.into(), gpu.address(&output)?.into()][..], &sizes].concat();
    gpu.launch(Source::Images, &gpu.typed("mean_of_pixels"), grid, &arguments)?;
    Ok(Some(output))
}

pub(crate) fn mean_of_pixels_gradient(grad: &Tensor, shape: &[usize]) -> Result<Option<Tensor>> {
    let Some(gpu) = Gpu::of(grad) else { return Ok(None) };
    let grad = grad.contiguous()?;
    let of_input = gpu.unwritten(shape)?;
    let count = of_input.elem_count();
    let sizes = [(count as i64).into(), ((shape[1] * shape[2]) as i32).into(), (shape[3] as i32).into()];
    let arguments = [&[gpu.address(&grad)?.into(), gpu.address(&of_input)?.into()][..], &sizes].concat();
    gpu.launch_each(Source::Images, &gpu.typed("mean_of_pixels_gradient"), (count, 1), &arguments)?;
    Ok(Some(of_input))
}
