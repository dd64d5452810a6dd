//! Which keys do what: the usual ones, and those that people chose instead.

use crate::command::Command;
use egui::{Context, Event, Id, Key, KeyboardShortcut, Modifiers};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Digits as keys, in the order of the classes that they label with.
pub(crate) const DIGITS: [Key; 10] =
    [Key::Num1, Key::Num2, Key::Num3, Key::Num4, Key::Num5, Key::Num6, Key::Num7, Key::Num8, Key::Num9, Key::Num0];

/// Keys by name: what was chosen stands in for the usual.
type Chosen = BTreeMap<String, Vec<String>>;

/// The keys of every command.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Keymap {
    chosen: BTreeMap<Command, Vec<KeyboardShortcut>>,
}

/// Why a key cannot be given to a command.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Taken {
    /// Another command has it.
    By(Command),
    /// It labels with a class.
    ByClasses,
}

impl Keymap {
    /// The keymap in use.
    pub(crate) fn of(ctx: &Context) -> Arc<Keymap> {
        ctx.data(|data| data.get_temp(Id::unique("keymap"))).unwrap_or_default()
    }

    /// Puts it to use.
    pub(crate) fn install(self, ctx: &Context) {
        ctx.data_mut(|data| data.insert_temp(Id::unique("keymap"), Arc::new(self)));
    }

    /// From the settings. What this version does not know, or what would give a key twice, is left out.
    pub(crate) fn read(chosen: &Chosen) -> Keymap {
        let mut keymap = Keymap::default();
        for command in Command::ALL {
            let Some(names) = chosen.get(&command.id()) else { continue };
            let keys: Vec<_> = names.iter().filter_map(|name| shortcut_of(name)).collect();
            if names.is_empty() || !keys.is_empty() {
                keymap.chosen.insert(command, keys);
            }
        }
        let twice = |keymap: &Keymap, command: Command| {
            keymap.keys(command).iter().any(|key| keymap.taken(*key, command).is_some())
        };
        while let Some(command) = keymap.chosen.keys().copied().find(|command| twice(&keymap, *command)) {
            keymap.chosen.remove(&command);
        }
        keymap
    }

    /// The chosen keys of a command, for the settings; none where it has its usual ones.
    pub(crate) fn chosen_names(&self, command: Command) -> Option<Vec<String>> {
        self.chosen.get(&command).map(|keys| keys.iter().map(shortcut_name).collect())
    }

    /// The keys of a command; the first is shown.
    pub(crate) fn keys(&self, command: Command) -> &[KeyboardShortcut] {
        self.chosen.get(&command).map_or(command.usual_keys(), Vec::as_slice)
    }

    /// Whether its keys were chosen.
    pub(crate) fn is_chosen(&self, command: Command) -> bool {
        self.chosen.contains_key(&command)
    }

    /// Gives a command other keys. The caller has asked [`Keymap::taken`].
    pub(crate) fn choose(&mut self, command: Command, keys: Vec<KeyboardShortcut>) {
        if keys == command.usual_keys() {
            self.chosen.remove(&command);
        } else {
            self.chosen.insert(command, keys);
        }
    }

    /// Who else has a key.
    pub(crate) fn taken(&self, key: KeyboardShortcut, by_other_than: Command) -> Option<Taken> {
        if DIGITS.contains(&key.logical_key) && (key.modifiers.is_none() || key.modifiers.shift_only()) {
            return Some(Taken::ByClasses);
        }
        let mut others = Command::ALL.into_iter().filter(|command| *command != by_other_than);
        others.find(|command| self.keys(*command).contains(&key)).map(Taken::By)
    }

    /// The first key of a command as people read it; empty without one.
    pub(crate) fn text(&self, ctx: &Context, command: Command) -> String {
        self.keys(command).first().map(|key| shown(ctx, key)).unwrap_or_default()
    }

