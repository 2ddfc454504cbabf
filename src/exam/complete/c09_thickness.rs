//! C-09 (CT) and M-03 (MR): the thinnest series of a plane is held to the item's thickness; thicker ones beside it are a warning.

use crate::exam::classify::Recognised;
use crate::exam::facts::{SeriesFacts, StudyFacts};
use crate::exam::finding::{Finding, Level};
use crate::exam::geometry::Stack;
use crate::procedure::Item;

pub(super) fn check(study: &StudyFacts, one: &Recognised, item: &Item) -> Vec<Finding> {
    let Some(limits) = item.thickness_mm else { return Vec::new() };
    let carrying: Vec<(&SeriesFacts, &Stack)> =
        study.series.iter().filter(|s| one.series.contains(&s.uid)).filter_map(|s| Some((s, s.stack()?))).collect();
    let check = |series: &SeriesFacts| if series.modality == "MR" { "M-03" } else { "C-09" };
    let mut findings = Vec::new();
    for (series, stack) in &carrying {
        let Some(thickness) = stack.thickness_mm else {
            let finding = Finding::new(
                check(series),
                Level::Review,
                "未说明层厚，无法核对，请人工确认",
                "Slice Thickness (0018,0050) is not stated; decide by hand",
            );
            findings.push(finding.in_series(&series.uid));
            continue;
        };
        let (level, limit) = match thickness {
            t if t > limits.reject + 0.01 => (Level::Reject, limits.reject),
            t if t > limits.warn + 0.01 => (Level::Warn, limits.warn),
            _ => continue,
        };
        // Of MR each weighting is looked at by itself; of CT a thick copy beside a thin one shows nothing less.
        let thinner = |(other, s): &(&SeriesFacts, &Stack)| {
            other.agents == series.agents && s.plane == stack.plane && s.thickness_mm.is_some_and(|t| t <= limits.reject + 0.01)
        };
        let beside = series.modality == "CT" && carrying.iter().any(thinner);
        let finding = Finding::new(
            check(series),
            if beside { Level::Warn } else { level },
            format!("层厚 {thickness:.1} mm，超过 {limit:.1} mm，请重建薄层后重新发送"),
            format!("the slices are {thickness:.1} mm thick, over {limit:.1} mm; reconstruct thinner ones"),
        );
        findings.push(finding.in_series(&series.uid).measured(thickness, limit, "mm"));
    }
    findings
}
