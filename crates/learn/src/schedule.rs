//! The learning rate over the steps.

use crate::config::{Schedule, ScheduleName};

/// The factor on the learning rate at `step` (from 0) of `total`: a linear warm-up over `warmup_steps`, then constant or
/// a half cosine down to `schedule.floor` (Loshchilov and Hutter 2017, without restarts).
pub(crate) fn factor(schedule: &Schedule, step: u64, warmup_steps: u64, total: u64) -> f64 {
    if step < warmup_steps {
        return (step + 1) as f64 / warmup_steps as f64;
    }
    match schedule.name {
        ScheduleName::Constant => 1.0,
        ScheduleName::Cosine => {
            let share = (step - warmup_steps) as f64 / (total.saturating_sub(warmup_steps)).max(1) as f64;
            schedule.floor + (1.0 - schedule.floor) * 0.5 * (1.0 + (std::f64::consts::PI * share.min(1.0)).cos())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_warms_up_then_falls_to_its_floor() {
        let schedule = Schedule { name: ScheduleName::Cosine, floor: 0.1, ..Schedule::default() };
        assert_eq!(factor(&schedule, 0, 4, 100), 0.25);
        assert_eq!(factor(&schedule, 4, 4, 100), 1.0);
        assert!((factor(&schedule, 100, 4, 100) - 0.1).abs() < 1e-12);
        assert!((factor(&schedule, 52, 4, 100) - 0.55).abs() < 1e-12);
    }
}
