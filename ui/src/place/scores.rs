//! The figures of an evaluation, how far they can be trusted, and how they compare with those of another model.

use super::Cx;
use crate::tokens::{GRID, Tokens, strong};
use crate::widgets::{card_ui, remote_ui};
use assay_domain::entity::Evaluation;
use assay_domain::scores::{Bin, Estimate, McNemar, Scores};
use assay_domain::{EvaluationId, Labelling, counted, number};
use assay_protocol::path;
use egui::{
    Align, Align2, ComboBox, CornerRadius, FontId, Layout, Rect, RichText, ScrollArea, Sense, Stroke, Ui, pos2, vec2,
};
use egui_extras::{Column, TableBuilder};

/// Side of the calibration diagram.
const DIAGRAM: f32 = 190.0;
/// A difference is called one when chance alone makes it this rare.
const RARE: f64 = 0.05;

/// What of the figures is shown.
#[derive(Default)]
pub(crate) struct ScoresView {
    /// The evaluation that is compared with.
    other: Option<EvaluationId>,
}

impl ScoresView {
    /// `others` are the evaluations of the same samples.
    pub(crate) fn scores_ui(&mut self, ui: &mut Ui, cx: &Cx<'_>, evaluation: &Evaluation, others: &[&Evaluation]) {
        let address = path::evaluation(evaluation.id, "/scores");
        let remote = cx.api.get::<Option<Scores>>(&address);
        remote_ui(ui, cx.api, &address, remote, |ui, scores| {
            let Some(scores) = scores else {
                ui.label(RichText::new("No sample of this evaluation has a label.").color(cx.tokens.weak));
                return;
            };
            ScrollArea::vertical().id_salt("scores").show(ui, |ui| {
                ui.set_width(ui.available_width());
                let wide = ui.available_width() > 620.0;
                let figures = |ui: &mut Ui| figures_ui(ui, &cx.tokens, scores);
                let calibration = |ui: &mut Ui| calibration_ui(ui, &cx.tokens, scores);
                if wide {
                    ui.horizontal_top(|ui| {
                        figures(ui);
                        calibration(ui);
                    });
                } else {
                    figures(ui);
                    calibration(ui);
                }
                ui.add_space(2.0 * GRID);
                self.comparison_ui(ui, cx, evaluation, others);
                ui.add_space(2.0 * GRID);
                classes_ui(ui, &cx.tokens, scores);
            });
        });
    }

    /// Another model on the same samples.
    fn comparison_ui(&mut self, ui: &mut Ui, cx: &Cx<'_>, evaluation: &Evaluation, others: &[&Evaluation]) {
        if others.is_empty() {
            return;
        }
        let name = |other: &Evaluation| {
            let accuracy = other.confusion.accuracy().map_or("–".into(), percent);
            format!("run {} ({accuracy})", other.run)
        };
        ui.horizontal_wrapped(|ui| {
            ui.label(RichText::new("Compared with").font(strong(13.0)));
            let chosen = others.iter().find(|other| Some(other.id) == self.other);
            let text = chosen.map_or("another model on the same images".into(), |other| name(other));
            let list = ComboBox::from_id_salt("compared with").selected_text(text).width(240.0).show_ui(ui, |ui| {
                for other in others {
                    ui.selectable_value(&mut self.other, Some(other.id), name(other));
                }
            });
            list.response.accessible_name("Compared with");
            let Some(other) = chosen else { return };
            let address = path::evaluation(evaluation.id, &format!("/compare/{}", other.id));
            let found = cx.api.get::<McNemar>(&address);
            if let Some(found) = found.value {
                ui.label(verdict(&found, evaluation, other)).on_hover_text(
                    "McNemar's exact test: only images that one of the two alone gets right tell them apart.",
                );
            }
        });
    }
}

fn percent(value: f64) -> String {
    format!("{:.2} %", value * 100.0)
}

fn verdict(found: &McNemar, own: &Evaluation, other: &Evaluation) -> String {
    let alone = format!(
        "Run {} alone is right about {}, run {} alone about {}.",
        own.run,
        counted(found.first_alone, "image"),
        other.run,
        found.second_alone
    );
    let better = if found.first_alone >= found.second_alone { own.run } else { other.run };
    match found.p_value < RARE {
        true => format!("{alone} Run {better} is better (p = {:.2e}).", found.p_value),
        false => format!("{alone} That may be chance (p = {:.2}).", found.p_value),
    }
}

