//! Passes over images whose channels lie together: how they are cut for cache, vectors and threads.

use crate::lines::vectorized;
use rayon::prelude::*;
use std::ops::Range;

/// Values that a thread takes at once: a part of the second-level cache.
const STRIPE: usize = 32 * 1024;
/// Values of a line: enough for vectors to pay where channels are few.
const LINE: usize = 128;

/// Rows of channels, several of them to a line.
#[derive(Clone, Copy)]
pub(crate) struct Lines {
    channels: usize,
    rows: usize,
}

impl Lines {
    pub(crate) fn new(channels: usize) -> Lines {
        Lines { channels: channels.max(1), rows: (LINE / channels.max(1)).max(1) }
    }

    /// Values of a line: a multiple of the channels.
    pub(crate) fn width(self) -> usize {
        self.channels * self.rows
    }

    /// Values of a stripe: a multiple of the line, the same whatever the number of threads.
    pub(crate) fn stripe(self) -> usize {
        (STRIPE / self.width()).max(1) * self.width()
    }

    /// The values of the channels, as often as a line has rows.
    pub(crate) fn repeated(self, values: &[f32]) -> Vec<f32> {
        values.repeat(self.rows)
    }
}

/// Sums over all rows of each channel. `add` adds the values of a range, which is a line or less, to sums that are at least
/// as long. Stripes are summed in f32, their sums in f64 and in order, so that the result does not depend on the number of
/// threads.
pub(crate) fn sums_of_channels<const N: usize>(
    length: usize,
    channels: usize,
    add: impl Fn(Range<usize>, [&mut [f32]; N]) + Sync,
) -> [Vec<f64>; N] {
    let lines = Lines::new(channels);
    let (width, stripe) = (lines.width(), lines.stripe());
    let partial: Vec<[Vec<f32>; N]> = (0..length.div_ceil(stripe))
        .into_par_iter()
        .map(|index| {
            let end = ((index + 1) * stripe).min(length);
            let mut sums: [Vec<f32>; N] = std::array::from_fn(|_| vec![0.0; width]);
            vectorized(
                #[inline(always)]
                || {
                    for first in (index * stripe..end).step_by(width) {
                        let range = first..(first + width).min(end);
                        add(range.clone(), sums.each_mut().map(|sums| &mut sums[..range.len()]));
                    }
                },
            );
            sums
        })
        .collect();
    let mut sums: [Vec<f64>; N] = std::array::from_fn(|_| vec![0.0; channels]);
    for partial in &partial {
        for (sums, partial) in sums.iter_mut().zip(partial) {
            for row in partial.chunks_exact(channels) {
                sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
            }
        }
    }
    sums
}
