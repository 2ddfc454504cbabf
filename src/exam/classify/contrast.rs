//! Plain or enhanced (平扫 / 增强): series by series, from words, agent and route; and what a series is for.

use super::Evidence;
use super::study::{Series, Study};
use crate::procedure::Axis;
use crate::procedure::vocabulary::AgentValue;

/// Contrast/Bolus Agent Phase of a plain series (PS3.3 C.8.15.3.7).
const BEFORE: &str = "PRE_CONTRAST";

/// Whether a series shows intravascular contrast, or the evidence that it contradicts itself.
pub(super) fn enhanced(study: &Study<'_>, series: &Series<'_>) -> Result<bool, Vec<Evidence>> {
    let said = series.itself(Axis::Contrast);
    let facts = series.facts;
    let intravascular = facts.routes.iter().filter_map(|r| study.words.route(r)).reduce(|a, b| a || b);
    // An agent that is known for the study alone holds for every series that does not say it is plain.
    let shared = if said.has("plain") { &[][..] } else { &study.facts.agents[..] };
    let values: Vec<AgentValue> = facts.agents.iter().chain(shared).map(|a| study.words.agent(a)).collect();
    // The phase is the series' own, where an agent may be that of the whole examination.
    let before = !facts.phases.is_empty() && facts.phases.iter().all(|p| p == BEFORE);
    let after = facts.phases.iter().any(|p| p != BEFORE);
    let given = !before && (after || (values.contains(&AgentValue::Given) && intravascular != Some(false)));
    let denied = !given && (before || values.contains(&AgentValue::None) || intravascular == Some(false));
    let (plain, contrast) = (said.has("plain"), said.has("enhanced"));
    if (denied && contrast && !plain) || (given && plain && !contrast) {
        let agents = facts.agents.iter().chain(&facts.routes);
        let agents = agents.map(|a| Evidence::new("Contrast/Bolus Agent", a, "agent"));
        return Err(said.evidence.into_iter().chain(agents).collect());
    }
    Ok(given || (contrast && !plain))
}

/// Whether a series is an acquisition for diagnosis, not a localizer, reformat, calibration or report.
pub(super) fn is_diagnostic(series: &Series<'_>) -> bool {
    let coded = |value: &str| series.facts.image_type.iter().any(|t| t.trim() == value);
    let reformat = coded("DERIVED")
        && (coded("SECONDARY") || ["MIP", "MPR", "VOLREN", "PROJECTION IMAGE", "CSA MPR"].iter().any(|t| coded(t)));
    let said = series.description(Axis::Role);
    !coded("LOCALIZER") && !reformat && said.concepts.iter().all(|c| c == "thin")
}

/// Whether the description does not say that the series lies another way than across the body: a coronal reformat may keep the image
/// type and the geometry that its software gave it.
pub(super) fn is_axial(series: &Series<'_>) -> bool {
    let said = series.description(Axis::Sequence);
    said.has("axial-plane") || !(said.has("coronal") || said.has("sagittal"))
}

/// Whether the series belongs to another examination that is done with contrast.
pub(super) fn is_another_with_contrast(series: &Series<'_>) -> bool {
    let said = series.itself(Axis::Special);
    ["angiography", "perfusion", "lung-embolism", "cardiac"].iter().any(|s| said.has(s))
}
