//! Batch normalisation with what usually follows it, an addition and an activation, in one pass over the data.

use crate::activation::{
    Activation, at_least, gelu, gelu_slope, hard_swish, hard_swish_slope, silu, silu_slope, through,
};
use crate::buffer::{slice, with_values, written};
use crate::channels::{Lines, sums_of_channels};
use crate::cuda;
use crate::lines::{add_line, map_line, vectorized};
use candle_core::{CpuStorage, CustomOp2, CustomOp3, D, Layout, ModuleT, Result, Shape, Tensor, Var, bail};
use rayon::prelude::*;
use std::sync::Arc;

/// Mean and variance of each channel, (channels) f32 each.
#[derive(Clone)]
pub struct Moments {
    /// The mean.
    pub mean: Tensor,
    /// The biased variance: the mean squared distance from the mean.
    pub variance: Tensor,
}

/// The moments of `input`, (..., channels) f32, over all but the last dimension. No gradient flows through them alone;
/// [`batch_norm`] accounts for them.
pub fn moments(input: &Tensor) -> Result<Moments> {
    let channels = input.dim(D::Minus1)?;
    let input = input.detach();
    if !input.device().is_cpu() {
        if let Some(found) = cuda::moments(&input)? {
            return Ok(found);
        }
        let rows = input.reshape(((), channels))?;
        let mean = rows.mean(0)?;
        let variance = rows.broadcast_sub(&mean)?.sqr()?.mean(0)?;
        return Ok(Moments { mean, variance });
    }
    let count = input.elem_count() / channels.max(1);
    if count == 0 {
        bail!("batch_norm: there are no values to take the mean of");
    }
    let (mean, variance) = with_values([&input], |[values]| {
        // The sum first, then the squared distances: one pass of squares would cancel.
        let [sum] = sums_of_channels(
            values.len(),
            channels,
            #[inline(always)]
            |range, sums| add_line(sums, [&values[range]], |value| value),
        );
        let mean: Vec<f32> = sum.iter().map(|sum| (sum / count as f64) as f32).collect();
        let lines = Lines::new(channels);
        let repeated = lines.repeated(&mean);
        let [squares] = sums_of_channels(
            values.len(),
            channels,
            #[inline(always)]
            |range, sums| {
                add_line(sums, [&values[range], &repeated], |[value, mean]| [(value - mean) * (value - mean)])
            },
        );
        Ok((mean, squares.iter().map(|sum| (sum / count as f64) as f32).collect::<Vec<f32>>()))
    })?;
    let tensor = |values: Vec<f32>| Tensor::from_vec(values, channels, input.device());
    Ok(Moments { mean: tensor(mean)?, variance: tensor(variance)? })
}

impl Moments {
    /// Lets running moments follow these, of a batch in which each channel has `count` values: `running += momentum *
    /// (found - running)`, where the variance is the unbiased one, as in `torch.nn.BatchNorm2d`.
    ///
    /// # Errors
    /// When the shapes differ.
    pub fn move_running(&self, mean: &Var, variance: &Var, momentum: f64, count: usize) -> Result<()> {
        let unbias = count as f64 / (count as f64 - 1.0).max(1.0);
        if cuda::follow(self, mean, variance, momentum, unbias)?.is_some() {
            return Ok(());
        }
        let blend = |old: &Var, new: &Tensor, share: f64| {
            old.set(&((old.as_tensor().detach() * (1.0 - momentum))? + (new * share)?)?)
        };
        blend(mean, &self.mean, momentum)?;
        blend(variance, &self.variance, momentum * unbias)
    }
}

/// Where the moments come from; this decides the gradient of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MomentsOf {
    /// The input itself: they change with it.
    Batch,
    /// Elsewhere: they are constants.
    Running,
}

/// What [`batch_norm`] takes.
#[derive(Clone)]
pub struct BatchNormInputs {
    /// What is normalised: (..., channels) f32.
    pub input: Tensor,
    /// Its moments, and where they come from.
    pub moments: (Moments, MomentsOf),
    /// (channels)
    pub weight: Tensor,
    /// (channels)
    pub bias: Tensor,
    /// What is added before the activation, of the input's shape.
    pub residual: Option<Tensor>,
    /// What follows.
    pub activation: Activation,
    /// What keeps the root from zero.
    pub epsilon: f64,
}

