//! The verdict: may this study's images carry the mark? Gates in order; in doubt a person decides (宁缺毋错).

use super::classify::{Classification, Confidence, Evidence, Reason, Recognised, Refusal};
use super::finding::{Finding, Level};
use super::quality::calibrated::Measure;
use super::ruling::{self, Ruling};
use crate::dicom::Uid;
use crate::procedure::{Region, Side};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Marked.
    Accept,
    /// A person rules.
    Review,
    /// Not marked.
    Reject,
}

impl Outcome {
    /// The word, Chinese and English.
    pub fn words(self) -> &'static str {
        match self {
            Outcome::Accept => "互认 accept",
            Outcome::Review => "待复核 review",
            Outcome::Reject => "不予标注 reject",
        }
    }
}

/// Why an item passes or not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ground {
    /// A reason code of the classification, a check number, or a gate's code.
    pub code: String,
    /// Chinese.
    pub zh: String,
    /// English.
    pub en: String,
}

/// The verdict on one item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ItemVerdict {
    /// Item number.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// The side, where the item leaves it open.
    pub side: Option<Side>,
    /// What follows.
    pub outcome: Outcome,
    /// Series that carry it.
    pub series: BTreeSet<Uid>,
    /// Images that carry it; empty means all of the series.
    pub images: BTreeSet<Uid>,
    /// Why it is not accepted, or what to know although it is.
    pub grounds: Vec<Ground>,
    /// What the classification rests on.
    pub because: Vec<Evidence>,
    /// What had to be assumed.
    pub assumed: Vec<String>,
    /// How well the classification is founded.
    pub confidence: Confidence,
}

/// The verdict on a study.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The study.
    pub study: Uid,
    /// The revision it was reached for.
    pub revision: u64,
    /// Region and edition; none when no region's list was in force on the exam date.
    pub region: Option<(String, String)>,
    /// Digest of the procedures.
    pub procedures: String,
    /// Hospital that produced the study, if known.
    pub hospital: Option<String>,
    /// What follows for the study.
    pub outcome: Outcome,
    /// Item by item.
    pub items: Vec<ItemVerdict>,
    /// Parts that are no item.
    pub refused: Vec<Refusal>,
    /// Everything the checks found.
    pub findings: Vec<Finding>,
    /// Why, when no item carries the reason.
    pub grounds: Vec<Ground>,
    /// Perceptual measures of the series that carry an item.
    #[serde(default)]
    pub measures: Vec<Measure>,
    /// Digest of the original images that it is about: a ruling names it.
    #[serde(default)]
    pub contents: String,
    /// What persons ruled about these images; already taken into account.
    #[serde(default)]
    pub rulings: Vec<Ruling>,
}

impl Verdict {
    /// The items that are marked.
    pub fn accepted(&self) -> impl Iterator<Item = &ItemVerdict> {
        self.items.iter().filter(|i| i.outcome == Outcome::Accept)
    }

    /// The same verdict after a mark could not be burnt: a person must decide what becomes of the accepted items.
    #[must_use]
    pub fn unmarkable(mut self, why: &str) -> Verdict {
        for item in self.items.iter_mut().filter(|i| i.outcome == Outcome::Accept) {
            item.outcome = Outcome::Review;
            item.grounds.push(Ground {
                code: "MARK_FAILED".into(),
                zh: "无法在图像上加注互认标识，请人工处理".into(),
                en: format!("the mark cannot be burnt into an image: {why}"),
            });
        }
        self.outcome = Outcome::Review;
        self
    }

