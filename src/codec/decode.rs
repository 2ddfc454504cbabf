//! The codecs, called in the worker process only. What they are known to get wrong is put right here.

use super::{DecodeError, Frame, jpeg};
use crate::dicom::image::Layout;
use crate::dicom::{syntax, uids};
use dicom_core::value::{C, PixelFragmentSequence};
use dicom_core::{DataElement, PrimitiveValue, VR, dicom_value};
use dicom_dictionary_std::tags;
use dicom_object::{FileDicomObject, FileMetaTableBuilder, InMemDicomObject};
use dicom_pixeldata::PixelDecoder;
use std::io::Read;

/// Decodes the fragments of one frame.
///
/// # Errors
/// The syntax is not decoded here, or the codec refused.
pub fn decode(layout: &Layout, transfer_syntax: &str, fragments: Vec<Vec<u8>>) -> Result<Frame, DecodeError> {
    let Some((_, codec)) = CODECS.iter().find(|(uid, _)| *uid == transfer_syntax) else {
        return Err(DecodeError::Unsupported(transfer_syntax.into()));
    };
    let frame = match codec {
        Codec::Rle => super::rle::decode(layout, &fragments.concat())?,
        Codec::Deflate => inflated(layout, &fragments.concat())?,
        Codec::JpegLs => jpeg_ls(layout, &fragments.concat())?,
        Codec::Jpeg => dct(layout, transfer_syntax, fragments)?,
        Codec::JpegLossless => jpeg_lossless(layout, &fragments.concat())?,
        Codec::Jpeg2000 => framed(layout, through_dicom_rs(layout, transfer_syntax, checked(fragments)?)?)?,
        Codec::Registry => framed(layout, through_dicom_rs(layout, transfer_syntax, fragments)?)?,
        Codec::Jpeg2000Part2 => framed(layout, through_dicom_rs(layout, uids::JPEG2000, checked(fragments)?)?)?,
    };
    let photometric = match (codec, frame.layout.photometric.as_str()) {
        // The decoders of these undo their own colour transforms.
        (Codec::Registry | Codec::JpegLossless | Codec::Jpeg2000 | Codec::Jpeg2000Part2, "YBR_ICT" | "YBR_RCT" | "XYB") => {
            "RGB"
        }
        (_, p) => p,
    };
    let layout = Layout { photometric: photometric.into(), ..frame.layout.clone() };
    Ok(Frame { layout, bytes: frame.bytes })
}

#[derive(Clone, Copy)]
enum Codec {
    /// What dicom-rs registers.
    Registry,
    /// DCT: of 8 bits in jpeg-decoder, of 12 bits in our own.
    Jpeg,
    /// Process 14: no colour transform but that of the header's.
    JpegLossless,
    JpegLs,
    /// Part 1, and part 15 (HTJ2K).
    Jpeg2000,
    /// One codestream a frame, with the capabilities of part 2 but none of its component transforms.
    Jpeg2000Part2,
    Rle,
    Deflate,
}

/// Transfer syntaxes whose results were checked against another decoder; everything else is refused rather than guessed.
const CODECS: &[(&str, Codec)] = &[
    (uids::JPEG_BASELINE8_BIT, Codec::Jpeg),
    (uids::JPEG_EXTENDED12_BIT, Codec::Jpeg),
    ("1.2.840.10008.1.2.4.53", Codec::Jpeg),
    ("1.2.840.10008.1.2.4.55", Codec::Jpeg),
    (uids::JPEG_LOSSLESS, Codec::JpegLossless),
    (uids::JPEG_LOSSLESS_SV1, Codec::JpegLossless),
    (uids::JPEGLS_LOSSLESS, Codec::JpegLs),
    (uids::JPEGLS_NEAR_LOSSLESS, Codec::JpegLs),
    (uids::JPEG2000_LOSSLESS, Codec::Jpeg2000),
    (uids::JPEG2000, Codec::Jpeg2000),
    (uids::JPEG2000MC_LOSSLESS, Codec::Jpeg2000Part2),
    (uids::JPEG2000MC, Codec::Jpeg2000Part2),
    (uids::HTJ2K_LOSSLESS, Codec::Jpeg2000),
    (uids::HTJ2K_LOSSLESS_RPCL, Codec::Jpeg2000),
    (uids::HTJ2K, Codec::Jpeg2000),
    (uids::RLE_LOSSLESS, Codec::Rle),
    (uids::JPEGXL_LOSSLESS, Codec::Registry),
    (uids::JPEGXL, Codec::Registry),
    (uids::JPEGXLJPEG_RECOMPRESSION, Codec::Registry),
    (syntax::DEFLATED_FRAME, Codec::Deflate),
];

/// Samples as long as the layout asks for.
fn framed(layout: &Layout, mut bytes: Vec<u8>) -> Result<Frame, DecodeError> {
    let wanted = layout.frame_samples() * u64::from(layout.bits_allocated.div_ceil(8));
    if (bytes.len() as u64) < wanted {
        return Err(DecodeError::Short { got: bytes.len() as u64, wanted });
    }
    bytes.truncate(usize::try_from(wanted).unwrap_or(usize::MAX));
    Ok(Frame { layout: Layout { planar: false, frames: 1, ..layout.clone() }, bytes })
}

