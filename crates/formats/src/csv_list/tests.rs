use super::*;

/// A folder with these files, each of one byte, and a table `list.csv`.
fn folder_of(files: &[&str], table: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in files {
        let path = folder.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, b"x").unwrap();
    }
    std::fs::write(folder.path().join("list.csv"), table).unwrap();
    folder
}

const LETTERS: [&str; 8] = ["a.png", "b.png", "c.png", "d.png", "a b.png", "x,y.jpg", "sub/z.png", "img/e.jpg"];

fn listing_of(text: &str, wanted: Labelling) -> Result<Listing, FormatError> {
    let folder = folder_of(&LETTERS, text.as_bytes());
    read(&folder.path().join("list.csv"), wanted)
}

fn listing(text: &str) -> Result<Listing, FormatError> {
    listing_of(text, Labelling::OneClass)
}

/// Path and classes of each entry; "?" if unlabelled.
fn labels(listing: &Listing) -> Vec<(&str, String)> {
    let label = |label: &Option<Vec<String>>| label.as_ref().map_or("?".to_owned(), |classes| classes.join("+"));
    listing.entries.iter().map(|entry| (entry.path.as_str(), label(&entry.label))).collect()
}

fn splits(listing: &Listing) -> Vec<Option<Split>> {
    listing.entries.iter().map(|entry| entry.split).collect()
}

#[test]
fn rows_become_entries_and_bad_rows_are_reported() {
    let listing = listing("path,label,split\na b.png, cat ,train\n\"x,y.jpg\",,\n,dog,\nsub\\z.png,dog,val\n").unwrap();
    let expected = [("a b.png", "cat"), ("x,y.jpg", "?"), ("sub/z.png", "dog")];
    assert_eq!(labels(&listing), expected.map(|(path, own)| (path, own.to_owned())));
    assert_eq!(splits(&listing), [Some(Split::Train), None, Some(Split::Val)]);
    assert_eq!(listing.problems, [("line 4".to_owned(), "it names no path".to_owned())]);
    assert_eq!(listing.labelling, Labelling::OneClass);
}

#[test]
fn files_may_have_several_classes_in_three_ways() {
    let expected = [("a.png", "cat+dog"), ("b.png", "dog"), ("c.png", ""), ("d.png", "?")];
    let expected = expected.map(|(path, own)| (path, own.to_owned()));
    let list = listing("path,labels\na.png,cat | dog\nb.png,dog\nc.png,None\nd.png\n").unwrap();
    assert_eq!((labels(&list).as_slice(), list.labelling), (expected.as_slice(), Labelling::AnyClasses));
    let columns = "cat,image,dog,split\n1,a.png,1,train\n0,b.png,True,val\n0,c.png,0,\n,d.png,,\n";
    let columns = listing(columns).unwrap();
    assert_eq!((labels(&columns).as_slice(), columns.labelling), (expected.as_slice(), Labelling::AnyClasses));
    let lines = "path,label\na.png,dog\nb.png,dog\na.png,cat\nb.png,dog\n";
    let merged = listing_of(lines, Labelling::AnyClasses).unwrap();
    assert_eq!(labels(&merged), &expected[..2]);
}

#[test]
fn lines_that_contradict_each_other_are_one_finding_that_names_them_all() {
    let text = "path,label\na.png,cat\na.png,dog\nb.png,dog\n./a.png,bird\nb.png,dog\na.png,cat\nc.png,\nc.png,cat\n";
    let found = listing(text).unwrap();
    // It is one sample without a label.
    assert_eq!(labels(&found), [("a.png", "?".into()), ("b.png", "dog".into()), ("c.png", "cat".into())]);
    assert_eq!(found.problems.len(), 1);
    let (path, why) = &found.problems[0];
    assert_eq!(path, "a.png");
    assert!(why.contains("lines 2, 3, 5 and 7") && why.contains("cat, dog and bird"), "{why}");
    let splits = listing("path,split\na.png,train\nb.png,test\na.png,test\n").unwrap();
    assert_eq!((splits.entries.len(), splits.problems.len()), (1, 1));
    assert!(splits.problems[0].1.contains("lines 2 and 4"), "{:?}", splits.problems);
}

