//! How an instance changes the rows of its series and study. Attributes are those of the one that came first,
//! whatever order they are committed in; what others say differently is noted.

use super::IndexError;
use super::keys::find_keys;
use super::log::Writes;
use crate::dicom::coded::says_marked;
use crate::dicom::levels::{Level, level_of};
use crate::dicom::stamp::Kind;
use crate::dicom::{Attributes, tags};
use crate::exam::alike::Said;
use crate::index::{InstanceRow, Recognised, SeriesRow, State, StudyRow};
use std::collections::BTreeSet;

pub(super) fn new_study(row: &InstanceRow, all: &Attributes) -> StudyRow {
    StudyRow {
        study: row.study.clone(),
        attributes: all.only(|t| level_of(t) == Some(Level::Study)),
        // Later than anything real, so that the first instance gives the attributes.
        from: (i64::MAX, row.sop_instance.clone()),
        sender: row.sender.clone(),
        modalities: BTreeSet::new(),
        originals: (0, 0),
        marked: (0, 0),
        reports: (0, 0),
        revision: 0,
        said: Said::default(),
        state: State::Receiving,
        recognised: Recognised::default(),
        classes: BTreeSet::new(),
        descriptions: BTreeSet::new(),
        sources: BTreeSet::new(),
    }
}

pub(super) fn new_series_row(row: &InstanceRow, all: &Attributes) -> SeriesRow {
    SeriesRow {
        study: row.study.clone(),
        series: row.series.clone(),
        attributes: all.only(|t| level_of(t) == Some(Level::Series)),
        from: (row.received_ms, row.sop_instance.clone()),
        instances: 0,
        marked: row.is_marked(),
        said: Said::default(),
    }
}

pub(super) fn add_to_series(series: &mut SeriesRow, row: &InstanceRow, all: &Attributes) {
    series.instances += 1;
    series.said.of_series(all);
    let from = (row.received_ms, row.sop_instance.clone());
    if from < series.from {
        series.attributes = all.only(|t| level_of(t) == Some(Level::Series));
        series.from = from;
    }
}

pub(super) fn add_to_study(
    study: &mut StudyRow,
    row: &InstanceRow,
    all: &Attributes,
    new_series: bool,
    batch: &mut Writes,
) -> Result<(), IndexError> {
    let made = match row.kind {
        Kind::Original => None,
        Kind::Marked { .. } => Some(&mut study.marked),
        Kind::Report { .. } => Some(&mut study.reports),
    };
    if let Some(made) = made {
        made.0 += u32::from(new_series);
        made.1 += 1;
        return Ok(());
    }
    let institution = all.text(tags::INSTITUTION_NAME).unwrap_or("").to_string();
    // Who sends a marked copy back has not produced the study.
    if !says_marked(&row.attributes) {
        study.sources.insert((row.sender.clone(), institution));
    }
    let mine = all.only(|t| level_of(t) == Some(Level::Study));
    study.said.of_study(all);
    study.originals.0 += u32::from(new_series);
    study.originals.1 += 1;
    study.revision += 1;
    study.state = State::Receiving;
    study.modalities.extend(all.text(tags::MODALITY).map(str::to_string));
    study.classes.insert(row.sop_class.clone());
    study.descriptions.extend(all.text(tags::STUDY_DESCRIPTION).map(str::to_string));
    let from = (row.received_ms, row.sop_instance.clone());
    if from < study.from {
        find_keys(study).into_iter().for_each(|key| batch.remove(key));
        study.attributes = mine;
        study.sender = row.sender.clone();
        study.from = from;
        find_keys(study).into_iter().for_each(|key| batch.insert(key, vec![]));
    }
    Ok(())
}
