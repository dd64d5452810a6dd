//! Convolutions with weights of eight bits, for inference on the processor. Weights have a scale for each output channel,
//! fixed; images are quantised as they come, with a scale and a zero point each (Krishnamoorthi 2018, sections 2 and 3).

mod product;

use crate::activation::{Activation, at_least, gelu, hard_swish, silu};
use crate::buffer::with_values;
use crate::conv2d::{Conv2dOptions, Geometry};
use crate::lines::vectorized;
use candle_core::{Result, Tensor, bail};
use product::{COLUMNS, Panels, ROWS, Tile};
use rayon::prelude::*;
use std::borrow::Cow;
use std::ops::Range;

/// Output pixels whose inputs are gathered at once.
const PIXELS: usize = 8 * ROWS;
/// With fewer pieces of pixels than this, panels are shared out among threads as well.
const FEW: usize = 8;

/// A convolution in one group with eight-bit weights and a bias. It can be shared among threads.
pub struct QuantizedConv2d {
    panels: Panels,
    shape: [usize; 4],
    options: Conv2dOptions,
    /// What a unit of a weight is worth, by output channel.
    scales: Vec<f32>,
    /// The sum of the weights of each output channel, in units.
    sums: Vec<i32>,
    bias: Vec<f32>,
}

/// An image in unsigned bytes: a value is `scale * (byte - zero)`.
struct Bytes {
    values: Vec<u8>,
    scale: f32,
    zero: u8,
}

impl QuantizedConv2d {
    /// Of a kernel (to, from, kernel height, kernel width) and a bias (to).
    ///
    /// # Errors
    /// When they do not fit together, or channels are in groups.
    pub fn new(kernel: (&[f32], [usize; 4]), bias: &[f32], options: Conv2dOptions) -> Result<QuantizedConv2d> {
        let (values, shape) = kernel;
        let [to, from, height, width] = shape;
        let depth = from * height * width;
        if options.groups != 1 || values.len() != to * depth || bias.len() != to || depth == 0 {
            bail!("quantized conv2d: kernel {shape:?} in {} groups, bias of {}", options.groups, bias.len());
        }
        let (mut weights, mut scales, mut sums) = (Vec::with_capacity(values.len()), Vec::new(), Vec::new());
        for kernel in values.chunks_exact(depth) {
            let most = kernel.iter().fold(0.0f32, |most, weight| most.max(weight.abs()));
            let scale = if most > 0.0 { most / 127.0 } else { 1.0 };
            let begin = weights.len();
            // Channels lie together, as they do in images.
            for tap in 0..height * width {
                weights.extend((0..from).map(|channel| (kernel[channel * height * width + tap] / scale).round() as i8));
            }
            sums.push(weights[begin..].iter().map(|weight: &i8| i32::from(*weight)).sum());
            scales.push(scale);
        }
        let panels = Panels::new(&weights, depth);
        Ok(QuantizedConv2d { panels, shape, options, scales, sums, bias: bias.to_vec() })
    }

    /// Bytes of its weights.
    pub fn bytes(&self) -> usize {
        self.shape.iter().product::<usize>() + self.scales.len() * size_of::<f32>()
    }

    /// The convolution of `input`, (batch, height, width, from) f32, plus the bias and what is to be added, through the
    /// activation.
    ///
    /// # Errors
    /// When the shapes do not fit together.
    pub fn forward(&self, input: &Tensor, added: Option<&Tensor>, activation: Activation) -> Result<Tensor> {
        let geometry = Geometry::new(input.dims(), &self.shape, self.options)?;
        let Geometry { batch, output: (height, width), to, .. } = geometry;
        if added.is_some_and(|added| added.dims() != [batch, height, width, to]) {
            bail!("quantized conv2d: what is added has another shape than {:?}", (batch, height, width, to));
        }
        let output = match activation {
            Activation::None => self.forward_through(&geometry, input, added, |x| x),
            Activation::Relu => self.forward_through(&geometry, input, added, |x| at_least(x, 0.0)),
            Activation::HardSwish => self.forward_through(&geometry, input, added, hard_swish),
            Activation::Silu => self.forward_through(&geometry, input, added, silu),
            Activation::Gelu => self.forward_through(&geometry, input, added, gelu),
        }?;
        Tensor::from_vec(output, (batch, height, width, to), input.device())
    }

    fn forward_through(
        &self,
        geometry: &Geometry,
        input: &Tensor,
        added: Option<&Tensor>,
        activate: impl Fn(f32) -> f32 + Copy + Sync,
    ) -> Result<Vec<f32>> {
        let (image_in, image_out) = (geometry.input_len() / geometry.batch, geometry.output_len() / geometry.batch);
        let act = |input: &[f32], added: Option<&[f32]>| {
            let mut output = vec![0.0f32; geometry.output_len()];
            let images = output.par_chunks_exact_mut(image_out).zip(input.par_chunks_exact(image_in)).enumerate();
            images.for_each(|(number, (output, input))| {
                let added = added.map(|added| &added[number * image_out..][..image_out]);
                self.image(geometry, &Bytes::of(input), added, activate, output);
            });
            output
        };
        match added {
            Some(added) => with_values([input, added], |[input, added]| Ok(act(input, Some(added)))),
            None => with_values([input], |[input]| Ok(act(input, None))),
        }
    }

