//! The models.

mod convnext;
mod efficientnet;
mod mobilenet;
mod resnet;
mod small_cnn;
mod vit;

use crate::Result;
use crate::config::{self, ModelName};
use crate::inference::{Inference, Output, Slot};
use crate::layers::{Linear, Mode, dropout};
use crate::parameters::Parameters;
use crate::tape::{Tape, Value};
use assay_kernels::Activation;
use candle_core::Tensor;
use convnext::ConvNext;
use efficientnet::EfficientNet;
use mobilenet::MobileNet;
use resnet::{Depth, ResNet};
use small_cnn::SmallCnn;
use vit::Vit;

/// A network as groups of layers, each reading what the one before it gave, and a linear head.
pub(crate) trait Network: Send + Sync {
    /// How many groups there are; the head is the one after them.
    fn groups(&self) -> usize;
    /// What a group makes of its input. The first reads images, the last gives (batch, features).
    fn group(&self, number: usize, tape: &mut Tape, input: &Value, mode: Mode) -> Result<Value>;
    /// From features to logits.
    fn head(&self) -> &Linear;
    /// The share of features that dropout takes away before the head.
    fn dropout(&self) -> f64 {
        0.0
    }
    /// The way from images to features in a plan of inference.
    fn inference(&self, plan: &mut Inference) -> Result<Slot>;
}

/// An image classifier: (batch, size, size, 3) to logits (batch, classes).
pub(crate) struct Model {
    network: Box<dyn Network>,
    /// The first group that learns; those before it stay as they are, their running statistics too.
    first_learned: usize,
}

impl Model {
    pub(crate) fn new(p: &mut Parameters, config: &config::Model, size: usize, classes: usize) -> Result<Model> {
        let width = |own: usize| if config.width == 0 { own } else { config.width };
        let network: Box<dyn Network> = match config.name {
            ModelName::SmallCnn => Box::new(SmallCnn::new(p, width(32), size, classes)?),
            ModelName::Resnet18 => Box::new(ResNet::new(p, Depth::Of18, width(64), size, classes)?),
            ModelName::Resnet34 => Box::new(ResNet::new(p, Depth::Of34, width(64), size, classes)?),
            ModelName::Resnet50 => Box::new(ResNet::new(p, Depth::Of50, width(64), size, classes)?),
            ModelName::MobilenetV3Large => Box::new(MobileNet::new(p, width(mobilenet::WIDTH), classes)?),
            ModelName::EfficientnetB0 => Box::new(EfficientNet::new(p, width(efficientnet::WIDTH), classes)?),
            ModelName::ConvnextTiny => Box::new(ConvNext::new(p, width(convnext::WIDTH), classes)?),
            ModelName::VitTi16 => Box::new(Vit::new(p, width(192), size, classes)?),
            ModelName::VitS16 => Box::new(Vit::new(p, width(384), size, classes)?),
        };
        let mut model = Model { network, first_learned: 0 };
        if config.frozen == config::Frozen::Backbone {
            model.learn_from(model.groups(), p);
        }
        Ok(model)
    }

    /// How many groups of layers there are before the head.
    pub(crate) fn groups(&self) -> usize {
        self.network.groups()
    }

    /// The first group that learns.
    pub(crate) fn first_learned(&self) -> usize {
        self.first_learned
    }

    /// From now on the groups from this one on learn, and no others.
    pub(crate) fn learn_from(&mut self, group: usize, p: &mut Parameters) {
        self.first_learned = group;
        p.learn_from(group);
    }

    /// From images to logits.
    pub(crate) fn forward(&self, tape: &mut Tape, input: &Value, mode: Mode) -> Result<Value> {
        let features = self.features(tape, input, mode)?;
        self.head(tape, &features, mode)
    }

    /// From images to what the head sees.
    pub(crate) fn features(&self, tape: &mut Tape, input: &Value, mode: Mode) -> Result<Value> {
        let frozen = self.first_learned;
        let input = tape.without_gradients(|tape| self.groups_of(tape, 0..frozen, input.clone(), Mode::Infer))?;
        self.groups_of(tape, frozen..self.groups(), input, mode)
    }