impl BatchNormInputs {
    fn check(&self) -> Result<()> {
        let channels = self.input.dim(D::Minus1)?;
        let (moments, _) = &self.moments;
        for parameter in [&moments.mean, &moments.variance, &self.weight, &self.bias] {
            if parameter.dims() != [channels] {
                bail!("batch_norm: {channels} channels do not fit a parameter of shape {:?}", parameter.dims());
            }
        }
        if self.residual.as_ref().is_some_and(|residual| residual.dims() != self.input.dims()) {
            bail!("batch_norm: what is added has another shape than {:?}", self.input.dims());
        }
        if self.residual.is_some() && !self.activation.cuts() {
            bail!("batch_norm: nothing can be added before {:?}", self.activation);
        }
        Ok(())
    }

    /// Fallback to candle-nn, with pixels as rows. In training it uses the batch's moments, and updates copies of the
    /// running ones, which are discarded.
    fn elsewhere(&self) -> Result<Tensor> {
        let channels = self.input.dim(D::Minus1)?;
        let (Moments { mean, variance }, of) = self.moments.clone();
        let (weight, bias) = (self.weight.clone(), self.bias.clone());
        let norm = candle_nn::BatchNorm::new(channels, mean, variance, weight, bias, self.epsilon)?;
        let rows = norm.forward_t(&self.input.reshape(((), channels))?, of == MomentsOf::Batch)?;
        let mut output = rows.reshape(self.input.shape())?;
        if let Some(residual) = &self.residual {
            output = (output + residual)?;
        }
        self.activation.elsewhere(output)
    }
}

/// Batch normalisation (Ioffe and Szegedy 2015, algorithm 1): `(input - mean) / sqrt(variance + epsilon) * weight +
/// bias`, plus the residual where there is one, through the activation.
///
/// # Errors
/// When the shapes do not fit together.
pub fn batch_norm(of: &BatchNormInputs) -> Result<Tensor> {
    of.check()?;
    if !of.input.device().is_cpu() {
        return cuda::batch_norm(of)?.map_or_else(|| of.elsewhere(), Ok);
    }
    let op = BatchNorm::new(of)?;
    let parameters = Tensor::stack(&[&of.weight, &of.bias], 0)?;
    let input = of.input.contiguous()?;
    match &of.residual {
        Some(residual) => input.apply_op3(&parameters, &residual.contiguous()?, op),
        None => input.apply_op2(&parameters, op),
    }
}

/// The gradients of [`batch_norm`].
pub struct BatchNormGradients {
    /// Of what was normalised.
    pub input: Tensor,
    /// (channels)
    pub weight: Tensor,
    /// (channels)
    pub bias: Tensor,
    /// Of what was added.
    pub residual: Option<Tensor>,
}

/// The gradients for the gradient `grad` of the output.
///
/// # Errors
/// When the shapes do not fit together.
pub fn batch_norm_gradients(of: &BatchNormInputs, output: &Tensor, grad: &Tensor) -> Result<BatchNormGradients> {
    of.check()?;
    if !of.input.device().is_cpu() {
        if let Some(gradients) = cuda::batch_norm_gradients(of, output, grad)? {
            return Ok(gradients);
        }
        let added = of.residual.clone().unwrap_or(of.input.zeros_like()?);
        let all = [&of.input, &of.weight, &of.bias, &added];
        let [input, weight, bias, added] = crate::elsewhere::gradients(all, grad, |[input, weight, bias, added]| {
            let (input, weight, bias) = (input.clone(), weight.clone(), bias.clone());
            BatchNormInputs { input, weight, bias, residual: Some(added.clone()), ..of.clone() }.elsewhere()
        })?;
        return Ok(BatchNormGradients { input, weight, bias, residual: of.residual.is_some().then_some(added) });
    }
    let parameters = Tensor::stack(&[&of.weight, &of.bias], 0)?;
    // Without an activation, what was added has the gradient of the output.
    let masked = of.residual.is_some() && of.activation != Activation::None;
    let (of_input, of_parameters, of_residual) =
        BatchNorm::new(of)?.gradients([&of.input, &parameters, output, grad], masked)?;
    Ok(BatchNormGradients {
        input: of_input,
        weight: of_parameters.get(0)?,
        bias: of_parameters.get(1)?,
        residual: of.residual.as_ref().map(|_| of_residual.unwrap_or_else(|| grad.clone())),
    })
}

struct Facts {
    mean: Vec<f32>,
    /// One over the standard deviation.
    inverse: Vec<f32>,
    of: MomentsOf,
    activation: Activation,
}

#[derive(Clone)]
struct BatchNorm(Arc<Facts>);

