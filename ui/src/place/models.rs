//! Models: those that were registered, and the checkpoints of runs; drop an image on one of these to get a prediction.

use super::Cx;
use super::review::bar_ui;
use crate::api::Then;
use crate::elided::{elided_link, elided_ui};
use crate::route::Route;
use crate::tokens::{GRID, strong};
use crate::transport::Method;
use crate::widgets::{badge_ui, bytes, card_ui, empty_ui, remote_ui};
use assay_domain::entity::CheckpointKind;
use assay_domain::registry::ModelVersion;
use assay_protocol::{ModelCard, PredictionReply, RegisteredCard, path};
use egui::{ColorImage, Rect, RichText, ScrollArea, Sense, TextureHandle, TextureOptions, Ui, pos2, vec2};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

type Dropped = Arc<Mutex<Option<Result<Vec<u8>, String>>>>;

/// So many versions of a registered model are shown, until all are asked for.
const VERSIONS: usize = 4;

#[derive(Default)]
pub(crate) struct Models {
    /// The registered models of which all versions are shown.
    unfolded: BTreeSet<String>,
    chosen: Option<(assay_domain::RunId, CheckpointKind)>,
    dropped: Dropped,
    image: Option<TextureHandle>,
    prediction: Option<PredictionReply>,
    error: Option<String>,
}

impl Models {
    pub(crate) fn show_prediction(&mut self, reply: PredictionReply) {
        self.prediction = Some(reply);
    }

    /// Takes the bytes of an image to predict.
    pub(crate) fn offer(&mut self, bytes: Vec<u8>) {
        *self.dropped.lock().unwrap_or_else(PoisonError::into_inner) = Some(Ok(bytes));
    }

    /// An image was dropped on the window: its bytes are read in the background.
    pub(crate) fn dropped(&mut self, file: egui::DroppedFileHandle, ctx: &egui::Context) {
        read_dropped(file, self.dropped.clone(), ctx.clone());
    }

    pub(crate) fn models_ui(&mut self, ui: &mut Ui, cx: &mut Cx<'_>) {
        let remote = cx.api.get::<Vec<ModelCard>>(path::MODELS);
        let registry = cx.api.get::<Vec<RegisteredCard>>(path::REGISTRY);
        let api = cx.api.clone();
        let Some(registered) = registry.value.clone() else {
            return remote_ui(ui, &api, path::REGISTRY, registry, |_, _| ());
        };
        remote_ui(ui, &api, path::MODELS, remote, |ui, cards| {
            if cards.is_empty() && registered.is_empty() {
                let text = "Each run keeps its best and its last checkpoint; they are listed here, and with them the \
                            models that MLflow's clients register.";
                if empty_ui(ui, "No models yet", text, Some("Go to runs")) {
                    *cx.route = Route::Runs;
                }
                return;
            }
            if cards.is_empty() {
                ui.heading("Models");
                ui.add_space(2.0 * GRID);
                ScrollArea::vertical().id_salt("models").auto_shrink(false).show(ui, |ui| {
                    self.registered_ui(ui, cx, &registered);
                });
                return;
            }
            if self
                .chosen
                .is_none_or(|(run, kind)| !cards.iter().any(|card| card.run.id == run && card.checkpoint.kind == kind))
            {
                self.chosen = cards.first().map(|card| (card.run.id, card.checkpoint.kind));
            }
            self.take_dropped(ui, cx);
            ui.heading("Models");
            ui.add_space(2.0 * GRID);
            let whole = ui.available_rect_before_wrap();
            let split = whole.left() + whole.width() * 0.58;
            let left = Rect::from_min_max(whole.min, pos2(split - 10.0, whole.bottom()));
            let right = Rect::from_min_max(pos2(split + 10.0, whole.top()), whole.max);
            ui.scope_builder(egui::UiBuilder::new().max_rect(left), |ui| self.list_ui(ui, cx, cards, &registered));
            ui.scope_builder(egui::UiBuilder::new().max_rect(right), |ui| self.try_ui(ui, cx));
        });
    }

