//! The command line.

use anyhow::{Context, Result};
use assay_protocol::domain::entity::SampleState;
use assay_protocol::domain::{Best, RuleId, SampleId, SourceId, Split};
use assay_server::{FOLDER, data_folder, find_workspace};
use clap::{Parser, Subcommand};
use std::net::IpAddr;
use std::path::PathBuf;

const CODES: &str = "Exit codes: 0 done; 1 it failed, the message says why; 2 the command line is wrong; \
    3 the run failed or crashed; 4 a check of the doctor failed; 130 the run was stopped; 141 nobody read the output on.";

/// A short guide to filters; docs/filters.md has all of it.
const FILTERS: &str = "\
Filters: terms separated by blanks, all of which must hold.
  word               stands in the name, note, experiment or tags; \"two words\" in quotes
  NAME=VALUE         the same, without minding case (also NAME:VALUE); NAME!=VALUE is another
  NAME<VALUE         compares numbers; also <=, > and >=
  -TERM              must not hold (after -- where it is the first: assay runs -- -status:failed)

A NAME, also of --sort and --columns:
  id name status experiment started created duration dataset note user client uid
  params.KEY metrics.KEY tags.KEY, or KEY alone: a param before a metric before a tag
  min:KEY max:KEY    the extremes of a metric, which is its last value otherwise

  assay runs status:finished 'min:val/loss<0.1' tags.team=vision --sort=-val/accuracy
  assay runs --columns run,name,params.optimizer.lr,min:val/loss,tags.team";

