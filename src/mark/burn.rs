//! The mark into the samples: letters over outline over image, inside the mark's box and nowhere else.

use super::Placed;
use super::tone::Tones;
use crate::codec::Frame;
use crate::codec::samples::{self, Above};

/// Burns a placed mark into a frame; `overlaid` where overlays are kept in unused bits of the samples.
pub fn burn(frame: &mut Frame, placed: &Placed, tones: &Tones, overlaid: bool) {
    let above = if !overlaid && samples::is_sign_extended(frame) { Above::Sign } else { Above::Kept };
    let per_pixel = frame.layout.samples.max(1) as usize;
    let columns = frame.layout.columns as usize;
    for row in 0..placed.mask.height {
        for column in 0..placed.mask.width {
            let at = (row * placed.mask.width + column) as usize;
            let cover = |mask: &[u8]| i64::from(mask.get(at).copied().unwrap_or(0));
            let (fill, outline) = (cover(&placed.mask.fill), cover(&placed.mask.outline));
            if outline == 0 {
                continue;
            }
            let pixel = (placed.y + row) as usize * columns + (placed.x + column) as usize;
            for sample in 0..per_pixel {
                let index = pixel * per_pixel + sample;
                let Some(was) = samples::get(frame, index) else { continue };
                let light = tones.light.get(sample).copied().unwrap_or(was);
                let dark = tones.dark.get(sample).copied().unwrap_or(was);
                let value = if tones.ramp.is_empty() {
                    blend(blend(was, dark, outline), light, fill)
                } else if outline >= 128 {
                    let last = i64::try_from(tones.ramp.len()).unwrap_or(1) - 1;
                    let step = usize::try_from((fill * last + 127) / 255).unwrap_or(0);
                    tones.ramp.get(step).copied().unwrap_or(was)
                } else {
                    was
                };
                samples::put(frame, index, tones.shown(value, was), above);
            }
        }
    }
}

/// `share` of 255 of the new value.
fn blend(old: i64, new: i64, share: i64) -> i64 {
    (old * (255 - share) + new * share + 127).div_euclid(255)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::image::Layout;
    use crate::dicom::{Attributes, DataSet, VR, tags};
    use crate::mark::layout::{Canvas, place};
    use crate::mark::tone::choose;
    use crate::procedure::catalogue::{Corner, Look, Mark, MarkStyle};

    fn mark() -> Mark {
        Mark {
            range: "渝北".into(),
            sign: "HR".into(),
            separator: " ".into(),
            style: MarkStyle::BurnText,
            corner: Corner::TopRight,
            look: Look::default(),
        }
    }

    fn grey(bits: u32, signed: bool, photometric: &str, value: i32) -> Frame {
        let layout = Layout {
            rows: 128,
            columns: 256,
            samples: 1,
            bits_allocated: if bits > 8 { 16 } else { 8 },
            bits_stored: bits,
            high_bit: bits - 1,
            signed,
            photometric: photometric.into(),
            planar: false,
            frames: 1,
        };
        let mut frame = Frame { bytes: vec![0; 128 * 256 * layout.bits_allocated as usize / 8], layout };
        (0..128 * 256).for_each(|i| samples::put(&mut frame, i, i64::from(value) + (i % 3) as i64, Above::Kept));
        frame
    }

    #[test]
    fn the_letters_are_light_in_every_grey_image_and_nothing_else_changes() {
        for (bits, signed, photometric, value) in [
            (8, false, "MONOCHROME2", 100),
            (12, false, "MONOCHROME1", 0),
            (16, true, "MONOCHROME2", -2000),
            (10, false, "MONOCHROME2", 1020),
            (12, true, "MONOCHROME1", 2044),
        ] {
            let mut frame = grey(bits, signed, photometric, value);
            let before = samples::read(&frame);
            let mut a = Attributes::default();
            a.set(tags::WINDOW_CENTER, VR::DS, vec!["50".into()]);
            a.set(tags::WINDOW_WIDTH, VR::DS, vec!["300".into()]);
            let tones = choose(&frame, &DataSet::default(), &a, None).unwrap();
            let placed = place(&mark(), &Canvas::plain(128, 256)).unwrap();
            burn(&mut frame, &placed, &tones, false);
            let after = samples::read(&frame);
            let (low, high) = frame.layout.range();
            let inside = |i: usize| {
                let (x, y) = ((i % 256) as u32, (i / 256) as u32);
                (placed.x..placed.x + placed.mask.width).contains(&x) && (placed.y..placed.y + placed.mask.height).contains(&y)
            };
            assert!((0..before.len()).all(|i| inside(i) || before[i] == after[i]));
            assert!(after.iter().all(|v| (low..=high).contains(&i64::from(*v))));
            let (lightest, darkest) = (tones.light[0], tones.dark[0]);
            assert_eq!(lightest > darkest, photometric == "MONOCHROME2");
            // Thin strokes are anti-aliased: most of a letter is light, not every pixel of it wholly so.
            let near = (lightest - darkest).abs() / 3;
            let light = after.iter().filter(|v| (i64::from(**v) - lightest).abs() < near).count();
            assert!(light > 150, "{photometric} {bits}: {light}");
        }
    }
}
