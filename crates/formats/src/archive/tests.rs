mod damaged;

use super::*;
use ::zip::ZipWriter;
use ::zip::write::SimpleFileOptions;
use std::io::Write;

/// A folder with an archive in it, and what became of it.
struct Unpacked {
    folder: tempfile::TempDir,
    left_out: Vec<(String, String)>,
}

impl Unpacked {
    fn new(name: &str, bytes: &[u8]) -> Result<Unpacked, FormatError> {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join(name);
        std::fs::write(&source, bytes).unwrap();
        let left_out = unpack(&source, &folder.path().join("out"))?;
        Ok(Unpacked { folder, left_out })
    }

    /// Path and contents of all files, in order.
    fn files(&self) -> Vec<(String, String)> {
        let root = self.folder.path().join("out");
        let found = walkdir::WalkDir::new(&root).sort_by_file_name().into_iter().map(Result::unwrap);
        found
            .filter(|entry| entry.file_type().is_file())
            .map(|entry| {
                let path = entry.path().strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                (path, String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap()).into_owned())
            })
            .collect()
    }

    fn names(&self) -> Vec<String> {
        self.files().into_iter().map(|(path, _)| path).collect()
    }

    fn reason(&self, name: &str) -> &str {
        let found = self.left_out.iter().find(|(path, _)| path.contains(name));
        found.map_or_else(|| panic!("{name} is not told: {:?}", self.left_out), |(_, why)| why.as_str())
    }
}

