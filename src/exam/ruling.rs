//! What a person rules (裁定): a REJECT overruled, a REVIEW settled, always with a name and a reason.
//!
//! A ruling holds for exactly the images that the person saw: a late image voids it. It never replaces what only others can give: a
//! passed quality assessment (质评), a list in force, pixels that can be read.

use super::verdict::{Ground, ItemVerdict, Outcome, Verdict};
use crate::dicom::Uid;
use crate::procedure::Region;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A person's decision about one item of a study, or about the study that has none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ruling {
    /// Digest of the original images that it is about: [`Verdict::contents`].
    pub contents: String,
    /// The item; none says that the study holds no item.
    pub item: Option<u32>,
    /// Accept or reject.
    pub outcome: Outcome,
    /// The series that carry the item, where the classification did not find it itself.
    #[serde(default)]
    pub series: BTreeSet<Uid>,
    /// Who ruled.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When, milliseconds since 1970.
    #[serde(default)]
    pub at_ms: i64,
    /// Codes of the grounds that stood against the item: what was overruled.
    #[serde(default)]
    pub overruled: Vec<String>,
}

/// Why a ruling is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum NotRuled {
    #[error("请填写裁定人（by，至多 64 字）  `by` must name the person who rules, in at most 64 characters")]
    NoName,
    #[error("请填写理由（reason，至多 1000 字）  `reason` must say why, in at most 1000 characters")]
    NoReason,
    #[error("裁定结果只能是 accept 或 reject  `outcome` must be accept or reject")]
    NoOutcome,
    #[error("接受须指明项目  an acceptance must name the item")]
    NoItem,
    #[error("清单中没有项目 {0}  the edition in force has no item {0}")]
    UnknownItem(u32),
    #[error(
        "本检查未识别出项目 {0}，请用 series 指明承载该项目的序列  item {0} was not recognised: name the series that carry it in `series`"
    )]
    NoSeries(u32),
    #[error(
        "序列 {0} 不属于本检查或设备类型不符  series {0} is not of this study, or of a modality that the item does not have"
    )]
    ForeignSeries(Uid),
    #[error("检查日期没有生效的清单  no item list was in force on the exam date")]
    NoEdition,
    #[error("不能由人工裁定改变：{0}  a ruling cannot overcome {0}")]
    Fixed(String),
}

/// Grounds that no ruling overcomes: what is missing is not an opinion.
const FIXED: &[&str] = &[
    "HOSPITAL_UNKNOWN",
    "HOSPITALS_DIFFER",
    "NOT_ASSESSED",
    "ASSESSMENT_FAILED",
    "NO_EDITION",
    "ALREADY_MARKED",
    "G-01",
    "G-02",
];

const LONGEST_NAME: usize = 64;
const LONGEST_REASON: usize = 1000;

impl Ruling {
    /// Whether it may be made against a verdict; `modalities` are those of the study's series.
    ///
    /// # Errors
    /// What is missing or cannot be overcome.
    pub fn check(&self, verdict: &Verdict, region: Option<&Region>, modalities: &[(Uid, String)]) -> Result<(), NotRuled> {
        let filled = |text: &str, most: usize| !text.trim().is_empty() && text.chars().count() <= most;
        if !filled(&self.by, LONGEST_NAME) {
            return Err(NotRuled::NoName);
        }
        if !filled(&self.reason, LONGEST_REASON) {
            return Err(NotRuled::NoReason);
        }
        let accepts = match self.outcome {
            Outcome::Accept => true,
            Outcome::Reject => false,
            Outcome::Review => return Err(NotRuled::NoOutcome),
        };
        let region = region.ok_or(NotRuled::NoEdition)?;
        let Some(number) = self.item else { return if accepts { Err(NotRuled::NoItem) } else { Ok(()) } };
        let item = region.item(number).ok_or(NotRuled::UnknownItem(number))?;
        if let Some(own) = verdict.items.iter().find(|i| i.number == number) {
            let fixed = own.grounds.iter().find(|g| accepts && FIXED.contains(&g.code.as_str()));
            return fixed.map_or(Ok(()), |g| Err(NotRuled::Fixed(format!("{} {}", g.code, g.en))));
        }
        if accepts && verdict.hospital.is_none() {
            return Err(NotRuled::Fixed("HOSPITAL_UNKNOWN the producing hospital is not in the register".into()));
        }
        if self.series.is_empty() {
            return Err(NotRuled::NoSeries(number));
        }
        let fits = |uid: &&Uid| modalities.iter().any(|(own, m)| own == *uid && item.modality.contains(m));
        self.series.iter().find(|uid| !fits(uid)).map_or(Ok(()), |uid| Err(NotRuled::ForeignSeries(uid.clone())))
    }

    /// What it overrules: the grounds against its item, or against the study.
    pub fn overrules(&self, verdict: &Verdict) -> Vec<String> {
        let own = verdict.items.iter().find(|i| Some(i.number) == self.item);
        match own {
            Some(item) => item.grounds.iter().map(|g| g.code.clone()).collect(),
            None => {
                let items = verdict.accepted().filter(|_| self.item.is_none()).map(|i| format!("ITEM {}", i.number));
                items.chain(verdict.refused.iter().map(|r| r.reason.code())).collect()
            }
        }
    }

    /// Carries it out on its item; grounds that are fixed stay.
    pub(super) fn apply(&self, item: &mut ItemVerdict) {
        let fixed = item.grounds.iter().any(|g| FIXED.contains(&g.code.as_str()));
        if self.outcome == Outcome::Accept && fixed {
            return;
        }
        item.outcome = self.outcome;
        item.grounds.push(self.ground());
    }

    /// The ruling as a ground.
    pub(super) fn ground(&self) -> Ground {
        let (zh, en) = match self.outcome {
            Outcome::Accept => ("接受", "accepted"),
            _ => ("不予标注", "rejected"),
        };
        Ground {
            code: "RULED".into(),
            zh: format!("人工裁定{zh}（{}）：{}", self.by, self.reason),
            en: format!("{en} by a person's ruling ({}): {}", self.by, self.reason),
        }
    }
}

/// The last ruling on each item among those about the same images, in the order they were made: a later one that the study holds no item
/// goes for all before it.
pub fn standing<'a>(rulings: &'a [Ruling], contents: &str) -> Vec<&'a Ruling> {
    let mut last: Vec<&Ruling> = Vec::new();
    for ruling in rulings.iter().filter(|r| r.contents == contents) {
        last.retain(|other| other.item != ruling.item);
        last.push(ruling);
    }
    last
}
