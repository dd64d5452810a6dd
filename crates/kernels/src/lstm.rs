//! The long short-term memory over whole sequences. Rows of a batch do not see each other, so that a thread takes a few of
//! them through all their steps.

use crate::buffer::with_values;
use crate::conv2d::InputGradient;
use crate::exponential::{sigmoid, tanh};
use crate::linear::linear_gradients;
use crate::panels::{Padded, panels, transposed_panels};
use crate::tile::{MOST_ROWS, Output, Rows, full_rows};
use candle_core::{D, Result, Tensor, bail};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Sequences that go through their steps together: few, so that there are some for every core.
const BLOCK: usize = 8;

/// What a layer gives, and what its gradients need.
pub struct LstmStates {
    /// The hidden state of each step, (batch, length, hidden).
    pub hidden: Tensor,
    /// The gates of each step, (batch, length, 4 hidden).
    gates: Tensor,
    /// The cell of each step, (batch, length, hidden).
    cells: Tensor,
}

/// A layer of long short-term memory (Hochreiter and Schmidhuber 1997, with forget gates, in the form of
/// `torch.nn.LSTM`), from zero states.
///
/// `projected`, (batch, length, 4 hidden) f32, is what each input has to say to the input, forget, cell and output gates,
/// biases included; `weight`, (4 hidden, hidden) f32, is what the hidden state says to them.
///
/// # Errors
/// When the shapes do not fit together.
pub fn lstm(projected: &Tensor, weight: &Tensor) -> Result<LstmStates> {
    let sizes = Sizes::new(projected, weight)?;
    if !projected.device().is_cpu() {
        let hidden = elsewhere(projected, weight)?;
        // Its gradients are computed anew from what it was given.
        return Ok(LstmStates { cells: hidden.clone(), gates: projected.clone(), hidden });
    }
    let Sizes { batch, length, hidden } = sizes;
    let (gates, cells, states) = with_values([projected, weight], |[projected, weight]| {
        let of_gates = Arch::new().dispatch(Pad(4 * hidden));
        let mut right = Vec::new();
        transposed_panels(weight, 4 * hidden, hidden, hidden, of_gates, &mut right);
        let mut gates = projected.to_vec();
        let mut cells = vec![0.0; batch * length * hidden];
        let mut states = vec![0.0; batch * length * hidden];
        let sequences = BLOCK * length * hidden;
        let blocks = cells.par_chunks_mut(sequences).zip(states.par_chunks_mut(sequences));
        gates.par_chunks_mut(4 * sequences).zip(blocks).for_each(|(gates, (cells, states))| {
            Arch::new().dispatch(Forward { sizes, right: &right, of_gates, gates, cells, states });
        });
        Ok((gates, cells, states))
    })?;
    let tensor = |values: Vec<f32>, width: usize| Tensor::from_vec(values, (batch, length, width), projected.device());
    Ok(LstmStates { hidden: tensor(states, hidden)?, gates: tensor(gates, 4 * hidden)?, cells: tensor(cells, hidden)? })
}

/// The gradients of what the inputs had to say and of the weight for the gradient `grad` of all hidden states.
///
/// # Errors
/// When the shapes do not fit together.
pub fn lstm_gradients(states: &LstmStates, weight: &Tensor, grad: &Tensor) -> Result<(Tensor, Tensor)> {
    let sizes = Sizes::new(&states.gates, weight)?;
    let Sizes { batch, length, hidden } = sizes;
    if grad.dims() != [batch, length, hidden] {
        bail!("lstm: a gradient {:?} does not fit states {:?}", grad.dims(), states.hidden.dims());
    }
    if !grad.device().is_cpu() {
        let [of_projected, of_weight] =
            crate::elsewhere::gradients([&states.gates, weight], grad, |[projected, weight]| {
                elsewhere(projected, weight)
            })?;
        return Ok((of_projected, of_weight));
    }
    let of_gates = with_values([&states.gates, &states.cells, weight, grad], |[gates, cells, weight, grad]| {
        let of_hidden = Arch::new().dispatch(Pad(hidden));
        let mut right = Vec::new();
        let mut padded = vec![0.0; 4 * hidden * of_hidden.whole];
        for (to, from) in padded.chunks_exact_mut(of_hidden.whole).zip(weight.chunks_exact(hidden)) {
            to[..hidden].copy_from_slice(from);
        }
        panels(&padded, 4 * hidden, of_hidden, &mut right);
        let mut of_gates = vec![0.0; gates.len()];
        let sequences = BLOCK * length * hidden;
        let inputs = gates.par_chunks(4 * sequences).zip(cells.par_chunks(sequences)).zip(grad.par_chunks(sequences));
        of_gates.par_chunks_mut(4 * sequences).zip(inputs).for_each(|(out, ((gates, cells), grad))| {
            Arch::new().dispatch(Back { sizes, right: &right, of_hidden, gates, cells, grad, out });
        });
        Ok(of_gates)
    })?;
    let of_gates = Tensor::from_vec(of_gates, states.gates.shape(), grad.device())?;
    // Each step but the first saw the hidden state of the step before it.
    let of_weight = match length {
        1 => weight.zeros_like()?,
        _ => {
            let seen = states.hidden.narrow(1, 0, length - 1)?.contiguous()?.reshape(((), hidden))?;
            let grad = of_gates.narrow(1, 1, length - 1)?.contiguous()?.reshape(((), 4 * hidden))?;
            linear_gradients(&seen, weight, &grad, InputGradient::Unwanted)?.1
        }
    };
    Ok((of_gates, of_weight))
}

