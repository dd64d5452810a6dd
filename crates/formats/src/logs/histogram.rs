//! What five numbers say of a histogram: a metric each, so that it draws as a band.

use assay_domain::Point;
use assay_domain::foreign::Logged;

/// What is kept of a histogram, and the share of it that lies below.
const KEPT: [(&str, f64); 5] = [("min", 0.0), ("p16", 0.16), ("p50", 0.5), ("p84", 0.84), ("max", 1.0)];

/// The smallest value, the 16th, 50th and 84th percentile and the largest value, each of them on the line through its
/// bin. Nothing where the bins hold nothing or are no bins: there is one edge more than there are counts.
pub(crate) fn percentiles(edges: &[f64], counts: &[f64]) -> Option<[f64; 5]> {
    let rising = edges.windows(2).all(|pair| pair[0] <= pair[1]) && edges.iter().all(|edge| edge.is_finite());
    let total: f64 = counts.iter().sum();
    let counted = counts.iter().all(|count| *count >= 0.0) && total > 0.0 && total.is_finite();
    if edges.len() != counts.len() + 1 || !rising || !counted {
        return None;
    }
    Some(KEPT.map(|(_, share)| below(edges, counts, share * total)))
}

/// The value that this much of a histogram lies below.
fn below(edges: &[f64], counts: &[f64], wanted: f64) -> f64 {
    let mut before = 0.0;
    let mut largest = edges[0];
    for (bin, count) in edges.windows(2).zip(counts).filter(|(_, count)| **count > 0.0) {
        if before + count >= wanted {
            let along = ((wanted - before) / count).clamp(0.0, 1.0);
            return bin[0] * (1.0 - along) + bin[1] * along;
        }
        before += count;
        largest = bin[1];
    }
    largest
}

/// A point for each of a histogram's five numbers, under the histogram's key.
pub(crate) fn points(key: &str, values: [f64; 5], point: impl Fn(f64) -> Point) -> impl Iterator<Item = Logged> {
    KEPT.into_iter().zip(values).map(move |((name, _), value)| Logged::Point(format!("{key}/{name}"), point(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_lie_on_the_line_through_their_bin() {
        assert_eq!(percentiles(&[0.0, 1.0], &[50.0]), Some([0.0, 0.16, 0.5, 0.84, 1.0]));
        assert_eq!(percentiles(&[0.0, 1.0, 3.0], &[50.0, 50.0]), Some([0.0, 0.32, 1.0, 2.36, 3.0]));
        assert_eq!(percentiles(&[2.0, 2.0], &[3.0]), Some([2.0; 5]));
    }

    #[test]
    fn empty_bins_at_the_sides_and_between_are_passed_over() {
        let values = percentiles(&[-9.0, 0.0, 1.0, 2.0, 3.0, 9.0], &[0.0, 50.0, 0.0, 50.0, 0.0]).expect("a histogram");
        let far = values.into_iter().zip([0.0, 0.32, 1.0, 2.68, 3.0]).map(|(value, wanted)| (value - wanted).abs());
        assert!(far.into_iter().all(|far| far < 1e-12), "{values:?}");
    }

    #[test]
    fn bins_as_wide_as_numbers_go_stay_numbers() {
        let values = percentiles(&[f64::MIN, f64::MAX], &[1.0]).expect("a histogram");
        assert!(values.iter().all(|value| value.is_finite()));
        assert_eq!([values[0], values[2], values[4]], [f64::MIN, 0.0, f64::MAX]);
    }

    #[test]
    fn what_is_no_histogram_gives_nothing() {
        assert_eq!(percentiles(&[], &[]), None);
        assert_eq!(percentiles(&[1.0], &[]), None);
        assert_eq!(percentiles(&[0.0, 1.0], &[0.0]), None);
        assert_eq!(percentiles(&[0.0, 1.0], &[-1.0]), None);
        assert_eq!(percentiles(&[0.0, 1.0], &[f64::NAN]), None);
        assert_eq!(percentiles(&[0.0, 1.0], &[f64::INFINITY]), None);
        assert_eq!(percentiles(&[1.0, 0.0], &[1.0]), None);
        assert_eq!(percentiles(&[0.0, f64::NAN], &[1.0]), None);
        assert_eq!(percentiles(&[0.0, 1.0], &[1.0, 1.0]), None);
    }
}
