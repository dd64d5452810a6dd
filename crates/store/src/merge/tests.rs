//! Merging two copies of a dataset that were both changed.

use super::*;
use crate::{FileFacts, Followed, NewSample, SplitBy};
use assay_domain::entity::{Author, Dataset, Sample, SampleState};
use assay_domain::matching::Match;
use assay_domain::split::Fractions;
use assay_domain::{Label, LabelChange, Split, Timestamp};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

const DATASET: DatasetId = DatasetId(1);
const FIRST: SampleId = SampleId(1);
const SECOND: SampleId = SampleId(2);
const THIRD: SampleId = SampleId(3);
const CAT: ClassId = ClassId(0);
const DOG: ClassId = ClassId(1);

/// A workspace. Each write of any workspace has a later time than the ones before.
fn open(root: &Path) -> Store {
    static TIME: AtomicI64 = AtomicI64::new(1);
    let clock: crate::Clock = Arc::new(|| Timestamp(TIME.fetch_add(1, Ordering::Relaxed)));
    Store::open(root, &Holder::default(), clock, |_| ()).unwrap()
}

/// A file; a hexadecimal digit stands for its contents.
fn file(sample: SampleId, contents: char) -> FileFacts {
    let (path, hash) = (format!("{sample}.png"), contents.to_string().repeat(64));
    FileFacts { path, hash, bytes: 1, modified_ms: 1, stamp: 1, width: 8, height: 8 }
}

fn hash(contents: char) -> Option<String> {
    Some(contents.to_string().repeat(64))
}

fn ann() -> Author {
    Author::Person("ann".into())
}

fn label(store: &Store, sample: SampleId, class: ClassId) {
    let change = LabelChange::Set(Some(Label::one(class)));
    store.write(move |tx| tx.change_label(sample, &change, &ann())).unwrap();
}

fn confirm(store: &Store, sample: SampleId) {
    assert!(store.write(move |tx| tx.confirm_label(sample, &ann())).unwrap().is_some());
}

/// The file of a sample is edited in place, and the source looked at again.
fn edit_image(store: &Store, sample: SampleId, contents: char) {
    store.write(move |tx| tx.place_sample(sample, &file(sample, contents), Match::Edited)).unwrap();
}

fn sample(store: &Store, sample: SampleId) -> Sample {
    store.read(|reader| reader.sample(sample)).unwrap()
}

fn dataset(store: &Store) -> Dataset {
    store.read(|reader| reader.dataset(DATASET)).unwrap()
}

/// The class and `changed_from` of a sample.
fn label_state(store: &Store, id: SampleId) -> (Option<ClassId>, Option<String>) {
    let sample = sample(store, id);
    (sample.label.as_ref().and_then(Label::only), sample.changed_from)
}

/// A workspace with a dataset, and a copy of it.
struct Copies {
    here: Store,
    folder: tempfile::TempDir,
}

impl Copies {
    /// Three samples with this label from the source; the contents of the first are `a`.
    fn new(label: Option<ClassId>) -> Copies {
        let folder = tempfile::tempdir().unwrap();
        let here = open(&folder.path().join("here"));
        let new = [(FIRST, 'a'), (SECOND, 'b'), (THIRD, 'c')].map(|(sample, contents)| NewSample {
            file: file(sample, contents),
            split: Split::Train,
            split_by: SplitBy::Draw,
            label: label.map(Label::one),
        });
        let made = here.write(move |tx| {
            let dataset = tx.create_dataset("images", ("images", None), 0, Fractions::default())?;
            tx.ensure_classes(dataset, &["cat", "dog"].map(str::to_owned))?;
            Ok((dataset, tx.put_samples(dataset, &new)?))
        });
        assert_eq!(made.unwrap(), (DATASET, vec![FIRST, SECOND, THIRD]));
        Copies { here, folder }
    }

    /// Makes the copy.
    fn copy(&self) {
        self.here.copy_to(&self.folder.path().join("there")).unwrap();
    }

    fn there(&self) -> Store {
        open(&self.folder.path().join("there"))
    }

    fn merge_into(&self, store: &Store) -> MergedDataset {
        let other = store.attach(&self.folder.path().join("there"), &Holder::default()).unwrap();
        let merged = store.write(|tx| tx.merge_dataset(DATASET, "images")).unwrap();
        drop(other);
        merged
    }

    fn merge(&self) -> EditsTaken {
        self.merge_into(&self.here).edits
    }
}

