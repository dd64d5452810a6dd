//! Softmax cross-entropy with label smoothing, fused.

use crate::buffer::slice;
use crate::cuda;
use candle_core::{CpuStorage, CustomOp2, D, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// The cross-entropy of each row, in nats: `logits` is (batch, classes) f32, `labels` (batch) u32, the result (batch).
///
/// With `smoothing` e, the target is 1 - e on the label plus e / classes on every class (Szegedy et al. 2016,
/// section 7; the definition of `torch.nn.CrossEntropyLoss`).
///
/// # Errors
/// When the shapes or types are others, or a label is not below the number of classes.
pub fn cross_entropy(logits: &Tensor, labels: &Tensor, smoothing: f32) -> Result<Tensor> {
    let (batch, _) = logits.dims2()?;
    if labels.dims1()? != batch {
        bail!("cross_entropy: {batch} rows of logits but {} labels", labels.dims1()?);
    }
    if logits.device().is_cpu() {
        return logits.contiguous()?.apply_op2(&labels.contiguous()?, CrossEntropy { smoothing });
    }
    if let Some(losses) = cuda::cross_entropy(logits, labels, smoothing)? {
        return Ok(losses);
    }
    elsewhere(logits, labels, smoothing)
}

/// Fallback to candle-nn, whose loss is the batch mean.
fn elsewhere(logits: &Tensor, labels: &Tensor, smoothing: f32) -> Result<Tensor> {
    let classes = logits.dim(D::Minus1)? as f64;
    let log_probabilities = candle_nn::ops::log_softmax(logits, D::Minus1)?;
    let picked = log_probabilities.gather(&labels.unsqueeze(1)?, 1)?.squeeze(1)?;
    let all = log_probabilities.sum(D::Minus1)?;
    picked.affine(f64::from(smoothing) - 1.0, 0.0)? - all.affine(f64::from(smoothing) / classes, 0.0)?
}

struct CrossEntropy {
    smoothing: f32,
}

impl CustomOp2 for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }

    fn cpu_fwd(
        &self,
        logits: &CpuStorage,
        l1: &Layout,
        labels: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (batch, classes) = l1.shape().dims2()?;
        let logits = slice::<f32>(logits, l1)?;
        let labels = slice::<u32>(labels, l2)?;
        if let Some(label) = labels.iter().find(|&&label| label as usize >= classes) {
            bail!("cross_entropy: label {label} but only {classes} classes");
        }
        let smoothing = self.smoothing;
        let mut losses = vec![0.0f32; batch];
        losses.iter_mut().zip(logits.chunks_exact(classes)).zip(labels).for_each(|((loss, row), &label)| {
            let log_sum = log_sum_exp(row);
            let spread = if smoothing > 0.0 { row.iter().sum::<f32>() / classes as f32 } else { 0.0 };
            *loss = log_sum - (1.0 - smoothing) * row[label as usize] - smoothing * spread;
        });
        Ok((CpuStorage::F32(losses), Shape::from(batch)))
    }

    fn bwd(
        &self,
        logits: &Tensor,
        labels: &Tensor,
        _loss: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((Some(cross_entropy_gradient(logits, labels, self.smoothing, grad)?), None))
    }
}

/// The gradient of the logits of [`cross_entropy`] for the gradients `grad`, (batch), of the losses.
///
/// # Errors
/// When the shapes do not fit together.
pub fn cross_entropy_gradient(logits: &Tensor, labels: &Tensor, smoothing: f32, grad: &Tensor) -> Result<Tensor> {
    let (batch, classes) = logits.dims2()?;
    if !logits.device().is_cpu() {
        if let Some(of_logits) = cuda::cross_entropy_gradient(logits, labels, smoothing, grad)? {
            return Ok(of_logits);
        }
        let [of_logits] = crate::elsewhere::gradients([logits], grad, |[logits]| elsewhere(logits, labels, smoothing))?;
        return Ok(of_logits);
    }
    let mut delta = logits.flatten_all()?.to_vec1::<f32>()?;
    let labels = labels.to_vec1::<u32>()?;
    let grad = grad.contiguous()?.to_vec1::<f32>()?;
    let spread = smoothing / classes as f32;
    delta.par_chunks_exact_mut(classes).zip(labels).zip(grad).for_each(|((row, label), grad)| {
        let log_sum = log_sum_exp(row);
        for value in row.iter_mut() {
            *value = ((*value - log_sum).exp() - spread) * grad;
        }
        row[label as usize] -= (1.0 - smoothing) * grad;
    });
    Tensor::from_vec(delta, (batch, classes), logits.device())
}

fn log_sum_exp(row: &[f32]) -> f32 {
    let greatest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if greatest.is_infinite() {
        return greatest;
    }
    greatest + row.iter().map(|value| (value - greatest).exp()).sum::<f32>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device, Var};

    #[test]
    fn loss_and_gradient_agree_with_the_definition() -> Result<()> {
        let device = &Device::Cpu;
        let logits = Var::from_slice(&[2.0f32, -1.0, 0.5, 0.1, 0.2, 3.0], (2, 3), device)?;
        let labels = Tensor::from_slice(&[0u32, 1], 2, device)?;
        for smoothing in [0.0f32, 0.1] {
            let loss = cross_entropy(&logits, &labels, smoothing)?;
            let log_softmax = logits.broadcast_sub(&logits.log_sum_exp(1)?.unsqueeze(1)?)?;
            let one_hot = Tensor::from_slice(&[1.0f32, 0.0, 0.0, 0.0, 1.0, 0.0], (2, 3), device)?;
            let target = one_hot.affine(1.0 - f64::from(smoothing), f64::from(smoothing) / 3.0)?;
            let expected = (log_softmax * target)?.sum(1)?.neg()?;
            let difference = (&loss - &expected)?.abs()?.max(0)?.to_scalar::<f32>()?;
            assert!(difference < 1e-6, "loss differs by {difference}");
            let difference = (elsewhere(&logits, &labels, smoothing)? - &expected)?.abs()?.max(0)?;
            assert!(difference.to_scalar::<f32>()? < 1e-6, "the loss on another device differs by {difference}");
            let ours = loss.mean(0)?.backward()?;
            let theirs = expected.mean(0)?.backward()?;
            let difference = (ours.get(&logits).unwrap() - theirs.get(&logits).unwrap())?;
            assert!(difference.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>()? < 1e-6);
        }
        Ok(())
    }

    #[test]
    fn a_label_beyond_the_classes_is_an_error() -> Result<()> {
        let logits = Tensor::zeros((1, 2), DType::F32, &Device::Cpu)?;
        let labels = Tensor::from_slice(&[2u32], 1, &Device::Cpu)?;
        assert!(cross_entropy(&logits, &labels, 0.0).is_err());
        Ok(())
    }
}
