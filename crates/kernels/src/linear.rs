//! Matrix products with the weight of a layer.

use crate::conv2d::{Conv2dOptions, InputGradient, conv2d, conv2d_gradients};
use candle_core::{Module, Result, Tensor, bail};

/// `input`, (batch, from) f32, times the transpose of `weight`, (to, from) f32: (batch, to). It is the convolution of
/// images of one pixel.
///
/// # Errors
/// When the shapes do not fit together.
pub fn linear(input: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let ((batch, from), (to, weights)) = (input.dims2()?, weight.dims2()?);
    if from != weights {
        bail!("linear: a weight of {to} x {weights} does not fit {from} values");
    }
    if !input.device().is_cpu() {
        return candle_nn::Linear::new(weight.to_dtype(input.dtype())?, None).forward(input);
    }
    let pixels = input.reshape((batch, 1, 1, from))?;
    conv2d(&pixels, &weight.reshape((to, from, 1, 1))?, Conv2dOptions::default())?.reshape((batch, to))
}

/// The gradients of the input and the weight of [`linear`] for the gradient `grad` of its output.
///
/// # Errors
/// When the shapes do not fit together.
pub fn linear_gradients(
    input: &Tensor,
    weight: &Tensor,
    grad: &Tensor,
    wanted: InputGradient,
) -> Result<(Option<Tensor>, Tensor)> {
    let ((batch, from), (to, _)) = (input.dims2()?, weight.dims2()?);
    if !input.device().is_cpu() {
        let of_weight = grad.t()?.matmul(input)?.to_dtype(weight.dtype())?;
        return Ok((Some(grad.matmul(&weight.to_dtype(grad.dtype())?)?), of_weight));
    }
    let (pixels, kernel) = (input.reshape((batch, 1, 1, from))?, weight.reshape((to, from, 1, 1))?);
    let grad = grad.reshape((batch, 1, 1, to))?;
    let (of_input, of_weight) = conv2d_gradients(&pixels, &kernel, Conv2dOptions::default(), &grad, wanted)?;
    let of_input = of_input.map(|of_input| of_input.reshape((batch, from))).transpose()?;
    Ok((of_input, of_weight.reshape((to, from))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::noise;
    use candle_core::{Device, Var};

    #[test]
    fn products_and_gradients_are_those_of_matmul() -> Result<()> {
        let device = &Device::Cpu;
        for (batch, from, to) in [(1, 1, 1), (7, 130, 10), (33, 64, 100)] {
            let input = Var::from_tensor(&noise(&[batch, from], 1))?;
            let weight = Var::from_tensor(&noise(&[to, from], 2))?;
            let (ours, theirs) = (linear(&input, &weight)?, input.matmul(&weight.t()?)?);
            let far = |a: &Tensor, b: &Tensor| (a - b)?.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>();
            assert!(far(&ours, &theirs)? < 1e-4);
            let (ours, theirs) = (ours.sqr()?.sum_all()?.backward()?, theirs.sqr()?.sum_all()?.backward()?);
            for var in [&input, &weight] {
                assert!(far(ours.get(var).unwrap(), theirs.get(var).unwrap())? < 1e-2);
            }
        }
        assert!(
            linear(
                &Tensor::ones((1, 2), candle_core::DType::F32, device)?,
                &Tensor::ones((1, 3), candle_core::DType::F32, device)?
            )
            .is_err()
        );
        Ok(())
    }
}
