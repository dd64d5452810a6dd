//! Charts of series: a mean line with a band from least to greatest, so that no spike is hidden.

use crate::tokens::{Tokens, strong};
use crate::zoom;
use assay_domain::series::smoothed;
use assay_domain::{Bucket, number};
use egui::{Color32, Id, Label, RichText, Ui};
use egui_plot::{Corner, FilledArea, HoverPosition, Line, Plot, PlotPoint, PlotPoints};

/// The horizontal axis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Axis {
    /// Optimizer steps.
    #[default]
    Step,
    /// Seconds since the first point.
    Relative,
}

/// How charts are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Look {
    pub(crate) axis: Axis,
    pub(crate) smoothing: f64,
    pub(crate) logarithmic: bool,
}

impl Look {
    /// The controls.
    pub(crate) fn look_ui(&mut self, ui: &mut Ui) {
        let tokens = Tokens::of(ui.ctx());
        ui.label(RichText::new("Smoothing").color(tokens.weak));
        let slider = egui::Slider::new(&mut self.smoothing, 0.0..=0.98).show_value(false);
        ui.spacing_mut().slider_width = 90.0;
        ui.add(slider).accessible_name("Smoothing");
        ui.label(RichText::new(format!("{:.2}", self.smoothing)).color(tokens.weak));
        ui.checkbox(&mut self.logarithmic, "Log scale");
        for (axis, name) in [(Axis::Step, "Step"), (Axis::Relative, "Time")] {
            if ui.selectable_label(self.axis == axis, name).clicked() {
                self.axis = axis;
            }
        }
    }
}

/// One line of a chart.
pub(crate) struct Series<'a> {
    pub(crate) name: &'a str,
    pub(crate) color: Color32,
    pub(crate) buckets: &'a [Bucket],
}

