//! Exponential functions without branches, so that loops of them become vectors.

/// `exp(x)` to about 2 units in the last place: x is split into n ln 2 + r with |r| <= ln 2 / 2, and exp(r) is a
/// polynomial (Cephes, `expf`). Below -87.3 it is 0 or next to it, above 88.7 as great as it gets; a NaN stays.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    /// Adding and subtracting it rounds to a whole number: 1.5 x 2^23.
    const ROUND: f32 = 12_582_912.0;
    let x = if x < -87.336_54 { -87.336_54 } else { x };
    let x = if x > 88.72 { 88.72 } else { x };
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let whole = rounded - ROUND;
    let rest = x - whole * 0.693_359_4 + whole * 2.121_944_4e-4;
    let mut power = 1.987_569_1e-4;
    for term in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        power = power * rest + term;
    }
    let power = power * rest * rest + rest + 1.0;
    // 2^whole, in two halves since 2^128 is no f32 of its own; the last bits of `rounded` are the whole number.
    let exponent = rounded.to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    let half = exponent >> 1;
    let two_to = |exponent: i32| f32::from_bits((exponent.wrapping_add(127) as u32).wrapping_shl(23));
    power * two_to(half) * two_to(exponent.wrapping_sub(half))
}

/// The error function, within 1.5e-7 (Abramowitz and Stegun 1964, 7.1.26).
#[inline(always)]
pub(crate) fn erf(x: f32) -> f32 {
    let size = x.abs();
    let t = 1.0 / (1.0 + 0.327_591_1 * size);
    let mut sum = 1.061_405_4;
    for term in [-1.453_152_1, 1.421_413_8, -0.284_496_72, 0.254_829_6] {
        sum = sum * t + term;
    }
    (1.0 - sum * t * exp(-size * size)).copysign(x)
}

/// `1 / (1 + exp(-x))`
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The hyperbolic tangent, to about 3 units in the last place: near 0 a polynomial (Cephes, `tanhf`).
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    let square = x * x;
    let mut power = -5.704_988_7e-3;
    for term in [2.063_909e-2, -5.373_971_6e-2, 1.333_144_2e-1, -3.333_328e-1] {
        power = power * square + term;
    }
    let near = power * square * x + x;
    let far = (1.0 - 2.0 / (exp(2.0 * x.abs()) + 1.0)).copysign(x);
    if x.abs() < 0.625 { near } else { far }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_right_to_a_few_units_in_the_last_place() {
        for index in -8_700..8_850 {
            let x = index as f32 / 100.0;
            let right = f64::from(x).exp();
            assert!((f64::from(exp(x)) - right).abs() < 4e-7 * right, "exp({x}) = {}, not {right}", exp(x));
        }
        assert!(exp(f32::NEG_INFINITY) < 1.2e-38 && exp(f32::NAN).is_nan() && exp(0.0) == 1.0);
    }

    #[test]
    fn erf_is_right_within_its_bound() {
        // scipy.special.erf
        for (x, right) in [(0.0, 0.0), (0.1, 0.112_462_916), (0.5, 0.520_499_9), (1.0, 0.842_700_8), (2.5, 0.999_593)] {
            assert!((erf(x) - right).abs() < 3e-7 && (erf(-x) + right).abs() < 3e-7, "erf({x}) = {}", erf(x));
        }
    }

    #[test]
    fn sigmoid_and_tanh_are_right_to_a_few_units_in_the_last_place() {
        for index in -3_000..3_000 {
            let x = index as f32 / 100.0 + 1e-3;
            let right = 1.0 / (1.0 + (-f64::from(x)).exp());
            assert!((f64::from(sigmoid(x)) - right).abs() < 6e-7 * right, "sigmoid({x}) = {}", sigmoid(x));
            let right = f64::from(x).tanh();
            assert!((f64::from(tanh(x)) - right).abs() < 4e-7 * right.abs(), "tanh({x}) = {}", tanh(x));
        }
        assert!(tanh(f32::NAN).is_nan() && tanh(f32::INFINITY) == 1.0 && tanh(0.0) == 0.0);
    }
}
