//! One radiograph as read: its region, projection (投照体位), side and posture.

use super::said::Said;
use super::study::{Series, Study};
use super::{Evidence, place, side};
use crate::exam::facts::{Code, ImageFacts};
use crate::procedure::{Axis, Side, Vocabulary};
use std::collections::BTreeSet;

/// One image.
pub(super) struct View<'a> {
    pub series: &'a Series<'a>,
    pub image: &'a ImageFacts,
    pub place: place::Place,
    /// The projections, and what makes them special.
    pub views: Said,
    /// Code and words, or view and orientation, contradict each other.
    pub clash: bool,
    /// Code, series and order say AP and PA of it: for a region where that matters, somebody must say which it is.
    pub reversed: bool,
    /// It is only coded as AP or PA, while the description holds a word that nobody knows, or the order is of a
    /// special projection that no image claims to be: it may be that one.
    pub unknown: bool,
    /// The projection was taken from Patient Orientation.
    pub inferred: bool,
    /// The words name several projections, and the series holds as many images: it is taken for one of each.
    pub counted: bool,
}

/// The projections that exclude each other.
const FAMILIES: [&str; 3] = ["frontal", "lateral", "oblique"];

/// Reads every image of the study's radiographs.
pub(super) fn all<'a>(study: &'a Study<'a>) -> Vec<View<'a>> {
    let images = study.series.iter().flat_map(|s| s.facts.images.iter().map(move |i| (s, i)));
    let single = images.clone().count() == 1;
    images.map(|(series, image)| read(study, series, image, single)).collect()
}

fn read<'a>(study: &'a Study<'a>, series: &'a Series<'a>, image: &'a ImageFacts, single: bool) -> View<'a> {
    let words = study.words;
    let place = place::of(study, series, &image.region_codes);
    let coded = coded(study, image);
    let text = distinguishing(words, series.says(Axis::View), coded.is_empty(), series.facts.images.len());
    let counted = families(words, &text).len() > 1;
    let confirmed = families(words, &coded) == families(words, &text);
    let concept = place.regions.concepts.first().map_or("", String::as_str);
    let order = study.about(Axis::View, concept);
    let reversed = is_reversed(&[&coded, &text, &order]);
    let disagree = codes_disagree(words, image);
    let (mut views, mut clash) = combine(words, coded, text, series.facts.images.len() > 1);
    clash |= disagree;
    // The order's own words speak for an image only if they name one projection, or the image is the only one.
    let named = families(words, &order).len();
    if views.is_empty() && (named == 1 || (single && named == 0)) {
        views = order.clone();
    }
    // An order of special projections alone ("骨盆出入口位") speaks for images that are coded AP and say nothing themselves; where no
    // image claims to be what was ordered, a plain name may hide it.
    let special_order = order.concepts.iter().all(|c| !words.is_listed(c) && words.is_special_in(c, concept));
    let claimed = study.series.iter().any(|s| order.concepts.iter().any(|c| s.says(Axis::View).has(c)));
    let hidden = special_order && !order.is_empty() && !claimed && !series.says(Axis::View).is_empty();
    if series.says(Axis::View).is_empty() && order.concepts.iter().all(|c| !words.is_listed(c)) {
        views = views.and(order);
    }
    let mut inferred = false;
    if let Some(seen) = orientation(&image.orientation) {
        let said = families(words, &views);
        if said.is_empty() && views.is_empty() {
            views.add("Patient Orientation", &image.orientation.join("\\"), &[seen.to_string()]);
            inferred = true;
        } else if said.len() == 1 && !said.contains(seen) && !said.contains("oblique") && !confirmed {
            clash = true;
        }
    }
    let general = families(words, &views).contains("frontal");
    let unknown =
        hidden || series.has_unknown_view() || (general && series.says(Axis::View).is_empty() && series.has_unknown_words());
    View { series, image, place, views, clash, reversed, unknown, inferred, counted }
}

impl View<'_> {
    /// The side, for a region that the image shows.
    pub fn side(&self, study: &Study<'_>, concept: &str) -> Result<Option<Side>, Vec<Evidence>> {
        let lateral = families(study.words, &coded(study, self.image)).contains("lateral");
        // Both knees fit on one frontal film (goldset rule 2), never on a lateral one.
        let frontal = families(study.words, &self.views).contains("frontal");
        side::of(study, self.series, &self.image.laterality, lateral, frontal, concept)
    }

    /// Whether no word says that the image is another projection than the standard ones of a region.
    pub fn is_standard(&self, study: &Study<'_>, concept: &str) -> bool {
        let words = study.words;
        !self.unknown
            && !study.is_special(self.series, concept)
            && self.views.concepts.iter().all(|c| words.is_listed(c) || !words.is_special_in(c, concept))
    }

    /// Posture and place of the patient: what the image says, else its series, else the order.
    pub fn posture(&self, study: &Study<'_>, concept: &str) -> Said {
        let view = &self.image.view_position;
        let own = Said::default().value(study.words, Axis::Position, "View Position", view, "DX");
        // Lying on a side (PS3.3 C.7.3.1.1.2); HFS and the like are filled in by default and say nothing of a radiograph.
        let side_down = matches!(self.series.facts.patient_position.trim(), "HFDL" | "HFDR" | "FFDL" | "FFDR");
        let lying = || {
            let mut said = Said::default();
            if side_down {
                said.add("Patient Position", &self.series.facts.patient_position, &["decubitus".to_string()]);
            }
            said
        };
        own.and(by_codes(study.words, Axis::Position, &self.image.view_codes))
            .and(by_codes(study.words, Axis::Position, &self.image.posture_codes))
            .and(lying())
            .or(|| self.series.says(Axis::Position))
            .or(|| study.about(Axis::Position, concept))
    }
}

