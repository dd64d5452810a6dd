//! JPEG: its header, whether its file is whole, and its pixels.
//!
//! [`check`] is cheap and decodes nothing: there is a scan, followed by the end marker; the first scan has at least one
//! bit for each MCU (every code has one; ITU T.81, annex F); and no scan has long zeros that would be coefficients, as
//! a lost block of a disk or a download leaves them. [`decode`] fails, too, where the last scan holds less than its
//! MCUs need, or a scan holds codes that its tables lack. Damage that still decodes to as many MCUs is not noticed, as
//! in other decoders.

use crate::decode::MediaError;
use crate::exif;
use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, RgbImage};
use std::io::BufRead;
use std::ops::Range;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// Markers (ITU T.81, table B.1).
const START_OF_IMAGE: u8 = 0xd8;
const END_OF_IMAGE: u8 = 0xd9;
const START_OF_SCAN: u8 = 0xda;
const PROGRESSIVE_FRAME: u8 = 0xc2;
const HUFFMAN_TABLES: u8 = 0xc4;

/// The facts in the header.
pub(crate) struct Header {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) orientation: Orientation,
}

/// Reads the header.
pub(crate) fn header(bytes: &[u8]) -> Result<Header, MediaError> {
    let decoder = decoder_of(bytes)?;
    let (width, height) = decoder.dimensions().unwrap_or_default();
    // Ignore an unreadable orientation: the pixels are still good.
    let orientation = decoder.exif().and_then(|chunk| exif::orientation(chunk));
    let orientation = orientation.unwrap_or(Orientation::NoTransforms);
    Ok(Header { width: width as u32, height: height as u32, orientation })
}

/// Fails where the file lacks its end or its pixels, without decoding them.
pub(crate) fn check(bytes: &[u8]) -> Result<(), MediaError> {
    Scans::of(bytes).map(|_| ())
}

/// The pixels as stored.
pub(crate) fn decode(bytes: &[u8]) -> Result<RgbImage, MediaError> {
    let only_scans = Scans::of(bytes)?.without_what_follows(bytes);
    let mut decoder = decoder_of(&only_scans)?;
    let is_grey = decoder.input_colorspace() == Some(ColorSpace::Luma);
    // Two components are decoded only in the lenient mode.
    let is_strict = decoder.info().is_some_and(|info| info.components != 2);
    let colors = if is_grey { ColorSpace::Luma } else { ColorSpace::RGB };
    // Strict from here on, not in the header: a scan that ends early is an error.
    let options = decoder.options().set_strict_mode(is_strict).jpeg_set_out_colorspace(colors);
    decoder.set_options(options);
    let pixels = decoder.decode().map_err(reason)?;
    let (width, height) = decoder.dimensions().unwrap_or_default();
    let (width, height) = (width as u32, height as u32);
    let image = if is_grey {
        GrayImage::from_raw(width, height, pixels).map(|grey| DynamicImage::ImageLuma8(grey).into_rgb8())
    } else {
        RgbImage::from_raw(width, height, pixels)
    };
    image.ok_or_else(|| MediaError::Damaged("it has fewer samples than its size says".into()))
}

fn decoder_of(bytes: &[u8]) -> Result<JpegDecoder<ZCursor<&[u8]>>, MediaError> {
    let options = DecoderOptions::default().set_strict_mode(false).set_max_width(usize::MAX).set_max_height(usize::MAX);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(reason)?;
    Ok(decoder)
}

fn reason(why: DecodeErrors) -> MediaError {
    match why {
        DecodeErrors::Unsupported(what) => MediaError::Unread(format!("a JPEG image ({what:?})")),
        why => MediaError::Damaged(why.to_string().trim_matches('"').to_owned()),
    }
}

/// Where the entropy-coded data of the file's first image lies.
struct Scans {
    places: Vec<Range<usize>>,
    is_progressive: bool,
}

impl Scans {
    /// Finds them by their markers. Segments, which may hold a thumbnail with its own markers, are stepped over.
    fn of(bytes: &[u8]) -> Result<Scans, MediaError> {
        let cut_off = || MediaError::Damaged("it ends before its end marker".into());
        let mut scans = Scans { places: Vec::new(), is_progressive: false };
        let mut tables = Tables::default();
        let mut begun: Option<(usize, Zeros)> = None;
        let (mut at, mut mcus) = (2, 0);
        loop {
            let marker = next_marker(bytes, at).ok_or_else(cut_off)?;
            at = marker.end;
            // Restart markers (and TEM) stand alone, inside of a scan.
            if matches!(marker.code, 0x01 | 0xd0..=0xd7) {
                continue;
            }
            if let Some((begin, zeros)) = begun.take() {
                let data = bytes.get(begin..marker.begin).unwrap_or_default();
                if zeros == Zeros::Coefficients && has_long_zeros(data) {
                    return Err(MediaError::Damaged("a part of its pixels is lost: only zeros are there".into()));
                }
                scans.places.push(begin..marker.begin);
            }
            match marker.code {
                END_OF_IMAGE => break,
                // Another image follows, and this one has no end.
                START_OF_IMAGE if !scans.places.is_empty() => return Err(cut_off()),
                START_OF_IMAGE => continue,
                _ => {}
            }
            let segment = bytes.get(at..).unwrap_or_default();
            let Some(&[high, low]) = segment.get(..2) else { return Err(cut_off()) };
            at += usize::from(u16::from_be_bytes([high, low])).max(2);
            match marker.code {
                START_OF_SCAN => begun = Some((at, tables.zeros_in_scan(segment).unwrap_or(Zeros::Unknown))),
                HUFFMAN_TABLES => tables.read(segment),
                // Start of frame: not the tables DHT, DAC, nor JPG.
                0xc0..=0xcf if !matches!(marker.code, 0xc4 | 0xc8 | 0xcc) => {
                    scans.is_progressive = marker.code == PROGRESSIVE_FRAME;
                    mcus = mcus_of_frame(segment).unwrap_or(0);
                }
                _ => {}
            }
        }
        let Some(first) = scans.places.first() else {
            return Err(MediaError::Damaged("it has no pixels, only a header".into()));
        };
        if (first.len() as u64) * 8 < mcus {
            return Err(MediaError::Damaged(format!(
                "its pixels are missing: {} bytes of them are there",
                first.len()
            )));
        }
        Ok(scans)
    }

