//! ConvNeXt-Tiny (Liu et al. 2022) with timm's names.

use crate::Result;
use crate::inference::{Inference, Slot};
use crate::layers::{Bias, Conv, DEVIATION, FeedForward, LayerNorm, Linear, Mode, mean_of_pixels, scale_and_add};
use crate::model::Network;
use crate::parameters::{Begin, Parameters};
use crate::tape::{Tape, Value};
use assay_kernels::Activation;
use candle_core::Var;

/// Channels of the first stage; each has twice as many as the one before.
pub(super) const WIDTH: usize = 96;
/// Blocks of each stage.
const STAGES: [usize; 4] = [3, 3, 9, 3];
/// What a block begins to add of what it computes.
const SCALE: f32 = 1e-6;

pub(crate) struct ConvNext {
    stem: ((Conv, Bias), LayerNorm),
    blocks: Vec<Block>,
    norm: LayerNorm,
    fc: Linear,
}

struct Block {
    name: String,
    /// Half as many pixels, before the first block of a stage.
    downsample: Option<(LayerNorm, (Conv, Bias))>,
    conv_dw: (Conv, Bias),
    norm: LayerNorm,
    mlp: FeedForward,
    gamma: Var,
}

impl ConvNext {
    pub(super) fn new(p: &mut Parameters, width: usize, classes: usize) -> Result<ConvNext> {
        let stem = (conv(p, "stem.0", (3, width), (4, 4, 0, 1))?, LayerNorm::new(p, "stem.1", width)?);
        let mut blocks = Vec::new();
        for (stage, count) in STAGES.into_iter().enumerate() {
            for index in 0..count {
                p.begin_group(blocks.len() + 1);
                let halves = stage > 0 && index == 0;
                blocks.push(Block::new(p, stage, index, (width << stage, halves))?);
            }
        }
        let features = width << (STAGES.len() - 1);
        let norm = LayerNorm::new(p, "head.norm", features)?;
        p.begin_group(blocks.len() + 1);
        let fc = Linear::normal(p, "head.fc", (features, classes), DEVIATION)?;
        Ok(ConvNext { stem, blocks, norm, fc })
    }
}

/// `sizes` are kernel, stride, padding and groups.
fn conv(
    p: &mut Parameters,
    name: &str,
    channels: (usize, usize),
    sizes: (usize, usize, usize, usize),
) -> Result<(Conv, Bias)> {
    Conv::normal(p, name, channels, sizes, DEVIATION)
}

impl Block {
    fn new(p: &mut Parameters, stage: usize, index: usize, (width, halves): (usize, bool)) -> Result<Block> {
        let name = format!("stages.{stage}.blocks.{index}");
        let downsample = match halves {
            true => {
                let part = |number: usize| format!("stages.{stage}.downsample.{number}");
                let norm = LayerNorm::new(p, &part(0), width / 2)?;
                Some((norm, conv(p, &part(1), (width / 2, width), (2, 2, 0, 1))?))
            }
            false => None,
        };
        Ok(Block {
            downsample,
            conv_dw: conv(p, &format!("{name}.conv_dw"), (width, width), (7, 1, 3, width))?,
            norm: LayerNorm::new(p, &format!("{name}.norm"), width)?,
            mlp: FeedForward::new(p, &format!("{name}.mlp"), width)?,
            gamma: p.learned(&format!("{name}.gamma"), &[width], Begin::Constant(SCALE))?,
            name,
        })
    }

    fn inference(&self, plan: &mut Inference, input: Slot) -> Result<Slot> {
        let input = match &self.downsample {
            Some((norm, (conv, bias))) => {
                let x = norm.inference(plan, input);
                plan.conv_bias((conv, bias), x, Activation::None)?
            }
            None => input,
        };
        let (conv, bias) = &self.conv_dw;
        let x = plan.conv_bias((conv, bias), input, Activation::None)?;
        let x = self.norm.inference(plan, x);
        self.mlp.inference(plan, x, Some(self.gamma.as_tensor()), input)
    }

    fn forward(&self, tape: &mut Tape, input: &Value) -> Result<Value> {
        let input = match &self.downsample {
            Some((norm, (conv, bias))) => {
                let x = norm.forward(tape, input)?;
                let x = conv.forward(tape, &x)?;
                bias.forward(tape, &x, Activation::None)?
            }
            None => input.clone(),
        };
        let (conv, bias) = &self.conv_dw;
        let x = conv.forward(tape, &input)?;
        let x = bias.forward(tape, &x, Activation::None)?;
        let x = self.norm.forward(tape, &x)?;
        let x = self.mlp.forward(tape, &x)?;
        scale_and_add(tape, &self.name, &self.gamma, &x, &input)
    }
}

impl Network for ConvNext {
    fn groups(&self) -> usize {
        1 + self.blocks.len()
    }

    fn group(&self, number: usize, tape: &mut Tape, input: &Value, _mode: Mode) -> Result<Value> {
        if number == 0 {
            let ((conv, bias), norm) = &self.stem;
            let x = conv.forward(tape, input)?;
            let x = bias.forward(tape, &x, Activation::None)?;
            return norm.forward(tape, &x);
        }
        let x = self.blocks[number - 1].forward(tape, input)?;
        if number < self.blocks.len() {
            return Ok(x);
        }
        let x = mean_of_pixels(tape, &x)?;
        self.norm.forward(tape, &x)
    }

    fn inference(&self, plan: &mut Inference) -> Result<Slot> {
        let ((conv, bias), norm) = &self.stem;
        let x = plan.conv_bias((conv, bias), Inference::INPUT, Activation::None)?;
        let mut x = norm.inference(plan, x);
        for block in &self.blocks {
            x = block.inference(plan, x)?;
        }
        let x = plan.mean_of_pixels(x);
        Ok(self.norm.inference(plan, x))
    }

    fn head(&self) -> &Linear {
        &self.fc
    }
}
