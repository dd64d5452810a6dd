//! Gates: how much of each channel of each image goes on, as squeeze-and-excitation blocks decide it.

use crate::activation::{hard_sigmoid, hard_sigmoid_slope};
use crate::buffer::{slice, with_values, written};
use crate::cuda;
use crate::exponential::sigmoid;
use crate::lines::{add_line, map_line, vectorized};
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;
use std::mem::MaybeUninit;

/// How a logit becomes the share of a channel that goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateKind {
    /// `min(max(x + 3, 0), 6) / 6`, as in MobileNetV3.
    HardSigmoid,
    /// `1 / (1 + exp(-x))`, as in EfficientNet.
    Sigmoid,
}

impl GateKind {
    fn share(self, logit: f32) -> f32 {
        match self {
            GateKind::HardSigmoid => hard_sigmoid(logit),
            GateKind::Sigmoid => sigmoid(logit),
        }
    }

    fn slope(self, logit: f32) -> f32 {
        match self {
            GateKind::HardSigmoid => hard_sigmoid_slope(logit),
            GateKind::Sigmoid => sigmoid(logit) * (1.0 - sigmoid(logit)),
        }
    }
}

/// `input`, (batch, height, width, channels) f32, times the shares that `logits`, (batch, channels) f32, become: the last
/// step of a squeeze-and-excitation block (Hu et al. 2018).
///
/// # Errors
/// When the shapes do not fit together.
pub fn gate(input: &Tensor, logits: &Tensor, kind: GateKind) -> Result<Tensor> {
    let (batch, _, _, channels) = input.dims4()?;
    if logits.dims() != [batch, channels] {
        bail!("gate: logits {:?} do not fit images {:?}", logits.dims(), input.dims());
    }
    if input.device().is_cpu() {
        return input.contiguous()?.apply_op2(&logits.contiguous()?, Gate(kind));
    }
    cuda::gate(input, logits, kind)?.map_or_else(|| elsewhere(input, logits, kind), Ok)
}

/// The gradients of the input and the logits of [`gate`] for the gradient `grad` of its output.
///
/// # Errors
/// When the shapes do not fit together.
pub fn gate_gradients(input: &Tensor, logits: &Tensor, kind: GateKind, grad: &Tensor) -> Result<(Tensor, Tensor)> {
    let (batch, height, width, channels) = input.dims4()?;
    if logits.dims() != [batch, channels] || grad.dims() != input.dims() {
        bail!("gate: logits {:?} and a gradient {:?} do not fit images {:?}", logits.dims(), grad.dims(), input.dims());
    }
    if !input.device().is_cpu() {
        if let Some(gradients) = cuda::gate_gradients(input, logits, kind, grad)? {
            return Ok(gradients);
        }
        let [of_input, of_logits] =
            crate::elsewhere::gradients([input, logits], grad, |[input, logits]| elsewhere(input, logits, kind))?;
        return Ok((of_input, of_logits));
    }
    let image = height * width * channels;
    let (of_input, of_logits) = with_values([input, logits, grad], |[input, logits, grad]| {
        let mut of_logits = vec![0.0; batch * channels];
        let write = |out: &mut [MaybeUninit<f32>]| {
            let images = input.par_chunks_exact(image).zip(grad.par_chunks_exact(image));
            let rows = logits.par_chunks_exact(channels).zip(of_logits.par_chunks_exact_mut(channels));
            out.par_chunks_exact_mut(image).zip(images).zip(rows).for_each(|((out, (input, grad)), (logits, sums))| {
                back(kind, [input, logits, grad], sums, out);
            });
        };
        // Safety: every image is written to its end.
        let of_input = unsafe { written(input.len(), write) };
        Ok((of_input, of_logits))
    })?;
    let like = |values: Vec<f32>, of: &Tensor| Tensor::from_vec(values, of.shape(), of.device());
    Ok((like(of_input, input)?, like(of_logits, logits)?))
}

/// Fallback to candle-nn.
fn elsewhere(input: &Tensor, logits: &Tensor, kind: GateKind) -> Result<Tensor> {
    let share = match kind {
        GateKind::HardSigmoid => candle_nn::ops::hard_sigmoid(logits)?,
        GateKind::Sigmoid => candle_nn::ops::sigmoid(logits)?,
    };
    input.broadcast_mul(&share.unsqueeze(1)?.unsqueeze(1)?)
}

struct Gate(GateKind);

