//! One sample, enlarged, with its actions.

use super::{Data, label_text};
use crate::api::Then;
use crate::place::Cx;
use crate::tokens::GRID;
use crate::transport::Method;
use crate::widgets::{badge_ui, empty_ui, image_ui, primary_button};
use assay_domain::entity::{Dataset, Sample, SampleState};
use assay_domain::{DatasetId, Split};
use assay_protocol::{SamplesAct, SamplesChange, SamplesQuery, path};
use egui::{ComboBox, RichText, Sense, Ui};

impl Data {
    pub(super) fn sample_ui(&mut self, ui: &mut Ui, cx: &mut Cx<'_>, dataset: &Dataset, index: usize, total: usize) {
        let index = cx.stepped(index, total);
        self.opened = Some(index);
        let sample = self.sample(cx, dataset.id, index);
        ui.horizontal_wrapped(|ui| {
            if ui.button("Back to the grid").clicked() {
                self.opened = None;
            }
            ui.label(format!("{} of {total}", index + 1));
            if let Some(sample) = &sample {
                badge_ui(ui, &label_text(dataset, sample.label.as_ref()), cx.tokens.accent);
                if let Some(state) = sample.state() {
                    badge_ui(ui, word(state), cx.tokens.warning);
                }
                acts_ui(ui, cx, dataset.id, sample);
            }
        });
        if let Some(sample) = &sample {
            let facts = format!("{}   {} × {}   {}", sample.path, sample.width, sample.height, &sample.hash[..12]);
            ui.add(egui::Label::new(RichText::new(&facts).color(cx.tokens.weak)).truncate()).on_hover_text(facts);
        }
        ui.add_space(GRID / 2.0);
        match sample {
            Some(sample) if sample.missing.is_some() => {
                let text = "Its file is not in the source any more. The label is kept, and comes back with the file: \
                            by its contents, wherever it is. Until then it is not learned from.";
                empty_ui(ui, "This image is missing", text, None);
            }
            sample => {
                let (rect, _) = ui.allocate_exact_size(ui.available_size(), Sense::hover());
                if let Some(sample) = sample {
                    image_ui(ui, cx.images, &path::sample(sample.id, "/image"), rect.shrink(8.0));
                }
            }
        }
        // Prefetch the neighbours.
        for near in [index + 1, index.saturating_sub(1)] {
            if let Some(sample) = (near < total).then(|| self.sample(cx, dataset.id, near)).flatten()
                && sample.missing.is_none()
            {
                cx.images.get(&path::sample(sample.id, "/image"));
            }
        }
    }
}

fn acts_ui(ui: &mut Ui, cx: &Cx<'_>, dataset: DatasetId, sample: &Sample) {
    let act = |act: SamplesAct, said: &str| {
        let change = SamplesChange { samples: Some(vec![sample.id]), filter: SamplesQuery::default(), act };
        cx.api.act(Method::Post, &path::dataset(dataset, "/samples"), &change, Then::Say(said.to_owned()));
    };
    let mut split = sample.split;
    let list = ComboBox::from_id_salt("split of sample").selected_text(split.as_str()).width(72.0).show_ui(ui, |ui| {
        for choice in Split::ALL {
            ui.selectable_value(&mut split, choice, choice.as_str());
        }
    });
    list.response.accessible_name("Split of this image").on_hover_text("The split that this image belongs to");
    if split != sample.split {
        act(SamplesAct::Split(split), &format!("The image is in {split} from now on"));
    }
    if sample.removed.is_some() {
        if primary_button(ui, "Restore").clicked() {
            act(SamplesAct::Restore, "The image is back in the dataset");
        }
        return;
    }
    if sample.changed_from.is_some() && sample.missing.is_none() {
        let hint = "The file was edited after a person labelled it. Say that the label is right for what it shows now.";
        if primary_button(ui, "Confirm label").on_hover_text(hint).clicked() {
            act(SamplesAct::Confirm(cx.person.clone()), "The label is confirmed");
        }
    }
    let hint = "Takes it out of the dataset; the file stays, and it can be restored";
    if ui.button("Remove").on_hover_text(hint).clicked() {
        act(SamplesAct::Remove, "Removed; under \"Removed\" it can be restored");
    }
}

/// A state's label where there is little room.
pub(super) fn short_word(state: SampleState) -> &'static str {
    match state {
        SampleState::Changed => "Changed",
        other => word(other),
    }
}

/// A state's label.
pub(super) fn word(state: SampleState) -> &'static str {
    match state {
        SampleState::Missing => "Missing",
        SampleState::Changed => "Image changed",
        SampleState::Removed => "Removed",
    }
}
