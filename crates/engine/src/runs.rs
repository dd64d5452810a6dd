//! Runs: starting, stopping, resuming, finding, renaming, deleting.

use crate::{Engine, EngineError, Result, weights};
use assay_domain::column::Names;
use assay_domain::entity::{CheckpointKind, Experiment, Job, JobKind, Run};
use assay_domain::{Best, Filter, JobId, Labelling, RunId, RunStatus};
use assay_learn::Config;
use assay_learn::config::{Explained, LossName};
use assay_protocol::{
    Choice, ExplainedField, RunDetail, RunPatch, RunsQuery, RunsReply, SeriesQuery, SeriesReply, StartRun,
};
use assay_store::{Hash, NewRun, RunKeys, RunOrder, RunQuery, SeriesRange};
use std::path::PathBuf;

/// What is made less: as the config says, else as the labels are.
pub(crate) fn loss_of(config: &Config, labelling: Labelling) -> LossName {
    match (config.train.loss, labelling) {
        (LossName::Auto, Labelling::AnyClasses) => LossName::BinaryCrossEntropy,
        (LossName::Auto, Labelling::OneClass) => LossName::CrossEntropy,
        (chosen, _) => chosen,
    }
}

impl Engine {
    /// Checks the request, fixes command and code, and queues the run.
    pub fn start_run(&self, request: StartRun) -> Result<Run> {
        let dataset = self.store.read(|reader| {
            let found = reader.find_dataset(request.dataset.trim())?;
            reader.dataset(found)
        })?;
        if let Some(fault) = request.tags.iter().find_map(|(key, value)| Best::fault_of_tag(key, value)) {
            return Err(EngineError::Invalid(fault));
        }
        let config = Config::resolve(&request.config, &request.overrides).map_err(assay_learn::LearnError::from)?;
        assay_learn::DeviceChoice::from(config.device).open()?;
        if dataset.labeled == 0 {
            return Err(EngineError::Invalid(format!(
                "dataset {:?} has no labelled images; training needs some: label them first",
                dataset.name
            )));
        }
        let mut checked = config.clone();
        checked.train.loss = loss_of(&config, dataset.labelling);
        assay_learn::check_classes(&checked, &dataset.classes).map_err(|why| EngineError::Invalid(why.to_string()))?;
        let directory = request.command.as_ref().map(|command| PathBuf::from(&command.directory));
        let directory = directory.unwrap_or_else(|| self.facts_of_this_process().directory);
        let weights = self.read_weights(&config.model.weights, &directory)?;
        let params = config.params();
        let (mut record, files) = self.begin_record(request.command);
        let model = params.get("model.name").cloned().unwrap_or_default();
        let name = request.name.filter(|name| !name.trim().is_empty()).unwrap_or_else(|| format!("{model}-"));
        let experiment = request.experiment.filter(|name| !name.trim().is_empty()).unwrap_or_else(|| "Default".into());
        let new = NewRun {
            uid: (self.uid)(),
            experiment,
            name,
            note: request.note,
            dataset: Some(dataset.id),
            parent: request.parent,
            config: config.to_toml(),
            params,
            tags: request.tags,
        };
        let held = self.store.blobs().hold();
        record.weights = weights.map(|weights| self.keep_weights(&weights)).transpose()?;
        let run = self.store.write(move |tx| {
            let run = tx.create_run(&new)?;
            if let Some(weights) = &record.weights {
                tx.put_artifact(run, weights::ARTIFACT, &Hash::parse(&weights.hash)?, weights.bytes)?;
            }
            tx.set_record(run, &record, None)?;
            Ok(run)
        })?;
        drop(held);
        self.keep_code_files(run, files)?;
        self.queue(JobKind::Train { run })?;
        self.run(run)
    }

    /// A run that is Assay's own to start and stop.
    fn own_run(&self, run: RunId) -> Result<Run> {
        let found = self.run(run)?;
        match &found.client {
            None => Ok(found),
            Some(client) => Err(EngineError::Conflict(format!("run {run} is {client}'s to start and stop"))),
        }
    }

    /// Stops a run: one that waits at once, one that runs after its current step, with a checkpoint.
    pub fn stop_run(&self, run: RunId) -> Result<Run> {
        let found = self.own_run(run)?;
        if found.status.has_ended() {
            return Err(EngineError::Conflict(format!("run {run} is not running: it is {}", found.status)));
        }
        match self.job_of(run)? {
            Some(job) => {
                self.cancel_job(job)?;
            }
            None => self.store.write(move |tx| tx.end_run(run, RunStatus::Stopped, Some("stopped before it began")))?,
        }
        self.run(run)
    }

