//! All colours, sizes and fonts of the interface.
#![expect(clippy::disallowed_methods, reason = "this is the one file that names colours")]

use assay_domain::RunStatus;
use egui::{Color32, CornerRadius, FontData, FontDefinitions, FontFamily, FontId, Stroke, TextStyle, Theme};
use std::sync::Arc;

/// The grid: all distances are multiples.
pub(crate) const GRID: f32 = 4.0;
/// Corners of buttons and cards.
pub(crate) const RADIUS: u8 = 6;
/// Height of a table row.
pub(crate) const ROW: f32 = 28.0;
/// Width of the rail.
pub(crate) const RAIL: f32 = 76.0;

/// The colours of a theme.
#[derive(Clone, Copy)]
pub(crate) struct Tokens {
    pub(crate) background: Color32,
    pub(crate) panel: Color32,
    pub(crate) raised: Color32,
    pub(crate) hovered: Color32,
    pub(crate) line: Color32,
    pub(crate) text: Color32,
    pub(crate) weak: Color32,
    pub(crate) accent: Color32,
    pub(crate) on_accent: Color32,
    pub(crate) good: Color32,
    pub(crate) warning: Color32,
    pub(crate) bad: Color32,
}

const DARK: Tokens = Tokens {
    background: Color32::from_rgb(0x12, 0x14, 0x18),
    panel: Color32::from_rgb(0x17, 0x1a, 0x1f),
    raised: Color32::from_rgb(0x20, 0x24, 0x2b),
    hovered: Color32::from_rgb(0x2a, 0x2f, 0x38),
    line: Color32::from_rgb(0x2b, 0x30, 0x39),
    text: Color32::from_rgb(0xe4, 0xe7, 0xeb),
    weak: Color32::from_rgb(0x9b, 0xa4, 0xb1),
    accent: Color32::from_rgb(0x5a, 0xa2, 0xf5),
    on_accent: Color32::from_rgb(0x0b, 0x14, 0x20),
    good: Color32::from_rgb(0x3f, 0xbf, 0x8a),
    warning: Color32::from_rgb(0xe8, 0xa8, 0x3c),
    bad: Color32::from_rgb(0xf0, 0x6b, 0x5f),
};

const LIGHT: Tokens = Tokens {
    background: Color32::from_rgb(0xff, 0xff, 0xff),
    panel: Color32::from_rgb(0xf6, 0xf7, 0xf9),
    raised: Color32::from_rgb(0xec, 0xee, 0xf2),
    hovered: Color32::from_rgb(0xe0, 0xe4, 0xea),
    line: Color32::from_rgb(0xdd, 0xe1, 0xe7),
    text: Color32::from_rgb(0x1b, 0x1f, 0x26),
    weak: Color32::from_rgb(0x5c, 0x66, 0x74),
    accent: Color32::from_rgb(0x1f, 0x6f, 0xd6),
    on_accent: Color32::from_rgb(0xff, 0xff, 0xff),
    good: Color32::from_rgb(0x14, 0x85, 0x5a),
    warning: Color32::from_rgb(0xa8, 0x6a, 0x00),
    bad: Color32::from_rgb(0xc6, 0x3a, 0x2e),
};

/// Okabe and Ito's palette (2008), which survives colour blindness, lightened for the dark theme where it must be.
const SERIES: [(Color32, Color32); 8] = [
    (Color32::from_rgb(0x56, 0xb4, 0xe9), Color32::from_rgb(0x00, 0x72, 0xb2)),
    (Color32::from_rgb(0xf0, 0x8a, 0x3c), Color32::from_rgb(0xd5, 0x5e, 0x00)),
    (Color32::from_rgb(0x2f, 0xbf, 0x93), Color32::from_rgb(0x00, 0x8a, 0x65)),
    (Color32::from_rgb(0xdf, 0x8f, 0xbf), Color32::from_rgb(0xb4, 0x5c, 0x90)),
    (Color32::from_rgb(0xec, 0xd7, 0x4a), Color32::from_rgb(0xb3, 0x8a, 0x00)),
    (Color32::from_rgb(0x8f, 0x9b, 0xe8), Color32::from_rgb(0x4a, 0x55, 0xb8)),
    (Color32::from_rgb(0xc4, 0x9a, 0x7a), Color32::from_rgb(0x8a, 0x5a, 0x36)),
    (Color32::from_rgb(0xb0, 0xb6, 0xbf), Color32::from_rgb(0x6a, 0x72, 0x7d)),
];

impl Tokens {
    /// The colours of the theme in use.
    pub(crate) fn of(ctx: &egui::Context) -> Tokens {
        match ctx.theme() {
            Theme::Dark => DARK,
            Theme::Light => LIGHT,
        }
    }

