//! deviation index (IEC 62494-1), or what exposure index and target make of it. Action levels after AAPM report 116.

use super::{Exam, each_image};
use crate::dicom::{Attributes, tags};
use crate::exam::finding::{Finding, Level};

pub(super) fn check(exam: &Exam<'_>) -> Vec<Finding> {
    let limits = &exam.limits.exposure;
    each_image(exam, &["DX"], |_, image| {
        if let Some(finding) = contradicted(image.attributes, limits.deviation_warn) {
            return Some(finding);
        }
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

/// A stated deviation index that exposure index and target contradict: one of the three is wrong.
fn contradicted(image: &Attributes, tolerance: f64) -> Option<Finding> {
    let (stated, computed) = (image.float(tags::DEVIATION_INDEX)?, computed(image)?);
    ((stated - computed).abs() > tolerance).then(|| {
        let zh = format!("偏差指数 {stated:.1} 与曝光指数、目标值所得 {computed:.1} 不符，请核对设备设置");
        let en = format!(
            "Deviation Index {stated:.1} is not what exposure index and target make, {computed:.1}: check the device's settings"
        );
        Finding::new("X-02", Level::Review, zh, en).measured((stated - computed).abs(), tolerance, "DI")
    })
}

/// The deviation index that an image states, or that follows from its exposure index and their target (IEC 62494-1).
pub fn deviation(image: &Attributes) -> Option<f64> {
    image.float(tags::DEVIATION_INDEX).or_else(|| computed(image))
}

fn computed(image: &Attributes) -> Option<f64> {
    let (index, target) = (image.float(tags::EXPOSURE_INDEX)?, image.float(tags::TARGET_EXPOSURE_INDEX)?);
    (index > 0.0 && target > 0.0).then(|| 10.0 * (index / target).log10())
}
