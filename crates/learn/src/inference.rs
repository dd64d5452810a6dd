//! How a trained model infers on the processor: its layers one after the other, with each batch normalisation folded into
//! the convolution before it, kernels laid out once, and nothing kept for gradients.

use crate::Result;
use crate::layers::{BatchNorm, Bias, Conv, Linear};
use assay_kernels::{
    Activation, Conv2dOptions, GateKind, PreparedConv2d, QuantizedConv2d, attention, channels_first, gate, layer_norm,
    max_pool2d, mean_of_pixels,
};
use candle_core::Tensor;
use std::sync::Arc;

/// A value on the way, by the step that made it; the first is the input.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot(usize);

impl Slot {
    /// How many came before it.
    pub(crate) fn number(self) -> usize {
        self.0
    }
}

/// A convolution with weights of 32 or of 8 bits.
pub(crate) enum Convolution {
    Full(PreparedConv2d),
    Quantized(QuantizedConv2d),
}

impl Convolution {
    fn forward(&self, input: &Tensor, added: Option<&Tensor>, activation: Activation) -> Result<Tensor> {
        Ok(match self {
            Convolution::Full(convolution) => convolution.forward(input, added, activation)?,
            Convolution::Quantized(convolution) => convolution.forward(input, added, activation)?,
        })
    }

    /// Bytes of its weights.
    fn bytes(&self) -> usize {
        match self {
            Convolution::Full(convolution) => size_of_val(convolution.kernel().0),
            Convolution::Quantized(convolution) => convolution.bytes(),
        }
    }
}

/// A layer; it reads slots and writes the next one.
#[derive(Clone)]
pub(crate) enum Step {
    /// Of images, or of rows as images of one pixel.
    Conv { convolution: Arc<Convolution>, from: Slot, added: Option<Slot>, activation: Activation },
    /// The maximum of each window of (kernel, stride, padding).
    MaxPool { from: Slot, sizes: (usize, usize, usize) },
    /// (batch, height, width, channels) to (batch, 1, 1, channels).
    MeanOfPixels { from: Slot },
    /// (batch, height, width, channels) to (batch, 1, 1, values), channel by channel.
    Flatten { from: Slot },
    /// Each channel of each image times the share that its logit, (batch, 1, 1, channels), becomes.
    Gate { from: Slot, logits: Slot, kind: GateKind },
    /// Each pixel by its own mean and variance, (channels) weights and biases.
    LayerNorm { from: Slot, weight: Tensor, bias: Tensor, epsilon: f64 },
    /// (batch, height, width, channels) to (batch, 1 + pixels, 1, channels): the class token first, and to each where it
    /// lies; (1, 1, channels) and (1, 1 + pixels, channels).
    Tokens { from: Slot, class: Tensor, places: Tensor },
    /// Of queries, keys and values, (batch, tokens, 1, 3 heads dim), to (batch, tokens, 1, heads dim).
    Attention { from: Slot, heads: usize, dim: usize },
    /// (batch, tokens, 1, channels) to the first token, (batch, 1, 1, channels).
    FirstToken { from: Slot },
}

impl Step {
    fn reads(&self) -> [Option<Slot>; 2] {
        match self {
            Step::Conv { from, added, .. } => [Some(*from), *added],
            Step::Gate { from, logits, .. } => [Some(*from), Some(*logits)],
            Step::MaxPool { from, .. }
            | Step::MeanOfPixels { from }
            | Step::Flatten { from }
            | Step::LayerNorm { from, .. }
            | Step::Tokens { from, .. }
            | Step::Attention { from, .. }
            | Step::FirstToken { from } => [Some(*from), None],
        }
    }
}

/// All layers of a model. It can be shared among threads.
#[derive(Default)]
pub(crate) struct Inference {
    steps: Vec<Step>,
}

fn full(convolution: PreparedConv2d) -> Arc<Convolution> {
    Arc::new(Convolution::Full(convolution))
}

