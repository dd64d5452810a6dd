//! The convolution of each channel by itself: no matrix product, but passes over memory, with vectors along the channels.

use super::geometry::Geometry;
use crate::buffer::{add_parts, written};
use crate::tile::{load, store};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use std::mem::MaybeUninit;

/// Images and rows of which a part of a kernel's gradient is summed; the sizes alone decide how many parts there are.
const MOST_PARTS: usize = 32;
const LEAST_ROWS: usize = 16;

/// Whether each channel sees itself alone.
pub(super) fn fits(geometry: &Geometry) -> bool {
    geometry.options.groups == geometry.from && geometry.from == geometry.to
}

/// For each place along one direction, the places of the other side that it is computed from, each with the tap between
/// them.
type Seen = Vec<Vec<(usize, usize)>>;

/// What outputs see of inputs, vertically and horizontally.
fn seen(g: &Geometry) -> (Seen, Seen) {
    let along = |output: usize, input: usize, kernel: usize, stride: usize, padding: usize, dilation: usize| -> Seen {
        let place = |out: usize, tap: usize| (out * stride + tap * dilation).checked_sub(padding);
        let of = |out: usize| (0..kernel).filter_map(move |tap| Some((place(out, tap).filter(|at| *at < input)?, tap)));
        (0..output).map(|out| of(out).collect()).collect()
    };
    let o = g.options;
    (
        along(g.output.0, g.input.0, g.kernel.0, o.stride.0, o.padding.0, o.dilation.0),
        along(g.output.1, g.input.1, g.kernel.1, o.stride.1, o.padding.1, o.dilation.1),
    )
}

/// What inputs see of outputs, when outputs see this of `inputs` inputs.
fn turned(seen: &Seen, inputs: usize) -> Seen {
    let mut turned = vec![Vec::new(); inputs];
    for (out, pairs) in seen.iter().enumerate() {
        for (input, tap) in pairs {
            turned[*input].push((out, *tap));
        }
    }
    turned
}

/// The kernel, (channels, 1, height, width), tap by tap.
fn by_tap(kernel: &[f32], channels: usize) -> Vec<f32> {
    let taps = kernel.len() / channels;
    (0..taps).flat_map(|tap| (0..channels).map(move |channel| kernel[channel * taps + tap])).collect()
}

pub(super) fn forward(g: &Geometry, input: &[f32], kernel: &[f32]) -> Vec<f32> {
    let (rows, columns) = seen(g);
    gather(g, input, g.input, (&rows, &columns), kernel)
}

pub(super) fn input_gradient(g: &Geometry, grad: &[f32], kernel: &[f32]) -> Vec<f32> {
    let (rows, columns) = seen(g);
    gather(g, grad, g.output, (&turned(&rows, g.input.0), &turned(&columns, g.input.1)), kernel)
}

/// Images in which each pixel is the sum of the source pixels that it sees, each times its tap of the kernel.
fn gather(
    g: &Geometry,
    source: &[f32],
    size: (usize, usize),
    (rows, columns): (&Seen, &Seen),
    kernel: &[f32],
) -> Vec<f32> {
    let channels = g.from;
    let kernel = by_tap(kernel, channels);
    let arch = Arch::new();
    let length = g.batch * rows.len() * columns.len() * channels;
    let write = |out: &mut [MaybeUninit<f32>]| {
        out.par_chunks_exact_mut(columns.len() * channels).enumerate().for_each_init(
            Vec::new,
            |pairs, (index, out)| {
                let image = &source[index / rows.len() * size.0 * size.1 * channels..];
                let row = &rows[index % rows.len()];
                arch.dispatch(Row {
                    image,
                    width: size.1,
                    row,
                    columns,
                    kernel: &kernel,
                    taps: g.kernel.1,
                    pairs,
                    out,
                });
            },
        );
    };
    // Safety: every row is written to its end.
    unsafe { written(length, write) }
}

/// One row of what is gathered.
struct Row<'a, 'b> {
    /// The source image and its width in pixels.
    image: &'a [f32],
    width: usize,
    row: &'b [(usize, usize)],
    columns: &'b Seen,
    /// (taps, channels), row by row of so many taps.
    kernel: &'a [f32],
    taps: usize,
    /// What a pixel sees: source pixels and taps.
    pairs: &'b mut Vec<(&'a [f32], &'a [f32])>,
    out: &'b mut [MaybeUninit<f32>],
}

/// Vectors of a pixel that are summed at once.
const VECTORS: usize = 4;

