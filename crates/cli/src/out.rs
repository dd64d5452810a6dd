//! Everything that is printed.
//!
//! Whoever reads the output may have read enough: `assay runs | head -2` ends quietly, as `grep` does. So nothing here panics;
//! what cannot be written is an error, which [`is_closed`] tells from others and `main` says nothing of. The macros of the
//! standard library panic, and are not used in this program.

use anyhow::Result;
use std::fmt::Display;
use std::io::{self, BufWriter, ErrorKind, Write};

/// The exit code of a program whose reader is gone, as shells have it: 128 and the number of SIGPIPE.
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

/// Where much is printed, piece by piece. What is in its buffer is flushed by whoever made it.
pub(crate) fn writer() -> BufWriter<io::StdoutLock<'static>> {
    BufWriter::new(io::stdout().lock())
}

/// Tells something beside the output, on the standard error; where nobody reads that, nothing.
pub(crate) fn tell(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Writes what is still in the buffer of the standard output.
pub(crate) fn finish() -> io::Result<()> {
    io::stdout().lock().flush()
}

/// Whether an error says that nobody reads the output any more.
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
