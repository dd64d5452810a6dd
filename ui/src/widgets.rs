//! Small parts that several places share.

use crate::api::{Api, Remote};
use crate::images::{Images, Shown};
use crate::tokens::{GRID, RADIUS, Tokens, strong};
use assay_domain::RunStatus;
use egui::{Align2, Color32, FontId, Rect, Response, RichText, Sense, Stroke, StrokeKind, Ui, Vec2, vec2};

/// Draws a remote value in each of its states; `ready` draws it once it is there (also while it is stale).
pub(crate) fn remote_ui<T>(ui: &mut Ui, api: &Api, path: &str, remote: Remote<T>, ready: impl FnOnce(&mut Ui, &T)) {
    let tokens = Tokens::of(ui.ctx());
    if let Some(error) = &remote.error {
        card_ui(ui, |ui| {
            ui.label(RichText::new("This could not be read").font(strong(13.0)).color(tokens.bad));
            ui.label(&error.message);
            if ui.button("Try again").clicked() {
                api.retry(path);
            }
        });
    }
    match &remote.value {
        Some(value) => ready(ui, value),
        None if remote.error.is_none() => {
            ui.add_space(4.0 * GRID);
            ui.vertical_centered(|ui| ui.label(RichText::new("Loading…").color(tokens.weak)));
        }
        None => {}
    }
}

/// A raised group.
pub(crate) fn card_ui<R>(ui: &mut Ui, contents: impl FnOnce(&mut Ui) -> R) -> R {
    let tokens = Tokens::of(ui.ctx());
    egui::Frame::new()
        .fill(tokens.panel)
        .stroke(Stroke::new(1.0, tokens.line))
        .corner_radius(8)
        .inner_margin(12)
        .show(ui, contents)
        .inner
}

/// A dialog above everything else.
pub(crate) fn modal(ctx: &egui::Context, name: &str) -> egui::Modal {
    egui::Modal::new(egui::Id::unique(name)).frame(egui::Frame::popup(&ctx.global_style()).inner_margin(20))
}

/// What an empty place says: what belongs here and the first step towards it.
pub(crate) fn empty_ui(ui: &mut Ui, title: &str, text: &str, button: Option<&str>) -> bool {
    let tokens = Tokens::of(ui.ctx());
    let mut clicked = false;
    ui.add_space((ui.available_height() * 0.3).max(24.0));
    ui.vertical_centered(|ui| {
        ui.label(RichText::new(title).font(strong(18.0)));
        ui.add_space(GRID);
        ui.label(RichText::new(text).color(tokens.weak));
        if let Some(name) = button {
            ui.add_space(3.0 * GRID);
            clicked = primary_button(ui, name).clicked();
        }
    });
    clicked
}

/// The one button of a place that matters most.
pub(crate) fn primary_button(ui: &mut Ui, name: &str) -> Response {
    let tokens = Tokens::of(ui.ctx());
    ui.add(egui::Button::new(RichText::new(name).font(strong(13.0)).color(tokens.on_accent)).fill(tokens.accent))
}

/// Whether Return was pressed in this text field.
pub(crate) fn entered(field: &Response) -> bool {
    field.lost_focus() && field.ctx.input(|input| input.key_pressed(egui::Key::Enter))
}

/// A dot and the word of a status.
pub(crate) fn status_ui(ui: &mut Ui, status: RunStatus) {
    let tokens = Tokens::of(ui.ctx());
    let color = tokens.status(status);
    let (rect, _) = ui.allocate_exact_size(vec2(8.0, 8.0), Sense::hover());
    ui.painter().circle_filled(rect.center(), 4.0, color);
    ui.label(RichText::new(status.as_str()).color(color));
}

/// A small badge.
pub(crate) fn badge_ui(ui: &mut Ui, text: &str, color: Color32) {
    let tokens = Tokens::of(ui.ctx());
    let galley = ui.painter().layout_no_wrap(text.to_owned(), FontId::proportional(11.5), color);
    let (rect, response) = ui.allocate_exact_size(galley.size() + vec2(12.0, 4.0), Sense::hover());
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Label, true, text));
    ui.painter().rect_filled(rect, 4.0, Tokens::blend(tokens.panel, color, 0.18));
    ui.painter().galley(rect.min + vec2(6.0, 2.0), galley, color);
}

