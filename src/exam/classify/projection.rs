//! Radiographs (DR): one image per required view, of the right region, side, posture and age.

use super::read::{self, Said};
use super::{Classification, Evidence, Reason, Recognised, items_for};
use crate::dicom::Uid;
use crate::exam::facts::{ImageFacts, SeriesFacts, StudyFacts};
use crate::procedure::{Axis, Item, Posture, Region, Side, Vocabulary};
use std::collections::BTreeSet;

/// One image as read.
struct View {
    uid: Uid,
    series: Uid,
    regions: Said,
    contradicted: bool,
    views: Said,
    standard: bool,
    side: Result<Option<Side>, Vec<Evidence>>,
    posture: Said,
}

/// Adds the items of the study's radiographs.
pub fn classify(region: &Region, words: &Vocabulary, study: &StudyFacts, result: &mut Classification) {
    let series = study.series.iter().filter(|s| matches!(s.modality.as_str(), "DX" | "CR" | "DR"));
    let single = series.clone().map(|s| s.images.len()).sum::<usize>() == 1;
    let views: Vec<View> = series.flat_map(|s| s.images.iter().map(move |i| read_view(words, study, s, i, single))).collect();
    let special = read::of_study(words, Axis::Special, study, "DX");
    if let Some(concept) = special.concepts.iter().find(|c| *c != "imported") {
        let nearest = nearest(region, &views);
        let because = special.evidence.iter().filter(|e| e.means.contains(concept.as_str())).cloned().collect();
        return result.refuse(Reason::NotOnList, nearest, because);
    }
    let concepts: BTreeSet<&String> = views.iter().flat_map(|v| &v.regions.concepts).collect();
    if concepts.is_empty() {
        return result.refuse(Reason::BodypartUnknown, vec![], vec![]);
    }
    for concept in concepts {
        let here: Vec<&View> = views.iter().filter(|v| v.regions.has(concept)).collect();
        let because: Vec<Evidence> = here.iter().flat_map(|v| v.regions.evidence.clone()).take(3).collect();
        let items = items_for(region, "DX", concept);
        if items.is_empty() {
            let partial = concept == "sacrum-or-coccyx-only";
            let reason = if partial { Reason::ReviewPartial } else { Reason::NotOnList };
            result.refuse(reason, vec![], because);
        } else if here.iter().any(|v| v.contradicted) {
            result.refuse(Reason::ReviewConflict, numbers(&items), because);
        } else {
            judge_region(words, study, &items, &here, result);
        }
    }
}

fn numbers(items: &[&Item]) -> Vec<u32> {
    items.iter().map(|i| i.number).collect()
}

