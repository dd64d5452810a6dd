//! 3x3 convolutions at stride 1 by Winograd's minimal filtering F(4x4, 3x3): tiles of 4x4 outputs from 6x6 inputs with a
//! quarter of the multiplications (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016, section
//! 4.3). With tile of input d, kernel g and output Y:
//!
//! `Y = At [(G g Gt) * (Bt d B)] A`, where `*` is elementwise and sums run over channels, so that each of the 36 places
//! of a tile is a matrix product of its own. The gradients are the transposes of the same steps: the gradient of the
//! kernel is `Gt [(Bt d B) * (A dY At)] G`, and that of the input is a convolution with the turned kernel.

use super::correlate::Shared;
use crate::buffer::{Scratch, written};
use crate::tile::{Columns, MOST_ROWS, Output, Rows, apart, full_rows, load, panel_width, store};
use pulp::{Arch, NullaryFnOnce, Simd, WithSimd};
use rayon::prelude::*;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Places of a transformed tile.
const PLACES: usize = 36;
/// Bytes of a transformed kernel that a core keeps close while it walks over blocks of tiles.
const KERNEL_BYTES: usize = 1_300_000;
/// Bytes of the transformed tiles of a block.
const BLOCK_BYTES: usize = 700_000;
/// The most partial sums of a kernel's gradient; they depend on sizes alone.
const PARTS: usize = 16;

/// A 3x3 convolution at stride 1: `source`, (batch, height, width, from), padded with zeros, to outputs (batch, grid
/// height, grid width, to).
#[derive(Clone, Copy)]
pub(crate) struct Winograd<'a> {
    pub(crate) batch: usize,
    pub(crate) source: &'a [f32],
    /// (height, width) of the source.
    pub(crate) size: (usize, usize),
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// Zeros above and to the left of the source.
    pub(crate) padding: (usize, usize),
    /// (height, width) of the output.
    pub(crate) grid: (usize, usize),
}

/// Whether both numbers of channels fill whole vectors and there is enough of them for the transforms to pay.
pub(crate) fn fits(from: usize, to: usize) -> bool {
    struct Lanes;
    impl WithSimd for Lanes {
        type Output = usize;
        fn with_simd<S: Simd>(self, _: S) -> usize {
            S::F32_LANES
        }
    }
    let lanes = Arch::new().dispatch(Lanes);
    from >= 16 && to >= 16 && from.is_multiple_of(lanes) && to.is_multiple_of(lanes)
}

