//! Datasets over time: moved and changed sources, missing and damaged files, removed and restored samples and datasets,
//! exported labels.

use crate::harness::Workspace;
use assay_protocol::domain::Split;
use assay_protocol::domain::entity::{Dataset, Problem, ProblemKind, SampleState};
use assay_protocol::{RunDetail, SamplePage};
use std::path::Path;
use std::process::Output;

fn picture(number: u32) -> Vec<u8> {
    let image = image::RgbImage::from_fn(12, 12, |x, y| {
        image::Rgb([(number * 7) as u8, (number / 3) as u8, ((x * y + number) % 256) as u8])
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png).expect("a picture");
    bytes.into_inner()
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    std::fs::write(path, bytes).expect("a file");
}

/// Two classes of `count` images each.
fn two_classes(folder: &Path, count: u32) {
    for number in 0..count {
        write(&folder.join(format!("cat/img_{number}.png")), &picture(number));
        write(&folder.join(format!("dog/img_{number}.png")), &picture(1000 + number));
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn succeeds(workspace: &Workspace, arguments: &[&str]) -> String {
    let output = workspace.assay(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    said(&output)
}

fn samples(workspace: &Workspace, which: &[&str]) -> SamplePage {
    workspace.json(&[&["data", "samples", "images", "--limit", "1000"], which].concat())
}

fn log_of(workspace: &Workspace, run: &str) -> String {
    let detail: RunDetail = workspace.json(&["show", run]);
    detail.log.iter().map(|line| format!("{}\n", line.text)).collect()
}

#[test]
fn missing_and_damaged_images_are_left_out_of_a_training_with_a_line_in_its_log() {
    let workspace = Workspace::new();
    let images = workspace.folder().join("images");
    two_classes(&images, 30);
    succeeds(&workspace, &["import", "images"]);
    std::fs::remove_file(images.join("cat/img_3.png")).expect("it is deleted");
    // Same size, time and header, but damaged.
    let path = images.join("dog/img_4.png");
    let times = std::fs::metadata(&path).expect("facts").modified().expect("a time");
    let mut bytes = picture(1004);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(&path, &bytes).expect("a file");
    std::fs::File::options().write(true).open(&path).and_then(|file| file.set_modified(times)).expect("an old time");
    let run = succeeds(&workspace, &["train", "train.epochs=2", "data.image_size=8"]);
    assert!(run.contains("finished"), "{run}");
    let log = log_of(&workspace, "1");
    assert!(log.contains("1 image left out") && log.contains("cat/img_3.png"), "{log}");
    assert!(log.contains("an image is left out") && log.contains("img_4.png"), "{log}");
    let dataset: Vec<Dataset> = workspace.json(&["datasets"]);
    assert_eq!((dataset[0].samples, dataset[0].missing), (60, 1));
    // It comes back with its label.
    write(&images.join("found/elsewhere.png"), &picture(3));
    let told = succeeds(&workspace, &["import", "images"]);
    assert!(told.contains("1 found again"), "{told}");
    let page = samples(&workspace, &["--name", "elsewhere"]);
    assert_eq!(page.samples[0].state(), None);
}

#[test]
fn a_file_that_changed_behind_its_size_and_time_is_found_by_the_doctor_and_by_an_import() {
    let workspace = Workspace::new();
    let images = workspace.folder().join("images");
    two_classes(&images, 3);
    succeeds(&workspace, &["import", "images"]);
    let path = images.join("cat/img_1.png");
    let times = std::fs::metadata(&path).expect("facts").modified().expect("a time");
    let other = (50..9_000).map(picture).find(|other| other.len() == picture(1).len()).expect("one of that size");
    std::fs::write(&path, &other).expect("a file");
    std::fs::File::options().write(true).open(&path).and_then(|file| file.set_modified(times)).expect("an old time");
    let doctor = workspace.assay(&["doctor", "--deep"]);
    assert_eq!(doctor.status.code(), Some(4), "{}", said(&doctor));
    assert!(said(&doctor).contains("cat/img_1.png changed on disk"), "{}", said(&doctor));
    let told = succeeds(&workspace, &["import", "images"]);
    assert!(told.contains("1 changed"), "{told}");
    assert!(workspace.assay(&["doctor", "--deep"]).status.success());
}

#[test]
fn one_source_is_one_dataset_however_it_is_written() {
    let workspace = Workspace::new();
    two_classes(&workspace.folder().join("images"), 3);
    succeeds(&workspace, &["import", "images"]);
    #[cfg(unix)]
    std::os::unix::fs::symlink("images", workspace.folder().join("link")).expect("a link");
    let folder = workspace.folder().file_name().expect("a name").to_string_lossy().into_owned();
    let mut ways = vec!["images/".to_owned(), "./images".into(), format!("../{folder}/images")];
    ways.extend(cfg!(unix).then(|| "link".to_owned()));
    for way in ways {
        let told = succeeds(&workspace, &["import", &way]);
        assert!(told.contains("0 new, 0 changed"), "{way}: {told}");
    }
    assert_eq!(workspace.json::<Vec<Dataset>>(&["datasets"]).len(), 1);
}

#[cfg(target_os = "linux")]
#[test]
fn a_source_whose_name_is_not_utf8_is_read_and_looked_at_again() {
    use std::os::unix::ffi::OsStrExt;
    let workspace = Workspace::new();
    let name = std::ffi::OsStr::from_bytes(b"n\xe9");
    two_classes(&workspace.folder().join(name), 3);
    for told in ["6 new, 0 changed", "0 new, 0 changed"] {
        let output = workspace.command(&["import"]).arg(name).args(["--name", "images"]).output().expect("it runs");
        assert!(output.status.success() && said(&output).contains(told), "{}", said(&output));
    }
    assert_eq!(workspace.json::<Vec<Dataset>>(&["datasets"]).len(), 1);
    assert!(workspace.assay(&["doctor", "--deep"]).status.success());
}

#[test]
fn labels_and_splits_of_the_source_are_followed_and_those_of_people_stay() {
    let workspace = Workspace::new();
    for number in 0..4 {
        write(&workspace.folder().join(format!("{number}.png")), &picture(number));
    }
    let csv = workspace.folder().join("list.csv");
    let list = |labels: [&str; 4], split: &str| {
        let rows: String =
            labels.iter().enumerate().map(|(number, label)| format!("{number}.png,{label},{split}\n")).collect();
        write(&csv, format!("path,label,split\n{rows}").as_bytes());
    };
    list(["cat", "cat", "dog", "dog"], "train");
    succeeds(&workspace, &["import", "list.csv", "--name", "images"]);
    let by_hand = samples(&workspace, &[]).samples[1].id;
    let serving = workspace.serve();
    let label = format!("{}/api/v1/samples/{by_hand}/label", serving.address);
    let body = r#"{"set":[1],"person":"ada"}"#;
    assert!(http_post(&label, body).contains("200 OK"));
    drop(serving);
    succeeds(&workspace, &["data", "split", "images", "test", "--sample", &by_hand.to_string()]);
    list(["dog", "cat", "dog", "cat"], "val");
    let told = succeeds(&workspace, &["import", "list.csv"]);
    assert!(told.contains("2 labelled anew by the source"), "{told}");
    assert!(told.contains("1 labelled differently by a person and the source"), "{told}");
    let page = samples(&workspace, &[]);
    let labels: Vec<i64> = page.samples.iter().map(|of| of.label.as_ref().expect("a label").classes()[0].0).collect();
    assert_eq!(labels, [1, 1, 1, 0]);
    let splits: Vec<Split> = page.samples.iter().map(|sample| sample.split).collect();
    assert_eq!(splits, [Split::Val, Split::Test, Split::Val, Split::Val]);
    let problems: Vec<Problem> = workspace.json(&["data", "problems", "images"]);
    assert_eq!((problems[0].kind, problems[0].path.as_str()), (ProblemKind::LabelDiffers, "1.png"));
}

/// Posts to a local server; returns the response head.
fn http_post(address: &str, body: &str) -> String {
    use std::io::{Read, Write};
    let rest = address.trim_start_matches("http://");
    let (host, path) = rest.split_once('/').expect("a path");
    let mut stream = std::net::TcpStream::connect(host).expect("a server");
    let length = body.len();
    let request = format!(
        "POST /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).expect("it is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn datasets_and_samples_are_renamed_removed_and_restored() {
    let workspace = Workspace::new();
    two_classes(&workspace.folder().join("images"), 3);
    succeeds(&workspace, &["import", "images"]);
    succeeds(&workspace, &["data", "remove-samples", "images", "--class", "cat", "--name", "img_1"]);
    let dataset: Vec<Dataset> = workspace.json(&["datasets"]);
    assert_eq!((dataset[0].samples, dataset[0].labeled, dataset[0].removed_samples), (5, 5, 1));
    let told = succeeds(&workspace, &["import", "images"]);
    assert!(told.contains("0 new"), "what a person removed does not come back by itself: {told}");
    assert_eq!(samples(&workspace, &["--state", "removed"]).samples[0].state(), Some(SampleState::Removed));
    succeeds(&workspace, &["data", "restore-samples", "images"]);
    assert_eq!(workspace.json::<Vec<Dataset>>(&["datasets"])[0].samples, 6);
    assert_eq!(samples(&workspace, &["--class", "cat"]).total, 3);

    let id = dataset[0].id.to_string();
    succeeds(&workspace, &["data", "remove", "images"]);
    assert!(workspace.json::<Vec<Dataset>>(&["datasets"]).is_empty());
    // Its name is free.
    two_classes(&workspace.folder().join("other"), 2);
    succeeds(&workspace, &["import", "other", "--name", "images"]);
    let refused = workspace.assay(&["data", "restore", &id]);
    assert!(!refused.status.success() && said(&refused).contains("another dataset named"), "{}", said(&refused));
    succeeds(&workspace, &["data", "rename", "images", "others"]);
    succeeds(&workspace, &["data", "restore", &id]);
    let names: Vec<String> =
        workspace.json::<Vec<Dataset>>(&["datasets"]).into_iter().map(|dataset| dataset.name).collect();
    assert_eq!(names, ["images", "others"]);
}

#[test]
fn exported_labels_are_read_back_as_they_were() {
    let workspace = Workspace::new();
    two_classes(&workspace.folder().join("images"), 6);
    write(&workspace.folder().join("images/unlabelled.png"), &picture(500));
    succeeds(&workspace, &["import", "images"]);
    succeeds(&workspace, &["data", "export", "images", "labels.csv"]);
    let told = succeeds(&workspace, &["data", "export", "images", "folders", "--format", "class-folders"]);
    assert!(told.contains("12 images, 1 left out") && told.contains("unlabelled.png: it has no label"), "{told}");
    let refused = workspace.assay(&["data", "export", "images", "labels.csv"]);
    assert!(!refused.status.success() && said(&refused).contains("something already"), "{}", said(&refused));
    let told_of = |name: &str| -> Vec<(String, Split, Option<String>)> {
        let datasets: Vec<Dataset> = workspace.json(&["datasets"]);
        let classes = &datasets.iter().find(|dataset| dataset.name == name).expect("the dataset").classes;
        let page: SamplePage = workspace.json(&["data", "samples", name, "--limit", "1000"]);
        let mut told: Vec<_> = page
            .samples
            .into_iter()
            .map(|sample| (sample.hash, sample.split, sample.label.map(|label| label.names(classes))))
            .collect();
        told.sort();
        told
    };
    succeeds(&workspace, &["import", "labels.csv", "--name", "from csv"]);
    assert_eq!(told_of("from csv"), told_of("images"));
    succeeds(&workspace, &["import", "folders", "--name", "from folders"]);
    let labelled: Vec<_> = told_of("images").into_iter().filter(|(_, _, label)| label.is_some()).collect();
    assert_eq!(told_of("from folders"), labelled);
}

#[test]
fn equal_images_that_contradict_each_other_are_told_with_all_their_paths() {
    let workspace = Workspace::new();
    let images = workspace.folder().join("images");
    two_classes(&images, 3);
    write(&images.join("dog/same.png"), &picture(0));
    let told = succeeds(&workspace, &["import", "images"]);
    assert!(told.contains("1 with contradicting copies"), "{told}");
    let problems: Vec<Problem> = workspace.json(&["data", "problems", "images"]);
    let reason = &problems[0].reason;
    assert!(reason.contains("cat/img_0.png (\"cat\"") && reason.contains("dog/same.png (\"dog\""), "{reason}");
}

#[test]
fn a_changed_archive_is_read_again() {
    let workspace = Workspace::new();
    let pack = |count: u32| {
        let path = workspace.folder().join("images.tar");
        let folder = workspace.folder().join("packed");
        let _ = std::fs::remove_dir_all(&folder); // the first time there is none
        two_classes(&folder, count);
        let status = std::process::Command::new("tar").arg("-cf").arg(path).arg("-C").arg(folder).arg(".").status();
        assert!(status.expect("tar starts").success());
    };
    pack(2);
    succeeds(&workspace, &["import", "images.tar"]);
    pack(3);
    let origin = workspace.json::<Vec<Dataset>>(&["datasets"]).remove(0).origin().to_owned();
    assert!(origin.ends_with("images.tar"), "what is looked at again is the archive: {origin}");
    let told = succeeds(&workspace, &["import", &origin]);
    assert!(told.contains("2 new") && told.contains("images has 6 images"), "{told}");
}

#[test]
fn archives_that_take_the_place_of_others_leave_the_images_of_those_alone() {
    let workspace = Workspace::new();
    let pack = |name: &str, first: u32| {
        let folder = workspace.folder().join(format!("packed-{first}"));
        for number in first..first + 3 {
            write(&folder.join(format!("cat/img_{number}.png")), &picture(number));
        }
        let path = workspace.folder().join(name);
        let status = std::process::Command::new("tar").arg("-cf").arg(path).arg("-C").arg(folder).arg(".").status();
        assert!(status.expect("tar starts").success());
    };
    let is_whole = || {
        let doctor = workspace.assay(&["doctor", "--deep"]);
        assert!(doctor.status.success(), "{}", said(&doctor));
    };
    pack("x.tar", 0);
    pack("other.tar", 100);
    succeeds(&workspace, &["import", "x.tar", "--name", "one"]);
    let refused = workspace.assay(&["data", "relocate", "one", "other.tar"]);
    assert!(!refused.status.success() && said(&refused).contains("by its contents"), "{}", said(&refused));
    is_whole();
    // The archive is renamed, and another one comes to its place.
    std::fs::rename(workspace.folder().join("x.tar"), workspace.folder().join("y.tar")).expect("a rename");
    succeeds(&workspace, &["data", "relocate", "one", "y.tar"]);
    pack("x.tar", 200);
    succeeds(&workspace, &["import", "x.tar", "--name", "two"]);
    is_whole();
    let kept = std::fs::read_dir(workspace.folder().join(".assay/imports")).expect("a folder").count();
    assert_eq!(kept, 2, "one folder a dataset");
}

#[test]
fn a_training_finds_a_replaced_image_whose_old_pixels_are_cached() {
    let workspace = Workspace::new();
    let images = workspace.folder().join("images");
    two_classes(&images, 30);
    succeeds(&workspace, &["import", "images"]);
    let train = ["train", "train.epochs=1", "data.image_size=8"];
    succeeds(&workspace, &train);
    let path = images.join("dog/img_4.png");
    let times = std::fs::metadata(&path).expect("facts").modified().expect("a time");
    let other =
        (5_000..20_000).map(picture).find(|other| other.len() == picture(1004).len()).expect("one of that size");
    std::fs::write(&path, &other).expect("a file");
    std::fs::File::options().write(true).open(&path).and_then(|file| file.set_modified(times)).expect("an old time");
    succeeds(&workspace, &train);
    let log = log_of(&workspace, "2");
    assert!(log.contains("has changed since the snapshot") && log.contains("img_4.png"), "{log}");
    // An evaluation says how many it left out.
    std::fs::remove_dir_all(workspace.folder().join(".assay/cache")).expect("the cache");
    std::fs::remove_file(&path).expect("it is deleted");
    let splits = ["train", "val", "test"].map(|split| said(&workspace.assay(&["evaluate", "2", "--split", split])));
    assert!(splits.iter().any(|told| told.contains("1 image left out") && told.contains("img_4.png")), "{splits:?}");
}
