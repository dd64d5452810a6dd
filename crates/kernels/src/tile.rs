//! Register tiles: the innermost loops of convolutions and matrix products. A tile of sums stays in vector registers
//! while the shared dimension is walked once.
//!
//! Everything here works on raw pointers, since the rows of a tile lie anywhere in a larger array; each function says
//! what must be readable and writable.

use pulp::{NullaryFnOnce, Simd};
use std::array::from_fn;

/// Rows of a full tile on a processor with so many vector registers: the sums of two vectors a row, two vectors of the
/// panel and one broadcast value fit.
pub(crate) const fn full_rows(registers: usize) -> usize {
    if registers >= 32 { 12 } else { 6 }
}

/// The greatest number of rows of any tile.
pub(crate) const MOST_ROWS: usize = 12;

/// How the panel `n` of a matrix with so many columns is cut: two vectors wide, or one where one suffices for all.
pub(crate) fn panel_width<S: Simd>(columns: usize) -> usize {
    if columns <= S::F32_LANES { S::F32_LANES } else { 2 * S::F32_LANES }
}

/// What happens to the values that are in the output.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// They are replaced.
    Set,
    /// The sums are added to them.
    Add,
}

/// Runs the tile that has so many rows.
macro_rules! of_rows {
    ($count:expr, $simd:expr, $tile:expr, $($rows:literal)+) => {
        match $count {
            $($rows => apart($simd, Tile::<_, $rows, V>($tile)),)+
            other => unreachable!("BUG: a tile of {other} rows"),
        }
    };
}

/// A product whose left side is read in place:
/// `out[out_rows[m] + n] = sum over t, k of a[rows[m] + taps[t] + k] * panel[t * depth + k][n]`.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    /// The left side; `rows` and `taps` are offsets from here.
    pub(crate) a: *const f32,
    /// Where the piece of the shared dimension that belongs to each tap begins.
    pub(crate) taps: &'a [usize],
    /// Consecutive values a tap.
    pub(crate) depth: usize,
    /// The right side, (taps x depth, panel width).
    pub(crate) panel: *const f32,
    /// The panel's width in vectors: 1 or 2.
    pub(crate) vectors: usize,
    /// Where sums go.
    pub(crate) out: *mut f32,
    /// Columns of the panel that are kept.
    pub(crate) columns: usize,
    /// What happens to the old values.
    pub(crate) output: Output,
}

impl Rows<'_> {
    /// Computes a tile of as many rows as there are offsets, at most [`MOST_ROWS`].
    ///
    /// # Safety
    /// All offsets must lead to readable values of `a`, writable values of `out` that no other thread uses, and `panel`
    /// must be as long as its shape says.
    #[inline(always)]
    pub(crate) unsafe fn tile<S: Simd>(&self, simd: S, rows: &[usize], out_rows: &[usize]) {
        // Safety: handed on to the caller.
        unsafe {
            match self.vectors {
                1 => self.tile_of::<S, 1>(simd, rows, out_rows),
                _ => self.tile_of::<S, 2>(simd, rows, out_rows),
            }
        }
    }

    #[inline(always)]
    unsafe fn tile_of<S: Simd, const V: usize>(&self, simd: S, rows: &[usize], out_rows: &[usize]) {
        let tile = RowsTile { product: *self, simd, rows, out_rows };
        of_rows!(rows.len(), simd, tile, 1 2 3 4 5 6 7 8 9 10 11 12)
    }
}

/// Runs a tile as a function of its own: among others it would not have all registers.
#[inline(never)]
pub(crate) fn apart<S: Simd>(simd: S, tile: impl NullaryFnOnce<Output = ()>) {
    simd.vectorize(tile);
}

/// A tile of `M` rows and `V` vectors.
struct Tile<T, const M: usize, const V: usize>(T);

struct RowsTile<'a, S> {
    product: Rows<'a>,
    simd: S,
    rows: &'a [usize],
    out_rows: &'a [usize],
}

