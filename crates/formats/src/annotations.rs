//! Recognises annotation files beside images; they are not read yet.

use crate::names::{name_of, stem_of};
use crate::tree::Item;
use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::Read;

/// Kinds of annotation files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    PascalVoc,
    Coco,
    Yolo,
    Kitti,
    Cvat,
    Labelbox,
    LabelMe,
    LabelStudio,
    Lightly,
    CreateMl,
    Via,
    TinyImageNet,
    BoxTable,
    Masks,
    /// Lists of a split's images.
    Lists,
    /// Class names.
    Names,
    /// Another file named like an image.
    Beside,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::PascalVoc => "Pascal VOC annotations",
            Kind::Coco => "COCO annotations",
            Kind::Yolo => "YOLO annotations",
            Kind::Kitti => "KITTI annotations",
            Kind::Cvat => "CVAT annotations",
            Kind::Labelbox => "Labelbox annotations",
            Kind::LabelMe => "LabelMe annotations",
            Kind::LabelStudio => "Label Studio annotations",
            Kind::Lightly => "Lightly annotations",
            Kind::CreateMl => "Create ML annotations",
            Kind::Via => "VIA annotations",
            Kind::TinyImageNet => "Tiny ImageNet boxes",
            Kind::BoxTable => "tables of boxes",
            Kind::Masks => "masks",
            Kind::Lists => "lists of images",
            Kind::Names => "lists of class names",
            Kind::Beside => "files that are named as images are",
        }
    }

    /// Whether such files mean object detection, where a single folder of images is no class.
    fn is_of_objects(self) -> bool {
        !matches!(self, Kind::Lists | Kind::Names | Kind::Beside | Kind::TinyImageNet)
    }
}

/// Recognised files by kind.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Annotations {
    files: BTreeMap<Kind, usize>,
}

impl Annotations {
    pub(crate) fn add(&mut self, kind: Kind) {
        *self.files.entry(kind).or_default() += 1;
    }

    pub(crate) fn are_of_objects(&self) -> bool {
        self.files.keys().any(|kind| kind.is_of_objects())
    }

    /// Names what was recognised but is not read.
    pub(crate) fn note(&self) -> Option<String> {
        let kinds: Vec<String> = self
            .files
            .iter()
            .map(|(kind, files)| format!("{} ({})", kind.name(), assay_domain::counted(*files, "file")))
            .collect();
        let what = match self.files.keys().next()? {
            Kind::Masks => "masks",
            Kind::Lists | Kind::Names | Kind::Beside => "they",
            _ => "boxes",
        };
        Some(format!("{} were recognised; {what} are not read yet", kinds.join(", ")))
    }
}

/// The images of a tree, by which files are recognised.
pub(crate) struct Images<'a> {
    stems: HashSet<&'a str>,
    names: HashSet<&'a str>,
}

