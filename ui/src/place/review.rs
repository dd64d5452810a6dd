//! Review: from one number to the images behind it.

use super::Cx;
use super::scores::ScoresView;
use crate::api::Then;
use crate::command::Command;
use crate::route::Route;
use crate::tokens::{GRID, Tokens, strong};
use crate::transport::Method;
use crate::widgets::{badge_ui, card_ui, empty_ui, image_ui, remote_ui, tile_ui, tiles_ui};
use assay_domain::confusion::{Confusion, Decisions, Matrix};
use assay_domain::entity::{Author, Dataset, Evaluation, Prediction};
use assay_domain::{ClassId, EvaluationId, Label, RunId, Split, number};
use assay_protocol::{EvaluateRequest, PredictionPage, PredictionsQuery, SampleDetail, SimilarSample, path};
use egui::{Align, Align2, FontId, Layout, Rect, RichText, ScrollArea, Sense, Ui, pos2, vec2};
use egui_extras::{Column, TableBuilder};
use std::sync::Arc;

const PAGE: usize = 120;

#[derive(Default)]
pub(crate) struct Review {
    evaluation: Option<EvaluationId>,
    cell: Option<Cell>,
    wrong: bool,
    order: Order,
    opened: Option<usize>,
    shows_scores: bool,
    scores: ScoresView,
}

/// What was counted together.
#[derive(Clone, Copy, PartialEq)]
enum Cell {
    /// Labelled with one class and predicted as another.
    Pair { label: usize, predicted: usize },
    /// Labelled with the class, and predicted so.
    Found(usize),
    /// Labelled with the class, and not predicted so.
    Missed(usize),
    /// Predicted as the class, and not labelled so.
    Wrong(usize),
}

impl Cell {
    fn title(self, classes: &[String]) -> String {
        match self {
            Cell::Pair { label, predicted } => format!("{} predicted as {}", classes[label], classes[predicted]),
            Cell::Found(class) => format!("{} found", classes[class]),
            Cell::Missed(class) => format!("{} missed", classes[class]),
            Cell::Wrong(class) => format!("Wrongly {}", classes[class]),
        }
    }

    /// The predictions that it counts.
    fn query(self) -> PredictionsQuery {
        let (label, not_label, predicted, not_predicted) = match self {
            Cell::Pair { label, predicted } => (Some(label), None, Some(predicted), None),
            Cell::Found(class) => (Some(class), None, Some(class), None),
            Cell::Missed(class) => (Some(class), None, None, Some(class)),
            Cell::Wrong(class) => (None, Some(class), Some(class), None),
        };
        let id = |class: Option<usize>| class.map(|class| class as i64);
        PredictionsQuery {
            label: id(label),
            label_without: id(not_label),
            predicted: id(predicted),
            predicted_without: id(not_predicted),
            ..PredictionsQuery::default()
        }
    }
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Order {
    #[default]
    Loss,
    Confidence,
}

impl Review {
    pub(crate) fn review_ui(&mut self, ui: &mut Ui, cx: &mut Cx<'_>, evaluation: Option<EvaluationId>) {
        let remote = cx.api.get::<Vec<Evaluation>>(path::EVALUATIONS);
        let api = cx.api.clone();
        remote_ui(ui, &api, path::EVALUATIONS, remote, |ui, evaluations| {
            if evaluations.is_empty() {
                let text = "When a run finishes, its best model predicts the test images. They are reviewed here, the worst first.";
                if empty_ui(ui, "Nothing to review yet", text, Some("Go to runs")) {
                    *cx.route = Route::Runs;
                }
                return;
            }
            match evaluations.iter().find(|found| Some(found.id) == evaluation) {
                Some(shown) => {
                    if self.evaluation != Some(shown.id) {
                        *self = Review { evaluation: Some(shown.id), ..Review::default() };
                    }
                    let same = |other: &&Evaluation| {
                        other.id != shown.id && other.snapshot == shown.snapshot && other.split == shown.split
                    };
                    let others: Vec<&Evaluation> = evaluations.iter().filter(same).collect();
                    self.evaluation_ui(ui, cx, shown, &others);
                }
                None => list_ui(ui, cx, evaluations),
            }
        });
    }

