//! Two-dimensional convolution over images whose channels lie together.

mod correlate;
mod depthwise;
mod geometry;
mod kernel_gradient;
mod prepared;
mod transposed;
mod winograd;

pub use geometry::Conv2dOptions;
pub use prepared::PreparedConv2d;

use crate::buffer::{slice, with_values, written};
use crate::cuda;
use candle_core::{CpuStorage, CustomOp2, Layout, Module, Result, Shape, Tensor};
pub(crate) use correlate::Shared;
use correlate::{Correlation, Panels, Place};
pub(crate) use geometry::Geometry;
use kernel_gradient::kernel_gradient;
use rayon::prelude::*;
use transposed::transposed_product;
use winograd::Winograd;

/// The convolution (cross-correlation, as in `torch.nn.functional.conv2d`) of `input`, (batch, height, width, from) f32,
/// with `kernel`, (to, from / groups, kernel height, kernel width) f32: (batch, height', width', to) with
/// height' = (height + 2 padding - dilation (kernel - 1) - 1) / stride + 1, rounded down.
///
/// # Errors
/// When the shapes do not fit together.
pub fn conv2d(input: &Tensor, kernel: &Tensor, options: Conv2dOptions) -> Result<Tensor> {
    let geometry = Geometry::new(input.dims(), kernel.dims(), options)?;
    if input.device().is_cpu() {
        return input.contiguous()?.apply_op2(&kernel.contiguous()?, Conv2d(geometry));
    }
    match cuda::conv2d(input, kernel, &geometry)? {
        Some(output) => Ok(output),
        None => elsewhere(input, kernel, &geometry),
    }
}

/// Whether the gradient of an operation's input is wanted; the first layer needs none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputGradient {
    /// It is computed.
    Wanted,
    /// It is left out.
    Unwanted,
}

/// The gradients of a convolution's input and kernel for the gradient `grad` of its output.
///
/// # Errors
/// When the shapes do not fit together.
pub fn conv2d_gradients(
    input: &Tensor,
    kernel: &Tensor,
    options: Conv2dOptions,
    grad: &Tensor,
    wanted: InputGradient,
) -> Result<(Option<Tensor>, Tensor)> {
    let geometry = Geometry::new(input.dims(), kernel.dims(), options)?;
    if !input.device().is_cpu() {
        if let Some(gradients) = cuda::conv2d_gradients(input, kernel, &geometry, grad, wanted)? {
            return Ok(gradients);
        }
        let [of_input, of_kernel] =
            crate::elsewhere::gradients([input, kernel], grad, |[input, kernel]| elsewhere(input, kernel, &geometry))?;
        return Ok((Some(of_input), of_kernel));
    }
    if grad.elem_count() != geometry.output_len() {
        candle_core::bail!("conv2d: a gradient {:?} does not fit the output of {geometry:?}", grad.dims());
    }
    let (of_input, of_kernel) = with_values([input, kernel, grad], |[input, kernel, grad]| {
        let of_input = (wanted == InputGradient::Wanted).then(|| input_gradient(&geometry, grad, kernel));
        Ok((of_input, gradient_of_kernel(&geometry, input, grad)))
    })?;
    let of_input = of_input.map(|values| Tensor::from_vec(values, input.shape(), input.device())).transpose()?;
    Ok((of_input, Tensor::from_vec(of_kernel, kernel.shape(), kernel.device())?))
}

/// Fallback to candle-nn, for square strides only.
fn elsewhere(input: &Tensor, kernel: &Tensor, geometry: &Geometry) -> Result<Tensor> {
    let Conv2dOptions { stride, padding, dilation, groups } = geometry.options;
    if stride.0 != stride.1 || padding.0 != padding.1 || dilation.0 != dilation.1 {
        candle_core::bail!("conv2d: {:?} is not available on this device", geometry.options);
    }
    let config = candle_nn::Conv2dConfig {
        stride: stride.0,
        padding: padding.0,
        dilation: dilation.0,
        groups,
        ..candle_nn::Conv2dConfig::default()
    };
    let convolution = candle_nn::Conv2d::new(kernel.clone(), None, config);
    let input = input.permute((0, 3, 1, 2))?.contiguous()?;
    convolution.forward(&input)?.permute((0, 2, 3, 1))?.contiguous()
}

