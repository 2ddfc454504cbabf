//! Which mutually recognised item (互认项目) a study is, by modality, region, side, view, contrast, age and posture.
//!
//! Data decides: the words of `procedures/vocabulary`, the rows of a region's `items.toml`. Text beats coded values when they
//! conflict, a specific region beats a general one; a side or a contrast phase that contradicts itself is never settled here.

mod contrast;
mod place;
mod projection;
mod reason;
mod resonance;
mod said;
mod sectional;
mod side;
mod study;
mod tomography;
mod view;

use super::facts::{SeriesFacts, StudyFacts, rule_modality};
use crate::dicom::Uid;
use crate::procedure::{Item, Procedures, Region, Side, Vocabulary};
pub use reason::{Reason, assumption};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use study::Study;

/// What a conclusion rests on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Evidence {
    /// The attribute it was read from.
    pub from: String,
    /// The words or value.
    pub text: String,
    /// What they mean: concepts of the vocabulary, joined by `+`.
    pub means: String,
    /// The same in Chinese.
    #[serde(default)]
    pub zh: String,
}

impl Evidence {
    fn new(from: &str, text: &str, means: &str) -> Evidence {
        Evidence { from: from.into(), text: text.trim().into(), means: means.into(), zh: String::new() }
    }

    /// The attribute's name in Chinese.
    pub fn from_zh(&self) -> &str {
        const NAMES: &[(&str, &str)] = &[
            ("Study Description", "检查描述"),
            ("Requested Procedure Description", "申请项目"),
            ("Procedure Code Sequence", "项目代码"),
            ("Series Description", "序列描述"),
            ("Protocol Name", "扫描协议"),
            ("Body Part Examined", "检查部位"),
            ("Anatomic Region Sequence", "解剖部位代码"),
            ("View Position", "投照体位"),
            ("View Code Sequence", "体位代码"),
            ("Patient Orientation", "患者方向"),
            ("Patient Position", "患者体位"),
            ("Image Laterality", "图像侧别"),
            ("Laterality", "侧别"),
            ("Contrast/Bolus Agent", "对比剂"),
            ("Contrast/Bolus Route", "给药途径"),
        ];
        NAMES.iter().find(|(en, _)| *en == self.from).map_or(self.from.as_str(), |(_, zh)| zh)
    }
}

/// How well an item is founded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confidence {
    /// Two kinds of attributes name the region, and nothing had to be assumed (互相印证).
    Corroborated,
    /// One kind of attribute names the region, and nothing had to be assumed (明确).
    Stated,
    /// Something had to be assumed; `assumed` names it (推定).
    Inferred,
}

/// An item that the study is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recognised {
    /// Item number.
    pub item: u32,
    /// The side, where the item leaves it open.
    pub side: Option<Side>,
    /// The series that carry it; only these are marked.
    pub series: BTreeSet<Uid>,
    /// Single images that carry it; empty means: all of the series.
    pub images: BTreeSet<Uid>,
    /// The series after contrast (增强), where the item needs both phases.
    #[serde(default)]
    pub enhanced: BTreeSet<Uid>,
    /// Why.
    pub because: Vec<Evidence>,
    /// What had to be assumed (code, e.g. `ERECT_ASSUMED`).
    pub assumed: Vec<String>,
    /// How well it is founded.
    pub confidence: Confidence,
}

/// A part of the study that is no item, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// The items it comes nearest to.
    pub nearest: Vec<u32>,
    /// What it rests on.
    pub because: Vec<Evidence>,
}

/// Everything that was concluded.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Classification {
    /// The items.
    pub recognised: Vec<Recognised>,
    /// What was refused.
    pub refused: Vec<Refusal>,
}

impl Confidence {
    /// The word, Chinese and English.
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Confidence::Corroborated => ("互相印证", "corroborated"),
            Confidence::Stated => ("明确", "stated"),
            Confidence::Inferred => ("推定", "inferred"),
        }
    }
}

impl Classification {
    fn refuse(&mut self, reason: Reason, nearest: Vec<u32>, mut because: Vec<Evidence>) {
        if !self.refused.iter().any(|r| r.reason == reason && r.nearest == nearest) {
            tidy(&mut because);
            self.refused.push(Refusal { reason, nearest, because });
        }
    }

    /// Takes an item in. `regions` is the evidence of its region, which settles the confidence.
    fn recognise(&mut self, mut one: Recognised, regions: &[Evidence]) {
        one.because.splice(0..0, regions.iter().cloned());
        tidy(&mut one.because);
        let sources: BTreeSet<&str> = regions.iter().map(|e| study::kind_of_source(&e.from)).collect();
        one.confidence = match (one.assumed.is_empty(), sources.len()) {
            (false, _) => Confidence::Inferred,
            (true, 0 | 1) => Confidence::Stated,
            (true, _) => Confidence::Corroborated,
        };
        self.recognised.push(one);
    }

