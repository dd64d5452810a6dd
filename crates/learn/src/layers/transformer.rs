//! Layers of transformers, with the names of timm's vision transformer.

use super::Linear;
use super::linear::Product;
use crate::Result;
use crate::inference::{Inference, Slot};
use crate::parameters::{Begin, Parameters};
use crate::tape::{Tape, Value};
use assay_kernels::{
    Activation, add, add_bias_gelu, add_bias_gelu_gradients, attention, attention_gradient, layer_norm,
    layer_norm_gradients,
};
use candle_core::{Tensor, Var};

/// What keeps the root from zero, as in timm.
const EPSILON: f64 = 1e-6;

/// The deviation of the first values of weights, as in timm.
pub(crate) const DEVIATION: f64 = 0.02;

/// Layer normalisation over the last dimension.
pub(crate) struct LayerNorm {
    name: String,
    weight: Var,
    bias: Var,
}

impl LayerNorm {
    pub(crate) fn new(p: &mut Parameters, name: &str, channels: usize) -> Result<LayerNorm> {
        Ok(LayerNorm {
            name: name.to_owned(),
            weight: p.learned(&format!("{name}.weight"), &[channels], Begin::Constant(1.0))?,
            bias: p.learned(&format!("{name}.bias"), &[channels], Begin::Constant(0.0))?,
        })
    }

    pub(crate) fn inference(&self, plan: &mut Inference, from: Slot) -> Slot {
        plan.layer_norm(self.weight.as_tensor().detach(), self.bias.as_tensor().detach(), EPSILON, from)
    }

    pub(crate) fn forward(&self, tape: &mut Tape, input: &Value) -> Result<Value> {
        tape.enter(&self.name, "layer norm");
        let output =
            layer_norm(&input.tensor, &self.weight.as_tensor().detach(), &self.bias.as_tensor().detach(), EPSILON)?;
        let (weight, bias, seen) = (self.weight.clone(), self.bias.clone(), input.clone());
        tape.push(output, move |grad, gradients| {
            let (of_input, of_weight, of_bias) =
                layer_norm_gradients(&seen.tensor, &weight.as_tensor().detach(), EPSILON, &grad)?;
            gradients.add_to(&weight, of_weight)?;
            gradients.add_to(&bias, of_bias)?;
            gradients.add(seen.place, of_input)
        })
    }
}

/// The sum of two values of one shape.
pub(crate) fn sum(tape: &mut Tape, layer: &str, a: &Value, b: &Value) -> Result<Value> {
    tape.enter(layer, "sum");
    let (of_a, of_b) = (a.place, b.place);
    tape.push(add(&a.tensor, &b.tensor)?, move |grad, gradients| {
        gradients.add(of_a, grad.clone())?;
        gradients.add(of_b, grad)
    })
}

/// Two linear layers with a GELU between them, four times as wide inside.
pub(crate) struct FeedForward {
    name: String,
    fc1: (Product, Var),
    fc2: Linear,
}

impl FeedForward {
    pub(crate) fn new(p: &mut Parameters, name: &str, width: usize) -> Result<FeedForward> {
        let hidden = 4 * width;
        Ok(FeedForward {
            name: name.to_owned(),
            fc1: Linear::normal(p, &format!("{name}.fc1"), (width, hidden), DEVIATION)?.into_parts(),
            fc2: Linear::normal(p, &format!("{name}.fc2"), (hidden, width), DEVIATION)?,
        })
    }

    /// Times a factor for each channel where there are some, and added to `added`.
    pub(crate) fn inference(
        &self,
        plan: &mut Inference,
        from: Slot,
        factors: Option<&Tensor>,
        added: Slot,
    ) -> Result<Slot> {
        let (product, bias) = &self.fc1;
        let hidden = (product.weight(), bias.as_tensor().detach());
        let x = plan.linear_of_pixels(hidden, from, None, Activation::Gelu)?;
        let (mut weight, mut bias) = self.fc2.values();
        if let Some(factors) = factors {
            weight = weight.broadcast_mul(&factors.unsqueeze(1)?)?;
            bias = (bias * factors)?;
        }
        plan.linear_of_pixels((weight, bias), x, Some(added), Activation::None)
    }

