//! Activations, with and without a bias, and gates.

use super::{assert_same, by_candle};
use crate::checks::noise;
use crate::{Activation, GateKind};
use crate::{activate, activate_gradient, add_bias_gelu, add_bias_gelu_gradients, gate, gate_gradients};
use candle_core::{Module, Result, Tensor};

#[test]
fn activations_are_those_of_candle() -> Result<()> {
    use candle_nn::Activation as Candle;
    for shape in [vec![1], vec![3, 50], vec![2, 9, 9, 33], vec![40_000]] {
        let (input, grad) = ((noise(&shape, 1) * 6.0)?, noise(&shape, 2));
        for (ours, theirs) in [
            (Activation::Relu, Candle::Relu),
            (Activation::HardSwish, Candle::HardSwish),
            (Activation::Silu, Candle::Silu),
            (Activation::Gelu, Candle::Gelu),
        ] {
            let (value, [gradient]) = by_candle([&input], &grad, |[input]| theirs.forward(input))?;
            assert_same(&format!("{ours:?}"), &activate(&input, ours)?, &value, 1e-6);
            let found = activate_gradient(&input, ours, &grad)?;
            assert_same(&format!("gradient of {ours:?}"), &found, &gradient, 1e-5);
        }
    }
    Ok(())
}

#[test]
fn a_bias_with_gelu_is_that_of_candle() -> Result<()> {
    for shape in [vec![1, 1], vec![4, 9], vec![3, 50, 192]] {
        let channels = shape[shape.len() - 1];
        let (input, bias, grad) = ((noise(&shape, 1) * 3.0)?, noise(&[channels], 2), noise(&shape, 3));
        let layer = |[input, bias]: [&Tensor; 2]| candle_nn::Activation::Gelu.forward(&input.broadcast_add(bias)?);
        let (value, [of_input, of_bias]) = by_candle([&input, &bias], &grad, layer)?;
        assert_same("value", &add_bias_gelu(&input, &bias)?, &value, 1e-6);
        let found = add_bias_gelu_gradients(&input, &bias, &grad)?;
        assert_same("gradient of the input", &found.0, &of_input, 1e-5);
        assert_same("gradient of the bias", &found.1, &of_bias, 1e-5);
    }
    Ok(())
}

#[test]
fn gates_are_those_of_candle() -> Result<()> {
    for (batch, side, channels) in [(1, 1, 1), (2, 5, 7), (3, 14, 96)] {
        let shape = [batch, side, side, channels];
        let (input, logits, grad) = (noise(&shape, 1), (noise(&[batch, channels], 2) * 5.0)?, noise(&shape, 3));
        for kind in [GateKind::HardSigmoid, GateKind::Sigmoid] {
            let (value, [of_input, of_logits]) = by_candle([&input, &logits], &grad, |[input, logits]| {
                let shares = match kind {
                    GateKind::HardSigmoid => candle_nn::ops::hard_sigmoid(logits)?,
                    GateKind::Sigmoid => candle_nn::ops::sigmoid(logits)?,
                };
                input.broadcast_mul(&shares.reshape((batch, 1, 1, channels))?)
            })?;
            assert_same("value", &gate(&input, &logits, kind)?, &value, 1e-6);
            let found = gate_gradients(&input, &logits, kind, &grad)?;
            assert_same("gradient of the input", &found.0, &of_input, 1e-6);
            assert_same("gradient of the logits", &found.1, &of_logits, 1e-5);
        }
    }
    Ok(())
}
