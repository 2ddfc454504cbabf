//! The shape of an image's samples (PS3.3 C.7.6.3), with every product checked before anything is allocated.

use super::{Attributes, DataSet, tags, uids};
use serde::{Deserialize, Serialize};

/// Most samples one frame may have: a 16,384 × 16,384 colour slide tile set stays below.
const MAX_FRAME_BYTES: u64 = 1 << 30;

/// Shape and coding of the samples of every frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Layout {
    /// Rows (0028,0010).
    pub rows: u32,
    /// Columns (0028,0011).
    pub columns: u32,
    /// Samples per Pixel (0028,0002): 1 or 3 (4 for retired ARGB, CMYK).
    pub samples: u32,
    /// Bits Allocated (0028,0100): 1, 8, 16, 32 or 64.
    pub bits_allocated: u32,
    /// Bits Stored (0028,0101).
    pub bits_stored: u32,
    /// High Bit (0028,0102).
    pub high_bit: u32,
    /// Pixel Representation (0028,0103): two's complement. Samples of colours have no sign (C.7.6.3.1.2), whatever the header says.
    pub signed: bool,
    /// Photometric Interpretation (0028,0004).
    pub photometric: String,
    /// Planar Configuration (0028,0006) is 1: colour by plane.
    pub planar: bool,
    /// Number of Frames (0028,0008).
    pub frames: u32,
}

/// Why the pixel attributes describe no image.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LayoutError {
    /// An attribute is not there.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A value no image can have.
    #[error("{0} is {1}, which no image can have")]
    Impossible(&'static str, i64),
    /// A frame over the limit.
    #[error("a frame would take {0} bytes, over the limit of {MAX_FRAME_BYTES}")]
    TooLarge(u64),
}

/// Whether an image is raw, for processing and not to look at (PS3.3 C.8.11.1.1.1): by what it says, or by its class where it says nothing.
pub fn is_for_processing(sop_class: &str, intent: Option<&str>) -> bool {
    intent.map_or(sop_class == uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PROCESSING, |intent| intent.trim() == "FOR PROCESSING")
}

impl Layout {
    /// From the attributes of a header.
    ///
    /// # Errors
    /// A required attribute is missing or impossible.
    pub fn of(attributes: &Attributes) -> Result<Layout, LayoutError> {
        let need = |tag, name| attributes.int(tag).ok_or(LayoutError::Missing(name));
        let bounded = |tag, name, min: i64, max: i64| {
            let value = need(tag, name)?;
            u32::try_from(value).ok().filter(|_| (min..=max).contains(&value)).ok_or(LayoutError::Impossible(name, value))
        };
        let bits_allocated = bounded(tags::BITS_ALLOCATED, "Bits Allocated (0028,0100)", 1, 64)?;
        if !matches!(bits_allocated, 1 | 8 | 16 | 32 | 64) {
            return Err(LayoutError::Impossible("Bits Allocated (0028,0100)", bits_allocated.into()));
        }
        let optional = |tag, otherwise: u32| attributes.int(tag).and_then(|v| u32::try_from(v).ok()).unwrap_or(otherwise);
        let bits_stored = optional(tags::BITS_STORED, bits_allocated);
        if bits_stored == 0 || bits_stored > bits_allocated {
            return Err(LayoutError::Impossible("Bits Stored (0028,0101)", bits_stored.into()));
        }
        let high_bit = optional(tags::HIGH_BIT, bits_stored - 1);
        if high_bit >= bits_allocated || high_bit + 1 < bits_stored {
            return Err(LayoutError::Impossible("High Bit (0028,0102)", high_bit.into()));
        }
        let samples = bounded(tags::SAMPLES_PER_PIXEL, "Samples per Pixel (0028,0002)", 1, 4)?;
        let layout = Layout {
            rows: bounded(tags::ROWS, "Rows (0028,0010)", 1, 65_535)?,
            columns: bounded(tags::COLUMNS, "Columns (0028,0011)", 1, 65_535)?,
            samples,
            bits_allocated,
            bits_stored,
            high_bit,
            signed: attributes.int(tags::PIXEL_REPRESENTATION) == Some(1) && samples == 1,
            photometric: attributes
                .text(tags::PHOTOMETRIC_INTERPRETATION)
                .ok_or(LayoutError::Missing("Photometric Interpretation (0028,0004)"))?
                .to_string(),
            planar: attributes.int(tags::PLANAR_CONFIGURATION) == Some(1),
            frames: optional(tags::NUMBER_OF_FRAMES, 1).max(1),
        };
        match layout.frame_bytes() {
            bytes if bytes > MAX_FRAME_BYTES => Err(LayoutError::TooLarge(bytes)),
            _ => Ok(layout),
        }
    }

    /// From a data set.
    ///
    /// # Errors
    /// As [`Layout::of`].
    pub fn of_data_set(data_set: &DataSet) -> Result<Layout, LayoutError> {
        Layout::of(&Attributes::decode(data_set, |tag| tag.0 == 0x0028))
    }

    /// Samples of one frame.
    pub fn frame_samples(&self) -> u64 {
        u64::from(self.rows) * u64::from(self.columns) * u64::from(self.samples)
    }

    /// Bytes of one native frame. YBR_FULL_422 stores two of three samples (PS3.3 C.7.6.3.1.2).
    pub fn frame_bytes(&self) -> u64 {
        let samples = if self.photometric == "YBR_FULL_422" || self.photometric == "YBR_PARTIAL_422" {
            u64::from(self.rows) * u64::from(self.columns.div_ceil(2)) * 4
        } else {
            self.frame_samples()
        };
        (samples * u64::from(self.bits_allocated)).div_ceil(8)
    }

    /// Bytes that native pixel data of all frames need; 1-bit frames are packed without a gap (PS3.5 8.1.1).
    pub fn total_bytes(&self) -> u64 {
        let frames = u64::from(self.frames);
        if self.bits_allocated == 1 { (self.frame_samples() * frames).div_ceil(8) } else { self.frame_bytes() * frames }
    }

    /// Smallest and largest value a sample can have.
    pub fn range(&self) -> (i64, i64) {
        let bits = self.bits_stored.min(62);
        if self.signed { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) } else { (0, (1 << bits) - 1) }
    }

    /// Grey, light where values are small.
    pub fn is_inverted(&self) -> bool {
        self.photometric == "MONOCHROME1"
    }

    /// Grey.
    pub fn is_grey(&self) -> bool {
        self.photometric.starts_with("MONOCHROME")
    }
}
