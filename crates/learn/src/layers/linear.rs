//! Linear layers.

use super::pixels::activate;
use super::wanted;
use crate::Result;
use crate::parameters::{Begin, Parameters};
use crate::tape::{Tape, Value};
use assay_kernels::{Activation, add_bias, add_bias_gradients, linear, linear_gradients};
use candle_core::{Tensor, Var};

/// A bias for each channel, then an activation.
pub(crate) struct Bias {
    name: String,
    values: Var,
}

impl Bias {
    /// Of the layer of this name.
    pub(super) fn of(name: &str, values: Var) -> Bias {
        Bias { name: name.to_owned(), values }
    }

    /// (channels)
    pub(crate) fn values(&self) -> Tensor {
        self.values.as_tensor().detach()
    }

    pub(crate) fn forward(&self, tape: &mut Tape, input: &Value, activation: Activation) -> Result<Value> {
        if !matches!(activation, Activation::None | Activation::Relu) {
            let x = self.forward(tape, input, Activation::None)?;
            return activate(tape, &self.name, &x, activation);
        }
        tape.enter(&self.name, "bias");
        let output = add_bias(&input.tensor, &self.values(), activation)?;
        let (bias, place, kept) = (self.values.clone(), input.place, output.clone());
        tape.push(output, move |grad, gradients| {
            let (of_input, of_bias) = add_bias_gradients(&kept, &grad, activation)?;
            gradients.add_to(&bias, of_bias)?;
            gradients.add(place, of_input)
        })
    }
}

/// The product with a weight. Input (..., in), output (..., out).
pub(crate) struct Product {
    name: String,
    weight: Var,
}

impl Product {
    /// (out, in)
    pub(crate) fn weight(&self) -> Tensor {
        self.weight.as_tensor().detach()
    }

    pub(crate) fn forward(&self, tape: &mut Tape, input: &Value) -> Result<Value> {
        tape.enter(&self.name, "product");
        let mut shape = input.tensor.dims().to_vec();
        let from = shape.pop().unwrap_or_default();
        let rows = input.tensor.reshape(((), from))?;
        let output = linear(&rows, &self.weight.as_tensor().detach())?;
        shape.push(output.dims()[1]);
        let (weight, seen) = (self.weight.clone(), input.clone());
        tape.push(output.reshape(shape)?, move |grad, gradients| {
            let of = weight.as_tensor().detach();
            let grad = grad.reshape(((), of.dims()[0]))?;
            let (of_input, of_weight) = linear_gradients(&rows, &of, &grad, wanted(&seen))?;
            gradients.add_to(&weight, of_weight)?;
            match of_input {
                Some(of_input) => gradients.add(seen.place, of_input.reshape(seen.tensor.dims())?),
                None => Ok(()),
            }
        })
    }
}

/// A linear layer. Input (..., in), output (..., out).
pub(crate) struct Linear {
    weight: Product,
    bias: Bias,
}

impl Linear {
    /// With the first values of `torch.nn.Linear`: uniform within 1 / sqrt(in).
    pub(crate) fn new(p: &mut Parameters, name: &str, sizes: (usize, usize)) -> Result<Linear> {
        let begin = Begin::Uniform(1.0 / (sizes.0 as f64).sqrt());
        Linear::begin(p, name, sizes, (begin, begin))
    }

    /// With first values uniform within the bound, and no bias.
    pub(crate) fn uniform(p: &mut Parameters, name: &str, sizes: (usize, usize), bound: f64) -> Result<Linear> {
        Linear::begin(p, name, sizes, (Begin::Uniform(bound), Begin::Constant(0.0)))
    }

    /// With first values that are normal around 0, and no bias.
    pub(crate) fn normal(p: &mut Parameters, name: &str, sizes: (usize, usize), deviation: f64) -> Result<Linear> {
        Linear::begin(p, name, sizes, (Begin::Normal(deviation), Begin::Constant(0.0)))
    }

    fn begin(
        p: &mut Parameters,
        name: &str,
        (from, to): (usize, usize),
        (weight, bias): (Begin, Begin),
    ) -> Result<Linear> {
        Ok(Linear {
            weight: Product {
                name: name.to_owned(),
                weight: p.learned(&format!("{name}.weight"), &[to, from], weight)?,
            },
            bias: Bias::of(name, p.learned(&format!("{name}.bias"), &[to], bias)?),
        })
    }

    /// The weight, (out, in), and the bias, (out).
    pub(crate) fn values(&self) -> (Tensor, Tensor) {
        (self.weight.weight(), self.bias.values())
    }

    /// Whether its values are on the processor.
    pub(crate) fn is_on_cpu(&self) -> bool {
        self.weight.weight.device().is_cpu()
    }

    /// Product and bias apart, for who goes on with both at once.
    pub(crate) fn into_parts(self) -> (Product, Var) {
        (self.weight, self.bias.values)
    }

    pub(crate) fn forward(&self, tape: &mut Tape, input: &Value, activation: Activation) -> Result<Value> {
        let product = self.weight.forward(tape, input)?;
        self.bias.forward(tape, &product, activation)
    }
}
