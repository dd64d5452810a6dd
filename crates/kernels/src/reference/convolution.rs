//! Convolutions with a bias, and linear layers.

use super::{assert_same, by_candle};
use crate::checks::noise;
use crate::{Activation, Conv2dOptions, InputGradient};
use crate::{add_bias, add_bias_gradients, conv2d, conv2d_gradients, linear, linear_gradients};
use candle_core::{Module, Result, Tensor};
use candle_nn::{Conv2d, Conv2dConfig, Linear};
use proptest::prelude::*;

/// Square images only: candle's own gradient confuses height and width.
fn check(batch: usize, side: usize, channels: (usize, usize), kernel: usize, options: Conv2dOptions) -> Result<()> {
    let groups = options.groups;
    let input = noise(&[batch, side, side, channels.0], 1);
    let weight = noise(&[channels.1, channels.0 / groups, kernel, kernel], 2);
    let bias = noise(&[channels.1], 3);
    let product = conv2d(&input, &weight, options)?;
    let ours = add_bias(&product, &bias, Activation::None)?;
    let grad = noise(ours.dims(), 4);
    let (of_product, of_bias) = add_bias_gradients(&ours, &grad, Activation::None)?;
    let (of_input, of_weight) = conv2d_gradients(&input, &weight, options, &of_product, InputGradient::Wanted)?;
    let (theirs, gradients) = by_candle([&input, &weight, &bias], &grad, |[input, weight, bias]| {
        let Conv2dOptions { stride, padding, dilation, groups } = options;
        let config = Conv2dConfig {
            stride: stride.0,
            padding: padding.0,
            dilation: dilation.0,
            groups,
            ..Conv2dConfig::default()
        };
        let layer = Conv2d::new(weight.clone(), Some(bias.clone()), config);
        layer.forward(&input.permute((0, 3, 1, 2))?.contiguous()?)?.permute((0, 2, 3, 1))?.contiguous()
    })?;
    assert_same("output", &ours, &theirs, 1e-5);
    assert_same("gradient of the input", &of_input.expect("a gradient that is wanted"), &gradients[0], 1e-5);
    assert_same("gradient of the kernel", &of_weight, &gradients[1], 1e-5);
    assert_same("gradient of the bias", &of_bias, &gradients[2], 1e-5);
    Ok(())
}

#[test]
fn convolutions_of_usual_networks_are_those_of_candle() -> Result<()> {
    let square = Conv2dOptions::square;
    let grouped = |groups: usize, options: Conv2dOptions| Conv2dOptions { groups, ..options };
    check(2, 28, (3, 32), 3, square(1, 0))?;
    check(2, 16, (32, 64), 3, square(1, 1))?;
    check(2, 17, (16, 24), 3, square(2, 1))?;
    check(1, 32, (3, 16), 7, square(2, 3))?;
    check(2, 9, (48, 40), 1, square(1, 0))?;
    check(2, 14, (20, 36), 1, square(2, 0))?;
    check(1, 24, (3, 40), 4, square(4, 0))?;
    check(2, 12, (24, 24), 3, grouped(24, square(1, 1)))?;
    check(1, 15, (40, 40), 5, grouped(40, square(2, 2)))?;
    check(2, 10, (32, 48), 3, grouped(4, square(1, 1)))?;
    check(2, 13, (12, 20), 3, Conv2dOptions { dilation: (2, 2), ..square(1, 2) })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    #[test]
    fn any_square_convolution_is_that_of_candle(
        batch in 1usize..4, side in 3usize..14, from in 1usize..6, to in 1usize..20, groups in 1usize..4,
        kernel in 1usize..5, stride in 1usize..4, padding in 0usize..4, dilation in 1usize..3,
    ) {
        prop_assume!(side + 2 * padding > dilation * (kernel - 1));
        let options = Conv2dOptions { dilation: (dilation, dilation), groups, ..Conv2dOptions::square(stride, padding) };
        check(batch, side, (from * groups, to * groups), kernel, options).unwrap();
    }
}

#[test]
fn linear_layers_are_those_of_candle() -> Result<()> {
    for (batch, from, to) in [(1, 1, 1), (5, 128, 10), (64, 33, 257), (150, 512, 100)] {
        let (input, weight, bias) = (noise(&[batch, from], 1), noise(&[to, from], 2), noise(&[to], 3));
        let grad = noise(&[batch, to], 4);
        let ours = add_bias(&linear(&input, &weight)?, &bias, Activation::None)?;
        let (of_product, of_bias) = add_bias_gradients(&ours, &grad, Activation::None)?;
        let (of_input, of_weight) = linear_gradients(&input, &weight, &of_product, InputGradient::Wanted)?;
        let layer =
            |[input, weight, bias]: [&Tensor; 3]| Linear::new(weight.clone(), Some(bias.clone())).forward(input);
        let (theirs, gradients) = by_candle([&input, &weight, &bias], &grad, layer)?;
        assert_same("output", &ours, &theirs, 1e-5);
        assert_same("gradient of the input", &of_input.expect("a gradient that is wanted"), &gradients[0], 1e-5);
        assert_same("gradient of the weight", &of_weight, &gradients[1], 1e-5);
        assert_same("gradient of the bias", &of_bias, &gradients[2], 1e-5);
    }
    Ok(())
}
