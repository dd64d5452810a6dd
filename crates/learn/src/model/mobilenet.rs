//! MobileNetV3-Large (Howard et al. 2019) with torchvision's names.

use crate::Result;
use crate::inference::{Inference, Slot};
use crate::layers::{BatchNorm, Bias, Conv, Linear, Mode, dropout, gate, hard_swish, mean_of_pixels, reshaped};
use crate::parameters::Parameters;
use crate::tape::{Tape, Value};
use assay_kernels::Activation;

/// Channels of the first stage; others are scaled with it.
pub(super) const WIDTH: usize = 16;
/// The share of features that dropout takes away.
const DROPOUT: f64 = 0.2;

/// Kernel, channels inside, channels out, whether it squeezes, activation, stride (table 1 of the paper).
const BLOCKS: [(usize, usize, usize, bool, Activation, usize); 15] = [
    (3, 16, 16, false, Activation::Relu, 1),
    (3, 64, 24, false, Activation::Relu, 2),
    (3, 72, 24, false, Activation::Relu, 1),
    (5, 72, 40, true, Activation::Relu, 2),
    (5, 120, 40, true, Activation::Relu, 1),
    (5, 120, 40, true, Activation::Relu, 1),
    (3, 240, 80, false, Activation::HardSwish, 2),
    (3, 200, 80, false, Activation::HardSwish, 1),
    (3, 184, 80, false, Activation::HardSwish, 1),
    (3, 184, 80, false, Activation::HardSwish, 1),
    (3, 480, 112, true, Activation::HardSwish, 1),
    (3, 672, 112, true, Activation::HardSwish, 1),
    (5, 672, 160, true, Activation::HardSwish, 2),
    (5, 960, 160, true, Activation::HardSwish, 1),
    (5, 960, 160, true, Activation::HardSwish, 1),
];
/// Channels of the last hidden layer.
const HIDDEN: usize = 1280;

pub(crate) struct MobileNet {
    stem: ConvNorm,
    blocks: Vec<Block>,
    last: ConvNorm,
    hidden: Linear,
    classes: Linear,
}

/// A convolution, its normalisation and what follows.
struct ConvNorm {
    conv: Conv,
    norm: BatchNorm,
    activation: Activation,
}

/// The channels are made more, each is convolved by itself, weighed by what all pixels have of it, and they are made
/// fewer again.
struct Block {
    expand: Option<ConvNorm>,
    depthwise: ConvNorm,
    squeeze: Option<Squeeze>,
    project: ConvNorm,
    /// Whether the input is added to what comes out.
    adds: bool,
}

/// Squeeze and excitation (Hu et al. 2018).
struct Squeeze {
    fc1: (Conv, Bias),
    fc2: (Conv, Bias),
}

/// The multiple of 8 next to a number, at least 90 % of it.
fn divisible(channels: usize) -> usize {
    let next = ((channels + 4) / 8 * 8).max(8);
    if next * 10 < channels * 9 { next + 8 } else { next }
}

impl MobileNet {
    pub(super) fn new(p: &mut Parameters, width: usize, classes: usize) -> Result<MobileNet> {
        let scaled = |channels: usize| divisible(channels * width / WIDTH);
        let mut from = scaled(WIDTH);
        let stem = ConvNorm::new(p, "features.0", (3, from), (3, 2, 1), Activation::HardSwish)?;
        let mut blocks = Vec::new();
        for (index, (kernel, inside, to, squeezes, activation, stride)) in (1..).zip(BLOCKS) {
            let sizes = (from, scaled(inside), scaled(to));
            let name = format!("features.{index}.block");
            blocks.push(Block::new(p, &name, sizes, (kernel, stride), squeezes, activation)?);
            from = sizes.2;
        }
        let features = 6 * from;
        let name = format!("features.{}", BLOCKS.len() + 1);
        let last = ConvNorm::new(p, &name, (from, features), (1, 1, 1), Activation::HardSwish)?;
        let hidden = scaled(HIDDEN);
        Ok(MobileNet {
            stem,
            blocks,
            last,
            hidden: Linear::normal(p, "classifier.0", (features, hidden), 0.01)?,
            classes: Linear::normal(p, "classifier.3", (hidden, classes), 0.01)?,
        })
    }

    /// From images to (batch, features).
    pub(super) fn features(&self, tape: &mut Tape, input: &Value, mode: Mode) -> Result<Value> {
        let mut x = self.stem.forward(tape, input, mode, None)?;
        for block in &self.blocks {
            x = block.forward(tape, &x, mode)?;
        }
        let x = self.last.forward(tape, &x, mode, None)?;
        let x = mean_of_pixels(tape, &x)?;
        let x = self.hidden.forward(tape, &x, Activation::None)?;
        hard_swish(tape, &x)
    }

