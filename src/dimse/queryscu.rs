//! C-FIND, C-MOVE and C-GET as SCU (PS3.4 annex C).

use super::{
    Association, AssociationError, Command, Context, DataReader, Field, Incoming, PLAIN, Progress, Proposal, Roles, Status,
    identifier,
};
use crate::dicom::{Attributes, DataSet, Syntax, tags, uids};

/// The two information models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// Patient Root.
    Patient,
    /// Study Root.
    Study,
}

/// The three services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// C-FIND.
    Find,
    /// C-MOVE.
    Move,
    /// C-GET.
    Get,
}

/// The SOP class of a service in an information model.
pub fn class(root: Root, service: Service) -> &'static str {
    match (root, service) {
        (Root::Patient, Service::Find) => uids::PATIENT_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND,
        (Root::Patient, Service::Move) => uids::PATIENT_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_MOVE,
        (Root::Patient, Service::Get) => uids::PATIENT_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_GET,
        (Root::Study, Service::Find) => uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND,
        (Root::Study, Service::Move) => uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_MOVE,
        (Root::Study, Service::Get) => uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_GET,
    }
}

/// The storage classes that archives are full of.
const STORED: &[&str] = &[
    uids::COMPUTED_RADIOGRAPHY_IMAGE_STORAGE,
    uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION,
    uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PROCESSING,
    uids::DIGITAL_MAMMOGRAPHY_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION,
    uids::BREAST_TOMOSYNTHESIS_IMAGE_STORAGE,
    uids::CT_IMAGE_STORAGE,
    uids::ENHANCED_CT_IMAGE_STORAGE,
    uids::MR_IMAGE_STORAGE,
    uids::ENHANCED_MR_IMAGE_STORAGE,
    uids::ULTRASOUND_IMAGE_STORAGE,
    uids::ULTRASOUND_MULTI_FRAME_IMAGE_STORAGE,
    uids::X_RAY_ANGIOGRAPHIC_IMAGE_STORAGE,
    uids::X_RAY_RADIOFLUOROSCOPIC_IMAGE_STORAGE,
    uids::NUCLEAR_MEDICINE_IMAGE_STORAGE,
    uids::POSITRON_EMISSION_TOMOGRAPHY_IMAGE_STORAGE,
    uids::SECONDARY_CAPTURE_IMAGE_STORAGE,
    uids::MULTI_FRAME_GRAYSCALE_WORD_SECONDARY_CAPTURE_IMAGE_STORAGE,
    uids::MULTI_FRAME_GRAYSCALE_BYTE_SECONDARY_CAPTURE_IMAGE_STORAGE,
    uids::MULTI_FRAME_TRUE_COLOR_SECONDARY_CAPTURE_IMAGE_STORAGE,
    uids::VL_PHOTOGRAPHIC_IMAGE_STORAGE,
    uids::VL_ENDOSCOPIC_IMAGE_STORAGE,
    uids::GRAYSCALE_SOFTCOPY_PRESENTATION_STATE_STORAGE,
    uids::KEY_OBJECT_SELECTION_DOCUMENT_STORAGE,
    uids::BASIC_TEXT_SR_STORAGE,
    uids::ENHANCED_SR_STORAGE,
    uids::COMPREHENSIVE_SR_STORAGE,
    uids::X_RAY_RADIATION_DOSE_SR_STORAGE,
    uids::SEGMENTATION_STORAGE,
    uids::ENCAPSULATED_PDF_STORAGE,
    uids::RAW_DATA_STORAGE,
];

