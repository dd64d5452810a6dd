//! Axis ticks at round values: at least three in every range, with distinct labels.
//!
//! A label is exactly the decimal `digits * 10^exponent`, so that close neighbours differ as text.

use egui_plot::{GridInput, GridMark};
use std::cell::RefCell;

/// Minimum number of labels.
const FEWEST: usize = 3;
/// Maximum number of labels.
const MOST: usize = 40;
/// Relative width below which doubles have no room for round values.
const FINEST: f64 = 1e-13;
/// Round steps within a power of ten, in quarters. Each is at most twice its predecessor: where one gives fewer than
/// three labels, its predecessor gives at most [`ENOUGH`].
const STEPS: [i64; 4] = [4, 8, 10, 20];
const ENOUGH: usize = 6;

/// Scale of an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    Linear,
    /// Positions are base-10 logarithms.
    Logarithmic,
}

/// Room along an axis, in points.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) length: f64,
    /// Length of a letter of a label.
    pub(crate) letter: f64,
    /// Padding and gap of a label.
    pub(crate) gap: f64,
}

/// A label of an axis.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tick {
    pub(crate) place: f64,
    pub(crate) text: String,
}

/// The ticks of an axis from `first` to `last`, ascending: as many as fit, and at least three wherever the range has
/// that many doubles.
pub(crate) fn ticks(scale: Scale, (first, last): (f64, f64), room: Room) -> Vec<Tick> {
    if !(first < last && (last - first).is_finite()) {
        return Vec::new();
    }
    let per_point = (last - first) / room.length.max(1.0);
    let have_room = |ticks: &[Tick]| {
        ticks.windows(2).all(|pair| {
            let letters = (pair[0].text.chars().count() + pair[1].text.chars().count()) as f64 / 2.0;
            (pair[1].place - pair[0].place) / per_point >= room.gap + room.letter * letters
        })
    };
    let most = ((room.length / (room.gap + room.letter)) as usize + 1).clamp(ENOUGH, MOST);
    let choices = match scale {
        Scale::Linear => linear((first, last), most),
        Scale::Logarithmic => logarithmic((first, last), most),
    };
    let mut coarsest = Vec::new();
    for numbers in choices {
        let ticks = texts(scale, &numbers);
        if have_room(&ticks) {
            return ticks;
        }
        coarsest = ticks;
    }
    match coarsest.len() {
        0 => narrow(scale, (first, last)),
        // Every second, every third …, keeping at least three.
        count => coarsest.into_iter().step_by((count - 1) / (FEWEST - 1)).collect(),
    }
}

/// A decimal number.
#[derive(Clone, Copy, Debug)]
struct Decimal {
    digits: i64,
    exponent: i32,
}

impl Decimal {
    /// The nearest double.
    fn value(self) -> f64 {
        // Powers of ten are exact up to here, so there is one rounding.
        match self.exponent {
            0..=22 => self.digits as f64 * 10f64.powi(self.exponent),
            -22..0 => self.digits as f64 / 10f64.powi(-self.exponent),
            _ => format!("{}e{}", self.digits, self.exponent).parse().unwrap_or(f64::NAN),
        }
    }

    /// Plain notation.
    fn plain(self) -> String {
        let sign = if self.digits < 0 { "-" } else { "" };
        let digits = self.digits.unsigned_abs().to_string();
        match usize::try_from(-self.exponent) {
            Ok(0) => format!("{sign}{digits}"),
            Ok(decimals) => {
                let digits = format!("{digits:0>width$}", width = decimals + 1);
                let (whole, rest) = digits.split_at(digits.len() - decimals);
                format!("{sign}{whole}.{rest}")
            }
            Err(_) if self.digits == 0 => "0".into(),
            Err(_) => format!("{sign}{digits}{}", "0".repeat(self.exponent as usize)),
        }
    }