impl CustomOp2 for Gate {
    fn name(&self) -> &'static str {
        "gate"
    }

    fn cpu_fwd(
        &self,
        input: &CpuStorage,
        l1: &Layout,
        logits: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (input, logits) = (slice::<f32>(input, l1)?, slice::<f32>(logits, l2)?);
        let (_, height, width, channels) = l1.shape().dims4()?;
        let image = height * width * channels;
        let write = |out: &mut [MaybeUninit<f32>]| {
            let images = input.par_chunks_exact(image).zip(logits.par_chunks_exact(channels));
            out.par_chunks_exact_mut(image).zip(images).for_each(|(out, (input, logits))| {
                forward(self.0, input, logits, out);
            });
        };
        // Safety: every image is written to its end.
        let output = unsafe { written(input.len(), write) };
        Ok((CpuStorage::F32(output), l1.shape().clone()))
    }

    fn bwd(
        &self,
        input: &Tensor,
        logits: &Tensor,
        _output: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (of_input, of_logits) = gate_gradients(input, logits, self.0, grad)?;
        Ok((Some(of_input), Some(of_logits)))
    }
}

/// One image.
fn forward(kind: GateKind, input: &[f32], logits: &[f32], out: &mut [MaybeUninit<f32>]) {
    let shares: Vec<f32> = logits.iter().map(|logit| kind.share(*logit)).collect();
    vectorized(
        #[inline(always)]
        || {
            for (out, input) in out.chunks_exact_mut(shares.len()).zip(input.chunks_exact(shares.len())) {
                map_line(out, [input, &shares], |[value, share]| value * share);
            }
        },
    );
}

/// The gradients of one image; `of_logits` begins with zeros.
fn back(kind: GateKind, [input, logits, grad]: [&[f32]; 3], of_logits: &mut [f32], out: &mut [MaybeUninit<f32>]) {
    let shares: Vec<f32> = logits.iter().map(|logit| kind.share(*logit)).collect();
    let channels = shares.len();
    vectorized(
        #[inline(always)]
        || {
            let pixels = input.chunks_exact(channels).zip(grad.chunks_exact(channels));
            for (out, (input, grad)) in out.chunks_exact_mut(channels).zip(pixels) {
                map_line(out, [grad, &shares], |[grad, share]| grad * share);
                add_line([&mut *of_logits], [grad, input], |[grad, value]| [grad * value]);
            }
        },
    );
    for (sum, logit) in of_logits.iter_mut().zip(logits) {
        *sum *= kind.slope(*logit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::{assert_close, differences, noise, threads_agree};
    use candle_core::Var;

    fn check([batch, height, width, channels]: [usize; 4], kind: GateKind, of: fn(f64) -> f64) -> Result<()> {
        let input = noise(&[batch, height, width, channels], 1);
        let logits = noise(&[batch, channels], 2).affine(5.0, 0.0)?;
        let grad = noise(input.dims(), 3);
        let defined = |inputs: &[Vec<f64>]| -> Vec<f64> {
            let share = |place: usize| {
                let image = place / (height * width * channels);
                of(inputs[1][image * channels + place % channels])
            };
            inputs[0].iter().enumerate().map(|(place, value)| value * share(place)).collect()
        };
        let (output, gradients) = differences(&[&input, &logits], &grad, defined)?;
        assert_close("output", &gate(&input, &logits, kind)?, &output, 1e-6);
        let (of_input, of_logits) = gate_gradients(&input, &logits, kind, &grad)?;
        assert_close("gradient of the input", &of_input, &gradients[0], 1e-5);
        assert_close("gradient of the logits", &of_logits, &gradients[1], 1e-5);
        let vars = [Var::from_tensor(&input)?, Var::from_tensor(&logits)?];
        let grads = (gate(&vars[0], &vars[1], kind)? * &grad)?.sum_all()?.backward()?;
        assert_close("handed on", grads.get(&vars[0]).unwrap(), &gradients[0], 1e-5);
        assert_close("on another device", &elsewhere(&input, &logits, kind)?, &output, 1e-6);
        Ok(())
    }

    #[test]
    fn forward_and_gradients_agree_with_the_definition() -> Result<()> {
        for shape in [[1, 1, 1, 1], [3, 2, 3, 5], [2, 4, 4, 40]] {
            check(shape, GateKind::HardSigmoid, |x| (x + 3.0).clamp(0.0, 6.0) / 6.0)?;
            check(shape, GateKind::Sigmoid, |x| 1.0 / (1.0 + (-x).exp()))?;
        }
        Ok(())
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let (input, logits) = (noise(&[5, 9, 9, 24], 1), noise(&[5, 24], 2));
        threads_agree(|| {
            let (of_input, of_logits) = gate_gradients(&input, &logits, GateKind::Sigmoid, &input).unwrap();
            vec![gate(&input, &logits, GateKind::Sigmoid).unwrap(), of_input, of_logits]
        });
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() {
        let message = gate(&noise(&[2, 3, 3, 4], 1), &noise(&[2, 5], 1), GateKind::Sigmoid).unwrap_err().to_string();
        assert!(message.contains("logits [2, 5] do not fit images [2, 3, 3, 4]"), "{message}");
    }
}