impl<S: Simd, const M: usize, const V: usize> NullaryFnOnce for Tile<RowsTile<'_, S>, M, V> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let RowsTile { product, simd, rows, out_rows } = self.0;
        let Rows { a, taps, depth, mut panel, out, columns, output, .. } = product;
        let lanes = S::F32_LANES;
        let mut sums = [[simd.splat_f32s(0.0); V]; M];
        // Safety: whoever made the tile answers for its pointers.
        unsafe {
            for &tap in taps {
                let row: [*const f32; M] = from_fn(|m| a.add(rows[m] + tap));
                for k in 0..depth {
                    let right: [S::f32s; V] = from_fn(|v| load::<S>(panel.add(v * lanes)));
                    for (sums, row) in sums.iter_mut().zip(row) {
                        let left = simd.splat_f32s(*row.add(k));
                        for v in 0..V {
                            sums[v] = simd.mul_add_e_f32s(left, right[v], sums[v]);
                        }
                    }
                    panel = panel.add(V * lanes);
                }
            }
            for (sums, out_row) in sums.into_iter().zip(out_rows) {
                keep::<S, V>(simd, out.add(*out_row), columns, output, sums);
            }
        }
    }
}

/// A product whose shared dimension is the rows of both sides, as the gradient of a kernel is:
/// `out[m * out_stride + n] = sum over p of a[a_rows[p] + m] * b[b_rows[p] + n]`.
#[derive(Clone, Copy)]
pub(crate) struct Columns<'a> {
    /// The left side.
    pub(crate) a: *const f32,
    /// Where each of its rows begins.
    pub(crate) a_rows: &'a [usize],
    /// The right side, with a whole panel readable from each row on.
    pub(crate) b: *const f32,
    /// Where each of its rows begins.
    pub(crate) b_rows: &'a [usize],
    /// The width of `b` in vectors: 1 or 2.
    pub(crate) vectors: usize,
    /// Where sums go, (rows of the tile, `out_stride`), a whole panel writable.
    pub(crate) out: *mut f32,
    /// The distance of its rows.
    pub(crate) out_stride: usize,
    /// What happens to the old values.
    pub(crate) output: Output,
}

impl Columns<'_> {
    /// Computes a tile of `count` rows, at most [`MOST_ROWS`].
    ///
    /// # Safety
    /// As [`Rows::tile`].
    #[inline(always)]
    pub(crate) unsafe fn tile<S: Simd>(&self, simd: S, count: usize) {
        // Safety: handed on to the caller.
        unsafe {
            match self.vectors {
                1 => self.tile_of::<S, 1>(simd, count),
                _ => self.tile_of::<S, 2>(simd, count),
            }
        }
    }

    #[inline(always)]
    unsafe fn tile_of<S: Simd, const V: usize>(&self, simd: S, count: usize) {
        let tile = (*self, simd);
        of_rows!(count, simd, tile, 1 2 3 4 5 6 7 8 9 10 11 12)
    }
}

impl<S: Simd, const M: usize, const V: usize> NullaryFnOnce for Tile<(Columns<'_>, S), M, V> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let (Columns { a, a_rows, b, b_rows, out, out_stride, output, .. }, simd) = self.0;
        let lanes = S::F32_LANES;
        let mut sums = [[simd.splat_f32s(0.0); V]; M];
        // Safety: whoever made the tile answers for its pointers.
        unsafe {
            for (&of_a, &of_b) in a_rows.iter().zip(b_rows) {
                let (a, b) = (a.add(of_a), b.add(of_b));
                let right: [S::f32s; V] = from_fn(|v| load::<S>(b.add(v * lanes)));
                for (m, sums) in sums.iter_mut().enumerate() {
                    let left = simd.splat_f32s(*a.add(m));
                    for v in 0..V {
                        sums[v] = simd.mul_add_e_f32s(left, right[v], sums[v]);
                    }
                }
            }
            for (m, sums) in sums.into_iter().enumerate() {
                keep::<S, V>(simd, out.add(m * out_stride), V * lanes, output, sums);
            }
        }
    }
}

