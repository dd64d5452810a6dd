//! Batch normalisation and biases: see `norm.cu`.

use super::activation::{activate, activate_gradient};
use super::gpu::{Gpu, Grid, Source};
use crate::activation::Activation;
use crate::batch_norm::{BatchNormGradients, BatchNormInputs, Moments, MomentsOf};
use candle_core::{D, DType, Result, Tensor};

/// Threads of a block that sums channels.
const THREADS: usize = 256;
/// Blocks that are enough to keep any GPU busy. It decides how sums are cut, so it is the same everywhere.
const BLOCKS: usize = 1024;

/// How sums over the rows of (rows, channels) are cut into parts: the grid and the number of parts.
pub(super) fn cut(rows: usize, channels: usize, pack: usize) -> (Grid, usize) {
    let packs = channels.div_ceil(pack);
    let across = packs.next_power_of_two().min(32);
    let down = THREADS / across;
    let blocks = packs.div_ceil(across);
    let parts = (BLOCKS / blocks).clamp(1, 256).min(rows.div_ceil(4 * down)).max(1);
    let shared = 2 * pack * THREADS * size_of::<f32>();
    (((blocks as u32, parts as u32), (across as u32, down as u32), shared as u32), parts)
}

/// The grid of kernels that add up the parts.
pub(super) fn whole(channels: usize) -> Grid {
    ((channels.div_ceil(32) as u32, 1), (32, 32), 0)
}

pub(super) fn rows_and_channels(tensor: &Tensor) -> Result<(usize, usize)> {
    let channels = tensor.dim(D::Minus1)?;
    Ok((tensor.elem_count() / channels.max(1), channels))
}

pub(crate) fn moments(input: &Tensor) -> Result<Option<Moments>> {
    let Some(gpu) = Gpu::of(input) else { return Ok(None) };
    let (rows, channels) = rows_and_channels(input)?;
    let input = input.contiguous()?;
    let address = gpu.address(&input)?;
    let (name, pack) = gpu.packed("moments_parts", channels, &[address]);
    let (grid, count) = cut(rows, channels, pack);
    let parts = gpu.unwritten_of(&[count, 2, channels], DType::F32)?;
    let (mean, variance) = (gpu.unwritten_of(&[channels], DType::F32)?, gpu.unwritten_of(&[channels], DType::F32)?);
    let parts_address = gpu.address(&parts)?;
    let (rows, channels) = (rows as i64, channels as i32);
    gpu.launch(Source::Norm, &name, grid, &[address.into(), rows.into(), channels.into(), parts_address.into()])?;
    let (to_mean, to_variance) = (gpu.address(&mean)?, gpu.address(&variance)?);
    gpu.launch(
        Source::Norm,
        &gpu.typed("moments_whole"),
        whole(channels as usize),
        &[
            address.into(),
            parts_address.into(),
            (count as i32).into(),
            rows.into(),
            channels.into(),
            to_mean.into(),
            to_variance.into(),
        ],
    )?;
    Ok(Some(Moments { mean, variance }))
}

pub(crate) fn follow(
    found: &Moments,
    mean: &Tensor,
    variance: &Tensor,
    momentum: f64,
    unbias: f64,
) -> Result<Option<()>> {
    let Some(gpu) = Gpu::of(&found.mean) else { return Ok(None) };
    let addresses = [&found.mean, &found.variance, mean, variance].map(|tensor| gpu.address(tensor));
    let [found_mean, found_variance, mean_at, variance_at] = addresses;
    let channels = mean.elem_count();
    gpu.launch_each(
        Source::Norm,
        "follow",
        (channels, 1),
        &[
            found_mean?.into(),
            found_variance?.into(),
            mean_at?.into(),
            variance_at?.into(),
            (channels as i32).into(),
            (momentum as f32).into(),
            (unbias as f32).into(),
        ],
    )?;
    Ok(Some(()))
}

/// The least value that an activation of these kernels lets through; none for others.
fn least(activation: Activation) -> Option<f32> {
    activation.cuts().then(|| activation.least())
}

/// The same without an activation.
fn plain(of: &BatchNormInputs) -> BatchNormInputs {
    BatchNormInputs { activation: Activation::None, ..of.clone() }
}