/// Where the picture of this size goes when it is fitted into `rect`.
pub(crate) fn fitted(rect: Rect, size: Vec2) -> Rect {
    let scale = (rect.width() / size.x).min(rect.height() / size.y);
    Rect::from_center_size(rect.center(), size * scale)
}

/// An image in `rect`, or what is there instead.
pub(crate) fn image_ui(ui: &Ui, images: &mut Images, path: &str, rect: Rect) {
    let tokens = Tokens::of(ui.ctx());
    match images.get(path) {
        Shown::Ready(texture) => {
            let uv = Rect::from_min_max(egui::pos2(0.0, 0.0), egui::pos2(1.0, 1.0));
            ui.painter().image(texture.id(), fitted(rect, texture.size_vec2()), uv, Color32::WHITE);
        }
        Shown::Waiting => {
            ui.painter().rect_filled(rect, RADIUS, tokens.raised);
        }
        Shown::Failed(why) => {
            ui.painter().rect_filled(rect, RADIUS, tokens.raised);
            ui.painter().text(rect.center(), Align2::CENTER_CENTER, "✕", FontId::proportional(20.0), tokens.bad);
            if rect.width() > 240.0 {
                let below = rect.center() + vec2(0.0, 24.0);
                ui.painter().text(below, Align2::CENTER_TOP, why, FontId::proportional(12.0), tokens.weak);
            }
        }
    }
}

/// A thumbnail with a caption that can be clicked.
pub(crate) fn tile_ui(
    ui: &mut Ui,
    images: &mut Images,
    path: &str,
    rect: Rect,
    name: &str,
    caption: &str,
    selected: bool,
) -> Response {
    let tokens = Tokens::of(ui.ctx());
    let response = ui.interact(rect, ui.scope_id().with(("tile", path)), Sense::click());
    response.widget_info(|| egui::WidgetInfo::selected(egui::Role::Button, true, selected, name));
    let fill = if response.hovered() { tokens.hovered } else { tokens.panel };
    ui.painter().rect_filled(rect, RADIUS, fill);
    let inner = rect.shrink(4.0);
    let picture = Rect::from_min_max(inner.min, egui::pos2(inner.max.x, inner.max.y - 18.0));
    image_ui(ui, images, path, picture);
    let galley = ui.painter().layout(caption.to_owned(), FontId::proportional(11.5), tokens.weak, f32::INFINITY);
    let clip = ui.painter().with_clip_rect(inner);
    let x = (inner.center().x - galley.size().x / 2.0).max(inner.min.x);
    clip.galley(egui::pos2(x, inner.max.y - 15.0), galley, tokens.weak);
    if selected {
        ui.painter().rect_stroke(rect, RADIUS, Stroke::new(2.0, tokens.accent), StrokeKind::Inside);
    }
    response
}

/// A virtual grid of square tiles of at least `least` points that fill the width; `tile` draws the one at an index.
pub(crate) fn tiles_ui(ui: &mut Ui, name: &str, least: f32, total: usize, mut tile: impl FnMut(&mut Ui, usize, Rect)) {
    const GAP: f32 = 6.0;
    let width = ui.available_width() - 8.0;
    let across = ((width + GAP) / (least + GAP)).floor().max(1.0) as usize;
    let side = ((width + GAP) / across as f32 - GAP).floor();
    ui.spacing_mut().item_spacing.y = GAP;
    let area = egui::ScrollArea::vertical().id_salt(name).auto_shrink(false);
    area.show_rows(ui, side, total.div_ceil(across), |ui, rows| {
        for row in rows {
            let (line, _) = ui.allocate_exact_size(vec2(ui.available_width(), side), Sense::hover());
            for column in 0..across.min(total - row * across) {
                let corner = line.min + vec2(column as f32 * (side + GAP), 0.0);
                tile(ui, row * across + column, Rect::from_min_size(corner, vec2(side, side)));
            }
        }
    });
}

/// A number of bytes in words.
pub(crate) fn bytes(count: u64) -> String {
    match count {
        0..1_000 => format!("{count} B"),
        1_000..1_000_000 => format!("{:.1} kB", count as f64 / 1e3),
        _ => format!("{:.1} MB", count as f64 / 1e6),
    }
}

/// Text that can be selected and copied.
pub(crate) fn copyable_ui(ui: &mut Ui, text: &str) {
    ui.add(egui::Label::new(RichText::new(text).monospace()).selectable(true).wrap());
}
