//! The body region of a series or an image: text before codes, the specific before the general, never a guess among several.

use super::said::Said;
use super::study::{Series, Study};
use super::{Evidence, items_for};
use crate::exam::facts::Code;
use crate::procedure::Axis;
use std::collections::BTreeSet;

/// Where a series or image was taken.
#[derive(Debug, Clone, Default)]
pub(super) struct Place {
    /// The regions.
    pub regions: Said,
    /// Series and study name regions that have nothing to do with each other.
    pub contradicted: bool,
    /// The order names several regions and nothing says which of them this is.
    pub ambiguous: bool,
    /// Only a coded value names the region, while the texts hold words that nobody knows.
    pub doubtful: Vec<Evidence>,
}

impl Place {
    /// Whether this shows a region for certain.
    pub fn shows(&self, concept: &str) -> bool {
        self.regions.has(concept) && !self.ambiguous
    }
}

/// The region of a series, or of an image with `codes` of its own.
pub(super) fn of(study: &Study<'_>, series: &Series<'_>, codes: &[Code]) -> Place {
    let words = study.words;
    let whole = study.regions();
    let own = series.says(Axis::Anatomy).most_specific(words).winners(words, study.modality);
    let coded = coded(study, series, codes).most_specific(words);
    let mut place = match (own.is_empty(), whole.is_empty()) {
        (true, true) => {
            let regions = coded.clone();
            let believed = regions.concepts.iter().any(|c| study.almost_says(c) || series.almost_says(study.words, c));
            let doubtful = if regions.is_empty() || believed { vec![] } else { study.unknown(false) };
            // A table's Body Part Examined of several series at once does not say which is which.
            let ambiguous = series.facts.body_part.contains('\\') && regions.concepts.len() > 1;
            Place { regions, doubtful, ambiguous, ..Place::default() }
        }
        (true, false) => one_of(study, series, whole, &coded),
        // One radiograph of several regions ("HIP-KNEE-ANKLE") is an examination of none of them.
        (false, _) if study.modality == "DX" && own.concepts.len() > 1 && series.facts.images.len() == 1 => {
            Place { regions: own, ambiguous: true, ..Place::default() }
        }
        (false, true) => Place { regions: own, ..Place::default() },
        (false, false) => join(study, series, own, whole),
    };
    narrow(study, &mut place.regions, &coded);
    place
}

/// What Body Part Examined and Anatomic Region Sequence say.
fn coded(study: &Study<'_>, series: &Series<'_>, codes: &[Code]) -> Said {
    let mut said = Said::default();
    for code in series.facts.region_codes.iter().chain(codes) {
        let known: Vec<String> = study
            .words
            .code(&code.scheme, &code.value)
            .iter()
            .filter(|(a, _)| *a == Axis::Anatomy)
            .map(|(_, c)| c.clone())
            .collect();
        let key = format!("{} {}", code.scheme, code.value);
        if known.is_empty() {
            said = said.value(study.words, Axis::Anatomy, "Anatomic Region Sequence", &code.meaning, study.modality);
        } else {
            said.add("Anatomic Region Sequence", &key, &known);
        }
    }
    said.or(|| {
        let value = &series.facts.body_part;
        Said::default().value(study.words, Axis::Anatomy, "Body Part Examined", value, study.modality)
    })
}

/// The series says nothing itself: the study's region, or the one of several that letters or codes point at.
fn one_of(study: &Study<'_>, series: &Series<'_>, whole: Said, coded: &Said) -> Place {
    let whole = without_parts(study, whole.winners(study.words, study.modality));
    if whole.concepts.len() < 2 {
        return Place { regions: whole, ..Place::default() };
    }
    let letters = series.spine_letters();
    let meant: BTreeSet<&String> = letters.concepts.iter().filter(|c| whole.has(c)).collect();
    // One letter only: "T2 SAG C" holds no other that stands alone.
    if let ([_], 1) = (meant.iter().collect::<Vec<_>>().as_slice(), letters.evidence.len()) {
        return Place { regions: letters, ..Place::default() };
    }
    // Body Part Examined tells the series of an order apart only where it differs between them.
    let differs = study.series.iter().any(|s| s.facts.body_part != series.facts.body_part);
    let among: BTreeSet<String> = coded.concepts.iter().filter(|c| whole.has(c)).cloned().collect();
    if differs && among.len() == 1 {
        return Place { regions: Said { concepts: among, evidence: coded.evidence.clone() }, ..Place::default() };
    }
    // One word for several regions ("全腹") names them all; several words do not.
    let one_word = whole
        .evidence
        .iter()
        .any(|e| e.means.split('+').collect::<BTreeSet<_>>() == whole.concepts.iter().map(String::as_str).collect());
    let together = study.modality == "CT" && one_word;
    Place { ambiguous: !together, regions: whole, ..Place::default() }
}

/// Of the regions of an order, those that are only a part of another one and no examination of their own ("ANKLE/HEEL") left out.
fn without_parts(study: &Study<'_>, mut whole: Said) -> Said {
    let all = whole.concepts.clone();
    let listed = |c: &String| !items_for(study.region, study.modality, c).is_empty();
    whole.concepts.retain(|c| listed(c) || !all.iter().any(|outer| listed(outer) && study.words.lies_within(c, outer)));
    whole
}

/// Series and study both speak: a general word in one takes the specific meaning of the other ("Head" in a sinus study).
fn join(study: &Study<'_>, series: &Series<'_>, own: Said, whole: Said) -> Place {
    let words = study.words;
    let yields = |a: &String, b: &String| study.modality == "DX" && (words.yields_to(a, b) || words.yields_to(b, a));
    let related = |a: &String, b: &String| a == b || words.lies_within(a, b) || words.lies_within(b, a) || yields(a, b);
    let meets = |a: &String| whole.concepts.iter().any(|b| related(a, b));
    let contradicted = !own.concepts.iter().any(meets);
    // 胸 beside a study of the 胸椎 is that part of the spine.
    let letters = series.spine_letters();
    if contradicted && letters.evidence.len() == 1 && letters.concepts.iter().all(|c| whole.has(c)) {
        return Place { regions: letters, ..Place::default() };
    }
    let fits = |b: &&String| {
        let beats = |a: &String| study.modality == "DX" && words.yields_to(a, b) && !whole.has(a);
        own.concepts.iter().any(|a| (words.lies_within(b, a) && !whole.has(a)) || beats(a))
    };
    let narrower: BTreeSet<String> = whole.concepts.iter().filter(fits).cloned().collect();
    let mut regions = own;
    regions.concepts.extend(narrower);
    regions = regions.most_specific(words).winners(words, study.modality);
    if !contradicted {
        regions.evidence.extend(whole.evidence);
    }
    Place { regions, contradicted, ..Place::default() }
}

/// A word that names no region by itself ("Spine", "Extremity") takes the one that is coded.
fn narrow(study: &Study<'_>, regions: &mut Said, coded: &Said) {
    let words = study.words;
    let inside = |outer: &String| coded.concepts.iter().filter(|c| words.lies_within(c, outer)).cloned().collect::<Vec<_>>();
    let umbrella: Vec<String> = regions.concepts.iter().filter(|c| words.is_umbrella(c)).cloned().collect();
    for outer in umbrella {
        let found = inside(&outer);
        if !found.is_empty() {
            regions.concepts.remove(&outer);
            regions.concepts.extend(found);
        }
    }
    let agree = coded.concepts.iter().any(|c| regions.has(c) || regions.concepts.iter().any(|r| words.lies_within(r, c)));
    if agree {
        regions.evidence.extend(coded.evidence.clone());
    }
}
