//! Scaled dot-product attention of a sequence to itself, head by head: scores never leave the cache.

use crate::buffer::{with_values, written};
use crate::conv2d::Shared;
use crate::cuda;
use crate::exponential::exp;
use crate::layer_norm::summed;
use crate::panels::{Padded, panels, transposed_panels};
use crate::tile::{Columns, MOST_ROWS, Output, Rows, full_rows};
use candle_core::{D, Result, Tensor, bail};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use std::mem::MaybeUninit;

/// Attention (Vaswani et al. 2017, equation 1): `softmax(q k^T / sqrt(dim)) v` for each head. `qkv` is (batch, tokens,
/// 3 heads dim) f32 with the queries of all heads first, then the keys, then the values, as one linear layer gives them;
/// the result is (batch, tokens, heads dim).
///
/// # Errors
/// When the shape does not fit the heads.
pub fn attention(qkv: &Tensor, heads: usize) -> Result<Tensor> {
    let sizes = Sizes::new(qkv, heads)?;
    if !qkv.device().is_cpu() {
        return cuda::attention(qkv, &sizes)?.map_or_else(|| elsewhere(qkv, &sizes), Ok);
    }
    let output = with_values([qkv], |[qkv]| {
        // Safety: the heads of all images write every value.
        Ok(unsafe { written(sizes.batch * sizes.tokens * sizes.heads * sizes.dim, |out| sizes.forward(qkv, out)) })
    })?;
    Tensor::from_vec(output, (sizes.batch, sizes.tokens, heads * sizes.dim), qkv.device())
}

/// The gradient of `qkv` of [`attention`] for the gradient `grad` of its output. Scores are computed again.
///
/// # Errors
/// When the shapes do not fit together.
pub fn attention_gradient(qkv: &Tensor, heads: usize, grad: &Tensor) -> Result<Tensor> {
    let sizes = Sizes::new(qkv, heads)?;
    if grad.dims() != [sizes.batch, sizes.tokens, heads * sizes.dim] {
        bail!("attention: a gradient {:?} does not fit {:?} of {heads} heads", grad.dims(), qkv.dims());
    }
    if !qkv.device().is_cpu() {
        if let Some(of_qkv) = cuda::attention_gradient(qkv, &sizes, grad)? {
            return Ok(of_qkv);
        }
        let [of_qkv] = crate::elsewhere::gradients([qkv], grad, |[qkv]| elsewhere(qkv, &sizes))?;
        return Ok(of_qkv);
    }
    let of_qkv = with_values([qkv, grad], |[qkv, grad]| {
        // Safety: the heads of all images write every value.
        Ok(unsafe { written(qkv.len(), |out| sizes.backward(qkv, grad, out)) })
    })?;
    Tensor::from_vec(of_qkv, qkv.shape(), qkv.device())
}

/// How queries, keys and values lie in one tensor.
#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) batch: usize,
    pub(crate) tokens: usize,
    pub(crate) heads: usize,
    pub(crate) dim: usize,
}

impl Sizes {
    fn new(qkv: &Tensor, heads: usize) -> Result<Sizes> {
        let (batch, tokens, width) = qkv.dims3()?;
        if heads == 0 || !width.is_multiple_of(3 * heads) || batch * tokens * width == 0 {
            bail!("attention: {:?} cannot be cut into queries, keys and values of {heads} heads", qkv.dims());
        }
        Ok(Sizes { batch, tokens, heads, dim: width / (3 * heads) })
    }

    /// One over the root of the dimension.
    pub(crate) fn scale(&self) -> f32 {
        1.0 / (self.dim as f32).sqrt()
    }

    fn forward(&self, qkv: &[f32], out: &mut [MaybeUninit<f32>]) {
        let out = Shared(out.as_mut_ptr().cast());
        let arch = Arch::new();
        (0..self.batch * self.heads).into_par_iter().for_each_init(Scratch::default, |scratch, head| {
            arch.dispatch(Head { sizes: *self, head, qkv, grad: &[], scratch, out });
        });
    }

    fn backward(&self, qkv: &[f32], grad: &[f32], out: &mut [MaybeUninit<f32>]) {
        let out = Shared(out.as_mut_ptr().cast());
        let arch = Arch::new();
        (0..self.batch * self.heads).into_par_iter().for_each_init(Scratch::default, |scratch, head| {
            arch.dispatch(Head { sizes: *self, head, qkv, grad, scratch, out });
        });
    }
}

