//! What of this node's studies another hospital is shown: those with an accepted item that the policy says it is to recognise.

use super::live::LiveRegister;
use super::policy::{Answer, Made, recognised};
use crate::dicom::{Uid, tags};
use crate::exam::verdict::ItemVerdict;
use crate::index::{Filter, Index, IndexError, SeriesRow, StudyRow};
use crate::procedure::Procedures;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Device Serial Numbers of some series of a study. A series that says none adds the empty text: it is of no device that was assessed.
pub fn devices<'a>(all: impl Iterator<Item = &'a SeriesRow>, of: &BTreeSet<Uid>) -> BTreeSet<String> {
    let own = all.filter(|series| of.contains(&series.series));
    own.map(|series| series.attributes.text(tags::DEVICE_SERIAL_NUMBER).unwrap_or("").trim().to_string()).collect()
}

/// See the module.
#[derive(Clone)]
pub struct Entitled {
    /// Hospitals, as they are now.
    pub register: Arc<LiveRegister>,
    /// Verdicts.
    pub index: Arc<dyn Index>,
    /// Regions and items.
    pub procedures: Arc<Procedures>,
    /// Today, `YYYYMMDD`.
    pub today: fn() -> String,
}

impl Entitled {
    /// The policy's answer for each accepted item of a study; none where the hospital or the producer is not known.
    ///
    /// # Errors
    /// The index fails.
    pub fn answers(&self, hospital: &str, study: &StudyRow) -> Result<Vec<Answer>, IndexError> {
        let Some(verdict) = self.index.verdict(&study.study)?.filter(|v| v.revision == study.revision) else {
            return Ok(Vec::new());
        };
        let register = self.register.current();
        let region = verdict.region.as_ref().and_then(|(code, edition)| self.procedures.region(code, edition));
        let from = verdict.hospital.as_deref().and_then(|code| register.hospital(code));
        let (Some(from), Some(to), Some(region)) = (from, register.hospital(hospital), region) else {
            return Ok(Vec::new());
        };
        let exam: String = study.attributes.text(tags::STUDY_DATE).unwrap_or("").chars().filter(char::is_ascii_digit).collect();
        let today = (self.today)();
        // Only where it matters: a search asks this of every study it comes across.
        let contents = if from.is_assessed_by_device() { self.index.contents(&study.study)? } else { Vec::new() };
        let answer = |item: &ItemVerdict| {
            let devices = devices(contents.iter().map(|(series, _)| series), &item.series);
            recognised(from, to, region, Made { item: item.number, devices: Some(&devices), on: &exam }, &today)
        };
        Ok(verdict.accepted().map(answer).collect())
    }

    /// Whether a hospital is shown a study: all of its recognised items must be granted, because its series are shown together.
    ///
    /// # Errors
    /// The index fails.
    pub fn sees(&self, hospital: &str, study: &StudyRow) -> Result<bool, IndexError> {
        let answers = self.answers(hospital, study)?;
        Ok(!answers.is_empty() && answers.iter().all(|a| a.strength.is_some()))
    }

    /// The studies that a hospital is shown, for a query.
    pub fn filter(&self, hospital: &str) -> Filter {
        let (own, hospital) = (self.clone(), hospital.to_string());
        Filter::new(move |study| own.sees(&hospital, study))
    }
}
