//! From bytes to upright RGB pixels.

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};
use std::io::Cursor;

/// An image of more pixels is refused before it is decoded: 200 megapixels, 600 MB as RGB.
pub const MAX_PIXELS: u64 = 200_000_000;

/// Why bytes are no image that can be used.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// Nothing at all.
    #[error("the file is empty (0 bytes)")]
    Empty,
    /// Not an image, or of a kind that is not read.
    #[error("not an image that can be read (JPEG, PNG, WebP, GIF, BMP or TIFF)")]
    NotAnImage,
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

/// Size and orientation from the header, and whether the file is whole; pixels are decoded only where the format has
/// no end marker to look for.
pub fn inspect(bytes: &[u8]) -> Result<Facts, MediaError> {
    let (decoder, orientation) = open(bytes)?;
    match image::guess_format(bytes) {
        Ok(ImageFormat::Jpeg) if !jpeg_is_whole(bytes) => {
            return Err(MediaError::Damaged("it ends before its end marker".into()));
        }
        Ok(ImageFormat::Jpeg) => {}
        Ok(ImageFormat::Png) if bytes[bytes.len().saturating_sub(12)..].windows(4).any(|tag| tag == b"IEND") => {}
        _ => {
            decode(bytes)?;
        }
    }
    let (width, height) = decoder.dimensions();
    Ok(match orientation {
        Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH => {
            Facts { width: height, height: width }
        }
        _ => Facts { width, height },
    })
}

/// The upright image. Transparent parts are laid on white; 16-bit and float samples are scaled to 8 bits.
pub fn decode(bytes: &[u8]) -> Result<RgbImage, MediaError> {
    let (decoder, orientation) = open(bytes)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    image.apply_orientation(orientation);
    if !image.color().has_alpha() {
        return Ok(image.into_rgb8());
    }
    let rgba = image.into_rgba8();
    Ok(RgbImage::from_fn(rgba.width(), rgba.height(), |x, y| {
        let [red, green, blue, alpha] = rgba.get_pixel(x, y).0;
        let over_white =
            |value: u8| ((u32::from(value) * u32::from(alpha) + 255 * (255 - u32::from(alpha)) + 127) / 255) as u8;
        image::Rgb([over_white(red), over_white(green), over_white(blue)])
    }))
}

/// The image as a JPEG file of this quality (1 to 100).
pub fn encode_jpeg(image: &RgbImage, quality: u8) -> Result<Vec<u8>, MediaError> {
    let mut bytes = Vec::new();
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, quality);
    image.write_with_encoder(encoder).map_err(damaged)?;
    Ok(bytes)
}

/// The image as a PNG file.
pub fn encode_png(image: &RgbImage) -> Result<Vec<u8>, MediaError> {
    let mut bytes = Vec::new();
    image.write_with_encoder(image::codecs::png::PngEncoder::new(&mut bytes)).map_err(damaged)?;
    Ok(bytes)
}

/// Whether the end marker follows the image data (in which it cannot occur). Segments before the data, which may hold
/// a thumbnail with its own end marker, are stepped over (ITU T.81, annex B).
fn jpeg_is_whole(bytes: &[u8]) -> bool {
    let mut at = 2;
    while let Some(&[0xff, marker, high, low]) = bytes.get(at..at + 4) {
        at += 2 + usize::from(u16::from_be_bytes([high, low]));
        if marker == 0xda {
            break;
        }
    }
    bytes.get(at..).is_some_and(|data| data.windows(2).any(|pair| pair == [0xff, 0xd9]))
}

fn open(bytes: &[u8]) -> Result<(impl ImageDecoder + '_, Orientation), MediaError> {
    if bytes.is_empty() {
        return Err(MediaError::Empty);
    }
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|_| MediaError::NotAnImage)?;
    if reader.format().is_none() {
        return Err(MediaError::NotAnImage);
    }
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_PIXELS * 4);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|why| match why {
        image::ImageError::Unsupported(_) => MediaError::NotAnImage,
        why => damaged(why),
    })?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(MediaError::TooLarge { width, height });
    }
    if width == 0 || height == 0 {
        return Err(MediaError::Damaged(format!("its size is {width} x {height}")));
    }
    // An orientation that cannot be read is none: the pixels are still good.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    Ok((decoder, orientation))
}

fn damaged(why: image::ImageError) -> MediaError {
    MediaError::Damaged(why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png() -> Vec<u8> {
        encode_png(&RgbImage::from_fn(20, 10, |x, y| image::Rgb([x as u8, y as u8, 9]))).unwrap()
    }

    #[test]
    fn what_is_no_image_says_why() {
        assert!(matches!(inspect(b""), Err(MediaError::Empty)));
        assert!(matches!(inspect(b"hello, I am text"), Err(MediaError::NotAnImage)));
        let png = png();
        assert!(matches!(decode(&png[..png.len() / 2]), Err(MediaError::Damaged(_))));
    }

    #[test]
    fn a_truncated_jpeg_is_noticed_without_decoding_it() {
        let mut jpeg = Cursor::new(Vec::new());
        RgbImage::from_fn(64, 64, |x, y| image::Rgb([x as u8 * 4, y as u8 * 4, 7]))
            .write_to(&mut jpeg, ImageFormat::Jpeg)
            .unwrap();
        let jpeg = jpeg.into_inner();
        assert_eq!(inspect(&jpeg).unwrap(), Facts { width: 64, height: 64 });
        assert!(matches!(inspect(&jpeg[..jpeg.len() - 40]), Err(MediaError::Damaged(_))));
    }

    #[test]
    fn a_decompression_bomb_is_refused_by_its_header() {
        let mut bomb = png();
        bomb[16..20].copy_from_slice(&60_000u32.to_be_bytes());
        bomb[20..24].copy_from_slice(&60_000u32.to_be_bytes());
        let crc = crc32(&bomb[12..29]);
        bomb[29..33].copy_from_slice(&crc.to_be_bytes());
        assert!(matches!(decode(&bomb), Err(MediaError::TooLarge { width: 60_000, height: 60_000 })));
        assert!(matches!(inspect(&bomb), Err(MediaError::TooLarge { .. })));
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0u32, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
        })
    }

    #[test]
    fn every_exif_orientation_appears_upright() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/exif-orientation");
        if !folder.is_dir() {
            eprintln!("skipped: {} is not here", folder.display());
            return;
        }
        for scene in ["Landscape", "Portrait"] {
            let read =
                |number: usize| decode(&std::fs::read(folder.join(format!("{scene}_{number}.jpg"))).unwrap()).unwrap();
            let upright = read(1);
            for number in 2..=8 {
                let turned = read(number);
                assert_eq!(turned.dimensions(), upright.dimensions(), "{scene}_{number}");
                let difference: u64 = turned.iter().zip(upright.iter()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
                let mean = difference as f64 / turned.as_raw().len() as f64;
                assert!(mean < 12.0, "{scene}_{number} differs by {mean}");
            }
        }
    }
}
