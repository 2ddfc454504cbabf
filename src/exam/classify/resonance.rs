//! MR: the weightings and planes an examination needs, plain, or plain and with post-contrast T1.

use super::read::{self, Said};
use super::tomography::sides;
use super::{Classification, Evidence, Reason, Recognised, items_for};
use crate::exam::facts::{SeriesFacts, StudyFacts};
use crate::exam::geometry::Plane;
use crate::procedure::{Axis, Contrast, Item, Protocol, Region, Vocabulary};
use std::collections::BTreeSet;

struct Reading<'a> {
    series: &'a SeriesFacts,
    regions: Said,
    contradicted: bool,
    weighting: BTreeSet<&'static str>,
    fat_suppressed: bool,
    plane: Option<Plane>,
    enhanced: Result<bool, Vec<Evidence>>,
    usable: bool,
}

/// Adds the items of the study's MR series.
pub fn classify(region: &Region, words: &Vocabulary, study: &StudyFacts, result: &mut Classification) {
    let readings: Vec<Reading> =
        study.series.iter().filter(|s| s.modality == "MR").map(|s| read_series(words, study, s)).collect();
    let concepts: BTreeSet<String> = readings.iter().flat_map(|r| r.regions.concepts.clone()).collect();
    if concepts.is_empty() {
        return result.refuse(Reason::BodypartUnknown, vec![], vec![]);
    }
    for concept in &concepts {
        let items = items_for(region, "MR", concept);
        let here: Vec<&Reading> = readings.iter().filter(|r| r.regions.has(concept)).collect();
        let because: Vec<Evidence> = here.iter().flat_map(|r| r.regions.evidence.clone()).take(3).collect();
        let nearest: Vec<u32> = items.iter().map(|i| i.number).collect();
        if items.is_empty() {
            result.refuse(Reason::NotOnList, vec![], because);
        } else if here.iter().any(|r| r.contradicted) {
            result.refuse(Reason::ReviewConflict, nearest, because);
        } else {
            judge(words, study, &items, &here, result);
        }
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
    let usable: Vec<&&Reading> = here.iter().filter(|r| r.usable).collect();
    let plain: Vec<&Reading> = usable.iter().filter(|r| r.enhanced == Ok(false)).map(|r| **r).collect();
    let contrast: Vec<&Reading> = usable.iter().filter(|r| r.enhanced == Ok(true)).map(|r| **r).collect();
    let said = read::of_study(words, Axis::Contrast, study, "MR");
    let special = read::of_study(words, Axis::Special, study, "MR");
    let because: Vec<Evidence> = here
        .iter()
        .flat_map(|r| r.regions.evidence.clone())
        .chain(said.evidence.clone())
        .chain(special.evidence.clone())
        .take(10)
        .collect();
    if special.has("arthrography") {
        return result.refuse(Reason::NotOnList, every, because);
    }
    let protocol = items.iter().find_map(|i| i.protocol);
    let complete = protocol.is_some_and(|p| is_complete(p, &plain));
    let wanted = match (complete, !contrast.is_empty()) {
        (true, true) if both_items.is_empty() => {
            return result.refuse(Reason::ContrastMismatch, numbers(&plain_items), because);
        }
        (true, true) if contrast.iter().any(|r| r.weighting.contains("t1") || r.weighting.is_empty()) => both_items,
        (true, true) => return result.refuse(Reason::SeriesIncomplete, every, because),
        (true, false) if said.has("enhanced") || said.has("enhanced-refused") => {
            return result.refuse(Reason::ReviewConflict, every, because);
        }
        (true, false) => plain_items,
        (false, true) if plain.is_empty() && !both_items.is_empty() => {
            return result.refuse(Reason::ContrastOnly, numbers(&both_items), because);
        }
        (false, true) if both_items.is_empty() => {
            return result.refuse(Reason::ContrastMismatch, numbers(&plain_items), because);
        }
        // Nothing but angiography and the like: another examination, not an unfinished one.
        (false, false) if plain.is_empty() && special.has("angiography") => {
            return result.refuse(Reason::NotOnList, every, because);
        }
        (false, _) => return result.refuse(Reason::SeriesIncomplete, every, because),
    };
    let carrying: Vec<&SeriesFacts> = plain.iter().chain(&contrast).map(|r| r.series).collect();
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

fn is_complete(protocol: Protocol, series: &[&Reading]) -> bool {
    let weighted: Vec<&&Reading> = series.iter().filter(|r| !r.weighting.is_empty()).collect();
    let has =
        |weighting: &str, plane: Plane| weighted.iter().any(|r| r.weighting.contains(weighting) && r.plane == Some(plane));
    let planes: BTreeSet<u8> = series.iter().filter_map(|r| r.plane).map(|p| p as u8).collect();
    match protocol {
        Protocol::Brain => {
            let kinds: BTreeSet<&&str> = weighted.iter().flat_map(|r| &r.weighting).collect();
            weighted.len() >= 3 && kinds.len() >= 2
        }
        Protocol::Sella => {
            has("t1", Plane::Sagittal) && has("t1", Plane::Coronal) && (has("t2", Plane::Coronal) || has("t2", Plane::Sagittal))
        }
        Protocol::Spine => {
            has("t1", Plane::Sagittal) && has("t2", Plane::Sagittal) && series.iter().any(|r| r.plane == Some(Plane::Axial))
        }
        Protocol::Joint | Protocol::Hips => series.len() >= 3 && planes.len() >= 2 && series.iter().any(|r| r.fat_suppressed),
    }
}

fn read_series<'a>(words: &Vocabulary, study: &StudyFacts, series: &'a SeriesFacts) -> Reading<'a> {
    let (regions, contradicted) = read::region_of(words, study, series, "");
    let said = read::of_series(words, Axis::Sequence, series);
    let special = Said::default().text(words, Axis::Special, "Series Description", &series.description, "MR");
    let mut weighting: BTreeSet<&'static str> = ["t1", "t2", "flair", "pd"].into_iter().filter(|w| said.has(w)).collect();
    if weighting.contains("flair") && !said.has("t1") {
        weighting.remove("t2");
    }
    if weighting.is_empty() && !said.has("dwi") {
        weighting.extend(by_times(series));
    }
    let plane = plane_said(&said).or(series.stack().map(|s| s.plane));
    let usable = read::is_diagnostic(words, series) && special.is_empty() && !said.has("dwi");
    Reading {
        series,
        regions,
        contradicted,
        weighting,
        fat_suppressed: said.has("fat-suppressed"),
        plane,
        enhanced: read::enhanced(words, series),
        usable,
    }
}

fn plane_said(said: &Said) -> Option<Plane> {
    let named = [("sagittal", Plane::Sagittal), ("coronal", Plane::Coronal), ("axial-plane", Plane::Axial)];
    let mut found = named.into_iter().filter(|(word, _)| said.has(word)).map(|(_, plane)| plane);
    found.next().filter(|_| found.next().is_none())
}

/// The weighting that repetition, echo and inversion time amount to, where words are silent.
fn by_times(series: &SeriesFacts) -> Option<&'static str> {
    let (tr, te, ti) = series.times_ms;
    match (tr?, te?, ti) {
        (_, _, Some(ti)) if ti > 1500.0 => Some("flair"),
        (_, _, Some(ti)) if (80.0..=250.0).contains(&ti) => Some("t2"),
        (tr, te, _) if tr < 800.0 && te < 30.0 => Some("t1"),
        (_, te, _) if te > 70.0 => Some("t2"),
        (tr, te, _) if tr > 1500.0 && te < 50.0 => Some("pd"),
        _ => None,
    }
}
