//! The models.

mod resnet;
mod small_cnn;

use crate::Result;
use crate::config::{self, ModelName};
use crate::layers::Mode;
use crate::parameters::Parameters;
use crate::tape::{Tape, Value};
use resnet::ResNet;
use small_cnn::SmallCnn;

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
