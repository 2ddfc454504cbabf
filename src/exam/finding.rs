//! What a check found.

use crate::dicom::Uid;
use serde::{Deserialize, Serialize};

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Worth knowing.
    Info,
    /// Marked all the same; the warning is shown.
    Warn,
    /// A person must decide.
    Review,
    /// No mark.
    Reject,
}

impl Level {
    /// The word, Chinese and English.
    pub fn words(self) -> &'static str {
        match self {
            Level::Reject => "不合格 reject",
            Level::Review => "待复核 review",
            Level::Warn => "警告 warn",
            Level::Info => "提示 info",
        }
    }
}

/// An instance, or one frame of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// SOP Instance UID.
    pub instance: Uid,
    /// Frame Number, from 1; none where the instance has one frame.
    pub frame: Option<u32>,
}

impl From<&Uid> for Place {
    fn from(instance: &Uid) -> Place {
        Place { instance: instance.clone(), frame: None }
    }
}

impl From<&Place> for Place {
    fn from(place: &Place) -> Place {
        place.clone()
    }
}

/// One result of one check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Check number (`C-02` …), as in docs/checks.md.
    pub check: String,
    /// Weight.
    pub level: Level,
    /// The series it is about.
    pub series: Option<Uid>,
    /// The instance it is about.
    pub instance: Option<Uid>,
    /// The frame of it, from 1, where it has several and the finding is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame: Option<u32>,
    /// What was measured.
    pub measured: Option<f64>,
    /// The limit it was held against.
    pub threshold: Option<f64>,
    /// Unit of both.
    pub unit: String,
    /// What is wrong and what to do, Chinese.
    pub zh: String,
    /// The same in English.
    pub en: String,
}

impl Finding {
    /// A finding about the study as a whole.
    pub fn new(check: &str, level: Level, zh: impl Into<String>, en: impl Into<String>) -> Finding {
        Finding {
            check: check.into(),
            level,
            series: None,
            instance: None,
            frame: None,
            measured: None,
            threshold: None,
            unit: String::new(),
            zh: zh.into(),
            en: en.into(),
        }
    }

    /// About one series.
    #[must_use]
    pub fn in_series(mut self, series: &Uid) -> Finding {
        self.series = Some(series.clone());
        self
    }

    /// About one instance, or one frame of it.
    #[must_use]
    pub fn at(mut self, place: impl Into<Place>) -> Finding {
        let Place { instance, frame } = place.into();
        self.instance = Some(instance);
        self.frame = frame.or(self.frame);
        self
    }

    /// About one frame, counted from 1, of the instance it is about.
    #[must_use]
    pub fn in_frame(mut self, frame: u32) -> Finding {
        self.frame = Some(frame);
        self
    }

    /// With the number measured and its limit.
    #[must_use]
    pub fn measured(mut self, measured: f64, threshold: f64, unit: &str) -> Finding {
        self.measured = Some(measured);
        self.threshold = Some(threshold);
        self.unit = unit.into();
        self
    }
}
