//! Labeling: one image, one key, the next image; or where an image may have several classes, a key for each. A label is
//! shown as set once it is durable.

use super::Cx;
use super::data::{dataset_choice_ui, label_text, thumbnail};
use crate::api::Then;
use crate::command::Command;
use crate::keymap::{DIGITS, Keymap, pressed_digit};
use crate::route::Route;
use crate::tokens::{GRID, strong};
use crate::transport::Method;
use crate::widgets::{badge_ui, empty_ui, entered, image_ui, remote_ui, tile_ui};
use assay_domain::entity::{Dataset, LabelEdit, Sample};
use assay_domain::split::Stratum;
use assay_domain::{ClassId, DatasetId, LabelChange, Labelling, SampleId};
use assay_protocol::{AddClasses, LabelRequest, PersonRequest, SampleDetail, SamplePage, SamplesQuery, path};
use egui::{Modifiers, Rect, RichText, ScrollArea, Sense, TextEdit, Ui, pos2, vec2};
use std::collections::VecDeque;

/// Samples that are fetched for one sitting.
const QUEUE: usize = 5_000;

/// Something that is done to labels.
#[derive(Clone)]
enum Asked {
    Change(SampleId, LabelChange),
    /// `/undo` or `/redo`.
    Revert(&'static str),
}

#[derive(Default)]
pub(crate) struct Label {
    dataset: Option<DatasetId>,
    only_unlabelled: bool,
    /// The samples of this sitting; what is labelled does not vanish from under one's hands.
    queue: Vec<Sample>,
    asked: Option<String>,
    at: usize,
    /// What is asked for, in order: the next is sent once the one before is durable.
    saving: VecDeque<Asked>,
    /// Whether the first of them is on its way.
    is_sent: bool,
    /// The edit that was answered last, until its sample is read again.
    latest: Option<LabelEdit>,
    new_class: String,
}

impl Label {
    /// What was sent is durable.
    pub(crate) fn saved(&mut self, edit: LabelEdit) {
        if let Some(Asked::Revert(_)) = self.saving.pop_front() {
            self.show(edit.sample);
        }
        self.is_sent = false;
        self.latest = Some(edit);
    }

    /// What was sent is refused: its image is shown again, and what was asked for after it is not done.
    pub(crate) fn not_saved(&mut self) {
        if let Some(Asked::Change(sample, _)) = self.saving.front().cloned() {
            self.show(sample);
        }
        self.saving.clear();
        self.is_sent = false;
    }

    /// Sends what is asked for next.
    pub(crate) fn send_next(&mut self, cx: &Cx<'_>) {
        if self.is_sent {
            return;
        }
        let person = cx.person.clone();
        match (self.saving.front(), self.dataset) {
            (Some(Asked::Change(sample, change)), _) => {
                let request = LabelRequest { change: change.clone(), person, proposed_by: None };
                cx.api.act(Method::Post, &path::sample(*sample, "/label"), &request, Then::Labelled);
            }
            (Some(Asked::Revert(which)), Some(dataset)) => {
                let request = PersonRequest { person };
                cx.api.act(Method::Post, &path::dataset(dataset, which), &request, Then::Labelled);
            }
            _ => return,
        }
        self.is_sent = true;
    }

    pub(crate) fn show(&mut self, sample: SampleId) {
        if let Some(at) = self.queue.iter().position(|found| found.id == sample) {
            self.at = at;
        }
    }

    pub(crate) fn label_ui(&mut self, ui: &mut Ui, cx: &mut Cx<'_>, dataset: Option<DatasetId>) {
        let remote = cx.api.get::<Vec<Dataset>>(path::DATASETS);
        let api = cx.api.clone();
        remote_ui(ui, &api, path::DATASETS, remote, |ui, datasets| {
            let Some(shown) = datasets.iter().find(|found| Some(found.id) == dataset).or(datasets.first()) else {
                if empty_ui(
                    ui,
                    "Nothing to label yet",
                    "Import images first; they need no labels for this.",
                    Some("Go to data"),
                ) {
                    *cx.route = Route::Data(None);
                }
                return;
            };
            if self.dataset != Some(shown.id) {
                if !self.saving.is_empty() {
                    empty_ui(ui, "Saving…", "", None);
                    return;
                }
                *self = Label {
                    dataset: Some(shown.id),
                    only_unlabelled: shown.labeled < shown.samples,
                    ..Label::default()
                };
            }
            self.head_ui(ui, cx, datasets, shown);
            self.fill(cx, shown.id);
            if self.queue.is_empty() {
                let (title, text) = match self.asked {
                    Some(_) => ("Loading…", ""),
                    None if self.only_unlabelled => {
                        ("Everything is labelled", "Switch to all images to look through them again.")
                    }
                    None => ("No images", "The dataset has no images."),
                };
                empty_ui(ui, title, text, None);
                return;
            }
            self.keys(ui, cx, shown);
            self.image_and_classes_ui(ui, cx, shown);
        });
    }

