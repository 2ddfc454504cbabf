//! G-16: irreversible compression: hidden, or too strong. What the code stream itself says counts, not what the header claims: ratios are
//! the stated one or that of the bytes, whichever is larger. They are of common practice and only warn, up to the limit.

use crate::dicom::{Attributes, tags};
use crate::exam::finding::{Finding, Level};
use crate::procedure::catalogue::Compression;

/// What the stored object tells.
#[derive(Debug, Clone, Copy)]
pub struct Stored {
    /// Whether decoding gives other samples than the encoder was given; none where nobody can tell.
    pub loses: Option<bool>,
    /// Native bytes over stored bytes.
    pub ratio: f64,
}

/// Judges one image.
pub fn check(stored: Stored, modality: &str, attributes: &Attributes, limits: &Compression) -> Option<Finding> {
    let flagged = attributes.text(tags::LOSSY_IMAGE_COMPRESSION) == Some("01");
    if stored.loses == Some(true) && !flagged {
        return Some(Finding::new(
            "G-16",
            Level::Reject,
            "图像为有损压缩，但未注明（0028,2110 应为 01），请由来源补正",
            "the image is compressed irreversibly and does not say so (0028,2110 must be 01); mend it at the source",
        ));
    }
    if stored.loses.is_none() && attributes.text(tags::LOSSY_IMAGE_COMPRESSION).is_none() {
        return Some(Finding::new(
            "G-16",
            Level::Review,
            "传输语法允许有损压缩，图像未注明是否有损（0028,2110），请核对来源",
            "the transfer syntax allows to lose something and the image does not say whether it did (0028,2110); ask the source",
        ));
    }
    let stated =
        attributes.floats(tags::LOSSY_IMAGE_COMPRESSION_RATIO).into_iter().filter(|r| r.is_finite()).fold(0.0, f64::max);
    if !flagged && (stated > 1.0 || attributes.text(tags::LOSSY_IMAGE_COMPRESSION_METHOD).is_some_and(|m| !m.trim().is_empty()))
    {
        let finding = Finding::new(
            "G-16",
            Level::Review,
            "图像标注了有损压缩比或方法，却未注明为有损（0028,2110），请核对来源",
            "the image states a ratio or method of irreversible compression and denies it (0028,2110); ask the source",
        );
        return Some(finding.measured(stated, 1.0, ":1"));
    }
    if !flagged {
        return None;
    }
    let ratio = if stored.loses == Some(true) { stated.max(stored.ratio) } else { stated };
    if ratio <= 0.0 {
        return Some(Finding::new(
            "G-16",
            Level::Warn,
            "有损压缩，但未注明压缩比（0028,2112），请由来源补正",
            "the image was compressed irreversibly and its ratio (0028,2112) is not stated; mend it at the source",
        ));
    }
    let warn = match modality {
        "CT" => limits.ratio_warn_ct,
        "MR" => limits.ratio_warn_mr,
        _ => limits.ratio_warn_dr,
    };
    let (level, limit) = match ratio {
        // Large dark areas make for few bytes: where a modest ratio is stated, a person looks.
        r if r > limits.ratio_reject && stated > 0.0 && stated <= limits.ratio_reject => (Level::Review, limits.ratio_reject),
        r if r > limits.ratio_reject => (Level::Reject, limits.ratio_reject),
        r if r > warn => (Level::Warn, warn),
        _ => return None,
    };
    let finding = Finding::new(
        "G-16",
        level,
        format!("有损压缩比 {ratio:.0}:1 过高，请提供压缩较少的图像"),
        format!("irreversibly compressed {ratio:.0}:1, which is strong; provide less compressed images"),
    );
    Some(finding.measured(ratio, limit, ":1"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::VR;

    #[test]
    fn hidden_and_strong_compression_is_told_whatever_the_header_claims() {
        let limits = Compression { ratio_warn_dr: 10.0, ratio_warn_ct: 8.0, ratio_warn_mr: 7.0, ratio_reject: 30.0 };
        let said = |loses, ratio, flag: &str, stated: &str| {
            let mut a = Attributes::default();
            a.set(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, vec![flag.into()]);
            a.set(tags::LOSSY_IMAGE_COMPRESSION_RATIO, VR::DS, vec![stated.into()]);
            check(Stored { loses, ratio }, "CT", &a, &limits).map(|f| f.level)
        };
        assert_eq!(said(Some(true), 3.0, "00", ""), Some(Level::Reject), "hidden");
        assert_eq!(said(Some(false), 3.0, "00", ""), None);
        assert_eq!(said(None, 40.0, "00", ""), None);
        assert_eq!(said(None, 4.0, "", ""), Some(Level::Review), "nobody can tell and nobody says");
        assert_eq!(said(Some(true), 60.0, "01", "4"), Some(Level::Review), "a false ratio");
        assert_eq!(said(Some(true), 60.0, "01", ""), Some(Level::Reject), "no ratio");
        assert_eq!(said(Some(true), 9.0, "01", "4"), Some(Level::Warn));
        assert_eq!(said(Some(false), 2.0, "01", "9"), Some(Level::Warn), "once lossy, stored without loss since");
        assert_eq!(said(Some(false), 2.0, "01", ""), Some(Level::Warn), "not stated");
        assert_eq!(said(Some(true), 5.0, "01", "5"), None);
        assert_eq!(said(Some(false), 2.0, "00", "40"), Some(Level::Review), "a history that is denied");
    }
}