    /// The job of a run that waits or works.
    fn job_of(&self, run: RunId) -> Result<Option<JobId>> {
        let of_run = |job: &Job| job.work == JobKind::Train { run } && !job.status.has_ended();
        Ok(self.jobs()?.into_iter().find(of_run).map(|job| job.id))
    }

    /// Queues an ended run again; it goes on from its last checkpoint (from the beginning without one). A run that waits
    /// in the queue, where a process that is gone may have left it, is done by this one.
    pub fn resume_run(&self, run: RunId) -> Result<Run> {
        let found = self.own_run(run)?;
        match found.status {
            RunStatus::Finished => {
                Err(EngineError::Conflict(format!("run {run} has finished; clone it to train again")))
            }
            RunStatus::Running => Err(EngineError::Conflict(format!("run {run} is running already"))),
            RunStatus::Queued => {
                if let Some(job) = self.job_of(run)? {
                    self.do_queued(job);
                }
                Ok(found)
            }
            RunStatus::Stopped | RunStatus::Failed | RunStatus::Crashed => {
                let job = self.store.write(move |tx| {
                    tx.requeue_ended_run(run)?;
                    tx.queue_job(&JobKind::Train { run })
                })?;
                self.do_queued(job);
                self.run(run)
            }
        }
    }

    /// A page of the runs table.
    pub fn runs(&self, query: &RunsQuery) -> Result<RunsReply> {
        let RunKeys { params, metrics, tags } = self.store.read(|reader| reader.run_keys())?;
        let names = Names { params: &params, metrics: &metrics, tags: &tags };
        let filter = Filter::parse_with(&query.filter, &names).map_err(|why| EngineError::Invalid(why.to_string()))?;
        let order = query.sort.as_deref().filter(|key| !key.is_empty()).map(|key| match key.strip_prefix('-') {
            Some(key) => RunOrder { key: key.to_owned(), descending: true },
            None => RunOrder { key: key.to_owned(), descending: false },
        });
        let mut notes = filter.doubts(&names);
        notes.extend(order.iter().filter_map(|order| names.check(&order.key).err()).map(|unknown| unknown.to_string()));
        let limit = query.limit.unwrap_or(200).min(10_000);
        let query = RunQuery { filter, order, offset: query.offset, limit, deleted: query.deleted };
        let now = (self.clock)();
        let (page, directions) = self.store.read(|reader| Ok((reader.runs(&query, now)?, reader.directions()?)))?;
        Ok(RunsReply {
            runs: page.runs,
            total: page.total,
            param_keys: params,
            metric_keys: metrics,
            tag_keys: tags,
            directions,
            notes,
        })
    }

    /// The experiments by name, deleted ones too.
    pub fn experiments(&self) -> Result<Vec<Experiment>> {
        Ok(self.store.read(|reader| reader.experiments())?)
    }

    /// One run.
    pub fn run(&self, run: RunId) -> Result<Run> {
        let now = (self.clock)();
        Ok(self.store.read(|reader| reader.run(run, now))?)
    }

    /// Everything about a run.
    pub fn run_detail(&self, run: RunId) -> Result<RunDetail> {
        let now = (self.clock)();
        Ok(self.store.read(|reader| {
            Ok(RunDetail {
                run: reader.run(run, now)?,
                config: reader.run_config(run)?,
                record: reader.record(run)?,
                artifacts: reader.artifacts(run)?,
                checkpoints: reader.checkpoints(Some(run))?,
                log: reader.log(run, 2_000)?,
                evaluations: reader.evaluations(Some(run))?,
                inputs: reader.inputs(&[run])?.remove(&run).unwrap_or_default(),
                directions: reader.directions()?,
            })
        })?)
    }

    /// Changes what people wrote of a run.
    pub fn patch_run(&self, run: RunId, patch: RunPatch) -> Result<Run> {
        if patch.name.as_deref().is_some_and(|name| name.trim().is_empty()) {
            return Err(EngineError::Invalid("a run needs a name".into()));
        }
        if let Some(fault) = patch.tags.iter().find_map(|(key, value)| Best::fault_of_tag(key, value.as_deref()?)) {
            return Err(EngineError::Invalid(fault));
        }
        self.store.write(move |tx| {
            if let Some(name) = &patch.name {
                tx.rename_run(run, name.trim())?;
            }
            if let Some(note) = &patch.note {
                tx.set_note(run, note)?;
            }
            patch.tags.iter().try_for_each(|(key, value)| tx.set_tag(run, key, value.as_deref()).map(|_| ()))
        })?;
        self.run(run)
    }

