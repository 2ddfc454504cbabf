//! CT: contiguous axial series over the region, plain, or plain and enhanced.

use super::place::{self, Place};
use super::sectional::{by_contrast, recognise};
use super::study::{Series, Study};
use super::{Classification, Evidence, Reason, contrast, items_for, numbers, reason_of_special, unlisted};
use crate::exam::facts::SeriesFacts;
use crate::exam::geometry::Plane;
use crate::procedure::catalogue::Completeness;
use crate::procedure::{Axis, Item};
use std::collections::BTreeSet;

/// One series as read.
struct Reading<'a> {
    series: &'a Series<'a>,
    place: Place,
    enhanced: Result<bool, Vec<Evidence>>,
    usable: bool,
}

/// Adds the items of the study's CT series.
pub(super) fn classify(study: &Study<'_>, result: &mut Classification) {
    let read = |series| Reading {
        series,
        place: place::of(study, series, &[]),
        enhanced: contrast::enhanced(study, series),
        usable: contrast::is_diagnostic(series) && contrast::is_axial(series),
    };
    let readings: Vec<Reading> = study.series.iter().map(read).collect();
    let concepts: BTreeSet<&String> = readings.iter().flat_map(|r| &r.place.regions.concepts).collect();
    if concepts.is_empty() {
        return result.refuse(Reason::BodypartUnknown, vec![], study.unknown(false));
    }
    for concept in concepts {
        let items = items_for(study.region, study.modality, concept);
        let unknown = study.doubts(concept);
        let here: Vec<&Reading> = readings.iter().filter(|r| r.place.regions.has(concept)).collect();
        let because: Vec<Evidence> = here.iter().flat_map(|r| r.place.regions.evidence.clone()).collect();
        let special = study.special(concept);
        let with = |more: &[Evidence]| because.iter().chain(more).cloned().collect::<Vec<_>>();
        let doubt = here.iter().map(|r| &r.place.doubtful).chain([&unknown]).find(|d| !d.is_empty());
        if items.is_empty() {
            result.refuse(unlisted(study.words, concept), vec![], because);
        } else if let Some(kind) = special.concepts.iter().find(|k| *k != DISC_ONLY && study.words.is_special_in(k, concept)) {
            result.refuse(reason_of_special(kind), numbers(&items), with(&special.evidence));
        } else if here.iter().any(|r| r.place.contradicted) {
            let order = study.whole(Axis::Anatomy);
            let listed = order.concepts.iter().all(|c| study.words.is_listed(c));
            let reason = if listed { Reason::ReviewConflict } else { Reason::NotOnList };
            result.refuse(reason, numbers(&items), with(&order.evidence));
        } else if let Some(doubt) = doubt {
            result.refuse(Reason::BodypartUnknown, numbers(&items), with(doubt));
        } else {
            judge(study, concept, &items, &here, result);
        }
    }
}

/// A disc examination (椎间盘) is one of the spine only when it covers all of it (N-26).
const DISC_ONLY: &str = "disc-only";