    /// The commands whose keys were pressed; plain keys are left to text fields while one is edited.
    pub(crate) fn pressed(&self, ctx: &Context) -> Vec<Command> {
        let editing = ctx.text_edit_focused();
        let mut pairs: Vec<(Command, KeyboardShortcut)> = Command::ALL
            .into_iter()
            .flat_map(|command| self.keys(command).iter().map(move |key| (command, *key)))
            .filter(|(command, key)| !editing || works_while_editing(*command, *key))
            .collect();
        // The most specific first: a plain Ctrl+Z would also match Ctrl+Shift+Z.
        pairs.sort_by_key(|(_, key)| std::cmp::Reverse(modifier_count(key.modifiers)));
        let mut pressed: Vec<Command> = pairs
            .into_iter()
            .filter(|(_, key)| ctx.input_mut(|input| input.consume_shortcut(key)))
            .map(|(command, _)| command)
            .collect();
        pressed.dedup();
        pressed
    }
}

fn works_while_editing(command: Command, key: KeyboardShortcut) -> bool {
    let plain = key.modifiers.is_none() && key.logical_key != Key::Escape || key.modifiers.shift_only();
    !plain && !matches!(command, Command::Undo | Command::Redo)
}

fn modifier_count(modifiers: Modifiers) -> u32 {
    u32::from(modifiers.alt) + u32::from(modifiers.shift) + u32::from(modifiers.command || modifiers.ctrl)
}

/// The key that was pressed in this frame, with its modifiers, as a shortcut; it is taken from everyone else.
pub(crate) fn captured(ctx: &Context) -> Option<KeyboardShortcut> {
    ctx.input_mut(|input| {
        let found = input.events.iter().find_map(|event| match event {
            Event::Key { key, physical_key, pressed: true, repeat: false, modifiers } if !is_modifier(*key) => {
                // Digits label, whatever sign Shift makes of them.
                let plain = !modifiers.command && !modifiers.ctrl && !modifiers.alt;
                let digit = physical_key.filter(|physical| plain && DIGITS.contains(physical));
                Some((digit.unwrap_or(*key), *modifiers))
            }
            _ => None,
        });
        let (key, modifiers) = found?;
        input.events.retain(|event| !matches!(event, Event::Key { .. } | Event::Text(_)));
        let modifiers = Modifiers {
            alt: modifiers.alt,
            ctrl: modifiers.ctrl && !modifiers.command,
            // Shift is how these are typed, not a part of them.
            shift: modifiers.shift && !is_typed_with_shift(key),
            mac_cmd: false,
            command: modifiers.command,
        };
        Some(KeyboardShortcut::new(modifiers, key))
    })
}

/// The digit that was pressed, as a place in [`DIGITS`], and whether Shift was held; Shift may turn the digit into
/// another sign, so the key itself counts as well.
pub(crate) fn pressed_digit(ctx: &Context) -> Option<(usize, bool)> {
    ctx.input_mut(|input| {
        let (at, digit, shift) = input.events.iter().enumerate().find_map(|(at, event)| match event {
            Event::Key { key, physical_key, pressed: true, modifiers, .. }
                if !modifiers.command && !modifiers.ctrl && !modifiers.alt =>
            {
                let place = |wanted: Key| DIGITS.iter().position(|digit| *digit == wanted);
                let digit = place(*key).or_else(|| physical_key.and_then(place))?;
                Some((at, digit, modifiers.shift))
            }
            _ => None,
        })?;
        input.events.remove(at);
        Some((digit, shift))
    })
}

fn is_modifier(key: Key) -> bool {
    matches!(
        key,
        Key::ShiftLeft
            | Key::ShiftRight
            | Key::ControlLeft
            | Key::ControlRight
            | Key::AltLeft
            | Key::AltRight
            | Key::SuperLeft
            | Key::SuperRight
            | Key::CapsLock
    )
}

fn is_typed_with_shift(key: Key) -> bool {
    matches!(
        key,
        Key::Questionmark
            | Key::Exclamationmark
            | Key::Colon
            | Key::Plus
            | Key::Pipe
            | Key::Quote
            | Key::OpenCurlyBracket
            | Key::CloseCurlyBracket
    )
}

