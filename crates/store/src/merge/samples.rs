//! Samples of a dataset that both workspaces have: pairs them, and takes over removals and splits.

use super::SAMPLES;
use crate::table::label::EditsTaken;
use crate::table::sample::split_of;
use crate::{Result, WriteTx};
use assay_domain::matching::{Found, Known, Match, match_files};
use assay_domain::{DatasetId, SampleId, Split, Timestamp};
use rusqlite::params;

/// The paired samples of the other workspace's dataset ?1.
const PAIRS: &str = "merged_samples AS pair JOIN other.samples AS there ON there.id = pair.theirs
JOIN main.samples AS here ON here.id = pair.ours WHERE there.dataset = ?1";

/// A sample's path and contents.
struct Place {
    id: SampleId,
    path: String,
    hash: String,
    changed_from: Option<String>,
    is_missing: bool,
}

impl Place {
    fn known(&self) -> Known<'_> {
        Known {
            path: &self.path,
            hash: &self.hash,
            labelled_hash: self.changed_from.as_deref(),
            is_missing: self.is_missing,
        }
    }
}

impl WriteTx<'_> {
    /// Maps their samples to ours by contents; new ones come without labels, since the edits follow. A new one is
    /// marked missing if our sample at its path differs.
    pub(super) fn join_samples(&mut self, theirs: DatasetId, ours: DatasetId) -> Result<()> {
        let here = self.places("main", ours)?;
        let there = self.places("other", theirs)?;
        let known: Vec<Known<'_>> = here.iter().map(Place::known).collect();
        let found: Vec<Found<'_>> = there.iter().map(|place| Found { path: &place.path, hash: &place.hash }).collect();
        let mut pair = self.db.prepare("INSERT INTO merged_samples (theirs, ours) VALUES (?1, ?2)")?;
        let mut insert = self.db.prepare(&format!(
            "INSERT INTO main.samples (dataset, missing, {SAMPLES})
             SELECT ?2, CASE WHEN EXISTS (SELECT 1 FROM main.samples AS own
                 WHERE own.dataset = ?2 AND own.path = other.samples.path AND own.missing IS NULL)
                 THEN ?3 ELSE missing END, {SAMPLES}
             FROM other.samples WHERE id = ?1"
        ))?;
        for (place, matched) in there.iter().zip(match_files(&known, &found)) {
            let ours = match matched {
                Some((index, Match::Same | Match::Moved | Match::Returned)) => here[index].id.0,
                Some((_, Match::Edited)) | None => {
                    insert.execute(params![place.id.0, ours.0, self.now.0])?;
                    self.db.last_insert_rowid()
                }
            };
            pair.execute([place.id.0, ours])?;
        }
        Ok(())
    }

    fn places(&self, database: &str, dataset: DatasetId) -> Result<Vec<Place>> {
        let mut statement = self.db.prepare(&format!(
            "SELECT id, path, hash, changed_from, missing IS NOT NULL FROM {database}.samples WHERE dataset = ?1 ORDER BY id"
        ))?;
        let rows = statement.query_map([dataset.0], |row| {
            Ok(Place {
                id: SampleId(row.get(0)?),
                path: row.get(1)?,
                hash: row.get(2)?,
                changed_from: row.get(3)?,
                is_missing: row.get(4)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Removes the samples that were removed there, except those that a person labelled here later.
    pub(super) fn take_removals(&mut self, theirs: DatasetId, ours: DatasetId, taken: &mut EditsTaken) -> Result<()> {
        let mut removed = self.db.prepare(&format!(
            "SELECT here.id, there.removed, EXISTS (
                 SELECT 1 FROM main.annotations WHERE sample = here.id AND person IS NOT NULL AND at > there.removed)
             FROM {PAIRS} AND there.removed IS NOT NULL AND here.removed IS NULL"
        ))?;
        let removed = removed
            .query_map([theirs.0], |row| Ok((SampleId(row.get(0)?), Timestamp(row.get(1)?), row.get::<_, bool>(2)?)))?;
        for (sample, at, is_labelled_later) in removed.collect::<rusqlite::Result<Vec<_>>>()? {
            if is_labelled_later {
                taken.kept += 1;
            } else {
                self.remove_sample(ours, sample, at)?;
                taken.removed += 1;
            }
        }
        Ok(())
    }

    /// Takes over splits that a person chose there, unless a person chose one here.
    pub(super) fn take_splits(&mut self, theirs: DatasetId, taken: &mut EditsTaken) -> Result<()> {
        let mut chosen = self.db.prepare(&format!(
            "SELECT here.id, there.split, here.split_by = 'person'
             FROM {PAIRS} AND there.split_by = 'person' AND (here.split_by <> 'person' OR here.split <> there.split)"
        ))?;
        let chosen = chosen
            .query_map([theirs.0], |row| Ok((SampleId(row.get(0)?), split_of(row, 1)?, row.get::<_, bool>(2)?)))?;
        for (sample, split, is_chosen_here) in chosen.collect::<rusqlite::Result<Vec<(SampleId, Split, bool)>>>()? {
            if is_chosen_here {
                taken.differing_splits += 1;
            } else {
                self.choose_split(sample, split)?;
                taken.splits += 1;
            }
        }
        Ok(())
    }
}