    /// From what the head sees to logits.
    pub(crate) fn head(&self, tape: &mut Tape, features: &Value, mode: Mode) -> Result<Value> {
        let features = match self.network.dropout() {
            0.0 => features.clone(),
            share => dropout(tape, features, mode, share)?,
        };
        self.network.head().forward(tape, &features, Activation::None)
    }

    fn groups_of(
        &self,
        tape: &mut Tape,
        groups: std::ops::Range<usize>,
        mut input: Value,
        mode: Mode,
    ) -> Result<Value> {
        for group in groups {
            input = self.network.group(group, tape, &input, mode)?;
        }
        Ok(input)
    }

    /// Features and logits of images, as the model infers; by the plan, if there is one.
    pub(crate) fn infer(&self, plan: Option<&Inference>, images: Tensor) -> Result<Output> {
        if let Some(plan) = plan {
            return plan.run(images);
        }
        let tape = &mut Tape::silent();
        let features = self.features(tape, &Value::input(images), Mode::Infer)?;
        let logits = self.head(tape, &features, Mode::Infer)?.tensor;
        Ok(Output { features: features.tensor, logits })
    }

    /// Whether training draws random numbers in the model itself.
    pub(crate) fn is_random(&self) -> bool {
        self.network.dropout() > 0.0
    }

    /// The plan by which the model infers on the processor with the weights of now; none elsewhere.
    pub(crate) fn inference(&self) -> Result<Option<Inference>> {
        if !self.network.head().is_on_cpu() {
            return Ok(None);
        }
        let mut plan = Inference::default();
        let features = self.network.inference(&mut plan)?;
        plan.linear(self.network.head(), features, Activation::None)?;
        Ok(Some(plan))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;

    const TRAIN: Mode = Mode::Train { seed: 0, step: 1 };

    #[test]
    fn networks_have_the_parameters_of_torchvision_and_timm() {
        // Parameter tensors, their elements, one of their names.
        let cases = [
            (ModelName::Resnet18, 62, 11_689_512, "layer4.0.downsample.1.weight"),
            (ModelName::Resnet34, 110, 21_797_672, "layer3.5.conv2.weight"),
            (ModelName::VitS16, 152, 22_050_664, "blocks.11.attn.qkv.bias"),
            (ModelName::VitTi16, 152, 5_717_416, "blocks.0.norm1.weight"),
            (ModelName::EfficientnetB0, 213, 5_288_548, "blocks.6.0.se.conv_expand.bias"),
            (ModelName::ConvnextTiny, 182, 28_589_128, "stages.3.downsample.1.weight"),
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
            let size = if matches!(name, ModelName::VitS16 | ModelName::VitTi16) { 224 } else { 64 };
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
            (ModelName::EfficientnetB0, 64),
            (ModelName::ConvnextTiny, 64),
            (ModelName::VitTi16, 48),
        ] {
            let mut p = Parameters::new(0, &Device::Cpu);
            let width = if name == ModelName::VitTi16 { 64 } else { 16 };
            let config = config::Model { name, width, ..config::Model::default() };
            let model = Model::new(&mut p, &config, size, 7).unwrap();
            let pixels = Tensor::randn(0.0f32, 1.0, (3, size, size, 3), &Device::Cpu).unwrap();
            let input = Value::input(pixels.clone());
            // A step of training, so that the running statistics are not those of the beginning.
            model.forward(&mut Tape::silent(), &input, TRAIN).unwrap();
            let right = model.forward(&mut Tape::silent(), &input, Mode::Infer).unwrap().tensor;
            let ours = model.inference().unwrap().unwrap().run(pixels).unwrap().logits;
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
            (ModelName::EfficientnetB0, "classifier."),
        ] {
            let mut p = Parameters::new(0, &Device::Cpu);
            let config = config::Model { name, width: 4, frozen: config::Frozen::Backbone, ..config::Model::default() };
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
            for name in [
                ModelName::SmallCnn,
                ModelName::Resnet18,
                ModelName::Resnet50,
                ModelName::MobilenetV3Large,
                ModelName::EfficientnetB0,
            ] {
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
