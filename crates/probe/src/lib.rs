//! Facts about a run: the state of the code, the command, the environment and the machine.
//!
//! It only looks: it changes no repository and keeps nothing. Start with [`code`], [`command`] and [`machine`].

mod code;
mod command;
mod gpu;
mod machine;

pub use code::{CodeFiles, CodeState, Limits, code};
pub use command::command;
pub use machine::{Telemetry, free_memory, machine};
