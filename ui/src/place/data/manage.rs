//! Actions on a whole dataset: rename, relocate, export labels, remove.

use crate::api::Then;
use crate::place::Cx;
use crate::tokens::{GRID, strong};
use crate::transport::Method;
use crate::widgets::{card_ui, entered, modal, primary_button};
use assay_domain::counted;
use assay_domain::entity::Dataset;
use assay_protocol::{DatasetChange, ExportLabels, LabelFormat, RelocateRequest, path};
use egui::{Align, Layout, RichText, TextEdit, Ui};

/// A one-line form.
pub(super) struct Manage {
    asks: Asks,
    line: String,
    has_focus: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Asks {
    Name,
    Place,
    Export(LabelFormat),
}

impl Asks {
    fn title(self) -> &'static str {
        match self {
            Asks::Name => "Rename the dataset",
            Asks::Place => "The source was moved",
            Asks::Export(LabelFormat::Csv) => "Export labels as CSV",
            Asks::Export(LabelFormat::ClassFolders) => "Export class folders",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Asks::Name => "Runs and snapshots keep what they learned from.",
            Asks::Place => {
                "Where its folder, archive or CSV is now. Images are known again by their contents, with their labels."
            }
            Asks::Export(LabelFormat::Csv) => "Path, label and split of each image, in a file that is not there yet.",
            Asks::Export(LabelFormat::ClassFolders) => {
                "Copies of the images, in a folder for each split and class. The folder must not be there yet."
            }
        }
    }
}

impl Manage {
    fn new(asks: Asks, line: &str) -> Manage {
        Manage { asks, line: line.to_owned(), has_focus: false }
    }

    /// The menu of a dataset.
    pub(super) fn menu_ui(ui: &mut Ui, cx: &Cx<'_>, dataset: &Dataset) -> Option<Manage> {
        let mut chosen = None;
        let menu = ui.menu_button("⋯", |ui| {
            let beside = |ending: &str| format!("{}{ending}", dataset.origin().trim_end_matches(['/', '\\']));
            let entries = [
                ("Rename…", Asks::Name, dataset.name.clone()),
                ("Source was moved…", Asks::Place, dataset.origin().to_owned()),
                ("Export labels…", Asks::Export(LabelFormat::Csv), beside("-labels.csv")),
                ("Export class folders…", Asks::Export(LabelFormat::ClassFolders), beside("-export")),
            ];
            for (name, asks, line) in entries {
                if ui.button(name).clicked() {
                    chosen = Some(Manage::new(asks, &line));
                    ui.close();
                }
            }
            ui.separator();
            if ui.button("Remove dataset").on_hover_text("It can be restored; the files stay").clicked() {
                let change = DatasetChange { removed: Some(true), ..DatasetChange::default() };
                let said = format!("{} is removed; it can be restored in Data", dataset.name);
                cx.api.act(Method::Patch, &path::dataset(dataset.id, ""), &change, Then::Say(said));
                ui.close();
            }
        });
        menu.response.accessible_name("More for this dataset").on_hover_text("Rename, move, export, remove");
        chosen
    }

    /// Draws the form; returns whether to close it.
    pub(super) fn form_ui(&mut self, ctx: &egui::Context, cx: &Cx<'_>, dataset: &Dataset) -> bool {
        let mut close = false;
        let dialog = modal(ctx, "manage").show(ctx, |ui| {
            ui.set_width(480.0);
            ui.heading(self.asks.title());
            ui.add_space(GRID / 2.0);
            ui.label(RichText::new(self.asks.text()).color(cx.tokens.weak));
            ui.add_space(GRID);
            let name = if self.asks == Asks::Name { "New name" } else { "New place" };
            let field = ui.add(TextEdit::singleline(&mut self.line).desired_width(f32::INFINITY)).accessible_name(name);
            if !std::mem::replace(&mut self.has_focus, true) {
                field.request_focus();
            }
            let was_entered = entered(&field);
            ui.add_space(2.0 * GRID);
            ui.horizontal(|ui| {
                let button = match self.asks {
                    Asks::Name => "Rename",
                    Asks::Place => "Look there",
                    Asks::Export(_) => "Export",
                };
                let is_asked = primary_button(ui, button).clicked() || was_entered;
                if is_asked && !self.line.trim().is_empty() {
                    self.send(cx, dataset);
                    close = true;
                }
                close |= ui.button("Cancel").clicked();
            });
        });
        close || dialog.should_close()
    }

    fn send(&self, cx: &Cx<'_>, dataset: &Dataset) {
        let line = self.line.trim().to_owned();
        let address = |rest: &str| path::dataset(dataset.id, rest);
        match self.asks {
            Asks::Name => {
                let change = DatasetChange { name: Some(line), ..DatasetChange::default() };
                cx.api.act(Method::Patch, &address(""), &change, Then::Nothing);
            }
            Asks::Place => {
                let request = RelocateRequest { source: line };
                cx.api.act(Method::Post, &address("/relocate"), &request, Then::ShowImport);
            }
            Asks::Export(format) => {
                let request = ExportLabels { target: line, format };
                cx.api.act(Method::Post, &address("/export"), &request, Then::TellExport);
            }
        }
    }
}

/// Removed datasets, with a restore button.
pub(super) fn removed_ui(ui: &mut Ui, cx: &Cx<'_>) {
    let removed = cx.api.get::<Vec<Dataset>>(&format!("{}?removed=true", path::DATASETS)).value;
    let Some(removed) = removed.filter(|removed| !removed.is_empty()) else { return };
    ui.add_space(2.0 * GRID);
    ui.label(RichText::new("Removed").font(strong(13.0)));
    ui.add_space(GRID / 2.0);
    for dataset in removed.iter() {
        card_ui(ui, |ui| {
            ui.set_width(ui.available_width());
            ui.horizontal(|ui| {
                let told = format!("{}   {}", dataset.name, counted(dataset.samples, "image"));
                ui.label(RichText::new(told).color(cx.tokens.weak));
                ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                    if ui.button("Restore").accessible_name(format!("Restore {}", dataset.name)).clicked() {
                        let change = DatasetChange { removed: Some(false), ..DatasetChange::default() };
                        let said = format!("{} is back", dataset.name);
                        cx.api.act(Method::Patch, &path::dataset(dataset.id, ""), &change, Then::Say(said));
                    }
                });
            });
        });
    }
}
