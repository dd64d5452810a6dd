//! The product of a transpose: the gradient of a kernel of one tap, which sees each pixel once. Both sides are laid out
//! anew in the order in which tiles read them, so that the cache is filled line after line.

use super::correlate::{PanelWidth, Shared};
use crate::buffer::Scratch;
use crate::tile::{EvenColumns, MOST_ROWS, Output, full_rows};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Rows that are summed in registers before the sums are added to those of the rows before them.
const ROWS: usize = 2048;
/// Rows that a thread lays out at once.
const STRETCH: usize = 64;

/// `out[m, n] = sum over rows p of a[p, m] * b[p, n]`: `a` is (rows, m), `b` is (rows, n). Gives (m, stride) and the
/// stride, which is n or a little more.
pub(crate) fn transposed_product(a: &[f32], m: usize, b: &[f32], n: usize) -> (Vec<f32>, usize) {
    assert!(a.len() / m == b.len() / n && a.len().is_multiple_of(m) && b.len().is_multiple_of(n));
    let arch = Arch::new();
    let width = arch.dispatch(PanelWidth { columns: n });
    let most = arch.dispatch(TileRows);
    let pieces = m.div_ceil(most);
    let tile = Tile { rows: m.div_ceil(pieces), width };
    let (pieces, panels) = (m.div_ceil(tile.rows), n.div_ceil(width));
    let stride = panels * width;
    let mut out = vec![0.0; pieces * tile.rows * stride];
    let shared = Shared(out.as_mut_ptr());
    let rows = a.len() / m;
    let mut of_a = Scratch::new(pieces * tile.rows * ROWS.min(rows));
    let mut of_b = Scratch::new(stride * ROWS.min(rows));
    for first in (0..rows).step_by(ROWS) {
        let count = ROWS.min(rows - first);
        let (to_a, to_b) = (Shared(of_a.as_mut_ptr()), Shared(of_b.as_mut_ptr()));
        // Safety: there is room for as many rows, and each stretch has places of its own.
        (0..count.div_ceil(STRETCH)).into_par_iter().for_each(|stretch| unsafe {
            let range = stretch * STRETCH..((stretch + 1) * STRETCH).min(count);
            lay_out(&a[first * m..], m, tile.rows, range.clone(), count, to_a);
            lay_out(&b[first * n..], n, width, range, count, to_b);
        });
        let output = if first == 0 { Output::Set } else { Output::Add };
        (0..panels * pieces).into_par_iter().for_each(|index| {
            let (panel, piece) = (index / pieces, index % pieces);
            // Safety: both sides are laid out, and each tile is computed by one thread.
            let (a, b, out) = unsafe {
                (
                    to_a.at(piece * tile.rows * count),
                    to_b.at(panel * width * count),
                    shared.at(piece * tile.rows * stride + panel * width),
                )
            };
            arch.dispatch(Task { a, b, out, tile, stride, count, output });
        });
    }
    out.truncate(m * stride);
    (out, stride)
}

/// Rows and columns of a tile.
#[derive(Clone, Copy)]
struct Tile {
    rows: usize,
    width: usize,
}

/// Copies the rows of a range into pieces of `width` columns, (pieces, count, width), zero beyond the last column.
///
/// # Safety
/// `to` must have room for them, and no other thread may use these rows.
unsafe fn lay_out(from: &[f32], columns: usize, width: usize, range: std::ops::Range<usize>, count: usize, to: Shared) {
    for row in range {
        for (piece, values) in from[row * columns..(row + 1) * columns].chunks(width).enumerate() {
            // Safety: handed on to the caller.
            let to = unsafe { std::slice::from_raw_parts_mut(to.at((piece * count + row) * width).0, width) };
            to[..values.len()].copy_from_slice(values);
            to[values.len()..].fill(0.0);
        }
    }
}

/// Asks how many rows a tile has at most on this processor.
struct TileRows;

impl WithSimd for TileRows {
    type Output = usize;

    fn with_simd<S: Simd>(self, _: S) -> usize {
        full_rows(S::REGISTER_COUNT).min(MOST_ROWS)
    }
}

struct Task {
    a: Shared,
    b: Shared,
    out: Shared,
    tile: Tile,
    stride: usize,
    count: usize,
    output: Output,
}

impl WithSimd for Task {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Task { a, b, out, tile, stride, count, output } = self;
        let columns = EvenColumns {
            a: a.0,
            a_stride: tile.rows,
            b: b.0,
            b_stride: tile.width,
            count,
            vectors: tile.width / S::F32_LANES,
            out: out.0,
            out_stride: stride,
            output,
        };
        // Safety: both sides have that many rows, and the output whole tiles.
        unsafe { columns.tile(simd, tile.rows) };
    }
}
