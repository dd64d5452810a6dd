//! Charts as SVG, for reports.

use crate::runs::numbers;
use crate::{Engine, EngineError, Result};
use assay_protocol::SeriesQuery;
use plotters::prelude::*;
use std::ops::Range;

/// Okabe and Ito's palette (2008), which survives colour blindness; the interface uses the same.
const COLORS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(120, 120, 120),
];

impl Engine {
    /// One metric of the runs over the steps, mean line and min-max band.
    pub fn chart_svg(&self, query: &SeriesQuery) -> Result<String> {
        if query.key.is_empty() {
            return Err(EngineError::Invalid("name the metric, as in key=val/loss".into()));
        }
        self.check_metric(&numbers(&query.runs)?, &query.key)?;
        let series = self.series(query)?;
        let finite = series.iter().flat_map(|series| &series.buckets).filter(|bucket| bucket.count > 0);
        let (mut steps, mut values) = ((i64::MAX, i64::MIN), (f64::INFINITY, f64::NEG_INFINITY));
        for bucket in finite {
            steps = (steps.0.min(bucket.step), steps.1.max(bucket.last_step));
            values = (values.0.min(bucket.min), values.1.max(bucket.max));
        }
        if steps.0 > steps.1 {
            return Err(EngineError::NotFound(format!("{:?} has no finite value in these runs and steps", query.key)));
        }
        let mut names = Vec::new();
        for series in &series {
            names.push(self.run(series.run)?.name);
        }
        let mut svg = String::new();
        let (steps, values) =
            (axis(steps.0 as f64, (steps.1 as f64).max(steps.0 as f64 + 1.0), 0.0), axis(values.0, values.1, 0.05));
        draw(&mut svg, &query.key, steps, values, &series, &names)
            .map_err(|why| EngineError::Internal(format!("the chart cannot be drawn: {why}")))?;
        Ok(svg)
    }
}

/// What an axis shows of values from `low` to `high` with this share of them as room on both sides: never so little, beside
/// the numbers themselves, that marks on it fall together, nor so much that it has no length.
fn axis(low: f64, high: f64, room: f64) -> Range<f64> {
    const MOST: f64 = 1e300;
    const LEAST: f64 = 1e-9;
    let (low, high) = (low.clamp(-MOST, MOST), high.clamp(-MOST, MOST));
    let least = low.abs().max(high.abs()).max(1.0) * LEAST;
    let room = (high - low) * room;
    match high - low < least {
        true => low - least..high + least,
        false => low - room..high + room,
    }
}

fn draw(
    svg: &mut String,
    key: &str,
    steps: Range<f64>,
    values: Range<f64>,
    series: &[assay_protocol::SeriesReply],
    names: &[String],
) -> Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::with_string(svg, (960, 540)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(key, ("sans-serif", 22))
        .margin(16)
        .x_label_area_size(40)
        .y_label_area_size(64)
        .build_cartesian_2d(steps, values.clone())?;
    chart.configure_mesh().x_desc("step").light_line_style(WHITE).draw()?;
    for (index, (series, name)) in series.iter().zip(names).enumerate() {
        let color = COLORS[index % COLORS.len()];
        let finite = || series.buckets.iter().filter(|bucket| bucket.count > 0);
        let middle = |bucket: &assay_domain::Bucket| (bucket.step as f64 + bucket.last_step as f64) / 2.0;
        let shown = |value: f64| value.clamp(values.start, values.end);
        let upper = finite().map(|bucket| (middle(bucket), shown(bucket.max)));
        let lower = finite().rev().map(|bucket| (middle(bucket), shown(bucket.min)));
        chart.draw_series(std::iter::once(Polygon::new(upper.chain(lower).collect::<Vec<_>>(), color.mix(0.15))))?;
        chart
            .draw_series(LineSeries::new(
                finite().map(|bucket| (middle(bucket), shown(bucket.mean))),
                color.stroke_width(2),
            ))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
    }
    chart.configure_series_labels().border_style(WHITE).background_style(WHITE.mix(0.8)).draw()?;
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_axis_has_a_length_beside_its_numbers() {
        let ends = [0.0, 1e-30, 1.0, 1.7e12, -1.7e12, 1e300, f64::MAX, f64::MIN, i64::MAX as f64, i64::MIN as f64];
        for low in ends {
            for high in ends.into_iter().filter(|high| *high >= low) {
                let axis = axis(low, high, 0.05);
                let length = axis.end - axis.start;
                assert!(length.is_finite() && length >= axis.start.abs().max(axis.end.abs()) * 1e-9, "{low} to {high}");
            }
        }
        assert_eq!(axis(0.0, 10.0, 0.05), -0.5..10.5);
    }
}
