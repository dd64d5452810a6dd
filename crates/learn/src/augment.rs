//! Random changes of training images, decided by (seed, epoch, sample) alone.

use crate::config::Augment;
use crate::random::{between, uniform};
use rand_chacha::ChaCha8Rng;

/// Changes a square RGB image (`size` x `size` x 3 bytes, row by row). What comes in from outside the image is its
/// border, repeated.
pub(crate) fn augment(pixels: &[u8], size: usize, rules: &Augment, random: &mut ChaCha8Rng) -> Vec<u8> {
    // All draws are made whatever the rules, so that switching one off leaves the others as they were.
    let (flip, area) = (uniform(random) < 0.5, between(random, rules.crop, 1.0));
    let (across, down) = (between(random, -1.0, 1.0), between(random, -1.0, 1.0));
    let color = [(); 3].map(|()| between(random, 1.0 - rules.color, 1.0 + rules.color) as f32);
    let side = area.sqrt() * size as f64;
    let room = (size as f64 - side) / 2.0 + rules.shift * size as f64;
    let left = (size as f64 - side) / 2.0 + across * room;
    let top = (size as f64 - side) / 2.0 + down * room;
    let step = side / size as f64;
    let mut out = vec![0; size * size * 3];
    for (y, row) in out.chunks_exact_mut(size * 3).enumerate() {
        let from_y = top + (y as f64 + 0.5) * step - 0.5;
        for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
            let x = if rules.flip && flip { size - 1 - x } else { x };
            let from_x = left + (x as f64 + 0.5) * step - 0.5;
            pixel.copy_from_slice(&bilinear(pixels, size, from_x, from_y));
        }
    }
    if rules.color > 0.0 {
        recolor(&mut out, color);
    }
    out
}

/// The color at a place between pixel centres.
fn bilinear(pixels: &[u8], size: usize, x: f64, y: f64) -> [u8; 3] {
    let last = (size - 1) as f64;
    let (x, y) = (x.clamp(0.0, last), y.clamp(0.0, last));
    let (left, top) = (x as usize, y as usize);
    let (right, bottom) = ((left + 1).min(size - 1), (top + 1).min(size - 1));
    let (dx, dy) = ((x - left as f64) as f32, (y - top as f64) as f32);
    let at = |x: usize, y: usize, channel: usize| f32::from(pixels[(y * size + x) * 3 + channel]);
    [0, 1, 2].map(|c| {
        let above = at(left, top, c) + (at(right, top, c) - at(left, top, c)) * dx;
        let below = at(left, bottom, c) + (at(right, bottom, c) - at(left, bottom, c)) * dx;
        (above + (below - above) * dy).round() as u8
    })
}

/// Scales brightness, contrast and saturation.
fn recolor(pixels: &mut [u8], [brightness, contrast, saturation]: [f32; 3]) {
    let gray = |pixel: &[u8]| 0.299 * f32::from(pixel[0]) + 0.587 * f32::from(pixel[1]) + 0.114 * f32::from(pixel[2]);
    let mean = pixels.chunks_exact(3).map(gray).sum::<f32>() / (pixels.len() / 3) as f32;
    for pixel in pixels.chunks_exact_mut(3) {
        let own = gray(pixel);
        for value in pixel {
            let saturated = own + (f32::from(*value) - own) * saturation;
            *value = ((mean + (saturated - mean) * contrast) * brightness).round().clamp(0.0, 255.0) as u8;
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

    fn draw(rules: &Augment, sample: u64) -> Vec<u8> {
        augment(&image(), 8, rules, &mut stream(1, Purpose::Augment { epoch: 0, sample }))
    }

    const NONE: Augment = Augment { shift: 0.0, flip: false, crop: 1.0, color: 0.0 };

    #[test]
    fn without_rules_the_image_stays_as_it_is() {
        assert_eq!(draw(&NONE, 3), image());
    }

    #[test]
    fn it_repeats_for_a_sample_and_differs_between_samples() {
        let rules = Augment { shift: 0.2, flip: true, crop: 0.5, color: 0.3 };
        assert_eq!(draw(&rules, 1), draw(&rules, 1));
        assert_ne!(draw(&rules, 1), draw(&rules, 2));
    }

    #[test]
    fn about_half_of_the_images_are_mirrored() {
        let rules = Augment { flip: true, ..NONE };
        let mirrored = (0..200).filter(|&sample| draw(&rules, sample) != image()).count();
        assert!((70..130).contains(&mirrored), "{mirrored}");
    }
}
