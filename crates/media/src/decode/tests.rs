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
    let jpeg = encode_jpeg(&RgbImage::from_fn(64, 64, |x, y| image::Rgb([x as u8 * 4, y as u8 * 4, 7])), 75).unwrap();
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

/// A chunk of a PNG.
fn chunk(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let named = [&name[..], body].concat();
    [&(body.len() as u32).to_be_bytes()[..], &named, &crc32(&named).to_be_bytes()].concat()
}

/// A PNG with changed pixels, a correct checksum, and chunks before and behind them.
fn png_with(change: impl Fn(Vec<u8>) -> Vec<u8>, before: &[u8], behind: &[u8]) -> Vec<u8> {
    let png = png();
    let at = png.windows(4).position(|name| name == b"IDAT").unwrap() - 4;
    let length = u32::from_be_bytes(png[at..at + 4].try_into().unwrap()) as usize;
    let pixels = change(png[at + 8..at + 8 + length].to_vec());
    [&png[..at], before, &chunk(b"IDAT", &pixels), behind, &png[at + 12 + length..]].concat()
}

#[test]
fn damaged_pixels_behind_an_intact_header_and_end_are_noticed() {
    let whole = png_with(|pixels| pixels, b"", b"");
    assert_eq!(inspect(&whole).unwrap(), Facts { width: 20, height: 10 });
    let mut bad_checksum = whole.clone();
    let at = bad_checksum.windows(4).position(|name| name == b"IDAT").unwrap();
    bad_checksum[at + 10] ^= 0x55;
    let half = png_with(|pixels| pixels[..pixels.len() / 2].to_vec(), b"", b"");
    let noise = png_with(|pixels| pixels.iter().map(|byte| byte ^ 0xa5).collect(), b"", b"");
    let nothing = png_with(|_| Vec::new(), b"", b"");
    for damaged in [bad_checksum, half, noise, nothing] {
        assert!(damaged.ends_with(b"IEND\xae\x42\x60\x82"));
        assert!(matches!(inspect(&damaged), Err(MediaError::Damaged(_))), "{:?}", inspect(&damaged));
        assert!(decode(&damaged).is_err());
    }
}

