//! Bad input: a clear message each, and nothing changed.

use crate::harness::{Workspace, digits};
use assay_protocol::domain::entity::{Dataset, Problem};
use assay_protocol::path;
use std::path::Path;
use std::process::{Command, Stdio};

fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    std::fs::write(path, bytes).expect("a file");
}

fn picture(format: image::ImageFormat) -> Vec<u8> {
    let image = image::RgbImage::from_fn(40, 30, |x, y| image::Rgb([x as u8 * 6, y as u8 * 8, 90]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).expect("a picture");
    bytes.into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_no_images_are_listed_with_their_reason() -> anyhow::Result<()> {
    let workspace = Workspace::new();
    let images = workspace.folder().join("images");
    let jpeg = picture(image::ImageFormat::Jpeg);
    write(&images.join("cat/good.jpg"), &jpeg);
    write(&images.join("cat/good.png"), &picture(image::ImageFormat::Png));
    write(&images.join("cat/truncated.jpg"), &jpeg[..jpeg.len() * 2 / 3]);
    write(&images.join("cat/empty.png"), b"");
    write(&images.join("cat/text.jpg"), b"I am text");
    write(&images.join("cat/notes.txt"), b"notes");
    let mut bomb = picture(image::ImageFormat::Png);
    bomb[16..20].copy_from_slice(&90_000u32.to_be_bytes());
    bomb[20..24].copy_from_slice(&90_000u32.to_be_bytes());
    let crc = !bomb[12..29].iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    });
    bomb[29..33].copy_from_slice(&crc.to_be_bytes());
    write(&images.join("cat/bomb.png"), &bomb);
    #[cfg(unix)]
    std::os::unix::fs::symlink(&images, images.join("cat/loop"))?;

    let client = workspace.open().await;
    let request = assay_protocol::ImportRequest { source: images.display().to_string(), ..Default::default() };
    client.finish(client.post(path::DATASETS, &request).await?).await?;
    let dataset = client.get::<Vec<Dataset>>(path::DATASETS).await?.remove(0);
    assert_eq!(dataset.samples, 2);
    let problems: Vec<Problem> = client.get(&path::dataset(dataset.id, "/problems")).await?;
    let reason = |name: &str| {
        let found = problems.iter().find(|problem| problem.path == format!("cat/{name}"));
        found.map_or_else(|| panic!("{name} is not listed: {problems:?}"), |problem| problem.reason.as_str())
    };
    assert!(reason("truncated.jpg").contains("cut off"));
    assert!(reason("empty.png").contains("0 bytes"));
    assert!(reason("text.jpg").contains("not an image"));
    assert!(reason("notes.txt").contains("not an image"));
    assert!(reason("bomb.png").contains("90000 x 90000"));
    if cfg!(unix) {
        assert!(reason("loop").contains("leads back"));
    }
    client.door.close().await;
    Ok(())
}

#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_may_not_be_read_is_listed_and_the_rest_is_taken() {
    use std::os::unix::fs::PermissionsExt;
    let workspace = Workspace::new();
    let images = workspace.folder().join("images");
    write(&images.join("cat/good.png"), &picture(image::ImageFormat::Png));
    write(&images.join("dog/hidden.png"), &picture(image::ImageFormat::Png));
    write(&images.join("cat/secret.png"), &picture(image::ImageFormat::Bmp));
    let lock = |name: &str, mode: u32| {
        std::fs::set_permissions(images.join(name), std::fs::Permissions::from_mode(mode)).expect("permissions")
    };
    lock("dog", 0o000);
    lock("cat/secret.png", 0o000);
    // The administrator reads everything, unless that right is given away.
    let without_rights = |program: &Path, arguments: &[&str]| {
        let rights = "-dac_override,-dac_read_search";
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set", rights, "--inh-caps", rights]).arg(program).args(arguments);
        command.output().expect("setpriv (util-linux) starts")
    };
    let folder = workspace.folder().to_str().expect("a path");
    let source = images.to_str().expect("a path");
    let reads = std::fs::read_dir(images.join("dog")).is_ok();
    let import = ["--workspace", folder, "import", source];
    let output = match reads {
        true => without_rights(&crate::harness::program("assay"), &import),
        false => workspace.assay(&import[2..]),
    };
    lock("dog", 0o755);
    lock("cat/secret.png", 0o644);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{message}");
    let datasets: Vec<Dataset> = workspace.json(&["datasets"]);
    assert_eq!((datasets[0].samples, datasets[0].problems), (1, 2));
    let out = String::from_utf8_lossy(&output.stdout).into_owned() + &message;
    assert!(out.contains("2 left out") || out.contains("problem"), "{out}");
}

