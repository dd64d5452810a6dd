//! Tests of exports: written and left-out samples.

use super::*;
use crate::testing::open_engine;
use assay_domain::{Label, LabelChange, Labelling, RunStatus, Split};
use assay_protocol::{ImportRequest, LabelRequest};
use std::sync::Arc;

/// A folder of images with a table of their labels, and a workspace that has it as a dataset.
struct World {
    folder: tempfile::TempDir,
    engine: Arc<Engine>,
}

impl World {
    /// Files with their classes, all to train on.
    fn new(files: &[(&str, &str)]) -> World {
        let folder = tempfile::tempdir().unwrap();
        let world = World { engine: open_engine(&folder.path().join(".assay")), folder };
        std::fs::create_dir(world.folder.path().join("images")).unwrap();
        for (number, (path, _)) in files.iter().enumerate() {
            world.write(path, number as u8);
        }
        let row = |(path, class): &(&str, &str)| LabelRow {
            path: (*path).to_owned(),
            classes: Some(vec![(*class).to_owned()]),
            split: Split::Train,
        };
        let rows: Vec<LabelRow> = files.iter().map(row).collect();
        std::fs::write(world.image("list.csv"), labels_csv(&rows, Labelling::OneClass).unwrap()).unwrap();
        world.import();
        world
    }

    fn image(&self, path: &str) -> PathBuf {
        self.folder.path().join("images").join(path)
    }

    fn write(&self, path: &str, content: u8) {
        let pixel = assay_media::RgbImage::from_raw(1, 1, vec![content, 100, 200]).unwrap();
        std::fs::write(self.image(path), assay_media::encode_png(&pixel).unwrap()).unwrap();
    }

    fn import(&self) {
        let source = self.image("list.csv").display().to_string();
        let request = ImportRequest { source, name: Some("images".into()), ..ImportRequest::default() };
        let id = self.engine.start_import(&request).unwrap().id;
        let job = loop {
            let job = self.engine.job(id).unwrap();
            if job.status.has_ended() {
                break job;
            }
            std::thread::yield_now();
        };
        assert_eq!(job.status, RunStatus::Finished, "{}", job.message);
    }

    fn dataset(&self) -> DatasetId {
        self.engine.datasets().unwrap()[0].id
    }

    fn export(&self, target: &str, format: LabelFormat) -> Result<LabelsWritten> {
        let target = self.folder.path().join(target).display().to_string();
        self.engine.export_labels(self.dataset(), &ExportLabels { target, format })
    }

    /// Path, classes and split of what is read from an export.
    fn read(&self, target: &str) -> Vec<(String, Option<Vec<String>>, Option<Split>)> {
        let listing = assay_formats::read(&self.folder.path().join(target), Labelling::OneClass).unwrap();
        assert_eq!(listing.problems, []);
        listing.entries.into_iter().map(|entry| (entry.path, entry.label, entry.split)).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.engine.close();
    }
}

/// The path of each, and what its reason says.
fn told(left_out: &[Problem]) -> Vec<(&str, &str)> {
    left_out.iter().map(|problem| (problem.path.as_str(), problem.reason.as_str())).collect()
}

fn classes(name: &str) -> Option<Vec<String>> {
    Some(vec![name.to_owned()])
}

