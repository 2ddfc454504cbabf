//! C-FIND, C-MOVE and C-GET as SCU (PS3.4 annex C).

use super::{Association, AssociationError, Command, Context, DataReader, Field, Incoming, Progress, Status, identifier};
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

/// Storage classes that are asked for by C-GET: 127 contexts are left beside the query's own.
pub const STORED: &[&str] = &[
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
