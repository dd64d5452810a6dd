use super::*;

const JPEG: &[u8] = &[0xff, 0xd8, 0xff, 0xe0, 0, 16, b'J', b'F', b'I', b'F'];

/// A folder of these files, images by default.
fn folder_of(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, contents) in files {
        let file = root.path().join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, if contents.is_empty() { JPEG } else { contents.as_bytes() }).unwrap();
    }
    root
}

fn listing(files: &[(&str, &str)]) -> Listing {
    read(folder_of(files).path(), Labelling::OneClass).unwrap()
}

/// Path, class and split of each entry.
fn seen(listing: &Listing) -> Vec<(&str, Option<&str>, Option<Split>)> {
    listing
        .entries
        .iter()
        .map(|entry| {
            let class = entry.label.as_ref().and_then(|label| label.first()).map(String::as_str);
            (entry.path.as_str(), class, entry.split)
        })
        .collect()
}

fn classes(listing: &Listing) -> Vec<Option<&str>> {
    seen(listing).into_iter().map(|(_, class, _)| class).collect()
}

#[test]
fn folders_are_classes_and_odd_names_stay() {
    let listing = listing(&[
        ("cat/a.JPG", ""),
        ("cat/img_10.jpeg", ""),
        ("cat/img_2.jpeg", ""),
        ("train/dog/ü ñ#.PNG", ""),
        ("val/dog/狗.webp", ""),
        ("top.bmp", ""),
        ("README.md", "text"),
        (".git/x.png", ""),
        ("train/dog/notes.txt", "buy milk"),
    ]);
    assert_eq!(
        seen(&listing),
        [
            ("cat/a.JPG", Some("cat"), None),
            ("cat/img_2.jpeg", Some("cat"), None),
            ("cat/img_10.jpeg", Some("cat"), None),
            ("top.bmp", None, None),
            ("train/dog/ü ñ#.PNG", Some("dog"), Some(Split::Train)),
            ("val/dog/狗.webp", Some("dog"), Some(Split::Val)),
        ]
    );
    assert_eq!(listing.problems.len(), 1);
    assert_eq!(listing.problems[0].0, "train/dog/notes.txt");
    assert!(listing.problems[0].1.contains("not an image"));
    assert_eq!(listing.passed_over, [".git", "README.md"]);
}

#[cfg(unix)]
#[test]
fn a_link_loop_is_reported_and_ends() {
    let root = folder_of(&[("cat/a.png", "")]);
    std::os::unix::fs::symlink(root.path(), root.path().join("cat/loop")).unwrap();
    let listing = read(root.path(), Labelling::OneClass).unwrap();
    assert_eq!(listing.entries.len(), 1);
    assert!(listing.problems[0].1.contains("leads back"), "{:?}", listing.problems);
}

#[test]
fn a_table_beside_the_images_labels_them() {
    let inside = listing(&[
        ("images/0.jpg", ""),
        ("images/1.jpg", ""),
        ("images/2.jpg", ""),
        ("labels.csv", "path,label\nimages/0.jpg,cat\nimages/1.jpg,dog\n"),
    ]);
    assert_eq!(classes(&inside), [Some("cat"), Some("dog"), None]);
    assert_eq!((inside.problems.len(), inside.entries.len()), (0, 3));
    let note = inside.note.unwrap();
    assert!(note.contains("labels.csv names the classes of 2 of 3 images"), "{note}");
    // Two tables with splits in their names; ids without endings; a submission, ignored.
    let contest = listing(&[
        ("train/1.jpg", ""),
        ("train/2.jpg", ""),
        ("test/3.jpg", ""),
        ("train.csv", "image_id;label\n1;cat\n2;dog\n"),
        ("test.csv", "image_id\n3\n"),
        ("sample_submission.csv", "image_id,label\n3,cat\n"),
    ]);
    let expected = [
        ("test/3.jpg", None, Some(Split::Test)),
        ("train/1.jpg", Some("cat"), Some(Split::Train)),
        ("train/2.jpg", Some("dog"), Some(Split::Train)),
    ];
    assert_eq!((seen(&contest), contest.problems.len()), (expected.to_vec(), 0));
    let lists = listing(&[("a.jpg", ""), ("b.jpg", ""), ("tags.tsv", "file\ttags\na.jpg\tcat|dog\nb.jpg\tnone\n")]);
    assert_eq!(lists.labelling, Labelling::AnyClasses);
    assert_eq!(lists.entries[0].label, Some(vec!["cat".into(), "dog".into()]));
    // Contradicting lines and unknown splits.
    let faults = listing(&[
        ("img/a.jpg", ""),
        ("img/b.jpg", ""),
        ("img/c.jpg", ""),
        (
            "labels.csv",
            "path,label,split\nimg/a.jpg,cat,train\nimg/a.jpg,dog,train\nimg/b.jpg,dog,7\nimg/c.jpg,dog,test\n",
        ),
    ]);
    let expected = [("img/a.jpg", None, Some(Split::Train)), ("img/c.jpg", Some("dog"), Some(Split::Test))];
    assert_eq!(seen(&faults), expected);
    assert!(faults.problems[0].1.contains("labels.csv, lines 2 and 3"), "{:?}", faults.problems);
    assert!(faults.note.as_deref().is_some_and(|note| note.contains("the classes of 1 of 3 images")));
    assert!(faults.problems[1].1.contains("\"7\" is not understood"), "{:?}", faults.problems);
}