/// What a model gives.
pub(crate) struct Output {
    /// What the last layer sees, (batch, features).
    pub(crate) features: Tensor,
    /// (batch, classes)
    pub(crate) logits: Tensor,
}

impl Inference {
    /// Where the images are.
    pub(crate) const INPUT: Slot = Slot(0);

    /// All layers, in order.
    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The same with weights of eight bits, but for those that see the images themselves, the head, and channels by
    /// themselves: the first two decide most, and the last have few weights.
    pub(crate) fn quantized(&self) -> Result<Inference> {
        let last = self.steps.len().saturating_sub(1);
        let quantized = |(number, step): (usize, &Step)| {
            let Step::Conv { convolution, from, added, activation } = step else { return Ok(step.clone()) };
            let Convolution::Full(of) = convolution.as_ref() else { return Ok(step.clone()) };
            if number == last || *from == Inference::INPUT || of.options().groups > 1 {
                return Ok(step.clone());
            }
            let convolution = QuantizedConv2d::new(of.kernel(), of.bias(), of.options())?;
            let convolution = Arc::new(Convolution::Quantized(convolution));
            Ok(Step::Conv { convolution, from: *from, added: *added, activation: *activation })
        };
        Ok(Inference { steps: self.steps.iter().enumerate().map(quantized).collect::<Result<_>>()? })
    }

    /// Bytes of all weights of convolutions and linear layers.
    pub(crate) fn bytes(&self) -> usize {
        let of_step = |step: &Step| match step {
            Step::Conv { convolution, .. } => convolution.bytes(),
            _ => 0,
        };
        self.steps.iter().map(of_step).sum()
    }

    fn push(&mut self, step: Step) -> Slot {
        self.steps.push(step);
        Slot(self.steps.len())
    }

    /// A convolution and the normalisation that follows it.
    pub(crate) fn conv_norm(
        &mut self,
        (conv, norm): (&Conv, &BatchNorm),
        from: Slot,
        added: Option<Slot>,
        activation: Activation,
    ) -> Result<Slot> {
        let (scale, shift) = norm.scale_and_shift()?;
        let kernel = conv.weight().broadcast_mul(&scale.reshape(((), 1, 1, 1))?)?;
        let convolution = full(PreparedConv2d::new(&kernel, &shift, conv.options())?);
        Ok(self.push(Step::Conv { convolution, from, added, activation }))
    }

    /// A convolution with a bias.
    pub(crate) fn conv_bias(
        &mut self,
        (conv, bias): (&Conv, &Bias),
        from: Slot,
        activation: Activation,
    ) -> Result<Slot> {
        let convolution = full(PreparedConv2d::new(&conv.weight(), &bias.values(), conv.options())?);
        Ok(self.push(Step::Conv { convolution, from, added: None, activation }))
    }

    /// A linear layer on the channels of each pixel.
    pub(crate) fn linear(&mut self, linear: &Linear, from: Slot, activation: Activation) -> Result<Slot> {
        self.linear_of_pixels(linear.values(), from, None, activation)
    }

    /// A linear layer of a weight, (out, in), and a bias, (out), on the channels of each pixel, and something added.
    pub(crate) fn linear_of_pixels(
        &mut self,
        (weight, bias): (Tensor, Tensor),
        from: Slot,
        added: Option<Slot>,
        activation: Activation,
    ) -> Result<Slot> {
        let (to, count) = weight.dims2()?;
        let kernel = weight.reshape((to, count, 1, 1))?;
        let convolution = full(PreparedConv2d::new(&kernel, &bias, Conv2dOptions::default())?);
        Ok(self.push(Step::Conv { convolution, from, added, activation }))
    }

    /// Each pixel by its own mean and variance.
    pub(crate) fn layer_norm(&mut self, weight: Tensor, bias: Tensor, epsilon: f64, from: Slot) -> Slot {
        self.push(Step::LayerNorm { from, weight, bias, epsilon })
    }

