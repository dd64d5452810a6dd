//! Every operation on a GPU against the same on the processor, whose results are checked against their definitions.
//! Without a GPU they say so and pass.

use crate::{
    Activation, AdamW, BatchNormInputs, Conv2dOptions, GateKind, InputGradient, Moments, MomentsOf, Numbers, Part, Sgd,
    Uploads, activate, activate_gradient, add, add_bias, add_bias_gelu, add_bias_gelu_gradients, add_bias_gradients,
    attention, attention_gradient, batch_norm, batch_norm_gradients, conv2d, conv2d_gradients, cross_entropy,
    cross_entropy_gradient, gate, gate_gradients, layer_norm, layer_norm_gradients, linear, linear_gradients,
    max_pool2d, max_pool2d_gradient, mean_of_pixels, mean_of_pixels_gradient, moments, prepare_device, record,
    rehearse,
};
use candle_core::{DType, Device, Result, Tensor, Var};

/// Products on tensor cores round their factors: to 10 bits of f32, to 7 of bf16.
const TOLERANCES: [(DType, f64); 2] = [(DType::F32, 2e-3), (DType::BF16, 2e-2)];

fn gpu() -> Option<Device> {
    let device = Device::new_cuda_with_stream(0).ok();
    match &device {
        Some(device) => prepare_device(device).unwrap(),
        None => eprintln!("skipped: no GPU answers here"),
    }
    device
}

fn noise(shape: &[usize], seed: u32) -> Tensor {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| next()).collect();
    // What bf16 can hold, so that both sides begin with the same.
    let values = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
    values.to_dtype(DType::BF16).unwrap().to_dtype(DType::F32).unwrap()
}

/// The distance of two tensors over the size of the right one.
fn distance(ours: &Tensor, right: &Tensor) -> Result<f64> {
    let ours = ours.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
    let right = right.to_dtype(DType::F64)?;
    assert_eq!(ours.dims(), right.dims());
    let norm = |tensor: &Tensor| tensor.sqr()?.sum_all()?.to_scalar::<f64>().map(f64::sqrt);
    Ok(norm(&(ours - &right)?)? / norm(&right)?.max(1e-12))
}

fn assert_near(what: &str, ours: &Tensor, right: &Tensor, tolerance: f64) -> Result<()> {
    let found = distance(ours, right)?;
    assert!(found <= tolerance, "{what}: {found:.2e} is more than {tolerance:.0e}");
    Ok(())
}

#[test]
fn convolutions_are_those_of_the_processor() -> Result<()> {
    let Some(device) = gpu() else { return Ok(()) };
    let square = Conv2dOptions::square;
    type Pair = (usize, usize);
    // batch, size, channels, side of the kernel
    let cases: [(usize, Pair, Pair, usize, Conv2dOptions); 8] = [
        (4, (16, 16), (64, 64), 3, square(1, 1)),
        (2, (32, 32), (3, 64), 3, square(1, 1)),
        (2, (17, 15), (32, 48), 3, square(2, 1)),
        (2, (14, 14), (64, 32), 1, square(1, 0)),
        (2, (13, 13), (32, 64), 1, square(2, 0)),
        (2, (30, 30), (3, 16), 7, square(2, 3)),
        (3, (9, 11), (5, 7), 3, square(1, 1)),
        (2, (12, 12), (24, 24), 3, Conv2dOptions { groups: 24, ..square(1, 1) }),
    ];
    for (batch, size, (from, to), side, options) in cases {
        let input = noise(&[batch, size.0, size.1, from], 1);
        let kernel = noise(&[to, from / options.groups, side, side], 2);
        let right = conv2d(&input, &kernel, options)?;
        let grad = noise(right.dims(), 3);
        let (of_input, of_kernel) = conv2d_gradients(&input, &kernel, options, &grad, InputGradient::Wanted)?;
        for (dtype, tolerance) in TOLERANCES {
            let there = |tensor: &Tensor| tensor.to_device(&device)?.to_dtype(dtype);
            let (input, grad) = (there(&input)?, there(&grad)?);
            let kernel = kernel.to_device(&device)?;
            let what = format!("{from} to {to} {side}x{side} {options:?} {dtype:?}");
            assert_near(&what, &conv2d(&input, &kernel, options)?, &right, tolerance)?;
            let (ours, of_parameter) = conv2d_gradients(&input, &kernel, options, &grad, InputGradient::Wanted)?;
            assert_near(&format!("{what}, input"), &ours.unwrap(), of_input.as_ref().unwrap(), tolerance)?;
            assert_near(&format!("{what}, kernel"), &of_parameter, &of_kernel, tolerance)?;
            let (_, again) = conv2d_gradients(&input, &kernel, options, &grad, InputGradient::Unwanted)?;
            assert_eq!(distance(&again, &of_parameter.to_device(&Device::Cpu)?)?, 0.0, "{what} repeats");
        }
    }
    Ok(())
}

