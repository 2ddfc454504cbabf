//! Which mutually recognised item (互认项目) a study is, by modality, region, side, view, contrast, age and posture.
//!
//! Data decides: the words of `procedures/vocabulary`, the rows of a region's `items.toml`. Text beats coded values when they
//! conflict, a specific region beats a general one; a side or a contrast phase that contradicts itself is never settled here.

mod projection;
mod read;
mod resonance;
mod tomography;

use super::facts::StudyFacts;
use crate::dicom::Uid;
use crate::procedure::{Item, Region, Side, Vocabulary};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Why a study, or a part of it, is no listed item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "the sentences of `Reason::zh` and `Reason::en` say what each is")]
pub enum Reason {
    NotOnList,
    ViewMissing,
    ViewUnknown,
    Position,
    PositionUnknown,
    AgeRule,
    Laterality,
    LateralityUnknown,
    LateralityConflict,
    ContrastOnly,
    ContrastMismatch,
    SeriesIncomplete,
    ModalityNotAccepted,
    NoImages,
    BodypartUnknown,
    ReviewPartial,
    ReviewConflict,
}

impl Reason {
    /// Whether a person should look rather than the study being turned down.
    pub fn needs_review(self) -> bool {
        use Reason::{AgeRule, BodypartUnknown, LateralityConflict, LateralityUnknown, PositionUnknown};
        use Reason::{ReviewConflict, ReviewPartial, ViewUnknown};
        matches!(
            self,
            ReviewConflict
                | ReviewPartial
                | LateralityConflict
                | LateralityUnknown
                | ViewUnknown
                | PositionUnknown
                | BodypartUnknown
                | AgeRule
        )
    }

    /// The sentence, Chinese.
    pub fn zh(self) -> &'static str {
        self.sentences().0
    }

    /// The sentence, English.
    pub fn en(self) -> &'static str {
        self.sentences().1
    }

    fn sentences(self) -> (&'static str, &'static str) {
        match self {
            Reason::NotOnList => ("不在互认项目清单内", "not on the list of items"),
            Reason::ViewMissing => ("缺少项目要求的投照体位", "a required view is missing"),
            Reason::ViewUnknown => ("无法确定投照体位，请补充或人工确认", "the view cannot be told; add it or decide by hand"),
            Reason::Position => {
                ("体位不符合项目要求（如床旁、卧位或前后位）", "the posture is not the item's (bedside, supine or AP)")
            }
            Reason::PositionUnknown => {
                ("未说明立位或卧位，请补充或人工确认", "erect or supine is not stated; add it or decide by hand")
            }
            Reason::AgeRule => ("年龄不符合项目要求或未知", "the age does not fit the item or is unknown"),
            Reason::Laterality => ("侧别不符合项目要求", "the side is not the item's"),
            Reason::LateralityUnknown => ("未说明左右侧，请补充或人工确认", "the side is not stated; add it or decide by hand"),
            Reason::LateralityConflict => ("左右侧信息互相矛盾，请核对", "the sides contradict each other; check them"),
            Reason::ContrastOnly => ("只有增强期，缺少平扫", "contrast phase only, the plain phase is missing"),
            Reason::ContrastMismatch => ("平扫/增强与清单项目不符", "plain or contrast phase does not match a listed item"),
            Reason::SeriesIncomplete => ("序列不完整", "the series are incomplete"),
            Reason::ModalityNotAccepted => ("设备类型不在互认范围", "the modality is not accepted"),
            Reason::NoImages => ("没有可互认的图像", "there are no images"),
            Reason::BodypartUnknown => ("无法确定检查部位，请人工确认", "the body part cannot be told; decide by hand"),
            Reason::ReviewPartial => ("只覆盖项目部位的一部分，请人工确认", "only a part of the item's region; decide by hand"),
            Reason::ReviewConflict => ("检查信息互相矛盾，请人工确认", "the study contradicts itself; decide by hand"),
        }
    }
}

/// What a conclusion rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The attribute it was read from.
    pub from: String,
    /// The words or value.
    pub text: String,
    /// What they mean.
    pub means: String,
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
    /// Why.
    pub because: Vec<Evidence>,
    /// What had to be assumed (code, e.g. `ERECT_ASSUMED`).
    pub assumed: Vec<String>,
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

impl Classification {
    fn refuse(&mut self, reason: Reason, nearest: Vec<u32>, because: Vec<Evidence>) {
        let same = |r: &Refusal| r.reason == reason && r.nearest == nearest;
        if !self.refused.iter().any(same) {
            self.refused.push(Refusal { reason, nearest, because });
        }
    }

    /// Takes out items that another one includes (2 covers 1, contrast covers plain).
    fn most_inclusive(&mut self, region: &Region) {
        let covered: BTreeSet<u32> =
            self.recognised.iter().filter_map(|r| region.item(r.item)).flat_map(|item| item.covers.clone()).collect();
        self.recognised.retain(|r| !covered.contains(&r.item));
    }
}

/// Modalities whose objects carry no image of an examination.
const WITHOUT_IMAGES: &[&str] = &["SR", "KO", "PR", "DOC", "SEG", "RTSTRUCT", "REG", "AU", "ECG"];

/// Classifies a study by an edition of a region's list.
pub fn classify(region: &Region, words: &Vocabulary, study: &StudyFacts) -> Classification {
    let mut result = Classification::default();
    let modalities: BTreeSet<&str> = study.series.iter().map(|s| s.modality.as_str()).collect();
    let images = study.series.iter().filter(|s| !WITHOUT_IMAGES.contains(&s.modality.as_str()));
    if images.clone().next().is_none() {
        result.refuse(Reason::NoImages, vec![], vec![]);
        return result;
    }
    // A CT that belongs to a PET is no CT examination.
    let hybrid = modalities.contains("PT") || modalities.contains("NM");
    let has = |modality: &str| modalities.contains(modality) && !hybrid;
    if has("DX") || has("CR") || has("DR") {
        projection::classify(region, words, study, &mut result);
    }
    if has("CT") {
        tomography::classify(region, words, study, &mut result);
    }
    if has("MR") {
        resonance::classify(region, words, study, &mut result);
    }
    result.most_inclusive(region);
    if result.recognised.is_empty() && result.refused.is_empty() {
        let accepted = images.clone().any(|s| ["DX", "CR", "DR", "CT", "MR"].contains(&s.modality.as_str())) && !hybrid;
        result.refuse(if accepted { Reason::NotOnList } else { Reason::ModalityNotAccepted }, vec![], vec![]);
    }
    result
}

/// The items of a modality for a body region.
fn items_for<'a>(region: &'a Region, modality: &str, concept: &str) -> Vec<&'a Item> {
    let fits = |item: &&Item| item.modality.iter().any(|m| m == modality) && item.region.iter().any(|r| r == concept);
    region.items.iter().filter(fits).collect()
}