    /// Deletes a run, reversibly. A queued one leaves the queue.
    pub fn delete_run(&self, run: RunId) -> Result<()> {
        let found = self.run(run)?;
        if found.client.is_none() && found.status == RunStatus::Queued {
            self.stop_run(run)?;
        }
        Ok(self.store.write(move |tx| tx.delete_run(run))?)
    }

    /// Brings a deleted run back.
    pub fn restore_run(&self, run: RunId) -> Result<Run> {
        self.store.write(move |tx| tx.restore_run(run))?;
        self.run(run)
    }

    /// Series of runs for charts: of one metric, or of all metrics that the runs have.
    pub fn series(&self, query: &SeriesQuery) -> Result<Vec<SeriesReply>> {
        let range = SeriesRange {
            first_step: query.first_step.unwrap_or(i64::MIN),
            last_step: query.last_step.unwrap_or(i64::MAX),
            buckets: query.buckets.unwrap_or(600).clamp(1, 10_000),
        };
        let runs = numbers(&query.runs)?;
        let now = (self.clock)();
        Ok(self.store.read(|reader| {
            let mut replies = Vec::new();
            for run in runs {
                let keys = match query.key.as_str() {
                    "" => reader.run(run, now)?.metrics.into_keys().collect(),
                    key => vec![key.to_owned()],
                };
                for key in keys {
                    let buckets = reader.series(run, &key, range)?;
                    replies.push(SeriesReply { run, key, buckets });
                }
            }
            Ok(replies)
        })?)
    }

    /// The contents of a run's artifact.
    pub fn artifact(&self, run: RunId, path: &str) -> Result<Vec<u8>> {
        let artifact = self.store.read(|reader| reader.artifact(run, path))?;
        Ok(self.store.blobs().get(&Hash::parse(&artifact.hash)?)?)
    }

    /// Every config key with its default, that of a recipe where one is named, and explanation.
    pub fn explain_config(&self, recipe: Option<&str>) -> Result<Vec<ExplainedField>> {
        let recipe: Vec<String> = recipe.iter().map(|name| format!("recipe={name}")).collect();
        let defaults = Config::resolve("", &recipe).map_err(assay_learn::LearnError::from)?.params();
        let field = |field: Explained| ExplainedField {
            default: defaults.get(&field.key).cloned().unwrap_or_default(),
            key: field.key,
            help: field.help,
            choices: field
                .choices
                .iter()
                .map(|(word, meaning)| Choice { word: (*word).to_owned(), meaning: meaning.trim().to_owned() })
                .collect(),
        };
        Ok(Config::explained().into_iter().map(field).collect())
    }

    /// The text of a recipe.
    pub fn recipe(&self, name: &str) -> Result<String> {
        Ok(assay_learn::config::Recipe::named(name).map_err(assay_learn::LearnError::from)?.text().to_owned())
    }

    /// The resolved config of a run that has started.
    pub(crate) fn resolved_config(&self, run: RunId) -> Result<Config> {
        let text = self.store.read(|reader| {
            let record = reader.record(run)?;
            match record.filter(|record| !record.config.is_empty()) {
                Some(record) => Ok(record.config),
                None => reader.run_config(run),
            }
        })?;
        Ok(Config::resolve(&text, &[]).map_err(assay_learn::LearnError::from)?)
    }

    /// The checkpoint that a model is used from: the best where there is one.
    pub(crate) fn best_kind(&self, run: RunId) -> Result<CheckpointKind> {
        let kinds = self.store.read(|reader| reader.checkpoints(Some(run)))?;
        let kind = kinds.iter().map(|checkpoint| checkpoint.kind).min();
        kind.ok_or_else(|| {
            EngineError::NotFound(format!("run {run} has no checkpoint yet: it is saved after each epoch"))
        })
    }
}

/// Run numbers, separated by commas.
pub(crate) fn numbers(text: &str) -> Result<Vec<RunId>> {
    let number = |part: &str| {
        part.trim()
            .parse()
            .map_err(|_| EngineError::Invalid(format!("runs are numbers separated by commas, not {text:?}")))
    };
    text.split(',').filter(|part| !part.trim().is_empty()).map(number).collect()
}
