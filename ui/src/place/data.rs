//! Datasets: importing, and a virtual grid of thumbnails.

use super::Cx;
use crate::api::Then;
use crate::command::Command;
use crate::elided::{elided_link, elided_ui};
use crate::route::Route;
use crate::tokens::{GRID, strong};
use crate::transport::Method;
use crate::widgets::{
    badge_ui, card_ui, empty_ui, entered, image_ui, modal, primary_button, remote_ui, tile_ui, tiles_ui,
};
use assay_domain::entity::{Dataset, Problem, Sample, SplitCount};
use assay_domain::split::Stratum;
use assay_domain::{ClassId, DatasetId, Label, Labelling, Split, counted};
use assay_protocol::{DatasetChange, ImportRequest, PathSuggestion, PathsQuery, SamplePage, SamplesQuery, path};
use egui::{Align, ComboBox, Layout, RichText, ScrollArea, Sense, TextEdit, TextStyle, Ui};

/// Samples of a page of the grid.
const PAGE: usize = 120;
/// Sizes of a tile, in points.
const TILES: [f32; 3] = [84.0, 124.0, 188.0];

#[derive(Default)]
pub(crate) struct Data {
    import: Option<Import>,
    stratum: Option<Stratum>,
    split: Option<Split>,
    tile: usize,
    opened: Option<usize>,
    problems: bool,
}

#[derive(Default)]
struct Import {
    source: String,
    name: String,
    labelling: Labelling,
    /// Whether the path had the keys already.
    focused: bool,
}

/// What can be imported.
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
                return;
            }
            let shown = datasets.iter().find(|found| Some(found.id) == dataset);
            match shown.or_else(|| (datasets.len() == 1).then(|| &datasets[0])) {
                Some(dataset) => self.dataset_ui(ui, cx, dataset, datasets.len() > 1),
                None => self.list_ui(ui, cx, datasets),
            }
        });
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
                ui.label(RichText::new(&dataset.source).color(cx.tokens.weak));
            });
        }
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
            elided_ui(ui, &dataset.name, TextStyle::Heading.resolve(ui.style()), cx.tokens.text, room);
            ui.label(
                RichText::new(format!("{}, {} labelled", counted(dataset.samples, "image"), dataset.labeled))
                    .color(cx.tokens.weak),
            );
            if dataset.problems > 0
                && ui
                    .button(RichText::new(format!("{} left out", dataset.problems)).color(cx.tokens.warning))
                    .on_hover_text("Show which files were left out and why")
                    .clicked()
            {
                self.problems = !self.problems;
            }
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                if ui.button("Import images…").clicked() {
                    self.offer("");
                }
                if ui.button("Look again").on_hover_text("Find new, changed and moved files of this dataset").clicked()
                {
                    let request = ImportRequest {
                        source: dataset.source.clone(),
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
                let change = DatasetChange { labelling: Some(labelling) };
                cx.api.act(Method::Patch, &path::dataset(dataset.id, ""), &change, Then::Nothing);
            }
            ui.add_space(GRID);
            ui.label(RichText::new(&dataset.source).color(cx.tokens.weak));
        });
        ui.add_space(GRID);
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
                if ui.selectable_label(self.stratum == stratum, text).clicked() {
                    (self.stratum, self.opened) = (stratum, None);
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
            ui.label(RichText::new(format!("{} shown", count(self.stratum, self.split))).color(cx.tokens.weak));
        });
    }

    fn page(&self, cx: &Cx<'_>, dataset: DatasetId, index: usize) -> (String, crate::api::Remote<SamplePage>) {
        let class = self.stratum.map(|stratum| stratum.to_string());
        let query = SamplesQuery { class, split: self.split, offset: index / PAGE * PAGE, limit: Some(PAGE) };
        let address = path::dataset(dataset, &format!("/samples{}", query.to_query()));
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
            return self.large_ui(ui, cx, dataset, index.min(total - 1), total);
        }
        let mut opened = None;
        tiles_ui(ui, "grid", TILES[self.tile], total, |ui, index, rect| {
            let Some(sample) = self.sample(cx, dataset.id, index) else {
                ui.painter().rect_filled(rect, 6.0, cx.tokens.panel);
                return;
            };
            let label = label_text(dataset, sample.label.as_ref());
            let (address, name) = (thumbnail(&sample, rect.width()), format!("{}: {label}", sample.path));
            if tile_ui(ui, cx.images, &address, rect, &name, &label, false).clicked() {
                opened = Some(index);
            }
        });
        self.opened = opened;
    }

    fn large_ui(&mut self, ui: &mut Ui, cx: &mut Cx<'_>, dataset: &Dataset, index: usize, total: usize) {
        let index = cx.stepped(index, total);
        self.opened = Some(index);
        let sample = self.sample(cx, dataset.id, index);
        ui.horizontal(|ui| {
            if ui.button("Back to the grid").clicked() {
                self.opened = None;
            }
            ui.label(format!("{} of {total}", index + 1));
            if let Some(sample) = &sample {
                badge_ui(ui, &label_text(dataset, sample.label.as_ref()), cx.tokens.accent);
                badge_ui(ui, sample.split.as_str(), cx.tokens.weak);
                let facts = format!("{}   {} × {}   {}", sample.path, sample.width, sample.height, &sample.hash[..12]);
                ui.label(RichText::new(facts).color(cx.tokens.weak));
            }
        });
        let (rect, _) = ui.allocate_exact_size(ui.available_size(), Sense::hover());
        if let Some(sample) = sample {
            image_ui(ui, cx.images, &path::sample(sample.id, "/image"), rect.shrink(8.0));
        }
        // The neighbours are fetched ahead.
        for near in [index + 1, index.saturating_sub(1)] {
            if let Some(sample) = (near < total).then(|| self.sample(cx, dataset.id, near)).flatten() {
                cx.images.get(&path::sample(sample.id, "/image"));
            }
        }
    }

    pub(crate) fn import_ui(&mut self, ctx: &egui::Context, cx: &Cx<'_>) {
        let Some(import) = &mut self.import else { return };
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
                let field = TextEdit::singleline(&mut import.source)
                    .hint_text("/path/on/the/machine/that/runs/Assay")
                    .desired_width(400.0);
                let field = ui.add(field).accessible_name("Path");
                was_entered |= entered(&field);
                if !std::mem::replace(&mut import.focused, true) {
                    field.request_focus();
                }
                ui.end_row();
                ui.label("Name");
                let field =
                    TextEdit::singleline(&mut import.name).hint_text("taken from the path").desired_width(240.0);
                was_entered |= entered(&ui.add(field).accessible_name("Dataset name"));
                ui.end_row();
                ui.label("Labels");
                labelling_ui(ui, &mut import.labelling);
                ui.end_row();
            });
            ui.add_space(GRID);
            import.suggestions_ui(ui, cx);
            ui.add_space(2.0 * GRID);
            ui.horizontal(|ui| {
                let was_entered = was_entered && !import.source.trim().is_empty();
                if primary_button(ui, "Import").clicked() || was_entered {
                    let name = Some(import.name.clone()).filter(|name| !name.trim().is_empty());
                    let request = ImportRequest {
                        source: import.source.clone(),
                        name,
                        labelling: import.labelling,
                        ..ImportRequest::default()
                    };
                    cx.api.act(Method::Post, path::DATASETS, &request, Then::ShowImport);
                    close = true;
                }
                close |= ui.button("Cancel").clicked();
            });
        });
        if close || dialog.should_close() {
            self.import = None;
        }
    }
}

