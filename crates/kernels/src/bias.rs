//! A bias for each channel with an activation, in one pass.

use crate::activation::{Activation, at_least, through};
use crate::buffer::{slice, with_values, written};
use crate::channels::{Lines, sums_of_channels};
use crate::cuda;
use crate::lines::{add_line, map_line, vectorized};
use candle_core::{CpuStorage, CustomOp2, D, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// `input`, (..., channels) f32, plus `bias`, (channels) f32, through the activation, which is none or ReLU.
///
/// # Errors
/// When the shapes do not fit together, and for another activation.
pub fn add_bias(input: &Tensor, bias: &Tensor, activation: Activation) -> Result<Tensor> {
    if bias.dims() != [input.dim(D::Minus1)?] {
        bail!("add_bias: {:?} does not fit the channels of {:?}", bias.dims(), input.dims());
    }
    if !activation.cuts() {
        bail!("add_bias: {activation:?} is an operation of its own");
    }
    if input.device().is_cpu() {
        return input.contiguous()?.apply_op2(bias, AddBias(activation));
    }
    if let Some(output) = cuda::add_bias(input, bias, activation)? {
        return Ok(output);
    }
    activation.elsewhere(input.broadcast_add(bias)?)
}

struct AddBias(Activation);

impl CustomOp2 for AddBias {
    fn name(&self) -> &'static str {
        "add-bias"
    }

    fn cpu_fwd(&self, input: &CpuStorage, l1: &Layout, bias: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        let input = slice::<f32>(input, l1)?;
        let bias = slice::<f32>(bias, l2)?;
        let lines = Lines::new(bias.len());
        let bias = lines.repeated(bias);
        let least = self.0.least();
        let write = |out: &mut [std::mem::MaybeUninit<f32>]| {
            out.par_chunks_mut(lines.stripe()).zip(input.par_chunks(lines.stripe())).for_each(|(out, input)| {
                vectorized(
                    #[inline(always)]
                    || {
                        for (out, input) in out.chunks_mut(lines.width()).zip(input.chunks(lines.width())) {
                            map_line(out, [input, &bias], |[value, bias]| at_least(value + bias, least));
                        }
                    },
                );
            });
        };
        // Safety: every chunk is written to its end.
        let output = unsafe { written(input.len(), write) };
        Ok((CpuStorage::F32(output), l1.shape().clone()))
    }

    fn bwd(
        &self,
        _input: &Tensor,
        _bias: &Tensor,
        output: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (of_input, of_bias) = add_bias_gradients(output, grad, self.0)?;
        Ok((Some(of_input), Some(of_bias)))
    }
}

/// The gradients of the input and the bias of [`add_bias`] for the gradient `grad` of its `output`.
///
/// # Errors
/// When the shapes do not fit together.
pub fn add_bias_gradients(output: &Tensor, grad: &Tensor, activation: Activation) -> Result<(Tensor, Tensor)> {
    let channels = output.dim(D::Minus1)?;
    let least = activation.least();
    if !grad.device().is_cpu() {
        if let Some(gradients) = cuda::add_bias_gradients(output, grad, activation)? {
            return Ok(gradients);
        }
        let of_input = match activation == Activation::None {
            true => grad.clone(),
            false => (grad * output.gt(f64::from(least))?.to_dtype(grad.dtype())?)?,
        };
        let of_bias = of_input.reshape(((), channels))?.sum(0)?;
        return Ok((of_input, of_bias));
    }
    let (of_input, of_bias) = with_values([output, grad], |[output, grad]| {
        let [sums] = sums_of_channels(
            grad.len(),
            channels,
            #[inline(always)]
            |range, sums| {
                let inputs = [&grad[range.clone()], &output[range]];
                add_line(sums, inputs, |[grad, output]| [through(grad, output, least)]);
            },
        );
        let stripe = Lines::new(channels).stripe();
        let write = |out: &mut [std::mem::MaybeUninit<f32>]| {
            let pairs = grad.par_chunks(stripe).zip(output.par_chunks(stripe));
            out.par_chunks_mut(stripe).zip(pairs).for_each(|(out, (grad, output))| {
                vectorized(
                    #[inline(always)]
                    || map_line(out, [grad, output], |[grad, output]| through(grad, output, least)),
                );
            });
        };
        // Safety: every chunk is written to its end.
        let of_input = (activation != Activation::None).then(|| unsafe { written(grad.len(), write) });
        Ok((of_input, sums.iter().map(|sum| *sum as f32).collect::<Vec<f32>>()))
    })?;
    let of_input = match of_input {
        Some(values) => Tensor::from_vec(values, output.shape(), output.device())?,
        None => grad.clone(),
    };
    Ok((of_input, Tensor::from_vec(of_bias, channels, output.device())?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::noise;
    use candle_core::{Device, Var};

    #[test]
    fn bias_and_activation_agree_with_their_definition() -> Result<()> {
        for channels in [1, 10, 200] {
            let input = Var::from_tensor(&noise(&[3, 7, channels], 1))?;
            let bias = Var::from_tensor(&noise(&[channels], 2))?;
            let towards = noise(&[3, 7, channels], 3);
            for activation in [Activation::None, Activation::Relu] {
                let ours = add_bias(&input, &bias, activation)?;
                let plain = input.broadcast_add(&bias)?;
                let theirs = if activation == Activation::Relu { plain.relu()? } else { plain };
                let far = |a: &Tensor, b: &Tensor| (a - b)?.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>();
                assert_eq!(far(&ours, &theirs)?, 0.0);
                let ours = (ours * &towards)?.sum_all()?.backward()?;
                let theirs = (theirs * &towards)?.sum_all()?.backward()?;
                for var in [&input, &bias] {
                    assert!(far(ours.get(var).unwrap(), theirs.get(var).unwrap())? < 1e-4);
                }
            }
        }
        Ok(())
    }

    #[test]
    fn nan_goes_through_the_activation() -> Result<()> {
        let input = Tensor::from_slice(&[f32::NAN, -1.0], (1, 2), &Device::Cpu)?;
        let bias = Tensor::zeros(2, candle_core::DType::F32, &Device::Cpu)?;
        let output = add_bias(&input, &bias, Activation::Relu)?.flatten_all()?.to_vec1::<f32>()?;
        assert!(output[0].is_nan() && output[1] == 0.0);
        Ok(())
    }
}
