//! Datasets: import, a virtual grid of thumbnails, and actions on datasets and samples.

mod import;
mod manage;
mod sample;

use super::Cx;
use crate::api::Then;
use crate::command::Command;
use crate::elided::{elided_link, elided_ui};
use crate::route::Route;
use crate::tokens::{GRID, strong};
use crate::transport::Method;
use crate::widgets::{badge_ui, card_ui, empty_ui, primary_button, remote_ui, tile_ui, tiles_ui};
use assay_domain::entity::{Dataset, Problem, ProblemKind, Sample, SampleState, SplitCount};
use assay_domain::split::Stratum;
use assay_domain::{ClassId, DatasetId, Label, Split, counted};
use assay_protocol::{DatasetChange, ImportRequest, SamplePage, SamplesAct, SamplesChange, SamplesQuery, path};
use egui::{Align, ComboBox, Layout, RichText, ScrollArea, TextEdit, TextStyle, Ui};
use import::{Import, labelling_ui};
use manage::Manage;

/// Samples of a page of the grid.
const PAGE: usize = 120;
/// Sizes of a tile, in points.
const TILES: [f32; 3] = [84.0, 124.0, 188.0];

#[derive(Default)]
pub(crate) struct Data {
    import: Option<Import>,
    manage: Option<Manage>,
    stratum: Option<Stratum>,
    split: Option<Split>,
    state: Option<SampleState>,
    name: String,
    tile: usize,
    opened: Option<usize>,
    problems: bool,
}

impl Data {
    /// Opens the import form with this path.
    pub(crate) fn offer(&mut self, source: &str) {
        self.import = Some(Import { source: source.to_owned(), ..Import::default() });
    }

    pub(crate) fn data_ui(&mut self, ui: &mut Ui, cx: &mut Cx<'_>, dataset: Option<DatasetId>) {
        let remote = cx.api.get::<Vec<Dataset>>(path::DATASETS);
        let api = cx.api.clone();
        remote_ui(ui, &api, path::DATASETS, remote, |ui, datasets| {
            if datasets.is_empty() {
                let text = "Import a folder with one sub-folder per class, a zip or tar of one, or a CSV of path,label. Your files stay where they are.";
                if empty_ui(ui, "No images yet", text, Some("Import images…")) {
                    self.offer("");
                }
                manage::removed_ui(ui, cx);
                return;
            }
            let shown = datasets.iter().find(|found| Some(found.id) == dataset);
            match shown.or_else(|| (datasets.len() == 1).then(|| &datasets[0])) {
                Some(dataset) => self.dataset_ui(ui, cx, dataset, datasets.len() > 1),
                None => self.list_ui(ui, cx, datasets),
            }
        });
    }

    pub(crate) fn import_ui(&mut self, ctx: &egui::Context, cx: &Cx<'_>) {
        if self.import.as_mut().is_some_and(|import| import.form_ui(ctx, cx)) {
            self.import = None;
        }
    }

