//! Embedding tables.

use super::{assert_same, by_candle};
use crate::checks::noise;
use crate::{embedding, embedding_gradient};
use candle_core::{Device, Module, Result, Tensor};
use candle_nn::Embedding;

#[test]
fn rows_and_their_gradients_are_those_of_candle() -> Result<()> {
    for (rows, width, shape) in [(1, 1, vec![3]), (7, 16, vec![40]), (50, 33, vec![4, 9]), (1000, 64, vec![2, 3, 5])] {
        let count: usize = shape.iter().product();
        // Some rows repeat, others are absent.
        let numbers: Vec<u32> = (0..count).map(|place| (place * place * 7 + place) as u32 % rows as u32).collect();
        let numbers = Tensor::from_vec(numbers, shape.as_slice(), &Device::Cpu)?;
        let table = noise(&[rows, width], 1);
        let grad = noise(&[shape.as_slice(), &[width]].concat(), 2);
        let layer = |[table]: [&Tensor; 1]| Embedding::new(table.clone(), width).forward(&numbers);
        let (theirs, [of_table]) = by_candle([&table], &grad, layer)?;
        assert_same("rows", &embedding(&table, &numbers)?, &theirs, 0.0);
        assert_same("gradient of the table", &embedding_gradient(rows, &numbers, &grad)?, &of_table, 1e-6);
    }
    Ok(())
}
