//! The sizes of a convolution.

use candle_core::{Result, bail};

/// How a convolution walks over its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv2dOptions {
    /// The distance of two outputs, in input pixels: (vertical, horizontal).
    pub stride: (usize, usize),
    /// Zeros around the input.
    pub padding: (usize, usize),
    /// The distance of two taps of the kernel.
    pub dilation: (usize, usize),
    /// Parts of the channels that do not see each other.
    pub groups: usize,
}

impl Default for Conv2dOptions {
    fn default() -> Conv2dOptions {
        Conv2dOptions { stride: (1, 1), padding: (0, 0), dilation: (1, 1), groups: 1 }
    }
}

impl Conv2dOptions {
    /// The same stride and padding both ways.
    pub fn square(stride: usize, padding: usize) -> Conv2dOptions {
        Conv2dOptions { stride: (stride, stride), padding: (padding, padding), ..Conv2dOptions::default() }
    }
}

/// A convolution whose sizes fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Geometry {
    pub(crate) batch: usize,
    /// (height, width) of the input.
    pub(crate) input: (usize, usize),
    /// Channels of the input, all groups together.
    pub(crate) from: usize,
    /// (height, width) of the output.
    pub(crate) output: (usize, usize),
    /// Channels of the output, all groups together.
    pub(crate) to: usize,
    /// (height, width) of the kernel.
    pub(crate) kernel: (usize, usize),
    pub(crate) options: Conv2dOptions,
}

impl Geometry {
    /// From the shapes of an input (batch, height, width, from) and a kernel (to, from / groups, height, width).
    pub(crate) fn new(input: &[usize], kernel: &[usize], options: Conv2dOptions) -> Result<Geometry> {
        let (&[batch, height, width, from], &[to, from_of_group, kernel_height, kernel_width]) = (input, kernel) else {
            bail!("conv2d: input {input:?} and kernel {kernel:?} must have 4 dimensions each");
        };
        if [batch, height, width, from, to].contains(&0) {
            bail!("conv2d: input {input:?} and kernel {kernel:?} must not be empty");
        }
        let Conv2dOptions { stride, padding, dilation, groups } = options;
        if groups == 0 || from != from_of_group * groups || !to.is_multiple_of(groups) {
            bail!("conv2d: kernel {kernel:?} in {groups} groups does not fit {from} channels");
        }
        let size = |input: usize, kernel: usize, stride: usize, padding: usize, dilation: usize| {
            if kernel == 0 || stride == 0 || dilation == 0 {
                bail!("conv2d: kernel, stride and dilation must be at least 1");
            }
            match (input + 2 * padding).checked_sub(dilation * (kernel - 1) + 1) {
                Some(room) => Ok(room / stride + 1),
                None => {
                    bail!("conv2d: a kernel of {kernel} at dilation {dilation} does not fit {input} + 2 x {padding}")
                }
            }
        };
        let output = (
            size(height, kernel_height, stride.0, padding.0, dilation.0)?,
            size(width, kernel_width, stride.1, padding.1, dilation.1)?,
        );
        let kernel = (kernel_height, kernel_width);
        Ok(Geometry { batch, input: (height, width), from, output, to, kernel, options })
    }

    /// Whether it is a matrix product of all pixels with the kernel.
    pub(crate) fn sees_each_pixel_once(&self) -> bool {
        let Conv2dOptions { stride, padding, groups, .. } = self.options;
        (self.kernel, stride, padding, groups) == ((1, 1), (1, 1), (0, 0), 1)
    }

    /// Input channels of a group.
    pub(crate) fn channels_read(&self) -> usize {
        self.from / self.options.groups
    }

    /// Output channels of a group.
    pub(crate) fn channels_written(&self) -> usize {
        self.to / self.options.groups
    }

    /// Values of the input.
    pub(crate) fn input_len(&self) -> usize {
        self.batch * self.input.0 * self.input.1 * self.from
    }

    /// Values of the output.
    pub(crate) fn output_len(&self) -> usize {
        self.batch * self.output.0 * self.output.1 * self.to
    }

    /// Values of the kernel.
    pub(crate) fn kernel_len(&self) -> usize {
        self.to * self.channels_read() * self.kernel.0 * self.kernel.1
    }
}
