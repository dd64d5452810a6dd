//! Optimizer steps in place, on all threads. The state is a tensor of the caller, so that it can be saved.

use crate::buffer::slice;
use crate::cuda;
use candle_core::{CpuStorage, DType, Device, InplaceOp2, Layout, Result, Tensor, Var, bail};
use rayon::prelude::*;

/// Elements a thread takes at once.
const STRIPE: usize = 16 * 1024;

/// AdamW (Loshchilov and Hutter 2019, algorithm 2, in the form of `torch.optim.AdamW`).
#[derive(Clone, Copy, Debug)]
pub struct AdamW {
    /// The step size.
    pub learning_rate: f64,
    /// The decay of the first moment.
    pub beta1: f64,
    /// The decay of the second moment.
    pub beta2: f64,
    /// What keeps the division finite.
    pub epsilon: f64,
    /// The share of a parameter that is taken away each step, times the learning rate.
    pub weight_decay: f64,
}

/// Stochastic gradient descent with momentum (Sutskever et al. 2013, in the form of `torch.optim.SGD`).
#[derive(Clone, Copy, Debug)]
pub struct Sgd {
    /// The step size.
    pub learning_rate: f64,
    /// The share of the old velocity that is kept; 0 for none.
    pub momentum: f64,
    /// Look ahead along the velocity.
    pub nesterov: bool,
    /// L2 penalty that is added to the gradient.
    pub weight_decay: f64,
}

/// A parameter in the step of all of them.
pub struct Part<'a> {
    /// What changes.
    pub parameter: &'a Var,
    /// Its gradient, of its shape.
    pub gradient: &'a Tensor,
    /// Its state.
    pub state: &'a mut Tensor,
    /// Its own weight decay.
    pub weight_decay: f64,
    /// Its own share of the learning rate.
    pub rate: f64,
}

/// The numbers of a step, on the device of the parameters, so that a recorded step can be replayed with others.
pub struct Numbers(Tensor);

impl Numbers {
    /// Room for the numbers of any optimizer.
    ///
    /// # Errors
    /// When the device does not answer.
    pub fn new(device: &Device) -> Result<Numbers> {
        Ok(Numbers(Tensor::zeros(8, DType::F32, device)?))
    }
}