impl BatchNorm {
    fn new(inputs: &BatchNormInputs) -> Result<BatchNorm> {
        let (moments, of) = &inputs.moments;
        let mean = moments.mean.to_vec1::<f32>()?;
        let root = |variance: &f32| (1.0 / (f64::from(*variance) + inputs.epsilon).sqrt()) as f32;
        let inverse = moments.variance.to_vec1::<f32>()?.iter().map(root).collect();
        Ok(BatchNorm(Arc::new(Facts { mean, inverse, of: *of, activation: inputs.activation })))
    }

    /// (input - mean) * inverse * weight + bias, as one product and one sum: what to multiply with and what to add, for
    /// a line.
    fn scale_and_shift(&self, parameters: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let Facts { mean, inverse, .. } = &*self.0;
        let (weight, bias) = parameters.split_at(mean.len());
        let scale: Vec<f32> = inverse.iter().zip(weight).map(|(inverse, weight)| inverse * weight).collect();
        let shift: Vec<f32> =
            bias.iter().zip(mean).zip(&scale).map(|((bias, mean), scale)| bias - mean * scale).collect();
        let lines = Lines::new(mean.len());
        (lines.repeated(&scale), lines.repeated(&shift))
    }

    fn forward(&self, input: &[f32], parameters: &[f32], residual: Option<&[f32]>) -> Vec<f32> {
        match self.0.activation {
            Activation::HardSwish => self.forward_through(hard_swish, input, parameters, residual),
            Activation::Silu => self.forward_through(silu, input, parameters, residual),
            Activation::Gelu => self.forward_through(gelu, input, parameters, residual),
            Activation::None | Activation::Relu => {
                let least = self.0.activation.least();
                self.forward_through(move |value| at_least(value, least), input, parameters, residual)
            }
        }
    }

    fn forward_through(
        &self,
        activate: impl Fn(f32) -> f32 + Copy + Sync,
        input: &[f32],
        parameters: &[f32],
        residual: Option<&[f32]>,
    ) -> Vec<f32> {
        let (scale, shift) = self.scale_and_shift(parameters);
        let lines = Lines::new(self.0.mean.len());
        let write = |out: &mut [std::mem::MaybeUninit<f32>]| {
            out.par_chunks_mut(lines.stripe()).enumerate().for_each(|(index, out)| {
                let first = index * lines.stripe();
                let input = &input[first..first + out.len()];
                vectorized(
                    #[inline(always)]
                    || {
                        for (place, out) in out.chunks_mut(lines.width()).enumerate() {
                            let range = place * lines.width()..place * lines.width() + out.len();
                            let input = &input[range.clone()];
                            match residual {
                                Some(residual) => map_line(
                                    out,
                                    [input, &scale, &shift, &residual[first..][range]],
                                    |[value, scale, shift, residual]| activate(value * scale + (shift + residual)),
                                ),
                                None => map_line(out, [input, &scale, &shift], |[value, scale, shift]| {
                                    activate(value * scale + shift)
                                }),
                            }
                        }
                    },
                );
            });
        };
        // Safety: every chunk is written to its end.
        unsafe { written(input.len(), write) }
    }

    /// The gradients of the input, the parameters (2, channels) and what was added.
    fn backward(&self, all: [&[f32]; 4], with_residual: bool) -> (Vec<f32>, Vec<f32>, Option<Vec<f32>>) {
        match self.0.activation {
            Activation::HardSwish => self.backward_through(|grad, _, z| grad * hard_swish_slope(z), all, with_residual),
            Activation::Silu => self.backward_through(|grad, _, z| grad * silu_slope(z), all, with_residual),
            Activation::Gelu => self.backward_through(|grad, _, z| grad * gelu_slope(z), all, with_residual),
            Activation::None | Activation::Relu => {
                let least = self.0.activation.least();
                self.backward_through(move |grad, output, _| through(grad, output, least), all, with_residual)
            }
        }
    }