#[test]
fn a_label_for_contents_that_were_edited_since_must_be_confirmed() {
    let copies = Copies::new(None);
    copies.copy();
    let there = copies.there();
    label(&there, FIRST, CAT);
    edit_image(&there, FIRST, 'e');
    drop(there);
    // Without a label nothing has to be confirmed here.
    edit_image(&copies.here, FIRST, 'e');
    assert_eq!(label_state(&copies.here, FIRST), (None, None));

    assert_eq!(copies.merge(), EditsTaken { edits: 1, ..EditsTaken::default() });
    assert_eq!(label_state(&copies.here, FIRST), (Some(CAT), hash('a')));
    assert_eq!(sample(&copies.here, FIRST).state(), Some(SampleState::Changed));

    confirm(&copies.here, FIRST);
    assert_eq!(copies.merge(), EditsTaken::default());
    assert_eq!(label_state(&copies.here, FIRST), (Some(CAT), None), "what is confirmed here stays so");
}

#[test]
fn a_label_for_contents_that_were_edited_only_here_must_be_confirmed() {
    let copies = Copies::new(None);
    label(&copies.here, FIRST, CAT);
    copies.copy();
    let there = copies.there();
    label(&there, FIRST, DOG);
    drop(there);
    edit_image(&copies.here, FIRST, 'e');
    assert_eq!(copies.merge().edits, 1);
    assert_eq!(label_state(&copies.here, FIRST), (Some(DOG), hash('a')));
}

#[test]
fn a_label_set_there_before_the_edit_does_not_confirm_the_edited_image_here() {
    let copies = Copies::new(None);
    label(&copies.here, FIRST, CAT);
    copies.copy();
    let there = copies.there();
    label(&there, FIRST, DOG);
    edit_image(&there, FIRST, 'e');
    drop(there);
    edit_image(&copies.here, FIRST, 'e');
    assert_eq!(copies.merge().edits, 1);
    assert_eq!(label_state(&copies.here, FIRST), (Some(DOG), hash('a')));
}

#[test]
fn a_confirmation_made_there_counts_here_and_can_be_undone() {
    let copies = Copies::new(None);
    label(&copies.here, FIRST, CAT);
    copies.copy();
    let there = copies.there();
    edit_image(&there, FIRST, 'e');
    confirm(&there, FIRST);
    drop(there);
    edit_image(&copies.here, FIRST, 'e');
    assert_eq!(label_state(&copies.here, FIRST), (Some(CAT), hash('a')));

    assert_eq!(copies.merge().edits, 1);
    assert_eq!(label_state(&copies.here, FIRST), (Some(CAT), None));
    copies.here.write(|tx| tx.undo_label(DATASET, "ann")).unwrap();
    assert_eq!(label_state(&copies.here, FIRST), (Some(CAT), hash('a')));
    copies.here.write(|tx| tx.redo_label(DATASET, "ann")).unwrap();
    assert_eq!(label_state(&copies.here, FIRST), (Some(CAT), None));
}

#[test]
fn in_a_new_workspace_undoing_a_confirmation_opens_it_again() {
    let copies = Copies::new(None);
    label(&copies.here, FIRST, CAT);
    edit_image(&copies.here, FIRST, 'e');
    confirm(&copies.here, FIRST);
    copies.copy();
    let new = open(&copies.folder.path().join("new"));
    assert!(copies.merge_into(&new).is_new);
    assert_eq!(label_state(&new, FIRST), (Some(CAT), None));
    new.write(|tx| tx.undo_label(DATASET, "ann")).unwrap();
    assert_eq!(label_state(&new, FIRST), (Some(CAT), hash('a')));
}

#[test]
fn a_label_undone_there_does_not_count_as_a_persons_here() {
    let copies = Copies::new(Some(CAT));
    copies.copy();
    let there = copies.there();
    label(&there, FIRST, DOG);
    there.write(|tx| tx.undo_label(DATASET, "ann")).unwrap();
    drop(there);
    assert_eq!(copies.merge().edits, 2);
    let dog = Some(Label::one(DOG));
    assert_eq!(copies.here.write(move |tx| tx.follow_label(DATASET, FIRST, dog)).unwrap(), Followed::Taken);
}

