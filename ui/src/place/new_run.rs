//! The form of a new run: dataset, model, the fields that matter most, or the whole config.

use super::Cx;
use crate::api::Then;
use crate::tokens::GRID;
use crate::transport::Method;
use crate::widgets::{entered, modal, primary_button};
use assay_domain::RunId;
use assay_domain::entity::Dataset;
use assay_protocol::{ConfigQuery, ErrorBody, ExplainedField, StartRun, path};
use egui::{ComboBox, Context, RichText, ScrollArea, TextEdit, Ui};

/// The fields of the short form.
const SHORT: [&str; 8] = [
    RECIPE,
    "model.name",
    "model.weights",
    "train.epochs",
    "train.batch_size",
    "optimizer.lr",
    "data.image_size",
    "seed",
];
/// The field that decides what the others begin with.
const RECIPE: &str = "recipe";

#[derive(Default)]
pub(crate) struct NewRun {
    open: bool,
    dataset: String,
    name: String,
    fields: Vec<(String, String)>,
    /// The recipe whose values the fields began with.
    shown: Option<String>,
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
            let chosen = self.fields.iter().find(|(key, _)| key == RECIPE).map(|(_, recipe)| recipe.clone());
            let query = ConfigQuery { recipe: chosen.clone().filter(|recipe| recipe != "none") };
            let fields = cx.api.get::<Vec<ExplainedField>>(&format!("{}{}", path::CONFIG, query.to_query())).value;
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
            if self.fields.is_empty() || self.shown != chosen {
                self.fields = SHORT.iter().map(|key| ((*key).to_owned(), default_of(&fields, key))).collect();
                self.shown = self.fields.first().map(|(_, recipe)| recipe.clone());
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
                let Some(field) = fields.iter().find(|field| field.key == *key) else { continue };
                ui.label(key.as_str()).on_hover_text(&field.help);
                was_entered |= field_ui(ui, field, value);
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
        let request = StartRun {
            dataset: self.dataset.clone(),
            config: if self.whole { self.config.clone() } else { String::new() },
            overrides: if self.whole { Vec::new() } else { overrides(&self.fields, fields) },
            name: Some(self.name.clone()).filter(|name| !name.is_empty()),
            parent: self.parent,
            ..StartRun::default()
        };
        self.error = None;
        self.starting = true;
        cx.api.act(Method::Post, path::RUNS, &request, Then::OpenRun);
    }
}

/// What of the form is said to the server: the recipe, and what is not as the recipe has it.
fn overrides(chosen: &[(String, String)], fields: &[ExplainedField]) -> Vec<String> {
    let is_said = |(key, value): &&(String, String)| key == RECIPE || *value != default_of(fields, key);
    chosen.iter().filter(is_said).map(|(key, value)| format!("{key}={value}")).collect()
}

/// A list of words, or a line of text; returns whether Return was pressed in it.
fn field_ui(ui: &mut Ui, field: &ExplainedField, value: &mut String) -> bool {
    if field.choices.is_empty() {
        let text = TextEdit::singleline(value).desired_width(if field.default.is_empty() { 260.0 } else { 120.0 });
        let text =
            if field.key == "model.weights" { text.hint_text("random; or a file, folder or run:NAME") } else { text };
        return entered(&ui.add(text).on_hover_text(&field.help).accessible_name(field.key.as_str()));
    }
    let shown = ComboBox::from_id_salt(&field.key).selected_text(value.as_str()).width(260.0).show_ui(ui, |ui| {
        for choice in &field.choices {
            ui.selectable_value(value, choice.word.clone(), &choice.word).on_hover_text(&choice.meaning);
        }
    });
    shown.response.accessible_name(field.key.as_str());
    false
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recipe_is_said_and_what_differs_from_it() {
        let field = |key: &str, default: &str| ExplainedField {
            key: key.into(),
            default: default.into(),
            help: String::new(),
            choices: Vec::new(),
        };
        // The server answers with the values of the recipe that was chosen.
        let fields = [field(RECIPE, "finetune"), field("train.epochs", "12"), field("seed", "0")];
        let chosen = [(RECIPE, "finetune"), ("train.epochs", "12"), ("seed", "7")];
        let chosen = chosen.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(overrides(&chosen, &fields), ["recipe=finetune", "seed=7"]);
    }
}
