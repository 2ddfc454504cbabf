//! G-03: stored bits fit into the allocated ones, the highest is the last of them.

use super::{Exam, each_image};
use crate::dicom::tags;
use crate::exam::finding::{Finding, Level};

pub(super) fn check(exam: &Exam<'_>) -> Vec<Finding> {
    each_image(exam, &[], |_, image| {
        let bits = |tag| image.attributes.int(tag);
        let (allocated, stored) = (bits(tags::BITS_ALLOCATED)?, bits(tags::BITS_STORED)?);
        let last = stored.saturating_sub(1);
        let high = bits(tags::HIGH_BIT).unwrap_or(last);
        (stored > allocated || high != last).then(|| {
            Finding::new(
                "G-03",
                Level::Warn,
                format!("像素位数不规范：分配 {allocated}、存储 {stored}、最高位 {high}，请核对设备设置"),
                format!("odd pixel bits: allocated {allocated}, stored {stored}, high bit {high}; check the device"),
            )
        })
    })
}