/// The hidden states by step; candle-nn's layer would project the inputs itself.
fn elsewhere(projected: &Tensor, weight: &Tensor) -> Result<Tensor> {
    use candle_nn::ops::sigmoid;
    let Sizes { batch, length, hidden } = Sizes::new(projected, weight)?;
    let mut state = Tensor::zeros((batch, hidden), projected.dtype(), projected.device())?;
    let mut cell = state.clone();
    let mut states = Vec::with_capacity(length);
    for step in 0..length {
        let gates = (projected.narrow(1, step, 1)?.squeeze(1)? + state.matmul(&weight.t()?)?)?;
        let gate = |number: usize| gates.narrow(D::Minus1, number * hidden, hidden);
        cell = ((sigmoid(&gate(1)?)? * cell)? + (sigmoid(&gate(0)?)? * gate(2)?.tanh()?)?)?;
        state = (sigmoid(&gate(3)?)? * cell.tanh()?)?;
        states.push(state.clone());
    }
    Tensor::stack(&states, 1)
}

#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    length: usize,
    hidden: usize,
}

impl Sizes {
    fn new(projected: &Tensor, weight: &Tensor) -> Result<Sizes> {
        let ((batch, length, gates), (rows, hidden)) = (projected.dims3()?, weight.dims2()?);
        if rows != gates || gates != 4 * hidden || batch * length * hidden == 0 {
            bail!("lstm: a weight {:?} does not fit {:?}", weight.dims(), projected.dims());
        }
        Ok(Sizes { batch, length, hidden })
    }
}

/// Asks how columns are cut on this processor.
struct Pad(usize);

impl WithSimd for Pad {
    type Output = Padded;

    fn with_simd<S: Simd>(self, _: S) -> Padded {
        Padded::new::<S>(self.0)
    }
}

/// A few sequences forward.
struct Forward<'a> {
    sizes: Sizes,
    /// The transpose of the weight, in panels.
    right: &'a [f32],
    of_gates: Padded,
    /// What the inputs have to say; then the gates.
    gates: &'a mut [f32],
    cells: &'a mut [f32],
    states: &'a mut [f32],
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Forward { sizes: Sizes { length, hidden, .. }, right, of_gates, gates, cells, states } = self;
        let sequences = cells.len() / (length * hidden);
        for step in 0..length {
            if step > 0 {
                let left = Left { values: states, first: (step - 1) * hidden, row: length * hidden, depth: hidden };
                add_product(simd, left, sequences, right, of_gates, (gates, step * 4 * hidden, 4 * hidden * length));
            }
            for sequence in 0..sequences {
                let place = sequence * length + step;
                let gates = &mut gates[place * 4 * hidden..][..4 * hidden];
                let (before, cells) = cells.split_at_mut(place * hidden);
                let before = (step > 0).then(|| &before[(place - 1) * hidden..]);
                decide(gates, before, &mut cells[..hidden], &mut states[place * hidden..][..hidden]);
            }
        }
    }
}

