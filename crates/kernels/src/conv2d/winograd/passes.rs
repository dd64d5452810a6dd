//! The passes over tiles. Each runs with the vectors of the processor; what one takes stands in its fields.

use super::transform::{InputRow, KernelGradientRow, KernelRow, OutputGradientRow, OutputRow, both_ways};
use super::{Kernel, PLACES, Winograd};
use crate::conv2d::correlate::Shared;
use crate::tile::{Columns, MOST_ROWS, Output, Rows, apart, full_rows, load, store};
use pulp::{NullaryFnOnce, Simd, WithSimd};
use std::ops::Range;

/// Transforms some channels of a panel of the kernel: `G g Gt`, to (36, panels, from, panel width).
pub(super) struct KernelIn<'a, F> {
    pub(super) w: &'a Winograd<'a>,
    pub(super) weight: &'a F,
    pub(super) panel: usize,
    pub(super) width: usize,
    pub(super) channels: Range<usize>,
    pub(super) values: Shared,
}

impl<F: Fn(usize, usize, usize) -> f32> WithSimd for KernelIn<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let KernelIn { w, weight, panel, width, channels, values } = self;
        let panels = w.to.div_ceil(width);
        let lanes = S::F32_LANES;
        let mut taps = [[0.0f32; 16]; 9];
        assert!(lanes <= 16, "BUG: vectors of more than 16 values");
        for c in channels {
            for vector in 0..width / lanes {
                let first = panel * width + vector * lanes;
                for lane in 0..lanes {
                    for (tap, values) in taps.iter_mut().enumerate() {
                        values[lane] = if first + lane < w.to { weight(first + lane, c, tap) } else { 0.0 };
                    }
                }
                // Safety: a row of taps holds a vector; the place is in the panel's row of this channel.
                unsafe {
                    let mut kernel = [[simd.splat_f32s(0.0); 3]; 3];
                    for tap in 0..9 {
                        kernel[tap / 3][tap % 3] = load::<S>(taps[tap].as_ptr());
                    }
                    let transformed = both_ways::<KernelRow, S, 3, 6>(simd, &kernel);
                    for place in 0..PLACES {
                        let at = ((place * panels + panel) * w.from + c) * width + vector * lanes;
                        store::<S>(values.0.add(at), transformed[place / 6][place % 6]);
                    }
                }
            }
        }
    }
}

/// Takes the gradients of some output channels out of the sums: `Gt u G`.
pub(super) struct GradientOut<'a> {
    /// (36, from, to)
    pub(super) sums: &'a [f32],
    /// (some of to, from, 9)
    pub(super) gradient: &'a mut [f32],
    pub(super) first: usize,
    pub(super) from: usize,
    pub(super) to: usize,
}

impl WithSimd for GradientOut<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let GradientOut { sums, gradient, first, from, to } = self;
        let lanes = S::F32_LANES;
        let count = gradient.len() / (from * 9);
        for c in 0..from {
            for begin in (0..count).step_by(lanes) {
                let mut tile = [[simd.splat_f32s(0.0); 6]; 6];
                for place in 0..PLACES {
                    let at = (place * from + c) * to + first + begin;
                    // Safety: the output channels fill whole vectors.
                    tile[place / 6][place % 6] = unsafe { load::<S>(sums[at..at + lanes].as_ptr()) };
                }
                let taps = both_ways::<KernelGradientRow, S, 6, 3>(simd, &tile);
                for (tap, values) in taps.as_flattened().iter().enumerate() {
                    let values: &[f32] = pulp::bytemuck::cast_slice(std::slice::from_ref(values));
                    for (lane, value) in values.iter().enumerate() {
                        gradient[((begin + lane) * from + c) * 9 + tap] = *value;
                    }
                }
            }
        }
    }
}

/// Transforms the inputs of tiles: `Bt d B`, to (36, tiles of the buffer, from), from tile `first` of the buffer on.
pub(super) struct See<'a> {
    pub(super) w: &'a Winograd<'a>,
    pub(super) tiles: Range<usize>,
    pub(super) buffer: Shared,
    pub(super) of_buffer: usize,
    pub(super) first: usize,
}

impl WithSimd for See<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        apart(simd, On(simd, self));
    }
}

/// Work with the vectors of a processor.
struct On<S, T>(S, T);