    fn list_ui(&mut self, ui: &mut Ui, cx: &mut Cx<'_>, datasets: &[Dataset]) {
        ui.horizontal(|ui| {
            ui.heading("Data");
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                if primary_button(ui, "Import images…").clicked() {
                    self.offer("");
                }
            });
        });
        ui.add_space(2.0 * GRID);
        for dataset in datasets {
            card_ui(ui, |ui| {
                ui.set_width(ui.available_width());
                let room = ui.available_width();
                if elided_link(ui, &dataset.name, strong(15.0), cx.tokens.accent, room).clicked() {
                    *cx.route = Route::Data(Some(dataset.id));
                }
                ui.label(format!(
                    "{}, {} labelled, {}",
                    counted(dataset.samples, "image"),
                    dataset.labeled,
                    counted(dataset.classes.len(), "class")
                ));
                ui.label(RichText::new(dataset.origin()).color(cx.tokens.weak));
            });
        }
        manage::removed_ui(ui, cx);
    }

    fn dataset_ui(&mut self, ui: &mut Ui, cx: &mut Cx<'_>, dataset: &Dataset, others: bool) {
        if cx.asked_for(Command::Back) && self.opened.take().is_none() && others {
            *cx.route = Route::Data(None);
        }
        ui.horizontal(|ui| {
            if others && ui.button("←").on_hover_text("Back to all datasets").clicked() {
                *cx.route = Route::Data(None);
            }
            let room = ui.available_width() * 0.4;
            elided_ui(ui, &dataset.name, TextStyle::Heading, cx.tokens.text, room);
            ui.label(
                RichText::new(format!("{}, {} labelled", counted(dataset.samples, "image"), dataset.labeled))
                    .color(cx.tokens.weak),
            );
            let to_look_at = match (dataset.problems, dataset.findings) {
                (0, 0) => None,
                (left_out, 0) => Some(format!("{left_out} left out")),
                (0, findings) => Some(format!("{findings} to look at")),
                (left_out, findings) => Some(format!("{left_out} left out, {findings} to look at")),
            };
            if let Some(text) = to_look_at
                && ui
                    .button(RichText::new(text).color(cx.tokens.warning))
                    .on_hover_text("Show which files were left out and why, and what contradicts itself")
                    .clicked()
            {
                self.problems = !self.problems;
            }
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                if let Some(form) = Manage::menu_ui(ui, cx, dataset) {
                    self.manage = Some(form);
                }
                if ui.button("Import images…").clicked() {
                    self.offer("");
                }
                if ui.button("Look again").on_hover_text("Find new, changed and moved files of this dataset").clicked()
                {
                    let request = ImportRequest {
                        source: dataset.origin().to_owned(),
                        name: Some(dataset.name.clone()),
                        ..ImportRequest::default()
                    };
                    cx.api.act(
                        Method::Post,
                        path::DATASETS,
                        &request,
                        Then::Say("Looking for new and changed files".into()),
                    );
                }
                if ui.button("Label").clicked() {
                    *cx.route = Route::Label(Some(dataset.id));
                }
            });
        });
        ui.horizontal_wrapped(|ui| {
            let mut labelling = dataset.labelling;
            if labelling_ui(ui, &mut labelling) {
                let change = DatasetChange { labelling: Some(labelling), ..DatasetChange::default() };
                cx.api.act(Method::Patch, &path::dataset(dataset.id, ""), &change, Then::Nothing);
            }
            ui.add_space(GRID);
            ui.label(RichText::new(dataset.origin()).color(cx.tokens.weak));
        });
        ui.add_space(GRID);
        if self.manage.as_mut().is_some_and(|form| form.form_ui(ui.ctx(), cx, dataset)) {
            self.manage = None;
        }
        if self.problems {
            problems_ui(ui, cx, dataset.id);
        }
        self.filters_ui(ui, cx, dataset);
        ui.add_space(GRID);
        self.grid_ui(ui, cx, dataset);
    }

    fn filters_ui(&mut self, ui: &mut Ui, cx: &Cx<'_>, dataset: &Dataset) {
        let count = |stratum: Option<Stratum>, split: Option<Split>| -> u64 {
            let of_split = |found: Split| split.is_none_or(|split| split == found);
            if let Some(Stratum::Class(class)) = stratum {
                let counts = dataset.counts.iter().filter(|count| count.class == class && of_split(count.split));
                return counts.map(|count| count.samples).sum();
            }
            let counts = dataset.splits.iter().filter(|count| of_split(count.split));
            let samples = |count: &SplitCount| match stratum {
                Some(Stratum::Unlabeled) => count.unlabeled,
                Some(Stratum::Empty) => count.empty,
                _ => count.samples,
            };
            counts.map(samples).sum()
        };
        ui.horizontal_wrapped(|ui| {
            let mut chip = |ui: &mut Ui, stratum: Option<Stratum>, name: &str| {
                let text = format!("{name}  {}", count(stratum, self.split));
                if ui.selectable_label(self.stratum == stratum && self.state.is_none(), text).clicked() {
                    (self.stratum, self.state, self.opened) = (stratum, None, None);
                }
            };
            chip(ui, None, "All");
            for (index, name) in dataset.classes.iter().enumerate() {
                chip(ui, Some(Stratum::Class(ClassId(index as i64))), name);
            }
            if count(Some(Stratum::Empty), None) > 0 {
                chip(ui, Some(Stratum::Empty), "None of them");
            }
            if dataset.samples > dataset.labeled {
                chip(ui, Some(Stratum::Unlabeled), "Unlabelled");
            }
            for (state, samples) in [
                (SampleState::Missing, dataset.missing),
                (SampleState::Changed, dataset.changed),
                (SampleState::Removed, dataset.removed_samples),
            ] {
                let text = RichText::new(format!("{}  {samples}", sample::word(state))).color(cx.tokens.warning);
                if (samples > 0 || self.state == Some(state))
                    && ui.selectable_label(self.state == Some(state), text).clicked()
                {
                    (self.state, self.stratum, self.opened) = (Some(state), None, None);
                }
            }
        });
        ui.horizontal(|ui| {
            for (split, name) in [
                (None, "All splits"),
                (Some(Split::Train), "Train"),
                (Some(Split::Val), "Val"),
                (Some(Split::Test), "Test"),
            ] {
                let text = format!("{name}  {}", count(self.stratum, split));
                if ui.selectable_label(self.split == split, text).clicked() {
                    (self.split, self.opened) = (split, None);
                }
            }
            ui.separator();
            for (index, name) in ["Small", "Medium", "Large"].into_iter().enumerate() {
                if ui.selectable_label(self.tile == index, name).on_hover_text("Size of the thumbnails").clicked() {
                    self.tile = index;
                }
            }
            ui.separator();
            let search = TextEdit::singleline(&mut self.name).hint_text("File name").desired_width(140.0);
            if ui.add(search).accessible_name("Search by file name").changed() {
                self.opened = None;
            }
            let first = self.page(cx, dataset.id, 0).1.value;
            if let Some(total) = first.map(|page| page.total) {
                self.all_ui(ui, cx, dataset, total);
            }
        });
    }

    /// Actions on all samples that match the filters.
    fn all_ui(&self, ui: &mut Ui, cx: &Cx<'_>, dataset: &Dataset, total: u64) {
        let act = |act: SamplesAct, said: String| {
            let change = SamplesChange { samples: None, filter: self.query(0), act };
            cx.api.act(Method::Post, &path::dataset(dataset.id, "/samples"), &change, Then::Say(said));
        };
        let images = counted(total, "image");
        let menu = ui.menu_button(format!("{total} shown"), |ui| {
            for split in Split::ALL {
                if ui.button(format!("Put all into {split}")).clicked() {
                    act(SamplesAct::Split(split), format!("{images} in {split} from now on"));
                    ui.close();
                }
            }
            ui.separator();
            if self.state == Some(SampleState::Changed) && ui.button("Confirm all labels").clicked() {
                act(SamplesAct::Confirm(cx.person.clone()), format!("The labels of {images} are confirmed"));
                ui.close();
            }
            match self.state {
                Some(SampleState::Removed) => {
                    if ui.button("Restore all").clicked() {
                        act(SamplesAct::Restore, format!("{images} are back in the dataset"));
                        ui.close();
                    }
                }
                _ => {
                    if ui.button("Remove all from the dataset").clicked() {
                        act(SamplesAct::Remove, format!("{images} removed; under \"Removed\" they can be restored"));
                        ui.close();
                    }
                }
            }
        });
        menu.response.accessible_name("All that are shown").on_hover_text("Do something to all images that are shown");
    }

    fn query(&self, index: usize) -> SamplesQuery {
        SamplesQuery {
            class: self.stratum.map(|stratum| stratum.to_string()),
            split: self.split,
            state: self.state,
            name: Some(self.name.trim().to_owned()).filter(|name| !name.is_empty()),
            offset: index / PAGE * PAGE,
            limit: Some(PAGE),
        }
    }

    fn page(&self, cx: &Cx<'_>, dataset: DatasetId, index: usize) -> (String, crate::api::Remote<SamplePage>) {
        let address = path::dataset(dataset, &format!("/samples{}", self.query(index).to_query()));
        let remote = cx.api.get::<SamplePage>(&address);
        (address, remote)
    }

    fn sample(&self, cx: &Cx<'_>, dataset: DatasetId, index: usize) -> Option<Sample> {
        self.page(cx, dataset, index).1.value?.samples.get(index % PAGE).cloned()
    }

    fn grid_ui(&mut self, ui: &mut Ui, cx: &mut Cx<'_>, dataset: &Dataset) {
        let (address, first) = self.page(cx, dataset.id, 0);
        let api = cx.api.clone();
        let mut total = 0;
        remote_ui(ui, &api, &address, first, |_, page| total = page.total as usize);
        if total == 0 {
            ui.label(RichText::new("No image matches.").color(cx.tokens.weak));
            return;
        }
        if let Some(index) = self.opened {
            return self.sample_ui(ui, cx, dataset, index.min(total - 1), total);
        }
        let mut opened = None;
        tiles_ui(ui, "grid", TILES[self.tile], total, |ui, index, rect| {
            let Some(sample) = self.sample(cx, dataset.id, index) else {
                ui.painter().rect_filled(rect, 6.0, cx.tokens.panel);
                return;
            };
            let label = label_text(dataset, sample.label.as_ref());
            let named = |word: fn(SampleState) -> &'static str| match sample.state() {
                Some(state) => format!("{}: {label}", word(state)),
                None => label.clone(),
            };
            let name = format!("{}: {}", sample.path, named(sample::word));
            let address = thumbnail(&sample, rect.width());
            if tile_ui(ui, cx.images, &address, rect, &name, &named(sample::short_word), false).clicked() {
                opened = Some(index);
            }
        });
        self.opened = opened;
    }
}

