//! Random changes of training images, decided by (seed, epoch, sample) alone.

mod rand_augment;

use crate::config::Augment;
use crate::random::{between, uniform};
use pulp::{Arch, NullaryFnOnce};
use rand_augment::Operation;
use rand_chacha::ChaCha8Rng;

/// What one image goes through.
pub(crate) struct Change {
    flip: bool,
    crop: Crop,
    /// Factors of brightness, contrast and saturation.
    color: Option<[f32; 3]>,
    /// RandAugment's, one after the other.
    operations: Vec<Operation>,
}

/// A part of a square image of side 1; it may reach beyond it.
struct Crop {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
}

impl Change {
    /// Draws a change by the rules. All draws are made whatever the rules, so that switching one off leaves the others
    /// as they were.
    pub(crate) fn draw(rules: &Augment, random: &mut ChaCha8Rng) -> Change {
        let (flip, area) = (uniform(random) < 0.5, between(random, rules.crop, 1.0));
        let (across, down) = (between(random, -1.0, 1.0), between(random, -1.0, 1.0));
        let color = [(); 3].map(|()| between(random, 1.0 - rules.color, 1.0 + rules.color) as f32);
        let ratio = between(random, -1.0, 1.0) * rules.ratio.ln();
        let (width, height) = ((area * ratio.exp()).sqrt().min(1.0), (area / ratio.exp()).sqrt().min(1.0));
        let begin = |length: f64, place: f64| {
            let room = (1.0 - length) / 2.0;
            room + place * (room + rules.shift)
        };
        let crop = Crop { left: begin(width, across), top: begin(height, down), width, height };
        let operations = (0..rules.rand_count).map(|_| Operation::draw(rules.rand_magnitude, random)).collect();
        Change { flip: rules.flip && flip, crop, color: (rules.color > 0.0).then_some(color), operations }
    }

    /// Appends the changed image, `size` x `size` RGB values in 0..=255, row by row. It is made from a square one of
    /// `side` x `side` RGB bytes; what comes in from outside of that is its border, repeated.
    pub(crate) fn apply(&self, pixels: &[u8], side: usize, size: usize, out: &mut Vec<f32>) {
        let begin = out.len();
        let Crop { left, top, width, height } = self.crop;
        let full = side as f64;
        let columns = Taps::new(left * full, width * full, size, self.flip);
        let rows = Taps::new(top * full, height * full, size, false);
        Arch::new().dispatch(Resample { pixels, side, columns, rows, out });
        if let Some(color) = self.color {
            recolor(&mut out[begin..], color);
        }
        self.operations.iter().for_each(|operation| operation.apply(&mut out[begin..], size));
    }
}

/// Where the pixels of an output line come from: each is the weighted sum of `count` neighbours.
struct Taps {
    count: usize,
    /// The first neighbour of each output pixel; it may lie outside of the image.
    first: Vec<isize>,
    /// `count` weights for each output pixel; their sum is 1.
    weights: Vec<f32>,
}

impl Taps {
    /// Of `size` output pixels over the `length` source pixels from `begin` on: bilinear, and antialiased where the
    /// image shrinks, as Pillow's `BILINEAR` and `torchvision.transforms.RandomResizedCrop`.
    fn new(begin: f64, length: f64, size: usize, mirrored: bool) -> Taps {
        let scale = length / size as f64;
        let reach = scale.max(1.0);
        let count = (2.0 * reach).ceil() as usize;
        let (mut first, mut weights) = (Vec::with_capacity(size), Vec::with_capacity(size * count));
        for place in 0..size {
            let place = if mirrored { size - 1 - place } else { place };
            let centre = begin + (place as f64 + 0.5) * scale - 0.5;
            let from = (centre - reach).floor() + 1.0;
            let weight = |tap: usize| (1.0 - (from + tap as f64 - centre).abs() / reach).max(0.0);
            let sum: f64 = (0..count).map(weight).sum();
            weights.extend((0..count).map(|tap| (weight(tap) / sum) as f32));
            first.push(from as isize);
        }
        Taps { count, first, weights }
    }

    /// All neighbours of all output pixels.
    fn range(&self) -> std::ops::Range<isize> {
        let low = self.first.iter().copied().min().unwrap_or(0);
        let high = self.first.iter().copied().max().unwrap_or(0);
        low..high + self.count as isize
    }
}

/// The square image of `side` x `side` RGB bytes as the taps see it, appended to `out`.
struct Resample<'a> {
    pixels: &'a [u8],
    side: usize,
    columns: Taps,
    rows: Taps,
    out: &'a mut Vec<f32>,
}