    /// The colour of the series at this place.
    pub(crate) fn series(&self, index: usize) -> Color32 {
        let (dark, light) = SERIES[index % SERIES.len()];
        if self.background == DARK.background { dark } else { light }
    }

    /// The colour of a status.
    pub(crate) fn status(&self, status: RunStatus) -> Color32 {
        match status {
            RunStatus::Queued | RunStatus::Stopped => self.weak,
            RunStatus::Running => self.accent,
            RunStatus::Finished => self.good,
            RunStatus::Failed => self.bad,
            RunStatus::Crashed => self.warning,
        }
    }

    /// A colour between two, `share` of the way.
    pub(crate) fn blend(from: Color32, to: Color32, share: f32) -> Color32 {
        from.lerp_to_gamma(to, share.clamp(0.0, 1.0))
    }
}

/// The font of headings and names.
pub(crate) fn strong(size: f32) -> FontId {
    FontId::new(size, FontFamily::Name("strong".into()))
}

/// Fonts and both themes.
pub fn install(ctx: &egui::Context) {
    let mut fonts = FontDefinitions::empty();
    let mut add = |name: &str, bytes: &'static [u8]| {
        fonts.font_data.insert(name.to_owned(), Arc::new(FontData::from_static(bytes)));
    };
    add("regular", include_bytes!("../../assets/fonts/Inter-Regular.otf"));
    add("strong", include_bytes!("../../assets/fonts/Inter-SemiBold.otf"));
    add("mono", include_bytes!("../../assets/fonts/JetBrainsMono-Regular.ttf"));
    let chain = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    fonts.families.insert(FontFamily::Proportional, chain(&["regular", "mono"]));
    fonts.families.insert(FontFamily::Name("strong".into()), chain(&["strong", "mono"]));
    fonts.families.insert(FontFamily::Monospace, chain(&["mono", "regular"]));
    ctx.set_fonts(fonts);
    for (theme, tokens) in [(Theme::Dark, DARK), (Theme::Light, LIGHT)] {
        ctx.style_mut_of(theme, |style| apply(style, &tokens));
    }
}

fn apply(style: &mut egui::Style, tokens: &Tokens) {
    style.text_styles = [
        (TextStyle::Heading, strong(18.0)),
        (TextStyle::Body, FontId::proportional(13.0)),
        (TextStyle::Button, FontId::proportional(13.0)),
        (TextStyle::Small, FontId::proportional(11.5)),
        (TextStyle::Monospace, FontId::monospace(12.0)),
    ]
    .into();
    style.spacing.item_spacing = egui::vec2(2.0 * GRID, 1.5 * GRID);
    style.spacing.button_padding = egui::vec2(2.5 * GRID, 1.0 * GRID);
    style.spacing.interact_size.y = 26.0;
    style.spacing.scroll = egui::style::ScrollStyle::thin();
    style.interaction.selectable_labels = false;
    let visuals = &mut style.visuals;
    visuals.panel_fill = tokens.panel;
    visuals.window_fill = tokens.panel;
    visuals.window_stroke = Stroke::new(1.0, tokens.line);
    visuals.window_corner_radius = CornerRadius::same(10);
    visuals.menu_corner_radius = CornerRadius::same(8);
    visuals.extreme_bg_color = tokens.background;
    visuals.text_edit_bg_color = Some(tokens.raised);
    visuals.faint_bg_color = Tokens::blend(tokens.panel, tokens.raised, 0.5);
    visuals.code_bg_color = tokens.raised;
    visuals.hyperlink_color = tokens.accent;
    visuals.error_fg_color = tokens.bad;
    visuals.warn_fg_color = tokens.warning;
    visuals.weak_text_color = Some(tokens.weak);
    visuals.selection.bg_fill = Tokens::blend(tokens.panel, tokens.accent, 0.35);
    visuals.selection.stroke = Stroke::new(1.0, tokens.text);
    let radius = CornerRadius::same(RADIUS);
    let widgets = &mut visuals.widgets;
    for (state, fill, text) in [
        (&mut widgets.noninteractive, tokens.panel, tokens.text),
        (&mut widgets.inactive, tokens.raised, tokens.text),
        (&mut widgets.hovered, tokens.hovered, tokens.text),
        (&mut widgets.active, tokens.hovered, tokens.text),
        (&mut widgets.open, tokens.hovered, tokens.text),
    ] {
        // What is filled with this (boxes, rails of sliders) must be seen on a panel and on a button.
        state.bg_fill = Tokens::blend(fill, tokens.weak, 0.22);
        state.weak_bg_fill = fill;
        state.fg_stroke = Stroke::new(1.0, text);
        state.bg_stroke = Stroke::NONE;
        state.corner_radius = radius;
        state.expansion = 0.0;
    }
    widgets.noninteractive.bg_stroke = Stroke::new(1.0, tokens.line);
}