/// Memory of one thread.
#[derive(Default)]
struct Scratch {
    /// Queries, keys, values and the gradient of the output, (tokens, padded dim) each.
    parts: [Vec<f32>; 4],
    /// The gradients of queries, keys and values.
    gradients: [Vec<f32>; 3],
    panels: Vec<f32>,
    /// (tokens, padded tokens)
    scores: Vec<f32>,
    of_scores: Vec<f32>,
    rows: Vec<usize>,
    other_rows: Vec<usize>,
}

/// One head of one image; backward where there is a gradient.
struct Head<'a> {
    sizes: Sizes,
    head: usize,
    qkv: &'a [f32],
    grad: &'a [f32],
    scratch: &'a mut Scratch,
    out: Shared,
}

impl WithSimd for Head<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Head { sizes, head, qkv, grad, scratch, out } = self;
        let Sizes { tokens, heads, dim, .. } = sizes;
        let (image, head) = (head / heads, head % heads);
        let (of_dim, of_tokens) = (Padded::new::<S>(dim), Padded::new::<S>(tokens));
        let row = 3 * heads * dim;
        for (part, values) in scratch.parts.iter_mut().take(3).enumerate() {
            gather(qkv, image * tokens * row + (part * heads + head) * dim, row, tokens, dim, of_dim.whole, values);
        }
        let [q, k, v, of_out] = &mut scratch.parts;
        scratch.scores.resize(tokens * of_tokens.whole, 0.0);
        transposed_panels(k, tokens, dim, of_dim.whole, of_tokens, &mut scratch.panels);
        times(simd, q, of_dim.whole, tokens, dim, &scratch.panels, of_tokens, &mut scratch.scores);
        softmax(&mut scratch.scores, of_tokens.whole, tokens, sizes.scale());
        if grad.is_empty() {
            let output = &mut scratch.gradients[0];
            output.resize(tokens * of_dim.whole, 0.0);
            panels(v, tokens, of_dim, &mut scratch.panels);
            times(simd, &scratch.scores, of_tokens.whole, tokens, tokens, &scratch.panels, of_dim, output);
            // Safety: this head alone writes these columns of this image.
            unsafe {
                scatter(output, of_dim.whole, tokens, dim, out, image * tokens * heads * dim + head * dim, heads * dim)
            };
            return;
        }
        gather(grad, image * tokens * heads * dim + head * dim, heads * dim, tokens, dim, of_dim.whole, of_out);
        let [of_q, of_k, of_v] = &mut scratch.gradients;
        for gradient in [&mut *of_q, of_k, of_v] {
            gradient.resize(tokens * of_dim.whole, 0.0);
        }
        let (rows, other_rows) = (&mut scratch.rows, &mut scratch.other_rows);
        rows.clear();
        rows.extend((0..tokens).map(|token| token * of_tokens.whole));
        other_rows.clear();
        other_rows.extend((0..tokens).map(|token| token * of_dim.whole));
        // With p the shares and s the scores: dv = p^T do, dp = do v^T, ds = p (dp - sum of p dp), dq = ds k, dk = ds^T q.
        transposed_times(simd, &scratch.scores, rows, tokens, of_out, other_rows, of_dim, of_v);
        transposed_panels(v, tokens, dim, of_dim.whole, of_tokens, &mut scratch.panels);
        scratch.of_scores.resize(tokens * of_tokens.whole, 0.0);
        times(simd, of_out, of_dim.whole, tokens, dim, &scratch.panels, of_tokens, &mut scratch.of_scores);
        of_softmax(&scratch.scores, &mut scratch.of_scores, of_tokens.whole, tokens, sizes.scale());
        panels(k, tokens, of_dim, &mut scratch.panels);
        times(simd, &scratch.of_scores, of_tokens.whole, tokens, tokens, &scratch.panels, of_dim, of_q);
        transposed_times(simd, &scratch.of_scores, rows, tokens, q, other_rows, of_dim, of_k);
        for (part, gradient) in [of_q, of_k, of_v].into_iter().enumerate() {
            let begin = image * tokens * row + (part * heads + head) * dim;
            // Safety: this head alone writes these columns of this image.
            unsafe { scatter(gradient, of_dim.whole, tokens, dim, out, begin, row) };
        }
    }
}

/// Copies columns of rows together, each row padded with zeros.
#[inline(always)]
fn gather(from: &[f32], begin: usize, row: usize, rows: usize, columns: usize, whole: usize, to: &mut Vec<f32>) {
    to.resize(rows * whole, 0.0);
    for (number, to) in to.chunks_exact_mut(whole).enumerate() {
        to[..columns].copy_from_slice(&from[begin + number * row..][..columns]);
        to[columns..].fill(0.0);
    }
}