fn nearest(region: &Region, views: &[View]) -> Vec<u32> {
    let concepts: BTreeSet<&String> = views.iter().flat_map(|v| &v.regions.concepts).collect();
    let mut all: Vec<u32> = concepts.into_iter().flat_map(|c| items_for(region, "DX", c)).map(|i| i.number).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn judge_region(words: &Vocabulary, study: &StudyFacts, items: &[&Item], here: &[&View], result: &mut Classification) {
    if let Some(evidence) = here.iter().find_map(|v| v.side.as_ref().err())
        && items.iter().any(|i| i.side.is_some())
    {
        return result.refuse(Reason::LateralityConflict, numbers(items), evidence.clone());
    }
    let mut found = false;
    let mut misses = Vec::new();
    for item in items {
        match judge_item(words, study, item, here) {
            Ok(recognised) => {
                found = true;
                result.recognised.push(recognised);
            }
            Err(reason) => misses.push((reason, item.number)),
        }
    }
    // Other items of the region were not asked for: they are no refusal once one is recognised, unless a person must look.
    let worst = misses.iter().map(|(reason, _)| *reason).min_by_key(|r| weight(*r));
    if let (false, Some(reason)) = (found, worst) {
        let nearest = misses.iter().filter(|(r, _)| *r == reason).map(|(_, n)| *n).collect();
        let because = here.iter().flat_map(|v| v.views.evidence.iter().chain(&v.posture.evidence).cloned()).take(6).collect();
        result.refuse(reason, nearest, because);
    }
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

fn judge_item(words: &Vocabulary, study: &StudyFacts, item: &Item, here: &[&View]) -> Result<Recognised, Reason> {
    age_fits(words, study, item)?;
    let sided: Vec<&&View> = match item.side {
        None | Some(Side::Any) => here.iter().collect(),
        Some(side) => {
            if here.iter().all(|v| v.side == Ok(None)) {
                return Err(Reason::LateralityUnknown);
            }
            here.iter().filter(|v| matches!(v.side, Ok(Some(s)) if s == side || s == Side::Both)).collect()
        }
    };
    let mut images = BTreeSet::new();
    let mut series = BTreeSet::new();
    let mut because = Vec::new();
    let mut assumed = BTreeSet::new();
    let mut missing = None;
    for alternatives in &item.views {
        let candidates: Vec<&&&View> = sided.iter().filter(|v| alternatives.iter().any(|a| shows(words, v, a))).collect();
        if candidates.is_empty() {
            missing = missing.or(Some(why_missing(words, item, alternatives, &sided)));
            continue;
        }
        let (fit, unfit): (Vec<&&&View>, Vec<&&&View>) = candidates.into_iter().partition(|v| posture_fits(item, v).is_ok());
        if fit.is_empty() {
            return Err(unfit.first().and_then(|v| posture_fits(item, v).err()).unwrap_or(Reason::Position));
        }
        for view in fit {
            images.insert(view.uid.clone());
            series.insert(view.series.clone());
            because.extend(view.regions.evidence.iter().chain(&view.views.evidence).chain(&view.posture.evidence).cloned());
            if item.position == Some(Posture::NotRecumbent) && !view.posture.has("erect") {
                assumed.insert("ERECT_ASSUMED".to_string());
            }
            if alternatives.iter().any(|a| a.starts_with('=')) && view.views.has("frontal") {
                assumed.insert("INFERRED_VIEW".to_string());
            }
        }
    }
    if let Some(reason) = missing {
        return Err(reason);
    }
    because.dedup();
    because.truncate(12);
    let side = (item.side == Some(Side::Any)).then(|| sided.iter().find_map(|v| v.side.clone().ok().flatten())).flatten();
    Ok(Recognised { item: item.number, side, series, images, because, assumed: assumed.into_iter().collect() })
}

fn why_missing(words: &Vocabulary, item: &Item, alternatives: &[String], sided: &[&&View]) -> Reason {
    let asks_pa = alternatives.iter().any(|a| a == "pa");
    if asks_pa && sided.iter().any(|v| v.standard && v.views.has("ap")) {
        return Reason::Position;
    }
    if alternatives.iter().any(|a| a == "frontal")
        && item.position == Some(Posture::Erect)
        && sided.iter().any(|v| shows(words, v, "decubitus"))
    {
        return Reason::ViewMissing;
    }
    if !sided.is_empty() && sided.iter().all(|v| v.views.is_empty()) { Reason::ViewUnknown } else { Reason::ViewMissing }
}

/// Whether an image shows a view of an item.
fn shows(words: &Vocabulary, view: &View, wanted: &str) -> bool {
    if let Some(exactly) = wanted.strip_prefix('=') {
        return view.standard && view.views.has(exactly) && !view.views.has("ap");
    }
    let said = view.views.concepts.iter().chain(&view.posture.concepts);
    let has = said.into_iter().any(|v| v == wanted || words.lies_within(v, wanted));
    // A standard projection counts only if nothing says that the image is a special one.
    has && (view.standard || !words.is_listed(wanted))
}

fn posture_fits(item: &Item, view: &View) -> Result<(), Reason> {
    let recumbent = view.posture.has("supine") || view.posture.has("decubitus");
    match item.position {
        None => Ok(()),
        Some(Posture::NotRecumbent) if recumbent || view.posture.has("bedside") || view.posture.has("sitting") => {
            Err(Reason::Position)
        }
        Some(Posture::NotRecumbent) => Ok(()),
        Some(Posture::Erect | Posture::Recumbent) if view.posture.is_empty() => Err(Reason::PositionUnknown),
        Some(Posture::Erect) if view.posture.has("erect") && !recumbent => Ok(()),
        Some(Posture::Recumbent) if recumbent && !view.posture.has("erect") => Ok(()),
        Some(_) => Err(Reason::Position),
    }
}

fn age_fits(words: &Vocabulary, study: &StudyFacts, item: &Item) -> Result<(), Reason> {
    let Some(limits) = item.age_months else { return Ok(()) };
    let Some(age) = study.age_months else { return Err(Reason::AgeRule) };
    let infant = !read::of_study(words, Axis::Population, study, "DX").is_empty();
    // Older than the limit with a word for infants in the text: a person decides.
    if limits.min.is_some() && infant && limits.review_max.is_some_and(|max| age <= max) {
        return Err(Reason::AgeRule);
    }
    let fits = limits.min.is_none_or(|min| age >= min) && limits.max.is_none_or(|max| age <= max);
    if fits { Ok(()) } else { Err(Reason::AgeRule) }
}

fn read_view(words: &Vocabulary, study: &StudyFacts, series: &SeriesFacts, image: &ImageFacts, single: bool) -> View {
    let (regions, contradicted) = read::region_of(words, study, series, &image.region_code);
    let text = read::of_series(words, Axis::View, series);
    let coded = Said::default().value(words, Axis::View, "View Position", &image.view_position, "DX").text(
        words,
        Axis::View,
        "View Code Sequence",
        &image.view_code,
        "DX",
    );
    let whole = read::of_study(words, Axis::View, study, "DX");
    let (views, clash) = combine(words, coded, text, series.images.len() > 1, || if single { whole } else { Said::default() });
    let special = |v: &Said| v.concepts.iter().any(|c| !words.is_listed(c));
    let posture = Said::default()
        .value(words, Axis::Position, "View Position", &image.view_position, "DX")
        .or(|| read::of_series(words, Axis::Position, series))
        .or(|| read::of_study(words, Axis::Position, study, "DX"));
    View {
        uid: image.uid.clone(),
        series: series.uid.clone(),
        standard: !special(&views),
        regions,
        contradicted: contradicted || clash,
        views,
        side: read::side_of(words, study, series, &image.laterality),
        posture,
    }
}

/// The coded view leads; words add what codes cannot say (open mouth, flexion). True when the two contradict each other.
fn combine(words: &Vocabulary, coded: Said, text: Said, several: bool, whole: impl FnOnce() -> Said) -> (Said, bool) {
    let wide = |said: &Said| -> BTreeSet<&str> {
        let names = ["frontal", "lateral", "oblique"];
        names.into_iter().filter(|n| said.concepts.iter().any(|c| c == n || words.lies_within(c, n))).collect()
    };
    if coded.is_empty() {
        // Words that name several views for several images do not say which image is which.
        let ambiguous = several && wide(&text).len() > 1;
        let said = if ambiguous { Said::default() } else { text };
        return (said.or(whole), false);
    }
    let clash = !several && wide(&coded).len() == 1 && wide(&text).len() == 1 && wide(&coded) != wide(&text);
    let mut views = coded;
    views.concepts.extend(text.concepts.iter().filter(|c| !words.is_listed(c)).cloned());
    views.evidence.extend(text.evidence);
    (views, clash)
}
