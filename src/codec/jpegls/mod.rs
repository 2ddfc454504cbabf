//! JPEG-LS (ITU-T T.87), lossless and near-lossless, in and out. Never reads past what came, never holds more than a frame.
//!
//! Our own because every maintained codec is C++ that needs a build system of its own; proven against CharLS, DCMTK and GDCM.

mod bits;
mod model;
mod scan;

use bits::{Reader, Writer};
use model::Parameters;
use scan::{Lines, Scan};

/// Why a stream is not decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Cut off.
    #[error("the JPEG-LS stream is cut off")]
    Ended,
    /// Bits that no encoder writes.
    #[error("the JPEG-LS scan holds an impossible code")]
    Code,
    /// A marker segment that is not as it must be.
    #[error("JPEG-LS: {0}")]
    Header(&'static str),
}

/// A decoded image.
#[derive(Debug, PartialEq, Eq)]
pub struct Image {
    /// Columns.
    pub columns: usize,
    /// Rows.
    pub rows: usize,
    /// Samples of a pixel.
    pub components: usize,
    /// Bits of a sample.
    pub precision: u32,
    /// Samples, by pixel.
    pub samples: Vec<u16>,
}

const SOI: u8 = 0xD8;
const EOI: u8 = 0xD9;
const SOS: u8 = 0xDA;
const DRI: u8 = 0xDD;
const SOF55: u8 = 0xF7;
const LSE: u8 = 0xF8;
const APP8: u8 = 0xE8;

/// Decodes a stream of at most `most` samples.
///
/// # Errors
/// It is damaged, too large, or uses mapping tables, restart intervals or a colour transform of one vendor.
pub fn decode(bytes: &[u8], most: usize) -> Result<Image, Broken> {
    let mut decoder = Decoder { rest: bytes, frame: None, presets: None, planes: Vec::new() };
    while let Some((marker, segment)) = decoder.segment()? {
        match marker {
            SOF55 => decoder.frame_header(segment, most)?,
            LSE => decoder.preset(segment)?,
            SOS => decoder.scan(segment)?,
            DRI if segment.iter().any(|b| *b != 0) => return Err(Broken::Header("restart intervals are not decoded")),
            APP8 if segment.starts_with(b"mrfx") && segment.get(4).is_some_and(|t| *t != 0) => {
                return Err(Broken::Header("a vendor's colour transform is not decoded"));
            }
            _ => {}
        }
        if decoder.is_complete() {
            break;
        }
    }
    decoder.finish()
}

#[derive(Clone)]
struct Shape {
    precision: u32,
    rows: usize,
    columns: usize,
    components: Vec<u8>,
}

struct Decoder<'a> {
    rest: &'a [u8],
    frame: Option<Shape>,
    presets: Option<[i32; 5]>,
    /// Component and its samples.
    planes: Vec<(u8, Vec<u16>)>,
}

impl<'a> Decoder<'a> {
    /// The next marker segment with its parameters; none at the end.
    fn segment(&mut self) -> Result<Option<(u8, &'a [u8])>, Broken> {
        loop {
            let Some((first, rest)) = self.rest.split_first() else { return Ok(None) };
            self.rest = rest;
            if *first != 0xFF {
                return Err(Broken::Header("no marker where one must be"));
            }
            // Any number of 0xFF may stand before a marker.
            let Some(at) = self.rest.iter().position(|b| *b != 0xFF) else { return Ok(None) };
            let (marker, rest) = (self.rest.get(at).copied().unwrap_or(EOI), self.rest.get(at + 1..).unwrap_or_default());
            self.rest = rest;
            match marker {
                SOI => {}
                EOI => return Ok(None),
                _ => {
                    let [high, low, ..] = rest else { return Err(Broken::Ended) };
                    let length = usize::from(u16::from_be_bytes([*high, *low]));
                    let segment = rest.get(2..length).ok_or(Broken::Ended)?;
                    self.rest = rest.get(length..).unwrap_or_default();
                    return Ok(Some((marker, segment)));
                }
            }
        }
    }

