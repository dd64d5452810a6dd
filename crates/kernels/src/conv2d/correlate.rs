//! The general convolution: every tap of every output pixel is read in place from a padded copy of a few rows of the
//! source that stays in the cache, and multiplied with panels of the kernel. Forward and the gradient of the input are
//! both of this form.

use crate::tile::{MOST_ROWS, Output, Rows, full_rows, panel_width};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use std::ops::Range;

/// Bytes of a padded copy that a core keeps close; more where the kernel is larger than that, so that it is read rarely.
const SLAB_BYTES: usize = 384 * 1024;

/// Rows of a panel that are filled at once.
const PIECE: usize = 16;

/// `out[n, y, x, o] = sum over taps t and channels c of source[n, y * step + t.y, x * step + t.x, c] * kernel(o, c, t)`,
/// where the source is zero outside.
pub(crate) struct Correlation<'a> {
    pub(crate) batch: usize,
    /// (batch, height, width, channels)
    pub(crate) source: &'a [f32],
    /// (height, width) of the source.
    pub(crate) size: (usize, usize),
    /// Channels of the source, all groups together.
    pub(crate) from: usize,
    /// Channels of the output, all groups together.
    pub(crate) to: usize,
    pub(crate) groups: usize,
    /// Which pixels of the source an output pixel sees, row by row, relative to its own.
    pub(crate) taps: &'a [(isize, isize)],
    /// Pixels of the source between two outputs.
    pub(crate) step: (usize, usize),
    /// How many outputs there are, (vertical, horizontal).
    pub(crate) grid: (usize, usize),
    /// Where they go.
    pub(crate) place: Place,
}

/// Where the outputs of a grid lie in an image.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// (height, width) of the image.
    pub(crate) size: (usize, usize),
    /// The pixel of the first.
    pub(crate) first: (usize, usize),
    /// Pixels between two.
    pub(crate) step: (usize, usize),
}

/// A kernel cut into panels: for each group and panel, (taps x channels, panel width), zero beyond the last channel.
pub(crate) struct Panels {
    values: Vec<f32>,
    width: usize,
    per_group: usize,
    depth: usize,
}

impl Panels {
    /// `weight(group, o, c, tap)` gives the value that belongs to output channel `o` and source channel `c` of a group.
    pub(crate) fn new(
        correlation: &Correlation<'_>,
        weight: impl Fn(usize, usize, usize, usize) -> f32 + Sync,
    ) -> Panels {
        let (from, to) = (correlation.from / correlation.groups, correlation.to / correlation.groups);
        let width = Arch::new().dispatch(PanelWidth { columns: to });
        let (per_group, depth) = (to.div_ceil(width), correlation.taps.len() * from);
        let mut values = vec![0.0; correlation.groups * per_group * depth * width];
        values.par_chunks_exact_mut((depth * width).max(1)).enumerate().for_each(|(index, panel)| {
            let (group, first) = (index / per_group, index % per_group * width);
            for (tap, rows) in panel.chunks_exact_mut((from * width).max(1)).enumerate() {
                // Square pieces: the parameter lies one way or the other.
                for (piece, values) in rows.chunks_mut(PIECE * width).enumerate() {
                    for (lane, o) in (first..to).take(width).enumerate() {
                        for (c, values) in (piece * PIECE..).zip(values.chunks_exact_mut(width)) {
                            values[lane] = weight(group, o, c, tap);
                        }
                    }
                }
            }
        });
        Panels { values, width, per_group, depth }
    }
}

/// Asks how wide a panel is on this processor.
pub(crate) struct PanelWidth {
    pub(crate) columns: usize,
}

impl WithSimd for PanelWidth {
    type Output = usize;

    fn with_simd<S: Simd>(self, _: S) -> usize {
        panel_width::<S>(self.columns)
    }
}

/// A piece of the output that is computed at once: whole images, or some rows of one.
#[derive(Clone)]
pub(crate) struct Block {
    pub(crate) images: Range<usize>,
    pub(crate) rows: Range<usize>,
}

/// A pointer that threads share; each writes its own part.
#[derive(Clone, Copy)]
pub(crate) struct Shared(pub(crate) *mut f32);

impl Shared {
    /// The pointer so many values on.
    ///
    /// # Safety
    /// As [`pointer::add`].
    pub(crate) unsafe fn at(self, offset: usize) -> Shared {
        // Safety: handed on to the caller.
        Shared(unsafe { self.0.add(offset) })
    }
}

// Safety: whoever makes one sees to it that threads write to places of their own.
unsafe impl Send for Shared {}
// Safety: as above.
unsafe impl Sync for Shared {}