fn judge(study: &Study<'_>, concept: &str, items: &[&Item], here: &[&Reading<'_>], result: &mut Classification) {
    let (plain_items, both_items) = by_contrast(items);
    let every = numbers(items);
    if let Some(evidence) = here.iter().find_map(|r| r.enhanced.as_ref().err()) {
        return result.refuse(Reason::ReviewConflict, every, evidence.clone());
    }
    let said = study.contrast(concept);
    let because: Vec<Evidence> = said.evidence.clone();
    let regions: Vec<Evidence> = here.iter().flat_map(|r| r.place.regions.evidence.clone()).collect();
    let usable: Vec<&&Reading> =
        here.iter().filter(|r| r.usable && !study.is_special(r.series, concept) && carries(study, r, concept)).collect();
    let angiography = here.iter().any(|r| contrast::is_another_with_contrast(r.series));
    let phase = |enhanced: bool| usable.iter().filter(|r| r.enhanced == Ok(enhanced)).map(|r| r.series).collect::<Vec<_>>();
    let (plain, contrast) = (phase(false), phase(true));
    let limits = items.first().copied();
    let share = if study.about(Axis::Special, concept).has(DISC_ONLY) { 1.0 } else { limits_of(study).coverage_item_share };
    let complete = |series: &[&Series]| series.iter().any(|s| limits.is_some_and(|item| covers(study, s.facts, item, share)));
    let refuse = |reason, nearest: Vec<u32>| (reason, nearest);
    let wanted = match (complete(&plain), complete(&contrast)) {
        // Said to be plain, and contrast was given all the same.
        (_, true) if said.has("plain") && !said.has("enhanced") => Err(refuse(Reason::ReviewConflict, every)),
        (true, true) if both_items.is_empty() => Err(refuse(Reason::ContrastMismatch, numbers(&plain_items))),
        (true, true) => Ok(both_items),
        // A plain scan beside an angiography that nobody ordered plain may be no more than its preparation.
        (true, false) if angiography && !said.has("plain") => Err(refuse(Reason::ReviewConflict, every)),
        (true, false) if !contrast.is_empty() => Err(refuse(Reason::SeriesIncomplete, every)),
        (true, false) if said.has("enhanced") && !said.has("no-plain") => Err(refuse(Reason::ReviewConflict, every)),
        (true, false) if said.has("enhanced-refused") => Err(refuse(Reason::ReviewConflict, every)),
        (true, false) if plain_items.is_empty() => Err(refuse(Reason::ContrastMismatch, numbers(&both_items))),
        (true, false) => Ok(plain_items),
        (false, true) if both_items.is_empty() => Err(refuse(Reason::ContrastMismatch, numbers(&plain_items))),
        (false, true) => Err(refuse(Reason::ContrastOnly, numbers(&both_items))),
        (false, false) if here.iter().any(|r| r.usable && r.place.ambiguous) => Err(refuse(Reason::ReviewConflict, every)),
        (false, false) => Err(refuse(Reason::SeriesIncomplete, every)),
    };
    let wanted = match wanted {
        Ok(items) => items,
        Err((reason, nearest)) => {
            return result.refuse(reason, nearest, regions.into_iter().chain(because).collect());
        }
    };
    let carrying: Vec<&Series> = plain.iter().chain(&contrast).copied().collect();
    let whole = |own: &[&Series]| {
        let of =
            |phase: &[&Series]| own.iter().copied().filter(|s| phase.iter().any(|p| std::ptr::eq(*p, *s))).collect::<Vec<_>>();
        complete(&of(&plain)) && (contrast.is_empty() || complete(&of(&contrast)))
    };
    recognise(study, concept, &wanted, (&carrying, &contrast), &whole, (regions, because), result);
}

fn limits_of<'a>(study: &Study<'a>) -> &'a Completeness {
    &study.procedures.quality.completeness
}

/// Whether a series may stand for a region: one that the order's several regions leave open must span them all.
fn carries(study: &Study<'_>, reading: &Reading<'_>, concept: &str) -> bool {
    let regions = &reading.place.regions.concepts;
    if regions.len() < 2 {
        return reading.place.shows(concept);
    }
    let nested = regions.iter().any(|a| regions.iter().any(|b| study.words.lies_within(a, b)));
    if reading.place.ambiguous && nested {
        return false;
    }
    let length =
        |c: &String| items_for(study.region, study.modality, c).iter().filter_map(|i| i.coverage_mm).fold(0.0, f64::max);
    let counted = regions.iter().filter(|c| !regions.iter().any(|other| study.words.overlaps(c, other)));
    let together: f64 = counted.map(length).sum();
    let share = if reading.place.ambiguous { 1.0 } else { limits_of(study).coverage_item_share };
    reading.series.facts.coverage_mm().is_some_and(|mm| mm >= together * share)
}

/// Whether one contiguous axial series spans a share of the item's region.
fn covers(study: &Study<'_>, series: &SeriesFacts, item: &Item, share: f64) -> bool {
    let Some(stack) = series.stack() else { return false };
    let limits = limits_of(study);
    let child = study.facts.age_months.and_then(|age| limits.child_coverage.iter().find(|c| age < c.under_months));
    let share = share * child.map_or(1.0, |c| c.factor);
    let covered = series.coverage_mm().unwrap_or(0.0);
    let enough = item.coverage_mm.is_none_or(|mm| covered >= mm * share);
    let contiguous = stack.thickness_mm.is_none_or(|t| stack.step_mm <= limits.gapped_factor * t + 0.01);
    enough && contiguous && stack.plane == Plane::Axial && stack.slices.len() > 1
}
