//! Files dragged from another program onto a window, as the XDND protocol (version 5) does it.

use super::Display;
use crate::harness::until;
use anyhow::{Context, Result};
use std::path::Path;
use x11rb::connection::Connection;
use x11rb::protocol::Event;
use x11rb::protocol::xproto::{
    Atom, AtomEnum, ClientMessageEvent, ConnectionExt as _, CreateWindowAux, EventMask, PropMode,
    SELECTION_NOTIFY_EVENT, SelectionNotifyEvent, Window, WindowClass,
};
use x11rb::rust_connection::RustConnection;
use x11rb::wrapper::ConnectionExt as _;
use x11rb::{COPY_DEPTH_FROM_PARENT, CURRENT_TIME};

/// The pointer's place on the screen, x above y.
const PLACE: u32 = 500 << 16 | 400;
const VERSION: u32 = 5 << 24;

/// Drops a file or folder on the window of a display that takes drops.
pub(super) async fn drop_file(display: &Display, path: &Path) -> Result<()> {
    let (connection, screen) = x11rb::connect(Some(&display.name))?;
    let root = connection.setup().roots[screen].root;
    let atom = |name: &str| Ok::<Atom, anyhow::Error>(connection.intern_atom(false, name.as_bytes())?.reply()?.atom);
    let target = aware(&connection, root, atom("XdndAware")?)?.context("no window takes drops")?;
    let source = connection.generate_id()?;
    let looks = CreateWindowAux::new();
    connection.create_window(
        COPY_DEPTH_FROM_PARENT,
        source,
        root,
        0,
        0,
        1,
        1,
        0,
        WindowClass::INPUT_OUTPUT,
        0,
        &looks,
    )?;
    connection.set_selection_owner(source, atom("XdndSelection")?, CURRENT_TIME)?;
    let tell = |what: &str, data: [u32; 5]| {
        let message = ClientMessageEvent::new(32, target, atom(what)?, data);
        connection.send_event(false, target, EventMask::NO_EVENT, message)?;
        anyhow::Ok(connection.flush()?)
    };
    let (addresses, copy, status) = (atom("text/uri-list")?, atom("XdndActionCopy")?, atom("XdndStatus")?);
    let finished = atom("XdndFinished")?;
    let hover = || tell("XdndPosition", [source, 0, PLACE, CURRENT_TIME, copy]);
    tell("XdndEnter", [source, VERSION, addresses, 0, 0])?;
    hover()?;
    let hear = |event: Event| -> Result<bool> {
        match event {
            Event::SelectionRequest(asked) => {
                let address = format!("file://{}\r\n", path.display());
                connection.change_property8(
                    PropMode::REPLACE,
                    asked.requestor,
                    asked.property,
                    addresses,
                    address.as_bytes(),
                )?;
                let given = SelectionNotifyEvent {
                    response_type: SELECTION_NOTIFY_EVENT,
                    sequence: 0,
                    time: asked.time,
                    requestor: asked.requestor,
                    selection: asked.selection,
                    target: asked.target,
                    property: asked.property,
                };
                connection.send_event(false, asked.requestor, EventMask::NO_EVENT, given)?;
                connection.flush()?;
            }
            Event::ClientMessage(message) if message.type_ == status => match message.data.as_data32()[1] & 1 {
                1 => tell("XdndDrop", [source, 0, CURRENT_TIME, 0, 0])?,
                _ => hover()?,
            },
            Event::ClientMessage(message) => return Ok(message.type_ == finished),
            _ => {}
        }
        Ok(false)
    };
    until("the window takes the drop", async || {
        while let Some(event) = connection.poll_for_event().ok()? {
            if hear(event).ok()? {
                return Some(());
            }
        }
        None
    })
    .await
}

/// The window that is, or lies below, this one and says that it takes drops.
fn aware(connection: &RustConnection, window: Window, says: Atom) -> Result<Option<Window>> {
    if connection.get_property(false, window, says, AtomEnum::ANY, 0, 1)?.reply()?.value_len > 0 {
        return Ok(Some(window));
    }
    for child in connection.query_tree(window)?.reply()?.children {
        if let Some(found) = aware(connection, child, says)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}
