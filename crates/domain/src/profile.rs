//! Where the time of an optimizer step goes.

use serde::{Deserialize, Serialize};

/// The operations of one optimizer step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// The step.
    pub step: u64,
    /// Samples of its batch.
    pub batch_size: usize,
    /// What computed.
    pub device: String,
    /// The spans, each after the one before it.
    pub spans: Vec<Span>,
}

/// The part of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Waiting for the batch.
    Loader,
    /// From the images to the loss.
    Forward,
    /// From the loss to the gradients.
    Backward,
    /// From the gradients to the new parameters.
    Update,
}

impl Phase {
    /// All of them, in the order of a step.
    pub const ALL: [Phase; 4] = [Phase::Loader, Phase::Forward, Phase::Backward, Phase::Update];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Loader => "loader wait",
            Phase::Forward => "forward",
            Phase::Backward => "backward",
            Phase::Update => "update",
        }
    }
}

/// An operation of a layer on its way forward or back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// The layer, with the name that its parameters have; empty where there is none.
    pub layer: String,
    /// Its work.
    pub operation: String,
    /// The part of the step.
    pub phase: Phase,
    /// When it began, in microseconds from the beginning of the step.
    pub begin_us: f64,
    /// How long it took, in microseconds.
    pub took_us: f64,
    /// Bytes of its output.
    pub bytes: u64,
}

/// A span of time with a name, within those of lesser depth.
#[derive(Clone, Debug, PartialEq)]
pub struct Slice {
    /// A phase, a part of a layer's name, or an operation.
    pub name: String,
    /// How many slices it lies in.
    pub depth: usize,
    /// The part of the step.
    pub phase: Phase,
    /// When it began, in microseconds.
    pub begin_us: f64,
    /// How long it took, in microseconds.
    pub took_us: f64,
    /// Bytes of the outputs within it.
    pub bytes: u64,
}

/// What an operation of a layer took in all.
#[derive(Clone, Debug, PartialEq)]
pub struct Cost {
    /// The layer.
    pub layer: String,
    /// Its work.
    pub operation: String,
    /// Microseconds forward, backward, and in other phases.
    pub us: [f64; 3],
    /// Bytes of its outputs on the way forward.
    pub bytes: u64,
}

impl Cost {
    /// Microseconds in all.
    pub fn total_us(&self) -> f64 {
        self.us.iter().sum()
    }
}

impl Profile {
    /// From the beginning of the step to its end, in microseconds.
    pub fn took_us(&self) -> f64 {
        self.spans.iter().map(|span| span.begin_us + span.took_us).fold(0.0, f64::max)
    }

    /// What each phase took, in microseconds.
    pub fn phase_us(&self, phase: Phase) -> f64 {
        self.spans.iter().filter(|span| span.phase == phase).map(|span| span.took_us).sum()
    }

    /// The spans as slices within slices: the phase, the parts of the layer's name, the operation. What follows each other
    /// with the same name is one slice.
    pub fn slices(&self) -> Vec<Slice> {
        let mut slices: Vec<Slice> = Vec::new();
        let mut open: Vec<usize> = Vec::new();
        for span in &self.spans {
            let within = span.layer.split('.').filter(|part| !part.is_empty());
            let operation = Some(span.operation.as_str()).filter(|name| *name != span.phase.as_str());
            let parts = std::iter::once(span.phase.as_str()).chain(within).chain(operation);
            let mut depth = 0;
            for name in parts {
                if open.get(depth).is_none_or(|slice| slices[*slice].name != name) {
                    open.truncate(depth);
                    open.push(slices.len());
                    slices.push(Slice {
                        name: name.to_owned(),
                        depth,
                        phase: span.phase,
                        begin_us: span.begin_us,
                        took_us: 0.0,
                        bytes: 0,
                    });
                }
                let slice = &mut slices[open[depth]];
                slice.took_us = span.begin_us + span.took_us - slice.begin_us;
                slice.bytes += span.bytes;
                depth += 1;
            }
            open.truncate(depth);
        }
        slices
    }

    /// What each operation of each layer took, the most expensive first.
    pub fn costs(&self) -> Vec<Cost> {
        let mut costs: Vec<Cost> = Vec::new();
        for span in &self.spans {
            let place = costs.iter().position(|c| c.layer == span.layer && c.operation == span.operation);
            let place = place.unwrap_or_else(|| {
                let (layer, operation) = (span.layer.clone(), span.operation.clone());
                costs.push(Cost { layer, operation, us: [0.0; 3], bytes: 0 });
                costs.len() - 1
            });
            let way = match span.phase {
                Phase::Forward => 0,
                Phase::Backward => 1,
                Phase::Loader | Phase::Update => 2,
            };
            costs[place].us[way] += span.took_us;
            if span.phase == Phase::Forward {
                costs[place].bytes += span.bytes;
            }
        }
        costs.sort_by(|a, b| b.total_us().total_cmp(&a.total_us()));
        costs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(layer: &str, operation: &str, phase: Phase, begin_us: f64, took_us: f64) -> Span {
        Span { layer: layer.into(), operation: operation.into(), phase, begin_us, took_us, bytes: 8 }
    }

    fn profile() -> Profile {
        let spans = vec![
            span("", "loader wait", Phase::Loader, 0.0, 5.0),
            span("a.conv", "convolution", Phase::Forward, 5.0, 10.0),
            span("a.conv", "bias", Phase::Forward, 15.0, 2.0),
            span("a.norm", "batch norm", Phase::Forward, 17.0, 3.0),
            span("a.norm", "batch norm", Phase::Backward, 20.0, 6.0),
            span("a.conv", "convolution", Phase::Backward, 26.0, 20.0),
        ];
        Profile { step: 5, batch_size: 2, device: "cpu".into(), spans }
    }

    #[test]
    fn slices_lie_within_each_other_by_the_parts_of_names() {
        let slices: Vec<(usize, String, f64, f64)> =
            profile().slices().into_iter().map(|s| (s.depth, s.name, s.begin_us, s.took_us)).collect();
        let is = |depth: usize, name: &str, begin: f64, took: f64| (depth, name.to_owned(), begin, took);
        assert_eq!(
            slices,
            [
                is(0, "loader wait", 0.0, 5.0),
                is(0, "forward", 5.0, 15.0),
                is(1, "a", 5.0, 15.0),
                is(2, "conv", 5.0, 12.0),
                is(3, "convolution", 5.0, 10.0),
                is(3, "bias", 15.0, 2.0),
                is(2, "norm", 17.0, 3.0),
                is(3, "batch norm", 17.0, 3.0),
                is(0, "backward", 20.0, 26.0),
                is(1, "a", 20.0, 26.0),
                is(2, "norm", 20.0, 6.0),
                is(3, "batch norm", 20.0, 6.0),
                is(2, "conv", 26.0, 20.0),
                is(3, "convolution", 26.0, 20.0),
            ]
        );
    }

    #[test]
    fn costs_are_summed_over_both_ways_and_the_greatest_comes_first() {
        let profile = profile();
        let costs = profile.costs();
        assert_eq!((costs[0].layer.as_str(), costs[0].us, costs[0].bytes), ("a.conv", [10.0, 20.0, 0.0], 8));
        assert_eq!(costs[1].operation, "batch norm");
        assert_eq!((profile.took_us(), profile.phase_us(Phase::Forward)), (46.0, 15.0));
    }
}
