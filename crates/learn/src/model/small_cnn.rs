//! The small CNN.

use crate::inference::{Inference, Slot};
use crate::layers::{Bias, Conv, Linear, Mode, flatten, pool};
use crate::model::Network;
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
        let conv1 = Conv::biased(p, "conv1", (3, width), 3)?;
        p.begin_group(1);
        let conv2 = Conv::biased(p, "conv2", (width, 2 * width), 3)?;
        p.begin_group(2);
        let fc1 = Linear::new(p, "fc1", (2 * width * pooled * pooled, 128))?;
        p.begin_group(3);
        Ok(SmallCnn { conv1, conv2, fc1, fc2: Linear::new(p, "fc2", (128, classes))? })
    }
}

impl Network for SmallCnn {
    fn groups(&self) -> usize {
        3
    }

    fn group(&self, number: usize, tape: &mut Tape, input: &Value, _mode: Mode) -> Result<Value> {
        let convolve = |(conv, bias): &(Conv, Bias), tape: &mut Tape| {
            let x = conv.forward(tape, input)?;
            bias.forward(tape, &x, Activation::Relu)
        };
        match number {
            0 => convolve(&self.conv1, tape),
            1 => {
                let x = convolve(&self.conv2, tape)?;
                let x = pool(tape, &x, (2, 2, 0))?;
                flatten(tape, &x)
            }
            _ => self.fc1.forward(tape, input, Activation::Relu),
        }
    }

    fn inference(&self, plan: &mut Inference) -> Result<Slot> {
        let mut x = Inference::INPUT;
        for (conv, bias) in [&self.conv1, &self.conv2] {
            x = plan.conv_bias((conv, bias), x, Activation::Relu)?;
        }
        let x = plan.max_pool(x, (2, 2, 0));
        let x = plan.flatten(x);
        plan.linear(&self.fc1, x, Activation::Relu)
    }

    fn head(&self) -> &Linear {
        &self.fc2
    }
}