/// The lab on your desk: train, label, review.
#[derive(Parser)]
#[command(name = "assay", version, about, after_help = CODES)]
pub(crate) struct Arguments {
    /// The workspace folder; without it the nearest .assay in this folder or above, else the user's own.
    #[arg(long, short = 'w', global = true, env = "ASSAY_WORKSPACE")]
    workspace: Option<PathBuf>,
    /// Print JSON instead of tables.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Tell what happens on the way.
    #[arg(long, short, global = true)]
    pub(crate) verbose: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make a workspace in this folder (or in FOLDER).
    Init { folder: Option<PathBuf> },
    /// See what Assay does, in a minute: import the 1,797 digits that come with it, train on them, and open the window. It has
    /// a workspace of its own, unless one is named.
    Demo {
        /// Train only.
        #[arg(long)]
        no_open: bool,
    },
    /// Import a folder of class folders, a zip or tar of one, or a CSV of path,label (or path,labels, as cat|dog); again to
    /// bring it up to date. Or the runs that TensorBoard, W&B (offline) or MLflow wrote to a folder, or a CSV or JSON lines of
    /// metrics: they are followed from then on. Or another workspace, which is taken over as merge does it.
    Import {
        source: PathBuf,
        /// The dataset's name, or the experiment of runs that name none; the source's own without it.
        #[arg(long)]
        name: Option<String>,
        /// Share of validation samples.
        #[arg(long)]
        val: Option<f64>,
        /// Share of test samples.
        #[arg(long)]
        test: Option<f64>,
        /// The seed of the split.
        #[arg(long)]
        seed: Option<u64>,
        /// An image may have any number of classes, as in a CSV of path,labels.
        #[arg(long)]
        multi_label: bool,
        /// The step column of tables of metrics; an empty name returns to the automatic choice.
        #[arg(long, value_name = "COLUMN")]
        step: Option<String>,
        /// The time column of tables of metrics; an empty name returns to the automatic choice.
        #[arg(long, value_name = "COLUMN")]
        time: Option<String>,
    },
    /// List the folders and files of other programs whose runs are followed.
    Sources {
        /// Follow the one of this number no longer; its runs stay.
        #[arg(long, value_name = "NUMBER")]
        forget: Option<SourceId>,
    },
    /// List the datasets.
    Datasets {
        /// List removed datasets.
        #[arg(long)]
        removed: bool,
    },
    /// Change a dataset: its name, place and samples; export its labels: assay data export digits labels.csv
    Data {
        #[command(subcommand)]
        what: DataCommand,
    },
    /// List the versions of a dataset that runs learned from.
    Snapshots {
        /// The dataset's name or number; not needed where there is one only.
        dataset: Option<String>,
    },
    /// Train a run: assay train digits.toml optimizer.lr=3e-4 model.name=resnet18
    Train {
        /// A config file, then overrides as key=value.
        #[arg(value_name = "CONFIG.toml | key=value")]
        config_and_overrides: Vec<String>,
        #[arg(skip)]
        config: Option<PathBuf>,
        #[arg(skip)]
        overrides: Vec<String>,
        /// The dataset, by name or number; not needed where there is only one.
        #[arg(long = "data", short = 'd')]
        dataset: Option<String>,
        /// The run's name.
        #[arg(long)]
        name: Option<String>,
        /// The experiment that it belongs to.
        #[arg(long)]
        experiment: Option<String>,
        /// What people should know of it.
        #[arg(long)]
        note: Option<String>,
        /// Go on with an ended run from its last checkpoint.
        #[arg(long, value_name = "RUN", conflicts_with = "config_and_overrides")]
        resume: Option<String>,
        /// Explain a config key instead.
        #[arg(long, value_name = "KEY")]
        explain: Option<String>,
        /// Do not wait for its end (needs a running server or window).
        #[arg(long)]
        detach: bool,
    },
    /// Explain every config key, or one: assay config model.name
    Config {
        key: Option<String>,
        /// Print a recipe, as TOML: quick, finetune or from-scratch.
        #[arg(long, conflicts_with = "key")]
        recipe: Option<String>,
        /// Print Markdown.
        #[arg(long)]
        markdown: bool,
    },
    /// List runs: assay runs status:finished 'val/accuracy>0.9' --sort=-val/accuracy
    #[command(after_long_help = FILTERS)]
    Runs {
        filter: Vec<String>,
        /// The name to sort by; a leading - sorts descending.
        #[arg(long, allow_hyphen_values = true)]
        sort: Option<String>,
        /// The maximum number of rows.
        #[arg(long, default_value_t = 50)]
        limit: usize,
        /// Columns to show, separated by commas; --help lists the names. A name with a comma is quoted: '"a,b"'.
        #[arg(long, value_name = "NAME,…")]
        columns: Vec<String>,
        /// List the deleted runs instead.
        #[arg(long)]
        deleted: bool,
    },
    /// Show everything about a run (its number, name or uid).
    Show { run: String },
    /// Show what differs between runs.
    Compare {
        #[arg(required = true)]
        runs: Vec<String>,
        /// Also what is the same.
        #[arg(long)]
        all: bool,
        /// Write a chart of the metric as SVG.
        #[arg(long, value_name = "FILE.svg")]
        chart: Option<PathBuf>,
        /// The metric to chart (default val/loss), and the only one to compare.
        #[arg(long, value_name = "KEY")]
        metric: Option<String>,
    },
    /// Delete runs; assay restore brings them back until assay gc --yes.
    Delete {
        #[arg(required = true, value_name = "RUN")]
        names: Vec<String>,
        /// The names are experiments; their runs go with them.
        #[arg(long)]
        experiment: bool,
    },
    /// Bring deleted runs back: assay runs --deleted lists them.
    Restore {
        #[arg(required = true, value_name = "RUN")]
        names: Vec<String>,
        /// The names are experiments; their runs return too.
        #[arg(long)]
        experiment: bool,
    },
    /// Give a run another name.
    Rename {
        #[arg(value_name = "RUN")]
        from: String,
        #[arg(value_name = "NAME")]
        to: String,
        /// It is an experiment.
        #[arg(long)]
        experiment: bool,
    },
    /// Tag runs, or take tags away: assay tag 3 4 team=vision draft=
    Tag {
        #[arg(required = true, num_args = 2.., value_name = "RUN… KEY=VALUE")]
        words: Vec<String>,
        /// Tag experiments.
        #[arg(long)]
        experiment: bool,
    },
    /// Replace the note of runs: assay note 3 4 "a wrong learning rate"
    Note {
        #[arg(required = true, num_args = 2.., value_name = "RUN… TEXT")]
        words: Vec<String>,
        /// Annotate experiments.
        #[arg(long)]
        experiment: bool,
    },
    /// Print every point of a metric of a run, as CSV: step, wall time, value, segment, and whether a resume superseded it.
    History {
        run: String,
        /// The metric.
        key: String,
        /// CSV, as without it; --json prints an array of objects.
        #[arg(long)]
        csv: bool,
    },
    /// List the metrics with their best values' direction, or declare it: assay metric wer --best min
    Metric {
        key: Option<String>,
        /// Which extreme is the best value.
        #[arg(long, value_enum, requires = "key")]
        best: Option<BestWord>,
    },
    /// Stop a run; it saves a checkpoint first.
    Stop { run: String },
    /// Show where the time of a run's training step goes.
    Profile {
        run: String,
        /// How many operations to list.
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// List the latest alerts, or make and change the rules that raise them.
    Alerts {
        #[command(subcommand)]
        what: Option<AlertsCommand>,
    },
    /// Predict a split with a run's best model and keep the predictions for review.
    #[command(alias = "eval")]
    Evaluate {
        run: String,
        /// train, val or test.
        #[arg(long, default_value = "test", value_parser = split)]
        split: Split,
        /// Another dataset, as it is now, by name or number; the run's own snapshot without it.
        #[arg(long = "data", short = 'd')]
        dataset: Option<String>,
        /// A snapshot, by its number or the beginning of its hash, as assay snapshots lists them.
        #[arg(long)]
        snapshot: Option<String>,
        /// Compare with another run that was evaluated on the same images.
        #[arg(long, value_name = "RUN")]
        against: Option<String>,
    },
    /// Predict images, and those in folders and below, with a run's model: assay predict photos --model digits-3
    Predict {
        #[arg(required = true)]
        images: Vec<PathBuf>,
        /// The run (its number, name or uid).
        #[arg(long, short)]
        model: String,
        /// best or last.
        #[arg(long)]
        checkpoint: Option<String>,
        /// text, csv, or jsonl: a JSON object a line.
        #[arg(long, value_enum, default_value_t)]
        format: PredictionFormat,
        /// Where to write it instead of to the terminal.
        #[arg(long, short)]
        output: Option<PathBuf>,
        /// one, mirrored or ten-crop: the views of an image whose probabilities are averaged.
        #[arg(long, default_value = "one")]
        views: String,
        /// fp32, or int8: weights of eight bits.
        #[arg(long, default_value = "fp32")]
        precision: String,
    },
    /// Show what weights of eight bits cost in accuracy and bring in speed: assay quantize digits-3
    Quantize {
        run: String,
        /// The images to compare on: train, val or test.
        #[arg(long, default_value = "test", value_parser = split)]
        split: Split,
    },
    /// Check a model against a file of demands; exit code 1 names what failed.
    Check {
        /// A folder that assay export wrote, or a run.
        model: String,
        /// The demands.
        #[arg(long, value_name = "acceptance.toml")]
        spec: PathBuf,
        /// Write a JUnit report.
        #[arg(long, value_name = "FILE.xml")]
        junit: Option<PathBuf>,
    },
    /// Write a run's model (safetensors and ONNX), config, class names and model card into a folder.
    Export {
        run: String,
        folder: PathBuf,
        /// best or last.
        #[arg(long)]
        checkpoint: Option<String>,
    },
    /// Serve the interface and the API; on an address other than loopback it demands a token.
    Serve {
        /// The address to listen on.
        #[arg(long, default_value = "127.0.0.1")]
        address: IpAddr,
        /// The port; 0 for any free one.
        #[arg(long, default_value_t = 5151)]
        port: u16,
        /// The token for addresses other than loopback; one is made without it.
        #[arg(long, env = "ASSAY_TOKEN", hide_env_values = true)]
        token: Option<String>,
    },
    /// Open the desktop window; without a display, serve the interface.
    Ui,
    /// Say what works here and what does not.
    Doctor {
        /// Read every file that is kept, too, and compare it with its hash.
        #[arg(long)]
        deep: bool,
    },
    /// Show what deleted runs and experiments, and files that nothing refers to, take up; with --yes, free it for good.
    Gc {
        /// Free it: deleted runs cannot be restored any more.
        #[arg(long)]
        yes: bool,
    },
    /// Copy the workspace, as it is now, into a folder; it stays in use.
    Backup { folder: PathBuf },
    /// Take over the runs, datasets, labels and models of another workspace; of runs that are here already, what they gained.
    Merge {
        /// The folder of the other workspace, or the one that it is in.
        folder: PathBuf,
    },
}

#[derive(Subcommand)]
pub(crate) enum DataCommand {
    /// Give a dataset another name.
    Rename { dataset: String, name: String },
    /// Remove a dataset; its name is free, and it can be restored.
    Remove { dataset: String },
    /// Bring a removed dataset back, by its name or number.
    Restore { dataset: String },
    /// Say where the source of a dataset was moved to; its images are known again by their contents.
    Relocate { dataset: String, source: PathBuf },
    /// List what could not be taken, and what contradicts itself.
    Problems { dataset: String },
    /// List samples.
    Samples {
        dataset: String,
        #[command(flatten)]
        which: WhichSamples,
        /// The maximum number of rows.
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Put the numbered or matching samples into a split.
    Split {
        dataset: String,
        /// train, val or test.
        #[arg(value_parser = split)]
        to: Split,
        #[command(flatten)]
        which: WhichSamples,
    },
    /// Remove samples from a dataset; they can be restored, and their files stay where they are.
    RemoveSamples {
        dataset: String,
        #[command(flatten)]
        which: WhichSamples,
    },
    /// Bring removed samples back.
    RestoreSamples {
        dataset: String,
        #[command(flatten)]
        which: WhichSamples,
    },
    /// Confirm the labels of images that were edited since.
    Confirm {
        dataset: String,
        #[command(flatten)]
        which: WhichSamples,
        /// The person who confirms.
        #[arg(long, env = "USER", default_value = "somebody")]
        person: String,
    },
    /// Write the labels to a CSV of path,label,split, or the images into class folders.
    Export {
        dataset: String,
        target: PathBuf,
        /// csv, or class-folders: copies of the images in SPLIT/CLASS.
        #[arg(long, value_enum, default_value_t)]
        format: ExportFormat,
    },
}

/// Selects samples of a dataset; all without options.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct WhichSamples {
    /// These sample ids.
    #[arg(long, value_delimiter = ',', value_name = "NUMBER")]
    pub(crate) sample: Vec<SampleId>,
    /// Keeps samples of a class; `none`: without a label; `empty`: labelled with no class.
    #[arg(long)]
    pub(crate) class: Option<String>,
    /// In train, val or test.
    #[arg(long = "in", value_name = "SPLIT", value_parser = split)]
    pub(crate) split: Option<Split>,
    /// In this state: missing, changed or removed.
    #[arg(long, value_parser = state)]
    pub(crate) state: Option<SampleState>,
    /// Whose path contains this text.
    #[arg(long)]
    pub(crate) name: Option<String>,
}

/// The layout of exported labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ExportFormat {
    /// A CSV of path, label and split.
    #[default]
    Csv,
    /// A folder for each split, in it one for each class.
    ClassFolders,
}

