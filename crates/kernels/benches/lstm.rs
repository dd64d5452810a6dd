//! Times optimizer steps of a text classifier on noise and prints them as JSON: `lstm WARMUP STEPS BATCH LENGTH`. The bench
//! commands of the project call it beside a peer.

use assay_kernels::*;
use candle_core::{Device, Result, Tensor, Var};
use std::time::Instant;

#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

const WORDS: usize = 20_000;
const EMBEDDED: usize = 128;
const HIDDEN: usize = 128;
const CLASSES: usize = 10;

/// An embedding, a layer of long short-term memory and a linear layer on its last hidden state.
struct Network {
    table: Var,
    /// What inputs, and what hidden states, say to the gates.
    weights: [Var; 2],
    bias: Var,
    head: Var,
    head_bias: Var,
}

impl Network {
    fn new() -> Result<Network> {
        let var = |shape: &[usize]| Var::from_tensor(&Tensor::randn(0.0f32, 0.1, shape, &Device::Cpu)?);
        Ok(Network {
            table: var(&[WORDS, EMBEDDED])?,
            weights: [var(&[4 * HIDDEN, EMBEDDED])?, var(&[4 * HIDDEN, HIDDEN])?],
            bias: var(&[4 * HIDDEN])?,
            head: var(&[CLASSES, HIDDEN])?,
            head_bias: var(&[CLASSES])?,
        })
    }

    fn parameters(&self) -> [&Var; 6] {
        let [of_input, of_state] = &self.weights;
        [&self.table, of_input, of_state, &self.bias, &self.head, &self.head_bias]
    }

    /// The gradients of the mean loss, in the order of the parameters.
    fn gradients(&self, words: &Tensor, labels: &Tensor) -> Result<[Tensor; 6]> {
        let value = |var: &Var| var.as_tensor().detach();
        let (batch, length) = words.dims2()?;
        let (of_input, of_state, head) = (value(&self.weights[0]), value(&self.weights[1]), value(&self.head));
        let rows = embedding(&value(&self.table), words)?.reshape((batch * length, EMBEDDED))?;
        let said = add_bias(&linear(&rows, &of_input)?, &value(&self.bias), Activation::None)?;
        let states = lstm(&said.reshape((batch, length, 4 * HIDDEN))?, &of_state)?;
        let last = states.hidden.narrow(1, length - 1, 1)?.squeeze(1)?.contiguous()?;
        let logits = add_bias(&linear(&last, &head)?, &value(&self.head_bias), Activation::None)?;
        let losses = cross_entropy(&logits, labels, 0.0)?;
        assert!(losses.mean_all()?.to_scalar::<f32>()?.is_finite());

        let share = Tensor::full(1.0 / batch as f32, batch, &Device::Cpu)?;
        let of_logits = cross_entropy_gradient(&logits, labels, 0.0, &share)?;
        let (of_product, of_head_bias) = add_bias_gradients(&logits, &of_logits, Activation::None)?;
        let (of_last, of_head) = linear_gradients(&last, &head, &of_product, InputGradient::Wanted)?;
        let of_last = of_last.expect("BUG: it was wanted").unsqueeze(1)?;
        let others = Tensor::zeros((batch, length - 1, HIDDEN), candle_core::DType::F32, &Device::Cpu)?;
        let (of_said, of_recurrent) = lstm_gradients(&states, &of_state, &Tensor::cat(&[&others, &of_last], 1)?)?;
        let (of_product, of_bias) = add_bias_gradients(&said, &of_said.reshape(said.dims())?, Activation::None)?;
        let (of_rows, of_weight) = linear_gradients(&rows, &of_input, &of_product, InputGradient::Wanted)?;
        let of_table = embedding_gradient(WORDS, words, &of_rows.expect("BUG: it was wanted"))?;
        Ok([of_table, of_weight, of_recurrent, of_bias, of_head, of_head_bias])
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [warmup, steps, batch, length] = arguments.as_slice() else {
        return Err("usage: lstm WARMUP STEPS BATCH LENGTH".into());
    };
    let (warmup, steps): (usize, usize) = (warmup.parse()?, steps.parse()?);
    let (batch, length): (usize, usize) = (batch.parse()?, length.parse()?);
    let words = (0..batch * length).map(|place| (place * 7919 % WORDS) as u32);
    let words = Tensor::from_iter(words, &Device::Cpu)?.reshape((batch, length))?;
    let labels = Tensor::from_iter((0..batch).map(|place| (place % CLASSES) as u32), &Device::Cpu)?;
    let network = Network::new()?;
    let adamw = AdamW { learning_rate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.01 };
    let mut states = network.parameters().into_iter().map(|var| AdamW::state(var)).collect::<Result<Vec<_>>>()?;
    let mut millis = Vec::new();
    for step in 1..=warmup + steps {
        let begun = Instant::now();
        let gradients = network.gradients(&words, &labels)?;
        for ((parameter, gradient), state) in network.parameters().into_iter().zip(&gradients).zip(&mut states) {
            adamw.step(parameter, gradient, state, step as u64)?;
        }
        millis.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    let mut millis = millis.split_off(warmup);
    millis.sort_by(f64::total_cmp);
    println!("{{\"total\":{},\"peak_mb\":{}}}", millis[millis.len() / 2], peak_memory_mb());
    Ok(())
}

/// The most memory that this process has had, where the system tells.
fn peak_memory_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<f64>().ok()).unwrap_or(f64::NAN) / 1e3
}
