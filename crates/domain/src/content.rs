//! File type by the first bytes: the one rule for what is an image.
//!
//! Names are ignored: a JPEG is a JPEG under any ending, and text named `.png` is text.

/// Bytes that decide the type; a shorter file is decided by all of its bytes.
pub const HEAD_BYTES: usize = 512;

/// A file's type, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// No bytes at all.
    Empty,
    /// An image of a supported format.
    Image(ImageKind),
    /// An image or document of an unsupported format, by name.
    UnreadImage(&'static str),
    /// An archive.
    Archive(ArchiveKind),
    /// Text, as far as the first bytes tell.
    Text,
    /// Anything else.
    Other,
}

/// Supported image formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of the formats")]
pub enum ImageKind {
    Jpeg,
    Png,
    Gif,
    Bmp,
    WebP,
    Tiff,
}

impl ImageKind {
    /// Supported formats, for messages.
    pub const NAMES: &str = "JPEG, PNG, WebP, GIF, BMP or TIFF";
}

/// Kinds of archives; only zip, tar and gzip are unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of the formats")]
pub enum ArchiveKind {
    Zip,
    Tar,
    Gzip,
    Bzip2,
    Xz,
    SevenZip,
    Rar,
    Zstandard,
    Lz4,
}

impl ArchiveKind {
    /// Its name, for messages.
    pub fn name(self) -> &'static str {
        match self {
            ArchiveKind::Zip => "zip",
            ArchiveKind::Tar => "tar",
            ArchiveKind::Gzip => "gzip",
            ArchiveKind::Bzip2 => "bzip2",
            ArchiveKind::Xz => "xz",
            ArchiveKind::SevenZip => "7-Zip",
            ArchiveKind::Rar => "RAR",
            ArchiveKind::Zstandard => "Zstandard",
            ArchiveKind::Lz4 => "LZ4",
        }
    }
}

impl Content {
    /// The type by the first [`HEAD_BYTES`] bytes, or all of a shorter file.
    pub fn of(head: &[u8]) -> Content {
        if head.is_empty() {
            return Content::Empty;
        }
        if let Some(kind) = image(head) {
            return Content::Image(kind);
        }
        if let Some(name) = unread_image(head) {
            return Content::UnreadImage(name);
        }
        if let Some(kind) = archive(head) {
            return Content::Archive(kind);
        }
        if is_text(head) { Content::Text } else { Content::Other }
    }
}

fn image(head: &[u8]) -> Option<ImageKind> {
    let begins = |magic: &[u8]| head.starts_with(magic);
    if begins(&[0xff, 0xd8, 0xff]) {
        Some(ImageKind::Jpeg)
    } else if begins(b"\x89PNG\r\n\x1a\n") {
        Some(ImageKind::Png)
    } else if begins(b"GIF87a") || begins(b"GIF89a") {
        Some(ImageKind::Gif)
    } else if begins(b"RIFF") && head.get(8..12) == Some(b"WEBP") {
        Some(ImageKind::WebP)
    } else if [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"].iter().any(|magic| begins(*magic)) {
        Some(ImageKind::Tiff)
    } else if begins(b"BM") && is_bitmap(head) {
        Some(ImageKind::Bmp)
    } else {
        None
    }
}

/// Texts may also begin with BM: check the size of the second header.
fn is_bitmap(head: &[u8]) -> bool {
    const HEADERS: [u32; 8] = [12, 16, 40, 52, 56, 64, 108, 124];
    head.get(14..18)
        .and_then(|bytes| bytes.try_into().ok())
        .is_some_and(|bytes| HEADERS.contains(&u32::from_le_bytes(bytes)))
}

fn unread_image(head: &[u8]) -> Option<&'static str> {
    let begins = |magic: &[u8]| head.starts_with(magic);
    if head.get(4..8) == Some(b"ftyp") {
        return match head.get(8..12)? {
            b"avif" | b"avis" => Some("AVIF image"),
            b"heic" | b"heix" | b"hevc" | b"hevx" | b"heim" | b"heis" | b"mif1" | b"msf1" => Some("HEIC image"),
            b"crx " => Some("raw image of a camera"),
            _ => Some("video"),
        };
    }
    let magics: [(&[u8], &str); 17] = [
        (&[0xff, 0x0a], "JPEG XL image"),
        (b"\0\0\0\x0cJXL ", "JPEG XL image"),
        (b"\0\0\0\x0cjP  ", "JPEG 2000 image"),
        (&[0xff, 0x4f, 0xff, 0x51], "JPEG 2000 image"),
        (b"8BPS", "Photoshop file"),
        (&[0, 0, 1, 0], "icon"),
        (&[0x76, 0x2f, 0x31, 0x01], "OpenEXR image"),
        (b"#?RADIANCE", "Radiance HDR image"),
        (b"DDS ", "DDS texture"),
        (b"qoif", "QOI image"),
        (b"SIMPLE  =", "FITS image"),
        (b"\x89HDF", "HDF5 file"),
        (b"\x93NUMPY", "NumPy array"),
        (b"%PDF", "PDF document"),
        (b"FUJIFILMCCD-RAW", "raw image of a camera"),
        (b"IIRO", "raw image of a camera"),
        (b"IIU\0", "raw image of a camera"),
    ];
    if let Some((_, name)) = magics.iter().find(|(magic, _)| begins(magic)) {
        return Some(name);
    }
    if head.get(128..132) == Some(b"DICM") {
        return Some("DICOM image");
    }
    let is_portable = matches!(head, [b'P', b'1'..=b'7', space, ..] if space.is_ascii_whitespace());
    if is_portable {
        return Some("PBM, PGM or PPM image");
    }
    let text = String::from_utf8_lossy(head);
    (text.trim_start_matches('\u{feff}').trim_start().starts_with('<') && text.contains("<svg"))
        .then_some("SVG drawing")
}

