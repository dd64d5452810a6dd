//! Charts as SVG, for reports.

use crate::{Engine, EngineError, Result};
use assay_protocol::SeriesQuery;
use plotters::prelude::*;

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
        let series = self.series(query)?;
        let finite = series.iter().flat_map(|series| &series.buckets).filter(|bucket| bucket.count > 0);
        let (mut steps, mut values) = ((i64::MAX, i64::MIN), (f64::INFINITY, f64::NEG_INFINITY));
        for bucket in finite {
            steps = (steps.0.min(bucket.step), steps.1.max(bucket.last_step));
            values = (values.0.min(bucket.min), values.1.max(bucket.max));
        }
        if steps.0 > steps.1 {
            return Err(EngineError::NotFound(format!("none of these runs has a value of {:?}", query.key)));
        }
        let room = ((values.1 - values.0) * 0.05).max(1e-9);
        let mut names = Vec::new();
        for series in &series {
            names.push(self.run(series.run)?.name);
        }
        let mut svg = String::new();
        draw(&mut svg, &query.key, steps, (values.0 - room, values.1 + room), &series, &names)
            .map_err(|why| EngineError::Internal(format!("the chart cannot be drawn: {why}")))?;
        Ok(svg)
    }
}

fn draw(
    svg: &mut String,
    key: &str,
    steps: (i64, i64),
    values: (f64, f64),
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
        .build_cartesian_2d(steps.0 as f64..(steps.1 as f64).max(steps.0 as f64 + 1.0), values.0..values.1)?;
    chart.configure_mesh().x_desc("step").light_line_style(WHITE).draw()?;
    for (index, (series, name)) in series.iter().zip(names).enumerate() {
        let color = COLORS[index % COLORS.len()];
        let finite = || series.buckets.iter().filter(|bucket| bucket.count > 0);
        let middle = |bucket: &assay_domain::Bucket| (bucket.step as f64 + bucket.last_step as f64) / 2.0;
        let upper = finite().map(|bucket| (middle(bucket), bucket.max));
        let lower = finite().rev().map(|bucket| (middle(bucket), bucket.min));
        chart.draw_series(std::iter::once(Polygon::new(upper.chain(lower).collect::<Vec<_>>(), color.mix(0.15))))?;
        chart
            .draw_series(LineSeries::new(finite().map(|bucket| (middle(bucket), bucket.mean)), color.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
    }
    chart.configure_series_labels().border_style(WHITE).background_style(WHITE.mix(0.8)).draw()?;
    root.present()?;
    Ok(())
}
