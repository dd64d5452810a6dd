//! The runs table with the charts of the chosen runs.

use super::Cx;
use super::data::Data;
use super::new_run::NewRun;
use crate::api::{Api, Then};
use crate::elided::fitted;
use crate::plot::{Look, Series, chart_ui};
use crate::route::Route;
use crate::tokens::{GRID, ROW, strong};
use crate::transport::Method;
use crate::widgets::{empty_ui, primary_button, remote_ui, status_ui};
use crate::zoom::Zoom;
use assay_domain::entity::{Experiment, Run};
use assay_domain::{Best, ExperimentId, RunId, RunStatus, Timestamp, counted, duration, number, query};
use assay_protocol::{About, DirectionChange, RunsQuery, RunsReply, SeriesQuery, SeriesReply, path};
use egui::{Align, Layout, RichText, ScrollArea, Sense, TextEdit, TextStyle, Ui, vec2};
use egui_extras::{Column, TableBuilder};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Runs that are drawn without being chosen.
const DRAWN: usize = 5;

#[derive(Default)]
pub(crate) struct Runs {
    filter: String,
    sort: Option<String>,
    chosen: Vec<RunId>,
    look: Look,
    zoom: Zoom,
    /// The metrics in the columns of a reply.
    columns: Option<(Arc<RunsReply>, Vec<String>)>,
}

/// The metrics that are shown of Assay's own runs.
const METRICS: [&str; 4] = ["train/loss", "val/loss", "train/accuracy", "val/accuracy"];
/// So many more are shown of runs that other programs log.
const OTHERS: usize = 2;

/// The metrics that are shown of some runs: the usual ones, and what most runs of other programs have.
fn metrics_of(runs: &[&Run]) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for run in runs.iter().filter(|run| run.client.is_some()) {
        for key in run.metrics.keys().filter(|key| !key.starts_with("system/") && key.as_str() != "epoch") {
            *counts.entry(key).or_default() += 1;
        }
    }
    let has_own = counts.is_empty() || runs.iter().any(|run| run.client.is_none());
    let mut shown: Vec<String> = if has_own { METRICS.map(str::to_owned).to_vec() } else { Vec::new() };
    let most = if has_own { METRICS.len() + OTHERS } else { METRICS.len() };
    let mut others: Vec<(&str, usize)> = counts.into_iter().collect();
    others.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    for (key, _) in others {
        if shown.len() < most && !shown.iter().any(|own| own == key) {
            shown.push(key.to_owned());
        }
    }
    shown
}

/// What of a run's params tells it from others at a glance.
fn params_text(run: &Run) -> String {
    let param = |key: &str| run.params.get(key).cloned().unwrap_or_default();
    match &run.client {
        None => format!(
            "{}  {} {}  batch {}",
            param("model.name"),
            param("optimizer.name"),
            param("optimizer.lr"),
            param("train.batch_size")
        ),
        Some(client) => {
            let params = run.params.iter().take(6).map(|(key, value)| format!("  {key} {value}"));
            format!("{client}{}", params.collect::<String>())
        }
    }
}

impl Runs {
    /// Leads on to the runs of an experiment.
    pub(crate) fn experiment_ui(&mut self, ui: &mut Ui, cx: &mut Cx<'_>, experiment: ExperimentId) {
        let remote = cx.api.get::<Vec<Experiment>>(path::EXPERIMENTS);
        let api = cx.api.clone();
        remote_ui(ui, &api, path::EXPERIMENTS, remote, |_, experiments| {
            let name = experiments.iter().find(|one| one.id == experiment).map(|one| one.name.as_str());
            self.filter = name.map_or_else(String::new, |name| format!("experiment:{}", query::quoted(name)));
            *cx.route = Route::Runs;
        });
    }