/// A chart with its title, as wide as the space and `height` high. Charts of one group share the crosshair and the view.
/// Returns the first and last step in view where the axis counts steps and the view is clearly less than all.
pub(crate) fn chart_ui(
    ui: &mut Ui,
    title: &str,
    group: &str,
    height: f32,
    look: Look,
    series: &[Series<'_>],
) -> Option<(f64, f64)> {
    let tokens = Tokens::of(ui.ctx());
    ui.horizontal(|ui| {
        ui.label(RichText::new(title).font(strong(13.0)));
        let odd = |series: &Series<'_>| series.buckets.iter().map(|bucket| bucket.odd).sum::<u64>();
        let spoiled: Vec<String> = series
            .iter()
            .filter(|series| odd(series) > 0)
            .map(|series| format!("{}: {} NaN or infinite", series.name, odd(series)))
            .collect();
        if !spoiled.is_empty() {
            let total: u64 = series.iter().map(odd).sum();
            let text = RichText::new(format!("{total} values are NaN or infinite")).color(tokens.warning);
            ui.add(Label::new(text).truncate()).on_hover_text(spoiled.join("\n"));
        }
    });
    let scale = |value: f64| if look.logarithmic { value.max(1e-12).log10() } else { value };
    let link = Id::unique(group);
    let mut plot = Plot::new(Id::unique((group, title)))
        .height(height - 26.0)
        .link_cursor(link, [true, false])
        .link_axis(link, [true, false])
        .allow_scroll(false)
        .show_background(false)
        .grid_color(Tokens::blend(tokens.line, tokens.weak, 0.25))
        .grid_spacing(egui::Rangef::new(28.0, 220.0))
        .y_axis_min_width(44.0)
        .set_margin_fraction(egui::vec2(0.02, 0.08))
        .label_formatter(move |position| match position {
            HoverPosition::NearDataPoint { plot_name, position, .. } if !plot_name.is_empty() => {
                let y = if look.logarithmic { 10f64.powf(position.y) } else { position.y };
                Some(format!("{plot_name}\n{} at {}", number(y), position.x.round()))
            }
            _ => None,
        });
    if series.len() > 1 {
        // Losses fall and accuracies rise: the legend stands where the lines leave room.
        let corner = if title.to_lowercase().contains("accuracy") { Corner::RightBottom } else { Corner::RightTop };
        plot = plot.legend(egui_plot::Legend::default().position(corner).background_alpha(0.6));
    }
    if look.logarithmic {
        plot = plot.y_axis_formatter(|mark, _| format!("1e{:.1}", mark.value));
    }
    let response = plot.show(ui, |plot| {
        for series in series {
            let name = shortened(series.name);
            let first_ms = series.buckets.first().map_or(0, |bucket| bucket.wall_ms);
            let x = |bucket: &Bucket| match look.axis {
                Axis::Step => (bucket.step as f64 + bucket.last_step as f64) / 2.0,
                Axis::Relative => (bucket.wall_ms - first_ms) as f64 / 1000.0,
            };
            let finite: Vec<&Bucket> = series.buckets.iter().filter(|bucket| bucket.count > 0).collect();
            let xs: Vec<f64> = finite.iter().map(|bucket| x(bucket)).collect();
            if finite.iter().any(|bucket| bucket.max > bucket.min) {
                let low: Vec<f64> = finite.iter().map(|bucket| scale(bucket.min)).collect();
                let high: Vec<f64> = finite.iter().map(|bucket| scale(bucket.max)).collect();
                plot.add(FilledArea::new("", &xs, &low, &high).fill_color(series.color.gamma_multiply(0.14)));
            }
            if look.smoothing > 0.0 && finite.len() > 2 {
                let raw: PlotPoints<'_> = finite.iter().zip(&xs).map(|(bucket, x)| [*x, scale(bucket.mean)]).collect();
                plot.line(Line::new("", raw).color(series.color.gamma_multiply(0.25)).width(1.0).allow_hover(false));
            }
            let means = smoothed(finite.iter().map(|bucket| bucket.mean), look.smoothing);
            let points: Vec<PlotPoint> = xs.iter().zip(means).map(|(x, y)| PlotPoint::new(*x, scale(y))).collect();
            if let [only] = points.as_slice() {
                plot.points(egui_plot::Points::new(name, vec![[only.x, only.y]]).color(series.color).radius(3.0));
                continue;
            }
            let line = Line::new(name, PlotPoints::Owned(points)).color(series.color).width(1.8);
            plot.line(line);
        }
    });
    response.response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Figure, true, format!("Chart of {title}")));
    let bounds = response.transform.bounds();
    let view = (bounds.min()[0], bounds.max()[0]);
    let is_zoomed = || zoom::is_zoomed(view, series.iter().flat_map(|series| series.buckets));
    (look.axis == Axis::Step && is_zoomed()).then_some(view)
}

/// A name with its middle left out where it is long, so that a legend leaves room for the lines.
fn shortened(name: &str) -> String {
    const LETTERS: usize = 28;
    let letters: Vec<char> = name.chars().collect();
    if letters.len() <= LETTERS {
        return name.to_owned();
    }
    let (begin, end) = (&letters[..LETTERS / 2], &letters[letters.len() - LETTERS / 2 + 1..]);
    begin.iter().chain(&['…']).chain(end).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_domain::Point;

    #[test]
    fn a_short_chart_beside_a_long_one_is_no_zoom() {
        let buckets = |last: i64| -> Vec<Bucket> {
            (0..=last).map(|step| Bucket::of(Point { step, wall_ms: step, value: step as f64 })).collect()
        };
        let (long, short) = (buckets(3_000), buckets(25));
        let mut frames = 0;
        let mut harness = egui_kittest::Harness::new_ui(|ui| {
            frames += 1;
            if frames == 1 {
                // Fonts are there from the next frame on.
                return crate::tokens::install(ui.ctx());
            }
            for (title, buckets) in [("long", &long), ("short", &short)] {
                let line = Series { name: title, color: Color32::RED, buckets };
                assert_eq!(chart_ui(ui, title, "group", 200.0, Look::default(), &[line]), None);
            }
        });
        harness.run();
        harness.step();
        drop(harness);
        assert!(frames > 2);
    }

    #[test]
    fn a_long_name_keeps_its_ends() {
        assert_eq!(shortened("resnet18-3"), "resnet18-3");
        let long = shortened("a-run-with-quite-a-long-name-that-people-give");
        assert_eq!(long, "a-run-with-qui…t-people-give");
        assert_eq!(long.chars().count(), 28);
    }
}
