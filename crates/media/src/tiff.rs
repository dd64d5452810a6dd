//! TIFF as written by microscopes, scanners and cameras: 1 to 64 bits, signed, float, palette, planar, JPEG.

use crate::decode::{MAX_PIXELS, MediaError};
use crate::window::{Layout, Raster, Samples, Shape};
use image::RgbImage;
use image::metadata::Orientation;
use std::borrow::Cow;
use std::io::Cursor;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::Tag;
use tiff::{ColorType, TiffError};

/// The first image of a TIFF, before its pixels are read.
pub(crate) struct Tiff<'a> {
    decoder: Decoder<Cursor<Cow<'a, [u8]>>>,
    /// The palette in 16 bits: all reds, greens, then blues; empty without one.
    palette: Vec<u16>,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) orientation: Orientation,
}

/// The PhotometricInterpretation tag, and two of its values (TIFF 6.0, section 8).
const PHOTOMETRIC: u16 = 262;
const BLACK_IS_ZERO: u16 = 1;
const PALETTE: u16 = 3;

impl<'a> Tiff<'a> {
    pub(crate) fn open(bytes: &'a [u8]) -> Result<Tiff<'a>, MediaError> {
        let grey = values_of_palette(bytes);
        let has_palette = grey.is_some();
        let bytes = grey.map_or(Cow::Borrowed(bytes), Cow::Owned);
        let mut limits = Limits::default();
        limits.decoding_buffer_size = MAX_PIXELS as usize * 4;
        limits.intermediate_buffer_size = limits.decoding_buffer_size;
        let mut decoder = Decoder::new(Cursor::new(bytes)).map_err(why)?.with_limits(limits);
        let (width, height) = decoder.dimensions().map_err(why)?;
        if is_thumbnail_of_raw(&mut decoder) {
            return Err(MediaError::Unread("a raw image of a camera".into()));
        }
        let palette = if has_palette { decoder.get_tag_u16_vec(Tag::ColorMap).map_err(why)? } else { Vec::new() };
        // Ignore an unreadable orientation: the pixels are still good.
        let orientation = decoder.find_tag_unsigned::<u8>(Tag::Orientation).ok().flatten();
        let orientation = orientation.and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms);
        Ok(Tiff { decoder, palette, width, height, orientation })
    }

