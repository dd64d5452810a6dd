//! The convolution of each channel by itself: no matrix product, but passes over memory, with vectors along the channels.

use super::geometry::Geometry;
use crate::buffer::{add_parts, written};
use crate::tile::{load, store};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use std::mem::MaybeUninit;

/// Images and rows of which a part of a kernel's gradient is summed; the sizes alone decide how many parts there are.
const MOST_PARTS: usize = 32;
const LEAST_ROWS: usize = 16;

/// Pixels side by side that are summed at once, and vectors of each.
const COLUMNS: usize = 4;
const VECTORS: usize = 2;

/// Lanes of the longest vectors there are.
const MOST_LANES: usize = 16;

/// Whether each channel sees itself alone.
pub(super) fn fits(geometry: &Geometry) -> bool {
    geometry.options.groups == geometry.from && geometry.from == geometry.to
}

/// For each place along one direction, the places of the other side that it is computed from, each with the tap between
/// them.
type Seen = Vec<Vec<(usize, usize)>>;

/// What outputs see of inputs, vertically and horizontally.
fn seen(g: &Geometry) -> (Seen, Seen) {
    let along = |output: usize, input: usize, kernel: usize, stride: usize, padding: usize, dilation: usize| -> Seen {
        let place = |out: usize, tap: usize| (out * stride + tap * dilation).checked_sub(padding);
        let of = |out: usize| (0..kernel).filter_map(move |tap| Some((place(out, tap).filter(|at| *at < input)?, tap)));
        (0..output).map(|out| of(out).collect()).collect()
    };
    let o = g.options;
    (
        along(g.output.0, g.input.0, g.kernel.0, o.stride.0, o.padding.0, o.dilation.0),
        along(g.output.1, g.input.1, g.kernel.1, o.stride.1, o.padding.1, o.dilation.1),
    )
}

/// What inputs see of outputs, when outputs see this of `inputs` inputs.
fn turned(seen: &Seen, inputs: usize) -> Seen {
    let mut turned = vec![Vec::new(); inputs];
    for (out, pairs) in seen.iter().enumerate() {
        for (input, tap) in pairs {
            turned[*input].push((out, *tap));
        }
    }
    turned
}

/// The kernel, (channels, 1, height, width), tap by tap.
fn by_tap(kernel: &[f32], channels: usize) -> Vec<f32> {
    let taps = kernel.len() / channels;
    (0..taps).flat_map(|tap| (0..channels).map(move |channel| kernel[channel * taps + tap])).collect()
}

pub(super) fn forward(g: &Geometry, input: &[f32], kernel: &[f32]) -> Vec<f32> {
    let (rows, columns) = seen(g);
    gather(g, input, g.input, (&rows, &columns), kernel)
}

pub(super) fn input_gradient(g: &Geometry, grad: &[f32], kernel: &[f32]) -> Vec<f32> {
    let (rows, columns) = seen(g);
    gather(g, grad, g.output, (&turned(&rows, g.input.0), &turned(&columns, g.input.1)), kernel)
}

/// Columns side by side that see alike: by the same taps, and each of them source pixels as far from those of the one
/// before.
struct Run<'a> {
    first: usize,
    /// [`COLUMNS`] or one.
    count: usize,
    /// What the first of them sees.
    seen: &'a [(usize, usize)],
    /// From the source pixels of one to those of the next.
    apart: usize,
}

/// All columns, as many as may be in runs of [`COLUMNS`]: what each of them sees is what `columns` says, too.
fn runs(columns: &Seen) -> Vec<Run<'_>> {
    let apart = |one: &[(usize, usize)], next: &[(usize, usize)]| -> Option<usize> {
        let apart = next.first()?.0.checked_sub(one.first()?.0)?;
        let alike = one.len() == next.len() && one.iter().zip(next).all(|(a, b)| b.0 == a.0 + apart && b.1 == a.1);
        alike.then_some(apart)
    };
    let mut runs = Vec::new();
    let mut first = 0;
    while first < columns.len() {
        let ahead = columns.get(first..first + COLUMNS).and_then(|ahead| {
            let distance = apart(&ahead[0], &ahead[1])?;
            ahead.windows(2).all(|pair| apart(&pair[0], &pair[1]) == Some(distance)).then_some(distance)
        });
        let count = if ahead.is_some() { COLUMNS } else { 1 };
        runs.push(Run { first, count, seen: &columns[first], apart: ahead.unwrap_or(0) });
        first += count;
    }
    runs
}