#[derive(Subcommand)]
pub(crate) enum AlertsCommand {
    /// List the rules.
    Rules,
    /// Make a rule: assay alerts add val/loss not lower for 1000 steps
    Add {
        /// What to watch for: KEY above NUMBER; KEY below NUMBER; KEY not finite; KEY not lower (or higher) for NUMBER steps;
        /// KEY silent for NUMBER s (or min, h); ended finished failed stopped crashed. KEY may be "any metric" where it says
        /// not finite or silent.
        #[arg(required = true)]
        condition: Vec<String>,
        /// Its name; the condition without it.
        #[arg(long)]
        name: Option<String>,
        /// Which runs, as in assay runs; all without it.
        #[arg(long, default_value = "")]
        filter: String,
        /// The address that each alert is posted to, as JSON.
        #[arg(long, value_name = "URL")]
        webhook: Option<String>,
        /// Show no notification beside the window.
        #[arg(long)]
        quiet: bool,
    },
    /// Put a rule in force again.
    On { rule: RuleId },
    /// Put a rule out of force.
    Off { rule: RuleId },
    /// Remove a rule; the alerts that it raised stay.
    Remove { rule: RuleId },
    /// Post a test to the webhook of a rule.
    Test { rule: RuleId },
}

/// Direction of a metric, as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum BestWord {
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// Neither.
    None,
    /// Withdraws the declaration.
    Unset,
}

