//! Convolutions whose kernel never changes: what is made of it is made once.

use super::correlate::Panels;
use super::winograd::{self, Kernel};
use super::{Conv2dOptions, Geometry, correlation, depthwise, panels_of, taps, winograd as as_winograd};
use crate::activation::{Activation, at_least, gelu, hard_swish, silu};
use crate::buffer::{with_values, written};
use crate::channels::Lines;
use crate::lines::{change_line, vectorized};
use candle_core::{Result, Tensor, bail};
use rayon::prelude::*;
use std::sync::OnceLock;

/// Tiles of Winograd's way from which on a kernel with so many values is worth its transform, which is four times as
/// large as the kernel: with fewer, more time goes into reading it than the multiplications that it saves take.
const FEW_TILES: usize = 16;
/// Values of a transformed kernel that is kept; a larger one is made anew for each batch.
const KEPT_VALUES: usize = 4 << 20;

/// A convolution with a bias, for inference on the processor. It can be shared among threads.
pub struct PreparedConv2d {
    kernel: Vec<f32>,
    shape: [usize; 4],
    bias: Vec<f32>,
    options: Conv2dOptions,
    panels: OnceLock<Panels>,
    transformed: OnceLock<Kernel>,
}

impl PreparedConv2d {
    /// Of a kernel (to, from / groups, kernel height, kernel width) f32 and a bias (to).
    ///
    /// # Errors
    /// When they do not fit together or are not on the processor.
    pub fn new(kernel: &Tensor, bias: &Tensor, options: Conv2dOptions) -> Result<PreparedConv2d> {
        let (to, from, height, width) = kernel.dims4()?;
        if bias.dims() != [to] {
            bail!("conv2d: a bias of shape {:?} for {to} channels", bias.dims());
        }
        let (kernel, bias) = with_values([kernel, bias], |[kernel, bias]| Ok((kernel.to_vec(), bias.to_vec())))?;
        let shape = [to, from, height, width];
        Ok(PreparedConv2d { kernel, shape, bias, options, panels: OnceLock::new(), transformed: OnceLock::new() })
    }

    /// The kernel, (to, from / groups, kernel height, kernel width), with its shape.
    pub fn kernel(&self) -> (&[f32], [usize; 4]) {
        (&self.kernel, self.shape)
    }

    /// The bias, (to).
    pub fn bias(&self) -> &[f32] {
        &self.bias
    }

    /// Stride, padding, dilation and groups.
    pub fn options(&self) -> Conv2dOptions {
        self.options
    }

    /// The convolution of `input`, (batch, height, width, from), plus the bias and what is to be added, through the
    /// activation.
    ///
    /// # Errors
    /// When the shapes do not fit together.
    pub fn forward(&self, input: &Tensor, added: Option<&Tensor>, activation: Activation) -> Result<Tensor> {
        let geometry = Geometry::new(input.dims(), &self.shape, self.options)?;
        let Geometry { batch, output: (height, width), to, .. } = geometry;
        let shape = (batch, height, width, to);
        if added.is_some_and(|added| added.dims() != [batch, height, width, to]) {
            bail!("conv2d: what is added has another shape than {shape:?}");
        }
        let mut output = with_values([input], |[input]| Ok(self.products(&geometry, input)))?;
        match added {
            Some(added) => with_values([added], |[added]| {
                self.finish(&mut output, Some(added), activation);
                Ok(())
            })?,
            None => self.finish(&mut output, None, activation),
        }
        Tensor::from_vec(output, shape, input.device())
    }

    fn products(&self, geometry: &Geometry, input: &[f32]) -> Vec<f32> {
        if super::is_for_winograd(geometry) {
            let winograd = as_winograd(geometry, input);
            let few = winograd.tiles() < FEW_TILES && self.kernel.len() > KEPT_VALUES / 16;
            if !few {
                let from = geometry.from;
                let weight = |o: usize, c: usize, tap: usize| self.kernel[(o * from + c) * 9 + tap];
                return match winograd::PLACES * geometry.from * geometry.to <= KEPT_VALUES {
                    true => winograd.compute_with(self.transformed.get_or_init(|| Kernel::new(&winograd, weight))),
                    false => winograd.compute(weight),
                };
            }
        }
        if depthwise::fits(geometry) {
            return depthwise::forward(geometry, input, &self.kernel);
        }
        let taps = taps(geometry);
        let correlation = correlation(geometry, &taps, input);
        let panels = self.panels.get_or_init(|| panels_of(geometry, &correlation, &self.kernel));
        // Safety: the grid of a forward convolution is the whole output.
        unsafe { written(geometry.output_len(), |out| correlation.compute(panels, out)) }
    }