#[test]
fn an_orientation_is_found_wherever_it_lies_in_a_png() {
    let exif = |orientation: u8| {
        let body = [b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0", &[orientation][..], b"\0\0\0\0\0\0"].concat();
        chunk(b"eXIf", &body)
    };
    let upright = decode(&png()).unwrap();
    for png in [png_with(|pixels| pixels, b"", &exif(6)), png_with(|pixels| pixels, &exif(6), b"")] {
        assert_eq!(inspect(&png).unwrap(), Facts { width: 10, height: 20 });
        let turned = decode(&png).unwrap();
        // Rotated by 90 degrees clockwise: the bottom left moves to the top left.
        assert_eq!(turned.get_pixel(0, 0), upright.get_pixel(0, 9));
    }
    let mirrored = decode(&png_with(|pixels| pixels, b"", &exif(2))).unwrap();
    assert_eq!(mirrored.get_pixel(0, 0), upright.get_pixel(19, 0));
    assert!(decode(&png_with(|pixels| pixels, b"", &exif(99))).is_ok());
}

#[test]
fn bits_of_a_sensor_in_a_png_of_16_are_visible() {
    for bits in [10, 12, 14, 16] {
        let most = (1u32 << bits) - 1;
        let image = image::ImageBuffer::<image::Luma<u16>, _>::from_fn(64, 64, |x, y| {
            image::Luma([(u64::from(y * 64 + x) * u64::from(most) / 4095) as u16])
        });
        let mut png = Vec::new();
        image.write_with_encoder(image::codecs::png::PngEncoder::new(&mut png)).unwrap();
        let shown = decode(&png).unwrap();
        assert_eq!((shown.get_pixel(0, 0).0, shown.get_pixel(63, 63).0), ([0; 3], [255; 3]), "{bits} bits");
        assert!(shown.get_pixel(32, 32).0[0].abs_diff(129) < 3, "{bits} bits");
    }
}

#[test]
fn alpha_that_is_zero_everywhere_is_taken_as_unset() {
    let rgba = |alpha: u8| {
        let image = RgbaImage::from_fn(4, 4, |x, _| image::Rgba([40, 50, 60, if x == 0 { alpha } else { 0 }]));
        let mut png = Vec::new();
        image.write_with_encoder(image::codecs::png::PngEncoder::new(&mut png)).unwrap();
        decode(&png).unwrap()
    };
    assert!(rgba(0).pixels().all(|pixel| pixel.0 == [40, 50, 60]));
    assert_eq!((rgba(255).get_pixel(0, 0).0, rgba(255).get_pixel(1, 0).0), ([40, 50, 60], [255; 3]));
}

#[test]
fn an_orientation_in_a_webp_is_found_with_and_without_a_prefix() {
    let exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    for chunk in [exif.to_vec(), [&b"Exif\0\0"[..], exif].concat()] {
        let mut webp = Vec::new();
        let mut encoder = image::codecs::webp::WebPEncoder::new_lossless(&mut webp);
        image::ImageEncoder::set_exif_metadata(&mut encoder, chunk).unwrap();
        RgbImage::new(20, 10).write_with_encoder(encoder).unwrap();
        assert_eq!(inspect(&webp).unwrap(), Facts { width: 10, height: 20 });
        assert_eq!(decode(&webp).unwrap().dimensions(), (10, 20));
    }
}

mod tiff_files {
    use super::*;
    use tiff::encoder::colortype::{self, ColorType};
    use tiff::encoder::{TiffEncoder, TiffValue};
    use tiff::tags::Tag;

    /// 16 x 16 pixels by position, from 0 to 1.
    fn of<C: ColorType>(value: impl Fn(f64) -> C::Inner, channels: usize) -> Vec<u8>
    where
        [C::Inner]: TiffValue,
    {
        let samples: Vec<C::Inner> =
            (0..256 * channels).map(|index| value((index / channels) as f64 / 255.0)).collect();
        let mut bytes = Cursor::new(Vec::new());
        TiffEncoder::new(&mut bytes).unwrap().write_image::<C>(16, 16, &samples).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn samples_of_every_type_are_shown_from_black_to_white() {
        for (name, bytes) in [
            ("grey 8", of::<colortype::Gray8>(|share| (share * 255.0) as u8, 1)),
            ("grey 16, 12 bits", of::<colortype::Gray16>(|share| (share * 4095.0) as u16, 1)),
            ("grey 32", of::<colortype::Gray32>(|share| (share * 4e9) as u32, 1)),
            ("signed 16", of::<colortype::GrayI16>(|share| (share * 3000.0 - 1000.0) as i16, 1)),
            ("signed 32", of::<colortype::GrayI32>(|share| (share * 2e9 - 1e9) as i32, 1)),
            ("float 0 to 1", of::<colortype::Gray32Float>(|share| share as f32, 1)),
            ("float 0 to 255", of::<colortype::Gray32Float>(|share| (share * 255.0) as f32, 1)),
            ("double -3 to 40", of::<colortype::Gray64Float>(|share| share * 43.0 - 3.0, 1)),
            ("color float 0 to 255", of::<colortype::RGB32Float>(|share| (share * 255.0) as f32, 3)),
            ("color 16, 10 bits", of::<colortype::RGB16>(|share| (share * 1023.0) as u16, 3)),
        ] {
            assert_eq!(inspect(&bytes).unwrap(), Facts { width: 16, height: 16 }, "{name}");
            let shown = decode(&bytes).unwrap();
            let (first, middle, last) = (shown.get_pixel(0, 0).0, shown.get_pixel(0, 8).0, shown.get_pixel(15, 15).0);
            assert!(first[0] <= 2 && last[0] >= 236, "{name}: {first:?} to {last:?}");
            assert!(middle[0].abs_diff(last[0] / 2) <= 6 && middle[0] == middle[2], "{name}: {middle:?}");
        }
    }

    #[test]
    fn big_tiffs_and_inks_are_read() {
        let mut big = Cursor::new(Vec::new());
        let grey: Vec<u8> = (0..=255).collect();
        TiffEncoder::new_big(&mut big).unwrap().write_image::<colortype::Gray8>(16, 16, &grey).unwrap();
        assert_eq!(decode(big.get_ref()).unwrap().get_pixel(7, 7).0, [119; 3]);
        let inks = of::<colortype::CMYK8>(|share| if share < 0.5 { 0 } else { 255 }, 4);
        let shown = decode(&inks).unwrap();
        assert_eq!((shown.get_pixel(0, 0).0, shown.get_pixel(15, 15).0), ([255; 3], [0; 3]));
    }

    /// A one-strip TIFF with these tags besides its size: number, type (3: 16 bits, 4: 32 bits), values.
    fn written(width: u32, height: u32, pixels: &[u8], tags: &[(u16, u16, Vec<u32>)]) -> Vec<u8> {
        let mut tags = tags.to_vec();
        tags.extend([(256, 4, vec![width]), (257, 4, vec![height]), (273, 4, vec![8]), (278, 4, vec![height])]);
        tags.push((279, 4, vec![pixels.len() as u32]));
        tags.sort();
        let mut bytes = [b"II*\0", &[0; 4][..], pixels].concat();
        bytes.resize(bytes.len().next_multiple_of(2), 0);
        let mut entries = Vec::new();
        for (tag, kind, values) in &tags {
            let value: Vec<u8> = match kind {
                3 => values.iter().flat_map(|value| (*value as u16).to_le_bytes()).collect(),
                _ => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            };
            let place = if value.len() <= 4 {
                let mut inside = value;
                inside.resize(4, 0);
                inside
            } else {
                let place = (bytes.len() as u32).to_le_bytes().to_vec();
                bytes.extend(value);
                place
            };
            entries.extend(
                [&tag.to_le_bytes()[..], &kind.to_le_bytes(), &(values.len() as u32).to_le_bytes(), &place].concat(),
            );
        }
        let directory = bytes.len() as u32;
        bytes[4..8].copy_from_slice(&directory.to_le_bytes());
        [&bytes[..], &(tags.len() as u16).to_le_bytes(), &entries, &[0; 4]].concat()
    }

    #[test]
    fn palettes_have_their_colors() {
        let mut map = vec![0; 768];
        (map[1], map[256 + 2], map[512 + 3]) = (65535, 65535, 32768);
        let palette = |bits: u32, map: Vec<u32>| {
            let pixels: &[u8] = if bits == 8 { &[0, 1, 2, 3] } else { &[0x01, 0x23] };
            let (width, height) = (2, 2);
            written(width, height, pixels, &[(258, 3, vec![bits]), (259, 3, vec![1]), (262, 3, vec![3]), (320, 3, map)])
        };
        let small: Vec<u32> = (0..3).flat_map(|part| map[part * 256..part * 256 + 16].to_vec()).collect();
        for bytes in [palette(8, map), palette(4, small)] {
            let shown = decode(&bytes).unwrap();
            let colors: Vec<[u8; 3]> = shown.pixels().map(|pixel| pixel.0).collect();
            assert_eq!(colors, [[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 128]]);
            assert!(inspect(&bytes).is_ok());
        }
    }

    #[test]
    fn a_jpeg_in_a_tiff_has_its_colors() {
        let image = RgbImage::from_fn(16, 16, |x, _| image::Rgb([220, (x * 10) as u8, 30]));
        let jpeg = encode_jpeg(&image, 95).unwrap();
        let tags = |photometric: u32, compression: u32| {
            [(258, 3, vec![8, 8, 8]), (259, 3, vec![compression]), (262, 3, vec![photometric]), (277, 3, vec![3])]
        };
        let shown = decode(&written(16, 16, &jpeg, &tags(6, 7))).unwrap();
        let most = shown.iter().zip(image.iter()).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(most < Some(24), "{most:?}");
        // Unknown features are named by the decoder.
        let old = inspect(&written(16, 16, &jpeg, &tags(6, 6))).unwrap_err().to_string();
        assert!(old.contains("a TIFF image ("), "{old}");
        let lab = inspect(&written(4, 4, &[0; 48], &tags(8, 1))).unwrap_err().to_string();
        assert!(lab.contains("CIELab"), "{lab}");
    }

    #[test]
    fn a_thumbnail_before_the_full_image_is_passed_over() {
        let mut bytes = Cursor::new(Vec::new());
        let mut encoder = TiffEncoder::new(&mut bytes).unwrap();
        let mut thumbnail = encoder.new_image::<colortype::Gray8>(2, 2).unwrap();
        thumbnail.encoder().write_tag(Tag::NewSubfileType, 1u32).unwrap();
        thumbnail.write_data(&[9; 4]).unwrap();
        encoder.write_image::<colortype::Gray8>(4, 3, &[70; 12]).unwrap();
        encoder.write_image::<colortype::Gray8>(5, 5, &[80; 25]).unwrap();
        let bytes = bytes.into_inner();
        assert_eq!(inspect(&bytes).unwrap(), Facts { width: 4, height: 3 });
        assert!(decode(&bytes).unwrap().pixels().all(|pixel| pixel.0 == [70; 3]));
        // A file of nothing but a thumbnail shows it.
        let only =
            written(2, 2, &[9; 4], &[(254, 4, vec![1]), (258, 3, vec![8]), (259, 3, vec![1]), (262, 3, vec![1])]);
        assert_eq!(decode(&only).unwrap().get_pixel(1, 1).0, [9; 3]);
    }

    #[test]
    fn pixels_without_data_are_black_and_do_not_stretch_the_window() {
        let mut bytes = Cursor::new(Vec::new());
        let mut encoder = TiffEncoder::new(&mut bytes).unwrap();
        let mut image = encoder.new_image::<colortype::Gray32Float>(2, 2).unwrap();
        image.encoder().write_tag(Tag::GdalNodata, "-9999").unwrap();
        image.write_data(&[-9999.0, 300.0, 400.0, 500.0]).unwrap();
        let shown = decode(&bytes.into_inner()).unwrap();
        assert_eq!(shown.pixels().map(|pixel| pixel.0[0]).collect::<Vec<_>>(), [0, 0, 128, 255]);
    }

    #[test]
    fn a_damaged_tiff_says_so() {
        let whole = of::<colortype::Gray16>(|share| (share * 4095.0) as u16, 1);
        for length in [20, whole.len() / 2, whole.len() - 100] {
            assert!(inspect(&whole[..length]).is_err(), "{length}");
        }
    }
}

#[test]
fn images_of_other_kinds_are_named() {
    let heic = [b"\0\0\0\x18ftypheic\0\0\0\0", &[0; 40][..]].concat();
    let why = inspect(&heic).unwrap_err().to_string();
    assert!(why.contains("HEIC"), "{why}");
    let why = decode(b"P6\n2 2\n255\n............").unwrap_err().to_string();
    assert!(why.contains("PPM") && why.contains("convert it to PNG"), "{why}");
}