    pub(crate) fn runs_ui(&mut self, ui: &mut Ui, cx: &mut Cx<'_>, new_run: &mut NewRun, data: &mut Data) {
        let query = RunsQuery {
            filter: self.filter.clone(),
            sort: self.sort.clone(),
            limit: Some(1_000),
            ..RunsQuery::default()
        };
        let address = format!("{}{}", path::RUNS, query.to_query());
        let remote = cx.api.get::<RunsReply>(&address);
        let now = cx.api.get::<About>(path::ABOUT).value.map_or(Timestamp(0), |about| about.now);
        let api = cx.api.clone();
        let empty = remote.value.as_ref().is_some_and(|reply| reply.runs.is_empty()) && self.filter.is_empty();
        if empty {
            if empty_ui(
                ui,
                "No runs yet",
                "Import labelled images, then train a model on them. Each run is recorded completely.",
                Some("New run…"),
            ) {
                new_run.show();
            }
            ui.vertical_centered(|ui| {
                ui.add_space(GRID);
                if ui.link("Or import the runs of TensorBoard, W&B or MLflow…").clicked() {
                    data.offer("");
                }
            });
            return;
        }
        if let Some(reply) = &remote.value
            && !self.columns.as_ref().is_some_and(|(of, _)| Arc::ptr_eq(of, reply))
        {
            self.columns = Some((reply.clone(), metrics_of(&reply.runs.iter().collect::<Vec<_>>())));
        }
        ui.horizontal(|ui| {
            ui.heading("Runs");
            ui.add_space(2.0 * GRID);
            let hint = "Filter: name, status:finished, optimizer.lr>=1e-3, val/accuracy>0.9";
            ui.add(TextEdit::singleline(&mut self.filter).hint_text(hint).desired_width(420.0))
                .accessible_name("Filter runs");
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                if primary_button(ui, "New run…").clicked() {
                    new_run.show();
                }
                let what = "The runs that TensorBoard, W&B or MLflow logged to a folder, or a table of metrics";
                if ui.button("Import runs…").on_hover_text(what).clicked() {
                    data.offer("");
                }
                let enough = self.chosen.len() >= 2;
                let compare = ui.add_enabled(
                    enough,
                    egui::Button::new(format!(
                        "Compare {}",
                        if enough { self.chosen.len().to_string() } else { String::new() }
                    )),
                );
                if compare.on_disabled_hover_text("Tick two or more runs to compare them").clicked() {
                    *cx.route = Route::Compare(self.chosen.clone());
                }
            });
        });
        ui.add_space(2.0 * GRID);
        remote_ui(ui, &api, &address, remote, |ui, reply| {
            for note in &reply.notes {
                ui.label(RichText::new(note).color(cx.tokens.warning));
            }
            let table_height =
                (ui.available_height() * 0.42).min(44.0 + (ROW + 6.0) * reply.runs.len() as f32).max(80.0);
            let size = vec2(ui.available_width(), table_height);
            let columns = ScrollArea::horizontal().id_salt("columns").max_height(table_height);
            ui.allocate_ui(size, |ui| columns.show(ui, |ui| self.table_ui(ui, cx, reply, now)));
            ui.add_space(2.0 * GRID);
            let drawn: Vec<&Run> = match self.chosen.is_empty() {
                true => reply.runs.iter().take(DRAWN).collect(),
                false => reply.runs.iter().filter(|run| self.chosen.contains(&run.id)).collect(),
            };
            ui.horizontal(|ui| self.look.look_ui(ui));
            ui.add_space(GRID);
            self.charts_ui(ui, cx, &drawn);
        });
    }

    fn table_ui(&mut self, ui: &mut Ui, cx: &mut Cx<'_>, reply: &RunsReply, now: Timestamp) {
        let tokens = cx.tokens;
        let mut table = TableBuilder::new(ui)
            .id_salt("runs")
            .min_scrolled_height(0.0)
            .max_scroll_height(f32::INFINITY)
            .striped(false)
            .sense(Sense::click())
            .cell_layout(Layout::left_to_right(Align::Center))
            .column(Column::exact(30.0))
            .column(Column::exact(44.0))
            .column(Column::initial(190.0).at_least(90.0).clip(true))
            .column(Column::initial(104.0).at_least(90.0));
        let metrics = self.columns.as_ref().map(|(_, metrics)| metrics.clone()).unwrap_or_default();
        for _ in &metrics {
            table = table.column(Column::initial(112.0).at_least(80.0).clip(true));
        }
        table = table
            .column(Column::initial(96.0).at_least(60.0))
            .column(Column::remainder().clip(true))
            .auto_shrink([false, false]);
        let mut heads = vec![("", None), ("#", Some("run")), ("Name", Some("name")), ("Status", Some("status"))];
        heads.extend(metrics.iter().map(|key| (key.as_str(), Some(key.as_str()))));
        heads.extend([("Time", Some("duration")), ("Config", None)]);
        let api = cx.api;
        table
            .header(26.0, |mut header| {
                for (text, key) in heads {
                    header.col(|ui| {
                        let Some(key) = key else {
                            ui.label(RichText::new(text).color(tokens.weak));
                            return;
                        };
                        let (up, down) = (key.to_owned(), format!("-{key}"));
                        let arrow = match &self.sort {
                            Some(sort) if *sort == up => " ▲",
                            Some(sort) if *sort == down => " ▼",
                            _ => "",
                        };
                        let room = ui.available_width() - if arrow.is_empty() { 0.0 } else { 4.0 * GRID };
                        let shown = fitted(ui, text, &TextStyle::Button.resolve(ui.style()), room);
                        let button =
                            egui::Button::new(RichText::new(format!("{shown}{arrow}")).color(tokens.weak)).frame(false);
                        let is_metric = metrics.iter().any(|metric| metric == key);
                        let best = is_metric.then(|| reply.directions.of(key));
                        let more = if is_metric { "\nRight-click: which value is the best" } else { "" };
                        let button = ui.add(button).accessible_name(format!("{text}{arrow}"));
                        let button = button.on_hover_text(format!("Sort by {text}{more}"));
                        if let Some(best) = best {
                            button.context_menu(|ui| best_ui(ui, api, key, best));
                        }
                        if button.clicked() {
                            self.sort = match &self.sort {
                                Some(sort) if *sort == down => Some(up),
                                Some(sort) if *sort == up => None,
                                _ => Some(down),
                            };
                        }
                    });
                }
            })
            .body(|body| {
                body.rows(ROW, reply.runs.len(), |mut row| {
                    let run = &reply.runs[row.index()];
                    let place = self.chosen.iter().position(|id| *id == run.id);
                    row.col(|ui| {
                        let mut on = place.is_some();
                        let boxed = ui.checkbox(&mut on, "").accessible_name(format!("Choose run {}", run.id));
                        if boxed.changed() {
                            self.chosen.retain(|id| *id != run.id);
                            if on {
                                self.chosen.push(run.id);
                            }
                        }
                    });
                    row.col(|ui| {
                        ui.label(RichText::new(run.id.to_string()).color(tokens.weak));
                    });
                    row.col(|ui| {
                        let color = tokens.series(run.id.0 as usize);
                        let (rect, _) = ui.allocate_exact_size(vec2(10.0, 10.0), Sense::hover());
                        ui.painter().circle_filled(rect.center(), 4.5, color);
                        if ui.link(RichText::new(&run.name).font(strong(13.0)).color(tokens.text)).clicked() {
                            *cx.route = Route::Run(run.id);
                        }
                    });
                    row.col(|ui| status_ui(ui, run.status));
                    for key in &metrics {
                        row.col(|ui| metric_ui(ui, run, key, reply.directions.of(key)));
                    }
                    row.col(|ui| {
                        let text = match run.status {
                            RunStatus::Running => {
                                run.progress.fraction().map(|share| format!("{:.0} %", share * 100.0))
                            }
                            _ => run.duration_secs(now).map(duration),
                        };
                        ui.label(RichText::new(text.unwrap_or_default()).color(tokens.weak));
                    });
                    row.col(|ui| {
                        ui.label(RichText::new(params_text(run)).color(tokens.weak));
                    });
                    if row.response().double_clicked() {
                        *cx.route = Route::Run(run.id);
                    }
                });
            });
    }

    fn charts_ui(&mut self, ui: &mut Ui, cx: &Cx<'_>, drawn: &[&Run]) {
        let runs: Vec<String> = drawn.iter().map(|run| run.id.to_string()).collect();
        if runs.is_empty() {
            return;
        }
        let across = if ui.available_width() > 760.0 { 2 } else { 1 };
        let metrics = metrics_of(drawn);
        let height = (ui.available_height() / metrics.len().div_ceil(across) as f32 - 16.0).max(180.0);
        let mut shown = None;
        ScrollArea::vertical().id_salt("charts").show(ui, |ui| {
            ui.columns(across, |columns| {
                for (index, key) in metrics.iter().enumerate() {
                    let query = SeriesQuery { runs: runs.join(","), key: key.clone(), ..SeriesQuery::default() };
                    let address = format!("{}{}", path::SERIES, query.to_query());
                    let remote = cx.api.get::<Vec<SeriesReply>>(&address);
                    let ui = &mut columns[index % across];
                    let found = self.zoom.refined(cx.api, &query, &remote.value.unwrap_or_default());
                    let name = |id: RunId| drawn.iter().find(|run| run.id == id).map_or("", |run| run.name.as_str());
                    let series: Vec<Series<'_>> = found
                        .iter()
                        .map(|series| Series {
                            name: name(series.run),
                            color: cx.tokens.series(series.run.0 as usize),
                            buckets: &series.buckets,
                        })
                        .collect();
                    shown = chart_ui(ui, key, "runs", height, self.look, &series).or(shown);
                }
            });
        });
        self.zoom.shows(shown);
    }
}

