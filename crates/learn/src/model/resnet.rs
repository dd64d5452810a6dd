//! Residual networks.

use crate::Result;
use crate::layers::{BatchNorm, Conv, Linear, Mode, mean_of_pixels, pool};
use crate::parameters::Parameters;
use crate::tape::{Tape, Value};
use assay_kernels::Activation;

/// ResNet-18 (He et al. 2016) with torchvision's names. Images of at most 64 pixels get the stem that is usual for
/// them: a 3x3 convolution and no pooling.
pub(crate) struct ResNet {
    conv1: Conv,
    bn1: BatchNorm,
    pools: bool,
    blocks: Vec<Block>,
    fc: Linear,
}

struct Block {
    conv1: Conv,
    bn1: BatchNorm,
    conv2: Conv,
    bn2: BatchNorm,
    downsample: Option<(Conv, BatchNorm)>,
}

impl ResNet {
    pub(super) fn new(p: &mut Parameters, width: usize, size: usize, classes: usize) -> Result<ResNet> {
        let pools = size > 64;
        let stem = if pools { (7, 2) } else { (3, 1) };
        let mut blocks = Vec::new();
        let mut from = width;
        for layer in 0..4 {
            let to = width << layer;
            for index in 0..2 {
                let stride = if layer > 0 && index == 0 { 2 } else { 1 };
                blocks.push(Block::new(p, &format!("layer{}.{index}", layer + 1), (from, to), stride)?);
                from = to;
            }
        }
        Ok(ResNet {
            conv1: Conv::he(p, "conv1", (3, width), stem)?,
            bn1: BatchNorm::new(p, "bn1", width)?,
            pools,
            blocks,
            fc: Linear::new(p, "fc", (from, classes))?,
        })
    }

    pub(super) fn forward(&self, tape: &mut Tape, input: &Value, mode: Mode) -> Result<Value> {
        let x = self.conv1.forward(tape, input)?;
        let mut x = self.bn1.forward(tape, &x, mode, None, Activation::Relu)?;
        if self.pools {
            x = pool(tape, &x, (3, 2, 1))?;
        }
        for block in &self.blocks {
            x = block.forward(tape, &x, mode)?;
        }
        let x = mean_of_pixels(tape, &x)?;
        self.fc.forward(tape, &x, Activation::None)
    }
}

impl Block {
    fn new(p: &mut Parameters, name: &str, (from, to): (usize, usize), stride: usize) -> Result<Block> {
        let downsample = if stride > 1 || from != to {
            let conv = Conv::he(p, &format!("{name}.downsample.0"), (from, to), (1, stride))?;
            Some((conv, BatchNorm::new(p, &format!("{name}.downsample.1"), to)?))
        } else {
            None
        };
        Ok(Block {
            conv1: Conv::he(p, &format!("{name}.conv1"), (from, to), (3, stride))?,
            bn1: BatchNorm::new(p, &format!("{name}.bn1"), to)?,
            conv2: Conv::he(p, &format!("{name}.conv2"), (to, to), (3, 1))?,
            bn2: BatchNorm::new(p, &format!("{name}.bn2"), to)?,
            downsample,
        })
    }

    fn forward(&self, tape: &mut Tape, input: &Value, mode: Mode) -> Result<Value> {
        let x = self.conv1.forward(tape, input)?;
        let x = self.bn1.forward(tape, &x, mode, None, Activation::Relu)?;
        let x = self.conv2.forward(tape, &x)?;
        let shortcut = match &self.downsample {
            Some((conv, norm)) => {
                let x = conv.forward(tape, input)?;
                norm.forward(tape, &x, mode, None, Activation::None)?
            }
            None => input.clone(),
        };
        self.bn2.forward(tape, &x, mode, Some(&shortcut), Activation::Relu)
    }
}
