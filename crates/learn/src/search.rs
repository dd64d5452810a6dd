//! Finding a learning rate from the losses while it rises.

/// How much of itself the smoothed loss keeps.
const KEEP: f64 = 0.9;
/// The search ends when the smoothed loss is this many times its least.
const EXPLODED: f64 = 4.0;
/// Steps at the beginning in which the loss is still that of the first weights.
const SETTLING: usize = 10;

/// The losses so far.
#[derive(Default)]
pub(crate) struct Search {
    mean: f64,
    /// Learning rate and smoothed loss, in the order of the steps.
    curve: Vec<(f64, f64)>,
    over: bool,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct FoundRate {
    /// Where the smoothed loss falls fastest over the logarithm of the learning rate.
    pub(crate) steepest: f64,
    /// Where the search ended.
    pub(crate) end: f64,
}

impl Search {
    pub(crate) fn hear(&mut self, learning_rate: f64, loss: f64) {
        self.mean = KEEP * self.mean + (1.0 - KEEP) * loss;
        // Without the pull of the zero that the mean begins with.
        let smoothed = self.mean / (1.0 - KEEP.powi(self.curve.len() as i32 + 1));
        let least = self.curve.iter().map(|point| point.1).fold(f64::INFINITY, f64::min);
        self.over = !smoothed.is_finite() || (self.curve.len() > SETTLING && smoothed > EXPLODED * least);
        self.curve.push((learning_rate, smoothed));
    }

    /// Whether the loss has exploded.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// The learning rate at which the loss fell fastest; none where it never fell.
    pub(crate) fn found(&self) -> Option<FoundRate> {
        const REACH: usize = 3;
        let (end, _) = *self.curve.last()?;
        let slope = |window: &[(f64, f64)]| {
            let (first, last) = (window[0], window[window.len() - 1]);
            ((last.1 - first.1) / (last.0 / first.0).ln(), window[REACH].0)
        };
        let slopes = self.curve.windows(2 * REACH + 1).skip(SETTLING).map(slope);
        let (least, steepest) = slopes.filter(|slope| slope.0.is_finite()).min_by(|a, b| a.0.total_cmp(&b.0))?;
        (least < 0.0).then_some(FoundRate { steepest, end })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_finds_where_the_loss_falls_and_ends_where_it_explodes() {
        let mut search = Search::default();
        for step in 0..150 {
            let learning_rate = 1e-7 * 10f64.powf(8.0 * f64::from(step) / 149.0);
            // A logistic fall around 1e-3, an explosion from 0.3 on.
            let loss = 2.3 - 1.5 / (1.0 + (-4.0 * (learning_rate / 1e-3).log10()).exp())
                + if learning_rate > 0.3 { 50.0 * learning_rate } else { 0.0 };
            search.hear(learning_rate, loss);
            if search.is_over() {
                break;
            }
        }
        let found = search.found().unwrap();
        assert!((1e-3..1e-2).contains(&found.steepest), "{found:?}");
        assert!((0.3..2.0).contains(&found.end), "{found:?}");
    }

    #[test]
    fn a_loss_that_never_falls_finds_nothing() {
        let mut search = Search::default();
        (1..60).for_each(|step| search.hear(f64::from(step) * 1e-4, 1.0 + f64::from(step)));
        assert_eq!(search.found(), None);
    }
}
