//! What transformers have: see `transformer.cu`. Products of attention are those of cuBLAS.

use super::gpu::{Argument, Gpu, Grid, Source};
use super::norm::{cut, rows_and_channels, whole};
use crate::attention::Sizes;
use candle_core::{DType, Result, Tensor};

/// Rows of a block that gives each row a warp.
const ROWS: u32 = 8;

/// A warp for each row.
fn warps(rows: usize) -> Grid {
    (((rows as u32).div_ceil(ROWS), 1), (32, ROWS), 0)
}

/// The device of values with f32 parameters, if it is a GPU.
fn gpu_of(values: &Tensor, parameters: &[&Tensor]) -> Option<Gpu> {
    Gpu::of(values).filter(|_| parameters.iter().all(|parameter| parameter.dtype() == DType::F32))
}

pub(crate) fn layer_norm(input: &Tensor, weight: &Tensor, bias: &Tensor, epsilon: f64) -> Result<Option<Tensor>> {
    let Some(gpu) = gpu_of(input, &[weight, bias]) else { return Ok(None) };
    let (rows, channels) = rows_and_channels(input)?;
    let (input, weight, bias) = (input.contiguous()?, weight.contiguous()?, bias.contiguous()?);
    let output = gpu.unwritten(input.dims())?;
    let (from, to) = (gpu.address(&input)?, gpu.address(&output)?);
    let (name, _) = gpu.packed("layer_norm", channels, &[from, to]);
    gpu.launch(
        Source::Transformer,
        &name,
        warps(rows),
        &[
            from.into(),
            gpu.address(&weight)?.into(),
            gpu.address(&bias)?.into(),
            to.into(),
            (rows as i64).into(),
            (channels as i32).into(),
            (epsilon as f32).into(),
        ],
    )?;
    Ok(Some(output))
}

pub(crate) fn layer_norm_gradients(
    input: &Tensor,
    weight: &Tensor,
    epsilon: f64,
    grad: &Tensor,
) -> Result<Option<(Tensor, Tensor, Tensor)>> {
    let Some(gpu) = gpu_of(input, &[weight]).filter(|gpu| grad.dtype() == gpu.dtype) else { return Ok(None) };
    let (rows, channels) = rows_and_channels(input)?;
    let (input, weight, grad) = (input.contiguous()?, weight.contiguous()?, grad.contiguous()?);
    let of_input = gpu.unwritten(input.dims())?;
    let moments = gpu.unwritten_of(&[rows, 2], DType::F32)?;
    let places = [gpu.address(&input)?, gpu.address(&grad)?, gpu.address(&of_input)?];
    let moments_address = gpu.address(&moments)?;
    let sizes = [Argument::Long(rows as i64), Argument::Int(channels as i32)];
    let (name, _) = gpu.packed("layer_norm_input", channels, &places);
    gpu.launch(
        Source::Transformer,
        &name,
        warps(rows),
        &[
            places[0].into(),
            places[1].into(),
            gpu.address(&weight)?.into(),
            places[2].into(),
            moments_address.into(),
            sizes[0],
            sizes[1],
            (epsilon as f32).into(),
        ],
    )?;
    let (name, pack) = gpu.packed("layer_norm_parts", channels, &places[..2]);
    let (grid, count) = cut(rows, channels, pack);
    let parts = gpu.unwritten_of(&[count, 2, channels], DType::F32)?;
    let sums = gpu.unwritten_of(&[2, channels], DType::F32)?;
    let (parts_address, sums_address) = (gpu.address(&parts)?, gpu.address(&sums)?);
    let values = [places[0].into(), places[1].into(), moments_address.into()];
    let arguments = [&values[..], &sizes, &[parts_address.into()]].concat();
    gpu.launch(Source::Transformer, &name, grid, &arguments)?;
    let arguments = [parts_address.into(), (count as i32).into(), (channels as i32).into(), sums_address.into()];
    gpu.launch(Source::Norm, "gradient_whole", whole(channels), &arguments)?;
    Ok(Some((of_input, sums.get(0)?, sums.get(1)?)))
}

/// Queries, keys and values of one layer on a GPU.
struct Heads<'a> {
    gpu: Gpu,
    sizes: &'a Sizes,
}