#[test]
fn batch_normalisation_is_that_of_the_processor() -> Result<()> {
    let Some(device) = gpu() else { return Ok(()) };
    for (shape, residual, activation) in [
        ([4, 9, 7, 64], true, Activation::Relu),
        ([8, 16, 16, 512], false, Activation::Relu),
        ([3, 5, 5, 12], false, Activation::None),
        ([2, 3, 3, 7], true, Activation::None),
        ([64, 32, 32, 64], true, Activation::Relu),
        ([64, 1, 1, 2048], false, Activation::Relu),
        ([4, 9, 7, 40], false, Activation::HardSwish),
        ([2, 5, 5, 7], false, Activation::Silu),
        ([3, 4, 4, 96], false, Activation::Gelu),
    ] {
        let channels = shape[3];
        let input = (noise(&shape, 1) + 3.0)?.to_dtype(DType::BF16)?.to_dtype(DType::F32)?;
        let (weight, bias) = (noise(&[channels], 2), noise(&[channels], 3));
        let residual = residual.then(|| noise(&shape, 4));
        let grad = noise(&shape, 5);
        for of in [MomentsOf::Batch, MomentsOf::Running] {
            let inputs = |input: &Tensor, weight: &Tensor, bias: &Tensor, residual: Option<Tensor>| {
                Ok::<_, candle_core::Error>(BatchNormInputs {
                    moments: (moments(input)?, of),
                    input: input.clone(),
                    weight: weight.clone(),
                    bias: bias.clone(),
                    residual,
                    activation,
                    epsilon: 1e-5,
                })
            };
            let right_inputs = inputs(&input, &weight, &bias, residual.clone())?;
            let right = batch_norm(&right_inputs)?;
            let right_gradients = batch_norm_gradients(&right_inputs, &right, &grad)?;
            for (dtype, tolerance) in [(DType::F32, 1e-5), (DType::BF16, 1e-2)] {
                let what = format!("{shape:?} {activation:?} {of:?} {dtype:?}");
                let there = |tensor: &Tensor| tensor.to_device(&device)?.to_dtype(dtype);
                let residual = residual.as_ref().map(&there).transpose()?;
                let ours = inputs(&there(&input)?, &weight.to_device(&device)?, &bias.to_device(&device)?, residual)?;
                let (Moments { mean, variance }, _) = &right_inputs.moments;
                assert_near(&format!("{what} mean"), &ours.moments.0.mean, mean, 1e-6)?;
                assert_near(&format!("{what} variance"), &ours.moments.0.variance, variance, 1e-5)?;
                let output = batch_norm(&ours)?;
                assert_near(&what, &output, &right, tolerance)?;
                // Of the same output, since a value that rounds to zero may be cut on one side alone.
                let found = batch_norm_gradients(&ours, &there(&right)?, &there(&grad)?)?;
                let tolerance = 3.0 * tolerance;
                assert_near(&format!("{what} of input"), &found.input, &right_gradients.input, tolerance)?;
                assert_near(&format!("{what} of weight"), &found.weight, &right_gradients.weight, tolerance)?;
                assert_near(&format!("{what} of bias"), &found.bias, &right_gradients.bias, tolerance)?;
                assert_eq!(found.residual.is_some(), right_gradients.residual.is_some());
                if let (Some(ours), Some(right)) = (found.residual, &right_gradients.residual) {
                    assert_near(&format!("{what} of residual"), &ours, right, tolerance)?;
                }
            }
        }
    }
    Ok(())
}

#[test]
fn running_moments_follow_as_on_the_processor() -> Result<()> {
    let Some(device) = gpu() else { return Ok(()) };
    let found = |device: &Device| -> Result<(Var, Var)> {
        let moments = moments(&noise(&[2, 3, 3, 40], 1).to_device(device)?)?;
        let (mean, variance) =
            (Var::from_tensor(&noise(&[40], 2).to_device(device)?)?, Var::ones(40, DType::F32, device)?);
        moments.move_running(&mean, &variance, 0.1, 18)?;
        Ok((mean, variance))
    };
    let (ours, right) = (found(&device)?, found(&Device::Cpu)?);
    assert_near("mean", &ours.0, &right.0, 1e-6)?;
    assert_near("variance", &ours.1, &right.1, 1e-6)
}