    fn frame_header(&mut self, segment: &[u8], most: usize) -> Result<(), Broken> {
        let [precision, y1, y2, x1, x2, count, components @ ..] = segment else { return Err(Broken::Ended) };
        let (rows, columns) = (usize::from(u16::from_be_bytes([*y1, *y2])), usize::from(u16::from_be_bytes([*x1, *x2])));
        let components: Vec<u8> = components.as_chunks::<3>().0.iter().take(usize::from(*count)).map(|[id, ..]| *id).collect();
        if components.len() != usize::from(*count) || components.is_empty() || !(2..=16).contains(precision) {
            return Err(Broken::Header("the frame header is damaged"));
        }
        if rows == 0 || columns == 0 || rows.saturating_mul(columns).saturating_mul(components.len()) > most {
            return Err(Broken::Header("the frame has another size than the header of the object promises"));
        }
        self.frame = Some(Shape { precision: u32::from(*precision), rows, columns, components });
        Ok(())
    }

    fn preset(&mut self, segment: &[u8]) -> Result<(), Broken> {
        let (kind, values) = segment.split_first().ok_or(Broken::Ended)?;
        if *kind != 1 {
            return Err(Broken::Header("mapping tables and oversize dimensions are not decoded"));
        }
        let mut presets = [0; 5];
        if values.len() < 10 {
            return Err(Broken::Ended);
        }
        for (slot, value) in presets.iter_mut().zip(values.as_chunks::<2>().0) {
            *slot = i32::from(u16::from_be_bytes(*value));
        }
        self.presets = Some(presets);
        Ok(())
    }

    fn parameters(&self, shape: &Shape, near: i32) -> Result<Parameters, Broken> {
        let [maxval, t1, t2, t3, reset] = self.presets.unwrap_or_default();
        let or = |value: i32, default: i32| if value == 0 { default } else { value };
        let full = (1 << shape.precision) - 1;
        let maxval = or(maxval, full);
        if maxval > full || near > 255.min(maxval / 2) {
            return Err(Broken::Header("the error bound or the largest value is impossible"));
        }
        let defaults = Parameters::defaults(maxval, near);
        let [d1, d2, d3] = defaults.thresholds;
        let thresholds = [or(t1, d1), or(t2, d2), or(t3, d3)];
        let ordered = thresholds.is_sorted() && thresholds.iter().all(|t| (near + 1..=maxval).contains(t));
        let reset = or(reset, defaults.reset);
        if !ordered || !(3..=maxval.max(255)).contains(&reset) {
            return Err(Broken::Header("the preset parameters are impossible"));
        }
        Ok(Parameters { thresholds, reset, ..defaults })
    }

    fn scan(&mut self, segment: &[u8]) -> Result<(), Broken> {
        let shape = self.frame.clone().ok_or(Broken::Header("a scan before the frame header"))?;
        let (count, rest) = segment.split_first().ok_or(Broken::Ended)?;
        let count = usize::from(*count);
        let selected: Vec<(u8, u8)> = rest.as_chunks::<2>().0.iter().take(count).map(|[id, table]| (*id, *table)).collect();
        let Some([near, interleave, transform, ..]) = rest.get(2 * count..) else { return Err(Broken::Ended) };
        if selected.iter().any(|(_, table)| *table != 0) || *transform != 0 {
            return Err(Broken::Header("mapping tables and point transforms are not decoded"));
        }
        let known = |id: &u8| shape.components.contains(id) && self.planes.iter().all(|(have, _)| have != id);
        let ids: Vec<u8> = selected.iter().map(|(id, _)| *id).collect();
        let distinct = ids.iter().enumerate().all(|(i, id)| ids.iter().skip(i + 1).all(|other| other != id));
        if ids.is_empty() || !ids.iter().all(known) || !distinct || *interleave > 2 || (ids.len() > 1) != (*interleave != 0) {
            return Err(Broken::Header("the scan header is damaged"));
        }
        let parameters = self.parameters(&shape, i32::from(*near))?;
        let mut scan = Scan::new(Reader::new(self.rest), parameters);
        let mut lines: Vec<Lines> = ids.iter().map(|_| Lines::new(shape.columns)).collect();
        let mut planes: Vec<(u8, Vec<u16>)> =
            ids.iter().map(|id| (*id, Vec::with_capacity(shape.rows * shape.columns))).collect();
        for _ in 0..shape.rows {
            lines.iter_mut().for_each(Lines::advance);
            if *interleave == 2 {
                scan.line(&mut lines)?;
            } else {
                lines.iter_mut().try_for_each(|line| scan.line(std::slice::from_mut(line)))?;
            }
            for (line, (_, plane)) in lines.iter_mut().zip(&mut planes) {
                plane.extend(line.samples().iter().map(|v| u16::try_from(*v).unwrap_or(u16::MAX)));
            }
        }
        let after = scan.into_bits().position();
        self.rest = self.rest.get(after..).unwrap_or_default();
        // Padding of a kind that no standard knows, up to the next marker.
        let marker = self.rest.windows(2).position(|w| matches!(w, [0xFF, b] if *b >= 0x80)).unwrap_or(self.rest.len());
        self.rest = self.rest.get(marker..).unwrap_or_default();
        self.planes.append(&mut planes);
        Ok(())
    }