impl Import {
    /// What the typed path may become, to be clicked.
    fn suggestions_ui(&mut self, ui: &mut Ui, cx: &Cx<'_>) {
        const HEIGHT: f32 = 132.0;
        let query = PathsQuery { begin: self.source.clone() };
        let found = cx.api.get::<Vec<PathSuggestion>>(&format!("{}{}", path::PATHS, query.to_query())).value;
        ScrollArea::vertical().id_salt("paths").min_scrolled_height(HEIGHT).max_height(HEIGHT).auto_shrink(false).show(
            ui,
            |ui| {
                if found.as_ref().is_some_and(|found| found.is_empty()) {
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
                        // What is below a folder comes next.
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

/// How many classes an image has, to be ticked; returns whether it was.
fn labelling_ui(ui: &mut Ui, labelling: &mut Labelling) -> bool {
    let mut any = *labelling == Labelling::AnyClasses;
    let hint = "Each image has any number of the classes, or none of them, instead of exactly one.";
    let changed = ui.checkbox(&mut any, "Several classes an image").on_hover_text(hint).changed();
    *labelling = if any { Labelling::AnyClasses } else { Labelling::OneClass };
    changed
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
        ui.label(RichText::new("Left out").font(strong(13.0)));
        remote_ui(ui, cx.api, &address, remote, |ui, problems| {
            ScrollArea::vertical().id_salt("problems").max_height(160.0).show_rows(
                ui,
                18.0,
                problems.len(),
                |ui, rows| {
                    for problem in &problems[rows] {
                        ui.horizontal(|ui| {
                            ui.label(RichText::new(&problem.path).monospace());
                            ui.label(RichText::new(&problem.reason).color(cx.tokens.weak));
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