    fn list_ui(&mut self, ui: &mut Ui, cx: &mut Cx<'_>, cards: &[ModelCard], registered: &[RegisteredCard]) {
        ScrollArea::vertical().id_salt("models").auto_shrink(false).show(ui, |ui| {
            if !registered.is_empty() {
                ui.label(RichText::new("Registered").font(strong(13.0)));
                self.registered_ui(ui, cx, registered);
                ui.add_space(2.0 * GRID);
                ui.label(RichText::new("Checkpoints").font(strong(13.0)));
            }
            for card in cards {
                let id = (card.run.id, card.checkpoint.kind);
                card_ui(ui, |ui| {
                    ui.set_width(ui.available_width());
                    ui.horizontal(|ui| {
                        if ui
                            .radio(self.chosen == Some(id), "")
                            .accessible_name(format!("Use {} of run {}", id.1.as_str(), id.0))
                            .clicked()
                        {
                            self.chosen = Some(id);
                            self.prediction = None;
                        }
                        let room = ui.available_width() * 0.6;
                        if elided_link(ui, &card.run.name, strong(13.0), cx.tokens.text, room).clicked() {
                            *cx.route = Route::Run(card.run.id);
                        }
                        badge_ui(ui, card.checkpoint.kind.as_str(), cx.tokens.accent);
                        if let Some(accuracy) = card.test_accuracy {
                            badge_ui(ui, &format!("test {:.2} %", accuracy * 100.0), cx.tokens.good);
                        }
                    });
                    let checkpoint = &card.checkpoint;
                    let model = card.run.params.get("model.name").map_or("", String::as_str);
                    let data = card.dataset.as_ref().map_or("", |dataset| dataset.name.as_str());
                    let accuracy = checkpoint
                        .val_accuracy
                        .map(|accuracy| format!(", val {:.2} %", accuracy * 100.0))
                        .unwrap_or_default();
                    let text = format!(
                        "{model} on {data}   epoch {}, step {}{accuracy}   {}",
                        checkpoint.epoch,
                        checkpoint.step,
                        bytes(checkpoint.weights.bytes)
                    );
                    ui.label(RichText::new(text).color(cx.tokens.weak));
                });
            }
        });
    }

    fn registered_ui(&mut self, ui: &mut Ui, cx: &mut Cx<'_>, registered: &[RegisteredCard]) {
        for RegisteredCard { model, versions } in registered {
            card_ui(ui, |ui| {
                ui.set_width(ui.available_width());
                ui.horizontal(|ui| {
                    let room = ui.available_width() * 0.6;
                    elided_ui(ui, &model.name, strong(13.0), cx.tokens.text, room);
                    for (key, value) in model.tags.iter().filter(|(key, _)| !key.starts_with("mlflow.")).take(6) {
                        let text = if value.is_empty() { key.clone() } else { format!("{key} {value}") };
                        badge_ui(ui, &short(&text), cx.tokens.weak);
                    }
                });
                if !model.description.is_empty() {
                    ui.label(RichText::new(&model.description).color(cx.tokens.weak));
                }
                if versions.is_empty() {
                    ui.label(RichText::new("No version is registered yet").color(cx.tokens.weak));
                }
                let all = self.unfolded.contains(&model.name);
                for version in versions.iter().take(if all { usize::MAX } else { VERSIONS }) {
                    let aliases = model.aliases.iter().filter(|(_, of)| **of == version.version);
                    version_ui(ui, cx, version, aliases.map(|(alias, _)| alias.as_str()));
                }
                if !all && versions.len() > VERSIONS && ui.link(format!("All {} versions", versions.len())).clicked() {
                    self.unfolded.insert(model.name.clone());
                }
            });
        }
    }