impl<'a> Images<'a> {
    pub(crate) fn new(paths: impl Iterator<Item = &'a str>) -> Images<'a> {
        let names: HashSet<&str> = paths.map(name_of).collect();
        Images { stems: names.iter().map(|name| stem_of(name)).collect(), names }
    }

    fn has(&self, word: &str) -> bool {
        let name = name_of(word);
        self.names.contains(name) || self.stems.contains(name)
    }

    /// Whether an image has this name: `a.txt` or `a.jpg.txt` beside `a.jpg`.
    fn has_namesake(&self, file: &str) -> bool {
        let stem = stem_of(file);
        self.stems.contains(stem) || self.names.contains(stem)
    }
}

/// Bytes of JSON inspected at each end.
const JSON_BYTES: u64 = 64 * 1024;

/// The kind of a file beside images, by its name, first bytes and the images; `None` if unknown.
pub(crate) fn recognise(item: &Item, head: &[u8], images: &Images<'_>) -> Option<Kind> {
    let name = name_of(&item.path).to_lowercase();
    let text = String::from_utf8_lossy(head).trim_start_matches('\u{feff}').trim_start().to_owned();
    let ending = crate::extension(std::path::Path::new(&name));
    let found = match ending.as_str() {
        _ if text.starts_with('<') => of_xml(&text),
        "json" | "jsonl" | "ndjson" | "geojson" => of_json(item, &name),
        "yaml" | "yml" => of_yaml(&text),
        "pbtxt" | "names" => Some(Kind::Names),
        "data" if text.contains("names") && text.contains("train") => Some(Kind::Yolo),
        _ => of_lines(item, &name, &text, head, images),
    };
    found.or_else(|| images.has_namesake(name_of(&item.path)).then_some(Kind::Beside))
}

fn of_xml(text: &str) -> Option<Kind> {
    if text.contains("<annotations") {
        Some(Kind::Cvat)
    } else if text.contains("<annotation") {
        Some(Kind::PascalVoc)
    } else {
        None
    }
}

fn of_yaml(text: &str) -> Option<Kind> {
    let has = |key: &str| text.lines().any(|line| line.trim_start().starts_with(key));
    (has("names:") || (has("train:") && (has("val:") || has("nc:")))).then_some(Kind::Yolo)
}

fn of_json(item: &Item, name: &str) -> Option<Kind> {
    let text = ends_of(&item.file).ok()?;
    let has = |key: &str| text.contains(&format!("\"{key}\""));
    let all = |keys: &[&str]| keys.iter().all(|key| has(key));
    if has("data_row") || all(&["DataRow ID", "Label"]) || all(&["Labeled Data", "Label"]) {
        Some(Kind::Labelbox)
    } else if all(&["shapes", "imagePath"]) {
        Some(Kind::LabelMe)
    } else if has("_via_img_metadata") || all(&["regions", "shape_attributes"]) {
        Some(Kind::Via)
    } else if all(&["predictions", "file_name"]) || all(&["task_type", "categories"]) {
        Some(Kind::Lightly)
    } else if all(&["annotations", "data"]) && (has("result") || has("completed_by")) {
        Some(Kind::LabelStudio)
    } else if all(&["image", "annotations", "coordinates"]) {
        Some(Kind::CreateMl)
    } else if has("image_id") && (has("bbox") || has("segmentation") || has("category_id"))
        || all(&["images", "categories"])
        || all(&["images", "annotations"])
        || all(&["info", "licenses", "images"])
    {
        Some(Kind::Coco)
    } else {
        let is_of_names = ["class", "label", "categor"].iter().any(|word| name.contains(word));
        is_of_names.then_some(Kind::Names)
    }
}

/// Recognises numbers, images or names.
fn of_lines(item: &Item, name: &str, text: &str, head: &[u8], images: &Images<'_>) -> Option<Kind> {
    const NAMES: [&str; 9] = [
        "classes.txt",
        "class_names.txt",
        "labels.txt",
        "label_names.txt",
        "words.txt",
        "wnids.txt",
        "classnames.txt",
        "categories.txt",
        "_darknet.labels",
    ];
    if head.contains(&0) {
        return None;
    }
    // The last line may be cut off.
    let is_cut = head.len() >= assay_domain::content::HEAD_BYTES;
    let all: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let lines = if is_cut && all.len() > 1 { &all[..all.len() - 1] } else { &all[..] };
    let is_of_labels = crate::layout::above(&item.path).split('/').any(|part| part.eq_ignore_ascii_case("labels"));
    if lines.is_empty() {
        // No objects.
        return (is_of_labels && images.has_namesake(name_of(&item.path))).then_some(Kind::Yolo);
    }
    if NAMES.contains(&name) {
        return Some(Kind::Names);
    }
    if lines.iter().all(|line| is_of_yolo(line, is_cut)) {
        return Some(Kind::Yolo);
    }
    if lines.iter().all(|line| is_of_kitti(line)) {
        return Some(Kind::Kitti);
    }
    if name.ends_with("_boxes.txt") {
        return Some(Kind::TinyImageNet);
    }
    let first_words = lines
        .iter()
        .filter(|line| images.has(line.split([' ', '\t', ',']).next().unwrap_or_default()) || images.has(line));
    (first_words.count() * 2 > lines.len()).then_some(Kind::Lists)
}

/// A class and a box or polygon, relative to the image's sides.
fn is_of_yolo(line: &str, is_cut: bool) -> bool {
    let mut words = line.split_whitespace();
    let is_class = words.next().is_some_and(|word| word.parse::<u32>().is_ok());
    let shares: Vec<Option<f64>> = words.map(|word| word.parse().ok()).collect();
    let is_share = |share: &Option<f64>| share.is_some_and(|share| (-0.01..=1.01).contains(&share));
    // A cut line may end within a number.
    let whole = if is_cut { &shares[..shares.len().saturating_sub(1)] } else { &shares[..] };
    is_class && shares.len() >= 4 && whole.iter().all(is_share)
}

/// A type (may have spaces), 14 numbers, an optional score.
fn is_of_kitti(line: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    let numbers = words.iter().rev().take_while(|word| word.parse::<f64>().is_ok()).count();
    (14..=15).contains(&numbers) && words.len() > numbers
}

/// The first and last bytes of a file.
fn ends_of(file: &std::path::Path) -> std::io::Result<String> {
    use std::io::{Seek, SeekFrom};
    let mut file = File::open(file)?;
    let length = file.metadata()?.len();
    let mut bytes = Vec::new();
    (&mut file).take(JSON_BYTES).read_to_end(&mut bytes)?;
    if length > JSON_BYTES {
        file.seek(SeekFrom::Start(length.saturating_sub(JSON_BYTES).max(JSON_BYTES)))?;
        file.take(JSON_BYTES).read_to_end(&mut bytes)?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(path: &str, contents: &str) -> Option<Kind> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, contents).unwrap();
        let images = ["images/a.jpg", "images/b c.png"];
        let head = &contents.as_bytes()[..contents.len().min(512)];
        recognise(&Item { file, path: path.to_owned() }, head, &Images::new(images.into_iter()))
    }

