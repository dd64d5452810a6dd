//! Random numbers by name: each use has its own stream, so that nothing depends on the order or number of threads.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What random numbers are drawn for.
#[derive(Clone, Copy)]
pub(crate) enum Purpose<'a> {
    /// The first values of the parameter of this name.
    Parameter(&'a str),
    /// The order of the samples in an epoch.
    Order { epoch: u64 },
    /// The augmentation of a sample in an epoch.
    Augment { epoch: u64, sample: u64 },
    /// What dropout takes away in a batch.
    Dropout { step: u64 },
    /// How the images of a batch are mixed.
    Mix { epoch: u64, batch: u64 },
}

/// The stream of this purpose under this seed.
pub(crate) fn stream(seed: u64, purpose: Purpose<'_>) -> ChaCha8Rng {
    let (kind, a, b) = match purpose {
        Purpose::Parameter(name) => (1, fnv(name), 0),
        Purpose::Order { epoch } => (2, epoch, 0),
        Purpose::Augment { epoch, sample } => (3, epoch, sample),
        Purpose::Dropout { step } => (4, step, 0),
        Purpose::Mix { epoch, batch } => (5, epoch, batch),
    };
    let mut key = [0; 32];
    for (part, word) in key.chunks_exact_mut(8).zip([seed, kind, a, b]) {
        part.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo).
fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Uniform in 0..1.
pub(crate) fn uniform(random: &mut ChaCha8Rng) -> f64 {
    (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// Uniform in low..high.
pub(crate) fn between(random: &mut ChaCha8Rng, low: f64, high: f64) -> f64 {
    low + (high - low) * uniform(random)
}

/// Standard normal (Box and Muller 1958).
pub(crate) fn normal(random: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - uniform(random)).ln()).sqrt();
    radius * (std::f64::consts::TAU * uniform(random)).cos()
}

/// From the Gamma distribution of this shape and scale 1 (Marsaglia and Tsang 2000).
fn gamma(random: &mut ChaCha8Rng, shape: f64) -> f64 {
    if shape < 1.0 {
        // From one of a greater shape, by a power of a uniform number.
        let power = (1.0 - uniform(random)).powf(1.0 / shape);
        return gamma(random, shape + 1.0) * power;
    }
    let d = shape - 1.0 / 3.0;
    loop {
        let x = normal(random);
        let v = (1.0 + x / (9.0 * d).sqrt()).powi(3);
        if v > 0.0 && (1.0 - uniform(random)).ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return d * v;
        }
    }
}

/// From the Beta distribution with both parameters `alpha`: symmetric in 0..=1.
pub(crate) fn beta(random: &mut ChaCha8Rng, alpha: f64) -> f64 {
    let (a, b) = (gamma(random, alpha), gamma(random, alpha));
    if a + b > 0.0 { a / (a + b) } else { 0.5 }
}

/// A permutation of 0..count (Fisher and Yates).
pub(crate) fn permutation(random: &mut ChaCha8Rng, count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        order.swap(last, (uniform(random) * (last + 1) as f64) as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_repeat_and_differ_by_purpose() {
        let draw = |purpose| stream(7, purpose).next_u64();
        assert_eq!(draw(Purpose::Order { epoch: 1 }), draw(Purpose::Order { epoch: 1 }));
        assert_ne!(draw(Purpose::Order { epoch: 1 }), draw(Purpose::Order { epoch: 2 }));
        assert_ne!(draw(Purpose::Parameter("a")), draw(Purpose::Parameter("b")));
    }

    #[test]
    fn beta_numbers_have_the_mean_and_variance_of_their_distribution() {
        for alpha in [0.2, 1.0, 3.0] {
            let mut random = stream(1, Purpose::Parameter("x"));
            let draws: Vec<f64> = (0..20_000).map(|_| beta(&mut random, alpha)).collect();
            let mean = draws.iter().sum::<f64>() / 20_000.0;
            let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 20_000.0;
            let right = 1.0 / (4.0 * (2.0 * alpha + 1.0));
            assert!((mean - 0.5).abs() < 0.01 && (variance - right).abs() < 0.01, "{alpha}: {mean} {variance}");
        }
    }

    #[test]
    fn normal_numbers_have_mean_0_and_variance_1() {
        let mut random = stream(1, Purpose::Parameter("x"));
        let draws: Vec<f64> = (0..20_000).map(|_| normal(&mut random)).collect();
        let mean = draws.iter().sum::<f64>() / 20_000.0;
        let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 20_000.0;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
    }
}
