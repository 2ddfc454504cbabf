//! Perceptual measures of a series held against what is usual for its device and item, C-16, M-06 to M-08, M-12. Never judges a device that was not calibrated.

use super::checks::x02_deviation::deviation;
use super::perception::Perceived;
use crate::dicom::{Attributes, Uid, tags};
use crate::exam::facts::rule_modality;
use crate::exam::finding::{Finding, Level};
use crate::exam::geometry::median;
use crate::procedure::calibration::{Calibration, Usual};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One measure of one series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    /// The series.
    pub series: Uid,
    /// Manufacturer, model and serial number or station, joined by `|`.
    pub device: String,
    /// The items that the series carries.
    pub items: Vec<u32>,
    /// `sharpness` (log2), `noise` (of the range of the anatomy), `snr`, `ghosting`, `bright`, `bias` or `edge` (of the signal), `exposure` (deviation index).
    pub measure: String,
    /// Median over the frames looked at.
    pub value: f64,
}

/// What is worse than usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Worse {
    Less,
    More,
    Both,
}

/// Check numbers by modality and measure.
const CHECKS: &[(&str, &str, &str, Worse)] = &[
    ("DX", "exposure", "X-02", Worse::Both),
    ("DX", "noise", "X-09", Worse::More),
    ("DX", "sharpness", "X-10", Worse::Less),
    ("CT", "sharpness", "C-16", Worse::Less),
    ("MR", "snr", "M-06", Worse::Less),
    ("MR", "noise", "M-06", Worse::More),
    ("MR", "ghosting", "M-07", Worse::More),
    ("MR", "sharpness", "M-08", Worse::Less),
    ("MR", "bias", "M-12", Worse::More),
    ("MR", "edge", "M-12", Worse::More),
];

/// The device that made a series.
pub fn device(series: &Attributes) -> String {
    let text = |tag| series.text(tag).unwrap_or("").trim().to_string();
    let serial = Some(text(tags::DEVICE_SERIAL_NUMBER)).filter(|s| !s.is_empty()).unwrap_or_else(|| text(tags::STATION_NAME));
    [text(tags::MANUFACTURER), text(tags::MANUFACTURER_MODEL_NAME), serial].join("|")
}

/// The measures of a series: medians over its frames, and over the deviation indices of its images.
pub fn measures(
    series: &Uid,
    attributes: &Attributes,
    items: &[u32],
    frames: &[Perceived],
    images: &[Attributes],
) -> Vec<Measure> {
    let named = |name: &str, values: Vec<f64>| {
        let value = median(values)?;
        Some(Measure { series: series.clone(), device: device(attributes), items: items.to_vec(), measure: name.into(), value })
    };
    let of = |name: &str, value: fn(&Perceived) -> Option<f64>| named(name, frames.iter().filter_map(value).collect());
    let exposure = named("exposure", images.iter().filter_map(deviation).filter(|d| d.is_finite()).collect());
    // Only in MR does the air beside the body tell of noise and ghosts.
    let air = [
        of("snr", |p| p.snr),
        of("ghosting", |p| p.ghosting),
        of("bright", |p| p.bright),
        of("bias", |p| p.bias),
        of("edge", |p| p.edge),
    ]
    .into_iter()
    .filter(|_| attributes.text(tags::MODALITY) == Some("MR"));
    [of("sharpness", |p| p.sharpness), of("noise", |p| p.noise), exposure].into_iter().chain(air).flatten().collect()
}

/// Judges measures by the calibration.
pub fn judge(modality: &str, measures: &[Measure], calibration: &Calibration) -> Vec<Finding> {
    let mut findings = Vec::new();
    for one in measures {
        let Some((_, _, check, worse)) =
            CHECKS.iter().find(|(m, name, _, _)| *m == rule_modality(modality) && *name == one.measure)
        else {
            continue;
        };
        for item in &one.items {
            let usual = calibration.usual(&one.device, *item, &one.measure);
            findings.extend(usual.and_then(|u| against(check, one, u, *worse)).map(|f| f.in_series(&one.series)));
        }
    }
    findings
}