    /// Decodes the pixels as stored.
    pub(crate) fn decode(mut self) -> Result<RgbImage, MediaError> {
        let color = self.decoder.colortype().map_err(why)?;
        let has_alpha = self.decoder.find_tag_unsigned_vec::<u16>(Tag::ExtraSamples).ok().flatten();
        let has_alpha = has_alpha.is_some_and(|extra| matches!(extra.first(), Some(1 | 2)));
        let mut samples = DecodingResult::U8(Vec::new());
        let layout = self.decoder.read_image_to_buffer(&mut samples).map_err(why)?;
        if samples.as_buffer(0).as_bytes().len() < layout.complete_len {
            return Err(why(TiffError::LimitsExceeded));
        }
        if !self.palette.is_empty() {
            return self.colored(&samples, color.bit_depth());
        }
        let shape = match color {
            ColorType::Gray(_) => Shape::Grey,
            ColorType::GrayA(_) => Shape::GreyAlpha,
            ColorType::RGB(_) => Shape::Rgb,
            ColorType::RGBA(_) => Shape::RgbAlpha,
            ColorType::Multiband { num_samples: 2, .. } if has_alpha => Shape::GreyAlpha,
            ColorType::Multiband { num_samples: 1 | 2, .. } => Shape::Grey,
            ColorType::Multiband { .. } => Shape::Rgb,
            ColorType::CMYK(8) | ColorType::YCbCr(8) if layout.planes == 1 => return self.converted(&samples, color),
            other => return Err(MediaError::Unread(format!("a TIFF image of {other:?}"))),
        };
        let channels = usize::from(color.num_samples());
        let layout = if layout.planes > 1 { Layout::Planar } else { Layout::Interleaved };
        let shown = |samples: Samples<'_>| {
            let raster = Raster { width: self.width, height: self.height, channels, shape, layout, samples };
            raster.shown().map_err(MediaError::Damaged)
        };
        match &samples {
            DecodingResult::U8(values) if color.bit_depth() < 8 => {
                let full = (1u32 << color.bit_depth()) - 1;
                let shades = self.unpacked(values, color.bit_depth())?;
                let bytes: Vec<u8> = shades.iter().map(|value| (u32::from(*value) * 255 / full) as u8).collect();
                shown(bytes.as_slice().into())
            }
            DecodingResult::U8(values) if shape == Shape::Rgb && channels == 3 && layout == Layout::Interleaved => {
                RgbImage::from_raw(self.width, self.height, values.clone())
                    .ok_or_else(|| MediaError::Damaged("it has fewer samples than its size says".into()))
            }
            DecodingResult::U8(values) => shown(values.as_slice().into()),
            DecodingResult::U16(values) => shown(values.as_slice().into()),
            DecodingResult::U32(values) => shown(values.as_slice().into()),
            DecodingResult::U64(values) => shown(values.as_slice().into()),
            DecodingResult::I8(values) => shown(values.as_slice().into()),
            DecodingResult::I16(values) => shown(values.as_slice().into()),
            DecodingResult::I32(values) => shown(values.as_slice().into()),
            DecodingResult::I64(values) => shown(values.as_slice().into()),
            DecodingResult::F32(values) => shown(values.as_slice().into()),
            DecodingResult::F64(values) => shown(values.as_slice().into()),
            DecodingResult::F16(values) => {
                let values: Vec<f32> = values.iter().map(|value| value.to_f32()).collect();
                shown(values.as_slice().into())
            }
        }
    }

    /// Unpacks samples of fewer than 8 bits; rows are byte-aligned.
    fn unpacked(&self, packed: &[u8], bits: u8) -> Result<Vec<u8>, MediaError> {
        if !matches!(bits, 1 | 2 | 4) {
            return Err(MediaError::Unread(format!("a TIFF image of {bits} bits a sample")));
        }
        let row_bytes = (self.width as usize * usize::from(bits)).div_ceil(8);
        let in_byte = 8 / usize::from(bits);
        let rows = packed.chunks(row_bytes.max(1)).take(self.height as usize);
        let value = |row: &[u8], x: usize| {
            let byte = row.get(x / in_byte).copied().unwrap_or_default();
            (byte >> (8 - usize::from(bits) * (x % in_byte + 1))) & ((1u16 << bits) - 1) as u8
        };
        Ok(rows.flat_map(|row| (0..self.width as usize).map(move |x| value(row, x))).collect())
    }

    /// Looks up palette colours.
    fn colored(&self, samples: &DecodingResult, bits: u8) -> Result<RgbImage, MediaError> {
        let values: Vec<usize> = match samples {
            DecodingResult::U8(values) if bits < 8 => {
                self.unpacked(values, bits)?.into_iter().map(usize::from).collect()
            }
            DecodingResult::U8(values) => values.iter().map(|value| usize::from(*value)).collect(),
            DecodingResult::U16(values) => values.iter().map(|value| usize::from(*value)).collect(),
            _ => return Err(MediaError::Unread("a TIFF palette image of this type".into())),
        };
        let count = self.palette.len() / 3;
        // Some writers store palettes in 8 bits instead of 16.
        let shift = if self.palette.iter().all(|value| *value < 256) { 0 } else { 8 };
        let color = |value: usize| {
            let part = |place: usize| self.palette.get(place * count + value.min(count - 1)).map_or(0, |c| c >> shift);
            [0, 1, 2].map(|place| part(place) as u8)
        };
        let bytes = values.into_iter().flat_map(color).collect();
        RgbImage::from_raw(self.width, self.height, bytes)
            .ok_or_else(|| MediaError::Damaged("it has fewer samples than its size says".into()))
    }

    /// Converts CMYK and YCbCr.
    fn converted(&self, samples: &DecodingResult, color: ColorType) -> Result<RgbImage, MediaError> {
        let DecodingResult::U8(values) = samples else {
            return Err(MediaError::Unread(format!("a TIFF image of {color:?}")));
        };
        let bytes: Vec<u8> = match color {
            ColorType::CMYK(_) => {
                let ink = |pixel: &[u8], place: usize| {
                    ((255 - u32::from(pixel[place])) * (255 - u32::from(pixel[3])) / 255) as u8
                };
                values.chunks_exact(4).flat_map(|pixel| [0, 1, 2].map(|place| ink(pixel, place))).collect()
            }
            _ => values.chunks_exact(3).flat_map(rgb_of_ycbcr).collect(),
        };
        RgbImage::from_raw(self.width, self.height, bytes)
            .ok_or_else(|| MediaError::Damaged("it has fewer samples than its size says".into()))
    }
}