struct Conv2d(Geometry);

impl CustomOp2 for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn cpu_fwd(
        &self,
        input: &CpuStorage,
        l1: &Layout,
        kernel: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let Geometry { batch, output: (height, width), to, .. } = self.0;
        let output = forward(&self.0, slice(input, l1)?, slice(kernel, l2)?);
        Ok((CpuStorage::F32(output), Shape::from((batch, height, width, to))))
    }

    fn bwd(
        &self,
        input: &Tensor,
        kernel: &Tensor,
        _output: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let wanted = match input.track_op() || input.is_variable() {
            true => InputGradient::Wanted,
            false => InputGradient::Unwanted,
        };
        let (of_input, of_kernel) = conv2d_gradients(input, kernel, self.0.options, grad, wanted)?;
        Ok((of_input, Some(of_kernel)))
    }
}

/// What each output sees of the input.
fn correlation<'a>(geometry: &Geometry, taps: &'a [(isize, isize)], input: &'a [f32]) -> Correlation<'a> {
    Correlation {
        batch: geometry.batch,
        source: input,
        size: geometry.input,
        from: geometry.from,
        to: geometry.to,
        groups: geometry.options.groups,
        taps,
        step: geometry.options.stride,
        grid: geometry.output,
        place: Place { size: geometry.output, first: (0, 0), step: (1, 1) },
    }
}

/// The taps of a kernel, row by row, as distances from the pixel of an output.
fn taps(geometry: &Geometry) -> Vec<(isize, isize)> {
    let Conv2dOptions { padding, dilation, .. } = geometry.options;
    let at = |tap: usize, dilation: usize, padding: usize| (tap * dilation) as isize - padding as isize;
    let rows = 0..geometry.kernel.0;
    rows.flat_map(|row| (0..geometry.kernel.1).map(move |column| (row, column)))
        .map(|(row, column)| (at(row, dilation.0, padding.0), at(column, dilation.1, padding.1)))
        .collect()
}

/// Whether the geometry is one of those that Winograd's way computes with fewer multiplications.
fn is_for_winograd(geometry: &Geometry) -> bool {
    let Conv2dOptions { stride, padding, dilation, groups } = geometry.options;
    let plain = (geometry.kernel, stride, dilation, groups) == ((3, 3), (1, 1), (1, 1), 1);
    plain && padding.0 <= 2 && padding.1 <= 2 && winograd::fits(geometry.from, geometry.to)
}

/// The forward convolution as one for Winograd's way.
fn winograd<'a>(geometry: &Geometry, input: &'a [f32]) -> Winograd<'a> {
    Winograd {
        batch: geometry.batch,
        source: input,
        size: geometry.input,
        from: geometry.from,
        to: geometry.to,
        padding: geometry.options.padding,
        grid: geometry.output,
    }
}

fn forward(geometry: &Geometry, input: &[f32], kernel: &[f32]) -> Vec<f32> {
    if is_for_winograd(geometry) {
        let from = geometry.from;
        return winograd(geometry, input).compute(|o, c, tap| kernel[(o * from + c) * 9 + tap]);
    }
    if depthwise::fits(geometry) {
        return depthwise::forward(geometry, input, kernel);
    }
    let taps = taps(geometry);
    let correlation = correlation(geometry, &taps, input);
    let panels = panels_of(geometry, &correlation, kernel);
    // Safety: the grid of a forward convolution is the whole output.
    unsafe { written(geometry.output_len(), |out| correlation.compute(&panels, out)) }
}

/// The panels of a forward convolution.
fn panels_of(geometry: &Geometry, correlation: &Correlation<'_>, kernel: &[f32]) -> Panels {
    let (from, to) = (geometry.channels_read(), geometry.channels_written());
    let area = correlation.taps.len();
    Panels::new(correlation, |group, o, c, tap| kernel[((group * to + o) * from + c) * area + tap])
}