/// The names of the classes of a label; a dash without a label.
pub(super) fn label_text(dataset: &Dataset, label: Option<&Label>) -> String {
    label.map_or("–".into(), |label| label.names(&dataset.classes))
}

/// The address of a thumbnail for a tile.
pub(super) fn thumbnail(sample: &Sample, tile: f32) -> String {
    let side = if tile > 132.0 { 256 } else { 128 };
    path::sample(sample.id, &format!("/thumbnail?side={side}&h={}", &sample.hash[..8]))
}

fn problems_ui(ui: &mut Ui, cx: &Cx<'_>, dataset: DatasetId) {
    let address = path::dataset(dataset, "/problems");
    let remote = cx.api.get::<Vec<Problem>>(&address);
    card_ui(ui, |ui| {
        ui.set_width(ui.available_width());
        remote_ui(ui, cx.api, &address, remote, |ui, problems| {
            ScrollArea::vertical().id_salt("problems").max_height(160.0).show_rows(
                ui,
                18.0,
                problems.len(),
                |ui, rows| {
                    for problem in &problems[rows] {
                        ui.horizontal(|ui| {
                            let (word, color) = match problem.kind {
                                ProblemKind::LeftOut => ("left out", cx.tokens.warning),
                                ProblemKind::LabelDiffers => ("label", cx.tokens.accent),
                                ProblemKind::SameImage => ("copies", cx.tokens.accent),
                                ProblemKind::Contradicted => ("source", cx.tokens.accent),
                            };
                            badge_ui(ui, word, color);
                            let half = ui.available_width() / 2.0;
                            elided_ui(ui, &problem.path, TextStyle::Monospace, cx.tokens.text, half);
                            let room = ui.available_width();
                            elided_ui(ui, &problem.reason, TextStyle::Body, cx.tokens.weak, room);
                        });
                    }
                },
            );
        });
    });
    ui.add_space(GRID);
}

/// A drop-down of datasets; returns the chosen one.
pub(super) fn dataset_choice_ui(ui: &mut Ui, datasets: &[Dataset], shown: &Dataset) -> Option<DatasetId> {
    let mut chosen = shown.id;
    let list = ComboBox::from_id_salt("dataset choice").selected_text(&shown.name).show_ui(ui, |ui| {
        for dataset in datasets {
            ui.selectable_value(&mut chosen, dataset.id, &dataset.name);
        }
    });
    list.response.accessible_name("Dataset");
    (chosen != shown.id).then_some(chosen)
}
