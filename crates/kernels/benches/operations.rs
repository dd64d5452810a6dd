//! Times single operations and prints one JSON object a line, beside candle's own where it has them: `operations [FILTER]`.
//! The first line is what the machine can do. Arithmetic counts two operations for each multiplication and addition of the
//! definition.

use assay_kernels::*;
use candle_core::{D, DType, Device, Result, Tensor, Var};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use std::time::Instant;

#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// batch, side, channels in and out, kernel, stride, padding, groups
type Shape = (usize, usize, (usize, usize), usize, usize, usize, usize);

/// The convolutions of the networks that are measured.
const CONVOLUTIONS: [Shape; 15] = [
    (32, 32, (3, 64), 3, 1, 1, 1),
    (32, 32, (64, 64), 3, 1, 1, 1),
    (32, 32, (64, 128), 3, 2, 1, 1),
    (32, 16, (128, 128), 3, 1, 1, 1),
    (32, 8, (256, 256), 3, 1, 1, 1),
    (32, 8, (256, 512), 3, 2, 1, 1),
    (32, 4, (512, 512), 3, 1, 1, 1),
    (32, 32, (64, 128), 1, 2, 0, 1),
    (64, 32, (16, 16), 3, 1, 1, 1),
    (128, 26, (32, 64), 3, 1, 0, 1),
    (8, 224, (3, 64), 7, 2, 3, 1),
    (8, 56, (256, 64), 1, 1, 0, 1),
    (16, 56, (72, 72), 3, 1, 1, 72),
    (16, 56, (72, 72), 5, 2, 2, 72),
    (16, 14, (672, 672), 5, 1, 2, 672),
];

/// Products of (rows, from) with the transpose of (to, from).
const PRODUCTS: [(usize, usize, usize); 4] = [(1576, 384, 1152), (1576, 384, 1536), (1576, 1536, 384), (64, 4096, 128)];

/// An operation as it is measured.
struct Case<'a> {
    name: &'a str,
    /// A JSON object from which a peer can make the same.
    sizes: String,
    /// Billions of operations forward; the gradients take twice as many. None where memory decides.
    work: Option<f64>,
}

impl Case<'_> {
    /// Times forward and gradients, ours and candle's.
    fn measure(
        &self,
        filter: &str,
        ours: [&dyn Fn() -> Result<()>; 2],
        candle: Option<&dyn Fn() -> Result<(Tensor, Tensor)>>,
    ) -> Result<()> {
        if !self.name.contains(filter) {
            return Ok(());
        }
        let stock = match candle {
            Some(candle) => {
                let forward = seconds(|| candle().map(drop))?;
                let both = seconds(|| {
                    let (output, grad) = candle()?;
                    (output * grad)?.sum_all()?.backward().map(drop)
                })?;
                [Some(forward), Some(both - forward)]
            }
            None => [None; 2],
        };
        for (((part, share), ours), stock) in [("forward", 1.0), ("gradients", 2.0)].into_iter().zip(ours).zip(stock) {
            let secs = seconds(ours)?;
            let number = |value: Option<f64>| value.map_or("null".into(), |value| format!("{value:.4}"));
            println!(
                "{{\"operation\":\"{}\",\"part\":\"{part}\",\"sizes\":{},\"ms\":{:.4},\"gflops\":{},\"candle_ms\":{}}}",
                self.name,
                self.sizes,
                secs * 1e3,
                number(self.work.map(|work| work * share / secs)),
                number(stock.map(|secs| secs * 1e3)),
            );
        }
        Ok(())
    }
}

fn noise(shape: impl Into<candle_core::Shape>) -> Result<Tensor> {
    Tensor::randn(0.0f32, 1.0, shape, &Device::Cpu)
}

fn main() -> Result<()> {
    let filter = std::env::args().skip(1).find(|argument| argument != "--bench").unwrap_or_default();
    println!("{{\"peak_gflops\":{:.1},\"bandwidth_gb\":{:.1}}}", peak(), bandwidth()?);
    convolutions(&filter)?;
    products(&filter)?;
    passes(&filter)?;
    sequences(&filter)
}

