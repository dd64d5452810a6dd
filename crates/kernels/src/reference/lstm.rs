//! An LSTM layer with its input projection, which candle-nn combines.

use super::{assert_same, by_candle};
use crate::checks::noise;
use crate::{InputGradient, linear, linear_gradients, lstm, lstm_gradients};
use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{LSTM, LSTMConfig, RNN, VarBuilder};
use std::collections::HashMap;

#[test]
fn hidden_states_and_all_gradients_are_those_of_candle() -> Result<()> {
    for (batch, length, features, hidden) in [(1, 1, 1, 1), (2, 3, 4, 5), (9, 12, 3, 16), (17, 5, 28, 33)] {
        let input = noise(&[batch, length, features], 1);
        let (of_inputs, of_states) = (noise(&[4 * hidden, features], 2), noise(&[4 * hidden, hidden], 3));
        let (bias, other_bias) = (noise(&[4 * hidden], 4), noise(&[4 * hidden], 5));
        let grad = noise(&[batch, length, hidden], 6);

        let rows = input.reshape((batch * length, features))?;
        let biases = (&bias + &other_bias)?;
        let projected = linear(&rows, &of_inputs)?.broadcast_add(&biases)?;
        let states = lstm(&projected.reshape((batch, length, 4 * hidden))?, &of_states)?;
        let (of_projected, of_weight) = lstm_gradients(&states, &of_states, &grad)?;
        let of_projected = of_projected.reshape((batch * length, 4 * hidden))?;
        let (of_rows, of_projection) = linear_gradients(&rows, &of_inputs, &of_projected, InputGradient::Wanted)?;
        let of_rows = of_rows.expect("a gradient that is wanted").reshape(input.shape())?;

        let inputs = [&input, &of_inputs, &of_states, &bias, &other_bias];
        let (theirs, gradients) = by_candle(inputs, &grad, |[input, rest @ ..]| {
            let names = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"];
            let named: HashMap<String, Tensor> =
                names.map(str::to_owned).into_iter().zip(rest.map(Tensor::clone)).collect();
            let parameters = VarBuilder::from_tensors(named, DType::F32, &Device::Cpu);
            let layer = LSTM::new(features, hidden, LSTMConfig::default(), parameters)?;
            layer.states_to_tensor(&layer.seq(input)?)
        })?;
        assert_same("hidden states", &states.hidden, &theirs, 1e-5);
        assert_same("gradient of the input", &of_rows, &gradients[0], 1e-5);
        assert_same("gradient of the projection", &of_projection, &gradients[1], 1e-5);
        assert_same("gradient of the weight", &of_weight, &gradients[2], 1e-5);
        assert_same("gradient of a bias", &of_projected.sum(0)?, &gradients[3], 1e-5);
    }
    Ok(())
}