#[test]
fn biases_pools_and_means_are_those_of_the_processor() -> Result<()> {
    let Some(device) = gpu() else { return Ok(()) };
    for (shape, sizes) in [([3, 12, 10, 64], (2, 2, 0)), ([2, 15, 13, 24], (3, 2, 1)), ([2, 6, 6, 5], (3, 1, 1))] {
        let (input, bias) = (noise(&shape, 1), noise(&[shape[3]], 2));
        for (dtype, tolerance) in [(DType::F32, 1e-5), (DType::BF16, 1e-2)] {
            let what = format!("{shape:?} {sizes:?} {dtype:?}");
            let there = |tensor: &Tensor| tensor.to_device(&device)?.to_dtype(dtype);
            let (input_there, bias_there) = (there(&input)?, bias.to_device(&device)?);
            for activation in [Activation::None, Activation::Relu] {
                let right = add_bias(&input, &bias, activation)?;
                let ours = add_bias(&input_there, &bias_there, activation)?;
                assert_near(&what, &ours, &right, tolerance)?;
                let grad = noise(right.dims(), 3);
                let right = add_bias_gradients(&right, &grad, activation)?;
                let ours = add_bias_gradients(&ours, &there(&grad)?, activation)?;
                assert_near(&format!("{what} bias, of input"), &ours.0, &right.0, tolerance)?;
                assert_near(&format!("{what} bias, of bias"), &ours.1, &right.1, tolerance)?;
            }
            let (kernel, stride, padding) = sizes;
            let right = max_pool2d(&input, kernel, stride, padding)?;
            let ours = max_pool2d(&input_there, kernel, stride, padding)?;
            assert_near(&format!("{what} pool"), &ours, &right, 0.0)?;
            let grad = noise(right.dims(), 4);
            let right = max_pool2d_gradient((&input, &right), sizes, &grad)?;
            let ours = max_pool2d_gradient((&input_there, &ours), sizes, &there(&grad)?)?;
            assert_near(&format!("{what} pool gradient"), &ours, &right, tolerance)?;
            let twice = add(&input_there, &input_there)?;
            assert_near(&format!("{what} sum"), &twice, &(&input * 2.0)?, tolerance)?;
            let right = mean_of_pixels(&input)?;
            assert_near(&format!("{what} mean"), &mean_of_pixels(&input_there)?, &right, tolerance)?;
            let grad = noise(right.dims(), 5);
            let right = mean_of_pixels_gradient(&shape, &grad)?;
            let ours = mean_of_pixels_gradient(&shape, &there(&grad)?)?;
            assert_near(&format!("{what} mean gradient"), &ours, &right, tolerance)?;
        }
    }
    Ok(())
}

#[test]
fn activations_and_gates_are_those_of_the_processor() -> Result<()> {
    let Some(device) = gpu() else { return Ok(()) };
    for shape in [[3, 12, 10, 64], [2, 5, 3, 7], [1, 1, 1, 40]] {
        let (input, grad) = ((noise(&shape, 1) * 4.0)?, noise(&shape, 2));
        let logits = (noise(&[shape[0], shape[3]], 3) * 4.0)?;
        for (dtype, tolerance) in [(DType::F32, 1e-5), (DType::BF16, 1e-2)] {
            let there = |tensor: &Tensor| tensor.to_device(&device)?.to_dtype(dtype);
            let (input_there, grad_there, logits_there) = (there(&input)?, there(&grad)?, there(&logits)?);
            for activation in [Activation::HardSwish, Activation::Silu, Activation::Gelu] {
                let what = format!("{activation:?} {shape:?} {dtype:?}");
                let right = activate(&input, activation)?;
                assert_near(&what, &activate(&input_there, activation)?, &right, tolerance)?;
                let right = activate_gradient(&input, activation, &grad)?;
                let ours = activate_gradient(&input_there, activation, &grad_there)?;
                assert_near(&format!("gradient of {what}"), &ours, &right, tolerance)?;
            }
            for kind in [GateKind::HardSigmoid, GateKind::Sigmoid] {
                let what = format!("{kind:?} {shape:?} {dtype:?}");
                let right = gate(&input, &logits, kind)?;
                assert_near(&what, &gate(&input_there, &logits_there, kind)?, &right, tolerance)?;
                let right = gate_gradients(&input, &logits, kind, &grad)?;
                let ours = gate_gradients(&input_there, &logits_there, kind, &grad_there)?;
                assert_near(&format!("input of {what}"), &ours.0, &right.0, tolerance)?;
                assert_near(&format!("logits of {what}"), &ours.1, &right.1, tolerance)?;
            }
        }
    }
    Ok(())
}

