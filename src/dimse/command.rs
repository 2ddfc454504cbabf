//! Command sets (PS3.7 section 6.3 and annex E) and the statuses we give (PS3.7 annex C, PS3.4 B.2.3).

use crate::dicom::dataset::{self, DataSet, Limits, ParseError, Seeking, Value};
use crate::dicom::{Syntax, Tag, VR, tags};
use std::io::Cursor;

const STATUS: Tag = Tag(0x0000, 0x0900);
const NO_DATA_SET: u16 = 0x0101;

/// Command Field (0000,0100).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// C-STORE-RQ.
    StoreRq,
    /// C-GET-RQ.
    GetRq,
    /// C-FIND-RQ.
    FindRq,
    /// C-MOVE-RQ.
    MoveRq,
    /// C-ECHO-RQ.
    EchoRq,
    /// C-CANCEL-RQ.
    CancelRq,
    /// N-CREATE-RQ.
    CreateRq,
    /// N-SET-RQ.
    SetRq,
    /// N-ACTION-RQ.
    ActionRq,
    /// N-EVENT-REPORT-RQ.
    EventReportRq,
    /// Any other request.
    OtherRq(u16),
    /// Any response.
    Response(u16),
}

impl From<u16> for Field {
    fn from(code: u16) -> Field {
        match code {
            0x0001 => Field::StoreRq,
            0x0010 => Field::GetRq,
            0x0020 => Field::FindRq,
            0x0021 => Field::MoveRq,
            0x0030 => Field::EchoRq,
            0x0100 => Field::EventReportRq,
            0x0120 => Field::SetRq,
            0x0130 => Field::ActionRq,
            0x0140 => Field::CreateRq,
            0x0FFF => Field::CancelRq,
            code if code & 0x8000 != 0 => Field::Response(code),
            code => Field::OtherRq(code),
        }
    }
}

/// The statuses we send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Done: durable and findable.
    Success,
    /// No such operation.
    UnrecognizedOperation,
    /// The SOP class is not served in this presentation context.
    SopClassNotSupported,
    /// Processing failure, ours; the peer may try again.
    ProcessingFailure,
    /// The caller may not.
    NotAuthorized,
    /// Out of resources: disk below the reserve.
    OutOfResources,
    /// The data set does not belong to the SOP class or instance named in the command.
    DataSetMismatch,
    /// The data set cannot be understood.
    CannotUnderstand,
    /// The same SOP Instance UID is stored with other bytes.
    DuplicateInstance,
    /// N-CREATE of an instance that is there (PS3.7 C.5.8).
    DuplicateStep,
    /// N-SET of an instance that is not there (PS3.7 C.5.19).
    NoSuchInstance,
    /// The SOP Instance UID is none (PS3.7 C.5.13).
    InvalidInstance,
    /// An attribute has a value that it must not have (PS3.7 C.5.11).
    InvalidValue,
    /// A required attribute is missing (PS3.7 C.5.14).
    MissingAttribute,
    /// A match, with all keys supported (PS3.4 C.4.1.1.4).
    Pending,
    /// A match; some optional keys are not supported.
    PendingWithoutSomeKeys,
    /// Ended because the requester asked for it.
    Cancelled,
    /// Unable to process (Cxxx of C-FIND); the comment says why.
    UnableToProcess,
    /// The instances to retrieve cannot be counted.
    UnableToCount,
    /// No sub-operation could be done.
    NothingSent,
    /// The destination of a C-MOVE is not known here.
    UnknownDestination,
    /// Some sub-operations failed, or ended with a warning (PS3.4 C.4.2.1.5).
    SomeNotSent,
    /// N-ACTION of a type that is not served (PS3.7 C.5.15).
    NoSuchAction,
}

/// How sub-operations of a retrieval stand (PS3.7 9.3.4.2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Not begun yet.
    pub remaining: u16,
    /// Done.
    pub completed: u16,
    /// Failed.
    pub failed: u16,
    /// Done with a warning.
    pub warning: u16,
}

