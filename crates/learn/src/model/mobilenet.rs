//! MobileNetV3-Large (Howard et al. 2019) with torchvision's names.

use crate::Result;
use crate::inference::{Inference, Slot};
use crate::layers::{BatchNorm, Conv, ConvNorm, InvertedResidual, Linear, MobileBody, Mode, Squeeze};
use crate::model::Network;
use crate::parameters::Parameters;
use crate::tape::{Tape, Value};
use assay_kernels::{Activation, GateKind};

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
    body: MobileBody,
    hidden: Linear,
    classes: Linear,
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
        let stem = conv_norm(p, "features.0", (3, from), (3, 2, 1), Activation::HardSwish)?;
        let mut blocks = Vec::new();
        for (index, (kernel, inside, to, squeezes, activation, stride)) in (1..).zip(BLOCKS) {
            p.begin_group(index);
            let sizes = (from, scaled(inside), scaled(to));
            let name = format!("features.{index}.block");
            blocks.push(block(p, &name, sizes, (kernel, stride), squeezes, activation)?);
            from = sizes.2;
        }
        p.begin_group(BLOCKS.len() + 1);
        let features = 6 * from;
        let name = format!("features.{}", BLOCKS.len() + 1);
        let last = conv_norm(p, &name, (from, features), (1, 1, 1), Activation::HardSwish)?;
        let hidden = scaled(HIDDEN);
        let inner = Linear::normal(p, "classifier.0", (features, hidden), 0.01)?;
        p.begin_group(BLOCKS.len() + 2);
        let classes = Linear::normal(p, "classifier.3", (hidden, classes), 0.01)?;
        Ok(MobileNet { body: MobileBody { stem, blocks, last }, hidden: inner, classes })
    }
}

impl Network for MobileNet {
    fn groups(&self) -> usize {
        self.body.groups()
    }

    fn group(&self, number: usize, tape: &mut Tape, input: &Value, mode: Mode) -> Result<Value> {
        let x = self.body.group(number, tape, input, mode)?;
        if number + 1 < self.groups() { Ok(x) } else { self.hidden.forward(tape, &x, Activation::HardSwish) }
    }

    fn head(&self) -> &Linear {
        &self.classes
    }

    fn dropout(&self) -> f64 {
        DROPOUT
    }

    fn inference(&self, plan: &mut Inference) -> Result<Slot> {
        let x = self.body.inference(plan)?;
        plan.linear(&self.hidden, x, Activation::HardSwish)
    }
}

fn conv_norm(
    p: &mut Parameters,
    name: &str,
    channels: (usize, usize),
    sizes: (usize, usize, usize),
    activation: Activation,
) -> Result<ConvNorm> {
    let conv = Conv::he_in_groups(p, &format!("{name}.0"), channels, sizes)?;
    Ok(ConvNorm { conv, norm: BatchNorm::of_mobile(p, &format!("{name}.1"), channels.1)?, activation })
}

/// `sizes` are the channels that come in, are inside, and go out.
fn block(
    p: &mut Parameters,
    name: &str,
    (from, inside, to): (usize, usize, usize),
    (kernel, stride): (usize, usize),
    squeezes: bool,
    activation: Activation,
) -> Result<InvertedResidual> {
    let mut part = 0..;
    let mut name = || format!("{name}.{}", part.next().unwrap_or_default());
    let expand = match inside == from {
        true => None,
        false => Some(conv_norm(p, &name(), (from, inside), (1, 1, 1), activation)?),
    };
    let depthwise = conv_norm(p, &name(), (inside, inside), (kernel, stride, inside), activation)?;
    let few = divisible(inside / 4);
    let squeeze = match squeezes {
        true => {
            let names = [&*name(), "fc1", "fc2"];
            Some(Squeeze::new(p, names, (inside, few), Activation::Relu, GateKind::HardSigmoid)?)
        }
        false => None,
    };
    let project = conv_norm(p, &name(), (inside, to), (1, 1, 1), Activation::None)?;
    Ok(InvertedResidual { expand, depthwise, squeeze, project, adds: stride == 1 && from == to })
}
