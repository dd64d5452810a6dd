//! Browsing and labeling.

use crate::{Engine, EngineError, Result};
use assay_domain::entity::{Author, Dataset, LabelEdit, Problem, Snapshot};
use assay_domain::split::Stratum;
use assay_domain::{DatasetId, SampleId, class_name, counted};
use assay_protocol::{
    DatasetChange, ErrorCode, LabelRequest, SampleDetail, SamplePage, SamplesAct, SamplesChange, SamplesChanged,
    SamplesQuery,
};
use assay_store::{SampleFilter, StoreError, WriteTx};
use std::collections::BTreeSet;

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

    /// Changes samples of a dataset; counts those that it changed.
    ///
    /// # Errors
    /// If a named sample is not in the dataset, or the name of the person is blank: nothing is changed. If a write fails
    /// after others, the error says how many samples were changed before.
    pub fn change_samples(&self, dataset: DatasetId, change: &SamplesChange) -> Result<SamplesChanged> {
        self.dataset(dataset)?;
        let act = match &change.act {
            SamplesAct::Confirm(by) => SamplesAct::Confirm(person(by)?),
            other => other.clone(),
        };
        let mut changed = 0;
        for samples in self.chosen_samples(dataset, change)?.chunks(CHANGED) {
            let (samples, act) = (samples.to_vec(), act.clone());
            let written = self.store.write(move |tx| apply(tx, dataset, &samples, &act));
            changed += written.map_err(|why| failed_after(changed, why))?;
        }
        Ok(SamplesChanged { samples: changed })
    }

    /// The samples that a change names, without repetitions, or those that match its filter.
    fn chosen_samples(&self, dataset: DatasetId, change: &SamplesChange) -> Result<Vec<SampleId>> {
        let Some(named) = &change.samples else {
            let filter = filter_of(&change.filter)?;
            return Ok(self.store.read(|reader| reader.sample_ids(dataset, &filter))?);
        };
        match self.store.read(|reader| reader.first_outside(dataset, named))? {
            Some(other) => {
                Err(EngineError::NotFound(format!("dataset {dataset} has no sample {other}: nothing was changed")))
            }
            None => Ok(BTreeSet::from_iter(named.iter().copied()).into_iter().collect()),
        }
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

/// Changes samples; returns how many it changed.
fn apply(tx: &mut WriteTx<'_>, dataset: DatasetId, samples: &[SampleId], act: &SamplesAct) -> assay_store::Result<u64> {
    match act {
        SamplesAct::Split(split) => tx.set_split(dataset, samples, *split),
        SamplesAct::Remove => tx.remove_samples(dataset, samples),
        SamplesAct::Restore => tx.restore_samples(dataset, samples),
        SamplesAct::Confirm(person) => {
            let author = Author::Person(person.clone());
            let mut confirmed = 0;
            for sample in samples {
                confirmed += u64::from(tx.confirm_label(*sample, &author)?.is_some());
            }
            Ok(confirmed)
        }
    }
}

/// Adds how many samples were changed before a write failed.
fn failed_after(changed: u64, why: StoreError) -> EngineError {
    let why = EngineError::from(why);
    if changed == 0 {
        return why;
    }
    let message = format!("{} changed, the others were not: {why}", counted(changed, "sample"));
    match why.code() {
        ErrorCode::Conflict => EngineError::Conflict(message),
        ErrorCode::NotFound => EngineError::NotFound(message),
        _ => EngineError::Internal(message),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Options, Work};
    use assay_domain::entity::SampleState;
    use assay_domain::matching::Match;
    use assay_domain::split::Fractions;
    use assay_domain::{ClassId, Label, LabelChange, Split, Timestamp};
    use assay_store::{FileFacts, NewSample, SplitBy};
    use std::path::Path;
    use std::sync::Arc;

    fn facts(number: usize, contents: &str) -> FileFacts {
        let (path, hash) = (format!("{number}.png"), contents.repeat(64));
        FileFacts { path, hash, bytes: 1, modified_ms: 1, stamp: 1, width: 8, height: 8 }
    }

    /// A dataset of three samples labelled by ada: the first two were edited since, and the second is missing. The fourth
    /// sample is in another dataset.
    fn engine(root: &Path) -> (Arc<Engine>, DatasetId, Vec<SampleId>) {
        let options = Options {
            root: root.join(".assay"),
            clock: Arc::new(|| Timestamp(1)),
            uid: Arc::new(|| "0".repeat(32)),
            command: vec!["tests".into()],
            work: Work::Own,
        };
        let engine = Engine::open(options).expect("the workspace opens");
        let new = |number: usize| NewSample {
            file: facts(number, "a"),
            split: Split::Train,
            split_by: SplitBy::Draw,
            label: None,
        };
        let (own, other) = ([new(0), new(1), new(2)], [new(3)]);
        let made = engine.store.write(move |tx| {
            let dataset = tx.create_dataset("own", ("own", None), 0, Fractions::default())?;
            tx.ensure_classes(dataset, &["cat".to_owned()])?;
            let mut samples = tx.put_samples(dataset, &own)?;
            let label = LabelChange::Set(Some(Label::one(ClassId(0))));
            for sample in &samples {
                tx.change_label(*sample, &label, &Author::Person("ada".into()))?;
            }
            tx.place_sample(samples[0], &facts(0, "b"), Match::Edited)?;
            tx.place_sample(samples[1], &facts(1, "c"), Match::Edited)?;
            tx.mark_missing(dataset, &samples[1..2])?;
            let another = tx.create_dataset("other", ("other", None), 0, Fractions::default())?;
            samples.extend(tx.put_samples(another, &other)?);
            Ok((dataset, samples))
        });
        let (dataset, samples) = made.expect("two datasets");
        (engine, dataset, samples)
    }

    fn named(samples: &[SampleId], act: SamplesAct) -> SamplesChange {
        SamplesChange { samples: Some(samples.to_vec()), filter: SamplesQuery::default(), act }
    }

    #[test]
    fn only_samples_that_are_changed_are_counted_and_each_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let (engine, dataset, samples) = engine(folder.path());
        let count = |act: SamplesAct, samples: &[SampleId]| {
            engine.change_samples(dataset, &named(samples, act)).expect("samples are changed").samples
        };
        let repeated = [samples[0], samples[0], samples[1], samples[2]];
        assert_eq!(
            count(SamplesAct::Confirm("ada".into()), &repeated),
            1,
            "the second is missing, the third needs no confirmation"
        );
        assert_eq!(count(SamplesAct::Confirm("ada".into()), &repeated), 0);
        assert_eq!(count(SamplesAct::Remove, &repeated), 3);
        assert_eq!(count(SamplesAct::Remove, &repeated), 0);
        assert_eq!(count(SamplesAct::Restore, &repeated[..2]), 1);
        assert_eq!(count(SamplesAct::Restore, &repeated), 2);
        assert_eq!(count(SamplesAct::Split(Split::Test), &repeated), 3);
        assert_eq!(count(SamplesAct::Split(Split::Test), &repeated), 0);
    }

    #[test]
    fn a_bulk_confirmation_leaves_out_samples_whose_file_is_missing() {
        let folder = tempfile::tempdir().expect("a folder");
        let (engine, dataset, samples) = engine(folder.path());
        let filter = SamplesQuery { state: Some(SampleState::Changed), ..SamplesQuery::default() };
        let change = SamplesChange { samples: None, filter, act: SamplesAct::Confirm("ada".into()) };
        assert_eq!(engine.change_samples(dataset, &change).expect("samples are changed").samples, 1);
        let missing = engine.sample(samples[1]).expect("a sample").sample;
        assert_eq!((missing.state(), missing.changed_from), (Some(SampleState::Missing), Some("a".repeat(64))));
    }

    #[test]
    fn a_change_that_cannot_be_made_whole_changes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let (engine, dataset, samples) = engine(folder.path());
        for (change, told) in [
            (named(&samples, SamplesAct::Remove), "dataset 1 has no sample 4"),
            (named(&[samples[0], SampleId(99)], SamplesAct::Remove), "dataset 1 has no sample 99"),
            (named(&samples[..1], SamplesAct::Confirm(" ".into())), "needs the name of the person"),
        ] {
            let why = engine.change_samples(dataset, &change).expect_err("it is refused").to_string();
            assert!(why.contains(told), "{why}");
        }
        let found = engine.dataset(dataset).expect("the dataset");
        assert_eq!((found.samples, found.missing, found.changed, found.removed_samples), (3, 1, 1, 0));
    }

    #[test]
    fn a_write_that_fails_midway_tells_how_many_samples_were_changed_before() {
        let conflict = || StoreError::Conflict("somebody else did it".into());
        let first = failed_after(0, conflict());
        assert_eq!((first.code(), first.to_string().as_str()), (ErrorCode::Conflict, "somebody else did it"));
        let later = failed_after(1000, conflict());
        assert_eq!(later.code(), ErrorCode::Conflict);
        assert_eq!(later.to_string(), "1000 samples changed, the others were not: somebody else did it");
    }
}