    /// Takes out items that another one includes (2 covers 1, contrast covers plain).
    fn most_inclusive(&mut self, region: &Region) {
        let covered: BTreeSet<u32> =
            self.recognised.iter().filter_map(|r| region.item(r.item)).flat_map(|item| item.covers.clone()).collect();
        self.recognised.retain(|r| !covered.contains(&r.item));
    }

    /// Adds the Chinese names to the evidence.
    fn name(&mut self, words: &Vocabulary) {
        let recognised = self.recognised.iter_mut().flat_map(|r| &mut r.because);
        for evidence in recognised.chain(self.refused.iter_mut().flat_map(|r| &mut r.because)) {
            let names: Vec<&str> = evidence.means.split('+').map(|concept| words.name(concept)).collect();
            evidence.zh = names.join("、");
        }
    }

    /// The reason that says most about a study that is no item at all.
    pub fn reason(&self) -> Option<Reason> {
        self.refused.iter().map(|r| r.reason).min_by_key(|r| (!r.needs_review(), *r == Reason::NotOnList))
    }
}

/// Evidence once each, and not more than a person reads.
fn tidy(because: &mut Vec<Evidence>) {
    let mut seen = BTreeSet::new();
    because.retain(|e| seen.insert(e.clone()));
    because.truncate(16);
}

/// Modalities whose objects carry no image of an examination.
const WITHOUT_IMAGES: &[&str] = &["SR", "KO", "PR", "DOC", "SEG", "RTSTRUCT", "REG", "AU", "ECG", "RWV", "PLAN"];

/// SOP classes that are no acquisition, whatever modality they claim: secondary captures (PS3.4 B.5).
const SECONDARY_CAPTURE: &str = "1.2.840.10008.5.1.4.1.1.7";

/// Whether a series may hold images of an examination.
fn holds_images(series: &SeriesFacts) -> bool {
    let captured = !series.sop_classes.is_empty() && series.sop_classes.iter().all(|c| c.starts_with(SECONDARY_CAPTURE));
    // The legacy value DR counts only for DX and CR objects, where the class is known.
    let classes = ["1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.5.1.4.1.1.1.1.1", "1.2.840.10008.5.1.4.1.1.1"];
    let foreign = series.modality == "DR" && series.sop_classes.iter().any(|c| !classes.contains(&c.as_str()));
    !captured && !foreign && !WITHOUT_IMAGES.contains(&series.modality.as_str())
}

/// Classifies a study by an edition of a region's list.
pub fn classify(region: &Region, procedures: &Procedures, facts: &StudyFacts) -> Classification {
    let mut result = Classification::default();
    let images: Vec<&SeriesFacts> = facts.series.iter().filter(|s| holds_images(s)).collect();
    if images.is_empty() {
        let captured = facts.series.iter().any(|s| !WITHOUT_IMAGES.contains(&s.modality.as_str()));
        let reason = if captured { Reason::ModalityNotAccepted } else { Reason::NoImages };
        result.refuse(reason, vec![], vec![]);
        return result;
    }
    // A CT that belongs to a PET is no CT examination.
    let hybrid = facts.series.iter().any(|s| matches!(s.modality.as_str(), "PT" | "NM"));
    let listed: BTreeSet<&str> = images
        .iter()
        .map(|s| rule_modality(&s.modality))
        .filter(|m| !hybrid && region.items.iter().any(|i| i.modality.iter().any(|own| own == m)))
        .collect();
    for modality in &listed {
        let study = Study::read(region, procedures, facts, &images, modality);
        match *modality {
            "DX" => projection::classify(&study, &mut result),
            "MR" => resonance::classify(&study, &mut result),
            _ => tomography::classify(&study, &mut result),
        }
    }
    result.most_inclusive(region);
    result.name(&procedures.vocabulary);
    if listed.is_empty() {
        result.refuse(Reason::ModalityNotAccepted, vec![], vec![]);
    } else if result.recognised.is_empty() && result.refused.is_empty() {
        result.refuse(Reason::NotOnList, vec![], vec![]);
    }
    result
}

/// The items of a modality for a body region.
fn items_for<'a>(region: &'a Region, modality: &str, concept: &str) -> Vec<&'a Item> {
    let fits = |item: &&Item| item.modality.iter().any(|m| m == modality) && item.region.iter().any(|r| r == concept);
    region.items.iter().filter(fits).collect()
}

/// Why a region without items is none: a part of a listed one is for a person.
fn unlisted(words: &Vocabulary, concept: &str) -> Reason {
    match (words.is_partial(concept), words.is_umbrella(concept)) {
        (true, _) => Reason::ReviewPartial,
        (_, true) => Reason::BodypartUnknown,
        _ => Reason::NotOnList,
    }
}

/// Why a special protocol is none.
fn reason_of_special(kind: &str) -> Reason {
    match kind {
        "disc-only" => Reason::SeriesIncomplete,
        "imported" => Reason::ReviewConflict,
        _ => Reason::NotOnList,
    }
}

fn numbers(items: &[&Item]) -> Vec<u32> {
    items.iter().map(|i| i.number).collect()
}
