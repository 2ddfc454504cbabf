//! The acceptor: from a connection to an association, or to a rejection with the right reason (PS3.8 9.3.2 to 9.3.4).

use super::association::{Association, AssociationError, Context};
use super::link::{Link, Stream, Timeouts};
use crate::dicom::uid::{IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION};
use dicom_ul::pdu::{
    self, AssociationAC, AssociationRJ, AssociationRJResult, AssociationRJServiceUserReason, AssociationRJSource,
    AssociationRQ, Pdu, PresentationContextProposed, PresentationContextResult, PresentationContextResultReason as Reason,
    UserVariableItem,
};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Why a caller is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// Its AE title is not known.
    CallingNotRecognised,
    /// It asked for another AE title than ours.
    CalledNotRecognised,
    /// It speaks no DICOM application context we know.
    ApplicationContext,
}

/// What becomes of one proposed abstract syntax.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Take it, with any of the transfer syntaxes that [`Policy::transfer_syntax`] takes.
    Accept,
    /// This SOP class is not served.
    NotSupported,
    /// The caller may not use it.
    Refused,
}

/// Who may do what.
pub trait Policy {
    /// Whether the caller may have an association at all.
    ///
    /// # Errors
    /// The reason it may not.
    fn caller(&self, calling: &str, called: &str) -> Result<(), Rejection>;
    /// Whether it may use an abstract syntax.
    fn abstract_syntax(&self, calling: &str, uid: &str) -> Decision;
    /// Whether a transfer syntax is taken for it.
    fn transfer_syntax(&self, abstract_syntax: &str, uid: &str) -> bool;
}

/// An accepted association and who called.
pub struct Accepted {
    /// The association.
    pub association: Association,
    /// What the caller asked for as our AE title.
    pub called: String,
}

/// The longest association request taken: 128 contexts of 64 syntaxes stay below.
const MAX_REQUEST: u32 = 1 << 20;

/// Reads the association request from a fresh connection and answers it.
///
/// # Errors
/// No request came in time, it was damaged, or the caller was rejected (and told so).
pub fn accept(
    stream: Box<dyn Stream>,
    policy: &impl Policy,
    max_pdu: u32,
    timeouts: Timeouts,
    stopping: Arc<AtomicBool>,
) -> Result<Accepted, AssociationError> {
    let mut link = Link::new(stream);
    link.set_timeout(timeouts.association)?;
    let (kind, length) = link.pdu_header()?;
    if kind != 0x01 {
        abort(&mut link);
        return Err(AssociationError::Protocol(format!("PDU type {kind:02X}H instead of A-ASSOCIATE-RQ")));
    }
    let bytes = link.whole_pdu(kind, length, MAX_REQUEST)?;
    let request = match pdu::read_pdu(bytes.as_slice(), MAX_REQUEST, false) {
        Ok(Some(Pdu::AssociationRQ(request))) => request,
        Ok(_) => {
            abort(&mut link);
            return Err(AssociationError::Protocol("the first PDU is no A-ASSOCIATE-RQ".into()));
        }
        Err(e) => {
            abort(&mut link);
            return Err(AssociationError::Protocol(format!("A-ASSOCIATE-RQ is damaged: {e}")));
        }
    };
    let calling = request.calling_ae_title.trim().to_string();
    let called = request.called_ae_title.trim().to_string();
    if let Err(rejection) = check(&request, policy, &calling, &called) {
        write(&mut link, &Pdu::AssociationRJ(rejection_pdu(rejection)))?;
        link.drain(Duration::from_secs(1));
        return Err(AssociationError::Rejected(format!("{rejection:?}")));
    }
    let results: Vec<(PresentationContextResult, Context)> =
        request.presentation_contexts.iter().map(|proposed| negotiate(proposed, policy, &calling)).collect();
    let accepted = results.iter().filter(|(r, _)| r.reason == Reason::Acceptance).map(|(_, c)| c.clone()).collect();
    let peer_max_pdu = request.user_variables.iter().find_map(|v| match v {
        UserVariableItem::MaxLength(n) => Some(*n),
        _ => None,
    });
    let answer = AssociationAC {
        protocol_version: 1,
        calling_ae_title: request.calling_ae_title,
        called_ae_title: request.called_ae_title,
        application_context_name: request.application_context_name,
        presentation_contexts: results.into_iter().map(|(r, _)| r).collect(),
        user_variables: vec![
            UserVariableItem::MaxLength(max_pdu),
            UserVariableItem::ImplementationClassUID(IMPLEMENTATION_CLASS_UID.into()),
            UserVariableItem::ImplementationVersionName(IMPLEMENTATION_VERSION.into()),
        ],
    };
    write(&mut link, &Pdu::AssociationAC(answer))?;
    let peer_max_pdu = peer_max_pdu.unwrap_or(1 << 14);
    let association = Association::new(link, accepted, calling, peer_max_pdu, max_pdu, timeouts, stopping);
    Ok(Accepted { association, called })
}

fn check(request: &AssociationRQ, policy: &impl Policy, calling: &str, called: &str) -> Result<(), Rejection> {
    if request.application_context_name.trim_matches(['\0', ' ']) != "1.2.840.10008.3.1.1.1" {
        return Err(Rejection::ApplicationContext);
    }
    policy.caller(calling, called)
}

fn negotiate(
    proposed: &PresentationContextProposed,
    policy: &impl Policy,
    calling: &str,
) -> (PresentationContextResult, Context) {
    let abstract_syntax = clean(&proposed.abstract_syntax);
    let offered: Vec<String> = proposed.transfer_syntaxes.iter().map(|t| clean(t)).collect();
    let taken = offered.iter().find(|t| policy.transfer_syntax(&abstract_syntax, t)).cloned();
    let reason = match (policy.abstract_syntax(calling, &abstract_syntax), &taken) {
        (Decision::NotSupported, _) => Reason::AbstractSyntaxNotSupported,
        (Decision::Refused, _) => Reason::UserRejection,
        (Decision::Accept, None) => Reason::TransferSyntaxesNotSupported,
        (Decision::Accept, Some(_)) => Reason::Acceptance,
    };
    let transfer_syntax = taken.or_else(|| offered.first().cloned()).unwrap_or_default();
    let result = PresentationContextResult { id: proposed.id, reason, transfer_syntax: transfer_syntax.clone() };
    (result, Context { id: proposed.id, abstract_syntax, transfer_syntax })
}

fn clean(uid: &str) -> String {
    uid.trim_matches(['\0', ' ']).to_string()
}

fn rejection_pdu(rejection: Rejection) -> AssociationRJ {
    use AssociationRJServiceUserReason as User;
    let source = match rejection {
        Rejection::CallingNotRecognised => AssociationRJSource::ServiceUser(User::CallingAETitleNotRecognized),
        Rejection::CalledNotRecognised => AssociationRJSource::ServiceUser(User::CalledAETitleNotRecognized),
        Rejection::ApplicationContext => AssociationRJSource::ServiceUser(User::ApplicationContextNameNotSupported),
    };
    AssociationRJ { result: AssociationRJResult::Permanent, source }
}

pub(super) fn write(link: &mut Link, pdu: &Pdu) -> Result<(), AssociationError> {
    let mut bytes = Vec::new();
    pdu::write_pdu(&mut bytes, pdu).map_err(|e| AssociationError::Protocol(e.to_string()))?;
    Ok(link.write_all(&bytes)?)
}

fn abort(link: &mut Link) {
    let _ = link.write_all(&[0x07, 0, 0, 0, 0, 4, 0, 0, 2, 1]);
    link.drain(Duration::from_millis(200));
}
