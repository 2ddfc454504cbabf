//! Why a study is no listed item: the reason codes and their sentences.

use serde::{Deserialize, Serialize};

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

    /// The code, as it is written everywhere (`VIEW_MISSING`).
    pub fn code(self) -> String {
        serde_json::to_value(self).ok().and_then(|v| v.as_str().map(str::to_string)).unwrap_or_default()
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

/// What had to be assumed, in a sentence: Chinese and English. The code itself where it is not known.
pub fn assumption(code: &str) -> (&str, &str) {
    match code {
        "ERECT_ASSUMED" => ("未注明立位，按站立位推定", "standing is assumed, for no posture is stated"),
        "INFERRED_VIEW" => (
            "投照体位为推定：未注明后前位，或仅由患者方向、图像数量得出",
            "the view is inferred: no PA is stated, or only the orientation or the number of images tells it",
        ),
        other => (other, other),
    }
}
