//! Samples and labels after files are renamed, swapped, copied, edited, deleted and restored.

use super::*;
use crate::testing::open_engine;
use assay_domain::LabelChange;
use assay_domain::entity::{Sample, SampleState};
use assay_protocol::{LabelRequest, SamplesAct, SamplesChange, SamplesQuery};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A folder of images, and a workspace that has it as a dataset.
struct World {
    folder: tempfile::TempDir,
    engine: Arc<Engine>,
    /// The picture number of each file, by name.
    files: BTreeMap<String, u32>,
    /// Pictures of deleted files.
    deleted: Vec<u32>,
    contents: u32,
    /// The contents and class of each label that a person set or confirmed.
    labelled: HashMap<SampleId, (String, ClassId)>,
}

fn png(content: u32) -> Vec<u8> {
    let [red, green, blue, _] = content.to_le_bytes();
    let pixel = assay_media::RgbImage::from_raw(1, 1, vec![red, green, blue]).expect("one pixel");
    assay_media::encode_png(&pixel).expect("a picture")
}

fn hash(content: u32) -> String {
    blake3::hash(&png(content)).to_hex().to_string()
}

impl World {
    fn new(count: u32) -> World {
        let folder = tempfile::tempdir().expect("a folder");
        let engine = open_engine(&folder.path().join(".assay"));
        std::fs::create_dir(folder.path().join("images")).expect("a folder");
        let mut world = World {
            folder,
            engine,
            files: BTreeMap::new(),
            deleted: Vec::new(),
            contents: 0,
            labelled: HashMap::new(),
        };
        for number in 0..count {
            let content = world.new_content();
            world.write(&format!("{number}.png"), content);
        }
        world
    }

    fn new_content(&mut self) -> u32 {
        self.contents += 1;
        self.contents
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("images").join(name)
    }

    fn write(&mut self, name: &str, content: u32) {
        std::fs::write(self.path(name), png(content)).expect("a file");
        self.files.insert(name.to_owned(), content);
    }

    /// The name of the n-th file, modulo their count.
    fn name(&self, number: usize) -> Option<String> {
        self.files.keys().nth(number.checked_rem(self.files.len())?).cloned()
    }

    fn free_name(&self) -> String {
        (0..).map(|number| format!("{number}.png")).find(|name| !self.files.contains_key(name)).expect("a free name")
    }

    fn rename(&mut self, from: &str, to: &str) {
        std::fs::rename(self.path(from), self.path(to)).expect("a rename");
        let content = self.files.remove(from).expect("it is there");
        self.files.insert(to.to_owned(), content);
    }

    fn dataset(&self) -> Option<DatasetId> {
        self.engine.datasets().expect("the datasets").first().map(|dataset| dataset.id)
    }

    fn samples(&self) -> Vec<Sample> {
        match self.dataset() {
            Some(dataset) => self.engine.store.read(|reader| reader.all_samples(dataset)).expect("the samples"),
            None => Vec::new(),
        }
    }

    fn sample(&self, number: usize) -> Option<Sample> {
        let samples = self.samples();
        samples.get(number.checked_rem(samples.len())?).cloned()
    }

    fn act(&self, samples: Vec<SampleId>, act: SamplesAct) {
        let change = SamplesChange { samples: Some(samples), filter: SamplesQuery::default(), act };
        let dataset = self.dataset().expect("a dataset");
        self.engine.change_samples(dataset, &change).expect("samples are changed");
    }

    fn label(&mut self, sample: &Sample, class: usize) {
        let class = ClassId(class as i64 % 3);
        let change = LabelChange::Set(Some(Label::one(class)));
        let request = LabelRequest { change, person: "ada".into(), proposed_by: None };
        self.engine.label(sample.id, request).expect("a label");
        self.labelled.insert(sample.id, (sample.hash.clone(), class));
    }

