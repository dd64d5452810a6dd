//! Every command, with its name and key.

use crate::tokens::{GRID, Tokens};
use crate::widgets::modal;
use egui::{Align2, Key, KeyboardShortcut, Modifiers, RichText, ScrollArea, TextEdit, Ui, vec2};

/// Something that can be done from anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Palette,
    Help,
    GoRuns,
    GoData,
    GoLabel,
    GoReview,
    GoModels,
    NewRun,
    Import,
    Theme,
    Undo,
    Redo,
    Next,
    Previous,
    Skip,
    ClearLabel,
    Back,
}

impl Command {
    const ALL: [Command; 17] = [
        Command::Palette,
        Command::Help,
        Command::GoRuns,
        Command::GoData,
        Command::GoLabel,
        Command::GoReview,
        Command::GoModels,
        Command::NewRun,
        Command::Import,
        Command::Theme,
        Command::Undo,
        Command::Redo,
        Command::Next,
        Command::Previous,
        Command::Skip,
        Command::ClearLabel,
        Command::Back,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Command::Palette => "Command palette",
            Command::Help => "Keyboard shortcuts",
            Command::GoRuns => "Go to runs",
            Command::GoData => "Go to data",
            Command::GoLabel => "Go to labeling",
            Command::GoReview => "Go to review",
            Command::GoModels => "Go to models",
            Command::NewRun => "New run…",
            Command::Import => "Import images…",
            Command::Theme => "Switch between dark and light",
            Command::Undo => "Undo label",
            Command::Redo => "Redo label",
            Command::Next => "Next image",
            Command::Previous => "Previous image",
            Command::Skip => "Skip image",
            Command::ClearLabel => "Clear label",
            Command::Back => "Back",
        }
    }

    /// The keys; the first is shown.
    fn shortcuts(self) -> &'static [KeyboardShortcut] {
        const fn plain(key: Key) -> KeyboardShortcut {
            KeyboardShortcut::new(Modifiers::NONE, key)
        }
        const fn command(key: Key) -> KeyboardShortcut {
            KeyboardShortcut::new(Modifiers::COMMAND, key)
        }
        const REDO: KeyboardShortcut = KeyboardShortcut::new(Modifiers::COMMAND.plus(Modifiers::SHIFT), Key::Z);
        const ALT: Modifiers = Modifiers::ALT;
        match self {
            Command::Palette => const { &[command(Key::K)] },
            Command::Help => const { &[plain(Key::Questionmark), KeyboardShortcut::new(Modifiers::SHIFT, Key::Slash)] },
            Command::GoRuns => const { &[KeyboardShortcut::new(ALT, Key::Num1)] },
            Command::GoData => const { &[KeyboardShortcut::new(ALT, Key::Num2)] },
            Command::GoLabel => const { &[KeyboardShortcut::new(ALT, Key::Num3)] },
            Command::GoReview => const { &[KeyboardShortcut::new(ALT, Key::Num4)] },
            Command::GoModels => const { &[KeyboardShortcut::new(ALT, Key::Num5)] },
            Command::NewRun => const { &[plain(Key::N)] },
            Command::Import => const { &[plain(Key::I)] },
            Command::Theme => const { &[plain(Key::T)] },
            Command::Redo => const { &[REDO] },
            Command::Undo => const { &[command(Key::Z), plain(Key::Backspace)] },
            Command::Next => const { &[plain(Key::D), plain(Key::ArrowRight)] },
            Command::Previous => const { &[plain(Key::A), plain(Key::ArrowLeft)] },
            Command::Skip => const { &[plain(Key::Space)] },
            Command::ClearLabel => const { &[plain(Key::Delete), plain(Key::X)] },
            Command::Back => const { &[plain(Key::Escape)] },
        }
    }

    pub(crate) fn key_text(self, ctx: &egui::Context) -> String {
        self.shortcuts().first().map(|shortcut| ctx.format_shortcut(shortcut)).unwrap_or_default()
    }

    /// The commands whose keys were pressed; plain keys are left to text fields while one is edited.
    pub(crate) fn pressed(ctx: &egui::Context) -> Vec<Command> {
        let editing = ctx.text_edit_focused();
        // The most specific first: a plain Ctrl+Z would also match Ctrl+Shift+Z.
        let mut order = Command::ALL;
        order.sort_by_key(|command| {
            std::cmp::Reverse(command.shortcuts().iter().map(|s| modifier_count(s.modifiers)).max())
        });
        order
            .into_iter()
            .filter(|command| {
                command.shortcuts().iter().any(|shortcut| {
                    let plain = shortcut.modifiers.is_none() && shortcut.logical_key != Key::Escape
                        || shortcut.modifiers.shift_only();
                    let text = editing && (plain || matches!(command, Command::Undo | Command::Redo));
                    !text && ctx.input_mut(|input| input.consume_shortcut(shortcut))
                })
            })
            .collect()
    }
}

fn modifier_count(modifiers: Modifiers) -> u32 {
    u32::from(modifiers.alt) + u32::from(modifiers.shift) + u32::from(modifiers.command || modifiers.ctrl)
}

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
                    let key = RichText::new(command.key_text(ctx)).color(tokens.weak);
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

/// The list of all keys.
pub(crate) fn help_ui(ctx: &egui::Context, open: &mut bool) {
    if !*open {
        return;
    }
    let tokens = Tokens::of(ctx);
    let dialog = modal(ctx, "help").show(ctx, |ui: &mut Ui| {
        ui.set_width(380.0);
        ui.heading("Keyboard shortcuts");
        ui.add_space(2.0 * GRID);
        egui::Grid::new("keys").num_columns(2).spacing([24.0, 6.0]).show(ui, |ui| {
            for command in Command::ALL {
                ui.label(command.name());
                let keys: Vec<String> =
                    command.shortcuts().iter().map(|shortcut| ctx.format_shortcut(shortcut)).collect();
                ui.label(RichText::new(keys.join("   ")).monospace().color(tokens.weak));
                ui.end_row();
            }
            ui.label("Label with class 1 to 10 (11 to 20)");
            ui.label(RichText::new("1 … 9 0 (with Shift)").monospace().color(tokens.weak));
            ui.end_row();
        });
        ui.add_space(2.0 * GRID);
        ui.button("Close").clicked()
    });
    if dialog.inner || dialog.should_close() {
        *open = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_bound_twice() {
        let mut seen: Vec<KeyboardShortcut> = Vec::new();
        for command in Command::ALL {
            for shortcut in command.shortcuts() {
                assert!(!seen.contains(shortcut), "{shortcut:?} is bound twice, the second time to {}", command.name());
                seen.push(*shortcut);
            }
        }
    }
}
