//! The loss and the optimizers: see `learning.cu`.

use super::gpu::{Argument, Gpu, Source};
use crate::optimizer::{AdamW, Part, Sgd};
use candle_core::cuda_backend::cudarc::driver::DevicePtr;
use candle_core::{DType, Result, Tensor};

/// Rows that a block takes, a warp each.
const ROWS: u32 = 8;
/// Values of a parameter that a block takes.
const STRETCH: usize = 16 * 1024;

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
    let mut arguments: Vec<Argument> = places.iter().map(|place| (*place).into()).collect();
    arguments.extend([Argument::Int(sizes.0 as i32), Argument::Int(sizes.1 as i32), Argument::Float(smoothing)]);
    let grid = (((sizes.0 as u32).div_ceil(ROWS), 1), (32, ROWS), 0);
    gpu.launch(Source::Learning, &gpu.typed(name), grid, &arguments)
}

pub(crate) fn adamw(rule: &AdamW, parts: &[Part<'_>], step: u64) -> Result<Option<()>> {
    let step = step.min(i32::MAX as u64) as i32;
    let (correction1, correction2) = (1.0 - rule.beta1.powi(step), 1.0 - rule.beta2.powi(step));
    let values = [
        rule.learning_rate / correction1,
        rule.beta1,
        rule.beta2,
        1.0 / correction2.sqrt(),
        rule.epsilon,
        rule.learning_rate,
    ];
    on_all("adamw", parts, &values)
}

pub(crate) fn sgd(rule: &Sgd, parts: &[Part<'_>], step: u64) -> Result<Option<()>> {
    // As in PyTorch, the first velocity is the first gradient.
    let kept = if step == 1 { 0.0 } else { rule.momentum };
    let ahead = if rule.nesterov { rule.momentum } else { 0.0 };
    on_all("sgd", parts, &[rule.learning_rate, kept, ahead])
}

/// One launch for all parameters: a block for each stretch of one.
fn on_all(name: &str, parts: &[Part<'_>], values: &[f64]) -> Result<Option<()>> {
    let Some(gpu) = parts.first().and_then(|part| Gpu::of(part.parameter)) else { return Ok(None) };
    let mut stretches: Vec<u64> = Vec::new();
    let gradients = parts.iter().map(|part| part.gradient.contiguous()).collect::<Result<Vec<_>>>()?;
    for (part, gradient) in parts.iter().zip(&gradients) {
        let count = part.parameter.elem_count();
        let (parameter, gradient) = (gpu.address(part.parameter)?, gpu.address(gradient)?);
        let first = gpu.address(part.state)?;
        // A second moment lies behind the first.
        let second = if part.state.elem_count() == 2 * count { first + 4 * count as u64 } else { first };
        for begin in (0..count).step_by(STRETCH) {
            let offset = 4 * begin as u64;
            stretches.extend([parameter, gradient, first, second].map(|place| place + offset));
            stretches.push((count - begin).min(STRETCH) as u64);
            stretches.push(u64::from((part.weight_decay as f32).to_bits())); // two f32: the decay, and nothing
        }
    }
    let table = gpu.device.clone_htod(&stretches)?;
    let mut arguments: Vec<Argument> = vec![table.device_ptr(&gpu.stream).0.into()];
    arguments.extend(values.iter().map(|value| Argument::Float(*value as f32)));
    gpu.launch(Source::Learning, name, (((stretches.len() / 6) as u32, 1), (512, 1), 0), &arguments)?;
    Ok(Some(()))
}
