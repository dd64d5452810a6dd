//! Decides by the whole tree which folders are splits, classes or mere containers.
//!
//! An image's class is the nearest folder above it that is neither a split nor a container (`images`, `data`); its
//! split is the topmost split folder. A level is one of splits only if all its folders have split names, or if those
//! that do have subfolders and the others do not; a second such level is one of classes.

use crate::names::name_of;
use crate::splits;
use assay_domain::Split;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Folders that never name a class.
const CONTAINERS: [&str; 12] =
    ["images", "imgs", "img", "jpegimages", "jpegs", "jpg", "jpeg", "png", "pngs", "imagesets", "rgb", "frames"];
/// Containers, unless they lie beside class folders.
const LOOSE_CONTAINERS: [&str; 18] = [
    "image",
    "data",
    "dataset",
    "datasets",
    "photo",
    "photos",
    "picture",
    "pictures",
    "pics",
    "files",
    "raw",
    "input",
    "inputs",
    "samples",
    "all",
    "original",
    "originals",
    "unlabeled",
];
/// Folders of masks, if beside images.
const MASKS: [&str; 22] = [
    "mask",
    "masks",
    "label",
    "labels",
    "annotation",
    "annotations",
    "gt",
    "groundtruth",
    "ground_truth",
    "gtfine",
    "gtcoarse",
    "segmentation",
    "segmentations",
    "seg",
    "trimaps",
    "labelstr",
    "labelids",
    "instances",
    "semantic",
    "panoptic",
    "target",
    "targets",
];
/// Folders of masks anywhere (Pascal VOC).
const VOC_MASKS: [&str; 3] = ["segmentationclass", "segmentationobject", "segmentationclassaug"];

/// Role of a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Plain,
    Container,
    Split(Split),
}

#[derive(Debug)]
struct Folder {
    name: String,
    parent: Option<usize>,
    children: Vec<usize>,
    role: Role,
    /// Images in this subtree.
    images: usize,
    /// Whether a plain folder below has images.
    has_plain_below: bool,
}

/// The folders of a tree with their roles.
pub(crate) struct Layout {
    folders: Vec<Folder>,
    by_path: HashMap<String, usize>,
    notes: Vec<String>,
    /// Folders named like splits that are none, each with a folder beside it.
    no_splits: Vec<(usize, usize)>,
}

/// An image's place by its folders.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Place {
    pub(crate) class: Option<String>,
    pub(crate) split: Option<Split>,
}

