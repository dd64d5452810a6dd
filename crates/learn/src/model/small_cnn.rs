//! The small CNN.

use crate::inference::Inference;
use crate::layers::{Bias, Conv, Linear, flatten, pool};
use crate::parameters::Parameters;
use crate::tape::{Tape, Value};
use crate::{LearnError, Result};
use assay_kernels::Activation;

/// Two 3x3 convolutions, a 2x2 pool and two linear layers, with the names of PyTorch's MNIST example.
pub(crate) struct SmallCnn {
    conv1: (Conv, Bias),
    conv2: (Conv, Bias),
    fc1: Linear,
    fc2: Linear,
}

impl SmallCnn {
    pub(super) fn new(p: &mut Parameters, width: usize, size: usize, classes: usize) -> Result<SmallCnn> {
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

    /// From images to (batch, features).
    pub(super) fn features(&self, tape: &mut Tape, input: &Value) -> Result<Value> {
        let mut x = input.clone();
        for (conv, bias) in [&self.conv1, &self.conv2] {
            x = conv.forward(tape, &x)?;
            x = bias.forward(tape, &x, Activation::Relu)?;
        }
        let x = pool(tape, &x, (2, 2, 0))?;
        let x = flatten(tape, &x)?;
        self.fc1.forward(tape, &x, Activation::Relu)
    }

    pub(super) fn inference(&self) -> Result<Inference> {
        let mut plan = Inference::default();
        let mut x = Inference::INPUT;
        for (conv, bias) in [&self.conv1, &self.conv2] {
            x = plan.conv_bias((conv, bias), x, Activation::Relu)?;
        }
        let x = plan.max_pool(x, (2, 2, 0));
        let x = plan.flatten(x);
        let x = plan.linear(&self.fc1, x, Activation::Relu)?;
        plan.linear(&self.fc2, x, Activation::None)?;
        Ok(plan)
    }

    /// From features to logits.
    pub(super) fn head(&self, tape: &mut Tape, features: &Value) -> Result<Value> {
        self.fc2.forward(tape, features, Activation::None)
    }
}
