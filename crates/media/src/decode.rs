//! From bytes to upright RGB pixels.

use crate::tiff::{Tiff, TiffFile};
use crate::window::{Layout, Raster, Samples, Shape};
use crate::{exif, jpeg};
use assay_domain::content::{Content, HEAD_BYTES, ImageKind};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage, RgbaImage};
use std::io::Cursor;
use std::sync::{Mutex, PoisonError};

/// An image of more pixels is refused before it is decoded: 200 megapixels, 600 MB as RGB.
pub const MAX_PIXELS: u64 = 200_000_000;

/// Images of more pixels are inspected one at a time.
const LARGE_PIXELS: u64 = 32_000_000;
static TURN: Mutex<()> = Mutex::new(());

/// Why bytes are no image that can be used.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// Nothing at all.
    #[error("the file is empty (0 bytes)")]
    Empty,
    /// Not an image.
    #[error("not an image that can be read ({})", ImageKind::NAMES)]
    NotAnImage,
    /// An image of an unsupported format.
    #[error("this cannot be read: {0}; convert it to PNG or JPEG")]
    Unread(String),
    /// Too large to decode safely.
    #[error("the image claims {width} x {height} pixels; at most {} megapixels are decoded", MAX_PIXELS / 1_000_000)]
    TooLarge {
        /// Claimed width.
        width: u32,
        /// Claimed height.
        height: u32,
    },
    /// An image that is cut off or damaged.
    #[error("the image is damaged or cut off: {0}")]
    Damaged(String),
}

/// What is known of an image without decoding its pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Width of the upright image, in pixels.
    pub width: u32,
    /// Height of the upright image, in pixels.
    pub height: u32,
}

/// Size and orientation, and whether the file is whole. All formats but JPEG are decoded too, since damage between
/// header and end shows nowhere else; of a JPEG only the markers are read (see `jpeg.rs`), for speed: [`decode`] may
/// still find damage within its scans.
pub fn inspect(bytes: &[u8]) -> Result<Facts, MediaError> {
    guarded(|| {
        let kind = kind_of(bytes)?;
        let (width, height, orientation) = match kind {
            ImageKind::Tiff => {
                let file = TiffFile::of(bytes);
                let tiff = Tiff::open(&file)?;
                (tiff.width, tiff.height, tiff.orientation)
            }
            ImageKind::Jpeg => {
                let header = jpeg::header(bytes)?;
                (header.width, header.height, header.orientation)
            }
            _ => {
                let (decoder, orientation) = open(bytes)?;
                (decoder.dimensions().0, decoder.dimensions().1, orientation)
            }
        };
        is_of_size(width, height)?;
        if kind == ImageKind::Jpeg {
            jpeg::check(bytes)?;
        } else {
            // Limit memory: one large image at a time.
            let is_large = u64::from(width) * u64::from(height) > LARGE_PIXELS;
            let _turn = is_large.then(|| TURN.lock().unwrap_or_else(PoisonError::into_inner));
            pixels(bytes, kind)?;
        }
        Ok(match orientation {
            Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH => Facts { width: height, height: width },
            _ => Facts { width, height },
        })
    })
}

/// The upright image in 8 bits. Transparency is composed over white; samples of more than 8 bits, signed or float are
/// windowed by the image's values (see `window.rs`).
pub fn decode(bytes: &[u8]) -> Result<RgbImage, MediaError> {
    guarded(|| {
        let (image, orientation) = pixels(bytes, kind_of(bytes)?)?;
        let mut image = DynamicImage::ImageRgb8(image);
        image.apply_orientation(orientation);
        Ok(image.into_rgb8())
    })
}

/// The pixels as stored, and their orientation.
fn pixels(bytes: &[u8], kind: ImageKind) -> Result<(RgbImage, Orientation), MediaError> {
    if kind == ImageKind::Tiff {
        let file = TiffFile::of(bytes);
        let tiff = Tiff::open(&file)?;
        is_of_size(tiff.width, tiff.height)?;
        let orientation = tiff.orientation;
        return Ok((tiff.decode()?, orientation));
    }
    if kind == ImageKind::Jpeg {
        let header = jpeg::header(bytes)?;
        is_of_size(header.width, header.height)?;
        return Ok((jpeg::decode(bytes)?, header.orientation));
    }
    let (decoder, orientation) = open(bytes)?;
    let image = DynamicImage::from_decoder(decoder).map_err(reason)?;
    Ok((in_8_bits(image)?, orientation))
}