impl Layout {
    /// Assigns roles to `folders`, which are all folders of the tree; `images` are file paths.
    pub(crate) fn new<'a>(folders: &[String], images: impl Iterator<Item = &'a str>) -> Layout {
        let root = Folder {
            name: String::new(),
            parent: None,
            children: Vec::new(),
            role: Role::Container,
            images: 0,
            has_plain_below: false,
        };
        let by_path = HashMap::from([(String::new(), 0)]);
        let mut layout = Layout { folders: vec![root], by_path, notes: Vec::new(), no_splits: Vec::new() };
        for folder in folders {
            layout.folder(folder);
        }
        for image in images {
            let mut at = Some(layout.folder(above(image)));
            while let Some(index) = at {
                layout.folders[index].images += 1;
                at = layout.folders[index].parent;
            }
        }
        layout.assign(0, Level::Above);
        // Children have higher indices than their parents.
        for index in (1..layout.folders.len()).rev() {
            let folder = &layout.folders[index];
            let is_plain = folder.images > 0 && (folder.role == Role::Plain || folder.has_plain_below);
            if let Some(parent) = folder.parent.filter(|_| is_plain) {
                layout.folders[parent].has_plain_below = true;
            }
        }
        layout.tell_no_splits();
        layout
    }

    /// Tells which folders named like splits are classes, or nothing.
    fn tell_no_splits(&mut self) {
        let mut by_other: BTreeMap<usize, (Vec<&str>, Vec<&str>)> = BTreeMap::new();
        for (folder, beside) in &self.no_splits {
            let own = &self.folders[*folder];
            let is_class = own.images > self.images_below(*folder) || !own.has_plain_below;
            let (classes, others) = by_other.entry(*beside).or_default();
            if is_class {
                classes.push(&own.name)
            } else {
                others.push(&own.name)
            };
        }
        let mut notes = Vec::new();
        for (beside, (classes, others)) in by_other {
            let beside = &self.folders[beside].name;
            for (names, what) in [(classes, "a class"), (others, "no split")] {
                if !names.is_empty() {
                    notes.push(format!("{} is taken for {what}, since it lies beside {beside}", names.join(", ")));
                }
            }
        }
        self.notes.extend(notes);
    }

    fn folder(&mut self, path: &str) -> usize {
        if let Some(index) = self.by_path.get(path) {
            return *index;
        }
        let parent = self.folder(above(path));
        let index = self.folders.len();
        self.folders.push(Folder {
            name: name_of(path).to_owned(),
            parent: Some(parent),
            children: Vec::new(),
            role: Role::Plain,
            images: 0,
            has_plain_below: false,
        });
        self.folders[parent].children.push(index);
        self.by_path.insert(path.to_owned(), index);
        index
    }

    /// Assigns roles to a folder's children.
    fn assign(&mut self, folder: usize, level: Level) {
        let children = self.folders[folder].children.clone();
        let with_images: Vec<usize> =
            children.iter().copied().filter(|child| self.folders[*child].images > 0).collect();
        let splits = match level {
            Level::Above => self.splits_among(&with_images),
            Level::Below | Level::Beside => HashMap::new(),
        };
        let has_plain = with_images.iter().any(|child| {
            let name = &self.folders[*child].name;
            !splits.contains_key(child) && !is_container(name) && !is_loose_container(name)
        });
        let mut with_classes = BTreeSet::new();
        for child in children {
            let name = self.folders[child].name.clone();
            let role = match splits.get(&child) {
                Some(split) => Role::Split(*split),
                None if level == Level::Beside => Role::Container,
                None if is_container(&name) || (is_loose_container(&name) && !has_plain) => Role::Container,
                // A sibling of splits that has their classes is one of images whose split is drawn.
                None if self.shares_classes(child, splits.keys()) => {
                    self.notes.push(format!("{name} lies beside splits: the splits of its images are drawn"));
                    with_classes.insert(child);
                    Role::Container
                }
                // Another one that has subfolders is treated as a split.
                None if !splits.is_empty() && self.images_below(child) > 0 => {
                    self.notes.push(format!("{name} lies beside splits: its images have no class"));
                    Role::Container
                }
                None => Role::Plain,
            };
            self.folders[child].role = role;
        }
        for child in with_images {
            let below = match self.folders[child].role {
                Role::Split(_) => Level::Below,
                Role::Container if with_classes.contains(&child) => Level::Below,
                Role::Container if !splits.is_empty() => Level::Beside,
                _ => level,
            };
            self.assign(child, below);
        }
        self.unfold_doubled(&splits);
    }

    /// Whether a folder has a subfolder of the same name as one of those folders, each with images.
    fn shares_classes<'a>(&self, folder: usize, others: impl Iterator<Item = &'a usize>) -> bool {
        let own = self.classes_in(folder);
        let mut others = others.map(|other| self.classes_in(*other));
        !own.is_empty() && others.any(|other| other.intersection(&own).next().is_some())
    }

    /// The names of subfolders with images that may be classes.
    fn classes_in(&self, folder: usize) -> BTreeSet<&str> {
        let below = self.folders[folder].children.iter().map(|child| &self.folders[*child]);
        let with_images = below.filter(|folder| folder.images > 0).map(|folder| folder.name.as_str());
        let is_other = |name: &str| is_container(name) || is_loose_container(name) || splits::split_of(name).is_some();
        with_images.filter(|name| !is_other(name)).collect()
    }

    /// Number of images in subfolders.
    fn images_below(&self, folder: usize) -> usize {
        self.folders[folder].children.iter().map(|child| self.folders[*child].images).sum()
    }

    /// The splits of a level; empty for a level of classes.
    fn splits_among(&mut self, level: &[usize]) -> HashMap<usize, Split> {
        let named: Vec<usize> =
            level.iter().copied().filter(|child| splits::split_of(&self.folders[*child].name).is_some()).collect();
        let meanings = splits::meanings(named.iter().map(|child| self.folders[*child].name.as_str()));
        let splits: HashMap<usize, Split> =
            named.iter().filter_map(|child| Some((*child, *meanings.get(self.folders[*child].name.trim())?))).collect();
        let others: Vec<usize> = level
            .iter()
            .copied()
            .filter(|child| {
                let name = &self.folders[*child].name;
                !splits.contains_key(child) && !is_container(name) && !is_loose_container(name)
            })
            .collect();
        if splits.is_empty() || others.is_empty() {
            return splits;
        }
        let folders_in = |child: &usize| {
            self.folders[*child].children.iter().filter(|below| self.folders[**below].images > 0).count()
        };
        let kinds: BTreeSet<Split> = splits.values().copied().collect();
        let shares = |other: &usize| self.shares_classes(*other, splits.keys());
        // One kind of split lies beside classes, unless a folder beside it has the same classes.
        let are_splits = kinds.len() > 1
            || (others.iter().any(shares) && splits.keys().any(|split| self.classes_in(*split).len() > 1));
        if are_splits
            && splits.keys().all(|split| folders_in(split) > 0)
            && others.iter().all(|other| folders_in(other) < 2 || shares(other))
        {
            return splits;
        }
        self.no_splits.extend(named.iter().map(|child| (*child, others[0])));
        HashMap::new()
    }

    /// Archives unpacked into a folder of their own name: `train/train` is no class.
    fn unfold_doubled(&mut self, splits: &HashMap<usize, Split>) {
        let only_child = |index: &usize| {
            let with_images = self.folders[*index].children.iter().filter(|child| self.folders[**child].images > 0);
            let with_images: Vec<usize> = with_images.copied().collect();
            match with_images.as_slice() {
                [only] if self.folders[*only].name.eq_ignore_ascii_case(&self.folders[*index].name) => Some(*only),
                _ => None,
            }
        };
        let doubled: Option<Vec<usize>> = splits.keys().map(only_child).collect();
        for child in doubled.into_iter().flatten() {
            self.folders[child].role = Role::Container;
        }
    }

    /// An image's class and split.
    pub(crate) fn place(&self, image: &str) -> Place {
        let Some(direct) = self.by_path.get(above(image)).copied() else { return Place::default() };
        let mut place = Place::default();
        let mut nearest = None;
        let mut at = Some(direct);
        while let Some(index) = at {
            let folder = &self.folders[index];
            match folder.role {
                Role::Split(split) => place.split = Some(split),
                Role::Plain if nearest.is_none() => nearest = Some(index),
                Role::Plain | Role::Container => {}
            }
            at = folder.parent;
        }
        if let Some(index) = nearest {
            let folder = &self.folders[index];
            // A folder of all images, or one with class folders, is no class for deeper images.
            let is_wrapper = index != direct && (folder.images == self.folders[0].images || folder.has_plain_below);
            place.class = (!is_wrapper).then(|| folder.name.clone());
        }
        place
    }

    /// Class folders without images, beside folders with images: name and path.
    pub(crate) fn without_images(&self, classes: &BTreeSet<String>) -> Vec<(String, String)> {
        let paths: BTreeMap<usize, &String> = self.by_path.iter().map(|(path, index)| (*index, path)).collect();
        let is_class = |index: &usize| {
            let folder = &self.folders[*index];
            folder.role == Role::Plain && folder.images > 0 && classes.contains(&folder.name)
        };
        let mut empty = BTreeMap::new();
        for (index, folder) in self.folders.iter().enumerate().filter(|(_, folder)| folder.images == 0) {
            let Some(parent) = folder.parent.filter(|_| folder.role == Role::Plain) else { continue };
            let lies_beside_classes = self.folders[parent].children.iter().any(is_class);
            let is_other =
                MASKS.contains(&folder.name.to_lowercase().as_str()) || splits::split_of(&folder.name).is_some();
            if lies_beside_classes && !is_other && !classes.contains(&folder.name) {
                empty.entry(folder.name.clone()).or_insert_with(|| paths[&index].clone());
            }
        }
        empty.into_iter().collect()
    }

    /// Notes on ambiguous readings.
    pub(crate) fn notes(&self) -> Vec<String> {
        let with_images = || self.folders.iter().filter(|folder| folder.images > 0);
        let splits: BTreeSet<&str> = with_images()
            .filter(|folder| matches!(folder.role, Role::Split(_)))
            .map(|folder| folder.name.as_str())
            .collect();
        let mut notes = Vec::new();
        if !splits.is_empty() {
            let names = splits.into_iter().collect::<Vec<_>>().join(", ");
            notes.push(format!("the folders {names} are splits"));
        }
        notes.extend(self.notes.iter().cloned());
        notes
    }
}