#[test]
fn where_folders_and_a_table_name_classes_values_decide() {
    // Folders as mere partitions.
    let parts = listing(&[
        ("part_1/a.jpg", ""),
        ("part_1/b.jpg", ""),
        ("part_2/c.jpg", ""),
        ("meta.csv", "image_id,dx,diagnosis\na,nv,x\nb,mel,y\nc,nv,x\n"),
    ]);
    assert_eq!(classes(&parts), [Some("x"), Some("y"), Some("x")]);
    assert!(parts.note.unwrap().contains("the folders were taken for no classes"));
    // A table of images without a class.
    let rest = listing(&[
        ("Train/0/a.png", ""),
        ("Train/1/b.png", ""),
        ("Test/c.png", ""),
        ("Test.csv", "Width,ClassId,Path\n20,1,Test/c.png\n"),
    ]);
    let expected = [
        ("Test/c.png", Some("1"), Some(Split::Test)),
        ("Train/0/a.png", Some("0"), Some(Split::Train)),
        ("Train/1/b.png", Some("1"), Some(Split::Train)),
    ];
    assert_eq!(seen(&rest), expected);
    // A table that disagrees, on part of the images.
    let others = listing(&[
        ("cat/a.jpg", ""),
        ("cat/b.jpg", ""),
        ("dog/c.jpg", ""),
        ("dog/d.jpg", ""),
        ("some.csv", "path,label\ncat/a.jpg,mammal\n"),
    ]);
    assert_eq!(classes(&others), [Some("cat"), Some("cat"), Some("dog"), Some("dog")]);
    assert!(others.note.unwrap().contains("the folders' were taken"));
}

#[test]
fn a_table_that_is_not_understood_tells_its_columns() {
    let images = [("img/a.jpg", ""), ("img/b.jpg", ""), ("img/c.jpg", "")];
    let with = |table: (&'static str, &'static str)| {
        let files: Vec<(&str, &str)> = images.into_iter().chain([table]).collect();
        listing(&files)
    };
    let rows = "path,breed,color\nimg/a.jpg,x,red\nimg/b.jpg,y,red\n";
    let found = with(("labels.csv", rows));
    let note = found.note.unwrap_or_default();
    assert!(note.contains("labels.csv: no column of classes: there are breed, color; looked for"), "{note}");
    assert_eq!(found.problems, []);
    // No column of paths, and paths of no images.
    let found = with(("labels.csv", "foo,bar\nzzz,cat\n"));
    assert!(found.problems.len() == 1 && found.problems[0].1.contains("its columns are foo, bar"), "{found:?}");
    let found = with(("labels.csv", "path,label\nzzz.jpg,cat\nyyy.jpg,dog\n"));
    assert!(found.problems[0].1.contains("zzz.jpg: there is no such file (line 2); yyy.jpg"), "{found:?}");
    // A single column is a list.
    let found = with(("some.csv", "path\nimg/a.jpg\n"));
    assert!(found.problems.is_empty() && found.note.is_some_and(|note| note.contains("lists of images (1 file)")));
    let found = with(("metadata.jsonl", "{\"file_name\": \"img/a.jpg\", \"label\": \"cat\"}\n"));
    assert!(found.problems[0].1.contains("write them as a CSV"), "{found:?}");
}

