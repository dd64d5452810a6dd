//! RandAugment (Cubuk et al. 2020): a few changes of each image, drawn from fourteen kinds, all of one strength. Kinds and
//! ranges are those of `torchvision.transforms.RandAugment`; what is sampled is sampled bilinearly.

use crate::random::uniform;
use rand_chacha::ChaCha8Rng;

/// The greatest strength.
const STRONGEST: f64 = 30.0;
/// How many kinds of changes there are.
const KINDS: usize = 14;

/// One change; angles are in radians, shifts in shares of the image's side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Operation {
    Identity,
    ShearX(f64),
    ShearY(f64),
    TranslateX(f64),
    TranslateY(f64),
    Rotate(f64),
    Brightness(f32),
    Color(f32),
    Contrast(f32),
    Sharpness(f32),
    Posterize(u32),
    Solarize(f32),
    AutoContrast,
    Equalize,
}

impl Operation {
    /// Draws one of a strength from 0 to [`STRONGEST`].
    pub(super) fn draw(magnitude: f64, random: &mut ChaCha8Rng) -> Operation {
        let kind = ((uniform(random) * KINDS as f64) as usize).min(KINDS - 1);
        let sign = if uniform(random) < 0.5 { 1.0 } else { -1.0 };
        let strength = magnitude / STRONGEST;
        let signed = sign * strength;
        let factor = (1.0 + 0.9 * signed) as f32;
        match kind {
            0 => Operation::Identity,
            1 => Operation::ShearX(0.3 * signed),
            2 => Operation::ShearY(0.3 * signed),
            3 => Operation::TranslateX(150.0 / 331.0 * signed),
            4 => Operation::TranslateY(150.0 / 331.0 * signed),
            5 => Operation::Rotate((30.0 * signed).to_radians()),
            6 => Operation::Brightness(factor),
            7 => Operation::Color(factor),
            8 => Operation::Contrast(factor),
            9 => Operation::Sharpness(factor),
            10 => Operation::Posterize(8 - (4.0 * strength).round() as u32),
            11 => Operation::Solarize((255.0 * (1.0 - strength)) as f32),
            12 => Operation::AutoContrast,
            _ => Operation::Equalize,
        }
    }

    /// Changes an image of `size` x `size` RGB values in 0..=255.
    pub(super) fn apply(self, image: &mut [f32], size: usize) {
        match self {
            Operation::Identity => {}
            Operation::ShearX(by) => moved(image, size, [1.0, by, 0.0, 0.0, 1.0, 0.0]),
            Operation::ShearY(by) => moved(image, size, [1.0, 0.0, 0.0, by, 1.0, 0.0]),
            Operation::TranslateX(by) => moved(image, size, [1.0, 0.0, -by * size as f64, 0.0, 1.0, 0.0]),
            Operation::TranslateY(by) => moved(image, size, [1.0, 0.0, 0.0, 0.0, 1.0, -by * size as f64]),
            Operation::Rotate(angle) => {
                let (sine, cosine) = angle.sin_cos();
                moved(image, size, [cosine, sine, 0.0, -sine, cosine, 0.0]);
            }
            Operation::Brightness(factor) => blended(image, factor, |_| [0.0; 3]),
            Operation::Color(factor) => blended(image, factor, |pixel| [gray(pixel); 3]),
            Operation::Contrast(factor) => {
                let pixels = image.as_chunks::<3>().0;
                let mean = pixels.iter().map(gray).sum::<f32>() / pixels.len().max(1) as f32;
                blended(image, factor, |_| [mean; 3]);
            }
            Operation::Sharpness(factor) => sharpened(image, size, factor),
            Operation::Posterize(bits) => {
                let step = (1u32 << (8 - bits.min(8))) as f32;
                image.iter_mut().for_each(|value| *value = (*value / step).floor() * step);
            }
            Operation::Solarize(threshold) => image.iter_mut().for_each(|value| {
                if *value >= threshold {
                    *value = 255.0 - *value;
                }
            }),
            Operation::AutoContrast => by_channel(image, |channel| {
                let (low, high) = channel.iter().fold((255.0f32, 0.0f32), |(l, h), v| (l.min(**v), h.max(**v)));
                if high > low {
                    channel.iter_mut().for_each(|value| **value = (**value - low) * (255.0 / (high - low)));
                }
            }),
            Operation::Equalize => by_channel(image, equalize),
        }
    }
}

fn gray(pixel: &[f32; 3]) -> f32 {
    0.299 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2]
}

/// Each value away from, or towards, another: `other + (value - other) * factor`.
fn blended(image: &mut [f32], factor: f32, other: impl Fn(&[f32; 3]) -> [f32; 3]) {
    for pixel in image.as_chunks_mut::<3>().0 {
        let other = other(pixel);
        for (value, other) in pixel.iter_mut().zip(other) {
            *value = (other + (*value - other) * factor).clamp(0.0, 255.0);
        }
    }
}

/// The image whose pixel at (x, y) from the centre is what was at (a x + b y + c, d x + e y + f); black beyond its edges.
fn moved(image: &mut [f32], size: usize, [a, b, c, d, e, f]: [f64; 6]) {
    let before = image.to_vec();
    let centre = (size as f64 - 1.0) / 2.0;
    let at = |x: isize, y: isize, channel: usize| {
        let inside = 0..size as isize;
        if inside.contains(&x) && inside.contains(&y) {
            before[(y as usize * size + x as usize) * 3 + channel]
        } else {
            0.0
        }
    };
    for (number, pixel) in image.as_chunks_mut::<3>().0.iter_mut().enumerate() {
        let (x, y) = ((number % size) as f64 - centre, (number / size) as f64 - centre);
        let (from_x, from_y) = (a * x + b * y + c + centre, d * x + e * y + f + centre);
        let (left, top) = (from_x.floor(), from_y.floor());
        let (right, down) = ((from_x - left) as f32, (from_y - top) as f32);
        let (left, top) = (left as isize, top as isize);
        for (channel, value) in pixel.iter_mut().enumerate() {
            let row = |y: isize| at(left, y, channel) * (1.0 - right) + at(left + 1, y, channel) * right;
            *value = row(top) * (1.0 - down) + row(top + 1) * down;
        }
    }
}

