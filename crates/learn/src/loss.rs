//! What a model is to make less: the loss of its logits, with its gradient.

use crate::Result;
use crate::config;
use crate::loader::Target;
use assay_domain::Labelling;
use assay_kernels::{cross_entropy, cross_entropy_gradient};
use candle_core::{D, DType, Tensor};

/// The loss of a config.
pub(crate) struct Loss {
    pub(crate) labelling: Labelling,
    smoothing: f32,
    /// How much the samples of each class count among all decisions about it, (classes); as much as others without.
    positive_weights: Option<Tensor>,
}

impl Loss {
    pub(crate) fn new(config: &config::Train) -> Loss {
        Loss { labelling: config.labelling(), smoothing: config.label_smoothing as f32, positive_weights: None }
    }

    /// From now on samples of a class count as much.
    pub(crate) fn weigh_positives(&mut self, weights: &[f32], like: &candle_core::Device) -> Result<()> {
        self.positive_weights = Some(Tensor::new(weights, like)?);
        Ok(())
    }

    /// The sum of the weighted losses of logits, (batch, classes).
    pub(crate) fn of(&self, logits: &Tensor, target: &Target) -> Result<Tensor> {
        let losses = match self.labelling {
            Labelling::AnyClasses => self.decisions(logits, target)?.loss()?,
            Labelling::OneClass => cross_entropy(logits, &target.labels, self.smoothing)?,
        };
        Ok((losses * &target.weights)?.sum_all()?)
    }

    /// The gradient of the logits for a share of that sum.
    pub(crate) fn gradient(&self, logits: &Tensor, target: &Target, share: f64) -> Result<Tensor> {
        let weights = if share == 1.0 { target.weights.clone() } else { (&target.weights * share)? };
        match self.labelling {
            Labelling::AnyClasses => {
                self.decisions(logits, target)?.gradient(&weights)?.to_dtype(logits.dtype()).map_err(Into::into)
            }
            Labelling::OneClass => Ok(cross_entropy_gradient(logits, &target.labels, self.smoothing, &weights)?),
        }
    }

    /// How many samples are right: of which the most probable class, or of sets each decision.
    pub(crate) fn right(&self, logits: &Tensor, target: &Target) -> Result<Tensor> {
        let logits = logits.to_dtype(DType::F32)?;
        let right = match self.labelling {
            Labelling::AnyClasses => {
                let truth = target.labels.gt(0.5)?;
                logits.gt(0.0)?.eq(&truth)?.to_dtype(DType::F32)?.min(D::Minus1)?
            }
            Labelling::OneClass => logits.argmax(D::Minus1)?.eq(&target.labels)?.to_dtype(DType::F32)?,
        };
        Ok(right.sum_all()?)
    }

    fn decisions(&self, logits: &Tensor, target: &Target) -> Result<Decisions> {
        let smoothing = f64::from(self.smoothing);
        // Towards one half.
        let truth = target.labels.affine(1.0 - smoothing, smoothing / 2.0)?;
        let weights = match &self.positive_weights {
            Some(weights) => (truth.broadcast_mul(&(weights - 1.0)?)? + 1.0)?,
            None => truth.ones_like()?,
        };
        Ok(Decisions { logits: logits.to_dtype(DType::F32)?, truth, weights })
    }
}

/// Decisions about each class of each sample, (batch, classes) each. For a logit x, a truth z and a weight w = 1 + (p - 1) z
/// of positives that count p times, the loss is (1 - z) x + w softplus(-x).
struct Decisions {
    logits: Tensor,
    truth: Tensor,
    weights: Tensor,
}

impl Decisions {
    /// The mean over classes, (batch).
    fn loss(&self) -> Result<Tensor> {
        let softplus = (self.logits.neg()?.relu()? + (self.logits.abs()?.neg()?.exp()? + 1.0)?.log()?)?;
        let linear = (self.truth.affine(-1.0, 1.0)? * &self.logits)?;
        Ok((linear + (&self.weights * softplus)?)?.mean(D::Minus1)?)
    }

    /// For gradients of the losses, (batch).
    fn gradient(&self, of_losses: &Tensor) -> Result<Tensor> {
        let doubt = candle_nn::ops::sigmoid(&self.logits.neg()?)?;
        let slope = (self.truth.affine(-1.0, 1.0)? - (&self.weights * doubt)?)?;
        let classes = self.logits.dim(D::Minus1)? as f64;
        Ok(slope.broadcast_mul(&(of_losses / classes)?.unsqueeze(1)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, Device};

    fn loss(overrides: &[&str]) -> Loss {
        let overrides = [&["train.loss=binary-cross-entropy"], overrides].concat();
        let config = Config::resolve("", &overrides.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        Loss::new(&config.unwrap().train)
    }

    /// The figures are those of PyTorch's `binary_cross_entropy_with_logits`.
    #[test]
    fn binary_cross_entropy_is_that_of_pytorch() {
        let logits = Tensor::new(&[[2.0f32, -1.0, 0.5], [100.0, -100.0, 0.0]], &Device::Cpu).unwrap();
        let target = Target {
            labels: Tensor::new(&[[1.0f32, 0.0, 1.0], [0.0, 1.0, 1.0]], &Device::Cpu).unwrap(),
            weights: Tensor::new(&[0.5f32, 0.5], &Device::Cpu).unwrap(),
        };
        let near = |found: &Tensor, right: &[f32]| {
            let found = found.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert!(found.iter().zip(right).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?}, not {right:?}");
        };
        let plain = loss(&[]);
        near(&plain.of(&logits, &target).unwrap(), &[33.601_24]);
        near(
            &plain.gradient(&logits, &target, 1.0).unwrap(),
            &[-0.019_867_2, 0.044_823_6, -0.062_923_4, 0.166_666_7, -0.166_666_7, -0.083_333_3],
        );
        let mut weighed = loss(&["train.label_smoothing=0.1"]);
        weighed.weigh_positives(&[3.0, 1.0, 0.5], &Device::Cpu).unwrap();
        near(&weighed.of(&logits, &target).unwrap(), &[31.911_524]);
        near(
            &weighed.gradient(&logits, &target, 0.5).unwrap(),
            &[-0.024_640_7, 0.018_245_1, -0.012_350_7, 0.079_166_7, -0.079_166_7, -0.017_708_3],
        );
        assert_eq!(plain.right(&logits, &target).unwrap().to_scalar::<f32>().unwrap(), 1.0);
    }
}
