//! The annotation log: append-only; the current label of a sample is derived from it in the same transaction, and
//! undo is another entry.
//!
//! A person's entry records which contents the previous label was for (`confirmed`). Undo restores that label for those
//! contents: if the file was edited since, the label must be confirmed.

use super::{from_json, to_json, unknown_word};
use crate::{Reader, Result, StoreError, WriteTx};
use assay_domain::entity::{Author, Event, LabelEdit};
use assay_domain::{AnnotationId, ClassId, DatasetId, Label, LabelChange, Labelling, SampleId, Timestamp};
use rusqlite::{OptionalExtension, Row, params};
use std::collections::HashSet;

pub(crate) const TABLES: &str = "
CREATE TABLE annotations (
    id INTEGER PRIMARY KEY AUTOINCREMENT, dataset INTEGER NOT NULL, sample INTEGER NOT NULL, before INTEGER,
    after INTEGER, at INTEGER NOT NULL, author TEXT NOT NULL, person TEXT, action TEXT NOT NULL, undoes INTEGER,
    undone_by INTEGER
) STRICT;
CREATE INDEX annotations_by_sample ON annotations (sample, id);
CREATE INDEX annotations_by_person ON annotations (dataset, person, action, id) WHERE person IS NOT NULL;
";

/// Labels are sets of classes, written as `,1,4,`; `,` is a label without classes.
pub(crate) const SETS: &str = "
ALTER TABLE annotations ADD COLUMN label_before TEXT;
ALTER TABLE annotations ADD COLUMN label_after TEXT;
UPDATE annotations SET label_before = ',' || before || ',', label_after = ',' || after || ',';
ALTER TABLE annotations DROP COLUMN before;
ALTER TABLE annotations DROP COLUMN after;
ALTER TABLE annotations RENAME COLUMN label_before TO before;
ALTER TABLE annotations RENAME COLUMN label_after TO after;
";

/// Entries in force: not undone, and not an undo. A redo counts as the edit it repeats.
const IN_FORCE: &str = "undone_by IS NULL AND action <> 'undo'";

/// A label as a column holds it.
pub(crate) fn written(label: &Label) -> String {
    label.classes().iter().fold(",".to_owned(), |text, class| format!("{text}{class},"))
}

/// The part of a column by which a class is found in it.
pub(crate) fn written_class(class: ClassId) -> String {
    format!(",{class},")
}

pub(crate) fn is_multi_label(labelling: Labelling) -> bool {
    labelling == Labelling::AnyClasses
}

pub(crate) fn labelling_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Labelling> {
    Ok(if row.get(column)? { Labelling::AnyClasses } else { Labelling::OneClass })
}

/// The label of a column.
pub(crate) fn label_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Label>> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| {
        let classes = text.split(',').filter(|part| !part.is_empty());
        classes.map(|class| class.parse().map_err(|_| unknown_word(column, &text))).collect()
    })
    .transpose()
}

/// What became of another workspace's edits of samples that both have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EditsTaken {
    /// The edits of labels that were taken.
    pub edits: u64,
    /// The samples that both sides edited and labelled differently: ours stayed.
    pub differing: u64,
    /// The samples removed there and now removed here.
    pub removed: u64,
    /// The samples removed there that stay because a person labelled them here later.
    pub kept: u64,
    /// The samples moved to the split that a person chose there.
    pub splits: u64,
    /// The samples that people put into different splits on both sides: ours stays.
    pub differing_splits: u64,
}

/// How an edit came about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Action {
    Edit,
    Undo,
    Redo,
}

impl Action {
    fn parse(word: &str) -> Option<Action> {
        [Action::Edit, Action::Undo, Action::Redo].into_iter().find(|action| action.as_str() == word)
    }

    fn as_str(self) -> &'static str {
        match self {
            Action::Edit => "edit",
            Action::Undo => "undo",
            Action::Redo => "redo",
        }
    }
}