    /// Scientific notation.
    fn scientific(self) -> String {
        if self.digits == 0 {
            return "0".into();
        }
        let sign = if self.digits < 0 { "-" } else { "" };
        let digits = self.digits.unsigned_abs().to_string();
        let exponent = self.exponent + digits.len() as i32 - 1;
        match digits.split_at(1) {
            (whole, "") => format!("{sign}{whole}e{exponent}"),
            (whole, rest) => format!("{sign}{whole}.{rest}e{exponent}"),
        }
    }
}

/// Round numbers in a range, finest steps first, in sets of at least three and at most `most`.
fn linear((first, last): (f64, f64), most: usize) -> Vec<Vec<Decimal>> {
    let width = last - first;
    if width < FINEST * first.abs().max(last.abs()) {
        return Vec::new();
    }
    let power = width.log10().floor() as i32;
    let mut choices = Vec::new();
    for exponent in power - 2..=power {
        for quarters in STEPS {
            // Steps of 2.5 have one more digit.
            let (step, exponent) = match quarters {
                10 => (25, exponent - 1),
                _ => (quarters / 4, exponent),
            };
            let unit = Decimal { digits: step, exponent }.value();
            let (from, to) = ((first / unit).ceil(), (last / unit).floor());
            if !(unit > 0.0 && to - from < most as f64) {
                continue;
            }
            let numbers = (from as i64..=to as i64).map(|number| Decimal { digits: number * step, exponent });
            let inside = |number: &Decimal| (first..=last).contains(&number.value());
            choices.push(numbers.filter(inside).collect::<Vec<_>>());
        }
    }
    choices.retain(|numbers| numbers.len() >= FEWEST);
    choices
}

/// Numbers with round logarithms in a range: any within two decades, then 1, 2 and 5, then powers of ten.
fn logarithmic((first, last): (f64, f64), most: usize) -> Vec<Vec<Decimal>> {
    let inside = |number: &Decimal| (first..=last).contains(&number.value().log10());
    let mut choices = Vec::new();
    let (lowest, highest) = (10f64.powf(first), 10f64.powf(last));
    if last - first < 1.5 && lowest > 0.0 && highest.is_finite() {
        choices.extend(linear((lowest, highest), most));
    }
    // Doubles range from 1e-323 to 1e308.
    let (from, to) = (first.floor().max(-323.0), last.ceil().min(308.0));
    let powers = from as i32..=to as i32;
    if to - from < most as f64 {
        let of_power = |exponent| [1, 2, 5].map(|digits| Decimal { digits, exponent });
        choices.push(powers.clone().flat_map(of_power).collect());
    }
    for step in [1, 2, 5, 10, 20, 50, 100] {
        let round = powers.clone().filter(|power| power.rem_euclid(step) == 0);
        choices.push(round.map(|exponent| Decimal { digits: 1, exponent }).collect());
    }
    for numbers in &mut choices {
        numbers.retain(inside);
    }
    // Three decades, which may contain two powers, hold ten numbers that begin with 1, 2 or 5.
    choices.retain(|numbers| (FEWEST..=most.max(10)).contains(&numbers.len()));
    choices
}

/// Formats numbers together: scientific if that is shorter and their size is unusual.
fn texts(scale: Scale, numbers: &[Decimal]) -> Vec<Tick> {
    let sizes = || numbers.iter().map(|number| number.value().abs()).filter(|size| *size > 0.0);
    let greatest = sizes().fold(0.0, f64::max);
    let measure = match scale {
        Scale::Linear => greatest,
        Scale::Logarithmic => sizes().fold(f64::INFINITY, f64::min),
    };
    let longest = |write: fn(Decimal) -> String| numbers.iter().map(|number| write(*number).len()).max();
    let is_everyday = measure >= 1e-3 && greatest < 1e6;
    let write = match is_everyday || longest(Decimal::plain) <= longest(Decimal::scientific) {
        true => Decimal::plain,
        false => Decimal::scientific,
    };
    let place = |number: Decimal| match scale {
        Scale::Linear => number.value(),
        Scale::Logarithmic => number.value().log10(),
    };
    numbers.iter().map(|number| Tick { place: place(*number), text: write(*number) }).collect()
}

