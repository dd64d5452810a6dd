//! The command palette: every command by its name.

use crate::command::Command;
use crate::keymap::Keymap;
use crate::tokens::{GRID, Tokens};
use egui::{Align2, Key, RichText, ScrollArea, TextEdit, vec2};

/// The command palette.
#[derive(Default)]
pub(crate) struct Palette {
    pub(crate) open: bool,
    text: String,
    chosen: usize,
}

impl Palette {
    pub(crate) fn show(&mut self) {
        *self = Palette { open: true, ..Palette::default() };
    }

    pub(crate) fn palette_ui(&mut self, ctx: &egui::Context) -> Option<Command> {
        if !self.open {
            return None;
        }
        let tokens = Tokens::of(ctx);
        let keymap = Keymap::of(ctx);
        let mut done = None;
        let area = egui::Modal::default_area(egui::Id::unique("palette")).anchor(Align2::CENTER_TOP, vec2(0.0, 96.0));
        let modal = egui::Modal::new(egui::Id::unique("palette")).area(area).show(ctx, |ui| {
            ui.set_width(460.0);
            let field =
                ui.add(TextEdit::singleline(&mut self.text).hint_text("Type a command").desired_width(f32::INFINITY));
            let field = field.accessible_name("Command");
            field.request_focus();
            if field.changed() {
                self.chosen = 0;
            }
            let wanted = self.text.to_lowercase();
            let matching: Vec<Command> =
                Command::ALL.into_iter().filter(|command| command.name().to_lowercase().contains(&wanted)).collect();
            ui.input(|input| {
                if input.key_pressed(Key::ArrowDown) {
                    self.chosen = (self.chosen + 1).min(matching.len().saturating_sub(1));
                }
                if input.key_pressed(Key::ArrowUp) {
                    self.chosen = self.chosen.saturating_sub(1);
                }
                if input.key_pressed(Key::Enter) {
                    done = matching.get(self.chosen).copied();
                }
            });
            ui.add_space(GRID);
            ScrollArea::vertical().max_height(360.0).show(ui, |ui| {
                for (index, command) in matching.iter().enumerate() {
                    let text = RichText::new(command.name()).color(tokens.text);
                    let key = RichText::new(keymap.text(ctx, *command)).color(tokens.weak);
                    let button = egui::Button::selectable(index == self.chosen, text)
                        .right_text(key)
                        .min_size(vec2(ui.available_width(), 28.0));
                    if ui.add(button).clicked() {
                        done = Some(*command);
                    }
                }
                if matching.is_empty() {
                    ui.label(RichText::new("No command has this name").color(tokens.weak));
                }
            });
        });
        if done.is_some() || modal.should_close() {
            self.open = false;
        }
        done
    }
}