/// The gradient of the input: every input pixel collects from the outputs that saw it. With a stride, pixels that lie
/// alike towards the outputs see them through the same taps; each such phase is a convolution of its own.
fn input_gradient(geometry: &Geometry, grad: &[f32], kernel: &[f32]) -> Vec<f32> {
    if is_for_winograd(geometry) {
        let (from, padding) = (geometry.from, geometry.options.padding);
        let turned = Winograd {
            batch: geometry.batch,
            source: grad,
            size: geometry.output,
            from: geometry.to,
            to: geometry.from,
            padding: (2 - padding.0, 2 - padding.1),
            grid: geometry.input,
        };
        return turned.compute(|c, o, tap| kernel[(o * from + c) * 9 + 8 - tap]);
    }
    if depthwise::fits(geometry) {
        return depthwise::input_gradient(geometry, grad, kernel);
    }
    let Conv2dOptions { stride, padding, dilation, groups } = geometry.options;
    let (from, to, area) =
        (geometry.channels_read(), geometry.channels_written(), geometry.kernel.0 * geometry.kernel.1);
    // For each phase of a direction: the taps that reach it, and which outputs they come from.
    let reaching = |phase: usize, kernel: usize, stride: usize, padding: usize, dilation: usize| {
        let distance = move |tap: usize| (phase + padding) as isize - (tap * dilation) as isize;
        let fits = move |tap: &usize| distance(*tap).rem_euclid(stride as isize) == 0;
        // From the last tap to the first, so that what they see lies in order.
        (0..kernel).rev().filter(fits).map(|tap| (tap, distance(tap).div_euclid(stride as isize))).collect::<Vec<_>>()
    };
    let count = |phase: usize, size: usize, stride: usize| size.saturating_sub(phase).div_ceil(stride);
    let gather = |out: &mut [_]| {
        for phase_y in 0..stride.0.min(geometry.input.0) {
            for phase_x in 0..stride.1.min(geometry.input.1) {
                let rows = reaching(phase_y, geometry.kernel.0, stride.0, padding.0, dilation.0);
                let columns = reaching(phase_x, geometry.kernel.1, stride.1, padding.1, dilation.1);
                let pairs = || rows.iter().flat_map(|row| columns.iter().map(move |column| (row, column)));
                let seen: Vec<(isize, isize)> = pairs().map(|(row, column)| (row.1, column.1)).collect();
                let tap: Vec<usize> = pairs().map(|(row, column)| row.0 * geometry.kernel.1 + column.0).collect();
                let correlation = Correlation {
                    batch: geometry.batch,
                    source: grad,
                    size: geometry.output,
                    from: geometry.to,
                    to: geometry.from,
                    groups,
                    taps: &seen,
                    step: (1, 1),
                    grid: (count(phase_y, geometry.input.0, stride.0), count(phase_x, geometry.input.1, stride.1)),
                    place: Place { size: geometry.input, first: (phase_y, phase_x), step: stride },
                };
                let panels = Panels::new(&correlation, |group, c, o, index| {
                    kernel[((group * to + o) * from + c) * area + tap[index]]
                });
                correlation.compute(&panels, out);
            }
        }
    };
    // Safety: the grids of all phases together are the whole input.
    unsafe { written(geometry.input_len(), gather) }
}

/// Values of a kernel's gradient that no longer stay in the cache of a core.
const MANY_SUMS: usize = 48 * 1024;

