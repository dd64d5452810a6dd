//! The profile of a run: kept for the interface, and as a trace for other viewers.

use crate::{Engine, EngineError, Result};
use assay_domain::RunId;
use assay_domain::profile::{Profile, Slice};
use serde_json::{Value, json};

const PROFILE: &str = "profile/profile.json";
/// What Perfetto and chrome://tracing open.
const TRACE: &str = "profile/trace.json";

impl Engine {
    pub(crate) fn keep_profile(&self, run: RunId, profile: &Profile) -> Result<()> {
        let text = |value: serde_json::Result<Vec<u8>>| value.map_err(|why| EngineError::Internal(why.to_string()));
        let files =
            [(PROFILE, text(serde_json::to_vec(profile))?), (TRACE, text(serde_json::to_vec(&trace(profile)))?)];
        for (path, contents) in files {
            let _held = self.store.blobs().hold();
            let hash = self.store.blobs().put(&contents)?;
            let bytes = contents.len() as u64;
            self.store.write(move |tx| tx.put_artifact(run, path, &hash, bytes).map(|_| ()))?;
        }
        Ok(())
    }

    /// Where the time of a step of a run went.
    pub fn profile(&self, run: RunId) -> Result<Profile> {
        let artifacts = self.store.read(|reader| reader.artifacts(run))?;
        if !artifacts.iter().any(|artifact| artifact.path == PROFILE) {
            return Err(EngineError::NotFound(format!("run {run} has no profile yet: its fifth step makes one")));
        }
        serde_json::from_slice(&self.artifact(run, PROFILE)?)
            .map_err(|why| EngineError::Internal(format!("the profile cannot be read: {why}")))
    }
}

/// The profile in the trace event format, with complete events in microseconds.
fn trace(profile: &Profile) -> Value {
    let event = |slice: Slice| {
        json!({
            "name": slice.name, "cat": slice.phase.as_str(), "ph": "X", "pid": 1, "tid": 1,
            "ts": slice.begin_us, "dur": slice.took_us, "args": { "output_bytes": slice.bytes },
        })
    };
    json!({
        "displayTimeUnit": "ms",
        "otherData": { "step": profile.step, "batch_size": profile.batch_size, "device": profile.device },
        "traceEvents": profile.slices().into_iter().map(event).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_domain::profile::{Phase, Span};

    #[test]
    fn a_trace_has_an_event_for_each_slice() {
        let span = |layer: &str, begin_us: f64| Span {
            layer: layer.into(),
            operation: "convolution".into(),
            phase: Phase::Forward,
            begin_us,
            took_us: 2.0,
            bytes: 4,
        };
        let trace = trace(&Profile { spans: vec![span("a", 0.0), span("b", 2.0)], ..Profile::default() });
        let events = trace["traceEvents"].as_array().unwrap();
        assert_eq!(events.len(), 5);
        assert_eq!(events[0]["name"], "forward");
        assert_eq!((&events[0]["dur"], &events[0]["ph"]), (&json!(4.0), &json!("X")));
    }
}