pub(crate) fn batch_norm(of: &BatchNormInputs) -> Result<Option<Tensor>> {
    if !of.activation.cuts() {
        let Some(normal) = batch_norm(&plain(of))? else { return Ok(None) };
        return activate(&normal, None, of.activation);
    }
    let (Some(gpu), Some(least)) = (Gpu::of(&of.input), least(of.activation)) else { return Ok(None) };
    let (_, channels) = rows_and_channels(&of.input)?;
    let input = of.input.contiguous()?;
    let residual = of.residual.as_ref().map(Tensor::contiguous).transpose()?;
    let output = gpu.unwritten(input.dims())?;
    let added = residual.as_ref().map_or(Ok(0), |residual| gpu.address(residual))?;
    let (from, to) = (gpu.address(&input)?, gpu.address(&output)?);
    let (name, pack) = gpu.packed("batch_norm", channels, &[from, to, added]);
    let count = input.elem_count();
    let (moments, _) = &of.moments;
    gpu.launch_each(
        Source::Norm,
        &name,
        (count, pack),
        &[
            from.into(),
            added.into(),
            gpu.address(&moments.mean)?.into(),
            gpu.address(&moments.variance)?.into(),
            gpu.address(&of.weight)?.into(),
            gpu.address(&of.bias)?.into(),
            to.into(),
            (count as i64).into(),
            (channels as i32).into(),
            (of.epsilon as f32).into(),
            least.into(),
        ],
    )?;
    Ok(Some(output))
}

/// The sums of the gradient that came through the activation, and of its product with the distance of the input from
/// its mean: (2, channels).
fn sums(gpu: &Gpu, input: Option<(u64, u64)>, output: &Tensor, grad: &Tensor, least: f32) -> Result<Tensor> {
    let (rows, channels) = rows_and_channels(output)?;
    let (input, mean) = input.unwrap_or((0, 0));
    let (output, grad) = (gpu.address(output)?, gpu.address(grad)?);
    let (name, pack) = gpu.packed("gradient_parts", channels, &[input, output, grad]);
    let (grid, count) = cut(rows, channels, pack);
    let parts = gpu.unwritten_of(&[count, 2, channels], DType::F32)?;
    let sums = gpu.unwritten_of(&[2, channels], DType::F32)?;
    let (parts_address, sums_address) = (gpu.address(&parts)?, gpu.address(&sums)?);
    gpu.launch(
        Source::Norm,
        &name,
        grid,
        &[
            input.into(),
            output.into(),
            grad.into(),
            mean.into(),
            (rows as i64).into(),
            (channels as i32).into(),
            least.into(),
            parts_address.into(),
        ],
    )?;
    let arguments = [parts_address.into(), (count as i32).into(), (channels as i32).into(), sums_address.into()];
    gpu.launch(Source::Norm, "gradient_whole", whole(channels), &arguments)?;
    Ok(sums)
}

