//! Radiographs (DR): one image per required view, of the right region, side, posture and age.

use super::said::Said;
use super::study::Study;
use super::view::{self, View};
use super::{
    Classification, Confidence, Evidence, Reason, Recognised, contrast, items_for, numbers, reason_of_special, unlisted,
};
use crate::procedure::{Axis, Item, Posture, Side};
use std::collections::BTreeSet;

/// Adds the items of the study's radiographs.
pub(super) fn classify(study: &Study<'_>, result: &mut Classification) {
    let mut views = view::all(study);
    // A screen copy, a stitched or subtracted picture is no film of its own; where there is nothing else, somebody must look.
    if views.iter().any(|v| contrast::is_diagnostic(v.series)) {
        views.retain(|v| contrast::is_diagnostic(v.series));
    } else {
        return result.refuse(Reason::ViewUnknown, vec![], study.whole(Axis::Anatomy).evidence);
    }
    let concepts: BTreeSet<&String> = views.iter().flat_map(|v| &v.place.regions.concepts).collect();
    if concepts.is_empty() {
        return result.refuse(Reason::BodypartUnknown, vec![], study.unknown(false));
    }
    for concept in concepts {
        let here: Vec<&View> = views.iter().filter(|v| v.place.shows(concept)).collect();
        let because: Vec<Evidence> =
            views.iter().filter(|v| v.place.regions.has(concept)).flat_map(|v| v.place.regions.evidence.clone()).collect();
        let items = items_for(study.region, study.modality, concept);
        let unknown = study.doubts(concept);
        let special = study.special(concept);
        let with = |more: &[Evidence]| because.iter().chain(more).cloned().collect::<Vec<_>>();
        if items.is_empty() {
            result.refuse(unlisted(study.words, concept), vec![], because);
        } else if let Some(kind) = special.concepts.iter().find(|k| study.words.is_special_in(k, concept)) {
            result.refuse(reason_of_special(kind), numbers(&items), with(&special.evidence));
        } else if here.iter().any(|v| v.place.contradicted || v.clash || (v.reversed && asks_pa(&items))) {
            let clashing = here.iter().flat_map(|v| v.views.evidence.clone()).collect::<Vec<_>>();
            result.refuse(Reason::ReviewConflict, numbers(&items), with(&clashing));
        } else if here.is_empty() {
            result.refuse(Reason::ReviewConflict, numbers(&items), because);
        } else if let Some(doubt) = here.iter().map(|v| &v.place.doubtful).chain([&unknown]).find(|d| !d.is_empty()) {
            result.refuse(Reason::BodypartUnknown, numbers(&items), with(doubt));
        } else {
            judge_region(study, concept, &items, &here, result);
        }
    }
}

/// Whether an item is of the direction of the beam, not of any frontal view.
fn asks_pa(items: &[&Item]) -> bool {
    items.iter().flat_map(|i| &i.views).flatten().any(|view| view == "pa")
}

fn judge_region(study: &Study<'_>, concept: &str, items: &[&Item], here: &[&View<'_>], result: &mut Classification) {
    let sides: Vec<_> = here.iter().map(|v| v.side(study, concept)).collect();
    if let Some(evidence) = sides.iter().find_map(|s| s.as_ref().err())
        && items.iter().any(|i| i.side.is_some())
    {
        return result.refuse(Reason::LateralityConflict, numbers(items), evidence.clone());
    }
    let shown: Vec<Shown> = here
        .iter()
        .zip(sides)
        .map(|(view, side)| Shown {
            view,
            side: side.ok().flatten(),
            posture: view.posture(study, concept),
            standard: view.is_standard(study, concept),
        })
        .collect();
    // Ordered erect and taken supine, or the other way round: somebody must say which it is.
    let ordered = study.about(Axis::Position, concept);
    if items.iter().any(|i| i.position.is_some()) && shown.iter().all(|s| opposite(&ordered, &s.posture)) {
        let because = ordered.evidence.iter().chain(shown.iter().flat_map(|s| &s.posture.evidence)).cloned().collect();
        return result.refuse(Reason::ReviewConflict, numbers(items), because);
    }
    let mut found = false;
    let mut misses = Vec::new();
    for item in items {
        match judge_item(study, item, &shown) {
            Ok(recognised) => {
                found = true;
                let regions: Vec<Evidence> = shown
                    .iter()
                    .filter(|s| recognised.images.contains(&s.view.image.uid))
                    .flat_map(|s| s.view.place.regions.evidence.clone())
                    .collect();
                result.recognise(recognised, &regions);
            }
            Err(reason) => misses.push((reason, item.number)),
        }
    }
    // Other items of the region were not asked for: they are no refusal once one is recognised, unless a person must look.
    let worst = misses.iter().map(|(reason, _)| *reason).min_by_key(|r| weight(*r));
    if let (false, Some(reason)) = (found, worst) {
        let nearest = misses.iter().filter(|(r, _)| *r == reason).map(|(_, n)| *n).collect();
        let because = shown.iter().flat_map(|s| s.view.views.evidence.iter().chain(&s.posture.evidence).cloned()).collect();
        result.refuse(reason, nearest, because);
    }
}