#[test]
fn a_table_in_utf16_labels_the_images_beside_it() {
    let root = folder_of(&[("img/a.jpg", ""), ("img/b.jpg", "")]);
    let text = "path,label\nimg/a.jpg,犬\nimg/b.jpg,cat\n";
    for mark in [&[0xff, 0xfe][..], &[]] {
        let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        std::fs::write(root.path().join("labels.csv"), [mark, &units].concat()).unwrap();
        let found = read(root.path(), Labelling::OneClass).unwrap();
        assert_eq!((classes(&found), found.problems.len()), (vec![Some("犬"), Some("cat")], 0));
    }
}

#[test]
fn tables_that_contradict_each_other_are_told_with_their_lines() {
    let found = listing(&[
        ("img/a.jpg", ""),
        ("img/b.jpg", ""),
        ("img/c.jpg", ""),
        ("one.csv", "path,label,split\nimg/a.jpg,cat,train\nimg/b.jpg,dog,train\nimg/c.jpg,dog,val\n"),
        ("two.csv", "path,label,split\nimg/a.jpg,dog,train\nimg/b.jpg,dog,test\n"),
    ]);
    let expected = [
        ("img/a.jpg", Some("cat"), Some(Split::Train)),
        ("img/b.jpg", Some("dog"), Some(Split::Train)),
        ("img/c.jpg", Some("dog"), Some(Split::Val)),
    ];
    assert_eq!(seen(&found), expected);
    let expected = [
        "its classes contradict each other: cat (one.csv, line 2), dog (two.csv, line 2); cat was taken",
        "its splits contradict each other: train (one.csv, line 3), test (two.csv, line 3); train was taken",
    ];
    assert_eq!(found.problems.iter().map(|(_, why)| why.as_str()).collect::<Vec<_>>(), expected);
    // Folders of splits against a table.
    let found = listing(&[
        ("train/cat/a.jpg", ""),
        ("test/cat/b.jpg", ""),
        ("labels.csv", "path,label,split\ntrain/cat/a.jpg,cat,test\ntest/cat/b.jpg,cat,test\n"),
    ]);
    assert_eq!(seen(&found)[1], ("train/cat/a.jpg", Some("cat"), Some(Split::Test)));
    let note = found.note.unwrap_or_default();
    assert!(note.contains("labels.csv gives 1 image another split than the folders"), "{note}");
}

#[test]
fn a_row_whose_file_is_gone_labels_no_image_of_another_folder() {
    // No row names b/1.jpg, and the file of the first row is gone.
    let mut files: Vec<(String, String)> = (2..=9).map(|number| (format!("a/{number}.jpg"), String::new())).collect();
    files.push(("b/1.jpg".into(), String::new()));
    let rows: String = (1..=9).map(|number| format!("/old/pets/a/{number}.jpg,fox\n")).collect();
    files.push(("labels.csv".into(), format!("path,label\n{rows}")));
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let found = listing(&files);
    let mut expected = vec![Some("a"); 8];
    expected.push(Some("b"));
    assert_eq!(classes(&found), expected);
    assert!(
        found.note.as_deref().is_some_and(|note| note.contains("the classes of 8 of 9 images")),
        "{:?}",
        found.note
    );
    assert_eq!(found.problems.len(), 1, "{:?}", found.problems);
    assert_eq!(found.problems[0].0, "/old/pets/a/1.jpg");
}

#[test]
fn places_are_told_as_they_would_be_read() {
    let files = [
        ("train/cat/a.jpg", ""),
        ("train/images/b.jpg", ""),
        ("train/mask/c.jpg", ""),
        ("val/cat/.d.jpg", ""),
        ("val/RECYCLER/e.jpg", ""),
        ("val/train/f.jpg", ""),
        ("val/cat/Thumbs.db", ""),
    ];
    let masks = [("train/images/a.jpg", ""), ("train/data/b.jpg", ""), ("train/masks/a.jpg", "")];
    for files in [files.as_slice(), masks.as_slice()] {
        let read = listing(files);
        let read: Vec<_> = seen(&read)
            .into_iter()
            .map(|(path, class, split)| (path.to_owned(), class.map(str::to_owned), split))
            .collect();
        let paths: Vec<&str> = files.iter().map(|(path, _)| *path).collect();
        let told = paths.iter().zip(places_of(&paths));
        let mut told: Vec<_> = told
            .filter_map(|(path, place)| place.map(|place| ((*path).to_owned(), place.class, place.split)))
            .collect();
        told.sort_by(|(a, _, _), (b, _, _)| natural(a, b));
        assert_eq!(told, read);
    }
}

