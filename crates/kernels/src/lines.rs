//! Loops over lines of values, compiled for the vectors that the processor has. What the compiler must not know in order to
//! make vectors of them: lengths that may differ, and more than eight slices that may overlap.

use pulp::{Arch, NullaryFnOnce};
use std::mem::MaybeUninit;

/// Runs loops with the vectors that the processor has. The closure must be marked `#[inline(always)]`, or it is compiled
/// for those that every processor has.
pub(crate) fn vectorized(act: impl FnMut()) {
    Arch::new().dispatch(Loop(act));
}

/// A closure that is called without a shim around it, which would not be inlined.
struct Loop<F>(F);

impl<F: FnMut()> NullaryFnOnce for Loop<F> {
    type Output = ();

    #[inline(always)]
    fn call(mut self) {
        (self.0)();
    }
}

/// Writes the value that belongs to those of the inputs at each place; they are at least as long.
#[inline(always)]
pub(crate) fn map_line<const N: usize>(
    out: &mut [MaybeUninit<f32>],
    inputs: [&[f32]; N],
    value: impl Fn([f32; N]) -> f32,
) {
    let inputs = inputs.map(|input| &input[..out.len()]);
    for (place, out) in out.iter_mut().enumerate() {
        // Safety: all inputs were cut to the length of the output.
        out.write(value(inputs.map(|input| unsafe { *input.get_unchecked(place) })));
    }
}

/// Changes values by those of the inputs at each place; the inputs, and all values but the first, are at least as long as
/// those.
#[inline(always)]
pub(crate) fn change_line<const M: usize, const N: usize>(
    values: [&mut [f32]; M],
    inputs: [&[f32]; N],
    change: impl Fn([f32; M], [f32; N]) -> [f32; M],
) {
    let length = values.first().map_or(0, |values| values.len());
    let inputs = inputs.map(|input| &input[..length]);
    let mut values = values.map(|values| &mut values[..length]);
    for place in 0..length {
        // Safety: all were cut to this length. A check would keep the last values of a line from being computed at once.
        unsafe {
            let seen = inputs.map(|input| *input.get_unchecked(place));
            let changed = change(values.each_ref().map(|values| *values.get_unchecked(place)), seen);
            values.iter_mut().zip(changed).for_each(|(values, changed)| *values.get_unchecked_mut(place) = changed);
        }
    }
}

/// Adds what belongs to the values of the inputs at each place to sums; lengths as in [`change_line`].
#[inline(always)]
pub(crate) fn add_line<const M: usize, const N: usize>(
    sums: [&mut [f32]; M],
    inputs: [&[f32]; N],
    values: impl Fn([f32; N]) -> [f32; M],
) {
    change_line(sums, inputs, |sums, seen| {
        let values = values(seen);
        std::array::from_fn(|number| sums[number] + values[number])
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_written_and_added_whatever_the_length() {
        for length in [0, 1, 15, 16, 17, 40] {
            let a: Vec<f32> = (0..length + 3).map(|place| place as f32).collect();
            let b: Vec<f32> = a.iter().map(|value| value * 10.0).collect();
            let mut out = vec![MaybeUninit::uninit(); length];
            let (mut sums, mut products) = (vec![1.0; length], vec![2.0; length]);
            vectorized(
                #[inline(always)]
                || {
                    map_line(&mut out, [&a, &b], |[a, b]| a + b);
                    add_line([&mut sums, &mut products], [&a, &b], |[a, b]| [a - b, a * b]);
                },
            );
            for place in 0..length {
                let a = place as f32;
                // Safety: map_line writes all of it.
                assert_eq!(unsafe { out[place].assume_init() }, 11.0 * a);
                assert_eq!((sums[place], products[place]), (1.0 - 9.0 * a, 2.0 + 10.0 * a * a));
            }
        }
    }
}
