//! One run: what it is, how it went, and everything that its record keeps.

use super::Cx;
use super::new_run::NewRun;
use super::profile::ProfileView;
use super::runs::by_key;
use crate::api::Then;
use crate::command::Command;
use crate::elided::elided_ui;
use crate::plot::{Look, Series, chart_ui};
use crate::route::Route;
use crate::tokens::{GRID, strong};
use crate::transport::Method;
use crate::widgets::{badge_ui, bytes, card_ui, copyable_ui, empty_ui, remote_ui, status_ui};
use crate::zoom::Zoom;
use assay_domain::entity::Run;
use assay_domain::{RunId, RunStatus, Timestamp, duration, number};
use assay_protocol::{About, RunDetail, RunPatch, SeriesQuery, SeriesReply, path};
use egui::{Align, Layout, RichText, ScrollArea, TextStyle, Ui, vec2};

/// Room beside a run's name: number, status, time and buttons.
const BESIDE_NAME: f32 = 520.0;
/// Minimum width of a name.
const LEAST_NAME: f32 = 120.0;
/// Maximum width of a key, in points.
const PAIR_NAME: f32 = 280.0;

#[derive(Clone, Copy, Default, PartialEq)]
enum Tab {
    #[default]
    Charts,
    Overview,
    Config,
    Log,
    Profile,
    Files,
}

#[derive(Default)]
pub(crate) struct RunPage {
    tab: Tab,
    look: Look,
    zoom: Zoom,
    all_metrics: bool,
    profile: ProfileView,
    note: Option<(RunId, String)>,
}

impl RunPage {
    pub(crate) fn run_ui(&mut self, ui: &mut Ui, cx: &mut Cx<'_>, run: RunId, new_run: &mut NewRun) {
        if cx.asked_for(Command::Back) {
            *cx.route = Route::Runs;
        }
        let address = path::run(run, "");
        let remote = cx.api.get::<RunDetail>(&address);
        let api = cx.api.clone();
        remote_ui(ui, &api, &address, remote, |ui, detail| {
            self.head_ui(ui, cx, detail, new_run);
            ui.add_space(GRID);
            ui.horizontal(|ui| {
                for (tab, name) in [
                    (Tab::Charts, "Charts"),
                    (Tab::Overview, "Overview"),
                    (Tab::Config, "Config"),
                    (Tab::Log, "Log"),
                    (Tab::Profile, "Profile"),
                    (Tab::Files, "Files"),
                ] {
                    if ui.selectable_label(self.tab == tab, name).clicked() {
                        self.tab = tab;
                    }
                }
            });
            ui.add_space(2.0 * GRID);
            match self.tab {
                Tab::Charts => self.charts_ui(ui, cx, detail),
                Tab::Overview => self.overview_ui(ui, cx, detail),
                Tab::Config => config_ui(ui, detail),
                Tab::Log => log_ui(ui, cx, detail),
                Tab::Profile => self.profile.profile_ui(ui, cx, run),
                Tab::Files => files_ui(ui, cx, detail),
            }
        });
    }