#[test]
fn annotations_beside_images_are_named_once_and_make_no_classes() {
    let voc = "<annotation><folder>JPEGImages</folder></annotation>";
    let voc = listing(&[
        ("JPEGImages/a.jpg", ""),
        ("JPEGImages/b.jpg", ""),
        ("JPEGImages/sub/c.jpg", ""),
        ("Annotations/a.xml", voc),
        ("Annotations/b.xml", voc),
        ("ImageSets/Main/train.txt", "a\nb\n"),
        ("SegmentationClass/a.png", ""),
        ("LICENSE", "free"),
    ]);
    assert_eq!((classes(&voc), voc.problems.len()), (vec![None, None, None], 0));
    let note = voc.note.unwrap();
    assert!(note.contains("Pascal VOC annotations (2 files)") && note.contains("boxes are not read yet"), "{note}");
    assert!(note.contains("masks (1 file)") && note.contains("lists of images (1 file)"), "{note}");
    let yolo = listing(&[
        ("images/train/a.jpg", ""),
        ("images/val/b.jpg", ""),
        ("labels/train/a.txt", "0 0.5 0.5 0.1 0.1\n"),
        ("labels/val/b.txt", "1 0.5 0.5 0.1 0.1\n"),
        ("data.yaml", "names: [cat, dog]\ntrain: images/train\nval: images/val\n"),
    ]);
    let expected = [("images/train/a.jpg", None, Some(Split::Train)), ("images/val/b.jpg", None, Some(Split::Val))];
    assert_eq!((seen(&yolo), yolo.problems.len()), (expected.to_vec(), 0));
    assert!(yolo.note.unwrap().contains("YOLO annotations (3 files)"));
    let coco = listing(&[
        ("photos/a.jpg", ""),
        ("trainval.json", "{\"images\": [], \"annotations\": [], \"categories\": []}"),
    ]);
    assert_eq!((classes(&coco), coco.problems.len()), (vec![None], 0));
    // Class folders remain classes beside annotations.
    let imagenet = listing(&[
        ("train/n01/images/a.JPEG", ""),
        ("train/n02/images/b.JPEG", ""),
        ("train/n01/n01_boxes.txt", "a.JPEG\t0\t10\t63\t58\n"),
        ("val/images/c.JPEG", ""),
        ("val/val_annotations.txt", "c.JPEG\tn02\t0\t0\t62\t62\n"),
    ]);
    assert_eq!(classes(&imagenet), [Some("n01"), Some("n02"), Some("n02")]);
    assert_eq!(imagenet.problems, []);
}

#[test]
fn classes_without_images_are_named() {
    let found =
        listing(&[("cat/a.jpg", ""), ("dog/notes.txt", "none yet"), ("bird/Thumbs.db", "x"), ("fox/b.jpg", "")]);
    assert_eq!(found.classes_without_images, ["bird", "dog"]);
    assert!(found.note.as_deref().is_some_and(|note| note.contains("no images of bird, dog")), "{:?}", found.note);
    let left_out = crate::left_out(found.problems.iter().map(|(_, why)| why.as_str()));
    assert!(left_out.starts_with("1 left out (not an image"), "{left_out}");
}

#[cfg(unix)]
#[test]
fn images_to_predict_are_found_by_the_same_rule() {
    let root = folder_of(&[
        ("a/photo.jfif", ""),
        ("a/scan", ""),
        ("a/img_10.png", ""),
        ("a/img_2.png", ""),
        ("a/notes.txt", "text"),
        ("a/._x.png", "x"),
        ("__MACOSX/y.png", "x"),
        (".ipynb_checkpoints/z.png", ""),
        ("broken.png", "no image"),
        ("named.txt", "no image either"),
    ]);
    assert!(std::process::Command::new("mkfifo").arg(root.path().join("pipe.png")).status().unwrap().success());
    let found = images_in(&[root.path().to_owned(), root.path().join("named.txt"), root.path().join("pipe.png")]);
    let names: Vec<_> =
        found.images.iter().map(|path| path.strip_prefix(root.path()).unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["a/img_2.png", "a/img_10.png", "a/photo.jfif", "a/scan", "broken.png", "named.txt"]);
    assert_eq!(found.left_out.len(), 2);
    assert!(found.left_out.iter().all(|(path, why)| path.ends_with("pipe.png") && why.contains("FIFO")));
    assert!(images_in(&[]).images.is_empty());
}
