//! Activations that bend and gates: see `activation.cu`.

use super::gpu::{Argument, Gpu, Source};
use crate::activation::Activation;
use crate::gate::GateKind;
use candle_core::{D, DType, Result, Tensor};

/// The number of an activation in the kernels; none for those that only cut.
fn number(activation: Activation) -> Option<i32> {
    match activation {
        Activation::None | Activation::Relu => None,
        Activation::HardSwish => Some(0),
        Activation::Silu => Some(1),
        Activation::Gelu => Some(2),
    }
}

/// Values with the f32 bias of their channels, if any, through an activation that bends.
pub(crate) fn activate(input: &Tensor, bias: Option<&Tensor>, activation: Activation) -> Result<Option<Tensor>> {
    let (Some(gpu), Some(number)) = (gpu_of(input, bias), number(activation)) else { return Ok(None) };
    let input = input.contiguous()?;
    let output = gpu.unwritten(input.dims())?;
    through(&gpu, "activate", &[&input, &output], bias, number)?;
    Ok(Some(output))
}

/// The gradient of the input of [`activate`].
pub(crate) fn activate_gradient(
    input: &Tensor,
    bias: Option<&Tensor>,
    activation: Activation,
    grad: &Tensor,
) -> Result<Option<Tensor>> {
    let gpu = gpu_of(input, bias).filter(|gpu| grad.dtype() == gpu.dtype);
    let (Some(gpu), Some(number)) = (gpu, number(activation)) else { return Ok(None) };
    let (input, grad) = (input.contiguous()?, grad.contiguous()?);
    let of_input = gpu.unwritten(input.dims())?;
    through(&gpu, "activate_gradient", &[&input, &grad, &of_input], bias, number)?;
    Ok(Some(of_input))
}

fn gpu_of(input: &Tensor, bias: Option<&Tensor>) -> Option<Gpu> {
    Gpu::of(input).filter(|_| bias.is_none_or(|bias| bias.dtype() == DType::F32))
}

/// Runs a kernel that takes the input, the bias, and other tensors of the input's shape.
fn through(gpu: &Gpu, name: &str, tensors: &[&Tensor], bias: Option<&Tensor>, number: i32) -> Result<()> {
    let channels = tensors[0].dim(D::Minus1)?;
    let count = tensors[0].elem_count();
    let bias = bias.map(Tensor::contiguous).transpose()?;
    let bias = bias.as_ref().map_or(Ok(0), |bias| gpu.address(bias))?;
    let places = tensors.iter().map(|tensor| gpu.address(tensor)).collect::<Result<Vec<_>>>()?;
    let (name, pack) = gpu.packed(name, channels, &places);
    let mut arguments: Vec<Argument<'_>> = places.iter().map(|place| (*place).into()).collect();
    arguments.insert(1, bias.into());
    arguments.extend([Argument::Long(count as i64), Argument::Int(channels as i32), Argument::Int(number)]);
    gpu.launch_each(Source::Activation, &name, (count, pack), &arguments)
}

/// The number of a gate in the kernels.
fn gate_number(kind: GateKind) -> i32 {
    match kind {
        GateKind::HardSigmoid => 0,
        GateKind::Sigmoid => 1,
    }
}

pub(crate) fn gate(input: &Tensor, logits: &Tensor, kind: GateKind) -> Result<Option<Tensor>> {
    let Some(gpu) = Gpu::of(input).filter(|_| input.dtype() == logits.dtype()) else { return Ok(None) };
    let (_, height, width, channels) = input.dims4()?;
    let (input, logits) = (input.contiguous()?, logits.contiguous()?);
    let output = gpu.unwritten(input.dims())?;
    let places = [gpu.address(&input)?, gpu.address(&logits)?, gpu.address(&output)?];
    let (name, pack) = gpu.packed("gate", channels, &places);
    let count = output.elem_count();
    let [from, of_logits, to] = places.map(Argument::Address);
    let sizes = [(height * width) as i32, channels as i32, gate_number(kind)].map(Argument::Int);
    let arguments = [&[from, of_logits, to, (count as i64).into()][..], &sizes].concat();
    gpu.launch_each(Source::Activation, &name, (count, pack), &arguments)?;
    Ok(Some(output))
}

pub(crate) fn gate_gradients(
    input: &Tensor,
    logits: &Tensor,
    kind: GateKind,
    grad: &Tensor,
) -> Result<Option<(Tensor, Tensor)>> {
    let Some(gpu) = Gpu::of(input).filter(|gpu| grad.dtype() == gpu.dtype) else { return Ok(None) };
    let Some(of_input) = gate(grad, logits, kind)? else { return Ok(None) };
    let (batch, height, width, channels) = input.dims4()?;
    let (input, logits, grad) = (input.contiguous()?, logits.contiguous()?, grad.contiguous()?);
    let of_logits = gpu.unwritten(logits.dims())?;
    let places = [gpu.address(&input)?, gpu.address(&logits)?, gpu.address(&grad)?, gpu.address(&of_logits)?];
    let sizes = [(height * width) as i32, channels as i32, gate_number(kind)].map(Argument::Int);
    let arguments = [&places.map(Argument::Address)[..], &sizes].concat();
    let grid = ((channels.div_ceil(32) as u32, batch as u32), (32, 8), 0);
    gpu.launch(Source::Activation, &gpu.typed("gate_logits"), grid, &arguments)?;
    Ok(Some((of_input, of_logits)))
}