#[test]
fn spellings_of_one_path_are_one_sample() {
    for path in ["img/e.jpg", "./img/e.jpg", "img//e.jpg", "img/../img/e.jpg", "img\\e.jpg", "IMG/E.JPG", "img/e"] {
        let found = listing(&format!("path,label\nimg/e.jpg,cat\n{path},cat\n")).unwrap();
        assert_eq!((labels(&found), found.problems.len()), (vec![("img/e.jpg", "cat".into())], 0), "{path}");
    }
    for path in ["e.jpg", "e", "D:\\old\\img\\e.jpg", "/home/ann/img/e.jpg"] {
        let found = listing(&format!("path,label\n{path},cat\n")).unwrap();
        assert_eq!((labels(&found), found.problems.len()), (vec![("img/e.jpg", "cat".into())], 0), "{path}");
    }
}

#[test]
fn a_row_whose_file_is_gone_takes_no_other_file_of_its_name() {
    let read_in = |folder: &tempfile::TempDir| read(&folder.path().join("list.csv"), Labelling::OneClass).unwrap();
    // Absolute paths, as an export writes them.
    let folder = folder_of(&["dog/1.png", "dog/2.png"], b"");
    let root = folder.path().display();
    let table = format!("path,label\n{root}/cat/1.png,cat\n{root}/dog/1.png,dog\n{root}/dog/2.png,dog\n");
    std::fs::write(folder.path().join("list.csv"), table).unwrap();
    let found = read_in(&folder);
    assert_eq!(labels(&found), [("dog/1.png", "dog".into()), ("dog/2.png", "dog".into())]);
    assert!(found.problems.len() == 1 && found.problems[0].0.ends_with("cat/1.png"), "{:?}", found.problems);
    assert!(found.problems[0].1.contains("no such file") && found.problems[0].1.contains("(line 2)"));
    // A file that has a row without a label.
    let found = read_in(&folder_of(&["sub/1.png"], b"path,label\n1.png,cat\nsub/1.png,\n"));
    assert_eq!((labels(&found), found.problems.len()), (vec![("sub/1.png", "?".into())], 1));
    // A file that has no row.
    let found = read_in(&folder_of(&["b/1.png", "a/2.png"], b"path,label\n/old/a/1.png,cat\n/old/a/2.png,dog\n"));
    assert_eq!((labels(&found), found.problems.len()), (vec![("a/2.png", "dog".into())], 1));
}

#[test]
fn rows_may_be_shorter_or_longer_than_the_header() {
    let found = listing("path,label\na.png\nb.png,cat,train,more\n c.png , dog , \n").unwrap();
    assert_eq!(labels(&found), [("a.png", "?".into()), ("b.png", "cat".into()), ("c.png", "dog".into())]);
    assert_eq!(found.problems, []);
}

#[test]
fn lists_of_classes_may_be_json_and_keep_their_signs() {
    let list = "path,labels\na.png,\"[\"\"a|b\"\", \"\"none\"\"]\"\nb.png,cat (wild)\n\
                c.png,(big) cat;dog (old)\nd.png,[]\n";
    let found = listing(list).unwrap();
    let expected = [("a.png", "a|b+none"), ("b.png", "cat (wild)"), ("c.png", "(big) cat+dog (old)"), ("d.png", "")];
    assert_eq!(labels(&found), expected.map(|(path, own)| (path, own.to_owned())));
}

#[test]
fn columns_are_known_by_many_names_and_separators() {
    for (path, label) in [
        ("path", "category"),
        ("File_Name", "target"),
        ("image_path", "Class"),
        ("FilePath", "ground_truth"),
        ("img", "choice"),
        ("Image", "LABEL"),
        ("filename", "breed"),
    ] {
        for sign in [",", ";", "\t", "|"] {
            let text = format!("{path}{sign}{label}\na.png{sign}cat\nb.png{sign}dog\nc.png{sign}cat\n");
            let found = listing(&text).unwrap();
            let expected = [("a.png", "cat"), ("b.png", "dog"), ("c.png", "cat")];
            assert_eq!(labels(&found), expected.map(|(path, own)| (path, own.to_owned())), "{text}");
        }
    }
}

