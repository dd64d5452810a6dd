//! The form of a new run: dataset, model, the fields that matter most, or the whole config.

use super::Cx;
use crate::api::Then;
use crate::tokens::GRID;
use crate::transport::Method;
use crate::widgets::{entered, modal, primary_button};
use assay_domain::RunId;
use assay_domain::entity::Dataset;
use assay_protocol::{ErrorBody, ExplainedField, StartRun, path};
use egui::{ComboBox, Context, RichText, ScrollArea, TextEdit, Ui};

/// The fields of the short form.
const SHORT: [&str; 6] = ["model.name", "train.epochs", "train.batch_size", "optimizer.lr", "augment.shift", "seed"];

#[derive(Default)]
pub(crate) struct NewRun {
    open: bool,
    dataset: String,
    name: String,
    fields: Vec<(String, String)>,
    config: String,
    whole: bool,
    parent: Option<RunId>,
    error: Option<String>,
    starting: bool,
    /// Whether the button had the keys already.
    focused: bool,
}

impl NewRun {
    pub(crate) fn show(&mut self) {
        *self = NewRun { open: true, ..NewRun::default() };
    }

    pub(crate) fn show_clone(&mut self, parent: RunId, dataset: String, config: String) {
        *self = NewRun { open: true, whole: true, parent: Some(parent), dataset, config, ..NewRun::default() };
    }

    pub(crate) fn close(&mut self) {
        self.open = false;
        self.starting = false;
    }

    pub(crate) fn refused(&mut self, error: &ErrorBody) {
        self.error = Some(error.message.clone());
        self.starting = false;
    }

    pub(crate) fn form_ui(&mut self, ctx: &Context, cx: &Cx<'_>) {
        if !self.open {
            return;
        }
        let dialog = modal(ctx, "new run").show(ctx, |ui| {
            ui.set_width(520.0);
            ui.heading(match self.parent {
                Some(parent) => format!("Clone of run {parent}"),
                None => "New run".into(),
            });
            ui.add_space(2.0 * GRID);
            let fields = cx.api.get::<Vec<ExplainedField>>(path::CONFIG).value;
            let datasets = cx.api.get::<Vec<Dataset>>(path::DATASETS).value;
            let (Some(fields), Some(datasets)) = (fields, datasets) else {
                ui.label("Loading…");
                return false;
            };
            if datasets.is_empty() {
                ui.label("There is no dataset yet: import labelled images first (Data, or the key I).");
                return ui.button("Cancel").clicked();
            }
            if !datasets.iter().any(|dataset| dataset.id.to_string() == self.dataset) {
                self.dataset = datasets[0].id.to_string();
            }
            if self.fields.is_empty() {
                self.fields = SHORT.iter().map(|key| ((*key).to_owned(), default_of(&fields, key))).collect();
            }
            let was_entered = self.fields_ui(ui, cx, &fields, &datasets);
            if let Some(error) = &self.error {
                ui.add_space(GRID);
                ui.label(RichText::new(error).color(cx.tokens.bad));
            }
            ui.add_space(2.0 * GRID);
            let mut cancelled = false;
            ui.horizontal(|ui| {
                let button = primary_button(ui, if self.starting { "Starting…" } else { "Start run" });
                // Return in the form, or on the button, which has the keys first, starts the run.
                if !std::mem::replace(&mut self.focused, true) {
                    button.request_focus();
                }
                if (button.clicked() || was_entered) && !self.starting {
                    self.start(cx, &fields);
                }
                cancelled = ui.button("Cancel").clicked();
            });
            cancelled
        });
        if dialog.inner || dialog.should_close() {
            self.close();
        }
    }