    /// The file up to the end of its last scan. What may follow, as a comment, the decoder mistakes for another scan.
    ///
    /// At the end marker the decoder goes on with zeros, which are valid codes. So ones are put before it, which never
    /// are (ITU T.81, C.2): they become an error if the scan held too little.
    fn without_what_follows(&self, bytes: &[u8]) -> Vec<u8> {
        let end = self.places.last().map_or(0, |scan| scan.end);
        let mut kept = Vec::with_capacity(end + 2 * PADDING + 8);
        kept.extend_from_slice(bytes.get(..end).unwrap_or_default());
        // The decoder requires a marker directly behind the first scan of a progressive image.
        if !self.is_progressive || self.places.len() > 1 {
            kept.extend(std::iter::repeat_n([0xff, 0], PADDING).flatten());
        }
        // The decoder must not reach the end of the bytes when it looks ahead.
        kept.extend([0xff, END_OF_IMAGE, 0, 0, 0, 0]);
        kept
    }
}

/// Bytes of ones: more than the correction bits of a run of blocks (G.1.2.3) are likely to use up.
const PADDING: usize = 1024;

/// The meaning of zero bits in a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Zeros {
    /// One coefficient after the other, all of the same small value: no image has this in several blocks.
    Coefficients,
    /// Also the ends of blocks, as in a plain area.
    Unknown,
}

/// The symbol of the AC code of zeros, by the number of the table: the first in its list (ITU T.81, annex C).
#[derive(Default)]
struct Tables {
    of_zeros: [u8; 16],
}

impl Tables {
    /// Reads a segment of tables (B.2.4.2), from its length on.
    fn read(&mut self, segment: &[u8]) {
        let length = segment.get(..2).map_or(0, |bytes| usize::from(u16::from_be_bytes([bytes[0], bytes[1]])));
        let mut rest = segment.get(2..length).unwrap_or_default();
        while let Some((&[kind, ref counts @ ..], values)) = rest.split_first_chunk::<17>() {
            if kind >> 4 == 1 {
                self.of_zeros[usize::from(kind & 15)] = values.first().copied().unwrap_or(0);
            }
            let count: usize = counts.iter().map(|count| usize::from(*count)).sum();
            rest = values.get(count..).unwrap_or_default();
        }
    }

    /// By a scan header (B.2.3), from its length on. Only first passes over AC coefficients are judged.
    fn zeros_in_scan(&self, segment: &[u8]) -> Option<Zeros> {
        let count = usize::from(*segment.get(2)?);
        let components = segment.get(3..3 + 2 * count)?;
        let &[_, last_coefficient, approximation] = segment.get(3 + 2 * count..6 + 2 * count)? else { return None };
        let is_first_pass = last_coefficient > 0 && approximation >> 4 == 0;
        // The lower four bits of the symbol are the size of a coefficient; 0 ends a block or skips a part of it.
        let is_coefficient = |component: &[u8]| self.of_zeros[usize::from(component[1] & 15)] & 15 != 0;
        let is_filled = is_first_pass && components.chunks_exact(2).any(is_coefficient);
        Some(if is_filled { Zeros::Coefficients } else { Zeros::Unknown })
    }
}

/// Whether at least 64 bytes, more than two blocks of coefficients, are zero (and any 127 are found).
fn has_long_zeros(data: &[u8]) -> bool {
    data.chunks_exact(64).any(|part| part.iter().all(|byte| *byte == 0))
}

struct Marker {
    /// The first of its bytes 0xff.
    begin: usize,
    code: u8,
    end: usize,
}

/// The next marker from here on. Any number of bytes 0xff may come before its code (ITU T.81, B.1.1.2); with the code 0
/// they are data.
fn next_marker(bytes: &[u8], from: usize) -> Option<Marker> {
    let mut at = from;
    loop {
        // By the vectorised search of the standard library.
        let passed = bytes.get(at..)?.skip_until(0xff).ok()?;
        let begin = (at + passed).checked_sub(1).filter(|begin| *begin >= at && bytes[*begin] == 0xff)?;
        let place = begin + bytes.get(begin..)?.iter().position(|byte| *byte != 0xff)?;
        let code = *bytes.get(place)?;
        at = place + 1;
        if code != 0 {
            return Some(Marker { begin, code, end: at });
        }
    }
}

/// The number of MCUs by a frame header (ITU T.81, B.2.2), from its length on.
fn mcus_of_frame(segment: &[u8]) -> Option<u64> {
    let side = |at: usize| Some(u64::from(u16::from_be_bytes([*segment.get(at)?, *segment.get(at + 1)?])));
    let (height, width) = (side(3)?, side(5)?);
    let components = segment.get(8..8 + 3 * usize::from(*segment.get(7)?))?;
    let most =
        |shift: u8| components.chunks(3).map(|part| u64::from((part[1] >> shift) & 15)).max().unwrap_or(1).max(1);
    Some(width.div_ceil(8 * most(4)) * height.div_ceil(8 * most(0)))
}

#[cfg(test)]
mod tests;
