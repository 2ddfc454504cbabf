//! Which attributes the node keeps of every object, and at which level of the information model they stand (PS3.4 C.6, C.3.4;
//! PS3.18 tables 10.6.1-5 and 10.6.3-3 to -5). A table, so that a new key is a new row.

use super::{Tag, tags};

/// A level of the study root information model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Patient and study.
    Study,
    /// Series and equipment.
    Series,
    /// Instance.
    Instance,
}

/// Patient and study attributes.
pub const STUDY: &[Tag] = &[
    tags::STUDY_DATE,
    tags::STUDY_TIME,
    tags::ACCESSION_NUMBER,
    tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE,
    tags::INSTITUTION_NAME,
    tags::INSTITUTION_CODE_SEQUENCE,
    tags::REFERRING_PHYSICIAN_NAME,
    tags::TIMEZONE_OFFSET_FROM_UTC,
    tags::STUDY_DESCRIPTION,
    tags::PROCEDURE_CODE_SEQUENCE,
    tags::PATIENT_NAME,
    tags::PATIENT_ID,
    tags::ISSUER_OF_PATIENT_ID,
    tags::OTHER_PATIENT_I_DS_SEQUENCE,
    tags::PATIENT_BIRTH_DATE,
    tags::PATIENT_SEX,
    tags::PATIENT_AGE,
    tags::PATIENT_SIZE,
    tags::PATIENT_WEIGHT,
    tags::STUDY_INSTANCE_UID,
    tags::STUDY_ID,
    tags::REQUESTED_PROCEDURE_DESCRIPTION,
    tags::REQUESTING_PHYSICIAN,
    tags::PATIENT_BIRTH_TIME,
    Tag(0x0010, 0x1000), // Other Patient IDs, retired and still asked for
    tags::OTHER_PATIENT_NAMES,
    Tag(0x0010, 0x2160), // Ethnic Group, retired
    tags::PATIENT_COMMENTS,
    tags::ADDITIONAL_PATIENT_HISTORY,
    tags::NAME_OF_PHYSICIANS_READING_STUDY,
    tags::ADMITTING_DIAGNOSES_DESCRIPTION,
];

/// Series and equipment attributes.
pub const SERIES: &[Tag] = &[
    tags::MODALITY,
    tags::MANUFACTURER,
    tags::MANUFACTURER_MODEL_NAME,
    tags::STATION_NAME,
    tags::DEVICE_SERIAL_NUMBER,
    tags::SERIES_DATE,
    tags::SERIES_TIME,
    tags::SERIES_DESCRIPTION,
    tags::SERIES_DESCRIPTION_CODE_SEQUENCE,
    tags::BODY_PART_EXAMINED,
    tags::PROTOCOL_NAME,
    tags::PATIENT_POSITION,
    tags::SERIES_INSTANCE_UID,
    tags::SERIES_NUMBER,
    tags::LATERALITY,
    tags::PERFORMED_PROCEDURE_STEP_START_DATE,
    tags::PERFORMED_PROCEDURE_STEP_START_TIME,
    tags::PERFORMED_PROCEDURE_STEP_DESCRIPTION,
    tags::PERFORMED_PROCEDURE_STEP_ID,
    tags::INSTITUTIONAL_DEPARTMENT_NAME,
    tags::OPERATORS_NAME,
    tags::PERFORMING_PHYSICIAN_NAME,
    tags::REQUEST_ATTRIBUTES_SEQUENCE,
    tags::SCANNING_SEQUENCE,
    tags::SEQUENCE_VARIANT,
    tags::SCAN_OPTIONS,
    tags::MR_ACQUISITION_TYPE,
    tags::SEQUENCE_NAME,
    tags::REPETITION_TIME,
    tags::INVERSION_TIME,
    tags::MAGNETIC_FIELD_STRENGTH,
];

