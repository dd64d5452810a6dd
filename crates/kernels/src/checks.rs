//! What tests of operations share: noise, derivatives by differences, and numbers of threads.

use candle_core::{DType, Device, Result, Tensor};

/// Values between -1 and 1 that depend on the seed alone.
pub(crate) fn noise(shape: &[usize], seed: u32) -> Tensor {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| next()).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// Values as f64.
pub(crate) fn wide(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// What `value` gives for some inputs, and the derivatives of its product with `grad` by differences, in f64.
pub(crate) fn differences(
    inputs: &[&Tensor],
    grad: &Tensor,
    value: impl Fn(&[Vec<f64>]) -> Vec<f64>,
) -> Result<(Vec<f64>, Vec<Vec<f64>>)> {
    const STEP: f64 = 1e-5;
    let inputs: Vec<Vec<f64>> = inputs.iter().map(|input| wide(input)).collect();
    let grad = wide(grad);
    let product = |inputs: &[Vec<f64>]| value(inputs).iter().zip(&grad).map(|(value, grad)| value * grad).sum::<f64>();
    let mut found = Vec::new();
    for (number, input) in inputs.iter().enumerate() {
        let moved = |place: usize, by: f64| {
            let mut inputs = inputs.clone();
            inputs[number][place] += by;
            product(&inputs)
        };
        found.push((0..input.len()).map(|place| (moved(place, STEP) - moved(place, -STEP)) / (2.0 * STEP)).collect());
    }
    Ok((value(&inputs), found))
}

/// Every value is right within a share of the greatest.
pub(crate) fn assert_close(what: &str, ours: &Tensor, right: &[f64], tolerance: f64) {
    let ours = wide(ours);
    assert_eq!(ours.len(), right.len(), "{what}");
    let scale = right.iter().fold(1.0f64, |most, value| most.max(value.abs()));
    for (place, (ours, right)) in ours.iter().zip(right).enumerate() {
        assert!((ours - right).abs() <= tolerance * scale, "{what}[{place}]: {ours} is not {right}");
    }
}

/// One, two and five threads give the same bits.
pub(crate) fn threads_agree(act: impl Fn() -> Vec<Tensor> + Send + Sync) {
    let with = |threads: usize| -> Vec<Vec<f32>> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let found = pool.install(&act);
        found.iter().map(|tensor| tensor.flatten_all().unwrap().to_vec1().unwrap()).collect()
    };
    assert!(with(1) == with(2) && with(2) == with(5));
}