    #[test]
    fn annotations_are_recognised_by_what_is_in_them() {
        let long = "x".repeat(100_000);
        let coco = format!("{{\"info\": {{\"d\": \"{long}\"}}, \"annotations\": [{{\"image_id\": 1, \"bbox\": []}}]}}");
        for (path, contents, expected) in [
            ("Annotations/a.xml", "<?xml version=\"1.0\"?>\n<annotation>\n<folder>x</folder>", Kind::PascalVoc),
            ("Annotation/a", "<annotation><filename>a.jpg</filename>", Kind::PascalVoc),
            ("annotations.xml", "<?xml version=\"1.0\"?><annotations><version>1.1</version>", Kind::Cvat),
            ("instances.json", coco.as_str(), Kind::Coco),
            ("labels/a.txt", "0 0.5 0.5 0.25 0.1\n16 0.1 0.2 0.3 1\n", Kind::Yolo),
            ("labels/b c.txt", "3 0.1 0.2 0.3 0.4 0.5 0.6\n", Kind::Yolo),
            ("labels/a.txt", "", Kind::Yolo),
            ("data.yaml", "path: .\ntrain: images\nnc: 2\nnames: [a, b]\n", Kind::Yolo),
            ("labels/a.txt", "traffic light -1 -1 -10 1 2 3 4 -1 -1 -1 -1000 -1000 -1000 -10\n", Kind::Kitti),
            ("export.ndjson", "{\"data_row\": {\"id\": \"x\"}}\n", Kind::Labelbox),
            ("a.json", "{\"version\": \"5\", \"shapes\": [], \"imagePath\": \"a.jpg\"}", Kind::LabelMe),
            ("a.json", "{\"file_name\": \"a.jpg\", \"predictions\": []}", Kind::Lightly),
            ("ImageSets/Main/train.txt", "a\nb c\n", Kind::Lists),
            ("train.txt", "images/a.jpg 3\n./images/a.jpg 1\n", Kind::Lists),
            ("classes.txt", "cat\ndog\n", Kind::Names),
            ("class_id_to_name.json", "{\"0\": \"cat\"}", Kind::Names),
            ("a.txt", "one cat on a mat", Kind::Beside),
            ("a.jpg.meta", "whatever", Kind::Beside),
        ] {
            assert_eq!(kind(path, contents), Some(expected), "{path}: {}", &contents[..contents.len().min(40)]);
        }
        for (path, contents) in
            [("notes.txt", "buy milk"), ("x.json", "{\"a\": 1}"), ("z.csv", "1,2\n"), ("n.txt", "1 2 3")]
        {
            assert_eq!(kind(path, contents), None, "{path}");
        }
    }

    #[test]
    fn a_note_counts_them() {
        let mut found = Annotations::default();
        (0..364).for_each(|_| found.add(Kind::PascalVoc));
        assert_eq!(
            found.note().as_deref(),
            Some("Pascal VOC annotations (364 files) were recognised; boxes are not read yet")
        );
        assert!(found.are_of_objects());
        assert_eq!(Annotations::default().note(), None);
    }
}