/// Storage classes that are asked for natively only: an archive has some of them of some patients, and a study is whole with them.
const RARE: &[&str] = &[
    uids::DIGITAL_MAMMOGRAPHY_X_RAY_IMAGE_STORAGE_FOR_PROCESSING,
    uids::DIGITAL_INTRA_ORAL_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION,
    uids::DIGITAL_INTRA_ORAL_X_RAY_IMAGE_STORAGE_FOR_PROCESSING,
    uids::ENCAPSULATED_CDA_STORAGE,
    uids::COLOR_SOFTCOPY_PRESENTATION_STATE_STORAGE,
    uids::PSEUDO_COLOR_SOFTCOPY_PRESENTATION_STATE_STORAGE,
    uids::BLENDING_SOFTCOPY_PRESENTATION_STATE_STORAGE,
    uids::XAXRF_GRAYSCALE_SOFTCOPY_PRESENTATION_STATE_STORAGE,
    uids::ADVANCED_BLENDING_PRESENTATION_STATE_STORAGE,
    uids::ENHANCED_XA_IMAGE_STORAGE,
    uids::ENHANCED_XRF_IMAGE_STORAGE,
    uids::X_RAY3_D_ANGIOGRAPHIC_IMAGE_STORAGE,
    uids::X_RAY3_D_CRANIOFACIAL_IMAGE_STORAGE,
    uids::BREAST_PROJECTION_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION,
    uids::BREAST_PROJECTION_X_RAY_IMAGE_STORAGE_FOR_PROCESSING,
    uids::ENHANCED_PET_IMAGE_STORAGE,
    uids::LEGACY_CONVERTED_ENHANCED_PET_IMAGE_STORAGE,
    uids::INTRAVASCULAR_OPTICAL_COHERENCE_TOMOGRAPHY_IMAGE_STORAGE_FOR_PRESENTATION,
    uids::LEGACY_CONVERTED_ENHANCED_CT_IMAGE_STORAGE,
    uids::LEGACY_CONVERTED_ENHANCED_MR_IMAGE_STORAGE,
    uids::ENHANCED_MR_COLOR_IMAGE_STORAGE,
    uids::MR_SPECTROSCOPY_STORAGE,
    uids::PARAMETRIC_MAP_STORAGE,
    uids::ENHANCED_US_VOLUME_STORAGE,
    uids::RT_IMAGE_STORAGE,
    uids::RT_DOSE_STORAGE,
    uids::RT_STRUCTURE_SET_STORAGE,
    uids::RT_PLAN_STORAGE,
    uids::RT_ION_PLAN_STORAGE,
    uids::RT_BEAMS_TREATMENT_RECORD_STORAGE,
    uids::RT_BRACHY_TREATMENT_RECORD_STORAGE,
    uids::RT_TREATMENT_SUMMARY_RECORD_STORAGE,
    uids::RT_ION_BEAMS_TREATMENT_RECORD_STORAGE,
    uids::SPATIAL_REGISTRATION_STORAGE,
    uids::SPATIAL_FIDUCIALS_STORAGE,
    uids::DEFORMABLE_SPATIAL_REGISTRATION_STORAGE,
    uids::SURFACE_SEGMENTATION_STORAGE,
    uids::LABEL_MAP_SEGMENTATION_STORAGE,
    uids::REAL_WORLD_VALUE_MAPPING_STORAGE,
    uids::MULTI_FRAME_SINGLE_BIT_SECONDARY_CAPTURE_IMAGE_STORAGE,
    uids::VIDEO_ENDOSCOPIC_IMAGE_STORAGE,
    uids::VL_MICROSCOPIC_IMAGE_STORAGE,
    uids::VIDEO_MICROSCOPIC_IMAGE_STORAGE,
    uids::VL_SLIDE_COORDINATES_MICROSCOPIC_IMAGE_STORAGE,
    uids::VL_WHOLE_SLIDE_MICROSCOPY_IMAGE_STORAGE,
    uids::VIDEO_PHOTOGRAPHIC_IMAGE_STORAGE,
    uids::DERMOSCOPIC_PHOTOGRAPHY_IMAGE_STORAGE,
    uids::OPHTHALMIC_PHOTOGRAPHY8_BIT_IMAGE_STORAGE,
    uids::OPHTHALMIC_PHOTOGRAPHY16_BIT_IMAGE_STORAGE,
    uids::OPHTHALMIC_TOMOGRAPHY_IMAGE_STORAGE,
    uids::OPHTHALMIC_THICKNESS_MAP_STORAGE,
    uids::COMPREHENSIVE3_DSR_STORAGE,
    uids::EXTENSIBLE_SR_STORAGE,
    uids::PROCEDURE_LOG_STORAGE,
    uids::MAMMOGRAPHY_CADSR_STORAGE,
    uids::CHEST_CADSR_STORAGE,
    uids::COLON_CADSR_STORAGE,
    uids::RADIOPHARMACEUTICAL_RADIATION_DOSE_SR_STORAGE,
    uids::PATIENT_RADIATION_DOSE_SR_STORAGE,
    uids::ENHANCED_X_RAY_RADIATION_DOSE_SR_STORAGE,
    uids::ACQUISITION_CONTEXT_SR_STORAGE,
    uids::SIMPLIFIED_ADULT_ECHO_SR_STORAGE,
    uids::TWELVE_LEAD_ECG_WAVEFORM_STORAGE,
    uids::GENERAL_ECG_WAVEFORM_STORAGE,
    uids::HEMODYNAMIC_WAVEFORM_STORAGE,
    uids::BASIC_VOICE_AUDIO_WAVEFORM_STORAGE,
];