/// A key as people read it: signs as themselves, other keys by their names.
pub(crate) fn shown(ctx: &Context, key: &KeyboardShortcut) -> String {
    let (name, sign) = (key.logical_key.name(), key.logical_key.symbol_or_name());
    let text = ctx.format_shortcut(key);
    match text.strip_suffix(name) {
        Some(held) if sign.is_ascii() => format!("{held}{sign}"),
        _ => text,
    }
}

/// How the settings spell a shortcut: `Ctrl+Shift+Z`, where Ctrl is the command key of a Mac.
fn shortcut_name(key: &KeyboardShortcut) -> String {
    let held = key.modifiers;
    let parts = [(held.command, "Ctrl"), (held.ctrl, "Control"), (held.alt, "Alt"), (held.shift, "Shift")];
    let names = parts.iter().filter(|(held, _)| *held).map(|(_, name)| *name);
    names.chain([key.logical_key.name()]).collect::<Vec<_>>().join("+")
}

fn shortcut_of(name: &str) -> Option<KeyboardShortcut> {
    let mut modifiers = Modifiers::NONE;
    let mut rest = name;
    while let Some((word, after)) = rest.split_once('+') {
        match word {
            "Ctrl" => modifiers.command = true,
            "Control" => modifiers.ctrl = true,
            "Alt" => modifiers.alt = true,
            "Shift" => modifiers.shift = true,
            _ => return None,
        }
        rest = after;
    }
    Key::from_name(rest).map(|key| KeyboardShortcut::new(modifiers, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CTRL_P: KeyboardShortcut = KeyboardShortcut::new(Modifiers::COMMAND, Key::P);

    #[test]
    fn no_key_is_usually_bound_twice() {
        let keymap = Keymap::default();
        for command in Command::ALL {
            for key in command.usual_keys() {
                assert_eq!(keymap.taken(*key, command), None, "{key:?} of {}", command.name());
            }
        }
    }

    #[test]
    fn chosen_keys_survive_the_settings() {
        let mut keymap = Keymap::default();
        keymap.choose(Command::NewRun, vec![CTRL_P]);
        keymap.choose(Command::Skip, Vec::new());
        let names = |command| keymap.chosen_names(command).map(|names| (command.id(), names));
        let kept: Chosen = Command::ALL.into_iter().filter_map(names).collect();
        assert_eq!(kept["NewRun"], ["Ctrl+P"]);
        assert_eq!(Keymap::read(&kept), keymap);
        keymap.choose(Command::NewRun, Command::NewRun.usual_keys().to_vec());
        assert!(!keymap.is_chosen(Command::NewRun));
    }

    #[test]
    fn every_usual_key_can_be_spelled() {
        for command in Command::ALL {
            for key in command.usual_keys() {
                assert_eq!(shortcut_of(&shortcut_name(key)), Some(*key));
            }
        }
    }

    #[test]
    fn a_key_is_not_given_twice() {
        let mut keymap = Keymap::default();
        assert_eq!(keymap.taken(Command::GoData.usual_keys()[0], Command::NewRun), Some(Taken::By(Command::GoData)));
        assert_eq!(
            keymap.taken(KeyboardShortcut::new(Modifiers::SHIFT, Key::Num4), Command::NewRun),
            Some(Taken::ByClasses)
        );
        keymap.choose(Command::NewRun, vec![CTRL_P]);
        assert_eq!(keymap.taken(CTRL_P, Command::Import), Some(Taken::By(Command::NewRun)));
        // What another hand wrote into the settings is no exception.
        let both = [("NewRun", "Ctrl+P"), ("Import", "Ctrl+P")];
        let chosen = both.iter().map(|(id, key)| ((*id).to_owned(), vec![(*key).to_owned()])).collect();
        let keymap = Keymap::read(&chosen);
        assert_ne!(keymap.keys(Command::NewRun), keymap.keys(Command::Import));
    }

    #[test]
    fn what_is_unknown_is_left_out() {
        let chosen = [("Fly".to_owned(), vec!["F".to_owned()]), ("Back".to_owned(), vec!["Hyper+Q".to_owned()])];
        let keymap = Keymap::read(&chosen.into_iter().collect());
        assert_eq!(keymap.keys(Command::Back), Command::Back.usual_keys());
    }
}
