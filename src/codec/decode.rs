//! The codecs, called in the worker process only. What they are known to get wrong is put right here.

use super::{DecodeError, Frame};
use crate::dicom::image::Layout;
use crate::dicom::uids;
use dicom_core::value::{C, PixelFragmentSequence};
use dicom_core::{DataElement, PrimitiveValue, VR, dicom_value};
use dicom_dictionary_std::tags;
use dicom_object::{FileDicomObject, FileMetaTableBuilder, InMemDicomObject};
use dicom_pixeldata::PixelDecoder;

/// Decodes the fragments of one frame.
///
/// # Errors
/// The syntax is not decoded here, or the codec refused.
pub fn decode(layout: &Layout, transfer_syntax: &str, fragments: Vec<Vec<u8>>) -> Result<Frame, DecodeError> {
    if !DECODED.contains(&transfer_syntax) {
        return Err(DecodeError::Unsupported(transfer_syntax.into()));
    }
    if transfer_syntax == uids::RLE_LOSSLESS {
        return super::rle::decode(layout, &fragments.concat());
    }
    let rgb_jpeg =
        matches!(transfer_syntax, uids::JPEG_BASELINE8_BIT | uids::JPEG_EXTENDED12_BIT) && layout.photometric == "RGB";
    let bytes = if rgb_jpeg {
        jpeg_without_colour_transform(&fragments.concat())?
    } else {
        through_dicom_rs(layout, transfer_syntax, fragments)?
    };
    let wanted = layout.frame_samples() * u64::from(layout.bits_allocated.div_ceil(8));
    if (bytes.len() as u64) < wanted {
        return Err(DecodeError::Short { got: bytes.len() as u64, wanted });
    }
    let mut bytes = bytes;
    bytes.truncate(usize::try_from(wanted).unwrap_or(usize::MAX));
    let photometric = match (transfer_syntax, layout.photometric.as_str()) {
        // The JPEG decoder converts to RGB itself; so do the JPEG 2000 and JPEG XL decoders for their own transforms.
        (uids::JPEG_BASELINE8_BIT | uids::JPEG_EXTENDED12_BIT, p) if p.starts_with("YBR") => "RGB",
        (_, "YBR_ICT" | "YBR_RCT" | "XYB") => "RGB",
        (_, p) => p,
    };
    let layout = Layout { photometric: photometric.into(), planar: false, frames: 1, ..layout.clone() };
    Ok(Frame { layout, bytes })
}

/// Transfer syntaxes whose results were checked against another decoder; everything else is refused rather than guessed.
const DECODED: &[&str] = &[
    uids::JPEG_BASELINE8_BIT,
    uids::JPEG_EXTENDED12_BIT,
    uids::JPEG_LOSSLESS,
    uids::JPEG_LOSSLESS_SV1,
    uids::JPEG2000_LOSSLESS,
    uids::JPEG2000,
    uids::HTJ2K_LOSSLESS,
    uids::HTJ2K_LOSSLESS_RPCL,
    uids::HTJ2K,
    uids::RLE_LOSSLESS,
    uids::JPEGXL_LOSSLESS,
    uids::JPEGXL,
    uids::JPEGXLJPEG_RECOMPRESSION,
];

/// RGB stored as JPEG: dicom-rs would take it for YCbCr when there is no Adobe marker.
fn jpeg_without_colour_transform(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut decoder = jpeg_decoder::Decoder::new(bytes);
    // `None` would leave the planes one after the other.
    decoder.set_color_transform(jpeg_decoder::ColorTransform::RGB);
    decoder.decode().map_err(|e| DecodeError::Damaged(e.to_string()))
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