    fn evaluation_ui(&mut self, ui: &mut Ui, cx: &mut Cx<'_>, evaluation: &Evaluation, others: &[&Evaluation]) {
        if cx.asked_for(Command::Back) && self.opened.take().is_none() && self.cell.take().is_none() {
            *cx.route = Route::Review(None);
        }
        ui.horizontal(|ui| {
            if ui.button("←").on_hover_text("Back to all evaluations").clicked() {
                *cx.route = Route::Review(None);
            }
            ui.heading(format!("Run {} on {}", evaluation.run, evaluation.split));
            let percent = |value: Option<f64>| value.map_or("–".into(), |value| format!("{:.2} %", value * 100.0));
            ui.label(RichText::new(percent(evaluation.confusion.accuracy())).font(strong(18.0)).color(cx.tokens.good));
            ui.label(RichText::new(evaluation.confusion.labelling().accuracy_name()).color(cx.tokens.weak));
            // What does not fit beside the buttons is left to the list of evaluations.
            if ui.available_width() > 520.0 {
                ui.label(percent(evaluation.confusion.macro_f1()));
                ui.label(RichText::new("macro F1").color(cx.tokens.weak));
                if let Some(loss) = evaluation.loss {
                    ui.label(number(loss));
                    ui.label(RichText::new("loss").color(cx.tokens.weak));
                }
            }
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                if ui.button("Open run").clicked() {
                    *cx.route = Route::Run(evaluation.run);
                }
                evaluate_buttons_ui(ui, cx, evaluation.run);
            });
        });
        ui.add_space(2.0 * GRID);
        let whole = ui.available_rect_before_wrap();
        let matrix_side = (whole.width() * 0.42).min(whole.height() - 8.0).clamp(220.0, 560.0);
        let left = Rect::from_min_size(whole.min, vec2(matrix_side, whole.height()));
        let right = Rect::from_min_max(pos2(left.right() + 20.0, whole.top()), whole.max);
        ui.scope_builder(egui::UiBuilder::new().max_rect(left), |ui| match &evaluation.confusion {
            Confusion::Matrix(matrix) => self.matrix_ui(ui, cx, &evaluation.classes, matrix, matrix_side),
            sets @ Confusion::Sets(_) => self.decisions_ui(ui, cx, &evaluation.classes, sets),
        });
        ui.scope_builder(egui::UiBuilder::new().max_rect(right), |ui| {
            ui.horizontal(|ui| {
                for (shown, name) in [(false, "Images"), (true, "Scores")] {
                    if ui.selectable_label(self.shows_scores == shown, name).clicked() {
                        self.shows_scores = shown;
                    }
                }
            });
            ui.add_space(GRID);
            match self.shows_scores {
                true => self.scores.scores_ui(ui, cx, evaluation, others),
                false => self.samples_ui(ui, cx, evaluation),
            }
        });
    }

    /// The confusion matrix; a click on a cell shows its samples.
    fn matrix_ui(&mut self, ui: &mut Ui, cx: &Cx<'_>, names: &[String], matrix: &Matrix, side: f32) {
        let classes = names.len();
        let (margin, head) = (56.0, 40.0);
        let cell =
            ((side - margin) / classes as f32).min((ui.available_height() - head - 30.0) / classes as f32).min(52.0);
        let most = (0..classes).flat_map(|label| (0..classes).filter(move |p| *p != label).map(move |p| (label, p)));
        let most = most.map(|(label, predicted)| matrix.count(label, predicted)).max().unwrap_or(0).max(1);
        ui.label(RichText::new("Confusion matrix").font(strong(13.0)));
        let (area, _) =
            ui.allocate_exact_size(vec2(margin + cell * classes as f32, head + cell * classes as f32), Sense::hover());
        let origin = area.min + vec2(margin, head);
        let small = FontId::proportional(11.0);
        let short = |name: &str| name.chars().take(7).collect::<String>();
        ui.painter().text(
            origin + vec2(cell * classes as f32 / 2.0, -head + 2.0),
            Align2::CENTER_TOP,
            "predicted",
            small.clone(),
            cx.tokens.weak,
        );
        for (index, name) in names.iter().enumerate() {
            let middle = (index as f32 + 0.5) * cell;
            ui.painter().text(
                origin + vec2(-6.0, middle),
                Align2::RIGHT_CENTER,
                short(name),
                small.clone(),
                cx.tokens.weak,
            );
            ui.painter().text(
                origin + vec2(middle, -5.0),
                Align2::CENTER_BOTTOM,
                short(name),
                small.clone(),
                cx.tokens.weak,
            );
        }
        for label in 0..classes {
            let row: u64 = (0..classes).map(|predicted| matrix.count(label, predicted)).sum();
            for predicted in 0..classes {
                let count = matrix.count(label, predicted);
                let rect = Rect::from_min_size(origin + vec2(predicted as f32, label as f32) * cell, vec2(cell, cell))
                    .shrink(1.0);
                let fill = if count == 0 {
                    cx.tokens.panel
                } else if label == predicted {
                    Tokens::blend(cx.tokens.panel, cx.tokens.good, 0.25 + 0.5 * count as f32 / row.max(1) as f32)
                } else {
                    Tokens::blend(cx.tokens.panel, cx.tokens.bad, 0.3 + 0.6 * count as f32 / most as f32)
                };
                let response = ui.interact(rect, ui.scope_id().with((label, predicted)), Sense::click());
                let name = format!("{count} labelled {} predicted as {}", names[label], names[predicted]);
                let cell_here = Cell::Pair { label, predicted };
                let chosen = self.cell == Some(cell_here);
                response.widget_info(|| egui::WidgetInfo::selected(egui::Role::Button, true, chosen, &name));
                ui.painter().rect_filled(rect, 3.0, fill);
                if chosen || response.hovered() {
                    ui.painter().rect_stroke(
                        rect,
                        3.0,
                        egui::Stroke::new(2.0, cx.tokens.accent),
                        egui::StrokeKind::Inside,
                    );
                }
                if count > 0 && cell > 18.0 {
                    ui.painter().text(rect.center(), Align2::CENTER_CENTER, count, small.clone(), cx.tokens.text);
                }
                if response.on_hover_text(name).clicked() {
                    self.cell = if chosen { None } else { Some(cell_here) };
                    self.opened = None;
                }
            }
        }
    }

    /// What was decided about each class; a click on a number shows its samples.
    fn decisions_ui(&mut self, ui: &mut Ui, cx: &Cx<'_>, names: &[String], confusion: &Confusion) {
        ui.label(RichText::new("Decisions by class").font(strong(13.0)));
        ui.add_space(GRID);
        let wrong = |of: &Decisions| of.false_negatives.max(of.false_positives);
        let most = (0..names.len()).map(|class| wrong(&confusion.decisions(class))).max().unwrap_or(0).max(1) as f32;
        let width = ui.available_width();
        let table = TableBuilder::new(ui)
            .id_salt("decisions")
            .cell_layout(Layout::left_to_right(Align::Center))
            .column(Column::exact((width - 3.0 * 76.0).max(70.0)).clip(true))
            .columns(Column::exact(64.0), 3);
        let head = |ui: &mut Ui, text: &str, help: &str| {
            ui.label(RichText::new(text).color(cx.tokens.weak)).on_hover_text(help);
        };
        table
            .header(24.0, |mut row| {
                row.col(|ui| head(ui, "Class", "Each class is decided by itself."));
                row.col(|ui| head(ui, "Found", "Labelled so and predicted so."));
                row.col(|ui| head(ui, "Missed", "Labelled so, but not predicted so."));
                row.col(|ui| head(ui, "Wrong", "Predicted so, but not labelled so."));
            })
            .body(|body| {
                body.rows(30.0, names.len(), |mut row| {
                    let class = row.index();
                    let found = confusion.decisions(class);
                    let support = (found.true_positives + found.false_negatives).max(1) as f32;
                    row.col(|ui| {
                        ui.add(egui::Label::new(&names[class]).truncate());
                    });
                    for (cell, count, color, share) in [
                        (
                            Cell::Found(class),
                            found.true_positives,
                            cx.tokens.good,
                            found.true_positives as f32 / support,
                        ),
                        (
                            Cell::Missed(class),
                            found.false_negatives,
                            cx.tokens.bad,
                            found.false_negatives as f32 / most,
                        ),
                        (Cell::Wrong(class), found.false_positives, cx.tokens.bad, found.false_positives as f32 / most),
                    ] {
                        row.col(|ui| {
                            let strength = if count == 0 { 0.0 } else { 0.2 + 0.5 * share };
                            let fill = Tokens::blend(cx.tokens.panel, color, strength);
                            let chosen = self.cell == Some(cell);
                            let edge = if chosen { cx.tokens.accent } else { fill };
                            let button = egui::Button::new(count.to_string())
                                .fill(fill)
                                .stroke(egui::Stroke::new(2.0, edge))
                                .min_size(vec2(56.0, 24.0));
                            let name = format!("{count} {}", cell.title(names));
                            if ui.add(button).accessible_name(&name).on_hover_text(name).clicked() {
                                self.cell = if chosen { None } else { Some(cell) };
                                self.opened = None;
                            }
                        });
                    }
                });
            });
    }

    fn page(
        &self,
        cx: &Cx<'_>,
        evaluation: EvaluationId,
        index: usize,
    ) -> (String, crate::api::Remote<PredictionPage>) {
        let query = PredictionsQuery {
            wrong: self.wrong,
            order: Some(if self.order == Order::Loss { "loss" } else { "confidence" }.into()),
            offset: index / PAGE * PAGE,
            limit: Some(PAGE),
            ..self.cell.map(Cell::query).unwrap_or_default()
        };
        let address = path::evaluation(evaluation, &format!("/predictions{}", query.to_query()));
        let remote = cx.api.get(&address);
        (address, remote)
    }

    fn samples_ui(&mut self, ui: &mut Ui, cx: &mut Cx<'_>, evaluation: &Evaluation) {
        ui.horizontal_wrapped(|ui| {
            let title = match self.cell {
                Some(cell) => cell.title(&evaluation.classes),
                None => "All predictions".into(),
            };
            ui.label(RichText::new(title).font(strong(13.0)));
            if self.cell.is_some() && ui.button("Show all").clicked() {
                self.cell = None;
            }
            ui.checkbox(&mut self.wrong, "Only wrong");
            for (order, name) in [(Order::Loss, "Greatest loss first"), (Order::Confidence, "Least certain first")] {
                if ui.selectable_label(self.order == order, name).clicked() {
                    self.order = order;
                }
            }
        });
        ui.add_space(GRID);
        let (address, first) = self.page(cx, evaluation.id, 0);
        let mut total = 0;
        let api = cx.api.clone();
        remote_ui(ui, &api, &address, first, |_, page| total = page.total as usize);
        if total == 0 {
            ui.label(RichText::new("No prediction matches.").color(cx.tokens.weak));
            return;
        }
        if let Some(index) = self.opened {
            return self.sample_ui(ui, cx, evaluation, index.min(total - 1), total);
        }
        let mut opened = None;
        tiles_ui(ui, "predictions", 108.0, total, |ui, index, rect| {
            let Some(page) = self.page(cx, evaluation.id, index).1.value else { return };
            let Some(prediction) = page.predictions.get(index % PAGE) else { return };
            let (text, right) = verdict(evaluation, prediction);
            let name = format!("{}: {text}", page.paths[index % PAGE]);
            let address = path::sample(prediction.sample, "/thumbnail?side=128");
            if tile_ui(ui, cx.images, &address, rect, &name, &text, false).clicked() {
                opened = Some(index);
            }
            if right == Some(false) {
                ui.painter().circle_filled(rect.right_top() + vec2(-10.0, 10.0), 4.0, cx.tokens.bad);
            }
        });
        self.opened = opened;
    }

    /// One sample: the image, what the model said, and how it came to its label.
    fn sample_ui(&mut self, ui: &mut Ui, cx: &mut Cx<'_>, evaluation: &Evaluation, index: usize, total: usize) {
        let index = cx.stepped(index, total);
        self.opened = Some(index);
        let Some(page) = self.page(cx, evaluation.id, index).1.value else { return };
        let Some(prediction) = page.predictions.get(index % PAGE) else { return };
        ui.horizontal(|ui| {
            if ui.button("Back to the list").clicked() {
                self.opened = None;
            }
            ui.label(
                RichText::new(format!("{} of {total}   {}", index + 1, page.paths[index % PAGE])).color(cx.tokens.weak),
            );
        });
        let height = (ui.available_height() * 0.36).max(140.0);
        let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), height), Sense::hover());
        ui.painter().rect_filled(rect, 8.0, cx.tokens.panel);
        image_ui(ui, cx.images, &path::sample(prediction.sample, "/image"), rect.shrink(12.0));
        let (text, right) = verdict(evaluation, prediction);
        ui.horizontal(|ui| {
            let color = match right {
                Some(true) => cx.tokens.good,
                Some(false) => cx.tokens.bad,
                None => cx.tokens.weak,
            };
            ui.label(RichText::new(text).font(strong(15.0)).color(color));
            if let Some(loss) = prediction.loss {
                ui.label(RichText::new(format!("loss {}", number(f64::from(loss)))).color(cx.tokens.weak));
            }
        });
        ScrollArea::vertical().id_salt("sample").show(ui, |ui| {
            probabilities_ui(ui, cx, evaluation, prediction);
            ui.add_space(2.0 * GRID);
            similar_ui(ui, cx, evaluation, prediction);
            ui.add_space(GRID);
            let address = path::sample(prediction.sample, "");
            let detail = cx.api.get::<SampleDetail>(&address);
            remote_ui(ui, cx.api, &address, detail, |ui, detail| {
                // Edits are by the classes of the dataset, which may be others than those of the model.
                let datasets = cx.api.get::<Vec<Dataset>>(path::DATASETS).value;
                let own = |datasets: &Arc<Vec<Dataset>>| {
                    let dataset = datasets.iter().find(|dataset| dataset.id == detail.sample.dataset)?;
                    Some(dataset.classes.clone())
                };
                let classes = datasets.as_ref().and_then(own).unwrap_or_default();
                for edit in &detail.history {
                    let name =
                        |label: &Option<Label>| label.as_ref().map_or("no label".into(), |label| label.names(&classes));
                    let author = match &edit.author {
                        Author::Import => "import".to_owned(),
                        Author::Person(person) => person.clone(),
                        Author::Proposal { person, run } => format!("{person}, proposed by run {run}"),
                    };
                    ui.label(
                        RichText::new(format!("{} → {}   by {author}", name(&edit.before), name(&edit.after)))
                            .color(cx.tokens.weak),
                    );
                }
            });
        });
    }
}

