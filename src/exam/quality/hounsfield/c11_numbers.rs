//! C-11: the CT numbers of air and of soft tissue, of the series and of each slice: calibration and rescale values.

use super::Measures;
use crate::exam::finding::{Finding, Level, Place};
use crate::exam::geometry::median;
use crate::procedure::catalogue::Hounsfield;

/// Of the whole series.
pub(super) fn of_series(slices: &[(Place, Measures)], limits: &Hounsfield) -> Vec<Finding> {
    let middle = |of: fn(&Measures) -> Option<f64>| median(slices.iter().filter_map(|(_, m)| of(m)).collect());
    let air = (-1000.0 - limits.air_tolerance, -1000.0 + limits.air_tolerance);
    let soft = (limits.soft_low, limits.soft_high);
    let off = |(value, (low, high), zh, en): (Option<f64>, (f64, f64), &str, &str)| {
        let value = value.filter(|v| !(low..=high).contains(v))?;
        let finding = Finding::new(
            "C-11",
            Level::Warn,
            format!("{zh}的 CT 值为 {value:.0} HU，请核对设备校准或重缩放值"),
            format!("{en} measures {value:.0} HU; check calibration and rescale values"),
        );
        Some(finding.measured(value, if value < low { low } else { high }, "HU"))
    };
    [(middle(|m| m.air), air, "空气", "air"), (middle(|m| m.soft_tissue), soft, "软组织", "soft tissue")]
        .into_iter()
        .filter_map(off)
        .chain(without_soft_tissue(slices))
        .collect()
}

/// Most slices hold nothing that measures like soft tissue: there is some in every part of a body.
fn without_soft_tissue(slices: &[(Place, Measures)]) -> Option<Finding> {
    let without = slices.iter().filter(|(_, m)| m.soft_tissue.is_none() && m.air.is_some()).count();
    (2 * without > slices.len()).then(|| {
        let zh = "多数层面没有软组织范围的 CT 值，请核对重缩放值";
        let en = "most slices hold no CT numbers of soft tissue; check rescale values";
        #[expect(clippy::cast_precision_loss, reason = "counts of slices")]
        Finding::new("C-11", Level::Warn, zh, en).measured(without as f64, slices.len() as f64 / 2.0, "slices")
    })
}

/// Slices whose numbers fit neither air nor soft tissue, or not those of the others: a wrong rescale value, or none in Hounsfield units.
pub(super) fn of_slices(slices: &[(Place, Measures)], limits: &Hounsfield) -> Option<Finding> {
    let usual = |of: fn(&Measures) -> Option<f64>| median(slices.iter().filter_map(|(_, m)| of(m)).collect());
    let (air, soft) = (usual(|m| m.air), usual(|m| m.soft_tissue));
    let far = |own: Option<f64>, usual: Option<f64>| own.zip(usual).is_some_and(|(a, b)| (a - b).abs() > limits.odd_slice);
    let is_odd = |m: &Measures| {
        if m.between.is_some() {
            return true;
        }
        // The top of a head is mostly air: only what fits nothing at all is odd.
        let neither = m.soft_tissue.is_none() && m.air.is_none();
        neither || far(m.air, air) || far(m.soft_tissue, soft)
    };
    let odd: Vec<&Place> = slices.iter().filter(|(_, m)| is_odd(m)).map(|(uid, _)| uid).collect();
    let first = odd.first()?;
    // One odd slice may be a top of a head; where most are, these are no Hounsfield units, or the bytes are in disorder.
    let level = if 2 * odd.len() > slices.len() { Level::Review } else { Level::Warn };
    let finding = Finding::new(
        "C-11",
        level,
        format!("{} 层的 CT 值与空气、软组织或其他层面不符，请核对重缩放值", odd.len()),
        format!(
            "the CT numbers of {} slices fit neither air nor soft tissue, or not the other slices; check rescale values",
            odd.len()
        ),
    );
    #[expect(clippy::cast_precision_loss, reason = "counts of slices")]
    Some(finding.at(*first).measured(odd.len() as f64, 0.0, "slices"))
}
