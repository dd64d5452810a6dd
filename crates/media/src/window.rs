//! Maps samples of more than 8 bits, signed or float, to 8 bits through a window taken from the image.

use image::RgbImage;

/// The channels shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Grey,
    GreyAlpha,
    Rgb,
    RgbAlpha,
}

impl Shape {
    fn colors(self) -> usize {
        match self {
            Shape::Grey | Shape::GreyAlpha => 1,
            Shape::Rgb | Shape::RgbAlpha => 3,
        }
    }

    fn has_alpha(self) -> bool {
        matches!(self, Shape::GreyAlpha | Shape::RgbAlpha)
    }
}

/// The order of samples in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// By pixel.
    Interleaved,
    /// By channel.
    Planar,
}

/// Decoded samples, `channels` per pixel; the first ones are shown.
pub(crate) struct Raster<'a> {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) channels: usize,
    pub(crate) shape: Shape,
    pub(crate) layout: Layout,
    pub(crate) samples: Samples<'a>,
    /// The value of samples without data: black, and not counted for the window. Ignored for bytes.
    pub(crate) no_data: Option<f64>,
}

/// Samples of any type, read one by one through a closure, so that the window code is compiled once.
pub(crate) struct Samples<'a> {
    kind: SampleKind,
    /// Alpha value of opaque.
    opaque: f64,
    count: usize,
    value: Box<dyn Fn(usize) -> f64 + 'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SampleKind {
    /// Unsigned in 8 bits: shown as they are.
    Byte,
    Unsigned,
    Signed,
    Float,
}

macro_rules! samples {
    ($($type:ty, $kind:ident, $opaque:expr;)*) => {
        $(impl<'a> From<&'a [$type]> for Samples<'a> {
            fn from(samples: &'a [$type]) -> Samples<'a> {
                let value = Box::new(|index: usize| samples[index] as f64);
                Samples { kind: SampleKind::$kind, opaque: $opaque as f64, count: samples.len(), value }
            }
        })*
    };
}

samples! {
    u8, Byte, u8::MAX;
    u16, Unsigned, u16::MAX;
    u32, Unsigned, u32::MAX;
    u64, Unsigned, u64::MAX;
    i8, Signed, i8::MAX;
    i16, Signed, i16::MAX;
    i32, Signed, i32::MAX;
    i64, Signed, i64::MAX;
    f32, Float, 1.0;
    f64, Float, 1.0;
}

impl Raster<'_> {
    /// The image in 8 bits: `255 (value - low) / (high - low)`, with low and high of its [`Window`]. Transparency is
    /// composed over white.
    pub(crate) fn shown(&self) -> Result<RgbImage, String> {
        let pixels = self.width as usize * self.height as usize;
        let colors = self.shape.colors();
        if self.samples.count < pixels * self.channels || self.channels < colors {
            return Err("it has fewer samples than its size says".into());
        }
        let at = |pixel: usize, channel: usize| match self.layout {
            Layout::Interleaved => (self.samples.value)(pixel * self.channels + channel),
            Layout::Planar => (self.samples.value)(channel * pixels + pixel),
        };
        let color = |pixel: usize, channel: usize| {
            let value = at(pixel, channel);
            if self.is_no_data(value) { f64::NAN } else { value }
        };
        let window =
            Window::of(self.samples.kind, pixels * colors, colors, &|index| color(index / colors, index % colors));
        let mut bytes = Vec::with_capacity(pixels * 3);
        let opaque = self.opaque(&window, pixels, &at);
        for pixel in 0..pixels {
            let alpha = opaque.map_or(1.0, |opaque| (at(pixel, colors) / opaque).clamp(0.0, 1.0));
            let shade = |channel: usize| {
                let shade = window.shade(color(pixel, channel));
                (255.0 * (shade * alpha + 1.0 - alpha)).round() as u8
            };
            match colors {
                1 => bytes.extend([shade(0); 3]),
                _ => bytes.extend([shade(0), shade(1), shade(2)]),
            }
        }
        RgbImage::from_raw(self.width, self.height, bytes).ok_or_else(|| "its size does not fit into memory".into())
    }

    /// Floats are compared in 32 bits, since the value is written as a decimal text; bytes are shown as they are.
    fn is_no_data(&self, value: f64) -> bool {
        self.no_data.is_some_and(|no_data| match self.samples.kind {
            SampleKind::Byte => false,
            SampleKind::Unsigned | SampleKind::Signed => value == no_data,
            SampleKind::Float => value as f32 == no_data as f32,
        })
    }

    /// The alpha of opaque pixels: the type's maximum, or that of the window if all alphas fit it, e.g. 12 bits stored
    /// in 16. `None` without alpha, and where no pixel is visible: the writer left it unset.
    fn opaque(&self, window: &Window, pixels: usize, at: &dyn Fn(usize, usize) -> f64) -> Option<f64> {
        if !self.shape.has_alpha() || self.channels <= self.shape.colors() {
            return None;
        }
        let most = (0..pixels).map(|pixel| at(pixel, self.shape.colors())).fold(0.0, f64::max);
        if most <= 0.0 {
            return None;
        }
        let full = if self.samples.kind == SampleKind::Float && most > 1.0 { 255.0 } else { self.samples.opaque };
        // Alpha has at least 8 bits also beside colours of fewer.
        let high = if self.samples.kind == SampleKind::Float { window.high } else { window.high.max(255.0) };
        Some(if window.low == 0.0 && most <= high { high.min(full) } else { full })
    }
}