impl NullaryFnOnce for Resample<'_> {
    type Output = ();

    /// Columns are summed first, since whole rows of bytes make long vectors; then each pixel of the few rows that are
    /// left.
    #[inline(always)] // so that it is compiled for the vectors of the processor
    fn call(self) {
        let Resample { pixels, side, columns, rows, out } = self;
        let inside = |place: isize| place.clamp(0, side as isize - 1) as usize;
        let reached = columns.range();
        let (left, right) = (inside(reached.start), inside(reached.end - 1) + 1);
        let before = (left as isize - reached.start).max(0) as usize;
        let mut sum = vec![0.0f32; (right - left) * 3];
        // With a fourth value that is none, so that a pixel is one vector.
        let mut line = vec![[0.0f32; 4]; reached.len()];
        let mut row = vec![[0.0f32; 4]; columns.first.len()];
        for (first, weights) in rows.first.iter().zip(rows.weights.chunks_exact(rows.count)) {
            sum.fill(0.0);
            for (place, weight) in (*first..).zip(weights).filter(|(_, weight)| **weight > 0.0) {
                let source = &pixels[(inside(place) * side + left) * 3..][..sum.len()];
                sum.iter_mut().zip(source).for_each(|(sum, value)| *sum += f32::from(*value) * weight);
            }
            let (summed, _) = sum.as_chunks::<3>();
            for (pixel, [red, green, blue]) in line[before..].iter_mut().zip(summed) {
                *pixel = [*red, *green, *blue, 0.0];
            }
            let (begin, end) = (line[before], line[before + summed.len() - 1]);
            line[..before].fill(begin);
            line[before + summed.len()..].fill(end);
            let taps = columns.first.iter().zip(columns.weights.chunks_exact(columns.count));
            for (pixel, (first, weights)) in row.iter_mut().zip(taps) {
                *pixel = [0.0; 4];
                for (neighbour, weight) in line[(first - reached.start) as usize..].iter().zip(weights) {
                    *pixel = std::array::from_fn(|value| pixel[value] + neighbour[value] * weight);
                }
            }
            out.extend(row.iter().flat_map(|[red, green, blue, _]| [*red, *green, *blue]));
        }
    }
}

/// Scales brightness, contrast and saturation of RGB values in 0..=255.
fn recolor(values: &mut [f32], [brightness, contrast, saturation]: [f32; 3]) {
    let (pixels, _) = values.as_chunks_mut::<3>();
    let gray = |pixel: &[f32; 3]| 0.299 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2];
    let mean = pixels.iter().map(gray).sum::<f32>() / pixels.len() as f32;
    for pixel in pixels {
        let own = gray(pixel);
        for value in pixel {
            let saturated = own + (*value - own) * saturation;
            *value = ((mean + (saturated - mean) * contrast) * brightness).clamp(0.0, 255.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, stream};

    fn image() -> Vec<u8> {
        (0..8 * 8 * 3).map(|i| (i * 5 % 256) as u8).collect()
    }

    fn draw(rules: &Augment, sample: u64) -> Vec<f32> {
        let mut out = Vec::new();
        let change = Change::draw(rules, &mut stream(1, Purpose::Augment { epoch: 0, sample }));
        change.apply(&image(), 8, 8, &mut out);
        out
    }

    fn unchanged() -> Vec<f32> {
        image().into_iter().map(f32::from).collect()
    }

    fn none() -> Augment {
        Augment { shift: 0.0, ..Augment::default() }
    }

    #[test]
    fn without_rules_the_image_stays_as_it_is() {
        assert_eq!(draw(&none(), 3), unchanged());
    }

    #[test]
    fn it_repeats_for_a_sample_and_differs_between_samples() {
        let rules = Augment { shift: 0.2, flip: true, crop: 0.5, ratio: 1.5, color: 0.3, ..none() };
        assert_eq!(draw(&rules, 1), draw(&rules, 1));
        assert_ne!(draw(&rules, 1), draw(&rules, 2));
    }

    #[test]
    fn about_half_of_the_images_are_mirrored() {
        let rules = Augment { flip: true, ..none() };
        let mirrored = (0..200).filter(|&sample| draw(&rules, sample) != unchanged()).count();
        assert!((70..130).contains(&mirrored), "{mirrored}");
    }

    /// The area of a crop and the ratio of its sides are as asked for, over many draws.
    #[test]
    fn crops_keep_to_their_area_and_ratio() {
        let rules = Augment { crop: 0.3, ratio: 4.0 / 3.0, ..none() };
        let crops =
            (0..500).map(|sample| Change::draw(&rules, &mut stream(1, Purpose::Augment { epoch: 0, sample })).crop);
        let (mut least, mut wide, mut tall) = (1.0f64, 0, 0);
        for Crop { left, top, width, height } in crops {
            let within = |begin: f64, length: f64| begin >= -1e-9 && begin + length <= 1.0 + 1e-9;
            assert!(within(left, width) && within(top, height));
            assert!((0.75 - 1e-9..=4.0 / 3.0 + 1e-9).contains(&(width / height)), "{width} x {height}");
            least = least.min(width * height);
            wide += usize::from(width > height);
            tall += usize::from(height > width);
        }
        assert!((0.25..0.35).contains(&least) && wide > 150 && tall > 150, "{least} {wide} {tall}");
    }

    /// A ramp stays a ramp when it is enlarged, and an image that shrinks is the mean of what it merges.
    #[test]
    fn resampling_is_linear_and_antialiased() {
        let ramp: Vec<u8> = (0..16 * 16 * 3).map(|i| (i / 3 % 16 * 10) as u8).collect();
        let whole = Change {
            flip: false,
            crop: Crop { left: 0.0, top: 0.0, width: 1.0, height: 1.0 },
            color: None,
            operations: vec![],
        };
        let mut large = Vec::new();
        whole.apply(&ramp, 16, 32, &mut large);
        for x in 1..31 {
            let expected = ((x as f32 + 0.5) / 2.0 - 0.5) * 10.0;
            assert!((large[(5 * 32 + x) * 3] - expected).abs() < 1e-3, "{x}: {} {expected}", large[(5 * 32 + x) * 3]);
        }
        let checkers: Vec<u8> = (0..16 * 16 * 3).map(|i| if (i / 3 + i / 48) % 2 == 0 { 0 } else { 200 }).collect();
        let mut small = Vec::new();
        whole.apply(&checkers, 16, 4, &mut small);
        // The repeated border weighs more at the edges.
        let inner = [5, 6, 9, 10].map(|pixel| small[pixel * 3]);
        assert!(inner.iter().all(|value| (value - 100.0).abs() < 1.0), "{inner:?}");
    }
}