impl Correlation<'_> {
    /// Computes every output of the grid into `out`, an array of images (batch, height, width, to).
    pub(crate) fn compute(&self, panels: &Panels, out: &mut [std::mem::MaybeUninit<f32>]) {
        assert_eq!(out.len(), self.batch * self.place.size.0 * self.place.size.1 * self.to);
        assert_eq!(self.source.len(), self.batch * self.size.0 * self.size.1 * self.from);
        if out.is_empty() || self.grid.0 * self.grid.1 == 0 {
            return;
        }
        let bytes = SLAB_BYTES.max(size_of_val(panels.values.as_slice()) / 4);
        let blocks = self.blocks(bytes, 4 * rayon::current_num_threads());
        // Where blocks are few, panels are shared out as well.
        let pieces = (4 * rayon::current_num_threads()).div_ceil(blocks.len()).min(panels.per_group);
        let per_piece = panels.per_group.div_ceil(pieces);
        let out = Shared(out.as_mut_ptr().cast());
        let arch = Arch::new();
        (0..blocks.len() * pieces).into_par_iter().for_each_init(Vec::new, |slab, task| {
            let first = task % pieces * per_piece;
            let of_group = first..(first + per_piece).min(panels.per_group);
            arch.dispatch(Task { correlation: self, panels, block: &blocks[task / pieces], of_group, slab, out });
        });
    }

    /// How far taps reach: (above, below) and (left, right) as least and greatest offsets.
    fn reach(&self) -> ((isize, isize), (isize, isize)) {
        let range = |of: fn(&(isize, isize)) -> isize| {
            let values = self.taps.iter().map(of);
            (values.clone().min().unwrap_or(0), values.max().unwrap_or(0))
        };
        (range(|tap| tap.0), range(|tap| tap.1))
    }

    /// Rows and columns of the source that so many rows of outputs see.
    fn slab_size(&self, rows: usize) -> (usize, usize) {
        let (vertical, horizontal) = self.reach();
        let size =
            |count: usize, step: usize, reach: (isize, isize)| (count - 1) * step + reach.1.abs_diff(reach.0) + 1;
        (size(rows, self.step.0, vertical), size(self.grid.1, self.step.1, horizontal))
    }

    /// Pieces of the output whose padded copies have at most so many bytes, where that can be; more of them where whole
    /// images can be shared out among `wanted` pieces.
    pub(crate) fn blocks(&self, bytes: usize, wanted: usize) -> Vec<Block> {
        let bytes_of = |rows: usize| {
            let (height, width) = self.slab_size(rows);
            height * width * self.from * size_of::<f32>()
        };
        if bytes_of(self.grid.0) > bytes {
            let mut rows = self.grid.0;
            while rows > 1 && bytes_of(rows) > bytes {
                rows = rows.div_ceil(2);
            }
            let of_image = |image: usize| {
                let starts = (0..self.grid.0).step_by(rows);
                starts
                    .map(move |first| Block { images: image..image + 1, rows: first..(first + rows).min(self.grid.0) })
            };
            return (0..self.batch).flat_map(of_image).collect();
        }
        let fitting = (bytes / bytes_of(self.grid.0).max(1)).clamp(1, self.batch);
        let images = fitting.min(self.batch.div_ceil(wanted));
        let starts = (0..self.batch).step_by(images);
        starts.map(|first| Block { images: first..(first + images).min(self.batch), rows: 0..self.grid.0 }).collect()
    }
}

/// One block of outputs with some panels.
struct Task<'a> {
    correlation: &'a Correlation<'a>,
    panels: &'a Panels,
    block: &'a Block,
    /// The panels of each group that are computed.
    of_group: Range<usize>,
    slab: &'a mut Vec<f32>,
    out: Shared,
}

impl WithSimd for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Task { correlation: c, panels, block, of_group, slab, out } = self;
        let source = Slab::of(c, block, slab);
        let (from, to) = (c.from / c.groups, c.to / c.groups);
        let (taps, depth) = source.taps(c);
        let per_row = c.grid.1;
        let per_image = block.rows.len() * per_row;
        let count = block.images.len() * per_image;
        let most = full_rows(S::REGISTER_COUNT).min(MOST_ROWS);
        let (mut rows, mut out_rows) = ([0; MOST_ROWS], [0; MOST_ROWS]);
        for group in 0..c.groups {
            let mut first = 0;
            while first < count {
                // Even tiles, so that none is left with a row or two.
                let left = count - first;
                let rows_now = left.div_ceil(left.div_ceil(most));
                for (m, index) in (first..first + rows_now).enumerate() {
                    let (image, in_image) = (index / per_image, index % per_image);
                    let (row, column) = (in_image / per_row, in_image % per_row);
                    rows[m] = source.offset(c, image, row, column) + group * from;
                    out_rows[m] = c.out_offset(block.images.start + image, block.rows.start + row, column) + group * to;
                }
                for panel in of_group.clone() {
                    let begin = (group * panels.per_group + panel) * panels.depth * panels.width;
                    let column = panel * panels.width;
                    let tile = Rows {
                        a: source.values,
                        taps: &taps,
                        depth,
                        // Safety: the panels have that many values, and none is read without taps.
                        panel: unsafe { panels.values.as_ptr().add(begin) },
                        vectors: panels.width / S::F32_LANES,
                        // Safety: `column` is below the channels of the group, the rows are outputs of this block.
                        out: unsafe { out.0.add(column) },
                        columns: panels.width.min(to - column),
                        output: Output::Set,
                    };
                    // Safety: the slab holds every pixel that a tap of these rows sees; each output belongs to one block
                    // and one panel, so to one task.
                    unsafe { tile.tile(simd, &rows[..rows_now], &out_rows[..rows_now]) };
                }
                first += rows_now;
            }
        }
    }
}

