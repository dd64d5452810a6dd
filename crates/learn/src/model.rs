//! The models.

mod mobilenet;
mod resnet;
mod small_cnn;
mod vit;

use crate::Result;
use crate::config::{self, ModelName};
use crate::inference::Inference;
use crate::layers::Mode;
use crate::parameters::Parameters;
use crate::tape::{Tape, Value};
use mobilenet::MobileNet;
use resnet::{Depth, ResNet};
use small_cnn::SmallCnn;
use vit::Vit;

/// An image classifier: (batch, size, size, 3) to logits (batch, classes).
pub(crate) struct Model {
    network: Network,
    learned: Learned,
}

enum Network {
    SmallCnn(SmallCnn),
    ResNet(ResNet),
    MobileNet(MobileNet),
    Vit(Vit),
}

/// What learns.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Learned {
    All,
    /// The last layer; what comes before stays as it is, its running statistics too.
    Head,
}

impl Model {
    pub(crate) fn new(p: &mut Parameters, config: &config::Model, size: usize, classes: usize) -> Result<Model> {
        let width = |own: usize| if config.width == 0 { own } else { config.width };
        let mut resnet = |depth| ResNet::new(p, depth, width(64), size, classes).map(Network::ResNet);
        let network = match config.name {
            ModelName::Resnet18 => resnet(Depth::Of18)?,
            ModelName::Resnet34 => resnet(Depth::Of34)?,
            ModelName::Resnet50 => resnet(Depth::Of50)?,
            ModelName::MobilenetV3Large => Network::MobileNet(MobileNet::new(p, width(mobilenet::WIDTH), classes)?),
            ModelName::VitTi16 => Network::Vit(Vit::new(p, width(192), size, classes)?),
            ModelName::VitS16 => Network::Vit(Vit::new(p, width(384), size, classes)?),
            ModelName::SmallCnn => Network::SmallCnn(SmallCnn::new(p, width(32), size, classes)?),
        };
        let learned = match config.frozen {
            config::Frozen::None => Learned::All,
            config::Frozen::Backbone => Learned::Head,
        };
        if learned == Learned::Head {
            let head = match &network {
                Network::SmallCnn(_) => "fc2.",
                Network::ResNet(_) => "fc.",
                Network::MobileNet(_) => "classifier.3.",
                Network::Vit(_) => "head.",
            };
            p.freeze(|name| !name.starts_with(head));
        }
        Ok(Model { network, learned })
    }

    pub(crate) fn forward(&self, tape: &mut Tape, input: &Value, mode: Mode) -> Result<Value> {
        let features = match self.learned {
            Learned::All => self.features(tape, input, mode)?,
            Learned::Head => Value::input(self.features(&mut Tape::silent(), input, Mode::Infer)?.tensor),
        };
        match &self.network {
            Network::SmallCnn(network) => network.head(tape, &features),
            Network::ResNet(network) => network.head(tape, &features),
            Network::MobileNet(network) => network.head(tape, &features, mode),
            Network::Vit(network) => network.head(tape, &features),
        }
    }

    /// Whether training draws random numbers in the model itself.
    pub(crate) fn is_random(&self) -> bool {
        matches!(self.network, Network::MobileNet(_))
    }

    /// The way in which the model infers on the processor; none where it has no quicker one than forward.
    pub(crate) fn inference(&self) -> Result<Option<Inference>> {
        match &self.network {
            Network::SmallCnn(network) => network.inference().map(Some),
            Network::ResNet(network) => network.inference().map(Some),
            Network::MobileNet(network) => network.inference().map(Some),
            Network::Vit(_) => Ok(None),
        }
    }

