//! The gradient of a kernel: for each tap, the products of what it saw with the gradient of what came out, summed over
//! all output pixels.

use super::correlate::{Block, Correlation, PanelWidth, Shared, Slab};
use crate::buffer::add_parts;
use crate::tile::{Columns, MOST_ROWS, Output, full_rows};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use std::ops::Range;

/// Bytes of the padded copy of a block.
const SLAB_BYTES: usize = 384 * 1024;
/// Bytes that the partial sums of all parts may take together.
const PARTIAL_BYTES: usize = 4 << 20;
/// The most parts whose sums are added up at the end. The parts depend on sizes alone, so that the result does not
/// depend on the number of threads.
const PARTS: usize = 16;

/// The gradient in the order (group, tap, channel of the group, output channel of the group), where rows of output
/// channels are padded to whole panels.
pub(crate) struct KernelGradient {
    pub(crate) values: Vec<f32>,
    /// Values from one channel to the next.
    pub(crate) stride: usize,
}

/// `grad` is (batch, grid height, grid width, to): the gradient of what `correlation` computed.
pub(crate) fn kernel_gradient(correlation: &Correlation<'_>, grad: &[f32]) -> KernelGradient {
    let c = correlation;
    assert_eq!(grad.len(), c.batch * c.grid.0 * c.grid.1 * c.to);
    assert_eq!(c.source.len(), c.batch * c.size.0 * c.size.1 * c.from);
    let arch = Arch::new();
    let (from, to) = (c.from / c.groups, c.to / c.groups);
    let width = arch.dispatch(PanelWidth { columns: to });
    let stride = to.div_ceil(width) * width;
    let length = c.groups * c.taps.len() * from * stride;
    let bytes = length * size_of::<f32>();
    let parts = (PARTIAL_BYTES / bytes.max(1)).clamp(1, PARTS);
    // Each block passes over all sums: where those are many, blocks are few.
    let blocks = c.blocks(SLAB_BYTES.max(bytes), parts);
    let parts = parts.min(blocks.len()).max(1);
    let per_part = blocks.len().div_ceil(parts).max(1);
    let mut partial = vec![0.0f32; parts * length];
    let shared = Shared(partial.as_mut_ptr());
    // Tiles of a part may be shared out at will: each is summed by one thread, in the order of the blocks.
    let shares = (2 * rayon::current_num_threads()).div_ceil(parts);
    (0..parts * shares).into_par_iter().for_each_init(Buffers::default, |buffers, task| {
        let (part, share) = (task / shares, task % shares);
        let of_part = (part * per_part).min(blocks.len())..((part + 1) * per_part).min(blocks.len());
        for block in &blocks[of_part] {
            // Safety: each part has sums of its own, and each share tiles of its own.
            let sums = unsafe { shared.at(part * length) };
            arch.dispatch(Task { c, grad, block, width, stride, share: (share, shares), buffers, sums });
        }
    });
    add_parts(&mut partial, length);
    partial.truncate(length);
    KernelGradient { values: partial, stride }
}

#[derive(Default)]
struct Buffers {
    slab: Vec<f32>,
    grad: Vec<f32>,
    seen: Vec<usize>,
    came_out: Vec<usize>,
}

/// One block of output pixels for a share of the tiles.
struct Task<'a> {
    c: &'a Correlation<'a>,
    grad: &'a [f32],
    block: &'a Block,
    width: usize,
    stride: usize,
    share: (usize, usize),
    buffers: &'a mut Buffers,
    sums: Shared,
}

impl WithSimd for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Task { c, grad, block, width, stride, share, buffers, sums } = self;
        let (from, to) = (c.from / c.groups, c.to / c.groups);
        let source = Slab::of(c, block, &mut buffers.slab);
        let (taps, depth) = source.taps(c);
        let pixels = pixels_of(c, block);
        buffers.seen.clear();
        for image in 0..block.images.len() {
            for row in 0..block.rows.len() {
                buffers.seen.extend((0..c.grid.1).map(|column| source.offset(c, image, row, column)));
            }
        }
        // Rows of the gradient must be readable to the end of their last panel.
        let (grad, grad_stride) = if stride == to {
            (&grad[pixels.start * c.to..pixels.end * c.to], c.to)
        } else {
            pad(&grad[pixels.start * c.to..pixels.end * c.to], c.groups, to, stride, &mut buffers.grad);
            (buffers.grad.as_slice(), c.groups * stride)
        };
        buffers.came_out.clear();
        buffers.came_out.extend((0..pixels.len()).map(|pixel| pixel * grad_stride));
        let most = full_rows(S::REGISTER_COUNT).min(MOST_ROWS);
        let pieces = depth.div_ceil(most);
        let rows = depth.div_ceil(pieces);
        let panels = stride / width;
        let tiles = c.groups * taps.len() * pieces * panels;
        let mine = tiles * share.0 / share.1..tiles * (share.0 + 1) / share.1;
        for tile in mine {
            let (tile, panel) = (tile / panels, tile % panels);
            let (tile, piece) = (tile / pieces, tile % pieces);
            let (group, tap) = (tile / taps.len(), tile % taps.len());
            let first = piece * rows;
            let count = rows.min(depth.saturating_sub(first));
            if count == 0 {
                continue;
            }
            let row = (group * taps.len() + tap) * depth + first;
            // Safety: the slab holds what every tap of these pixels sees, the gradient whole panels, and the sums
            // (groups x taps x depth, stride) values, of which this share alone writes these.
            unsafe {
                Columns {
                    a: source.values.add(taps[tap] + group * from + first),
                    a_rows: &buffers.seen,
                    b: grad.as_ptr().add(group * stride + panel * width),
                    b_rows: &buffers.came_out,
                    vectors: width / S::F32_LANES,
                    out: sums.0.add(row * stride + panel * width),
                    out_stride: stride,
                    output: Output::Add,
                }
                .tile(simd, count);
            }
        }
    }
}

/// The output pixels of a block, which follow each other.
fn pixels_of(c: &Correlation<'_>, block: &Block) -> Range<usize> {
    let per_image = c.grid.0 * c.grid.1;
    let first = block.images.start * per_image + block.rows.start * c.grid.1;
    first..first + block.images.len() * block.rows.len() * c.grid.1
}

/// Copies rows of groups of `to` values to a distance of `stride`.
fn pad(grad: &[f32], groups: usize, to: usize, stride: usize, padded: &mut Vec<f32>) {
    padded.clear();
    padded.resize(grad.len() / (groups * to) * groups * stride, 0.0);
    for (padded, values) in padded.chunks_exact_mut(stride).zip(grad.chunks_exact(to)) {
        padded[..to].copy_from_slice(values);
    }
}