impl BestWord {
    /// The declared directions.
    pub(crate) fn declared(self) -> Option<Best> {
        match self {
            BestWord::Min => Some(Best::Least),
            BestWord::Max => Some(Best::Greatest),
            BestWord::None => Some(Best::Neither),
            BestWord::Unset => None,
        }
    }
}

/// How predictions are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum PredictionFormat {
    /// The three most probable classes of each image.
    #[default]
    Text,
    /// A row for each image, a column for each class.
    Csv,
    /// A JSON object for each image.
    Jsonl,
}

fn state(word: &str) -> Result<SampleState, String> {
    SampleState::parse(word).ok_or_else(|| "a state is missing, changed or removed".into())
}

fn split(word: &str) -> Result<Split, String> {
    Split::parse(word).ok_or_else(|| "a split is train, val or test".into())
}

impl Arguments {
    /// Parses, and tells a config file from overrides.
    pub(crate) fn parse() -> Arguments {
        let mut arguments = <Arguments as Parser>::parse();
        if let Command::Train { config_and_overrides, config, overrides, .. } = &mut arguments.command {
            for word in config_and_overrides.drain(..) {
                match word.contains('=') {
                    false if config.is_none() => *config = Some(word.into()),
                    _ => overrides.push(word),
                }
            }
        }
        arguments
    }

    /// The workspace folder that the command is about.
    pub(crate) fn workspace_folder(&self) -> Result<PathBuf> {
        let here = std::env::current_dir().context("the working directory cannot be read")?;
        let of = |folder: &PathBuf| match folder.file_name() {
            Some(name) if name == FOLDER => std::path::absolute(folder),
            _ => std::path::absolute(folder.join(FOLDER)),
        };
        Ok(match (&self.command, &self.workspace) {
            (Command::Init { folder: Some(folder) }, _) => of(folder)?,
            (_, Some(folder)) => of(folder)?,
            (Command::Init { folder: None }, None) => here.join(FOLDER),
            (Command::Demo { .. }, None) => data_folder(|name| std::env::var_os(name)).join("demo").join(FOLDER),
            (_, None) => find_workspace(&here, &data_folder(|name| std::env::var_os(name))),
        })
    }
}