    /// From images to what the last layer sees.
    fn features(&self, tape: &mut Tape, input: &Value, mode: Mode) -> Result<Value> {
        match &self.network {
            Network::SmallCnn(network) => network.features(tape, input),
            Network::ResNet(network) => network.features(tape, input, mode),
            Network::MobileNet(network) => network.features(tape, input, mode),
            Network::Vit(network) => network.features(tape, input),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;
    use candle_core::Tensor;

    const TRAIN: Mode = Mode::Train { seed: 0, step: 1 };

    #[test]
    fn networks_have_the_parameters_of_torchvision_and_timm() {
        // Parameter tensors, their elements, one of their names.
        let cases = [
            (ModelName::Resnet18, 62, 11_689_512, "layer4.0.downsample.1.weight"),
            (ModelName::Resnet34, 110, 21_797_672, "layer3.5.conv2.weight"),
            (ModelName::VitS16, 152, 22_050_664, "blocks.11.attn.qkv.bias"),
            (ModelName::MobilenetV3Large, 174, 5_483_032, "features.5.block.2.fc1.bias"),
            (ModelName::Resnet50, 161, 25_557_032, "layer1.0.downsample.0.weight"),
        ];
        for (name, tensors, elements, one) in cases {
            let mut p = Parameters::new(0, &Device::Cpu);
            let config = config::Model { name, ..config::Model::default() };
            let model = Model::new(&mut p, &config, 224, 1000).unwrap();
            assert_eq!(p.iter().count(), tensors, "{name:?}");
            assert_eq!(p.iter().map(|(_, var)| var.elem_count()).sum::<usize>(), elements, "{name:?}");
            assert!(p.iter().any(|(name, _)| name == one), "{one}");
            let size = if name == ModelName::VitS16 { 224 } else { 64 };
            let input = Tensor::zeros((1, size, size, 3), candle_core::DType::F32, &Device::Cpu).unwrap();
            let logits = model.forward(&mut Tape::silent(), &Value::input(input), Mode::Infer).unwrap();
            assert_eq!(logits.tensor.dims(), [1, 1000]);
        }
    }

    #[test]
    fn sizes_that_a_vision_transformer_cannot_have_say_which_it_can() {
        let message = |width: usize, size: usize| {
            let mut p = Parameters::new(0, &Device::Cpu);
            let config = config::Model { name: ModelName::VitTi16, width, ..config::Model::default() };
            Model::new(&mut p, &config, size, 3).err().unwrap().to_string()
        };
        assert!(message(0, 100).contains("multiple of 16, not 100"));
        assert!(message(100, 32).contains("multiple of 64, not 100"));
    }

    #[test]
    fn inference_gives_what_forward_gives() {
        for (name, size) in [
            (ModelName::SmallCnn, 13),
            (ModelName::Resnet18, 32),
            (ModelName::Resnet50, 80),
            (ModelName::MobilenetV3Large, 64),
        ] {
            let mut p = Parameters::new(0, &Device::Cpu);
            let config = config::Model { name, width: 16, ..config::Model::default() };
            let model = Model::new(&mut p, &config, size, 7).unwrap();
            let pixels = Tensor::randn(0.0f32, 1.0, (3, size, size, 3), &Device::Cpu).unwrap();
            let input = Value::input(pixels.clone());
            // A step of training, so that the running statistics are not those of the beginning.
            model.forward(&mut Tape::silent(), &input, TRAIN).unwrap();
            let right = model.forward(&mut Tape::silent(), &input, Mode::Infer).unwrap().tensor;
            let ours = model.inference().unwrap().unwrap().logits(pixels).unwrap();
            let size = right.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
            let far = (ours - right).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
            assert!(far <= 1e-4 * size, "{name:?}: {far} of {size}");
        }
    }

    #[test]
    fn of_a_frozen_backbone_only_the_head_learns_and_nothing_else_moves() {
        for (name, head) in [
            (ModelName::SmallCnn, "fc2."),
            (ModelName::Resnet18, "fc."),
            (ModelName::MobilenetV3Large, "classifier.3."),
        ] {
            let mut p = Parameters::new(0, &Device::Cpu);
            let config = config::Model { name, width: 4, frozen: config::Frozen::Backbone };
            let model = Model::new(&mut p, &config, 16, 3).unwrap();
            let before = p.save().unwrap();
            let input = Tensor::ones((2, 16, 16, 3), candle_core::DType::F32, &Device::Cpu).unwrap();
            let mut tape = Tape::recording();
            let logits = model.forward(&mut tape, &Value::input(input), TRAIN).unwrap();
            let grads = tape.backward(logits.place, logits.tensor.ones_like().unwrap()).unwrap();
            assert_eq!(p.iter().count(), 2);
            assert!(p.iter().all(|(name, var)| name.starts_with(head) && grads.get(var).is_some()));
            assert_eq!(p.save().unwrap(), before, "running statistics stay, and everything is saved");
        }
    }

    #[test]
    fn every_image_size_that_is_allowed_works() {
        for size in [8, 9, 28, 64] {
            for name in [ModelName::SmallCnn, ModelName::Resnet18, ModelName::Resnet50, ModelName::MobilenetV3Large] {
                let mut p = Parameters::new(0, &Device::Cpu);
                let model =
                    Model::new(&mut p, &config::Model { name, width: 4, ..config::Model::default() }, size, 3).unwrap();
                let input = Tensor::ones((2, size, size, 3), candle_core::DType::F32, &Device::Cpu).unwrap();
                let mut tape = Tape::recording();
                let logits = model.forward(&mut tape, &Value::input(input), TRAIN).unwrap();
                let grads = tape.backward(logits.place, logits.tensor.ones_like().unwrap()).unwrap();
                for (parameter, var) in p.iter() {
                    let shape = grads.get(var).map(|grad| grad.dims().to_vec());
                    assert_eq!(shape.as_deref(), Some(var.dims()), "{name:?} at {size}: {parameter}");
                }
            }
        }
    }
}
