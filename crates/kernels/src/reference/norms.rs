//! Normalisations of layers and batches.

use super::{assert_same, by_candle};
use crate::checks::noise;
use crate::{Activation, BatchNormInputs, MomentsOf};
use crate::{batch_norm, batch_norm_gradients, layer_norm, layer_norm_gradients, moments};
use candle_core::{Module, ModuleT, Result, Tensor, Var};

const EPSILON: f64 = 1e-5;

#[test]
fn layer_norms_are_those_of_candle() -> Result<()> {
    for shape in [vec![1, 2], vec![3, 7], vec![2, 5, 48], vec![2, 3, 4, 130], vec![200, 64]] {
        let channels = shape[shape.len() - 1];
        let input = noise(&shape, 1).affine(3.0, 0.5)?;
        let (weight, bias, grad) = (noise(&[channels], 2), noise(&[channels], 3), noise(&shape, 4));
        let ours = layer_norm(&input, &weight, &bias, EPSILON)?;
        let layer = candle_nn::LayerNorm::new(weight.clone(), bias.clone(), EPSILON);
        assert_same("output", &ours, &layer.forward(&input)?, 1e-5);
        // The fused layer has no gradient.
        let (theirs, [of_input, of_weight, of_bias]) =
            by_candle([&input, &weight, &bias], &grad, |[input, weight, bias]| {
                candle_nn::ops::layer_norm_slow(input, weight, bias, EPSILON as f32)
            })?;
        assert_same("output", &ours, &theirs, 1e-5);
        let found = layer_norm_gradients(&input, &weight, EPSILON, &grad)?;
        assert_same("gradient of the input", &found.0, &of_input, 1e-4);
        assert_same("gradient of the weight", &found.1, &of_weight, 1e-5);
        assert_same("gradient of the bias", &found.2, &of_bias, 1e-5);
    }
    Ok(())
}

#[test]
fn batch_norms_are_those_of_candle_in_training_and_afterwards() -> Result<()> {
    for shape in [[2, 1, 1, 1], [2, 5, 4, 7], [4, 8, 8, 32], [3, 7, 9, 130]] {
        let [batch, height, width, channels] = shape;
        let input = noise(&shape, 1).affine(3.0, 0.5)?;
        let (weight, bias, grad) = (noise(&[channels], 2), noise(&[channels], 3), noise(&shape, 4));
        let (mean, variance) = (noise(&[channels], 5), noise(&[channels], 6).affine(0.4, 1.0)?);
        let layer = |weight: &Tensor, bias: &Tensor| {
            let (mean, variance) = (mean.clone(), variance.clone());
            candle_nn::BatchNorm::new(channels, mean, variance, weight.clone(), bias.clone(), EPSILON)
        };
        let channels_first = |images: &Tensor| images.permute((0, 3, 1, 2))?.contiguous();
        for of in [MomentsOf::Batch, MomentsOf::Running] {
            let found = moments(&input)?;
            let mut used = found.clone();
            if of == MomentsOf::Running {
                (used.mean, used.variance) = (mean.clone(), variance.clone());
            }
            let inputs = BatchNormInputs {
                input: input.clone(),
                moments: (used, of),
                weight: weight.clone(),
                bias: bias.clone(),
                residual: None,
                activation: Activation::None,
                epsilon: EPSILON,
            };
            let ours = batch_norm(&inputs)?;
            let gradients = batch_norm_gradients(&inputs, &ours, &grad)?;
            let (theirs, right) = by_candle([&input, &weight, &bias], &grad, |[input, weight, bias]| {
                let images = layer(weight, bias)?.forward_t(&channels_first(input)?, of == MomentsOf::Batch)?;
                images.permute((0, 2, 3, 1))?.contiguous()
            })?;
            assert_same("output", &ours, &theirs, 1e-4);
            // With two values a channel, all but the last bits of this gradient cancel.
            let few = if batch * height * width > 2 { 1e-4 } else { 1e-2 };
            assert_same("gradient of the input", &gradients.input, &right[0], few);
            assert_same("gradient of the weight", &gradients.weight, &right[1], 1e-4);
            assert_same("gradient of the bias", &gradients.bias, &right[2], 1e-4);
            if of == MomentsOf::Batch {
                let layer = layer(&weight, &bias)?;
                layer.forward_train(&channels_first(&input)?)?;
                let (mean, variance) = (Var::from_tensor(&mean)?, Var::from_tensor(&variance)?);
                found.move_running(&mean, &variance, 0.1, batch * height * width)?;
                assert_same("running mean", &mean, layer.running_mean(), 1e-6);
                assert_same("running variance", &variance, layer.running_var(), 1e-6);
            }
        }
    }
    Ok(())
}
