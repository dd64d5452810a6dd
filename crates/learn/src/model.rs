//! The models.

use crate::config::{self, ModelName};
use crate::layers::{BatchNorm, Bias, Conv, Linear, Mode, flatten, mean_of_pixels, pool};
use crate::parameters::Parameters;
use crate::tape::{Tape, Value};
use crate::{LearnError, Result};
use assay_kernels::Activation;

/// An image classifier: (batch, size, size, 3) to logits (batch, classes).
pub(crate) enum Model {
    SmallCnn(SmallCnn),
    ResNet(ResNet),
}

impl Model {
    pub(crate) fn new(p: &mut Parameters, config: &config::Model, size: usize, classes: usize) -> Result<Model> {
        let width = |own: usize| if config.width == 0 { own } else { config.width };
        match config.name {
            ModelName::SmallCnn => SmallCnn::new(p, width(32), size, classes).map(Model::SmallCnn),
            ModelName::Resnet18 => ResNet::new(p, width(64), size, classes).map(Model::ResNet),
        }
    }

    pub(crate) fn forward(&self, tape: &mut Tape, input: &Value, mode: Mode) -> Result<Value> {
        match self {
            Model::SmallCnn(model) => model.forward(tape, input),
            Model::ResNet(model) => model.forward(tape, input, mode),
        }
    }
}

/// Two 3x3 convolutions, a 2x2 pool and two linear layers, with the names of PyTorch's MNIST example.
pub(crate) struct SmallCnn {
    conv1: (Conv, Bias),
    conv2: (Conv, Bias),
    fc1: Linear,
    fc2: Linear,
}

impl SmallCnn {
    fn new(p: &mut Parameters, width: usize, size: usize, classes: usize) -> Result<SmallCnn> {
        let pooled = size.saturating_sub(4) / 2;
        if pooled == 0 {
            return Err(LearnError::Data(format!("small-cnn needs images of at least 8x8 pixels, not {size}x{size}")));
        }
        Ok(SmallCnn {
            conv1: Conv::biased(p, "conv1", (3, width), 3)?,
            conv2: Conv::biased(p, "conv2", (width, 2 * width), 3)?,
            fc1: Linear::new(p, "fc1", (2 * width * pooled * pooled, 128))?,
            fc2: Linear::new(p, "fc2", (128, classes))?,
        })
    }

    fn forward(&self, tape: &mut Tape, input: &Value) -> Result<Value> {
        let mut x = input.clone();
        for (conv, bias) in [&self.conv1, &self.conv2] {
            x = conv.forward(tape, &x)?;
            x = bias.forward(tape, &x, Activation::Relu)?;
        }
        let x = pool(tape, &x, (2, 2, 0))?;
        let x = flatten(tape, &x)?;
        let x = self.fc1.forward(tape, &x, Activation::Relu)?;
        self.fc2.forward(tape, &x, Activation::None)
    }
}

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
    fn new(p: &mut Parameters, width: usize, size: usize, classes: usize) -> Result<ResNet> {
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

    fn forward(&self, tape: &mut Tape, input: &Value, mode: Mode) -> Result<Value> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;
    use candle_core::Tensor;

    #[test]
    fn resnet18_has_the_parameters_of_torchvision() {
        let mut p = Parameters::new(0, &Device::Cpu);
        let config = config::Model { name: ModelName::Resnet18, ..config::Model::default() };
        let model = Model::new(&mut p, &config, 224, 1000).unwrap();
        // torchvision.models.resnet18: 62 parameter tensors with 11,689,512 elements.
        assert_eq!(p.iter().count(), 62);
        assert_eq!(p.iter().map(|(_, var)| var.elem_count()).sum::<usize>(), 11_689_512);
        assert!(p.iter().any(|(name, _)| name == "layer4.0.downsample.1.weight"));
        let input = Tensor::zeros((1, 64, 64, 3), candle_core::DType::F32, &Device::Cpu).unwrap();
        let logits = model.forward(&mut Tape::silent(), &Value::input(input), Mode::Infer).unwrap();
        assert_eq!(logits.tensor.dims(), [1, 1000]);
    }

    #[test]
    fn every_image_size_that_is_allowed_works() {
        for size in [8, 9, 28, 64] {
            for name in [ModelName::SmallCnn, ModelName::Resnet18] {
                let mut p = Parameters::new(0, &Device::Cpu);
                let model = Model::new(&mut p, &config::Model { name, width: 4 }, size, 3).unwrap();
                let input = Tensor::ones((2, size, size, 3), candle_core::DType::F32, &Device::Cpu).unwrap();
                let mut tape = Tape::recording();
                let logits = model.forward(&mut tape, &Value::input(input), Mode::Train).unwrap();
                let grads = tape.backward(logits.place, logits.tensor.ones_like().unwrap()).unwrap();
                for (parameter, var) in p.iter() {
                    let shape = grads.get(var).map(|grad| grad.dims().to_vec());
                    assert_eq!(shape.as_deref(), Some(var.dims()), "{name:?} at {size}: {parameter}");
                }
            }
        }
    }
}