#[test]
fn removals_are_taken_over_unless_a_person_labelled_the_sample_here_later() {
    let copies = Copies::new(Some(CAT));
    copies.copy();
    let there = copies.there();
    there.write(|tx| tx.remove_samples(DATASET, &[FIRST, SECOND])).unwrap();
    // Labels that come with a removal do not keep the sample.
    label(&there, FIRST, DOG);
    let removed = sample(&there, FIRST).removed;
    drop(there);
    label(&copies.here, SECOND, DOG);

    let taken = copies.merge();
    assert_eq!(taken, EditsTaken { edits: 1, removed: 1, kept: 1, ..EditsTaken::default() });
    assert_eq!(sample(&copies.here, FIRST).removed, removed, "with the time of the removal");
    let states = [FIRST, SECOND, THIRD].map(|id| sample(&copies.here, id).state());
    assert_eq!(states, [Some(SampleState::Removed), None, None]);
    let counted = |class: ClassId| -> u64 {
        dataset(&copies.here).counts.iter().filter(|count| count.class == class).map(|count| count.samples).sum()
    };
    assert_eq!((counted(CAT), counted(DOG)), (1, 1), "a removed sample is in no class");
    copies.here.write(|tx| tx.restore_samples(DATASET, &[FIRST])).unwrap();
    assert_eq!((counted(CAT), counted(DOG)), (1, 2));
}

#[test]
fn splits_chosen_by_a_person_are_taken_over_unless_one_was_chosen_here() {
    let copies = Copies::new(Some(CAT));
    copies.copy();
    let there = copies.there();
    there.write(|tx| tx.set_split(DATASET, &[FIRST, SECOND], Split::Test)).unwrap();
    there.write(|tx| tx.follow_split(THIRD, Split::Test)).unwrap();
    drop(there);
    copies.here.write(|tx| tx.set_split(DATASET, &[SECOND], Split::Val)).unwrap();

    let expected = EditsTaken { splits: 1, differing_splits: 1, ..EditsTaken::default() };
    assert_eq!(copies.merge(), expected);
    let splits = || [FIRST, SECOND, THIRD].map(|id| sample(&copies.here, id).split);
    assert_eq!(splits(), [Split::Test, Split::Val, Split::Train]);
    let counts = dataset(&copies.here).counts;
    assert!(counts.iter().all(|count| count.samples == 1) && counts.len() == 3, "{counts:?}");
    // It is a person's here too, so that the source does not overrule it.
    copies.here.write(|tx| tx.follow_split(FIRST, Split::Train)).unwrap();
    assert_eq!(splits()[0], Split::Test);
    assert_eq!(copies.merge(), EditsTaken { splits: 0, ..expected }, "merging twice changes nothing");
}

/// A column that is added to a table must be taken over as well, or be named here.
#[test]
fn every_column_of_what_is_taken_over_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let columns = |table: &'static str| {
        let read = move |db: &rusqlite::Connection| {
            let mut statement = db.prepare("SELECT name FROM pragma_table_info(?1)")?;
            Ok(statement.query_map([table], |row| row.get(0))?.collect::<rusqlite::Result<BTreeSet<String>>>()?)
        };
        store.alone(read).unwrap()
    };
    let given =
        |own: &str, taken: &str| format!("{own}, {taken}").split(", ").map(str::to_owned).collect::<BTreeSet<String>>();
    for (table, taken, _) in OF_RUN {
        let own = if table == "run_log" { "run, number" } else { "run" };
        assert_eq!(columns(table), given(own, taken), "{table}");
    }
    let others = [
        ("series", "id, run", SERIES),
        ("chunks", "series", CHUNKS),
        ("samples", "id, dataset, label, missing", SAMPLES),
        ("annotations", "id, dataset, sample, undoes, undone_by", ANNOTATIONS),
        ("predictions", "evaluation, sample", PREDICTIONS),
        ("embeddings", "evaluation, sample", "embedding"),
        ("evaluations", "id, run, snapshot", EVALUATIONS),
        ("runs", "id, experiment, dataset, snapshot, record, parent", RUNS),
        ("experiments", "id", "name, created, location, updated, deleted"),
        ("datasets", "id, removed", "name, source, created, seed, val, test, multi_label, archive"),
        ("model_versions", "model, location", VERSIONS),
        ("sources", "id", "path, experiment, followed, step, time"),
        ("source_runs", "source, run", "key, heard, said"),
        ("source_files", "source", "path, read, state"),
    ];
    for (table, own, taken) in others {
        assert_eq!(columns(table), given(own, taken), "{table}");
    }
}