impl Winograd<'_> {
    fn tiles_across(&self) -> (usize, usize) {
        (self.grid.0.div_ceil(4), self.grid.1.div_ceil(4))
    }

    fn tiles(&self) -> usize {
        self.batch * self.tiles_across().0 * self.tiles_across().1
    }

    /// Image, first row and first column of the outputs of a tile.
    fn place(&self, tile: usize) -> (usize, usize, usize) {
        let (rows, columns) = self.tiles_across();
        (tile / (rows * columns), tile / columns % rows * 4, tile % columns * 4)
    }

    /// Tiles of a block whose transforms stay in the cache.
    fn tiles_of_block(&self) -> usize {
        let bytes = PLACES * (self.from + self.to) * size_of::<f32>();
        (BLOCK_BYTES / bytes).max(MOST_ROWS).min(self.tiles())
    }

    fn kernel_bytes(&self) -> usize {
        PLACES * self.from * self.to * size_of::<f32>()
    }

    /// The outputs; `weight(o, c, tap)` gives the kernel.
    pub(crate) fn compute(&self, weight: impl Fn(usize, usize, usize) -> f32 + Sync) -> Vec<f32> {
        let kernel = Kernel::new(self, weight);
        let tiles = self.tiles();
        let length = self.batch * self.grid.0 * self.grid.1 * self.to;
        let compute = |out: &mut [MaybeUninit<f32>]| {
            let out = Shared(out.as_mut_ptr().cast());
            if self.kernel_bytes() <= KERNEL_BYTES {
                let of_block = self.tiles_of_block().min(tiles.div_ceil(2 * rayon::current_num_threads())).max(1);
                let room = || Scratch::new(PLACES * of_block * (self.from + self.to));
                (0..tiles.div_ceil(of_block)).into_par_iter().for_each_init(room, |buffer, index| {
                    let block = index * of_block..((index + 1) * of_block).min(tiles);
                    let seen = PLACES * block.len() * self.from;
                    let buffer = Shared(buffer.as_mut_ptr());
                    // Safety: the buffer holds both transforms.
                    let products = unsafe { buffer.at(seen) };
                    self.see(block.clone(), (buffer, block.len()), 0);
                    for place in 0..PLACES {
                        self.multiply(&kernel, place, 0..block.len(), block.len(), buffer, products);
                    }
                    self.put(block.clone(), (products, block.len()), 0, out);
                });
                return;
            }
            // A kernel larger than the cache is read once: each place is a product over all tiles.
            let mut buffer = Scratch::new(PLACES * tiles * (self.from + self.to));
            let buffer = Shared(buffer.as_mut_ptr());
            // Safety: the buffer holds both transforms.
            let products = unsafe { buffer.at(PLACES * tiles * self.from) };
            in_pieces(tiles, 8, |piece| self.see(piece.clone(), (buffer, tiles), piece.start));
            let rows = tiles.div_ceil(tiles.div_ceil(16 * MOST_ROWS));
            let pieces = tiles.div_ceil(rows);
            (0..PLACES * pieces).into_par_iter().for_each(|task| {
                let first = task % pieces * rows;
                self.multiply(&kernel, task / pieces, first..(first + rows).min(tiles), tiles, buffer, products);
            });
            in_pieces(tiles, 8, |piece| self.put(piece.clone(), (products, tiles), piece.start, out));
        };
        // Safety: the tiles cover the grid.
        unsafe { written(length, compute) }
    }

    /// The gradient of the kernel as (to, from, 9), from the gradient of the outputs.
    pub(crate) fn kernel_gradient(&self, grad: &[f32]) -> Vec<f32> {
        let tiles = self.tiles();
        let length = PLACES * self.from * self.to;
        let mut sums;
        if self.kernel_bytes() <= KERNEL_BYTES {
            let of_block = self.tiles_of_block();
            let blocks = tiles.div_ceil(of_block);
            let parts = PARTS.min(blocks);
            let per_part = blocks.div_ceil(parts);
            let parts = blocks.div_ceil(per_part);
            sums = Scratch::new(parts * length);
            let shared = Shared(sums.as_mut_ptr());
            let room = || Scratch::new(PLACES * of_block * (self.from + self.to));
            (0..parts).into_par_iter().for_each_init(room, |buffer, part| {
                let buffer = Shared(buffer.as_mut_ptr());
                for index in part * per_part..((part + 1) * per_part).min(blocks) {
                    let block = index * of_block..((index + 1) * of_block).min(tiles);
                    // Safety: the buffer holds both transforms, and each part has sums of its own.
                    let (grads, sums) =
                        unsafe { (buffer.at(PLACES * block.len() * self.from), shared.at(part * length)) };
                    self.see(block.clone(), (buffer, block.len()), 0);
                    self.spread(grad, block.clone(), (grads, block.len()), 0);
                    let output = if index == part * per_part { Output::Set } else { Output::Add };
                    for place in 0..PLACES {
                        self.correlate((place, 0..self.from), block.len(), (buffer, grads), (sums, output));
                    }
                }
            });
            // Safety: every part has set all of its sums.
            let all = unsafe { std::slice::from_raw_parts_mut(shared.0, parts * length) };
            let (first, rest) = all.split_at_mut(length);
            first.par_chunks_mut(16 * 1024).enumerate().for_each(|(index, values)| {
                for part in rest.chunks_exact(length) {
                    let others = &part[index * 16 * 1024..][..values.len()];
                    values.iter_mut().zip(others).for_each(|(value, other)| *value += other);
                }
            });
        } else {
            let mut buffer = Scratch::new(PLACES * tiles * (self.from + self.to));
            let buffer = Shared(buffer.as_mut_ptr());
            // Safety: the buffer holds both transforms.
            let grads = unsafe { buffer.at(PLACES * tiles * self.from) };
            in_pieces(tiles, 8, |piece| {
                self.see(piece.clone(), (buffer, tiles), piece.start);
                self.spread(grad, piece.clone(), (grads, tiles), piece.start);
            });
            sums = Scratch::new(length);
            let shared = Shared(sums.as_mut_ptr());
            let rows = 8 * MOST_ROWS;
            let pieces = self.from.div_ceil(rows);
            (0..PLACES * pieces).into_par_iter().for_each(|task| {
                let first = task % pieces * rows;
                let channels = first..(first + rows).min(self.from);
                self.correlate((task / pieces, channels), tiles, (buffer, grads), (shared, Output::Set));
            });
        }
        // Safety: all of these sums were set.
        let sums = unsafe { std::slice::from_raw_parts(sums.as_mut_ptr(), length) };
        let mut gradient = vec![0.0f32; self.to * self.from * 9];
        let (from, to) = (self.from, self.to);
        gradient.par_chunks_mut(16 * from * 9).enumerate().for_each(|(index, gradient)| {
            Arch::new().dispatch(GradientOut { sums, gradient, first: index * 16, from, to });
        });
        gradient
    }

    /// Transforms the inputs of tiles: `Bt d B`, to (36, tiles of the buffer, from), from tile `first` of the buffer on.
    fn see(&self, tiles: Range<usize>, (buffer, of_buffer): (Shared, usize), first: usize) {
        Arch::new().dispatch(See { w: self, tiles, buffer, of_buffer, first });
    }

    /// Spreads the gradients of the outputs of tiles: `A dY At`, to (36, tiles of the buffer, to).
    fn spread(&self, grad: &[f32], tiles: Range<usize>, (buffer, of_buffer): (Shared, usize), first: usize) {
        Arch::new().dispatch(Spread { w: self, grad, tiles, buffer, of_buffer, first });
    }

    /// Puts the products of tiles, (36, tiles of the buffer, to), into the outputs: `At M A`.
    fn put(&self, tiles: Range<usize>, (buffer, of_buffer): (Shared, usize), first: usize, out: Shared) {
        Arch::new().dispatch(Put { w: self, tiles, buffer, of_buffer, first, out });
    }

    /// The matrix product of one place for some tiles of the buffers.
    fn multiply(
        &self,
        kernel: &Kernel,
        place: usize,
        tiles: Range<usize>,
        of_buffer: usize,
        seen: Shared,
        products: Shared,
    ) {
        Arch::new().dispatch(Multiply { w: self, kernel, place, tiles, of_buffer, seen, products });
    }

    /// Sums the products of one place, over all tiles of the buffers, for some channels of the source.
    fn correlate(
        &self,
        (place, channels): (usize, Range<usize>),
        of_buffer: usize,
        (seen, grads): (Shared, Shared),
        (sums, output): (Shared, Output),
    ) {
        Arch::new().dispatch(Correlate { w: self, place, channels, of_buffer, seen, grads, sums, output });
    }
}