/// Both ends and the middle of a range too narrow for round numbers.
fn narrow(scale: Scale, (first, last): (f64, f64)) -> Vec<Tick> {
    let mut ticks: Vec<Tick> = Vec::new();
    for place in [first, first + (last - first) / 2.0, last] {
        let text = match scale {
            Scale::Linear => format!("{place:e}"),
            Scale::Logarithmic => format!("1e{place}"),
        };
        if ticks.last().is_none_or(|before| before.text != text) {
            ticks.push(Tick { place, text });
        }
    }
    ticks
}

/// Ticks of an axis shared between its grid and its label formatter.
pub(crate) struct AxisLabels {
    scale: Scale,
    letter: f64,
    gap: f64,
    /// Least grid spacing given to the plot.
    spacing: f64,
    found: RefCell<Vec<Tick>>,
}

impl AxisLabels {
    /// For a horizontal axis.
    pub(crate) fn beside_each_other(scale: Scale, spacing: f32) -> AxisLabels {
        AxisLabels { scale, letter: 7.5, gap: 22.0, spacing: f64::from(spacing), found: RefCell::default() }
    }

    /// For a vertical axis.
    pub(crate) fn above_each_other(scale: Scale, spacing: f32) -> AxisLabels {
        AxisLabels { scale, letter: 0.0, gap: 30.0, spacing: f64::from(spacing), found: RefCell::default() }
    }

    /// Grid lines, one per tick.
    pub(crate) fn marks(&self, input: &GridInput) -> Vec<GridMark> {
        let (first, last) = input.bounds;
        let length = (last - first) / input.base_step_size * self.spacing;
        let found = ticks(self.scale, input.bounds, Room { length, letter: self.letter, gap: self.gap });
        let step_size = found.windows(2).map(|pair| pair[1].place - pair[0].place).fold(f64::INFINITY, f64::min);
        let marks = found.iter().map(|tick| GridMark { value: tick.place, step_size }).collect();
        self.found.replace(found);
        marks
    }

