//! How a rendered picture is to look: part and size (PS3.18 8.3.5.1.3), overlay planes, text beside the image (8.3.5.1.1).

use super::object::Object;
use crate::codec::{DecodeError, Pool};
use crate::dicom::displayed::Displayed;
use crate::dicom::{Attributes, Tag, tags};
use crate::mark::Face;
use crate::procedure::catalogue::Look as Font;
use image::imageops::FilterType;
use image::{DynamicImage, Rgb, RgbImage};

/// Longest side of a viewport, pixels.
pub const LONGEST: u32 = 8192;
/// Most pixels of a picture that is made larger than the image is: more than any monitor has.
const MOST: f64 = 37_748_736.0;

/// The viewport that a picture is fitted into.
#[derive(Debug, Clone, PartialEq)]
pub struct Viewport {
    /// Its columns and rows.
    pub size: (u32, u32),
    /// Left and upper edge of the part of the image that is shown, pixels.
    pub from: (f64, f64),
    /// Width and height of that part; a negative one flips it. None: to the edge of the image.
    pub part: (Option<f64>, Option<f64>),
}

impl Viewport {
    /// A viewport that shows all of the image.
    pub fn whole(columns: u32, rows: u32) -> Viewport {
        Viewport { size: (columns, rows), from: (0.0, 0.0), part: (None, None) }
    }

    /// From `vw,vh[,[sx],[sy],[sw],[sh]]`; a position counts without its sign.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Viewport, String> {
        let parts: Vec<&str> = text.split(',').map(str::trim).collect();
        if !(2..=6).contains(&parts.len()) {
            return Err("viewport is vw,vh[,[sx],[sy],[sw],[sh]]".into());
        }
        let side = |at: usize| {
            let side = parts.get(at).and_then(|p| p.parse::<u32>().ok()).filter(|n| (1..=LONGEST).contains(n));
            side.ok_or_else(|| format!("viewport: width and height are whole numbers from 1 to {LONGEST}"))
        };
        let number = |at: usize| match parts.get(at) {
            None | Some(&"") => Ok(None),
            Some(text) => {
                let number = text.parse::<f64>().ok().filter(|n| n.is_finite() && n.abs() < 1e9);
                number.map(Some).ok_or_else(|| format!("viewport: {text} is no number"))
            }
        };
        let (from, part) = ((number(2)?.unwrap_or(0.0).abs(), number(3)?.unwrap_or(0.0).abs()), (number(4)?, number(5)?));
        if part.0 == Some(0.0) || part.1 == Some(0.0) {
            return Err("viewport: width and height of the part are not 0".into());
        }
        Ok(Viewport { size: (side(0)?, side(1)?), from, part })
    }

    /// Cuts and flips.
    ///
    /// # Errors
    /// The part lies outside of the image.
    pub fn cut(&self, picture: &DynamicImage) -> Result<DynamicImage, String> {
        let along = |from: f64, part: Option<f64>, side: u32| {
            let from = from.floor();
            let wanted = part.map_or(f64::from(side) - from, |p| p.abs().ceil()).min(f64::from(side) - from);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the image by the condition")]
            let range = (from < f64::from(side) && wanted >= 1.0).then_some((from as u32, wanted as u32));
            range.ok_or_else(|| format!("viewport: the part begins at {from}, the image ends at {side}"))
        };
        let (x, width) = along(self.from.0, self.part.0, picture.width())?;
        let (y, height) = along(self.from.1, self.part.1, picture.height())?;
        let mut cut = picture.crop_imm(x, y, width, height);
        if self.part.0.is_some_and(|w| w < 0.0) {
            cut = cut.fliph();
        }
        if self.part.1.is_some_and(|h| h < 0.0) {
            cut = cut.flipv();
        }
        Ok(cut)
    }

    /// Cuts, flips and scales, keeping the proportions.
    ///
    /// # Errors
    /// The part lies outside of the image.
    pub fn show(&self, picture: &DynamicImage) -> Result<DynamicImage, String> {
        let cut = self.cut(picture)?;
        if (cut.width(), cut.height()) == self.size {
            return Ok(cut);
        }
        let (width, height) = (f64::from(cut.width()), f64::from(cut.height()));
        let scale = (f64::from(self.size.0) / width).min(f64::from(self.size.1) / height);
        if scale > 1.0 && width * height * scale * scale > MOST {
            return Err(format!("the picture would have more than {MOST} pixels"));
        }
        Ok(cut.resize(self.size.0, self.size.1, FilterType::Triangle))
    }
}

/// Draws the overlay planes of a frame (counted from 0) in white: those of their own and those in unused bits of the samples.
///
/// # Errors
/// The frame cannot be decoded.
pub fn draw_overlays(picture: DynamicImage, object: &Object, number: u32, pool: &Pool) -> Result<DynamicImage, DecodeError> {
    let mut displayed = Displayed::of(&object.data_set);
    if Displayed::has_embedded(&object.data_set) {
        let layout = object.layout().map_err(|e| DecodeError::Damaged(e.to_string()))?;
        let frame = object.frame(number, &layout, pool)?;
        displayed.embed(&object.data_set, &frame.layout, &frame.bytes, number);
    }
    let points = displayed.drawn(picture.width(), picture.height(), number);
    if points.is_empty() {
        return Ok(picture);
    }
    let mut pixels = picture.into_rgb8();
    for (x, y) in points {
        pixels.put_pixel(x, y, Rgb([255, 255, 255]));
    }
    Ok(pixels.into())
}

/// Texts beside an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Annotation {
    /// Who is on it.
    Patient,
    /// How it was made.
    Technique,
}