    /// Pixels as tokens behind a class token, each with where it lies.
    pub(crate) fn tokens(&mut self, from: Slot, class: Tensor, places: Tensor) -> Slot {
        self.push(Step::Tokens { from, class, places })
    }

    /// Attention of queries, keys and values.
    pub(crate) fn attention(&mut self, from: Slot, heads: usize, dim: usize) -> Slot {
        self.push(Step::Attention { from, heads, dim })
    }

    /// The first token.
    pub(crate) fn first_token(&mut self, from: Slot) -> Slot {
        self.push(Step::FirstToken { from })
    }

    /// The maximum of each window of (kernel, stride, padding).
    pub(crate) fn max_pool(&mut self, from: Slot, sizes: (usize, usize, usize)) -> Slot {
        self.push(Step::MaxPool { from, sizes })
    }

    /// The mean over all pixels.
    pub(crate) fn mean_of_pixels(&mut self, from: Slot) -> Slot {
        self.push(Step::MeanOfPixels { from })
    }

    /// All values of an image in one row.
    pub(crate) fn flatten(&mut self, from: Slot) -> Slot {
        self.push(Step::Flatten { from })
    }

    /// Each channel of each image times the share that its logit becomes.
    pub(crate) fn gate(&mut self, from: Slot, logits: Slot, kind: GateKind) -> Slot {
        self.push(Step::Gate { from, logits, kind })
    }

    /// What comes of images (batch, size, size, 3).
    pub(crate) fn run(&self, images: Tensor) -> Result<Output> {
        let mut slots = vec![Some(images)];
        let mut features = None;
        for (number, step) in self.steps.iter().enumerate() {
            let read = |slot: Slot| slots[slot.0].as_ref().expect("BUG: a slot is kept until its last reader");
            let output = match step {
                Step::Conv { convolution, from, added, activation } => {
                    convolution.forward(read(*from), added.map(read), *activation)?
                }
                Step::Gate { from, logits, kind } => gate(read(*from), &read(*logits).squeeze(1)?.squeeze(1)?, *kind)?,
                Step::MaxPool { from, sizes } => max_pool2d(read(*from), sizes.0, sizes.1, sizes.2)?,
                Step::MeanOfPixels { from } => mean_of_pixels(read(*from))?.unsqueeze(1)?.unsqueeze(1)?,
                Step::LayerNorm { from, weight, bias, epsilon } => layer_norm(read(*from), weight, bias, *epsilon)?,
                Step::Tokens { from, class, places } => {
                    let (batch, height, width, channels) = read(*from).dims4()?;
                    let pixels = read(*from).reshape((batch, height * width, channels))?;
                    let class = class.broadcast_as((batch, 1, channels))?.contiguous()?;
                    Tensor::cat(&[&class, &pixels], 1)?.broadcast_add(places)?.unsqueeze(2)?
                }
                Step::Attention { from, heads, .. } => attention(&read(*from).squeeze(2)?, *heads)?.unsqueeze(2)?,
                Step::FirstToken { from } => read(*from).narrow(1, 0, 1)?.contiguous()?,
                Step::Flatten { from } => channels_first(read(*from))?.flatten_from(1)?.unsqueeze(1)?.unsqueeze(1)?,
            };
            if number + 1 == self.steps.len() {
                features = step.reads()[0].map(read).cloned();
            }
            // What nobody reads any more is freed.
            for slot in step.reads().into_iter().flatten() {
                let later = &self.steps[number + 1..];
                if !later.iter().any(|step| step.reads().contains(&Some(slot))) {
                    slots[slot.0] = None;
                }
            }
            slots.push(Some(output));
        }
        let logits = slots.pop().flatten().expect("BUG: the last slot has no reader").flatten_from(1)?;
        let features = features.expect("BUG: the last layer reads features").flatten_from(1)?;
        Ok(Output { features, logits })
    }
}
