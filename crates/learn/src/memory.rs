//! How much memory a training step needs, and how large a batch may be.

use crate::learner::Learner;
use crate::measure::noise;
use crate::part::Part;
use crate::tape::Tape;
use crate::watch::{Watch, Way};
use crate::{Config, Device, LearnError, Result};
use std::time::{Duration, Instant};

/// Samples of the batch that is measured.
const MEASURED: usize = 2;
/// What programs and libraries take besides.
const BESIDES: u64 = 100 << 20;
/// The share of the free memory that is taken at most.
const SHARE: f64 = 0.9;
/// The greatest batch that is chosen.
const GREATEST: usize = 512;
/// An epoch has at least so many steps.
const LEAST_STEPS: usize = 8;
/// A smaller batch is as good as this share of the greatest speed.
const AS_GOOD: f64 = 0.9;

/// What a step of a model needs, in bytes.
#[derive(Clone, Copy, Debug)]
struct Need {
    /// Weights, gradients, the optimizer's state, and what is laid out of them.
    fixed: u64,
    /// What each sample of a batch leaves behind for the backward pass, and its images on the way.
    per_sample: u64,
}

impl Need {
    /// Measured on a small batch of noise.
    fn measure(config: &Config, classes: usize) -> Result<Need> {
        let mut small = config.clone();
        small.train.batch_size = MEASURED;
        let batch = noise(&small, classes, &Device::Cpu)?;
        let learner = Learner::begin(&small, classes, &Device::Cpu)?;
        let mut tape = Tape::recording().watched(Some(Watch::times(&Device::Cpu)));
        learner.pass(&mut tape, &batch)?;
        let spans = tape.take_watch().map(Watch::into_spans).unwrap_or_default();
        let outputs = || spans.iter().filter(|span| span.way == Way::Forward).map(|span| span.bytes);
        let (kept, largest) = (outputs().sum::<u64>(), outputs().max().unwrap_or(0));
        // A gradient comes in, one goes out, and something is laid out for the product in between.
        let of_step = (kept + 3 * largest) / MEASURED as u64;
        let image = (config.data.image_size.pow(2) * 3 * size_of::<f32>()) as u64;
        let (learned, all) = learner.parameters.counts();
        let copies = 4 + u64::from(config.train.ema_decay > 0.0);
        let fixed = (all + learned * copies as usize) * size_of::<f32>();
        Ok(Need {
            fixed: fixed as u64 + BESIDES,
            per_sample: of_step + image * (3 * config.train.loader_threads as u64 + 1),
        })
    }

    fn of(&self, batch_size: usize) -> u64 {
        self.fixed + self.per_sample * batch_size as u64
    }

    /// The greatest batch that fits into so many bytes; a power of 2, or none.
    fn greatest(&self, bytes: u64) -> Option<usize> {
        let fits = |size: &usize| self.of(*size) as f64 <= bytes as f64 * SHARE;
        (0..24).map(|power| 1usize << power).take_while(fits).last()
    }

    /// An error with advice where a batch does not fit into so many bytes.
    fn check(&self, batch_size: usize, free: u64) -> Result<()> {
        if self.of(batch_size) as f64 <= free as f64 * SHARE {
            return Ok(());
        }
        let gigabytes = |bytes: u64| bytes as f64 / 1e9;
        let advice = match self.greatest(free) {
            Some(size) => format!(
                "try train.batch_size={size}, with train.accumulate_batches={} for steps of as many samples",
                batch_size.div_ceil(size)
            ),
            None => "even a single sample is too much: try a smaller data.image_size or model".into(),
        };
        Err(LearnError::Memory(format!(
            "a step of train.batch_size={batch_size} needs about {:.2} GB of memory and {:.2} GB are free; {advice}",
            gigabytes(self.of(batch_size)),
            gigabytes(free)
        )))
    }
}

/// Whether a training step fits into the free memory of the processor, in bytes.
///
/// # Errors
/// With the batch size to try, when it does not.
pub fn check_memory(config: &Config, classes: usize, free: u64) -> Result<()> {
    Need::measure(config, classes)?.check(config.train.batch_size, free)
}