fn gradient_of_kernel(geometry: &Geometry, input: &[f32], grad: &[f32]) -> Vec<f32> {
    if is_for_winograd(geometry) {
        return winograd(geometry, input).kernel_gradient(grad);
    }
    if depthwise::fits(geometry) {
        return depthwise::kernel_gradient(geometry, input, grad);
    }
    let (from, to) = (geometry.channels_read(), geometry.channels_written());
    // Where the sums are few, the general way keeps them in the cache and reads both sides once.
    if geometry.sees_each_pixel_once() && from * to >= MANY_SUMS {
        let (found, stride) = transposed_product(grad, to, input, from);
        return match stride == from {
            true => found,
            false => found.chunks_exact(stride).flat_map(|row| &row[..from]).copied().collect(),
        };
    }
    let taps = taps(geometry);
    let found = kernel_gradient(&correlation(geometry, &taps, input), grad);
    let area = taps.len();
    let mut gradient = vec![0.0; geometry.kernel_len()];
    gradient.par_chunks_exact_mut(from * area).enumerate().for_each(|(index, values)| {
        let (group, o) = (index / to, index % to);
        for (place, value) in values.iter_mut().enumerate() {
            let (c, tap) = (place / area, place % area);
            *value = found.values[((group * area + tap) * from + c) * found.stride + o];
        }
    });
    gradient
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};
    use proptest::prelude::*;

    /// The definition, in f64.
    fn defined(g: &Geometry, input: &[f64], kernel: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; g.output_len()];
        each_term(g, |o, i, k| out[o] += input[i] * kernel[k]);
        out
    }

    /// Every product of the convolution as places in output, input and kernel.
    fn each_term(g: &Geometry, mut term: impl FnMut(usize, usize, usize)) {
        let Conv2dOptions { stride, padding, dilation, .. } = g.options;
        let (from, to) = (g.channels_read(), g.channels_written());
        for n in 0..g.batch {
            for oy in 0..g.output.0 {
                for ox in 0..g.output.1 {
                    for o in 0..g.to {
                        for ky in 0..g.kernel.0 {
                            for kx in 0..g.kernel.1 {
                                let y = (oy * stride.0 + ky * dilation.0).wrapping_sub(padding.0);
                                let x = (ox * stride.1 + kx * dilation.1).wrapping_sub(padding.1);
                                if y >= g.input.0 || x >= g.input.1 {
                                    continue;
                                }
                                for c in 0..from {
                                    let i = ((n * g.input.0 + y) * g.input.1 + x) * g.from + o / to * from + c;
                                    let k = ((o * from + c) * g.kernel.0 + ky) * g.kernel.1 + kx;
                                    term(((n * g.output.0 + oy) * g.output.1 + ox) * g.to + o, i, k);
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    fn pseudo_random(count: usize, seed: u32) -> Vec<f32> {
        let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..count).map(|_| next()).collect()
    }

    fn wide(values: &[f32]) -> Vec<f64> {
        values.iter().map(|value| f64::from(*value)).collect()
    }

    fn assert_close(what: &str, ours: &[f32], right: &[f64]) {
        assert_eq!(ours.len(), right.len());
        let scale = right.iter().fold(1.0f64, |most, value| most.max(value.abs()));
        for (place, (ours, right)) in ours.iter().zip(right).enumerate() {
            assert!((f64::from(*ours) - right).abs() <= 5e-5 * scale, "{what}[{place}]: {ours} is not {right}");
        }
    }

    /// Forward and both gradients agree with the definition.
    fn check(batch: usize, size: (usize, usize), channels: (usize, usize), kernel: (usize, usize), o: Conv2dOptions) {
        let input_shape = [batch, size.0, size.1, channels.0];
        let kernel_shape = [channels.1, channels.0 / o.groups, kernel.0, kernel.1];
        let g = Geometry::new(&input_shape, &kernel_shape, o).unwrap();
        let input = pseudo_random(g.input_len(), 1);
        let kernel = pseudo_random(g.kernel_len(), 2);
        let grad = pseudo_random(g.output_len(), 3);
        assert_close("output", &forward(&g, &input, &kernel), &defined(&g, &wide(&input), &wide(&kernel)));
        let (mut of_input, mut of_kernel) = (vec![0.0; g.input_len()], vec![0.0; g.kernel_len()]);
        each_term(&g, |o, i, k| {
            of_input[i] += f64::from(grad[o]) * f64::from(kernel[k]);
            of_kernel[k] += f64::from(grad[o]) * f64::from(input[i]);
        });
        assert_close("gradient of the input", &input_gradient(&g, &grad, &kernel), &of_input);
        assert_close("gradient of the kernel", &gradient_of_kernel(&g, &input, &grad), &of_kernel);
    }

    #[test]
    fn the_gradients_of_the_definition_are_its_differences() {
        let options = Conv2dOptions { stride: (2, 1), padding: (1, 2), dilation: (1, 2), groups: 2 };
        let g = Geometry::new(&[2, 5, 6, 4], &[6, 2, 3, 2], options).unwrap();
        let (input, kernel) = (wide(&pseudo_random(g.input_len(), 1)), wide(&pseudo_random(g.kernel_len(), 2)));
        let grad = wide(&pseudo_random(g.output_len(), 3));
        let value = |input: &[f64], kernel: &[f64]| -> f64 {
            defined(&g, input, kernel).iter().zip(&grad).map(|(value, grad)| value * grad).sum()
        };
        let (mut of_input, mut of_kernel) = (vec![0.0; g.input_len()], vec![0.0; g.kernel_len()]);
        each_term(&g, |o, i, k| {
            of_input[i] += grad[o] * kernel[k];
            of_kernel[k] += grad[o] * input[i];
        });
        let differences = |values: &[f64], at: &dyn Fn(&[f64]) -> f64| -> Vec<f64> {
            let moved = |place: usize, by: f64| {
                let mut values = values.to_vec();
                values[place] += by;
                at(&values)
            };
            (0..values.len()).map(|place| (moved(place, 1e-3) - moved(place, -1e-3)) / 2e-3).collect()
        };
        let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9);
        assert!(close(&of_input, &differences(&input, &|input| value(input, &kernel))));
        assert!(close(&of_kernel, &differences(&kernel, &|kernel| value(&input, kernel))));
    }

    #[test]
    fn usual_shapes_agree_with_the_definition() {
        let square = Conv2dOptions::square;
        check(2, (8, 8), (16, 32), (3, 3), square(1, 1));
        check(1, (16, 16), (3, 64), (3, 3), square(1, 1));
        check(3, (9, 7), (32, 48), (3, 3), square(2, 1));
        check(2, (14, 14), (64, 32), (1, 1), square(1, 0));
        check(2, (13, 13), (32, 64), (1, 1), square(2, 0));
        check(1, (30, 30), (3, 16), (7, 7), square(2, 3));
        check(2, (12, 12), (24, 24), (3, 3), Conv2dOptions { groups: 24, ..square(1, 1) });
        check(1, (56, 20), (72, 72), (5, 5), Conv2dOptions { groups: 72, ..square(2, 2) });
        check(1, (7, 14), (100, 100), (5, 5), Conv2dOptions { groups: 100, ..square(1, 2) });
        check(2, (12, 12), (32, 64), (5, 5), Conv2dOptions { groups: 4, ..square(1, 2) });
        check(1, (64, 64), (64, 8), (3, 3), square(1, 1));
        // Winograd's way: whole and partial tiles, kernels that fit the cache and that do not.
        check(2, (9, 6), (16, 48), (3, 3), square(1, 0));
        check(1, (5, 7), (32, 16), (3, 3), square(1, 2));
        check(3, (4, 4), (96, 128), (3, 3), square(1, 1));
        check(2, (1, 1), (16, 16), (3, 3), square(1, 1));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
        #[test]
        fn any_shape_agrees_with_the_definition(
            batch in 1usize..4, height in 1usize..12, width in 1usize..12, from in 1usize..5, to in 1usize..40,
            groups in 1usize..4, kernel in (1usize..5, 1usize..5), stride in (1usize..4, 1usize..4),
            padding in (0usize..4, 0usize..4), dilation in (1usize..3, 1usize..3),
        ) {
            let fits = |size: usize, kernel: usize, padding: usize, dilation: usize| {
                size + 2 * padding > dilation * (kernel - 1)
            };
            prop_assume!(fits(height, kernel.0, padding.0, dilation.0) && fits(width, kernel.1, padding.1, dilation.1));
            let options = Conv2dOptions { stride, padding, dilation, groups };
            check(batch, (height, width), (from * groups, to * groups), kernel, options);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]
        #[test]
        fn any_depthwise_shape_agrees_with_the_definition(
            batch in 1usize..40, height in 1usize..9, width in 1usize..9, channels in 1usize..40,
            kernel in (1usize..6, 1usize..6), stride in (1usize..4, 1usize..4), padding in (0usize..4, 0usize..4),
            dilation in (1usize..3, 1usize..3),
        ) {
            let fits = |size: usize, kernel: usize, padding: usize, dilation: usize| {
                size + 2 * padding > dilation * (kernel - 1)
            };
            prop_assume!(fits(height, kernel.0, padding.0, dilation.0) && fits(width, kernel.1, padding.1, dilation.1));
            let options = Conv2dOptions { stride, padding, dilation, groups: channels };
            check(batch, (height, width), (channels, channels), kernel, options);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
        #[test]
        fn any_shape_goes_winograds_way(
            batch in 1usize..4, height in 1usize..14, width in 1usize..14, from in 1usize..5, to in 1usize..5,
            padding in (0usize..3, 0usize..3),
        ) {
            prop_assume!(height + 2 * padding.0 >= 3 && width + 2 * padding.1 >= 3);
            let options = Conv2dOptions { padding, ..Conv2dOptions::default() };
            check(batch, (height, width), (16 * from, 16 * to), (3, 3), options);
        }
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        for (from, to, groups) in [(24, 40, 1), (32, 48, 1), (96, 128, 1), (40, 40, 40)] {
            let options = Conv2dOptions { groups, ..Conv2dOptions::square(1, 1) };
            let g = Geometry::new(&[8, 17, 17, from], &[to, from / groups, 3, 3], options).unwrap();
            let (input, kernel) = (pseudo_random(g.input_len(), 1), pseudo_random(g.kernel_len(), 2));
            let grad = pseudo_random(g.output_len(), 3);
            let all = || {
                let gradients = (input_gradient(&g, &grad, &kernel), gradient_of_kernel(&g, &input, &grad));
                (forward(&g, &input, &kernel), gradients)
            };
            let with =
                |threads: usize| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(all);
            assert!(with(1) == with(2) && with(2) == with(5), "{from} to {to}");
        }
    }

    #[test]
    fn the_operation_hands_gradients_to_input_and_kernel() -> Result<()> {
        let device = &Device::Cpu;
        let input = Var::from_vec(pseudo_random(2 * 6 * 6 * 4, 1), (2, 6, 6, 4), device)?;
        let kernel = Var::from_vec(pseudo_random(8 * 4 * 9, 2), (8, 4, 3, 3), device)?;
        let ours = conv2d(&input, &kernel, Conv2dOptions::square(1, 1))?;
        let theirs = input.permute((0, 3, 1, 2))?.conv2d(&kernel, 1, 1, 1, 1)?.permute((0, 2, 3, 1))?;
        let far = |a: &Tensor, b: &Tensor| (a - b)?.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>();
        assert!(far(&ours, &theirs)? < 1e-5);
        let (ours, theirs) = (ours.sqr()?.sum_all()?.backward()?, theirs.sqr()?.sum_all()?.backward()?);
        assert!(far(ours.get(&input).unwrap(), theirs.get(&input).unwrap())? < 1e-3);
        assert!(far(ours.get(&kernel).unwrap(), theirs.get(&kernel).unwrap())? < 1e-3);
        Ok(())
    }

    #[test]
    fn sizes_that_do_not_fit_are_errors() -> Result<()> {
        let zeros = |shape: [usize; 4]| Tensor::zeros(&shape, candle_core::DType::F32, &Device::Cpu);
        let message = |input, kernel, options| conv2d(&input, &kernel, options).unwrap_err().to_string();
        let plain = Conv2dOptions::default();
        assert!(message(zeros([1, 4, 4, 3])?, zeros([8, 4, 3, 3])?, plain).contains("does not fit 3 channels"));
        assert!(message(zeros([1, 2, 2, 3])?, zeros([8, 3, 3, 3])?, plain).contains("does not fit 2"));
        for empty in [[0, 4, 4, 3], [1, 0, 4, 3], [1, 4, 0, 3]] {
            assert!(message(zeros(empty)?, zeros([8, 3, 3, 3])?, plain).contains("must not be empty"));
        }
        let still = Conv2dOptions { stride: (0, 1), ..plain };
        assert!(message(zeros([1, 4, 4, 3])?, zeros([8, 3, 3, 3])?, still).contains("at least 1"));
        Ok(())
    }
}
