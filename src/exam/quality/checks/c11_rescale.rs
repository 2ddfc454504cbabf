//! C-11: without rescale values a CT has no Hounsfield units (PS3.3 C.8.2.1.1).

use super::{Exam, Image, each_image};
use crate::dicom::tags;
use crate::exam::finding::{Finding, Level};

pub(super) fn check(exam: &Exam<'_>) -> Vec<Finding> {
    let (least, most) = (exam.limits.hounsfield.slope_least, exam.limits.hounsfield.slope_most);
    let mut findings = each_image(exam, &["CT"], |_, image| {
        let number = |tag| image.attributes.float(tag);
        match (number(tags::RESCALE_SLOPE), number(tags::RESCALE_INTERCEPT)) {
            (Some(slope), Some(_)) if (least..=most).contains(&slope) => None,
            (Some(slope), Some(_)) if slope != 0.0 => Some(
                Finding::new(
                    "C-11",
                    Level::Reject,
                    "重缩放斜率不合理，CT 值不可信，请由来源补正",
                    "Rescale Slope is no slope of a CT: its numbers cannot be trusted; mend it at the source",
                )
                .measured(slope, if slope > most { most } else { least }, "HU a step"),
            ),
            _ => Some(Finding::new(
                "C-11",
                Level::Reject,
                "缺少重缩放斜率或截距，无法得到 CT 值，请由来源补正",
                "Rescale Slope or Intercept is missing or zero: there are no CT numbers; mend it at the source",
            )),
        }
    });
    for series in exam.carrying(&["CT"]) {
        let values = |image: &Image<'_>| [tags::RESCALE_SLOPE, tags::RESCALE_INTERCEPT].map(|t| image.attributes.float(t));
        let first = series.images.first().map(values);
        let other = series.images.iter().find(|image| Some(values(image)) != first);
        findings.extend(other.map(|image| {
            let zh = "同一序列内重缩放值不一致，CT 值可能有误，请核对";
            let en = "slices of the series have different rescale values: their CT numbers may be wrong; check them";
            Finding::new("C-11", Level::Warn, zh, en).in_series(series.uid).at(image.uid)
        }));
    }
    findings
}