#[test]
fn values_decide_which_column_names_the_files() {
    let without_ending = listing("id,image_id,label\n7,a,cat\n8,b,dog\n9,c,cat\n").unwrap();
    assert_eq!(labels(&without_ending).len(), 3);
    let unknown = listing("photo of,label\na.png,cat\nb.png,dog\n").unwrap();
    assert_eq!(labels(&unknown), [("a.png", "cat".into()), ("b.png", "dog".into())]);
    assert!(unknown.note.unwrap().contains("photo of names the files"));
    let headless = listing("a.png,cat\nb.png,dog\n").unwrap();
    assert_eq!(labels(&headless), [("a.png", "cat".into()), ("b.png", "dog".into())]);
    let why = listing("name,width\nzebra,1\n").unwrap_err().to_string();
    assert!(why.contains("name, width") && why.contains("\"path\"") && why.contains("list.csv"), "{why}");
}

#[test]
fn columns_that_say_nothing_known_are_told() {
    let found = listing("path,width,height\na.png,640,480\n").unwrap();
    assert_eq!(labels(&found), [("a.png", "?".into())]);
    let note = found.note.unwrap();
    assert!(note.contains("width, height") && note.contains("label"), "{note}");
    let boxes = listing("filename,class,xmin,ymin,xmax,ymax\na.png,cat,1,2,3,4\na.png,dog,5,6,7,8\n").unwrap();
    assert_eq!((labels(&boxes), boxes.problems.len()), (vec![("a.png", "?".into())], 0));
    assert!(boxes.note.unwrap().contains("boxes"));
}

#[test]
fn other_columns_are_classes_only_where_nothing_else_can_be_meant() {
    let found = listing("path,width,is_new,is_old\na.png,640,1,0\n").unwrap();
    assert_eq!((labels(&found), found.labelling), (vec![("a.png", "?".into())], Labelling::OneClass));
    assert!(found.note.is_some_and(|note| note.contains("is_new, is_old")));
    let found = listing_of("path,width,defect\na.png,640,1\nb.png,640,0\n", Labelling::AnyClasses).unwrap();
    assert_eq!(labels(&found), [("a.png", "defect".into()), ("b.png", String::new())]);
    assert_eq!(found.note.as_deref(), Some("1 columns are classes, but not width"));
    // A class name may contain a bar if only one is named.
    assert_eq!(labels(&listing("path,label\na.png,cat|dog\n").unwrap()), [("a.png", "cat|dog".into())]);
    let split = listing("path,tags\na.png,big cat;dog\n").unwrap();
    assert_eq!(labels(&split), [("a.png", "big cat+dog".into())]);
}

#[test]
fn words_of_splits_are_understood_or_refused_by_name() {
    use Split::{Test, Train, Val};
    let of = |header: &str, words: &[&str]| {
        let rows: String =
            ["a", "b", "c", "d"].iter().zip(words).map(|(name, word)| format!("{name}.png,{word}\n")).collect();
        listing(&format!("path,{header}\n{rows}"))
    };
    for (header, words, expected) in [
        ("split", vec!["Training", "holdout", "TEST ", "dev"], vec![Train, Test, Test, Val]),
        ("subset", vec!["train", "eval", "test"], vec![Train, Val, Test]),
        ("phase", vec!["train", "val", "train"], vec![Train, Val, Train]),
        ("Usage", vec!["Training", "PublicTest", "PrivateTest"], vec![Train, Val, Test]),
        ("partition", vec!["0", "1", "2"], vec![Train, Val, Test]),
        ("is_valid", vec!["True", "False", "false"], vec![Val, Train, Train]),
        ("is_train", vec!["1", "0", "1"], vec![Train, Test, Train]),
    ] {
        let found = of(header, &words).unwrap();
        assert_eq!(splits(&found), expected.into_iter().map(Some).collect::<Vec<_>>(), "{header}: {words:?}");
        assert_eq!(found.problems, []);
    }
    let some = of("split", &["train", "0", "somewhere"]).unwrap();
    assert_eq!(splits(&some), [Some(Train)]);
    assert!(
        some.problems[0].1.contains("\"0\"") && some.problems[1].1.contains("\"somewhere\""),
        "{:?}",
        some.problems
    );
    // If no line is understood, the import fails.
    let none = of("split", &["0", "1", "0"]).unwrap_err().to_string();
    assert!(none.contains("\"0\" is not understood") && none.contains("2 more"), "{none}");
    let folds = of("fold", &["0", "1", "2", "3"]).unwrap();
    assert_eq!(splits(&folds), [None; 4]);
    assert!(folds.note.unwrap().contains("the column fold (0, 1, 2) was not taken for splits"));
}

