//! Where the time of a step of a run goes: a flame view, and what each operation costs.

use super::Cx;
use crate::tokens::{GRID, Tokens, strong};
use crate::widgets::{bytes, remote_ui};
use assay_domain::profile::{Cost, Phase, Profile, Slice};
use assay_domain::{RunId, counted};
use assay_protocol::path;
use egui::{Align, Align2, CornerRadius, FontId, Layout, Rect, RichText, ScrollArea, Sense, Ui, pos2, vec2};
use egui_extras::{Column, TableBuilder};
use std::sync::Arc;

/// Height of a row of the flame view.
const LEVEL: f32 = 5.0 * GRID;
/// Slices narrower than this are not drawn, and than that not named.
const LEAST: f32 = 0.5;
const NAMED: f32 = 28.0;

/// What of the flame view is shown.
#[derive(Default)]
pub(crate) struct ProfileView {
    /// Begin and end in microseconds; all of it without.
    range: Option<(RunId, f64, f64)>,
    /// What is drawn of a profile, made of it once.
    drawn: Option<Drawn>,
}

/// The slices and costs of a run's profile.
struct Drawn {
    of: Arc<Profile>,
    slices: Vec<Slice>,
    costs: Vec<Cost>,
}

impl ProfileView {
    pub(crate) fn profile_ui(&mut self, ui: &mut Ui, cx: &Cx<'_>, run: RunId) {
        let address = path::run(run, "/profile");
        let remote = cx.api.get::<Profile>(&address);
        let fetched = remote.value.clone();
        remote_ui(ui, cx.api, &address, remote, |ui, profile| {
            let whole = profile.took_us();
            let (begin, end) = match self.range {
                Some((of, begin, end)) if of == run => (begin, end),
                _ => (0.0, whole),
            };
            ui.horizontal_wrapped(|ui| {
                ui.label(RichText::new(format!("Step {}", profile.step)).font(strong(13.0)));
                let facts =
                    format!("{} on {}, {}", counted(profile.batch_size, "image"), profile.device, millis(whole));
                ui.label(RichText::new(facts).color(cx.tokens.weak));
                ui.add_space(4.0 * GRID);
                for phase in Phase::ALL {
                    phase_ui(ui, &cx.tokens, phase, profile.phase_us(phase), whole);
                }
                if end - begin < whole && ui.button("Whole step").clicked() {
                    self.range = None;
                }
            });
            ui.add_space(GRID);
            let Some(fetched) = &fetched else { return };
            let drawn = match self.drawn.take().filter(|drawn| Arc::ptr_eq(&drawn.of, fetched)) {
                Some(drawn) => drawn,
                None => Drawn { of: fetched.clone(), slices: profile.slices(), costs: profile.costs() },
            };
            if let Some(slice) = flame_ui(ui, &cx.tokens, &drawn.slices, (begin, end)) {
                self.range = (slice.took_us < end - begin - 1e-6).then_some((
                    run,
                    slice.begin_us,
                    slice.begin_us + slice.took_us,
                ));
            }
            ui.add_space(3.0 * GRID);
            costs_ui(ui, cx, &drawn.costs, whole);
            self.drawn = Some(drawn);
            let hint =
                "Click a slice to look into it. profile/trace.json under Files opens in Perfetto and chrome://tracing.";
            ui.label(RichText::new(hint).color(cx.tokens.weak));
        });
    }
}

fn millis(us: f64) -> String {
    match us {
        us if us < 1e3 => format!("{us:.0} µs"),
        us if us < 1e5 => format!("{:.2} ms", us / 1e3),
        us => format!("{:.0} ms", us / 1e3),
    }
}

fn color(tokens: &Tokens, phase: Phase) -> egui::Color32 {
    match phase {
        Phase::Loader => tokens.series(7),
        Phase::Forward => tokens.series(0),
        Phase::Backward => tokens.series(1),
        Phase::Update => tokens.series(2),
    }
}

fn phase_ui(ui: &mut Ui, tokens: &Tokens, phase: Phase, us: f64, whole: f64) {
    let (dot, _) = ui.allocate_exact_size(vec2(10.0, 10.0), Sense::hover());
    ui.painter().rect_filled(dot, CornerRadius::same(3), color(tokens, phase));
    let share = 100.0 * us / whole.max(1e-9);
    ui.label(RichText::new(format!("{} {} ({share:.0} %)", phase.as_str(), millis(us))).color(tokens.weak));
    ui.add_space(GRID);
}