/// Shares pieces of `count` among the threads.
fn in_pieces(count: usize, least: usize, work: impl Fn(Range<usize>) + Sync) {
    let size = count.div_ceil(4 * rayon::current_num_threads()).max(least);
    (0..count.div_ceil(size)).into_par_iter().for_each(|index| work(index * size..((index + 1) * size).min(count)));
}

/// A transformed kernel, cut into panels: (36, panels, from, panel width).
struct Kernel {
    values: Scratch,
    width: usize,
}

impl Kernel {
    fn new(w: &Winograd<'_>, weight: impl Fn(usize, usize, usize) -> f32 + Sync) -> Kernel {
        struct Width(usize);
        impl WithSimd for Width {
            type Output = usize;
            fn with_simd<S: Simd>(self, _: S) -> usize {
                panel_width::<S>(self.0)
            }
        }
        let arch = Arch::new();
        let width = arch.dispatch(Width(w.to));
        let panels = w.to.div_ceil(width);
        let length = PLACES * panels * w.from * width;
        let mut values = Scratch::new(length);
        let shared = Shared(values.as_mut_ptr());
        let rows = w.from.div_ceil(8);
        (0..panels * 8).into_par_iter().for_each(|task| {
            let (panel, piece) = (task / 8, task % 8);
            let channels = (piece * rows).min(w.from)..((piece + 1) * rows).min(w.from);
            arch.dispatch(KernelIn { w, weight: &weight, panel, width, channels, values: shared });
        });
        Kernel { values, width }
    }

