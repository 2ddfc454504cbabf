//! C-12: lung and mediastinum, bone and soft tissue need two kernels or two series; the Zhejiang guide asks for both windows (必须有肺窗和纵隔窗).
//! Kernels' names are their makers': only that there is one alone is told.

use super::Exam;
use crate::dicom::tags;
use crate::exam::finding::{Finding, Level};
use std::collections::BTreeSet;

pub(super) fn check(exam: &Exam<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (item, carrying) in exam.items().into_iter().filter(|(item, _)| item.modality.iter().any(|m| m == "CT")) {
        let usual = exam.limits.kernels.iter().find(|k| k.regions.iter().any(|r| item.region.contains(r)));
        let kernels: BTreeSet<&str> = carrying
            .into_iter()
            .flat_map(|s| &s.images)
            .flat_map(|i| i.attributes.texts(tags::CONVOLUTION_KERNEL))
            .map(String::as_str)
            .collect();
        if let Some(usual) = usual.filter(|_| kernels.len() == 1) {
            let finding = Finding::new(
                "C-12",
                Level::Warn,
                format!("{}：CT 只有一种重建算法，建议同时提供{}重建", item.name, usual.zh),
                format!("one kernel only for {}; provide {} reconstructions", item.name, usual.en),
            );
            findings.push(finding.measured(1.0, 2.0, "kernels"));
        }
    }
    findings
}
