//! The paths of the native API.

use crate::encode_component;
use assay_domain::{DatasetId, EvaluationId, ExperimentId, JobId, RuleId, RunId, SampleId};

/// The beginning of all of them.
pub const ROOT: &str = "/api/v1";

/// What serves, and where.
pub const ABOUT: &str = "/api/v1/about";
/// What works here and what does not.
pub const DOCTOR: &str = "/api/v1/doctor";
/// The event log, as a long poll.
pub const EVENTS: &str = "/api/v1/events";
/// The runs table; POST starts a run.
pub const RUNS: &str = "/api/v1/runs";
/// Series of runs for charts.
pub const SERIES: &str = "/api/v1/series";
/// Runs side by side.
pub const COMPARE: &str = "/api/v1/compare";
/// A chart as SVG.
pub const CHART: &str = "/api/v1/chart.svg";
/// Every config key with its default and explanation.
pub const CONFIG: &str = "/api/v1/config";
/// Metrics of runs and their directions; PATCH declares one.
pub const METRICS: &str = "/api/v1/metrics";
/// The experiments.
pub const EXPERIMENTS: &str = "/api/v1/experiments";
/// The datasets; POST imports one.
pub const DATASETS: &str = "/api/v1/datasets";
/// The folders and files of other programs whose runs are followed.
pub const SOURCES: &str = "/api/v1/sources";
/// POST frees what nobody needs any more, or says what that is.
pub const GC: &str = "/api/v1/gc";
/// POST copies the workspace.
pub const BACKUP: &str = "/api/v1/backup";
/// Takes over what another workspace has.
pub const MERGE: &str = "/api/v1/merge";
/// The latest alerts.
pub const ALERTS: &str = "/api/v1/alerts";
/// POST says that alerts were seen.
pub const ALERTS_SEEN: &str = "/api/v1/alerts/seen";
/// The rules of alerts; POST makes one.
pub const ALERT_RULES: &str = "/api/v1/alert-rules";
/// The jobs.
pub const JOBS: &str = "/api/v1/jobs";
/// The checkpoints of all runs.
pub const MODELS: &str = "/api/v1/models";
/// The registered models with their versions.
pub const REGISTRY: &str = "/api/v1/registered-models";
/// What a typed path may become.
pub const PATHS: &str = "/api/v1/paths";
/// What people chose for the interface; PATCH changes it.
pub const SETTINGS: &str = "/api/v1/settings";
/// The evaluations of all runs.
pub const EVALUATIONS: &str = "/api/v1/evaluations";

/// The text of a recipe.
pub fn recipe(name: &str) -> String {
    format!("{CONFIG}/recipes/{}", encode_component(name))
}

/// A run, or with `rest` something of it.
pub fn run(run: RunId, rest: &str) -> String {
    format!("{RUNS}/{run}{rest}")
}

/// The id of the run that a text names: its uid, its name or its number.
pub fn find_run(text: &str) -> String {
    format!("{RUNS}/find/{}", encode_component(text))
}

/// Resolves a deleted run by text.
pub fn find_deleted_run(text: &str) -> String {
    format!("{}?deleted=true", find_run(text))
}

/// An experiment, or its sub-resource `rest`.
pub fn experiment(experiment: ExperimentId, rest: &str) -> String {
    format!("{EXPERIMENTS}/{experiment}{rest}")
}

/// A dataset, or with `rest` something of it.
pub fn dataset(dataset: DatasetId, rest: &str) -> String {
    format!("{DATASETS}/{dataset}{rest}")
}

/// A sample, or with `rest` something of it.
pub fn sample(sample: SampleId, rest: &str) -> String {
    format!("{ROOT}/samples/{sample}{rest}")
}

/// An evaluation, or with `rest` something of it.
pub fn evaluation(evaluation: EvaluationId, rest: &str) -> String {
    format!("{EVALUATIONS}/{evaluation}{rest}")
}

/// A rule of alerts, or with `rest` something of it.
pub fn alert_rule(rule: RuleId, rest: &str) -> String {
    format!("{ALERT_RULES}/{rule}{rest}")
}

/// A job, or with `rest` something of it.
pub fn job(job: JobId, rest: &str) -> String {
    format!("{JOBS}/{job}{rest}")
}