/// What was said of a sample, and whether it is right.
fn verdict(evaluation: &Evaluation, prediction: &Prediction) -> (String, Option<bool>) {
    let names = |label: &Label| label.names(&evaluation.classes);
    let predicted = &prediction.predicted;
    match &prediction.label {
        Some(label) if label == predicted => (names(label), Some(true)),
        Some(label) if matches!(evaluation.confusion, Confusion::Sets(_)) => {
            let of = |sign: &str, from: &Label, but: &Label| -> String {
                let others = from.classes().iter().filter(|class| !but.contains(**class));
                others.map(|class| format!("  {sign}{}", names(&Label::one(*class)))).collect()
            };
            let both: Label = label.classes().iter().copied().filter(|class| predicted.contains(*class)).collect();
            let both = if both.classes().is_empty() { String::new() } else { names(&both) };
            let text = format!("{both}{}{}", of("−", label, predicted), of("+", predicted, label));
            (text.trim_start().to_owned(), Some(false))
        }
        Some(label) => (format!("{} → {}", names(label), names(predicted)), Some(false)),
        None => (format!("→ {}", names(predicted)), None),
    }
}

/// The most probable classes, and all that are labelled or predicted.
fn probabilities_ui(ui: &mut Ui, cx: &Cx<'_>, evaluation: &Evaluation, prediction: &Prediction) {
    let mut order: Vec<usize> = (0..prediction.probabilities.len()).collect();
    order.sort_by(|a, b| prediction.probabilities[*b].total_cmp(&prediction.probabilities[*a]));
    for (rank, place) in order.into_iter().enumerate() {
        let class = ClassId(place as i64);
        let is_label = prediction.label.as_ref().is_some_and(|label| label.contains(class));
        if rank < 4 || is_label || prediction.predicted.contains(class) {
            let color = if is_label { cx.tokens.good } else { cx.tokens.accent };
            bar_ui(ui, &evaluation.classes[place], prediction.probabilities[place], color);
        }
    }
}

