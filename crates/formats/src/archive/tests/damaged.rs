//! Damaged archives, and single bad entries among good ones.

use super::*;
use ::tar::EntryType;

/// The same bytes with `to` for each `from`: names that the library refuses to write.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes.to_vec();
    let places: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(from)).collect();
    places.into_iter().for_each(|at| bytes[at..at + to.len()].copy_from_slice(to));
    bytes
}

/// Where the central headers of a zip begin.
fn central_headers(zip: &[u8]) -> Vec<usize> {
    (0..zip.len()).filter(|at| zip[*at..].starts_with(b"PK\x01\x02")).collect()
}

fn pax(records: &[(&str, &[u8])], entry: &[u8]) -> Vec<u8> {
    let record = |(key, value): &(&str, &[u8])| {
        let rest = [&b" "[..], key.as_bytes(), b"=", *value, b"\n"].concat();
        let length = (rest.len()..).find(|length| length.to_string().len() + rest.len() == *length).unwrap();
        [length.to_string().into_bytes(), rest].concat()
    };
    let records: Vec<u8> = records.iter().flat_map(record).collect();
    let extension = header(b"pax", EntryType::XHeader, b"", records.len() as u64);
    [extension.as_bytes().to_vec(), block(&records), entry.to_vec()].concat()
}

#[test]
fn zeros_in_the_data_of_a_file_do_not_end_the_archive() {
    let first = file(b"cat/z.bmp", &[vec![b'x'; 700], vec![0; 2600]].concat());
    let whole = tar_of(&[first.clone(), file(b"dog/a.png", b"a"), file(b"dog/b.png", b"b")]);
    let intact = Unpacked::new("a.tar", &whole).unwrap();
    assert_eq!((intact.names().len(), &intact.left_out), (3, &Vec::new()));
    let mut damaged = whole.clone();
    damaged[first.len() + 150] ^= 0x3f;
    let cut = |length: usize| whole[..length].to_vec();
    for (bytes, why) in
        [(damaged, "damaged"), (cut(first.len()), "no end"), (cut(first.len() + 200), "what follows is lost")]
    {
        for archive in [gzipped(&bytes), bytes] {
            let unpacked = Unpacked::new("a.tar", &archive).unwrap();
            assert_eq!(unpacked.names(), ["cat/z.bmp"]);
            assert!(unpacked.reason("after cat/z.bmp").contains(why), "{:?}", unpacked.left_out);
        }
    }
}

#[test]
fn what_does_not_read_behind_the_end_of_a_gzipped_archive_is_told() {
    let cat = gzipped(&tar_of(&[file(b"cat/a.jpg", b"a")]));
    let dog = gzipped(&tar_of(&[file(b"dog/a.jpg", b"a")]));
    let mut damaged = dog.clone();
    // A deflate block of the reserved type (RFC 1951, 3.2.3).
    damaged[10] = 0xff;
    let mut wrong = cat.clone();
    let checksum = wrong.len() - 8;
    wrong[checksum] ^= 0xff;
    for (bytes, why) in [
        ([cat.clone(), damaged].concat(), "behind the archive's end"),
        ([cat.as_slice(), b"GARBAGE! GARBAGE!"].concat(), "behind the archive's end"),
        (wrong, "checksum is wrong"),
    ] {
        let unpacked = Unpacked::new("a.tar.gz", &bytes).unwrap();
        assert_eq!((unpacked.names(), unpacked.left_out.len()), (vec!["cat/a.jpg".to_owned()], 1));
        assert!(unpacked.reason("after cat/a.jpg").contains(why), "{:?}", unpacked.left_out);
    }
    let padded = Unpacked::new("a.tar.gz", &[cat, vec![0; 600], dog, vec![0; 600]].concat()).unwrap();
    assert_eq!(padded.names(), ["cat/a.jpg", "dog/a.jpg"]);
    assert_eq!(padded.left_out, []);
}

#[test]
fn padding_behind_a_plain_archive_is_passed_over_and_a_damaged_archive_is_told() {
    let cat = tar_of(&[file(b"cat/a.jpg", b"a")]);
    let padded = Unpacked::new("a.tar", &[cat.clone(), vec![7; 700]].concat()).unwrap();
    assert_eq!((padded.names().len(), &padded.left_out), (1, &Vec::new()));
    let mut dog = tar_of(&[file(b"dog/a.jpg", b"a")]);
    dog[150] ^= 0x3f;
    let damaged = Unpacked::new("a.tar", &[cat, dog].concat()).unwrap();
    assert!(damaged.reason("after cat/a.jpg").contains("behind the archive's end"));
}

