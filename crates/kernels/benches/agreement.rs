//! What operations and their gradients give over a grid of shapes, for a peer to compute again: `agreement FILE.npz` writes
//! the tensors, and prints a JSON line for each case.

use assay_kernels::*;
use candle_core::{Device, Result, Tensor, Var};

/// Cases and their tensors. Those of case 3 are named 3.input.0, 3.grad, 3.output and 3.gradient.0.
#[derive(Default)]
struct Cases {
    count: usize,
    tensors: Vec<(String, Tensor)>,
}

impl Cases {
    /// Keeps a case; `options` is a JSON object.
    fn add(&mut self, operation: &str, options: &str, inputs: &[&Tensor], grad: &Tensor, found: Found) {
        let case = self.count;
        self.count += 1;
        let mut keep = |name: String, tensor: &Tensor| self.tensors.push((format!("{case}.{name}"), tensor.clone()));
        inputs.iter().enumerate().for_each(|(number, tensor)| keep(format!("input.{number}"), tensor));
        keep("grad".into(), grad);
        keep("output".into(), &found.output);
        found.gradients.iter().enumerate().for_each(|(number, tensor)| keep(format!("gradient.{number}"), tensor));
        println!("{{\"operation\":\"{operation}\",\"options\":{options}}}");
    }
}

/// What an operation gives, and the gradients of its inputs, in order.
struct Found {
    output: Tensor,
    gradients: Vec<Tensor>,
}

fn noise(shape: &[usize]) -> Result<Tensor> {
    Tensor::randn(0.0f32, 1.0, shape, &Device::Cpu)
}

fn main() -> Result<()> {
    let file = std::env::args().skip(1).find(|argument| argument != "--bench").unwrap_or_default();
    let mut cases = Cases::default();
    convolutions(&mut cases)?;
    norms(&mut cases)?;
    pools(&mut cases)?;
    rows(&mut cases)?;
    sequences(&mut cases)?;
    optimizers(&mut cases)?;
    Tensor::write_npz(&cases.tensors, file)
}

fn convolutions(cases: &mut Cases) -> Result<()> {
    for (batch, (height, width), (from, to), (kernel_height, kernel_width)) in [
        (1, (1, 1), (1, 1), (1, 1)),
        (1, (7, 5), (1, 1), (3, 3)),
        (2, (9, 8), (3, 16), (3, 3)),
        (3, (13, 11), (16, 16), (3, 3)),
        (2, (8, 8), (48, 64), (3, 3)),
        (2, (10, 9), (24, 24), (5, 3)),
        (1, (15, 15), (8, 40), (7, 7)),
        (4, (6, 6), (32, 96), (1, 1)),
    ] {
        for stride in [(1, 1), (2, 2), (1, 3)] {
            for padding in [(0, 0), (1, 1), (3, 2)] {
                for dilation in [1, 2] {
                    for groups in [1, 2, 8, 24] {
                        let options = Conv2dOptions { stride, padding, dilation: (dilation, dilation), groups };
                        let fits =
                            |size: usize, padding: usize, kernel: usize| size + 2 * padding > dilation * (kernel - 1);
                        let all = fits(height, padding.0, kernel_height) && fits(width, padding.1, kernel_width);
                        if !all || from % groups != 0 || to % groups != 0 {
                            continue;
                        }
                        let input = noise(&[batch, height, width, from])?;
                        let kernel = noise(&[to, from / groups, kernel_height, kernel_width])?;
                        let output = conv2d(&input, &kernel, options)?;
                        let grad = noise(output.dims())?;
                        let (of_input, of_kernel) =
                            conv2d_gradients(&input, &kernel, options, &grad, InputGradient::Wanted)?;
                        let gradients = vec![of_input.expect("BUG: it was wanted"), of_kernel];
                        let words = format!(
                            "{{\"stride\":[{},{}],\"padding\":[{},{}],\"dilation\":{dilation},\"groups\":{groups}}}",
                            stride.0, stride.1, padding.0, padding.1
                        );
                        cases.add("conv2d", &words, &[&input, &kernel], &grad, Found { output, gradients });
                    }
                }
            }
        }
    }
    Ok(())
}