fn in_8_bits(image: DynamicImage) -> Result<RgbImage, MediaError> {
    use DynamicImage::{ImageLuma16, ImageLumaA16, ImageRgb16, ImageRgb32F, ImageRgba16, ImageRgba32F};
    let (shape, samples): (Shape, Samples<'_>) = match &image {
        ImageLuma16(pixels) => (Shape::Grey, pixels.as_raw().as_slice().into()),
        ImageLumaA16(pixels) => (Shape::GreyAlpha, pixels.as_raw().as_slice().into()),
        ImageRgb16(pixels) => (Shape::Rgb, pixels.as_raw().as_slice().into()),
        ImageRgba16(pixels) => (Shape::RgbAlpha, pixels.as_raw().as_slice().into()),
        ImageRgb32F(pixels) => (Shape::Rgb, pixels.as_raw().as_slice().into()),
        ImageRgba32F(pixels) => (Shape::RgbAlpha, pixels.as_raw().as_slice().into()),
        _ if !image.color().has_alpha() => return Ok(image.into_rgb8()),
        _ => return Ok(over_white(image.into_rgba8())),
    };
    let (width, height) = (image.width(), image.height());
    let channels = usize::from(image.color().channel_count());
    let raster = Raster { width, height, channels, shape, layout: Layout::Interleaved, samples, no_data: None };
    raster.shown().map_err(MediaError::Damaged)
}

/// An image without any visible pixel is taken as opaque: its writer left the alpha unset.
fn over_white(rgba: RgbaImage) -> RgbImage {
    if rgba.pixels().all(|pixel| pixel.0[3] == 0) {
        return DynamicImage::ImageRgba8(rgba).into_rgb8();
    }
    RgbImage::from_fn(rgba.width(), rgba.height(), |x, y| {
        let [red, green, blue, alpha] = rgba.get_pixel(x, y).0;
        let over_white =
            |value: u8| ((u32::from(value) * u32::from(alpha) + 255 * (255 - u32::from(alpha)) + 127) / 255) as u8;
        image::Rgb([over_white(red), over_white(green), over_white(blue)])
    })
}

/// The image as a JPEG file of this quality (1 to 100).
pub fn encode_jpeg(image: &RgbImage, quality: u8) -> Result<Vec<u8>, MediaError> {
    let mut bytes = Vec::new();
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, quality);
    image.write_with_encoder(encoder).map_err(reason)?;
    Ok(bytes)
}

/// The image as a PNG file.
pub fn encode_png(image: &RgbImage) -> Result<Vec<u8>, MediaError> {
    let mut bytes = Vec::new();
    image.write_with_encoder(image::codecs::png::PngEncoder::new(&mut bytes)).map_err(reason)?;
    Ok(bytes)
}

fn kind_of(bytes: &[u8]) -> Result<ImageKind, MediaError> {
    match Content::of(&bytes[..bytes.len().min(HEAD_BYTES)]) {
        Content::Image(kind) => Ok(kind),
        Content::Empty => Err(MediaError::Empty),
        Content::UnreadImage(name) => Err(MediaError::Unread(format!("a file of another kind ({name})"))),
        Content::Archive(_) | Content::Text | Content::Other => Err(MediaError::NotAnImage),
    }
}

fn is_of_size(width: u32, height: u32) -> Result<(), MediaError> {
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(MediaError::TooLarge { width, height });
    }
    if width == 0 || height == 0 {
        return Err(MediaError::Damaged(format!("its size is {width} x {height}")));
    }
    Ok(())
}

/// Opens what is neither JPEG nor TIFF. The reader has the type of that in `image::load_from_memory`, so that the
/// compiler has the decoders once.
fn open(bytes: &[u8]) -> Result<(impl ImageDecoder + '_, Orientation), MediaError> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|_| MediaError::NotAnImage)?;
    let is_png = reader.format() == Some(ImageFormat::Png);
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_PIXELS * 4);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(reason)?;
    let (width, height) = decoder.dimensions();
    is_of_size(width, height)?;
    let of_png = if is_png { exif::orientation_of_png(bytes) } else { None };
    // Ignore an unreadable orientation: the pixels are still good.
    let orientation = of_png.or_else(|| exif::orientation(&decoder.exif_metadata().ok().flatten()?));
    let orientation = orientation.unwrap_or(Orientation::NoTransforms);
    Ok((decoder, orientation))
}

/// Runs a decoder; a panic on hostile bytes counts as damage.
fn guarded<T>(read: impl FnOnce() -> Result<T, MediaError>) -> Result<T, MediaError> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(MediaError::Damaged("its decoder gave up".into())))
}

/// The decoder's message.
fn reason(why: image::ImageError) -> MediaError {
    match why {
        image::ImageError::Unsupported(why) => MediaError::Unread(why.to_string()),
        why => MediaError::Damaged(why.to_string()),
    }
}

#[cfg(test)]
mod tests;
