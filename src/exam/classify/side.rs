//! The side of an image or a series (侧别): what headers and words say of it, or that they contradict each other.

use super::said::Said;
use super::study::{Series, Study};
use super::{Evidence, Reason};
use crate::exam::facts::SeriesFacts;
use crate::procedure::{Axis, Item, Side};
use std::collections::BTreeSet;

/// The side that header and words give, or the evidence that they contradict each other. `lateral`: the header says that this is a
/// lateral view, so that a lone L in the description may be short for that. `shows_both`: one such picture holds both sides where the order
/// names both.
pub(super) fn of(
    study: &Study<'_>,
    series: &Series<'_>,
    image_laterality: &str,
    lateral: bool,
    shows_both: bool,
    concept: &str,
) -> Result<Option<Side>, Vec<Evidence>> {
    let mut evidence = Vec::new();
    let mut sides = Vec::new();
    let header = [("Image Laterality", image_laterality), ("Laterality", series.facts.laterality.as_str())];
    for (from, value) in header {
        if let Some(side) = header_side(value) {
            evidence.push(Evidence::new(from, value, &format!("{side:?}").to_lowercase()));
            sides.push(side);
        }
    }
    let order = study.about(Axis::Side, concept);
    // An order of both sides does not say which of them a picture shows that has no side of its own, unless one picture shows both.
    let told = !sides.is_empty() || one_side(&series.says(Axis::Side)).is_some();
    if !told && !shows_both && one_side(&order) == Some(Side::Both) {
        return Ok(None);
    }
    for said in [series.says(Axis::Side), order] {
        let short = lateral && said.evidence.iter().all(|e| e.text == "l");
        if let Some(side) = one_side(&said).filter(|_| !(short && sides.contains(&Side::Right))) {
            sides.extend(stray_letter(&said, side));
            evidence.extend(said.evidence);
            sides.push(side);
        }
    }
    let single: BTreeSet<Side> = sides.iter().copied().filter(|s| *s != Side::Both).collect();
    match (single.len(), sides.first()) {
        (0, first) => Ok(first.copied()),
        // The image's own side is narrower than "both" in the study's text; the other way round is a contradiction.
        (1, Some(Side::Both)) => Err(evidence),
        (1, _) => Ok(single.first().copied()),
        _ => Err(evidence),
    }
}

fn header_side(value: &str) -> Option<Side> {
    match value.trim().to_ascii_uppercase().as_str() {
        "L" | "LEFT" | "左" => Some(Side::Left),
        "R" | "RIGHT" | "右" => Some(Side::Right),
        "B" | "BOTH" | "BILATERAL" | "双" => Some(Side::Both),
        _ => None,
    }
}

fn one_side(said: &Said) -> Option<Side> {
    // A letter yields to a word: "derecha AP y L" is right, and L the lateral view.
    let letter = |text: &str| matches!(text, "l" | "r");
    let words: BTreeSet<&str> = said.evidence.iter().filter(|e| !letter(&e.text)).map(|e| e.means.as_str()).collect();
    let sides: Vec<Side> = [("left", Side::Left), ("right", Side::Right), ("both", Side::Both)]
        .into_iter()
        .filter(|(name, _)| words.contains(name))
        .map(|(_, side)| side)
        .collect();
    if let [one] = sides.as_slice() {
        return Some(*one);
    }
    match (said.has("left"), said.has("right"), said.has("both")) {
        (_, _, true) | (true, true, _) => Some(Side::Both),
        (true, false, _) => Some(Side::Left),
        (false, true, _) => Some(Side::Right),
        _ => None,
    }
}

/// R beside "left" is no view and contradicts it; L beside "right" may be short for the lateral view.
fn stray_letter(said: &Said, side: Side) -> Option<Side> {
    (side == Side::Left && said.evidence.iter().any(|e| e.text == "r")).then_some(Side::Right)
}

/// An item with its side, or why there is none.
pub(super) type Sided = Result<(u32, Option<Side>), (Reason, Vec<Evidence>)>;

/// The items of a slice examination by side: one without a side, the left one, the right one, or both.
pub(super) fn items(study: &Study<'_>, series: &[&Series<'_>], wanted: &[&Item], concept: &str) -> Vec<Sided> {
    let mut found = BTreeSet::new();
    for s in series {
        match of(study, s, first_image_side(s.facts), false, shows_both(study, concept), concept) {
            Ok(side) => found.extend(side),
            Err(evidence) if wanted.iter().any(|i| i.side.is_some()) => {
                return vec![Err((Reason::LateralityConflict, evidence))];
            }
            Err(_) => {}
        }
    }
    let has = |side: Side| found.contains(&side) || found.contains(&Side::Both);
    let mut answers = Vec::new();
    for item in wanted {
        match item.side {
            None => answers.push(Ok((item.number, None))),
            Some(Side::Any) => answers.push(Ok((item.number, found.first().copied()))),
            Some(Side::Both) if has(Side::Left) && has(Side::Right) => answers.push(Ok((item.number, Some(Side::Both)))),
            Some(Side::Both) if !found.is_empty() => answers.push(Err((Reason::Laterality, vec![]))),
            Some(side @ (Side::Left | Side::Right)) if has(side) => answers.push(Ok((item.number, Some(side)))),
            Some(_) if found.is_empty() => answers.push(Err((Reason::LateralityUnknown, vec![]))),
            Some(_) => {}
        }
    }
    // The items are of the other side.
    if answers.is_empty() {
        answers.push(Err((Reason::Laterality, vec![])));
    }
    answers
}

/// A CT holds both sides; an MR of a joint is made side by side, but for the hips.
fn shows_both(study: &Study<'_>, concept: &str) -> bool {
    let both = |i: &&Item| i.region.iter().any(|r| r == concept) && matches!(i.side, Some(Side::Both | Side::Any));
    study.modality != "MR" || study.region.items.iter().any(|i| both(&i))
}

fn first_image_side(series: &SeriesFacts) -> &str {
    series.images.first().map_or("", |i| i.laterality.as_str())
}

/// Whether a series belongs to a side: one that says the other side does not carry this one's item.
pub(super) fn carries(study: &Study<'_>, series: &Series<'_>, side: Option<Side>, concept: &str) -> bool {
    let own = of(study, series, first_image_side(series.facts), false, shows_both(study, concept), concept);
    !matches!((side, own), (Some(Side::Left), Ok(Some(Side::Right))) | (Some(Side::Right), Ok(Some(Side::Left))))
}
