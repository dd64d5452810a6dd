//! Every command, with its name and its usual keys.

use egui::{Key, KeyboardShortcut, Modifiers};

/// Something that can be done from anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Command {
    Palette,
    Help,
    GoRuns,
    GoData,
    GoLabel,
    GoReview,
    GoModels,
    GoAlerts,
    NewRun,
    Import,
    Theme,
    Undo,
    Redo,
    Next,
    Previous,
    Skip,
    NoClass,
    ClearLabel,
    Back,
}

impl Command {
    pub(crate) const ALL: [Command; 19] = [
        Command::Palette,
        Command::Help,
        Command::GoRuns,
        Command::GoData,
        Command::GoLabel,
        Command::GoReview,
        Command::GoModels,
        Command::GoAlerts,
        Command::NewRun,
        Command::Import,
        Command::Theme,
        Command::Undo,
        Command::Redo,
        Command::Next,
        Command::Previous,
        Command::Skip,
        Command::NoClass,
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
            Command::GoAlerts => "Go to alerts",
            Command::NewRun => "New run…",
            Command::Import => "Import images…",
            Command::Theme => "Switch between dark and light",
            Command::Undo => "Undo label",
            Command::Redo => "Redo label",
            Command::Next => "Next image",
            Command::Previous => "Previous image",
            Command::Skip => "Skip image",
            Command::NoClass => "Label with none of the classes",
            Command::ClearLabel => "Clear label",
            Command::Back => "Back",
        }
    }

    /// The keys where none were chosen; the first is shown.
    pub(crate) fn usual_keys(self) -> &'static [KeyboardShortcut] {
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
            Command::Help => const { &[plain(Key::Questionmark)] },
            Command::GoRuns => const { &[KeyboardShortcut::new(ALT, Key::Num1)] },
            Command::GoData => const { &[KeyboardShortcut::new(ALT, Key::Num2)] },
            Command::GoLabel => const { &[KeyboardShortcut::new(ALT, Key::Num3)] },
            Command::GoReview => const { &[KeyboardShortcut::new(ALT, Key::Num4)] },
            Command::GoModels => const { &[KeyboardShortcut::new(ALT, Key::Num5)] },
            Command::GoAlerts => const { &[KeyboardShortcut::new(ALT, Key::Num6)] },
            Command::NewRun => const { &[plain(Key::N)] },
            Command::Import => const { &[plain(Key::I)] },
            Command::Theme => const { &[plain(Key::T)] },
            Command::Redo => const { &[REDO] },
            Command::Undo => const { &[command(Key::Z), plain(Key::Backspace)] },
            Command::Next => const { &[plain(Key::D), plain(Key::ArrowRight)] },
            Command::Previous => const { &[plain(Key::A), plain(Key::ArrowLeft)] },
            Command::Skip => const { &[plain(Key::Space)] },
            Command::NoClass => const { &[plain(Key::E)] },
            Command::ClearLabel => const { &[plain(Key::Delete), plain(Key::X)] },
            Command::Back => const { &[plain(Key::Escape)] },
        }
    }

    /// The word by which the settings know it.
    pub(crate) fn id(self) -> String {
        format!("{self:?}")
    }
}