    /// Runs the import of a folder, beside `images` in the workspace's folder or `images` itself.
    fn run_import(&self, dataset: Option<DatasetId>, folder: &str, relocate: bool) -> Result<Done> {
        let work = JobKind::Import {
            dataset,
            name: "images".into(),
            source: self.folder.path().join(folder).display().to_string(),
            val: None,
            test: None,
            seed: None,
            labelling: Labelling::OneClass,
            relocate,
        };
        let queued = work.clone();
        let job = self.engine.store.write(move |tx| tx.queue_job(&queued)).expect("a job");
        self.engine.import(job, &work, &AtomicBool::new(false))
    }

    fn import(&mut self) -> Result<Done> {
        let done = self.run_import(None, "images", false);
        if let Some(dataset) = self.dataset() {
            let names = ["a", "b", "c"].map(str::to_owned);
            self.engine.add_classes(dataset, &names).expect("classes");
        }
        done
    }

    fn do_one(&mut self, operation: &Operation) {
        match *operation {
            Operation::Rename(number) => {
                if let Some(name) = self.name(number) {
                    let free = self.free_name();
                    self.rename(&name, &free);
                }
            }
            Operation::Swap(one, other) => {
                if let (Some(one), Some(other)) = (self.name(one), self.name(other))
                    && one != other
                {
                    self.rename(&one, "aside");
                    self.rename(&other, &one);
                    self.rename("aside", &other);
                }
            }
            Operation::Renumber => {
                // Rotate the names, with a new file at the end.
                let names: Vec<String> = self.files.keys().cloned().collect();
                let next = names.iter().skip(1).cloned().chain([self.free_name()]);
                let renamed: Vec<(&String, String)> = names.iter().zip(next).collect();
                for (from, to) in renamed.into_iter().rev() {
                    self.rename(from, &to);
                }
                if let Some(first) = names.first() {
                    let content = self.new_content();
                    self.write(first, content);
                }
            }
            Operation::Copy(number) => {
                if let Some(name) = self.name(number) {
                    let (content, free) = (self.files[&name], self.free_name());
                    self.write(&free, content);
                }
            }
            Operation::Edit(number) => {
                if let Some(name) = self.name(number) {
                    let content = self.new_content();
                    self.write(&name, content);
                }
            }
            Operation::Overwrite(one, other) => {
                if let (Some(one), Some(other)) = (self.name(one), self.name(other)) {
                    let content = self.files[&other];
                    self.write(&one, content);
                }
            }
            Operation::Delete(number) => {
                if let Some(name) = self.name(number) {
                    std::fs::remove_file(self.path(&name)).expect("it is deleted");
                    let content = self.files.remove(&name).expect("it is there");
                    self.deleted.push(content);
                }
            }
            Operation::BringBack(number) => {
                if let Some(place) = number.checked_rem(self.deleted.len()) {
                    let (content, free) = (self.deleted.swap_remove(place), self.free_name());
                    self.write(&free, content);
                }
            }
            Operation::Label(number, class) => {
                if let Some(sample) = self.sample(number).filter(|sample| sample.state().is_none()) {
                    self.label(&sample, class);
                }
            }
            Operation::Confirm(number) => {
                if let Some(sample) = self.sample(number).filter(|of| of.state() == Some(SampleState::Changed)) {
                    self.act(vec![sample.id], SamplesAct::Confirm("ada".into()));
                    self.labelled.get_mut(&sample.id).expect("only labelled samples wait").0 = sample.hash;
                }
            }
            Operation::Remove(number) => {
                if let Some(sample) = self.sample(number) {
                    self.act(vec![sample.id], SamplesAct::Remove);
                }
            }
            Operation::Restore(number) => {
                if let Some(sample) = self.sample(number) {
                    self.act(vec![sample.id], SamplesAct::Restore);
                }
            }
            Operation::Import => self.import_and_check(),
        }
    }

    fn import_and_check(&mut self) {
        let before = self.samples();
        let done = self.import();
        assert!(done.is_ok() || self.files.is_empty(), "{:?}", done.err());
        self.check(&before);
    }