    /// The panels of the places; all of them were set.
    fn panels(&self) -> *const f32 {
        self.values.as_ptr()
    }
}

#[inline(always)]
fn times<S: Simd>(simd: S, by: f32, value: S::f32s) -> S::f32s {
    simd.mul_f32s(simd.splat_f32s(by), value)
}

#[inline(always)]
fn plus<S: Simd>(simd: S, by: f32, value: S::f32s, to: S::f32s) -> S::f32s {
    simd.mul_add_e_f32s(simd.splat_f32s(by), value, to)
}

/// A transform of the rows of a tile. Closures would not be compiled for the vectors at hand.
trait Transform<const N: usize, const M: usize> {
    fn apply<S: Simd>(simd: S, values: [S::f32s; N]) -> [S::f32s; M];
}

/// `G g`
struct KernelRow;

impl Transform<3, 6> for KernelRow {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, g: [S::f32s; 3]) -> [S::f32s; 6] {
        let outer = simd.add_f32s(g[0], g[2]);
        let far = plus(simd, 1.0 / 6.0, g[2], times(simd, 1.0 / 24.0, g[0]));
        let middle = times(simd, 1.0 / 12.0, g[1]);
        [
            times(simd, 0.25, g[0]),
            times(simd, -1.0 / 6.0, simd.add_f32s(outer, g[1])),
            times(simd, -1.0 / 6.0, simd.sub_f32s(outer, g[1])),
            simd.add_f32s(far, middle),
            simd.sub_f32s(far, middle),
            g[2],
        ]
    }
}

/// `Gt u`
struct KernelGradientRow;

impl Transform<6, 3> for KernelGradientRow {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, u: [S::f32s; 6]) -> [S::f32s; 3] {
        let near = times(simd, -1.0 / 6.0, simd.add_f32s(u[1], u[2]));
        let far = simd.add_f32s(u[3], u[4]);
        let apart = times(simd, 1.0 / 6.0, simd.sub_f32s(u[2], u[1]));
        [
            plus(simd, 0.25, u[0], plus(simd, 1.0 / 24.0, far, near)),
            plus(simd, 1.0 / 12.0, simd.sub_f32s(u[3], u[4]), apart),
            simd.add_f32s(plus(simd, 1.0 / 6.0, far, near), u[5]),
        ]
    }
}

/// `Bt x`
struct InputRow;

impl Transform<6, 6> for InputRow {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, x: [S::f32s; 6]) -> [S::f32s; 6] {
        let (even, odd) = (plus(simd, -4.0, x[2], x[4]), plus(simd, -4.0, x[1], x[3]));
        let (near, step) = (simd.sub_f32s(x[4], x[2]), simd.sub_f32s(x[3], x[1]));
        [
            plus(simd, 4.0, x[0], plus(simd, -5.0, x[2], x[4])),
            simd.add_f32s(even, odd),
            simd.sub_f32s(even, odd),
            plus(simd, 2.0, step, near),
            plus(simd, -2.0, step, near),
            plus(simd, 4.0, x[1], plus(simd, -5.0, x[3], x[5])),
        ]
    }
}

/// `At m`
struct OutputRow;