/// One step of one sequence: gates, the new cell and the new hidden state.
#[inline(always)]
fn decide(gates: &mut [f32], before: Option<&[f32]>, cells: &mut [f32], states: &mut [f32]) {
    let hidden = cells.len();
    let (input, rest) = gates.split_at_mut(hidden);
    let (forget, rest) = rest.split_at_mut(hidden);
    let (new, output) = rest.split_at_mut(hidden);
    input.iter_mut().for_each(|value| *value = sigmoid(*value));
    forget.iter_mut().for_each(|value| *value = sigmoid(*value));
    new.iter_mut().for_each(|value| *value = tanh(*value));
    output.iter_mut().for_each(|value| *value = sigmoid(*value));
    for ((cell, input), new) in cells.iter_mut().zip(&*input).zip(&*new) {
        *cell = input * new;
    }
    if let Some(before) = before {
        for ((cell, forget), before) in cells.iter_mut().zip(&*forget).zip(before) {
            *cell += forget * before;
        }
    }
    for ((state, output), cell) in states.iter_mut().zip(&*output).zip(&*cells) {
        *state = output * tanh(*cell);
    }
}

/// The same sequences back.
struct Back<'a> {
    sizes: Sizes,
    /// The weight in panels.
    right: &'a [f32],
    of_hidden: Padded,
    gates: &'a [f32],
    cells: &'a [f32],
    grad: &'a [f32],
    /// The gradient of what the gates were given.
    out: &'a mut [f32],
}

impl WithSimd for Back<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Back { sizes: Sizes { length, hidden, .. }, right, of_hidden, gates, cells, grad, out } = self;
        let sequences = cells.len() / (length * hidden);
        let mut of_states = vec![0.0; sequences * hidden];
        let mut of_cells = vec![0.0; sequences * hidden];
        for step in (0..length).rev() {
            for sequence in 0..sequences {
                let place = sequence * length + step;
                let of_state = &mut of_states[sequence * hidden..][..hidden];
                let grad = &grad[place * hidden..][..hidden];
                of_state.iter_mut().zip(grad).for_each(|(sum, grad)| *sum += grad);
                let before = (step > 0).then(|| &cells[(place - 1) * hidden..][..hidden]);
                let of_cell = &mut of_cells[sequence * hidden..][..hidden];
                let (gates, out) = (&gates[place * 4 * hidden..][..4 * hidden], &mut out[place * 4 * hidden..]);
                differentiate(gates, before, &cells[place * hidden..][..hidden], of_state, of_cell, out);
            }
            if step > 0 {
                of_states.fill(0.0);
                let left = Left { values: out, first: step * 4 * hidden, row: length * 4 * hidden, depth: 4 * hidden };
                add_product(simd, left, sequences, right, of_hidden, (&mut of_states, 0, hidden));
            }
        }
    }
}

/// One step of one sequence back: the gradient of what its gates were given, and of the cell before it.
#[inline(always)]
fn differentiate(
    gates: &[f32],
    before: Option<&[f32]>,
    cells: &[f32],
    of_states: &[f32],
    of_cells: &mut [f32],
    out: &mut [f32],
) {
    let hidden = cells.len();
    let gate = |number: usize| &gates[number * hidden..][..hidden];
    let (of_input, rest) = out.split_at_mut(hidden);
    let (of_forget, rest) = rest.split_at_mut(hidden);
    let (of_new, rest) = rest.split_at_mut(hidden);
    let of_output = &mut rest[..hidden];
    let values = of_cells.iter_mut().zip(of_output).zip(of_states).zip(cells).zip(gate(3));
    for ((((of_cell, of_output), of_state), cell), output) in values {
        let outward = tanh(*cell);
        *of_output = of_state * outward * output * (1.0 - output);
        *of_cell += of_state * output * (1.0 - outward * outward);
    }
    let values = of_input.iter_mut().zip(of_new).zip(gate(0)).zip(gate(2)).zip(&*of_cells);
    for ((((of_input, of_new), input), new), of_cell) in values {
        *of_input = of_cell * new * input * (1.0 - input);
        *of_new = of_cell * input * (1.0 - new * new);
    }
    match before {
        Some(before) => {
            let values = of_forget.iter_mut().zip(of_cells).zip(gate(1)).zip(before);
            for (((of_forget, of_cell), forget), before) in values {
                *of_forget = *of_cell * before * forget * (1.0 - forget);
                *of_cell *= forget;
            }
        }
        None => of_forget.fill(0.0),
    }
}

/// Rows of the left side of a product, each `row` after the one before.
struct Left<'a> {
    values: &'a [f32],
    first: usize,
    row: usize,
    depth: usize,
}