/// Position of a folder relative to the topmost splits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Above,
    Below,
    Beside,
}

/// Whether any folder is named like masks.
pub(crate) fn may_have_masks(folders: &[String]) -> bool {
    folders.iter().any(|folder| is_named_as_masks(name_of(folder)))
}

/// Folders of masks: image names match a sibling folder's, or named as in Pascal VOC.
pub(crate) fn folders_of_masks<'a>(images: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    let mut stems: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for image in images {
        stems.entry(above(image)).or_default().insert(crate::names::stem_of(name_of(image)));
    }
    let in_masks = |folder: &str| folder.split('/').find(|part| is_named_as_masks(part)).map(str::to_lowercase);
    let others: Vec<&&str> = stems.keys().filter(|folder| in_masks(folder).is_none()).collect();
    let known: BTreeSet<&str> = others.iter().flat_map(|folder| stems[**folder].iter().copied()).collect();
    // Beside class folders, `mask` is a class.
    let are_containers = !others.is_empty()
        && others.iter().all(|folder| {
            folder.is_empty()
                || folder.split('/').any(|part| is_container(part) || is_loose_container(part))
                || folder.split('/').all(|part| splits::split_of(part).is_some())
        });
    let is_of_masks = |(folder, own): &(&&str, &BTreeSet<&str>)| {
        let Some(name) = in_masks(folder) else { return false };
        let stem = |stem: &&&str| {
            known.contains(**stem)
                || SUFFIXES.iter().any(|end| stem.strip_suffix(end).is_some_and(|s| known.contains(s)))
        };
        VOC_MASKS.contains(&name.as_str()) || (are_containers && own.iter().all(|own| stem(&own)))
    };
    stems.iter().filter(is_of_masks).map(|(folder, _)| (*folder).to_owned()).collect()
}