#[test]
fn transformers_are_those_of_the_processor() -> Result<()> {
    let Some(device) = gpu() else { return Ok(()) };
    for (batch, tokens, heads, dim) in [(3, 197, 6, 64), (2, 33, 2, 24), (1, 1, 1, 7), (2, 5, 3, 9)] {
        let channels = heads * dim;
        let input = (noise(&[batch, tokens, channels], 1) + 1.0)?.to_dtype(DType::BF16)?.to_dtype(DType::F32)?;
        let (weight, bias, grad) = (noise(&[channels], 2), noise(&[channels], 3), noise(input.dims(), 4));
        let qkv = noise(&[batch, tokens, 3 * channels], 5);
        let norm = layer_norm(&input, &weight, &bias, 1e-6)?;
        let of_norm = layer_norm_gradients(&input, &weight, 1e-6, &grad)?;
        let gelu = add_bias_gelu(&input, &bias)?;
        let of_gelu = add_bias_gelu_gradients(&input, &bias, &grad)?;
        let mixed = attention(&qkv, heads)?;
        let of_qkv = attention_gradient(&qkv, heads, &grad)?;
        for (dtype, tolerance) in [(DType::F32, 1e-5), (DType::BF16, 4e-2)] {
            let what = format!("{batch} x {tokens} tokens, {heads} heads of {dim}, {dtype:?}");
            let near = |name: &str, ours: &Tensor, right: &Tensor| {
                assert_near(&format!("{name} of {what}"), ours, right, tolerance)
            };
            let there = |tensor: &Tensor| tensor.to_device(&device)?.to_dtype(dtype);
            let (input, grad, qkv) = (there(&input)?, there(&grad)?, there(&qkv)?);
            let (weight, bias) = (weight.to_device(&device)?, bias.to_device(&device)?);
            near("layer norm", &layer_norm(&input, &weight, &bias, 1e-6)?, &norm)?;
            let found = layer_norm_gradients(&input, &weight, 1e-6, &grad)?;
            near("layer norm's input", &found.0, &of_norm.0)?;
            near("layer norm's weight", &found.1, &of_norm.1)?;
            near("layer norm's bias", &found.2, &of_norm.2)?;
            near("gelu", &add_bias_gelu(&input, &bias)?, &gelu)?;
            let found = add_bias_gelu_gradients(&input, &bias, &grad)?;
            near("gelu's input", &found.0, &of_gelu.0)?;
            near("gelu's bias", &found.1, &of_gelu.1)?;
            near("attention", &attention(&qkv, heads)?, &mixed)?;
            near("attention's input", &attention_gradient(&qkv, heads, &grad)?, &of_qkv)?;
        }
    }
    Ok(())
}

#[test]
fn products_and_losses_are_those_of_the_processor() -> Result<()> {
    let Some(device) = gpu() else { return Ok(()) };
    let (input, weight) = (noise(&[33, 130], 1), noise(&[10, 130], 2));
    let labels = Tensor::from_iter((0..33).map(|index| index % 10u32), &Device::Cpu)?;
    let logits = linear(&input, &weight)?;
    let share = Tensor::full(1.0f32 / 33.0, 33, &Device::Cpu)?;
    let grad = cross_entropy_gradient(&logits, &labels, 0.1, &share)?;
    let (of_input, of_weight) = linear_gradients(&input, &weight, &grad, InputGradient::Wanted)?;
    for (dtype, tolerance) in [(DType::F32, 1e-4), (DType::BF16, 4e-2)] {
        let there = |tensor: &Tensor| tensor.to_device(&device)?.to_dtype(dtype);
        let (weight, labels) = (weight.to_device(&device)?, labels.to_device(&device)?);
        let ours = linear(&there(&input)?, &weight)?;
        assert_near("logits", &ours, &logits, tolerance)?;
        let losses = cross_entropy(&ours, &labels, 0.1)?;
        assert_near("losses", &losses, &cross_entropy(&logits, &labels.to_device(&Device::Cpu)?, 0.1)?, tolerance)?;
        let found = cross_entropy_gradient(&ours, &labels, 0.1, &share.to_device(&device)?)?;
        assert_near("gradient of logits", &found, &grad, tolerance)?;
        let found = linear_gradients(&there(&input)?, &weight, &there(&grad)?, InputGradient::Wanted)?;
        assert_near("of input", &found.0.unwrap(), of_input.as_ref().unwrap(), tolerance)?;
        assert_near("of weight", &found.1, &of_weight, tolerance)?;
    }
    Ok(())
}