/// Declares the direction of a metric.
fn best_ui(ui: &mut Ui, api: &Api, key: &str, best: Best) {
    ui.label(format!("The best value of {key} is"));
    for (choice, name) in
        [(Best::Least, "the least"), (Best::Greatest, "the greatest"), (Best::Neither, "neither, or it is not known")]
    {
        if ui.radio(best == choice, name).clicked() {
            let change = DirectionChange { key: key.to_owned(), best: Some(choice) };
            api.act(Method::Patch, path::METRICS, &change, Then::Nothing);
            ui.close();
        }
    }
}

fn metric_ui(ui: &mut Ui, run: &Run, key: &str, best: Best) {
    let tokens = crate::tokens::Tokens::of(ui.ctx());
    let Some(summary) = run.metrics.get(key) else {
        ui.label(RichText::new("–").color(tokens.weak));
        return;
    };
    let last = summary.last.unwrap_or(f64::NAN);
    let color = if last.is_finite() { tokens.text } else { tokens.warning };
    let extremes = match best {
        Best::Neither => vec![("min", summary.min), ("max", summary.max)],
        Best::Least | Best::Greatest => vec![("best", best.of(summary))],
    };
    let mut hint = String::new();
    for (what, extreme) in extremes {
        if let Some((value, step)) = extreme {
            hint += &format!("{what} {} at step {step}\n", number(value));
        }
    }
    hint += &counted(summary.count, "point");
    ui.label(RichText::new(number(last)).color(color)).on_hover_text(hint);
}

/// The series of a run by metric.
pub(super) fn by_key(series: &[SeriesReply]) -> BTreeMap<&str, &SeriesReply> {
    series.iter().map(|series| (series.key.as_str(), series)).collect()
}
