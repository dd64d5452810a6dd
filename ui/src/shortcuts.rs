//! The list of all keys, where each can be changed.

use crate::command::Command;
use crate::keymap::{self, Keymap, Taken};
use crate::tokens::{GRID, Tokens};
use crate::widgets::modal;
use egui::{Align, Context, Key, KeyboardShortcut, Layout, RichText, ScrollArea, Ui, vec2};

#[derive(Default)]
pub(crate) struct Shortcuts {
    open: bool,
    /// The command that waits for its new key.
    waiting: Option<Command>,
    refused: Option<String>,
}

impl Shortcuts {
    pub(crate) fn show(&mut self) {
        *self = Shortcuts { open: true, ..Shortcuts::default() };
    }

    /// Draws it; returns the command whose keys were changed, with the new keymap.
    pub(crate) fn shortcuts_ui(&mut self, ctx: &Context) -> Option<(Command, Keymap)> {
        if !self.open {
            return None;
        }
        let tokens = Tokens::of(ctx);
        let before = Keymap::of(ctx);
        let mut keymap = (*before).clone();
        if let Some(command) = self.waiting
            && let Some(key) = keymap::captured(ctx)
        {
            self.waiting = None;
            if key.logical_key != Key::Escape {
                self.give(ctx, &mut keymap, command, vec![key]);
            }
        }
        let dialog = modal(ctx, "help").show(ctx, |ui: &mut Ui| {
            ui.set_width(520.0);
            ui.heading("Keyboard shortcuts");
            ui.label(RichText::new("Click a key to change it.").color(tokens.weak));
            ui.add_space(2.0 * GRID);
            ScrollArea::vertical().max_height(ctx.content_rect().height() - 220.0).show(ui, |ui| {
                for command in Command::ALL {
                    self.row_ui(ui, tokens, &mut keymap, command);
                }
                ui.horizontal(|ui| {
                    ui.set_min_height(28.0);
                    ui.label("Label with class 1 to 10 (11 to 20)");
                    ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                        ui.add_space(3.0 * GRID);
                        ui.label(RichText::new("1 … 9 0 (with Shift)").color(tokens.weak));
                    });
                });
            });
            ui.add_space(2.0 * GRID);
            if let Some(refused) = &self.refused {
                ui.label(RichText::new(refused).color(tokens.warning));
                ui.add_space(2.0 * GRID);
            }
            ui.button("Close").clicked()
        });
        if dialog.inner || (dialog.should_close() && self.waiting.is_none()) {
            self.open = false;
        }
        let changed = Command::ALL.into_iter().find(|command| keymap.keys(*command) != before.keys(*command));
        changed.map(|command| (command, keymap))
    }

    fn row_ui(&mut self, ui: &mut Ui, tokens: Tokens, keymap: &mut Keymap, command: Command) {
        ui.horizontal(|ui| {
            ui.set_min_height(28.0);
            ui.label(command.name());
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                ui.add_space(3.0 * GRID);
                if self.waiting == Some(command) {
                    ui.label(RichText::new("Press a key, or Esc to leave it").color(tokens.accent));
                    return;
                }
                let keys: Vec<String> = keymap.keys(command).iter().map(|key| keymap::shown(ui.ctx(), key)).collect();
                let shown = if keys.is_empty() { "none".to_owned() } else { keys.join("   ") };
                let color = if keymap.is_chosen(command) { tokens.accent } else { tokens.weak };
                let button = egui::Button::new(RichText::new(shown).color(color)).min_size(vec2(72.0, 24.0));
                let button = ui.add(button).accessible_name(format!("Change the key of {}", command.name()));
                if button.clicked() {
                    (self.waiting, self.refused) = (Some(command), None);
                }
                if keymap.is_chosen(command)
                    && ui.button("Usual").on_hover_text("Give it its usual keys again").clicked()
                {
                    self.give(ui.ctx(), keymap, command, command.usual_keys().to_vec());
                }
            });
        });
    }

    fn give(&mut self, ctx: &Context, keymap: &mut Keymap, command: Command, keys: Vec<KeyboardShortcut>) {
        self.refused = keys.iter().find_map(|key| {
            let by = match keymap.taken(*key, command)? {
                Taken::By(other) => format!("\u{201c}{}\u{201d} has", other.name()),
                Taken::ByClasses => "the classes have".into(),
            };
            Some(format!("{} is taken: {by} it. Change that one first.", keymap::shown(ctx, key)))
        });
        if self.refused.is_none() {
            keymap.choose(command, keys);
        }
    }
}