/// What an annotation says, one line after the other.
const LINES: &[(Annotation, &[(&str, Tag)])] = &[
    (
        Annotation::Patient,
        &[("", tags::PATIENT_NAME), ("ID ", tags::PATIENT_ID), ("", tags::PATIENT_BIRTH_DATE), ("", tags::PATIENT_SEX)],
    ),
    (
        Annotation::Technique,
        &[
            ("", tags::MODALITY),
            ("", tags::STUDY_DATE),
            ("", tags::SERIES_DESCRIPTION),
            ("kVp ", tags::KVP),
            ("TR ", tags::REPETITION_TIME),
            ("TE ", tags::ECHO_TIME),
            ("mm ", tags::SLICE_THICKNESS),
            ("Im ", tags::INSTANCE_NUMBER),
        ],
    ),
];

/// Writes annotations over a picture, the patient at the upper left and the technique at the lower left: the upper right belongs to
/// the mark. A character that no font here has is left out.
pub fn annotate(picture: DynamicImage, attributes: &Attributes, which: &[Annotation]) -> DynamicImage {
    let font = Font::default();
    let Ok(face) = Face::of(&font) else { return picture };
    let height = (picture.height() / 40).clamp(9, 64);
    let mut pixels = picture.into_rgb8();
    for (annotation, lines) in LINES.iter().filter(|(annotation, _)| which.contains(annotation)) {
        let texts: Vec<String> = lines
            .iter()
            .filter_map(|(name, tag)| {
                let text = attributes.text(*tag)?.replace(['^', '='], " ");
                let drawable: String = text.chars().filter(|c| face.knows(&c.to_string()).is_ok()).take(48).collect();
                (!drawable.trim().is_empty()).then(|| format!("{name}{drawable}"))
            })
            .collect();
        let step = height + height / 2;
        let count = u32::try_from(texts.len()).unwrap_or(0);
        let top = if *annotation == Annotation::Patient { 2 } else { pixels.height().saturating_sub(step * count + 2) };
        for (line, text) in (0u32..).zip(&texts) {
            write(&mut pixels, &face, text, height, (2, top + line * step));
        }
    }
    pixels.into()
}

fn write(pixels: &mut RgbImage, face: &Face<'_>, text: &str, height: u32, at: (u32, u32)) {
    let Ok(mask) = face.draw(text, height, 1.0) else { return };
    for row in 0..mask.height {
        for column in 0..mask.width {
            let i = (row * mask.width + column) as usize;
            let (fill, outline) = (mask.fill.get(i).copied().unwrap_or(0), mask.outline.get(i).copied().unwrap_or(0));
            if let Some(pixel) = pixels.get_pixel_mut_checked(at.0 + column, at.1 + row) {
                let mixed = |value: u8| {
                    let dark = u32::from(value) * (255 - u32::from(outline)) / 255;
                    u8::try_from(dark.max(u32::from(fill))).unwrap_or(255)
                };
                pixel.0 = pixel.0.map(mixed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::VR;

    fn gradient() -> DynamicImage {
        image::GrayImage::from_fn(100, 50, |x, y| image::Luma([u8::try_from(x + y).unwrap()])).into()
    }

    #[test]
    fn a_viewport_cuts_flips_and_keeps_the_proportions() {
        let shown = |text: &str| Viewport::parse(text).unwrap().show(&gradient()).unwrap().into_luma8();
        assert_eq!((shown("50,50").width(), shown("50,50").height()), (50, 25));
        assert_eq!((shown("200,400").width(), shown("200,400").height()), (200, 100));
        let cut = shown("10,10,20,30,10,10");
        assert_eq!((cut.dimensions(), cut.get_pixel(0, 0).0, cut.get_pixel(9, 9).0), ((10, 10), [50], [68]));
        let flipped = shown("10,10,20,30,-10,10");
        assert_eq!((flipped.get_pixel(0, 0).0, flipped.get_pixel(9, 0).0), ([59], [50]));
        assert_eq!(shown("10,10,20,30,10,-10").get_pixel(0, 0).0, [59]);
        assert_eq!((shown("100,50,,,,").dimensions(), shown("100,50").dimensions()), ((100, 50), (100, 50)));
        assert_eq!(shown("10,10,-20,30,10,10").get_pixel(0, 0).0, [50]);
    }

    #[test]
    fn what_is_no_viewport_is_refused() {
        for text in ["", "10", "10,", "0,10", "-5,5", "9000,10", "10,10,1,1,1,1,1", "10,10,0,0,0,5", "a,b", "10,10,NaN,0,1,1"] {
            assert!(Viewport::parse(text).is_err(), "{text}");
        }
        for text in ["10,10,100,0,5,5", "8192,8192,0,0,40,40"] {
            assert!(Viewport::parse(text).unwrap().show(&gradient()).is_err(), "{text}");
        }
    }

    #[test]
    fn annotations_leave_the_upper_right_alone() {
        let mut attributes = Attributes::default();
        attributes.set(tags::PATIENT_NAME, VR::PN, vec!["Wang^XiaoDong=王^小东".into()]);
        attributes.set(tags::MODALITY, VR::CS, vec!["CT".into()]);
        let black = DynamicImage::from(RgbImage::new(512, 512));
        let written = annotate(black.clone(), &attributes, &[Annotation::Patient, Annotation::Technique]).into_rgb8();
        let bright = |x: std::ops::Range<u32>, y: std::ops::Range<u32>| {
            y.flat_map(|y| x.clone().map(move |x| (x, y))).filter(|(x, y)| written.get_pixel(*x, *y).0[0] > 128).count()
        };
        assert!(bright(0..300, 0..40) > 100 && bright(0..100, 470..512) > 20);
        assert_eq!(bright(320..512, 0..200), 0);
    }
}
