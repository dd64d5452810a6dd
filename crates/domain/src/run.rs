//! What a run may be and become.

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Seconds from `earlier` to `self`; negative when the clock went backwards.
    pub fn seconds_since(self, earlier: Timestamp) -> f64 {
        self.0.saturating_sub(earlier.0) as f64 / 1000.0
    }
}

/// The life of a run: queued, then running, then one of the four ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunStatus {
    /// Waiting for its turn.
    Queued,
    /// Its process is at work and gives signs of life.
    Running,
    /// It came to its planned end.
    Finished,
    /// It ended with an error; the reason is recorded.
    Failed,
    /// A person ended it.
    Stopped,
    /// Its process vanished without a word.
    Crashed,
}

impl RunStatus {
    /// All statuses, in the order of a run's life.
    pub const ALL: [RunStatus; 6] = [
        RunStatus::Queued,
        RunStatus::Running,
        RunStatus::Finished,
        RunStatus::Failed,
        RunStatus::Stopped,
        RunStatus::Crashed,
    ];

    /// The word that is stored, sent and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            RunStatus::Queued => "queued",
            RunStatus::Running => "running",
            RunStatus::Finished => "finished",
            RunStatus::Failed => "failed",
            RunStatus::Stopped => "stopped",
            RunStatus::Crashed => "crashed",
        }
    }

    /// The status with this word.
    pub fn parse(word: &str) -> Option<RunStatus> {
        RunStatus::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// The status that MLflow has this word for.
    pub fn of_mlflow(word: &str) -> Option<RunStatus> {
        Some(match word {
            "SCHEDULED" => RunStatus::Queued,
            "RUNNING" => RunStatus::Running,
            "FINISHED" => RunStatus::Finished,
            "KILLED" => RunStatus::Stopped,
            "FAILED" => RunStatus::Failed,
            _ => return None,
        })
    }

    /// Whether nothing more will happen unless the run is resumed.
    pub fn has_ended(self) -> bool {
        !matches!(self, RunStatus::Queued | RunStatus::Running)
    }

    /// What a reader must believe of a run that is recorded with this status and last gave a sign of life
    /// `silent_secs` ago: a running run that is silent for longer than [`RunStatus::SILENCE_SECS`] has crashed.
    pub fn seen_after_silence(self, silent_secs: f64) -> RunStatus {
        match self {
            RunStatus::Running if silent_secs > RunStatus::SILENCE_SECS => RunStatus::Crashed,
            status => status,
        }
    }

    /// How long a running run may be silent; its heartbeat comes every second.
    pub const SILENCE_SECS: f64 = 15.0;
}

impl std::fmt::Display for RunStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_reads_back_from_its_word() {
        for status in RunStatus::ALL {
            assert_eq!(RunStatus::parse(status.as_str()), Some(status));
        }
        assert_eq!(RunStatus::parse("RUNNING"), None);
    }

    #[test]
    fn only_a_running_run_crashes_by_silence() {
        assert_eq!(RunStatus::Running.seen_after_silence(16.0), RunStatus::Crashed);
        assert_eq!(RunStatus::Running.seen_after_silence(2.0), RunStatus::Running);
        assert_eq!(RunStatus::Queued.seen_after_silence(1e9), RunStatus::Queued);
        assert_eq!(RunStatus::Finished.seen_after_silence(1e9), RunStatus::Finished);
    }
}
