//! Results of reading a source, for people.

use assay_domain::counted;
use std::collections::BTreeMap;

/// What reading a source brought.
#[derive(Default)]
pub(super) struct Found {
    /// Runs that there are, new or known before; counted where an import was asked for.
    pub(super) runs: u64,
    /// Log files, with and without anything in them.
    pub(super) logs: u64,
    pub(super) new: u64,
    pub(super) points: u64,
    pub(super) files: u64,
    pub(super) left_out: u64,
    /// Left-out values by name.
    pub(super) left_out_of: BTreeMap<String, u64>,
    /// Notes and the number of files for each: chosen columns, cut values.
    pub(super) notes: BTreeMap<String, u64>,
    pub(super) damaged: Vec<String>,
    /// Files of other sources.
    pub(super) elsewhere: u64,
}

/// Names or reasons listed in a message; the program's log has the rest.
const TOLD: usize = 20;

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Found { runs, new, points, files, left_out, notes, damaged, .. } = self;
        let [runs, points, files] =
            [(runs, "run"), (points, "point"), (files, "file")].map(|(count, what)| counted(*count, what));
        write!(f, "{runs}, {new} of them new; {points} and {files} taken")?;
        if *left_out > 0 {
            write!(f, "; {}", self.told_left_out())?;
        }
        let note =
            |(note, count): (&String, &u64)| if *count > 1 { format!("{note} ({count} times)") } else { note.clone() };
        let notes = listed(notes.iter().map(note));
        if !notes.is_empty() {
            write!(f, "; {notes}")?;
        }
        if !damaged.is_empty() {
            write!(f, "; read in part: {}", listed(damaged.iter().cloned()))?;
        }
        Ok(())
    }
}

/// Joins texts, up to [`TOLD`].
pub(super) fn listed(texts: impl ExactSizeIterator<Item = String>) -> String {
    let more = texts.len().saturating_sub(TOLD);
    let mut told = texts.take(TOLD).collect::<Vec<_>>().join("; ");
    if more > 0 {
        told.push_str(&format!("; and {more} more, which the program's log names"));
    }
    told
}

impl Found {
    /// How many values were left out, by name.
    pub(super) fn told_left_out(&self) -> String {
        let told = format!("{} left out, neither numbers nor files", counted(self.left_out, "value"));
        let of = listed(self.left_out_of.iter().map(|(name, count)| format!("{name} {count}")));
        if of.is_empty() { told } else { format!("{told} ({of})") }
    }

    /// Logs in full what messages cut.
    pub(super) fn log_all(&self, path: &str) {
        for why in &self.damaged {
            tracing::warn!(path, why, "read in part");
        }
        for note in self.notes.keys() {
            tracing::info!(path, note, "read");
        }
    }
}
