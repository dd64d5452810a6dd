//! How batches share an optimizer step.

use crate::config::Train;

/// The part of a batch in an optimizer step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Part {
    /// Its share of the samples of the step.
    pub(crate) share: f64,
    /// Whether the step is taken after it.
    pub(crate) ends: bool,
}

impl Part {
    /// All of it.
    pub(crate) const WHOLE: Part = Part { share: 1.0, ends: true };

    /// That of a batch, by number, in an epoch of so many samples.
    pub(crate) fn of(config: &Train, samples: usize, batch: usize) -> Part {
        let group = batch / config.accumulate_batches;
        let count = |first: usize, end: usize| {
            let range = |batches: usize| (batches * config.batch_size).min(samples);
            range(end) - range(first)
        };
        let end = (group + 1) * config.accumulate_batches;
        let all = count(group * config.accumulate_batches, end);
        let last = samples.div_ceil(config.batch_size).min(end) - 1;
        Part { share: count(batch, batch + 1) as f64 / all as f64, ends: batch == last }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    #[test]
    fn parts_of_an_epoch_share_each_step_by_their_samples() {
        let config = |text: &str| Config::resolve(text, &[]).unwrap().train;
        let three = config("[train]\nbatch_size = 4\naccumulate_batches = 3");
        // 18 samples: batches of 4, 4, 4 | 4, 2.
        let parts: Vec<Part> = (0..5).map(|batch| Part::of(&three, 18, batch)).collect();
        assert_eq!(parts.iter().map(|part| part.ends).collect::<Vec<_>>(), [false, false, true, false, true]);
        assert_eq!(
            parts.iter().map(|part| (part.share * 18.0).round()).collect::<Vec<_>>(),
            [6.0, 6.0, 6.0, 12.0, 6.0]
        );
        assert_eq!(Part::of(&config("[train]\nbatch_size = 4"), 18, 4), Part::WHOLE);
    }
}