/// Away from, or towards, the image smoothed by a 3x3 kernel with weights 1 and 5; its border stays.
fn sharpened(image: &mut [f32], size: usize, factor: f32) {
    let before = image.to_vec();
    for y in 1..size.saturating_sub(1) {
        for x in 1..size - 1 {
            for channel in 0..3 {
                let at = |x: usize, y: usize| before[(y * size + x) * 3 + channel];
                let around: f32 =
                    (y - 1..=y + 1).flat_map(|y| (x - 1..=x + 1).map(move |x| (x, y))).map(|(x, y)| at(x, y)).sum();
                let smooth = (around + 4.0 * at(x, y)) / 13.0;
                image[(y * size + x) * 3 + channel] = (smooth + (at(x, y) - smooth) * factor).clamp(0.0, 255.0);
            }
        }
    }
}

fn by_channel(image: &mut [f32], change: impl Fn(&mut [&mut f32])) {
    for channel in 0..3 {
        let mut values: Vec<&mut f32> = image.iter_mut().skip(channel).step_by(3).collect();
        change(&mut values);
    }
}

/// Gives each value the share of those below it, so that all values are about as frequent.
fn equalize(channel: &mut [&mut f32]) {
    let level = |value: f32| value.round().clamp(0.0, 255.0) as usize;
    let mut counts = [0usize; 256];
    channel.iter().for_each(|value| counts[level(**value)] += 1);
    let last = counts.iter().rev().find(|count| **count > 0).copied().unwrap_or(0);
    let step = (channel.len() - last) / 255;
    if step == 0 {
        return;
    }
    let mut below = step / 2;
    let table = counts.map(|count| {
        let value = (below / step).min(255) as f32;
        below += count;
        value
    });
    channel.iter_mut().for_each(|value| **value = table[level(**value)]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, stream};

    const SIZE: usize = 9;

    fn image() -> Vec<f32> {
        (0..SIZE * SIZE * 3).map(|index| (index * 7 % 200) as f32 + 20.0).collect()
    }

    fn changed(operation: Operation) -> Vec<f32> {
        let mut image = image();
        operation.apply(&mut image, SIZE);
        image
    }

    #[test]
    fn nothing_changes_at_strength_zero() {
        let still = [
            Operation::Identity,
            Operation::ShearX(0.0),
            Operation::TranslateY(0.0),
            Operation::Rotate(0.0),
            Operation::Brightness(1.0),
            Operation::Color(1.0),
            Operation::Sharpness(1.0),
            Operation::Posterize(8),
            Operation::Solarize(255.0),
        ];
        for operation in still {
            let far = changed(operation).iter().zip(image()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(far < 1e-3, "{operation:?}: {far}");
        }
    }

    #[test]
    fn changes_do_what_their_names_say() {
        let before = image();
        let at = |image: &[f32], x: usize, y: usize| image[(y * SIZE + x) * 3];
        let shifted = changed(Operation::TranslateX(2.0 / SIZE as f64));
        assert_eq!(at(&shifted, 5, 4), at(&before, 3, 4));
        assert_eq!(at(&shifted, 0, 4), 0.0);
        let turned = changed(Operation::Rotate(std::f64::consts::PI));
        assert!((at(&turned, 0, 0) - at(&before, 8, 8)).abs() < 1e-3);
        assert!((changed(Operation::Brightness(0.5))[3] - before[3] * 0.5).abs() < 1e-3);
        let plain = changed(Operation::Color(0.0));
        assert!((plain[0] - plain[1]).abs() < 1e-3 && (plain[1] - plain[2]).abs() < 1e-3);
        assert_eq!(changed(Operation::Posterize(4))[0], (before[0] / 16.0).floor() * 16.0);
        assert_eq!(changed(Operation::Solarize(0.0))[7], 255.0 - before[7]);
        let stretched = changed(Operation::AutoContrast);
        assert_eq!(stretched.iter().copied().fold(0.0, f32::max), 255.0);
        assert_eq!(stretched.iter().copied().fold(255.0, f32::min), 0.0);
    }

    #[test]
    fn an_equalized_image_has_about_as_many_of_each_value() {
        // 64 x 64 pixels whose values crowd near zero.
        let mut image: Vec<f32> =
            (0..64 * 64 * 3).map(|index| ((index / 3 % 100) as f32 / 100.0).powi(3) * 255.0).collect();
        Operation::Equalize.apply(&mut image, 64);
        let low = image.iter().filter(|value| **value < 128.0).count() as f32 / image.len() as f32;
        assert!((0.42..0.58).contains(&low), "{low}");
    }

    #[test]
    fn every_kind_is_drawn_and_keeps_values_in_range() {
        let mut kinds = std::collections::HashSet::new();
        for sample in 0..300 {
            let operation = Operation::draw(9.0, &mut stream(1, Purpose::Augment { epoch: 0, sample }));
            kinds.insert(std::mem::discriminant(&operation));
            assert!(changed(operation).iter().all(|value| (0.0..=255.0).contains(value)), "{operation:?}");
        }
        assert_eq!(kinds.len(), KINDS);
    }
}