fn convolutions(filter: &str) -> Result<()> {
    for (batch, side, (from, to), kernel, stride, padding, groups) in CONVOLUTIONS {
        let (input, weight) = (noise((batch, side, side, from))?, noise((to, from / groups, kernel, kernel))?);
        let options = Conv2dOptions { groups, ..Conv2dOptions::square(stride, padding) };
        let out = (side + 2 * padding - kernel) / stride + 1;
        let grad = noise((batch, out, out, to))?;
        let case = Case {
            name: if groups == 1 { "convolution" } else { "depthwise convolution" },
            sizes: format!(
                "{{\"batch\":{batch},\"side\":{side},\"from\":{from},\"to\":{to},\"kernel\":{kernel},\"stride\":{stride},\
                 \"padding\":{padding},\"groups\":{groups}}}"
            ),
            work: Some(2.0 * (batch * out * out * to * from / groups * kernel * kernel) as f64 / 1e9),
        };
        let first = |images: &Tensor| -> Result<Var> { Var::from_tensor(&channels_first(images)?) };
        let (images, filters, towards) = (first(&input)?, Var::from_tensor(&weight)?, channels_first(&grad)?);
        case.measure(
            filter,
            [&|| conv2d(&input, &weight, options).map(drop), &|| {
                conv2d_gradients(&input, &weight, options, &grad, InputGradient::Wanted).map(drop)
            }],
            // Of each channel by itself, candle makes a convolution of its own.
            (groups == 1).then_some(&|| Ok((images.conv2d(&filters, padding, stride, 1, 1)?, towards.clone()))),
        )?;
    }
    Ok(())
}

fn products(filter: &str) -> Result<()> {
    for (rows, from, to) in PRODUCTS {
        let (input, weight, grad) = (noise((rows, from))?, noise((to, from))?, noise((rows, to))?);
        let case = Case {
            name: "product",
            sizes: format!("{{\"rows\":{rows},\"from\":{from},\"to\":{to}}}"),
            work: Some(2.0 * (rows * from * to) as f64 / 1e9),
        };
        let (left, right) = (Var::from_tensor(&input)?, Var::from_tensor(&weight)?);
        case.measure(
            filter,
            [&|| linear(&input, &weight).map(drop), &|| {
                linear_gradients(&input, &weight, &grad, InputGradient::Wanted).map(drop)
            }],
            Some(&|| Ok((left.matmul(&right.t()?)?, grad.clone()))),
        )?;
    }
    Ok(())
}

/// Operations that memory decides.
fn passes(filter: &str) -> Result<()> {
    let case = |name, sizes: &str| Case { name, sizes: sizes.into(), work: None };
    let (images, grad) = (noise((32, 32, 32, 64))?, noise((32, 32, 32, 64))?);
    let ones = Tensor::ones(64, DType::F32, &Device::Cpu)?;
    let inputs = || -> Result<BatchNormInputs> {
        Ok(BatchNormInputs {
            moments: (moments(&images)?, MomentsOf::Batch),
            input: images.clone(),
            weight: ones.clone(),
            bias: ones.clone(),
            residual: None,
            activation: Activation::Relu,
            epsilon: 1e-5,
        })
    };
    let (fixed, output) = (inputs()?, batch_norm(&inputs()?)?);
    let var = Var::from_tensor(&images)?;
    let stock = || -> Result<(Tensor, Tensor)> {
        let rows = var.reshape(((), 64))?;
        let away = rows.broadcast_sub(&rows.mean(0)?)?;
        let root = (away.sqr()?.mean(0)? + 1e-5)?.sqrt()?;
        let output = away.broadcast_div(&root)?.broadcast_mul(&ones)?.broadcast_add(&ones)?.relu()?;
        Ok((output.reshape(var.shape())?, grad.clone()))
    };
    case("batch norm and ReLU", "{\"batch\":32,\"side\":32,\"channels\":64}").measure(
        filter,
        [&|| batch_norm(&inputs()?).map(drop), &|| batch_norm_gradients(&fixed, &output, &grad).map(drop)],
        Some(&stock),
    )?;

    let sizes = (2, 2, 0);
    let pooled = max_pool2d(&images, 2, 2, 0)?;
    let of_pooled = noise(pooled.dims())?;
    let (first, towards) = (Var::from_tensor(&channels_first(&images)?)?, channels_first(&of_pooled)?);
    case("max pool", "{\"batch\":32,\"side\":32,\"channels\":64}").measure(
        filter,
        [&|| max_pool2d(&images, 2, 2, 0).map(drop), &|| {
            max_pool2d_gradient((&images, &pooled), sizes, &of_pooled).map(drop)
        }],
        Some(&|| Ok((first.max_pool2d(2)?, towards.clone()))),
    )?;

    let (rows, weight, bias) = (noise((8, 197, 384))?, noise(384)?, noise(384)?);
    let of_rows = noise((8, 197, 384))?;
    let var = Var::from_tensor(&rows)?;
    let stock = || -> Result<(Tensor, Tensor)> {
        let away = var.broadcast_sub(&var.mean_keepdim(D::Minus1)?)?;
        let root = (away.sqr()?.mean_keepdim(D::Minus1)? + 1e-6)?.sqrt()?;
        Ok((away.broadcast_div(&root)?.broadcast_mul(&weight)?.broadcast_add(&bias)?, of_rows.clone()))
    };
    case("layer norm", "{\"rows\":1576,\"channels\":384}").measure(
        filter,
        [&|| layer_norm(&rows, &weight, &bias, 1e-6).map(drop), &|| {
            layer_norm_gradients(&rows, &weight, 1e-6, &of_rows).map(drop)
        }],
        Some(&stock),
    )?;
    case("bias and GELU", "{\"rows\":1576,\"channels\":384}").measure(
        filter,
        [&|| add_bias_gelu(&rows, &bias).map(drop), &|| add_bias_gelu_gradients(&rows, &bias, &of_rows).map(drop)],
        Some(&|| Ok((var.broadcast_add(&bias)?.gelu_erf()?, of_rows.clone()))),
    )
}

