//! C-12: lung and mediastinum need two kernels or two series; the Zhejiang guide asks for both windows (必须有肺窗和纵隔窗).

use super::Exam;
use crate::dicom::tags;
use crate::exam::finding::{Finding, Level};
use std::collections::BTreeSet;

pub(super) fn check(exam: &Exam<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for one in exam.recognised {
        let item = exam.region.and_then(|r| r.item(one.item));
        if !item.is_some_and(|i| i.modality.iter().any(|m| m == "CT") && i.region.iter().any(|r| r == "chest")) {
            continue;
        }
        let carrying = exam.series.iter().filter(|s| one.series.contains(s.uid));
        let kernels: BTreeSet<&str> = carrying
            .flat_map(|s| &s.images)
            .flat_map(|i| i.attributes.texts(tags::CONVOLUTION_KERNEL))
            .map(String::as_str)
            .collect();
        if kernels.len() == 1 {
            findings.push(Finding::new(
                "C-12",
                Level::Warn,
                "胸部 CT 只有一种重建算法，建议同时提供肺窗与纵隔窗重建",
                "one kernel only for a chest CT; lung and mediastinal reconstructions are usual",
            ));
        }
    }
    findings
}
