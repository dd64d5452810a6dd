use super::*;
use assay_domain::class_name;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn read_back(rows: &[LabelRow], labelling: Labelling) -> Vec<LabelRow> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("labels.csv");
    std::fs::write(&file, labels_csv(rows, labelling).unwrap()).unwrap();
    for row in rows {
        std::fs::write(folder.path().join(&row.path), b"\x89PNG\r\n\x1a\n").unwrap();
    }
    let listing = crate::read(&file, labelling).unwrap();
    assert_eq!(listing.problems, []);
    let row = |entry: crate::Entry| LabelRow {
        path: entry.path,
        classes: entry.label,
        split: entry.split.expect("each row names a split"),
    };
    listing.entries.into_iter().map(row).collect()
}

fn row(path: &str, classes: Option<&[&str]>, split: Split) -> LabelRow {
    let classes = classes.map(|own| own.iter().map(|class| (*class).to_owned()).collect());
    LabelRow { path: path.to_owned(), classes, split }
}

/// Signs that lists, tables and paths are written with.
const SIGNS: [char; 30] = [
    '|', ';', ',', '\\', '/', '[', ']', '(', ')', '{', '}', '"', '\'', ':', '=', '?', '#', '.', ' ', '\t', '\u{feff}',
    '\u{2028}', '0', '1', 'a', 'b', 'N', 'ü', 'Σ', '狗',
];
/// Names that mean something in a table.
const WORDS: [&str; 22] = [
    "none",
    "None",
    "null",
    "true",
    "1",
    "0",
    "label",
    "labels",
    "tag",
    "class",
    "path",
    "split",
    "train",
    "xmin",
    "bbox",
    "a,b",
    "a;b;c;d;e",
    "cat (wild)",
    "\"q\"",
    "'q'",
    "[]",
    "[\"a\"]",
];

fn name() -> impl Strategy<Value = String> {
    let signs = proptest::collection::vec(proptest::sample::select(SIGNS.to_vec()), 1..8);
    let composed = signs.prop_filter_map("a name of a class", |signs| class_name(&String::from_iter(signs)).ok());
    prop_oneof![1 => proptest::sample::select(WORDS.to_vec()).prop_map(str::to_owned), 2 => composed]
}

/// The classes of a file, as positions in the list of names, and its split.
type Drawn = (Option<BTreeSet<usize>>, usize);

fn rows_of(drawn: &[Drawn], names: &[String]) -> Vec<LabelRow> {
    let row = |(number, (classes, split)): (usize, &Drawn)| LabelRow {
        path: format!("a {number},ü.png"),
        classes: classes.as_ref().map(|own| {
            let own: BTreeSet<&String> = own.iter().map(|class| &names[class % names.len()]).collect();
            own.into_iter().cloned().collect()
        }),
        split: Split::ALL[*split],
    };
    drawn.iter().enumerate().map(row).collect()
}

proptest! {
    #[test]
    fn any_labels_are_read_back_as_they_were_written(
        names in proptest::collection::vec(name(), 1..5),
        drawn in proptest::collection::vec(
            (proptest::option::of(proptest::collection::btree_set(0..5_usize, 0..4)), 0..3_usize),
            1..8,
        ),
    ) {
        let rows = rows_of(&drawn, &names);
        prop_assert_eq!(read_back(&rows, Labelling::AnyClasses), rows.clone());
        // Labels of several classes are not cut to one.
        if rows.iter().any(|row| row.classes.as_ref().is_some_and(|own| own.len() != 1)) {
            prop_assert_eq!(read_back(&rows, Labelling::OneClass), rows.clone());
        }
        let first = |own: Vec<String>| own.into_iter().next().map(|class| vec![class]);
        let one: Vec<LabelRow> =
            rows.into_iter().map(|row| LabelRow { classes: row.classes.and_then(first), ..row }).collect();
        prop_assert_eq!(read_back(&one, Labelling::OneClass), one.clone());
        prop_assert_eq!(read_back(&one, Labelling::AnyClasses), one);
    }
}

#[cfg(unix)]
#[test]
fn files_of_odd_names_are_read_back() {
    let names =
        ["a\\b.png", "x?d=y.png", "c\rd.png", "e\r\nf.png", "g\nh.png", " i.png", "j.png ", "C:k.png", "l\"m.png"];
    let rows: Vec<LabelRow> = names.iter().map(|name| row(name, Some(&["cat"]), Split::Val)).collect();
    assert_eq!(read_back(&rows, Labelling::OneClass), rows);
    assert_eq!(read_back(&rows, Labelling::AnyClasses), rows);
}

#[test]
fn classes_that_are_no_folders_of_classes_are_known() {
    let rows = [
        row("train/cat/1.png", Some(&["cat"]), Split::Train),
        row("train/images/2.png", Some(&["images"]), Split::Train),
        row("train/data/3.png", Some(&["data"]), Split::Train),
        row("val/lost+found/4.png", Some(&["lost+found"]), Split::Val),
        row("val/train/5.png", Some(&["train"]), Split::Val),
        row("val/cat/.6.png", Some(&["cat"]), Split::Val),
    ];
    let come_back = |rows: &[LabelRow]| LabelRow::come_back_from_folders(&rows.iter().collect::<Vec<_>>());
    assert_eq!(come_back(&rows), [true, false, true, false, true, false]);
    // Beside no other class, `data` is a container; and so it is once the others are left out.
    assert_eq!(come_back(&rows[2..3]), [false]);
    assert_eq!(come_back(&rows[1..3]), [false, false]);
    let doubled = [row("train/train/1.png", Some(&["train"]), Split::Train)];
    assert_eq!(come_back(&doubled), [false]);
    let masks = [
        row("train/data/1.png", Some(&["data"]), Split::Train),
        row("train/mask/1.png", Some(&["mask"]), Split::Train),
    ];
    assert!(come_back(&masks).contains(&false));
    assert!(LabelRow::come_back_from_folders(&[]).is_empty());
}