impl Correlation<'_> {
    fn out_offset(&self, image: usize, row: usize, column: usize) -> usize {
        let (y, x) = (self.place.first.0 + row * self.place.step.0, self.place.first.1 + column * self.place.step.1);
        ((image * self.place.size.0 + y) * self.place.size.1 + x) * self.to
    }
}

/// The part of the source that a block sees, with zeros where it reaches beyond the image.
pub(crate) struct Slab {
    pub(crate) values: *const f32,
    /// (height, width) of an image of it.
    size: (usize, usize),
    /// What its first row and column are in the image.
    first: (isize, isize),
}

impl Slab {
    /// Copies into `buffer`, unless the source itself will do.
    pub(crate) fn of(c: &Correlation<'_>, block: &Block, buffer: &mut Vec<f32>) -> Slab {
        let ((top, bottom), (left, right)) = c.reach();
        let inside = top >= 0
            && left >= 0
            && (c.grid.0 - 1) * c.step.0 + bottom.unsigned_abs() < c.size.0
            && (c.grid.1 - 1) * c.step.1 + right.unsigned_abs() < c.size.1;
        if inside {
            let whole = c.size.0 * c.size.1 * c.from;
            let row = block.rows.start * c.step.0;
            let values = c.source[block.images.start * whole + row * c.size.1 * c.from..].as_ptr();
            return Slab { values, size: c.size, first: (0, 0) };
        }
        let size = c.slab_size(block.rows.len());
        let first = ((block.rows.start * c.step.0) as isize + top, left);
        buffer.clear();
        buffer.resize(block.images.len() * size.0 * size.1 * c.from, 0.0);
        // The columns that lie in the image.
        let columns = first.1.max(0)..(first.1 + size.1 as isize).min(c.size.1 as isize).max(first.1.max(0));
        let skip = (columns.start - first.1) as usize * c.from;
        let length = columns.len() * c.from;
        for (index, rows) in buffer.chunks_exact_mut(size.0 * size.1 * c.from).enumerate() {
            let image = block.images.start + index;
            for (row, values) in rows.chunks_exact_mut(size.1 * c.from).enumerate() {
                let y = first.0 + row as isize;
                if length > 0 && (0..c.size.0 as isize).contains(&y) {
                    let begin = ((image * c.size.0 + y as usize) * c.size.1 + columns.start as usize) * c.from;
                    values[skip..skip + length].copy_from_slice(&c.source[begin..begin + length]);
                }
            }
        }
        Slab { values: buffer.as_ptr(), size, first: (top, left) }
    }

    /// Where the top left of what an output sees lies; the offsets of the taps count from here.
    pub(crate) fn offset(&self, c: &Correlation<'_>, image: usize, row: usize, column: usize) -> usize {
        ((image * self.size.0 + row * c.step.0) * self.size.1 + column * c.step.1) * c.from
    }

    /// The taps as offsets, and how many consecutive values each has. Neighbouring taps of a row are one.
    pub(crate) fn taps(&self, c: &Correlation<'_>) -> (Vec<usize>, usize) {
        let offset = |tap: &(isize, isize)| {
            let (y, x) = ((tap.0 - self.first.0) as usize, (tap.1 - self.first.1) as usize);
            (y * self.size.1 + x) * c.from
        };
        let offsets: Vec<usize> = c.taps.iter().map(offset).collect();
        let from = c.from / c.groups;
        let run = offsets.windows(2).take_while(|pair| pair[1] == pair[0] + from).count() + 1;
        let even = c.groups == 1
            && offsets.len().is_multiple_of(run)
            && offsets.chunks(run).all(|taps| taps.windows(2).all(|pair| pair[1] == pair[0] + from));
        match even {
            true => (offsets.iter().step_by(run).copied().collect(), run * from),
            false => (offsets, from),
        }
    }
}
