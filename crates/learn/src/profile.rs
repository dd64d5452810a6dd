//! What was watched of a step, as a profile.

use crate::watch::{self, Way};
use assay_domain::profile::{Phase, Profile, Span};
use std::time::{Duration, Instant};

/// The step that is profiled: those before it are slower.
pub(crate) const PROFILED_STEP: u64 = 5;

/// The spans of a step that began at an instant, after its batch was waited for.
pub(crate) fn of_step(spans: Vec<watch::Span>, begun: Instant, waited: Duration) -> Profile {
    let micros = |duration: Duration| duration.as_secs_f64() * 1e6;
    let wait = micros(waited);
    let loader = Span {
        layer: String::new(),
        operation: Phase::Loader.as_str().into(),
        phase: Phase::Loader,
        begin_us: 0.0,
        took_us: wait,
        bytes: 0,
    };
    let span = |span: watch::Span| Span {
        layer: span.operation.layer.clone(),
        operation: span.operation.kind.into(),
        phase: match span.way {
            Way::Forward => Phase::Forward,
            Way::Backward => Phase::Backward,
            Way::Update => Phase::Update,
        },
        begin_us: wait + micros(span.begun.saturating_duration_since(begun)),
        took_us: micros(span.took),
        bytes: span.bytes,
    };
    Profile { spans: std::iter::once(loader).chain(spans.into_iter().map(span)).collect(), ..Profile::default() }
}
