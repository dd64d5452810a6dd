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

    /// Date and time in UTC, to the millisecond: `2026-12-01T14:07:26.123Z` (ISO 8601).
    pub fn iso(self) -> String {
        let (date, in_day) = self.date();
        let (secs, millis) = (in_day / 1000, in_day % 1000);
        format!("{date}T{:02}:{:02}:{:02}.{millis:03}Z", secs / 3600, secs / 60 % 60, secs % 60)
    }

    /// Date and time in UTC, to the minute: `2026-12-01 14:07`.
    pub fn to_minute(self) -> String {
        let (date, in_day) = self.date();
        let minutes = in_day / 60_000;
        format!("{date} {:02}:{:02}", minutes / 60, minutes % 60)
    }

    /// The date in UTC, and the milliseconds since midnight.
    ///
    /// Source: H. Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`.
    fn date(self) -> (String, i64) {
        const DAY: i64 = 86_400_000;
        const ERA: i64 = 146_097;
        // Days since 0000-03-01, so that leap days come last.
        let days = self.0.div_euclid(DAY) + 719_468;
        let (era, of_era) = (days.div_euclid(ERA), days.rem_euclid(ERA));
        let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / (ERA - 1)) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let march_month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * march_month + 2) / 5 + 1;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        let year = year + era * 400 + i64::from(month <= 2);
        let date = match year {
            0..=9999 => format!("{year:04}-{month:02}-{day:02}"),
            far => format!("{far:+07}-{month:02}-{day:02}"),
        };
        (date, self.0.rem_euclid(DAY))
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
    fn a_time_is_said_in_utc_whatever_it_is() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_767_225_600_123, "2026-01-01T00:00:00.123Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (4_102_444_800_000, "2100-01-01T00:00:00.000Z"),
            (-62_167_219_200_000, "0000-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(Timestamp(millis).iso(), text);
        }
        assert_eq!(Timestamp(1_767_225_600_123).to_minute(), "2026-01-01 00:00");
        assert!(Timestamp(i64::MAX).iso().starts_with("+292278994-08-17"), "{}", Timestamp(i64::MAX).iso());
        assert!(Timestamp(i64::MIN).iso().starts_with('-'));
    }

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
