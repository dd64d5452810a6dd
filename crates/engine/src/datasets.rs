//! Browsing and labeling.

use crate::{Engine, EngineError, Result};
use assay_domain::entity::{Author, Dataset, LabelEdit, Problem, Snapshot};
use assay_domain::split::Stratum;
use assay_domain::{DatasetId, SampleId, class_name};
use assay_protocol::{
    DatasetChange, LabelRequest, SampleDetail, SamplePage, SamplesAct, SamplesChange, SamplesChanged, SamplesQuery,
};
use assay_store::SampleFilter;

/// Samples changed per transaction.
const CHANGED: usize = 1000;

impl Engine {
    /// All datasets.
    pub fn datasets(&self) -> Result<Vec<Dataset>> {
        Ok(self.store.read(|reader| reader.datasets())?)
    }

    /// The removed datasets.
    pub fn removed_datasets(&self) -> Result<Vec<Dataset>> {
        Ok(self.store.read(|reader| reader.removed_datasets())?)
    }

    /// One dataset.
    pub fn dataset(&self, dataset: DatasetId) -> Result<Dataset> {
        Ok(self.store.read(|reader| reader.dataset(dataset))?)
    }

    /// The dataset of this name or number.
    pub fn find_dataset(&self, text: &str) -> Result<DatasetId> {
        Ok(self.store.read(|reader| reader.find_dataset(text))?)
    }

    /// What could not be taken.
    pub fn problems(&self, dataset: DatasetId) -> Result<Vec<Problem>> {
        Ok(self.store.read(|reader| reader.problems(dataset, 10_000))?)
    }

    /// A page of samples in browsing order.
    pub fn samples(&self, dataset: DatasetId, query: &SamplesQuery) -> Result<SamplePage> {
        let filter = filter_of(query)?;
        let limit = query.limit.unwrap_or(200).min(5_000);
        let (samples, total) = self.store.read(|reader| reader.samples(dataset, &filter, query.offset, limit))?;
        Ok(SamplePage { samples, total })
    }

    /// A sample with its history.
    pub fn sample(&self, sample: SampleId) -> Result<SampleDetail> {
        Ok(self.store.read(|reader| {
            Ok(SampleDetail { sample: reader.sample(sample)?, history: reader.label_history(sample)? })
        })?)
    }

    /// Appends classes to a schema.
    pub fn add_classes(&self, dataset: DatasetId, names: &[String]) -> Result<Dataset> {
        let names: Vec<String> = names
            .iter()
            .map(|name| class_name(name).map_err(|why| EngineError::Invalid(why.to_string())))
            .collect::<Result<_>>()?;
        self.dataset(dataset)?;
        self.store.write(move |tx| tx.ensure_classes(dataset, &names))?;
        self.dataset(dataset)
    }

    /// Changes what labels of a dataset may be.
    pub fn change_dataset(&self, dataset: DatasetId, change: &DatasetChange) -> Result<Dataset> {
        if let Some(labelling) = change.labelling {
            self.store.write(move |tx| tx.set_labelling(dataset, labelling))?;
        }
        if let Some(name) = &change.name {
            let name = name.trim().to_owned();
            if name.is_empty() {
                return Err(EngineError::Invalid("a dataset needs a name".into()));
            }
            self.store.write(move |tx| tx.rename_dataset(dataset, &name))?;
        }
        match change.removed {
            Some(true) => self.store.write(move |tx| tx.remove_dataset(dataset))?,
            Some(false) => self.store.write(move |tx| tx.restore_dataset(dataset))?,
            None => {}
        }
        self.dataset(dataset)
    }

    /// Changes samples of a dataset; says how many.
    pub fn change_samples(&self, dataset: DatasetId, change: &SamplesChange) -> Result<SamplesChanged> {
        self.dataset(dataset)?;
        let samples = match &change.samples {
            Some(samples) => {
                let own = |sample: &SampleId| Ok(self.store.read(|reader| reader.sample(*sample))?.dataset == dataset);
                if !samples.iter().map(own).collect::<Result<Vec<bool>>>()?.into_iter().all(|own| own) {
                    return Err(EngineError::Invalid(format!("not all of these samples are of dataset {dataset}")));
                }
                samples.clone()
            }
            None => {
                let filter = filter_of(&change.filter)?;
                self.store.read(|reader| reader.sample_ids(dataset, &filter))?
            }
        };
        let count = samples.len() as u64;
        for samples in samples.chunks(CHANGED) {
            let samples = samples.to_vec();
            match &change.act {
                SamplesAct::Split(split) => {
                    let split = *split;
                    self.store.write(move |tx| tx.set_split(dataset, &samples, split))?;
                }
                SamplesAct::Remove => self.store.write(move |tx| tx.remove_samples(dataset, &samples))?,
                SamplesAct::Restore => self.store.write(move |tx| tx.restore_samples(dataset, &samples))?,
                SamplesAct::Confirm(by) => {
                    let author = Author::Person(person(by)?);
                    self.store.write(move |tx| {
                        samples.iter().try_for_each(|sample| tx.confirm_label(*sample, &author).map(|_| ()))
                    })?;
                }
            }
        }
        Ok(SamplesChanged { samples: count })
    }

    /// Changes a label; durable when this returns.
    pub fn label(&self, sample: SampleId, request: LabelRequest) -> Result<LabelEdit> {
        let person = person(&request.person)?;
        let author = match request.proposed_by {
            Some(run) => Author::Proposal { person, run },
            None => Author::Person(person),
        };
        Ok(self.store.write(move |tx| tx.change_label(sample, &request.change, &author))?)
    }

    /// Takes back the person's latest edit.
    pub fn undo(&self, dataset: DatasetId, by: &str) -> Result<LabelEdit> {
        let person = person(by)?;
        Ok(self.store.write(move |tx| tx.undo_label(dataset, &person))?)
    }

    /// Brings back what the person's latest undo took away.
    pub fn redo(&self, dataset: DatasetId, by: &str) -> Result<LabelEdit> {
        let person = person(by)?;
        Ok(self.store.write(move |tx| tx.redo_label(dataset, &person))?)
    }

    /// Fixes a dataset as it is now.
    pub fn take_snapshot(&self, dataset: DatasetId) -> Result<Snapshot> {
        self.dataset(dataset)?;
        Ok(self.store.take_snapshot(dataset)?)
    }

    /// The snapshots of a dataset.
    pub fn snapshots(&self, dataset: DatasetId) -> Result<Vec<Snapshot>> {
        Ok(self.store.read(|reader| reader.snapshots(dataset))?)
    }
}

fn filter_of(query: &SamplesQuery) -> Result<SampleFilter> {
    let stratum = match query.class.as_deref() {
        None | Some("") => None,
        Some(word) => Some(
            Stratum::parse(word)
                .ok_or_else(|| EngineError::Invalid(format!("class is a number, none or empty, not {word:?}")))?,
        ),
    };
    let name = query.name.as_deref().map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned);
    Ok(SampleFilter { stratum, split: query.split, state: query.state, name })
}

fn person(name: &str) -> Result<String> {
    match name.trim() {
        "" => Err(EngineError::Invalid("a label needs the name of the person who sets it".into())),
        name => Ok(name.to_owned()),
    }
}