/// Deflated Image Frame Compression (PS3.5 A.4.13): a native frame, deflated.
fn inflated(layout: &Layout, bytes: &[u8]) -> Result<Frame, DecodeError> {
    let mut frame = Vec::new();
    let limit = layout.frame_bytes() + 1;
    flate2::read::DeflateDecoder::new(bytes)
        .take(limit)
        .read_to_end(&mut frame)
        .map_err(|e| DecodeError::Damaged(format!("the deflated frame: {e}")))?;
    if layout.bits_allocated == 1 {
        return super::packed_bits_frame(layout, &frame, 0);
    }
    super::native_frame(layout, frame, 1)
}

/// The shape that a codestream states must be the header's.
fn same_shape(layout: &Layout, columns: usize, rows: usize, components: usize, bits: u32) -> Result<(), DecodeError> {
    let same = columns as u64 == u64::from(layout.columns)
        && rows as u64 == u64::from(layout.rows)
        && components as u64 == u64::from(layout.samples)
        && bits <= layout.bits_allocated;
    if same {
        return Ok(());
    }
    Err(DecodeError::Damaged(format!(
        "the code stream holds {columns}x{rows} pixels of {components} samples of {bits} bits, the header says {}x{} of {} of {}",
        layout.columns, layout.rows, layout.samples, layout.bits_allocated
    )))
}