    fn head_ui(&mut self, ui: &mut Ui, cx: &mut Cx<'_>, detail: &RunDetail, new_run: &mut NewRun) {
        let run = &detail.run;
        let now = cx.api.get::<About>(path::ABOUT).value.map_or(Timestamp(0), |about| about.now);
        ui.horizontal(|ui| {
            if ui.button("←").on_hover_text("Back to all runs").clicked() {
                *cx.route = Route::Runs;
            }
            let room = (ui.available_width() - BESIDE_NAME).max(LEAST_NAME);
            elided_ui(ui, &run.name, TextStyle::Heading, cx.tokens.text, room);
            ui.label(RichText::new(format!("run {}", run.id)).color(cx.tokens.weak));
            status_ui(ui, run.status);
            let time = run.duration_secs(run.ended.unwrap_or(now)).map(duration).unwrap_or_default();
            ui.label(RichText::new(time).color(cx.tokens.weak));
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                // What another program runs is its own to start and stop.
                if run.client.is_some() {
                    return;
                }
                if ui.button("Clone…").on_hover_text("Start a new run from this one's config").clicked() {
                    let dataset = run.dataset.map(|dataset| dataset.to_string()).unwrap_or_default();
                    let config =
                        detail.record.as_ref().map(|record| record.config.clone()).filter(|config| !config.is_empty());
                    new_run.show_clone(run.id, dataset, config.unwrap_or_else(|| detail.config.clone()));
                }
                if let Some(evaluation) = detail.evaluations.first()
                    && ui.button("Review predictions").clicked()
                {
                    *cx.route = Route::Review(Some(evaluation.id));
                }
                if !run.status.has_ended() {
                    if ui.button("Stop run").clicked() {
                        cx.api.act(
                            Method::Post,
                            &path::run(run.id, "/stop"),
                            &(),
                            Then::Say("The run stops after its current step".into()),
                        );
                    }
                } else if run.status != RunStatus::Finished
                    && ui.button("Resume").on_hover_text("Go on from the last checkpoint").clicked()
                {
                    cx.api.act(
                        Method::Post,
                        &path::run(run.id, "/resume"),
                        &(),
                        Then::Say("The run is in the queue".into()),
                    );
                }
            });
        });
        if let Some(reason) = &run.reason {
            ui.label(RichText::new(reason).color(if run.status == RunStatus::Finished {
                cx.tokens.weak
            } else {
                cx.tokens.status(run.status)
            }));
        }
    }

    fn charts_ui(&mut self, ui: &mut Ui, cx: &Cx<'_>, detail: &RunDetail) {
        ui.horizontal(|ui| {
            self.look.look_ui(ui);
            if detail.run.client.is_none() {
                ui.checkbox(&mut self.all_metrics, "All metrics");
            }
        });
        let query = SeriesQuery { runs: detail.run.id.to_string(), ..SeriesQuery::default() };
        let address = format!("{}{}", path::SERIES, query.to_query());
        let remote = cx.api.get::<Vec<SeriesReply>>(&address);
        let (look, all) = (self.look, self.all_metrics || detail.run.client.is_some());
        let refined = remote.value.as_ref().map(|series| self.zoom.refined(cx.api, &query, series));
        let mut shown = None;
        remote_ui(ui, cx.api, &address, remote, |ui, series| {
            let by_key = by_key(refined.as_deref().unwrap_or(series));
            let buckets = |key: &str| by_key.get(key).map(|series| series.buckets.as_slice()).unwrap_or_default();
            let mut charts: Vec<(&str, Vec<Series<'_>>)> = Vec::new();
            for (title, train, val) in
                [("Loss", "train/loss", "val/loss"), ("Accuracy", "train/accuracy", "val/accuracy")]
            {
                // Other programs have other keys.
                if detail.run.client.is_none() || by_key.contains_key(train) || by_key.contains_key(val) {
                    let line =
                        |name, color, key| Series { name, color: cx.tokens.series(color), buckets: buckets(key) };
                    charts.push((title, vec![line("train", 0, train), line("validation", 1, val)]));
                }
            }
            let drawn = ["train/loss", "val/loss", "train/accuracy", "val/accuracy"];
            for key in by_key.keys().filter(|key| all && !drawn.contains(&&***key)) {
                charts.push((key, vec![Series { name: key, color: cx.tokens.series(2), buckets: buckets(key) }]));
            }
            if charts.is_empty() {
                empty_ui(ui, "No metrics yet", "Each metric that the run logs is drawn here.", None);
            }
            let across = if ui.available_width() > 760.0 { 2 } else { 1 };
            let height = if all { 220.0 } else { (ui.available_height() - 8.0).clamp(200.0, 560.0) };
            let rows = charts.len().div_ceil(across);
            // Only what is seen is drawn: a run may have thousands of metrics.
            ScrollArea::vertical().id_salt("run charts").show_rows(ui, height, rows, |ui, seen| {
                for row in charts.chunks(across).skip(seen.start).take(seen.len()) {
                    let size = vec2(ui.available_width(), height);
                    ui.allocate_ui(size, |ui| {
                        ui.columns(across, |columns| {
                            for (ui, (title, lines)) in columns.iter_mut().zip(row) {
                                ui.set_min_height(height);
                                shown = chart_ui(ui, title, "run", height, look, lines).or(shown);
                            }
                        });
                    });
                }
            });
        });
        self.zoom.shows(shown);
    }

    fn overview_ui(&mut self, ui: &mut Ui, cx: &Cx<'_>, detail: &RunDetail) {
        let run = &detail.run;
        ScrollArea::vertical().id_salt("overview").show(ui, |ui| {
            ui.set_width(ui.available_width());
            let (owner, note) = self.note.get_or_insert_with(|| (run.id, run.note.clone()));
            if *owner != run.id {
                (*owner, *note) = (run.id, run.note.clone());
            }
            ui.horizontal(|ui| {
                ui.label(RichText::new("Note").color(cx.tokens.weak));
                let field = ui.add(
                    egui::TextEdit::singleline(note)
                        .hint_text("What should people know of this run?")
                        .desired_width(520.0),
                );
                if field.accessible_name("Note").lost_focus() && *note != run.note {
                    let patch = RunPatch { note: Some(note.clone()), ..RunPatch::default() };
                    cx.api.act(Method::Patch, &path::run(run.id, ""), &patch, Then::Say("Note saved".into()));
                }
            });
            ui.add_space(2.0 * GRID);
            if let Some(client) = &run.client {
                return client_ui(ui, run, client);
            }
            let Some(record) = &detail.record else {
                ui.label(RichText::new("The record is made when the run starts.").color(cx.tokens.weak));
                return;
            };
            let code = &record.code;
            section_ui(ui, "Code", |ui| {
                let commit = match (&code.commit, &code.summary) {
                    (Some(commit), summary) => {
                        format!("{}  {}", &commit[..12.min(commit.len())], summary.as_deref().unwrap_or_default())
                    }
                    (None, _) => "no commit".into(),
                };
                pair_ui(ui, "commit", &commit);
                if let Some(branch) = &code.branch {
                    pair_ui(ui, "branch", branch);
                }
                if let Some(remote) = &code.remote {
                    pair_ui(ui, "remote", remote);
                }
                for (what, files) in [
                    ("staged", &code.staged),
                    ("unstaged", &code.unstaged),
                    ("untracked", &code.untracked),
                    ("left out", &code.left_out),
                    ("notes", &code.notes),
                ] {
                    if !files.is_empty() {
                        pair_ui(ui, what, &files.join("\n"));
                    }
                }
                pair_ui(ui, "changes", code.changes());
            });
            section_ui(ui, "Command", |ui| {
                pair_ui(ui, "command", &record.command.arguments.join(" "));
                pair_ui(ui, "directory", &record.command.directory);
                pair_ui(ui, "program", &format!("{} ({})", record.command.program, record.command.build));
                for (name, value) in &record.command.environment {
                    pair_ui(ui, name, value);
                }
            });
            if let Some(data) = &record.data {
                section_ui(ui, "Data", |ui| {
                    pair_ui(ui, "dataset", &data.dataset);
                    pair_ui(ui, "snapshot", &data.snapshot);
                    let counts: Vec<String> =
                        data.samples.iter().map(|(split, count)| format!("{count} {split}")).collect();
                    pair_ui(ui, "images", &counts.join(", "));
                    pair_ui(ui, "classes", &data.classes.join(", "));
                });
            }
            section_ui(ui, "Machine", |ui| {
                let machine = &record.machine;
                pair_ui(ui, "device", &machine.device);
                pair_ui(ui, "cpu", &format!("{}, {} cores", machine.cpu, machine.cores));
                pair_ui(ui, "memory", &bytes(machine.memory_bytes));
                pair_ui(ui, "system", &format!("{} on {}", machine.os, machine.host));
                pair_ui(ui, "seed", &record.seed.to_string());
            });
            metrics_ui(ui, run);
        });
    }
}

