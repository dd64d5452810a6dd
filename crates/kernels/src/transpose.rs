//! Images with their channels together, and channel by channel.

use crate::buffer::with_values;
use candle_core::{Result, Tensor, bail};
use rayon::prelude::*;

/// (batch, height, width, channels) f32 as (batch, channels, height, width).
///
/// # Errors
/// When it has another number of dimensions.
pub fn channels_first(images: &Tensor) -> Result<Tensor> {
    let (batch, height, width, channels) = images.dims4()?;
    if !images.device().is_cpu() {
        return images.permute((0, 3, 1, 2))?.contiguous();
    }
    let values = transposed(images, height * width, channels)?;
    Tensor::from_vec(values, (batch, channels, height, width), images.device())
}

/// (batch, channels, height, width) f32 as (batch, height, width, channels).
///
/// # Errors
/// When it has another number of dimensions.
pub fn channels_last(images: &Tensor) -> Result<Tensor> {
    let (batch, channels, height, width) = images.dims4()?;
    if !images.device().is_cpu() {
        return images.permute((0, 2, 3, 1))?.contiguous();
    }
    let values = transposed(images, channels, height * width)?;
    Tensor::from_vec(values, (batch, height, width, channels), images.device())
}

/// Each image as a matrix of so many rows and columns, transposed.
fn transposed(images: &Tensor, rows: usize, columns: usize) -> Result<Vec<f32>> {
    if rows * columns == 0 {
        bail!("there is nothing in images of shape {:?}", images.dims());
    }
    with_values([images], |[values]| {
        let mut out = vec![0.0f32; values.len()];
        let images = out.par_chunks_exact_mut(rows * columns).zip(values.par_chunks_exact(rows * columns));
        images.for_each(|(out, image)| {
            for (row, values) in image.chunks_exact(columns).enumerate() {
                for (column, value) in values.iter().enumerate() {
                    out[column * rows + row] = *value;
                }
            }
        });
        Ok(out)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back_is_where_one_was() -> Result<()> {
        let images = crate::checks::noise(&[3, 5, 4, 7], 1);
        let first = channels_first(&images)?;
        let same = |a: &Tensor, b: &Tensor| {
            Ok::<_, candle_core::Error>(a.flatten_all()?.to_vec1::<f32>()? == b.flatten_all()?.to_vec1::<f32>()?)
        };
        assert_eq!(first.dims(), [3, 7, 5, 4]);
        assert!(same(&first, &images.permute((0, 3, 1, 2))?.contiguous()?)?);
        assert!(same(&channels_last(&first)?, &images)?);
        Ok(())
    }
}
