//! MR: the weightings and planes an examination needs, plain, or plain and with post-contrast T1.

use super::place::{self, Place};
use super::said::Said;
use super::sectional::{by_contrast, recognise};
use super::study::{Series, Study};
use super::{Classification, Evidence, Reason, contrast, items_for, numbers, reason_of_special, unlisted};
use crate::exam::facts::SeriesFacts;
use crate::exam::geometry::{Plane, normal};
use crate::procedure::{Axis, Item, Protocol};
use std::collections::BTreeSet;

/// One series as read.
struct Reading<'a> {
    series: &'a Series<'a>,
    place: Place,
    weighting: BTreeSet<String>,
    fat_suppressed: bool,
    plane: Option<Plane>,
    enhanced: Result<bool, Vec<Evidence>>,
    usable: bool,
}

/// Adds the items of the study's MR series.
pub(super) fn classify(study: &Study<'_>, result: &mut Classification) {
    let readings: Vec<Reading> = study.series.iter().map(|s| read_series(study, s)).collect();
    let concepts: BTreeSet<&String> = readings.iter().flat_map(|r| &r.place.regions.concepts).collect();
    if concepts.is_empty() {
        return result.refuse(Reason::BodypartUnknown, vec![], study.unknown(false));
    }
    for concept in concepts {
        let items = items_for(study.region, study.modality, concept);
        let unknown = study.doubts(concept);
        let here: Vec<&Reading> = readings.iter().filter(|r| r.place.regions.has(concept)).collect();
        let because: Vec<Evidence> = here.iter().flat_map(|r| r.place.regions.evidence.clone()).collect();
        let with = |more: &[Evidence]| because.iter().chain(more).cloned().collect::<Vec<_>>();
        let doubt = here.iter().map(|r| &r.place.doubtful).chain([&unknown]).find(|d| !d.is_empty());
        if items.is_empty() {
            result.refuse(unlisted(study.words, concept), vec![], because);
        } else if here.iter().any(|r| r.place.contradicted) {
            result.refuse(Reason::ReviewConflict, numbers(&items), because);
        } else if let Some(doubt) = doubt {
            result.refuse(Reason::BodypartUnknown, numbers(&items), with(doubt));
        } else {
            judge(study, concept, &items, &here, result);
        }
    }
}

/// Special protocols that may stand beside the usual examination as extra series (SWI, spectroscopy, DTI).
const EXTRA: &str = "extra-sequence";