impl AdamW {
    /// Changes all parameters and states by one step, on a GPU at once; `step` counts from 1 and must have been
    /// announced to `numbers`, which is where a GPU reads the step's numbers.
    ///
    /// # Errors
    /// When shapes or types do not fit.
    pub fn step_all(&self, parts: &mut [Part<'_>], step: u64, numbers: &Numbers) -> Result<()> {
        if cuda::adamw(parts, &numbers.0)?.is_some() {
            return Ok(());
        }
        parts.iter_mut().try_for_each(|part| {
            let learning_rate = self.learning_rate * part.rate;
            let own = AdamW { weight_decay: part.weight_decay, learning_rate, ..*self };
            own.step(part.parameter, part.gradient, part.state, step)
        })
    }

    /// Announces a step.
    ///
    /// # Errors
    /// When the device does not answer.
    pub fn announce(&self, step: u64, numbers: &Numbers) -> Result<()> {
        let step = step.min(i32::MAX as u64) as i32;
        let (correction1, correction2) = (1.0 - self.beta1.powi(step), 1.0 - self.beta2.powi(step));
        let rate = self.learning_rate / correction1;
        let values = [rate, self.beta1, self.beta2, 1.0 / correction2.sqrt(), self.epsilon, self.learning_rate];
        cuda::announce(&numbers.0, &values.map(|value| value as f32))
    }

    /// The state of a parameter: its two moments, stacked: (2, elements).
    pub fn state(parameter: &Tensor) -> Result<Tensor> {
        Tensor::zeros((2, parameter.elem_count()), DType::F32, parameter.device())
    }

    /// Changes `parameter` and its `state` by one step; `step` counts from 1.
    pub fn step(&self, parameter: &Var, gradient: &Tensor, state: &mut Tensor, step: u64) -> Result<()> {
        let gradient = gradient.flatten_all()?.contiguous()?;
        let correction1 = 1.0 - self.beta1.powi(step.min(i32::MAX as u64) as i32);
        let correction2 = 1.0 - self.beta2.powi(step.min(i32::MAX as u64) as i32);
        if parameter.device().is_cpu() {
            state.inplace_op2(&gradient, &AdamMoments { beta1: self.beta1 as f32, beta2: self.beta2 as f32 })?;
            let update = AdamUpdate {
                keep: (1.0 - self.learning_rate * self.weight_decay) as f32,
                rate: (self.learning_rate / correction1) as f32,
                root: (1.0 / correction2.sqrt()) as f32,
                epsilon: self.epsilon as f32,
            };
            return parameter.as_tensor().inplace_op2(state, &update);
        }
        // candle-nn's AdamW hides its moments, so a checkpoint could not save them.
        let first = ((state.get(0)? * self.beta1)? + (&gradient * (1.0 - self.beta1))?)?;
        let second = ((state.get(1)? * self.beta2)? + (gradient.sqr()? * (1.0 - self.beta2))?)?;
        let root = ((&second / correction2)?.sqrt()? + self.epsilon)?;
        let update = ((&first / root)? * (self.learning_rate / correction1))?.reshape(parameter.shape())?;
        let kept = (parameter.as_tensor() * (1.0 - self.learning_rate * self.weight_decay))?;
        *state = Tensor::stack(&[first, second], 0)?;
        parameter.set(&(kept - update)?)
    }
}

impl Sgd {
    /// Changes all parameters and states by one step, on a GPU at once; `step` counts from 1 and must have been
    /// announced to `numbers`, which is where a GPU reads the step's numbers.
    ///
    /// # Errors
    /// When shapes or types do not fit.
    pub fn step_all(&self, parts: &mut [Part<'_>], step: u64, numbers: &Numbers) -> Result<()> {
        if cuda::sgd(parts, &numbers.0)?.is_some() {
            return Ok(());
        }
        parts.iter_mut().try_for_each(|part| {
            let learning_rate = self.learning_rate * part.rate;
            let own = Sgd { weight_decay: part.weight_decay, learning_rate, ..*self };
            own.step(part.parameter, part.gradient, part.state, step)
        })
    }

    /// Announces a step.
    ///
    /// # Errors
    /// When the device does not answer.
    pub fn announce(&self, step: u64, numbers: &Numbers) -> Result<()> {
        // As in PyTorch, the first velocity is the first gradient.
        let kept = if step == 1 { 0.0 } else { self.momentum };
        let ahead = if self.nesterov { self.momentum } else { 0.0 };
        cuda::announce(&numbers.0, &[self.learning_rate, kept, ahead].map(|value| value as f32))
    }

    /// The state of a parameter: its velocity.
    pub fn state(parameter: &Tensor) -> Result<Tensor> {
        Tensor::zeros(parameter.elem_count(), DType::F32, parameter.device())
    }

    /// Changes `parameter` and its `state` by one step; `step` counts from 1.
    pub fn step(&self, parameter: &Var, gradient: &Tensor, state: &mut Tensor, step: u64) -> Result<()> {
        let decayed = match self.weight_decay {
            0.0 => gradient.flatten_all()?,
            decay => (gradient.flatten_all()? + (parameter.as_tensor().flatten_all()? * decay)?)?,
        };
        // As in PyTorch, the first velocity is the first gradient.
        let momentum = if step == 1 { 0.0 } else { self.momentum };
        let velocity = ((&*state * momentum)? + &decayed)?;
        let direction = match (self.momentum, self.nesterov) {
            (0.0, _) => decayed,
            (momentum, true) => (decayed + (&velocity * momentum)?)?,
            (_, false) => velocity.clone(),
        };
        *state = velocity;
        let change = (direction * self.learning_rate)?.reshape(parameter.shape())?;
        parameter.set(&(parameter.as_tensor() - change)?)
    }
}

struct AdamMoments {
    beta1: f32,
    beta2: f32,
}

impl InplaceOp2 for AdamMoments {
    fn name(&self) -> &'static str {
        "adam-moments"
    }

    fn cpu_fwd(&self, state: &mut CpuStorage, l1: &Layout, gradient: &CpuStorage, l2: &Layout) -> Result<()> {
        let gradient = slice::<f32>(gradient, l2)?;
        let (first, second) = contiguous_mut(state, l1)?.split_at_mut(gradient.len());
        let (beta1, beta2) = (self.beta1, self.beta2);
        let stripes = first.par_chunks_mut(STRIPE).zip(second.par_chunks_mut(STRIPE)).zip(gradient.par_chunks(STRIPE));
        stripes.for_each(|((first, second), gradient)| {
            for ((first, second), gradient) in first.iter_mut().zip(second).zip(gradient) {
                *first = beta1 * *first + (1.0 - beta1) * gradient;
                *second = beta2 * *second + (1.0 - beta2) * gradient * gradient;
            }
        });
        Ok(())
    }
}

struct AdamUpdate {
    keep: f32,
    rate: f32,
    root: f32,
    epsilon: f32,
}

impl InplaceOp2 for AdamUpdate {
    fn name(&self) -> &'static str {
        "adam-update"
    }