    /// From features to logits.
    pub(super) fn head(&self, tape: &mut Tape, features: &Value, mode: Mode) -> Result<Value> {
        let x = dropout(tape, features, mode, DROPOUT)?;
        self.classes.forward(tape, &x, Activation::None)
    }

    pub(super) fn inference(&self) -> Result<Inference> {
        let mut plan = Inference::default();
        let mut x = self.stem.inference(&mut plan, Inference::INPUT, None)?;
        for block in &self.blocks {
            x = block.inference(&mut plan, x)?;
        }
        let x = self.last.inference(&mut plan, x, None)?;
        let x = plan.mean_of_pixels(x);
        let x = plan.linear(&self.hidden, x, Activation::HardSwish)?;
        plan.linear(&self.classes, x, Activation::None)?;
        Ok(plan)
    }
}

impl ConvNorm {
    /// `sizes` are kernel, stride and groups.
    fn new(
        p: &mut Parameters,
        name: &str,
        channels: (usize, usize),
        sizes: (usize, usize, usize),
        activation: Activation,
    ) -> Result<ConvNorm> {
        let conv = Conv::he_in_groups(p, &format!("{name}.0"), channels, sizes)?;
        Ok(ConvNorm { conv, norm: BatchNorm::slow(p, &format!("{name}.1"), channels.1)?, activation })
    }

    fn forward(&self, tape: &mut Tape, input: &Value, mode: Mode, added: Option<&Value>) -> Result<Value> {
        let x = self.conv.forward(tape, input)?;
        self.norm.forward(tape, &x, mode, added, self.activation)
    }

    fn inference(&self, plan: &mut Inference, from: Slot, added: Option<Slot>) -> Result<Slot> {
        plan.conv_norm((&self.conv, &self.norm), from, added, self.activation)
    }
}

impl Block {
    /// `sizes` are the channels that come in, are inside, and go out.
    fn new(
        p: &mut Parameters,
        name: &str,
        (from, inside, to): (usize, usize, usize),
        (kernel, stride): (usize, usize),
        squeezes: bool,
        activation: Activation,
    ) -> Result<Block> {
        let mut part = 0..;
        let mut name = || format!("{name}.{}", part.next().unwrap_or_default());
        let expand = match inside == from {
            true => None,
            false => Some(ConvNorm::new(p, &name(), (from, inside), (1, 1, 1), activation)?),
        };
        let depthwise = ConvNorm::new(p, &name(), (inside, inside), (kernel, stride, inside), activation)?;
        let squeeze = squeezes.then(|| Squeeze::new(p, &name(), inside)).transpose()?;
        let project = ConvNorm::new(p, &name(), (inside, to), (1, 1, 1), Activation::None)?;
        Ok(Block { expand, depthwise, squeeze, project, adds: stride == 1 && from == to })
    }

    fn forward(&self, tape: &mut Tape, input: &Value, mode: Mode) -> Result<Value> {
        let mut x = input.clone();
        for layer in self.expand.iter().chain([&self.depthwise]) {
            x = layer.forward(tape, &x, mode, None)?;
        }
        if let Some(squeeze) = &self.squeeze {
            x = squeeze.forward(tape, &x)?;
        }
        self.project.forward(tape, &x, mode, self.adds.then_some(input))
    }

    fn inference(&self, plan: &mut Inference, input: Slot) -> Result<Slot> {
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

impl Squeeze {
    fn new(p: &mut Parameters, name: &str, channels: usize) -> Result<Squeeze> {
        let few = divisible(channels / 4);
        Ok(Squeeze {
            fc1: Conv::he_biased(p, &format!("{name}.fc1"), (channels, few))?,
            fc2: Conv::he_biased(p, &format!("{name}.fc2"), (few, channels))?,
        })
    }

    fn forward(&self, tape: &mut Tape, input: &Value) -> Result<Value> {
        let (batch, _, _, channels) = input.tensor.dims4()?;
        let mean = mean_of_pixels(tape, input)?;
        let mut x = reshaped(tape, &mean, &[batch, 1, 1, channels])?;
        for ((conv, bias), activation) in [(&self.fc1, Activation::Relu), (&self.fc2, Activation::None)] {
            x = conv.forward(tape, &x)?;
            x = bias.forward(tape, &x, activation)?;
        }
        let logits = reshaped(tape, &x, &[batch, channels])?;
        gate(tape, input, &logits)
    }

    fn inference(&self, plan: &mut Inference, input: Slot) -> Result<Slot> {
        let mut x = plan.mean_of_pixels(input);
        for ((conv, bias), activation) in [(&self.fc1, Activation::Relu), (&self.fc2, Activation::None)] {
            x = plan.conv_bias((conv, bias), x, activation)?;
        }
        Ok(plan.gate(input, x))
    }
}
