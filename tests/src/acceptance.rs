//! A model is predicted with in bulk, and checked as a tester does who knows nothing of learning.

use crate::harness::{Workspace, digits};
use std::path::Path;
use std::process::Output;

/// A workspace with a model of the digits, their images, and the model exported.
fn trained() -> Workspace {
    let workspace = Workspace::new();
    let done = |output: Output| assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    done(workspace.assay(&["import", digits().to_str().expect("a path")]));
    done(workspace.assay(&["train", "--name", "digits", "train.epochs=4"]));
    done(workspace.assay(&["export", "digits", "model"]));
    let images = workspace.folder().join("images");
    std::fs::create_dir_all(&images).expect("a folder");
    let mut unpack = std::process::Command::new("tar");
    assert!(unpack.arg("xzf").arg(digits()).arg("-C").arg(&images).status().expect("tar").success());
    workspace
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn write(workspace: &Workspace, name: &str, contents: &str) {
    std::fs::write(workspace.folder().join(name), contents).expect("a file");
}

#[test]
fn a_model_is_accepted_or_refused_by_a_file_of_demands() {
    let workspace = trained();
    write(
        &workspace,
        "good.toml",
        r#"images = "images"
[minimum]
accuracy = 0.9
macro_f1 = 0.9
recall = { "3" = 0.7 }
[maximum]
latency_ms = 1000
calibration_error = 0.5
[[golden]]
image = "images/0/0000.png"
class = "0"
probability = 0.5
[invariance]
samples = 100
brightness = { by = 0.05, minimum = 0.9 }
blur = { by = 0.02, minimum = 0.8 }
rotation = { by = 3, minimum = 0.8 }
resolution = { by = 0.9, minimum = 0.8 }
"#,
    );
    // Nothing but the exported folder is there in CI: no workspace, no run.
    let elsewhere = Workspace::new();
    let model = workspace.folder().join("model");
    let check = |model: &Path, spec: &str, more: &[&str]| {
        let spec = workspace.folder().join(spec);
        let arguments = ["check", model.to_str().expect("a path"), "--spec", spec.to_str().expect("a path")];
        elsewhere.assay(&[&arguments[..], more].concat())
    };
    let accepted = check(&model, "good.toml", &["--junit", "report.xml"]);
    assert!(accepted.status.success(), "{}{}", text(&accepted.stdout), text(&accepted.stderr));
    assert_eq!(text(&accepted.stdout).lines().filter(|line| line.starts_with("ok")).count(), 10);
    let report = std::fs::read_to_string(elsewhere.folder().join("report.xml")).expect("a report");
    assert!(report.contains("tests=\"10\" failures=\"0\""), "{report}");
    assert!(!elsewhere.folder().join(".assay").exists(), "no workspace was made");

    write(
        &workspace,
        "strict.toml",
        "images = \"images\"\n[minimum]\naccuracy = 0.5\nrecall = { \"8\" = 1.01 }\n[[golden]]\nimage = \"images/0/0000.png\"\nclass = \"1\"\n",
    );
    let refused = check(&model, "strict.toml", &[]);
    assert_eq!(refused.status.code(), Some(1));
    let told = text(&refused.stderr);
    assert!(told.contains("2 of 3 demands") && told.contains("recall of 8") && told.contains("0000.png"), "{told}");
    let of_run = workspace.assay(&["--json", "check", "digits", "--spec", "strict.toml"]);
    let verdicts: Vec<assay_protocol::Verdict> = serde_json::from_slice(&of_run.stdout).expect("verdicts");
    assert_eq!(verdicts.iter().filter(|verdict| !verdict.passed).count(), 2);

    for (demands, why) in [
        ("[minimum]\naccuracy = 0.9", "name no images"),
        ("images = \"nowhere\"\n[minimum]\naccuracy = 0.9", "no file or folder"),
        ("images = \"images\"\n[minimum]\nacuracy = 0.9", "acuracy"),
        ("", "demand nothing"),
        ("[[golden]]\nimage = \"images/0/0000.png\"\nclass = \"cat\"", "knows no class \"cat\""),
    ] {
        write(&workspace, "wrong.toml", demands);
        let output = check(&model, "wrong.toml", &[]);
        assert!(!output.status.success() && text(&output.stderr).contains(why), "{demands}: {}", text(&output.stderr));
    }
}

#[test]
fn a_folder_is_predicted_to_csv_or_json_with_one_view_or_several() {
    let workspace = trained();
    write(&workspace, "images/3/notes.txt", "no image");
    write(&workspace, "images/3/broken.png", "no image either");
    let output = workspace.assay(&["predict", "images/3", "--model", "digits", "--format", "csv", "-o", "out.csv"]);
    assert!(output.status.success(), "the others are predicted: {}", text(&output.stderr));
    assert!(text(&output.stderr).contains("broken.png") && !text(&output.stderr).contains("notes.txt"));
    assert!(text(&output.stderr).contains("1 left out"), "{}", text(&output.stderr));
    let table = std::fs::read_to_string(workspace.folder().join("out.csv")).expect("a table");
    let mut lines = table.lines();
    assert_eq!(lines.next(), Some("image,class,probability,0,1,2,3,4,5,6,7,8,9"));
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    let images = std::fs::read_dir(workspace.folder().join("images/3")).expect("a folder").count() - 2;
    assert_eq!(rows.len(), images);
    let right = rows.iter().filter(|row| row[1] == "3").count();
    assert!(right as f64 > 0.9 * rows.len() as f64, "{right} of {}", rows.len());
    let sum: f64 = rows[0][3..].iter().map(|p| p.parse::<f64>().expect("a number")).sum();
    assert!((sum - 1.0).abs() < 1e-4);

    std::fs::remove_file(workspace.folder().join("images/3/broken.png")).expect("removed");
    // How many are taken for a three, and how sure of it the model is in all.
    let views = |views: &str| {
        let output = workspace.assay(&["predict", "images/3", "-m", "digits", "--format", "jsonl", "--views", views]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let lines = text(&output.stdout);
        let rows: Vec<serde_json::Value> =
            lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(rows.len(), images);
        let threes = rows.iter().filter(|row| row["classes"][0]["class"] == "3").count();
        (threes, rows.iter().filter_map(|row| row["classes"][0]["probability"].as_f64()).sum::<f64>())
    };
    let (one, sure) = views("one");
    assert_eq!(one, right);
    // A digit is not its mirror image: the model is less sure of both together.
    assert!(views("mirrored").1 < sure && views("ten-crop").1 < sure);
    let wrong = workspace.assay(&["predict", "images/3", "-m", "digits", "--views", "many"]);
    assert!(text(&wrong.stderr).contains("one, mirrored or ten-crop"));
}

#[cfg(unix)]
#[test]
fn one_rule_says_what_an_image_is_for_prediction_and_checks() {
    let workspace = trained();
    let folder = workspace.folder();
    let image = |name: &str| std::fs::read(folder.join("images").join(name)).expect("a digit");
    let put = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, bytes).expect("a file");
    };
    let first = |class: &str| format!("{class}/{}", name_of_first(&folder.join("images").join(class)));
    let (three, seven) = (image(&first("3")), image(&first("7")));
    // Images are recognised by content, under any name; others are skipped; a FIFO is never opened.
    put("some/scan", &three);
    put("some/photo.jfif", &three);
    put("some/license.png", &seven);
    for name in ["some/._x.png", "some/__MACOSX/y.png", "some/.ipynb_checkpoints/z.png", "some/README.md"] {
        put(name, b"no image");
    }
    let fifo = folder.join("some/pipe.png");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().expect("mkfifo").success());
    let odd = std::path::PathBuf::from(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"some/\xe9.png"));
    std::fs::write(folder.join(odd), &seven).expect("a file");
    let output = workspace.assay(&["predict", "some", "--model", "digits"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).lines().count(), 4, "{}", text(&output.stdout));
    let told = text(&output.stderr);
    assert!(told.contains("pipe.png") && told.contains("FIFO") && !told.contains("__MACOSX"), "{told}");
    put("none/notes.txt", b"text");
    let nothing = workspace.assay(&["predict", "none", "--model", "digits"]);
    assert_eq!(nothing.status.code(), Some(1));
    assert!(
        text(&nothing.stderr).contains("no images to predict (one file there is none)"),
        "{}",
        text(&nothing.stderr)
    );

    // A class whose files are all skipped fails the check, with the reason.
    put("data/3/a.png", &three);
    put("data/3/b.png", &three);
    put("data/7/notes.txt", b"text");
    put("data/7/Thumbs.db", b"x");
    put("data/8/broken.png", &three[..three.len() / 2]);
    write(&workspace, "spec.toml", "images = \"data\"\n[minimum]\naccuracy = 0.1\n");
    let checked = workspace.assay(&["check", "model", "--spec", "spec.toml", "--junit", "report.xml"]);
    assert_eq!(checked.status.code(), Some(1));
    let told = text(&checked.stdout);
    assert!(told.contains("of 2 images") && told.contains("FAILED  images"), "{told}");
    assert!(
        told.contains("of 7, 8") && told.contains("broken.png") && told.contains("1 other file passed over"),
        "{told}"
    );
    assert!(std::fs::read_to_string(folder.join("report.xml")).expect("a report").contains("name=\"images\""));
    // Without these folders the check passes.
    std::fs::remove_dir_all(folder.join("data/7")).expect("removed");
    std::fs::remove_dir_all(folder.join("data/8")).expect("removed");
    let checked = workspace.assay(&["check", "model", "--spec", "spec.toml"]);
    assert!(checked.status.success(), "{}", text(&checked.stdout));
    assert!(text(&checked.stdout).contains("none of 0, 1, 2"), "{}", text(&checked.stdout));
}

#[cfg(unix)]
fn name_of_first(folder: &Path) -> String {
    let names = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    names.map(|name| name.to_string_lossy().into_owned()).min().expect("a file")
}
