//! The orientation in an image's metadata: EXIF, and EXIF within the chunks of a PNG.

use image::metadata::Orientation;
use std::io::Read;

/// Texts of a PNG that unpack to more bytes are cut off there.
const MAX_TEXT_BYTES: u64 = 1 << 20;

/// Numbers of a TIFF structure, in its byte order.
pub(crate) struct Numbers<'a> {
    bytes: &'a [u8],
    is_little: bool,
}

impl<'a> Numbers<'a> {
    /// `None` if the bytes do not begin as a TIFF.
    pub(crate) fn of(bytes: &'a [u8]) -> Option<Numbers<'a>> {
        let is_little = match bytes.get(..2)? {
            b"II" => true,
            b"MM" => false,
            _ => return None,
        };
        Some(Numbers { bytes, is_little })
    }

    /// The unsigned number of `length` bytes (at most 8) at a place.
    pub(crate) fn at(&self, place: usize, length: usize) -> Option<u64> {
        let part = self.bytes.get(place..place.checked_add(length)?)?;
        let add = |sum: u64, byte: &u8| (sum << 8) | u64::from(*byte);
        Some(if self.is_little { part.iter().rev().fold(0, add) } else { part.iter().fold(0, add) })
    }

    /// A number as the file would store it.
    pub(crate) fn stored(&self, number: u16) -> [u8; 2] {
        if self.is_little { number.to_le_bytes() } else { number.to_be_bytes() }
    }
}

/// The orientation in EXIF data, which some writers begin with `Exif\0\0` in PNG and WebP, too. Its type should be
/// SHORT; BYTE and LONG occur.
pub(crate) fn orientation(chunk: &[u8]) -> Option<Orientation> {
    let numbers = Numbers::of(chunk.strip_prefix(b"Exif\0\0").unwrap_or(chunk))?;
    if numbers.at(2, 2)? != 42 {
        return None;
    }
    let directory = usize::try_from(numbers.at(4, 4)?).ok()?;
    let count = numbers.at(directory, 2)? as usize;
    let mut entries = (0..count).map(|index| directory + 2 + 12 * index);
    let entry = entries.find(|entry| numbers.at(*entry, 2) == Some(0x112))?;
    let length = match numbers.at(entry + 2, 2)? {
        1 => 1,
        3 => 2,
        4 => 4,
        _ => return None,
    };
    Orientation::from_exif(u8::try_from(numbers.at(entry + 8, length)?).ok()?)
}

/// The orientation in a PNG: of its `eXIf` chunk, which may follow the pixels (PNG, third edition, 11.3.4.6), else of a
/// text as ImageMagick writes it.
pub(crate) fn orientation_of_png(bytes: &[u8]) -> Option<Orientation> {
    let mut of_text = None;
    let mut at = 8;
    while let Some(&[a, b, c, d]) = bytes.get(at..at + 4) {
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let (name, body) = (bytes.get(at + 4..at + 8), bytes.get(at + 8..at + 8 + length));
        let (Some(name), Some(body)) = (name, body) else { break };
        match name {
            b"eXIf" => return orientation(body),
            b"tEXt" | b"zTXt" if of_text.is_none() => {
                of_text = raw_profile(name, body).and_then(|data| orientation(&data))
            }
            _ => {}
        }
        at += length + 12;
    }
    of_text
}

/// The EXIF data in a text of a PNG: a line with its name, one with its length, and its bytes as hexadecimal digits.
fn raw_profile(chunk: &[u8], body: &[u8]) -> Option<Vec<u8>> {
    let keyword = ["Raw profile type exif\0", "Raw profile type APP1\0"];
    let body = keyword.iter().find_map(|keyword| body.strip_prefix(keyword.as_bytes()))?;
    let mut text = Vec::new();
    if chunk == b"zTXt" {
        // The first byte names the compression, of which there is one.
        flate2::read::ZlibDecoder::new(body.get(1..)?).take(MAX_TEXT_BYTES).read_to_end(&mut text).ok()?;
    } else {
        text.extend_from_slice(body);
    }
    let text = String::from_utf8(text).ok()?;
    let (_name, rest) = text.trim_start().split_once('\n')?;
    let (_length, digits) = rest.trim_start().split_once('\n')?;
    let digits: Vec<u8> = digits.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    Some(digits.chunks_exact(2).map(|pair| (pair[0] << 4) | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// EXIF data with an orientation of this type.
    fn exif(kind: u8, orientation: &[u8]) -> Vec<u8> {
        let mut value = orientation.to_vec();
        value.resize(4, 0);
        [&b"II*\0\x08\0\0\0\x01\0\x12\x01"[..], &[kind, 0, 1, 0, 0, 0], &value, &[0; 4]].concat()
    }

    #[test]
    fn an_orientation_is_read_with_and_without_a_prefix_and_of_any_whole_type() {
        for data in [exif(1, &[6]), exif(3, &[6, 0]), exif(4, &[6, 0, 0, 0])] {
            assert_eq!(orientation(&data), Some(Orientation::Rotate90));
            assert_eq!(orientation(&[&b"Exif\0\0"[..], &data].concat()), Some(Orientation::Rotate90));
        }
        let big = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x04\0\0\0\x01\0\0\0\x06\0\0\0\0";
        assert_eq!(orientation(big), Some(Orientation::Rotate90));
        assert_eq!(orientation(&exif(2, &[6])), None);
        assert_eq!(orientation(&exif(4, &[6, 1, 0, 0])), None);
        assert_eq!(orientation(b"II*\0\xff\xff\xff\xff"), None);
        assert_eq!(orientation(b""), None);
    }

    #[test]
    fn an_orientation_is_read_from_the_texts_of_a_png() {
        let data = [&b"Exif\0\0"[..], &exif(3, &[8, 0])].concat();
        let digits: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
        let (first, second) = digits.split_at(30);
        let text = format!("\nexif\n{:8}\n{first}\n{second}\n", data.len());
        let plain = format!("Raw profile type exif\0{text}");
        let mut packed = flate2::read::ZlibEncoder::new(text.as_bytes(), flate2::Compression::default());
        let mut compressed = b"Raw profile type APP1\0\0".to_vec();
        packed.read_to_end(&mut compressed).unwrap();
        let chunk = |name: &[u8], body: &[u8]| [&(body.len() as u32).to_be_bytes()[..], name, body, &[0; 4]].concat();
        for text in [chunk(b"tEXt", plain.as_bytes()), chunk(b"zTXt", &compressed)] {
            let png = [&[0; 8][..], &chunk(b"tEXt", b"Comment\0abc"), &text].concat();
            assert_eq!(orientation_of_png(&png), Some(Orientation::Rotate270));
            // The chunk made for it goes first.
            let png = [&png[..], &chunk(b"eXIf", &exif(3, &[3, 0]))].concat();
            assert_eq!(orientation_of_png(&png), Some(Orientation::Rotate180));
        }
        let prefixed = [&[0; 8][..], &chunk(b"eXIf", &data)].concat();
        assert_eq!(orientation_of_png(&prefixed), Some(Orientation::Rotate270));
    }
}
