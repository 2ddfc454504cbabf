//! Pictures as files: JPEG, PNG, GIF (animated for several frames) and JPEG 2000.

use crate::codec::jpeg::baseline;
use crate::codec::{Frame, Pool};
use crate::dicom::image::Layout;
use crate::dicom::uids;
use image::DynamicImage;
use std::io::{self, Cursor, Write};

/// Quality of JPEG pictures when none is asked for, 1 to 100.
pub const QUALITY: u8 = 90;

/// A picture's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JPEG baseline, with its quality from 1 to 100.
    Jpeg(u8),
    /// PNG.
    Png,
    /// GIF.
    Gif,
}

fn is_grey(picture: &DynamicImage) -> bool {
    matches!(picture, DynamicImage::ImageLuma8(_))
}

/// As the bytes of a file.
///
/// # Errors
/// The encoder fails.
pub fn encode(picture: &DynamicImage, format: Format) -> io::Result<Vec<u8>> {
    match format {
        Format::Jpeg(quality) => jpeg(picture, quality, None),
        Format::Png => {
            let mut bytes = Cursor::new(Vec::new());
            picture.write_to(&mut bytes, image::ImageFormat::Png).map_err(io::Error::other)?;
            Ok(bytes.into_inner())
        }
        Format::Gif => {
            let mut bytes = Vec::new();
            let mut animation = Animation::start(&mut bytes, picture, 0)?;
            animation.add(picture)?;
            drop(animation);
            Ok(bytes)
        }
    }
}

/// As JPEG, with the ICC profile of its colours if they have one.
///
/// # Errors
/// The encoder fails; a side is over 65,535 pixels.
pub fn jpeg(picture: &DynamicImage, quality: u8, icc: Option<&[u8]>) -> io::Result<Vec<u8>> {
    let size = (picture.width(), picture.height());
    let encoded = match picture {
        DynamicImage::ImageLuma8(grey) => baseline::encode(size, 1, grey, quality, None),
        other => baseline::encode(size, 3, &other.to_rgb8(), quality, icc),
    };
    encoded.map_err(|why| io::Error::other(format!("{why}; ask for PNG")))
}

/// A GIF that is being written, frame by frame.
pub struct Animation<W: Write> {
    encoder: gif::Encoder<W>,
    size: (u16, u16),
    /// Hundredths of a second between frames.
    delay: u16,
}

impl<W: Write> Animation<W> {
    /// Starts one of the size of its first picture; it repeats without end when there is a delay.
    ///
    /// # Errors
    /// A side is over 65,535 pixels, or the writer fails.
    pub fn start(out: W, first: &DynamicImage, delay: u16) -> io::Result<Animation<W>> {
        let side =
            |n: u32| u16::try_from(n).map_err(|_| io::Error::other("a side of a GIF is 65,535 pixels at most; ask for PNG"));
        let size = (side(first.width())?, side(first.height())?);
        let greys: Vec<u8> = (0..=255u8).flat_map(|v| [v; 3]).collect();
        let palette = if is_grey(first) { greys.as_slice() } else { &[] };
        let mut encoder = gif::Encoder::new(out, size.0, size.1, palette).map_err(io::Error::other)?;
        if delay > 0 {
            encoder.set_repeat(gif::Repeat::Infinite).map_err(io::Error::other)?;
        }
        Ok(Animation { encoder, size, delay })
    }

    /// Adds a frame: greys as they are, colours with a palette of their own.
    ///
    /// # Errors
    /// It has another size, or the writer fails.
    pub fn add(&mut self, picture: &DynamicImage) -> io::Result<()> {
        let (width, height) = self.size;
        if (picture.width(), picture.height()) != (u32::from(width), u32::from(height)) {
            return Err(io::Error::other("the frames differ in size"));
        }
        let mut frame = match picture {
            DynamicImage::ImageLuma8(grey) => gif::Frame::from_indexed_pixels(width, height, grey.as_raw().clone(), None),
            other => gif::Frame::from_rgb_speed(width, height, &other.to_rgb8(), 10),
        };
        frame.delay = self.delay;
        self.encoder.write_frame(&frame).map_err(io::Error::other)
    }
}

/// As JPEG 2000 without loss, in a JP2 file (ISO/IEC 15444-1 annex I).
///
/// # Errors
/// The encoder fails.
pub fn jp2(picture: &DynamicImage, pool: &Pool) -> io::Result<Vec<u8>> {
    let grey = is_grey(picture);
    let (samples, bytes) = if grey { (1, picture.to_luma8().into_raw()) } else { (3, picture.to_rgb8().into_raw()) };
    let layout = Layout {
        rows: picture.height(),
        columns: picture.width(),
        samples,
        bits_allocated: 8,
        bits_stored: 8,
        high_bit: 7,
        signed: false,
        photometric: if grey { "MONOCHROME2" } else { "RGB" }.into(),
        planar: false,
        frames: 1,
    };
    let frame = Frame { layout, bytes };
    let stream = pool.encode(&frame, uids::JPEG2000_LOSSLESS).map_err(io::Error::other)?;
    let length = |n: usize| u32::try_from(n).map_err(io::Error::other);
    let mut file = vec![0, 0, 0, 12, b'j', b'P', b' ', b' ', 0x0D, 0x0A, 0x87, 0x0A];
    file.extend_from_slice(&[0, 0, 0, 20]);
    file.extend_from_slice(b"ftypjp2 \0\0\0\0jp2 ");
    // Image header: height, width, components, 8 bits, compression 7, colour space known.
    file.extend_from_slice(&[0, 0, 0, 8 + 22 + 15]);
    file.extend_from_slice(b"jp2h\0\0\0\x16ihdr");
    file.extend_from_slice(&frame.layout.rows.to_be_bytes());
    file.extend_from_slice(&frame.layout.columns.to_be_bytes());
    file.extend_from_slice(&[0, if grey { 1 } else { 3 }, 7, 7, 0, 0]);
    file.extend_from_slice(b"\0\0\0\x0Fcolr\x01\0\0");
    file.extend_from_slice(&if grey { 17u32 } else { 16 }.to_be_bytes());
    file.extend_from_slice(&length(stream.len() + 8)?.to_be_bytes());
    file.extend_from_slice(b"jp2c");
    file.extend_from_slice(&stream);
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greys_come_back_from_a_gif_and_a_png_as_they_were() {
        let grey =
            DynamicImage::from(image::GrayImage::from_fn(64, 40, |x, y| image::Luma([u8::try_from(x * 3 + y).unwrap()])));
        for format in [Format::Gif, Format::Png] {
            let back = image::load_from_memory(&encode(&grey, format).unwrap()).unwrap();
            assert_eq!(back.to_luma8(), grey.to_luma8(), "{format:?}");
        }
        let back = image::load_from_memory(&encode(&grey, Format::Jpeg(100)).unwrap()).unwrap().to_luma8();
        assert!(back.iter().zip(grey.to_luma8().iter()).all(|(a, b)| a.abs_diff(*b) <= 3));
        let sizes = [10, 50, 95].map(|q| encode(&grey, Format::Jpeg(q)).unwrap().len());
        assert!(sizes[0] < sizes[1] && sizes[1] < sizes[2], "{sizes:?}");
    }
}