fn judge(study: &Study<'_>, concept: &str, items: &[&Item], here: &[&Reading<'_>], result: &mut Classification) {
    let (plain_items, both_items) = by_contrast(items);
    let every = numbers(items);
    let said = study.contrast(concept);
    let special = study.special(concept);
    let regions: Vec<Evidence> = here.iter().flat_map(|r| r.place.regions.evidence.clone()).collect();
    let because: Vec<Evidence> = said.evidence.iter().chain(&special.evidence).cloned().collect();
    let all = || regions.iter().chain(&because).cloned().collect::<Vec<_>>();
    if let Some(evidence) = here.iter().find_map(|r| r.enhanced.as_ref().err()) {
        return result.refuse(Reason::ReviewConflict, every, evidence.clone());
    }
    if let Some(kind) = special.concepts.iter().find(|k| *k != EXTRA && study.words.is_special_in(k, concept)) {
        return result.refuse(reason_of_special(kind), every, all());
    }
    let usable: Vec<&Reading> =
        here.iter().copied().filter(|r| r.usable && !study.is_special(r.series, concept) && r.place.shows(concept)).collect();
    let plain: Vec<&Reading> = usable.iter().copied().filter(|r| r.enhanced == Ok(false)).collect();
    let contrast: Vec<&Reading> = usable.iter().copied().filter(|r| r.enhanced == Ok(true)).collect();
    let protocol = items.iter().find_map(|i| i.protocol.as_deref()).and_then(|id| study.procedures.protocol(id));
    let complete = protocol.is_some_and(|p| is_complete(p, &plain));
    let after_t1 = contrast.iter().any(|r| r.weighting.contains("t1") || r.weighting.is_empty());
    let wanted = match (complete, !contrast.is_empty()) {
        // Said to be plain, and contrast was given all the same.
        (_, true) if said.has("plain") && !said.has("enhanced") => Err((Reason::ReviewConflict, every)),
        (true, true) if both_items.is_empty() => Err((Reason::ContrastMismatch, numbers(&plain_items))),
        (true, true) if after_t1 => Ok(both_items),
        (true, true) => Err((Reason::SeriesIncomplete, every)),
        (true, false) if said.has("enhanced") || said.has("enhanced-refused") => Err((Reason::ReviewConflict, every)),
        (true, false) => Ok(plain_items),
        (false, true) if plain.is_empty() && !both_items.is_empty() => Err((Reason::ContrastOnly, numbers(&both_items))),
        (false, true) if both_items.is_empty() => Err((Reason::ContrastMismatch, numbers(&plain_items))),
        // Nothing but angiography and the like: another examination, not an unfinished one.
        (false, false) if plain.is_empty() && !special.is_empty() => Err((Reason::NotOnList, every)),
        (false, _) if here.iter().any(|r| r.usable && r.place.ambiguous) => Err((Reason::ReviewConflict, every)),
        (false, _) => Err((Reason::SeriesIncomplete, every)),
    };
    let wanted = match wanted {
        Ok(items) => items,
        Err((reason, nearest)) => return result.refuse(reason, nearest, all()),
    };
    let after: Vec<&Series> = contrast.iter().map(|r| r.series).collect();
    let carrying: Vec<&Series> = plain.iter().chain(&contrast).map(|r| r.series).collect();
    let whole = |own: &[&Series]| {
        let of = |r: &&Reading| own.iter().any(|s| std::ptr::eq(*s, r.series));
        let own: Vec<&Reading> = plain.iter().copied().filter(of).collect();
        protocol.is_some_and(|p| is_complete(p, &own)) && (contrast.is_empty() || contrast.iter().any(of))
    };
    recognise(study, concept, &wanted, (&carrying, &after), &whole, (regions, because), result);
}

/// Whether the series make the examination that a protocol of `procedures/protocols.toml` describes.
fn is_complete(protocol: &Protocol, series: &[&Reading<'_>]) -> bool {
    let weighted: Vec<&&Reading> = series.iter().filter(|r| !r.weighting.is_empty()).collect();
    let kinds: BTreeSet<&String> = weighted.iter().flat_map(|r| &r.weighting).collect();
    let planes: BTreeSet<&str> = series.iter().filter_map(|r| r.plane).map(name_of).collect();
    let shows = |reading: &Reading, wanted: &str| {
        wanted.split(' ').all(|word| reading.weighting.contains(word) || reading.plane.is_some_and(|p| name_of(p) == word))
    };
    let needed = |alternatives: &Vec<String>| alternatives.iter().any(|wanted| series.iter().any(|r| shows(r, wanted)));
    let counted = if protocol.weightings > 0 { weighted.len() } else { series.len() };
    counted >= protocol.series
        && kinds.len() >= protocol.weightings
        && planes.len() >= protocol.planes
        && (!protocol.fat_suppressed || series.iter().any(|r| r.fat_suppressed))
        && protocol.needs.iter().all(needed)
}

fn name_of(plane: Plane) -> &'static str {
    match plane {
        Plane::Axial => "axial",
        Plane::Sagittal => "sagittal",
        Plane::Coronal => "coronal",
    }
}

fn read_series<'a>(study: &Study<'a>, series: &'a Series<'a>) -> Reading<'a> {
    let said = series.says(Axis::Sequence);
    let mut weighting: BTreeSet<String> =
        ["t1", "t2", "flair", "pd"].into_iter().filter(|w| said.has(w)).map(str::to_string).collect();
    if weighting.contains("flair") && !said.has("t1") {
        weighting.remove("t2");
    }
    if weighting.is_empty() && !said.has("dwi") {
        weighting.extend(by_header(series.facts).map(str::to_string));
    }
    let plane = plane_said(&said).or(series.facts.stack().map(|s| s.plane));
    let usable = contrast::is_diagnostic(series) && !said.has("dwi");
    let mut place = place::of(study, series, &[]);
    place.contradicted |= says_t1_of_a_t2(&weighting, series.facts)
        || says_t2_of_a_t1(&weighting, series.facts)
        || (usable && !turns(&place) && lies_otherwise(plane_said(&said), series.facts));
    Reading {
        series,
        place,
        weighting,
        fat_suppressed: said.has("fat-suppressed"),
        plane,
        enhanced: contrast::enhanced(study, series),
        usable,
    }
}

