//! The interface, in egui: one code base for the browser, the desktop window and tests.
//!
//! It talks to the server through a [`Transport`] and does no other I/O. Start with [`App`]: the shell; each of the five
//! places stands in `place/`. Functions that draw end in `_ui`.

mod accessible;
mod api;
mod app;
mod command;
mod elided;
mod images;
mod keymap;
mod palette;
mod place;
mod plot;
mod route;
mod shortcuts;
mod ticks;
mod tokens;
mod transport;
mod widgets;
mod zoom;

#[cfg(target_arch = "wasm32")]
mod entry {
    mod web;
}

pub use accessible::{AccessibleTree, Widget};
pub use app::App;
pub use route::Route;
pub use tokens::install as install_style;
pub use transport::{HttpTransport, Method, Reply, Request, Transport};
