//! Compares our layers, losses and optimizer with candle-nn's, which do not use our tape: loss gradients, a transformer
//! block, and a network over forty steps.

use crate::config::{self, Config};
use crate::layers::TransformerBlock;
use crate::learner::Learner;
use crate::loader::{Batch, Form, Of, Target};
use crate::loss::Loss;
use crate::parameters::Parameters;
use crate::part::Part;
use crate::random::{Purpose, between, stream};
use crate::tape::{Tape, Value};
use crate::{Device, Result};
use candle_core::{D, Module, Tensor, Var};
use candle_nn::{Conv2d, Conv2dConfig, Linear, Optimizer, ParamsAdamW};
use std::collections::BTreeMap;

/// Pseudo-random values around zero.
fn noise(shape: &[usize], epoch: u64) -> Tensor {
    let mut random = stream(7, Purpose::Order { epoch });
    let count = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|_| between(&mut random, -1.0, 1.0) as f32).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// Asserts values within `tolerance` relative to the greatest, or to 1 if greater.
fn assert_same(what: &str, ours: &Tensor, theirs: &Tensor, tolerance: f32) {
    let greatest = |values: &Tensor| values.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>();
    let (far, scale) = (greatest(&(ours - theirs).unwrap()).unwrap(), greatest(theirs).unwrap().max(1.0));
    assert!(far <= tolerance * scale, "{what} is off by {far} of {scale}");
}

fn resolved(overrides: &[&str]) -> Config {
    Config::resolve("", &overrides.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()).unwrap()
}

/// The target of equally weighted samples.
fn target(labels: &[Vec<u32>], form: Form) -> Result<Target> {
    Target::new(labels, form, vec![1.0 / labels.len() as f32; labels.len()], &Device::Cpu)
}

/// A loss and its gradient.
fn loss_of(overrides: &[&str], logits: &Tensor, target: &Target) -> Result<(Tensor, Tensor)> {
    let loss = Loss::new(&resolved(overrides).train);
    Ok((loss.of(logits, target)?, loss.gradient(logits, target, 1.0)?))
}

#[test]
fn losses_and_their_gradients_are_those_of_candle() -> Result<()> {
    for (batch, classes) in [(1, 2), (5, 3), (16, 10), (3, 200)] {
        let logits = Var::from_tensor(&(noise(&[batch, classes], 1) * 6.0)?)?;
        let one: Vec<Vec<u32>> = (0..batch).map(|row| vec![(row * 3) as u32 % classes as u32]).collect();
        let one = target(&one, Form::Classes)?;
        let (ours, gradient) = loss_of(&[], &logits, &one)?;
        let theirs = candle_nn::loss::cross_entropy(&logits, &one.labels)?;
        assert_same("cross-entropy", &ours, &theirs, 1e-6);
        assert_same("its gradient", &gradient, theirs.backward()?.get(&logits).unwrap(), 1e-6);

        let any: Vec<Vec<u32>> = (0..batch)
            .map(|row| (0..classes as u32).filter(|class| (class + row as u32).is_multiple_of(3)).collect())
            .collect();
        let any = target(&any, Form::Sets { classes })?;
        let (ours, gradient) = loss_of(&["train.loss=binary-cross-entropy"], &logits, &any)?;
        // candle takes the logarithm of 1 - p, which loses digits.
        let theirs = candle_nn::loss::binary_cross_entropy_with_logit(&logits, &any.labels)?;
        assert_same("binary cross-entropy", &ours, &theirs, 1e-5);
        assert_same("its gradient", &gradient, theirs.backward()?.get(&logits).unwrap(), 1e-5);
    }
    Ok(())
}

/// A candle-nn linear layer of named parameters.
fn linear(vars: &BTreeMap<String, Var>, name: &str) -> Linear {
    let tensor = |part: &str| vars[&format!("{name}.{part}")].as_tensor().clone();
    Linear::new(tensor("weight"), Some(tensor("bias")))
}

