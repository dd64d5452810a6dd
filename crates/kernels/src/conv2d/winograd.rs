//! 3x3 convolutions at stride 1 by Winograd's minimal filtering F(4x4, 3x3): tiles of 4x4 outputs from 6x6 inputs with a
//! quarter of the multiplications (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016, section
//! 4.3). With tile of input d, kernel g and output Y:
//!
//! `Y = At [(G g Gt) * (Bt d B)] A`, where `*` is elementwise and sums run over channels, so that each of the 36 places
//! of a tile is a matrix product of its own. The gradients are the transposes of the same steps: the gradient of the
//! kernel is `Gt [(Bt d B) * (A dY At)] G`, and that of the input is a convolution with the turned kernel.

mod passes;
mod transform;

use super::correlate::{PanelWidth, Shared};
use crate::buffer::{Scratch, add_parts, written};
use crate::tile::{MOST_ROWS, Output};
use passes::{Correlate, GradientOut, KernelIn, Multiply, Put, See, Spread};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Places of a transformed tile.
pub(crate) const PLACES: usize = 36;
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

    pub(crate) fn tiles(&self) -> usize {
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
        self.compute_with(&Kernel::new(self, weight))
    }

    /// The outputs with a kernel of the same numbers of channels.
    pub(crate) fn compute_with(&self, kernel: &Kernel) -> Vec<f32> {
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
                        self.multiply(kernel, place, 0..block.len(), block.len(), buffer, products);
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
                self.multiply(kernel, task / pieces, first..(first + rows).min(tiles), tiles, buffer, products);
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
            add_parts(all, length);
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
pub(crate) struct Kernel {
    values: Scratch,
    width: usize,
}

impl Kernel {
    pub(crate) fn new(w: &Winograd<'_>, weight: impl Fn(usize, usize, usize) -> f32 + Sync) -> Kernel {
        let arch = Arch::new();
        let width = arch.dispatch(PanelWidth { columns: w.to });
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
