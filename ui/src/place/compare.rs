//! Runs side by side: what differs, at a glance.

use super::Cx;
use crate::command::Command;
use crate::elided::{elided_link, elided_ui};
use crate::route::Route;
use crate::tokens::{GRID, Tokens, strong};
use crate::widgets::remote_ui;
use assay_domain::{RunId, counted};
use assay_protocol::{Comparison, path};
use egui::{RichText, ScrollArea, TextStyle, Ui};

/// Maximum width of a name, in points.
const NAME: f32 = 280.0;

#[derive(Default)]
pub(crate) struct Compare {
    all: bool,
}

impl Compare {
    pub(crate) fn compare_ui(&mut self, ui: &mut Ui, cx: &mut Cx<'_>, runs: &[RunId]) {
        if cx.asked_for(Command::Back) {
            *cx.route = Route::Runs;
        }
        ui.horizontal(|ui| {
            if ui.button("←").on_hover_text("Back to all runs").clicked() {
                *cx.route = Route::Runs;
            }
            ui.heading(format!("Comparing {}", counted(runs.len(), "run")));
            ui.checkbox(&mut self.all, "Also what is the same");
        });
        ui.add_space(2.0 * GRID);
        let runs: Vec<String> = runs.iter().map(RunId::to_string).collect();
        let address = format!("{}?runs={}", path::COMPARE, runs.join(","));
        let remote = cx.api.get::<Comparison>(&address);
        let api = cx.api.clone();
        remote_ui(ui, &api, &address, remote, |ui, comparison| {
            let shown: Vec<_> = comparison.differences.iter().filter(|line| self.all || line.differs).collect();
            if shown.is_empty() {
                ui.label(RichText::new("Nothing differs.").color(cx.tokens.weak));
            }
            ScrollArea::both().id_salt("comparison").auto_shrink(false).show(ui, |ui| {
                egui::Grid::new("comparison").num_columns(comparison.runs.len() + 1).spacing([28.0, 6.0]).show(
                    ui,
                    |ui| {
                        ui.label("");
                        for run in &comparison.runs {
                            let (name, color) =
                                (format!("{} #{}", run.name, run.id), cx.tokens.series(run.id.0 as usize));
                            if elided_link(ui, &name, strong(13.0), color, NAME).clicked() {
                                *cx.route = Route::Run(run.id);
                            }
                        }
                        ui.end_row();
                        let mut section = "";
                        for line in shown {
                            if section != line.section {
                                section = &line.section;
                                ui.label(RichText::new(section.to_uppercase()).size(11.0).color(cx.tokens.weak));
                                ui.end_row();
                            }
                            elided_ui(ui, &line.key, TextStyle::Body, cx.tokens.text, NAME);
                            for value in &line.values {
                                let text = value.as_deref().unwrap_or("–");
                                let color = if line.differs {
                                    cx.tokens.text
                                } else {
                                    Tokens::blend(cx.tokens.weak, cx.tokens.panel, 0.2)
                                };
                                ui.label(RichText::new(text).monospace().color(color));
                            }
                            ui.end_row();
                        }
                    },
                );
            });
        });
    }
}
