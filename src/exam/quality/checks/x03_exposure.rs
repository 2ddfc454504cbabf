//! the exposure index is there and within the usual range of IEC 62494-1. Vendors' older indices are other attributes.

use super::{Exam, each_image};
use crate::dicom::tags;
use crate::exam::finding::{Finding, Level};

pub(super) fn check(exam: &Exam<'_>) -> Vec<Finding> {
    let limits = &exam.limits.exposure;
    each_image(exam, &["DX"], |_, image| {
        let Some(index) = image.attributes.float(tags::EXPOSURE_INDEX) else {
            return Some(Finding::new(
                "X-03",
                Level::Info,
                "未提供曝光指数（0018,1411），无法监测曝光，请在设备上启用",
                "Exposure Index (0018,1411) is not given: the exposure cannot be watched; let the device send it",
            ));
        };
        let limit = if index < limits.index_low { limits.index_low } else { limits.index_high };
        (index < limits.index_low || index > limits.index_high).then(|| {
            let finding = Finding::new(
                "X-03",
                Level::Warn,
                format!("曝光指数 {index:.0} 超出常见范围，请核对曝光设置"),
                format!("an exposure index of {index:.0} is unusual; check it"),
            );
            finding.measured(index, limit, "EI")
        })
    })
}