    /// The label of a grid line.
    pub(crate) fn text(&self, mark: GridMark) -> String {
        let found = self.found.borrow();
        found.iter().find(|tick| tick.place == mark.value).map(|tick| tick.text.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WIDE: Room = Room { length: 600.0, letter: 7.5, gap: 22.0 };
    const HIGH: Room = Room { length: 110.0, letter: 0.0, gap: 30.0 };

    fn shown(scale: Scale, range: (f64, f64), room: Room) -> Vec<String> {
        ticks(scale, range, room).into_iter().map(|tick| tick.text).collect()
    }

    #[test]
    fn labels_are_round_and_have_the_digits_that_tell_them_apart() {
        let linear = |first, last| shown(Scale::Linear, (first, last), HIGH);
        assert_eq!(linear(-0.02, 1.02), ["0.0", "0.5", "1.0"]);
        assert_eq!(linear(0.0, 2.3), ["0", "1", "2"]);
        assert_eq!(linear(-3.4, 3.4), ["-2", "0", "2"]);
        assert_eq!(linear(0.593_147_1, 0.593_147_2), ["0.593147125", "0.593147150", "0.593147175", "0.593147200"]);
        assert_eq!(linear(0.0, 1e-7), ["0", "5e-8", "1.0e-7"]);
        assert_eq!(linear(1e9, 1e9 + 4.0), ["1000000000", "1000000002", "1000000004"]);
        assert_eq!(linear(0.0, 3e9), ["0", "1e9", "2e9", "3e9"]);
        assert_eq!(shown(Scale::Linear, (0.0, 1000.0), WIDE)[..3], ["0", "100", "200"]);
        assert_eq!(shown(Scale::Linear, (0.0, 5_000_000.0), WIDE)[..3], ["0", "5e5", "1.0e6"]);
    }

    #[test]
    fn a_logarithmic_axis_has_three_labels_within_a_power_of_ten_and_over_hundreds() {
        let of_values = |first: f64, last: f64| shown(Scale::Logarithmic, (first.log10(), last.log10()), HIGH);
        assert_eq!(of_values(1e-5, 1e2), ["1e-4", "1e-2", "1e0", "1e2"]);
        assert_eq!(of_values(0.9, 1100.0), ["1", "10", "100", "1000"]);
        assert_eq!(of_values(0.1, 1.05), ["0.1", "0.2", "0.5", "1"]);
        assert_eq!(of_values(0.593_10, 0.593_15).len(), 3);
        assert_eq!(of_values(1e-12, 1e300).len(), 4);
    }

    #[test]
    fn labels_that_do_not_fit_give_way_as_long_as_three_are_left() {
        let narrow = Room { length: 150.0, ..WIDE };
        for range in [(123_456_789.0, 123_456_797.0), (0.100_000_1, 0.100_000_9), (0.0, 1e12), (-7.0, 5.0)] {
            let labels = shown(Scale::Linear, range, narrow);
            assert!((3..=5).contains(&labels.len()), "{range:?}: {labels:?}");
        }
    }

    #[test]
    fn neighbouring_doubles_are_told_apart_where_nothing_round_lies_between_them() {
        let next = |value: f64, times: u64| f64::from_bits(value.to_bits() + times);
        for value in [0.1, 1.0, 1e15, 1e-300] {
            let labels = shown(Scale::Linear, (value, next(value, 4)), HIGH);
            assert_eq!(labels.len(), 3, "{labels:?}");
        }
        assert_eq!(shown(Scale::Linear, (1.0, next(1.0, 1)), HIGH).len(), 2);
    }

    #[test]
    fn what_is_no_range_has_no_labels() {
        for range in [(1.0, 1.0), (2.0, 1.0), (f64::NAN, 1.0), (0.0, f64::INFINITY), (f64::MIN, f64::MAX)] {
            assert_eq!(ticks(Scale::Linear, range, WIDE), []);
            assert_eq!(ticks(Scale::Logarithmic, range, WIDE), []);
        }
    }

    fn holds(scale: Scale, (first, last): (f64, f64), room: Room) -> Result<(), TestCaseError> {
        let found = ticks(scale, (first, last), room);
        prop_assert!(found.len() >= 3, "{} to {}: {:?}", first, last, found);
        for pair in found.windows(2) {
            prop_assert!(pair[0].place < pair[1].place, "{:?}", found);
        }
        let mut texts: Vec<&str> = found.iter().map(|tick| tick.text.as_str()).collect();
        texts.sort_unstable();
        texts.dedup();
        prop_assert_eq!(texts.len(), found.len());
        prop_assert!(found.iter().all(|tick| (first..=last).contains(&tick.place)), "{:?}", found);
        for Tick { place, text } in &found {
            let value: f64 = text.parse().expect("a number");
            let told = if scale == Scale::Linear { value } else { value.log10() };
            prop_assert!((told - place).abs() <= 1e-12 * place.abs().max(last - first), "{} is not {}", text, place);
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
        #[test]
        fn every_range_has_three_labels_in_order_that_differ_as_text(
            mantissa in -10.0f64..10.0, size in -300i32..299, narrow in 0.0f64..12.5, share in 0.0f64..1.0,
            length in 60.0f64..2000.0, upright in proptest::bool::ANY,
        ) {
            let middle = mantissa * 10f64.powi(size);
            let width = (middle.abs() + 1e-300) * 10f64.powf(-narrow) * (1.0 + share);
            let room = Room { length, ..if upright { HIGH } else { WIDE } };
            holds(Scale::Linear, (middle - width, middle + width), room)?;
        }

        #[test]
        fn every_logarithmic_range_has_three_labels_in_order_that_differ_as_text(
            first in -290.0f64..290.0, decades in -8.0f64..2.0, length in 60.0f64..2000.0, upright in proptest::bool::ANY,
        ) {
            let room = Room { length, ..if upright { HIGH } else { WIDE } };
            holds(Scale::Logarithmic, (first, first + 10f64.powf(decades).min(300.0 - first)), room)?;
        }
    }
}