    fn cpu_fwd(&self, parameter: &mut CpuStorage, l1: &Layout, state: &CpuStorage, l2: &Layout) -> Result<()> {
        let parameter = contiguous_mut(parameter, l1)?;
        let (first, second) = slice::<f32>(state, l2)?.split_at(parameter.len());
        let stripes = parameter.par_chunks_mut(STRIPE).zip(first.par_chunks(STRIPE)).zip(second.par_chunks(STRIPE));
        stripes.for_each(|((parameter, first), second)| {
            for ((parameter, first), second) in parameter.iter_mut().zip(first).zip(second) {
                *parameter = self.keep * *parameter - self.rate * first / (second.sqrt() * self.root + self.epsilon);
            }
        });
        Ok(())
    }
}

pub(crate) fn contiguous_mut<'a>(storage: &'a mut CpuStorage, layout: &Layout) -> Result<&'a mut [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(values), Some((start, end))) => Ok(&mut values[start..end]),
        _ => bail!("the optimizer needs contiguous f32 tensors"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three_steps(mut step: impl FnMut(&Var, &Tensor, u64) -> Result<()>) -> Result<Vec<f32>> {
        let parameter = Var::from_slice(&[1.0f32, -2.0, 0.5], 3, &Device::Cpu)?;
        for number in 1..=3 {
            let gradient = (parameter.as_tensor() * 2.0)?; // of the sum of squares
            step(&parameter, &gradient, number)?;
        }
        parameter.to_vec1()
    }

    fn close(ours: &[f32], theirs: &[f32]) {
        assert!(ours.iter().zip(theirs).all(|(a, b)| (a - b).abs() < 2e-6), "{ours:?} is not {theirs:?}");
    }

    /// The definition, in double precision.
    fn adamw_by_hand(mut p: f64, rule: AdamW) -> f32 {
        let (mut m, mut v) = (0.0, 0.0);
        for t in 1..=3 {
            let g = 2.0 * p;
            p -= rule.learning_rate * rule.weight_decay * p;
            m = rule.beta1 * m + (1.0 - rule.beta1) * g;
            v = rule.beta2 * v + (1.0 - rule.beta2) * g * g;
            let (m_hat, v_hat) = (m / (1.0 - rule.beta1.powi(t)), v / (1.0 - rule.beta2.powi(t)));
            p -= rule.learning_rate * m_hat / (v_hat.sqrt() + rule.epsilon);
        }
        p as f32
    }

    #[test]
    fn adamw_follows_its_definition() -> Result<()> {
        let rule = AdamW { learning_rate: 0.1, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.01 };
        let mut state = AdamW::state(&Tensor::zeros(3, DType::F32, &Device::Cpu)?)?;
        let ours = three_steps(|parameter, gradient, step| rule.step(parameter, gradient, &mut state, step))?;
        close(&ours, &[adamw_by_hand(1.0, rule), adamw_by_hand(-2.0, rule), adamw_by_hand(0.5, rule)]);
        Ok(())
    }

    #[test]
    fn nesterov_follows_its_definition() -> Result<()> {
        let rule = Sgd { learning_rate: 0.1, momentum: 0.9, nesterov: true, weight_decay: 0.0 };
        let mut state = Sgd::state(&Tensor::zeros(3, DType::F32, &Device::Cpu)?)?;
        let ours = three_steps(|parameter, gradient, step| rule.step(parameter, gradient, &mut state, step))?;
        let by_hand = |mut p: f64| {
            let mut velocity = 0.0;
            for step in 0..3 {
                let gradient = 2.0 * p;
                velocity = if step == 0 { gradient } else { 0.9 * velocity + gradient };
                p -= 0.1 * (gradient + 0.9 * velocity);
            }
            p as f32
        };
        close(&ours, &[by_hand(1.0), by_hand(-2.0), by_hand(0.5)]);
        Ok(())
    }
}