    /// Checks the invariants after an import.
    fn check(&self, before: &[Sample]) {
        let after = self.samples();
        let found: BTreeMap<&str, String> =
            self.files.iter().map(|(name, content)| (name.as_str(), hash(*content))).collect();
        let present: BTreeMap<&str, String> = after
            .iter()
            .filter(|sample| sample.missing.is_none())
            .map(|sample| (sample.path.as_str(), sample.hash.clone()))
            .collect();
        assert_eq!(present, found, "each file is one sample");
        let count = after.iter().filter(|sample| sample.missing.is_none()).count();
        assert_eq!(count, found.len(), "and no sample is a file twice");
        let is_in_source = |hash: &str| found.values().any(|found| found == hash);
        let old = |id: SampleId| before.iter().find(|sample| sample.id == id);

        for (id, (on, class)) in &self.labelled {
            let sample = after.iter().find(|sample| sample.id == *id).expect("no labelled sample is lost");
            assert_eq!(sample.label, Some(Label::one(*class)), "no label is lost");
            let expected = (sample.hash != *on).then_some(on);
            assert_eq!(sample.changed_from.as_ref(), expected, "a label for other contents is marked: {sample:?}");
        }
        for sample in &after {
            let Some(old) = old(sample.id) else { continue };
            let was_for = self.labelled.get(&sample.id).map(|(on, _)| on);
            if sample.hash != old.hash && was_for != Some(&sample.hash) {
                let is_edit = sample.path == old.path && old.missing.is_none() && !is_in_source(&old.hash);
                assert!(is_edit, "contents change only in an edit in place: {old:?} became {sample:?}");
            }
            assert_eq!(sample.removed, old.removed, "only people remove and restore");
            if sample.missing.is_some() {
                let is_taken_for_new =
                    after.iter().any(|new| new.hash == sample.hash && !before.iter().any(|old| old.id == new.id));
                assert!(!is_taken_for_new, "a sample that is missing has no file left: {sample:?}");
            }
        }
        for old in before.iter().filter(|old| old.missing.is_none() && !is_in_source(&old.hash)) {
            let Some(now) = found.get(old.path.as_str()) else { continue };
            let is_known = before.iter().any(|other| other.hash == *now || other.changed_from.as_ref() == Some(now));
            let sample = after.iter().find(|sample| sample.id == old.id).expect("samples stay");
            let went_back =
                sample.changed_from.is_none() && self.labelled.get(&old.id).is_some_and(|(on, _)| *on == sample.hash);
            if !is_known && !went_back {
                assert_eq!((&sample.path, &sample.hash), (&old.path, now), "an edit in place keeps its sample");
            }
        }
        if let Some(dataset) = self.dataset() {
            let snapshot = self.engine.take_snapshot(dataset).expect("a snapshot");
            let entries = self.engine.store.snapshot_entries(&snapshot).expect("its entries");
            let fixed: Vec<SampleId> = entries.iter().map(|entry| entry.sample).collect();
            let counting: Vec<SampleId> =
                after.iter().filter(|sample| sample.state().is_none()).map(|sample| sample.id).collect();
            assert_eq!(fixed, counting, "only samples that count are learned from");
        }
    }
}

#[derive(Clone, Debug)]
enum Operation {
    Rename(usize),
    Swap(usize, usize),
    Renumber,
    Copy(usize),
    Edit(usize),
    Overwrite(usize, usize),
    Delete(usize),
    BringBack(usize),
    Label(usize, usize),
    Confirm(usize),
    Remove(usize),
    Restore(usize),
    Import,
}