/// Whether the first image is a thumbnail of raw camera data (TIFF/EP, DNG).
fn is_thumbnail_of_raw(decoder: &mut Decoder<Cursor<Cow<'_, [u8]>>>) -> bool {
    let kind = decoder.find_tag_unsigned::<u32>(Tag::NewSubfileType).ok().flatten();
    let has_others = decoder.find_tag(Tag::SubIfd).is_ok_and(|tag| tag.is_some());
    kind.is_some_and(|kind| kind & 1 == 1) && has_others
}

/// ITU-T T.871, section 7.
fn rgb_of_ycbcr(pixel: &[u8]) -> [u8; 3] {
    let [y, blue, red] = [0, 1, 2].map(|place| f32::from(pixel[place]));
    let (blue, red) = (blue - 128.0, red - 128.0);
    [y + 1.402 * red, y - 0.344_136 * blue - 0.714_136 * red, y + 1.772 * blue].map(|part| part.round() as u8)
}

/// A palette image relabelled as greyscale, which the decoder reads; `None` for others.
fn values_of_palette(bytes: &[u8]) -> Option<Vec<u8>> {
    let is_little = bytes.starts_with(b"II");
    let number = |at: usize, length: usize| {
        let part = bytes.get(at..at.checked_add(length)?)?;
        let add = |sum: u64, byte: &u8| (sum << 8) | u64::from(*byte);
        Some(if is_little { part.iter().rev().fold(0, add) } else { part.iter().fold(0, add) })
    };
    let is_big = number(2, 2)? == 43;
    let (start, counted, entry, value) = if is_big { (number(8, 8)?, 8, 20, 12) } else { (number(4, 4)?, 2, 12, 8) };
    let start = usize::try_from(start).ok()?;
    let count = number(start, counted)?.min(65_535) as usize;
    let first = start.checked_add(counted)?;
    let at = (0..count).map(|index| first + index * entry).find(|at| number(*at, 2) == Some(u64::from(PHOTOMETRIC)))?;
    let place = at + value;
    if number(place, 2)? != u64::from(PALETTE) {
        return None;
    }
    let grey = if is_little { BLACK_IS_ZERO.to_le_bytes() } else { BLACK_IS_ZERO.to_be_bytes() };
    let mut copy = bytes.to_vec();
    copy[place..place + 2].copy_from_slice(&grey);
    Some(copy)
}

fn why(error: TiffError) -> MediaError {
    match error {
        TiffError::UnsupportedError(why) => MediaError::Unread(format!("a TIFF image: {why}")),
        TiffError::LimitsExceeded => {
            MediaError::Unread(format!("a TIFF image that needs more than {} MB", MAX_PIXELS * 4 / 1_000_000))
        }
        error => MediaError::Damaged(error.to_string()),
    }
}