/// As [`Columns`], with rows of both sides at even distances.
#[derive(Clone, Copy)]
pub(crate) struct EvenColumns {
    /// The left side.
    pub(crate) a: *const f32,
    /// The distance of its rows.
    pub(crate) a_stride: usize,
    /// The right side, with a whole panel readable from each row on.
    pub(crate) b: *const f32,
    /// The distance of its rows.
    pub(crate) b_stride: usize,
    /// How many rows both have.
    pub(crate) count: usize,
    /// The width of `b` in vectors: 1 or 2.
    pub(crate) vectors: usize,
    /// Where sums go, (rows of the tile, `out_stride`), a whole panel writable.
    pub(crate) out: *mut f32,
    /// The distance of its rows.
    pub(crate) out_stride: usize,
    /// What happens to the old values.
    pub(crate) output: Output,
}

impl EvenColumns {
    /// Computes a tile of `count` rows, at most [`MOST_ROWS`].
    ///
    /// # Safety
    /// As [`Rows::tile`].
    #[inline(always)]
    pub(crate) unsafe fn tile<S: Simd>(&self, simd: S, count: usize) {
        // Safety: handed on to the caller.
        unsafe {
            match self.vectors {
                1 => self.tile_of::<S, 1>(simd, count),
                _ => self.tile_of::<S, 2>(simd, count),
            }
        }
    }

    #[inline(always)]
    unsafe fn tile_of<S: Simd, const V: usize>(&self, simd: S, count: usize) {
        let tile = (*self, simd);
        of_rows!(count, simd, tile, 1 2 3 4 5 6 7 8 9 10 11 12)
    }
}

impl<S: Simd, const M: usize, const V: usize> NullaryFnOnce for Tile<(EvenColumns, S), M, V> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let (EvenColumns { mut a, a_stride, mut b, b_stride, count, out, out_stride, output, .. }, simd) = self.0;
        let lanes = S::F32_LANES;
        let mut sums = [[simd.splat_f32s(0.0); V]; M];
        // Safety: whoever made the tile answers for its pointers.
        unsafe {
            for _ in 0..count {
                let right: [S::f32s; V] = from_fn(|v| load::<S>(b.add(v * lanes)));
                for (m, sums) in sums.iter_mut().enumerate() {
                    let left = simd.splat_f32s(*a.add(m));
                    for v in 0..V {
                        sums[v] = simd.mul_add_e_f32s(left, right[v], sums[v]);
                    }
                }
                (a, b) = (a.add(a_stride), b.add(b_stride));
            }
            for (m, sums) in sums.into_iter().enumerate() {
                keep::<S, V>(simd, out.add(m * out_stride), V * lanes, output, sums);
            }
        }
    }
}

/// Reads a vector.
///
/// # Safety
/// A whole vector must be readable.
#[inline(always)]
pub(crate) unsafe fn load<S: Simd>(from: *const f32) -> S::f32s {
    // Safety: plain values, read without alignment.
    unsafe { from.cast::<S::f32s>().read_unaligned() }
}

/// Writes a vector.
///
/// # Safety
/// A whole vector must be writable.
#[inline(always)]
pub(crate) unsafe fn store<S: Simd>(to: *mut f32, value: S::f32s) {
    // Safety: plain values, written without alignment.
    unsafe { to.cast::<S::f32s>().write_unaligned(value) }
}

/// Writes or adds the first `columns` values of a row of sums.
#[inline(always)]
unsafe fn keep<S: Simd, const V: usize>(simd: S, to: *mut f32, columns: usize, output: Output, sums: [S::f32s; V]) {
    let lanes = S::F32_LANES;
    // Safety: handed on to the caller.
    unsafe {
        if columns == V * lanes {
            for (v, sum) in sums.iter().enumerate() {
                let to = to.add(v * lanes);
                match output {
                    Output::Set => store::<S>(to, *sum),
                    Output::Add => store::<S>(to, simd.add_f32s(load::<S>(to), *sum)),
                }
            }
            return;
        }
        let sums: &[f32] = pulp::bytemuck::cast_slice(&sums);
        for (n, sum) in sums[..columns].iter().enumerate() {
            match output {
                Output::Set => *to.add(n) = *sum,
                Output::Add => *to.add(n) += *sum,
            }
        }
    }
}