impl Transform<6, 4> for OutputRow {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, m: [S::f32s; 6]) -> [S::f32s; 4] {
        let (s12, d12) = (simd.add_f32s(m[1], m[2]), simd.sub_f32s(m[1], m[2]));
        let (s34, d34) = (simd.add_f32s(m[3], m[4]), simd.sub_f32s(m[3], m[4]));
        [
            simd.add_f32s(m[0], simd.add_f32s(s12, s34)),
            plus(simd, 2.0, d34, d12),
            plus(simd, 4.0, s34, s12),
            simd.add_f32s(plus(simd, 8.0, d34, d12), m[5]),
        ]
    }
}

/// `A y`
struct OutputGradientRow;

impl Transform<4, 6> for OutputGradientRow {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, y: [S::f32s; 4]) -> [S::f32s; 6] {
        let (even, odd) = (simd.add_f32s(y[0], y[2]), simd.add_f32s(y[1], y[3]));
        let (far, step) = (plus(simd, 4.0, y[2], y[0]), plus(simd, 4.0, y[3], y[1]));
        [
            y[0],
            simd.add_f32s(even, odd),
            simd.sub_f32s(even, odd),
            plus(simd, 2.0, step, far),
            plus(simd, -2.0, step, far),
            y[3],
        ]
    }
}

/// Transforms the columns, then the rows, of a tile.
#[inline(always)]
fn both_ways<T: Transform<N, M>, S: Simd, const N: usize, const M: usize>(
    simd: S,
    tile: &[[S::f32s; N]; N],
) -> [[S::f32s; M]; M] {
    let zero = simd.splat_f32s(0.0);
    let mut half = [[zero; N]; M];
    for column in 0..N {
        let mut values = [zero; N];
        for row in 0..N {
            values[row] = tile[row][column];
        }
        let values = T::apply(simd, values);
        for row in 0..M {
            half[row][column] = values[row];
        }
    }
    let mut whole = [[zero; M]; M];
    for row in 0..M {
        whole[row] = T::apply(simd, half[row]);
    }
    whole
}

struct KernelIn<'a, F> {
    w: &'a Winograd<'a>,
    weight: &'a F,
    panel: usize,
    width: usize,
    channels: Range<usize>,
    values: Shared,
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

struct GradientOut<'a> {
    /// (36, from, to)
    sums: &'a [f32],
    /// (some of to, from, 9)
    gradient: &'a mut [f32],
    first: usize,
    from: usize,
    to: usize,
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

struct See<'a> {
    w: &'a Winograd<'a>,
    tiles: Range<usize>,
    buffer: Shared,
    of_buffer: usize,
    first: usize,
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
                        true => &raw const w.source[((image * w.size.0 + y) * w.size.1 + x) * w.from],
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

struct Spread<'a> {
    w: &'a Winograd<'a>,
    grad: &'a [f32],
    tiles: Range<usize>,
    buffer: Shared,
    of_buffer: usize,
    first: usize,
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
                    true => &raw const grad[((image * w.grid.0 + row + y) * w.grid.1 + column + x) * w.to],
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

struct Put<'a> {
    w: &'a Winograd<'a>,
    tiles: Range<usize>,
    buffer: Shared,
    of_buffer: usize,
    first: usize,
    out: Shared,
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
                    for y in 0..rows {
                        for x in 0..columns {
                            let pixel = (image * w.grid.0 + row + y) * w.grid.1 + column + x;
                            store::<S>(out.0.add(pixel * w.to + o), outputs[y][x]);
                        }
                    }
                }
            }
        }
    }
}

struct Multiply<'a> {
    w: &'a Winograd<'a>,
    kernel: &'a Kernel,
    place: usize,
    tiles: Range<usize>,
    of_buffer: usize,
    seen: Shared,
    products: Shared,
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

struct Correlate<'a> {
    w: &'a Winograd<'a>,
    place: usize,
    channels: Range<usize>,
    of_buffer: usize,
    seen: Shared,
    grads: Shared,
    sums: Shared,
    output: Output,
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