fn norms(cases: &mut Cases) -> Result<()> {
    for shape in [[1, 1, 2, 1], [3, 5, 4, 7], [2, 4, 4, 64], [4, 9, 9, 130]] {
        let channels = shape[3];
        for (of, name) in [(MomentsOf::Batch, "batch"), (MomentsOf::Running, "running")] {
            for (activation, word) in [
                (Activation::None, "none"),
                (Activation::Relu, "relu"),
                (Activation::HardSwish, "hardswish"),
                (Activation::Silu, "silu"),
            ] {
                for adds in [false, true] {
                    if adds && matches!(activation, Activation::HardSwish | Activation::Silu) {
                        continue;
                    }
                    let (input, added) = ((noise(&shape)? * 2.0)?, noise(&shape)?);
                    let (weight, bias) = (noise(&[channels])?, noise(&[channels])?);
                    let running = Moments { mean: noise(&[channels])?, variance: (noise(&[channels])?.sqr()? + 0.1)? };
                    let found = if of == MomentsOf::Batch { moments(&input)? } else { running.clone() };
                    let inputs = BatchNormInputs {
                        input: input.clone(),
                        moments: (found, of),
                        weight: weight.clone(),
                        bias: bias.clone(),
                        residual: adds.then(|| added.clone()),
                        activation,
                        epsilon: 1e-5,
                    };
                    let output = batch_norm(&inputs)?;
                    let grad = noise(&shape)?;
                    let found = batch_norm_gradients(&inputs, &output, &grad)?;
                    let gradients = [Some(found.input), Some(found.weight), Some(found.bias), found.residual];
                    let gradients = gradients.into_iter().flatten().collect();
                    let words = format!("{{\"moments\":\"{name}\",\"activation\":\"{word}\",\"adds\":{adds}}}");
                    let all = [&input, &weight, &bias, &added, &running.mean, &running.variance];
                    cases.add("batch_norm", &words, &all, &grad, Found { output, gradients });
                }
            }
        }
    }
    for shape in [[1, 1, 1], [2, 3, 7], [3, 50, 192]] {
        let (input, weight, bias) = (noise(&shape)?, noise(&shape[2..])?, noise(&shape[2..])?);
        let output = layer_norm(&input, &weight, &bias, 1e-6)?;
        let grad = noise(&shape)?;
        let (of_input, of_weight, of_bias) = layer_norm_gradients(&input, &weight, 1e-6, &grad)?;
        let found = Found { output, gradients: vec![of_input, of_weight, of_bias] };
        cases.add("layer_norm", "{}", &[&input, &weight, &bias], &grad, found);
    }
    Ok(())
}

fn pools(cases: &mut Cases) -> Result<()> {
    for shape in [[1, 3, 3, 1], [2, 9, 8, 5], [3, 14, 14, 40]] {
        let input = noise(&shape)?;
        for sizes in [(2, 2, 0), (3, 2, 1), (3, 1, 1)] {
            let output = max_pool2d(&input, sizes.0, sizes.1, sizes.2)?;
            let grad = noise(output.dims())?;
            let gradients = vec![max_pool2d_gradient((&input, &output), sizes, &grad)?];
            let words = format!("{{\"kernel\":{},\"stride\":{},\"padding\":{}}}", sizes.0, sizes.1, sizes.2);
            cases.add("max_pool2d", &words, &[&input], &grad, Found { output, gradients });
        }
        let output = mean_of_pixels(&input)?;
        let grad = noise(output.dims())?;
        let gradients = vec![mean_of_pixels_gradient(&shape, &grad)?];
        cases.add("mean_of_pixels", "{}", &[&input], &grad, Found { output, gradients });
        let logits = (noise(&[shape[0], shape[3]])? * 3.0)?;
        let grad = noise(&shape)?;
        for (kind, word) in [(GateKind::HardSigmoid, "hardsigmoid"), (GateKind::Sigmoid, "sigmoid")] {
            let output = gate(&input, &logits, kind)?;
            let (of_input, of_logits) = gate_gradients(&input, &logits, kind, &grad)?;
            let found = Found { output, gradients: vec![of_input, of_logits] };
            cases.add("gate", &format!("{{\"kind\":\"{word}\"}}"), &[&input, &logits], &grad, found);
        }
    }
    Ok(())
}

