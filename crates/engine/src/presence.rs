//! Images that are missing, changed or damaged: they are reported and left out, and the work continues.

use crate::images::LostSample;
use crate::{Engine, Result};
use assay_domain::entity::{LogLine, Sample, SampleState};
use assay_domain::{DatasetId, RunId, SampleId, counted};
use assay_formats::path_of_text;
use assay_store::Hash;
use rayon::prelude::*;

/// Images that a line names.
const NAMED: usize = 5;

impl Engine {
    /// Marks samples whose file is missing; returns how many.
    pub(crate) fn mark_missing(&self, dataset: DatasetId) -> Result<u64> {
        let folder = Engine::source_folder(&self.dataset(dataset)?.source);
        let samples = self.store.read(|reader| reader.all_samples(dataset))?;
        let is_gone = |sample: &&Sample| sample.missing.is_none() && !folder.join(path_of_text(&sample.path)).exists();
        let gone: Vec<SampleId> = samples.par_iter().filter(is_gone).map(|sample| sample.id).collect();
        let count = gone.len() as u64;
        if count > 0 && !self.store.is_read_only() {
            self.store.write(move |tx| tx.mark_missing(dataset, &gone))?;
        }
        Ok(count)
    }

    /// Logs which images of a dataset a run leaves out.
    pub(crate) fn log_what_is_left_out(&self, run: RunId, dataset: DatasetId) -> Result<()> {
        self.mark_missing(dataset)?;
        let samples = self.store.read(|reader| reader.all_samples(dataset))?;
        let at = (self.clock)();
        let line = |state: SampleState, why: &str| {
            let paths: Vec<&str> =
                samples.iter().filter(|of| of.state() == Some(state)).map(|of| of.path.as_str()).collect();
            let more = if paths.len() > NAMED { ", …" } else { "" };
            let named = paths[..paths.len().min(NAMED)].join(", ");
            let text = format!("{} left out, {why}: {named}{more}", counted(paths.len(), "image"));
            (!paths.is_empty()).then_some(LogLine { at, text })
        };
        let missing = line(SampleState::Missing, "whose file is missing (import the folder again to look for it)");
        let changed = line(SampleState::Changed, "changed since a person labelled it (confirm its label in Data)");
        let lines: Vec<LogLine> = missing.into_iter().chain(changed).collect();
        match lines.is_empty() {
            true => Ok(()),
            false => Ok(self.store.write(move |tx| tx.append_log(run, &lines))?),
        }
    }

    /// Log lines for unusable samples. The next import re-reads those whose contents changed.
    pub(crate) fn lines_of_lost(&self, lost: &[LostSample]) -> Vec<LogLine> {
        let changed: Vec<SampleId> = lost.iter().filter(|lost| lost.is_changed).map(|lost| lost.id).collect();
        if let Err(error) = self.distrust(changed) {
            tracing::warn!(%error, "changed images are not marked");
        }
        let at = (self.clock)();
        lost.iter().map(|lost| LogLine { at, text: format!("an image is left out: {}", lost.reason) }).collect()
    }

    pub(crate) fn distrust(&self, samples: Vec<SampleId>) -> Result<()> {
        if samples.is_empty() || self.store.is_read_only() {
            return Ok(());
        }
        Ok(self.store.write(move |tx| samples.iter().try_for_each(|sample| tx.distrust_sample(*sample)))?)
    }

    /// Verifies every image of a dataset against its hash. The next import re-reads the changed ones.
    pub(crate) fn verify_images(&self, dataset: DatasetId) -> Result<Verified> {
        let folder = Engine::source_folder(&self.dataset(dataset)?.source);
        let samples = self.store.read(|reader| reader.all_samples(dataset))?;
        let present: Vec<Sample> =
            samples.into_iter().filter(|of| of.missing.is_none() && of.removed.is_none()).collect();
        let looked: Vec<std::io::Result<bool>> = present
            .par_iter()
            .map(|sample| {
                let bytes = std::fs::read(folder.join(path_of_text(&sample.path)))?;
                Ok(Hash::of(&bytes).as_str() == sample.hash)
            })
            .collect();
        let mut verified = Verified { compared: present.len(), ..Verified::default() };
        let mut changed = Vec::new();
        for (sample, looked) in present.iter().zip(looked) {
            match looked {
                Ok(true) => {}
                Ok(false) => {
                    verified.changed.push(sample.path.clone());
                    changed.push(sample.id);
                }
                Err(why) => verified.unreadable.push(format!("{} ({why})", sample.path)),
            }
        }
        verified.compared -= verified.unreadable.len();
        self.distrust(changed)?;
        Ok(verified)
    }
}

/// The result of comparing the images of a dataset with their hashes.
#[derive(Default)]
pub(crate) struct Verified {
    /// Images that were read.
    pub(crate) compared: usize,
    /// Paths of those with other contents.
    pub(crate) changed: Vec<String>,
    /// Those that cannot be read, each with the reason.
    pub(crate) unreadable: Vec<String>,
}