    /// One image: (height, width, to) values.
    fn image(
        &self,
        geometry: &Geometry,
        input: &Bytes,
        added: Option<&[f32]>,
        activate: impl Fn(f32) -> f32 + Copy + Sync,
        output: &mut [f32],
    ) {
        let to = geometry.to;
        // A value is a sum times a factor, plus a shift.
        let factors: Vec<f32> = self.scales.iter().map(|scale| input.scale * scale).collect();
        let shift = |((sum, factor), bias): ((&i32, &f32), &f32)| bias - (i32::from(input.zero) * sum) as f32 * factor;
        let shifts: Vec<f32> = self.sums.iter().zip(&factors).zip(&self.bias).map(shift).collect();
        let (pixels, count) = (output.len() / to, self.panels.count());
        if pixels >= FEW * PIXELS {
            output.par_chunks_mut(PIXELS * to).enumerate().for_each(|(piece, output)| {
                let first = piece * PIXELS;
                let rows = self.gathered(geometry, input, first, output.len() / to);
                for panel in 0..count {
                    self.panel(
                        &rows,
                        panel,
                        #[inline(always)]
                        |row, columns, sums| {
                            let added = added.map(|added| &added[(first + row) * to..][columns.clone()]);
                            let line = [&factors[columns.clone()], &shifts[columns.clone()]];
                            write_line(&mut output[row * to..][columns], sums, line, added, activate);
                        },
                    );
                }
            });
            return;
        }
        // Few pixels: each thread takes some of the outputs of all of them.
        let rows = self.gathered(geometry, input, 0, pixels);
        let of_panel = |panel: usize| {
            let mut values = vec![0.0; pixels * COLUMNS];
            self.panel(
                &rows,
                panel,
                #[inline(always)]
                |row, columns, sums| {
                    let added = added.map(|added| &added[row * to..][columns.clone()]);
                    let line = [&factors[columns.clone()], &shifts[columns.clone()]];
                    write_line(&mut values[row * COLUMNS..][..columns.len()], sums, line, added, activate);
                },
            );
            values
        };
        let columns: Vec<Vec<f32>> = (0..count).into_par_iter().map(of_panel).collect();
        for (panel, values) in columns.iter().enumerate() {
            let width = (to - panel * COLUMNS).min(COLUMNS);
            for (output, values) in output.chunks_exact_mut(to).zip(values.chunks_exact(COLUMNS)) {
                output[panel * COLUMNS..][..width].copy_from_slice(&values[..width]);
            }
        }
    }

    /// What each of `count` output pixels from `first` on sees, a row each.
    fn gathered<'a>(&self, geometry: &Geometry, input: &'a Bytes, first: usize, count: usize) -> Cow<'a, [u8]> {
        let length = self.panels.row_len();
        let (from, (height, width)) = (geometry.from, geometry.input);
        if geometry.sees_each_pixel_once() && length == from {
            return Cow::Borrowed(&input.values[first * from..][..count * from]);
        }
        let Conv2dOptions { stride, padding, dilation, .. } = geometry.options;
        let mut rows = vec![input.zero; count * length];
        for (pixel, row) in (first..).zip(rows.chunks_exact_mut(length)) {
            let (y, x) = (pixel / geometry.output.1, pixel % geometry.output.1);
            let taps = (0..geometry.kernel.0).flat_map(|down| (0..geometry.kernel.1).map(move |right| (down, right)));
            for ((down, right), seen) in taps.zip(row.chunks_exact_mut(from)) {
                let y = (y * stride.0 + down * dilation.0).wrapping_sub(padding.0);
                let x = (x * stride.1 + right * dilation.1).wrapping_sub(padding.1);
                if y < height && x < width {
                    seen.copy_from_slice(&input.values[(y * width + x) * from..][..from]);
                }
            }
        }
        Cow::Owned(rows)
    }

    /// Hands the sums of each row and the columns of a panel to `write`.
    fn panel(&self, rows: &[u8], panel: usize, mut write: impl FnMut(usize, Range<usize>, &[i32])) {
        let length = self.panels.row_len();
        let mut tile: Tile = [[0; COLUMNS]; ROWS];
        let columns = panel * COLUMNS..((panel + 1) * COLUMNS).min(self.bias.len());
        for (number, some) in rows.chunks(ROWS * length).enumerate() {
            let count = some.len() / length;
            self.panels.multiply(some, length, count, panel, &mut tile);
            vectorized(
                #[inline(always)]
                || {
                    for (row, sums) in tile.iter().enumerate().take(count) {
                        write(number * ROWS + row, columns.clone(), &sums[..columns.len()]);
                    }
                },
            );
        }
    }
}