/// Contexts in which objects are received by C-GET, at most 127: the common classes as compressed as they are stored where that is one of
/// `compressed`, then `more` classes, the common and the rare ones natively. What a peer keeps of another class it cannot send.
pub fn receiving(compressed: &[&str], more: &[String]) -> Vec<Proposal> {
    let roles = Roles { scu: false, scp: true };
    let as_stored = STORED.iter().map(|class| Proposal { roles, ..Proposal::new(class, compressed) });
    let more = more.iter().map(String::as_str);
    let native = more.chain(STORED.iter().chain(RARE).copied());
    as_stored.chain(native.map(|class| Proposal { roles, ..Proposal::new(class, &PLAIN) })).take(127).collect()
}

/// How an operation ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ended {
    /// Its status.
    pub status: u16,
    /// Error Comment.
    pub comment: Option<String>,
    /// Sub-operations of C-MOVE and C-GET.
    pub progress: Progress,
    /// Instances that were not sent.
    pub failed: Vec<String>,
}

impl Ended {
    /// Whether all that was asked for was done.
    pub fn is_success(&self) -> bool {
        self.status == 0
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "status {:04X}H {}", self.status, self.comment.as_deref().unwrap_or(""))
    }
}

/// What a requester does with what comes.
pub trait Receiver {
    /// A match of C-FIND; false cancels the query.
    fn matched(&mut self, _match: Attributes) -> bool {
        true
    }
    /// How the sub-operations stand; false cancels the retrieval.
    fn progress(&mut self, _progress: Progress) -> bool {
        true
    }
    /// An object of C-GET: takes its data set, and says what the peer is told.
    fn store(&mut self, _context: &Context, _request: &Command, _data: &mut DataReader<'_>) -> Status {
        Status::UnrecognizedOperation
    }
}

/// Does one operation on an association: sends the request with its identifier, and hands on what comes until it has ended.
///
/// # Errors
/// The association ended before the operation did.
pub fn perform(
    association: &mut Association,
    context: &Context,
    request: &Command,
    query: &DataSet,
    receiver: &mut dyn Receiver,
) -> Result<Ended, AssociationError> {
    let mut bytes = Vec::new();
    query.write_as(Syntax::of(&context.transfer_syntax), &mut bytes);
    association.send_with_data(context.id, request, &mut bytes.as_slice())?;
    let mut cancelled = false;
    loop {
        let (at, command) = match association.receive()? {
            Incoming::Message(context, command) => (context, command),
            Incoming::Released | Incoming::Stopping => return Err(AssociationError::Closed),
        };
        match command.field() {
            Field::StoreRq if command.has_data() => {
                let mut data = association.data(at.id);
                let status = receiver.store(&at, &command, &mut data);
                data.finish()?;
                association.send(at.id, &command.response(status))?;
            }
            Field::Response(_) => {
                let data = if command.has_data() { Some(identifier(association, &at)?) } else { None };
                let status = command.status().unwrap_or(0xFFFF);
                if !matches!(status, 0xFF00 | 0xFF01) {
                    return Ok(ended(&command, status, data));
                }
                let go_on = match data {
                    Some(found) => receiver.matched(found.map_err(AssociationError::Protocol)?),
                    None => receiver.progress(command.progress()),
                };
                if !go_on && !cancelled {
                    cancelled = true;
                    association.send(context.id, &Command::cancel(request.message_id()))?;
                }
            }
            _ => {
                if command.has_data() {
                    association.data(at.id).finish()?;
                }
                association.send(at.id, &command.response(Status::UnrecognizedOperation))?;
            }
        }
    }
}

fn ended(command: &Command, status: u16, data: Option<Result<Attributes, String>>) -> Ended {
    let failed = match data {
        Some(Ok(data)) => data.texts(tags::FAILED_SOP_INSTANCE_UID_LIST).to_vec(),
        _ => Vec::new(),
    };
    Ended { status, comment: command.comment(), progress: command.progress(), failed }
}
