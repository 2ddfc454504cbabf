//! deviation index (IEC 62494-1), or what exposure index and target make of it. Action levels after AAPM report 116.

use super::{Exam, each_image};
use crate::dicom::{Attributes, tags};
use crate::exam::finding::{Finding, Level};

pub(super) fn check(exam: &Exam<'_>) -> Vec<Finding> {
    let limits = &exam.limits.exposure;
    each_image(exam, &["DX"], |_, image| {
        let deviation = deviation(image.attributes)?;
        let (level, limit, zh, en) = match deviation {
            d if d < -limits.deviation_review => (
                Level::Review,
                -limits.deviation_review,
                "曝光严重不足，噪声可能影响诊断，请人工确认是否需重拍",
                "grossly under-exposed: noise may hide findings; decide whether it is to be repeated",
            ),
            d if d > limits.deviation_review => {
                (Level::Warn, limits.deviation_review, "曝光严重过量，请核查剂量", "grossly over-exposed: look into the dose")
            }
            d if d.abs() > limits.deviation_warn => (
                Level::Warn,
                limits.deviation_warn,
                "曝光偏离目标，请核对曝光设置",
                "the exposure is off its target; check its settings",
            ),
            _ => return None,
        };
        let finding = Finding::new(
            "X-02",
            level,
            format!("{zh}（偏差指数 {deviation:.1}）"),
            format!("{en} (deviation index {deviation:.1})"),
        );
        Some(finding.measured(deviation, limit, "DI"))
    })
}

/// The deviation index that an image states, or that follows from its exposure index and their target (IEC 62494-1).
pub fn deviation(image: &Attributes) -> Option<f64> {
    let computed = || {
        let (index, target) = (image.float(tags::EXPOSURE_INDEX)?, image.float(tags::TARGET_EXPOSURE_INDEX)?);
        (index > 0.0 && target > 0.0).then(|| 10.0 * (index / target).log10())
    };
    image.float(tags::DEVIATION_INDEX).or_else(computed)
}
