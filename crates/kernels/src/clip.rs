//! Gradients kept within bounds, and the moving mean of parameters.

use crate::buffer::slice;
use crate::lines::{change_line, vectorized};
use crate::optimizer::contiguous_mut;
use candle_core::{CpuStorage, DType, InplaceOp1, InplaceOp2, Layout, Result, Tensor, Var};
use rayon::prelude::*;

/// Values a thread takes at once; it decides how sums are cut.
const STRIPE: usize = 16 * 1024;

/// Scales all gradients by one factor so that their common Euclidean norm is at most `greatest`, as
/// `torch.nn.utils.clip_grad_norm_`. Returns the norm before, f32 without dimensions, on their device.
///
/// # Errors
/// When a gradient is not f32.
pub fn clip_norm(gradients: &mut [&mut Tensor], greatest: f64) -> Result<Tensor> {
    let Some(device) = gradients.first().map(|gradient| gradient.device().clone()) else {
        return Tensor::new(0.0f32, &candle_core::Device::Cpu);
    };
    if !device.is_cpu() {
        let squares = gradients.iter().map(|gradient| gradient.sqr()?.sum_all()).collect::<Result<Vec<_>>>()?;
        let norm = Tensor::stack(&squares, 0)?.sum_all()?.sqrt()?;
        let factor = ((&norm + 1e-6)?.recip()? * greatest)?.minimum(&norm.ones_like()?)?;
        for gradient in gradients {
            **gradient = gradient.broadcast_mul(&factor)?;
        }
        return Ok(norm);
    }
    let mut squares = 0.0;
    for gradient in gradients.iter_mut() {
        **gradient = gradient.contiguous()?;
        squares += sum_of_squares(gradient)?;
    }
    let norm = squares.sqrt();
    if norm > greatest {
        let factor = (greatest / (norm + 1e-6)) as f32;
        gradients.iter().try_for_each(|gradient| gradient.inplace_op1(&Scale(factor)))?;
    }
    Tensor::new(norm as f32, &device)
}

fn sum_of_squares(values: &Tensor) -> Result<f64> {
    crate::buffer::with_values([values], |[values]| {
        let parts: Vec<f64> = values
            .par_chunks(STRIPE)
            .map(|part| part.iter().map(|value| f64::from(*value) * f64::from(*value)).sum::<f64>())
            .collect();
        Ok(parts.iter().sum())
    })
}

struct Scale(f32);

impl InplaceOp1 for Scale {
    fn name(&self) -> &'static str {
        "scale"
    }

    fn cpu_fwd(&self, values: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let factor = self.0;
        contiguous_mut(values, layout)?
            .par_chunks_mut(STRIPE)
            .for_each(|values| values.iter_mut().for_each(|value| *value *= factor));
        Ok(())
    }
}

/// Moves a mean towards values: `mean = keep * mean + (1 - keep) * values`.
///
/// # Errors
/// When the shapes differ.
pub fn follow(mean: &Var, values: &Tensor, keep: f64) -> Result<()> {
    if mean.dims() != values.dims() {
        candle_core::bail!("follow: a mean {:?} does not fit {:?}", mean.dims(), values.dims());
    }
    if mean.device().is_cpu() && mean.dtype() == DType::F32 {
        return mean.as_tensor().inplace_op2(&values.contiguous()?, &Follow(keep as f32));
    }
    mean.set(&((mean.as_tensor() * keep)? + (values * (1.0 - keep))?)?)
}

struct Follow(f32);

impl InplaceOp2 for Follow {
    fn name(&self) -> &'static str {
        "follow"
    }

    fn cpu_fwd(&self, mean: &mut CpuStorage, l1: &Layout, values: &CpuStorage, l2: &Layout) -> Result<()> {
        let (values, keep) = (slice::<f32>(values, l2)?, self.0);
        let means = contiguous_mut(mean, l1)?.par_chunks_mut(STRIPE);
        means.zip(values.par_chunks(STRIPE)).for_each(|(mean, values)| {
            vectorized(
                #[inline(always)]
                || change_line([&mut *mean], [values], |[mean], [value]| [keep * mean + (1.0 - keep) * value]),
            );
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::{noise, threads_agree};

    fn norm(tensors: &[Tensor]) -> f64 {
        let squares = tensors.iter().map(|tensor| sum_of_squares(tensor).unwrap());
        squares.sum::<f64>().sqrt()
    }

    #[test]
    fn gradients_are_scaled_to_the_norm_and_left_alone_below_it() -> Result<()> {
        let given = [noise(&[300, 200], 1), noise(&[7], 2)];
        let mut gradients = given.clone().map(|gradient| gradient.copy().unwrap());
        let before = norm(&given);
        let clip = |gradients: &mut [Tensor; 2], greatest| -> Result<f32> {
            clip_norm(&mut gradients.iter_mut().collect::<Vec<_>>(), greatest)?.to_scalar()
        };
        assert!((f64::from(clip(&mut gradients, 2.0 * before)?) - before).abs() < 1e-3);
        assert_eq!(gradients[0].to_vec2::<f32>()?, given[0].to_vec2::<f32>()?);
        clip(&mut gradients, 1.5)?;
        assert!((norm(&gradients) - 1.5).abs() < 1e-5);
        let ratio = (gradients[1].get(3)? / given[1].get(3)?)?.to_scalar::<f32>()?;
        assert!((f64::from(ratio) - 1.5 / before).abs() < 1e-6);
        Ok(())
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        threads_agree(|| {
            let mut gradient = noise(&[300, 200], 1);
            vec![clip_norm(&mut [&mut gradient], 0.5).unwrap(), gradient]
        });
    }

    #[test]
    fn a_mean_follows_by_its_share() -> Result<()> {
        let mean = Var::from_tensor(&noise(&[50_000], 1))?;
        let (before, values) = (mean.as_tensor().copy()?, noise(&[50_000], 2));
        follow(&mean, &values, 0.9)?;
        let right = ((before * 0.9)? + (values * 0.1)?)?;
        let far = (mean.as_tensor() - right)?.abs()?.max(0)?.to_scalar::<f32>()?;
        assert!(far < 1e-6, "{far}");
        Ok(())
    }
}