    /// The same verdict with more findings about the study as a whole.
    #[must_use]
    pub fn with(mut self, findings: Vec<Finding>) -> Verdict {
        for finding in &findings {
            let outcome = match finding.level {
                Level::Reject => Outcome::Reject,
                Level::Review => Outcome::Review,
                Level::Warn | Level::Info => Outcome::Accept,
            };
            let ground = Ground { code: finding.check.clone(), zh: finding.zh.clone(), en: finding.en.clone() };
            for item in self.items.iter_mut().filter(|_| finding.level >= Level::Warn) {
                item.outcome = item.outcome.max(outcome);
                if !item.grounds.contains(&ground) {
                    item.grounds.push(ground.clone());
                }
            }
            self.outcome = self.outcome.max(outcome);
        }
        self.findings.extend(findings);
        self
    }

    /// Whether an instance of a series is to be marked.
    pub fn marks(&self, series: &Uid, instance: &Uid) -> bool {
        self.accepted().any(|i| i.series.contains(series) && (i.images.is_empty() || i.images.contains(instance)))
    }
}

/// Why a hospital's studies may not be marked on a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotAccredited {
    /// The producing hospital is not in the register.
    UnknownHospital,
    /// Sender and institution, or the images among themselves, name different hospitals.
    HospitalsDiffer,
    /// It took no part in a quality assessment (质评) that covers the day.
    NotAssessed,
    /// It took part and did not pass.
    Failed,
}

impl NotAccredited {
    /// Whether a ground's code is one of these.
    pub fn is_ground(code: &str) -> bool {
        matches!(code, "HOSPITAL_UNKNOWN" | "HOSPITALS_DIFFER" | "NOT_ASSESSED" | "ASSESSMENT_FAILED")
    }

    /// Its code, as in grounds and the journal.
    pub fn code(self) -> String {
        self.ground().code
    }

    fn ground(self) -> Ground {
        let (code, zh, en) = match self {
            NotAccredited::UnknownHospital => (
                "HOSPITAL_UNKNOWN",
                "无法确定出具检查的医疗机构，请在机构登记中配置其名称或AE Title",
                "the producing hospital is not in the register; enter its name or AE title there",
            ),
            NotAccredited::HospitalsDiffer => (
                "HOSPITALS_DIFFER",
                "发送方与机构名称指向不同的医疗机构，请核对来源",
                "sender and institution name different hospitals; check where the images are from",
            ),
            NotAccredited::NotAssessed => (
                "NOT_ASSESSED",
                "检查日期内没有有效的质量评价（未参加）",
                "no quality assessment is valid on the exam date (not taken part)",
            ),
            NotAccredited::Failed => ("ASSESSMENT_FAILED", "质量评价不合格", "the quality assessment was failed"),
        };
        Ground { code: code.into(), zh: zh.into(), en: en.into() }
    }
}

/// What a verdict is reached from.
pub struct Input<'a> {
    /// The study.
    pub study: &'a Uid,
    /// Its revision.
    pub revision: u64,
    /// The edition in force on the exam date.
    pub region: Option<&'a Region>,
    /// Digest of the procedures.
    pub procedures: &'a str,
    /// The producing hospital.
    pub hospital: Option<String>,
    /// What was classified.
    pub classification: Classification,
    /// What the checks found.
    pub findings: Vec<Finding>,
    /// Whether the hospital may mark an item of this modality on the exam date.
    pub accredited: &'a dyn Fn(&Recognised) -> Result<(), NotAccredited>,
    /// Perceptual measures.
    pub measures: Vec<Measure>,
    /// Digest of the original images.
    pub contents: String,
    /// What persons ruled about the study so far, oldest first.
    pub rulings: &'a [Ruling],
}