/// The values mapped to black and white.
///
/// Let p be the interval of 99.8 % of all samples, so that dead or hot pixels have no effect.
///
/// * Unsigned integers in 8 bits: 0 to 255, as they are.
/// * Other integers from 0 on: 0 to 2^k - 1, k being the smallest number of bits that the largest value fits: 12 bits
///   of a sensor in 16 are shown as 12 bits, an image that uses all 16 as 16, and classes from 0 to 15 as 4. Where p
///   needs 3 bits less than the largest value, k is that of p, but at least 8; a plain area has at least 8, too.
/// * Floats: 0 to 1 where p lies within it, else 0 to 255 where p lies within that (2 % of overshoot is allowed); else
///   p.
/// * Integers below zero: p.
/// * Where p covers less than an eighth of such a window (a thermal image, an offset), the window is p.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Window {
    low: f64,
    high: f64,
}

/// Samples inspected for p.
const LOOKED_AT: usize = 200_000;
/// Share of samples outside p at each end.
const BEYOND: f64 = 0.001;

impl Window {
    /// For `count` samples, `colors` per pixel.
    fn of(kind: SampleKind, count: usize, colors: usize, at: &dyn Fn(usize) -> f64) -> Window {
        if kind == SampleKind::Byte {
            return Window { low: 0.0, high: 255.0 };
        }
        let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in (0..count).map(at).filter(|value| value.is_finite()) {
            least = least.min(value);
            most = most.max(value);
        }
        if least > most {
            return Window { low: 0.0, high: 1.0 };
        }
        let mut some: Vec<f64> = (0..count).step_by(step(count, colors)).map(at).filter(|v| v.is_finite()).collect();
        some.sort_by(f64::total_cmp);
        let place = |share: f64| some.get((share * (some.len() as f64 - 1.0)).round() as usize).copied();
        let (low, high) = (place(BEYOND).unwrap_or(least), place(1.0 - BEYOND).unwrap_or(most));
        let window = match kind {
            SampleKind::Float => of_floats(low, high),
            _ if least >= 0.0 => Some(of_whole_numbers(least, high, most)),
            _ => None,
        };
        let is_narrow = |window: &Window| high > low && high - low < (window.high - window.low) / 8.0;
        match window {
            Some(window) if !is_narrow(&window) => window,
            _ if high > low => Window { low, high },
            _ if most > least => Window { low: least, high: most },
            _ => Window { low: least.min(0.0), high: most.max(0.0) },
        }
    }

    /// Maps to 0 (black) to 1 (white); NaN is black.
    fn shade(&self, value: f64) -> f64 {
        let shade = (value - self.low) / (self.high - self.low);
        if shade.is_nan() { if value > self.low { 1.0 } else { 0.0 } } else { shade.clamp(0.0, 1.0) }
    }
}

