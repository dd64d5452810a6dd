//! EfficientNet-B0 (Tan and Le 2019) with timm's names.

use crate::Result;
use crate::inference::{Inference, Slot};
use crate::layers::{BatchNorm, Conv, ConvNorm, InvertedResidual, Linear, MobileBody, Mode, Squeeze};
use crate::model::Network;
use crate::parameters::Parameters;
use crate::tape::{Tape, Value};
use assay_kernels::{Activation, GateKind};

/// Channels of the first layer; others are scaled with it.
pub(super) const WIDTH: usize = 32;

/// Blocks, kernel, stride of the first, how many times as many channels are inside, channels out (table 1 of the paper).
const STAGES: [(usize, usize, usize, usize, usize); 7] = [
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
];
/// Channels of the last convolution.
const FEATURES: usize = 1280;

pub(crate) struct EfficientNet {
    body: MobileBody,
    classifier: Linear,
}

impl EfficientNet {
    pub(super) fn new(p: &mut Parameters, width: usize, classes: usize) -> Result<EfficientNet> {
        let scaled = |channels: usize| (channels * width / WIDTH).max(4).next_multiple_of(4);
        let stem = conv_norm(p, ["conv_stem", "bn1"], (3, scaled(WIDTH)), (3, 2, 1), Activation::Silu)?;
        let mut from = scaled(WIDTH);
        let mut blocks = Vec::new();
        for (stage, (count, kernel, stride, expansion, to)) in STAGES.into_iter().enumerate() {
            for index in 0..count {
                p.begin_group(blocks.len() + 1);
                let stride = if index == 0 { stride } else { 1 };
                let name = format!("blocks.{stage}.{index}");
                blocks.push(block(p, &name, (from, from * expansion, scaled(to)), (kernel, stride))?);
                from = scaled(to);
            }
        }
        p.begin_group(blocks.len() + 1);
        let features = scaled(FEATURES);
        let last = conv_norm(p, ["conv_head", "bn2"], (from, features), (1, 1, 1), Activation::Silu)?;
        p.begin_group(blocks.len() + 2);
        let classifier = Linear::uniform(p, "classifier", (features, classes), 1.0 / (classes as f64).sqrt())?;
        Ok(EfficientNet { body: MobileBody { stem, blocks, last }, classifier })
    }
}

/// `names` are those of the convolution and of its normalisation, `sizes` kernel, stride and groups.
fn conv_norm(
    p: &mut Parameters,
    names: [&str; 2],
    channels: (usize, usize),
    sizes: (usize, usize, usize),
    activation: Activation,
) -> Result<ConvNorm> {
    let conv = Conv::he_of_part(p, names[0], channels, sizes)?;
    Ok(ConvNorm { conv, norm: BatchNorm::new(p, names[1], channels.1)?, activation })
}

/// `sizes` are the channels that come in, are inside, and go out.
fn block(
    p: &mut Parameters,
    name: &str,
    (from, inside, to): (usize, usize, usize),
    (kernel, stride): (usize, usize),
) -> Result<InvertedResidual> {
    let mut norm = 1..;
    // A convolution with the next normalisation.
    let mut layer = |p: &mut Parameters, conv: &str, channels, sizes, activation| {
        let norm = format!("{name}.bn{}", norm.next().unwrap_or_default());
        conv_norm(p, [&format!("{name}.{conv}"), &norm], channels, sizes, activation)
    };
    let expand = match inside == from {
        true => None,
        false => Some(layer(p, "conv_pw", (from, inside), (1, 1, 1), Activation::Silu)?),
    };
    let depthwise = layer(p, "conv_dw", (inside, inside), (kernel, stride, inside), Activation::Silu)?;
    let names = [&*format!("{name}.se"), "conv_reduce", "conv_expand"];
    let squeeze = Squeeze::new(p, names, (inside, (from / 4).max(1)), Activation::Silu, GateKind::Sigmoid)?;
    let project = if expand.is_some() { "conv_pwl" } else { "conv_pw" };
    let project = layer(p, project, (inside, to), (1, 1, 1), Activation::None)?;
    Ok(InvertedResidual { expand, depthwise, squeeze: Some(squeeze), project, adds: stride == 1 && from == to })
}

impl Network for EfficientNet {
    fn groups(&self) -> usize {
        self.body.groups()
    }

    fn group(&self, number: usize, tape: &mut Tape, input: &Value, mode: Mode) -> Result<Value> {
        self.body.group(number, tape, input, mode)
    }

    fn head(&self) -> &Linear {
        &self.classifier
    }

    fn inference(&self, plan: &mut Inference) -> Result<Slot> {
        self.body.inference(plan)
    }
}