fn opposite(a: &Said, b: &Said) -> bool {
    let (up, down) = ("erect", ["supine", "decubitus"]);
    let lies = |said: &Said| down.iter().any(|d| said.has(d)) && !said.has(up);
    let stands = |said: &Said| said.has(up) && down.iter().all(|d| !said.has(d));
    (lies(a) && stands(b)) || (stands(a) && lies(b))
}

/// An image with its side and posture for one region.
struct Shown<'a> {
    view: &'a View<'a>,
    side: Option<Side>,
    posture: Said,
    standard: bool,
}

/// Which of several misses says most about the study.
fn weight(reason: Reason) -> u8 {
    match reason {
        Reason::AgeRule => 6,
        Reason::Position => 0,
        Reason::PositionUnknown => 1,
        Reason::LateralityUnknown => 2,
        Reason::ViewUnknown => 3,
        Reason::ViewMissing => 4,
        _ => 5,
    }
}

fn judge_item(study: &Study<'_>, item: &Item, shown: &[Shown<'_>]) -> Result<Recognised, Reason> {
    age_fits(study, item)?;
    let sided: Vec<&Shown> = match item.side {
        None | Some(Side::Any) => shown.iter().collect(),
        Some(side) => {
            if shown.iter().all(|s| s.side.is_none()) {
                return Err(Reason::LateralityUnknown);
            }
            shown.iter().filter(|s| s.side == Some(side) || s.side == Some(Side::Both)).collect()
        }
    };
    let mut missing = None;
    let mut carrying: Vec<Vec<&Shown>> = Vec::new();
    for alternatives in &item.views {
        let candidates: Vec<&Shown> =
            sided.iter().copied().filter(|s| alternatives.iter().any(|a| shows(study, item, s, a))).collect();
        if candidates.is_empty() {
            missing = missing.or(Some(why_missing(study, item, alternatives, &sided)));
            continue;
        }
        let (fit, unfit): (Vec<&Shown>, Vec<&Shown>) = candidates.into_iter().partition(|s| posture_fits(item, s).is_ok());
        if fit.is_empty() {
            return Err(unfit.first().and_then(|s| posture_fits(item, s).err()).unwrap_or(Reason::Position));
        }
        carrying.push(fit);
    }
    if let Some(reason) = missing {
        return Err(reason);
    }
    if !one_each(&carrying, &mut Vec::new()) {
        return Err(Reason::ViewMissing);
    }
    Ok(recognised(item, &sided, &carrying))
}

/// Whether each required view has an image of its own: one image that "双斜位" describes is not both obliques.
fn one_each<'a>(wanted: &[Vec<&'a Shown<'a>>], taken: &mut Vec<&'a crate::dicom::Uid>) -> bool {
    let Some((first, rest)) = wanted.split_first() else { return true };
    first.iter().any(|s| {
        let uid = &s.view.image.uid;
        if taken.contains(&uid) {
            return false;
        }
        taken.push(uid);
        let fits = one_each(rest, taken);
        taken.pop();
        fits
    })
}