impl<S: Simd> NullaryFnOnce for On<S, See<'_>> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let On(simd, See { w, tiles, buffer, of_buffer, first }) = self;
        let zeros = vec![0.0f32; w.from];
        for tile in tiles.clone() {
            let (image, row, column) = w.place(tile);
            let pixels: [[*const f32; 6]; 6] = std::array::from_fn(|y| {
                std::array::from_fn(|x| {
                    let (y, x) = ((row + y).wrapping_sub(w.padding.0), (column + x).wrapping_sub(w.padding.1));
                    match y < w.size.0 && x < w.size.1 {
                        true => w.source[((image * w.size.0 + y) * w.size.1 + x) * w.from..].as_ptr(),
                        false => zeros.as_ptr(),
                    }
                })
            });
            let at = first + tile - tiles.start;
            for c in (0..w.from).step_by(S::F32_LANES) {
                // Safety: each pixel has `from` values, which fill whole vectors; the buffer has a place for each tile.
                unsafe {
                    let mut input = [[simd.splat_f32s(0.0); 6]; 6];
                    for place in 0..PLACES {
                        input[place / 6][place % 6] = load::<S>(pixels[place / 6][place % 6].add(c));
                    }
                    let seen = both_ways::<InputRow, S, 6, 6>(simd, &input);
                    for place in 0..PLACES {
                        let to = buffer.0.add((place * of_buffer + at) * w.from + c);
                        store::<S>(to, seen[place / 6][place % 6]);
                    }
                }
            }
        }
    }
}

/// Spreads the gradients of the outputs of tiles: `A dY At`, to (36, tiles of the buffer, to).
pub(super) struct Spread<'a> {
    pub(super) w: &'a Winograd<'a>,
    pub(super) grad: &'a [f32],
    pub(super) tiles: Range<usize>,
    pub(super) buffer: Shared,
    pub(super) of_buffer: usize,
    pub(super) first: usize,
}

impl WithSimd for Spread<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        apart(simd, On(simd, self));
    }
}

impl<S: Simd> NullaryFnOnce for On<S, Spread<'_>> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let On(simd, Spread { w, grad, tiles, buffer, of_buffer, first }) = self;
        let zeros = vec![0.0f32; w.to];
        for tile in tiles.clone() {
            let (image, row, column) = w.place(tile);
            let pixels: [[*const f32; 4]; 4] = std::array::from_fn(|y| {
                std::array::from_fn(|x| match row + y < w.grid.0 && column + x < w.grid.1 {
                    true => grad[((image * w.grid.0 + row + y) * w.grid.1 + column + x) * w.to..].as_ptr(),
                    false => zeros.as_ptr(),
                })
            });
            let at = first + tile - tiles.start;
            for o in (0..w.to).step_by(S::F32_LANES) {
                // Safety: each pixel has `to` values, which fill whole vectors; the buffer has a place for each tile.
                unsafe {
                    let mut grads = [[simd.splat_f32s(0.0); 4]; 4];
                    for pixel in 0..16 {
                        grads[pixel / 4][pixel % 4] = load::<S>(pixels[pixel / 4][pixel % 4].add(o));
                    }
                    let spread = both_ways::<OutputGradientRow, S, 4, 6>(simd, &grads);
                    for place in 0..PLACES {
                        let to = buffer.0.add((place * of_buffer + at) * w.to + o);
                        store::<S>(to, spread[place / 6][place % 6]);
                    }
                }
            }
        }
    }
}

/// Puts the products of tiles, (36, tiles of the buffer, to), into the outputs: `At M A`.
pub(super) struct Put<'a> {
    pub(super) w: &'a Winograd<'a>,
    pub(super) tiles: Range<usize>,
    pub(super) buffer: Shared,
    pub(super) of_buffer: usize,
    pub(super) first: usize,
    pub(super) out: Shared,
}

impl WithSimd for Put<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        apart(simd, On(simd, self));
    }
}