/// Reaches the verdict.
pub fn judge(input: Input<'_>) -> Verdict {
    let region = input.region;
    let standing = ruling::standing(input.rulings, &input.contents);
    let mut items: Vec<ItemVerdict> = match region {
        Some(region) => input.classification.recognised.iter().map(|r| judge_item(r, region, &input)).collect(),
        None => Vec::new(),
    };
    for ruling in &standing {
        rule(ruling, region, &input, &mut items);
    }
    let mut grounds = Vec::new();
    if region.is_none() {
        grounds.push(Ground {
            code: "NO_EDITION".into(),
            zh: "检查日期没有生效的互认项目清单".into(),
            en: "no item list was in force on the exam date".into(),
        });
    }
    let doubtful = input.classification.refused.iter().any(|r| r.reason.needs_review());
    if items.is_empty() {
        grounds.extend(input.classification.refused.iter().map(|r| of_reason(r.reason)));
    }
    let none = standing.iter().find(|r| r.item.is_none());
    grounds.extend(none.map(|r| r.ground()));
    let outcome = items.iter().map(|i| i.outcome).min().unwrap_or(match region {
        Some(_) if doubtful && none.is_none() => Outcome::Review,
        _ => Outcome::Reject,
    });
    Verdict {
        study: input.study.clone(),
        revision: input.revision,
        region: region.map(|r| (r.code.clone(), r.edition.clone())),
        procedures: input.procedures.into(),
        hospital: input.hospital,
        outcome,
        items,
        refused: input.classification.refused,
        findings: input.findings,
        grounds,
        measures: input.measures,
        contents: input.contents,
        rulings: standing.into_iter().cloned().collect(),
    }
}

/// Carries a ruling out: on the item it is about, or on one that only the person saw.
fn rule(ruling: &Ruling, region: Option<&Region>, input: &Input<'_>, items: &mut Vec<ItemVerdict>) {
    let Some(number) = ruling.item else { return items.iter_mut().for_each(|item| ruling.apply(item)) };
    let Some(region) = region else { return };
    if !items.iter().any(|i| i.number == number) && ruling.outcome == Outcome::Accept {
        let seen = Recognised {
            item: number,
            side: None,
            series: ruling.series.clone(),
            images: BTreeSet::new(),
            enhanced: BTreeSet::new(),
            because: vec![],
            assumed: vec![],
            confidence: Confidence::Stated,
        };
        items.push(judge_item(&seen, region, input));
    }
    items.iter_mut().filter(|i| i.number == number).for_each(|item| ruling.apply(item));
}

fn of_reason(reason: Reason) -> Ground {
    Ground { code: reason.code(), zh: reason.zh().into(), en: reason.en().into() }
}

fn judge_item(one: &Recognised, region: &Region, input: &Input<'_>) -> ItemVerdict {
    let mut outcome = Outcome::Accept;
    let mut grounds = Vec::new();
    let mut lower = |to: Outcome| outcome = outcome.max(to);
    if let Err(why) = (input.accredited)(one) {
        // An unknown hospital is a matter of configuration: a person can settle it.
        let unsure = matches!(why, NotAccredited::UnknownHospital | NotAccredited::HospitalsDiffer);
        lower(if unsure { Outcome::Review } else { Outcome::Reject });
        grounds.push(why.ground());
    }
    for finding in input.findings.iter().filter(|f| concerns(f, one)) {
        match finding.level {
            Level::Reject => lower(Outcome::Reject),
            Level::Review => lower(Outcome::Review),
            Level::Warn | Level::Info => {}
        }
        if finding.level >= Level::Warn {
            let ground = Ground { code: finding.check.clone(), zh: finding.zh.clone(), en: finding.en.clone() };
            if !grounds.contains(&ground) {
                grounds.push(ground);
            }
        }
    }
    ItemVerdict {
        number: one.item,
        name: region.item(one.item).map(|i| i.name.clone()).unwrap_or_default(),
        side: one.side,
        outcome,
        series: one.series.clone(),
        images: one.images.clone(),
        grounds,
        because: one.because.clone(),
        assumed: one.assumed.clone(),
        confidence: one.confidence,
    }
}

/// Whether a finding is about the images of an item, or about the study as a whole.
fn concerns(finding: &Finding, one: &Recognised) -> bool {
    let series = finding.series.as_ref().is_none_or(|s| one.series.contains(s));
    let image = finding.instance.as_ref().is_none_or(|i| one.images.is_empty() || one.images.contains(i));
    series && image
}
