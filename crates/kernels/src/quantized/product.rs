//! Products of rows of unsigned bytes with columns of signed bytes, summed exactly in 32 bits.

use crate::lines::vectorized;

/// Columns of a panel.
pub(super) const COLUMNS: usize = 64;
/// Rows that are multiplied at once.
pub(super) const ROWS: usize = 6;
/// Values of the depth that are summed by one instruction.
pub(super) const DEPTH: usize = 4;

/// The sums of a tile, row by row.
pub(super) type Tile = [[i32; COLUMNS]; ROWS];

/// Weights, cut into panels of [`COLUMNS`] outputs: for each four values of the depth those of all columns, four by four.
pub(super) struct Panels {
    values: Vec<i8>,
    /// Fours of the depth.
    fours: usize,
}

impl Panels {
    /// Of (outputs, depth) weights.
    pub(super) fn new(weights: &[i8], depth: usize) -> Panels {
        let (outputs, fours) = (weights.len() / depth.max(1), depth.div_ceil(DEPTH));
        let panel = fours * COLUMNS * DEPTH;
        let mut values = vec![0; outputs.div_ceil(COLUMNS) * panel];
        for (output, row) in weights.chunks_exact(depth.max(1)).enumerate() {
            let (number, column) = (output / COLUMNS, output % COLUMNS);
            for (place, weight) in row.iter().enumerate() {
                let (four, rest) = (place / DEPTH, place % DEPTH);
                values[number * panel + (four * COLUMNS + column) * DEPTH + rest] = *weight;
            }
        }
        Panels { values, fours }
    }

    /// Bytes of a row that is multiplied with it: the depth, rounded up.
    pub(super) fn row_len(&self) -> usize {
        self.fours * DEPTH
    }

    /// How many panels there are.
    pub(super) fn count(&self) -> usize {
        self.values.len() / (self.row_len() * COLUMNS).max(1)
    }

    /// Writes the products of `rows` (at most [`ROWS`]) rows, `stride` bytes apart, with the panel of this number.
    pub(super) fn multiply(&self, rows: &[u8], stride: usize, count: usize, number: usize, tile: &mut Tile) {
        let length = self.row_len();
        let panel = &self.values[number * length * COLUMNS..][..length * COLUMNS];
        assert!(count <= ROWS && rows.len() >= (count.max(1) - 1) * stride + length, "BUG: rows end early");
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx512f") && std::arch::is_x86_feature_detected!("avx512vnni") {
            // Safety: the processor has the instructions; the rows and the panel are as long as is said.
            unsafe {
                match count {
                    1 => vnni::multiply::<1>(rows, stride, panel, tile),
                    2 => vnni::multiply::<2>(rows, stride, panel, tile),
                    3 => vnni::multiply::<3>(rows, stride, panel, tile),
                    4 => vnni::multiply::<4>(rows, stride, panel, tile),
                    5 => vnni::multiply::<5>(rows, stride, panel, tile),
                    _ => vnni::multiply::<6>(rows, stride, panel, tile),
                }
            }
            return;
        }
        multiply_anywhere(rows, (stride, length), count, panel, tile);
    }
}

/// With what every processor has.
fn multiply_anywhere(rows: &[u8], (stride, length): (usize, usize), count: usize, panel: &[i8], tile: &mut Tile) {
    vectorized(
        #[inline(always)]
        || {
            for (row, sums) in tile.iter_mut().enumerate().take(count) {
                sums.fill(0);
                let values = rows[row * stride..][..length].as_chunks::<DEPTH>().0;
                for (values, columns) in values.iter().zip(panel.chunks_exact(COLUMNS * DEPTH)) {
                    for (sum, weights) in sums.iter_mut().zip(columns.as_chunks::<DEPTH>().0) {
                        let products: [i32; DEPTH] =
                            std::array::from_fn(|place| i32::from(values[place]) * i32::from(weights[place]));
                        *sum += products.iter().sum::<i32>();
                    }
                }
            }
        },
    );
}

#[cfg(target_arch = "x86_64")]
mod vnni {
    use super::{COLUMNS, DEPTH, Tile};
    use std::arch::x86_64::{
        __m512i, _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_setzero_si512, _mm512_storeu_si512,
    };

    /// Vectors of a panel's width.
    const VECTORS: usize = COLUMNS / 16;

    /// # Safety
    /// The processor has AVX-512 with VNNI; there are `R` rows, each as long as the panel.
    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) unsafe fn multiply<const R: usize>(rows: &[u8], stride: usize, panel: &[i8], tile: &mut Tile) {
        let mut sums = [[_mm512_setzero_si512(); VECTORS]; R];
        for four in 0..panel.len() / (COLUMNS * DEPTH) {
            // Safety: `four` counts the fours of the panel, and each row has as many.
            unsafe {
                let columns = panel.as_ptr().add(four * COLUMNS * DEPTH).cast::<__m512i>();
                let weights: [__m512i; VECTORS] = std::array::from_fn(|vector| _mm512_loadu_si512(columns.add(vector)));
                for (row, sums) in sums.iter_mut().enumerate() {
                    let values = rows.as_ptr().add(row * stride + four * DEPTH).cast::<i32>().read_unaligned();
                    let values = _mm512_set1_epi32(values);
                    for (sum, weights) in sums.iter_mut().zip(weights) {
                        *sum = _mm512_dpbusd_epi32(*sum, values, weights);
                    }
                }
            }
        }
        for (sums, row) in sums.iter().zip(tile) {
            for (vector, sum) in sums.iter().enumerate() {
                // Safety: a row of a tile is as wide as a panel.
                unsafe { _mm512_storeu_si512(row.as_mut_ptr().add(16 * vector).cast(), *sum) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_exact_whatever_the_sizes_and_the_processor() {
        for (count, depth, outputs) in [(1, 1, 1), (6, 4, 64), (5, 27, 70), (3, 130, 129)] {
            let rows: Vec<u8> = (0..count * (depth + 9)).map(|place| (place * 37 % 256) as u8).collect();
            let weights: Vec<i8> = (0..outputs * depth).map(|place| ((place * 91 % 255) as i32 - 127) as i8).collect();
            let panels = Panels::new(&weights, depth);
            let stride = panels.row_len();
            // What lies beyond the depth must not count.
            let padded: Vec<u8> = (0..count)
                .flat_map(|row| {
                    let own = rows[row * depth..][..depth].to_vec();
                    own.into_iter().chain(std::iter::repeat_n(200, stride - depth))
                })
                .collect();
            for number in 0..panels.count() {
                let (mut tile, mut anywhere) = ([[7; COLUMNS]; ROWS], [[7; COLUMNS]; ROWS]);
                panels.multiply(&padded, stride, count, number, &mut tile);
                let panel = &panels.values[number * stride * COLUMNS..][..stride * COLUMNS];
                multiply_anywhere(&padded, (stride, stride), count, panel, &mut anywhere);
                for row in 0..count {
                    assert_eq!(tile[row], anywhere[row]);
                    for column in 0..COLUMNS.min(outputs - number * COLUMNS) {
                        let weights = &weights[(number * COLUMNS + column) * depth..][..depth];
                        let right: i32 = rows[row * depth..][..depth]
                            .iter()
                            .zip(weights)
                            .map(|(a, b)| i32::from(*a) * i32::from(*b))
                            .sum();
                        assert_eq!(tile[row][column], right);
                    }
                }
            }
        }
    }
}