    /// The place to drop an image, and what the chosen model says of it.
    fn try_ui(&mut self, ui: &mut Ui, cx: &Cx<'_>) {
        ui.label(RichText::new("Try it").font(strong(13.0)));
        let height = (ui.available_height() * 0.5).clamp(160.0, 420.0);
        let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), height), Sense::hover());
        ui.painter().rect_filled(rect, 8.0, cx.tokens.panel);
        ui.painter().rect_stroke(rect, 8.0, egui::Stroke::new(1.0, cx.tokens.line), egui::StrokeKind::Inside);
        match &self.image {
            Some(texture) => {
                let uv = Rect::from_min_max(pos2(0.0, 0.0), pos2(1.0, 1.0));
                ui.painter().image(
                    texture.id(),
                    crate::widgets::fitted(rect.shrink(12.0), texture.size_vec2()),
                    uv,
                    egui::Color32::WHITE,
                );
            }
            None => {
                let text = RichText::new("Drop an image here\nto see what the chosen model says").color(cx.tokens.weak);
                ui.put(rect.shrink(16.0), egui::Label::new(text).halign(egui::Align::Center));
            }
        }
        ui.add_space(2.0 * GRID);
        if let Some(error) = &self.error {
            ui.label(RichText::new(error).color(cx.tokens.bad));
        }
        if let Some(prediction) = &self.prediction {
            let said = prediction.classes.iter().filter(|class| class.is_predicted).count();
            for class in prediction.classes.iter().take(said.max(8)) {
                let color = if class.is_predicted { cx.tokens.good } else { cx.tokens.accent };
                bar_ui(ui, &class.class, class.probability, color);
            }
            ui.label(RichText::new(format!("{:.1} ms", prediction.elapsed_ms)).color(cx.tokens.weak));
        }
    }

    fn take_dropped(&mut self, ui: &Ui, cx: &Cx<'_>) {
        let dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (Some(dropped), Some((run, kind))) = (dropped, self.chosen) else { return };
        (self.image, self.prediction, self.error) = (None, None, None);
        match dropped {
            Ok(bytes) => {
                if let Ok(image) = image::load_from_memory(&bytes) {
                    let image = image.into_rgb8();
                    let pixels =
                        ColorImage::from_rgb([image.width() as usize, image.height() as usize], image.as_raw());
                    let options = if image.width().max(image.height()) <= 64 {
                        TextureOptions::NEAREST
                    } else {
                        TextureOptions::LINEAR
                    };
                    self.image = Some(ui.ctx().load_texture("dropped", pixels, options));
                }
                let address = path::run(run, &format!("/predict?checkpoint={}", kind.as_str()));
                cx.api.act_with_bytes(Method::Post, &address, bytes, Then::ShowPrediction);
            }
            Err(why) => self.error = Some(format!("The file cannot be read: {why}")),
        }
    }
}

/// A version in one line: its number, its names, how far it has come, where it is from.
fn version_ui<'a>(ui: &mut Ui, cx: &mut Cx<'_>, version: &ModelVersion, aliases: impl Iterator<Item = &'a str>) {
    ui.horizontal(|ui| {
        ui.label(RichText::new(format!("v{}", version.version)).font(strong(13.0)));
        if let Some(uid) = &version.run
            && ui.link(format!("run {}", uid.get(..8).unwrap_or(uid))).on_hover_text("The run that made it").clicked()
        {
            *cx.route = Route::Uid(uid.clone());
        }
        for alias in aliases {
            badge_ui(ui, &short(&format!("@{alias}")), cx.tokens.accent);
        }
        match version.stage.as_str() {
            "None" => {}
            "Production" => badge_ui(ui, "Production", cx.tokens.good),
            stage => badge_ui(ui, stage, cx.tokens.weak),
        }
        let said = if version.description.is_empty() { &version.source } else { &version.description };
        ui.add(egui::Label::new(RichText::new(said).color(cx.tokens.weak)).truncate()).on_hover_text(&version.source);
    });
}

/// A text as it fits a badge.
fn short(text: &str) -> String {
    match text.char_indices().nth(32) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(target_arch = "wasm32")]
fn read_dropped(file: egui::DroppedFileHandle, dropped: Dropped, ctx: egui::Context) {
    wasm_bindgen_futures::spawn_local(async move {
        let bytes = file.bytes_async().await;
        *dropped.lock().unwrap_or_else(PoisonError::into_inner) = Some(bytes);
        ctx.request_repaint();
    });
}

#[cfg(not(target_arch = "wasm32"))]
fn read_dropped(file: egui::DroppedFileHandle, dropped: Dropped, ctx: egui::Context) {
    *dropped.lock().unwrap_or_else(PoisonError::into_inner) = Some(file.bytes());
    ctx.request_repaint();
}