#[test]
fn missing_and_changed_images_are_left_out_with_their_state() {
    let world = World::new(&[("a.png", "cat"), ("b.png", "cat"), ("c.png", "dog")]);
    let samples = world.engine.store.read(|reader| reader.all_samples(world.dataset())).unwrap();
    let change = LabelChange::Set(Some(Label::one(ClassId(0))));
    world.engine.label(samples[2].id, LabelRequest { change, person: "ada".into(), proposed_by: None }).unwrap();
    std::fs::remove_file(world.image("b.png")).unwrap();
    world.write("c.png", 77);
    world.import();

    let expected =
        [("b.png", "its file is missing"), ("c.png", "its image changed since it was labelled: confirm it first")];
    for (target, format) in [("labels.csv", LabelFormat::Csv), ("folders", LabelFormat::ClassFolders)] {
        let written = world.export(target, format).unwrap();
        assert_eq!((written.samples, told(&written.left_out)), (1, expected.to_vec()));
        let read = world.read(target);
        assert_eq!(read.len(), 1);
        assert_eq!((&read[0].1, read[0].2), (&classes("cat"), Some(Split::Train)));
    }

    std::fs::remove_file(world.image("a.png")).unwrap();
    world.import();
    for format in [LabelFormat::Csv, LabelFormat::ClassFolders] {
        let why = world.export("none", format).unwrap_err().to_string();
        assert!(why.contains("no image is left: 3 left out (2 times: its file is missing;"), "{why}");
        assert!(!world.folder.path().join("none").exists());
    }
    assert!(world.engine.labels_csv(world.dataset()).is_err());
}

#[test]
fn class_folders_hold_only_what_is_read_back() {
    let long = "\u{20000}".repeat(200);
    let world = World::new(&[
        ("a.png", "cat"),
        ("b.png", "images"),
        ("c.png", long.as_str()),
        ("d.png", "cat/dog"),
        ("e.png", "cat"),
        ("f.png", "bird"),
    ]);
    std::fs::remove_file(world.image("e.png")).unwrap();
    std::fs::remove_file(world.image("f.png")).unwrap();
    let written = world.export("folders", LabelFormat::ClassFolders).unwrap();
    assert_eq!(written.samples, 1);
    let left_out = told(&written.left_out);
    let reason = |path: &str| left_out.iter().find(|(own, _)| *own == path).map_or("", |(_, reason)| *reason);
    assert_eq!(left_out.len(), 5, "{left_out:?}");
    for path in ["b.png", "c.png", "d.png"] {
        assert!(reason(path).contains("export as CSV instead"), "{left_out:?}");
    }
    assert!(reason("b.png").contains("not be read back as \"images\""), "{left_out:?}");
    assert!(reason("e.png").contains("cannot be copied"), "{left_out:?}");
    assert_eq!(world.read("folders"), [("train/cat/a.png".to_owned(), classes("cat"), Some(Split::Train))]);
    // No empty folder is left that would be read as a class.
    assert!(!world.folder.path().join("folders/train/bird").exists());
    // As CSV all of them are written.
    assert_eq!(world.export("all.csv", LabelFormat::Csv).unwrap().samples, 6);
}

#[test]
fn a_class_that_depends_on_a_copy_that_failed_is_left_out_too() {
    let world = World::new(&[("a.png", "data"), ("b.png", "cat")]);
    std::fs::remove_file(world.image("b.png")).unwrap();
    let why = world.export("folders", LabelFormat::ClassFolders).unwrap_err().to_string();
    assert!(why.contains("no image is left: 2 left out"), "{why}");
    assert!(!world.folder.path().join("folders").exists());
}

#[cfg(target_os = "linux")]
#[test]
fn files_of_one_name_are_numbered_in_a_class_folder() {
    let world = World::new(&[("a.png", "cat"), ("A.png", "cat"), ("2-a.png", "cat")]);
    let written = world.export("folders", LabelFormat::ClassFolders).unwrap();
    assert_eq!((written.samples, told(&written.left_out)), (3, vec![]));
    assert_eq!(world.read("folders").len(), 3);
}

#[test]
fn classes_of_any_name_are_read_from_a_csv() {
    let names = ["none", "a|b", "cat (wild)", "label"];
    let files = names.iter().enumerate().map(|(number, name)| (format!("{number}.png"), *name)).collect::<Vec<_>>();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, name)| (path.as_str(), *name)).collect();
    let world = World::new(&files);
    let dataset = world.dataset();
    world.engine.store.write(move |tx| tx.set_labelling(dataset, Labelling::AnyClasses)).unwrap();
    world.export("labels.csv", LabelFormat::Csv).unwrap();
    let read: Vec<Option<Vec<String>>> = world.read("labels.csv").into_iter().map(|(_, label, _)| label).collect();
    assert_eq!(read, names.map(classes));
}
