//! Folders, archives and tables as found in practice: each image once, with class and split, nothing lost silently.

use crate::harness::{Client, Workspace};
use assay_protocol::domain::RunStatus;
use assay_protocol::domain::entity::{Dataset, Job, Problem};
use assay_protocol::{ImportRequest, SamplePage, path};
use std::path::Path;
use std::process::Command;

fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    std::fs::write(path, bytes).expect("a file");
}

/// A small image, distinct for each number.
fn picture(number: u32, format: image::ImageFormat) -> Vec<u8> {
    let image = image::RgbImage::from_fn(24, 16, |x, y| {
        image::Rgb([(x * 9 + number * 31) as u8, (y * 15) as u8, number as u8])
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).expect("a picture");
    bytes.into_inner()
}

fn jpeg(number: u32) -> Vec<u8> {
    picture(number, image::ImageFormat::Jpeg)
}

struct Imported {
    job: Job,
    samples: Vec<(String, Option<String>, String)>,
    problems: Vec<Problem>,
}

/// Path, class and split of each sample, in order.
async fn import(client: &Client, source: &Path, name: &str) -> anyhow::Result<Imported> {
    let request =
        ImportRequest { source: source.display().to_string(), name: Some(name.to_owned()), ..ImportRequest::default() };
    let job = client.finish(client.post(path::DATASETS, &request).await?).await?;
    let datasets = client.get::<Vec<Dataset>>(path::DATASETS).await?;
    let Some(dataset) = datasets.into_iter().find(|dataset| dataset.name == name) else {
        return Ok(Imported { job, samples: Vec::new(), problems: Vec::new() });
    };
    let page: SamplePage = client.get(&path::dataset(dataset.id, "/samples?limit=500")).await?;
    let class = |id: i64| dataset.classes.get(id as usize).cloned();
    let sample = |sample: assay_protocol::domain::entity::Sample| {
        let label = sample.label.and_then(|label| label.classes().first().copied()).and_then(|id| class(id.0));
        (sample.path, label, sample.split.to_string())
    };
    let samples = page.samples.into_iter().map(sample).collect();
    Ok(Imported { job, samples, problems: client.get(&path::dataset(dataset.id, "/problems")).await? })
}

fn tar(folder: &Path, arguments: &[&str]) {
    assert!(Command::new("tar").current_dir(folder).args(arguments).status().expect("tar").success());
}

#[tokio::test(flavor = "multi_thread")]
async fn layouts_of_many_hands_are_read() -> anyhow::Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    for (name, paths, expected) in [
        (
            "tiny",
            vec!["train/n01/images/a.JPEG", "train/n02/images/b.JPEG", "val/images/c.JPEG"],
            vec![("n01", "train"), ("n02", "train"), ("-", "val")],
        ),
        (
            "class-then-split",
            vec!["cat/test/a.jpg", "cat/train/b.jpg", "dog/test/c.jpg", "dog/train/d.jpg"],
            vec![("cat", "test"), ("cat", "train"), ("dog", "test"), ("dog", "train")],
        ),
        (
            "class-named-train",
            vec!["test/bus/a.jpg", "test/train/b.jpg", "train/bus/c.jpg", "train/train/d.jpg"],
            vec![("bus", "test"), ("train", "test"), ("bus", "train"), ("train", "train")],
        ),
    ] {
        let folder = workspace.folder().join(name);
        for (number, path) in paths.iter().enumerate() {
            write(&folder.join(path), &jpeg(number as u32));
        }
        let found = import(&client, &folder, name).await?;
        let seen: Vec<(&str, &str)> =
            found.samples.iter().map(|(_, class, split)| (class.as_deref().unwrap_or("-"), split.as_str())).collect();
        assert_eq!((seen, found.problems.len()), (expected, 0), "{name}");
    }
    client.door.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_taken_by_content_and_damaged_ones_are_listed() -> anyhow::Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    let folder = workspace.folder().join("cat");
    let png = picture(1, image::ImageFormat::Png);
    write(&folder.join("cat/photo.jfif"), &jpeg(2));
    write(&folder.join("cat/scan"), &jpeg(3));
    write(&folder.join("cat/license.jpg"), &jpeg(4));
    write(&folder.join("cat/shot.dat"), &png);
    let mut damaged = png.clone();
    let at = damaged.windows(4).position(|name| name == b"IDAT").expect("pixels");
    damaged[at + 12] ^= 0x5a;
    write(&folder.join("cat/damaged.png"), &damaged);
    write(&folder.join("cat/phone.heic"), b"\0\0\0\x18ftypheic\0\0\0\0mif1heic");
    for name in ["cat/Thumbs.db", "cat/README.md", "cat/._photo.jpg", "__MACOSX/cat/a.jpg", "@eaDir/cat/b.jpg"] {
        write(&folder.join(name), b"nobody's image");
    }
    let found = import(&client, &folder, "content").await?;
    let paths: Vec<&str> = found.samples.iter().map(|(path, _, _)| path.as_str()).collect();
    assert_eq!(paths, ["cat/license.jpg", "cat/photo.jfif", "cat/scan", "cat/shot.dat"]);
    assert!(found.samples.iter().all(|(_, class, _)| class.as_deref() == Some("cat")), "{:?}", found.samples);
    let problems: Vec<&str> = found.problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(problems.len(), 2, "{:?}", found.problems);
    assert!(problems.contains(&"cat/damaged.png") && problems.contains(&"cat/phone.heic"), "{:?}", found.problems);
    client.door.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_in_an_archive_labels_its_images() -> anyhow::Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    let folder = workspace.folder().join("inside");
    for number in 0..5 {
        write(&folder.join(format!("images/{number}.jpg")), &jpeg(number));
    }
    let table = "file_name;category;subset\nimages/0.jpg;cat;train\n./images//1.jpg;dog;holdout\nimages\\2.jpg;cat;7\n\
                 images/3.jpg;cat;train\nimages/3.jpg;dog;train\nimages/../images/0.jpg;cat;train\n";
    write(&folder.join("labels.csv"), table.as_bytes());
    tar(workspace.folder(), &["czf", "inside.tar.gz", "inside"]);
    let found = import(&client, &workspace.folder().join("inside.tar.gz"), "inside").await?;
    assert_eq!(found.job.status, RunStatus::Finished, "{}", found.job.message);
    let seen: Vec<(&str, Option<&str>, &str)> =
        found.samples.iter().map(|(path, class, split)| (path.as_str(), class.as_deref(), split.as_str())).collect();
    assert_eq!(
        &seen[..2],
        [("inside/images/0.jpg", Some("cat"), "train"), ("inside/images/1.jpg", Some("dog"), "test")]
    );
    let unlabelled: Vec<(&str, Option<&str>)> = seen[2..].iter().map(|(path, class, _)| (*path, *class)).collect();
    assert_eq!(unlabelled, [("inside/images/3.jpg", None), ("inside/images/4.jpg", None)]);
    let reason = |path: &str| {
        let found = found.problems.iter().find(|problem| problem.path == path);
        found.map_or_else(|| panic!("{path} is not listed"), |problem| problem.reason.as_str())
    };
    assert!(reason("inside/images/2.jpg").contains("\"7\" is not understood"));
    let contradiction = reason("inside/images/3.jpg");
    assert!(contradiction.contains("lines 5 and 6"), "{contradiction}");
    assert_eq!(found.problems.len(), 2);
    client.door.close().await;
    Ok(())
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn every_file_of_an_archive_is_a_sample_of_its_own() -> anyhow::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let workspace = Workspace::new();
    let client = workspace.open().await;
    let folder = workspace.folder().join("names");
    let names: [&[u8]; 5] = [b"\xe9.jpg", b"\xe8.jpg", b"2024-05-01T12:30:00.jpg", "ü ñ#.jpg".as_bytes(), b"plain.jpg"];
    for (number, name) in (0..).zip(names) {
        let path = folder.join("cat").join(std::ffi::OsStr::from_bytes(name));
        write(&path, &jpeg(number));
    }
    std::fs::hard_link(folder.join("cat/plain.jpg"), folder.join("cat/hard.jpg"))?;
    std::os::unix::fs::symlink("plain.jpg", folder.join("cat/soft.jpg"))?;
    std::os::unix::fs::symlink("/etc/passwd", folder.join("cat/evil.jpg"))?;
    tar(&folder, &["cf", "../names.tar", "cat"]);
    let found = import(&client, &workspace.folder().join("names.tar"), "archive").await?;
    assert_eq!(found.samples.len(), 7, "{:?} {:?}", found.samples, found.problems);
    assert_eq!(found.problems.len(), 1);
    assert!(found.problems[0].reason.contains("outside"), "{:?}", found.problems);
    // Also as a folder.
    std::fs::remove_file(folder.join("cat/evil.jpg"))?;
    let found = import(&client, &folder, "folder").await?;
    assert_eq!((found.samples.len(), found.problems.len()), (7, 0), "{:?}", found.samples);
    client.door.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn annotations_are_named_and_make_no_class() -> anyhow::Result<()> {
    let workspace = Workspace::new();
    let client = workspace.open().await;
    let folder = workspace.folder().join("voc");
    for number in 0..3 {
        write(&folder.join(format!("JPEGImages/{number}.jpg")), &jpeg(number));
        write(
            &folder.join(format!("Annotations/{number}.xml")),
            b"<annotation><folder>JPEGImages</folder></annotation>",
        );
    }
    write(&folder.join("ImageSets/Main/train.txt"), b"0\n1\n");
    let found = import(&client, &folder, "voc").await?;
    assert_eq!((found.samples.len(), found.problems.len()), (3, 0), "{:?}", found.problems);
    assert!(found.samples.iter().all(|(_, class, _)| class.is_none()), "{:?}", found.samples);
    let told = "Pascal VOC annotations (3 files)";
    assert!(found.job.message.contains(told) && found.job.message.contains("not read yet"), "{}", found.job.message);
    client.door.close().await;
    Ok(())
}