/// Instance attributes.
pub const INSTANCE: &[Tag] = &[
    tags::IMAGE_TYPE,
    tags::SOP_CLASS_UID,
    tags::SOP_INSTANCE_UID,
    tags::ACQUISITION_DATE,
    tags::CONTENT_DATE,
    tags::ACQUISITION_TIME,
    tags::CONTENT_TIME,
    tags::ACQUISITION_DATE_TIME,
    tags::PRESENTATION_INTENT_TYPE,
    tags::ANATOMIC_REGION_SEQUENCE,
    tags::DERIVATION_DESCRIPTION,
    tags::DERIVATION_CODE_SEQUENCE,
    tags::CONTRIBUTING_EQUIPMENT_SEQUENCE,
    tags::CONTRAST_BOLUS_AGENT,
    tags::CONTRAST_BOLUS_AGENT_SEQUENCE,
    tags::CONTRAST_BOLUS_ROUTE,
    tags::CONTRAST_BOLUS_AGENT_PHASE,
    tags::CONTRAST_BOLUS_ADMINISTRATION_ROUTE_SEQUENCE,
    tags::ACQUISITION_CONTRAST,
    tags::SLICE_THICKNESS,
    tags::KVP,
    tags::SPACING_BETWEEN_SLICES,
    tags::TRIGGER_TIME,
    tags::ECHO_TIME,
    tags::IMAGER_PIXEL_SPACING,
    tags::GANTRY_DETECTOR_TILT,
    tags::RECONSTRUCTION_DIAMETER,
    tags::CONVOLUTION_KERNEL,
    tags::VIEW_POSITION,
    tags::VIEW_CODE_SEQUENCE,
    tags::PATIENT_ORIENTATION_CODE_SEQUENCE,
    tags::EXPOSURE_INDEX,
    tags::TARGET_EXPOSURE_INDEX,
    tags::DEVIATION_INDEX,
    tags::ACQUISITION_NUMBER,
    tags::INSTANCE_NUMBER,
    tags::PATIENT_ORIENTATION,
    tags::IMAGE_POSITION_PATIENT,
    tags::IMAGE_ORIENTATION_PATIENT,
    tags::FRAME_OF_REFERENCE_UID,
    tags::IMAGE_LATERALITY,
    tags::FRAME_LATERALITY,
    tags::TEMPORAL_POSITION_IDENTIFIER,
    tags::IMAGES_IN_ACQUISITION,
    tags::SLICE_LOCATION,
    tags::SAMPLES_PER_PIXEL,
    tags::PHOTOMETRIC_INTERPRETATION,
    tags::PLANAR_CONFIGURATION,
    tags::NUMBER_OF_FRAMES,
    tags::ROWS,
    tags::COLUMNS,
    tags::PIXEL_SPACING,
    tags::BITS_ALLOCATED,
    tags::BITS_STORED,
    tags::HIGH_BIT,
    tags::PIXEL_REPRESENTATION,
    tags::PIXEL_PADDING_VALUE,
    tags::BURNED_IN_ANNOTATION,
    tags::QUALITY_CONTROL_IMAGE,
    tags::WINDOW_CENTER,
    tags::WINDOW_WIDTH,
    tags::VOILUT_FUNCTION,
    tags::RESCALE_INTERCEPT,
    tags::RESCALE_SLOPE,
    tags::RESCALE_TYPE,
    tags::LOSSY_IMAGE_COMPRESSION,
    tags::LOSSY_IMAGE_COMPRESSION_RATIO,
    tags::LOSSY_IMAGE_COMPRESSION_METHOD,
    tags::PRESENTATION_LUT_SHAPE,
    tags::CONTENT_LABEL,
    tags::DOCUMENT_TITLE,
    tags::COMPLETION_FLAG,
    tags::VERIFICATION_FLAG,
    tags::CONCEPT_NAME_CODE_SEQUENCE,
];

/// The level an attribute is kept at, if it is kept.
pub fn level_of(tag: Tag) -> Option<Level> {
    [(STUDY, Level::Study), (SERIES, Level::Series), (INSTANCE, Level::Instance)]
        .into_iter()
        .find(|(table, _)| table.contains(&tag))
        .map(|(_, level)| level)
}
