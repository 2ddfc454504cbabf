//! Small pictures for the page: a frame with its saturated samples tinted, its histogram, and the stack of slices with what is missing.

use crate::codec::{DecodeError, Pool, samples};
use crate::exam::geometry::Stack;
use crate::retrieve::pictures::Format;
use crate::retrieve::{Object, encode, picture};
use image::imageops::FilterType;
use image::{DynamicImage, Rgb};
use maud::{Markup, html};

/// Longer side of a thumbnail, pixels.
const SIDE: u32 = 256;
/// Bars of a histogram.
const BARS: usize = 64;

/// A thumbnail as PNG: samples at the top of the range red, at the bottom blue; and the histogram, each bar from 0 to 1.
pub struct Thumbnail {
    /// PNG.
    pub png: Vec<u8>,
    /// Shares of the fullest bar; empty for colour.
    pub histogram: Vec<f64>,
}

/// The first frame of an object.
///
/// # Errors
/// It does not decode.
pub fn thumbnail(object: &Object, number: u32, pool: &Pool) -> Result<Thumbnail, DecodeError> {
    let damaged = |e: &dyn std::fmt::Display| DecodeError::Damaged(e.to_string());
    let layout = object.layout().map_err(|e| damaged(&e))?;
    let mut shown = picture(object, number, None, pool)?.into_rgb8();
    let mut histogram = Vec::new();
    if layout.is_grey() {
        let frame = object.frame(number, &layout, pool)?;
        let values = samples::read(&frame);
        let range = frame.layout.range();
        let top = plateau(&values).map_or(range.1, |top| top.min(range.1));
        for (pixel, value) in shown.pixels_mut().zip(&values) {
            match i64::from(*value) {
                v if v >= top => *pixel = Rgb([230, 40, 40]),
                v if v <= range.0 => *pixel = Rgb([40, 70, 200]),
                _ => {}
            }
        }
        histogram = bars(&values);
    }
    let small = DynamicImage::from(shown).resize(SIDE, SIDE, FilterType::Triangle);
    Ok(Thumbnail { png: encode(&small, Format::Png).map_err(|e| damaged(&e))?, histogram })
}

/// One sample in so many at the largest value is a plateau: it was cut off there, wherever the range of the bits ends.
const PLATEAU: usize = 100;

/// The largest value where many samples have it.
fn plateau(values: &[i32]) -> Option<i64> {
    let top = values.iter().max()?;
    (values.iter().filter(|v| *v == top).count() > values.len() / PLATEAU).then_some(i64::from(*top))
}

#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a bar below BARS")]
fn bars(values: &[i32]) -> Vec<f64> {
    let (low, high) = values.iter().fold((i32::MAX, i32::MIN), |(l, h), v| (l.min(*v), h.max(*v)));
    let width = (f64::from(high) - f64::from(low) + 1.0).max(1.0);
    let mut counts = [0u64; BARS];
    for value in values {
        let bar = (f64::from(*value) - f64::from(low)) / width * BARS as f64;
        if let Some(count) = counts.get_mut(bar as usize) {
            *count += 1;
        }
    }
    // Background fills one bar: the root keeps the others in sight.
    let roots = counts.map(|n| (n as f64).sqrt());
    let fullest = roots.iter().copied().fold(1.0, f64::max);
    roots.iter().map(|n| n / fullest).collect()
}

/// A histogram as bars.
pub fn histogram(bars: &[f64]) -> Markup {
    html! {
        svg width="128" height="40" viewBox="0 0 64 20" preserveAspectRatio="none" role="img" aria-label="直方图 histogram" {
            @for (at, bar) in bars.iter().enumerate() {
                rect x=(at) y=(format!("{:.2}", 20.0 - 20.0 * bar)) width="1" height=(format!("{:.2}", 20.0 * bar)) fill="#456" {}
            }
        }
    }
}

/// More slices than can be told apart in the drawing are drawn as one bar.
const MOST_DRAWN: usize = 2000;

/// Slices along their normal; where a step is over `gap_factor` times the usual one, the missing slices in red.
pub fn stack(stack: &Stack, gap_factor: f64) -> Markup {
    let (first, last) = stack.ends().unwrap_or((0.0, 0.0));
    let scale = 600.0 / (last - first).max(1.0);
    let x = |at: f64| format!("{:.1}", 10.0 + (at - first) * scale);
    let missing = missing(stack, gap_factor);
    html! {
        svg class="stack" width="620" height="34" role="img" aria-label="层面 slices" {
            @for at in stack.along.iter().take(MOST_DRAWN) { line x1=(x(*at)) x2=(x(*at)) y1="4" y2="24" stroke="#456" {} }
            @for at in missing.iter().take(MOST_DRAWN) {
                line class="missing" x1=(x(*at)) x2=(x(*at)) y1="0" y2="30" stroke="#d22" stroke-width="2" stroke-dasharray="3" {}
            }
        }
        span { (stack.slices.len()) " 层 slices · " (format!("{:.2}", stack.step_mm)) " mm"
            @if !missing.is_empty() { " · " b class="bad" { "缺 missing " (missing.len()) } } }
    }
}

/// Where slices would stand that are not there.
pub fn missing(stack: &Stack, gap_factor: f64) -> Vec<f64> {
    let mut places = Vec::new();
    for pair in stack.along.windows(2) {
        let [from, to] = pair else { continue };
        if stack.step_mm <= 0.0 || to - from <= gap_factor * stack.step_mm {
            continue;
        }
        let mut at = from + stack.step_mm;
        while at < to - stack.step_mm / 2.0 && places.len() < MOST_DRAWN {
            places.push(at);
            at += stack.step_mm;
        }
    }
    places
}
