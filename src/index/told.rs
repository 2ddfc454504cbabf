//! What is told of a row at each level: its attributes with those that are counted (PS3.4 C.3.4, PS3.18 10.6.3). One place for searches by
//! DIMSE and by the web.

use super::{InstanceRow, SeriesRow, StudyRow, View};
use crate::dicom::{Attributes, VR, tags};
use std::collections::BTreeSet;

/// The modalities of what a view shows of a study: what else is in it is no business of the exchange.
pub fn modalities(row: &StudyRow, view: View) -> &BTreeSet<String> {
    match view {
        View::House => &row.modalities,
        View::Exchange => &row.recognised.modalities,
    }
}

/// A study: its attributes, the modalities in it, the series and instances that a view shows.
pub fn study(row: &StudyRow, view: View) -> Attributes {
    let mut told = row.attributes.clone();
    let (series, instances) = match view {
        View::House => {
            let made = |of: fn(&(u32, u32)) -> u32| of(&row.originals) + of(&row.marked) + of(&row.reports);
            (made(|n| n.0), made(|n| n.1))
        }
        View::Exchange => (u32::try_from(row.recognised.series.len()).unwrap_or(0), row.recognised.instances),
    };
    let reports = (view == View::House && row.reports.1 > 0).then(|| "SR".to_string());
    let modalities: BTreeSet<String> = modalities(row, view).iter().cloned().chain(reports).collect();
    told.set(tags::STUDY_INSTANCE_UID, VR::UI, vec![row.study.to_string()]);
    told.set(tags::MODALITIES_IN_STUDY, VR::CS, modalities.into_iter().collect());
    // Of what another hospital is not shown it is not told either.
    if view == View::House {
        told.set(tags::SOP_CLASSES_IN_STUDY, VR::UI, row.classes.iter().cloned().collect());
    }
    told.set(tags::NUMBER_OF_STUDY_RELATED_SERIES, VR::IS, vec![series.to_string()]);
    told.set(tags::NUMBER_OF_STUDY_RELATED_INSTANCES, VR::IS, vec![instances.to_string()]);
    told
}

/// A series, without what its study says.
pub fn series(study: &StudyRow, row: &SeriesRow, view: View) -> Attributes {
    let mut told = row.attributes.clone();
    let copies = study.recognised.series.get(&row.series).filter(|_| view == View::Exchange);
    let count = copies.filter(|c| !c.is_empty()).map_or(row.instances as usize, BTreeSet::len);
    told.set(tags::STUDY_INSTANCE_UID, VR::UI, vec![study.study.to_string()]);
    told.set(tags::SERIES_INSTANCE_UID, VR::UI, vec![row.series.to_string()]);
    told.set(tags::NUMBER_OF_SERIES_RELATED_INSTANCES, VR::IS, vec![count.to_string()]);
    told
}

/// An instance, without what its series and study say.
pub fn instance(row: &InstanceRow) -> Attributes {
    let mut told = row.attributes.clone();
    told.set(tags::STUDY_INSTANCE_UID, VR::UI, vec![row.study.to_string()]);
    told.set(tags::SERIES_INSTANCE_UID, VR::UI, vec![row.series.to_string()]);
    told.set(tags::SOP_INSTANCE_UID, VR::UI, vec![row.sop_instance.to_string()]);
    told
}