/// Images in which each pixel is the sum of the source pixels that it sees, each times its tap of the kernel.
fn gather(
    g: &Geometry,
    source: &[f32],
    size: (usize, usize),
    (rows, columns): (&Seen, &Seen),
    kernel: &[f32],
) -> Vec<f32> {
    let channels = g.from;
    let kernel = by_tap(kernel, channels);
    let arch = Arch::new();
    let runs = runs(columns);
    assert_within((rows, columns), size, g.kernel);
    assert!(kernel.len() == g.kernel.0 * g.kernel.1 * channels);
    let of_image = size.0 * size.1 * channels;
    let length = g.batch * rows.len() * columns.len() * channels;
    let write = |out: &mut [MaybeUninit<f32>]| {
        out.par_chunks_exact_mut(columns.len() * channels).enumerate().for_each(|(index, out)| {
            let image = &source[index / rows.len() * of_image..][..of_image];
            let row = &rows[index % rows.len()];
            let view = View { image, width: size.1, row, runs: &runs, taps: g.kernel.1, channels };
            arch.dispatch(Along { view, pass: Gather { kernel: &kernel, out } });
        });
    };
    // Safety: every row is written to its end.
    unsafe { written(length, write) }
}

/// Asserts that what is seen, by rows and columns, lies within an image and a kernel of these sizes.
fn assert_within((rows, columns): (&Seen, &Seen), size: (usize, usize), kernel: (usize, usize)) {
    let within =
        |seen: &Seen, size: usize, taps: usize| seen.iter().flatten().all(|(at, tap)| *at < size && *tap < taps);
    assert!(within(rows, size.0, kernel.0) && within(columns, size.1, kernel.1));
}

/// What one row of pixels sees of an image, all of it within ([`assert_within`]).
#[derive(Clone, Copy)]
struct View<'a> {
    image: &'a [f32],
    /// Pixels of a row of the image.
    width: usize,
    /// Rows of the image that are seen, with their taps.
    row: &'a [(usize, usize)],
    runs: &'a [Run<'a>],
    /// How many taps of the kernel are side by side.
    taps: usize,
    channels: usize,
}

impl View<'_> {
    /// Where the channels from `first` on begin, of the pixel and of the tap that a row and a column see.
    #[inline(always)]
    fn places(&self, (y, vertical): (usize, usize), (x, horizontal): (usize, usize), first: usize) -> (usize, usize) {
        let (pixel, tap) = (y * self.width + x, vertical * self.taps + horizontal);
        (pixel * self.channels + first, tap * self.channels + first)
    }
}

/// What is done with a row of pixels.
trait Pass {
    /// For the P pixels of a run, V vectors of their channels from `first` on.
    ///
    /// # Safety
    /// The vectors, as far as `lanes` says, must lie within the channels, and what the pass has of a row and a kernel must
    /// have the sizes of the view.
    unsafe fn step<S: Simd, const P: usize, const V: usize>(
        &mut self,
        simd: S,
        view: &View<'_>,
        run: &Run<'_>,
        first: usize,
        lanes: impl Lanes,
    );
}

/// A pass along its row: a few channels all the way, then the next, so that their taps and pixels stay in the nearest
/// cache.
struct Along<'a, T> {
    view: View<'a>,
    pass: T,
}