fn sequences(filter: &str) -> Result<()> {
    let (qkv, grad) = (noise((8, 197, 3 * 384))?, noise((8, 197, 384))?);
    let work = 4.0 * (8 * 6 * 197 * 197 * 64) as f64 / 1e9;
    Case { name: "attention", sizes: "{\"batch\":8,\"tokens\":197,\"heads\":6,\"dim\":64}".into(), work: Some(work) }
        .measure(filter, [&|| attention(&qkv, 6).map(drop), &|| attention_gradient(&qkv, 6, &grad).map(drop)], None)?;
    let (projected, weight, grad) = (noise((64, 64, 512))?, (noise((512, 128))? * 0.1)?, noise((64, 64, 128))?);
    let states = lstm(&projected, &weight)?;
    let work = 2.0 * (64 * 64 * 128 * 512) as f64 / 1e9;
    Case { name: "LSTM", sizes: "{\"batch\":64,\"length\":64,\"hidden\":128}".into(), work: Some(work) }.measure(
        filter,
        [&|| lstm(&projected, &weight).map(drop), &|| lstm_gradients(&states, &weight, &grad).map(drop)],
        None,
    )
}

/// Billions of operations a second of multiplications and additions that stay in registers, on all threads.
fn peak() -> f64 {
    const ROUNDS: usize = 2_000_000;
    let threads = rayon::current_num_threads();
    let mut best = 0.0f64;
    for _ in 0..5 {
        let begun = Instant::now();
        let lanes: usize =
            (0..threads).into_par_iter().map(|_| Arch::new().dispatch(Registers { rounds: ROUNDS })).sum();
        best = best.max(2.0 * (ROUNDS * CHAINS * lanes) as f64 / begun.elapsed().as_secs_f64() / 1e9);
    }
    best
}

/// Sums that do not wait for each other.
const CHAINS: usize = 10;

struct Registers {
    rounds: usize,
}

impl WithSimd for Registers {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> usize {
        let factor = simd.splat_f32s(std::hint::black_box(0.999));
        let mut sums = [simd.splat_f32s(1.0); CHAINS];
        for _ in 0..self.rounds {
            for sum in &mut sums {
                *sum = simd.mul_add_f32s(*sum, factor, factor);
            }
        }
        std::hint::black_box(sums);
        S::F32_LANES
    }
}

/// Gigabytes a second, read and written, of a sum of arrays that no cache holds.
fn bandwidth() -> Result<f64> {
    let (a, b) = (noise(32 << 20)?, noise(32 << 20)?);
    Ok(3.0 * f64::from(32u32 << 20) * 4.0 / seconds(|| add(&a, &b).map(drop))? / 1e9)
}

/// The least time of some repeats.
fn seconds(mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut least = f64::INFINITY;
    let begun = Instant::now();
    for repeat in 0..50 {
        let start = Instant::now();
        work()?;
        least = least.min(start.elapsed().as_secs_f64());
        if repeat >= 2 && begun.elapsed().as_secs_f64() > 0.5 {
            break;
        }
    }
    Ok(least)
}