impl Heads<'_> {
    /// How many rows there are of scores.
    fn rows(&self) -> usize {
        self.sizes.batch * self.sizes.heads * self.sizes.tokens
    }

    /// (batch, tokens, parts heads dim) as (parts, batch, heads, tokens, dim).
    fn apart(&self, values: &Tensor, parts: usize) -> Result<Tensor> {
        let (gpu, Sizes { batch, tokens, heads, dim }) = (&self.gpu, *self.sizes);
        let values = values.contiguous()?;
        let apart = gpu.unwritten(&[parts, batch, heads, tokens, dim])?;
        let (from, to) = (gpu.address(&values)?, gpu.address(&apart)?);
        let (name, pack) = gpu.packed("heads_apart", dim, &[from, to]);
        let count = apart.elem_count();
        let sizes = [batch, tokens, parts, heads, dim].map(|size| Argument::Int(size as i32));
        let arguments = [&[from.into(), to.into(), (count as i64).into()][..], &sizes].concat();
        gpu.launch_each(Source::Transformer, &name, (count, pack), &arguments)?;
        Ok(apart)
    }

    /// Tensors (batch, heads, tokens, dim) as (batch, tokens, parts heads dim).
    fn together<const PARTS: usize>(&self, values: [Tensor; PARTS]) -> Result<Tensor> {
        let (gpu, Sizes { batch, tokens, heads, dim }) = (&self.gpu, *self.sizes);
        let together = gpu.unwritten(&[batch, tokens, PARTS * heads * dim])?;
        let to = gpu.address(&together)?;
        // The kernel takes three; it reads as many as there are.
        let mut places = [0; 3];
        let values = values.iter().map(Tensor::contiguous).collect::<Result<Vec<_>>>()?;
        for (place, values) in places.iter_mut().zip(&values) {
            *place = gpu.address(values)?;
        }
        let (name, pack) = gpu.packed("heads_together", dim, &[&places[..], &[to]].concat());
        let count = together.elem_count();
        let sizes = [tokens, PARTS, heads, dim].map(|size| Argument::Int(size as i32));
        let [first, second, third] = places.map(Argument::Address);
        let arguments = [&[first, second, third, to.into(), (count as i64).into()][..], &sizes].concat();
        gpu.launch_each(Source::Transformer, &name, (count, pack), &arguments)?;
        Ok(together)
    }

    /// The shares that each token takes of the others, (batch, heads, tokens, tokens).
    fn shares(&self, queries: &Tensor, keys: &Tensor) -> Result<Tensor> {
        let scores = queries.matmul(&keys.t()?)?;
        let rows = self.rows();
        // Nobody else has the scores yet, so that they can be changed where they are.
        let arguments = [
            self.gpu.address(&scores)?.into(),
            (rows as i64).into(),
            (self.sizes.tokens as i32).into(),
            self.sizes.scale().into(),
        ];
        self.gpu.launch(Source::Transformer, &self.gpu.typed("softmax"), warps(rows), &arguments)?;
        Ok(scores)
    }
}

pub(crate) fn attention(qkv: &Tensor, sizes: &Sizes) -> Result<Option<Tensor>> {
    let Some(gpu) = Gpu::of(qkv) else { return Ok(None) };
    let of = Heads { gpu, sizes };
    let parts = of.apart(qkv, 3)?;
    let shares = of.shares(&parts.get(0)?, &parts.get(1)?)?;
    of.together([shares.matmul(&parts.get(2)?)?]).map(Some)
}

pub(crate) fn attention_gradient(qkv: &Tensor, sizes: &Sizes, grad: &Tensor) -> Result<Option<Tensor>> {
    let Some(gpu) = Gpu::of(qkv).filter(|gpu| grad.dtype() == gpu.dtype) else { return Ok(None) };
    let of = Heads { gpu, sizes };
    let (parts, grad) = (of.apart(qkv, 3)?, of.apart(grad, 1)?.get(0)?);
    let [queries, keys, values] = [parts.get(0)?, parts.get(1)?, parts.get(2)?];
    let shares = of.shares(&queries, &keys)?;
    // With p the shares and s the scores: dv = p^T do, dp = do v^T, ds = p (dp - sum of p dp), dq = ds k, dk = ds^T q.
    let of_values = shares.t()?.matmul(&grad)?;
    let of_scores = grad.matmul(&values.t()?)?;
    let arguments = [
        of.gpu.address(&shares)?.into(),
        of.gpu.address(&of_scores)?.into(),
        (of.rows() as i64).into(),
        (sizes.tokens as i32).into(),
        sizes.scale().into(),
    ];
    of.gpu.launch(Source::Transformer, &of.gpu.typed("softmax_gradient"), warps(of.rows()), &arguments)?;
    of.together([of_scores.matmul(&keys)?, of_scores.t()?.matmul(&queries)?, of_values]).map(Some)
}
