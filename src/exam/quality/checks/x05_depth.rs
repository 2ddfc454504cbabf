//! bits of a radiograph.

use super::{Exam, each_image};
use crate::dicom::tags;
use crate::exam::finding::{Finding, Level};

pub(super) fn check(exam: &Exam<'_>) -> Vec<Finding> {
    let least = exam.limits.resolution.dr_bits_warn;
    each_image(exam, &["DX"], |_, image| {
        let bits = image.attributes.float(tags::BITS_STORED)?;
        (bits < least).then(|| {
            let finding = Finding::new(
                "X-05",
                Level::Warn,
                format!("灰阶仅 {bits:.0} 位，请提供原始灰阶图像"),
                format!("only {bits:.0} bits of grey; provide the original"),
            );
            finding.measured(bits, least, "bits")
        })
    })
}
