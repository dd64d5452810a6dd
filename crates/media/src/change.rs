//! Changes of an image that should not change what it shows: for testing a model.

use crate::RgbImage;
use image::imageops::{FilterType, blur, brighten, resize};

/// Brighter (or darker) by a share of the whole range, -1 to 1.
pub fn brightened(image: &RgbImage, share: f64) -> RgbImage {
    brighten(image, (share * 255.0).round() as i32)
}

/// Blurred by a Gaussian with this deviation, in shares of the image's shorter side.
pub fn blurred(image: &RgbImage, share: f64) -> RgbImage {
    let deviation = share * f64::from(image.width().min(image.height()));
    if deviation < 0.1 { image.clone() } else { blur(image, deviation as f32) }
}

/// As if it had been taken with fewer pixels: each side times `share`, and enlarged again.
pub fn coarsened(image: &RgbImage, share: f64) -> RgbImage {
    let fewer = |side: u32| ((f64::from(side) * share).round() as u32).max(1);
    let small = resize(image, fewer(image.width()), fewer(image.height()), FilterType::Triangle);
    resize(&small, image.width(), image.height(), FilterType::Triangle)
}

/// Turned around its centre, anticlockwise; what comes in from outside is the border, repeated.
pub fn turned(image: &RgbImage, degrees: f64) -> RgbImage {
    let (sine, cosine) = degrees.to_radians().sin_cos();
    let (width, height) = image.dimensions();
    let centre = (f64::from(width - 1) / 2.0, f64::from(height - 1) / 2.0);
    let at = |x: f64, y: f64| {
        let inside = |place: f64, side: u32| place.clamp(0.0, f64::from(side - 1)) as u32;
        image.get_pixel(inside(x, width), inside(y, height)).0
    };
    RgbImage::from_fn(width, height, |x, y| {
        let (x, y) = (f64::from(x) - centre.0, f64::from(y) - centre.1);
        let (x, y) = (cosine * x - sine * y + centre.0, sine * x + cosine * y + centre.1);
        let (left, top) = (x.floor(), y.floor());
        let (right, down) = (x - left, y - top);
        image::Rgb(std::array::from_fn(|channel| {
            let row = |y: f64| {
                f64::from(at(left, y)[channel]) * (1.0 - right) + f64::from(at(left + 1.0, y)[channel]) * right
            };
            (row(top) * (1.0 - down) + row(top + 1.0) * down).round() as u8
        }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> RgbImage {
        RgbImage::from_fn(12, 9, |x, y| image::Rgb([(x * 20) as u8, (y * 25) as u8, 100]))
    }

    #[test]
    fn nothing_changes_by_nothing() {
        for changed in
            [brightened(&image(), 0.0), blurred(&image(), 0.0), coarsened(&image(), 1.0), turned(&image(), 0.0)]
        {
            assert_eq!(changed, image());
        }
    }

    #[test]
    fn changes_do_what_their_names_say() {
        let mean = |image: &RgbImage| image.pixels().map(|p| f64::from(p.0[2])).sum::<f64>() / 108.0;
        assert!((mean(&brightened(&image(), 0.2)) - 151.0).abs() < 1.0);
        assert!((mean(&brightened(&image(), -0.2)) - 49.0).abs() < 1.0);
        let steepest = |image: &RgbImage| {
            (1..12).map(|x| image.get_pixel(x, 4).0[0].abs_diff(image.get_pixel(x - 1, 4).0[0])).max()
        };
        let stripes = RgbImage::from_fn(12, 9, |x, _| image::Rgb([(x % 2 * 200) as u8; 3]));
        assert!(steepest(&blurred(&stripes, 0.2)) < Some(60) && steepest(&coarsened(&stripes, 0.5)) < Some(60));
        let half = turned(&image(), 180.0);
        assert_eq!(half.get_pixel(0, 0), image().get_pixel(11, 8));
        // Anticlockwise: what was at the right is at the top.
        let quarter = turned(&RgbImage::from_fn(9, 9, |x, _| image::Rgb([(x * 20) as u8; 3])), 90.0);
        assert_eq!(quarter.get_pixel(4, 0).0[0], 160);
    }
}