fn recognised(item: &Item, sided: &[&Shown<'_>], carrying: &[Vec<&Shown<'_>>]) -> Recognised {
    let all = carrying.iter().flatten();
    let mut assumed = BTreeSet::new();
    for (alternatives, images) in item.views.iter().zip(carrying) {
        for shown in images {
            if item.position == Some(Posture::NotRecumbent) && !shown.posture.has("erect") {
                assumed.insert("ERECT_ASSUMED".to_string());
            }
            let by_word = alternatives.iter().any(|a| a.starts_with('=')) && !shown.view.views.has("pa");
            if shown.view.inferred || shown.view.counted || by_word {
                assumed.insert("INFERRED_VIEW".to_string());
            }
        }
    }
    Recognised {
        item: item.number,
        side: (item.side == Some(Side::Any)).then(|| sided.iter().find_map(|s| s.side)).flatten(),
        series: all.clone().map(|s| s.view.series.facts.uid.clone()).collect(),
        images: all.clone().map(|s| s.view.image.uid.clone()).collect(),
        enhanced: BTreeSet::new(),
        because: all.flat_map(|s| s.view.views.evidence.iter().chain(&s.posture.evidence).cloned()).collect(),
        assumed: assumed.into_iter().collect(),
        confidence: Confidence::Stated,
    }
}

fn why_missing(study: &Study<'_>, item: &Item, alternatives: &[String], sided: &[&Shown<'_>]) -> Reason {
    let asks_pa = alternatives.iter().any(|a| a == "pa");
    if asks_pa && sided.iter().any(|s| s.standard && s.view.views.has("ap")) {
        return Reason::Position;
    }
    let decubitus = sided.iter().any(|s| shows(study, item, s, "decubitus"));
    if alternatives.iter().any(|a| a == "frontal") && item.position == Some(Posture::Erect) && decubitus {
        return Reason::ViewMissing;
    }
    let silent = !sided.is_empty() && sided.iter().all(|s| s.view.views.is_empty() || s.view.inferred);
    if silent { Reason::ViewUnknown } else { Reason::ViewMissing }
}

/// Whether an image shows a view of an item.
fn shows(study: &Study<'_>, item: &Item, shown: &Shown<'_>, wanted: &str) -> bool {
    let view = shown.view;
    // Where left and right look alike in the image, its orientation is too little to tell the projection by.
    // Neither is it enough where only a word may stand for a missing PA.
    if view.inferred && (item.side.is_some() || wanted.starts_with('=')) {
        return false;
    }
    if let Some(exactly) = wanted.strip_prefix('=') {
        return shown.standard && view.views.has(exactly) && !view.views.has("ap");
    }
    let said = view.views.concepts.iter().chain(&shown.posture.concepts);
    let has = said.into_iter().any(|v| v == wanted || study.words.lies_within(v, wanted));
    // A standard projection counts only if nothing says that the image is a special one.
    has && (shown.standard || !study.words.is_listed(wanted))
}

fn posture_fits(item: &Item, shown: &Shown<'_>) -> Result<(), Reason> {
    let posture = &shown.posture;
    let recumbent = posture.has("supine") || posture.has("decubitus");
    match item.position {
        None => Ok(()),
        Some(Posture::NotRecumbent) if recumbent || posture.has("bedside") || posture.has("sitting") => Err(Reason::Position),
        Some(Posture::NotRecumbent) => Ok(()),
        Some(Posture::Erect | Posture::Recumbent) if posture.is_empty() => Err(Reason::PositionUnknown),
        Some(Posture::Erect) if posture.has("erect") && !recumbent => Ok(()),
        Some(Posture::Recumbent) if recumbent && !posture.has("erect") => Ok(()),
        Some(_) => Err(Reason::Position),
    }
}

fn age_fits(study: &Study<'_>, item: &Item) -> Result<(), Reason> {
    let Some(limits) = item.age_months else { return Ok(()) };
    let Some(age) = study.facts.age_months else { return Err(Reason::AgeRule) };
    let infant = !study.whole(Axis::Population).is_empty();
    // Older than the limit with a word for infants in the text: a person decides.
    if limits.min.is_some() && infant && limits.review_max.is_some_and(|max| age <= max) {
        return Err(Reason::AgeRule);
    }
    let fits = limits.min.is_none_or(|min| age >= min) && limits.max.is_none_or(|max| age <= max);
    if fits { Ok(()) } else { Err(Reason::AgeRule) }
}
