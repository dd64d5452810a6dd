//! The cross-entropy.

use super::{assert_same, by_candle};
use crate::checks::noise;
use crate::{cross_entropy, cross_entropy_gradient};
use candle_core::{DType, Device, Result, Tensor};

#[test]
fn the_mean_of_a_batch_and_its_gradient_are_those_of_candle() -> Result<()> {
    for (batch, classes, scale) in [(1, 2, 1.0), (16, 10, 5.0), (7, 1000, 1.0), (64, 3, 60.0)] {
        let logits = (noise(&[batch, classes], 1) * scale)?;
        let labels: Vec<u32> = (0..batch).map(|row| (row * 5) as u32 % classes as u32).collect();
        let labels = Tensor::from_vec(labels, batch, &Device::Cpu)?;
        let grad = Tensor::ones((), DType::F32, &Device::Cpu)?;
        let layer = |[logits]: [&Tensor; 1]| candle_nn::loss::cross_entropy(logits, &labels);
        let (theirs, [of_logits]) = by_candle([&logits], &grad, layer)?;
        assert_same("loss", &cross_entropy(&logits, &labels, 0.0)?.mean(0)?, &theirs, 1e-6);
        let shares = Tensor::full(1.0 / batch as f32, batch, &Device::Cpu)?;
        assert_same("gradient", &cross_entropy_gradient(&logits, &labels, 0.0, &shares)?, &of_logits, 1e-6);
    }
    Ok(())
}
