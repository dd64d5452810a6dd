//! Rows of a table, chosen by number.

use crate::buffer::with_values;
use candle_core::{DType, Module, Result, Tensor, bail};

/// The rows of `table`, (rows, width) f32, of these numbers, (...) u32: (..., width).
///
/// # Errors
/// When there is no such row.
pub fn embedding(table: &Tensor, numbers: &Tensor) -> Result<Tensor> {
    let (rows, width) = table.dims2()?;
    if numbers.dtype() != DType::U32 {
        bail!("embedding: numbers are u32, not {:?}", numbers.dtype());
    }
    let most = numbers.flatten_all()?.max(0)?.to_scalar::<u32>()?;
    if most as usize >= rows {
        bail!("embedding: there is no row {most} in a table of {rows}");
    }
    candle_nn::Embedding::new(table.clone(), width).forward(numbers)
}

/// The gradient of a table of so many rows for the gradient `grad` of the rows of these numbers.
///
/// # Errors
/// When the shapes do not fit together.
pub fn embedding_gradient(rows: usize, numbers: &Tensor, grad: &Tensor) -> Result<Tensor> {
    let (numbers, width) = (numbers.flatten_all()?, grad.dims().last().copied().unwrap_or_default());
    let count = numbers.dims1()?;
    if width == 0 || grad.elem_count() != count * width {
        bail!("embedding: a gradient {:?} does not fit {count} numbers", grad.dims());
    }
    if !grad.device().is_cpu() {
        let zeros = Tensor::zeros((rows, width), grad.dtype(), grad.device())?;
        return zeros.index_add(&numbers, &grad.reshape((count, width))?, 0);
    }
    let numbers = numbers.to_vec1::<u32>()?;
    let sums = with_values([grad], |[grad]| {
        let mut sums = vec![0.0; rows * width];
        for (number, grad) in numbers.iter().zip(grad.chunks_exact(width)) {
            let sums = &mut sums[*number as usize * width..][..width];
            sums.iter_mut().zip(grad).for_each(|(sum, grad)| *sum += grad);
        }
        Ok(sums)
    })?;
    Tensor::from_vec(sums, (rows, width), grad.device())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::{assert_close, noise, wide};
    use candle_core::Device;

    #[test]
    fn rows_are_read_and_their_gradients_added() -> Result<()> {
        let table = noise(&[5, 3], 1);
        let numbers = Tensor::from_slice(&[4u32, 0, 4, 2], (2, 2), &Device::Cpu)?;
        let found = embedding(&table, &numbers)?;
        assert_eq!(found.dims(), [2, 2, 3]);
        assert_eq!(wide(&found)[..3], wide(&table)[12..]);
        let grad = noise(&[2, 2, 3], 2);
        let (mut right, grads) = (vec![0.0; 15], wide(&grad));
        for (place, row) in [4, 0, 4, 2].into_iter().enumerate() {
            (0..3).for_each(|column| right[row * 3 + column] += grads[place * 3 + column]);
        }
        assert_close("gradient", &embedding_gradient(5, &numbers, &grad)?, &right, 1e-6);
        Ok(())
    }

    #[test]
    fn a_row_that_is_not_there_is_an_error() -> Result<()> {
        let numbers = Tensor::from_slice(&[5u32], 1, &Device::Cpu)?;
        let message = embedding(&noise(&[5, 3], 1), &numbers).unwrap_err().to_string();
        assert!(message.contains("no row 5 in a table of 5"), "{message}");
        assert!(embedding_gradient(5, &numbers, &noise(&[2, 2], 1)).is_err());
        Ok(())
    }
}
