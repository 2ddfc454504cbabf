//! A node's side of an association whose other side says any bytes at all, on a stream in memory, and what it may write meanwhile.
//! For `tests/it/fuzz.rs` and the targets beside this file. Never opens a socket.

use dicom_ul::pdu::{AssociationRQ, Pdu, PresentationContextProposed, RequestorRoles, UserVariableItem, write_pdu};
use hutong::dicom::uids;
use hutong::dimse::{
    Command, Decision, Identity, Incoming, Policy, Rejection, Roles, Status, Stream, Timeouts, accept, identifier,
};
use std::io::{self, Cursor, Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a caller sends, all at once, and what is written to it.
struct Bytes(Cursor<Vec<u8>>, Arc<Mutex<Vec<u8>>>);

impl Read for Bytes {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Write for Bytes {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.1.lock().unwrap().extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Bytes {
    fn set_timeout(&self, _: Duration) -> io::Result<()> {
        Ok(())
    }

    fn is_readable(&self) -> io::Result<bool> {
        Ok(true)
    }
}

struct Anything;

impl Policy for Anything {
    type Caller = ();

    fn caller(&self, calling: &str, _: &str, _: Option<&Identity>) -> Result<(), Rejection> {
        if calling == "NOBODY" { Err(Rejection::CallingNotRecognised) } else { Ok(()) }
    }

    fn abstract_syntax(&self, (): &(), _: &str, roles: Roles) -> Decision {
        Decision::Accept(roles)
    }

    fn transfer_syntax<'a>(&self, _: &str, _: Roles, offered: &'a [String]) -> Option<&'a String> {
        offered.first()
    }

    fn extended(&self, _: &str, information: &[u8]) -> Option<Vec<u8>> {
        Some(information.to_vec())
    }
}

/// Messages that were understood before the bytes ended. What was written meanwhile must be what the protocol has a place for.
pub fn serve(bytes: &[u8]) -> usize {
    let written = Arc::new(Mutex::new(Vec::new()));
    let understood = take(bytes, written.clone());
    check_written(&written.lock().unwrap(), understood);
    understood
}

/// Whole PDUs: an answer to the association request, one answer for each message that was understood, at most one ending, nothing after it.
fn check_written(mut rest: &[u8], understood: usize) {
    let (mut kinds, mut answers) = (Vec::new(), 0);
    while !rest.is_empty() {
        let length = u32::from_be_bytes(rest[2..6].try_into().unwrap()) as usize;
        kinds.push(rest[0]);
        // A peer that takes little at a time gets an answer in fragments.
        answers += usize::from(rest[0] == 4 && rest[11] & 2 != 0);
        rest = rest.get(6 + length..).expect("a PDU is written whole");
    }
    let ends = kinds.iter().position(|kind| matches!(kind, 3 | 6 | 7));
    assert!(ends.is_none_or(|at| at + 1 == kinds.len()), "something was written after the end: {kinds:?}");
    let opened = kinds.first() == Some(&2);
    assert_eq!(answers, if opened { understood } else { 0 }, "an answer for each message: {kinds:?}");
    let known = |kind: &u8| matches!(kind, 4 | 6 | 7);
    assert!(kinds.first().is_none_or(|kind| matches!(kind, 2 | 3 | 7)) && kinds.iter().skip(1).all(known), "{kinds:?}");
}

fn take(bytes: &[u8], written: Arc<Mutex<Vec<u8>>>) -> usize {
    let wait = Duration::from_millis(50);
    let timeouts = Timeouts { association: wait, network: wait, idle: wait };
    let stream = Box::new(Bytes(Cursor::new(bytes.to_vec()), written));
    let Ok(accepted) = accept(stream, &Anything, 1 << 14, timeouts, Default::default()) else { return 0 };
    let mut association = accepted.association;
    for understood in 0.. {
        let Ok(Incoming::Message(context, request)) = association.receive() else { return understood };
        if request.has_data() && identifier(&mut association, &context).is_err() {
            return understood;
        }
        let answer = request.response(Status::Success).with_comment(&request.comment().unwrap_or_default());
        // What we write we can read.
        assert!(Command::parse(&answer.to_bytes()).is_ok());
        if association.send(context.id, &answer).is_err() {
            return understood;
        }
    }
    0
}

fn p_data(context: u8, flags: u8, bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len() as u32;
    let mut out = vec![4, 0];
    out.extend_from_slice(&(length + 6).to_be_bytes());
    out.extend_from_slice(&(length + 2).to_be_bytes());
    out.extend_from_slice(&[context, flags]);
    out.extend_from_slice(bytes);
    out
}

/// A whole association: every kind of user information, a message of each kind, a release.
pub fn whole() -> Vec<u8> {
    let mut bytes = opening();
    bytes.extend(messages());
    bytes
}

/// An association request with every kind of user information.
pub fn opening() -> Vec<u8> {
    let context = |id, class: &str| PresentationContextProposed {
        id,
        abstract_syntax: class.into(),
        transfer_syntaxes: vec![uids::EXPLICIT_VR_LITTLE_ENDIAN.into(), uids::IMPLICIT_VR_LITTLE_ENDIAN.into()],
    };
    let request = Pdu::AssociationRQ(AssociationRQ {
        protocol_version: 1,
        calling_ae_title: "FUZZ".into(),
        called_ae_title: "HUTONG".into(),
        application_context_name: "1.2.840.10008.3.1.1.1".into(),
        presentation_contexts: vec![
            context(1, uids::CT_IMAGE_STORAGE),
            context(3, uids::VERIFICATION),
            context(5, uids::STORAGE_COMMITMENT_PUSH_MODEL),
        ],
        user_variables: vec![
            UserVariableItem::MaxLength(1 << 14),
            UserVariableItem::ImplementationClassUID("1.2.3".into()),
            UserVariableItem::ScuScpRoleSelectionSubItem(
                uids::CT_IMAGE_STORAGE.into(),
                RequestorRoles { scu: true, scp: true },
            ),
            UserVariableItem::SopClassExtendedNegotiationSubItem(uids::CT_IMAGE_STORAGE.into(), vec![1, 1, 0]),
            UserVariableItem::Unknown(0x53, vec![0, 5, 0, 5]),
        ],
    });
    let mut bytes = Vec::new();
    write_pdu(&mut bytes, &request).unwrap();
    bytes
}

/// A message of each kind, a release.
fn messages() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut data = Vec::new();
    hutong::dicom::dataset::write_header(&mut data, hutong::dicom::tags::TRANSACTION_UID, hutong::dicom::VR::UI, 6);
    data.extend_from_slice(b"1.2.3\0");
    let messages = [
        (3, Command::request(0x0030, 1, uids::VERIFICATION, false), None),
        (1, Command::store_request(2, uids::CT_IMAGE_STORAGE, "1.2.3"), Some(data.clone())),
        (5, Command::action(3, uids::STORAGE_COMMITMENT_PUSH_MODEL, "1.2.840.10008.1.20.1.1", 1), Some(data.clone())),
        (1, Command::move_request(4, uids::CT_IMAGE_STORAGE, "DEST"), Some(data)),
        (1, Command::cancel(4), None),
    ];
    for (context, command, data) in messages {
        bytes.extend(p_data(context, 3, &command.to_bytes()));
        for (n, chunk) in data.iter().flat_map(|d| d.chunks(5).enumerate().collect::<Vec<_>>()) {
            let last = data.as_ref().is_some_and(|d| (n + 1) * 5 >= d.len());
            bytes.extend(p_data(context, if last { 2 } else { 0 }, chunk));
        }
    }
    bytes.extend([5, 0, 0, 0, 0, 4, 0, 0, 0, 0]);
    bytes
}

/// Whether bytes are a command set; what is answered to it must be one too.
pub fn command(bytes: &[u8]) -> bool {
    let Ok(command) = Command::parse(bytes) else { return false };
    let _ = (command.field(), command.message_id(), command.status(), command.progress(), command.any_sop_instance());
    assert!(Command::parse(&command.response(Status::Success).to_bytes()).is_ok());
    true
}
