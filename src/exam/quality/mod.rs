//! Whether the images are fit (图像清晰、质量可靠): identity and dates, headers of series and images, gross faults of pixels.
//!
//! Only deterministic faults reject. Thresholds come from `procedures/quality.toml`, never from here.

pub mod calibrated;
pub mod checks;
pub mod field;
pub mod hounsfield;
pub mod identity;
pub mod perception;
pub mod pixels;

use super::classify::Recognised;
use super::facts::{SeriesFacts, rule_modality};
use crate::dicom::{Attributes, Uid};
use crate::procedure::{Item, Quality, Region};

/// An examination as the checks see it.
pub struct Exam<'a> {
    /// What was recognised.
    pub recognised: &'a [Recognised],
    /// The edition it is judged by.
    pub region: Option<&'a Region>,
    /// All its series.
    pub series: Vec<Series<'a>>,
    /// The thresholds.
    pub limits: &'a Quality,
    /// Look at series that carry no item too.
    pub everything: bool,
}

/// A series with its images.
pub struct Series<'a> {
    /// Series Instance UID.
    pub uid: &'a Uid,
    /// Its facts.
    pub facts: &'a SeriesFacts,
    /// Its images.
    pub images: Vec<Image<'a>>,
}

/// An image by its header.
pub struct Image<'a> {
    /// SOP Instance UID.
    pub uid: &'a Uid,
    /// Attributes of the instance.
    pub attributes: &'a Attributes,
    /// Transfer syntax as received.
    pub transfer_syntax: &'a str,
}

impl<'a> Exam<'a> {
    /// The series that carry an item; of some modalities (`DX` means every radiograph), or of all when none is named.
    pub fn carrying(&self, modality: &[&str]) -> impl Iterator<Item = &Series<'a>> {
        let own = |s: &&Series<'_>| modality.is_empty() || modality.contains(&rule_modality(&s.facts.modality));
        let all = self.series.iter().filter(|s| self.everything || self.carries(s.uid));
        all.filter(own).collect::<Vec<_>>().into_iter()
    }

    /// Whether a series carries an item.
    fn carries(&self, series: &Uid) -> bool {
        self.recognised.iter().any(|r| r.series.contains(series))
    }

    /// The recognised items, each with the series that carry it.
    fn items(&self) -> Vec<(&'a Item, Vec<&Series<'a>>)> {
        self.found().into_iter().map(|(_, item, series)| (item, series)).collect()
    }

    /// The same with what was recognised.
    fn found(&self) -> Vec<(&'a Recognised, &'a Item, Vec<&Series<'a>>)> {
        let found = self.recognised.iter().filter_map(|one| Some((one, self.region?.item(one.item)?)));
        let of = |one: &Recognised| self.series.iter().filter(|s| one.series.contains(s.uid)).collect();
        found.map(|(one, item)| (one, item, of(one))).collect()
    }
}
