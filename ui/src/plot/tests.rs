//! Charts as drawn: axis labels and their places.

use super::*;
use assay_domain::Point;
use egui::epaint::Shape;
use egui::{Rect, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;

fn buckets(values: impl IntoIterator<Item = f64>) -> Vec<Bucket> {
    let points = values.into_iter().zip(0..).map(|(value, step)| Point { step, wall_ms: 250 * step, value });
    points.map(Bucket::of).collect()
}

/// A chart of this size, drawn repeatedly: axes use the label size of the previous frame.
fn drawn<'a>(title: &'a str, size: egui::Vec2, look: Look, lines: &'a [Vec<Bucket>]) -> Harness<'a> {
    let mut frames = 0;
    let mut harness = Harness::builder().with_size(size + vec2(40.0, 40.0)).build_ui(move |ui| {
        frames += 1;
        if frames == 1 {
            // Fonts load on the next frame.
            return crate::tokens::install(ui.ctx());
        }
        ui.allocate_ui(size, |ui| {
            ui.set_max_width(size.x);
            let names = ["first", "second"];
            let line = |(name, buckets)| Series { name, color: Color32::RED, buckets };
            let series: Vec<Series<'_>> = names.into_iter().zip(lines.iter().map(Vec::as_slice)).map(line).collect();
            chart_ui(ui, title, "group", size.y, look, &series);
        });
    });
    harness.run_steps(4);
    harness
}

/// All drawn text with its rectangle.
fn texts(harness: &Harness<'_>) -> Vec<(String, Rect)> {
    fn collect(shape: &Shape, found: &mut Vec<(String, Rect)>) {
        match shape {
            Shape::Text(text) => found.push((text.galley.text().to_owned(), shape.visual_bounding_rect())),
            Shape::Vec(shapes) => shapes.iter().for_each(|shape| collect(shape, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    harness.output().shapes.iter().for_each(|clipped| collect(&clipped.shape, &mut found));
    found
}

/// The labels below a chart from left to right, and beside it from bottom to top.
fn labels(harness: &Harness<'_>, title: &str) -> [Vec<(String, Rect)>; 2] {
    let chart = harness.get_by_label(&format!("Chart of {title}")).rect();
    let (mut below, mut beside) = (Vec::new(), Vec::new());
    for (text, rect) in texts(harness) {
        if rect.top() >= chart.bottom() - 1.0 {
            below.push((text, rect));
        } else if rect.right() <= chart.left() + 1.0 && rect.bottom() > chart.top() {
            beside.push((text, rect));
        }
    }
    below.sort_by(|a, b| a.1.left().total_cmp(&b.1.left()));
    beside.sort_by(|a, b| b.1.top().total_cmp(&a.1.top()));
    [below, beside]
}

#[test]
fn each_axis_has_three_labels_or_more_that_differ_and_do_not_meet() {
    let cases: [(&str, Vec<f64>); 16] = [
        ("a constant", vec![0.5; 50]),
        ("zero", vec![0.0; 50]),
        ("a great constant", vec![-3.2e12; 20]),
        ("a small constant", vec![4e-9; 20]),
        ("one point", vec![0.25]),
        ("nothing but NaN", vec![f64::NAN; 30]),
        ("nothing but infinities", vec![f64::INFINITY, f64::NEG_INFINITY]),
        ("nothing", Vec::new()),
        ("differences of 1e-7", (0..40).map(|step| 0.593_147_1 + 1e-8 * f64::from(step % 11)).collect()),
        ("differences of doubles", (0..40).map(|step| 1.0 + f64::EPSILON * f64::from(step)).collect()),
        ("a loss", (0..400).map(|step| 2.3 / (1.0 + f64::from(step) / 20.0)).collect()),
        ("an accuracy", (0..10).map(|step| f64::from(step) / 10.0).collect()),
        ("many powers of ten", (0..60).map(|step| 10f64.powi(step - 20)).collect()),
        ("the ends of doubles", vec![f64::MAX, f64::MIN, 0.0, f64::MIN_POSITIVE]),
        ("a NaN among others", vec![1.0, f64::NAN, 1.5]),
        ("many steps", (0..3_000).map(|step| f64::from(step) * 1e4).collect()),
    ];
    for (what, values) in cases {
        let lines = [buckets(values)];
        for size in [vec2(320.0, 180.0), vec2(900.0, 560.0)] {
            for logarithmic in [false, true] {
                for axis in [Axis::Step, Axis::Relative] {
                    let look = Look { axis, logarithmic, ..Look::default() };
                    let harness = drawn("loss", size, look, &lines);
                    for found in labels(&harness, "loss") {
                        let told = format!("{what}, {look:?}, {size:?}: {found:?}");
                        assert!(found.len() >= 3, "{told}");
                        for pair in found.windows(2) {
                            assert_ne!(pair[0].0, pair[1].0, "{told}");
                            assert!(!pair[0].1.intersects(pair[1].1), "{told}");
                        }
                        assert!(found.iter().all(|(text, _)| text.parse::<f64>().is_ok()), "{told}");
                    }
                }
            }
        }
    }
}

#[test]
fn equal_values_lie_in_the_middle_of_their_axis() {
    for value in [0.5, -7e8, 3e-6, 0.0] {
        let lines = [buckets([value; 9])];
        let harness = drawn("loss", vec2(500.0, 300.0), Look::default(), &lines);
        let [_, beside] = labels(&harness, "loss");
        let chart = harness.get_by_label("Chart of loss").rect();
        let at = |rect: Rect| (chart.bottom() - rect.center().y) / chart.height();
        let (text, place) =
            beside.iter().map(|(text, rect)| (text, at(*rect))).find(|(text, _)| text.parse() == Ok(value)).unwrap();
        assert!((place - 0.5).abs() < 0.02, "{text} at {place}: {beside:?}");
    }
}

#[test]
fn a_long_title_takes_no_other_room_than_a_short_one() {
    let lines = [buckets((0..100).map(f64::from)), buckets([f64::NAN, 1.0, 2.0])];
    let long = ["validation/".repeat(11), "W".repeat(300), "a metric of several words ".repeat(5), "ß é".repeat(60)];
    for lines in [&lines[..1], &lines[..]] {
        for size in [vec2(300.0, 180.0), vec2(700.0, 300.0)] {
            let chart = |title: &str| {
                let harness = drawn(title, size, Look::default(), lines);
                let window = Rect::from_min_size(egui::Pos2::ZERO, size + vec2(40.0, 40.0));
                for (text, rect) in texts(&harness) {
                    assert!(window.contains_rect(rect), "{text:?} at {rect:?} of {window:?}");
                }
                // Title and chart, each by its full name.
                assert_eq!(harness.query_all_by_label(title).count(), 1);
                harness.get_by_label(&format!("Chart of {title}")).rect()
            };
            let right = chart("loss");
            for title in &long {
                assert_eq!(chart(title), right, "{title}");
            }
        }
    }
}

#[test]
fn a_short_chart_beside_a_long_one_is_no_zoom() {
    let (long, short) = (buckets((0..3_000).map(f64::from)), buckets((0..25).map(f64::from)));
    let spoiled = buckets([f64::NAN; 500]);
    let mut frames = 0;
    let mut harness = Harness::new_ui(|ui| {
        frames += 1;
        if frames == 1 {
            // Fonts load on the next frame.
            return crate::tokens::install(ui.ctx());
        }
        for (title, buckets) in [("long", &long), ("short", &short), ("spoiled", &spoiled)] {
            let line = Series { name: title, color: Color32::RED, buckets };
            assert_eq!(chart_ui(ui, title, "group", 200.0, Look::default(), &[line]), None);
        }
    });
    harness.run();
    harness.step();
    drop(harness);
    assert!(frames > 2);
}
