//! Text elided in the middle, so that long names do not move a layout; both ends stay visible.

use egui::{Color32, FontId, FontSelection, Label, Response, RichText, Role, TextWrapMode, Ui, WidgetInfo};

/// Elides the middle of a text to at most `most` letters.
pub(crate) fn shortened(text: &str, most: usize) -> String {
    let letters: Vec<char> = text.chars().collect();
    if letters.len() <= most {
        return text.to_owned();
    }
    let kept = most.saturating_sub(1);
    let (begin, end) = (&letters[..kept.div_ceil(2)], &letters[letters.len() - kept / 2..]);
    begin.iter().chain(&['…']).chain(end).collect()
}

/// Elides a text to one line of `room` points.
pub(crate) fn fitted(ui: &Ui, text: &str, font: &FontId, room: f32) -> String {
    let fits =
        |text: &str| ui.painter().layout_no_wrap(text.to_owned(), font.clone(), Color32::PLACEHOLDER).size().x <= room;
    let line = text.replace(['\n', '\r'], " ");
    // Glyphs are at least 2 points wide: longer text need not be laid out.
    let most = (room / 2.0).max(1.0) as usize;
    let all = line.chars().count();
    if all <= most && fits(&line) {
        return line;
    }
    let (mut fitting, mut too_many) = (1, all.min(most + 1));
    while too_many - fitting > 1 {
        let middle = (fitting + too_many) / 2;
        if fits(&shortened(&line, middle)) { fitting = middle } else { too_many = middle }
    }
    shortened(&line, fitting)
}

/// A one-line label at most so many points wide. The full text is its accessible name, and its tooltip if elided.
pub(crate) fn elided_ui(
    ui: &mut Ui,
    text: &str,
    font: impl Into<FontSelection>,
    color: Color32,
    room: f32,
) -> Response {
    let label = |ui: &mut Ui, shown: RichText| ui.add(Label::new(shown).extend());
    elided(ui, text, (font.into(), color), room, Role::Label, label)
}

/// A one-line link, elided as in [`elided_ui`]. Its text must not be empty.
pub(crate) fn elided_link(
    ui: &mut Ui,
    text: &str,
    font: impl Into<FontSelection>,
    color: Color32,
    room: f32,
) -> Response {
    let link = |ui: &mut Ui, shown: RichText| {
        ui.style_mut().wrap_mode = Some(TextWrapMode::Extend);
        ui.link(shown)
    };
    elided(ui, text, (font.into(), color), room, Role::Link, link)
}

/// A widget with elided text, named by the full text.
fn elided(
    ui: &mut Ui,
    text: &str,
    (font, color): (FontSelection, Color32),
    room: f32,
    role: Role,
    add: impl FnOnce(&mut Ui, RichText) -> Response,
) -> Response {
    let font = font.resolve(ui.style());
    let shown = fitted(ui, text, &font, room);
    let response = ui.scope(|ui| add(ui, RichText::new(&shown).font(font).color(color))).inner;
    if shown == text {
        return response;
    }
    response.widget_info(|| WidgetInfo::labeled(role, true, text));
    response.on_hover_text(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::strong;
    use egui_kittest::Harness;
    use egui_kittest::kittest::Queryable;

    #[test]
    fn a_long_name_keeps_its_ends() {
        assert_eq!(shortened("resnet18-3", 28), "resnet18-3");
        let long = shortened("a-run-with-quite-a-long-name-that-people-give", 28);
        assert_eq!(long, "a-run-with-qui…t-people-give");
        assert_eq!(long.chars().count(), 28);
        for (most, right) in [(0, "…"), (1, "…"), (2, "a…"), (3, "a…e"), (4, "aé…e")] {
            assert_eq!(shortened("aé日本語de", most), right);
        }
    }

    #[test]
    fn a_label_takes_no_more_room_than_it_is_given_and_keeps_its_whole_name() {
        let names =
            ["loss", &"group/".repeat(20), &"W".repeat(121), &"i".repeat(400), "two\nlines", &"ß".repeat(90), "1"];
        for name in names {
            for room in [0.0, 20.0, 100.0, 333.0] {
                let mut frames = 0;
                let mut harness = Harness::new_ui(|ui| {
                    frames += 1;
                    if frames == 1 {
                        // Fonts load on the next frame.
                        return crate::tokens::install(ui.ctx());
                    }
                    for (what, response) in [
                        ("label", elided_ui(ui, name, strong(13.0), Color32::RED, room)),
                        ("link", elided_link(ui, name, strong(13.0), Color32::RED, room)),
                    ] {
                        // The ellipsis is the minimum width.
                        assert!(
                            response.rect.width() <= room.max(16.0) + 1.0,
                            "{what} of {name:?}: {:?}",
                            response.rect
                        );
                        assert!(response.rect.height() < 30.0, "{what} of {name:?}: {:?}", response.rect);
                    }
                });
                harness.run();
                assert_eq!(harness.query_all_by_label(name).count(), 2, "{name:?} in {room}");
            }
        }
    }
}