/// A named bar between 0 and 1.
pub(super) fn bar_ui(ui: &mut Ui, name: &str, share: f32, color: egui::Color32) {
    let tokens = Tokens::of(ui.ctx());
    ui.horizontal(|ui| {
        let (rect, response) = ui.allocate_exact_size(vec2(96.0, 18.0), Sense::hover());
        response.widget_info(|| {
            egui::WidgetInfo::labeled(egui::Role::Label, true, format!("{name} {:.1} %", share * 100.0))
        });
        ui.painter().with_clip_rect(rect).text(
            rect.left_center(),
            Align2::LEFT_CENTER,
            name,
            FontId::proportional(12.5),
            tokens.text,
        );
        let (rect, _) =
            ui.allocate_exact_size(vec2((ui.available_width() - 64.0).clamp(60.0, 320.0), 8.0), Sense::hover());
        ui.painter().rect_filled(rect, 4.0, tokens.raised);
        ui.painter().rect_filled(Rect::from_min_size(rect.min, vec2(rect.width() * share, rect.height())), 4.0, color);
        ui.label(RichText::new(format!("{:.1} %", share * 100.0)).color(tokens.weak));
    });
}

/// The images that the model sees most alike, those that it learned from too where they were evaluated.
fn similar_ui(ui: &mut Ui, cx: &mut Cx<'_>, evaluation: &Evaluation, prediction: &Prediction) {
    let address = path::evaluation(evaluation.id, &format!("/similar/{}", prediction.sample));
    let remote = cx.api.get::<Vec<SimilarSample>>(&address);
    let api = cx.api.clone();
    remote_ui(ui, &api, &address, remote, |ui, similar| {
        if similar.is_empty() {
            return;
        }
        ui.horizontal(|ui| {
            ui.label(RichText::new("What the model sees alike").font(strong(13.0)));
            if !similar.iter().any(|found| found.split == Split::Train) {
                let hint = "Evaluate on train to find the images that it learned this from.";
                ui.label(RichText::new(hint).color(cx.tokens.weak));
            }
        });
        ui.horizontal_wrapped(|ui| {
            for found in similar.iter() {
                let class = found.label.as_ref().map_or("no label".into(), |label| label.names(&evaluation.classes));
                let caption = format!("{class} {:.2} {}", found.similarity, found.split);
                let name = format!("{} {caption}", found.path);
                let (rect, _) = ui.allocate_exact_size(vec2(96.0, 108.0), Sense::hover());
                let thumbnail = path::sample(found.sample, "/thumbnail?side=128");
                let differs = found.label != prediction.label;
                tile_ui(ui, cx.images, &thumbnail, rect, &name, &caption, false).on_hover_text(&found.path);
                if differs {
                    ui.painter().circle_filled(rect.right_top() + vec2(-10.0, 10.0), 4.0, cx.tokens.bad);
                }
            }
        });
    });
}