/// The batch size from which on steps get hardly quicker for each sample, within the free memory and small enough for some
/// steps in an epoch of `samples`; and what was measured, a line each.
///
/// # Errors
/// When not even a single sample fits.
pub fn choose_batch_size(
    config: &Config,
    classes: usize,
    samples: usize,
    device: &Device,
    free: u64,
) -> Result<(usize, Vec<String>)> {
    let mut config = config.clone();
    let fits = match device.is_cpu() {
        true => {
            let need = Need::measure(&config, classes)?;
            need.check(1, free)?;
            need.greatest(free).unwrap_or(1)
        }
        false => GREATEST,
    };
    let greatest = fits.min(GREATEST).min((samples / LEAST_STEPS).max(1));
    let (mut speeds, mut lines) = (Vec::new(), Vec::new());
    let powers = || (0..).map(|power| 1usize << power).take_while(|size| *size <= greatest);
    let least = powers().last().unwrap_or(1).min(8);
    for size in powers().skip_while(|size| *size < least) {
        config.train.batch_size = size;
        match time_of_step(&config, classes, device) {
            Ok(time) => {
                let speed = size as f64 / time.as_secs_f64();
                lines.push(format!("batches of {size}: {speed:.0} images/s"));
                speeds.push((size, speed));
            }
            // A GPU says itself that it is full.
            Err(LearnError::Memory(_)) => break,
            Err(other) => return Err(other),
        }
    }
    let best = speeds.iter().map(|(_, speed)| *speed).fold(0.0, f64::max);
    let chosen = speeds.iter().find(|(_, speed)| *speed >= AS_GOOD * best).map_or(1, |(size, _)| *size);
    lines.push(format!("train.batch_size is {chosen} from now on"));
    Ok((chosen, lines))
}

/// The best of two steps after one to warm up.
fn time_of_step(config: &Config, classes: usize, device: &Device) -> Result<Duration> {
    let batch = noise(config, classes, device)?;
    let mut learner = Learner::begin(config, classes, device)?;
    let mut best = Duration::MAX;
    for turn in 0..3 {
        let begun = Instant::now();
        learner.step(&batch, Part::WHOLE, 0.0).map_err(|error| out_of_memory(error, config.train.batch_size))?;
        device.synchronize()?;
        if turn > 0 {
            best = best.min(begun.elapsed());
        }
    }
    Ok(best)
}

/// The error of a step, with advice where a GPU had too little memory.
pub(crate) fn out_of_memory(error: LearnError, batch_size: usize) -> LearnError {
    let text = error.to_string();
    if !(text.contains("OUT_OF_MEMORY") || text.contains("out of memory")) {
        return error;
    }
    let half = (batch_size / 2).max(1);
    LearnError::Memory(format!(
        "the GPU has too little memory for a step of train.batch_size={batch_size}: try train.batch_size={half}, with train.accumulate_batches={} for steps of as many samples",
        batch_size.div_ceil(half)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(overrides: &[&str]) -> Config {
        let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_owned()).collect();
        Config::resolve("", &overrides).unwrap()
    }

    #[test]
    fn what_does_not_fit_is_refused_with_a_batch_size_that_does() {
        let config = config(&["model.name=resnet18", "data.image_size=64", "train.batch_size=1024"]);
        let message = check_memory(&config, 10, 2 << 30).unwrap_err().to_string();
        let advised: usize =
            message.split("try train.batch_size=").nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
        assert!((8..256).contains(&advised), "{message}");
        let mut less = config.clone();
        less.train.batch_size = advised;
        check_memory(&less, 10, 2 << 30).unwrap();
        assert!(check_memory(&less, 10, 10 << 20).unwrap_err().to_string().contains("smaller data.image_size"));
    }

    #[test]
    fn a_chosen_batch_fits_and_is_no_greater_than_the_data() {
        let config = config(&["model.width=4", "data.image_size=12", "train.batch_size=0"]);
        let (chosen, lines) = choose_batch_size(&config, 3, 400, &Device::Cpu, 4 << 30).unwrap();
        assert!((8..=32).contains(&chosen), "{chosen} {lines:?}");
        assert!(lines.iter().any(|line| line.contains("images/s")), "{lines:?}");
        assert_eq!(choose_batch_size(&config, 3, 50, &Device::Cpu, 4 << 30).unwrap().0, 4);
    }

    #[test]
    fn a_full_gpu_is_an_error_with_advice() {
        let full = LearnError::Data("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")".into());
        let message = out_of_memory(full, 48).to_string();
        assert!(message.contains("try train.batch_size=24, with train.accumulate_batches=2"), "{message}");
        assert_eq!(out_of_memory(LearnError::Data("x".into()), 48).to_string(), "x");
    }
}
