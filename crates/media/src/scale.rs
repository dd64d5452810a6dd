//! Scaling.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;
use std::cell::RefCell;

thread_local! {
    /// With the memory that it needed for the last image.
    static RESIZER: RefCell<Resizer> = RefCell::new(Resizer::new());
}

/// The image scaled into `side` x `side`, its shape kept; never larger than it is.
pub fn thumbnail(image: &RgbImage, side: u32) -> RgbImage {
    let (width, height) = image.dimensions();
    let scale = f64::from(side) / f64::from(width.max(height));
    if scale >= 1.0 {
        return image.clone();
    }
    let scaled = |length: u32| ((f64::from(length) * scale).round() as u32).max(1);
    resize(image, scaled(width), scaled(height))
}

/// The image as `side` x `side` RGB bytes, row by row, its shape not kept: what a model sees.
pub fn square(image: &RgbImage, side: u32) -> Vec<u8> {
    if image.dimensions() == (side, side) {
        return image.as_raw().clone();
    }
    resize(image, side, side).into_raw()
}

/// Bilinear with antialiasing, as `torchvision.transforms.Resize`.
fn resize(image: &RgbImage, width: u32, height: u32) -> RgbImage {
    let source = ImageRef::new(image.width(), image.height(), image.as_raw(), PixelType::U8x3);
    let mut target = Image::new(width, height, PixelType::U8x3);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    source
        .map_err(|why| why.to_string())
        .and_then(|source| {
            RESIZER
                .with_borrow_mut(|resizer| resizer.resize(&source, &mut target, &options))
                .map_err(|why| why.to_string())
        })
        .expect("BUG: an RGB image fits its own size");
    RgbImage::from_raw(width, height, target.into_vec()).expect("BUG: the target has the size asked for")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thumbnail_keeps_the_shape_and_never_grows() {
        let image = RgbImage::new(400, 100);
        assert_eq!(thumbnail(&image, 100).dimensions(), (100, 25));
        assert_eq!(thumbnail(&image, 1000).dimensions(), (400, 100));
        assert_eq!(thumbnail(&RgbImage::new(5000, 1), 50).dimensions(), (50, 1));
    }

    #[test]
    fn a_square_of_one_color_keeps_its_color() {
        let image = RgbImage::from_pixel(13, 7, image::Rgb([10, 200, 30]));
        assert!(square(&image, 8).chunks_exact(3).all(|pixel| pixel == [10, 200, 30]));
    }
}
