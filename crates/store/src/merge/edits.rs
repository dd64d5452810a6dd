//! Label edits of samples that both workspaces have: taken over if the other log continues ours.

use crate::table::label::{EditsTaken, LogEntry, NewEntry};
use crate::{Result, WriteTx};
use assay_domain::{AnnotationId, ClassId, DatasetId, Label, SampleId};
use std::collections::HashMap;

impl LogEntry {
    /// Whether both entries record the same edit.
    fn is_same(&self, other: &LogEntry) -> bool {
        let (ours, theirs) = (&self.edit, &other.edit);
        (&ours.before, &ours.after, ours.at, &ours.author, self.action)
            == (&theirs.before, &theirs.after, theirs.at, &theirs.author, other.action)
    }
}

impl WriteTx<'_> {
    /// Takes over the label edits of paired samples (`merged_samples`) if the other log continues ours. `classes` maps its
    /// classes to ours.
    pub(super) fn take_edits(
        &mut self,
        theirs: DatasetId,
        ours: DatasetId,
        classes: &[ClassId],
        taken: &mut EditsTaken,
    ) -> Result<()> {
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
        for (their_sample, sample) in differing.collect::<rusqlite::Result<Vec<_>>>()? {
            let here = |label: &Label| -> Label {
                label.classes().iter().filter_map(|class| classes.get(class.0 as usize)).copied().collect()
            };
            let mut other = self.log_of("other", their_sample)?;
            for LogEntry { edit, .. } in &mut other {
                edit.before = edit.before.as_ref().map(here);
                edit.after = edit.after.as_ref().map(here);
            }
            let own = self.log_of("main", sample)?;
            let common = own.iter().zip(&other).take_while(|(own, other)| own.is_same(other)).count();
            if common < own.len() {
                let label = |log: &[LogEntry]| log.last().and_then(|entry| entry.edit.after.clone());
                taken.differing += u64::from(common < other.len() && label(&own) != label(&other));
            } else if common < other.len() {
                taken.edits += self.append_rest((ours, sample), &own, other)?;
                self.take_labelled_contents(their_sample, sample)?;
            }
        }
        Ok(())
    }

    /// Appends the entries by which the other log continues our own; returns how many.
    fn append_rest(
        &mut self,
        (dataset, sample): (DatasetId, SampleId),
        own: &[LogEntry],
        other: Vec<LogEntry>,
    ) -> Result<u64> {
        let mut known: HashMap<AnnotationId, AnnotationId> =
            other.iter().zip(own).map(|(theirs, ours)| (theirs.edit.id, ours.edit.id)).collect();
        let mut appended = 0;
        for LogEntry { edit, action, confirmed } in other.into_iter().skip(own.len()) {
            let made = self.append(NewEntry {
                dataset,
                sample,
                before: edit.before,
                after: edit.after,
                at: edit.at,
                author: &edit.author,
                action,
                undoes: edit.undoes.and_then(|undone| known.get(&undone).copied()),
                confirmed,
            })?;
            known.insert(edit.id, made.id);
            appended += 1;
        }
        Ok(appended)
    }

    /// Makes a label that was taken over apply to the contents it applies to there: if ours differ, it must be confirmed; if
    /// it was confirmed there, it is confirmed here.
    fn take_labelled_contents(&mut self, theirs: SampleId, ours: SampleId) -> Result<()> {
        let sql = "UPDATE main.samples AS ours SET changed_from = nullif(coalesce(theirs.changed_from, theirs.hash), ours.hash)
                   FROM other.samples AS theirs WHERE ours.id = ?2 AND theirs.id = ?1";
        self.db.prepare_cached(sql)?.execute([theirs.0, ours.0])?;
        self.confirm_unless_by_hand(ours)
    }
}