/// Adds the product of a few rows with panels to rows of `out`, which begin at a place and lie so far apart. They are as
/// wide as the columns of the panels, without what pads them, or as far as the next row.
#[inline(always)]
fn add_product<S: Simd>(
    simd: S,
    left: Left<'_>,
    rows: usize,
    panels: &[f32],
    columns: Padded,
    (out, begin, apart): (&mut [f32], usize, usize),
) {
    let Left { values, first, row, depth } = left;
    let kept = columns.columns;
    assert!(values.len() >= first + (rows - 1) * row + depth && panels.len() == depth * columns.whole);
    assert!(out.len() >= begin + (rows - 1) * apart + kept);
    let most = full_rows(S::REGISTER_COUNT).min(MOST_ROWS);
    let (mut of_left, mut of_out) = ([0; MOST_ROWS], [0; MOST_ROWS]);
    for place in (0..rows).step_by(most) {
        let now = most.min(rows - place);
        for index in 0..now {
            of_left[index] = first + (place + index) * row;
            of_out[index] = begin + (place + index) * apart;
        }
        for (number, panel) in panels.chunks_exact(depth * columns.width).enumerate() {
            let tile = Rows {
                a: values.as_ptr(),
                taps: &[0],
                depth,
                panel: panel.as_ptr(),
                vectors: columns.width / S::F32_LANES,
                // Safety: the first column of a panel is one that is kept.
                out: unsafe { out.as_mut_ptr().add(number * columns.width) },
                columns: columns.width.min(kept - number * columns.width),
                output: Output::Add,
            };
            // Safety: the lengths were asserted.
            unsafe { tile.tile(simd, &of_left[..now], &of_out[..now]) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::{assert_close, differences, noise, threads_agree};

    #[test]
    fn forward_and_gradients_agree_with_the_definition() -> Result<()> {
        for (batch, length, hidden) in [(1, 1, 1), (2, 3, 5), (14, 2, 9)] {
            let projected = noise(&[batch, length, 4 * hidden], 1).affine(2.0, 0.0)?;
            let weight = noise(&[4 * hidden, hidden], 2);
            let grad = noise(&[batch, length, hidden], 3);
            let defined = |inputs: &[Vec<f64>]| -> Vec<f64> {
                let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
                let mut states = vec![0.0; batch * length * hidden];
                for row in 0..batch {
                    let mut cells = vec![0.0; hidden];
                    for step in 0..length {
                        let place = row * length + step;
                        let gate = |gate: usize, unit: usize, states: &[f64]| -> f64 {
                            let from = gate * hidden + unit;
                            let before =
                                |other: usize| if step == 0 { 0.0 } else { states[(place - 1) * hidden + other] };
                            let said = (0..hidden).map(|other| inputs[1][from * hidden + other] * before(other));
                            inputs[0][place * 4 * hidden + from] + said.sum::<f64>()
                        };
                        let new: Vec<(f64, f64)> = (0..hidden)
                            .map(|unit| {
                                let [input, forget, new, output] = [0, 1, 2, 3].map(|g| gate(g, unit, &states));
                                let cell = sigmoid(forget) * cells[unit] + sigmoid(input) * new.tanh();
                                (cell, sigmoid(output) * cell.tanh())
                            })
                            .collect();
                        for (unit, (cell, state)) in new.into_iter().enumerate() {
                            cells[unit] = cell;
                            states[place * hidden + unit] = state;
                        }
                    }
                }
                states
            };
            let (output, gradients) = differences(&[&projected, &weight], &grad, defined)?;
            let states = lstm(&projected, &weight)?;
            assert_close("hidden states", &states.hidden, &output, 1e-6);
            assert_close("on another device", &elsewhere(&projected, &weight)?, &output, 1e-6);
            let (of_projected, of_weight) = lstm_gradients(&states, &weight, &grad)?;
            assert_close("gradient of the inputs", &of_projected, &gradients[0], 1e-5);
            assert_close("gradient of the weight", &of_weight, &gradients[1], 1e-5);
        }
        Ok(())
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let (projected, weight) = (noise(&[50, 6, 4 * 40], 1), noise(&[4 * 40, 40], 2));
        threads_agree(|| {
            let states = lstm(&projected, &weight).unwrap();
            let (of_projected, of_weight) = lstm_gradients(&states, &weight, &states.hidden).unwrap();
            vec![states.hidden, of_projected, of_weight]
        });
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() {
        assert!(lstm(&noise(&[2, 3, 8], 1), &noise(&[8, 3], 1)).is_err());
        let weight = noise(&[8, 2], 1);
        let states = lstm(&noise(&[2, 3, 8], 1), &weight).unwrap();
        assert!(lstm_gradients(&states, &weight, &noise(&[2, 3, 3], 1)).is_err());
    }
}
