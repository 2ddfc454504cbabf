//! Rows of the index as answers: the attributes that every answer has (PS3.18 tables 10.6.3-3 to -5), and those asked for.

use super::ask::{Include, Sought};
use crate::dicom::levels::{Level, level_of};
use crate::dicom::{Attributes, Tag, VR, json as dicom_json, tags};
use crate::index::{InstanceMatch, SeriesMatch, SeriesRow, StudyRow, told};
use crate::retrieve::describe;
use crate::web::asked::address;
use crate::web::problem::Problem;
use crate::web::router::App;
use serde_json::{Map, Value as Json};

/// Attributes returned of every study (PS3.18 table 10.6.3-3), empty ones included.
const STUDY_KEYS: &[Tag] = &[
    tags::STUDY_DATE,
    tags::STUDY_TIME,
    tags::ACCESSION_NUMBER,
    tags::REFERRING_PHYSICIAN_NAME,
    tags::TIMEZONE_OFFSET_FROM_UTC,
    tags::STUDY_DESCRIPTION,
    tags::PATIENT_NAME,
    tags::PATIENT_ID,
    tags::PATIENT_BIRTH_DATE,
    tags::PATIENT_SEX,
    tags::STUDY_INSTANCE_UID,
    tags::STUDY_ID,
    tags::MODALITIES_IN_STUDY,
    tags::NUMBER_OF_STUDY_RELATED_SERIES,
    tags::NUMBER_OF_STUDY_RELATED_INSTANCES,
];
/// Of every series (table 10.6.3-4).
const SERIES_KEYS: &[Tag] = &[
    tags::MODALITY,
    tags::SERIES_DESCRIPTION,
    tags::BODY_PART_EXAMINED,
    tags::LATERALITY,
    tags::SERIES_INSTANCE_UID,
    tags::SERIES_NUMBER,
    tags::STUDY_INSTANCE_UID,
    tags::NUMBER_OF_SERIES_RELATED_INSTANCES,
    tags::PERFORMED_PROCEDURE_STEP_START_DATE,
    tags::PERFORMED_PROCEDURE_STEP_START_TIME,
    tags::REQUEST_ATTRIBUTES_SEQUENCE,
];
/// Of every instance (table 10.6.3-5).
const INSTANCE_KEYS: &[Tag] = &[
    tags::SOP_CLASS_UID,
    tags::SOP_INSTANCE_UID,
    tags::STUDY_INSTANCE_UID,
    tags::SERIES_INSTANCE_UID,
    tags::INSTANCE_NUMBER,
    tags::ROWS,
    tags::COLUMNS,
    tags::BITS_ALLOCATED,
    tags::NUMBER_OF_FRAMES,
];
/// Left out when they are absent: they are conditional or say nothing when empty.
const CONDITIONAL: &[Tag] = &[
    tags::TIMEZONE_OFFSET_FROM_UTC,
    tags::REQUEST_ATTRIBUTES_SEQUENCE,
    tags::ROWS,
    tags::COLUMNS,
    tags::BITS_ALLOCATED,
    tags::NUMBER_OF_FRAMES,
    tags::BODY_PART_EXAMINED,
    tags::LATERALITY,
    tags::STUDY_DESCRIPTION,
];

fn select(attributes: &Attributes, keys: &[Tag], level: Level, sought: &Sought) -> Attributes {
    let mut chosen = attributes.only(|tag| match &sought.include {
        Include::All => true,
        Include::These(tags) => {
            keys.contains(&tag)
                || (tags.contains(&tag) && level_of(tag) == Some(level))
                || sought.search.keys.iter().any(|k| k.tag() == tag)
        }
    });
    for tag in keys.iter().filter(|t| !CONDITIONAL.contains(t)) {
        if !chosen.has(*tag) {
            chosen.set(*tag, crate::dicom::dataset::dictionary_vr(*tag), Vec::new());
        }
    }
    chosen.set(tags::SPECIFIC_CHARACTER_SET, VR::CS, vec!["ISO_IR 192".into()]);
    chosen.set(tags::INSTANCE_AVAILABILITY, VR::CS, vec!["ONLINE".into()]);
    chosen
}

fn study_attributes(study: &StudyRow, sought: &Sought, url: &str) -> Attributes {
    let mut chosen = select(&told::study(study, sought.search.view), STUDY_KEYS, Level::Study, sought);
    chosen.set(tags::RETRIEVE_URL, VR::UR, vec![format!("{url}/studies/{}", study.study)]);
    chosen
}

/// A study.
pub fn study(study: &StudyRow, sought: &Sought, url: &str) -> Map<String, Json> {
    dicom_json::of_attributes(&study_attributes(study, sought, url))
}

fn series_attributes(study: &StudyRow, series: &SeriesRow, sought: &Sought, url: &str, with_study: bool) -> Attributes {
    let mut chosen = select(&told::series(study, series, sought.search.view), SERIES_KEYS, Level::Series, sought);
    chosen.set(tags::RETRIEVE_URL, VR::UR, vec![format!("{url}/studies/{}/series/{}", study.study, series.series)]);
    if with_study {
        chosen.fill_from(&study_attributes(study, sought, url));
    }
    sought.named(&study.attributes, &mut chosen);
    chosen
}

/// A series; with its study's attributes where the path names no study.
pub fn series((study, series): &SeriesMatch, sought: &Sought, url: &str, with_study: bool) -> Map<String, Json> {
    dicom_json::of_attributes(&series_attributes(study, series, sought, url, with_study))
}

/// An instance; with its study's and its series' attributes where the path does not name them.
pub fn instance((study, series, row): &InstanceMatch, sought: &Sought, url: &str, with: (bool, bool)) -> Map<String, Json> {
    let mut chosen = select(&told::instance(row), INSTANCE_KEYS, Level::Instance, sought);
    chosen.set(tags::RETRIEVE_URL, VR::UR, vec![address(url, row)]);
    if with.1 {
        chosen.fill_from(&series_attributes(study, series, sought, url, with.0));
    }
    sought.named(&series.attributes, &mut chosen);
    sought.named(&study.attributes, &mut chosen);
    dicom_json::of_attributes(&chosen)
}

/// Adds attributes that the index does not keep, from the metadata of the instances.
///
/// # Errors
/// A stored object is gone or damaged.
pub fn add_beyond(
    app: &App,
    sought: &Sought,
    url: &str,
    rows: &[InstanceMatch],
    objects: &mut [Map<String, Json>],
) -> Result<(), Problem> {
    let mut at = 0;
    for chunk in rows.chunk_by(|a, b| a.1.series == b.1.series) {
        let Some((study, series, _)) = chunk.first() else { continue };
        let instances: Vec<_> = chunk.iter().map(|(_, _, row)| row.clone()).collect();
        for (row, described) in instances.iter().zip(describe::series(&app.store, &study.study, &series.series, &instances)) {
            let all = described?.json(&address(url, row)).map_err(|e| Problem::bad(e.to_string()))?;
            if let Some(object) = objects.get_mut(at) {
                for key in sought.beyond.iter().map(|tag| dicom_json::key(*tag)) {
                    if let Some(value) = all.get(&key) {
                        object.insert(key, value.clone());
                    }
                }
            }
            at += 1;
        }
    }
    Ok(())
}
