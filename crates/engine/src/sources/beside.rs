//! Datasets and other files beside the runs of a source: datasets are imported too, files are listed.

use crate::import::own_name;
use crate::{Engine, EngineError, Result};
use assay_domain::entity::{Dataset, Job, JobKind};
use assay_domain::{DatasetId, RunStatus, counted};
use assay_formats::logs::Survey;
use assay_formats::{path_of_text, place_text};
use assay_protocol::ImportRequest;
use std::path::{Path, PathBuf};

/// Ended jobs among which that of a dataset beside runs is looked for.
const JOBS: usize = 50;

impl Engine {
    /// The dataset of a folder. `folder` is canonical.
    pub(super) fn dataset_at(&self, folder: &Path) -> Result<Option<Dataset>> {
        let is_here = |dataset: &Dataset| {
            let origin = path_of_text(dataset.origin());
            origin == folder || origin.canonicalize().is_ok_and(|origin| origin == folder)
        };
        Ok(self.datasets()?.into_iter().find(is_here))
    }

    /// Queues the import of the images in a source of runs. Where that fails, the job of the runs tells why.
    pub(super) fn start_imports_of_images(
        &self,
        source: &Path,
        survey: &Survey,
        request: &ImportRequest,
    ) -> Result<()> {
        for folder in self.folders_of_images(source, survey)? {
            let own = ImportRequest::default();
            if let Err(error) = self.start_import_of_images(&folder, if folder == source { request } else { &own }) {
                tracing::warn!(%error, path = %folder.display(), "the images beside runs are not imported");
            }
        }
        Ok(())
    }

    /// The folders of a source that are datasets: the source itself, or those that were found in it.
    fn folders_of_images(&self, source: &Path, survey: &Survey) -> Result<Vec<PathBuf>> {
        Ok(match self.dataset_at(source)? {
            Some(_) => vec![source.to_owned()],
            None => survey.datasets.clone(),
        })
    }

    /// Whether a dataset is in a source of runs.
    pub(super) fn has_dataset(&self, source: &Path, survey: &Survey) -> Result<bool> {
        for folder in self.folders_of_images(source, survey)? {
            if self.dataset_at(&folder)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn start_import_of_images(&self, folder: &Path, request: &ImportRequest) -> Result<Job> {
        let target = self.target_of_images(folder, request.name.as_deref())?;
        self.queue_import(target, folder, request)
    }

    /// The dataset of a folder, and its name; an error if another dataset has it.
    fn target_of_images(&self, folder: &Path, asked: Option<&str>) -> Result<(Option<DatasetId>, String)> {
        if let Some(dataset) = self.dataset_at(folder)? {
            return Ok((Some(dataset.id), dataset.name));
        }
        let asked = asked.map(str::trim).filter(|name| !name.is_empty());
        let name = asked.map_or_else(|| own_name(folder, folder), str::to_owned);
        match self.datasets()?.iter().any(|dataset| dataset.name == name) {
            true => Err(EngineError::Conflict(format!("another dataset is named {name:?}"))),
            false => Ok((None, name)),
        }
    }

    /// Describes the datasets in a source of runs; empty if it has none.
    pub(super) fn tell_datasets(&self, source: &Path, survey: &Survey) -> Result<String> {
        let mut told = String::new();
        for folder in self.folders_of_images(source, survey)? {
            let place = folder.display();
            let job = self.last_import_of(&folder)?;
            let failure = job.filter(|job| job.status == RunStatus::Failed).map(|job| job.message);
            told.push_str(&match (self.dataset_at(&folder)?, failure) {
                (Some(dataset), None) => format!("; the images in {place} are the dataset {}", dataset.name),
                (Some(dataset), Some(why)) => {
                    format!("; the dataset {} was not brought up to date ({why}): {place}", dataset.name)
                }
                (None, failure) => {
                    let why = failure.or_else(|| self.target_of_images(&folder, None).err().map(|why| why.to_string()));
                    let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
                    format!("; the images in {place} were left out{why}: import that folder by itself, with --name")
                }
            });
        }
        Ok(told)
    }

    /// Describes what else is in a source, and what of it cannot be read.
    pub(super) fn tell_others(&self, source: &Path, survey: &Survey) -> Result<String> {
        let mut told = String::new();
        if survey.images > 0 && self.folders_of_images(source, survey)?.is_empty() {
            told.push_str(&format!("; {} beside the logs left out, as no dataset", counted(survey.images, "image")));
        }
        if survey.others > 0 {
            let more = if survey.others > survey.other_names.len() as u64 { ", ..." } else { "" };
            let others = counted(survey.others, "other file");
            told.push_str(&format!("; {others} left out ({}{more})", survey.other_names.join(", ")));
        }
        if !survey.problems.is_empty() {
            told.push_str(&format!("; {}", super::found::listed(survey.problems.iter().cloned())));
        }
        Ok(told)
    }

    fn last_import_of(&self, folder: &Path) -> Result<Option<Job>> {
        let place = place_text(folder);
        let is_of_folder = |job: &Job| matches!(&job.work, JobKind::Import { source, .. } if *source == place);
        let jobs = self.store.read(|reader| reader.jobs(JOBS))?;
        Ok(jobs.into_iter().filter(is_of_folder).max_by_key(|job| job.id))
    }
}