fn zip_of(files: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, contents) in files {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(contents.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A tar header with name and link unmodified.
fn header(name: &[u8], kind: ::tar::EntryType, link: &[u8], size: u64) -> ::tar::Header {
    let mut header = ::tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_cksum();
    header
}

fn block(contents: &[u8]) -> Vec<u8> {
    let mut block = contents.to_vec();
    block.resize(contents.len().div_ceil(512) * 512, 0);
    block
}

fn file(name: &[u8], contents: &[u8]) -> Vec<u8> {
    let header = header(name, ::tar::EntryType::Regular, b"", contents.len() as u64);
    [header.as_bytes().to_vec(), block(contents)].concat()
}

fn link(name: &[u8], kind: ::tar::EntryType, to: &[u8]) -> Vec<u8> {
    header(name, kind, to, 0).as_bytes().to_vec()
}

fn tar_of(entries: &[Vec<u8>]) -> Vec<u8> {
    [entries.concat(), vec![0; 1024]].concat()
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(bytes).unwrap();
    gz.finish().unwrap()
}

#[test]
fn nothing_is_written_outside_and_the_rest_is_there() {
    let hostile = zip_of(&[("../evil.png", "x"), ("/abs.png", "x"), ("C:\\x.png", "x"), ("cat/good.png", "good")]);
    let zip = Unpacked::new("evil.zip", &hostile).unwrap();
    assert_eq!((zip.names(), zip.left_out.len()), (vec!["cat/good.png".to_owned()], 3));
    assert!(zip.reason("evil").contains("outside") && !zip.folder.path().join("evil.png").exists());
    let tar = tar_of(&[
        file(b"../evil.png", b"x"),
        file(b"/tmp/evil.png", b"x"),
        link(b"cat/etc.png", ::tar::EntryType::Symlink, b"/etc/passwd"),
        link(b"cat/up.png", ::tar::EntryType::Symlink, b"../../up.png"),
        link(b"cat/hard.png", ::tar::EntryType::Link, b"/etc/passwd"),
        link(b"cat/fifo.png", ::tar::EntryType::Fifo, b""),
        file(b"cat/good.png", b"good"),
    ]);
    let tar = Unpacked::new("evil.tar.gz", &gzipped(&tar)).unwrap();
    assert_eq!((tar.names(), tar.left_out.len()), (vec!["cat/good.png".to_owned()], 6));
    assert!(tar.reason("etc.png").contains("outside") && tar.reason("fifo").contains("a FIFO"));
}

#[test]
fn links_to_files_inside_become_files() {
    let tar = tar_of(&[
        file(b"cat/1.jpg", b"one"),
        link(b"dog/hard.jpg", ::tar::EntryType::Link, b"cat/1.jpg"),
        link(b"dog/soft.jpg", ::tar::EntryType::Symlink, b"../cat/1.jpg"),
        link(b"dog/chain.jpg", ::tar::EntryType::Symlink, b"soft.jpg"),
        link(b"dog/early.jpg", ::tar::EntryType::Symlink, b"late.jpg"),
        link(b"dog/loop.jpg", ::tar::EntryType::Symlink, b"loop.jpg"),
        file(b"dog/late.jpg", b"late"),
    ]);
    let unpacked = Unpacked::new("a.tar", &tar).unwrap();
    let files = unpacked.files();
    for (name, contents) in [("hard", "one"), ("soft", "one"), ("chain", "one"), ("early", "late")] {
        assert!(files.contains(&(format!("dog/{name}.jpg"), contents.to_owned())), "{name}: {files:?}");
    }
    assert_eq!(unpacked.left_out.len(), 1);
    assert!(unpacked.reason("loop").contains("no file in the archive"));
}

#[test]
fn every_member_of_a_gzip_is_read() {
    let names: Vec<String> = (0..20).map(|number| format!("cat/{number:02}.jpg")).collect();
    let tar = tar_of(&names.iter().map(|name| file(name.as_bytes(), name.as_bytes())).collect::<Vec<_>>());
    // One archive split into gzip members; two concatenated archives; and trailing zeros.
    let cut = [gzipped(&tar[..5000]), gzipped(&tar[5000..5100]), gzipped(&tar[5100..])].concat();
    let half = |names: &[String]| {
        gzipped(&tar_of(&names.iter().map(|name| file(name.as_bytes(), name.as_bytes())).collect::<Vec<_>>()))
    };
    let two = [half(&names[..10]), half(&names[10..])].concat();
    let padded = [gzipped(&tar), vec![0; 512]].concat();
    for bytes in [cut, two, padded] {
        let unpacked = Unpacked::new("a.tar.gz", &bytes).unwrap();
        assert_eq!(unpacked.names(), names);
        assert_eq!(unpacked.left_out, []);
    }
}

#[test]
fn an_archive_that_is_cut_off_gives_what_is_there_and_says_so() {
    let whole = tar_of(&[file(b"a.jpg", &[b'a'; 3000]), file(b"b.jpg", &[b'b'; 3000])]);
    // Within the second file, within its header, and before the end.
    for length in [3584 + 512 + 1000, 3584 + 100, 3584 + 3584] {
        let cut = Unpacked::new("a.tar", &whole[..length]).unwrap();
        assert!(!cut.left_out.is_empty() && cut.names()[0] == "a.jpg", "{length}");
        assert!(cut.left_out.iter().any(|(_, why)| why.contains("cut off")), "{:?}", cut.left_out);
        assert_eq!(cut.names().contains(&"b.jpg".to_owned()), length == 7168, "{length}");
    }
    // Bytes that do not compress.
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    let random: Vec<u8> = (0..60_000).map(|_| random()).collect();
    let gz = gzipped(&tar_of(&[file(b"a.jpg", &random[..20_000]), file(b"b.jpg", &random[20_000..])]));
    let cut = Unpacked::new("a.tgz", &gz[..gz.len() - 10_000]).unwrap();
    assert_eq!(cut.names(), ["a.jpg"]);
    assert!(cut.reason("b.jpg").contains("cut off"));
    let damaged = [file(b"a.jpg", b"a"), vec![7; 512], file(b"b.jpg", b"b")].concat();
    assert!(Unpacked::new("a.tar", &damaged).unwrap().reason("after a.jpg").contains("damaged"));
}

#[test]
fn names_that_are_not_utf8_stay_apart() {
    let names: [&[u8]; 4] = [b"cat/\xe9.jpg", b"cat/\xe8.jpg", b"cl\xe9/x.jpg", b"cl\xe8/x.jpg"];
    let tar = tar_of(&names.map(|name| file(name, name)));
    let unpacked = Unpacked::new("a.tar", &tar).unwrap();
    assert_eq!(unpacked.names(), ["cat/%E8.jpg", "cat/%E9.jpg", "cl%E8/x.jpg", "cl%E9/x.jpg"]);
    // Also if a name equals another, escaped.
    let tar = tar_of(&[file(b"%E9.jpg", b"first"), file(b"\xe9.jpg", b"second")]);
    assert_eq!(Unpacked::new("a.tar", &tar).unwrap().files().len(), 2);
}

#[test]
fn odd_names_are_taken_under_safe_ones() {
    let long = format!("cat/{}.jpg", "n".repeat(300));
    let longer = format!("cat/{}m.jpg", "n".repeat(299));
    let zip = zip_of(&[
        ("cat/1.jpg", "1"),
        (&long, "long"),
        (&longer, "longer"),
        ("cat/a\0.jpg", "nul"),
        ("cam:1/2024-05-01T12:30.jpg", "colon"),
        ("Cat/1.jpg", "case"),
    ]);
    let unpacked = Unpacked::new("a.zip", &zip).unwrap();
    assert_eq!((unpacked.files().len(), &unpacked.left_out), (6, &Vec::new()));
    assert!(unpacked.names().iter().all(|name| name.ends_with(".jpg")), "{:?}", unpacked.names());
}

#[test]
fn a_file_and_a_folder_of_one_name_are_both_taken() {
    for files in [[("cat", "file"), ("cat/1.jpg", "1")], [("cat/1.jpg", "1"), ("cat", "file")]] {
        let unpacked = Unpacked::new("a.zip", &zip_of(&files)).unwrap();
        assert_eq!(unpacked.names(), ["cat/1.jpg", "cat~1"]);
        assert_eq!(unpacked.left_out, []);
    }
    let tar = tar_of(&[file(b"a", b"file"), file(b"a/b/c.jpg", b"deep"), file(b"a/b", b"file")]);
    assert_eq!(Unpacked::new("a.tar", &tar).unwrap().names(), ["a/b/c.jpg", "a/b~1", "a~1"]);
}

#[test]
fn of_two_entries_of_one_name_the_last_is_taken_and_that_is_told() {
    let tar = tar_of(&[file(b"cat/a.jpg", b"first"), file(b"./cat/a.jpg", b"last")]);
    let unpacked = Unpacked::new("a.tar", &tar).unwrap();
    assert_eq!(unpacked.files(), [("cat/a.jpg".to_owned(), "last".to_owned())]);
    assert!(unpacked.reason("cat/a.jpg").contains("more than once"));
    // The library refuses to write such a zip.
    let mut zip = zip_of(&[("cat/a.jpg", "first"), ("cat/b.jpg", "last!")]);
    let places: Vec<usize> = zip.windows(9).enumerate().filter(|(_, w)| *w == b"cat/b.jpg").map(|(at, _)| at).collect();
    places.into_iter().for_each(|at| zip[at + 4] = b'a');
    let unpacked = Unpacked::new("a.zip", &zip).unwrap();
    assert_eq!(unpacked.files(), [("cat/a.jpg".to_owned(), "last!".to_owned())]);
    assert!(unpacked.reason("cat/a.jpg").contains("2 times"));
}

#[test]
fn sparse_files_are_whole() {
    // GNU's own format: 1,000 zeros, then 512 bytes of data, then 488 zeros.
    let mut gnu = header(b"a.bmp", ::tar::EntryType::GNUSparse, b"", 512);
    let fields = gnu.as_gnu_mut().unwrap();
    let octal = |field: &mut [u8; 12], value: u64| field.copy_from_slice(format!("{value:011o}\0").as_bytes());
    octal(&mut fields.sparse[0].offset, 1000);
    octal(&mut fields.sparse[0].numbytes, 512);
    octal(&mut fields.sparse[1].offset, 2000);
    octal(&mut fields.sparse[1].numbytes, 0);
    octal(&mut fields.realsize, 2000);
    gnu.set_cksum();
    let gnu = [gnu.as_bytes().to_vec(), vec![b'x'; 512]].concat();
    let pax = |records: &[(&str, &str)], data: &[u8]| {
        let record = |(key, value): &(&str, &str)| {
            let rest = format!(" {key}={value}\n");
            let length = (rest.len()..).find(|length| length.to_string().len() + rest.len() == *length).unwrap();
            format!("{length}{rest}")
        };
        let records: String = records.iter().map(record).collect();
        let extension = header(b"pax", ::tar::EntryType::XHeader, b"", records.len() as u64);
        [extension.as_bytes().to_vec(), block(records.as_bytes()), file(b"GNUSparseFile.0/a", data)].concat()
    };
    let map = block(b"1\n1000\n512\n");
    let version_1 = pax(
        &[
            ("GNU.sparse.major", "1"),
            ("GNU.sparse.minor", "0"),
            ("GNU.sparse.name", "b.bmp"),
            ("GNU.sparse.realsize", "2000"),
        ],
        &[map, vec![b'x'; 512]].concat(),
    );
    let version_0_1 =
        pax(&[("GNU.sparse.size", "2000"), ("GNU.sparse.name", "c.bmp"), ("GNU.sparse.map", "1000,512")], &[b'x'; 512]);
    let unpacked = Unpacked::new("a.tar", &tar_of(&[gnu, version_1, version_0_1])).unwrap();
    assert_eq!((unpacked.names(), &unpacked.left_out), (vec!["a.bmp".into(), "b.bmp".into(), "c.bmp".into()], &vec![]));
    for (name, contents) in unpacked.files() {
        let expected = ["\0".repeat(1000), "x".repeat(512), "\0".repeat(488)].concat();
        assert_eq!(contents, expected, "{name}");
    }
}

#[test]
fn archives_are_known_by_content_and_others_are_named() {
    let zip = zip_of(&[("cat/a.jpg", "a")]);
    let gz = gzipped(&tar_of(&[file(b"cat/a.jpg", b"a")]));
    for (name, bytes) in [("a.dat", &zip), ("a.tar.gz", &zip), ("a.zip", &gz), ("a", &gz)] {
        assert_eq!(Unpacked::new(name, bytes).unwrap().names(), ["cat/a.jpg"], "{name}");
    }
    let refused = |name: &str, bytes: &[u8]| Unpacked::new(name, bytes).map(|_| ()).unwrap_err().to_string();
    for (bytes, name) in [
        (&b"BZh91AY&SY"[..], "bzip2"),
        (&[0xfd, b'7', b'z', b'X', b'Z', 0, 0], "xz"),
        (&[b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c], "7-Zip"),
        (b"Rar!\x1a\x07\x00", "RAR"),
    ] {
        let why = refused("photos.tar.zip", bytes);
        assert!(why.contains(name) && why.contains("not read") && why.contains("photos.tar.zip"), "{why}");
    }
    assert!(refused("a.zip", b"not a zip").contains("neither a zip nor a tar"));
    assert!(refused("a.zip", b"").contains("0 bytes"));
    assert!(refused("a.gz", &gzipped(b"a log")).contains("no tar in it"));
    assert!(refused("empty.zip", &zip_of(&[])).contains("no files"));
    assert!(refused("empty.tar.gz", &gzipped(&[0; 10_240])).contains("no files"));
}

#[test]
fn what_cannot_be_unpacked_in_a_zip_is_named() {
    let zip = zip_of(&[("cat/a.jpg", "aaaa"), ("cat/b.jpg", "bbbb")]);
    let directory = zip.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    // Flags lie at 6 and 8, the method at 8 and 10 of a local and of a central header.
    let set = |offset: usize, value: u8| {
        let mut changed = zip.clone();
        changed[offset] = value;
        changed[directory + offset + 2] = value;
        changed
    };
    for (method, name) in [(9, "Deflate64"), (12, "bzip2"), (14, "LZMA"), (93, "Zstandard")] {
        let unpacked = Unpacked::new("a.zip", &set(8, method)).unwrap();
        assert_eq!(unpacked.names(), ["cat/b.jpg"]);
        assert!(unpacked.reason("cat/a.jpg").contains(name), "{:?}", unpacked.left_out);
    }
    let flags = zip[6];
    let unpacked = Unpacked::new("a.zip", &set(6, flags | 1)).unwrap();
    assert!(unpacked.reason("cat/a.jpg").contains("encrypted"));
    let mut all = set(6, flags | 1);
    let second = zip.windows(4).skip(1).position(|w| w == b"PK\x03\x04").unwrap() + 1;
    let central = zip.windows(4).skip(directory + 1).position(|w| w == b"PK\x01\x02").unwrap() + directory + 1;
    all[second + 6] |= 1;
    all[central + 8] |= 1;
    let why = Unpacked::new("secret.zip", &all).map(|_| ()).unwrap_err().to_string();
    assert!(why.contains("encrypted") && why.contains("secret.zip"), "{why}");
}
