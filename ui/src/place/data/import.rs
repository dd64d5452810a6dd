//! The form that imports a source.

use crate::api::Then;
use crate::place::Cx;
use crate::tokens::{GRID, strong};
use crate::transport::Method;
use crate::widgets::{entered, modal, primary_button};
use assay_domain::Labelling;
use assay_protocol::{ImportRequest, PathSuggestion, PathsQuery, path};
use egui::{RichText, ScrollArea, TextEdit, Ui};

#[derive(Default)]
pub(super) struct Import {
    pub(super) source: String,
    pub(super) name: String,
    pub(super) labelling: Labelling,
    /// Whether the path got the focus.
    pub(super) focused: bool,
}

/// Importable kinds.
const WHAT: [(&str, &str); 3] = [
    (
        "Images: ",
        "a folder with one sub-folder per class, a .zip or .tar of one, or a .csv of path,label; of several classes: of path,labels, as cat|dog. Files stay where they are.",
    ),
    (
        "Runs: ",
        "a folder that TensorBoard, W&B (offline) or MLflow logged to, a .wandb, mlflow.db, or .csv or .jsonl of metrics. They are followed while they are written.",
    ),
    (
        "A workspace: ",
        "the .assay folder of another one, or a backup. Its runs, datasets, labels and models are taken over; it stays as it is.",
    ),
];

impl Import {
    /// Draws it; returns whether to close it.
    pub(super) fn form_ui(&mut self, ctx: &egui::Context, cx: &Cx<'_>) -> bool {
        let mut close = false;
        let dialog = modal(ctx, "import").show(ctx, |ui| {
            ui.set_width(520.0);
            ui.heading("Import");
            ui.add_space(GRID);
            for (what, text) in WHAT {
                ui.horizontal_wrapped(|ui| {
                    ui.spacing_mut().item_spacing.x = 0.0;
                    ui.label(RichText::new(what).font(strong(13.0)));
                    ui.label(RichText::new(text).color(cx.tokens.weak));
                });
                ui.add_space(GRID / 2.0);
            }
            ui.add_space(2.0 * GRID);
            let mut was_entered = false;
            egui::Grid::new("import").num_columns(2).spacing([16.0, 8.0]).show(ui, |ui| {
                ui.label("Path");
                let field = TextEdit::singleline(&mut self.source)
                    .hint_text("/path/on/the/machine/that/runs/Assay")
                    .desired_width(400.0);
                let field = ui.add(field).accessible_name("Path");
                was_entered |= entered(&field);
                if !std::mem::replace(&mut self.focused, true) {
                    field.request_focus();
                }
                ui.end_row();
                ui.label("Name");
                let field = TextEdit::singleline(&mut self.name).hint_text("taken from the path").desired_width(240.0);
                was_entered |= entered(&ui.add(field).accessible_name("Dataset name"));
                ui.end_row();
                ui.label("Labels");
                labelling_ui(ui, &mut self.labelling);
                ui.end_row();
            });
            ui.add_space(GRID);
            self.suggestions_ui(ui, cx);
            ui.add_space(2.0 * GRID);
            ui.horizontal(|ui| {
                let was_entered = was_entered && !self.source.trim().is_empty();
                if primary_button(ui, "Import").clicked() || was_entered {
                    let name = Some(self.name.clone()).filter(|name| !name.trim().is_empty());
                    let request = ImportRequest {
                        source: self.source.clone(),
                        name,
                        labelling: self.labelling,
                        ..ImportRequest::default()
                    };
                    cx.api.act(Method::Post, path::DATASETS, &request, Then::ShowImport);
                    close = true;
                }
                close |= ui.button("Cancel").clicked();
            });
        });
        close || dialog.should_close()
    }

    /// Clickable completions of the typed path.
    fn suggestions_ui(&mut self, ui: &mut Ui, cx: &Cx<'_>) {
        const HEIGHT: f32 = 132.0;
        let query = PathsQuery { begin: self.source.clone() };
        let found = cx.api.get::<Vec<PathSuggestion>>(&format!("{}{}", path::PATHS, query.to_query())).value;
        ScrollArea::vertical().id_salt("paths").min_scrolled_height(HEIGHT).max_height(HEIGHT).auto_shrink(false).show(
            ui,
            |ui| {
                if !self.source.trim().is_empty() && found.as_ref().is_some_and(|found| found.is_empty()) {
                    let text = "No folder, archive or list begins like this.";
                    ui.label(RichText::new(text).color(cx.tokens.weak));
                }
                for suggestion in found.iter().flat_map(|found| found.iter()) {
                    let kind = if suggestion.is_folder { "folder" } else { "file" };
                    let button = egui::Button::selectable(false, RichText::new(&suggestion.path).monospace())
                        .right_text(RichText::new(kind).color(cx.tokens.weak))
                        .truncate()
                        .min_size(egui::vec2(ui.available_width(), 24.0));
                    if ui.add(button).clicked() {
                        self.source.clone_from(&suggestion.path);
                        // Continue below a folder.
                        self.focused = !suggestion.is_folder;
                        if suggestion.is_folder {
                            self.source.push('/');
                        }
                    }
                }
            },
        );
    }
}

/// Ticks the number of classes per image; returns whether it changed.
pub(super) fn labelling_ui(ui: &mut Ui, labelling: &mut Labelling) -> bool {
    let mut any = *labelling == Labelling::AnyClasses;
    let hint = "Each image has any number of the classes, or none of them, instead of exactly one.";
    let changed = ui.checkbox(&mut any, "Several classes an image").on_hover_text(hint).changed();
    *labelling = if any { Labelling::AnyClasses } else { Labelling::OneClass };
    changed
}
