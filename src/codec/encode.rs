//! Lossless encoders, called in the worker process only. What one of them writes is decoded again: a frame that does not come back bit
//! for bit is no result.

use super::{DecodeError, Frame, decode, samples};
use super::{jpeg, jpegls};
use crate::dicom::uids;
use openjp2::openjpeg::{CODEC_FORMAT, OPJ_CLRSPC_GRAY, OPJ_CLRSPC_UNSPECIFIED, OPJ_CODEC_J2K};
use openjp2::{Codec, Stream, opj_cparameters_t, opj_image, opj_image_comptparm};
use openjph_core::codestream::Codestream;
use openjph_core::file::MemOutfile;
use openjph_core::types::{Point, Size};
use std::io::Read;

/// Encodes a frame as one fragment of a transfer syntax.
///
/// # Errors
/// The syntax is not written here, the samples do not fit it, or the encoder changed them.
pub fn encode(frame: &Frame, transfer_syntax: &str) -> Result<Vec<u8>, DecodeError> {
    let unfit = || DecodeError::Unsupported(format!("{transfer_syntax} for such samples"));
    let comes_back = |stream: &Vec<u8>| {
        let again = decode::decode(&frame.layout, transfer_syntax, vec![stream.clone()]);
        again.is_ok_and(|again| again.bytes == frame.bytes && again.layout == frame.layout)
    };
    let stream = match transfer_syntax {
        uids::RLE_LOSSLESS => super::rle::encode(frame).filter(comes_back),
        uids::JPEGLS_LOSSLESS => jpeg_ls(frame).filter(comes_back),
        uids::JPEG2000_LOSSLESS => jpeg_2000(frame).filter(comes_back),
        // Any predictor may be used in the one, the first in the other (PS3.5 A.4.1).
        uids::JPEG_LOSSLESS_SV1 | uids::JPEG_LOSSLESS => jpeg_lossless(frame).filter(comes_back),
        uids::HTJ2K_LOSSLESS => BLOCKS.iter().find_map(|side| high_throughput(frame, *side, "LRCP").filter(comes_back)),
        uids::HTJ2K_LOSSLESS_RPCL => BLOCKS.iter().find_map(|side| high_throughput(frame, *side, "RPCL").filter(comes_back)),
        _ => None,
    };
    stream.ok_or_else(unfit)
}

/// Sides of code blocks that are tried for HTJ2K: what its encoder makes of large ones with sharp edges in them does not always decode.
const BLOCKS: [u32; 3] = [64, 32, 16];

fn jpeg_ls(frame: &Frame) -> Option<Vec<u8>> {
    let l = &frame.layout;
    let mask = 1u32.checked_shl(l.bits_stored).filter(|m| *m <= 1 << 16)? - 1;
    let sample = |v: i32| u16::try_from(v.cast_unsigned() & mask).unwrap_or(0);
    jpegls::encode(&jpegls::Image {
        columns: l.columns as usize,
        rows: l.rows as usize,
        components: l.samples as usize,
        precision: l.bits_stored.max(2),
        samples: samples::read(frame).into_iter().map(sample).collect(),
    })
    .ok()
}

/// As DCMTK does: whole words where more than the stored bits say something, as the sign does.
fn jpeg_lossless(frame: &Frame) -> Option<Vec<u8>> {
    let l = &frame.layout;
    let words: Vec<u16> = match l.bits_allocated {
        8 => frame.bytes.iter().map(|b| u16::from(*b)).collect(),
        16 => frame.bytes.as_chunks::<2>().0.iter().map(|b| u16::from_le_bytes(*b)).collect(),
        _ => return None,
    };
    let fits = |v: &u16| l.high_bit < 16 && u32::from(*v) >> (l.high_bit + 1) == 0;
    let precision = if words.iter().all(fits) { l.high_bit + 1 } else { l.bits_allocated };
    let names = if l.photometric == "RGB" { *b"RGB" } else { [1, 2, 3] };
    jpeg::write::encode(l.columns, l.rows, names.get(..l.samples as usize)?, precision.max(2), &words)
}

/// The samples of each component.
fn planes(frame: &Frame) -> Vec<Vec<i32>> {
    let values = samples::read(frame);
    let count = frame.layout.samples as usize;
    (0..count).map(|i| values.iter().skip(i).step_by(count).copied().collect()).collect()
}

/// Wavelet levels: at most five, and none that would leave nothing of the shorter side.
fn levels(frame: &Frame) -> u32 {
    frame.layout.rows.min(frame.layout.columns).max(1).ilog2().min(5)
}