    fn finish(&self, output: &mut [f32], added: Option<&[f32]>, activation: Activation) {
        match activation {
            Activation::HardSwish => self.finish_through(hard_swish, output, added),
            Activation::Silu => self.finish_through(silu, output, added),
            Activation::Gelu => self.finish_through(gelu, output, added),
            Activation::None | Activation::Relu => {
                let least = activation.least();
                self.finish_through(move |value| at_least(value, least), output, added);
            }
        }
    }

    fn finish_through(&self, activate: impl Fn(f32) -> f32 + Copy + Sync, output: &mut [f32], added: Option<&[f32]>) {
        let lines = Lines::new(self.bias.len());
        let bias = lines.repeated(&self.bias);
        output.par_chunks_mut(lines.stripe()).enumerate().for_each(|(index, output)| {
            let added = added.map(|added| &added[index * lines.stripe()..][..output.len()]);
            vectorized(
                #[inline(always)]
                || match added {
                    Some(added) => {
                        for (output, added) in output.chunks_mut(lines.width()).zip(added.chunks(lines.width())) {
                            change_line([output], [added, &bias], |[value], [added, bias]| {
                                [activate(value + (bias + added))]
                            });
                        }
                    }
                    None => {
                        for output in output.chunks_mut(lines.width()) {
                            change_line([output], [&bias], |[value], [bias]| [activate(value + bias)]);
                        }
                    }
                },
            );
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::{noise, threads_agree, wide};
    use crate::{add_bias, conv2d};

    #[test]
    fn it_gives_what_the_parts_give_for_every_batch() -> Result<()> {
        let square = Conv2dOptions::square;
        for (from, to, side, kernel, options) in [
            (16, 32, 12, 3, square(1, 1)),
            (3, 16, 15, 7, square(2, 3)),
            (24, 40, 9, 1, square(1, 0)),
            (160, 192, 7, 3, square(1, 1)),
            (16, 16, 9, 3, Conv2dOptions { groups: 4, ..square(2, 1) }),
            (40, 40, 9, 5, Conv2dOptions { groups: 40, ..square(2, 2) }),
        ] {
            let kernel = noise(&[to, from / options.groups, kernel, kernel], 1);
            let bias = noise(&[to], 2);
            let prepared = PreparedConv2d::new(&kernel, &bias, options)?;
            for batch in [1, 4, 1] {
                let input = noise(&[batch, side, side, from], 3);
                let plain = add_bias(&conv2d(&input, &kernel, options)?, &bias, Activation::None)?;
                let added = noise(plain.dims(), 4);
                for (added, right, activation) in [
                    (Some(&added), (&plain + &added)?.relu()?, Activation::Relu),
                    (None, plain.relu()?, Activation::Relu),
                    (None, Activation::HardSwish.elsewhere(plain.clone())?, Activation::HardSwish),
                    (None, Activation::Silu.elsewhere(plain.clone())?, Activation::Silu),
                    (None, Activation::Gelu.elsewhere(plain.clone())?, Activation::Gelu),
                ] {
                    let ours = prepared.forward(&input, added, activation)?;
                    let (ours, right) = (wide(&ours), wide(&right));
                    let scale = right.iter().fold(1.0f64, |most, value| most.max(value.abs()));
                    assert!(ours.iter().zip(&right).all(|(a, b)| (a - b).abs() < 2e-5 * scale), "{from} to {to}");
                }
            }
        }
        Ok(())
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let (kernel, bias, input) = (noise(&[64, 32, 3, 3], 1), noise(&[64], 2), noise(&[2, 17, 17, 32], 3));
        let prepared = PreparedConv2d::new(&kernel, &bias, Conv2dOptions::square(1, 1)).unwrap();
        threads_agree(|| vec![prepared.forward(&input, None, Activation::Relu).unwrap()]);
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() {
        let kernel = noise(&[4, 3, 3, 3], 1);
        assert!(PreparedConv2d::new(&kernel, &noise(&[3], 1), Conv2dOptions::default()).is_err());
        let prepared = PreparedConv2d::new(&kernel, &noise(&[4], 1), Conv2dOptions::default()).unwrap();
        assert!(prepared.forward(&noise(&[1, 5, 5, 4], 1), None, Activation::None).is_err());
        let input = noise(&[1, 5, 5, 3], 1);
        assert!(prepared.forward(&input, Some(&noise(&[1, 5, 5, 4], 1)), Activation::None).is_err());
    }
}