    /// (..., width) to the same.
    pub(crate) fn forward(&self, tape: &mut Tape, input: &Value) -> Result<Value> {
        let x = self.fc1.0.forward(tape, input)?;
        let x = gelu(tape, &self.name, &x, &self.fc1.1)?;
        self.fc2.forward(tape, &x, Activation::None)
    }
}

/// A transformer block: tokens see each other, then each is thought over, both around a shortcut.
pub(crate) struct TransformerBlock {
    name: String,
    norm1: LayerNorm,
    qkv: Linear,
    proj: Linear,
    norm2: LayerNorm,
    mlp: FeedForward,
    heads: usize,
}

impl TransformerBlock {
    pub(crate) fn new(p: &mut Parameters, name: &str, width: usize, heads: usize) -> Result<TransformerBlock> {
        let linear =
            |p: &mut Parameters, part: &str, sizes| Linear::normal(p, &format!("{name}.{part}"), sizes, DEVIATION);
        Ok(TransformerBlock {
            name: name.to_owned(),
            norm1: LayerNorm::new(p, &format!("{name}.norm1"), width)?,
            qkv: linear(p, "attn.qkv", (width, 3 * width))?,
            proj: linear(p, "attn.proj", (width, width))?,
            norm2: LayerNorm::new(p, &format!("{name}.norm2"), width)?,
            mlp: FeedForward::new(p, &format!("{name}.mlp"), width)?,
            heads,
        })
    }

    pub(crate) fn inference(&self, plan: &mut Inference, input: Slot) -> Result<Slot> {
        let x = self.norm1.inference(plan, input);
        let x = plan.linear(&self.qkv, x, Activation::None)?;
        let width = self.proj.values().0.dims()[0];
        let x = plan.attention(x, self.heads, width / self.heads);
        let input = plan.linear_of_pixels(self.proj.values(), x, Some(input), Activation::None)?;
        let x = self.norm2.inference(plan, input);
        self.mlp.inference(plan, x, None, input)
    }

    /// (batch, tokens, width) to the same.
    pub(crate) fn forward(&self, tape: &mut Tape, input: &Value) -> Result<Value> {
        let x = self.norm1.forward(tape, input)?;
        let x = self.qkv.forward(tape, &x, Activation::None)?;
        let x = attend(tape, &self.name, &x, self.heads)?;
        let x = self.proj.forward(tape, &x, Activation::None)?;
        let input = sum(tape, &self.name, input, &x)?;
        let x = self.norm2.forward(tape, &input)?;
        let x = self.mlp.forward(tape, &x)?;
        sum(tape, &self.name, &input, &x)
    }
}

fn attend(tape: &mut Tape, layer: &str, qkv: &Value, heads: usize) -> Result<Value> {
    tape.enter(layer, "attention");
    let seen = qkv.clone();
    tape.push(attention(&qkv.tensor, heads)?, move |grad, gradients| {
        gradients.add(seen.place, attention_gradient(&seen.tensor, heads, &grad)?)
    })
}

fn gelu(tape: &mut Tape, layer: &str, input: &Value, bias: &Var) -> Result<Value> {
    tape.enter(layer, "GELU");
    let output = add_bias_gelu(&input.tensor, &bias.as_tensor().detach())?;
    let (seen, bias) = (input.clone(), bias.clone());
    tape.push(output, move |grad, gradients| {
        let (of_input, of_bias) = add_bias_gelu_gradients(&seen.tensor, &bias.as_tensor().detach(), &grad)?;
        gradients.add_to(&bias, of_bias)?;
        gradients.add(seen.place, of_input)
    })
}