/// Operations on rows of values.
fn rows(cases: &mut Cases) -> Result<()> {
    for (rows, from, to) in [(1, 1, 1), (5, 7, 3), (64, 200, 130), (300, 384, 1152)] {
        let (input, weight) = (noise(&[rows, from])?, noise(&[to, from])?);
        let output = linear(&input, &weight)?;
        let grad = noise(output.dims())?;
        let (of_input, of_weight) = linear_gradients(&input, &weight, &grad, InputGradient::Wanted)?;
        let gradients = vec![of_input.expect("BUG: it was wanted"), of_weight];
        cases.add("linear", "{}", &[&input, &weight], &grad, Found { output, gradients });

        let bias = noise(&[from])?;
        let grad = noise(&[rows, from])?;
        for (activation, word) in [(Activation::None, "none"), (Activation::Relu, "relu")] {
            let output = add_bias(&input, &bias, activation)?;
            let (of_input, of_bias) = add_bias_gradients(&output, &grad, activation)?;
            let found = Found { output, gradients: vec![of_input, of_bias] };
            cases.add("add_bias", &format!("{{\"activation\":\"{word}\"}}"), &[&input, &bias], &grad, found);
        }
        let (of_input, of_bias) = add_bias_gelu_gradients(&input, &bias, &grad)?;
        let found = Found { output: add_bias_gelu(&input, &bias)?, gradients: vec![of_input, of_bias] };
        cases.add("add_bias_gelu", "{}", &[&input, &bias], &grad, found);
        let wide = (&input * 4.0)?;
        for (activation, word) in [(Activation::HardSwish, "hardswish"), (Activation::Silu, "silu")] {
            let gradients = vec![activate_gradient(&wide, activation, &grad)?];
            let found = Found { output: activate(&wide, activation)?, gradients };
            cases.add("activate", &format!("{{\"activation\":\"{word}\"}}"), &[&wide], &grad, found);
        }
    }
    for (batch, tokens, heads, dim) in [(1, 1, 1, 4), (2, 5, 3, 8), (2, 50, 3, 64)] {
        let qkv = noise(&[batch, tokens, 3 * heads * dim])?;
        let output = attention(&qkv, heads)?;
        let grad = noise(output.dims())?;
        let gradients = vec![attention_gradient(&qkv, heads, &grad)?];
        cases.add("attention", &format!("{{\"heads\":{heads}}}"), &[&qkv], &grad, Found { output, gradients });
    }
    for (count, classes) in [(1, 2), (7, 10), (33, 1000)] {
        for smoothing in [0.0, 0.1] {
            let logits = (noise(&[count, classes])? * 3.0)?;
            let labels: Vec<u32> = (0..count).map(|place| (place * 7 % classes) as u32).collect();
            let labels = Tensor::from_vec(labels, count, &Device::Cpu)?;
            let grad = noise(&[count])?;
            let gradients = vec![cross_entropy_gradient(&logits, &labels, smoothing, &grad)?];
            let found = Found { output: cross_entropy(&logits, &labels, smoothing)?, gradients };
            let labels = labels.to_dtype(candle_core::DType::F32)?;
            let words = format!("{{\"smoothing\":{smoothing}}}");
            cases.add("cross_entropy", &words, &[&logits, &labels], &grad, found);
        }
    }
    Ok(())
}

fn sequences(cases: &mut Cases) -> Result<()> {
    for (batch, length, hidden) in [(1, 1, 1), (3, 5, 7), (30, 20, 128)] {
        let (projected, weight) = (noise(&[batch, length, 4 * hidden])?, (noise(&[4 * hidden, hidden])? * 0.3)?);
        let states = lstm(&projected, &weight)?;
        let grad = noise(&[batch, length, hidden])?;
        let (of_projected, of_weight) = lstm_gradients(&states, &weight, &grad)?;
        let found = Found { output: states.hidden, gradients: vec![of_projected, of_weight] };
        cases.add("lstm", "{}", &[&projected, &weight], &grad, found);

        let table = noise(&[40, hidden])?;
        let numbers: Vec<u32> = (0..batch * length).map(|place| (place * 7 % 40) as u32).collect();
        let numbers = Tensor::from_vec(numbers, (batch, length), &Device::Cpu)?;
        let found =
            Found { output: embedding(&table, &numbers)?, gradients: vec![embedding_gradient(40, &numbers, &grad)?] };
        cases.add("embedding", "{}", &[&table, &numbers.to_dtype(candle_core::DType::F32)?], &grad, found);
    }
    Ok(())
}

/// The parameter after three steps with the same gradient is the output; there is no gradient.
fn optimizers(cases: &mut Cases) -> Result<()> {
    for count in [1, 1000, 40_000] {
        let (parameter, grad) = (noise(&[count])?, noise(&[count])?);
        let adamw = AdamW { learning_rate: 1e-2, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.05 };
        let (var, mut state) = (Var::from_tensor(&parameter)?, AdamW::state(&parameter)?);
        for step in 1..=3 {
            adamw.step(&var, &grad, &mut state, step)?;
        }
        let found = Found { output: var.as_tensor().clone(), gradients: Vec::new() };
        cases.add("adamw", "{}", &[&parameter], &grad, found);
        for (momentum, nesterov) in [(0.0, false), (0.9, false), (0.9, true)] {
            let sgd = Sgd { learning_rate: 1e-2, momentum, nesterov, weight_decay: 0.05 };
            let (var, mut state) = (Var::from_tensor(&parameter)?, Sgd::state(&parameter)?);
            for step in 1..=3 {
                sgd.step(&var, &grad, &mut state, step)?;
            }
            let found = Found { output: var.as_tensor().clone(), gradients: Vec::new() };
            let words = format!("{{\"momentum\":{momentum},\"nesterov\":{nesterov}}}");
            cases.add("sgd", &words, &[&parameter], &grad, found);
        }
    }
    Ok(())
}
