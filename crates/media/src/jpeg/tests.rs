use super::*;
use crate::{Facts, decode as decoded, encode_jpeg, inspect};

const END: [u8; 2] = [0xff, END_OF_IMAGE];

fn textured() -> RgbImage {
    RgbImage::from_fn(64, 48, |x, y| image::Rgb([((x * 37) ^ (y * 91)) as u8, (x * y) as u8, (x + y * 13) as u8]))
}

fn jpeg() -> Vec<u8> {
    encode_jpeg(&textured(), 80).unwrap()
}

/// The place of a marker.
fn place_of(jpeg: &[u8], code: u8) -> usize {
    jpeg.windows(2).position(|pair| pair == [0xff, code]).unwrap()
}

/// Where the entropy-coded data begins.
fn begin_of_scan(jpeg: &[u8]) -> usize {
    let place = place_of(jpeg, START_OF_SCAN);
    place + 2 + usize::from(u16::from_be_bytes([jpeg[place + 2], jpeg[place + 3]]))
}

fn inserted(jpeg: &[u8], place: usize, bytes: &[u8]) -> Vec<u8> {
    [&jpeg[..place], bytes, &jpeg[place..]].concat()
}

/// 24 x 16 grey pixels in six scans.
fn progressive() -> Vec<u8> {
    const DIGITS: &str = "\
        ffd8ffe000104a46494600010100000100010000ffdb004300100b0c0e0c0a100e0d0e1211101318281a181616183123251d\
        283a333d3c3933383740485c4e404457453738506d51575f626768673e4d71797064785c656763ffc2000b08001000180101\
        1100ffc40017000003010000000000000000000000000001030405ffda000801010000000190b2266a7fffc4001a10000300\
        0301000000000000000000000000010203113113ffda0008010100010502e1d22dc9e863c8b7129affc40014100100000000\
        000000000000000000000020ffda0008010100063f025fffc400191001010003010000000000000000000000010011213141\
        ffda0008010100013f21d8c92f449e5d93e3968520d83b7fffda0008010100000010b3ffc4001b1001000301000300000000\
        0000000000000100112141315171ffda0008010100013f10b06c3e0b825a061ca0139296f68e91633bb9f23707b4ffd9";
    let digit = |place: usize| u8::from_str_radix(&DIGITS[place..place + 2], 16).unwrap();
    (0..DIGITS.len()).step_by(2).map(digit).collect()
}

#[test]
fn pixels_that_end_early_are_noticed_behind_an_intact_header_and_end() {
    let jpeg = jpeg();
    let (begin, end) = (begin_of_scan(&jpeg), jpeg.len() - 2);
    assert!(decoded(&jpeg).is_ok() && inspect(&jpeg).is_ok());
    for part in 0..8 {
        let cut = [&jpeg[..begin + (end - begin) * part / 8], &END].concat();
        assert!(matches!(decoded(&cut), Err(MediaError::Damaged(_))), "{part}/8 of the scan");
    }
    let none = [&jpeg[..begin], &END].concat();
    assert!(matches!(inspect(&none), Err(MediaError::Damaged(_))));
    let no_scan = [&jpeg[..place_of(&jpeg, START_OF_SCAN)], &END].concat();
    assert!(matches!(inspect(&no_scan), Err(MediaError::Damaged(_))));
}

#[test]
fn a_lost_block_within_the_pixels_is_noticed() {
    let mut jpeg = jpeg();
    let middle = (begin_of_scan(&jpeg) + jpeg.len()) / 2;
    jpeg[middle..middle + 200].fill(0);
    for why in [inspect(&jpeg).map(|_| ()), decoded(&jpeg).map(|_| ())] {
        assert!(why.unwrap_err().to_string().contains("only zeros"));
    }
}