impl WithSimd for Row<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Row { image, width, row, columns, kernel, taps, pairs, out } = self;
        let channels = out.len() / columns.len();
        for (out, column) in out.chunks_exact_mut(channels).zip(columns) {
            pairs.clear();
            for (y, vertical) in row {
                pairs.extend(column.iter().map(|(x, horizontal)| {
                    let tap = vertical * taps + horizontal;
                    (&image[(y * width + x) * channels..][..channels], &kernel[tap * channels..][..channels])
                }));
            }
            let mut first = 0;
            while first + VECTORS * S::F32_LANES <= channels {
                sum_vectors::<S, VECTORS>(simd, pairs, first, out);
                first += VECTORS * S::F32_LANES;
            }
            while first + S::F32_LANES <= channels {
                sum_vectors::<S, 1>(simd, pairs, first, out);
                first += S::F32_LANES;
            }
            let mut last = simd.splat_f32s(0.0);
            for (pixel, weight) in pairs.iter() {
                let (pixel, weight) = (&pixel[first..], &weight[first..]);
                last = simd.mul_add_f32s(simd.partial_load_f32s(pixel), simd.partial_load_f32s(weight), last);
            }
            let mut values = [0.0; MOST_LANES];
            simd.partial_store_f32s(&mut values[..S::F32_LANES], last);
            out[first..].iter_mut().zip(values).for_each(|(out, value)| _ = out.write(value));
        }
    }
}

/// Lanes of the longest vectors there are.
const MOST_LANES: usize = 16;

/// The sums of so many vectors of channels from `first` on.
#[inline(always)]
fn sum_vectors<S: Simd, const V: usize>(
    simd: S,
    pairs: &[(&[f32], &[f32])],
    first: usize,
    out: &mut [MaybeUninit<f32>],
) {
    assert!(first + V * S::F32_LANES <= out.len());
    let mut sums = [simd.splat_f32s(0.0); V];
    for (pixel, weight) in pairs {
        // Safety: both are as long as `out`, and these vectors lie within, as was asserted.
        unsafe {
            let (pixel, weight) = (pixel.as_ptr().add(first), weight.as_ptr().add(first));
            for (vector, sum) in sums.iter_mut().enumerate() {
                let at = vector * S::F32_LANES;
                *sum = simd.mul_add_f32s(load::<S>(pixel.add(at)), load::<S>(weight.add(at)), *sum);
            }
        }
    }
    for (vector, sum) in sums.into_iter().enumerate() {
        // Safety: as above.
        unsafe { store::<S>(out.as_mut_ptr().cast::<f32>().add(first + vector * S::F32_LANES), sum) };
    }
}

pub(super) fn kernel_gradient(g: &Geometry, input: &[f32], grad: &[f32]) -> Vec<f32> {
    let channels = g.from;
    let (rows, columns) = seen(g);
    // A part is of some images, or of some rows of one.
    let images = g.batch.div_ceil(MOST_PARTS);
    let blocks = (MOST_PARTS / g.batch).clamp(1, g.output.0.div_ceil(LEAST_ROWS));
    let height = g.output.0.div_ceil(blocks);
    let length = g.kernel.0 * g.kernel.1 * channels;
    let mut parts = vec![0.0; g.batch.div_ceil(images) * blocks * length];
    let arch = Arch::new();
    parts.par_chunks_exact_mut(length).enumerate().for_each(|(part, sums)| {
        let first = part / blocks * images;
        for image in first..(first + images).min(g.batch) {
            let input = &input[image * g.input.0 * g.input.1 * channels..];
            let grad = &grad[image * g.output.0 * g.output.1 * channels..];
            for y in (0..g.output.0).skip(part % blocks * height).take(height) {
                let grad = &grad[y * g.output.1 * channels..][..g.output.1 * channels];
                let (row, columns) = (&rows[y], &columns);
                arch.dispatch(Sums { input, width: g.input.1, row, columns, taps: g.kernel.1, grad, sums });
            }
        }
    });
    add_parts(&mut parts, length);
    let area = g.kernel.0 * g.kernel.1;
    (0..length).map(|place| parts[place % area * channels + place / area]).collect()
}

/// What one row of the output's gradient adds to the gradient of the kernel.
struct Sums<'a> {
    input: &'a [f32],
    width: usize,
    row: &'a [(usize, usize)],
    columns: &'a Seen,
    taps: usize,
    grad: &'a [f32],
    /// (taps, channels)
    sums: &'a mut [f32],
}

impl WithSimd for Sums<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Sums { input, width, row, columns, taps, grad, sums } = self;
        let channels = grad.len() / columns.len();
        for (grad, column) in grad.chunks_exact(channels).zip(columns) {
            for (y, vertical) in row {
                for (x, horizontal) in column {
                    let pixel = &input[(y * width + x) * channels..][..channels];
                    let sums = &mut sums[(vertical * taps + horizontal) * channels..][..channels];
                    let (sums, last_sums) = S::as_mut_simd_f32s(sums);
                    let ((grad, last_grad), (pixel, last_pixel)) = (S::as_simd_f32s(grad), S::as_simd_f32s(pixel));
                    for ((sum, grad), pixel) in sums.iter_mut().zip(grad).zip(pixel) {
                        *sum = simd.mul_add_f32s(*grad, *pixel, *sum);
                    }
                    let last = (simd.partial_load_f32s(last_grad), simd.partial_load_f32s(last_pixel));
                    let sum = simd.mul_add_f32s(last.0, last.1, simd.partial_load_f32s(last_sums));
                    simd.partial_store_f32s(last_sums, sum);
                }
            }
        }
    }
}