/// Sums as values: times their factors, plus their shifts and what is added, through the activation.
#[inline(always)] // so that it is compiled for the vectors of the processor
fn write_line(
    out: &mut [f32],
    sums: &[i32],
    [factors, shifts]: [&[f32]; 2],
    added: Option<&[f32]>,
    activate: impl Fn(f32) -> f32,
) {
    let values = out.iter_mut().zip(sums).zip(factors.iter().zip(shifts));
    match added {
        Some(added) => values.zip(added).for_each(|(((out, sum), (factor, shift)), added)| {
            *out = activate(*sum as f32 * factor + shift + added);
        }),
        None => values.for_each(|((out, sum), (factor, shift))| *out = activate(*sum as f32 * factor + shift)),
    }
}

impl Bytes {
    /// Zero and all values between the least and the greatest have a byte.
    fn of(values: &[f32]) -> Bytes {
        const PIECE: usize = 16 * 1024;
        let ends =
            |(low, high): (f32, f32), (other_low, other_high): (f32, f32)| (low.min(other_low), high.max(other_high));
        let of_piece =
            |piece: &[f32]| piece.iter().fold((0.0f32, 0.0f32), |found, value| ends(found, (*value, *value)));
        let (low, high) = values.par_chunks(PIECE).map(of_piece).reduce(|| (0.0, 0.0), ends);
        let scale = if high > low { (high - low) / 255.0 } else { 1.0 };
        let zero = (-low / scale).round().clamp(0.0, 255.0);
        let mut bytes = vec![0u8; values.len()];
        bytes.par_chunks_mut(PIECE).zip(values.par_chunks(PIECE)).for_each(|(bytes, values)| {
            let inverse = 1.0 / scale;
            vectorized(
                #[inline(always)]
                || {
                    for (byte, value) in bytes.iter_mut().zip(values) {
                        // Half a unit more, cut off, is the nearest.
                        *byte = (value * inverse + (zero + 0.5)) as u8;
                    }
                },
            );
        });
        Bytes { values: bytes, scale, zero: zero as u8 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PreparedConv2d;
    use crate::checks::{noise, threads_agree, wide};

    /// The share of noise in what was quantised: the root of the mean square of the difference to that of the values.
    fn noise_share(ours: &Tensor, right: &Tensor) -> f64 {
        let (ours, right) = (wide(ours), wide(right));
        let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>();
        (squares(&mut ours.iter().zip(&right).map(|(a, b)| a - b)) / squares(&mut right.iter().copied())).sqrt()
    }

    #[test]
    fn eight_bits_are_near_to_all_bits() -> Result<()> {
        for (shape, kernel, stride, padding) in [
            ([1, 3, 2, 2], [4, 2, 1, 1], 1, 0),
            ([2, 9, 8, 3], [5, 3, 3, 3], 1, 1),
            ([1, 14, 14, 32], [70, 32, 1, 1], 1, 0),
            ([1, 20, 20, 16], [64, 16, 3, 3], 2, 1),
            ([3, 1, 1, 130], [10, 130, 1, 1], 1, 0),
        ] {
            let options = Conv2dOptions::square(stride, padding);
            let input = (noise(&shape, 1) + 0.2)?;
            let (weights, bias) = (noise(&kernel, 2), noise(&[kernel[0]], 3));
            let right = PreparedConv2d::new(&weights, &bias, options)?;
            let ours = QuantizedConv2d::new(right.kernel(), right.bias(), options)?;
            for activation in [Activation::None, Activation::Relu, Activation::Gelu] {
                let right = right.forward(&input, None, activation)?;
                let added = noise(right.dims(), 4);
                let share = noise_share(&ours.forward(&input, None, activation)?, &right);
                assert!(share < 0.02, "{shape:?} {kernel:?} {activation:?}: {share}");
                let both = ours.forward(&input, Some(&added), Activation::None)?;
                let plain = (ours.forward(&input, None, Activation::None)? + &added)?;
                assert!(noise_share(&both, &plain) < 1e-6);
            }
        }
        Ok(())
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let (input, weights) = (noise(&[1, 30, 30, 20], 1), noise(&[70, 20, 3, 3], 2));
        let options = Conv2dOptions::square(1, 1);
        let prepared = PreparedConv2d::new(&weights, &noise(&[70], 3), options).unwrap();
        let quantized = QuantizedConv2d::new(prepared.kernel(), prepared.bias(), options).unwrap();
        threads_agree(|| vec![quantized.forward(&input, None, Activation::Relu).unwrap()]);
    }

    #[test]
    fn groups_are_an_error() {
        let options = Conv2dOptions { groups: 2, ..Conv2dOptions::default() };
        assert!(QuantizedConv2d::new((&[1.0; 4], [2, 2, 1, 1]), &[0.0; 2], options).is_err());
    }
}
