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

    /// About one instance.
    #[must_use]
    pub fn at(mut self, instance: &Uid) -> Finding {
        self.instance = Some(instance.clone());
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
