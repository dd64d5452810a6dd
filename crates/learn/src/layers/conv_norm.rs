//! A convolution with its normalisation, and what mobile networks make of them.

use super::{BatchNorm, Bias, Conv, Mode, gate, mean_of_pixels, reshaped};
use crate::Result;
use crate::inference::{Inference, Slot};
use crate::parameters::Parameters;
use crate::tape::{Tape, Value};
use assay_kernels::{Activation, GateKind};

/// A convolution, its normalisation and what follows.
pub(crate) struct ConvNorm {
    pub(crate) conv: Conv,
    pub(crate) norm: BatchNorm,
    pub(crate) activation: Activation,
}

impl ConvNorm {
    /// With what is added before the activation, where something is.
    pub(crate) fn forward(&self, tape: &mut Tape, input: &Value, mode: Mode, added: Option<&Value>) -> Result<Value> {
        let x = self.conv.forward(tape, input)?;
        self.norm.forward(tape, &x, mode, added, self.activation)
    }

    pub(crate) fn inference(&self, plan: &mut Inference, from: Slot, added: Option<Slot>) -> Result<Slot> {
        plan.conv_norm((&self.conv, &self.norm), from, added, self.activation)
    }
}

/// Squeeze and excitation (Hu et al. 2018): the mean of all pixels decides how much of each channel goes on.
pub(crate) struct Squeeze {
    name: String,
    reduce: (Conv, Bias),
    expand: (Conv, Bias),
    activation: Activation,
    gate: GateKind,
}

impl Squeeze {
    /// Of `channels`, through `few` of them. The names are those of the block and of its two convolutions.
    pub(crate) fn new(
        p: &mut Parameters,
        [name, reduce, expand]: [&str; 3],
        (channels, few): (usize, usize),
        activation: Activation,
        gate: GateKind,
    ) -> Result<Squeeze> {
        Ok(Squeeze {
            name: name.to_owned(),
            reduce: Conv::he_biased(p, &format!("{name}.{reduce}"), (channels, few))?,
            expand: Conv::he_biased(p, &format!("{name}.{expand}"), (few, channels))?,
            activation,
            gate,
        })
    }

    fn layers(&self) -> [(&(Conv, Bias), Activation); 2] {
        [(&self.reduce, self.activation), (&self.expand, Activation::None)]
    }

    fn forward(&self, tape: &mut Tape, input: &Value) -> Result<Value> {
        let (batch, _, _, channels) = input.tensor.dims4()?;
        let mean = mean_of_pixels(tape, input)?;
        let mut x = reshaped(tape, &mean, &[batch, 1, 1, channels])?;
        for ((conv, bias), activation) in self.layers() {
            x = conv.forward(tape, &x)?;
            x = bias.forward(tape, &x, activation)?;
        }
        let logits = reshaped(tape, &x, &[batch, channels])?;
        gate(tape, &self.name, input, &logits, self.gate)
    }

    fn inference(&self, plan: &mut Inference, input: Slot) -> Result<Slot> {
        let mut x = plan.mean_of_pixels(input);
        for ((conv, bias), activation) in self.layers() {
            x = plan.conv_bias((conv, bias), x, activation)?;
        }
        Ok(plan.gate(input, x, self.gate))
    }
}

/// The channels are made more, each is convolved by itself, weighed by what all pixels have of it, and they are made fewer
/// again (Sandler et al. 2018).
pub(crate) struct InvertedResidual {
    pub(crate) expand: Option<ConvNorm>,
    pub(crate) depthwise: ConvNorm,
    pub(crate) squeeze: Option<Squeeze>,
    pub(crate) project: ConvNorm,
    /// Whether the input is added to what comes out.
    pub(crate) adds: bool,
}

impl InvertedResidual {
    pub(crate) fn forward(&self, tape: &mut Tape, input: &Value, mode: Mode) -> Result<Value> {
        let mut x = input.clone();
        for layer in self.expand.iter().chain([&self.depthwise]) {
            x = layer.forward(tape, &x, mode, None)?;
        }
        if let Some(squeeze) = &self.squeeze {
            x = squeeze.forward(tape, &x)?;
        }
        self.project.forward(tape, &x, mode, self.adds.then_some(input))
    }

    pub(crate) fn inference(&self, plan: &mut Inference, input: Slot) -> Result<Slot> {
        let mut x = input;
        for layer in self.expand.iter().chain([&self.depthwise]) {
            x = layer.inference(plan, x, None)?;
        }
        if let Some(squeeze) = &self.squeeze {
            x = squeeze.inference(plan, x)?;
        }
        self.project.inference(plan, x, self.adds.then_some(input))
    }
}

/// The body of a mobile network: a convolution, blocks, a last convolution and the mean of its pixels, a group each.
pub(crate) struct MobileBody {
    pub(crate) stem: ConvNorm,
    pub(crate) blocks: Vec<InvertedResidual>,
    pub(crate) last: ConvNorm,
}

impl MobileBody {
    pub(crate) fn groups(&self) -> usize {
        2 + self.blocks.len()
    }

    /// The last group gives (batch, features).
    pub(crate) fn group(&self, number: usize, tape: &mut Tape, input: &Value, mode: Mode) -> Result<Value> {
        let Some(number) = number.checked_sub(1) else { return self.stem.forward(tape, input, mode, None) };
        if let Some(block) = self.blocks.get(number) {
            return block.forward(tape, input, mode);
        }
        let x = self.last.forward(tape, input, mode, None)?;
        mean_of_pixels(tape, &x)
    }

    pub(crate) fn inference(&self, plan: &mut Inference) -> Result<Slot> {
        let mut x = self.stem.inference(plan, Inference::INPUT, None)?;
        for block in &self.blocks {
            x = block.inference(plan, x)?;
        }
        let x = self.last.inference(plan, x, None)?;
        Ok(plan.mean_of_pixels(x))
    }
}