/// Copies the columns of rows to where they belong.
///
/// # Safety
/// `to` must have them, and no other thread may use them.
#[inline(always)]
unsafe fn scatter(from: &[f32], whole: usize, rows: usize, columns: usize, to: Shared, begin: usize, row: usize) {
    for (number, from) in from.chunks_exact(whole).take(rows).enumerate() {
        // Safety: handed on to the caller.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to.at(begin + number * row).0, columns) };
    }
}

/// `out = a b`, where b, (depth, columns), is in panels and rows of `out` are whole panels.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "the sizes of a product")]
fn times<S: Simd>(
    simd: S,
    a: &[f32],
    a_row: usize,
    rows: usize,
    depth: usize,
    panels: &[f32],
    columns: Padded,
    out: &mut [f32],
) {
    assert!(a.len() >= (rows - 1) * a_row + depth && panels.len() == depth * columns.whole);
    assert!(out.len() >= rows * columns.whole);
    let most = full_rows(S::REGISTER_COUNT).min(MOST_ROWS);
    let (mut of_a, mut of_out) = ([0; MOST_ROWS], [0; MOST_ROWS]);
    let mut first = 0;
    while first < rows {
        let left = rows - first;
        let now = left.div_ceil(left.div_ceil(most));
        for row in 0..now {
            (of_a[row], of_out[row]) = ((first + row) * a_row, (first + row) * columns.whole);
        }
        for (number, panel) in panels.chunks_exact(depth * columns.width).enumerate() {
            let tile = Rows {
                a: a.as_ptr(),
                taps: &[0],
                depth,
                panel: panel.as_ptr(),
                vectors: columns.width / S::F32_LANES,
                // Safety: a panel of every row is inside.
                out: unsafe { out.as_mut_ptr().add(number * columns.width) },
                columns: columns.width,
                output: Output::Set,
            };
            // Safety: the lengths were asserted.
            unsafe { tile.tile(simd, &of_a[..now], &of_out[..now]) };
        }
        first += now;
    }
}

/// `out = a^T b`: rows of `a` and `b` begin at the given places, rows of `b` and `out` are whole panels.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "the sizes of a product")]
fn transposed_times<S: Simd>(
    simd: S,
    a: &[f32],
    a_rows: &[usize],
    count: usize,
    b: &[f32],
    b_rows: &[usize],
    columns: Padded,
    out: &mut [f32],
) {
    assert!(a_rows.iter().all(|row| row + count <= a.len()) && out.len() >= count * columns.whole);
    assert!(b_rows.iter().all(|row| row + columns.whole <= b.len()));
    let most = full_rows(S::REGISTER_COUNT).min(MOST_ROWS);
    let mut first = 0;
    while first < count {
        let left = count - first;
        let now = left.div_ceil(left.div_ceil(most));
        for panel in (0..columns.whole).step_by(columns.width) {
            // Safety: the lengths were asserted.
            unsafe {
                Columns {
                    a: a.as_ptr().add(first),
                    a_rows,
                    b: b.as_ptr().add(panel),
                    b_rows,
                    vectors: columns.width / S::F32_LANES,
                    out: out.as_mut_ptr().add(first * columns.whole + panel),
                    out_stride: columns.whole,
                    output: Output::Set,
                }
                .tile(simd, now);
            }
        }
        first += now;
    }
}

/// Scores as shares: the softmax of each row times `scale`. What pads a row stays zero.
#[inline(always)]
fn softmax(scores: &mut [f32], row: usize, columns: usize, scale: f32) {
    for scores in scores.chunks_exact_mut(row) {
        let (scores, padding) = scores.split_at_mut(columns);
        let mut most = [f32::NEG_INFINITY; 16];
        for chunk in scores.chunks(16) {
            for (most, score) in most.iter_mut().zip(chunk) {
                *most = if *most > *score { *most } else { *score };
            }
        }
        let most = most.into_iter().fold(f32::NEG_INFINITY, |most, score| if most > score { most } else { score });
        for score in scores.iter_mut() {
            *score = exp((*score - most) * scale);
        }
        let share = 1.0 / summed(scores, |score| score);
        scores.iter_mut().for_each(|score| *score *= share);
        padding.fill(0.0);
    }
}

