//! Optimizers over twenty steps, each parameter with its own rate and decay.

use super::assert_same;
use crate::checks::noise;
use crate::{AdamW, Numbers, Part, Sgd};
use candle_core::{Device, Result, Tensor, Var};
use candle_nn::Optimizer;

/// Shape, weight decay and learning-rate multiplier.
const PARAMETERS: [(&[usize], f64, f64); 4] =
    [(&[1], 0.0, 1.0), (&[33], 0.0, 0.5), (&[40, 7], 0.1, 1.0), (&[8, 4, 3, 3], 0.05, 0.25)];

fn begin() -> Result<Vec<Var>> {
    PARAMETERS.iter().zip(1..).map(|((shape, ..), seed)| Var::from_tensor(&noise(shape, seed))).collect()
}

/// The loss: a fourth power around targets, so that gradients change every step.
fn loss(vars: &[Var]) -> Result<Tensor> {
    let losses = vars.iter().zip(11..).map(|(var, seed)| {
        let away = (var.as_tensor() - noise(var.dims(), seed))?;
        (away.sqr()?.sqr()? + away.sqr()?)?.sum_all()
    });
    Tensor::stack(&losses.collect::<Result<Vec<_>>>()?, 0)?.sum_all()
}

/// Twenty steps of ours, and of one candle optimizer per parameter.
fn check(
    mut ours: impl FnMut(&mut [Part<'_>], u64) -> Result<()>,
    state: impl Fn(&Tensor) -> Result<Tensor>,
    mut theirs: Vec<impl Optimizer>,
    others: &[Var],
) -> Result<()> {
    let vars = begin()?;
    let mut states = vars.iter().map(|var| state(var)).collect::<Result<Vec<_>>>()?;
    for step in 1..=20 {
        let grads = loss(&vars)?.backward()?;
        let parts =
            vars.iter().zip(&mut states).zip(PARAMETERS).map(|((parameter, state), (_, weight_decay, rate))| {
                let gradient = grads.get(parameter).expect("a gradient of each parameter");
                Part { parameter, gradient, state, weight_decay, rate }
            });
        ours(&mut parts.collect::<Vec<_>>(), step)?;
        let grads = loss(others)?.backward()?;
        theirs.iter_mut().try_for_each(|optimizer| optimizer.step(&grads))?;
        for (ours, theirs) in vars.iter().zip(others) {
            assert_same(&format!("step {step}"), ours, theirs, 2e-6);
        }
    }
    Ok(())
}

#[test]
fn adamw_is_that_of_candle() -> Result<()> {
    let rule = AdamW { learning_rate: 0.02, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weight_decay: 0.0 };
    let others = begin()?;
    let theirs = others.iter().zip(PARAMETERS).map(|(var, (_, weight_decay, rate))| {
        let AdamW { learning_rate, beta1, beta2, epsilon: eps, .. } = rule;
        candle_nn::AdamW::new(
            vec![var.clone()],
            candle_nn::ParamsAdamW { lr: learning_rate * rate, beta1, beta2, eps, weight_decay },
        )
    });
    let theirs = theirs.collect::<Result<Vec<_>>>()?;
    let numbers = Numbers::new(&Device::Cpu)?;
    check(|parts, step| rule.step_all(parts, step, &numbers), AdamW::state, theirs, &others)
}

#[test]
fn plain_gradient_descent_is_that_of_candle() -> Result<()> {
    let rule = Sgd { learning_rate: 0.02, momentum: 0.0, nesterov: false, weight_decay: 0.0 };
    let others = begin()?;
    let theirs =
        others.iter().zip(PARAMETERS).map(|(var, (_, _, rate))| candle_nn::SGD::new(vec![var.clone()], 0.02 * rate));
    let theirs = theirs.collect::<Result<Vec<_>>>()?;
    let numbers = Numbers::new(&Device::Cpu)?;
    // candle's has no decay.
    let step = |parts: &mut [Part<'_>], step: u64| {
        parts.iter_mut().for_each(|part| part.weight_decay = 0.0);
        rule.step_all(parts, step, &numbers)
    };
    check(step, Sgd::state, theirs, &others)
}