/// Times of T2 under the name of T1: no T1 weighting has an echo and a repetition so long. The other way round gradient echoes have short ones.
fn says_t1_of_a_t2(weighting: &BTreeSet<String>, series: &SeriesFacts) -> bool {
    let (Some(tr), Some(te), ti) = series.times_ms else { return false };
    let said = weighting.contains("t1") && weighting.len() == 1;
    said && tr > LONG_TR_MS && te > LONG_TE_MS && ti.is_none_or(|ti| ti <= 0.0)
}

/// Times of T1 under the name of T2: no spin echo so short, repeated so soon, is weighted by T2. Gradient echoes (T2*) may be.
fn says_t2_of_a_t1(weighting: &BTreeSet<String>, series: &SeriesFacts) -> bool {
    let (Some(tr), Some(te), ti) = series.times_ms else { return false };
    let said = weighting.contains("t2") && weighting.len() == 1;
    said && series.spin_echo && tr < SHORT_TR_MS && te < SHORT_TE_MS && ti.is_none_or(|ti| ti <= 0.0)
}

/// Limbs that lie as they like: planes named after them are not the patient's.
fn turns(place: &Place) -> bool {
    const TURNED: [&str; 6] = ["ankle", "foot", "wrist", "hand", "elbow", "shoulder"];
    TURNED.iter().any(|concept| place.regions.has(concept))
}

/// Slices that lie across the plane that words say they are in: discs and oblique slices do not by so much.
fn lies_otherwise(said: Option<Plane>, series: &SeriesFacts) -> bool {
    let Some((said, stack)) = said.zip(series.stack()) else { return false };
    // Radial slabs and discs lie in several ways.
    if series.stacks.iter().any(|other| !other.is_parallel_to(stack)) {
        return false;
    }
    let axis = match said {
        Plane::Sagittal => 0,
        Plane::Coronal => 1,
        Plane::Axial => 2,
    };
    stack.plane != said
        && normal(&stack.orientation).and_then(|n| n.get(axis).copied()).is_some_and(|along| along.abs() < FAR_ACROSS)
}

/// Of the normal along an axis: 60 degrees away.
const FAR_ACROSS: f64 = 0.5;

/// Below these every spin echo is weighted by T1, ms.
const SHORT_TR_MS: f64 = 800.0;
const SHORT_TE_MS: f64 = 30.0;

/// Above these no spin echo is weighted by T1, ms.
const LONG_TR_MS: f64 = 2000.0;
const LONG_TE_MS: f64 = 70.0;

fn plane_said(said: &Said) -> Option<Plane> {
    let named = [("sagittal", Plane::Sagittal), ("coronal", Plane::Coronal), ("axial-plane", Plane::Axial)];
    let mut found = named.into_iter().filter(|(word, _)| said.has(word)).map(|(_, plane)| plane);
    found.next().filter(|_| found.next().is_none())
}

/// The weighting that the header amounts to, where words are silent: Acquisition Contrast (PS3.3 C.8.13.3), else the times.
fn by_header(series: &SeriesFacts) -> Option<&'static str> {
    let stated = series.acquisition_contrast.iter().find_map(|c| match c.trim() {
        "T1" => Some("t1"),
        "T2" | "T2_STAR" => Some("t2"),
        "FLUID_ATTENUATED" => Some("flair"),
        "PROTON_DENSITY" => Some("pd"),
        _ => None,
    });
    let (tr, te, ti) = series.times_ms;
    stated.or_else(|| match (tr?, te?, ti) {
        (_, _, Some(ti)) if ti > 1500.0 => Some("flair"),
        (_, _, Some(ti)) if (80.0..=250.0).contains(&ti) => Some("t2"),
        (tr, te, _) if tr < 800.0 && te < 30.0 => Some("t1"),
        (_, te, _) if te > 70.0 => Some("t2"),
        (tr, te, _) if tr > 1500.0 && te < 50.0 => Some("pd"),
        _ => None,
    })
}