    fn head_ui(&mut self, ui: &mut Ui, cx: &mut Cx<'_>, datasets: &[Dataset], shown: &Dataset) {
        let keymap = Keymap::of(ui.ctx());
        ui.horizontal(|ui| {
            ui.heading("Label");
            if let Some(chosen) = dataset_choice_ui(ui, datasets, shown) {
                *cx.route = Route::Label(Some(chosen));
            }
            for (only, name) in [(true, "Unlabelled"), (false, "All images")] {
                if ui.selectable_label(self.only_unlabelled == only, name).clicked() {
                    self.only_unlabelled = only;
                    (self.queue, self.at) = (Vec::new(), 0);
                }
            }
            let share = if shown.samples == 0 { 0.0 } else { shown.labeled as f32 / shown.samples as f32 };
            let (rect, bar) = ui.allocate_exact_size(vec2(120.0, 6.0), Sense::hover());
            ui.painter().rect_filled(rect, 3.0, cx.tokens.raised);
            ui.painter().rect_filled(Rect::from_min_size(rect.min, vec2(120.0 * share, 6.0)), 3.0, cx.tokens.good);
            let progress = format!("{} of {} labelled", shown.labeled, shown.samples);
            if ui.available_width() > 420.0 {
                ui.label(RichText::new(progress).color(cx.tokens.weak));
            } else {
                bar.on_hover_text(progress);
            }
            if !self.saving.is_empty() {
                badge_ui(ui, &format!("saving {}", self.saving.len()), cx.tokens.warning);
            }
            ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                ui.add(TextEdit::singleline(cx.person).desired_width(90.0)).accessible_name("Your name");
                ui.label(RichText::new("as").color(cx.tokens.weak));
                if ui.button("Redo").on_hover_text(keymap.text(ui.ctx(), Command::Redo)).clicked() {
                    self.revert(cx, "/redo");
                }
                if ui.button("Undo").on_hover_text(keymap.text(ui.ctx(), Command::Undo)).clicked() {
                    self.revert(cx, "/undo");
                }
            });
        });
        ui.add_space(2.0 * GRID);
    }

    /// Fetches the samples of this sitting, once.
    fn fill(&mut self, cx: &Cx<'_>, dataset: DatasetId) {
        if !self.queue.is_empty() {
            return;
        }
        let class = self.only_unlabelled.then(|| Stratum::Unlabeled.to_string());
        let query = SamplesQuery { class, limit: Some(QUEUE), ..SamplesQuery::default() };
        let address = path::dataset(dataset, &format!("/samples{}", query.to_query()));
        let remote = cx.api.get::<SamplePage>(&address);
        match remote.value {
            Some(page) => {
                self.queue = page.samples.iter().filter(|sample| sample.missing.is_none()).cloned().collect();
                self.asked = None;
            }
            None => self.asked = Some(address),
        }
    }

    fn keys(&mut self, ui: &Ui, cx: &Cx<'_>, dataset: &Dataset) {
        self.at = cx.stepped(self.at, self.queue.len());
        if cx.asked_for(Command::Undo) {
            self.revert(cx, "/undo");
        }
        if cx.asked_for(Command::Redo) {
            self.revert(cx, "/redo");
        }
        if cx.asked_for(Command::ClearLabel) {
            self.change(cx, LabelChange::Set(None));
        }
        if cx.asked_for(Command::NoClass) && dataset.labelling == Labelling::AnyClasses {
            self.change(cx, LabelChange::Set(Some(assay_domain::Label::default())));
        }
        if ui.ctx().text_edit_focused() {
            return;
        }
        while let Some(digit) = pressed_digit(ui.ctx()) {
            let class = (0..dataset.classes.len()).find(|class| key_of(dataset, *class) == Some(digit));
            if let Some(class) = class {
                self.choose(cx, dataset, ClassId(class as i64));
            }
        }
    }

    /// Labels with a class, or takes it away again where an image may have several.
    fn choose(&mut self, cx: &Cx<'_>, dataset: &Dataset, class: ClassId) {
        let Some(sample) = self.queue.get(self.at) else { return };
        let change = match (dataset.labelling, self.label_to_be(cx, sample)) {
            (Labelling::OneClass, _) => LabelChange::Set(Some(assay_domain::Label::one(class))),
            (Labelling::AnyClasses, Some(label)) if label.contains(class) => LabelChange::Remove(class),
            (Labelling::AnyClasses, _) => LabelChange::Add(class),
        };
        self.change(cx, change);
    }

    /// The label of a sample that is durable.
    fn label_of(&self, cx: &Cx<'_>, sample: &Sample) -> Option<assay_domain::Label> {
        let Some(detail) = cx.api.get::<SampleDetail>(&path::sample(sample.id, "")).value else {
            return sample.label.clone();
        };
        let seen = detail.history.last().map(|edit| edit.id);
        match self.latest.as_ref().filter(|edit| edit.sample == sample.id && seen < Some(edit.id)) {
            Some(edit) => edit.after.clone(),
            None => detail.sample.label.clone(),
        }
    }

    /// The label of a sample once all that is asked for is done.
    fn label_to_be(&self, cx: &Cx<'_>, sample: &Sample) -> Option<assay_domain::Label> {
        self.saving.iter().fold(self.label_of(cx, sample), |label, asked| match asked {
            Asked::Change(of, change) if *of == sample.id => change.of(label.as_ref()),
            _ => label,
        })
    }

    /// Asks for a change of the label, and goes on to the next image where nothing more is to be said of this one.
    fn change(&mut self, cx: &Cx<'_>, change: LabelChange) {
        let Some(sample) = self.queue.get(self.at) else { return };
        let is_all = matches!(change, LabelChange::Set(Some(_)));
        self.saving.push_back(Asked::Change(sample.id, change));
        if is_all {
            self.at = (self.at + 1).min(self.queue.len() - 1);
        }
        self.send_next(cx);
    }

    fn revert(&mut self, cx: &Cx<'_>, which: &'static str) {
        self.saving.push_back(Asked::Revert(which));
        self.send_next(cx);
    }

    fn image_and_classes_ui(&mut self, ui: &mut Ui, cx: &mut Cx<'_>, dataset: &Dataset) {
        let sample = self.queue[self.at].clone();
        let label = self.label_of(cx, &sample);
        let side_width = 232.0;
        let strip_height = 92.0;
        let whole = ui.available_rect_before_wrap();
        let stage =
            Rect::from_min_max(whole.min, pos2(whole.max.x - side_width - 16.0, whole.max.y - strip_height - 12.0));
        ui.painter().rect_filled(stage, 8.0, cx.tokens.panel);
        let picture = Rect::from_min_max(stage.min + vec2(16.0, 28.0), stage.max - vec2(16.0, 16.0));
        image_ui(ui, cx.images, &path::sample(sample.id, "/image"), picture);
        let caption = format!("{} of {}   {}", self.at + 1, self.queue.len(), sample.path);
        ui.painter().text(
            stage.left_top() + vec2(12.0, 8.0),
            egui::Align2::LEFT_TOP,
            caption,
            egui::FontId::proportional(12.0),
            cx.tokens.weak,
        );
        for near in 1..=3 {
            if let Some(next) = self.queue.get(self.at + near) {
                cx.images.get(&path::sample(next.id, "/image"));
            }
        }
        let side = Rect::from_min_max(pos2(stage.right() + 16.0, whole.top()), pos2(whole.right(), stage.bottom()));
        ui.scope_builder(egui::UiBuilder::new().max_rect(side), |ui| {
            self.classes_ui(ui, cx, dataset, label.as_ref());
        });
        let strip = Rect::from_min_max(pos2(whole.left(), whole.bottom() - strip_height), whole.max);
        self.strip_ui(ui, cx, dataset, strip);
        ui.advance_cursor_after_rect(whole);
    }

    fn classes_ui(&mut self, ui: &mut Ui, cx: &Cx<'_>, dataset: &Dataset, current: Option<&assay_domain::Label>) {
        ui.horizontal(|ui| {
            ui.label(RichText::new("Classes").font(strong(13.0)));
            if dataset.labelling == Labelling::AnyClasses {
                let next = Keymap::of(ui.ctx()).text(ui.ctx(), Command::Skip);
                ui.label(RichText::new(format!("any number; {next} goes on")).color(cx.tokens.weak));
            }
        });
        ui.add_space(GRID);
        let below = if dataset.labelling == Labelling::AnyClasses { 106.0 } else { 70.0 };
        ScrollArea::vertical().id_salt("classes").max_height(ui.available_height() - below).show(ui, |ui| {
            for (index, name) in dataset.classes.iter().enumerate() {
                let class = ClassId(index as i64);
                let count: u64 =
                    dataset.counts.iter().filter(|count| count.class == class).map(|count| count.samples).sum();
                let key = key_of(dataset, index).map(|(digit, shift)| {
                    let modifiers = if shift { Modifiers::SHIFT } else { Modifiers::NONE };
                    ui.ctx().format_shortcut(&egui::KeyboardShortcut::new(modifiers, DIGITS[digit]))
                });
                let key = RichText::new(format!("{:<2}", key.unwrap_or_default())).monospace().color(cx.tokens.weak);
                let is_chosen = current.is_some_and(|label| label.contains(class));
                let button = egui::Button::selectable(is_chosen, (key, RichText::new(name)))
                    .right_text(RichText::new(count.to_string()).color(cx.tokens.weak))
                    .min_size(vec2(ui.available_width() - 6.0, 28.0));
                if ui.add(button).accessible_name(format!("Label as {name}")).clicked() {
                    self.choose(cx, dataset, class);
                }
            }
        });
        if dataset.labelling == Labelling::AnyClasses {
            ui.add_space(GRID);
            let none = assay_domain::Label::default();
            let key = Keymap::of(ui.ctx()).text(ui.ctx(), Command::NoClass);
            let key = RichText::new(format!("{key:<2}")).monospace().color(cx.tokens.weak);
            let count: u64 = dataset.splits.iter().map(|count| count.empty).sum();
            let button = egui::Button::selectable(current == Some(&none), (key, RichText::new("None of them")))
                .right_text(RichText::new(count.to_string()).color(cx.tokens.weak))
                .min_size(vec2(ui.available_width() - 6.0, 28.0));
            if ui.add(button).accessible_name("Label with none of the classes").clicked() {
                self.change(cx, LabelChange::Set(Some(none)));
            }
        }
        ui.add_space(GRID);
        ui.horizontal(|ui| {
            let field = ui.add(TextEdit::singleline(&mut self.new_class).hint_text("New class").desired_width(130.0));
            let was_entered = entered(&field.accessible_name("New class"));
            if (ui.button("Add").clicked() || was_entered) && !self.new_class.trim().is_empty() {
                let request = AddClasses { names: vec![std::mem::take(&mut self.new_class)] };
                cx.api.act(Method::Post, &path::dataset(dataset.id, "/classes"), &request, Then::Nothing);
            }
        });
    }

    /// The images around the current one.
    fn strip_ui(&mut self, ui: &mut Ui, cx: &mut Cx<'_>, dataset: &Dataset, strip: Rect) {
        let tile = strip.height();
        let count = ((strip.width() + 6.0) / (tile + 6.0)).floor() as usize;
        let first = self.at.saturating_sub(count / 2).min(self.queue.len().saturating_sub(count));
        for (place, index) in (first..(first + count).min(self.queue.len())).enumerate() {
            let sample = self.queue[index].clone();
            let label = self.label_of(cx, &sample);
            let rect =
                Rect::from_min_size(pos2(strip.left() + place as f32 * (tile + 6.0), strip.top()), vec2(tile, tile));
            let name = format!("Image {}", index + 1);
            if tile_ui(
                ui,
                cx.images,
                &thumbnail(&sample, tile),
                rect,
                &name,
                &label_text(dataset, label.as_ref()),
                index == self.at,
            )
            .clicked()
            {
                self.at = index;
            }
        }
    }
}

/// The key of a class, as a place in [`DIGITS`] and whether Shift is held: the digit that is its name where all names are
/// digits, else its place; with Shift from the eleventh on.
fn key_of(dataset: &Dataset, class: usize) -> Option<(usize, bool)> {
    let digit = |name: &str| name.parse::<usize>().ok().filter(|_| name.len() == 1);
    if dataset.classes.iter().all(|name| digit(name).is_some()) {
        return Some(((digit(dataset.classes.get(class)?)? + 9) % 10, false));
    }
    (class < 20).then_some((class % 10, class >= 10))
}