fn archive(head: &[u8]) -> Option<ArchiveKind> {
    let magics: [(&[u8], ArchiveKind); 10] = [
        (b"PK\x03\x04", ArchiveKind::Zip),
        (b"PK\x05\x06", ArchiveKind::Zip),
        (b"PK\x07\x08", ArchiveKind::Zip),
        (&[0x1f, 0x8b], ArchiveKind::Gzip),
        (b"BZh", ArchiveKind::Bzip2),
        (&[0xfd, b'7', b'z', b'X', b'Z', 0], ArchiveKind::Xz),
        (&[b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c], ArchiveKind::SevenZip),
        (b"Rar!\x1a\x07", ArchiveKind::Rar),
        (&[0x28, 0xb5, 0x2f, 0xfd], ArchiveKind::Zstandard),
        (&[0x04, 0x22, 0x4d, 0x18], ArchiveKind::Lz4),
    ];
    let found = magics.iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, kind)| *kind);
    found.or_else(|| is_tar(head).then_some(ArchiveKind::Tar))
}

/// Whether the first tar header's checksum is right (POSIX.1-1988, ustar; older tars have no magic).
fn is_tar(head: &[u8]) -> bool {
    let Some(header) = head.get(..512) else { return false };
    let digits: String = header[148..156].iter().map(|byte| char::from(*byte)).filter(char::is_ascii_digit).collect();
    let sum: u32 = header[..148].iter().chain(&header[156..]).map(|byte| u32::from(*byte)).sum::<u32>() + 8 * 32;
    header[0] != 0 && u32::from_str_radix(&digits, 8).is_ok_and(|stored| stored == sum)
}

fn is_text(head: &[u8]) -> bool {
    if head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff]) {
        return true;
    }
    head.iter().all(|byte| *byte >= 0x20 || matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_known_by_their_first_bytes() {
        for (head, kind) in [
            (&[0xff, 0xd8, 0xff, 0xe0, 0, 16][..], ImageKind::Jpeg),
            (b"\x89PNG\r\n\x1a\n", ImageKind::Png),
            (b"GIF89a....", ImageKind::Gif),
            (b"RIFF\x10\0\0\0WEBPVP8 ", ImageKind::WebP),
            (b"II*\0\x08\0\0\0", ImageKind::Tiff),
            (b"MM\0+\0\x08\0\0", ImageKind::Tiff),
            (b"BM\x36\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0", ImageKind::Bmp),
        ] {
            assert_eq!(Content::of(head), Content::Image(kind), "{head:?}");
        }
        assert_eq!(Content::of(b"BMW is a maker of cars and motorcycles"), Content::Text);
        assert_eq!(Content::of(b""), Content::Empty);
        assert_eq!(Content::of(&[0, 1, 2, 3, 4]), Content::Other);
    }

    #[test]
    fn what_is_not_decoded_is_named() {
        for (head, name) in [
            (&b"\0\0\0\x18ftypheic"[..], "HEIC image"),
            (b"\0\0\0\x1cftypavif", "AVIF image"),
            (b"\0\0\0\x0cjP  \r\n", "JPEG 2000 image"),
            (b"P6\n640 480\n255\n", "PBM, PGM or PPM image"),
            (b"<?xml version=\"1.0\"?>\n<svg xmlns=\"x\">", "SVG drawing"),
        ] {
            assert_eq!(Content::of(head), Content::UnreadImage(name), "{head:?}");
        }
    }

    #[test]
    fn archives_are_known_by_their_first_bytes() {
        for (head, kind) in [
            (&b"PK\x05\x06"[..], ArchiveKind::Zip),
            (&[0x1f, 0x8b, 8], ArchiveKind::Gzip),
            (b"BZh91AY", ArchiveKind::Bzip2),
            (b"Rar!\x1a\x07\x01", ArchiveKind::Rar),
        ] {
            assert_eq!(Content::of(head), Content::Archive(kind), "{head:?}");
        }
        let mut tar = [0; 512];
        tar[..3].copy_from_slice(b"a.x");
        let sum: u32 = tar.iter().map(|byte| u32::from(*byte)).sum::<u32>() + 8 * 32;
        tar[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        assert_eq!(Content::of(&tar), Content::Archive(ArchiveKind::Tar));
        assert_eq!(Content::of(&[0; 512]), Content::Other);
    }
}