#[test]
fn a_backslash_separates_only_in_names_of_a_zip_without_slashes() {
    let tar = tar_of(&[file(b"cat\\a.png", b"1"), file(b"dog\\a.png", b"2"), file(b"dog/a.png", b"3")]);
    let unpacked = Unpacked::new("a.tar", &tar).unwrap();
    assert_eq!((unpacked.names().len(), &unpacked.left_out), (3, &Vec::new()));
    let zip = zip_of(&[("cat|a.png", "1"), ("inu1/hy.png", "2"), ("hy.png", "3")]);
    let zip = replaced(&zip, b"cat|a.png", b"cat\\a.png");
    // Shift-JIS, in which the second byte of some characters is that of the backslash.
    let zip = replaced(&zip, b"inu1/hy.png", b"\x8c\xa2\x83\\/\x95\\.png");
    let zip = replaced(&zip, b"hy.png", b"\x95\\.png");
    let unpacked = Unpacked::new("a.zip", &zip).unwrap();
    assert_eq!((unpacked.names().len(), &unpacked.left_out), (3, &Vec::new()));
    assert!(unpacked.files().contains(&("cat/a.png".into(), "1".into())), "{:?}", unpacked.files());
    assert!(unpacked.names().iter().all(|name| !format!("/{name}").contains("/.")), "{:?}", unpacked.names());
}

#[test]
fn a_folder_of_any_name_can_be_a_class() {
    let names = ["c".repeat(300), "d".repeat(230), "ä".repeat(220)].map(|folder| format!("{folder}/a.png"));
    let unpacked = Unpacked::new("a.zip", &zip_of(&names.each_ref().map(|name| (name.as_str(), "1")))).unwrap();
    assert_eq!((unpacked.names().len(), &unpacked.left_out), (3, &Vec::new()));
    for name in unpacked.names() {
        assert!(name.split('/').next().unwrap().chars().count() <= 200, "{name}");
    }
}

#[test]
fn of_two_entries_of_one_name_the_last_that_reads_is_taken() {
    let zip = zip_of(&[("cat/a.jpg", "first"), ("cat/b.jpg", "later"), ("dog/a.jpg", "dog")]);
    let zip = replaced(&zip, b"cat/b.jpg", b"cat/a.jpg");
    let headers = central_headers(&zip);
    // The checksum lies at 16.
    let mut one = zip.clone();
    one[headers[1] + 16] ^= 0xff;
    for prefix in [0, 3000] {
        let unpacked = Unpacked::new("a.zip", &[vec![0x90; prefix], one.clone()].concat()).unwrap();
        assert!(unpacked.files().contains(&("cat/a.jpg".into(), "first".into())), "{:?}", unpacked.files());
        assert!(unpacked.reason("cat/a.jpg").contains("damaged"));
        assert!(unpacked.left_out.iter().any(|(_, why)| why.contains("2 times") && why.contains("an earlier one")));
    }
    let mut both = one;
    both[headers[0] + 16] ^= 0xff;
    let unpacked = Unpacked::new("a.zip", &both).unwrap();
    assert_eq!(unpacked.names(), ["dog/a.jpg"]);
    assert!(unpacked.left_out.iter().any(|(_, why)| why.contains("none of them reads")), "{:?}", unpacked.left_out);

    let tar = tar_of(&[file(b"cat/a.jpg", b"first"), file(b"cat/a.jpg", &[b'x'; 3000])]);
    let unpacked = Unpacked::new("a.tar", &tar[..3000]).unwrap();
    assert_eq!(unpacked.files(), [("cat/a.jpg".to_owned(), "first".to_owned())]);
    assert!(unpacked.reason("cat/a.jpg").contains("an earlier one of this name is taken"));
}

#[test]
fn links_to_folders_are_told_and_lead_to_their_files() {
    let tar = tar_of(&[
        file(b"cat/a.jpg", b"a"),
        link(b"pets", EntryType::Symlink, b"cat"),
        link(b"all/pets", EntryType::Symlink, b"../pets"),
        link(b"up/root", EntryType::Symlink, b".."),
        link(b"dog/through.jpg", EntryType::Symlink, b"../all/pets/a.jpg"),
        link(b"loop1", EntryType::Symlink, b"loop2/x"),
        link(b"loop2", EntryType::Symlink, b"loop1/x"),
    ]);
    let unpacked = Unpacked::new("a.tar", &tar).unwrap();
    assert_eq!(unpacked.files(), ["cat/a.jpg", "dog/through.jpg"].map(|name| (name.to_owned(), "a".to_owned())));
    for name in ["pets", "all/pets", "up/root"] {
        assert_eq!(unpacked.reason(name), "a link to a folder of the archive, whose files are taken once");
    }
    assert!(unpacked.reason("loop1").contains("no file in the archive"));
}

