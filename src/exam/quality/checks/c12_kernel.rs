//! C-12: lung and mediastinum need two kernels or two series; the Zhejiang guide asks for both windows (必须有肺窗和纵隔窗).

use super::Exam;
use crate::dicom::tags;
use crate::exam::finding::{Finding, Level};
use std::collections::BTreeSet;

pub(super) fn check(exam: &Exam<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (item, carrying) in exam.items() {
        if !(item.modality.iter().any(|m| m == "CT") && item.region.iter().any(|r| r == "chest")) {
            continue;
        }
        let kernels: BTreeSet<&str> = carrying
            .into_iter()
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