/// What another program says of its run.
fn client_ui(ui: &mut Ui, run: &Run, client: &str) {
    section_ui(ui, "Logged by", |ui| {
        pair_ui(ui, "program", client);
        if let Some(user) = &run.user {
            pair_ui(ui, "user", user);
        }
        pair_ui(ui, "experiment", &run.experiment);
        pair_ui(ui, "id", &run.uid);
    });
    for (title, pairs) in [("Params", &run.params), ("Tags", &run.tags)] {
        if !pairs.is_empty() {
            section_ui(ui, title, |ui| pairs.iter().for_each(|(key, value)| pair_ui(ui, key, value)));
        }
    }
    metrics_ui(ui, run);
}

fn metrics_ui(ui: &mut Ui, run: &Run) {
    section_ui(ui, "Metrics", |ui| {
        for (key, summary) in run.metrics.iter().filter(|(key, _)| !key.starts_with("system/")) {
            let text = |extreme: Option<(f64, i64)>| {
                extreme.map_or("–".into(), |(value, step)| format!("{} at {step}", number(value)))
            };
            let last = summary.last.map_or("NaN".into(), number);
            pair_ui(ui, key, &format!("last {last}   min {}   max {}", text(summary.min), text(summary.max)));
        }
    });
}

fn section_ui(ui: &mut Ui, title: &str, contents: impl FnOnce(&mut Ui)) {
    card_ui(ui, |ui| {
        ui.set_width(ui.available_width());
        ui.label(RichText::new(title).font(strong(13.0)));
        ui.add_space(GRID);
        egui::Grid::new(title).num_columns(2).spacing([24.0, 4.0]).show(ui, contents);
    });
    ui.add_space(GRID);
}