/// From the gradients of shares to those of scores: `p (dp - sum of p dp) scale`, row by row.
#[inline(always)]
fn of_softmax(shares: &[f32], gradients: &mut [f32], row: usize, columns: usize, scale: f32) {
    for (shares, gradients) in shares.chunks_exact(row).zip(gradients.chunks_exact_mut(row)) {
        let (gradients, padding) = gradients.split_at_mut(columns);
        let mut sums = [0.0; 16];
        for (shares, gradients) in shares[..columns].chunks(16).zip(gradients.chunks(16)) {
            for (sum, (share, gradient)) in sums.iter_mut().zip(shares.iter().zip(gradients)) {
                *sum += share * gradient;
            }
        }
        let sum: f32 = sums.iter().sum();
        for (gradient, share) in gradients.iter_mut().zip(shares) {
            *gradient = share * (*gradient - sum) * scale;
        }
        padding.fill(0.0);
    }
}

/// Fallback to candle-nn.
fn elsewhere(qkv: &Tensor, sizes: &Sizes) -> Result<Tensor> {
    let Sizes { batch, tokens, heads, dim } = *sizes;
    let parts = qkv.reshape((batch, tokens, 3, heads, dim))?.permute((2, 0, 3, 1, 4))?.contiguous()?;
    let (q, k, v) = (parts.get(0)?, parts.get(1)?, parts.get(2)?);
    let scores = (q.matmul(&k.t()?)? * f64::from(sizes.scale()))?;
    candle_nn::ops::softmax(&scores, D::Minus1)?.matmul(&v)?.permute((0, 2, 1, 3))?.contiguous()?.reshape((
        batch,
        tokens,
        heads * dim,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::{assert_close, differences, noise, threads_agree};
    use proptest::prelude::*;

    fn defined(sizes: Sizes, qkv: &[f64]) -> Vec<f64> {
        let Sizes { batch, tokens, heads, dim } = sizes;
        let at = |image: usize, token: usize, part: usize, head: usize, place: usize| {
            qkv[(((image * tokens + token) * 3 + part) * heads + head) * dim + place]
        };
        let mut out = vec![0.0; batch * tokens * heads * dim];
        for (image, head) in (0..batch).flat_map(|image| (0..heads).map(move |head| (image, head))) {
            for token in 0..tokens {
                let score = |other: usize| -> f64 {
                    let products = (0..dim).map(|p| at(image, token, 0, head, p) * at(image, other, 1, head, p));
                    products.sum::<f64>() / (dim as f64).sqrt()
                };
                let powers: Vec<f64> = (0..tokens).map(|other| score(other).exp()).collect();
                let sum: f64 = powers.iter().sum();
                for place in 0..dim {
                    let mixed = powers.iter().enumerate().map(|(other, p)| p / sum * at(image, other, 2, head, place));
                    out[((image * tokens + token) * heads + head) * dim + place] = mixed.sum();
                }
            }
        }
        out
    }

    fn check(batch: usize, tokens: usize, heads: usize, dim: usize) -> Result<()> {
        let qkv = noise(&[batch, tokens, 3 * heads * dim], 1);
        let grad = noise(&[batch, tokens, heads * dim], 2);
        let sizes = Sizes::new(&qkv, heads)?;
        let (right, gradients) = differences(&[&qkv], &grad, |all| defined(sizes, &all[0]))?;
        assert_close("value", &attention(&qkv, heads)?, &right, 1e-5);
        assert_close("gradient", &attention_gradient(&qkv, heads, &grad)?, &gradients[0], 1e-5);
        assert_close("on another device", &elsewhere(&qkv, &sizes)?, &right, 1e-5);
        let [of_qkv] = crate::elsewhere::gradients([&qkv], &grad, |[qkv]| elsewhere(qkv, &sizes))?;
        assert_close("gradient on another device", &of_qkv, &gradients[0], 1e-5);
        Ok(())
    }

    #[test]
    fn value_and_gradient_are_those_of_the_definition() -> Result<()> {
        check(1, 1, 1, 1)?;
        check(2, 5, 2, 8)?;
        check(1, 17, 1, 33)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 20, ..ProptestConfig::default() })]
        #[test]
        fn any_shape_agrees_with_the_definition(batch in 1usize..3, tokens in 1usize..14, heads in 1usize..3, dim in 1usize..9) {
            check(batch, tokens, heads, dim).unwrap();
        }
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let (qkv, grad) = (noise(&[3, 70, 3 * 2 * 40], 1), noise(&[3, 70, 80], 2));
        threads_agree(|| vec![attention(&qkv, 2).unwrap(), attention_gradient(&qkv, 2, &grad).unwrap()]);
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() {
        assert!(attention(&noise(&[1, 2, 7], 1), 2).is_err());
        assert!(attention(&noise(&[1, 2, 6], 1), 0).is_err());
        assert!(attention_gradient(&noise(&[1, 2, 6], 1), 2, &noise(&[1, 2, 6], 1)).is_err());
    }
}
