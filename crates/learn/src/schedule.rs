//! The learning rate over the steps.

use crate::config::{Schedule, ScheduleName, Train};
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// The steps of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Steps {
    pub(crate) per_epoch: u64,
    pub(crate) total: u64,
}

/// The share of the steps in which one-cycle goes up, and the shares of the learning rate at its ends (Smith and Topin
/// 2017, with the defaults of `torch.optim.lr_scheduler.OneCycleLR`).
const ONE_CYCLE: (f64, f64, f64) = (0.3, 1.0 / 25.0, 1.0 / 25e4);

/// The learning rates between which one is looked for, and in how many steps.
pub(crate) const FOUND_BETWEEN: (f64, f64) = (1e-7, 10.0);
pub(crate) const FOUND_WITHIN: u64 = 150;

impl Steps {
    pub(crate) fn new(train: &Train, schedule: &Schedule, batches: u64) -> Steps {
        let per_epoch = batches.div_ceil(train.accumulate_batches as u64);
        let total = match schedule.name {
            ScheduleName::Find => FOUND_WITHIN,
            _ => per_epoch * train.epochs,
        };
        Steps { per_epoch, total }
    }

    /// The factor on the learning rate at `step`, from 0.
    pub(crate) fn factor(&self, schedule: &Schedule, plateau: &Plateau, learning_rate: f64, step: u64) -> f64 {
        let warmup = (schedule.warmup_epochs * self.per_epoch as f64).round() as u64;
        let share = |step: u64, total: u64| (step as f64 / total.max(1) as f64).min(1.0);
        // From 1 to 0 by half a cosine.
        let fall = |share: f64| 0.5 * (1.0 + (PI * share).cos());
        match schedule.name {
            ScheduleName::OneCycle => {
                let (up, first, last) = ONE_CYCLE;
                let (step, top) = (step as f64, (up * self.total as f64 - 1.0).max(1.0));
                match step < top {
                    true => 1.0 + (first - 1.0) * fall(step / top),
                    false => {
                        let down = (self.total as f64 - 1.0 - top).max(1.0);
                        last + (1.0 - last) * fall(((step - top) / down).min(1.0))
                    }
                }
            }
            ScheduleName::Find => {
                let (low, high) = FOUND_BETWEEN;
                low * (high / low).powf(share(step, self.total.saturating_sub(1))) / learning_rate
            }
            _ if step < warmup => (step + 1) as f64 / warmup as f64,
            ScheduleName::Constant => 1.0,
            // Loshchilov and Hutter 2017, without restarts.
            ScheduleName::Cosine => {
                let done = share(step - warmup, self.total.saturating_sub(warmup));
                schedule.floor + (1.0 - schedule.floor) * fall(done)
            }
            ScheduleName::Step => {
                let epochs = step / self.per_epoch.max(1);
                schedule.factor.powi((epochs / schedule.every_epochs) as i32)
            }
            ScheduleName::Plateau => plateau.factor,
        }
    }
}

/// How a learning rate that falls at the end of plateaus came to be what it is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plateau {
    factor: f64,
    least_loss: Option<f64>,
    /// Epochs since the loss was that low.
    epochs: u64,
}

impl Default for Plateau {
    fn default() -> Self {
        Plateau { factor: 1.0, least_loss: None, epochs: 0 }
    }
}

impl Plateau {
    /// Hears of the validation loss after an epoch.
    pub(crate) fn hear(&mut self, schedule: &Schedule, loss: f64) {
        if self.least_loss.is_none_or(|least| loss < least) {
            (self.least_loss, self.epochs) = (Some(loss), 0);
            return;
        }
        self.epochs += 1;
        if self.epochs >= schedule.every_epochs {
            self.epochs = 0;
            self.factor = (self.factor * schedule.factor).max(schedule.floor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: Steps = Steps { per_epoch: 4, total: 100 };

    fn factor(name: ScheduleName, step: u64) -> f64 {
        let schedule = Schedule { name, floor: 0.1, every_epochs: 5, ..Schedule::default() };
        STEPS.factor(&schedule, &Plateau::default(), 0.1, step)
    }

    #[track_caller]
    fn is(found: f64, right: f64) {
        assert!((found - right).abs() < 1e-9 * right.max(1.0), "{found}, not {right}");
    }

    #[test]
    fn a_cosine_warms_up_then_falls_to_its_floor() {
        is(factor(ScheduleName::Cosine, 0), 0.25);
        is(factor(ScheduleName::Cosine, 4), 1.0);
        is(factor(ScheduleName::Cosine, 52), 0.55);
        is(factor(ScheduleName::Cosine, 100), 0.1);
    }

    #[test]
    fn steps_multiply_every_few_epochs() {
        is(factor(ScheduleName::Step, 3), 1.0);
        is(factor(ScheduleName::Step, 19), 1.0);
        is(factor(ScheduleName::Step, 20), 0.1);
        is(factor(ScheduleName::Step, 40), 0.01);
    }

    /// The figures are those of `torch.optim.lr_scheduler.OneCycleLR(max_lr=1, total_steps=100)`.
    #[test]
    fn one_cycle_goes_up_and_down_as_in_torch() {
        for (step, right) in [(0, 0.04), (10, 0.295_163_948), (29, 1.0), (50, 0.793_893_451), (99, 4e-6)] {
            let found = factor(ScheduleName::OneCycle, step);
            assert!((found - right).abs() < 1e-8, "{step}: {found}, not {right}");
        }
    }

    #[test]
    fn a_search_covers_all_learning_rates() {
        is(factor(ScheduleName::Find, 0) * 0.1, 1e-7);
        is(factor(ScheduleName::Find, 99) * 0.1, 10.0);
    }

    #[test]
    fn a_plateau_ends_with_a_lower_rate_and_begins_anew() {
        let schedule = Schedule { name: ScheduleName::Plateau, every_epochs: 2, floor: 0.05, ..Schedule::default() };
        let mut plateau = Plateau::default();
        let factors = [1.0, 0.5, 0.6, 0.5, 0.7, 0.4, 0.4, 0.4, 0.4, 0.4].map(|loss| {
            plateau.hear(&schedule, loss);
            plateau.factor
        });
        assert_eq!(factors, [1.0, 1.0, 1.0, 0.1, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05]);
    }
}
