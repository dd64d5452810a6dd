//! TIFF as written by microscopes, scanners and cameras: 1 to 64 bits, signed, float, palette, planar, JPEG.

use crate::decode::{MAX_PIXELS, MediaError};
use crate::exif::Numbers;
use crate::window::{Layout, Raster, Samples, Shape};
use image::RgbImage;
use image::metadata::Orientation;
use std::borrow::Cow;
use std::io::Cursor;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::Tag;
use tiff::{ColorType, TiffError};

/// The bytes of a TIFF as its decoder takes them, and which of its images is shown.
pub(crate) struct TiffFile<'a> {
    bytes: Cow<'a, [u8]>,
    image: usize,
    has_palette: bool,
}

/// An image of a TIFF, before its pixels are read.
pub(crate) struct Tiff<'a> {
    /// Uses the reader type of the `image` crate, so that it is compiled once.
    decoder: Decoder<Cursor<&'a [u8]>>,
    /// The palette in 16 bits: all reds, greens, then blues; empty without one.
    palette: Vec<u16>,
    /// The value of pixels without data, as GDAL writes it.
    no_data: Option<f64>,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) orientation: Orientation,
}

/// Tags, and values of PhotometricInterpretation (TIFF 6.0, section 8).
const NEW_SUBFILE_TYPE: u16 = 254;
const PHOTOMETRIC: u16 = 262;
const BLACK_IS_ZERO: u16 = 1;
const PALETTE: u16 = 3;

/// Directories looked through for an image that is no thumbnail.
const MAX_DIRECTORIES: usize = 64;

impl<'a> TiffFile<'a> {
    /// Chooses the first image that is no reduced version of another. A palette image is relabelled as greyscale, which
    /// the decoder reads.
    pub(crate) fn of(bytes: &'a [u8]) -> TiffFile<'a> {
        let chosen = Directories::of(bytes).and_then(|directories| {
            let (image, directory) = directories.full_image()?;
            let palette = directories.value(directory, PHOTOMETRIC);
            let palette = palette.filter(|place| directories.numbers.at(*place, 2) == Some(u64::from(PALETTE)));
            Some((image, palette.map(|place| (place, directories.numbers.stored(BLACK_IS_ZERO)))))
        });
        let (image, palette) = chosen.unwrap_or((0, None));
        let mut bytes = Cow::Borrowed(bytes);
        if let Some((place, grey)) = palette {
            bytes.to_mut()[place..place + 2].copy_from_slice(&grey);
        }
        TiffFile { bytes, image, has_palette: palette.is_some() }
    }
}

impl<'a> Tiff<'a> {
    pub(crate) fn open(file: &'a TiffFile<'_>) -> Result<Tiff<'a>, MediaError> {
        let mut limits = Limits::default();
        limits.decoding_buffer_size = MAX_PIXELS as usize * 4;
        limits.intermediate_buffer_size = limits.decoding_buffer_size;
        let mut decoder = Decoder::new(Cursor::new(&*file.bytes)).map_err(why)?.with_limits(limits);
        if is_thumbnail_of_raw(&mut decoder) {
            return Err(MediaError::Unread("a raw image of a camera".into()));
        }
        if file.image > 0 {
            decoder.seek_to_image(file.image).map_err(why)?;
        }
        let (width, height) = decoder.dimensions().map_err(why)?;
        let palette = if file.has_palette { decoder.get_tag_u16_vec(Tag::ColorMap).map_err(why)? } else { Vec::new() };
        let no_data = decoder.get_tag_ascii_string(Tag::GdalNodata).ok();
        let no_data = no_data.and_then(|text| text.trim_matches([' ', '\0']).parse().ok());
        // Ignore an unreadable orientation: the pixels are still good.
        let orientation = decoder.find_tag_unsigned::<u8>(Tag::Orientation).ok().flatten();
        let orientation = orientation.and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms);
        Ok(Tiff { decoder, palette, no_data, width, height, orientation })
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
        let (width, height, no_data) = (self.width, self.height, self.no_data);
        let shown = |samples: Samples<'_>| {
            let raster = Raster { width, height, channels, shape, layout, samples, no_data };
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
fn is_thumbnail_of_raw(decoder: &mut Decoder<Cursor<&[u8]>>) -> bool {
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

/// The chain of a TIFF's directories (TIFF 6.0, section 2; BigTIFF).
struct Directories<'a> {
    numbers: Numbers<'a>,
    is_big: bool,
}

impl<'a> Directories<'a> {
    fn of(bytes: &'a [u8]) -> Option<Directories<'a>> {
        let numbers = Numbers::of(bytes)?;
        let is_big = numbers.at(2, 2)? == 43;
        Some(Directories { numbers, is_big })
    }

    /// The number of the first image that is no reduced version of another, and the place of its directory; the first
    /// image if all are.
    fn full_image(&self) -> Option<(usize, usize)> {
        let first = self.pointer(if self.is_big { 8 } else { 4 })?;
        let directories = std::iter::successors(Some(first), |directory| self.next(*directory));
        let is_full = |directory: usize| self.number(directory, NEW_SUBFILE_TYPE).is_none_or(|kind| kind & 1 == 0);
        let mut images = directories.take(MAX_DIRECTORIES).enumerate();
        Some(images.find(|(_, directory)| is_full(*directory)).unwrap_or((0, first)))
    }

    /// The place that is written at a place.
    fn pointer(&self, place: usize) -> Option<usize> {
        usize::try_from(self.numbers.at(place, if self.is_big { 8 } else { 4 })?).ok()
    }

    /// The places of a directory's first entry and of what follows its last.
    fn entries(&self, directory: usize) -> Option<(usize, usize)> {
        let (counted, entry) = if self.is_big { (8, 20) } else { (2, 12) };
        let count = self.numbers.at(directory, counted)?.min(65_535) as usize;
        let first = directory.checked_add(counted)?;
        Some((first, first.checked_add(count * entry)?))
    }

    fn next(&self, directory: usize) -> Option<usize> {
        self.pointer(self.entries(directory)?.1).filter(|next| *next != 0)
    }

    /// The place of a tag's value, where that fits into its entry.
    fn value(&self, directory: usize, tag: u16) -> Option<usize> {
        let (first, end) = self.entries(directory)?;
        let (entry, value) = if self.is_big { (20, 12) } else { (12, 8) };
        let mut entries = (first..end).step_by(entry);
        entries.find(|place| self.numbers.at(*place, 2) == Some(u64::from(tag))).map(|place| place + value)
    }

    /// The value of a tag of type SHORT or LONG.
    fn number(&self, directory: usize, tag: u16) -> Option<u64> {
        let place = self.value(directory, tag)?;
        let kind = self.numbers.at(place - if self.is_big { 10 } else { 6 }, 2)?;
        self.numbers.at(place, if kind == 3 { 2 } else { 4 })
    }
}

fn why(error: TiffError) -> MediaError {
    match error {
        TiffError::UnsupportedError(why) => MediaError::Unread(format!("a TIFF image ({why})")),
        TiffError::LimitsExceeded => {
            MediaError::Unread(format!("a TIFF image that needs more than {} MB", MAX_PIXELS * 4 / 1_000_000))
        }
        error => MediaError::Damaged(error.to_string()),
    }
}