#[test]
fn files_that_are_not_there_are_told_with_their_line() {
    let found = listing("path,label\na.png,cat\nmissing.png,dog\nsub,cat\n").unwrap();
    assert_eq!(found.entries.len(), 1);
    assert!(found.problems[0].1.contains("no such file (line 3)"), "{:?}", found.problems);
    let folder = ("sub".to_owned(), "it is a folder, not a file (line 4)".to_owned());
    assert_eq!(found.problems[1], folder);
}

/// A table of the first files with these columns behind `path`.
fn table_of(headers: &str, rows: &[&str]) -> String {
    let rows = ["a", "b", "c", "d"].iter().zip(rows).map(|(name, row)| format!("{name}.png,{row}\n"));
    format!("path,{headers}\n{}", rows.collect::<String>())
}

#[test]
fn columns_of_split_words_are_taken_under_any_name() {
    use Split::{Test, Train, Val};
    for header in ["mode", "purpose", "data_type", "sample_type", "train_test", "train_val_test", "image_set"]
        .into_iter()
        .chain(["dataset_split", "train/test", "usage", "partition", "fold", "set"])
    {
        let rows = ["cat,train", "dog,test", "cat,Validation", "dog,train"];
        let found = listing(&table_of(&format!("label,{header}"), &rows)).unwrap();
        assert_eq!(splits(&found), [Train, Test, Val, Train].map(Some), "{header}");
        assert_eq!(labels(&found)[0], ("a.png", "cat".into()), "{header}");
    }
    let found = listing(&table_of("label,mode", &["cat,train", "dog,", "cat,test"])).unwrap();
    let note = found.note.clone().unwrap_or_default();
    assert!(note.contains("mode was taken for the splits") && note.contains("1 of 3 rows name no split"), "{note}");
    assert_eq!(splits(&found), [Some(Train), None, Some(Test)]);
    // Other words, and the words of the classes, are no splits.
    let found = listing(&table_of("label,mode", &["cat,train", "dog,night"])).unwrap();
    assert_eq!(splits(&found), [None, None]);
    let found = listing(&table_of("label,split", &["train,train", "test,val"])).unwrap();
    assert_eq!((labels(&found)[1].1.as_str(), splits(&found)), ("test", vec![Some(Train), Some(Val)]));
}

#[test]
fn all_columns_of_flags_decide_about_a_split() {
    use Split::{Test, Train, Val};
    for (headers, rows, expected) in [
        ("label,is_valid,is_test", ["cat,0,0", "dog,1,0", "cat,0,1"], [Train, Val, Test]),
        ("label,is_train,is_val,is_test", ["cat,1,0,0", "dog,0,1,0", "cat,0,0,1"], [Train, Val, Test]),
        ("label,train,val,test", ["cat,1,0,0", "dog,0,1,0", "cat,0,0,1"], [Train, Val, Test]),
        ("label,is_train,is_val", ["cat,1,0", "dog,0,1", "cat,0,0"], [Train, Val, Test]),
        ("label,is_holdout", ["cat,True", "dog,False", "cat,False"], [Test, Train, Train]),
        ("label,holdout", ["cat,on", "dog,off", "cat,off"], [Test, Train, Train]),
        ("label,valid", ["cat,y", "dog,n", "cat,Y"], [Val, Train, Val]),
        ("label,test", ["cat,t", "dog,f", "cat,no"], [Test, Train, Train]),
    ] {
        let found = listing(&table_of(headers, &rows)).unwrap();
        assert_eq!(splits(&found), expected.map(Some), "{headers}");
        assert_eq!(labels(&found).len(), 3, "{headers}");
    }
    let two = listing(&table_of("label,is_valid,is_test", &["cat,1,1", "dog,0,1"])).unwrap();
    assert_eq!((splits(&two), two.problems.len()), (vec![Some(Test)], 1));
    assert!(two.problems[0].1.contains("is_valid and is_test are set"), "{:?}", two.problems);
    // They are classes beside other classes.
    let classes = listing(&table_of("train,bus", &["1,0", "0,1"])).unwrap();
    assert_eq!((labels(&classes)[0].1.as_str(), splits(&classes)), ("train", vec![None, None]));
}