#[test]
fn zeros_are_plain_areas_where_the_tables_say_so() {
    let counts = [0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let table = |kind: u8, values: [u8; 2]| [&[kind][..], &counts, &values].concat();
    let mut tables = Tables::default();
    tables.read(&[&[0, 59][..], &table(0x00, [5, 6]), &table(0x10, [0, 1]), &table(0x11, [1, 0])].concat());
    assert_eq!(tables.of_zeros[..3], [0, 1, 0]);
    let scan = |table: u8, last: u8| tables.zeros_in_scan(&[0, 8, 1, 1, table, 0, last, 0]);
    assert_eq!((scan(0x00, 63), scan(0x01, 63)), (Some(Zeros::Unknown), Some(Zeros::Coefficients)));
    assert_eq!(scan(0x01, 0), Some(Zeros::Unknown));
    assert_eq!(tables.zeros_in_scan(&[0, 8, 1]), None);
}

#[test]
fn a_progressive_image_is_read_and_its_cut_is_noticed() {
    let whole = progressive();
    assert_eq!(inspect(&whole).unwrap(), Facts { width: 24, height: 16 });
    assert_eq!(decoded(&whole).unwrap().dimensions(), (24, 16));
    let scans = Scans::of(&whole).unwrap().places;
    assert_eq!(scans.len(), 6);
    let second = &scans[1];
    let cut = [&whole[..(second.start + second.end) / 2], &END].concat();
    assert!(matches!(decoded(&cut), Err(MediaError::Damaged(_))));
}

#[test]
fn a_file_without_its_end_is_refused_by_decode_as_by_inspect() {
    let jpeg = jpeg();
    let half = &jpeg[..jpeg.len() / 2];
    // The end of a second image is not that of the first.
    for cut in [jpeg[..jpeg.len() - 2].to_vec(), half.to_vec(), [half, &jpeg].concat()] {
        for why in [inspect(&cut).map(|_| ()), decoded(&cut).map(|_| ())] {
            assert!(why.unwrap_err().to_string().contains("before its end marker"));
        }
    }
}

#[test]
fn unusual_but_valid_files_have_all_their_pixels() {
    let jpeg = jpeg();
    let whole = decoded(&jpeg).unwrap();
    let end = jpeg.len() - 2;
    let comment = b"\xff\xfe\x00\x09comment";
    let metadata = [&b"\xff\xe1\x00\x0aExif\0\0"[..], &[0xff, END_OF_IMAGE]].concat();
    for (name, file) in [
        ("fill bytes before tables", inserted(&jpeg, place_of(&jpeg, 0xdb), &[0xff; 3])),
        ("fill bytes before the scan", inserted(&jpeg, place_of(&jpeg, START_OF_SCAN), &[0xff; 3])),
        ("fill bytes before the end", inserted(&jpeg, end, &[0xff; 3])),
        ("a comment behind the scan", inserted(&jpeg, end, comment)),
        ("metadata behind the scan", inserted(&jpeg, end, &metadata)),
        ("bytes behind the end", [&jpeg[..], b"\0\xff\xdatrailing"].concat()),
        ("a second image", [&jpeg[..], &jpeg].concat()),
        ("a thumbnail in its metadata", inserted(&jpeg, 2, &metadata)),
    ] {
        assert_eq!(inspect(&file).unwrap(), Facts { width: 64, height: 48 }, "{name}");
        assert_eq!(decoded(&file).unwrap(), whole, "{name}");
    }
    let behind = inserted(&progressive(), progressive().len() - 2, comment);
    assert_eq!(decoded(&behind).unwrap(), decoded(&progressive()).unwrap());
}

#[test]
fn grey_has_three_equal_channels() {
    let grey: Vec<u8> = (0..64 * 48).map(|place| (place % 64 * 4) as u8).collect();
    let mut jpeg = Vec::new();
    let mut encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut jpeg, 95);
    encoder.encode(&grey, 64, 48, image::ExtendedColorType::L8).unwrap();
    let shown = decoded(&jpeg).unwrap();
    for (pixel, expected) in shown.pixels().zip(&grey) {
        assert!(pixel.0[0].abs_diff(*expected) < 12 && pixel.0[0] == pixel.0[2], "{pixel:?}, not {expected}");
    }
}

#[test]
fn an_orientation_of_32_bits_is_seen() {
    let exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x04\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    let segment = [&[0xff, 0xe1, 0, exif.len() as u8 + 2][..], exif].concat();
    assert_eq!(inspect(&inserted(&jpeg(), 2, &segment)).unwrap(), Facts { width: 48, height: 64 });
}