/// Suffixes of masks beside their image.
const SUFFIXES: [&str; 8] = ["_mask", "-mask", "_masks", "_seg", "_label", "_labels", "_gt", "_segmentation"];

fn is_named_as_masks(name: &str) -> bool {
    let lower = name.to_lowercase();
    MASKS.contains(&lower.as_str()) || VOC_MASKS.contains(&lower.as_str())
}

fn is_container(name: &str) -> bool {
    CONTAINERS.contains(&name.to_lowercase().as_str())
}

/// Also with a number: `image_2` of KITTI, `images_001` of ChestX-ray14.
fn is_loose_container(name: &str) -> bool {
    let lower = name.to_lowercase();
    let word = lower.trim_end_matches(|sign: char| sign.is_ascii_digit());
    let word = word.strip_suffix(['_', '-', ' ']).filter(|_| word.len() < lower.len()).unwrap_or(word);
    LOOSE_CONTAINERS.contains(&word) || (word.len() < lower.len() && CONTAINERS.contains(&word))
}

/// The parent folder.
pub(crate) fn above(path: &str) -> &str {
    path.rfind('/').map_or("", |slash| &path[..slash])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Class and split of each path; `-` if none.
    fn places(paths: &[&str]) -> Vec<String> {
        let layout = Layout::new(&[], paths.iter().copied());
        let place = |path: &&str| {
            let Place { class, split } = layout.place(path);
            format!("{} {}", class.as_deref().unwrap_or("-"), split.map_or("-", Split::as_str))
        };
        paths.iter().map(place).collect()
    }

    #[test]
    fn the_nearest_folder_that_is_neither_split_nor_container_is_the_class() {
        assert_eq!(
            places(&["train/n01/images/a.jpg", "train/n02/images/b.jpg", "val/images/c.jpg"]),
            ["n01 train", "n02 train", "- val"]
        );
        assert_eq!(
            places(&["dog/train/a.jpg", "dog/test/b.jpg", "cat/train/c.jpg", "cat/test/d.jpg"]),
            ["dog train", "dog test", "cat train", "cat test"]
        );
        assert_eq!(places(&["data/train/cat/a.jpg", "data/val/dog/b.jpg"]), ["cat train", "dog val"]);
        assert_eq!(places(&["cat/imgs/a.jpg", "dog/data/b.jpg", "c.jpg"]), ["cat -", "dog -", "- -"]);
        assert_eq!(places(&["cat/persian/a.jpg", "cat/b.jpg"]), ["persian -", "cat -"]);
        assert_eq!(places(&["images/train/a.jpg", "images/val/b.jpg"]), ["- train", "- val"]);
        assert_eq!(
            places(&["ILSVRC/Data/CLS-LOC/train/n01/a.jpg", "ILSVRC/Data/CLS-LOC/val/b.jpg"]),
            ["n01 train", "- val"]
        );
    }

    #[test]
    fn a_split_word_is_a_split_once_and_at_the_top() {
        assert_eq!(
            places(&["train/bus/a.jpg", "train/train/b.jpg", "test/bus/c.jpg", "test/train/d.jpg"]),
            ["bus train", "train train", "bus test", "train test"]
        );
        assert_eq!(
            places(&["bus/train/a.jpg", "bus/test/b.jpg", "train/train/c.jpg", "train/test/d.jpg"]),
            ["bus train", "bus test", "train train", "train test"]
        );
        assert_eq!(places(&["train/train/a.jpg", "test/test/b.jpg"]), ["- train", "- test"]);
        assert_eq!(
            places(&["seg_train/seg_train/sea/a.jpg", "seg_test/seg_test/sea/b.jpg", "seg_pred/seg_pred/c.jpg"]),
            ["sea train", "sea test", "- -"]
        );
    }

    #[test]
    fn a_split_word_beside_classes_is_a_class() {
        assert_eq!(places(&["train/a.jpg", "bus/b.jpg", "car/c.jpg"]), ["train -", "bus -", "car -"]);
        assert_eq!(places(&["data/test/a.jpg", "data/rest/b.jpg"]), ["test -", "rest -"]);
        let layout = Layout::new(&[], ["train/a.jpg", "bus/b.jpg"].into_iter());
        assert!(layout.notes()[0].contains("train is taken for a class"), "{:?}", layout.notes());
        // Splits with class folders are splits, whatever lies beside them.
        assert_eq!(places(&["train/cat/a.jpg", "test/dog/b.jpg", "fox/c.png"]), ["cat train", "dog test", "fox -"]);
    }

    #[test]
    fn one_split_beside_a_folder_of_the_same_classes_is_a_split() {
        let paths = ["train/cat/a.jpg", "train/dog/b.jpg", "extra/cat/c.jpg"];
        assert_eq!(places(&paths), ["cat train", "dog train", "cat -"]);
        let notes = Layout::new(&[], paths.into_iter()).notes();
        assert!(notes.contains(&"the folders train are splits".to_owned()), "{notes:?}");
        assert!(notes.iter().all(|note| !note.contains("is taken for")), "{notes:?}");
        // Other classes: the split is lost, and a note says so.
        let paths = ["train/cat/a.jpg", "train/dog/b.jpg", "extra/fox/c.jpg"];
        assert_eq!(places(&paths), ["cat -", "dog -", "fox -"]);
        let notes = Layout::new(&[], paths.into_iter()).notes();
        assert_eq!(notes, ["train is taken for no split, since it lies beside extra"]);
        // Two splits and more of the same classes.
        let paths = ["train/cat/a.jpg", "test/cat/b.jpg", "extra/cat/c.jpg", "other/sub/d.jpg"];
        assert_eq!(places(&paths), ["cat train", "cat test", "cat -", "- -"]);
    }

    #[test]
    fn a_folder_of_everything_is_no_class() {
        assert_eq!(places(&["pets/train/a.jpg", "pets/test/b.jpg"]), ["- train", "- test"]);
        assert_eq!(places(&["pets/images/a.jpg", "pets/images/b.jpg"]), ["- -", "- -"]);
        assert_eq!(places(&["pets/train/cat/a.jpg", "pets/test/cat/b.jpg"]), ["cat train", "cat test"]);
        assert_eq!(places(&["cat/a.jpg"]), ["cat -"]);
        assert_eq!(places(&["images_001/a.jpg", "images_002/b.jpg"]), ["- -", "- -"]);
        assert_eq!(places(&["image/a.jpg", "text/b.jpg"]), ["image -", "text -"]);
    }

    #[test]
    fn a_class_folder_without_images_is_known() {
        let folders = ["cat", "dog", "empty", "labels", "test"].map(str::to_owned);
        let layout = Layout::new(&folders, ["cat/a.jpg", "dog/b.jpg"].into_iter());
        let classes = ["cat", "dog"].map(str::to_owned).into();
        assert_eq!(layout.without_images(&classes), [("empty".to_owned(), "empty".to_owned())]);
        let folders = ["train/cat", "train/dog", "val/cat", "val/dog"].map(str::to_owned);
        let layout = Layout::new(&folders, ["train/cat/a.jpg", "train/dog/b.jpg", "val/cat/c.jpg"].into_iter());
        assert_eq!(layout.without_images(&["cat", "dog"].map(str::to_owned).into()), []);
    }

    #[test]
    fn masks_lie_beside_the_images_that_they_are_of() {
        let masks = |paths: &[&str]| folders_of_masks(paths.iter().copied()).into_iter().collect::<Vec<_>>();
        assert_eq!(masks(&["JPEGImages/a.jpg", "SegmentationClass/a.png"]), ["SegmentationClass"]);
        assert_eq!(masks(&["images/a.jpg", "images/b.jpg", "masks/a_mask.png"]), ["masks"]);
        assert_eq!(masks(&["train/images/a.jpg", "train/labels/a.png"]), ["train/labels"]);
        assert!(masks(&["mask/1.jpg", "no_mask/1.jpg"]).is_empty());
        assert!(masks(&["images/a.jpg", "masks/c.png"]).is_empty());
    }
}