/// An entry to append to the log.
pub(crate) struct NewEntry<'a> {
    pub(crate) dataset: DatasetId,
    pub(crate) sample: SampleId,
    pub(crate) before: Option<Label>,
    pub(crate) after: Option<Label>,
    pub(crate) at: Timestamp,
    pub(crate) author: &'a Author,
    pub(crate) action: Action,
    /// The entry that this one reverts.
    pub(crate) undoes: Option<AnnotationId>,
    /// The hash of the contents that the previous label was for; `None` for labels of the source.
    pub(crate) confirmed: Option<String>,
}

/// A stored entry, with the columns that [`LabelEdit`] omits.
pub(crate) struct LogEntry {
    pub(crate) edit: LabelEdit,
    pub(crate) action: Action,
    pub(crate) confirmed: Option<String>,
}

impl WriteTx<'_> {
    /// Changes the label of a sample.
    pub fn change_label(&mut self, sample: SampleId, change: &LabelChange, author: &Author) -> Result<LabelEdit> {
        let (dataset, before) = self.current_label(sample)?;
        let after = change.of(before.as_ref());
        self.append_label(dataset, sample, before, after, author)
    }

    /// Confirms a sample's label for its current image; `None` if it needs no confirmation, or its file is missing, so
    /// that nobody can look at it.
    pub fn confirm_label(&mut self, sample: SampleId, author: &Author) -> Result<Option<LabelEdit>> {
        let sql = "SELECT changed_from IS NOT NULL AND missing IS NULL FROM samples WHERE id = ?1";
        let is_open = self.db.prepare_cached(sql)?.query_row([sample.0], |row| row.get(0)).optional()?;
        if !is_open.ok_or_else(|| StoreError::missing("sample", sample))? {
            return Ok(None);
        }
        let (dataset, label) = self.current_label(sample)?;
        self.append_label(dataset, sample, label.clone(), label, author).map(Some)
    }

    /// How many classes samples of a dataset have from now on.
    pub fn set_labelling(&mut self, dataset: DatasetId, labelling: Labelling) -> Result<()> {
        if labelling == Labelling::OneClass {
            let others: i64 = self.db.query_row(
                "SELECT count(*) FROM samples WHERE dataset = ?1 AND label IS NOT NULL
                 AND (label = ',' OR instr(trim(label, ','), ',') > 0)",
                [dataset.0],
                |row| row.get(0),
            )?;
            if others > 0 {
                return Err(StoreError::Conflict(format!(
                    "{others} images have several classes or none: label them with one class each first"
                )));
            }
        }
        let changed = self.db.execute(
            "UPDATE datasets SET multi_label = ?2 WHERE id = ?1",
            params![dataset.0, is_multi_label(labelling)],
        )?;
        if changed == 0 {
            return Err(StoreError::missing("dataset", dataset));
        }
        self.emit(&Event::DatasetChanged { dataset })
    }

    /// Whether samples of a dataset may have this label.
    fn check_label(&self, dataset: DatasetId, label: &Label) -> Result<()> {
        let (classes, labelling) = self
            .db
            .prepare_cached(
                "SELECT (SELECT count(*) FROM classes WHERE dataset = id), multi_label FROM datasets WHERE id = ?1",
            )?
            .query_row([dataset.0], |row| Ok((row.get::<_, i64>(0)?, labelling_of(row, 1)?)))?;
        if let Some(class) = label.classes().iter().find(|class| !(0..classes).contains(&class.0)) {
            return Err(StoreError::missing("class", class));
        }
        match labelling.allows(label) {
            true => Ok(()),
            false => Err(StoreError::Conflict(
                "an image of this dataset has one class: let the dataset's images have several first".into(),
            )),
        }
    }

    pub(crate) fn append_label(
        &mut self,
        dataset: DatasetId,
        sample: SampleId,
        before: Option<Label>,
        after: Option<Label>,
        author: &Author,
    ) -> Result<LabelEdit> {
        let is_by_hand = *author != Author::Import;
        let confirmed = if is_by_hand { Some(self.labelled_contents(sample)?) } else { None };
        let (at, action, undoes) = (self.now, Action::Edit, None);
        let edit = self.append(NewEntry { dataset, sample, before, after, at, author, action, undoes, confirmed })?;
        // One event stands for a whole import; a person's edit is followed at once.
        if is_by_hand {
            self.confirm_image(sample)?;
            self.emit(&Event::LabelChanged { dataset, sample })?;
        }
        Ok(edit)
    }

    /// Takes back the person's latest edit of the dataset that is not taken back yet.
    pub fn undo_label(&mut self, dataset: DatasetId, person: &str) -> Result<LabelEdit> {
        let found = self.latest(dataset, person, "action IN ('edit', 'redo')", 0)?;
        let edit = found.ok_or_else(|| StoreError::Conflict("there is nothing to undo".into()))?;
        self.revert(dataset, &edit, person, Action::Undo)
    }

    /// Brings back what the person's latest undo took away, unless something was edited since.
    pub fn redo_label(&mut self, dataset: DatasetId, person: &str) -> Result<LabelEdit> {
        let latest_edit: i64 = self.db.query_row(
            "SELECT coalesce(max(id), 0) FROM annotations WHERE dataset = ?1 AND person = ?2 AND action = 'edit'",
            params![dataset.0, person],
            |row| row.get(0),
        )?;
        let found = self.latest(dataset, person, "action = 'undo'", latest_edit)?;
        let undo = found.ok_or_else(|| StoreError::Conflict("there is nothing to redo".into()))?;
        self.revert(dataset, &undo, person, Action::Redo)
    }

    fn latest(&self, dataset: DatasetId, person: &str, actions: &str, after: i64) -> Result<Option<LabelEdit>> {
        let sql = format!(
            "SELECT {COLUMNS} WHERE dataset = ?1 AND person = ?2 AND {actions} AND undone_by IS NULL AND id > ?3
             ORDER BY id DESC LIMIT 1"
        );
        Ok(self.db.prepare_cached(&sql)?.query_row(params![dataset.0, person, after], edit_of).optional()?)
    }

    fn revert(&mut self, dataset: DatasetId, edit: &LabelEdit, person: &str, action: Action) -> Result<LabelEdit> {
        let (_, current) = self.current_label(edit.sample)?;
        if current != edit.after {
            return Err(StoreError::Conflict(
                "somebody else has labelled this sample since; set its label anew".into(),
            ));
        }
        let (sample, author) = (edit.sample, Author::Person(person.to_owned()));
        let confirmed = Some(self.labelled_contents(sample)?);
        let reverted = self.append(NewEntry {
            dataset,
            sample,
            before: current,
            after: edit.before.clone(),
            at: self.now,
            author: &author,
            action,
            undoes: Some(edit.id),
            confirmed,
        })?;
        self.restore_labelled_contents(edit)?;
        self.emit(&Event::LabelChanged { dataset, sample })?;
        Ok(reverted)
    }

    /// The hash of the contents that a sample's label is for.
    fn labelled_contents(&self, sample: SampleId) -> Result<String> {
        let sql = "SELECT coalesce(changed_from, hash) FROM samples WHERE id = ?1";
        Ok(self.db.prepare_cached(sql)?.query_row([sample.0], |row| row.get(0))?)
    }

    /// Makes a sample's label apply to its current image.
    pub(crate) fn confirm_image(&mut self, sample: SampleId) -> Result<()> {
        let sql = "UPDATE samples SET changed_from = NULL WHERE id = ?1 AND changed_from IS NOT NULL";
        self.db.prepare_cached(sql)?.execute([sample.0])?;
        Ok(())
    }

    /// Clears `changed_from` unless a person's label is in force: labels of the source need no confirmation.
    pub(crate) fn confirm_unless_by_hand(&mut self, sample: SampleId) -> Result<()> {
        match self.is_labelled_by_hand(sample)? {
            true => Ok(()),
            false => self.confirm_image(sample),
        }
    }

    /// Makes the label that a revert restored apply to the contents it was set for.
    fn restore_labelled_contents(&mut self, reverted: &LabelEdit) -> Result<()> {
        let sql = "UPDATE samples SET changed_from = nullif(confirmed, hash) FROM annotations
                   WHERE samples.id = ?2 AND annotations.id = ?1 AND confirmed IS NOT NULL";
        self.db.prepare_cached(sql)?.execute([reverted.id.0, reverted.sample.0])?;
        self.confirm_unless_by_hand(reverted.sample)
    }

    /// Appends to the log and updates the sample's label.
    pub(crate) fn append(&mut self, entry: NewEntry<'_>) -> Result<LabelEdit> {
        let NewEntry { dataset, sample, before, after, at, author, action, undoes, confirmed } = entry;
        if let Some(label) = &after {
            self.check_label(dataset, label)?;
        }
        let person = match author {
            Author::Import => None,
            Author::Person(person) | Author::Proposal { person, .. } => Some(person),
        };
        self.db
            .prepare_cached(
                "INSERT INTO annotations
                     (dataset, sample, before, after, at, author, person, action, undoes, confirmed)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?
            .execute(params![
                dataset.0,
                sample.0,
                before.as_ref().map(written),
                after.as_ref().map(written),
                at.0,
                to_json("author", author)?,
                person,
                action.as_str(),
                undoes.map(|edit| edit.0),
                confirmed
            ])?;
        let id = AnnotationId(self.db.last_insert_rowid());
        if let Some(undone) = undoes {
            self.db.prepare_cached("UPDATE annotations SET undone_by = ?2 WHERE id = ?1")?.execute([undone.0, id.0])?;
        }
        self.db
            .prepare_cached("UPDATE samples SET label = ?2 WHERE id = ?1")?
            .execute(params![sample.0, after.as_ref().map(written)])?;
        if !self.is_removed(sample)? {
            self.leave_classes(dataset, sample, before.as_ref())?;
            self.enter_classes(dataset, sample, after.as_ref())?;
        }
        Ok(LabelEdit { id, sample, before, after, at, author: author.clone(), undoes })
    }

    pub(crate) fn is_removed(&self, sample: SampleId) -> Result<bool> {
        let sql = "SELECT removed IS NOT NULL FROM samples WHERE id = ?1";
        Ok(self.db.prepare_cached(sql)?.query_row([sample.0], |row| row.get(0))?)
    }

    /// Removes a sample from the class index.
    pub(crate) fn leave_classes(&self, dataset: DatasetId, sample: SampleId, label: Option<&Label>) -> Result<()> {
        let mut delete = self.db.prepare_cached(
            "DELETE FROM sample_classes WHERE dataset = ?1 AND class = ?2 AND sample = ?3
             AND split = (SELECT split FROM samples WHERE id = ?3)",
        )?;
        for class in label.into_iter().flat_map(Label::classes) {
            delete.execute(params![dataset.0, class.0, sample.0])?;
        }
        Ok(())
    }

    /// Adds a sample to the class index.
    pub(crate) fn enter_classes(&self, dataset: DatasetId, sample: SampleId, label: Option<&Label>) -> Result<()> {
        let mut insert = self.db.prepare_cached(
            "INSERT INTO sample_classes (dataset, class, split, sample)
             SELECT ?1, ?2, split, id FROM samples WHERE id = ?3",
        )?;
        for class in label.into_iter().flat_map(Label::classes) {
            insert.execute(params![dataset.0, class.0, sample.0])?;
        }
        Ok(())
    }

    /// The author of a sample's latest label edit in force; `None` if there is none.
    pub(crate) fn last_author(&self, sample: SampleId) -> Result<Option<Author>> {
        let sql = format!("SELECT author FROM annotations WHERE sample = ?1 AND {IN_FORCE} ORDER BY id DESC LIMIT 1");
        Ok(self.db.prepare_cached(&sql)?.query_row([sample.0], |row| from_json(row, 0)).optional()?)
    }

    /// Whether a person set or confirmed the sample's label.
    pub(crate) fn is_labelled_by_hand(&self, sample: SampleId) -> Result<bool> {
        let (_, label) = self.current_label(sample)?;
        Ok(label.is_some() && self.last_author(sample)?.is_some_and(|author| author != Author::Import))
    }

    /// The edits of a sample, oldest first, in one of the attached databases.
    pub(crate) fn log_of(&self, database: &str, sample: SampleId) -> Result<Vec<LogEntry>> {
        let columns = COLUMNS.replace("FROM annotations", &format!(", action, confirmed FROM {database}.annotations"));
        let mut statement = self.db.prepare_cached(&format!("SELECT {columns} WHERE sample = ?1 ORDER BY id"))?;
        let rows = statement.query_map([sample.0], |row| {
            let word: String = row.get(7)?;
            let action = Action::parse(&word).ok_or_else(|| unknown_word(7, &word))?;
            Ok(LogEntry { edit: edit_of(row)?, action, confirmed: row.get(8)? })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    pub(crate) fn current_label(&self, sample: SampleId) -> Result<(DatasetId, Option<Label>)> {
        let found = self
            .db
            .prepare_cached("SELECT dataset, label FROM samples WHERE id = ?1")?
            .query_row([sample.0], |row| Ok((DatasetId(row.get(0)?), label_of(row, 1)?)))
            .optional()?;
        found.ok_or_else(|| StoreError::missing("sample", sample))
    }
}

const COLUMNS: &str = "id, sample, before, after, at, author, undoes FROM annotations";

fn edit_of(row: &Row<'_>) -> rusqlite::Result<LabelEdit> {
    Ok(LabelEdit {
        id: AnnotationId(row.get(0)?),
        sample: SampleId(row.get(1)?),
        before: label_of(row, 2)?,
        after: label_of(row, 3)?,
        at: Timestamp(row.get(4)?),
        author: from_json(row, 5)?,
        undoes: row.get::<_, Option<i64>>(6)?.map(AnnotationId),
    })
}

impl Reader<'_> {
    /// Samples of a dataset labelled by the source.
    pub fn labelled_by_import(&self, dataset: DatasetId) -> Result<HashSet<SampleId>> {
        let mut statement = self.db.prepare_cached(&format!(
            "SELECT id FROM samples AS own WHERE dataset = ?1 AND label IS NOT NULL AND ?2 =
                 (SELECT author FROM annotations WHERE sample = own.id AND {IN_FORCE} ORDER BY annotations.id DESC LIMIT 1)"
        ))?;
        let import = to_json("author", &Author::Import)?;
        let rows = statement.query_map(params![dataset.0, import], |row| row.get(0).map(SampleId))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The edits of one sample, oldest first.
    pub fn label_history(&self, sample: SampleId) -> Result<Vec<LabelEdit>> {
        let mut statement = self.db.prepare_cached(&format!("SELECT {COLUMNS} WHERE sample = ?1 ORDER BY id"))?;
        let rows = statement.query_map([sample.0], edit_of)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::testing::store_with_run;
    use crate::{FileFacts, Followed, NewSample, SplitBy, Store};
    use assay_domain::Split;
    use assay_domain::matching::Match;
    use assay_domain::split::Fractions;

    const DATASET: DatasetId = DatasetId(1);
    const SAMPLE: SampleId = SampleId(1);
    const CAT: ClassId = ClassId(0);
    const DOG: ClassId = ClassId(1);

    fn file(contents: &str) -> FileFacts {
        let (path, hash) = ("0.png".to_owned(), contents.to_owned());
        FileFacts { path, hash, bytes: 1, modified_ms: 1, stamp: 1, width: 8, height: 8 }
    }

    /// A dataset of one sample with contents `a`, labelled by the source.
    struct World {
        store: Store,
        _folder: tempfile::TempDir,
    }

    impl World {
        fn new(label: Option<ClassId>) -> World {
            let folder = tempfile::tempdir().unwrap();
            let (store, _) = store_with_run(folder.path());
            let label = label.map(Label::one);
            let new = NewSample { file: file("a"), split: Split::Train, split_by: SplitBy::Draw, label };
            let made = store.write(move |tx| {
                let dataset = tx.create_dataset("images", ("images", None), 0, Fractions::default())?;
                tx.ensure_classes(dataset, &["cat", "dog"].map(str::to_owned))?;
                Ok((dataset, tx.put_samples(dataset, &[new])?))
            });
            assert_eq!(made.unwrap(), (DATASET, vec![SAMPLE]));
            World { store, _folder: folder }
        }

        /// A person sets a label.
        fn label(&self, class: Option<ClassId>) {
            let change = LabelChange::Set(class.map(Label::one));
            let author = Author::Person("ann".into());
            self.store.write(move |tx| tx.change_label(SAMPLE, &change, &author)).unwrap();
        }

        fn undo(&self) {
            self.store.write(|tx| tx.undo_label(DATASET, "ann")).unwrap();
        }

        fn redo(&self) {
            self.store.write(|tx| tx.redo_label(DATASET, "ann")).unwrap();
        }

        /// The source says another label.
        fn follow(&self, class: ClassId) -> Followed {
            self.store.write(move |tx| tx.follow_label(DATASET, SAMPLE, Some(Label::one(class)))).unwrap()
        }

        /// The file is edited in place, and the source looked at again.
        fn edit_image(&self, contents: &'static str) {
            self.store.write(move |tx| tx.place_sample(SAMPLE, &file(contents), Match::Edited)).unwrap();
        }

        /// The label, and `changed_from`.
        fn label_state(&self) -> (Option<ClassId>, Option<String>) {
            let sample = self.store.read(|reader| reader.sample(SAMPLE)).unwrap();
            (sample.label.as_ref().and_then(Label::only), sample.changed_from)
        }
    }

    fn contents(name: &str) -> Option<String> {
        Some(name.to_owned())
    }

    #[test]
    fn an_undone_label_does_not_count_as_a_persons() {
        let world = World::new(Some(CAT));
        let is_of_source = || world.store.read(|reader| reader.labelled_by_import(DATASET)).unwrap().contains(&SAMPLE);
        world.label(Some(DOG));
        assert_eq!((world.follow(CAT), is_of_source()), (Followed::Kept(Some(Label::one(DOG))), false));
        world.undo();
        assert!(is_of_source());
        world.redo();
        assert_eq!((world.follow(CAT), is_of_source()), (Followed::Kept(Some(Label::one(DOG))), false));
        world.undo();
        assert_eq!((world.follow(DOG), is_of_source()), (Followed::Taken, true));
        world.edit_image("b");
        assert_eq!(world.label_state(), (Some(DOG), None), "the source's label needs no confirmation");
    }

    #[test]
    fn without_a_persons_label_nothing_has_to_be_confirmed() {
        for of_source in [None, Some(DOG)] {
            let world = World::new(of_source);
            world.label(Some(CAT));
            world.edit_image("b");
            assert_eq!(world.label_state(), (Some(CAT), contents("a")));
            world.undo();
            assert_eq!(world.label_state(), (of_source, None));
            world.redo();
            assert_eq!(world.label_state(), (Some(CAT), contents("a")), "a redo is no confirmation");
            world.undo();
            assert_eq!(world.label_state(), (of_source, None));
        }
    }

    #[test]
    fn a_label_comes_back_for_the_contents_that_it_was_set_for() {
        let world = World::new(None);
        world.label(Some(CAT));
        world.label(None);
        world.edit_image("b");
        world.undo();
        assert_eq!(world.label_state(), (Some(CAT), contents("a")));

        let world = World::new(None);
        world.label(Some(CAT));
        world.undo();
        world.edit_image("b");
        assert_eq!(world.label_state(), (None, None));
        world.redo();
        assert_eq!(world.label_state(), (Some(CAT), contents("a")));
        // A label set for the present contents needs no confirmation.
        world.label(Some(DOG));
        world.undo();
        world.redo();
        assert_eq!(world.label_state(), (Some(DOG), None));
    }

    #[test]
    fn undoing_a_confirmation_after_the_labelled_contents_returned_leaves_nothing_to_confirm() {
        let world = World::new(None);
        world.label(Some(CAT));
        world.edit_image("b");
        let author = Author::Person("ann".into());
        assert!(world.store.write(move |tx| tx.confirm_label(SAMPLE, &author)).unwrap().is_some());
        world.edit_image("a");
        assert_eq!(world.label_state(), (Some(CAT), contents("b")));
        world.undo();
        assert_eq!(world.label_state(), (Some(CAT), None));
    }
}
