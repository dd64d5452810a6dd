//! Matrices in panels, the order in which tiles read the right side of a product, for products of one thread.

use crate::tile::panel_width;
use pulp::Simd;

/// Columns in panels: how wide a panel is, and how many columns there are with the last panel whole.
#[derive(Clone, Copy)]
pub(crate) struct Padded {
    pub(crate) columns: usize,
    pub(crate) width: usize,
    pub(crate) whole: usize,
}

impl Padded {
    #[inline(always)]
    pub(crate) fn new<S: Simd>(columns: usize) -> Padded {
        let width = panel_width::<S>(columns);
        Padded { columns, width, whole: columns.next_multiple_of(width) }
    }
}

/// (rows, columns) as panels of its columns.
#[inline(always)]
pub(crate) fn panels(matrix: &[f32], rows: usize, columns: Padded, to: &mut Vec<f32>) {
    to.resize(rows * columns.whole, 0.0);
    for (number, panel) in to.chunks_exact_mut(rows * columns.width).enumerate() {
        for (row, to) in panel.chunks_exact_mut(columns.width).enumerate() {
            to.copy_from_slice(&matrix[row * columns.whole + number * columns.width..][..columns.width]);
        }
    }
}

/// The transpose of (rows, columns) as panels of its rows.
#[inline(always)]
pub(crate) fn transposed_panels(
    matrix: &[f32],
    rows: usize,
    columns: usize,
    row: usize,
    of_rows: Padded,
    to: &mut Vec<f32>,
) {
    to.resize(columns * of_rows.whole, 0.0);
    for (number, panel) in to.chunks_exact_mut(columns * of_rows.width).enumerate() {
        let first = number * of_rows.width;
        for lane in 0..of_rows.width {
            for column in 0..columns {
                let inside = first + lane < rows;
                panel[column * of_rows.width + lane] = if inside { matrix[(first + lane) * row + column] } else { 0.0 };
            }
        }
    }
}
