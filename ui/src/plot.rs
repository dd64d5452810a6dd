//! Charts of series: a mean line with a band from least to greatest, so that no spike is hidden.

use crate::elided::{elided_ui, shortened};
use crate::ticks::{AxisLabels, Scale};
use crate::tokens::{GRID, Tokens, strong};
use crate::zoom;
use assay_domain::series::smoothed;
use assay_domain::{Bucket, number};
use egui::{Color32, Id, Label, Rangef, RichText, Ui};
use egui_plot::{AxisHints, Corner, FilledArea, HoverPosition, Line, Plot, PlotPoint, PlotPoints};

/// Maximum letters of a legend name.
const LEGEND: usize = 28;
/// Distances from which grid lines appear, and are at full strength.
const GRID_LINES: Rangef = Rangef { min: 16.0, max: 220.0 };
/// Larger values are clamped: distances must fit doubles.
const GREATEST: f64 = 1e300;
/// Least value on a logarithmic axis: zero and below have no logarithm.
const LEAST: f64 = 1e-12;

/// The horizontal axis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Axis {
    /// Optimizer steps.
    #[default]
    Step,
    /// Seconds since the first point.
    Relative,
}

impl Axis {
    /// Where a bucket of a series is drawn.
    fn place(self, series: &[Bucket], bucket: &Bucket) -> f64 {
        let first_ms = series.first().map_or(0, |first| first.wall_ms);
        match self {
            Axis::Step => (bucket.step as f64 + bucket.last_step as f64) / 2.0,
            Axis::Relative => (bucket.wall_ms - first_ms) as f64 / 1000.0,
        }
    }

    /// The first and last x of a series, drawable or not.
    fn ends(self, series: &[Bucket]) -> impl Iterator<Item = f64> {
        [series.first(), series.last()].into_iter().flatten().map(move |bucket| self.place(series, bucket))
    }
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
        let odd = |series: &Series<'_>| series.buckets.iter().map(|bucket| bucket.odd).sum::<u64>();
        let spoiled: Vec<String> = series
            .iter()
            .filter(|series| odd(series) > 0)
            .map(|series| format!("{}: {} NaN or infinite", series.name, odd(series)))
            .collect();
        let room = ui.available_width() * if spoiled.is_empty() { 1.0 } else { 0.5 };
        elided_ui(ui, title, strong(13.0), tokens.text, room);
        if !spoiled.is_empty() {
            let total: u64 = series.iter().map(odd).sum();
            let text = RichText::new(format!("{total} values are NaN or infinite")).color(tokens.warning);
            ui.add(Label::new(text).truncate()).on_hover_text(spoiled.join("\n"));
        }
    });
    let scale = |value: f64| {
        if look.logarithmic { value.clamp(LEAST, GREATEST).log10() } else { value.clamp(-GREATEST, GREATEST) }
    };
    let upright = if look.logarithmic { Scale::Logarithmic } else { Scale::Linear };
    let (across, upwards) = (
        AxisLabels::beside_each_other(Scale::Linear, GRID_LINES.min),
        AxisLabels::above_each_other(upright, GRID_LINES.min),
    );
    let link = Id::unique(group);
    let mut plot = Plot::new(Id::unique((group, title)))
        .height(height - 26.0)
        .link_cursor(link, [true, false])
        .link_axis(link, [true, false])
        .allow_scroll(false)
        .show_background(false)
        .grid_color(Tokens::blend(tokens.line, tokens.weak, 0.25))
        .grid_spacing(GRID_LINES)
        .x_grid_spacer(|input| across.marks(&input))
        .y_grid_spacer(|input| upwards.marks(&input))
        .custom_x_axes(vec![labelled(AxisHints::new_x(), &across, tokens.weak)])
        .custom_y_axes(vec![labelled(AxisHints::new_y(), &upwards, tokens.weak).min_thickness(11.0 * GRID)])
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
    let buckets = || series.iter().flat_map(|series| series.buckets);
    let values = buckets().filter(|bucket| bucket.count > 0).flat_map(|bucket| [scale(bucket.min), scale(bucket.max)]);
    for y in spread(values, upright).into_iter().flatten() {
        plot = plot.include_y(y);
    }
    let ends: Vec<f64> = series.iter().flat_map(|series| look.axis.ends(series.buckets)).collect();
    let around = spread(ends.iter().copied(), Scale::Linear);
    for x in ends.into_iter().chain(around.into_iter().flatten()) {
        plot = plot.include_x(x);
    }
    let response = plot.show(ui, |plot| {
        for series in series {
            let name = shortened(series.name, LEGEND);
            let finite: Vec<&Bucket> = series.buckets.iter().filter(|bucket| bucket.count > 0).collect();
            let xs: Vec<f64> = finite.iter().map(|bucket| look.axis.place(series.buckets, bucket)).collect();
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
    let is_zoomed = || zoom::is_zoomed(view, buckets());
    (look.axis == Axis::Step && is_zoomed()).then_some(view)
}

/// An axis that draws all its labels: they are few enough.
fn labelled<'a>(axis: AxisHints<'a>, labels: &'a AxisLabels, color: Color32) -> AxisHints<'a> {
    axis.label_spacing(Rangef::new(0.0, 1.0)).tick_label_color(color).formatter(move |mark, _| labels.text(mark))
}

/// Axis limits for values that are equal, or hardly distinct as doubles, with equal values in the middle. `None` if the
/// values span enough.
fn spread(values: impl Iterator<Item = f64>, scale: Scale) -> Option<[f64; 2]> {
    let (first, last) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(first, last), value| (first.min(value), last.max(value)));
    let size = match scale {
        Scale::Linear => first.abs().max(last.abs()),
        Scale::Logarithmic => 1.0,
    };
    if first > last {
        return None;
    }
    let half = match last - first {
        0.0 if size == 0.0 => 1.0,
        0.0 => 0.1 * size,
        width if width < 1e-9 * size => 1e-9 * size,
        _ => return None,
    };
    let middle = first + (last - first) / 2.0;
    Some([middle - half, middle + half])
}

#[cfg(test)]
mod tests;