    /// `back` gives the gradient before the activation from the one behind it, the output, and the value before it (which
    /// is without what was added).
    fn backward_through(
        &self,
        back: impl Fn(f32, f32, f32) -> f32 + Copy + Sync,
        [input, parameters, output, grad]: [&[f32]; 4],
        with_residual: bool,
    ) -> (Vec<f32>, Vec<f32>, Option<Vec<f32>>) {
        let Facts { mean, inverse, of, .. } = &*self.0;
        let channels = mean.len();
        let count = (input.len() / channels) as f64;
        let lines = Lines::new(channels);
        let means = lines.repeated(mean);
        let (scale, shift) = self.scale_and_shift(parameters);
        let [grads, products] = sums_of_channels(
            input.len(),
            channels,
            #[inline(always)]
            |range, sums| {
                let inputs = [&grad[range.clone()], &output[range.clone()], &input[range], &means, &scale, &shift];
                add_line(sums, inputs, |[grad, output, value, mean, scale, shift]| {
                    let grad = back(grad, output, value * scale + shift);
                    [grad, grad * (value - mean)]
                });
            },
        );
        let mut of_parameters: Vec<f32> =
            products.iter().zip(inverse).map(|(product, inverse)| (product * f64::from(*inverse)) as f32).collect();
        of_parameters.extend(grads.iter().map(|sum| *sum as f32));
        // d input = scale * grad - b * (input - mean) - c
        let of_moments = |share: &dyn Fn(usize) -> f64| -> Vec<f32> {
            let value = |channel: usize| match of {
                MomentsOf::Batch => (f64::from(scale[channel]) * share(channel) / count) as f32,
                MomentsOf::Running => 0.0,
            };
            lines.repeated(&(0..channels).map(value).collect::<Vec<f32>>())
        };
        let b = of_moments(&|channel| products[channel] * f64::from(inverse[channel]).powi(2));
        let c = of_moments(&|channel| grads[channel]);
        let mut of_residual = Vec::new();
        let stripe = lines.stripe();
        let write = |out: &mut [std::mem::MaybeUninit<f32>]| {
            let pass = |index: usize,
                        out: &mut [std::mem::MaybeUninit<f32>],
                        added: Option<&mut [std::mem::MaybeUninit<f32>]>| {
                let first = index * stripe;
                let mut added = added;
                vectorized(
                    #[inline(always)]
                    || {
                        for (place, out) in out.chunks_mut(lines.width()).enumerate() {
                            let begin = first + place * lines.width();
                            let range = begin..begin + out.len();
                            let (grad, output, input) = (&grad[range.clone()], &output[range.clone()], &input[range]);
                            map_line(
                                out,
                                [grad, output, input, &scale, &b, &c, &means, &shift],
                                |[grad, output, value, scale, b, c, mean, shift]| {
                                    let grad = back(grad, output, value * scale + shift);
                                    scale * grad - b * (value - mean) - c
                                },
                            );
                            if let Some(added) = added.as_deref_mut() {
                                let added = &mut added[place * lines.width()..][..grad.len()];
                                // Where something was added, the output tells.
                                map_line(added, [grad, output], |[grad, output]| back(grad, output, f32::NAN));
                            }
                        }
                    },
                );
            };
            if with_residual {
                let fill = |added: &mut [std::mem::MaybeUninit<f32>]| {
                    let pairs = out.par_chunks_mut(stripe).zip(added.par_chunks_mut(stripe)).enumerate();
                    pairs.for_each(|(index, (out, added))| pass(index, out, Some(added)));
                };
                // Safety: every chunk is written to its end.
                of_residual = unsafe { written(input.len(), fill) };
            } else {
                out.par_chunks_mut(stripe).enumerate().for_each(|(index, out)| pass(index, out, None));
            }
        };
        // Safety: every chunk is written to its end.
        let of_input = unsafe { written(input.len(), write) };
        (of_input, of_parameters, with_residual.then_some(of_residual))
    }

    fn gradients(
        &self,
        [input, parameters, output, grad]: [&Tensor; 4],
        with_residual: bool,
    ) -> Result<(Tensor, Tensor, Option<Tensor>)> {
        let (of_input, of_parameters, of_residual) =
            with_values([input, parameters, output, grad], |all| Ok(self.backward(all, with_residual)))?;
        let like = |values: Vec<f32>, of: &Tensor| Tensor::from_vec(values, of.shape(), of.device());
        let of_residual = of_residual.map(|values| like(values, input)).transpose()?;
        Ok((like(of_input, input)?, like(of_parameters, parameters)?, of_residual))
    }
}

impl CustomOp2 for BatchNorm {
    fn name(&self) -> &'static str {
        "batch-norm"
    }

    fn cpu_fwd(
        &self,
        input: &CpuStorage,
        l1: &Layout,
        parameters: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let output = self.forward(slice(input, l1)?, slice(parameters, l2)?, None);
        Ok((CpuStorage::F32(output), l1.shape().clone()))
    }

    fn bwd(
        &self,
        input: &Tensor,
        parameters: &Tensor,
        output: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (of_input, of_parameters, _) = self.gradients([input, parameters, output, grad], false)?;
        Ok((Some(of_input), Some(of_parameters)))
    }
}