    /// Draws the fields; returns whether Return was pressed in one.
    fn fields_ui(&mut self, ui: &mut Ui, cx: &Cx<'_>, fields: &[ExplainedField], datasets: &[Dataset]) -> bool {
        let mut was_entered = false;
        egui::Grid::new("new run").num_columns(2).spacing([16.0, 8.0]).show(ui, |ui| {
            ui.label("Dataset");
            let name = |dataset: &Dataset| format!("{} ({} labelled)", dataset.name, dataset.labeled);
            let chosen = datasets.iter().find(|dataset| dataset.id.to_string() == self.dataset);
            let list =
                ComboBox::from_id_salt("dataset").selected_text(chosen.map(name).unwrap_or_default()).width(260.0);
            let shown = list.show_ui(ui, |ui| {
                for dataset in datasets {
                    ui.selectable_value(&mut self.dataset, dataset.id.to_string(), name(dataset));
                }
            });
            shown.response.accessible_name("Dataset");
            ui.end_row();
            ui.label("Name");
            let field = TextEdit::singleline(&mut self.name).hint_text("made from the model").desired_width(260.0);
            was_entered |= entered(&ui.add(field).accessible_name("Name"));
            ui.end_row();
            if self.whole {
                return;
            }
            for (key, value) in &mut self.fields {
                let help =
                    fields.iter().find(|field| field.key == *key).map(|field| field.help.as_str()).unwrap_or_default();
                ui.label(key.as_str()).on_hover_text(help);
                if key == "model.name" {
                    let shown =
                        ComboBox::from_id_salt("model").selected_text(value.as_str()).width(260.0).show_ui(ui, |ui| {
                            for model in [
                                "small-cnn",
                                "resnet18",
                                "resnet34",
                                "resnet50",
                                "mobilenet-v3-large",
                                "vit-ti16",
                                "vit-s16",
                            ] {
                                ui.selectable_value(value, model.to_owned(), model);
                            }
                        });
                    shown.response.accessible_name("Model");
                } else {
                    let field = ui.add(TextEdit::singleline(value).desired_width(120.0)).on_hover_text(help);
                    was_entered |= entered(&field.accessible_name(key.as_str()));
                }
                ui.end_row();
            }
        });
        ui.add_space(GRID);
        let before = self.whole;
        ui.checkbox(&mut self.whole, "Edit the whole config");
        if self.whole && !before && self.config.is_empty() {
            self.config = whole_config(fields, &self.fields);
        }
        if self.whole {
            ScrollArea::vertical().max_height(280.0).show(ui, |ui| {
                let editor =
                    TextEdit::multiline(&mut self.config).code_editor().desired_width(f32::INFINITY).desired_rows(16);
                ui.add(editor).accessible_name("Config");
            });
            ui.label(RichText::new("TOML; a key that is left out has its default.").color(cx.tokens.weak));
        }
        was_entered
    }

    fn start(&mut self, cx: &Cx<'_>, fields: &[ExplainedField]) {
        let changed = self.fields.iter().filter(|(key, value)| *value != default_of(fields, key));
        let request = StartRun {
            dataset: self.dataset.clone(),
            config: if self.whole { self.config.clone() } else { String::new() },
            overrides: if self.whole {
                Vec::new()
            } else {
                changed.map(|(key, value)| format!("{key}={value}")).collect()
            },
            name: Some(self.name.clone()).filter(|name| !name.is_empty()),
            parent: self.parent,
            ..StartRun::default()
        };
        self.error = None;
        self.starting = true;
        cx.api.act(Method::Post, path::RUNS, &request, Then::OpenRun);
    }
}

fn default_of(fields: &[ExplainedField], key: &str) -> String {
    fields.iter().find(|field| field.key == key).map(|field| field.default.clone()).unwrap_or_default()
}

/// Every key with its value, as TOML with dotted keys.
fn whole_config(fields: &[ExplainedField], changed: &[(String, String)]) -> String {
    let line = |field: &ExplainedField| {
        let value = changed.iter().find(|(key, _)| *key == field.key).map_or(&field.default, |(_, value)| value);
        let plain =
            value.parse::<f64>().is_ok() || value.starts_with('[') || matches!(value.as_str(), "true" | "false");
        let value = if plain { value.clone() } else { format!("{value:?}") };
        format!("{} = {value}  # {}", field.key, field.help)
    };
    fields.iter().map(line).collect::<Vec<_>>().join("\n")
}