fn against(check: &str, one: &Measure, usual: &Usual, worse: Worse) -> Option<Finding> {
    let less = worse == Worse::Less || (worse == Worse::Both && one.value < usual.p5);
    let beyond = |limit: f64| if less { one.value < limit } else { one.value > limit };
    let (outer, inner) = if less { (usual.p1, usual.p5) } else { (usual.p99, usual.p95) };
    let (level, limit) = match (beyond(outer), beyond(inner)) {
        (true, _) if usual.reject => (Level::Reject, outer),
        (_, true) => (Level::Warn, inner),
        _ => return None,
    };
    let (zh, en) = match one.measure.as_str() {
        "sharpness" => (
            "清晰度低于本设备该项目的常见范围，请核对是否模糊或运动",
            "less sharp than usual on this device; check for blur and motion",
        ),
        "exposure" => (
            "曝光偏差超出本设备该项目的常见范围，请核对曝光设置",
            "a deviation index that is unusual on this device; check its exposure settings",
        ),
        "snr" => (
            "信噪比低于本设备该项目的常见范围，请核对线圈与参数",
            "a lower signal-to-noise ratio than usual on this device; check coils and protocol",
        ),
        "bias" => (
            "信号强度不均匀高于本设备该项目的常见范围，请核对线圈",
            "a stronger drift of intensity than usual on this device; check the coils",
        ),
        "edge" => (
            "图像边缘信号高于本设备该项目的常见范围，请核对卷褶伪影",
            "more signal along the borders than usual on this device; check for wrap-around",
        ),
        "ghosting" => (
            "鬼影高于本设备该项目的常见范围，请核对运动与接收线圈",
            "more ghosting than usual on this device; check motion and coils",
        ),
        _ => (
            "噪声高于本设备该项目的常见范围，请核对曝光与重建参数",
            "more noise than usual on this device; check exposure and reconstruction",
        ),
    };
    Some(Finding::new(check, level, zh, en).measured(one.value, limit, &one.measure))
}

/// What is usual, from the measures of accepted studies, one list a study: groups of at least `least` studies.
pub fn calibrate(studies: &[Vec<Measure>], least: usize, version: &str) -> Calibration {
    let mut groups: BTreeMap<(String, u32, String), Vec<f64>> = BTreeMap::new();
    for study in studies {
        let mut own: BTreeMap<(String, u32, String), Vec<f64>> = BTreeMap::new();
        for one in study {
            for item in &one.items {
                own.entry((one.device.clone(), *item, one.measure.clone())).or_default().push(one.value);
            }
        }
        // One value a study: a study of many series is no many studies.
        own.into_iter().filter_map(|(key, values)| Some((key, median(values)?))).for_each(|(key, value)| {
            groups.entry(key).or_default().push(value);
        });
    }
    let usual =
        groups.into_iter().filter(|(_, values)| values.len() >= least.max(1)).map(|((device, item, measure), mut values)| {
            values.sort_by(f64::total_cmp);
            let at = |percent: usize| values.get((values.len() - 1) * percent / 100).copied().unwrap_or(0.0);
            Usual {
                device,
                item,
                measure,
                studies: values.len(),
                p1: at(1),
                p5: at(5),
                p95: at(95),
                p99: at(99),
                reject: false,
            }
        });
    Calibration { version: version.into(), usual: usual.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measure(value: f64) -> Measure {
        Measure { series: Uid::derived(&["s"]), device: "A|B|C".into(), items: vec![1], measure: "sharpness".into(), value }
    }

    #[test]
    fn a_device_is_judged_by_what_is_usual_for_it_and_rejects_only_when_allowed() {
        let studies: Vec<Vec<Measure>> = (0..200).map(|n| vec![measure(f64::from(n) / 100.0)]).collect();
        assert_eq!(calibrate(&studies, 201, "x").usual, vec![]);
        let mut calibration = calibrate(&studies, 100, "x");
        assert_eq!(calibration.usual.len(), 1);
        let levels = |calibration: &Calibration, value: f64| {
            judge("CR", &[measure(value)], calibration).into_iter().map(|f| (f.check, f.level)).collect::<Vec<_>>()
        };
        assert_eq!(levels(&calibration, 1.0), vec![]);
        assert_eq!(levels(&calibration, 0.05), vec![("X-10".to_string(), Level::Warn)]);
        assert_eq!(levels(&calibration, -1.0), vec![("X-10".to_string(), Level::Warn)]);
        calibration.usual[0].reject = true;
        assert_eq!(levels(&calibration, 0.05), vec![("X-10".to_string(), Level::Warn)]);
        assert_eq!(levels(&calibration, -1.0), vec![("X-10".to_string(), Level::Reject)]);
        let other = Measure { device: "another".into(), ..measure(-9.0) };
        assert_eq!(judge("CR", &[other], &calibration), vec![]);
    }
}