pub(crate) fn batch_norm_gradients(
    of: &BatchNormInputs,
    output: &Tensor,
    grad: &Tensor,
) -> Result<Option<BatchNormGradients>> {
    if !of.activation.cuts() {
        let (activation, of) = (of.activation, plain(of));
        let Some(normal) = batch_norm(&of)? else { return Ok(None) };
        let Some(grad) = activate_gradient(&normal, None, activation, grad)? else { return Ok(None) };
        return batch_norm_gradients(&of, &normal, &grad);
    }
    let (Some(gpu), Some(least)) = (Gpu::of(&of.input), least(of.activation)) else { return Ok(None) };
    let (rows, channels) = rows_and_channels(&of.input)?;
    let (input, output, grad) = (of.input.contiguous()?, output.contiguous()?, grad.contiguous()?);
    let (moments, moments_of) = &of.moments;
    let (mean, variance) = (gpu.address(&moments.mean)?, gpu.address(&moments.variance)?);
    let sums = sums(&gpu, Some((gpu.address(&input)?, mean)), &output, &grad, least)?;
    let sums_address = gpu.address(&sums)?;
    let [weight, bias] = [(); 2].map(|()| gpu.unwritten_of(&[channels], DType::F32));
    let (weight, bias) = (weight?, bias?);
    gpu.launch_each(
        Source::Norm,
        "norm_parameters",
        (channels, 1),
        &[
            sums_address.into(),
            variance.into(),
            (channels as i32).into(),
            (of.epsilon as f32).into(),
            gpu.address(&weight)?.into(),
            gpu.address(&bias)?.into(),
        ],
    )?;
    let of_input = gpu.unwritten(input.dims())?;
    // Without an activation, what was added has the gradient of the output.
    let masked = of.residual.is_some() && of.activation != Activation::None;
    let of_residual = masked.then(|| gpu.unwritten(input.dims())).transpose()?;
    let residual_address = of_residual.as_ref().map_or(Ok(0), |tensor| gpu.address(tensor))?;
    let places =
        [gpu.address(&input)?, gpu.address(&output)?, gpu.address(&grad)?, gpu.address(&of_input)?, residual_address];
    let (name, pack) = gpu.packed("norm_input", channels, &places);
    let share = match moments_of {
        MomentsOf::Batch => 1.0 / rows as f32,
        MomentsOf::Running => 0.0,
    };
    let count = input.elem_count();
    gpu.launch_each(
        Source::Norm,
        &name,
        (count, pack),
        &[
            places[0].into(),
            places[1].into(),
            places[2].into(),
            mean.into(),
            variance.into(),
            gpu.address(&of.weight)?.into(),
            sums_address.into(),
            places[3].into(),
            places[4].into(),
            (count as i64).into(),
            (channels as i32).into(),
            (of.epsilon as f32).into(),
            least.into(),
            share.into(),
        ],
    )?;
    let residual = of.residual.as_ref().map(|_| of_residual.unwrap_or(grad));
    Ok(Some(BatchNormGradients { input: of_input, weight, bias, residual }))
}

pub(crate) fn add(a: &Tensor, b: &Tensor) -> Result<Option<Tensor>> {
    let Some(gpu) = Gpu::of(a).filter(|_| a.dtype() == b.dtype()) else { return Ok(None) };
    let (a, b) = (a.contiguous()?, b.contiguous()?);
    let sum = gpu.unwritten(a.dims())?;
    let places = [gpu.address(&a)?, gpu.address(&b)?, gpu.address(&sum)?];
    let count = sum.elem_count();
    let (name, pack) = gpu.packed("add", count, &places);
    let arguments = [places[0].into(), places[1].into(), places[2].into(), (count as i64).into()];
    gpu.launch_each(Source::Norm, &name, (count, pack), &arguments)?;
    Ok(Some(sum))
}

pub(crate) fn add_bias(input: &Tensor, bias: &Tensor, activation: Activation) -> Result<Option<Tensor>> {
    let (Some(gpu), Some(least)) = (Gpu::of(input), least(activation)) else { return Ok(None) };
    let (_, channels) = rows_and_channels(input)?;
    let input = input.contiguous()?;
    let output = gpu.unwritten(input.dims())?;
    let (from, to) = (gpu.address(&input)?, gpu.address(&output)?);
    let (name, pack) = gpu.packed("add_bias", channels, &[from, to]);
    let count = input.elem_count();
    let sizes = [(count as i64).into(), (channels as i32).into(), least.into()];
    let arguments = [&[from.into(), gpu.address(bias)?.into(), to.into()][..], &sizes].concat();
    gpu.launch_each(Source::Norm, &name, (count, pack), &arguments)?;
    Ok(Some(output))
}

pub(crate) fn add_bias_gradients(
    output: &Tensor,
    grad: &Tensor,
    activation: Activation,
) -> Result<Option<(Tensor, Tensor)>> {
    let (Some(gpu), Some(least)) = (Gpu::of(output), least(activation)) else { return Ok(None) };
    let (_, channels) = rows_and_channels(output)?;
    let (output, grad) = (output.contiguous()?, grad.contiguous()?);
    let of_bias = sums(&gpu, None, &output, &grad, least)?.get(0)?;
    if activation == Activation::None {
        return Ok(Some((grad, of_bias)));
    }
    let of_input = gpu.unwritten(output.dims())?;
    let places = [gpu.address(&output)?, gpu.address(&grad)?, gpu.address(&of_input)?];
    let (name, pack) = gpu.packed("cut", channels, &places);
    let count = output.elem_count();
    let arguments = [places[0].into(), places[1].into(), places[2].into(), (count as i64).into(), least.into()];
    gpu.launch_each(Source::Norm, &name, (count, pack), &arguments)?;
    Ok(Some((of_input, of_bias)))
}