impl CustomOp3 for BatchNorm {
    fn name(&self) -> &'static str {
        "batch-norm-add"
    }

    fn cpu_fwd(
        &self,
        input: &CpuStorage,
        l1: &Layout,
        parameters: &CpuStorage,
        l2: &Layout,
        residual: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let output = self.forward(slice(input, l1)?, slice(parameters, l2)?, Some(slice(residual, l3)?));
        Ok((CpuStorage::F32(output), l1.shape().clone()))
    }

    fn bwd(
        &self,
        input: &Tensor,
        parameters: &Tensor,
        _residual: &Tensor,
        output: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (of_input, of_parameters, of_residual) = self.gradients([input, parameters, output, grad], true)?;
        Ok((Some(of_input), Some(of_parameters), of_residual))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::noise;
    use candle_core::{Device, Var};

    fn far(a: &Tensor, b: &Tensor) -> Result<f32> {
        (a - b)?.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>()
    }

    /// The fused operation gives what candle-nn's layer gives, forward and backward.
    fn check(shape: [usize; 4], of: MomentsOf, activation: Activation, adds: bool) -> Result<()> {
        // The same in every run: a value at the edge of the activation may be cut on one side alone.
        let channels = shape[3];
        let input = Var::from_tensor(&noise(&shape, 1).affine(4.0, 0.5)?)?;
        let residual = Var::from_tensor(&noise(&shape, 2).affine(2.0, 0.0)?)?;
        let weight = Var::from_tensor(&noise(&[channels], 3).affine(0.5, 1.0)?)?;
        let bias = Var::from_tensor(&noise(&[channels], 4).affine(0.5, 0.0)?)?;
        let inputs = BatchNormInputs {
            input: input.as_tensor().clone(),
            moments: (moments(&input)?, of),
            weight: weight.as_tensor().clone(),
            bias: bias.as_tensor().clone(),
            residual: adds.then(|| residual.as_tensor().clone()),
            activation,
            epsilon: 1e-5,
        };
        let (ours, theirs) = (batch_norm(&inputs)?, inputs.elsewhere()?);
        assert!(far(&ours, &theirs)? < 1e-4);
        let towards = noise(&shape, 5);
        let found = batch_norm_gradients(&inputs, &ours, &towards)?;
        let ours = (&ours * &towards)?.sum_all()?.backward()?;
        let theirs = (&theirs * &towards)?.sum_all()?.backward()?;
        let vars = [&input, &weight, &bias].into_iter().chain(adds.then_some(&residual));
        let found = [Some(found.input), Some(found.weight), Some(found.bias), found.residual];
        for (place, (var, found)) in vars.zip(found).enumerate() {
            let distance = far(ours.get(var).unwrap(), theirs.get(var).unwrap())?;
            assert!(distance < 2e-3, "gradient {place} is off by {distance}");
            assert_eq!(far(ours.get(var).unwrap(), &found.unwrap())?, 0.0);
        }
        Ok(())
    }

    #[test]
    fn every_form_agrees_with_its_definition() -> Result<()> {
        for shape in [[3, 5, 4, 7], [2, 4, 4, 64], [1, 1, 2, 1], [4, 9, 9, 130]] {
            for of in [MomentsOf::Batch, MomentsOf::Running] {
                for activation in [Activation::None, Activation::Relu, Activation::HardSwish, Activation::Silu] {
                    for adds in [false, true].into_iter().filter(|adds| !adds || activation.cuts()) {
                        check(shape, of, activation, adds)?;
                    }
                }
            }
        }
        Ok(())
    }

    #[test]
    fn moments_of_far_values_do_not_cancel() -> Result<()> {
        let values: Vec<f32> = (0..20_000).map(|index| 1000.0 + (index % 2) as f32).collect();
        let found = moments(&Tensor::from_vec(values, (10_000, 2), &Device::Cpu)?)?;
        assert_eq!(found.mean.to_vec1::<f32>()?, [1000.0, 1001.0]);
        assert_eq!(found.variance.to_vec1::<f32>()?, [0.0, 0.0]);
        Ok(())
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() -> Result<()> {
        let device = &Device::Cpu;
        let input = Tensor::ones((2, 3), candle_core::DType::F32, device)?;
        let two = Tensor::ones(2, candle_core::DType::F32, device)?;
        let fails = batch_norm(&BatchNormInputs {
            moments: (moments(&input)?, MomentsOf::Batch),
            input,
            weight: two.clone(),
            bias: two,
            residual: None,
            activation: Activation::None,
            epsilon: 1e-5,
        });
        assert!(fails.unwrap_err().to_string().contains("3 channels"));
        Ok(())
    }
}