#[test]
fn a_transformer_block_and_its_gradients_are_those_of_candle() -> Result<()> {
    for (batch, tokens, width, heads) in [(1, 1, 4, 1), (2, 5, 12, 3), (3, 17, 64, 4)] {
        let mut parameters = Parameters::new(1, &Device::Cpu);
        let block = TransformerBlock::new(&mut parameters, "block", width, heads)?;
        let vars: BTreeMap<String, Var> = parameters.iter().map(|(name, var)| (name.clone(), var.clone())).collect();
        for (var, number) in vars.values().zip(10..) {
            // Initial values are near zero, or all equal.
            var.set(&(noise(var.dims(), number) * 0.3)?)?;
        }
        let input = noise(&[batch, tokens, width], 1);
        let grad = noise(&[batch, tokens, width], 2);
        let mut tape = Tape::recording();
        let ours = block.forward(&mut tape, &Value::input(input.clone()))?;
        let gradients = tape.backward(ours.place, grad.clone())?;

        let norm = |name: &str, x: &Tensor| {
            let [weight, bias] = ["weight", "bias"].map(|part| vars[&format!("block.{name}.{part}")].as_tensor());
            candle_nn::ops::layer_norm_slow(x, weight, bias, 1e-6)
        };
        let layer = |name: &str| linear(&vars, &format!("block.{name}"));
        let parts = layer("attn.qkv").forward(&norm("norm1", &input)?)?;
        let parts = parts.reshape((batch, tokens, 3, heads, width / heads))?.permute((2, 0, 3, 1, 4))?.contiguous()?;
        let [queries, keys, values] = [0, 1, 2].map(|part| parts.get(part).unwrap());
        let scores = (queries.matmul(&keys.t()?)? / ((width / heads) as f64).sqrt())?;
        let mixed = candle_nn::ops::softmax(&scores, D::Minus1)?.matmul(&values)?;
        let mixed = mixed.permute((0, 2, 1, 3))?.contiguous()?.reshape((batch, tokens, width))?;
        let seen = (&input + layer("attn.proj").forward(&mixed)?)?;
        let hidden = candle_nn::Activation::Gelu.forward(&layer("mlp.fc1").forward(&norm("norm2", &seen)?)?)?;
        let theirs = (&seen + layer("mlp.fc2").forward(&hidden)?)?;

        assert_same("output", &ours.tensor, &theirs, 1e-5);
        let right = (theirs * grad)?.sum_all()?.backward()?;
        for (name, var) in &vars {
            assert_same(name, gradients.get(var).unwrap(), right.get(var).unwrap(), 1e-4);
        }
    }
    Ok(())
}

const SIZE: usize = 12;
const CLASSES: usize = 4;

/// Noise, brighter for higher classes.
fn batch(number: u64) -> Result<Batch> {
    let labels: Vec<Vec<u32>> = (0..16).map(|index| vec![index % CLASSES as u32]).collect();
    let brightness: Vec<f32> = labels.iter().map(|label| label[0] as f32 / 2.0).collect();
    let brightness = Tensor::from_vec(brightness, (labels.len(), 1, 1, 1), &Device::Cpu)?;
    let input = noise(&[labels.len(), SIZE, SIZE, 3], 100 + number).broadcast_add(&brightness)?;
    let targets = vec![target(&labels, Form::Classes)?];
    Ok(Batch { input, of: Of::Images, targets, samples: (0..labels.len()).collect(), labels })
}

/// The logits of the small CNN.
fn small_cnn(vars: &BTreeMap<String, Var>, images: &Tensor) -> Result<Tensor> {
    let mut x = images.permute((0, 3, 1, 2))?.contiguous()?;
    for name in ["conv1", "conv2"] {
        let tensor = |part: &str| vars[&format!("{name}.{part}")].as_tensor().clone();
        let layer = Conv2d::new(tensor("weight"), Some(tensor("bias")), Conv2dConfig::default());
        x = layer.forward(&x)?.relu()?;
    }
    // candle's own pooling splits the gradient among the window.
    x = assay_kernels::max_pool2d(&x.permute((0, 2, 3, 1))?.contiguous()?, 2, 2, 0)?;
    x = x.permute((0, 3, 1, 2))?.contiguous()?.flatten_from(1)?;
    Ok(linear(vars, "fc2").forward(&linear(vars, "fc1").forward(&x)?.relu()?)?)
}

#[test]
fn a_network_learns_with_adamw_as_one_of_candle_does() -> Result<()> {
    let config = resolved(&[
        "data.image_size=12",
        "model.width=8",
        "optimizer.name=adamw",
        "optimizer.lr=0.002",
        "optimizer.weight_decay=0.05",
        "train.label_smoothing=0",
    ]);
    let mut ours = Learner::begin(&config, CLASSES, &Device::Cpu)?;
    let vars: BTreeMap<String, Var> = {
        let mut parameters = Parameters::new(config.seed, &Device::Cpu);
        crate::model::Model::new(&mut parameters, &config.model, SIZE, CLASSES)?;
        parameters.iter().map(|(name, var)| (name.clone(), var.clone())).collect()
    };
    // Vectors do not decay.
    let optimizer = |of_rank: fn(usize) -> bool, weight_decay: f64| {
        let chosen = vars.values().filter(|var| of_rank(var.rank())).cloned().collect();
        let config::Optimizer { lr, beta1, beta2, .. } = config.optimizer;
        candle_nn::AdamW::new(chosen, ParamsAdamW { lr, beta1, beta2, eps: 1e-8, weight_decay })
    };
    let mut theirs = [optimizer(|rank| rank > 1, config.optimizer.weight_decay)?, optimizer(|rank| rank < 2, 0.0)?];
    let mut losses = Vec::new();
    for step in 0..40 {
        let batch = batch(step % 4)?;
        let seen = ours.step(&batch, Part::WHOLE, 1.0)?.loss.to_scalar::<f32>()?;
        let loss = candle_nn::loss::cross_entropy(&small_cnn(&vars, &batch.input)?, &batch.targets[0].labels)?;
        let grads = loss.backward()?;
        theirs.iter_mut().try_for_each(|optimizer| optimizer.step(&grads))?;
        let loss = loss.to_scalar::<f32>()?;
        assert!((seen - loss).abs() < 2e-3 * loss.max(0.1), "step {step}: {seen}, not {loss}");
        losses.push(loss);
    }
    assert!(losses[39] < 0.7 * losses[0], "nothing was learned: {losses:?}");
    Ok(())
}