fn of_whole_numbers(least: f64, high: f64, most: f64) -> Window {
    let bits = |value: f64, fewest: i32| (fewest..64).find(|bits| value < f64::from(*bits).exp2()).unwrap_or(64);
    let (all, usual) = (bits(most, if most > least { 1 } else { 8 }), bits(high, 8));
    let bits = if all >= usual + 3 { usual } else { all };
    Window { low: 0.0, high: f64::from(bits).exp2() - 1.0 }
}

fn of_floats(low: f64, high: f64) -> Option<Window> {
    let fits = |full: &f64| low >= -0.02 * (high - low) && high <= 1.02 * full;
    [1.0, 255.0].into_iter().find(fits).map(|high| Window { low: 0.0, high })
}

/// A stride coprime to the samples per pixel, so that every channel is met.
fn step(count: usize, colors: usize) -> usize {
    let least = count.div_ceil(LOOKED_AT).max(1);
    // Odd, and no multiple of 3 if that matters; so it follows no pixel column either.
    (least..).find(|step| *step == 1 || (step % 2 == 1 && (colors == 1 || !step.is_multiple_of(3)))).unwrap_or(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown<'a, T>(values: &'a [T], width: u32, shape: Shape) -> Vec<u8>
    where
        Samples<'a>: From<&'a [T]>,
    {
        let channels = shape.colors() + usize::from(shape.has_alpha());
        let samples = Samples::from(values);
        let height = (samples.count / channels) as u32 / width;
        let raster = Raster { width, height, channels, shape, layout: Layout::Interleaved, samples, no_data: None };
        raster.shown().unwrap().into_raw().chunks(3).map(|pixel| pixel[0]).collect()
    }

    /// A linear ramp.
    fn ramp(from: f64, to: f64) -> impl Iterator<Item = f64> {
        (0..4096).map(move |step| from + (to - from) * f64::from(step) / 4095.0)
    }

    #[track_caller]
    fn is_full_range(shown: &[u8]) {
        let (first, last) = (shown[0], shown[shown.len() - 1]);
        assert!(first <= 1 && last >= 254 && shown.is_sorted(), "{first} to {last}");
    }

    #[test]
    fn whole_numbers_are_shown_by_the_bits_that_they_use() {
        for bits in [10, 12, 14, 16] {
            let values: Vec<u16> = ramp(0.0, f64::from((1u32 << bits) - 1)).map(|value| value as u16).collect();
            is_full_range(&shown(&values, 64, Shape::Grey));
        }
        let bytes: Vec<u16> = (0..256).collect();
        assert_eq!(shown(&bytes, 16, Shape::Grey), (0..=255).collect::<Vec<u8>>());
        let large: Vec<u32> = ramp(0.0, 4e9).map(|value| value as u32).collect();
        assert!(*shown(&large, 64, Shape::Grey).last().unwrap() > 230);
        // An image that uses all bits is scaled by them.
        assert_eq!(shown(&[0u16, 257, 32896, 65535], 2, Shape::Grey), [0, 1, 128, 255]);
    }

    #[test]
    fn a_hot_pixel_hides_nothing() {
        let mut values: Vec<u16> = ramp(0.0, 4095.0).map(|value| value as u16).collect();
        values[7] = u16::MAX;
        assert_eq!(shown(&values, 64, Shape::Grey)[4095], 255);
        let mut values: Vec<f32> = ramp(0.0, 1.0).map(|value| value as f32).collect();
        values[7] = 1e30;
        let shown = shown(&values, 64, Shape::Grey);
        assert_eq!((shown[0], shown[2048], shown[4095]), (0, 128, 255));
    }

    #[test]
    fn offsets_and_signed_values_are_shown_from_their_least_to_their_most() {
        let thermal: Vec<u16> = ramp(30_000.0, 31_000.0).map(|value| value as u16).collect();
        is_full_range(&shown(&thermal, 64, Shape::Grey));
        let hounsfield: Vec<i16> = ramp(-1024.0, 3071.0).map(|value| value as i16).collect();
        is_full_range(&shown(&hounsfield, 64, Shape::Grey));
        let height: Vec<f64> = ramp(-12.5, 8848.0).collect();
        is_full_range(&shown(&height, 64, Shape::Grey));
    }

    #[test]
    fn floats_from_0_to_1_and_to_255_keep_their_shades() {
        let unit = shown(&[0.0f32, 0.25, 0.5, 1.0], 2, Shape::Grey);
        assert_eq!(unit, [0, 64, 128, 255]);
        let bytes = shown(&[0.0f64, 10.0, 128.0, 200.0], 2, Shape::Grey);
        assert_eq!(bytes, [0, 10, 128, 200]);
    }

    #[test]
    fn what_is_no_number_is_black_and_infinity_is_an_end() {
        let values = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.5, 1.0, 0.0];
        assert_eq!(shown(&values, 2, Shape::Grey), [0, 255, 0, 128, 255, 0]);
        assert_eq!(shown(&[f32::NAN; 4], 2, Shape::Grey), [0; 4]);
        assert_eq!(shown(&[7u16; 4], 2, Shape::Grey), [7; 4]);
    }

    #[test]
    fn transparent_parts_are_white_also_where_12_bits_are_stored() {
        let values = [0u16, 4095, 0, 0, 2048, 4095, 4095, 4095];
        assert_eq!(shown(&values, 2, Shape::GreyAlpha), [0, 255, 128, 255]);
        let values = [0u16, 65535, 0, 0, 65535, 65535, 65535, 65535];
        assert_eq!(shown(&values, 2, Shape::GreyAlpha), [0, 255, 255, 255]);
    }

    #[test]
    fn few_values_in_16_bits_are_visible() {
        for (from, to) in [(0.0, 15.0), (0.0, 127.0), (1000.0, 1010.0), (0.0, 1.0)] {
            let values: Vec<u16> = ramp(from, to).map(|value| value.round() as u16).collect();
            is_full_range(&shown(&values, 64, Shape::Grey));
        }
        assert_eq!(shown(&[0u16, 25, 50, 100], 2, Shape::Grey), [0, 50, 100, 201]);
        // 8 bits stay as they are, however dark.
        assert_eq!(shown(&[0u8, 1, 2, 15], 2, Shape::Grey), [0, 1, 2, 15]);
        assert_eq!(shown(&[15u16, 255, 0, 255], 2, Shape::GreyAlpha), [255, 0]);
    }

    #[test]
    fn alpha_that_is_zero_everywhere_is_taken_as_unset() {
        assert_eq!(shown(&[10u8, 0, 200, 0], 2, Shape::GreyAlpha), [10, 200]);
        assert_eq!(shown(&[10u8, 0, 200, 255], 2, Shape::GreyAlpha), [255, 200]);
        assert_eq!(shown(&[0.0f32, 0.0, 1.0, 0.0], 2, Shape::GreyAlpha), [0, 255]);
    }

    #[test]
    fn pixels_without_data_are_black_and_do_not_stretch_the_window() {
        fn shown<'a, T>(values: &'a [T], no_data: f64) -> Vec<u8>
        where
            Samples<'a>: From<&'a [T]>,
        {
            let (layout, samples) = (Layout::Interleaved, Samples::from(values));
            let no_data = Some(no_data);
            let raster = Raster { width: 2, height: 2, channels: 1, shape: Shape::Grey, layout, samples, no_data };
            raster.shown().unwrap().into_raw().chunks(3).map(|pixel| pixel[0]).collect()
        }
        assert_eq!(shown(&[-9999.0f32, 100.0, 200.0, 300.0], -9999.0), [0, 0, 128, 255]);
        assert_eq!(shown(&[f32::MIN, 100.0, 200.0, 300.0], -3.402_823_466_385_288_6e38), [0, 0, 128, 255]);
        assert_eq!(shown(&[-32768i16, -100, 0, 100], -32768.0), [0, 0, 128, 255]);
        assert_eq!(shown(&[65535u16, 0, 500, 1000], 65535.0), [0, 0, 125, 249]);
    }
}