fn operation() -> impl Strategy<Value = Operation> {
    let number = || 0..12_usize;
    prop_oneof![
        2 => number().prop_map(Operation::Rename),
        3 => (number(), number()).prop_map(|(one, other)| Operation::Swap(one, other)),
        1 => Just(Operation::Renumber),
        2 => number().prop_map(Operation::Copy),
        2 => number().prop_map(Operation::Edit),
        1 => (number(), number()).prop_map(|(one, other)| Operation::Overwrite(one, other)),
        2 => number().prop_map(Operation::Delete),
        2 => number().prop_map(Operation::BringBack),
        3 => (number(), number()).prop_map(|(sample, class)| Operation::Label(sample, class)),
        1 => number().prop_map(Operation::Confirm),
        1 => number().prop_map(Operation::Remove),
        1 => number().prop_map(Operation::Restore),
        4 => Just(Operation::Import),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn a_label_reaches_other_contents_only_through_an_edit_in_place_and_none_is_lost(
        operations in proptest::collection::vec(operation(), 4..24),
    ) {
        let mut world = World::new(4);
        world.import_and_check();
        for (class, sample) in world.samples().iter().enumerate() {
            world.label(sample, class);
        }
        for operation in &operations {
            world.do_one(operation);
        }
        world.import_and_check();
        world.engine.close();
    }
}

#[test]
fn a_renumbering_carries_each_label_with_its_picture() {
    let mut world = World::new(3);
    world.import_and_check();
    for (class, sample) in world.samples().iter().enumerate() {
        world.label(sample, class);
    }
    world.do_one(&Operation::Renumber);
    world.import_and_check();
    let samples = world.samples();
    let labels: BTreeMap<&str, Option<&Label>> =
        samples.iter().map(|sample| (sample.path.as_str(), sample.label.as_ref())).collect();
    let one = |class| Label::one(ClassId(class));
    let expected = [("0.png", None), ("1.png", Some(one(0))), ("2.png", Some(one(1))), ("3.png", Some(one(2)))];
    assert_eq!(labels, expected.iter().map(|(path, label)| (*path, label.as_ref())).collect());
}

#[test]
fn undoing_a_confirmation_opens_it_again() {
    let mut world = World::new(2);
    world.import_and_check();
    let sample = world.sample(0).expect("a sample");
    world.label(&sample, 1);
    world.do_one(&Operation::Edit(0));
    world.import_and_check();
    let state = |world: &World| world.sample(0).expect("a sample").state();
    assert_eq!(state(&world), Some(SampleState::Changed));
    world.do_one(&Operation::Confirm(0));
    assert_eq!(state(&world), None);
    let dataset = world.dataset().expect("a dataset");
    world.engine.undo(dataset, "ada").expect("an undo");
    assert_eq!(state(&world), Some(SampleState::Changed));
    world.engine.redo(dataset, "ada").expect("a redo");
    assert_eq!(state(&world), None);
}

#[test]
fn an_import_without_images_fails_and_leaves_no_dataset() {
    let mut world = World::new(0);
    std::fs::write(world.path("notes.txt"), "no image").expect("a file");
    let why = world.import().err().expect("there is nothing to import").to_string();
    assert!(why.contains("no image was found") && why.contains("notes.txt"), "{why}");
    assert_eq!(world.dataset(), None);
}

#[test]
fn a_source_that_was_moved_is_found_by_its_contents() {
    let mut world = World::new(3);
    world.import_and_check();
    for (class, sample) in world.samples().iter().enumerate() {
        world.label(sample, class);
    }
    let dataset = world.dataset().expect("a dataset");
    let place = world.folder.path().join("elsewhere");
    std::fs::rename(world.folder.path().join("images"), &place).expect("a rename");
    let other = tempfile::tempdir().expect("a folder");
    std::fs::write(other.path().join("x.png"), png(77)).expect("a file");
    let ended = |place: &Path| {
        let job = world.engine.relocate(dataset, &place.display().to_string()).expect("a job");
        loop {
            let job = world.engine.job(job.id).expect("the job");
            if job.status.has_ended() {
                break job;
            }
            std::thread::yield_now();
        }
    };
    let refused = ended(other.path());
    assert!(refused.status == RunStatus::Failed && refused.message.contains("by its contents"), "{refused:?}");
    let found = ended(&place);
    assert_eq!(found.status, RunStatus::Finished, "{}", found.message);
    assert!(world.samples().iter().all(|sample| sample.state().is_none() && sample.label.is_some()));
    assert_eq!(
        world.engine.dataset(dataset).expect("the dataset").source,
        place.canonicalize().unwrap().display().to_string()
    );
}

#[test]
fn an_image_is_shown_only_while_its_file_has_its_contents() {
    let mut world = World::new(3);
    world.import_and_check();
    let sample = world.samples()[0].id;
    assert!(world.engine.sample_image(sample).is_ok());
    world.do_one(&Operation::Swap(0, 1));
    for shown in [world.engine.sample_image(sample), world.engine.sample_thumbnail(sample, 64)] {
        let why = shown.expect_err("another picture lies there").to_string();
        assert!(why.contains("has changed since it was imported"), "{why}");
    }
    world.import_and_check();
    let image = world.engine.sample_thumbnail(sample, 64).expect("its picture is found again");
    assert_eq!(image, world.engine.sample_thumbnail(sample, 64).expect("from the cache"));
}

#[test]
fn equal_images_share_a_split_however_many_are_imported() {
    let world = World::new(0);
    for folder in ["a", "b"] {
        std::fs::create_dir(world.path(folder)).expect("a folder");
        for number in 0..600 {
            std::fs::write(world.path(&format!("{folder}/{number}.png")), png(number)).expect("a file");
        }
    }
    let mut world = world;
    world.import().expect("an import");
    let mut splits: HashMap<String, Vec<Split>> = HashMap::new();
    for sample in world.samples() {
        splits.entry(sample.hash).or_default().push(sample.split);
    }
    assert_eq!(splits.len(), 600);
    assert!(splits.values().all(|of| of.len() == 2 && of[0] == of[1]), "an image is in two splits");
}

#[test]
fn an_import_that_waits_finds_its_dataset_under_a_new_name() {
    let mut world = World::new(2);
    world.import_and_check();
    let dataset = world.dataset().expect("a dataset");
    world.engine.store.write(move |tx| tx.rename_dataset(dataset, "mine")).expect("a name");
    world.run_import(Some(dataset), "images", false).expect("an import");
    let names: Vec<String> = world.engine.datasets().expect("datasets").into_iter().map(|found| found.name).collect();
    assert_eq!(names, ["mine"]);
}

#[test]
fn a_file_that_is_half_written_strands_no_label() {
    let mut world = World::new(2);
    world.import_and_check();
    let sample = world.samples().remove(0);
    world.label(&sample, 1);
    let whole = png(99);
    std::fs::write(world.path("0.png"), &whole[..whole.len() / 2]).expect("a file");
    world.import().expect("an import");
    assert_eq!(world.sample(0).expect("a sample").missing, None, "it is there, and cannot be read yet");
    std::fs::write(world.path("0.png"), whole).expect("a file");
    world.import().expect("an import");
    assert_eq!(world.samples().len(), 2);
    let edited = world.samples().remove(0);
    assert_eq!((edited.state(), edited.label), (Some(SampleState::Changed), Some(Label::one(ClassId(1)))));
}

#[test]
fn another_folder_with_an_image_in_common_hands_no_sample_to_other_pictures() {
    let mut world = World::new(4);
    world.import_and_check();
    let place = world.folder.path().join("elsewhere");
    std::fs::create_dir(&place).expect("a folder");
    for (name, content) in [("0.png", 1), ("1.png", 71), ("2.png", 72), ("3.png", 73)] {
        std::fs::write(place.join(name), png(content)).expect("a file");
    }
    let before = world.samples();
    world.run_import(world.dataset(), "elsewhere", true).expect("an import");
    let after = world.samples();
    for old in &before {
        let now = after.iter().find(|sample| sample.id == old.id).expect("no sample is lost");
        assert_eq!(now.hash, old.hash);
    }
    assert_eq!(after.len(), 7);
}
