//! Times single operations and prints one JSON object a line, with the rate of arithmetic (two operations for each
//! multiplication and addition of the definition): `operations [FILTER]`.

use assay_kernels::{Activation, BatchNormInputs, Conv2dOptions, InputGradient, MomentsOf};
use assay_kernels::{attention, attention_gradient, linear, linear_gradients};
use assay_kernels::{batch_norm, batch_norm_gradients, conv2d, conv2d_gradients, moments};
use candle_core::{Device, Result, Tensor};
use std::time::Instant;

#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// name, batch, (height, width), channels in and out, kernel, stride, padding
type Shape = (&'static str, usize, usize, (usize, usize), usize, usize, usize);

/// The convolutions of the networks that are measured.
const CONVOLUTIONS: [Shape; 12] = [
    ("stem 3x3", 32, 32, (3, 64), 3, 1, 1),
    ("64 at 32x32", 32, 32, (64, 64), 3, 1, 1),
    ("64 to 128, stride 2", 32, 32, (64, 128), 3, 2, 1),
    ("128 at 16x16", 32, 16, (128, 128), 3, 1, 1),
    ("256 at 8x8", 32, 8, (256, 256), 3, 1, 1),
    ("256 to 512, stride 2", 32, 8, (256, 512), 3, 2, 1),
    ("512 at 4x4", 32, 4, (512, 512), 3, 1, 1),
    ("64 to 128 1x1, stride 2", 32, 32, (64, 128), 1, 2, 0),
    ("16 at 32x32", 64, 32, (16, 16), 3, 1, 1),
    ("32 at 28x28 valid", 128, 26, (32, 64), 3, 1, 0),
    ("stem 7x7", 8, 224, (3, 64), 7, 2, 3),
    ("256 to 64 1x1", 8, 56, (256, 64), 1, 1, 0),
];

/// Products of (rows, from) with the transpose of (to, from).
const PRODUCTS: [(usize, usize, usize); 4] = [(1576, 384, 1152), (1576, 384, 1536), (1576, 1536, 384), (64, 4096, 128)];

fn noise(shape: impl Into<candle_core::Shape>) -> Result<Tensor> {
    Tensor::randn(0.0f32, 1.0, shape, &Device::Cpu)
}

fn main() -> Result<()> {
    let filter = std::env::args().skip(1).find(|argument| argument != "--bench").unwrap_or_default();
    let device = &Device::Cpu;
    for (name, batch, side, (from, to), kernel, stride, padding) in CONVOLUTIONS {
        if !name.contains(&filter) {
            continue;
        }
        let images = Tensor::randn(0.0f32, 1.0, (batch, side, side, from), device)?;
        let weight = Tensor::randn(0.0f32, 1.0, (to, from, kernel, kernel), device)?;
        let options = Conv2dOptions::square(stride, padding);
        let out = (side + 2 * padding - kernel) / stride + 1;
        let work = 2.0 * (batch * out * out * to * from * kernel * kernel) as f64;
        let grad = Tensor::randn(0.0f32, 1.0, (batch, out, out, to), device)?;
        let forward = seconds(|| conv2d(&images, &weight, options).map(drop))?;
        let gradients = |wanted| conv2d_gradients(&images, &weight, options, &grad, wanted).map(drop);
        let kernel_gradient = seconds(|| gradients(InputGradient::Unwanted))?;
        let both = seconds(|| gradients(InputGradient::Wanted))?;
        for (part, secs) in
            [("forward", forward), ("kernel gradient", kernel_gradient), ("input gradient", both - kernel_gradient)]
        {
            println!(
                "{{\"operation\":\"convolution\",\"shape\":\"{name}\",\"part\":\"{part}\",\"ms\":{:.3},\"gflops\":{:.1}}}",
                secs * 1e3,
                work / secs / 1e9
            );
        }
    }
    for (rows, from, to) in PRODUCTS {
        let name = format!("{rows} x {from} by {to}");
        if !format!("product {name}").contains(&filter) {
            continue;
        }
        let (input, weight) = (noise((rows, from))?, noise((to, from))?);
        let grad = noise((rows, to))?;
        let work = 2.0 * (rows * from * to) as f64;
        let forward = seconds(|| linear(&input, &weight).map(drop))?;
        let gradients = |wanted| linear_gradients(&input, &weight, &grad, wanted).map(drop);
        let of_weight = seconds(|| gradients(InputGradient::Unwanted))?;
        let both = seconds(|| gradients(InputGradient::Wanted))?;
        let stock = [
            seconds(|| input.matmul(&weight.t()?).map(drop))?,
            seconds(|| grad.t()?.matmul(&input).map(drop))?,
            seconds(|| grad.matmul(&weight).map(drop))?,
        ];
        let ours = [("forward", forward), ("weight gradient", of_weight), ("input gradient", both - of_weight)];
        for ((part, secs), stock) in ours.into_iter().zip(stock) {
            println!(
                "{{\"operation\":\"product\",\"shape\":\"{name}\",\"part\":\"{part}\",\"ms\":{:.3},\"gflops\":{:.1},\"candle_gflops\":{:.1}}}",
                secs * 1e3,
                work / secs / 1e9,
                work / stock / 1e9,
            );
        }
    }
    if "attention".contains(&filter) {
        let (qkv, grad) = (noise((8, 197, 3 * 384))?, noise((8, 197, 384))?);
        let forward = seconds(|| attention(&qkv, 6).map(drop))?;
        let backward = seconds(|| attention_gradient(&qkv, 6, &grad).map(drop))?;
        for (part, secs) in [("forward", forward), ("backward", backward)] {
            println!("{{\"operation\":\"attention\",\"part\":\"{part}\",\"ms\":{:.3}}}", secs * 1e3);
        }
    }
    if "batch norm".contains(&filter) {
        let images = Tensor::randn(0.0f32, 1.0, (32, 32, 32, 64), device)?;
        let ones = Tensor::ones(64, candle_core::DType::F32, device)?;
        let inputs = || {
            Ok::<_, candle_core::Error>(BatchNormInputs {
                moments: (moments(&images)?, MomentsOf::Batch),
                input: images.clone(),
                weight: ones.clone(),
                bias: ones.clone(),
                residual: None,
                activation: Activation::Relu,
                epsilon: 1e-5,
            })
        };
        let forward = seconds(|| batch_norm(&inputs()?).map(drop))?;
        let (inputs, output) = (inputs()?, batch_norm(&inputs()?)?);
        let backward = seconds(|| batch_norm_gradients(&inputs, &output, &images).map(drop))?;
        println!("{{\"operation\":\"batch norm\",\"part\":\"forward\",\"ms\":{:.3}}}", forward * 1e3);
        println!("{{\"operation\":\"batch norm\",\"part\":\"backward\",\"ms\":{:.3}}}", backward * 1e3);
    }
    Ok(())
}

/// The least time of some repeats.
fn seconds(mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut least = f64::INFINITY;
    let begun = Instant::now();
    for repeat in 0..50 {
        let start = Instant::now();
        work()?;
        least = least.min(start.elapsed().as_secs_f64());
        if repeat >= 3 && begun.elapsed().as_secs_f64() > 0.5 {
            break;
        }
    }
    Ok(least)
}