fn figures_ui(ui: &mut Ui, tokens: &Tokens, scores: &Scores) {
    card_ui(ui, |ui| {
        egui::Grid::new("figures").num_columns(3).spacing([20.0, 5.0]).show(ui, |ui| {
            let mut row = |name: &str, value: String, beside: String, help: &str| {
                ui.label(RichText::new(name).color(tokens.weak)).on_hover_text(help);
                ui.label(RichText::new(value).font(strong(13.0)));
                ui.label(RichText::new(beside).color(tokens.weak));
                ui.end_row();
            };
            let within =
                |estimate: &Estimate| format!("{} to {}", percent(estimate.interval.0), percent(estimate.interval.1));
            let interval = "Beside it: the interval that holds it with 95 % confidence, by bootstrap.";
            let is_of_sets = scores.labelling == Labelling::AnyClasses;
            row(scores.labelling.accuracy_name(), percent(scores.accuracy.value), within(&scores.accuracy), interval);
            row("macro F1", percent(scores.macro_f1.value), within(&scores.macro_f1), interval);
            if is_of_sets {
                let help = "F1 of all decisions together, whatever their class.";
                row("micro F1", percent(scores.micro_f1), String::new(), help);
            }
            row(
                "weighted F1",
                percent(scores.weighted_f1),
                String::new(),
                "F1, each class weighing as much as it has images.",
            );
            row(
                "precision, recall",
                percent(scores.precision.macro_mean),
                percent(scores.recall.macro_mean),
                "Macro means.",
            );
            if let Some(top5) = scores.top5.filter(|_| scores.classes.len() > 5) {
                row("top-5 accuracy", percent(top5), String::new(), "The class is among the five most probable.");
            }
            if let Some(area) = scores.roc_auc {
                row("ROC AUC", number(area), String::new(), "One class against the rest, macro mean.");
            }
            if let Some(mean) = scores.average_precision {
                let help = "The precision over all recalls of a class, macro mean.";
                row("average precision", percent(mean), String::new(), help);
            }
            row("loss", number(scores.loss), String::new(), "Mean cross-entropy, in nats.");
            row(
                "Brier score",
                number(scores.brier),
                String::new(),
                match is_of_sets {
                    true => "Mean squared distance of each probability from what is true, 0 to 1.",
                    false => "Mean squared distance of the probabilities from what is true, 0 to 2.",
                },
            );
            row("images", scores.samples.to_string(), String::new(), "Images with a label.");
        });
    });
}

/// How often the model is right when it is so sure.
fn calibration_ui(ui: &mut Ui, tokens: &Tokens, scores: &Scores) {
    card_ui(ui, |ui| {
        ui.vertical(|ui| {
            ui.label(RichText::new("Calibration").font(strong(13.0)));
            let error = format!("expected calibration error {}", percent(scores.calibration_error));
            ui.label(RichText::new(error).color(tokens.weak));
            ui.add_space(GRID);
            let (area, response) = ui.allocate_exact_size(vec2(DIAGRAM, DIAGRAM), Sense::hover());
            diagram(ui, tokens, area, &scores.bins, response.hover_pos().map(|at| at.x));
            response.on_hover_text(
                "Bars: how often the model is right by how sure it is. On the line it is as sure as it should be.",
            );
            ui.label(RichText::new("confidence →, share right ↑").color(tokens.weak).small());
        });
    });
}

fn diagram(ui: &Ui, tokens: &Tokens, area: Rect, bins: &[Bin], pointer: Option<f32>) {
    let painter = ui.painter_at(area);
    painter.rect_filled(area, CornerRadius::same(4), tokens.background);
    let width = area.width() / bins.len().max(1) as f32;
    let most = bins.iter().map(|bin| bin.count).max().unwrap_or(1).max(1) as f32;
    for (number, bin) in bins.iter().enumerate().filter(|(_, bin)| bin.count > 0) {
        let left = area.left() + number as f32 * width;
        let top = area.bottom() - bin.accuracy as f32 * area.height();
        let bar = Rect::from_min_max(pos2(left + 1.0, top), pos2(left + width - 1.0, area.bottom()));
        // Bins of few images are pale.
        let share = 0.25 + 0.75 * (bin.count as f32 / most).sqrt();
        painter.rect_filled(bar, CornerRadius::same(2), Tokens::blend(tokens.background, tokens.accent, share));
        if pointer.is_some_and(|x| (left..left + width).contains(&x)) {
            let text = format!("{} of {} right", (bin.accuracy * bin.count as f64).round(), bin.count);
            let place = area.left_top() + vec2(GRID, GRID);
            painter.text(place, Align2::LEFT_TOP, text, FontId::proportional(11.5), tokens.text);
        }
    }
    painter.line_segment([area.left_bottom(), area.right_top()], Stroke::new(1.0, tokens.weak));
}

fn classes_ui(ui: &mut Ui, tokens: &Tokens, scores: &Scores) {
    ui.label(RichText::new("Class by class").font(strong(13.0)));
    let head = ["Class", "Images", "Precision", "Recall", "F1", "ROC AUC", "Avg. precision"];
    TableBuilder::new(ui)
        .id_salt("class figures")
        .vscroll(false)
        .cell_layout(Layout::left_to_right(Align::Center))
        .column(Column::initial(150.0).at_least(80.0).clip(true))
        .columns(Column::initial(82.0).at_least(60.0), 6)
        .header(24.0, |mut row| {
            for name in head {
                row.col(|ui| {
                    ui.label(RichText::new(name).color(tokens.weak));
                });
            }
        })
        .body(|body| {
            body.rows(24.0, scores.classes.len(), |mut row| {
                let figures = &scores.classes[row.index()];
                let share = |value: Option<f64>| value.map_or("–".into(), percent);
                let cells = [
                    figures.class.clone(),
                    figures.score.support.to_string(),
                    share(figures.score.precision),
                    share(figures.score.recall),
                    share(figures.score.f1),
                    figures.roc_auc.map_or("–".into(), number),
                    share(figures.average_precision),
                ];
                for cell in cells {
                    row.col(|ui| {
                        ui.label(cell);
                    });
                }
            });
        });
}
