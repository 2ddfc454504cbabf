//! G-16: irreversible compression: too strong, or hidden. Ratios are of common practice and only warn, up to the limit.

use super::{Exam, each_image};
use crate::dicom::{syntax, tags};
use crate::exam::finding::{Finding, Level};

pub(super) fn check(exam: &Exam<'_>) -> Vec<Finding> {
    let limits = &exam.limits.compression;
    each_image(exam, &[], |series, image| {
        let flagged = image.attributes.text(tags::LOSSY_IMAGE_COMPRESSION) == Some("01");
        if syntax::is_lossy_only(image.transfer_syntax) && !flagged {
            return Some(Finding::new(
                "G-16",
                Level::Reject,
                "图像为有损压缩，但未注明（0028,2110 应为 01），请由来源补正",
                "the image is compressed irreversibly and does not say so (0028,2110 must be 01); mend it at the source",
            ));
        }
        let ratio = image.attributes.floats(tags::LOSSY_IMAGE_COMPRESSION_RATIO).into_iter().fold(0.0, f64::max);
        let warn = match series.facts.modality.as_str() {
            "CT" => limits.ratio_warn_ct,
            "MR" => limits.ratio_warn_mr,
            _ => limits.ratio_warn_dr,
        };
        let (level, limit) = match ratio {
            r if flagged && r > limits.ratio_reject => (Level::Reject, limits.ratio_reject),
            r if flagged && r > warn => (Level::Warn, warn),
            _ => return None,
        };
        let finding = Finding::new(
            "G-16",
            level,
            format!("有损压缩比 {ratio:.0}:1 过高，请提供压缩较少的图像"),
            format!("irreversibly compressed {ratio:.0}:1, which is strong; provide less compressed images"),
        );
        Some(finding.measured(ratio, limit, ":1"))
    })
}
