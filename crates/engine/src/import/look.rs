//! Looking at one file of a source: its contents, and which file it is.

use assay_domain::Split;
use assay_domain::entity::{Problem, ProblemKind};
use assay_formats::Entry;
use assay_store::FileFacts;
use std::time::UNIX_EPOCH;

/// An inspected file.
pub(super) struct Seen {
    pub(super) file: FileFacts,
    pub(super) label: Option<Vec<String>>,
    pub(super) split: Option<Split>,
}

/// Inspects a file; one unchanged since `known` is not opened.
pub(super) fn look(entry: &Entry, known: Option<&FileFacts>) -> Result<Seen, Problem> {
    let problem = |reason: String| Problem { path: entry.path.clone(), kind: ProblemKind::LeftOut, reason };
    let facts = std::fs::metadata(&entry.file).map_err(|why| problem(format!("cannot be opened: {why}")))?;
    let seen = |file: FileFacts| Seen { file, label: entry.label.clone(), split: entry.split };
    if let Some(known) = known.filter(|known| is_as_known(known, &facts)) {
        return Ok(seen(known.clone()));
    }
    let bytes = std::fs::read(&entry.file).map_err(|why| problem(format!("cannot be read: {why}")))?;
    let image = assay_media::inspect(&bytes).map_err(|why| problem(why.to_string()))?;
    Ok(seen(FileFacts {
        path: entry.path.clone(),
        hash: blake3::hash(&bytes).to_hex().to_string(),
        bytes: bytes.len() as u64,
        modified_ms: modified_ms(&facts),
        stamp: stamp(&facts),
        width: image.width,
        height: image.height,
    }))
}

/// Whether size, times and inode are those of the last import: the contents are then not read again.
pub(crate) fn is_as_known(known: &FileFacts, facts: &std::fs::Metadata) -> bool {
    known.bytes == facts.len() && known.modified_ms == modified_ms(facts) && known.stamp == stamp(facts)
}

fn modified_ms(facts: &std::fs::Metadata) -> i64 {
    let modified = facts.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    modified.map_or(0, |since| since.as_millis() as i64)
}

/// Mixes inode and change time, which renaming and setting times also update: images unpacked together share size and
/// times.
#[cfg(unix)]
fn stamp(facts: &std::fs::Metadata) -> i64 {
    use std::os::unix::fs::MetadataExt;
    let changed_ns = facts.ctime().wrapping_mul(1_000_000_000).wrapping_add(facts.ctime_nsec());
    // Odd, hence injective in the time.
    changed_ns.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64) ^ facts.ino() as i64
}

/// The creation time: renaming keeps it, and files unpacked together differ in it.
#[cfg(not(unix))]
fn stamp(facts: &std::fs::Metadata) -> i64 {
    let made = facts.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    made.map_or(0, |since| since.as_nanos() as i64)
}