impl<T: Pass> WithSimd for Along<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let channels = self.view.channels;
        let mut first = 0;
        // Safety: each time, so many channels are left.
        unsafe {
            while first + VECTORS * S::F32_LANES <= channels {
                self.vectors::<S, VECTORS>(simd, first, All);
                first += VECTORS * S::F32_LANES;
            }
            while first + S::F32_LANES <= channels {
                self.vectors::<S, 1>(simd, first, All);
                first += S::F32_LANES;
            }
            if first < channels {
                self.vectors::<S, 1>(simd, first, Leading(channels - first));
            }
        }
    }
}

impl<T: Pass> Along<'_, T> {
    /// # Safety
    /// As of [`Pass::step`].
    #[inline(always)]
    unsafe fn vectors<S: Simd, const V: usize>(&mut self, simd: S, first: usize, lanes: impl Lanes) {
        for run in self.view.runs {
            // Safety: as the caller says.
            unsafe {
                if run.count == COLUMNS {
                    self.pass.step::<S, COLUMNS, V>(simd, &self.view, run, first, lanes);
                } else {
                    self.pass.step::<S, 1, V>(simd, &self.view, run, first, lanes);
                }
            }
        }
    }
}

/// Which lanes of a vector there are in memory.
trait Lanes: Copy {
    /// # Safety
    /// So many must be readable.
    unsafe fn load<S: Simd>(self, simd: S, from: *const f32) -> S::f32s;

    /// # Safety
    /// So many must be writable.
    unsafe fn store<S: Simd>(self, simd: S, to: *mut f32, value: S::f32s);
}

#[derive(Clone, Copy)]
struct All;

impl Lanes for All {
    #[inline(always)]
    unsafe fn load<S: Simd>(self, _: S, from: *const f32) -> S::f32s {
        // Safety: as the caller says.
        unsafe { load::<S>(from) }
    }

    #[inline(always)]
    unsafe fn store<S: Simd>(self, _: S, to: *mut f32, value: S::f32s) {
        // Safety: as the caller says.
        unsafe { store::<S>(to, value) }
    }
}

/// The first so many.
#[derive(Clone, Copy)]
struct Leading(usize);

impl Lanes for Leading {
    #[inline(always)]
    unsafe fn load<S: Simd>(self, simd: S, from: *const f32) -> S::f32s {
        // Safety: as the caller says.
        simd.partial_load_f32s(unsafe { std::slice::from_raw_parts(from, self.0) })
    }

    #[inline(always)]
    unsafe fn store<S: Simd>(self, simd: S, to: *mut f32, value: S::f32s) {
        let mut values = [0.0; MOST_LANES];
        simd.partial_store_f32s(&mut values[..S::F32_LANES], value);
        // Safety: as the caller says.
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), to, self.0) };
    }
}

/// Writes the sum of what each pixel of a row sees.
struct Gather<'a> {
    /// (taps, channels)
    kernel: &'a [f32],
    out: &'a mut [MaybeUninit<f32>],
}

impl Pass for Gather<'_> {
    #[inline(always)]
    unsafe fn step<S: Simd, const P: usize, const V: usize>(
        &mut self,
        simd: S,
        view: &View<'_>,
        run: &Run<'_>,
        first: usize,
        lanes: impl Lanes,
    ) {
        let View { image, channels, .. } = *view;
        let mut sums = [[simd.splat_f32s(0.0); V]; P];
        for row in view.row {
            for column in run.seen {
                let (pixel, tap) = view.places(*row, *column, first);
                // Safety: what a run sees, the last of its pixels too, lies within the image and the kernel, and these
                // vectors within the channels.
                unsafe {
                    let tap = self.kernel.as_ptr().add(tap);
                    let weights: [S::f32s; V] =
                        std::array::from_fn(|vector| lanes.load(simd, tap.add(vector * S::F32_LANES)));
                    for (number, sums) in sums.iter_mut().enumerate() {
                        let pixel = image.as_ptr().add(pixel + number * run.apart * channels);
                        for (vector, (sum, weight)) in sums.iter_mut().zip(weights).enumerate() {
                            let pixel = lanes.load(simd, pixel.add(vector * S::F32_LANES));
                            *sum = simd.mul_add_f32s(pixel, weight, *sum);
                        }
                    }
                }
            }
        }
        let out = self.out[run.first * channels..][..P * channels].as_mut_ptr().cast::<f32>();
        for (number, sums) in sums.into_iter().enumerate() {
            for (vector, sum) in sums.into_iter().enumerate() {
                // Safety: there are P pixels, and these vectors lie within their channels.
                unsafe { lanes.store(simd, out.add(number * channels + first + vector * S::F32_LANES), sum) };
            }
        }
    }
}