fn evaluate_buttons_ui(ui: &mut Ui, cx: &Cx<'_>, run: RunId) {
    for split in [Split::Train, Split::Val, Split::Test] {
        if ui.button(format!("Evaluate on {split}")).clicked() {
            let request = EvaluateRequest { split: Some(split), ..EvaluateRequest::default() };
            cx.api.act(
                Method::Post,
                &path::run(run, "/evaluate"),
                &request,
                Then::Say(format!("Evaluating run {run} on {split}")),
            );
        }
    }
}

fn list_ui(ui: &mut Ui, cx: &mut Cx<'_>, evaluations: &[Evaluation]) {
    ui.heading("Review");
    ui.add_space(2.0 * GRID);
    card_ui(ui, |ui| {
        ui.set_width(ui.available_width());
        let table = TableBuilder::new(ui)
            .id_salt("evaluations")
            .sense(Sense::click())
            .cell_layout(Layout::left_to_right(Align::Center))
            .columns(Column::initial(120.0).at_least(70.0), 5)
            .column(Column::remainder());
        table
            .header(24.0, |mut header| {
                for text in ["Run", "Split", "All right", "Macro F1", "Loss", "Images"] {
                    header.col(|ui| {
                        ui.label(RichText::new(text).color(cx.tokens.weak));
                    });
                }
            })
            .body(|body| {
                body.rows(28.0, evaluations.len(), |mut row| {
                    let evaluation = &evaluations[row.index()];
                    let percent =
                        |value: Option<f64>| value.map_or("–".into(), |value| format!("{:.2} %", value * 100.0));
                    row.col(|ui| {
                        if ui.link(format!("Run {}", evaluation.run)).clicked() {
                            *cx.route = Route::Review(Some(evaluation.id));
                        }
                    });
                    row.col(|ui| badge_ui(ui, evaluation.split.as_str(), cx.tokens.accent));
                    for text in [
                        percent(evaluation.confusion.accuracy()),
                        percent(evaluation.confusion.macro_f1()),
                        evaluation.loss.map_or("–".into(), number),
                        evaluation.confusion.total().to_string(),
                    ] {
                        row.col(|ui| {
                            ui.label(text);
                        });
                    }
                    if row.response().clicked() {
                        *cx.route = Route::Review(Some(evaluation.id));
                    }
                });
            });
    });
}
