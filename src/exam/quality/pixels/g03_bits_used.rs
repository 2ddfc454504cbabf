//! G-03: samples that use more bits than are stored, padding apart: a viewer cuts them.

use crate::dicom::image::Layout;
use crate::dicom::{Attributes, tags};
use crate::exam::finding::{Finding, Level};

/// Judges the stored bytes of one frame of 16 bit words.
pub fn check(bytes: &[u8], layout: &Layout, image: &Attributes, many: f64) -> Option<Finding> {
    let stored = layout.bits_stored;
    if layout.bits_allocated != 16 || stored >= 16 || layout.high_bit + 1 != stored {
        return None;
    }
    let words = || bytes.as_chunks::<2>().0.iter().map(|b| u16::from_le_bytes(*b));
    // As a rule all fit: one look at the bits of all of them together tells.
    if words().fold(0, |all, word| all | word) >> stored == 0 {
        return None;
    }
    let unused = 16 - stored;
    let padding = image.int(tags::PIXEL_PADDING_VALUE);
    let beyond = |word: u16| {
        let extended = (((word << unused).cast_signed()) >> unused).cast_unsigned();
        let fits = word >> stored == 0 || (layout.signed && word == extended);
        let pads = padding == Some(i64::from(word)) || padding == Some(i64::from(word.cast_signed()));
        !fits && !pads
    };
    let (all, cut) = words().fold((0usize, 0usize), |(all, cut), word| (all + 1, cut + usize::from(beyond(word))));
    #[expect(clippy::cast_precision_loss, reason = "counts of samples")]
    let share = cut as f64 / all.max(1) as f64;
    (cut > 0).then(|| {
        // A stray sample is the device's; many are another format than the header tells, such as exchanged bytes.
        let level = if share > many { Level::Review } else { Level::Warn };
        let finding = Finding::new(
            "G-03",
            level,
            format!("有像素值超出声明的 {stored} 位，显示可能有误，请核对设备设置"),
            format!("samples do not fit into the {stored} bits that are stored: they may be shown wrong; check the device"),
        );
        finding.measured(share, if level == Level::Review { many } else { 0.0 }, "of samples")
    })
}