fn pair_ui(ui: &mut Ui, name: &str, value: &str) {
    let tokens = crate::tokens::Tokens::of(ui.ctx());
    elided_ui(ui, name, TextStyle::Body, tokens.weak, PAIR_NAME);
    copyable_ui(ui, value);
    ui.end_row();
}

fn config_ui(ui: &mut Ui, detail: &RunDetail) {
    if detail.run.client.is_some() {
        let hint = "Another program logs this run; its params are under Overview.";
        ui.label(RichText::new(hint).color(crate::tokens::Tokens::of(ui.ctx()).weak));
        return;
    }
    let resolved = detail.record.as_ref().map(|record| record.config.as_str()).filter(|config| !config.is_empty());
    let text = resolved.unwrap_or(&detail.config);
    ui.horizontal(|ui| {
        if ui.button("Copy").on_hover_text("Copy the config").clicked() {
            ui.ctx().copy_text(text.to_owned());
        }
    });
    ScrollArea::vertical().id_salt("config").show(ui, |ui| {
        ui.set_width(ui.available_width());
        copyable_ui(ui, text);
    });
}

fn log_ui(ui: &mut Ui, cx: &Cx<'_>, detail: &RunDetail) {
    if detail.log.is_empty() {
        ui.label(RichText::new("Nothing was logged yet.").color(cx.tokens.weak));
    }
    let start = detail.run.started.unwrap_or(detail.run.created);
    ScrollArea::vertical().id_salt("log").auto_shrink(false).stick_to_bottom(true).show_rows(
        ui,
        16.0,
        detail.log.len(),
        |ui, rows| {
            for line in &detail.log[rows] {
                ui.horizontal(|ui| {
                    let at = format!("{:>8.1} s", line.at.seconds_since(start));
                    ui.label(RichText::new(at).monospace().color(cx.tokens.weak));
                    copyable_ui(ui, &line.text);
                });
            }
        },
    );
}

fn files_ui(ui: &mut Ui, cx: &Cx<'_>, detail: &RunDetail) {
    if detail.artifacts.is_empty() {
        ui.label(RichText::new("The run kept no files yet.").color(cx.tokens.weak));
    }
    for checkpoint in &detail.checkpoints {
        let accuracy = checkpoint
            .val_accuracy
            .map(|accuracy| format!(", val accuracy {:.2} %", accuracy * 100.0))
            .unwrap_or_default();
        badge_ui(
            ui,
            &format!(
                "{} checkpoint: epoch {}, step {}{accuracy}",
                checkpoint.kind.as_str(),
                checkpoint.epoch,
                checkpoint.step
            ),
            cx.tokens.accent,
        );
    }
    ScrollArea::vertical().id_salt("files").show(ui, |ui| {
        egui::Grid::new("files").num_columns(3).spacing([24.0, 4.0]).show(ui, |ui| {
            for artifact in &detail.artifacts {
                let path = RichText::new(&artifact.path).monospace();
                ui.add(egui::Label::new(path).selectable(true).extend());
                ui.label(RichText::new(bytes(artifact.bytes)).color(cx.tokens.weak));
                copyable_ui(ui, &artifact.hash[..16.min(artifact.hash.len())]);
                ui.end_row();
            }
        });
    });
}
