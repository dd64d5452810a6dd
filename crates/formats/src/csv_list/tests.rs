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
    assert_eq!(labels(&found), [("b.png", "dog".into()), ("c.png", "cat".into())]);
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
    for path in
        ["img/e.jpg", "./img/e.jpg", "img//e.jpg", "img/../img/e.jpg", "img\\e.jpg", "e.jpg", "D:\\old\\img\\e.jpg"]
    {
        let found = listing(&format!("path,label\nimg/e.jpg,cat\n{path},cat\n")).unwrap();
        assert_eq!((labels(&found), found.problems.len()), (vec![("img/e.jpg", "cat".into())], 0), "{path}");
    }
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
    assert_eq!(found.problems[1].0, "sub");
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
