//! Residual networks (He et al. 2016) with torchvision's names.

use crate::Result;
use crate::inference::{Inference, Slot};
use crate::layers::{BatchNorm, Conv, Linear, Mode, mean_of_pixels, pool};
use crate::model::Network;
use crate::parameters::Parameters;
use crate::tape::{Tape, Value};
use assay_kernels::Activation;

/// What a network of some depth is made of.
#[derive(Clone, Copy)]
pub(crate) enum Depth {
    /// Two 3x3 convolutions a block: [2, 2, 2, 2] blocks.
    Of18,
    /// The same: [3, 4, 6, 3] blocks.
    Of34,
    /// 1x1, 3x3 and 1x1 convolutions a block, the last four times as wide: [3, 4, 6, 3] blocks.
    Of50,
}

impl Depth {
    fn blocks(self) -> [usize; 4] {
        match self {
            Depth::Of18 => [2, 2, 2, 2],
            Depth::Of34 | Depth::Of50 => [3, 4, 6, 3],
        }
    }

    /// Channels that a block gives for each of its width.
    fn expansion(self) -> usize {
        match self {
            Depth::Of18 | Depth::Of34 => 1,
            Depth::Of50 => 4,
        }
    }
}

/// Images of at most 64 pixels get the stem that is usual for them: a 3x3 convolution and no pooling.
pub(crate) struct ResNet {
    conv1: Conv,
    bn1: BatchNorm,
    pools: bool,
    blocks: Vec<Block>,
    fc: Linear,
}

/// Convolutions, each with its normalisation, around which the input goes.
struct Block {
    convolutions: Vec<(Conv, BatchNorm)>,
    downsample: Option<(Conv, BatchNorm)>,
}

impl ResNet {
    pub(super) fn new(p: &mut Parameters, depth: Depth, width: usize, size: usize, classes: usize) -> Result<ResNet> {
        let pools = size > 64;
        let stem = if pools { (7, 2) } else { (3, 1) };
        let (conv1, bn1) = (Conv::he(p, "conv1", (3, width), stem)?, BatchNorm::new(p, "bn1", width)?);
        let mut blocks = Vec::new();
        let mut from = width;
        for (layer, count) in depth.blocks().into_iter().enumerate() {
            for index in 0..count {
                p.begin_group(blocks.len() + 1);
                let stride = if layer > 0 && index == 0 { 2 } else { 1 };
                let name = format!("layer{}.{index}", layer + 1);
                blocks.push(Block::new(p, &name, depth, (from, width << layer), stride)?);
                from = (width << layer) * depth.expansion();
            }
        }
        p.begin_group(blocks.len() + 1);
        Ok(ResNet { conv1, bn1, pools, blocks, fc: Linear::new(p, "fc", (from, classes))? })
    }
}

impl Network for ResNet {
    fn groups(&self) -> usize {
        1 + self.blocks.len()
    }

    fn group(&self, number: usize, tape: &mut Tape, input: &Value, mode: Mode) -> Result<Value> {
        if number == 0 {
            let x = self.conv1.forward(tape, input)?;
            let x = self.bn1.forward(tape, &x, mode, None, Activation::Relu)?;
            return if self.pools { pool(tape, &x, (3, 2, 1)) } else { Ok(x) };
        }
        let x = self.blocks[number - 1].forward(tape, input, mode)?;
        if number == self.blocks.len() { mean_of_pixels(tape, &x) } else { Ok(x) }
    }

    fn inference(&self, plan: &mut Inference) -> Result<Slot> {
        let mut x = plan.conv_norm((&self.conv1, &self.bn1), Inference::INPUT, None, Activation::Relu)?;
        if self.pools {
            x = plan.max_pool(x, (3, 2, 1));
        }
        for block in &self.blocks {
            x = block.inference(plan, x)?;
        }
        Ok(plan.mean_of_pixels(x))
    }

    fn head(&self) -> &Linear {
        &self.fc
    }
}

impl Block {
    /// `width` is that of its inner convolutions.
    fn new(
        p: &mut Parameters,
        name: &str,
        depth: Depth,
        (from, width): (usize, usize),
        stride: usize,
    ) -> Result<Block> {
        let to = width * depth.expansion();
        // (from, to), (kernel, stride)
        let sizes = match depth {
            Depth::Of18 | Depth::Of34 => vec![((from, width), (3, stride)), ((width, width), (3, 1))],
            Depth::Of50 => vec![((from, width), (1, 1)), ((width, width), (3, stride)), ((width, to), (1, 1))],
        };
        let mut convolutions = Vec::new();
        for (number, (channels, kernel)) in (1..).zip(sizes) {
            let conv = Conv::he(p, &format!("{name}.conv{number}"), channels, kernel)?;
            convolutions.push((conv, BatchNorm::new(p, &format!("{name}.bn{number}"), channels.1)?));
        }
        let downsample = if stride > 1 || from != to {
            let conv = Conv::he(p, &format!("{name}.downsample.0"), (from, to), (1, stride))?;
            Some((conv, BatchNorm::new(p, &format!("{name}.downsample.1"), to)?))
        } else {
            None
        };
        Ok(Block { convolutions, downsample })
    }

    fn inference(&self, plan: &mut Inference, input: Slot) -> Result<Slot> {
        let shortcut = match &self.downsample {
            Some((conv, norm)) => plan.conv_norm((conv, norm), input, None, Activation::None)?,
            None => input,
        };
        let mut x = input;
        for (number, (conv, norm)) in (1..).zip(&self.convolutions) {
            let added = (number == self.convolutions.len()).then_some(shortcut);
            x = plan.conv_norm((conv, norm), x, added, Activation::Relu)?;
        }
        Ok(x)
    }

    fn forward(&self, tape: &mut Tape, input: &Value, mode: Mode) -> Result<Value> {
        let shortcut = match &self.downsample {
            Some((conv, norm)) => {
                let x = conv.forward(tape, input)?;
                norm.forward(tape, &x, mode, None, Activation::None)?
            }
            None => input.clone(),
        };
        let mut x = input.clone();
        for (number, (conv, norm)) in (1..).zip(&self.convolutions) {
            let residual = (number == self.convolutions.len()).then_some(&shortcut);
            x = conv.forward(tape, &x)?;
            x = norm.forward(tape, &x, mode, residual, Activation::Relu)?;
        }
        Ok(x)
    }
}