#[test]
fn a_zip_behind_other_bytes_is_read() {
    let zip = zip_of(&[("cat/a.jpg", "a"), ("dog/a.jpg", "b")]);
    for prefix in [vec![0x90; 3000], b"#!/bin/sh\n".to_vec()] {
        for name in ["a.zip", "setup"] {
            let unpacked = Unpacked::new(name, &[prefix.clone(), zip.clone()].concat()).unwrap();
            assert_eq!((unpacked.names().len(), &unpacked.left_out), (2, &Vec::new()));
        }
    }
}

#[test]
fn entries_without_a_name_of_a_file_are_told_as_such() {
    let tar = tar_of(&[file(b"cat/a.jpg", b"a"), file(b"", b"x"), file(b"dog/", b"x"), file(b"a/..", b"x")]);
    let unpacked = Unpacked::new("a.tar", &tar).unwrap();
    assert_eq!((unpacked.names(), unpacked.left_out.len()), (vec!["cat/a.jpg".to_owned()], 3));
    assert!(unpacked.reason("(no name)").contains("it has no name"));
    assert!(unpacked.reason("dog/").contains("that of a folder"));
    assert!(unpacked.reason("a/..").contains("own folder"));
    let zip = Unpacked::new("a.zip", &replaced(&zip_of(&[("cat/a", "a"), ("q/qq", "x")]), b"q/qq", b"a/..")).unwrap();
    assert!(zip.reason("a/..").contains("own folder"));
}

#[test]
fn a_tar_is_known_by_its_header_whatever_its_first_name() {
    let tar = tar_of(&[file(b"P1 scans/a.jpg", b"a")]);
    for bytes in [gzipped(&tar), tar] {
        assert_eq!(Unpacked::new("a.tar", &bytes).unwrap().names(), ["P1 scans/a.jpg"]);
    }
}

#[test]
fn one_damaged_entry_of_a_zip_leaves_the_others() {
    let zip = zip_of(&[("cat/a.jpg", "aaaa"), ("cat/b.jpg", "bbbb")]);
    let directory = central_headers(&zip)[0];
    // The checksum, the stored length, the length (too long, too short), and the mark of the local header.
    for (at, value) in
        [(directory + 16, 0x55), (directory + 20, 1), (directory + 24, 99), (directory + 24, 1), (0, b'X')]
    {
        let mut damaged = zip.clone();
        damaged[at] = value;
        let unpacked = Unpacked::new("a.zip", &damaged).unwrap();
        assert_eq!((unpacked.names(), unpacked.left_out.len()), (vec!["cat/b.jpg".to_owned()], 1), "{at} {value}");
        let why = unpacked.reason("cat/a.jpg");
        assert!(why.contains("damaged") || why.contains("cut off"), "{why}");
    }
}

#[test]
fn a_zip_of_the_64_bit_format_is_read() {
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for name in ["cat/a.jpg", "dog/a.jpg"] {
        zip.start_file(name, SimpleFileOptions::default().large_file(true)).unwrap();
        zip.write_all(name.as_bytes()).unwrap();
    }
    let unpacked = Unpacked::new("a.zip", &zip.finish().unwrap().into_inner()).unwrap();
    assert_eq!(unpacked.files(), ["cat/a.jpg", "dog/a.jpg"].map(|name| (name.to_owned(), name.to_owned())));
    assert_eq!(unpacked.left_out, []);
}

#[test]
fn records_before_an_entry_of_a_tar_are_heeded_and_odd_ones_do_no_harm() {
    let short = header(b"cat/a.jpg", EntryType::Regular, b"", 0);
    let sized = pax(&[("size", b"600")], &[short.as_bytes().to_vec(), block(&[b'a'; 600])].concat());
    let noted = pax(&[("SCHILY.xattr.user.note", b"two\nlines")], &file(b"cat/b.jpg", b"b"));
    let unpacked = Unpacked::new("a.tar", &tar_of(&[sized, noted, file(b"dog/a.jpg", b"c")])).unwrap();
    let expected = [("cat/a.jpg", "a".repeat(600)), ("cat/b.jpg", "b".into()), ("dog/a.jpg", "c".into())];
    assert_eq!(unpacked.files(), expected.map(|(name, contents)| (name.to_owned(), contents)));
    assert_eq!(unpacked.left_out, []);
}
