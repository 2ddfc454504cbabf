//! deviation index (IEC 62494-1), or what exposure index and target make of it. Action levels after AAPM report 116.

use super::{Exam, each_image};
use crate::dicom::tags;
use crate::exam::finding::{Finding, Level};

pub(super) fn check(exam: &Exam<'_>) -> Vec<Finding> {
    let limits = &exam.limits.exposure;
    each_image(exam, &["DX"], |_, image| {
        let number = |tag| image.attributes.float(tag);
        let computed = || {
            let (index, target) = (number(tags::EXPOSURE_INDEX)?, number(tags::TARGET_EXPOSURE_INDEX)?);
            (index > 0.0 && target > 0.0).then(|| 10.0 * (index / target).log10())
        };
        let deviation = number(tags::DEVIATION_INDEX).or_else(computed)?;
        let (level, limit, zh, en) = match deviation {
            d if d < -limits.deviation_review => (
                Level::Review,
                -limits.deviation_review,
                "曝光严重不足，噪声可能影响诊断",
                "grossly under-exposed: noise may hide findings",
            ),
            d if d > limits.deviation_review => {
                (Level::Warn, limits.deviation_review, "曝光严重过量，请核查剂量", "grossly over-exposed: look into the dose")
            }
            d if d.abs() > limits.deviation_warn => {
                (Level::Warn, limits.deviation_warn, "曝光偏离目标", "the exposure is off its target")
            }
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