    fn is_complete(&self) -> bool {
        self.frame.as_ref().is_some_and(|f| f.components.len() == self.planes.len())
    }

    fn finish(self) -> Result<Image, Broken> {
        let Some(shape) = self.frame.clone().filter(|_| self.is_complete()) else { return Err(Broken::Ended) };
        let components = shape.components.len();
        let mut samples = vec![0; shape.rows * shape.columns * components];
        for (i, id) in shape.components.iter().enumerate() {
            let plane = self.planes.iter().find(|(have, _)| have == id).map(|(_, p)| p.as_slice()).unwrap_or_default();
            samples.iter_mut().skip(i).step_by(components).zip(plane).for_each(|(slot, v)| *slot = *v);
        }
        Ok(Image { columns: shape.columns, rows: shape.rows, components, precision: shape.precision, samples })
    }
}

/// Encodes without loss, line by line of each component in turn.
///
/// # Errors
/// A sample needs more bits than the precision says, or the image is too large for the format.
pub fn encode(image: &Image) -> Result<Vec<u8>, Broken> {
    let impossible = Broken::Header("no JPEG-LS stream can hold such an image");
    let (Ok(rows), Ok(columns), Ok(count)) =
        (u16::try_from(image.rows), u16::try_from(image.columns), u8::try_from(image.components))
    else {
        return Err(impossible);
    };
    let largest = 1u32.checked_shl(image.precision).unwrap_or(0).wrapping_sub(1);
    let whole = image.samples.len() == image.rows * image.columns * image.components;
    if !(2..=16).contains(&image.precision) || !whole || image.samples.iter().any(|s| u32::from(*s) > largest) || count == 0 {
        return Err(impossible);
    }
    let precision = u8::try_from(image.precision).unwrap_or(16);
    let mut out = vec![0xFF, SOI, 0xFF, SOF55];
    out.extend((8 + 3 * u16::from(count)).to_be_bytes());
    out.push(precision);
    out.extend([rows.to_be_bytes(), columns.to_be_bytes()].as_flattened());
    out.push(count);
    (1..=count).for_each(|id| out.extend([id, 0x11, 0]));
    out.extend([0xFF, SOS]);
    out.extend((6 + 2 * u16::from(count)).to_be_bytes());
    out.push(count);
    (1..=count).for_each(|id| out.extend([id, 0]));
    out.extend([0, u8::from(count > 1), 0]);
    let maxval = largest.cast_signed();
    let mut scan = Scan::new(Writer::default(), Parameters::defaults(maxval, 0));
    let mut lines: Vec<Lines> = (0..image.components).map(|_| Lines::new(image.columns)).collect();
    for row in image.samples.chunks_exact((image.columns * image.components).max(1)) {
        for (i, line) in lines.iter_mut().enumerate() {
            line.advance();
            let samples = row.iter().skip(i).step_by(image.components);
            line.samples().iter_mut().zip(samples).for_each(|(slot, s)| *slot = i32::from(*s));
            scan.line(std::slice::from_mut(line))?;
        }
    }
    out.extend(scan.into_bits().finish());
    out.extend([0xFF, EOI]);
    Ok(out)
}

#[cfg(test)]
mod tests;