impl<S: Simd> NullaryFnOnce for On<S, Put<'_>> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let On(simd, Put { w, tiles, buffer, of_buffer, first, out }) = self;
        for tile in tiles.clone() {
            let (image, row, column) = w.place(tile);
            let at = first + tile - tiles.start;
            let (rows, columns) = ((w.grid.0 - row).min(4), (w.grid.1 - column).min(4));
            for o in (0..w.to).step_by(S::F32_LANES) {
                // Safety: the buffer has the 36 products of each tile, and only outputs inside the grid are written.
                unsafe {
                    let mut products = [[simd.splat_f32s(0.0); 6]; 6];
                    for place in 0..PLACES {
                        let from = buffer.0.add((place * of_buffer + at) * w.to + o);
                        products[place / 6][place % 6] = load::<S>(from);
                    }
                    let outputs = both_ways::<OutputRow, S, 6, 4>(simd, &products);
                    for (y, outputs) in outputs.iter().enumerate().take(rows) {
                        for (x, output) in outputs.iter().enumerate().take(columns) {
                            let pixel = (image * w.grid.0 + row + y) * w.grid.1 + column + x;
                            store::<S>(out.0.add(pixel * w.to + o), *output);
                        }
                    }
                }
            }
        }
    }
}

/// The matrix product of one place for some tiles of the buffers.
pub(super) struct Multiply<'a> {
    pub(super) w: &'a Winograd<'a>,
    pub(super) kernel: &'a Kernel,
    pub(super) place: usize,
    pub(super) tiles: Range<usize>,
    pub(super) of_buffer: usize,
    pub(super) seen: Shared,
    pub(super) products: Shared,
}

impl WithSimd for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Multiply { w, kernel, place, tiles, of_buffer, seen, products } = self;
        let most = full_rows(S::REGISTER_COUNT).min(MOST_ROWS);
        let panels = w.to.div_ceil(kernel.width);
        let (mut rows, mut out_rows) = ([0; MOST_ROWS], [0; MOST_ROWS]);
        for panel in 0..panels {
            let column = panel * kernel.width;
            // Safety: the buffers hold (36, tiles, from) and (36, tiles, to) values, the kernel all its panels.
            let product = unsafe {
                Rows {
                    a: seen.0.add(place * of_buffer * w.from),
                    taps: &[0],
                    depth: w.from,
                    panel: kernel.panels().add((place * panels + panel) * w.from * kernel.width),
                    vectors: kernel.width / S::F32_LANES,
                    out: products.0.add(place * of_buffer * w.to + column),
                    columns: kernel.width.min(w.to - column),
                    output: Output::Set,
                }
            };
            let mut first = tiles.start;
            while first < tiles.end {
                let left = tiles.end - first;
                let count = left.div_ceil(left.div_ceil(most));
                for m in 0..count {
                    rows[m] = (first + m) * w.from;
                    out_rows[m] = (first + m) * w.to;
                }
                // Safety: as above.
                unsafe { product.tile(simd, &rows[..count], &out_rows[..count]) };
                first += count;
            }
        }
    }
}

/// Sums the products of one place, over all tiles of the buffers, for some channels of the source.
pub(super) struct Correlate<'a> {
    pub(super) w: &'a Winograd<'a>,
    pub(super) place: usize,
    pub(super) channels: Range<usize>,
    pub(super) of_buffer: usize,
    pub(super) seen: Shared,
    pub(super) grads: Shared,
    pub(super) sums: Shared,
    pub(super) output: Output,
}

impl WithSimd for Correlate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Correlate { w, place, channels, of_buffer, seen, grads, sums, output } = self;
        let most = full_rows(S::REGISTER_COUNT).min(MOST_ROWS);
        let a_rows: Vec<usize> = (0..of_buffer).map(|tile| tile * w.from).collect();
        let b_rows: Vec<usize> = (0..of_buffer).map(|tile| tile * w.to).collect();
        let mut first = channels.start;
        while first < channels.end {
            let left = channels.end - first;
            let count = left.div_ceil(left.div_ceil(most));
            let mut column = 0;
            while column < w.to {
                let vectors = if w.to - column >= 2 * S::F32_LANES { 2 } else { 1 };
                // Safety: the buffers hold (36, tiles, from) and (36, tiles, to) values, the sums (36, from, to); output
                // channels fill whole vectors, and these sums belong to this piece of the channels.
                unsafe {
                    Columns {
                        a: seen.0.add(place * of_buffer * w.from + first),
                        a_rows: &a_rows,
                        b: grads.0.add(place * of_buffer * w.to + column),
                        b_rows: &b_rows,
                        vectors,
                        out: sums.0.add((place * w.from + first) * w.to + column),
                        out_stride: w.to,
                        output,
                    }
                    .tile(simd, count);
                }
                column += vectors * S::F32_LANES;
            }
            first += count;
        }
    }
}