#[test]
fn optimizers_step_as_on_the_processor() -> Result<()> {
    let Some(device) = gpu() else { return Ok(()) };
    let adamw = AdamW { learning_rate: 0.1, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 };
    let sgd = |nesterov| Sgd { learning_rate: 0.1, momentum: 0.9, nesterov, weight_decay: 0.0 };
    type Step<'a> = &'a dyn Fn(&mut [Part<'_>], u64, &Numbers) -> Result<()>;
    let rules: [(&str, Step<'_>, bool); 3] = [
        ("adamw", &|parts, step, n| adamw.announce(step, n).and_then(|()| adamw.step_all(parts, step, n)), true),
        ("nesterov", &|p, step, n| sgd(true).announce(step, n).and_then(|()| sgd(true).step_all(p, step, n)), false),
        ("momentum", &|p, step, n| sgd(false).announce(step, n).and_then(|()| sgd(false).step_all(p, step, n)), false),
    ];
    for (name, rule, two_moments) in rules {
        let run = |device: &Device| -> Result<Vec<Tensor>> {
            let shapes: [&[usize]; 3] = [&[7], &[33, 5], &[140_000]];
            let vars = shapes
                .iter()
                .enumerate()
                .map(|(seed, shape)| Var::from_tensor(&noise(shape, seed as u32).to_device(device)?));
            let vars = vars.collect::<Result<Vec<_>>>()?;
            let state = |var: &Var| if two_moments { AdamW::state(var) } else { Sgd::state(var) };
            let numbers = Numbers::new(device)?;
            let mut states = vars.iter().map(state).collect::<Result<Vec<_>>>()?;
            for step in 1..=3 {
                let gradients = vars.iter().map(|var| var.as_tensor() * 2.0).collect::<Result<Vec<_>>>()?;
                let mut parts: Vec<Part<'_>> = vars
                    .iter()
                    .zip(&gradients)
                    .zip(&mut states)
                    .zip([(0.0, 1.0), (0.1, 0.5), (0.01, 0.1)])
                    .map(|(((parameter, gradient), state), (weight_decay, rate))| Part {
                        parameter,
                        gradient,
                        state,
                        weight_decay,
                        rate,
                    })
                    .collect();
                rule(&mut parts, step, &numbers)?;
            }
            Ok(vars.iter().map(|var| var.as_tensor().clone()).collect())
        };
        for (ours, right) in run(&device)?.iter().zip(run(&Device::Cpu)?) {
            assert_near(name, ours, &right, 1e-5)?;
        }
    }
    Ok(())
}

#[test]
fn a_recording_does_its_work_again_with_what_is_there_then() -> Result<()> {
    let Some(device) = gpu() else { return Ok(()) };
    let (input, weight) = (Var::ones((4, 8), DType::F32, &device)?, noise(&[5, 8], 1).to_device(&device)?);
    let output = Var::zeros((4, 5), DType::F32, &device)?;
    let act = || output.set(&linear(&input, &weight)?);
    rehearse(&device, act)?;
    let recording = record(&device, act)?.expect("a GPU records");
    for factor in [2.0, 3.0] {
        input.set(&Tensor::ones((4, 8), DType::F32, &device)?.affine(factor, 0.0)?)?;
        recording.replay()?;
        assert_near("replayed", &output, &linear(&input, &weight)?.to_device(&Device::Cpu)?, 1e-6)?;
    }
    assert!(record(&device, || candle_core::bail!("no")).is_err());
    linear(&input, &weight)?.to_vec2::<f32>().map(|_| ())
}

#[test]
fn uploads_arrive_whole_while_the_gpu_computes() -> Result<()> {
    let Some(device) = gpu() else { return Ok(()) };
    let uploads = Uploads::to(&device);
    let busy = noise(&[2048, 2048], 1).to_device(&device)?;
    // More of a size than there are buffers, then larger ones and smaller ones.
    let sizes = [[900_000; 8], [7, 300_000, 900_001, 900_000, 1, 900_001, 450_000, 900_001]].concat();
    let mut found = Vec::new();
    for (number, &count) in sizes.iter().enumerate() {
        for _ in 0..20 {
            busy.matmul(&busy)?;
        }
        let uploaded = uploads.upload(vec![number as f32 + 1.0; count], &[count])?;
        found.push((uploaded * 2.0)?);
    }
    drop(uploads);
    for (number, (found, count)) in found.iter().zip(sizes).enumerate() {
        assert!(found.to_vec1::<f32>()? == vec![2.0 * (number as f32 + 1.0); count], "upload {number}");
    }
    assert!(Uploads::to(&device).upload(vec![1.0; 5], &[2, 3]).is_err());
    Ok(())
}