/// What openjp2 writes. Without `unsafe` it writes to files only: this one is in memory and has no name on any disk.
fn written(write: impl FnOnce(&std::path::Path) -> Option<()>) -> Option<Vec<u8>> {
    let memory = rustix::fs::memfd_create("codestream", rustix::fs::MemfdFlags::CLOEXEC).ok()?;
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&memory));
    super::worker::allow_files(true)?;
    let done = write(std::path::Path::new(&path));
    super::worker::allow_files(false)?;
    done?;
    let mut bytes = Vec::new();
    std::fs::File::open(&path).ok()?.read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn jpeg_2000(frame: &Frame) -> Option<Vec<u8>> {
    let l = &frame.layout;
    if l.bits_stored > 16 {
        return None;
    }
    let part = opj_image_comptparm {
        dx: 1,
        dy: 1,
        w: l.columns,
        h: l.rows,
        x0: 0,
        y0: 0,
        prec: l.bits_stored,
        bpp: l.bits_stored,
        sgnd: u32::from(l.signed),
    };
    // Colours stay as they are: no component transform, so that the photometric interpretation stays true.
    let space = if l.samples == 1 { OPJ_CLRSPC_GRAY } else { OPJ_CLRSPC_UNSPECIFIED };
    let mut image = opj_image::create(&vec![part; l.samples as usize], space)?;
    (image.x0, image.y0, image.x1, image.y1) = (0, 0, l.columns, l.rows);
    for (slot, plane) in image.comps_data_mut_iter()?.zip(planes(frame)) {
        slot.copy_from_slice(plane.get(..slot.len())?);
    }
    let mut parameters = opj_cparameters_t { cp_disto_alloc: 1, tcp_numlayers: 1, ..Default::default() };
    parameters.numresolution = i32::try_from(levels(frame) + 1).ok()?;
    parameters.irreversible = 0;
    let format: CODEC_FORMAT = OPJ_CODEC_J2K;
    let mut codec = Codec::new_encoder(format)?;
    written(|path| {
        let mut stream = Stream::new_file(path, 1 << 20, false).ok()?;
        let done = codec.setup_encoder(&mut parameters, &mut image) == 1
            && codec.start_compress(&mut image, &mut stream) == 1
            && codec.encode(&mut stream) == 1
            && codec.end_compress(&mut stream) == 1;
        done.then_some(())
    })
}

fn high_throughput(frame: &Frame, block: u32, order: &str) -> Option<Vec<u8>> {
    let l = &frame.layout;
    if l.bits_stored > 16 {
        return None;
    }
    let mut stream = Codestream::new();
    let size = stream.access_siz_mut();
    size.set_image_extent(Point::new(l.columns, l.rows));
    size.set_tile_size(Size::new(l.columns, l.rows));
    size.set_num_components(l.samples);
    (0..l.samples).for_each(|c| size.set_comp_info(c, Point::new(1, 1), l.bits_stored, l.signed));
    let coding = stream.access_cod_mut();
    coding.set_reversible(true);
    coding.set_color_transform(false);
    coding.set_num_decomposition(levels(frame));
    coding.set_block_dims(block, block);
    coding.set_progression_order(order).ok()?;
    let mut out = MemOutfile::new();
    stream.write_headers(&mut out, &[]).ok()?;
    let planes = planes(frame);
    for row in 0..l.rows as usize {
        for (plane, component) in planes.iter().zip(0..) {
            let at = row * l.columns as usize;
            stream.exchange(plane.get(at..at + l.columns as usize)?, component).ok()?;
        }
    }
    stream.flush(&mut out).ok()?;
    Some(out.get_data().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::image::Layout;

    fn frame(columns: u32, rows: u32, colours: u32, stored: u32, signed: bool) -> Frame {
        let layout = Layout {
            rows,
            columns,
            samples: colours,
            bits_allocated: if stored > 8 { 16 } else { 8 },
            bits_stored: stored,
            high_bit: stored - 1,
            signed,
            photometric: if colours == 3 { "RGB" } else { "MONOCHROME2" }.into(),
            planar: false,
            frames: 1,
        };
        let (low, high) = layout.range();
        let mut bytes = Vec::new();
        for i in 0..i64::from(columns * rows * colours) {
            let value = if i % 11 == 0 { high } else { low + (i * i / 7 + i) % (high - low) };
            let value = i32::try_from(value).unwrap();
            bytes.extend(value.to_le_bytes().into_iter().take(layout.bits_allocated as usize / 8));
        }
        Frame { layout, bytes }
    }

    #[test]
    fn every_encoder_gives_back_what_it_got_or_refuses() {
        let (mut written, mut refused) = (0, Vec::new());
        for syntax in [
            uids::RLE_LOSSLESS,
            uids::JPEGLS_LOSSLESS,
            uids::JPEG2000_LOSSLESS,
            uids::JPEG_LOSSLESS_SV1,
            uids::HTJ2K_LOSSLESS,
            uids::HTJ2K_LOSSLESS_RPCL,
        ] {
            for (columns, rows) in [(64, 64), (97, 41), (130, 257)] {
                for (colours, stored, signed) in
                    [(1, 8, false), (1, 10, false), (1, 12, false), (1, 12, true), (1, 16, false), (1, 16, true), (3, 8, false)]
                {
                    // Each result is compared in `encode` itself.
                    match encode(&frame(columns, rows, colours, stored, signed), syntax) {
                        Ok(_) => written += 1,
                        Err(_) => refused.push((syntax, columns, colours, stored, signed)),
                    }
                }
            }
        }
        // HTJ2K with colour is what its encoder gets wrong.
        assert!(
            refused.iter().all(|r| [uids::HTJ2K_LOSSLESS, uids::HTJ2K_LOSSLESS_RPCL].contains(&r.0) && r.2 == 3),
            "{written}, {refused:?}"
        );
        assert!(written >= 120, "{written}");
    }

    #[test]
    fn samples_with_something_in_their_unused_bits_are_not_encoded() {
        let mut overlaid = frame(64, 64, 1, 12, false);
        overlaid.bytes[1] |= 0x80;
        for syntax in [uids::JPEGLS_LOSSLESS, uids::JPEG2000_LOSSLESS] {
            assert!(encode(&overlaid, syntax).is_err());
        }
        assert!(encode(&overlaid, uids::RLE_LOSSLESS).is_ok());
        assert!(encode(&overlaid, uids::JPEG_BASELINE8_BIT).is_err());
    }
}