fn coded(study: &Study<'_>, image: &ImageFacts) -> Said {
    let words = study.words;
    let position = Said::default().value(words, Axis::View, "View Position", &image.view_position, "DX");
    position.and(by_codes(words, Axis::View, &image.view_codes))
}

/// View Position and View Code Sequence that name projections of different families: one image is one of them.
fn codes_disagree(words: &Vocabulary, image: &ImageFacts) -> bool {
    let position = families(words, &Said::default().value(words, Axis::View, "View Position", &image.view_position, "DX"));
    let code = families(words, &by_codes(words, Axis::View, &image.view_codes));
    // An oblique view has no code of its own in View Position, and is one from the front or the back.
    !position.is_empty() && !code.is_empty() && position.is_disjoint(&code) && !code.contains("oblique")
}

/// What codes say on an axis, by value where it is known, else by meaning.
fn by_codes(words: &Vocabulary, axis: Axis, codes: &[Code]) -> Said {
    let mut said = Said::default();
    for code in codes {
        let known = words.code(&code.scheme, &code.value);
        if known.is_empty() {
            said = said.value(words, axis, "View Code Sequence", &code.meaning, "DX");
        } else {
            let means: Vec<String> = known.iter().filter(|(a, _)| *a == axis).map(|(_, c)| c.clone()).collect();
            said.add("View Code Sequence", &format!("{} {}", code.scheme, code.value), &means);
        }
    }
    said
}

fn families(words: &Vocabulary, said: &Said) -> BTreeSet<&'static str> {
    let within = |name: &str| said.concepts.iter().any(|c| c == name || words.lies_within(c, name));
    FAMILIES.into_iter().filter(|name| within(name)).collect()
}

/// Words that name several projections ("正侧位") do not say which one this image is, unless the series holds exactly as many images
/// and nothing else tells them apart: then it holds one of each.
fn distinguishing(words: &Vocabulary, text: Said, uncoded: bool, images: usize) -> Said {
    let named = families(words, &text).len();
    let one_of_each = uncoded && named == images && text.evidence.iter().all(|e| e.from == "Series Description");
    if named > 1 && !one_of_each { Said::default() } else { text }
}

/// The coded view leads; words add what codes cannot say (open mouth, flexion). True when the two contradict each other.
fn combine(words: &Vocabulary, coded: Said, text: Said, several: bool) -> (Said, bool) {
    if coded.is_empty() {
        return (text, false);
    }
    let (by_code, by_text) = (families(words, &coded), families(words, &text));
    // AP and PA are also the directions of an oblique view, which has no code of its own in View Position.
    if by_code.iter().eq(["frontal"].iter()) && by_text.iter().eq(["oblique"].iter()) {
        let evidence = coded.evidence.into_iter().chain(text.evidence).collect();
        return (Said { concepts: text.concepts, evidence }, false);
    }
    let clash = !several && by_code.len() == 1 && by_text.len() == 1 && by_code != by_text;
    let mut views = coded;
    let adds = |c: &&String| !words.is_listed(c) || views.concepts.iter().any(|own| words.lies_within(c, own));
    let added: Vec<String> = text.concepts.iter().filter(adds).cloned().collect();
    views.concepts.extend(added);
    views.evidence.extend(text.evidence);
    (views, clash)
}

/// Whether one source says AP alone, and another one PA alone.
fn is_reversed(sources: &[&Said]) -> bool {
    let only = |one: &str, other: &str| sources.iter().any(|s| s.has(one) && !s.has(other));
    only("ap", "pa") && only("pa", "ap")
}

/// The projection that rows along a body axis make (PS3.3 C.7.6.1.1.1): from left to right is frontal, from front to back lateral.
fn orientation(values: &[String]) -> Option<&'static str> {
    let [row, column] = values else { return None };
    match (row.trim(), column.trim()) {
        ("L" | "R", "F") => Some("frontal"),
        ("A" | "P", "F") => Some("lateral"),
        _ => None,
    }
}