impl Status {
    /// Its code. PS3.4 B.2.3 has none for a conflict, and 0111H of PS3.7 belongs to N-CREATE: a code of the Cxxx range, which
    /// every SCU takes for an error, and the comment says the rest.
    pub fn code(self) -> u16 {
        match self {
            Status::Success => 0x0000,
            Status::DuplicateInstance => 0xC111,
            Status::InvalidValue => 0x0106,
            Status::ProcessingFailure => 0x0110,
            Status::DuplicateStep => 0x0111,
            Status::NoSuchInstance => 0x0112,
            Status::InvalidInstance => 0x0117,
            Status::MissingAttribute => 0x0120,
            Status::SopClassNotSupported => 0x0122,
            Status::NotAuthorized => 0x0124,
            Status::UnrecognizedOperation => 0x0211,
            Status::OutOfResources => 0xA700,
            Status::DataSetMismatch => 0xA900,
            Status::CannotUnderstand => 0xC000,
            Status::Pending => 0xFF00,
            Status::PendingWithoutSomeKeys => 0xFF01,
            Status::Cancelled => 0xFE00,
            Status::UnableToProcess => 0xC001,
            Status::UnableToCount => 0xA701,
            Status::NothingSent => 0xA702,
            Status::UnknownDestination => 0xA801,
            Status::SomeNotSent => 0xB000,
            Status::NoSuchAction => 0x0123,
        }
    }
}

/// A command set.
#[derive(Debug, Clone, Default)]
pub struct Command(DataSet);

impl Command {
    /// Reads a command set.
    ///
    /// # Errors
    /// It does not parse as Implicit VR Little Endian.
    pub fn parse(bytes: &[u8]) -> Result<Command, ParseError> {
        let limits = Limits { value: 1 << 16, stop_at_pixels: false, partial: false, total: Some(bytes.len() as u64) };
        Ok(Command(dataset::parse(&mut Seeking(Cursor::new(bytes)), Syntax::IMPLICIT, limits)?.data_set))
    }