pub(super) fn kernel_gradient(g: &Geometry, input: &[f32], grad: &[f32]) -> Vec<f32> {
    let channels = g.from;
    let (rows, columns) = seen(g);
    let runs = runs(&columns);
    // A part is of some images, or of some rows of one.
    let images = g.batch.div_ceil(MOST_PARTS);
    let blocks = (MOST_PARTS / g.batch).clamp(1, g.output.0.div_ceil(LEAST_ROWS));
    let height = g.output.0.div_ceil(blocks);
    let length = g.kernel.0 * g.kernel.1 * channels;
    assert_within((&rows, &columns), g.input, g.kernel);
    let mut parts = vec![0.0; g.batch.div_ceil(images) * blocks * length];
    let arch = Arch::new();
    let (of_image, of_row) = (g.input.0 * g.input.1 * channels, g.output.1 * channels);
    parts.par_chunks_exact_mut(length).enumerate().for_each(|(part, sums)| {
        let first = part / blocks * images;
        for image in first..(first + images).min(g.batch) {
            let input = &input[image * of_image..][..of_image];
            for y in (0..g.output.0).skip(part % blocks * height).take(height) {
                let grad = &grad[(image * g.output.0 + y) * of_row..][..of_row];
                let view =
                    View { image: input, width: g.input.1, row: &rows[y], runs: &runs, taps: g.kernel.1, channels };
                arch.dispatch(Along { view, pass: Sums { grad, sums } });
            }
        }
    });
    add_parts(&mut parts, length);
    let area = g.kernel.0 * g.kernel.1;
    (0..length).map(|place| parts[place % area * channels + place / area]).collect()
}

/// Adds to the gradient of the kernel what one row of the output's gradient gives.
struct Sums<'a> {
    grad: &'a [f32],
    /// (taps, channels)
    sums: &'a mut [f32],
}

impl Pass for Sums<'_> {
    #[inline(always)]
    unsafe fn step<S: Simd, const P: usize, const V: usize>(
        &mut self,
        simd: S,
        view: &View<'_>,
        run: &Run<'_>,
        first: usize,
        lanes: impl Lanes,
    ) {
        let View { image, channels, .. } = *view;
        let grad = self.grad[run.first * channels..][..P * channels].as_ptr();
        // Safety: there are P pixels, and these vectors lie within their channels.
        let grads: [[S::f32s; V]; P] = std::array::from_fn(|number| {
            std::array::from_fn(|vector| unsafe {
                lanes.load(simd, grad.add(number * channels + first + vector * S::F32_LANES))
            })
        });
        for row in view.row {
            for column in run.seen {
                let (pixel, tap) = view.places(*row, *column, first);
                for vector in 0..V {
                    let offset = vector * S::F32_LANES;
                    // Safety: what a run sees, the last of its pixels too, lies within the image and the kernel, and these
                    // vectors within the channels.
                    unsafe {
                        let place = self.sums.as_mut_ptr().add(tap + offset);
                        let mut sum = lanes.load(simd, place);
                        for (number, grad) in grads.iter().enumerate() {
                            let pixel = image.as_ptr().add(pixel + number * run.apart * channels + offset);
                            sum = simd.mul_add_f32s(grad[vector], lanes.load(simd, pixel), sum);
                        }
                        lanes.store(simd, place, sum);
                    }
                }
            }
        }
    }
}