/// Draws the slices of a range of time, each below the one that it lies in; returns the one that was clicked.
fn flame_ui<'a>(ui: &mut Ui, tokens: &Tokens, slices: &'a [Slice], (begin, end): (f64, f64)) -> Option<&'a Slice> {
    let levels = slices.iter().map(|slice| slice.depth + 1).max().unwrap_or(1);
    let size = vec2(ui.available_width(), levels as f32 * LEVEL);
    let (area, response) = ui.allocate_exact_size(size, Sense::click());
    let response = response.on_hover_cursor(egui::CursorIcon::PointingHand).accessible_name("Flame view");
    let painter = ui.painter_at(area);
    painter.rect_filled(area, CornerRadius::same(4), tokens.background);
    let across = |us: f64| area.left() + ((us - begin) / (end - begin).max(1e-9)) as f32 * area.width();
    let pointer = response.hover_pos();
    let mut pointed = None;
    for slice in slices.iter().filter(|slice| slice.begin_us < end && slice.begin_us + slice.took_us > begin) {
        let (left, right) =
            (across(slice.begin_us).max(area.left()), across(slice.begin_us + slice.took_us).min(area.right()));
        if right - left < LEAST {
            continue;
        }
        let top = area.top() + slice.depth as f32 * LEVEL;
        let rect = Rect::from_min_max(pos2(left, top), pos2(right - LEAST, top + LEVEL - 1.0));
        let is_pointed = pointer.is_some_and(|pointer| rect.contains(pointer));
        let base = color(tokens, slice.phase);
        // Deeper slices lie nearer to the ground.
        let fill = Tokens::blend(base, tokens.panel, 0.35 + 0.09 * slice.depth.min(5) as f32);
        painter.rect_filled(rect, CornerRadius::same(2), if is_pointed { base } else { fill });
        if rect.width() > NAMED {
            let text = if is_pointed { tokens.background } else { tokens.text };
            let clipped = painter.with_clip_rect(rect.shrink2(vec2(3.0, 0.0)));
            let place = pos2(rect.left() + GRID, rect.center().y);
            clipped.text(place, Align2::LEFT_CENTER, &slice.name, FontId::proportional(11.5), text);
        }
        if is_pointed {
            pointed = Some(slice);
        }
    }
    if let Some(slice) = pointed {
        response.clone().on_hover_ui_at_pointer(|ui| {
            ui.label(RichText::new(&slice.name).font(strong(13.0)));
            let share = 100.0 * slice.took_us / (end - begin).max(1e-9);
            ui.label(format!("{}, {}, {share:.1} % of what is shown", slice.phase.as_str(), millis(slice.took_us)));
            if slice.bytes > 0 {
                ui.label(format!("outputs {}", bytes(slice.bytes)));
            }
        });
    }
    pointed.filter(|_| response.clicked())
}

/// What each operation of each layer costs, the most expensive first.
fn costs_ui(ui: &mut Ui, cx: &Cx<'_>, costs: &[Cost], whole: f64) {
    let height = (ui.available_height() - 16.0 * GRID).max(120.0);
    let head = ["Layer", "Operation", "Forward", "Backward", "Other", "Share", "Output"];
    ScrollArea::horizontal().id_salt("costs").show(ui, |ui| {
        TableBuilder::new(ui)
            .id_salt("costs table")
            .striped(false)
            .cell_layout(Layout::left_to_right(Align::Center))
            .max_scroll_height(height)
            .min_scrolled_height(height)
            .column(Column::initial(260.0).at_least(120.0).clip(true))
            .column(Column::initial(120.0).at_least(80.0))
            .columns(Column::initial(92.0).at_least(70.0), 3)
            .column(Column::initial(160.0))
            .column(Column::remainder().at_least(84.0))
            .header(24.0, |mut row| {
                for name in head {
                    row.col(|ui| {
                        ui.label(RichText::new(name).color(cx.tokens.weak));
                    });
                }
            })
            .body(|body| {
                body.rows(24.0, costs.len(), |mut row| {
                    let cost = &costs[row.index()];
                    let mut text = |text: String| {
                        row.col(|ui| {
                            ui.label(text);
                        });
                    };
                    text(if cost.layer.is_empty() { "–".into() } else { cost.layer.clone() });
                    text(cost.operation.clone());
                    cost.us.iter().for_each(|us| text(if *us > 0.0 { millis(*us) } else { "–".into() }));
                    let share = (cost.total_us() / whole.max(1e-9)) as f32;
                    row.col(|ui| share_ui(ui, &cx.tokens, share));
                    row.col(|ui| {
                        ui.label(if cost.bytes > 0 { bytes(cost.bytes) } else { "–".into() });
                    });
                });
            });
    });
}

fn share_ui(ui: &mut Ui, tokens: &Tokens, share: f32) {
    let (area, _) = ui.allocate_exact_size(vec2(72.0, 8.0), Sense::hover());
    let radius = CornerRadius::same(2);
    ui.painter().rect_filled(area, radius, tokens.raised);
    let filled = Rect::from_min_size(area.min, vec2(area.width() * share.clamp(0.0, 1.0), area.height()));
    ui.painter().rect_filled(filled, radius, tokens.accent);
    ui.label(format!("{:.1} %", share * 100.0));
}