    /// Writes it, group length first.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = Vec::new();
        self.0.write_as(Syntax::IMPLICIT, &mut body);
        let mut bytes = vec![0, 0, 0, 0, 4, 0, 0, 0];
        bytes.extend_from_slice(&u32::try_from(body.len()).unwrap_or(0).to_le_bytes());
        bytes.extend_from_slice(&body);
        bytes
    }

    /// A request.
    pub fn request(field: u16, message_id: u16, sop_class: &str, with_data: bool) -> Command {
        let mut set = DataSet::default();
        set.put_text(tags::AFFECTED_SOP_CLASS_UID, VR::UI, sop_class);
        set.put_u16(tags::COMMAND_FIELD, field);
        set.put_u16(tags::MESSAGE_ID, message_id);
        set.put_u16(tags::COMMAND_DATA_SET_TYPE, if with_data { 0x0001 } else { NO_DATA_SET });
        Command(set)
    }

    /// A C-STORE-RQ for an instance.
    pub fn store_request(message_id: u16, sop_class: &str, sop_instance: &str) -> Command {
        let mut command = Command::request(0x0001, message_id, sop_class, true);
        command.0.put_u16(tags::PRIORITY, 0);
        command.0.put_text(tags::AFFECTED_SOP_INSTANCE_UID, VR::UI, sop_instance);
        command
    }

    /// Says for whom a C-STORE is done: the AE that asked for it by C-MOVE, and its message (PS3.7 9.3.1.1).
    #[must_use]
    pub fn moved_for(mut self, aet: &str, message_id: u16) -> Command {
        self.0.put_text(tags::MOVE_ORIGINATOR_APPLICATION_ENTITY_TITLE, VR::AE, aet);
        self.0.put_u16(tags::MOVE_ORIGINATOR_MESSAGE_ID, message_id);
        self
    }

    /// A C-MOVE-RQ.
    pub fn move_request(message_id: u16, sop_class: &str, destination: &str) -> Command {
        let mut command = Command::request(0x0021, message_id, sop_class, true);
        command.0.put_u16(tags::PRIORITY, 0);
        command.0.put_text(tags::MOVE_DESTINATION, VR::AE, destination);
        command
    }

    /// A C-FIND-RQ (0020H) or C-GET-RQ (0010H).
    pub fn query(field: u16, message_id: u16, sop_class: &str) -> Command {
        let mut command = Command::request(field, message_id, sop_class, true);
        command.0.put_u16(tags::PRIORITY, 0);
        command
    }

    /// A C-CANCEL-RQ.
    pub fn cancel(message_id: u16) -> Command {
        let mut set = DataSet::default();
        set.put_u16(tags::COMMAND_FIELD, 0x0FFF);
        set.put_u16(tags::MESSAGE_ID_BEING_RESPONDED_TO, message_id);
        set.put_u16(tags::COMMAND_DATA_SET_TYPE, NO_DATA_SET);
        Command(set)
    }

    /// An N-ACTION-RQ for an instance.
    pub fn action(message_id: u16, sop_class: &str, sop_instance: &str, action: u16) -> Command {
        let mut set = DataSet::default();
        set.put_text(tags::REQUESTED_SOP_CLASS_UID, VR::UI, sop_class);
        set.put_u16(tags::COMMAND_FIELD, 0x0130);
        set.put_u16(tags::MESSAGE_ID, message_id);
        set.put_u16(tags::COMMAND_DATA_SET_TYPE, 0x0001);
        set.put_text(tags::REQUESTED_SOP_INSTANCE_UID, VR::UI, sop_instance);
        set.put_u16(tags::ACTION_TYPE_ID, action);
        Command(set)
    }

    /// An N-EVENT-REPORT-RQ of an instance.
    pub fn event_report(message_id: u16, sop_class: &str, sop_instance: &str, event: u16) -> Command {
        let mut command = Command::request(0x0100, message_id, sop_class, true);
        command.0.put_text(tags::AFFECTED_SOP_INSTANCE_UID, VR::UI, sop_instance);
        command.0.put_u16(tags::EVENT_TYPE_ID, event);
        command
    }

    /// Says how the sub-operations stand; what remains is left out of a final response that did not end by cancelling.
    #[must_use]
    pub fn with_progress(mut self, progress: Progress, remaining: bool) -> Command {
        if remaining {
            self.0.put_u16(tags::NUMBER_OF_REMAINING_SUBOPERATIONS, progress.remaining);
        }
        self.0.put_u16(tags::NUMBER_OF_COMPLETED_SUBOPERATIONS, progress.completed);
        self.0.put_u16(tags::NUMBER_OF_FAILED_SUBOPERATIONS, progress.failed);
        self.0.put_u16(tags::NUMBER_OF_WARNING_SUBOPERATIONS, progress.warning);
        self
    }

    /// How the sub-operations of a response stand.
    pub fn progress(&self) -> Progress {
        let number = |tag| self.0.u16(tag).unwrap_or(0);
        Progress {
            remaining: number(tags::NUMBER_OF_REMAINING_SUBOPERATIONS),
            completed: number(tags::NUMBER_OF_COMPLETED_SUBOPERATIONS),
            failed: number(tags::NUMBER_OF_FAILED_SUBOPERATIONS),
            warning: number(tags::NUMBER_OF_WARNING_SUBOPERATIONS),
        }
    }

    /// Move Destination, as it came.
    pub fn move_destination(&self) -> Option<String> {
        self.0.text(tags::MOVE_DESTINATION).map(|t| t.trim().to_string())
    }

    /// Action Type ID.
    pub fn action_type(&self) -> Option<u16> {
        self.0.u16(tags::ACTION_TYPE_ID)
    }

    /// Event Type ID.
    pub fn event_type(&self) -> Option<u16> {
        self.0.u16(tags::EVENT_TYPE_ID)
    }

    /// The response to a request; it repeats the request's identifiers.
    pub fn response(&self, status: Status) -> Command {
        let mut set = DataSet::default();
        // What N-SET calls requested, its response calls affected (PS3.7 10.1.3).
        let repeat = |set: &mut DataSet, tag, requested| {
            if let Some(bytes) = self.0.bytes(tag).or_else(|| self.0.bytes(requested)) {
                set.put(tag, VR::UI, Value::Bytes(bytes.to_vec()));
            }
        };
        repeat(&mut set, tags::AFFECTED_SOP_CLASS_UID, tags::REQUESTED_SOP_CLASS_UID);
        set.put_u16(tags::COMMAND_FIELD, 0x8000 | self.code());
        set.put_u16(tags::MESSAGE_ID_BEING_RESPONDED_TO, self.message_id());
        set.put_u16(tags::COMMAND_DATA_SET_TYPE, NO_DATA_SET);
        set.put_u16(STATUS, status.code());
        repeat(&mut set, tags::AFFECTED_SOP_INSTANCE_UID, tags::REQUESTED_SOP_INSTANCE_UID);
        Command(set)
    }

    /// Says that a data set follows.
    #[must_use]
    pub fn with_data_set(mut self) -> Command {
        self.0.put_u16(tags::COMMAND_DATA_SET_TYPE, 0x0001);
        self
    }

    /// The message that a response or C-CANCEL-RQ speaks of.
    pub fn responded_to(&self) -> u16 {
        self.0.u16(tags::MESSAGE_ID_BEING_RESPONDED_TO).unwrap_or(0)
    }

    /// Adds an Error Comment (0000,0902): 64 ASCII characters at most (PS3.7 annex C).
    #[must_use]
    pub fn with_comment(mut self, comment: &str) -> Command {
        let comment: String =
            comment.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).take(64).collect();
        self.0.put_text(tags::ERROR_COMMENT, VR::LO, comment.trim_end());
        self
    }

    fn code(&self) -> u16 {
        self.0.u16(tags::COMMAND_FIELD).unwrap_or(0)
    }

    /// Command Field.
    pub fn field(&self) -> Field {
        self.code().into()
    }

    /// Message ID (0000,0110).
    pub fn message_id(&self) -> u16 {
        self.0.u16(tags::MESSAGE_ID).unwrap_or(0)
    }

    /// Affected SOP Class UID, as it came.
    pub fn sop_class(&self) -> Option<String> {
        self.0.text(tags::AFFECTED_SOP_CLASS_UID)
    }

    /// Affected SOP Instance UID, as it came.
    pub fn sop_instance(&self) -> Option<String> {
        self.0.text(tags::AFFECTED_SOP_INSTANCE_UID)
    }

    /// Affected, else Requested SOP Instance UID.
    pub fn any_sop_instance(&self) -> Option<String> {
        self.sop_instance().or_else(|| self.0.text(tags::REQUESTED_SOP_INSTANCE_UID))
    }

    /// Whether it is an N-CREATE-RQ.
    pub fn is_create(&self) -> bool {
        self.field() == Field::CreateRq
    }

    /// Whether a data set follows.
    pub fn has_data(&self) -> bool {
        self.0.u16(tags::COMMAND_DATA_SET_TYPE).is_some_and(|t| t != NO_DATA_SET)
    }

    /// Status of a response.
    pub fn status(&self) -> Option<u16> {
        self.0.u16(STATUS)
    }

    /// Error Comment of a response.
    pub fn comment(&self) -> Option<String> {
        self.0.text(tags::ERROR_COMMENT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_repeats_the_identifiers_and_carries_a_short_ascii_comment() {
        let request = Command::store_request(7, "1.2.840.10008.5.1.4.1.1.2", "1.2.3");
        let response = request.response(Status::OutOfResources).with_comment(&"磁盘 disk is full ".repeat(20));
        let read = Command::parse(&response.to_bytes()).unwrap();
        assert_eq!(read.field(), Field::Response(0x8001));
        assert_eq!(read.status(), Some(0xA700));
        assert_eq!(read.sop_instance().as_deref(), Some("1.2.3"));
        assert!(read.comment().is_some_and(|c| c.len() <= 64 && c.is_ascii() && c.contains("disk")));
        assert!(!read.has_data() && request.has_data());
    }
}