#[test]
fn a_wrong_config_key_names_the_nearest_and_starts_nothing() {
    let workspace = Workspace::new();
    assert!(workspace.assay(&["import", digits().to_str().expect("a path")]).status.success());
    let output = workspace.assay(&["train", "optimiser.lr=1"]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(message.contains("did you mean \"optimizer.lr\""), "{message}");
    let runs: Vec<serde_json::Value> = workspace.json(&["runs"]);
    assert!(runs.is_empty());
}

#[test]
fn a_source_that_is_not_there_or_unknown_says_so() {
    let workspace = Workspace::new();
    write(&workspace.folder().join("a.docx"), b"x");
    for (source, expected) in [("nowhere", "no file or folder"), ("a.docx", "can be imported")] {
        let output = workspace.assay(&["import", source]);
        assert!(!output.status.success());
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(message.contains(expected), "{message}");
    }
    let datasets: Vec<Dataset> = workspace.json(&["datasets"]);
    assert!(datasets.is_empty());
}

#[test]
fn a_port_in_use_is_named_with_what_to_do() {
    let workspace = Workspace::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("its address").port().to_string();
    let output = workspace.assay(&["serve", "--port", &port]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && message.contains("choose another port with --port"), "{message}");
}

#[test]
fn a_database_of_a_newer_version_is_refused_untouched() {
    let workspace = Workspace::new();
    assert!(workspace.assay(&["init"]).status.success());
    let path = workspace.folder().join(".assay/assay.db");
    let mut bytes = std::fs::read(&path).expect("the database");
    bytes[60..64].copy_from_slice(&99u32.to_be_bytes()); // user_version in SQLite's header
    std::fs::write(&path, &bytes).expect("written");
    let output = workspace.assay(&["runs"]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && message.contains("newer Assay (format 99"), "{message}");
    assert_eq!(std::fs::read(&path).expect("the database"), bytes);
}

/// A small disk of its own, mounted for one shell command; not every machine allows it.
fn on_small_disk(folder: &Path, options: &str, script: &str) -> Option<std::process::Output> {
    let mount = format!("mount -t tmpfs -o {options} tmpfs {0} && cd {0} && {script}", folder.display());
    let allowed = Command::new("unshare")
        .args(["-rm", "sh", "-c", &format!("mount -t tmpfs tmpfs {}", folder.display())])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !allowed.is_ok_and(|status| status.success()) {
        eprintln!("skipped: this machine mounts no disk for tests");
        return None;
    }
    Command::new("unshare").args(["-rm", "sh", "-c", &mount]).output().ok()
}

#[test]
fn a_full_disk_is_said_and_the_workspace_stays_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let assay = crate::harness::program("assay").display().to_string();
    let digits = digits().display().to_string();
    let script = format!("{assay} init && ! {assay} import {digits} && {assay} doctor");
    let Some(output) = on_small_disk(folder.path(), "size=1m", &script) else { return };
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let said = format!("{out}{error}");
    assert!(said.contains("full") || said.contains("No space left"), "{said}");
    assert!(out.contains("intact"), "{said}");
}

#[test]
fn a_read_only_disk_can_be_read_and_says_that_it_cannot_be_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let assay = crate::harness::program("assay").display().to_string();
    let script = format!(
        "{assay} init && {assay} import {} && mount -o remount,ro {} && {assay} datasets && {assay} train",
        digits().display(),
        folder.path().display()
    );
    let Some(output) = on_small_disk(folder.path(), "size=64m", &script) else { return };
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(out.contains("1797"), "{out}{error}");
    assert!(error.contains("cannot be written"), "{error}");
}
