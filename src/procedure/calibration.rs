//! `procedures/calibration.toml`: what is usual for a perceptual measure on a device and item, frozen by `hutong calibrate`.
//!
//! It is part of the procedures, so that every verdict names it by their digest. Without it, measures are recorded and judge nothing.

use serde::{Deserialize, Serialize};

/// The file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Names this state of it, such as the day it was frozen.
    #[serde(default)]
    pub version: String,
    /// What is usual.
    #[serde(default)]
    pub usual: Vec<Usual>,
}

/// What is usual for one measure on one device and item: percentiles of accepted studies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usual {
    /// Manufacturer, model and serial number or station, joined by `|`.
    pub device: String,
    /// Item number.
    pub item: u32,
    /// `sharpness`, `noise`, `snr`, `ghosting`, `bias`, `edge` or `exposure`, as `hutong calibrate` writes them.
    pub measure: String,
    /// Studies it was taken from.
    pub studies: usize,
    /// First percentile; beyond it a study is rejected, if `reject` says so.
    pub p1: f64,
    /// Fifth percentile; beyond it a warning.
    pub p5: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
    /// An administrator lets it reject, not only warn.
    #[serde(default)]
    pub reject: bool,
}

impl Calibration {
    /// What is usual for a measure.
    pub fn usual(&self, device: &str, item: u32, measure: &str) -> Option<&Usual> {
        self.usual.iter().find(|u| u.device == device && u.item == item && u.measure == measure)
    }

    /// What is wrong with it: percentiles that do not rise, or are no numbers.
    pub(super) fn faults(&self) -> Vec<String> {
        let rises = |u: &&Usual| !(u.p1 <= u.p5 && u.p5 <= u.p95 && u.p95 <= u.p99);
        let wrong = self.usual.iter().filter(rises);
        wrong.map(|u| format!("{} of item {} on {}: the percentiles do not rise", u.measure, u.item, u.device)).collect()
    }
}
