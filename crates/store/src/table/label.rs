//! The annotation log: append-only; the current label of a sample is derived from it in the same transaction, and
//! undo is another entry.

use super::{from_json, to_json, unknown_word};
use crate::{Reader, Result, StoreError, WriteTx};
use assay_domain::entity::{Author, Event, LabelEdit};
use assay_domain::{AnnotationId, ClassId, DatasetId, Label, LabelChange, Labelling, SampleId, Timestamp};
use rusqlite::{OptionalExtension, Row, params};
use std::collections::{HashMap, HashSet};

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
    /// The edits that were taken.
    pub edits: u64,
    /// The samples that both sides edited and labelled differently: ours stayed.
    pub differing: u64,
}

/// How an edit came about.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Action {
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

impl WriteTx<'_> {
    /// Changes the label of a sample.
    pub fn change_label(&mut self, sample: SampleId, change: &LabelChange, author: &Author) -> Result<LabelEdit> {
        let (dataset, before) = self.current_label(sample)?;
        let after = change.of(before.as_ref());
        self.append_label(dataset, sample, before, after, author)
    }

    /// Confirms a sample's label for its current image; `None` if it needs no confirmation.
    pub fn confirm_label(&mut self, sample: SampleId, author: &Author) -> Result<Option<LabelEdit>> {
        let sql = "SELECT changed_from IS NOT NULL FROM samples WHERE id = ?1";
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
        let edit = self.append(dataset, sample, (before, after), author, (Action::Edit, None), self.now)?;
        if *author != Author::Import {
            self.confirm_image(&edit)?;
        }
        // One event stands for a whole import; a person's edit is followed at once.
        if *author != Author::Import {
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
        let author = Author::Person(person.to_owned());
        let states = (current, edit.before.clone());
        let reverted = self.append(dataset, edit.sample, states, &author, (action, Some(edit.id)), self.now)?;
        match action {
            Action::Redo => self.confirm_image(&reverted)?,
            Action::Edit | Action::Undo => self.doubt_image(edit)?,
        }
        self.emit(&Event::LabelChanged { dataset, sample: edit.sample })?;
        Ok(reverted)
    }

    /// Records that an edit confirmed the sample's current image.
    fn confirm_image(&mut self, edit: &LabelEdit) -> Result<()> {
        let sql = "UPDATE annotations SET confirmed = (SELECT changed_from FROM samples WHERE id = ?2) WHERE id = ?1";
        self.db.prepare_cached(sql)?.execute([edit.id.0, edit.sample.0])?;
        let sql = "UPDATE samples SET changed_from = NULL WHERE id = ?1 AND changed_from IS NOT NULL";
        self.db.prepare_cached(sql)?.execute([edit.sample.0])?;
        Ok(())
    }

    /// Reopens what an edit confirmed; redoing it confirms again.
    fn doubt_image(&mut self, undone: &LabelEdit) -> Result<()> {
        let sql = "UPDATE samples SET changed_from = confirmed FROM annotations
                   WHERE samples.id = ?2 AND annotations.id = ?1 AND confirmed IS NOT NULL AND confirmed <> hash";
        self.db.prepare_cached(sql)?.execute([undone.id.0, undone.sample.0])?;
        Ok(())
    }

    fn append(
        &mut self,
        dataset: DatasetId,
        sample: SampleId,
        (before, after): (Option<Label>, Option<Label>),
        author: &Author,
        (action, undoes): (Action, Option<AnnotationId>),
        at: Timestamp,
    ) -> Result<LabelEdit> {
        if let Some(label) = &after {
            self.check_label(dataset, label)?;
        }
        let person = match author {
            Author::Import => None,
            Author::Person(person) | Author::Proposal { person, .. } => Some(person),
        };
        self.db
            .prepare_cached(
                "INSERT INTO annotations (dataset, sample, before, after, at, author, person, action, undoes)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
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
                undoes.map(|edit| edit.0)
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

    /// The author of a sample's latest label edit; `None` if it never had a label.
    pub(crate) fn last_author(&self, sample: SampleId) -> Result<Option<Author>> {
        let sql = "SELECT author FROM annotations WHERE sample = ?1 ORDER BY id DESC LIMIT 1";
        Ok(self.db.prepare_cached(sql)?.query_row([sample.0], |row| from_json(row, 0)).optional()?)
    }

    /// Whether a person set or confirmed the sample's label.
    pub(crate) fn is_labelled_by_hand(&self, sample: SampleId) -> Result<bool> {
        let (_, label) = self.current_label(sample)?;
        Ok(label.is_some() && self.last_author(sample)?.is_some_and(|author| author != Author::Import))
    }

    /// Takes over the edits that another workspace has of samples that both have (`merged_samples`): where its log goes on
    /// from where ours ends. `classes` says what its classes are here.
    pub(crate) fn take_edits(&mut self, theirs: DatasetId, ours: DatasetId, classes: &[ClassId]) -> Result<EditsTaken> {
        let mut differing = self.db.prepare(
            "WITH logs (theirs, ours, their_label, our_label, their_edits, our_edits) AS (
                 SELECT pair.theirs, pair.ours, there.label, here.label,
                     (SELECT count(*) || ' ' || max(at) FROM other.annotations WHERE sample = pair.theirs),
                     (SELECT count(*) || ' ' || max(at) FROM main.annotations WHERE sample = pair.ours)
                 FROM merged_samples AS pair JOIN other.samples AS there ON there.id = pair.theirs
                 JOIN main.samples AS here ON here.id = pair.ours WHERE there.dataset = ?1)
             SELECT theirs, ours FROM logs WHERE their_edits IS NOT our_edits OR their_label IS NOT our_label",
        )?;
        let differing = differing.query_map([theirs.0], |row| Ok((SampleId(row.get(0)?), SampleId(row.get(1)?))))?;
        let mut taken = EditsTaken::default();
        for (their_sample, sample) in differing.collect::<rusqlite::Result<Vec<_>>>()? {
            let here = |label: &Label| -> Label {
                label.classes().iter().filter_map(|class| classes.get(class.0 as usize)).copied().collect()
            };
            let mut other = self.log_of("other", their_sample)?;
            for (edit, _) in &mut other {
                edit.before = edit.before.as_ref().map(here);
                edit.after = edit.after.as_ref().map(here);
            }
            let own = self.log_of("main", sample)?;
            let told = |(edit, action): &(LabelEdit, Action)| {
                (edit.before.clone(), edit.after.clone(), edit.at, edit.author.clone(), *action)
            };
            let common = own.iter().zip(&other).take_while(|(own, other)| told(own) == told(other)).count();
            if common < own.len() {
                let label = |log: &[(LabelEdit, Action)]| log.last().and_then(|(edit, _)| edit.after.clone());
                taken.differing += u64::from(common < other.len() && label(&own) != label(&other));
                continue;
            }
            let mut known: HashMap<AnnotationId, AnnotationId> =
                other.iter().zip(&own).map(|((theirs, _), (ours, _))| (theirs.id, ours.id)).collect();
            for (edit, action) in other.drain(..).skip(common) {
                let undoes = edit.undoes.and_then(|undone| known.get(&undone).copied());
                let states = (edit.before, edit.after);
                let made = self.append(ours, sample, states, &edit.author, (action, undoes), edit.at)?;
                known.insert(edit.id, made.id);
                taken.edits += 1;
            }
        }
        Ok(taken)
    }

    /// The edits of a sample, oldest first, in one of the attached databases.
    fn log_of(&self, database: &str, sample: SampleId) -> Result<Vec<(LabelEdit, Action)>> {
        let columns = COLUMNS.replace("FROM annotations", &format!(", action FROM {database}.annotations"));
        let mut statement = self.db.prepare_cached(&format!("SELECT {columns} WHERE sample = ?1 ORDER BY id"))?;
        let rows = statement.query_map([sample.0], |row| {
            let word: String = row.get(7)?;
            Ok((edit_of(row)?, Action::parse(&word).ok_or_else(|| unknown_word(7, &word))?))
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
        let mut statement = self.db.prepare_cached(
            "SELECT id FROM samples AS own WHERE dataset = ?1 AND label IS NOT NULL AND ?2 =
                 (SELECT author FROM annotations WHERE sample = own.id ORDER BY annotations.id DESC LIMIT 1)",
        )?;
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