/// What would decode to noise is refused.
fn checked(fragments: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, DecodeError> {
    match super::j2k::fault(&fragments.concat()) {
        Some(fault) => Err(DecodeError::Damaged(fault.into())),
        None => Ok(fragments),
    }
}

fn most(layout: &Layout) -> usize {
    usize::try_from(layout.frame_samples()).unwrap_or(usize::MAX)
}

/// PS3.5 8.2.3: the stream knows no signs; what a signed sample's highest stored bit means is the header's.
fn jpeg_ls(layout: &Layout, bytes: &[u8]) -> Result<Frame, DecodeError> {
    let image = super::jpegls::decode(bytes, most(layout)).map_err(|e| DecodeError::Damaged(e.to_string()))?;
    same_shape(layout, image.columns, image.rows, image.components, image.precision)?;
    Ok(widened(layout, &image.samples, image.precision))
}

/// Samples of `precision` bits in the bytes that the header allocates, their sign extended.
fn widened(layout: &Layout, samples: &[u16], precision: u32) -> Frame {
    let unused = 16u32.saturating_sub(precision);
    let extended = |v: &u16| if layout.signed { (((v << unused).cast_signed()) >> unused).cast_unsigned() } else { *v };
    let wide = layout.bits_allocated as usize / 8;
    let mut out = Vec::with_capacity(samples.len() * wide);
    for value in samples.iter().map(extended) {
        let sign = if layout.signed && value & 0x8000 != 0 { 0xFF } else { 0 };
        let [low, high] = value.to_le_bytes();
        out.extend([low, high, sign, sign].iter().take(wide));
    }
    Frame { layout: Layout { planar: false, frames: 1, ..layout.clone() }, bytes: out }
}

fn dct(layout: &Layout, transfer_syntax: &str, fragments: Vec<Vec<u8>>) -> Result<Frame, DecodeError> {
    let bytes = fragments.concat();
    if jpeg::is_twelve_bit(&bytes) {
        let image = jpeg::decode(&bytes, most(layout)).map_err(|e| DecodeError::Damaged(e.to_string()))?;
        same_shape(layout, image.columns, image.rows, image.components, 12)?;
        return Ok(widened(layout, &image.samples, 16));
    }
    if jpeg::is_cut_off(&bytes, most(layout)) {
        return Err(DecodeError::Damaged(jpeg::Broken::Ended.to_string()));
    }
    let stays = layout.photometric == "RGB" || layout.samples == 1;
    let registered = matches!(transfer_syntax, uids::JPEG_BASELINE8_BIT | uids::JPEG_EXTENDED12_BIT);
    let decoded = if stays || !registered {
        jpeg_decoded(layout, &bytes, layout.photometric == "RGB")?
    } else {
        through_dicom_rs(layout, transfer_syntax, fragments)?
    };
    let mut frame = framed(layout, decoded)?;
    // The decoder converts to RGB itself.
    if frame.layout.photometric.starts_with("YBR") {
        frame.layout.photometric = "RGB".into();
    }
    Ok(frame)
}

/// Words as they are in the stream: it knows neither signs nor colours.
fn jpeg_lossless(layout: &Layout, bytes: &[u8]) -> Result<Frame, DecodeError> {
    let image = jpeg::lossless::decode(bytes, most(layout)).map_err(|e| DecodeError::Damaged(e.to_string()))?;
    same_shape(layout, image.columns, image.rows, image.components, image.precision)?;
    let mut frame = widened(&Layout { signed: false, ..layout.clone() }, &image.samples, 16);
    frame.layout.signed = layout.signed;
    if layout.photometric.starts_with("YBR_FULL") {
        frame.layout.photometric = "YBR_FULL".into();
    }
    Ok(frame)
}

/// RGB stored as JPEG is taken for YCbCr when there is no Adobe marker, unless the decoder is told.
fn jpeg_decoded(layout: &Layout, bytes: &[u8], is_rgb: bool) -> Result<Vec<u8>, DecodeError> {
    let damaged = |e: jpeg_decoder::Error| DecodeError::Damaged(e.to_string());
    let mut decoder = jpeg_decoder::Decoder::new(bytes);
    if is_rgb {
        // `None` would leave the planes one after the other.
        decoder.set_color_transform(jpeg_decoder::ColorTransform::RGB);
    }
    decoder.read_info().map_err(damaged)?;
    let info = decoder.info().ok_or_else(|| DecodeError::Damaged("the JPEG stream has no frame header".into()))?;
    let format = info.pixel_format;
    same_shape(
        layout,
        usize::from(info.width),
        usize::from(info.height),
        if matches!(format, jpeg_decoder::PixelFormat::L8 | jpeg_decoder::PixelFormat::L16) { 1 } else { format.pixel_bytes() },
        if format == jpeg_decoder::PixelFormat::L16 { 16 } else { 8 },
    )?;
    decoder.decode().map_err(damaged)
}

fn through_dicom_rs(layout: &Layout, transfer_syntax: &str, fragments: Vec<Vec<u8>>) -> Result<Vec<u8>, DecodeError> {
    let damaged = |e: &dyn std::fmt::Display| DecodeError::Damaged(e.to_string());
    let object = object_of(layout, transfer_syntax, fragments).map_err(|e| damaged(&e))?;
    let decoded = object.decode_pixel_data().map_err(|e| damaged(&e))?;
    let bits = u32::from(decoded.bits_allocated());
    if bits != layout.bits_allocated || decoded.rows() != layout.rows || decoded.columns() != layout.columns {
        return Err(DecodeError::Damaged(format!(
            "the code stream holds {}x{} samples of {bits} bits, the header says {}x{} of {}",
            decoded.columns(),
            decoded.rows(),
            layout.columns,
            layout.rows,
            layout.bits_allocated
        )));
    }
    Ok(decoded.data().to_vec())
}

/// An object with nothing but what a decoder needs, holding one frame.
fn object_of(
    layout: &Layout,
    transfer_syntax: &str,
    fragments: Vec<Vec<u8>>,
) -> Result<FileDicomObject<InMemDicomObject>, Box<dyn std::error::Error>> {
    let short = |v: u32| PrimitiveValue::from(u16::try_from(v).unwrap_or(u16::MAX));
    let mut object = InMemDicomObject::new_empty();
    let fragments: C<Vec<u8>> = fragments.into_iter().collect();
    object.put(DataElement::new(tags::ROWS, VR::US, short(layout.rows)));
    object.put(DataElement::new(tags::COLUMNS, VR::US, short(layout.columns)));
    object.put(DataElement::new(tags::SAMPLES_PER_PIXEL, VR::US, short(layout.samples)));
    object.put(DataElement::new(tags::BITS_ALLOCATED, VR::US, short(layout.bits_allocated)));
    object.put(DataElement::new(tags::BITS_STORED, VR::US, short(layout.bits_stored)));
    object.put(DataElement::new(tags::HIGH_BIT, VR::US, short(layout.high_bit)));
    object.put(DataElement::new(tags::PIXEL_REPRESENTATION, VR::US, short(u32::from(layout.signed))));
    object.put(DataElement::new(tags::PLANAR_CONFIGURATION, VR::US, short(0)));
    object.put(DataElement::new(tags::NUMBER_OF_FRAMES, VR::IS, dicom_value!(Str, "1")));
    // The codecs look at this only for colour.
    let photometric = if layout.samples == 1 { "MONOCHROME2" } else { layout.photometric.as_str() };
    object.put(DataElement::new(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, PrimitiveValue::from(photometric)));
    object.put(DataElement::new(tags::SOP_CLASS_UID, VR::UI, PrimitiveValue::from(uids::SECONDARY_CAPTURE_IMAGE_STORAGE)));
    object.put(DataElement::new(tags::SOP_INSTANCE_UID, VR::UI, PrimitiveValue::from("1.2")));
    object.put(DataElement::new(tags::PIXEL_DATA, VR::OB, PixelFragmentSequence::new(C::<u32>::new(), fragments)));
    let meta = FileMetaTableBuilder::new()
        .media_storage_sop_class_uid(uids::SECONDARY_CAPTURE_IMAGE_STORAGE)
        .media_storage_sop_instance_uid("1.2")
        .transfer_syntax(transfer_syntax);
    Ok(object.with_meta(meta)?)
}
