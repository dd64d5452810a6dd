//! Standard output.
//!
//! The reader may close the pipe early: `assay runs | head -2` ends quietly, as `grep` does. Nothing here panics
//! (`println!` would, and is not used in this program); a failed write is an error, and `main` does not report one that
//! [`is_closed`] recognises.

use anyhow::Result;
use std::fmt::Display;
use std::io::{self, BufWriter, ErrorKind, Write};

/// Exit code after the reader closed the pipe: 128 + SIGPIPE, as in shells.
pub(crate) const CLOSED: u8 = 141;

/// Prints a line.
pub(crate) fn line(text: impl Display) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{text}")
}

/// Prints a text as it is.
pub(crate) fn text(text: impl Display) -> io::Result<()> {
    write!(io::stdout().lock(), "{text}")
}

/// Prints a value as JSON.
pub(crate) fn json(value: &impl serde::Serialize) -> Result<()> {
    Ok(line(serde_json::to_string_pretty(value)?)?)
}

/// A buffered writer for long output; the caller must flush it.
pub(crate) fn writer() -> BufWriter<io::StdoutLock<'static>> {
    BufWriter::new(io::stdout().lock())
}

/// Prints a line to standard error; write errors are ignored.
pub(crate) fn tell(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Flushes standard output.
pub(crate) fn finish() -> io::Result<()> {
    io::stdout().lock().flush()
}

/// Detects an error caused by a closed output pipe.
pub(crate) fn is_closed(error: &anyhow::Error) -> bool {
    let kind = |cause: &(dyn std::error::Error + 'static)| match cause.downcast_ref::<io::Error>() {
        Some(error) => Some(error.kind()),
        None => cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind),
    };
    error.chain().any(|cause| kind(cause) == Some(ErrorKind::BrokenPipe))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn a_closed_output_is_told_from_other_failures() {
        let of = |kind: ErrorKind| anyhow::Error::from(io::Error::from(kind));
        assert!(is_closed(&of(ErrorKind::BrokenPipe)));
        assert!(is_closed(&Err::<(), _>(of(ErrorKind::BrokenPipe)).context("listing runs").unwrap_err()));
        assert!(!is_closed(&of(ErrorKind::StorageFull)) && !is_closed(&anyhow::anyhow!("no run")));
    }
}
