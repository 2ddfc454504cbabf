//! CT: contiguous axial series over the region, plain, or plain and enhanced.

use super::read::{self, Said};
use super::{Classification, Evidence, Reason, Recognised, items_for};
use crate::exam::facts::{SeriesFacts, StudyFacts};
use crate::procedure::{Axis, Contrast, Item, Region, Side, Vocabulary};
use std::collections::BTreeSet;

/// Share of an item's coverage below which a series does not carry it, children apart.
const LEAST_COVERAGE: f64 = 0.6;

struct Reading<'a> {
    series: &'a SeriesFacts,
    regions: Said,
    contradicted: bool,
    enhanced: Result<bool, Vec<Evidence>>,
}

/// Adds the items of the study's CT series.
pub fn classify(region: &Region, words: &Vocabulary, study: &StudyFacts, result: &mut Classification) {
    let readings: Vec<Reading> = study
        .series
        .iter()
        .filter(|s| s.modality == "CT")
        .map(|series| {
            let (regions, contradicted) = read::region_of(words, study, series, "");
            Reading { series, regions, contradicted, enhanced: read::enhanced(words, series) }
        })
        .collect();
    let concepts: BTreeSet<String> = readings.iter().flat_map(|r| r.regions.concepts.clone()).collect();
    if concepts.is_empty() {
        return result.refuse(Reason::BodypartUnknown, vec![], vec![]);
    }
    let special = read::of_study(words, Axis::Special, study, "CT");
    let all = |concept: &str| items_for(region, "CT", concept).iter().map(|i| i.number).collect::<Vec<_>>();
    if special.concepts.iter().any(|c| c != "imported") {
        let reason = if special.has("disc-only") { Reason::SeriesIncomplete } else { Reason::NotOnList };
        let nearest = concepts.iter().flat_map(|c| all(c)).collect();
        return result.refuse(reason, nearest, special.evidence);
    }
    for concept in &concepts {
        let items = items_for(region, "CT", concept);
        let here: Vec<&Reading> = readings.iter().filter(|r| r.regions.has(concept)).collect();
        let because: Vec<Evidence> = here.iter().flat_map(|r| r.regions.evidence.clone()).take(3).collect();
        if items.is_empty() {
            let reason = if concept == "calcaneus" { Reason::ReviewPartial } else { Reason::NotOnList };
            // The study's own contradiction stands behind a look-alike series: nothing else of it is taken either.
            result.refuse(reason, vec![], because);
            continue;
        }
        if let Some(bad) = here.iter().find(|r| r.contradicted) {
            let study_says = read::of_study(words, Axis::Anatomy, study, "CT");
            let unlisted = study_says.concepts.iter().any(|c| !words.is_listed(c));
            let reason = if unlisted { Reason::NotOnList } else { Reason::ReviewConflict };
            result.refuse(reason, all(concept), bad.regions.evidence.iter().chain(&study_says.evidence).cloned().collect());
            continue;
        }
        judge(words, study, &items, &here, result);
    }
}

fn judge(words: &Vocabulary, study: &StudyFacts, items: &[&Item], here: &[&Reading], result: &mut Classification) {
    let item_of = |contrast: Contrast| items.iter().filter(|i| i.contrast == Some(contrast)).copied().collect::<Vec<_>>();
    let (plain_items, both_items) = (item_of(Contrast::Plain), item_of(Contrast::PlainAndEnhanced));
    let numbers = |items: &[&Item]| items.iter().map(|i| i.number).collect::<Vec<_>>();
    let every = numbers(items);
    if let Some(evidence) = here.iter().find_map(|r| r.enhanced.as_ref().err()) {
        return result.refuse(Reason::ReviewConflict, every, evidence.clone());
    }
    let usable: Vec<&&Reading> =
        here.iter().filter(|r| read::is_diagnostic(words, r.series) && !is_special(words, r.series)).collect();
    let phase = |enhanced: bool| usable.iter().filter(|r| r.enhanced == Ok(enhanced)).map(|r| r.series).collect::<Vec<_>>();
    let (plain, contrast) = (phase(false), phase(true));
    let limits = items.first().copied();
    let complete =
        |series: &[&SeriesFacts]| series.iter().any(|s| limits.is_some_and(|item| covers(s, item, study.age_months)));
    let said = read::of_study(words, Axis::Contrast, study, "CT");
    let because: Vec<Evidence> =
        here.iter().flat_map(|r| r.regions.evidence.clone()).chain(said.evidence.clone()).take(8).collect();
    let wanted = match (complete(&plain), complete(&contrast)) {
        (true, true) if both_items.is_empty() => {
            return result.refuse(Reason::ContrastMismatch, numbers(&plain_items), because);
        }
        (true, true) => both_items,
        (true, false) if said.has("enhanced") && !said.has("no-plain") => {
            return result.refuse(Reason::ReviewConflict, every, because);
        }
        (true, false) if plain_items.is_empty() => {
            return result.refuse(Reason::ContrastMismatch, numbers(&both_items), because);
        }
        (true, false) => plain_items,
        (false, true) if both_items.is_empty() => {
            return result.refuse(Reason::ContrastMismatch, numbers(&plain_items), because);
        }
        (false, true) => return result.refuse(Reason::ContrastOnly, numbers(&both_items), because),
        (false, false) => return result.refuse(Reason::SeriesIncomplete, every, because),
    };
    let carrying: Vec<&SeriesFacts> = plain.iter().chain(&contrast).copied().collect();
    for side in sides(words, study, &carrying, &wanted) {
        match side {
            Ok((item, side)) => result.recognised.push(Recognised {
                item,
                side,
                series: carrying.iter().map(|s| s.uid.clone()).collect(),
                images: BTreeSet::new(),
                because: because.clone(),
                assumed: vec![],
            }),
            Err((reason, evidence)) => result.refuse(reason, numbers(&wanted), evidence),
        }
    }
}

/// An item with its side, or why there is none.
pub(super) type Sided = Result<(u32, Option<Side>), (Reason, Vec<Evidence>)>;

/// The items by side: one without a side, the left one, the right one, or both.
pub(super) fn sides(words: &Vocabulary, study: &StudyFacts, series: &[&SeriesFacts], wanted: &[&Item]) -> Vec<Sided> {
    let mut found = BTreeSet::new();
    for s in series {
        match read::side_of(words, study, s, s.images.first().map_or("", |i| i.laterality.as_str())) {
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
    answers
}

fn is_special(words: &Vocabulary, series: &SeriesFacts) -> bool {
    !Said::default().text(words, Axis::Special, "Series Description", &series.description, "CT").is_empty()
}

/// Whether one contiguous axial series spans the item's region.
fn covers(series: &SeriesFacts, item: &Item, age_months: Option<u32>) -> bool {
    let Some(stack) = series.stack() else { return false };
    let child = match age_months {
        Some(0..36) => 0.4,
        Some(36..120) => 0.6,
        _ => 1.0,
    };
    let enough = item.coverage_mm.is_none_or(|mm| stack.coverage_mm >= mm * LEAST_COVERAGE * child);
    let contiguous = stack.thickness_mm.is_none_or(|t| stack.step_mm <= 2.0 * t + 0.01);
    enough && contiguous && stack.plane == crate::exam::geometry::Plane::Axial && stack.slices.len() > 1
}