#[test]
fn split_columns_that_contradict_each_other_are_told() {
    let text = table_of("label,split,is_valid", &["cat,train,False", "dog,train,True", "cat,test,False"]);
    let found = listing(&text).unwrap();
    assert_eq!(splits(&found), [Split::Train, Split::Train, Split::Test].map(Some));
    let note = found.note.unwrap_or_default();
    assert!(note.contains("the columns split and is_valid contradict each other"), "{note}");
    assert!(note.contains("1 row, first in line 3"), "{note}");
    let found = listing(&table_of("label,split,is_valid", &["cat,train,False", "dog,val,True"])).unwrap();
    assert_eq!(found.note, None);
}

#[test]
fn lines_before_the_header_are_no_rows() {
    let expected = [("a.png", "cat".to_owned()), ("b.png", "dog".to_owned())];
    for text in [
        "sep=;\npath;label\na.png;cat\nb.png;dog\n",
        "# made by hand\n\n# on a Monday, late\npath,label\na.png,cat\nb.png,dog\n",
        "#path,label\na.png,cat\nb.png,dog\n",
        "# made by hand\na.png,cat\nb.png,dog\n",
    ] {
        let found = listing(text).unwrap();
        assert_eq!((labels(&found).as_slice(), found.problems.len()), (expected.as_slice(), 0), "{text}");
    }
    let found = listing("sep=;\n# by hand\npath;label\na.png;cat\ngone.png;dog\n").unwrap();
    assert!(found.problems[0].1.contains("(line 5)"), "{:?}", found.problems);
}

#[test]
fn utf16_without_a_mark_is_read_even_with_signs_beyond_latin() {
    let text = "path,label\na.png,犬\nb.png,猫\nc.png,犬\n";
    let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    for bytes in [little, big] {
        let found = read(&folder_of(&LETTERS, &bytes).path().join("list.csv"), Labelling::OneClass).unwrap();
        assert_eq!(labels(&found), [("a.png", "犬".into()), ("b.png", "猫".into()), ("c.png", "犬".into())]);
    }
}

#[cfg(unix)]
#[test]
fn paths_of_one_file_through_links_and_folders_above_are_one_sample() {
    let folder = folder_of(&["img/a.png"], b"");
    let name = folder.path().file_name().unwrap().to_str().unwrap().to_owned();
    std::os::unix::fs::symlink(folder.path().join("img"), folder.path().join("lnk")).unwrap();
    let table = format!("path,label\n../{name}/img/a.png,cat\nlnk/a.png,cat\nimg/a.png,cat\n");
    std::fs::write(folder.path().join("list.csv"), table).unwrap();
    let found = read(&folder.path().join("list.csv"), Labelling::OneClass).unwrap();
    assert_eq!((labels(&found), found.problems.len()), (vec![("img/a.png", "cat".into())], 0));
}

#[cfg(unix)]
#[test]
fn a_fifo_is_never_opened() {
    let folder = folder_of(&["a.png"], b"path,label\na.png,cat\npipe.png,dog\n");
    assert!(std::process::Command::new("mkfifo").arg(folder.path().join("pipe.png")).status().unwrap().success());
    let found = read(&folder.path().join("list.csv"), Labelling::OneClass).unwrap();
    assert_eq!(found.entries.len(), 1);
    assert!(found.problems[0].1.contains("a FIFO"), "{:?}", found.problems);
}
