//! The transforms of tiles: each is a small matrix from the left and its transpose from the right.

use pulp::Simd;

#[inline(always)]
fn times<S: Simd>(simd: S, by: f32, value: S::f32s) -> S::f32s {
    simd.mul_f32s(simd.splat_f32s(by), value)
}

#[inline(always)]
fn plus<S: Simd>(simd: S, by: f32, value: S::f32s, to: S::f32s) -> S::f32s {
    simd.mul_add_e_f32s(simd.splat_f32s(by), value, to)
}

/// A transform of the rows of a tile. Closures would not be compiled for the vectors at hand.
pub(super) trait Transform<const N: usize, const M: usize> {
    fn apply<S: Simd>(simd: S, values: [S::f32s; N]) -> [S::f32s; M];
}

/// `G g`
pub(super) struct KernelRow;

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
pub(super) struct KernelGradientRow;

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
pub(super) struct InputRow;

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
pub(super) struct OutputRow;

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
pub(super) struct OutputGradientRow;

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
pub(super) fn both_ways<T: Transform<N, M>, S: Simd, const N: usize, const M: usize>(
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
